//! How it was measured, and what it does not prove.

use maud::{Markup, html};

use crate::record::RunRecord;

/// The section.
pub(super) fn section(record: &RunRecord) -> Markup {
    html! {
        section id="method" aria-labelledby="method-h" {
            h2 id="method-h" { "How it was measured" }
            dl class="method" { (load(record)) (latency()) (judging(record)) }
        }
    }
}

fn load(record: &RunRecord) -> Markup {
    html! {
        dt { "Open model" }
        dd {
            @if record.load.target_rate.is_some() {
                "The schedule decides when each record is due, not the answers to those before it. Nothing is sent before its "
                "time; while the brokers stall, records keep their times and wait."
            } @else {
                "If the load had a schedule, it decided when each record was due. Without one, a record is due when it can be "
                "sent: latencies then say nothing about a load that does not wait."
            }
        }
        dt { "Warm-up and drain" }
        dd {
            "t = 0 is the end of the warm-up. What was intended in the warm-up or sent in the drain is in no window, but it is "
            "checked like everything else. A backlog of the warm-up is still in the first seconds of the load."
        }
        dt { "Windows" }
        dd {
            "A record belongs to the windows that hold its intended time, wherever its ack falls; the table of windows says "
            "from when to when they go."
        }
    }
}

fn latency() -> Markup {
    html! {
        dt { "Latency" }
        dd {
            "From the intended time to the ack: waiting in gauntlet is inside. Service time, from the first byte written to "
            "the ack, stands beside it. End-to-end ends when a reader has decoded the record."
        }
        dt { "Censored samples" }
        dd {
            "A record that failed, or whose outcome is unknown, counts in the latency at its age when it was given up: the "
            "true value is at least that."
        }
        dt { "Precision" }
        dd {
            "Histograms keep 3 significant digits (HdrHistogram); a percentile is within 0.1 % of a value that occurred. "
            "Percentiles are computed from all records, never from percentiles."
        }
        dt { "Who was the limit" }
        dd {
            "Lateness is charged while it happens: to the host while a thread was ready to run but did not, else to gauntlet "
            "if nothing else kept it from sending, else to the broker. A record is ours if gauntlet and host make up over 5 ms "
            "and over 10 % of its latency. If over 1 % of a window's records are ours, a broken latency or rate "
            "expectation there is unknown, not broken; one that holds, holds."
        }
    }
}

fn judging(record: &RunRecord) -> Markup {
    html! {
        dt { "Verdict" }
        dd {
            "Any violation of the guarantee: VIOLATION. Else any broken expectation: FAIL. Else anything unknown: "
            "INCONCLUSIVE. Else PASS."
        }
        dt { "What it does not prove" }
        dd {
            "It holds for this run: these versions, settings, load, faults and timing. A clean check says that nothing went "
            "wrong here, not that nothing can. "
            @if record.environment.cores > 0 && record.environment.cores <= 4 {
                "On " (record.environment.cores) " processors, brokers on the same host share them with gauntlet: such numbers "
                "are a lower bound. "
            }
            @if record.evidence != "complete" {
                "Retention was on: what it removed before it was read is counted as expired and leaves loss unknown."
            }
        }
    }
}
