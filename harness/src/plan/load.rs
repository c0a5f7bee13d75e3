//! Loads and records of a plan.

use std::path::Path;
use std::sync::Arc;

use gauntlet_wire::codec::Codec;

use super::convert::{Refusal, codec, refuse};
use super::{KeyChoice, LoadPlan, PacePlan, RecordPlan, TopicPlan, WarmupPlan};
use crate::disk::sample_batch;
use crate::keys::{KeyPlan, KeyWeights, digits};
use crate::payload::{BodyPlan, IdentityPlace};
use crate::scenario::types as file;
use crate::scenario::{BATCH_OVERHEAD_BYTES, Scenario};
use crate::schedule::{Arrival, Curve, Segment};
use crate::sizes::SizePlan;
use crate::trace;
use crate::units::{Duration, Rate};

/// Largest file that bodies are cut from: it is held in memory.
const CORPUS_BYTES_MAX: u64 = 1 << 30;

/// The load of a scenario, those of its producers' own included.
pub(super) fn load(scenario: &Scenario, topics: &[TopicPlan], refusals: &mut Vec<Refusal>) -> LoadPlan {
    let whole = &scenario.load;
    let mut duration = whole.shape.duration().map(Duration::to_std);
    let mut paces = vec![match &whole.shape {
        file::Shape::Unlimited { extent, slots } => PacePlan::Unlimited {
            records_max: match extent {
                file::Extent::Messages(count) => Some(*count),
                file::Extent::Duration(_) => None,
            },
            slots: *slots,
        },
        file::Shape::Replay { file, speed } => replay(scenario, Path::new(file), *speed, topics).map_or_else(
            |refusal| {
                refusals.push(refusal);
                open(Vec::new(), 0, whole.arrival)
            },
            |(pace, length)| {
                duration = Some(length);
                pace
            },
        ),
        shape => open(segments(shape), warmup_per_s(shape), whole.arrival),
    }];
    let own = scenario.workload.producers.iter().enumerate();
    for (index, own) in own.filter_map(|(index, block)| Some((index, block.load.as_ref()?))) {
        if !own.shape.is_scheduled() {
            let message = "producers with an unlimited load of their own are not supported yet";
            let help = "give the whole scenario an unlimited load, or these producers a rate";
            refusals.push(refuse(format!("workload.producers[{index}].load.shape"), message, help));
        }
        let mut late = vec![level(Rate::per_second(0), own.start)];
        late.extend(segments(&own.shape));
        paces.push(open(late, 0, own.arrival));
    }
    if scenario.workload.producers.iter().all(|block| block.load.is_some()) {
        let message = "every block of producers has a load of its own, so nobody takes part in `load`";
        refusals.push(refuse("load", message, "remove the `load` of one block"));
    }
    LoadPlan {
        paces,
        warmup: match whole.warmup {
            file::Warmup::For(d) => WarmupPlan::For(d.to_std()),
            file::Warmup::UntilStable { min, max } => {
                WarmupPlan::UntilStable { min: min.to_std(), max: max.to_std() }
            }
        },
        duration,
        drain: whole.drain.to_std(),
        drops: whole.overflow == file::Overflow::Drop,
    }
}

