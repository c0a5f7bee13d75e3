//! From what was collected to numbers: windows, recovery clocks, and an answer for every metric.

use std::collections::BTreeMap;

use gauntlet_chaos::clocks::{AckGap as ClockGap, AckGaps, FaultClocks, RecoveryTime, recovery_clocks};
use gauntlet_chaos::fault::FaultRecord;
use gauntlet_chaos::history::{ClusterHistory, TopicPartition};
use gauntlet_reports::metric::{self, Metric, Scope};
use gauntlet_reports::record::HostRecord;
use gauntlet_reports::{Doubt, Observations, Observed, Stat, Truth};
use gauntlet_verify::Summary;

use super::collect::Collected;
use crate::cluster_levels::{ClusterLevels, Levels, LevelsSeen};
use crate::hlog::{Series, SlotLog};
use crate::intervals::ClientSecond;
use crate::plan::{Plan, fault_of};
use crate::recorder::{Counts, LatencyHistogram, SLOT_NS};
use crate::windows::{FaultMoments, Measured, Slots, Windows, lay_out};

/// A window is in doubt if more than this share of its records is ours.
const OURS_MAX: f64 = 0.01;
/// p99 is back once it stays below this multiple of its value before …
const P99_BACK_FACTOR: u64 = 2;
/// … for so many seconds.
const P99_BACK_SECONDS: u64 = 5;
/// The lag is back once it stays at its old level for so long.
const LAG_BACK_NS: u64 = 1_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const SLOTS_PER_SECOND: u64 = SECOND_NS / SLOT_NS;

/// A fault with everything that is known about it.
#[derive(Debug, Clone)]
pub(super) struct FaultSeen {
    pub(super) record: FaultRecord,
    pub(super) clocks: FaultClocks,
    pub(super) lag_drained: RecoveryTime,
    pub(super) p99_back: RecoveryTime,
    pub(super) recovered_ns: Option<u64>,
}

/// When things were.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// t = 0.
    pub(super) zero_ns: u64,
    /// End of the load.
    pub(super) end_ns: u64,
}

/// How the names of metrics begin that are about what brokers say of the cluster.
const CLUSTER: &str = "cluster.";

/// The whole run in numbers.
pub(super) struct Measurement {
    pub(super) windows: Windows,
    pub(super) measured: BTreeMap<String, Measured>,
    pub(super) faults: Vec<FaultSeen>,
    pub(super) summary: Option<Summary>,
    pub(super) warm: Option<bool>,
    cut_short: bool,
    lag: Vec<(u64, u64)>,
    usage: Vec<super::collect::Usage>,
    clients: Vec<(u64, ClientSecond)>,
    levels: ClusterLevels,
    throttle_ms_max: u32,
    retries: u64,
    /// Mean length of a value.
    value_bytes: f64,
}

/// What a measurement is made from.
pub(super) struct Raw<'a> {
    pub(super) plan: &'a Plan,
    pub(super) collected: &'a Collected,
    pub(super) histograms: &'a SlotLog<'a>,
    pub(super) records: Vec<FaultRecord>,
    pub(super) history: &'a ClusterHistory,
    pub(super) summary: Option<Summary>,
    pub(super) warm: Option<bool>,
    /// The load was ended before its time.
    pub(super) cut_short: bool,
    pub(super) times: Times,
}

