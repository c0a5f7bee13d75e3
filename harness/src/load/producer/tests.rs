use crossbeam_channel::unbounded;
use gauntlet_wire::lateness::Lateness;

use super::*;
use crate::payload::{BodyMaker, BodyPlan};
use crate::schedule::{Arrival, Curve, Spread};
use crate::sizes::SizePlan;

const S: u64 = 1_000_000_000;

/// A producer of 1,000 records per second on two partitions, from `origin_ns` = 1 s on.
fn load(arrival: Arrival, control: &Arc<Control>) -> (ProducerLoad, crossbeam_channel::Receiver<Interval>) {
    let sizes = SizePlan::Fixed(100);
    let body = BodyMaker::new(1, 0, BodyPlan::Random(0.0), 66);
    let plan = ProducerPlan {
        run: 1,
        producer: 0,
        topic: "orders".to_owned(),
        partitions: 2,
        pace: Pace::Scheduled(Share {
            curve: Arc::new(Curve::constant(1_000, 1_000 * S)),
            producer: 0,
            producers: 1,
            partitions: 2,
            spread: Spread::Turns,
            arrival,
            seed: 3,
        }),
        records: RecordMaker::new(1, 0, body, (&sizes, 100), None, Arc::new([])),
        origin_ns: S,
        linger_ns: 0,
        unix_minus_monotonic_ns: 0,
        room_bytes: None,
        stumble: None,
    };
    let (settlements, _) = unbounded();
    let (intervals, received) = unbounded();
    let senders = vec![settlements.clone(), settlements];
    (ProducerLoad::new(plan, Arc::clone(control), senders, intervals, S), received)
}

/// Failed records, and how many of them are ours.
fn failed(received: &crossbeam_channel::Receiver<Interval>) -> (u64, u64) {
    let slots = received.try_iter().flat_map(|i| i.slots.into_values());
    slots.fold((0, 0), |sum, slot| (sum.0 + slot.counts.failed, sum.1 + slot.counts.unanswered_ours))
}

/// What is due now has been looked at before it is asked what is too old: the former must not count as the latter.
#[test]
fn only_what_is_too_old_expires() {
    for arrival in [Arrival::Uniform, Arrival::Poisson] {
        let control = Arc::new(Control::default());
        control.begin_at(S);
        let (mut load, received) = load(arrival, &control);
        let now_ns = 101 * S;
        for enough in [1_000, 100_000] {
            assert!(load.due_bytes(0, now_ns, enough) >= enough, "a backlog of 100 s");
        }
        let lateness = Lateness::of_this_thread(now_ns);
        load.expire_unsent(0, 11 * S, None, Turn { now_ns, lateness: &lateness });
        let first_10_s = load.cursors[0].next.index;
        assert!((4_500..5_500).contains(&first_10_s), "{arrival:?}: {first_10_s} records of 500 per second");
        control.end_load(21 * S);
        load.finish();
        // The rest of partition 0 and all of partition 1: 20 s of 1,000 per second in all, none of which was ever written.
        let (all, ours) = failed(&received);
        assert!((19_000..21_000).contains(&all), "{arrival:?}: {all}");
        assert_eq!(ours, 0, "the loop was never late");
    }
}

/// A backlog of 100 s is dropped down to what there is room for, and what is left is the newest.
#[test]
fn what_finds_no_room_is_dropped_the_oldest_first() {
    for arrival in [Arrival::Uniform, Arrival::Poisson] {
        let control = Arc::new(Control::default());
        control.begin_at(S);
        let (mut load, received) = load(arrival, &control);
        let usual_bytes = load.plan.records.usual_bytes() as u64;
        load.plan.room_bytes = Some(80 * usual_bytes);
        let lateness = Lateness::of_this_thread(S);
        let turn = |now_ns| Turn { now_ns, lateness: &lateness };
        load.turned(turn(S + S / 100), &ProducerStats::default());
        assert_eq!(load.patience_ends_ns(), 0, "ten records have room");
        let now_ns = 101 * S;
        // What is dropped is found by time; a few turns make up for what is not spread evenly.
        for _ in 0..10 {
            load.turned(turn(now_ns), &ProducerStats::default());
            let ends_ns = load.patience_ends_ns();
            for partition in 0..2 {
                if load.next_intended_ns(partition).is_some_and(|due_ns| due_ns < ends_ns) {
                    load.expire_unsent(partition, ends_ns, None, turn(now_ns));
                }
            }
        }
        let waiting: u64 =
            (0..2).map(|p| load.due_until(p, now_ns + 1, u64::MAX).index - load.cursors[p].next.index).sum();
        assert!((40..=80).contains(&waiting), "{arrival:?}: {waiting} wait, of 80 that may");
        let oldest_ns = (0..2).filter_map(|p| load.next_intended_ns(p)).min().unwrap();
        assert!(oldest_ns > now_ns - S, "{arrival:?}: the newest are left");
        control.end_load(now_ns);
        load.finish();
        let slots: Vec<_> = received.try_iter().flat_map(|interval| interval.slots.into_values()).collect();
        let dropped: u64 = slots.iter().map(|slot| slot.counts.dropped).sum();
        let failed: u64 = slots.iter().map(|slot| slot.counts.failed).sum();
        assert!((98_000..102_000).contains(&dropped), "{arrival:?}: {dropped}");
        assert!(failed <= waiting, "{arrival:?}: what waited in the end failed, {failed}");
        assert_eq!(
            slots.iter().map(|slot| slot.latency.len()).sum::<u64>(),
            failed,
            "nobody waited for the others"
        );
    }
}

/// What is given up after a stop of our own thread says nothing about the broker; what the broker held up before does.
#[test]
fn what_expires_because_the_loop_stood_still_is_ours() {
    for (blocked_since_ns, expected) in [(None, 1_000), (Some(S), 0)] {
        let control = Arc::new(Control::default());
        control.begin_at(S);
        let (mut load, received) = load(Arrival::Uniform, &control);
        control.end_load(3 * S);
        // Busy from 1 s to 4 s while the broker would have taken records, or would not.
        let mut lateness = Lateness::of_this_thread(S);
        lateness.poll_begins(4 * S);
        lateness.poll_ended(4 * S, 0, true);
        load.expire_unsent(0, u64::MAX, blocked_since_ns, Turn { now_ns: 4 * S, lateness: &lateness });
        load.finish();
        let (all, ours) = failed(&received);
        // The other partition ends without a loop that could be blamed.
        assert_eq!((all, ours), (2_000, expected), "blocked since {blocked_since_ns:?}");
    }
}
