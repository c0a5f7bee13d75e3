//! End-to-end latency over time, from the intended time to the record decoded in a reader.

use maud::{Markup, html};

use crate::run_data::RunData;

use super::figure::{Merge, TimeFigure};
use super::findings::latency_sentence;
use super::format;
use super::latency::{LATENCY_SCALE, percentiles};
use super::view::View;

/// The chart; nothing if no reader ran during the load.
pub(super) fn figure(data: &RunData, view: &View) -> Markup {
    if data.seconds.iter().all(|s| s.e2e_ms.max.is_none()) {
        return html! {};
    }
    TimeFigure {
        id: "e2e",
        title: "End-to-end latency, intended time to decoded",
        finding: latency_sentence(data, view, "p99", |s| s.e2e_ms.p99),
        how_to_read: "as above, until a reader has decoded the record. It can't be below the latency to the ack by much: \
                      with acks=all a record is readable once all in-sync replicas have it. The gap between the two is \
                      fetching.",
        scale: LATENCY_SCALE,
        series: percentiles(data, |s| s.e2e_ms),
        merge: Merge::Highest,
        show: format::millis,
    }
    .render(view)
}
