//! What records hold, as users write it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::forms::text_or_map;
use crate::scenario::types::{Compression, WeightedSize};
use crate::units::{Bytes, Fraction};

/// What the records hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "Payload")]
#[serde(
    deny_unknown_fields,
    expecting = "a map with `format`, `size`, `random_fraction`, `target_ratio`, `corpus`, `envelope`, or `headers`"
)]
pub(crate) struct PayloadWritten {
    /// What values are.
    #[serde(default)]
    pub(crate) format: PayloadFormat,
    /// Size of a record's value, the 34 bytes of its identity included if that is in front of it; 1KiB if left out.
    pub(crate) size: Option<SizeWritten>,
    /// Part of the body, or of a JSON message's payload, that can't be compressed, from 0 to 1; 0.2 if left out.
    pub(crate) random_fraction: Option<Fraction>,
    /// Instead: what batches are to compress to, with one codec.
    pub(crate) target_ratio: Option<TargetRatioWritten>,
    /// Instead: a file that bodies are cut from, one after the other.
    pub(crate) corpus: Option<String>,
    /// What is the same in all JSON messages. For `format: json`.
    pub(crate) envelope: Option<EnvelopeWritten>,
    /// Record headers that every record carries, by name.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
}

/// What values are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PayloadFormat {
    /// Bytes, behind a record's identity if that is in the value.
    #[default]
    Raw,
    /// A JSON message.
    Json,
}

/// What is the same in all JSON messages.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "Envelope")]
#[serde(deny_unknown_fields, expecting = "a map with `type`, `source`, `version`, or `tenants`")]
pub(crate) struct EnvelopeWritten {
    /// Type of the message; `gauntlet.message` if left out.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// `metadata.source`; `gauntlet` if left out.
    pub(crate) source: Option<String>,
    /// Version of the message; 1 if left out.
    pub(crate) version: Option<u32>,
    /// Number of different tenants; 100 if left out.
    #[schemars(range(min = 1))]
    pub(crate) tenants: Option<u32>,
}

/// What batches are to compress to.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "TargetRatio")]
#[serde(deny_unknown_fields, expecting = "a map with `codec` and `ratio`")]
pub(crate) struct TargetRatioWritten {
    /// Codec that is meant.
    pub(crate) codec: Compression,
    /// Compressed to uncompressed bytes, from 0 to 1.
    pub(crate) ratio: Fraction,
}

/// Sizes of values: one, a distribution, or a list of weighted ones.
#[derive(Clone, Debug)]
pub(crate) enum SizeWritten {
    Fixed(Bytes),
    Drawn(SizeOptionsWritten),
    Weighted(Vec<WeightedSize>),
}

/// Sizes that are drawn for each record.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "SizeDistribution")]
#[serde(deny_unknown_fields, expecting = "a map with `distribution` and its bounds")]
pub(crate) struct SizeOptionsWritten {
    /// How sizes are distributed.
    pub(crate) distribution: SizeName,
    /// Smallest. For `uniform`.
    pub(crate) min: Option<Bytes>,
    /// Half of the values are smaller. For `lognormal`.
    pub(crate) median: Option<Bytes>,
    /// Standard deviation of the natural logarithm. For `lognormal`.
    pub(crate) sigma: Option<f64>,
    /// Largest.
    pub(crate) max: Option<Bytes>,
}

/// How sizes are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SizeName {
    /// Every size from `min` to `max` equally often.
    Uniform,
    /// Many small ones, a few large ones.
    LogNormal,
}

impl<'de> Deserialize<'de> for SizeWritten {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl<'de> Visitor<'de> for SizeVisitor {
    type Value = SizeWritten;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a size, a map with `distribution`, or a list of maps with `size` and `weight`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SizeWritten, E> {
        text.parse().map(SizeWritten::Fixed).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<SizeWritten, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SizeWritten, A::Error> {
        SizeOptionsWritten::deserialize(MapAccessDeserializer::new(map)).map(SizeWritten::Drawn)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<SizeWritten, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(SizeWritten::Weighted)
    }
}

impl JsonSchema for SizeWritten {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (fixed, drawn) =
            (generator.subschema_for::<Bytes>(), generator.subschema_for::<SizeOptionsWritten>());
        let weighted = generator.subschema_for::<WeightedSize>();
        json_schema!({ "anyOf": [fixed, drawn, { "type": "array", "items": weighted, "minItems": 1 }] })
    }
}

/// `none`, `sticky`, or keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyWritten {
    None,
    Sticky,
    Keys(KeyOptionsWritten),
}

/// Keys of the records.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "KeyOptions")]
#[serde(deny_unknown_fields, expecting = "`none`, `sticky`, or a map with `distribution` and `cardinality`")]
pub(crate) struct KeyOptionsWritten {
    /// How often each key comes.
    pub(crate) distribution: KeyName,
    /// Number of different keys.
    #[schemars(range(min = 1))]
    pub(crate) cardinality: u32,
    /// Length of a key; as long as its number needs if left out.
    pub(crate) size: Option<Bytes>,
    /// The k-th key comes with weight `1 / k^exponent`; 0.99 if left out. For `zipf`.
    pub(crate) exponent: Option<f64>,
    /// Number of hot keys; 1 if left out. For `hot`.
    #[schemars(range(min = 1))]
    pub(crate) hot_keys: Option<u32>,
    /// Share of the records that have a hot key; 90% if left out. For `hot`.
    pub(crate) hot_share: Option<Fraction>,
}

/// How often each key comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyName {
    /// In turn.
    RoundRobin,
    /// Equally often, at random.
    Uniform,
    /// By Zipf's law: a few often, most rarely.
    Zipf,
    /// A few have most of the records, the others share the rest equally.
    Hot,
}

text_or_map!(
    KeyWritten,
    "`none`, `sticky`, or a map with `distribution` and `cardinality`",
    |text| match text {
        "none" => Ok(KeyWritten::None),
        "sticky" => Ok(KeyWritten::Sticky),
        "round-robin" | "uniform" | "zipf" | "hot" =>
            Err(format!("`{text}` needs a number of keys: {{ distribution: {text}, cardinality: 10_000 }}")),
        _ => Err(format!("expected `none`, `sticky`, or a map, found `{text}`")),
    },
    KeyWritten::Keys,
    KeyOptionsWritten,
    |_| json_schema!({ "enum": ["none", "sticky"] })
);
