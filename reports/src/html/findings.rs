//! What a chart shows, in words: from when to when it was calm, and where the worst was.

use crate::run_data::{RunData, SecondPoint};

use super::format;
use super::view::View;

/// Whether the seconds have counts: a run directory may have lost them and still have its histograms.
pub(super) fn has_counts(data: &RunData) -> bool {
    data.seconds.iter().any(|s| s.sent + s.acked + s.read + s.failed + s.errors > 0)
}

/// Lowest and highest of something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    /// Lowest.
    pub(super) low: f64,
    /// Highest.
    pub(super) high: f64,
}

/// The seconds of calm load, from t = 0 to the first fault or, without one, to the end of the load; and how to call them.
pub(super) fn calm_name(view: &View) -> &'static str {
    if view.bands.is_empty() { "under load" } else { "before the first fault" }
}

/// The range of a value in the calm seconds (see [`calm_name`]).
pub(super) fn calm(
    data: &RunData,
    view: &View,
    value: impl Fn(&SecondPoint) -> Option<f64>,
) -> Option<Range> {
    let first_fault_s = view.bands.iter().map(|b| b.from_s).reduce(f64::min);
    let end_s = first_fault_s.or(view.load_end_s).unwrap_or(view.to_s);
    let seconds = data.seconds.iter().filter(|s| s.t_s >= 0.0 && s.t_s + 1.0 <= end_s + 0.001);
    seconds.filter_map(value).filter(|v| v.is_finite()).fold(None, |range: Option<Range>, v| {
        Some(range.map_or(Range { low: v, high: v }, |r| Range { low: r.low.min(v), high: r.high.max(v) }))
    })
}

/// The highest value, and when.
pub(super) fn worst(data: &RunData, value: impl Fn(&SecondPoint) -> Option<f64>) -> Option<(f64, f64)> {
    let measured = data.seconds.iter().filter_map(|s| value(s).map(|v| (s.t_s, v)));
    measured.filter(|(_, v)| v.is_finite()).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// What was going on at a moment: `during kill-leader`, `in the warm-up`.
pub(super) fn occasion(data: &RunData, view: &View, t_s: f64) -> String {
    // A second that a fault begins in belongs to it.
    let overlaps = |from_s: f64, to_s: f64| t_s < to_s && t_s + 1.0 > from_s;
    let name = |number: usize| data.record.faults.get(number - 1).map_or("?", |f| f.name.as_str());
    if let Some(band) = view.bands.iter().rev().find(|b| overlaps(b.from_s, b.heal_s)) {
        return format!("during {}", name(band.number));
    }
    if let Some(band) = view.bands.iter().rev().find(|b| overlaps(b.heal_s, b.to_s)) {
        return format!("in the recovery from {}", name(band.number));
    }
    match view.load_end_s {
        _ if t_s < 0.0 => "in the warm-up".to_owned(),
        Some(end_s) if t_s >= end_s => "in the drain".to_owned(),
        _ => "under load".to_owned(),
    }
}

/// A sentence about a latency: calm and worst. `what` names it, e.g. `p99`.
pub(super) fn latency_sentence(
    data: &RunData,
    view: &View,
    what: &str,
    value: impl Fn(&SecondPoint) -> Option<f64> + Copy,
) -> String {
    let calm = calm(data, view, value).map(|range| {
        let (low, high) = (format::millis(range.low), format::millis(range.high));
        let range = if low == high { low } else { format!("between {low} and {high}") };
        format!("{what} per second {range} {}", calm_name(view))
    });
    let worst = worst(data, value).map(|(t_s, ms)| {
        format!("{} at worst, at {} ({})", format::millis(ms), format::moment(t_s), occasion(data, view, t_s))
    });
    match (calm, worst) {
        (Some(calm), Some(worst)) => format!("{calm}; {worst}."),
        (None, Some(worst)) => format!("{what} per second {worst}."),
        _ => format!("No {what} was measured."),
    }
}
