//! gauntlet runs a Kafka cluster through a scenario: load, faults, and an exact check of every record.

pub mod load;
pub mod payload;
pub mod recorder;
pub mod schedule;
