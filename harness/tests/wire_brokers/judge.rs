//! Reads a topic from its beginning to its end and lets the checker count what became of every record.

use std::collections::BTreeMap;
use std::time::Duration;

use gauntlet_chaos::LocalCluster;
use gauntlet_verify::{BatchHeader as CheckedHeader, ReadEnd, Shard, ShardConfig, Summary};
use gauntlet_wire::batch::{BatchHeader, RecordsBuffer};
use gauntlet_wire::codec::Codec;
use gauntlet_wire::fetcher::{
    Broken, FetcherConfig, FetcherStats, Isolation, Jump, PartitionState, RecordSink, run_fetcher,
};
use gauntlet_wire::producer::Turn;
use gauntlet_wire::{LinkConfig, monotonic_ns};
use libtest_mimic::Failed;

use crate::cluster::{LIMIT, TestResult, Topic};
use crate::load::{Produced, RUN};

/// The checker's counts over all partitions of a topic, and its evidence in words.
pub(crate) struct Judgement {
    pub(crate) summary: Summary,
    pub(crate) evidence: String,
}

impl Judgement {
    /// Every count that is not named must be zero, the number of batches aside; every named one must be as given.
    pub(crate) fn expect(&self, expected: &[(&str, u64)]) -> TestResult {
        let known = |name: &str| self.summary.counts().any(|(count, _)| count == name);
        assert!(expected.iter().all(|(name, _)| known(name)), "a count of the checker: {expected:?}");
        let wanted = |name: &str| expected.iter().find(|(n, _)| *n == name).map_or(0, |(_, count)| *count);
        let wrong: Vec<String> = (self.summary.counts())
            .filter(|(name, count)| *name != "batches" && *count != wanted(name))
            .map(|(name, count)| format!("{name} {count} instead of {}", wanted(name)))
            .collect();
        if wrong.is_empty() && !self.summary.degraded {
            return Ok(());
        }
        Err(format!("{}\n{}", wrong.join(", "), self.evidence).into())
    }

    /// All records that were sent were acked, and each is in the log once, in order, where its ack said.
    pub(crate) fn expect_all_acked(&self, records: u64) -> TestResult {
        assert!(records > 0);
        self.expect(&[("acked", records), ("checked", records)])
    }
}

/// Judges a load by a full read. Waits until the topic is fully in sync, so that its end is final.
pub(crate) fn judge(cluster: &LocalCluster, topic: &Topic, produced: &Produced) -> Result<Judgement, Failed> {
    let ends = topic.ends(cluster)?;
    let shard = |partition: usize| {
        let config = ShardConfig {
            run: RUN,
            topic: topic.name.clone(),
            partition: partition as u32,
            other_topics: Vec::new(),
            created_by_run: true,
            in_order: true,
            gapless: true,
            compacted: false,
            start_offset: 0,
            witness_limit: 4,
            fragment_limit: 1 << 16,
        };
        Shard::new(config)
    };
    let mut shards: Vec<Shard> = (0..topic.partitions).map(shard).collect();
    for (partition, settlement) in &produced.settlements {
        shards[*partition].settle(settlement);
    }
    let mut checker = Checker { shards, buffer: RecordsBuffer::default() };
    read(cluster, topic, &ends, |partition, header, batch| checker.check(partition, header, batch))?;
    let mut judgement = Judgement { summary: Summary::default(), evidence: String::new() };
    for (partition, shard) in checker.shards.into_iter().enumerate() {
        let end_offset = ends[&partition];
        let end = ReadEnd { position: end_offset, end_offset, end_is_final: true, reader_was_limit: false };
        let report = shard.finish(&end);
        judgement.summary.merge(&report.summary);
        judgement.evidence.push_str(&format!("partition {partition}: {:?}\n", report.evidence));
    }
    Ok(judgement)
}

struct Checker {
    shards: Vec<Shard>,
    buffer: RecordsBuffer,
}

impl Checker {
    fn check(&mut self, partition: usize, header: &BatchHeader, batch: &[u8]) -> TestResult {
        let shard = &mut self.shards[partition];
        shard.begin_batch(&CheckedHeader {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            leader_epoch: header.leader_epoch,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            control: header.is_control(),
            transactional: header.is_transactional(),
        });
        let mut records = header.records(batch, &mut self.buffer)?;
        while let Some(record) = records.next_record()? {
            shard.record(record.offset, record.value.unwrap_or_default());
        }
        shard.end_batch();
        Ok(())
    }
}