/// A recorded load, and how long it lasts from t = 0 on.
fn replay(
    scenario: &Scenario,
    file: &Path,
    speed: f64,
    topics: &[TopicPlan],
) -> Result<(PacePlan, std::time::Duration), Refusal> {
    let help = "CSV with a header line, or NDJSON: `time` in seconds (or `timestamp` in ms), `key`, `size`; \
                the path is relative to where gauntlet is called";
    // The scenario was checked to have one block of producers, and only topics of its own.
    let block = &scenario.workload.producers[0];
    let least = block.value_bytes_min();
    let recording = trace::read::read(file, least as u32)
        .map_err(|error| refuse("load.file", error.to_string(), help))?;
    let partitions = topics.iter().find(|t| t.name == block.topic).map_or(1, |topic| topic.partitions);
    let size = sizes(&block.payload.size, least as usize);
    let trace = recording.lay_out(partitions, size.mean() as u32, speed);
    let (longest, room) = (trace.record_bytes_max(), block.config.max_request_size_bytes as usize);
    if longest + BATCH_OVERHEAD_BYTES as usize > room {
        let message = format!(
            "the recording has a record of {longest} bytes, which max.request.size ({room}) has no room for"
        );
        let help =
            "raise `workload.producers[].config: { max.request.size }`, and the topic's max.message.bytes";
        return Err(refuse("load.file", message, help));
    }
    let warmup = match scenario.load.warmup {
        file::Warmup::For(length) | file::Warmup::UntilStable { min: length, .. } => length.as_ns(),
    };
    let length = trace.length_ns().checked_sub(warmup).filter(|left| *left > 0).ok_or_else(|| {
        let length = Duration::from_ns(trace.length_ns());
        let message = format!("the recording is over after {length}, in the warm-up");
        refuse("load.warmup", message, "shorten it: it is cut off the recording's begin")
    })?;
    let late = scenario.faults.iter().position(|fault| fault.at.as_ns() >= length);
    if let Some(index) = late {
        let message = format!("the recording ends at {}, before the fault", Duration::from_ns(length));
        let help = "make it earlier; it counts from the end of the warm-up";
        return Err(refuse(format!("faults[{index}].at"), message, help));
    }
    let warmup_per_s = match warmup {
        0 => 0,
        warmup => (trace.records_before(warmup) as f64 * 1e9 / warmup as f64).round() as u64,
    };
    let curve = Arc::new(Curve::new(warmup_per_s, &trace.rates(warmup)));
    Ok((PacePlan::Replay { trace: Arc::new(trace), curve }, std::time::Duration::from_nanos(length)))
}

/// Which load each block of producers takes part in.
pub(super) fn load_indices(scenario: &Scenario) -> Vec<usize> {
    let mut next = 0;
    let own = |block: &file::Producers| {
        next += usize::from(block.load.is_some());
        if block.load.is_some() { next } else { 0 }
    };
    scenario.workload.producers.iter().map(own).collect()
}

fn open(segments: Vec<Segment>, warmup_per_s: u64, arrival: file::Arrival) -> PacePlan {
    PacePlan::Open {
        curve: Arc::new(Curve::new(warmup_per_s, &segments)),
        arrival: match arrival {
            file::Arrival::Uniform => Arrival::Uniform,
            file::Arrival::Poisson => Arrival::Poisson,
        },
    }
}

fn ramp(from: Rate, to: Rate, length: Duration) -> Segment {
    Segment { from_per_s: from.per_s(), to_per_s: to.per_s(), length_ns: length.as_ns() }
}

fn level(rate: Rate, length: Duration) -> Segment {
    ramp(rate, rate, length)
}

fn segments(shape: &file::Shape) -> Vec<Segment> {
    match shape {
        file::Shape::Constant { rate, duration } => vec![level(*rate, *duration)],
        file::Shape::Ramp { from, to, duration } => vec![ramp(*from, *to, *duration)],
        file::Shape::Step { from, increment, levels, level_duration, ramp_between } => {
            let rate = |level: u32| Rate::per_second(from.per_s() + increment.per_s() * u64::from(level));
            let step = |n: u32| {
                let up = (n > 0).then(|| ramp(rate(n - 1), rate(n), *ramp_between));
                up.into_iter().chain([level(rate(n), *level_duration)])
            };
            (0..*levels).flat_map(step).filter(|segment| segment.length_ns > 0).collect()
        }
        file::Shape::Spike { base, peak, spike_at, spike_for, duration } => {
            let after = duration.as_ns().saturating_sub(spike_at.as_ns() + spike_for.as_ns());
            let parts =
                [level(*base, *spike_at), level(*peak, *spike_for), level(*base, Duration::from_ns(after))];
            parts.into_iter().filter(|segment| segment.length_ns > 0).collect()
        }
        file::Shape::Stages(stages) => {
            let starts = std::iter::once(Rate::per_second(0)).chain(stages.iter().map(|stage| stage.target));
            starts.zip(stages).map(|(from, stage)| ramp(from, stage.target, stage.duration)).collect()
        }
        // The first of its trials; each is planned by itself.
        file::Shape::MaxSearch(search) => vec![level(search.low, search.trial)],
        // Neither is made of segments: nobody knows the rates of the one, and those of the other are in a file.
        file::Shape::Unlimited { .. } | file::Shape::Replay { .. } => Vec::new(),
    }
}

