//! A non-blocking connection inside an event loop: frames out, frames in, and who waits for which answer.
//!
//! Before its session ends, a channel logs in again by itself (KIP-368): behind the requests that are under way, whose
//! answers come first, as brokers answer in order. What is sent meanwhile is held back, because a broker takes nothing but
//! the log-in then, and follows in its order.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::protocol::{Request, StrBytes};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::connection::ApiVersions;
use crate::error::{Stage, broken};
use crate::frame;
use crate::security::Security;
use crate::security::greeting::{Greeted, Greeting, Session};
use crate::security::transport::Transport;

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
    /// What of it is large, and is not copied on its way.
    pub(crate) whole: &'a [Bytes],
}

impl<'a, R, K> Outgoing<'a, R, K> {
    pub(crate) fn new(request: &'a R, version: i16, kind: K, answered: bool) -> Self {
        Outgoing { request, version, kind, answered, deadline_ns: u64::MAX, whole: &[] }
    }

    /// The same, with batches that are not copied.
    pub(crate) fn carrying(self, whole: &'a [Bytes]) -> Self {
        Outgoing { whole, ..self }
    }
}

/// What a channel has to tell after it was driven.
#[derive(Debug)]
pub(crate) enum ChannelEvent<K> {
    /// Connected, and the versions of the broker are known.
    Ready,
    /// The answer to a request.
    Answer(Pending<K>, Bytes),
    /// A request that gets no answer (acks=0) is with the kernel to its last byte (under TLS: with rustls).
    Written(Pending<K>),
}

enum Phase {
    Connecting,
    Greeting(Box<Greeting>),
    Ready,
    /// Logging in again since then; requests are held back.
    Renewing(Box<Greeting>, u64),
}

struct OutFrame {
    /// What is left to be written.
    pieces: VecDeque<Bytes>,
    /// Position of the request in the order of all requests of this channel; [`GREETING`] for what no owner asked for.
    sequence: u64,
}

/// Pieces of a request that are written at once.
const SLICES_MAX: usize = 32;

impl OutFrame {
    fn greeting(bytes: Bytes) -> Self {
        OutFrame { pieces: [bytes].into(), sequence: GREETING }
    }

