//! A sweep: one scenario at many points, each an ordinary run with a directory of its own below the sweep's.
//!
//! - [`plan`]: points, order, worst-case time; made before anything starts
//! - [`select`]: some points only, `--only`
//! - [`execute`]: runs one after the other, `sweep.json` written as it goes
//! - [`resume`]: going on with a sweep that was interrupted
//! - [`report`]: the report of a sweep, from its directory alone
//!
//! **What makes points comparable.** Runs that follow each other on the same `cluster:` share it: a new one for every run would
//! begin cold each time, and what a JVM learns in its first minute is more than most settings change. For the same reason there
//! is one warm-up load per cluster before its first run. Each run has topics of its own; they are deleted after it, and the next
//! one begins when they are gone from the brokers' disks. Faults leave traces, so a sweep with faults has a cluster per run, and
//! every run is as cold as any other. Every point is run once before any is run again, in shuffled order, so that what drifts
//! over hours (temperature, neighbours, disk) is spread over all points and not taken for an effect of the last axis.

pub mod execute;
pub(crate) mod order;
pub mod plan;
pub mod report;
pub mod resume;
pub mod select;

pub use execute::{SweepListener, execute};
pub use plan::{PlannedPoint, PlannedRun, SweepPlan, SweepPlanError, SweepPlanOptions, plan};

/// Name of the summary of a sweep, in its directory.
pub const SWEEP_JSON: &str = "sweep.json";
/// Name of its table of runs.
pub const SWEEP_CSV: &str = "sweep.csv";
