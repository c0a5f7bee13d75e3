//! `cpu.starve`: a broker gets only a share of the time. It is stopped (SIGSTOP) for the rest of every tenth of a second, as Linux stops
//! what is in a container over its CPU quota for the rest of its period (`cpu.max`, 100 ms): threads that have something to do wait,
//! and go on as if nothing had been. No root, no cgroup; other than there, it stands still as long when it had nothing to do.
//!
//! It is our own thread that stops and continues it, not the supervisor's: when gauntlet is gone, the supervisor resumes it by the
//! journal, as after `broker.pause`.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::status_of;
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::local::LocalCluster;
use crate::process::ProcessIdentity;
use crate::supervisor::SignalTimes;

/// The time of one turn: CFS bandwidth control's default period.
const PERIOD: Duration = Duration::from_millis(100);
/// How long it may take until every thread of the victim was seen to stand still, and to go on.
const ACT_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two looks: several fall into the shortest rest there can be.
const POLL: Duration = Duration::from_millis(1);

/// The largest share there can be, in per cent: with more it hardly ever stands still.
pub const SHARE_PERCENT_MAX: u8 = 90;

/// Who is starved now.
#[derive(Debug, Default)]
pub(crate) struct Starving(Mutex<BTreeMap<i32, Rhythm>>);

impl Starving {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Rhythm>> {
        // Nothing that is done under the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops and continues a process until it is dropped, or the process is gone. The last thing it does is to continue it.
#[derive(Debug)]
pub(super) struct Rhythm {
    /// Dropped, it ends the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rhythm {
    pub(super) fn begin(process: ProcessIdentity, share_percent: u8) -> Result<Self, ChaosError> {
        let runs = PERIOD * u32::from(share_percent.clamp(1, SHARE_PERCENT_MAX)) / 100;
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("cpu-starve".to_owned())
            .spawn(move || beat(process, runs, PERIOD - runs, &ended))
            .map_err(|error| ChaosError::NotSeenToAct { why: format!("no thread for it: {error}") })?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Rhythm {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing that could panic.
            let _ = thread.join();
        }
    }
}

fn beat(process: ProcessIdentity, runs: Duration, rests: Duration, ended: &Receiver<()>) {
    let lasts = |time| ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
    while matches!(process.signal(Signal::SIGSTOP), Ok(true)) {
        let goes_on = lasts(rests);
        // Whoever is gone needs no continuing; the next turn notices.
        let _ = process.signal(Signal::SIGCONT);
        if !goes_on || !lasts(runs) {
            return;
        }
    }
}

/// Leaves all `nodes` `share_percent` of the time; returns when every one was seen to stand still, and to go on.
pub(super) fn apply(
    cluster: &LocalCluster,
    nodes: &[i32],
    share_percent: u8,
) -> Result<SignalTimes, ChaosError> {
    super::all_at_once::apply(nodes, |node| {
        let process = status_of(cluster, node)?.process;
        let sent_ns = monotonic_ns();
        cluster.starving().lock().insert(node, Rhythm::begin(process, share_percent)?);
        let deadline = Instant::now() + ACT_LIMIT;
        for stands_still in [true, false] {
            wait_until(process, stands_still, deadline)?;
        }
        Ok(SignalTimes { sent_ns, seen_ns: monotonic_ns() })
    })
}

/// Leaves `node` all of the time again. Harmless if it has it.
pub(super) fn heal(cluster: &LocalCluster, node: i32) -> Result<(), ChaosError> {
    drop(cluster.starving().lock().remove(&node));
    // As after a pause: whoever undoes what somebody else began has no thread that did it.
    super::broker_pause::heal(cluster, node)
}

fn wait_until(process: ProcessIdentity, stands_still: bool, deadline: Instant) -> Result<(), ChaosError> {
    loop {
        let gone = |error| ChaosError::NotSeenToAct { why: format!("its process is gone: {error}") };
        if process.all_threads_stopped().map_err(gone)? == stands_still {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let within_s = ACT_LIMIT.as_secs();
            let why = match stands_still {
                true => format!("not stopped within {within_s} s"),
                false => format!("did not go on within {within_s} s"),
            };
            return Err(ChaosError::NotSeenToAct { why });
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// Ends it also when a test fails.
    struct Busy(Child);

    impl Drop for Busy {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn a_process_stands_still_most_of_the_time_and_goes_on_in_the_end() {
        let busy = Busy(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap());
        let process = ProcessIdentity::of(busy.0.id().cast_signed()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let rhythm = Rhythm::begin(process, 10).unwrap();
        for _ in 0..3 {
            wait_until(process, true, deadline).unwrap();
            wait_until(process, false, deadline).unwrap();
        }
        drop(rhythm);
        let before = process.cpu_time().unwrap();
        wait_until(process, false, deadline).unwrap();
        while process.cpu_time().unwrap() < before + Duration::from_millis(100) {
            assert!(Instant::now() < deadline, "it was left stopped");
            assert!(!process.all_threads_stopped().unwrap(), "nobody stops it any more");
        }
    }

    #[test]
    fn a_process_that_ends_ends_its_rhythm() {
        let mut busy = Busy(Command::new("sleep").arg("60").spawn().unwrap());
        let process = ProcessIdentity::of(busy.0.id().cast_signed()).unwrap();
        let rhythm = Rhythm::begin(process, 50).unwrap();
        wait_until(process, true, Instant::now() + Duration::from_secs(30)).unwrap();
        busy.0.kill().unwrap();
        busy.0.wait().unwrap();
        assert!(wait_until(process, true, Instant::now()).is_err(), "it is gone");
        drop(rhythm);
    }
}
