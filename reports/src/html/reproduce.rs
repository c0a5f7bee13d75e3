//! What is needed to do it again, and the raw data.

use maud::{Markup, html};

use crate::run_data::RunData;

use super::format;
use super::table::{numbers, scroll_box, table_of, words};

/// The section.
pub(super) fn section(data: &RunData) -> Markup {
    let columns = [words("file"), numbers("size"), words("SHA-256")];
    let rows: Vec<Vec<Markup>> = data
        .files
        .iter()
        .map(|file| {
            vec![
                html! { (file.name) },
                html! { (format::bytes(file.bytes)) },
                html! { code class="sum" { (file.sha256) } },
            ]
        })
        .collect();
    html! {
        section id="reproduce" aria-labelledby="reproduce-h" {
            h2 id="reproduce-h" { "Do it again" }
            (scroll_box("Command", html! { pre { code { (data.reproduce) } } }))
            p class="note" {
                "The seed " strong { (data.record.seed) } " decides payloads, keys, order and the choice of targets; it does not "
                "decide how processes are scheduled."
            }
            @if !data.scenario.is_empty() {
                details open {
                    summary { "The scenario as it was run" }
                    (scroll_box("Scenario, YAML", html! { pre class="yaml" { code { (data.scenario) } } }))
                }
            }
            h3 { "Raw data" }
            @if rows.is_empty() { p { "The run directory holds no files." } }
            @else { (table_of("Files of the run directory", &columns, &rows)) }
        }
    }
}
