//! The checker of transactions: what the client did, what the log says of it, and what readers at read_committed were given.
//!
//! No run feeds it yet: gauntlet has no transactional client so far. It is public for one to come, and for event streams from
//! elsewhere; it is proved on synthetic ones (`tests/transactions.rs`, `tests/simulation.rs`).
//!
//! A transaction spans partitions, so there is one checker for all of them, told by one [`Event`] at a time. Sides may run ahead of
//! each other as far as they like, with two rules: a client tells of a batch before it sends it ([`Event::Wrote`]), and every
//! log, and every reader, is told of in the order of its offsets. Times are CLOCK_MONOTONIC nanoseconds of one host.
//!
//! **How.** A batch is known by partition, producer id, epoch and base sequence, which a broker stores as they were sent. So the
//! checker knows whose it is, whatever the log makes of it: that is how a late batch that the *next* transaction commits is seen
//! (KIP-890). The log decides a batch by the next marker of its producer id. Once the client knows the end, each batch was decided or
//! can't come any more, and every reader has passed, all that there is to know of a transaction is in one place
//! (`settled.rs`), which the rules look at and which is then forgotten. Each rule is a file, with its definition on top.
//!
//! | file                     | finds                                                                   |
//! |--------------------------|-------------------------------------------------------------------------|
//! | `aborted_read.rs`        | aborted-read (G1a)                                                      |
//! | `precommitted_read.rs`   | precommitted-read                                                       |
//! | `torn_transaction.rs`    | torn-transaction                                                        |
//! | `lost_write.rs`          | lost and unseen, of committed transactions                              |
//! | `marker_against_answer.rs` | marker-against-answer                                                 |
//! | `zombie_write.rs`        | zombie-write: older epochs, late batches, late markers                  |
//! | `hanging.rs`             | hanging-transaction                                                     |
//! | `commit_duplicate.rs`    | commit-duplicate                                                        |
//! | `offset_atomicity.rs`    | offset-atomicity                                                        |
//! | `cycle.rs`               | cyclic-information-flow (G1c); a checker of its own                     |
//!
//! **Markers and epochs.** Under transaction.version 1 a marker carries the epoch of its transaction, or a later one where the
//! coordinator fenced the producer before it aborted (KIP-98, KAFKA-5231). Under version 2 each EndTxn, and each abort by timeout,
//! raises the epoch, and the marker carries the raised one: the next transaction writes with that epoch, from sequence 0 (KIP-890). A
//! leader takes such a marker only if its epoch is above that of the open transaction (KIP-1228, KAFKA-19446); the same marker
//! again, where nothing is open, is a coordinator's retry and says nothing new (KAFKA-19999).
//!
//! **Memory.** What is held is: transactions that are open at the client; those whose batches some log reader or reader at read_committed
//! has not passed; those with a batch that is not in the log and may yet come, which are at most the last of a producer in each
//! partition. Per partition and producer id an epoch, for at most [`PRODUCERS_MAX`] ids. For copies, one interval per source partition, and one
//! per hole in it. Over [`Config::open_limit`] transactions the oldest is judged by what is known, and [`Found::degraded`] is set.

mod aborted_read;
mod commit_duplicate;
pub mod cycle;
mod hanging;
mod log;
mod lost_write;
mod marker_against_answer;
mod offset_atomicity;
mod precommitted_read;
mod settled;
mod torn_transaction;
mod zombie_write;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::finding::FindingClass;
use crate::found::{Found, Place};
use crate::interval_set::IntervalSet;
use crate::outcome::StreamKey;
use crate::shard::{BatchHeader, ReadEnd};
use crate::witness::{Blame, Witness};

use commit_duplicate::Sources;
use log::Log;
pub use log::PRODUCERS_MAX;
use settled::{Batch, Marker, Settled, State};

/// What the checker has to know beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Id of the run, for witnesses.
    pub run: u32,
    /// Names of the topics; [`Place::topic`] is an index into these.
    pub topics: Vec<String>,
    /// Readers at read_committed whose deliveries will be told, numbered from 0. Each reads every partition that is written to.
    pub readers: u16,
    /// `transaction.timeout.ms`, the largest in use, in nanoseconds.
    pub timeout_ns: u64,
    /// How often coordinators look for transactions that are too old (`transaction.abort.timed.out.transaction.cleanup.interval.ms`,
    /// 10 s by default), and what is allowed for the abort itself, in nanoseconds.
    pub abort_grace_ns: u64,
    /// Transactions held at a time before precision is given up.
    pub open_limit: usize,
    /// How many first, and how many worst, witnesses are kept per class.
    pub witness_limit: usize,
}

