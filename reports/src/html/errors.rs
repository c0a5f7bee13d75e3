//! Answers with an error, and what was done about them.

use maud::{Markup, html};

use crate::record::RunRecord;
use crate::run_data::RunData;

use super::format;
use super::table::{numbers, table, words};

/// The section.
pub(super) fn section(data: &RunData) -> Markup {
    html! {
        section id="errors" aria-labelledby="errors-h" {
            h2 id="errors-h" { "Errors and retries" }
            // The counts by code come with the windows, at the end of a run.
            @if data.record.windows.is_empty() { (so_far(data)) } @else { (by_code(&data.record)) }
        }
    }
}

fn so_far(data: &RunData) -> Markup {
    let answers: u64 = data.seconds.iter().map(|s| s.errors).sum();
    html! {
        p {
            "Until the run ended, brokers had given " (format::plural(answers, "answer", "answers")) " with an error code. "
            "Codes and retries were not yet counted."
        }
    }
}

fn by_code(record: &RunRecord) -> Markup {
    let mut errors: Vec<(&String, u64)> = record.errors.iter().map(|(name, n)| (name, *n)).collect();
    errors.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let rows: Vec<Vec<String>> =
        errors.into_iter().map(|(name, n)| vec![name.clone(), format::count(n)]).collect();
    html! {
        @if rows.is_empty() { p { "No broker answered with an error." } }
        @else { (table("Errors by code", &[words("error code of Kafka"), numbers("answers")], &rows)) }
        p {
            (format::plural(record.retries, "batch was", "batches were")) " sent again. The longest throttle time that a "
            "broker asked for was " (format::millis(f64::from(record.throttle_ms_max))) "."
        }
        p class="note" {
            "Counted over the whole run, warm-up and drain included. A retriable error is no failure of a record."
        }
    }
}
