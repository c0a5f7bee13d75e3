//! Hand-made recoveries. The stage: `t-0` led by 1 and `t-1` led by 2, replicas 1, 2, 3; witness 2; 1 is the victim; the
//! signal at 990 ms, gone at 1000 ms, healing from 5000 ms, whole at 6000 ms.

use super::*;
use crate::fault::FaultAction;
use crate::history::{Change, Observation};
use crate::target::ResolvedTarget;

const MS: u64 = 1_000_000;
const ALL: &[i32] = &[1, 2, 3];

fn t(index: i32) -> TopicPartition {
    TopicPartition { topic: "t".to_owned(), partition: index }
}

fn said(at_ms: u64, index: i32, leader: i32, epoch: i32, isr: &[i32]) -> Observation {
    let state = PartitionState {
        leader: Some(leader),
        leader_epoch: epoch,
        replicas: ALL.to_vec(),
        isr: isr.to_vec(),
        elr: None,
    };
    Observation { at_ns: at_ms * MS, seen_by: 2, change: Change::Partition { at: t(index), state } }
}

fn controller(at_ms: u64, leader: i32, epoch: i32) -> Observation {
    Observation { at_ns: at_ms * MS, seen_by: 2, change: Change::Controller { leader: Some(leader), epoch } }
}

fn history(observations: impl IntoIterator<Item = Observation>, last_ms: u64) -> ClusterHistory {
    let mut history = ClusterHistory::default();
    for observation in observations {
        let at_ns = observation.at_ns;
        history.record(observation);
        history.answered(2, at_ns);
    }
    history.answered(2, last_ms * MS);
    history
}

fn kill() -> FaultRecord {
    FaultRecord {
        target: Some(ResolvedTarget { nodes: vec![1], why: "leader of t-0".to_owned() }),
        injected_ns: Some(990 * MS),
        took_effect_ns: Some(1000 * MS),
        heal_began_ns: Some(5000 * MS),
        healed_ns: Some(6000 * MS),
        ..FaultRecord::planned("kill", FaultAction::BrokerKill, 990 * MS)
    }
}

fn before() -> Vec<Observation> {
    vec![controller(0, 3, 4), said(0, 0, 1, 5, ALL), said(0, 1, 2, 5, ALL)]
}

fn failover() -> Vec<Observation> {
    vec![said(3500, 0, 3, 6, &[2, 3]), said(3500, 1, 2, 5, &[2, 3])]
}

fn caught_up() -> Vec<Observation> {
    vec![said(7000, 0, 3, 6, ALL), said(7500, 1, 2, 5, ALL)]
}

/// The clocks of the only fault of a run.
fn clocks_of(record: &FaultRecord, history: &ClusterHistory, acks: &AckGaps) -> FaultClocks {
    let clocks = recovery_clocks(std::slice::from_ref(record), history, acks);
    let [clocks] = <[FaultClocks; 1]>::try_from(clocks).unwrap();
    clocks
}

fn gap(last_ms: u64, next_ms: Option<u64>) -> AckGap {
    AckGap { last_ack_ns: last_ms * MS, next_ack_ns: next_ms.map(|ms| ms * MS) }
}

