//! The definitions, taken literally: whole history in maps, one question per record.

use std::collections::{BTreeMap, BTreeSet};

use gauntlet_verify::{BatchHeader, Outcome, StreamKey, Summary};

use crate::history::{Content, Event, History, LogRecord};

type Id = (StreamKey, u64);

#[derive(Default)]
struct Facts {
    outcome: BTreeMap<Id, Outcome>,
    /// Offset the ack gave to each record.
    acked_at: BTreeMap<Id, i64>,
    /// (first record, offset, when it came, how many records) of each ack that gave both.
    acks: Vec<(Id, i64, u64, u64)>,
    /// (end offset, when its latest record was sent) of each run of neighbours of one stream in one batch.
    runs: Vec<(i64, u64)>,
    read: BTreeMap<i64, Content>,
    /// All offsets of a record, in reading order.
    places: BTreeMap<Id, Vec<i64>>,
    /// Producer id and epoch of the batch at each offset.
    origin: BTreeMap<i64, (i64, i16)>,
    /// Newest epoch of each producer id, and whether and which sequence is due.
    producers: BTreeMap<i64, (i16, Option<i64>)>,
    expired: BTreeSet<i64>,
    position: i64,
    log_start: i64,
    summary: Summary,
}

/// What a perfect checker reports.
pub(crate) fn judge(history: &History) -> Summary {
    let mut facts = gather(history);
    facts.position = facts.position.max(history.end.position);
    count_settled(&mut facts);
    count_read(&mut facts, history.created_by_run);
    count_order(&mut facts);
    count_real_time(&mut facts);
    let ids: Vec<Id> = facts.outcome.keys().copied().collect();
    for id in ids {
        judge_record(&mut facts, history, id);
    }
    facts.summary
}

fn gather(history: &History) -> Facts {
    let mut facts = Facts::default();
    let mut epoch = i32::MIN;
    for event in &history.events {
        match event {
            Event::Settle(s) => {
                if let (Outcome::Acked { base_offset: Some(base) }, 1..) = (s.outcome, s.settled_ns) {
                    let first = (s.stream, s.first_pseq);
                    facts.acks.push((first, base, s.settled_ns, u64::from(s.count)));
                }
                for index in 0..u64::from(s.count) {
                    let id = (s.stream, s.first_pseq + index);
                    facts.outcome.insert(id, s.outcome);
                    if let Outcome::Acked { base_offset: Some(base) } = s.outcome {
                        facts.acked_at.insert(id, base + index as i64);
                    }
                }
            }
            Event::LogStart(offset) => facts.log_start = *offset,
            Event::Advance(position) => skip(&mut facts, history, *position),
            Event::Batch(header, records) => {
                skip(&mut facts, history, header.base_offset);
                facts.summary.batches += 1;
                count_sequence(&mut facts, header);
                facts.summary.leader_epoch_regressions += u64::from(header.leader_epoch < epoch);
                epoch = header.leader_epoch;
                facts.runs.extend(runs_of(records));
                for record in records {
                    facts.read.insert(record.offset, record.content);
                    facts.origin.insert(record.offset, (header.producer_id, header.producer_epoch));
                    if let Content::Ours(stream, pseq, _) = record.content {
                        facts.places.entry((stream, pseq)).or_default().push(record.offset);
                    }
                }
                let is_there = |offset: &i64| records.iter().any(|record| record.offset == *offset);
                let absent = (header.base_offset..=header.last_offset).filter(|offset| !is_there(offset));
                count_skips(&mut facts, history, absent);
                facts.position = header.last_offset + 1;
            }
        }
    }
    facts
}

/// Neighbours of one stream, whose order among each other is another rule's matter.
fn runs_of(records: &[LogRecord]) -> Vec<(i64, u64)> {
    let mut runs: Vec<(i64, u64)> = Vec::new();
    let mut last = None;
    for record in records {
        let Content::Ours(stream, pseq, sent_ns) = record.content else {
            last = None;
            continue;
        };
        let goes_on = last == Some((stream, pseq.wrapping_sub(1), record.offset - 1));
        match runs.last_mut() {
            Some(run) if goes_on => *run = (record.offset + 1, run.1.max(sent_ns)),
            _ => runs.push((record.offset + 1, sent_ns)),
        }
        last = Some((stream, pseq, record.offset));
    }
    runs
}

fn count_real_time(facts: &mut Facts) {
    for &((stream, first_pseq), offset, acked_ns, count) in &facts.acks {
        let sent_later = facts.runs.iter().any(|(end, sent_ns)| *end <= offset && *sent_ns > acked_ns);
        let is_there = |index: &u64| {
            let read = facts.read.get(&(offset + *index as i64));
            matches!(read, Some(Content::Ours(s, pseq, _)) if (*s, *pseq) == (stream, first_pseq + index))
        };
        let there = (0..count).filter(is_there).count() as u64;
        facts.summary.real_time_order += if sent_later { there } else { 0 };
    }
}

fn count_skips(facts: &mut Facts, history: &History, absent: impl Iterator<Item = i64>) {
    let log_start = facts.log_start;
    let skipped = absent.filter(|offset| history.gapless && *offset >= log_start);
    facts.summary.position_skips += skipped.count() as u64;
}

fn skip(facts: &mut Facts, history: &History, position: i64) {
    if position > facts.position {
        facts.producers.values_mut().for_each(|(_, due)| *due = None);
    }
    count_skips(facts, history, facts.position..position);
    facts.expired.extend((facts.position..position).filter(|offset| *offset < facts.log_start));
    facts.position = facts.position.max(position);
}

