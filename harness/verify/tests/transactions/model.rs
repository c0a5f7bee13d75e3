//! The definitions of the transactions' rules, taken literally: the whole history in vectors and maps, one question per batch.

use std::collections::{BTreeMap, BTreeSet};

use gauntlet_verify::transaction::{Answer, BatchKey, Config, End, Event, Source, TransactionKey};
use gauntlet_verify::{BatchHeader, FindingClass, Place, ReadEnd};

pub(crate) type Counts = BTreeMap<FindingClass, u64>;

struct Batch {
    key: BatchKey,
    count: u64,
    source: Option<Source>,
}

#[derive(Default)]
struct Transaction {
    version: u8,
    end_sent: Option<(End, u64)>,
    answer: Option<Answer>,
    batches: Vec<Batch>,
}

#[derive(Clone)]
struct Entry {
    header: BatchHeader,
    marker: Option<End>,
}

enum Reading {
    Of(Entry),
    CutOff(i64),
}

#[derive(Default)]
struct History {
    transactions: BTreeMap<TransactionKey, Transaction>,
    owner: BTreeMap<BatchKey, TransactionKey>,
    /// The log as it was in the end, and every header that was ever read, in order, with the truncations between.
    logs: BTreeMap<Place, Vec<Entry>>,
    readings: BTreeMap<Place, Vec<Reading>>,
    /// When a batch was first seen under a COMMIT marker, or given to a reader.
    committed_ns: BTreeMap<BatchKey, u64>,
    delivered_ns: BTreeMap<BatchKey, u64>,
    /// Last stable offset, high watermark and time; `None` where the clock begins anew, with the time if nothing else does.
    stable: BTreeMap<Place, Vec<Stable>>,
    ends: BTreeMap<Place, ReadEnd>,
    sources: BTreeMap<Place, (BTreeSet<u64>, u64)>,
}

enum Stable {
    Seen { stable: i64, high: i64, at_ns: u64 },
    Hampered(u64),
    Cut,
}

/// What became of a batch in the log.
struct Fate {
    marker: Option<End>,
    late: bool,
    in_log: bool,
    closed: bool,
    /// Its transaction has a marker in this partition that is against the client's answer.
    ended_wrongly: bool,
}

/// What a perfect checker finds.
pub(crate) fn judge(config: &Config, events: &[Event]) -> Counts {
    let history = gather(events);
    let fates = fates(&history);
    let mut counts = Counts::new();
    for (key, transaction) in &history.transactions {
        judge_transaction(&history, &fates, transaction, *key, &mut counts);
    }
    add(&mut counts, FindingClass::ZombieWrite, zombies(&history, &fates));
    add(&mut counts, FindingClass::HangingTransaction, hanging(config, &history));
    judge_copies(&history, &fates, &mut counts);
    counts
}

fn add(counts: &mut Counts, class: FindingClass, count: u64) {
    if count > 0 {
        *counts.entry(class).or_default() += count;
    }
}

fn key_of(place: Place, header: &BatchHeader) -> BatchKey {
    BatchKey {
        place,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    }
}

fn gather(events: &[Event]) -> History {
    let mut history = History::default();
    for event in events {
        match event.clone() {
            Event::Began { key, version } => {
                history.transactions.insert(key, Transaction { version, ..Transaction::default() });
            }
            Event::Wrote { key, batch, count, source, .. } => {
                history.owner.insert(batch, key);
                let batches = &mut history.transactions.get_mut(&key).unwrap().batches;
                batches.push(Batch { key: batch, count: u64::from(count), source });
            }
            Event::EndSent { key, end, at_ns } => {
                history.transactions.get_mut(&key).unwrap().end_sent = Some((end, at_ns));
            }
            Event::Answered { key, answer } => {
                history.transactions.get_mut(&key).unwrap().answer = Some(answer);
            }
            Event::LogBatch { place, header, .. } => {
                read(&mut history, place, Entry { header, marker: None })
            }
            Event::LogMarker { place, header, end, at_ns, .. } => {
                read(&mut history, place, Entry { header, marker: Some(end) });
                if end == End::Commit {
                    note_committed(&mut history, place, at_ns);
                }
            }
            Event::Truncated { place, end } => {
                history.logs.entry(place).or_default().retain(|entry| entry.header.base_offset < end);
                history.readings.entry(place).or_default().push(Reading::CutOff(end));
                history.stable.entry(place).or_default().push(Stable::Cut);
            }
            Event::Stable { place, last_stable_offset: stable, high_watermark: high, at_ns } => {
                history.stable.entry(place).or_default().push(Stable::Seen { stable, high, at_ns });
            }
            Event::Hampered { place, at_ns } => {
                history.stable.entry(place).or_default().push(Stable::Hampered(at_ns));
            }
            Event::Delivered { place, header, at_ns, .. } => {
                history.delivered_ns.entry(key_of(place, &header)).or_insert(at_ns);
            }
            Event::Passed { .. } => {}
            Event::LogEnded { place, end } => drop(history.ends.insert(place, end)),
            Event::Copied { place, visible, committed } => {
                history.sources.insert(place, (visible.into_iter().flatten().collect(), committed));
            }
        }
    }
    history
}

