//! What a plan will take of disk, memory and time, and how the disk is kept from filling up.

use std::path::Path;

use gauntlet_chaos::{KafkaSource, docker};

use super::convert::{RF_DEFAULT_MAX, Refusal, refuse};
use super::*;
use crate::disk::{self, Retention};

/// What a plan will take, at the most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Needs {
    /// Records, warm-up at its longest included; `None` without schedule.
    pub records: Option<u64>,
    /// Bytes on disk of all replicas, if the scenario's own `retention.bytes` are all that bounds them; `None` without
    /// schedule.
    pub disk_bytes: Option<u64>,
    /// Free bytes where brokers write: where the run does, or the engine of their containers, or on all of their own disks.
    pub disk_free_bytes: Option<u64>,
    /// gauntlet's own memory: buffers and checkers.
    pub memory_bytes: u64,
    /// Wall time of the load, warm-up, drain and final read at their longest.
    pub wall: Duration,
    /// The longest stall that the drain can make up for, at a catch-up of twice the rate.
    pub stall: Duration,
}

/// Kafka's defaults of what decides how much is on disk beyond `retention.bytes`.
const SEGMENT_BYTES: u64 = 1 << 30;
const FILE_DELETE_DELAY_MS: u64 = 60_000;
const RETENTION_CHECK_INTERVAL_MS: u64 = 300_000;

pub(super) fn needs(plan: &Plan, run_dir: &Path) -> Needs {
    let records = plan.records_max();
    let existing = run_dir.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
    let partitions: usize = plan.topics.iter().map(|t| t.partitions as usize).sum();
    // What a broker's stall of ten seconds leaves of intervals, per partition; see the checker's own bound.
    const FRAGMENTS_EXPECTED: usize = 10_000;
    let streams = plan.producer_count() as usize;
    let checkers = partitions * gauntlet_verify::Shard::memory_bound_bytes(streams, FRAGMENTS_EXPECTED);
    let buffers: usize = plan.producers.iter().map(|b| buffered(b) * usize::from(b.count)).sum();
    let fetches: usize = plan.readers.iter().map(|r| fetched(r) * usize::from(r.members)).sum();
    let recorded: u64 = plan.load.paces.iter().map(PacePlan::memory_bytes).sum();
    let load = plan.load.warmup.longest() + plan.load.duration.unwrap_or_default();
    Needs {
        records,
        disk_bytes: records.map(|_| (0..plan.topics.len()).map(|topic| topic_bytes(plan, topic)).sum()),
        disk_free_bytes: match &plan.cluster {
            ClusterPlan::Local(LocalSpec { disk_bytes: Some(each), brokers, .. }) => {
                Some(each.saturating_mul(u64::from(*brokers)))
            }
            ClusterPlan::Local(LocalSpec { kafka: KafkaSource::Image(_), .. }) => {
                let of_engine = docker::engine().ok().and_then(|engine| disk::free_bytes(&engine.root));
                of_engine.or_else(|| disk::free_bytes(existing))
            }
            _ => disk::free_bytes(existing),
        },
        memory_bytes: (checkers + buffers + fetches) as u64 + recorded,
        wall: load + plan.load.drain + plan.verify.map(|v| v.final_read).unwrap_or_default(),
        stall: plan.load.drain,
    }
}

/// What librdkafka takes for each record that waits, besides key and value: `rd_kafka_msg_t`, and what the allocator adds.
const RDKAFKA_RECORD_BYTES: usize = 200;
/// `queued.max.messages.kbytes` of librdkafka, unless a scenario sets it: what is fetched ahead.
const RDKAFKA_FETCHED_BYTES: usize = 64 << 20;

/// What a loop holds for a program: lines on their way in both directions. The rest is in the program.
const PROGRAM_LINES_BYTES: usize = 1 << 20;

/// Memory of what one producer of a block has not settled, at the most.
fn buffered(block: &ProducerBlock) -> usize {
    match block.driver {
        DriverPlan::Wire => block.buffer_bytes,
        DriverPlan::External(_) => PROGRAM_LINES_BYTES,
        DriverPlan::Rdkafka(_) => {
            let records = block.buffer_bytes / (block.records.value_bytes_mean as usize).max(1);
            block.buffer_bytes + records * RDKAFKA_RECORD_BYTES
        }
    }
}

/// Memory of what one reader of a block has not checked, at the most.
fn fetched(block: &ReaderBlock) -> usize {
    let settings = match &block.driver {
        DriverPlan::Wire => return block.max_bytes * 2,
        DriverPlan::External(_) => return PROGRAM_LINES_BYTES,
        DriverPlan::Rdkafka(settings) => settings,
    };
    let set = settings.iter().find(|s| s.name == "queued.max.messages.kbytes");
    let ahead =
        set.and_then(|s| s.value.parse::<usize>().ok()).map_or(RDKAFKA_FETCHED_BYTES, |kib| kib << 10);
    ahead + block.max_bytes
}

