//! A bench in words: for the terminal while it goes and at its end, and as a page (Markdown). Everything comes from the record.

use std::fmt::Write;

use gauntlet_reports::quantity::grouped;

use super::contender::{Entrant, REFERENCE};
use super::goal::{GoalRecord, Reached, Side};
use super::matrix::{Cell, Pace};
use super::plan::BenchPlan;
use super::probe::{Cost, ProbeRecord};
use super::record::{BenchRecord, LatencyFrom, Measured, Settings, SkippedRecord, TrialRecord};
use super::statistics::Spread;
use super::summary::CellSummary;
use super::tuning::{Tuned, Tuning};

/// A column of the tables: its head, and what is in it.
struct Column {
    head: &'static str,
    /// Only where at least one row has it.
    value: fn(&CellSummary) -> Option<String>,
}

const COLUMNS: &[Column] = &[
    Column { head: "msg/s", value: |s| s.per_s.map(|spread| grouped(spread.median)) },
    Column { head: "achieved", value: |s| s.achieved_ratio.map(|spread| format!("{:.3}", spread.median)) },
    Column { head: "CPU ns/msg", value: |s| s.cpu_ns.map(|spread| format!("{:.0}", spread.median)) },
    Column { head: "p50 ms", value: |s| s.p50_ms.map(|spread| ms(spread.median)) },
    Column { head: "p99 ms", value: |s| s.p99_ms.map(|spread| ms(spread.median)) },
    Column { head: "p99.9 ms", value: |s| s.p999_ms.map(|spread| ms(spread.median)) },
    Column { head: "e2e p99 ms", value: |s| s.e2e_p99_ms.map(|spread| ms(spread.median)) },
    Column { head: "RSS MiB", value: |s| s.rss_mib.map(|spread| format!("{:.0}", spread.median)) },
    Column { head: "stored B/msg", value: |s| s.stored_bytes.map(|spread| format!("{:.1}", spread.median)) },
    Column {
        head: "brokers ns/msg",
        value: |s| s.broker_cpu_ns.map(|spread| format!("{:.0}", spread.median)),
    },
    Column { head: "steal", value: |s| s.steal.map(|spread| format!("{:.1} %", spread.max * 100.0)) },
    Column { head: "runs", value: |s| Some(runs(s)) },
    Column { head: "x msg/s", value: |s| s.ratio_per_s.map(ratio) },
    Column { head: "x CPU", value: |s| s.ratio_cpu.map(ratio) },
    Column { head: "x p99", value: |s| s.ratio_p99.map(ratio) },
];

fn ms(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn times(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

/// The median, and in brackets the least and the largest.
fn ratio(spread: Spread) -> String {
    format!("{} ({}-{})", times(spread.median), times(spread.min), times(spread.max))
}

fn runs(summary: &CellSummary) -> String {
    match summary.failed {
        0 => summary.measured.to_string(),
        failed => format!("{} of {}", summary.measured, summary.measured + failed),
    }
}

/// Summaries in order, cell by cell.
fn by_cell(record: &BenchRecord) -> Vec<(Cell, Vec<&CellSummary>)> {
    let mut cells: Vec<(Cell, Vec<&CellSummary>)> = Vec::new();
    for summary in &record.summary {
        match cells.last_mut().filter(|(cell, _)| *cell == summary.cell) {
            Some((_, rows)) => rows.push(summary),
            None => cells.push((summary.cell, vec![summary])),
        }
    }
    cells
}

fn title(cell: Cell) -> String {
    let pace = match cell.pace {
        Pace::FlatOut => "flat out".to_owned(),
        Pace::At(rate) => rate.to_string(),
    };
    format!("{} · {} · {} · {pace}", cell.mode.name(), cell.size, cell.codec.name())
}

/// Whether a contender's latencies leave out what waits before `send()`: beside those of others, they look better than they are.
fn is_from_send(record: &BenchRecord, contender: &str) -> bool {
    record.contenders.iter().any(|c| c.name == contender && c.latency_from == LatencyFrom::Sent)
}

/// Head and rows of a cell's table, without columns that nobody has.
fn table(record: &BenchRecord, rows: &[&CellSummary]) -> Vec<Vec<String>> {
    let used = COLUMNS.iter().filter(|column| rows.iter().any(|row| (column.value)(row).is_some()));
    let used: Vec<&Column> = used.collect();
    let head = std::iter::once("contender".to_owned()).chain(used.iter().map(|c| c.head.to_owned()));
    let line = |row: &&CellSummary| {
        let values = used.iter().map(|column| (column.value)(row).unwrap_or_else(|| "-".to_owned()));
        let has_star = row.p99_ms.is_some() && is_from_send(record, &row.contender);
        let name = format!("{}{}", row.contender, if has_star { "*" } else { "" });
        std::iter::once(name).chain(values).collect()
    };
    std::iter::once(head.collect()).chain(rows.iter().map(line)).collect()
}

/// Columns of equal width: the first to the left, all others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut row = format!("  {:<1$}", line[0], widths[0]);
        for (value, width) in line.iter().zip(&widths).skip(1) {
            let _ = write!(row, "  {value:>width$}");
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

/// A table of a page; `align` is that of all columns but the first, as Markdown has it.
fn piped(lines: &[Vec<String>], align: &str) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let _ = writeln!(text, "| {} |", line.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "|---|{}", format!("{align}|").repeat(line.len() - 1));
        }
    }
    text
}

