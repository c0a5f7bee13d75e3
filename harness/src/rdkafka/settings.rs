//! Kafka's client properties in the words of librdkafka, so that a scenario means the same with either driver, and what a
//! plan warns of because it would not.
//!
//! Names and ranges: CONFIGURATION.md of librdkafka 2.12. What they mean: scenarios/README.md.

use std::collections::BTreeMap;

use gauntlet_reports::quantity::grouped;

use crate::scenario::types::{
    Acks, Compression, ConsumerConfig, Consumers, IsolationLevel, ProducerConfig, Producers,
};
use crate::units::Duration;

/// A property of librdkafka, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// librdkafka's name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The property of the scenario, below the block's `config`: `linger.ms`, `rdkafka.debug`; none for what gauntlet needs.
    pub from: Option<String>,
}

/// Most records of a batch that librdkafka can be set to: so many that `batch.size` decides.
const BATCH_RECORDS_MAX: &str = "1000000";
/// No limit on the number of records that wait: `buffer.memory` decides.
const NO_LIMIT: &str = "0";

fn ms(duration: Duration) -> u64 {
    duration.as_ns() / 1_000_000
}

/// Settings in the order in which they are set.
struct Settings(Vec<Setting>);

impl Settings {
    fn own(&mut self, name: &str, value: &str) {
        self.0.push(Setting { name: name.to_owned(), value: value.to_owned(), from: None });
    }

    fn kafka(&mut self, from: &str, name: &str, value: impl ToString) {
        let from = Some(from.to_owned());
        self.0.push(Setting { name: name.to_owned(), value: value.to_string(), from });
    }

    /// The raw block comes last, and in place of what was set before.
    fn raw(mut self, raw: &BTreeMap<String, String>) -> Vec<Setting> {
        for (name, value) in raw {
            self.0.retain(|setting| setting.name != *name);
            let from = Some(format!("rdkafka.{name}"));
            self.0.push(Setting { name: name.clone(), value: value.clone(), from });
        }
        self.0
    }
}

/// What every client is set to: events in a queue, statistics once per second, no topic made by accident.
fn common() -> Settings {
    let mut all = Settings(Vec::new());
    all.own("allow.auto.create.topics", "false");
    all.own("log.queue", "true");
    all.own("statistics.interval.ms", "1000");
    all
}

/// All settings of a block of producers but those that only a run knows: brokers, `client.id`, security.
#[must_use]
pub fn producer(block: &Producers) -> Vec<Setting> {
    let config: &ProducerConfig = &block.config;
    let mut all = common();
    let acks = match config.acks {
        Acks::All => "all",
        Acks::Leader => "1",
        Acks::None => "0",
    };
    all.kafka("acks", "acks", acks);
    all.kafka("batch.size", "batch.size", config.batch_size_bytes);
    all.kafka("batch.size", "batch.num.messages", BATCH_RECORDS_MAX);
    all.kafka("buffer.memory", "queue.buffering.max.kbytes", config.buffer_memory_bytes.div_ceil(1024));
    all.kafka("buffer.memory", "queue.buffering.max.messages", NO_LIMIT);
    all.kafka("compression.type", "compression.type", compression(config.compression));
    all.kafka("delivery.timeout.ms", "delivery.timeout.ms", ms(config.delivery_timeout));
    all.kafka("enable.idempotence", "enable.idempotence", config.enable_idempotence);
    all.kafka("linger.ms", "linger.ms", ms(config.linger));
    let max_in_flight = "max.in.flight.requests.per.connection";
    all.kafka(max_in_flight, max_in_flight, config.max_in_flight);
    all.kafka("max.request.size", "message.max.bytes", config.max_request_size_bytes);
    all.kafka("metadata.max.age.ms", "topic.metadata.refresh.interval.ms", ms(config.metadata_max_age));
    all.kafka("reconnect.backoff.max.ms", "reconnect.backoff.max.ms", ms(config.reconnect_backoff_max));
    all.kafka("reconnect.backoff.ms", "reconnect.backoff.ms", ms(config.reconnect_backoff));
    all.kafka("request.timeout.ms", "request.timeout.ms", ms(config.request_timeout));
    all.kafka("request.timeout.ms", "socket.timeout.ms", ms(config.request_timeout));
    all.kafka("retries", "retries", config.retries);
    all.kafka("retry.backoff.max.ms", "retry.backoff.max.ms", ms(config.retry_backoff_max));
    all.kafka("retry.backoff.ms", "retry.backoff.ms", ms(config.retry_backoff));
    let setup_timeout = "socket.connection.setup.timeout.ms";
    all.kafka(setup_timeout, setup_timeout, ms(config.connection_setup_timeout));
    all.raw(&block.rdkafka)
}

