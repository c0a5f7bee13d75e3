//! A broker that keeps nothing: it answers whoever writes to it that all is well. What a producer costs against it is what the
//! producer costs, and nothing else.
//!
//! It runs in the producer's process, on threads of its own, and is spoken to over loopback TCP as a broker is. Bytes are read whole
//! and thrown away; the requests around them are decoded, so that a producer which writes nonsense is told so.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use gauntlet_wire::batch::next_batch;
use gauntlet_wire::codec::Codec;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, InitProducerIdResponse, MetadataResponse, ProduceRequest,
    ProduceResponse, ProducerId, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::write::{WritePlan, write};
use super::{Cost, ProbeError};
use crate::units::Bytes as Size;

const TOPIC: &str = "null";
const NODE: BrokerId = BrokerId(1);
/// As many as a trial's topic has.
const PARTITIONS: u32 = 12;
/// Larger requests are no requests.
const REQUEST_BYTES_MAX: usize = 64 << 20;
/// What it speaks. Topics go by name in all of these.
const VERSIONS: [(ApiKey, i16, i16); 4] = [
    (ApiKey::ApiVersions, 0, 0),
    (ApiKey::Metadata, 4, 9),
    (ApiKey::InitProducerId, 2, 4),
    (ApiKey::Produce, 7, 9),
];

/// Writes so many records to a sink of its own.
///
/// # Errors
/// Not all was taken.
pub fn measure(size: Size, codec: Codec, records: u64, batch_bytes: usize) -> Result<Cost, ProbeError> {
    let sink = Sink::start()?;
    let cost = write(&WritePlan {
        bootstrap: vec![sink.addr.to_string()],
        topic: TOPIC.to_owned(),
        partitions: PARTITIONS,
        run: 1,
        size,
        codec,
        records,
        batch_bytes,
        linger: Duration::ZERO,
        limit: Duration::from_secs(300),
    })?;
    let taken = sink.taken.records.load(Ordering::Acquire);
    if taken != records {
        return Err(ProbeError::Incomplete(format!("the sink was given {taken} of {records} records")));
    }
    Ok(cost)
}

/// What a sink was given.
#[derive(Debug, Default)]
struct Taken {
    records: AtomicU64,
    stopped: AtomicBool,
}

/// A listening sink. Dropping it stops listening; connections end with their clients.
struct Sink {
    addr: SocketAddr,
    taken: Arc<Taken>,
}

impl Sink {
    fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let taken = Arc::new(Taken::default());
        let counted = Arc::clone(&taken);
        std::thread::Builder::new().name("null-accept".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                if counted.stopped.load(Ordering::Acquire) {
                    return;
                }
                let taken = Arc::clone(&counted);
                // A client that gets no thread sees a closed connection, and the probe fails with that.
                let _ = std::thread::Builder::new().name("null-serve".to_owned()).spawn(move || {
                    // Ends when the client closes, or was not understood; either way the client knows.
                    let _ = Served { addr, taken, ends: HashMap::new() }.serve(stream);
                });
            }
        })?;
        Ok(Sink { addr, taken })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.taken.stopped.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.addr);
    }
}

/// One connection.
struct Served {
    addr: SocketAddr,
    taken: Arc<Taken>,
    /// Where each partition would end.
    ends: HashMap<i32, i64>,
}

