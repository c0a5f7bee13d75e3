//! Exact counts of one partition, and their sum over many.

use serde::{Deserialize, Serialize};

use crate::FindingClass;

macro_rules! summary {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What was settled, read and found, in records unless a field says otherwise.
        ///
        /// Sums are exact and merge in any order and grouping.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Summary {
            $($(#[$doc])* pub $field: u64,)*
            /// The checker ran out of its memory share somewhere: `unchecked` says how many records it
            /// gave up on, and offsets of others may not have been compared. Findings still hold; a
            /// clean result is not a proof.
            pub degraded: bool,
        }

        impl Summary {
            /// Adds the counts of another partition, or of another part of the same.
            pub fn merge(&mut self, other: &Summary) {
                // A damaged offset can make one of them as large as a log can't be.
                $(self.$field = self.$field.saturating_add(other.$field);)*
                self.degraded |= other.degraded;
            }

            /// Every count by name, in the order of the fields.
            pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }
        }
    };
}

summary! {
    /// Settled as acked.
    acked,
    /// Settled as certainly not appended.
    failed,
    /// Settled as possibly appended.
    indeterminate,
    /// Settled as sent with acks=0.
    unacknowledged,
    /// Read intact, of this run, in the right partition; every copy counts.
    checked,
    /// Read, and then cut off with the end of the log. Not in `checked` any more, except what was read again.
    taken_back,
    /// Batches read, control batches included.
    batches,
    /// Control batches read.
    control_batches,
    /// Acked and not in the log.
    lost,
    /// Those of `lost` that a stated window explains.
    lost_excused,
    /// Copies beyond the first.
    duplicates,
    /// Those of `duplicates` under another producer id or epoch than before.
    duplicates_after_epoch_bump,
    /// First seen behind a record of the same stream that was sent later.
    reordered,
    /// Those of `reordered` where both records were acked.
    reordered_acked,
    /// Of this run, and changed.
    corrupt,
    /// Of this run, intact, in the wrong log.
    misrouted,
    /// Read and never sent; on a topic that this run created also everything foreign.
    phantom,
    /// Read though certainly not appended.
    failed_but_present,
    /// Read at another offset than the ack said.
    inconsistent_offsets,
    /// Those of `inconsistent_offsets` that a stated window explains.
    inconsistent_offsets_excused,
    /// Acked before a record that lies below was sent.
    real_time_order,
    /// Acked at an offset that the reader did not get to, or without an offset and not read.
    unseen,
    /// Those of `unseen` where our own reader was the limit.
    unseen_reader_limited,
    /// Acked, and deleted by the broker before it was read.
    expired,
    /// Acked, not read, and possibly compacted away: the log had a later record of the key when the reader came by.
    compacted,
    /// Keys of a compacted log whose latest record was gone, and an older one was not, when it was read once more.
    resurrected_keys,
    /// Somebody else's, on a topic that was there before.
    foreign,
    /// Possibly appended, and in the log.
    indeterminate_present,
    /// Sent with acks=0, and in the log.
    unacknowledged_present,
    /// Sent with acks=0, and not in the log.
    unacknowledged_absent,
    /// Batches whose leader epoch is below that of the batch before.
    leader_epoch_regressions,
    /// Answers whose high watermark is below an earlier one of the same replica and leader epoch.
    high_watermark_regressions,
    /// Answers whose last stable offset is below an earlier one of the same replica and leader epoch.
    last_stable_offset_regressions,
    /// Batches before which sequence numbers of their producer id and epoch are missing.
    sequence_gaps,
    /// Batches that begin at or below a sequence number that the log holds of their producer id and epoch.
    sequence_repeats,
    /// Batches of an older epoch behind a newer one of the same producer id.
    zombie_writes,
    /// Offsets that the reader was not handed though the log has them.
    position_skips,
    /// Handed over by a client under test below the reader's position, and ignored.
    position_steps_back,
    /// Offsets that were read a second time, by somebody else, to compare.
    read_again,
    /// Ranges of these that held something else than at the first time.
    read_disagreements,
    /// Those of `read_disagreements` that a stated window explains.
    read_disagreements_excused,
    /// Settled a second time and ignored: a fault of the caller.
    settled_twice,
    /// Handed in again below the reader's position by gauntlet's own reader, or at an impossible offset, and ignored: a fault of
    /// the caller.
    reread,
    /// Given up on for want of memory; see `degraded`.
    unchecked,
}

