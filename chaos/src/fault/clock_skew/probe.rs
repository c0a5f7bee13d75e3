//! A partition that a broker stamps the records of: how it is asked for the time.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gauntlet_wire::admin::connect_first;
use gauntlet_wire::batch::{BatchBuilder, BatchStamp, RecordSpec};
use gauntlet_wire::codec::Codec;
use gauntlet_wire::{ConnectOptions, Connection, ErrorCode, NewTopic, WireError};
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::protocol::StrBytes;

use crate::error::ChaosError;
use crate::local::LocalCluster;

/// Limit for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// From 13 on, topics have ids in Produce.
const PRODUCE_VERSION_CAP: i16 = 12;
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(50);

/// What a broker said of the time, milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Ours before it was asked.
    pub(super) before_ms: i64,
    /// Its own.
    pub(super) stamp_ms: i64,
    /// Ours when it had answered.
    pub(super) after_ms: i64,
}

/// A partition of a broker.
#[derive(Debug)]
pub(super) struct Probe<'a> {
    cluster: &'a LocalCluster,
    topic: String,
    partition: i32,
    addr: String,
    options: ConnectOptions,
}

impl<'a> Probe<'a> {
    /// Finds a partition that `node` leads, in a topic that is made if it is not there: with a partition per broker and one replica each,
    /// every broker that is up has one.
    pub(super) fn prepare(cluster: &'a LocalCluster, node: i32, limit: Duration) -> Result<Self, ChaosError> {
        let mut probe = Self::of(cluster, node)?;
        let deadline = Instant::now() + limit;
        loop {
            let why = match probe.partition_led_by(node) {
                Ok(Some(partition)) => {
                    probe.partition = partition;
                    return Ok(probe);
                }
                Ok(None) => format!("broker {node} leads no partition of {}", probe.topic),
                Err(error) if error.is_retriable() => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            if Instant::now() >= deadline {
                return Err(ChaosError::NotSeenToAct { why });
            }
            thread::sleep(POLL);
        }
    }

    /// Removes its topic. If that fails it ends with the cluster, which is ours.
    pub(super) fn remove(cluster: &'a LocalCluster, node: i32) {
        let Ok(probe) = Self::of(cluster, node) else { return };
        let _ = probe.connect_any().and_then(|mut any| any.delete_topic(&probe.topic, ANSWER_LIMIT));
    }

    fn of(cluster: &'a LocalCluster, node: i32) -> Result<Self, ChaosError> {
        let addr = cluster.broker_addresses().remove(&node).ok_or_else(|| ChaosError::Refused {
            why: format!("node {node} is no broker: nobody outside can see its clock"),
        })?;
        let options = ConnectOptions { timeout: ANSWER_LIMIT, ..cluster.operator() };
        Ok(Self { cluster, topic: format!("gauntlet-clock-of-{node}"), partition: -1, addr, options })
    }

    fn partition_led_by(&self, node: i32) -> Result<Option<i32>, WireError> {
        let mut any = self.connect_any()?;
        let described = any.describe_topic(&self.topic)?;
        if described.error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
            let config = [("message.timestamp.type", "LogAppendTime"), ("min.insync.replicas", "1")];
            let new = NewTopic {
                name: self.topic.clone(),
                partitions: i32::try_from(self.cluster.broker_addresses().len()).unwrap_or(1),
                replication_factor: 1,
                config: config.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            };
            any.create_topic(&new, ANSWER_LIMIT)?;
            return Ok(None);
        }
        // By the broker itself: it leads what it knows that it leads.
        let own = Connection::connect(&self.addr, &self.options)?.describe_topic(&self.topic)?;
        Ok(own
            .partitions
            .iter()
            .find(|partition| partition.leader == Some(node))
            .map(|partition| partition.index))
    }

    /// Any other broker if there is one: the one in question may find it hard to reach the controller.
    fn connect_any(&self) -> Result<Connection, WireError> {
        let mut others = self.cluster.bootstrap_of_running();
        others.sort_by_key(|addr| *addr == self.addr);
        connect_first(&others, &self.options)
    }

    /// Has the broker stamp a record.
    pub(super) fn ask(&self) -> Result<Told, WireError> {
        let mut batch = BatchBuilder::new(Codec::None);
        let spec =
            RecordSpec { timestamp_ms: wall_ms(), key: None, value_bytes: 1, own_header: None, headers: &[] };
        batch.append(&spec, |value| value.fill(b'?'));
        let records = batch.seal(BatchStamp::NONE).bytes().clone();
        let data = PartitionProduceData::default().with_index(self.partition).with_records(Some(records));
        let topic = TopicName(StrBytes::from_string(self.topic.clone()));
        let data = TopicProduceData::default().with_name(topic).with_partition_data(vec![data]);
        let timeout_ms = i32::try_from(ANSWER_LIMIT.as_millis()).unwrap_or(i32::MAX);
        let request =
            ProduceRequest::default().with_acks(1).with_timeout_ms(timeout_ms).with_topic_data(vec![data]);
        let mut connection = Connection::connect(&self.addr, &self.options)?;
        let before_ms = wall_ms();
        let response = connection.call_capped(&request, PRODUCE_VERSION_CAP)?;
        let after_ms = wall_ms();
        let answered = response.responses.first().and_then(|topic| topic.partition_responses.first());
        match answered {
            Some(answer) if ErrorCode(answer.error_code).is_ok() => {
                Ok(Told { before_ms, stamp_ms: answer.log_append_time_ms, after_ms })
            }
            Some(answer) => Err(refused(&self.addr, ErrorCode(answer.error_code).to_string())),
            None => Err(refused(&self.addr, "nothing".to_owned())),
        }
    }
}

fn refused(addr: &str, what: String) -> WireError {
    WireError::Protocol {
        addr: addr.to_owned(),
        detail: format!("it answered {what} to a record that asks for the time"),
    }
}

/// The time of day of this process.
fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
