//! What the rate means: how sure it is, headroom, bytes and disks.

use maud::{Markup, html};

use super::super::format;
use super::super::table::{numbers, table, words};
use crate::search::storage::storage;
use crate::search::{Finding, Limit, SearchRecord};

/// Whether a rate was confirmed.
pub(super) fn is_there(record: &SearchRecord) -> bool {
    record.rate_per_s().is_some()
}

/// The section.
pub(super) fn section(record: &SearchRecord) -> Markup {
    let (Some(finding), Some(rate)) = (&record.finding, record.rate_per_s()) else { return html! {} };
    let mut rows = vec![
        ["sustainable rate".to_owned(), format::rate(rate), confirmed(record, finding)],
        ["not sustainable".to_owned(), not_held(finding), limit(finding).to_owned()],
    ];
    rows.extend(with_one_down(record, rate));
    if let Some(target) = record.target_per_s {
        let times = format!("{:.2} times", rate / target as f64);
        let what = format!("of the {} that are needed (search.target)", format::rate(target as f64));
        rows.push(["headroom".to_owned(), times, what]);
    }
    rows.extend(bytes(record));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.to_vec()).collect();
    html! {
        section id="capacity" aria-labelledby="capacity-h" {
            h2 id="capacity-h" { "Capacity" }
            (table("What the rate means", &[words("what"), numbers("value"), words("how it is known")], &rows))
        }
    }
}

/// The rate with one broker down, and what part it is of the rate with all of them.
fn with_one_down(record: &SearchRecord, rate: f64) -> Vec<[String; 3]> {
    let Some(finding) = record.headroom_finding() else { return Vec::new() };
    let down = record.headroom.as_ref().and_then(|headroom| headroom.down);
    let who = down.map_or_else(|| "one broker".to_owned(), |broker| format!("broker {broker}"));
    let Some(left) = finding.rate_per_s else {
        return vec![[format!("with {who} down"), "none".to_owned(), "no rate was confirmed".to_owned()]];
    };
    let limit = if finding.limit == Limit::High {
        "every rate held, up to the one with all brokers up"
    } else {
        limit(finding)
    };
    vec![
        [format!("with {who} down"), format::rate(left), confirmed(record, finding)],
        ["not sustainable then".to_owned(), not_held(finding), limit.to_owned()],
        ["left of the rate".to_owned(), format::percent(left / rate), "with one broker down".to_owned()],
    ]
}

fn confirmed(record: &SearchRecord, finding: &Finding) -> String {
    let length = format::seconds(record.confirm_s);
    record.confirmation_of(finding).map_or_else(String::new, |trial| {
        format!("held in trial {}, for {length} at {}", trial.number, format::rate(trial.rate_per_s as f64))
    })
}

fn not_held(finding: &Finding) -> String {
    format::or_missing(finding.not_held_per_s.map(|rate| rate as f64), format::rate)
}

fn limit(finding: &Finding) -> &'static str {
    match finding.limit {
        Limit::Cluster => "the lowest rate that did not hold: the limit is between the two",
        Limit::Ourselves => "gauntlet or its host was the limit there: the cluster's own is not known",
        Limit::High => "every rate held: the limit is above search.high",
    }
}

fn bytes(record: &SearchRecord) -> Vec<[String; 3]> {
    let Some(storage) = storage(record) else { return Vec::new() };
    let show = |bytes: f64| format::bytes(bytes as u64);
    let per_record = format!(
        "at {:.0} bytes per record, as batches carried them in the confirmation",
        storage.bytes_per_record
    );
    let mut rows = vec![
        ["written per second".to_owned(), format!("{}/s", show(storage.bytes_per_s)), per_record],
        ["written per day".to_owned(), show(storage.bytes_per_day), "one copy".to_owned()],
    ];
    if let (Some(bytes), Some(replicas)) = (storage.disk_bytes_per_day, record.replication_factor) {
        let what = format!("on the disks of all brokers, at replication factor {replicas}");
        rows.push(["disk per day".to_owned(), show(bytes), what]);
    }
    rows
}
