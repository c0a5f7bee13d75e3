//! How the clocks of a run's files relate.

use gauntlet_reports::record::RunRecord;

use crate::intervals::IntervalLine;

/// Where t = 0 is, on the clocks that the files use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RunClock {
    /// When the load began, CLOCK_MONOTONIC; `None` if it did not.
    pub(super) origin_ns: Option<u64>,
    /// Seconds from there to t = 0.
    pub(super) zero_s: f64,
}

impl RunClock {
    /// t = 0 is where `run.json` says, or a second that knew it. A run that died before anybody knew was in its warm-up
    /// all the time: then it is the end of the last second.
    pub(super) fn of(record: &RunRecord, lines: &[IntervalLine]) -> Self {
        let told = lines.iter().find_map(|line| Some(line.second.at_s - line.second.t_s?));
        let last = lines.last().map_or(0.0, |line| line.second.at_s.ceil().max(0.0));
        let zero_s = record.warmup_s.or(told).unwrap_or(last);
        // t = 0 is the edge of a slot; what comes from differences is a little beside it.
        RunClock {
            origin_ns: lines.first().map(IntervalLine::origin_ns),
            zero_s: (zero_s * SLOTS_PER_S).round() / SLOTS_PER_S,
        }
    }

    /// Whether t = 0 was reached, as far as the seconds say: what `run.json` says once the load is over.
    pub(super) fn reached_zero(lines: &[IntervalLine]) -> bool {
        lines.iter().any(|line| line.second.t_s.is_some_and(|t_s| t_s >= 0.0))
    }

    /// Seconds since t = 0 of an instant of CLOCK_MONOTONIC.
    pub(super) fn t_s(&self, at_ns: u64) -> Option<f64> {
        let origin_ns = self.origin_ns?;
        Some((at_ns as i128 - origin_ns as i128) as f64 / 1e9 - self.zero_s)
    }

    /// The second, counted from t = 0, to which a slot of intended time belongs.
    pub(super) fn second_of_slot(&self, slot: u64) -> i64 {
        (slot as i64 - (self.zero_s * SLOTS_PER_S).round() as i64).div_euclid(SLOTS_PER_S as i64)
    }
}

const SLOTS_PER_S: f64 = 1e9 / crate::recorder::SLOT_NS as f64;
