//! Versions of Kafka that can be run.

use std::fmt;
use std::str::FromStr;

/// A release of Apache Kafka, 3.9 or newer. Older ones are refused: their KRaft lacks what the checks rest on (stable ids
/// of directories, OffsetForLeaderEpoch over every controller change, ...), and nobody here has tried them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KafkaVersion {
    major: u16,
    minor: u16,
    patch: u16,
    /// `rc1` of `4.4.0-rc1`; empty for a release.
    qualifier: String,
}

/// The text is no version of Kafka that can be run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("kafka version {text:?} {reason}; write it like 4.3.0")]
pub struct UnknownVersion {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl KafkaVersion {
    /// What runs when nothing is named.
    pub const DEFAULT: Self = Self { major: 4, minor: 3, patch: 0, qualifier: String::new() };

    /// The oldest Java the broker runs on: 17 for Kafka 4 (KIP-1013), 11 for 3.9 (whose brokers still took 8, but 11 is the
    /// oldest tried).
    #[must_use]
    pub fn java_min(&self) -> u32 {
        if self.is_four() { 17 } else { 11 }
    }

    /// Kafka 4: KRaft only, log4j 2.
    pub(crate) fn is_four(&self) -> bool {
        self.major >= 4
    }
}

impl FromStr for KafkaVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let unknown = |reason| UnknownVersion { text: text.to_owned(), reason };
        let (numbers, qualifier) = text.split_once('-').unwrap_or((text, ""));
        // The text becomes part of a path and of a pom, so its characters are limited here, once.
        if !qualifier.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.') {
            return Err(unknown("has a qualifier with other characters than letters, digits, '-' and '.'"));
        }
        let parts: Option<Vec<u16>> = numbers.split('.').map(|part| part.parse().ok()).collect();
        let Some(&[major, minor, patch]) = parts.as_deref() else {
            return Err(unknown("is not three numbers"));
        };
        let version = Self { major, minor, patch, qualifier: qualifier.to_owned() };
        if (major, minor) < (3, 9) {
            return Err(unknown("is older than 3.9, the oldest that is supported"));
        }
        Ok(version)
    }
}

impl fmt::Display for KafkaVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if self.qualifier.is_empty() { Ok(()) } else { write!(out, "-{}", self.qualifier) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for text in ["3.9.1", "4.0.0", "4.3.0", "4.4.0-rc1"] {
            assert_eq!(text.parse::<KafkaVersion>().unwrap().to_string(), text);
        }
        assert_eq!(KafkaVersion::DEFAULT, "4.3.0".parse().unwrap());
    }

    #[test]
    fn refuses_what_can_not_run_or_would_leave_the_cache() {
        for text in ["", "4", "4.3", "four", "3.8.1", "0.11.0", "4.3.0-../../x", "4.3.0-<b>"] {
            assert!(text.parse::<KafkaVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn java_follows_the_version() {
        assert_eq!("3.9.1".parse::<KafkaVersion>().unwrap().java_min(), 11);
        assert_eq!(KafkaVersion::DEFAULT.java_min(), 17);
    }
}
