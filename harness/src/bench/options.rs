//! What a bench is asked to do.

use std::path::PathBuf;

use gauntlet_chaos::{Jvm, KafkaSource, LocalSpec};

use super::contender::REFERENCE;
use super::matrix::{Matrix, Mode, Pace};
use super::record::Conditions;
use crate::units::{Bytes, Rate};

/// Brokers of a bench, if it starts them.
const BROKERS: u16 = 3;
const HEAP_BYTES: u64 = 2 << 30;

/// Which of the things that a bench can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// gauntlet's client and its peers, in turns.
    Peers,
    /// Every contender's own knobs; writes `bench-tuning.json`, which the first reads.
    Tune,
    /// gauntlet's cost over numbers of producers and partitions, and over time.
    Curves,
}

/// What a bench is asked to do.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Which of the things that it can do.
    pub work: Work,
    /// What is measured.
    pub matrix: Matrix,
    /// What is to be said of it, for example the commit.
    pub label: Option<String>,
    /// Contenders by name; empty: all that this machine has.
    pub only: Vec<String>,
    /// Runs of each cell.
    pub repeats: u16,
    /// Length of a window, seconds.
    pub seconds: u32,
    /// Load before it, seconds.
    pub warmup_s: u32,
    /// Load on a new cluster before the first trial, seconds.
    pub cluster_warmup_s: u32,
    /// Longest wait for brokers that have nothing left to do, before each trial, seconds.
    pub quiet_limit_s: u32,
    /// `linger.ms` of every contender at a fixed rate.
    pub linger_ms: u32,
    /// Partitions of each trial's topic.
    pub partitions: u32,
    /// Replicas of each.
    pub replication_factor: u16,
    /// Order and payloads.
    pub seed: u64,
    /// Somebody else's brokers, instead of local ones.
    pub bootstrap: Vec<String>,
    /// How local brokers are set.
    pub jvm: Jvm,
    /// A distribution of Kafka to use instead of resolving one.
    pub kafka_home: Option<PathBuf>,
    /// Whether a missed goal is measured once more under `perf`.
    pub profiles: bool,
    /// Values of a record in the rehearsal of a contender that must be told how many to send.
    pub rehearsal_bytes: u64,
    /// Values of all records that are read by readers.
    pub consumed_bytes: u64,
    /// Records of a probe.
    pub probe_records: u64,
    /// Numbers of producers, and of partitions, of the curves.
    pub curve_sizes: Vec<u32>,
    /// Their records per second.
    pub curve_per_s: u64,
    /// Length of their counted run, minutes.
    pub curve_minutes: u32,
}

impl BenchOptions {
    /// All of it: hours.
    #[must_use]
    pub fn full(seed: u64) -> Self {
        let rates = [100_000, 200_000, 500_000, 1_000_000];
        let paced = rates.map(|per_s| Pace::At(Rate::per_second(per_s)));
        BenchOptions {
            work: Work::Peers,
            matrix: Matrix {
                modes: vec![Mode::Produce, Mode::Consume, Mode::Both],
                sizes: vec![Bytes::new(100), Bytes::new(1024)],
                codecs: vec!["none".to_owned(), "lz4".to_owned()],
                paces: std::iter::once(Pace::FlatOut).chain(paced).collect(),
            },
            label: None,
            only: Vec::new(),
            repeats: 5,
            seconds: 15,
            warmup_s: 5,
            cluster_warmup_s: 60,
            quiet_limit_s: 60,
            linger_ms: 20,
            partitions: 12,
            replication_factor: BROKERS,
            seed,
            bootstrap: Vec::new(),
            jvm: Jvm::Steady,
            kafka_home: None,
            profiles: true,
            rehearsal_bytes: 300_000_000,
            consumed_bytes: 1 << 30,
            probe_records: 50_000_000,
            curve_sizes: vec![1, 10, 100, 1_000],
            curve_per_s: 100_000,
            curve_minutes: 60,
        }
    }

    /// A minute, on brokers that start quickly: shows that everything works, and no number of it means anything.
    #[must_use]
    pub fn ci(seed: u64) -> Self {
        BenchOptions {
            matrix: Matrix {
                modes: vec![Mode::Produce, Mode::Consume, Mode::Both],
                sizes: vec![Bytes::new(100)],
                codecs: vec!["lz4".to_owned()],
                paces: vec![Pace::At(Rate::per_second(5_000))],
            },
            repeats: 1,
            seconds: 2,
            warmup_s: 1,
            cluster_warmup_s: 0,
            quiet_limit_s: 0,
            partitions: 3,
            jvm: Jvm::Quick,
            profiles: false,
            rehearsal_bytes: 20_000_000,
            consumed_bytes: 40_000_000,
            probe_records: 200_000,
            curve_sizes: vec![1, 4],
            curve_per_s: 2_000,
            curve_minutes: 2,
            ..Self::full(seed)
        }
    }

    /// The same for another work. A sweep over knobs has many trials, each short and once: it compares a knob's values, not
    /// contenders. Curves are gauntlet's alone.
    #[must_use]
    pub fn of(self, work: Work) -> Self {
        match work {
            Work::Peers => BenchOptions { work, ..self },
            Work::Tune => BenchOptions {
                work,
                repeats: 1,
                seconds: self.seconds.min(8),
                warmup_s: self.warmup_s.min(4),
                ..self
            },
            Work::Curves => BenchOptions { work, repeats: 1, only: vec![REFERENCE.to_owned()], ..self },
        }
    }

    /// The brokers that the bench starts, set as those of the quickstart are: three that may share two processors.
    #[must_use]
    pub fn local_spec(&self) -> LocalSpec {
        let config = [
            ("num.network.threads", "1"),
            ("num.io.threads", "2"),
            // The next trial waits for the last one's files to be gone.
            ("log.segment.delete.delay.ms", "100"),
            // New brokers begin to delete files after this; by default, half a minute.
            ("log.initial.task.delay.ms", "1000"),
        ];
        let kafka = self.kafka_home.clone().map_or_else(KafkaSource::default, KafkaSource::Directory);
        LocalSpec {
            brokers: BROKERS,
            kafka,
            jvm: self.jvm,
            heap_bytes: (self.jvm == Jvm::Steady).then_some(HEAP_BYTES),
            config: config.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..LocalSpec::default()
        }
    }

    /// Records that readers read, of this size.
    #[must_use]
    pub fn consumed_records(&self, size: Bytes) -> u64 {
        (self.consumed_bytes / size.get().max(1)).max(1)
    }

    /// As it is kept.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        let brokers = match (self.bootstrap.is_empty(), self.jvm) {
            (false, _) => "other",
            (true, Jvm::Steady) => "steady",
            (true, Jvm::Quick) => "quick",
        };
        Conditions {
            matrix: self.matrix.clone(),
            repeats: self.repeats,
            seconds: self.seconds,
            warmup_s: self.warmup_s,
            cluster_warmup_s: self.cluster_warmup_s,
            linger_ms: self.linger_ms,
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            brokers: brokers.to_owned(),
        }
    }
}
