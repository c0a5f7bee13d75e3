//! `sweep.matrix`, `include` and `exclude` as they are written: names and values with their places.

use std::collections::BTreeSet;

use super::super::diagnostic::{Problem, Span};
use super::super::tree::{Content, Entry, Node};

/// The three blocks that make the points.
#[derive(Debug)]
pub(super) struct MatrixWritten {
    /// The place of the sweep, for what is about all of it.
    pub(super) span: Span,
    /// Names with at least one value each, in the order of the file.
    pub(super) axes: Vec<Axis>,
    /// Points, or parts of them, to add.
    pub(super) include: Vec<Selection>,
    /// Points to leave out.
    pub(super) exclude: Vec<Selection>,
}

/// A name of the matrix with its values.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) name: String,
    pub(super) span: Span,
    /// Scalars, all different.
    pub(super) values: Vec<Node>,
}

/// An item of `include` or `exclude`: a scalar for some names.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) span: Span,
    pub(super) values: Vec<Entry>,
}

impl MatrixWritten {
    /// Every name, those that only `include` brings last, each with the place where it comes first.
    pub(super) fn named(&self) -> Vec<(&str, Span)> {
        let of_axes = self.axes.iter().map(|axis| (axis.name.as_str(), axis.span));
        let of_include = self.include.iter().flat_map(|selection| &selection.values);
        let mut seen = BTreeSet::new();
        of_axes
            .chain(of_include.map(|entry| (entry.key.as_str(), entry.key_span)))
            .filter(|(name, _)| seen.insert(*name))
            .collect()
    }

    /// The same without places.
    pub(super) fn axis_names(&self) -> Vec<String> {
        self.named().into_iter().map(|(name, _)| name.to_owned()).collect()
    }
}

/// Every name that the sweep of `root` gives a value to, as far as it is well formed.
pub(super) fn names(root: &Node) -> BTreeSet<String> {
    let Some(sweep) = root.get("sweep") else { return BTreeSet::new() };
    let keys = |node: &Node| -> Vec<String> {
        node.entries().unwrap_or_default().iter().map(|entry| entry.key.clone()).collect()
    };
    let mut names: BTreeSet<String> = sweep.get("matrix").map(keys).unwrap_or_default().into_iter().collect();
    if let Some(Content::Sequence(items)) = sweep.get("include").map(|node| &node.content) {
        names.extend(items.iter().flat_map(keys));
    }
    names
}

/// Reads the three blocks of `sweep`.
pub(super) fn read(sweep: &Node) -> Result<MatrixWritten, Vec<Problem>> {
    let mut problems = Vec::new();
    let matrix = MatrixWritten {
        span: sweep.span,
        axes: sweep.get("matrix").map(|node| axes(node, &mut problems)).unwrap_or_default(),
        include: selections(sweep, "include", &mut problems),
        exclude: selections(sweep, "exclude", &mut problems),
    };
    if problems.is_empty() { Ok(matrix) } else { Err(problems) }
}

fn axes(node: &Node, problems: &mut Vec<Problem>) -> Vec<Axis> {
    let Some(entries) = node.entries() else {
        let label = "expected a map from names to lists of values";
        problems.push(Problem::new(node.span, "invalid value for `sweep.matrix`", label));
        return Vec::new();
    };
    entries.iter().filter_map(|entry| axis(entry, problems)).collect()
}

fn axis(entry: &Entry, problems: &mut Vec<Problem>) -> Option<Axis> {
    name(entry, problems);
    let Content::Sequence(values) = &entry.value.content else {
        let message = format!("invalid value for `sweep.matrix.{}`", entry.key);
        problems.push(Problem::new(entry.value.span, message, "expected a list of values"));
        return None;
    };
    if values.is_empty() {
        let message = format!("`sweep.matrix.{}` has no value", entry.key);
        problems.push(Problem::new(entry.value.span, message, "at least one"));
        return None;
    }
    let values: Vec<Node> = values.iter().cloned().map(ungrouped).collect();
    for (index, value) in values.iter().enumerate() {
        scalar(value, problems);
        if values[..index].iter().any(|earlier| super::expand::same(earlier, value)) {
            let message = format!("`sweep.matrix.{}` has a value twice", entry.key);
            problems.push(Problem::new(value.span, message, "the second time"));
        }
    }
    Some(Axis { name: entry.key.clone(), span: entry.key_span, values })
}

/// Names stand in references, on the command line and in the heads of tables.
fn name(entry: &Entry, problems: &mut Vec<Problem>) {
    const LENGTH_MAX: usize = 40;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let begins = entry.key.starts_with(|c: char| c.is_ascii_alphabetic());
    if !begins || entry.key.len() > LENGTH_MAX || !entry.key.chars().all(allowed) {
        let message = format!("invalid name `{}` in the sweep", entry.key);
        let label = "a letter, then letters, digits, `_` and `-`, at most 40";
        problems.push(Problem::new(entry.key_span, message, label).help("write it like `batch_size`"));
    }
}

/// Grouped digits, which YAML 1.2 reads as text, as the number that they are: `65_536` and `65536` are one value.
fn ungrouped(mut value: Node) -> Node {
    if let Content::Scalar(scalar) = &mut value.content {
        let digits = scalar.text.replace('_', "");
        if scalar.plain && digits.len() < scalar.text.len() && digits.parse::<u64>().is_ok() {
            scalar.text = digits;
        }
    }
    value
}

fn scalar(value: &Node, problems: &mut Vec<Problem>) {
    if !matches!(value.content, Content::Scalar(_)) {
        let label = "expected a number, a text, true or false";
        problems.push(Problem::new(value.span, "a value of the sweep is a list or a map", label));
    }
}

fn selections(sweep: &Node, block: &str, problems: &mut Vec<Problem>) -> Vec<Selection> {
    let Some(node) = sweep.get(block) else { return Vec::new() };
    let Content::Sequence(items) = &node.content else {
        let message = format!("invalid value for `sweep.{block}`");
        problems.push(Problem::new(node.span, message, "expected a list of maps from names to values"));
        return Vec::new();
    };
    let mut selections = Vec::new();
    for item in items {
        match item.entries() {
            Some(entries) if !entries.is_empty() => {
                entries.iter().for_each(|entry| scalar(&entry.value, problems));
                if block == "include" {
                    entries.iter().for_each(|entry| name(entry, problems));
                }
                let values =
                    entries.iter().cloned().map(|entry| Entry { value: ungrouped(entry.value), ..entry });
                selections.push(Selection { span: item.span, values: values.collect() });
            }
            _ => {
                let message = format!("an item of `sweep.{block}` selects nothing");
                problems.push(Problem::new(item.span, message, "expected a map from names to values"));
            }
        }
    }
    selections
}
