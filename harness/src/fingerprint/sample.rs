//! What is kept of the records of a topic: lengths, times and counts. A key is kept as a number that is drawn anew for every
//! process, a header by its name, a value not at all.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::Range;

use gauntlet_wire::batch::{BatchError, BatchHeader, HEADER_BYTES, RecordView, RecordsBuffer};
use gauntlet_wire::codec::Codec;
use serde::Serialize;

use crate::keys::partition_of;

/// So many bytes of batches are compressed with zstd, to compare topics whatever their codec. It takes time, and more tells
/// no more.
const ZSTD_PROBE_BYTES: u64 = 4 << 20;
/// Most names of headers that are kept apart. More are no names.
const HEADER_NAMES_MAX: usize = 256;
/// Records that are no further from the middle ones are never taken for wrongly dated.
const MARGIN_MS: i64 = 1_000;

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSeen {
    /// Its partition.
    pub partition: u32,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// `None`: it has no key.
    pub key: Option<KeySeen>,
    /// `None`: a tombstone.
    pub value_bytes: Option<u32>,
}

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySeen {
    /// The same for equal keys; 64 bits, so that among a million keys two different ones are taken for one with a probability
    /// of 1 in 36 million.
    pub hash: u64,
    /// Its length.
    pub bytes: u32,
    /// Whether it is in the partition that Kafka's default partitioner chooses.
    pub by_default_partitioner: bool,
}

/// A batch that is in the sample as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSeen {
    /// Its partition.
    pub partition: u32,
    /// How it is stored.
    pub codec: Codec,
    /// -1: its producer is not idempotent.
    pub producer_id: i64,
    /// Number of records.
    pub records: u32,
    /// Bytes in the log.
    pub stored_bytes: u64,
    /// Bytes before compression, header included: what `batch.size` limits.
    pub uncompressed_bytes: u64,
    /// Milliseconds from its first record to its last; `None` where the broker has set the times.
    pub spread_ms: Option<u64>,
    /// Whether it belongs to a transaction.
    pub transactional: bool,
}

/// A record header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderSeen {
    /// Records that have it.
    pub records: u64,
    /// How often its values have which length.
    pub lengths: BTreeMap<u32, u64>,
    /// Number of the last record that had it: a record may have it twice.
    pub(super) last_record: usize,
}

/// Bytes before and after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed {
    /// Before.
    pub uncompressed_bytes: u64,
    /// After.
    pub stored_bytes: u64,
}

impl Packed {
    /// Compressed to uncompressed; 1 of nothing.
    pub fn ratio(self) -> f64 {
        if self.uncompressed_bytes == 0 {
            return 1.0;
        }
        self.stored_bytes as f64 / self.uncompressed_bytes as f64
    }
}

/// What ended the sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// Nothing: all that was asked for is in it.
    #[default]
    Everything,
    /// The limit on records.
    Records,
    /// The limit on bytes.
    Bytes,
    /// The limit on time.
    Timeout,
    /// Nothing more can be read: of some partitions not all that was asked for is in it.
    Unreadable,
}

/// What is missing of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    /// Partition.
    pub partition: u32,
    /// Whether there were, or may have been, records before the first one in the sample.
    pub begins_late: bool,
    /// Whether there are records that were asked for behind the last one in the sample.
    pub ends_early: bool,
}

/// How the reading of a sample ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// What ended it.
    pub bound: Bound,
    /// When the records that were looked for can be.
    pub within: Span,
    /// Partitions that were not begun with before a limit was reached.
    pub unreached: Vec<u32>,
    /// Partitions that could not be read to their end.
    pub half_read: Vec<u32>,
    /// Why one of the partitions could not be.
    pub trouble: Option<String>,
    /// Partitions whose records are not in the order of their timestamps.
    pub disordered: Vec<u32>,
}

impl Default for Ending {
    fn default() -> Self {
        Ending {
            bound: Bound::Everything,
            within: Span { from_ms: i64::MIN, until_ms: i64::MAX },
            unreached: Vec::new(),
            half_read: Vec::new(),
            trouble: None,
            disordered: Vec::new(),
        }
    }
}

/// The stretch of time of which every partition's records are in the sample, both ends included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// The same; not before `from_ms`.
    pub until_ms: i64,
}

impl Span {
    /// Its length.
    pub fn length_ms(self) -> u64 {
        self.until_ms.abs_diff(self.from_ms)
    }

    /// Whether an instant lies in it.
    pub fn contains(self, timestamp_ms: i64) -> bool {
        (self.from_ms..=self.until_ms).contains(&timestamp_ms)
    }
}

