//! What became of a produced batch, as the producer knows it after all attempts.

use serde::{Deserialize, Serialize};

/// One dense sequence of records: what one incarnation of one producer sent to one partition.
///
/// A new process, or a recovery that may not reuse sequence numbers, is a new incarnation. The epoch that
/// a transaction's end hands out is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamKey {
    /// Index of the producer in the plan.
    pub producer: u16,
    /// Counts the lives of that producer, from 0.
    pub incarnation: u16,
}

impl StreamKey {
    /// One integer that orders like the pair; cheap to compare and to search for.
    pub(crate) fn packed(self) -> u32 {
        u32::from(self.producer) << 16 | u32::from(self.incarnation)
    }
}

/// Outcome of a batch, folded over every attempt to send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// A broker confirmed the batch.
    Acked {
        /// Offset of the batch's first record. `None` (or a negative number) when the broker did not
        /// say, as with DUPLICATE_SEQUENCE_NUMBER.
        base_offset: Option<i64>,
    },
    /// Certainly not appended: never written to a socket, or rejected before append.
    Failed,
    /// May or may not have been appended.
    Indeterminate,
    /// Sent with acks=0: nobody will ever say.
    Unacknowledged,
}

/// The end of one produced batch: a contiguous range of one stream on one partition.
///
/// Every sent record is settled exactly once. The records of an acked batch lie at consecutive offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// Who sent it.
    pub stream: StreamKey,
    /// Sequence number of the first record.
    pub first_pseq: u64,
    /// Number of records.
    pub count: u32,
    /// What became of them.
    pub outcome: Outcome,
    /// When it was about to be sent, and nothing of it had been, CLOCK_MONOTONIC nanoseconds; 0 if that is not known.
    pub sent_ns: u64,
    /// When the producer had read the answer that says so, CLOCK_MONOTONIC nanoseconds, like the intended time in identities; 0 if
    /// that is not known.
    pub settled_ns: u64,
}
