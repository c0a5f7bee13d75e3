//! What is expected of the rate, and of the trial that confirmed it.

use maud::{Markup, html};

use super::super::table::{numbers, table_of, words};
use super::super::{expectations, format};
use crate::evaluate::Outcome;
use crate::record::ExpectRecord;
use crate::search::SearchRecord;

/// Each expectation with what it is about.
fn all(record: &SearchRecord) -> Vec<(&ExpectRecord, String)> {
    let over_all = record.expect.iter().map(|expect| (expect, "the search".to_owned()));
    let findings = record.finding.iter().chain(record.headroom_finding());
    let confirmed = findings.filter_map(|finding| record.confirmation_of(finding)).flat_map(|trial| {
        let with = trial.down.map_or_else(String::new, |broker| format!(" with broker {broker} down"));
        let over = format!("trial {}, which confirmed{with}", trial.number);
        trial.expect.iter().map(move |expect| (expect, over.clone()))
    });
    over_all.chain(confirmed).collect()
}

/// Whether anything is expected besides what makes a rate sustainable.
pub(super) fn is_there(record: &SearchRecord) -> bool {
    !all(record).is_empty()
}

/// The section.
pub(super) fn section(record: &SearchRecord) -> Markup {
    let all = all(record);
    if all.is_empty() {
        return html! {};
    }
    let columns = [words("rule"), words("over"), numbers("observed"), numbers("limit"), words("held")];
    let rows: Vec<Vec<Markup>> = all.iter().map(|(expect, over)| row(expect, over)).collect();
    html! {
        section id="expectations" aria-labelledby="expectations-h" {
            h2 id="expectations-h" { "Expectations" }
            (table_of("Expectations", &columns, &rows))
        }
    }
}

fn row(expect: &ExpectRecord, over: &str) -> Vec<Markup> {
    let detail = &expect.detail;
    let show = |value: f64| expectations::show(value, detail.unit);
    let (class, mark) = match detail.outcome {
        Outcome::Held => ("mark ok", "✓ held"),
        Outcome::Broken => ("mark bad", "✗ broken"),
        Outcome::Unknown => ("mark doubt", "? unknown"),
    };
    vec![
        html! { (expect.rule) },
        html! { (over) },
        html! { (format::or_missing(expect.observed, show)) },
        html! { (show(detail.limit)) },
        html! {
            span class=(class) { (mark) }
            @if let Some(reason) = &detail.reason { div { (reason) } }
        },
    ]
}
