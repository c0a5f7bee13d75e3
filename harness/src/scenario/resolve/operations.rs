//! The arguments of operations: which are needed, and what follows from the rest of the scenario.

use std::collections::BTreeMap;

use gauntlet_chaos::Operation;
use gauntlet_chaos::fault::{
    BrokerAdd, BrokerRemove, ConfigChange, ElectionPreferred, ElectionUnclean, FeatureUpgrade,
    LeaderImbalance, PartitionReassign, QuorumAddVoter, QuorumRemoveVoter, QuotaChange, TopicAddPartitions,
    TopicDeleteRecreate,
};
use gauntlet_wire::{ConfigResource, QuotaEntity, QuotaName};

use super::Args;
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::written::BrokerWritten;
use crate::units::Bytes;

/// How everybody who has no quota of his own is written, as Kafka's tools show it.
const DEFAULT_ENTITY: &str = "<default>";

/// Adds a problem if what the action can't do without is not there.
fn need(args: Args<'_>, field: &str, is_written: bool, example: &str, problems: &mut Problems<'_>) {
    if !is_written {
        let message = format!("`{}` needs `{field}`", args.action.name());
        args.refuse(field, message, "", &format!("for example args: {example}"), problems);
    }
}

pub(super) fn config_change(args: Args<'_>, problems: &mut Problems<'_>) -> Operation {
    let written = args.written;
    let example = "{ topic: orders, entries: { retention.ms: 60000 } }";
    need(args, "entries", written.entries.is_some(), example, problems);
    let forms = "write { topic: NAME, entries }, { broker: 1, entries }, or { broker: all, entries }";
    let of = match (&written.topic, written.broker) {
        (Some(topic), broker) => {
            if broker.is_some() {
                let message = "`config.change` has both `topic` and `broker`".to_owned();
                args.refuse("broker", message, "besides `topic`", forms, problems);
            }
            ConfigResource::Topic(topic.clone())
        }
        (None, Some(BrokerWritten::Number(id))) => ConfigResource::Broker(i32::from(id)),
        (None, Some(BrokerWritten::All)) => ConfigResource::AllBrokers,
        (None, None) => {
            let message = "`config.change` needs `topic` or `broker`".to_owned();
            args.refuse("topic", message, "", forms, problems);
            ConfigResource::AllBrokers
        }
    };
    let entries = written.entries.iter().flatten().map(|(name, value)| (name.clone(), value.0.clone()));
    Operation::ConfigChange(ConfigChange { of, entries: entries.collect() })
}

pub(super) fn partition_reassign(args: Args<'_>, problems: &mut Problems<'_>) -> Operation {
    let written = args.written;
    need(args, "brokers", written.brokers.is_some(), "{ topic: orders, brokers: [1, 2] }", problems);
    let brokers = written.brokers.iter().flatten().map(|id| i32::from(*id)).collect();
    let throttle = written.throttle.map(Bytes::get);
    Operation::PartitionReassign(PartitionReassign { topic: args.topic(problems), brokers, throttle })
}

pub(super) fn leader_imbalance(args: Args<'_>, problems: &mut Problems<'_>) -> Operation {
    let leader = args.written.leader;
    need(args, "leader", leader.is_some(), "{ topic: orders, leader: 1 }", problems);
    let leader = i32::from(leader.unwrap_or(1));
    Operation::LeaderImbalance(LeaderImbalance { topic: args.topic(problems), leader })
}

pub(super) fn election_preferred(args: Args<'_>, problems: &mut Problems<'_>) -> Operation {
    Operation::ElectionPreferred(ElectionPreferred { topic: args.topic(problems) })
}

pub(super) fn election_unclean(args: Args<'_>, problems: &mut Problems<'_>) -> Operation {
    Operation::ElectionUnclean(ElectionUnclean { topic: args.topic(problems) })
}

