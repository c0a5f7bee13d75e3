//! Each contender in each cell: medians and ranges over the repeats, and how it compares.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::contender::REFERENCE;
use super::matrix::Cell;
use super::record::{Measured, TrialRecord};
use super::statistics::Spread;

/// A contender in a cell. What nobody measured is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellSummary {
    /// Who.
    pub contender: String,
    /// In what.
    pub cell: Cell,
    /// Trials that have a result.
    pub measured: u32,
    /// Those that have none.
    pub failed: u32,
    /// Records per second.
    pub per_s: Option<Spread>,
    /// Of the rate that was to be.
    pub achieved_ratio: Option<Spread>,
    /// Its CPU per record.
    pub cpu_ns: Option<Spread>,
    /// The brokers' CPU per record.
    pub broker_cpu_ns: Option<Spread>,
    /// Latency to the ack.
    pub p50_ms: Option<Spread>,
    /// Latency to the ack.
    pub p99_ms: Option<Spread>,
    /// Latency to the ack.
    pub p999_ms: Option<Spread>,
    /// Intended send time to decoded.
    pub e2e_p99_ms: Option<Spread>,
    /// Its highest resident memory.
    pub rss_mib: Option<Spread>,
    /// Bytes of one replica's log per record.
    pub stored_bytes: Option<Spread>,
    /// Part of the host's processor time that its hypervisor kept.
    pub steal: Option<Spread>,
    /// Records per second, of the reference's in the same repeat.
    pub ratio_per_s: Option<Spread>,
    /// CPU per record, of the reference's.
    pub ratio_cpu: Option<Spread>,
    /// p99, of the reference's.
    pub ratio_p99: Option<Spread>,
}

type Of = fn(&Measured) -> Option<f64>;

const PER_S: Of = |m| Some(m.per_s);
const CPU_NS: Of = |m| Some(m.cpu_ns_per_message);
const P99_MS: Of = |m| m.latency_ms.and_then(|latency| latency.p99);

/// Summaries of all cells, by cell, the reference first. Rehearsals count for nothing.
#[must_use]
pub fn summarise(trials: &[TrialRecord]) -> Vec<CellSummary> {
    let counted: Vec<&TrialRecord> = trials.iter().filter(|trial| trial.repeat > 0).collect();
    let keys: BTreeSet<(Cell, bool, &str)> = counted
        .iter()
        .map(|trial| (trial.cell, trial.contender != REFERENCE, trial.contender.as_str()))
        .collect();
    keys.into_iter().map(|(cell, _, contender)| summary(&counted, cell, contender)).collect()
}

fn summary(trials: &[&TrialRecord], cell: Cell, contender: &str) -> CellSummary {
    let of = |who: &'static str| select(trials, cell, who);
    let own = select(trials, cell, contender);
    let measured: Vec<&Measured> = own.iter().filter_map(|trial| trial.measured.as_ref()).collect();
    let spread = |value: Of| Spread::of(measured.iter().filter_map(|m| value(m)));
    let ratio = |value: Of| paired(&own, &of(REFERENCE), value, |ours, theirs| ours / theirs);
    let is_reference = contender == REFERENCE;
    CellSummary {
        contender: contender.to_owned(),
        cell,
        measured: measured.len() as u32,
        failed: (own.len() - measured.len()) as u32,
        per_s: spread(PER_S),
        achieved_ratio: spread(|m| m.achieved_ratio),
        cpu_ns: spread(CPU_NS),
        broker_cpu_ns: spread(|m| m.broker_cpu_ns_per_message),
        p50_ms: spread(|m| m.latency_ms.and_then(|latency| latency.p50)),
        p99_ms: spread(P99_MS),
        p999_ms: spread(|m| m.latency_ms.and_then(|latency| latency.p999)),
        e2e_p99_ms: spread(|m| m.e2e_ms.and_then(|latency| latency.p99)),
        rss_mib: spread(|m| Some(m.rss_mib)),
        stored_bytes: spread(|m| m.stored_bytes_per_record),
        steal: spread(|m| m.host.map(|host| host.steal)),
        ratio_per_s: if is_reference { None } else { ratio(PER_S) },
        ratio_cpu: if is_reference { None } else { ratio(CPU_NS) },
        ratio_p99: if is_reference { None } else { ratio(P99_MS) },
    }
}

fn select<'t>(trials: &[&'t TrialRecord], cell: Cell, contender: &str) -> Vec<&'t TrialRecord> {
    trials.iter().filter(|t| t.repeat > 0 && t.cell == cell && t.contender == contender).copied().collect()
}

