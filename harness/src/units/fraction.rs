//! Parts of a whole.

use std::fmt;
use std::str::FromStr;

use super::{Quantity, UnitError, number};

/// A part of a whole, from 0 to 1: `20%` or `0.2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Fraction {
    value: f64,
}

impl Fraction {
    /// `value` as a fraction; `None` outside of 0 to 1.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self { value })
    }

    /// From 0 to 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.value
    }
}

impl Quantity for Fraction {
    const QUANTITY: &'static str = "a fraction";
    const EXAMPLE: &'static str = "20% or 0.2";
    const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+)?%?$";

    fn from_bare(text: &str) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl FromStr for Fraction {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let negative = text.starts_with('-') && number::is_bare(&text[1..]);
        let parsed = match text.strip_suffix('%') {
            Some(percent) if number::is_bare(percent) => {
                percent.parse::<f64>().map(|percent| percent / 100.0)
            }
            None if number::is_bare(text) || negative => text.parse::<f64>(),
            _ => return Err(Self::malformed(text)),
        };
        let value = parsed.map_err(|_| Self::malformed(text))?;
        Self::new(value).ok_or_else(|| Self::out_of_range(text, "from 0 to 1, or 0% to 100%"))
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_both_forms() {
        let value = |text: &str| text.parse::<Fraction>().unwrap().get();
        assert_eq!(value("20%"), 0.2);
        assert_eq!(value("0.2"), 0.2);
        assert_eq!(value("1"), 1.0);
        assert_eq!(value("2.5%"), 0.025);
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "%", "101%", "1.1", "-0.1", "half", "nan", "inf", "1e-3"] {
            assert!(text.parse::<Fraction>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(value in 0.0f64..=1.0) {
            let fraction = Fraction::new(value).unwrap();
            prop_assert_eq!(fraction.to_string().parse(), Ok(fraction));
        }
    }
}