/// Records of a topic, in numbers.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Partitions of the topic.
    pub partitions: u32,
    /// Records, by partition in the order of their offsets.
    pub records: Vec<RecordSeen>,
    /// Batches.
    pub batches: Vec<BatchSeen>,
    /// Record headers by name.
    pub headers: BTreeMap<Vec<u8>, HeaderSeen>,
    /// Whether there were more names of headers than are kept.
    pub more_headers: bool,
    /// Records by codec, of batches that are not in `batches`.
    pub other_codecs: BTreeMap<Codec, u64>,
    /// Batches that compaction has taken records from: no producer has sent them so.
    pub compacted_batches: u64,
    /// Batches that hold no records but, for example, ends of transactions.
    pub control_batches: u64,
    /// Batches that can't be read.
    pub unreadable_batches: u64,
    /// Why the first of them can't be.
    pub unreadable_because: Option<String>,
    /// What zstd makes of the first batches.
    pub zstd: Packed,
    /// Bytes that brokers have sent.
    pub fetched_bytes: u64,
    /// What ended it.
    pub bound: Bound,
    /// Partitions that nobody could be asked about.
    pub unread_partitions: Vec<u32>,
    /// Partitions that were not begun with before a limit was reached.
    pub unreached_partitions: Vec<u32>,
    /// Partitions that could not be read to their end.
    pub half_read_partitions: Vec<u32>,
    /// Why one of the partitions could not be.
    pub trouble: Option<String>,
    /// Partitions whose records are not in the order of their timestamps.
    pub disordered_partitions: Vec<u32>,
    /// When its records were, as far as all partitions are covered.
    pub span: Span,
    /// Whether there is no such time: `span` is then that of all records.
    pub nothing_in_common: bool,
    /// Records whose timestamps are not among those of the others, or where none were looked for; `span` is without them.
    pub odd_times: u64,
}

/// Makes a sample from batches.
#[derive(Debug)]
pub struct Sampler {
    sample: Sample,
    keys: RandomState,
    section: RecordsBuffer,
    packed: Vec<u8>,
}

impl Sampler {
    /// Of a topic with so many partitions.
    pub fn new(partitions: u32) -> Self {
        Sampler {
            sample: Sample { partitions, ..Sample::default() },
            keys: RandomState::new(),
            section: RecordsBuffer::default(),
            packed: Vec::new(),
        }
    }

    /// Records so far.
    pub fn records(&self) -> usize {
        self.sample.records.len()
    }

    /// Bytes that were fetched so far.
    pub fn fetched_bytes(&self) -> u64 {
        self.sample.fetched_bytes
    }

    /// Counts what a broker has sent, whether or not it is of use.
    pub fn count_fetched(&mut self, bytes: usize) {
        self.sample.fetched_bytes += bytes as u64;
    }

    /// Adds what of a batch has a `wanted` offset. `header` is that of `batch`, and nothing comes behind it.
    ///
    /// # Errors
    /// It can't be decoded.
    pub fn batch(
        &mut self,
        partition: u32,
        header: &BatchHeader,
        batch: &[u8],
        wanted: Range<i64>,
    ) -> Result<(), BatchError> {
        if header.is_control() {
            self.sample.control_batches += 1;
            return Ok(());
        }
        let Sampler { sample, keys, section, packed } = self;
        let section = header.section(batch, section)?;
        let mut records = header.records_in(section)?;
        let (mut first_ms, mut last_ms, mut count, mut whole) = (i64::MAX, i64::MIN, 0, true);
        while let Some(record) = records.next_record()? {
            if !wanted.contains(&record.offset) {
                whole = false;
                continue;
            }
            let by_broker = header.is_log_append_time();
            let timestamp_ms = if by_broker { header.max_timestamp_ms } else { record.timestamp_ms };
            (first_ms, last_ms, count) = (first_ms.min(timestamp_ms), last_ms.max(timestamp_ms), count + 1);
            sample.record(partition, timestamp_ms, &record, keys);
        }
        let codec = header.codec().unwrap_or_default();
        let compacted = i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1;
        sample.compacted_batches += u64::from(compacted);
        if !whole || compacted || count == 0 {
            if count > 0 {
                *sample.other_codecs.entry(codec).or_default() += u64::from(count);
            }
            return Ok(());
        }
        let seen = BatchSeen {
            partition,
            codec,
            producer_id: header.producer_id,
            records: count,
            stored_bytes: batch.len() as u64,
            uncompressed_bytes: (HEADER_BYTES + section.len()) as u64,
            spread_ms: (!header.is_log_append_time()).then(|| last_ms.abs_diff(first_ms)),
            transactional: header.is_transactional(),
        };
        sample.batches.push(seen);
        if sample.zstd.uncompressed_bytes < ZSTD_PROBE_BYTES {
            sample.zstd.uncompressed_bytes += seen.uncompressed_bytes;
            sample.zstd.stored_bytes += if seen.codec == Codec::Zstd {
                seen.stored_bytes
            } else {
                packed.clear();
                Codec::Zstd.compress(section, packed);
                (HEADER_BYTES + packed.len()) as u64
            };
        }
        Ok(())
    }

