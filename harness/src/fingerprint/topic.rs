//! The topic itself: partitions, replicas, and what is set on it.
//!
//! Only properties are copied that mean the same on another cluster. Left out, and named, is what refers to brokers by number,
//! to tiered storage, or to one vendor's brokers; compaction, because a record that it removes can't be told from a lost one;
//! and a `min.insync.replicas` above the number of replicas.

use std::collections::BTreeMap;

use serde::Serialize;

/// Topic properties of Kafka 4.3 that mean the same elsewhere.
const PORTABLE: [&str; 21] = [
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "index.interval.bytes",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.insync.replicas",
    "preallocate",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// A topic as its cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicEstimate {
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Replicas of its first partition.
    pub replication_factor: u16,
    /// Brokers of its cluster.
    pub brokers: u16,
    /// What is set on it and can be set elsewhere, by Kafka's names.
    pub config: BTreeMap<String, String>,
    /// Names of properties that are set on it and left out.
    pub left_out: Vec<String>,
    /// Why its configuration is not known; `None`: it is.
    pub config_unknown: Option<String>,
    /// Whether it is set to remove records whose keys have newer ones.
    pub compacted: bool,
}

/// A topic as it was described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Replicas of its first partition.
    pub replication_factor: u16,
    /// Brokers of its cluster.
    pub brokers: u16,
    /// What is set on it, by Kafka's names; or why that is not known.
    pub config: Result<BTreeMap<String, String>, String>,
}

pub(super) fn estimate(described: Described) -> TopicEstimate {
    let Described { name, partitions, replication_factor, brokers, config } = described;
    let config_unknown = config.as_ref().err().cloned();
    let compacted = (config.as_ref().ok())
        .and_then(|config| config.get("cleanup.policy"))
        .is_some_and(|policy| policy.contains("compact"));
    let (config, left_out): (BTreeMap<_, _>, BTreeMap<_, _>) = config
        .unwrap_or_default()
        .into_iter()
        .partition(|(property, value)| is_portable(property, value, replication_factor));
    let left_out = left_out.into_keys().collect();
    TopicEstimate {
        name,
        partitions,
        replication_factor,
        brokers,
        config,
        left_out,
        config_unknown,
        compacted,
    }
}

fn is_portable(property: &str, value: &str, replication_factor: u16) -> bool {
    match property {
        "cleanup.policy" => !value.contains("compact"),
        "min.insync.replicas" => {
            value.parse::<u16>().is_ok_and(|least| (1..=replication_factor).contains(&least))
        }
        _ => PORTABLE.contains(&property),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_elsewhere_is_kept() {
        let config = [
            ("retention.ms", "60000"),
            ("min.insync.replicas", "2"),
            ("cleanup.policy", "compact,delete"),
            ("leader.replication.throttled.replicas", "0:1"),
            ("confluent.placement.constraints", "{}"),
        ];
        let described = Described {
            name: "orders".to_owned(),
            partitions: 12,
            replication_factor: 3,
            brokers: 9,
            config: Ok(config.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        };
        let topic = estimate(described.clone());
        assert!(topic.compacted && topic.config_unknown.is_none());
        assert_eq!(topic.config.keys().collect::<Vec<_>>(), ["min.insync.replicas", "retention.ms"]);
        assert_eq!(
            topic.left_out,
            ["cleanup.policy", "confluent.placement.constraints", "leader.replication.throttled.replicas"]
        );
        let single = estimate(Described { replication_factor: 1, ..described.clone() });
        assert!(single.left_out.contains(&"min.insync.replicas".to_owned()));
        let unknown = estimate(Described { config: Err("nobody answers".to_owned()), ..described });
        assert_eq!(unknown.config_unknown.as_deref(), Some("nobody answers"));
    }
}
