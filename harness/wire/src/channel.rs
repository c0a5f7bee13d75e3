//! A non-blocking connection inside an event loop: frames out, frames in, and who waits for which answer.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::{Request, StrBytes};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::connection::ApiVersions;
use crate::frame::{self, MAX_RESPONSE_BYTES};

/// A request that was handed to a channel.
#[derive(Debug)]
pub(crate) struct Pending<K> {
    /// What the owner wants to know when the answer comes.
    pub(crate) kind: K,
    /// The version it was encoded in.
    pub(crate) version: i16,
    correlation: i32,
    /// When its first byte went to the kernel; `None` means that the broker cannot have seen any of it.
    pub(crate) first_byte_ns: Option<u64>,
    /// When the owner stops waiting.
    pub(crate) deadline_ns: u64,
    answered: bool,
}

/// A request to be sent.
pub(crate) struct Outgoing<'a, R, K> {
    pub(crate) request: &'a R,
    pub(crate) version: i16,
    pub(crate) kind: K,
    /// Whether the broker will answer it (it does not with acks=0).
    pub(crate) answered: bool,
    pub(crate) deadline_ns: u64,
}

impl<'a, R, K> Outgoing<'a, R, K> {
    pub(crate) fn new(request: &'a R, version: i16, kind: K, answered: bool) -> Self {
        Outgoing { request, version, kind, answered, deadline_ns: u64::MAX }
    }
}

/// What a channel has to tell after it was driven.
#[derive(Debug)]
pub(crate) enum ChannelEvent<K> {
    /// Connected, and the versions of the broker are known.
    Ready,
    /// The answer to a request.
    Answer(Pending<K>, Bytes),
    /// A request that gets no answer (acks=0) is with the kernel to its last byte.
    Written(Pending<K>),
}

enum Phase {
    Connecting,
    Greeting,
    Ready,
}

struct OutFrame {
    bytes: Bytes,
    /// Position of the request in the order of all requests of this channel.
    sequence: u64,
}

pub(crate) struct Channel<K> {
    stream: TcpStream,
    addr: String,
    client_id: StrBytes,
    phase: Phase,
    versions: ApiVersions,
    correlation: i32,
    outgoing: VecDeque<OutFrame>,
    pending: VecDeque<(u64, Pending<K>)>,
    next_sequence: u64,
    incoming: BytesMut,
    opened_ns: u64,
}

const GREETING_CORRELATION: i32 = 0;

