//! Clean histories without end: whatever happens in them is what Kafka may do, so every finding is a false alarm.
//!
//! The cluster of `cluster/cluster.rs` drives all rules at once: a shard per partition, transactions, positions, cycles. The short
//! form runs with every test; `ci/simulation` runs the long one and keeps what came of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "cluster/cluster.rs"]
mod cluster;
#[path = "support/shard.rs"]
mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::time::Instant;

use cluster::{Cluster, Options, RUN, Told};
use gauntlet_verify::identity::encode;
use gauntlet_verify::poll::Span;
use gauntlet_verify::transaction::cycle::Cycles;
use gauntlet_verify::{
    BatchHeader, Context, CrcSeed, FindingClass, Found, IDENTITY_LEN, Identity, Judgement, Place, Polls,
    Preset, Shard, StreamKey, Summary, Transactions, judge,
};

/// Every checker, and how much it was told.
struct Checkers {
    shards: Vec<(Shard, CrcSeed)>,
    transactions: Transactions,
    polls: Polls,
    cycles: Cycles,
    events: u64,
    held_max: usize,
    value: Vec<u8>,
}

/// What came of one history.
struct Outcome {
    events: u64,
    held_max: usize,
    records: u64,
    alarms: Vec<String>,
    happened: BTreeMap<&'static str, u64>,
}

impl Checkers {
    fn new(options: &Options) -> Self {
        let topics = vec!["t".to_owned(), "source".to_owned()];
        let shard = |partition: u32| {
            let shard = support::shard(RUN, partition, true);
            (shard, CrcSeed::new("t", partition))
        };
        let mut polls = Polls::new(RUN, topics.clone(), 2);
        for partition in 0..options.partitions {
            let place = Place { topic: 0, partition };
            (0..options.readers).for_each(|reader| polls.assigned(u32::from(reader), place, Some(0)));
        }
        Self {
            shards: (0..options.partitions).map(shard).collect(),
            transactions: Transactions::new(options.config()),
            polls,
            cycles: Cycles::new(RUN, topics, 2),
            events: 0,
            held_max: 0,
            value: vec![0; IDENTITY_LEN + 6],
        }
    }

    fn tell(&mut self, told: &Told) {
        self.events += 1;
        let place = |partition: u32| Place { topic: 0, partition };
        match told {
            Told::Transaction(event) => self.transactions.tell(event),
            Told::Log(partition, header, first) => self.read(*partition, header, *first),
            Told::Settled(partition, settlement) => self.shards[*partition as usize].0.settle(settlement),
            Told::Truncated(partition, end) => {
                self.shards[*partition as usize].0.truncate(*end);
                self.polls.truncated(place(*partition), *end);
            }
            Told::Watermarks(partition, seen) => self.shards[*partition as usize].0.watermarks(seen),
            Told::Hidden(partition, first, end) => self.polls.hidden(place(*partition), *first..*end),
            Told::Explained(partition, to) => self.polls.log_read_to(place(*partition), *to),
            Told::Polled(reader, partition, first, last) => {
                let span = Span { place: place(*partition), first: *first, last: *last };
                self.polls.polled(u32::from(*reader), &[span]);
            }
            Told::Rebalanced(reader, partition, position) => {
                self.polls.revoked(u32::from(*reader), place(*partition));
                self.polls.assigned(u32::from(*reader), place(*partition), Some(*position));
            }
            Told::Began(key) => self.cycles.began(*key),
            Told::WroteRecord(key, record) => self.cycles.wrote(*key, *record),
            Told::ReadRecord(key, record) => self.cycles.read(*key, *record),
            Told::Ended(key, aborted) => self.cycles.ended(*key, *aborted),
        }
        self.held_max = self.held_max.max(self.transactions.open() + self.cycles.held());
    }

    fn read(&mut self, partition: u32, header: &BatchHeader, first: Option<(StreamKey, u64, u64)>) {
        let (shard, seed) = &mut self.shards[partition as usize];
        shard.begin_batch(header);
        if let Some((stream, first_pseq, intended_ns)) = first {
            let StreamKey { producer, incarnation } = stream;
            for (offset, pseq) in (header.base_offset..=header.last_offset).zip(first_pseq..) {
                let identity =
                    Identity { flags: 0, run: RUN, producer, incarnation, partition, pseq, intended_ns };
                encode(&identity, seed, &mut self.value).unwrap();
                shard.record(offset, &self.value);
                self.events += 1;
            }
        }
        shard.end_batch();
    }

