//! The time axis that all charts share: from when to when, what lies outside the load, and the faults on it.

use crate::record::FaultEntry;
use crate::run_data::RunData;

use super::canvas::{Anchor, Canvas, DrawError};
use super::palette::Ink;

/// Left edge of the plots, in units of the picture: room for the labels of the y axis.
pub(super) const LEFT_PX: i32 = 130;
/// Their right edge: half of the last label of the x axis goes beyond.
pub(super) const RIGHT_PX: i32 = Canvas::WIDTH_PX - 50;

/// Steps between labels that people find natural, in seconds.
const TICK_STEPS_S: [f64; 18] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0,
    21_600.0, 43_200.0, 86_400.0,
];
const TICKS_MAX: f64 = 13.0;

/// A fault on the time axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Band {
    /// Which fault, counted from 1 in the order of the scenario.
    pub(super) number: usize,
    /// When it was injected.
    pub(super) from_s: f64,
    /// When its heal began; the end of the axis if never.
    pub(super) heal_s: f64,
    /// When the recovery was over.
    pub(super) to_s: f64,
}

/// What t = 0 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The end of the warm-up.
    WarmUpEnd,
    /// The end of the run, which was still warming up.
    RunEnd,
}

/// The time axis of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    /// First moment, in seconds since t = 0.
    pub(super) from_s: f64,
    /// Last moment.
    pub(super) to_s: f64,
    /// What t = 0 is.
    pub(super) origin: Origin,
    /// When the load ended, if it did: the drain begins.
    pub(super) load_end_s: Option<f64>,
    /// Every fault that was injected.
    pub(super) bands: Vec<Band>,
}

impl View {
    /// The axis of a run; `None` if nothing happened that could be drawn.
    pub(super) fn new(data: &RunData) -> Option<View> {
        let record = &data.record;
        let whole = record.windows.get("all");
        let begins = data
            .seconds
            .first()
            .map(|s| s.t_s)
            .into_iter()
            .chain(record.warmup_s.map(|w| -w))
            .chain(whole.map(|w| w.from_s));
        let faults = record.faults.iter().flat_map(moments);
        let ends = data.seconds.last().map(|s| s.t_s + 1.0).into_iter().chain(whole.map(|w| w.to_s));
        let finite = |t: &f64| t.is_finite();
        let from_s = begins.chain(faults.clone()).filter(finite).reduce(f64::min)?;
        let to_s = ends.chain(faults).filter(finite).reduce(f64::max)?;
        if to_s <= from_s {
            return None;
        }
        let bands = record.faults.iter().enumerate();
        let bands = bands.filter_map(|(i, fault)| band(i + 1, fault, data, to_s)).collect();
        let origin = if record.warmup_s.is_some() { Origin::WarmUpEnd } else { Origin::RunEnd };
        Some(View { from_s, to_s, origin, load_end_s: whole.map(|w| w.to_s), bands })
    }

    /// Whether it shows time before or after the load.
    pub(super) fn has_outside(&self) -> bool {
        self.from_s < 0.0 || self.load_end_s.is_some_and(|end_s| end_s < self.to_s)
    }

    /// Where a moment lies, in units of the picture; moments off the axis lie on its ends.
    pub(super) fn x_px(&self, t_s: f64) -> i32 {
        let share = (t_s - self.from_s) / (self.to_s - self.from_s);
        LEFT_PX + (share.clamp(0.0, 1.0) * f64::from(RIGHT_PX - LEFT_PX)).round() as i32
    }

