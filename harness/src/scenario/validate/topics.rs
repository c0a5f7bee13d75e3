//! Rules of `topics`.

use crate::scenario::interpolate::RUN_ID;
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{
    Cluster, Consumers, Driver, IdentityPlace, Key, Lifecycle, Scenario, Shape, Topic, Verify,
};

/// Longest name of a topic (Kafka's `Topic.MAX_NAME_LENGTH`).
pub(crate) const NAME_LENGTH_MAX: usize = 249;
/// Room that is left for the id of a run in a name: `20261121-090342-7f3a`, or a run of a sweep, `…-p003-r12-a2`.
pub(crate) const RUN_ID_LENGTH: usize = 36;
/// Most partitions of a topic: beyond it, loads and checks of one host mean nothing.
pub(super) const PARTITIONS_MAX: u32 = 10_000;

pub(super) fn validate(scenario: &Scenario, problems: &mut Problems<'_>) {
    for (index, topic) in scenario.topics.iter().enumerate() {
        let path = format!("topics[{index}]");
        // The name of the default topic follows from the scenario's, which has its own rule.
        if problems.is_written(&path) {
            name(&path, topic, problems);
        }
        if scenario.topics[..index].iter().any(|earlier| earlier.name == topic.name) {
            problems.add(Finding {
                path: &format!("{path}.name"),
                message: format!("two topics are called `{}`", topic.name),
                label: "the second one",
                help: "give each topic a name of its own",
            });
        }
        if topic.lifecycle == Lifecycle::Reuse {
            reused(&path, topic, problems);
        } else {
            created(&path, topic, &scenario.cluster, problems);
            compacted(&path, topic, scenario, problems);
        }
    }
}

/// What a topic that the run creates and that is compacted asks of those who write and read it.
fn compacted(path: &str, topic: &Topic, scenario: &Scenario, problems: &mut Problems<'_>) {
    let of_topic = topic.config.get("cleanup.policy");
    let of_brokers = scenario.cluster.nodes().filter(|_| of_topic.is_none());
    let of_brokers = of_brokers.and_then(|nodes| nodes.config.get("log.cleanup.policy"));
    let is_compact = |policy: &&String| policy.contains("compact");
    let path = match (of_topic.filter(is_compact), of_brokers.filter(is_compact)) {
        (Some(_), _) => format!("{path}.config.cleanup.policy"),
        (_, Some(_)) => format!("{}.config.log.cleanup.policy", scenario.cluster.nodes_path()),
        (None, None) => return,
    };
    let mut refuse = |message: String, label: &str, help: &str| {
        problems.add(Finding { path: &path, message, label, help });
    };
    let is_checked = scenario.verify != Verify::Off;
    let name = &topic.name;
    let is_replayed = matches!(scenario.load.shape, Shape::Replay { .. });
    for block in scenario.workload.producers.iter().filter(|block| block.topic == *name) {
        if block.identity == IdentityPlace::Key && is_checked {
            let message =
                format!("topic `{name}` is compacted, and every record has a key of its own, its identity");
            refuse(
                message,
                "nothing would ever be compacted",
                "write `identity: value` or `header`, and a `key`",
            );
        } else if matches!(block.key, Key::None | Key::Sticky)
            && block.identity != IdentityPlace::Key
            && !is_replayed
        {
            let message = format!("topic `{name}` is compacted, and its producers send records without keys");
            refuse(message, "brokers refuse them (INVALID_RECORD)", "give the producers a `key`");
        }
    }
    let is_other = |driver: Driver| driver != Driver::Wire;
    let reads = |block: &&Consumers| block.topic == *name && is_other(block.driver);
    if let Some(block) = scenario.workload.consumers.iter().find(reads).filter(|_| is_checked) {
        let message = format!("topic `{name}` is compacted, and read with `driver: {}`", block.driver.name());
        let help = "read it with `driver: wire`, or load it without a check: `verify: off`";
        refuse(message, "only gauntlet's own client shows the check which records may be gone", help);
    }
}

