//! Rules of `workload`.

use super::{driver, records};
use crate::scenario::diagnostic::Sources;
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{
    Acks, Consumers, Driver, IsolationLevel, Load, ProducerConfig, Producers, RETRIES_MAX, Scenario, Topic,
};
use crate::units::Duration;

/// Bytes around one record in a batch of its own, at most: batch header (61) and the record's own fields.
pub(crate) const BATCH_OVERHEAD_BYTES: u64 = 61 + 24;
/// Most clients of one block. Each is a thread: a larger number is a typo.
const CLIENTS_MAX: u16 = 1_000;

pub(super) fn validate(scenario: &Scenario, sources: &Sources, problems: &mut Problems<'_>) {
    for (index, block) in scenario.workload.producers.iter().enumerate() {
        let path = format!("workload.producers[{index}]");
        topic(&path, &block.topic, &scenario.topics, problems);
        clients(&format!("{path}.count"), block.count, problems);
        producers(&path, block, problems);
        driver::producers(&path, block, sources, problems);
        let common = |part: &str| records_path(&path, part, problems);
        let (payload, identity, key) = (common("payload"), common("identity"), common("key"));
        records::payload(&payload, block, problems);
        records::key(&key, &block.key, problems);
        records::identity((&identity, &key), block, scenario, problems);
        if let Some(own) = &block.load {
            own_load(&format!("{path}.load"), own, scenario, problems);
        }
    }
    for (index, block) in scenario.workload.consumers.iter().enumerate() {
        let path = format!("workload.consumers[{index}]");
        topic(&path, &block.topic, &scenario.topics, problems);
        clients(&format!("{path}.members"), block.members, problems);
        consumers(&path, index, block, scenario, problems);
        driver::consumers(&path, block, sources, problems);
    }
}

fn topic(path: &str, name: &str, topics: &[Topic], problems: &mut Problems<'_>) {
    let names = topics.iter().map(|topic| topic.name.as_str());
    if !names.clone().any(|known| known == name) {
        problems.unknown(&format!("{path}.topic"), "topic", name, names);
    }
}

fn clients(path: &str, count: u16, problems: &mut Problems<'_>) {
    if !(1..=CLIENTS_MAX).contains(&count) {
        problems.add(Finding {
            path,
            message: format!("`{path}` is {count}"),
            label: "out of range",
            help: &format!("from 1 to {CLIENTS_MAX}; leave it out to get the default"),
        });
    }
}

/// Where a block's payload or key is written: in the block, or for all.
fn records_path(block: &str, part: &str, problems: &Problems<'_>) -> String {
    let own = format!("{block}.{part}");
    if problems.is_written(&own) { own } else { format!("workload.{part}") }
}

/// A load of some producers' own lies inside the scenario's.
fn own_load(path: &str, own: &Load, scenario: &Scenario, problems: &mut Problems<'_>) {
    super::load::shape(path, &own.shape, problems);
    let Some(whole) = scenario.load.shape.duration() else {
        return problems.add(Finding {
            path,
            message: "producers with a load of their own need a scenario that ends at a known time"
                .to_owned(),
            label: "`load` ends with its last message",
            help: "give `load` a `duration`",
        });
    };
    let ends = own.shape.duration().map(|duration| duration.saturating_add(own.start));
    if ends.is_some_and(|ends| ends > whole) {
        problems.add(Finding {
            path,
            message: format!("this load ends at {}, after the scenario's", ends.unwrap_or(whole)),
            label: "",
            help: &format!("`load` ends at {whole}: shorten this one, or lengthen that"),
        });
    }
}

fn producers(path: &str, block: &Producers, problems: &mut Problems<'_>) {
    let payload_bytes = block.payload.size.max_bytes();
    let config = &block.config;
    let property = |name: &str| format!("{path}.config.{name}");
    if config.enable_idempotence {
        idempotence(path, config, problems);
    }
    if config.retries != 0 && config.retries != RETRIES_MAX {
        problems.add(Finding {
            path: &property("retries"),
            message: format!("retries={} is not supported", config.retries),
            label: "0 or 2147483647",
            help: "bound retries by delivery.timeout.ms, as Kafka's documentation advises",
        });
    }
    let least = config.linger.saturating_add(config.request_timeout);
    let least_ms = least.as_ns() / 1_000_000;
    if config.delivery_timeout < least {
        // Kafka refuses this too, if the time-out was set (KafkaProducer.configureDeliveryTimeout).
        problems.add(Finding {
            path: &property("delivery.timeout.ms"),
            message: format!(
                "delivery.timeout.ms is shorter than linger.ms + request.timeout.ms ({least_ms})"
            ),
            label: "no batch could be tried once",
            help: &format!("at least {least_ms}"),
        });
    }
    if payload_bytes + BATCH_OVERHEAD_BYTES > config.max_request_size_bytes {
        problems.add(Finding {
            path: &property("max.request.size"),
            message: format!("a record of {payload_bytes} bytes does not fit max.request.size"),
            label: "smaller than one record",
            help: "raise it (and the topic's max.message.bytes), or lower workload.payload.size",
        });
    }
    if config.buffer_memory_bytes < config.batch_size_bytes.max(payload_bytes + BATCH_OVERHEAD_BYTES) {
        problems.add(Finding {
            path: &property("buffer.memory"),
            message: "buffer.memory does not hold one batch".to_owned(),
            label: "smaller than batch.size or one record",
            help: "leave it out to get 256 MiB",
        });
    }
    backoffs(path, config, problems);
}

