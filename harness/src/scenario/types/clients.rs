//! Producers and readers, with Kafka's defaults filled in.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Body, IdentityPlace, Key, Load, Payload};
use crate::units::Duration;

/// Equal producers.
#[derive(Clone, Debug, PartialEq)]
pub struct Producers {
    /// Topic to send to, one of the scenario's. May hold `${run.id}`.
    pub topic: String,
    /// How many, at least 1.
    pub count: u16,
    /// Client that sends.
    pub driver: Driver,
    /// With `driver: external`: the program and its arguments.
    pub command: Vec<String>,
    /// Its configuration.
    pub config: ProducerConfig,
    /// `config.rdkafka`: properties by librdkafka's names.
    pub rdkafka: BTreeMap<String, String>,
    /// `config.external`: properties that only the program knows.
    pub external: BTreeMap<String, String>,
    /// What its records hold.
    pub payload: Payload,
    /// Where their identities are.
    pub identity: IdentityPlace,
    /// Their keys.
    pub key: Key,
    /// A load of its own; `None`: it takes part in the scenario's.
    pub load: Option<Load>,
}

impl Producers {
    /// Bytes of the shortest value there can be.
    #[must_use]
    pub fn value_bytes_min(&self) -> u64 {
        match &self.payload.body {
            Body::Json(json) => json.envelope().bytes_min() as u64,
            _ => self.identity.bytes_in_value() as u64,
        }
    }
}

/// Client that sends or reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// gauntlet's own.
    #[default]
    Wire,
    /// librdkafka.
    Rdkafka,
    /// A program of the user's.
    External,
}

impl Driver {
    /// Its name in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Driver::Wire => "wire",
            Driver::Rdkafka => "rdkafka",
            Driver::External => "external",
        }
    }
}

/// Readers that share the partitions of a topic by assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumers {
    /// Topic to read, one of the scenario's. May hold `${run.id}`.
    pub topic: String,
    /// How many share its partitions, at least 1.
    pub members: u16,
    /// They begin to read so long after the warm-up, with the first record of the run. None: with the load.
    pub start: Option<Duration>,
    /// They rest from here on until the load ends; then they read the rest. None: they read all the time.
    pub end: Option<Duration>,
    /// Client that reads.
    pub driver: Driver,
    /// With `driver: external`: the program and its arguments.
    pub command: Vec<String>,
    /// Their configuration.
    pub config: ConsumerConfig,
    /// `config.rdkafka`: properties by librdkafka's names.
    pub rdkafka: BTreeMap<String, String>,
    /// `config.external`: properties that only the program knows.
    pub external: BTreeMap<String, String>,
}

/// The value of `retries` that stands for "until the delivery time-out".
pub const RETRIES_MAX: u32 = i32::MAX as u32;

/// Producer properties; the fields are called as in Kafka's Java client, which also says what they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerConfig {
    /// `acks`.
    pub acks: Acks,
    /// `enable.idempotence`, as it is after Kafka's rules: see [`ProducerConfig::default`].
    pub enable_idempotence: bool,
    /// `batch.size`: uncompressed bytes of one batch.
    pub batch_size_bytes: u64,
    /// `linger.ms`.
    pub linger: Duration,
    /// `compression.type`.
    pub compression: Compression,
    /// `buffer.memory`: uncompressed bytes that wait or are in flight.
    pub buffer_memory_bytes: u64,
    /// `max.in.flight.requests.per.connection`, at least 1.
    pub max_in_flight: u32,
    /// `delivery.timeout.ms`.
    pub delivery_timeout: Duration,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `retries`: 0 or [`RETRIES_MAX`].
    pub retries: u32,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `max.request.size`: bytes of one request.
    pub max_request_size_bytes: u64,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout: Duration,
    /// `client.id`.
    pub client_id: String,
}

impl Default for ProducerConfig {
    /// Kafka 4's defaults, except `buffer.memory`: Kafka's 32 MiB are 0.3 s of 1M msg/s with 100-byte records, so that
    /// any stall would show the buffer's size and not the broker's.
    fn default() -> Self {
        let ms = |ms: u64| Duration::from_ns(ms * 1_000_000);
        Self {
            acks: Acks::All,
            enable_idempotence: true,
            batch_size_bytes: 16 << 10,
            linger: ms(5),
            compression: Compression::None,
            buffer_memory_bytes: 256 << 20,
            max_in_flight: 5,
            delivery_timeout: ms(120_000),
            request_timeout: ms(30_000),
            retries: RETRIES_MAX,
            retry_backoff: ms(100),
            retry_backoff_max: ms(1_000),
            max_request_size_bytes: 1 << 20,
            metadata_max_age: ms(300_000),
            reconnect_backoff: ms(50),
            reconnect_backoff_max: ms(1_000),
            connection_setup_timeout: ms(10_000),
            client_id: "gauntlet".to_owned(),
        }
    }
}

/// Who must have a record before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// All in-sync replicas.
    All,
    /// The leader alone.
    Leader,
    /// Nobody; there is no answer.
    None,
}

/// `compression.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// None.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Consumer properties; the fields are called as in Kafka's Java client, which also says what they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// `fetch.min.bytes`.
    pub fetch_min_bytes: u64,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: u64,
    /// `fetch.max.wait.ms`.
    pub fetch_max_wait: Duration,
    /// `max.partition.fetch.bytes`.
    pub max_partition_fetch_bytes: u64,
    /// `isolation.level`.
    pub isolation_level: IsolationLevel,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// `client.id`.
    pub client_id: String,
}

impl Default for ConsumerConfig {
    /// Kafka 4's defaults.
    fn default() -> Self {
        let ms = |ms: u64| Duration::from_ns(ms * 1_000_000);
        Self {
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 << 20,
            fetch_max_wait: ms(500),
            max_partition_fetch_bytes: 1 << 20,
            isolation_level: IsolationLevel::ReadUncommitted,
            request_timeout: ms(30_000),
            retry_backoff: ms(100),
            metadata_max_age: ms(300_000),
            client_id: "gauntlet".to_owned(),
        }
    }
}

/// `isolation.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IsolationLevel {
    /// Everything below the high watermark.
    #[default]
    ReadUncommitted,
    /// Nothing of aborted or open transactions.
    ReadCommitted,
}
