//! Produce and InitProducerId requests of one producer: made, answered, lost.

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::admin::ProducerIdentity;
use crate::channel::{Outgoing, Pending};

/// What a request of a producer was for.
#[derive(Debug)]
pub(super) enum Sent {
    /// (partition, batch id) of every batch in it.
    Produce(Vec<(usize, u64)>),
    Identity,
}

/// Topics are named up to version 12; from 13 on they go by id (KIP-516), which gauntlet does not need.
const PRODUCE_VERSION_CAP: i16 = 12;
const INIT_PRODUCER_ID_VERSION_CAP: i16 = 4;

impl<W: Workload> Producer<W> {
    /// Sends one request with at most one batch per partition. `false` if there was nothing to send.
    pub(super) fn send_request(&mut self, node: i32, turn: Turn<'_>) -> bool {
        let (count, first) = (self.queues.len(), self.first_partition);
        let mut batches = Vec::new();
        let mut data = Vec::new();
        let mut bytes = 0;
        for partition in (0..count).map(|i| (i + first) % count) {
            if self.links.leadership(partition).leader != Some(node) {
                continue;
            }
            if self.queues[partition].next_to_send(node, turn.now_ns).is_none() {
                self.build(partition, turn);
            }
            let Some((id, sealed)) = self.queues[partition].next_to_send(node, turn.now_ns) else { continue };
            let (size, records) = (sealed.bytes().len(), sealed.count());
            if bytes + size > self.config.request_bytes && !data.is_empty() {
                break;
            }
            bytes += size;
            data.push(
                PartitionProduceData::default()
                    .with_index(partition as i32)
                    .with_records(Some(sealed.bytes().clone())),
            );
            if self.queues[partition].sent(id, node) {
                self.stats.records_sent += u64::from(records);
            }
            batches.push((partition, id));
        }
        if batches.is_empty() {
            return false;
        }
        self.transmit(node, data, batches, turn.now_ns);
        true
    }

