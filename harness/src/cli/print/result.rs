//! The result, verdict first.

use std::io::Write;
use std::path::Path;

use gauntlet_reports::quantity::{grouped, show};
use gauntlet_reports::record::{ExpectRecord, FaultEntry, FindingRecord, RunRecord, RunState};
use gauntlet_reports::{Severity, Verdict};

use super::ms;
use crate::report::{Written, reproduce};

/// The result, verdict first.
pub(in crate::cli) fn result(out: &mut impl Write, record: &RunRecord) -> std::io::Result<()> {
    let verdict = record.verdict.map_or_else(|| "NO VERDICT".to_owned(), |v| v.to_string());
    writeln!(out, "\n{verdict}  {}", sentence(record))?;
    for reason in record.reasons.iter().filter(|r| r.exit.code() != 0) {
        writeln!(out, " · {}", reason.text)?;
    }
    for expect in &record.expect {
        expectation(out, expect)?;
    }
    findings(out, &record.findings, &record.not_looked_for)?;
    record.not_read_again.iter().try_for_each(|what| writeln!(out, " · {what}"))?;
    for fault in &record.faults {
        recovery(out, fault)?;
    }
    numbers(out, record)
}

/// What was found, with a few examples of each, and what could not be looked for.
pub(super) fn findings(
    out: &mut impl Write,
    findings: &[FindingRecord],
    not_looked_for: &[String],
) -> std::io::Result<()> {
    for finding in findings.iter().filter(|f| f.judgement != "not_a_finding") {
        writeln!(
            out,
            " {} {} x {}",
            if finding.judgement == "violation" { "✗" } else { "·" },
            finding.count,
            finding.class
        )?;
        for example in finding.examples.iter().take(3) {
            writeln!(out, "     {example}")?;
        }
    }
    if !not_looked_for.is_empty() {
        let classes = not_looked_for.join(", ");
        writeln!(out, " · not looked for: {classes}; what it takes was not shown or not read")?;
    }
    Ok(())
}

/// The last lines: where everything is. `reports` are the files that were rendered.
pub(in crate::cli) fn files(
    out: &mut impl Write,
    record: &RunRecord,
    dir: &Path,
    reports: &[Written],
) -> std::io::Result<()> {
    written(out, reports)?;
    writeln!(out, "repeat  {}", reproduce(record, dir))?;
    writeln!(out, "run     {}", dir.display())
}

/// Where reports are.
pub(super) fn written(out: &mut impl Write, files: &[Written]) -> std::io::Result<()> {
    files.iter().try_for_each(|file| writeln!(out, "{:<7} {}", file.label, file.path.display()))
}

fn sentence(record: &RunRecord) -> String {
    let judged: Vec<_> = record.expect.iter().filter(|e| e.detail.severity == Severity::Fail).collect();
    let held = judged.iter().filter(|e| e.ok == Some(true)).count();
    let expectations = format!("{held} of {} expectations held", judged.len());
    match (&record.verify, record.verdict) {
        (_, None) if record.state == RunState::Running => {
            "the run is still going on, or its process died".to_owned()
        }
        (_, None) => "the run did not come to its end".to_owned(),
        (None, _) => format!("{expectations} · NOT VERIFIED"),
        (Some(v), Some(verdict)) => {
            let violated = if verdict == Verdict::Violation { "guarantee violated" } else { "no violations" };
            format!(
                "{expectations} · {violated} ({} acked, {} checked)",
                grouped(v.acked as f64),
                grouped(v.checked as f64)
            )
        }
    }
}

