//! Some batches of a log by a blocking call, for whoever looks into a topic. What reads under load is [`crate::fetcher`].

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::acl::{Operation, Permission};
use crate::code::ErrorCode;
use crate::connection::Connection;
use crate::error::WireError;

/// Topics are named up to version 12; from 13 on they go by id (KIP-516), which gauntlet does not need.
const FETCH_VERSION_CAP: i16 = 12;

/// Where to read in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchFrom {
    /// Partition index.
    pub partition: i32,
    /// First offset that is wanted.
    pub offset: i64,
    /// Leader epoch of the metadata that named the broker, so that a leader of old answers an error (KIP-320); -1: any.
    pub leader_epoch: i32,
}

/// How much one answer may hold, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of the answer. At least one batch is answered, whatever its size (KIP-74).
    pub bytes: usize,
    /// Bytes of each partition.
    pub partition_bytes: usize,
    /// How long a broker waits for a first byte.
    pub wait: Duration,
}

/// What a broker has answered about a partition.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Partition index.
    pub partition: i32,
    /// [`ErrorCode::NONE`], or why there are no records.
    pub error: ErrorCode,
    /// Where its log begins; -1 when unknown.
    pub log_start_offset: i64,
    /// Its high watermark; -1 when unknown.
    pub high_watermark: i64,
    /// Batches, the last one perhaps cut; for [`crate::batch::next_batch`]. The first may begin below the offset wanted.
    pub records: Bytes,
}

impl Connection {
    /// Reads up to the high watermark, outside of any group. Must be sent to the leader of each partition; a broker fills
    /// its answer in their order. Needs Read on the topic.
    pub fn fetch(
        &mut self,
        topic: &str,
        from: &[FetchFrom],
        limits: FetchLimits,
    ) -> Result<Vec<Fetched>, WireError> {
        let int = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
        let wanted = from.iter().map(|from| {
            FetchPartition::default()
                .with_partition(from.partition)
                .with_current_leader_epoch(from.leader_epoch)
                .with_fetch_offset(from.offset)
                .with_log_start_offset(-1)
                .with_partition_max_bytes(int(limits.partition_bytes))
        });
        let topic_name = TopicName(StrBytes::from_string(topic.to_owned()));
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(limits.wait.as_millis() as i32)
            .with_min_bytes(1)
            .with_max_bytes(int(limits.bytes))
            .with_isolation_level(0)
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![
                FetchTopic::default().with_topic(topic_name).with_partitions(wanted.collect()),
            ]);
        let response = self.call_capped(&request, FETCH_VERSION_CAP)?;
        self.check(response.error_code, &None, || format!("fetch from {topic}"))?;
        let mut fetched = Vec::with_capacity(from.len());
        for data in response.responses.into_iter().flat_map(|answered| answered.partitions) {
            let error = ErrorCode(data.error_code);
            if error.is_authorization_failure() {
                let needed = Permission::on_topic(Operation::Read, topic);
                self.check_permitted(data.error_code, &None, needed, || format!("read topic {topic}"))?;
            }
            fetched.push(Fetched {
                partition: data.partition_index,
                error,
                log_start_offset: data.log_start_offset,
                high_watermark: data.high_watermark,
                records: data.records.unwrap_or_default(),
            });
        }
        Ok(fetched)
    }
}
