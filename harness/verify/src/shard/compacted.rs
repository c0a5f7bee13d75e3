//! **Compacted**: an acked record of a compacted log that the reader was not handed, and that may be gone by right.
//!
//! Which ones the log owed its reader all the same is worked out apart ([`crate::compaction::Owed`]), because it takes the keys of
//! records, which a shard does not know. It is told before the end; what is not owed counts as compacted, and is no finding. An ack without an
//! offset names no place that could be owed: its record counts as compacted, too, if it was not read.
//!
//! When the log is read once more, from its start, every key must still have its latest record. If an older one is left, that is a
//! *resurrected key*; if nothing is, the record that had been there is *lost*.

use crate::compaction::KeyLeft;
use crate::finding::FindingClass;
use crate::history::Event;
use crate::run::Run;

use super::Shard;
use super::tally::{Sighting, Tally};

impl Shard {
    /// Says which offsets of acked records the log owes: all others that were passed without their records may have been compacted away. Of
    /// a log that is [`compacted`](super::ShardConfig::compacted); before [`Shard::note_end`]. `is_degraded`: more may be owed.
    pub fn owes(&mut self, owed: &[i64], is_degraded: bool) {
        self.flush();
        self.note(|| Event::Owes(owed.to_vec(), is_degraded));
        self.tally.summary.degraded |= is_degraded;
        for offset in owed.iter().filter_map(|offset| u64::try_from(*offset).ok()) {
            self.owed_at.insert(offset..offset.saturating_add(1));
        }
    }

    /// Says what a second reading has found of a key whose latest record is gone. Before [`Shard::note_end`].
    pub fn key_left(&mut self, key: &KeyLeft) {
        self.flush();
        self.note(|| Event::KeyLeft(*key));
        let class = match key.left {
            Some(_) => {
                self.tally.summary.resurrected_keys += 1;
                FindingClass::ResurrectedKey
            }
            None => {
                self.tally.summary.lost += 1;
                FindingClass::Lost
            }
        };
        let sighting = Sighting {
            count: 1,
            read_offset: Some(key.latest),
            detail: Some(key.to_string()),
            ..Sighting::default()
        };
        self.tally.witness(class, sighting);
    }

    /// Counts what of a missed run may have been compacted away. Returns what is owed.
    pub(super) fn owed_of(&self, tally: &mut Tally, run: Run) -> Vec<Run> {
        if !self.config.compacted {
            return vec![run];
        }
        let owed: Vec<Run> =
            self.owed_at.present_in(run.offsets()).map(|offsets| run.slice_offsets(offsets)).collect();
        tally.summary.compacted += run.count - owed.iter().map(|run| run.count).sum::<u64>();
        owed
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{A, ack, config, end, findings, read};
    use super::super::{Shard, ShardConfig};
    use crate::compaction::KeyLeft;
    use crate::finding::FindingClass;

    /// Ten acked records, of which 2 to 5 are not there.
    fn with_a_gap() -> Shard {
        let mut shard = Shard::new(ShardConfig { compacted: true, ..config() });
        ack(&mut shard, A, 0, 0, 10);
        read(&mut shard, A, 0, 0, 2);
        read(&mut shard, A, 6, 6, 4);
        shard
    }

    #[test]
    fn what_is_not_owed_was_compacted() {
        assert_eq!(findings(&with_a_gap().finish(&end(10))), [("compacted", 4)]);
        let mut shard = with_a_gap();
        shard.owes(&[3, 4], false);
        assert_eq!(findings(&shard.finish(&end(10))), [("lost", 2), ("compacted", 2)]);
    }

    #[test]
    fn what_is_above_the_end_is_no_matter_of_compaction() {
        let mut shard = with_a_gap();
        ack(&mut shard, A, 10, 10, 5);
        let report = shard.finish(&super::super::ReadEnd { end_is_final: true, ..end(10) });
        assert_eq!(findings(&report), [("lost", 5), ("compacted", 4)]);
    }

    #[test]
    fn a_key_that_lost_its_latest_record_is_found() {
        let mut shard = with_a_gap();
        shard.key_left(&KeyLeft { key: 7, latest: 9, left: Some(1) });
        shard.key_left(&KeyLeft { key: 8, latest: 8, left: None });
        let report = shard.finish(&end(10));
        assert_eq!(findings(&report), [("lost", 1), ("compacted", 4), ("resurrected_keys", 1)]);
        let witness = &report.evidence.get(FindingClass::ResurrectedKey).unwrap().first()[0];
        let detail = witness.detail.as_deref().unwrap_or_default();
        assert_eq!(
            detail,
            "key 7: its latest record, at offset 9, is gone, and what is left of it is at offset 1"
        );
    }
}
