//! Recovery: the clocks of every fault.

use maud::{Markup, html};

use crate::record::{FaultEntry, RunRecord};

use super::format;
use super::table::{self, numbers, table_of, words};

/// Partitions that are shown per fault, the longest unavailable first.
const PARTITIONS_MAX: usize = 24;

/// The section; nothing for a run without faults.
pub(super) fn section(record: &RunRecord) -> Markup {
    if record.faults.is_empty() {
        return html! {};
    }
    let columns = [
        words("fault"),
        numbers("took effect"),
        numbers("leader elected"),
        numbers("first ack"),
        numbers("unavailable"),
        numbers("heal took"),
        numbers("ISR full"),
        numbers("lag drained"),
        numbers("p99 back"),
    ];
    let rows: Vec<Vec<Markup>> =
        record.faults.iter().enumerate().map(|(i, fault)| row(i + 1, fault)).collect();
    html! {
        section id="recovery" aria-labelledby="recovery-h" {
            h2 id="recovery-h" { "Faults and recovery" }
            (table_of("Recovery clocks per fault", &columns, &rows))
            p class="note" {
                "took effect is counted from the injection; leader elected and first ack from when the fault took effect, on "
                "the partition that waited longest; heal took, ISR full, lag drained and p99 back from the begin of the heal. "
                "unavailable: the longest time without an ack on any partition. – means that it never happened, or does not apply."
            }
            @for fault in &record.faults { (unavailability(fault)) }
        }
    }
}

fn row(number: usize, fault: &FaultEntry) -> Vec<Markup> {
    let clock = |value: Option<f64>| html! { (format::or_missing(value, format::seconds)) };
    let between = |from: Option<f64>, to: Option<f64>| from.zip(to).map(|(from, to)| (to - from).max(0.0));
    let at = &fault.at_s;
    let clocks = &fault.recovery_s;
    let effect = if fault.took_effect {
        html! { "after " (format::or_missing(between(at.injected, at.took_effect), format::seconds)) }
    } else {
        html! { span class="mark doubt" { "? not seen to act" } }
    };
    vec![
        html! {
            strong { "#" (number) " " (fault.name) }
            div class="reason" { (fault.action) " · " (fault.target) }
            @if let Some(error) = &fault.error { div class="problem" { (error) } }
        },
        effect,
        clock(clocks.leader_elected),
        clock(clocks.first_ack),
        clock(fault.unavailable_s.longest),
        clock(between(at.heal_began, at.healed)),
        clock(clocks.isr_full),
        clock(clocks.lag_drained),
        clock(clocks.p99_back),
    ]
}

fn unavailability(fault: &FaultEntry) -> Markup {
    let mut partitions: Vec<(&String, f64)> =
        fault.unavailable_s.per_partition.iter().map(|(name, s)| (name, *s)).collect();
    if partitions.is_empty() {
        return html! {};
    }
    partitions.sort_by(|a, b| b.1.total_cmp(&a.1));
    let left_out = partitions.len().saturating_sub(PARTITIONS_MAX);
    let rows: Vec<Vec<String>> = partitions
        .iter()
        .take(PARTITIONS_MAX)
        .map(|(name, s)| vec![(*name).clone(), format::seconds(*s)])
        .collect();
    html! {
        details class="numbers" {
            summary { "Unavailability per partition: " (fault.name) }
            (table::table("Longest time without an ack", &[words("partition"), numbers("without an ack")], &rows))
            @if left_out > 0 { p class="note" { (left_out) " partitions with shorter gaps are left out." } }
        }
    }
}
