//! Watches the cluster while it is broken: who leads, who is in sync, who is registered, who is the active controller.
//!
//! Two *eyes* ask two different brokers, each in a thread of its own, so that one paused broker blinds one eye for at most one
//! answer limit; an eye whose broker fails goes on to the next one. A third thread asks for the active controller. It is apart
//! because a broker forwards that question to the controller, and holds the answer back while there is none: exactly then the
//! eyes must not wait.
//!
//! Only changes are kept ([`crate::history`]) and streamed, one JSON object per line.

mod eye;
mod quorum;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gauntlet_wire::{ConnectOptions, Security};

use crate::history::{Change, ClusterHistory, Observation};

/// Limit for connecting and for each answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How many brokers are asked at a time.
const EYES: usize = 2;

/// What is watched, and through whom.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// `host:port` of each broker, by id.
    pub brokers: BTreeMap<i32, String>,
    /// The topics whose partitions are watched. One that does not exist (yet) is left out until it does.
    pub topics: Vec<String>,
    /// Pause between two polls; 100 ms unless there is a reason.
    pub interval: Duration,
    /// How to connect.
    pub security: Security,
}

impl WatchConfig {
    fn connect_options(&self) -> ConnectOptions {
        ConnectOptions {
            client_id: "gauntlet-watcher".to_owned(),
            timeout: ANSWER_LIMIT,
            security: self.security.clone(),
        }
    }
}

/// Why nothing is watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Nobody to ask.
    #[error("there is no broker to watch the cluster through")]
    NoBrokers,
    /// No thread.
    #[error("cannot start a watcher's thread: {0}")]
    Thread(io::Error),
}

/// What was seen until the end.
#[derive(Debug)]
pub struct Watched {
    /// The observations.
    pub history: ClusterHistory,
    /// The first failure to write to the stream, after which nothing was written to it any more.
    pub stream_error: Option<io::Error>,
}

/// A watcher at work. Dropping it stops it.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    config: WatchConfig,
    state: Mutex<State>,
    stopped: Condvar,
}

struct State {
    stop: bool,
    /// Brokers that an eye is on.
    taken: BTreeSet<i32>,
    history: ClusterHistory,
    /// `None` after its first error.
    stream: Option<Box<dyn Write + Send>>,
    stream_error: Option<io::Error>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("State")
            .field("stop", &self.stop)
            .field("taken", &self.taken)
            .field("observations", &self.history.observations().len())
            .field("stream_error", &self.stream_error)
            .finish_non_exhaustive()
    }
}

impl Watcher {
    /// Starts watching. Each observation is also written to `stream`, which is flushed after each poll that saw a change.
    pub fn start(config: WatchConfig, stream: Box<dyn Write + Send>) -> Result<Self, WatchError> {
        if config.brokers.is_empty() {
            return Err(WatchError::NoBrokers);
        }
        let eyes = EYES.min(config.brokers.len());
        let state = State {
            stop: false,
            taken: BTreeSet::new(),
            history: ClusterHistory::default(),
            stream: Some(stream),
            stream_error: None,
        };
        let shared = Arc::new(Shared { config, state: Mutex::new(state), stopped: Condvar::new() });
        let mut watcher = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        for index in 0..eyes {
            let shared = Arc::clone(&shared);
            watcher.spawn(format!("eye-{index}"), move || eye::watch(&shared))?;
        }
        watcher.spawn("eye-quorum".to_owned(), move || quorum::watch(&shared))?;
        Ok(watcher)
    }

    /// Looks at what was seen so far. The watcher waits meanwhile: be brief.
    pub fn read<T>(&self, look: impl FnOnce(&ClusterHistory) -> T) -> T {
        look(&self.shared.lock().history)
    }

    /// Stops, which takes at most a few answer limits (1 s each), and gives what was seen.
    #[must_use]
    pub fn finish(mut self) -> Watched {
        self.stop();
        let mut state = self.shared.lock();
        Watched { history: std::mem::take(&mut state.history), stream_error: state.stream_error.take() }
    }

    fn spawn(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> Result<(), WatchError> {
        let thread = thread::Builder::new().name(name).spawn(body).map_err(WatchError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    fn stop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.stopped.notify_all();
        for thread in self.threads.drain(..) {
            // Nothing in it panics on purpose; what it saw until then is kept.
            let _ = thread.join();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Observations are added whole; a panic elsewhere does not spoil them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next poll; `false`: stop instead.
    fn pause(&self) -> bool {
        let due = Instant::now() + self.config.interval;
        let mut state = self.lock();
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if state.stop {
                return false;
            }
            if left.is_zero() {
                return true;
            }
            state = self.stopped.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Stores what one poll of `witness` saw, with the time of each answer. `answered_ns` is the end of a poll in which
    /// everything was answered.
    fn store(&self, witness: i32, seen: Vec<(u64, Change)>, answered_ns: Option<u64>) {
        let mut state = self.lock();
        let changed = !seen.is_empty();
        for (at_ns, change) in seen {
            let observation = Observation { at_ns, seen_by: witness, change };
            state.write(&observation);
            state.history.record(observation);
        }
        if changed {
            state.flush();
        }
        if let Some(at_ns) = answered_ns {
            state.history.answered(witness, at_ns);
        }
    }

    /// The broker after `last` that no eye is on, and takes it; `last` itself if it is the only one.
    fn take_next(&self, last: Option<i32>) -> (i32, &str) {
        let mut state = self.lock();
        if let Some(last) = last {
            state.taken.remove(&last);
        }
        let brokers = &self.config.brokers;
        let after = |id: i32| last.is_none_or(|last| id > last);
        let order = brokers.iter().filter(|(id, _)| after(**id)).chain(brokers.iter());
        // There are at least as many brokers as eyes, so one is free.
        let mut free = order.filter(|(id, _)| !state.taken.contains(id));
        let (id, addr) = free.next().expect("an eye per broker at most");
        state.taken.insert(*id);
        (*id, addr)
    }
}

impl State {
    fn write(&mut self, observation: &Observation) {
        let Some(stream) = &mut self.stream else { return };
        let written = serde_json::to_writer(&mut *stream, observation).map_err(io::Error::from);
        let written = written.and_then(|()| stream.write_all(b"\n"));
        self.note(written);
    }

    fn flush(&mut self) {
        let flushed = self.stream.as_mut().map_or(Ok(()), |stream| stream.flush());
        self.note(flushed);
    }

    fn note(&mut self, done: io::Result<()>) {
        if let Err(error) = done {
            self.stream = None;
            self.stream_error.get_or_insert(error);
        }
    }
}
