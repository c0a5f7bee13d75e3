//! A log that is cut off below what was read of it: by an unclean election, or because the disk of its leader forgot.
//!
//! What was read above the cut is not in the log any more, and the next records get the same offsets. So reading goes back
//! there, and the reads are taken back: their records were not seen, and acks that had met them wait again, for the new reads to
//! contradict them (*lost*, and the log is to blame) or for the records to come again. Findings stay: what was wrong with
//! those records was so in the log as it was then.
//!
//! Only the last reads can be taken back (`recent.rs`). If the cut is below them, records may be missing that count as seen: the
//! report says `degraded`.

use crate::history::Event;
use crate::run::Run;
use crate::window::Proof;

use super::Shard;
use super::claims::Claim;
use super::producers::Producers;
use super::recent::RecentRead;

impl Shard {
    /// Says that the log was found to end, or to have ended meanwhile, at `end`, below the reader's position: the reader goes on there.
    /// Harmless if it does not lie below.
    pub fn truncate(&mut self, end: i64) {
        self.flush();
        self.note(|| Event::Truncated(end));
        self.batch = None;
        let end = end.max(self.config.start_offset);
        if end >= self.position {
            return;
        }
        match self.recent.take_from(end) {
            Some(reads) => reads.iter().for_each(|read| self.take_back(read)),
            None => self.tally.summary.degraded = true,
        }
        self.corrupt_at.remove(end.max(0) as u64..u64::MAX);
        self.real_time.forget_from(end);
        self.leader_epochs.cut_off(end);
        self.digests.cut_off(end);
        // Whoever wrote what is gone may write it again, from any sequence on.
        self.producers = Producers::default();
        self.position = end;
        self.limit_check.tick();
    }

    fn take_back(&mut self, read: &RecentRead) {
        let RecentRead { run, is_first, epoch } = *read;
        self.tally.summary.taken_back += run.count;
        self.tally.summary.checked -= run.count;
        // The first copy lies below a later one: it stays in the log if this one is not the first.
        if !is_first {
            return;
        }
        let state = self.streams.get_mut(run.stream);
        state.seen.remove(run.pseqs());
        state.take_reads(run.pseqs());
        let mut met = state.acked_in(run.pseqs());
        met.remove_all(&state.unplaced);
        // These acks named other places, and wait for the end as it is.
        self.missed_of(run.stream).for_each(|missed| met.remove(missed.pseqs()));
        for pseqs in met.ranges() {
            self.claims.insert(Claim::ahead(run.slice(pseqs.clone()), Proof::Read(epoch)));
        }
    }

    fn missed_of(&self, stream: u32) -> impl Iterator<Item = Run> + '_ {
        let overwritten = self.overwritten.iter().map(|overwritten| overwritten.claim);
        let missed = self.missed.iter().copied().chain(overwritten).map(|claim| claim.run);
        missed.filter(move |run| run.stream == stream)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{A, B, ack, config, end, findings, header, read, value};
    use super::super::{BatchHeader, PartitionReport, ReadEnd, Shard};
    use crate::finding::FindingClass;
    use crate::outcome::StreamKey;
    use crate::witness::Blame;

    /// Batches of the first leader, all read; those of `acked_late` are acked only after the log was cut off at 6.
    fn cut(acked_late: bool, then: impl FnOnce(&mut Shard)) -> PartitionReport {
        let mut shard = Shard::new(config());
        ack(&mut shard, A, 0, 0, 6);
        if !acked_late {
            ack(&mut shard, A, 6, 6, 4);
        }
        read(&mut shard, A, 0, 0, 5);
        read(&mut shard, A, 5, 5, 5);
        shard.truncate(6);
        if acked_late {
            ack(&mut shard, A, 6, 6, 4);
        }
        then(&mut shard);
        let position = shard.position;
        shard.finish(&ReadEnd { end_is_final: true, ..end(position) })
    }

    fn read_of_next_leader(shard: &mut Shard, first_pseq: u64, first_offset: i64, count: u64) {
        let last_offset = first_offset + count as i64 - 1;
        shard.begin_batch(&BatchHeader { leader_epoch: 2, ..header(first_offset, last_offset) });
        for index in 0..count {
            shard.record(first_offset + index as i64, &value(B, first_pseq + index));
        }
        shard.end_batch();
    }

    #[test]
    fn what_was_read_and_cut_off_is_lost() {
        for acked_late in [false, true] {
            let report = cut(acked_late, |shard| {
                read_of_next_leader(shard, 0, 6, 3);
                ack(shard, B, 0, 6, 3);
            });
            // Three were written over, and one lies above the end.
            assert_eq!(findings(&report), [("taken_back", 4), ("lost", 4)]);
            assert_eq!((report.summary.checked, report.summary.acked), (9, 13));
            let witnesses = report.evidence.get(FindingClass::Lost).unwrap().first();
            assert!(witnesses.iter().all(|w| w.blame == Some(Blame::LogTruncated)), "{witnesses:?}");
            assert_eq!(
                witnesses[0].to_string(),
                "producer 1 incarnation 0 pseq 6..=8 (3 records) in t-0, acked at offset 6, not read; over it lies batch 6..=8 \
                 of producer id -1 epoch -1 base sequence -1, leader epoch 2; the log was cut off below it after the ack \
                 (run 00000009)"
            );
            assert_eq!(witnesses[1].detail.as_deref(), Some("the log ends at 9"));
        }
    }

