//! The verdict of a sweep, and why.

use maud::Markup;

use super::super::banner::face;
use super::super::document::{self, Banner};
use super::super::format;
use super::Layout;
use crate::sweep::figures::{P99, THROUGHPUT};
use crate::sweep::points::{Mark, best};
use crate::sweep::{SlotState, SweepRecord};

/// What a sweep came to, in one word.
pub(super) fn word(record: &SweepRecord) -> &'static str {
    face(record.verdict, record.state).word
}

/// The banner.
pub(super) fn banner(layout: &Layout<'_>) -> Markup {
    let record = &layout.data.record;
    document::banner(&Banner {
        face: face(record.verdict, record.state),
        name: &record.name,
        stamp: None,
        sentence: sentence(layout),
        reasons: &record.reasons,
        description: record.description.as_deref(),
        facts: &facts(record),
    })
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

fn facts(record: &SweepRecord) -> [(&'static str, Option<String>); 9] {
    let exit = record.exit_code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    let done = record.runs.iter().filter(|run| run.state == SlotState::Done).count();
    let only = (!record.only.is_empty()).then(|| record.only.join(", "));
    [
        ("sweep", Some(record.sweep_id.clone())),
        ("started", Some(record.started_at.clone())),
        ("took", (record.wall_s > 0.0).then(|| format::seconds(record.wall_s))),
        ("runs with a result", Some(format!("{done} of {}", record.runs.len()))),
        ("runs per point", Some(record.repeats.to_string())),
        ("order", Some(record.order.clone())),
        ("only", only),
        ("seed", Some(record.seed.to_string())),
        ("exit code", Some(exit)),
    ]
}
