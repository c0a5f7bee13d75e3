//! Reports of records, one by one, become runs: what is settled is settled per run, so that its cost does not grow with the
//! number of records.

use gauntlet_rdkafka::Code;
use gauntlet_rdkafka::producer::{Persistence, Report};
use gauntlet_wire::ErrorCode;

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

/// Records of one stream, one behind the other, that ended alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Their partition.
    pub partition: usize,
    /// Number of the first.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// Offset of the first, where it is known; then that of each other is known, too, and follows from it.
    pub offset: Option<i64>,
    /// What became of them.
    pub fate: Fate,
}

/// Folds reports in the order in which they come.
#[derive(Debug, Default)]
pub struct Folder {
    open: Option<Run>,
}

impl Folder {
    /// Takes a report. Returns the run before it, if that ends here.
    #[inline]
    pub fn push(&mut self, report: &Report) -> Option<Run> {
        let (partition, pseq) = unpack(report.tag);
        let fate = fate(report);
        if let Some(open) = &mut self.open
            && open.partition == partition
            && open.first + u64::from(open.count) == pseq
            && open.fate == fate
            && open.offset.map(|offset| offset + i64::from(open.count)) == report.offset
            && open.count < u32::MAX
        {
            open.count += 1;
            return None;
        }
        self.open.replace(Run { partition, first: pseq, count: 1, offset: report.offset, fate })
    }

    /// The last run.
    pub fn flush(&mut self) -> Option<Run> {
        self.open.take()
    }
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
    fn a_batch_is_one_run() {
        let mut folder = Folder::default();
        for i in 0..1_000 {
            assert_eq!(folder.push(&report(7, 5 + i, Some(90 + i as i64), 0, Persistence::Yes)), None);
        }
        let run = Run { partition: 7, first: 5, count: 1_000, offset: Some(90), fate: Fate::Acked };
        assert_eq!((folder.flush(), folder.flush()), (Some(run), None));
    }

    fn reports() -> impl Strategy<Value = Vec<Report>> {
        // Few values, so that neighbours often go on with each other and often do not.
        let one = (0..2usize, 0..12u64, prop::option::of(0..12i64), 0..3u8).prop_map(
            |(partition, pseq, offset, kind)| match kind {
                0 => report(partition, pseq, offset, 0, Persistence::Yes),
                1 => report(partition, pseq, None, -192, Persistence::Not),
                _ => report(partition, pseq, None, 7, Persistence::Possibly),
            },
        );
        // And runs, as batches are.
        let batch = (0..2usize, 0..1_000_000u64, prop::option::of(0..100i64), 1..9u64).prop_map(
            |(partition, first, offset, count)| {
                let of =
                    |i: u64| report(partition, first + i, offset.map(|o| o + i as i64), 0, Persistence::Yes);
                (0..count).map(of).collect::<Vec<_>>()
            },
        );
        prop::collection::vec(prop_oneof![one.prop_map(|r| vec![r]), batch], 0..30)
            .prop_map(|all| all.into_iter().flatten().collect())
    }

    proptest! {
        /// Unfolded, runs are the reports again, one by one and in order; and no run could have been longer.
        #[test]
        fn folding_loses_and_adds_nothing(reports in reports()) {
            let mut folder = Folder::default();
            let mut runs: Vec<Run> = reports.iter().filter_map(|r| folder.push(r)).collect();
            runs.extend(folder.flush());
            let unfolded: Vec<_> = runs.iter().flat_map(|run| (0..run.count).map(move |i| {
                (run.partition, run.first + u64::from(i), run.offset.map(|o| o + i64::from(i)), run.fate)
            })).collect();
            let naive: Vec<_> = reports.iter().map(|r| {
                let (partition, pseq) = unpack(r.tag);
                (partition, pseq, r.offset, fate(r))
            }).collect();
            prop_assert_eq!(unfolded, naive);
            for pair in runs.windows(2) {
                let (a, b) = (pair[0], pair[1]);
                let goes_on = a.partition == b.partition
                    && a.first + u64::from(a.count) == b.first
                    && a.fate == b.fate
                    && a.offset.map(|o| o + i64::from(a.count)) == b.offset;
                prop_assert!(!goes_on, "{a:?} {b:?}");
            }
        }

        #[test]
        fn tags_are_unpacked_as_they_were_packed(partition in 0..PARTITIONS_MAX, pseq in 0..=PSEQ_MASK) {
            prop_assert_eq!(unpack(pack(partition, pseq)), (partition, pseq));
        }
    }
}
