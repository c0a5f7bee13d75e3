//! What the programs of a run take of the host, for the numbers that say what a client costs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gauntlet_chaos::process::ProcessIdentity;

/// Processor time and memory of all programs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProgramUsage {
    /// User and system time, of those that have ended, too.
    pub cpu_ns: u64,
    /// Resident memory now.
    pub rss_bytes: u64,
}

/// The programs that run, and what those took that ran before.
#[derive(Debug, Default)]
pub struct Programs(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: Vec<Running>,
    ended_cpu_ns: u64,
    /// There was one.
    any: bool,
}

#[derive(Debug)]
struct Running {
    identity: ProcessIdentity,
    /// What was last seen: one that has just ended says nothing until it is reaped.
    cpu_ns: u64,
}

impl Programs {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One was started.
    pub(super) fn started(&self, identity: ProcessIdentity) {
        let mut inner = self.lock();
        inner.any = true;
        inner.running.push(Running { identity, cpu_ns: 0 });
    }

    /// One was reaped, and had taken so much, as far as the kernel told.
    pub(super) fn ended(&self, identity: ProcessIdentity, cpu: Option<Duration>) {
        let mut inner = self.lock();
        let Some(at) = inner.running.iter().position(|running| running.identity == identity) else { return };
        let seen_ns = inner.running.swap_remove(at).cpu_ns;
        // Never less than was seen: what is made of it are differences.
        inner.ended_cpu_ns += cpu.map_or(0, |cpu| cpu.as_nanos() as u64).max(seen_ns);
    }

    /// What they have taken; `None` if there was never one.
    #[must_use]
    pub fn usage(&self) -> Option<ProgramUsage> {
        let mut inner = self.lock();
        let mut usage = ProgramUsage { cpu_ns: inner.ended_cpu_ns, rss_bytes: 0 };
        for running in &mut inner.running {
            if let Ok(cpu) = running.identity.cpu_time() {
                running.cpu_ns = running.cpu_ns.max(cpu.as_nanos() as u64);
            }
            usage.cpu_ns += running.cpu_ns;
            usage.rss_bytes += crate::run::collect::resident_bytes_of(running.identity.pid).unwrap_or(0);
        }
        inner.any.then_some(usage)
    }

    /// Waits until none is left, as long as `limit` at the most. Whether none is.
    pub(crate) fn wait_for_the_last(&self, limit: Duration) -> bool {
        /// They are killed, not asked: it is soon over.
        const STEP: Duration = Duration::from_millis(5);
        let deadline = Instant::now() + limit;
        while !self.lock().running.is_empty() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(STEP);
        }
        true
    }
}
