//! The collector: one event stream out of what all threads counted. It writes the run directory as the run goes and
//! keeps only what is small: counters per slot, lag, ack gaps, and running totals.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use crossbeam_channel::Receiver;
use gauntlet_wire::ErrorCode;
use gauntlet_wire::lateness::Charge;
use gauntlet_wire::producer::ProducerStats;

use super::host_usage::HostTicks;
use super::stability::{Look, Stability};
use crate::cluster_view::InSync;
use crate::external::programs::{ProgramUsage, Programs};
use crate::history::HistoryWriter;
use crate::hlog;
use crate::intervals::{ClientSecond, IntervalLine, Second, SlotLine};
use crate::load::{ClientStats, Interval, Origin};
use crate::recorder::{Counts, LatencyHistogram, Slip, Slot, SlotMap, slot_of};
use crate::rundir::{HISTOGRAMS, INTERVALS, RunDir, RunDirError};

/// Gaps between acks of a partition that are shorter than this are the ordinary rhythm of batches.
const GAP_NOTABLE_NS: u64 = 200_000_000;

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

/// CPU time and memory of this process, and of the programs that are its clients, at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// When.
    pub at_ns: u64,
    /// User and system time since the process began.
    pub cpu_ns: u64,
    /// The part of it that programs took; `None` without such.
    pub programs_cpu_ns: Option<u64>,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Processor time of the whole host, if it says.
    pub host: Option<HostTicks>,
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
    /// (when, what clients that are not ours said about themselves), once per second.
    pub clients: Vec<(u64, ClientSecond)>,
}

impl Collected {
    /// What was counted of the records that were intended between two times (CLOCK_MONOTONIC).
    pub(super) fn counts_between(&self, from_ns: u64, to_ns: u64) -> Counts {
        let mut sum = Counts::default();
        self.counts.range(slot_of(from_ns)..slot_of(to_ns)).for_each(|(_, (counts, _))| sum.add(counts));
        sum
    }
}

/// When a second is told, and what is known then besides what the threads sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// CLOCK_MONOTONIC.
    pub(crate) now_ns: u64,
    /// t = 0, where it is known.
    pub(crate) zero_ns: Option<u64>,
    /// How many replicas are in sync.
    pub(crate) in_sync: InSync,
    /// User and system time of all brokers since they were started, in seconds, where somebody can tell.
    pub(crate) brokers_cpu_s: Option<f64>,
}

/// Takes in what the threads send.
pub(crate) struct Collector {
    intervals: Receiver<Interval>,
    programs: Arc<Programs>,
    origin_ns: u64,
    hlog: BufWriter<File>,
    lines: BufWriter<File>,
    collected: Collected,
    per_producer: BTreeMap<u16, ProducerStats>,
    /// What came and is not written down yet.
    waiting: Vec<Interval>,
    /// When each running thread was last heard of.
    heard_ns: BTreeMap<Origin, u64>,
    per_client: BTreeMap<Origin, ClientStats>,
    lateness: BTreeMap<Origin, Charge>,
    lag_of: BTreeMap<u16, u64>,
    seen: Totals,
    stability: Stability,
    history: Option<HistoryWriter>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    sent: u64,
    errors: u64,
    cpu_ns: u64,
    lateness: (u64, u64),
}

impl Collector {
    /// `origin_ns` is when the load begins; `programs` are counted as this process is; what checkers were told goes to `history`.
    pub(crate) fn new(
        dir: &RunDir,
        intervals: Receiver<Interval>,
        origin_ns: u64,
        programs: Arc<Programs>,
        history: Option<HistoryWriter>,
    ) -> Result<Self, RunDirError> {
        let usage = usage_now(0, &programs);
        Ok(Collector {
            intervals,
            programs,
            origin_ns,
            hlog: dir.append(HISTOGRAMS)?,
            lines: dir.append(INTERVALS)?,
            collected: Collected::default(),
            per_producer: BTreeMap::new(),
            waiting: Vec::new(),
            heard_ns: BTreeMap::new(),
            per_client: BTreeMap::new(),
            lateness: BTreeMap::new(),
            lag_of: BTreeMap::new(),
            seen: Totals { cpu_ns: usage.cpu_ns, ..Totals::default() },
            stability: Stability::new(origin_ns),
            history,
        })
    }

    /// The first slot of the load.
    pub(super) fn base_slot(&self) -> u64 {
        slot_of(self.origin_ns)
    }

    /// Whether p99 has settled.
    pub(super) fn is_stable(&self, target_rate: Option<f64>) -> bool {
        self.stability.is_stable(target_rate)
    }

    /// The lag now, over all readers.
    pub(super) fn lag(&self) -> u64 {
        self.lag_of.values().sum()
    }

    /// Whether every running thread that was heard of before has told what it did until `second_ns`. A busy thread does so a little
    /// after its second; told without it, the second would look like an outage, and the next one like a burst.
    pub(super) fn is_complete(&mut self, second_ns: u64) -> bool {
        self.hear();
        self.heard_ns.values().all(|at_ns| *at_ns >= second_ns)
    }

