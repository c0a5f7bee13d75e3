//! Several runs of a point as one value with its spread.
//!
//! The unit of inference is the run, not the record: records of one run share their minute, their cluster and their luck.
//! With three runs or more, the interval is that of Student's t at 95 %, on logarithms, because throughputs and percentiles
//! differ by factors and can't be negative. With fewer, it is from the lowest to the highest, and says nothing about a
//! fourth run.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Runs from which on an interval is computed.
pub const RUNS_FOR_INTERVAL: usize = 3;
const CONFIDENCE: f64 = 0.95;

/// Values of a figure over the runs of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many runs have a value.
    pub runs: usize,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// Where a chart puts the point, and its whiskers.
    pub whiskers: Whiskers,
}

/// A value with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Whiskers {
    /// The geometric mean with its 95 % confidence interval.
    Confidence {
        /// The mean.
        mean: f64,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// The median, from the lowest to the highest value.
    Range {
        /// The median.
        median: f64,
        /// The lowest.
        low: f64,
        /// The highest.
        high: f64,
    },
}

impl Whiskers {
    /// Where the mark is.
    #[must_use]
    pub fn middle(self) -> f64 {
        match self {
            Whiskers::Confidence { mean, .. } => mean,
            Whiskers::Range { median, .. } => median,
        }
    }

    /// The ends, lower first.
    #[must_use]
    pub fn ends(self) -> [f64; 2] {
        match self {
            Whiskers::Confidence { low, high, .. } | Whiskers::Range { low, high, .. } => [low, high],
        }
    }
}

/// Summarises values; those that are not finite were not measured. `None` if there are none.
#[must_use]
pub fn summarise(values: impl IntoIterator<Item = f64>) -> Option<Summary> {
    let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let half = values.len() / 2;
    let median =
        if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
    let whiskers = confidence(&values).unwrap_or(Whiskers::Range { median, low: min, high: max });
    Some(Summary { runs: values.len(), median, min, max, whiskers })
}

/// The interval on logarithms. `None` with too few values, or with one that has no logarithm.
fn confidence(values: &[f64]) -> Option<Whiskers> {
    if values.len() < RUNS_FOR_INTERVAL || values.iter().any(|v| *v <= 0.0) {
        return None;
    }
    let logs: Vec<f64> = values.iter().map(|v| v.ln()).collect();
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(f64::midpoint(1.0, CONFIDENCE));
    let half = t * (variance / n).sqrt();
    Some(Whiskers::Confidence { mean: mean.exp(), low: (mean - half).exp(), high: (mean + half).exp() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_have_a_range_and_three_an_interval() {
        let two = summarise([4.0, 2.0]).unwrap();
        assert_eq!((two.runs, two.median, two.min, two.max), (2, 3.0, 2.0, 4.0));
        assert_eq!(two.whiskers, Whiskers::Range { median: 3.0, low: 2.0, high: 4.0 });
        assert_eq!(summarise([f64::NAN]), None);
        assert_eq!(summarise([0.0, 1.0, 2.0]).unwrap().whiskers.ends(), [0.0, 2.0], "0 has no logarithm");
    }

    /// t(0.975, 2) = 4.302653 (NIST/SEMATECH e-Handbook, 1.3.6.7.2); by hand for 1, e, e².
    #[test]
    fn the_interval_is_that_of_students_t_on_logarithms() {
        let Whiskers::Confidence { mean, low, high } =
            summarise([1.0f64, 1.0f64.exp(), 2.0f64.exp()]).unwrap().whiskers
        else {
            panic!()
        };
        let half = 4.302_653 / 3.0f64.sqrt();
        assert!((mean.ln() - 1.0).abs() < 1e-9);
        assert!((low.ln() - (1.0 - half)).abs() < 1e-5 && (high.ln() - (1.0 + half)).abs() < 1e-5);
        let equal = summarise([5.0; 4]).unwrap().whiskers;
        assert!((equal.ends()[0] - 5.0).abs() < 1e-9 && (equal.ends()[1] - 5.0).abs() < 1e-9);
    }
}
