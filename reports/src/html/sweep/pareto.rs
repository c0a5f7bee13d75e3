//! Block 15: throughput against p99. Every point is a mark; the front is what one can choose from.

use maud::{Markup, html};

use super::super::canvas::{Anchor, Canvas, DrawError, Shape};
use super::super::figure::{Figure as Picture, mark_sign};
use super::super::format;
use super::super::palette::Ink;
use super::super::scale::{Scale, tick_label};
use super::super::table::{numbers, table_of, words};
use super::{Layout, cells};
use crate::sweep::figures::{P99, THROUGHPUT};
use crate::sweep::points::{Axis, Mark, PointView, front};

const HEIGHT_PX: i32 = 760;
const LEFT_PX: i32 = 190;
const RIGHT_PX: i32 = Canvas::WIDTH_PX - 40;
const TOP_PX: i32 = 30;
const BOTTOM_PX: i32 = HEIGHT_PX - 100;
/// Colours and shapes together tell so many values apart; further ones share the last.
pub(super) const STYLES: [(Ink, Shape); 5] = [
    (Ink::Blue, Shape::Round),
    (Ink::Vermilion, Shape::Square),
    (Ink::Green, Shape::Up),
    (Ink::Purple, Shape::Diamond),
    (Ink::Target, Shape::Down),
];

/// A point that has both values.
struct Dot<'v, 'a> {
    index: usize,
    view: &'v PointView<'a>,
    throughput: f64,
    p99_ms: f64,
}

fn dots<'v, 'a>(layout: &'v Layout<'a>) -> Vec<Dot<'v, 'a>> {
    let dots = layout.views.iter().enumerate().filter_map(|(index, view)| {
        let throughput = view.summary(&THROUGHPUT)?.median;
        Some(Dot { index, view, throughput, p99_ms: view.summary(&P99)?.median })
    });
    dots.collect()
}

/// Whether there are points to compare.
pub(super) fn is_there(layout: &Layout<'_>) -> bool {
    dots(layout).len() > 1
}

/// The section.
pub(super) fn section(layout: &Layout<'_>) -> Markup {
    if !is_there(layout) {
        return html! {};
    }
    let dots = dots(layout);
    let front = front(&layout.views, &THROUGHPUT, &P99);
    html! {
        section id="trade-off" aria-labelledby="trade-off-h" {
            h2 id="trade-off-h" { "Trade-off" }
            (Picture {
                id: "pareto",
                title: "Throughput against p99",
                finding: finding(layout, &front),
                how_to_read: "each mark is a point, with the medians of its runs: the further right and the further down, the \
                              better. The axes begin near the lowest values. The line joins the points that passed and that no other one beats in both. Hollow marks \
                              did not pass, or are not known, and are on no line. Marks that lie close together are named in \
                              the table only.",
                legend: legend(layout),
                picture: draw(layout, &dots, &front),
                numbers: numbers_of(&dots, &front),
            }.render())
        }
    }
}

fn finding(layout: &Layout<'_>, front: &[usize]) -> String {
    let told: Vec<String> = front
        .iter()
        .take(6)
        .filter_map(|index| {
            let view = &layout.views[*index];
            let throughput = format::quantity(view.summary(&THROUGHPUT)?.median, THROUGHPUT.unit);
            let p99 = format::quantity(view.summary(&P99)?.median, P99.unit);
            Some(format!("{} ({throughput}, p99 {p99})", view.label))
        })
        .collect();
    let more = match front.len().saturating_sub(told.len()) {
        0 => String::new(),
        left => format!("; and {left} more"),
    };
    match told.len() {
        0 => "No point passed, so there is nothing to choose from.".to_owned(),
        1 => format!("One point beats all that passed in both: {}.", told[0]),
        _ => format!("To choose from: {}{more}.", told.join("; ")),
    }
}

/// The axis that colours and shapes stand for: words rather than numbers.
fn styled_axis<'l>(layout: &'l Layout<'_>) -> Option<&'l Axis> {
    layout.axes.iter().find(|axis| !axis.is_numeric).or(layout.axes.first())
}

fn style_of(layout: &Layout<'_>, view: &PointView<'_>) -> (Ink, Shape) {
    let index = styled_axis(layout).and_then(|axis| {
        let value = view.value(&axis.name);
        axis.values.iter().position(|known| *known == value)
    });
    STYLES[index.unwrap_or(0).min(STYLES.len() - 1)]
}

fn legend(layout: &Layout<'_>) -> Markup {
    let named = styled_axis(layout).map(|axis| {
        let last = STYLES.len() - 1;
        let mut rows: Vec<((Ink, Shape), String)> = Vec::new();
        for (index, value) in axis.values.iter().enumerate() {
            match rows.get_mut(last) {
                Some((_, text)) => *text = format!("{text}, {value}"),
                None => rows.push((STYLES[index], format!("{}={value}", axis.name))),
            }
        }
        rows
    });
    html! {
        ul class="legend" {
            @for ((ink, shape), text) in named.unwrap_or_default() { li { (mark_sign(ink, shape, true)) (text) } }
            li { (mark_sign(Ink::Target, Shape::Round, false)) "did not pass, or unknown" }
        }
    }
}

