//! Block 16: a figure along an axis of numbers, a line per value of another axis, with whiskers over repeats.

use maud::{Markup, html};

use super::super::canvas::{Anchor, Canvas, DrawError, Shape};
use super::super::figure::{Figure as Picture, mark_sign};
use super::super::format;
use super::super::palette::Ink;
use super::super::scale::{Scale, tick_label};
use super::super::table::{numbers, table_of, words};
use super::pareto::STYLES;
use super::{GRIDS_MAX, Layout, cells, of_grid};
use crate::sweep::figures::{Figure, P99, THROUGHPUT};
use crate::sweep::points::{Grid, Mark, PointView};
use crate::sweep::stats::{RUNS_FOR_INTERVAL, Whiskers};

const HEIGHT_PX: i32 = 620;
const LEFT_PX: i32 = 190;
const RIGHT_PX: i32 = Canvas::WIDTH_PX - 40;
const TOP_PX: i32 = 30;
const BOTTOM_PX: i32 = HEIGHT_PX - 96;
/// Sideways, so that whiskers of different lines do not cover each other.
const DODGE_PX: i32 = 14;
const FIGURES: [Figure; 2] = [P99, THROUGHPUT];

/// Some rows of a grid: as many lines as can be told apart.
struct Bundle<'g> {
    grid: &'g Grid,
    rows: std::ops::Range<usize>,
}

fn bundles<'l>(layout: &'l Layout<'_>) -> Vec<Bundle<'l>> {
    let along_numbers = layout.grids.iter().take(GRIDS_MAX).filter(|grid| grid.x.is_numeric);
    let bundles = along_numbers.flat_map(|grid| {
        let rows = grid.cells.len();
        (0..rows)
            .step_by(STYLES.len())
            .map(move |from| Bundle { grid, rows: from..(from + STYLES.len()).min(rows) })
    });
    bundles.take(GRIDS_MAX).collect()
}

/// Whether an axis of the sweep is one of numbers.
pub(super) fn is_there(layout: &Layout<'_>) -> bool {
    !bundles(layout).is_empty()
}

/// The section.
pub(super) fn section(layout: &Layout<'_>) -> Markup {
    let bundles = bundles(layout);
    if bundles.is_empty() {
        return html! {};
    }
    html! {
        section id="lines" aria-labelledby="lines-h" {
            h2 id="lines-h" { "Along " (bundles[0].grid.x.name) }
            @for figure in &FIGURES {
                @for (index, bundle) in bundles.iter().enumerate() { (chart(layout, figure, index, bundle)) }
            }
        }
    }
}

/// A point on a line.
struct Dot<'v, 'a> {
    column: usize,
    view: &'v PointView<'a>,
    whiskers: Whiskers,
    runs: usize,
}

/// The points of a row that have a value.
fn dots<'v, 'a>(layout: &'v Layout<'a>, figure: &Figure, row: &[Option<usize>]) -> Vec<Dot<'v, 'a>> {
    let dots = row.iter().enumerate().filter_map(|(column, cell)| {
        let view = &layout.views[(*cell)?];
        let summary = view.summary(figure)?;
        Some(Dot { column, view, whiskers: summary.whiskers, runs: summary.runs })
    });
    dots.collect()
}

fn chart(layout: &Layout<'_>, figure: &Figure, index: usize, bundle: &Bundle<'_>) -> Markup {
    let rows = &bundle.grid.cells[bundle.rows.clone()];
    if rows.iter().all(|row| dots(layout, figure, row).is_empty()) {
        return html! {};
    }
    let title = format!("{} along {}{}", figure.title, bundle.grid.x.name, of_grid(bundle.grid));
    Picture {
        id: &format!("lines-{}-{index}", figure.key),
        title: &title,
        finding: finding(layout, figure, bundle),
        how_to_read: how_to_read(layout.data.record.repeats),
        legend: legend(bundle),
        picture: draw(layout, figure, bundle),
        numbers: numbers_of(layout, figure, bundle),
    }
    .render()
}

fn how_to_read(repeats: u16) -> &'static str {
    if usize::from(repeats) >= RUNS_FOR_INTERVAL {
        "marks are the geometric mean of a point's runs, whiskers its 95 % confidence interval (Student's t on the logarithms); a \
         point with fewer than three values has its median, from the lowest to the highest. Hollow marks did not pass, or are \
         not known."
    } else if repeats > 1 {
        "marks are the median of a point's runs, whiskers go from the lowest to the highest: with fewer than three runs there is \
         no confidence interval. Hollow marks did not pass, or are not known."
    } else {
        "each mark is one run: nothing is known of how much runs differ (`sweep.repeats: 3` would tell). Hollow marks did not \
         pass, or are not known."
    }
}

fn row_name(bundle: &Bundle<'_>, row: usize) -> String {
    bundle
        .grid
        .y
        .as_ref()
        .map_or_else(|| "all points".to_owned(), |y| format!("{}={}", y.name, y.values[row]))
}