    /// What is to be written next.
    fn slices<'f, 's>(&'f self, slices: &'s mut [IoSlice<'f>]) -> &'s [IoSlice<'f>] {
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(&self.pieces) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        &slices[..count]
    }

    /// So many bytes were written.
    fn written(&mut self, mut count: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
    }
}

/// Who waits for the next answer.
enum Waiting<K> {
    /// The owner, for the request with this sequence.
    Owner(u64, Pending<K>),
    /// The greeting, when the session is renewed.
    Greeting,
}

pub(crate) struct Channel<K> {
    transport: Transport<TcpStream>,
    addr: String,
    client_id: StrBytes,
    security: Security,
    phase: Phase,
    versions: ApiVersions,
    /// When to log in again.
    renew_at_ns: Option<u64>,
    correlation: i32,
    outgoing: VecDeque<OutFrame>,
    /// In the order of answers.
    waiting: VecDeque<Waiting<K>>,
    /// Requests that follow when the session is renewed.
    held: VecDeque<(OutFrame, Pending<K>)>,
    next_sequence: u64,
    incoming: BytesMut,
    opened_ns: u64,
    served: bool,
}

const GREETING: u64 = u64::MAX;

impl<K> Channel<K> {
    /// Begins to connect. Resolving a name blocks; brokers advertise addresses that resolve locally.
    pub(crate) fn open(
        addr: &str,
        client_id: &StrBytes,
        security: &Security,
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
        let transport = Transport::over(stream, security, addr)
            .map_err(|failure| std::io::Error::new(ErrorKind::InvalidInput, failure.to_string()))?;
        Ok(Channel {
            transport,
            addr: addr.to_owned(),
            client_id: client_id.clone(),
            security: security.clone(),
            phase: Phase::Connecting,
            versions: ApiVersions::default(),
            renew_at_ns: None,
            correlation: 0,
            outgoing: VecDeque::new(),
            waiting: VecDeque::new(),
            held: VecDeque::new(),
            next_sequence: 0,
            incoming: BytesMut::new(),
            opened_ns: now_ns,
            served: false,
        })
    }

    /// Whether requests can be handed over.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Renewing(..))
    }

    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    pub(crate) fn versions(&self) -> &ApiVersions {
        &self.versions
    }

    /// Requests that still wait for their answer (or, without one, for their last byte to be written).
    pub(crate) fn in_flight(&self) -> usize {
        self.waiting.len() + self.held.len()
    }

    /// The earliest moment at which something on this channel has waited too long.
    pub(crate) fn deadline_ns(&self, setup_timeout_ns: u64) -> Option<u64> {
        let greeting = match &self.phase {
            Phase::Connecting | Phase::Greeting(_) => return Some(self.opened_ns + setup_timeout_ns),
            Phase::Renewing(_, since_ns) => Some(since_ns + setup_timeout_ns),
            Phase::Ready => None,
        };
        let waiting = self.waiting.iter().filter_map(|w| match w {
            Waiting::Owner(_, pending) => Some(pending.deadline_ns),
            Waiting::Greeting => None,
        });
        waiting.chain(self.held.iter().map(|(_, pending)| pending.deadline_ns)).chain(greeting).min()
    }

    /// When [`Channel::renew`] has something to do.
    pub(crate) fn renew_at_ns(&self) -> Option<u64> {
        self.renew_at_ns
    }

    /// Begins to log in again, if it is time.
    pub(crate) fn renew(&mut self, now_ns: u64, events: &mut Vec<ChannelEvent<K>>) -> Result<(), String> {
        let Some(login) = &self.security.login else { return Ok(()) };
        if self.renew_at_ns.is_none_or(|at| at > now_ns) {
            return Ok(());
        }
        let (greeting, frame) =
            Greeting::renew(&self.addr, &self.client_id, login, &self.versions).map_err(|e| e.to_string())?;
        self.renew_at_ns = None;
        self.phase = Phase::Renewing(Box::new(greeting), now_ns);
        self.waiting.push_back(Waiting::Greeting);
        self.outgoing.push_back(OutFrame::greeting(frame));
        self.flush(now_ns, events)
    }

    /// Encodes and queues a request, and writes as much as the socket takes.
    pub(crate) fn send<R: Request>(
        &mut self,
        outgoing: Outgoing<'_, R, K>,
        now_ns: u64,
        events: &mut Vec<ChannelEvent<K>>,
    ) -> Result<(), String> {
        let Outgoing { request, version, kind, answered, deadline_ns, whole } = outgoing;
        self.correlation = self.correlation.wrapping_add(1);
        let pieces = frame::gather_request(&self.client_id, self.correlation, version, request, whole)?;
        let pending = Pending {
            kind,
            version,
            correlation: self.correlation,
            first_byte_ns: None,
            deadline_ns,
            answered,
        };
        let frame = OutFrame { pieces, sequence: self.next_sequence };
        self.next_sequence += 1;
        if matches!(self.phase, Phase::Renewing(..)) {
            self.held.push_back((frame, pending));
            return Ok(());
        }
        self.queue(frame, pending);
        self.flush(now_ns, events)
    }

    fn queue(&mut self, frame: OutFrame, pending: Pending<K>) {
        self.waiting.push_back(Waiting::Owner(frame.sequence, pending));
        self.outgoing.push_back(frame);
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
        self.receive(now_ns, scratch, events)
    }

    /// The requests that were not answered, oldest first.
    pub(crate) fn into_pending(mut self, registry: &Registry) -> impl Iterator<Item = Pending<K>> {
        // The socket is closed right after; a failure to deregister changes nothing.
        let _ = registry.deregister(self.transport.socket_mut());
        let waiting = self.waiting.into_iter().filter_map(|w| match w {
            Waiting::Owner(_, pending) => Some(pending),
            Waiting::Greeting => None,
        });
        waiting.chain(self.held.into_iter().map(|(_, pending)| pending))
    }

    fn finish_connecting(&mut self) -> Result<bool, String> {
        let socket = self.transport.socket();
        if let Some(error) = socket.take_error().map_err(|e| e.to_string())? {
            return Err(error.to_string());
        }
        match socket.peer_addr() {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotConnected => return Ok(false),
            Err(e) => return Err(e.to_string()),
        }
        socket.set_nodelay(true).map_err(|e| e.to_string())?;
        let login = self.security.login.clone();
        let (greeting, frame) =
            Greeting::begin(&self.addr, &self.client_id, login).map_err(|e| e.to_string())?;
        self.outgoing.push_front(OutFrame::greeting(frame));
        self.phase = Phase::Greeting(Box::new(greeting));
        Ok(true)
    }

    fn flush(&mut self, now_ns: u64, events: &mut Vec<ChannelEvent<K>>) -> Result<(), String> {
        if matches!(self.phase, Phase::Connecting) {
            return Ok(());
        }
        while let Some(front) = self.outgoing.front_mut() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let taken = self.transport.write_vectored(front.slices(&mut slices));
            match taken {
                Ok(0) => return Err("the connection was closed".to_owned()),
                Ok(written) => {
                    let sequence = front.sequence;
                    front.written(written);
                    let done = front.pieces.is_empty();
                    if let Some(pending) = self.request_mut(sequence) {
                        pending.first_byte_ns.get_or_insert(now_ns);
                    }
                    if done {
                        self.outgoing.pop_front();
                        self.finish_unanswered(sequence, events);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.broken(e)),
            }
        }
        match self.transport.flush() {
            Err(e) if e.kind() != ErrorKind::WouldBlock => Err(self.broken(e)),
            _ => Ok(()),
        }
    }

    fn request_mut(&mut self, sequence: u64) -> Option<&mut Pending<K>> {
        self.waiting.iter_mut().find_map(|w| match w {
            Waiting::Owner(of, pending) if *of == sequence => Some(pending),
            _ => None,
        })
    }

    fn finish_unanswered(&mut self, sequence: u64, events: &mut Vec<ChannelEvent<K>>) {
        let unanswered =
            |w: &Waiting<K>| matches!(w, Waiting::Owner(of, p) if *of == sequence && !p.answered);
        let at = self.waiting.iter().position(unanswered);
        if let Some(Waiting::Owner(_, pending)) = at.and_then(|at| self.waiting.remove(at)) {
            events.push(ChannelEvent::Written(pending));
        }
    }

    fn receive(
        &mut self,
        now_ns: u64,
        scratch: &mut [u8],
        events: &mut Vec<ChannelEvent<K>>,
    ) -> Result<(), String> {
        loop {
            match self.transport.read(scratch) {
                Ok(0) => return Err(self.broken(ErrorKind::UnexpectedEof.into())),
                Ok(read) => {
                    self.incoming.extend_from_slice(&scratch[..read]);
                    self.split_frames(now_ns, events)?;
                    if read < scratch.len() && self.transport.short_read_empties() {
                        // The socket is most likely empty; readiness is edge-triggered, so ask once more only if
                        // the buffer was filled. A byte that came meanwhile raises a new edge.
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.broken(e)),
            }
        }
    }

    fn split_frames(&mut self, now_ns: u64, events: &mut Vec<ChannelEvent<K>>) -> Result<(), String> {
        while let Some(prefix) = self.incoming.first_chunk::<4>() {
            let length = frame::response_length(*prefix)?;
            if self.incoming.len() < 4 + length {
                self.incoming.reserve(4 + length - self.incoming.len());
                return Ok(());
            }
            self.incoming.advance(4);
            let frame = self.incoming.split_to(length).freeze();
            self.accept(frame, now_ns, events)?;
        }
        Ok(())
    }

    fn accept(&mut self, frame: Bytes, now_ns: u64, events: &mut Vec<ChannelEvent<K>>) -> Result<(), String> {
        if let Phase::Greeting(greeting) = &mut self.phase {
            let greeted = greeting.hear(frame).map_err(|e| e.to_string())?;
            return self.greeted(greeted, now_ns, events);
        }
        // Brokers answer in the order of the requests.
        let next = |w: &Waiting<K>| match w {
            Waiting::Owner(_, pending) => pending.answered,
            Waiting::Greeting => true,
        };
        let at = self.waiting.iter().position(next).ok_or("an answer that nothing asked for")?;
        match self.waiting.remove(at) {
            Some(Waiting::Owner(_, pending)) => {
                if frame.first_chunk::<4>().map(|c| i32::from_be_bytes(*c)) != Some(pending.correlation) {
                    return Err(format!("an answer that is not to request {}", pending.correlation));
                }
                self.served = true;
                events.push(ChannelEvent::Answer(pending, frame));
                Ok(())
            }
            Some(Waiting::Greeting) => {
                let Phase::Renewing(greeting, _) = &mut self.phase else {
                    return Err("an answer that nothing asked for".to_owned());
                };
                let greeted = greeting.hear(frame).map_err(|e| e.to_string())?;
                if matches!(greeted, Greeted::Say(_)) {
                    self.waiting.push_back(Waiting::Greeting);
                }
                self.greeted(greeted, now_ns, events)
            }
            None => Ok(()),
        }
    }

    /// Goes on with a greeting, whether it is the first or a later one.
    fn greeted(
        &mut self,
        greeted: Greeted,
        now_ns: u64,
        events: &mut Vec<ChannelEvent<K>>,
    ) -> Result<(), String> {
        match greeted {
            Greeted::Say(frame) => self.outgoing.push_front(OutFrame::greeting(frame)),
            Greeted::Done(session) => self.begin_session(session, now_ns, events),
        }
        self.flush(now_ns, events)
    }

    fn begin_session(&mut self, session: Session, now_ns: u64, events: &mut Vec<ChannelEvent<K>>) {
        self.renew_at_ns = session.renew_after().map(|after| now_ns + after.as_nanos() as u64);
        self.versions = session.versions;
        if matches!(self.phase, Phase::Greeting(_)) {
            events.push(ChannelEvent::Ready);
        }
        self.phase = Phase::Ready;
        while let Some((frame, pending)) = self.held.pop_front() {
            self.queue(frame, pending);
        }
    }

    /// What it means that reading or writing has failed.
    fn broken(&self, error: std::io::Error) -> String {
        let stage = match &self.phase {
            _ if self.transport.is_handshaking() => Stage::TlsHandshake,
            Phase::Connecting | Phase::Greeting(_) if self.versions != ApiVersions::default() => Stage::InUse,
            Phase::Connecting | Phase::Greeting(_) if self.security.tls.is_some() => Stage::GreetingUnderTls,
            Phase::Connecting | Phase::Greeting(_) => Stage::Greeting,
            _ if !self.served && self.security.login.is_none() => Stage::FirstRequest,
            _ => Stage::InUse,
        };
        match (stage, error.kind()) {
            (Stage::InUse, ErrorKind::UnexpectedEof) => "the broker closed the connection".to_owned(),
            (Stage::InUse, _) => error.to_string(),
            _ => broken(&self.addr, stage, error).to_string(),
        }
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
