//! Numbers of things.

use std::fmt;
use std::str::FromStr;

use super::{Quantity, UnitError, number};

/// A whole number of things: `12`, `1_000_000`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count {
    count: u64,
}

impl Count {
    /// So many.
    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self { count }
    }

    /// How many.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.count
    }
}

impl Quantity for Count {
    const QUANTITY: &'static str = "a whole number";
    const EXAMPLE: &'static str = "12 or 1_000_000";
    const PATTERN: &'static str = r"^[0-9][0-9_]*$";

    fn from_bare(text: &str) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl FromStr for Count {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        number::digits(text).map(Self::new).ok_or_else(|| Self::malformed(text))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_digits_only() {
        assert_eq!("1_000_000".parse(), Ok(Count::new(1_000_000)));
        for text in ["", "_1", "1_", "1__0", "-1", "1.5", "1k", "18446744073709551616"] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(count: u64) {
            prop_assert_eq!(count.to_string().parse(), Ok(Count::new(count)));
        }
    }
}
