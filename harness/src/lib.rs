//! gauntlet runs a Kafka cluster through a scenario: load, faults, and an exact check of every record.

pub mod bench;
pub mod cli;
pub mod cluster_view;
pub mod disk;
pub mod fingerprint;
pub mod hlog;
pub mod intervals;
pub mod keys;
pub mod load;
pub mod payload;
pub mod plan;
pub mod random;
pub mod rdkafka;
pub mod recorder;
pub mod report;
pub mod run;
pub mod rundir;
pub mod scenario;
pub mod schedule;
pub mod search;
pub mod series;
pub mod sizes;
pub mod sweep;
pub mod trace;
pub mod units;
pub mod windows;
