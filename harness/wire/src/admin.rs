//! Administrative calls, one method each, on the blocking [`Connection`].
//!
//! Layout: `configs` what is set on topics and brokers, `members` who belongs to the cluster, `quotas` what clients may use, `reassignments`
//! where replicas are.

mod configs;
mod features;
mod members;
mod quotas;
mod reassignments;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
pub use configs::ConfigResource;
pub use features::Features;
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::describe_quorum_response::PartitionData as DescribedQuorum;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, BrokerId, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeQuorumRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest, InitProducerIdRequest,
    ListOffsetsRequest, OffsetForLeaderEpochRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
pub use members::{DirectoryId, QuorumMember, QuorumMembers};
pub use quotas::{QuotaEntity, QuotaName};
pub use reassignments::Reassignment;

use crate::acl::{Operation, Permission};
use crate::code::ErrorCode;
use crate::connection::{ConnectOptions, Connection};
use crate::error::WireError;
use crate::metadata::{self, ClusterMetadata, METADATA_VERSION_CAP, PartitionMetadata, TopicMetadata};
use crate::security::scram::ITERATIONS_MIN;
use crate::security::{ScramHash, Secret};

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Replicas of each.
    pub replication_factor: i16,
    /// Topic configuration, by Kafka's property names.
    pub config: BTreeMap<String, String>,
}

/// Which end of a log ListOffsets is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start offset.
    Earliest,
    /// The high watermark.
    Latest,
    /// The first record with this timestamp (milliseconds since the Unix epoch) or a later one.
    Since(i64),
    /// The record with the highest timestamp (KIP-734; brokers from 3.0 on).
    Newest,
}

/// What ListOffsets has found in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: i64,
    /// Timestamp of the record there, in milliseconds since the Unix epoch; -1 where a log's end or begin was asked for.
    pub timestamp_ms: i64,
}

/// A producer id and its epoch, as handed out by InitProducerId.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerIdentity {
    /// The producer id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

/// The KRaft quorum (DescribeQuorum of `__cluster_metadata`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// Node id of the active controller; `None` during an election.
    pub leader: Option<i32>,
    /// Its epoch.
    pub leader_epoch: i32,
    /// Node ids of the voters.
    pub voters: Vec<i32>,
}

/// Who may be elected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Election {
    /// The preferred replica, if it is in sync.
    Preferred = 0,
    /// Whoever is there.
    Unclean = 1,
}

impl Election {
    fn name(self) -> &'static str {
        match self {
            Election::Preferred => "preferred",
            Election::Unclean => "unclean",
        }
    }
}

/// The first version that finds the highest timestamp (KIP-734); nothing of later ones is needed.
const LIST_OFFSETS_VERSION_CAP: i16 = 7;

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn creatable_configs(config: &BTreeMap<String, String>) -> Vec<CreatableTopicConfig> {
    let property = |(name, value): (&String, &String)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string(name.clone()))
            .with_value(Some(StrBytes::from_string(value.clone())))
    };
    config.iter().map(property).collect()
}

impl Connection {
    /// Brokers, and the named topics (`None`: all). Never creates a topic.
    pub fn metadata(&mut self, topics: Option<&[&str]>) -> Result<ClusterMetadata, WireError> {
        let response = self.call_capped(&metadata::request(topics), METADATA_VERSION_CAP)?;
        Ok(response.into())
    }

    /// Creates a topic. The broker answers when the controller has accepted it; leaders may still be missing for
    /// some milliseconds (see [`wait_for_leaders`]).
    pub fn create_topic(&mut self, topic: &NewTopic, timeout: Duration) -> Result<(), WireError> {
        let topic = CreatableTopic::default()
            .with_name(topic_name(&topic.name))
            .with_num_partitions(topic.partitions)
            .with_replication_factor(topic.replication_factor)
            .with_configs(creatable_configs(&topic.config));
        self.create(topic, timeout)
    }

    /// Creates a topic whose partitions have these replicas, the preferred leader first, and these properties. Answered as
    /// [`Self::create_topic`] is.
    pub fn create_topic_at(
        &mut self,
        name: &str,
        replicas: &BTreeMap<i32, Vec<i32>>,
        config: &BTreeMap<String, String>,
        timeout: Duration,
    ) -> Result<(), WireError> {
        let assignment = |(index, brokers): (&i32, &Vec<i32>)| {
            CreatableReplicaAssignment::default()
                .with_partition_index(*index)
                .with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
        };
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            // Kafka's way to say that the assignments tell.
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(replicas.iter().map(assignment).collect())
            .with_configs(creatable_configs(config));
        self.create(topic, timeout)
    }

