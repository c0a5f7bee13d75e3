//! Latency over time, from the intended time to the ack.

use maud::{Markup, html};

use crate::record::LatencyMs;
use crate::run_data::{RunData, SecondPoint};

use super::chart::{Scale, Series};
use super::figure::{Merge, TimeFigure, points};
use super::findings::latency_sentence;
use super::format;
use super::palette::Ink;
use super::view::View;

/// Nothing goes to a broker and back in less than the floor.
pub(super) const LATENCY_SCALE: Scale = Scale::LogMillis { floor_ms: 0.01 };

/// The chart; nothing if no record was acked.
pub(super) fn figure(data: &RunData, view: &View) -> Markup {
    if data.seconds.iter().all(|s| s.latency_ms.max.is_none()) {
        return html! {};
    }
    TimeFigure {
        id: "latency",
        title: "Latency, intended time to ack",
        finding: latency_sentence(data, view, "p99", |s| s.latency_ms.p99),
        how_to_read: "each point is about the records that were intended in that second, however late they went out or \
                      were acked: a stall raises the seconds before its end, highest where it began. Records that \
                      failed or timed out count at their age. The scale is logarithmic.",
        scale: LATENCY_SCALE,
        series: percentiles(data, |s| s.latency_ms),
        merge: Merge::Highest,
        show: format::millis,
    }
    .render(view)
}

/// The four lines of a distribution over time.
pub(super) fn percentiles(data: &RunData, of: impl Fn(&SecondPoint) -> LatencyMs + Copy) -> Vec<Series> {
    vec![
        Series {
            label: "max",
            ink: Ink::Target,
            width_px: 2,
            is_filled: false,
            points: points(data, |s| of(s).max),
        },
        Series {
            label: "p99.9",
            ink: Ink::Purple,
            width_px: 3,
            is_filled: false,
            points: points(data, |s| of(s).p999),
        },
        Series {
            label: "p99",
            ink: Ink::Vermilion,
            width_px: 4,
            is_filled: false,
            points: points(data, |s| of(s).p99),
        },
        Series {
            label: "p50",
            ink: Ink::Blue,
            width_px: 3,
            is_filled: false,
            points: points(data, |s| of(s).p50),
        },
    ]
}