    #[test]
    fn what_is_there_again_is_not_lost() {
        let report = cut(false, |shard| read(shard, A, 6, 6, 4));
        assert_eq!(findings(&report), [("taken_back", 4)]);
        assert_eq!(report.summary.checked, 10);
        let elsewhere = cut(false, |shard| {
            read_of_next_leader(shard, 0, 6, 1);
            ack(shard, B, 0, 6, 1);
            read(shard, A, 6, 7, 4);
        });
        assert_eq!(elsewhere.summary.lost, 0);
        assert_eq!(elsewhere.summary.inconsistent_offsets, 4);
    }

    #[test]
    fn a_copy_that_is_cut_off_leaves_the_first_one() {
        let mut shard = Shard::new(config());
        ack(&mut shard, A, 0, 0, 2);
        read(&mut shard, A, 0, 0, 2);
        read(&mut shard, A, 0, 2, 2);
        shard.truncate(2);
        let report = shard.finish(&ReadEnd { end_is_final: true, ..end(2) });
        assert_eq!(findings(&report), [("taken_back", 2), ("duplicates", 2)]);
    }

    #[test]
    fn below_what_is_remembered_nothing_is_claimed() {
        let mut shard = Shard::new(config());
        for pseq in 0..3_000u64 {
            let stream = if pseq % 2 == 0 { A } else { B };
            ack(&mut shard, stream, pseq / 2, pseq as i64, 1);
            read(&mut shard, stream, pseq / 2, pseq as i64, 1);
        }
        shard.truncate(10);
        let report = shard.finish(&end(10));
        assert!(report.summary.degraded);
        assert_eq!(findings(&report), []);
    }

    /// A batch: whose it is, its first pseq, and its size.
    type Batch = (StreamKey, u64, u64);

    /// When a batch is acked.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Acked {
        BeforeTheRead,
        AfterTheRead,
        AfterTheCut,
        Never,
    }

    fn acked() -> impl Strategy<Value = Acked> {
        prop::sample::select(vec![
            Acked::BeforeTheRead,
            Acked::AfterTheRead,
            Acked::AfterTheCut,
            Acked::AfterTheCut,
            Acked::Never,
        ])
    }

    /// Batches at consecutive offsets from `from` on.
    fn placed(batches: &[Batch], from: i64) -> Vec<(Batch, i64)> {
        let mut at = from;
        let place = |batch: &Batch| {
            let offset = at;
            at += batch.2 as i64;
            (*batch, offset)
        };
        batches.iter().map(place).collect()
    }

    fn counts(report: &PartitionReport) -> [u64; 6] {
        let s = &report.summary;
        [s.acked, s.checked, s.lost, s.inconsistent_offsets, s.unseen, s.duplicates]
    }

    proptest! {
        /// Whoever read what was cut off ends up where somebody does who has only ever seen the log as it is at the end.
        #[test]
        fn the_end_is_what_counts(
            old in prop::collection::vec((any::<bool>(), 1u64..5, acked()), 1..20),
            cut in any::<prop::sample::Index>(),
            resent in prop::collection::vec(any::<bool>(), 20),
            new in prop::collection::vec((any::<bool>(), 1u64..5), 0..10),
        ) {
            let mut next = [0u64; 2];
            let mut make = |is_a: bool, count: u64| {
                let first = next[usize::from(is_a)];
                next[usize::from(is_a)] += count;
                (if is_a { A } else { B }, first, count)
            };
            let batches: Vec<Batch> = old.iter().map(|(is_a, count, _)| make(*is_a, *count)).collect();
            let before = placed(&batches, 0);
            let cut = cut.index(before.len());
            let again = batches[cut..].iter().zip(&resent).filter(|(_, resent)| **resent);
            let tail: Vec<Batch> =
                again.map(|(batch, _)| *batch).chain(new.iter().map(|(is_a, count)| make(*is_a, *count))).collect();
            let after = placed(&tail, before[cut].1);
            let settle = |shard: &mut Shard, when: Acked| {
                for (((stream, first, count), offset), _) in
                    before.iter().zip(&old).filter(|(_, (.., acked))| *acked == when)
                {
                    ack(shard, *stream, *first, *offset, *count as u32);
                }
            };
            let read_all = |shard: &mut Shard, log: &[(Batch, i64)]| {
                for ((stream, first, count), offset) in log {
                    read(shard, *stream, *first, *offset, *count);
                }
            };
            let finish = |shard: Shard| {
                let position = shard.position;
                shard.finish(&ReadEnd { end_is_final: true, ..end(position) })
            };
            let mut saw_both = Shard::new(config());
            settle(&mut saw_both, Acked::BeforeTheRead);
            read_all(&mut saw_both, &before);
            settle(&mut saw_both, Acked::AfterTheRead);
            saw_both.truncate(before[cut].1);
            settle(&mut saw_both, Acked::AfterTheCut);
            read_all(&mut saw_both, &after);
            let mut saw_the_end = Shard::new(config());
            for when in [Acked::BeforeTheRead, Acked::AfterTheRead, Acked::AfterTheCut] {
                settle(&mut saw_the_end, when);
            }
            read_all(&mut saw_the_end, &before[..cut]);
            read_all(&mut saw_the_end, &after);
            prop_assert_eq!(counts(&finish(saw_both)), counts(&finish(saw_the_end)));
        }
    }

    #[test]
    fn an_end_above_the_position_takes_nothing_back() {
        let mut shard = Shard::new(config());
        read(&mut shard, A, 0, 0, 2);
        shard.truncate(2);
        ack(&mut shard, A, 0, 0, 2);
        assert_eq!(findings(&shard.finish(&end(2))), []);
    }
}
