//! A fault of a broker that is somebody else's, done by an operator's commands.
//!
//! What the commands say is not what counts: the broker acts on a client of ours. One that was killed or stopped takes no connections any
//! more, or, where its whole host is gone, the others have ceased to list it; one that is paused takes them and does not answer.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use gauntlet_wire::{ConnectOptions, Connection, WireError};

use super::{Acted, FaultAction, all_at_once};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::foreign::ForeignCluster;
use crate::hook::{Hook, HookStep, HookedBroker};
use crate::journal::PlannedHook;
use crate::supervisor::SignalTimes;
use crate::target::Electorate;

/// Limit for one answer. A broker that takes longer under load is not silent twice ([`SILENT_TIMES`]).
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// So many answers in a row must be missing before a broker counts as silent: one may be a collection of garbage.
const SILENT_TIMES: u32 = 2;
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(100);

/// One broker and the commands for it.
#[derive(Debug)]
pub(crate) struct Hooked {
    broker: i32,
    addr: String,
    hook: Hook,
    loss: Loss,
}

/// How a broker is lost, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Nobody is there.
    Gone,
    /// Somebody is, and says nothing.
    Silent,
}

/// What one look at a broker has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    /// It answers, and lists itself or not.
    Answers { lists_itself: bool },
    /// It takes no connections, or ends them.
    Gone(String),
    /// It does not answer in time.
    Silent(String),
    /// Something else, which is no answer.
    Unclear(String),
}

impl Hooked {
    /// The commands for a broker that is well: the effect could not be told from what is wrong already.
    pub(crate) fn prepare(
        cluster: &ForeignCluster,
        action: &FaultAction,
        fault: &str,
        broker: i32,
    ) -> Result<Self, ChaosError> {
        let refused = |why: String| ChaosError::Refused { why };
        let name = action.name();
        let hook = cluster.hook(name).ok_or_else(|| refused(format!("there is no hook for {name}")))?;
        let known = || cluster.broker_ids();
        let addr = cluster
            .brokers()
            .get(&broker)
            .ok_or_else(|| ChaosError::NoSuchNode { id: broker, known: known() })?;
        let hook = hook.of(&HookedBroker { id: broker, addr, fault }).map_err(refused)?;
        let loss = match action {
            FaultAction::BrokerPause => Loss::Silent,
            _ => Loss::Gone,
        };
        let hooked = Self { broker, addr: addr.clone(), hook, loss };
        match hooked.look(&cluster.login()) {
            Look::Answers { lists_itself: true } => Ok(hooked),
            other => Err(refused(format!("broker {broker} can't be a victim: {}", other.told(addr)))),
        }
    }

    /// What the journal has to say before anything is applied.
    pub(crate) fn planned(&self, fault: &str) -> PlannedHook {
        PlannedHook { fault: fault.to_owned(), broker: self.broker, heal: self.hook.heal.clone() }
    }

    /// Applies it to all of `hooked` at once; returns when the effect was seen on each, by us and by their check. On an error it may still
    /// have been done in part: heal.
    pub(crate) fn apply(
        hooked: &[&Self],
        cluster: &ForeignCluster,
        fault: &str,
    ) -> Result<Acted, ChaosError> {
        let ids: Vec<i32> = hooked.iter().map(|hooked| hooked.broker).collect();
        let one = |id: i32| match hooked.iter().find(|hooked| hooked.broker == id) {
            Some(hooked) => hooked.apply_one(cluster, fault),
            None => Err(ChaosError::NoSuchNode { id, known: ids.clone() }),
        };
        all_at_once::apply(&ids, one).map(Acted::from)
    }

    fn apply_one(&self, cluster: &ForeignCluster, fault: &str) -> Result<SignalTimes, ChaosError> {
        let of = (fault, self.broker);
        let applied = cluster.run_hook(HookStep::Apply, &self.hook.apply, of)?;
        let deadline = Instant::now() + self.hook.within;
        let seen_ns = self.wait_lost(cluster, deadline)?;
        let checked_ns = self.wait_checked(cluster, of, deadline)?;
        Ok(SignalTimes { sent_ns: applied.sent_ns, seen_ns: checked_ns.unwrap_or(seen_ns).max(seen_ns) })
    }

    /// Waits until the broker is lost as the fault says; gives the time of the first look that showed it.
    fn wait_lost(&self, cluster: &ForeignCluster, deadline: Instant) -> Result<u64, ChaosError> {
        let mut silent = Vec::new();
        loop {
            let looked_ns = monotonic_ns();
            let look = self.look(&cluster.login());
            if let Look::Silent(_) = look {
                silent.push(looked_ns);
            } else {
                silent.clear();
            }
            let silent_ns = silent.first().copied().filter(|_| silent.len() >= SILENT_TIMES as usize);
            let lost_ns = match (self.loss, &look) {
                (Loss::Gone, Look::Gone(_)) => Some(looked_ns),
                // A host that is gone answers nothing at all; nor does a broker that was only halted, until the others give it up.
                (Loss::Gone, Look::Silent(_)) => silent_ns.filter(|_| self.is_unlisted(cluster)),
                (Loss::Silent, Look::Silent(_)) => silent_ns,
                _ => None,
            };
            if let Some(lost_ns) = lost_ns {
                return Ok(lost_ns);
            }
            if Instant::now() >= deadline {
                let expected = match self.loss {
                    Loss::Gone => "gone",
                    Loss::Silent => "silent",
                };
                let why = format!(
                    "{} s after its hook had ended, broker {} was not {expected}: {}",
                    self.hook.within.as_secs(),
                    self.broker,
                    look.told(&self.addr)
                );
                return Err(ChaosError::NotSeenToAct { why });
            }
            thread::sleep(POLL);
        }
    }

