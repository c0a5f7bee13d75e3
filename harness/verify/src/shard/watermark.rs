//! **High watermark and last stable offset regression**: one replica, within one leader epoch, answers
//! with a lower high watermark or last stable offset than before.
//!
//! Both only go up while a leader leads. Across replicas or epochs they may step back for a while: a new
//! leader learns the high watermark from its own log first (KIP-207). Each answer below the highest one
//! before it counts once.

use serde::{Deserialize, Serialize};

use crate::finding::FindingClass;
use crate::history::Event;

use super::Shard;
use super::tally::Sighting;

/// The offsets that an answer to a fetch carries besides records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermarks {
    /// Node id of the replica that answered.
    pub replica: i32,
    /// Leader epoch that the answer was given under.
    pub leader_epoch: i32,
    /// High watermark; negative if the answer has none.
    pub high_watermark: i64,
    /// Last stable offset; negative if the answer has none.
    pub last_stable_offset: i64,
}

/// The highest values of the replica and epoch that answered last. An older pair does not come back:
/// the epoch only goes up.
#[derive(Debug, Default)]
pub(super) struct WatermarkHistory {
    highest: Option<Watermarks>,
}

impl Shard {
    /// Takes the watermarks of an answer, in the order in which the replica gave them.
    pub fn watermarks(&mut self, seen: &Watermarks) {
        self.note(|| Event::Watermarks(*seen));
        let same_reign =
            |old: &Watermarks| old.replica == seen.replica && old.leader_epoch == seen.leader_epoch;
        let Some(old) = self.watermarks.highest.filter(same_reign) else {
            self.watermarks.highest = Some(*seen);
            return;
        };
        let steps_back = |now: i64, before: i64| (0..before).contains(&now);
        if steps_back(seen.high_watermark, old.high_watermark) {
            self.tally.summary.high_watermark_regressions += 1;
            let class = FindingClass::HighWatermarkRegression;
            self.note_step_back(class, seen, old.high_watermark, seen.high_watermark);
        }
        if steps_back(seen.last_stable_offset, old.last_stable_offset) {
            self.tally.summary.last_stable_offset_regressions += 1;
            let class = FindingClass::LastStableOffsetRegression;
            self.note_step_back(class, seen, old.last_stable_offset, seen.last_stable_offset);
        }
        self.watermarks.highest = Some(Watermarks {
            high_watermark: old.high_watermark.max(seen.high_watermark),
            last_stable_offset: old.last_stable_offset.max(seen.last_stable_offset),
            ..old
        });
    }

    fn note_step_back(&mut self, class: FindingClass, seen: &Watermarks, before: i64, now: i64) {
        let (replica, epoch) = (seen.replica, seen.leader_epoch);
        let sighting = Sighting {
            count: 1,
            read_offset: Some(now),
            detail: Some(format!("{before} before, {now} now, at replica {replica} in leader epoch {epoch}")),
            ..Sighting::default()
        };
        self.tally.witness(class, sighting);
    }
}
