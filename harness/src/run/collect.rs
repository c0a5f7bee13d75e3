//! The collector: one event stream out of what all threads counted. It writes the run directory as the run goes and
//! keeps only what is small: counters per slot, lag, ack gaps, and running totals.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write};

use crossbeam_channel::Receiver;
use gauntlet_wire::ErrorCode;
use gauntlet_wire::lateness::Charge;
use gauntlet_wire::producer::ProducerStats;
use serde::Serialize;

use crate::hlog;
use crate::load::{Interval, Origin};
use crate::recorder::{
    Counts, LatencyHistogram, Slip, Slot, SlotMap, add_histogram, latency_histogram, slot_of,
};
use crate::rundir::{HISTOGRAMS, INTERVALS, RunDir, RunDirError};

/// Gaps between acks of a partition that are shorter than this are the ordinary rhythm of batches.
const GAP_NOTABLE_NS: u64 = 200_000_000;
/// Length of the windows that tell whether p99 has settled.
const STABLE_WINDOW_NS: u64 = 5_000_000_000;
/// Number of windows on each side of that comparison.
const STABLE_WINDOWS: usize = 6;
/// p99 has settled if it fell by no more than this between the two sides.
const STABLE_DROP_MAX: f64 = 0.25;

/// A time without an ack on a partition, as one producer saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckGap {
    /// Producer index.
    pub producer: u16,
    /// Partition index.
    pub partition: usize,
    /// Last ack before.
    pub from_ns: u64,
    /// First ack after.
    pub to_ns: u64,
}

/// What the terminal shows of one second.
#[derive(Debug, Clone, Serialize)]
pub struct Second {
    /// Seconds since t = 0 at the end of the second; negative during warm-up.
    pub t_s: f64,
    /// Records acked.
    pub acked: u64,
    /// Records read.
    pub read: u64,
    /// Records failed or indeterminate.
    pub failed: u64,
    /// Of these, indeterminate.
    pub indeterminate: u64,
    /// Bytes of acked batches as sent.
    pub wire_bytes: u64,
    /// Bytes of acked batches before compression.
    pub uncompressed_bytes: u64,
    /// Of records that ended in this second, in milliseconds.
    pub p50_ms: f64,
    /// As above.
    pub p99_ms: f64,
    /// As above.
    pub p999_ms: f64,
    /// As above.
    pub max_ms: f64,
    /// e2e of records read in this second, in milliseconds.
    pub e2e_p99_ms: f64,
    /// Records between the readers and the high watermarks.
    pub lag: u64,
    /// Answers with an error code in this second.
    pub errors: u64,
    /// Lateness of our own threads in this second, summed, in milliseconds.
    pub host_late_ms: f64,
    /// As above.
    pub gauntlet_busy_ms: f64,
    /// User and system time of the process in this second, in milliseconds.
    pub cpu_ms: f64,
    /// Resident memory, in MiB.
    pub rss_mib: f64,
    /// Batches sent again since the run began.
    pub retries: u64,
}

/// One slot in `intervals.ndjson`.
#[derive(Debug, Serialize)]
struct SlotLine<'a> {
    /// Tenths of a second of intended time since the load began.
    slot: u64,
    counts: &'a Counts,
    slip: &'a Slip,
}

/// A line of `intervals.ndjson`.
#[derive(Debug, Serialize)]
struct IntervalLine<'a> {
    second: &'a Second,
    slots: Vec<SlotLine<'a>>,
}

/// CPU time and memory of this process at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// When.
    pub at_ns: u64,
    /// User and system time since the process began.
    pub cpu_ns: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Records acked until then.
    pub acked: u64,
}

