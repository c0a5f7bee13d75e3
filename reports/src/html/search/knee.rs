//! Latency against rate, over all trials: where it bends is what the cluster can take.

use maud::{Markup, html};

use super::super::canvas::{Anchor, Canvas, DrawError, Shape};
use super::super::figure::{Figure, mark_sign};
use super::super::format;
use super::super::palette::Ink;
use super::super::scale::{Scale, tick_label};
use super::super::table::{numbers, table_of, words};
use super::trials::mark;
use crate::search::{Hold, SearchRecord, Stage, TrialRecord};
use crate::sweep::figures::{P99, THROUGHPUT};

const HEIGHT_PX: i32 = 760;
const LEFT_PX: i32 = 190;
const RIGHT_PX: i32 = Canvas::WIDTH_PX - 40;
/// Leaves a line for the name of the rate that was found.
const TOP_PX: i32 = 80;
const BOTTOM_PX: i32 = HEIGHT_PX - 100;
/// Where that name stands.
const RATE_LABEL_PX: i32 = 22;

/// A trial that has a latency.
struct Dot<'a> {
    trial: &'a TrialRecord,
    p99_ms: f64,
}

/// By rate, as they are drawn: those with all brokers up, or those with one down.
fn dots(record: &SearchRecord, one_down: bool) -> Vec<Dot<'_>> {
    let measured = record.trials_with(one_down).filter_map(|trial| {
        let p99_ms = trial.figures.as_ref()?.p99_ms.filter(|ms| ms.is_finite())?;
        Some(Dot { trial, p99_ms })
    });
    let mut dots: Vec<Dot<'_>> = measured.collect();
    dots.sort_by_key(|dot| (dot.trial.rate_per_s, dot.trial.number));
    dots
}

/// Whether any trial was measured.
pub(super) fn is_there(record: &SearchRecord) -> bool {
    [false, true].into_iter().any(|one_down| !dots(record, one_down).is_empty())
}

/// The section.
pub(super) fn section(record: &SearchRecord) -> Markup {
    if !is_there(record) {
        return html! {};
    }
    html! {
        section id="knee" aria-labelledby="knee-h" {
            h2 id="knee-h" { "Knee" }
            (figure(record, false))
            (figure(record, true))
        }
    }
}

/// The trials with all brokers up, or those with one down.
fn figure(record: &SearchRecord, one_down: bool) -> Markup {
    let dots = dots(record, one_down);
    if dots.is_empty() {
        return html! {};
    }
    let (id, title, found) = match one_down {
        false => ("latency-by-rate", "p99 by rate", record.rate_per_s()),
        true => (
            "latency-by-rate-headroom",
            "p99 by rate, with one broker down",
            record.headroom_finding().and_then(|finding| finding.rate_per_s),
        ),
    };
    Figure {
                id,
                title,
                finding: finding(record, &dots),
                how_to_read: "each mark is a trial, at the rate that was intended: filled if it held, hollow if not. Diamonds are the longer trials \
                              that confirm. The line goes through all trials by their rate. Both axes are by factors. Behind the knee, \
                              latency no longer tells how slow the brokers are, but how long they were too slow: longer trials have more \
                              of it.",
                legend: legend(),
                picture: draw(record.p99_limit_ms, found, &dots),
                numbers: numbers_of(&dots),
            }.render()
}

/// Latency at the highest rate that held, and at the lowest that did not.
fn finding(record: &SearchRecord, dots: &[Dot<'_>]) -> String {
    let told = |dot: &Dot<'_>| {
        format!("{} at {}", format::millis(dot.p99_ms), format::rate(dot.trial.rate_per_s as f64))
    };
    let held = dots.iter().rfind(|dot| dot.trial.hold == Some(Hold::Held));
    let not_held = dots.iter().find(|dot| dot.trial.hold.is_some_and(|hold| hold != Hold::Held));
    let limit = record
        .p99_limit_ms
        .map_or_else(String::new, |limit_ms| format!(" The limit of p99 is {}.", format::millis(limit_ms)));
    match (held, not_held) {
        (Some(held), Some(not_held)) => format!(
            "p99 is {} where a rate held at last, and {} where one did not hold at first.{limit}",
            told(held),
            told(not_held)
        ),
        (Some(held), None) => format!("Every rate held, up to a p99 of {}.{limit}", told(held)),
        (None, Some(not_held)) => {
            format!("No rate held; the lowest that was tried has a p99 of {}.{limit}", told(not_held))
        }
        (None, None) => format!("No trial has a result.{limit}"),
    }
}

