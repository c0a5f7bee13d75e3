//! The recovery rules of idempotence against real brokers: a proxy spoils single answers, the checker counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gauntlet_chaos::LocalCluster;
use gauntlet_wire::ErrorCode;
use gauntlet_wire::producer::{Acks, ProducerConfig};
use libtest_mimic::{Failed, Trial};

use crate::cluster::{LIMIT, SharedCluster, TestResult, Topic, eventually, locked};
use crate::judge::judge;
use crate::load::{PlannedBatch, Produced, VALUE_BYTES, at_once, config, produce};
use crate::proxy::{Fate, ProduceFrame, Proxy, Recipe};

/// Records of every batch, and so the distance of base sequences.
pub(crate) const RECORDS: u32 = 10;
pub(crate) const BATCHES: usize = 12;
pub(crate) const ALL: u64 = RECORDS as u64 * BATCHES as u64;
const NOT_ENOUGH_REPLICAS: ErrorCode = ErrorCode(19);
const MESSAGE_TOO_LARGE: ErrorCode = ErrorCode(10);

pub(crate) fn trials(shared: &Arc<SharedCluster>) -> Vec<Trial> {
    vec![
        shared.trial("an_undisturbed_load_is_clean", an_undisturbed_load_is_clean),
        shared.trial("a_lost_answer_is_no_duplicate", a_lost_answer_is_no_duplicate),
        shared.trial("two_lost_answers_in_a_row", two_lost_answers_in_a_row),
        shared.trial("the_first_answer_of_an_epoch_is_lost", the_first_answer_of_an_epoch_is_lost),
        shared.trial("a_lost_answer_across_a_leader_change", a_lost_answer_across_a_leader_change),
        shared.trial("silence_beyond_the_delivery_timeout", silence_beyond_the_delivery_timeout),
        shared.trial("an_appended_batch_is_called_rejected", an_appended_batch_is_called_rejected),
        shared.trial("a_rejected_batch_in_front_of_others", a_rejected_batch_in_front_of_others),
        shared.trial("without_idempotence_a_lost_answer_is_a_duplicate", the_control_has_its_duplicates),
        shared.trial("acks_1_and_acks_0", acks_1_and_acks_0),
        shared.trial("a_batch_that_is_too_large_leaves_no_hole", a_batch_that_is_too_large_leaves_no_hole),
    ]
}

/// Base sequence of the batch with this number, in the first epoch.
fn base_sequence(batch: i32) -> i32 {
    batch * RECORDS as i32
}

/// Applies `fate` to the first `times` requests that carry the batch with this number.
pub(crate) fn on_batch(batch: i32, times: usize, mut fate: impl FnMut() -> Fate + Send + 'static) -> Recipe {
    let mut left = times;
    Box::new(move |frame: &ProduceFrame| {
        if left > 0 && frame.batches.iter().any(|(_, b)| b.base_sequence == base_sequence(batch)) {
            left -= 1;
            return fate();
        }
        Fate::Forward
    })
}

fn drop_answer() -> Fate {
    Fate::DropAnswer { then: Box::new(|| ()) }
}

/// Runs [`BATCHES`] batches, due at once, on one partition through a proxy with this recipe.
pub(crate) fn disturbed(
    cluster: &LocalCluster,
    topic: &Topic,
    recipe: Recipe,
) -> Result<(Proxy, Produced), Failed> {
    let proxy = Proxy::start(cluster.broker_addresses(), recipe)?;
    let produced = run(config(proxy.bootstrap(), topic), at_once(BATCHES, RECORDS))?;
    Ok((proxy, produced))
}

fn run(config: ProducerConfig, plan: Vec<PlannedBatch>) -> Result<Produced, Failed> {
    produce(config, vec![plan], &Arc::new(AtomicU64::new(0)))
}

/// The proxy itself changes nothing: without this the others would prove little.
fn an_undisturbed_load_is_clean(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "undisturbed", 1, &[])?;
    let (proxy, produced) = disturbed(cluster, &topic, Box::new(|_| Fate::Forward))?;
    assert_eq!(proxy.counts(), [0; 4]);
    let in_order: Vec<(i16, i32)> = (0..BATCHES as i32).map(|batch| (0, base_sequence(batch))).collect();
    assert_eq!(proxy.seen(), in_order, "each batch once, in order");
    assert_eq!(produced.stats.retries, 0);
    judge(cluster, &topic, &produced)?.expect_all_acked(ALL)
}

fn a_lost_answer_is_no_duplicate(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "lost-answer", 1, &[])?;
    let (proxy, produced) = disturbed(cluster, &topic, on_batch(3, 1, drop_answer))?;
    assert_eq!(proxy.counts(), [1, 0, 0, 0]);
    assert!(times_seen(&proxy)[&(0, base_sequence(3))] > 1, "it was sent again");
    judge(cluster, &topic, &produced)?.expect_all_acked(ALL)
}