/// What the idempotent producer needs (KafkaProducer and KIP-679).
fn idempotence(path: &str, config: &ProducerConfig, problems: &mut Problems<'_>) {
    let property = |name: &str| format!("{path}.config.{name}");
    if config.acks != Acks::All {
        let acks = if config.acks == Acks::None { "0" } else { "1" };
        problems.add(Finding {
            path: &property("acks"),
            message: format!("acks={acks} contradicts enable.idempotence=true"),
            label: "idempotence needs acks=all",
            help: "write `acks: all`, or `enable.idempotence: false`",
        });
    }
    if config.retries == 0 {
        problems.add(Finding {
            path: &property("retries"),
            message: "retries=0 contradicts enable.idempotence=true".to_owned(),
            label: "idempotence needs retries",
            help: "remove `retries`, or write `enable.idempotence: false`",
        });
    }
    if config.max_in_flight > 5 {
        problems.add(Finding {
            path: &property("max.in.flight.requests.per.connection"),
            message: format!("{} requests in flight contradict enable.idempotence=true", config.max_in_flight),
            label: "at most 5 with idempotence",
            help: "brokers remember the last 5 batches of a producer: write 5, or `enable.idempotence: false`",
        });
    }
}

fn backoffs(path: &str, config: &ProducerConfig, problems: &mut Problems<'_>) {
    let mut ordered = |name: &str, first: Duration, most: Duration| {
        if first > most {
            problems.add(Finding {
                path: &format!("{path}.config.{name}.ms"),
                message: format!("{name}.ms is above {name}.max.ms ({})", most.as_ns() / 1_000_000),
                label: "the first pause is longer than the longest",
                help: &format!("raise `{name}.max.ms` as well"),
            });
        }
    };
    ordered("retry.backoff", config.retry_backoff, config.retry_backoff_max);
    ordered("reconnect.backoff", config.reconnect_backoff, config.reconnect_backoff_max);
}

fn consumers(path: &str, index: usize, block: &Consumers, scenario: &Scenario, problems: &mut Problems<'_>) {
    if let Some(partitions) = scenario.topic(&block.topic).and_then(|topic| topic.partitions)
        && partitions > 0
        && u32::from(block.members) > partitions
    {
        problems.add(Finding {
            path: &format!("{path}.members"),
            message: format!("{} members share {partitions} partitions", block.members),
            label: "some would have nothing to read",
            help: &format!("at most {partitions}"),
        });
    }
    window(path, block, scenario, problems);
    let earlier = &scenario.workload.consumers[..index];
    let same = |other: &Consumers| other.topic == block.topic && level(other) == level(block);
    if earlier.iter().any(same) {
        problems.add(Finding {
            path: &format!("{path}.topic"),
            message: format!("two blocks of consumers read `{}` the same way", block.topic),
            label: "the second one",
            help: "raise `members` of the first: these are readers by assignment, each offset is read once",
        });
    }
}

/// Consumers begin before they end, and both while there is load.
fn window(path: &str, block: &Consumers, scenario: &Scenario, problems: &mut Problems<'_>) {
    let whole = scenario.load.shape.duration();
    for (field, at) in [("start", block.start), ("end", block.end)] {
        let Some(at) = at else { continue };
        if block.driver == Driver::External {
            problems.add(Finding {
                path: &format!("{path}.{field}"),
                message: format!("`{field}` is not supported with `driver: external` yet"),
                label: "a program reads from when it is ready",
                help: "remove it, or use another driver",
            });
        }
        if whole.is_none_or(|whole| at >= whole) {
            problems.add(Finding {
                path: &format!("{path}.{field}"),
                message: match whole {
                    Some(whole) => format!("`{field}` is {at}, and the load ends at {whole}"),
                    None => format!("`{field}` needs a load that ends at a known time"),
                },
                label: "counts from the end of the warm-up",
                help: "what is left is read after the load in any case; make it earlier, or give `load` a longer `duration`",
            });
        }
    }
    if let (Some(start), Some(end)) = (block.start, block.end)
        && end <= start
    {
        problems.add(Finding {
            path: &format!("{path}.end"),
            message: format!("these consumers end at {end} and start at {start}"),
            label: "they would read nothing in between",
            help: "make `end` later than `start`",
        });
    }
}

fn level(block: &Consumers) -> IsolationLevel {
    block.config.isolation_level
}
