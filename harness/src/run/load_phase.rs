//! From the first record to the last read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use gauntlet_chaos::client::Clients;
use gauntlet_chaos::fault::FaultRecord;
use gauntlet_chaos::kafka_home::KafkaHome;
use gauntlet_chaos::process::ProcessIdentity;
use gauntlet_chaos::{ChaosError, FaultEvent, FaultSpec, Injector, KafkaSource, LocalSpec, Watcher};
use gauntlet_reports::ExitReason;
use gauntlet_reports::record::{Reason, RunRecord};
use gauntlet_wire::monotonic_ns;
use gauntlet_wire::producer::Acks;

use super::broker_usage::{self, BrokerUsage};
use super::collect::{Collector, Moment};
use super::guards::Guards;
use super::measure::Times;
use super::reread::{self, LogsAgain};
use super::threads::{Fleet, Ground, Producers, Readers, Routes, Shared};
use super::{Brokers, Loaded, Progress, Run, RunError, excuses, topics};
use crate::cluster_view::ClusterView;
use crate::external::programs::Programs;
use crate::history::{Head, HistoryWriter};
use crate::intervals::Second;
use crate::load::Control;
use crate::load::reader::ReaderEnd;
use crate::plan::{ClusterPlan, ReaderBlock, WarmupPlan};
use crate::recorder::SLOT_NS;

const SECOND_NS: u64 = 1_000_000_000;
/// Time for threads to connect and warm their first metadata before the first record is due.
const HEAD_START_NS: u64 = 500_000_000;
/// Intervals are sent at full seconds; the collector looks a little later ...
const COLLECT_AFTER_NS: u64 = 60_000_000;
/// ... and waits so long for threads that are late themselves.
const COLLECT_UNTIL_NS: u64 = 900_000_000;
/// A fault is told when it happens, not at the next second.
const TELL_EVERY_NS: u64 = 50_000_000;
/// How long before it t = 0 is decided, so that every producer knows it before a record behind it is due.
const ANNOUNCED_NS: u64 = 200_000_000;
/// How long programs may take to be gone once their threads have been told to stop.
const PROGRAMS_LIMIT: Duration = Duration::from_secs(20);
/// The load is ended when so much of the disk is full.
const DISK_FULL: f64 = 0.90;

/// A load under way.
struct Phase<'w, 'p> {
    shared: Shared,
    seconds: Seconds<'w>,
    producers: Producers,
    /// Readers during the load, with the index of their topic.
    readers: Vec<(usize, Readers)>,
    /// Clients that are programs, for faults.
    programs: Arc<Programs>,
    injector: Option<Injector>,
    fault_events: Option<Receiver<FaultEvent>>,
    warm: Option<bool>,
    usage: BrokerUsage,
    guards: Guards<'p>,
    reasons: Vec<Reason>,
    unknowns: Vec<String>,
}

/// The cluster that is loaded.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) brokers: &'a Brokers,
    pub(super) bootstrap: &'a [String],
    pub(super) watcher: &'a Watcher,
}

/// What is told once per second, from the threads and from the watcher.
struct Seconds<'a> {
    collector: Collector,
    watcher: &'a Watcher,
    view: ClusterView,
    /// t = 0, once it is known.
    zero_ns: Option<u64>,
    /// The brokers whose processor time tells when they are warm; `None` where that is not asked, or not known.
    warming: Option<Vec<ProcessIdentity>>,
}

impl Seconds<'_> {
    /// Collects what came until `now_ns`.
    fn collect(&mut self, now_ns: u64) -> std::io::Result<Second> {
        let view = &mut self.view;
        self.watcher.read(|history| view.follow(history.observations()));
        let warming = self.warming.as_ref().filter(|_| self.zero_ns.is_none());
        let moment = Moment {
            now_ns,
            zero_ns: self.zero_ns,
            in_sync: view.in_sync(),
            brokers_cpu_s: warming.and_then(|processes| broker_usage::cpu_s(processes)),
        };
        self.collector.tick(moment)
    }
}

