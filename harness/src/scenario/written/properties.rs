//! Client properties by the names of Kafka's Java clients, with the types and ranges that those have (4.x).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::forms::PropertyText;
use crate::scenario::types::{Acks, Compression, IsolationLevel};

/// Producer properties. Numbers and booleans may be quoted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a map of producer properties")]
pub(crate) struct ProducerProperties {
    /// Who must have a record before it counts: all (default), 1, or 0.
    pub(crate) acks: Option<Acks>,
    /// Uncompressed bytes of one batch. 16384.
    #[serde(rename = "batch.size")]
    pub(crate) batch_size: Option<Number<0, INT_MAX>>,
    /// Uncompressed bytes that wait or are in flight. 268435456, where Kafka has 33554432.
    #[serde(rename = "buffer.memory")]
    pub(crate) buffer_memory: Option<Number<0, LONG_MAX>>,
    /// What brokers see in logs and quotas. `gauntlet`.
    #[serde(rename = "client.id")]
    pub(crate) client_id: Option<String>,
    /// Codec. none.
    #[serde(rename = "compression.type")]
    pub(crate) compression_type: Option<Compression>,
    /// Longest time from the intended time of a record until it has ended. 120000.
    #[serde(rename = "delivery.timeout.ms")]
    pub(crate) delivery_timeout_ms: Option<Number<0, INT_MAX>>,
    /// Whether brokers sort out what is sent twice. true, unless acks or retries rule it out.
    #[serde(rename = "enable.idempotence")]
    pub(crate) enable_idempotence: Option<Flag>,
    /// How long a batch waits for more records. 5.
    #[serde(rename = "linger.ms")]
    pub(crate) linger_ms: Option<Number<0, INT_MAX>>,
    /// Requests that may wait for an answer on one connection. 5.
    #[serde(rename = "max.in.flight.requests.per.connection")]
    pub(crate) max_in_flight: Option<Number<1, INT_MAX>>,
    /// Bytes of one request. 1048576.
    #[serde(rename = "max.request.size")]
    pub(crate) max_request_size: Option<Number<0, INT_MAX>>,
    /// Age at which metadata is asked for again. 300000.
    #[serde(rename = "metadata.max.age.ms")]
    pub(crate) metadata_max_age_ms: Option<Number<0, INT_MAX>>,
    /// Longest pause between attempts to connect. 1000.
    #[serde(rename = "reconnect.backoff.max.ms")]
    pub(crate) reconnect_backoff_max_ms: Option<Number<0, INT_MAX>>,
    /// First pause between attempts to connect. 50.
    #[serde(rename = "reconnect.backoff.ms")]
    pub(crate) reconnect_backoff_ms: Option<Number<0, INT_MAX>>,
    /// Properties that only the program of `driver: external` knows: what has a Kafka name here is written by that.
    #[serde(default)]
    pub(crate) external: BTreeMap<String, PropertyText>,
    /// Properties by librdkafka's names, for `driver: rdkafka`: what has a Kafka name is written by that.
    #[serde(default)]
    pub(crate) rdkafka: BTreeMap<String, PropertyText>,
    /// Longest wait for an answer. 30000.
    #[serde(rename = "request.timeout.ms")]
    pub(crate) request_timeout_ms: Option<Number<0, INT_MAX>>,
    /// 2147483647 (until `delivery.timeout.ms` is over) or 0.
    pub(crate) retries: Option<Number<0, INT_MAX>>,
    /// Longest pause before a batch is sent again. 1000.
    #[serde(rename = "retry.backoff.max.ms")]
    pub(crate) retry_backoff_max_ms: Option<Number<0, INT_MAX>>,
    /// First pause before a batch is sent again. 100.
    #[serde(rename = "retry.backoff.ms")]
    pub(crate) retry_backoff_ms: Option<Number<0, INT_MAX>>,
    /// Longest wait for a connection. 10000.
    #[serde(rename = "socket.connection.setup.timeout.ms")]
    pub(crate) setup_timeout_ms: Option<Number<0, INT_MAX>>,
}

