//! The one error type of this crate.

use std::io::{self, ErrorKind};

use crate::acl::Permission;
use crate::code::ErrorCode;
use crate::security::tls::{self, TlsFailure};

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
    /// A check of TLS has failed.
    #[error("TLS with {addr} failed: {failure}")]
    Tls {
        /// `host:port` of the peer.
        addr: String,
        /// Which one, and what to do about it.
        failure: TlsFailure,
    },
    /// The log-in by SASL has failed.
    #[error(transparent)]
    Authentication(Box<RefusedLogin>),
    /// The broker does not allow it to who we are.
    #[error(transparent)]
    Denied(Box<Denied>),
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
            WireError::Denied(denied) => Some(denied.code),
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

/// A log-in that has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log-in of {principal} at {addr} by {mechanism} failed: {detail}; {next_step}")]
pub struct RefusedLogin {
    /// `host:port` of the peer.
    pub addr: String,
    /// `sasl.mechanism`.
    pub mechanism: &'static str,
    /// Who wanted to log in, as far as we know.
    pub principal: String,
    /// The broker's words, or what was wrong with them.
    pub detail: String,
    /// The next step.
    pub next_step: &'static str,
}

/// A permission that is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}: {code}: {principal} lacks {permission}; grant it (`gauntlet plan` lists all that a run needs)"
)]
pub struct Denied {
    /// What was asked for, e.g. `create topic orders on 127.0.0.1:9092`.
    pub what: String,
    /// The code.
    pub code: ErrorCode,
    /// Who we are, as far as we know.
    pub principal: String,
    /// What is missing.
    pub permission: Permission,
}

/// How far a connection has come: what a sudden end of it probably means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// TLS is not agreed on.
    TlsHandshake,
    /// Nothing was answered yet, without TLS.
    Greeting,
    /// Nothing was answered yet, under TLS.
    GreetingUnderTls,
    /// Versions are known, and nothing else was answered; there was no log-in.
    FirstRequest,
    /// It has served.
    InUse,
}

impl Stage {
    /// What the end of a connection in this stage probably means.
    fn hint(self) -> Option<&'static str> {
        match self {
            Stage::TlsHandshake => Some(
                "it was closed during the TLS handshake, which is what a listener without TLS does: check \
                 security.protocol, and the port",
            ),
            Stage::Greeting => Some(
                "it was closed before the first answer, which is what a listener with TLS does to a client without: \
                 check security.protocol, and the port",
            ),
            Stage::GreetingUnderTls => Some(
                "it was closed right after the TLS handshake: the broker may demand a client certificate that it trusts",
            ),
            Stage::FirstRequest => Some(
                "it was closed at the first request, which is what a listener with SASL does to a client that does not \
                 log in: check security.protocol and sasl.mechanism",
            ),
            Stage::InUse => None,
        }
    }
}

/// What it means that reading or writing has failed.
pub(crate) fn broken(addr: &str, stage: Stage, source: io::Error) -> WireError {
    let addr = addr.to_owned();
    if let Some(error) = source.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        return WireError::Tls { addr, failure: tls::explain(error) };
    }
    let source = match (source.kind(), stage.hint()) {
        (
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe,
            Some(hint),
        ) => io::Error::new(source.kind(), hint),
        (ErrorKind::UnexpectedEof, None) => io::Error::new(ErrorKind::UnexpectedEof, "the broker closed it"),
        // What a blocking socket says when its time-out is over.
        (ErrorKind::WouldBlock | ErrorKind::TimedOut, _) => {
            io::Error::new(ErrorKind::TimedOut, "no answer in time")
        }
        _ => source,
    };
    WireError::Io { addr, source }
}
