//! A search on the terminal: its bounds first, a line per trial, the verdict first at the end.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use gauntlet_reports::Unit;
use gauntlet_reports::quantity::{grouped, show};
use gauntlet_reports::record::RunState;
use gauntlet_reports::search::storage::storage;
use gauntlet_reports::search::{Finding, Hold, Limit, SearchRecord, Stage, TrialRecord, words};

use super::result::{expectation, written};
use super::{gigabytes, ms, seconds};
use crate::plan::Planned;
use crate::report::Written;
use crate::search::SearchPlan;
use crate::search::report::reproduce;

/// Reasons why a rate did not hold that a line is printed of; all are in search.json.
const WHY_MAX: usize = 3;

/// What is about to happen.
pub(in crate::cli) fn search_header(out: &mut impl Write, plan: &SearchPlan) -> std::io::Result<()> {
    let search = plan.search();
    writeln!(
        out,
        "gauntlet {} · {} · search {} · seed {}",
        env!("CARGO_PKG_VERSION"),
        plan.highest.plan.name,
        plan.options.search_id,
        plan.options.seed
    )?;
    writeln!(
        out,
        "search {} to {} msg/s, to {} · trials of {}, confirmed for {} · {} between trials",
        grouped(search.low.per_s() as f64),
        grouped(search.high.per_s() as f64),
        percent(search.resolution.get()),
        search.trial,
        search.confirm,
        search.cooldown
    )?;
    if search.headroom.is_some() {
        writeln!(out, "search once more with one broker down, up to the rate that was found")?;
    }
    let limits = plan.limits();
    writeln!(
        out,
        "trials {} if all are clear, {} at the most · at least {} for so many, worst case {}",
        limits.trials_expected(),
        limits.trials_max(),
        seconds(whole_seconds(plan.expected())),
        seconds(whole_seconds(plan.wall()))
    )?;
    // At the highest rate; what binds there may not at others.
    plan.highest.warnings.iter().try_for_each(|warning| writeln!(out, "warning {warning}"))
}

/// Everything that `gauntlet plan` shows of a search.
pub(in crate::cli) fn search_plan(out: &mut impl Write, plan: &SearchPlan) -> std::io::Result<()> {
    search_header(out, plan)?;
    conditions(out, plan)?;
    writeln!(out, "the plan of a trial at {} msg/s", grouped(plan.search().high.per_s() as f64))?;
    super::plan(out, &plan.highest)
}

fn conditions(out: &mut impl Write, plan: &SearchPlan) -> std::io::Result<()> {
    let search = plan.search();
    writeln!(out, "a rate holds if")?;
    for rule in &search.sustainable {
        writeln!(out, "  {rule}")?;
    }
    writeln!(out, "  and what every run must do (built in)")?;
    if !plan.expectations.is_empty() {
        writeln!(out, "expected of the rate")?;
    }
    for expectation in &plan.expectations {
        writeln!(out, "  {}", expectation.rule)?;
    }
    let disk = |planned: &Planned| planned.needs.disk_bytes.map_or("unknown".to_owned(), gigabytes);
    writeln!(
        out,
        "disk   at {} msg/s: {} for a trial, {} to confirm; each trial's topic is deleted before the next",
        grouped(search.high.per_s() as f64),
        disk(&plan.highest),
        disk(&plan.confirmation)
    )
}

fn percent(share: f64) -> String {
    format!("{} %", (share * 1e4).round() / 1e2)
}

/// Sums of worst cases are not exact to the nanosecond.
fn whole_seconds(length: Duration) -> Duration {
    Duration::from_secs(length.as_secs() + u64::from(length.subsec_nanos() > 0))
}

/// A trial begins.
pub(in crate::cli) fn search_trial_begins(
    out: &mut impl Write,
    trial: &TrialRecord,
    planned: &Planned,
) -> std::io::Result<()> {
    let length = planned.plan.load.duration.map_or_else(String::new, seconds);
    let what = match trial.stage {
        Stage::Search => "trial",
        Stage::Confirm => "confirm",
    };
    let with = trial.down.map_or_else(String::new, |broker| format!(" with broker {broker} down"));
    writeln!(out, "{:>3}    {what} {}/s for {length}{with}", trial.number, grouped(trial.rate_per_s as f64))
}

/// A trial that came to its end.
pub(in crate::cli) fn search_trial(out: &mut impl Write, trial: &TrialRecord) -> std::io::Result<()> {
    let (sign, word) = words::hold(trial);
    let show_ms = |v: Option<f64>| v.map_or("-".to_owned(), ms);
    let numbers = trial.figures.as_ref().map_or_else(String::new, |f| {
        format!(
            "  acked {}/s  p50 {} p99 {}  e2e p99 {}",
            f.throughput.map_or("-".to_owned(), grouped),
            show_ms(f.p50_ms),
            show_ms(f.p99_ms),
            show_ms(f.e2e_p99_ms)
        )
    });
    let rate = format!("{}/s", grouped(trial.rate_per_s as f64));
    writeln!(out, "{:>3} {sign}  {rate:>12}  {word:<8}{numbers}", trial.number)?;
    if trial.hold == Some(Hold::Held) {
        return Ok(());
    }
    let why = trial.why();
    for text in why.iter().take(WHY_MAX) {
        writeln!(out, "       · {text}")?;
    }
    match why.len().saturating_sub(WHY_MAX) {
        0 => Ok(()),
        left => writeln!(out, "       · {left} more in search.json"),
    }
}

