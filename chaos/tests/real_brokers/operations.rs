//! Operations of the cluster: each seen to act and to be undone by brokers that are asked by somebody else, and undone by whoever finds it.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use gauntlet_chaos::clock::monotonic_ns;
use gauntlet_chaos::fault::{
    ConfigBefore, ConfigChange, ElectionPreferred, ElectionUnclean, FaultRecord, FeatureUpgrade,
    LeaderImbalance, OperationUndo, PartitionReassign, QuotaChange, TopicAddPartitions, TopicDeleteRecreate,
};
use gauntlet_chaos::journal::{BrokerAddress, PlannedOperation, RunLeftovers, Undo, undo_run};
use gauntlet_chaos::{FaultAction, FaultSpec, Injector, LocalCluster, Operation, Target, UndoJournal};
use gauntlet_wire::admin::{connect_first, wait_for_leaders};
use gauntlet_wire::{
    ConfigResource, ConnectOptions, Connection, ErrorCode, NewTopic, OffsetSpec, PartitionMetadata,
    QuotaEntity, QuotaName,
};
use libtest_mimic::Failed;

use super::members;
use super::support::{LIMIT, TestResult, eventually, produce};

/// The topic of all rows: a replica on every broker.
const WIDE: &str = "stage";
/// A topic that has none on one of the three brokers, for each partition.
const NARROW: &str = "narrow";
/// One of which there is so much that moving it at the rate below takes longer than a test.
const LARGE: &str = "large";
/// One that broker 1 led alone before it died: broker 2 lacks what it acked then.
const RAGGED: &str = "ragged";
/// One that is deleted, and created again.
const DELETED: &str = "deleted";
const LARGE_RECORD_BYTES: usize = 900_000;
const SLOW_BYTES_PER_S: u64 = 50_000;
/// What a topic has set before a row sets something else.
const SET_BEFORE: (&str, &str) = ("retention.ms", "7200000");

/// The rows of the catalogue, with whom they are about in words.
pub(crate) fn rows() -> Vec<(Operation, &'static str)> {
    let entries = |entries: &[(&str, &str)]| -> BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let config =
        |of, set: &[(&str, &str)]| Operation::ConfigChange(ConfigChange { of, entries: entries(set) });
    let reassign = |topic: &str, throttle| {
        let brokers = vec![1, 2];
        Operation::PartitionReassign(PartitionReassign { topic: topic.to_owned(), brokers, throttle })
    };
    let quota = |of| {
        let limits = [("producer_byte_rate", 1_000_000), ("request_percentage", 50)];
        let limits = limits.into_iter().map(|(name, limit)| (name.to_owned(), limit)).collect();
        Operation::QuotaChange(QuotaChange { of, limits })
    };
    let both = QuotaEntity {
        user: Some(QuotaName::Named("alice".to_owned())),
        client_id: Some(QuotaName::Named("etl".to_owned())),
    };
    let default = QuotaEntity { user: None, client_id: Some(QuotaName::Default) };
    let wide = || WIDE.to_owned();
    let topic = ConfigResource::Topic(wide());
    vec![
        (config(topic, &[(SET_BEFORE.0, "60000"), ("max.message.bytes", "100000")]), "a topic"),
        (config(ConfigResource::Broker(2), &[("background.threads", "8")]), "a broker"),
        (config(ConfigResource::AllBrokers, &[("log.retention.ms", "86400000")]), "all brokers"),
        (reassign(NARROW, None), "a topic"),
        (reassign(LARGE, Some(SLOW_BYTES_PER_S)), "a topic, throttled"),
        (Operation::LeaderImbalance(LeaderImbalance { topic: wide(), leader: 3 }), "a topic"),
        (Operation::ElectionPreferred(ElectionPreferred { topic: wide() }), "a topic"),
        (
            Operation::ElectionUnclean(ElectionUnclean { topic: RAGGED.to_owned() }),
            "a topic that nobody leads",
        ),
        (
            Operation::TopicAddPartitions(TopicAddPartitions { topic: "growing".to_owned(), partitions: 5 }),
            "a topic",
        ),
        (Operation::TopicDeleteRecreate(TopicDeleteRecreate { topic: DELETED.to_owned() }), "a topic"),
        (quota(both), "a user's client"),
        (quota(default), "every client"),
    ]
}

