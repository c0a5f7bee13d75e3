//! How random bodies have to be so that batches compress as those of the topic do.
//!
//! Found by trying, with the records that the scenario is going to send (sizes, keys, headers, identities included), in batches of
//! as many records as the topic's have. `payload.target_ratio` would try batches of bodies alone.

use std::sync::Arc;

use gauntlet_verify::{CrcSeed, IDENTITY_LEN, Identity};
use gauntlet_wire::batch::{BatchBuilder, BatchStamp};
use gauntlet_wire::codec::Codec;
use serde::Serialize;

use super::Fingerprint;
use crate::keys::KeySpace;
use crate::load::records::{Keys, RecordMaker};
use crate::payload::{BodyMaker, BodyPlan};
use crate::plan::{KeyChoice, RecordPlan, record_plan};
use crate::scenario::Scenario;

/// Bytes that are tried at once, about: the ratio of less depends on chance.
const TRIED_BYTES: usize = 512 << 10;
const BATCHES_MAX: usize = 64;
/// Larger batches compress as these do.
const BATCH_BYTES_MAX: usize = 4 << 20;
const BISECTIONS: u32 = 12;
const SEED: u64 = 1;

/// How random bodies have to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Calibrated {
    /// `payload.random_fraction`.
    pub random_fraction: f64,
    /// What batches were to come to.
    pub wanted_ratio: f64,
    /// What they do come to.
    pub reached_ratio: f64,
}

/// Calibrates the bodies of a scenario that was written from a fingerprint. `None`: what batches come to was not measured.
pub(super) fn calibrate(draft: &Scenario, fingerprint: &Fingerprint) -> Option<Calibrated> {
    let (codec, wanted_ratio) = fingerprint.compressibility.measured()?;
    let block = &draft.workload.producers[0];
    let plan = record_plan(block);
    let partitions = draft.topics[0].partitions.unwrap_or(1);
    let keys = match plan.keys {
        KeyChoice::Keys(keys) => Some(Keys::Drawn(Arc::new(KeySpace::new(keys, partitions)))),
        KeyChoice::None | KeyChoice::Sticky | KeyChoice::Recorded(_) => None,
    };
    let records = fingerprint.batches.records.mean.round() as usize;
    let trial = Trial::new(plan, keys, codec, records.max(1));
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..BISECTIONS {
        let middle = (low + high) / 2.0;
        if trial.ratio(middle) < wanted_ratio { low = middle } else { high = middle }
    }
    // Bodies have whole bytes, so that the ratio has steps; three digits are enough to be on either side of one.
    let sides = [(low * 1e3_f64).floor() / 1e3, (high * 1e3_f64).ceil() / 1e3];
    let off = |ratio: f64| (ratio - wanted_ratio).abs();
    let tried = sides.map(|random_fraction| (random_fraction, trial.ratio(random_fraction)));
    let (random_fraction, reached_ratio) =
        if off(tried[0].1) <= off(tried[1].1) { tried[0] } else { tried[1] };
    Some(Calibrated { random_fraction, wanted_ratio, reached_ratio })
}

/// Batches as the scenario will send them.
struct Trial {
    plan: RecordPlan,
    keys: Option<Keys>,
    /// Partitions that get records.
    partitions: Vec<usize>,
    codec: Codec,
    records_per_batch: usize,
}

impl Trial {
    fn new(plan: RecordPlan, keys: Option<Keys>, codec: Codec, records_per_batch: usize) -> Self {
        let shares = keys.as_ref().and_then(Keys::shares);
        let partitions = match &shares {
            None => vec![0],
            Some(shares) => {
                let with_keys = shares.iter().enumerate().filter(|(_, share)| **share > 0.0);
                with_keys.map(|(partition, _)| partition).collect()
            }
        };
        Trial { plan, keys, partitions, codec, records_per_batch }
    }

    /// Compressed to uncompressed bytes of batches whose bodies are random to this part.
    fn ratio(&self, random_fraction: f64) -> f64 {
        let value_bytes = self.plan.value_bytes_mean as usize;
        let body_bytes = value_bytes.saturating_sub(IDENTITY_LEN);
        let body = BodyMaker::new(SEED, 0, BodyPlan::Random(random_fraction), body_bytes);
        let sizes = (&self.plan.sizes, value_bytes);
        let maker = RecordMaker::new(SEED, 0, body, sizes, self.keys.clone(), Arc::clone(&self.plan.headers));
        let records_per_batch =
            self.records_per_batch.min(BATCH_BYTES_MAX / maker.usual_bytes().max(1)).max(1);
        let batch_bytes = maker.usual_bytes().max(1) * records_per_batch;
        let batches = (TRIED_BYTES / batch_bytes).clamp(1, BATCHES_MAX);
        let mut builder = BatchBuilder::new(self.codec);
        let (mut stored, mut uncompressed) = (0u64, 0u64);
        for batch in 0..batches {
            let partition = self.partitions[batch % self.partitions.len()];
            let seed = CrcSeed::new("calibration", partition as u32);
            let mut key = Vec::new();
            let mut writer = maker.writer(partition, &seed, &mut key);
            for record in 0..records_per_batch {
                let index = (batch * records_per_batch + record) as u64;
                let identity = Identity {
                    flags: 0,
                    run: 0x7f3a_11c5,
                    producer: 0,
                    incarnation: 0,
                    partition: partition as u32,
                    pseq: index,
                    intended_ns: index * 20_000,
                };
                writer.append(index, &identity, (index / 50) as i64, &mut builder);
            }
            let sealed = builder.seal(BatchStamp { producer_id: 1_000, producer_epoch: 0, base_sequence: 0 });
            stored += sealed.bytes().len() as u64;
            uncompressed += u64::from(sealed.uncompressed_bytes());
        }
        stored as f64 / uncompressed.max(1) as f64
    }
}
