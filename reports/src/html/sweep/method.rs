//! How it was measured.

use maud::{Markup, html};

use super::super::format;
use crate::sweep::SweepRecord;
use crate::sweep::stats::RUNS_FOR_INTERVAL;

/// How it was measured.
pub(super) fn method(record: &SweepRecord) -> Markup {
    let warmups = match record.warmups.len() {
        0 => "There was none before the first run.".to_owned(),
        n => format!(
            "Before the first run on each cluster ({}), one load that counts for nothing: cold brokers would make the first \
             points look slow. Each run has a warm-up of its own besides.",
            format::plural(n as u64, "warm-up", "warm-ups")
        ),
    };
    let order = match record.order.as_str() {
        "shuffled" => {
            "Shuffled with the seed, anew for each repeat, points of one cluster together. Every point is run once before any is run \
             again, so that what drifts over hours is spread over all points."
        }
        _ => "As written. Every point is run once before any is run again.",
    };
    let values = format!(
        "Tables and heatmaps show medians. The run is the unit: its records share one minute and one cluster. From \
         {RUNS_FOR_INTERVAL} runs of a point on, line charts show 95 % confidence intervals by Student's t on logarithms, else the \
         lowest and the highest value."
    );
    let rows = [
        ("Order", order.to_owned()),
        ("Pause", format!("{} between two runs, after the topics of the first were deleted.", format::seconds(record.cooldown_s))),
        ("Warm-up", warmups),
        ("Values", values),
        (
            "Unknown",
            "A point is INCONCLUSIVE if one of its runs is, and has no result if one of its runs has none. Its numbers are shown and \
             marked; it is never the best, nor on the front."
                .to_owned(),
        ),
        (
            "Brokers",
            "Processors and growth of logs are those of the brokers' processes and of the topics' segments, from t = 0 to the end \
             of the load; local clusters only."
                .to_owned(),
        ),
    ];
    html! {
        section id="method" aria-labelledby="method-h" {
            h2 id="method-h" { "How it was measured" }
            dl class="method" { @for (name, text) in rows { dt { (name) } dd { (text) } } }
        }
    }
}