/// A fault that does `operation`.
pub(crate) fn spec(name: &str, operation: Operation) -> FaultSpec {
    let recover_after = operation.is_momentary().then_some(Duration::ZERO);
    FaultSpec {
        name: name.to_owned(),
        action: FaultAction::Operation { operation },
        target: Target::Cluster,
        at_ns: 0,
        recover_after,
        follows: None,
    }
}

/// Makes what `operation` needs. Twice does no harm.
pub(crate) fn set_stage(operation: &Operation, cluster: &LocalCluster) -> TestResult {
    create(cluster, WIDE, 6, 3)?;
    match operation {
        Operation::ConfigChange(change) if change.of == ConfigResource::Topic(WIDE.to_owned()) => {
            let set = BTreeMap::from([(SET_BEFORE.0.to_owned(), Some(SET_BEFORE.1.to_owned()))]);
            admin(cluster)?.alter_config(&change.of, &set)?;
            eventually("it is set before", || {
                let brokers = cluster.broker_addresses().into_values();
                brokers.map(|addr| config_at(&addr, &change.of)).all(|set| {
                    set.is_ok_and(|set| set.get(SET_BEFORE.0) == Some(&Some(SET_BEFORE.1.to_owned())))
                })
            })?;
        }
        Operation::PartitionReassign(reassign) => {
            create(cluster, &reassign.topic, 6, 2)?;
            if reassign.throttle.is_some() {
                fill(cluster, &reassign.topic)?;
            }
        }
        Operation::TopicAddPartitions(add) => create(cluster, &add.topic, 3, 2)?,
        Operation::TopicDeleteRecreate(delete) => {
            create(cluster, &delete.topic, 3, 2)?;
            let of = ConfigResource::Topic(delete.topic.clone());
            let set = BTreeMap::from([(SET_BEFORE.0.to_owned(), Some(SET_BEFORE.1.to_owned()))]);
            admin(cluster)?.alter_config(&of, &set)?;
            eventually("it is set before", || {
                let brokers = cluster.broker_addresses().into_values();
                brokers.map(|addr| config_at(&addr, &of)).all(|set| set.is_ok_and(|set| !set.is_empty()))
            })?;
            super::network::deal_leaders(cluster, &delete.topic)?;
            assert_eq!(produce_to_leader(cluster, &delete.topic, 0, 100)?, ErrorCode::NONE);
        }
        // What undoing it brings back is that preferred replicas lead; those that a fault before took the lead from need not.
        Operation::LeaderImbalance(imbalance) => super::network::deal_leaders(cluster, &imbalance.topic)?,
        Operation::ElectionPreferred(election) => turn_around(cluster, &election.topic)?,
        Operation::ElectionUnclean(_) => leave_nobody_in_sync(cluster)?,
        operation if operation.needs_nodes() => members::set_stage(cluster)?,
        _ => {}
    }
    Ok(())
}

/// The operation acts, as brokers show it; it heals, and healing it again changes nothing. Gives what was seen, in words.
pub(crate) fn acts_and_heals(
    operation: &Operation,
    cluster: &Arc<LocalCluster>,
) -> Result<(Vec<FaultRecord>, String), Failed> {
    set_stage(operation, cluster)?;
    // Of what can't be undone nobody compares what was before, and some of it takes brokers away.
    let is_undone = !operation.is_momentary();
    let before = is_undone.then(|| state(operation, cluster)).transpose()?;
    let topic_id = topic_id(operation, cluster)?;
    let base = tempfile::tempdir()?;
    let journal = Arc::new(UndoJournal::open(base.path())?);
    let (sender, events) = mpsc::channel();
    let shared = (Arc::clone(cluster), Arc::clone(&journal));
    let specs = vec![spec("operation", operation.clone())];
    let injector = Injector::start(shared.0, specs, monotonic_ns(), shared.1, sender)?;
    let records = if operation.is_momentary() {
        injector.join()
    } else {
        super::matrix::await_effect(&events)?;
        injector.records()
    };
    for record in &records {
        assert_eq!((&record.error, &record.heal_error), (&None, &None), "{record:?}");
    }
    let seen = seen(operation, cluster)?;
    let pending = journal.pending()?;
    assert_eq!(pending.len(), usize::from(!operation.is_momentary()), "what lasts is in the journal");
    injector.heal_all()?;
    let records = injector.join();
    for record in &records {
        assert_eq!((&record.error, &record.heal_error), (&None, &None), "{record:?}");
    }
    assert_eq!(journal.pending()?, []);
    let Some(before) = before else { return Ok((records, seen)) };
    if let Operation::TopicDeleteRecreate(delete) = operation {
        is_another(&delete.topic, topic_id, cluster)?;
    }
    let after = state(operation, cluster)?;
    assert_eq!(after, before, "{operation}");
    // As if the run had died between healing and marking it healed.
    for pending in &pending {
        cluster.undo(pending)?;
    }
    injector.heal_all()?;
    assert_eq!(state(operation, cluster)?, before, "{operation}, healed twice");
    Ok((records, seen))
}