/// Everything that is known at the end.
#[derive(Debug, Default)]
pub struct Collected {
    /// Counters per slot (absolute slots).
    pub counts: BTreeMap<u64, (Counts, Slip)>,
    /// (when, lag over all readers).
    pub lag: Vec<(u64, u64)>,
    /// Notable times without acks.
    pub gaps: Vec<AckGap>,
    /// Per second.
    pub seconds: Vec<Second>,
    /// CPU and memory, once per second.
    pub usage: Vec<Usage>,
    /// Totals of the producers together.
    pub producers: ProducerStats,
    /// Bytes of acked batches as sent.
    pub wire_bytes: u64,
    /// Bytes of acked batches before compression.
    pub uncompressed_bytes: u64,
    /// Last ack per (producer, partition), for gaps that never ended.
    pub last_acks: BTreeMap<(u16, usize), u64>,
}

/// Whether p99 has settled; see `scenario-format` (`warmup: {until: stable}`).
#[derive(Debug, Default)]
struct Stability {
    window: Option<(u64, LatencyHistogram)>,
    p99_us: VecDeque<u64>,
}

impl Stability {
    fn add(&mut self, at_ns: u64, latency: &LatencyHistogram) {
        let (began_ns, histogram) = self.window.get_or_insert_with(|| (at_ns, latency_histogram()));
        add_histogram(histogram, latency);
        if at_ns >= *began_ns + STABLE_WINDOW_NS {
            self.p99_us.push_back(histogram.value_at_quantile(0.99));
            self.window = None;
        }
        while self.p99_us.len() > 2 * STABLE_WINDOWS {
            self.p99_us.pop_front();
        }
    }

    fn is_stable(&self) -> bool {
        if self.p99_us.len() < 2 * STABLE_WINDOWS {
            return false;
        }
        let median = |values: Vec<u64>| {
            let mut values = values;
            values.sort_unstable();
            (values[STABLE_WINDOWS / 2 - 1] + values[STABLE_WINDOWS / 2]) as f64 / 2.0
        };
        let before = median(self.p99_us.iter().take(STABLE_WINDOWS).copied().collect());
        let after = median(self.p99_us.iter().skip(STABLE_WINDOWS).copied().collect());
        after >= before * (1.0 - STABLE_DROP_MAX)
    }
}

/// Takes in what the threads send.
pub(super) struct Collector {
    intervals: Receiver<Interval>,
    base_slot: u64,
    hlog: BufWriter<File>,
    lines: BufWriter<File>,
    collected: Collected,
    per_producer: BTreeMap<u16, ProducerStats>,
    lateness: BTreeMap<Origin, Charge>,
    lag_of: BTreeMap<u16, u64>,
    seen: Totals,
    stability: Stability,
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    errors: u64,
    cpu_ns: u64,
    lateness: (u64, u64),
}

impl Collector {
    /// `origin_ns` is when the load begins.
    pub(super) fn new(
        dir: &RunDir,
        intervals: Receiver<Interval>,
        origin_ns: u64,
    ) -> Result<Self, RunDirError> {
        let usage = usage_now(0);
        Ok(Collector {
            intervals,
            base_slot: slot_of(origin_ns),
            hlog: dir.append(HISTOGRAMS)?,
            lines: dir.append(INTERVALS)?,
            collected: Collected::default(),
            per_producer: BTreeMap::new(),
            lateness: BTreeMap::new(),
            lag_of: BTreeMap::new(),
            seen: Totals { cpu_ns: usage.cpu_ns, ..Totals::default() },
            stability: Stability::default(),
        })
    }

    /// The first slot of the load.
    pub(super) fn base_slot(&self) -> u64 {
        self.base_slot
    }

    /// Whether p99 has settled.
    pub(super) fn is_stable(&self) -> bool {
        self.stability.is_stable()
    }

    /// The lag now, over all readers.
    pub(super) fn lag(&self) -> u64 {
        self.lag_of.values().sum()
    }

