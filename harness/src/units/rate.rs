//! Messages per second.

use std::fmt;
use std::str::FromStr;

use super::{Quantity, UnitError, number};

const MULTIPLES: [(&str, u64); 4] = [("G/s", 1_000_000_000), ("M/s", 1_000_000), ("k/s", 1_000), ("/s", 1)];

/// Whole messages per second: `50k/s`, `1_000_000/s`, `1.5M/s`. Zero can be written; what it means is up to the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    per_s: u64,
}

impl Rate {
    /// So many messages per second.
    #[must_use]
    pub const fn per_second(per_s: u64) -> Self {
        Self { per_s }
    }

    /// Messages per second.
    #[must_use]
    pub const fn per_s(self) -> u64 {
        self.per_s
    }
}

impl Quantity for Rate {
    const QUANTITY: &'static str = "a rate";
    const EXAMPLE: &'static str = "50k/s, 1_000_000/s, or 1.5M/s";
    const PATTERN: &'static str = r"^[0-9][0-9_]*(\.[0-9]+)?[kMG]?/s$";
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = number::split(text).ok_or_else(|| Self::malformed(text))?;
        if unit.is_empty() {
            return Self::from_bare(text);
        }
        let (_, multiple) =
            MULTIPLES.iter().find(|(name, _)| *name == unit).ok_or_else(|| Self::malformed(text))?;
        let per_s = number::scaled(number, *multiple)
            .ok_or_else(|| Self::out_of_range(text, "a whole number of messages per second"))?;
        Ok(Self { per_s })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |multiple: u64| self.per_s >= multiple && self.per_s.is_multiple_of(multiple);
        match MULTIPLES.iter().find(|(_, multiple)| fits(*multiple)) {
            Some((name, multiple)) => write!(formatter, "{}{name}", self.per_s / multiple),
            None => write!(formatter, "{}/s", self.per_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        let per_s = |text: &str| text.parse::<Rate>().unwrap().per_s();
        assert_eq!(per_s("50k/s"), 50_000);
        assert_eq!(per_s("1_000_000/s"), 1_000_000);
        assert_eq!(per_s("1M/s"), 1_000_000);
        assert_eq!(per_s("1.5M/s"), 1_500_000);
        assert_eq!(per_s("0/s"), 0);
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "50k", "50000", "50K/s", "1/m", "0.5/s", "-1/s", "1M / s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(per_s in prop_oneof![any::<u64>(), (0u64..2000).prop_map(|k| k * 1000)]) {
            let rate = Rate::per_second(per_s);
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }
    }
}
