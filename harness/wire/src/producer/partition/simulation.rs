//! A simulated broker that loses, delays, rejects and fails over, against the rules of [`super`].
//!
//! The broker model keeps what real ones keep per partition and producer: epoch, last sequence, the last five batches.
//! Whatever happens, for every seed:
//! - an acked batch is in the log, at the offset of the ack; a failed one is not; nothing is there twice;
//! - inside an incarnation, records are in the log in the order in which they were built.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::batch::{BatchBuilder, RecordSpec, next_batch};
use crate::codec::Codec;

const MS: u64 = 1_000_000;
const DELIVERY_TIMEOUT_NS: u64 = 3_000 * MS;

/// What the model logs: which batch, how many records, in which incarnation it was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    number: u64,
    incarnation: u16,
}

#[derive(Debug, Clone)]
struct Request {
    id: u64,
    tag: Tag,
    stamp: BatchStamp,
    count: u32,
}

#[derive(Debug, Default)]
struct Broker {
    log: Vec<(Tag, u32)>,
    end_offset: i64,
    epoch: i16,
    known: bool,
    next_sequence: i32,
    recent: VecDeque<(i32, u32, i64)>,
}

impl Broker {
    /// Kafka's ProducerAppendInfo and ProducerStateEntry in a few lines.
    fn append(&mut self, r: &Request) -> (ErrorCode, i64) {
        let s = r.stamp;
        if self.known && s.producer_epoch < self.epoch {
            return (ErrorCode::INVALID_PRODUCER_EPOCH, -1);
        }
        if self.known && s.producer_epoch == self.epoch {
            if let Some(hit) =
                self.recent.iter().find(|(base, count, _)| (*base, *count) == (s.base_sequence, r.count))
            {
                return (ErrorCode::NONE, hit.2);
            }
            if s.base_sequence != self.next_sequence {
                return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
            }
        } else if self.known && s.base_sequence != 0 {
            return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
        }
        if !self.known || s.producer_epoch != self.epoch {
            self.recent.clear();
        }
        self.known = true;
        self.epoch = s.producer_epoch;
        self.next_sequence = advance_sequence(s.base_sequence, r.count);
        let base = self.end_offset;
        self.end_offset += i64::from(r.count);
        self.recent.push_back((s.base_sequence, r.count, base));
        if self.recent.len() > 5 {
            self.recent.pop_front();
        }
        self.log.push((r.tag, r.count));
        (ErrorCode::NONE, base)
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The broker handles the oldest request and its answer arrives.
    Serve,
    /// … but its answer is lost with the connection.
    ServeAndCut,
    /// The connection is cut before the broker saw the request; the bytes never arrive.
    Cut,
    /// The connection is cut, and the bytes arrive later all the same.
    CutAndDelay,
    /// The connection is cut before a byte was written.
    CutUnwritten,
    /// Rejected before the append by a code that can be retried.
    RejectRetriable,
    /// Rejected before the append for good.
    RejectForGood,
    /// Appended, but answered with a code that proves nothing.
    AppendButError,
    /// Answered with a code that proves nothing, and not appended.
    ErrorWithoutAppend,
    /// A delayed request arrives.
    Arrive,
    /// Leadership moves to another node (with all state).
    Move,
    Wait(u16),
    Build(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Serve),
        2 => Just(Step::ServeAndCut),
        1 => Just(Step::Cut),
        1 => Just(Step::CutAndDelay),
        1 => Just(Step::CutUnwritten),
        2 => Just(Step::RejectRetriable),
        1 => Just(Step::RejectForGood),
        1 => Just(Step::AppendButError),
        1 => Just(Step::ErrorWithoutAppend),
        2 => Just(Step::Arrive),
        1 => Just(Step::Move),
        3 => (0u16..1500).prop_map(Step::Wait),
        8 => (1u8..5).prop_map(Step::Build),
    ];
    prop::collection::vec(step, 1..200)
}

struct World {
    queue: PartitionQueue<Tag>,
    broker: Broker,
    now_ns: u64,
    node: i32,
    /// Requests on the connection, oldest first.
    wire: VecDeque<Request>,
    delayed: VecDeque<Request>,
    built: Vec<(Tag, u32)>,
    ended: BTreeMap<u64, BatchOutcome>,
    builder: BatchBuilder,
}

