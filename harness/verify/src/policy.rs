//! Which finding breaks which promise. Detection never looks here, and this never looks at records.

use serde::{Deserialize, Serialize};

use crate::{FindingClass, Guarantee, Order};

/// What a finding means for the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// A promise was broken.
    Violation,
    /// Allowed by the configuration or explained by a fault; counted and shown.
    Expected,
    /// Nothing to hold against anyone; counted only. `unseen` is here because the built-in expectation
    /// `verify.unseen == 0` judges it, and a batch sequence gap because it proves nothing alone.
    NotAFinding,
}

/// What a consumer group promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Nothing.
    None,
    /// No record twice.
    AtMostOnce,
    /// No record skipped.
    AtLeastOnce,
    /// Neither.
    ExactlyOnce,
}

impl Delivery {
    fn forbids_skips(self) -> bool {
        matches!(self, Self::AtLeastOnce | Self::ExactlyOnce)
    }

    fn forbids_repeats(self) -> bool {
        matches!(self, Self::AtMostOnce | Self::ExactlyOnce)
    }
}

/// Where and under what circumstances a finding was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The topic allows unclean elections.
    pub unclean_election: bool,
    /// The group rebalanced between the two observations.
    pub rebalanced: bool,
    /// The partition's leader changed between the two observations.
    pub leader_changed: bool,
    /// What the group promises, for findings about a group.
    pub delivery: Delivery,
}

impl Context {
    /// A log without faults, read outside any group.
    pub const PLAIN: Context = Context {
        unclean_election: false,
        rebalanced: false,
        leader_changed: false,
        delivery: Delivery::None,
    };
}

