//! What the headers of batches say about producers: a second oracle, which needs no identities and so judges the records of
//! others too.
//!
//! Brokers append a batch of an idempotent producer only if its sequence numbers go on where the last batch of that id and
//! epoch ended, or begin at 0 in a newer epoch; of an id that they know nothing of they take any (KIP-98, KIP-360). So the
//! log itself shows where one of them did not. `sequence_gap.rs`, `sequence_repeat.rs` and `zombie_write.rs` say what is
//! found.

use std::cmp::Ordering;

use super::{BatchHeader, Shard};

/// More producers than this per partition, and those that wrote longest ago are forgotten: as in a broker, which forgets an id
/// after `producer.id.expiration.ms`, theirs may then go on with any sequence.
const PRODUCERS_MAX: usize = 1_024;

/// Sequence numbers are counted modulo this; after `i32::MAX` comes 0.
const SEQUENCES: i64 = 1 << 31;

/// One producer id.
#[derive(Clone, Copy, Debug)]
struct Producer {
    id: i64,
    epoch: i16,
    /// The sequence that goes on; `None`: any does.
    next: Option<i32>,
    last_offset: i64,
}

/// The producers of one partition, sorted by id.
#[derive(Debug, Default)]
pub(super) struct Producers {
    known: Vec<Producer>,
}

/// What is wrong with a batch, by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddity {
    /// So many sequence numbers were left out before it.
    Gap { expected: i32, missing: i64 },
    /// It begins at or below what the log holds of this id and epoch.
    Repeat { expected: i32 },
    /// The log holds a newer epoch of this id.
    Zombie { newer: i16 },
}

impl Producers {
    /// Memory never exceeds this many bytes.
    pub(super) const BYTES_MAX: usize = 2 * PRODUCERS_MAX * size_of::<Producer>();

    /// After offsets that the reader was not given, any sequence goes on: batches may have been among them.
    pub(super) fn forget_sequences(&mut self) {
        self.known.iter_mut().for_each(|producer| producer.next = None);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.known.capacity() * size_of::<Producer>()
    }

    fn take(&mut self, header: &BatchHeader) -> Option<Oddity> {
        if header.producer_id < 0 {
            return None;
        }
        match self.known.binary_search_by_key(&header.producer_id, |producer| producer.id) {
            Ok(at) => self.known[at].take(header),
            Err(at) => {
                self.known.insert(at, Producer::first_seen(header));
                self.forget_oldest();
                None
            }
        }
    }

    fn forget_oldest(&mut self) {
        if self.known.len() <= PRODUCERS_MAX {
            return;
        }
        let mut offsets: Vec<i64> = self.known.iter().map(|producer| producer.last_offset).collect();
        let (_, median, _) = offsets.select_nth_unstable(PRODUCERS_MAX / 2);
        let median = *median;
        self.known.retain(|producer| producer.last_offset >= median);
    }
}

impl Producer {
    fn first_seen(header: &BatchHeader) -> Self {
        let next = if header.control { None } else { next_sequence(header) };
        Self { id: header.producer_id, epoch: header.producer_epoch, next, last_offset: header.last_offset }
    }

    fn take(&mut self, header: &BatchHeader) -> Option<Oddity> {
        self.last_offset = header.last_offset;
        let order = header.producer_epoch.cmp(&self.epoch);
        if order == Ordering::Less {
            return Some(Oddity::Zombie { newer: self.epoch });
        }
        if order == Ordering::Greater {
            self.epoch = header.producer_epoch;
            self.next = Some(0);
        }
        // A marker has no sequence and doesn't use one up.
        if header.control || header.base_sequence < 0 {
            return None;
        }
        let Some(expected) = self.next else {
            self.next = next_sequence(header);
            return None;
        };
        let ahead = (i64::from(header.base_sequence) - i64::from(expected)).rem_euclid(SEQUENCES);
        if ahead < SEQUENCES / 2 {
            self.next = next_sequence(header);
            return (ahead > 0).then_some(Oddity::Gap { expected, missing: ahead });
        }
        // A batch that begins behind may still end ahead.
        if records_of(header) > SEQUENCES - ahead {
            self.next = next_sequence(header);
        }
        Some(Oddity::Repeat { expected })
    }
}

/// How many records the batch held before any compaction.
fn records_of(header: &BatchHeader) -> i64 {
    header.last_offset.saturating_sub(header.base_offset).saturating_add(1)
}

fn next_sequence(header: &BatchHeader) -> Option<i32> {
    let next = (i64::from(header.base_sequence) + records_of(header)).rem_euclid(SEQUENCES);
    i32::try_from(next).ok()
}

