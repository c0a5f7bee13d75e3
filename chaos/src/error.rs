//! What can go wrong with a cluster. Each concern has its own error; this one is their sum for callers that do not care which.

use std::path::PathBuf;

use gauntlet_wire::WireError;

use crate::docker::DockerError;
use crate::files::FileError;
use crate::kafka_home::{JavaError, KafkaHomeError};
use crate::local::{AccessError, FormatError, NotReady, SpecError};
use crate::netns::NetnsError;
use crate::registry::RegistryError;
use crate::supervisor::SupervisorError;
use crate::target::TargetError;

/// Why a cluster could not be started, changed or ended.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The spec describes no cluster.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// No jars.
    #[error(transparent)]
    KafkaHome(#[from] KafkaHomeError),
    /// No Java.
    #[error(transparent)]
    Java(#[from] JavaError),
    /// The log directories could not be formatted.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It could not be secured, or its operator was refused.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The supervisor failed or refused.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// A broker ended or did not become ready. Boxed: it carries part of a log.
    #[error(transparent)]
    NotReady(Box<NotReady>),
    /// Nobody fits a role.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// What a dead cluster left of its network could not be removed.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Containers could not be made, or what a dead cluster left of them not be removed.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The registry of detached clusters refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// No node has this id.
    #[error("there is no node {id}; there are {known:?}")]
    NoSuchNode {
        /// The id that was named.
        id: i32,
        /// All ids.
        known: Vec<i32>,
    },
    /// A fault of the network that had none of its effects, or another one.
    #[error("{why}")]
    NotSeenToAct {
        /// What was seen instead.
        why: String,
    },
    /// A node that runs without the library that faults of disk and clock need.
    #[error("{name} runs without the library that faults of disk and clock need; {} begins with what the loader said of it: may nothing be executed where the run directory is (noexec)?", log.display())]
    NoShim {
        /// `broker-1`.
        name: String,
        /// Its log.
        log: PathBuf,
    },
    /// A broker could not be asked, or refused.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// An operation that can't be done, or not be undone, as things are. Nothing was changed.
    #[error("{why}")]
    Refused {
        /// What is in its way.
        why: String,
    },
    /// A directory whose name can't be given to a broker.
    #[error("{} contains one of , : ; % \" * or a control character, which a broker's configuration can't express; choose another directory", path.display())]
    AwkwardPath {
        /// The directory.
        path: PathBuf,
    },
}

impl From<NotReady> for ChaosError {
    fn from(error: NotReady) -> Self {
        Self::NotReady(Box::new(error))
    }
}
