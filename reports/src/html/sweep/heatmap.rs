//! Block 14: a figure over the grid of points, a cell for each.

use maud::{Markup, html};

use super::super::canvas::{Anchor, Canvas, DrawError};
use super::super::figure::{Figure as Picture, area_sign};
use super::super::format;
use super::super::palette::Ink;
use super::super::table::{numbers, table_of, words};
use super::{GRIDS_MAX, Layout, cells, grids_left_out, of_grid};
use crate::sweep::figures::{Better, Figure, HEATMAPS};
use crate::sweep::points::{Grid, Mark, PointView, best};

const HEAT: [Ink; 5] = [Ink::Heat1, Ink::Heat2, Ink::Heat3, Ink::Heat4, Ink::Heat5];
const LEFT_PX: i32 = 260;
const TOP_PX: i32 = 14;
const CELL_HEIGHT_PX: i32 = 104;
const CELL_WIDTH_MAX_PX: i32 = 420;
const BELOW_PX: i32 = 84;
const HATCH_PX: i32 = 26;

/// Whether there is a grid to draw on.
pub(super) fn is_there(layout: &Layout<'_>) -> bool {
    !layout.grids.is_empty()
}

/// The section.
pub(super) fn section(layout: &Layout<'_>) -> Markup {
    if !is_there(layout) {
        return html! {};
    }
    html! {
        section id="grid" aria-labelledby="grid-h" {
            h2 id="grid-h" { "The grid" }
            (grids_left_out(layout))
            @for figure in &HEATMAPS {
                @for (index, grid) in layout.grids.iter().take(GRIDS_MAX).enumerate() {
                    (heatmap(layout, figure, index, grid))
                }
            }
        }
    }
}

/// The points of a grid, in its order.
fn points<'l, 'a>(layout: &'l Layout<'a>, grid: &'l Grid) -> impl Iterator<Item = &'l PointView<'a>> {
    grid.cells.iter().flatten().flatten().map(|index| &layout.views[*index])
}

fn heatmap(layout: &Layout<'_>, figure: &Figure, index: usize, grid: &Grid) -> Markup {
    let shades = Shades::new(points(layout, grid), figure);
    if shades.is_none() {
        return html! {};
    }
    let best = best(&layout.views, figure).map(|view| view.record.id.clone());
    let title = format!("{}{}", figure.title, of_grid(grid));
    Picture {
        id: &format!("heat-{}-{index}", figure.key),
        title: &title,
        finding: finding(layout, figure, grid),
        how_to_read: "each cell is a point, with its median; the stronger the colour, the better, by factors. The best of all points that \
                      passed has a frame. Hatched: inconclusive, or without a result, whatever the number says. An empty \
                      place is no point of the sweep.",
        legend: legend(),
        picture: draw(layout, figure, grid, shades.as_ref(), best.as_deref()),
        numbers: numbers_of(layout, figure, grid),
    }
    .render()
}

/// From the worst value to the best.
struct Shades {
    worst: f64,
    best: f64,
}

impl Shades {
    fn new<'v, 'a: 'v>(views: impl Iterator<Item = &'v PointView<'a>>, figure: &Figure) -> Option<Shades> {
        let values: Vec<f64> = views.filter_map(|view| Some(view.summary(figure)?.median)).collect();
        let lowest = values.iter().copied().reduce(f64::min)?;
        let highest = values.iter().copied().reduce(f64::max)?;
        Some(match figure.better {
            Better::Higher => Shades { worst: lowest, best: highest },
            Better::Lower => Shades { worst: highest, best: lowest },
        })
    }

    /// By factors where that can be; all the same if there is next to no difference.
    fn ink(&self, value: f64) -> Ink {
        const SAME: f64 = 0.02;
        let (worst, best) = (self.worst, self.best);
        if (best - worst).abs() <= SAME * best.abs().max(worst.abs()) {
            return Ink::Heat3;
        }
        let share = if worst > 0.0 && best > 0.0 && value > 0.0 {
            (value / worst).ln() / (best / worst).ln()
        } else {
            (value - worst) / (best - worst)
        };
        HEAT[((share * 5.0) as usize).min(4)]
    }
}

