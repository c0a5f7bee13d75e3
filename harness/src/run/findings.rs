//! What the checkers of all partitions found, together, and what that means under a guarantee. The same for a run that has just ended and
//! for one whose history is read again.

use std::collections::BTreeMap;

use gauntlet_reports::ExitReason;
use gauntlet_reports::record::{FindingRecord, Reason, VerifyCounts};
use gauntlet_verify::{
    Context, Evidence, FindingClass, Guarantee, Judgement, Order, PartitionReport, Summary, judge,
};
use serde::Serialize;

use crate::load::reader::ReaderEnd;
use crate::plan::{DriverPlan, Plan, ReaderBlock};

/// What takes more than a client that is not ours shows as a reader: which replica told a watermark, in which leader epoch; and
/// the headers of batches.
const NOT_SHOWN_BY_OTHERS: [FindingClass; 6] = [
    FindingClass::HighWatermarkRegression,
    FindingClass::LastStableOffsetRegression,
    FindingClass::DuplicateAfterEpochBump,
    FindingClass::SequenceGap,
    FindingClass::SequenceRepeat,
    FindingClass::ZombieWrite,
];

/// What can't be told from what compaction, or a client that hides markers, leaves out.
const NOT_WITH_GAPS: [FindingClass; 2] = [FindingClass::PositionSkip, FindingClass::ReadDisagreement];

/// The names of the classes that the readers of a plan can't look for.
pub(super) fn not_looked_for(plan: &Plan) -> Vec<String> {
    if plan.verify.is_none() {
        return Vec::new();
    }
    let shows_less = plan.readers.iter().any(|block| block.driver != DriverPlan::Wire);
    let is_unread = |topic: &usize| plan.readers.iter().all(|block| block.topic != *topic);
    let final_reads = (0..plan.topics.len()).filter(is_unread).map(ReaderBlock::for_final_read);
    let has_gaps = plan.readers.iter().cloned().chain(final_reads).any(|block| !plan.is_gapless(&block));
    let not_shown = NOT_SHOWN_BY_OTHERS.iter().filter(|_| shows_less);
    not_shown.chain(NOT_WITH_GAPS.iter().filter(|_| has_gaps)).map(ToString::to_string).collect()
}

