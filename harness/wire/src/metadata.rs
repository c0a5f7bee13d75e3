//! What a broker says about the cluster: brokers, topics, leaders, in-sync replicas.

use std::collections::BTreeMap;

use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::code::ErrorCode;

/// One broker's view of the cluster at one moment (Metadata response).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterMetadata {
    /// The cluster id, if the broker knows it.
    pub cluster_id: Option<String>,
    /// Id of a broker to send controller requests to. Under KRaft this is *any* live broker, not the active
    /// controller (KIP-590); ask [`crate::Connection::quorum`] for that one.
    pub controller_id: Option<i32>,
    /// Brokers that are registered and not fenced.
    pub brokers: Vec<BrokerNode>,
    /// Topics asked for.
    pub topics: Vec<TopicMetadata>,
}

/// A broker's advertised address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerNode {
    /// `node.id`.
    pub id: i32,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// `broker.rack`.
    pub rack: Option<String>,
}

impl BrokerNode {
    /// `host:port`.
    pub fn addr(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// A topic as one broker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Which of all that were ever called so: a topic that is deleted and created again is another one (KIP-516). `None` from brokers
    /// that don't say (before 2.8), and with an error.
    pub id: Option<[u8; 16]>,
    /// `ErrorCode::NONE`, or why the rest is empty.
    pub error: ErrorCode,
    /// Partitions in order of their index.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition as one broker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Partition index.
    pub index: i32,
    /// `ErrorCode::NONE`, or e.g. `LEADER_NOT_AVAILABLE`.
    pub error: ErrorCode,
    /// Broker id of the leader; `None` while there is none.
    pub leader: Option<i32>,
    /// Leader epoch; -1 when the broker's version doesn't say.
    pub leader_epoch: i32,
    /// Assigned replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// In-sync replicas.
    pub isr: Vec<i32>,
    /// Eligible leader replicas (KIP-966), where the broker tells them (DescribeTopicPartitions).
    pub elr: Option<Vec<i32>>,
    /// Replicas that are offline.
    pub offline: Vec<i32>,
}

impl ClusterMetadata {
    /// The topic of that name, if the broker answered about it.
    pub fn topic(&self, name: &str) -> Option<&TopicMetadata> {
        self.topics.iter().find(|t| t.name == name)
    }

    /// `host:port` by broker id.
    pub fn addresses(&self) -> BTreeMap<i32, String> {
        self.brokers.iter().map(|b| (b.id, b.addr())).collect()
    }
}

/// A Metadata request that never creates topics. `None` asks for all topics.
pub(crate) fn request(topics: Option<&[&str]>) -> MetadataRequest {
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    let named = topics.map(|names| {
        names
            .iter()
            .map(|name| {
                MetadataRequestTopic::default()
                    .with_name(Some(TopicName(StrBytes::from_string((*name).to_owned()))))
            })
            .collect()
    });
    MetadataRequest::default().with_topics(named).with_allow_auto_topic_creation(false)
}

/// Version cap: 12 is the last that we need (topics are asked for by name), and 3.x brokers speak it.
pub(crate) const METADATA_VERSION_CAP: i16 = 12;

impl From<MetadataResponse> for ClusterMetadata {
    fn from(response: MetadataResponse) -> Self {
        let mut topics: Vec<TopicMetadata> = response
            .topics
            .into_iter()
            .map(|topic| {
                let mut partitions: Vec<PartitionMetadata> =
                    topic.partitions.into_iter().map(PartitionMetadata::from).collect();
                partitions.sort_by_key(|p| p.index);
                TopicMetadata {
                    name: topic.name.map(|n| n.to_string()).unwrap_or_default(),
                    id: known_id(*topic.topic_id.as_bytes()),
                    error: ErrorCode(topic.error_code),
                    partitions,
                }
            })
            .collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        ClusterMetadata {
            cluster_id: response.cluster_id.map(|id| id.to_string()),
            controller_id: known(response.controller_id.0),
            brokers: response
                .brokers
                .into_iter()
                .map(|b| BrokerNode {
                    id: b.node_id.0,
                    host: b.host.to_string(),
                    port: u16::try_from(b.port).unwrap_or(0),
                    rack: b.rack.map(|r| r.to_string()),
                })
                .collect(),
            topics,
        }
    }
}

impl From<MetadataResponsePartition> for PartitionMetadata {
    fn from(p: MetadataResponsePartition) -> Self {
        let ids = |list: Vec<kafka_protocol::messages::BrokerId>| list.into_iter().map(|b| b.0).collect();
        PartitionMetadata {
            index: p.partition_index,
            error: ErrorCode(p.error_code),
            leader: known(p.leader_id.0),
            leader_epoch: p.leader_epoch,
            replicas: ids(p.replica_nodes),
            isr: ids(p.isr_nodes),
            elr: None,
            offline: ids(p.offline_replicas),
        }
    }
}

/// Kafka writes "none" as zeros.
pub(crate) fn known_id(id: [u8; 16]) -> Option<[u8; 16]> {
    (id != [0; 16]).then_some(id)
}

/// Kafka writes "none" as -1.
pub(crate) fn known(id: i32) -> Option<i32> {
    (id >= 0).then_some(id)
}