impl World {
    fn new() -> Self {
        let policy = Policy {
            idempotent: true,
            retries: true,
            max_in_flight: 5,
            retry_backoff: Duration::from_millis(10),
            retry_backoff_max: Duration::from_millis(100),
        };
        let mut queue = PartitionQueue::new(policy);
        assert!(!queue.accepts_new(), "nothing is built without a producer id");
        queue.give_identity(ProducerIdentity { id: 7, epoch: 0 });
        World {
            queue,
            broker: Broker::default(),
            now_ns: 0,
            node: 1,
            wire: VecDeque::new(),
            delayed: VecDeque::new(),
            built: Vec::new(),
            ended: BTreeMap::new(),
            builder: BatchBuilder::new(Codec::None),
        }
    }

    fn take(&mut self, out: Vec<Ended<Tag>>) {
        for ended in out {
            let before = self.ended.insert(ended.tag.number, ended.outcome);
            assert_eq!(before, None, "batch {} ended twice", ended.tag.number);
            if let BatchOutcome::Acked { base_offset: Some(offset) } = ended.outcome {
                assert_eq!(self.offset_of(ended.tag), Some(offset), "acked at an offset where it is not");
            }
        }
    }

    fn offset_of(&self, tag: Tag) -> Option<i64> {
        let at = self.broker.log.iter().position(|(t, _)| *t == tag)?;
        Some(self.broker.log[..at].iter().map(|(_, n)| i64::from(*n)).sum())
    }

    fn build(&mut self, records: u8) {
        if !self.queue.accepts_new() {
            return;
        }
        let tag = Tag { number: self.built.len() as u64, incarnation: self.queue.incarnation() };
        for _ in 0..records {
            let spec =
                RecordSpec { timestamp_ms: 0, key: None, value_bytes: 8, own_header: None, headers: &[] };
            self.builder.append(&spec, |v| v.copy_from_slice(&tag.number.to_be_bytes()));
        }
        let sealed = self.builder.seal(self.queue.next_stamp());
        self.built.push((tag, u32::from(records)));
        self.queue.push(sealed, tag, self.now_ns + DELIVERY_TIMEOUT_NS);
    }

    fn pump(&mut self) {
        while let Some((id, sealed)) = self.queue.next_to_send(self.node, self.now_ns) {
            let (header, _) = next_batch(sealed.bytes()).unwrap().unwrap();
            header.verify_crc(sealed.bytes()).unwrap();
            let tag = self.queue.batches.iter().find(|b| b.id == id).unwrap().tag;
            let request = Request { id, tag, stamp: sealed.stamp(), count: sealed.count() };
            assert_eq!(header.base_sequence, request.stamp.base_sequence);
            self.queue.sent(id, self.node);
            self.wire.push_back(request);
        }
        assert!(self.queue.batches.len() <= 5);
    }

    /// The connection dies: the first request is handled by the caller, the rest never arrives.
    fn cut(&mut self, first_written: bool) {
        let mut out = Vec::new();
        for (i, request) in std::mem::take(&mut self.wire).into_iter().enumerate() {
            let written = first_written && i == 0;
            self.queue.connection_lost(request.id, written.then_some(self.now_ns), self.now_ns, &mut out);
        }
        self.take(out);
    }

    fn answer(&mut self, id: u64, code: ErrorCode, offset: i64) {
        let mut out = Vec::new();
        self.queue.answered(id, code, offset, Some(self.now_ns), self.now_ns, &mut out);
        self.take(out);
    }