fn two_lost_answers_in_a_row(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "two-lost-answers", 1, &[])?;
    let (proxy, produced) = disturbed(cluster, &topic, on_batch(3, 2, drop_answer))?;
    assert_eq!(proxy.counts(), [2, 0, 0, 0]);
    assert!(times_seen(&proxy)[&(0, base_sequence(3))] > 2, "it was sent twice again");
    judge(cluster, &topic, &produced)?.expect_all_acked(ALL)
}

/// The batch that a broker would take from a stranger at any sequence.
fn the_first_answer_of_an_epoch_is_lost(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "first-answer", 1, &[])?;
    let (proxy, produced) = disturbed(cluster, &topic, on_batch(0, 1, drop_answer))?;
    assert_eq!(proxy.counts(), [1, 0, 0, 0]);
    assert_eq!(proxy.seen()[..2], [(0, 0), (0, 0)], "it flies alone until it is answered");
    judge(cluster, &topic, &produced)?.expect_all_acked(ALL)
}

/// The leader dies between the append and the answer: only its followers know that the batch is there already.
fn a_lost_answer_across_a_leader_change(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "leader-change", 1, &[])?;
    let leader = topic.leader(cluster, 0)?;
    let killed = Arc::new(Mutex::new(None));
    let (victims, outcome) = (Arc::clone(cluster), Arc::clone(&killed));
    let recipe = on_batch(3, 1, move || {
        let (victims, outcome) = (Arc::clone(&victims), Arc::clone(&outcome));
        Fate::DropAnswer { then: Box::new(move || *locked(&outcome) = Some(victims.kill(leader).is_ok())) }
    });
    let ran = disturbed(cluster, &topic, recipe);
    cluster.start_node(leader)?;
    cluster.wait_ready(leader, LIMIT)?;
    let (proxy, produced) = ran?;
    assert_eq!(proxy.counts(), [1, 0, 0, 0]);
    drop(proxy);
    assert_eq!(*locked(&killed), Some(true));
    judge(cluster, &topic, &produced)?.expect_all_acked(ALL)
}

/// Five batches are appended and never answered. They end indeterminate, and the producer goes on in a new epoch.
fn silence_beyond_the_delivery_timeout(cluster: &Arc<LocalCluster>) -> TestResult {
    const SILENT: std::ops::Range<i32> = 4..9;
    let topic = Topic::create(cluster, "silence", 1, &[])?;
    let unanswered = Arc::new(Mutex::new(BTreeMap::new()));
    let noted = Arc::clone(&unanswered);
    let recipe = move |frame: &ProduceFrame| {
        let mut fate = Fate::Forward;
        for (_, batch) in &frame.batches {
            if batch.producer_epoch == 0 && batch.base_sequence >= base_sequence(SILENT.start) {
                locked(&noted).insert(batch.base_sequence, batch.record_count as u64);
                fate = Fate::Mute;
            }
        }
        fate
    };
    let proxy = Proxy::start(cluster.broker_addresses(), Box::new(recipe))?;
    let mut config = config(proxy.bootstrap(), &topic);
    config.links.request_timeout = Duration::from_secs(1);
    config.delivery_timeout = Duration::from_millis(2_500);
    // What comes later is due when the silence is over, so that it does not grow too old in it.
    let later = PlannedBatch { due: Duration::from_secs(5), records: RECORDS, value_bytes: VALUE_BYTES };
    let mut plan = at_once(SILENT.end as usize, RECORDS);
    plan.extend([later; 3]);
    let produced = run(config, plan)?;

    let unanswered = locked(&unanswered).clone();
    assert_eq!(unanswered.keys().copied().collect::<Vec<_>>(), SILENT.map(base_sequence).collect::<Vec<_>>());
    let unanswered: u64 = unanswered.values().sum();
    assert!(proxy.counts()[1] >= 5, "each was muted at least once: {:?}", proxy.counts());
    assert!(produced.stats.retries > 0, "they were asked about again");
    assert_eq!((produced.expired_unsent, produced.incarnation_max), (0, 1));
    let epochs: BTreeSet<i16> = proxy.seen().iter().map(|(epoch, _)| *epoch).collect();
    assert_eq!(epochs, [0, 1].into(), "it went on in a new epoch");
    let acked = 4 * u64::from(RECORDS) + 3 * u64::from(RECORDS);
    judge(cluster, &topic, &produced)?.expect(&[
        ("acked", acked),
        ("indeterminate", unanswered),
        ("indeterminate_present", unanswered),
        ("checked", acked + unanswered),
    ])
}

/// "Not enough replicas" for a batch that is in the log, while those behind it are in flight and get in.
fn an_appended_batch_is_called_rejected(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "lie", 1, &[])?;
    let (proxy, produced) = disturbed(cluster, &topic, on_batch(1, 1, || Fate::Lie(NOT_ENOUGH_REPLICAS)))?;
    assert_eq!(proxy.counts(), [0, 0, 1, 0]);
    in_flight_behind(&proxy);
    assert_eq!(produced.stats.errors[&NOT_ENOUGH_REPLICAS], 1);
    judge(cluster, &topic, &produced)?.expect_all_acked(ALL)
}

