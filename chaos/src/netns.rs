//! A network of its own for a cluster, for faults that need a real one: every node is in a network namespace, and all of them
//! are plugged into one bridge, as hosts into a switch.
//!
//! ```text
//!   this host                  namespace NAME-sw             namespace NAME-1, NAME-2, NAME-101 ...
//!   NAME  x.y.z.1  ==========  host ── br0 ── n1, n2, n101   ==========  eth0  x.y.z.11, .12, .101
//! ```
//!
//! The bridge is in a namespace, too, and this host is plugged in like a node. So nothing is forwarded by this host: neither
//! `ip_forward` matters nor what Docker and firewalls have set for bridges and for what passes through (`FORWARD`, policy DROP;
//! `bridge-nf-call-iptables`), and nothing of this host is changed but for one interface that comes and goes.
//!
//! A network belongs to a cluster as its data do. What is to be made is on disk ([`NETWORK_FILE`], synced) before anything is. The
//! supervisor makes it, and removes it when its nodes are gone, however the run ended. If the supervisor is killed itself,
//! [`undo`] removes what it left: its nodes have died with it.
//!
//! Layout: `layout` what there is and what it is called, `subnet` which addresses are free, `life` making and removing, `tools` the
//! programs that do it, `enter` how a process gets in, `probe` whether this machine can do all that, `filter` what faults of the network
//! are in the kernel's words, `faults` putting that into force and taking it out, `delay_line` what makes packets late, `late` which wait in
//! it until when.

mod delay_line;
mod enter;
mod faults;
mod filter;
mod late;
mod layout;
mod life;
mod probe;
mod subnet;
mod tools;

pub(crate) use enter::{Namespace, enter};
pub(crate) use faults::Faults;
pub(crate) use layout::Network;
pub(crate) use life::HeldNetwork;
pub use life::{undo, undo_below};
pub use probe::{Unable, why_no_delay, why_not};
pub use tools::ToolError;

use crate::files::FileError;

/// File in a cluster's directory that says what its network is, from before it is made until it is gone.
pub(crate) const NETWORK_FILE: &str = "network.json";

/// Why a network could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// A program refused.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Something of this name is there, and it is not known to be ours.
    #[error(
        "there is a network {name} already, made for the same directory; remove it with `ip netns del` and `ip link del`"
    )]
    Exists {
        /// The name.
        name: String,
    },
    /// No addresses are free.
    #[error(
        "all private subnets that were tried overlap with routes or interfaces of this host: {}; free one, or use `isolation: process`",
        clashes.join(", ")
    )]
    NoSubnet {
        /// What is in the way, `10.0.0.0/8 (tun0)`.
        clashes: Vec<String>,
    },
    /// What a program told could not be understood.
    #[error("cannot understand what `{command}` tells: {detail}")]
    Unreadable {
        /// What was run.
        command: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Something is still there.
    #[error("the network {name} could not be removed: {}", problems.join("; "))]
    Left {
        /// Its name.
        name: String,
        /// What went wrong.
        problems: Vec<String>,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}
