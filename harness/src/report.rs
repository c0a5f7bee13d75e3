//! A run directory, read back: what reports are rendered from, and the reports themselves.
//!
//! Reports come from files alone, so that a run that died has one as well as a run that ended, and that either can be
//! rendered again. Whatever is missing or torn is left out and noted; only `run.json` must be there.

mod clock;
mod files;
mod read;
mod seconds;
mod write;

use std::path::PathBuf;

use gauntlet_reports::run_data::RunData;

use crate::rundir::RunDirError;

pub use read::{read, reproduce};
pub(crate) use write::write_forms;
pub use write::{ReportForm, Written, render, write};

/// A run directory that was read.
#[derive(Debug, Clone)]
pub struct ReadRun {
    /// What reports are rendered from.
    pub data: RunData,
    /// What could not be read and was left out, in words.
    pub notes: Vec<String>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Somebody else's directory, or none.
    #[error("{} is no run directory: it has no run.json", dir.display())]
    NotARun {
        /// The directory.
        dir: PathBuf,
    },
    /// A run.json that this version can't read.
    #[error("cannot read {}: {why}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It panicked; what it said is on the terminal.
    #[error("a bug of gauntlet: {name} could not be rendered")]
    Renderer {
        /// The file that it was to be.
        name: &'static str,
    },
    /// The operating system refused.
    #[error(transparent)]
    Dir(#[from] RunDirError),
}
