//! A proxy between a client and the brokers that spoils single Produce requests.
//!
//! It has one port on 127.0.0.1 per broker, and puts these ports into Metadata responses, so that a client which
//! begins at the proxy stays on it. A [`Recipe`] decides about every Produce request. Per connection there are two
//! threads; answers leave in the order of their requests, as from a broker.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::{BufMut, Bytes, BytesMut};
use gauntlet_wire::ErrorCode;
use gauntlet_wire::batch::{BatchHeader, next_batch};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use libtest_mimic::Failed;

use crate::cluster::locked;

/// What becomes of one Produce request.
pub(crate) enum Fate {
    /// Nothing special.
    Forward,
    /// The broker appends and answers; `then` is called, the answer is thrown away and the client's socket closed.
    DropAnswer { then: Box<dyn FnOnce() + Send + Sync> },
    /// The broker appends; its answer and all later ones on this connection are thrown away.
    Mute,
    /// The broker appends and answers; the client is told this error instead.
    Lie(ErrorCode),
    /// The broker never sees it; the client is told this error.
    Reject(ErrorCode),
}

/// A Produce request on its way.
pub(crate) struct ProduceFrame {
    /// Its batches with their partitions.
    pub(crate) batches: Vec<(i32, BatchHeader)>,
}

/// Decides about every Produce request, in the order of their arrival.
pub(crate) type Recipe = Box<dyn FnMut(&ProduceFrame) -> Fate + Send>;

/// How often each fate was carried out to its end.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) dropped: AtomicU64,
    pub(crate) muted: AtomicU64,
    pub(crate) lied: AtomicU64,
    pub(crate) rejected: AtomicU64,
}

/// A running proxy. Dropping it closes all connections and ends its threads.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    acceptors: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Broker id -> its address.
    brokers: BTreeMap<i32, String>,
    /// Broker id -> our port in front of it.
    fronts: BTreeMap<i32, SocketAddr>,
    recipe: Mutex<Recipe>,
    counts: Counts,
    /// (epoch, base sequence) of every batch that came by, in order.
    seen: Mutex<Vec<(i16, i32)>>,
    stopping: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Begins to listen in front of each of `brokers` (id -> `host:port`).
    pub(crate) fn start(brokers: BTreeMap<i32, String>, recipe: Recipe) -> Result<Self, Failed> {
        let mut listeners = Vec::new();
        for id in brokers.keys() {
            listeners.push((*id, TcpListener::bind("127.0.0.1:0")?));
        }
        let mut fronts = BTreeMap::new();
        for (id, listener) in &listeners {
            fronts.insert(*id, listener.local_addr()?);
        }
        let shared = Arc::new(Shared {
            brokers,
            fronts,
            recipe: Mutex::new(recipe),
            counts: Counts::default(),
            seen: Mutex::default(),
            stopping: AtomicBool::new(false),
            sockets: Mutex::default(),
        });
        let accept = |(id, listener)| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.accept_all(id, &listener))
        };
        let acceptors = listeners.into_iter().map(accept).collect();
        Ok(Proxy { shared, acceptors })
    }

    /// Where a client has to begin.
    pub(crate) fn bootstrap(&self) -> Vec<String> {
        self.shared.fronts.values().map(SocketAddr::to_string).collect()
    }

    pub(crate) fn counts(&self) -> [u64; 4] {
        let Counts { dropped, muted, lied, rejected } = &self.shared.counts;
        [dropped, muted, lied, rejected].map(|count| count.load(Ordering::SeqCst))
    }

    /// (epoch, base sequence) of every batch that came by, in order.
    pub(crate) fn seen(&self) -> Vec<(i16, i32)> {
        locked(&self.shared.seen).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for front in self.shared.fronts.values() {
            // Wakes the acceptor.
            drop(TcpStream::connect(front));
        }
        for acceptor in self.acceptors.drain(..) {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    /// Serves one front until the proxy ends, then waits for its connections to end.
    fn accept_all(self: &Arc<Self>, node: i32, listener: &TcpListener) {
        let mut connections = Vec::new();
        while let Ok((client, _)) = listener.accept() {
            if self.stopping.load(Ordering::SeqCst) {
                break;
            }
            // A broker that is down: the client's socket is closed, which is what it would see without us.
            let Ok(broker) = TcpStream::connect(&self.brokers[&node]) else { continue };
            let Ok(link) = Link::new(client, broker) else { continue };
            locked(&self.sockets).extend(link.try_clone().into_iter().flat_map(|l| [l.client, l.broker]));
            connections.extend(self.serve(link));
        }
        for socket in locked(&self.sockets).drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        for connection in connections {
            let _ = connection.join();
        }
    }

    fn serve(self: &Arc<Self>, link: Link) -> Vec<JoinHandle<()>> {
        let Ok(other) = link.try_clone() else { return Vec::new() };
        let (sender, receiver) = mpsc::channel();
        let (requests, answers) = (Arc::clone(self), Arc::clone(self));
        vec![
            std::thread::spawn(move || {
                let _ = requests.carry_requests(&link, &sender);
                link.close();
            }),
            std::thread::spawn(move || {
                let _ = answers.carry_answers(&other, &receiver);
                other.close();
            }),
        ]
    }

    fn carry_requests(&self, link: &Link, pending: &Sender<Pending>) -> io::Result<()> {
        loop {
            let frame = read_frame(&link.client)?;
            let asked = self.judge(&frame)?;
            let forward = !matches!(asked, Some(Pending { fate: Fate::Reject(_), .. }));
            if let Some(asked) = asked {
                pending.send(asked).map_err(io::Error::other)?;
            }
            if forward {
                write_frame(&link.broker, &frame)?;
            }
        }
    }

    /// What is to be done with the answer to this request; `None` if there will be none (acks=0).
    fn judge(&self, frame: &Bytes) -> io::Result<Option<Pending>> {
        let (key, version) = match frame.first_chunk() {
            Some([k0, k1, v0, v1]) => (i16::from_be_bytes([*k0, *k1]), i16::from_be_bytes([*v0, *v1])),
            None => return Err(io::Error::other("a request without a header")),
        };
        let mut pending = Pending { key, version, fate: Fate::Forward, produce: None, correlation: 0 };
        if key != ApiKey::Produce as i16 {
            return Ok(Some(pending));
        }
        let mut body = frame.clone();
        let header_version = ProduceRequest::header_version(version);
        pending.correlation =
            RequestHeader::decode(&mut body, header_version).map_err(io::Error::other)?.correlation_id;
        let request = ProduceRequest::decode(&mut body, version).map_err(io::Error::other)?;
        let produce = ProduceFrame { batches: batches_of(&request) };
        locked(&self.seen).extend(produce.batches.iter().map(|(_, b)| (b.producer_epoch, b.base_sequence)));
        pending.fate = (locked(&self.recipe))(&produce);
        let answered = request.acks != 0;
        pending.produce = Some(request);
        Ok(answered.then_some(pending))
    }

    fn carry_answers(&self, link: &Link, pending: &Receiver<Pending>) -> io::Result<()> {
        let mut muted = false;
        while let Ok(asked) = pending.recv() {
            let count = |count: &AtomicU64| count.fetch_add(1, Ordering::SeqCst);
            let answer = match asked.fate {
                Fate::Forward if asked.key == ApiKey::Metadata as i16 => {
                    self.with_fronts(read_frame(&link.broker)?, asked.version)?
                }
                Fate::Forward => read_frame(&link.broker)?,
                Fate::DropAnswer { then } => {
                    read_frame(&link.broker)?;
                    then();
                    count(&self.counts.dropped);
                    return Ok(());
                }
                Fate::Mute => {
                    muted = true;
                    count(&self.counts.muted);
                    read_frame(&link.broker)?
                }
                Fate::Lie(code) => {
                    read_frame(&link.broker)?;
                    count(&self.counts.lied);
                    asked.refusal(code)?
                }
                Fate::Reject(code) => {
                    count(&self.counts.rejected);
                    asked.refusal(code)?
                }
            };
            if !muted {
                write_frame(&link.client, &answer)?;
            }
        }
        Ok(())
    }

    /// A Metadata response with our ports instead of the brokers'.
    fn with_fronts(&self, mut frame: Bytes, version: i16) -> io::Result<Bytes> {
        let header_version = MetadataResponse::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header_version).map_err(io::Error::other)?;
        let mut response = MetadataResponse::decode(&mut frame, version).map_err(io::Error::other)?;
        for broker in &mut response.brokers {
            let front =
                self.fronts.get(&broker.node_id.0).ok_or_else(|| io::Error::other("a strange broker"))?;
            broker.host = StrBytes::from_string(front.ip().to_string());
            broker.port = i32::from(front.port());
        }
        encode_answer(&header, &response, version)
    }
}

