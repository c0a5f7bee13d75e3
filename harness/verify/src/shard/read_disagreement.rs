//! **Read disagreement**: a part of the log was read again, and holds something else than at the first time.
//!
//! A partition is one log. What a reader was handed at an offset stays there until it expires: a second reader, of whatever
//! replica, is handed the same. It is not so where the log was cut off and written anew without the reader's
//! noticing, or where a replica that leads now has other bytes than the one before. So after the load the log is read again around every
//! leader change and every fault, and held against what was seen at first: `digest.rs`. A second read is not checked itself, and finds nothing
//! that the first could.
//!
//! Each range that differs counts once; its witness says which. One that holds an offset which a fault of the scenario may have cost
//! ([`crate::window`]), and which was read in the log of a leader before that fault, is counted as *excused* besides. Logs that are not
//! [`gapless`](super::ShardConfig::gapless) are not compared: compaction takes records out between two reads. Nor is what the first reader was
//! not shown: below the log start, skipped, or in a batch that it could not read.

use std::ops::Range;

use crate::finding::FindingClass;
use crate::history::Event;
use crate::identity::{CrcSeed, DecodeError, decode};
use crate::window::TruncationWindow;

use super::Shard;
use super::digest::{Content, DigestsAgain};
use super::tally::Sighting;

/// A part of the log that is read again: [`Shard::read_again`]. Tell it in the order of offsets, and then [`Shard::compare`].
#[derive(Debug)]
pub struct Reread {
    run: u32,
    seed: CrcSeed,
    digests: DigestsAgain,
}

impl Reread {
    /// The offset to go on from; `None` if all of it was read.
    pub fn wanted(&self) -> Option<i64> {
        self.digests.wanted()
    }

    /// Takes a record: its offset and its value, as for [`Shard::record`]. Offsets that are not wanted are left out.
    pub fn record(&mut self, offset: i64, value: &[u8]) {
        let content = match decode(value, self.run, &self.seed) {
            Ok(identity) => Content::of_stream(identity.stream(), identity.pseq, offset),
            Err(DecodeError::Foreign) => Content::foreign(value.len()),
            Err(_) => Content::damaged(value),
        };
        self.digests.take(content, offset..offset + 1);
    }

    /// Takes a batch that can't be read, as [`Shard::corrupt_batch`].
    pub fn corrupt_batch(&mut self, offsets: Range<i64>) {
        self.digests.take(Content::UNREADABLE, offsets);
    }

    /// Below this offset nothing comes that was not told.
    pub fn pass(&mut self, position: i64) {
        self.digests.pass(position);
    }

    /// The log begins here now. Of ranges that reach below it nothing is said.
    pub fn log_start(&mut self, offset: i64) {
        self.digests.gone_below(offset);
    }
}

impl Shard {
    /// What of the log is to be read again: around every leader change, and where it holds any of `offsets`. Nothing of a log that
    /// can't be compared.
    pub fn to_read_again(&self, offsets: &[Range<i64>]) -> Vec<Range<i64>> {
        if !self.config.gapless {
            return Vec::new();
        }
        let changes = self.leader_epochs.changes().map(|start| start.saturating_sub(1)..start + 1);
        let wanted: Vec<Range<i64>> = changes.chain(offsets.iter().cloned()).collect();
        self.digests.around(&wanted)
    }

    /// Begins to read a part again that [`Shard::to_read_again`] named.
    pub fn read_again(&self, offsets: &Range<i64>) -> Reread {
        let digests = self.digests.again(offsets.clone());
        Reread { run: self.config.run, seed: self.seed, digests }
    }

    /// Holds what was read again against what was read at first, as far as both go.
    pub fn compare(&mut self, again: Reread) {
        let (from, width, sums) = again.digests.finish();
        self.flush();
        self.compare_digests(from, width, sums);
    }

    pub(crate) fn compare_digests(&mut self, from: i64, width: i64, sums: Vec<Option<u64>>) {
        let compared: Vec<_> = self.digests.compared(from, width, &sums).collect();
        self.note(|| Event::ReadAgain { from, width, sums });
        for (range, agrees) in compared {
            self.tally.summary.read_again += (range.end - range.start) as u64;
            if !agrees {
                self.note_disagreement(&range);
            }
        }
    }

    /// Whether a fault may have cost an offset of the range: one in its window, that was read in a batch of an earlier leader, or of one
    /// that was not shown. Epochs ascend along a log, so the first of them tells.
    fn may_have_cost(&self, window: &TruncationWindow, range: &Range<i64>) -> bool {
        let first = range.start.max(window.from_offset);
        first < range.end.min(window.until_offset) && self.leader_epochs.at(first) < window.first_epoch
    }

