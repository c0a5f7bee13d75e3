//! The threads that load and read: started from the plan, joined with what they know.

mod external;
#[cfg(feature = "rdkafka")]
mod rdkafka;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};
use gauntlet_verify::Shard;
use gauntlet_wire::fetcher::{FetcherConfig, run_fetcher};
use gauntlet_wire::producer::{ProducerConfig, run_producers};
use gauntlet_wire::{ConnectOptions, LinkConfig, Security};

pub(super) use external::{Fleet, Ground};
#[cfg(feature = "rdkafka")]
pub(super) use rdkafka::start_notes;
use window::read_in_window;

use super::excuses::Windows;
use crate::keys::KeySpace;
use crate::load::producer::{Pace, PartitionSettlement, Stumble, Unlimited};
use crate::load::reader::{CheckPlan, Elsewhere, EndOffsets, FirstRead, ReaderEnd};
use crate::load::records::{ARRIVALS, Keys, RecordMaker};
use crate::load::{Control, Interval, ProducerLoad, ProducerPlan, Reader, ReaderPlan};
use crate::payload::{BodyMaker, IdentityPlace};
use crate::plan::{DriverPlan, KeyChoice, PacePlan, Plan, ProducerBlock, ReaderBlock};
use crate::random::SplitMix;
use crate::recorder::SharedRecorder;
use crate::schedule::{Arrival, Curve, Share, Spread, share_of_partition};

/// Intervals are taken at the full seconds of CLOCK_MONOTONIC.
pub(crate) const INTERVAL_NS: u64 = 1_000_000_000;
/// Fragments that the checker of one partition may hold before it gives up precision: about 100 MB at the worst.
pub(crate) const FRAGMENTS_MAX: usize = 1_000_000;

/// Fragments that all checkers of a run may hold together: about 400 MB at the worst ...
const FRAGMENTS_OF_RUN: usize = 4 * FRAGMENTS_MAX;
/// ... unless there are so many partitions that this is more: about 1 MB for each.
const FRAGMENTS_MIN: usize = 10_000;

/// Fragments for the checker of each partition of a run.
fn fragments_max(plan: &Plan) -> usize {
    let partitions: usize = plan.topics.iter().map(|topic| topic.partitions as usize).sum();
    (FRAGMENTS_OF_RUN / partitions.max(1)).clamp(FRAGMENTS_MIN, FRAGMENTS_MAX)
}

/// Keys that the checkers of a run's compacted partitions may hold together, and as many acks that their readers have yet to reach: about 500 MB
/// at the worst.
const KEYS_OF_RUN: usize = 4_000_000;

/// Keys for the checker of each partition of a run.
fn keys_max(plan: &Plan) -> usize {
    let compacted = plan.topics.iter().filter(|topic| plan.is_compacted(topic));
    let partitions: usize = compacted.map(|topic| topic.partitions as usize).sum();
    KEYS_OF_RUN / partitions.max(1)
}

/// How long a resting reader waits for the answer of a broker.
const WATERMARKS_LIMIT: std::time::Duration = std::time::Duration::from_millis(500);

/// Why a loop ended: those of different clients have different reasons.
pub type LoopFailure = Box<dyn std::error::Error + Send + Sync>;

/// A thread could not be started, or died.
#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    /// The operating system refused a thread.
    #[error("cannot start a thread for {what}: {source}")]
    Start {
        /// Which one.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its loop failed.
    #[error("{what}: {source}")]
    Loop {
        /// Which one.
        what: String,
        /// Why.
        source: LoopFailure,
    },
    /// It panicked: a bug of gauntlet.
    #[error("{what} panicked; this is a bug in gauntlet")]
    Panicked {
        /// Which one.
        what: String,
    },
}

/// One end of the settlements of a topic: per partition, the channel to the reader that checks it.
pub(super) struct Routes {
    pub(super) senders: Vec<Sender<PartitionSettlement>>,
    /// Per reader of the topic: the partitions that it reads, and its end of the channel.
    pub(super) receivers: Vec<(Vec<usize>, Receiver<PartitionSettlement>)>,
}

