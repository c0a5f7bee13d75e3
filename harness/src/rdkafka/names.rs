//! Which of librdkafka's properties `config.rdkafka` may set: all but those that have a Kafka name, which means the same for
//! every driver, and those that gauntlet needs as they are. Names: CONFIGURATION.md of librdkafka 2.12.

/// Whose properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A producer's.
    Producer,
    /// A consumer's.
    Consumer,
}

/// Who sets a property that `config.rdkafka` may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It has a Kafka name, by which it is set in `config`.
    Config(&'static str),
    /// It is set by another block of the scenario.
    Block(&'static str),
    /// gauntlet needs it as it is; why.
    Gauntlet(&'static str),
}

/// librdkafka's names of what has a Kafka name, aliases included.
const SHARED: [(&str, &str); 9] = [
    ("client.id", "client.id"),
    ("fetch.error.backoff.ms", "retry.backoff.ms"),
    ("metadata.max.age.ms", "metadata.max.age.ms"),
    ("request.timeout.ms", "request.timeout.ms"),
    ("retry.backoff.ms", "retry.backoff.ms"),
    ("socket.timeout.ms", "request.timeout.ms"),
    ("topic.metadata.refresh.interval.ms", "metadata.max.age.ms"),
    ("isolation.level", "isolation.level"),
    ("max.partition.fetch.bytes", "max.partition.fetch.bytes"),
];

const OF_PRODUCERS: [(&str, &str); 21] = [
    ("acks", "acks"),
    ("batch.size", "batch.size"),
    ("compression.codec", "compression.type"),
    ("compression.type", "compression.type"),
    ("delivery.timeout.ms", "delivery.timeout.ms"),
    ("enable.idempotence", "enable.idempotence"),
    ("linger.ms", "linger.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.in.flight.requests.per.connection", "max.in.flight.requests.per.connection"),
    ("message.max.bytes", "max.request.size"),
    ("message.send.max.retries", "retries"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("queue.buffering.max.kbytes", "buffer.memory"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("reconnect.backoff.max.ms", "reconnect.backoff.max.ms"),
    ("reconnect.backoff.ms", "reconnect.backoff.ms"),
    ("request.required.acks", "acks"),
    ("retries", "retries"),
    ("retry.backoff.max.ms", "retry.backoff.max.ms"),
    ("socket.connection.setup.timeout.ms", "socket.connection.setup.timeout.ms"),
    ("max.request.size", "max.request.size"),
];

const OF_CONSUMERS: [(&str, &str); 4] = [
    ("fetch.max.bytes", "fetch.max.bytes"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("fetch.min.bytes", "fetch.min.bytes"),
    ("fetch.wait.max.ms", "fetch.max.wait.ms"),
];

const CALLS: &str = "gauntlet takes events from a queue of its own";
const READING: &str = "readers are assigned their partitions and read each offset once, without a group";
const ORDER: &str = "the check relies on the order of records";

/// What gauntlet needs as it is.
const OWN: [(&str, &str); 37] = [
    ("allow.auto.create.topics", "topics are made before the load, as the scenario says"),
    ("auto.commit.enable", READING),
    ("auto.commit.interval.ms", READING),
    ("auto.offset.reset", READING),
    ("builtin.features", "it says what was built in"),
    ("check.crcs", "the check of every record includes it"),
    ("coordinator.query.interval.ms", READING),
    ("default_topic_conf", CALLS),
    ("delivery.report.only.error", "every record's end is needed"),
    ("enable.auto.commit", READING),
    ("enable.auto.offset.store", READING),
    ("enable.partition.eof", READING),
    ("enabled_events", CALLS),
    ("group.id", READING),
    ("group.instance.id", READING),
    ("group.protocol", READING),
    ("group.protocol.type", READING),
    ("group.remote.assignor", READING),
    ("heartbeat.interval.ms", READING),
    ("internal.termination.signal", "gauntlet has handlers of its own"),
    ("log.queue", CALLS),
    ("max.poll.interval.ms", READING),
    ("msg_order_cmp", ORDER),
    ("offset.store.method", READING),
    ("offset.store.path", READING),
    ("offset.store.sync.interval.ms", READING),
    ("opaque", CALLS),
    ("partition.assignment.strategy", READING),
    ("partitioner", "every record has its partition already"),
    ("plugin.library.paths", "foreign code in gauntlet's process could change what is measured"),
    ("produce.offset.report", "offsets are needed"),
    ("queuing.strategy", ORDER),
    ("session.timeout.ms", READING),
    ("statistics.interval.ms", "statistics are read once per second"),
    ("topic.blacklist", READING),
    ("transaction.timeout.ms", "transactions are not in this version of gauntlet yet"),
    ("transactional.id", "transactions are not in this version of gauntlet yet"),
];

/// Who sets the property `name`; `None` if it may stand in `config.rdkafka` of this side.
#[must_use]
pub fn owner(side: Side, name: &str) -> Option<Owner> {
    let find = |names: &[(&str, &'static str)]| names.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    let of_side = match side {
        Side::Producer => find(&OF_PRODUCERS),
        Side::Consumer => find(&OF_CONSUMERS),
    };
    if let Some(kafka) = of_side.or_else(|| find(&SHARED)) {
        return Some(Owner::Config(kafka));
    }
    if matches!(name, "bootstrap.servers" | "metadata.broker.list") {
        return Some(Owner::Block("cluster.bootstrap_servers"));
    }
    let secures = ["sasl.", "ssl.", "ssl_", "https.", "security."].iter().any(|part| name.starts_with(part));
    if secures
        || matches!(name, "enable.ssl.certificate.verification" | "enable.sasl.oauthbearer.unsecure.jwt")
    {
        return Some(Owner::Block("cluster.security"));
    }
    if name.ends_with("_cb") {
        return Some(Owner::Gauntlet(CALLS));
    }
    if name.starts_with("test.mock.") {
        return Some(Owner::Gauntlet("runs are about real brokers"));
    }
    find(&OWN).map(Owner::Gauntlet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_kafka_name_is_said_by_it() {
        let config = |side, name| match owner(side, name) {
            Some(Owner::Config(kafka)) => kafka,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(config(Side::Producer, "queue.buffering.max.ms"), "linger.ms");
        assert_eq!(config(Side::Producer, "socket.timeout.ms"), "request.timeout.ms");
        assert_eq!(config(Side::Consumer, "fetch.wait.max.ms"), "fetch.max.wait.ms");
        assert_eq!(config(Side::Consumer, "fetch.error.backoff.ms"), "retry.backoff.ms");
    }

    #[test]
    fn what_has_none_may_be_set() {
        for name in ["batch.num.messages", "queue.buffering.max.messages", "compression.level", "debug"] {
            assert_eq!(owner(Side::Producer, name), None, "{name}");
        }
        for name in ["queued.min.messages", "fetch.queue.backoff.ms", "reconnect.backoff.ms", "batch.size"] {
            assert_eq!(owner(Side::Consumer, name), None, "{name}: librdkafka itself knows whose it is");
        }
    }

    #[test]
    fn what_gauntlet_needs_may_not() {
        for name in
            ["dr_msg_cb", "statistics.interval.ms", "test.mock.num.brokers", "delivery.report.only.error"]
        {
            assert!(matches!(owner(Side::Producer, name), Some(Owner::Gauntlet(_))), "{name}");
        }
        assert_eq!(owner(Side::Consumer, "sasl.password"), Some(Owner::Block("cluster.security")));
        assert_eq!(
            owner(Side::Producer, "metadata.broker.list"),
            Some(Owner::Block("cluster.bootstrap_servers"))
        );
    }
}
