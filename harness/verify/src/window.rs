//! What a fault of the scenario may cost: the end of a log, as it was when one leader lost it and before the next one led.
//!
//! A power loss of enough replicas, or an unclean election, cuts a log off: the next leader's log ends below what the last one had
//! acked. That voids durability there and nowhere else. A window says where *there* is; a record is in it if all of this holds:
//!
//! - **Offset.** Its ack names an offset in `from_offset..until_offset`: at or above the cut, and not above what there was to lose.
//! - **Before.** It was in the log of a leader before `first_epoch`: it was read from there, in a batch of such an epoch, and is gone
//!   since; or its ack had come before `acked_before_ns`, when no leader of `first_epoch` could have given one.
//! - **After.** Where it was, the log goes on with what leaders from `first_epoch` on wrote, or not at all. An offset that the reader passed
//!   in a batch of an earlier leader did not hold the record before this change of leaders, so it was lost some other way.
//!
//! A leader epoch is never used twice, and epochs ascend along a log (KIP-101): so the last two together say that the record went with the
//! change of leaders that the fault brought about, and the first that it went from where the fault cut. A loss on another
//! partition, below the cut, of what a later leader acked, or of what an earlier one had lost already, is outside and stays what it is.
//!
//! An ack that named no offset can't be placed, and a reader that shows no leader epochs proves nothing: no window explains what they say.

use serde::{Deserialize, Serialize};

/// The end of one partition's log that a fault has cost it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TruncationWindow {
    /// No offset below is in it; 0 if that is not known.
    pub from_offset: i64,
    /// Nor is this one, or any above; `i64::MAX` if that is not known.
    pub until_offset: i64,
    /// The lowest leader epoch that nobody can have led before the fault.
    pub first_epoch: i32,
    /// Acks that came before were given by leaders of lower epochs, CLOCK_MONOTONIC nanoseconds.
    pub acked_before_ns: u64,
    /// Which fault, to be read behind "excused by".
    pub cause: String,
}

/// How it is known when a record that an ack names was in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// By that ack, which came then, CLOCK_MONOTONIC nanoseconds; 0: nobody knows when.
    Acked(u64),
    /// It was read, in a batch of this leader epoch (below 0: not shown), and cut off later.
    Read(i32),
}

/// Acks that came so close to each other were given under one leader, as far as any window asks: between the last ack of a leader that
/// lost its log and the first of the next lies the start of a broker, or the end of a session.
const ONE_REIGN_NS: u64 = 1_000_000_000;

impl Proof {
    /// One proof for two neighbours, if there is one: the later time, so that it excuses neither too much.
    pub(crate) fn of_both(self, next: Proof) -> Option<Proof> {
        match (self, next) {
            (Proof::Acked(0), Proof::Acked(0)) => Some(self),
            (Proof::Acked(one), Proof::Acked(two)) if one > 0 && two > 0 => {
                (one.abs_diff(two) <= ONE_REIGN_NS).then_some(Proof::Acked(one.max(two)))
            }
            _ => (self == next).then_some(self),
        }
    }

    /// Whether the record was in the log of a leader before the window's first.
    pub(crate) fn is_before(self, window: &TruncationWindow) -> bool {
        match self {
            Proof::Acked(acked_ns) => acked_ns > 0 && acked_ns < window.acked_before_ns,
            Proof::Read(epoch) => (0..window.first_epoch).contains(&epoch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_says_which_leader_it_was() {
        let window = TruncationWindow {
            from_offset: 0,
            until_offset: i64::MAX,
            first_epoch: 5,
            acked_before_ns: 1_000,
            cause: String::new(),
        };
        let before = [Proof::Acked(1), Proof::Acked(999), Proof::Read(0), Proof::Read(4)];
        assert!(before.iter().all(|proof| proof.is_before(&window)));
        let not = [Proof::Acked(0), Proof::Acked(1_000), Proof::Read(5), Proof::Read(-1)];
        assert!(!not.iter().any(|proof| proof.is_before(&window)));
    }

    #[test]
    fn neighbours_share_a_proof_only_within_one_reign() {
        let late = 10 * ONE_REIGN_NS;
        assert_eq!(Proof::Acked(late).of_both(Proof::Acked(late + 5)), Some(Proof::Acked(late + 5)));
        assert_eq!(Proof::Acked(late + 5).of_both(Proof::Acked(late)), Some(Proof::Acked(late + 5)));
        assert_eq!(Proof::Acked(late).of_both(Proof::Acked(2 * late)), None);
        assert_eq!(Proof::Acked(0).of_both(Proof::Acked(1)), None, "when the first came is not known");
        assert_eq!(Proof::Read(3).of_both(Proof::Read(3)), Some(Proof::Read(3)));
        assert_eq!(Proof::Read(3).of_both(Proof::Read(4)), None);
        assert_eq!(Proof::Acked(3).of_both(Proof::Read(3)), None);
    }
}
