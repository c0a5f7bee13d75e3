//! Every trial: its rate, whether it held, what broke, and its numbers.

use maud::{Markup, html};

use super::super::format;
use super::super::table::{Column, numbers, table_of, words as text};
use crate::search::{Hold, SearchRecord, TrialRecord, words};

/// The section.
pub(super) fn section(record: &SearchRecord) -> Markup {
    let columns: Vec<Column<'_>> = vec![
        text("trial"),
        text("for"),
        numbers("rate"),
        text("held"),
        numbers("acked"),
        numbers("p50"),
        numbers("p99"),
        numbers("p99.9"),
        numbers("e2e p99"),
        numbers("lag, max"),
        numbers("client CPU"),
        text("what did not hold"),
    ];
    let rows: Vec<Vec<Markup>> = record.trials.iter().map(row).collect();
    html! {
        section id="trials" aria-labelledby="trials-h" {
            h2 id="trials-h" { "Trials" }
            @if record.trials.is_empty() {
                p { "No trial was begun." }
            } @else {
                p class="note" {
                    "In the order in which they were run. Over the load, without warm-up and drain. Latencies run from the intended time to the \
                     ack."
                }
                div class="points" { (table_of("Trials of the search", &columns, &rows)) }
            }
        }
    }
}

fn row(trial: &TrialRecord) -> Vec<Markup> {
    let figures = trial.figures.clone().unwrap_or_default();
    let ms = |value: Option<f64>| html! { (format::or_missing(value, format::millis)) };
    let link = format!("{}/report.html", format::percent_encoded(&trial.dir));
    let why = if trial.hold == Some(Hold::Held) { Vec::new() } else { trial.why() };
    vec![
        html! { a href=(link) aria-label=(format!("report of trial {}", trial.number)) { (trial.number) } },
        html! { (words::stage(trial)) },
        html! { (format::rate(trial.rate_per_s as f64)) },
        mark(trial),
        html! { (format::or_missing(figures.throughput, format::rate)) },
        ms(figures.p50_ms),
        ms(figures.p99_ms),
        ms(figures.p999_ms),
        ms(figures.e2e_p99_ms),
        html! { (format::or_missing(trial.lag_max.map(|lag| lag as f64), format::whole)) },
        html! { (format::or_missing(figures.cpu_ns_per_message, |ns| format!("{ns:.0}\u{a0}ns"))) },
        html! { @for text in why { div { (text) } } },
    ]
}

/// Whether a rate held, with its colour.
pub(super) fn mark(trial: &TrialRecord) -> Markup {
    let class = match trial.hold {
        Some(Hold::Held) => "mark ok",
        Some(Hold::Broke) => "mark bad",
        Some(Hold::Unknown) | None => "mark doubt",
    };
    let (sign, word) = words::hold(trial);
    html! { span class=(class) { (sign) " " (word) } }
}
