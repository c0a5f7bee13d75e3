//! The run's own clients, as far as faults can hit them: programs, each in a process group of its own, that whoever runs the load
//! starts, and starts again.
//!
//! They end with gauntlet, by the kernel (PR_SET_PDEATHSIG), and what of a halted group outlives its first process is sent SIGHUP and
//! SIGCONT (POSIX, orphaned process groups): so a fault of a client leaves nothing that somebody else had to undo, and no entry in the
//! journal.

use std::{fmt, io};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::process::ProcessGroup;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientRole {
    /// It writes.
    Producer,
    /// It reads.
    Consumer,
}

impl fmt::Display for ClientRole {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        })
    }
}

/// Which clients are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTarget {
    /// Those that do this ...
    pub role: ClientRole,
    /// ... with this `client.id`: of one client, or of all that a scenario configures together. `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

impl fmt::Display for ClientTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.client_id {
            None => write!(out, "all {}s", self.role),
            Some(id) => write!(out, "{}s with client.id {id}", self.role),
        }
    }
}

/// A client that takes work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name in the run: `producer-0`.
    pub name: String,
    /// Its program.
    pub group: ProcessGroup,
}

/// What is to become of a client whose program is, or has, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientOrder {
    /// It has one: if it ends, another follows.
    Run,
    /// It has none until further order.
    StayDown,
    /// It has another one than this, which is left as it is and heard no more.
    Replace(ProcessGroup),
}

/// Whoever runs clients.
pub trait Clients: fmt::Debug + Send + Sync {
    /// The clients that are meant and that take work now, by name.
    fn find(&self, whom: &ClientTarget) -> Vec<Client>;
    /// Says what is to become of a client; `name` as in [`Client`]. Nothing of one that has done its part.
    fn order(&self, name: &str, order: ClientOrder);
    /// Sends a signal to every process of a program that was not reaped; `Ok(false)` if it was.
    fn signal(&self, group: ProcessGroup, signal: Signal) -> io::Result<bool>;
    /// Whether a client takes work as it should, or has done its part.
    fn is_whole(&self, name: &str) -> bool;
}
