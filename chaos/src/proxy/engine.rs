//! The proxy's thread: one epoll loop over all listeners and connections, which owns the rules. So a change of rules is one step:
//! there is no connection that has not heard of it yet.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::connection::{Means, Pipe, Side, Waits};
use super::frames::{Calls, Way};
use super::half_open::Left;
use super::rules::{End, Flow, Link, Rule, RuleBook};
use super::source::node_behind;
use super::{Front, Nodes};
use crate::clock::monotonic_ns;
use crate::random::random_bytes;

/// Token of the waker; no listener or socket has it.
const WAKER: Token = Token(usize::MAX);
/// What is read at once from a socket that has much.
const BUFFER_BYTES: usize = 256 << 10;
/// Events taken at once.
const EVENTS: usize = 256;
/// Pause before trying again when no connection can be accepted: out of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// What the thread is asked; each is answered once it is done.
pub(super) enum Command {
    /// Puts the rules of a fault into force; answered by the time, CLOCK_MONOTONIC, nanoseconds.
    Install { fault: String, rules: Vec<Rule>, reply: SyncSender<u64> },
    /// Ends the rules of a fault, of all faults if `None`; answered by the time.
    Remove { fault: Option<String>, reply: SyncSender<u64> },
    /// When the rules of a fault first acted.
    FirstActed { fault: String, reply: SyncSender<Option<u64>> },
}

/// A connection: the side that came to us, and the one that we opened to the node.
struct Connection {
    near: Side,
    far: Side,
    /// From near to far, and back.
    pipes: [Pipe; 2],
    calls: Calls,
    /// Whether the node has taken it.
    is_open: bool,
    /// Who is left of it, if it is lost.
    left: Option<Left>,
    /// Earliest time for which it is in the heap of timers.
    timer_ns: u64,
}

/// The state of the thread.
pub(super) struct Engine {
    poll: Poll,
    listeners: Vec<(TcpListener, Front)>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    book: RuleBook,
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    /// Connections that gave others their turn.
    waiting: VecDeque<usize>,
    /// Listeners that could not accept.
    postponed: bool,
    buffer: Vec<u8>,
    random: u64,
    nodes: Nodes,
    commands: Receiver<Command>,
    /// Held because a wake-up is lost with the last handle of its descriptor: an owner that goes wakes us last of all.
    _waker: Arc<Waker>,
}

impl Engine {
    /// Listens on all fronts; gives what wakes the thread when there is a command.
    pub(super) fn new(
        fronts: &[Front],
        nodes: Nodes,
        commands: Receiver<Command>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut listeners = Vec::with_capacity(fronts.len());
        for (index, front) in fronts.iter().enumerate() {
            let mut listener = TcpListener::bind(loopback(front.port))?;
            poll.registry().register(&mut listener, Token(index), Interest::READABLE)?;
            listeners.push((listener, *front));
        }
        let engine = Self {
            poll,
            listeners,
            connections: Vec::new(),
            free: Vec::new(),
            book: RuleBook::default(),
            timers: BinaryHeap::new(),
            waiting: VecDeque::new(),
            postponed: false,
            buffer: vec![0; BUFFER_BYTES],
            random: u64::from_le_bytes(random_bytes()),
            nodes,
            commands,
            _waker: Arc::clone(&waker),
        };
        Ok((engine, waker))
    }