/// All settings of a block of consumers but those that only a run knows.
#[must_use]
pub fn consumer(block: &Consumers) -> Vec<Setting> {
    let config: &ConsumerConfig = &block.config;
    let mut all = common();
    all.own("auto.offset.reset", "error");
    all.own("check.crcs", "true");
    all.kafka("fetch.max.bytes", "fetch.max.bytes", config.fetch_max_bytes);
    all.kafka("fetch.max.wait.ms", "fetch.wait.max.ms", ms(config.fetch_max_wait));
    all.kafka("fetch.min.bytes", "fetch.min.bytes", config.fetch_min_bytes);
    let level = match config.isolation_level {
        IsolationLevel::ReadUncommitted => "read_uncommitted",
        IsolationLevel::ReadCommitted => "read_committed",
    };
    all.kafka("isolation.level", "isolation.level", level);
    let partition_max = "max.partition.fetch.bytes";
    all.kafka(partition_max, partition_max, config.max_partition_fetch_bytes);
    all.kafka("metadata.max.age.ms", "topic.metadata.refresh.interval.ms", ms(config.metadata_max_age));
    all.kafka("request.timeout.ms", "socket.timeout.ms", ms(config.request_timeout));
    all.kafka("retry.backoff.ms", "fetch.error.backoff.ms", ms(config.retry_backoff));
    all.kafka("retry.backoff.ms", "retry.backoff.ms", ms(config.retry_backoff));
    all.raw(&block.rdkafka)
}

fn compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

/// The load of a block, as far as warnings need it.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Records per second of one producer, at the most; `None` without schedule.
    pub per_s: Option<f64>,
    /// Bytes of a record's key and value, on average.
    pub record_bytes: f64,
}