/// What the warm-up runs at: the rate of a constant load, else the mean of the whole load. Brokers that have only seen the
/// foot of a ramp are as cold as new ones.
pub(crate) fn warmup_per_s(shape: &file::Shape) -> u64 {
    if let file::Shape::Constant { rate, .. } = shape {
        return rate.per_s();
    }
    let curve = Curve::new(0, &segments(shape));
    (curve.records() as f64 * 1e9 / curve.length_ns().max(1) as f64).ceil() as u64
}

/// How the records of a block look whose bodies are random: of those there is nothing to refuse.
pub(crate) fn record_plan(block: &file::Producers) -> RecordPlan {
    records(0, block, &mut Vec::new())
}

/// How the records of a block look.
pub(super) fn records(index: usize, block: &file::Producers, refusals: &mut Vec<Refusal>) -> RecordPlan {
    let sizes = sizes(&block.payload.size, block.value_bytes_min() as usize);
    let value_bytes_mean = sizes.mean();
    let path = |field: &str| format!("workload.producers[{index}].payload.{field}");
    let body = match &block.payload.body {
        file::Body::Random(fraction) => Ok(BodyPlan::Random(fraction.get())),
        file::Body::Json(json) => Ok(BodyPlan::Json(Arc::new(json.envelope()))),
        file::Body::Ratio { codec: named, ratio } => {
            let batch_bytes = block.config.batch_size_bytes as usize;
            calibrate(value_bytes_mean as usize, block.identity, codec(*named), ratio.get(), batch_bytes)
                .map_err(|(message, help)| refuse(path("target_ratio"), message, help))
        }
        file::Body::Corpus(name) => corpus(Path::new(name)).map_err(|message| {
            refuse(path("corpus"), message, "name a file, relative to where gauntlet is called")
        }),
    };
    let headers = block.payload.headers.iter();
    RecordPlan {
        body: body.unwrap_or_else(|refusal| {
            refusals.push(refusal);
            BodyPlan::Random(0.0)
        }),
        identity: block.identity,
        sizes,
        value_bytes_mean,
        keys: keys(&block.key),
        headers: headers.map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect(),
    }
}

/// Sizes of values, none below `least`.
fn sizes(size: &file::Size, least: usize) -> SizePlan {
    let bytes = |bytes: crate::units::Bytes| bytes.get() as usize;
    match size {
        file::Size::Fixed(size) => SizePlan::Fixed(bytes(*size)),
        file::Size::Uniform { min, max } => SizePlan::Uniform { min: bytes(*min), max: bytes(*max) },
        file::Size::LogNormal { median, sigma, max } => {
            SizePlan::LogNormal { median: bytes(*median), sigma: *sigma, min: least, max: bytes(*max) }
        }
        file::Size::Weighted(sizes) => {
            SizePlan::Weighted(sizes.iter().map(|s| (bytes(s.size), s.weight)).collect())
        }
    }
}

fn keys(key: &file::Key) -> KeyChoice {
    match *key {
        file::Key::None => KeyChoice::None,
        file::Key::Sticky => KeyChoice::Sticky,
        file::Key::Keys { cardinality, distribution, size } => KeyChoice::Keys(KeyPlan {
            cardinality,
            weights: match distribution {
                file::KeyDistribution::RoundRobin => KeyWeights::RoundRobin,
                file::KeyDistribution::Uniform => KeyWeights::Uniform,
                file::KeyDistribution::Zipf { exponent } => KeyWeights::Zipf { exponent },
                file::KeyDistribution::Hot { hot_keys, hot_share } => {
                    KeyWeights::Hot { keys: hot_keys, share: hot_share.get() }
                }
            },
            bytes: size.map_or_else(|| digits(cardinality), |size| size.get() as usize),
        }),
    }
}