const TO_THE_LEFT: &str = "---";
const TO_THE_RIGHT: &str = "---:";

/// The first trial of each contender in a cell, the reference's first: all of its trials there have the same settings.
fn first_trials(record: &BenchRecord, cell: Cell) -> Vec<&TrialRecord> {
    let mut first: Vec<&TrialRecord> = Vec::new();
    for trial in record.trials.iter().filter(|trial| trial.cell == cell && trial.repeat > 0) {
        if !first.iter().any(|other| other.contender == trial.contender) {
            first.push(trial);
        }
    }
    first.sort_by_key(|trial| (trial.contender != REFERENCE, trial.contender.as_str()));
    first
}

fn in_words(settings: &Settings) -> String {
    settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn probe_lines(probes: &[ProbeRecord]) -> Vec<Vec<String>> {
    let mut lines = vec![
        ["probe", "size", "codec", "ns/record", "records/s per core", "runs"].map(str::to_owned).to_vec(),
    ];
    let mut seen: Vec<(&str, crate::units::Bytes, Option<&str>)> = Vec::new();
    for probe in probes {
        let key = (probe.probe.as_str(), probe.size, probe.codec.as_deref());
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let same = probes.iter().filter(|p| (p.probe.as_str(), p.size, p.codec.as_deref()) == key);
        let costs: Vec<&Cost> = same.clone().filter_map(|p| p.cost.as_ref()).collect();
        let spread = |value: fn(&Cost) -> f64| Spread::of(costs.iter().map(|cost| value(cost)));
        let ns = spread(Cost::cpu_ns_per_record);
        let per_core = spread(Cost::per_core_s);
        lines.push(vec![
            probe.probe.clone(),
            probe.size.to_string(),
            probe.codec.clone().unwrap_or_else(|| "-".to_owned()),
            ns.map_or_else(|| "-".to_owned(), |s| format!("{:.0} ({:.0}-{:.0})", s.median, s.min, s.max)),
            per_core.map_or_else(|| "-".to_owned(), |s| grouped(s.median)),
            format!("{} of {}", costs.len(), same.count()),
        ]);
    }
    lines
}

fn goal_line(goal: &GoalRecord) -> Vec<String> {
    let mark = match goal.reached {
        Reached::Met => "met",
        Reached::Missed => "MISSED",
        Reached::NotMeasured => "not measured",
    };
    let side = match goal.side {
        Side::AtLeast => ">=",
        Side::AtMost => "<=",
        Side::Below => "<",
    };
    let number = |value: f64| match goal.unit.as_str() {
        "" => format!("{value:.3}"),
        _ if value >= 1_000.0 => grouped(value),
        _ => times(value),
    };
    let unit = if goal.unit.is_empty() { String::new() } else { format!(" {}", goal.unit) };
    let observed = goal.observed.map_or_else(
        || "-".to_owned(),
        |s| format!("{}{unit} ({}-{})", number(s.median), number(s.min), number(s.max)),
    );
    vec![
        goal.id.clone(),
        mark.to_owned(),
        goal.text.clone(),
        format!("{side} {}{unit}", number(goal.limit)),
        observed,
        goal.profile.clone().unwrap_or_default(),
    ]
}

fn goal_lines(goals: &[GoalRecord]) -> Vec<Vec<String>> {
    let head = ["goal", "", "what", "limit", "median (range)", "profile"].map(str::to_owned).to_vec();
    std::iter::once(head).chain(goals.iter().map(goal_line)).collect()
}

fn legend() -> String {
    format!(
        "Medians; `x` is the ratio to `{REFERENCE}` in the same repeat, with its range. Steal is the highest. CPU is the client's.\n\
         Latencies are from the intended send time on; with a star, from send() on, without what waits before that."
    )
}

/// The result for the terminal.
#[must_use]
pub fn terminal(record: &BenchRecord) -> String {
    let mut text = String::new();
    for (cell, rows) in by_cell(record) {
        let _ = writeln!(text, "\n{}", title(cell));
        text.push_str(&aligned(&table(record, &rows)));
        let untuned = first_trials(record, cell).into_iter().filter(|trial| !trial.tuned);
        let untuned: Vec<&str> = untuned.map(|trial| trial.contender.as_str()).collect();
        if !untuned.is_empty() {
            let _ = writeln!(text, "  not tuned: {}", untuned.join(", "));
        }
    }
    if !record.summary.is_empty() {
        let _ = writeln!(text, "\n{}", legend());
    }
    if !record.probes.is_empty() {
        let _ = writeln!(text, "\nwithout brokers");
        text.push_str(&aligned(&probe_lines(&record.probes)));
    }
    let _ = writeln!(text, "\ngoals");
    for line in goal_lines(&record.goals).iter().skip(1) {
        let _ = writeln!(text, "  {:<3} {:<13} {}", line[0], line[1], line[2]);
        let profile = if line[5].is_empty() { String::new() } else { format!("  profile: {}", line[5]) };
        let _ = writeln!(text, "      {:<13} {}  observed {}{profile}", "", line[3], line[4]);
    }
    for skipped in &record.skipped {
        let _ = writeln!(text, "skipped {}: {}", skipped.name, skipped.why);
    }
    if !record.complete {
        let _ = writeln!(text, "ended early");
    }
    text
}

/// The result as a page.
#[must_use]
pub fn markdown(record: &BenchRecord) -> String {
    let mut text = String::new();
    let conditions = &record.conditions;
    let _ = writeln!(text, "# gauntlet bench\n");
    let _ = writeln!(
        text,
        "{} · {:.0} min · gauntlet {} · Kafka {} · brokers: {} · {}\n",
        record.started_at,
        (record.wall_s / 60.0).ceil(),
        record.gauntlet,
        record.kafka.as_deref().unwrap_or("unknown"),
        conditions.brokers,
        record.host
    );
    if let Some(label) = &record.label {
        let _ = writeln!(text, "{label}\n");
    }
    let _ = writeln!(
        text,
        "{} runs of each, in turns, order by seed {}. Window {} s after {} s of warm-up; {} partitions, {} replicas, acks=all; linger \
         {} ms at a fixed rate. {}{}\n",
        conditions.repeats,
        record.seed,
        conditions.seconds,
        conditions.warmup_s,
        conditions.partitions,
        conditions.replication_factor,
        conditions.linger_ms,
        legend(),
        if record.complete { "" } else { " **It was ended early.**" },
    );
    let _ = writeln!(text, "## Goals\n\n{}", piped(&goal_lines(&record.goals), TO_THE_LEFT));
    let _ = writeln!(text, "## Contenders\n");
    for contender in &record.contenders {
        let note = contender.note.as_ref().map_or_else(String::new, |note| format!("; {note}"));
        let from = latency_from(contender.latency_from);
        let _ = writeln!(text, "- `{}`: {}; latency {from}{note}", contender.name, contender.what);
    }
    for skipped in &record.skipped {
        let _ = writeln!(text, "- `{}` was skipped: {}", skipped.name, skipped.why);
    }
    for (cell, rows) in by_cell(record) {
        let _ = writeln!(text, "\n## {}\n\n{}", title(cell), piped(&table(record, &rows), TO_THE_RIGHT));
        for trial in first_trials(record, cell) {
            let untuned = if trial.tuned { "" } else { " (not tuned)" };
            let _ = writeln!(text, "- `{}`: {}{untuned}", trial.contender, in_words(&trial.settings));
        }
    }
    if !record.probes.is_empty() {
        let _ =
            writeln!(text, "\n## Without brokers\n\n{}", piped(&probe_lines(&record.probes), TO_THE_RIGHT));
    }
    failures(record, &mut text);
    text
}

fn failures(record: &BenchRecord, text: &mut String) {
    let failed: Vec<&TrialRecord> = record.trials.iter().filter(|trial| trial.failed.is_some()).collect();
    if !failed.is_empty() {
        let _ = writeln!(text, "\n## Trials without a result\n");
    }
    for trial in failed {
        let why = trial.failed.as_deref().unwrap_or_default();
        let _ = writeln!(text, "- {} `{}` {}: {why}", trial.number, trial.contender, trial.cell);
    }
}

/// One trial, when it has ended.
#[must_use]
pub fn trial(trial: &TrialRecord) -> String {
    let repeat = if trial.repeat == 0 { "rehearsal".to_owned() } else { format!("run {}", trial.repeat) };
    let label =
        format!("{:>4} {repeat:<9} {:<20} {:<28}", trial.number, trial.contender, trial.cell.to_string());
    match (&trial.measured, &trial.failed) {
        (Some(measured), _) => format!("{label} {}", figures(measured)),
        (None, failed) => format!("{label} no result: {}", failed.as_deref().unwrap_or_default()),
    }
}

fn figures(measured: &Measured) -> String {
    let p99 = measured.latency_ms.and_then(|latency| latency.p99);
    let p99 = p99.map_or_else(String::new, |p99| format!("  p99 {} ms", ms(p99)));
    let steal = measured.host.map_or_else(String::new, |host| format!("  steal {:.1} %", host.steal * 100.0));
    format!("{:>10}/s {:>6.0} ns/msg{p99}{steal}", grouped(measured.per_s), measured.cpu_ns_per_message)
}

/// What a sweep over a contender's knobs found.
#[must_use]
pub fn tuned(tuned: &Tuned) -> String {
    let (contender, tried) = (&tuned.contender, tuned.tried.len());
    format!("{contender} in {}, best of {tried}: {}", tuned.cell, in_words(&tuned.settings))
}

/// One probe, when it has ended.
#[must_use]
pub fn probe(probe: &ProbeRecord) -> String {
    let label = format!(
        "     run {:<5} {:<20} {} {}",
        probe.repeat,
        probe.probe,
        probe.size,
        probe.codec.as_deref().unwrap_or("")
    );
    match (&probe.cost, &probe.failed) {
        (Some(cost), _) => format!(
            "{label} {:.0} ns/record, {}/s per core",
            cost.cpu_ns_per_record(),
            grouped(cost.per_core_s())
        ),
        (None, failed) => format!("{label} no result: {}", failed.as_deref().unwrap_or_default()),
    }
}

/// What a bench would do.
#[must_use]
pub fn plan(plan: &BenchPlan, entrants: &[Entrant], skipped: &[SkippedRecord], tuning: &Tuning) -> String {
    let mut text = String::new();
    for entrant in entrants {
        let _ = writeln!(text, "{:<20} {}", entrant.name, entrant.contender.describe().what);
    }
    for skipped in skipped {
        let _ = writeln!(text, "{:<20} skipped: {}", skipped.name, skipped.why);
    }
    for (cell, who) in &plan.cells {
        let is_tuned = |entrant: &Entrant| tuning.knows(entrant.tuned_as(), *cell);
        let takes_part = entrants.iter().filter(|entrant| who.contains(&entrant.name));
        let untuned: Vec<&str> =
            takes_part.filter(|entrant| !is_tuned(entrant)).map(|entrant| entrant.name).collect();
        let note =
            if untuned.is_empty() { String::new() } else { format!("  (not tuned: {})", untuned.join(", ")) };
        let _ = writeln!(text, "{:<36} {}{note}", title(*cell), who.join(", "));
    }
    let _ = writeln!(
        text,
        "{} trials, {} rehearsals, {} probes · about {:.0} min · up to {:.1} GB of disk at one time{}",
        plan.trials,
        plan.rehearsals,
        plan.probes,
        (plan.wall_s / 60.0).ceil(),
        plan.disk_bytes as f64 / 1e9,
        plan.disk_free_bytes
            .map_or_else(String::new, |free| format!(", {:.1} GB are free", free as f64 / 1e9)),
    );
    text
}

/// Where a contender's latencies begin, in words.
fn latency_from(from: LatencyFrom) -> &'static str {
    match from {
        LatencyFrom::Intended => "from the intended send time",
        LatencyFrom::Sent => "from send(); what waits before that is not in it",
    }
}

#[cfg(test)]
mod tests;