/// The id of the operation's topic.
fn topic_id(operation: &Operation, cluster: &LocalCluster) -> Result<Option<[u8; 16]>, Failed> {
    Ok(match operation.topic() {
        Some(topic) => admin(cluster)?.describe_topic(topic)?.id,
        None => None,
    })
}

/// A topic of the same name, but not the one with this id: without the record that it had, and in its first leader epoch.
fn is_another(topic: &str, old: Option<[u8; 16]>, cluster: &LocalCluster) -> TestResult {
    let described = admin(cluster)?.describe_topic(topic)?;
    assert!(old.is_some() && described.id.is_some() && described.id != old, "{old:?}, {described:?}");
    let (_, ends) = wait_for_leaders(&cluster.bootstrap(), topic, &ConnectOptions::default(), LIMIT)?;
    assert_eq!(ends, (0..3).map(|partition| (partition, 0)).collect());
    assert_eq!(produce_to_leader(cluster, topic, 0, 100)?, ErrorCode::NONE);
    Ok(())
}

/// What brokers show of what an operation changes. By broker: they must agree, too.
#[derive(Debug, PartialEq)]
struct Shown {
    config: BTreeMap<String, BTreeMap<String, Option<String>>>,
    quotas: BTreeMap<i32, BTreeMap<String, f64>>,
    /// Who leads, and the replicas in their order, partition by partition.
    partitions: BTreeMap<i32, Vec<String>>,
    /// Who belongs to the cluster, if that is what changes.
    members: Option<BTreeMap<i32, members::Members>>,
}

fn state(operation: &Operation, cluster: &LocalCluster) -> Result<Shown, Failed> {
    let members = operation.needs_nodes().then(|| members::members(cluster)).transpose()?;
    let (config, quotas, partitions) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut shown = Shown { config, quotas, partitions, members };
    let changed = operation.topic().or_else(|| operation.needs_nodes().then_some(WIDE));
    let topic = changed.map(|topic| ConfigResource::Topic(topic.to_owned()));
    for (id, addr) in cluster.broker_addresses() {
        let mut connection = Connection::connect(&addr, &ConnectOptions::default())?;
        let all = [Some(ConfigResource::Broker(id)), Some(ConfigResource::AllBrokers), topic.clone()];
        for of in all.into_iter().flatten() {
            shown.config.insert(format!("{of}, by broker {id}"), connection.config_set(&of)?);
        }
        if let Operation::QuotaChange(change) = operation {
            shown.quotas.insert(id, connection.client_quotas(&change.of)?);
        }
        if let Some(topic) = changed {
            let partitions = connection.describe_topic(topic)?.partitions;
            shown.partitions.insert(
                id,
                partitions.iter().map(|p| format!("{:?} of {:?}", p.leader, p.replicas)).collect(),
            );
        }
    }
    Ok(shown)
}

