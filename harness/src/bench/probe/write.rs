//! Records of a run, written by one thread as fast as they are taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use gauntlet_verify::{IDENTITY_LEN, Outcome};
use gauntlet_wire::codec::Codec;
use gauntlet_wire::producer::{Acks, LoopError, ProducerConfig, run_producers};
use gauntlet_wire::{LinkConfig, monotonic_ns};

use super::{Cost, ProbeError, thread_cpu_s};
use crate::bench::payload::RANDOM_FRACTION;
use crate::load::producer::{Pace, PartitionSettlement, Unlimited};
use crate::load::records::RecordMaker;
use crate::load::{Control, Interval, ProducerLoad, ProducerPlan};
use crate::payload::{BodyMaker, BodyPlan};
use crate::run::INTERVAL_NS;
use crate::sizes::SizePlan;
use crate::units::Bytes;

const MIB: usize = 1 << 20;

/// What to write, and where.
#[derive(Debug, Clone)]
pub struct WritePlan {
    /// `bootstrap.servers`.
    pub bootstrap: Vec<String>,
    /// A topic that is there.
    pub topic: String,
    /// Its partitions.
    pub partitions: u32,
    /// Id of the run, in every record.
    pub run: u32,
    /// Size of each value.
    pub size: Bytes,
    /// `compression.type`.
    pub codec: Codec,
    /// How many.
    pub records: u64,
    /// `batch.size`.
    pub batch_bytes: usize,
    /// `linger.ms`.
    pub linger: Duration,
    /// When to stop waiting.
    pub limit: Duration,
}

/// Writes; what it cost is that of the thread that does everything a producer does.
///
/// # Errors
/// Not all was acked.
pub fn write(plan: &WritePlan) -> Result<Cost, ProbeError> {
    let control = Arc::new(Control::default());
    control.give_up(monotonic_ns() + plan.limit.as_nanos() as u64);
    let (settlements, settled) = unbounded::<PartitionSettlement>();
    let (intervals, reported) = unbounded::<Interval>();
    // As in a run, somebody takes what the producer hands over.
    let counter = spawn("settled", move || {
        let acked = |(_, settlement, _): PartitionSettlement| match settlement.outcome {
            Outcome::Acked { .. } => u64::from(settlement.count),
            _ => 0,
        };
        settled.into_iter().map(acked).sum::<u64>()
    })?;
    let sink = spawn("intervals", move || reported.into_iter().for_each(drop))?;
    let senders = vec![settlements; plan.partitions as usize];
    let load = ProducerLoad::new(producer(plan), control, senders, intervals, INTERVAL_NS);
    let config = client(plan);
    let begun = Instant::now();
    let measured = spawn("produce-0", move || -> Result<f64, LoopError> {
        let before_s = thread_cpu_s();
        run_producers(vec![(config, load)])?.into_iter().for_each(ProducerLoad::finish);
        Ok(thread_cpu_s() - before_s)
    })?;
    let cpu_s = measured.join().map_err(|_| ProbeError::Panicked)??;
    let seconds = begun.elapsed().as_secs_f64();
    let acked = counter.join().map_err(|_| ProbeError::Panicked)?;
    sink.join().map_err(|_| ProbeError::Panicked)?;
    if acked != plan.records {
        return Err(ProbeError::Incomplete(format!("{acked} of {} records were acked", plan.records)));
    }
    Ok(Cost { records: acked, cpu_s, seconds })
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

fn producer(plan: &WritePlan) -> ProducerPlan {
    let value_bytes = (plan.size.get() as usize).max(IDENTITY_LEN);
    let body =
        BodyMaker::new(u64::from(plan.run), 0, BodyPlan::Random(RANDOM_FRACTION), value_bytes - IDENTITY_LEN);
    let sizes = SizePlan::Fixed(value_bytes);
    ProducerPlan {
        run: plan.run,
        producer: 0,
        topic: plan.topic.clone(),
        partitions: plan.partitions,
        pace: Pace::Unlimited(Unlimited { records_max: plan.records, slots: None, shares: None }),
        records: RecordMaker::new(u64::from(plan.run), 0, body, (&sizes, value_bytes), None, Arc::new([])),
        origin_ns: monotonic_ns(),
        linger_ns: plan.linger.as_nanos() as u64,
        unix_minus_monotonic_ns: crate::run::unix_minus_monotonic_ns(),
        room_bytes: None,
        stumble: None,
    }
}

fn client(plan: &WritePlan) -> ProducerConfig {
    ProducerConfig {
        index: 0,
        links: LinkConfig {
            bootstrap: plan.bootstrap.clone(),
            client_id: "bench-writer".to_owned(),
            ..LinkConfig::default()
        },
        topic: plan.topic.clone(),
        partitions: plan.partitions as usize,
        acks: Acks::All,
        idempotent: true,
        codec: plan.codec,
        linger: plan.linger,
        batch_bytes: plan.batch_bytes,
        request_bytes: 4 * MIB,
        buffer_bytes: 256 * MIB,
        max_in_flight: 5,
        delivery_timeout: Duration::from_secs(120),
        retries: true,
    }
}
