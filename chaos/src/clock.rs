//! The one clock of a run: CLOCK_MONOTONIC, which every process of a host shares, so that a time taken by the supervisor
//! can be laid beside one taken by a sender thread or printed by a broker's GC log.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC (since boot, without suspend).
#[must_use]
pub fn monotonic_ns() -> u64 {
    // clock_gettime(2) fails only for an unknown clock or a bad pointer; every Linux has this clock.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux always has CLOCK_MONOTONIC");
    now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::monotonic_ns;

    #[test]
    fn never_goes_back() {
        let first_ns = monotonic_ns();
        assert!(first_ns > 0);
        assert!(monotonic_ns() >= first_ns);
    }
}
