//! Faults of clients that are programs, one file each. They are applied to all of a target together.

mod kill;
mod pause;
mod zombie;

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::client::{Client, Clients};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::supervisor::SignalTimes;

/// How long a signal may take until it has acted on every process of a program.
const ACT_LIMIT: Duration = Duration::from_secs(10);
/// How long another program may take until it is ready: a JVM that compiles its source first, on a host that does other things.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(5);

/// What is done to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientFault {
    /// SIGKILL, and no other in its place. Acts when every process of its program is gone; heals when another one is ready.
    Kill,
    /// SIGSTOP. Acts when every thread of its program is in state T; heals by SIGCONT.
    Pause,
    /// SIGSTOP, and another program takes its place: acts when that one is ready. Heals by SIGCONT: the first goes on with what it had.
    Zombie,
}

impl ClientFault {
    /// As scenario files and reports spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "client.kill",
            Self::Pause => "client.pause",
            Self::Zombie => "client.zombie",
        }
    }

    /// Does it to all of `victims`; returns when the effect was seen on each. On an error it may still have been done in part: heal.
    pub(crate) fn apply(self, clients: &dyn Clients, victims: &[Client]) -> Result<SignalTimes, ChaosError> {
        match self {
            Self::Kill => kill::apply(clients, victims),
            Self::Pause => pause::apply(clients, victims),
            Self::Zombie => zombie::apply(clients, victims),
        }
    }

    /// Ends it, from whatever state; returns when every client was seen to be whole.
    pub(crate) fn heal(self, clients: &dyn Clients, victims: &[Client]) -> Result<u64, ChaosError> {
        match self {
            Self::Kill => kill::heal(clients, victims),
            Self::Pause => pause::heal(clients, victims),
            Self::Zombie => zombie::heal(clients, victims),
        }
    }
}

/// Signals all of `victims`; gives when the first signal was sent.
fn signal_all(clients: &dyn Clients, victims: &[Client], signal: Signal) -> Result<u64, ChaosError> {
    let sent_ns = monotonic_ns();
    for victim in victims {
        let sent = clients.signal(victim.group, signal);
        if !sent.map_err(|error| not_seen(format!("{}: {signal} was not sent: {error}", victim.name)))? {
            return Err(not_seen(format!("{} had ended by itself", victim.name)));
        }
    }
    Ok(sent_ns)
}

/// Has every program that is left go on; returns when none of its threads stands still.
fn resume(clients: &dyn Clients, victims: &[Client]) -> Result<u64, ChaosError> {
    for victim in victims {
        // One that has ended meanwhile needs nothing.
        let sent = clients.signal(victim.group, Signal::SIGCONT);
        sent.map_err(|error| not_seen(format!("{}: SIGCONT was not sent: {error}", victim.name)))?;
    }
    wait_each(victims, ACT_LIMIT, "does not go on", |victim| !victim.group.any_stopped())
}

/// Waits until `seen` of every client; gives when the last was. `otherwise` says what is wrong with one of which it is never seen.
fn wait_each(
    victims: &[Client],
    limit: Duration,
    otherwise: &str,
    seen: impl Fn(&Client) -> bool,
) -> Result<u64, ChaosError> {
    let deadline = Instant::now() + limit;
    for victim in victims {
        while !seen(victim) {
            if Instant::now() >= deadline {
                return Err(not_seen(format!("after {} s {} {otherwise}", limit.as_secs(), victim.name)));
            }
            thread::sleep(POLL);
        }
    }
    Ok(monotonic_ns())
}

/// Waits until every client takes work, or has done its part.
fn wait_whole(clients: &dyn Clients, victims: &[Client]) -> Result<u64, ChaosError> {
    wait_each(victims, READY_LIMIT, "has no program that is ready", |victim| clients.is_whole(&victim.name))
}

fn not_seen(why: String) -> ChaosError {
    ChaosError::NotSeenToAct { why }
}
