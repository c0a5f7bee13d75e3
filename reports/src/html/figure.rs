//! A picture with what belongs to it: a title, its finding in words, a legend, how to read it, and its numbers.

use maud::{Markup, PreEscaped, html};

use crate::run_data::{RunData, SecondPoint};

use super::canvas::{DrawError, Shape};
use super::chart::{self, Scale, Series};
use super::format;
use super::palette::Ink;
use super::sample::Point;
use super::table;
use super::view::View;

/// Rows of a table of numbers; longer runs give several seconds to a row.
const ROWS_MAX: usize = 300;

/// A picture and its words.
pub(super) struct Figure<'a> {
    /// Anchor on the page.
    pub(super) id: &'a str,
    /// What it shows.
    pub(super) title: &'a str,
    /// What is to be seen in it, in words.
    pub(super) finding: String,
    /// How to read it.
    pub(super) how_to_read: &'a str,
    /// Signs and their meaning.
    pub(super) legend: Markup,
    /// An `<svg>` element.
    pub(super) picture: Result<String, DrawError>,
    /// Its numbers: a table.
    pub(super) numbers: Markup,
}

impl Figure<'_> {
    /// The `<figure>` element.
    pub(super) fn render(self) -> Markup {
        let (title_id, finding_id) = (format!("{}-title", self.id), format!("{}-finding", self.id));
        html! {
            figure id=(self.id) aria-labelledby=(title_id) aria-describedby=(finding_id) {
                h3 id=(title_id) { (self.title) }
                p class="finding" id=(finding_id) { (self.finding) }
                (self.legend)
                @match self.picture {
                    Ok(svg) => (table::scroll_box(&format!("Chart: {}", self.title), PreEscaped(svg))),
                    Err(error) => p class="problem" { "This chart could not be drawn: " (error.to_string()) "." },
                }
                figcaption { strong { "How to read this: " } (self.how_to_read) }
                details class="numbers" { summary { "The numbers" } (self.numbers) }
            }
        }
    }
}

/// How several seconds become one row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// Rates: their mean.
    Mean,
    /// Percentiles and levels: the highest of them.
    Highest,
}

/// Values over time, to be drawn and told.
pub(super) struct TimeFigure<'a> {
    /// Anchor on the page.
    pub(super) id: &'a str,
    /// What it shows.
    pub(super) title: &'a str,
    /// What is to be seen in it, in words.
    pub(super) finding: String,
    /// How to read it.
    pub(super) how_to_read: &'a str,
    /// The vertical axis.
    pub(super) scale: Scale,
    /// The lines; all have the same times.
    pub(super) series: Vec<Series>,
    /// How several seconds become one row.
    pub(super) merge: Merge,
    /// How a value is written in the table.
    pub(super) show: fn(f64) -> String,
}

impl TimeFigure<'_> {
    /// The `<figure>` element.
    pub(super) fn render(self, view: &View) -> Markup {
        let picture = chart::draw(view, self.scale, &self.series);
        let legend = lines_legend(&self.series, view);
        let numbers = self.table();
        let TimeFigure { id, title, finding, how_to_read, .. } = self;
        Figure { id, title, finding, how_to_read, legend, picture, numbers }.render()
    }

    fn table(&self) -> Markup {
        let seconds = self.series.first().map_or(0, |s| s.points.len());
        let stride = seconds.div_ceil(ROWS_MAX).max(1);
        let mut columns = vec![table::numbers("second")];
        columns.extend(self.series.iter().map(|s| table::numbers(s.label)));
        let rows: Vec<Vec<String>> = (0..seconds)
            .step_by(stride)
            .map(|from| {
                let range = from..(from + stride).min(seconds);
                let cells = self.series.iter().map(|s| self.cell(&s.points[range.clone()]));
                let begin = self.series.first().map_or(0.0, |s| s.points[from].0.floor());
                std::iter::once(format!("{begin:.0}")).chain(cells).collect()
            })
            .collect();
        let note = match (stride, self.merge) {
            (1, _) => "One row per second, counted from t = 0.".to_owned(),
            (n, Merge::Mean) => {
                format!("One row per {n} seconds, with their mean; the first second is named.")
            }
            (n, Merge::Highest) => {
                format!("One row per {n} seconds, with the highest of them; the first second is named.")
            }
        };
        html! {
            p class="note" { (note) }
            div class="tall" { (table::table(&format!("Numbers: {}", self.title), &columns, &rows)) }
        }
    }

    fn cell(&self, points: &[Point]) -> String {
        let values: Vec<f64> = points.iter().filter_map(|(_, v)| *v).collect();
        let merged = match self.merge {
            Merge::Mean if !values.is_empty() => Some(values.iter().sum::<f64>() / values.len() as f64),
            Merge::Mean => None,
            Merge::Highest => values.into_iter().reduce(f64::max),
        };
        format::or_missing(merged, self.show)
    }
}

