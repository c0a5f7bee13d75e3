//! The verdict: findings against the guarantee, expectations against what was measured, and what is unknown.

use std::collections::BTreeMap;

use gauntlet_chaos::clocks::RecoveryTime;
use gauntlet_chaos::fault::FaultRecord;
use gauntlet_reports::evaluate::Outcome;
use gauntlet_reports::record::{
    ClientRecord, EndToEndRecord, ExpectRecord, FaultEntry, FaultTimes, FindingRecord, LatencyMs, LoadRecord,
    ProduceRecord, Reason, RecoverySeconds, RunRecord, RunState, SlipMs, UnavailableSeconds, VerifyCounts,
    WindowRecord,
};
use gauntlet_reports::{ExitReason, Severity, Verdict, evaluate};
use gauntlet_verify::{
    Context, Evidence, FindingClass, Guarantee, Judgement, Order, PartitionReport, Summary, judge,
};
use serde::Serialize;

use super::collect::errors_by_name;
use super::measure::{FaultSeen, Measurement, Raw, ours_ratio};
use super::{History, Loaded, Progress, Run, RunError};
use crate::hlog::{self, Series, SlotHistograms};
use crate::load::reader::ReaderEnd;
use crate::plan::DriverPlan;
use crate::recorder::LatencyHistogram;
use crate::rundir::{HISTOGRAMS, VIOLATIONS};
use crate::windows::Measured;

/// What takes more than a client that is not ours shows as a reader: which replica told a watermark, in which leader epoch; and
/// the headers of batches.
const NOT_SHOWN_BY_OTHERS: [FindingClass; 6] = [
    FindingClass::HighWatermarkRegression,
    FindingClass::LastStableOffsetRegression,
    FindingClass::DuplicateAfterEpochBump,
    FindingClass::SequenceGap,
    FindingClass::SequenceRepeat,
    FindingClass::ZombieWrite,
];

/// The highest of some levels.
fn highest(levels: &[f64]) -> Option<f64> {
    levels.iter().copied().reduce(f64::max)
}

