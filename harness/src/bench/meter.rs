//! Looking at a trial from outside, and cutting its window out of the looks.

use std::time::{Duration, Instant};

use gauntlet_reports::record::HostRecord;
use gauntlet_wire::monotonic_ns;

use super::BenchError;
use super::brokers::{BenchBrokers, TrialTopic};
use super::child::{Contestant, Ended};
use crate::run::host_usage::HostTicks;

/// How often a trial is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A window that is shorter than this part of what it was to be says too little.
const WINDOW_MIN: f64 = 0.5;

/// One look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// When, CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Records that the brokers have.
    pub records: u64,
    /// User and system time of the contender so far.
    pub cpu_s: f64,
    /// The same of all local brokers.
    pub broker_cpu_s: Option<f64>,
    /// Processor time of the host.
    pub host: Option<HostTicks>,
}

/// What lies between two looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Its length.
    pub seconds: f64,
    /// Records that were added.
    pub records: u64,
    /// Time that the contender took.
    pub cpu_s: f64,
    /// Time that the brokers took.
    pub broker_cpu_s: Option<f64>,
    /// What the host did.
    pub host: Option<HostRecord>,
}

/// Looks at a contender until it ends, which it must before `deadline`. `stop` ends it early; `each` is called at each look.
///
/// # Errors
/// It takes too long, the brokers don't answer, or `stop` said so.
pub fn watch(
    contestant: &mut Contestant,
    mut seen: impl FnMut(&mut Contestant) -> Result<Option<Look>, BenchError>,
    deadline: Instant,
    stop: &dyn Fn() -> bool,
) -> Result<(Vec<Look>, Ended), BenchError> {
    let mut looks = Vec::new();
    loop {
        if let Some(ended) = contestant.ended()? {
            return Ok((looks, ended));
        }
        if stop() {
            contestant.kill()?;
            return Err(BenchError::Interrupted);
        }
        if Instant::now() >= deadline {
            contestant.kill()?;
            return Err(BenchError::Trial("it did not end in time and was killed".to_owned()));
        }
        looks.extend(seen(contestant)?);
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A look at a contender that writes; `None` if it has just ended.
///
/// # Errors
/// The brokers don't answer.
pub fn look(
    contestant: &Contestant,
    brokers: &BenchBrokers,
    topic: &mut TrialTopic,
) -> Result<Option<Look>, BenchError> {
    let records = topic.ends.sum()?;
    let at_ns = monotonic_ns();
    let Some(cpu_s) = contestant.cpu_s() else { return Ok(None) };
    Ok(Some(Look { at_ns, records, cpu_s, broker_cpu_s: brokers.cpu_s(), host: HostTicks::now() }))
}

/// The window of a trial: from the first look that is `warmup` after the first record was seen, to the last one in `length` from
/// there at which records still came. `Err` says why there is none.
pub fn window(looks: &[Look], warmup: Duration, length: Duration) -> Result<Window, String> {
    let Some(before) = looks.first() else { return Err("it was never seen".to_owned()) };
    let Some(first) = looks.iter().find(|look| look.records > before.records) else {
        return Err("no record of it was seen".to_owned());
    };
    let from_ns = first.at_ns + warmup.as_nanos() as u64;
    let Some(begin) = looks.iter().position(|look| look.at_ns >= from_ns) else {
        return Err(format!("it ended within {} s, its warm-up", warmup.as_secs_f64()));
    };
    let (from, rest) = (looks[begin], &looks[begin..]);
    // Some slack: looks are not taken at exact times.
    let until_ns = from.at_ns + length.as_nanos() as u64 + LOOK_EVERY.as_nanos() as u64 / 2;
    let mut growing =
        rest.windows(2).filter(|pair| pair[1].records > pair[0].records && pair[1].at_ns <= until_ns);
    let to = growing.next_back().map_or(from, |pair| pair[1]);
    let seconds = (to.at_ns - from.at_ns) as f64 / 1e9;
    if seconds < WINDOW_MIN * length.as_secs_f64() {
        return Err(format!(
            "records came for {seconds:.1} s after the warm-up, which is less than half of {} s",
            length.as_secs_f64()
        ));
    }
    Ok(Window {
        seconds,
        records: to.records - from.records,
        cpu_s: to.cpu_s - from.cpu_s,
        broker_cpu_s: to.broker_cpu_s.zip(from.broker_cpu_s).map(|(to, from)| to - from),
        host: to.host.zip(from.host).and_then(|(to, from)| to.since(&from)),
    })
}

/// Records per second between the first and the last that was seen: what is known of a rehearsal, however short it was.
#[must_use]
pub fn overall_per_s(looks: &[Look]) -> Option<f64> {
    let growing: Vec<&[Look]> = looks.windows(2).filter(|pair| pair[1].records > pair[0].records).collect();
    let (first, last) = (growing.first()?[0], growing.last()?[1]);
    Some((last.records - first.records) as f64 / ((last.at_ns - first.at_ns) as f64 / 1e9))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look every 200 ms, from these numbers of records; half a processor is taken.
    fn looks(records: impl IntoIterator<Item = u64>) -> Vec<Look> {
        let look = |(index, records): (usize, u64)| Look {
            at_ns: 5_000_000_000 + index as u64 * 200_000_000,
            records,
            cpu_s: index as f64 * 0.1,
            broker_cpu_s: Some(index as f64 * 0.2),
            host: None,
        };
        records.into_iter().enumerate().map(look).collect()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_window_leaves_out_start_warmup_and_end() {
        // A second of nothing, then 100 records per look, then nothing again.
        let records = [0; 5].into_iter().chain((1..=30).map(|n| n * 100)).chain([3_000; 10]);
        let window = window(&looks(records), SECOND, 3 * SECOND).unwrap();
        assert!((window.seconds - 3.0).abs() < 1e-9);
        assert_eq!(window.records, 1_500);
        assert!((window.cpu_s - 1.5).abs() < 1e-9);
        assert!((window.broker_cpu_s.unwrap() - 3.0).abs() < 1e-9);
    }

    #[test]
    fn the_window_ends_where_records_end() {
        let records = [0].into_iter().chain((1..=15).map(|n| n * 100)).chain([1_500; 20]);
        let found = window(&looks(records), SECOND, 3 * SECOND).unwrap();
        assert!((found.seconds - 1.8).abs() < 1e-9, "{found:?}");
        assert_eq!(found.records, 900);
    }

    #[test]
    fn what_is_too_short_is_no_window() {
        let short = [0, 100, 200, 300, 400, 500, 600, 700, 800, 800, 800];
        assert!(window(&looks(short), SECOND, 3 * SECOND).unwrap_err().contains("less than half"));
        assert!(window(&looks([0, 100]), SECOND, SECOND).unwrap_err().contains("its warm-up"));
        assert!(window(&looks([7, 7, 7]), SECOND, SECOND).unwrap_err().contains("no record"));
        assert!(window(&[], SECOND, SECOND).unwrap_err().contains("never seen"));
    }

    #[test]
    fn records_that_were_there_before_count_for_nothing() {
        let records = [500; 3].into_iter().chain((1..=20).map(|n| 500 + n * 100));
        assert_eq!(window(&looks(records), Duration::ZERO, SECOND).unwrap().records, 500);
    }

    #[test]
    fn a_rehearsal_has_a_rate() {
        assert_eq!(overall_per_s(&looks([0, 0, 100, 200, 200])), Some(500.0));
        assert_eq!(overall_per_s(&looks([0, 0])), None);
    }
}
