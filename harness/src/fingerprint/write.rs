//! The scenario that sends what was measured.
//!
//! It is for local brokers and a topic of its own, so that nobody loads the live cluster by running it. Values and keys are
//! gauntlet's; what was measured stands beside what it led to.

use std::fmt::Write;

use gauntlet_wire::codec::Codec;

use super::headers::VALUE_BYTES_MAX;
use super::{Calibrated, Fingerprint, KeyModel, RateEstimate, UsualHeader, words};
use crate::keys::{KEYS_MAX, digits};
use crate::random::SplitMix;
use crate::units::{Bytes, Duration, Rate};

/// Most partitions that a scenario's topic may have.
pub(super) const PARTITIONS_MAX: u32 = 10_000;
/// Most producers of a block.
pub(super) const PRODUCERS_MAX: u16 = 1_000;
/// Longest key of a scenario.
const KEY_BYTES_MAX: u64 = 32 << 10;
/// Most local brokers that are proposed beyond what the replicas need.
const BROKERS: u16 = 3;
/// Kafka's default of `max.request.size`, and what a record needs of it besides value, key and headers.
const REQUEST_BYTES_DEFAULT: u64 = 1 << 20;
const REQUEST_OVERHEAD_BYTES: u64 = 1_024;
/// A constant load has no length of its own.
const CONSTANT_S: u32 = 60;
/// A load that begins with a step from zero.
const STEP: Duration = Duration::from_ns(1_000_000);
/// Leaves room for a prefix in the 100 letters of a scenario's name.
const NAME_LENGTH_MAX: usize = 90;

/// The text of the scenario. Without `calibrated` its bodies are not random at all.
pub(super) fn yaml(found: &Fingerprint, calibrated: Option<&Calibrated>) -> String {
    let mut out = String::new();
    // Writing to a text does not fail.
    let _ = head(found, &mut out)
        .and_then(|()| topic(found, &mut out))
        .and_then(|()| payload(found, calibrated, &mut out))
        .and_then(|()| key(found, &mut out))
        .and_then(|()| producers(found, &mut out))
        .and_then(|()| load(&found.rate, &mut out));
    out
}

type Written = std::fmt::Result;

fn head(found: &Fingerprint, out: &mut String) -> Written {
    let name = &found.topic.name;
    let made = format!(
        "Made by `gauntlet fingerprint` from the topic {name}: numbers, and the names of record headers; nothing else of \
         what its records say."
    );
    comment(out, "", &made)?;
    comment(out, "", &words::sample(&found.sample, found.batches.batches))?;
    writeln!(out, "#\n# What this file does not say, or the sample can't tell:")?;
    for doubt in super::doubts::of(found) {
        comment(out, "- ", &doubt)?;
    }
    writeln!(out, "version: 1\nname: like-{}", scenario_name(name))?;
    writeln!(out, "description: Load like that of topic {name}, by its fingerprint.\n")?;
    writeln!(out, "# A cluster of its own: running this loads no other.")?;
    let brokers = found.topic.replication_factor.max(found.topic.brokers.min(BROKERS)).clamp(1, 50);
    writeln!(out, "cluster:\n  local: {{ brokers: {brokers} }}\n")
}

/// A comment of lines that are not too long. Whatever the text, nothing of it gets out of the comment.
fn comment(out: &mut String, mark: &str, text: &str) -> Written {
    const WIDTH: usize = 110;
    let text = words::printable(text);
    let mut line = format!("# {mark}");
    let indent = " ".repeat(mark.len());
    for word in text.split(' ') {
        if line.chars().count() + word.chars().count() > WIDTH {
            writeln!(out, "{}", line.trim_end())?;
            line = format!("# {indent}");
        }
        line.push_str(word);
        line.push(' ');
    }
    writeln!(out, "{}", line.trim_end())
}

/// Letters of a topic's name as the name of a scenario may have them.
fn scenario_name(topic: &str) -> String {
    let lower = topic.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let name: String = lower.take(NAME_LENGTH_MAX).collect();
    match name.trim_matches('-') {
        "" => "topic".to_owned(),
        name => name.to_owned(),
    }
}

/// A text that YAML and references leave alone.
fn quoted(text: &str) -> String {
    json(&text.replace("${", "$${"))
}

/// As a JSON string, which is YAML if it is printable, too.
fn json(text: &str) -> String {
    let escape = |c: char| match words::is_unprintable(c) {
        true => format!("\\u{:04x}", u32::from(c)),
        false => String::from(c),
    };
    serde_json::Value::from(text).to_string().chars().map(escape).collect()
}

