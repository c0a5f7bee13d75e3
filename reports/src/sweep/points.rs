//! Points as a reader sees them: what became of each, and where it lies among the others.

use super::figures::{Better, Figure};
use super::stats::{Summary, summarise};
use super::{PointRecord, SlotRecord, SlotState, SweepRecord, text_of};
use crate::metric::Unit;
use crate::quantity;
use crate::verdict::Verdict;

/// What stands for a parameter that a point has not.
pub const NO_VALUE: &str = "–";
/// The share of records mostly late by gauntlet's or the host's fault from which on a run says little of the brokers
/// (design, "who was the limit").
const OURS_MAX_RATIO: f64 = 0.01;

/// What became of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Every run passed.
    Pass,
    /// A run failed.
    Fail,
    /// A guarantee was violated in a run.
    Violation,
    /// A run was inconclusive.
    Inconclusive,
    /// A run has no result.
    NoResult,
}

impl Mark {
    /// In a word, for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Mark::Pass => "PASS",
            Mark::Fail => "FAIL",
            Mark::Violation => "VIOLATION",
            Mark::Inconclusive => "INCONCLUSIVE",
            Mark::NoResult => "no result",
        }
    }

    /// In a sign.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Mark::Pass => "✓",
            Mark::Fail => "✗",
            Mark::Violation => "‼",
            Mark::Inconclusive => "?",
            Mark::NoResult => "…",
        }
    }

    /// Whether nothing can be concluded from its numbers.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        matches!(self, Mark::Inconclusive | Mark::NoResult)
    }
}

/// A point with its runs.
#[derive(Debug, Clone)]
pub struct PointView<'a> {
    /// The point.
    pub record: &'a PointRecord,
    /// `batch_size=65536, codec=lz4`.
    pub label: String,
    /// What became of it.
    pub mark: Mark,
    /// Its runs, by repeat.
    pub runs: Vec<&'a SlotRecord>,
}

impl PointView<'_> {
    /// A figure over the runs that have it.
    #[must_use]
    pub fn summary(&self, figure: &Figure) -> Option<Summary> {
        let of_runs = self.runs.iter().filter_map(|run| run.figures.as_ref().and_then(figure.of));
        summarise(of_runs)
    }

    /// Whether gauntlet or the host was the limit in a run, so that its latencies are not the brokers' alone.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.runs
            .iter()
            .filter_map(|run| run.figures.as_ref()?.ours_ratio)
            .any(|share| share > OURS_MAX_RATIO)
    }

    /// Its value of an axis, as text.
    #[must_use]
    pub fn value(&self, axis: &str) -> String {
        self.record.parameters.get(axis).map_or_else(|| NO_VALUE.to_owned(), text_of)
    }
}

/// Every point of a sweep, in order.
#[must_use]
pub fn views(record: &SweepRecord) -> Vec<PointView<'_>> {
    let views = record.points.iter().map(|point| {
        let runs = record.runs_of(&point.id);
        PointView { record: point, label: record.label(point), mark: mark(&runs), runs }
    });
    views.collect()
}

fn mark(runs: &[&SlotRecord]) -> Mark {
    match runs.iter().filter_map(|run| run.verdict).max() {
        Some(Verdict::Violation) => Mark::Violation,
        Some(Verdict::Fail) => Mark::Fail,
        _ if runs.iter().any(|run| run.state != SlotState::Done) => Mark::NoResult,
        Some(Verdict::Inconclusive) => Mark::Inconclusive,
        Some(Verdict::Pass) => Mark::Pass,
        None => Mark::NoResult,
    }
}

/// The best median among the points that passed: those of others are not to be had, or not known.
#[must_use]
pub fn best<'v, 'a>(views: &'v [PointView<'a>], figure: &Figure) -> Option<&'v PointView<'a>> {
    let passed = views.iter().filter(|view| view.mark == Mark::Pass);
    let known = passed.filter_map(|view| Some((view.summary(figure)?.median, view)));
    let ordered = |a: f64, b: f64| match figure.better {
        Better::Higher => b.total_cmp(&a),
        Better::Lower => a.total_cmp(&b),
    };
    known.min_by(|(a, _), (b, _)| ordered(*a, *b)).map(|(_, view)| view)
}

/// A name of the matrix with the values that points have.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The name.
    pub name: String,
    /// Values as text: numbers by size, others in the order of the points.
    pub values: Vec<String>,
    /// Whether all are numbers, sizes, rates or lengths of time.
    pub is_numeric: bool,
}

