//! Where the newest records of a topic begin.
//!
//! The newest n records of a topic are not the newest n/p of each of its p partitions: partitions differ in rate, so these
//! would go back by different times, and shares of partitions, rates and keys taken from them would be wrong. So a stretch
//! of time is looked for that holds n records, by asking brokers for the offsets of instants, and each partition is read from
//! there. What a finer instant could not separate is cut off by the shares of the partitions.
//!
//! Brokers answer with the *first* record that is not older than an instant. Where one record is dated ahead, all that come
//! behind it seem to belong to every instant up to that date. So the record in the middle of what an answer gives is looked
//! at: if it is older than the instant, the partition is *disordered*. It says nothing about the stretch then, and its newest
//! n/p records are read.

use std::collections::{BTreeMap, BTreeSet};

/// Longest stretch that is tried before everything is taken: 34 years.
const LONGEST_MS: i64 = 1 << 40;
const FIRST_MS: i64 = 1_000;
/// A stretch that holds so many times what is wanted is good enough.
const ENOUGH: f64 = 1.05;
/// Partitions that are looked into: those that hold most of a stretch, as only they can spoil it.
const LOOKED_INTO: usize = 16;
/// Records are out of order by so much where several producers write: what was sent again comes late.
const ORDER_SLACK_MS: i64 = 1_000;

/// Offsets of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    /// The first one there is.
    pub(super) start: i64,
    /// The one behind the last.
    pub(super) end: i64,
}

impl Log {
    fn records(&self) -> u64 {
        self.end.abs_diff(self.start)
    }
}

/// Where a sample begins in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    /// First offset.
    pub(super) offset: i64,
    /// Whether there are, or may have been, records before it in the stretch of time that is read of other partitions.
    pub(super) late: bool,
}

/// Where a sample begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// In each partition.
    pub(super) begins: BTreeMap<i32, Begin>,
    /// The instant that all of them were read back to, in milliseconds since the Unix epoch; `None`: logs are read as a whole.
    pub(super) since_ms: Option<i64>,
    /// Partitions whose records are not in the order of their timestamps.
    pub(super) disordered: Vec<u32>,
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
pub(super) type Offsets = BTreeMap<i32, i64>;
type Logs = BTreeMap<i32, Log>;

/// When records were.
pub(super) trait Times {
    /// Why there is no answer.
    type Error;

    /// The first offset of each partition whose record is not older than an instant, or where its log ends. A partition that
    /// is missing holds nothing.
    fn since(&mut self, instant_ms: i64) -> Result<Offsets, Self::Error>;

    /// The latest timestamp in the batch of an offset; `None` where that can't be told.
    fn at(&mut self, partition: i32, offset: i64) -> Result<Option<i64>, Self::Error>;
}

/// Each log from its first record on.
pub(super) fn whole(logs: &Logs) -> Chosen {
    // Of what was deleted, nobody knows when it was.
    let begin = |log: &Log| Begin { offset: log.start, late: log.start > 0 };
    let begins = logs.iter().map(|(partition, log)| (*partition, begin(log))).collect();
    Chosen { begins, ..Chosen::default() }
}

/// Each log from the same instant on: the latest one that a log begins with whose older records were deleted. Without such
/// logs, each from its first record on. What is dated behind `latest_ms` tells nothing.
pub(super) fn oldest<T: Times>(
    logs: &Logs,
    first_ms: &BTreeMap<i32, i64>,
    latest_ms: i64,
    times: &mut T,
) -> Result<Chosen, T::Error> {
    let of = |(partition, log): (&i32, &Log)| {
        let first_ms = first_ms.get(partition).filter(|first| (0..=latest_ms).contains(*first))?;
        (log.start > 0 && log.end > log.start).then_some(*first_ms)
    };
    let mut chosen = whole(logs);
    chosen.since_ms = logs.iter().filter_map(of).max();
    let Some(since_ms) = chosen.since_ms else { return Ok(chosen) };
    let offsets = times.since(since_ms)?;
    for (partition, log) in logs {
        let Some(offset) = offsets.get(partition) else { continue };
        // It covers everything from the instant on, unless when it begins is unknown.
        let late = log.start > 0 && first_ms.get(partition).is_some_and(|first| *first > latest_ms);
        chosen.begins.insert(*partition, Begin { offset: (*offset).clamp(log.start, log.end), late });
    }
    Ok(chosen)
}

