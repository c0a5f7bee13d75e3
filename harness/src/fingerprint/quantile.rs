//! Quantiles of what was counted.

/// The least value that a share `q` (0 to 1) of the values is not above: nearest rank, so it is always one of them. `sorted`
/// is in rising order; 0 of nothing.
pub(super) fn quantile(sorted: &[u64], q: f64) -> u64 {
    let rank = (sorted.len() as f64 * q).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0)
}

/// Mean; 0 of nothing.
pub(super) fn mean(values: &[u64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.iter().map(|value| *value as f64).sum::<f64>() / values.len() as f64
}

/// Standard deviation over mean, of a whole population; 0 where the mean is 0.
pub(super) fn variation(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    if mean == 0.0 {
        return 0.0;
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    variance.sqrt() / mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|q| quantile(&values, q)), [1, 50, 99, 100]);
        assert_eq!(quantile(&[7], 0.5), 7);
        assert_eq!(quantile(&[], 0.5), 0);
    }

    #[test]
    fn means_and_variations() {
        assert_eq!((mean(&[1, 2, 6]), mean(&[])), (3.0, 0.0));
        assert_eq!(variation(&[1.0, 3.0]), 0.5);
        assert_eq!((variation(&[2.0, 2.0]), variation(&[])), (0.0, 0.0));
    }
}