    /// Counts a batch that can't be read.
    pub fn unreadable(&mut self, why: &BatchError) {
        self.sample.unreadable_batches += 1;
        self.sample.unreadable_because.get_or_insert_with(|| why.to_string());
    }

    /// The sample. Of partitions that are neither in `coverage` nor unreached, nothing could be read.
    pub fn finish(mut self, ending: Ending, coverage: &[Coverage]) -> Sample {
        let Ending { bound, within, unreached, half_read, trouble, disordered } = ending;
        let sample = &mut self.sample;
        sample.bound = bound;
        let read = |partition: &u32| coverage.iter().any(|c| c.partition == *partition);
        sample.unread_partitions =
            (0..sample.partitions).filter(|p| !read(p) && !unreached.contains(p)).collect();
        let usual = usual(&sample.records, within);
        sample.odd_times = sample.records.iter().filter(|r| !usual.contains(r.timestamp_ms)).count() as u64;
        let common = span(&sample.records, coverage, usual);
        sample.nothing_in_common = common.is_none();
        sample.span = common.or_else(|| span(&sample.records, &[], usual)).unwrap_or_default();
        sample.unreached_partitions = unreached;
        sample.half_read_partitions = half_read;
        sample.trouble = trouble;
        sample.disordered_partitions = disordered;
        self.sample
    }
}

impl Sample {
    fn record(&mut self, partition: u32, timestamp_ms: i64, record: &RecordView<'_>, keys: &RandomState) {
        let key = record.key.map(|key| KeySeen {
            hash: keys.hash_one(key),
            bytes: key.len() as u32,
            by_default_partitioner: partition_of(key, self.partitions) == partition,
        });
        let value_bytes = record.value.map(|value| value.len() as u32);
        self.records.push(RecordSeen { partition, timestamp_ms, key, value_bytes });
        let number = self.records.len();
        for (name, value) in record.headers() {
            if !self.headers.contains_key(name) {
                if self.headers.len() == HEADER_NAMES_MAX {
                    self.more_headers = true;
                    continue;
                }
                self.headers.insert(name.to_vec(), HeaderSeen::default());
            }
            let Some(seen) = self.headers.get_mut(name) else { continue };
            if seen.last_record != number {
                seen.last_record = number;
                seen.records += 1;
            }
            *seen.lengths.entry(value.map_or(0, <[u8]>::len) as u32).or_default() += 1;
        }
    }

    /// Records of the time that all partitions are covered.
    pub fn covered(&self) -> impl Iterator<Item = &RecordSeen> {
        self.records.iter().filter(|record| self.span.contains(record.timestamp_ms))
    }
}

/// When records usually are: no further from the middle 98 % of them than these are long. A single date that is wrong would
/// else stretch the span, and so set the rate. Where most of them are `within` what was looked for, the others are left out
/// first.
fn usual(records: &[RecordSeen], within: Span) -> Span {
    // Kafka's -1 is no timestamp.
    let known = |span: Span| Span { from_ms: span.from_ms.max(0), ..span };
    let of = |span: Span| -> Vec<i64> {
        records.iter().map(|record| record.timestamp_ms).filter(|at| span.contains(*at)).collect()
    };
    let mut within = known(within);
    let mut times = of(within);
    if times.len() * 2 <= records.len() {
        within = known(Span { from_ms: 0, until_ms: i64::MAX });
        times = of(within);
    }
    if times.is_empty() {
        return Span { from_ms: i64::MIN, until_ms: i64::MAX };
    }
    let (last, outer) = (times.len() - 1, (times.len() - 1) / 100);
    let low = *times.select_nth_unstable(outer).1;
    let high = *times.select_nth_unstable(last - outer).1;
    let margin_ms = high.saturating_sub(low).max(MARGIN_MS);
    Span {
        from_ms: low.saturating_sub(margin_ms).max(within.from_ms),
        until_ms: high.saturating_add(margin_ms).min(within.until_ms),
    }
}

