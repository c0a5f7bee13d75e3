//! The one error type of this crate.

use crate::code::ErrorCode;

/// What can go wrong between us and a broker. Every variant names the peer, so that a message can be acted on.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The address could not be resolved or connected to.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// `host:port` as it was given.
        addr: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// An established connection failed; requests in flight on it have an unknown outcome.
    #[error("connection to {addr} failed: {source}")]
    Io {
        /// `host:port` of the peer.
        addr: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Bytes arrived that are not what the protocol says they should be.
    #[error("{addr} sent what cannot be understood: {detail}")]
    Protocol {
        /// `host:port` of the peer.
        addr: String,
        /// What was wrong, and where.
        detail: String,
    },
    /// The peer does not offer a version of an API that this client speaks.
    #[error(
        "{addr} does not support {api} in a version that gauntlet speaks (it offers {offered}, gauntlet {ours})"
    )]
    Unsupported {
        /// `host:port` of the peer.
        addr: String,
        /// Name of the API, as Kafka spells it.
        api: String,
        /// Range offered by the peer, or `none`.
        offered: String,
        /// Range that this client speaks.
        ours: String,
    },
    /// The broker answered with an error code.
    #[error("{what}: {code}{}", message_suffix(.message))]
    Kafka {
        /// What was asked for, e.g. `create topic orders on 127.0.0.1:9092`.
        what: String,
        /// The code.
        code: ErrorCode,
        /// The broker's own words, where the response carries any.
        message: Option<String>,
    },
    /// A state was not reached before its deadline.
    #[error("{what} did not happen within {waited_ms} ms; last seen: {last}")]
    Deadline {
        /// The state that was waited for.
        what: String,
        /// How long it was waited for.
        waited_ms: u64,
        /// The last state seen instead.
        last: String,
    },
}

fn message_suffix(message: &Option<String>) -> String {
    message.as_ref().map(|m| format!(" ({m})")).unwrap_or_default()
}

impl WireError {
    /// The broker's error code, where the broker answered at all.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            WireError::Kafka { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether asking again (perhaps another broker) can help: connection trouble and Kafka's retriable codes.
    pub fn is_retriable(&self) -> bool {
        match self {
            WireError::Connect { .. } | WireError::Io { .. } => true,
            WireError::Kafka { code, .. } => code.is_retriable(),
            _ => false,
        }
    }
}
