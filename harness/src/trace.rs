//! A recorded load: when each of its records came, how long it was, and which key it had, laid out over the partitions of a
//! topic as Kafka's own clients would have (`load.shape: replay`).
//!
//! A trace is held in memory, 16 bytes per record and each key once, which makes every record's time, size and key a look-up, like
//! those of a computed load. What reading takes is bounded ([`read::RECORDS_MAX`], [`read::KEY_BYTES_MAX`]).

use std::collections::HashMap;

use crate::keys::partition_of;
use crate::recorder::SLOT_NS;
use crate::schedule::Segment;

pub mod read;

/// Stands for "no key" among the numbers of keys.
const NO_KEY: u32 = u32::MAX;
const SECOND_NS: u64 = 1_000_000_000;
/// A rate is shown per second, and of a longer trace for this many equal parts.
const RATE_PARTS_MAX: u64 = 10_000;

/// One record of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    /// Since the first record.
    at_ns: u64,
    /// Bytes of the value, where the recording says.
    size: Option<u32>,
    key: u32,
}

/// A recording as it was read: its records in order of time.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    rows: Vec<Row>,
    keys: Vec<Box<[u8]>>,
}

/// The records of one partition, in order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PartitionTrace {
    times_ns: Vec<u64>,
    sizes: Vec<u32>,
    keys: Vec<u32>,
}

impl PartitionTrace {
    fn with_room(records: usize) -> Self {
        PartitionTrace {
            times_ns: Vec::with_capacity(records),
            sizes: Vec::with_capacity(records),
            keys: Vec::with_capacity(records),
        }
    }
}

/// A recording, laid out over partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    partitions: Vec<PartitionTrace>,
    keys: Vec<Box<[u8]>>,
    length_ns: u64,
    records: u64,
    value_bytes: u64,
    /// The shortest value and the longest.
    value_bytes_range: (usize, usize),
    key_bytes: u64,
    /// Key and value of the longest record.
    record_bytes_max: usize,
}

impl Recording {
    /// Records without key and size at these times, for tests of what uses them.
    #[cfg(test)]
    pub(crate) fn at(times_ns: impl IntoIterator<Item = u64>) -> Self {
        let row = |at_ns| Row { at_ns, size: None, key: NO_KEY };
        Recording::new(times_ns.into_iter().map(row).collect(), Vec::new())
    }

    /// Takes records in any order; `keys` by their numbers.
    fn new(mut rows: Vec<Row>, keys: Vec<Box<[u8]>>) -> Self {
        // Stable: records of one instant keep the order of the file.
        rows.sort_by_key(|row| row.at_ns);
        let first_ns = rows.first().map_or(0, |row| row.at_ns);
        rows.iter_mut().for_each(|row| row.at_ns -= first_ns);
        Recording { rows, keys }
    }

    /// Lays the recording out over `partitions`: a record with a key goes where Kafka's default partitioner puts it, records
    /// without take turns. Records without a size of their own get `size`; time runs `speed` times as fast.
    pub fn lay_out(self, partitions: u32, size: u32, speed: f64) -> Trace {
        let of_key: Vec<u32> = self.keys.iter().map(|key| partition_of(key, partitions)).collect();
        let mut keyless = 0;
        let mut partition_of_next = |row: &Row| {
            of_key.get(row.key as usize).copied().unwrap_or_else(|| {
                keyless += 1;
                (keyless - 1) % partitions
            }) as usize
        };
        let homes: Vec<usize> = self.rows.iter().map(&mut partition_of_next).collect();
        let mut counts = vec![0; partitions as usize];
        homes.iter().for_each(|partition| counts[*partition] += 1);
        let mut all: Vec<PartitionTrace> = counts.into_iter().map(PartitionTrace::with_room).collect();
        let (mut last_ns, mut value_bytes, mut key_bytes, mut record_bytes_max) = (0, 0, 0, 0);
        let (mut shortest, mut longest) = (u32::MAX, 0);
        for (row, partition) in self.rows.iter().zip(homes) {
            let at_ns = (row.at_ns as f64 / speed) as u64;
            let size = row.size.unwrap_or(size);
            let trace = &mut all[partition];
            trace.times_ns.push(at_ns);
            trace.sizes.push(size);
            trace.keys.push(row.key);
            last_ns = at_ns;
            let of_its_key = self.keys.get(row.key as usize).map_or(0, |key| key.len());
            value_bytes += u64::from(size);
            key_bytes += of_its_key as u64;
            (shortest, longest) = (shortest.min(size), longest.max(size));
            record_bytes_max = record_bytes_max.max(size as usize + of_its_key);
        }
        Trace {
            partitions: all,
            keys: self.keys,
            // The load ends behind the last record, at the edge of a slot.
            length_ns: (last_ns + 1).next_multiple_of(SLOT_NS),
            records: self.rows.len() as u64,
            value_bytes,
            // Without records the longest is 0, and so is the shortest.
            value_bytes_range: (shortest.min(longest) as usize, longest as usize),
            key_bytes,
            record_bytes_max,
        }
    }
}