fn read(history: &mut History, place: Place, entry: Entry) {
    history.logs.entry(place).or_default().push(entry.clone());
    history.readings.entry(place).or_default().push(Reading::Of(entry));
}

/// The marker read last decides what its producer has open.
fn note_committed(history: &mut History, place: Place, at_ns: u64) {
    let log = &history.logs[&place];
    let id = log[log.len() - 1].header.producer_id;
    let before = log.iter().rev().skip(1).filter(|entry| entry.header.producer_id == id);
    for entry in before.take_while(|entry| entry.marker.is_none()) {
        history.committed_ns.entry(key_of(place, &entry.header)).or_insert(at_ns);
    }
}

fn fates(history: &History) -> BTreeMap<BatchKey, Fate> {
    let mut fates = BTreeMap::new();
    for key in history.owner.keys() {
        let readings = history.readings.get(&key.place).map_or(&[][..], Vec::as_slice);
        let closed =
            readings.iter().any(|reading| matches!(reading, Reading::Of(entry) if closes(entry, key)));
        fates.insert(*key, Fate { marker: None, late: false, in_log: false, closed, ended_wrongly: false });
    }
    for (place, log) in &history.logs {
        let mut open: BTreeMap<i64, Vec<BatchKey>> = BTreeMap::new();
        let mut ended: BTreeSet<TransactionKey> = BTreeSet::new();
        for entry in log {
            let key = key_of(*place, &entry.header);
            let open = open.entry(entry.header.producer_id).or_default();
            let Some(end) = entry.marker else {
                if let (Some(owner), Some(fate)) = (history.owner.get(&key), fates.get_mut(&key)) {
                    fate.in_log = true;
                    fate.late = ended.contains(owner);
                    open.push(key);
                }
                continue;
            };
            let newest = open.iter().map(|key| history.owner[key]).max();
            for key in open.drain(..) {
                let fate = fates.get_mut(&key).unwrap();
                fate.marker = Some(end);
                fate.late |= newest != Some(history.owner[&key]);
                if !fate.late {
                    ended.insert(history.owner[&key]);
                }
            }
        }
    }
    for (owner, transaction) in &history.transactions {
        let wrong = wrong_end(transaction);
        let wrongly: BTreeSet<Place> = transaction
            .batches
            .iter()
            .filter(|batch| history.owner[&batch.key] == *owner)
            .filter(|batch| !fates[&batch.key].late && wrong.is_some() && fates[&batch.key].marker == wrong)
            .map(|batch| batch.key.place)
            .collect();
        for batch in &transaction.batches {
            fates.get_mut(&batch.key).unwrap().ended_wrongly = wrongly.contains(&batch.key.place);
        }
    }
    fates
}

/// The marker that contradicts what the client knows.
fn wrong_end(transaction: &Transaction) -> Option<End> {
    let asked = transaction.end_sent.map(|(end, _)| end);
    match (asked, transaction.answer) {
        (_, Some(Answer::Refused)) | (Some(End::Abort), _) | (None, Some(_)) => Some(End::Commit),
        (Some(End::Commit), Some(Answer::Done)) => Some(End::Abort),
        _ => None,
    }
}

/// A later epoch, or a later sequence number of the same one.
fn closes(entry: &Entry, key: &BatchKey) -> bool {
    let header = &entry.header;
    let ahead = i64::from(header.base_sequence) - i64::from(key.base_sequence);
    header.producer_id == key.producer_id
        && (header.producer_epoch > key.producer_epoch
            || entry.marker.is_none() && header.producer_epoch == key.producer_epoch && ahead > 0)
}

fn judge_transaction(
    history: &History,
    fates: &BTreeMap<BatchKey, Fate>,
    transaction: &Transaction,
    key: TransactionKey,
    counts: &mut Counts,
) {
    use FindingClass as C;
    let asked = transaction.end_sent.map(|(end, _)| end);
    let commit_sent_ns = transaction.end_sent.filter(|(end, _)| *end == End::Commit).map(|(_, at_ns)| at_ns);
    let never = transaction.answer == Some(Answer::Refused)
        || asked == Some(End::Abort)
        || asked.is_none() && transaction.answer.is_some();
    let must = !never && asked == Some(End::Commit) && transaction.answer == Some(Answer::Done);
    let mut wrong_markers = BTreeSet::new();
    let (mut visible, mut missing) = (false, false);
    for batch in &transaction.batches {
        assert_eq!(history.owner[&batch.key], key);
        let fate = &fates[&batch.key];
        let read_out = history.ends.get(&batch.key.place).is_some_and(|end| end.position >= end.end_offset);
        let given_ns = history.delivered_ns.get(&batch.key);
        let (is_committed, is_aborted) = (fate.marker == Some(End::Commit), fate.marker == Some(End::Abort));
        if never && (is_committed || given_ns.is_some()) || is_aborted && given_ns.is_some() {
            add(counts, C::AbortedRead, batch.count);
        }
        let shown_ns = history.committed_ns.get(&batch.key).into_iter().chain(given_ns).min();
        let early = shown_ns.is_some_and(|at_ns| *at_ns < commit_sent_ns.unwrap_or(u64::MAX));
        if !never && !is_aborted && early {
            add(counts, C::PrecommittedRead, batch.count);
        }
        let gone = is_aborted || !fate.in_log && (fate.closed || read_out);
        visible |= is_committed;
        missing |= gone;
        if must && !is_committed {
            add(counts, if gone { C::Lost } else { C::Unseen }, batch.count);
        }
        if !fate.late && (must && is_aborted || never && is_committed) {
            wrong_markers.insert(batch.key.place);
        }
    }
    add(counts, C::TornTransaction, u64::from(visible && missing));
    add(counts, C::MarkerAgainstAnswer, wrong_markers.len() as u64);
}