/// How each line goes from its first point that is known to its last.
fn finding(layout: &Layout<'_>, figure: &Figure, bundle: &Bundle<'_>) -> String {
    let show = |value: f64| format::quantity(value, figure.unit);
    let told = bundle.rows.clone().filter_map(|row| {
        let dots = dots(layout, figure, &bundle.grid.cells[row]);
        let known: Vec<&Dot<'_, '_>> = dots.iter().filter(|dot| !dot.view.mark.is_unknown()).collect();
        let (first, last) = (known.first()?, known.last()?);
        let at = |dot: &Dot<'_, '_>| &bundle.grid.x.values[dot.column];
        let value = |dot: &Dot<'_, '_>| show(dot.whiskers.middle());
        Some(if first.column == last.column {
            format!("{}: {} at {}", row_name(bundle, row), value(first), at(first))
        } else {
            format!(
                "{}: {} at {} to {} at {}",
                row_name(bundle, row),
                value(first),
                at(first),
                value(last),
                at(last)
            )
        })
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() {
        "No point of these lines is known.".to_owned()
    } else {
        format!("{}.", told.join("; "))
    }
}

fn legend(bundle: &Bundle<'_>) -> Markup {
    html! {
        ul class="legend" {
            @for (style, row) in STYLES.iter().zip(bundle.rows.clone()) {
                li { (mark_sign(style.0, style.1, true)) (row_name(bundle, row)) }
            }
            li { (mark_sign(Ink::Target, Shape::Round, false)) "did not pass, or unknown" }
        }
    }
}

fn draw(layout: &Layout<'_>, figure: &Figure, bundle: &Bundle<'_>) -> Result<String, DrawError> {
    let lines: Vec<Vec<Dot<'_, '_>>> =
        bundle.grid.cells[bundle.rows.clone()].iter().map(|row| dots(layout, figure, row)).collect();
    let ends = lines.iter().flatten().flat_map(|dot| dot.whiskers.ends());
    let limit_ms = layout.data.record.p99_limit_ms.filter(|_| figure.key == P99.key);
    let values: Vec<f64> = ends.chain(limit_ms).collect();
    let y = Scale::of(figure, &values, BOTTOM_PX, TOP_PX);
    let columns = bundle.grid.x.values.len() as i32;
    let width = (RIGHT_PX - LEFT_PX) / columns.max(1);
    let x_px = |column: usize| LEFT_PX + column as i32 * width + width / 2;
    Canvas::draw(HEIGHT_PX, |canvas| {
        for tick in &y.ticks {
            let at = y.px(*tick);
            canvas.line(Ink::Grid, 2, &[(LEFT_PX, at), (RIGHT_PX, at)])?;
            canvas.text(Anchor::End, (LEFT_PX - 12, at), &tick_label(figure, *tick))?;
        }
        for (column, value) in bundle.grid.x.values.iter().enumerate() {
            let room = usize::try_from(width / 13).unwrap_or(1);
            canvas.text(Anchor::Middle, (x_px(column), BOTTOM_PX + 28), &format::shortened(value, room))?;
        }
        canvas.text(Anchor::Start, (LEFT_PX, BOTTOM_PX + 68), &format!("{} →", bundle.grid.x.name))?;
        if let Some(limit_ms) = limit_ms {
            let at = y.px(limit_ms);
            canvas.line(Ink::Target, 3, &[(LEFT_PX, at), (RIGHT_PX, at)])?;
            let text = format!("limit of p99: {}", format::millis(limit_ms));
            canvas.text(Anchor::Start, (LEFT_PX + 12, at - 20), &text)?;
        }
        let middle = (lines.len() as i32 - 1) * DODGE_PX / 2;
        for (index, (line, (ink, shape))) in lines.iter().zip(STYLES).enumerate() {
            let dodge = index as i32 * DODGE_PX - middle;
            let place = |dot: &Dot<'_, '_>| (x_px(dot.column) + dodge, y.px(dot.whiskers.middle()));
            if line.len() > 1 {
                canvas.line(ink, 3, &line.iter().map(place).collect::<Vec<_>>())?;
            }
            for dot in line {
                whisker(canvas, ink, place(dot).0, dot.whiskers.ends().map(|value| y.px(value)))?;
                canvas.mark(ink, shape, dot.view.mark == Mark::Pass, place(dot))?;
            }
        }
        Ok(())
    })
}

fn whisker(canvas: &Canvas<'_>, ink: Ink, x: i32, [low, high]: [i32; 2]) -> Result<(), DrawError> {
    const HALF_PX: i32 = 9;
    if low == high {
        return Ok(());
    }
    canvas.bar(ink, (x - 1, high), (x + 2, low))?;
    for y in [low, high] {
        canvas.bar(ink, (x - HALF_PX, y - 1), (x + HALF_PX, y + 1))?;
    }
    Ok(())
}

fn numbers_of(layout: &Layout<'_>, figure: &Figure, bundle: &Bundle<'_>) -> Markup {
    let columns = [
        words("point"),
        words("parameters"),
        words("verdict"),
        numbers("value"),
        numbers("from"),
        numbers("to"),
        words("which is"),
        numbers("runs"),
    ];
    let show = |value: f64| html! { (format::quantity(value, figure.unit)) };
    let rows = bundle.grid.cells[bundle.rows.clone()].iter().flat_map(|row| dots(layout, figure, row));
    let rows: Vec<Vec<Markup>> = rows
        .map(|dot| {
            let [low, high] = dot.whiskers.ends();
            let kind = match (dot.whiskers, dot.runs) {
                (Whiskers::Confidence { .. }, _) => "mean, 95 % interval",
                (Whiskers::Range { .. }, 1) => "one run",
                (Whiskers::Range { .. }, _) => "median, lowest to highest",
            };
            vec![
                html! { (dot.view.record.id) },
                html! { (dot.view.label) },
                cells::mark(dot.view.mark),
                show(dot.whiskers.middle()),
                show(low),
                show(high),
                html! { (kind) },
                html! { (dot.runs) },
            ]
        })
        .collect();
    table_of(&format!("Numbers: {} along {}", figure.title, bundle.grid.x.name), &columns, &rows)
}