    fn step(&mut self, step: Step) {
        const NOT_ENOUGH_REPLICAS: ErrorCode = ErrorCode(19);
        const REQUEST_TIMED_OUT: ErrorCode = ErrorCode(7);
        match step {
            Step::Build(records) => self.build(records),
            Step::Wait(ms) => {
                self.now_ns += u64::from(ms) * MS;
                let mut out = Vec::new();
                self.queue.expire(self.now_ns, &mut out);
                self.take(out);
            }
            Step::Move => self.node = 3 - self.node,
            Step::Arrive => {
                if let Some(request) = self.delayed.pop_front() {
                    self.broker.append(&request);
                }
            }
            Step::CutUnwritten => self.cut(false),
            Step::Cut => self.cut(true),
            _ => {
                let Some(request) = self.wire.pop_front() else { return };
                let id = request.id;
                match step {
                    Step::Serve => {
                        let (code, offset) = self.broker.append(&request);
                        self.answer(id, code, offset);
                    }
                    Step::ServeAndCut => {
                        self.broker.append(&request);
                        self.wire.push_front(request);
                        self.cut(true);
                    }
                    Step::CutAndDelay => {
                        self.delayed.push_back(request.clone());
                        self.wire.push_front(request);
                        self.cut(true);
                    }
                    Step::RejectRetriable => self.answer(id, NOT_ENOUGH_REPLICAS, -1),
                    Step::RejectForGood => self.answer(id, ErrorCode(10), -1),
                    Step::AppendButError => {
                        self.broker.append(&request);
                        self.answer(id, REQUEST_TIMED_OUT, -1);
                    }
                    _ => self.answer(id, REQUEST_TIMED_OUT, -1),
                }
            }
        }
        self.pump();
    }

    /// Heals, then demands progress.
    fn finish(&mut self) {
        for _ in 0..2_000 {
            self.step(Step::Serve);
            if self.queue.is_empty() {
                break;
            }
            self.step(Step::Wait(5));
        }
        assert!(self.queue.is_empty(), "healed, but not settled: {:?}", self.queue);
        self.build(1);
        self.step(Step::Serve);
        for _ in 0..100 {
            self.step(Step::Serve);
            self.step(Step::Wait(5));
        }
        let last = self.built.len() as u64 - 1;
        assert!(
            matches!(self.ended.get(&last), Some(BatchOutcome::Acked { .. })),
            "no progress after healing"
        );
        while let Some(request) = self.delayed.pop_front() {
            self.broker.append(&request);
        }
    }