/// Judges one finding under a guarantee: the design's table, row by row.
pub fn judge(class: FindingClass, guarantee: &Guarantee, context: &Context) -> Judgement {
    use FindingClass as C;
    let clean = !context.unclean_election;
    let forbidden = match class {
        C::Lost | C::InconsistentOffset | C::RealTimeOrder | C::ResurrectedKey => guarantee.durable,
        C::Duplicate | C::CommitDuplicate | C::SequenceRepeat => guarantee.unique,
        C::DuplicateAfterEpochBump | C::OwnershipOverlap | C::ZombieWrite => guarantee.is_exactly_once(),
        C::Reorder => guarantee.ordered >= Order::Acked,
        C::ReorderAmongUnacked => guarantee.ordered == Order::All,
        C::AbortedRead
        | C::TornTransaction
        | C::PrecommittedRead
        | C::MarkerAgainstAnswer
        | C::OffsetAtomicity
        | C::CyclicInformationFlow => guarantee.atomic,
        C::Corrupt | C::Misrouted | C::Phantom | C::FailedButPresent => true,
        C::LeaderEpochRegression | C::HangingTransaction => true,
        C::ReadDisagreement | C::HighWatermarkRegression | C::LastStableOffsetRegression => clean,
        C::PositionSkip | C::PositionStepBack => !context.rebalanced,
        C::GroupSkip | C::PrematureCommit => context.delivery.forbids_skips(),
        C::GroupRedelivery => context.delivery.forbids_repeats(),
        C::ShareRedelivery | C::ShareDoubleHolder | C::ShareNeverTerminal => !context.leader_changed,
        // What a fault may cost is decided per record, where it is found: see `crate::window`.
        C::Expired | C::LostExcused | C::InconsistentOffsetExcused | C::ReadDisagreementExcused => false,
        C::IndeterminateAbsent
        | C::IndeterminatePresent
        | C::UnacknowledgedAbsent
        | C::UnacknowledgedPresent
        | C::SequenceGap
        | C::Unseen
        | C::Foreign => return Judgement::NotAFinding,
    };
    if forbidden { Judgement::Violation } else { Judgement::Expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    use FindingClass as C;
    use Judgement::{Expected as E, NotAFinding as N, Violation as V};

    /// Columns: none, at-most-once, at-least-once, idempotent, exactly-once.
    const TABLE: &[(FindingClass, [Judgement; 5])] = &[
        (C::Lost, [E, E, V, V, V]),
        (C::LostExcused, [E; 5]),
        (C::Duplicate, [E, V, E, V, V]),
        (C::CommitDuplicate, [E, V, E, V, V]),
        (C::DuplicateAfterEpochBump, [E, E, E, E, V]),
        (C::Reorder, [E, E, E, V, V]),
        (C::ReorderAmongUnacked, [E, E, E, V, V]),
        (C::AbortedRead, [E, E, E, E, V]),
        (C::TornTransaction, [E, E, E, E, V]),
        (C::PrecommittedRead, [E, E, E, E, V]),
        (C::MarkerAgainstAnswer, [E, E, E, E, V]),
        (C::OffsetAtomicity, [E, E, E, E, V]),
        (C::CyclicInformationFlow, [E, E, E, E, V]),
        (C::IndeterminateAbsent, [N; 5]),
        (C::IndeterminatePresent, [N; 5]),
        (C::UnacknowledgedAbsent, [N; 5]),
        (C::UnacknowledgedPresent, [N; 5]),
        (C::Corrupt, [V; 5]),
        (C::Misrouted, [V; 5]),
        (C::Phantom, [V; 5]),
        (C::FailedButPresent, [V; 5]),
        (C::LeaderEpochRegression, [V; 5]),
        (C::ReadDisagreement, [V; 5]),
        (C::ReadDisagreementExcused, [E; 5]),
        (C::HighWatermarkRegression, [V; 5]),
        (C::LastStableOffsetRegression, [V; 5]),
        (C::InconsistentOffset, [E, E, V, V, V]),
        (C::InconsistentOffsetExcused, [E; 5]),
        (C::RealTimeOrder, [E, E, V, V, V]),
        (C::ResurrectedKey, [E, E, V, V, V]),
        (C::PositionSkip, [V; 5]),
        (C::PositionStepBack, [V; 5]),
        (C::GroupSkip, [E; 5]),
        (C::PrematureCommit, [E; 5]),
        (C::GroupRedelivery, [E; 5]),
        (C::OwnershipOverlap, [E, E, E, E, V]),
        (C::ZombieWrite, [E, E, E, E, V]),
        (C::ShareRedelivery, [V; 5]),
        (C::ShareDoubleHolder, [V; 5]),
        (C::ShareNeverTerminal, [V; 5]),
        (C::HangingTransaction, [V; 5]),
        (C::SequenceGap, [N; 5]),
        (C::SequenceRepeat, [E, V, E, V, V]),
        (C::Expired, [E; 5]),
        (C::Unseen, [N; 5]),
        (C::Foreign, [N; 5]),
    ];

    #[test]
    fn every_row_under_every_preset() {
        let rows: Vec<FindingClass> = TABLE.iter().map(|(class, _)| *class).collect();
        assert_eq!(rows, FindingClass::ALL, "the table has every class once");
        for (class, expected) in TABLE {
            for (preset, expected) in Preset::ALL.iter().zip(expected) {
                let judged = judge(*class, &preset.guarantee(), &Context::PLAIN);
                assert_eq!(judged, *expected, "{class} under {preset:?}");
            }
        }
    }

    #[test]
    fn order_among_acked_records_only() {
        let guarantee = Guarantee { ordered: Order::Acked, ..Preset::AtLeastOnce.guarantee() };
        assert_eq!(judge(C::Reorder, &guarantee, &Context::PLAIN), V);
        assert_eq!(judge(C::ReorderAmongUnacked, &guarantee, &Context::PLAIN), E);
    }

    #[test]
    fn circumstances_excuse_only_their_own_rows() {
        let all = Preset::ExactlyOnce.guarantee();
        let excused = |context: Context| -> Vec<FindingClass> {
            let convicts = |class: &FindingClass, context: &Context| judge(*class, &all, context) == V;
            let excused =
                |class: &&FindingClass| convicts(class, &Context::PLAIN) && !convicts(class, &context);
            FindingClass::ALL.iter().filter(excused).copied().collect()
        };
        let watermarks = [C::ReadDisagreement, C::HighWatermarkRegression, C::LastStableOffsetRegression];
        assert_eq!(excused(Context { unclean_election: true, ..Context::PLAIN }), watermarks);
        assert_eq!(
            excused(Context { rebalanced: true, ..Context::PLAIN }),
            [C::PositionSkip, C::PositionStepBack]
        );
        assert_eq!(
            excused(Context { leader_changed: true, ..Context::PLAIN }),
            [C::ShareRedelivery, C::ShareDoubleHolder, C::ShareNeverTerminal]
        );
    }

    #[test]
    fn a_group_is_judged_by_its_delivery() {
        let none = Preset::None.guarantee();
        let judged = |class, delivery| judge(class, &none, &Context { delivery, ..Context::PLAIN });
        for (delivery, skips, repeats) in [
            (Delivery::None, E, E),
            (Delivery::AtMostOnce, E, V),
            (Delivery::AtLeastOnce, V, E),
            (Delivery::ExactlyOnce, V, V),
        ] {
            assert_eq!(judged(C::GroupSkip, delivery), skips, "{delivery:?}");
            assert_eq!(judged(C::PrematureCommit, delivery), skips, "{delivery:?}");
            assert_eq!(judged(C::GroupRedelivery, delivery), repeats, "{delivery:?}");
        }
    }
}
