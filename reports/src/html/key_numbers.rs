//! The numbers that people quote.

use maud::{Markup, html};

use crate::record::{LoadRecord, ProduceRecord, RunRecord, WindowRecord};
use crate::run_data::{RunData, SecondPoint};

use super::findings::has_counts;
use super::format;
use super::view::View;

/// Lateness that nobody needs to hear of, in milliseconds: below it, a record left on time (design, "who was the limit").
const ON_TIME_MS: f64 = 5.0;
/// The share of late records from which on the verdict doubts a broken expectation.
const OURS_MAX_RATIO: f64 = 0.01;

/// A number with its name and what belongs to it.
struct Tile {
    name: &'static str,
    value: String,
    beside: Vec<String>,
}

/// The section.
pub(super) fn section(data: &RunData, view: Option<&View>) -> Markup {
    let (scope, tiles) = match data.record.windows.get("all") {
        Some(whole) => ("Over the load, without warm-up and drain.", judged(data, whole)),
        None => ("So far: the run ended before its windows were computed.", partial(data, view)),
    };
    html! {
        section id="numbers" aria-labelledby="numbers-h" {
            h2 id="numbers-h" { "Key numbers" }
            p class="note" { (scope) }
            dl class="tiles" {
                @for tile in tiles {
                    div class="tile" {
                        dt { (tile.name) }
                        dd {
                            span class="value" { (tile.value) }
                            @for line in tile.beside { span class="beside" { (line) } }
                        }
                    }
                }
            }
        }
    }
}

fn tile(name: &'static str, value: String, beside: Vec<String>) -> Tile {
    Tile { name, value, beside }
}

fn judged(data: &RunData, whole: &WindowRecord) -> Vec<Tile> {
    let ms = |value| format::or_missing(value, format::millis);
    let (load, latency, e2e) = (&whole.load, &whole.produce.latency_ms, &whole.e2e);
    let tails = format!(
        "p50\u{a0}{} · p99.9\u{a0}{} · max\u{a0}{}",
        ms(latency.p50),
        ms(latency.p999),
        ms(latency.max)
    );
    let read = format!("p50\u{a0}{} · {}\u{a0}read", ms(e2e.latency_ms.p50), format::count(e2e.read));
    let target = load.target_rate.map_or_else(
        || "no target: unlimited load".to_owned(),
        |rate| format!("target {}", format::rate(rate)),
    );
    let achieved = format::or_missing(load.achieved_ratio, format::percent);
    let dropped = Some(whole.produce.dropped).filter(|dropped| *dropped > 0);
    let dropped = dropped.map(|dropped| format!("{} dropped: no room when due", format::count(dropped)));
    vec![
        tile("throughput, acked", format::rate(whole.produce.throughput), byte_rates(data, whole)),
        tile("latency p99, intended time to ack", ms(latency.p99), vec![tails]),
        tile("end-to-end p99", ms(e2e.latency_ms.p99), vec![read]),
        outcome_tile(&whole.produce),
        lag_tile(data, whole),
        tile(
            "achieved, of what was intended",
            achieved,
            [Some(target), dropped].into_iter().flatten().collect(),
        ),
        limit_tile(load),
        cost_tile(&data.record, whole),
    ]
}

fn outcome_tile(produce: &ProduceRecord) -> Tile {
    let (failed, indeterminate) = (produce.failed, produce.indeterminate);
    let mut beside =
        vec![format!("{} failed · {} indeterminate", format::count(failed), format::count(indeterminate))];
    if produce.unacknowledged > 0 {
        beside.push(format!("{} sent with acks=0", format::count(produce.unacknowledged)));
    }
    tile("failed + indeterminate", format::count(failed + indeterminate), beside)
}

fn lag_tile(data: &RunData, whole: &WindowRecord) -> Tile {
    let highest = seconds_of(data, whole).map(|s| s.lag).max().filter(|_| has_counts(data));
    let value = highest.map_or_else(|| format::MISSING.to_owned(), format::count);
    tile("highest lag", value, vec!["records behind the high watermarks".to_owned()])
}

fn seconds_of<'a>(data: &'a RunData, window: &WindowRecord) -> impl Iterator<Item = &'a SecondPoint> {
    let (from_s, to_s) = (window.from_s, window.to_s);
    data.seconds.iter().filter(move |s| s.t_s >= from_s && s.t_s < to_s)
}

