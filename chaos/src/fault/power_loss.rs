//! `broker.power-loss`: the process is gone, and with it what it had written and nobody had flushed.
//!
//! Kafka acknowledges what is in the page cache of enough replicas; by default it leaves flushing to the kernel, which writes a page back
//! some 30 s after it was written. A killed process loses none of that, a machine without power does. So after SIGKILL the end of each
//! log below `log.dirs` is cut off (`unflushed`): what lies above the recovery point, up to which Kafka itself says that everything is
//! on disk. `__cluster_metadata` is spared, because Raft flushes what it counts as written. What a disk would do besides, such as pages that
//! come back out of order, is not imitated.
//!
//! Acts when every process is gone and every log was cut; what each may have lost is in the fault's record. Heals as a kill does: the broker
//! finds that it was not shut down in order, checks its logs from the recovery point on, and drops what is torn.

mod unflushed;

use std::collections::BTreeMap;

use super::{Acted, LogLoss, all_at_once, broker_kill};
use crate::error::ChaosError;
use crate::local::LocalCluster;
use unflushed::{Cut, cut_logs};

/// Kills all `nodes` at once, and cuts their logs off once all are gone. `tail_bytes`: so much of the end of each log at most was not on
/// disk.
pub(super) fn apply(
    cluster: &LocalCluster,
    nodes: &[i32],
    tail_bytes: Option<u64>,
) -> Result<Acted, ChaosError> {
    let times = all_at_once::apply(nodes, |node| broker_kill::apply(cluster, node))?;
    let mut cuts = Vec::new();
    for node in cluster.nodes().iter().filter(|node| nodes.contains(&node.node.id)) {
        for cut in cut_logs(node.log_dirs()?, tail_bytes)? {
            cuts.push((node.node.id, cut));
        }
    }
    Ok(Acted { times, losses: losses(cuts) })
}

/// What became of the logs of each partition, together: whoever leads next has lost no more than the one that lost most.
fn losses(cuts: Vec<(i32, Cut)>) -> Vec<LogLoss> {
    let mut all: BTreeMap<(String, i32), LogLoss> = BTreeMap::new();
    for (node, cut) in cuts {
        let Cut { topic, partition, kept_to, ended_at, leader_epoch } = cut;
        let loss = all.entry((topic.clone(), partition)).or_insert(LogLoss {
            topic,
            partition,
            brokers: Vec::new(),
            from_offset: i64::MAX,
            until_offset: 0,
            first_epoch: 0,
        });
        loss.brokers.push(node);
        loss.from_offset = loss.from_offset.min(kept_to);
        loss.until_offset = loss.until_offset.max(ended_at);
        loss.first_epoch = loss.first_epoch.max(leader_epoch + 1);
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_of_all_replicas_counts() {
        let cut = |kept_to, ended_at, leader_epoch| Cut {
            topic: "orders".to_owned(),
            partition: 0,
            kept_to,
            ended_at,
            leader_epoch,
        };
        let other = Cut { partition: 1, ..cut(5, 5, -1) };
        let losses = losses(vec![(1, cut(80, 100, 4)), (2, cut(70, 98, 3)), (2, other)]);
        let words: Vec<String> = losses
            .iter()
            .map(|l| {
                format!(
                    "{} {:?} {}..{} {}",
                    l.partition, l.brokers, l.from_offset, l.until_offset, l.first_epoch
                )
            })
            .collect();
        assert_eq!(words, ["0 [1, 2] 70..100 5", "1 [2] 5..5 0"]);
    }
}
