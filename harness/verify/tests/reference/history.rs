//! Random histories: what was sent, what the log holds, and in which order the checker hears of both.

use gauntlet_verify::{
    BatchHeader, CrcSeed, IDENTITY_LEN, Identity, Outcome, ReadEnd, Settlement, ShardConfig, StreamKey,
    identity::encode,
};

pub(crate) const RUN: u32 = 77;
const PARTITION: u32 = 3;

/// What lies at one offset, as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Stream, pseq, and when it was sent.
    Ours(StreamKey, u64, u64),
    Corrupt,
    Misrouted,
    Foreign,
}

#[derive(Clone, Debug)]
pub(crate) struct LogRecord {
    pub offset: i64,
    pub content: Content,
    pub value: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Settle(Settlement),
    Batch(BatchHeader, Vec<LogRecord>),
    LogStart(i64),
    Advance(i64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub batches: usize,
    pub streams: u16,
    pub trouble: bool,
}

#[derive(Debug)]
pub(crate) struct History {
    pub events: Vec<Event>,
    pub end: ReadEnd,
    pub created_by_run: bool,
    pub in_order: bool,
    /// Whatever the log does not hold was skipped. Clean histories have gaps, as compaction leaves them.
    pub gapless: bool,
}

/// SplitMix64: enough randomness for a test, and the same everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }
}

struct Sent {
    stream: StreamKey,
    first_pseq: u64,
    count: u32,
    sent_ns: u64,
}

struct Writer {
    dice: Dice,
    trouble: bool,
    next_offset: i64,
    log: Vec<LogRecord>,
}

impl Writer {
    fn trouble(&mut self, chance: u64) -> bool {
        self.dice.percent(chance) && self.trouble
    }

    fn value(&mut self, content: Content) -> Vec<u8> {
        let mut value = vec![0x5A; IDENTITY_LEN + self.dice.below(20)];
        let (stream, pseq, intended_ns) = match content {
            Content::Ours(stream, pseq, sent_ns) => (stream, pseq, sent_ns),
            _ => (StreamKey { producer: 0, incarnation: 0 }, 5, 1),
        };
        let partition = if content == Content::Misrouted { PARTITION + 1 } else { PARTITION };
        let identity = Identity {
            flags: 0,
            run: if content == Content::Foreign { RUN + 1 } else { RUN },
            producer: stream.producer,
            incarnation: stream.incarnation,
            partition,
            pseq,
            intended_ns,
        };
        encode(&identity, &CrcSeed::new("t", partition), &mut value).expect("longer than an identity");
        if content == Content::Corrupt {
            let bit = self.dice.below(value.len() * 8);
            value[bit / 8] ^= 1 << (bit % 8);
        }
        value
    }

    fn push(&mut self, content: Content) {
        let value = self.value(content);
        self.log.push(LogRecord { offset: self.next_offset, content, value });
        self.next_offset += 1;
    }

    /// Appends a batch, with mishaps, and returns its base offset.
    fn append(&mut self, sent: &Sent) -> i64 {
        if self.dice.percent(10) {
            self.next_offset += 1 + self.dice.below(3) as i64;
        }
        let base = self.next_offset;
        for pseq in sent.first_pseq..sent.first_pseq + u64::from(sent.count) {
            if self.trouble(3) {
                self.next_offset += 1;
            } else if self.trouble(3) {
                self.push(Content::Corrupt);
            } else if self.trouble(2) {
                self.push(Content::Misrouted);
            } else if self.trouble(2) {
                self.push(Content::Foreign);
            } else {
                self.push(Content::Ours(sent.stream, pseq, sent.sent_ns));
            }
        }
        base
    }
}

