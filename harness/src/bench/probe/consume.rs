//! The log reader of a run by itself: what is in a topic already is read once, decoded and, if wanted, checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::unbounded;
use gauntlet_wire::batch::BatchHeader;
use gauntlet_wire::fetcher::{
    Broken, FetcherConfig, FetcherStats, Isolation, Jump, PartitionState, RecordSink, run_fetcher,
};
use gauntlet_wire::producer::Turn;
use gauntlet_wire::{ConnectOptions, LinkConfig, monotonic_ns};
use serde::{Deserialize, Serialize};

use super::ProbeError;
use crate::load::reader::{CheckPlan, Elsewhere, EndOffsets};
use crate::load::{Control, Reader, ReaderPlan};
use crate::plan::ReadWindow;
use crate::run::topics::end_offsets;
use crate::run::{FRAGMENTS_MAX, INTERVAL_NS};

/// `fetch.max.bytes` of Kafka.
const FETCH_BYTES_MAX: usize = 50 << 20;

/// What to read, and how.
#[derive(Debug, Clone)]
pub struct ConsumePlan {
    /// `bootstrap.servers`.
    pub bootstrap: Vec<String>,
    /// A topic that is there.
    pub topic: String,
    /// Id of the run that wrote it.
    pub run: u32,
    /// Records to read, about: the same share of each partition.
    pub records: u64,
    /// Threads that share the partitions.
    pub readers: usize,
    /// `fetch.min.bytes`.
    pub min_bytes: usize,
    /// `max.partition.fetch.bytes`.
    pub partition_max_bytes: usize,
    /// Whether every record goes through the checker.
    pub check: bool,
    /// When to stop waiting.
    pub limit: Duration,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumed {
    /// Records.
    pub records: u64,
    /// From the first batch to the last.
    pub seconds: f64,
}

/// Reads.
///
/// # Errors
/// Not all could be read.
pub fn consume(plan: &ConsumePlan) -> Result<Consumed, ProbeError> {
    let all = end_offsets(&plan.bootstrap, &plan.topic, &ConnectOptions::default())?;
    let share = plan.records.div_ceil(all.len().max(1) as u64);
    let ends: BTreeMap<i32, i64> =
        all.iter().map(|(partition, end)| (*partition, (*end).min(share as i64))).collect();
    let wanted: i64 = ends.values().sum();
    if wanted == 0 {
        return Err(ProbeError::Incomplete(format!("{} holds no record", plan.topic)));
    }
    let control = Arc::new(Control::default());
    control.read_until(monotonic_ns() + plan.limit.as_nanos() as u64);
    let known = Arc::new(EndOffsets::unknown(all.len() as u32));
    known.set(&ends);
    let mut threads = Vec::new();
    for index in 0..plan.readers.clamp(1, all.len().max(1)) {
        let assigned: BTreeMap<usize, i64> =
            (index..all.len()).step_by(plan.readers.max(1)).map(|partition| (partition, 0)).collect();
        let reader = reader(plan, index as u16, assigned.clone(), &control, &known);
        let config = fetcher(plan, index, all.len(), assigned);
        let body =
            move || run_fetcher(config, Timed { inner: reader, first_ns: None, last_ns: 0, records: 0 });
        threads.push(std::thread::Builder::new().name(format!("read-{index}")).spawn(body)?);
    }
    let (mut first_ns, mut last_ns, mut records) = (u64::MAX, 0, 0);
    for thread in threads {
        let timed = thread.join().map_err(|_| ProbeError::Panicked)??;
        first_ns = first_ns.min(timed.first_ns.unwrap_or(u64::MAX));
        last_ns = last_ns.max(timed.last_ns);
        records += timed.records;
    }
    if records < wanted as u64 {
        return Err(ProbeError::Incomplete(format!("{records} of {wanted} records were read")));
    }
    Ok(Consumed { records, seconds: last_ns.saturating_sub(first_ns) as f64 / 1e9 })
}

fn reader(
    plan: &ConsumePlan,
    index: u16,
    assigned: BTreeMap<usize, i64>,
    control: &Arc<Control>,
    ends: &Arc<EndOffsets>,
) -> Reader {
    // Nobody writes, and nobody asks for intervals.
    let (_, settlements) = unbounded();
    let (intervals, _) = unbounded();
    let check = plan.check.then(|| CheckPlan {
        other_topics: Vec::new(),
        created_by_run: true,
        in_order: true,
        gapless: true,
        compacted_keys: None,
        examples_max: 8,
        fragments_max: FRAGMENTS_MAX,
        keep_history: false,
    });
    let plan = ReaderPlan {
        reader: index,
        run: plan.run,
        topic: plan.topic.clone(),
        elsewhere: Elsewhere::default(),
        check,
        assigned,
        window: ReadWindow::default(),
    };
    Reader::new(plan, Arc::clone(control), Arc::clone(ends), settlements, intervals, INTERVAL_NS)
}

fn fetcher(
    plan: &ConsumePlan,
    index: usize,
    partitions: usize,
    assigned: BTreeMap<usize, i64>,
) -> FetcherConfig {
    FetcherConfig {
        links: LinkConfig {
            bootstrap: plan.bootstrap.clone(),
            client_id: format!("bench-reader-{index}"),
            ..LinkConfig::default()
        },
        topic: plan.topic.clone(),
        partitions,
        assigned: assigned.into_iter().map(|(partition, offset)| (partition, offset.into())).collect(),
        max_wait: Duration::from_millis(10),
        min_bytes: plan.min_bytes,
        max_bytes: FETCH_BYTES_MAX,
        partition_max_bytes: plan.partition_max_bytes,
        isolation: Isolation::ReadUncommitted,
    }
}

/// A reader whose first and last batch are remembered.
struct Timed {
    inner: Reader,
    first_ns: Option<u64>,
    last_ns: u64,
    records: u64,
}

impl RecordSink for Timed {
    fn batch(
        &mut self,
        partition: usize,
        header: &BatchHeader,
        batch: &[u8],
        from_offset: i64,
        turn: Turn<'_>,
    ) {
        self.first_ns.get_or_insert_with(monotonic_ns);
        self.inner.batch(partition, header, batch, from_offset, turn);
        self.records += u64::try_from(header.last_offset() - header.base_offset + 1).unwrap_or(0);
        self.last_ns = monotonic_ns();
    }

    fn broken(&mut self, partition: usize, broken: &Broken<'_>, turn: Turn<'_>) {
        self.inner.broken(partition, broken, turn);
    }

    fn jumped(&mut self, partition: usize, from: i64, to: i64, why: Jump) {
        self.inner.jumped(partition, from, to, why);
    }

    fn state(&mut self, partition: usize, seen: &PartitionState) {
        self.inner.state(partition, seen);
    }

    fn turned(&mut self, turn: Turn<'_>, stats: &FetcherStats) -> u64 {
        self.inner.turned(turn, stats)
    }

    fn finished(&self, now_ns: u64) -> bool {
        self.inner.finished(now_ns)
    }
}