impl<K> Channel<K> {
    /// Begins to connect. Resolving a name blocks; brokers advertise addresses that resolve locally.
    pub(crate) fn open(
        addr: &str,
        client_id: &StrBytes,
        registry: &Registry,
        token: Token,
        now_ns: u64,
    ) -> std::io::Result<Self> {
        let target: SocketAddr = addr
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| std::io::Error::new(ErrorKind::NotFound, "the name resolves to no address"))?;
        let mut stream = TcpStream::connect(target)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Channel {
            stream,
            addr: addr.to_owned(),
            client_id: client_id.clone(),
            phase: Phase::Connecting,
            versions: ApiVersions::default(),
            correlation: GREETING_CORRELATION,
            outgoing: VecDeque::new(),
            pending: VecDeque::new(),
            next_sequence: 0,
            incoming: BytesMut::new(),
            opened_ns: now_ns,
        })
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    pub(crate) fn versions(&self) -> &ApiVersions {
        &self.versions
    }

    /// Requests that still wait for their answer (or, without one, for their last byte to be written).
    pub(crate) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// The earliest moment at which something on this channel has waited too long.
    pub(crate) fn deadline_ns(&self, setup_timeout_ns: u64) -> Option<u64> {
        if !self.is_ready() {
            return Some(self.opened_ns + setup_timeout_ns);
        }
        self.pending.iter().map(|(_, p)| p.deadline_ns).min()
    }

    /// Encodes and queues a request, and writes as much as the socket takes.
    pub(crate) fn send<R: Request>(
        &mut self,
        outgoing: Outgoing<'_, R, K>,
        now_ns: u64,
        events: &mut Vec<ChannelEvent<K>>,
    ) -> Result<(), String> {
        let Outgoing { request, version, kind, answered, deadline_ns } = outgoing;
        self.correlation = self.correlation.wrapping_add(1);
        // A header is a few dozen bytes. Without room from the start, batches would be copied again and again.
        let size = request.compute_size(version).map_err(|e| e.to_string())?;
        let mut bytes = BytesMut::with_capacity(size + 64 + self.client_id.len());
        frame::encode_request(&mut bytes, &self.client_id, self.correlation, version, request)?;
        let pending = Pending {
            kind,
            version,
            correlation: self.correlation,
            first_byte_ns: None,
            deadline_ns,
            answered,
        };
        self.pending.push_back((self.next_sequence, pending));
        self.outgoing.push_back(OutFrame { bytes: bytes.freeze(), sequence: self.next_sequence });
        self.next_sequence += 1;
        self.flush(now_ns, events)
    }

    /// Reacts to readiness. An `Err` says why the channel is dead; its pending requests are then taken by
    /// [`Channel::into_pending`].
    pub(crate) fn drive(
        &mut self,
        now_ns: u64,
        scratch: &mut [u8],
        events: &mut Vec<ChannelEvent<K>>,
    ) -> Result<(), String> {
        if matches!(self.phase, Phase::Connecting) && !self.finish_connecting()? {
            return Ok(());
        }
        self.flush(now_ns, events)?;
        self.receive(scratch, events)
    }

    /// The requests that were not answered, oldest first.
    pub(crate) fn into_pending(mut self, registry: &Registry) -> impl Iterator<Item = Pending<K>> {
        // The socket is closed right after; a failure to deregister changes nothing.
        let _ = registry.deregister(&mut self.stream);
        self.pending.into_iter().map(|(_, pending)| pending)
    }

    fn finish_connecting(&mut self) -> Result<bool, String> {
        if let Some(error) = self.stream.take_error().map_err(|e| e.to_string())? {
            return Err(error.to_string());
        }
        match self.stream.peer_addr() {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotConnected => return Ok(false),
            Err(e) => return Err(e.to_string()),
        }
        self.stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let mut bytes = BytesMut::new();
        let greeting = ApiVersionsRequest::default();
        frame::encode_request(&mut bytes, &self.client_id, GREETING_CORRELATION, 0, &greeting)?;
        self.outgoing.push_front(OutFrame { bytes: bytes.freeze(), sequence: u64::MAX });
        self.phase = Phase::Greeting;
        Ok(true)
    }

    fn flush(&mut self, now_ns: u64, events: &mut Vec<ChannelEvent<K>>) -> Result<(), String> {
        if matches!(self.phase, Phase::Connecting) {
            return Ok(());
        }
        while let Some(front) = self.outgoing.front_mut() {
            match self.stream.write(&front.bytes) {
                Ok(0) => return Err("the connection was closed".to_owned()),
                Ok(written) => {
                    let sequence = front.sequence;
                    front.bytes.advance(written);
                    let done = front.bytes.is_empty();
                    if let Some((_, pending)) = self.pending.iter_mut().find(|(s, _)| *s == sequence) {
                        pending.first_byte_ns.get_or_insert(now_ns);
                    }
                    if done {
                        self.outgoing.pop_front();
                        self.finish_unanswered(sequence, events);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(())
    }

    fn finish_unanswered(&mut self, sequence: u64, events: &mut Vec<ChannelEvent<K>>) {
        let at = self.pending.iter().position(|(s, p)| *s == sequence && !p.answered);
        if let Some((_, pending)) = at.and_then(|at| self.pending.remove(at)) {
            events.push(ChannelEvent::Written(pending));
        }
    }

    fn receive(&mut self, scratch: &mut [u8], events: &mut Vec<ChannelEvent<K>>) -> Result<(), String> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err("the broker closed the connection".to_owned()),
                Ok(read) => {
                    self.incoming.extend_from_slice(&scratch[..read]);
                    self.split_frames(events)?;
                    if read < scratch.len() {
                        // The socket is most likely empty; readiness is edge-triggered, so ask once more only if
                        // the buffer was filled. A byte that came meanwhile raises a new edge.
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    }

    fn split_frames(&mut self, events: &mut Vec<ChannelEvent<K>>) -> Result<(), String> {
        while let Some(length) = self.incoming.first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > MAX_RESPONSE_BYTES {
                return Err(format!("a response of {length} bytes"));
            }
            if self.incoming.len() < 4 + length {
                self.incoming.reserve(4 + length - self.incoming.len());
                return Ok(());
            }
            self.incoming.advance(4);
            let frame = self.incoming.split_to(length).freeze();
            self.accept(frame, events)?;
        }
        Ok(())
    }

    fn accept(&mut self, mut frame: Bytes, events: &mut Vec<ChannelEvent<K>>) -> Result<(), String> {
        if matches!(self.phase, Phase::Greeting) {
            let response = frame::decode_response::<ApiVersionsRequest>(&mut frame, GREETING_CORRELATION, 0)?;
            self.versions =
                ApiVersions::new(response.api_keys.iter().map(|k| (k.api_key, k.min_version, k.max_version)));
            self.phase = Phase::Ready;
            events.push(ChannelEvent::Ready);
            return Ok(());
        }
        // Brokers answer in the order of the requests.
        let at =
            self.pending.iter().position(|(_, p)| p.answered).ok_or("an answer that nothing asked for")?;
        let Some((_, pending)) = self.pending.remove(at) else { return Ok(()) };
        if frame.first_chunk::<4>().map(|c| i32::from_be_bytes(*c)) != Some(pending.correlation) {
            return Err(format!("an answer that is not to request {}", pending.correlation));
        }
        events.push(ChannelEvent::Answer(pending, frame));
        Ok(())
    }
}

impl<K> Pending<K> {
    /// Takes the kind out, so that it can be matched on and another put in its place.
    pub(crate) fn rekind(self) -> (K, Pending<()>) {
        let Pending { kind, version, correlation, first_byte_ns, deadline_ns, answered } = self;
        (kind, Pending { kind: (), version, correlation, first_byte_ns, deadline_ns, answered })
    }

    /// A request that was never handed to a channel.
    pub(crate) fn unsent(kind: K) -> Self {
        Pending { kind, version: 0, correlation: 0, first_byte_ns: None, deadline_ns: 0, answered: true }
    }

    /// The same request with another kind.
    pub(crate) fn with_kind<L>(self, kind: L) -> Pending<L> {
        let Pending { version, correlation, first_byte_ns, deadline_ns, answered, .. } = self;
        Pending { kind, version, correlation, first_byte_ns, deadline_ns, answered }
    }

    /// Decodes the answer to this request.
    pub(crate) fn decode<R: Request>(&self, mut frame: Bytes) -> Result<R::Response, String> {
        frame::decode_response::<R>(&mut frame, self.correlation, self.version)
    }
}