fn legend() -> Markup {
    html! {
        ul class="legend" {
            li { (mark_sign(Ink::Blue, Shape::Round, true)) "held" }
            li { (mark_sign(Ink::Vermilion, Shape::Round, false)) "did not hold" }
            li { (mark_sign(Ink::Target, Shape::Round, false)) "unknown, or no result" }
            li { (mark_sign(Ink::Blue, Shape::Diamond, true)) "confirmation" }
        }
    }
}

fn ink(trial: &TrialRecord) -> Ink {
    match trial.hold {
        Some(Hold::Held) => Ink::Blue,
        Some(Hold::Broke) => Ink::Vermilion,
        Some(Hold::Unknown) | None => Ink::Target,
    }
}

fn draw(limit_ms: Option<f64>, found: Option<f64>, dots: &[Dot<'_>]) -> Result<String, DrawError> {
    let rates: Vec<f64> = dots.iter().map(|dot| dot.trial.rate_per_s as f64).collect();
    let latencies: Vec<f64> = dots.iter().map(|dot| dot.p99_ms).chain(limit_ms).collect();
    let x = Scale::log(&rates, LEFT_PX, RIGHT_PX);
    let y = Scale::log(&latencies, BOTTOM_PX, TOP_PX);
    let place = |dot: &Dot<'_>| (x.px(dot.trial.rate_per_s as f64), y.px(dot.p99_ms));
    Canvas::draw(HEIGHT_PX, |canvas| {
        draw_axes(canvas, &x, &y)?;
        if let Some(limit_ms) = limit_ms {
            let at = y.px(limit_ms);
            canvas.line(Ink::Target, 3, &[(LEFT_PX, at), (RIGHT_PX, at)])?;
            let text = format!("limit of p99: {}", format::millis(limit_ms));
            canvas.text(Anchor::Start, (LEFT_PX + 12, at - 20), &text)?;
        }
        if let Some(rate) = found {
            draw_rate(canvas, &x, rate)?;
        }
        if dots.len() > 1 {
            canvas.line(Ink::Frame, 4, &dots.iter().map(place).collect::<Vec<_>>())?;
        }
        for dot in dots {
            let shape = match dot.trial.stage {
                Stage::Search => Shape::Round,
                Stage::Confirm => Shape::Diamond,
            };
            canvas.mark(ink(dot.trial), shape, dot.trial.hold == Some(Hold::Held), place(dot))?;
        }
        Ok(())
    })
}

/// The rate that was found.
fn draw_rate(canvas: &Canvas<'_>, x: &Scale, rate: f64) -> Result<(), DrawError> {
    let at = x.px(rate);
    canvas.line(Ink::Green, 3, &[(at, TOP_PX - 30), (at, BOTTOM_PX)])?;
    let is_right = at > Canvas::WIDTH_PX / 2;
    let anchor = if is_right { Anchor::End } else { Anchor::Start };
    canvas.text(anchor, (at, RATE_LABEL_PX), &format!("sustainable: {}", format::rate(rate)))
}

fn draw_axes(canvas: &Canvas<'_>, x: &Scale, y: &Scale) -> Result<(), DrawError> {
    for tick in &y.ticks {
        let at = y.px(*tick);
        canvas.line(Ink::Grid, 2, &[(LEFT_PX, at), (RIGHT_PX, at)])?;
        canvas.text(Anchor::End, (LEFT_PX - 12, at), &tick_label(&P99, *tick))?;
    }
    for tick in &x.ticks {
        let at = x.px(*tick);
        canvas.line(Ink::Grid, 2, &[(at, TOP_PX), (at, BOTTOM_PX)])?;
        let anchor = if at > RIGHT_PX - 60 { Anchor::End } else { Anchor::Middle };
        canvas.text(anchor, (at, BOTTOM_PX + 28), &tick_label(&THROUGHPUT, *tick))?;
    }
    canvas.text(Anchor::Start, (LEFT_PX, BOTTOM_PX + 70), "p99 ↑ · rate, intended →")
}

fn numbers_of(dots: &[Dot<'_>]) -> Markup {
    let columns = [words("trial"), numbers("rate"), numbers("acked"), numbers("p99"), words("held")];
    let rows: Vec<Vec<Markup>> = dots
        .iter()
        .map(|dot| {
            let acked = dot.trial.figures.as_ref().and_then(|figures| figures.throughput);
            vec![
                html! { (dot.trial.number) },
                html! { (format::rate(dot.trial.rate_per_s as f64)) },
                html! { (format::or_missing(acked, format::rate)) },
                html! { (format::millis(dot.p99_ms)) },
                mark(dot.trial),
            ]
        })
        .collect();
    table_of("Numbers: p99 by rate", &columns, &rows)
}