/// How a value compares with another's, repeat by repeat: what the host did meanwhile is then mostly the same for both.
fn paired(
    own: &[&TrialRecord],
    others: &[&TrialRecord],
    value: Of,
    compare: fn(f64, f64) -> f64,
) -> Option<Spread> {
    let value = |trial: &TrialRecord| trial.measured.as_ref().and_then(value);
    Spread::of(own.iter().filter_map(|trial| {
        let other = others.iter().find(|other| other.repeat == trial.repeat)?;
        Some(compare(value(trial)?, value(other)?))
    }))
}

/// Differences of CPU per record between two contenders in a cell, repeat by repeat.
#[must_use]
pub fn cpu_difference_ns(trials: &[TrialRecord], cell: Cell, more: &str, less: &str) -> Option<Spread> {
    let all: Vec<&TrialRecord> = trials.iter().collect();
    paired(&select(&all, cell, more), &select(&all, cell, less), CPU_NS, |more, less| more - less)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use gauntlet_reports::record::{HostRecord, LatencyMs};
    use gauntlet_wire::codec::Codec;

    use super::super::matrix::{Mode, Pace};
    use super::*;
    use crate::units::{Bytes, Rate};

    pub(in crate::bench) const PRODUCE: Cell = Cell {
        mode: Mode::Produce,
        size: Bytes::new(100),
        codec: Codec::Lz4,
        pace: Pace::At(Rate::per_second(1_000_000)),
    };

    /// A trial with a rate, a CPU per record, and a p99.
    pub(in crate::bench) fn trial(
        contender: &str,
        cell: Cell,
        repeat: u16,
        (per_s, cpu_ns, p99_ms): (f64, f64, f64),
    ) -> TrialRecord {
        let target = match cell.pace {
            Pace::FlatOut => None,
            Pace::At(rate) => Some(per_s / rate.per_s() as f64),
        };
        let latency = LatencyMs {
            p50: Some(p99_ms / 2.0),
            p99: Some(p99_ms),
            p999: Some(p99_ms * 2.0),
            max: Some(p99_ms * 3.0),
        };
        TrialRecord {
            number: u32::from(repeat),
            repeat,
            contender: contender.to_owned(),
            cell,
            settings: BTreeMap::from([("linger.ms".to_owned(), "20".to_owned())]),
            tuned: contender == REFERENCE,
            began_s: f64::from(repeat) * 40.0,
            measured: Some(Measured {
                seconds: 20.0,
                records: (per_s * 20.0) as u64,
                per_s,
                achieved_ratio: target,
                cpu_ns_per_message: cpu_ns,
                cpu_total_s: 30.0 * per_s * cpu_ns / 1e9,
                rss_mib: 100.0,
                latency_ms: Some(latency),
                e2e_ms: (cell.mode == Mode::Both).then_some(latency),
                broker_cpu_ns_per_message: Some(900.0),
                stored_bytes_per_record: Some(37.5),
                host: Some(HostRecord { busy: 0.8, steal: 0.02 }),
            }),
            failed: None,
        }
    }

    #[test]
    fn ratios_are_taken_within_a_repeat() {
        let mut trials = vec![
            trial(REFERENCE, PRODUCE, 1, (1e6, 200.0, 20.0)),
            trial(REFERENCE, PRODUCE, 2, (1e6, 400.0, 40.0)),
            trial("peer", PRODUCE, 1, (5e5, 800.0, 60.0)),
            trial("peer", PRODUCE, 2, (5e5, 1_600.0, 120.0)),
            trial("peer", PRODUCE, 0, (1.0, 1.0, 1.0)),
        ];
        trials[3].number = 9;
        let all = summarise(&trials);
        assert_eq!(all.iter().map(|s| s.contender.as_str()).collect::<Vec<_>>(), [REFERENCE, "peer"]);
        let peer = &all[1];
        assert_eq!(peer.ratio_cpu, Some(Spread { median: 4.0, min: 4.0, max: 4.0, n: 2 }));
        assert_eq!(peer.ratio_p99.unwrap().median, 3.0);
        assert_eq!((peer.measured, peer.failed), (2, 0));
        assert_eq!(all[0].ratio_cpu, None);
        assert_eq!(all[0].cpu_ns.unwrap(), Spread { median: 300.0, min: 200.0, max: 400.0, n: 2 });
        let difference = cpu_difference_ns(&trials, PRODUCE, "peer", REFERENCE).unwrap();
        assert_eq!((difference.min, difference.max), (600.0, 1_200.0));
    }

    #[test]
    fn a_failed_trial_is_counted_and_has_no_numbers() {
        let failed = TrialRecord {
            measured: None,
            failed: Some("it never began".to_owned()),
            ..trial("peer", PRODUCE, 1, (1.0, 1.0, 1.0))
        };
        let all = summarise(&[failed]);
        assert_eq!((all[0].measured, all[0].failed, all[0].per_s), (0, 1, None));
        assert_eq!(all[0].ratio_cpu, None, "there is no reference");
    }
}