/// The names of which points have different values.
#[must_use]
pub fn axes(record: &SweepRecord, views: &[PointView<'_>]) -> Vec<Axis> {
    let axes = record.axes.iter().map(|name| {
        let mut values: Vec<String> = Vec::new();
        for view in views {
            let value = view.value(name);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        let is_numeric = values.iter().all(|value| magnitude(value).is_some());
        if is_numeric {
            values.sort_by(|a, b| magnitude(a).unwrap_or(0.0).total_cmp(&magnitude(b).unwrap_or(0.0)));
        }
        Axis { name: name.clone(), values, is_numeric }
    });
    axes.filter(|axis| axis.values.len() > 1).collect()
}

/// How large a quantity is. `None` for what is none: `lz4`, `4.3.0`.
fn magnitude(text: &str) -> Option<f64> {
    let units =
        [Unit::Count, Unit::Nanoseconds, Unit::PerSecond, Unit::Mebibytes, Unit::BytesPerSecond, Unit::Ratio];
    units.into_iter().find_map(|unit| quantity::parse(text, unit).ok())
}

/// Points that differ in two axes only.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// What they have in common, `acks=all, linger=5ms`; empty if nothing else differs.
    pub common: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical one; `None` if points differ in one axis.
    pub y: Option<Axis>,
    /// Index of the point at `[y][x]`.
    pub cells: Vec<Vec<Option<usize>>>,
}

/// Lays all points out: a number (or, without one, the first axis) to the right, one other axis down, and a grid for every
/// combination of the rest. No grids if points do not differ.
#[must_use]
pub fn grids(axes: &[Axis], views: &[PointView<'_>]) -> Vec<Grid> {
    let Some(x) = axes.iter().find(|axis| axis.is_numeric).or(axes.first()) else { return Vec::new() };
    let others = || axes.iter().filter(|axis| axis.name != x.name);
    let y = others().find(|axis| !axis.is_numeric).or(others().next());
    let rest: Vec<&Axis> = others().filter(|axis| y.is_none_or(|y| y.name != axis.name)).collect();
    let common_of = |view: &PointView<'_>| {
        let texts = rest.iter().map(|axis| format!("{}={}", axis.name, view.value(&axis.name)));
        texts.collect::<Vec<_>>().join(", ")
    };
    let at = |axis: &Axis, view: &PointView<'_>| {
        let value = view.value(&axis.name);
        axis.values.iter().position(|known| *known == value).unwrap_or(0)
    };
    let mut grids: Vec<Grid> = Vec::new();
    for (index, view) in views.iter().enumerate() {
        let common = common_of(view);
        let position = grids.iter().position(|grid| grid.common == common).unwrap_or_else(|| {
            let cells = vec![vec![None; x.values.len()]; y.map_or(1, |y| y.values.len())];
            grids.push(Grid { common, x: x.clone(), y: y.cloned(), cells });
            grids.len() - 1
        });
        grids[position].cells[y.map_or(0, |y| at(y, view))][at(x, view)] = Some(index);
    }
    grids
}

/// Indices of the points that passed and that no other one beats in both figures: the trade-off to choose from, in order of
/// the first figure's values.
#[must_use]
pub fn front(views: &[PointView<'_>], first: &Figure, second: &Figure) -> Vec<usize> {
    let sign = |figure: &Figure, value: f64| if figure.better == Better::Higher { -value } else { value };
    let mut candidates: Vec<(usize, f64, f64)> = views
        .iter()
        .enumerate()
        .filter(|(_, view)| view.mark == Mark::Pass)
        .filter_map(|(index, view)| {
            let (a, b) = (view.summary(first)?.median, view.summary(second)?.median);
            Some((index, sign(first, a), sign(second, b)))
        })
        .collect();
    let all = candidates.clone();
    candidates.retain(|(_, a, b)| {
        !all.iter().any(|(_, other_a, other_b)| other_a <= a && other_b <= b && (other_a < a || other_b < b))
    });
    candidates.sort_by(|x, y| x.1.total_cmp(&y.1));
    candidates.into_iter().map(|(index, ..)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::super::figures::{P99, THROUGHPUT};
    use super::super::tests::sweep;
    use super::*;

    #[test]
    fn marks_are_the_worst_of_the_runs_and_what_is_missing_is_no_pass() {
        let mut record = sweep(2);
        let words = |record: &SweepRecord| views(record).iter().map(|v| v.mark.word()).collect::<Vec<_>>();
        assert_eq!(words(&record), ["PASS"; 4]);
        record.runs[0].verdict = Some(Verdict::Fail);
        record.runs[1].verdict = Some(Verdict::Inconclusive);
        record.runs[2].state = SlotState::NotRun;
        record.runs[2].verdict = None;
        assert_eq!(words(&record), ["FAIL", "INCONCLUSIVE", "no result", "PASS"]);
        let best = best(&views(&record), &P99).unwrap().record.id.clone();
        assert_eq!(best, "p04", "only what passed can be the best");
    }

    #[test]
    fn numbers_go_to_the_right_by_size() {
        let record = sweep(1);
        let views = views(&record);
        let axes = axes(&record, &views);
        assert_eq!(axes[0].values, ["16384", "65536"]);
        let grids = grids(&axes, &views);
        assert_eq!((grids.len(), grids[0].x.name.as_str(), grids[0].common.as_str()), (1, "batch", ""));
        assert_eq!(grids[0].cells, [[Some(2), Some(0)], [Some(3), Some(1)]], "none above lz4");
        assert_eq!(
            ["10ms", "4.3.0", "lz4", "1_000", "100B", "1M/s"].map(|t| magnitude(t).is_some()),
            [true, false, false, true, true, true]
        );
    }

    #[test]
    fn a_third_axis_gives_a_grid_each() {
        let mut record = sweep(1);
        record.axes.push("acks".to_owned());
        for (point, acks) in record.points.iter_mut().zip(["all", "all", "1", "1"]) {
            point.parameters.insert("acks".to_owned(), acks.into());
        }
        let views = views(&record);
        let grids = grids(&axes(&record, &views), &views);
        assert_eq!(grids.iter().map(|g| g.common.as_str()).collect::<Vec<_>>(), ["acks=all", "acks=1"]);
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let mut record = sweep(1);
        for (run, (throughput, p99)) in
            record.runs.iter_mut().zip([(100.0, 5.0), (90.0, 4.0), (80.0, 6.0), (100.0, 5.0)])
        {
            let figures = run.figures.as_mut().unwrap();
            (figures.throughput, figures.p99_ms) = (Some(throughput), Some(p99));
        }
        assert_eq!(front(&views(&record), &THROUGHPUT, &P99), [0, 3, 1], "equal ones are both on it");
        record.runs[0].verdict = Some(Verdict::Inconclusive);
        assert_eq!(front(&views(&record), &THROUGHPUT, &P99), [3, 1], "what is unknown is on no front");
    }
}
