//! `payload` and `key`: which fields go together, and the defaults.

use super::super::problems::{Finding, Problems};
use super::super::types::{Body, JsonBody, Key, KeyDistribution, Payload, Size};
use super::super::written::{
    EnvelopeWritten, KeyName, KeyOptionsWritten, KeyWritten, PayloadFormat, PayloadWritten, SizeName,
    SizeOptionsWritten, SizeWritten,
};
use crate::units::{Bytes, Fraction};

/// Zipf's exponent where none is written: that of YCSB, so that results compare.
const ZIPF_EXPONENT: f64 = 0.99;
/// How much of a JSON message's payload is random, where nothing is said: as of other bodies.
const RANDOM_FRACTION: f64 = 0.2;

pub(super) fn payload(path: &str, written: PayloadWritten, problems: &mut Problems<'_>) -> Payload {
    let default = Payload::default();
    let ways = [
        ("random_fraction", written.random_fraction.is_some()),
        ("target_ratio", written.target_ratio.is_some()),
        ("corpus", written.corpus.is_some()),
    ];
    let named: Vec<&str> = ways.iter().filter(|(_, is_written)| *is_written).map(|(name, _)| *name).collect();
    if let [_, second, ..] = named[..] {
        problems.add(Finding {
            path: &format!("{path}.{second}"),
            message: format!("`{path}` has more than one of random_fraction, target_ratio, and corpus"),
            label: "each says what bodies are made of",
            help: "keep one",
        });
    }
    if written.format == PayloadFormat::Raw && written.envelope.is_some() {
        problems.add(Finding {
            path: &format!("{path}.envelope"),
            message: format!("`{path}.envelope` does not fit format `raw`"),
            label: "only JSON messages have one",
            help: "write `format: json`, or remove it",
        });
    }
    let raw_only = [("target_ratio", written.target_ratio.is_some()), ("corpus", written.corpus.is_some())];
    for (name, _) in
        raw_only.iter().filter(|(_, is_written)| *is_written && written.format == PayloadFormat::Json)
    {
        problems.add(Finding {
            path: &format!("{path}.{name}"),
            message: format!("`{path}.{name}` does not fit format `json`"),
            label: "",
            help: "say with `random_fraction` how much of a message's payload is random",
        });
    }
    let body = match (written.random_fraction, written.target_ratio, written.corpus) {
        (fraction, ..) if written.format == PayloadFormat::Json => {
            Body::Json(json(written.envelope.unwrap_or_default(), fraction))
        }
        (_, _, Some(file)) => Body::Corpus(file),
        (_, Some(target), None) => Body::Ratio { codec: target.codec, ratio: target.ratio },
        (Some(fraction), None, None) => Body::Random(fraction),
        (None, None, None) => default.body,
    };
    Payload {
        size: written.size.map_or(default.size, |written| size(&format!("{path}.size"), written, problems)),
        body,
        headers: written.headers,
    }
}

fn json(written: EnvelopeWritten, random_fraction: Option<Fraction>) -> JsonBody {
    JsonBody {
        kind: written.kind.unwrap_or_else(|| "gauntlet.message".to_owned()),
        source: written.source.unwrap_or_else(|| "gauntlet".to_owned()),
        version: written.version.unwrap_or(1),
        tenants: written.tenants.unwrap_or(100),
        random_fraction: random_fraction.or(Fraction::new(RANDOM_FRACTION)).unwrap_or_default(),
    }
}

fn size(path: &str, written: SizeWritten, problems: &mut Problems<'_>) -> Size {
    match written {
        SizeWritten::Fixed(bytes) => Size::Fixed(bytes),
        SizeWritten::Weighted(sizes) => Size::Weighted(sizes),
        SizeWritten::Drawn(options) => drawn(path, options, problems),
    }
}

fn drawn(path: &str, written: SizeOptionsWritten, problems: &mut Problems<'_>) -> Size {
    let SizeOptionsWritten { distribution, min, median, sigma, max } = written;
    let fields = [
        ("min", min.is_some(), SizeName::Uniform),
        ("median", median.is_some(), SizeName::LogNormal),
        ("sigma", sigma.is_some(), SizeName::LogNormal),
        ("max", max.is_some(), distribution),
    ];
    let name = match distribution {
        SizeName::Uniform => "uniform",
        SizeName::LogNormal => "lognormal",
    };
    let help = match distribution {
        SizeName::Uniform => "{ distribution: uniform, min: 100B, max: 2KiB }",
        SizeName::LogNormal => "{ distribution: lognormal, median: 300B, sigma: 1.0, max: 64KiB }",
    };
    for (field, is_written, of) in fields {
        if is_written != (of == distribution) {
            let (at, message) = match is_written {
                true => (format!("{path}.{field}"), format!("`{field}` does not fit distribution `{name}`")),
                false => (path.to_owned(), format!("missing field `{field}` in `{path}`")),
            };
            problems.add(Finding { path: &at, message, label: "", help: &format!("for example {help}") });
        }
    }
    let some = |bytes: Option<Bytes>| bytes.unwrap_or(Bytes::new(1024));
    match distribution {
        SizeName::Uniform => Size::Uniform { min: some(min), max: some(max) },
        SizeName::LogNormal => {
            Size::LogNormal { median: some(median), sigma: sigma.unwrap_or(1.0), max: some(max) }
        }
    }
}

pub(super) fn key(path: &str, written: KeyWritten, problems: &mut Problems<'_>) -> Key {
    match written {
        KeyWritten::None => Key::None,
        KeyWritten::Sticky => Key::Sticky,
        KeyWritten::Keys(options) => keys(path, options, problems),
    }
}

fn keys(path: &str, written: KeyOptionsWritten, problems: &mut Problems<'_>) -> Key {
    let fields = [
        ("exponent", written.exponent.is_some(), KeyName::Zipf, "zipf"),
        ("hot_keys", written.hot_keys.is_some(), KeyName::Hot, "hot"),
        ("hot_share", written.hot_share.is_some(), KeyName::Hot, "hot"),
    ];
    for (field, is_written, of, name) in fields {
        if is_written && of != written.distribution {
            problems.add(Finding {
                path: &format!("{path}.{field}"),
                message: format!("`{field}` is only for `distribution: {name}`"),
                label: "",
                help: &format!("remove it, or write `distribution: {name}`"),
            });
        }
    }
    let distribution = match written.distribution {
        KeyName::RoundRobin => KeyDistribution::RoundRobin,
        KeyName::Uniform => KeyDistribution::Uniform,
        KeyName::Zipf => KeyDistribution::Zipf { exponent: written.exponent.unwrap_or(ZIPF_EXPONENT) },
        KeyName::Hot => KeyDistribution::Hot {
            hot_keys: written.hot_keys.unwrap_or(1),
            hot_share: written.hot_share.or(Fraction::new(0.9)).unwrap_or_default(),
        },
    };
    Key::Keys { cardinality: written.cardinality, distribution, size: written.size }
}
