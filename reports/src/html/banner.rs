//! The verdict, and why.

use maud::{Markup, html};

use crate::expect::Severity;
use crate::record::{RunRecord, RunState};
use crate::verdict::Verdict;

use super::document::{self, Banner};
use super::format;

/// How a verdict looks and reads.
#[derive(Clone, Copy)]
pub(super) struct Face {
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) word: &'static str,
}

/// What a run came to, in one word, for the title of the page too.
pub(super) fn word(record: &RunRecord) -> &'static str {
    face(record.verdict, record.state).word
}

/// How a verdict looks; without one, how far it got.
pub(super) fn face(verdict: Option<Verdict>, state: RunState) -> Face {
    let (class, sign, word) = match (verdict, state) {
        (Some(Verdict::Pass), _) => ("pass", "✓", "PASS"),
        (Some(Verdict::Fail), _) => ("fail", "✗", "FAIL"),
        (Some(Verdict::Violation), _) => ("violation", "‼", "VIOLATION"),
        (Some(Verdict::Inconclusive), _) => ("inconclusive", "?", "INCONCLUSIVE"),
        (None, RunState::Running) => ("none", "…", "DID NOT FINISH"),
        (None, RunState::Aborted) => ("none", "■", "ABORTED"),
        (None, RunState::Done) => ("none", "–", "NO VERDICT"),
    };
    Face { class, sign, word }
}

/// The banner.
pub(super) fn banner(record: &RunRecord) -> Markup {
    let not_verified = || {
        html! { p class="stamp" { "NOT VERIFIED" span { (why_not_verified(record)) } } }
    };
    document::banner(&Banner {
        face: face(record.verdict, record.state),
        name: &record.name,
        stamp: record.verify.is_none().then(not_verified),
        sentence: sentence(record),
        reasons: &record.reasons,
        description: None,
        facts: &facts(record),
    })
}

fn facts(record: &RunRecord) -> [(&'static str, Option<String>); 8] {
    let exit = record.exit_code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    let warm_up = match (record.warmup_s, record.warm) {
        (None, _) => "did not end".to_owned(),
        (Some(0.0), _) => "none".to_owned(),
        (Some(s), None) => format::seconds(s),
        (Some(s), Some(true)) => format!("{}, until stable", format::seconds(s)),
        (Some(s), Some(false)) => format!("{}, not stable", format::seconds(s)),
    };
    let load = record.windows.get("all").map(|w| format::seconds(w.to_s - w.from_s));
    [
        ("run", Some(record.run_id.clone())),
        ("started", Some(record.started_at.clone())),
        ("took", (record.wall_s > 0.0).then(|| format::seconds(record.wall_s))),
        ("load", load),
        ("warm-up", Some(warm_up)),
        ("seed", Some(record.seed.to_string())),
        ("exit code", Some(exit)),
        ("Kafka", record.environment.kafka.clone()),
    ]
}

fn why_not_verified(record: &RunRecord) -> &'static str {
    if record.verdict.is_some() || record.state == RunState::Done {
        "no record was checked: verify is off"
    } else {
        "the run ended before its records were judged"
    }
}

fn sentence(record: &RunRecord) -> String {
    let Some(verdict) = record.verdict else {
        return match record.state {
            RunState::Running => {
                "This run is still going on, or its process died. What follows is what it had written until then."
                    .to_owned()
            }
            RunState::Aborted | RunState::Done => {
                "This run ended before it could be judged. What follows is what it had measured until then."
                    .to_owned()
            }
        };
    };
    let judged: Vec<_> = record.expect.iter().filter(|e| e.detail.severity == Severity::Fail).collect();
    let of = |ok| judged.iter().filter(|e| e.ok == ok).count();
    let expectations = match (judged.len(), of(Some(true)), of(Some(false)), of(None)) {
        (0, ..) => "There was no expectation to hold".to_owned(),
        (all, held, ..) if all == held => format!("All {all} expectations held"),
        (all, held, 0, unknown) => format!("{held} of {all} expectations held, {unknown} can't be said"),
        (all, held, broken, 0) => format!("{held} of {all} expectations held, {broken} broken"),
        (all, held, broken, unknown) => {
            format!("{held} of {all} expectations held, {broken} broken, {unknown} can't be said")
        }
    };
    format!("{expectations}; {}", correctness(record, verdict))
}

fn correctness(record: &RunRecord, verdict: Verdict) -> String {
    let Some(counts) = &record.verify else {
        return "no record was checked.".to_owned();
    };
    let guarantee = record.guarantee.as_deref().unwrap_or("none");
    let checked = format!(
        "{} records acked, {} read and checked",
        format::count(counts.acked),
        format::count(counts.checked)
    );
    if verdict == Verdict::Violation {
        format!("the guarantee ({guarantee}) was violated: {checked}.")
    } else {
        format!("the guarantee ({guarantee}) was not violated: {checked}.")
    }
}