impl Routes {
    /// Spreads the partitions of a topic over so many readers.
    pub(super) fn new(partitions: u32, readers: u16) -> Self {
        let readers = usize::from(readers.max(1)).min(partitions.max(1) as usize);
        let channels: Vec<_> = (0..readers).map(|_| unbounded()).collect();
        let senders = (0..partitions as usize).map(|p| channels[p % readers].0.clone()).collect();
        let receivers = channels
            .into_iter()
            .enumerate()
            .map(|(i, (_, receiver))| ((i..partitions as usize).step_by(readers).collect(), receiver))
            .collect();
        Routes { senders, receivers }
    }
}

/// Running producers.
pub(super) struct Producers {
    threads: Vec<(String, JoinHandle<Result<(), LoopFailure>>)>,
}

/// What all threads of a run share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) control: Arc<Control>,
    pub(super) intervals: Sender<Interval>,
    /// Time of the first record, CLOCK_MONOTONIC.
    pub(super) origin_ns: u64,
    pub(super) unix_minus_monotonic_ns: u64,
    pub(super) bootstrap: Vec<String>,
    /// How producers and readers connect.
    pub(super) security: Security,
    /// Where clients of librdkafka tell what they have to tell; `None` if there are none.
    #[cfg(feature = "rdkafka")]
    pub(super) notes: Option<crate::rdkafka::notes::Notes>,
}

impl Shared {
    /// The connections of one client of a block, `who` being the end of its `client.id`.
    fn links(&self, of_block: &LinkConfig, who: &str) -> LinkConfig {
        LinkConfig {
            bootstrap: self.bootstrap.clone(),
            security: self.security.clone(),
            client_id: format!("{}-{who}", of_block.client_id),
            ..of_block.clone()
        }
    }
}

impl Shared {
    /// What asks where the partitions of a topic end. One that has no answer is left out.
    fn watermarks(&self, topic: &str) -> impl Fn() -> BTreeMap<i32, i64> + Send + 'static {
        let (bootstrap, topic) = (self.bootstrap.clone(), topic.to_owned());
        let options = ConnectOptions {
            timeout: WATERMARKS_LIMIT,
            security: self.security.clone(),
            ..ConnectOptions::default()
        };
        move || super::topics::end_offsets(&bootstrap, &topic, &options).unwrap_or_default()
    }
}

impl Producers {
    /// Starts the producers of all blocks, spread over at most as many threads as there are cores.
    pub(super) fn start(
        plan: &Plan,
        routes: &[Routes],
        shared: &Shared,
        fleet: &mut Fleet,
        stumble: Option<Stumble>,
    ) -> Result<Self, ThreadError> {
        let mut started = Vec::new();
        let mut ours = Vec::new();
        for member in lay_out(plan, shared, stumble) {
            match &member.block.driver {
                DriverPlan::Wire => ours.push(member),
                DriverPlan::External(_) => {
                    let waiting = fleet.producer(member.records.producer);
                    let waiting = waiting.ok_or_else(|| no_program(&member.records.topic))?;
                    started.push(waiting.begin(member.load(routes, shared)));
                }
                #[cfg(feature = "rdkafka")]
                DriverPlan::Rdkafka(settings) => {
                    started.push(rdkafka::start_producer(&member, settings, routes, shared)?);
                }
                #[cfg(not(feature = "rdkafka"))]
                DriverPlan::Rdkafka(_) => return Err(not_built(&member.records.topic)),
            }
        }
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(ours.len());
        let mut groups: Vec<Vec<(ProducerConfig, ProducerLoad)>> = (0..threads).map(|_| Vec::new()).collect();
        let recorders: Vec<SharedRecorder> = (0..threads).map(|_| SharedRecorder::default()).collect();
        for (i, member) in ours.into_iter().enumerate() {
            let config = client_of(plan, member.block, u64::from(member.records.producer), shared);
            let load = member.load(routes, shared).recording_into(&recorders[i % threads]);
            groups[i % threads].push((config, load));
        }
        for (i, group) in groups.into_iter().enumerate() {
            let what = format!("producer thread {i}");
            let body = move || {
                run_producers(group)?.into_iter().for_each(ProducerLoad::finish);
                Ok(())
            };
            let handle = spawn(&what, format!("produce-{i}"), body)?;
            started.push((what, handle));
        }
        Ok(Producers { threads: started })
    }

