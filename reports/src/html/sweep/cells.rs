//! Marks and values as the tables of a sweep show them.

use maud::{Markup, html};

use super::super::format;
use crate::metric::Unit;
use crate::sweep::points::{Mark, PointView};
use crate::sweep::stats::Summary;

/// The mark of a point, with its colour.
pub(super) fn mark(mark: Mark) -> Markup {
    let class = match mark {
        Mark::Pass => "mark ok",
        Mark::Fail | Mark::Violation => "mark bad",
        Mark::Inconclusive | Mark::NoResult => "mark doubt",
    };
    html! { span class=(class) { (mark.sign()) " " (mark.word()) } }
}

/// The median, and from where to where the runs go.
pub(super) fn value(summary: Option<Summary>, unit: Unit) -> Markup {
    let Some(summary) = summary else { return html! { (format::MISSING) } };
    html! {
        (format::quantity(summary.median, unit))
        @if summary.runs > 1 { span class="range" { (range(&summary, unit)) } }
    }
}

/// `11.8 … 13.1 ms`: the unit once, where it is the same.
pub(super) fn range(summary: &Summary, unit: Unit) -> String {
    let [low, high] = [summary.min, summary.max].map(|value| format::quantity(value, unit));
    let split = |text: &str| {
        text.find(['\u{a0}', '/']).map(|at| text.split_at(at)).map(|(n, u)| (n.to_owned(), u.to_owned()))
    };
    match (split(&low), split(&high)) {
        (Some((number, of_low)), Some((_, of_high))) if of_low == of_high => format!("{number} … {high}"),
        _ => format!("{low} … {high}"),
    }
}

/// What makes a point's numbers doubtful, behind its name.
pub(super) fn doubt(view: &PointView<'_>) -> &'static str {
    if view.is_ours() { " †" } else { "" }
}
