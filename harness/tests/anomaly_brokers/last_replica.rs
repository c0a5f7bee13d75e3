//! The last replica standing (KIP-966). Two replicas leave in order, the last one crashes and its disk forgets the tail (a test cuts it off,
//! as a power failure may). Without eligible leader replicas it leads again, and those that had everything are cut off after it. With
//! them it must not lead before one that left in order is back: nothing is lost.

use std::time::Instant;

use gauntlet_wire::admin::connect_first;
use kafka_protocol::messages::UpdateFeaturesRequest;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::protocol::StrBytes;

use crate::brokers::alone;
use crate::case::{Ended, Running, Side};
use crate::referee::Logs;
use crate::segments::Segment;
use crate::stage::{
    self, NOBODY_ELECTED_FOR, Replicas, WORKLOAD, all_logs, cluster, log_of, scenario, start, stop,
};

/// How many batches the disk forgets.
const BATCHES: usize = 20;
/// `upgrade_type` of UpdateFeatures.
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;

/// A cluster without eligible leader replicas, which other tests have.
struct WithoutEligible;

impl WithoutEligible {
    fn set() -> Self {
        set_eligible_leader_replicas(0).unwrap();
        WithoutEligible
    }
}

impl Drop for WithoutEligible {
    fn drop(&mut self) {
        let restored = set_eligible_leader_replicas(1);
        // A second panic would hide the first.
        assert!(std::thread::panicking() || restored.is_ok(), "{restored:?}");
    }
}

/// Sets `eligible.leader.replicas.version` of the cluster (KIP-966).
fn set_eligible_leader_replicas(level: i16) -> Result<(), String> {
    let feature = StrBytes::from_static_str("eligible.leader.replicas.version");
    let mut update = FeatureUpdateKey::default().with_feature(feature).with_max_version_level(level);
    update.upgrade_type = if level == 0 { SAFE_DOWNGRADE } else { UPGRADE };
    let request = UpdateFeaturesRequest::default().with_feature_updates(vec![update]).with_timeout_ms(15_000);
    let connected = connect_first(&cluster().bootstrap(), &cluster().operator());
    let response = connected.and_then(|mut admin| admin.call(&request)).map_err(|error| error.to_string())?;
    let refused = response.error_code != 0 || response.results.iter().any(|result| result.error_code != 0);
    if refused { Err(format!("{response:?}")) } else { Ok(()) }
}

fn run(side: Side) -> (Ended, Logs, i64) {
    let topic = match side {
        Side::Plant => "last-replica",
        Side::Control => "last-replica-elr",
    };
    let rest = format!("{WORKLOAD}verify: {{ guarantee: idempotent }}\n");
    let running = Running::start("the last replica forgets", side, &scenario(topic, 1, 22, &rest));
    running.wait_for_acked(1_200);
    let replicas = Replicas::of(topic);
    let Replicas { leader, followers: [first, second] } = replicas;
    stop(first);
    stop(second);
    stage::wait_until("the leader is the last one", topic, |partition| partition.isr == [leader]);
    cluster().kill(leader).unwrap();
    let segment = Segment::of(&log_of(leader, topic));
    let batches = segment.batches();
    let cut = batches[batches.len() - BATCHES].header.base_offset;
    segment.truncate(cut);
    start(&[leader]);
    match side {
        Side::Plant => stage::wait_until("it leads", topic, |partition| partition.leader == Some(leader)),
        Side::Control => {
            // That something does not happen can only be watched for a while.
            let until = Instant::now() + NOBODY_ELECTED_FOR;
            while Instant::now() < until {
                let described = stage::describe(topic).unwrap();
                assert_eq!(described.leader, None, "{described:?}");
            }
        }
    }
    start(&[second, first]);
    stage::wait_until("every replica in sync", topic, |partition| partition.isr.len() == 3);
    let ended = running.end();
    let logs = Logs::dump(&all_logs(topic, 1));
    ended.expect_agreement(&logs);
    (ended, logs, cut)
}

#[test]
fn the_last_replica_that_forgets_takes_the_others_with_it() {
    let _alone = alone();
    let without = WithoutEligible::set();
    let (ended, logs, cut) = run(Side::Plant);
    drop(without);
    ended.expect_verdict("VIOLATION", 100);
    ended.expect_only(&["lost"]);
    ended.expect_blame("lost", "log-truncated");
    assert_eq!(ended.witnesses("lost")[0]["acked_offset"], cut, "{}", ended.story());
    ended.tell(
        "VIOLATION with eligible.leader.replicas.version=0: lost, from the cut on, blame log-truncated",
        &logs,
    );
}

#[test]
fn with_eligible_leader_replicas_it_waits_for_one_that_remembers() {
    let _alone = alone();
    let (ended, logs, _) = run(Side::Control);
    ended.expect_only(&[]);
    assert_ne!(ended.record["verdict"], "VIOLATION", "{}", ended.story());
    ended.tell("no finding with eligible.leader.replicas.version=1, the default: nobody leads until one is back that has everything", &logs);
}
