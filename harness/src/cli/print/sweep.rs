//! A sweep on the terminal: its points and order first, a line per run, the verdict first at the end.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use gauntlet_reports::quantity::{grouped, show};
use gauntlet_reports::record::RunState;
use gauntlet_reports::sweep::figures::{COLUMNS, Figure};
use gauntlet_reports::sweep::points::{PointView, views};
use gauntlet_reports::sweep::{Figures, SlotRecord, SlotState, SweepRecord, text_of};

use super::result::written;
use super::{ms, seconds};
use crate::report::Written;
use crate::scenario::sweep::ClusterUse;
use crate::sweep::SweepPlan;
use crate::sweep::report::reproduce;

/// Two lines on what is about to happen.
fn header(out: &mut impl Write, plan: &SweepPlan) -> std::io::Result<()> {
    writeln!(
        out,
        "gauntlet {} · {} · sweep {} · seed {}",
        env!("CARGO_PKG_VERSION"),
        plan.name,
        plan.options.sweep_id,
        plan.options.seed
    )?;
    let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    writeln!(
        out,
        "sweep  {}, {} each, {} · {} between runs · at least {}, worst case {}",
        count(plan.points.len(), "point", "points"),
        count(usize::from(plan.sweep.repeats), "run", "runs"),
        plan.order_name(),
        seconds(plan.sweep.cooldown.to_std()),
        seconds(plan.least()),
        seconds(whole_seconds(plan.wall())),
    )?;
    match plan.sweep.cluster {
        ClusterUse::Shared => writeln!(
            out,
            "cluster shared by runs that follow each other: {}, {} of warm-up load after each",
            count(plan.cluster_starts, "start", "starts"),
            seconds(plan.sweep.warmup.to_std())
        )?,
        ClusterUse::PerPoint => writeln!(out, "cluster one for each run")?,
    }
    let left_out = plan.may_not_fit();
    if let Some(limit) = plan.sweep.max_wall {
        match left_out {
            0 => writeln!(out, "limit  {limit}: every run fits, also in the worst case")?,
            _ => writeln!(
                out,
                "limit  {limit}: in the worst case the last {} NOT RUN, and the verdict INCONCLUSIVE",
                if left_out == 1 { "run is".to_owned() } else { format!("{left_out} runs are") },
            )?,
        }
    }
    let mut warnings =
        plan.points.iter().flat_map(|point| point.planned.warnings.iter().map(|w| (&point.id, w)));
    warnings.try_for_each(|(point, warning)| writeln!(out, "warning {point}: {warning}"))
}

/// As `gauntlet run` begins.
pub(in crate::cli) fn sweep_begin(
    out: &mut impl Write,
    plan: &SweepPlan,
    record: &SweepRecord,
) -> std::io::Result<()> {
    header(out, plan)?;
    let done = record.runs.iter().filter(|run| run.state == SlotState::Done).count();
    if record.runs.iter().any(|run| run.attempts > 0) {
        writeln!(out, "resumed {done} of {} runs have a result", record.runs.len())?;
    }
    Ok(())
}

/// Everything that `gauntlet plan` shows of a sweep.
pub(in crate::cli) fn sweep_plan(out: &mut impl Write, plan: &SweepPlan) -> std::io::Result<()> {
    header(out, plan)?;
    points_and_order(out, plan)?;
    if let Some(first) = plan.points.first() {
        writeln!(out, "the plan of {}", first.id)?;
        super::plan(out, &first.planned)?;
    }
    Ok(())
}

fn points_and_order(out: &mut impl Write, plan: &SweepPlan) -> std::io::Result<()> {
    writeln!(out, "points")?;
    let mut rows = vec![vec!["point".to_owned()]];
    rows[0].extend(plan.axes.iter().cloned());
    for point in &plan.points {
        let mut row = vec![point.id.clone()];
        let value = |axis| point.parameters.get(axis).map_or_else(|| "–".to_owned(), text_of);
        row.extend(plan.axes.iter().map(value));
        rows.push(row);
    }
    table(out, &rows)?;
    writeln!(out, "order")?;
    let limit = plan.sweep.max_wall.map(crate::units::Duration::to_std);
    for (index, run) in plan.runs.iter().enumerate() {
        let late =
            if limit.is_some_and(|limit| run.ends_by > limit) { "  NOT RUN in the worst case" } else { "" };
        writeln!(
            out,
            "  {:>3}  {} run {}  {}  ends by {}{late}",
            index + 1,
            plan.points[run.point].id,
            run.repeat,
            plan.label(run.point),
            seconds(whole_seconds(run.ends_by)),
        )?;
    }
    Ok(())
}