    fn create(&mut self, topic: CreatableTopic, timeout: Duration) -> Result<(), WireError> {
        let name = topic.name.to_string();
        let request = CreateTopicsRequest::default()
            .with_timeout_ms(timeout.as_millis() as i32)
            .with_topics(vec![topic]);
        let response = self.call(&request)?;
        let result = response.topics.first().ok_or_else(|| self.empty("CreateTopics"))?;
        let needed = Permission::on_topic(Operation::Create, &name);
        self.check_permitted(result.error_code, &result.error_message, needed, || {
            format!("create topic {name}")
        })
    }

    /// Deletes a topic by name.
    pub fn delete_topic(&mut self, name: &str, timeout: Duration) -> Result<(), WireError> {
        // Versions up to 5 name topics in one list, version 6 in another; fill the one that is sent.
        let version = self.versions().pick::<DeleteTopicsRequest>(6, self.addr())?;
        let request = DeleteTopicsRequest::default().with_timeout_ms(timeout.as_millis() as i32);
        let request = if version >= 6 {
            request.with_topics(vec![DeleteTopicState::default().with_name(Some(topic_name(name)))])
        } else {
            request.with_topic_names(vec![topic_name(name)])
        };
        let response = self.call_capped(&request, version)?;
        let result = response.responses.first().ok_or_else(|| self.empty("DeleteTopics"))?;
        let needed = Permission::on_topic(Operation::Delete, name);
        self.check_permitted(result.error_code, &result.error_message, needed, || {
            format!("delete topic {name}")
        })
    }

    /// One offset per partition asked for; -1 where no record is what was asked for. Must be sent to the leader of each of
    /// them.
    pub fn list_offsets(
        &mut self,
        topic: &str,
        partitions: &[i32],
        spec: OffsetSpec,
    ) -> Result<BTreeMap<i32, i64>, WireError> {
        let found = self.find_offsets(topic, partitions, spec)?;
        Ok(found.into_iter().map(|(partition, found)| (partition, found.offset)).collect())
    }

