//! What a scenario can't say of a topic, or the sample can't tell: named, so that nobody takes the scenario for more than it is.

use gauntlet_wire::codec::Codec;

use super::headers::VALUE_BYTES_MAX;
use super::words::percent;
use super::write::{PARTITIONS_MAX, PRODUCERS_MAX};
use super::{Fingerprint, KeyModel, SampleEstimate};

/// Records with keys elsewhere than by Kafka's partitioner, from which on it is worth a word.
const OTHER_PARTITIONER_MIN: f64 = 0.01;

pub(super) fn of(found: &Fingerprint) -> Vec<String> {
    let mut doubts = Vec::new();
    sample(found, &mut doubts);
    topic(found, &mut doubts);
    records(found, &mut doubts);
    keys(found, &mut doubts);
    batches(found, &mut doubts);
    doubts
}

fn sample(found: &Fingerprint, doubts: &mut Vec<String>) {
    let sample = &found.sample;
    partitions(sample, doubts);
    times(sample, doubts);
    if sample.compacted_batches > 0 || found.topic.compacted {
        doubts.push(format!(
            "what compaction has removed ({} batches lack records): rate, sizes and how often keys come are those of what it \
             has left",
            sample.compacted_batches
        ));
    }
    if let Some(why) = &sample.unreadable_because {
        doubts.push(format!(
            "{} batches could not be read and are left out; the first: {why}",
            sample.unreadable_batches
        ));
    }
    if found.rate.span_s == 0.0 {
        doubts.push("the rate: all records are of one millisecond".to_owned());
    } else if found.rate.per_s < 1.0 {
        doubts.push(format!("a rate of {:.3}/s: the least is 1/s", found.rate.per_s));
    }
}

/// `7 partitions (0, 1, 2)`.
fn listed(partitions: &[u32]) -> String {
    const LISTED: usize = 8;
    let listed: Vec<String> = partitions.iter().take(LISTED).map(u32::to_string).collect();
    let more = if partitions.len() > LISTED { ", ..." } else { "" };
    format!("{} partitions ({}{more})", partitions.len(), listed.join(", "))
}

fn partitions(sample: &SampleEstimate, doubts: &mut Vec<String>) {
    let because = sample.trouble.as_ref().map_or_else(String::new, |why| format!("; {why}"));
    if !sample.unread_partitions.is_empty() {
        let which = listed(&sample.unread_partitions);
        doubts.push(format!("nothing could be read of {which}: the rate is that of the others{because}"));
    }
    if !sample.half_read_partitions.is_empty() {
        let which = listed(&sample.half_read_partitions);
        doubts.push(format!("{which} could not be read to the end of what was asked for{because}"));
    }
    if !sample.unreached_partitions.is_empty() {
        let which = listed(&sample.unreached_partitions);
        doubts.push(format!("a limit was reached before {which}: the rate is that of the others; raise it"));
    }
}

fn times(sample: &SampleEstimate, doubts: &mut Vec<String>) {
    if !sample.disordered_partitions.is_empty() {
        let which = listed(&sample.disordered_partitions);
        doubts.push(format!(
            "{which} are not in the order of their timestamps: of each, its part of --records is read by offset"
        ));
    }
    if sample.odd_times > 0 {
        doubts.push(format!(
            "rate and shares are without {} records whose timestamps are not among those of the others, or not of the \
             time that was looked at",
            sample.odd_times
        ));
    }
    if sample.nothing_in_common {
        doubts.push(
            "there is no time of which every partition was read: rate and shares are those of what was; raise the limits"
                .to_owned(),
        );
    }
}

fn topic(found: &Fingerprint, doubts: &mut Vec<String>) {
    let topic = &found.topic;
    if let Some(why) = &topic.config_unknown {
        doubts.push(format!("the topic's configuration: {why}"));
    }
    if !topic.left_out.is_empty() {
        doubts.push(format!("properties of the topic that are left out: {}", topic.left_out.join(", ")));
    }
    if topic.partitions > PARTITIONS_MAX {
        doubts.push(format!("{} partitions: the scenario has {PARTITIONS_MAX}", topic.partitions));
    }
}

