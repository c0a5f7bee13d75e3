//! Brokers and voters that join a cluster and leave it, as every broker, the controller and the processes themselves show it.

use std::collections::BTreeMap;

use gauntlet_chaos::fault::{BrokerAdd, BrokerRemove, QuorumAddVoter, QuorumRemoveVoter};
use gauntlet_chaos::supervisor::NodeState;
use gauntlet_chaos::{LocalCluster, Operation};
use gauntlet_wire::{ConnectOptions, Connection, ErrorCode};
use libtest_mimic::Failed;

use super::support::{LIMIT, TestResult, eventually, listed, produce};

/// What all of it is done to: a topic with replicas on three brokers of four.
const TOPIC: &str = "stage";
/// One that has a replica on who has joined.
const NEW: &str = "new";
/// Who leaves.
const LEAVING: i32 = 2;
/// Who joins: ids after those of the four brokers, and the first of isolated controllers.
const JOINING: i32 = 5;
const JOINING_CONTROLLER: i32 = 101;

/// The rows of the catalogue, with whom they are about in words.
pub(crate) fn rows() -> Vec<(Operation, &'static str)> {
    vec![
        (Operation::BrokerAdd(BrokerAdd { broker: JOINING }), "a broker"),
        (Operation::BrokerRemove(BrokerRemove { broker: LEAVING }), "a broker"),
        (Operation::QuorumAddVoter(QuorumAddVoter { controller: JOINING_CONTROLLER }), "a controller"),
        (Operation::QuorumRemoveVoter(QuorumRemoveVoter { controller: Some(LEAVING) }), "a controller"),
        (Operation::QuorumRemoveVoter(QuorumRemoveVoter { controller: None }), "the active controller"),
    ]
}

/// Who belongs to the cluster and to its quorum, as one broker says.
#[derive(Debug, PartialEq)]
pub(crate) struct Members {
    brokers: Vec<i32>,
    voters: Vec<i32>,
    /// Partitions with replicas on somebody else.
    astray: Vec<String>,
}

/// What each broker says.
pub(crate) fn members(cluster: &LocalCluster) -> Result<BTreeMap<i32, Members>, Failed> {
    let mut members = BTreeMap::new();
    for (id, addr) in cluster.broker_addresses() {
        let brokers = listed(&addr)?;
        let topics = Connection::connect(&addr, &ConnectOptions::default())?.metadata(None)?.topics;
        let partitions = topics.iter().flat_map(|topic| topic.partitions.iter().map(move |p| (topic, p)));
        let astray = partitions.filter(|(_, p)| p.replicas.iter().any(|id| !brokers.contains(id)));
        let astray = astray.map(|(topic, p)| format!("{}-{}", topic.name, p.index)).collect();
        members.insert(id, Members { voters: voters(&addr)?, astray, brokers });
    }
    Ok(members)
}

fn voters(addr: &str) -> Result<Vec<i32>, Failed> {
    let mut connection = Connection::connect(addr, &ConnectOptions::default())?;
    let mut voters: Vec<i32> = connection.quorum_members()?.voters.iter().map(|voter| voter.id).collect();
    voters.sort_unstable();
    Ok(voters)
}

/// Sees the operation act, by asking every broker; gives it in words.
pub(crate) fn seen(operation: &Operation, cluster: &LocalCluster) -> Result<String, Failed> {
    match operation {
        Operation::BrokerAdd(add) => has_joined(add.broker, cluster),
        Operation::BrokerRemove(remove) => has_left(remove.broker, cluster),
        Operation::QuorumAddVoter(add) => {
            let all = [1, 2, 3, 4, add.controller];
            for addr in cluster.bootstrap() {
                assert_eq!(voters(&addr)?, all, "by {addr}");
            }
            assert!(runs(add.controller, cluster)?);
            Ok("every broker counts it among the voters".to_owned())
        }
        Operation::QuorumRemoveVoter(remove) => votes_no_longer(remove, cluster),
        _ => Err("it changes no members".into()),
    }
}

fn runs(id: i32, cluster: &LocalCluster) -> Result<bool, Failed> {
    let statuses = cluster.statuses()?;
    Ok(statuses.iter().any(|status| status.node == id && status.state == NodeState::Running))
}

