//! Fetch and ListOffsets requests of one reader: made, answered, lost.

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::channel::{Outgoing, Pending};
use crate::links::backoff_ns;

/// What a request of a reader was for.
#[derive(Debug)]
pub(super) enum Asked {
    /// Records of these partitions, asked for at these leader epochs.
    Records(Vec<(usize, i32)>),
    /// Where the log of a partition begins.
    LogStart(usize),
    /// Where it ends.
    LogEnd(usize),
}

/// Topics are named up to version 12; from 13 on they go by id (KIP-516), which gauntlet does not need.
const FETCH_VERSION_CAP: i16 = 12;
/// From here on a fetch says the leader epoch of what was read last.
const DIVERGENCE_SINCE_VERSION: i16 = 12;
const LIST_OFFSETS_VERSION_CAP: i16 = 7;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

impl<S: RecordSink> Fetcher<S> {
    /// Asks every leader for the partitions that no request is under way for.
    pub(super) fn ask(&mut self, now_ns: u64) {
        let mut wanted: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (&partition, assigned) in &self.assigned {
            if assigned.asked || assigned.not_before_ns > now_ns {
                continue;
            }
            match self.links.leadership(partition).leader {
                Some(leader) => wanted.entry(leader).or_default().push(partition),
                None => self.links.want_metadata(),
            }
        }
        for (node, partitions) in wanted {
            if !self.links.usable(node, now_ns) {
                self.links.want_metadata();
                continue;
            }
            // One fetch at a time per broker: brokers answer them in order anyway.
            let throttled = self.throttled_until.get(&node).is_some_and(|until| *until > now_ns);
            if self.links.in_flight(node) > 0 || throttled {
                continue;
            }
            let (lost, fetched): (Vec<usize>, Vec<usize>) =
                partitions.into_iter().partition(|p| self.assigned.get(p).is_some_and(|a| a.out_of_range));
            for partition in lost {
                self.ask_offset(node, partition, Asked::LogStart(partition), EARLIEST, now_ns);
            }
            if !fetched.is_empty() {
                self.ask_records(node, fetched, now_ns);
            }
        }
    }

