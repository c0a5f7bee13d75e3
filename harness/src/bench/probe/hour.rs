//! Whether an hour takes more memory than a minute: what a run keeps of its records (recorders, collector, checkers), fed with the
//! records of an hour by a clock that is only counted.
//!
//! Nothing here knows that time does not pass: intended times, acks, reads and intervals carry the times that they would have.
//! Kafka's side is left out, and so are batches, which are gone once they are settled.

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Sender, unbounded};
use gauntlet_verify::{CrcSeed, IDENTITY_LEN, Identity, Shard};
use gauntlet_wire::lateness::Charge;
use gauntlet_wire::producer::ProducerStats;
use serde::{Deserialize, Serialize};

use super::{ProbeError, begin_acked_batch, shard};
use crate::cluster_view::InSync;
use crate::load::control::AckSpan;
use crate::load::{Interval, Origin};
use crate::recorder::{Recorder, add_sample, add_samples, latency_us};
use crate::run::collect::{Collector, Moment, resident_bytes};
use crate::rundir::RunDir;

const SECOND_NS: u64 = 1_000_000_000;
/// When the load begins, by the counted clock.
const ORIGIN_NS: u64 = 1_000 * SECOND_NS;
/// Batches of each partition in a second: as with a linger of 20 ms.
const BATCHES_PER_S: u64 = 50;
/// Time from a record's intention to its ack, and to its decoding.
const ACK_AFTER_NS: u64 = 12_000_000;
const READ_AFTER_NS: u64 = 15_000_000;
const RUN: u32 = 1;
const TOPIC: &str = "hour";
const MIB: f64 = 1_048_576.0;

/// How much to count.
#[derive(Debug, Clone, Copy)]
pub struct HourPlan {
    /// Simulated time.
    pub minutes: u32,
    /// Records per second of it.
    pub per_s: u64,
    /// Partitions.
    pub partitions: u32,
}

/// Memory at the end of a simulated minute.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minute {
    /// Which, from 1.
    pub minute: u32,
    /// Resident memory of the process.
    pub rss_mib: f64,
    /// Bytes of the files of the run.
    pub file_mib: f64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hour {
    /// Records that went through.
    pub records: u64,
    /// Records per simulated second.
    pub per_s: u64,
    /// Partitions.
    pub partitions: u32,
    /// Every minute.
    pub minutes: Vec<Minute>,
}

/// One partition, as its producer and its reader know it.
struct Partition {
    shard: Shard,
    seed: CrcSeed,
    index: u32,
    next: u64,
}

/// Counts an hour, writing the files of a run into `dir`, which must not exist.
///
/// # Errors
/// They can't be written, or a checker did not find every record.
pub fn count(plan: HourPlan, dir: &Path) -> Result<Hour, ProbeError> {
    let failed = |error: crate::rundir::RunDirError| ProbeError::Incomplete(error.to_string());
    let run_dir = RunDir::create(dir, "hour", "1").map_err(failed)?;
    let (intervals, received) = unbounded();
    let mut collector =
        Collector::new(&run_dir, received, ORIGIN_NS, Arc::default(), None).map_err(failed)?;
    let mut partitions: Vec<Partition> = (0..plan.partitions).map(Partition::new).collect();
    let (mut producer, mut reader) = (Recorder::default(), Recorder::default());
    let mut minutes = Vec::new();
    for second in 0..u64::from(plan.minutes) * 60 {
        let begin_ns = ORIGIN_NS + second * SECOND_NS;
        for partition in &mut partitions {
            partition.second(begin_ns, plan.per_s / u64::from(plan.partitions), &mut producer, &mut reader);
        }
        let now_ns = begin_ns + SECOND_NS;
        send(&intervals, Origin::Producer(0), now_ns, &mut producer, &partitions);
        send(&intervals, Origin::Reader(0), now_ns, &mut reader, &partitions);
        let moment =
            Moment { now_ns, zero_ns: Some(ORIGIN_NS), in_sync: InSync::default(), brokers_cpu_s: None };
        collector.tick(moment)?;
        if (second + 1) % 60 == 0 {
            minutes.push(Minute {
                minute: ((second + 1) / 60) as u32,
                rss_mib: resident_bytes().unwrap_or(0) as f64 / MIB,
                file_mib: file_bytes(dir) as f64 / MIB,
            });
        }
    }
    let records = partitions.iter().map(|partition| partition.next).sum();
    let checked: u64 = partitions.iter().map(|partition| partition.shard.summary().checked).sum();
    if checked != records {
        return Err(ProbeError::Incomplete(format!("the checkers found {checked} of {records} records")));
    }
    Ok(Hour { records, per_s: plan.per_s, partitions: plan.partitions, minutes })
}