    /// Whether every producer has settled all it had to send.
    pub(super) fn are_done(&self) -> bool {
        self.threads.iter().all(|(_, t)| t.is_finished())
    }

    pub(super) fn join(self) -> Result<(), ThreadError> {
        for (what, thread) in self.threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(source)) => return Err(ThreadError::Loop { what, source }),
                Err(_) => return Err(ThreadError::Panicked { what }),
            }
        }
        Ok(())
    }
}

fn spawn<T: Send + 'static>(
    what: &str,
    name: String,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, ThreadError> {
    std::thread::Builder::new()
        .name(name)
        .spawn(body)
        .map_err(|source| ThreadError::Start { what: what.to_owned(), source })
}

/// A producer of the plan.
struct Member<'p> {
    block: &'p ProducerBlock,
    records: ProducerPlan,
}

impl Member<'_> {
    /// What it has to send.
    fn load(&self, routes: &[Routes], shared: &Shared) -> ProducerLoad {
        let settlements = routes[self.block.topic].senders.clone();
        let (control, intervals) = (Arc::clone(&shared.control), shared.intervals.clone());
        ProducerLoad::new(self.records.clone(), control, settlements, intervals, INTERVAL_NS)
    }
}

fn no_program(what: &str) -> ThreadError {
    let source = "its program was not started; this is a bug in gauntlet".into();
    ThreadError::Loop { what: what.to_owned(), source }
}

/// The partitions of a reader, each from where its log was when the run began.
fn assigned_to(partitions: &[usize], starts: &BTreeMap<usize, i64>) -> BTreeMap<usize, i64> {
    partitions.iter().map(|p| (*p, starts.get(p).copied().unwrap_or(0))).collect()
}

#[cfg(not(feature = "rdkafka"))]
fn not_built(what: &str) -> ThreadError {
    // The plan has refused it before; this is for plans that were made by hand.
    ThreadError::Loop { what: what.to_owned(), source: crate::rdkafka::NOT_BUILT.into() }
}

/// Every producer of the plan.
fn lay_out<'p>(plan: &'p Plan, shared: &Shared, stumble: Option<Stumble>) -> Vec<Member<'p>> {
    let mut fleet = Vec::new();
    let mut sharers = vec![0; plan.load.paces.len()];
    for block in &plan.producers {
        let topic = &plan.topics[block.topic];
        let keys = match &block.records.keys {
            KeyChoice::Keys(keys) => Some(Keys::Drawn(Arc::new(KeySpace::new(*keys, topic.partitions)))),
            KeyChoice::Recorded(trace) => Some(Keys::Recorded(Arc::clone(trace))),
            KeyChoice::None | KeyChoice::Sticky => None,
        };
        for _ in 0..block.count {
            let index = fleet.len() as u16;
            let records = ProducerPlan {
                run: plan.run,
                producer: index,
                topic: topic.name.clone(),
                partitions: topic.partitions,
                pace: pace_of(plan, block, index, sharers[block.load], keys.as_ref()),
                records: record_maker(plan, block, index, keys.clone()),
                origin_ns: shared.origin_ns,
                linger_ns: match block.driver {
                    DriverPlan::Wire => block.linger.as_nanos() as u64,
                    // It lingers by itself, with what it was given in time.
                    DriverPlan::Rdkafka(_) => crate::rdkafka::TICK_NS,
                    DriverPlan::External(_) => crate::external::TICK_NS,
                },
                unix_minus_monotonic_ns: shared.unix_minus_monotonic_ns,
                room_bytes: plan.load.drops.then_some(block.buffer_bytes as u64),
                stumble: stumble.filter(|_| index == 0),
            };
            sharers[block.load] += 1;
            fleet.push(Member { block, records });
        }
    }
    fleet
}

