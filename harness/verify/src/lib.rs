//! Record identity and the streaming checker: pure, without I/O, clocks or threads.
//!
//! | module         | what it holds                                                              |
//! |----------------|----------------------------------------------------------------------------|
//! | [`identity`]   | the bytes every record carries, and the checksum that binds it to its place |
//! | [`outcome`]    | what became of a produced batch                                            |
//! | [`guarantee`]  | what a configuration promises                                              |
//! | [`finding`]    | the names of everything that can be found                                  |
//! | [`policy`]     | which finding breaks which promise                                         |
//! | [`interval_set`] | sorted ranges of integers                                                |
//! | [`shard`]      | the checker of one partition; one file per anomaly, its definition on top  |
//! | [`transaction`] | the checker of transactions, and of cycles among them; no run feeds it yet |
//! | [`poll`]       | the checker of consumers' positions in a group; no run feeds it yet        |
//! | [`compaction`] | the checker of what compaction leaves; no run feeds it yet                    |
//! | [`summary`]    | exact counts that merge                                                    |
//! | [`found`]      | counts and evidence of the two checkers above                              |
//! | [`witness`]    | the evidence behind a count                                                |
//! | [`history`]    | what a checker was told, as bytes, and telling it again                    |
//! | [`mutate`]     | planted faults: is each found, and nothing else?                           |
//!
//! Detection and policy are separate: a shard says what it found, [`judge`] says what that means.

pub mod compaction;
pub mod finding;
pub mod found;
pub mod guarantee;
pub mod history;
pub mod identity;
pub mod interval_set;
pub mod mutate;
pub mod outcome;
pub mod policy;
pub mod poll;
pub mod shard;
pub mod summary;
pub mod transaction;
pub mod window;
pub mod witness;

mod crc;
mod mix;
mod run;

pub use compaction::Compaction;
pub use finding::FindingClass;
pub use found::{Found, Place};
pub use guarantee::{Acks, Guarantee, Order, Preset, ProducerSemantics};
pub use identity::{CrcSeed, DecodeError, IDENTITY_LEN, Identity};
pub use outcome::{Outcome, Settlement, StreamKey};
pub use policy::{Context, Delivery, Judgement, judge};
pub use poll::Polls;
pub use shard::{BatchHeader, PartitionReport, ReadEnd, Reread, Shard, ShardConfig, Watermarks};
pub use summary::Summary;
pub use transaction::Transactions;
pub use window::TruncationWindow;
pub use witness::{Blame, Evidence, Exemplars, Witness};
