//! How long the cluster took to recover from a fault. Pure: from records, history and acks to numbers.
//!
//! - `leader_elected`, `controller_elected`, `first_ack` start when the fault *took effect*;
//! - `isr_full` starts when healing *began*, so that a long outage does not eat its budget;
//! - `unavailable_*` are lengths of gaps between acks, wherever they start.
//!
//! What a victim led is what it led when the fault was *injected*: a broker that is stopped in order hands over before it is
//! gone. Its leaders are then elected before the effect, which counts as 0 seconds.
//!
//! Times come from polls, so each is late by up to the watcher's interval (100 ms), never early.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fault::FaultRecord;
use crate::history::{CONFIRM_NS, ClusterHistory, Distrust, PartitionState, TopicPartition};
use crate::journal::UndoAction;

/// How long after its heal a victim that was resumed or connected again may still tell what was true before: until its metadata has caught up. A resumed
/// voter first loses its fetch session and may have to find the leader again (quorum fetch timeout 2 s, election timeout 1 s).
/// One that was started anew needs no such time: it is whole when it lists itself, and it lists itself only once it has read
/// of its own registration, which comes after its loss.
const CATCH_UP_NS: u64 = 5_000_000_000;

/// How long something took, or why there is no such number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryTime {
    /// It happened, after so many seconds.
    Seconds(f64),
    /// It did not happen as long as anybody looked.
    Never,
    /// There was nothing to recover, e.g. the victim led no partition.
    NotAffected,
    /// Nobody can say: the fault was not seen to act, or nobody was watching.
    Unknown,
}

impl RecoveryTime {
    /// The number, if there is one.
    #[must_use]
    pub fn seconds(self) -> Option<f64> {
        match self {
            Self::Seconds(seconds) => Some(seconds),
            Self::Never | Self::NotAffected | Self::Unknown => None,
        }
    }

    /// The worse of two. What certainly never happened is worse than what nobody can say, and that than any number.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::NotAffected, known) | (known, Self::NotAffected) => known,
            (Self::Seconds(one), Self::Seconds(two)) => Self::Seconds(one.max(two)),
        }
    }

    fn between(from_ns: u64, to_ns: u64) -> Self {
        Self::Seconds(seconds(to_ns.saturating_sub(from_ns)))
    }
}

/// A time without acks on a partition; CLOCK_MONOTONIC, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AckGap {
    /// The last ack before it.
    pub last_ack_ns: u64,
    /// The first ack after it; `None`: there was none until load ended.
    pub next_ack_ns: Option<u64>,
}

impl AckGap {
    fn overlaps(&self, from_ns: u64, to_ns: u64) -> bool {
        self.last_ack_ns < to_ns && self.next_ack_ns.is_none_or(|next_ns| next_ns > from_ns)
    }

    fn length_ns(&self) -> Option<u64> {
        Some(self.next_ack_ns?.saturating_sub(self.last_ack_ns))
    }
}

/// The gaps between acks of each partition that was produced to, in order of time. The load engine lists those longer than
/// what it calls an interruption; shorter ones count as none. A partition without producers is not in it.
pub type AckGaps = BTreeMap<TopicPartition, Vec<AckGap>>;

/// The recovery clocks of one fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultClocks {
    /// Name of the fault.
    pub fault: String,
    /// Took effect until the quorum has a leader of a higher epoch, if the victim was the active controller.
    pub controller_elected: RecoveryTime,
    /// Took effect until every partition that the victim led has a leader of a higher epoch that serves: another broker, or
    /// the victim once healed. The slowest partition counts.
    pub leader_elected: RecoveryTime,
    /// Took effect until acks flow again, on the slowest partition of which the victim was a replica.
    pub first_ack: RecoveryTime,
    /// Healing began until all watched partitions have all replicas in sync, seen by a broker that was not the victim.
    pub isr_full: RecoveryTime,
    /// Longest gap between acks that overlaps the time from injection until the ISR is full, on the worst partition.
    pub unavailable_longest: RecoveryTime,
    /// Sum of those gaps, on the worst partition.
    pub unavailable_total: RecoveryTime,
    /// The same for each partition that was watched or produced to.
    pub partitions: Vec<PartitionClocks>,
}

