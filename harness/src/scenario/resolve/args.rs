//! Which `args` which action takes: the one table, and what is said of those that an action does not take.

use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::ActionName::{
    self, BrokerAdd, BrokerPowerLoss, BrokerRemove, BrokerRollingUpgrade, BrokerSlowStart, ClockSkew,
    ConfigChange, CpuStarve, DiskFail, DiskSlow, ElectionPreferred, ElectionUnclean, FeatureUpgrade,
    LeaderImbalance, NetworkBandwidth, NetworkBlackHole, NetworkDelay, NetworkHalfOpen, NetworkPartition,
    NetworkReset, PartitionReassign, QuorumAddVoter, QuorumLoss, QuorumRemoveVoter, QuotaChange,
    TopicAddPartitions, TopicDeleteRecreate,
};
use crate::scenario::written::FaultArgsWritten;

/// The arguments, and who takes them.
const TAKEN_BY: [(&str, &[ActionName]); 28] = [
    ("by", &[QuorumLoss]),
    ("version", &[BrokerRollingUpgrade]),
    ("tail", &[BrokerPowerLoss]),
    ("latency", &[NetworkDelay, DiskSlow]),
    ("jitter", &[NetworkDelay]),
    ("bytes_per_second", &[NetworkBandwidth]),
    (
        "link",
        &[NetworkDelay, NetworkBandwidth, NetworkReset, NetworkHalfOpen, NetworkBlackHole, NetworkPartition],
    ),
    (
        "direction",
        &[NetworkDelay, NetworkBandwidth, NetworkReset, NetworkHalfOpen, NetworkBlackHole, NetworkPartition],
    ),
    (
        "peer",
        &[NetworkDelay, NetworkBandwidth, NetworkReset, NetworkHalfOpen, NetworkBlackHole, NetworkPartition],
    ),
    ("api", &[NetworkDelay, NetworkReset, NetworkBlackHole]),
    (
        "topic",
        &[
            ConfigChange,
            PartitionReassign,
            LeaderImbalance,
            ElectionPreferred,
            ElectionUnclean,
            TopicAddPartitions,
            TopicDeleteRecreate,
        ],
    ),
    ("broker", &[ConfigChange, BrokerAdd, BrokerRemove]),
    ("controller", &[QuorumAddVoter, QuorumRemoveVoter]),
    ("entries", &[ConfigChange]),
    ("brokers", &[PartitionReassign]),
    ("throttle", &[PartitionReassign]),
    ("leader", &[LeaderImbalance]),
    ("partitions", &[TopicAddPartitions]),
    ("user", &[QuotaChange]),
    ("client_id", &[QuotaChange]),
    ("producer_byte_rate", &[QuotaChange]),
    ("consumer_byte_rate", &[QuotaChange]),
    ("request_percentage", &[QuotaChange]),
    ("feature", &[FeatureUpgrade]),
    ("level", &[FeatureUpgrade]),
    ("operations", &[DiskSlow, DiskFail]),
    ("offset", &[ClockSkew]),
    ("share", &[CpuStarve, BrokerSlowStart]),
];

/// Adds a problem for everything that is written and that `action` does not take.
pub(super) fn refuse_strays(
    action: ActionName,
    written: &FaultArgsWritten,
    path: &str,
    problems: &mut Problems<'_>,
) {
    for field in written.written() {
        let takers = takers(field);
        if takers.contains(&action) {
            continue;
        }
        let names: Vec<String> = takers.iter().map(|taker| format!("`{}`", taker.name())).collect();
        problems.add(Finding {
            path: &format!("{path}.args.{field}"),
            message: format!("`{field}` does not fit action `{}`", action.name()),
            label: &format!("only for {}", names.join(", ")),
            help: &help(action),
        });
    }
}

fn takers(field: &str) -> &'static [ActionName] {
    TAKEN_BY.iter().find(|(name, _)| *name == field).map_or(&[], |(_, takers)| takers)
}

fn help(action: ActionName) -> String {
    let taken: Vec<&str> =
        TAKEN_BY.iter().filter(|(_, takers)| takers.contains(&action)).map(|(field, _)| *field).collect();
    match taken.is_empty() {
        true => "remove it: this action takes no `args`".to_owned(),
        false => format!("remove it; this action takes {}", taken.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::written::BrokerWritten;

    /// Every argument of the grammar is in the table, and is told as written.
    #[test]
    fn the_table_is_the_grammar() {
        let all = FaultArgsWritten {
            by: Some(Default::default()),
            version: Some(String::new()),
            tail: Some(Default::default()),
            latency: Some(Default::default()),
            jitter: Some(Default::default()),
            bytes_per_second: Some(Default::default()),
            link: Some(Default::default()),
            direction: Some(Default::default()),
            peer: Some(1),
            api: Some(Vec::new()),
            topic: Some(String::new()),
            broker: Some(BrokerWritten::All),
            controller: Some(101),
            entries: Some(Default::default()),
            brokers: Some(Vec::new()),
            throttle: Some(Default::default()),
            leader: Some(1),
            partitions: Some(1),
            user: Some(String::new()),
            client_id: Some(String::new()),
            producer_byte_rate: Some(Default::default()),
            consumer_byte_rate: Some(Default::default()),
            request_percentage: Some(1),
            feature: Some(String::new()),
            level: Some(1),
            operations: Some(Vec::new()),
            offset: Some(Default::default()),
            share: Some(Default::default()),
        };
        let table: Vec<&str> = TAKEN_BY.iter().map(|(field, _)| *field).collect();
        assert_eq!(all.written(), table);
        assert_eq!(FaultArgsWritten::default().written(), Vec::<&str>::new());
    }
}