/// What a block's own limits on numbers of records mean, where they bind before the bytes of the same purpose do.
#[must_use]
pub fn warnings(name: &str, block: &Producers, expected: Expected) -> Vec<String> {
    let limit = |property: &str| {
        let value = block.rdkafka.get(property)?.parse::<u64>().ok()?;
        (value > 0).then_some(value)
    };
    let mut warnings = Vec::new();
    let fits = |bytes: u64| bytes as f64 / expected.record_bytes.max(1.0);
    if let Some(records) = limit("batch.num.messages")
        && (records as f64) < fits(block.config.batch_size_bytes)
    {
        warnings.push(format!(
            "{name}: batch.num.messages={} ends a batch before batch.size={} does: at about {} bytes",
            grouped(records as f64),
            block.config.batch_size_bytes,
            grouped((records as f64 * expected.record_bytes).round()),
        ));
    }
    if let Some(records) = limit("queue.buffering.max.messages")
        && (records as f64) < fits(block.config.buffer_memory_bytes)
    {
        let time = match expected.per_s {
            Some(per_s) if per_s > 0.0 => format!(
                "{:.2} s of the {} records per second of each producer",
                records as f64 / per_s,
                grouped(per_s.round())
            ),
            _ => format!("about {} bytes", grouped((records as f64 * expected.record_bytes).round())),
        };
        warnings.push(format!(
            "{name}: queue.buffering.max.messages={} is full before buffer.memory={} is: it holds {time}",
            grouped(records as f64),
            block.config.buffer_memory_bytes,
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{LoadOptions, Scenario};

    fn scenario(workload: &str) -> Scenario {
        let text = format!(
            "version: 1\nname: x\ncluster: {{ bootstrap_servers: \"127.0.0.1:9\" }}\n\
             load: {{ shape: constant, rate: 1/s, duration: 1s }}\nworkload:\n{workload}"
        );
        Scenario::parse("x.yaml", &text, &LoadOptions::default()).unwrap().scenario
    }

    fn lines(settings: &[Setting]) -> String {
        let from = |s: &Setting| s.from.as_deref().map_or(String::new(), |from| format!("  <- {from}"));
        settings.iter().map(|s| format!("{}={}{}\n", s.name, s.value, from(s))).collect()
    }

    fn assert_golden(name: &str, text: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rdkafka").join(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(
            text,
            std::fs::read_to_string(&path).unwrap_or_default(),
            "{}; UPDATE=1 rewrites it",
            path.display()
        );
    }

    #[test]
    fn every_property_has_its_translation() {
        let defaults = scenario("  producers: { driver: rdkafka }\n  consumers: { driver: rdkafka }\n");
        let set = scenario(
            "  producers:\n    driver: rdkafka\n    config:\n      acks: 1\n      batch.size: 1000000\n\
             \x20     buffer.memory: 1000001\n      compression.type: zstd\n      delivery.timeout.ms: 40000\n\
             \x20     linger.ms: 20\n      max.in.flight.requests.per.connection: 1\n      max.request.size: 2000000\n\
             \x20     metadata.max.age.ms: 1000\n      reconnect.backoff.ms: 1\n      reconnect.backoff.max.ms: 2\n\
             \x20     request.timeout.ms: 3000\n      retries: 0\n      retry.backoff.ms: 4\n      retry.backoff.max.ms: 5\n\
             \x20     socket.connection.setup.timeout.ms: 6000\n\
             \x20     rdkafka: { batch.num.messages: 10, compression.level: 3, debug: msg }\n\
             \x20 consumers:\n    driver: rdkafka\n    config:\n      fetch.max.bytes: 1000001\n\
             \x20     fetch.max.wait.ms: 7\n      fetch.min.bytes: 8\n      isolation.level: read_committed\n\
             \x20     max.partition.fetch.bytes: 9\n      metadata.max.age.ms: 10\n      request.timeout.ms: 3000\n\
             \x20     retry.backoff.ms: 11\n      rdkafka: { queued.min.messages: 12 }\n",
        );
        let mut text = String::new();
        for (title, scenario) in [("defaults", &defaults), ("all set", &set)] {
            let (producers, consumers) = (&scenario.workload.producers[0], &scenario.workload.consumers[0]);
            text += &format!("# {title}: producer\n{}", lines(&producer(producers)));
            text += &format!("# {title}: consumer\n{}", lines(&consumer(consumers)));
        }
        assert_golden("translation.txt", &text);
    }

    fn warned(raw: &str, expected: Expected) -> Vec<String> {
        let block = scenario(&format!("  producers: {{ driver: rdkafka, config: {{ rdkafka: {raw} }} }}\n"));
        warnings("producers of orders", &block.workload.producers[0], expected)
    }

    #[test]
    fn limits_on_numbers_are_warned_about_where_they_bind() {
        let million = Expected { per_s: Some(1_000_000.0), record_bytes: 100.0 };
        assert_eq!(
            warned("{ queue.buffering.max.messages: 100000, batch.num.messages: 10 }", million),
            [
                "producers of orders: batch.num.messages=10 ends a batch before batch.size=16384 does: at about 1 000 bytes",
                "producers of orders: queue.buffering.max.messages=100 000 is full before buffer.memory=268435456 is: it \
                 holds 0.10 s of the 1 000 000 records per second of each producer"
            ]
        );
        // 16 KiB are 164 records, 256 MiB are 2.7 million.
        assert_eq!(
            warned("{ batch.num.messages: 164, queue.buffering.max.messages: 2684355 }", million),
            [""; 0]
        );
        assert_eq!(warned("{ queue.buffering.max.messages: 0 }", million), [""; 0], "0 is no limit");
        let unknown = Expected { per_s: None, record_bytes: 100.0 };
        assert!(
            warned("{ queue.buffering.max.messages: 10 }", unknown)[0]
                .ends_with("it holds about 1 000 bytes")
        );
    }
}