impl Measurement {
    pub(super) fn new(raw: Raw<'_>) -> Self {
        let slots = Slots {
            counts: &raw.collected.counts,
            histograms: raw.histograms,
            scheduled: raw.plan.is_scheduled(),
        };
        let gaps = ack_gaps(raw.plan, raw.collected, raw.times.end_ns);
        let before_ns =
            raw.records.iter().filter_map(|record| record.injected_ns).min().unwrap_or(raw.times.end_ns);
        let before = slots.measure(&lay_out(raw.times.zero_ns, before_ns, &[])["all"]);
        let faults: Vec<FaultSeen> = raw
            .records
            .iter()
            .zip(recovery_clocks(&raw.records, raw.history, &gaps))
            .map(|(record, clocks)| see_fault(record, clocks, &raw, &slots, &before, before_ns))
            .collect();
        let moments: Vec<FaultMoments> = faults.iter().filter_map(moments_of).collect();
        let windows = lay_out(raw.times.zero_ns, raw.times.end_ns, &moments);
        let measured = slots.measure_all(&windows);
        Measurement {
            windows,
            measured,
            faults,
            summary: raw.summary,
            warm: raw.warm,
            cut_short: raw.cut_short,
            lag: raw.collected.lag.clone(),
            usage: raw.collected.usage.clone(),
            clients: raw.collected.clients.clone(),
            levels: ClusterLevels::of(raw.history),
            throttle_ms_max: raw.collected.producers.throttle_ms_max,
            retries: raw.collected.producers.retries,
            value_bytes: raw.plan.value_bytes_mean(),
        }
    }

