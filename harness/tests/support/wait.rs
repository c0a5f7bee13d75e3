//! Waiting for what a test needs, with a deadline.

use std::time::{Duration, Instant};

/// Until `holds`, looking twenty times a second.
///
/// # Panics
/// With `what`, if that takes longer than `limit`.
pub(crate) fn wait_for(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