    /// The moments that get a label, and the labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let span_s = self.to_s - self.from_s;
        let last = TICK_STEPS_S[TICK_STEPS_S.len() - 1];
        let natural = TICK_STEPS_S.into_iter().find(|step| span_s / step <= TICKS_MAX);
        let step_s = natural.unwrap_or_else(|| (span_s / TICKS_MAX / last).ceil() * last);
        let first = (self.from_s / step_s).ceil() as i64;
        let end = (self.to_s / step_s).floor() as i64;
        (first..=end).map(|i| i as f64 * step_s).map(|t| (t, tick_label(t, step_s, span_s))).collect()
    }

    /// Draws what lies behind every chart: warm-up, drain and faults from `top_px` to `bottom_px`, and the numbers of the
    /// faults above.
    pub(super) fn draw_bands(
        &self,
        canvas: &Canvas<'_>,
        top_px: i32,
        bottom_px: i32,
    ) -> Result<(), DrawError> {
        let shade = |ink, from_s: f64, to_s: f64| {
            if to_s <= from_s {
                return Ok(());
            }
            canvas.bar(ink, (self.x_px(from_s), top_px), (self.x_px(to_s), bottom_px))
        };
        shade(Ink::Outside, self.from_s, 0.0f64.min(self.to_s))?;
        if let Some(load_end_s) = self.load_end_s {
            shade(Ink::Outside, load_end_s, self.to_s)?;
        }
        for band in &self.bands {
            shade(Ink::Recovery, band.heal_s, band.to_s)?;
        }
        for band in &self.bands {
            shade(Ink::Fault, band.from_s, band.heal_s)?;
        }
        self.draw_numbers(canvas, top_px)
    }

    /// Draws a line where each fault took effect: overlapping bands have no edges else.
    pub(super) fn draw_edges(
        &self,
        canvas: &Canvas<'_>,
        top_px: i32,
        bottom_px: i32,
    ) -> Result<(), DrawError> {
        for band in &self.bands {
            let x = self.x_px(band.from_s);
            canvas.line(Ink::FaultEdge, 3, &[(x, top_px), (x, bottom_px)])?;
        }
        Ok(())
    }

    /// The number of each fault over its edge; in a second row, or not at all, where they would overlap. (The timeline
    /// has them all.)
    fn draw_numbers(&self, canvas: &Canvas<'_>, top_px: i32) -> Result<(), DrawError> {
        let mut bands: Vec<&Band> = self.bands.iter().collect();
        bands.sort_by(|a, b| a.from_s.total_cmp(&b.from_s));
        let mut row_ends_px = [i32::MIN; 2];
        for band in bands {
            let label = format!("#{}", band.number);
            let (x, half) = (self.x_px(band.from_s), Canvas::text_width_px(&label) / 2 + 4);
            let Some(row) = row_ends_px.iter().position(|end_px| *end_px < x - half) else { continue };
            row_ends_px[row] = x + half;
            let y = top_px - 16 - 26 * i32::try_from(row).unwrap_or(0);
            canvas.text(Anchor::Middle, (x, y), &label)?;
        }
        Ok(())
    }

    /// Draws vertical grid lines and the labels under them.
    pub(super) fn draw_time_axis(
        &self,
        canvas: &Canvas<'_>,
        top_px: i32,
        bottom_px: i32,
    ) -> Result<(), DrawError> {
        for (t, label) in self.ticks() {
            let x = self.x_px(t);
            let ink = if t == 0.0 { Ink::Frame } else { Ink::Grid };
            canvas.line(ink, 2, &[(x, top_px), (x, bottom_px)])?;
            canvas.text(Anchor::Middle, (x, bottom_px + 24), &label)?;
        }
        canvas.line(Ink::Frame, 2, &[(LEFT_PX, bottom_px), (RIGHT_PX, bottom_px)])
    }
}

fn moments(fault: &FaultEntry) -> Vec<f64> {
    let at = &fault.at_s;
    [at.injected, at.took_effect, at.heal_began, at.healed, at.isr_full].into_iter().flatten().collect()
}

/// The window that the numbers of the report were computed over says it best; a run that has none yet has the moments.
fn band(number: usize, fault: &FaultEntry, data: &RunData, end_s: f64) -> Option<Band> {
    let window = |kind: &str| data.record.windows.get(&format!("{kind}:{}", fault.name));
    let at = &fault.at_s;
    let from_s = window("fault").map(|w| w.from_s).or(at.injected)?;
    let heal_s = window("fault").map(|w| w.to_s).or(at.heal_began).unwrap_or(end_s);
    let to_s = window("recovery").map(|w| w.to_s).or(at.isr_full).or(at.healed).unwrap_or(heal_s);
    Some(Band { number, from_s, heal_s: heal_s.max(from_s), to_s: to_s.max(heal_s) })
}

fn tick_label(t_s: f64, step_s: f64, span_s: f64) -> String {
    let sign = if t_s < 0.0 { "−" } else { "" };
    let t = t_s.abs().round() as u64;
    match span_s {
        s if s <= 1_200.0 || step_s < 60.0 => format!("{sign}{t} s"),
        s if s <= 4.0 * 3_600.0 => format!("{sign}{} min", t / 60),
        _ => format!("{sign}{}:{:02} h", t / 3_600, t / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(from_s: f64, to_s: f64) -> View {
        View { from_s, to_s, origin: Origin::WarmUpEnd, load_end_s: None, bands: Vec::new() }
    }

    #[test]
    fn ticks_are_natural_few_and_on_the_axis() {
        for span_s in [0.5, 1.0, 3.0, 240.0, 1_201.0, 7_200.0, 90_000.0, 40.0 * 86_400.0] {
            let ticks = view(-span_s / 3.0, span_s).ticks();
            assert!(ticks.len() <= 14 && !ticks.is_empty(), "{span_s}: {ticks:?}");
            assert!(ticks.iter().all(|(t, _)| (-span_s..=span_s).contains(t)), "{span_s}: {ticks:?}");
        }
        let labels: Vec<String> = view(-90.0, 150.0).ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels[..4], ["−80 s", "−60 s", "−40 s", "−20 s"]);
        assert_eq!(view(0.0, 7_200.0).ticks()[1].1, "10 min");
        assert_eq!(view(0.0, 86_400.0).ticks()[1].1, "2:00 h");
    }

    #[test]
    fn moments_off_the_axis_lie_on_its_ends() {
        assert_eq!(view(0.0, 10.0).x_px(-5.0), LEFT_PX);
        assert_eq!(view(0.0, 10.0).x_px(11.0), RIGHT_PX);
        assert_eq!(view(0.0, 10.0).x_px(f64::NAN), LEFT_PX);
    }
}