/// Consumer properties. Numbers and booleans may be quoted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map of consumer properties")]
pub(crate) struct ConsumerProperties {
    /// What brokers see in logs and quotas. `gauntlet`.
    #[serde(rename = "client.id")]
    pub(crate) client_id: Option<String>,
    /// Bytes of one answer. 52428800.
    #[serde(rename = "fetch.max.bytes")]
    pub(crate) fetch_max_bytes: Option<Number<0, INT_MAX>>,
    /// Longest that a broker waits for `fetch.min.bytes`. 500.
    #[serde(rename = "fetch.max.wait.ms")]
    pub(crate) fetch_max_wait_ms: Option<Number<0, INT_MAX>>,
    /// Bytes that a broker waits for. 1.
    #[serde(rename = "fetch.min.bytes")]
    pub(crate) fetch_min_bytes: Option<Number<0, INT_MAX>>,
    /// Whether aborted and open transactions are read. read_uncommitted.
    #[serde(rename = "isolation.level")]
    pub(crate) isolation_level: Option<IsolationLevel>,
    /// Bytes of one partition in one answer. 1048576.
    #[serde(rename = "max.partition.fetch.bytes")]
    pub(crate) max_partition_fetch_bytes: Option<Number<0, INT_MAX>>,
    /// Age at which metadata is asked for again. 300000.
    #[serde(rename = "metadata.max.age.ms")]
    pub(crate) metadata_max_age_ms: Option<Number<0, INT_MAX>>,
    /// Properties that only the program of `driver: external` knows: what has a Kafka name here is written by that.
    #[serde(default)]
    pub(crate) external: BTreeMap<String, PropertyText>,
    /// Properties by librdkafka's names, for `driver: rdkafka`: what has a Kafka name is written by that.
    #[serde(default)]
    pub(crate) rdkafka: BTreeMap<String, PropertyText>,
    /// Longest wait for an answer. 30000.
    #[serde(rename = "request.timeout.ms")]
    pub(crate) request_timeout_ms: Option<Number<0, INT_MAX>>,
    /// First pause before a request is sent again. 100.
    #[serde(rename = "retry.backoff.ms")]
    pub(crate) retry_backoff_ms: Option<Number<0, INT_MAX>>,
}

/// Largest value of Kafka's INT properties.
pub(crate) const INT_MAX: u64 = i32::MAX as u64;
/// Largest value of Kafka's LONG properties.
pub(crate) const LONG_MAX: u64 = i64::MAX as u64;

/// A whole number from `MIN` to `MAX`, as a number or as text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Number<MIN, MAX> {
    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

impl<const MAX: u64, const MIN: u64> Number<MIN, MAX> {
    fn new<E: de::Error>(text: &str) -> Result<Self, E> {
        let number = text.trim().parse().ok().filter(|number| (MIN..=MAX).contains(number));
        number.map(Self).ok_or_else(|| {
            E::custom(format!("expected a whole number from {MIN} to {MAX} without a unit, found `{text}`"))
        })
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Number<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor(PhantomData))
    }
}

struct NumberVisitor<N>(PhantomData<N>);

impl<const MIN: u64, const MAX: u64> Visitor<'_> for NumberVisitor<Number<MIN, MAX>> {
    type Value = Number<MIN, MAX>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a whole number from {MIN} to {MAX}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Number::new(text)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Number::new(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Number::new(&number.to_string())
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Number<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Number{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": MIN, "maximum": MAX, "pattern": "^[0-9]+$" })
    }
}

/// `true` or `false`, as such or as text in any case, as Kafka reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}

struct FlagVisitor;

impl Visitor<'_> for FlagVisitor {
    type Value = Flag;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("true or false")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Flag, E> {
        Ok(Flag(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Flag, E> {
        match text.trim().to_lowercase().as_str() {
            "true" => Ok(Flag(true)),
            "false" => Ok(Flag(false)),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

impl JsonSchema for Flag {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Flag".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [true, false, "true", "false"] })
    }
}

impl<'de> Deserialize<'de> for Acks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AcksVisitor)
    }
}

struct AcksVisitor;

impl Visitor<'_> for AcksVisitor {
    type Value = Acks;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("all, -1, 1, or 0")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Acks, E> {
        match text {
            "all" | "-1" => Ok(Acks::All),
            "1" => Ok(Acks::Leader),
            "0" => Ok(Acks::None),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Acks, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Acks, E> {
        self.visit_str(&number.to_string())
    }
}

impl JsonSchema for Acks {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Acks".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["all", "-1", "1", "0", -1, 1, 0] })
    }
}