fn byte_rates(data: &RunData, whole: &WindowRecord) -> Vec<String> {
    let seconds: Vec<&SecondPoint> = seconds_of(data, whole).collect();
    if seconds.is_empty() || !has_counts(data) {
        return Vec::new();
    }
    let mean =
        |of: fn(&SecondPoint) -> u64| seconds.iter().map(|s| of(s)).sum::<u64>() / seconds.len() as u64;
    vec![
        format!("{}/s of record bytes", format::bytes(mean(|s| s.uncompressed_bytes))),
        format!("{}/s on the wire", format::bytes(mean(|s| s.wire_bytes))),
    ]
}

fn limit_tile(load: &LoadRecord) -> Tile {
    let name = "who was the limit: longest lateness";
    if load.target_rate.is_none() {
        let why = "without a schedule nothing can be late".to_owned();
        return tile(name, format::MISSING.to_owned(), vec![why]);
    }
    let slip = &load.slip;
    let ours = if slip.gauntlet > slip.host { "gauntlet" } else { "host" };
    let ours_counts = load.ours_ratio > OURS_MAX_RATIO;
    let value = match (slip.broker > ON_TIME_MS, slip.broker >= slip.gauntlet.max(slip.host)) {
        (true, true) if ours_counts => format!("broker and {ours}"),
        (true, true) => "broker".to_owned(),
        _ if ours_counts || slip.gauntlet.max(slip.host) > ON_TIME_MS => ours.to_owned(),
        _ => "nobody".to_owned(),
    };
    let parts = [("broker", slip.broker), ("gauntlet", slip.gauntlet), ("host", slip.host)];
    let held_up = parts.map(|(who, ms)| format!("{who}\u{a0}{}", format::millis(ms))).join(" · ");
    let share = format!("{} of records mostly by gauntlet or host", format::percent(load.ours_ratio));
    tile(name, value, vec![held_up, share])
}

fn cost_tile(record: &RunRecord, whole: &WindowRecord) -> Tile {
    let mut beside = vec![format!("{:.0}\u{a0}MiB resident at most", whole.client.rss_mb)];
    if let Some(ratio) = record.wire_ratio {
        beside.push(format!("{} of bytes left after compression", format::percent(ratio)));
    }
    if let Some(records) = whole.client.queue_max {
        beside.push(format!("{} records in librdkafka's queues at most", format::count(records as u64)));
    }
    if let Some(p99) = whole.client.rtt_p99_ms {
        beside.push(format!("p99 of librdkafka's round trips in the worst second: {}", format::millis(p99)));
    }
    let cpu = format::or_missing(whole.client.cpu_ns_per_message, |ns| format!("{ns:.0}\u{a0}ns"));
    tile("client CPU per record", cpu, beside)
}

/// What can be said of a run that died: sums and extremes over the seconds that it wrote.
fn partial(data: &RunData, view: Option<&View>) -> Vec<Tile> {
    let seconds = &data.seconds;
    if seconds.is_empty() {
        let why = "the run ended before its first second of load".to_owned();
        return vec![tile("load", "none".to_owned(), vec![why])];
    }
    let sum = |of: fn(&SecondPoint) -> u64| seconds.iter().map(of).sum::<u64>();
    let highest = |of: fn(&SecondPoint) -> Option<f64>| {
        format::or_missing(seconds.iter().filter_map(of).reduce(f64::max), format::millis)
    };
    let span = view
        .map_or_else(String::new, |v| format!("{} to {}", format::moment(v.from_s), format::moment(v.to_s)));
    let per_second = sum(|s| s.acked) as f64 / seconds.len() as f64;
    let rss_mib = seconds.iter().map(|s| s.rss_mib).fold(0.0, f64::max);
    let tile = |name, value, beside| tile(name, value, vec![beside]);
    vec![
        tile("seconds recorded", format::count(seconds.len() as u64), span),
        tile("acked", format::count(sum(|s| s.acked)), format!("{} in the mean", format::rate(per_second))),
        tile("read", format::count(sum(|s| s.read)), "records decoded by readers".to_owned()),
        tile("failed + indeterminate", format::count(sum(|s| s.failed)), "records".to_owned()),
        tile("worst p99 of a second", highest(|s| s.latency_ms.p99), "intended time to ack".to_owned()),
        tile(
            "highest lag",
            format::count(seconds.iter().map(|s| s.lag).max().unwrap_or(0)),
            format!("{} at the end", format::count(seconds.last().map_or(0, |s| s.lag))),
        ),
        tile("resident memory", format!("{rss_mib:.0}\u{a0}MiB"), "of gauntlet, at most".to_owned()),
    ]
}
