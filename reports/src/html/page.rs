//! The page: its blocks in order.

use maud::{Markup, html};

use crate::record::RunRecord;
use crate::run_data::RunData;

use super::document::{About, document};
use super::findings::has_counts;
use super::view::{Origin, View};
use super::{
    banner, correctness, end_to_end, environment, errors, expectations, key_numbers, lag, latency, method,
    recovery, reproduce, slip, throughput, timeline, windows,
};

/// The document.
pub(super) fn page(data: &RunData, view: Option<&View>) -> Markup {
    let record = &data.record;
    let about = About {
        word: banner::word(record),
        name: &record.name,
        kind: "run",
        id: &record.run_id,
        gauntlet: &record.environment.gauntlet,
    };
    let sections = html! {
        (expectations::section(record))
        (correctness::section(record))
        (key_numbers::section(data, view))
        (over_time(data, view))
        (recovery::section(record))
        (windows::section(record))
        (errors::section(data))
        (environment::section(record))
        (method::section(record))
        (reproduce::section(data))
    };
    document(&about, &contents(record), &banner::banner(record), &sections)
}

/// The sections, and whether this page has them.
fn contents(record: &RunRecord) -> [(&'static str, &'static str, bool); 10] {
    [
        ("#expectations", "Expectations", true),
        ("#correctness", "Correctness", true),
        ("#numbers", "Numbers", true),
        ("#over-time", "Over time", true),
        ("#recovery", "Recovery", !record.faults.is_empty()),
        ("#windows", "Windows", !record.windows.is_empty()),
        ("#errors", "Errors", true),
        ("#environment", "Environment", true),
        ("#method", "Method", true),
        ("#reproduce", "Do it again", true),
    ]
}

fn over_time(data: &RunData, view: Option<&View>) -> Markup {
    html! {
        section id="over-time" aria-labelledby="over-time-h" {
            h2 id="over-time-h" { "Over time" }
            @if let Some(view) = view {
                p class="note" { (origin_in_words(view.origin)) }
                (timeline::figure(data, view))
                @if data.seconds.is_empty() {
                    p { "No second of load was recorded, so there is nothing to plot." }
                } @else {
                    @if has_counts(data) {
                        (throughput::figure(data, view))
                    } @else {
                        p class="problem" {
                            "The run directory has no counts per second: throughput, lateness and lag can't be drawn."
                        }
                    }
                    (latency::figure(data, view))
                    (end_to_end::figure(data, view))
                    @if has_counts(data) {
                        (slip::figure(data, view))
                        (lag::figure(data, view))
                    }
                }
            } @else {
                p { "The run ended before its load began: nothing happened that could be drawn." }
            }
        }
    }
}

fn origin_in_words(origin: Origin) -> &'static str {
    match origin {
        Origin::WarmUpEnd => {
            "Times are in seconds from the end of the warm-up, t = 0. All charts have the same time axis."
        }
        Origin::RunEnd => {
            "The run ended in its warm-up: times are in seconds before its end, t = 0. All charts have the same time axis."
        }
    }
}
