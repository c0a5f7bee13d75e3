//! Estimates in words, for the terminal and for the comments of the scenario.

use std::time::{Duration, UNIX_EPOCH};

use gauntlet_reports::quantity::grouped;

use super::{
    BatchEstimate, Bound, CompressibilityEstimate, Fingerprint, HeaderEstimate, KeyEstimate, KeyModel,
    PartitionEstimate, RateEstimate, SampleEstimate, SizeEstimate, TopicEstimate,
};
use crate::run::rfc3339;

/// A line for everything that was measured.
pub(super) fn all(of: &Fingerprint) -> Vec<(&'static str, String)> {
    vec![
        ("topic", topic(&of.topic)),
        ("sample", sample(&of.sample, of.batches.batches)),
        ("rate", rate(&of.rate)),
        ("sizes", sizes(&of.sizes)),
        ("keys", keys(&of.keys)),
        ("headers", headers(&of.headers)),
        ("codec", compressibility(&of.compressibility)),
        ("batches", batches(&of.batches)),
        ("producers", producers(&of.batches)),
        ("partitions", partitions(&of.partitions)),
    ]
}

/// Without what would move the cursor of a terminal, end a line of YAML, or turn the order of letters round: names come
/// from the records.
pub(super) fn printable(text: &str) -> String {
    let escape = |c: char| if is_unprintable(c) { c.escape_unicode().collect() } else { String::from(c) };
    text.chars().map(escape).collect()
}