/// A record as our fetcher hands it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadRecord {
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    /// That of its batch.
    pub(crate) codec: Option<Codec>,
}

/// All records of a topic with one partition.
pub(crate) fn read_records(cluster: &LocalCluster, topic: &Topic) -> Result<Vec<ReadRecord>, Failed> {
    assert_eq!(topic.partitions, 1);
    let ends = topic.ends(cluster)?;
    let mut all = Vec::new();
    let mut buffer = RecordsBuffer::default();
    read(cluster, topic, &ends, |_, header, batch| {
        let mut records = header.records(batch, &mut buffer)?;
        while let Some(record) = records.next_record()? {
            let read_header = |(key, value): (&[u8], Option<&[u8]>)| {
                (String::from_utf8_lossy(key).into_owned(), value.map(<[u8]>::to_vec))
            };
            all.push(ReadRecord {
                offset: record.offset,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers().map(read_header).collect(),
                codec: header.codec(),
            });
        }
        Ok(())
    })?;
    Ok(all)
}

/// Runs our fetcher over a whole topic.
fn read(
    cluster: &LocalCluster,
    topic: &Topic,
    ends: &BTreeMap<usize, i64>,
    on_batch: impl FnMut(usize, &BatchHeader, &[u8]) -> TestResult,
) -> TestResult {
    let config = FetcherConfig {
        links: LinkConfig {
            bootstrap: cluster.bootstrap(),
            security: cluster.security().clone(),
            ..LinkConfig::default()
        },
        topic: topic.name.clone(),
        partitions: topic.partitions,
        assigned: (0..topic.partitions).map(|partition| (partition, 0.into())).collect(),
        max_wait: Duration::from_millis(100),
        min_bytes: 1,
        max_bytes: 8 << 20,
        partition_max_bytes: 1 << 20,
        isolation: Isolation::ReadUncommitted,
    };
    let sink = WholeTopic {
        on_batch,
        left: ends.iter().filter(|(_, end)| **end > 0).map(|(p, end)| (*p, *end)).collect(),
        trouble: Vec::new(),
        deadline_ns: monotonic_ns() + LIMIT.as_nanos() as u64,
    };
    let sink = run_fetcher(config, sink)?;
    if sink.left.is_empty() && sink.trouble.is_empty() {
        return Ok(());
    }
    Err(format!("reading {}: {:?}; not read to these ends: {:?}", topic.name, sink.trouble, sink.left).into())
}

struct WholeTopic<F> {
    on_batch: F,
    /// Partitions that were not read to their end yet, and that end.
    left: BTreeMap<usize, i64>,
    trouble: Vec<String>,
    deadline_ns: u64,
}

impl<F: FnMut(usize, &BatchHeader, &[u8]) -> TestResult> RecordSink for WholeTopic<F> {
    fn batch(&mut self, partition: usize, header: &BatchHeader, batch: &[u8], _: i64, _: Turn<'_>) {
        if let Err(failed) = (self.on_batch)(partition, header, batch) {
            self.trouble.push(format!("{:?}", failed.message()));
        }
    }

    fn broken(&mut self, partition: usize, broken: &Broken<'_>, _turn: Turn<'_>) {
        self.trouble.push(format!("partition {partition}: {}", broken.error));
    }

    fn jumped(&mut self, partition: usize, from: i64, to: i64, why: Jump) {
        self.trouble.push(format!("partition {partition}: from {from} to {to}: {why:?}"));
    }

    fn state(&mut self, partition: usize, state: &PartitionState) {
        if self.left.get(&partition).is_some_and(|end| state.position >= *end) {
            self.left.remove(&partition);
        }
    }

    fn turned(&mut self, _turn: Turn<'_>, _stats: &FetcherStats) -> u64 {
        self.deadline_ns
    }

    fn finished(&self, now_ns: u64) -> bool {
        self.left.is_empty() || !self.trouble.is_empty() || now_ns >= self.deadline_ns
    }
}