fn count_sequence(facts: &mut Facts, header: &BatchHeader) {
    if header.producer_id < 0 {
        return;
    }
    let base = i64::from(header.base_sequence);
    let after = (base + header.last_offset - header.base_offset + 1) % (1 << 31);
    let (epoch, due) = facts.producers.entry(header.producer_id).or_insert((header.producer_epoch, None));
    if header.producer_epoch < *epoch {
        facts.summary.zombie_writes += 1;
        return;
    }
    if header.producer_epoch > *epoch {
        (*epoch, *due) = (header.producer_epoch, Some(0));
    }
    let Some(expected) = *due else {
        *due = Some(after);
        return;
    };
    // The shorter way around the circle decides what is ahead and what behind.
    let ahead = (base - expected).rem_euclid(1 << 31);
    if ahead >= 1 << 30 {
        facts.summary.sequence_repeats += 1;
        let ends_ahead = (after - expected).rem_euclid(1 << 31) < 1 << 30;
        *due = Some(if ends_ahead { after } else { expected });
    } else {
        facts.summary.sequence_gaps += u64::from(ahead > 0);
        *due = Some(after);
    }
}

fn count_settled(facts: &mut Facts) {
    for outcome in facts.outcome.values() {
        match outcome {
            Outcome::Acked { .. } => facts.summary.acked += 1,
            Outcome::Failed => facts.summary.failed += 1,
            Outcome::Indeterminate => facts.summary.indeterminate += 1,
            Outcome::Unacknowledged => facts.summary.unacknowledged += 1,
        }
    }
}

fn count_read(facts: &mut Facts, created_by_run: bool) {
    let summary = &mut facts.summary;
    for content in facts.read.values() {
        match content {
            Content::Ours(..) => summary.checked += 1,
            Content::Corrupt => summary.corrupt += 1,
            Content::Misrouted => summary.misrouted += 1,
            Content::Foreign if created_by_run => summary.phantom += 1,
            Content::Foreign => summary.foreign += 1,
        }
    }
    for (id, places) in &facts.places {
        summary.duplicates += places.len() as u64 - 1;
        let origins: Vec<_> = places.iter().map(|offset| facts.origin[offset]).collect();
        let resent = |pair: &&[(i64, i16)]| pair[0].0 >= 0 && pair[1].0 >= 0 && pair[0] != pair[1];
        summary.duplicates_after_epoch_bump += origins.windows(2).filter(resent).count() as u64;
        summary.phantom += u64::from(!facts.outcome.contains_key(id));
    }
}

fn count_order(facts: &mut Facts) {
    let is_acked = |id: &Id| matches!(facts.outcome.get(id), Some(Outcome::Acked { .. }));
    let first = |id: &Id| facts.places[id][0];
    for id in facts.places.keys() {
        let overtakers: Vec<&Id> = facts
            .places
            .keys()
            .filter(|other| other.0 == id.0 && other.1 > id.1 && first(other) < first(id))
            .collect();
        facts.summary.reordered += u64::from(!overtakers.is_empty());
        let among_acked = is_acked(id) && overtakers.into_iter().any(is_acked);
        facts.summary.reordered_acked += u64::from(among_acked);
    }
}

fn judge_record(facts: &mut Facts, history: &History, id: Id) {
    let seen = facts.places.contains_key(&id);
    match facts.outcome[&id] {
        Outcome::Failed => facts.summary.failed_but_present += u64::from(seen),
        Outcome::Indeterminate => facts.summary.indeterminate_present += u64::from(seen),
        Outcome::Unacknowledged if seen => facts.summary.unacknowledged_present += 1,
        Outcome::Unacknowledged => facts.summary.unacknowledged_absent += 1,
        Outcome::Acked { base_offset: None } => judge_unplaced(facts, history, id, seen),
        Outcome::Acked { .. } => judge_placed(facts, history, id, seen),
    }
}

fn judge_unplaced(facts: &mut Facts, history: &History, id: Id, seen: bool) {
    if seen {
        return;
    }
    let complete = facts.position >= history.end.end_offset;
    let later_seen = facts.places.keys().any(|other| other.0 == id.0 && other.1 > id.1);
    if !facts.expired.is_empty() {
        facts.summary.expired += 1;
    } else if complete || history.in_order && later_seen {
        facts.summary.lost += 1;
    } else {
        count_unseen(facts, history);
    }
}

fn judge_placed(facts: &mut Facts, history: &History, id: Id, seen: bool) {
    let offset = facts.acked_at[&id];
    let places = facts.places.get(&id).map_or(&[][..], Vec::as_slice);
    let complete = facts.position >= history.end.end_offset;
    let passed = offset < facts.position;
    if places.contains(&offset) || facts.read.get(&offset) == Some(&Content::Corrupt) {
        return;
    }
    if facts.expired.contains(&offset) || !passed && offset < facts.log_start {
        facts.summary.expired += u64::from(!seen);
    } else if !(passed || history.end.end_is_final && complete) {
        count_unseen(facts, history);
    } else if seen {
        facts.summary.inconsistent_offsets += 1;
    } else {
        facts.summary.lost += 1;
    }
}

fn count_unseen(facts: &mut Facts, history: &History) {
    facts.summary.unseen += 1;
    facts.summary.unseen_reader_limited += u64::from(history.end.reader_was_limit);
}