pub(super) fn topic_add_partitions(args: Args<'_>, problems: &mut Problems<'_>) -> Operation {
    let partitions = args.written.partitions;
    need(args, "partitions", partitions.is_some(), "{ topic: orders, partitions: 24 }", problems);
    // What does not fit is too many as well, which validation says.
    let partitions = partitions.map_or(i32::MAX, |count| i32::try_from(count).unwrap_or(i32::MAX));
    Operation::TopicAddPartitions(TopicAddPartitions { topic: args.topic(problems), partitions })
}

pub(super) fn topic_delete_recreate(args: Args<'_>, problems: &mut Problems<'_>) -> Operation {
    Operation::TopicDeleteRecreate(TopicDeleteRecreate { topic: args.topic(problems) })
}

/// What the level of everything that brokers write is called.
const METADATA_VERSION: &str = "metadata.version";

pub(super) fn feature_upgrade(args: Args<'_>) -> Operation {
    let feature = args.written.feature.clone().unwrap_or_else(|| METADATA_VERSION.to_owned());
    Operation::FeatureUpgrade(FeatureUpgrade { feature, level: args.written.level })
}

pub(super) fn broker_add(args: Args<'_>, problems: &mut Problems<'_>) -> Operation {
    Operation::BrokerAdd(BrokerAdd { broker: one_broker(args, "{ broker: 4 }", problems) })
}

pub(super) fn broker_remove(args: Args<'_>, problems: &mut Problems<'_>) -> Operation {
    Operation::BrokerRemove(BrokerRemove { broker: one_broker(args, "{ broker: 2 }", problems) })
}

/// Instead of a number that is not there, which was said: nothing more is to be said of it.
const UNKNOWN: i32 = -1;

/// The number of the broker that is named.
fn one_broker(args: Args<'_>, example: &str, problems: &mut Problems<'_>) -> i32 {
    need(args, "broker", args.written.broker.is_some(), example, problems);
    match args.written.broker {
        Some(BrokerWritten::Number(id)) => i32::from(id),
        Some(BrokerWritten::All) => {
            let message = format!("`{}` of all brokers", args.action.name());
            args.refuse(
                "broker",
                message,
                "one at a time",
                &format!("for example args: {example}"),
                problems,
            );
            UNKNOWN
        }
        None => UNKNOWN,
    }
}

pub(super) fn quorum_add_voter(args: Args<'_>, problems: &mut Problems<'_>) -> Operation {
    let controller = args.written.controller;
    need(args, "controller", controller.is_some(), "{ controller: 104 }", problems);
    Operation::QuorumAddVoter(QuorumAddVoter { controller: controller.map_or(UNKNOWN, i32::from) })
}

pub(super) fn quorum_remove_voter(args: Args<'_>) -> Operation {
    Operation::QuorumRemoveVoter(QuorumRemoveVoter { controller: args.written.controller.map(i32::from) })
}

pub(super) fn quota_change(args: Args<'_>, problems: &mut Problems<'_>) -> Operation {
    let written = args.written;
    let limits = [
        ("producer_byte_rate", written.producer_byte_rate.map(Bytes::get)),
        ("consumer_byte_rate", written.consumer_byte_rate.map(Bytes::get)),
        ("request_percentage", written.request_percentage.map(u64::from)),
    ];
    let limits: BTreeMap<String, u64> =
        limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?))).collect();
    if limits.is_empty() || (written.user.is_none() && written.client_id.is_none()) {
        let message = "`quota.change` needs somebody, and a limit".to_owned();
        let help = "name a `user`, a `client_id` or both (`<default>`: whoever has none of his own), and \
                    `producer_byte_rate`, `consumer_byte_rate` or `request_percentage`";
        problems.add(Finding { path: args.path, message, label: "", help });
    }
    let name = |name: &String| match name.as_str() {
        DEFAULT_ENTITY => QuotaName::Default,
        name => QuotaName::Named(name.to_owned()),
    };
    let of = QuotaEntity {
        user: written.user.as_ref().map(name),
        client_id: written.client_id.as_ref().map(name),
    };
    Operation::QuotaChange(QuotaChange { of, limits })
}
