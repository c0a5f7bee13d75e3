//! Who was the limit, over time.

use maud::{Markup, html};

use crate::record::SlipMs;
use crate::run_data::RunData;

use super::chart::{Scale, Series};
use super::figure::{Merge, TimeFigure, points};
use super::findings::{occasion, worst};
use super::format;
use super::palette::Ink;
use super::view::View;

/// Lateness that is not worth telling apart.
const FLOOR_MS: f64 = 1.0;

/// The chart; nothing if the load had no schedule to be late for.
pub(super) fn figure(data: &RunData, view: &View) -> Markup {
    if data.seconds.iter().all(|s| s.target.is_none()) {
        return html! {};
    }
    let series = |label, ink, of: fn(&SlipMs) -> f64| Series {
        label,
        ink,
        width_px: 3,
        is_filled: false,
        points: points(data, |s| Some(of(&s.slip_ms))),
    };
    TimeFigure {
        id: "slip",
        title: "Who was the limit: longest lateness of a record when it left",
        finding: finding(data, view),
        how_to_read: "a record that leaves after its intended time was held up by somebody: the broker gave no room \
                      (in-flight limit, no leader, throttling, full buffer), gauntlet itself was late, or the host did \
                      not run it. Latencies include all of it. Where gauntlet or host dominate, a broken expectation \
                      proves nothing about the brokers. Lateness under 1 ms is drawn at 1 ms.",
        scale: Scale::LogMillis { floor_ms: FLOOR_MS },
        series: vec![
            series("broker", Ink::Blue, |s| s.broker),
            series("gauntlet", Ink::Vermilion, |s| s.gauntlet),
            series("host", Ink::Purple, |s| s.host),
        ],
        merge: Merge::Highest,
        show: format::millis,
    }
    .render(view)
}

fn finding(data: &RunData, view: &View) -> String {
    let part = |who: &str, of: fn(&SlipMs) -> f64| {
        let (t_s, ms) = worst(data, |s| Some(of(&s.slip_ms)))?;
        let when = format!("{} ({})", format::moment(t_s), occasion(data, view, t_s));
        Some(if ms <= FLOOR_MS {
            format!("{who} never by more than 1\u{a0}ms")
        } else {
            format!("{who} by up to {}, at {when}", format::millis(ms))
        })
    };
    let parts =
        [part("the broker", |s| s.broker), part("gauntlet", |s| s.gauntlet), part("the host", |s| s.host)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("Records were held up: {}.", parts.join("; "))
}
