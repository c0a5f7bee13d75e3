//! `clock.skew`: the time of day of a broker is another one, by the shim that it was started with ([`crate::shim`]). What measures how long
//! something takes is left alone, as it is when an administrator, or a broken time server, sets the clock of a host.
//!
//! It acts when the broker itself tells the other time, and is healed when it tells ours again. It is asked by a record in a partition of
//! ours whose records are stamped by the broker (`message.timestamp.type=LogAppendTime`): the answer holds the stamp.

mod probe;

use std::thread;
use std::time::{Duration, Instant};

use super::all_at_once;
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::local::LocalCluster;
use crate::process::ProcessIdentity;
use crate::shim::Orders;
use crate::supervisor::SignalTimes;
use probe::{Probe, Told};

/// How long a broker may take to tell what it is asked, elections of a new topic included.
const TELL_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two questions.
const POLL: Duration = Duration::from_millis(50);
/// The least that a clock is moved by: less can hardly be told from a slow answer. Nanoseconds.
pub const OFFSET_NS_MIN: u64 = 100_000_000;

/// Moves the clocks of all `nodes`; returns when each was seen to tell the other time.
pub(super) fn apply(
    cluster: &LocalCluster,
    nodes: &[i32],
    offset_ns: i64,
) -> Result<SignalTimes, ChaosError> {
    all_at_once::apply(nodes, |node| {
        // First: a broker whose clock was just set back may be slow to reach the controller, as its back-off is counted by that clock.
        Probe::prepare(cluster, node, TELL_LIMIT)?;
        let orders = Orders { clock_offset_ns: offset_ns, ..Orders::default() };
        let ordered = cluster.order_shim(node, orders)?;
        Ok(SignalTimes {
            sent_ns: ordered.sent_ns,
            seen_ns: wait_until_told(cluster, node, offset_ns, offset_ns)?,
        })
    })
}

/// Sets the clock of `node`, which was moved by `offset_ns`, right, starts the node if it is gone, and waits until it tells the right time.
pub(super) fn heal(
    cluster: &LocalCluster,
    node: i32,
    victim: ProcessIdentity,
    offset_ns: i64,
) -> Result<(), ChaosError> {
    super::disk::heal(cluster, node, victim)?;
    wait_until_told(cluster, node, 0, offset_ns)?;
    Probe::remove(cluster, node);
    Ok(())
}

/// Waits until `node` tells a time that is off by `expected_ns`, and so clearly that it can't be mistaken for one that is by `moved_ns` more or
/// less. Gives the time when it did, CLOCK_MONOTONIC.
fn wait_until_told(
    cluster: &LocalCluster,
    node: i32,
    expected_ns: i64,
    moved_ns: i64,
) -> Result<u64, ChaosError> {
    let deadline = Instant::now() + TELL_LIMIT;
    loop {
        // Anew each time: the partition may be gone with the fault before this one.
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = Probe::prepare(cluster, node, left).and_then(|probe| Ok(probe.ask()?));
        let lacks = match asked {
            Ok(told) if told.is_off_by(expected_ns, moved_ns) => return Ok(monotonic_ns()),
            Ok(told) => told.to_string(),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            let within_s = TELL_LIMIT.as_secs();
            return Err(ChaosError::NotSeenToAct {
                why: format!("not told so within {within_s} s: {lacks}"),
            });
        }
        thread::sleep(POLL);
    }
}

impl Told {
    /// Whether what the broker said is the time, but for `expected_ns`. The stamp must lie between the question and the answer, moved, with whole
    /// milliseconds for a unit; and these must be much closer than `moved_ns`, or everything would fit.
    fn is_off_by(&self, expected_ns: i64, moved_ns: i64) -> bool {
        let (expected_ms, moved_ms) = (expected_ns / 1_000_000, (moved_ns / 1_000_000).abs());
        let expected = self.before_ms + expected_ms - 1..=self.after_ms + expected_ms + 1;
        self.after_ms - self.before_ms < moved_ms / 2 && expected.contains(&self.stamp_ms)
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, to) = (self.stamp_ms - self.after_ms, self.stamp_ms - self.before_ms);
        write!(out, "the broker's clock is off by {from} to {to} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_between_question_and_answer_is_the_time() {
        let told = |stamp_ms| Told { before_ms: 1000, stamp_ms, after_ms: 1030 };
        let moved = 100_000_000;
        let is_right = |stamp_ms| told(stamp_ms).is_off_by(0, moved);
        assert!(is_right(1000) && is_right(1015) && is_right(1030) && !is_right(1040) && !is_right(990));
        assert!(told(1115).is_off_by(moved, moved) && !told(1015).is_off_by(moved, moved));
        assert!(told(915).is_off_by(-moved, -moved) && !told(1015).is_off_by(-moved, -moved));
        let slow = Told { before_ms: 1000, stamp_ms: 1040, after_ms: 1080 };
        assert!(!slow.is_off_by(0, moved), "it tells too little");
        assert!(slow.is_off_by(0, 10 * moved), "but enough for that");
        assert_eq!(told(3000).to_string(), "the broker's clock is off by 1970 to 2000 ms");
    }
}