    /// Asks the check until it says yes; gives when it did, if there is one.
    fn wait_checked(
        &self,
        cluster: &ForeignCluster,
        of: (&str, i32),
        deadline: Instant,
    ) -> Result<Option<u64>, ChaosError> {
        let Some(check) = &self.hook.check else { return Ok(None) };
        loop {
            match cluster.run_hook(HookStep::Check, check, of) {
                Ok(times) => return Ok(Some(times.seen_ns)),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => thread::sleep(ANSWER_LIMIT),
            }
        }
    }

    /// Has the hook undo it.
    pub(crate) fn heal(&self, cluster: &ForeignCluster, fault: &str) -> Result<(), ChaosError> {
        cluster.run_hook(HookStep::Heal, &self.hook.heal, (fault, self.broker)).map(|_| ())
    }

    /// Waits until the broker answers and lists itself; gives the time when that was seen.
    pub(crate) fn wait_back(&self, cluster: &ForeignCluster) -> Result<u64, ChaosError> {
        let deadline = Instant::now() + self.hook.within;
        loop {
            let look = self.look(&cluster.login());
            if look == (Look::Answers { lists_itself: true }) {
                return Ok(monotonic_ns());
            }
            if Instant::now() >= deadline {
                let why = format!(
                    "broker {} is not back {} s after its hook had healed it: {}",
                    self.broker,
                    self.hook.within.as_secs(),
                    look.told(&self.addr)
                );
                return Err(ChaosError::NotSeenToAct { why });
            }
            thread::sleep(POLL);
        }
    }

    /// Whether a broker that answers, another one, lists it no longer.
    fn is_unlisted(&self, cluster: &ForeignCluster) -> bool {
        let options = ConnectOptions { timeout: ANSWER_LIMIT, ..cluster.login() };
        let others = cluster.brokers().iter().filter(|(id, _)| **id != self.broker);
        let listed = others
            .filter_map(|(_, addr)| registered(addr, &options).ok())
            .map(|listed| listed.contains(&self.broker));
        listed.reduce(|one, other| one || other) == Some(false)
    }

    fn look(&self, login: &ConnectOptions) -> Look {
        let options = ConnectOptions { timeout: ANSWER_LIMIT, ..login.clone() };
        match registered(&self.addr, &options) {
            Ok(listed) => Look::Answers { lists_itself: listed.contains(&self.broker) },
            Err(error) => Look::of(&error),
        }
    }
}

/// The brokers that the one at `addr` lists.
fn registered(addr: &str, options: &ConnectOptions) -> Result<Vec<i32>, WireError> {
    let metadata = Connection::connect(addr, options)?.metadata(Some(&[]))?;
    Ok(metadata.brokers.iter().map(|broker| broker.id).collect())
}

impl Look {
    fn of(error: &WireError) -> Self {
        let told = error.to_string();
        let (WireError::Connect { source, .. } | WireError::Io { source, .. }) = error else {
            return Self::Unclear(told);
        };
        match source.kind() {
            ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable => Self::Silent(told),
            _ => Self::Gone(told),
        }
    }

    fn told(&self, addr: &str) -> String {
        match self {
            Self::Answers { lists_itself: true } => format!("{addr} answers"),
            Self::Answers { lists_itself: false } => format!("{addr} answers and does not list itself"),
            Self::Gone(error) | Self::Silent(error) | Self::Unclear(error) => error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn look_at(addr: &str) -> Look {
        let command = crate::hook::HookCommand { argv: Vec::new(), env: Vec::new(), timeout_ms: 1 };
        let within = Duration::from_secs(1);
        let hook = Hook { apply: command.clone(), check: None, heal: command, within };
        let hooked = Hooked { broker: 1, addr: addr.to_owned(), hook, loss: Loss::Gone };
        hooked.look(&ConnectOptions::default())
    }

    #[test]
    fn nobody_there_and_nobody_answering_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        // The kernel takes the connection, as it does for a process that is halted.
        assert!(matches!(look_at(&addr), Look::Silent(_)), "{:?}", look_at(&addr));
        drop(listener);
        assert!(matches!(look_at(&addr), Look::Gone(_)), "{:?}", look_at(&addr));
    }

    #[test]
    fn one_that_ends_connections_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let hang_up = thread::spawn(move || drop(listener.accept()));
        assert!(matches!(look_at(&addr), Look::Gone(_)));
        hang_up.join().unwrap();
    }
}
