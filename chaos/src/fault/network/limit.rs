//! Everything arrives, at a low rate: `network.bandwidth`.

use std::time::Duration;

use super::probe::Seen;

/// More than a client and a broker say to each other before they are connected, TLS and a log-in included.
const GREETING_BYTES: u64 = 16 << 10;
/// Time for a slow answer of the broker itself, and for what others send at the same time.
const BROKER: Duration = Duration::from_secs(5);

/// How long a client waits for its first answer.
pub(super) fn patience(bytes_per_s: u64) -> Duration {
    BROKER + Duration::from_millis(GREETING_BYTES.saturating_mul(1000) / bytes_per_s.max(1))
}

/// What a client saw that it should not have. It shares the rate with others, and so may wait for very long.
pub(super) fn contradiction(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Answered { .. } | Seen::Silence => None,
        Seen::Reset | Seen::Closed | Seen::Other(_) => Some(format!("{seen}")),
    }
}