/// A guarantee in the words of its parts.
pub fn guarantee_in_words(guarantee: &Guarantee) -> String {
    let mut parts = Vec::new();
    if guarantee.durable {
        parts.push("durable");
    }
    if guarantee.unique {
        parts.push("unique");
    }
    match guarantee.ordered {
        Order::All => parts.push("ordered"),
        Order::Acked => parts.push("ordered among acked records"),
        Order::None => {}
    }
    if guarantee.atomic {
        parts.push("atomic");
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// The findings of a run with their witnesses, as `violations.json` keeps them.
#[derive(Serialize)]
struct Findings<'a> {
    summary: &'a Summary,
    partitions: &'a [PartitionCounts],
    evidence: &'a Evidence,
    broken_batches: &'a [String],
}

/// What became of the records of one partition: enough to compare it with somebody else's count of its log, which holds
/// `acked - lost + duplicates + indeterminate_present + unacknowledged_present + failed_but_present` of the run's records.
#[derive(Serialize)]
struct PartitionCounts {
    topic: String,
    partition: u32,
    /// Where reading ended.
    position: i64,
    acked: u64,
    lost: u64,
    duplicates: u64,
    indeterminate_present: u64,
    unacknowledged_present: u64,
    failed_but_present: u64,
    corrupt: u64,
    checked: u64,
}

impl From<&PartitionReport> for PartitionCounts {
    fn from(report: &PartitionReport) -> Self {
        let summary = &report.summary;
        PartitionCounts {
            topic: report.topic.clone(),
            partition: report.partition,
            position: report.end.position,
            acked: summary.acked,
            lost: summary.lost,
            duplicates: summary.duplicates,
            indeterminate_present: summary.indeterminate_present,
            unacknowledged_present: summary.unacknowledged_present,
            failed_but_present: summary.failed_but_present,
            corrupt: summary.corrupt,
            checked: summary.checked,
        }
    }
}

/// All partitions together.
struct Checked {
    summary: Summary,
    partitions: Vec<PartitionCounts>,
    evidence: Evidence,
    /// Topics with their counts, by name.
    topics: BTreeMap<String, Summary>,
    short: Vec<String>,
    broken: Vec<String>,
    broken_batches: u64,
}

fn merge(readers: &[ReaderEnd], examples: usize) -> Checked {
    let mut all = Checked {
        summary: Summary::default(),
        partitions: Vec::new(),
        evidence: Evidence::new(examples),
        topics: BTreeMap::new(),
        short: Vec::new(),
        broken: Vec::new(),
        broken_batches: 0,
    };
    for reader in readers {
        for report in &reader.reports {
            all.summary.merge(&report.summary);
            all.partitions.push(report.into());
            all.evidence.merge(&report.evidence);
            all.topics.entry(report.topic.clone()).or_default().merge(&report.summary);
        }
        all.short.extend(
            reader
                .short
                .iter()
                .map(|(p, position, end)| format!("partition {p} was read to {position} of {end}")),
        );
        all.broken.extend(reader.broken.iter().cloned());
        all.broken_batches += reader.broken_batches;
    }
    all
}

impl Run<'_> {
    /// Completes the record of a run whose load came to its end.
    pub(super) fn judge(
        &mut self,
        loaded: Loaded,
        watched: History<'_>,
        record: &mut RunRecord,
    ) -> Result<(), RunError> {
        (self.tell)(Progress::Phase("judging"));
        let histograms = self.read_histograms(&loaded)?;
        let checked = merge(&loaded.readers, self.plan.verify.map_or(0, |v| v.examples_max));
        let Loaded { collected, records, times, warm, mut reasons, mut unknowns, .. } = loaded;
        let measurement = Measurement::new(Raw {
            plan: self.plan,
            collected: &collected,
            histograms: &histograms,
            records,
            history: &watched.history,
            summary: self.plan.verify.is_some().then(|| checked.summary.clone()),
            warm,
            cut_short: reasons
                .iter()
                .any(|r| matches!(r.exit, ExitReason::Aborted | ExitReason::Environment)),
            times,
        });
        self.fill_windows(record, &measurement);
        record.faults = measurement.faults.iter().map(|f| fault_entry(f, times.zero_ns)).collect();
        record.wire_ratio = (collected.uncompressed_bytes > 0)
            .then(|| collected.wire_bytes as f64 / collected.uncompressed_bytes as f64);
        record.errors = errors_by_name(&collected.producers.errors);
        record.retries = collected.producers.retries;
        record.throttle_ms_max = collected.producers.throttle_ms_max;
        let violations = self.findings(record, &checked, &mut reasons, &mut unknowns)?;
        self.expect(record, &measurement);
        for fault in measurement.faults.iter().filter(|f| f.record.took_effect_ns.is_none()) {
            let why = fault.record.error.clone().unwrap_or_else(|| "it was not seen to act".to_owned());
            unknowns.push(format!("fault {} did not take effect: {why}", fault.record.name));
        }
        let judged: Vec<_> = record.expect.iter().map(|e| e.detail.clone()).collect();
        let verdict = Verdict::fold(violations, &judged, unknowns.len());
        record.verdict = Some(verdict);
        reasons.extend(record.expect.iter().filter_map(expectation_reason));
        reasons.extend(unknowns.into_iter().map(|text| Reason { exit: ExitReason::Inconclusive, text }));
        if reasons.is_empty() {
            reasons.push(Reason { exit: ExitReason::Pass, text: "every expectation held".to_owned() });
        }
        let aborted = reasons.iter().any(|r| r.exit == ExitReason::Aborted);
        record.state = if aborted { RunState::Aborted } else { RunState::Done };
        record.reasons = reasons;
        Ok(())
    }

    /// Reads the histogram log back, with absolute slots.
    fn read_histograms(&self, loaded: &Loaded) -> Result<BTreeMap<u64, SlotHistograms>, RunError> {
        let log = hlog::read(&self.options.dir.read(HISTOGRAMS)?)?;
        Ok(log.into_iter().map(|(slot, h)| (slot + loaded.base_slot, h)).collect())
    }

    /// Judges what the checkers found. Returns the number of violations.
    fn findings(
        &mut self,
        record: &mut RunRecord,
        checked: &Checked,
        reasons: &mut Vec<Reason>,
        unknowns: &mut Vec<String>,
    ) -> Result<u64, RunError> {
        let Some(verify) = self.plan.verify else {
            (self.tell)(Progress::Note("NOT VERIFIED: `verify` is off"));
            return Ok(0);
        };
        record.verify = Some(counts_of(&checked.summary));
        if self.plan.readers.iter().any(|block| block.driver != DriverPlan::Wire) {
            record.not_looked_for = NOT_SHOWN_BY_OTHERS.map(|class| class.to_string()).to_vec();
        }
        let unclean_election = self.plan.topics.iter().any(|t| self.plan.unclean_election(t));
        let context = Context { unclean_election, ..Context::PLAIN };
        let mut violations = 0;
        for class in FindingClass::ALL {
            let count = checked.summary.count_of(*class).unwrap_or(0);
            if count == 0 {
                continue;
            }
            let judgement = judge(*class, &verify.guarantee, &context);
            if judgement == Judgement::Violation {
                violations += count;
                reasons.push(Reason { exit: ExitReason::Violation, text: format!("{count} x {class}") });
            }
            let exemplars = checked.evidence.get(*class);
            record.findings.push(FindingRecord {
                class: class.to_string(),
                count,
                judgement: match judgement {
                    Judgement::Violation => "violation",
                    Judgement::Expected => "expected",
                    Judgement::NotAFinding => "not_a_finding",
                }
                .to_owned(),
                examples: exemplars
                    .map_or_else(Vec::new, |e| e.first().iter().map(ToString::to_string).collect()),
            });
        }
        violations += self.judge_reading(checked, reasons, unknowns);
        let findings = Findings {
            summary: &checked.summary,
            partitions: &checked.partitions,
            evidence: &checked.evidence,
            broken_batches: &checked.broken,
        };
        let json = serde_json::to_vec_pretty(&findings).map_err(std::io::Error::from)?;
        self.options.dir.replace(VIOLATIONS, &json)?;
        Ok(violations)
    }

    /// What the reading itself says: batches that can't be read, logs that were not read to their end, topics on
    /// which nothing happened, and faults of our own.
    fn judge_reading(&self, checked: &Checked, reasons: &mut Vec<Reason>, unknowns: &mut Vec<String>) -> u64 {
        if checked.broken_batches > 0 {
            reasons.push(Reason {
                exit: ExitReason::Violation,
                text: format!(
                    "{} batches could not be read; the first: {}",
                    checked.broken_batches,
                    checked.broken.first().map_or("?", String::as_str)
                ),
            });
        }
        unknowns.extend(checked.short.iter().map(|s| format!("not read to the end: {s}")));
        if checked.summary.degraded {
            unknowns
                .push("the checker ran out of its share of memory; a clean result proves nothing".to_owned());
        }
        let ours = checked.summary.settled_twice + checked.summary.reread;
        if ours > 0 {
            reasons.push(Reason {
                exit: ExitReason::InternalError,
                text: format!("{ours} records were settled or read twice by gauntlet itself; this is a bug"),
            });
        }
        for (topic, summary) in &checked.topics {
            let sent = summary.acked + summary.unacknowledged;
            if sent == 0 || summary.checked == 0 {
                reasons.push(Reason {
                    exit: ExitReason::ExpectationFailed,
                    text: format!(
                        "{topic}: {} records acked, {} checked; both must be above 0",
                        summary.acked, summary.checked
                    ),
                });
            }
        }
        checked.broken_batches
    }

    fn expect(&mut self, record: &mut RunRecord, measurement: &Measurement) {
        let windows: Vec<String> = measurement.windows.keys().cloned().collect();
        for expectation in self.expectations {
            for detail in evaluate(expectation, &windows, measurement) {
                record.expect.push(ExpectRecord {
                    rule: detail.rule.clone(),
                    observed: detail.observed,
                    ok: match detail.outcome {
                        Outcome::Held => Some(true),
                        Outcome::Broken => Some(false),
                        Outcome::Unknown => None,
                    },
                    detail,
                });
            }
        }
    }

    fn fill_windows(&self, record: &mut RunRecord, measurement: &Measurement) {
        let zero_slot = measurement.windows.get("all").and_then(|w| w.first()).map_or(0, |(from, _)| *from);
        for (name, measured) in &measurement.measured {
            let spans = &measurement.windows[name];
            let edge = |slot: Option<u64>| slot.map_or(0.0, |s| (s as f64 - zero_slot as f64) / 10.0);
            let window = WindowRecord {
                from_s: edge(spans.first().map(|(from, _)| *from)),
                to_s: edge(spans.last().map(|(_, to)| *to)),
                load: self.load_record(measured),
                produce: produce_record(measured),
                e2e: EndToEndRecord {
                    read: measured.counts.read,
                    latency_ms: latency_ms(measured.series.get(&Series::EndToEnd)),
                },
                client: ClientRecord {
                    cpu_ns_per_message: measurement.cpu_ns_per_message(name),
                    program_cpu_ns_per_message: measurement.program_cpu_ns_per_message(name),
                    rss_mb: measurement.rss_mib(name),
                    queue_max: highest(&measurement.client_levels(name, |c| Some(c.queue as f64)))
                        .filter(|_| self.plan.producers.iter().any(|b| b.driver.rdkafka().is_some())),
                    rtt_p99_ms: highest(&measurement.client_levels(name, |c| c.rtt_p99_ms)),
                },
                host: measurement.host(name),
            };
            record.windows.insert(name.clone(), window);
        }
        if let Some(all) = record.windows.get("all").cloned() {
            (record.load, record.produce, record.e2e, record.client) =
                (all.load, all.produce, all.e2e, all.client);
        }
    }

    fn load_record(&self, measured: &Measured) -> LoadRecord {
        let ms = |ns: u64| ns as f64 / 1e6;
        LoadRecord {
            target_rate: self.plan.constant_per_s().map(|per_s| per_s as f64).or_else(|| {
                Some(measured.intended? as f64 / measured.seconds).filter(|rate| rate.is_finite())
            }),
            achieved_ratio: measured
                .intended
                .filter(|n| *n > 0)
                .map(|intended| measured.acked_in_time as f64 / intended as f64),
            slip: SlipMs {
                broker: ms(measured.slip.broker_ns),
                gauntlet: ms(measured.slip.gauntlet_ns),
                host: ms(measured.slip.host_ns),
            },
            ours_ratio: ours_ratio(measured),
        }
    }
}

