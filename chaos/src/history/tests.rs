//! Hand-made histories: two witnesses that lag, fall silent and come back.

use super::*;

const MS: u64 = 1_000_000;

/// A partition `t-<index>` with replicas 1, 2, 3.
fn said(at_ms: u64, seen_by: i32, index: i32, leader: i32, epoch: i32, isr: &[i32]) -> Observation {
    let at = TopicPartition { topic: "t".to_owned(), partition: index };
    let state = PartitionState {
        leader: (leader > 0).then_some(leader),
        leader_epoch: epoch,
        replicas: vec![1, 2, 3],
        isr: isr.to_vec(),
        elr: None,
    };
    Observation { at_ns: at_ms * MS, seen_by, change: Change::Partition { at, state } }
}

fn blind(at_ms: u64, seen_by: i32) -> Observation {
    Observation { at_ns: at_ms * MS, seen_by, change: Change::Blind { why: "silence".to_owned() } }
}

fn t(index: i32) -> TopicPartition {
    TopicPartition { topic: "t".to_owned(), partition: index }
}

/// Each observation is the only one of its poll; `last_ms` is when each witness answered last.
fn history(observations: &[Observation], last_ms: &[(i32, u64)]) -> ClusterHistory {
    let mut history = ClusterHistory::default();
    for observation in observations {
        history.record(observation.clone());
        if !matches!(observation.change, Change::Blind { .. }) {
            history.answered(observation.seen_by, observation.at_ns);
        }
    }
    for (witness, at_ms) in last_ms {
        history.answered(*witness, at_ms * MS);
    }
    history
}

const ALL: &[i32] = &[1, 2, 3];

fn nobody() -> Distrust {
    Distrust::default()
}

fn distrust(spans_ms: &[(i32, u64, u64)]) -> Distrust {
    let mut distrust = Distrust::default();
    for (witness, from_ms, to_ms) in spans_ms {
        distrust.add(*witness, from_ms * MS, to_ms * MS);
    }
    distrust
}

#[test]
fn isr_is_full_when_the_last_partition_is() {
    let seen = [
        said(0, 2, 0, 1, 5, ALL),
        said(0, 2, 1, 2, 5, ALL),
        said(100, 2, 0, 2, 6, &[2, 3]),
        said(110, 2, 1, 2, 5, &[2, 3]),
        said(900, 2, 0, 2, 6, ALL),
        said(1200, 2, 1, 2, 5, ALL),
    ];
    let history = history(&seen, &[(2, 2000)]);
    assert_eq!(history.isr_full_at(200 * MS, &nobody()), Some(1200 * MS));
    assert_eq!(history.isr_full_at(1500 * MS, &nobody()), Some(1500 * MS), "it still is");
    assert_eq!(history.isr_full_at(1900 * MS, &nobody()), None, "nobody looked long enough after that");
}

#[test]
fn a_shrink_that_is_noticed_late_is_no_full_isr() {
    // Healed at 100, but the witness hears of the shrink at 180 only.
    let seen = [said(0, 2, 0, 1, 5, ALL), said(180, 2, 0, 2, 6, &[2, 3]), said(700, 2, 0, 2, 6, ALL)];
    let history = history(&seen, &[(2, 2000)]);
    assert_eq!(history.isr_full_at(100 * MS, &nobody()), Some(700 * MS));
}

#[test]
fn what_a_silent_witness_said_before_does_not_count() {
    let seen = [said(0, 2, 0, 1, 5, ALL), blind(300, 2), said(5000, 2, 0, 2, 6, ALL)];
    let history = history(&seen, &[(2, 6000)]);
    assert_eq!(history.isr_full_at(200 * MS, &nobody()), Some(5000 * MS));
}

/// The poll that ends in silence began long before it: only answers confirm.
#[test]
fn silence_confirms_nothing() {
    let seen = [said(0, 2, 0, 1, 5, ALL), blind(1000, 2)];
    assert_eq!(history(&seen, &[]).isr_full_at(0, &nobody()), None);
}

