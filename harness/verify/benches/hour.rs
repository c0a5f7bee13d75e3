//! What the checker holds in memory over an hour of 1M records a second from 10,000 streams (100 producers on 100 partitions), and over ten
//! minutes of the same in which 1 % of the records are lost at random.
//!
//! Prints what all checkers hold together, and the process, at every twelfth of the time, and what was found in the end. The time it takes
//! includes the making of the records. Run with `cargo bench -p gauntlet-verify --bench hour`; `GAUNTLET_HOUR_ROWS` names a file that
//! the outcome is added to, a line of JSON each.

#![expect(clippy::print_stdout, reason = "it tells what it has measured")]

use std::collections::VecDeque;
use std::io::Write;
use std::time::Instant;

use gauntlet_verify::identity::encode;
use gauntlet_verify::{
    BatchHeader, CrcSeed, IDENTITY_LEN, Identity, Outcome, ReadEnd, Settlement, Shard, ShardConfig,
    StreamKey, Summary,
};

const RUN: u32 = 1;
const PARTITIONS: u32 = 100;
const PRODUCERS: u16 = 100;
const RECORDS_PER_S: u64 = 1_000_000;
/// Of one stream in one second: one batch.
const BATCH_RECORDS: u64 = RECORDS_PER_S / (PARTITIONS as u64 * PRODUCERS as u64);
/// So many batches of a partition are read before an ack comes, or acked before they are read.
const AHEAD: usize = 5;
/// What a run gives the checker of each of so many partitions.
const FRAGMENTS: usize = 40_000;
const LOOKS: u64 = 12;

/// SplitMix64: enough randomness, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn permille(&mut self, chance: u64) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % 1_000 < chance
    }
}

/// A partition, whose acks come first if its number is even, and after the reads if it is odd.
struct Partition {
    number: u32,
    shard: Shard,
    seed: CrcSeed,
    next_offset: i64,
    waiting: VecDeque<(Settlement, BatchHeader)>,
}

impl Partition {
    fn new(number: u32) -> Self {
        let shard = Shard::new(ShardConfig {
            run: RUN,
            topic: "hour".to_owned(),
            partition: number,
            other_topics: Vec::new(),
            created_by_run: true,
            in_order: true,
            gapless: true,
            compacted: false,
            start_offset: 0,
            witness_limit: 8,
            fragment_limit: FRAGMENTS,
        });
        let seed = CrcSeed::new("hour", number);
        Partition { number, shard, seed, next_offset: 0, waiting: VecDeque::new() }
    }

    /// A producer's batch of this second. Returns how many of its records the log does not hold.
    fn batch(&mut self, second: u64, producer: u16, lost_permille: u64, dice: &mut Dice) -> u64 {
        let (base_offset, first_pseq) = (self.next_offset, second * BATCH_RECORDS);
        self.next_offset += BATCH_RECORDS as i64;
        let sent_ns = 1 + second * 1_000_000_000 + u64::from(producer);
        let settlement = Settlement {
            stream: StreamKey { producer, incarnation: 0 },
            first_pseq,
            count: BATCH_RECORDS as u32,
            outcome: Outcome::Acked { base_offset: Some(base_offset) },
            sent_ns,
            settled_ns: sent_ns + 20_000_000_000,
        };
        let header = BatchHeader {
            base_offset,
            last_offset: self.next_offset - 1,
            leader_epoch: 0,
            producer_id: i64::from(producer),
            producer_epoch: 0,
            base_sequence: (first_pseq % (1 << 31)) as i32,
            control: false,
            transactional: false,
        };
        let acks_first = self.number.is_multiple_of(2);
        if acks_first {
            self.shard.settle(&settlement);
        }
        let lost = if acks_first { 0 } else { self.read(&settlement, &header, lost_permille, dice) };
        self.waiting.push_back((settlement, header));
        lost + if self.waiting.len() > AHEAD { self.catch_up(lost_permille, dice) } else { 0 }
    }

    /// The other half of the batch that has waited longest.
    fn catch_up(&mut self, lost_permille: u64, dice: &mut Dice) -> u64 {
        let Some((settlement, header)) = self.waiting.pop_front() else { return 0 };
        if self.number.is_multiple_of(2) {
            return self.read(&settlement, &header, lost_permille, dice);
        }
        self.shard.settle(&settlement);
        0
    }

