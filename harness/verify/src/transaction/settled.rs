//! All that is known of one transaction when the rules look at it.

use std::fmt;

use crate::found::Place;
use crate::shard::BatchHeader;

use super::{Answer, BatchKey, End, Source, TransactionKey};

/// A marker that decided a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) end: End,
    pub(crate) offset: i64,
    pub(crate) epoch: i16,
    pub(crate) coordinator_epoch: i32,
    /// When the log reader was given it.
    pub(crate) at_ns: u64,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.end {
            End::Commit => "COMMIT",
            End::Abort => "ABORT",
        };
        let Self { offset, epoch, coordinator_epoch, .. } = self;
        write!(f, "{name} marker at offset {offset}, epoch {epoch}, coordinator epoch {coordinator_epoch}")
    }
}

/// Where a batch is, as far as the log was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not in the log, and may yet come.
    Absent,
    /// Not in the log; leaders refuse it from here on, because the log has something later of its producer id.
    Closed,
    /// In the log, and its transaction is open there.
    InLog { header: BatchHeader },
    /// In the log, and a marker has said what it is.
    Decided { header: BatchHeader, marker: Marker },
}

/// A batch of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) key: BatchKey,
    pub(crate) first_pseq: u64,
    pub(crate) count: u32,
    pub(crate) source: Option<Source>,
    pub(crate) state: State,
    /// It needs no waiting for: decided or closed, and passed by every reader.
    pub(super) settled: bool,
    /// It was appended when the log had ended its transaction already, or was left open until the next one ended.
    pub(crate) late: bool,
    /// That was counted already, because its epoch was over too.
    pub(super) counted: bool,
    /// When somebody first saw it under a COMMIT marker. Cutting the log off does not undo that.
    pub(super) committed_ns: Option<u64>,
    /// When, and at which offset of its batch, a reader at read_committed was first given it.
    pub(crate) delivered_ns: Option<u64>,
    pub(crate) delivered_at: Option<i64>,
}

impl Batch {
    pub(super) fn new(key: BatchKey, first_pseq: u64, count: u32, source: Option<Source>) -> Self {
        Self {
            key,
            first_pseq,
            count,
            source,
            state: State::Absent,
            settled: false,
            late: false,
            counted: false,
            committed_ns: None,
            delivered_ns: None,
            delivered_at: None,
        }
    }

    pub(crate) fn header(&self) -> Option<BatchHeader> {
        match &self.state {
            State::InLog { header } | State::Decided { header, .. } => Some(*header),
            State::Absent | State::Closed => None,
        }
    }

    /// Where it was read, in the log or by a reader at read_committed.
    pub(crate) fn offset(&self) -> Option<i64> {
        self.header().map(|header| header.base_offset).or(self.delivered_at)
    }

    pub(crate) fn marker(&self) -> Option<&Marker> {
        match &self.state {
            State::Decided { marker, .. } => Some(marker),
            _ => None,
        }
    }

    /// True if every reader at read_committed is to be given it.
    pub(crate) fn is_visible(&self) -> bool {
        self.marker().is_some_and(|marker| marker.end == End::Commit)
    }

    /// When somebody first saw it committed, or was given it as such.
    pub(crate) fn visible_ns(&self) -> Option<u64> {
        self.committed_ns.into_iter().chain(self.delivered_ns).min()
    }
}

/// What may become of a transaction, by what its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Committed: every record is to be visible.
    Must,
    /// A commit was sent: all of it, or nothing.
    May,
    /// A commit was never sent, or always refused: nothing of it.
    Never,
    /// The client has said nothing yet: nothing of it, so far.
    Open,
}

/// A transaction of which nothing more is to come.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) key: TransactionKey,
    /// `transaction.version` that it was begun under.
    pub(crate) version: u8,
    /// What EndTxn was first sent with, and when.
    pub(crate) end_sent: Option<(End, u64)>,
    pub(crate) answer: Option<Answer>,
    pub(crate) batches: Vec<Batch>,
    /// Where its own marker was read.
    pub(super) ended_at: Vec<Place>,
    /// How many were begun before it.
    pub(super) rank: u64,
}

impl Settled {
    pub(super) fn new(key: TransactionKey, version: u8, rank: u64) -> Self {
        Self { key, version, end_sent: None, answer: None, batches: Vec::new(), ended_at: Vec::new(), rank }
    }

    /// Notes that a marker comes upon a batch, its own or that of a later transaction.
    pub(super) fn note_marker(&mut self, place: Place, index: usize, own: bool) {
        let batch = &mut self.batches[index];
        batch.late |= !own;
        if !batch.late && !self.ended_at.contains(&place) {
            self.ended_at.push(place);
        }
    }

    pub(crate) fn fate(&self) -> Fate {
        match (self.end_sent, self.answer) {
            (_, Some(Answer::Refused)) | (Some((End::Abort, _)), _) | (None, Some(_)) => Fate::Never,
            (Some((End::Commit, _)), Some(Answer::Done)) => Fate::Must,
            (Some((End::Commit, _)), _) => Fate::May,
            (None, None) => Fate::Open,
        }
    }

    /// The marker that contradicts what its client knows.
    pub(super) fn wrong_end(&self) -> Option<End> {
        match self.fate() {
            Fate::Must => Some(End::Abort),
            Fate::Never => Some(End::Commit),
            Fate::May | Fate::Open => None,
        }
    }

    /// True if this batch was appended when the log had ended its transaction, and that end was its client's. If it was not, the marker
    /// is wrong, and not the batch: its client had not ended the transaction yet (KAFKA-17754).
    pub(super) fn is_late(&self, batch: &Batch) -> bool {
        let wrong = self.wrong_end();
        let ended_wrongly = |other: &Batch| {
            let end = other.marker().map(|marker| marker.end);
            other.key.place == batch.key.place && !other.late && end.is_some() && end == wrong
        };
        batch.late && !self.batches.iter().any(ended_wrongly)
    }

    /// When a commit was sent, if it was.
    pub(crate) fn commit_sent_ns(&self) -> Option<u64> {
        self.end_sent.filter(|(end, _)| *end == End::Commit).map(|(_, at_ns)| at_ns)
    }

    /// What its client knows, in words.
    pub(crate) fn told(&self) -> &'static str {
        match (self.end_sent.map(|(end, _)| end), self.answer) {
            (None, None) => "which its client had not ended",
            (None, Some(_)) => "given up without EndTxn",
            (Some(End::Commit), Some(Answer::Done)) => "committed for its client",
            (Some(End::Commit), Some(Answer::Refused)) => "whose commit was refused",
            (Some(End::Commit), _) => "whose commit has no answer",
            (Some(End::Abort), Some(Answer::Done)) => "aborted for its client",
            (Some(End::Abort), _) => "aborted by its client",
        }
    }
}