    fn judge(&self) {
        for (tag, count) in &self.built {
            let copies = self.broker.log.iter().filter(|(t, _)| t == tag).count();
            match self.ended.get(&tag.number) {
                Some(BatchOutcome::Acked { .. }) => assert_eq!(copies, 1, "acked batch {tag:?}"),
                Some(BatchOutcome::Failed { .. }) => assert_eq!(copies, 0, "failed batch {tag:?}"),
                Some(BatchOutcome::Indeterminate { .. }) => {
                    assert!(copies <= 1, "indeterminate batch {tag:?}")
                }
                other => panic!("batch {tag:?} of {count} records ended as {other:?}"),
            }
        }
        let mut highest: BTreeMap<u16, u64> = BTreeMap::new();
        for (tag, _) in &self.broker.log {
            let last = highest.insert(tag.incarnation, tag.number);
            assert!(last < Some(tag.number), "{tag:?} is in the log behind {last:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn no_history_loses_or_repeats(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.finish();
        world.judge();
    }
}

fn settled(world: &World, number: u64) -> BatchOutcome {
    world.ended[&number]
}

#[test]
fn the_first_batch_of_an_epoch_flies_alone() {
    let mut world = World::new();
    world.step(Step::Build(1));
    world.step(Step::Build(1));
    assert_eq!((world.wire.len(), world.built.len()), (1, 1));
    world.step(Step::Serve);
    for _ in 0..7 {
        world.step(Step::Build(1));
    }
    assert_eq!(world.wire.len(), 5, "then five at once");
}

#[test]
fn a_batch_rejected_for_good_gives_its_sequences_to_the_later_ones() {
    let mut world = World::new();
    world.step(Step::Build(1));
    world.step(Step::Serve);
    for _ in 0..3 {
        world.step(Step::Build(2));
    }
    world.step(Step::RejectForGood);
    world.step(Step::Serve);
    world.step(Step::Serve);
    assert!(matches!(settled(&world, 1), BatchOutcome::Failed { code: Some(ErrorCode(10)) }));
    world.finish();
    world.judge();
    assert!(matches!(settled(&world, 2), BatchOutcome::Acked { .. }));
    assert_eq!(world.queue.incarnation(), 0, "no new epoch was needed");
}

#[test]
fn a_rejected_batch_whose_followers_were_appended_is_sent_again_unchanged() {
    // The broker did append batch 1 and answers "rejected": the one lie that moving sequences back would turn into
    // an ack for records that are nowhere.
    let mut world = World::new();
    world.step(Step::Build(1));
    world.step(Step::Serve);
    for _ in 0..5 {
        world.step(Step::Build(1));
    }
    let first = world.wire.pop_front().unwrap();
    world.broker.append(&first);
    world.answer(first.id, ErrorCode(19), -1);
    for _ in 0..4 {
        world.step(Step::Serve);
    }
    world.finish();
    world.judge();
    assert!(matches!(settled(&world, 1), BatchOutcome::Acked { base_offset: Some(1) }));
}

#[test]
fn an_indeterminate_batch_ends_the_epoch() {
    let mut world = World::new();
    world.step(Step::Build(1));
    world.step(Step::Serve);
    world.step(Step::Build(1));
    world.step(Step::ServeAndCut);
    world.step(Step::Cut);
    world.step(Step::Wait(3_100));
    assert!(matches!(settled(&world, 1), BatchOutcome::Indeterminate { .. }));
    world.step(Step::Build(1));
    assert_eq!(world.built[2].0.incarnation, 1);
    assert_eq!(world.wire[0].stamp, BatchStamp { producer_id: 7, producer_epoch: 1, base_sequence: 0 });
    world.finish();
    world.judge();
}

#[test]
fn behind_the_last_epoch_comes_another_producer_id() {
    let mut world = World::new();
    world.queue.identity = Some(ProducerIdentity { id: 7, epoch: i16::MAX });
    world.step(Step::Build(1));
    world.step(Step::Cut);
    world.step(Step::Wait(3_100));
    assert!(world.queue.needs_identity() && !world.queue.accepts_new());
    world.queue.give_identity(ProducerIdentity { id: 8, epoch: 0 });
    assert!(world.queue.accepts_new());
    assert_eq!(world.queue.next_stamp(), BatchStamp { producer_id: 8, producer_epoch: 0, base_sequence: 0 });
}

#[test]
fn without_retries_every_error_is_final() {
    let mut world = World::new();
    world.queue.policy = Policy { idempotent: false, retries: false, ..world.queue.policy.clone() };
    for _ in 0..3 {
        world.step(Step::Build(1));
    }
    world.step(Step::RejectRetriable);
    world.step(Step::ErrorWithoutAppend);
    world.step(Step::Cut);
    assert!(matches!(settled(&world, 0), BatchOutcome::Failed { .. }));
    assert!(matches!(settled(&world, 1), BatchOutcome::Indeterminate { .. }));
    assert!(matches!(settled(&world, 2), BatchOutcome::Indeterminate { code: None }));
}

#[test]
fn what_is_in_the_log_behind_a_failed_batch_pins_the_sequences() {
    let mut world = World::new();
    world.step(Step::Build(1));
    world.step(Step::Serve);
    for _ in 0..3 {
        world.step(Step::Build(1));
    }
    // The broker rejects batch 1 for good, and has forgotten the producer when 2 arrives: any sequence will do.
    world.step(Step::RejectForGood);
    world.broker.known = false;
    world.step(Step::Serve);
    world.step(Step::Serve);
    assert_eq!(world.queue.next_stamp().base_sequence, 4, "sequence 1 must not be given to another batch");
    world.finish();
    world.judge();
}

#[test]
fn nothing_is_sent_elsewhere_while_something_is_in_flight() {
    let mut world = World::new();
    world.step(Step::Build(1));
    world.step(Step::Serve);
    world.step(Step::Build(1));
    world.step(Step::Move);
    world.step(Step::Build(1));
    assert_eq!(world.wire.len(), 1, "the old leader has not answered yet");
    world.step(Step::Serve);
    assert_eq!(world.wire.len(), 1, "now the new one gets the next");
    world.finish();
    world.judge();
}
