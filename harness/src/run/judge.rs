//! The verdict: findings against the guarantee, expectations against what was measured, and what is unknown.

use gauntlet_chaos::clocks::RecoveryTime;
use gauntlet_chaos::fault::FaultRecord;
use gauntlet_reports::record::{
    ClientRecord, EndToEndRecord, ExpectRecord, FaultEntry, FaultTimes, LatencyMs, LoadRecord, ProduceRecord,
    Reason, RecoverySeconds, RunRecord, RunState, SlipMs, UnavailableSeconds, WindowRecord,
};
use gauntlet_reports::{ExitReason, Severity, Verdict, evaluate};
use gauntlet_verify::FindingClass;

use super::collect::errors_by_name;
use super::findings::{Checked, Judged, not_looked_for};
use super::measure::{FaultSeen, Measurement, Raw, ours_ratio};
use super::{History, Loaded, Progress, Run, RunError};
use crate::fault_words;
use crate::hlog::{self, Series, SlotLog};
use crate::recorder::LatencyHistogram;
use crate::rundir::{HISTOGRAMS, VIOLATIONS};
use crate::windows::Measured;

/// The highest of some levels.
fn highest(levels: &[f64]) -> Option<f64> {
    levels.iter().copied().reduce(f64::max)
}

impl Run<'_> {
    /// Completes the record of a run whose load came to its end.
    pub(super) fn judge(
        &mut self,
        loaded: Loaded<'_>,
        watched: History<'_>,
        record: &mut RunRecord,
    ) -> Result<(), RunError> {
        (self.tell)(Progress::Phase("judging"));
        let log = self.options.dir.read(HISTOGRAMS)?;
        let histograms = SlotLog::read(&log, loaded.base_slot)?;
        let checked = Checked::of(&loaded.readers, self.plan.verify.map_or(0, |v| v.examples_max));
        let Loaded {
            collected, records, times, warm, guards, mut reasons, mut unknowns, not_read_again, ..
        } = loaded;
        let measurement = Measurement::new(Raw {
            plan: self.plan,
            collected: &collected,
            histograms: &histograms,
            records,
            history: &watched.history,
            summary: self.plan.verify.is_some().then(|| checked.summary().clone()),
            warm,
            cut_short: guards.ended_the_load()
                || reasons.iter().any(|r| matches!(r.exit, ExitReason::Aborted | ExitReason::Environment)),
            times,
        });
        self.fill_windows(record, &measurement);
        record.faults = measurement.faults.iter().map(|f| fault_entry(f, times.zero_ns)).collect();
        record.wire_ratio = (collected.uncompressed_bytes > 0)
            .then(|| collected.wire_bytes as f64 / collected.uncompressed_bytes as f64);
        record.errors = errors_by_name(&collected.producers.errors);
        record.retries = collected.producers.retries;
        record.throttle_ms_max = collected.producers.throttle_ms_max;
        record.not_read_again = not_read_again;
        let violations = self.findings(record, &checked, &mut reasons, &mut unknowns)?;
        self.expect(record, &measurement);
        record.expect.extend(
            guards
                .judge(|metric, from_ns, to_ns| {
                    let counts = collected.counts_between(from_ns, to_ns);
                    measurement.doubt_of(metric, &counts, None)
                })
                .into_iter()
                .map(ExpectRecord::from),
        );
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
        let Judged { findings, violations, reasons: found, unknowns: unknown } =
            checked.judge(&verify.guarantee, self.plan.allows_unclean_election());
        record.verify = Some(checked.counts());
        record.not_looked_for = not_looked_for(self.plan);
        let disagreement = FindingClass::ReadDisagreement.to_string();
        let nothing_was = !record.not_read_again.is_empty() && checked.summary().read_again == 0;
        if nothing_was && !record.not_looked_for.contains(&disagreement) {
            record.not_looked_for.push(disagreement);
        }
        record.findings = findings;
        reasons.extend(found);
        unknowns.extend(unknown);
        self.options.dir.replace(VIOLATIONS, &checked.to_json()?)?;
        Ok(violations)
    }

    fn expect(&mut self, record: &mut RunRecord, measurement: &Measurement) {
        let windows: Vec<String> = measurement.windows.keys().cloned().collect();
        for expectation in self.expectations {
            record
                .expect
                .extend(evaluate(expectation, &windows, measurement).into_iter().map(ExpectRecord::from));
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
            ours_ratio: ours_ratio(&measured.counts),
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

fn produce_record(m: &Measured) -> ProduceRecord {
    ProduceRecord {
        acked: m.counts.acked,
        failed: m.counts.failed,
        indeterminate: m.counts.indeterminate,
        unacknowledged: m.counts.unacknowledged,
        dropped: m.counts.dropped,
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
        target: match &record.target {
            Some(target) => format!("{target}{}", fault_words::details(&record.action)),
            None => "nobody".to_owned(),
        },
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