    /// Takes in what came since the last call and writes it down. `zero_ns` is t = 0, where known.
    pub(super) fn tick(&mut self, now_ns: u64, zero_ns: u64) -> std::io::Result<Second> {
        let mut slots = SlotMap::new();
        let mut bytes = (0, 0);
        while let Ok(interval) = self.intervals.try_recv() {
            bytes.0 += interval.wire_bytes;
            bytes.1 += interval.uncompressed_bytes;
            self.take_in(&interval);
            for (slot, stats) in interval.slots {
                match slots.entry(slot) {
                    std::collections::btree_map::Entry::Vacant(v) => {
                        v.insert(stats);
                    }
                    std::collections::btree_map::Entry::Occupied(mut o) => o.get_mut().merge(&stats),
                }
            }
        }
        self.collected.wire_bytes += bytes.0;
        self.collected.uncompressed_bytes += bytes.1;
        let second = self.second(now_ns, zero_ns, &slots, bytes);
        self.write(&second, &slots)?;
        for (slot, stats) in slots {
            let (counts, slip) = self.collected.counts.entry(slot).or_default();
            counts.add(&stats.counts);
            slip.join(&stats.slip);
        }
        self.collected.seconds.push(second.clone());
        Ok(second)
    }

    fn take_in(&mut self, interval: &Interval) {
        self.lateness.insert(interval.origin, interval.lateness);
        match interval.origin {
            Origin::Producer(producer) => {
                if let Some(stats) = &interval.producer {
                    self.per_producer.insert(producer, stats.clone());
                }
                for span in &interval.acks {
                    self.collected.last_acks.insert((producer, span.partition), span.last_ns);
                    if span.longest_gap_ns >= GAP_NOTABLE_NS {
                        self.collected.gaps.push(AckGap {
                            producer,
                            partition: span.partition,
                            from_ns: span.gap_began_ns,
                            to_ns: span.gap_began_ns + span.longest_gap_ns,
                        });
                    }
                }
            }
            Origin::Reader(reader) => {
                for (at_ns, lag) in &interval.lag {
                    self.lag_of.insert(reader, *lag);
                    self.collected.lag.push((*at_ns, self.lag_of.values().sum()));
                }
            }
        }
    }

    fn second(&mut self, now_ns: u64, zero_ns: u64, slots: &SlotMap, bytes: (u64, u64)) -> Second {
        let mut all = Slot::default();
        slots.values().for_each(|s| all.merge(s));
        if !all.latency.is_empty() {
            self.stability.add(now_ns, &all.latency);
        }
        self.collected.producers = sum_stats(self.per_producer.values());
        let errors: u64 = self.collected.producers.errors.values().sum();
        let late = self.lateness.values().fold((0, 0), |sum, c| (sum.0 + c.host_ns, sum.1 + c.gauntlet_ns));
        let acked_before = self.collected.usage.last().map_or(0, |u| u.acked);
        let usage = Usage { at_ns: now_ns, ..usage_now(acked_before + all.counts.acked) };
        let ms = |h: &LatencyHistogram, q: f64| h.value_at_quantile(q) as f64 / 1_000.0;
        let second = Second {
            t_s: (now_ns as f64 - zero_ns as f64) / 1e9,
            acked: all.counts.acked,
            read: all.counts.read,
            failed: all.counts.failed + all.counts.indeterminate,
            indeterminate: all.counts.indeterminate,
            wire_bytes: bytes.0,
            uncompressed_bytes: bytes.1,
            p50_ms: ms(&all.latency, 0.5),
            p99_ms: ms(&all.latency, 0.99),
            p999_ms: ms(&all.latency, 0.999),
            max_ms: all.latency.max() as f64 / 1_000.0,
            e2e_p99_ms: ms(&all.e2e, 0.99),
            lag: self.lag(),
            errors: errors.saturating_sub(self.seen.errors),
            host_late_ms: late.0.saturating_sub(self.seen.lateness.0) as f64 / 1e6,
            gauntlet_busy_ms: late.1.saturating_sub(self.seen.lateness.1) as f64 / 1e6,
            cpu_ms: usage.cpu_ns.saturating_sub(self.seen.cpu_ns) as f64 / 1e6,
            rss_mib: usage.rss_bytes as f64 / 1_048_576.0,
            retries: self.collected.producers.retries,
        };
        self.seen = Totals { errors, cpu_ns: usage.cpu_ns, lateness: late };
        self.collected.usage.push(usage);
        second
    }