impl Trace {
    /// From its first record until it is over, nanoseconds; whole slots.
    pub fn length_ns(&self) -> u64 {
        self.length_ns
    }

    /// How many records it has.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Records per second over its whole length, at least 1.
    pub fn mean_per_s(&self) -> u64 {
        ((self.records as f64 * 1e9 / self.length_ns as f64).round() as u64).max(1)
    }

    /// Mean length of a value, bytes.
    pub fn value_bytes_mean(&self) -> f64 {
        self.value_bytes as f64 / self.records.max(1) as f64
    }

    /// The shortest value and the longest, bytes.
    pub fn value_bytes_range(&self) -> (usize, usize) {
        self.value_bytes_range
    }

    /// Mean length of a record's key, bytes; records without count as 0.
    pub fn key_bytes_mean(&self) -> f64 {
        self.key_bytes as f64 / self.records.max(1) as f64
    }

    /// Bytes of the longest record, key and value together.
    pub fn record_bytes_max(&self) -> usize {
        self.record_bytes_max
    }

    /// How many different keys it has.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Bytes that it takes in memory.
    pub fn memory_bytes(&self) -> u64 {
        let keys: usize = self.keys.iter().map(|key| key.len() + size_of::<Box<[u8]>>()).sum();
        self.records * (size_of::<u64>() + 2 * size_of::<u32>()) as u64 + keys as u64
    }

    /// When the records of a partition come, nanoseconds since the first of all; ascending.
    #[inline]
    pub fn times_ns(&self, partition: usize) -> &[u64] {
        &self.partitions[partition].times_ns
    }

    /// Bytes of the value of record `index` of a partition.
    #[inline]
    pub fn size(&self, partition: usize, index: u64) -> usize {
        self.partitions[partition].sizes.get(index as usize).map_or(0, |size| *size as usize)
    }

    /// The key of record `index` of a partition, if it has one.
    #[inline]
    pub fn key(&self, partition: usize, index: u64) -> Option<&[u8]> {
        let key = *self.partitions[partition].keys.get(index as usize)?;
        self.keys.get(key as usize).map(|key| &**key)
    }

    /// How many records come before `at_ns`.
    pub fn records_before(&self, at_ns: u64) -> u64 {
        self.partitions.iter().map(|p| p.times_ns.partition_point(|ns| *ns < at_ns) as u64).sum()
    }

