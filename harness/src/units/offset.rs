//! How far a clock is moved.

use std::fmt;
use std::str::FromStr;

use super::{Duration, Quantity, UnitError};

/// A duration with a sign, with nanosecond steps: `-2h`, `30s`, `+1h30m`. At most 292 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    ns: i64,
}

impl Offset {
    /// In nanoseconds.
    #[must_use]
    pub const fn as_ns(self) -> i64 {
        self.ns
    }

    /// `ns` nanoseconds.
    #[must_use]
    pub const fn from_ns(ns: i64) -> Self {
        Self { ns }
    }
}

impl Quantity for Offset {
    const QUANTITY: &'static str = "a duration with or without a sign";
    const EXAMPLE: &'static str = "-2h, 30s, or 1h30m";
    const PATTERN: &'static str = r"^[+-]?([0-9][0-9_]*(\.[0-9]+)?(d|h|m|s|ms|us|ns))+$";
}

impl FromStr for Offset {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (sign, size) = match text.strip_prefix('-') {
            Some(size) => (-1, size),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let size: Duration = size.parse().map_err(|error| match error {
            UnitError::Bare { .. } => {
                UnitError::Bare { quantity: Self::QUANTITY, example: Self::EXAMPLE, text: text.to_owned() }
            }
            UnitError::Malformed { .. } => Self::malformed(text),
            UnitError::Range { .. } => Self::out_of_range(text, "at most 292 years"),
        })?;
        let ns = i64::try_from(size.as_ns()).map_err(|_| Self::out_of_range(text, "at most 292 years"))?;
        Ok(Self { ns: sign * ns })
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.ns < 0 { "-" } else { "" };
        write!(formatter, "{sign}{}", Duration::from_ns(self.ns.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        let ns = |text: &str| text.parse::<Offset>().unwrap().as_ns();
        assert_eq!(ns("-2h"), -7_200_000_000_000);
        assert_eq!((ns("30s"), ns("+30s")), (30_000_000_000, 30_000_000_000));
        assert_eq!((ns("-0s"), ns("0s")), (0, 0));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "-", "+", "--1s", "-+1s", "- 1s", "1s-", "-30", "300d-1h", "999999999d", "106800d"] {
            assert!(text.parse::<Offset>().is_err(), "{text}");
        }
        let message = "-30".parse::<Offset>().unwrap_err().to_string();
        let expected = "a duration with or without a sign needs a unit, for example -2h, 30s, or 1h30m, not the bare number -30";
        assert_eq!(message, expected);
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(ns in -i64::MAX..=i64::MAX) {
            let offset = Offset::from_ns(ns);
            prop_assert_eq!(offset.to_string().parse(), Ok(offset));
        }
    }
}
