//! What local brokers take while the load is measured: processor time of their processes, and growth of their logs.
//!
//! They are looked at twice, at the first full second after t = 0 and at the end of the load. Both differences are divided by
//! the time between the two looks, so it does not matter that they are not exactly the window.

use std::path::Path;

use gauntlet_chaos::process::ProcessIdentity;
use gauntlet_chaos::{LocalCluster, LocalNode};
use gauntlet_reports::record::BrokerRecord;
use gauntlet_wire::monotonic_ns;

use super::Brokers;
use crate::plan::TopicPlan;

/// The two looks, as far as they were taken.
#[derive(Debug, Default)]
pub(super) struct BrokerUsage {
    first: Option<Option<Look>>,
    last: Option<Look>,
}

/// A look at all brokers.
#[derive(Debug, PartialEq)]
struct Look {
    at_ns: u64,
    processes: Vec<ProcessIdentity>,
    cpu_s: f64,
    /// `None` where nobody but the brokers can look.
    log_bytes: Option<u64>,
}

impl BrokerUsage {
    /// Takes the first look, once.
    pub(super) fn begin(&mut self, brokers: &Brokers, topics: &[TopicPlan]) {
        if self.first.is_none() {
            self.first = Some(look(brokers, topics));
        }
    }

    /// Takes the last look.
    pub(super) fn end(&mut self, brokers: &Brokers, topics: &[TopicPlan]) {
        self.last = look(brokers, topics);
    }

    /// What was taken in between. `None` without two looks, or if a broker is not the process that it was: what the dead one
    /// had taken is gone. Where `evidence` is not complete, retention deletes meanwhile, and growth says nothing.
    pub(super) fn record(&self, evidence: &str) -> Option<BrokerRecord> {
        between(self.first.as_ref()?.as_ref()?, self.last.as_ref()?, evidence)
    }
}

fn between(first: &Look, last: &Look, evidence: &str) -> Option<BrokerRecord> {
    let seconds = last.at_ns.saturating_sub(first.at_ns) as f64 / 1e9;
    if first.processes != last.processes || seconds <= 0.0 {
        return None;
    }
    let grown = last.log_bytes.zip(first.log_bytes).and_then(|(last, first)| last.checked_sub(first));
    let grown = grown.filter(|_| evidence == "complete");
    Some(BrokerRecord {
        seconds,
        cpu_cores: (last.cpu_s - first.cpu_s) / seconds,
        log_bytes_per_s: grown.map(|bytes| bytes as f64 / seconds),
    })
}

fn look(brokers: &Brokers, topics: &[TopicPlan]) -> Option<Look> {
    let Brokers::Local(cluster) = brokers else { return None };
    let processes = processes(cluster)?;
    let at_ns = monotonic_ns();
    let cpu_s = cpu_s(&processes)?;
    Some(Look { at_ns, processes, cpu_s, log_bytes: log_bytes(cluster, topics) })
}

/// The processes of a cluster's brokers; nodes that are controllers alone are left out. `None` if that is not known.
pub(crate) fn processes(cluster: &LocalCluster) -> Option<Vec<ProcessIdentity>> {
    let is_broker = |id| cluster.nodes().iter().any(|n| n.node.id == id && n.node.client_port.is_some());
    let statuses = cluster.statuses().ok()?;
    Some(statuses.iter().filter(|status| is_broker(status.node)).map(|status| status.process).collect())
}

/// User and system time that processes have taken so far, seconds. `None` if one of them is gone.
pub(crate) fn cpu_s(processes: &[ProcessIdentity]) -> Option<f64> {
    processes.iter().map(|process| Some(process.cpu_time().ok()?.as_secs_f64())).sum()
}

/// Bytes of the segments of these topics on all brokers. Indexes are left out: they are allocated ahead. `None` if the brokers are in
/// containers.
pub(crate) fn log_bytes(cluster: &LocalCluster, topics: &[TopicPlan]) -> Option<u64> {
    let of_node = |node: &LocalNode| {
        let partitions = partition_dirs(node.data_dir.as_deref()?, topics);
        Some(partitions.iter().map(|dir| segment_bytes(dir)).sum::<u64>())
    };
    cluster.nodes().iter().map(of_node).sum()
}

/// Directories of these topics' partitions, `NAME-NUMBER`, those that are being deleted excepted.
fn partition_dirs(data_dir: &Path, topics: &[TopicPlan]) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(data_dir) else { return Vec::new() };
    let is_ours = |name: &str| {
        name.rsplit_once('-').is_some_and(|(topic, number)| {
            number.bytes().all(|b| b.is_ascii_digit()) && topics.iter().any(|t| t.name == topic)
        })
    };
    let ours = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_ours));
    ours.map(|entry| entry.path()).collect()
}

fn segment_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let segments = entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "log"));
    segments.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_at(at_s: u64, start_ticks: u64, cpu_s: f64, log_bytes: u64) -> Look {
        let processes = vec![ProcessIdentity { pid: 1, start_ticks }];
        Look { at_ns: at_s * 1_000_000_000, processes, cpu_s, log_bytes: Some(log_bytes) }
    }

    #[test]
    fn what_was_taken_is_told_per_second() {
        let first = look_at(10, 5, 100.0, 1_000);
        let last = look_at(20, 5, 112.0, 51_000);
        let record = between(&first, &last, "complete").unwrap();
        assert_eq!((record.seconds, record.cpu_cores, record.log_bytes_per_s), (10.0, 1.2, Some(5_000.0)));
        assert_eq!(between(&first, &last, "windowed").unwrap().log_bytes_per_s, None);
        let in_containers = Look { log_bytes: None, ..look_at(20, 5, 112.0, 0) };
        assert_eq!(between(&first, &in_containers, "complete").unwrap().log_bytes_per_s, None);
        assert_eq!(between(&first, &look_at(20, 6, 1.0, 2_000), "complete"), None, "another process");
        assert_eq!(between(&first, &look_at(20, 5, 101.0, 10), "complete").unwrap().log_bytes_per_s, None);
    }

    #[test]
    fn segments_of_the_topics_are_counted_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for (file, bytes) in [
            ("orders-0/00000000000000000000.log", 7),
            ("orders-0/00000000000000000000.index", 100),
            ("orders-1/00000000000000000000.log", 5),
            ("orders-1.f00-delete/00000000000000000000.log", 1_000),
            ("orders-2-0/00000000000000000000.log", 10_000),
        ] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; bytes]).unwrap();
        }
        let topic = TopicPlan {
            name: "orders".to_owned(),
            partitions: 2,
            replication_factor: None,
            config: Default::default(),
            lifecycle: crate::plan::Lifecycle::PerRun,
        };
        let bytes: u64 = partition_dirs(dir.path(), &[topic]).iter().map(|dir| segment_bytes(dir)).sum();
        assert_eq!(bytes, 12);
    }
}
