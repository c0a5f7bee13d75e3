//! Where the newest records of a topic begin.
//!
//! The newest n records of a topic are not the newest n/p of each of its p partitions: partitions differ in rate, so these
//! would go back by different times, and shares of partitions, rates and keys taken from them would be wrong. So a stretch
//! of time is looked for that holds n records, by asking brokers for the offsets of instants, and each partition is read from
//! there. What a finer instant could not separate is cut off by the shares of the partitions.

use std::collections::BTreeMap;

/// Longest stretch that is tried before everything is taken: 34 years.
const LONGEST_MS: i64 = 1 << 40;
const FIRST_MS: i64 = 1_000;
/// A stretch that holds so many times what is wanted is good enough.
const ENOUGH: f64 = 1.05;

/// Offsets of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    /// The first one there is.
    pub(super) start: i64,
    /// The one behind the last.
    pub(super) end: i64,
}

/// Where a sample begins in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    /// First offset.
    pub(super) offset: i64,
    /// Whether there are, or may have been, records before it in the stretch of time that is read of other partitions.
    pub(super) late: bool,
}

/// The newest records that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    /// How many.
    pub(super) records: u64,
    /// Back from here: milliseconds since the Unix epoch.
    pub(super) until_ms: i64,
    /// At most so far back.
    pub(super) longest_ms: Option<i64>,
}

/// Offsets by partition.
type Offsets = BTreeMap<i32, i64>;

/// The begin of each log that is read from its first record on.
pub(super) fn whole(logs: &BTreeMap<i32, Log>) -> BTreeMap<i32, Begin> {
    // Of what was deleted, nobody knows when it was.
    let begin = |log: &Log| Begin { offset: log.start, late: log.start > 0 };
    logs.iter().map(|(partition, log)| (*partition, begin(log))).collect()
}

/// The begin of each log that the newest records are read from. `since` gives the first offset of each partition whose record
/// is not older than an instant, or where its log ends.
pub(super) fn newest<E>(
    logs: &BTreeMap<i32, Log>,
    wanted: Newest,
    mut since: impl FnMut(i64) -> Result<Offsets, E>,
) -> Result<BTreeMap<i32, Begin>, E> {
    let mut at = |length_ms: i64| since(wanted.until_ms - length_ms);
    let all: u64 = logs.values().map(|log| log.end.abs_diff(log.start)).sum();
    if wanted.longest_ms.is_none() && all <= wanted.records {
        return Ok(whole(logs));
    }
    let (mut short_ms, mut long_ms) = (0, wanted.longest_ms.unwrap_or(FIRST_MS));
    let mut offsets = at(long_ms)?;
    while held(logs, &offsets) < wanted.records {
        if wanted.longest_ms.is_some() {
            return Ok(cut(logs, &offsets, wanted.records));
        }
        if long_ms >= LONGEST_MS {
            return Ok(whole(logs));
        }
        (short_ms, long_ms) = (long_ms, long_ms * 4);
        offsets = at(long_ms)?;
    }
    while long_ms - short_ms > 1 && held(logs, &offsets) as f64 > wanted.records as f64 * ENOUGH {
        let middle_ms = short_ms + (long_ms - short_ms) / 2;
        let found = at(middle_ms)?;
        if held(logs, &found) >= wanted.records {
            (long_ms, offsets) = (middle_ms, found);
        } else {
            short_ms = middle_ms;
        }
    }
    Ok(cut(logs, &offsets, wanted.records))
}

/// Records from these offsets to the ends, if every offset has one.
fn held(logs: &BTreeMap<i32, Log>, offsets: &Offsets) -> u64 {
    logs.iter().map(|(partition, log)| behind(log, offsets.get(partition))).sum()
}

fn behind(log: &Log, offset: Option<&i64>) -> u64 {
    let begin = offset.copied().unwrap_or(log.start).clamp(log.start, log.end);
    log.end.abs_diff(begin)
}

/// The same share of each partition's records, so that about `records` are left of all.
fn cut(logs: &BTreeMap<i32, Log>, offsets: &Offsets, records: u64) -> BTreeMap<i32, Begin> {
    let all = held(logs, offsets);
    let begin = |(partition, log): (&i32, &Log)| {
        let behind = behind(log, offsets.get(partition));
        let kept = if all as f64 <= records as f64 * ENOUGH {
            behind
        } else {
            (behind as f64 * records as f64 / all as f64).ceil() as u64
        };
        let offset = log.end - i64::try_from(kept.min(behind)).unwrap_or(0);
        // Where the log begins inside of the stretch, some of it may have been deleted.
        let expired = offset == log.start && log.start > 0;
        (*partition, Begin { offset, late: kept < behind || expired })
    };
    logs.iter().map(begin).collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Logs of two partitions: a record per millisecond, and one per 10 ms, of the last 100 s before 1,000,000 ms.
    fn logs() -> BTreeMap<i32, Log> {
        BTreeMap::from([(0, Log { start: 0, end: 100_000 }), (1, Log { start: 500, end: 10_500 })])
    }

    fn since(instant_ms: i64) -> Result<Offsets, Infallible> {
        let age_ms = (1_000_000 - instant_ms).clamp(0, 100_000);
        Ok(BTreeMap::from([(0, 100_000 - age_ms), (1, 10_500 - age_ms / 10)]))
    }

    fn find(records: u64, longest_ms: Option<i64>) -> BTreeMap<i32, Begin> {
        newest(&logs(), Newest { records, until_ms: 1_000_000, longest_ms }, since).unwrap()
    }

    #[test]
    fn partitions_are_read_back_to_the_same_instant() {
        let begins = find(11_000, None);
        let back = |partition: i32, per_ms: f64| {
            (logs()[&partition].end - begins[&partition].offset) as f64 / per_ms
        };
        assert!((back(0, 1.0) / back(1, 0.1) - 1.0).abs() < 0.02, "{begins:?}");
        assert!((9_900.0..10_600.0).contains(&back(0, 1.0)), "{begins:?}");
        assert!(begins.values().all(|begin| !begin.late), "{begins:?}");
    }

    #[test]
    fn few_records_are_all_taken() {
        let begins = find(1_000_000, None);
        assert_eq!(begins[&0], Begin { offset: 0, late: false });
        assert_eq!(begins[&1], Begin { offset: 500, late: true }, "something was deleted before it");
    }

    #[test]
    fn no_more_than_the_longest_stretch_is_taken() {
        let begins = find(1_000_000, Some(5_000));
        assert_eq!((begins[&0].offset, begins[&1].offset), (95_000, 10_000));
        let fewer = find(1_100, Some(5_000));
        assert!((98_900..=99_000).contains(&fewer[&0].offset), "{fewer:?}");
    }

    #[test]
    fn records_of_one_instant_are_cut_by_share() {
        let same_instant = |instant_ms: i64| -> Result<Offsets, Infallible> {
            Ok(match instant_ms {
                ..=1_000_000 => BTreeMap::from([(0, 0), (1, 500)]),
                _ => BTreeMap::from([(0, 100_000), (1, 10_500)]),
            })
        };
        let wanted = Newest { records: 1_100, until_ms: 1_000_000, longest_ms: None };
        let begins = newest(&logs(), wanted, same_instant).unwrap();
        assert_eq!(begins[&0], Begin { offset: 99_000, late: true });
        assert_eq!(begins[&1], Begin { offset: 10_400, late: true });
    }
}
