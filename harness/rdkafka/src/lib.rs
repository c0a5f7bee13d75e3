//! librdkafka, as far as load needs it: clients whose reports and records come in batches, without an allocation, a lock
//! or a future of ours per record. All `unsafe` about it is in this crate.
//!
//! - [`config`]: properties, refused one by one
//! - [`producer`]: hands records over, and tells what became of them
//! - [`consumer`]: reads assigned partitions, without a group
//! - [`notice`]: log lines, statistics, errors, and the wish for a token
//! - [`statistics`]: what librdkafka says about itself once per second
//! - [`wakeup`]: what a loop sleeps on until one of its clients has something
//! - [`code`]: error codes, those of brokers and librdkafka's own
//!
//! It knows nothing of scenarios, identities and checking.

pub mod code;
pub mod config;
pub mod consumer;
mod handle;
pub mod notice;
pub mod producer;
pub mod statistics;
pub mod wakeup;

pub use code::Code;
pub use config::{Config, Kind, SettingError, StartError};
pub use notice::Notice;

use std::ffi::CStr;

/// Version of the librdkafka that is linked, e.g. `2.12.1`.
#[must_use]
pub fn version() -> String {
    // SAFETY: takes nothing, and returns a static text.
    let text = unsafe { CStr::from_ptr(rdkafka_sys::rd_kafka_version_str()) };
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the build found on the machine decides what librdkafka can do, and it says nothing if something was not there.
    #[test]
    fn everything_that_the_format_promises_is_built_in() {
        let features = Config::new().get("builtin.features").unwrap();
        for feature in
            ["gzip", "snappy", "lz4", "zstd", "ssl", "sasl_plain", "sasl_scram", "sasl_oauthbearer"]
        {
            assert!(features.split(',').any(|f| f.trim() == feature), "{feature} is not in {features}");
        }
        assert!(version().starts_with("2."), "{}", version());
    }
}