/// A guarantee in the words of its parts.
pub fn guarantee_in_words(guarantee: &Guarantee) -> String {
    let mut parts = Vec::new();
    if guarantee.durable {
        parts.push("durable");
    }
    if guarantee.unique {
        parts.push("unique");
    }
    match guarantee.ordered {
        Order::All => parts.push("ordered"),
        Order::Acked => parts.push("ordered among acked records"),
        Order::None => {}
    }
    if guarantee.atomic {
        parts.push("atomic");
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// The findings of a run with their witnesses, as `violations.json` keeps them.
#[derive(Serialize)]
struct Findings<'a> {
    summary: &'a Summary,
    partitions: &'a [PartitionCounts],
    evidence: &'a Evidence,
    broken_batches: &'a [String],
}

/// What became of the records of one partition: enough to compare it with somebody else's count of its log, which holds
/// `acked - lost + duplicates + indeterminate_present + unacknowledged_present + failed_but_present` of the run's records.
#[derive(Serialize)]
struct PartitionCounts {
    topic: String,
    partition: u32,
    /// Where reading ended.
    position: i64,
    acked: u64,
    lost: u64,
    duplicates: u64,
    indeterminate_present: u64,
    unacknowledged_present: u64,
    failed_but_present: u64,
    corrupt: u64,
    checked: u64,
}

impl From<&PartitionReport> for PartitionCounts {
    fn from(report: &PartitionReport) -> Self {
        let summary = &report.summary;
        PartitionCounts {
            topic: report.topic.clone(),
            partition: report.partition,
            position: report.end.position,
            acked: summary.acked,
            lost: summary.lost,
            duplicates: summary.duplicates,
            indeterminate_present: summary.indeterminate_present,
            unacknowledged_present: summary.unacknowledged_present,
            failed_but_present: summary.failed_but_present,
            corrupt: summary.corrupt,
            checked: summary.checked,
        }
    }
}

/// All partitions together.
pub(crate) struct Checked {
    summary: Summary,
    partitions: Vec<PartitionCounts>,
    evidence: Evidence,
    /// Topics with their counts, by name.
    topics: BTreeMap<String, Summary>,
    /// Partitions that were not read to their end, in words.
    short: Vec<String>,
    /// Batches that could not be read, some of them in words.
    broken: Vec<String>,
    broken_batches: u64,
}

/// What it means.
pub(crate) struct Judged {
    pub(crate) findings: Vec<FindingRecord>,
    pub(crate) violations: u64,
    /// What speaks against the cluster, or against gauntlet itself.
    pub(crate) reasons: Vec<Reason>,
    /// What is not known, so that nothing is proved.
    pub(crate) unknowns: Vec<String>,
}

impl Checked {
    /// Nothing yet; `examples_max` examples will be kept of each class.
    pub(crate) fn new(examples_max: usize) -> Self {
        Checked {
            summary: Summary::default(),
            partitions: Vec::new(),
            evidence: Evidence::new(examples_max),
            topics: BTreeMap::new(),
            short: Vec::new(),
            broken: Vec::new(),
            broken_batches: 0,
        }
    }

    /// What the readers of a run found.
    pub(super) fn of(readers: &[ReaderEnd], examples_max: usize) -> Self {
        let mut all = Checked::new(examples_max);
        for reader in readers {
            reader.reports.iter().for_each(|report| all.add(report));
            all.add_broken(&reader.broken, reader.broken_batches);
        }
        all
    }

    /// Adds a partition.
    pub(crate) fn add(&mut self, report: &PartitionReport) {
        self.summary.merge(&report.summary);
        self.partitions.push(report.into());
        self.evidence.merge(&report.evidence);
        self.topics.entry(report.topic.clone()).or_default().merge(&report.summary);
        let end = &report.end;
        if end.position < end.end_offset {
            let (topic, partition) = (&report.topic, report.partition);
            self.short
                .push(format!("{topic}-{partition} was read to {} of {}", end.position, end.end_offset));
        }
    }

    /// Adds batches that could not be read: some in words, and how many there are.
    pub(crate) fn add_broken(&mut self, in_words: &[String], count: u64) {
        self.broken.extend_from_slice(in_words);
        self.broken_batches += count;
    }

    /// Every count.
    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The counts that a record shows.
    pub(crate) fn counts(&self) -> VerifyCounts {
        let summary = &self.summary;
        VerifyCounts {
            lost: summary.lost,
            duplicates: summary.duplicates,
            reordered: summary.reordered,
            corrupt: summary.corrupt,
            misrouted: summary.misrouted,
            phantom: summary.phantom,
            failed_but_present: summary.failed_but_present,
            inconsistent_offsets: summary.inconsistent_offsets,
            unseen: summary.unseen,
            expired: summary.expired,
            compacted: summary.compacted,
            resurrected_keys: summary.resurrected_keys,
            checked: summary.checked,
            acked: summary.acked,
            position_skips: summary.position_skips,
            position_steps_back: summary.position_steps_back,
            read_disagreements: summary.read_disagreements,
            read_again: summary.read_again,
        }
    }

    /// Counts and witnesses, as `violations.json` keeps them.
    pub(crate) fn to_json(&self) -> std::io::Result<Vec<u8>> {
        let findings = Findings {
            summary: &self.summary,
            partitions: &self.partitions,
            evidence: &self.evidence,
            broken_batches: &self.broken,
        };
        serde_json::to_vec_pretty(&findings).map_err(std::io::Error::from)
    }

    /// Holds what was found against a guarantee.
    pub(crate) fn judge(&self, guarantee: &Guarantee, unclean_election: bool) -> Judged {
        let context = Context { unclean_election, ..Context::PLAIN };
        let mut judged =
            Judged { findings: Vec::new(), violations: 0, reasons: Vec::new(), unknowns: Vec::new() };
        for class in FindingClass::ALL {
            let count = self.summary.count_of(*class).unwrap_or(0);
            if count == 0 {
                continue;
            }
            let judgement = judge(*class, guarantee, &context);
            if judgement == Judgement::Violation {
                judged.violations += count;
                judged
                    .reasons
                    .push(Reason { exit: ExitReason::Violation, text: format!("{count} x {class}") });
            }
            let exemplars = self.evidence.get(*class);
            judged.findings.push(FindingRecord {
                class: class.to_string(),
                count,
                judgement: match judgement {
                    Judgement::Violation => "violation",
                    Judgement::Expected => "expected",
                    Judgement::NotAFinding => "not_a_finding",
                }
                .to_owned(),
                examples: exemplars
                    .map_or_else(Vec::new, |e| e.first().iter().map(ToString::to_string).collect()),
            });
        }
        self.judge_reading(&mut judged);
        judged
    }

    /// What the reading itself says: batches that can't be read, logs that were not read to their end, topics on
    /// which nothing happened, and faults of our own.
    fn judge_reading(&self, judged: &mut Judged) {
        let reasons = &mut judged.reasons;
        if self.broken_batches > 0 {
            judged.violations += self.broken_batches;
            reasons.push(Reason {
                exit: ExitReason::Violation,
                text: format!(
                    "{} batches could not be read; the first: {}",
                    self.broken_batches,
                    self.broken.first().map_or("?", String::as_str)
                ),
            });
        }
        judged.unknowns.extend(self.short.iter().map(|s| format!("not read to the end: {s}")));
        if self.summary.degraded {
            judged
                .unknowns
                .push("the checker ran out of its share of memory; a clean result proves nothing".to_owned());
        }
        let ours = self.summary.settled_twice + self.summary.reread;
        if ours > 0 {
            reasons.push(Reason {
                exit: ExitReason::InternalError,
                text: format!("{ours} records were settled or read twice by gauntlet itself; this is a bug"),
            });
        }
        for (topic, summary) in &self.topics {
            let sent = summary.acked + summary.unacknowledged;
            if sent == 0 || summary.checked == 0 {
                reasons.push(Reason {
                    exit: ExitReason::ExpectationFailed,
                    text: format!(
                        "{topic}: {} records acked, {} checked; both must be above 0",
                        summary.acked, summary.checked
                    ),
                });
            }
        }
    }
}
