//! The journal against torn files, repeated undo, and a model.

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::fault::{ConfigBefore, PartitionBefore, Placement, QuotaBefore, ReassignBefore, TopicBefore};

fn planned(node: i32) -> PlannedUndo {
    let process = ProcessIdentity { pid: 1000 + node, start_ticks: 7 };
    PlannedUndo { fault: format!("fault on {node}"), node, process, undo: UndoAction::Resume }
}

fn ids(pending: &[PendingUndo]) -> Vec<u64> {
    pending.iter().map(|entry| entry.id).collect()
}

/// Undoes everything but the nodes in `stubborn`, and counts how often it was asked.
#[derive(Default)]
struct Healer {
    stubborn: BTreeSet<i32>,
    asked: RefCell<Vec<i32>>,
}

impl Undo for Healer {
    fn undo(&self, pending: &PendingUndo) -> Result<(), String> {
        let node = pending.planned.process().unwrap().node;
        self.asked.borrow_mut().push(node);
        if self.stubborn.contains(&node) { Err("stubborn".to_owned()) } else { Ok(()) }
    }
}

#[test]
fn the_lines_on_disk() {
    let base = tempfile::tempdir().unwrap();
    let journal = UndoJournal::open(base.path()).unwrap();
    let id = journal.begin(planned(2)).unwrap();
    journal.mark_undone(id).unwrap();
    let text = fs::read_to_string(base.path().join("undo.journal")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with(r#"{"entry":"begin","id":0,"at_ns":"#), "{text}");
    let rest = r#""planned":{"fault":"fault on 2","node":2,"process":{"pid":1002,"start_ticks":7},"undo":"resume"}}"#;
    assert!(lines[0].ends_with(rest), "{text}");
    assert!(lines[1].starts_with(r#"{"entry":"undone","id":0,"at_ns":"#), "{text}");
}

/// Every kind of what was before an operation is read as it was written.
#[test]
fn operations_survive_the_file() {
    let of = gauntlet_wire::ConfigResource::Broker(2);
    let entries = BTreeMap::from([("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)]);
    let config = ConfigBefore { of, entries };
    let partitions = vec![PartitionBefore { index: 0, replicas: vec![2, 1], preferred_led: true }];
    let placement = Placement { topic: "orders".to_owned(), partitions };
    let user = Some(gauntlet_wire::QuotaName::Named("alice".to_owned()));
    let of = gauntlet_wire::QuotaEntity { user, client_id: None };
    let limits = BTreeMap::from([
        ("producer_byte_rate".to_owned(), Some(1e6)),
        ("request_percentage".to_owned(), None),
    ]);
    let throttled = ReassignBefore { placement: placement.clone(), throttles: vec![config.clone()] };
    let config_of_topic = BTreeMap::from([("retention.ms".to_owned(), "60000".to_owned())]);
    let topic = TopicBefore { placement: placement.clone(), config: config_of_topic };
    let undo = [
        OperationUndo::Config(config),
        OperationUndo::Reassign(throttled),
        OperationUndo::Leaders(placement),
        OperationUndo::Quota(QuotaBefore { of, limits }),
        OperationUndo::Topic(topic),
    ];
    let planned: Vec<Planned> = undo
        .into_iter()
        .map(|undo| {
            let brokers = vec![BrokerAddress { id: 1, addr: "127.0.0.1:9".to_owned() }];
            let (fault, cluster_id) = ("op".to_owned(), "id".to_owned());
            Planned::Operation(PlannedOperation { fault, cluster_id, brokers, undo, foreign: false })
        })
        .collect();
    let base = tempfile::tempdir().unwrap();
    let journal = UndoJournal::open(base.path()).unwrap();
    for planned in planned.iter().rev() {
        journal.begin(planned.clone()).unwrap();
    }
    let read: Vec<Planned> = journal.pending().unwrap().into_iter().map(|pending| pending.planned).collect();
    assert_eq!(read, planned);
    let text = fs::read_to_string(base.path().join(JOURNAL_FILE)).unwrap();
    assert!(text.starts_with(r#"{"entry":"begin_operation","id":0,"at_ns":"#), "{text}");
}

#[test]
fn a_journal_that_does_not_exist_has_nothing_pending() {
    let base = tempfile::tempdir().unwrap();
    assert_eq!(read_pending(&base.path().join("none")).unwrap(), []);
}

#[test]
fn ids_go_on_after_a_reopening() {
    let base = tempfile::tempdir().unwrap();
    let first = UndoJournal::open(base.path()).unwrap().begin(planned(1)).unwrap();
    let journal = UndoJournal::open(base.path()).unwrap();
    let second = journal.begin(planned(2)).unwrap();
    assert_eq!(ids(&journal.pending().unwrap()), [second, first], "latest first");
}

#[test]
fn undo_goes_latest_first_and_a_failure_stays_pending() {
    let base = tempfile::tempdir().unwrap();
    let journal = UndoJournal::open(base.path()).unwrap();
    for node in 1..=3 {
        journal.begin(planned(node)).unwrap();
    }
    let healer = Healer { stubborn: BTreeSet::from([2]), ..Healer::default() };
    let report = undo_pending(&journal, &healer).unwrap();
    assert_eq!(*healer.asked.borrow(), [3, 2, 1]);
    assert_eq!(ids(&report.undone), [2, 0]);
    assert_eq!(report.failed.len(), 1);
    assert_eq!(ids(&journal.pending().unwrap()), [1]);

    let healer = Healer::default();
    undo_pending(&journal, &healer).unwrap();
    let again = undo_pending(&journal, &healer).unwrap();
    assert_eq!(*healer.asked.borrow(), [2], "what is undone is not undone again");
    assert_eq!(again, UndoReport::default());
}

#[test]
fn a_last_line_of_zeros_is_torn_but_garbage_in_the_middle_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join(JOURNAL_FILE);
    UndoJournal::open(base.path()).unwrap().begin(planned(1)).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], &[0; 40], b"\n"].concat()).unwrap();
    assert_eq!(ids(&read_pending(&path).unwrap()), [0]);
    fs::write(&path, [b"hello\n", &whole[..]].concat()).unwrap();
    let error = read_pending(&path).unwrap_err().to_string();
    assert!(error.contains("undo.journal:1 is no journal entry"), "{error}");
}

proptest! {
    // Each case syncs a file up to 20 times.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever byte a crash cuts the file at: the entries of the whole lines before the cut are pending exactly as a model
    /// says, a reopened journal takes new entries, and undoing empties it.
    #[test]
    fn a_cut_anywhere_loses_at_most_the_last_line(
        ops in proptest::collection::vec((any::<bool>(), 0_u64..8), 1..20),
        cut_part in 0.0_f64..=1.0,
    ) {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join(JOURNAL_FILE);
        let journal = UndoJournal::open(base.path()).unwrap();
        // The model: after each line, its end in the file and the set of open ids.
        let mut lines = Vec::new();
        let mut open = BTreeSet::new();
        for (begins, id) in ops {
            if begins {
                open.insert(journal.begin(planned(1)).unwrap());
            } else {
                journal.mark_undone(id).unwrap();
                open.remove(&id);
            }
            lines.push((fs::metadata(&path).unwrap().len(), open.clone()));
        }
        drop(journal);

        let length = fs::metadata(&path).unwrap().len();
        let cut = (length as f64 * cut_part) as u64;
        OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let whole = lines.iter().rev().find(|(end, _)| *end <= cut);
        let mut expected: Vec<u64> = whole.map(|(_, open)| open.iter().copied().collect()).unwrap_or_default();
        expected.reverse();
        prop_assert_eq!(&ids(&read_pending(&path).unwrap()), &expected);

        let journal = UndoJournal::open(base.path()).unwrap();
        let id = journal.begin(planned(9)).unwrap();
        expected.insert(0, id);
        prop_assert_eq!(&ids(&journal.pending().unwrap()), &expected);
        undo_pending(&journal, &Healer::default()).unwrap();
        prop_assert_eq!(ids(&journal.pending().unwrap()), Vec::<u64>::new());
    }
}