fn finding(layout: &Layout<'_>, figure: &Figure, grid: &Grid) -> String {
    let views: Vec<PointView<'_>> = points(layout, grid).cloned().collect();
    let unknown = views.iter().filter(|view| view.mark.is_unknown()).count();
    let doubt = match unknown {
        0 => String::new(),
        1 => " One cell is unknown.".to_owned(),
        several => format!(" {several} cells are unknown."),
    };
    let passed: Vec<f64> = views
        .iter()
        .filter(|view| view.mark == Mark::Pass)
        .filter_map(|view| Some(view.summary(figure)?.median))
        .collect();
    let Some(best) = best(&views, figure) else {
        return format!("No point of this grid passed, so none is the best.{doubt}");
    };
    let show = |value: f64| format::quantity(value, figure.unit);
    let value = best.summary(figure).map_or_else(|| format::MISSING.to_owned(), |s| show(s.median));
    let worst = match figure.better {
        Better::Higher => passed.into_iter().reduce(f64::min),
        Better::Lower => passed.into_iter().reduce(f64::max),
    };
    let worst = worst
        .map_or_else(String::new, |worst| format!(", the worst of those that passed is {}", show(worst)));
    format!("The best is {value} at {}{worst}.{doubt}", best.label)
}

fn legend() -> Markup {
    html! {
        ul class="legend" {
            li { (area_sign(Ink::Heat5)) "better" }
            li { (area_sign(Ink::Heat1)) "worse" }
            li { (frame_sign()) "best that passed" }
            li { (hatch_sign()) "unknown" }
            li { "✗ failed · ‼ violation · ? inconclusive · … no result" }
        }
    }
}

fn frame_sign() -> Markup {
    let ink = Ink::Strong;
    html! {
        svg class="sign" viewBox="0 0 60 20" aria-hidden="true" {
            rect class=(format!("l {}", ink.class())) x="3" y="3" width="54" height="14" fill="none" stroke=(ink.hex()) stroke-width="5" {}
        }
    }
}

fn hatch_sign() -> Markup {
    let ink = Ink::Hatch;
    html! {
        svg class="sign" viewBox="0 0 60 20" aria-hidden="true" {
            @for x in [0, 15, 30, 45] {
                line class=(format!("l {}", ink.class())) x1=(x) y1="20" x2=(x + 15) y2="0" stroke=(ink.hex()) stroke-width="3" {}
            }
        }
    }
}

fn draw(
    layout: &Layout<'_>,
    figure: &Figure,
    grid: &Grid,
    shades: Option<&Shades>,
    best: Option<&str>,
) -> Result<String, DrawError> {
    let columns = grid.x.values.len() as i32;
    let rows = grid.cells.len() as i32;
    let width = ((Canvas::WIDTH_PX - LEFT_PX - 8) / columns.max(1)).min(CELL_WIDTH_MAX_PX);
    Canvas::draw(TOP_PX + rows * CELL_HEIGHT_PX + BELOW_PX, |canvas| {
        for (row, cells) in grid.cells.iter().enumerate() {
            let y = TOP_PX + row as i32 * CELL_HEIGHT_PX;
            if let Some(axis) = &grid.y {
                let label = fitting(&axis.values[row], LEFT_PX - 20);
                canvas.text(Anchor::End, (LEFT_PX - 16, y + CELL_HEIGHT_PX / 2), &label)?;
            }
            for (column, cell) in cells.iter().enumerate() {
                let Some(view) = cell.map(|index| &layout.views[index]) else { continue };
                let area = Area { x: LEFT_PX + column as i32 * width, y, width };
                let is_best = best == Some(view.record.id.as_str());
                area.draw(canvas, view, figure, shades, is_best)?;
            }
        }
        let bottom = TOP_PX + rows * CELL_HEIGHT_PX;
        for (column, value) in grid.x.values.iter().enumerate() {
            let middle = LEFT_PX + column as i32 * width + width / 2;
            canvas.text(Anchor::Middle, (middle, bottom + 24), &fitting(value, width - 12))?;
        }
        let y_name = grid.y.as_ref().map_or_else(String::new, |y| format!("{} ↑ · ", y.name));
        canvas.text(Anchor::Start, (LEFT_PX, bottom + 62), &format!("{y_name}{} →", grid.x.name))
    })
}

