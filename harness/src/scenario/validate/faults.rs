//! Rules of `faults`.

use gauntlet_chaos::KafkaVersion;
use gauntlet_chaos::docker::DOCKER_ACTIONS;
use gauntlet_chaos::fault::Claim;
use gauntlet_chaos::hook::HOOKED_ACTIONS;

use super::{client_faults, name, network, operations, shims};
use crate::scenario::CONTROLLER_ID_MIN;
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{
    ActionName, Cluster, Controllers, Fault, FaultAction, ForeignCluster, PartitionChoice, Recover, Scenario,
    Target,
};
use crate::units::Duration;

/// How often one fault may happen in a run.
pub(crate) const REPEATS_MAX: usize = 100;

pub(super) fn validate(scenario: &Scenario, problems: &mut Problems<'_>) {
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
        match &scenario.cluster {
            Cluster::Local(_) => {}
            Cluster::Docker(_) => on_containers(&path, fault, problems),
            Cluster::Bootstrap(foreign) => on_foreign(&path, fault, foreign, problems),
        }
        times(&path, fault, scenario, problems);
        if let Some(recover) = fault.recover {
            self::recover(&path, fault, recover, problems);
        }
        repeats(&path, fault, scenario, problems);
        target(&path, fault, scenario, problems);
        match &fault.action {
            FaultAction::Network(of_network) => {
                network::validate(&path, fault, of_network, scenario, problems);
            }
            FaultAction::BrokerRollingUpgrade { to } => upgrade(&path, (index, to), scenario, problems),
            FaultAction::BrokerPowerLoss { tail: Some(tail) } if tail.get() == 0 => problems.add(Finding {
                path: &format!("{path}.args.tail"),
                message: "a `tail` of 0B".to_owned(),
                label: "nothing would be lost",
                help: "above zero, or leave it out: all that Kafka has not flushed; or use `broker.kill`",
            }),
            FaultAction::Disk(_) | FaultAction::ClockSkew { .. } => {
                shims::validate(&path, fault, scenario, problems);
            }
            FaultAction::Client(_) => client_faults::validate(&path, fault, scenario, problems),
            FaultAction::Operation(operation) => {
                operations::validate(&path, (index, fault), operation, scenario, problems);
            }
            _ => {}
        }
        overlap(&path, fault, &scenario.faults[..index], scenario, problems);
    }
}

/// Whether it is done to processes of nodes, or starts and ends some.
fn needs_processes(fault: &Fault) -> bool {
    match &fault.action {
        FaultAction::Operation(operation) => operation.needs_nodes(),
        FaultAction::Client(_) => false,
        _ => true,
    }
}

/// What the engine can do to containers, and what needs nobody's process.
fn on_containers(path: &str, fault: &Fault, problems: &mut Problems<'_>) {
    let name = fault.action.name();
    if !needs_processes(fault) || DOCKER_ACTIONS.contains(&name) {
        return;
    }
    problems.add(Finding {
        path: &format!("{path}.action"),
        message: format!("`{name}` needs nodes that are processes of gauntlet's own"),
        label: "but those of `cluster.docker` are containers",
        help: &format!(
            "use `cluster: {{ local: … }}`, an operation of the cluster, such as partition.reassign, or one that can be done to containers: {} (`gauntlet faults list`)",
            DOCKER_ACTIONS.join(", ")
        ),
    });
}

/// The processes of brokers that run already are out of reach, unless somebody says how they are reached.
fn on_foreign(path: &str, fault: &Fault, foreign: &ForeignCluster, problems: &mut Problems<'_>) {
    let name = fault.action.name();
    if !needs_processes(fault) || foreign.hooks.contains_key(name) {
        return;
    }
    let path = format!("{path}.action");
    let label = "but `cluster` names brokers that run already";
    if HOOKED_ACTIONS.contains(&name) {
        problems.add(Finding {
            path: &path,
            message: format!("`{name}` needs nodes that gauntlet started, or a hook"),
            label,
            help: &format!(
                "say how it is done there: `cluster.command: {{ {name}: {{ apply: [PROGRAM, \"{{broker.id}}\"], heal: … }} }}`, or `cluster.ssh`"
            ),
        });
        return;
    }
    problems.add(Finding {
        path: &path,
        message: format!("`{name}` needs nodes that gauntlet started"),
        label,
        help: &format!(
            "use `cluster: {{ local: … }}`, an operation of the cluster, such as partition.reassign, or one that hooks can do: {} (`gauntlet faults list`)",
            HOOKED_ACTIONS.join(", ")
        ),
    });
}