    /// The part of a series of (when, value) that lies in a window.
    fn in_window<'a, T>(&'a self, window: &str, at: impl Fn(&T) -> u64 + 'a, all: &'a [T]) -> Vec<&'a T> {
        let spans = self.windows.get(window).cloned().unwrap_or_default();
        all.iter()
            .filter(|item| {
                let slot = crate::recorder::slot_of(at(item));
                spans.iter().any(|(from, to)| (*from..*to).contains(&slot))
            })
            .collect()
    }

    pub(super) fn cpu_ns_per_message(&self, window: &str) -> Option<f64> {
        let usage = self.in_window(window, |u| u.at_ns, &self.usage);
        let (first, last) = (usage.first()?, usage.last()?);
        let acked = last.acked.checked_sub(first.acked).filter(|n| *n > 0)?;
        Some((last.cpu_ns - first.cpu_ns) as f64 / acked as f64)
    }

    /// The part of it that programs took; `None` without such, too.
    pub(super) fn program_cpu_ns_per_message(&self, window: &str) -> Option<f64> {
        let usage = self.in_window(window, |u| u.at_ns, &self.usage);
        let (first, last) = (usage.first()?, usage.last()?);
        let acked = last.acked.checked_sub(first.acked).filter(|n| *n > 0)?;
        Some(last.programs_cpu_ns?.saturating_sub(first.programs_cpu_ns?) as f64 / acked as f64)
    }

    pub(super) fn rss_mib(&self, window: &str) -> f64 {
        let usage = self.in_window(window, |u| u.at_ns, &self.usage);
        usage.iter().map(|u| u.rss_bytes).max().unwrap_or(0) as f64 / 1_048_576.0
    }

    /// What the host did in a window.
    pub(super) fn host(&self, window: &str) -> Option<HostRecord> {
        let usage = self.in_window(window, |u| u.at_ns, &self.usage);
        let (first, last) = (usage.first()?.host?, usage.last()?.host?);
        last.since(&first)
    }

    fn observe_host(&self, window: &str, part: impl Fn(HostRecord) -> f64) -> Observed {
        match self.host(window) {
            Some(host) => Observed::Value(part(host)),
            None => Observed::Unknown("too short a window, or a kernel that does not say".to_owned()),
        }
    }

    /// The clock of a fault; of one that happened more than once, the worst.
    fn observe_fault(&self, metric: &Metric, label: Option<&str>) -> Observed {
        let named = |fault: &&FaultSeen| Some(fault_of(&fault.record.name)) == label;
        let times: Vec<&FaultSeen> = self.faults.iter().filter(named).collect();
        if let Some(fault) = times.iter().find(|fault| fault.record.took_effect_ns.is_none()) {
            let why = fault.record.error.clone().unwrap_or_else(|| "it was not seen to act".to_owned());
            return Observed::Unknown(format!("fault {}: {why}", fault.record.name));
        }
        let clock = |fault: &&FaultSeen| match metric.name {
            "recovery.leader_elected" => fault.clocks.leader_elected,
            "recovery.first_ack" => fault.clocks.first_ack,
            "recovery.isr_full" => fault.clocks.isr_full,
            "recovery.lag_drained" => fault.lag_drained,
            "recovery.p99_back" => fault.p99_back,
            _ => fault.clocks.unavailable_longest,
        };
        let Some(worst) = times.iter().map(clock).reduce(RecoveryTime::worse) else {
            return Observed::Unknown("the fault was not injected".into());
        };
        match worst {
            RecoveryTime::Seconds(s) => Observed::Value(s),
            RecoveryTime::NotAffected => Observed::Value(0.0),
            RecoveryTime::Never => Observed::Value(f64::INFINITY),
            RecoveryTime::Unknown => Observed::Unknown("nobody was watching at that time".to_owned()),
        }
    }

    fn observe_run(&self, metric: &Metric) -> Observed {
        match metric.name {
            metric::THROTTLE_TIME => Observed::Value(f64::from(self.throttle_ms_max)),
            metric::RETRIES => Observed::Value(self.retries as f64),
            _ => self.observe_verify(metric),
        }
    }

    fn observe_verify(&self, metric: &Metric) -> Observed {
        let Some(summary) = &self.summary else { return Observed::Unknown("`verify` is off".to_owned()) };
        if metric.name == "verify.lost" && summary.lost == 0 && summary.expired > 0 {
            return Observed::Unknown(format!(
                "{} acked records expired before they were read, so nobody knows whether they were lost before",
                summary.expired
            ));
        }
        if summary.degraded {
            return Observed::Unknown("the checker ran out of its share of memory".to_owned());
        }
        let field = metric.name.trim_start_matches("verify.");
        match summary.counts().find(|(name, _)| *name == field) {
            Some((_, count)) => Observed::Value(count as f64),
            None => Observed::Unknown(format!("`{}` is not counted", metric.name)),
        }
    }

    fn observe_window(
        &self,
        metric: &Metric,
        label: Option<&str>,
        stat: Option<Stat>,
        window: &str,
    ) -> Observed {
        let Some(m) = self.measured.get(window).filter(|m| m.seconds > 0.0) else {
            return Observed::Unknown(format!("the window `{window}` is empty"));
        };
        let value = |n: u64| Observed::Value(n as f64);
        let per_second = |n: u64| Observed::Value(n as f64 / m.seconds);
        match metric.name {
            "produce.latency" => distribution(m.series.get(&Series::Latency), stat),
            "produce.service_time" => distribution(m.series.get(&Series::Service), stat),
            "e2e.latency" => distribution(m.series.get(&Series::EndToEnd), stat),
            "produce.throughput" => per_second(m.counts.acks),
            "produce.bytes" => Observed::Value(m.counts.acks as f64 * self.value_bytes / m.seconds),
            "produce.acked" => value(m.counts.acked),
            "produce.failed" => value(m.counts.failed),
            "produce.indeterminate" => value(m.counts.indeterminate),
            "produce.unacknowledged" => value(m.counts.unacknowledged),
            "produce.error_rate" => {
                let bad = m.counts.failed + m.counts.indeterminate;
                match bad + m.counts.acked {
                    0 => Observed::Unknown("no record ended".to_owned()),
                    all => Observed::Value(bad as f64 / all as f64),
                }
            }
            "consume.throughput" => per_second(m.counts.reads),
            "load.dropped" => value(m.counts.dropped),
            "cluster.leader_changes" => {
                value(self.in_window(window, |at_ns| *at_ns, &self.levels.leader_changes).len() as u64)
            }
            name if name.starts_with(CLUSTER) => self.observe_level(name, stat, window),
            "load.achieved_ratio" => match m.intended {
                Some(intended @ 1..) => Observed::Value(m.acked_in_time as f64 / intended as f64),
                _ => Observed::Unknown("nothing was intended in this window".to_owned()),
            },
            "load.slip" => Observed::Value(match label {
                Some("broker") => m.slip.broker_ns as f64 / 1e6,
                Some("gauntlet") => m.slip.gauntlet_ns as f64 / 1e6,
                _ => m.slip.host_ns as f64 / 1e6,
            }),
            "consumer.lag" => self.observe_lag(stat, window),
            "client.cpu_ns_per_message" => match self.cpu_ns_per_message(window) {
                Some(ns) => Observed::Value(ns),
                None => Observed::Unknown("too short a window".to_owned()),
            },
            "client.rss_mb" => Observed::Value(self.rss_mib(window)),
            "client.queue" => self.observe_client(stat, window, |client| Some(client.queue as f64)),
            "client.rtt_p50" => self.observe_client(stat, window, |client| client.rtt_p50_ms),
            "client.rtt_p99" => self.observe_client(stat, window, |client| client.rtt_p99_ms),
            "host.busy" => self.observe_host(window, |host| host.busy),
            "host.steal" => self.observe_host(window, |host| host.steal),
            other => Observed::Unknown(format!("`{other}` is not measured")),
        }
    }

    /// What clients that are not ours said about themselves in each second of a window.
    pub(super) fn client_levels(&self, window: &str, of: impl Fn(&ClientSecond) -> Option<f64>) -> Vec<f64> {
        let seconds = self.in_window(window, |(at, _)| *at, &self.clients);
        seconds.into_iter().filter_map(|(_, client)| of(client)).collect()
    }

    fn observe_client(
        &self,
        stat: Option<Stat>,
        window: &str,
        of: impl Fn(&ClientSecond) -> Option<f64>,
    ) -> Observed {
        let levels = self.client_levels(window, of);
        if levels.is_empty() {
            return Observed::Unknown("librdkafka told nothing in this window".to_owned());
        }
        Observed::Value(match stat {
            Some(Stat::Min) => levels.iter().copied().fold(f64::INFINITY, f64::min),
            Some(Stat::Mean) => levels.iter().sum::<f64>() / levels.len() as f64,
            _ => levels.iter().copied().fold(0.0, f64::max),
        })
    }

    fn levels_in(&self, window: &str) -> LevelsSeen {
        let mut seen = LevelsSeen::default();
        for (from, to) in self.windows.get(window).into_iter().flatten() {
            seen.add(self.levels.between(from * SLOT_NS, to * SLOT_NS));
        }
        seen
    }

    fn observe_level(&self, name: &str, stat: Option<Stat>, window: &str) -> Observed {
        let of = |levels: &Levels| match name {
            "cluster.under_replicated_partitions" => levels.partitions.under_replicated,
            "cluster.offline_partitions" => levels.partitions.offline,
            "cluster.isr_size" => levels.partitions.isr_min.unwrap_or(0),
            _ => levels.brokers,
        };
        let lasted = self.levels_in(window).lasted;
        let values = || lasted.iter().map(|(_, levels)| of(levels));
        let Some((max, min)) = values().max().zip(values().min()) else {
            return Observed::Unknown("no broker that was asked answered in this window".to_owned());
        };
        Observed::Value(match stat {
            Some(Stat::Min) => min as f64,
            Some(Stat::Mean) => {
                let total_ns: u64 = lasted.iter().map(|(ns, _)| ns).sum();
                lasted.iter().map(|(ns, levels)| *ns as f64 * of(levels) as f64).sum::<f64>()
                    / total_ns as f64
            }
            _ => max as f64,
        })
    }

    fn observe_lag(&self, stat: Option<Stat>, window: &str) -> Observed {
        let lag: Vec<u64> =
            self.in_window(window, |(at, _)| *at, &self.lag).into_iter().map(|(_, l)| *l).collect();
        if lag.is_empty() {
            return Observed::Unknown("the lag was not seen in this window".to_owned());
        }
        Observed::Value(match stat {
            Some(Stat::Min) => lag.iter().copied().min().unwrap_or(0) as f64,
            Some(Stat::Mean) => lag.iter().sum::<u64>() as f64 / lag.len() as f64,
            _ => lag.iter().copied().max().unwrap_or(0) as f64,
        })
    }
}

