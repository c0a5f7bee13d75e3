//! One point per second, of what each file knows of it.
//!
//! Two clocks meet here. Latency belongs to the second of a record's *intended* time, in tenths, and fits seconds counted
//! from t = 0 exactly. Counts belong to the second in which something was seen; these seconds begin where the wall clock's
//! do, so that a line is shown in the second that it covers most of.

use std::collections::BTreeMap;

use gauntlet_reports::record::{LoadProfile, SlipMs};
use gauntlet_reports::run_data::SecondPoint;

use super::clock::RunClock;
use crate::hlog::{self, Entry, HlogError, Series as Metric};
use crate::intervals::{IntervalLine, Second};
use crate::recorder::{LatencyHistogram, Slip, add_histogram};
use crate::rundir::HISTOGRAMS;

/// What was to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    /// Records per second over time.
    pub(super) profile: &'a LoadProfile,
    /// When it ended, in seconds since t = 0; `None` if nobody knows.
    pub(super) end_s: Option<f64>,
}

/// What points are made of.
pub(super) struct Series<'a> {
    pub(super) clock: RunClock,
    pub(super) lines: &'a [IntervalLine],
    /// `histograms.hlog`.
    pub(super) histograms: &'a [u8],
    pub(super) load: Option<Load<'a>>,
    pub(super) notes: &'a mut Vec<String>,
}

/// A point per second, without a gap, from the one in which the load began.
pub(super) fn lay_out(series: &mut Series<'_>) -> Vec<SecondPoint> {
    let clock = series.clock;
    let first = clock.second_of_slot(0);
    let mut points: BTreeMap<i64, SecondPoint> = BTreeMap::new();
    for (second, line) in seconds_of(&clock, first, series.lines) {
        count(points.entry(second).or_default(), &line.second);
        for slot in &line.slots {
            let point = points.entry(clock.second_of_slot(slot.slot)).or_default();
            join(&mut point.slip_ms, &slot.slip);
        }
    }
    measure(series, &mut points);
    let Some((&last, _)) = points.last_key_value() else { return Vec::new() };
    let mut lag = 0;
    let seconds = (first..=last).map(|second| {
        // A second of which nobody told: gauntlet was stopped, or did not get to it.
        let mut point =
            points.remove(&second).unwrap_or_else(|| SecondPoint { lag, ..SecondPoint::default() });
        lag = point.lag;
        point.t_s = second as f64;
        point.target = series.load.and_then(|load| intended(&clock, load, second));
        point
    });
    seconds.collect()
}

/// Which second each line is about. Lines come at a fixed phase of the second, give or take the jitter of a busy host,
/// which must not push one into its neighbour's second: so they are counted from the first.
fn seconds_of<'a>(
    clock: &RunClock,
    first: i64,
    lines: &'a [IntervalLine],
) -> impl Iterator<Item = (i64, &'a IntervalLine)> {
    let end_s = |line: &IntervalLine| line.second.at_s - clock.zero_s;
    let begin_s = lines.first().map_or(0.0, end_s);
    let begin = (begin_s - 0.5).floor() as i64;
    lines.iter().map(move |line| {
        let second = begin + (end_s(line) - begin_s).round() as i64;
        (second.max(first), line)
    })
}

/// Adds what a line counted.
fn count(point: &mut SecondPoint, second: &Second) {
    point.sent += second.sent;
    point.acked += second.acked;
    point.read += second.read;
    point.failed += second.failed;
    point.errors += second.errors;
    point.wire_bytes += second.wire_bytes;
    point.uncompressed_bytes += second.uncompressed_bytes;
    point.cpu_ms += second.cpu_ms;
    point.lag = second.lag;
    point.rss_mib = second.rss_mib;
}

fn join(point: &mut SlipMs, slip: &Slip) {
    let ms = |ns: u64| ns as f64 / 1e6;
    point.broker = point.broker.max(ms(slip.broker_ns));
    point.gauntlet = point.gauntlet.max(ms(slip.gauntlet_ns));
    point.host = point.host.max(ms(slip.host_ns));
}

/// Records that the schedule has between the beginning and the end of a second, within the load.
fn intended(clock: &RunClock, load: Load<'_>, second: i64) -> Option<u64> {
    let begin_s = (second as f64).max(-clock.zero_s);
    let end_s = ((second + 1) as f64).min(load.end_s.unwrap_or(f64::INFINITY));
    if end_s <= begin_s {
        return None;
    }
    let before = |t_s: f64| (area(load.profile, t_s) + load.profile.warmup_per_s * clock.zero_s).round();
    Some((before(end_s) - before(begin_s)).max(0.0) as u64)
}

/// Records from t = 0 (or, counted backwards, of the warm-up) until then: the area under the lines.
fn area(profile: &LoadProfile, t_s: f64) -> f64 {
    if t_s <= 0.0 {
        return profile.warmup_per_s * t_s;
    }
    let lines = profile.points.windows(2).filter(|line| line[0].t_s < t_s);
    lines
        .map(|line| {
            let length_s = line[1].t_s - line[0].t_s;
            let until_s = (t_s - line[0].t_s).min(length_s);
            if length_s <= 0.0 {
                return 0.0;
            }
            let at_end = line[0].per_s + (line[1].per_s - line[0].per_s) * until_s / length_s;
            (line[0].per_s + at_end) / 2.0 * until_s
        })
        .sum()
}

/// Percentiles per second. Late answers put lines about a slot far behind the others; only where they are is kept, and one
/// second's histograms are decoded at a time: all of a long run would not fit into memory.
fn measure(series: &mut Series<'_>, points: &mut BTreeMap<i64, SecondPoint>) {
    let mut entries: BTreeMap<(i64, Metric), Vec<Entry<'_>>> = BTreeMap::new();
    for entry in hlog::entries(series.histograms) {
        match entry {
            Ok(entry) => {
                let key = (series.clock.second_of_slot(entry.slot), entry.series);
                entries.entry(key).or_default().push(entry);
            }
            Err(error) => {
                series.notes.push(format!("{HISTOGRAMS}: {error}; what follows is left out"));
                break;
            }
        }
    }
    for ((second, metric), entries) in entries {
        let point = points.entry(second).or_default();
        let target = match metric {
            Metric::Latency => &mut point.latency_ms,
            Metric::Service => &mut point.service_ms,
            Metric::EndToEnd => &mut point.e2e_ms,
            Metric::Censored => continue,
        };
        match merged(&entries) {
            Ok(Some(histogram)) => *target = hlog::percentiles(&histogram),
            Ok(None) => {}
            Err(error) => series.notes.push(format!("{HISTOGRAMS}: second {second}: {error}")),
        }
    }
}

fn merged(entries: &[Entry<'_>]) -> Result<Option<LatencyHistogram>, HlogError> {
    let mut sum: Option<LatencyHistogram> = None;
    for entry in entries {
        let histogram = entry.decode()?;
        match &mut sum {
            Some(sum) => add_histogram(sum, &histogram),
            None => {
                let mut first = histogram;
                // Those read from a file do not grow by themselves.
                first.auto(true);
                sum = Some(first);
            }
        }
    }
    Ok(sum)
}
