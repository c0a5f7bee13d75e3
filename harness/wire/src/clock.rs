//! The one clock of a run.

/// Nanoseconds of CLOCK_MONOTONIC. Comparable between processes of one host, and never set back.
#[inline]
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for the kernel to write one timespec to.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    debug_assert_eq!(failed, 0, "CLOCK_MONOTONIC exists on every Linux");
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
