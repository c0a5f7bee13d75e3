//! The report of a sweep: which points hold, which is the best, and what one pays for another.
//!
//! Blocks come in the order of the questions: what is the verdict, how did each point do, where in the grid is it good, what
//! trades against what, how does it go along an axis, what was the rest.

mod banner;
mod cells;
mod heatmap;
mod lines;
mod method;
mod pareto;
mod scale;
mod table;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::sweep::SweepData;
use crate::sweep::points::{self, Axis, Grid, PointView};

use super::style::CSS;

/// Grids that are drawn; what is beyond is in the table.
const GRIDS_MAX: usize = 6;

/// A sweep, laid out.
struct Layout<'a> {
    data: &'a SweepData,
    views: Vec<PointView<'a>>,
    axes: Vec<Axis>,
    grids: Vec<Grid>,
}

/// The document.
pub(super) fn page(data: &SweepData) -> Markup {
    let record = &data.record;
    let views = points::views(record);
    let axes = points::axes(record, &views);
    let grids = points::grids(&axes, &views);
    let layout = Layout { data, views, axes, grids };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(format!("gauntlet {}", record.gauntlet));
                title { (banner::word(record)) " · " (record.name) " · " (record.sweep_id) }
                style { (PreEscaped(CSS)) }
            }
            body {
                a class="skip" href="#main" { "Skip to the results" }
                div class="bar" {
                    span class="brand" { "gauntlet" }
                    (contents(&layout))
                    label class="theme" { input type="checkbox" id="theme"; " dark / light" }
                }
                (banner::banner(&layout))
                main id="main" {
                    (table::section(&layout))
                    (heatmap::section(&layout))
                    (pareto::section(&layout))
                    (lines::section(&layout))
                    (table::reasons(record))
                    (method::environment(data))
                    (method::method(record))
                    (method::reproduce(data))
                }
                footer { p { (record.name) " · sweep " (record.sweep_id) " · gauntlet " (record.gauntlet) } }
            }
        }
    }
}

fn contents(layout: &Layout<'_>) -> Markup {
    let has_reasons = table::has_reasons(&layout.data.record);
    let links = [
        ("#points", "Points", true),
        ("#grid", "Grid", heatmap::is_there(layout)),
        ("#trade-off", "Trade-off", pareto::is_there(layout)),
        ("#lines", "Along an axis", lines::is_there(layout)),
        ("#reasons", "Reasons", has_reasons),
        ("#environment", "Environment", layout.data.environment.is_some()),
        ("#method", "Method", true),
        ("#reproduce", "Do it again", true),
    ];
    html! {
        nav aria-label="Contents" {
            ul {
                @for (anchor, name, is_there) in links {
                    @if is_there { li { a href=(anchor) { (name) } } }
                }
            }
        }
    }
}

/// ` · acks=all` behind a title, where a grid is one of several.
fn of_grid(grid: &Grid) -> String {
    if grid.common.is_empty() { String::new() } else { format!(" · {}", grid.common) }
}

/// A sentence on the grids that are not drawn.
fn grids_left_out(layout: &Layout<'_>) -> Markup {
    let left = layout.grids.len().saturating_sub(GRIDS_MAX);
    html! {
        @if left > 0 {
            p class="note" {
                "The first " (GRIDS_MAX) " combinations of the other names are drawn; " (left)
                " more are in the table of points only."
            }
        }
    }
}
