//! A small cluster that makes histories: producers with transactions, partitions with markers, a log reader per partition, readers at
//! read_committed. It knows what Kafka does when nothing is wrong (crashes, retries, fencing, timed-out transactions, unknown
//! outcomes, leader changes, reading again after the log was cut off); with `trouble` it does what Kafka must not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gauntlet_verify::transaction::cycle::RecordKey;
use gauntlet_verify::transaction::{Answer, BatchKey, Config, End, Event, Source, TransactionKey};
use gauntlet_verify::{BatchHeader, Outcome, Place, ReadEnd, Settlement, StreamKey, Watermarks};

pub(crate) const RUN: u32 = 9;
pub(crate) const TIMEOUT_NS: u64 = 60_000_000_000;
pub(crate) const GRACE_NS: u64 = 40_000_000_000;
/// The last epochs that a producer id is used with.
const EPOCH_MAX: i16 = i16::MAX - 4;
/// Entries that are kept behind the last reader, to be read again.
const KEPT: usize = 16;

/// SplitMix64: enough randomness for a test, and the same everywhere.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn permille(&mut self, chance: u64) -> bool {
        self.next() % 1_000 < chance
    }
}

/// One thing that happened, for whichever checker it concerns.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Transaction(Event),
    /// A batch of the log with the record it begins with; a marker has none.
    Log(u32, BatchHeader, Option<(StreamKey, u64, u64)>),
    Settled(u32, Settlement),
    Truncated(u32, i64),
    Watermarks(u32, Watermarks),
    Hidden(u32, i64, i64),
    Explained(u32, i64),
    /// A reader polled these offsets.
    Polled(u16, u32, i64, i64),
    /// A reader lost its partition, and got it again.
    Rebalanced(u16, u32, i64),
    Began(TransactionKey),
    WroteRecord(TransactionKey, RecordKey),
    ReadRecord(TransactionKey, RecordKey),
    Ended(TransactionKey, bool),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub producers: u16,
    pub partitions: u32,
    pub readers: u16,
    pub trouble: bool,
}