impl History {
    pub(crate) fn random(seed: u64, shape: Shape) -> Self {
        let mut writer = Writer { dice: Dice(seed), trouble: shape.trouble, next_offset: 0, log: Vec::new() };
        let sent = send(&mut writer, shape);
        let settlements = append_all(&mut writer, &sent);
        let Writer { mut dice, next_offset, log, .. } = writer;
        let reads = read(&mut dice, log, shape.trouble);
        let mut end_offset = next_offset;
        if shape.trouble && dice.percent(30) {
            end_offset += dice.below(4) as i64;
        }
        let position = reads.position;
        let events = interleave(&mut dice, settlements, reads.events);
        let end = ReadEnd {
            position: if shape.trouble { position } else { end_offset },
            end_offset,
            end_is_final: dice.percent(50),
            reader_was_limit: dice.percent(50),
        };
        let gapless = shape.trouble && dice.percent(50);
        Self { events, end, created_by_run: dice.percent(50), in_order: dice.percent(50), gapless }
    }

    pub(crate) fn shard_config(&self, fragment_limit: usize) -> ShardConfig {
        ShardConfig {
            run: RUN,
            topic: "t".to_owned(),
            partition: PARTITION,
            other_topics: vec!["u".to_owned()],
            created_by_run: self.created_by_run,
            in_order: self.in_order,
            gapless: self.gapless,
            compacted: false,
            start_offset: 0,
            witness_limit: 4,
            fragment_limit,
        }
    }
}

fn send(writer: &mut Writer, shape: Shape) -> Vec<Sent> {
    let mut next = vec![0u64; usize::from(shape.streams)];
    let mut sent = Vec::new();
    for _ in 0..shape.batches {
        let index = writer.dice.below(next.len());
        let count = 1 + writer.dice.below(6) as u32;
        let stream = StreamKey { producer: index as u16 / 2, incarnation: index as u16 % 2 };
        let sent_ns = 1_000 + 100 * sent.len() as u64;
        sent.push(Sent { stream, first_pseq: next[index], count, sent_ns });
        next[index] += u64::from(count);
    }
    sent
}

fn append_all(writer: &mut Writer, sent: &[Sent]) -> Vec<Settlement> {
    let mut order: Vec<usize> = (0..sent.len()).collect();
    for at in 1..order.len() {
        if writer.trouble(15) {
            let other = at - 1 - writer.dice.below(at.min(4));
            order.swap(at, other);
        }
    }
    let mut settlements = Vec::new();
    for index in order {
        let batch = &sent[index];
        let outcome = append_one(writer, batch);
        if let Some(outcome) = outcome {
            settlements.push(Settlement {
                stream: batch.stream,
                first_pseq: batch.first_pseq,
                count: batch.count,
                outcome,
                sent_ns: batch.sent_ns,
                settled_ns: settled_ns(writer, batch.sent_ns),
            });
        }
    }
    settlements
}

/// When an answer came to what was sent then: soon after, and before the next batch was sent or after it. With trouble it may
/// have come long before, or nobody knows.
fn settled_ns(writer: &mut Writer, sent_ns: u64) -> u64 {
    if writer.trouble(5) {
        return 0;
    }
    let early_ns = if writer.trouble(5) { writer.dice.below(1_000) as u64 } else { 0 };
    (sent_ns + 1 + writer.dice.below(300) as u64).saturating_sub(early_ns)
}

/// Appends one batch as often as it comes to, and says how it ended; `None` if it is never settled.
fn append_one(writer: &mut Writer, batch: &Sent) -> Option<Outcome> {
    let kind = if writer.trouble { writer.dice.below(100) } else { 0 };
    let present = match kind {
        0..70 => !writer.trouble(4),
        70..80 => writer.dice.percent(10),
        _ => writer.dice.percent(60),
    };
    let mut bases = Vec::new();
    if present {
        bases.push(writer.append(batch));
        while writer.trouble(8) {
            let base = writer.append(batch);
            bases.push(base);
        }
    }
    let mut base = match bases.len() {
        0 => writer.next_offset - writer.dice.below(9) as i64,
        copies => bases[writer.dice.below(copies)],
    };
    if writer.trouble(4) {
        base += writer.dice.below(7) as i64 - 3;
    }
    match kind {
        0..60 => Some(Outcome::Acked { base_offset: Some(base.max(0)) }),
        60..70 => Some(Outcome::Acked { base_offset: None }),
        70..80 => Some(Outcome::Failed),
        80..89 => Some(Outcome::Indeterminate),
        89..98 => Some(Outcome::Unacknowledged),
        _ => None,
    }
}