/// When the records of a block's producer are due, that has number `nth` among those that share its load.
fn pace_of(plan: &Plan, block: &ProducerBlock, index: u16, nth: u64, keys: Option<&Keys>) -> Pace {
    let partitions = u64::from(plan.topics[block.topic].partitions);
    let producers = plan.sharers(block.load);
    let seed = SplitMix::seed(plan.seed, index, ARRIVALS);
    let shares = keys.and_then(Keys::shares);
    let share = |curve: &Arc<Curve>, spread, arrival| {
        let curve = Arc::clone(curve);
        Pace::Scheduled(Share { curve, producer: nth, producers, partitions, spread, arrival, seed })
    };
    match &plan.load.paces[block.load] {
        PacePlan::Open { curve, arrival } => {
            let spread = match (shares, &block.records.keys) {
                (Some(shares), _) => Spread::Shares(shares),
                (None, KeyChoice::Sticky) => {
                    let record_bytes = block.records.value_bytes_mean.max(1.0);
                    Spread::Sticky { run: (block.batch_bytes as f64 / record_bytes).max(1.0) as u64 }
                }
                (None, _) => Spread::Turns,
            };
            share(curve, spread, *arrival)
        }
        PacePlan::Replay { trace, curve } => {
            share(curve, Spread::Recorded(Arc::clone(trace)), Arrival::Uniform)
        }
        PacePlan::Unlimited { records_max, slots } => Pace::Unlimited(Unlimited {
            records_max: records_max.map_or(u64::MAX / 2, |all| share_of_partition(all, nth, producers)),
            slots: *slots,
            shares,
        }),
    }
}

fn record_maker(plan: &Plan, block: &ProducerBlock, index: u16, keys: Option<Keys>) -> RecordMaker {
    let records = &block.records;
    let value_bytes = records.value_bytes_mean as usize;
    let body_bytes = value_bytes.saturating_sub(records.identity.bytes_in_value());
    let body = BodyMaker::new(plan.seed, index, records.body.clone(), body_bytes);
    let sizes = (&records.sizes, value_bytes);
    RecordMaker::new(plan.seed, index, body, sizes, keys, Arc::clone(&records.headers))
        .with_identity_in(records.identity)
        .with_keys_told(plan.verify.is_some() && plan.is_compacted(&plan.topics[block.topic]))
}

fn client_of(plan: &Plan, block: &ProducerBlock, index: u64, shared: &Shared) -> ProducerConfig {
    let topic = &plan.topics[block.topic];
    ProducerConfig {
        index,
        links: shared.links(&block.links, &format!("producer-{index}")),
        topic: topic.name.clone(),
        partitions: topic.partitions as usize,
        acks: block.acks,
        idempotent: block.idempotent,
        codec: block.codec,
        linger: block.linger,
        batch_bytes: block.batch_bytes,
        request_bytes: block.request_bytes,
        buffer_bytes: block.buffer_bytes,
        max_in_flight: block.max_in_flight,
        delivery_timeout: block.delivery_timeout,
        retries: block.retries,
    }
}

/// Running readers of one topic.
pub(super) struct Readers {
    threads: Vec<(String, JoinHandle<Result<Reader, LoopFailure>>)>,
    pub(super) ends: Arc<EndOffsets>,
}

