//! The HTML report: one page that needs nothing but itself.
//!
//! It makes no request, runs no script, and is readable without its style sheet, on paper and by ear. Blocks come in
//! the order in which people ask: what is the verdict, why, is anything lost, how fast, when, who was the limit, how
//! to do it again. Every chart has the time axis and the same fault bands, a sentence that states its finding,
//! and a table with its numbers.

mod banner;
mod canvas;
mod chart;
mod cluster;
mod correctness;
mod document;
mod end_to_end;
mod environment;
mod errors;
mod expectations;
mod figure;
mod findings;
mod format;
mod key_numbers;
mod lag;
mod latency;
mod method;
mod page;
mod palette;
mod recovery;
mod reproduce;
mod sample;
mod scale;
mod search;
mod series;
mod slip;
mod style;
mod sweep;
mod table;
mod throughput;
mod timeline;
mod view;
mod windows;

use crate::run_data::RunData;
use crate::search::SearchData;
use crate::sweep::SweepData;

use view::View;

/// Renders a run as one self-contained HTML5 document.
///
/// Takes whatever a run left behind: one without seconds, windows, faults, checker or verdict gives a page that says
/// so. Strings of the run are escaped; control characters, which HTML can't hold, become U+FFFD.
pub fn render(data: &RunData) -> String {
    let view = View::new(data);
    clean(&page::page(data, view.as_ref()).into_string())
}

/// Renders a sweep as one HTML5 document. It needs nothing but itself; only the links to the reports of its runs lead
/// elsewhere, into the sweep's directory.
///
/// Takes whatever a sweep left behind, as [`render`] does.
pub fn render_sweep(data: &SweepData) -> String {
    clean(&sweep::page(data).into_string())
}

/// Renders a search as one HTML5 document. It needs nothing but itself; only the links to the reports of its trials lead
/// elsewhere, into the search's directory.
///
/// Takes whatever a search left behind, as [`render`] does.
pub fn render_search(data: &SearchData) -> String {
    clean(&search::page(data).into_string())
}

/// Replaces what HTML can't hold.
fn clean(html: &str) -> String {
    html.chars().map(|c| if is_allowed(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Whether a character may stand in an HTML document: no control characters and no noncharacters (HTML standard,
/// "preprocessing the input stream").
fn is_allowed(c: char) -> bool {
    let is_noncharacter = ('\u{fdd0}'..='\u{fdef}').contains(&c) || u32::from(c) & 0xfffe == 0xfffe;
    !is_noncharacter && (!c.is_control() || matches!(c, '\n' | '\t'))
}
