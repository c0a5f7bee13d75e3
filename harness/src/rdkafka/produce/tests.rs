//! The loop on librdkafka's own mock cluster: no broker is started.

use std::io::BufWriter;
use std::sync::Arc;

use crossbeam_channel::{Receiver, unbounded};
use gauntlet_verify::{Outcome, Settlement};
use gauntlet_wire::Security;

use super::*;
use crate::load::producer::{Pace, PartitionSettlement};
use crate::load::records::RecordMaker;
use crate::load::{Control, Interval, ProducerPlan};
use crate::payload::{BodyMaker, BodyPlan};
use crate::rdkafka::settings::Setting;
use crate::schedule::{Arrival, Curve, Share, Spread};
use crate::sizes::SizePlan;

const S: u64 = 1_000_000_000;
const PARTITIONS: u32 = 2;

struct Ran {
    settlements: Receiver<PartitionSettlement>,
    intervals: Receiver<Interval>,
}

impl Ran {
    fn settlements(&self) -> Vec<Settlement> {
        self.settlements.try_iter().map(|(_, settlement, _)| settlement).collect()
    }
}

/// `records` records within a second, to a mock cluster, with these settings.
fn run(
    records: u64,
    settings: &[(&str, &str)],
    control: &Arc<Control>,
    act: impl FnOnce(&mut Driver),
) -> Ran {
    let origin_ns = monotonic_ns();
    control.begin_at(origin_ns);
    control.end_load(origin_ns + S);
    let (settlements, settled) = unbounded();
    let (intervals, received) = unbounded();
    let sizes = SizePlan::Fixed(100);
    let body = BodyMaker::new(1, 0, BodyPlan::Random(0.0), 66);
    let plan = ProducerPlan {
        run: 1,
        producer: 0,
        topic: "orders".to_owned(),
        partitions: PARTITIONS,
        pace: Pace::Scheduled(Share {
            curve: Arc::new(Curve::constant(records, S)),
            producer: 0,
            producers: 1,
            partitions: u64::from(PARTITIONS),
            spread: Spread::Turns,
            arrival: Arrival::Uniform,
            seed: 3,
        }),
        records: RecordMaker::new(1, 0, body, (&sizes, 100), None, Arc::new([])),
        origin_ns,
        linger_ns: TICK_NS,
        unix_minus_monotonic_ns: S,
        room_bytes: None,
        stumble: None,
    };
    let senders = vec![settlements; PARTITIONS as usize];
    let load = ProducerLoad::new(plan, Arc::clone(control), senders, intervals.clone(), S);
    let dir = tempfile::tempdir().unwrap();
    let log = BufWriter::new(std::fs::File::create(dir.path().join("log")).unwrap());
    let (notes, clerk) = Notes::new(log, &Security::default(), intervals);
    let clerk = std::thread::spawn(move || clerk.run());
    let setting =
        |(name, value): (&str, &str)| Setting { name: name.to_owned(), value: value.to_owned(), from: None };
    let usual = [("test.mock.num.brokers", "1"), ("log.queue", "true"), ("linger.ms", "1")];
    let setup = ProducerSetup {
        client: ClientPlan {
            settings: usual.iter().chain(settings).copied().map(setting).collect(),
            bootstrap: Vec::new(),
            client_id: "test".to_owned(),
            security: Security::default(),
        },
        unacknowledged: false,
        delivery_timeout: Duration::from_secs(60),
        notes,
    };
    run_with(setup, load, act).unwrap().finish();
    clerk.join().unwrap();
    Ran { settlements: settled, intervals: received }
}

/// Every record of both partitions exactly once, and how many ended how.
fn count(settlements: &[Settlement], of_incarnation: u16) -> (u64, u64, u64) {
    let mut counts = (0, 0, 0);
    for settlement in settlements.iter().filter(|s| s.stream.incarnation == of_incarnation) {
        let count = u64::from(settlement.count);
        match settlement.outcome {
            Outcome::Acked { base_offset } => {
                assert!(base_offset.is_some(), "{settlement:?}");
                counts.0 += count;
            }
            Outcome::Failed => counts.1 += count,
            Outcome::Indeterminate | Outcome::Unacknowledged => counts.2 += count,
        }
    }
    counts
}