impl Observations for Measurement {
    fn observe(&self, metric: &Metric, label: Option<&str>, stat: Option<Stat>, window: &str) -> Observed {
        match metric.scope {
            Scope::Fault => self.observe_fault(metric, label),
            Scope::Run => self.observe_run(metric),
            Scope::Window => self.observe_window(metric, label, stat, window),
        }
    }

    fn doubt(&self, metric: &Metric, _label: Option<&str>, window: &str) -> Option<Doubt> {
        if metric.name.starts_with(CLUSTER) {
            let unseen_ns = self.levels_in(window).unseen_ns;
            let why = format!("no broker that was asked answered for {:.1} s of it", unseen_ns as f64 / 1e9);
            return (unseen_ns > 0).then_some(Doubt { truth: Truth::Anywhere, why });
        }
        self.doubt_of(metric, &self.measured.get(window)?.counts, self.host(window))
    }
}

impl Measurement {
    /// Why a value of `metric` over records of such `counts` may not be the cluster's; see [`Observations::doubt`].
    pub(super) fn doubt_of(
        &self,
        metric: &Metric,
        counts: &Counts,
        host: Option<HostRecord>,
    ) -> Option<Doubt> {
        // What was under way when somebody ended the load had no time to be acked.
        if self.cut_short && metric.name == "load.achieved_ratio" {
            return Some(Doubt {
                truth: Truth::AtLeast,
                why: "the load was ended before its time".to_owned(),
            });
        }
        if self.warm == Some(false) && metric.name.contains("latency") {
            let why = "the warm-up ended without a stable p99".to_owned();
            return Some(Doubt { truth: Truth::AtMost, why });
        }
        let (ratio, of, truth) = match Subject::of(metric)? {
            Subject::Time(truth) => (ours_ratio(counts), "records were late", truth),
            Subject::Unanswered => {
                (unanswered_ours_ratio(counts), "records without an ack were late", Truth::AtMost)
            }
        };
        (ratio > OURS_MAX).then(|| {
            let stolen = host.map_or(String::new(), |host| {
                format!("; the hypervisor kept {:.1} % of the host's CPU time", host.steal * 100.0)
            });
            let why = format!(
                "{:.1} % of the window's {of} because of gauntlet or the host, not the broker{stolen}",
                ratio * 100.0
            );
            Doubt { truth, why }
        })
    }
}