/// Kafka's rule for names (`Topic.validate`).
fn name(path: &str, topic: &Topic, problems: &mut Problems<'_>) {
    let name = topic.name.replace(RUN_ID, &"0".repeat(RUN_ID_LENGTH));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = if name.is_empty() {
        "empty"
    } else if name == "." || name == ".." {
        "not `.` or `..`"
    } else if name.len() > NAME_LENGTH_MAX {
        "longer than 249 characters"
    } else if !name.chars().all(allowed) {
        "letters, digits, `.`, `_`, and `-`"
    } else {
        return;
    };
    problems.add(Finding {
        path: &format!("{path}.name"),
        message: format!("Kafka takes no topic name `{}`", topic.name),
        label: reason,
        help: "write it like `orders`",
    });
}

/// A topic that is there already has what it has.
fn reused(path: &str, topic: &Topic, problems: &mut Problems<'_>) {
    let mut refuse = |field: &str, given: bool| {
        if given {
            problems.add(Finding {
                path: &format!("{path}.{field}"),
                message: format!("`{field}` does not fit `lifecycle: reuse`"),
                label: "the topic exists and is not changed",
                help: &format!("remove `{field}`, or use `lifecycle: keep` to create the topic"),
            });
        }
    };
    refuse("replication_factor", topic.replication_factor.is_some());
    refuse("config", !topic.config.is_empty());
}

fn created(path: &str, topic: &Topic, cluster: &Cluster, problems: &mut Problems<'_>) {
    if let Some(partitions) = topic.partitions
        && !(1..=PARTITIONS_MAX).contains(&partitions)
    {
        problems.add(Finding {
            path: &format!("{path}.partitions"),
            message: format!("topic `{}` has {partitions} partitions", topic.name),
            label: "out of range",
            help: &format!("from 1 to {PARTITIONS_MAX}"),
        });
    }
    let Some(replicas) = topic.replication_factor else { return };
    if replicas == 0 {
        problems.add(Finding {
            path: &format!("{path}.replication_factor"),
            message: format!("topic `{}` has no replicas", topic.name),
            label: "at least 1",
            help: "leave it out to get 3, or the number of brokers if that is less",
        });
    }
    let Some(local) = cluster.nodes() else {
        min_insync(path, topic, replicas, problems);
        return;
    };
    if replicas > local.brokers {
        problems.add(Finding {
            path: &format!("{path}.replication_factor"),
            message: format!("topic `{}` wants {replicas} replicas of {} brokers", topic.name, local.brokers),
            label: "more than there are brokers",
            help: &format!("lower it, or raise `{}.brokers`", cluster.nodes_path()),
        });
    } else if topic.config.contains_key("min.insync.replicas") {
        min_insync(path, topic, replicas, problems);
    } else if let Some(value) = local.config.get("min.insync.replicas")
        && value.trim().parse::<u16>().is_ok_and(|minimum| minimum > replicas)
    {
        problems.add(Finding {
            path: &format!("{}.config.min.insync.replicas", cluster.nodes_path()),
            message: format!(
                "min.insync.replicas {value} is above {replicas}, the replicas of `{}`",
                topic.name
            ),
            label: "no write with acks=all could succeed",
            help: "lower it, or raise the topic's replication_factor",
        });
    }
}

fn min_insync(path: &str, topic: &Topic, replicas: u16, problems: &mut Problems<'_>) {
    let Some(value) = topic.config.get("min.insync.replicas") else { return };
    let path = format!("{path}.config.min.insync.replicas");
    match value.trim().parse::<u16>() {
        Ok(minimum) if minimum > replicas => problems.add(Finding {
            path: &path,
            message: format!(
                "min.insync.replicas {minimum} is above {replicas}, the replicas of `{}`",
                topic.name
            ),
            label: "no write with acks=all could succeed",
            help: "lower it, or raise `replication_factor`",
        }),
        Ok(1..) => {}
        _ => problems.add(Finding {
            path: &path,
            message: format!("invalid min.insync.replicas `{value}`"),
            label: "a whole number from 1",
            help: "2 with 3 replicas is usual: one may be lost, and no acked record with it",
        }),
    }
}
