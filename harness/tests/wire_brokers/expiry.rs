//! Brokers that forget producers, and so append what they must not: a duplicate that is theirs. The control, with brokers that
//! remember, is `recovery::a_lost_answer_is_no_duplicate`.

use std::sync::{Arc, Mutex};

use gauntlet_chaos::{Jvm, LocalCluster, LocalSpec};
use gauntlet_wire::Connection;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::{DescribeProducersRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use libtest_mimic::{Failed, Trial};

use crate::cluster::{SharedCluster, TestResult, Topic, eventually, locked};
use crate::judge::judge;
use crate::proxy::Fate;
use crate::recovery::{ALL, BATCHES, RECORDS, disturbed, on_batch};

pub(crate) fn cluster() -> SharedCluster {
    SharedCluster::of(spec)
}

/// Instead of after a day, looked at every ten minutes.
fn spec() -> LocalSpec {
    let config = [("producer.id.expiration.ms", "1000"), ("producer.id.expiration.check.interval.ms", "200")];
    let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    LocalSpec { brokers: 3, jvm: Jvm::Quick, config, ..LocalSpec::default() }
}

pub(crate) fn trials(shared: &Arc<SharedCluster>) -> Vec<Trial> {
    vec![shared.trial("a_forgotten_producer_is_appended_again", a_forgotten_producer_is_appended_again)]
}

/// The answer to the last batch is lost, and the client asks again when no broker knows its producer id any more. Any
/// sequence will do then, so the same batch is appended once more, under the same id, epoch and sequence.
fn a_forgotten_producer_is_appended_again(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "forgotten", 1, &[])?;
    let leader = topic.leader(cluster, 0)?;
    let forgotten = Arc::new(Mutex::new(None));
    let (asked, outcome, name) = (Arc::clone(cluster), Arc::clone(&forgotten), topic.name.clone());
    let recipe = on_batch(BATCHES as i32 - 1, 1, move || {
        let (asked, outcome, name) = (Arc::clone(&asked), Arc::clone(&outcome), name.clone());
        Fate::DropAnswer {
            then: Box::new(move || *locked(&outcome) = Some(no_producers(&asked, leader, &name).is_ok())),
        }
    });
    let (proxy, produced) = disturbed(cluster, &topic, recipe)?;
    assert_eq!(proxy.counts(), [1, 0, 0, 0]);
    drop(proxy);
    assert_eq!(*locked(&forgotten), Some(true));
    let judgement = judge(cluster, &topic, &produced)?;
    let one_batch = u64::from(RECORDS);
    judgement.expect(&[
        ("acked", ALL),
        ("checked", ALL + one_batch),
        ("duplicates", one_batch),
        ("sequence_repeats", 1),
    ])?;
    assert!(judgement.evidence.contains("BrokerAppendedTwice"), "{}", judgement.evidence);
    Ok(())
}

/// Waits until the leader knows of no producer on partition 0 (DescribeProducers, KIP-664).
fn no_producers(cluster: &LocalCluster, leader: i32, topic: &str) -> TestResult {
    let mut connection = Connection::connect(&cluster.broker_addresses()[&leader], &cluster.operator())?;
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let asked = TopicRequest::default().with_name(name).with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![asked]);
    eventually("the leader forgets the producer", || {
        let answer = connection.call(&request)?;
        let partitions = answer.topics.first().map(|topic| &topic.partitions[..]).unwrap_or_default();
        let [partition] = partitions else { return Err(Failed::from("one partition was asked for")) };
        assert_eq!(partition.error_code, 0);
        Ok(partition.active_producers.is_empty())
    })
}
