//! What the pages of sweeps and searches have in common: where it ran, and how to do it again.

use maud::{Markup, html};

use super::table::{scroll_box, table, words};
use crate::record::Environment;

/// What it ran on; nothing if nobody says it.
pub(super) fn environment(gauntlet: &str, environment: Option<&Environment>, note: &str) -> Markup {
    let Some(environment) = environment else { return html! {} };
    let rows = [
        ("gauntlet", gauntlet.to_owned()),
        ("Kafka", environment.kafka.clone().unwrap_or_else(|| "unknown version".to_owned())),
        ("host", environment.host.clone()),
        ("processors", environment.cores.to_string()),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    html! {
        section id="environment" aria-labelledby="environment-h" {
            h2 id="environment-h" { "Environment" }
            p class="note" { (note) }
            (table("What it ran on", &[words("what"), words("which")], &rows))
        }
    }
}

/// How to do it again.
pub(super) struct Again<'a> {
    /// The command.
    pub(super) command: &'a str,
    /// The scenario, YAML; empty if it could not be read.
    pub(super) scenario: &'a str,
    /// What the scenario is called.
    pub(super) summary: &'a str,
    /// What else is there.
    pub(super) note: &'a str,
}

/// The command, and the scenario.
pub(super) fn reproduce(again: &Again<'_>) -> Markup {
    html! {
        section id="reproduce" aria-labelledby="reproduce-h" {
            h2 id="reproduce-h" { "Do it again" }
            (scroll_box("Command", html! { pre { code { (again.command) } } }))
            @if !again.scenario.is_empty() {
                details open {
                    summary { (again.summary) }
                    (scroll_box("Scenario, YAML", html! { pre class="yaml" { code { (again.scenario) } } }))
                }
            }
            p class="note" { (again.note) }
        }
    }
}
