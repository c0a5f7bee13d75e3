//! No connection lives: `network.reset`.

use std::time::Duration;

use super::probe::Seen;

/// A reset comes at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What a client saw that it should not have.
pub(super) fn contradiction(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Reset => None,
        Seen::Answered { .. } | Seen::Silence | Seen::Closed | Seen::Other(_) => Some(format!("{seen}")),
    }
}
