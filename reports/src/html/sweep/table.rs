//! Every point with its numbers, and every run that did not pass with its reasons.

use maud::{Markup, html};

use super::super::format;
use super::super::table::{Column, numbers, table_of, words};
use super::{Layout, cells};
use crate::sweep::csv::csv;
use crate::sweep::figures::{COLUMNS, Figure};
use crate::sweep::points::{Mark, PointView};
use crate::sweep::{SlotRecord, SlotState, SweepRecord, text_of};
use crate::verdict::Verdict;

/// Runs whose reasons are shown; the rest is counted.
const RUNS_MAX: usize = 40;

/// The section.
pub(super) fn section(layout: &Layout<'_>) -> Markup {
    let record = &layout.data.record;
    let shown: Vec<Figure> = COLUMNS
        .into_iter()
        .filter(|figure| layout.views.iter().any(|v| v.summary(figure).is_some()))
        .collect();
    let mut columns: Vec<Column<'_>> = vec![words("point")];
    columns.extend(record.axes.iter().map(|axis| words(axis)));
    columns.extend([words("verdict"), words("runs")]);
    columns.extend(shown.iter().map(|figure| numbers(figure.short)));
    let rows: Vec<Vec<Markup>> = layout.views.iter().map(|view| row(view, &record.axes, &shown)).collect();
    html! {
        section id="points" aria-labelledby="points-h" {
            h2 id="points-h" { "Points" }
            p class="note" {
                @if record.repeats > 1 { "The median of a point's runs; below it, the lowest and the highest. " }
                "Over the load, without warm-up and drain. Latencies run from the intended time to the ack."
            }
            div class="points" { (table_of("Points of the sweep", &columns, &rows)) }
            @if layout.views.iter().any(PointView::is_ours) {
                p class="note" {
                    "† In a run of this point, over 1 % of the records were late mostly because of gauntlet or the host: its "
                    "latencies are not the brokers' alone."
                }
            }
            p { a href=(data_uri(record)) download="sweep.csv" { "sweep.csv" } ": a line per run, with these numbers and more." }
        }
    }
}

fn row(view: &PointView<'_>, axes: &[String], shown: &[Figure]) -> Vec<Markup> {
    let mut cells = vec![html! { (view.record.id) (cells::doubt(view)) }];
    let value = |axis| view.record.parameters.get(axis).map_or_else(|| "–".to_owned(), text_of);
    cells.extend(axes.iter().map(|axis| html! { (value(axis)) }));
    cells.push(cells::mark(view.mark));
    cells.push(html! { @for run in &view.runs { span class="run" { (link(run)) } " " } });
    cells.extend(shown.iter().map(|figure| cells::value(view.summary(figure), figure.unit)));
    cells
}

/// A run's number, verdict, and the way to its own report.
fn link(run: &SlotRecord) -> Markup {
    let name = format!("r{}", run.repeat);
    let Some(dir) = &run.dir else { return html! { (name) " not run" } };
    let (sign, word) = match (run.state, run.verdict) {
        (SlotState::Done, Some(Verdict::Pass)) => (Mark::Pass.sign(), "PASS"),
        (SlotState::Done, Some(Verdict::Inconclusive)) => (Mark::Inconclusive.sign(), "INCONCLUSIVE"),
        (SlotState::Done, Some(Verdict::Fail)) => (Mark::Fail.sign(), "FAIL"),
        (SlotState::Done, Some(Verdict::Violation)) => (Mark::Violation.sign(), "VIOLATION"),
        (SlotState::Running, _) => (Mark::NoResult.sign(), "did not finish"),
        _ => (Mark::NoResult.sign(), "aborted"),
    };
    let told = format!("report of run {}: {word}", run.repeat);
    html! { a href=(format!("{}/report.html", format::percent_encoded(dir))) aria-label=(told) title=(word) { (name) } " " (sign) }
}

/// Whether there is a run to say something of.
pub(super) fn has_reasons(record: &SweepRecord) -> bool {
    with_reasons(record).next().is_some()
}

fn with_reasons(record: &SweepRecord) -> impl Iterator<Item = &SlotRecord> {
    record.runs.iter().filter(|run| !run.reasons.is_empty() || run.state != SlotState::Done)
}

/// Why runs did not pass, or were not run.
pub(super) fn reasons(record: &SweepRecord) -> Markup {
    let all: Vec<&SlotRecord> = with_reasons(record).collect();
    if all.is_empty() {
        return html! {};
    }
    let rows: Vec<Vec<Markup>> = all.iter().take(RUNS_MAX).map(|run| reason_row(record, run)).collect();
    let left = all.len().saturating_sub(RUNS_MAX);
    html! {
        section id="reasons" aria-labelledby="reasons-h" {
            h2 id="reasons-h" { "Runs that did not pass" }
            (table_of("Runs that did not pass", &[words("run"), words("point"), words("exit code"), words("why")], &rows))
            @if left > 0 { p class="note" { (left) " more are in sweep.json." } }
        }
    }
}

fn reason_row(record: &SweepRecord, run: &SlotRecord) -> Vec<Markup> {
    let label = record.point(&run.point).map(|point| record.label(point)).unwrap_or_default();
    let code = run.exit_code.map_or_else(|| format::MISSING.to_owned(), |code| code.to_string());
    let texts: Vec<&str> = match (run.state, run.reasons.is_empty()) {
        (SlotState::NotRun, true) => vec!["not run"],
        (SlotState::Running, true) => vec!["it is still going on, or the process died in it"],
        _ => run.reasons.iter().map(|reason| reason.text.as_str()).collect(),
    };
    vec![
        html! { (run.point) " run " (run.repeat) },
        html! { (label) },
        html! { (code) },
        html! { @for text in texts { div { (text) } } },
    ]
}

fn data_uri(record: &SweepRecord) -> String {
    format!("data:text/csv;charset=utf-8,{}", format::percent_encoded(&csv(record)))
}