/// How much of a body must be random for batches to compress to `ratio`: found by trying, as no formula knows a codec.
fn calibrate(
    size: usize,
    identity: IdentityPlace,
    codec: Codec,
    ratio: f64,
    batch_bytes: usize,
) -> Result<BodyPlan, (String, String)> {
    const STEPS: u32 = 20;
    let reached = |fraction: f64| {
        sample_batch(size, (&BodyPlan::Random(fraction), identity), codec, batch_bytes).ratio()
    };
    let (least, most) = (reached(0.0), reached(1.0));
    if codec == Codec::None || !(least..=most).contains(&ratio) {
        let help = format!(
            "values of {size} bytes in batches of {batch_bytes} bytes reach {least:.2} to {most:.2} with {codec:?}"
        );
        return Err((format!("a ratio of {ratio} cannot be reached"), help.to_lowercase()));
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..STEPS {
        let middle = (low + high) / 2.0;
        if reached(middle) < ratio {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(BodyPlan::Random((low + high) / 2.0))
}

fn corpus(path: &Path) -> Result<BodyPlan, String> {
    let name = path.display();
    let length = std::fs::metadata(path).map_err(|error| format!("cannot read {name}: {error}"))?.len();
    if length == 0 {
        return Err(format!("{name} is empty"));
    }
    if length > CORPUS_BYTES_MAX {
        return Err(format!("{name} has {length} bytes; at most {CORPUS_BYTES_MAX} are held in memory"));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    Ok(BodyPlan::Corpus(bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_ratio_is_met_where_it_can_be() {
        for codec in [Codec::Lz4, Codec::Zstd, Codec::Gzip, Codec::Snappy] {
            for identity in [IdentityPlace::Value, IdentityPlace::Header, IdentityPlace::Key] {
                let body = calibrate(1_000, identity, codec, 0.5, 65_536).unwrap();
                let reached = sample_batch(1_000, (&body, identity), codec, 65_536).ratio();
                // Snappy finds either a match or none in many records at once: its ratio has steps.
                assert!((reached - 0.5).abs() < 0.02, "{codec:?} reaches {reached} with {identity:?}");
            }
        }
        assert!(calibrate(1_000, IdentityPlace::Value, Codec::Lz4, 0.001, 65_536).is_err());
        assert!(calibrate(1_000, IdentityPlace::Value, Codec::None, 1.0, 65_536).is_err());
    }

    #[test]
    fn shapes_are_made_of_segments() {
        let rate = Rate::per_second;
        let s = Duration::from_secs;
        let spike = file::Shape::Spike {
            base: rate(10),
            peak: rate(90),
            spike_at: s(2),
            spike_for: s(1),
            duration: s(3),
        };
        let parts: Vec<(u64, u64, u64)> = segments(&spike)
            .iter()
            .map(|p| (p.from_per_s, p.to_per_s, p.length_ns / 1_000_000_000))
            .collect();
        assert_eq!(parts, [(10, 10, 2), (90, 90, 1)], "nothing comes after a spike that ends with the load");
        assert_eq!(warmup_per_s(&spike), 37);
        let step = file::Shape::Step {
            from: rate(10),
            increment: rate(5),
            levels: 3,
            level_duration: s(4),
            ramp_between: s(1),
        };
        let curve = Curve::new(0, &segments(&step));
        assert_eq!(curve.length_ns(), step.duration().unwrap().as_ns());
        assert_eq!(curve.records(), 40 + 12 + 60 + 17 + 80);
        let stages = file::Shape::Stages(vec![
            file::Stage { target: rate(100), duration: s(2) },
            file::Stage { target: rate(0), duration: s(4) },
        ]);
        assert_eq!(Curve::new(0, &segments(&stages)).records(), 100 + 200);
    }
}