fn file_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).filter(std::fs::Metadata::is_file).map(|m| m.len()).sum()
}

fn send(
    intervals: &Sender<Interval>,
    origin: Origin,
    at_ns: u64,
    recorder: &mut Recorder,
    partitions: &[Partition],
) {
    let is_producer = matches!(origin, Origin::Producer(_));
    let span = |partition: &Partition| AckSpan::at(partition.index as usize, at_ns);
    // The collector is on this thread and outlives it.
    let _ = intervals.send(Interval {
        origin,
        at_ns,
        slots: recorder.take(),
        wire_bytes: 0,
        uncompressed_bytes: 0,
        lateness: Charge::default(),
        producer: is_producer.then(ProducerStats::default),
        reader: None,
        client: None,
        is_last: false,
        lag: if is_producer {
            Vec::new()
        } else {
            (1..=10).map(|tenth| (at_ns - SECOND_NS + tenth * SECOND_NS / 10, 0)).collect()
        },
        acks: if is_producer { partitions.iter().map(span).collect() } else { Vec::new() },
        history: Vec::new(),
    });
}

impl Partition {
    fn new(index: u32) -> Self {
        Partition { shard: shard(RUN, TOPIC, index), seed: CrcSeed::new(TOPIC, index), index, next: 0 }
    }

    /// The records of one second, acked and read.
    fn second(&mut self, begin_ns: u64, per_s: u64, producer: &mut Recorder, reader: &mut Recorder) {
        for batch in 0..BATCHES_PER_S {
            // What does not divide is spread over the batches.
            let count = per_s * (batch + 1) / BATCHES_PER_S - per_s * batch / BATCHES_PER_S;
            if count > 0 {
                self.batch(begin_ns + batch * SECOND_NS / BATCHES_PER_S, count, producer, reader);
            }
        }
    }

    fn batch(&mut self, intended_ns: u64, count: u64, producer: &mut Recorder, reader: &mut Recorder) {
        let slot = producer.slot(intended_ns);
        slot.counts.acked += count;
        slot.counts.acks += count;
        add_samples(&mut slot.latency, latency_us(intended_ns, intended_ns + ACK_AFTER_NS), count);
        add_samples(&mut slot.service, latency_us(intended_ns, intended_ns + ACK_AFTER_NS), count);
        begin_acked_batch(&mut self.shard, self.next, count as u32);
        let mut value = [0; IDENTITY_LEN];
        for pseq in self.next..self.next + count {
            let identity = Identity {
                flags: 0,
                run: RUN,
                producer: 0,
                incarnation: 0,
                partition: self.index,
                pseq,
                intended_ns,
            };
            let encoded = gauntlet_verify::identity::encode(&identity, &self.seed, &mut value);
            debug_assert!(encoded.is_ok());
            if self.shard.record(pseq as i64, &value).is_some() {
                let slot = reader.slot(intended_ns);
                slot.counts.read += 1;
                slot.counts.reads += 1;
                add_sample(&mut slot.e2e, latency_us(intended_ns, intended_ns + READ_AFTER_NS));
            }
        }
        self.next += count;
        self.shard.end_batch();
        self.shard.advance(self.next as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_of_the_time_goes_through() {
        let dir = tempfile::tempdir().unwrap();
        let plan = HourPlan { minutes: 2, per_s: 1_000, partitions: 3 };
        let hour = count(plan, &dir.path().join("run")).unwrap();
        assert_eq!(hour.records, 2 * 60 * 999, "333 of each partition per second");
        assert_eq!(hour.minutes.iter().map(|m| m.minute).collect::<Vec<_>>(), [1, 2]);
        assert!(hour.minutes.iter().all(|m| m.rss_mib > 1.0));
    }
}