fn invalid(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Served {
    fn serve(mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length) as usize;
            if length > REQUEST_BYTES_MAX {
                return Err(invalid(format!("a request of {length} bytes")));
            }
            let mut frame = BytesMut::zeroed(length);
            stream.read_exact(&mut frame)?;
            let answer = self.answer(frame.freeze())?;
            stream.write_all(&answer)?;
        }
    }

    fn answer(&mut self, mut frame: Bytes) -> io::Result<BytesMut> {
        let head = frame.first_chunk::<4>().ok_or_else(|| invalid("a request without a header"))?;
        let (key, version) = (i16::from_be_bytes([head[0], head[1]]), i16::from_be_bytes([head[2], head[3]]));
        let spoken = VERSIONS.iter().find(|(known, ..)| *known as i16 == key);
        let Some(&(api, ..)) = spoken.filter(|(_, min, max)| (*min..=*max).contains(&version)) else {
            return Err(invalid(format!("a request with API key {key} version {version}")));
        };
        let header =
            RequestHeader::decode(&mut frame, api.request_header_version(version)).map_err(invalid)?;
        let mut out = BytesMut::new();
        out.put_i32(0);
        ResponseHeader::default()
            .with_correlation_id(header.correlation_id)
            .encode(&mut out, api.response_header_version(version))
            .map_err(invalid)?;
        let encoded = match api {
            ApiKey::ApiVersions => versions().encode(&mut out, version),
            ApiKey::Metadata => self.metadata().encode(&mut out, version),
            ApiKey::InitProducerId => {
                InitProducerIdResponse::default().with_producer_id(ProducerId(1)).encode(&mut out, version)
            }
            _ => {
                let request = ProduceRequest::decode(&mut frame, version).map_err(invalid)?;
                self.produced(&request)?.encode(&mut out, version)
            }
        };
        encoded.map_err(invalid)?;
        let length = (out.len() - 4) as u32;
        out[..4].copy_from_slice(&length.to_be_bytes());
        Ok(out)
    }

    fn metadata(&self) -> MetadataResponse {
        let broker = MetadataResponseBroker::default()
            .with_node_id(NODE)
            .with_host(StrBytes::from_string(self.addr.ip().to_string()))
            .with_port(i32::from(self.addr.port()));
        let partition = |index: u32| {
            MetadataResponsePartition::default()
                .with_partition_index(index as i32)
                .with_leader_id(NODE)
                .with_leader_epoch(0)
                .with_replica_nodes(vec![NODE])
                .with_isr_nodes(vec![NODE])
        };
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str(TOPIC))))
            .with_partitions((0..PARTITIONS).map(partition).collect());
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_controller_id(NODE)
            .with_topics(vec![topic])
    }

    /// Counts the records of a request by the headers of its batches.
    fn produced(&mut self, request: &ProduceRequest) -> io::Result<ProduceResponse> {
        let mut topics = Vec::new();
        for topic in &request.topic_data {
            let mut partitions = Vec::new();
            for partition in &topic.partition_data {
                let end = self.ends.entry(partition.index).or_default();
                let base_offset = *end;
                let mut data: &[u8] = partition.records.as_deref().unwrap_or_default();
                while let Some((header, length)) = next_batch(data).map_err(|e| invalid(e.to_string()))? {
                    let records = header.last_offset() - header.base_offset + 1;
                    *end += records;
                    self.taken.records.fetch_add(u64::try_from(records).unwrap_or(0), Ordering::AcqRel);
                    data = &data[length..];
                }
                partitions.push(
                    PartitionProduceResponse::default()
                        .with_index(partition.index)
                        .with_base_offset(base_offset),
                );
            }
            topics.push(
                TopicProduceResponse::default()
                    .with_name(topic.name.clone())
                    .with_partition_responses(partitions),
            );
        }
        Ok(ProduceResponse::default().with_responses(topics))
    }
}

fn versions() -> ApiVersionsResponse {
    let keys = VERSIONS.map(|(key, min, max)| {
        ApiVersion::default().with_api_key(key as i16).with_min_version(min).with_max_version(max)
    });
    ApiVersionsResponse::default().with_api_keys(keys.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_reaches_the_sink() {
        for codec in [Codec::None, Codec::Lz4] {
            let cost = measure(Size::new(100), codec, 20_000, 65_536).unwrap();
            assert_eq!(cost.records, 20_000);
            assert!(cost.cpu_s > 0.0 && cost.seconds > 0.0);
            assert!((cost.per_core_s() * cost.cpu_ns_per_record() / 1e9 - 1.0).abs() < 1e-9);
        }
    }
}
