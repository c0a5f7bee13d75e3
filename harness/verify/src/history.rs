//! What a checker was told, as bytes: whoever has them can judge again, with the rules of another day.
//!
//! A checker that keeps its history ([`Shard::keep_history`]) writes down every call, runs of records as one event each, and
//! hands the bytes over when asked ([`Shard::take_history`]). Where they are kept is not its business. [`Replay`] makes the same calls
//! again: with the same rules it reports the same, which the tests hold it to.
//!
//! What is not in it: the values of intact records. Their identities were decoded, and their checksums found right, when they were
//! read; a new rule can be applied to what followed from that, not to the bytes. Values that failed their checksum are kept whole.
//!
//! An event is a few dozen bytes, mostly of small differences that compress well: about a hundred bytes per batch, before compression.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::compaction::KeyLeft;
use crate::outcome::{Settlement, StreamKey};
use crate::shard::{BatchHeader, PartitionReport, ReadEnd, Shard, ShardConfig, Watermarks};
use crate::window::TruncationWindow;

/// Version of the bytes. Any change of [`Event`], or of a type in it, is another version.
pub const HISTORY_VERSION: u32 = 4;

/// One call of a checker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It began to keep its history.
    Began(ShardConfig),
    /// [`Shard::at`].
    At(u64),
    /// [`Shard::settle`].
    Settled(Settlement),
    /// [`Shard::begin_batch`].
    Batch(BatchHeader),
    /// [`Shard::record`], for neighbours that were all intact.
    Read(ReadRun),
    /// [`Shard::record`], for one that this run did not write; of so many bytes.
    Foreign(i64, usize),
    /// [`Shard::record`], for one whose checksum did not hold, with its value.
    Damaged(i64, Vec<u8>),
    /// [`Shard::corrupt_batch`].
    Corrupt(Range<i64>, BatchHeader, String),
    /// [`Shard::truncate`].
    Truncated(i64),
    /// [`Shard::unreadable_batch`].
    Unreadable(String),
    /// [`Shard::end_batch`].
    BatchEnded,
    /// [`Shard::advance`].
    Advanced(i64),
    /// [`Shard::log_start`].
    LogStart(i64),
    /// [`Shard::watermarks`].
    Watermarks(Watermarks),
    /// [`Shard::state_window`].
    Window(TruncationWindow),
    /// [`Shard::compare`]: what was read again from an offset on, as digests of ranges so wide; `None`: not known.
    ReadAgain {
        /// The offset.
        from: i64,
        /// Offsets of a range.
        width: i64,
        /// The digests.
        sums: Vec<Option<u64>>,
    },
    /// [`Shard::owes`].
    Owes(Vec<i64>, bool),
    /// [`Shard::key_left`].
    KeyLeft(KeyLeft),
    /// [`Shard::note_end`]. Nothing follows.
    Ended(ReadEnd),
}

/// Intact records of one stream, with sequence numbers and offsets that both go up by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRun {
    /// Who sent them.
    pub stream: StreamKey,
    /// Sequence number of the first.
    pub first_pseq: u64,
    /// Offset of the first.
    pub first_offset: i64,
    /// How many there are.
    pub count: u64,
    /// When the last of them was to be sent, CLOCK_MONOTONIC nanoseconds.
    pub sent_ns: u64,
}

/// Bytes that are no history of this version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("byte {at} of a partition's history does not begin an event: {what}")]
pub struct HistoryError {
    /// Where, counted from the begin of the bytes that were handed in.
    pub at: usize,
    /// What the decoder said.
    pub what: String,
}

/// The calls that a checker has not handed over yet.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    bytes: Vec<u8>,
}

impl EventLog {
    #[expect(clippy::expect_used, reason = "an encoder that loses evidence must not go on")]
    pub(crate) fn note(&mut self, event: &Event) {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(event, bytes).expect("a vector takes whatever is of known length");
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// Calls `each` with every event of `bytes`, in order, until it fails.
///
/// # Errors
/// [`HistoryError`] at the first bytes that are no event; those before were handed over. And what `each` fails with.
pub fn events(
    bytes: &[u8],
    mut each: impl FnMut(Event) -> Result<(), HistoryError>,
) -> Result<(), HistoryError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let (event, left) = postcard::take_from_bytes::<Event>(rest)
            .map_err(|error| HistoryError { at, what: error.to_string() })?;
        rest = left;
        each(event)?;
    }
    Ok(())
}

/// One checker, told again what it was told before.
#[derive(Debug, Default)]
pub struct Replay {
    shard: Option<Shard>,
    end: Option<ReadEnd>,
    unreadable: Vec<String>,
}

/// What a replay came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// What the checker says.
    pub report: PartitionReport,
    /// Batches that could not be read, in words.
    pub unreadable: Vec<String>,
    /// The history goes to its end. Otherwise nothing is held against anybody that may yet have come.
    pub is_complete: bool,
}

impl Replay {
    /// Tells the checker what follows.
    ///
    /// # Errors
    /// [`HistoryError`] if the bytes are no events, or do not begin with [`Event::Began`].
    pub fn tell(&mut self, bytes: &[u8]) -> Result<(), HistoryError> {
        events(bytes, |event| self.tell_event(event))
    }

    fn tell_event(&mut self, event: Event) -> Result<(), HistoryError> {
        if let Event::Began(config) = event {
            self.shard = Some(Shard::new(config));
            return Ok(());
        }
        let Some(shard) = &mut self.shard else {
            return Err(HistoryError { at: 0, what: "its first event is missing".to_owned() });
        };
        match event {
            Event::Ended(end) => self.end = Some(end),
            Event::Unreadable(why) => self.unreadable.push(why),
            other => shard.tell(&other),
        }
        Ok(())
    }

    /// What the checker says now that it knows everything. `None` if it never began.
    pub fn finish(self) -> Option<Replayed> {
        let shard = self.shard?;
        let report = match &self.end {
            Some(end) => shard.finish(end),
            None => shard.break_off(),
        };
        Some(Replayed { report, unreadable: self.unreadable, is_complete: self.end.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(event: &Event) -> Vec<u8> {
        let mut log = EventLog::default();
        log.note(event);
        log.take()
    }

    #[test]
    fn bytes_that_are_no_history_are_refused_where_they_begin() {
        let mut bytes = encode(&Event::LogStart(7));
        let whole = bytes.len();
        bytes.extend(encode(&Event::Settled(Settlement {
            stream: StreamKey { producer: 1, incarnation: 2 },
            first_pseq: 3,
            count: 4,
            outcome: crate::Outcome::Acked { base_offset: Some(5) },
            sent_ns: 1,
            settled_ns: 6,
        })));
        let mut seen = Vec::new();
        let read = |bytes: &[u8], seen: &mut Vec<Event>| {
            events(bytes, |event| {
                seen.push(event);
                Ok(())
            })
        };
        assert_eq!(read(&bytes, &mut seen), Ok(()));
        assert_eq!(seen.len(), 2);
        let error = read(&bytes[..bytes.len() - 1], &mut seen).unwrap_err();
        assert_eq!(error.at, whole);
        let error = read(&[0xff; 4], &mut seen).unwrap_err();
        assert_eq!(error.at, 0);
    }

    #[test]
    fn a_history_without_its_begin_says_so() {
        let mut replay = Replay::default();
        let error = replay.tell(&encode(&Event::LogStart(7))).unwrap_err();
        assert!(error.to_string().contains("first event"), "{error}");
        assert!(Replay::default().finish().is_none());
    }
}