/// The recovery clocks of one fault on one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionClocks {
    /// Which.
    pub partition: TopicPartition,
    /// As in [`FaultClocks`]; not affected if the victim did not lead it.
    pub leader_elected: RecoveryTime,
    /// As in [`FaultClocks`]; not affected if the victim was no replica or nobody produced. 0 if acks were not interrupted.
    pub first_ack: RecoveryTime,
    /// As in [`FaultClocks`]; not affected if nobody produced. 0 if acks were not interrupted.
    pub unavailable_longest: RecoveryTime,
    /// As in [`FaultClocks`].
    pub unavailable_total: RecoveryTime,
}

/// A fault that acted: what all clocks start from.
struct Acted<'a> {
    victims: &'a [i32],
    injected_ns: u64,
    took_effect_ns: u64,
    heal_began_ns: Option<u64>,
    healed_ns: Option<u64>,
    heal_failed: bool,
}

/// Computes the clocks of all faults of a run, in the order of `records`, which must be all of them: the victim of one is no
/// witness for another.
#[must_use]
pub fn recovery_clocks(
    records: &[FaultRecord],
    history: &ClusterHistory,
    acks: &AckGaps,
) -> Vec<FaultClocks> {
    let distrust = distrust_victims(records);
    let seen = Seen { history, distrust: &distrust, acks };
    records.iter().map(|record| clocks_of(record, &seen)).collect()
}

/// Nobody is believed about the ISR from when a fault hit it until its metadata has caught up after the heal.
#[must_use]
pub fn distrust_victims(records: &[FaultRecord]) -> Distrust {
    let mut distrust = Distrust::default();
    for record in records {
        // Injected without a time is a fault that failed half-way: it began to heal at once.
        let from_ns = record.injected_ns.or(record.heal_began_ns);
        if let (Some(target), Some(from_ns)) = (&record.target, from_ns) {
            let catch_up_ns = match record.action.undo() {
                Some(UndoAction::Resume | UndoAction::Reconnect | UndoAction::TakeBack) => CATCH_UP_NS,
                // An operation makes nobody unbelievable: it has no victims.
                Some(UndoAction::Start) | None => 0,
            };
            let to_ns = record.healed_ns.map_or(u64::MAX, |healed_ns| healed_ns.saturating_add(catch_up_ns));
            for node in &target.nodes {
                distrust.add(*node, from_ns, to_ns);
            }
        }
    }
    distrust
}

/// All that was seen of the run.
struct Seen<'a> {
    history: &'a ClusterHistory,
    distrust: &'a Distrust,
    acks: &'a AckGaps,
}

impl Seen<'_> {
    /// Whether what was not seen did not happen: somebody looked at `at_ns` or later, and nothing is missing.
    fn was_watched(&self, at_ns: u64) -> bool {
        self.history.cut_ns().is_none() && self.history.watched_at(at_ns, self.distrust)
    }
}

/// All are unknown if the fault was not seen to act.
fn clocks_of(record: &FaultRecord, seen: &Seen<'_>) -> FaultClocks {
    let acted = || {
        Some(Acted {
            victims: &record.target.as_ref()?.nodes,
            injected_ns: record.injected_ns?,
            took_effect_ns: record.took_effect_ns?,
            heal_began_ns: record.heal_began_ns,
            healed_ns: record.healed_ns,
            heal_failed: record.heal_error.is_some(),
        })
    };
    match acted() {
        Some(acted) => measure(&record.name, &acted, seen),
        None => FaultClocks {
            fault: record.name.clone(),
            controller_elected: RecoveryTime::Unknown,
            leader_elected: RecoveryTime::Unknown,
            first_ack: RecoveryTime::Unknown,
            isr_full: RecoveryTime::Unknown,
            unavailable_longest: RecoveryTime::Unknown,
            unavailable_total: RecoveryTime::Unknown,
            partitions: Vec::new(),
        },
    }
}

