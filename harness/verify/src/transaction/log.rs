//! What the log says of transactions, partition by partition: whose batches are open, and what markers make of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::shard::BatchHeader;

use super::hanging::Stuck;
use super::settled::Marker;
use super::{BatchKey, End, Place, State, TransactionKey, Transactions};

/// More producer ids than this per partition, and those that wrote longest ago and have nothing open are forgotten, as a broker does
/// after `producer.id.expiration.ms`.
pub const PRODUCERS_MAX: usize = 1_024;

/// One batch of a transaction, by its index.
type BatchAt = (TransactionKey, usize);

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) producers: BTreeMap<i64, Producer>,
    /// Decided batches that some reader has not passed, by last offset.
    awaiting: BTreeMap<i64, BatchAt>,
    /// Where each reader at read_committed goes on.
    readers: Vec<i64>,
    pub(super) stuck: Option<Stuck>,
    /// Offset, producer id and epoch of zombie writes that were counted: after a truncation they may be read again.
    zombies: BTreeSet<(i64, i64, i16)>,
}

/// One producer id.
#[derive(Debug)]
pub(super) struct Producer {
    /// The newest that the log has of it.
    pub(super) epoch: i16,
    last_offset: i64,
    /// What it has open: the first offset, and the batches that are known.
    pub(super) open: Option<(i64, Vec<BatchAt>)>,
}

impl Log {
    /// Takes a header in; `Err` with the newer epoch if the log had one.
    fn note_epoch(&mut self, header: &BatchHeader) -> Result<(), i16> {
        let fresh = Producer { epoch: header.producer_epoch, last_offset: header.last_offset, open: None };
        let producer = self.producers.entry(header.producer_id).or_insert(fresh);
        producer.last_offset = header.last_offset;
        let newest = producer.epoch;
        producer.epoch = newest.max(header.producer_epoch);
        self.forget_oldest();
        if header.producer_epoch < newest { Err(newest) } else { Ok(()) }
    }

    /// False if this zombie write was noted before.
    pub(super) fn note_zombie(&mut self, header: &BatchHeader) -> bool {
        if self.zombies.len() >= PRODUCERS_MAX {
            self.zombies.pop_first();
        }
        self.zombies.insert((header.base_offset, header.producer_id, header.producer_epoch))
    }

    fn forget_oldest(&mut self) {
        if self.producers.len() <= PRODUCERS_MAX {
            return;
        }
        let mut offsets: Vec<i64> = self.producers.values().map(|producer| producer.last_offset).collect();
        let (_, median, _) = offsets.select_nth_unstable(PRODUCERS_MAX / 2);
        let median = *median;
        self.producers.retain(|_, producer| producer.open.is_some() || producer.last_offset >= median);
    }

    /// Adds what a producer has open.
    fn open(&mut self, header: &BatchHeader, batch: Option<BatchAt>) {
        let Some(producer) = self.producers.get_mut(&header.producer_id) else { return };
        let (_, batches) = producer.open.get_or_insert_with(|| (header.base_offset, Vec::new()));
        batches.extend(batch);
    }

    /// Takes a judged transaction out of what is open.
    pub(super) fn forget(&mut self, producer_id: i64, key: TransactionKey) {
        if let Some((_, batches)) = self.producers.get_mut(&producer_id).and_then(|p| p.open.as_mut()) {
            batches.retain(|(open, _)| *open != key);
        }
    }

    /// No reader is below this offset.
    fn passed_by_all(&self, readers: u16) -> i64 {
        let told = self.readers.iter().copied().min().unwrap_or(i64::MAX);
        if self.readers.len() < usize::from(readers) { i64::MIN } else { told }
    }
}

impl Transactions {
    /// Takes a batch of the log that is no marker.
    pub(super) fn log_batch(&mut self, place: Place, header: &BatchHeader, at_ns: u64) {
        if header.producer_id < 0 {
            return;
        }
        let key = BatchKey::of(place, header);
        let log = self.logs.entry(place).or_default();
        let newer = log.note_epoch(header).err();
        match newer {
            None => self.close_absent_before(key),
            Some(newest) => self.note_old_epoch(place, header, newest),
        }
        let known = self.known.get(&key).copied();
        if let Some((transaction, index)) = known
            && !self.append((transaction, index), key, header, at_ns)
        {
            // Again: that is a repeat of sequence numbers, which the log's own rules count.
            return;
        }
        if let (Some(_), Some((transaction, index))) = (newer, known)
            && let Some(open) = self.open.get_mut(&transaction)
        {
            open.settled.batches[index].counted = true;
        }
        if header.transactional
            && let Some(log) = self.logs.get_mut(&place)
        {
            log.open(header, known);
        }
    }

    /// Notes that a batch is in the log; false if it was before.
    fn append(
        &mut self,
        (transaction, index): BatchAt,
        key: BatchKey,
        header: &BatchHeader,
        at_ns: u64,
    ) -> bool {
        let Some(open) = self.open.get_mut(&transaction) else { return false };
        let ended = open.settled.ended_at.contains(&key.place);
        let batch = &mut open.settled.batches[index];
        if batch.header().is_some() {
            return false;
        }
        batch.late |= ended;
        batch.state = State::InLog { header: *header };
        open.unsettled += usize::from(batch.settled);
        batch.settled = false;
        self.absent.remove(&key);
        if !header.transactional {
            // It belongs to no transaction of the log, and so everybody sees it at once.
            let marker = Marker {
                end: End::Commit,
                offset: header.base_offset,
                epoch: header.producer_epoch,
                coordinator_epoch: -1,
                at_ns,
            };
            self.decide((transaction, index), marker);
            self.retire_if_settled(transaction);
        }
        true
    }