/// Sums of worst cases are not exact to the nanosecond.
fn whole_seconds(length: Duration) -> Duration {
    Duration::from_secs(length.as_secs() + u64::from(length.subsec_nanos() > 0))
}

/// Columns under each other; the first row is the heading.
fn table(out: &mut impl Write, rows: &[Vec<String>]) -> std::io::Result<()> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// A run that came to its end.
pub(in crate::cli) fn sweep_run(out: &mut impl Write, slot: &SlotRecord, label: &str) -> std::io::Result<()> {
    let name = format!("{} run {}", slot.point, slot.repeat);
    let verdict = match (slot.state, slot.verdict) {
        (SlotState::Done, Some(verdict)) => verdict.to_string(),
        (SlotState::Aborted, _) => "NO RESULT".to_owned(),
        _ => "NOT RUN".to_owned(),
    };
    writeln!(out, "{verdict:<12}  {name}  {label}{}", numbers(slot.figures.as_ref()))?;
    for reason in slot.reasons.iter().take(3) {
        writeln!(out, " · {}", reason.text)?;
    }
    Ok(())
}

fn numbers(figures: Option<&Figures>) -> String {
    let Some(f) = figures else { return String::new() };
    let ms = |v: Option<f64>| v.map_or("-".to_owned(), ms);
    let mut text = format!(
        "  {}/s  p50 {} p99 {} p99.9 {}  e2e p99 {}",
        f.throughput.map_or("-".to_owned(), grouped),
        ms(f.p50_ms),
        ms(f.p99_ms),
        ms(f.p999_ms),
        ms(f.e2e_p99_ms)
    );
    if let Some(ns) = f.cpu_ns_per_message {
        text += &format!("  {ns:.0} ns/msg");
    }
    text
}

/// The result, verdict first.
pub(in crate::cli) fn sweep_result(out: &mut impl Write, record: &SweepRecord) -> std::io::Result<()> {
    /// Reasons that are shown; all are in sweep.json.
    const REASONS_MAX: usize = 12;
    let verdict = match record.verdict {
        Some(verdict) if record.state != RunState::Running => verdict.to_string(),
        _ => "NO VERDICT".to_owned(),
    };
    let done = record.runs.iter().filter(|run| run.state == SlotState::Done).count();
    writeln!(
        out,
        "\n{verdict}  {done} of {} runs have a result, {} points",
        record.runs.len(),
        record.points.len()
    )?;
    let reasons: Vec<_> = record.reasons.iter().filter(|r| r.exit.code() != 0).collect();
    for reason in reasons.iter().take(REASONS_MAX) {
        writeln!(out, " · {}", reason.text)?;
    }
    if reasons.len() > REASONS_MAX {
        writeln!(out, " · {} more in sweep.json", reasons.len() - REASONS_MAX)?;
    }
    let views = views(record);
    let shown: Vec<Figure> = COLUMNS
        .into_iter()
        .filter(|figure| views.iter().any(|view| view.summary(figure).is_some()))
        .collect();
    let mut rows = vec![vec![String::new(), "point".to_owned()]];
    rows[0].extend(record.axes.iter().cloned());
    rows[0].extend(shown.iter().map(|figure| figure.short.to_owned()));
    rows.extend(views.iter().map(|view| row(view, &record.axes, &shown)));
    table(out, &rows)
}

fn row(view: &PointView<'_>, axes: &[String], shown: &[Figure]) -> Vec<String> {
    let mut cells = vec![view.mark.sign().to_owned(), view.record.id.clone()];
    cells.extend(axes.iter().map(|axis| view.value(axis)));
    cells.extend(shown.iter().map(|figure| {
        view.summary(figure).map_or_else(
            || "-".to_owned(),
            |summary| {
                let count = figure.unit == gauntlet_reports::Unit::Count;
                if count { format!("{:.2}", summary.median) } else { show(summary.median, figure.unit) }
            },
        )
    }));
    cells
}

