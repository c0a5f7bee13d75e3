//! What of a plan differs from Kafka's defaults, for `environment.config` of `run.json`.

use std::collections::BTreeMap;

use gauntlet_wire::codec::Codec;
use gauntlet_wire::fetcher::Isolation;
use gauntlet_wire::producer::Acks;

use super::{ClusterPlan, DriverPlan, Plan, ProducerBlock, ReaderBlock};

/// Kafka 4's defaults of the topic properties that a plan sets by itself (TopicConfig).
const TOPIC_DEFAULTS: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("file.delete.delay.ms", "60000"),
    ("retention.bytes", "-1"),
    ("segment.bytes", "1073741824"),
];

impl Plan {
    /// Settings that differ from Kafka's defaults, by whose they are: `brokers`, `security`, `topic orders`, `producers orders`,
    /// `consumers orders`; a second block of producers of the same topic is `producers orders (2)`. Of brokers and topics
    /// all that is set counts as different, except what the plan itself set to Kafka's default.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        if let ClusterPlan::Local(spec) = &self.cluster {
            all.insert("brokers".to_owned(), spec.settings());
        }
        all.insert("security".to_owned(), security_settings(&self.cluster));
        for topic in &self.topics {
            let is_default = |name: &str, value: &str| TOPIC_DEFAULTS.contains(&(name, value));
            let set = topic.config.iter().filter(|(name, value)| !is_default(name, value));
            let set = set.map(|(name, value)| (name.clone(), value.clone())).collect();
            all.insert(format!("topic {}", topic.name), set);
        }
        for block in &self.producers {
            let name = free_name(&all, "producers", &self.topics[block.topic].name);
            all.insert(name, with_driver(changed(producer_settings(block)), &block.driver));
        }
        for block in &self.readers {
            let name = free_name(&all, "consumers", &self.topics[block.topic].name);
            all.insert(name, with_driver(changed(reader_settings(block)), &block.driver));
        }
        all.retain(|_, settings| !settings.is_empty());
        all
    }
}

/// Adds which client it is, if it is not gauntlet's own, and what was set by that client's own names.
fn with_driver(mut changed: BTreeMap<String, String>, driver: &DriverPlan) -> BTreeMap<String, String> {
    if let Some(external) = driver.external() {
        changed.insert("driver".to_owned(), format!("external: {}", external.command.join(" ")));
        let raw = external.raw.iter().map(|(name, value)| (format!("external.{name}"), value.clone()));
        changed.extend(raw);
    }
    let Some(settings) = driver.rdkafka() else { return changed };
    let version = crate::rdkafka::version().map_or_else(String::new, |version| format!(" {version}"));
    changed.insert("driver".to_owned(), format!("librdkafka{version}"));
    for setting in settings {
        if let Some(from) = setting.from.as_ref().filter(|from| from.starts_with("rdkafka.")) {
            changed.insert(from.clone(), setting.value.clone());
        }
    }
    changed
}

/// How clients connect. Defaults: Kafka 4, CommonClientConfigs.
fn security_settings(cluster: &ClusterPlan) -> BTreeMap<String, String> {
    let (protocol, mechanism) = match cluster {
        ClusterPlan::Local(spec) => {
            let protocol = spec.security.map(|security| security.protocol);
            (protocol.map(|p| p.name()), protocol.and_then(|p| p.mechanism()).map(|m| m.name()))
        }
        ClusterPlan::Bootstrap(foreign) => {
            (Some(foreign.security.protocol()), foreign.security.login.as_ref().map(|l| l.mechanism()))
        }
    };
    changed(vec![
        setting("security.protocol", protocol.unwrap_or("PLAINTEXT"), "PLAINTEXT"),
        setting("sasl.mechanism", mechanism.unwrap_or_default(), ""),
    ])
}

fn free_name(taken: &BTreeMap<String, BTreeMap<String, String>>, kind: &str, topic: &str) -> String {
    let names = (1..).map(|nth| match nth {
        1 => format!("{kind} {topic}"),
        nth => format!("{kind} {topic} ({nth})"),
    });
    names.into_iter().find(|name| !taken.contains_key(name)).unwrap_or_default()
}

/// A property as it is set, and Kafka's default.
struct Setting {
    name: &'static str,
    value: String,
    default: &'static str,
}

fn setting(name: &'static str, value: impl ToString, default: &'static str) -> Setting {
    Setting { name, value: value.to_string(), default }
}

fn changed(settings: Vec<Setting>) -> BTreeMap<String, String> {
    let differs = settings.into_iter().filter(|setting| setting.value != setting.default);
    differs.map(|setting| (setting.name.to_owned(), setting.value)).collect()
}

