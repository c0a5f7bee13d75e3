//! What a search came to, in a sentence, for terminal and page.

use super::{Hold, Limit, SearchRecord, TrialRecord};
use crate::record::RunState;

/// One sentence without a full stop. `rate` writes a rate, for example `1,000/s`.
#[must_use]
pub fn sentence(record: &SearchRecord, rate: impl Fn(f64) -> String) -> String {
    let Some(finding) = &record.finding else {
        return match record.state {
            RunState::Running => "the search is still going on, or its process died".to_owned(),
            _ => "the search did not come to its end".to_owned(),
        };
    };
    let Some(found) = finding.rate_per_s else {
        let lowest = record.lowest_tried_per_s().map_or_else(String::new, |lowest| rate(lowest as f64));
        return match record.trials.iter().any(|trial| trial.hold == Some(Hold::Held)) {
            true => "no rate was confirmed".to_owned(),
            false => format!("no rate was sustainable, not even {lowest}"),
        };
    };
    match (finding.limit, finding.not_held_per_s) {
        (Limit::Cluster, Some(not_held)) => {
            format!("{} is sustainable, {} is not", rate(found), rate(not_held as f64))
        }
        (Limit::Ourselves, _) => format!(
            "at least {} is sustainable: above it gauntlet or its host was the limit, not the cluster",
            rate(found)
        ),
        _ => format!("at least {} is sustainable: the search went no higher", rate(found)),
    }
}

/// What became of a trial: a sign, and a word.
#[must_use]
pub fn hold(trial: &TrialRecord) -> (&'static str, &'static str) {
    match trial.hold {
        Some(Hold::Held) => ("✓", "held"),
        Some(Hold::Broke) => ("✗", "broke"),
        Some(Hold::Unknown) => ("?", "unknown"),
        None => ("…", "no result"),
    }
}
