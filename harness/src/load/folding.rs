//! Reports of records, one by one, become runs: what is settled is settled per run, so that its cost does not grow with the
//! number of records.

/// Records, one behind the other, that ended alike. `F` is what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<F> {
    /// What their numbers are numbers in: a partition, or 0 where numbers run through all of them.
    pub lane: usize,
    /// Number of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Offset of the first, where it is known; then that of each other is known, too, and follows from it.
    pub offset: Option<i64>,
    /// What became of them.
    pub fate: F,
}

/// Folds reports in the order in which they come.
#[derive(Debug)]
pub struct Folder<F> {
    open: Option<Run<F>>,
}

impl<F> Default for Folder<F> {
    fn default() -> Self {
        Folder { open: None }
    }
}

impl<F: Copy + PartialEq> Folder<F> {
    /// Takes a report. Returns the run before it, if that ends here.
    #[inline]
    pub fn push(&mut self, report: Run<F>) -> Option<Run<F>> {
        if let Some(open) = &mut self.open
            && open.lane == report.lane
            && open.first + open.count == report.first
            && open.fate == report.fate
            && open.offset.map(|offset| offset.wrapping_add_unsigned(open.count)) == report.offset
            && open.count + report.count <= u64::from(u32::MAX)
        {
            open.count += report.count;
            return None;
        }
        self.open.replace(report)
    }

    /// The last run.
    pub fn flush(&mut self) -> Option<Run<F>> {
        self.open.take()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(lane: usize, first: u64, count: u64, offset: Option<i64>, fate: u8) -> Run<u8> {
        Run { lane, first, count, offset, fate }
    }

    #[test]
    fn a_batch_is_one_run() {
        let mut folder = Folder::default();
        for i in 0..1_000 {
            assert_eq!(folder.push(run(7, 5 + i, 1, Some(90 + i as i64), 0)), None);
        }
        assert_eq!(folder.push(run(7, 1_005, 20, Some(1_090), 0)), None, "a run goes on, too");
        assert_eq!((folder.flush(), folder.flush()), (Some(run(7, 5, 1_020, Some(90), 0)), None));
    }

    fn reports() -> impl Strategy<Value = Vec<Run<u8>>> {
        // Few values, so that neighbours often go on with each other and often do not.
        let one = (0..2usize, 0..12u64, 1..4u64, prop::option::of(0..12i64), 0..3u8)
            .prop_map(|(lane, first, count, offset, fate)| run(lane, first, count, offset, fate));
        // And runs, as batches are.
        let batch = (0..2usize, 0..1_000_000u64, prop::option::of(0..100i64), 1..9u64).prop_map(
            |(lane, first, offset, count)| {
                let of = |i: u64| run(lane, first + i, 1, offset.map(|o| o + i as i64), 0);
                (0..count).map(of).collect::<Vec<_>>()
            },
        );
        prop::collection::vec(prop_oneof![one.prop_map(|r| vec![r]), batch], 0..30)
            .prop_map(|all| all.into_iter().flatten().collect())
    }

    /// Record by record.
    fn unfolded(runs: &[Run<u8>]) -> Vec<(usize, u64, Option<i64>, u8)> {
        let of = |run: &Run<u8>| {
            let Run { lane, first, count, offset, fate } = *run;
            (0..count).map(move |i| (lane, first + i, offset.map(|o| o + i as i64), fate))
        };
        runs.iter().flat_map(of).collect()
    }

    proptest! {
        /// Unfolded, runs are the reports again, one by one and in order; and no run could have been longer.
        #[test]
        fn folding_loses_and_adds_nothing(reports in reports()) {
            let mut folder = Folder::default();
            let mut runs: Vec<Run<u8>> = reports.iter().filter_map(|r| folder.push(*r)).collect();
            runs.extend(folder.flush());
            prop_assert_eq!(unfolded(&runs), unfolded(&reports));
            for pair in runs.windows(2) {
                let (a, b) = (pair[0], pair[1]);
                let goes_on = a.lane == b.lane
                    && a.first + a.count == b.first
                    && a.fate == b.fate
                    && a.offset.map(|o| o + a.count as i64) == b.offset;
                prop_assert!(!goes_on, "{a:?} {b:?}");
            }
        }
    }
}