    /// As [`Connection::list_offsets`], with the timestamps of what was found.
    pub fn find_offsets(
        &mut self,
        topic: &str,
        partitions: &[i32],
        spec: OffsetSpec,
    ) -> Result<BTreeMap<i32, FoundOffset>, WireError> {
        let timestamp = match spec {
            OffsetSpec::Earliest => -2,
            OffsetSpec::Latest => -1,
            // Negative ones have meanings of their own.
            OffsetSpec::Since(timestamp_ms) => timestamp_ms.max(0),
            OffsetSpec::Newest => -3,
        };
        let version = self.versions().pick::<ListOffsetsRequest>(LIST_OFFSETS_VERSION_CAP, self.addr())?;
        // Older brokers would take -3 for a point in time.
        if spec == OffsetSpec::Newest && version < LIST_OFFSETS_VERSION_CAP {
            return Err(WireError::Unsupported {
                addr: self.addr().to_owned(),
                api: "ListOffsets by highest timestamp".to_owned(),
                offered: format!("version {version}"),
                ours: format!("version {LIST_OFFSETS_VERSION_CAP}"),
            });
        }
        let wanted = partitions
            .iter()
            .map(|p| ListOffsetsPartition::default().with_partition_index(*p).with_timestamp(timestamp))
            .collect();
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![
            ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(wanted),
        ]);
        let response = self.call_capped(&request, version)?;
        let mut offsets = BTreeMap::new();
        for partition in response.topics.iter().flat_map(|t| &t.partitions) {
            let needed = Permission::on_topic(Operation::Describe, topic);
            self.check_permitted(partition.error_code, &None, needed, || {
                format!("list offsets of {topic}-{}", partition.partition_index)
            })?;
            let found = FoundOffset { offset: partition.offset, timestamp_ms: partition.timestamp };
            offsets.insert(partition.partition_index, found);
        }
        Ok(offsets)
    }

    /// A new producer id for a producer without transactions.
    pub fn init_producer_id(&mut self) -> Result<ProducerIdentity, WireError> {
        let request =
            InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
        let response = self.call_capped(&request, 4)?;
        let needed = Permission::on_cluster(Operation::IdempotentWrite);
        self.check_permitted(response.error_code, &None, needed, || "init producer id".to_owned())?;
        Ok(ProducerIdentity { id: response.producer_id.0, epoch: response.producer_epoch })
    }

    /// The KRaft quorum as this broker sees it: `leader` is the active controller.
    pub fn quorum(&mut self) -> Result<Quorum, WireError> {
        let partition = self.describe_quorum(1)?;
        Ok(Quorum {
            leader: metadata::known(partition.leader_id.0),
            leader_epoch: partition.leader_epoch,
            voters: partition.current_voters.iter().map(|v| v.replica_id.0).collect(),
        })
    }

    fn describe_quorum(&mut self, version_cap: i16) -> Result<DescribedQuorum, WireError> {
        let request = DescribeQuorumRequest::default().with_topics(vec![
            TopicData::default()
                .with_topic_name(topic_name("__cluster_metadata"))
                .with_partitions(vec![PartitionData::default().with_partition_index(0)]),
        ]);
        let response = self.call_capped(&request, version_cap)?;
        let needed = Permission::on_cluster(Operation::Describe);
        self.check_permitted(response.error_code, &None, needed, || "describe quorum".to_owned())?;
        let topic = response.topics.into_iter().next();
        let partition = topic
            .and_then(|topic| topic.partitions.into_iter().next())
            .ok_or_else(|| self.empty("DescribeQuorum"))?;
        self.check(partition.error_code, &None, || "describe quorum".to_owned())?;
        Ok(partition)
    }

    /// A topic with its eligible leader replicas, where the broker has DescribeTopicPartitions (KIP-966, 3.7 and
    /// later); else from Metadata, without them.
    pub fn describe_topic(&mut self, topic: &str) -> Result<TopicMetadata, WireError> {
        use kafka_protocol::protocol::Request;
        if self.versions().offered(DescribeTopicPartitionsRequest::KEY).is_none() {
            let metadata = self.metadata(Some(&[topic]))?;
            return metadata.topics.into_iter().next().ok_or_else(|| self.empty("Metadata"));
        }
        let mut described = TopicMetadata {
            name: topic.to_owned(),
            id: None,
            error: ErrorCode::NONE,
            partitions: Vec::new(),
        };
        let mut cursor = None;
        loop {
            let request = DescribeTopicPartitionsRequest::default()
                .with_topics(vec![TopicRequest::default().with_name(topic_name(topic))])
                .with_response_partition_limit(2000)
                .with_cursor(cursor);
            let response = self.call(&request)?;
            for answered in response.topics {
                described.error = ErrorCode(answered.error_code);
                described.id = metadata::known_id(*answered.topic_id.as_bytes());
                described.partitions.extend(answered.partitions.into_iter().map(PartitionMetadata::from));
            }
            cursor = response.next_cursor.map(|c| {
                kafka_protocol::messages::describe_topic_partitions_request::Cursor::default()
                    .with_topic_name(c.topic_name)
                    .with_partition_index(c.partition_index)
            });
            if cursor.is_none() {
                described.partitions.sort_by_key(|p| p.index);
                return Ok(described);
            }
        }
    }

    /// Makes the preferred replica lead every partition of `topic` where it does not yet (KIP-460).
    /// "Already so" is success.
    pub fn elect_preferred_leaders(
        &mut self,
        topic: &str,
        partitions: &[i32],
        timeout: Duration,
    ) -> Result<(), WireError> {
        self.elect_leaders(topic, partitions, Election::Preferred, timeout).map(drop)
    }

    /// Makes any replica that is there lead the partitions of `topic` that have no leader, whether it is in sync or not (KIP-460).
    /// Gives those where that was done: for a partition that has a leader it is "not needed".
    pub fn elect_leaders_unclean(
        &mut self,
        topic: &str,
        partitions: &[i32],
        timeout: Duration,
    ) -> Result<BTreeSet<i32>, WireError> {
        self.elect_leaders(topic, partitions, Election::Unclean, timeout)
    }

    fn elect_leaders(
        &mut self,
        topic: &str,
        partitions: &[i32],
        election: Election,
        timeout: Duration,
    ) -> Result<BTreeSet<i32>, WireError> {
        const ELECTION_NOT_NEEDED: i16 = 84;
        let request = ElectLeadersRequest::default()
            .with_election_type(election as i8)
            .with_timeout_ms(timeout.as_millis() as i32)
            .with_topic_partitions(Some(vec![
                TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(partitions.to_vec()),
            ]));
        let response = self.call(&request)?;
        let needed = Permission::on_cluster(Operation::Alter);
        self.check_permitted(response.error_code, &None, needed, || {
            format!("elect {} leaders of {topic}", election.name())
        })?;
        let mut elected = BTreeSet::new();
        for result in response.replica_election_results.iter().flat_map(|t| &t.partition_result) {
            if result.error_code != ELECTION_NOT_NEEDED {
                self.check(result.error_code, &result.error_message, || {
                    format!("elect the {} leader of {topic}-{}", election.name(), result.partition_id)
                })?;
                elected.insert(result.partition_id);
            }
        }
        Ok(elected)
    }

    /// Where the part of a log ends that leaders up to `epoch` wrote, and a later leader's begins (KIP-101, KIP-320); `None` if the log
    /// holds nothing of theirs. Must be sent to the partition's leader.
    pub fn end_of_leader_epoch(
        &mut self,
        topic: &str,
        partition: i32,
        epoch: i32,
    ) -> Result<Option<i64>, WireError> {
        let wanted = OffsetForLeaderPartition::default().with_partition(partition).with_leader_epoch(epoch);
        let request = OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![
            OffsetForLeaderTopic::default().with_topic(topic_name(topic)).with_partitions(vec![wanted]),
        ]);
        let response = self.call(&request)?;
        let end = response.topics.iter().flat_map(|t| &t.partitions).next();
        let end = end.ok_or_else(|| self.empty("OffsetForLeaderEpoch"))?;
        let needed = Permission::on_topic(Operation::Describe, topic);
        self.check_permitted(end.error_code, &None, needed, || {
            format!("ask where leader epoch {epoch} of {topic}-{partition} ends")
        })?;
        Ok((end.end_offset >= 0).then_some(end.end_offset))
    }

    pub(crate) fn empty(&self, api: &str) -> WireError {
        WireError::Protocol { addr: self.addr().to_owned(), detail: format!("an empty {api} response") }
    }

    /// Sets the password of a SCRAM user for one mechanism (KIP-554). Brokers apply it some time after the answer. Needs
    /// Alter on the cluster.
    pub fn set_scram_password(
        &mut self,
        user: &str,
        hash: ScramHash,
        password: &Secret,
        salt: &[u8],
    ) -> Result<(), WireError> {
        let upsertion = ScramCredentialUpsertion::default()
            .with_name(StrBytes::from_string(user.to_owned()))
            .with_mechanism(match hash {
                ScramHash::Sha256 => 1,
                ScramHash::Sha512 => 2,
            })
            .with_iterations(ITERATIONS_MIN as i32)
            .with_salt(Bytes::copy_from_slice(salt))
            .with_salted_password(hash.salted_password(password, salt, ITERATIONS_MIN).into());
        let request = AlterUserScramCredentialsRequest::default().with_upsertions(vec![upsertion]);
        let response = self.call(&request)?;
        let result = response.results.first().ok_or_else(|| self.empty("AlterUserScramCredentials"))?;
        let needed = Permission::on_cluster(Operation::Alter);
        self.check_permitted(result.error_code, &result.error_message, needed, || {
            format!("set the {} password of {user}", hash.mechanism())
        })
    }

    pub(crate) fn check(
        &self,
        code: i16,
        message: &Option<StrBytes>,
        what: impl FnOnce() -> String,
    ) -> Result<(), WireError> {
        ErrorCode(code).ok().map_err(|code| WireError::Kafka {
            what: format!("{} on {}", what(), self.addr()),
            code,
            message: message.as_ref().map(ToString::to_string),
        })
    }
}

