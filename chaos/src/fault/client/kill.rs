//! SIGKILL: an application that crashes. What it had taken and not finished is in nobody's hands: its records may be in the log or not.

use nix::sys::signal::Signal;

use super::{ACT_LIMIT, signal_all, wait_each, wait_whole};
use crate::client::{Client, ClientOrder, Clients};
use crate::error::ChaosError;
use crate::supervisor::SignalTimes;

/// Kills the programs of `victims`, and leaves them without; returns when none of their processes is left.
pub(super) fn apply(clients: &dyn Clients, victims: &[Client]) -> Result<SignalTimes, ChaosError> {
    // First, so that nobody is faster with another one.
    victims.iter().for_each(|victim| clients.order(&victim.name, ClientOrder::StayDown));
    let sent_ns = signal_all(clients, victims, Signal::SIGKILL)?;
    let seen_ns = wait_each(victims, ACT_LIMIT, "still runs", |victim| victim.group.is_gone())?;
    Ok(SignalTimes { sent_ns, seen_ns })
}

/// Has other programs take their places.
pub(super) fn heal(clients: &dyn Clients, victims: &[Client]) -> Result<u64, ChaosError> {
    victims.iter().for_each(|victim| clients.order(&victim.name, ClientOrder::Run));
    wait_whole(clients, victims)
}