/// Sees the operation act, by asking every broker; gives it in words.
fn seen(operation: &Operation, cluster: &LocalCluster) -> Result<String, Failed> {
    let brokers = cluster.broker_addresses();
    match operation {
        Operation::ConfigChange(change) => {
            let asked =
                brokers.iter().filter(|(id, _)| change.of.answered_by().is_none_or(|only| only == **id));
            for (id, addr) in asked {
                let set = config_at(addr, &change.of)?;
                for (name, value) in &change.entries {
                    assert_eq!(set.get(name), Some(&Some(value.clone())), "broker {id}: {name}");
                }
            }
            if change.entries.contains_key("max.message.bytes") {
                let refused = produce_to_leader(cluster, WIDE, 0, 300_000)?;
                assert_eq!(refused, ErrorCode::MESSAGE_TOO_LARGE);
                return Ok(
                    "every broker describes it so, and its leader refuses a batch that is larger".to_owned()
                );
            }
            Ok("described so by whom it is about".to_owned())
        }
        Operation::PartitionReassign(reassign) => moved(reassign, cluster),
        Operation::LeaderImbalance(imbalance) => {
            for (id, addr) in &brokers {
                let partitions = described(addr, &imbalance.topic)?;
                assert!(
                    partitions.iter().all(|p| p.leader == Some(imbalance.leader)),
                    "broker {id}: {partitions:?}"
                );
            }
            Ok("to every broker, one of them leads all partitions".to_owned())
        }
        Operation::ElectionPreferred(election) => {
            for (id, addr) in &brokers {
                let partitions = described(addr, &election.topic)?;
                let is_led = |p: &PartitionMetadata| p.leader == p.replicas.first().copied();
                assert!(partitions.iter().all(is_led), "broker {id}: {partitions:?}");
            }
            Ok("to every broker, preferred replicas lead, which did not before".to_owned())
        }
        Operation::TopicAddPartitions(add) => {
            for (id, addr) in &brokers {
                let partitions = described(addr, &add.topic)?;
                assert_eq!(i32::try_from(partitions.len())?, add.partitions, "broker {id}");
                assert!(partitions.iter().all(|p| p.leader.is_some()), "broker {id}: {partitions:?}");
            }
            Ok("every broker knows the new partitions, and who leads them".to_owned())
        }
        Operation::TopicDeleteRecreate(delete) => {
            for (id, addr) in &brokers {
                let described =
                    Connection::connect(addr, &ConnectOptions::default())?.describe_topic(&delete.topic)?;
                assert_eq!(described.error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "broker {id}");
            }
            Ok("no broker knows it; afterwards it is what it was, but for its records".to_owned())
        }
        Operation::QuotaChange(change) => {
            for (id, addr) in &brokers {
                let set = Connection::connect(addr, &ConnectOptions::default())?.client_quotas(&change.of)?;
                let wanted: BTreeMap<String, f64> =
                    change.limits.iter().map(|(name, limit)| (name.clone(), *limit as f64)).collect();
                assert_eq!(set, wanted, "broker {id}");
            }
            Ok("every broker describes it so".to_owned())
        }
        Operation::ElectionUnclean(_) => led_by_who_lacks_some(cluster),
        Operation::BrokerAdd(_)
        | Operation::BrokerRemove(_)
        | Operation::QuorumAddVoter(_)
        | Operation::QuorumRemoveVoter(_) => members::seen(operation, cluster),
        // The whole run of `scenarios/rolling-upgrade.yaml` has it: here everything is at the highest level already.
        Operation::FeatureUpgrade(_) => Err("no row has it".into()),
    }
}

/// Replicas on brokers 1 and 2; 2 dies, 1 acks some more and dies as well, and 2 comes back. With combined controllers the quorum is
/// lost for a moment, and comes back with broker 2.
fn leave_nobody_in_sync(cluster: &LocalCluster) -> TestResult {
    create(cluster, RAGGED, 1, 3)?;
    let placed = BTreeMap::from([(0, Some(vec![1, 2]))]);
    admin(cluster)?.alter_reassignments(RAGGED, &placed, LIMIT)?;
    let is_as = |leader: Option<i32>, isr: &[i32]| {
        let led = admin(cluster).and_then(|mut admin| Ok(admin.describe_topic(RAGGED)?.partitions));
        led.is_ok_and(|all| {
            let partition = &all[0];
            partition.replicas == [1, 2]
                && partition.leader == leader
                && (isr.is_empty() || partition.isr == isr)
        })
    };
    eventually("replicas are on two brokers", || {
        let moved = admin(cluster).and_then(|mut admin| Ok(admin.describe_topic(RAGGED)?.partitions));
        moved.is_ok_and(|all| all[0].replicas == [1, 2] && all[0].isr.len() == 2)
    })?;
    admin(cluster)?.elect_preferred_leaders(RAGGED, &[0], LIMIT)?;
    eventually("broker 1 leads", || is_as(Some(1), &[]))?;
    assert_eq!(produce_to_leader(cluster, RAGGED, 0, 100)?, ErrorCode::NONE);
    cluster.kill(2)?;
    eventually("broker 1 is alone", || is_as(Some(1), &[1]))?;
    for _ in 0..3 {
        assert_eq!(produce_to_leader(cluster, RAGGED, 0, 100)?, ErrorCode::NONE);
    }
    cluster.kill(1)?;
    cluster.start_node(2)?;
    cluster.wait_ready(2, LIMIT)?;
    eventually("nobody leads", || is_as(None, &[]))
}

