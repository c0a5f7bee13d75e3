//! Counting and timing on the hot path: one recorder per thread, whatever the number of its producers, taken away once per
//! interval.
//!
//! A record belongs to the window that contains its *intended* time, and windows are only known afterwards (a fault's
//! begins when the fault took effect). So everything is kept per *slot* of 100 ms of intended time, and windows are
//! unions of slots. Slots are handed over as they are at each interval; what arrives for a slot later is handed over
//! later, and merging adds up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gauntlet_wire::lateness::Charge;
use hdrhistogram::Histogram;

/// Width of a slot of intended time.
pub const SLOT_NS: u64 = 100_000_000;

/// Microseconds, three significant digits. Grows as values do.
pub type LatencyHistogram = Histogram<u64>;

/// The slot that an instant belongs to.
pub fn slot_of(ns: u64) -> u64 {
    ns / SLOT_NS
}

/// When the slot that an instant belongs to is over.
pub fn slot_end_ns(ns: u64) -> u64 {
    (slot_of(ns) + 1) * SLOT_NS
}

/// A new latency histogram: large enough for a tenth of a second at once, resized for more.
pub fn latency_histogram() -> LatencyHistogram {
    let mut histogram = Histogram::new_with_bounds(1, 100_000, 3).expect("constant bounds are valid");
    histogram.auto(true);
    histogram
}

/// What was counted about the records intended in one slot, and what came to an end in it. Additive.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Records acked.
    pub acked: u64,
    /// Records proven not to be in the log.
    pub failed: u64,
    /// Records that may or may not be in the log.
    pub indeterminate: u64,
    /// Records sent with acks=0.
    pub unacknowledged: u64,
    /// Records that were never sent, because there was no room when they were due (`load.overflow: drop`).
    #[serde(default)]
    pub dropped: u64,
    /// Acked records whose latency is mostly ours (`design`: gauntlet + host over 5 ms and over 10 %).
    pub ours: u64,
    /// Failed, indeterminate, and dropped records, by the same rule: what is late because of us may end for that.
    #[serde(default)]
    pub unanswered_ours: u64,
    /// Records read.
    pub read: u64,
    /// Records read whose e2e latency is mostly ours.
    pub read_ours: u64,
    /// Records acked in this slot, whenever they were intended: what the brokers got done in that time.
    pub acks: u64,
    /// Records read in this slot, whenever they were intended.
    pub reads: u64,
}

/// Longest time that a record of the slot left late, by who was the limit. Merged by maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slip {
    /// The broker gave no room.
    pub broker_ns: u64,
    /// gauntlet was busy with something else.
    pub gauntlet_ns: u64,
    /// The host did not run us.
    pub host_ns: u64,
}

/// One slot.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Counters.
    pub counts: Counts,
    /// Lateness.
    pub slip: Slip,
    /// Intended time -> ack, and the ages of records that failed.
    pub latency: LatencyHistogram,
    /// Of these, the ages of records that failed or are indeterminate (censored samples).
    pub censored: Option<LatencyHistogram>,
    /// First byte written -> ack.
    pub service: LatencyHistogram,
    /// Intended time -> decoded in the reader.
    pub e2e: LatencyHistogram,
}

impl Default for Slot {
    fn default() -> Self {
        Slot {
            counts: Counts::default(),
            slip: Slip::default(),
            latency: latency_histogram(),
            censored: None,
            service: latency_histogram(),
            e2e: latency_histogram(),
        }
    }
}

impl Counts {
    /// Adds another slot's counts.
    pub fn add(&mut self, other: &Counts) {
        let Counts {
            acked,
            failed,
            indeterminate,
            unacknowledged,
            dropped,
            ours,
            unanswered_ours,
            read,
            read_ours,
            acks,
            reads,
        } = other;
        self.acked += acked;
        self.failed += failed;
        self.indeterminate += indeterminate;
        self.unacknowledged += unacknowledged;
        self.dropped += dropped;
        self.ours += ours;
        self.unanswered_ours += unanswered_ours;
        self.read += read;
        self.read_ours += read_ours;
        self.acks += acks;
        self.reads += reads;
    }
}

impl Slip {
    /// Takes the longer of each.
    pub fn join(&mut self, other: &Slip) {
        self.broker_ns = self.broker_ns.max(other.broker_ns);
        self.gauntlet_ns = self.gauntlet_ns.max(other.gauntlet_ns);
        self.host_ns = self.host_ns.max(other.host_ns);
    }
}

impl Slot {
    /// Adds what another thread, or a later interval, knows about the same slot.
    pub fn merge(&mut self, other: &Slot) {
        self.counts.add(&other.counts);
        self.slip.join(&other.slip);
        add_histogram(&mut self.latency, &other.latency);
        add_histogram(&mut self.service, &other.service);
        add_histogram(&mut self.e2e, &other.e2e);
        if let Some(censored) = &other.censored {
            add_histogram(self.censored.get_or_insert_with(latency_histogram), censored);
        }
    }
}

