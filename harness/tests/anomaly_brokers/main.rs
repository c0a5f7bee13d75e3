//! Planted anomalies on real brokers, found by whole runs of the `gauntlet` program; each with its control, which differs in one
//! setting and finds nothing. After every run Kafka's own tools count what is in the log, and have to agree with the checker.
//!
//! By faults of the scenario: `acks_one`, `swallowed_answers`, `unclean_election`, `unclean_on_demand`, `power_loss`. By edits of the logs of brokers that the test has
//! stopped (what a disk may do): `truncated_log`, `corrupt_batch`, `compacted`, `read_disagreement`, `appended_twice`, `last_replica`. Nothing planted: `clean`.
//!
//! Layout: one file per anomaly; `case` a run and what is claimed of it, `referee` Kafka's own count, `stage` the brokers that are
//! stopped and started by tests, `segments` the edits of their logs.
//!
//! With `GAUNTLET_ANOMALY_ROWS=FILE` every run appends a line of JSON to that file: see `ci/anomalies`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "../support/brokers.rs"]
mod brokers;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/wait.rs"]
mod wait;

mod acks_one;
mod appended_twice;
mod case;
mod clean;
mod compacted;
mod corrupt_batch;
mod last_replica;
mod power_loss;
mod read_disagreement;
mod referee;
mod segments;
mod stage;
mod swallowed_answers;
mod truncated_log;
mod unclean_election;
mod unclean_on_demand;
