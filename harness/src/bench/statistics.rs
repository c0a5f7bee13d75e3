//! Medians and ranges of a few repeats.

use serde::{Deserialize, Serialize};

/// The middle of some values, and how far apart they lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The median; of an even number of values, the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many.
    pub n: u32,
}

impl Spread {
    /// Of what is there and finite; `None` without any.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.as_slice() {
            [] => return None,
            odd if odd.len() % 2 == 1 => odd[middle],
            even => (even[middle - 1] + even[middle]) / 2.0,
        };
        Some(Spread { median, min: values[0], max: values[values.len() - 1], n: values.len() as u32 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_middle_of_few() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN]), None);
        assert_eq!(Spread::of([3.0]), Some(Spread { median: 3.0, min: 3.0, max: 3.0, n: 1 }));
        assert_eq!(Spread::of([9.0, 1.0, 4.0]).unwrap().median, 4.0);
        assert_eq!(Spread::of([9.0, 1.0, 4.0, 2.0]).unwrap().median, 3.0);
    }

    proptest! {
        #[test]
        fn the_median_lies_in_the_range_whatever_the_order(mut values in proptest::collection::vec(-1e9..1e9, 1..20)) {
            let spread = Spread::of(values.iter().copied()).unwrap();
            prop_assert!(spread.min <= spread.median && spread.median <= spread.max);
            let below = values.iter().filter(|value| **value < spread.median).count();
            prop_assert!(below * 2 <= values.len());
            values.reverse();
            prop_assert_eq!(Spread::of(values), Some(spread));
        }
    }
}
