//! `gauntlet bench`: gauntlet's own client beside those of others, on one cluster, in turns.
//!
//! What makes the numbers comparable:
//!
//! - **One meter for all.** How many records were written is read from the partitions' end offsets, what they cost from
//!   `/proc`, for gauntlet as for its peers, which all run as child processes. No contender is asked for its own rate or CPU.
//! - **A window.** Looks at offsets and CPU are taken while a trial goes; what counts lies between the first look after the
//!   warm-up and the last one in the window. Start-up, compilation and shutdown are outside, or, where a reader can't be
//!   looked at from outside, taken off by what the same program needs for a thousand records.
//! - **Turns.** Every contender runs each cell once before any runs it again, in an order drawn with the seed, so that what
//!   drifts is not taken for an effect. Ratios are taken within a repeat.
//! - **Like with like.** Same record sizes, compressibility, acks and partitions; at a fixed rate the same linger. All else is
//!   each contender's own, as a sweep over its knobs found it best ([`tuning`]).
//!
//! Layout: [`matrix`] what is measured, [`contender`] by whom (a file each), [`brokers`] on what, [`payload`] with which bytes,
//! [`child`] and [`meter`] how, [`execute`] in which order, [`probe`] what needs no cluster, [`tuning`] with which settings,
//! [`statistics`], [`summary`] and [`goal`] what it means, [`record`] how it is kept, [`render`] how it is shown, [`profile`] why
//! a goal was missed, [`curves`] whether cost grows with size.

pub mod brokers;
pub mod child;
pub mod contender;
pub mod curves;
pub mod execute;
pub mod goal;
pub mod matrix;
pub mod meter;
pub mod options;
pub mod payload;
pub mod plan;
pub mod probe;
pub mod profile;
pub mod record;
pub mod render;
pub mod statistics;
pub mod summary;
pub mod tuning;

use std::path::PathBuf;

use gauntlet_wire::WireError;

use crate::run::TopicError;

/// Name of the result of a bench.
pub const BENCH_JSON: &str = "bench.json";
/// Name of the result as a page.
pub const BENCH_MARKDOWN: &str = "bench.md";

/// Why a bench, or one trial of it, came to no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The cluster did not start, or did not do as it was told.
    #[error(transparent)]
    Cluster(#[from] gauntlet_chaos::ChaosError),
    /// A topic could not be made ready.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Brokers could not be reached.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A file of the bench could not be written.
    #[error(transparent)]
    Dir(#[from] crate::rundir::RunDirError),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A process could not be started, or not be looked at.
    #[error("cannot run {program}: {source}")]
    Run {
        /// Which.
        program: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A trial has no result.
    #[error("{0}")]
    Trial(String),
    /// A signal came.
    #[error("ended by a signal")]
    Interrupted,
}

/// An error about a file, with what was tried on it.
pub(crate) fn on_file<'a>(
    action: &'static str,
    path: &'a std::path::Path,
) -> impl FnOnce(std::io::Error) -> BenchError + 'a {
    move |source| BenchError::File { action, path: path.to_path_buf(), source }
}
