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
        @if !record.not_looked_for.is_empty() {
            p class="note" {
                "Not looked for, because what it takes was not shown or not read: " (record.not_looked_for.join(", ")) "."
            }
        }
        @if !record.not_read_again.is_empty() {
            p class="note" { "Not read a second time: " (record.not_read_again.join("; ")) "." }
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
        ("expired", counts.expired, "removed by retention or deletion before it was read"),
        (
            "compacted",
            counts.compacted,
            "may have been compacted away before it was read: a later record of its key was there",
        ),
        (
            "read again",
            counts.read_again,
            "offsets read a second time, around faults and leader changes, and compared",
        ),
    ];
    let wrongs = [
        ("lost", &["lost"][..], counts.lost, "acked, and not in the log"),
        ("unseen", &[], counts.unseen, "acked, and not read within the drain"),
        ("duplicates", &["duplicate", "duplicate-after-epoch-bump"], counts.duplicates, "in the log again"),
        (
            "reordered",
            &["reorder", "reorder-among-unacked"],
            counts.reordered,
            "behind a record of the same producer that was sent later",
        ),
        ("corrupt", &["corrupt"], counts.corrupt, "bytes changed"),
        ("misrouted", &["misrouted"], counts.misrouted, "intact, in a log it was not sent to"),
        ("phantom", &["phantom"], counts.phantom, "nobody sent it"),
        (
            "failed but present",
            &["failed-but-present"],
            counts.failed_but_present,
            "certainly rejected, in the log all the same",
        ),
        (
            "inconsistent offsets",
            &["inconsistent-offset"],
            counts.inconsistent_offsets,
            "at another offset than its ack said",
        ),
        (
            "skipped",
            &["position-skip"],
            counts.position_skips,
            "an offset that the log has and the reader was not given",
        ),
        (
            "stepped back",
            &["position-step-back"],
            counts.position_steps_back,
            "given a second time by the client that reads",
        ),
        (
            "resurrected keys",
            &["resurrected-key"],
            counts.resurrected_keys,
            "an older value is left of a compacted key, and its latest is gone",
        ),
        (
            "read disagreements",
            &["read-disagreement", "read-disagreement-excused"],
            counts.read_disagreements,
            "ranges of offsets that held something else when they were read again",
        ),
    ];
    let columns = [words("records"), numbers("count"), words("what it means")];
    let plain = |(name, n, meaning): (&str, u64, &str)| {
        vec![html! { (name) }, html! { (format::count(n)) }, html! { (meaning) }]
    };
    let wrong = |(name, classes, n, meaning): (&str, &[&str], u64, &str)| {
        vec![html! { (name) }, count_mark(record, classes, n), html! { (meaning) }]
    };
    let totals: Vec<Vec<Markup>> = totals.into_iter().map(plain).collect();
    let wrongs: Vec<Vec<Markup>> = wrongs.into_iter().map(wrong).collect();
    html! {
        div class="pair" {
            (table_of("What the checker counted: totals", &columns, &totals))
            (table_of("What the checker counted: anomalies", &columns, &wrongs))
        }
    }
}

/// A count of what should be none. `classes` are the classes of finding in it, which tell whether the guarantee allows all.
fn count_mark(record: &RunRecord, classes: &[&str], n: u64) -> Markup {
    let mut found = record.findings.iter().filter(|f| classes.contains(&f.class.as_str())).peekable();
    let is_allowed = found.peek().is_some() && found.all(|f| f.judgement == "expected");
    let (mark, sign) = match (n, is_allowed) {
        (0, _) => ("mark ok", "✓"),
        (_, true) => ("mark doubt", "allowed"),
        (_, false) => ("mark bad", "✗"),
    };
    html! { span class=(mark) { (sign) " " (format::count(n)) } }
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
