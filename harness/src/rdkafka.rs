//! librdkafka as the client under test: `driver: rdkafka`.
//!
//! - `names`: which of its properties a scenario may set itself
//! - `settings`: what Kafka's properties are called there, and what a plan warns of
//! - `check`: whether librdkafka takes them, before anything starts
//! - `connect`: what is only known in a run: brokers, security, tokens
//! - `folding`: reports of records, one by one, become runs
//! - `produce`, `read`: the loops of a producer and of a reader; `sleep`: what they do in between
//! - `notes`: log lines and statistics, away from the loops

#[cfg(feature = "rdkafka")]
pub mod check;
#[cfg(feature = "rdkafka")]
pub mod connect;
#[cfg(feature = "rdkafka")]
pub mod folding;
pub mod names;
#[cfg(feature = "rdkafka")]
pub mod notes;
#[cfg(feature = "rdkafka")]
pub mod produce;
#[cfg(feature = "rdkafka")]
pub mod read;
pub mod settings;
#[cfg(feature = "rdkafka")]
mod sleep;

/// The loop of a producer does not turn more often than this for records alone: what is due in between is handed over
/// together. Nanoseconds.
pub const TICK_NS: u64 = 1_000_000;

/// What a scenario is told that asks for librdkafka where there is none.
#[cfg(not(feature = "rdkafka"))]
pub(crate) const NOT_BUILT: &str =
    "build gauntlet with its default features; they need the headers of OpenSSL and zlib (CONTRIBUTING.md)";

/// The version of librdkafka; `None` if gauntlet was built without.
#[must_use]
pub fn version() -> Option<String> {
    #[cfg(feature = "rdkafka")]
    return Some(gauntlet_rdkafka::version());
    #[cfg(not(feature = "rdkafka"))]
    return None;
}

/// librdkafka's name for one of its own error codes; Kafka's codes have theirs from the protocol.
#[must_use]
pub(crate) fn code_name(code: i16) -> Option<String> {
    #[cfg(feature = "rdkafka")]
    return (code < -1).then(|| gauntlet_rdkafka::Code(i32::from(code)).name());
    #[cfg(not(feature = "rdkafka"))]
    return (code < -1).then(|| format!("code {code}"));
}
