//! Where replicas are, and how many partitions there are (KIP-455, KIP-195).

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, CreatePartitionsRequest, ListPartitionReassignmentsRequest,
};

use super::topic_name;
use crate::acl::{Operation, Permission};
use crate::code::ErrorCode;
use crate::connection::Connection;
use crate::error::WireError;

/// A move of replicas that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    /// All replicas, those that come and those that go included.
    pub replicas: Vec<i32>,
    /// Those that come.
    pub adding: Vec<i32>,
    /// Those that go.
    pub removing: Vec<i32>,
}

impl Connection {
    /// Has the partitions of `topic` moved to these replicas, the preferred leader first; `None` cancels a move that is under way,
    /// which is no error where there is none. The answer comes before the move is over, see [`Connection::reassignments`].
    /// Needs Alter on the cluster.
    pub fn alter_reassignments(
        &mut self,
        topic: &str,
        targets: &BTreeMap<i32, Option<Vec<i32>>>,
        timeout: Duration,
    ) -> Result<(), WireError> {
        let target = |(index, replicas): (&i32, &Option<Vec<i32>>)| {
            let replicas = replicas.as_ref().map(|ids| ids.iter().copied().map(BrokerId).collect());
            ReassignablePartition::default().with_partition_index(*index).with_replicas(replicas)
        };
        let request = AlterPartitionReassignmentsRequest::default()
            .with_timeout_ms(timeout.as_millis() as i32)
            .with_topics(vec![
                ReassignableTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(targets.iter().map(target).collect()),
            ]);
        let response = self.call(&request)?;
        let needed = || Permission::on_cluster(Operation::Alter);
        self.check_permitted(response.error_code, &response.error_message, needed(), || {
            format!("move replicas of {topic}")
        })?;
        for answered in response.responses.iter().flat_map(|topic| &topic.partitions) {
            let cancels = matches!(targets.get(&answered.partition_index), Some(None));
            if cancels && ErrorCode(answered.error_code) == ErrorCode::NO_REASSIGNMENT_IN_PROGRESS {
                continue;
            }
            self.check_permitted(answered.error_code, &answered.error_message, needed(), || {
                format!("move replicas of {topic}-{}", answered.partition_index)
            })?;
        }
        Ok(())
    }

    /// The moves that are under way of these partitions. Needs Describe on the cluster.
    pub fn reassignments(
        &mut self,
        topic: &str,
        partitions: &[i32],
        timeout: Duration,
    ) -> Result<BTreeMap<i32, Reassignment>, WireError> {
        let request = ListPartitionReassignmentsRequest::default()
            .with_timeout_ms(timeout.as_millis() as i32)
            .with_topics(Some(vec![
                ListPartitionReassignmentsTopics::default()
                    .with_name(topic_name(topic))
                    .with_partition_indexes(partitions.to_vec()),
            ]));
        let response = self.call(&request)?;
        let needed = Permission::on_cluster(Operation::Describe);
        self.check_permitted(response.error_code, &response.error_message, needed, || {
            format!("list the moves of replicas of {topic}")
        })?;
        let ids = |list: Vec<BrokerId>| list.into_iter().map(|id| id.0).collect();
        let ongoing = response.topics.into_iter().flat_map(|topic| topic.partitions);
        Ok(ongoing
            .map(|p| {
                let moved = Reassignment {
                    replicas: ids(p.replicas),
                    adding: ids(p.adding_replicas),
                    removing: ids(p.removing_replicas),
                };
                (p.partition_index, moved)
            })
            .collect())
    }

    /// Raises the number of partitions of `topic` to `count`; the controller decides where they are. Needs Alter on the topic.
    pub fn create_partitions(&mut self, topic: &str, count: i32, timeout: Duration) -> Result<(), WireError> {
        let request =
            CreatePartitionsRequest::default().with_timeout_ms(timeout.as_millis() as i32).with_topics(vec![
                CreatePartitionsTopic::default()
                    .with_name(topic_name(topic))
                    .with_count(count)
                    .with_assignments(None),
            ]);
        let response = self.call(&request)?;
        let result = response.results.first().ok_or_else(|| self.empty("CreatePartitions"))?;
        let needed = Permission::on_topic(Operation::Alter, topic);
        self.check_permitted(result.error_code, &result.error_message, needed, || {
            format!("raise the partitions of {topic} to {count}")
        })
    }
}