/// Control characters, separators of lines, the mark of byte order, and what changes the direction of text.
pub(super) fn is_unprintable(c: char) -> bool {
    let directs = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || directs || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn count(number: u64) -> String {
    grouped(number as f64)
}

/// `1 batch`, `3 batches`.
fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// As a percentage with one digit.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Few digits, the more the smaller it is.
pub(super) fn per_second(per_s: f64) -> String {
    match per_s {
        few if few < 10.0 => format!("{few:.2}/s"),
        many => format!("{}/s", grouped(many)),
    }
}

fn at(ms: i64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

pub(super) fn topic(topic: &TopicEstimate) -> String {
    let set = match topic.config_unknown {
        None => plural((topic.config.len() + topic.left_out.len()) as u64, "property", "properties"),
        Some(_) => "unknown properties".to_owned(),
    };
    format!(
        "{}: {}, {}, {set} set on it, on a cluster of {}",
        topic.name,
        plural(u64::from(topic.partitions), "partition", "partitions"),
        plural(u64::from(topic.replication_factor), "replica", "replicas"),
        plural(u64::from(topic.brokers), "broker", "brokers"),
    )
}

pub(super) fn sample(sample: &SampleEstimate, batches: u64) -> String {
    let bound = match sample.bound {
        Bound::Everything => "all that was asked for",
        Bound::Records => "limited by --records",
        Bound::Bytes => "limited by --bytes",
        Bound::Timeout => "limited by --timeout",
        Bound::Unreadable => "all of it that can be read",
    };
    format!(
        "{} and {}, {:.1} MiB fetched; from {} to {} ({:.1} s){}; {bound}",
        plural(sample.records, "record", "records"),
        plural(batches, "whole batch", "whole batches"),
        sample.fetched_bytes as f64 / (1 << 20) as f64,
        at(sample.from_ms),
        at(sample.until_ms),
        sample.until_ms.abs_diff(sample.from_ms) as f64 / 1e3,
        if sample.nothing_in_common { "" } else { " of every partition" },
    )
}

pub(super) fn rate(rate: &RateEstimate) -> String {
    let mean = per_second(rate.per_s);
    if rate.span_s == 0.0 {
        return "unknown: all records are of one millisecond".to_owned();
    }
    if rate.buckets_per_s.is_empty() {
        return format!("{mean} on average; too few records, or too short a time, for a curve");
    }
    let count = rate.buckets_per_s.len();
    let variation = format!(
        "{count} buckets of {:.0} ms vary by {}, up to {} is constant",
        rate.bucket_ms,
        percent(rate.variation),
        percent(rate.variation_max)
    );
    if rate.constant {
        return format!("{mean}, constant ({variation})");
    }
    let (least, most) = (rate.buckets_per_s.iter())
        .fold((f64::MAX, 0.0), |(least, most), per_s| (per_s.min(least), per_s.max(most)));
    format!("{mean} on average, {} to {} ({variation})", per_second(least), per_second(most))
}

pub(super) fn sizes(sizes: &SizeEstimate) -> String {
    if sizes.values == 0 {
        return "no record has a value".to_owned();
    }
    if sizes.min == sizes.max {
        return format!("{} B each", count(sizes.max));
    }
    format!(
        "mean {:.1} B, p50 {}, p99 {}, {} to {}",
        sizes.mean,
        count(sizes.p50),
        count(sizes.p99),
        count(sizes.min),
        count(sizes.max)
    )
}

pub(super) fn keys(keys: &KeyEstimate) -> String {
    let model = match keys.model {
        KeyModel::None if keys.keyed_share == 0.0 => return "none".to_owned(),
        KeyModel::None => return format!("only {} of the records have one", percent(keys.keyed_share)),
        KeyModel::RoundRobin { keys } => format!("{}, in turn", count(keys)),
        KeyModel::Uniform { keys } => format!("{}, equally often", count(keys)),
        KeyModel::Zipf { keys, exponent } => {
            format!("{}, by Zipf's law with exponent {exponent:.3}", count(keys))
        }
        KeyModel::Hot { keys, hot_keys, hot_share } => {
            format!("{}, {} of them with {} of the records", count(keys), count(hot_keys), percent(hot_share))
        }
    };
    format!(
        "{model}; {} seen, so at least so many; the first has {} of the records, shares are met within {}",
        count(keys.distinct),
        percent(keys.top_share),
        percent(keys.misfit)
    )
}

pub(super) fn headers(headers: &HeaderEstimate) -> String {
    let others = headers.others + headers.no_text;
    let mut texts: Vec<String> = (headers.usual.iter())
        .map(|h| format!("{} ({} B, {} of the records)", h.name, count(h.bytes), percent(h.share)))
        .collect();
    if others > 0 {
        texts.push(format!("{} that are left out", plural(others, "other", "others")));
    }
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

pub(super) fn compressibility(found: &CompressibilityEstimate) -> String {
    let mut texts = Vec::new();
    let codec = found.codec.as_str();
    if let Some(ratio) = found.ratio.filter(|_| codec != "none") {
        texts.push(format!("batches become {ratio:.3} of what they were"));
    }
    if let Some(ratio) = found.zstd_ratio.filter(|_| codec != "zstd") {
        texts.push(format!("zstd makes {ratio:.3} of them"));
    }
    match (codec, &texts[..]) {
        (codec, []) => {
            format!("{codec}; what it makes of batches is unknown, as none is in the sample as a whole")
        }
        ("none", texts) => format!("none; {}", texts.join("; ")),
        (codec, texts) => format!("{codec}, {}", texts.join("; ")),
    }
}

pub(super) fn batches(found: &BatchEstimate) -> String {
    if found.batches == 0 {
        return "no batch is in the sample as a whole".to_owned();
    }
    let waited = found.spread_ms.map_or_else(String::new, |spread| {
        format!("; first record to last p50 {} ms, p90 {}, p99 {}", spread.p50, spread.p90, spread.p99)
    });
    format!(
        "mean {:.1} records, p99 {}; {} B before compression, p50 {}, p99 {} ({} are full); {} B in the log{waited}",
        found.records.mean,
        count(found.records.p99),
        grouped(found.uncompressed_bytes.mean),
        count(found.uncompressed_bytes.p50),
        count(found.uncompressed_bytes.p99),
        percent(found.full_share),
        grouped(found.stored_bytes.mean),
    )
}

pub(super) fn producers(found: &BatchEstimate) -> String {
    match found.producer_ids {
        0 if found.batches == 0 => "unknown: no batch is in the sample as a whole".to_owned(),
        0 => "not idempotent, so their number is unknown".to_owned(),
        ids => format!(
            "{}, {} of the batches are idempotent",
            plural(ids, "id", "ids"),
            percent(found.idempotent_share)
        ),
    }
}

pub(super) fn partitions(found: &PartitionEstimate) -> String {
    if found.shares.len() == 1 {
        return "only one".to_owned();
    }
    let largest = format!("the largest share is {:.2} times the mean", found.largest_over_mean());
    let variation = format!(
        "shares vary by {}, up to {} is even",
        percent(found.variation),
        percent(found.variation_max)
    );
    let runs = match found.sticky {
        None => "",
        Some(true) => "; records come in runs to one partition",
        Some(false) => "; partitions take turns",
    };
    format!("{} ({variation}); {largest}{runs}", if found.even { "even" } else { "uneven" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_printed_moves_a_cursor() {
        assert_eq!(printable("trace \u{fc} \u{1f600}"), "trace \u{fc} \u{1f600}");
        assert_eq!(printable("a\nb\u{1b}[2J"), "a\\u{a}b\\u{1b}[2J");
        for c in ['\r', '\u{7f}', '\u{85}', '\u{9b}', '\u{2028}', '\u{202e}', '\u{feff}'] {
            assert!(printable(&c.to_string()).starts_with("\\u{"), "{c:?}");
        }
    }
}
