//! What librdkafka reports of a record, as a run of one that is folded with its neighbours.

use gauntlet_rdkafka::Code;
use gauntlet_rdkafka::producer::{Persistence, Report};
use gauntlet_wire::ErrorCode;

use crate::load::folding::Run;

/// Bits of a tag that hold the number of a record in its stream: 10^12 of them, 12 days at a million per second on one
/// partition.
const PSEQ_BITS: u32 = 40;
/// The same as a mask.
const PSEQ_MASK: u64 = (1 << PSEQ_BITS) - 1;
/// Most partitions that a tag can tell apart.
pub const PARTITIONS_MAX: usize = 1 << (u64::BITS - PSEQ_BITS);

/// A partition and the number of a record in its stream there, as the tag that goes with the record.
#[inline]
#[must_use]
pub fn pack(partition: usize, pseq: u64) -> u64 {
    debug_assert!(partition < PARTITIONS_MAX && pseq <= PSEQ_MASK);
    (partition as u64) << PSEQ_BITS | (pseq & PSEQ_MASK)
}

/// The reverse of [`pack`].
#[inline]
#[must_use]
pub fn unpack(tag: u64) -> (usize, u64) {
    ((tag >> PSEQ_BITS) as usize, tag & PSEQ_MASK)
}

/// What became of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Acked; with acks=0, sent.
    Acked,
    /// Not in the log.
    Failed(Code),
    /// In the log or not.
    Open(Code),
}

/// What a report says. librdkafka's word counts, but "not persisted" on a broker's error counts only for errors that the
/// broker decides before the append: librdkafka takes NOT_LEADER_OR_FOLLOWER for such a one, and it is not (KAFKA-13574).
#[inline]
#[must_use]
pub fn fate(report: &Report) -> Fate {
    let code = report.code;
    match report.persistence {
        Persistence::Yes => Fate::Acked,
        // acks=0: nobody will say more.
        _ if code.is_ok() => Fate::Acked,
        Persistence::Possibly => Fate::Open(code),
        Persistence::Not if code.is_of_broker() && !of_broker(code).rejected_before_append() => {
            Fate::Open(code)
        }
        Persistence::Not => Fate::Failed(code),
    }
}

/// A code as the protocol has it. librdkafka's own are numbers that no broker uses.
#[must_use]
pub fn of_broker(code: Code) -> ErrorCode {
    ErrorCode(i16::try_from(code.0).unwrap_or(i16::MIN))
}

/// A report as a run of one record; its lane is the partition.
#[inline]
#[must_use]
pub fn run_of(report: &Report) -> Run<Fate> {
    let (lane, first) = unpack(report.tag);
    Run { lane, first, count: 1, offset: report.offset, fate: fate(report) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(
        partition: usize,
        pseq: u64,
        offset: Option<i64>,
        code: i32,
        persistence: Persistence,
    ) -> Report {
        Report { tag: pack(partition, pseq), offset, code: Code(code), persistence }
    }

    #[test]
    fn the_clients_word_counts_where_a_broker_could_know() {
        use Persistence::{Not, Possibly, Yes};
        let says = |code: i32, persistence| fate(&report(0, 0, None, code, persistence));
        assert_eq!(says(0, Yes), Fate::Acked);
        assert_eq!(says(0, Possibly), Fate::Acked, "with acks=0 there is no more to know");
        assert_eq!(says(-192, Not), Fate::Failed(Code(-192)), "timed out, never sent");
        assert_eq!(says(-192, Possibly), Fate::Open(Code(-192)), "timed out after it was sent");
        assert_eq!(says(19, Not), Fate::Failed(Code(19)), "NOT_ENOUGH_REPLICAS is decided before the append");
        assert_eq!(says(6, Not), Fate::Open(Code(6)), "NOT_LEADER_OR_FOLLOWER may be said after it");
        assert_eq!(says(-1, Not), Fate::Open(Code(-1)), "UNKNOWN_SERVER_ERROR proves nothing");
    }

    #[test]
    fn a_report_is_a_run_of_one() {
        let run = run_of(&report(7, 5, Some(90), 0, Persistence::Yes));
        assert_eq!(run, Run { lane: 7, first: 5, count: 1, offset: Some(90), fate: Fate::Acked });
    }

    proptest! {
        #[test]
        fn tags_are_unpacked_as_they_were_packed(partition in 0..PARTITIONS_MAX, pseq in 0..=PSEQ_MASK) {
            prop_assert_eq!(unpack(pack(partition, pseq)), (partition, pseq));
        }
    }
}
