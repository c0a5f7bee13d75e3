//! Operations in words and in files, and what they keep to themselves.

use std::collections::BTreeMap;

use gauntlet_wire::{ConfigResource, QuotaEntity, QuotaName};

use super::*;

fn retention() -> Operation {
    let entries = BTreeMap::from([("retention.ms".to_owned(), "60000".to_owned())]);
    Operation::ConfigChange(ConfigChange { of: ConfigResource::Topic("orders".to_owned()), entries })
}

fn reassign(brokers: &[i32], throttle: Option<u64>) -> PartitionReassign {
    PartitionReassign { topic: "orders".to_owned(), brokers: brokers.to_vec(), throttle }
}

fn quota() -> Operation {
    let of = QuotaEntity { user: None, client_id: Some(QuotaName::Default) };
    let limits = BTreeMap::from([("producer_byte_rate".to_owned(), 1_000_000)]);
    Operation::QuotaChange(QuotaChange { of, limits })
}

fn all() -> Vec<Operation> {
    let topic = || "orders".to_owned();
    vec![
        retention(),
        Operation::PartitionReassign(reassign(&[1, 2], Some(5_000_000))),
        Operation::LeaderImbalance(LeaderImbalance { topic: topic(), leader: 2 }),
        Operation::ElectionPreferred(ElectionPreferred { topic: topic() }),
        Operation::ElectionUnclean(ElectionUnclean { topic: topic() }),
        Operation::TopicAddPartitions(TopicAddPartitions { topic: topic(), partitions: 12 }),
        Operation::TopicDeleteRecreate(TopicDeleteRecreate { topic: topic() }),
        quota(),
        Operation::FeatureUpgrade(FeatureUpgrade { feature: "metadata.version".to_owned(), level: Some(29) }),
        Operation::BrokerAdd(BrokerAdd { broker: 4 }),
        Operation::BrokerRemove(BrokerRemove { broker: 2 }),
        Operation::QuorumAddVoter(QuorumAddVoter { controller: 104 }),
        Operation::QuorumRemoveVoter(QuorumRemoveVoter { controller: None }),
    ]
}

#[test]
fn operations_in_words() {
    let told: Vec<String> =
        all().iter().map(|operation| format!("{} of {operation}", operation.name())).collect();
    assert_eq!(
        told,
        [
            "config.change of topic orders, retention.ms=60000",
            "partition.reassign of topic orders, to brokers 1, 2 at 5000000 bytes/s at most",
            "leader.imbalance of topic orders, all led by broker 2",
            "election.preferred of topic orders",
            "election.unclean of topic orders, where nobody leads",
            "topic.add-partitions of topic orders, to 12 partitions for good",
            "topic.delete-recreate of topic orders, and all that is in it, for good",
            "quota.change of client-id <default>, producer_byte_rate=1000000",
            "feature.upgrade of metadata.version to 29 for good",
            "broker.add of broker 4, which is empty",
            "broker.remove of broker 2, whose replicas are moved away first",
            "quorum.add-voter of controller 104",
            "quorum.remove-voter of the active controller",
        ]
    );
    let topics: Vec<Option<String>> = all()
        .into_iter()
        .map(|mut operation| {
            operation.topic_mut().into_iter().for_each(|topic| topic.push_str("-7"));
            operation.topic().map(str::to_owned)
        })
        .collect();
    assert!(topics[..7].iter().all(|topic| topic.as_deref() == Some("orders-7")), "{topics:?}");
    assert!(topics[7..].iter().all(Option::is_none), "{topics:?}");
}

#[test]
fn operations_survive_a_file() {
    for operation in all() {
        let text = serde_json::to_string(&operation).unwrap();
        assert_eq!(serde_json::from_str::<Operation>(&text).unwrap(), operation, "{text}");
        let stray = text.replacen('{', r#"{"stray":1,"#, 1);
        assert!(serde_json::from_str::<Operation>(&stray).is_err(), "{stray}");
    }
}

/// What two of the same kind change is claimed by both; what is not undone claims nothing.
#[test]
fn what_would_undo_each_other_meets_in_a_claim() {
    let meet = |one: &Operation, other: &Operation| {
        let claims = one.claims();
        other.claims().iter().any(|claim| claims.contains(claim))
    };
    for operation in all() {
        assert_eq!(meet(&operation, &operation), !operation.is_momentary(), "{operation}");
    }
    let (moved, led) = (all().remove(1), all().remove(2));
    assert!(meet(&moved, &led), "both change the order of replicas");
    assert!(meet(&moved, &all().remove(6)), "what is deleted can't be moved");
    assert!(!meet(&retention(), &moved) && !meet(&retention(), &quota()));
    let rate = |of| {
        let entries = BTreeMap::from([("leader.replication.throttled.rate".to_owned(), "1".to_owned())]);
        Operation::ConfigChange(ConfigChange { of, entries })
    };
    assert!(meet(&moved, &rate(ConfigResource::Broker(3))), "a broker has one throttle");
    let unthrottled = Operation::PartitionReassign(reassign(&[1, 2], None));
    assert!(!meet(&unthrottled, &rate(ConfigResource::Broker(3))));
    assert_eq!(led.claims()[0].to_string(), "the placement of topic orders");
    assert_eq!(quota().claims()[0].to_string(), "producer_byte_rate of client-id <default>");
}