/// A request whose answer is due.
struct Pending {
    key: i16,
    version: i16,
    correlation: i32,
    produce: Option<ProduceRequest>,
    fate: Fate,
}

impl Pending {
    /// An answer to this Produce request that refuses every batch in it.
    fn refusal(&self, code: ErrorCode) -> io::Result<Bytes> {
        let topics = self.produce.iter().flat_map(|request| &request.topic_data);
        let responses = topics.map(|topic| {
            let partitions = topic.partition_data.iter().map(|data| {
                PartitionProduceResponse::default()
                    .with_index(data.index)
                    .with_error_code(code.0)
                    .with_base_offset(-1)
            });
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(partitions.collect())
        });
        let response = ProduceResponse::default().with_responses(responses.collect());
        encode_answer(
            &ResponseHeader::default().with_correlation_id(self.correlation),
            &response,
            self.version,
        )
    }
}

fn encode_answer<M: Encodable + HeaderVersion>(
    header: &ResponseHeader,
    message: &M,
    version: i16,
) -> io::Result<Bytes> {
    let mut out = BytesMut::new();
    header.encode(&mut out, M::header_version(version)).map_err(io::Error::other)?;
    message.encode(&mut out, version).map_err(io::Error::other)?;
    Ok(out.freeze())
}

fn batches_of(request: &ProduceRequest) -> Vec<(i32, BatchHeader)> {
    let mut batches = Vec::new();
    for data in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
        let records = data.records.as_deref().unwrap_or_default();
        if let Ok(Some((header, _))) = next_batch(records) {
            batches.push((data.index, header));
        }
    }
    batches
}

/// The two sockets of one connection.
struct Link {
    client: TcpStream,
    broker: TcpStream,
}

impl Link {
    fn new(client: TcpStream, broker: TcpStream) -> io::Result<Self> {
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        Ok(Link { client, broker })
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Link { client: self.client.try_clone()?, broker: self.broker.try_clone()? })
    }

    /// Ends the connection on both sides, which also ends the other thread.
    fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.broker.shutdown(Shutdown::Both);
    }
}

fn read_frame(mut stream: &TcpStream) -> io::Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame.into())
}

fn write_frame(mut stream: &TcpStream, frame: &[u8]) -> io::Result<()> {
    let mut out = BytesMut::with_capacity(4 + frame.len());
    out.put_u32(frame.len() as u32);
    out.put_slice(frame);
    stream.write_all(&out)
}