/// It serves: a partition that is created there is led by it, and takes records. Its replica has to go elsewhere before it leaves.
fn has_joined(id: i32, cluster: &LocalCluster) -> Result<String, Failed> {
    for addr in cluster.bootstrap() {
        assert!(listed(&addr)?.contains(&id), "by {addr}");
    }
    let joined = cluster.broker_addresses().remove(&id).ok_or("no such broker")?;
    let options = ConnectOptions::default();
    let mut connection = Connection::connect(&joined, &options)?;
    connection.create_topic_at(NEW, &BTreeMap::from([(0, vec![id, 1])]), &BTreeMap::new(), LIMIT)?;
    eventually("it leads what is on it", || {
        let described = Connection::connect(&joined, &options).and_then(|mut it| it.describe_topic(NEW));
        described.is_ok_and(|topic| topic.partitions.iter().any(|p| p.leader == Some(id)))
    })?;
    assert_eq!(produce(&joined, NEW, 0, -1, 100)?, ErrorCode::NONE);
    Ok("every broker lists it; it leads a partition that is created there, and takes records".to_owned())
}

fn has_left(id: i32, cluster: &LocalCluster) -> Result<String, Failed> {
    let options = ConnectOptions::default();
    for addr in cluster.broker_addresses().into_iter().filter(|(broker, _)| *broker != id).map(|(_, a)| a) {
        assert!(!listed(&addr)?.contains(&id), "by {addr}");
        let mut connection = Connection::connect(&addr, &options)?;
        let topics = connection.metadata(None)?.topics;
        let has_some = topics.iter().find(|t| t.partitions.iter().any(|p| p.replicas.contains(&id)));
        assert_eq!(has_some.map(|topic| &topic.name), None, "by {addr}");
        let full = |p: &gauntlet_wire::PartitionMetadata| p.isr.len() == p.replicas.len();
        assert!(topics.iter().flat_map(|topic| &topic.partitions).all(full), "by {addr}: {topics:?}");
        let again = connection.unregister_broker(id).map_err(|error| error.code());
        assert_eq!(again, Err(Some(ErrorCode::BROKER_ID_NOT_REGISTERED)), "by {addr}");
    }
    assert!(!runs(id, cluster)?);
    Ok("no broker lists it, no replica is on it, the others have all of them in sync, and the controller knows no such broker".to_owned())
}

fn votes_no_longer(remove: &QuorumRemoveVoter, cluster: &LocalCluster) -> Result<String, Failed> {
    let gone: Vec<i32> = (1..=4).filter(|id| voters_lack(*id, cluster)).collect();
    let [gone] = gone[..] else { return Err(format!("{gone:?} vote no longer").into()) };
    assert!(remove.controller.is_none_or(|controller| controller == gone), "controller {gone}");
    let mut connection = Connection::connect(&cluster.bootstrap()[0], &ConnectOptions::default())?;
    let members = connection.quorum_members()?;
    assert!(members.leader.is_some_and(|leader| leader != gone), "{members:?}");
    assert!(members.observers.iter().any(|observer| observer.id == gone), "{members:?}");
    // It is a broker still.
    let addr = cluster.broker_addresses().remove(&gone).ok_or("no such broker")?;
    assert_eq!(listed(&addr)?, [1, 2, 3, 4]);
    Ok("no broker counts it among the voters, somebody else leads them, and it goes on as an observer"
        .to_owned())
}

fn voters_lack(id: i32, cluster: &LocalCluster) -> bool {
    cluster.bootstrap().iter().all(|addr| voters(addr).is_ok_and(|voters| !voters.contains(&id)))
}

/// What can't be done is refused before anything is moved, ended, or taken out of the quorum.
pub(crate) fn impossible() -> Vec<(Operation, &'static str)> {
    vec![
        (Operation::BrokerAdd(BrokerAdd { broker: 1 }), "belonged to the cluster from its begin"),
        (Operation::BrokerAdd(BrokerAdd { broker: 9 }), "there is no node 9"),
        (
            Operation::BrokerRemove(BrokerRemove { broker: 1 }),
            "has 4 replicas, and without broker 1 there are 3 brokers",
        ),
        (
            Operation::QuorumRemoveVoter(QuorumRemoveVoter { controller: Some(JOINING_CONTROLLER) }),
            "is no voter; voters are 1, 2, 3, 4",
        ),
    ]
}

/// Preferred replicas lead, so that healing can be told by who leads.
pub(crate) fn set_stage(cluster: &LocalCluster) -> TestResult {
    super::network::deal_leaders(cluster, TOPIC)
}