fn draw(layout: &Layout<'_>, dots: &[Dot<'_, '_>], front: &[usize]) -> Result<String, DrawError> {
    let limit_ms = layout.data.record.p99_limit_ms;
    let throughputs: Vec<f64> = dots.iter().map(|dot| dot.throughput).collect();
    let latencies: Vec<f64> = dots.iter().map(|dot| dot.p99_ms).chain(limit_ms).collect();
    let x = Scale::around(&throughputs, LEFT_PX, RIGHT_PX);
    let y = Scale::log(&latencies, BOTTOM_PX, TOP_PX);
    let place = |dot: &Dot<'_, '_>| (x.px(dot.throughput), y.px(dot.p99_ms));
    Canvas::draw(HEIGHT_PX, |canvas| {
        draw_axes(canvas, &x, &y)?;
        let mut taken: Vec<Label> = Vec::new();
        if let Some(limit_ms) = limit_ms {
            let at = y.px(limit_ms);
            canvas.line(Ink::Target, 3, &[(LEFT_PX, at), (RIGHT_PX, at)])?;
            let text = format!("limit of p99: {}", format::millis(limit_ms));
            let label = Label::new(Anchor::Start, (LEFT_PX + 12, at - 20), text);
            label.draw(canvas)?;
            taken.push(label);
        }
        let on_front: Vec<(i32, i32)> =
            front.iter().filter_map(|index| dots.iter().find(|dot| dot.index == *index)).map(place).collect();
        if on_front.len() > 1 {
            canvas.line(Ink::Frame, 4, &on_front)?;
        }
        for dot in dots {
            let (ink, shape) = style_of(layout, dot.view);
            canvas.mark(ink, shape, dot.view.mark == Mark::Pass, place(dot))?;
            taken.push(Label::around(place(dot)));
        }
        // Those on the front first: where there is no room for all, they are the ones to name.
        let named = dots.iter().filter(|dot| front.contains(&dot.index));
        for dot in named.chain(dots.iter().filter(|dot| !front.contains(&dot.index))) {
            name_it(canvas, place(dot), &dot.view.record.id, &mut taken)?;
        }
        Ok(())
    })
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
    canvas.text(Anchor::Start, (LEFT_PX, BOTTOM_PX + 70), "p99 ↑ · throughput, acked →")
}

/// Writes a name beside its mark if there is room on one side of it.
fn name_it(
    canvas: &Canvas<'_>,
    (x, y): (i32, i32),
    name: &str,
    taken: &mut Vec<Label>,
) -> Result<(), DrawError> {
    let candidates = [
        (Anchor::Start, (x + 20, y)),
        (Anchor::End, (x - 20, y)),
        (Anchor::Middle, (x, y - 30)),
        (Anchor::Middle, (x, y + 30)),
        (Anchor::Start, (x + 16, y - 24)),
        (Anchor::Start, (x + 16, y + 24)),
        (Anchor::End, (x - 16, y - 24)),
        (Anchor::End, (x - 16, y + 24)),
    ];
    for (anchor, at) in candidates {
        let label = Label::new(anchor, at, name.to_owned());
        if label.is_inside() && !taken.iter().any(|other| other.overlaps(&label)) {
            label.draw(canvas)?;
            taken.push(label);
            break;
        }
    }
    Ok(())
}

/// A text, or a mark, and the room that it takes.
struct Label {
    text: String,
    anchor: Anchor,
    at: (i32, i32),
    left: i32,
    right: i32,
    half_height: i32,
}

impl Label {
    fn new(anchor: Anchor, at: (i32, i32), text: String) -> Label {
        let width = Canvas::text_width_px(&text) + 4;
        let left = match anchor {
            Anchor::Start => at.0,
            Anchor::Middle => at.0 - width / 2,
            Anchor::End => at.0 - width,
        };
        Label { text, anchor, at, left, right: left + width, half_height: 15 }
    }

    fn around(at: (i32, i32)) -> Label {
        Label {
            text: String::new(),
            anchor: Anchor::Middle,
            at,
            left: at.0 - 14,
            right: at.0 + 14,
            half_height: 14,
        }
    }

    fn is_inside(&self) -> bool {
        self.left >= LEFT_PX && self.right <= RIGHT_PX && self.at.1 >= TOP_PX && self.at.1 <= BOTTOM_PX - 10
    }

    fn overlaps(&self, other: &Label) -> bool {
        self.left < other.right
            && other.left < self.right
            && (self.at.1 - other.at.1).abs() < self.half_height + other.half_height
    }

    fn draw(&self, canvas: &Canvas<'_>) -> Result<(), DrawError> {
        canvas.text(self.anchor, self.at, &self.text)
    }
}

fn numbers_of(dots: &[Dot<'_, '_>], front: &[usize]) -> Markup {
    let columns = [
        words("point"),
        words("parameters"),
        words("verdict"),
        numbers("throughput"),
        numbers("p99"),
        words("on the front"),
    ];
    let rows: Vec<Vec<Markup>> = dots
        .iter()
        .map(|dot| {
            vec![
                html! { (dot.view.record.id) },
                html! { (dot.view.label) },
                cells::mark(dot.view.mark),
                html! { (format::quantity(dot.throughput, THROUGHPUT.unit)) },
                html! { (format::quantity(dot.p99_ms, P99.unit)) },
                html! { @if front.contains(&dot.index) { "yes" } @else { "no" } },
            ]
        })
        .collect();
    table_of("Numbers: throughput against p99", &columns, &rows)
}