impl From<kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponsePartition>
    for PartitionMetadata
{
    fn from(
        p: kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponsePartition,
    ) -> Self {
        let ids = |list: Vec<BrokerId>| list.into_iter().map(|b| b.0).collect();
        PartitionMetadata {
            index: p.partition_index,
            error: ErrorCode(p.error_code),
            leader: metadata::known(p.leader_id.0),
            leader_epoch: p.leader_epoch,
            replicas: ids(p.replica_nodes),
            isr: ids(p.isr_nodes),
            elr: p.eligible_leader_replicas.map(ids),
            offline: ids(p.offline_replicas),
        }
    }
}

/// Connects to the first of `bootstrap` that answers. The error is that of the last one tried. A refused log-in is not tried
/// on other brokers: they know the same users, and some lock those that fail too often.
pub fn connect_first(bootstrap: &[String], options: &ConnectOptions) -> Result<Connection, WireError> {
    let mut last = None;
    for addr in bootstrap {
        match Connection::connect(addr, options) {
            Ok(connection) => return Ok(connection),
            Err(refused @ WireError::Authentication { .. }) => return Err(refused),
            Err(e) => last = Some(e),
        }
    }
    Err(last.unwrap_or_else(|| WireError::Connect {
        addr: "(empty bootstrap list)".to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidInput, "no bootstrap servers given"),
    }))
}