/// What is known before brokers are there: Kafka is upgraded, once in a run, and brokers are what rolls.
fn upgrade(
    path: &str,
    (index, to): (usize, &KafkaVersion),
    scenario: &Scenario,
    problems: &mut Problems<'_>,
) {
    // Others have no upgrades.
    let Cluster::Local(local) = &scenario.cluster else { return };
    if let Ok(from) = local.version.parse::<KafkaVersion>()
        && *to <= from
    {
        problems.add(Finding {
            path: &format!("{path}.args.version"),
            message: format!("{to} is no upgrade of {from}"),
            label: "not later than `cluster.local.version`",
            help: "older brokers can't read what newer ones have written: let the cluster begin with the older release",
        });
    }
    if let Controllers::Isolated(_) = local.controllers {
        problems.add(Finding {
            path: &format!("{path}.action"),
            message: "an upgrade of brokers would leave the controllers behind".to_owned(),
            label: "`cluster.local.controllers` is a number",
            help: "use `controllers: combined`",
        });
    }
    let is_upgrade = |fault: &Fault| matches!(fault.action, FaultAction::BrokerRollingUpgrade { .. });
    if scenario.faults[..index].iter().any(is_upgrade) {
        problems.add(Finding {
            path: &format!("{path}.action"),
            message: "a run has one upgrade".to_owned(),
            label: "the second one",
            help: "remove it",
        });
    }
}