    fn ask_records(&mut self, node: i32, partitions: Vec<usize>, now_ns: u64) {
        let Some(Ok(version)) = self
            .links
            .peer(node)
            .map(|(versions, addr)| versions.pick::<FetchRequest>(FETCH_VERSION_CAP, addr))
        else {
            return;
        };
        let mut wanted = Vec::with_capacity(partitions.len());
        let mut asked = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let Some(assigned) = self.assigned.get_mut(&partition) else { continue };
            let epoch = self.links.leadership(partition).epoch;
            assigned.asked = true;
            asked.push((partition, epoch));
            // With it a leader sees that its log is another one below the position, and tells from where on (KIP-595). A
            // position that is inside of both logs would go on in the new one in silence.
            let last_epoch = if version >= DIVERGENCE_SINCE_VERSION { assigned.epoch } else { -1 };
            wanted.push(
                FetchPartition::default()
                    .with_partition(partition as i32)
                    // A stale leader that still believes in itself answers an error instead of old data (KIP-320).
                    .with_current_leader_epoch(epoch)
                    .with_last_fetched_epoch(last_epoch)
                    .with_fetch_offset(assigned.position)
                    .with_log_start_offset(-1)
                    .with_partition_max_bytes(self.config.partition_max_bytes as i32),
            );
        }
        let isolation = match self.config.isolation {
            Isolation::ReadUncommitted => 0,
            Isolation::ReadCommitted => 1,
        };
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(self.config.max_wait.as_millis() as i32)
            .with_min_bytes(self.config.min_bytes as i32)
            .with_max_bytes(self.config.max_bytes as i32)
            .with_isolation_level(isolation)
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![FetchTopic::default().with_topic(self.topic_name()).with_partitions(wanted)]);
        self.stats.requests += 1;
        self.links.send(
            node,
            Outgoing::new(&request, version, Asked::Records(asked), true),
            now_ns,
            &mut self.events,
        );
    }

    fn ask_offset(&mut self, node: i32, partition: usize, asked: Asked, timestamp: i64, now_ns: u64) {
        let Some(Ok(version)) = self
            .links
            .peer(node)
            .map(|(versions, addr)| versions.pick::<ListOffsetsRequest>(LIST_OFFSETS_VERSION_CAP, addr))
        else {
            return;
        };
        if let Some(assigned) = self.assigned.get_mut(&partition) {
            assigned.asked = true;
        }
        let wanted =
            ListOffsetsPartition::default().with_partition_index(partition as i32).with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(self.topic_name()).with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        self.links.send(node, Outgoing::new(&request, version, asked, true), now_ns, &mut self.events);
    }

    fn topic_name(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.config.topic.clone()))
    }

    pub(super) fn handle_events(&mut self, turn: Turn<'_>) {
        while !self.events.is_empty() {
            for event in std::mem::take(&mut self.events) {
                match event {
                    LinkEvent::Answer(node, pending, frame) => self.answer(node, pending, frame, turn),
                    LinkEvent::Lost(_, requests, why) => {
                        *self.stats.disconnects.entry(why).or_default() += 1;
                        for pending in requests {
                            self.retry_all(&pending.kind, turn.now_ns);
                        }
                    }
                    LinkEvent::Written(_) | LinkEvent::Metadata => {}
                }
            }
        }
    }

    fn answer(&mut self, node: i32, pending: Pending<Asked>, frame: Bytes, turn: Turn<'_>) {
        let (kind, request) = pending.rekind();
        let understood = match &kind {
            Asked::Records(asked) => match request.decode::<FetchRequest>(frame) {
                Ok(response) => {
                    self.note_throttle(node, response.throttle_time_ms, turn.now_ns);
                    for data in response.responses.iter().flat_map(|t| &t.partitions) {
                        let index = data.partition_index as usize;
                        // In the order in which they were asked for: ascending.
                        let found = asked.binary_search_by_key(&index, |(partition, _)| *partition);
                        let epoch = found.map_or(-1, |at| asked[at].1);
                        self.records(node, index, epoch, data, turn);
                    }
                    ErrorCode(response.error_code).is_ok()
                }
                Err(_) => false,
            },
            Asked::LogStart(partition) | Asked::LogEnd(partition) => request
                .decode::<ListOffsetsRequest>(frame)
                .ok()
                .and_then(|r| r.topics.first()?.partitions.first().cloned())
                .filter(|p| p.error_code == 0)
                .map(|p| self.offset_known(node, *partition, &kind, p.offset, turn.now_ns))
                .is_some(),
        };
        if understood {
            // A partition that the answer left out is simply asked for again.
            for partition in partitions_of(&kind) {
                if let Some(assigned) = self.assigned.get_mut(&partition)
                    && !matches!(kind, Asked::LogStart(_))
                {
                    assigned.asked = false;
                }
            }
        } else {
            self.retry_all(&kind, turn.now_ns);
        }
    }

    fn records(&mut self, node: i32, partition: usize, epoch: i32, data: &PartitionData, turn: Turn<'_>) {
        let code = ErrorCode(data.error_code);
        if code.is_ok() {
            if let Some(records) = &data.records {
                self.deliver(partition, records, turn);
            }
            let Some(assigned) = self.assigned.get_mut(&partition) else { return };
            assigned.failures = 0;
            let diverging = &data.diverging_epoch;
            if (0..assigned.position).contains(&diverging.end_offset) {
                let from = std::mem::replace(&mut assigned.position, diverging.end_offset);
                assigned.epoch = diverging.epoch;
                self.sink.jumped(partition, from, diverging.end_offset, Jump::Truncated);
                return;
            }
            let state = PartitionState {
                position: assigned.position,
                high_watermark: data.high_watermark,
                last_stable_offset: data.last_stable_offset,
                log_start_offset: data.log_start_offset,
                leader: node,
                leader_epoch: epoch,
            };
            self.sink.state(partition, &state);
            return;
        }
        *self.stats.errors.entry(code).or_default() += 1;
        if code.means_stale_metadata() {
            self.links.want_metadata();
            self.links.learn_leader(
                partition,
                data.current_leader.leader_id.0,
                data.current_leader.leader_epoch,
            );
        }
        if code == ErrorCode::OFFSET_OUT_OF_RANGE
            && let Some(assigned) = self.assigned.get_mut(&partition)
        {
            assigned.out_of_range = true;
        }
        self.retry(partition, turn.now_ns);
    }

    /// The position was out of range: continue where the log begins if that is above it, else where the log ends.
    fn offset_known(&mut self, node: i32, partition: usize, kind: &Asked, offset: i64, now_ns: u64) {
        let Some(assigned) = self.assigned.get_mut(&partition) else { return };
        let from = assigned.position;
        match kind {
            Asked::LogStart(_) if offset > from => {
                assigned.position = offset;
                assigned.epoch = -1;
                assigned.out_of_range = false;
                assigned.asked = false;
                self.sink.jumped(partition, from, offset, Jump::Expired);
            }
            Asked::LogStart(_) => {
                assigned.asked = false;
                self.ask_offset(node, partition, Asked::LogEnd(partition), LATEST, now_ns);
            }
            _ => {
                assigned.out_of_range = false;
                assigned.epoch = -1;
                if offset < from {
                    assigned.position = offset;
                    self.sink.jumped(partition, from, offset, Jump::Truncated);
                }
            }
        }
    }

    fn note_throttle(&mut self, node: i32, throttle_ms: i32, now_ns: u64) {
        if let Ok(throttle_ms @ 1..) = u64::try_from(throttle_ms) {
            self.throttled_until.insert(node, now_ns + throttle_ms * 1_000_000);
        }
    }

    fn retry_all(&mut self, kind: &Asked, now_ns: u64) {
        for partition in partitions_of(kind) {
            self.retry(partition, now_ns);
        }
    }

    fn retry(&mut self, partition: usize, now_ns: u64) {
        let config = self.links.config();
        let (first, max) = (config.retry_backoff, config.retry_backoff_max);
        if let Some(assigned) = self.assigned.get_mut(&partition) {
            assigned.asked = false;
            assigned.failures += 1;
            assigned.not_before_ns = now_ns + backoff_ns(first, max, assigned.failures);
        }
    }
}

fn partitions_of(kind: &Asked) -> Vec<usize> {
    match kind {
        Asked::Records(asked) => asked.iter().map(|(p, _)| *p).collect(),
        Asked::LogStart(partition) | Asked::LogEnd(partition) => vec![*partition],
    }
}
