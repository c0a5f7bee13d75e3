//! The report of a search: which rate is sustainable, where it breaks, what it means for disks, and every trial.

mod capacity;
mod expectations;
mod knee;
mod trials;

use maud::{Markup, html};

use crate::search::{SearchData, SearchRecord, words};

use super::banner::face;
use super::document::{self, About, Banner, document};
use super::format;
use super::series::{self, Again};

const ENVIRONMENT_NOTE: &str = "Of the first trial. All settings are in the reports of the trials.";

/// The document.
pub(super) fn page(data: &SearchData) -> Markup {
    let record = &data.record;
    let about = About {
        word: face(record.verdict, record.state).word,
        name: &record.name,
        kind: "search",
        id: &record.search_id,
        gauntlet: &record.gauntlet,
    };
    let sections = html! {
        (capacity::section(record))
        (expectations::section(record))
        (knee::section(record))
        (trials::section(record))
        (series::environment(&record.gauntlet, data.environment.as_ref(), ENVIRONMENT_NOTE))
        (method(record))
        (series::reproduce(&Again {
            command: &data.reproduce,
            scenario: &data.scenario,
            summary: "The scenario as it was searched",
            note: "Every trial has a directory beside this page, with its own report, scenario and raw data.",
        }))
    };
    let links = [
        ("#capacity", "Capacity", capacity::is_there(record)),
        ("#expectations", "Expectations", expectations::is_there(record)),
        ("#knee", "Knee", knee::is_there(record)),
        ("#trials", "Trials", true),
        ("#environment", "Environment", data.environment.is_some()),
        ("#method", "Method", true),
        ("#reproduce", "Do it again", true),
    ];
    document(&about, &links, &banner(record), &sections)
}

fn banner(record: &SearchRecord) -> Markup {
    let exit = record.exit_code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    let facts = [
        ("search", Some(record.search_id.clone())),
        ("started", Some(record.started_at.clone())),
        ("took", (record.wall_s > 0.0).then(|| format::seconds(record.wall_s))),
        ("trials", Some(record.trials.len().to_string())),
        ("from", Some(format::rate(record.low_per_s as f64))),
        ("to", Some(format::rate(record.high_per_s as f64))),
        ("resolution", Some(format::percent(record.resolution))),
        ("seed", Some(record.seed.to_string())),
        ("exit code", Some(exit)),
    ];
    document::banner(&Banner {
        face: face(record.verdict, record.state),
        name: &record.name,
        stamp: None,
        sentence: sentence(record),
        reasons: &record.reasons,
        description: record.description.as_deref(),
        facts: &facts,
    })
}

/// What it came to.
fn sentence(record: &SearchRecord) -> String {
    let sentence = words::sentence(record, format::rate);
    let mut letters = sentence.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// How it was measured.
fn method(record: &SearchRecord) -> Markup {
    let trial = format::seconds(record.trial_s);
    let confirm = format::seconds(record.confirm_s);
    let resolution = format::percent(record.resolution);
    let rows = [
        (
            "Rates",
            format!(
                "From the lowest rate up by doubling, until one does not hold; then the middle, by factors, of the highest that held and \
                 the lowest that did not, until they are within {resolution}. Each for {trial} after its warm-up."
            ),
        ),
        (
            "Held",
            format!(
                "A rate holds if all of this does over the load, without warm-up and drain: {}. So do the rules that stand for every \
                 run.",
                record.sustainable.join(", ")
            ),
        ),
        (
            "Confirmed",
            format!(
                "The highest rate that held is run again, for {confirm}; if it does not hold then, the next lower one. The answer is \
                 never more than was acked per second while it was confirmed."
            ),
        ),
        (
            "Unknown",
            "Where something was broken while gauntlet or its host was the limit, the trial is repeated once. If that proves nothing \
             either, the rate counts as one that did not hold, and the answer as a lower bound."
                .to_owned(),
        ),
        (
            "One broker down",
            "Where the scenario says `headroom: n-1`, a broker that is not the active controller is killed after the search and stays \
             down, and the search is repeated up to the rate that was found. Replicas on that broker are not waited for."
                .to_owned(),
        ),
        (
            "Between trials",
            "All trials are on one cluster. Each has a topic of its own; the next one begins when it is deleted and a pause is over."
                .to_owned(),
        ),
    ];
    html! {
        section id="method" aria-labelledby="method-h" {
            h2 id="method-h" { "How it was measured" }
            dl class="method" { @for (name, text) in rows { dt { (name) } dd { (text) } } }
        }
    }
}
