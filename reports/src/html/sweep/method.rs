//! Where it ran, how it was measured, and how to do it again.

use maud::{Markup, html};

use super::super::format;
use super::super::table::{scroll_box, table, words};
use crate::sweep::stats::RUNS_FOR_INTERVAL;
use crate::sweep::{SweepData, SweepRecord};

/// What it ran on; nothing if no run says it.
pub(super) fn environment(data: &SweepData) -> Markup {
    let Some(environment) = &data.environment else { return html! {} };
    let rows = [
        ("gauntlet", data.record.gauntlet.clone()),
        ("Kafka", environment.kafka.clone().unwrap_or_else(|| "unknown version".to_owned())),
        ("host", environment.host.clone()),
        ("processors", environment.cores.to_string()),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    html! {
        section id="environment" aria-labelledby="environment-h" {
            h2 id="environment-h" { "Environment" }
            p class="note" {
                "Of the first run with a directory. What differs from run to run, all settings included, is in the reports of the runs."
            }
            (table("What it ran on", &[words("what"), words("which")], &rows))
        }
    }
}

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

/// The command, and the scenario.
pub(super) fn reproduce(data: &SweepData) -> Markup {
    html! {
        section id="reproduce" aria-labelledby="reproduce-h" {
            h2 id="reproduce-h" { "Do it again" }
            (scroll_box("Command", html! { pre { code { (data.reproduce) } } }))
            @if !data.scenario.is_empty() {
                details open {
                    summary { "The scenario as it was swept" }
                    (scroll_box("Scenario, YAML", html! { pre class="yaml" { code { (data.scenario) } } }))
                }
            }
            p class="note" { "Every run has a directory beside this page, with its own report, scenario and raw data." }
        }
    }
}
