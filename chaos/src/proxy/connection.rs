//! One connection through the proxy: two sockets, and a pipe in each direction.
//!
//! Where no rule asks for anything, bytes go from one socket to the other through a buffer that all connections share, and are
//! queued only when the other socket takes no more. A delay or a limit queues them with the time at which they are due. What is
//! queued is bounded: beyond it nothing is read, the kernel's buffers fill up, and the sender waits, as in front of a real link.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};

use super::frames::{Calls, Frames, Kind, Way};
use super::rules::{Flow, Policy, RuleBook, RuleId};

/// Most bytes that one direction of a connection queues. At a latency of 100 ms that still is 160 MiB/s.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Pieces that one direction may take before others have their turn.
const TURN_PIECES: usize = 16;

/// A socket, and what the kernel has said about it: it tells only changes.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) stream: TcpStream,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

impl Side {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, readable: false, writable: false }
    }

    /// Makes closing it a reset (RST) instead of an orderly end: SO_LINGER of 0 s, socket(7).
    pub(super) fn reset_on_close(&self) {
        let now = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        // Fails only for a socket that is none. Its peer then sees an orderly end.
        let _ = setsockopt(&self.stream, sockopt::Linger, &now);
    }
}

/// Bytes under way.
#[derive(Debug)]
struct Piece {
    due_ns: u64,
    /// The API of the request or response that begins with it, if that was asked and is known.
    api: Option<i16>,
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) flow: Flow,
    /// The number that the next rule had when it was opened.
    next_rule: RuleId,
    policy: Policy,
    frames: Frames,
    queue: VecDeque<Piece>,
    queued_bytes: usize,
    /// When the last piece is due: later ones never overtake it.
    last_due_ns: u64,
    /// When the sender's end is due at the receiver, once the sender has ended.
    end_due_ns: Option<u64>,
    ended: bool,
}

/// What a pipe waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// News of its sockets or rules.
    News,
    /// That, or this time; CLOCK_MONOTONIC, nanoseconds.
    Until(u64),
    /// Nothing: others had to have their turn.
    Turn,
}

impl Waits {
    /// What both wait for.
    pub(super) fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Turn, _) | (_, Self::Turn) => Self::Turn,
            (Self::News, waits) | (waits, Self::News) => waits,
            (Self::Until(one), Self::Until(two)) => Self::Until(one.min(two)),
        }
    }
}

/// What pipes need besides their sockets.
pub(super) struct Means<'a> {
    pub(super) book: &'a mut RuleBook,
    pub(super) buffer: &'a mut [u8],
    /// What was asked on this connection.
    pub(super) calls: &'a mut Calls,
    pub(super) now_ns: u64,
    /// Numbers from 0 to below 1.
    pub(super) draw: &'a mut dyn FnMut() -> f64,
}

impl Pipe {
    pub(super) fn new(flow: Flow, way: Way, next_rule: RuleId) -> Self {
        Self {
            flow,
            next_rule,
            policy: Policy::default(),
            frames: Frames::new(way),
            queue: VecDeque::new(),
            queued_bytes: 0,
            last_due_ns: 0,
            end_due_ns: None,
            ended: false,
        }
    }

    /// Whether the sender has ended and the receiver knows.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether a rule asks for a reset of its connection; notes that it got it.
    pub(super) fn is_to_be_reset(&mut self, book: &mut RuleBook, now_ns: u64) -> bool {
        book.refresh(&mut self.policy, self.flow, self.next_rule);
        let resets = self.policy.resets(None);
        if resets {
            book.was_reset(&self.policy, None, now_ns);
        }
        resets
    }

    /// Whether a rule asks that nothing of it arrives any more, for good; notes that it is so.
    pub(super) fn is_lost(&mut self, book: &mut RuleBook, now_ns: u64) -> bool {
        book.refresh(&mut self.policy, self.flow, self.next_rule);
        let is_lost = self.policy.loses();
        if is_lost {
            book.was_lost(&self.policy, now_ns);
        }
        is_lost
    }

    /// Moves what can be moved now. An error is that of a socket: the connection is over.
    pub(super) fn advance(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        means: &mut Means<'_>,
    ) -> io::Result<Waits> {
        means.book.refresh(&mut self.policy, self.flow, self.next_rule);
        if self.policy.holds(None) {
            if !self.queue.is_empty() || has_news(from) {
                means.book.held(&self.policy, None, means.now_ns);
            }
            return Ok(Waits::News);
        }
        for _ in 0..TURN_PIECES {
            if let Some(waits) = self.write_due(to, means)? {
                // What is under way does not keep more from being sent after it, unless the queue is full.
                let more = self.take(from, to, means)?;
                return Ok(more.map_or(waits, |more| waits.sooner(more)));
            }
            match self.take(from, to, means)? {
                Some(Waits::Turn) => {}
                Some(waits) => return Ok(waits),
                None => return Ok(Waits::News),
            }
        }
        Ok(Waits::Turn)
    }