/// One transaction, by the client's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransactionKey {
    /// Who made it.
    pub stream: StreamKey,
    /// Counts the transactions of that stream.
    pub number: u32,
}

/// How a batch is known to client and log alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchKey {
    /// The partition it is for.
    pub place: Place,
    /// Producer id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Sequence number of the first record.
    pub base_sequence: i32,
}

impl BatchKey {
    fn of(place: Place, header: &BatchHeader) -> Self {
        Self {
            place,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        }
    }
}

/// Records of one batch, all made of the records at `offsets` of one partition: output of a copy, one to one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The partition that was read.
    pub place: Place,
    /// Offsets of the records that were read.
    pub offsets: Range<u64>,
}

/// What EndTxn is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Make it visible.
    Commit,
    /// Make it void.
    Abort,
}

/// What became of a transaction, as the client knows it, over all attempts to end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// EndTxn did what it was to do.
    Done,
    /// Nobody knows. If a commit was sent it may have been done.
    Unknown,
    /// Every attempt was refused (PRODUCER_FENCED, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, ...), or none was made and none will
    /// be: it is never committed. An attempt that was not answered makes it [`Answer::Unknown`] instead.
    Refused,
}

/// What somebody saw or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A client begins a transaction, under this `transaction.version`.
    Began {
        /// Which.
        key: TransactionKey,
        /// Finalized level of the feature, 1 or 2: 2 only if the client speaks EndTxn v5.
        version: u8,
    },
    /// A client is about to send a batch of it for the first time. One that is never appended makes it impossible to commit the
    /// transaction: clients refuse to, so a commit that is sent covers every batch that was told.
    Wrote {
        /// Which.
        key: TransactionKey,
        /// The batch.
        batch: BatchKey,
        /// pseq of the first record.
        first_pseq: u64,
        /// How many records.
        count: u32,
        /// What they were made of, for copies.
        source: Option<Source>,
    },
    /// A client is about to send EndTxn for the first time.
    EndSent {
        /// Which.
        key: TransactionKey,
        /// What it asks for.
        end: End,
        /// When.
        at_ns: u64,
    },
    /// A client knows the end, or has given up. Nothing follows of this transaction.
    Answered {
        /// Which.
        key: TransactionKey,
        /// How it ended.
        answer: Answer,
    },
    /// A log reader was given a batch that is no marker.
    LogBatch {
        /// Where.
        place: Place,
        /// The batch.
        header: BatchHeader,
        /// When.
        at_ns: u64,
    },
    /// A log reader was given a marker.
    LogMarker {
        /// Where.
        place: Place,
        /// Its batch.
        header: BatchHeader,
        /// What it says.
        end: End,
        /// Epoch of the coordinator that wrote it.
        coordinator_epoch: i32,
        /// When.
        at_ns: u64,
    },
    /// The log was cut off, and reading goes on at `end`.
    Truncated {
        /// Where.
        place: Place,
        /// The first offset that is gone.
        end: i64,
    },
    /// A leader said how far its log is stable.
    Stable {
        /// Where.
        place: Place,
        /// Last stable offset.
        last_stable_offset: i64,
        /// High watermark.
        high_watermark: i64,
        /// When.
        at_ns: u64,
    },
    /// Until now the partition, or a coordinator, had no leader or not its full `min.insync.replicas`: nobody may be blamed for what hung.
    Hampered {
        /// Where.
        place: Place,
        /// When.
        at_ns: u64,
    },
    /// A reader at read_committed was given records of a batch.
    Delivered {
        /// Which reader.
        reader: u16,
        /// Where.
        place: Place,
        /// The batch.
        header: BatchHeader,
        /// When.
        at_ns: u64,
    },
    /// A reader at read_committed goes on at this offset.
    Passed {
        /// Which reader.
        reader: u16,
        /// Where.
        place: Place,
        /// The next offset that it reads.
        position: i64,
    },
    /// The log was read as far as it will be. Nothing follows from it.
    LogEnded {
        /// Where.
        place: Place,
        /// How far that is.
        end: ReadEnd,
    },
    /// What a group that copies had committed when all was over, and which offsets of its source hold records for it.
    Copied {
        /// The source.
        place: Place,
        /// Offsets of records that are visible there.
        visible: Vec<Range<u64>>,
        /// The group's committed offset: the next to copy.
        committed: u64,
    },
}

/// A transaction that is not judged yet.
#[derive(Clone, Debug)]
struct Open {
    settled: Settled,
    /// Batches that are not [`State::is_final`], or that a reader has not passed.
    unsettled: usize,
    answered: bool,
}