/// The result, verdict first.
pub(in crate::cli) fn search_result(out: &mut impl Write, record: &SearchRecord) -> std::io::Result<()> {
    /// Reasons that are shown; all are in search.json.
    const REASONS_MAX: usize = 12;
    let verdict = match record.verdict {
        Some(verdict) if record.state != RunState::Running => verdict.to_string(),
        _ => "NO VERDICT".to_owned(),
    };
    writeln!(out, "\n{verdict}  {}", words::sentence(record, |rate| show(rate, Unit::PerSecond)))?;
    let reasons: Vec<_> = record.reasons.iter().filter(|r| r.exit.code() != 0).collect();
    for reason in reasons.iter().take(REASONS_MAX) {
        writeln!(out, " · {}", reason.text)?;
    }
    if reasons.len() > REASONS_MAX {
        writeln!(out, " · {} more in search.json", reasons.len() - REASONS_MAX)?;
    }
    for expect in &record.expect {
        expectation(out, expect)?;
    }
    part(out, record, record.finding.as_ref(), false)?;
    if let Some(down) = record.headroom.as_ref().and_then(|headroom| headroom.down) {
        writeln!(out, "with broker {down} down")?;
        part(out, record, record.headroom_finding(), true)?;
    }
    match &record.finding {
        Some(finding) => capacity(out, record, finding),
        None => Ok(()),
    }
}

/// What was expected of the trial that confirmed, and every trial, with all brokers up or with one down.
fn part(
    out: &mut impl Write,
    record: &SearchRecord,
    finding: Option<&Finding>,
    one_down: bool,
) -> std::io::Result<()> {
    let confirmation = finding.and_then(|finding| record.confirmation_of(finding));
    for expect in confirmation.iter().flat_map(|trial| &trial.expect) {
        expectation(out, expect)?;
    }
    record.trials_with(one_down).try_for_each(|trial| search_trial(out, trial))
}

/// What the rate means: headroom, bytes.
fn capacity(out: &mut impl Write, record: &SearchRecord, finding: &Finding) -> std::io::Result<()> {
    let Some(rate) = finding.rate_per_s else { return Ok(()) };
    writeln!(out, "rate    {}, confirmed; {}", show(rate, Unit::PerSecond), above(finding))?;
    if let Some(headroom) = record.headroom_finding() {
        match headroom.rate_per_s {
            Some(left) => writeln!(
                out,
                "n-1     {}, confirmed with one broker down: {} of the rate; {}",
                show(left, Unit::PerSecond),
                percent(left / rate),
                above(headroom)
            )?,
            None => writeln!(out, "n-1     no rate was confirmed with one broker down")?,
        }
    }
    if let Some(target) = record.target_per_s {
        let times = rate / target as f64;
        let target = show(target as f64, Unit::PerSecond);
        writeln!(out, "target  {target}: the rate is {times:.2} times as high")?;
    }
    if let Some(storage) = storage(record) {
        let disk = storage.disk_bytes_per_day.zip(record.replication_factor);
        let disk = disk.map_or_else(String::new, |(bytes, replicas)| {
            format!(", {} on disks at RF {replicas}", gigabytes(bytes as u64))
        });
        writeln!(
            out,
            "bytes   {} ({:.0} per record), {} per day{disk}",
            show(storage.bytes_per_s, Unit::BytesPerSecond),
            storage.bytes_per_record,
            gigabytes(storage.bytes_per_day as u64)
        )?;
    }
    Ok(())
}

/// What was not confirmed.
fn above(finding: &Finding) -> String {
    match (finding.not_held_per_s, finding.limit) {
        (Some(not_held), Limit::Ourselves) => {
            format!("at {}/s gauntlet or its host was the limit", grouped(not_held as f64))
        }
        (Some(not_held), _) => format!("{}/s did not hold", grouped(not_held as f64)),
        (None, _) => "nothing faster was tried".to_owned(),
    }
}

/// The last lines: where everything is.
pub(in crate::cli) fn search_files(
    out: &mut impl Write,
    record: &SearchRecord,
    dir: &Path,
    reports: &[Written],
) -> std::io::Result<()> {
    written(out, reports)?;
    writeln!(out, "repeat  {}", reproduce(record, dir))?;
    writeln!(out, "search  {}", dir.display())
}

#[cfg(test)]
mod tests;
