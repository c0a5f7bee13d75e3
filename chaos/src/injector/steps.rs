//! The life of one fault, in a thread of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::{FaultEvent, FaultStep, Shared, Waited};
use crate::client::{Client, Clients};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::{
    Acted, Aim, Claim, ClientFault, FaultRecord, FaultSpec, Hooked, Means, Operation, OperationUndo,
    status_of,
};
use crate::foreign::ForeignCluster;
use crate::journal::{BrokerAddress, JournalError, Planned, PlannedOperation, PlannedUndo};
use crate::process::ProcessIdentity;
use crate::supervisor::{NodeState, NodeStatus};
use crate::target::{ResolvedTarget, Target, TargetError};

/// How long a victim may take to be whole again. Starting a broker takes 3 to 15 s here, longer after an unclean stop of large
/// logs.
const HEAL_LIMIT: Duration = Duration::from_secs(60);

/// How long replicas may take to be in sync again before a fault that follows another one is given up.
const IN_SYNC_LIMIT: Duration = Duration::from_secs(120);
/// Pause between two looks at them.
const IN_SYNC_POLL: Duration = Duration::from_millis(100);

/// Why a fault was not injected. In each case nothing was done to any node, nor to the cluster.
#[derive(Debug, thiserror::Error)]
enum NotInjected {
    #[error("the run ended before it was due")]
    RunEnded,
    #[error("fault {before}, which comes before it, {why}")]
    Before { before: String, why: String },
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{claim} is under fault {other} already")]
    Claimed { claim: Claim, other: String },
    #[error("{0} can't be hit: none that is a program takes work now")]
    NoClient(Target),
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

/// What is hit.
enum Hit {
    /// Nodes.
    Nodes { means: Means, victims: Vec<Victim> },
    /// Clients of the run.
    Clients { fault: ClientFault, victims: Vec<Client> },
    /// Brokers that are somebody else's, by an operator's commands; each with its entry in the journal.
    Hooked(Vec<(Hooked, u64)>),
    /// The cluster, by an operation that is claimed and, if it can be undone, journaled.
    Cluster { operation: Operation, undo: Option<JournaledUndo> },
}

/// What was before an operation, and its entry in the journal.
struct JournaledUndo {
    before: OperationUndo,
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
            Ok(hit) => {
                self.inject(&hit);
                self.hold();
                self.heal(&hit);
            }
            Err(why) => {
                let error = why.to_string();
                self.record.error = Some(error.clone());
                self.publish(FaultStep::Failed { error }, monotonic_ns());
            }
        }
    }

    /// Waits until it is due, finds what is hit, claims it and writes the journal.
    fn prepare(&mut self) -> Result<Hit, NotInjected> {
        if self.shared.wait_until(Some(self.record.planned_at_ns)) == Waited::Ending {
            return Err(NotInjected::RunEnded);
        }
        if let Some(before) = self.spec.follows.clone() {
            self.await_turn(&before)?;
        }
        let action = self.spec.action.clone();
        let (hit, target) = match action.aim() {
            Aim::Nodes(means) => match self.shared.cluster.foreign() {
                Some(foreign) => self.prepare_hooked(foreign)?,
                None => self.prepare_nodes(means)?,
            },
            Aim::Clients(fault) => self.prepare_clients(fault)?,
            Aim::Cluster(operation) => self.prepare_operation(operation)?,
        };
        self.record.target = Some(target.clone());
        self.publish(FaultStep::Injecting { target }, monotonic_ns());
        Ok(hit)
    }

    fn prepare_nodes(&self, means: Means) -> Result<(Hit, ResolvedTarget), NotInjected> {
        let cluster = self.shared.cluster.local()?;
        let target = self.spec.target.resolve(cluster, &self.rolled(), || !self.shared.lock().ending)?;
        self.claim(target.nodes.iter().copied().map(Claim::Node).collect())?;
        let mut processes = Vec::new();
        for node in &target.nodes {
            let status = status_of(cluster, *node)?;
            if status.state != NodeState::Running {
                return Err(NotInjected::NotRunning(status));
            }
            processes.push((*node, status.process));
        }
        let (fault, undo) = (&self.spec.name, means.undo());
        let planned = |&(node, process): &(i32, ProcessIdentity)| {
            Planned::from(PlannedUndo { fault: fault.clone(), node, process, undo })
        };
        let ids = self.write_journal(processes.iter().map(planned))?;
        let victim = |((node, process), journal_id)| Victim { node, process, journal_id };
        let victims = processes.into_iter().zip(ids).map(victim).collect();
        Ok((Hit::Nodes { means, victims }, target))
    }

    fn prepare_clients(&self, fault: ClientFault) -> Result<(Hit, ResolvedTarget), NotInjected> {
        let target = &self.spec.target;
        let victims = match (&self.shared.clients, target) {
            (Some(clients), Target::Clients(whom)) => clients.find(whom),
            _ => Vec::new(),
        };
        if victims.is_empty() {
            return Err(NotInjected::NoClient(target.clone()));
        }
        self.claim(victims.iter().map(|victim| Claim::Client(victim.name.clone())).collect())?;
        let named = |victim: &Client| format!("{} (pid {})", victim.name, victim.group.leader.pid);
        let why = victims.iter().map(named).collect::<Vec<_>>().join(", ");
        // No entry in the journal: what is done to them ends with this process, as they do.
        Ok((Hit::Clients { fault, victims }, ResolvedTarget { nodes: Vec::new(), why }))
    }

    fn prepare_hooked(&self, cluster: &ForeignCluster) -> Result<(Hit, ResolvedTarget), NotInjected> {
        let target = self.spec.target.resolve(cluster, &self.rolled(), || !self.shared.lock().ending)?;
        self.claim(target.nodes.iter().copied().map(Claim::Node).collect())?;
        let of = |node: &i32| Hooked::prepare(cluster, &self.spec.action, &self.spec.name, *node);
        let hooked: Vec<Hooked> = target.nodes.iter().map(of).collect::<Result<_, _>>()?;
        let ids = self.write_journal(hooked.iter().map(|hooked| hooked.planned(&self.spec.name).into()))?;
        Ok((Hit::Hooked(hooked.into_iter().zip(ids).collect()), target))
    }

    fn prepare_operation(&self, operation: &Operation) -> Result<(Hit, ResolvedTarget), NotInjected> {
        let cluster = &self.shared.cluster;
        // First, so that what is read is not what another fault is going to undo.
        self.claim(operation.claims())?;
        let before = operation.before(&cluster.admin(operation.limit()), cluster.local().ok())?;
        self.claim(before.iter().flat_map(OperationUndo::claims).collect())?;
        let whom = before.as_ref().and_then(OperationUndo::whom).unwrap_or_else(|| operation.to_string());
        let undo = before.map(|before| {
            let address = |(id, addr)| BrokerAddress { id, addr };
            let planned = PlannedOperation {
                fault: self.spec.name.clone(),
                cluster_id: cluster.cluster_id().to_owned(),
                brokers: cluster.broker_addresses().into_iter().map(address).collect(),
                undo: before.clone(),
                foreign: cluster.is_foreign(),
            };
            let journal_id = self.shared.journal.begin(planned)?;
            Ok::<_, JournalError>(JournaledUndo { before, journal_id })
        });
        let hit = Hit::Cluster { operation: operation.clone(), undo: undo.transpose()? };
        Ok((hit, ResolvedTarget { nodes: Vec::new(), why: whom }))
    }

    /// Waits until the fault `before` is over and every replica is in sync again.
    fn await_turn(&self, before: &str) -> Result<(), NotInjected> {
        let failed = |why: String| NotInjected::Before { before: before.to_owned(), why };
        let record = self.shared.wait_until_over(before).ok_or(NotInjected::RunEnded)?;
        let (Some(target), Some(_), None) = (&record.target, record.healed_ns, &record.error) else {
            return Err(failed("went wrong".to_owned()));
        };
        let deadline_ns = monotonic_ns().saturating_add(nanoseconds(IN_SYNC_LIMIT));
        loop {
            // It is whole, so it has read of its own loss: nobody else is sure to have.
            let missing =
                match target.nodes.first().map(|node| self.shared.cluster.local()?.out_of_sync(*node)) {
                    Some(Ok(out)) if out.is_empty() => return Ok(()),
                    Some(Ok(out)) => out.join(", "),
                    Some(Err(error)) => error.to_string(),
                    None => return Err(failed("hit nobody".to_owned())),
                };
            if monotonic_ns() >= deadline_ns {
                let limit_s = IN_SYNC_LIMIT.as_secs();
                return Err(failed(format!("left replicas out of sync for {limit_s} s: {missing}")));
            }
            let next_ns = monotonic_ns().saturating_add(nanoseconds(IN_SYNC_POLL));
            if self.shared.wait_until(Some(next_ns)) == Waited::Ending {
                return Err(NotInjected::RunEnded);
            }
        }
    }

    /// The nodes that the faults before this one, in a chain of those that follow each other, have hit.
    fn rolled(&self) -> BTreeSet<i32> {
        let state = self.shared.lock();
        let mut nodes = BTreeSet::new();
        let mut before = self.spec.follows.as_deref();
        while let Some(name) = before {
            let record = state.records.iter().find(|record| record.name == name);
            nodes.extend(record.and_then(|record| record.target.as_ref()).iter().flat_map(|t| &t.nodes));
            before = state.follows.get(name).map(String::as_str);
        }
        nodes
    }

    /// Takes all or none, unless the run ends or another fault has one. Released when this thread ends.
    fn claim(&self, claims: Vec<Claim>) -> Result<(), NotInjected> {
        let mut state = self.shared.lock();
        if state.ending {
            return Err(NotInjected::RunEnded);
        }
        let other = |claim: &Claim| state.claimed.get(claim).filter(|fault| **fault != self.spec.name);
        let taken = claims.iter().find_map(|claim| Some((claim.clone(), other(claim)?.clone())));
        if let Some((claim, other)) = taken {
            return Err(NotInjected::Claimed { claim, other });
        }
        for claim in claims {
            state.claimed.insert(claim, self.spec.name.clone());
        }
        Ok(())
    }

    /// Writes an entry for each victim; gives their ids. If one can't be written, those before it undo nothing: none was hit.
    fn write_journal(&self, all: impl Iterator<Item = Planned>) -> Result<Vec<u64>, NotInjected> {
        let mut ids = Vec::new();
        for planned in all {
            match self.shared.journal.begin(planned) {
                Ok(id) => ids.push(id),
                Err(error) => {
                    for id in ids {
                        // The first error is the one to tell; what stays pending is undone once more, which is harmless.
                        let _ = self.shared.journal.mark_undone(id);
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(ids)
    }

    fn inject(&mut self, hit: &Hit) {
        let cluster = &self.shared.cluster;
        let applied = match hit {
            Hit::Nodes { means, victims } => {
                let nodes: Vec<i32> = victims.iter().map(|victim| victim.node).collect();
                cluster.local().and_then(|cluster| means.apply(&self.spec.name, cluster, &nodes))
            }
            Hit::Clients { fault, victims } => {
                self.clients().and_then(|clients| fault.apply(clients, victims)).map(Acted::from)
            }
            Hit::Hooked(hooked) => {
                let hooked: Vec<&Hooked> = hooked.iter().map(|(hooked, _)| hooked).collect();
                cluster.hooked().and_then(|cluster| Hooked::apply(&hooked, cluster, &self.spec.name))
            }
            Hit::Cluster { operation, undo } => {
                let (before, admin) =
                    (undo.as_ref().map(|undo| &undo.before), cluster.admin(operation.limit()));
                operation.apply(before, &admin, cluster.local().ok())
            }
        };
        match applied {
            Ok(Acted { times, losses }) => {
                self.record.losses = losses;
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
        self.shared.wait_until(Some(took_effect_ns.saturating_add(nanoseconds(recover_after))));
    }

    fn heal(&mut self, hit: &Hit) {
        let began_ns = monotonic_ns();
        self.record.heal_began_ns = Some(began_ns);
        self.publish(FaultStep::HealBegan, began_ns);
        let healed = match hit {
            Hit::Nodes { means, victims } => self.bring_back(*means, victims),
            Hit::Clients { fault, victims } => {
                let healed = self.clients().and_then(|clients| fault.heal(clients, victims));
                healed.map_err(|error| error.to_string())
            }
            Hit::Hooked(hooked) => self.heal_hooked(hooked),
            Hit::Cluster { undo: Some(undo), .. } => self.put_back(undo),
            Hit::Cluster { undo: None, .. } => Ok(began_ns),
        };
        match healed {
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

    /// Undoes an operation and marks the journal; gives the time when that was seen.
    fn put_back(&self, undo: &JournaledUndo) -> Result<u64, String> {
        let cluster = &self.shared.cluster;
        let undone = undo.before.undo(&cluster.admin(undo.before.limit()), cluster.local().ok());
        undone.map_err(|error| error.to_string())?;
        let healed_ns = monotonic_ns();
        self.shared.journal.mark_undone(undo.journal_id).map_err(|error| error.to_string())?;
        Ok(healed_ns)
    }

    /// Heals every victim, marks the journal, and waits until all are whole; gives the time when that was seen. What fails for
    /// one does not keep the others from being healed.
    fn bring_back(&self, means: Means, victims: &[Victim]) -> Result<u64, String> {
        let started: Vec<Result<(), String>> =
            victims.iter().map(|victim| self.undo(means, victim)).collect();
        // Only now: brokers that were all down come back together, as a voter alone can't even be registered.
        let limit_ns = monotonic_ns().saturating_add(nanoseconds(HEAL_LIMIT));
        let mut problems: Vec<String> = Vec::new();
        let mut healed_ns = 0;
        for (victim, started) in victims.iter().zip(started) {
            match started.and_then(|()| self.wait_whole(victim, limit_ns)) {
                Ok(whole_ns) => healed_ns = healed_ns.max(whole_ns),
                Err(error) => problems.push(error),
            }
        }
        if problems.is_empty() { Ok(healed_ns) } else { Err(problems.join("; ")) }
    }

    /// Has the hook of every victim heal, marks the journal, and waits until all are back; gives the time when that was seen. What fails for
    /// one does not keep the others from being healed.
    fn heal_hooked(&self, hooked: &[(Hooked, u64)]) -> Result<u64, String> {
        let cluster = self.shared.cluster.hooked().map_err(|error| error.to_string())?;
        let heal = |(hooked, journal_id): &(Hooked, u64)| {
            hooked.heal(cluster, &self.spec.name).map_err(|error| error.to_string())?;
            self.shared.journal.mark_undone(*journal_id).map_err(|error| error.to_string())
        };
        let healed: Vec<Result<(), String>> = hooked.iter().map(heal).collect();
        let back = hooked.iter().zip(healed).map(|((hooked, _), healed)| {
            healed.and_then(|()| hooked.wait_back(cluster).map_err(|error| error.to_string()))
        });
        let (back, problems): (Vec<_>, Vec<_>) = back.partition(Result::is_ok);
        let problems: Vec<String> = problems.into_iter().filter_map(Result::err).collect();
        match problems.is_empty() {
            true => Ok(back.into_iter().flatten().max().unwrap_or_else(monotonic_ns)),
            false => Err(problems.join("; ")),
        }
    }

    fn clients(&self) -> Result<&dyn Clients, ChaosError> {
        let clients = self.shared.clients.as_deref();
        clients
            .ok_or_else(|| ChaosError::Refused { why: "the run has no clients that are programs".to_owned() })
    }

    fn undo(&self, means: Means, victim: &Victim) -> Result<(), String> {
        let local = self.shared.cluster.local();
        let healed = local.and_then(|local| means.heal(&self.spec.name, local, victim.node, victim.process));
        healed.map_err(|error| error.to_string())?;
        // The process is there: what may still go wrong is not undone by doing it again.
        self.shared.journal.mark_undone(victim.journal_id).map_err(|error| error.to_string())
    }

    fn wait_whole(&self, victim: &Victim, limit_ns: u64) -> Result<u64, String> {
        let left = Duration::from_nanos(limit_ns.saturating_sub(monotonic_ns()));
        let local = self.shared.cluster.local();
        local.and_then(|local| local.wait_whole(victim.node, left)).map_err(|error| error.to_string())
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
        state.over.insert(self.spec.name.clone());
        state.running -= 1;
        drop(state);
        self.shared.changed.notify_all();
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
