//! Every window of the run in one table.

use maud::{Markup, html};

use crate::record::{RunRecord, WindowRecord};

use super::format;
use super::table::{numbers, table, words};

/// The section; nothing for a run that ended before its windows were computed.
pub(super) fn section(record: &RunRecord) -> Markup {
    let rows: Vec<Vec<String>> =
        in_order(record).into_iter().map(|(name, window)| row(name, window)).collect();
    if rows.is_empty() {
        return html! {};
    }
    let columns = [
        words("window"),
        numbers("from – to"),
        numbers("acked"),
        numbers("achieved"),
        numbers("p50"),
        numbers("p99"),
        numbers("p99.9"),
        numbers("max"),
        numbers("service p99"),
        numbers("e2e p99"),
        numbers("failed"),
        numbers("indeterm."),
        numbers("ours"),
        numbers("CPU/record"),
        numbers("host busy"),
        numbers("stolen"),
    ];
    html! {
        section id="windows" aria-labelledby="windows-h" {
            h2 id="windows-h" { "Windows" }
            (table("Windows of the run", &columns, &rows))
            p class="note" {
                "A record belongs to the windows that hold its intended time. "
                strong { "all" } ": load without warm-up and drain. " strong { "before" } ": until the first fault. "
                strong { "fault" } ": injection to heal action. " strong { "recovery" } ": heal action until ISR full, lag "
                "back at its level before, and p99 under twice that of before for 5 s. "
                strong { "steady" } ": in neither. " strong { "service" } ": first byte written to ack. "
                strong { "ours" } ": records late mostly because of gauntlet or its host. "
                strong { "stolen" } ": CPU time of that host which its hypervisor gave to others."
            }
        }
    }
}

/// `all`, `before`, `steady`, then each fault with its recovery, in the order of the scenario; then what else there is.
fn in_order(record: &RunRecord) -> Vec<(&str, &WindowRecord)> {
    let mut names: Vec<String> = ["all", "before", "steady"].map(str::to_owned).to_vec();
    for fault in &record.faults {
        names.extend([format!("fault:{}", fault.name), format!("recovery:{}", fault.name)]);
    }
    let known = names.iter().filter_map(|name| record.windows.get_key_value(name));
    let others = record.windows.iter().filter(|(name, _)| !names.contains(name));
    known.chain(others).map(|(name, window)| (name.as_str(), window)).collect()
}

fn row(name: &str, window: &WindowRecord) -> Vec<String> {
    let ms = |value| format::or_missing(value, format::millis);
    let produce = &window.produce;
    vec![
        name.to_owned(),
        span(window.from_s, window.to_s),
        format::rate(produce.throughput),
        format::or_missing(window.load.achieved_ratio, format::percent),
        ms(produce.latency_ms.p50),
        ms(produce.latency_ms.p99),
        ms(produce.latency_ms.p999),
        ms(produce.latency_ms.max),
        ms(produce.service_ms.p99),
        ms(window.e2e.latency_ms.p99),
        format::count(produce.failed),
        format::count(produce.indeterminate),
        format::percent(window.load.ours_ratio),
        format::or_missing(window.client.cpu_ns_per_message, |ns| format!("{ns:.0}\u{a0}ns")),
        format::or_missing(window.host.map(|host| host.busy), format::percent),
        format::or_missing(window.host.map(|host| host.steal), format::percent),
    ]
}

fn span(from_s: f64, to_s: f64) -> String {
    format!("{}\u{a0}– {}", format::moment(from_s).trim_end_matches("\u{a0}s"), format::moment(to_s))
}