/// As much of a text as fits.
fn fitting(text: &str, width_px: i32) -> String {
    let letter = Canvas::text_width_px("0000000000") / 10;
    format::shortened(text, usize::try_from(width_px / letter.max(1)).unwrap_or(0).max(1))
}

/// Where a cell is.
struct Area {
    x: i32,
    y: i32,
    width: i32,
}

impl Area {
    fn draw(
        &self,
        canvas: &Canvas<'_>,
        view: &PointView<'_>,
        figure: &Figure,
        shades: Option<&Shades>,
        is_best: bool,
    ) -> Result<(), DrawError> {
        const GAP_PX: i32 = 3;
        let (left, top) = (self.x + GAP_PX, self.y + GAP_PX);
        let (right, bottom) = (self.x + self.width - GAP_PX, self.y + CELL_HEIGHT_PX - GAP_PX);
        let summary = view.summary(figure);
        let ink = match (&summary, shades) {
            (Some(summary), Some(shades)) if !view.mark.is_unknown() => shades.ink(summary.median),
            _ => Ink::Lane,
        };
        canvas.bar(ink, (left, top), (right, bottom))?;
        let middle = (left + right) / 2;
        let center = (top + bottom) / 2;
        let value =
            summary.map_or_else(|| "no value".to_owned(), |s| format::quantity(s.median, figure.unit));
        let sign = if view.mark == Mark::Pass { String::new() } else { format!("{} ", view.mark.sign()) };
        let first = fitting(&format!("{sign}{value}{}", cells::doubt(view)), self.width - 16);
        let second = summary.filter(|s| s.runs > 1).map(|s| cells::range(&s, figure.unit));
        let second = second.map(|text| fitting(&text, self.width - 16));
        if view.mark.is_unknown() {
            self.hatch(canvas, (left, top), (right, bottom))?;
            // So that the text can be read on the lines.
            let widest = second.as_ref().map_or(0, |text| Canvas::text_width_px(text));
            let half = widest.max(Canvas::text_width_px(&first)) / 2 + 8;
            canvas.bar(Ink::Lane, (middle - half, center - 36), (middle + half, center + 36))?;
        }
        let shift = if second.is_some() { 16 } else { 0 };
        canvas.text_in(Ink::Strong, Anchor::Middle, (middle, center - shift), &first)?;
        if let Some(second) = second {
            canvas.text_in(Ink::Strong, Anchor::Middle, (middle, center + 18), &second)?;
        }
        if is_best {
            let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
            canvas.line(Ink::Strong, 6, &corners.map(|(x, y)| (inward(x, middle), inward(y, center))))?;
        }
        Ok(())
    }

    /// Lines from the lower left to the upper right, cut at the edges.
    fn hatch(
        &self,
        canvas: &Canvas<'_>,
        (left, top): (i32, i32),
        (right, bottom): (i32, i32),
    ) -> Result<(), DrawError> {
        let (width, height) = (right - left, bottom - top);
        for offset in (HATCH_PX / 2..width + height).step_by(HATCH_PX as usize) {
            // On x + y = offset, measured from the upper left corner.
            let from = (offset.min(width), (offset - width).max(0));
            let to = ((offset - height).max(0), offset.min(height));
            canvas.line(Ink::Hatch, 2, &[(left + from.0, top + from.1), (left + to.0, top + to.1)])?;
        }
        Ok(())
    }
}

fn inward(at: i32, middle: i32) -> i32 {
    if at < middle { at + 3 } else { at - 3 }
}

fn numbers_of(layout: &Layout<'_>, figure: &Figure, grid: &Grid) -> Markup {
    let columns = [
        words("point"),
        words("parameters"),
        words("verdict"),
        numbers("median"),
        numbers("lowest"),
        numbers("highest"),
    ];
    let show = |value: Option<f64>| format::or_missing(value, |v| format::quantity(v, figure.unit));
    let rows: Vec<Vec<Markup>> = points(layout, grid)
        .map(|view| {
            let summary = view.summary(figure);
            vec![
                html! { (view.record.id) },
                html! { (view.label) },
                cells::mark(view.mark),
                html! { (show(summary.map(|s| s.median))) },
                html! { (show(summary.map(|s| s.min))) },
                html! { (show(summary.map(|s| s.max))) },
            ]
        })
        .collect();
    table_of(&format!("Numbers: {}", figure.title), &columns, &rows)
}