fn measure(fault: &str, acted: &Acted<'_>, seen: &Seen<'_>) -> FaultClocks {
    let isr_full = isr_full(acted, seen);
    let until_ns = match (isr_full, acted.heal_began_ns) {
        (RecoveryTime::Seconds(seconds), Some(heal_began_ns)) => {
            heal_began_ns.saturating_add(nanoseconds(seconds))
        }
        // Never full again: every later gap belongs to this fault.
        _ => u64::MAX,
    };
    let watched = seen.history.partitions();
    let produced_only = seen.acks.keys().filter(|partition| !watched.contains(partition));
    let partitions: Vec<PartitionClocks> = watched
        .iter()
        .chain(produced_only)
        .map(|partition| measure_partition(partition, acted, until_ns, seen))
        .collect();
    let worst = |clock: fn(&PartitionClocks) -> RecoveryTime| {
        partitions.iter().map(clock).fold(RecoveryTime::NotAffected, RecoveryTime::worse)
    };
    FaultClocks {
        fault: fault.to_owned(),
        controller_elected: controller_elected(acted, until_ns, seen),
        // Nothing was ever seen: then "it led nothing" is not known either.
        leader_elected: if watched.is_empty() { RecoveryTime::Unknown } else { worst(|p| p.leader_elected) },
        first_ack: worst(|p| p.first_ack),
        isr_full,
        unavailable_longest: worst(|p| p.unavailable_longest),
        unavailable_total: worst(|p| p.unavailable_total),
        partitions,
    }
}

fn measure_partition(
    partition: &TopicPartition,
    acted: &Acted<'_>,
    until_ns: u64,
    seen: &Seen<'_>,
) -> PartitionClocks {
    let before = seen.history.state_at(partition, acted.injected_ns);
    let gaps = seen.acks.get(partition);
    let (longest, total) =
        (unavailable_longest(acted, until_ns, gaps), unavailable_total(acted, until_ns, gaps));
    PartitionClocks {
        partition: partition.clone(),
        leader_elected: leader_elected(partition, before, acted, until_ns, seen),
        first_ack: first_ack(before, acted, gaps),
        unavailable_longest: longest,
        unavailable_total: total,
    }
}

fn controller_elected(acted: &Acted<'_>, until_ns: u64, seen: &Seen<'_>) -> RecoveryTime {
    match seen.history.controller_at(acted.injected_ns) {
        None => RecoveryTime::Unknown,
        Some((controller, _)) if !acted.victims.contains(&controller) => RecoveryTime::NotAffected,
        Some((_, epoch)) => {
            let elected = seen.history.controller_elected_at(acted.injected_ns, epoch);
            elected_by(until_ns, elected, acted, seen)
        }
    }
}

fn leader_elected(
    partition: &TopicPartition,
    before: Option<&PartitionState>,
    acted: &Acted<'_>,
    until_ns: u64,
    seen: &Seen<'_>,
) -> RecoveryTime {
    let Some(before) = before else { return RecoveryTime::Unknown };
    if !before.leader.is_some_and(|leader| acted.victims.contains(&leader)) {
        return RecoveryTime::NotAffected;
    }
    let elected = seen.history.leader_elected_at(
        partition,
        acted.injected_ns,
        before.leader_epoch,
        acted.victims,
        acted.heal_began_ns,
    );
    elected_by(until_ns, elected, acted, seen)
}

/// If all is whole again at `until_ns` and nobody was elected so far, the victim has led all the time: what is elected later has another
/// cause.
fn elected_by(until_ns: u64, elected_ns: Option<u64>, acted: &Acted<'_>, seen: &Seen<'_>) -> RecoveryTime {
    if until_ns < u64::MAX && elected_ns.is_none_or(|elected_ns| elected_ns > until_ns) {
        return RecoveryTime::NotAffected;
    }
    found_or_never(elected_ns, acted.took_effect_ns, seen)
}