fn records(found: &Fingerprint, doubts: &mut Vec<String>) {
    let (sizes, headers) = (&found.sizes, &found.headers);
    if sizes.tombstones > 0 {
        let records = found.sample.records as f64;
        let share = percent(sizes.tombstones as f64 / records);
        doubts.push(format!("tombstones: {share} of the records have no value"));
    }
    if sizes.below_identity > 0 {
        let share = percent(sizes.below_identity as f64 / sizes.values as f64);
        doubts.push(format!(
            "{share} of the values are shorter than the identity of a record (34 B), and become so long"
        ));
    }
    if headers.others > 0 {
        doubts.push(format!("{} record headers that not most of the records have", headers.others));
    }
    if headers.no_text > 0 {
        doubts.push(format!("{} record headers whose names are no text", headers.no_text));
    }
    if !headers.usual.is_empty() {
        doubts.push("values of record headers: all records have the same random letters".to_owned());
    }
    if headers.usual.iter().any(|header| header.bytes > VALUE_BYTES_MAX) {
        doubts.push(format!("values of record headers that are longer than {VALUE_BYTES_MAX} B"));
    }
}

fn keys(found: &Fingerprint, doubts: &mut Vec<String>) {
    let keys = &found.keys;
    if keys.model == KeyModel::None {
        if keys.keyed_share > 0.0 {
            doubts.push(format!("the {} of the records that have a key", percent(keys.keyed_share)));
        }
        if !found.partitions.even {
            doubts.push("shares of partitions: without keys all get the same".to_owned());
        }
        return;
    }
    if keys.keyed_share < 1.0 {
        doubts.push(format!("the {} of the records that have no key", percent(1.0 - keys.keyed_share)));
    }
    if !keys.same_length {
        doubts.push("lengths of keys that differ: all have the median".to_owned());
    }
    if keys.model.keys() == u64::from(crate::keys::KEYS_MAX) {
        doubts.push(
            "how many keys there are: more than the sample can tell, or a scenario can have".to_owned(),
        );
    }
    if found.topic.partitions > 1 && 1.0 - keys.by_default_partitioner >= OTHER_PARTITIONER_MIN {
        doubts.push(format!(
            "the partitioner: {} of the records with a key are not where Kafka's default one puts them",
            percent(1.0 - keys.by_default_partitioner)
        ));
    } else if found.topic.partitions > 1 && !found.partitions.even {
        doubts.push("which partitions have more: the keys have other names, so it will be others".to_owned());
    }
}

fn batches(found: &Fingerprint, doubts: &mut Vec<String>) {
    let batches = &found.batches;
    if batches.batches == 0 {
        doubts.push(
            "how producers are set, and how random bodies are: no batch is in the sample as a whole"
                .to_owned(),
        );
    }
    if batches.batches > 0 && batches.producer_ids == 0 {
        doubts.push("how many producers there are: only idempotent ones have ids".to_owned());
    } else if batches.producer_ids > u64::from(PRODUCERS_MAX) {
        doubts.push(format!("{} producers: the scenario has {PRODUCERS_MAX}", batches.producer_ids));
    } else if batches.producer_ids > 1 {
        doubts.push("producers at a time: one that was started again counts twice".to_owned());
    }
    doubts.push("acks: it leaves no trace in the log, so `all` is assumed".to_owned());
    if batches.transactional > 0 || batches.control > 0 {
        doubts.push(format!(
            "transactions: {} of {} batches are part of one, and {} control batches were seen",
            batches.transactional, batches.batches, batches.control
        ));
    }
    if batches.batches > 0 && batches.linger_ms.is_none() {
        doubts.push("linger.ms: brokers set the timestamps of this topic (LogAppendTime)".to_owned());
    }
    let codecs = &found.compressibility.records_by_codec;
    if codecs.len() > 1 {
        let listed: Vec<String> =
            codecs.iter().map(|(codec, records)| format!("{codec} {records}")).collect();
        doubts.push(format!("codecs other than the most frequent one (records: {})", listed.join(", ")));
    }
    if found.compressibility.codec() != Codec::None
        && found.topic.config.get("compression.type").is_some_and(|codec| codec != "producer")
    {
        doubts.push("the producers' codec: the topic has one of its own (compression.type)".to_owned());
    }
}