/// The checker. Tell it, then [`Transactions::finish`].
#[derive(Debug)]
pub struct Transactions {
    config: Config,
    open: BTreeMap<TransactionKey, Open>,
    /// Batches of open transactions: whose, and which of it.
    known: BTreeMap<BatchKey, (TransactionKey, usize)>,
    /// Those of them that are not in the log and may yet come.
    absent: BTreeSet<BatchKey>,
    logs: BTreeMap<Place, Log>,
    ends: BTreeMap<Place, ReadEnd>,
    sources: Sources,
    /// How many transactions were begun.
    begun: u64,
    found: Found,
}

impl Transactions {
    /// A checker that knows nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            found: Found::new(config.witness_limit),
            config,
            open: BTreeMap::new(),
            known: BTreeMap::new(),
            absent: BTreeSet::new(),
            logs: BTreeMap::new(),
            ends: BTreeMap::new(),
            sources: Sources::default(),
            begun: 0,
        }
    }

    /// How many transactions are held.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// What was found so far; what is open may add to it.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Takes what somebody saw or did.
    pub fn tell(&mut self, event: &Event) {
        match event {
            Event::Began { key, version } => self.began(*key, *version),
            Event::Wrote { key, batch, first_pseq, count, source } => {
                self.wrote(*key, *batch, *first_pseq, *count, source.clone());
            }
            Event::EndSent { key, end, at_ns } => {
                if let Some(open) = self.open.get_mut(key) {
                    open.settled.end_sent.get_or_insert((*end, *at_ns));
                }
            }
            Event::Answered { key, answer } => {
                if let Some(open) = self.open.get_mut(key) {
                    open.settled.answer = Some(*answer);
                    open.answered = true;
                    self.retire_if_settled(*key);
                }
            }
            Event::LogBatch { place, header, at_ns } => self.log_batch(*place, header, *at_ns),
            Event::LogMarker { place, header, end, coordinator_epoch, at_ns } => {
                let (offset, epoch) = (header.base_offset, header.producer_epoch);
                let (end, coordinator_epoch, at_ns) = (*end, *coordinator_epoch, *at_ns);
                self.log_marker(*place, header, Marker { end, offset, epoch, coordinator_epoch, at_ns });
            }
            Event::Truncated { place, end } => self.truncated(*place, *end),
            Event::Stable { place, last_stable_offset, high_watermark, at_ns } => {
                self.note_stable(*place, *last_stable_offset, *high_watermark, *at_ns);
            }
            Event::Hampered { place, at_ns } => self.note_hampered(*place, *at_ns),
            Event::Delivered { reader, place, header, at_ns } => {
                self.delivered(*reader, *place, header, *at_ns);
            }
            Event::Passed { reader, place, position } => self.passed(*reader, *place, *position),
            Event::LogEnded { place, end } => drop(self.ends.insert(*place, *end)),
            Event::Copied { place, visible, committed } => {
                self.sources.end(*place, visible.clone(), *committed);
            }
        }
    }

    fn began(&mut self, key: TransactionKey, version: u8) {
        if self.open.len() >= self.config.open_limit.max(4) {
            self.judge_oldest();
        }
        let settled = Settled::new(key, version, self.begun);
        self.begun += 1;
        self.open.entry(key).or_insert(Open { settled, unsettled: 0, answered: false });
    }

    /// Makes room: a quarter of all, so that looking for the oldest costs little per transaction.
    fn judge_oldest(&mut self) {
        self.found.degraded = true;
        let mut ranks: Vec<u64> = self.open.values().map(|open| open.settled.rank).collect();
        let quarter = ranks.len() / 4;
        let (_, limit, _) = ranks.select_nth_unstable(quarter);
        let is_old = |(key, open): (&TransactionKey, &Open)| (open.settled.rank < *limit).then_some(*key);
        let old: Vec<TransactionKey> = self.open.iter().filter_map(is_old).collect();
        old.into_iter().for_each(|key| self.judge(key));
    }

    fn wrote(
        &mut self,
        key: TransactionKey,
        batch: BatchKey,
        first_pseq: u64,
        count: u32,
        source: Option<Source>,
    ) {
        // Sequence numbers of a batch that was refused may be given to other records: then it does not come any more.
        self.close(batch);
        let Some(open) = self.open.get_mut(&key) else { return };
        self.known.insert(batch, (key, open.settled.batches.len()));
        self.absent.insert(batch);
        open.unsettled += 1;
        open.settled.batches.push(Batch::new(batch, first_pseq, count, source));
    }

    fn delivered(&mut self, reader: u16, place: Place, header: &BatchHeader, at_ns: u64) {
        if let Some((key, index)) = self.known.get(&BatchKey::of(place, header))
            && let Some(open) = self.open.get_mut(key)
        {
            let batch = &mut open.settled.batches[*index];
            let first = batch.delivered_ns.get_or_insert(at_ns);
            *first = (*first).min(at_ns);
            batch.delivered_at.get_or_insert(header.base_offset);
        }
        self.passed(reader, place, header.last_offset.saturating_add(1));
    }

    /// Judges a transaction of which nothing more can come.
    fn retire_if_settled(&mut self, key: TransactionKey) {
        if self.open.get(&key).is_some_and(|open| open.answered && open.unsettled == 0) {
            self.judge(key);
        }
    }

    /// Applies the rules to a transaction and forgets it.
    fn judge(&mut self, key: TransactionKey) {
        let Some(open) = self.open.remove(&key) else { return };
        for batch in &open.settled.batches {
            if self.known.get(&batch.key).is_some_and(|(owner, _)| *owner == key) {
                self.known.remove(&batch.key);
                self.absent.remove(&batch.key);
            }
            if let (Some(log), State::InLog { .. }) = (self.logs.get_mut(&batch.key.place), &batch.state) {
                log.forget(batch.key.producer_id, key);
            }
        }
        let transaction = &open.settled;
        self.find_aborted_reads(transaction);
        self.find_precommitted_reads(transaction);
        self.find_torn(transaction);
        self.find_lost_writes(transaction);
        self.find_markers_against_answer(transaction);
        self.find_late_writes(transaction);
        self.find_commit_duplicates(transaction);
    }

    /// Judges what is still open, and what needed the end to be known.
    pub fn finish(mut self) -> Found {
        let left: Vec<TransactionKey> = self.open.keys().copied().collect();
        left.into_iter().for_each(|key| self.judge(key));
        self.find_offset_atomicity();
        self.found
    }

    /// True if the log there was read to its end, so that what is not in it does not come any more.
    fn is_read_out(&self, place: Place) -> bool {
        self.ends.get(&place).is_some_and(ReadEnd::is_complete)
    }

    fn topic(&self, place: Place) -> String {
        self.config.topics.get(usize::from(place.topic)).cloned().unwrap_or_default()
    }

    /// A witness that is a batch of a transaction.
    fn witness_of(
        &self,
        transaction: &Settled,
        batch: &Batch,
        blame: Option<Blame>,
        detail: String,
    ) -> Witness {
        Witness {
            topic: self.topic(batch.key.place),
            partition: batch.key.place.partition,
            read_offset: batch.offset(),
            acked_offset: None,
            run: self.config.run,
            stream: Some(transaction.key.stream),
            first_pseq: Some(batch.first_pseq),
            count: u64::from(batch.count),
            batch: batch.header(),
            detail: Some(format!("transaction {}, {}; {detail}", transaction.key.number, transaction.told())),
            blame,
        }
    }

    /// Counts findings that a batch is the witness of: one for each of its records, or one for all.
    fn note_batch(
        &mut self,
        class: FindingClass,
        count: u64,
        (transaction, batch): (&Settled, &Batch),
        blame: Option<Blame>,
        detail: impl FnOnce() -> String,
    ) {
        let wanted = self.found.evidence.wants(class, batch.offset(), count);
        let witness =
            wanted.then(|| Witness { count, ..self.witness_of(transaction, batch, blame, detail()) });
        self.found.note_with(class, count, witness);
    }

    /// Counts one finding about a batch that need not be a known one.
    fn note_header(
        &mut self,
        class: FindingClass,
        place: Place,
        header: &BatchHeader,
        detail: impl FnOnce() -> String,
    ) {
        let (topic, run, first) = (self.topic(place), self.config.run, header.base_offset);
        self.found.note(class, 1, Some(first), || Witness {
            batch: Some(*header),
            ..Witness::of_offsets(topic, place.partition, run, (first, 1), detail())
        });
    }

    /// Counts findings about offsets of a partition.
    fn note_offsets(
        &mut self,
        class: FindingClass,
        place: Place,
        offsets: &Range<u64>,
        detail: impl FnOnce() -> String,
    ) {
        let (topic, run) = (self.topic(place), self.config.run);
        let (first, count) = (i64::try_from(offsets.start).unwrap_or(i64::MAX), offsets.end - offsets.start);
        self.found.note(class, count, Some(first), || {
            Witness::of_offsets(topic, place.partition, run, (first, count), detail())
        });
    }
}

/// The ranges as a set.
fn set_of(ranges: &[Range<u64>]) -> IntervalSet {
    let mut set = IntervalSet::new();
    ranges.iter().for_each(|range| set.insert(range.clone()));
    set
}