#[test]
fn a_kill_that_recovers() {
    let history = history([before(), failover(), caught_up()].concat(), 10_000);
    let acks = AckGaps::from([
        // Acks that were under way arrive until 1003; another, shorter gap when the victim comes back.
        (
            t(0),
            vec![gap(100, Some(300)), gap(1003, Some(3700)), gap(6100, Some(6400)), gap(9000, Some(9200))],
        ),
        (t(1), vec![gap(999, Some(3600))]),
    ]);
    let clocks = clocks_of(&kill(), &history, &acks);
    assert_eq!(clocks.fault, "kill");
    assert_eq!(clocks.controller_elected, RecoveryTime::NotAffected);
    assert_eq!(clocks.leader_elected, RecoveryTime::Seconds(2.5));
    assert_eq!(clocks.first_ack, RecoveryTime::Seconds(2.7));
    assert_eq!(clocks.isr_full, RecoveryTime::Seconds(2.5));
    assert_eq!(clocks.unavailable_longest, RecoveryTime::Seconds(2.697));
    assert_eq!(clocks.unavailable_total, RecoveryTime::Seconds(2.997), "without the gaps before and after");
    let [t0, t1] = &clocks.partitions[..] else { panic!("{:?}", clocks.partitions) };
    assert_eq!((&t0.partition, t0.leader_elected), (&t(0), RecoveryTime::Seconds(2.5)));
    assert_eq!((&t1.partition, t1.leader_elected), (&t(1), RecoveryTime::NotAffected));
    assert_eq!(t1.first_ack, RecoveryTime::Seconds(2.6), "its leader lives, its acks still stopped");
    assert_eq!(t1.unavailable_longest, RecoveryTime::Seconds(2.601));
}

#[test]
fn never_recovered() {
    let history = history([before(), failover()].concat(), 60_000);
    let acks = AckGaps::from([(t(0), vec![gap(1000, None)]), (t(1), vec![])]);
    let clocks = clocks_of(&kill(), &history, &acks);
    assert_eq!(clocks.leader_elected, RecoveryTime::Seconds(2.5));
    assert_eq!(clocks.isr_full, RecoveryTime::Never);
    assert_eq!(clocks.first_ack, RecoveryTime::Never);
    assert_eq!(clocks.unavailable_longest, RecoveryTime::Never);
    assert_eq!(clocks.unavailable_total, RecoveryTime::Never);
    assert_eq!(clocks.partitions[1].first_ack, RecoveryTime::Seconds(0.0), "t-1 was never interrupted");

    let no_leader = history_of_no_leader();
    assert_eq!(clocks_of(&kill(), &no_leader, &acks).leader_elected, RecoveryTime::Never);
}

fn history_of_no_leader() -> ClusterHistory {
    let mut vacant = said(3500, 0, 1, 6, &[1]);
    if let Change::Partition { state, .. } = &mut vacant.change {
        state.leader = None;
    }
    history([before(), vec![vacant]].concat(), 60_000)
}

#[test]
fn nobody_watched_is_not_never() {
    let unseen = history(before(), 500);
    let clocks = clocks_of(&kill(), &unseen, &AckGaps::new());
    assert_eq!(clocks.leader_elected, RecoveryTime::Unknown);
    assert_eq!(clocks.isr_full, RecoveryTime::Unknown);
    assert_eq!(clocks.first_ack, RecoveryTime::NotAffected, "nobody produced");
    let nothing = clocks_of(&kill(), &ClusterHistory::default(), &AckGaps::new());
    assert_eq!(nothing.leader_elected, RecoveryTime::Unknown);
    assert_eq!(nothing.controller_elected, RecoveryTime::Unknown);
}

#[test]
fn a_fault_that_was_not_seen_to_act_has_no_clocks() {
    let history = history([before(), failover(), caught_up()].concat(), 10_000);
    let unseen = FaultRecord { took_effect_ns: None, ..kill() };
    let clocks = clocks_of(&unseen, &history, &AckGaps::from([(t(0), vec![])]));
    assert_eq!(clocks.leader_elected, RecoveryTime::Unknown);
    assert_eq!(clocks.unavailable_total, RecoveryTime::Unknown);
}

#[test]
fn a_victim_that_did_not_heal_is_never_full() {
    let history = history([before(), failover(), caught_up()].concat(), 10_000);
    let broken = FaultRecord { healed_ns: None, heal_error: Some("gone".to_owned()), ..kill() };
    assert_eq!(clocks_of(&broken, &history, &AckGaps::new()).isr_full, RecoveryTime::Never);
    let open = FaultRecord { heal_began_ns: None, healed_ns: None, ..kill() };
    assert_eq!(clocks_of(&open, &history, &AckGaps::new()).isr_full, RecoveryTime::Unknown);
}