impl Readers {
    /// Starts the readers of one topic at `starts`. The first reader has index `first`.
    pub(super) fn start(
        plan: &Plan,
        block: &ReaderBlock,
        routes: &Routes,
        starts: &BTreeMap<usize, i64>,
        first: u16,
        shared: &Shared,
        fleet: &mut Fleet,
    ) -> Result<Self, ThreadError> {
        let topic = &plan.topics[block.topic];
        let ends = Arc::new(EndOffsets::unknown(topic.partitions));
        let mut threads = Vec::new();
        for (i, (partitions, settlements)) in routes.receivers.iter().enumerate() {
            let index = first + i as u16;
            let assigned = assigned_to(partitions, starts);
            let reader = Reader::new(
                reader_plan(plan, block, index, assigned),
                Arc::clone(&shared.control),
                Arc::clone(&ends),
                settlements.clone(),
                shared.intervals.clone(),
                INTERVAL_NS,
            );
            let what = format!("reader {index} of {}", topic.name);
            let handle = match &block.driver {
                DriverPlan::Wire => {
                    let config = fetcher_of(plan, block, index, shared);
                    let watermarks = shared.watermarks(&topic.name);
                    let client = move |reader: Reader| {
                        let assigned = reader.reads_from();
                        Ok(run_fetcher(FetcherConfig { assigned, ..config.clone() }, reader)?)
                    };
                    let body = move || read_in_window(reader, watermarks, client);
                    spawn(&what, format!("read-{index}"), body)?
                }
                DriverPlan::External(_) => {
                    fleet.reader(index).ok_or_else(|| no_program(&what))?.begin(reader).1
                }
                #[cfg(feature = "rdkafka")]
                DriverPlan::Rdkafka(settings) => {
                    rdkafka::start_reader(&what, index, block, settings, reader, shared)?
                }
                #[cfg(not(feature = "rdkafka"))]
                DriverPlan::Rdkafka(_) => return Err(not_built(&what)),
            };
            threads.push((what, handle));
        }
        Ok(Readers { threads, ends })
    }

    /// Whether every reader is at its end, or has stopped for another reason.
    pub(super) fn are_done(&self) -> bool {
        self.threads.iter().all(|(_, t)| t.is_finished())
    }

    /// Waits for the readers and judges what they read.
    pub(super) fn join(
        self,
        end_is_final: bool,
        reader_was_limit: bool,
        windows: &Windows,
        mut read_again: impl FnMut(FirstRead, &mut Shard),
    ) -> Result<Vec<ReaderEnd>, ThreadError> {
        self.threads
            .into_iter()
            .map(|(what, thread)| match thread.join() {
                Ok(Ok(reader)) => Ok(reader.finish(end_is_final, reader_was_limit, windows, &mut read_again)),
                Ok(Err(source)) => Err(ThreadError::Loop { what, source }),
                Err(_) => Err(ThreadError::Panicked { what }),
            })
            .collect()
    }
}

fn fetcher_of(plan: &Plan, block: &ReaderBlock, index: u16, shared: &Shared) -> FetcherConfig {
    let topic = &plan.topics[block.topic];
    FetcherConfig {
        links: shared.links(&block.links, &format!("reader-{index}")),
        topic: topic.name.clone(),
        partitions: topic.partitions as usize,
        assigned: BTreeMap::new(),
        max_wait: block.max_wait,
        min_bytes: block.min_bytes,
        max_bytes: block.max_bytes,
        partition_max_bytes: block.partition_max_bytes,
        isolation: block.isolation,
    }
}

fn reader_plan(plan: &Plan, block: &ReaderBlock, index: u16, assigned: BTreeMap<usize, i64>) -> ReaderPlan {
    let topic = &plan.topics[block.topic];
    let producers = || plan.producers.iter().filter(|p| p.topic == block.topic);
    let in_order = producers().all(|p| p.idempotent);
    let anywhere = |place| producers().any(|p| p.records.identity == place);
    ReaderPlan {
        reader: index,
        run: plan.run,
        topic: topic.name.clone(),
        elsewhere: Elsewhere {
            in_header: anywhere(IdentityPlace::Header),
            in_key: anywhere(IdentityPlace::Key),
        },
        check: plan.verify.map(|verify| CheckPlan {
            other_topics: plan
                .topics
                .iter()
                .filter(|t| t.name != topic.name)
                .map(|t| t.name.clone())
                .collect(),
            created_by_run: topic.lifecycle != crate::plan::Lifecycle::Reuse,
            in_order,
            gapless: plan.is_gapless(block),
            compacted_keys: plan.is_compacted(topic).then(|| keys_max(plan)),
            examples_max: verify.examples_max,
            fragments_max: fragments_max(plan),
            keep_history: verify.history.is_some(),
        }),
        assigned,
        window: block.window,
    }
}