    fn hear(&mut self) {
        for interval in self.intervals.try_iter() {
            match interval.origin {
                Origin::Producer(_) | Origin::Reader(_) if interval.is_last => {
                    self.heard_ns.remove(&interval.origin);
                }
                Origin::Producer(_) | Origin::Reader(_) => {
                    self.heard_ns.insert(interval.origin, interval.at_ns);
                }
                // What a client says of itself comes when it likes.
                Origin::ProducerClient(_) | Origin::ReaderClient(_) => {}
            }
            self.waiting.push(interval);
        }
    }

    /// Takes in what came since the last call and writes it down.
    pub(crate) fn tick(&mut self, moment: Moment) -> std::io::Result<Second> {
        let mut slots = SlotMap::new();
        let mut bytes = (0, 0);
        self.hear();
        for interval in std::mem::take(&mut self.waiting) {
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
        let second = self.second(moment, &slots, bytes);
        self.write(moment.now_ns, &second, &slots)?;
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
        if let Some(client) = interval.client {
            self.per_client.insert(interval.origin, client);
        }
        match interval.origin {
            Origin::ProducerClient(_) | Origin::ReaderClient(_) => {}
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
                if let Some(history) = &mut self.history {
                    for (partition, events) in &interval.history {
                        history.add(reader, *partition, events);
                    }
                }
                for (at_ns, lag) in &interval.lag {
                    self.lag_of.insert(reader, *lag);
                    self.collected.lag.push((*at_ns, self.lag_of.values().sum()));
                }
            }
        }
    }

    fn second(&mut self, moment: Moment, slots: &SlotMap, bytes: (u64, u64)) -> Second {
        let Moment { now_ns, zero_ns, in_sync, .. } = moment;
        let mut all = Slot::default();
        slots.values().for_each(|s| all.merge(s));
        self.stability.add(Look {
            at_ns: now_ns,
            latency: &all.latency,
            acked: all.counts.acked,
            brokers_cpu_s: moment.brokers_cpu_s,
        });
        self.collected.producers = sum_stats(self.per_producer.values());
        let client = self.clients(now_ns);
        let sent = self.collected.producers.records_sent;
        let errors: u64 = self.collected.producers.errors.values().sum();
        let late = self.lateness.values().fold((0, 0), |sum, c| (sum.0 + c.host_ns, sum.1 + c.gauntlet_ns));
        let acked_before = self.collected.usage.last().map_or(0, |u| u.acked);
        let usage = Usage { at_ns: now_ns, ..usage_now(acked_before + all.counts.acked, &self.programs) };
        let host_before = self.collected.usage.last().and_then(|u| u.host);
        let host = usage.host.zip(host_before).and_then(|(now, before)| now.since(&before));
        let ms = |h: &LatencyHistogram, q: f64| h.value_at_quantile(q) as f64 / 1_000.0;
        let second = Second {
            at_s: seconds_between(self.origin_ns, now_ns),
            t_s: zero_ns.map(|zero_ns| seconds_between(zero_ns, now_ns)),
            sent: sent.saturating_sub(self.seen.sent),
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
            replicas_in_sync: in_sync.in_sync,
            replicas: in_sync.replicas,
            under_replicated: in_sync.under_replicated,
            offline: in_sync.offline,
            host_late_ms: late.0.saturating_sub(self.seen.lateness.0) as f64 / 1e6,
            gauntlet_busy_ms: late.1.saturating_sub(self.seen.lateness.1) as f64 / 1e6,
            cpu_ms: usage.cpu_ns.saturating_sub(self.seen.cpu_ns) as f64 / 1e6,
            rss_mib: usage.rss_bytes as f64 / 1_048_576.0,
            host,
            retries: self.collected.producers.retries,
            client,
        };
        self.seen = Totals { sent, errors, cpu_ns: usage.cpu_ns, lateness: late };
        self.collected.usage.push(usage);
        second
    }

    /// What clients that are not ours said last, and adds to the totals of producers what only those know.
    fn clients(&mut self, now_ns: u64) -> Option<ClientSecond> {
        let totals = &mut self.collected.producers;
        for (origin, client) in &self.per_client {
            if let Origin::ProducerClient(_) = origin {
                totals.requests += client.requests;
                totals.retries += client.retries;
                totals.throttle_ms_max = totals.throttle_ms_max.max(client.throttle_ms_max);
            }
        }
        let all = || self.per_client.values();
        let ms = |us: u64| us as f64 / 1_000.0;
        let second = ClientSecond {
            queue: all().map(|client| client.queue_records).sum(),
            queue_bytes: all().map(|client| client.queue_bytes).sum(),
            rtt_p50_ms: all().filter_map(|client| client.rtt_p50_us).max().map(ms),
            rtt_p99_ms: all().filter_map(|client| client.rtt_p99_us).max().map(ms),
        };
        let second = (!self.per_client.is_empty()).then_some(second)?;
        self.collected.clients.push((now_ns, second));
        Some(second)
    }