impl Options {
    pub(crate) fn config(&self) -> Config {
        Config {
            run: RUN,
            topics: vec!["t".to_owned(), "source".to_owned()],
            readers: self.readers,
            timeout_ns: TIMEOUT_NS,
            abort_grace_ns: GRACE_NS,
            open_limit: 1 << 16,
            witness_limit: 4,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
    Marker(End),
}

#[derive(Clone, Debug)]
struct Entry {
    header: BatchHeader,
    fate: Fate,
    first: Option<(StreamKey, u64, u64)>,
}

#[derive(Default)]
struct Partition {
    log: VecDeque<Entry>,
    /// Index of the first entry that is still kept.
    base: usize,
    next_offset: i64,
    leader_epoch: i32,
    coordinator_epoch: i32,
    /// Indices of the entries at which producers' transactions begin.
    open: BTreeMap<i64, usize>,
    /// The next entry of the log reader, of what was explained, and of each reader at read_committed.
    read: usize,
    explained: usize,
    /// It was cut off: then it is read again as far as it was before.
    was_cut: bool,
    readers: Vec<usize>,
    /// How far each of these was, before it had to read again.
    highest: Vec<usize>,
}

impl Partition {
    fn end(&self) -> usize {
        self.base + self.log.len()
    }

    /// The first entry that readers at read_committed don't get yet.
    fn stable(&self) -> usize {
        self.open.values().copied().min().unwrap_or(self.end())
    }

    fn offset_of(&self, index: usize) -> i64 {
        self.log.get(index - self.base).map_or(self.next_offset, |entry| entry.header.base_offset)
    }

    fn trim(&mut self) {
        let least = self.readers.iter().copied().chain([self.read, self.explained, self.stable()]).min();
        let keep_from = least.unwrap_or(0).saturating_sub(KEPT);
        while self.base < keep_from {
            self.log.pop_front();
            self.base += 1;
        }
    }
}

enum State {
    Idle,
    Open,
    /// Markers to be written with this epoch, and whether the client is still to be answered.
    Ending {
        end: End,
        epoch: i16,
        left: Vec<u32>,
        answer: Option<Answer>,
        crashed: bool,
    },
}

struct Producer {
    stream: StreamKey,
    id: i64,
    epoch: i16,
    version: u8,
    number: u32,
    sequences: Vec<i32>,
    pseqs: Vec<u64>,
    state: State,
    touched: BTreeSet<u32>,
    copies: bool,
    copied: u64,
    committed: u64,
}

impl Producer {
    fn key(&self) -> TransactionKey {
        TransactionKey { stream: self.stream, number: self.number }
    }
}

pub(crate) struct Cluster {
    pub dice: Dice,
    options: Options,
    now_ns: u64,
    next_id: i64,
    partitions: Vec<Partition>,
    producers: Vec<Producer>,
    /// The records that readers were given last.
    given: VecDeque<RecordKey>,
    pub told: Vec<Told>,
    /// How often what happened.
    pub happened: BTreeMap<&'static str, u64>,
}

fn place(partition: u32) -> Place {
    Place { topic: 0, partition }
}

impl Cluster {
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        let readers = vec![0; usize::from(options.readers)];
        let partition =
            || Partition { readers: readers.clone(), highest: readers.clone(), ..Partition::default() };
        let producer = |index: u16| Producer {
            stream: StreamKey { producer: index, incarnation: 0 },
            id: i64::from(index),
            // Some are about to need another producer id.
            epoch: if index % 4 == 1 { EPOCH_MAX - 20 } else { 0 },
            version: 1 + (index % 2) as u8,
            number: 0,
            sequences: vec![0; options.partitions as usize],
            pseqs: vec![0; options.partitions as usize],
            state: State::Idle,
            touched: BTreeSet::new(),
            copies: index.is_multiple_of(3),
            copied: 0,
            committed: 0,
        };
        Self {
            dice: Dice(seed),
            options,
            now_ns: 1,
            next_id: 1_000,
            partitions: (0..options.partitions).map(|_| partition()).collect(),
            producers: (0..options.producers).map(producer).collect(),
            given: VecDeque::new(),
            told: Vec::new(),
            happened: BTreeMap::new(),
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn trouble(&mut self, permille: u64) -> bool {
        self.dice.permille(permille) && self.options.trouble
    }

    fn tell(&mut self, event: Event) {
        self.told.push(Told::Transaction(event));
    }

    /// Lets something happen.
    pub(crate) fn step(&mut self) {
        self.now_ns += 1 + self.dice.next() % 100_000;
        if self.trouble(2) {
            self.now_ns += 2 * TIMEOUT_NS;
        }
        let partition = self.dice.below(self.partitions.len()) as u32;
        match self.dice.below(100) {
            0..36 => self.produce(),
            36..62 => self.read_log(partition),
            62..84 => self.read_committed(partition),
            84..92 => self.explain(partition),
            92..97 => self.observe(partition),
            97 => self.change_leader(partition),
            98 => self.rebalance(partition),
            _ if self.dice.permille(100) => self.read_again(partition),
            _ => {}
        }
        self.partitions[partition as usize].trim();
    }

    fn produce(&mut self) {
        let index = self.dice.below(self.producers.len());
        match self.producers[index].state {
            State::Idle => self.begin(index),
            State::Open => match self.dice.below(100) {
                0..72 => self.write(index),
                72..97 => self.end(index),
                _ => self.crash(index),
            },
            State::Ending { .. } => self.go_on_ending(index),
        }
    }

    fn begin(&mut self, index: usize) {
        let producer = &mut self.producers[index];
        if producer.epoch >= EPOCH_MAX {
            (producer.id, producer.epoch) = (self.next_id, 0);
            producer.sequences.fill(0);
            self.next_id += 1;
            *self.happened.entry("producer ids used up").or_default() += 1;
        }
        producer.number += 1;
        producer.state = State::Open;
        producer.touched.clear();
        producer.copied = producer.committed;
        let (key, version) = (producer.key(), producer.version);
        self.tell(Event::Began { key, version });
        self.told.push(Told::Began(key));
        if let Some(record) = self.given.back().copied() {
            self.told.push(Told::ReadRecord(key, record));
        }
    }

    /// Tells of a batch, and says what it is.
    fn stamp(&mut self, index: usize, partition: u32) -> (BatchHeader, (StreamKey, u64, u64), u32) {
        let count = 1 + self.dice.below(3) as u32;
        let again = self.trouble(20);
        let at_ns = self.now_ns;
        let producer = &mut self.producers[index];
        let at = partition as usize;
        let (sequence, pseq) = (producer.sequences[at], producer.pseqs[at]);
        producer.sequences[at] += count as i32;
        producer.pseqs[at] += u64::from(count);
        producer.touched.insert(partition);
        let batch = BatchKey {
            place: place(partition),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: sequence,
        };
        let first = producer.copied;
        let source = producer.copies.then(|| Source {
            place: Place { topic: 1, partition: index as u32 },
            offsets: first..first + u64::from(count),
        });
        if producer.copies && !again {
            producer.copied += u64::from(count);
        }
        let (key, stream) = (producer.key(), producer.stream);
        let header = BatchHeader {
            base_offset: 0,
            last_offset: i64::from(count) - 1,
            leader_epoch: 0,
            producer_id: batch.producer_id,
            producer_epoch: batch.producer_epoch,
            base_sequence: sequence,
            control: false,
            transactional: true,
        };
        self.tell(Event::Wrote { key, batch, first_pseq: pseq, count, source });
        self.told.push(Told::WroteRecord(key, RecordKey { place: place(partition), stream, pseq }));
        (header, (stream, pseq, at_ns), count)
    }

    fn write(&mut self, index: usize) {
        let partition = self.dice.below(self.partitions.len()) as u32;
        let (header, first, count) = self.stamp(index, partition);
        if self.trouble(20) {
            // Acked, and not there.
            self.settle(partition, first, count, Outcome::Acked { base_offset: None });
            return;
        }
        if self.trouble(10) {
            let old =
                BatchHeader { producer_epoch: header.producer_epoch - 1, base_sequence: 1 << 24, ..header };
            self.append(partition, old, None, Fate::Open);
        }
        let offset = self.append(partition, header, Some(first), Fate::Open);
        // The answer to a first attempt may get lost; that to the next one is DUPLICATE_SEQUENCE_NUMBER, without an offset.
        let base_offset = (!self.dice.permille(30)).then_some(offset);
        self.note(if base_offset.is_some() { "batches" } else { "batches whose answer was lost" });
        self.settle(partition, first, count, Outcome::Acked { base_offset });
    }

    fn settle(&mut self, partition: u32, first: (StreamKey, u64, u64), count: u32, outcome: Outcome) {
        let (stream, first_pseq, _) = first;
        let settled_ns = self.now_ns;
        let settlement = Settlement { stream, first_pseq, count, outcome, sent_ns: 0, settled_ns };
        self.told.push(Told::Settled(partition, settlement));
    }

    fn append(
        &mut self,
        partition: u32,
        header: BatchHeader,
        first: Option<(StreamKey, u64, u64)>,
        fate: Fate,
    ) -> i64 {
        let log = &mut self.partitions[partition as usize];
        let base_offset = log.next_offset;
        let last_offset = base_offset + header.last_offset - header.base_offset;
        let header = BatchHeader { base_offset, last_offset, leader_epoch: log.leader_epoch, ..header };
        log.next_offset = last_offset + 1;
        let index = log.end();
        if fate == Fate::Open {
            log.open.entry(header.producer_id).or_insert(index);
        }
        log.log.push_back(Entry { header, fate, first });
        base_offset
    }

    fn append_marker(&mut self, partition: u32, id: i64, epoch: i16, end: End) {
        let header = BatchHeader {
            base_offset: 0,
            last_offset: 0,
            leader_epoch: 0,
            producer_id: id,
            producer_epoch: epoch,
            base_sequence: -1,
            control: true,
            transactional: true,
        };
        self.append(partition, header, None, Fate::Marker(end));
        let log = &mut self.partitions[partition as usize];
        if let Some(first) = log.open.remove(&id) {
            let fate = if end == End::Commit { Fate::Committed } else { Fate::Aborted };
            let from = first.max(log.base) - log.base;
            let decided = log.log.range_mut(from..);
            decided
                .filter(|entry| entry.header.producer_id == id && entry.fate == Fate::Open)
                .for_each(|entry| entry.fate = fate);
        }
    }

    /// EndTxn is sent; the coordinator writes markers one after the other.
    fn end(&mut self, index: usize) {
        let end = if self.dice.permille(850) { End::Commit } else { End::Abort };
        let unknown = self.dice.permille(60);
        // The request may have got lost, too: then the transaction is aborted when it is too old, or its producer comes back.
        let reached = !unknown || self.dice.permille(500);
        let key = self.producers[index].key();
        let at_ns = self.now_ns;
        self.note(match (unknown, reached, end) {
            (true, true, _) => "ends without an answer that were carried out",
            (true, false, _) => "ends that were lost",
            (false, _, End::Commit) => "commits",
            (false, _, End::Abort) => "aborts",
        });
        self.tell(Event::EndSent { key, end, at_ns });
        let early = self.dice.permille(300);
        let producer = &mut self.producers[index];
        let bumped = producer.epoch + i16::from(producer.version >= 2 || !reached);
        let left = producer.touched.iter().copied().collect();
        let answer = if unknown { Answer::Unknown } else { Answer::Done };
        let done = if reached { end } else { End::Abort };
        producer.state =
            State::Ending { end: done, epoch: bumped, left, answer: Some(answer), crashed: unknown };
        if early || unknown {
            self.answer(index);
        }
    }

    fn crash(&mut self, index: usize) {
        self.note("producers that crashed, and were fenced");
        let held = self.dice.permille(500).then(|| {
            let partition = self.dice.below(self.partitions.len()) as u32;
            (partition, self.stamp(index, partition))
        });
        let aborts = self.producers[index].version == 1 && self.trouble(500);
        let producer = &mut self.producers[index];
        let left = producer.touched.iter().copied().collect();
        let (key, id, epoch) = (producer.key(), producer.id, producer.epoch);
        if let (true, Some((partition, (header, first, count)))) = (aborts, held) {
            // KIP-890: the client aborts, and a batch of it that was held up comes behind the marker.
            producer.state = State::Idle;
            let touched: Vec<u32> = producer.touched.iter().copied().collect();
            let at_ns = self.now_ns;
            self.tell(Event::EndSent { key, end: End::Abort, at_ns });
            touched.into_iter().for_each(|other| self.append_marker(other, id, epoch, End::Abort));
            self.append(partition, header, Some(first), Fate::Open);
            self.settle(partition, first, count, Outcome::Indeterminate);
            self.tell(Event::Answered { key, answer: Answer::Done });
            self.told.push(Told::Ended(key, true));
            return;
        }
        // It is fenced, then aborted.
        producer.state = State::Ending {
            end: End::Abort,
            epoch: epoch + 1,
            left,
            answer: Some(Answer::Refused),
            crashed: true,
        };
        if let Some((partition, (_, first, count))) = held {
            self.settle(partition, first, count, Outcome::Indeterminate);
        }
        self.answer(index);
    }

    fn answer(&mut self, index: usize) {
        let producer = &mut self.producers[index];
        let key = producer.key();
        if let State::Ending { answer, end, .. } = &mut producer.state
            && let Some(answer) = answer.take()
        {
            let aborted = *end == End::Abort;
            self.tell(Event::Answered { key, answer });
            self.told.push(Told::Ended(key, aborted));
        }
    }

    fn go_on_ending(&mut self, index: usize) {
        let spoiled = (self.trouble(30), self.trouble(30), self.trouble(20));
        let producer = &mut self.producers[index];
        let (id, open_epoch, version) = (producer.id, producer.epoch, producer.version);
        let State::Ending { end, epoch, left, .. } = &mut producer.state else { return };
        let (mut end, mut epoch, next) = (*end, *epoch, left.pop());
        if let Some(partition) = next {
            let (other_end, dropped, late) = spoiled;
            if other_end {
                end = if end == End::Commit { End::Abort } else { End::Commit };
            }
            if late && version >= 2 {
                epoch = open_epoch;
            }
            if !dropped {
                self.append_marker(partition, id, epoch, end);
            }
            // A coordinator that was not answered writes it again; nothing is open then.
            if self.dice.permille(20) && !dropped {
                self.note("markers that were written twice");
                self.append_marker(partition, id, epoch, end);
            }
            return;
        }
        self.answer(index);
        self.over(index);
    }

    /// Every marker is written: the producer goes on, or comes back as another incarnation.
    fn over(&mut self, index: usize) {
        let forgets = self.trouble(20);
        let producer = &mut self.producers[index];
        let State::Ending { end, epoch, crashed, .. } = &producer.state else { return };
        if *end == End::Commit && !forgets {
            producer.committed = producer.copied;
        }
        let next = if *crashed { epoch + 1 } else { *epoch };
        if next != producer.epoch {
            producer.epoch = next;
            producer.sequences.fill(0);
        }
        if *crashed {
            producer.stream.incarnation = producer.stream.incarnation.wrapping_add(1);
            producer.pseqs.fill(0);
        }
        producer.state = State::Idle;
    }

    fn read_log(&mut self, partition: u32) {
        for _ in 0..1 + self.dice.below(4) {
            let at_ns = self.now_ns;
            let log = &mut self.partitions[partition as usize];
            let Some(entry) = log.log.get(log.read - log.base).cloned() else { return };
            log.read += 1;
            let (place, header, coordinator_epoch) = (place(partition), entry.header, log.coordinator_epoch);
            self.told.push(Told::Log(partition, header, entry.first));
            self.tell(match entry.fate {
                Fate::Marker(end) => Event::LogMarker { place, header, end, coordinator_epoch, at_ns },
                _ => Event::LogBatch { place, header, at_ns },
            });
        }
    }

    fn read_committed(&mut self, partition: u32) {
        if self.options.readers == 0 {
            return;
        }
        let reader = self.dice.below(usize::from(self.options.readers)) as u16;
        for _ in 0..1 + self.dice.below(4) {
            let (careless, at_ns) = (self.trouble(10), self.now_ns);
            let log = &mut self.partitions[partition as usize];
            let at = log.readers[usize::from(reader)];
            let careless = careless && at >= log.highest[usize::from(reader)];
            if at >= log.stable() && !(careless && at < log.end()) {
                return;
            }
            let entry = log.log[at - log.base].clone();
            log.readers[usize::from(reader)] += 1;
            log.highest[usize::from(reader)] = log.highest[usize::from(reader)].max(at + 1);
            let (place, header) = (place(partition), entry.header);
            let given = entry.fate == Fate::Committed || careless && !matches!(entry.fate, Fate::Marker(_));
            if given {
                self.tell(Event::Delivered { reader, place, header, at_ns });
                self.told.push(Told::Polled(reader, partition, header.base_offset, header.last_offset));
                if let Some((stream, pseq, _)) = entry.first {
                    self.given.push_back(RecordKey { place, stream, pseq });
                    if self.given.len() > 4 {
                        self.given.pop_front();
                    }
                }
            } else {
                self.tell(Event::Passed { reader, place, position: header.last_offset + 1 });
            }
        }
    }

    /// The log reader says what holds nothing for consumers, as far as that is decided.
    fn explain(&mut self, partition: u32) {
        let log = &mut self.partitions[partition as usize];
        let until = log.stable().min(log.read);
        while log.explained < until {
            let entry = &log.log[log.explained - log.base];
            if entry.fate != Fate::Committed {
                let end = entry.header.last_offset + 1;
                self.told.push(Told::Hidden(partition, entry.header.base_offset, end));
            }
            log.explained += 1;
        }
        self.told.push(Told::Explained(partition, log.offset_of(log.explained)));
    }

    fn observe(&mut self, partition: u32) {
        let (at_ns, hampered) = (self.now_ns, self.dice.permille(20));
        let log = &self.partitions[partition as usize];
        let (last_stable_offset, high_watermark) = (log.offset_of(log.stable()), log.next_offset);
        let place = place(partition);
        let seen =
            Watermarks { replica: 1, leader_epoch: log.leader_epoch, high_watermark, last_stable_offset };
        self.told.push(Told::Watermarks(partition, seen));
        self.tell(Event::Stable { place, last_stable_offset, high_watermark, at_ns });
        if hampered {
            self.tell(Event::Hampered { place, at_ns });
        }
    }

    /// A clean one: nothing that anybody was given is lost.
    fn change_leader(&mut self, partition: u32) {
        self.note("leader changes");
        let log = &mut self.partitions[partition as usize];
        log.leader_epoch += 1;
        log.coordinator_epoch += i32::from(log.leader_epoch % 3 == 0);
    }

    fn rebalance(&mut self, partition: u32) {
        if self.options.readers == 0 {
            return;
        }
        let reader = self.dice.below(usize::from(self.options.readers)) as u16;
        let log = &self.partitions[partition as usize];
        let position = log.offset_of(log.readers[usize::from(reader)]);
        self.told.push(Told::Rebalanced(reader, partition, position));
        self.note("rebalances");
    }

    /// The log is cut off, and a new leader has the same written again: readers are told, and go on from there.
    fn read_again(&mut self, partition: u32) {
        let back = self.dice.below(KEPT / 2);
        let log = &mut self.partitions[partition as usize];
        let to = log.read.saturating_sub(back).max(log.base);
        let end = log.offset_of(to);
        log.was_cut = true;
        log.leader_epoch += 1;
        let (leader_epoch, from) = (log.leader_epoch, to - log.base);
        log.log.range_mut(from..).for_each(|entry| entry.header.leader_epoch = leader_epoch);
        log.read = to;
        log.explained = log.explained.min(to);
        log.readers.iter_mut().for_each(|at| *at = (*at).min(to));
        self.told.push(Told::Truncated(partition, end));
        self.note("truncations");
        self.tell(Event::Truncated { place: place(partition), end });
    }

    /// Lets everything come to its end.
    pub(crate) fn finish(&mut self) {
        for index in 0..self.producers.len() {
            if matches!(self.producers[index].state, State::Open) {
                self.end(index);
            }
            while matches!(self.producers[index].state, State::Ending { .. }) {
                self.go_on_ending(index);
            }
        }
        for partition in 0..self.options.partitions {
            let at = partition as usize;
            let stops_early = self.trouble(100) && !self.partitions[at].was_cut;
            while !stops_early && self.partitions[at].read < self.partitions[at].end() {
                self.read_log(partition);
            }
            let is_behind = |log: &Partition| log.readers.iter().any(|at| *at < log.stable());
            while is_behind(&self.partitions[at]) {
                self.read_committed(partition);
            }
            self.explain(partition);
            let log = &self.partitions[at];
            let end = ReadEnd {
                position: log.offset_of(log.read),
                end_offset: log.next_offset,
                end_is_final: true,
                reader_was_limit: false,
            };
            self.tell(Event::LogEnded { place: place(partition), end });
        }
        for index in 0..self.producers.len() {
            let (copies, committed) = (self.producers[index].copies, self.producers[index].committed);
            if copies {
                let place = Place { topic: 1, partition: index as u32 };
                let half = committed / 2;
                self.tell(Event::Copied { place, visible: vec![0..half, half..committed + 5], committed });
            }
        }
    }

    /// Where each partition was read to.
    pub(crate) fn ends(&self) -> Vec<ReadEnd> {
        let end = |log: &Partition| ReadEnd {
            position: log.offset_of(log.read),
            end_offset: log.next_offset,
            end_is_final: true,
            reader_was_limit: false,
        };
        self.partitions.iter().map(end).collect()
    }
}
