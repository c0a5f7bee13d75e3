//! Lag of the readers over time.

use maud::{Markup, html};

use crate::run_data::RunData;

use super::chart::{Scale, Series};
use super::figure::{Merge, TimeFigure, points};
use super::findings::{occasion, worst};
use super::format;
use super::palette::Ink;
use super::view::View;

/// The chart; nothing if nobody read.
pub(super) fn figure(data: &RunData, view: &View) -> Markup {
    if data.seconds.iter().all(|s| s.read == 0 && s.lag == 0) {
        return html! {};
    }
    TimeFigure {
        id: "lag",
        title: "Lag of the readers, records",
        finding: finding(data, view),
        how_to_read: "records between the readers and the high watermarks at the end of each second. It must come back \
                      to its level after a fault, and to zero in the drain; what is acked and never read is unseen, \
                      and breaks the run.",
        scale: Scale::Linear,
        series: vec![Series {
            label: "lag",
            ink: Ink::Green,
            width_px: 3,
            is_filled: true,
            points: points(data, |s| Some(s.lag as f64)),
        }],
        merge: Merge::Highest,
        show: format::whole,
    }
    .render(view)
}

fn finding(data: &RunData, view: &View) -> String {
    let Some((t_s, highest)) = worst(data, |s| Some(s.lag as f64)) else {
        return "No lag was measured.".to_owned();
    };
    let last = data.seconds.last().map_or(0, |s| s.lag);
    let when = format!("{} ({})", format::moment(t_s), occasion(data, view, t_s));
    let records = |n: f64| format!("{} records", format::whole(n));
    format!("At most {}, at {when}; {} at the end.", records(highest), records(last as f64))
}
