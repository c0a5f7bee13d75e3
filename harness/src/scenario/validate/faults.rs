//! Rules of `faults`.

use super::name;
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{Cluster, Controllers, Fault, PartitionChoice, Recover, Scenario, Target};
use crate::units::Duration;

/// Number of the first controller of its own.
const CONTROLLER_ID_MIN: u16 = 101;

pub(super) fn validate(scenario: &Scenario, problems: &mut Problems<'_>) {
    if matches!(scenario.cluster, Cluster::Bootstrap(_)) && !scenario.faults.is_empty() {
        problems.add(Finding {
            path: "faults",
            message: "faults need brokers that gauntlet started".to_owned(),
            label: "but `cluster` names brokers that run already",
            help: "use `cluster: { local: … }`, or remove `faults`",
        });
    }
    for (index, fault) in scenario.faults.iter().enumerate() {
        let path = format!("faults[{index}]");
        name(&format!("{path}.name"), "fault", &fault.name, problems);
        if scenario.faults[..index].iter().any(|earlier| earlier.name == fault.name) {
            problems.add(Finding {
                path: &format!("{path}.name"),
                message: format!("two faults are called `{}`", fault.name),
                label: "the second one",
                help: "expectations name faults: give each a name of its own",
            });
        }
        times(&path, fault, scenario, problems);
        if let Some(recover) = fault.recover {
            self::recover(&path, fault, recover, problems);
        }
        target(&path, fault, scenario, problems);
        overlap(&path, fault, &scenario.faults[..index], problems);
    }
}

fn times(path: &str, fault: &Fault, scenario: &Scenario, problems: &mut Problems<'_>) {
    let Some(duration) = scenario.load.shape.duration() else { return };
    if fault.at >= duration {
        problems.add(Finding {
            path: &format!("{path}.at"),
            message: format!(
                "fault `{}` is due at {}, and the load ends at {duration}",
                fault.name, fault.at
            ),
            label: "after the end of the load",
            help: "make it earlier, or `load.duration` longer; both count from the end of the warm-up",
        });
        return;
    }
    let end = duration.saturating_add(scenario.load.drain);
    if let Some(heals_at) = fault.heals_at()
        && heals_at > end
    {
        let field = if problems.is_written(&format!("{path}.for")) { "for" } else { "recover.after" };
        problems.add(Finding {
            path: &format!("{path}.{field}"),
            message: format!("fault `{}` heals at {heals_at}, and the run ends at {end}", fault.name),
            label: "after the end of load and drain",
            help: "make it shorter or earlier, or `load.duration` or `load.drain` longer",
        });
    }
}

fn recover(path: &str, fault: &Fault, recover: Recover, problems: &mut Problems<'_>) {
    let fits = fault.action.heal_action();
    if recover.action != fits {
        problems.add(Finding {
            path: &format!("{path}.recover.action"),
            message: format!("`{}` does not end a `{}`", recover.action.name(), fault.action.name()),
            label: "another action is needed",
            help: &format!("write `action: {}`", fits.name()),
        });
    }
    if recover.after == Duration::ZERO {
        problems.add(Finding {
            path: &format!("{path}.recover.after"),
            message: format!("fault `{}` lasts no time", fault.name),
            label: "above zero",
            help: "for example 15s",
        });
    }
}

fn target(path: &str, fault: &Fault, scenario: &Scenario, problems: &mut Problems<'_>) {
    let path = format!("{path}.target");
    match &fault.target {
        Target::Leader { topic, partition } => leader(&path, topic, *partition, scenario, problems),
        Target::Id(id) => node(&path, *id, scenario, problems),
        Target::Broker { not_controller: true } => needs_another_broker(&path, scenario, problems),
        Target::Controller | Target::Broker { not_controller: false } => {}
    }
}

fn leader(
    path: &str,
    name: &str,
    partition: PartitionChoice,
    scenario: &Scenario,
    problems: &mut Problems<'_>,
) {
    let Some(topic) = scenario.topic(name) else {
        let names = scenario.topics.iter().map(|topic| topic.name.as_str());
        problems.unknown(&format!("{path}.of.topic"), "topic", name, names);
        return;
    };
    match (partition, topic.partitions) {
        (PartitionChoice::Number(number), Some(partitions)) if number >= partitions => {
            problems.add(Finding {
                path: &format!("{path}.of.partition"),
                message: format!("topic `{name}` has no partition {number}"),
                label: "there is no such partition",
                help: &format!("its partitions are 0 to {}", partitions - 1),
            })
        }
        (PartitionChoice::LowestNotController, _) => needs_another_broker(path, scenario, problems),
        _ => {}
    }
}

/// `not: controller` leaves nobody on a cluster of one node that is all.
fn needs_another_broker(path: &str, scenario: &Scenario, problems: &mut Problems<'_>) {
    let Cluster::Local(local) = &scenario.cluster else { return };
    if local.brokers == 1 && local.controllers == Controllers::Combined {
        problems.add(Finding {
            path: &format!("{path}.not"),
            message: "the only broker is the active controller".to_owned(),
            label: "spares the only broker",
            help: "raise `cluster.local.brokers`, or remove `not: controller`",
        });
    }
}

fn node(path: &str, id: u16, scenario: &Scenario, problems: &mut Problems<'_>) {
    let Cluster::Local(local) = &scenario.cluster else { return };
    let controllers = match local.controllers {
        Controllers::Combined => 0,
        Controllers::Isolated(count) => count,
    };
    let is_broker = (1..=local.brokers).contains(&id);
    let is_controller = id >= CONTROLLER_ID_MIN && id - CONTROLLER_ID_MIN < controllers;
    if is_broker || is_controller {
        return;
    }
    let mut help = format!("brokers are 1 to {}", local.brokers);
    if controllers > 0 {
        let last = CONTROLLER_ID_MIN.saturating_add(controllers - 1);
        help += &format!(", controllers {CONTROLLER_ID_MIN} to {last}");
    }
    problems.add(Finding {
        path: &format!("{path}.id"),
        message: format!("the cluster has no node {id}"),
        label: "there is no such node",
        help: &help,
    });
}

/// Two faults on one node at a time: the first one to heal would heal the other as well. Roles are only known when
/// faults are due, so this can be told for numbered nodes only; for the others the run refuses the second fault.
fn overlap(path: &str, fault: &Fault, earlier: &[Fault], problems: &mut Problems<'_>) {
    let Target::Id(id) = fault.target else { return };
    let end = |fault: &Fault| fault.heals_at().unwrap_or(Duration::from_ns(u64::MAX));
    let overlaps =
        |other: &&Fault| other.target == fault.target && other.at < end(fault) && fault.at < end(other);
    if let Some(other) = earlier.iter().find(overlaps) {
        problems.add(Finding {
            path: &format!("{path}.at"),
            message: format!("faults `{}` and `{}` overlap on node {id}", other.name, fault.name),
            label: "while the other one lasts",
            help: &match other.heals_at() {
                Some(heals_at) => format!("`{}` lasts from {} to {heals_at}", other.name, other.at),
                None => format!("`{}` lasts from {} on; give it a `recover`", other.name, other.at),
            },
        });
    }
}