    /// Writes what is queued and due. Gives what the rest waits for, `None` if nothing is left.
    fn write_due(&mut self, to: &mut Side, means: &mut Means<'_>) -> io::Result<Option<Waits>> {
        let now_ns = means.now_ns;
        while let Some(piece) = self.queue.front_mut() {
            if piece.written == 0 && self.policy.holds(piece.api) {
                means.book.held(&self.policy, piece.api, now_ns);
                return Ok(Some(Waits::News));
            }
            if piece.due_ns > now_ns {
                return Ok(Some(Waits::Until(piece.due_ns)));
            }
            if !to.writable {
                return Ok(Some(Waits::News));
            }
            let written = write(to, &piece.bytes[piece.written..])?;
            piece.written += written;
            self.queued_bytes -= written;
            if piece.written == piece.bytes.len() {
                self.queue.pop_front();
            }
        }
        match self.end_due_ns {
            Some(due_ns) if due_ns > now_ns => Ok(Some(Waits::Until(due_ns))),
            Some(_) if !self.ended => {
                self.ended = true;
                // A receiver that is gone needs no end; reading from it says so.
                let _ = to.stream.shutdown(Shutdown::Write);
                Ok(None)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Takes one piece from the sender. [`Waits::Turn`]: there may be more; `None`: there is none now.
    fn take(&mut self, from: &mut Side, to: &mut Side, means: &mut Means<'_>) -> io::Result<Option<Waits>> {
        if !from.readable || self.end_due_ns.is_some() || self.queued_bytes >= QUEUE_BYTES_MAX {
            return Ok(None);
        }
        // What the receiver does not take stays with the sender; only what is under way by a rule is queued beyond that.
        if self.queue.front().is_some_and(|piece| piece.due_ns <= means.now_ns) {
            return Ok(None);
        }
        if let Some(at_ns) = means.book.room_at_ns(&self.policy, means.now_ns) {
            return Ok(Some(Waits::Until(at_ns)));
        }
        let most = means.buffer.len().min(self.policy.piece_bytes());
        let count = match from.stream.read(&mut means.buffer[..most]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                from.readable = false;
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Some(Waits::Turn)),
            Err(error) => return Err(error),
        };
        if count > 0 && self.policy.is_selective() {
            self.take_frames(count, means)?;
            return Ok(Some(Waits::Turn));
        }
        self.skim(count, means);
        let due_ns = self.due_ns(count, None, means);
        if count == 0 {
            self.end_due_ns = Some(due_ns);
            return Ok(Some(Waits::Turn));
        }
        let mut written = 0;
        if due_ns <= means.now_ns && self.queue.is_empty() && to.writable {
            written = write(to, &means.buffer[..count])?;
        }
        self.enqueue(due_ns, None, means.buffer[written..count].to_vec());
        Ok(Some(Waits::Turn))
    }

    /// When the next bytes are due; never before those that came before them.
    fn due_ns(&mut self, count: usize, api: Option<i16>, means: &mut Means<'_>) -> u64 {
        let due_ns = means.book.due_ns(&self.policy, count, api, means.now_ns, &mut *means.draw);
        self.last_due_ns = due_ns.max(self.last_due_ns);
        self.last_due_ns
    }

    fn enqueue(&mut self, due_ns: u64, api: Option<i16>, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.queued_bytes += bytes.len();
            self.queue.push_back(Piece { due_ns, api, bytes, written: 0 });
        }
    }

    /// Looks for requests and responses in what was read, which no rule asks for now; one may before the next of them. What was withheld
    /// while a rule did is under way again.
    fn skim(&mut self, count: usize, means: &mut Means<'_>) {
        let withheld = if count == 0 { self.frames.take_withheld() } else { Vec::new() };
        self.enqueue(means.now_ns, None, withheld);
        let mut at = 0;
        while at < count {
            let part = self.frames.next(&means.buffer[at..count], false, means.calls);
            at += part.len;
            self.enqueue(means.now_ns, None, part.before);
        }
    }

    /// Queues what was read, each request or response as the rules ask for its API.
    fn take_frames(&mut self, count: usize, means: &mut Means<'_>) -> io::Result<()> {
        let mut at = 0;
        while at < count {
            let part = self.frames.next(&means.buffer[at..count], true, means.calls);
            let api = match part.kind {
                Kind::Begin(api) => api,
                Kind::More | Kind::Head => None,
            };
            if self.policy.resets(api) {
                means.book.was_reset(&self.policy, api, means.now_ns);
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if part.kind != Kind::Head {
                let mut bytes = part.before;
                bytes.extend_from_slice(&means.buffer[at..at + part.len]);
                let due_ns = self.due_ns(bytes.len(), api, means);
                self.enqueue(due_ns, api, bytes);
            }
            at += part.len;
        }
        Ok(())
    }
}

/// Writes once; gives how much was taken, which may be nothing.
fn write(to: &mut Side, bytes: &[u8]) -> io::Result<usize> {
    match to.stream.write(bytes) {
        Ok(count) => {
            // Less than all means that its buffer is full; epoll tells when it no longer is.
            to.writable = count == bytes.len();
            Ok(count)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            to.writable = false;
            Ok(0)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}

/// Whether something is there to be read: bytes, an end, or a reset, which would not come through a dead network either.
fn has_news(from: &mut Side) -> bool {
    if !from.readable {
        return false;
    }
    match from.stream.peek(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            from.readable = false;
            false
        }
        Ok(_) | Err(_) => true,
    }
}