/// The last lines: where everything is.
pub(in crate::cli) fn sweep_files(
    out: &mut impl Write,
    record: &SweepRecord,
    dir: &Path,
    files: &[Written],
) -> std::io::Result<()> {
    written(out, files)?;
    let again = reproduce(record, dir);
    writeln!(out, "repeat  {again}")?;
    if record.runs.iter().any(|run| run.state != SlotState::Done) {
        let scenario = dir.join(crate::rundir::SCENARIO);
        writeln!(out, "resume  gauntlet run {} --resume {}", scenario.display(), dir.display())?;
    }
    writeln!(out, "sweep   {}", dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{LoadOptions, ScenarioFile};
    use crate::sweep::{SweepPlanOptions, plan};

    const SWEEP: &str = "version: 1\nname: golden\nseed: 7\ncluster: { local: { version: '${matrix.kafka}' } }\n\
        load: { shape: constant, rate: 10k/s, warmup: 5s, duration: 30s, drain: 10s }\n\
        workload: { producers: { count: 1, config: { linger.ms: '${matrix.linger}' } } }\n\
        verify: { final_read: { timeout: 10s } }\n\
        sweep: { matrix: { kafka: [4.3.0, 3.9.1], linger: [0, 10, 100] }, exclude: [{ kafka: 3.9.1, linger: 100 }], \
        repeats: 2, max_wall: 45m }\n";

    fn golden_plan() -> SweepPlan {
        let options = LoadOptions { cores: 2, ..LoadOptions::default() };
        let Ok(ScenarioFile::Sweep(loaded)) = ScenarioFile::parse("golden.yaml", SWEEP, &options) else {
            panic!("it is a sweep")
        };
        let options = SweepPlanOptions {
            sweep_id: "20261121-210000-abcd".to_owned(),
            run: 1,
            seed: 7,
            kafka_home: None,
            out: Some("out".into()),
            only: Vec::new(),
        };
        plan(*loaded, options).unwrap()
    }

    /// `UPDATE=1` writes the golden file.
    fn compare(name: &str, shown: &[u8]) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal").join(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, shown).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(shown), golden, "{}", file.display());
    }

    #[test]
    fn the_plan_names_points_order_and_what_may_be_left_out() {
        let plan = golden_plan();
        let mut out = Vec::new();
        header(&mut out, &plan).unwrap();
        points_and_order(&mut out, &plan).unwrap();
        compare("sweep_plan.txt", &out);
    }

    #[test]
    fn the_result_has_a_line_per_point() {
        use gauntlet_reports::record::Reason;
        use gauntlet_reports::{ExitReason, Verdict};
        let mut record = crate::sweep::execute::first_record(&golden_plan());
        for (index, run) in record.runs.iter_mut().take(8).enumerate() {
            run.state = SlotState::Done;
            run.verdict = Some(Verdict::Pass);
            run.dir = Some(format!("{}-r{}", run.point, run.repeat));
            run.figures = Some(Figures {
                throughput: Some(9_990.0 + index as f64),
                p99_ms: Some(3.0 + index as f64),
                broker_cpu_cores: Some(0.25),
                ..Figures::default()
            });
        }
        record.runs[2].verdict = Some(Verdict::Fail);
        record.runs[2].reasons = vec![Reason {
            exit: ExitReason::ExpectationFailed,
            text: "produce.latency p99 < 4ms: 5.00 ms".to_owned(),
        }];
        record.conclude(RunState::Aborted, vec![]);
        let mut out = Vec::new();
        for run in &record.runs[1..3] {
            sweep_run(&mut out, run, "kafka=4.3.0, linger=0").unwrap();
        }
        sweep_result(&mut out, &record).unwrap();
        sweep_files(&mut out, &record, Path::new("out/golden/20261121-210000-abcd"), &[]).unwrap();
        compare("sweep_result.txt", &out);
    }
}