/// One that leads on, as when only its clients can't reach it: who follows it later does so because of something else.
#[test]
fn what_is_elected_after_the_recovery_is_of_another_fault() {
    let still = [said(8000, 0, 1, 5, ALL), said(8000, 1, 2, 5, ALL), controller(8000, 1, 4)];
    let later = [said(20_000, 0, 3, 6, &[2, 3]), controller(20_000, 2, 5)];
    let mut seen = [before(), still.to_vec(), later.to_vec()].concat();
    seen[0] = controller(0, 1, 4);
    let clocks = clocks_of(&kill(), &history(seen, 30_000), &AckGaps::new());
    assert_eq!(
        (clocks.leader_elected, clocks.controller_elected),
        (RecoveryTime::NotAffected, RecoveryTime::NotAffected)
    );
    assert!(clocks.isr_full.seconds().is_some(), "{:?}", clocks.isr_full);
}

/// SIGTERM: leadership moves between the signal and the end of the process.
#[test]
fn leaders_elected_before_the_effect_took_no_time() {
    let handed_over = [said(995, 0, 3, 6, &[2, 3]), said(995, 1, 2, 5, &[2, 3])];
    let history = history([before(), handed_over.to_vec(), caught_up()].concat(), 10_000);
    let clocks = clocks_of(&kill(), &history, &AckGaps::new());
    assert_eq!(clocks.leader_elected, RecoveryTime::Seconds(0.0));
}

#[test]
fn a_controllers_successor_has_a_higher_epoch() {
    let mut seen = before();
    seen[0] = controller(0, 1, 4);
    seen.extend([controller(500, 1, 4), controller(4000, 2, 5), controller(9000, 1, 6)]);
    let clocks = clocks_of(&kill(), &history(seen, 10_000), &AckGaps::new());
    assert_eq!(clocks.controller_elected, RecoveryTime::Seconds(3.0));
}

/// Broker 2, the only one that sees the ISR full at 7500, is under a fault itself then.
#[test]
fn a_victim_of_one_fault_is_no_witness_for_another() {
    let mut history = history([before(), failover(), caught_up()].concat(), 60_000);
    history.answered(3, 60_000 * MS);
    let other = FaultRecord {
        target: Some(ResolvedTarget { nodes: vec![2], why: "node 2, by its id".to_owned() }),
        injected_ns: Some(7200 * MS),
        took_effect_ns: Some(7300 * MS),
        heal_began_ns: Some(8000 * MS),
        healed_ns: Some(8100 * MS),
        ..FaultRecord::planned("pause", FaultAction::BrokerPause, 7200 * MS)
    };
    let alone = recovery_clocks(&[kill()], &history, &AckGaps::new());
    assert_eq!(alone[0].isr_full, RecoveryTime::Seconds(2.5));
    let both = recovery_clocks(&[kill(), other], &history, &AckGaps::new());
    assert_eq!(both[0].isr_full, RecoveryTime::Seconds(8.1), "believed once its metadata has caught up");
}

#[test]
fn the_worse_of_two() {
    use RecoveryTime::{Never, NotAffected, Seconds, Unknown};
    let in_order = [NotAffected, Seconds(0.0), Seconds(2.0), Unknown, Never];
    for (index, better) in in_order.iter().enumerate() {
        for worse in &in_order[index..] {
            assert_eq!(better.worse(*worse), *worse);
            assert_eq!(worse.worse(*better), *worse);
        }
    }
}

#[test]
fn as_it_is_written() {
    let written = |time: RecoveryTime| serde_json::to_string(&time).unwrap();
    assert_eq!(written(RecoveryTime::Seconds(2.5)), r#"{"seconds":2.5}"#);
    assert_eq!(written(RecoveryTime::NotAffected), r#""not_affected""#);
}