    /// Takes a marker.
    pub(super) fn log_marker(&mut self, place: Place, header: &BatchHeader, marker: Marker) {
        let log = self.logs.entry(place).or_default();
        let checked = log.note_epoch(header);
        let open = log.producers.get_mut(&header.producer_id).and_then(|producer| producer.open.take());
        match checked {
            Ok(()) => {
                let first = BatchKey { base_sequence: i32::MIN, ..BatchKey::of(place, header) };
                self.close_absent_before(first);
            }
            Err(newest) => self.note_old_epoch(place, header, newest),
        }
        let Some((_, batches)) = open else { return };
        // A producer has one transaction at a time, so what is older should have been ended before.
        let ended = batches.iter().map(|(key, _)| *key).max();
        self.note_marker_of_open_epoch(place, header, &batches);
        for (key, index) in batches {
            if let Some(open) = self.open.get_mut(&key) {
                open.settled.note_marker(place, index, Some(key) == ended);
            }
            self.decide((key, index), marker);
            self.retire_if_settled(key);
        }
    }

    /// Notes what a marker makes of a batch.
    fn decide(&mut self, (key, index): BatchAt, marker: Marker) {
        let Some(open) = self.open.get_mut(&key) else { return };
        let batch = &mut open.settled.batches[index];
        let State::InLog { header } = batch.state else { return };
        batch.state = State::Decided { header, marker };
        if marker.end == End::Commit {
            batch.committed_ns =
                Some(batch.committed_ns.map_or(marker.at_ns, |at_ns| at_ns.min(marker.at_ns)));
        }
        let Some(log) = self.logs.get_mut(&batch.key.place) else { return };
        if log.passed_by_all(self.config.readers) > header.last_offset {
            batch.settled = true;
            open.unsettled -= 1;
        } else {
            log.awaiting.insert(header.last_offset, (key, index));
        }
    }

    /// Notes where a reader at read_committed goes on.
    pub(super) fn passed(&mut self, reader: u16, place: Place, position: i64) {
        let log = self.logs.entry(place).or_default();
        let readers = usize::from(self.config.readers).max(usize::from(reader) + 1);
        log.readers.resize(readers, i64::MIN);
        let at = &mut log.readers[usize::from(reader)];
        *at = position.max(*at);
        let passed = log.passed_by_all(self.config.readers);
        let waiting = log.awaiting.split_off(&passed);
        let settled = std::mem::replace(&mut log.awaiting, waiting);
        for (key, index) in settled.into_values() {
            if let Some(open) = self.open.get_mut(&key) {
                open.settled.batches[index].settled = true;
                open.unsettled -= 1;
            }
            self.retire_if_settled(key);
        }
    }

    /// Batches of older epochs, and older sequence numbers of the same, are not appended behind this one any more.
    fn close_absent_before(&mut self, key: BatchKey) {
        let first = BatchKey { producer_epoch: i16::MIN, base_sequence: i32::MIN, ..key };
        // Sequence numbers go around at 2^31: the shorter way decides what came before.
        let is_before = |other: &&BatchKey| {
            let behind = (i64::from(key.base_sequence) - i64::from(other.base_sequence)).rem_euclid(1 << 31);
            other.producer_epoch < key.producer_epoch || (1..1 << 30).contains(&behind)
        };
        let closed: Vec<BatchKey> = self.absent.range(first..key).filter(is_before).copied().collect();
        closed.into_iter().for_each(|key| self.close(key));
    }

    /// A batch that is not in the log won't come.
    pub(super) fn close(&mut self, key: BatchKey) {
        self.absent.remove(&key);
        let Some((transaction, index)) = self.known.get(&key).copied() else { return };
        let Some(open) = self.open.get_mut(&transaction) else { return };
        let batch = &mut open.settled.batches[index];
        if batch.state == State::Absent {
            batch.state = State::Closed;
            batch.settled = true;
            open.unsettled -= 1;
            self.retire_if_settled(transaction);
        }
    }

    /// Takes back what lay at `end` or above.
    pub(super) fn truncated(&mut self, place: Place, end: i64) {
        let log = self.logs.entry(place).or_default();
        log.readers.iter_mut().for_each(|position| *position = (*position).min(end));
        log.awaiting.split_off(&end);
        log.producers.clear();
        log.stuck = None;
        for (key, open) in &mut self.open {
            open.settled.ended_at.retain(|ended| *ended != place);
            for (index, batch) in open.settled.batches.iter_mut().enumerate() {
                let Some(header) = batch.header().filter(|_| batch.key.place == place) else { continue };
                let decided = batch.marker().is_some_and(|marker| marker.offset < end);
                if header.base_offset < end && decided {
                    if !batch.late && !open.settled.ended_at.contains(&place) {
                        open.settled.ended_at.push(place);
                    }
                    continue;
                }
                open.unsettled += usize::from(batch.settled);
                batch.settled = false;
                log.awaiting.remove(&header.last_offset);
                if header.base_offset < end {
                    batch.state = State::InLog { header };
                    let _ = log.note_epoch(&header);
                    log.open(&header, Some((*key, index)));
                } else {
                    batch.state = State::Absent;
                    self.absent.insert(batch.key);
                }
            }
        }
    }
}
