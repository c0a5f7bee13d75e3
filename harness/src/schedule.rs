//! When each record is meant to be sent, and to which partition. Pure arithmetic: nothing here waits or looks at a clock.
//!
//! The records of a load form one sequence g = 0, 1, 2 …, laid out in time by its [`Curve`]. Producer i of n owns every
//! g with `g mod n = i`, so producers are evenly out of phase; its k-th record (`g = k * n + i`) goes to partition
//! `k mod P`. Other ways to spread records over partitions and time are in [`Arrivals`].

mod arrivals;
mod curve;

pub use arrivals::{Arrival, ArrivalTimes, Arrivals, Position, Share, Spread};
pub use curve::{Curve, Segment, Times};

/// Where a run's load begins; CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeline {
    /// Intended time of the first record.
    pub origin_ns: u64,
    /// t = 0, the end of the warm-up; `u64::MAX` as long as nobody knows.
    pub zero_ns: u64,
}

/// How many of a producer's first `count` records go to `partition` of `partitions` that take turns.
pub fn share_of_partition(count: u64, partition: u64, partitions: u64) -> u64 {
    (count + partitions - 1).saturating_sub(partition) / partitions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn partitions_share_the_records(count in 0u64..1 << 50, partitions in 1u64..2000) {
            let sum: u64 = (0..partitions).map(|p| share_of_partition(count, p, partitions)).sum();
            prop_assert_eq!(sum, count);
        }
    }
}