/// From the latest begin of a partition that begins late to the earliest end of one that ends early; else from the first
/// record to the last; all of the `usual` ones. `None`: there is no such stretch.
fn span(records: &[RecordSeen], coverage: &[Coverage], usual: Span) -> Option<Span> {
    let mut edges: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
    for record in records.iter().filter(|record| usual.contains(record.timestamp_ms)) {
        let at = record.timestamp_ms;
        let edge = edges.entry(record.partition).or_insert((at, at));
        *edge = (edge.0.min(at), edge.1.max(at));
    }
    let first = edges.values().map(|(first, _)| *first).min().unwrap_or(0);
    let last = edges.values().map(|(_, last)| *last).max().unwrap_or(0);
    let of = |coverage: &&Coverage| edges.get(&coverage.partition).copied();
    let from = coverage.iter().filter(|c| c.begins_late).filter_map(|c| of(&c)).map(|(first, _)| first);
    let until = coverage.iter().filter(|c| c.ends_early).filter_map(|c| of(&c)).map(|(_, last)| last);
    let from_ms = from.max().unwrap_or(first);
    let until_ms = until.min().unwrap_or(last);
    (from_ms <= until_ms).then_some(Span { from_ms, until_ms })
}

#[cfg(test)]
mod tests {
    use gauntlet_wire::batch::{BatchBuilder, BatchStamp, RecordSpec, next_batch};

    use super::*;

    /// Offsets 0 to 9, a record every 10 ms from 1,000 on, of 100 bytes each, with keys `a` and `b` in turn.
    fn batch(codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        for i in 0..10 {
            let headers: [(&str, &[u8]); 3] = [("trace", b"12345678"), ("twice", b""), ("twice", b"x")];
            let key: &[u8] = if i % 2 == 0 { b"a" } else { b"b" };
            let spec = RecordSpec {
                timestamp_ms: 1_000 + i * 10,
                key: Some(key),
                value_bytes: 100,
                own_header: None,
                headers: &headers[..if i < 5 { 3 } else { 1 }],
            };
            builder.append(&spec, |_| {});
        }
        builder.seal(BatchStamp { producer_id: 7, producer_epoch: 0, base_sequence: 0 }).bytes().to_vec()
    }

    fn add(sampler: &mut Sampler, bytes: &[u8], wanted: Range<i64>) {
        let (header, length) = next_batch(bytes).unwrap().unwrap();
        sampler.batch(0, &header, &bytes[..length], wanted).unwrap();
    }

    #[test]
    fn a_batch_in_numbers() {
        let mut sampler = Sampler::new(1);
        let bytes = batch(Codec::Lz4);
        add(&mut sampler, &bytes, 0..10);
        let coverage = [Coverage { partition: 0, begins_late: false, ends_early: false }];
        let sample = sampler.finish(Ending::default(), &coverage);
        assert_eq!(sample.records.len(), 10);
        let keys: Vec<u64> = sample.records.iter().map(|r| r.key.unwrap().hash).collect();
        assert!(keys[0] == keys[2] && keys[0] != keys[1], "equal keys stay equal");
        let uncompressed = batch(Codec::None).len() as u64;
        assert_eq!(
            sample.batches,
            [BatchSeen {
                partition: 0,
                codec: Codec::Lz4,
                producer_id: 7,
                records: 10,
                stored_bytes: bytes.len() as u64,
                uncompressed_bytes: uncompressed,
                spread_ms: Some(90),
                transactional: false,
            }]
        );
        assert_eq!(sample.headers[b"trace".as_slice()].records, 10);
        let twice = &sample.headers[b"twice".as_slice()];
        assert_eq!((twice.records, &twice.lengths), (5, &BTreeMap::from([(0, 5), (1, 5)])));
        assert_eq!(sample.span, Span { from_ms: 1_000, until_ms: 1_090 });
        assert!(sample.zstd.uncompressed_bytes == uncompressed && sample.zstd.ratio() < 0.5);
    }

    #[test]
    fn a_batch_that_is_not_wanted_as_a_whole_counts_by_its_records_only() {
        let mut sampler = Sampler::new(1);
        add(&mut sampler, &batch(Codec::Gzip), 4..8);
        let sample = sampler.finish(Ending { bound: Bound::Records, ..Ending::default() }, &[]);
        assert_eq!((sample.records.len(), sample.batches.len()), (4, 0));
        assert_eq!(
            sample.other_codecs,
            BTreeMap::from([(Codec::Gzip, 4)]),
            "its codec is known all the same"
        );
        assert_eq!((sample.compacted_batches, &sample.unread_partitions[..]), (0, &[0][..]));
    }

