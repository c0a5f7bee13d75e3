//! What the event loops of producers and readers share: sleeping until something is due, and knowing how late they woke.

use std::time::Duration;

use mio::{Events, Poll};

use crate::clock::monotonic_ns;
use crate::lateness::Lateness;
use crate::links::SCRATCH_BYTES;

/// The loop could not be set up or kept running: the operating system refused.
#[derive(Debug, thiserror::Error)]
#[error("event loop: {0}")]
pub struct LoopError(#[from] std::io::Error);

/// What a turn of a loop knows.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// CLOCK_MONOTONIC at the beginning of the turn.
    pub now_ns: u64,
    /// The loop's own lateness.
    pub lateness: &'a Lateness,
}

/// A loop, and everybody in it, wakes at least this often, so that a stop is seen and lateness is charged in small pieces.
pub(crate) const LONGEST_SLEEP_NS: u64 = 20_000_000;
/// epoll sleeps in whole milliseconds; waking that much later is as it was meant to be.
const GRANULARITY_NS: u64 = 1_000_000;

/// The loop of the calling thread.
pub(crate) struct EventLoop {
    poll: Poll,
    pub(crate) events: Events,
    pub(crate) lateness: Lateness,
    /// Memory to read sockets into.
    pub(crate) scratch: Vec<u8>,
}

impl EventLoop {
    pub(crate) fn new() -> Result<Self, LoopError> {
        Ok(EventLoop {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            lateness: Lateness::of_this_thread(monotonic_ns()),
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// For sockets to be registered with.
    pub(crate) fn registry(&self) -> Result<mio::Registry, LoopError> {
        Ok(self.poll.registry().try_clone()?)
    }

    /// Sleeps until a socket is ready or `wakeup_ns` has come, and returns what time it is then.
    pub(crate) fn sleep_until(&mut self, wakeup_ns: u64) -> Result<u64, LoopError> {
        let began_ns = monotonic_ns();
        let timeout_ns = wakeup_ns.saturating_sub(began_ns).min(LONGEST_SLEEP_NS);
        self.lateness.poll_begins(began_ns);
        match self.poll.poll(&mut self.events, Some(Duration::from_nanos(timeout_ns))) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
        let now_ns = monotonic_ns();
        let worked = !self.events.is_empty() || now_ns >= wakeup_ns;
        self.lateness.poll_ended(now_ns, timeout_ns + GRANULARITY_NS, worked);
        Ok(now_ns)
    }
}
