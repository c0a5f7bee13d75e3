//! Windows of a run, and what was measured in each: unions of slots of intended time.
//!
//! The edges of windows are rounded to slots (100 ms), a fault's outwards: a slot that a fault touches belongs to it.

use std::collections::BTreeMap;

use crate::hlog::{Series, SlotHistograms, SlotLog};
use crate::recorder::{Counts, LatencyHistogram, SLOT_NS, Slip, add_histogram, latency_histogram};

/// The moments of a fault that decide about windows; CLOCK_MONOTONIC.
#[derive(Debug, Clone)]
pub struct FaultMoments {
    /// Its name in the scenario. Faults that share one share its windows.
    pub name: String,
    /// When it was injected: the earliest moment at which it can have acted. That it was seen to act comes later, by 0.3 s for
    /// a killed broker whose memory the kernel takes back first, and records of that time are the fault's.
    pub injected_ns: u64,
    /// When healing began; `None` if it never did.
    pub heal_ns: Option<u64>,
    /// When everything was as before; `None` if that never happened.
    pub recovered_ns: Option<u64>,
}

/// Half-open spans of slots, by window name.
pub type Windows = BTreeMap<String, Vec<(u64, u64)>>;

/// Lays out the windows of a load from `zero_ns` (t = 0) to `end_ns`.
pub fn lay_out(zero_ns: u64, end_ns: u64, faults: &[FaultMoments]) -> Windows {
    let begin = zero_ns.div_ceil(SLOT_NS);
    let end = (end_ns / SLOT_NS).max(begin);
    let clamp = |ns: u64| (ns / SLOT_NS).clamp(begin, end);
    let clamp_up = |ns: u64| ns.div_ceil(SLOT_NS).clamp(begin, end);
    let mut windows = Windows::new();
    windows.insert("all".to_owned(), vec![(begin, end)]);
    let first_fault = faults.iter().map(|f| clamp(f.injected_ns)).min().unwrap_or(end);
    windows.insert("before".to_owned(), vec![(begin, first_fault)]);
    let mut disturbed = Vec::new();
    for fault in faults {
        let from = clamp(fault.injected_ns);
        let heal = fault.heal_ns.map_or(end, clamp_up).max(from);
        add(&mut windows, format!("fault:{}", fault.name), (from, heal));
        let healed_from = fault.heal_ns.map_or(end, clamp);
        let recovered = match (fault.heal_ns, fault.recovered_ns) {
            (Some(_), Some(ns)) => clamp_up(ns).max(healed_from),
            _ => end,
        };
        add(&mut windows, format!("recovery:{}", fault.name), (healed_from, recovered));
        disturbed.push((from, recovered.max(heal)));
    }
    windows.insert("steady".to_owned(), gaps((begin, end), disturbed));
    windows
}

/// Adds a span to a window. Spans that meet become one: a record belongs to a window once.
fn add(windows: &mut Windows, name: String, span: (u64, u64)) {
    let spans = windows.entry(name).or_default();
    spans.push(span);
    spans.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(spans.len());
    for &(from, to) in spans.iter() {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    *spans = merged;
}

/// What is left of `whole` without `taken`.
fn gaps(whole: (u64, u64), mut taken: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    taken.sort_unstable();
    let mut left = Vec::new();
    let mut at = whole.0;
    for (from, to) in taken {
        if from > at {
            left.push((at, from));
        }
        at = at.max(to);
    }
    if at < whole.1 {
        left.push((at, whole.1));
    }
    left
}

/// What was measured in a window.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Length of the window.
    pub seconds: f64,
    /// Counters.
    pub counts: Counts,
    /// Longest lateness, by cause.
    pub slip: Slip,
    /// Records intended in it, `None` without schedule: every record ends, and what was due and never written ends as
    /// *failed*.
    pub intended: Option<u64>,
    /// Records intended in it and acked before it ended.
    pub acked_in_time: u64,
    /// Histograms.
    pub series: BTreeMap<Series, LatencyHistogram>,
}

/// All that windows are cut from; slots are absolute.
pub struct Slots<'a> {
    /// Counters.
    pub counts: &'a BTreeMap<u64, (Counts, Slip)>,
    /// Histograms.
    pub histograms: &'a SlotLog<'a>,
    /// Whether there is a schedule.
    pub scheduled: bool,
}