    fn read(&mut self, sent: &Settlement, header: &BatchHeader, lost_permille: u64, dice: &mut Dice) -> u64 {
        let mut value = [0; IDENTITY_LEN + 6];
        let mut lost = 0;
        self.shard.begin_batch(header);
        for (offset, pseq) in (header.base_offset..=header.last_offset).zip(sent.first_pseq..) {
            if lost_permille > 0 && dice.permille(lost_permille) {
                lost += 1;
                continue;
            }
            let StreamKey { producer, incarnation } = sent.stream;
            let partition = self.number;
            let intended_ns = sent.sent_ns;
            let identity =
                Identity { flags: 0, run: RUN, producer, incarnation, partition, pseq, intended_ns };
            encode(&identity, &self.seed, &mut value).expect("longer than an identity");
            self.shard.record(offset, &value);
        }
        self.shard.end_batch();
        lost
    }

    fn finish(mut self, lost_permille: u64, dice: &mut Dice) -> (Summary, u64) {
        let mut lost = 0;
        while !self.waiting.is_empty() {
            lost += self.catch_up(lost_permille, dice);
        }
        let end = self.next_offset;
        let end = ReadEnd { position: end, end_offset: end, end_is_final: true, reader_was_limit: false };
        (self.shard.finish(&end).summary, lost)
    }
}

/// Resident memory of this process, MiB; 0 where the kernel does not say.
fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) >> 10
}

fn simulate(name: &str, seconds: u64, lost_permille: u64) {
    println!(
        "{name}: {seconds} s of {RECORDS_PER_S} records/s, {PARTITIONS} partitions x {PRODUCERS} producers"
    );
    println!("{:>8} {:>14} {:>14} {:>10}", "minute", "records", "checkers MiB", "RSS MiB");
    let begun = Instant::now();
    let mut dice = Dice(7);
    let mut partitions: Vec<Partition> = (0..PARTITIONS).map(Partition::new).collect();
    let mut planted = 0;
    let (mut held_max, mut looks) = (0, Vec::new());
    for second in 0..seconds {
        for partition in &mut partitions {
            for producer in 0..PRODUCERS {
                planted += partition.batch(second, producer, lost_permille, &mut dice);
            }
        }
        let held = partitions.iter().map(|partition| partition.shard.memory_bytes()).sum::<usize>() >> 20;
        held_max = held_max.max(held);
        if (second + 1).is_multiple_of((seconds / LOOKS).max(1)) {
            let (minute, records, rss) =
                ((second + 1) as f64 / 60.0, (second + 1) * RECORDS_PER_S, rss_mib());
            println!("{minute:>8.1} {records:>14} {held:>14} {rss:>10}");
            looks.push(serde_json::json!({ "minute": minute, "checkers_mib": held, "rss_mib": rss }));
        }
    }
    let mut found = Summary::default();
    for partition in partitions {
        let (summary, lost) = partition.finish(lost_permille, &mut dice);
        found.merge(&summary);
        planted += lost;
    }
    let elapsed_s = begun.elapsed().as_secs_f64();
    let ns = elapsed_s * 1e9 / (seconds * RECORDS_PER_S) as f64;
    println!(
        "{planted} lost at random; found {} lost, {} unchecked, {} skipped, degraded: {}; {ns:.0} ns per record, made and checked\n",
        found.lost, found.unchecked, found.position_skips, found.degraded
    );
    let row = serde_json::json!({
        "name": name,
        "simulated_seconds": seconds,
        "records": seconds * RECORDS_PER_S,
        "streams": PARTITIONS * u32::from(PRODUCERS),
        "partitions": PARTITIONS,
        "checkers_mib_max": held_max,
        "looks": looks,
        "planted_lost": planted,
        "found_lost": found.lost,
        "unchecked": found.unchecked,
        "position_skips": found.position_skips,
        "degraded": found.degraded,
        "ns_per_record_made_and_checked": ns.round(),
    });
    if let Ok(path) = std::env::var("GAUNTLET_HOUR_ROWS") {
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file to add to");
        writeln!(file, "{row}").expect("room for a line");
    }
}

fn main() {
    // Whoever only wants to know that it works (`cargo test --benches`) gets a few seconds.
    let (hour, ten_minutes) =
        if std::env::args().any(|arg| arg == "--bench") { (3_600, 600) } else { (2, 2) };
    simulate("an hour", hour, 0);
    simulate("1 % lost at random", ten_minutes, 10);
}