struct Reads {
    events: Vec<Event>,
    position: i64,
}

/// Cuts the log into batches as a reader gets them; with trouble it may miss expired ones or stop early.
fn read(dice: &mut Dice, log: Vec<LogRecord>, trouble: bool) -> Reads {
    let mut events = Vec::new();
    let mut position = 0;
    let mut records = log.into_iter().peekable();
    let mut leader_epoch = 1_000_000;
    let mut headers = Headers::default();
    let stop_at = if trouble && dice.percent(20) { dice.below(records.len() + 1) as i64 } else { i64::MAX };
    while records.peek().is_some() {
        let size = 1 + dice.below(5);
        let batch: Vec<_> = records.by_ref().take(size).collect();
        let (first, last) = (batch[0].offset, batch[batch.len() - 1].offset);
        if first >= stop_at {
            break;
        }
        if trouble && dice.percent(3) {
            let gone = last + 1 - dice.below(2) as i64;
            events.push(Event::LogStart(gone));
            events.push(Event::Advance(last + 1));
            position = last + 1;
            continue;
        }
        leader_epoch += i32::from(dice.percent(5));
        leader_epoch -= i32::from(trouble && dice.percent(3));
        let header = headers.next(dice, trouble, (first, last), leader_epoch);
        events.push(Event::Batch(header, batch));
        position = last + 1;
    }
    Reads { events, position }
}

/// Producer ids, epochs and sequences, with mishaps, regardless of whose records a batch holds.
struct Headers {
    /// The id that writes, and the epoch and next sequence of each.
    at: usize,
    producers: [(i16, i32); 3],
}

impl Default for Headers {
    fn default() -> Self {
        Self { at: 0, producers: [(3, 0), (3, i32::MAX - 20), (3, 500)] }
    }
}

impl Headers {
    fn next(
        &mut self,
        dice: &mut Dice,
        trouble: bool,
        (base_offset, last_offset): (i64, i64),
        leader_epoch: i32,
    ) -> BatchHeader {
        if dice.percent(8) {
            self.at = dice.below(self.producers.len());
        }
        let plain = BatchHeader {
            base_offset,
            last_offset,
            leader_epoch,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            control: false,
            transactional: false,
        };
        if dice.percent(5) {
            return plain;
        }
        let (epoch, next) = &mut self.producers[self.at];
        if dice.percent(4) {
            (*epoch, *next) = (*epoch + 1, 0);
        }
        let mut header = BatchHeader {
            producer_id: 500 + self.at as i64,
            producer_epoch: *epoch,
            base_sequence: *next,
            ..plain
        };
        let shift = |sequence: i32, by: i64| (i64::from(sequence) + by).rem_euclid(1 << 31) as i32;
        if trouble && dice.percent(4) {
            header.base_sequence = shift(*next, 1 + dice.below(9) as i64);
        } else if trouble && dice.percent(4) {
            header.base_sequence = shift(*next, -1 - dice.below(9) as i64);
        } else if trouble && dice.percent(4) {
            header.producer_epoch -= 1;
        }
        *next = shift(header.base_sequence, last_offset - base_offset + 1);
        header
    }
}

/// Mixes both sides; either may run far ahead, and settlements also change places.
fn interleave(dice: &mut Dice, mut settlements: Vec<Settlement>, reads: Vec<Event>) -> Vec<Event> {
    for at in 1..settlements.len() {
        if dice.percent(30) {
            let other = dice.below(at);
            settlements.swap(at, other);
        }
    }
    let settle_first = 10 + dice.below(80) as u64;
    let mut settlements = settlements.into_iter().map(Event::Settle).peekable();
    let mut reads = reads.into_iter().peekable();
    let mut events = Vec::new();
    while settlements.peek().is_some() || reads.peek().is_some() {
        let preferred = if dice.percent(settle_first) { settlements.next() } else { reads.next() };
        events.extend(preferred);
    }
    events
}