fn expectation_reason(expect: &ExpectRecord) -> Option<Reason> {
    if expect.detail.severity != Severity::Fail {
        return None;
    }
    let window = if expect.detail.during == "all" {
        String::new()
    } else {
        format!(" during {}", expect.detail.during)
    };
    let observed = expect
        .observed
        .map(|v| gauntlet_reports::quantity::show(v, expect.detail.unit))
        .unwrap_or("never".to_owned());
    match expect.ok {
        Some(true) => None,
        Some(false) => Some(Reason {
            exit: ExitReason::ExpectationFailed,
            text: format!("{}{window}: observed {observed}", expect.rule),
        }),
        None => Some(Reason {
            exit: ExitReason::Inconclusive,
            text: format!(
                "{}{window}: {}",
                expect.rule,
                expect.detail.reason.as_deref().unwrap_or("unknown")
            ),
        }),
    }
}

fn counts_of(summary: &Summary) -> VerifyCounts {
    VerifyCounts {
        lost: summary.lost,
        duplicates: summary.duplicates,
        reordered: summary.reordered,
        corrupt: summary.corrupt,
        misrouted: summary.misrouted,
        phantom: summary.phantom,
        failed_but_present: summary.failed_but_present,
        inconsistent_offsets: summary.inconsistent_offsets,
        unseen: summary.unseen,
        expired: summary.expired,
        checked: summary.checked,
        acked: summary.acked,
    }
}