/// The same, but the batch is really not there: those behind it are out of order until it is.
fn a_rejected_batch_in_front_of_others(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "rejected", 1, &[])?;
    let (proxy, produced) = disturbed(cluster, &topic, on_batch(1, 1, || Fate::Reject(NOT_ENOUGH_REPLICAS)))?;
    assert_eq!(proxy.counts(), [0, 0, 0, 1]);
    let behind = in_flight_behind(&proxy) as u64;
    assert_eq!(produced.stats.errors[&NOT_ENOUGH_REPLICAS], 1);
    assert!(produced.stats.errors[&ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER] >= behind);
    assert_eq!(produced.incarnation_max, 0);
    judge(cluster, &topic, &produced)?.expect_all_acked(ALL)
}

/// How many batches were sent between the first and the second sending of batch 1: those right behind it, in order.
/// Four fill the connection, unless a metadata request has one of its five places just then.
fn in_flight_behind(proxy: &Proxy) -> usize {
    let seen = proxy.seen();
    let first = (0, base_sequence(1));
    assert_eq!(seen[..2], [(0, 0), first]);
    let behind: Vec<(i16, i32)> = seen[2..].iter().copied().take_while(|stamp| *stamp != first).collect();
    let expected: Vec<(i16, i32)> =
        (2..2 + behind.len() as i32).map(|batch| (0, base_sequence(batch))).collect();
    assert_eq!(behind, expected);
    assert!((3..=4).contains(&behind.len()), "{behind:?}");
    assert!(seen[2 + behind.len()..].contains(&first), "batch 1 was sent again");
    behind.len()
}

/// The protection taken away: what the tests above would find if idempotence did nothing.
fn the_control_has_its_duplicates(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "control", 1, &[])?;
    let mut requests = 0;
    // Without idempotence there is no sequence to tell batches by.
    let recipe = move |_: &ProduceFrame| {
        requests += 1;
        if requests == 4 { drop_answer() } else { Fate::Forward }
    };
    let proxy = Proxy::start(cluster.broker_addresses(), Box::new(recipe))?;
    let config = ProducerConfig { idempotent: false, max_in_flight: 1, ..config(proxy.bootstrap(), &topic) };
    let produced = run(config, at_once(BATCHES, RECORDS))?;
    assert_eq!(proxy.counts(), [1, 0, 0, 0]);
    let one_batch = u64::from(RECORDS);
    let judgement = judge(cluster, &topic, &produced)?;
    judgement.expect(&[("acked", ALL), ("checked", ALL + one_batch), ("duplicates", one_batch)])?;
    assert!(judgement.evidence.contains("ClientResent"), "{}", judgement.evidence);
    Ok(())
}

fn acks_1_and_acks_0(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "acks-1", 1, &[])?;
    let unsafe_config = |topic: &Topic, acks| ProducerConfig {
        acks,
        idempotent: false,
        ..config(cluster.bootstrap(), topic)
    };
    let produced = run(unsafe_config(&topic, Acks::Leader), at_once(BATCHES, RECORDS))?;
    // The leader's word comes before the followers have them, and only then can they be read.
    eventually("all records are replicated", || Ok(topic.ends(cluster)?[&0] >= ALL as i64))?;
    judge(cluster, &topic, &produced)?.expect_all_acked(ALL)?;

    let topic = Topic::create(cluster, "acks-0", 1, &[])?;
    let produced = run(unsafe_config(&topic, Acks::None), at_once(BATCHES, RECORDS))?;
    // Nobody says when they are there.
    eventually("all records arrive", || Ok(topic.ends(cluster)?[&0] >= ALL as i64))?;
    judge(cluster, &topic, &produced)?.expect(&[
        ("unacknowledged", ALL),
        ("unacknowledged_present", ALL),
        ("checked", ALL),
    ])
}

/// A refusal for good in the middle of others: the sequences close up behind it.
fn a_batch_that_is_too_large_leaves_no_hole(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "too-large", 1, &[("max.message.bytes", "20000")])?;
    let mut plan = at_once(BATCHES, RECORDS);
    plan[3].value_bytes = 3_000;
    let produced = run(config(cluster.bootstrap(), &topic), plan)?;
    assert_eq!(produced.stats.errors[&MESSAGE_TOO_LARGE], 1);
    assert_eq!(produced.incarnation_max, 0);
    let one_batch = u64::from(RECORDS);
    judge(cluster, &topic, &produced)?.expect(&[
        ("acked", ALL - one_batch),
        ("checked", ALL - one_batch),
        ("failed", one_batch),
    ])
}

fn times_seen(proxy: &Proxy) -> BTreeMap<(i16, i32), usize> {
    let mut times = BTreeMap::new();
    for stamp in proxy.seen() {
        *times.entry(stamp).or_default() += 1;
    }
    times
}