/// What of a metric can be our own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// When records came to their end, and so how many in a time; and where the truth is if we were late.
    Time(Truth),
    /// How many of them got no ack.
    Unanswered,
}

impl Subject {
    fn of(metric: &Metric) -> Option<Self> {
        match metric.name {
            "produce.failed" | "produce.indeterminate" | "produce.error_rate" | "load.dropped" => {
                Some(Subject::Unanswered)
            }
            "produce.latency" | "e2e.latency" | "consumer.lag" => Some(Subject::Time(Truth::AtMost)),
            "recovery.p99_back" | "recovery.lag_drained" => Some(Subject::Time(Truth::AtMost)),
            "produce.throughput" | "produce.bytes" | "consume.throughput" | "load.achieved_ratio" => {
                Some(Subject::Time(Truth::AtLeast))
            }
            // It begins after our slip, so it can look better than it is, and ends when we read the answer.
            "produce.service_time" => Some(Subject::Time(Truth::Anywhere)),
            _ => None,
        }
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// Share of records whose latency is mostly ours: of those that ended, or of those read if that is more.
pub(super) fn ours_ratio(c: &Counts) -> f64 {
    share(c.ours + c.unanswered_ours, c.acked + c.failed + c.indeterminate + c.dropped)
        .max(share(c.read_ours, c.read))
}

/// The same of the records that ended without an ack.
fn unanswered_ours_ratio(c: &Counts) -> f64 {
    share(c.unanswered_ours, c.failed + c.indeterminate + c.dropped)
}

fn distribution(histogram: Option<&LatencyHistogram>, stat: Option<Stat>) -> Observed {
    let Some(h) = histogram.filter(|h| !h.is_empty()) else {
        return Observed::Unknown("no sample in this window".to_owned());
    };
    let us = |v: u64| Observed::Value(v as f64 / 1_000.0);
    match stat {
        Some(Stat::Max) => us(h.max()),
        Some(Stat::Min) => us(h.min()),
        Some(Stat::Mean) => Observed::Value(h.mean() / 1_000.0),
        Some(Stat::Count) => Observed::Value(h.len() as f64),
        other => us(h.value_at_quantile(other.and_then(Stat::quantile).unwrap_or(0.99))),
    }
}

fn moments_of(fault: &FaultSeen) -> Option<FaultMoments> {
    Some(FaultMoments {
        name: fault_of(&fault.record.name).to_owned(),
        injected_ns: fault.record.injected_ns?,
        heal_ns: fault.record.heal_began_ns,
        recovered_ns: fault.recovered_ns,
    })
}

/// The gaps of every partition that was produced to, as the clocks want them.
fn ack_gaps(plan: &Plan, collected: &Collected, end_ns: u64) -> AckGaps {
    /// A partition without an ack for so long at the end of the load was interrupted then.
    const OPEN_GAP_NS: u64 = 1_000_000_000;
    let mut topic_of: Vec<usize> = Vec::new();
    for block in &plan.producers {
        topic_of.extend(std::iter::repeat_n(block.topic, usize::from(block.count)));
    }
    let name = |producer: u16, partition: usize| {
        let topic = topic_of.get(usize::from(producer)).copied().unwrap_or(0);
        TopicPartition { topic: plan.topics[topic].name.clone(), partition: partition as i32 }
    };
    let mut gaps = AckGaps::new();
    for (&(producer, partition), &last_ack_ns) in &collected.last_acks {
        let list = gaps.entry(name(producer, partition)).or_default();
        if last_ack_ns + OPEN_GAP_NS < end_ns {
            list.push(ClockGap { last_ack_ns, next_ack_ns: None });
        }
    }
    for gap in &collected.gaps {
        let clock = ClockGap { last_ack_ns: gap.from_ns, next_ack_ns: Some(gap.to_ns) };
        gaps.entry(name(gap.producer, gap.partition)).or_default().push(clock);
    }
    gaps.values_mut().for_each(|list| list.sort_by_key(|g| g.last_ack_ns));
    gaps
}

fn see_fault(
    record: &FaultRecord,
    clocks: FaultClocks,
    raw: &Raw<'_>,
    slots: &Slots<'_>,
    before: &Measured,
    before_ns: u64,
) -> FaultSeen {
    let heal_ns = record.heal_began_ns.filter(|_| record.took_effect_ns.is_some());
    let (lag_drained, p99_back) = match heal_ns {
        None => (RecoveryTime::Unknown, RecoveryTime::Unknown),
        Some(heal_ns) => {
            let times = Times { end_ns: raw.times.end_ns, zero_ns: raw.times.zero_ns };
            (
                lag_drained(&raw.collected.lag, times, before_ns, heal_ns),
                p99_back(slots, before, heal_ns, times.end_ns),
            )
        }
    };
    let recovered_ns = heal_ns.and_then(|heal_ns| {
        let parts = [clocks.isr_full, lag_drained, p99_back].map(|t| match t {
            RecoveryTime::Seconds(s) => Some(heal_ns + (s * 1e9) as u64),
            RecoveryTime::NotAffected => Some(heal_ns),
            RecoveryTime::Never | RecoveryTime::Unknown => None,
        });
        parts.into_iter().collect::<Option<Vec<u64>>>()?.into_iter().max()
    });
    FaultSeen { record: record.clone(), clocks, lag_drained, p99_back, recovered_ns }
}

/// From the heal action until the lag stays at or below its highest level before the first fault.
fn lag_drained(lag: &[(u64, u64)], times: Times, before_ns: u64, heal_ns: u64) -> RecoveryTime {
    let level = lag.iter().filter(|(at, _)| (times.zero_ns..before_ns).contains(at)).map(|(_, l)| *l).max();
    let Some(level) = level else { return RecoveryTime::NotAffected };
    let mut since = None;
    for (at, lag) in lag.iter().filter(|(at, _)| *at >= heal_ns) {
        match (since, *lag <= level) {
            (_, false) => since = None,
            (None, true) => since = Some(*at),
            (Some(begun), true) if *at >= begun + LAG_BACK_NS => {
                return RecoveryTime::Seconds((begun - heal_ns) as f64 / 1e9);
            }
            (Some(_), true) => {}
        }
    }
    RecoveryTime::Never
}

/// From the heal action until p99 stays under twice its value before, for five seconds.
fn p99_back(slots: &Slots<'_>, before: &Measured, heal_ns: u64, end_ns: u64) -> RecoveryTime {
    let Some(usual) = before.series.get(&Series::Latency).filter(|h| !h.is_empty()) else {
        return RecoveryTime::Unknown;
    };
    let limit_us = usual.value_at_quantile(0.99) * P99_BACK_FACTOR;
    let heal_slot = crate::recorder::slot_of(heal_ns);
    let end_slot = crate::recorder::slot_of(end_ns);
    let mut from = heal_slot;
    while from + P99_BACK_SECONDS * SLOTS_PER_SECOND <= end_slot {
        let late = (0..P99_BACK_SECONDS).find(|s| {
            let p99 = slots.p99_of_second(from + s * SLOTS_PER_SECOND, Series::Latency);
            p99.is_none_or(|us| us >= limit_us)
        });
        match late {
            None => return RecoveryTime::Seconds((from - heal_slot) as f64 / SLOTS_PER_SECOND as f64),
            // Begin again behind the first slot of the second that was too slow.
            Some(s) => from += s * SLOTS_PER_SECOND + 1,
        }
    }
    RecoveryTime::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn the_lag_has_to_stay_down() {
        let times = Times { zero_ns: 0, end_ns: 100 * S };
        let mut lag: Vec<(u64, u64)> = (0..100).map(|i| (i * S / 10, 50)).collect();
        lag.extend((100..200).map(|i| (i * S / 10, 10_000)));
        lag.push((20 * S, 10));
        lag.push((20 * S + S / 10, 10_000));
        lag.extend((210..250).map(|i| (i * S / 10, 50)));
        assert_eq!(lag_drained(&lag, times, 10 * S, 15 * S), RecoveryTime::Seconds(6.0));
        assert_eq!(lag_drained(&lag[..201], times, 10 * S, 15 * S), RecoveryTime::Never);
        assert_eq!(lag_drained(&[], times, 10 * S, 15 * S), RecoveryTime::NotAffected);
    }

    /// A log of 400 slots.
    fn log_with(p99_ms: impl Fn(u64) -> u64) -> Vec<u8> {
        let mut log = Vec::new();
        for at in 0..400 {
            let mut slot = crate::recorder::Slot::default();
            slot.latency.record_n(p99_ms(at) * 1_000, 100).unwrap();
            crate::hlog::write_slots(&mut log, 0, std::iter::once((at, &slot))).unwrap();
        }
        log
    }

    #[test]
    fn p99_has_to_stay_down_for_five_seconds() {
        let log = log_with(|slot| match slot {
            0..100 => 10,
            100..200 => 900,
            230..235 => 500,
            _ => 15,
        });
        let histograms = SlotLog::read(&log, 0).unwrap();
        let counts = BTreeMap::new();
        let slots = Slots { counts: &counts, histograms: &histograms, scheduled: false };
        let before = slots.measure(&[(0, 100)]);
        // Heal at 15 s; slow until 20 s, a hiccup at 23 s, then fine from 23.5 s.
        assert_eq!(p99_back(&slots, &before, 15 * S, 40 * S), RecoveryTime::Seconds(8.5));
        assert_eq!(p99_back(&slots, &before, 15 * S, 26 * S), RecoveryTime::Never);
    }
}
