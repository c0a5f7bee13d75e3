//! Threads of clients that are programs: one per producer and reader, which starts the program, speaks with it, and ends it.
//!
//! They are started before anything is due, and get what they have to do once all programs are ready: what a JVM takes to
//! start is not part of the load.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, unbounded};
use gauntlet_chaos::ClientRole;
use gauntlet_wire::monotonic_ns;
use gauntlet_wire::producer::Acks;
use gauntlet_wire::{LinkConfig, Security};

use super::{LoopFailure, Routes, ThreadError, assigned_to, spawn};
use crate::external::launch::{Assignment, Connection, Launch};
use crate::external::log::{Log, Scribe};
use crate::external::partner::Partner;
use crate::external::produce::{ProducerSetup, run_producer};
use crate::external::program::ExternalError;
use crate::external::programs::{Programs, Who};
use crate::external::read::run_reader;
use crate::load::{Control, ProducerLoad, Reader};
use crate::plan::{ExternalPlan, Plan};
use crate::run::{Interrupt, RunError};
use crate::rundir::{EXTERNAL_LOG, RunDir};

/// How long programs may take to be gone after one did not get ready.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A thread whose program is ready, and that waits for what it has to do.
pub(super) struct Waiting<L, T> {
    what: String,
    work: Sender<L>,
    thread: JoinHandle<Result<T, LoopFailure>>,
}

impl<L, T> Waiting<L, T> {
    /// Gives it its work.
    pub(super) fn begin(self, work: L) -> (String, JoinHandle<Result<T, LoopFailure>>) {
        // If it is gone, joining it tells why.
        let _ = self.work.send(work);
        (self.what, self.thread)
    }
}

/// All programs of a run: how many there are is in the plan.
#[derive(Default)]
pub(in crate::run) struct Fleet {
    producers: BTreeMap<u16, Waiting<ProducerLoad, ()>>,
    readers: BTreeMap<u16, Waiting<Reader, Reader>>,
    pub(in crate::run) programs: Arc<Programs>,
}

/// What programs are started from.
pub(in crate::run) struct Ground<'a> {
    pub(in crate::run) plan: &'a Plan,
    pub(in crate::run) dir: &'a RunDir,
    pub(in crate::run) bootstrap: &'a [String],
    pub(in crate::run) security: &'a Security,
    /// Kafka's jars, where the cluster is made of such.
    pub(in crate::run) kafka_libs: Option<PathBuf>,
    pub(in crate::run) control: Arc<Control>,
    pub(in crate::run) interrupt: &'a Interrupt,
}

impl Fleet {
    /// Starts the programs of all blocks that have one, and waits until every one of them is ready.
    pub(in crate::run) fn start(
        ground: &Ground<'_>,
        routes: &[Routes],
        starts: &[BTreeMap<usize, i64>],
    ) -> Result<Self, RunError> {
        let mut fleet = Fleet::default();
        let started = fleet.start_all(ground, routes, starts);
        if let Err(error) = started {
            let programs = Arc::clone(&fleet.programs);
            // Threads that nobody has work for end their programs.
            drop(fleet);
            programs.wait_for_the_last(END_LIMIT);
            return Err(error);
        }
        Ok(fleet)
    }

    fn start_all(
        &mut self,
        ground: &Ground<'_>,
        routes: &[Routes],
        starts: &[BTreeMap<usize, i64>],
    ) -> Result<(), RunError> {
        let plan = ground.plan;
        let log = Log::new(ground.dir.append(EXTERNAL_LOG)?, ground.security);
        let (ready, told) = unbounded();
        let mut index: u16 = 0;
        for block in &plan.producers {
            for _ in 0..block.count {
                if let Some(external) = block.driver.external() {
                    let setup = ProducerSetup {
                        unacknowledged: block.acks == Acks::None,
                        delivery_timeout: block.delivery_timeout,
                    };
                    let member = Member {
                        role: ClientRole::Producer,
                        name: format!("producer-{index}"),
                        topic: block.topic,
                        links: &block.links,
                    };
                    let (launch, assignment) = self.launch(ground, &member, external, &log);
                    let run =
                        move |partner, load| run_producer(setup, partner, load).map(ProducerLoad::finish);
                    let waiting =
                        start_thread(ground, format!("produce-{index}"), launch, assignment, &ready, run)?;
                    self.producers.insert(index, waiting);
                }
                index += 1;
            }
        }
        let mut first: u16 = 0;
        for block in &plan.readers {
            let topic = block.topic;
            for (i, (partitions, _)) in routes[topic].receivers.iter().enumerate() {
                let Some(external) = block.driver.external() else { continue };
                let index = first + i as u16;
                let member = Member {
                    role: ClientRole::Consumer,
                    name: format!("reader-{index}"),
                    topic,
                    links: &block.links,
                };
                let (launch, assignment) = self.launch(ground, &member, external, &log);
                let assignment = assignment.from(&assigned_to(partitions, &starts[topic]));
                let waiting =
                    start_thread(ground, format!("read-{index}"), launch, assignment, &ready, run_reader)?;
                self.readers.insert(index, waiting);
            }
            first += block.members;
        }
        drop(ready);
        wait_for_all(&told, ground.interrupt)
    }