    fn write(&mut self, now_ns: u64, second: &Second, slots: &SlotMap) -> std::io::Result<()> {
        let base_slot = self.base_slot();
        hlog::write_slots(&mut self.hlog, base_slot, slots.iter().map(|(slot, s)| (*slot, s)))?;
        let slots = slots.iter().map(|(slot, s)| SlotLine {
            slot: slot.saturating_sub(base_slot),
            counts: s.counts.clone(),
            slip: s.slip,
        });
        let line = IntervalLine { at_ns: now_ns, second: second.clone(), slots: slots.collect() };
        line.write(&mut self.lines)?;
        // A crash of ours must not cost more than the second under way.
        self.lines.flush()?;
        self.hlog.flush()?;
        self.history.as_mut().map_or(Ok(()), HistoryWriter::flush)
    }

    /// Whether not all that the checkers were told could be kept.
    pub(super) fn history_is_full(&self) -> bool {
        self.history.as_ref().is_some_and(HistoryWriter::is_full)
    }

    /// Ends collecting.
    pub(super) fn finish(self) -> Collected {
        self.collected
    }
}

fn seconds_between(from_ns: u64, to_ns: u64) -> f64 {
    (to_ns as i64 - from_ns as i64) as f64 / 1e9
}

fn sum_stats<'a>(all: impl Iterator<Item = &'a ProducerStats>) -> ProducerStats {
    let mut sum = ProducerStats::default();
    for stats in all {
        sum.requests += stats.requests;
        sum.records_sent += stats.records_sent;
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

/// Errors by Kafka's name, or that of the client for its own, for reports.
pub fn errors_by_name(errors: &BTreeMap<ErrorCode, u64>) -> BTreeMap<String, u64> {
    let foreign =
        |code: ErrorCode| crate::external::code_name(code).or_else(|| crate::rdkafka::code_name(code.0));
    let name = |code: &ErrorCode| foreign(*code).unwrap_or_else(|| code.name());
    errors.iter().map(|(code, count)| (name(code), *count)).collect()
}

/// CPU time and memory of this process and of the programs that are its clients.
pub(super) fn usage_now(acked: u64, programs: &Programs) -> Usage {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: getrusage fills the struct that it is given whenever it succeeds, and RUSAGE_SELF is always valid.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) != 0 {
            return Usage::default();
        }
        usage.assume_init()
    };
    let ns = |t: libc::timeval| t.tv_sec as u64 * 1_000_000_000 + t.tv_usec as u64 * 1_000;
    let theirs = programs.usage();
    let ProgramUsage { cpu_ns, rss_bytes } = theirs.unwrap_or_default();
    Usage {
        at_ns: gauntlet_wire::monotonic_ns(),
        cpu_ns: ns(usage.ru_utime) + ns(usage.ru_stime) + cpu_ns,
        programs_cpu_ns: theirs.map(|usage| usage.cpu_ns),
        rss_bytes: resident_bytes().unwrap_or(0) + rss_bytes,
        host: HostTicks::now(),
        acked,
    }
}

/// Resident memory of this process.
pub(crate) fn resident_bytes() -> Option<u64> {
    resident_in("/proc/self/statm")
}

/// Resident memory of another process; `None` if it is gone.
pub(crate) fn resident_bytes_of(pid: i32) -> Option<u64> {
    resident_in(&format!("/proc/{pid}/statm"))
}

/// Second field of a `statm`, in pages; proc_pid_statm(5).
fn resident_in(path: &str) -> Option<u64> {
    let statm = std::fs::read_to_string(path).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: sysconf has no preconditions.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page_bytes).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_complete_when_every_running_thread_has_told_of_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::create(&root.path().join("late"), "late", "1").unwrap();
        let (sender, intervals) = crossbeam_channel::unbounded();
        let mut collector = Collector::new(&dir, intervals, 0, Arc::default(), None).unwrap();
        let heard = |origin, at_ns, is_last| {
            let interval = Interval { is_last, ..Interval::empty(origin, at_ns) };
            sender.send(interval).unwrap();
        };
        assert!(collector.is_complete(10), "nobody runs yet");
        heard(Origin::Producer(0), 10, false);
        heard(Origin::Reader(0), 9, false);
        assert!(!collector.is_complete(10), "the reader is late");
        heard(Origin::Reader(0), 12, false);
        assert!(collector.is_complete(10));
        assert!(!collector.is_complete(20));
        heard(Origin::Reader(0), 21, false);
        heard(Origin::Producer(0), 15, true);
        assert!(collector.is_complete(20), "a producer that has ended tells no more");
    }

    #[test]
    fn usage_is_that_of_this_process() {
        let usage = usage_now(0, &Programs::default());
        assert!(usage.rss_bytes > 1 << 20 && usage.at_ns > 0);
    }
}
