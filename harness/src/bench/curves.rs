//! Whether gauntlet's cost grows with the size of what it loads: CPU per record and memory over the number of producers, over the
//! number of partitions, and over the length of a run.
//!
//! Records per second stay the same, so more producers or partitions mean smaller batches, for the brokers too: the linger is long
//! enough that a thousand producers still batch.

use std::fmt::Write;

use gauntlet_wire::codec::Codec;
use serde::{Deserialize, Serialize};

use super::matrix::{Cell, Mode, Pace};
use super::options::BenchOptions;
use super::probe::hour::Hour;
use super::record::{Conditions, Measured};
use crate::units::{Bytes, Rate};

/// Name of the result.
pub const CURVES_JSON: &str = "bench-curves.json";
/// Version of its layout.
pub const CURVES_SCHEMA_VERSION: u32 = 1;
/// `linger.ms` of all points.
pub const LINGER_MS: u32 = 500;

/// One point: a number of producers on a number of partitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurvePoint {
    /// Producers that share the rate.
    pub producers: u32,
    /// Partitions of the topic.
    pub partitions: u32,
    /// What it came to.
    pub measured: Option<Measured>,
    /// Or why it came to nothing.
    pub failed: Option<String>,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurvesRecord {
    /// [`CURVES_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Begin, RFC 3339 in UTC.
    pub started_at: String,
    /// What whoever started it says of it.
    pub label: Option<String>,
    /// Version of gauntlet.
    pub gauntlet: String,
    /// Version of Kafka, where it is known.
    pub kafka: Option<String>,
    /// Kernel, processors, memory.
    pub host: String,
    /// Records per second of every point.
    pub per_s: u64,
    /// What else was the same.
    pub conditions: Conditions,
    /// Points, by producers, then by partitions.
    pub points: Vec<CurvePoint>,
    /// A run of an hour, counted.
    pub hour: Option<Hour>,
    /// Or why there is none.
    pub hour_failed: Option<String>,
}

/// The cell of every point: written, read and checked at one rate.
#[must_use]
pub fn cell(per_s: u64) -> Cell {
    Cell {
        mode: Mode::Both,
        size: Bytes::new(100),
        codec: Codec::Lz4,
        pace: Pace::At(Rate::per_second(per_s)),
    }
}

/// (producers, partitions) of every point: one varies, while the other is as in every trial.
#[must_use]
pub fn points(options: &BenchOptions) -> Vec<(u32, u32)> {
    let by_producers = options.curve_sizes.iter().map(|&producers| (producers, options.partitions));
    let by_partitions = options.curve_sizes.iter().map(|&partitions| (1, partitions));
    by_producers.chain(by_partitions).collect()
}

/// The curves for the terminal.
#[must_use]
pub fn in_words(record: &CurvesRecord) -> String {
    let mut text = format!("\n{} msg/s, written, read and checked\n", record.per_s);
    let _ = writeln!(
        text,
        "  {:>9} {:>10} {:>9} {:>10} {:>8} {:>8}",
        "producers", "partitions", "achieved", "CPU ns/msg", "p99 ms", "RSS MiB"
    );
    for point in &record.points {
        let _ = write!(text, "  {:>9} {:>10} ", point.producers, point.partitions);
        let _ = match (&point.measured, &point.failed) {
            (Some(m), _) => {
                let p99 = m.latency_ms.and_then(|latency| latency.p99).unwrap_or(f64::NAN);
                let achieved = m.achieved_ratio.unwrap_or(f64::NAN);
                writeln!(text, "{achieved:>9.3} {:>10.0} {p99:>8.0} {:>8.0}", m.cpu_ns_per_message, m.rss_mib)
            }
            (None, failed) => writeln!(text, "no result: {}", failed.as_deref().unwrap_or_default()),
        };
    }
    if let Some((hour, (first, last))) =
        record.hour.as_ref().and_then(|hour| Some((hour, (hour.minutes.first()?, hour.minutes.last()?))))
    {
        let _ = writeln!(
            text,
            "a counted run of {} records: {:.1} MiB after {} min, {:.1} MiB after {} min",
            hour.records, first.rss_mib, first.minute, last.rss_mib, last.minute
        );
    }
    if let Some(why) = &record.hour_failed {
        let _ = writeln!(text, "no counted run: {why}");
    }
    text
}