fn topic(found: &Fingerprint, out: &mut String) -> Written {
    let topic = &found.topic;
    comment(out, "", &words::topic(topic))?;
    writeln!(out, "topics:\n  - name: gauntlet-like-{}-${{run.id}}", scenario_name(&topic.name))?;
    writeln!(out, "    partitions: {}", topic.partitions.clamp(1, PARTITIONS_MAX))?;
    writeln!(out, "    replication_factor: {}", topic.replication_factor.clamp(1, 50))?;
    let mut config = topic.config.clone();
    if request_bytes(found) > REQUEST_BYTES_DEFAULT {
        config.entry("max.message.bytes".to_owned()).or_insert_with(|| request_bytes(found).to_string());
    }
    if !config.is_empty() {
        writeln!(out, "    config:")?;
    }
    for (property, value) in config {
        writeln!(out, "      {property}: {}", quoted(&value))?;
    }
    writeln!(out)
}

/// Lengths of values as they can be, each with its weight.
fn weighted(found: &Fingerprint) -> Vec<(u64, u64)> {
    let mut sizes: Vec<(u64, u64)> = Vec::new();
    for group in &found.sizes.groups {
        let bytes = group.bytes.max(gauntlet_verify::IDENTITY_LEN as u64);
        match sizes.last_mut() {
            Some((last, values)) if *last == bytes => *values += group.values,
            _ => sizes.push((bytes, group.values)),
        }
    }
    sizes
}

/// `max.request.size` that fits the largest record and batch.
fn request_bytes(found: &Fingerprint) -> u64 {
    let value = weighted(found).last().map_or(0, |(bytes, _)| *bytes);
    let headers: u64 = found.headers.usual.iter().map(|h| h.name.len() as u64 + header_bytes(h)).sum();
    let record = value + headers + found.keys.bytes.min(KEY_BYTES_MAX);
    let needed = record.max(found.batches.batch_size) + REQUEST_OVERHEAD_BYTES;
    if needed <= REQUEST_BYTES_DEFAULT { REQUEST_BYTES_DEFAULT } else { needed.next_power_of_two() }
}

fn payload(found: &Fingerprint, calibrated: Option<&Calibrated>, out: &mut String) -> Written {
    writeln!(out, "workload:\n  payload:")?;
    comment_within(out, &words::sizes(&found.sizes))?;
    match &weighted(found)[..] {
        [] => writeln!(out, "    size: {}", Bytes::new(gauntlet_verify::IDENTITY_LEN as u64))?,
        [(bytes, _)] => writeln!(out, "    size: {}", Bytes::new(*bytes))?,
        sizes => {
            writeln!(out, "    size:")?;
            for (bytes, values) in sizes {
                writeln!(out, "      - {{ size: {}, weight: {values} }}", Bytes::new(*bytes))?;
            }
        }
    }
    comment_within(out, &format!("codec {}", words::compressibility(&found.compressibility)))?;
    if let Some(Calibrated { wanted_ratio, reached_ratio, .. }) = calibrated {
        let codec = found.compressibility.measured().map_or(Codec::None, |(codec, _)| codec);
        let reached = format!(
            "with this part of a body random, batches become {reached_ratio:.3} with {codec}, for {wanted_ratio:.3}"
        );
        comment_within(out, &reached)?;
    }
    if found.compressibility.measured().is_some() {
        writeln!(out, "    random_fraction: {}", calibrated.map_or(0.0, |c| c.random_fraction))?;
    }
    if found.headers.usual.is_empty() {
        return Ok(());
    }
    comment_within(out, &words::headers(&found.headers))?;
    writeln!(out, "    headers:")?;
    for (number, header) in found.headers.usual.iter().enumerate() {
        // Keys hold no references, so nothing in them is escaped.
        let name = json(&header.name);
        writeln!(out, "      {name}: {}", quoted(&letters(number as u64, header_bytes(header))))?;
    }
    Ok(())
}

fn comment_within(out: &mut String, text: &str) -> Written {
    let mut lines = String::new();
    comment(&mut lines, "", text)?;
    lines.lines().try_for_each(|line| writeln!(out, "    {line}"))
}

fn header_bytes(header: &UsualHeader) -> u64 {
    header.bytes.min(VALUE_BYTES_MAX)
}

/// So many random letters, the same in every file.
fn letters(number: u64, count: u64) -> String {
    let mut rng = SplitMix::of(number, 0, 0);
    (0..count).map(|_| char::from(b'a' + (rng.draw() % 26) as u8)).collect()
}