fn times(path: &str, fault: &Fault, scenario: &Scenario, problems: &mut Problems<'_>) {
    let Some(duration) = scenario.load.shape.duration() else { return };
    let latest = fault.at.saturating_add(fault.jitter);
    if latest >= duration {
        problems.add(Finding {
            path: &format!("{path}.at"),
            message: format!("fault `{}` is due at {latest}, and the load ends at {duration}", fault.name),
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
    let Some(fits) = fault.action.heal_action() else {
        problems.add(Finding {
            path: &format!("{path}.recover"),
            message: format!("`{}` needs no `recover`", fault.action.name()),
            label: fault.action.action_name().why_momentary().unwrap_or("it is over at once"),
            help: "remove it",
        });
        return;
    };
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

/// A fault that happens again must be over by then, each time, and somebody must say when to stop.
fn repeats(path: &str, fault: &Fault, scenario: &Scenario, problems: &mut Problems<'_>) {
    let Some(every) = fault.every else { return };
    let path = format!("{path}.every");
    let mut refuse = |message: String, label: &str, help: &str| {
        problems.add(Finding { path: &path, message, label, help });
    };
    let name = &fault.name;
    let Some(duration) = scenario.load.shape.duration() else {
        refuse(
            format!("fault `{name}` repeats, and nobody knows when this load ends"),
            "needs a load of known duration",
            "remove it, or give the load a `duration`",
        );
        return;
    };
    if fault.action.is_rolling() {
        refuse(
            format!("fault `{name}` goes from broker to broker, which takes as long as it takes"),
            "not for this action",
            "remove it, or write a second fault with a later `at`",
        );
        return;
    }
    if fault.action.action_name() == ActionName::TopicAddPartitions {
        refuse(
            format!(
                "fault `{name}` raises the number of partitions, and the second time it is as high already"
            ),
            "not for this action",
            "remove it, or write a second fault with a later `at` and more partitions",
        );
        return;
    }
    if fault.action.action_name() == ActionName::FeatureUpgrade {
        refuse(
            format!("fault `{name}` raises a feature, and the second time it is as high already"),
            "not for this action",
            "remove it",
        );
        return;
    }
    let Some(heals_at) = fault.heals_at() else {
        refuse(
            format!("fault `{name}` repeats, and lasts until the run ends"),
            "it is not over by then",
            "give it a `recover`",
        );
        return;
    };
    // As late as jitter allows, and again as early as it allows.
    let lasts = heals_at.as_ns().saturating_sub(fault.at.as_ns());
    if every.as_ns() <= lasts {
        let lasts = Duration::from_ns(lasts);
        refuse(
            format!("fault `{name}` begins again after {every} and may last until {lasts} after its turn"),
            "overlaps itself",
            &format!("make it longer than {lasts}, with time for the brokers to come back"),
        );
        return;
    }
    if fault.due(Some(duration), scenario.load.drain, REPEATS_MAX + 1).len() > REPEATS_MAX {
        refuse(
            format!("fault `{name}` would begin more than {REPEATS_MAX} times"),
            "too often",
            "make it longer",
        );
    }
}

fn target(path: &str, fault: &Fault, scenario: &Scenario, problems: &mut Problems<'_>) {
    let path = format!("{path}.target");
    match &fault.target {
        Target::Leader { topic, partition } => leader(&path, topic, *partition, scenario, problems),
        Target::Followers { topic, partition } => followers(&path, topic, *partition, scenario, problems),
        Target::Id(id) => node(&format!("{path}.id"), *id, scenario, problems),
        Target::Ids(ids) => ids.iter().for_each(|id| node(&format!("{path}.ids"), *id, scenario, problems)),
        Target::Broker { not_controller: true } => needs_another_broker(&path, scenario, problems),
        Target::Controller
        | Target::Broker { not_controller: false }
        | Target::AllBrokers
        | Target::EnoughVoters
        | Target::Clients(_)
        | Target::Cluster => {}
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

fn followers(path: &str, name: &str, partition: u32, scenario: &Scenario, problems: &mut Problems<'_>) {
    leader(path, name, PartitionChoice::Number(partition), scenario, problems);
    // Of others nobody knows how many.
    let brokers = scenario.cluster.nodes().map(|nodes| nodes.brokers);
    let replicas = scenario.topic(name).map(|topic| topic.replication_factor.or(brokers));
    if replicas == Some(Some(1)) {
        problems.add(Finding {
            path,
            message: format!("partitions of topic `{name}` have one replica"),
            label: "there are no followers",
            help: "raise the topic's `replication_factor`, or hit the leader",
        });
    }
}

/// `not: controller` leaves nobody on a cluster of one node that is all.
fn needs_another_broker(path: &str, scenario: &Scenario, problems: &mut Problems<'_>) {
    let Some(local) = scenario.cluster.nodes() else { return };
    if local.brokers == 1 && local.controllers == Controllers::Combined {
        problems.add(Finding {
            path: &format!("{path}.not"),
            message: "the only broker is the active controller".to_owned(),
            label: "spares the only broker",
            help: &format!("raise `{}.brokers`, or remove `not: controller`", scenario.cluster.nodes_path()),
        });
    }
}

fn node(path: &str, id: u16, scenario: &Scenario, problems: &mut Problems<'_>) {
    let Some(local) = scenario.cluster.nodes() else { return };
    let joining = scenario.joining();
    if local.has_node(id, joining) {
        return;
    }
    let controllers = local.own_controllers() + joining.controllers;
    let mut help = format!("brokers are 1 to {}", local.brokers + joining.brokers);
    if controllers > 0 {
        let last = CONTROLLER_ID_MIN.saturating_add(controllers - 1);
        help += &format!(", controllers {CONTROLLER_ID_MIN} to {last}");
    }
    problems.add(Finding {
        path,
        message: format!("the cluster has no node {id}"),
        label: "there is no such node",
        help: &help,
    });
}

/// Two faults on one node at a time: the first one to heal would heal the other as well. Roles are only known when
/// faults are due, so this can be told for numbered nodes and for all brokers only; for the others the run refuses the second
/// fault. Of operations it is known what they change.
fn overlap(path: &str, fault: &Fault, earlier: &[Fault], scenario: &Scenario, problems: &mut Problems<'_>) {
    let spans = |fault: &Fault| {
        let due = fault.due(scenario.load.shape.duration(), scenario.load.drain, REPEATS_MAX);
        let lasts = fault.heals_at().map_or(u64::MAX, |at| at.as_ns().saturating_sub(fault.at.as_ns()));
        due.into_iter().map(move |at| (at, Duration::from_ns(at.as_ns().saturating_add(lasts))))
    };
    let ours: Vec<(Duration, Duration)> = spans(fault).collect();
    let clash = |other: &Fault| {
        let meets = |span: &(Duration, Duration)| ours.iter().any(|own| span.0 < own.1 && own.0 < span.1);
        spans(other).find(meets)
    };
    for other in earlier {
        let whom = match (&fault.target, &other.target) {
            (Target::Clients(one), Target::Clients(two)) => match one.role == two.role
                && (one.client_id == two.client_id || one.client_id.is_none() || two.client_id.is_none())
            {
                true => format!("{}s", one.role),
                false => continue,
            },
            (Target::Clients(_), _) | (_, Target::Clients(_)) => continue,
            (Target::Cluster, _) | (_, Target::Cluster) => match in_common(fault, other) {
                Some(claim) => claim.to_string(),
                None => continue,
            },
            (Target::Id(_) | Target::Ids(_), Target::Id(_) | Target::Ids(_)) => {
                match fault.target.numbers().iter().find(|id| other.target.numbers().contains(id)) {
                    Some(id) => format!("node {id}"),
                    None => continue,
                }
            }
            // One of them takes every broker at once, and the other one at least.
            (Target::AllBrokers, Target::AllBrokers) => "all brokers".to_owned(),
            (Target::AllBrokers, _) | (_, Target::AllBrokers) if kills_all(fault) || kills_all(other) => {
                "all brokers".to_owned()
            }
            _ => continue,
        };
        let Some((from, to)) = clash(other) else { continue };
        problems.add(Finding {
            path: &format!("{path}.at"),
            message: format!("faults `{}` and `{}` overlap on {whom}", other.name, fault.name),
            label: "while the other one lasts",
            help: &match other.heals_at() {
                Some(_) => format!("`{}` lasts from {from} to {to}", other.name),
                None => format!("`{}` lasts from {from} on; give it a `recover`", other.name),
            },
        });
        return;
    }
}

/// What two faults would both change, one of which is an operation at least.
fn in_common(one: &Fault, other: &Fault) -> Option<Claim> {
    let claims = |fault: &Fault| match &fault.action {
        FaultAction::Operation(operation) => operation.claims(),
        _ => fault.target.numbers().iter().map(|id| Claim::Node(i32::from(*id))).collect(),
    };
    let theirs = claims(one);
    claims(other).into_iter().find(|claim| theirs.contains(claim))
}

fn kills_all(fault: &Fault) -> bool {
    let of_all = matches!(fault.action, FaultAction::BrokerKillAll | FaultAction::BrokerPowerLoss { .. });
    of_all && fault.target == Target::AllBrokers
}