/// Ends everything that threads do, as soon as they look.
fn stop(control: &Control) {
    control.end_load(0);
    control.give_up(0);
    control.read_until(0);
}

impl<'p> Run<'p> {
    /// Loads, injects, heals, drains and reads to the end.
    pub(super) fn load(
        &mut self,
        cluster: Target<'_>,
        faults: &[FaultSpec],
        starts: &[BTreeMap<usize, i64>],
        record: &mut RunRecord,
    ) -> Result<Loaded<'p>, RunError> {
        let Target { brokers, bootstrap, watcher } = cluster;
        let control = Arc::new(Control::default());
        let routes = self.routes();
        let mut fleet = self.start_programs(bootstrap, &control, &routes, starts)?;
        (self.tell)(Progress::Phase("warming up"));
        let (intervals, incoming) = unbounded();
        // Windows are made of slots: load and t = 0 begin at the edge of one.
        let origin_ns = (monotonic_ns() + HEAD_START_NS).next_multiple_of(SLOT_NS);
        #[cfg(feature = "rdkafka")]
        let notes =
            super::threads::start_notes(self.plan, &self.options.dir, &intervals, &self.admin.security)?;
        let shared = Shared {
            #[cfg(feature = "rdkafka")]
            notes,
            control,
            intervals,
            origin_ns,
            unix_minus_monotonic_ns: super::unix_minus_monotonic_ns(),
            bootstrap: bootstrap.to_vec(),
            security: self.admin.security.clone(),
        };
        let readers = self.start_readers(&routes, starts, &shared, &mut fleet)?;
        let producers = Producers::start(self.plan, &routes, &shared, &mut fleet, self.options.stumble)?;
        let programs = Arc::clone(&fleet.programs);
        let history = self.begin_history(origin_ns)?;
        let collector =
            Collector::new(&self.options.dir, incoming, origin_ns, Arc::clone(&programs), history)?;
        let mut phase = Phase {
            shared,
            seconds: Seconds {
                collector,
                watcher,
                view: ClusterView::default(),
                zero_ns: None,
                warming: self.warming(brokers),
            },
            producers,
            readers,
            programs: Arc::clone(&programs),
            injector: None,
            fault_events: None,
            warm: None,
            usage: BrokerUsage::default(),
            guards: Guards::new(&self.plan.guards),
            reasons: Vec::new(),
            unknowns: Vec::new(),
        };
        let loaded = self.go_on(&mut phase, brokers, faults);
        let records = self.heal(&mut phase);
        record.warm = phase.warm;
        record.broker = phase.usage.record(self.plan.evidence);
        // One that was ended in its warm-up never came to t = 0, also if it was known when that would have been.
        let load_end_ns = phase.shared.control.load_end_ns();
        record.warmup_s = phase
            .seconds
            .zero_ns
            .filter(|zero_ns| *zero_ns <= load_end_ns)
            .map(|zero_ns| (zero_ns - origin_ns) as f64 / 1e9);
        let control = Arc::clone(&phase.shared.control);
        let drained = loaded.and_then(|zero_ns| {
            self.drain(phase, bootstrap, &routes, starts, records, Times { zero_ns, end_ns: 0 })
        });
        if drained.is_err() {
            stop(&control);
        }
        // A thread that nobody joined because of an error may still be ending its own.
        if !programs.wait_for_the_last(PROGRAMS_LIMIT) {
            (self.tell)(Progress::Note("a program of `driver: external` is still there"));
        }
        drained
    }

    /// The file that what checkers are told goes to, if it is kept.
    fn begin_history(&self, origin_ns: u64) -> Result<Option<HistoryWriter>, RunError> {
        let Some((verify, history)) = self.plan.verify.and_then(|v| Some((v, v.history?))) else {
            return Ok(None);
        };
        let head = Head {
            run_id: self.plan.run_id.clone(),
            origin_ns,
            guarantee: verify.guarantee,
            unclean_election: self.plan.allows_unclean_election(),
            not_looked_for: super::findings::not_looked_for(self.plan),
            examples_max: verify.examples_max,
        };
        Ok(Some(HistoryWriter::create(&self.options.dir, &head, history.bytes_max)?))
    }

    /// The brokers of a local cluster, if they are to be watched until they are warm.
    fn warming(&self, brokers: &Brokers) -> Option<Vec<ProcessIdentity>> {
        match (&self.plan.load.warmup, brokers) {
            (WarmupPlan::UntilStable { .. }, Brokers::Local(cluster)) => broker_usage::processes(cluster),
            _ => None,
        }
    }

    /// Starts the programs of clients that have one; there may be none.
    fn start_programs(
        &mut self,
        bootstrap: &[String],
        control: &Arc<Control>,
        routes: &[Routes],
        starts: &[BTreeMap<usize, i64>],
    ) -> Result<Fleet, RunError> {
        let blocks = self.plan.producers.iter().map(|block| &block.driver);
        if !blocks.chain(self.plan.readers.iter().map(|b| &b.driver)).any(|d| d.external().is_some()) {
            return Ok(Fleet::default());
        }
        (self.tell)(Progress::Phase("starting programs"));
        let kafka_libs = match &self.plan.cluster {
            // Those of an image are in its containers.
            ClusterPlan::Local(LocalSpec { kafka: KafkaSource::Image(_), .. }) => None,
            ClusterPlan::Local(spec) => {
                Some(KafkaHome::resolve(&spec.kafka, &self.options.cache).map_err(ChaosError::from)?.libs)
            }
            ClusterPlan::Bootstrap(_) => None,
        };
        let ground = Ground {
            plan: self.plan,
            dir: &self.options.dir,
            bootstrap,
            security: &self.admin.security,
            kafka_libs,
            control: Arc::clone(control),
            interrupt: &self.options.interrupt,
        };
        Fleet::start(&ground, routes, starts)
    }

    /// Which reader checks which partition: those that read during the load, else the final read.
    fn routes(&self) -> Vec<Routes> {
        (0..self.plan.topics.len())
            .map(|topic| {
                let members = self.plan.readers.iter().find(|r| r.topic == topic).map_or(1, |r| r.members);
                Routes::new(self.plan.topics[topic].partitions, members)
            })
            .collect()
    }

    fn start_readers(
        &self,
        routes: &[Routes],
        starts: &[BTreeMap<usize, i64>],
        shared: &Shared,
        fleet: &mut Fleet,
    ) -> Result<Vec<(usize, Readers)>, RunError> {
        let mut readers = Vec::new();
        let mut next = 0;
        for block in &self.plan.readers {
            let (route, from) = (&routes[block.topic], &starts[block.topic]);
            let started = Readers::start(self.plan, block, route, from, next, shared, fleet)?;
            next += block.members;
            readers.push((block.topic, started));
        }
        Ok(readers)
    }

    /// From the first record to the end of the load. Returns t = 0.
    fn go_on(
        &mut self,
        phase: &mut Phase<'_, 'p>,
        brokers: &Brokers,
        faults: &[FaultSpec],
    ) -> Result<u64, RunError> {
        let origin_ns = phase.shared.origin_ns;
        if let WarmupPlan::For(warmup) = self.plan.load.warmup {
            self.begin(phase, origin_ns + warmup.as_nanos() as u64, brokers, faults)?;
        }
        loop {
            let (second_ns, second) = self.tick(phase)?;
            self.guard(phase, second_ns, &second);
            let now_ns = monotonic_ns();
            if phase.seconds.zero_ns.is_none()
                && let WarmupPlan::UntilStable { min, max } = self.plan.load.warmup
            {
                let warmed = Duration::from_nanos(now_ns.saturating_sub(origin_ns));
                let stable = phase.seconds.collector.is_stable(self.plan.rate_at(None));
                if (warmed >= min && stable) || warmed >= max {
                    phase.warm = Some(stable);
                    self.begin(phase, now_ns + ANNOUNCED_NS, brokers, faults)?;
                }
            }
            if self.options.interrupt.is_set() {
                phase.reasons.push(Reason {
                    exit: ExitReason::Aborted,
                    text: "a signal ended the load before its time".to_owned(),
                });
                phase.shared.control.end_load(now_ns);
            }
            self.guard_disk(phase, now_ns);
            if phase.seconds.zero_ns.is_some_and(|zero_ns| zero_ns <= now_ns) {
                phase.usage.begin(brokers, &self.plan.topics);
            }
            if now_ns >= phase.shared.control.load_end_ns() || phase.producers.are_done() {
                phase.shared.control.end_load(now_ns);
                phase.usage.end(brokers, &self.plan.topics);
                return Ok(phase.seconds.zero_ns.unwrap_or(now_ns));
            }
        }
    }

    /// t = 0: from here on it counts.
    fn begin(
        &mut self,
        phase: &mut Phase<'_, 'p>,
        zero_ns: u64,
        brokers: &Brokers,
        faults: &[FaultSpec],
    ) -> Result<(), RunError> {
        let zero_ns = zero_ns.next_multiple_of(SLOT_NS);
        phase.seconds.zero_ns = Some(zero_ns);
        phase.shared.control.begin_at(zero_ns);
        if let Some(duration) = self.plan.load.duration {
            phase.shared.control.end_load(zero_ns + duration.as_nanos() as u64);
        }
        (self.tell)(Progress::Phase("t = 0"));
        if faults.is_empty() {
            return Ok(());
        }
        let cluster = brokers.under_faults();
        let cluster = cluster.ok_or_else(|| RunError::Faults("nobody may break this cluster".to_owned()))?;
        let (sender, events) = std::sync::mpsc::channel();
        let (forward, received) = unbounded();
        // The injector speaks std channels; the loop polls.
        std::thread::Builder::new()
            .name("fault-events".to_owned())
            .spawn(move || events.into_iter().try_for_each(|event| forward.send(event).map_err(drop)))
            .map_err(RunError::Write)?;
        let journal = super::journal(&self.options.dir)?;
        let clients: Arc<dyn Clients> = Arc::clone(&phase.programs) as _;
        let injector =
            Injector::start_beside(Some(clients), cluster, faults.to_vec(), zero_ns, journal, sender)
                .map_err(|e| RunError::Faults(e.to_string()))?;
        phase.injector = Some(injector);
        phase.fault_events = Some(received);
        Ok(())
    }

    /// Waits for the next full second, collects it and tells of it. Returns when it ended, and what it saw.
    fn tick(&mut self, phase: &mut Phase<'_, 'p>) -> Result<(u64, Second), RunError> {
        let second_ns = (monotonic_ns() / SECOND_NS + 1) * SECOND_NS;
        loop {
            let now_ns = monotonic_ns();
            let is_over = now_ns >= second_ns + COLLECT_AFTER_NS;
            let is_late = now_ns >= second_ns + COLLECT_UNTIL_NS;
            if is_late || (is_over && phase.seconds.collector.is_complete(second_ns)) {
                break;
            }
            let left_ns = (second_ns + COLLECT_AFTER_NS).saturating_sub(now_ns);
            let step_ns = if is_over { TELL_EVERY_NS } else { left_ns.min(TELL_EVERY_NS) };
            std::thread::sleep(Duration::from_nanos(step_ns));
            self.tell_faults(phase)?;
        }
        let second = phase.seconds.collect(monotonic_ns())?;
        (self.tell)(Progress::Second(&second));
        Ok((second_ns, second))
    }

    /// Ends the load if a guardrail says so.
    fn guard(&mut self, phase: &mut Phase<'_, 'p>, second_ns: u64, second: &Second) {
        let Some(zero_ns) = phase.seconds.zero_ns else { return };
        let load_end_ns = phase.shared.control.load_end_ns();
        if let Some(words) = phase.guards.look(second, second_ns, zero_ns, load_end_ns) {
            phase.shared.control.end_load(monotonic_ns());
            (self.tell)(Progress::Note(&format!("{words}; the load ends and every fault is healed")));
        }
    }

    /// Tells of what happened to faults, and writes it down: a run that dies has its faults in its directory.
    fn tell_faults(&mut self, phase: &Phase<'_, 'p>) -> Result<(), RunError> {
        let mut news = false;
        while let Some(event) = phase.fault_events.as_ref().and_then(|events| events.try_recv().ok()) {
            (self.tell)(Progress::Fault(&event));
            news = true;
        }
        match &phase.injector {
            Some(injector) if news => super::write_faults(&self.options.dir, &injector.records()),
            _ => Ok(()),
        }
    }

    fn guard_disk(&mut self, phase: &mut Phase<'_, 'p>, now_ns: u64) {
        let Some(used) = crate::disk::used_fraction(self.options.dir.path()) else { return };
        if used > DISK_FULL && now_ns < phase.shared.control.load_end_ns() {
            phase.shared.control.end_load(now_ns);
            let text =
                format!("the disk is {:.0} % full; the load was ended to keep the evidence", used * 100.0);
            (self.tell)(Progress::Note(&text));
            phase.reasons.push(Reason { exit: ExitReason::Environment, text });
        }
    }

    /// Undoes every fault, and waits for that. Harmless without faults, and when repeated.
    fn heal(&mut self, phase: &mut Phase<'_, 'p>) -> Vec<FaultRecord> {
        let Some(injector) = phase.injector.take() else { return Vec::new() };
        (self.tell)(Progress::Phase("healing"));
        if let Err(error) = injector.heal_all() {
            phase.reasons.push(Reason { exit: ExitReason::RollbackFailed, text: error.to_string() });
        }
        let records = injector.records();
        let told = self.tell_faults(phase).and_then(|()| super::write_faults(&self.options.dir, &records));
        if let Err(error) = told {
            (self.tell)(Progress::Note(&error.to_string()));
        }
        records
    }

    /// Waits for the answers of what was sent, then for the readers to reach the end of every log.
    fn drain(
        &mut self,
        mut phase: Phase<'_, 'p>,
        bootstrap: &[String],
        routes: &[Routes],
        starts: &[BTreeMap<usize, i64>],
        records: Vec<FaultRecord>,
        times: Times,
    ) -> Result<Loaded<'p>, RunError> {
        (self.tell)(Progress::Phase("draining"));
        let end_ns = phase.shared.control.load_end_ns();
        let drain_ends_ns = monotonic_ns().max(end_ns) + self.plan.load.drain.as_nanos() as u64;
        phase.shared.control.give_up(drain_ends_ns);
        while !phase.producers.are_done() {
            self.tick(&mut phase)?;
        }
        let Phase {
            shared, mut seconds, producers, mut readers, guards, reasons, mut unknowns, warm, ..
        } = phase;
        producers.join()?;
        let final_ends = self.find_ends(bootstrap, drain_ends_ns, &mut unknowns);
        for (topic, group) in &readers {
            group.ends.set(&final_ends[*topic].1);
        }
        readers.extend(self.start_final_readers(routes, starts, &shared, &final_ends)?);
        let read_until_ns = monotonic_ns()
            + self.plan.verify.map_or(self.plan.load.drain, |v| v.final_read).as_nanos() as u64;
        shared.control.read_until(read_until_ns);
        let mut progressing = true;
        while !readers.iter().all(|(_, r)| r.are_done()) {
            std::thread::sleep(Duration::from_millis(100));
            let now_ns = monotonic_ns();
            if now_ns / SECOND_NS != (now_ns - 100_000_000) / SECOND_NS {
                let second = seconds.collect(now_ns)?;
                progressing = second.read > 0;
                (self.tell)(Progress::Second(&second));
            }
        }
        // A reader that was still moving when its time was up was the limit itself.
        let was_limit = progressing && monotonic_ns() >= read_until_ns;
        let mut again = LogsAgain::new(
            bootstrap,
            &self.admin,
            &self.options.interrupt,
            &records,
            shared.unix_minus_monotonic_ns,
            readers.iter().map(|(topic, _)| self.plan.topics[*topic].partitions as usize).sum(),
            Duration::from_nanos(read_until_ns.saturating_sub(monotonic_ns())).min(reread::TIME_LIMIT),
        );
        let mut ends: Vec<ReaderEnd> = Vec::new();
        for (topic, group) in readers {
            let is_final = final_ends[topic].0;
            let topic = &self.plan.topics[topic];
            let windows = excuses::windows(self.plan, topic, &records);
            if !is_final && self.plan.verify.is_some() {
                again.leave_out(&topic.name);
            }
            ends.extend(group.join(is_final, was_limit, &windows, |first, shard| {
                if is_final {
                    again.compare(&topic.name, &first, shard);
                }
            })?);
        }
        let not_read_again = again.into_trouble();
        seconds.collect(monotonic_ns())?;
        let collector = seconds.collector;
        if collector.history_is_full() {
            (self.tell)(Progress::Note(
                "the history came to `verify.history_max`: what followed can't be judged again",
            ));
        }
        Ok(Loaded {
            base_slot: collector.base_slot(),
            collected: collector.finish(),
            readers: ends,
            not_read_again,
            records,
            times: Times { end_ns, ..times },
            warm,
            guards,
            reasons,
            unknowns,
        })
    }

    /// Where the log of every partition ends, per topic, and whether that is final: taken after the last ack, with
    /// every replica in sync.
    fn find_ends(
        &mut self,
        bootstrap: &[String],
        drain_ends_ns: u64,
        unknowns: &mut Vec<String>,
    ) -> Vec<(bool, BTreeMap<i32, i64>)> {
        let mut all = Vec::new();
        for (index, topic) in self.plan.topics.iter().enumerate() {
            let mut of_topic = self.plan.producers.iter().filter(|block| block.topic == index);
            let is_all_told = of_topic.all(|block| block.acks != Acks::None);
            let left = Duration::from_nanos(drain_ends_ns.saturating_sub(monotonic_ns()))
                .max(Duration::from_secs(5));
            let found = topics::final_end_offsets(bootstrap, &topic.name, self.absent, &self.admin, left)
                .and_then(|ends| match is_all_told {
                    true => Ok(ends),
                    false => topics::resting_end_offsets(bootstrap, &topic.name, ends, &self.admin, left),
                });
            all.push(match found {
                Ok(ends) => (true, ends),
                Err(error) => {
                    (self.tell)(Progress::Note(&error.to_string()));
                    let mut ends =
                        topics::end_offsets(bootstrap, &topic.name, &self.admin).unwrap_or_default();
                    // Those that the topic got meanwhile are nobody's.
                    ends.retain(|partition, _| u32::try_from(*partition).is_ok_and(|p| p < topic.partitions));
                    if ends.len() < topic.partitions as usize {
                        unknowns.push(format!(
                            "{}: {} of {} partitions had no leader at the end",
                            topic.name,
                            topic.partitions as usize - ends.len(),
                            topic.partitions
                        ));
                    }
                    (false, ends)
                }
            });
        }
        all
    }

    /// A topic that nobody read during the load is read now.
    fn start_final_readers(
        &mut self,
        routes: &[Routes],
        starts: &[BTreeMap<usize, i64>],
        shared: &Shared,
        ends: &[(bool, BTreeMap<i32, i64>)],
    ) -> Result<Vec<(usize, Readers)>, RunError> {
        let mut started = Vec::new();
        if self.plan.verify.is_none() {
            return Ok(started);
        }
        for topic in 0..self.plan.topics.len() {
            if self.plan.readers.iter().any(|r| r.topic == topic) {
                continue;
            }
            (self.tell)(Progress::Phase("final read"));
            let block = ReaderBlock::for_final_read(topic);
            let readers = Readers::start(
                self.plan,
                &block,
                &routes[topic],
                &starts[topic],
                1_000 + topic as u16,
                shared,
                // It is gauntlet's own client that reads now.
                &mut Fleet::default(),
            )?;
            readers.ends.set(&ends[topic].1);
            started.push((topic, readers));
        }
        Ok(started)
    }
}
