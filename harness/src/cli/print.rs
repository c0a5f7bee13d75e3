//! What the terminal shows: the plan first, a line per second, the verdict first at the end.

use std::io::Write;
use std::path::Path;

use gauntlet_chaos::{FaultEvent, FaultStep, Jvm, KafkaSource, Target};
use gauntlet_reports::quantity::{grouped, show};
use gauntlet_reports::record::{ExpectRecord, FaultEntry, RunRecord};
use gauntlet_reports::{Severity, Verdict};

use crate::plan::{ClusterPlan, Lifecycle, PacePlan, Plan, Planned, WarmupPlan};
use crate::run::{Progress, Second};

fn seconds(d: std::time::Duration) -> String {
    crate::units::Duration::from_ns(d.as_nanos() as u64).to_string()
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Two lines on what is about to happen.
pub(super) fn header(out: &mut impl Write, planned: &Planned) -> std::io::Result<()> {
    let plan = &planned.plan;
    writeln!(
        out,
        "gauntlet {} · {} · run {} · seed {}",
        env!("CARGO_PKG_VERSION"),
        plan.name,
        plan.run_id,
        plan.seed
    )?;
    let load = match plan.load.pace {
        PacePlan::Constant { rate_per_s } => format!("{} msg/s constant", grouped(rate_per_s as f64)),
        PacePlan::Unlimited { .. } => "as fast as the brokers take it (closed model)".to_owned(),
    };
    let duration = plan.load.duration.map_or_else(String::new, |d| format!(", {}", seconds(d)));
    let warmup = match plan.load.warmup {
        WarmupPlan::For(d) => seconds(d),
        WarmupPlan::UntilStable { min, max } => format!("{} to {}", seconds(min), seconds(max)),
    };
    writeln!(
        out,
        "plan   {load}{duration} (+{warmup} warm-up, {} drain) · {} faults · {} expectations · worst case {}",
        seconds(plan.load.drain),
        planned.faults.len(),
        planned.expectations.len(),
        seconds(planned.needs.wall),
    )?;
    match &plan.verify {
        Some(verify) => writeln!(out, "judged {}", crate::run::guarantee_in_words(&verify.guarantee)),
        None => writeln!(out, "judged NOT VERIFIED: `verify` is off"),
    }
}

/// Everything else that `gauntlet plan` shows.
pub(super) fn plan(out: &mut impl Write, planned: &Planned) -> std::io::Result<()> {
    let (plan, needs) = (&planned.plan, &planned.needs);
    match &plan.cluster {
        ClusterPlan::Local(spec) => writeln!(
            out,
            "brokers {} local, Kafka {}, jvm {}",
            spec.brokers,
            kafka(&spec.kafka),
            jvm(spec.jvm)
        )?,
        ClusterPlan::Bootstrap(addresses) => writeln!(out, "brokers {}", addresses.join(", "))?,
    }
    for topic in &plan.topics {
        writeln!(
            out,
            "topic   {} · {} partitions · RF {} · {}",
            topic.name,
            topic.partitions,
            topic.replication_factor.map_or("min(3, brokers)".to_owned(), |rf| rf.to_string()),
            lifecycle(topic.lifecycle)
        )?;
        for (key, value) in &topic.config {
            writeln!(out, "          {key}={value}")?;
        }
    }
    if let Some(records) = needs.records {
        writeln!(out, "records {} at the most, {} bytes each", grouped(records as f64), plan.value_bytes)?;
    }
    let needed = needs.disk_bytes.map_or("unknown".to_owned(), gigabytes);
    let free = needs.disk_free_bytes.map_or("unknown".to_owned(), gigabytes);
    writeln!(out, "disk    {needed} on all replicas, {free} free; evidence: {}", plan.evidence)?;
    writeln!(out, "memory  {} MiB of gauntlet's own at the most", needs.memory_bytes >> 20)?;
    writeln!(
        out,
        "stall   a broker may stall for up to {} and be caught up with in the drain",
        seconds(needs.stall)
    )?;
    writeln!(out, "timeline")?;
    writeln!(out, "  {:>9}  warm-up begins", "")?;
    writeln!(out, "  {:>9}  t = 0", "0s")?;
    for fault in &planned.faults {
        let at = std::time::Duration::from_nanos(fault.at_ns);
        writeln!(
            out,
            "  {:>9}  {}: {} of {}",
            seconds(at),
            fault.name,
            fault.action.name(),
            target(&fault.target)
        )?;
        if let Some(after) = fault.recover_after {
            writeln!(out, "  {:>9}  {}: healed", seconds(at + after), fault.name)?;
        }
    }
    if let Some(duration) = plan.load.duration {
        writeln!(out, "  {:>9}  load ends", seconds(duration))?;
    }
    writeln!(out, "expectations")?;
    for e in &planned.expectations {
        let builtin = if e.builtin { " (built in)" } else { "" };
        let during = if e.during == "all" { String::new() } else { format!(" during {}", e.during) };
        writeln!(out, "  {}{during}{builtin}", e.rule)?;
    }
    Ok(())
}

fn kafka(source: &KafkaSource) -> String {
    match source {
        KafkaSource::Maven(version) => version.to_string(),
        KafkaSource::Directory(path) => path.display().to_string(),
    }
}

fn jvm(jvm: Jvm) -> &'static str {
    match jvm {
        Jvm::Steady => "steady",
        Jvm::Quick => "quick",
    }
}

