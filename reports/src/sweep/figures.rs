//! The numbers of a run that points are compared by.

use serde::{Deserialize, Serialize};

use crate::metric::Unit;
use crate::record::RunRecord;

/// The window `all` of a run, and what its brokers took meanwhile. `null` where nothing was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Records acked per second.
    pub throughput: Option<f64>,
    /// Records intended in the window and acked before it ended, of all intended in it.
    pub achieved_ratio: Option<f64>,
    /// Median of the latency, intended time to ack.
    pub p50_ms: Option<f64>,
    /// 99th percentile of it.
    pub p99_ms: Option<f64>,
    /// 99.9th percentile of it.
    pub p999_ms: Option<f64>,
    /// 99th percentile from the intended time to decoded.
    pub e2e_p99_ms: Option<f64>,
    /// User and system time of gauntlet per record acked.
    pub cpu_ns_per_message: Option<f64>,
    /// Bytes on the wire of acked batches, of their bytes before compression.
    pub wire_ratio: Option<f64>,
    /// Processors that the brokers kept busy, all of them together; local clusters only.
    pub broker_cpu_cores: Option<f64>,
    /// Bytes per second by which the logs of all replicas grew; local clusters only.
    pub broker_log_bytes_per_s: Option<f64>,
    /// Share of acked records whose latency is mostly gauntlet's or the host's.
    pub ours_ratio: Option<f64>,
}

impl Figures {
    /// Those of a run that was judged.
    #[must_use]
    pub fn of(run: &RunRecord) -> Self {
        let latency = &run.produce.latency_ms;
        let broker = run.broker.as_ref();
        let acked = run.produce.acked > 0;
        Figures {
            throughput: acked.then_some(run.produce.throughput),
            achieved_ratio: run.load.achieved_ratio,
            p50_ms: latency.p50,
            p99_ms: latency.p99,
            p999_ms: latency.p999,
            e2e_p99_ms: run.e2e.latency_ms.p99,
            cpu_ns_per_message: run.client.cpu_ns_per_message,
            wire_ratio: run.wire_ratio,
            broker_cpu_cores: broker.map(|b| b.cpu_cores),
            broker_log_bytes_per_s: broker.and_then(|b| b.log_bytes_per_s),
            ours_ratio: acked.then_some(run.load.ours_ratio),
        }
    }
}

/// Which of two values of a figure is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The higher one.
    Higher,
    /// The lower one.
    Lower,
}

/// A figure as tables and charts show it.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// Its column in `sweep.csv`, and its anchor on the page.
    pub key: &'static str,
    /// Its name for people, with what it is counted by.
    pub title: &'static str,
    /// Its name in narrow places.
    pub short: &'static str,
    /// The unit of its values.
    pub unit: Unit,
    /// Which value is the better one.
    pub better: Better,
    /// Its value of a run.
    pub of: fn(&Figures) -> Option<f64>,
}

const fn figure(
    key: &'static str,
    title: &'static str,
    short: &'static str,
    unit: Unit,
    better: Better,
    of: fn(&Figures) -> Option<f64>,
) -> Figure {
    Figure { key, title, short, unit, better, of }
}

/// Throughput.
pub const THROUGHPUT: Figure =
    figure("throughput_per_s", "Throughput, acked", "acked/s", Unit::PerSecond, Better::Higher, |f| {
        f.throughput
    });
/// Median latency.
pub const P50: Figure =
    figure("p50_ms", "Latency p50, intended time to ack", "p50", Unit::Milliseconds, Better::Lower, |f| {
        f.p50_ms
    });
/// 99th percentile of the latency.
pub const P99: Figure =
    figure("p99_ms", "Latency p99, intended time to ack", "p99", Unit::Milliseconds, Better::Lower, |f| {
        f.p99_ms
    });
/// 99.9th percentile of the latency.
pub const P999: Figure = figure(
    "p999_ms",
    "Latency p99.9, intended time to ack",
    "p99.9",
    Unit::Milliseconds,
    Better::Lower,
    |f| f.p999_ms,
);
/// 99th percentile of the end-to-end latency.
pub const E2E_P99: Figure =
    figure("e2e_p99_ms", "End-to-end p99", "e2e p99", Unit::Milliseconds, Better::Lower, |f| f.e2e_p99_ms);
/// Cost on the client's side.
pub const CLIENT_CPU: Figure = figure(
    "client_cpu_ns_per_message",
    "Client CPU per record",
    "client CPU",
    Unit::Nanoseconds,
    Better::Lower,
    |f| f.cpu_ns_per_message,
);
/// What compression leaves.
pub const WIRE_RATIO: Figure = figure(
    "wire_ratio",
    "Bytes left after compression",
    "left on the wire",
    Unit::Ratio,
    Better::Lower,
    |f| f.wire_ratio,
);
/// Cost on the brokers' side.
pub const BROKER_CPU: Figure = figure(
    "broker_cpu_cores",
    "Processors that the brokers kept busy",
    "broker cores",
    Unit::Count,
    Better::Lower,
    |f| f.broker_cpu_cores,
);
/// Bytes on the brokers' disks.
pub const BROKER_BYTES: Figure = figure(
    "broker_log_bytes_per_s",
    "Growth of all replicas' logs",
    "broker logs",
    Unit::BytesPerSecond,
    Better::Lower,
    |f| f.broker_log_bytes_per_s,
);

/// The columns of tables, in order.
pub const COLUMNS: [Figure; 9] =
    [THROUGHPUT, P50, P99, P999, E2E_P99, CLIENT_CPU, WIRE_RATIO, BROKER_CPU, BROKER_BYTES];

/// What is drawn over the grid of points, in order.
pub const HEATMAPS: [Figure; 4] = [P99, THROUGHPUT, CLIENT_CPU, WIRE_RATIO];
