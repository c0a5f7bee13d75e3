//! Injects faults on a schedule and heals them, whatever happens meanwhile.
//!
//! One thread per fault, so that faults may overlap. Each goes through the same steps: wait until due, resolve the target,
//! claim it, write the journal, inject, wait, heal, mark the journal, wait until the victim is whole. The rules:
//!
//! - Journal first: nothing is injected whose undoing is not on disk.
//! - A fault that hits several nodes claims and journals all of them before it touches one.
//! - One fault per node at a time, and per property, quota, or placement of a topic ([`Claim`]). A second one is refused and says so in its
//!   record: healing one would end the other.
//! - What failed half-way is healed at once: "not seen to act" is no proof that it did not act.
//! - Once the run ends ([`Injector::heal_all`]) nothing new is injected and everything is healed, from whatever step it is in.
//!
//! Layout: `steps` the life of one fault, `events` what is told meanwhile.

mod events;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use events::{FaultEvent, FaultStep};

use crate::client::Clients;
use crate::clock::monotonic_ns;
use crate::fault::{Aim, Claim, FaultRecord, FaultSpec};
use crate::foreign::{FaultCluster, ForeignCluster};
use crate::journal::{UndoJournal, undo_pending};
use crate::target::Target;
use steps::FaultThread;

/// Most faults of one run; each costs a thread.
const FAULTS_MAX: usize = 256;

