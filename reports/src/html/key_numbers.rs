//! The numbers that people quote.

use maud::{Markup, html};

use crate::record::{RunRecord, SlipMs, WindowRecord};
use crate::run_data::{RunData, SecondPoint};

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

fn judged(data: &RunData, whole: &WindowRecord) -> Vec<Tile> {
    let record = &data.record;
    let within = |s: &&SecondPoint| s.t_s >= whole.from_s && s.t_s < whole.to_s;
    let latency = &whole.produce.latency_ms;
    let ms = |value| format::or_missing(value, format::millis);
    let load = &whole.load;
    let produce = &whole.produce;
    vec![
        Tile {
            name: "throughput, acked",
            value: format::rate(produce.throughput),
            beside: byte_rates(data, whole),
        },
        Tile {
            name: "latency p99, intended time to ack",
            value: ms(latency.p99),
            beside: vec![format!(
                "p50 {} · p99.9 {} · max {}",
                ms(latency.p50),
                ms(latency.p999),
                ms(latency.max)
            )],
        },
        Tile {
            name: "end-to-end p99",
            value: ms(whole.e2e.latency_ms.p99),
            beside: vec![format!(
                "p50 {} · {} read",
                ms(whole.e2e.latency_ms.p50),
                format::count(whole.e2e.read)
            )],
        },
        Tile {
            name: "failed + indeterminate",
            value: format::count(produce.failed + produce.indeterminate),
            beside: vec![format!(
                "{} failed · {} indeterminate",
                format::count(produce.failed),
                format::count(produce.indeterminate)
            )],
        },
        Tile {
            name: "highest lag",
            value: data
                .seconds
                .iter()
                .filter(within)
                .map(|s| s.lag)
                .max()
                .map_or_else(|| format::MISSING.to_owned(), format::count),
            beside: vec!["records behind the high watermarks".to_owned()],
        },
        Tile {
            name: "achieved, of what was intended",
            value: format::or_missing(load.achieved_ratio, format::percent),
            beside: vec![load.target_rate.map_or_else(
                || "no target: unlimited load".to_owned(),
                |rate| format!("target {}", format::rate(rate)),
            )],
        },
        limit_tile(&load.slip, load.ours_ratio),
        cost_tile(record, whole),
    ]
}

fn byte_rates(data: &RunData, whole: &WindowRecord) -> Vec<String> {
    let seconds: Vec<&SecondPoint> =
        data.seconds.iter().filter(|s| s.t_s >= whole.from_s && s.t_s < whole.to_s).collect();
    if seconds.is_empty() {
        return Vec::new();
    }
    let mean =
        |of: fn(&SecondPoint) -> u64| seconds.iter().map(|s| of(s)).sum::<u64>() / seconds.len() as u64;
    vec![
        format!("{}/s of record bytes", format::bytes(mean(|s| s.uncompressed_bytes))),
        format!("{}/s on the wire", format::bytes(mean(|s| s.wire_bytes))),
    ]
}

fn limit_tile(slip: &SlipMs, ours_ratio: f64) -> Tile {
    let parts = [("broker", slip.broker), ("gauntlet", slip.gauntlet), ("host", slip.host)];
    let worst = parts.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, ms)| *ms > ON_TIME_MS);
    let ours = format!("{} of records mostly by gauntlet or host", format::percent(ours_ratio));
    let value = match worst {
        None => "nobody".to_owned(),
        Some((who, _)) if ours_ratio > OURS_MAX_RATIO && who == "broker" => "broker, and us".to_owned(),
        Some((who, _)) => who.to_owned(),
    };
    let held_up: Vec<String> =
        parts.iter().map(|(who, ms)| format!("{who}\u{a0}{}", format::millis(*ms))).collect();
    Tile { name: "who was the limit: longest lateness", value, beside: vec![held_up.join(" · "), ours] }
}

fn cost_tile(record: &RunRecord, whole: &WindowRecord) -> Tile {
    let mut beside = vec![format!("{:.0}\u{a0}MiB resident at most", whole.client.rss_mb)];
    if let Some(ratio) = record.wire_ratio {
        beside.push(format!("{} of bytes left after compression", format::percent(ratio)));
    }
    Tile {
        name: "client CPU per record",
        value: format::or_missing(whole.client.cpu_ns_per_message, |ns| format!("{ns:.0}\u{a0}ns")),
        beside,
    }
}

/// What can be said of a run that died: sums and extremes over the seconds that it wrote.
fn partial(data: &RunData, view: Option<&View>) -> Vec<Tile> {
    let seconds = &data.seconds;
    if seconds.is_empty() {
        return vec![Tile {
            name: "load",
            value: "none".to_owned(),
            beside: vec!["the run ended before its first second of load".to_owned()],
        }];
    }
    let sum = |of: fn(&SecondPoint) -> u64| seconds.iter().map(of).sum::<u64>();
    let highest = |of: fn(&SecondPoint) -> Option<f64>| {
        format::or_missing(seconds.iter().filter_map(of).reduce(f64::max), format::millis)
    };
    let span = view
        .map_or_else(String::new, |v| format!("{} to {}", format::moment(v.from_s), format::moment(v.to_s)));
    let per_second = sum(|s| s.acked) as f64 / seconds.len() as f64;
    let rss_mib = seconds.iter().map(|s| s.rss_mib).fold(0.0, f64::max);
    let tile = |name, value, beside: String| Tile { name, value, beside: vec![beside] };
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