fn lifecycle(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::PerRun => "created and deleted",
        Lifecycle::Keep => "created and kept",
        Lifecycle::Reuse => "must exist",
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::LeaderOf { topic, partition } => format!("the leader of {topic}-{partition}"),
        Target::ActiveController => "the active controller".to_owned(),
        Target::NotController => "the first broker that is not the active controller".to_owned(),
        Target::LowestPartitionLeaderNotController { topic } => {
            format!("the leader of the lowest partition of {topic} that the active controller does not lead")
        }
        Target::Broker { id } => format!("node {id}"),
    }
}

/// Prints a run as it goes, one line per second.
pub(super) struct Printer<'a, W: Write> {
    out: &'a mut W,
    target: Option<u64>,
    quiet: bool,
    headed: bool,
}

impl<'a, W: Write> Printer<'a, W> {
    pub(super) fn new(out: &'a mut W, plan: &Plan, quiet: bool) -> Self {
        let target = match plan.load.pace {
            PacePlan::Constant { rate_per_s } => Some(rate_per_s),
            PacePlan::Unlimited { .. } => None,
        };
        Printer { out, target, quiet, headed: false }
    }

    /// A terminal that is gone does not end a run.
    pub(super) fn tell(&mut self, progress: &Progress<'_>) {
        let _ = match progress {
            Progress::Note(text) => writeln!(self.out, "note   {text}"),
            _ if self.quiet => Ok(()),
            Progress::Phase(text) => writeln!(self.out, "       {text}"),
            Progress::Second(second) => self.second(second),
            Progress::Fault(event) => self.fault(event),
        };
        let _ = self.out.flush();
    }

    fn second(&mut self, s: &Second) -> std::io::Result<()> {
        if !self.headed {
            self.headed = true;
            writeln!(
                self.out,
                " {:>7} {:>11} {:>11} {:>11} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>7}",
                "t", "target", "ack/s", "read/s", "MB/s", "p50", "p99", "p99.9", "e2e p99", "lag", "errors"
            )?;
        }
        writeln!(
            self.out,
            " {:>7.0} {:>11} {:>11} {:>11} {:>8.1} {:>8} {:>8} {:>8} {:>8} {:>9} {:>7}",
            s.t_s,
            self.target.map_or("-".to_owned(), |t| grouped(t as f64)),
            grouped(s.acked as f64),
            grouped(s.read as f64),
            s.uncompressed_bytes as f64 / 1e6,
            ms(s.p50_ms),
            ms(s.p99_ms),
            ms(s.p999_ms),
            ms(s.e2e_p99_ms),
            grouped(s.lag as f64),
            s.errors + s.failed,
        )
    }

    fn fault(&mut self, event: &FaultEvent) -> std::io::Result<()> {
        match &event.step {
            FaultStep::Injecting { target } => {
                writeln!(self.out, " ▲ {}: broker {} ({})", event.fault, target.node, target.why)
            }
            step => writeln!(self.out, " ▲ {}: {}", event.fault, words(step)),
        }
    }
}

fn words(step: &FaultStep) -> String {
    let json = serde_json::to_value(step).unwrap_or_default();
    let name = json.get("step").and_then(|s| s.as_str()).unwrap_or("?").replace('_', " ");
    match json.get("why").or_else(|| json.get("error")).and_then(|w| w.as_str()) {
        Some(why) => format!("{name}: {why}"),
        None => name,
    }
}

fn ms(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{:.1}s", v / 1_000.0),
        v if v >= 1_000.0 => format!("{:.2}s", v / 1_000.0),
        v if v >= 10.0 => format!("{v:.0}ms"),
        v => format!("{v:.1}ms"),
    }
}

/// The result, verdict first.
pub(super) fn result(out: &mut impl Write, record: &RunRecord, dir: &Path) -> std::io::Result<()> {
    let verdict = record.verdict.map_or_else(|| "NO VERDICT".to_owned(), |v| v.to_string());
    writeln!(out, "\n{verdict}  {}", sentence(record))?;
    for reason in record.reasons.iter().filter(|r| r.exit.code() != 0) {
        writeln!(out, " · {}", reason.text)?;
    }
    for expect in &record.expect {
        expectation(out, expect)?;
    }
    for finding in record.findings.iter().filter(|f| f.judgement != "not_a_finding") {
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
    for fault in &record.faults {
        recovery(out, fault)?;
    }
    numbers(out, record)?;
    writeln!(out, "run    {}", dir.display())
}

fn sentence(record: &RunRecord) -> String {
    let judged: Vec<_> = record.expect.iter().filter(|e| e.detail.severity == Severity::Fail).collect();
    let held = judged.iter().filter(|e| e.ok == Some(true)).count();
    let expectations = format!("{held} of {} expectations held", judged.len());
    match (&record.verify, record.verdict) {
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

fn expectation(out: &mut impl Write, expect: &ExpectRecord) -> std::io::Result<()> {
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
    Ok(())
}
