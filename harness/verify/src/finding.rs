//! Every kind of finding that the checkers of gauntlet know, by name.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! finding_classes {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// What was found. Whether it is allowed is decided elsewhere, by [`crate::judge`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum FindingClass {
            $($(#[$doc])* $variant,)*
        }

        impl FindingClass {
            /// Every class, in the order of the design's table.
            pub const ALL: &[FindingClass] = &[$(Self::$variant,)*];

            /// The name used in reports, files and expectations.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

finding_classes! {
    /// An acked record is not in the log.
    Lost => "lost",
    /// An acked record is not in the log, and lies in what a fault of the scenario may have cost.
    LostExcused => "lost-excused",
    /// A record is in the log again.
    Duplicate => "duplicate",
    /// One input record gave two outputs in committed transactions.
    CommitDuplicate => "commit-duplicate",
    /// A duplicate that the client under test made by going to a new producer epoch.
    DuplicateAfterEpochBump => "duplicate-after-epoch-bump",
    /// An acked record first appears behind an acked record that was sent later.
    Reorder => "reorder",
    /// As `Reorder`, but one of the two was not acked.
    ReorderAmongUnacked => "reorder-among-unacked",
    /// A record of an aborted transaction was read at read_committed.
    AbortedRead => "aborted-read",
    /// A transaction is visible in part.
    TornTransaction => "torn-transaction",
    /// A record was visible at read_committed before its transaction was to end.
    PrecommittedRead => "precommitted-read",
    /// A partition has the other marker than the client of the transaction was told of.
    MarkerAgainstAnswer => "marker-against-answer",
    /// Committed offsets and committed output disagree.
    OffsetAtomicity => "offset-atomicity",
    /// Transactions of the side workload depend on each other in a circle (G1c).
    CyclicInformationFlow => "cyclic-information-flow",
    /// A record with an unknown outcome is not in the log.
    IndeterminateAbsent => "indeterminate-absent",
    /// A record with an unknown outcome is in the log.
    IndeterminatePresent => "indeterminate-present",
    /// A record sent with acks=0 is not in the log.
    UnacknowledgedAbsent => "unacknowledged-absent",
    /// A record sent with acks=0 is in the log.
    UnacknowledgedPresent => "unacknowledged-present",
    /// A record of this run whose bytes changed.
    Corrupt => "corrupt",
    /// An intact record of this run in a log that it was not sent to.
    Misrouted => "misrouted",
    /// A record that nobody sent.
    Phantom => "phantom",
    /// A record that certainly was not appended, in the log all the same.
    FailedButPresent => "failed-but-present",
    /// The leader epoch goes down inside one log.
    LeaderEpochRegression => "leader-epoch-regression",
    /// Two reads of one offset gave different records.
    ReadDisagreement => "read-disagreement",
    /// The same, in what a fault of the scenario may have cost.
    ReadDisagreementExcused => "read-disagreement-excused",
    /// The high watermark went down at one replica within one leader epoch.
    HighWatermarkRegression => "high-watermark-regression",
    /// The last stable offset went down at one replica within one leader epoch.
    LastStableOffsetRegression => "last-stable-offset-regression",
    /// A record lies at another offset than its ack said.
    InconsistentOffset => "inconsistent-offset",
    /// The same, where a fault of the scenario may have cost the record at the offset that the ack named.
    InconsistentOffsetExcused => "inconsistent-offset-excused",
    /// A record lies before one that was acked before it was sent.
    RealTimeOrder => "real-time-order",
    /// A compacted topic gives an older value after a newer one or a tombstone.
    ResurrectedKey => "resurrected-key",
    /// A consumer skipped offsets inside one assignment.
    PositionSkip => "position-skip",
    /// A consumer stepped back inside one assignment.
    PositionStepBack => "position-step-back",
    /// A group never processed a record.
    GroupSkip => "group-skip",
    /// A group committed past what it processed.
    PrematureCommit => "premature-commit",
    /// A group got a record again.
    GroupRedelivery => "group-redelivery",
    /// Two members owned one partition at one time.
    OwnershipOverlap => "ownership-overlap",
    /// A fenced producer wrote.
    ZombieWrite => "zombie-write",
    /// A share group delivered a record again after its accept was confirmed.
    ShareRedelivery => "share-redelivery",
    /// Two members of a share group held one record inside one lock.
    ShareDoubleHolder => "share-double-holder",
    /// A record of a share group never got to a final state.
    ShareNeverTerminal => "share-never-terminal",
    /// A transaction stays open though everything it needs was there.
    HangingTransaction => "hanging-transaction",
    /// The batch sequence numbers of a producer leave a gap.
    SequenceGap => "sequence-gap",
    /// The log holds batch sequence numbers of a producer again.
    SequenceRepeat => "sequence-repeat",
    /// An acked record that the broker deleted by retention or on request before it was read.
    Expired => "expired",
    /// An acked record at an offset that the reader did not get to.
    Unseen => "unseen",
    /// A record of somebody else, on a topic that was there before.
    Foreign => "foreign",
}

impl fmt::Display for FindingClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() {
        for class in FindingClass::ALL {
            assert_eq!(serde_json::to_string(class).unwrap(), format!("\"{class}\""));
        }
    }
}
