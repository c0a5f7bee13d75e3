//! A part of a run as a history that Jepsen's Kafka checker, and Elle behind it, read (`gauntlet export`).
//!
//! The format is that of `jepsen.tests.kafka`: a row of EDN maps, each an invocation or a completion of an operation. Here a
//! batch that a producer sent is one operation `:send`, a batch that a reader was handed is one `:poll`, and a reader begins, and goes back
//! where its log was cut off, with `:assign`. Keys are partitions, and values number records: which is which stands in comments on top.
//!
//! A window must not make anomalies of its own. So it is a range of offsets for each partition: all reads in it, and every send that says it is
//! in it. Sends without an offset are in it if their records lie between those of the same stream that were read there. What has no place
//! in such a history (records that are damaged, or somebody else's) is left out and counted.

mod collect;
mod edn;
mod window;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::time::Duration;

use gauntlet_verify::history::{Event, HistoryError, events};

use crate::history::{self, HistoryFileError};
use crate::rundir::RunDir;

use collect::Collected;
use window::Window;

/// So many records are taken at most: the history is sorted in memory, and its readers hold all of it.
pub(crate) const RECORDS_MAX: u64 = 5_000_000;

/// What is wanted of a run. What is not said is not narrowed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Since t = 0 (the end of warm-up), by when records were read.
    pub(crate) from: Option<Duration>,
    /// The same; the end.
    pub(crate) until: Option<Duration>,
    /// Name of the topic.
    pub(crate) topic: Option<String>,
    /// Partitions; none: all.
    pub(crate) partitions: Vec<u32>,
    /// Offsets.
    pub(crate) offsets: Option<Range<i64>>,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Operations.
    pub(crate) operations: u64,
    /// Records that were sent, and records that were read.
    pub(crate) sent: u64,
    /// The same.
    pub(crate) read: u64,
    /// Records, or batches that can't be read, that have no place in such a history.
    pub(crate) left_out: u64,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error(transparent)]
    History(#[from] HistoryFileError),
    #[error(
        "the window holds more than {RECORDS_MAX} records: narrow it with --from and --until, --partition or --offsets"
    )]
    TooMany,
    #[error("nothing was read in that window; {0}")]
    Nothing(String),
    #[error("cannot write the history: {0}")]
    Write(#[from] io::Error),
}

/// Writes what is wanted of a run.
///
/// # Errors
/// There is no history, or it can't be read; nothing in it is wanted, or too much; the output can't be written.
pub(crate) fn export(dir: &RunDir, wanted: &Wanted, out: &mut impl Write) -> Result<Written, ExportError> {
    let zero_ns = zero_ns(dir)?;
    let mut windows: BTreeMap<(u16, u32), Window> = BTreeMap::new();
    each_event(dir, |at, event| windows.entry(at).or_default().look(event, wanted, zero_ns))?;
    let seen = words(&windows, zero_ns);
    windows.retain(|_, window| window.is_wanted(wanted));
    if windows.is_empty() {
        return Err(ExportError::Nothing(seen));
    }
    let mut collected = Collected::new(&windows);
    each_event(dir, |at, event| {
        if let Some(window) = windows.get(&at) {
            collected.take(at, window, event);
        }
    })?;
    if collected.records() > RECORDS_MAX {
        return Err(ExportError::TooMany);
    }
    Ok(edn::write(collected, &windows, zero_ns, out)?)
}

/// What there is to choose from.
fn words(windows: &BTreeMap<(u16, u32), Window>, zero_ns: u64) -> String {
    let first = windows.values().filter_map(|window| window.first_ns).min();
    let last = windows.values().filter_map(|window| window.last_ns).max();
    match (first, last) {
        (Some(first), Some(last)) => {
            let since = |ns: u64| (ns as f64 - zero_ns as f64) / 1e9;
            let topics: std::collections::BTreeSet<&str> =
                windows.values().map(|window| window.topic.as_str()).collect();
            format!(
                "the history has {} partitions of {}, read from {:.1} s to {:.1} s",
                windows.len(),
                Vec::from_iter(topics).join(", "),
                since(first),
                since(last)
            )
        }
        _ => "the history has no reads at all".to_owned(),
    }
}

/// t = 0, CLOCK_MONOTONIC nanoseconds; when the load began, if the run died before it could say.
fn zero_ns(dir: &RunDir) -> Result<u64, ExportError> {
    let head = history::head(dir)?;
    let warmup_s = crate::recheck::run_record(dir).and_then(|record| record.warmup_s).unwrap_or(0.0);
    Ok(head.origin_ns + (warmup_s * 1e9) as u64)
}

/// Calls `each` with every event of the checker of each partition, by reader and partition.
fn each_event(dir: &RunDir, mut each: impl FnMut((u16, u32), &Event)) -> Result<(), ExportError> {
    history::read(dir, |reader, partition, bytes| {
        events(bytes, |event| {
            each((reader, partition), &event);
            Ok(())
        })
        .map_err(|error: HistoryError| error.to_string())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
