//! What the format or Kafka has and this version of gauntlet has not: such names get an answer of their own, because
//! "unknown field" would send users looking for a typo.

/// Fields of the scenario format by the block they belong to; `*` is any block. Sorted by block.
const LATER_FIELDS: [(&str, &[&str]); 13] = [
    ("", &["measure", "steady_state", "security", "transactions", "processors", "groups", "probes"]),
    ("cluster", &["kubernetes"]),
    ("cluster.docker", &["disk", "isolation", "security"]),
    (
        "cluster.security",
        &[
            "sasl.kerberos.service.name",
            "sasl.login.callback.handler.class",
            "sasl.oauthbearer.token.endpoint.url",
            "ssl.cipher.suites",
            "ssl.enabled.protocols",
            "ssl.key.password",
            "ssl.keystore.password",
            "ssl.protocol",
            "ssl.truststore.password",
        ],
    ),
    ("expect", &["abort_on_fail", "delay_abort_eval", "per", "rows"]),
    ("faults", &["when", "schedule"]),
    ("faults.args", &["loss", "rate"]),
    ("faults.target", &["mode", "value", "group"]),
    ("report", &["attach"]),
    ("verify", &["checks"]),
    ("workload", &["processors"]),
    ("workload.consumers", &["group", "delivery", "isolation", "protocol"]),
    ("workload.producers", &["transaction", "transactions"]),
];

/// Values of enumerations by their path.
const LATER_VALUES: [(&str, &[&str]); 6] = [
    ("cluster.security.sasl.mechanism", &["GSSAPI"]),
    ("cluster.security.ssl.keystore.type", &["JKS", "PKCS12"]),
    ("cluster.security.ssl.truststore.type", &["JKS", "PKCS12"]),
    ("report.formats", &["hgrm", "markdown"]),
    ("topics.lifecycle", &["per-point"]),
    ("faults.action", &["network.loss"]),
];

/// Whether `field` of the block at `path` is part of the format, but not of this version.
pub(crate) fn is_later_field(path: &str, field: &str) -> bool {
    let block = without_indices(path);
    LATER_FIELDS.iter().any(|(name, fields)| *name == block && fields.contains(&field))
}

/// Whether `value` of the enumeration at `path` is part of the format, but not of this version.
pub(crate) fn is_later_value(path: &str, value: &str) -> bool {
    let path = without_indices(path);
    LATER_VALUES.iter().any(|(name, values)| *name == path && values.contains(&value))
}

/// Whether `path` is a block of client properties and `name` one that Kafka's client has (4.x, Java).
pub(crate) fn is_kafka_property(path: &str, name: &str) -> bool {
    let side = match without_indices(path).as_str() {
        "workload.producers.config" => &PRODUCER_PROPERTIES[..],
        "workload.consumers.config" => &CONSUMER_PROPERTIES[..],
        _ => return false,
    };
    let common = COMMON_PROPERTIES.contains(&name) || side.contains(&name);
    common || ["ssl.", "sasl.", "metrics.", "telemetry."].iter().any(|prefix| name.starts_with(prefix))
}

fn without_indices(path: &str) -> String {
    let mut result = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => result.push(c),
            _ => {}
        }
    }
    result
}

/// Properties that producers and consumers share (CommonClientConfigs).
const COMMON_PROPERTIES: [&str; 27] = [
    "auto.include.jmx.reporter",
    "bootstrap.servers",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "config.providers",
    "connections.max.idle.ms",
    "enable.metrics.push",
    "interceptor.classes",
    "metadata.max.age.ms",
    "metadata.max.idle.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "metric.reporters",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.protocol",
    "security.providers",
    "send.buffer.bytes",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
    "default.api.timeout.ms",
];

/// Properties of the producer alone (ProducerConfig).
const PRODUCER_PROPERTIES: [&str; 22] = [
    "acks",
    "batch.size",
    "buffer.memory",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delivery.timeout.ms",
    "enable.idempotence",
    "key.serializer",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.request.size",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "partitioner.class",
    "partitioner.ignore.keys",
    "transaction.timeout.ms",
    "transaction.two.phase.commit.enable",
    "transactional.id",
    "value.serializer",
];

/// Properties of the consumer alone (ConsumerConfig).
const CONSUMER_PROPERTIES: [&str; 26] = [
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "enable.auto.commit",
    "exclude.internal.topics",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "key.deserializer",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.poll.records",
    "partition.assignment.strategy",
    "session.timeout.ms",
    "share.acknowledgement.mode",
    "share.acquire.mode",
    "value.deserializer",
    "internal.leave.group.on.close",
    "internal.throw.on.fetch.stable.offset.unsupported",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_block() {
        assert!(is_later_field("", "measure"));
        assert!(is_later_field("workload.consumers[1]", "group"));
        assert!(!is_later_field("load", "measure"));
        assert!(is_later_value("topics.lifecycle", "per-point"));
        assert!(is_kafka_property("workload.producers.config", "transactional.id"));
        assert!(!is_kafka_property("workload.consumers.config", "transactional.id"));
        assert!(is_kafka_property("workload.consumers[0].config", "sasl.jaas.config"));
    }
}