fn produce_record(m: &Measured) -> ProduceRecord {
    ProduceRecord {
        acked: m.counts.acked,
        failed: m.counts.failed,
        indeterminate: m.counts.indeterminate,
        unacknowledged: m.counts.unacknowledged,
        throughput: if m.seconds > 0.0 { m.counts.acks as f64 / m.seconds } else { 0.0 },
        latency_ms: latency_ms(m.series.get(&Series::Latency)),
        service_ms: latency_ms(m.series.get(&Series::Service)),
    }
}

fn latency_ms(histogram: Option<&LatencyHistogram>) -> LatencyMs {
    histogram.filter(|h| !h.is_empty()).map(hlog::percentiles).unwrap_or_default()
}

fn fault_entry(fault: &FaultSeen, zero_ns: u64) -> FaultEntry {
    let clocks = &fault.clocks;
    let told = fault_as_told(&fault.record, |at_ns| (at_ns as f64 - zero_ns as f64) / 1e9);
    let isr_full = told.at_s.heal_began.zip(clocks.isr_full.seconds()).map(|(heal, s)| heal + s);
    let per_partition = clocks
        .partitions
        .iter()
        .filter_map(|p| Some((p.partition.to_string(), p.unavailable_longest.seconds()?)))
        .collect();
    FaultEntry {
        at_s: FaultTimes { isr_full, ..told.at_s },
        recovery_s: RecoverySeconds {
            leader_elected: clocks.leader_elected.seconds(),
            first_ack: clocks.first_ack.seconds(),
            isr_full: clocks.isr_full.seconds(),
            lag_drained: fault.lag_drained.seconds(),
            p99_back: fault.p99_back.seconds(),
        },
        unavailable_s: UnavailableSeconds {
            longest: match clocks.unavailable_longest {
                RecoveryTime::NotAffected => Some(0.0),
                other => other.seconds(),
            },
            per_partition,
        },
        ..told
    }
}

/// A fault as its injector told it, without clocks. `at` turns CLOCK_MONOTONIC into seconds since t = 0.
pub(crate) fn fault_as_told(record: &FaultRecord, at: impl Fn(u64) -> f64) -> FaultEntry {
    FaultEntry {
        name: record.name.clone(),
        action: record.action.name().to_owned(),
        target: record.target.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string),
        took_effect: record.took_effect_ns.is_some(),
        at_s: FaultTimes {
            planned: at(record.planned_at_ns),
            injected: record.injected_ns.map(&at),
            took_effect: record.took_effect_ns.map(&at),
            heal_began: record.heal_began_ns.map(&at),
            healed: record.healed_ns.map(&at),
            isr_full: None,
        },
        recovery_s: RecoverySeconds::default(),
        unavailable_s: UnavailableSeconds::default(),
        error: record.error.clone().or_else(|| record.heal_error.clone()),
    }
}
