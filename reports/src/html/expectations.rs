//! Expectations: what was asked, what was seen, and how far apart they are.

use maud::{Markup, html};

use crate::expect::Severity;
use crate::metric::Unit;
use crate::record::{ExpectRecord, RunRecord};

use super::format;
use super::table::{numbers, table_of, words};

/// The table, failures first.
pub(super) fn section(record: &RunRecord) -> Markup {
    let mut expectations: Vec<&ExpectRecord> = record.expect.iter().collect();
    expectations.sort_by_key(|e| rank(e));
    let columns = [
        words("result"),
        words("expectation"),
        words("window"),
        numbers("observed"),
        numbers("limit"),
        words("margin"),
    ];
    let rows: Vec<Vec<Markup>> = expectations.into_iter().map(row).collect();
    html! {
        section id="expectations" aria-labelledby="expectations-h" {
            h2 id="expectations-h" { "Expectations" }
            @if rows.is_empty() {
                p { "None was judged: the run ended before." }
            } @else {
                (table_of("Expectations, failures first", &columns, &rows))
                p class="note" {
                    "unknown: it is broken, but gauntlet or its host may be what broke it, or it could not be measured. "
                    "warn and info never change the verdict. built-in expectations hold for every run."
                }
            }
        }
    }
}

/// What decides the verdict comes first.
fn rank(expect: &ExpectRecord) -> u8 {
    match (expect.ok, expect.detail.severity) {
        (Some(false), Severity::Fail) => 0,
        (None, Severity::Fail) => 1,
        (Some(false), _) => 2,
        (None, _) => 3,
        (Some(true), Severity::Fail) => 4,
        (Some(true), _) => 5,
    }
}

fn row(expect: &ExpectRecord) -> Vec<Markup> {
    let judged = &expect.detail;
    let (class, sign, word) = match (expect.ok, judged.severity) {
        (Some(true), _) => ("ok", "✓", "held"),
        (Some(false), Severity::Fail) => ("bad", "✗", "broken"),
        (Some(false), Severity::Warn) => ("doubt", "!", "broken (warn)"),
        (Some(false), Severity::Info) => ("doubt", "!", "broken (info)"),
        (None, _) => ("doubt", "?", "unknown"),
    };
    let note = match (judged.builtin, judged.severity) {
        (true, _) => Some("built-in"),
        (false, Severity::Warn) => Some("warn"),
        (false, Severity::Info) => Some("info"),
        (false, Severity::Fail) => None,
    };
    let observed = match (expect.observed, expect.ok) {
        (Some(value), _) => show(value, judged.unit),
        (None, Some(false)) => "never".to_owned(),
        (None, _) => "unknown".to_owned(),
    };
    vec![
        html! { span class=(format!("mark {class}")) { span aria-hidden="true" { (sign) } " " (word) } },
        html! {
            @match figure_of(&expect.rule) {
                Some(anchor) => a class="rule" href=(anchor) { (expect.rule) },
                None => span class="rule" { (expect.rule) },
            }
            @if let Some(note) = note { " " span class="tag" { (note) } }
            @if let Some(reason) = &judged.reason { div class="reason" { (reason) } }
        },
        html! { (judged.during) },
        html! { (observed) },
        html! { (show(judged.limit, judged.unit)) },
        html! { (margin(expect)) },
    ]
}

/// Where on the page a metric is shown over time or in full.
fn figure_of(rule: &str) -> Option<&'static str> {
    let prefixes = [
        ("verify.", "#correctness"),
        ("produce.latency", "#latency"),
        ("produce.service_time", "#windows"),
        ("produce.throughput", "#throughput"),
        ("produce.", "#windows"),
        ("consume.", "#throughput"),
        ("consumer.lag", "#lag"),
        ("e2e.", "#e2e"),
        ("recovery.", "#recovery"),
        ("unavailable.", "#recovery"),
        ("load.slip", "#slip"),
        ("load.", "#windows"),
        ("cluster.", "#timeline"),
        ("client.", "#windows"),
        ("host.", "#windows"),
    ];
    prefixes.into_iter().find(|(prefix, _)| rule.starts_with(prefix)).map(|(_, anchor)| anchor)
}

/// A value in the unit of its metric.
pub(super) fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count => format::whole(value),
        Unit::PerSecond => format::rate(value),
        Unit::BytesPerSecond => format!("{}/s", format::bytes(value.max(0.0) as u64)),
        Unit::Milliseconds => format::millis(value),
        Unit::Seconds => format::seconds(value),
        Unit::Nanoseconds => format!("{value:.0}\u{a0}ns"),
        Unit::Ratio => format::percent(value),
        Unit::Mebibytes => format!("{value:.0}\u{a0}MiB"),
    }
}

fn margin(expect: &ExpectRecord) -> String {
    let limit = expect.detail.limit;
    let Some(observed) = expect.observed else { return format::MISSING.to_owned() };
    let distance = (observed - limit).abs();
    if distance == 0.0 {
        return if limit == 0.0 { format::MISSING.to_owned() } else { "exactly".to_owned() };
    }
    // Between shares, a difference in percent would be ambiguous.
    let distance = match expect.detail.unit {
        Unit::Ratio => format!("{:.3} points", distance * 100.0),
        unit => show(distance, unit),
    };
    match expect.ok {
        Some(true) => format!("{distance} to spare"),
        _ if observed > limit => format!("{distance} over"),
        _ => format!("{distance} short"),
    }
}

#[cfg(test)]
mod tests {
    use crate::metric::{METRICS, Needs};

    use super::*;

    /// Every metric that an expectation over a run can name is shown somewhere. Those over a search have a page of their own.
    #[test]
    fn every_metric_leads_to_its_figure() {
        for metric in METRICS.iter().filter(|m| !matches!(m.needs, Needs::Search | Needs::Headroom)) {
            assert!(figure_of(metric.name).is_some(), "{}", metric.name);
        }
    }
}