/// Resumed at 1000, broker 1 tells what it knew before its pause, and hears the truth at 1600.
#[test]
fn a_victim_is_no_witness_unless_it_is_the_only_one() {
    let victims = [
        said(0, 1, 0, 1, 5, ALL),
        blind(100, 1),
        said(1000, 1, 0, 1, 5, ALL),
        said(1300, 1, 0, 1, 5, ALL),
        said(1600, 1, 0, 2, 6, &[2, 3]),
        said(4000, 1, 0, 2, 6, ALL),
    ];
    let others = [said(0, 2, 0, 1, 5, ALL), said(500, 2, 0, 2, 6, &[2, 3])];
    let both: Vec<Observation> = victims.iter().chain(&others).cloned().collect();
    let both = history(&both, &[(1, 9000), (2, 9000)]);
    let victim = distrust(&[(1, 50, 3000)]);
    assert_eq!(
        both.isr_full_at(1000 * MS, &nobody()),
        Some(1000 * MS),
        "which is why it must not be believed"
    );
    assert_eq!(both.isr_full_at(1000 * MS, &victim), Some(4000 * MS), "once healed it is as good as any");
    assert_eq!(both.isr_full_at(1000 * MS, &distrust(&[(1, 50, 8900)])), None);
    assert!(both.watched_at(1000 * MS, &victim));
    assert!(!both.watched_at(1000 * MS, &distrust(&[(1, 50, 9100), (2, 900, 9100)])));
    assert_eq!(history(&victims, &[(1, 9000)]).isr_full_at(1000 * MS, &victim), Some(1000 * MS));
}

#[test]
fn trust_needs_time_to_confirm_before_the_next_distrust() {
    let spans = distrust(&[(1, 1000, 2000), (1, 2100, 3000), (1, 5000, 6000), (1, 1500, 1600)]);
    let from = |at_ms: u64| spans.trusted_from(1, at_ms * MS) / MS;
    let cases = [(0, 0), (700, 700), (800, 3000), (1500, 3000), (2050, 3000), (3000, 3000), (4900, 6000)];
    for (at_ms, expected_ms) in cases {
        assert_eq!(from(at_ms), expected_ms, "from {at_ms}");
    }
    assert_eq!(spans.trusted_from(2, 1500 * MS), 1500 * MS);
}

#[test]
fn a_leader_counts_if_its_epoch_is_higher_and_it_can_serve() {
    let seen = [
        said(0, 2, 0, 1, 5, ALL),
        said(100, 2, 0, 0, 6, &[2, 3]),
        said(200, 2, 0, 1, 7, ALL),
        said(300, 2, 0, 3, 8, ALL),
    ];
    let history = history(&seen, &[]);
    let elected =
        |back_ms: Option<u64>| history.leader_elected_at(&t(0), 0, 5, &[1], back_ms.map(|ms| ms * MS));
    assert_eq!(elected(None), Some(300 * MS), "no leader at 100, the victim itself at 200");
    assert_eq!(elected(Some(150)), Some(200 * MS), "a healed victim may lead again");
}

#[test]
fn the_state_before_is_the_one_of_the_highest_epoch() {
    let seen = [said(0, 2, 0, 1, 5, ALL), said(50, 3, 0, 2, 6, ALL), said(60, 2, 0, 1, 5, &[1])];
    let history = history(&seen, &[]);
    assert_eq!(history.state_at(&t(0), 100 * MS).unwrap().leader, Some(2));
    assert_eq!(history.state_at(&t(0), 10 * MS).unwrap().leader, Some(1));
    assert_eq!(history.state_at(&t(1), 10 * MS), None);
}

#[test]
fn a_full_memory_says_from_when_on_it_knows_nothing() {
    let mut history = ClusterHistory::default();
    for at_ms in 0..=OBSERVATIONS_MAX as u64 {
        history.record(said(at_ms, 2, 0, 1, 5, ALL));
        history.answered(2, at_ms * MS);
    }
    assert_eq!(history.observations().len(), OBSERVATIONS_MAX);
    assert_eq!(history.cut_ns(), Some(OBSERVATIONS_MAX as u64 * MS));
    assert!(!history.watched_at((OBSERVATIONS_MAX as u64 + 1) * MS, &nobody()));
}

#[test]
fn the_lines_of_the_stream() {
    let line = serde_json::to_string(&said(1, 2, 0, 3, 6, &[2, 3])).unwrap();
    let expected = concat!(
        r#"{"at_ns":1000000,"seen_by":2,"change":{"what":"partition","at":{"topic":"t","partition":0},"#,
        r#""state":{"leader":3,"leader_epoch":6,"replicas":[1,2,3],"isr":[2,3],"elr":null}}}"#
    );
    assert_eq!(line, expected);
    assert_eq!(serde_json::from_str::<Observation>(&line).unwrap(), said(1, 2, 0, 3, 6, &[2, 3]));
}
