//! Fewer points, none of the extremes lost.

/// A point of a series: seconds since t = 0, and the value; `None` where nothing was measured.
pub(super) type Point = (f64, Option<f64>);

/// At most `limit` points. Of each stretch of points the lowest and the highest stay, in the order in which they
/// came, so that a spike of one second survives any length of run.
pub(super) fn thin(points: &[Point], limit: usize) -> Vec<Point> {
    if points.len() <= limit {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(limit / 2);
    points.chunks(stretch).flat_map(extremes).collect()
}

fn extremes(points: &[Point]) -> Vec<Point> {
    let measured = || points.iter().enumerate().filter_map(|(i, (_, v))| v.map(|v| (i, v)));
    let low = measured().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i);
    let high = measured().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i);
    match (low, high) {
        (Some(low), Some(high)) if low != high => vec![points[low.min(high)], points[low.max(high)]],
        (Some(one), _) => vec![points[one]],
        // A gap stays a gap.
        (None, _) => points.first().map(|(t, _)| (*t, None)).into_iter().collect(),
    }
}

/// The stretches between gaps.
pub(super) fn stretches(points: &[Point]) -> Vec<Vec<(f64, f64)>> {
    let mut all: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut open = false;
    for (t, value) in points {
        match value {
            Some(v) if open => {
                if let Some(last) = all.last_mut() {
                    last.push((*t, *v));
                }
            }
            Some(v) => all.push(vec![(*t, *v)]),
            None => {}
        }
        open = value.is_some();
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extreme(points: &[Point], fold: fn(f64, f64) -> f64) -> Option<f64> {
        points.iter().filter_map(|(_, v)| *v).reduce(fold)
    }

    proptest! {
        #[test]
        fn extremes_order_and_limit_are_kept(
            values in prop::collection::vec(prop::option::weighted(0.9, -1e9..1e9f64), 0..5_000),
            limit in 2..1_000usize,
        ) {
            let points: Vec<Point> = values.iter().enumerate().map(|(i, v)| (i as f64, *v)).collect();
            let thinned = thin(&points, limit);
            prop_assert!(thinned.len() <= limit);
            prop_assert!(thinned.windows(2).all(|w| w[0].0 < w[1].0));
            prop_assert_eq!(extreme(&thinned, f64::min), extreme(&points, f64::min));
            prop_assert_eq!(extreme(&thinned, f64::max), extreme(&points, f64::max));
        }
    }

    #[test]
    fn gaps_part_a_line() {
        let points = [(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, None), (3.0, Some(4.0))];
        assert_eq!(stretches(&points), [vec![(0.0, 1.0), (1.0, 2.0)], vec![(3.0, 4.0)]]);
        assert!(stretches(&[(0.0, None)]).is_empty());
    }
}