    fn write(&mut self, second: &Second, slots: &SlotMap) -> std::io::Result<()> {
        hlog::write_slots(&mut self.hlog, self.base_slot, slots.iter().map(|(slot, s)| (*slot, s)))?;
        let line = IntervalLine {
            second,
            slots: slots
                .iter()
                .map(|(slot, s)| SlotLine {
                    slot: slot.saturating_sub(self.base_slot),
                    counts: &s.counts,
                    slip: &s.slip,
                })
                .collect(),
        };
        serde_json::to_writer(&mut self.lines, &line)?;
        self.lines.write_all(b"\n")?;
        // A crash of ours must not cost more than the second under way.
        self.lines.flush()?;
        self.hlog.flush()
    }

    /// Ends collecting.
    pub(super) fn finish(self) -> Collected {
        self.collected
    }
}

fn sum_stats<'a>(all: impl Iterator<Item = &'a ProducerStats>) -> ProducerStats {
    let mut sum = ProducerStats::default();
    for stats in all {
        sum.requests += stats.requests;
        sum.retries += stats.retries;
        sum.throttle_ms_max = sum.throttle_ms_max.max(stats.throttle_ms_max);
        sum.throttle_ms_total += stats.throttle_ms_total;
        sum.buffered_bytes += stats.buffered_bytes;
        sum.broker_blocked_ns += stats.broker_blocked_ns;
        for (code, count) in &stats.errors {
            *sum.errors.entry(*code).or_insert(0) += count;
        }
        for (why, count) in &stats.disconnects {
            *sum.disconnects.entry(why.clone()).or_insert(0) += count;
        }
    }
    sum
}

/// Errors by Kafka's name, for reports.
pub fn errors_by_name(errors: &BTreeMap<ErrorCode, u64>) -> BTreeMap<String, u64> {
    errors.iter().map(|(code, count)| (code.name(), *count)).collect()
}

/// CPU time and memory of this process.
pub(super) fn usage_now(acked: u64) -> Usage {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: getrusage fills the struct that it is given whenever it succeeds, and RUSAGE_SELF is always valid.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) != 0 {
            return Usage::default();
        }
        usage.assume_init()
    };
    let ns = |t: libc::timeval| t.tv_sec as u64 * 1_000_000_000 + t.tv_usec as u64 * 1_000;
    Usage {
        at_ns: gauntlet_wire::monotonic_ns(),
        cpu_ns: ns(usage.ru_utime) + ns(usage.ru_stime),
        rss_bytes: resident_bytes().unwrap_or(0),
        acked,
    }
}

/// Second field of `/proc/self/statm`, in pages.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: sysconf has no preconditions.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page_bytes).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_is_when_p99_no_longer_falls() {
        let mut stability = Stability::default();
        let mut at_ns = 0;
        let mut feed = |stability: &mut Stability, p99_ms: u64| {
            let mut h = latency_histogram();
            h.record_n(p99_ms * 1_000, 100).unwrap();
            stability.add(at_ns, &h);
            at_ns += STABLE_WINDOW_NS;
            stability.add(at_ns, &h);
        };
        for p99_ms in [400, 350, 300, 250, 200, 150, 120, 100, 90, 80, 70, 60] {
            feed(&mut stability, p99_ms);
        }
        assert!(!stability.is_stable(), "it fell by more than a quarter");
        for _ in 0..12 {
            feed(&mut stability, 55);
        }
        assert!(stability.is_stable());
    }

    #[test]
    fn usage_is_that_of_this_process() {
        let usage = usage_now(0);
        assert!(usage.rss_bytes > 1 << 20 && usage.at_ns > 0);
    }
}
