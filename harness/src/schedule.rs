//! When each record is meant to be sent. Pure arithmetic: nothing here waits or looks at a clock.
//!
//! The records of all producers of a workload form one sequence g = 0, 1, 2 … with intended times
//! `origin + g / rate`. Producer i of n owns every g with `g mod n = i`, so producers are evenly out of phase. Its
//! k-th record (`g = k * n + i`) goes to partition `k mod P`: the j-th record of partition p is `k = j * P + p`. All
//! of it can be computed for any record without having computed the ones before, which is why records that wait cost
//! no memory.

const SECOND_NS: u64 = 1_000_000_000;

/// The intended times of one producer's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Intended time of the workload's first record, CLOCK_MONOTONIC.
    pub origin_ns: u64,
    /// Records per second of all producers of the workload together. At least 1.
    pub rate_per_s: u64,
    /// Index of this producer.
    pub producer: u64,
    /// Number of producers of the workload.
    pub producers: u64,
}

impl Schedule {
    /// Intended time of this producer's k-th record.
    #[inline]
    pub fn intended_ns(&self, k: u64) -> u64 {
        let g = k * self.producers + self.producer;
        // Whole seconds apart, so that the product stays inside 64 bits for every rate below 18 G/s.
        self.origin_ns + g / self.rate_per_s * SECOND_NS + g % self.rate_per_s * SECOND_NS / self.rate_per_s
    }

    /// The intended times of every `step`-th of this producer's records, from the k-th on, without a division each.
    #[inline]
    pub fn times(&self, k: u64, step: u64) -> Times {
        // `scaled` stays inside 64 bits for the same reason as above.
        let whole_and_rest = |g: u64| {
            let scaled = g % self.rate_per_s * SECOND_NS;
            (g / self.rate_per_s * SECOND_NS + scaled / self.rate_per_s, scaled % self.rate_per_s)
        };
        let (at_ns, rest) = whole_and_rest(k * self.producers + self.producer);
        let (step_ns, step_rest) = whole_and_rest(step * self.producers);
        Times { at_ns: self.origin_ns + at_ns, rest, step_ns, step_rest, rate_per_s: self.rate_per_s }
    }

    /// How many of this producer's records are intended before `until_ns` (exclusive).
    pub fn count_before(&self, until_ns: u64) -> u64 {
        let elapsed_ns = until_ns.saturating_sub(self.origin_ns);
        // The least g whose intended time is not below: ceil(elapsed * rate / 1e9), as times are rounded down.
        let product = u128::from(elapsed_ns) * u128::from(self.rate_per_s);
        let g = product.div_ceil(u128::from(SECOND_NS)) as u64;
        (g + self.producers - 1).saturating_sub(self.producer) / self.producers
    }
}

/// See [`Schedule::times`]. Never ends.
#[derive(Debug, Clone)]
pub struct Times {
    at_ns: u64,
    /// What `at_ns` was rounded down by, in nanoseconds times rate.
    rest: u64,
    step_ns: u64,
    step_rest: u64,
    rate_per_s: u64,
}

impl Iterator for Times {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let at_ns = self.at_ns;
        self.at_ns += self.step_ns;
        self.rest += self.step_rest;
        if self.rest >= self.rate_per_s {
            self.rest -= self.rate_per_s;
            self.at_ns += 1;
        }
        Some(at_ns)
    }
}

/// How many of a producer's first `count` records go to `partition` of `partitions`.
pub fn share_of_partition(count: u64, partition: u64, partitions: u64) -> u64 {
    (count + partitions - 1).saturating_sub(partition) / partitions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedules() -> impl Strategy<Value = Schedule> {
        (0u64..1 << 50, 1u64..20_000_000, 1u64..50).prop_flat_map(|(origin_ns, rate_per_s, producers)| {
            (0..producers).prop_map(move |producer| Schedule { origin_ns, rate_per_s, producer, producers })
        })
    }

    proptest! {
        #[test]
        fn counting_and_listing_agree(schedule in schedules(), k in 0u64..1 << 40, nudge in 0u64..2_000_000_000) {
            let at = schedule.intended_ns(k);
            prop_assert!(schedule.count_before(at) <= k, "record {} is not before its own time", k);
            prop_assert!(schedule.count_before(at + 1) > k);
            let until = at + nudge;
            let count = schedule.count_before(until);
            prop_assert!(count == 0 || schedule.intended_ns(count - 1) < until);
            prop_assert!(schedule.intended_ns(count) >= until);
        }

        #[test]
        fn times_are_those_of_each_record(schedule in schedules(), k in 0u64..1 << 40, step in 1u64..200) {
            for (i, at_ns) in schedule.times(k, step).take(50).enumerate() {
                prop_assert_eq!(at_ns, schedule.intended_ns(k + i as u64 * step));
            }
        }

        #[test]
        fn producers_share_the_sequence(rate in 1u64..3_000_000, producers in 1u64..20, until in 0u64..5_000_000_000) {
            let all = Schedule { origin_ns: 7, rate_per_s: rate, producer: 0, producers: 1 };
            let sum: u64 = (0..producers)
                .map(|producer| Schedule { producer, producers, ..all }.count_before(until))
                .sum();
            prop_assert_eq!(sum, all.count_before(until));
        }

        #[test]
        fn partitions_share_the_records(count in 0u64..1 << 50, partitions in 1u64..2000) {
            let sum: u64 = (0..partitions).map(|p| share_of_partition(count, p, partitions)).sum();
            prop_assert_eq!(sum, count);
        }
    }

    #[test]
    fn a_second_holds_the_rate() {
        let schedule = Schedule { origin_ns: 5, rate_per_s: 1_000_000, producer: 0, producers: 1 };
        assert_eq!(schedule.count_before(5 + SECOND_NS), 1_000_000);
        assert_eq!(schedule.intended_ns(1_000_000), 5 + SECOND_NS);
        assert_eq!(schedule.intended_ns(1), 5 + 1_000);
    }
}