/// Each log from where its part of the newest records begins.
pub(super) fn newest<T: Times>(logs: &Logs, wanted: Newest, times: &mut T) -> Result<Chosen, T::Error> {
    let mut disordered = BTreeSet::new();
    let mut ordered = logs.clone();
    loop {
        let mut chosen = match stretch(&ordered, wanted, times)? {
            None => whole(&ordered),
            Some((since_ms, offsets)) => {
                let found = out_of_order(&ordered, &offsets, since_ms, times)?;
                if !found.is_empty() {
                    ordered.retain(|partition, _| !found.contains(partition));
                    disordered.extend(found);
                    continue;
                }
                let begins = cut(&ordered, &offsets, wanted.records);
                Chosen { begins, since_ms: Some(since_ms), ..Chosen::default() }
            }
        };
        let each = wanted.records / logs.len().max(1) as u64;
        let by_share = disordered.iter().filter_map(|p| Some((*p, last_of(logs.get(p)?, each))));
        chosen.begins.extend(by_share);
        chosen.disordered = disordered.into_iter().filter_map(|p| u32::try_from(p).ok()).collect();
        return Ok(chosen);
    }
}

/// So many records, and at least one.
fn last_of(log: &Log, records: u64) -> Begin {
    let kept = records.clamp(1, log.records().max(1)).min(log.records());
    let offset = log.end - i64::try_from(kept).unwrap_or(0);
    Begin { offset, late: offset > 0 }
}

