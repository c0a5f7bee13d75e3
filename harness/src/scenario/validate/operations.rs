//! Rules of operations: what brokers would refuse, or could not carry out, as far as the scenario tells. Those of members are in `members`.

mod members;

use gauntlet_chaos::Operation;
use gauntlet_chaos::fault::{
    BrokerAdd, BrokerRemove, ConfigChange, LeaderImbalance, PartitionReassign, QuorumAddVoter, QuotaChange,
    TopicAddPartitions,
};
use gauntlet_chaos::local::OWNED_PROPERTIES;
use gauntlet_wire::{ConfigResource, QuotaName};

use super::cluster::is_property_name;
use super::topics::PARTITIONS_MAX;
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{Fault, FaultAction, Lifecycle, LocalCluster, Scenario, Topic, Verify};

/// A fault, and where it stands.
struct Place<'a> {
    /// `faults[2].args`.
    args: String,
    fault: &'a Fault,
    scenario: &'a Scenario,
}

impl Place<'_> {
    fn refuse(&self, field: &str, message: String, label: &str, help: &str, problems: &mut Problems<'_>) {
        problems.add(Finding { path: &format!("{}.{field}", self.args), message, label, help });
    }

    fn local(&self) -> Option<&LocalCluster> {
        self.scenario.cluster.nodes()
    }

    /// How many brokers there are, those included that join.
    fn brokers(&self) -> Option<u16> {
        Some(self.local()?.brokers.saturating_add(self.scenario.joining().brokers))
    }

    /// Whether a broker has this number; if not, that is said of `field`.
    fn check_broker(&self, field: &str, id: i32, problems: &mut Problems<'_>) {
        let Some(brokers) = self.brokers() else { return };
        if !(1..=i32::from(brokers)).contains(&id) {
            let message = format!("the cluster has no broker {id}");
            let help = format!("brokers are 1 to {brokers}");
            self.refuse(field, message, "there is no such broker", &help, problems);
        }
    }
}

/// Adds what is wrong with `operation`, which is what `fault` does.
pub(super) fn validate(
    path: &str,
    (index, fault): (usize, &Fault),
    operation: &Operation,
    scenario: &Scenario,
    problems: &mut Problems<'_>,
) {
    let place = Place { args: format!("{path}.args"), fault, scenario };
    let topic = operation.topic().map(|name| (name, scenario.topic(name)));
    if let Some((name, None)) = topic {
        let names = scenario.topics.iter().map(|topic| topic.name.as_str());
        problems.unknown(&format!("{}.topic", place.args), "topic", name, names);
    }
    let topic = topic.and_then(|(_, topic)| topic);
    match (operation, topic) {
        (Operation::ConfigChange(change), _) => config_change(&place, change, problems),
        (Operation::QuotaChange(change), _) => quota_change(&place, change, problems),
        (Operation::PartitionReassign(reassign), Some(topic)) => {
            partition_reassign(&place, reassign, topic, problems);
        }
        (Operation::LeaderImbalance(imbalance), Some(topic)) => {
            leader_imbalance(&place, imbalance, topic, problems);
        }
        (Operation::TopicAddPartitions(add), Some(topic)) => {
            topic_add_partitions(&place, index, add, topic, problems);
        }
        (Operation::ElectionUnclean(_), Some(topic)) => election_unclean(&place, topic, problems),
        (Operation::TopicDeleteRecreate(_), Some(topic)) => topic_delete_recreate(&place, topic, problems),
        // That a number is missing was said.
        (Operation::BrokerAdd(BrokerAdd { broker: ..0 }), _)
        | (Operation::BrokerRemove(BrokerRemove { broker: ..0 }), _)
        | (Operation::QuorumAddVoter(QuorumAddVoter { controller: ..0 }), _) => {}
        (Operation::BrokerAdd(add), _) => members::broker_add(&place, add, problems),
        (Operation::BrokerRemove(remove), _) => members::broker_remove(&place, remove, problems),
        (Operation::QuorumAddVoter(add), _) => members::quorum_add_voter(&place, add, problems),
        (Operation::QuorumRemoveVoter(remove), _) => members::quorum_remove_voter(&place, remove, problems),
        // What brokers support is known when they are there.
        (Operation::ElectionPreferred(_) | Operation::FeatureUpgrade(_), _) => {}
        // That its topic is unknown was said.
        (
            Operation::PartitionReassign(_)
            | Operation::LeaderImbalance(_)
            | Operation::ElectionUnclean(_)
            | Operation::TopicAddPartitions(_)
            | Operation::TopicDeleteRecreate(_),
            None,
        ) => {}
    }
}