/// Broker 2 leads, and has the one record that both had; then the other one comes back, and has no more.
fn led_by_who_lacks_some(cluster: &LocalCluster) -> Result<String, Failed> {
    let running: Vec<String> =
        cluster.broker_addresses().into_iter().filter(|(id, _)| *id != 1).map(|(_, a)| a).collect();
    for addr in &running {
        assert_eq!(described(addr, RAGGED)?[0].leader, Some(2), "{addr}");
    }
    let end_at = |addr: &str| -> Result<i64, Failed> {
        let ends = Connection::connect(addr, &ConnectOptions::default())?.list_offsets(
            RAGGED,
            &[0],
            OffsetSpec::Latest,
        )?;
        Ok(ends[&0])
    };
    let of = |id: i32| cluster.broker_addresses().remove(&id).ok_or("no such broker");
    assert_eq!(end_at(&of(2)?)?, 1);
    cluster.start_node(1)?;
    cluster.wait_ready(1, LIMIT)?;
    eventually("broker 1 follows", || described(&running[0], RAGGED).is_ok_and(|all| all[0].isr.len() == 2))?;
    assert_eq!(end_at(&of(2)?)?, 1);
    Ok("to every broker, one leads that was not in sync; three records of four are gone, also when the last leader is back".to_owned())
}

fn moved(reassign: &PartitionReassign, cluster: &LocalCluster) -> Result<String, Failed> {
    let topic = &reassign.topic;
    let Some(rate) = reassign.throttle else {
        let is_there = |addr: &String| {
            described(addr, topic).is_ok_and(|partitions| {
                partitions.iter().all(|p| p.replicas.iter().all(|id| reassign.brokers.contains(id)))
            })
        };
        eventually("all replicas are moved", || cluster.bootstrap().iter().all(is_there))?;
        return Ok("replicas are on the brokers that are named, and on no other".to_owned());
    };
    for (id, addr) in cluster.broker_addresses() {
        let set = config_at(&addr, &ConfigResource::Broker(id))?;
        for name in ["leader.replication.throttled.rate", "follower.replication.throttled.rate"] {
            assert_eq!(set.get(name), Some(&Some(rate.to_string())), "broker {id}: {set:?}");
        }
        let set = config_at(&addr, &ConfigResource::Topic(topic.clone()))?;
        for name in ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"] {
            assert!(matches!(set.get(name), Some(Some(list)) if list.contains(':')), "broker {id}: {set:?}");
        }
    }
    let partitions: Vec<i32> = (0..6).collect();
    let moving = admin(cluster)?.reassignments(topic, &partitions, LIMIT)?;
    assert!(!moving.is_empty(), "it is over already");
    assert!(moving.values().any(|one| !one.adding.is_empty() && !one.removing.is_empty()), "{moving:?}");
    Ok("the move is under way, and throttled on every broker".to_owned())
}