#[test]
fn everything_that_is_due_is_acked_once() {
    let ran = run(5_000, &[("enable.idempotence", "true")], &Arc::default(), |_| {});
    let mut settlements = ran.settlements();
    assert_eq!(count(&settlements, 0), (5_000, 0, 0));
    // Dense per partition: both have the same numbers, so each number is there twice.
    settlements.sort_by_key(|s| s.first_pseq);
    let mut pseqs: Vec<u64> =
        settlements.iter().flat_map(|s| s.first_pseq..s.first_pseq + u64::from(s.count)).collect();
    pseqs.sort_unstable();
    assert!(pseqs.iter().enumerate().all(|(i, pseq)| *pseq == i as u64 / 2), "{settlements:?}");
    assert!(settlements.len() < 5_000, "runs, not records: {}", settlements.len());
    let acked: u64 =
        ran.intervals.try_iter().flat_map(|i| i.slots.into_values()).map(|slot| slot.counts.acked).sum();
    assert_eq!(acked, 5_000);
}

#[test]
fn a_queue_that_is_full_is_waited_for_and_is_not_our_fault() {
    let small = [("queue.buffering.max.messages", "50"), ("linger.ms", "20")];
    let ran = run(20_000, &small, &Arc::default(), |_| {});
    assert_eq!(count(&ran.settlements(), 0), (20_000, 0, 0), "late, but all of it");
    let intervals: Vec<Interval> = ran.intervals.try_iter().collect();
    let blocked = intervals.iter().filter_map(|i| Some(i.producer.as_ref()?.broker_blocked_ns)).max();
    assert!(blocked.is_some_and(|ns| ns > S), "{blocked:?}: 50 per 20 ms are an eighth of what is due");
    let slots: Vec<_> = intervals.into_iter().flat_map(|i| i.slots.into_values()).collect();
    let slip = slots.iter().map(|slot| slot.slip.broker_ns).max();
    assert!(slip.is_some_and(|ns| ns > S), "{slip:?}");
    // Where the host was late as well, that is said to be ours by right.
    let undisturbed = slots.iter().filter(|slot| slot.slip.host_ns < slot.slip.broker_ns / 20);
    let ours: u64 = undisturbed.map(|slot| slot.counts.ours).sum();
    assert!(ours < 2_000, "{ours} of 20,000 are said to be late because of us");
}

#[test]
fn what_can_t_go_on_is_replaced_as_a_new_incarnation() {
    let ran = run(5_000, &[("enable.idempotence", "true")], &Arc::default(), |driver| {
        driver.producer.fail_fatally();
    });
    let settlements = ran.settlements();
    let (first, second) = (count(&settlements, 0), count(&settlements, 1));
    assert_eq!(first.0 + first.1 + first.2 + second.0, 5_000, "{first:?} {second:?}");
    assert!(second.0 > 0 && (second.1, second.2) == (0, 0), "{second:?}");
}

#[test]
fn giving_up_ends_everything() {
    let control = Arc::<Control>::default();
    control.give_up(monotonic_ns() + S / 2);
    // Nobody is there.
    let nobody = [("test.mock.num.brokers", "0"), ("bootstrap.servers", "127.0.0.1:1")];
    let ran = run(5_000, &nobody, &control, |_| {});
    let handed_over: u64 = ran.settlements().iter().map(|s| u64::from(s.count)).sum();
    let failed: u64 =
        ran.intervals.try_iter().flat_map(|i| i.slots.into_values()).map(|slot| slot.counts.failed).sum();
    assert!(handed_over > 0 && failed == 5_000, "{handed_over} handed over, {failed} failed");
}

#[test]
fn what_is_staged_comes_out_as_it_went_in() {
    let mut staging = Staging::default();
    let given = [
        (Some(&b"k"[..]), None, &b"one"[..]),
        (None, Some(&b"identity"[..]), b"two"),
        (Some(b"key"), Some(b"own"), b""),
        (Some(b""), None, b""),
    ];
    for (key, own, value) in given {
        let own_header = own.map(|own| (IDENTITY_HEADER, own));
        let spec = RecordSpec { timestamp_ms: 7, key, value_bytes: value.len(), own_header, headers: &[] };
        staging.append(&spec, |at| at.copy_from_slice(value));
    }
    let all: Vec<_> = staging.iter().map(|record| (record.key, record.header, record.value)).collect();
    assert_eq!(all, given.map(|(key, own, value)| (key, own.map(|own| (IDENTITY_HEADER, own)), value)));
    assert!(staging.iter().all(|record| record.timestamp_ms == 7));
    assert_eq!(staging.bytes(), 21);
    staging.clear();
    assert_eq!((staging.iter().count(), staging.bytes()), (0, 0));
}
