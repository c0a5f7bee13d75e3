//! Brokers that tests stop, whose logs they edit, and which they start again, while a run loads them. Its quorum is apart, and lives on.

use std::path::PathBuf;
use std::time::Duration;

use gauntlet_chaos::{Controllers, LocalCluster, LocalSpec};
use gauntlet_wire::admin::{connect_first, wait_for_leaders};
use gauntlet_wire::{PartitionMetadata, WireError};

use crate::brokers::{quick, shared};
use crate::case::LIMIT;
use crate::wait::wait_for;

const BROKERS: u16 = 3;

/// The cluster; the first test to ask starts it. Every test leaves all brokers running.
pub(crate) fn cluster() -> &'static LocalCluster {
    shared(|| {
        let config = [
            ("broker.session.timeout.ms", "3000"),
            ("broker.heartbeat.interval.ms", "500"),
            ("log.cleaner.backoff.ms", "200"),
            ("log.retention.check.interval.ms", "500"),
        ];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        LocalSpec { controllers: Controllers::Isolated(1), config, ..quick(BROKERS) }
    })
}

/// A load of 400 records per second for so many seconds, on a topic of three replicas that is called as the scenario and stays.
pub(crate) fn scenario(name: &str, partitions: u32, seconds: u32, rest: &str) -> String {
    // A test that failed may have left some of them stopped.
    let gone: Vec<i32> = (cluster().statuses().unwrap().iter())
        .filter(|status| !status.process.is_alive())
        .map(|status| status.node)
        .collect();
    start(&gone);
    let bootstrap = cluster().bootstrap().join(",");
    // What may be in a log that was cut off, and is asked for again under sequences that no broker takes any more, is given up after
    // 15 s instead of two minutes.
    format!(
        "version: 1\nname: {name}\nseed: 1\ncluster: {{ bootstrap_servers: \"{bootstrap}\" }}\n\
         topics: [{{ name: {name}, partitions: {partitions}, replication_factor: 3, lifecycle: keep, config: {{ min.insync.replicas: 2 }} }}]\n\
         load: {{ shape: constant, rate: 400/s, warmup: 1s, duration: {seconds}s, drain: 60s }}\n{rest}"
    )
}

/// The default client, but that it gives up after 15 s.
pub(crate) const WORKLOAD: &str = "workload: { payload: { size: 400B, format: json }, producers: { count: 1, config: \
                                   { request.timeout.ms: 5000, delivery.timeout.ms: 15000 } } }\n";

/// The leader of partition 0 and its followers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replicas {
    pub(crate) leader: i32,
    pub(crate) followers: [i32; 2],
}

impl Replicas {
    pub(crate) fn of(topic: &str) -> Self {
        let (metadata, _) =
            wait_for_leaders(&cluster().bootstrap(), topic, &cluster().operator(), LIMIT).unwrap();
        let found = &metadata.topic(topic).unwrap().partitions[0];
        let leader = found.leader.unwrap();
        let mut followers = found.replicas.iter().copied().filter(|node| *node != leader);
        Replicas { leader, followers: [followers.next().unwrap(), followers.next().unwrap()] }
    }

    pub(crate) fn all(&self) -> [i32; 3] {
        [self.leader, self.followers[0], self.followers[1]]
    }

    /// Stops all of them in order, the leader last: the log of each is the beginning of the next one's.
    pub(crate) fn stop_all(&self) {
        for node in [self.followers[0], self.followers[1], self.leader] {
            stop(node);
        }
    }
}

/// SIGTERM, and waits until it is gone.
pub(crate) fn stop(node: i32) {
    cluster().stop(node, LIMIT).unwrap();
}

/// Starts brokers, all at once, and waits until they serve.
pub(crate) fn start(nodes: &[i32]) {
    for node in nodes {
        cluster().start_node(*node).unwrap();
    }
    for node in nodes {
        cluster().wait_ready(*node, LIMIT).unwrap();
    }
}

/// Where a broker keeps the log of partition 0.
pub(crate) fn log_of(node: i32, topic: &str) -> PathBuf {
    logs_of(node, topic, 1).remove(0)
}

fn logs_of(node: i32, topic: &str, partitions: u32) -> Vec<PathBuf> {
    let node = cluster().nodes().iter().find(|known| known.node.id == node).unwrap();
    (0..partitions)
        .map(|partition| node.data_dir.as_ref().unwrap().join(format!("{topic}-{partition}")))
        .collect()
}

/// The logs of all partitions on all brokers.
pub(crate) fn all_logs(topic: &str, partitions: u32) -> Vec<PathBuf> {
    (1..=i32::from(BROKERS)).flat_map(|node| logs_of(node, topic, partitions)).collect()
}

/// Partition 0, as a broker that runs describes it.
pub(crate) fn describe(topic: &str) -> Result<PartitionMetadata, WireError> {
    let described = connect_first(&cluster().bootstrap(), &cluster().operator())?.describe_topic(topic)?;
    Ok(described.partitions[0].clone())
}

/// Waits until partition 0 is as it should be.
pub(crate) fn wait_until(what: &str, topic: &str, holds: impl Fn(&PartitionMetadata) -> bool) {
    wait_for(what, LIMIT, || describe(topic).is_ok_and(|partition| holds(&partition)));
}

/// How long brokers have had to elect somebody whom they must not elect.
pub(crate) const NOBODY_ELECTED_FOR: Duration = Duration::from_secs(2);