pub(super) fn expectation(out: &mut impl Write, expect: &ExpectRecord) -> std::io::Result<()> {
    let mark = match (expect.ok, expect.detail.severity) {
        (Some(true), _) => "✓",
        (Some(false), Severity::Fail) => "✗",
        (Some(false), _) => "!",
        (None, _) => "?",
    };
    let during = if expect.detail.during == "all" {
        String::new()
    } else {
        format!(" during {}", expect.detail.during)
    };
    let observed = match (expect.observed, expect.ok) {
        (Some(value), _) => show(value, expect.detail.unit),
        (None, Some(false)) => "never".to_owned(),
        (None, _) => "unknown".to_owned(),
    };
    writeln!(out, " {mark} {:<58} {observed}", format!("{}{during}", expect.rule))?;
    match &expect.detail.reason {
        Some(reason) if expect.ok != Some(true) => writeln!(out, "     {reason}"),
        _ => Ok(()),
    }
}

fn recovery(out: &mut impl Write, fault: &FaultEntry) -> std::io::Result<()> {
    writeln!(out, " ▲ {}: {} of {}", fault.name, fault.action, fault.target)?;
    let clock = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.2} s"));
    let r = &fault.recovery_s;
    writeln!(
        out,
        "     leader {} · first ack {} · ISR full {} · lag drained {} · p99 back {} · unavailable {}",
        clock(r.leader_elected),
        clock(r.first_ack),
        clock(r.isr_full),
        clock(r.lag_drained),
        clock(r.p99_back),
        clock(fault.unavailable_s.longest)
    )
}

fn numbers(out: &mut impl Write, record: &RunRecord) -> std::io::Result<()> {
    let show = |v: Option<f64>| v.map_or("-".to_owned(), ms);
    for (name, w) in &record.windows {
        if w.produce.acked + w.e2e.read == 0 {
            continue;
        }
        writeln!(
            out,
            "{name:<22} {:>11}/s  p50 {:>7} p99 {:>7} p99.9 {:>7}  e2e p99 {:>7}  {:>5} ns/msg  {:>4.0} MiB",
            grouped(w.produce.throughput),
            show(w.produce.latency_ms.p50),
            show(w.produce.latency_ms.p99),
            show(w.produce.latency_ms.p999),
            show(w.e2e.latency_ms.p99),
            w.client.cpu_ns_per_message.map_or("-".to_owned(), |ns| format!("{ns:.0}")),
            w.client.rss_mb,
        )?;
    }
    let all = &record.client;
    if all.queue_max.is_some() || all.rtt_p99_ms.is_some() {
        let queue = all
            .queue_max
            .map_or_else(String::new, |n| format!("{} records in its queues at most · ", grouped(n)));
        writeln!(
            out,
            "librdkafka             {queue}p99 of round trips {} in the worst second",
            show(all.rtt_p99_ms)
        )?;
    }
    if let Some(ns) = all.program_cpu_ns_per_message {
        writeln!(out, "external               {ns:.0} ns/msg of that in its programs")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ReportForm;

    /// Golden files: `reports/tests/runs/NAME.json` is a `run.json`, `harness/tests/terminal/NAME.txt` what the terminal
    /// shows of it. `UPDATE=1` writes the latter.
    #[test]
    fn what_the_terminal_shows_at_the_end() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in
            ["pass", "fail", "violation", "inconclusive", "aborted", "environment", "killed", "unverified"]
        {
            let json = std::fs::read(here.join(format!("../reports/tests/runs/{name}.json"))).unwrap();
            let record: RunRecord = serde_json::from_slice(&json).unwrap();
            let dir = Path::new("out").join(&record.name).join(&record.run_id);
            let written =
                ReportForm::ALL.map(|form| Written { label: form.label(), path: dir.join(form.file_name()) });
            let mut shown = Vec::new();
            result(&mut shown, &record).unwrap();
            files(&mut shown, &record, &dir, &written).unwrap();
            let golden = here.join(format!("tests/terminal/{name}.txt"));
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&golden, &shown).unwrap();
            }
            let shown = String::from_utf8(shown).unwrap();
            assert_eq!(shown, std::fs::read_to_string(&golden).unwrap(), "{name}: UPDATE=1 writes it anew");
        }
    }
}
