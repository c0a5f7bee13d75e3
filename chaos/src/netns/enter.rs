//! How a process gets into a network namespace: between fork and exec.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

/// Where `ip netns` keeps the names of namespaces.
pub(super) const NAMES: &str = "/var/run/netns";

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// One that `ip netns` has made.
    Named(String),
    /// A new one, which is gone with the process.
    Fresh,
}

impl fmt::Display for Namespace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(out, "network namespace {name}"),
            Self::Fresh => write!(out, "a new network namespace"),
        }
    }
}

/// Has `command` run in `namespace`. Everything else stays as it is: unlike `ip netns exec` it mounts nothing.
pub(crate) fn enter(command: &mut Command, namespace: &Namespace) -> io::Result<()> {
    let file = match namespace {
        Namespace::Named(name) => Some(File::open(format!("{NAMES}/{name}"))?),
        Namespace::Fresh => None,
    };
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are allowed: setns and unshare are
    // plain system calls on a descriptor that was opened before, and building the error allocates nothing.
    unsafe {
        command.pre_exec(move || match &file {
            Some(file) => setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from),
            None => unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from),
        });
    }
    Ok(())
}