fn key(found: &Fingerprint, out: &mut String) -> Written {
    let mut said = String::new();
    comment(&mut said, "", &format!("keys: {}", words::keys(&found.keys)))?;
    comment(&mut said, "", &format!("partitions: {}", words::partitions(&found.partitions)))?;
    said.lines().try_for_each(|line| writeln!(out, "  {line}"))?;
    let cardinality = found.keys.model.keys().clamp(1, u64::from(KEYS_MAX)) as u32;
    let bytes = found.keys.bytes.clamp(digits(cardinality) as u64, KEY_BYTES_MAX);
    let size = Bytes::new(bytes);
    let keys = format!("cardinality: {cardinality}, size: {size}");
    match found.keys.model {
        KeyModel::None if found.topic.partitions > 1 && found.partitions.sticky != Some(false) => {
            writeln!(out, "  key: sticky")
        }
        KeyModel::None => writeln!(out, "  key: none"),
        KeyModel::RoundRobin { .. } => writeln!(out, "  key: {{ distribution: round-robin, {keys} }}"),
        // Of a single key there is no other distribution.
        _ if cardinality == 1 => writeln!(out, "  key: {{ distribution: uniform, {keys} }}"),
        KeyModel::Uniform { .. } => writeln!(out, "  key: {{ distribution: uniform, {keys} }}"),
        KeyModel::Zipf { exponent, .. } => {
            let exponent = exponent.max(0.001);
            writeln!(out, "  key: {{ distribution: zipf, {keys}, exponent: {exponent:.3} }}")
        }
        KeyModel::Hot { hot_keys, hot_share, .. } => {
            let hot_keys = hot_keys.clamp(1, u64::from(cardinality) - 1);
            let hot = format!("hot_keys: {hot_keys}, hot_share: {hot_share:.4}");
            writeln!(out, "  key: {{ distribution: hot, {keys}, {hot} }}")
        }
    }
}

fn producers(found: &Fingerprint, out: &mut String) -> Written {
    let batches = &found.batches;
    writeln!(out, "  producers:")?;
    comment_within(out, &format!("producers: {}", words::producers(batches)))?;
    writeln!(out, "    count: {}", batches.producer_ids.clamp(1, u64::from(PRODUCERS_MAX)))?;
    writeln!(out, "    config:")?;
    let mut said = String::new();
    comment(&mut said, "", &format!("batches: {}", words::batches(batches)))?;
    said.lines().try_for_each(|line| writeln!(out, "      {line}"))?;
    writeln!(out, "      acks: all")?;
    if batches.batches > 0 {
        writeln!(out, "      enable.idempotence: {}", batches.idempotent_share > 0.5)?;
    }
    writeln!(out, "      compression.type: {}", found.compressibility.codec)?;
    if batches.batches > 0 {
        writeln!(out, "      batch.size: {}", batches.batch_size)?;
    }
    if let Some(linger_ms) = batches.linger_ms {
        // A broken clock must not make a scenario that waits for hours.
        writeln!(out, "      linger.ms: {}", linger_ms.min(60_000))?;
    }
    if request_bytes(found) > REQUEST_BYTES_DEFAULT {
        writeln!(out, "      max.request.size: {}", request_bytes(found))?;
    }
    writeln!(out)
}

fn load(rate: &RateEstimate, out: &mut String) -> Written {
    comment(out, "", &format!("rate: {}", words::rate(rate)))?;
    let whole = |per_s: f64| Rate::per_second(per_s.round().max(0.0) as u64);
    // Whole records per second are the least that a scenario can say.
    if rate.constant || rate.buckets_per_s.iter().all(|per_s| *per_s < 1.0) {
        let rate = Rate::per_second(whole(rate.per_s).per_s().max(1));
        return writeln!(
            out,
            "load:\n  shape: constant\n  rate: {rate}\n  duration: {}",
            Duration::from_secs(CONSTANT_S)
        );
    }
    // Straight lines through the middles of the buckets, level before the first and behind the last: as many records as the
    // buckets have.
    let bucket = Duration::from_ns((rate.bucket_ms * 1e6) as u64);
    let half = Duration::from_ns(bucket.as_ns() / 2);
    writeln!(out, "load:\n  shape: stages\n  stages:")?;
    let mut stage = |per_s: f64, duration: Duration| {
        let duration = Duration::from_ns(duration.as_ns() / 1_000_000 * 1_000_000).max(STEP);
        writeln!(out, "    - {{ target: {}, duration: {duration} }}", whole(per_s))
    };
    let (first, last) = (rate.buckets_per_s.first(), rate.buckets_per_s.last());
    let (first, last) = (first.copied().unwrap_or(1.0), last.copied().unwrap_or(1.0));
    stage(first, STEP)?;
    stage(first, half)?;
    for per_s in rate.buckets_per_s.iter().skip(1) {
        stage(*per_s, bucket)?;
    }
    stage(last, half)
}

#[cfg(test)]
mod tests;
