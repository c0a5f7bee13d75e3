//! Lengths of time.

use std::fmt;
use std::str::FromStr;

use super::{Quantity, UnitError, number};

/// From the largest to the smallest; printing goes through them in this order.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A length of time with nanosecond steps: `60s`, `1h30m`, `1.5s`, `250ms`. At most 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    ns: u64,
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self { ns: 0 };

    /// `seconds` seconds.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        Self { ns: seconds as u64 * 1_000_000_000 }
    }

    /// `ns` nanoseconds.
    #[must_use]
    pub const fn from_ns(ns: u64) -> Self {
        Self { ns }
    }

    /// In nanoseconds.
    #[must_use]
    pub const fn as_ns(self) -> u64 {
        self.ns
    }

    /// For the standard library.
    #[must_use]
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.ns)
    }

    /// Both together, or the longest duration there is.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self { ns: self.ns.saturating_add(other.ns) }
    }
}

impl Quantity for Duration {
    const QUANTITY: &'static str = "a duration";
    const EXAMPLE: &'static str = "60s, 1h30m, or 250ms";
    const PATTERN: &'static str = r"^([0-9][0-9_]*(\.[0-9]+)?(d|h|m|s|ms|us|ns))+$";
}

impl FromStr for Duration {
    type Err = UnitError;

    /// Units from large to small, each at most once: `1h30m` but not `30m1h`, which is more often a slip than meant.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        if number::is_bare(text) {
            return Self::from_bare(text);
        }
        let malformed = || Self::malformed(text);
        let mut rest = text;
        let mut ns = 0u64;
        let mut units = UNITS.iter();
        loop {
            let (number, tail) = number::split(rest).ok_or_else(malformed)?;
            let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, next) = tail.split_at(end);
            let (_, unit_ns) = units.find(|(name, _)| *name == unit).ok_or_else(malformed)?;
            let part_ns = number::scaled(number, *unit_ns).ok_or_else(malformed)?;
            ns = ns.checked_add(part_ns).ok_or_else(|| Self::out_of_range(text, "at most 584 years"))?;
            if next.is_empty() {
                return Ok(Self { ns });
            }
            rest = next;
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ns == 0 {
            return formatter.write_str("0s");
        }
        let mut rest_ns = self.ns;
        for (name, unit_ns) in UNITS {
            // Days are read but not written: `36h` is clearer than `1d12h`.
            if name != "d" && rest_ns >= unit_ns {
                write!(formatter, "{}{name}", rest_ns / unit_ns)?;
                rest_ns %= unit_ns;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        let ns = |text: &str| text.parse::<Duration>().unwrap().as_ns();
        assert_eq!(ns("60s"), 60_000_000_000);
        assert_eq!(ns("1h30m"), 5_400_000_000_000);
        assert_eq!(ns("1.5s"), 1_500_000_000);
        assert_eq!(ns("250ms"), 250_000_000);
        assert_eq!(ns("1d"), 86_400_000_000_000);
        assert_eq!(ns("0s"), 0);
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "s", "-1s", "1 s", "30m1h", "1s1s", "1sec", "1.s", "0.5ns", "999999999d", "1h30"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
        let message = "60".parse::<Duration>().unwrap_err().to_string();
        assert_eq!(
            message,
            "a duration needs a unit, for example 60s, 1h30m, or 250ms, not the bare number 60"
        );
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(ns: u64) {
            let duration = Duration::from_ns(ns);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