    /// Its rate from `from_ns` on, for plans and charts: second by second, or in longer parts where there would be too many, or where a
    /// second has too few records for a rate of whole records. The last part may be shorter.
    pub fn rates(&self, from_ns: u64) -> Vec<Segment> {
        let left_ns = self.length_ns.saturating_sub(from_ns);
        // Of a slow trace a part has one record on average: fewer would be rounded to another rate.
        let sparse_ns = left_ns / self.records.max(1);
        let part_ns = left_ns.div_ceil(RATE_PARTS_MAX).max(sparse_ns).max(1).next_multiple_of(SECOND_NS);
        let mut counts = vec![0u64; left_ns.div_ceil(part_ns) as usize];
        for at_ns in self.partitions.iter().flat_map(|p| &p.times_ns).filter(|at_ns| **at_ns >= from_ns) {
            counts[((at_ns - from_ns) / part_ns) as usize] += 1;
        }
        let segment = |(part, count): (u64, &u64)| {
            let length_ns = part_ns.min(left_ns - part * part_ns);
            let per_s = (*count as f64 * 1e9 / length_ns as f64).round() as u64;
            Segment { from_per_s: per_s, to_per_s: per_s, length_ns }
        };
        (0..).zip(&counts).map(segment).collect()
    }
}

/// Gives each key a number, the same one every time.
#[derive(Debug, Default)]
struct KeyNumbers {
    numbers: HashMap<Box<[u8]>, u32>,
    /// Of all of them together.
    bytes: usize,
}

impl KeyNumbers {
    fn of(&mut self, key: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let number = self.numbers.len() as u32;
        self.bytes += key.len();
        self.numbers.insert(key.into(), number);
        number
    }

    fn into_keys(self) -> Vec<Box<[u8]>> {
        let mut keys = vec![Box::default(); self.numbers.len()];
        for (key, number) in self.numbers {
            keys[number as usize] = key;
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> Recording {
        let mut numbers = KeyNumbers::default();
        let row = |at_s: u64, size, key| Row { at_ns: at_s * SECOND_NS, size, key };
        let (a, b) = (numbers.of(b"a"), numbers.of(b"b"));
        let rows = vec![
            row(12, Some(300), b),
            row(10, Some(100), a),
            row(10, None, NO_KEY),
            row(11, Some(200), a),
            row(13, None, NO_KEY),
        ];
        Recording::new(rows, numbers.into_keys())
    }

    #[test]
    fn every_record_is_on_one_partition_in_order_of_time() {
        for partitions in [1, 3, 12] {
            let trace = recording().lay_out(partitions, 50, 1.0);
            let mut records = 0;
            for partition in 0..partitions as usize {
                let times = trace.times_ns(partition);
                assert!(times.is_sorted());
                records += times.len() as u64;
                for index in 0..times.len() as u64 {
                    if let Some(key) = trace.key(partition, index) {
                        assert_eq!(partition_of(key, partitions) as usize, partition);
                    }
                }
            }
            assert_eq!((records, trace.records()), (5, 5));
            assert_eq!(trace.value_bytes_mean(), (300 + 100 + 50 + 200 + 50) as f64 / 5.0);
            assert_eq!(trace.value_bytes_range(), (50, 300));
        }
    }

    #[test]
    fn time_begins_with_the_first_record_and_ends_behind_the_last() {
        let trace = recording().lay_out(1, 50, 1.0);
        assert_eq!(trace.times_ns(0), [0, 0, SECOND_NS, 2 * SECOND_NS, 3 * SECOND_NS]);
        assert_eq!(trace.length_ns(), 3 * SECOND_NS + SLOT_NS);
        assert_eq!(trace.key(0, 0), Some(b"a".as_slice()), "records of one instant keep their order");
        let fast = recording().lay_out(1, 50, 2.0);
        assert_eq!(fast.times_ns(0)[2], SECOND_NS / 2);
    }

    #[test]
    fn rates_count_every_record() {
        let trace = recording().lay_out(2, 50, 1.0);
        let rates: Vec<(u64, u64)> = trace.rates(0).iter().map(|s| (s.from_per_s, s.length_ns)).collect();
        assert_eq!(rates, [(2, SECOND_NS), (1, SECOND_NS), (1, SECOND_NS), (10, SLOT_NS)]);
        assert_eq!(trace.rates(2 * SECOND_NS).len(), 2);
        assert_eq!(trace.records_before(SECOND_NS + 1), 3);
    }
}
