//! The verdict of a sweep, and why.

use maud::{Markup, html};

use super::super::banner::{Face, face};
use super::super::format;
use super::Layout;
use crate::sweep::figures::{P99, THROUGHPUT};
use crate::sweep::points::{Mark, best};
use crate::sweep::{SlotState, SweepRecord};

/// Reasons that are shown; the rest is counted.
const REASONS_MAX: usize = 8;

/// What a sweep came to, in one word.
pub(super) fn word(record: &SweepRecord) -> &'static str {
    face(record.verdict, record.state).word
}

/// The banner.
pub(super) fn banner(layout: &Layout<'_>) -> Markup {
    let record = &layout.data.record;
    let Face { class, sign, word } = face(record.verdict, record.state);
    let reasons: Vec<&str> =
        record.reasons.iter().filter(|r| r.exit.code() != 0).map(|r| r.text.as_str()).collect();
    html! {
        header class=(format!("banner {class}")) id="top" {
            div class="verdict" {
                span class="sign" aria-hidden="true" { (sign) }
                div {
                    p class="name" { (record.name) }
                    h1 { (word) }
                }
            }
            p class="sentence" { (sentence(layout)) }
            @if !reasons.is_empty() {
                ul class="reasons" {
                    @for reason in reasons.iter().take(REASONS_MAX) { li { (reason) } }
                    @if reasons.len() > REASONS_MAX { li { (reasons.len() - REASONS_MAX) " more reasons" } }
                }
            }
            (facts(record))
        }
    }
}

/// How many points passed, and the best of them.
fn sentence(layout: &Layout<'_>) -> String {
    let of = |mark: Mark| layout.views.iter().filter(|view| view.mark == mark).count();
    let counts = [Mark::Pass, Mark::Fail, Mark::Violation, Mark::Inconclusive, Mark::NoResult]
        .into_iter()
        .filter(|mark| of(*mark) > 0)
        .map(|mark| format!("{} {}", of(mark), mark.word()));
    let counts: Vec<String> = counts.collect();
    let points = format::plural(layout.views.len() as u64, "point", "points");
    let told = |figure, name: &str| {
        let view = best(&layout.views, figure)?;
        let value = format::quantity(view.summary(figure)?.median, figure.unit);
        Some(format!("{name}: {value} at {}", view.label))
    };
    let bests: Vec<String> =
        [told(&P99, "lowest p99"), told(&THROUGHPUT, "highest throughput")].into_iter().flatten().collect();
    match bests.is_empty() {
        true => format!("{points}: {}.", counts.join(", ")),
        false => format!("{points}: {}. Among those that passed, {}.", counts.join(", "), bests.join("; ")),
    }
}

fn facts(record: &SweepRecord) -> Markup {
    let exit = record.exit_code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    let done = record.runs.iter().filter(|run| run.state == SlotState::Done).count();
    let only = (!record.only.is_empty()).then(|| record.only.join(", "));
    let facts = [
        ("sweep", Some(record.sweep_id.clone())),
        ("started", Some(record.started_at.clone())),
        ("took", (record.wall_s > 0.0).then(|| format::seconds(record.wall_s))),
        ("runs with a result", Some(format!("{done} of {}", record.runs.len()))),
        ("runs per point", Some(record.repeats.to_string())),
        ("order", Some(record.order.clone())),
        ("only", only),
        ("seed", Some(record.seed.to_string())),
        ("exit code", Some(exit)),
    ];
    html! {
        @if let Some(description) = &record.description { p class="note" { (description) } }
        dl class="facts" {
            @for (name, value) in facts {
                @if let Some(value) = value { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}