/// One value per second, in the middle of it. What is not finite was not measured.
pub(super) fn points(data: &RunData, value: impl Fn(&SecondPoint) -> Option<f64>) -> Vec<Point> {
    data.seconds.iter().map(|s| (s.t_s + 0.5, value(s).filter(|v| v.is_finite()))).collect()
}

/// The legend of lines, and of what is shaded behind them.
fn lines_legend(series: &[Series], view: &View) -> Markup {
    html! {
        ul class="legend" {
            @for one in series {
                li {
                    @if one.is_filled { (faint_sign(one.ink)) } @else { (line_sign(one.ink)) }
                    (one.label)
                }
            }
            @if view.has_outside() {
                li { (area_sign(Ink::Outside)) "warm-up, drain" }
            }
            @if !view.bands.is_empty() {
                li { (area_sign(Ink::Fault)) "fault" }
                li { (area_sign(Ink::Recovery)) "recovery" }
            }
        }
    }
}

/// The sign for the area under a line.
fn faint_sign(ink: Ink) -> Markup {
    html! {
        svg class="sign" viewBox="0 0 60 20" aria-hidden="true" {
            rect class=(format!("f {}", ink.class())) width="60" height="20" fill=(ink.hex()) opacity="0.2" {}
            line class=(format!("l {}", ink.class())) x1="0" y1="2" x2="60" y2="2" stroke=(ink.hex()) stroke-width="4" {}
        }
    }
}

fn line_sign(ink: Ink) -> Markup {
    html! {
        svg class="sign" viewBox="0 0 60 20" aria-hidden="true" {
            line class=(format!("l {}", ink.class())) x1="0" y1="10" x2="60" y2="10"
                stroke=(ink.hex()) stroke-width="5" stroke-dasharray=[ink.dash()] {}
        }
    }
}

/// The sign for a moment.
pub(super) fn tick_sign(ink: Ink) -> Markup {
    html! {
        svg class="sign tick" viewBox="0 0 20 20" aria-hidden="true" {
            line class=(format!("l {}", ink.class())) x1="10" y1="0" x2="10" y2="20" stroke=(ink.hex()) stroke-width="5" {}
        }
    }
}

/// The sign for an area.
pub(super) fn area_sign(ink: Ink) -> Markup {
    html! {
        svg class="sign" viewBox="0 0 60 20" aria-hidden="true" {
            rect class=(format!("f {}", ink.class())) width="60" height="20" fill=(ink.hex()) {}
        }
    }
}

/// The sign for a mark.
pub(super) fn mark_sign(ink: Ink, shape: Shape, is_filled: bool) -> Markup {
    let corners: Vec<String> = shape.outline(8).map(|(x, y)| format!("{},{}", x + 10, y + 10)).collect();
    let corners = corners.join(" ");
    html! {
        svg class="sign tick" viewBox="0 0 20 20" aria-hidden="true" {
            @if is_filled {
                polygon class=(format!("f {}", ink.class())) points=(corners) fill=(ink.hex()) {}
            } @else {
                polygon class=(format!("l {}", ink.class())) points=(corners) fill="none" stroke=(ink.hex()) stroke-width="3" {}
            }
        }
    }
}