/// Why no fault will be injected.
#[derive(Debug, thiserror::Error)]
pub enum InjectorError {
    /// More faults than threads are given.
    #[error("{count} faults are more than the {FAULTS_MAX} that one run may have")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A fault that waits for one that is not before it, or that never ends by itself.
    #[error("fault {name} follows {before}, which is no earlier fault that ends by itself")]
    FollowsNobody {
        /// Its name.
        name: String,
        /// What it is to follow.
        before: String,
    },
    /// What is over at once has no duration.
    #[error("fault {name} is over at once: it can't last")]
    MomentLasts {
        /// Its name.
        name: String,
    },
    /// An operation hits no node, faults of clients hit those, and everything else hits nodes.
    #[error("fault {name}, {action}, does not fit its target")]
    Misaimed {
        /// Its name.
        name: String,
        /// What it does.
        action: &'static str,
    },
    /// The processes of a cluster that is somebody else's are out of reach, and no hook is stated.
    #[error("fault {name}, {action}, needs nodes that gauntlet started, or a hook")]
    NeedsLocal {
        /// Its name.
        name: String,
        /// What it does.
        action: &'static str,
    },
    /// Two faults can't be told apart.
    #[error("two faults are named {name}")]
    NameTwice {
        /// Their name.
        name: String,
    },
    /// No thread for a fault.
    #[error("cannot start a thread for fault {fault}: {source}")]
    Thread {
        /// Name of the fault.
        fault: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// The cluster is not what it was before the faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not everything could be healed: {}", problems.join("; "))]
pub struct RollbackError {
    /// One sentence per fault.
    pub problems: Vec<String>,
}

/// The faults of a run under way. All methods take `&self` and may be called from any thread. Dropping it heals everything
/// and waits for that.
#[derive(Debug)]
pub struct Injector {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held while healing what threads left, so that two callers don't start the same node at once.
    backstop: Mutex<()>,
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    cluster: FaultCluster,
    /// Whoever runs the clients that faults may hit.
    clients: Option<Arc<dyn Clients>>,
    journal: Arc<UndoJournal>,
    state: Mutex<State>,
    /// Notified at every change of `state` that somebody may wait for.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Set once, by [`Injector::heal_all`].
    ending: bool,
    /// What is under which fault.
    claimed: BTreeMap<Claim, String>,
    /// Faults that are over, or will never be injected.
    over: BTreeSet<String>,
    /// Threads that are not done.
    running: usize,
    /// Threads among them that wait for the end of the run.
    held: usize,
    /// In the order of the specs.
    records: Vec<FaultRecord>,
    /// Which fault follows which.
    follows: BTreeMap<String, String>,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    /// The time came.
    Due,
    /// The run ends.
    Ending,
}

impl Injector {
    /// Starts waiting for the first fault. A fault is due `at_ns` after `origin_ns` (CLOCK_MONOTONIC). Each step of each
    /// fault is sent to `events`; a receiver that is gone disturbs nothing.
    pub fn start(
        cluster: impl Into<FaultCluster>,
        specs: Vec<FaultSpec>,
        origin_ns: u64,
        journal: Arc<UndoJournal>,
        events: Sender<FaultEvent>,
    ) -> Result<Self, InjectorError> {
        Self::start_beside(None, cluster, specs, origin_ns, journal, events)
    }

    /// The same beside clients that faults may hit, too.
    pub fn start_beside(
        clients: Option<Arc<dyn Clients>>,
        cluster: impl Into<FaultCluster>,
        specs: Vec<FaultSpec>,
        origin_ns: u64,
        journal: Arc<UndoJournal>,
        events: Sender<FaultEvent>,
    ) -> Result<Self, InjectorError> {
        check(&specs)?;
        let cluster = cluster.into();
        let out_of_reach = |spec: &&FaultSpec| {
            let hooked = |foreign: &ForeignCluster| foreign.hook(spec.action.name()).is_some();
            matches!(spec.action.aim(), Aim::Nodes(_))
                && cluster.foreign().is_some_and(|foreign| !hooked(foreign))
        };
        if let Some(spec) = specs.iter().find(out_of_reach) {
            return Err(InjectorError::NeedsLocal { name: spec.name.clone(), action: spec.action.name() });
        }
        let planned = |spec: &FaultSpec| {
            FaultRecord::planned(&spec.name, spec.action.clone(), origin_ns.saturating_add(spec.at_ns))
        };
        let records = specs.iter().map(planned).collect();
        let follows =
            specs.iter().filter_map(|spec| Some((spec.name.clone(), spec.follows.clone()?))).collect();
        let state = State {
            ending: false,
            claimed: BTreeMap::new(),
            over: BTreeSet::new(),
            running: 0,
            held: 0,
            records,
            follows,
        };
        let shared =
            Arc::new(Shared { cluster, clients, journal, state: Mutex::new(state), changed: Condvar::new() });
        let injector =
            Self { shared: Arc::clone(&shared), threads: Mutex::default(), backstop: Mutex::default() };
        for (index, spec) in specs.into_iter().enumerate() {
            let fault = spec.name.clone();
            let thread = FaultThread::new(Arc::clone(&shared), spec, index, events.clone());
            // If this fails, dropping `injector` stops the threads before it.
            let handle = thread::Builder::new()
                .name(format!("fault-{index}"))
                .spawn(move || thread.run())
                .map_err(|source| InjectorError::Thread { fault, source })?;
            injector.threads.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        }
        Ok(injector)
    }

    /// Ends the faults: nothing new is injected, everything is healed, and it is waited until every victim is whole. For
    /// every way a run can end; calling it again, or from two threads, is harmless.
    ///
    /// It takes as long as the slowest victim needs to come back (at most 60 s), plus what is left of the deadline of a
    /// `broker.stop` that is under way. An error says what is left broken.
    pub fn heal_all(&self) -> Result<(), RollbackError> {
        let mut state = self.shared.lock();
        state.ending = true;
        self.shared.changed.notify_all();
        while state.running > 0 {
            state = self.shared.wait(state);
        }
        let mut problems: Vec<String> = state.records.iter().filter_map(problem).collect();
        drop(state);

        let _alone = self.backstop.lock().unwrap_or_else(PoisonError::into_inner);
        match undo_pending(&self.shared.journal, &self.shared.cluster) {
            Ok(report) => problems.extend(
                report.failed.iter().map(|(pending, why)| format!("{}: {why}", pending.planned.fault())),
            ),
            Err(error) => problems.push(error.to_string()),
        }
        if problems.is_empty() { Ok(()) } else { Err(RollbackError { problems }) }
    }

    /// Waits until every fault that recovers by itself is over, heals the others, and gives the record of each, in the order
    /// of the specs. What could not be healed is in the records.
    pub fn join(&self) -> Vec<FaultRecord> {
        let mut state = self.shared.lock();
        while state.running > state.held {
            state = self.shared.wait(state);
        }
        drop(state);
        // Its error repeats what the records say.
        let _ = self.heal_all();
        self.records()
    }

    /// The records as they are now.
    #[must_use]
    pub fn records(&self) -> Vec<FaultRecord> {
        self.shared.lock().records.clone()
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        // Whoever wants to know calls heal_all; a drop on a panic has nobody to tell.
        let _ = self.heal_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic in it is in its record.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the fault of this name is over, or until the run ends; gives what became of it.
    fn wait_until_over(&self, fault: &str) -> Option<FaultRecord> {
        let mut state = self.lock();
        while !state.ending && !state.over.contains(fault) {
            state = self.wait(state);
        }
        let record = state.records.iter().find(|record| record.name == fault);
        record.filter(|_| !state.ending).cloned()
    }

    /// Waits until `due_ns`, CLOCK_MONOTONIC (`None`: for ever), or until the run ends.
    fn wait_until(&self, due_ns: Option<u64>) -> Waited {
        let mut state = self.lock();
        loop {
            if state.ending {
                return Waited::Ending;
            }
            let left_ns = due_ns.map(|due_ns| due_ns.saturating_sub(monotonic_ns()));
            state = match left_ns {
                Some(0) => return Waited::Due,
                None => self.wait(state),
                Some(left_ns) => {
                    let waited = self.changed.wait_timeout(state, Duration::from_nanos(left_ns));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// What the record says about a node that is not whole, in a sentence.
fn problem(record: &FaultRecord) -> Option<String> {
    record.heal_error.as_ref().map(|error| format!("{}: {error}", record.name))
}

fn check(specs: &[FaultSpec]) -> Result<(), InjectorError> {
    if specs.len() > FAULTS_MAX {
        return Err(InjectorError::TooMany { count: specs.len() });
    }
    let mut ends_by_itself = BTreeMap::new();
    for spec in specs {
        let name = || spec.name.clone();
        if spec.action.is_momentary() && spec.recover_after != Some(Duration::ZERO) {
            return Err(InjectorError::MomentLasts { name: name() });
        }
        let fits = match spec.action.aim() {
            Aim::Nodes(_) => !matches!(spec.target, Target::Cluster | Target::Clients(_)),
            Aim::Clients(_) => matches!(spec.target, Target::Clients(_)),
            Aim::Cluster(_) => spec.target == Target::Cluster,
        };
        if !fits {
            return Err(InjectorError::Misaimed { name: name(), action: spec.action.name() });
        }
        if let Some(before) = &spec.follows
            && ends_by_itself.get(before) != Some(&true)
        {
            return Err(InjectorError::FollowsNobody { name: name(), before: before.clone() });
        }
        if ends_by_itself.insert(&spec.name, spec.recover_after.is_some()).is_some() {
            return Err(InjectorError::NameTwice { name: name() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{ClientFault, ElectionPreferred, FaultAction, Operation};

    #[test]
    fn faults_that_can_not_be_told_apart_are_refused() {
        let spec = FaultSpec {
            name: "a".to_owned(),
            action: FaultAction::BrokerKill,
            target: Target::ActiveController,
            at_ns: 0,
            recover_after: None,
            follows: None,
        };
        let other = FaultSpec { name: "b".to_owned(), ..spec.clone() };
        assert!(check(&[spec.clone(), other.clone()]).is_ok());
        let after = FaultSpec { follows: Some("a".to_owned()), ..other };
        let brief = FaultSpec { recover_after: Some(Duration::ZERO), ..spec.clone() };
        assert!(check(&[brief.clone(), after.clone()]).is_ok());
        for specs in [&[spec.clone(), after.clone()][..], &[after, brief.clone()]] {
            let error = check(specs).unwrap_err().to_string();
            assert_eq!(error, "fault b follows a, which is no earlier fault that ends by itself");
        }
        let bounce = FaultSpec { action: FaultAction::BrokerBounce, ..spec.clone() };
        let error = check(&[bounce]).unwrap_err().to_string();
        assert_eq!(error, "fault a is over at once: it can't last");
        let election = Operation::ElectionPreferred(ElectionPreferred { topic: "orders".to_owned() });
        let action = FaultAction::Operation { operation: election };
        let misaimed = FaultSpec { action, ..brief };
        let error = check(std::slice::from_ref(&misaimed)).unwrap_err().to_string();
        assert_eq!(error, "fault a, election.preferred, does not fit its target");
        assert!(check(&[FaultSpec { target: Target::Cluster, ..misaimed }]).is_ok());
        let kill = FaultAction::Client { fault: ClientFault::Kill };
        let error = check(&[FaultSpec { action: kill, ..spec.clone() }]).unwrap_err().to_string();
        assert_eq!(error, "fault a, client.kill, does not fit its target");
        let error = check(&[spec.clone(), spec.clone()]).unwrap_err().to_string();
        assert_eq!(error, "two faults are named a");
        let error = check(&vec![spec; 257]).unwrap_err().to_string();
        assert!(error.contains("257 faults are more than the 256"), "{error}");
    }
}