/// What one producer of a block writes at the most, as stored in one replica.
fn block_bytes(plan: &Plan, block: &ProducerBlock) -> f64 {
    let sharers = plan.sharers(block.load).max(1) as f64;
    plan.records_of(block.load).unwrap_or(0) as f64 / sharers * f64::from(block.count) * stored(block)
}

/// Bytes of a stored record of a block.
fn stored(block: &ProducerBlock) -> f64 {
    let value_bytes = block.records.value_bytes_mean as usize;
    let records = (&block.records.body, block.records.identity);
    disk::sample_batch(value_bytes, records, block.codec, block.batch_bytes).bytes_per_record()
}

/// Bytes that the replicas of a topic may take.
fn topic_bytes(plan: &Plan, index: usize) -> u64 {
    let topic = &plan.topics[index];
    let replicas = u64::from(topic.replication_factor.unwrap_or(RF_DEFAULT_MAX));
    let written: f64 = blocks_of(plan, index).map(|block| block_bytes(plan, block)).sum();
    let written = written as u64 * replicas;
    match retained_bytes(plan, index) {
        Some(retained) => written.min(retained * replicas),
        None => written,
    }
}

fn blocks_of(plan: &Plan, topic: usize) -> impl Iterator<Item = &ProducerBlock> {
    plan.producers.iter().filter(move |block| block.topic == topic)
}

/// Bytes of one replica of every partition that the topic's own `retention.bytes` leaves at the most: that much, the
/// segment that is written to and the one that is about to go, and what is written until somebody looks and deletes.
fn retained_bytes(plan: &Plan, index: usize) -> Option<u64> {
    let topic = &plan.topics[index];
    let of_topic = |key: &str| topic.config.get(key).and_then(|value| value.parse::<u64>().ok());
    let retention = of_topic("retention.bytes")?;
    let interval_ms = match &plan.cluster {
        ClusterPlan::Local(spec) => spec.config.get("log.retention.check.interval.ms"),
        ClusterPlan::Bootstrap(_) => None,
    };
    let interval_ms = interval_ms.and_then(|ms| ms.parse().ok()).unwrap_or(RETENTION_CHECK_INTERVAL_MS);
    let late_ms = interval_ms + of_topic("file.delete.delay.ms").unwrap_or(FILE_DELETE_DELAY_MS);
    let per_s = |block: &ProducerBlock| {
        let highest = plan.load.paces[block.load].highest_per_s()? as f64;
        Some(highest * f64::from(block.count) / plan.sharers(block.load).max(1) as f64 * stored(block))
    };
    let bytes_per_s: f64 = blocks_of(plan, index).map(per_s).sum::<Option<f64>>()?;
    // A backlog is worked off at about twice the rate.
    let late_bytes = (2.0 * bytes_per_s * late_ms as f64 / 1e3) as u64;
    let segment = of_topic("segment.bytes").unwrap_or(SEGMENT_BYTES);
    Some(u64::from(topic.partitions) * (retention + 2 * segment) + late_bytes)
}

/// Sets retention where the disk is too small to keep everything. Nothing is set on a cluster that is not ours.
pub(super) fn bound_disk(plan: &mut Plan, needs: &Needs) -> Result<(), Refusal> {
    let (ClusterPlan::Local(_), Some(free)) = (&plan.cluster, needs.disk_free_bytes) else { return Ok(()) };
    // Without schedule nobody knows how much it will be: plan for more than there is.
    let needed = needs.disk_bytes.unwrap_or(u64::MAX);
    retain(plan, needed, free)
}

fn retain(plan: &mut Plan, needed: u64, free: u64) -> Result<(), Refusal> {
    let replicas: u64 = plan
        .topics
        .iter()
        .map(|t| u64::from(t.partitions) * u64::from(t.replication_factor.unwrap_or(RF_DEFAULT_MAX)))
        .sum();
    let retention = disk::decide(needed, free, replicas).map_err(|least| {
        refuse(
            "load",
            format!(
                "the disk is too small: {} MB are free, {} MB are the least",
                free / 1_000_000,
                least / 1_000_000
            ),
            "free some, choose another --out, or take a lower rate or fewer partitions",
        )
    })?;
    let own = |t: &&mut TopicPlan| t.lifecycle != Lifecycle::Reuse;
    let Retention::Windowed { retention_bytes, segment_bytes } = retention else {
        for topic in plan.topics.iter_mut().filter(own) {
            let kept = topic.config.entry("retention.bytes".to_owned()).or_insert_with(|| "-1".to_owned());
            if kept != "-1" {
                plan.evidence = "windowed";
            }
        }
        return Ok(());
    };
    plan.evidence = "windowed";
    if let ClusterPlan::Local(spec) = &mut plan.cluster {
        spec.config.entry("log.retention.check.interval.ms".to_owned()).or_insert_with(|| "5000".to_owned());
    }
    for topic in plan.topics.iter_mut().filter(own) {
        let mut set = |key: &str, value: u64| {
            topic.config.entry(key.to_owned()).or_insert_with(|| value.to_string());
        };
        set("retention.bytes", retention_bytes);
        set("segment.bytes", segment_bytes);
        set("file.delete.delay.ms", 1_000);
    }
    Ok(())
}