impl Slots<'_> {
    /// Measures a window.
    pub fn measure(&self, spans: &[(u64, u64)]) -> Measured {
        let mut measured = self.count(spans);
        self.add_histograms(&mut [(spans, &mut measured)]);
        measured
    }

    /// Measures all windows, in one pass over the histograms.
    pub fn measure_all(&self, windows: &Windows) -> BTreeMap<String, Measured> {
        let count = |(name, spans): (&String, &Vec<(u64, u64)>)| (name.clone(), self.count(spans));
        let mut all: BTreeMap<String, Measured> = windows.iter().map(count).collect();
        let spans = windows.values().map(Vec::as_slice);
        self.add_histograms(&mut spans.zip(all.values_mut()).collect::<Vec<_>>());
        all
    }

    /// All of a window but its histograms.
    fn count(&self, spans: &[(u64, u64)]) -> Measured {
        let mut measured = Measured {
            seconds: spans.iter().map(|(a, b)| (b - a) as f64).sum::<f64>() * SLOT_NS as f64 / 1e9,
            counts: Counts::default(),
            slip: Slip::default(),
            intended: None,
            acked_in_time: 0,
            series: BTreeMap::new(),
        };
        for (_, (counts, slip)) in spans.iter().flat_map(|&(from, to)| self.counts.range(from..to)) {
            measured.counts.add(counts);
            measured.slip.join(slip);
        }
        let Counts { acked, failed, indeterminate, unacknowledged, dropped, .. } = measured.counts;
        let intended = acked + failed + indeterminate + unacknowledged + dropped;
        measured.intended = self.scheduled.then_some(intended);
        measured
    }

    fn add_histograms(&self, windows: &mut [(&[(u64, u64)], &mut Measured)]) {
        let spans = || windows.iter().flat_map(|(spans, _)| spans.iter());
        let from = spans().map(|span| span.0).min().unwrap_or(0);
        let to = spans().map(|span| span.1).max().unwrap_or(0).max(from);
        for (slot, histograms) in self.histograms.range(from..to) {
            for (spans, measured) in windows.iter_mut() {
                let Some((_, to)) = spans.iter().find(|(from, to)| (*from..*to).contains(&slot)) else {
                    continue;
                };
                measured.acked_in_time += acked_by(&histograms, slot, to * SLOT_NS);
                for (series, histogram) in &histograms {
                    add_histogram(
                        measured.series.entry(*series).or_insert_with(latency_histogram),
                        histogram,
                    );
                }
            }
        }
    }

    /// p99 of one series over the slots of one second from `slot` on, in microseconds.
    pub fn p99_of_second(&self, slot: u64, series: Series) -> Option<u64> {
        let mut sum: Option<LatencyHistogram> = None;
        for (_, histograms) in self.histograms.range(slot..slot + 1_000_000_000 / SLOT_NS) {
            if let Some(histogram) = histograms.get(&series) {
                add_histogram(sum.get_or_insert_with(latency_histogram), histogram);
            }
        }
        sum.map(|h| h.value_at_quantile(0.99))
    }
}