fn config_change(place: &Place<'_>, change: &ConfigChange, problems: &mut Problems<'_>) {
    if let ConfigResource::Broker(id) = change.of {
        place.check_broker("broker", id, problems);
    }
    if change.entries.is_empty() && problems.is_written(&format!("{}.entries", place.args)) {
        let help = "name a property, for example entries: { retention.ms: 60000 }";
        place.refuse("entries", "`entries` is empty".to_owned(), "nothing would change", help, problems);
    }
    let of_brokers = !matches!(change.of, ConfigResource::Topic(_));
    for (name, value) in &change.entries {
        let field = format!("entries.{name}");
        let mut refuse = |message: String, label: &str, help: &str| {
            place.refuse(&field, message, label, help, problems);
        };
        if !is_property_name(name) {
            let help = "property names are made of letters, digits, `.`, `_`, and `-`";
            refuse(format!("`{name}` is no property name"), "", help);
        } else if of_brokers && OWNED_PROPERTIES.contains(&name.as_str()) {
            let help = "remove it: clients, faults, and clean-up rest on it";
            refuse(format!("the broker property `{name}` can't be changed"), "gauntlet sets it itself", help);
        } else if is_secret(name) {
            let help = "remove it: brokers do not tell what is secret, so nobody could put it back";
            refuse(format!("`{name}` is secret and can't be changed"), "could not be undone", help);
        } else if name == "unclean.leader.election.enable" && value.trim() != "false" {
            let help =
                "remove it; or set it for the whole run, in `config` of the topic or of `cluster.local`";
            refuse(
                format!("`{name}` can't be changed while records are checked"),
                "what it truncates would be taken for lost",
                help,
            );
        } else if name == "cleanup.policy" && value.contains("compact") {
            let help = "remove it: a record that is compacted away looks like one that is lost";
            refuse(format!("`{name}` can't become `{value}` while records are checked"), "", help);
        }
    }
}

/// Whether brokers keep the value of this property to themselves (Kafka's type PASSWORD).
fn is_secret(name: &str) -> bool {
    let secret = ["password", "sasl.jaas.config", "keystore.key", "keystore.certificate.chain", "secret"];
    secret.iter().any(|part| name.contains(part))
}

fn partition_reassign(
    place: &Place<'_>,
    reassign: &PartitionReassign,
    topic: &Topic,
    problems: &mut Problems<'_>,
) {
    let brokers = &reassign.brokers;
    for (index, id) in brokers.iter().enumerate() {
        let field = format!("brokers[{index}]");
        place.check_broker(&field, *id, problems);
        if brokers[..index].contains(id) {
            let help = "name each broker once";
            place.refuse(&field, format!("broker {id} is named twice"), "the second one", help, problems);
        }
    }
    if reassign.throttle == Some(0) {
        let help = "above zero, or leave it out: unlimited";
        place.refuse("throttle", "a throttle of 0B".to_owned(), "nothing would ever move", help, problems);
    }
    let (name, count) = (&topic.name, brokers.len());
    let Some(replicas) = topic.replication_factor.map(usize::from) else { return };
    if !problems.is_written(&format!("{}.brokers", place.args)) {
        return;
    }
    if replicas > count {
        let message =
            format!("topic `{name}` has {replicas} replicas of each partition, for {count} brokers");
        let help = "name more brokers, or lower the topic's `replication_factor`";
        place.refuse("brokers", message, "fewer brokers than replicas", help, problems);
    } else if place.brokers().is_some_and(|brokers| replicas >= usize::from(brokers)) {
        let message = format!("topic `{name}` has a replica on every broker: none can move");
        let help = "lower the topic's `replication_factor`, or raise `cluster.local.brokers`; \
                    `leader.imbalance` moves leaders alone";
        place.refuse("brokers", message, "nobody is without", help, problems);
    }
}

fn leader_imbalance(
    place: &Place<'_>,
    imbalance: &LeaderImbalance,
    topic: &Topic,
    problems: &mut Problems<'_>,
) {
    place.check_broker("leader", imbalance.leader, problems);
    let (Some(local), Some(replicas)) = (place.local(), topic.replication_factor) else { return };
    if local.brokers == 1 {
        let message = "the only broker leads everything already".to_owned();
        place.refuse("leader", message, "nothing would change", "raise `cluster.local.brokers`", problems);
    } else if replicas < local.brokers {
        let (leader, name, brokers) = (imbalance.leader, &topic.name, local.brokers);
        let message = format!("broker {leader} has no replica of some partitions of `{name}`");
        let label = format!("{replicas} replicas on {brokers} brokers");
        let help =
            format!("raise the topic's `replication_factor` to {brokers}, so that every broker can lead");
        place.refuse("leader", message, &label, &help, problems);
    }
}

