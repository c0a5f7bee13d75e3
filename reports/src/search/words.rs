//! What a search came to, in a sentence, for terminal and page.

use super::{Finding, Hold, Limit, SearchRecord, Stage, TrialRecord};
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
    let whole = found(record, finding, false, &rate);
    match record.headroom_finding() {
        Some(headroom) => format!("{whole}; with one broker down {}", found(record, headroom, true, &rate)),
        None => whole,
    }
}

/// What was found with all brokers up, or with one down.
fn found(record: &SearchRecord, finding: &Finding, one_down: bool, rate: &impl Fn(f64) -> String) -> String {
    let Some(found) = finding.rate_per_s else {
        let lowest = record.trials_with(one_down).map(|trial| trial.rate_per_s).min();
        let lowest = lowest.map_or_else(String::new, |lowest| rate(lowest as f64));
        return match record.trials_with(one_down).any(|trial| trial.hold == Some(Hold::Held)) {
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

/// What a trial is for.
#[must_use]
pub fn stage(trial: &TrialRecord) -> String {
    let stage = match trial.stage {
        Stage::Search => "search",
        Stage::Confirm => "confirmation",
    };
    match trial.down {
        Some(broker) => format!("{stage}, broker {broker} down"),
        None => stage.to_owned(),
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