impl Shard {
    /// Takes what the header says of its producer.
    pub(super) fn note_producer(&mut self, header: &BatchHeader) {
        // A reader that goes on in the middle of a batch is handed all of it: it says nothing new.
        if header.base_offset < self.position {
            return;
        }
        match self.producers.take(header) {
            Some(Oddity::Gap { expected, missing }) => self.note_sequence_gap(header, expected, missing),
            Some(Oddity::Repeat { expected }) => self.note_sequence_repeat(header, expected),
            Some(Oddity::Zombie { newer }) => self.note_zombie_write(header, newer),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(id: i64, epoch: i16, base_sequence: i32, base_offset: i64, records: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            last_offset: base_offset + records - 1,
            leader_epoch: 1,
            producer_id: id,
            producer_epoch: epoch,
            base_sequence,
            control: false,
            transactional: false,
        }
    }

    fn marker(id: i64, epoch: i16, offset: i64) -> BatchHeader {
        BatchHeader { control: true, transactional: true, ..batch(id, epoch, -1, offset, 1) }
    }

    #[test]
    fn any_sequence_begins_and_the_next_goes_on() {
        let mut producers = Producers::default();
        assert_eq!(producers.take(&batch(7, 0, 900, 0, 10)), None);
        assert_eq!(producers.take(&batch(7, 0, 910, 10, 5)), None);
        assert_eq!(producers.take(&batch(7, 0, 920, 15, 5)), Some(Oddity::Gap { expected: 915, missing: 5 }));
        assert_eq!(producers.take(&batch(7, 0, 925, 20, 5)), None, "a gap is told once");
        assert_eq!(producers.take(&batch(7, 0, 920, 25, 5)), Some(Oddity::Repeat { expected: 930 }));
        assert_eq!(producers.take(&batch(7, 0, 930, 30, 5)), None, "and a repeat takes nothing back");
        assert_eq!(producers.take(&batch(7, 0, 933, 35, 5)), Some(Oddity::Repeat { expected: 935 }));
        assert_eq!(producers.take(&batch(7, 0, 938, 40, 5)), None, "half of that was new");
    }

    #[test]
    fn without_idempotence_there_is_nothing_to_compare() {
        let mut producers = Producers::default();
        for offset in 0..3 {
            assert_eq!(producers.take(&batch(-1, -1, -1, offset, 1)), None);
        }
        assert_eq!(producers.memory_bytes(), 0);
    }

    #[test]
    fn after_the_last_sequence_comes_zero() {
        let mut producers = Producers::default();
        assert_eq!(producers.take(&batch(7, 0, i32::MAX - 1, 0, 2)), None);
        assert_eq!(producers.take(&batch(7, 0, 0, 2, 2)), None);
        assert_eq!(producers.take(&batch(7, 0, i32::MAX, 4, 1)), Some(Oddity::Repeat { expected: 2 }));
        // One batch across the end.
        assert_eq!(producers.take(&batch(8, 0, i32::MAX - 1, 5, 5)), None);
        assert_eq!(producers.take(&batch(8, 0, 3, 10, 1)), None);
    }

    #[test]
    fn a_newer_epoch_begins_at_zero_and_ends_the_older_one() {
        let mut producers = Producers::default();
        assert_eq!(producers.take(&batch(7, 0, 0, 0, 5)), None);
        assert_eq!(producers.take(&batch(7, 1, 0, 5, 5)), None);
        assert_eq!(producers.take(&batch(7, 0, 5, 10, 5)), Some(Oddity::Zombie { newer: 1 }));
        assert_eq!(producers.take(&batch(7, 1, 5, 15, 5)), None, "the zombie changed nothing");
        assert_eq!(producers.take(&batch(7, 2, 3, 20, 5)), Some(Oddity::Gap { expected: 0, missing: 3 }));
    }

    /// transaction.version 1 ends with a marker of the same epoch, version 2 with one of the next (KIP-890).
    #[test]
    fn markers_use_no_sequence_up() {
        let mut producers = Producers::default();
        assert_eq!(producers.take(&batch(7, 0, 0, 0, 5)), None);
        assert_eq!(producers.take(&marker(7, 0, 5)), None);
        assert_eq!(producers.take(&batch(7, 0, 5, 6, 5)), None);
        assert_eq!(producers.take(&marker(7, 1, 11)), None);
        assert_eq!(producers.take(&batch(7, 1, 0, 12, 5)), None);
        assert_eq!(producers.take(&batch(7, 0, 10, 17, 5)), Some(Oddity::Zombie { newer: 1 }));
    }

    #[test]
    fn offsets_that_were_not_read_explain_any_sequence() {
        let mut producers = Producers::default();
        assert_eq!(producers.take(&batch(7, 3, 0, 0, 5)), None);
        producers.forget_sequences();
        assert_eq!(producers.take(&batch(7, 3, 50, 50, 5)), None);
        producers.forget_sequences();
        assert_eq!(producers.take(&batch(7, 2, 0, 60, 5)), Some(Oddity::Zombie { newer: 3 }));
    }

    #[test]
    fn ever_new_producers_are_forgotten() {
        let mut producers = Producers::default();
        for id in 0..20_000 {
            assert_eq!(producers.take(&batch(id, 0, 0, id, 1)), None);
            assert!(producers.memory_bytes() <= Producers::BYTES_MAX, "{}", producers.memory_bytes());
        }
        assert_eq!(producers.take(&batch(0, 0, 9, 20_000, 1)), None, "long forgotten");
        let again = producers.take(&batch(19_999, 0, 0, 20_001, 1));
        assert_eq!(again, Some(Oddity::Repeat { expected: 1 }));
    }
}