    fn launch(
        &self,
        ground: &Ground<'_>,
        member: &Member<'_>,
        external: &ExternalPlan,
        log: &Log,
    ) -> (Launch, Assignment) {
        let Ground { plan, bootstrap, security, .. } = ground;
        let topic = &plan.topics[member.topic];
        let who = member.name.clone();
        let client_id = format!("{}-{who}", member.links.client_id);
        let connection = Connection { bootstrap, client_id: &client_id, security };
        let topic = (topic.name.as_str(), topic.partitions);
        let assignment = Assignment::new(member.role, &plan.run_id, topic, &external.settings, connection);
        let launch = Launch {
            who: Who {
                name: who.clone(),
                role: member.role,
                client_id: client_id.clone(),
                client_id_of_all: member.links.client_id.clone(),
            },
            scribe: Scribe { log: log.clone(), who },
            command: external.command.clone(),
            kafka_libs: ground.kafka_libs.clone(),
            plan: assignment.clone(),
            programs: Arc::clone(&self.programs),
        };
        (launch, assignment)
    }

    pub(super) fn producer(&mut self, index: u16) -> Option<Waiting<ProducerLoad, ()>> {
        self.producers.remove(&index)
    }

    pub(super) fn reader(&mut self, index: u16) -> Option<Waiting<Reader, Reader>> {
        self.readers.remove(&index)
    }
}

/// Waits until every thread has told that its program is ready, or the first that it is not.
fn wait_for_all(
    told: &Receiver<Result<(), (String, ExternalError)>>,
    interrupt: &Interrupt,
) -> Result<(), RunError> {
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    loop {
        match told.recv_timeout(LOOK_EVERY) {
            Ok(Ok(())) => {}
            Ok(Err((what, source))) => {
                return Err(RunError::Program(format!("{what}: {source}")));
            }
            Err(RecvTimeoutError::Timeout) if interrupt.is_set() => return Err(RunError::Interrupted),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// One client.
struct Member<'a> {
    role: ClientRole,
    name: String,
    topic: usize,
    links: &'a LinkConfig,
}

/// Starts a thread that starts a program, tells when it is ready, and then does with it what there is to do.
fn start_thread<L: Send + 'static, T: Send + 'static>(
    ground: &Ground<'_>,
    thread: String,
    launch: Launch,
    assignment: Assignment,
    ready: &Sender<Result<(), (String, ExternalError)>>,
    run: impl FnOnce(Partner, L) -> Result<T, ExternalError> + Send + 'static,
) -> Result<Waiting<L, T>, ThreadError> {
    let (work, todo) = bounded(1);
    let (what, ready, control) = (launch.scribe.who.clone(), ready.clone(), Arc::clone(&ground.control));
    let who = what.clone();
    let body = move || {
        let is_needed = || !matches!(todo.try_recv(), Err(TryRecvError::Disconnected));
        let partner = match Partner::start(launch, &assignment, is_needed) {
            Ok(partner) => partner,
            Err(error) => {
                let text = error.to_string();
                let _ = ready.send(Err((who, error)));
                return Err(text.into());
            }
        };
        // The run waits for as long as somebody has not told.
        let _ = ready.send(Ok(()));
        drop(ready);
        // Nobody has work for it: then the run ended before it began.
        let Ok(load) = todo.recv() else { return Err("the run ended before the load began".into()) };
        run(partner, load).map_err(|error| {
            // The run goes to its end at once: without this client it is not the one that was planned.
            control.end_load(monotonic_ns());
            LoopFailure::from(error)
        })
    };
    let thread = spawn(&what, thread, body)?;
    Ok(Waiting { what, work, thread })
}