fn zombies(history: &History, fates: &BTreeMap<BatchKey, Fate>) -> u64 {
    let mut found = BTreeSet::new();
    for (place, readings) in &history.readings {
        let mut newest: BTreeMap<i64, i16> = BTreeMap::new();
        let mut log: Vec<&Entry> = Vec::new();
        for reading in readings {
            let entry = match reading {
                Reading::Of(entry) => entry,
                Reading::CutOff(end) => {
                    log.retain(|entry| entry.header.base_offset < *end);
                    newest = epochs_of_open(history, *place, &log);
                    continue;
                }
            };
            let header = &entry.header;
            let epoch = newest.entry(header.producer_id).or_insert(header.producer_epoch);
            let is_late =
                fates.get(&key_of(*place, header)).is_some_and(|fate| fate.late && !fate.ended_wrongly);
            let is_late_marker = entry.marker.is_some()
                && open_of(history, *place, &log, header.producer_id).iter().any(|key| {
                    let version = history.transactions[&history.owner[key]].version;
                    version >= 2 && key.producer_epoch == header.producer_epoch
                });
            if header.producer_epoch < *epoch || entry.marker.is_none() && is_late || is_late_marker {
                found.insert((*place, header.base_offset));
            }
            *epoch = header.producer_epoch.max(*epoch);
            log.push(entry);
        }
    }
    found.len() as u64
}

/// The batches of transactions that a producer has open at the end of a log.
fn open_of(history: &History, place: Place, log: &[&Entry], id: i64) -> Vec<BatchKey> {
    let of_producer = log.iter().rev().filter(|entry| entry.header.producer_id == id);
    let open = of_producer.take_while(|entry| entry.marker.is_none());
    open.map(|entry| key_of(place, &entry.header)).filter(|key| history.owner.contains_key(key)).collect()
}

/// What is still known of epochs when the log was cut off.
fn epochs_of_open(history: &History, place: Place, log: &[&Entry]) -> BTreeMap<i64, i16> {
    let ids: BTreeSet<i64> = log.iter().map(|entry| entry.header.producer_id).collect();
    let newest = |id: &i64| {
        let open = open_of(history, place, log, *id);
        Some((*id, open.iter().map(|key| key.producer_epoch).max()?))
    };
    ids.iter().filter_map(newest).collect()
}

fn hanging(config: &Config, history: &History) -> u64 {
    let mut hung = 0;
    for observations in history.stable.values() {
        let (mut at, mut since_ns, mut counted) = (None, 0, false);
        for observation in observations {
            match observation {
                Stable::Cut => at = None,
                Stable::Hampered(at_ns) => since_ns = since_ns.max(*at_ns),
                Stable::Seen { stable, high, .. } if stable >= high => at = None,
                Stable::Seen { stable, at_ns, .. } if at != Some(*stable) => {
                    (at, since_ns, counted) = (Some(*stable), *at_ns, false);
                }
                Stable::Seen { at_ns, .. } => {
                    let is_over = *at_ns - since_ns > config.timeout_ns + config.abort_grace_ns;
                    hung += u64::from(is_over && !counted);
                    counted |= is_over;
                }
            }
        }
    }
    hung
}

fn judge_copies(history: &History, fates: &BTreeMap<BatchKey, Fate>, counts: &mut Counts) {
    let mut outputs: BTreeMap<Place, BTreeMap<u64, u64>> = BTreeMap::new();
    for batch in history.transactions.values().flat_map(|transaction| &transaction.batches) {
        if let Some(source) = batch.source.as_ref().filter(|_| fates[&batch.key].marker == Some(End::Commit))
        {
            let of_source = outputs.entry(source.place).or_default();
            source.offsets.clone().for_each(|offset| *of_source.entry(offset).or_default() += 1);
        }
    }
    for of_source in outputs.values() {
        add(counts, FindingClass::CommitDuplicate, of_source.values().map(|count| count - 1).sum());
    }
    for (place, (visible, committed)) in &history.sources {
        let none = BTreeMap::new();
        let of_source = outputs.get(place).unwrap_or(&none);
        let skipped =
            visible.iter().filter(|offset| *offset < committed && !of_source.contains_key(offset)).count();
        let ahead = of_source.keys().filter(|offset| *offset >= committed).count();
        add(counts, FindingClass::OffsetAtomicity, (skipped + ahead) as u64);
    }
}
