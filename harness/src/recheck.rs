//! The check of a run once more, from its history, by the rules of this gauntlet (`gauntlet recheck`).
//!
//! Only the check: expectations on latencies and the like stay as the run left them. `run.json` is not touched.

use std::collections::BTreeMap;

use gauntlet_reports::record::{FindingRecord, Reason, RunRecord, VerifyCounts};
use gauntlet_reports::{ExitReason, Verdict};
use gauntlet_verify::history::Replay;
use serde::{Deserialize, Serialize};

use crate::history::{self, FileEnd, Head, HistoryFileError};
use crate::run::{Checked, Judged, guarantee_in_words};
use crate::rundir::{RECHECK_JSON, RUN_JSON, RunDir, RunDirError};

/// What came of it, as `recheck.json` keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RecheckRecord {
    /// Id of the run.
    pub(crate) run_id: String,
    /// Version of the gauntlet that checked again.
    pub(crate) by: String,
    /// The verdict of the check alone.
    pub(crate) verdict: Verdict,
    /// What the run is judged by, in words.
    pub(crate) guarantee: String,
    /// Partitions with a history.
    pub(crate) partitions: usize,
    /// The history goes to the end of the run.
    pub(crate) complete: bool,
    /// The counts.
    pub(crate) verify: VerifyCounts,
    /// What was found, with examples.
    pub(crate) findings: Vec<FindingRecord>,
    /// What the clients that read could not show.
    pub(crate) not_looked_for: Vec<String>,
    /// Why the verdict is what it is.
    pub(crate) reasons: Vec<Reason>,
    /// What `run.json` says otherwise; `None` if it has no result of a check.
    pub(crate) differences: Option<Vec<Difference>>,
}

/// A count that is another one now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// Of what.
    pub(crate) what: String,
    /// As in `run.json`.
    pub(crate) then: u64,
    /// As counted now.
    pub(crate) now: u64,
}

impl RecheckRecord {
    /// The worst of its reasons.
    pub(crate) fn exit_reason(&self) -> ExitReason {
        ExitReason::worst(self.reasons.iter().map(|reason| reason.exit))
    }
}

/// A run that can't be checked again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecheckError {
    #[error(transparent)]
    History(#[from] HistoryFileError),
    #[error(transparent)]
    Dir(#[from] RunDirError),
    #[error("{RECHECK_JSON}: {0}")]
    Json(#[from] serde_json::Error),
}

/// Checks the run of a directory again, and writes `recheck.json` into it.
///
/// # Errors
/// There is no history, it can't be read, or the result can't be written.
pub(crate) fn recheck(dir: &RunDir) -> Result<RecheckRecord, RecheckError> {
    let mut replays: BTreeMap<(u16, u32), Replay> = BTreeMap::new();
    let (head, end) = history::read(dir, |reader, partition, events| {
        replays.entry((reader, partition)).or_default().tell(events).map_err(|error| error.to_string())
    })?;
    let record = judge(&head, end, replays, run_record(dir).as_ref());
    dir.replace(RECHECK_JSON, &serde_json::to_vec_pretty(&record)?)?;
    Ok(record)
}

/// What the run itself said; nothing if it died before.
pub(crate) fn run_record(dir: &RunDir) -> Option<RunRecord> {
    serde_json::from_slice(&dir.read(RUN_JSON).ok()?).ok()
}

fn judge(
    head: &Head,
    end: FileEnd,
    replays: BTreeMap<(u16, u32), Replay>,
    run: Option<&RunRecord>,
) -> RecheckRecord {
    let partitions = replays.len();
    let mut checked = Checked::new(head.examples_max);
    let mut cut_off = 0;
    for replayed in replays.into_values().filter_map(Replay::finish) {
        checked.add(&replayed.report);
        checked.add_broken(&replayed.unreadable, replayed.unreadable.len() as u64);
        cut_off += usize::from(!replayed.is_complete);
    }
    let Judged { findings, violations, mut reasons, mut unknowns } =
        checked.judge(&head.guarantee, head.unclean_election);
    unknowns.extend(incomplete(end, cut_off, partitions));
    let verdict = Verdict::fold(violations, &[], unknowns.len());
    reasons.extend(unknowns.into_iter().map(|text| Reason { exit: ExitReason::Inconclusive, text }));
    if reasons.is_empty() {
        reasons.push(Reason { exit: ExitReason::Pass, text: "the check found nothing wrong".to_owned() });
    }
    reasons.sort_by_key(|reason| reason.exit);
    let verify = checked.counts();
    RecheckRecord {
        run_id: head.run_id.clone(),
        by: env!("CARGO_PKG_VERSION").to_owned(),
        verdict,
        guarantee: guarantee_in_words(&head.guarantee),
        partitions,
        complete: end == FileEnd::Frame && cut_off == 0 && partitions > 0,
        differences: run.and_then(|run| Some(differences(run.verify.as_ref()?, run, &verify, &findings))),
        verify,
        findings,
        not_looked_for: head.not_looked_for.clone(),
        reasons,
    }
}

/// Why the history is not all that there was.
fn incomplete(end: FileEnd, cut_off: usize, partitions: usize) -> Option<String> {
    let why = match end {
        _ if partitions == 0 => return Some("the history ends before any record was checked".to_owned()),
        FileEnd::Full => "it came to `verify.history_max`",
        FileEnd::Torn => "the run was killed while it wrote",
        FileEnd::Frame if cut_off > 0 => "the run did not come to its end",
        FileEnd::Frame => return None,
    };
    Some(format!(
        "the history of {cut_off} of {partitions} partitions is cut off: {why}; what followed is not known"
    ))
}

/// Counts and findings that `run.json` has otherwise.
fn differences(
    then: &VerifyCounts,
    run: &RunRecord,
    now: &VerifyCounts,
    findings: &[FindingRecord],
) -> Vec<Difference> {
    let mut pairs: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let counts = |counts: &VerifyCounts| -> Vec<(String, u64)> {
        let fields = serde_json::to_value(counts).ok();
        let fields = fields.as_ref().and_then(|value| value.as_object()).into_iter().flatten();
        fields.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
    };
    for (name, count) in counts(then) {
        pairs.entry(name).or_default().0 = count;
    }
    for (name, count) in counts(now) {
        pairs.entry(name).or_default().1 = count;
    }
    for finding in &run.findings {
        pairs.entry(format!("{} ({})", finding.class, finding.judgement)).or_default().0 = finding.count;
    }
    for finding in findings {
        pairs.entry(format!("{} ({})", finding.class, finding.judgement)).or_default().1 = finding.count;
    }
    let differ = pairs.into_iter().filter(|(_, (then, now))| then != now);
    differ.map(|(what, (then, now))| Difference { what, then, now }).collect()
}

#[cfg(test)]
mod tests;
