//! A program of anyone's as the client under test: `driver: external`. `docs/external-driver.md` is the contract.
//!
//! - `names`: which properties a scenario may hand over raw
//! - `settings`: everything the program is configured by, in the words of Kafka's Java client
//! - `lines`: the protocol's lines, written and read
//! - `launch`: how a program is started, and its first line
//! - `program`: one process, its pipes, and its end; `partner`: the process that there is just now, and the next one
//! - `programs`: what all of them take; `log`: what they say
//! - `produce`, `read`: the loops of a producer and of a reader

pub mod launch;
pub mod lines;
pub mod log;
pub mod names;
pub mod partner;
pub mod produce;
pub mod program;
pub mod programs;
pub mod read;
pub mod settings;

use gauntlet_wire::ErrorCode;

/// The loop of a producer does not turn more often than this for records alone. Nanoseconds.
pub const TICK_NS: u64 = 1_000_000;

/// Stands for an error that no broker answered, where a program says `CLIENT`. No broker and no library uses the number.
pub const CLIENT_ERROR: ErrorCode = ErrorCode(-10_000);

/// The name of [`CLIENT_ERROR`], for reports.
#[must_use]
pub(crate) fn code_name(code: ErrorCode) -> Option<String> {
    (code == CLIENT_ERROR).then(|| lines::CLIENT.to_owned())
}