    fn finish(self, cluster: &Cluster) -> Outcome {
        let mut found = self.transactions.finish();
        found.merge(&self.polls.finish());
        found.merge(&self.cycles.finish());
        let mut summary = Summary::default();
        for ((shard, _), end) in self.shards.into_iter().zip(cluster.ends()) {
            summary.merge(&shard.finish(&end).summary);
        }
        let (events, held_max) = (self.events, self.held_max);
        let (records, alarms) = (summary.checked, alarms(&summary, &found));
        Outcome { events, held_max, records, alarms, happened: cluster.happened.clone() }
    }
}

/// What would be held against somebody under every promise, and whatever the checkers could not keep up with.
fn alarms(summary: &Summary, found: &Found) -> Vec<String> {
    let all = Preset::ExactlyOnce.guarantee();
    let of_shards = FindingClass::ALL.iter().filter_map(|class| Some((*class, summary.count_of(*class)?)));
    let is_alarm = |(class, count): &(FindingClass, u64)| {
        *count > 0
            && (judge(*class, &all, &Context::PLAIN) == Judgement::Violation
                || *class == FindingClass::Unseen)
    };
    let mut alarms: Vec<String> =
        of_shards.filter(is_alarm).map(|(class, count)| format!("{count} x {class}")).collect();
    alarms.extend(found.evidence.iter().map(|(class, kept)| format!("{class}: {}", kept.first()[0])));
    for (name, count) in [
        ("settled twice", summary.settled_twice),
        ("reread", summary.reread),
        ("unchecked", summary.unchecked),
    ] {
        if count > 0 {
            alarms.push(format!("{count} {name}"));
        }
    }
    if found.degraded || summary.degraded {
        alarms.push("degraded".to_owned());
    }
    alarms
}

/// Histories of different shapes until so many events were told.
fn simulate(seed: u64, events: u64, per_history: u64, trouble: bool) -> (Outcome, u64) {
    let mut total =
        Outcome { events: 0, held_max: 0, records: 0, alarms: Vec::new(), happened: BTreeMap::new() };
    let mut histories = 0;
    while total.events < events {
        let shape = cluster::Dice(seed + histories).next();
        let options = Options {
            producers: 1 + (shape % 8) as u16,
            partitions: 1 + (shape >> 8) as u32 % 6,
            readers: (shape >> 16) as u16 % 3,
            trouble,
        };
        let mut cluster = Cluster::new(seed + histories, options);
        let mut checkers = Checkers::new(&options);
        while checkers.events < per_history {
            cluster.step();
            cluster.told.drain(..).for_each(|told| checkers.tell(&told));
        }
        cluster.finish();
        cluster.told.drain(..).for_each(|told| checkers.tell(&told));
        let outcome = checkers.finish(&cluster);
        let name = |alarm: String| format!("seed {}, {options:?}: {alarm}", seed + histories);
        total.alarms.extend(outcome.alarms.into_iter().map(name));
        for (what, count) in outcome.happened {
            *total.happened.entry(what).or_default() += count;
        }
        total.events += outcome.events;
        total.records += outcome.records;
        total.held_max = total.held_max.max(outcome.held_max);
        histories += 1;
    }
    (total, histories)
}

#[test]
fn a_million_events_without_a_false_alarm() {
    let (outcome, histories) = simulate(1, 1_000_000, 50_000, false);
    assert_eq!(outcome.alarms, Vec::<String>::new());
    assert!(histories >= 10 && outcome.records > 50_000);
    assert!(outcome.happened.len() == 12, "{:?}", outcome.happened);
}

/// A simulation that can't raise an alarm would prove nothing.
#[test]
fn trouble_raises_alarms() {
    let (outcome, _) = simulate(1, 20_000, 5_000, true);
    assert!(!outcome.alarms.is_empty());
}

/// `GAUNTLET_SIMULATION_ROWS` names the file that the outcome is added to, a line of JSON; `GAUNTLET_SIMULATION_EVENTS` is how many.
#[test]
#[ignore = "a minute or more; ci/simulation runs it"]
fn long() {
    let events = env::var("GAUNTLET_SIMULATION_EVENTS").map_or(100_000_000, |text| text.parse().unwrap());
    let begun = Instant::now();
    let (outcome, histories) = simulate(1 << 32, events, 1_000_000, false);
    let row = serde_json::json!({
        "events": outcome.events,
        "records": outcome.records,
        "histories": histories,
        "happened": outcome.happened,
        "first_seed": 1u64 << 32,
        "transactions_held_max": outcome.held_max,
        "false_alarms": outcome.alarms.len(),
        "first_alarms": outcome.alarms.iter().take(8).collect::<Vec<_>>(),
        "seconds": begun.elapsed().as_secs(),
    });
    if let Ok(path) = env::var("GAUNTLET_SIMULATION_ROWS") {
        fs::write(path, format!("{row}\n")).unwrap();
    }
    assert_eq!(outcome.alarms, Vec::<String>::new());
}
