//! How the loops of producers and readers sleep.

use std::io;
use std::time::Duration;

use gauntlet_rdkafka::wakeup::Wakeup;
use gauntlet_wire::lateness::Lateness;
use gauntlet_wire::monotonic_ns;

/// Sleeping is exact to about as much.
const GRANULARITY_NS: u64 = 1_000_000;
/// The loops wake at least so often.
pub(super) const LONGEST_SLEEP_NS: u64 = 20_000_000;

/// Sleeps until `wakeup` rings, at `until_ns` at the latest, and notes in `lateness` what was late about it. `inside_ns` of the
/// time since the last sleep went into librdkafka's functions. Returns the time.
///
/// # Errors
/// The operating system refuses to wait.
pub(super) fn sleep_until(
    until_ns: u64,
    wakeup: &Wakeup,
    lateness: &mut Lateness,
    inside_ns: u64,
) -> io::Result<u64> {
    let began_ns = monotonic_ns();
    let timeout_ns = until_ns.saturating_sub(began_ns).min(LONGEST_SLEEP_NS);
    lateness.lend(inside_ns);
    lateness.poll_begins(began_ns);
    wakeup.wait(Duration::from_nanos(timeout_ns))?;
    let now_ns = monotonic_ns();
    // What the client found in its own threads nobody knows.
    lateness.poll_ended(now_ns, timeout_ns + GRANULARITY_NS, true);
    Ok(now_ns)
}
