//! Axes of charts that are not over time, where values may lie close together.

use super::chart::natural_step;
use super::format;
use crate::metric::Unit;
use crate::sweep::figures::Figure;

/// Numbers that an axis is marked with at the most, about.
const TICKS_MAX: usize = 8;

/// From values to places.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    is_log: bool,
    from: f64,
    to: f64,
    /// What is marked, as values.
    pub(super) ticks: Vec<f64>,
    from_px: i32,
    to_px: i32,
}

impl Scale {
    /// For the values of a figure: latencies by factors, everything else from zero. `from_px` is where the lowest value goes.
    pub(super) fn of(figure: &Figure, values: &[f64], from_px: i32, to_px: i32) -> Scale {
        match figure.unit {
            Unit::Milliseconds => Scale::log(values, from_px, to_px),
            _ => Scale::from_zero(values, from_px, to_px),
        }
    }

    /// From zero to beyond the highest value.
    pub(super) fn from_zero(values: &[f64], from_px: i32, to_px: i32) -> Scale {
        let highest = values.iter().copied().fold(0.0, f64::max);
        let step = natural_step(highest / 5.0);
        let steps = (highest / step).ceil().max(1.0);
        let ticks = (0..=steps as u32).map(|i| f64::from(i) * step).collect();
        Scale { is_log: false, from: 0.0, to: step * steps, ticks, from_px, to_px }
    }

    /// From a round number below the lowest value to one above the highest: for places, not for lengths.
    pub(super) fn around(values: &[f64], from_px: i32, to_px: i32) -> Scale {
        let lowest = values.iter().copied().reduce(f64::min).unwrap_or(0.0);
        let highest = values.iter().copied().reduce(f64::max).unwrap_or(0.0);
        let step = natural_step((highest - lowest).max(highest.abs() * 0.02) / 4.0);
        let (first, last) = ((lowest / step).floor(), (highest / step).floor() + 1.0);
        let ticks = (0..=(last - first) as u32).map(|i| (first + f64::from(i)) * step).collect();
        Scale { is_log: false, from: first * step, to: last * step, ticks, from_px, to_px }
    }

    /// By factors, from a round number below the lowest value to one above the highest. What is not above zero goes to its
    /// lower end.
    pub(super) fn log(values: &[f64], from_px: i32, to_px: i32) -> Scale {
        let positive = || values.iter().copied().filter(|v| *v > 0.0 && v.is_finite());
        let lowest = positive().reduce(f64::min).unwrap_or(1.0);
        let highest = positive().reduce(f64::max).unwrap_or(10.0);
        let round = || (-4..8).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
        let from = round().rfind(|v| *v <= lowest * 0.97).unwrap_or(lowest / 2.0);
        let to = round().find(|v| *v >= highest * 1.03).unwrap_or(highest * 2.0);
        let mut ticks: Vec<f64> = round().filter(|v| *v >= from && *v <= to).collect();
        if ticks.len() > TICKS_MAX {
            ticks.retain(|v| (v.log10() - v.log10().round()).abs() < 1e-9);
        }
        Scale { is_log: true, from, to, ticks, from_px, to_px }
    }

    /// The place of a value.
    pub(super) fn px(&self, value: f64) -> i32 {
        let share = if self.is_log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        let length = f64::from(self.to_px - self.from_px);
        self.from_px + (share.clamp(0.0, 1.0) * length).round() as i32
    }
}

/// A mark's number, short.
pub(super) fn tick_label(figure: &Figure, value: f64) -> String {
    match figure.unit {
        Unit::Milliseconds if value >= 1_000.0 => format!("{} s", format::compact(value / 1_000.0)),
        // Round numbers down to 0.0001: `Display` writes them without noise.
        Unit::Milliseconds => format!("{} ms", (value * 1e4).round() / 1e4),
        Unit::PerSecond => format!("{}/s", format::compact(value)),
        _ => format::quantity(value, figure.unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_what_is_drawn_and_have_marks() {
        for values in [vec![], vec![0.0], vec![12.0], vec![12.0, 12.1], vec![0.3, 9_812.0], vec![1e6]] {
            let scales = [
                Scale::log(&values, 500, 0),
                Scale::from_zero(&values, 500, 0),
                Scale::around(&values, 500, 0),
            ];
            for scale in scales {
                assert!(scale.ticks.len() >= 2 && scale.ticks.len() <= 10, "{values:?}: {scale:?}");
                for value in values.iter().filter(|v| **v > 0.0) {
                    assert!(scale.from <= *value && *value <= scale.to, "{value} in {scale:?}");
                }
                assert_eq!((scale.px(scale.from), scale.px(scale.to)), (500, 0));
            }
        }
        assert_eq!(Scale::log(&[12.0, 45.0], 0, 1).ticks, [10.0, 20.0, 50.0]);
    }
}
