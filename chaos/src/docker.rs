//! Nodes that are containers of a Docker engine on this machine, instead of processes of ours.
//!
//! The engine is their parent, and it outlives the run and its supervisor. So what ends local brokers, whatever happens, does not end
//! these: neither a lifeline nor a parent-death signal reaches a container. Three things do in its place. What is about to be made is on
//! disk before it is ([`DOCKER_FILE`], as for networks); every container is labelled with the supervisor that it belongs to; and the
//! supervisor, which made them, removes them with their volumes, however the run ended. If the supervisor is killed itself, [`undo`] finds
//! them by the file, and [`remove_dead`] by the labels, as the next cluster does before it starts.
//!
//! They share this machine's network, and have ports of their own on 127.0.0.1, as local brokers do: everything that is told about addresses
//! is the same. What a broker is configured with is what a local one is, said in the variables that `apache/kafka` reads
//! (`environment`).
//!
//! The `docker` program is run, and no crate speaks to the engine's socket: the crates that do bring an asynchronous runtime, which this
//! program has no other use for, and the supervisor, whose children die with its main thread, is no place for one. A command takes
//! 15-40 ms, what it did is looked up in the kernel and not measured by its end, and people can repeat by hand what the log says. It
//! knows contexts, hosts and certificates, too.
//!
//! Layout: `client` running the program, `engine` whether there is an engine, `environment` properties as variables, `frozen` whether a
//! process is paused, `life` making and removing containers, `nodes` what is done to them.

mod client;
mod engine;
mod environment;
mod frozen;
mod life;
mod nodes;

pub use client::ClientError;
pub(crate) use engine::ensure_image;
pub use engine::{Engine, engine, why_not};
pub(crate) use environment::environment;
pub use environment::{is_expressible, variable};
pub(crate) use life::ContainerSpec;
pub use life::{remove_dead, undo, undo_below};
pub(crate) use nodes::Containers;

use crate::files::FileError;

/// File in a cluster's directory that says which containers are its own, from before they are made until they are gone.
pub(crate) const DOCKER_FILE: &str = "docker.json";

/// `log.dirs` of a node, in its container: a volume of its own, which is where `apache/kafka` declares one that its user may write to.
pub(crate) const DATA_DIR: &str = "/var/lib/kafka/data";

/// The faults of brokers that can be done to containers, by their names in a scenario. Operations of the cluster and faults of clients are
/// no matter of where brokers are.
pub const DOCKER_ACTIONS: [&str; 8] = [
    "broker.kill",
    "broker.stop",
    "broker.pause",
    "broker.restart",
    "broker.bounce",
    "broker.rolling-restart",
    "broker.kill-all",
    "quorum.loss",
];

/// Whether this could be the name of an image: no option of the program, and nothing that needs quotes to be repeated by hand. What else
/// there is to it the engine knows.
#[must_use]
pub fn is_image(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed)
}

/// Why containers could not be made, reached or removed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The `docker` program could not be run, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no such image, and none could be got.
    #[error(
        "there is no image {image} here, and it can't be got: {why}; load it with `docker load` or `docker import`, or name another"
    )]
    NoImage {
        /// As the scenario names it.
        image: String,
        /// What the engine said.
        why: String,
    },
    /// What the engine tells can't be understood.
    #[error("cannot understand what `{command}` tells: {told:?}")]
    Unreadable {
        /// What was run.
        command: String,
        /// What it told.
        told: String,
    },
    /// Some are still there.
    #[error("{} containers of cluster {cluster} could not be removed: {}; `docker rm --force --volumes {}` does it by hand", ids.len(), problems.join("; "), ids.join(" "))]
    Left {
        /// The label of their cluster.
        cluster: String,
        /// Their ids.
        ids: Vec<String>,
        /// What went wrong.
        problems: Vec<String>,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}
