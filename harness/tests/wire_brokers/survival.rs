//! Loads that outlive a killed leader, a paused broker, and a quota.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gauntlet_chaos::LocalCluster;
use gauntlet_verify::IDENTITY_LEN;
use kafka_protocol::messages::AlterClientQuotasRequest;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::protocol::StrBytes;
use libtest_mimic::{Failed, Trial};

use crate::cluster::{LIMIT, SharedCluster, TestResult, Topic, connect, eventually, report};
use crate::judge::judge;
use crate::load::{PlannedBatch, Produced, VALUE_BYTES, config, produce};

const PARTITIONS: usize = 6;
const RATE: u64 = 20_000;
const RECORDS: u32 = 20;

pub(crate) fn trials(shared: &Arc<SharedCluster>) -> Vec<Trial> {
    vec![
        shared.trial("a_killed_leader_costs_nothing", a_killed_leader_costs_nothing),
        shared.trial("a_paused_broker_costs_nothing", a_paused_broker_costs_nothing),
        shared.trial("a_quota_slows_the_producer_down", a_quota_slows_the_producer_down),
    ]
}

/// [`RATE`] records per second over all partitions, for so long.
fn steady(load: Duration) -> (Vec<Vec<PlannedBatch>>, u64) {
    let batches = load.as_secs() * RATE / u64::from(RECORDS) / PARTITIONS as u64;
    let apart = load / batches as u32;
    let batch = |i: u64| PlannedBatch { due: apart * i as u32, records: RECORDS, value_bytes: VALUE_BYTES };
    let plan = vec![(0..batches).map(batch).collect(); PARTITIONS];
    (plan, batches * u64::from(RECORDS) * PARTITIONS as u64)
}

/// Runs a load and, after its first two seconds, `disturb`, which is to leave every broker as it was.
fn under_load(
    cluster: &LocalCluster,
    topic: &Topic,
    load: Duration,
    disturb: impl FnOnce(&AtomicU64) -> TestResult,
) -> Result<(Produced, u64), Failed> {
    let (plan, records) = steady(load);
    let acked = Arc::new(AtomicU64::new(0));
    let (config, counter) = (config(cluster.bootstrap(), topic), Arc::clone(&acked));
    std::thread::scope(|scope| {
        let producer = scope.spawn(move || produce(config, plan, &counter));
        let disturbed = eventually("two seconds of load", || Ok(acked.load(Ordering::Relaxed) >= 2 * RATE))
            .and_then(|()| disturb(&acked));
        let produced = producer.join().map_err(|_| "the producer panicked")?;
        disturbed?;
        Ok((produced?, records))
    })
}

fn a_killed_leader_costs_nothing(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "killed", PARTITIONS, &[])?;
    let leader = topic.leader(cluster, 0)?;
    let mut records_at_kill = 0;
    let (produced, records) = under_load(cluster, &topic, Duration::from_secs(12), |acked| {
        cluster.kill(leader)?;
        records_at_kill = acked.load(Ordering::Relaxed);
        let elected =
            eventually("another leader", || Ok(topic.leader(cluster, 0).is_ok_and(|l| l != leader)));
        cluster.start_node(leader)?;
        cluster.wait_ready(leader, LIMIT)?;
        elected
    })?;
    assert!(records_at_kill < records, "it was killed under load");
    assert!(!produced.stats.disconnects.is_empty());
    assert_eq!(produced.expired_unsent, 0);
    report(&format!(
        "killed leader: {records} records, acked in {:?}, {:?}",
        produced.acking, produced.stats
    ));
    judge(cluster, &topic, &produced)?.expect_all_acked(records)
}

fn a_paused_broker_costs_nothing(cluster: &Arc<LocalCluster>) -> TestResult {
    const PAUSE: Duration = Duration::from_secs(5);
    let topic = Topic::create(cluster, "paused", PARTITIONS, &[])?;
    let controller = connect(cluster)?.quorum()?.leader.ok_or("no controller")?;
    let victim = cluster.broker_addresses().into_keys().find(|id| *id != controller).ok_or("no victim")?;
    let mut fenced = Ok(());
    let (produced, records) = under_load(cluster, &topic, Duration::from_secs(11), |_| {
        cluster.pause(victim)?;
        // Not a wait for a state: the length of the pause is what is tested.
        std::thread::sleep(PAUSE);
        let other = &cluster.broker_addresses()[&controller];
        fenced = gauntlet_wire::Connection::connect(other, &gauntlet_wire::ConnectOptions::default())
            .and_then(|mut connection| connection.metadata(Some(&[&topic.name])))
            .map_err(Failed::from)
            .and_then(|metadata| match metadata.brokers.iter().any(|broker| broker.id == victim) {
                true => Err("the pause was too short to be noticed".into()),
                false => Ok(()),
            });
        cluster.resume(victim)?;
        cluster.wait_ready(victim, LIMIT)?;
        Ok(())
    })?;
    fenced?;
    assert_eq!(produced.expired_unsent, 0);
    report(&format!(
        "paused broker: {records} records, acked in {:?}, {:?}",
        produced.acking, produced.stats
    ));
    judge(cluster, &topic, &produced)?.expect_all_acked(records)
}

/// A megabyte, all due at once, at a quarter of a megabyte per second.
fn a_quota_slows_the_producer_down(cluster: &Arc<LocalCluster>) -> TestResult {
    const QUOTA: f64 = 250_000.0;
    let topic = Topic::create(cluster, "quota", 1, &[])?;
    let config = config(cluster.bootstrap(), &topic);
    set_producer_quota(cluster, &config.links.client_id, QUOTA)?;
    let batch = PlannedBatch { due: Duration::ZERO, records: 10, value_bytes: IDENTITY_LEN + 966 };
    let produced = produce(config, vec![vec![batch; 100]], &Arc::new(AtomicU64::new(0)))?;
    let rate = produced.acked_wire_bytes as f64 / produced.acking.as_secs_f64();
    report(&format!("quota {QUOTA} bytes/s: {rate:.0} bytes/s, {:?}", produced.stats));
    assert!(produced.stats.throttle_ms_max > 0);
    assert!(produced.stats.throttle_ms_total >= u64::from(produced.stats.throttle_ms_max));
    // The first window is free, so the mean is above the quota; without any it is above ten times as much.
    assert!(rate < 2.0 * QUOTA, "{rate:.0} bytes/s under a quota of {QUOTA}");
    judge(cluster, &topic, &produced)?.expect_all_acked(1_000)
}

/// `producer_byte_rate` (bytes per second and broker) of a client id.
fn set_producer_quota(cluster: &LocalCluster, client_id: &str, bytes_per_s: f64) -> TestResult {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let entity =
        EntityData::default().with_entity_type(text("client-id")).with_entity_name(Some(text(client_id)));
    let op = OpData::default().with_key(text("producer_byte_rate")).with_value(bytes_per_s);
    let entry = EntryData::default().with_entity(vec![entity]).with_ops(vec![op]);
    let response = connect(cluster)?.call(&AlterClientQuotasRequest::default().with_entries(vec![entry]))?;
    match response.entries.first() {
        Some(entry) if entry.error_code == 0 => Ok(()),
        refused => Err(format!("quota refused: {refused:?}").into()),
    }
}
