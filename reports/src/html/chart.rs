//! Values over time: the one kind of chart that this report has.

use super::canvas::{Anchor, Canvas, DrawError};
use super::format;
use super::palette::Ink;
use super::sample::{Point, stretches, thin};
use super::view::{LEFT_PX, RIGHT_PX, View};

/// Points per series that a reader can tell apart.
const POINTS_MAX: usize = 1000;

const HEIGHT_PX: i32 = 540;
const TOP_PX: i32 = 70;
const BOTTOM_PX: i32 = HEIGHT_PX - 48;

/// The vertical axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From zero.
    Linear,
    /// By powers of ten, in milliseconds. What is below the floor is drawn on it: zero has no place on such an axis.
    LogMillis {
        /// Above zero.
        floor_ms: f64,
    },
}

/// A line of a chart.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// What it is called in the legend and above its column.
    pub(super) label: &'static str,
    /// What it is drawn with.
    pub(super) ink: Ink,
    /// How thick: 3 for what matters, 2 else.
    pub(super) width_px: u32,
    /// Whether the area under it is shaded.
    pub(super) is_filled: bool,
    /// Its values, one per second.
    pub(super) points: Vec<Point>,
}

impl Series {
    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().filter_map(|(_, v)| *v)
    }
}

/// The vertical axis with its ends.
struct Axis {
    scale: Scale,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Axis {
    fn new(scale: Scale, series: &[Series]) -> Axis {
        let highest = series.iter().flat_map(Series::values).reduce(f64::max).unwrap_or(0.0);
        match scale {
            Scale::Linear => {
                let step = natural_step(highest / 4.0);
                let steps = (highest / step).ceil().max(1.0);
                let ticks = (0..=steps as u32).map(|i| f64::from(i) * step).collect();
                Axis { scale, from: 0.0, to: step * steps, ticks }
            }
            Scale::LogMillis { floor_ms } => {
                let measured = series.iter().flat_map(Series::values);
                let lowest = measured.map(|v| v.max(floor_ms)).reduce(f64::min).unwrap_or(1.0);
                let from = lowest.log10().floor();
                let to = highest.max(floor_ms).log10().ceil().max(from + 1.0);
                let ticks = (0..=(to - from) as u32).map(|i| from + f64::from(i)).collect();
                Axis { scale, from, to, ticks }
            }
        }
    }

    fn y_px(&self, value: f64) -> i32 {
        let on_axis = match self.scale {
            Scale::Linear => value,
            Scale::LogMillis { floor_ms } => value.max(floor_ms).log10(),
        };
        self.place_px(on_axis)
    }

    fn place_px(&self, on_axis: f64) -> i32 {
        let share = ((on_axis - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        BOTTOM_PX - (share * f64::from(BOTTOM_PX - TOP_PX)).round() as i32
    }

    fn draw(&self, canvas: &Canvas<'_>) -> Result<(), DrawError> {
        for tick in &self.ticks {
            let y = self.place_px(*tick);
            let label = match self.scale {
                Scale::Linear => format::compact(*tick),
                Scale::LogMillis { .. } => power_label(*tick),
            };
            canvas.line(Ink::Grid, 2, &[(LEFT_PX, y), (RIGHT_PX, y)])?;
            canvas.text(Anchor::End, (LEFT_PX - 12, y), &label)?;
        }
        Ok(())
    }
}

/// The next of 1, 2, 2.5 and 5 times a power of ten.
pub(super) fn natural_step(least: f64) -> f64 {
    if least <= 0.0 || !least.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|f| f * power >= least).unwrap_or(10.0);
    factor * power
}

fn power_label(exponent: f64) -> String {
    let ms = 10f64.powf(exponent);
    if ms >= 1_000.0 { format!("{} s", format::whole(ms / 1_000.0)) } else { format!("{ms} ms") }
}

/// Draws a chart; gives an `<svg>` element.
pub(super) fn draw(view: &View, scale: Scale, series: &[Series]) -> Result<String, DrawError> {
    let axis = Axis::new(scale, series);
    Canvas::draw(HEIGHT_PX, |canvas| {
        view.draw_bands(canvas, TOP_PX, BOTTOM_PX)?;
        view.draw_edges(canvas, TOP_PX, BOTTOM_PX)?;
        axis.draw(canvas)?;
        view.draw_time_axis(canvas, TOP_PX, BOTTOM_PX)?;
        for one in series {
            for stretch in stretches(&thin(&one.points, POINTS_MAX)) {
                let place = |(t, v): &(f64, f64)| (view.x_px(*t), axis.y_px(*v));
                let points: Vec<(i32, i32)> = stretch.iter().map(place).collect();
                if one.is_filled {
                    canvas.area_under(one.ink, &points, BOTTOM_PX)?;
                }
                canvas.line(one.ink, one.width_px, &points)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Vec<Series> {
        let points = values.iter().enumerate().map(|(i, v)| (i as f64, Some(*v))).collect();
        vec![Series { label: "x", ink: Ink::Blue, width_px: 2, is_filled: false, points }]
    }

    #[test]
    fn axes_hold_what_is_drawn() {
        for highest in [0.0, 0.3, 1.0, 7.0, 999_999.0, 3.1e6, 4.2e12] {
            let axis = Axis::new(Scale::Linear, &series(&[0.0, highest]));
            assert!(axis.to >= highest && axis.ticks.len() <= 6, "{highest}: {:?}", axis.ticks);
        }
        let scale = Scale::LogMillis { floor_ms: 0.1 };
        let axis = Axis::new(scale, &series(&[0.0, 3.0, 9_812.0]));
        assert_eq!((axis.from, axis.to), (-1.0, 4.0));
        assert_eq!(axis.y_px(0.0), BOTTOM_PX);
        let axis = Axis::new(scale, &series(&[5.0]));
        assert_eq!((axis.from, axis.to), (0.0, 1.0));
        let axis = Axis::new(scale, &[]);
        assert!(axis.to > axis.from);
    }

    #[test]
    fn powers_are_told_in_their_unit() {
        assert_eq!([-1.0, 0.0, 2.0, 3.0, 5.0].map(power_label), ["0.1 ms", "1 ms", "100 ms", "1 s", "100 s"]);
    }
}
