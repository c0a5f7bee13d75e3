//! Correctness: what the checker counted, and what of it the guarantee forbids.

use maud::{Markup, html};

use crate::record::{FindingRecord, RunRecord, VerifyCounts};

use super::format;
use super::table::{numbers, table_of, words};

/// Examples per class of finding.
const EXAMPLES_MAX: usize = 8;

/// The section.
pub(super) fn section(record: &RunRecord) -> Markup {
    html! {
        section id="correctness" aria-labelledby="correctness-h" {
            h2 id="correctness-h" { "Correctness" }
            @match &record.verify {
                Some(counts) => (verified(record, counts)),
                None => p class="problem" {
                    strong { "NOT VERIFIED. " }
                    "Nothing on this page says whether records were lost, doubled, reordered or corrupted."
                },
            }
        }
    }
}

fn verified(record: &RunRecord, counts: &VerifyCounts) -> Markup {
    let judged = |judgement: &str| -> Vec<&FindingRecord> {
        record.findings.iter().filter(|f| f.judgement == judgement).collect()
    };
    html! {
        p {
            "Judged by the guarantee " strong { (record.guarantee.as_deref().unwrap_or("none")) } ", on "
            @if record.evidence == "complete" { "all evidence: no record was removed by retention before it was read." }
            @else { (record.evidence) " evidence: retention was on while the run went." }
        }
        (counts_table(record, counts))
        (findings("Violations", "Not allowed under this guarantee.", "bad", &judged("violation")))
        (findings("Expected", "Anomalies that this guarantee does not forbid.", "doubt", &judged("expected")))
        (findings("For the record", "Unknown outcomes that resolved either way.", "ok", &judged("not_a_finding")))
    }
}

fn counts_table(record: &RunRecord, counts: &VerifyCounts) -> Markup {
    let indeterminate = record.produce.indeterminate;
    let totals = [
        ("acked", counts.acked, "a broker confirmed the record"),
        ("checked", counts.checked, "read back from the logs, each offset once, bytes and place compared"),
        (
            "indeterminate",
            indeterminate,
            "unknown outcome, under load: may or may not be in the log, both are right",
        ),
        ("expired", counts.expired, "removed by retention, deletion or compaction before it was read"),
    ];
    let wrongs = [
        ("lost", counts.lost, "acked, and not in the log"),
        ("unseen", counts.unseen, "acked, and not read within the drain"),
        ("duplicates", counts.duplicates, "in the log again"),
        ("reordered", counts.reordered, "behind a record of the same producer that was sent later"),
        ("corrupt", counts.corrupt, "bytes changed"),
        ("misrouted", counts.misrouted, "intact, in a log it was not sent to"),
        ("phantom", counts.phantom, "nobody sent it"),
        ("failed but present", counts.failed_but_present, "certainly rejected, in the log all the same"),
        ("inconsistent offsets", counts.inconsistent_offsets, "at another offset than its ack said"),
    ];
    let columns = [words("records"), numbers("count"), words("what it means")];
    let plain = |(name, n, meaning): (&str, u64, &str)| {
        vec![html! { (name) }, html! { (format::count(n)) }, html! { (meaning) }]
    };
    let wrong = |(name, n, meaning): (&str, u64, &str)| {
        let class = if n == 0 { "mark ok" } else { "mark bad" };
        let sign = if n == 0 { "✓" } else { "✗" };
        vec![
            html! { (name) },
            html! { span class=(class) { span aria-hidden="true" { (sign) } " " (format::count(n)) } },
            html! { (meaning) },
        ]
    };
    let rows: Vec<Vec<Markup>> = totals.into_iter().map(plain).chain(wrongs.into_iter().map(wrong)).collect();
    table_of("What the checker counted", &columns, &rows)
}

fn findings(title: &str, meaning: &str, class: &str, found: &[&FindingRecord]) -> Markup {
    html! {
        @if !found.is_empty() {
            h3 { (title) " " span class="note" { (meaning) } }
            ul class="findings" {
                @for finding in found {
                    li {
                        span class=(format!("mark {class}")) { (format::count(finding.count)) " × " (finding.class) }
                        @if !finding.examples.is_empty() {
                            ul class="examples" {
                                @for example in finding.examples.iter().take(EXAMPLES_MAX) { li { (example) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
