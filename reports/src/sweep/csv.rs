//! `sweep.csv`: a line per run (RFC 4180), for spreadsheets and notebooks. What was not measured is empty.

use super::figures::COLUMNS;
use super::{SlotState, SweepRecord, text_of};

/// The whole file, with a line of names.
#[must_use]
pub fn csv(record: &SweepRecord) -> String {
    let mut names = vec!["point".to_owned(), "repeat".to_owned()];
    names.extend(record.axes.iter().map(|axis| format!("matrix.{axis}")));
    names.extend(["state", "verdict", "exit_code"].map(str::to_owned));
    names.extend(COLUMNS.iter().map(|figure| figure.key.to_owned()));
    names.extend(["achieved_ratio", "ours_ratio", "wall_s", "dir"].map(str::to_owned));
    let mut out = line(&names);
    for point in &record.points {
        for run in record.runs_of(&point.id) {
            let figures = run.figures.clone().unwrap_or_default();
            let mut cells = vec![run.point.clone(), run.repeat.to_string()];
            let value = |axis| point.parameters.get(axis).map(text_of).unwrap_or_default();
            cells.extend(record.axes.iter().map(value));
            cells.push(state(run.state).to_owned());
            cells.push(run.verdict.map(|verdict| verdict.to_string()).unwrap_or_default());
            cells.push(run.exit_code.map(|code| code.to_string()).unwrap_or_default());
            cells.extend(COLUMNS.iter().map(|figure| number((figure.of)(&figures))));
            cells.extend([figures.achieved_ratio, figures.ours_ratio, run.wall_s].map(number));
            cells.push(run.dir.clone().unwrap_or_default());
            out += &line(&cells);
        }
    }
    out
}

/// What a state is called.
#[must_use]
pub fn state(state: SlotState) -> &'static str {
    match state {
        SlotState::NotRun => "not run",
        SlotState::Running => "did not finish",
        SlotState::Aborted => "aborted",
        SlotState::Done => "done",
    }
}

fn number(value: Option<f64>) -> String {
    value.filter(|v| v.is_finite()).map(|v| v.to_string()).unwrap_or_default()
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    cells.join(",") + "\r\n"
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}