/// Defaults: Kafka 4, ProducerConfig. Its `client.id` is empty, and becomes `producer-N`.
fn producer_settings(block: &ProducerBlock) -> Vec<Setting> {
    let links = &block.links;
    vec![
        setting(
            "acks",
            match block.acks {
                Acks::All => "all",
                Acks::Leader => "1",
                Acks::None => "0",
            },
            "all",
        ),
        setting("batch.size", block.batch_bytes, "16384"),
        setting("buffer.memory", block.buffer_bytes, "33554432"),
        setting("client.id", &links.client_id, ""),
        setting(
            "compression.type",
            match block.codec {
                Codec::None => "none",
                Codec::Gzip => "gzip",
                Codec::Snappy => "snappy",
                Codec::Lz4 => "lz4",
                Codec::Zstd => "zstd",
            },
            "none",
        ),
        setting("delivery.timeout.ms", block.delivery_timeout.as_millis(), "120000"),
        setting("enable.idempotence", block.idempotent, "true"),
        setting("linger.ms", block.linger.as_millis(), "5"),
        setting("max.in.flight.requests.per.connection", block.max_in_flight, "5"),
        setting("max.request.size", block.request_bytes, "1048576"),
        setting("metadata.max.age.ms", links.metadata_max_age.as_millis(), "300000"),
        setting("reconnect.backoff.ms", links.reconnect_backoff.as_millis(), "50"),
        setting("reconnect.backoff.max.ms", links.reconnect_backoff_max.as_millis(), "1000"),
        setting("request.timeout.ms", links.request_timeout.as_millis(), "30000"),
        setting("retries", if block.retries { "2147483647" } else { "0" }, "2147483647"),
        setting("retry.backoff.ms", links.retry_backoff.as_millis(), "100"),
        setting("retry.backoff.max.ms", links.retry_backoff_max.as_millis(), "1000"),
        setting("socket.connection.setup.timeout.ms", links.setup_timeout.as_millis(), "10000"),
    ]
}

/// Defaults: Kafka 4, ConsumerConfig.
fn reader_settings(block: &ReaderBlock) -> Vec<Setting> {
    let links = &block.links;
    vec![
        setting("client.id", &links.client_id, ""),
        setting("fetch.max.bytes", block.max_bytes, "52428800"),
        setting("fetch.max.wait.ms", block.max_wait.as_millis(), "500"),
        setting("fetch.min.bytes", block.min_bytes, "1"),
        setting(
            "isolation.level",
            match block.isolation {
                Isolation::ReadUncommitted => "read_uncommitted",
                Isolation::ReadCommitted => "read_committed",
            },
            "read_uncommitted",
        ),
        setting("max.partition.fetch.bytes", block.partition_max_bytes, "1048576"),
        setting("metadata.max.age.ms", links.metadata_max_age.as_millis(), "300000"),
        setting("request.timeout.ms", links.request_timeout.as_millis(), "30000"),
        setting("retry.backoff.ms", links.retry_backoff.as_millis(), "100"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PlanOptions, plan};
    use crate::scenario::{LoadOptions, Scenario};

    fn settings(rest: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let text =
            format!("version: 1\nname: x\nload: {{ shape: constant, rate: 1/s, duration: 1s }}\n{rest}");
        let loaded = Scenario::parse("x.yaml", &text, &LoadOptions::default()).unwrap();
        let out = tempfile::tempdir().unwrap();
        let options = PlanOptions {
            run_id: "r".to_owned(),
            run: 1,
            seed: 1,
            kafka_home: None,
            out: Some(out.path().to_path_buf()),
        };
        plan(&loaded, &options).unwrap().plan.settings()
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_not_set_is_what_gauntlet_sets() {
        let settings = settings("cluster: { bootstrap_servers: \"127.0.0.1:9\" }\n");
        let producers = map(&[("buffer.memory", "268435456"), ("client.id", "gauntlet")]);
        assert_eq!(settings["producers gauntlet-x-r"], producers);
        assert_eq!(settings["consumers gauntlet-x-r"], map(&[("client.id", "gauntlet")]));
        assert_eq!(settings.len(), 2, "{settings:?}");
    }

    #[test]
    fn what_is_set_is_there_by_kafkas_names() {
        let settings = settings(
            "cluster: { local: { config: { broker.session.timeout.ms: 3000 } } }\n\
             topics: [{ name: orders, partitions: 1, config: { min.insync.replicas: 2 } }]\n\
             workload:\n  payload: { size: 100B }\n  producers:\n\
             \x20   - { config: { acks: 1, enable.idempotence: false, linger.ms: 20, compression.type: lz4, client.id: a } }\n\
             \x20   - { config: { retry.backoff.ms: 7, batch.size: 65536, client.id: b } }\n\
             \x20 consumers: { config: { isolation.level: read_committed, fetch.min.bytes: 9, client.id: c } }\n",
        );
        // Three brokers: the replicas of internal topics are Kafka's defaults.
        assert_eq!(
            settings["brokers"],
            map(&[
                ("broker.session.timeout.ms", "3000"),
                ("group.initial.rebalance.delay.ms", "0"),
                ("replica.socket.receive.buffer.bytes", "-1"),
                ("socket.receive.buffer.bytes", "-1"),
                ("socket.send.buffer.bytes", "-1"),
            ])
        );
        assert_eq!(settings["topic orders"], map(&[("min.insync.replicas", "2")]));
        let buffer = ("buffer.memory", "268435456");
        let first = [
            ("acks", "1"),
            buffer,
            ("client.id", "a"),
            ("compression.type", "lz4"),
            ("enable.idempotence", "false"),
            ("linger.ms", "20"),
        ];
        assert_eq!(settings["producers orders"], map(&first));
        let second = [("batch.size", "65536"), buffer, ("client.id", "b"), ("retry.backoff.ms", "7")];
        assert_eq!(settings["producers orders (2)"], map(&second));
        let readers = [("client.id", "c"), ("fetch.min.bytes", "9"), ("isolation.level", "read_committed")];
        assert_eq!(settings["consumers orders"], map(&readers));
    }
}
