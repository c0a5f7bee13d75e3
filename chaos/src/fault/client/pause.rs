//! SIGSTOP: an application that hangs, in a long collection of garbage or with its virtual machine. It keeps its connections and what it
//! had begun, and goes on with that as if no time had passed.

use nix::sys::signal::Signal;

use super::{ACT_LIMIT, resume, signal_all, wait_each};
use crate::client::{Client, Clients};
use crate::error::ChaosError;
use crate::supervisor::SignalTimes;

/// Halts the programs of `victims`; returns when all of their threads are in state T.
pub(super) fn apply(clients: &dyn Clients, victims: &[Client]) -> Result<SignalTimes, ChaosError> {
    let sent_ns = signal_all(clients, victims, Signal::SIGSTOP)?;
    let seen_ns = wait_each(victims, ACT_LIMIT, "does not stand still", |victim| victim.group.is_stopped())?;
    Ok(SignalTimes { sent_ns, seen_ns })
}

/// Has them go on.
pub(super) fn heal(clients: &dyn Clients, victims: &[Client]) -> Result<u64, ChaosError> {
    resume(clients, victims)
}