/// What can't be done is refused, says why, and changes nothing; and of two that would undo each other, the second.
pub(crate) fn what_can_not_be_done_changes_nothing(cluster: &Arc<LocalCluster>) -> TestResult {
    create(cluster, WIDE, 6, 3)?;
    create(cluster, NARROW, 6, 2)?;
    let config = |topic: &str, name: &str, value: &str| {
        let of = ConfigResource::Topic(topic.to_owned());
        let entries = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        Operation::ConfigChange(ConfigChange { of, entries })
    };
    let imbalance =
        |topic: &str| Operation::LeaderImbalance(LeaderImbalance { topic: topic.to_owned(), leader: 3 });
    let reassign = |brokers: &[i32]| {
        let (topic, brokers) = (NARROW.to_owned(), brokers.to_vec());
        Operation::PartitionReassign(PartitionReassign { topic, brokers, throttle: None })
    };
    let raise = |feature: &str| {
        Operation::FeatureUpgrade(FeatureUpgrade { feature: feature.to_owned(), level: None })
    };
    let before: Vec<Shown> =
        [WIDE, NARROW].iter().map(|t| state(&imbalance(t), cluster)).collect::<Result<_, _>>()?;
    let cases = [
        (config(WIDE, "no.such.property", "1"), "no.such.property"),
        (config(WIDE, "retention.ms", "soon"), "soon"),
        (imbalance(NARROW), "broker 3 has no replica of narrow-"),
        (raise("metadata.version"), "already"),
        (raise("no.such.feature"), "they know "),
        (reassign(&[2]), "has 2 replicas, more than the 1 brokers to move to"),
    ];
    let base = tempfile::tempdir()?;
    let journal = Arc::new(UndoJournal::open(base.path())?);
    for (operation, why) in cases {
        let what = operation.to_string();
        let record = run(cluster, &journal, vec![spec("refused", operation)])?.remove(0);
        let error = record.error.ok_or("it was done")?;
        assert!(error.contains(why), "{what}: {error}");
        assert_eq!((record.took_effect_ns, record.heal_error), (None, None), "{what}");
    }
    assert_eq!(journal.pending()?, []);
    let after: Vec<Shown> =
        [WIDE, NARROW].iter().map(|t| state(&imbalance(t), cluster)).collect::<Result<_, _>>()?;
    assert_eq!(after, before);
    Ok(())
}