impl Summary {
    /// The count behind a class of finding; `None` if record checking does not produce that class.
    pub fn count_of(&self, class: FindingClass) -> Option<u64> {
        use FindingClass as C;
        Some(match class {
            C::Lost => self.lost - self.lost_excused,
            C::LostExcused => self.lost_excused,
            C::Duplicate => self.duplicates - self.duplicates_after_epoch_bump,
            C::DuplicateAfterEpochBump => self.duplicates_after_epoch_bump,
            C::Reorder => self.reordered_acked,
            C::ReorderAmongUnacked => self.reordered - self.reordered_acked,
            C::Corrupt => self.corrupt,
            C::Misrouted => self.misrouted,
            C::Phantom => self.phantom,
            C::FailedButPresent => self.failed_but_present,
            C::InconsistentOffset => self.inconsistent_offsets - self.inconsistent_offsets_excused,
            C::InconsistentOffsetExcused => self.inconsistent_offsets_excused,
            C::RealTimeOrder => self.real_time_order,
            C::Unseen => self.unseen,
            C::Expired => self.expired,
            C::ResurrectedKey => self.resurrected_keys,
            C::Foreign => self.foreign,
            C::IndeterminatePresent => self.indeterminate_present,
            C::IndeterminateAbsent => self.indeterminate - self.indeterminate_present,
            C::UnacknowledgedPresent => self.unacknowledged_present,
            C::UnacknowledgedAbsent => self.unacknowledged_absent,
            C::PositionSkip => self.position_skips,
            C::PositionStepBack => self.position_steps_back,
            C::ReadDisagreement => self.read_disagreements - self.read_disagreements_excused,
            C::ReadDisagreementExcused => self.read_disagreements_excused,
            C::SequenceGap => self.sequence_gaps,
            C::SequenceRepeat => self.sequence_repeats,
            C::ZombieWrite => self.zombie_writes,
            C::LeaderEpochRegression => self.leader_epoch_regressions,
            C::HighWatermarkRegression => self.high_watermark_regressions,
            C::LastStableOffsetRegression => self.last_stable_offset_regressions,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arbitrary() -> impl Strategy<Value = Summary> {
        (prop::array::uniform8(0u64..1 << 40), any::<bool>()).prop_map(|(n, degraded)| Summary {
            acked: n[0],
            checked: n[1],
            lost: n[2],
            duplicates: n[3],
            reordered: n[4],
            phantom: n[5],
            unchecked: n[6],
            foreign: n[7],
            degraded,
            ..Summary::default()
        })
    }

    fn sum(left: &Summary, right: &Summary) -> Summary {
        let mut total = left.clone();
        total.merge(right);
        total
    }

    proptest! {
        #[test]
        fn merging_is_associative_and_commutative(a in arbitrary(), b in arbitrary(), c in arbitrary()) {
            prop_assert_eq!(sum(&sum(&a, &b), &c), sum(&a, &sum(&b, &c)));
            prop_assert_eq!(sum(&a, &b), sum(&b, &a));
            prop_assert_eq!(sum(&a, &Summary::default()), a);
        }
    }

    #[test]
    fn every_count_takes_part_in_a_merge() {
        let ones = {
            let names = Summary::default().counts().map(|(name, _)| (name.to_owned(), 1.into()));
            let mut fields: serde_json::Map<String, serde_json::Value> = names.collect();
            fields.insert("degraded".to_owned(), true.into());
            serde_json::from_value::<Summary>(fields.into()).unwrap()
        };
        let twice = sum(&ones, &ones);
        assert!(twice.counts().all(|(_, count)| count == 2));
        assert!(twice.degraded);
    }
}