/// Records of a slot that were acked by `end_ns`, taking each as intended in the slot's middle.
fn acked_by(histograms: &SlotHistograms, slot: u64, end_ns: u64) -> u64 {
    let age_us = end_ns.saturating_sub(slot * SLOT_NS + SLOT_NS / 2) / 1_000;
    let until = |series| histograms.get(&series).map_or(0, |h| h.count_between(0, age_us));
    // Failed records are in both; what is left are acks.
    until(Series::Latency).saturating_sub(until(Series::Censored))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn fault(injected_s: f64, heal_s: Option<f64>, recovered_s: Option<f64>) -> FaultMoments {
        let ns = |s: f64| (s * 1e9) as u64;
        FaultMoments {
            name: "kill".to_owned(),
            injected_ns: ns(injected_s),
            heal_ns: heal_s.map(ns),
            recovered_ns: recovered_s.map(ns),
        }
    }

    #[test]
    fn without_faults_everything_is_steady() {
        let windows = lay_out(10 * S, 20 * S, &[]);
        for name in ["all", "before", "steady"] {
            assert_eq!(windows[name], [(100, 200)], "{name}");
        }
        assert_eq!(windows.len(), 3);
    }

    #[test]
    fn a_fault_takes_every_slot_that_it_touches() {
        let windows = lay_out(10 * S, 100 * S, &[fault(20.05, Some(35.01), Some(50.99))]);
        assert_eq!(windows["before"], [(100, 200)]);
        assert_eq!(windows["fault:kill"], [(200, 351)]);
        assert_eq!(windows["recovery:kill"], [(350, 510)]);
        assert_eq!(windows["steady"], [(100, 200), (510, 1000)]);
    }

    /// From a run of the quickstart: SIGKILL at 60.085 s, the process gone at 60.368 s, and no ack in between.
    #[test]
    fn what_was_sent_to_a_broker_that_was_dying_is_not_before() {
        let windows = lay_out(0, 150 * S, &[fault(60.085, Some(75.368), Some(126.4))]);
        assert_eq!(windows["before"], [(0, 600)]);
        assert_eq!(windows["steady"], [(0, 600), (1264, 1500)]);
    }

    #[test]
    fn what_never_recovers_lasts_until_the_end() {
        let windows = lay_out(0, 100 * S, &[fault(20.0, Some(30.0), None)]);
        assert_eq!(windows["recovery:kill"], [(300, 1000)]);
        let windows = lay_out(0, 100 * S, &[fault(20.0, None, None)]);
        assert_eq!(windows["fault:kill"], [(200, 1000)]);
        assert_eq!(windows["recovery:kill"], [(1000, 1000)]);
        assert_eq!(windows["steady"], [(0, 200)]);
    }

    #[test]
    fn a_fault_that_happens_again_has_one_window_of_several_spans() {
        let again = [
            fault(10.0, Some(12.0), Some(21.0)),
            fault(20.0, Some(22.0), Some(31.0)),
            fault(50.0, Some(52.0), Some(55.0)),
        ];
        let windows = lay_out(0, 100 * S, &again);
        assert_eq!(windows["fault:kill"], [(100, 120), (200, 220), (500, 520)]);
        assert_eq!(windows["recovery:kill"], [(120, 210), (220, 310), (520, 550)]);
        assert_eq!(windows["before"], [(0, 100)]);
        assert_eq!(windows["steady"], [(0, 100), (310, 500), (550, 1000)]);
        let late = [fault(10.0, Some(12.0), Some(25.0)), fault(14.0, Some(16.0), Some(20.0))];
        assert_eq!(lay_out(0, 100 * S, &late)["recovery:kill"], [(120, 250)], "no slot counts twice");
    }

    #[test]
    fn overlapping_faults_leave_one_gap() {
        assert_eq!(gaps((0, 100), vec![(20, 40), (10, 30), (90, 120)]), [(0, 10), (40, 90)]);
        assert_eq!(gaps((0, 100), vec![(0, 100)]), []);
    }

    #[test]
    fn an_ack_after_the_window_does_not_count_for_it() {
        let mut slot = crate::recorder::Slot::default();
        slot.latency.record_n(10_000, 90).unwrap();
        slot.latency.record_n(5_000_000, 10).unwrap();
        let mut log = Vec::new();
        crate::hlog::write_slots(&mut log, 0, std::iter::once((30, &slot))).unwrap();
        let histograms = SlotLog::read(&log, 70).unwrap();
        let ended = Counts { acked: 100, failed: 3, indeterminate: 2, ..Counts::default() };
        let counts = BTreeMap::from([(100, (ended, Slip::default()))]);
        let slots = Slots { counts: &counts, histograms: &histograms, scheduled: true };
        let measured = slots.measure(&[(100, 110)]);
        assert_eq!((measured.intended, measured.acked_in_time), (Some(105), 90));
        assert_eq!(slots.measure(&[(100, 200)]).acked_in_time, 100);
        assert_eq!(measured.seconds, 1.0);
        // Several windows at once are as one after the other.
        let windows = Windows::from([
            ("all".to_owned(), vec![(0, 50), (100, 110)]),
            ("before".to_owned(), vec![(0, 100)]),
            ("none".to_owned(), Vec::new()),
        ]);
        for (name, all) in slots.measure_all(&windows) {
            let one = slots.measure(&windows[&name]);
            assert_eq!(all.series, one.series, "{name}");
            assert_eq!((all.acked_in_time, all.intended), (one.acked_in_time, one.intended), "{name}");
        }
    }
}
