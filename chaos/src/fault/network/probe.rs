//! A connection as any client would make it, through the proxy or the network of namespaces.

use std::time::{Duration, Instant};

use gauntlet_wire::{ConnectOptions, Connection, WireError};

/// What became of it.
#[derive(Debug)]
pub(super) enum Seen {
    /// The broker greeted it, after so long.
    Answered { after: Duration },
    /// Nothing came for as long as anybody waited.
    Silence,
    /// It was closed by force, or never opened: the kernel says so, too, of a reset that answers its first packet.
    Reset,
    /// It ended in order.
    Closed,
    /// Something else went wrong.
    Other(String),
}

/// Connects to `addr`, as somebody who may, and waits at most `patience` for each answer that this takes: one, or more with TLS or a log-in.
pub(super) fn ask(addr: &str, who: ConnectOptions, patience: Duration) -> Seen {
    let options = ConnectOptions { client_id: "gauntlet-probe".to_owned(), timeout: patience, ..who };
    seen_of(|| Connection::connect(addr, &options))
}

/// What becomes of something that is asked.
pub(super) fn seen_of<T>(ask: impl FnOnce() -> Result<T, WireError>) -> Seen {
    let begun = Instant::now();
    match ask() {
        Ok(_) => Seen::Answered { after: begun.elapsed() },
        Err(error) => understood(&error),
    }
}

fn understood(error: &WireError) -> Seen {
    use std::io::ErrorKind as Kind;
    match io_kind(error) {
        Some(Kind::TimedOut | Kind::WouldBlock) => Seen::Silence,
        Some(
            Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted | Kind::ConnectionRefused,
        ) => Seen::Reset,
        Some(Kind::UnexpectedEof) => Seen::Closed,
        _ => Seen::Other(error.to_string()),
    }
}

/// The error of the socket at the bottom of it.
fn io_kind(error: &WireError) -> Option<std::io::ErrorKind> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        next = cause.source();
    }
    None
}

impl std::fmt::Display for Seen {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answered { after } => write!(out, "was answered after {} ms", after.as_millis()),
            Self::Silence => write!(out, "was not answered"),
            Self::Reset => write!(out, "was reset"),
            Self::Closed => write!(out, "was closed"),
            Self::Other(error) => write!(out, "failed: {error}"),
        }
    }
}
