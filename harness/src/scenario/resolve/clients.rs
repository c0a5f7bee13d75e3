//! Producers and readers with Kafka's defaults.

use std::collections::BTreeMap;

use super::super::problems::Problems;
use super::super::types::{
    Acks, Body, ConsumerConfig, Consumers, IdentityPlace, Key, Payload, ProducerConfig, Producers,
    RETRIES_MAX, Topic,
};
use super::super::written::{
    ConsumerProperties, ConsumersWritten, Number, ProducerProperties, ProducersWritten, PropertyText,
};
use super::{load, records, topic_name};
use crate::units::Duration;

/// What blocks of producers share that don't say otherwise.
pub(super) struct Common {
    pub(super) payload: Payload,
    pub(super) identity: Option<IdentityPlace>,
    pub(super) key: Key,
}

pub(super) fn producers(
    written: ProducersWritten,
    index: usize,
    topics: &[Topic],
    cores: usize,
    common: &Common,
    problems: &mut Problems<'_>,
) -> Producers {
    let path = |field: &str| format!("workload.producers[{index}].{field}");
    let payload = written.payload.map(|payload| records::payload(&path("payload"), payload, problems));
    let key = written.key.map(|key| records::key(&path("key"), key, problems));
    let payload = payload.unwrap_or_else(|| common.payload.clone());
    let usual_place = match &payload.body {
        Body::Json(_) => IdentityPlace::Header,
        _ => IdentityPlace::Value,
    };
    Producers {
        identity: written.identity.or(common.identity).unwrap_or(usual_place),
        payload,
        key: key.unwrap_or(common.key),
        load: written.load.map(|load| load::own_load(&path("load"), &load, problems)),
        topic: topic_name(written.topic, &path("topic"), topics, problems),
        count: written.count.unwrap_or_else(|| u16::try_from(cores / 2).unwrap_or(u16::MAX).max(1)),
        driver: written.driver,
        command: written.command.unwrap_or_default(),
        rdkafka: raw(&written.config.rdkafka),
        external: raw(&written.config.external),
        config: producer_config(written.config),
    }
}

pub(super) fn consumers(
    written: ConsumersWritten,
    index: usize,
    topics: &[Topic],
    problems: &mut Problems<'_>,
) -> Consumers {
    let path = format!("workload.consumers[{index}].topic");
    Consumers {
        topic: topic_name(written.topic, &path, topics, problems),
        members: written.members.unwrap_or(1),
        start: written.start,
        end: written.end,
        driver: written.driver,
        command: written.command.unwrap_or_default(),
        rdkafka: raw(&written.config.rdkafka),
        external: raw(&written.config.external),
        config: consumer_config(written.config),
    }
}

fn raw(written: &BTreeMap<String, PropertyText>) -> BTreeMap<String, String> {
    written.iter().map(|(name, text)| (name.clone(), text.0.clone())).collect()
}

/// The value as written, or the default.
fn number<const MIN: u64, const MAX: u64>(written: Option<Number<MIN, MAX>>, default: u64) -> u64 {
    written.map_or(default, Number::get)
}

fn ms<const MIN: u64, const MAX: u64>(written: Option<Number<MIN, MAX>>, default: Duration) -> Duration {
    written.map_or(default, |ms| Duration::from_ns(ms.get() * 1_000_000))
}

fn narrow(number: u64) -> u32 {
    // The grammar has refused what is above Kafka's largest INT.
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn producer_config(written: ProducerProperties) -> ProducerConfig {
    let default = ProducerConfig::default();
    let acks = written.acks.unwrap_or(default.acks);
    let retries = narrow(number(written.retries, u64::from(RETRIES_MAX)));
    // ProducerConfig.postProcessAndValidateIdempotenceConfigs of Kafka's client: what rules idempotence out switches
    // the default off; only if it was asked for is that a contradiction.
    let idempotence_default = acks == Acks::All && retries > 0;
    ProducerConfig {
        acks,
        retries,
        enable_idempotence: written.enable_idempotence.map_or(idempotence_default, |flag| flag.0),
        batch_size_bytes: number(written.batch_size, default.batch_size_bytes),
        linger: ms(written.linger_ms, default.linger),
        compression: written.compression_type.unwrap_or(default.compression),
        buffer_memory_bytes: number(written.buffer_memory, default.buffer_memory_bytes),
        max_in_flight: narrow(number(written.max_in_flight, u64::from(default.max_in_flight))),
        delivery_timeout: ms(written.delivery_timeout_ms, default.delivery_timeout),
        request_timeout: ms(written.request_timeout_ms, default.request_timeout),
        retry_backoff: ms(written.retry_backoff_ms, default.retry_backoff),
        retry_backoff_max: ms(written.retry_backoff_max_ms, default.retry_backoff_max),
        max_request_size_bytes: number(written.max_request_size, default.max_request_size_bytes),
        metadata_max_age: ms(written.metadata_max_age_ms, default.metadata_max_age),
        reconnect_backoff: ms(written.reconnect_backoff_ms, default.reconnect_backoff),
        reconnect_backoff_max: ms(written.reconnect_backoff_max_ms, default.reconnect_backoff_max),
        connection_setup_timeout: ms(written.setup_timeout_ms, default.connection_setup_timeout),
        client_id: written.client_id.unwrap_or(default.client_id),
    }
}

fn consumer_config(written: ConsumerProperties) -> ConsumerConfig {
    let default = ConsumerConfig::default();
    ConsumerConfig {
        fetch_min_bytes: number(written.fetch_min_bytes, default.fetch_min_bytes),
        fetch_max_bytes: number(written.fetch_max_bytes, default.fetch_max_bytes),
        fetch_max_wait: ms(written.fetch_max_wait_ms, default.fetch_max_wait),
        max_partition_fetch_bytes: number(
            written.max_partition_fetch_bytes,
            default.max_partition_fetch_bytes,
        ),
        isolation_level: written.isolation_level.unwrap_or(default.isolation_level),
        request_timeout: ms(written.request_timeout_ms, default.request_timeout),
        retry_backoff: ms(written.retry_backoff_ms, default.retry_backoff),
        metadata_max_age: ms(written.metadata_max_age_ms, default.metadata_max_age),
        client_id: written.client_id.unwrap_or(default.client_id),
    }
}
