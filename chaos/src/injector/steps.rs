//! The life of one fault, in a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::{FaultEvent, FaultStep, Shared, Waited};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::{FaultRecord, FaultSpec, status_of};
use crate::journal::{JournalError, PlannedUndo};
use crate::process::ProcessIdentity;
use crate::supervisor::{NodeState, NodeStatus};
use crate::target::TargetError;

/// How long a victim may take to be whole again. Starting a broker takes 3 to 15 s here, longer after an unclean stop of large
/// logs.
const HEAL_LIMIT: Duration = Duration::from_secs(60);

/// Why a fault was not injected. In each case nothing was done to any node.
#[derive(Debug, thiserror::Error)]
enum NotInjected {
    #[error("the run ended before it was due")]
    RunEnded,
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("node {node} is under fault {other} already")]
    Claimed { node: i32, other: String },
    #[error("node {} can't be a victim: it is {}", .0.node, .0.state)]
    NotRunning(NodeStatus),
    #[error(transparent)]
    Cluster(#[from] ChaosError),
    #[error("no undo journal, no fault: {0}")]
    Journal(#[from] JournalError),
}

/// A victim that is claimed and journaled: from here on it has to be healed.
struct Victim {
    node: i32,
    process: ProcessIdentity,
    journal_id: u64,
}

/// Everything that the thread of one fault owns.
pub(super) struct FaultThread {
    shared: Arc<Shared>,
    spec: FaultSpec,
    index: usize,
    record: FaultRecord,
    events: Sender<FaultEvent>,
}

impl FaultThread {
    /// Counts the thread as running: the count must be right before the thread first runs.
    pub(super) fn new(
        shared: Arc<Shared>,
        spec: FaultSpec,
        index: usize,
        events: Sender<FaultEvent>,
    ) -> Self {
        let mut state = shared.lock();
        state.running += 1;
        let record = state.records[index].clone();
        drop(state);
        Self { shared, spec, index, record, events }
    }

    /// From waiting to healed.
    pub(super) fn run(mut self) {
        match self.prepare() {
            Ok(victim) => {
                self.inject(&victim);
                self.hold();
                self.heal(&victim);
            }
            Err(why) => {
                let error = why.to_string();
                self.record.error = Some(error.clone());
                self.publish(FaultStep::Failed { error }, monotonic_ns());
            }
        }
    }

    /// Waits until it is due, finds the victim, claims it and writes the journal.
    fn prepare(&mut self) -> Result<Victim, NotInjected> {
        if self.shared.wait_until(Some(self.record.planned_at_ns)) == Waited::Ending {
            return Err(NotInjected::RunEnded);
        }
        let cluster = &self.shared.cluster;
        let target = self.spec.target.resolve(cluster, || !self.shared.lock().ending)?;
        let node = target.node;
        self.claim(node)?;
        let status = status_of(cluster, node)?;
        if status.state != NodeState::Running {
            return Err(NotInjected::NotRunning(status));
        }
        let process = status.process;
        let undo = self.spec.action.undo();
        let planned = PlannedUndo { fault: self.spec.name.clone(), node, process, undo };
        let journal_id = self.shared.journal.begin(&planned)?;
        self.record.target = Some(target.clone());
        self.publish(FaultStep::Injecting { target }, monotonic_ns());
        Ok(Victim { node, process, journal_id })
    }

    /// Takes the node, unless the run ends or another fault has it. Released when this thread ends.
    fn claim(&self, node: i32) -> Result<(), NotInjected> {
        let mut state = self.shared.lock();
        if state.ending {
            return Err(NotInjected::RunEnded);
        }
        match state.claimed.get(&node) {
            Some(other) => Err(NotInjected::Claimed { node, other: other.clone() }),
            None => {
                state.claimed.insert(node, self.spec.name.clone());
                Ok(())
            }
        }
    }

    fn inject(&mut self, victim: &Victim) {
        match self.spec.action.apply(&self.shared.cluster, victim.node) {
            Ok(times) => {
                self.record.injected_ns = Some(times.sent_ns);
                self.record.took_effect_ns = Some(times.seen_ns);
                self.publish(FaultStep::TookEffect { injected_ns: times.sent_ns }, times.seen_ns);
            }
            Err(error) => {
                let error = format!("not seen to act: {error}");
                self.record.error = Some(error.clone());
                self.publish(FaultStep::Failed { error }, monotonic_ns());
            }
        }
    }

    /// Leaves the fault in place for its time. One that was not seen to act has none.
    fn hold(&self) {
        let Some(took_effect_ns) = self.record.took_effect_ns else { return };
        let Some(recover_after) = self.spec.recover_after else {
            self.shared.lock().held += 1;
            self.shared.changed.notify_all();
            self.shared.wait_until(None);
            self.shared.lock().held -= 1;
            return;
        };
        let recover_after_ns = u64::try_from(recover_after.as_nanos()).unwrap_or(u64::MAX);
        self.shared.wait_until(Some(took_effect_ns.saturating_add(recover_after_ns)));
    }

    fn heal(&mut self, victim: &Victim) {
        let began_ns = monotonic_ns();
        self.record.heal_began_ns = Some(began_ns);
        self.publish(FaultStep::HealBegan, began_ns);
        match self.bring_back(victim) {
            Ok(healed_ns) => {
                self.record.healed_ns = Some(healed_ns);
                self.publish(FaultStep::Healed, healed_ns);
            }
            Err(error) => {
                self.record.heal_error = Some(error.clone());
                self.publish(FaultStep::HealFailed { error }, monotonic_ns());
            }
        }
    }

    /// Heals, marks the journal, and waits until the victim is whole; gives the time when that was seen.
    fn bring_back(&self, victim: &Victim) -> Result<u64, String> {
        let cluster = &self.shared.cluster;
        let healed = self.spec.action.heal(cluster, victim.node, victim.process);
        healed.map_err(|error| error.to_string())?;
        // The process is there: what may still go wrong is not undone by doing it again.
        self.shared.journal.mark_undone(victim.journal_id).map_err(|error| error.to_string())?;
        cluster.wait_registered(victim.node, HEAL_LIMIT).map_err(|error| error.to_string())
    }

    /// Stores the record as it is now and tells the step. Whoever listened may be gone.
    fn publish(&self, step: FaultStep, at_ns: u64) {
        self.shared.lock().records[self.index] = self.record.clone();
        let _ = self.events.send(FaultEvent { at_ns, fault: self.spec.name.clone(), step });
    }
}

impl Drop for FaultThread {
    /// However the thread ends, even by a panic: the node is free again, and nobody waits for this thread any more.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if thread::panicking() {
            state.records[self.index].heal_error = Some("its thread panicked".to_owned());
        }
        state.claimed.retain(|_, fault| *fault != self.spec.name);
        state.running -= 1;
        drop(state);
        self.shared.changed.notify_all();
    }
}
