//! Throughput over time.

use maud::Markup;

use crate::run_data::{RunData, SecondPoint};

use super::chart::{Scale, Series};
use super::figure::{Merge, TimeFigure, points};
use super::findings::{calm, calm_name, occasion, worst};
use super::format;
use super::palette::Ink;
use super::view::View;

/// The chart.
pub(super) fn figure(data: &RunData, view: &View) -> Markup {
    let has_target = data.seconds.iter().any(|s| s.target.is_some());
    let mut series = vec![
        Series { is_filled: true, ..line("acked", Ink::Green, 3, data, |s| Some(s.acked)) },
        line("sent", Ink::Blue, 3, data, |s| Some(s.sent)),
        line("read", Ink::Purple, 4, data, |s| Some(s.read)),
    ];
    if has_target {
        series.insert(1, line("target", Ink::Target, 4, data, |s| s.target));
    }
    TimeFigure {
        id: "throughput",
        title: "Throughput, records per second",
        finding: finding(data, view),
        how_to_read: if has_target {
            "target is what the schedule wanted in each second; nothing is ever sent before its time. Sent below \
             target: records wait here (the chart of slip says because of whom). Acked below sent: the brokers owe \
             answers. A peak above target is a backlog being worked off."
        } else {
            "the load had no schedule: producers sent as fast as they could. Acked below sent: the brokers owe answers."
        },
        scale: Scale::Linear,
        series,
        merge: Merge::Mean,
        show: format::whole,
    }
    .render(view)
}

fn line(
    label: &'static str,
    ink: Ink,
    width_px: u32,
    data: &RunData,
    value: impl Fn(&SecondPoint) -> Option<u64>,
) -> Series {
    let points = points(data, |s| value(s).map(|n| n as f64));
    Series { label, ink, width_px, is_filled: false, points }
}

fn finding(data: &RunData, view: &View) -> String {
    if data.seconds.iter().all(|s| s.acked == 0) {
        let sent: u64 = data.seconds.iter().map(|s| s.sent).sum();
        return format!("Nothing was acked; {} were sent.", format::plural(sent, "record", "records"));
    }
    let acked = |s: &SecondPoint| Some(s.acked as f64);
    let calm = calm(data, view, acked).map(|range| {
        let (low, high) = (format::rate(range.low), format::rate(range.high));
        if low == high {
            return format!("Acked {low} in every second {}. ", calm_name(view));
        }
        format!("Acked between {low} and {high} {}. ", calm_name(view))
    });
    let idle = idle_stretch(data, view).map(|(from_s, length)| {
        let during = occasion(data, view, from_s);
        let seconds = format::plural(length, "second", "seconds");
        format!("Nothing was acked for {seconds} from {} on ({during}). ", format::moment(from_s))
    });
    let peak = worst(data, acked)
        .map(|(t_s, peak)| format!("At most {} were acked, at {}.", format::rate(peak), format::moment(t_s)));
    [calm, idle, peak].into_iter().flatten().collect()
}

/// The longest run of whole seconds under load without an ack: its begin, and its length in seconds.
fn idle_stretch(data: &RunData, view: &View) -> Option<(f64, u64)> {
    let end_s = view.load_end_s.unwrap_or(view.to_s);
    let mut longest: Option<(f64, u64)> = None;
    let mut current: Option<(f64, u64)> = None;
    for second in data.seconds.iter().filter(|s| s.t_s >= 0.0 && s.t_s < end_s) {
        current = match (second.acked, current) {
            (0, None) => Some((second.t_s, 1)),
            (0, Some((from_s, length))) => Some((from_s, length + 1)),
            _ => None,
        };
        if current.map_or(0, |(_, n)| n) > longest.map_or(0, |(_, n)| n) {
            longest = current;
        }
    }
    longest
}