    #[test]
    fn a_batch_that_was_compacted_is_none_of_a_producer() {
        let mut bytes = batch(Codec::None);
        // One more offset than there are records: the last one was removed. What is in the way of the CRC is not checked here.
        bytes[23..27].copy_from_slice(&10i32.to_be_bytes());
        let mut sampler = Sampler::new(1);
        add(&mut sampler, &bytes, 0..11);
        let sample = sampler.finish(Ending::default(), &[]);
        assert_eq!((sample.records.len(), sample.batches.len(), sample.compacted_batches), (10, 0, 1));
        assert_eq!(sample.zstd, Packed::default());
    }

    #[test]
    fn a_partition_that_a_limit_came_before_is_not_an_unreadable_one() {
        let mut sampler = Sampler::new(3);
        add(&mut sampler, &batch(Codec::None), 0..10);
        let coverage = [Coverage { partition: 0, begins_late: false, ends_early: true }];
        let sample = sampler.finish(Ending { unreached: vec![2], ..Ending::default() }, &coverage);
        assert_eq!((&sample.unread_partitions[..], &sample.unreached_partitions[..]), (&[1][..], &[2][..]));
    }

    #[test]
    fn the_span_is_what_all_partitions_cover() {
        let at =
            |partition, timestamp_ms| RecordSeen { partition, timestamp_ms, key: None, value_bytes: None };
        let records = [at(0, 100), at(0, 900), at(1, 300), at(1, 700), at(2, 200), at(2, 800)];
        let coverage = |partition, begins_late, ends_early| Coverage { partition, begins_late, ends_early };
        let of = |records: &[RecordSeen], coverage: &[Coverage]| {
            span(records, coverage, Ending::default().within).map(|span| (span.from_ms, span.until_ms))
        };
        let whole = [coverage(0, false, false), coverage(1, false, false), coverage(2, false, false)];
        assert_eq!(of(&records, &whole), Some((100, 900)));
        let late = [coverage(0, true, false), coverage(1, false, false), coverage(2, true, false)];
        assert_eq!(of(&records, &late), Some((200, 900)));
        let cut = [coverage(0, false, true), coverage(1, true, true), coverage(2, false, false)];
        assert_eq!(of(&records, &cut), Some((300, 700)));
        assert_eq!(of(&[], &whole), Some((0, 0)));
        // One ends before another begins.
        let apart = [at(0, 100), at(0, 200), at(1, 300), at(1, 700)];
        assert_eq!(of(&apart, &[coverage(0, false, true), coverage(1, true, false)]), None);
    }

    /// 10,000 records in 10 s, of which some have another time.
    fn finished(odd: &[i64], within: Span) -> Sample {
        let mut sampler = Sampler::new(1);
        let record = |k: i64| RecordSeen {
            partition: 0,
            timestamp_ms: 1_000_000_000 + k,
            key: None,
            value_bytes: None,
        };
        sampler.sample.records = (0..10_000).map(record).collect();
        for (record, at_ms) in sampler.sample.records[5_000..].iter_mut().zip(odd) {
            record.timestamp_ms = *at_ms;
        }
        let coverage = [Coverage { partition: 0, begins_late: false, ends_early: false }];
        sampler.finish(Ending { within, ..Ending::default() }, &coverage)
    }

    #[test]
    fn one_odd_time_does_not_stretch_the_span() {
        let everything = Ending::default().within;
        let usual = Span { from_ms: 1_000_000_000, until_ms: 1_000_009_999 };
        assert_eq!((finished(&[], everything).span, finished(&[], everything).odd_times), (usual, 0));
        let week_ago = usual.from_ms - 7 * 86_400_000;
        for odd in [&[week_ago][..], &[-1], &[usual.until_ms + 86_400_000], &[-1, i64::MAX, week_ago]] {
            let sample = finished(odd, everything);
            assert_eq!((sample.span, sample.odd_times), (usual, odd.len() as u64), "{odd:?}");
        }
        // What is older than the instant that was looked back to is left out, however near.
        let within = Span { from_ms: 1_000_000_500, until_ms: 1_000_009_000 };
        let sample = finished(&[], within);
        assert_eq!((sample.span, sample.odd_times), (within, 1_499));
        // Unless that is most of them: then the instant was wrong.
        let wrong = Span { from_ms: 2_000_000_000, until_ms: 3_000_000_000 };
        assert_eq!(finished(&[], wrong).span, usual);
    }
}
