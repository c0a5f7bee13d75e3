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
mod table;

use maud::{Markup, html};

use crate::sweep::SweepData;
use crate::sweep::points::{self, Axis, Grid, PointView};

use super::document::{About, document};
use super::series::{self, Again};

/// Grids that are drawn; what is beyond is in the table.
const GRIDS_MAX: usize = 6;

const ENVIRONMENT_NOTE: &str = "Of the first run with a directory. What differs from run to run, all settings included, is in \
                                the reports of the runs.";

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
    let about = About {
        word: banner::word(record),
        name: &record.name,
        kind: "sweep",
        id: &record.sweep_id,
        gauntlet: &record.gauntlet,
    };
    let sections = html! {
        (table::section(&layout))
        (heatmap::section(&layout))
        (pareto::section(&layout))
        (lines::section(&layout))
        (table::reasons(record))
        (series::environment(&record.gauntlet, data.environment.as_ref(), ENVIRONMENT_NOTE))
        (method::method(record))
        (series::reproduce(&Again {
            command: &data.reproduce,
            scenario: &data.scenario,
            summary: "The scenario as it was swept",
            note: "Every run has a directory beside this page, with its own report, scenario and raw data.",
        }))
    };
    document(&about, &contents(&layout), &banner::banner(&layout), &sections)
}

/// The sections, and whether this page has them.
fn contents(layout: &Layout<'_>) -> [(&'static str, &'static str, bool); 8] {
    let has_reasons = table::has_reasons(&layout.data.record);
    [
        ("#points", "Points", true),
        ("#grid", "Grid", heatmap::is_there(layout)),
        ("#trade-off", "Trade-off", pareto::is_there(layout)),
        ("#lines", "Along an axis", lines::is_there(layout)),
        ("#reasons", "Reasons", has_reasons),
        ("#environment", "Environment", layout.data.environment.is_some()),
        ("#method", "Method", true),
        ("#reproduce", "Do it again", true),
    ]
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