    fn transmit(
        &mut self,
        node: i32,
        data: Vec<PartitionProduceData>,
        batches: Vec<(usize, u64)>,
        now_ns: u64,
    ) {
        let version = self
            .links
            .peer(node)
            .map(|(versions, addr)| versions.pick::<ProduceRequest>(PRODUCE_VERSION_CAP, addr));
        let Some(Ok(version)) = version else {
            // The connection is gone, or is to a broker from before 0.11: it never carried these batches.
            let why =
                version.and_then(Result::err).map_or_else(|| "not connected".to_owned(), |e| e.to_string());
            self.events.push(LinkEvent::Lost(node, vec![Pending::unsent(Sent::Produce(batches))], why));
            return;
        };
        let acks = match self.config.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        };
        let whole: Vec<Bytes> = data.iter().filter_map(|partition| partition.records.clone()).collect();
        let topic = TopicName(StrBytes::from_string(self.config.topic.clone()));
        let request = ProduceRequest::default()
            .with_acks(acks)
            .with_timeout_ms(self.links.config().request_timeout.as_millis() as i32)
            .with_topic_data(vec![TopicProduceData::default().with_name(topic).with_partition_data(data)]);
        self.stats.requests += 1;
        let answered = self.config.acks != Acks::None;
        self.links.send(
            node,
            Outgoing::new(&request, version, Sent::Produce(batches), answered).carrying(&whole),
            now_ns,
            &mut self.events,
        );
    }

    /// Asks for a producer id, if any partition needs one.
    pub(super) fn ask_identity(&mut self, now_ns: u64) {
        if self.identity_asked
            || self.identity_retry_ns > now_ns
            || !self.queues.iter().any(PartitionQueue::needs_identity)
        {
            return;
        }
        let Some(node) = self.links.any_ready() else { return };
        let Some(Ok(version)) = self.links.peer(node).map(|(versions, addr)| {
            versions.pick::<InitProducerIdRequest>(INIT_PRODUCER_ID_VERSION_CAP, addr)
        }) else {
            return;
        };
        let request =
            InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
        self.identity_asked = true;
        self.links.send(
            node,
            Outgoing::new(&request, version, Sent::Identity, true),
            now_ns,
            &mut self.events,
        );
    }

    pub(super) fn handle_events(&mut self, turn: Turn<'_>) {
        while !self.events.is_empty() {
            for event in std::mem::take(&mut self.events) {
                match event {
                    LinkEvent::Answer(node, pending, frame) => self.answer(node, pending, frame, turn),
                    LinkEvent::Written(pending) => self.written(pending, turn),
                    LinkEvent::Lost(node, requests, why) => self.lost(node, requests, why, turn),
                    LinkEvent::Metadata => {}
                }
            }
        }
    }

    fn answer(&mut self, node: i32, pending: Pending<Sent>, frame: Bytes, turn: Turn<'_>) {
        let (kind, request) = pending.rekind();
        match kind {
            Sent::Identity => {
                self.identity_asked = false;
                let answer = request.decode::<InitProducerIdRequest>(frame);
                match answer {
                    Ok(r) if r.error_code == 0 => {
                        let identity = ProducerIdentity { id: r.producer_id.0, epoch: r.producer_epoch };
                        self.give_identity(identity);
                    }
                    // COORDINATOR_LOAD_IN_PROGRESS for a while after a broker's start; nothing else can be done
                    // about other codes either than to ask again until records expire.
                    Ok(r) => {
                        *self.stats.errors.entry(ErrorCode(r.error_code)).or_default() += 1;
                        self.retry_identity(turn.now_ns);
                    }
                    Err(_) => self.retry_identity(turn.now_ns),
                }
            }
            Sent::Produce(batches) => self.produce_answer(node, &request, &batches, frame, turn),
        }
    }

    /// A producer id serves all partitions that need one. It was just made, so none of them used it before.
    fn give_identity(&mut self, identity: ProducerIdentity) {
        for queue in &mut self.queues {
            queue.give_identity(identity);
        }
    }

    fn retry_identity(&mut self, now_ns: u64) {
        self.identity_retry_ns = now_ns + self.links.config().retry_backoff.as_nanos() as u64;
    }

    fn produce_answer(
        &mut self,
        node: i32,
        request: &Pending<()>,
        batches: &[(usize, u64)],
        frame: Bytes,
        turn: Turn<'_>,
    ) {
        let first_byte_ns = request.first_byte_ns;
        let response = match request.decode::<ProduceRequest>(frame) {
            Ok(response) => response,
            Err(_) => return self.unanswered(batches, first_byte_ns, turn),
        };
        self.note_throttle(node, response.throttle_time_ms, turn.now_ns);
        let mut left: Vec<(usize, u64)> = batches.to_vec();
        for answer in response.responses.iter().flat_map(|t| &t.partition_responses) {
            let Some(at) = left.iter().position(|(p, _)| *p as i32 == answer.index) else { continue };
            let (partition, id) = left.swap_remove(at);
            let code = ErrorCode(answer.error_code);
            if !code.is_ok() {
                *self.stats.errors.entry(code).or_default() += 1;
                if code.means_stale_metadata() {
                    self.links.want_metadata();
                    let told = &answer.current_leader;
                    self.links.learn_leader(partition, told.leader_id.0, told.leader_epoch);
                }
            }
            self.queues[partition].answered(
                id,
                code,
                answer.base_offset,
                first_byte_ns,
                turn.now_ns,
                &mut self.ended,
            );
            self.settle(partition, turn);
        }
        // An answer that leaves a partition out says nothing about it.
        self.unanswered(&left, first_byte_ns, turn);
    }

    fn note_throttle(&mut self, node: i32, throttle_ms: i32, now_ns: u64) {
        let throttle_ms = u32::try_from(throttle_ms).unwrap_or(0);
        if throttle_ms > 0 {
            // The broker expects the client to hold back (KIP-219); it mutes the connection for as long itself.
            self.throttled_until.insert(node, now_ns + u64::from(throttle_ms) * 1_000_000);
            self.stats.throttle_ms_max = self.stats.throttle_ms_max.max(throttle_ms);
            self.stats.throttle_ms_total += u64::from(throttle_ms);
        }
    }

    fn written(&mut self, pending: Pending<Sent>, turn: Turn<'_>) {
        let (kind, request) = pending.rekind();
        if let Sent::Produce(batches) = kind {
            for (partition, id) in batches {
                self.queues[partition].written(id, request.first_byte_ns, &mut self.ended);
                self.settle(partition, turn);
            }
        }
    }

    fn lost(&mut self, node: i32, requests: Vec<Pending<Sent>>, why: String, turn: Turn<'_>) {
        *self.stats.disconnects.entry(why).or_default() += 1;
        self.throttled_until.remove(&node);
        for pending in requests {
            let (kind, request) = pending.rekind();
            match kind {
                Sent::Identity => {
                    self.identity_asked = false;
                    self.retry_identity(turn.now_ns);
                }
                Sent::Produce(batches) => self.unanswered(&batches, request.first_byte_ns, turn),
            }
        }
    }

    fn unanswered(&mut self, batches: &[(usize, u64)], first_byte_ns: Option<u64>, turn: Turn<'_>) {
        for (partition, id) in batches {
            let queue = &mut self.queues[*partition];
            if self.config.acks == Acks::None && first_byte_ns.is_some() {
                queue.written(*id, first_byte_ns, &mut self.ended);
            } else {
                queue.connection_lost(*id, first_byte_ns, turn.now_ns, &mut self.ended);
            }
            self.settle(*partition, turn);
        }
    }
}
