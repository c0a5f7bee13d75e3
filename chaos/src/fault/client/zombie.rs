//! A zombie: an application hangs for so long that another one takes its place, and then goes on and does not know. What it had in hand it
//! still writes, beside its successor: that is what fencing is for where there are transactions (KIP-98), and what an idempotent producer
//! alone does not keep from happening.

use super::{pause, resume, wait_whole};
use crate::client::{Client, ClientOrder, Clients};
use crate::error::ChaosError;
use crate::supervisor::SignalTimes;

/// Halts the programs of `victims` and has others take their places; returns when those are ready.
pub(super) fn apply(clients: &dyn Clients, victims: &[Client]) -> Result<SignalTimes, ChaosError> {
    let SignalTimes { sent_ns, .. } = pause::apply(clients, victims)?;
    victims.iter().for_each(|victim| clients.order(&victim.name, ClientOrder::Replace(victim.group)));
    let seen_ns = wait_whole(clients, victims)?;
    Ok(SignalTimes { sent_ns, seen_ns })
}

/// Has the first ones go on, beside their successors.
pub(super) fn heal(clients: &dyn Clients, victims: &[Client]) -> Result<u64, ChaosError> {
    let resumed_ns = resume(clients, victims)?;
    victims.iter().for_each(|victim| clients.order(&victim.name, ClientOrder::Run));
    Ok(resumed_ns.max(wait_whole(clients, victims)?))
}