/// What was not seen did not happen, provided that somebody looked after the fault took effect.
fn found_or_never(found_ns: Option<u64>, from_ns: u64, seen: &Seen<'_>) -> RecoveryTime {
    match found_ns {
        Some(found_ns) => RecoveryTime::between(from_ns, found_ns),
        None if seen.was_watched(from_ns) => RecoveryTime::Never,
        None => RecoveryTime::Unknown,
    }
}

/// Looked for only once the victim was whole: before that, the metadata may not have noticed yet that it was gone.
fn isr_full(acted: &Acted<'_>, seen: &Seen<'_>) -> RecoveryTime {
    match (acted.heal_began_ns, acted.healed_ns) {
        (Some(heal_began_ns), Some(healed_ns)) => match seen.history.isr_full_at(healed_ns, seen.distrust) {
            Some(full_ns) => RecoveryTime::between(heal_began_ns, full_ns),
            None if seen.was_watched(healed_ns.saturating_add(CONFIRM_NS)) => RecoveryTime::Never,
            None => RecoveryTime::Unknown,
        },
        _ if acted.heal_failed => RecoveryTime::Never,
        _ => RecoveryTime::Unknown,
    }
}

/// The end of the interruption: of the longest gap that overlaps the time from injection to heal. Not simply the first ack
/// after the effect: acks that were under way when the victim died still arrive after it.
fn first_ack(before: Option<&PartitionState>, acted: &Acted<'_>, gaps: Option<&Vec<AckGap>>) -> RecoveryTime {
    let (Some(before), Some(gaps)) = (before, gaps) else {
        return if gaps.is_none() { RecoveryTime::NotAffected } else { RecoveryTime::Unknown };
    };
    if !before.replicas.iter().any(|replica| acted.victims.contains(replica)) {
        return RecoveryTime::NotAffected;
    }
    let until_ns = acted.heal_began_ns.unwrap_or(u64::MAX);
    // A gap that never ended is the longest of all.
    let length_ns = |gap: &&AckGap| gap.length_ns().unwrap_or(u64::MAX);
    let overlapping = gaps.iter().filter(|gap| gap.overlaps(acted.injected_ns, until_ns));
    match overlapping.max_by_key(length_ns).map(|gap| gap.next_ack_ns) {
        Some(Some(next_ack_ns)) => RecoveryTime::between(acted.took_effect_ns, next_ack_ns),
        Some(None) => RecoveryTime::Never,
        None => RecoveryTime::Seconds(0.0),
    }
}

fn unavailable_longest(acted: &Acted<'_>, until_ns: u64, gaps: Option<&Vec<AckGap>>) -> RecoveryTime {
    fold_gaps(acted, until_ns, gaps, u64::max)
}

fn unavailable_total(acted: &Acted<'_>, until_ns: u64, gaps: Option<&Vec<AckGap>>) -> RecoveryTime {
    fold_gaps(acted, until_ns, gaps, u64::saturating_add)
}

fn fold_gaps(
    acted: &Acted<'_>,
    until_ns: u64,
    gaps: Option<&Vec<AckGap>>,
    combine: fn(u64, u64) -> u64,
) -> RecoveryTime {
    let Some(gaps) = gaps else { return RecoveryTime::NotAffected };
    let overlapping = gaps.iter().filter(|gap| gap.overlaps(acted.injected_ns, until_ns));
    let combined_ns =
        overlapping.map(AckGap::length_ns).try_fold(0, |sum, length_ns| Some(combine(sum, length_ns?)));
    combined_ns.map_or(RecoveryTime::Never, |total_ns| RecoveryTime::Seconds(seconds(total_ns)))
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[cfg(test)]
mod tests;