/// An instant, and where logs are from then on, so that about what is wanted lies behind it; `None`: all that there is.
fn stretch<T: Times>(logs: &Logs, wanted: Newest, times: &mut T) -> Result<Option<(i64, Offsets)>, T::Error> {
    let all: u64 = logs.values().map(Log::records).sum();
    let few = wanted.longest_ms.is_none() && all <= wanted.records;
    if logs.is_empty() || few {
        return Ok(None);
    }
    let mut at = |length_ms: i64| times.since(wanted.until_ms - length_ms);
    let (mut short_ms, mut long_ms) = (0, wanted.longest_ms.unwrap_or(FIRST_MS));
    let mut offsets = at(long_ms)?;
    while held(logs, &offsets) < wanted.records {
        if wanted.longest_ms.is_some() {
            return Ok(Some((wanted.until_ms - long_ms, offsets)));
        }
        if long_ms >= LONGEST_MS {
            return Ok(None);
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
    Ok(Some((wanted.until_ms - long_ms, offsets)))
}

/// Partitions whose middle record behind these offsets is older than the instant that they were given for.
fn out_of_order<T: Times>(
    logs: &Logs,
    offsets: &Offsets,
    since_ms: i64,
    times: &mut T,
) -> Result<BTreeSet<i32>, T::Error> {
    let mut most: Vec<(u64, i32, i64)> = logs
        .iter()
        .map(|(partition, log)| (behind(log, offsets.get(partition)), *partition, log.end))
        .collect();
    most.sort_unstable_by_key(|(records, partition, _)| (std::cmp::Reverse(*records), *partition));
    let mut found = BTreeSet::new();
    for (records, partition, end) in most.into_iter().take(LOOKED_INTO).filter(|(records, ..)| *records > 1) {
        let middle = end - i64::try_from(records / 2).unwrap_or(1);
        if times.at(partition, middle)?.is_some_and(|at_ms| at_ms < since_ms - ORDER_SLACK_MS) {
            found.insert(partition);
        }
    }
    Ok(found)
}

/// Records from these offsets to the ends.
fn held(logs: &Logs, offsets: &Offsets) -> u64 {
    logs.iter().map(|(partition, log)| behind(log, offsets.get(partition))).sum()
}

fn behind(log: &Log, offset: Option<&i64>) -> u64 {
    let begin = offset.copied().unwrap_or(log.end).clamp(log.start, log.end);
    log.end.abs_diff(begin)
}

/// The same share of each partition's records, so that about `records` are left of all.
fn cut(logs: &Logs, offsets: &Offsets, records: u64) -> BTreeMap<i32, Begin> {
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

    /// Timestamps of each log's records, by offset.
    struct Simulated(BTreeMap<i32, Vec<i64>>);

    impl Simulated {
        fn logs(&self) -> Logs {
            self.0.iter().map(|(p, times)| (*p, Log { start: 0, end: times.len() as i64 })).collect()
        }
    }

    impl Times for Simulated {
        type Error = Infallible;

        fn since(&mut self, instant_ms: i64) -> Result<Offsets, Infallible> {
            let first =
                |times: &Vec<i64>| times.iter().position(|at| *at >= instant_ms).unwrap_or(times.len());
            Ok(self.0.iter().map(|(p, times)| (*p, first(times) as i64)).collect())
        }

        fn at(&mut self, partition: i32, offset: i64) -> Result<Option<i64>, Infallible> {
            Ok(self.0.get(&partition).and_then(|times| times.get(offset as usize)).copied())
        }
    }

    /// A function of the instant; its records are in order.
    struct Ordered<F>(F);

    impl<F: Fn(i64) -> Offsets> Times for Ordered<F> {
        type Error = Infallible;

        fn since(&mut self, instant_ms: i64) -> Result<Offsets, Infallible> {
            Ok(self.0(instant_ms))
        }

        fn at(&mut self, _: i32, _: i64) -> Result<Option<i64>, Infallible> {
            Ok(Some(i64::MAX))
        }
    }

    /// Logs of two partitions: a record per millisecond, and one per 10 ms, of the last 100 s before 1,000,000 ms.
    fn logs() -> Logs {
        BTreeMap::from([(0, Log { start: 0, end: 100_000 }), (1, Log { start: 500, end: 10_500 })])
    }

    fn since(instant_ms: i64) -> Offsets {
        let age_ms = (1_000_000 - instant_ms).clamp(0, 100_000);
        BTreeMap::from([(0, 100_000 - age_ms), (1, 10_500 - age_ms / 10)])
    }

    fn find(records: u64, longest_ms: Option<i64>) -> BTreeMap<i32, Begin> {
        let wanted = Newest { records, until_ms: 1_000_000, longest_ms };
        newest(&logs(), wanted, &mut Ordered(since)).unwrap().begins
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
        let same_instant = |instant_ms: i64| match instant_ms {
            ..=1_000_000 => BTreeMap::from([(0, 0), (1, 500)]),
            _ => BTreeMap::from([(0, 100_000), (1, 10_500)]),
        };
        let wanted = Newest { records: 1_100, until_ms: 1_000_000, longest_ms: None };
        let begins = newest(&logs(), wanted, &mut Ordered(same_instant)).unwrap().begins;
        assert_eq!(begins[&0], Begin { offset: 99_000, late: true });
        assert_eq!(begins[&1], Begin { offset: 10_400, late: true });
    }

    /// Twelve partitions with a record per millisecond up to `last_ms`; the 100th of number 3 is dated `ahead_ms` after that.
    fn one_ahead(last_ms: i64, ahead_ms: i64) -> Simulated {
        let even = |_| (0..5_000).map(|k| last_ms - 4_999 + k).collect::<Vec<i64>>();
        let mut times: BTreeMap<i32, Vec<i64>> = (0..12).map(|p| (p, even(p))).collect();
        times.get_mut(&3).unwrap()[100] = last_ms + ahead_ms;
        Simulated(times)
    }

    #[test]
    fn a_record_that_is_dated_ahead_does_not_take_the_sample() {
        const LAST_MS: i64 = 1_795_271_484_000;
        // With and without what `live` does about it, which is to look back from now.
        for (ahead_ms, until_ms) in
            [(86_400_000, LAST_MS + 86_400_000), (86_400_000, LAST_MS), (1 << 41, LAST_MS)]
        {
            let mut times = one_ahead(LAST_MS, ahead_ms);
            let wanted = Newest { records: 12_000, until_ms, longest_ms: None };
            let chosen = newest(&times.logs(), wanted, &mut times).unwrap();
            assert_eq!(chosen.disordered, [3], "{until_ms}");
            for (partition, begin) in &chosen.begins {
                assert!((3_800..=4_100).contains(&begin.offset), "{partition}: {begin:?}");
            }
            assert!(chosen.begins[&3].late);
            let since_ms = chosen.since_ms.unwrap();
            assert!((900..=1_200).contains(&(LAST_MS - since_ms)), "{since_ms}");
        }
    }

    #[test]
    fn partitions_that_are_all_disordered_are_cut_evenly() {
        let backwards = || (0..5_000).map(|k| 2_000_000_000 - k * 100).collect::<Vec<i64>>();
        let mut times = Simulated((0..4).map(|p| (p, backwards())).collect());
        let wanted = Newest { records: 400, until_ms: 2_000_000_000, longest_ms: None };
        let chosen = newest(&times.logs(), wanted, &mut times).unwrap();
        assert_eq!((chosen.disordered.len(), chosen.since_ms), (4, None));
        assert!(chosen.begins.values().all(|begin| *begin == Begin { offset: 4_900, late: true }));
    }

    #[test]
    fn a_partition_without_an_answer_is_not_taken_whole() {
        let partly = |instant_ms: i64| {
            let mut offsets = since(instant_ms);
            offsets.remove(&1);
            offsets
        };
        let wanted = Newest { records: 1_000, until_ms: 1_000_000, longest_ms: None };
        let begins = newest(&logs(), wanted, &mut Ordered(partly)).unwrap().begins;
        assert_eq!(begins[&1].offset, 10_500);
        assert!((98_900..=99_100).contains(&begins[&0].offset), "{begins:?}");
    }

    #[test]
    fn the_oldest_records_begin_where_every_log_has_some() {
        let mut times = Ordered(since);
        // The older records of the second log were deleted: it begins 40 s after the first.
        let logs =
            BTreeMap::from([(0, Log { start: 0, end: 100_000 }), (1, Log { start: 4_500, end: 10_500 })]);
        let first_ms = BTreeMap::from([(0, 900_000), (1, 940_000)]);
        let chosen = oldest(&logs, &first_ms, 1_000_000, &mut times).unwrap();
        assert_eq!(chosen.since_ms, Some(940_000));
        assert_eq!(chosen.begins[&0], Begin { offset: 40_000, late: false });
        assert_eq!(chosen.begins[&1], Begin { offset: 4_500, late: false });
        // Nothing was deleted: partitions that begin later had nothing before.
        let unspoilt = BTreeMap::from([(0, Log { start: 0, end: 100_000 }), (1, Log { start: 0, end: 10 })]);
        assert_eq!(oldest(&unspoilt, &first_ms, 1_000_000, &mut times).unwrap(), whole(&unspoilt));
        // A date in the future is none to begin at.
        let ahead = BTreeMap::from([(0, 900_000), (1, 1_000_001)]);
        let chosen = oldest(&logs, &ahead, 1_000_000, &mut times).unwrap();
        assert_eq!((chosen.since_ms, chosen.begins[&1]), (None, Begin { offset: 4_500, late: true }));
    }
}