/// Records one sample, whatever its size.
#[inline]
pub fn add_sample(histogram: &mut LatencyHistogram, value_us: u64) {
    histogram.record(value_us).expect("it resizes itself");
}

/// Records so many samples of one size.
#[inline]
pub fn add_samples(histogram: &mut LatencyHistogram, value_us: u64, count: u64) {
    histogram.record_n(value_us, count).expect("it resizes itself");
}

/// Adds `from` to `into`, which grows as needed.
pub fn add_histogram(into: &mut LatencyHistogram, from: &LatencyHistogram) {
    into.add(from).expect("both resize themselves and have the same precision");
}

/// Everything that one thread has counted since it was last taken, by slot.
pub type SlotMap = BTreeMap<u64, Slot>;

/// A recorder of producers that share a thread.
pub type SharedRecorder = Arc<Mutex<Recorder>>;

/// The recorder itself. Nobody waits for it: only one thread has it, which takes it a few times per batch.
pub fn lock(recorder: &SharedRecorder) -> MutexGuard<'_, Recorder> {
    // Counts are whole after each addition, so that a panic leaves nothing half done.
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread's recorder. Slots in use are few, and consecutive records nearly always share one.
#[derive(Debug, Default)]
pub struct Recorder {
    slots: SlotMap,
    current: Option<(u64, Slot)>,
}

impl Recorder {
    /// The slot of an intended time.
    #[inline]
    pub fn slot(&mut self, intended_ns: u64) -> &mut Slot {
        let wanted = slot_of(intended_ns);
        if self.current.as_ref().is_none_or(|(slot, _)| *slot != wanted) {
            self.switch_to(wanted);
        }
        &mut self.current.get_or_insert_with(|| (wanted, Slot::default())).1
    }

    fn switch_to(&mut self, wanted: u64) {
        if let Some((slot, stats)) = self.current.take() {
            self.slots.insert(slot, stats);
        }
        self.current = Some((wanted, self.slots.remove(&wanted).unwrap_or_default()));
    }

    /// Takes everything away.
    pub fn take(&mut self) -> SlotMap {
        if let Some((slot, stats)) = self.current.take() {
            self.slots.insert(slot, stats);
        }
        std::mem::take(&mut self.slots)
    }
}

/// Microseconds of a latency, rounded up so that nothing is faster than it was; at least 1.
#[inline]
pub fn latency_us(from_ns: u64, to_ns: u64) -> u64 {
    to_ns.saturating_sub(from_ns).div_ceil(1_000).max(1)
}

/// A record is *ours* if gauntlet and host made it late by over 5 ms and by over 10 % of its latency.
pub fn is_ours(charge: Charge, latency_ns: u64) -> bool {
    const OURS_NS: u64 = 5_000_000;
    let ours_ns = charge.total_ns();
    ours_ns > OURS_NS && ours_ns * 10 > latency_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_survive_going_back_and_forth() {
        let mut recorder = Recorder::default();
        for round in 0..3 {
            for slot in [5u64, 6, 5, 900] {
                recorder.slot(slot * SLOT_NS + round).counts.acked += 1;
            }
        }
        let taken = recorder.take();
        let counts: Vec<(u64, u64)> = taken.iter().map(|(slot, s)| (*slot, s.counts.acked)).collect();
        assert_eq!(counts, [(5, 6), (6, 3), (900, 3)]);
        assert!(recorder.take().is_empty());
    }

    #[test]
    fn merging_adds_counts_and_samples_of_any_size() {
        let mut a = Slot::default();
        let mut b = Slot::default();
        a.counts.acked = 1;
        a.latency.record(50).unwrap();
        b.counts = Counts { acked: 2, failed: 1, ..Counts::default() };
        b.latency.record(130_000_000).unwrap();
        b.censored.get_or_insert_with(latency_histogram).record(130_000_000).unwrap();
        b.slip.host_ns = 9;
        a.merge(&b);
        assert_eq!((a.counts.acked, a.counts.failed, a.latency.len(), a.slip.host_ns), (3, 1, 2, 9));
        assert!(a.latency.max() >= 130_000_000);
        assert_eq!(a.censored.unwrap().len(), 1);
    }

    #[test]
    fn ours_needs_both_limits() {
        let charge = |ms: u64| Charge { host_ns: ms * 500_000, gauntlet_ns: ms * 500_000 };
        assert!(!is_ours(charge(5), 6_000_000));
        assert!(is_ours(charge(6), 7_000_000));
        assert!(!is_ours(charge(6), 61_000_000), "under a tenth of a latency that the broker made");
        assert_eq!(latency_us(0, 1), 1);
        assert_eq!(latency_us(5, 2_006), 3);
        assert_eq!(latency_us(9, 3), 1);
    }
}