/// Waits until every partition of `topic` has a leader that serves it, and all its replicas are in sync.
///
/// Metadata alone is not enough: right after CreateTopics it can name a leader that still answers
/// `NOT_LEADER_OR_FOLLOWER` for some milliseconds, so each leader is also asked for its end offset.
/// Returns the topic and the end offset (high watermark) of each partition.
pub fn wait_for_leaders(
    bootstrap: &[String],
    topic: &str,
    options: &ConnectOptions,
    limit: Duration,
) -> Result<(ClusterMetadata, BTreeMap<i32, i64>), WireError> {
    wait_for_leaders_without(&[], bootstrap, topic, options, limit)
}

/// As [`wait_for_leaders`]; replicas on the brokers `absent`, which are known to be down, need not be in sync.
pub fn wait_for_leaders_without(
    absent: &[i32],
    bootstrap: &[String],
    topic: &str,
    options: &ConnectOptions,
    limit: Duration,
) -> Result<(ClusterMetadata, BTreeMap<i32, i64>), WireError> {
    let begun = Instant::now();
    loop {
        let last = match leaders_and_ends(absent, bootstrap, topic, options) {
            Ok(Ready::Yes(metadata, ends)) => return Ok((metadata, ends)),
            Ok(Ready::NotYet(what)) => what,
            Err(e) if e.is_retriable() => e.to_string(),
            Err(e) => return Err(e),
        };
        if begun.elapsed() >= limit {
            return Err(WireError::Deadline {
                what: format!("every partition of {topic} led and fully in sync"),
                waited_ms: begun.elapsed().as_millis() as u64,
                last,
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

enum Ready {
    Yes(ClusterMetadata, BTreeMap<i32, i64>),
    NotYet(String),
}

fn leaders_and_ends(
    absent: &[i32],
    bootstrap: &[String],
    topic: &str,
    options: &ConnectOptions,
) -> Result<Ready, WireError> {
    let mut connection = connect_first(bootstrap, options)?;
    let metadata = connection.metadata(Some(&[topic]))?;
    if let Some(refused) = metadata.topic(topic).filter(|t| t.error.is_authorization_failure()) {
        let needed = Permission::on_topic(Operation::Describe, topic);
        connection.check_permitted(refused.error.0, &None, needed, || format!("describe topic {topic}"))?;
    }
    let Some(found) = metadata.topic(topic).filter(|t| t.error.is_ok() && !t.partitions.is_empty()) else {
        return Ok(Ready::NotYet("the topic is not in metadata".to_owned()));
    };
    let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for partition in &found.partitions {
        let mut present = partition.replicas.iter().filter(|replica| !absent.contains(replica));
        let in_sync = present.all(|replica| partition.isr.contains(replica));
        match partition.leader {
            Some(leader) if in_sync => {
                by_leader.entry(leader).or_default().push(partition.index);
            }
            leader => {
                return Ok(Ready::NotYet(format!(
                    "{topic}-{}: leader {leader:?}, ISR {:?} of {:?}",
                    partition.index, partition.isr, partition.replicas
                )));
            }
        }
    }
    let addresses = metadata.addresses();
    let mut ends = BTreeMap::new();
    for (leader, partitions) in by_leader {
        let Some(addr) = addresses.get(&leader) else {
            return Ok(Ready::NotYet(format!("leader {leader} is not among the brokers")));
        };
        ends.extend(Connection::connect(addr, options)?.list_offsets(
            topic,
            &partitions,
            OffsetSpec::Latest,
        )?);
    }
    Ok(Ready::Yes(metadata, ends))
}
