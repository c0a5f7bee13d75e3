//! What the run was made of.

use maud::{Markup, html};

use crate::record::RunRecord;

use super::table::{table, words};

/// The section.
pub(super) fn section(record: &RunRecord) -> Markup {
    let environment = &record.environment;
    let made_of = [
        ("gauntlet", environment.gauntlet.clone()),
        ("Kafka", environment.kafka.clone().unwrap_or_else(|| "unknown version".to_owned())),
        ("host", environment.host.clone()),
        ("processors", environment.cores.to_string()),
    ];
    let made_of: Vec<Vec<String>> =
        made_of.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let settings: Vec<Vec<String>> = environment
        .config
        .iter()
        .flat_map(|(whose, settings)| {
            settings.iter().map(|(name, value)| vec![whose.clone(), name.clone(), value.clone()])
        })
        .collect();
    html! {
        section id="environment" aria-labelledby="environment-h" {
            h2 id="environment-h" { "Environment" }
            (table("What it ran on", &[words("what"), words("which")], &made_of))
            h3 { "Settings that differ from Kafka's defaults" }
            @if settings.is_empty() { p { "None is recorded." } }
            @else {
                (table("Settings that differ from the defaults", &[words("whose"), words("setting"), words("value")], &settings))
            }
        }
    }
}