/// An unclean election is for partitions that nobody leads, and needs somebody who may lead instead.
fn election_unclean(place: &Place<'_>, topic: &Topic, problems: &mut Problems<'_>) {
    const ENABLE: &str = "unclean.leader.election.enable";
    let Some(local) = place.local() else { return };
    let name = &topic.name;
    let is_before = |other: &&Fault| other.at < place.fault.at;
    let mut refuse = |message: String, label: &str, help: &str| {
        let path = place.args.strip_suffix(".args").unwrap_or(&place.args);
        problems.add(Finding { path: &format!("{path}.action"), message, label, help });
    };
    if topic.replication_factor.unwrap_or(local.brokers.min(3)) < 2 {
        let help = "raise the topic's `replication_factor`";
        refuse(format!("partitions of topic `{name}` have one replica"), "nobody could lead instead", help);
    } else if topic.config.get(ENABLE).or(local.config.get(ENABLE)).is_some_and(|value| value == "true") {
        let message =
            format!("partitions of topic `{name}` elect leaders that are out of sync by themselves");
        let help = format!("remove this fault, or `{ENABLE}`");
        refuse(message, "nothing would be left to do", &help);
    } else if !place.scenario.faults.iter().filter(is_before).any(takes_brokers) {
        let message =
            format!("before `{}`, no fault takes a broker of topic `{name}` away", place.fault.name);
        let help = "write faults before it that take the followers away, then the leader, and bring the followers back: \
                    see `scenarios/README.md`";
        refuse(message, "every partition will have a leader", help);
    }
}

/// Whether it keeps some broker from leading.
fn takes_brokers(fault: &Fault) -> bool {
    match &fault.action {
        FaultAction::Operation(_)
        | FaultAction::Client(_)
        | FaultAction::ClockSkew { .. }
        | FaultAction::CpuStarve { .. } => false,
        FaultAction::BrokerKill
        | FaultAction::BrokerStop
        | FaultAction::BrokerPause
        | FaultAction::BrokerRestart
        | FaultAction::BrokerBounce
        | FaultAction::BrokerSlowStart { .. }
        | FaultAction::BrokerRollingRestart
        | FaultAction::BrokerRollingUpgrade { .. }
        | FaultAction::BrokerKillAll
        | FaultAction::BrokerPowerLoss { .. }
        | FaultAction::QuorumLoss(_)
        | FaultAction::Network(_)
        | FaultAction::Disk(_) => true,
    }
}

fn topic_add_partitions(
    place: &Place<'_>,
    index: usize,
    add: &TopicAddPartitions,
    topic: &Topic,
    problems: &mut Problems<'_>,
) {
    let wanted = u32::try_from(add.partitions).unwrap_or(0);
    let mut refuse = |message: String, label: &str, help: &str| {
        place.refuse("partitions", message, label, help, problems);
    };
    if !(1..=PARTITIONS_MAX).contains(&wanted) {
        let help = format!("more than it has, and at most {PARTITIONS_MAX}");
        refuse(format!("topic `{}` with {wanted} partitions", topic.name), "out of range", &help);
        return;
    }
    let grows = |(other, fault): (usize, &Fault)| match &fault.action {
        FaultAction::Operation(Operation::TopicAddPartitions(theirs))
            if theirs.topic == add.topic && (fault.at, other) < (place.fault.at, index) =>
        {
            Some((u32::try_from(theirs.partitions).unwrap_or(u32::MAX), format!("after `{}`", fault.name)))
        }
        _ => None,
    };
    let earlier = place.scenario.faults.iter().enumerate().filter_map(grows);
    let begins_with = topic.partitions.map(|partitions| (partitions, "from its begin".to_owned()));
    if let Some((has, since)) = earlier.chain(begins_with).max()
        && wanted <= has
    {
        let message = format!("topic `{}` has {has} partitions {since}", topic.name);
        refuse(message, "not more", "name a larger number: it is the number of partitions afterwards");
    }
}

/// Its records are gone for good, and offsets begin anew: to the check, which takes offsets of a partition for those of one log, everything
/// that was acked would be lost, and the new records inconsistent with the old ones.
fn topic_delete_recreate(place: &Place<'_>, topic: &Topic, problems: &mut Problems<'_>) {
    let name = &topic.name;
    let mut refuse = |message: String, label: &str, help: &str| {
        let path = place.args.strip_suffix(".args").unwrap_or(&place.args);
        problems.add(Finding { path: &format!("{path}.action"), message, label, help });
    };
    if topic.lifecycle == Lifecycle::Reuse {
        let help =
            "let the run create the topic: remove its `lifecycle: reuse`, and give it a name of its own";
        refuse(
            format!("topic `{name}` was there before the run, and nobody could bring its records back"),
            "would delete them",
            help,
        );
    } else if place.scenario.verify != Verify::Off {
        let help =
            "write `verify: off`: the run then shows how clients take it, and says that nothing was verified";
        refuse(
            format!("topic `{name}` can't be deleted while its records are checked"),
            "the check reads one log per partition from its begin",
            help,
        );
    }
}

fn quota_change(place: &Place<'_>, change: &QuotaChange, problems: &mut Problems<'_>) {
    for name in change.limits.iter().filter(|(_, limit)| **limit == 0).map(|(name, _)| name) {
        let help = "brokers take no quota of zero; name a small one";
        place.refuse(name, format!("a `{name}` of zero"), "above zero", help, problems);
    }
    for (field, named) in [("user", &change.of.user), ("client_id", &change.of.client_id)] {
        if matches!(named, Some(QuotaName::Named(name)) if name.is_empty()) {
            let help = "name it, or write \"<default>\" for whoever has none of his own";
            place.refuse(field, format!("`{field}` is empty"), "nobody", help, problems);
        }
    }
}
