//! From a matrix to its points, by the rules of GitHub Actions (workflow syntax, `jobs.<job_id>.strategy.matrix`):
//!
//! 1. Every combination of the axes' values, the last axis changing fastest.
//! 2. `exclude` removes each combination that has all values of one of its items.
//! 3. Each item of `include`, in order, is added to every combination of step 2 of which it overwrites no value of the
//!    matrix; what an earlier item added may be overwritten. An item that fits none is a point of its own, to which
//!    later items are not added.
//!
//! Stricter than there: an item of `exclude` that removes nothing is a mistake, and so are two equal points.

use std::collections::BTreeMap;

use super::super::diagnostic::{Problem, did_you_mean};
use super::super::tree::{Content, Entry, Node};
use super::POINTS_MAX;
use super::matrix::{MatrixWritten, Selection};

/// A value for each name of a point.
pub(super) type Combination = BTreeMap<String, Node>;

/// Whether two scalars mean the same.
pub(super) fn same(a: &Node, b: &Node) -> bool {
    match (&a.content, &b.content) {
        (Content::Scalar(a), Content::Scalar(b)) => a.typed() == b.typed(),
        _ => false,
    }
}

fn has(combination: &Combination, entry: &Entry) -> bool {
    combination.get(&entry.key).is_some_and(|value| same(value, &entry.value))
}

/// The points of a matrix, at least one, or what is wrong with it.
pub(super) fn expand(matrix: &MatrixWritten) -> Result<Vec<Combination>, Vec<Problem>> {
    // Counted before they are made, so that no file makes gauntlet run out of memory.
    let count = matrix.axes.iter().try_fold(1usize, |count, axis| count.checked_mul(axis.values.len()));
    if count.is_none_or(|count| count > POINTS_MAX * POINTS_MAX) {
        let label = format!("over {} combinations, before `exclude`", POINTS_MAX * POINTS_MAX);
        return Err(vec![
            Problem::new(matrix.span, "the matrix is too large", label)
                .help(format!("a sweep has at most {POINTS_MAX} points")),
        ]);
    }
    let mut problems = Vec::new();
    let mut originals = product(matrix);
    for selection in &matrix.exclude {
        exclude(&mut originals, selection, matrix, &mut problems);
    }
    let points = include(originals, matrix);
    for selection in &matrix.include {
        let twice = points.iter().filter(|point| is_exactly(point, selection)).count();
        if twice > 1 {
            problems.push(
                Problem::new(selection.span, "two points of the sweep are the same", "one of them")
                    .help("remove it: `sweep.repeats` runs every point several times"),
            );
        }
    }
    if points.is_empty() && problems.is_empty() {
        problems.push(
            Problem::new(matrix.span, "the sweep has no points", "nothing is left to run")
                .help("name values in `matrix`, for example `matrix: { codec: [none, lz4] }`"),
        );
    }
    if problems.is_empty() { Ok(points) } else { Err(problems) }
}

fn product(matrix: &MatrixWritten) -> Vec<Combination> {
    if matrix.axes.is_empty() {
        return Vec::new();
    }
    let mut combinations = vec![Combination::new()];
    for axis in &matrix.axes {
        let longer = combinations.iter().flat_map(|shorter| {
            axis.values.iter().map(|value| {
                let mut longer = shorter.clone();
                longer.insert(axis.name.clone(), value.clone());
                longer
            })
        });
        combinations = longer.collect();
    }
    combinations
}

fn exclude(
    originals: &mut Vec<Combination>,
    selection: &Selection,
    matrix: &MatrixWritten,
    problems: &mut Vec<Problem>,
) {
    for entry in &selection.values {
        if !matrix.axes.iter().any(|axis| axis.name == entry.key) {
            let names = matrix.axes.iter().map(|axis| axis.name.as_str());
            let label = did_you_mean(&entry.key, names.clone()).unwrap_or_default();
            let help = format!("names of the matrix: {}", names.collect::<Vec<_>>().join(", "));
            let message = format!("`sweep.exclude` names `{}`, which the matrix has not", entry.key);
            problems.push(Problem::new(entry.key_span, message, label).help(help));
            return;
        }
    }
    let before = originals.len();
    originals.retain(|combination| !selection.values.iter().all(|entry| has(combination, entry)));
    if originals.len() == before {
        problems.push(
            Problem::new(
                selection.span,
                "an item of `sweep.exclude` removes no point",
                "no point is like this",
            )
            .help("remove it, or correct its values"),
        );
    }
}

fn include(originals: Vec<Combination>, matrix: &MatrixWritten) -> Vec<Combination> {
    let is_axis = |name: &str| matrix.axes.iter().any(|axis| axis.name == name);
    let count = originals.len();
    let mut points = originals;
    for selection in &matrix.include {
        let mut fits_one = false;
        for point in &mut points[..count] {
            if selection.values.iter().all(|entry| !is_axis(&entry.key) || has(point, entry)) {
                fits_one = true;
                point.extend(selection.values.iter().map(|entry| (entry.key.clone(), entry.value.clone())));
            }
        }
        if !fits_one {
            points.push(
                selection.values.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect(),
            );
        }
    }
    points
}

fn is_exactly(point: &Combination, selection: &Selection) -> bool {
    point.len() == selection.values.len() && selection.values.iter().all(|entry| has(point, entry))
}