/// Likewise of members, on a cluster that has spare ones.
pub(crate) fn members_that_can_not_change(cluster: &Arc<LocalCluster>) -> TestResult {
    const EVERYWHERE: &str = "everywhere";
    create(cluster, EVERYWHERE, 1, 4)?;
    let before = members::members(cluster)?;
    let base = tempfile::tempdir()?;
    let journal = Arc::new(UndoJournal::open(base.path())?);
    for (operation, why) in members::impossible() {
        let what = format!("{} of {operation}", operation.name());
        let record = run(cluster, &journal, vec![spec("refused", operation)])?.remove(0);
        let error = record.error.ok_or("it was done")?;
        assert!(error.contains(why), "{what}: {error}");
        assert_eq!((record.took_effect_ns, record.heal_error), (None, None), "{what}");
    }
    assert_eq!(members::members(cluster)?, before);
    // The others could not lose a broker as long as it is there.
    admin(cluster)?.delete_topic(EVERYWHERE, LIMIT)?;
    eventually("it is gone", || {
        let mut all = cluster.broker_addresses().into_values();
        all.all(|addr| {
            let described = Connection::connect(&addr, &ConnectOptions::default());
            described
                .and_then(|mut connection| connection.describe_topic(EVERYWHERE))
                .is_ok_and(|topic| topic.error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        })
    })
}

/// Two at once on the same property: the second one is refused, and what the first one found is put back.
pub(crate) fn one_operation_at_a_time(cluster: &Arc<LocalCluster>) -> TestResult {
    create(cluster, WIDE, 6, 3)?;
    let change = |name: &str, value: &str| {
        let entries = BTreeMap::from([("segment.ms".to_owned(), value.to_owned())]);
        let of = ConfigResource::Topic(WIDE.to_owned());
        spec(name, Operation::ConfigChange(ConfigChange { of, entries }))
    };
    let later = FaultSpec { at_ns: 1, ..change("second", "7200000") };
    let base = tempfile::tempdir()?;
    let journal = Arc::new(UndoJournal::open(base.path())?);
    let records = run(cluster, &journal, vec![change("first", "3600000"), later])?;
    let errors: Vec<&str> = records.iter().filter_map(|record| record.error.as_deref()).collect();
    // Which of them came first is up to their threads.
    let refused = |other: &str| format!("segment.ms of topic {WIDE} is under fault {other} already");
    assert!(errors == [refused("first")] || errors == [refused("second")], "{records:?}");
    let set = config_at(&cluster.bootstrap()[0], &ConfigResource::Topic(WIDE.to_owned()))?;
    assert_eq!(set.get("segment.ms"), None);
    Ok(())
}

/// The broker that was asked first is gone when it is time to undo: the others are asked.
pub(crate) fn undone_without_the_broker_that_was_asked(cluster: &Arc<LocalCluster>) -> TestResult {
    create(cluster, WIDE, 6, 3)?;
    let base = tempfile::tempdir()?;
    let journal = Arc::new(UndoJournal::open(base.path())?);
    let imbalance = Operation::LeaderImbalance(LeaderImbalance { topic: WIDE.to_owned(), leader: 3 });
    let of = QuotaEntity { user: None, client_id: Some(QuotaName::Named("nobody".to_owned())) };
    let limits = BTreeMap::from([("consumer_byte_rate".to_owned(), 1000)]);
    let quota = Operation::QuotaChange(QuotaChange { of: of.clone(), limits });
    super::network::deal_leaders(cluster, WIDE)?;
    let before = state(&imbalance, cluster)?;
    let (sender, events) = mpsc::channel();
    let shared = (Arc::clone(cluster), Arc::clone(&journal));
    let specs = vec![spec("quota", quota), spec("leaders", imbalance.clone())];
    let injector = Injector::start(shared.0, specs, monotonic_ns(), shared.1, sender)?;
    super::matrix::await_effect(&events)?;
    super::matrix::await_effect(&events)?;
    cluster.kill(1)?;
    // Leaders may have to wait until this one is back; quotas have not.
    let healing = std::thread::scope(|scope| -> Result<_, Failed> {
        let healing = scope.spawn(|| injector.heal_all());
        eventually("the quota is undone by the others", || {
            let quotas =
                |addr: &String| Connection::connect(addr, &ConnectOptions::default())?.client_quotas(&of);
            let others = cluster.broker_addresses().into_iter().filter(|(id, _)| *id != 1);
            others.into_iter().all(|(_, addr)| quotas(&addr).is_ok_and(|set| set.is_empty()))
        })?;
        cluster.start_node(1)?;
        Ok(healing.join().map_err(|_| "the healing panicked")?)
    })?;
    healing?;
    cluster.wait_ready(1, LIMIT)?;
    assert_eq!(journal.pending()?, []);
    // Its leaderships it lost by being killed, at the latest when it came back: that is not for an operation to undo.
    super::matrix::healthy(cluster, WIDE)?;
    super::network::deal_leaders(cluster, WIDE)?;
    assert_eq!(state(&imbalance, cluster)?, before);
    Ok(())
}

/// A run and its supervisor are gone, and brokers still answer: `gauntlet faults undo` puts back what the journal says, but not on
/// another cluster that happens to listen there.
pub(crate) fn whoever_finds_the_journal_can_undo(cluster: &Arc<LocalCluster>) -> TestResult {
    create(cluster, WIDE, 6, 3)?;
    let of = ConfigResource::Topic(WIDE.to_owned());
    let set = |value: &str| BTreeMap::from([("flush.ms".to_owned(), Some(value.to_owned()))]);
    let now =
        || -> Result<_, Failed> { Ok(config_at(&cluster.bootstrap()[0], &of)?.get("flush.ms").cloned()) };
    let shown = |value: Option<&str>| {
        let wanted = value.map(|value| Some(value.to_owned()));
        eventually("the broker shows it", || now().is_ok_and(|now| now == wanted))
    };
    let planned = |cluster_id: &str| PlannedOperation {
        fault: "left".to_owned(),
        cluster_id: cluster_id.to_owned(),
        brokers: cluster
            .broker_addresses()
            .into_iter()
            .map(|(id, addr)| BrokerAddress { id, addr })
            .collect(),
        undo: OperationUndo::Config(ConfigBefore {
            of: of.clone(),
            entries: BTreeMap::from([("flush.ms".to_owned(), None)]),
        }),
        foreign: false,
    };
    admin(cluster)?.alter_config(&of, &set("60000"))?;
    shown(Some("60000"))?;
    for (cluster_id, was_alive) in [("somebody else", false), (cluster.cluster_id(), true)] {
        let base = tempfile::tempdir()?;
        UndoJournal::open(base.path())?.begin(planned(cluster_id))?;
        let RunLeftovers::Undone(undone) = undo_run(base.path(), &base.path().join("cluster"))? else {
            return Err("it goes on".into());
        };
        let told: Vec<_> = undone.iter().map(|left| (left.was_alive, left.error.clone())).collect();
        assert_eq!(told, [(was_alive, None)]);
        shown(Some("60000").filter(|_| !was_alive))?;
    }
    Ok(())
}

/// Runs faults to their end.
fn run(
    cluster: &Arc<LocalCluster>,
    journal: &Arc<UndoJournal>,
    specs: Vec<FaultSpec>,
) -> Result<Vec<FaultRecord>, Failed> {
    let (sender, _events) = mpsc::channel();
    let injector = Injector::start(Arc::clone(cluster), specs, monotonic_ns(), Arc::clone(journal), sender)?;
    Ok(injector.join())
}

fn admin(cluster: &LocalCluster) -> Result<Connection, Failed> {
    let options = ConnectOptions { timeout: LIMIT, ..ConnectOptions::default() };
    Ok(connect_first(&cluster.bootstrap(), &options)?)
}

fn described(addr: &str, topic: &str) -> Result<Vec<PartitionMetadata>, Failed> {
    Ok(Connection::connect(addr, &ConnectOptions::default())?.describe_topic(topic)?.partitions)
}

fn config_at(addr: &str, of: &ConfigResource) -> Result<BTreeMap<String, Option<String>>, Failed> {
    Ok(Connection::connect(addr, &ConnectOptions::default())?.config_set(of)?)
}

/// Creates a topic unless it is there, and waits until it serves.
fn create(cluster: &LocalCluster, name: &str, partitions: i32, replication_factor: i16) -> TestResult {
    let topic = NewTopic { name: name.to_owned(), partitions, replication_factor, config: BTreeMap::new() };
    match admin(cluster)?.create_topic(&topic, LIMIT) {
        Err(error) if error.code() != Some(ErrorCode::TOPIC_ALREADY_EXISTS) => return Err(error.into()),
        _ => {}
    }
    wait_for_leaders(&cluster.bootstrap(), name, &ConnectOptions::default(), LIMIT)?;
    Ok(())
}

fn produce_to_leader(
    cluster: &LocalCluster,
    topic: &str,
    partition: i32,
    bytes: usize,
) -> Result<ErrorCode, Failed> {
    let partitions = admin(cluster)?.describe_topic(topic)?.partitions;
    let led = partitions.iter().find(|p| p.index == partition).ok_or("no such partition")?;
    let leader = led.leader.ok_or("nobody leads it")?;
    let addr = cluster.broker_addresses().remove(&leader).ok_or("no such broker")?;
    produce(&addr, topic, partition, -1, bytes)
}

/// Some megabytes for each of the six partitions of `topic`, once.
fn fill(cluster: &LocalCluster, topic: &str) -> TestResult {
    let (_, ends) = wait_for_leaders(&cluster.bootstrap(), topic, &ConnectOptions::default(), LIMIT)?;
    for (partition, _) in ends.iter().filter(|(_, end)| **end == 0) {
        for _ in 0..2 {
            assert_eq!(produce_to_leader(cluster, topic, *partition, LARGE_RECORD_BYTES)?, ErrorCode::NONE);
        }
    }
    Ok(())
}

/// Makes another replica the preferred one of every partition, without electing it.
fn turn_around(cluster: &LocalCluster, topic: &str) -> TestResult {
    let mut turned = BTreeMap::new();
    for partition in admin(cluster)?.describe_topic(topic)?.partitions {
        let mut replicas = partition.replicas;
        let leads = |replica: Option<&i32>| partition.leader == replica.copied();
        if leads(replicas.first()) {
            replicas.rotate_left(1);
        }
        turned.insert(partition.index, Some(replicas));
    }
    admin(cluster)?.alter_reassignments(topic, &turned, LIMIT)?;
    eventually("others are preferred", || {
        cluster.bootstrap().iter().all(|addr| {
            described(addr, topic)
                .is_ok_and(|partitions| partitions.iter().all(|p| p.leader != p.replicas.first().copied()))
        })
    })
}