    fn note_disagreement(&mut self, range: &Range<i64>) {
        let window = self.windows.iter().find(|window| self.may_have_cost(window, range));
        let found =
            format!("offsets {}..={} were read again and hold something else", range.start, range.end - 1);
        let (class, detail) = match window {
            None => (FindingClass::ReadDisagreement, found),
            Some(window) => {
                (FindingClass::ReadDisagreementExcused, format!("excused by {}: {found}", window.cause))
            }
        };
        self.tally.summary.read_disagreements += 1;
        self.tally.summary.read_disagreements_excused += u64::from(window.is_some());
        let sighting = Sighting {
            count: (range.end - range.start) as u64,
            read_offset: Some(range.start),
            detail: Some(detail),
            ..Sighting::default()
        };
        self.tally.witness(class, sighting);
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges that have one")]
mod tests {
    use super::super::tests::{A, B, ack, config, end, findings, header, read, value};
    use super::super::{BatchHeader, PartitionReport, Shard};
    use crate::finding::FindingClass;
    use crate::window::TruncationWindow;

    /// Ten batches of the first leader, ten of the next, in turns of two streams, all acked and read.
    fn two_leaders() -> Shard {
        let mut shard = Shard::new(super::super::ShardConfig { gapless: true, ..config() });
        for batch in 0..20u64 {
            let (stream, first_pseq) = (if batch % 2 == 0 { A } else { B }, batch / 2 * 500);
            let offset = batch as i64 * 500;
            ack(&mut shard, stream, first_pseq, offset, 500);
            shard.begin_batch(&BatchHeader {
                leader_epoch: 1 + i32::from(batch >= 10),
                ..header(offset, offset + 499)
            });
            for index in 0..500 {
                shard.record(offset + index, &value(stream, first_pseq + index as u64));
            }
            shard.end_batch();
        }
        shard
    }

    /// What lies at an offset of [`two_leaders`].
    fn value_at(offset: i64) -> Vec<u8> {
        let (batch, index) = (offset / 500, offset % 500);
        value(if batch % 2 == 0 { A } else { B }, (batch / 2 * 500 + index) as u64)
    }

    fn read_again(shard: &mut Shard, at: impl Fn(i64) -> Vec<u8>) {
        for range in shard.to_read_again(&[]) {
            let mut again = shard.read_again(&range);
            while let Some(offset) = again.wanted() {
                again.record(offset, &at(offset));
            }
            shard.compare(again);
        }
    }

    #[test]
    fn what_is_the_same_around_a_leader_change_is_no_finding() {
        let mut shard = two_leaders();
        // Leader 2 begins at 5000: in the second of three ranges of 4096.
        assert_eq!(shard.to_read_again(&[]), [4_096..8_192]);
        assert_eq!(shard.to_read_again(&[100..101, 9_999..20_000]), [0..10_000]);
        read_again(&mut shard, value_at);
        assert_eq!(findings(&shard.finish(&end(10_000))), [("read_again", 4_096)]);
    }

    #[test]
    fn another_record_at_one_offset_is_found() {
        let mut shard = two_leaders();
        read_again(&mut shard, |offset| if offset == 5_005 { value(A, 9_999) } else { value_at(offset) });
        let report = shard.finish(&end(10_000));
        assert_eq!(findings(&report), [("read_again", 4_096), ("read_disagreements", 1)]);
        let witness = &report.evidence.get(FindingClass::ReadDisagreement).unwrap().first()[0];
        let detail = witness.detail.as_deref().unwrap_or_default();
        assert_eq!(detail, "offsets 4096..=8191 were read again and hold something else");
    }

    /// All that a power loss with these bounds leaves is compared with something else.
    fn after_power_loss(from_offset: i64, until_offset: i64, first_epoch: i32) -> PartitionReport {
        let mut shard = two_leaders();
        let cause = "power loss".to_owned();
        shard.state_window(&TruncationWindow {
            from_offset,
            until_offset,
            first_epoch,
            acked_before_ns: 1,
            cause,
        });
        read_again(&mut shard, |offset| value(A, offset as u64));
        shard.finish(&end(10_000))
    }

    #[test]
    fn what_a_fault_can_not_have_cost_is_not_excused() {
        // Below the cut; above what there was to lose; written by the first leader after the fault, however high the window goes.
        for (from, until, first_epoch) in [(8_192, i64::MAX, 2), (0, 4_096, 2), (5_000, i64::MAX, 2)] {
            let report = after_power_loss(from, until, first_epoch);
            assert_eq!(report.summary.read_disagreements_excused, 0, "{from}..{until} from {first_epoch}");
            assert_eq!(report.summary.count_of(FindingClass::ReadDisagreement), Some(1));
        }
    }

    #[test]
    fn what_the_first_reader_was_not_shown_is_not_compared() {
        let mut shard = Shard::new(super::super::ShardConfig { gapless: true, ..config() });
        read(&mut shard, A, 0, 0, 500);
        // The leader had deleted these; the next one has not.
        shard.log_start(600);
        read(&mut shard, A, 600, 600, 10_000);
        let mut again = shard.read_again(&(0..10_600));
        while let Some(offset) = again.wanted() {
            again.record(offset, &value(A, offset as u64));
        }
        shard.compare(again);
        let report = shard.finish(&end(10_600));
        assert_eq!((report.summary.read_again, report.summary.read_disagreements), (10_600 - 4_096, 0));
        assert_eq!(report.summary.position_skips, 0);
    }

    #[test]
    fn what_a_fault_may_have_cost_is_excused() {
        let report = after_power_loss(4_990, 5_000, 2);
        assert_eq!(report.summary.read_disagreements_excused, 1);
        assert_eq!(report.summary.count_of(FindingClass::ReadDisagreement), Some(0));
        let witness = &report.evidence.get(FindingClass::ReadDisagreementExcused).unwrap().first()[0];
        assert!(
            witness.detail.as_deref().unwrap_or_default().starts_with("excused by power loss"),
            "{witness}"
        );
    }

    #[test]
    fn a_log_with_gaps_is_not_compared() {
        let mut shard = Shard::new(config());
        read(&mut shard, A, 0, 0, 5);
        assert_eq!(shard.to_read_again(&[0..5]), []);
    }
}
