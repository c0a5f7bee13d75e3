//! A part of a run as a history that Jepsen's Kafka checker, and Elle behind it, read (`gauntlet export`).
//!
//! The format is that of `jepsen.tests.kafka`: a row of EDN maps, each an invocation or a completion of an operation. Here a
//! batch that a producer sent is one operation `:send`, a batch that a reader was handed is one `:poll`, and a reader begins, and goes back
//! where its log was cut off, with `:assign`. Keys are partitions, and values number records: which is which stands in comments on top.
//!
//! A window must not make anomalies of its own. So it is a range of offsets for each partition: all reads in it, every send that says it is
//! in it, and every send of what was read in it. Sends without an offset are in it if their records lie between those of the same stream
//! that were read there. Offsets count from the least in the window, because Jepsen's checker keeps one place for each below. What was read and
//! never sent gets a send of unknown outcome. What has no place in such a history (records that are damaged, or somebody else's) is left out
//! and counted.

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

use collect::{At, Collected};
use edn::Key;
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
    /// Records that were read, and nothing says that they were sent.
    pub(crate) unexplained: u64,
    /// Records that were read in the window, and acked at an offset outside.
    pub(crate) elsewhere: u64,
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
    #[error("nothing was read or acked in that window; {0}")]
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
    let mut windows: BTreeMap<At, Window> = BTreeMap::new();
    each_event(dir, |at, event| windows.entry(at).or_default().look(event, wanted, zero_ns))?;
    let offsets: BTreeMap<At, Range<i64>> =
        windows.iter().filter_map(|(at, window)| Some((*at, window.offsets(wanted)?))).collect();
    if offsets.is_empty() {
        return Err(ExportError::Nothing(words(&windows, zero_ns)));
    }
    let mut collected = Collected::default();
    each_event(dir, |at, event| {
        if let Some(offsets) = offsets.get(&at) {
            collected.take_reads(at, offsets, event);
        }
    })?;
    collected.end_reads();
    each_event(dir, |at, event| {
        if let (Some(offsets), Event::Settled(settlement)) = (offsets.get(&at), event) {
            collected.take_send(at, offsets, settlement);
        }
    })?;
    if collected.is_too_much() {
        return Err(ExportError::TooMany);
    }
    collected.explain_reads();
    let keys = offsets.iter().map(|(at, offsets)| (*at, Key::of(*at, &windows[at], offsets))).collect();
    Ok(edn::write(collected, &keys, zero_ns, out)?)
}

/// What there is to choose from.
fn words(windows: &BTreeMap<At, Window>, zero_ns: u64) -> String {
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
fn each_event(dir: &RunDir, mut each: impl FnMut(At, &Event)) -> Result<(), ExportError> {
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