    /// Until whoever commands is gone. Fails if epoll does, which it does for no reason that could pass.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, self.next_wait()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    WAKER if !self.obey() => return Ok(()),
                    WAKER => {}
                    Token(index) if index < self.listeners.len() => self.accept(index),
                    Token(_) => self.note(event),
                }
            }
            if std::mem::take(&mut self.postponed) {
                (0..self.listeners.len()).for_each(|index| self.accept(index));
            }
            for _ in 0..self.waiting.len() {
                if let Some(index) = self.waiting.pop_front() {
                    self.advance(index);
                }
            }
            let now_ns = monotonic_ns();
            while let Some(Reverse((due_ns, index))) = self.timers.peek().copied() {
                if due_ns > now_ns {
                    break;
                }
                self.timers.pop();
                self.advance(index);
            }
        }
    }

    fn next_wait(&self) -> Option<Duration> {
        if !self.waiting.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.postponed {
            return Some(ACCEPT_AGAIN);
        }
        let Reverse((due_ns, _)) = self.timers.peek()?;
        Some(Duration::from_nanos(due_ns.saturating_sub(monotonic_ns())))
    }

    /// Carries out all commands; `false`: nobody is there to give one any more.
    fn obey(&mut self) -> bool {
        use std::sync::mpsc::TryRecvError;
        loop {
            // Whoever asked may have given up waiting; that is its own affair.
            match self.commands.try_recv() {
                Ok(Command::Install { fault, rules, reply }) => {
                    self.book.install(&fault, &rules);
                    let _ = reply.try_send(monotonic_ns());
                    self.advance_all();
                }
                Ok(Command::Remove { fault, reply }) => {
                    match fault {
                        Some(fault) => self.book.remove(&fault),
                        None => self.book.clear(),
                    }
                    let _ = reply.try_send(monotonic_ns());
                    self.advance_all();
                }
                Ok(Command::FirstActed { fault, reply }) => {
                    let _ = reply.try_send(self.book.first_acted_ns(&fault));
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn advance_all(&mut self) {
        (0..self.connections.len()).for_each(|index| self.advance(index));
    }

    /// Takes all connections that wait at a listener.
    fn accept(&mut self, listener: usize) {
        loop {
            let (accepted, front) = match self.listeners.get(listener) {
                Some((socket, front)) => (socket.accept(), *front),
                None => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // A connection that can't be passed on is closed by dropping it.
                    if let Some(index) = self.open(stream, peer, front).unwrap_or_default() {
                        self.advance(index);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // ECONNABORTED: that one is gone. EMFILE: epoll would not tell again of those that wait.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.postponed = true;
                    return;
                }
            }
        }
    }

    /// Begins to pass a connection on; gives its place, none if a rule resets it at once.
    fn open(&mut self, stream: TcpStream, peer: SocketAddr, front: Front) -> io::Result<Option<usize>> {
        let source = match front.link {
            Link::Clients => None,
            Link::Brokers | Link::Controllers => node_behind(peer.port(), front.port, &self.nodes.pids()),
        };
        let from = source.map_or(End::Client, End::Node);
        let there = Flow { link: front.link, from, to: End::Node(front.node) };
        let back = Flow { from: there.to, to: there.from, ..there };
        let mut near = Side::new(stream);
        let next_rule = self.book.next_id();
        let mut pipes =
            [Pipe::new(there, Way::Requests, next_rule), Pipe::new(back, Way::Responses, next_rule)];
        let now_ns = monotonic_ns();
        if pipes.iter_mut().any(|pipe| pipe.is_to_be_reset(&mut self.book, now_ns)) {
            near.reset_on_close();
            return Ok(None);
        }
        let mut far = Side::new(TcpStream::connect(loopback(front.node_port))?);
        // Small requests must not wait for each other; whoever wants to batch has done so.
        near.stream.set_nodelay(true)?;
        far.stream.set_nodelay(true)?;
        let index = self.free.last().copied().unwrap_or(self.connections.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut near.stream, self.token(index, 0), interest)?;
        registry.register(&mut far.stream, self.token(index, 1), interest)?;
        let calls = Calls::default();
        let connection =
            Connection { near, far, pipes, calls, is_open: false, left: None, timer_ns: u64::MAX };
        if self.free.pop().is_some() {
            self.connections[index] = Some(connection);
        } else {
            self.connections.push(Some(connection));
        }
        Ok(Some(index))
    }

    /// Sockets have the tokens after the listeners', two each connection.
    fn token(&self, index: usize, side: usize) -> Token {
        Token(self.listeners.len() + 2 * index + side)
    }

    /// Takes what epoll says of a socket. It may be about a predecessor in the same place: trying to read does no harm.
    fn note(&mut self, event: &Event) {
        let place = event.token().0 - self.listeners.len();
        let Some(Some(connection)) = self.connections.get_mut(place / 2) else { return };
        let is_far = place % 2 == 1;
        let side = if is_far { &mut connection.far } else { &mut connection.near };
        // What broke shows when it is read or written.
        let broken = event.is_error() || event.is_read_closed() || event.is_write_closed();
        side.readable |= event.is_readable() || broken;
        side.writable |= event.is_writable() || broken;
        if is_far && !connection.is_open && side.writable {
            connection.is_open = true;
            if !matches!(side.stream.take_error(), Ok(None)) {
                // Nobody listens: whoever came sees a reset where it would have been refused.
                self.close(place / 2, true);
                return;
            }
        }
        self.advance(place / 2);
    }

    /// Moves what can be moved on a connection, and ends it if it is over.
    fn advance(&mut self, index: usize) {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return };
        let now_ns = monotonic_ns();
        let Connection { near, far, pipes, calls, is_open, left, timer_ns } = connection;
        let book = &mut self.book;
        if pipes.iter_mut().any(|pipe| pipe.is_to_be_reset(book, now_ns)) {
            self.close(index, true);
            return;
        }
        let lost = pipes.each_mut().map(|pipe| pipe.is_lost(book, now_ns));
        if let Some(left) = Left::of(left, lost, near, far) {
            match lost == [false, false] {
                // The network is back, and knows nothing of it.
                true => self.close(index, true),
                false if left.swallow(near, far, &mut self.buffer) => {}
                false => self.close(index, false),
            }
            return;
        }
        if !*is_open {
            return;
        }
        let random = &mut self.random;
        let mut draw = || draw(random);
        let mut means = Means { book, buffer: &mut self.buffer, calls, now_ns, draw: &mut draw };
        let [there, back] = pipes;
        let moved = there
            .advance(near, far, &mut means)
            .and_then(|waits| Ok(waits.sooner(back.advance(far, near, &mut means)?)));
        match moved {
            Ok(_) if there.has_ended() && back.has_ended() => self.close(index, false),
            Ok(Waits::News) => {}
            Ok(Waits::Turn) => self.waiting.push_back(index),
            Ok(Waits::Until(due_ns)) => {
                if due_ns < *timer_ns || *timer_ns <= now_ns {
                    *timer_ns = due_ns;
                    self.timers.push(Reverse((due_ns, index)));
                }
            }
            // One side broke: the other one is to see the same.
            Err(_) => self.close(index, true),
        }
    }

    fn close(&mut self, index: usize, reset: bool) {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::take) else { return };
        if reset {
            connection.near.reset_on_close();
            connection.far.reset_on_close();
        }
        self.free.push(index);
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A number from 0 to below 1 (SplitMix64). For jitter, which no verdict rests on.
pub(crate) fn draw(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
