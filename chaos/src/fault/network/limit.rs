//! Everything arrives, at a low rate: `network.bandwidth`.

use std::time::Duration;

use super::probe::Seen;

/// More than the first request of a client and the answer to it have together.
const GREETING_BYTES: u64 = 4096;
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
        Seen::Reset | Seen::Other(_) => Some(format!("{seen}")),
    }
}
