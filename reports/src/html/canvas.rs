//! One SVG picture: plotters draws, [`palette`](super::palette) colours.

use plotters::drawing::DrawingAreaErrorKind;
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{DrawingBackend, IntoDrawingArea, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoTextStyle, ShapeStyle};

use super::palette::{Ink, restyle};

/// Why a picture could not be drawn.
pub(super) type DrawError = DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>;

/// Size of the letters on a picture.
const LETTER_PX: i32 = 23;
/// What plotters divides a font size by when it writes SVG.
const PLOTTERS_FONT_SCALE: f64 = 1.24;

/// Where a text lies relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// What tells the marks of a chart apart besides their colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As round as eight corners are.
    Round,
    /// A square.
    Square,
    /// A triangle that points up.
    Up,
    /// A diamond.
    Diamond,
    /// A triangle that points down.
    Down,
}

impl Shape {
    /// Corners around the middle, for a shape of half this size.
    pub(super) fn outline(self, half_px: i32) -> impl Iterator<Item = (i32, i32)> {
        let corners: &[(i32, i32)] = match self {
            Shape::Round => &[(10, 4), (4, 10), (-4, 10), (-10, 4), (-10, -4), (-4, -10), (4, -10), (10, -4)],
            Shape::Square => &[(9, 9), (-9, 9), (-9, -9), (9, -9)],
            Shape::Up => &[(0, -11), (11, 9), (-11, 9)],
            Shape::Diamond => &[(0, -12), (12, 0), (0, 12), (-12, 0)],
            Shape::Down => &[(0, 11), (-11, -9), (11, -9)],
        };
        corners.iter().map(move |(x, y)| (x * half_px / 10, y * half_px / 10))
    }
}

/// A picture being drawn. Coordinates are in its own units, of which [`WIDTH_PX`](Canvas::WIDTH_PX) make its width; it is
/// shown at about half of that, because plotters rounds to whole units.
pub(super) struct Canvas<'a> {
    area: plotters::drawing::DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
}

impl Canvas<'_> {
    /// Width of every picture: equal, so that their time axes are.
    pub(super) const WIDTH_PX: i32 = 2240;

    /// Draws a picture with `draw`; gives an `<svg>` element.
    pub(super) fn draw(
        height_px: i32,
        draw: impl FnOnce(&Canvas<'_>) -> Result<(), DrawError>,
    ) -> Result<String, DrawError> {
        let mut svg = String::new();
        {
            let size = (Self::WIDTH_PX.unsigned_abs(), height_px.unsigned_abs());
            let canvas = Canvas { area: SVGBackend::with_string(&mut svg, size).into_drawing_area() };
            draw(&canvas)?;
            canvas.area.present()?;
        }
        // plotters sets a fixed size and no role; the page scales it, and says in words what it shows.
        let body = svg.split_once('>').map_or("", |(_, body)| body);
        let open = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {} {height_px}\" aria-hidden=\"true\" focusable=\"false\">",
            Self::WIDTH_PX
        );
        Ok(open + &restyle(body))
    }

    /// A line through `points`; a single one is a dot.
    pub(super) fn line(&self, ink: Ink, width_px: u32, points: &[(i32, i32)]) -> Result<(), DrawError> {
        match points {
            [] => Ok(()),
            [point] => self.dot(ink, width_px + 3, *point),
            _ => {
                let style =
                    ShapeStyle { color: ink.color().to_rgba(), filled: false, stroke_width: width_px };
                self.area.draw(&PathElement::new(points.to_vec(), style))
            }
        }
    }

    /// The area between a line and the height `bottom_px`, faint.
    pub(super) fn area_under(&self, ink: Ink, line: &[(i32, i32)], bottom_px: i32) -> Result<(), DrawError> {
        let (Some(first), Some(last)) = (line.first(), line.last()) else { return Ok(()) };
        let corners = [(last.0, bottom_px), (first.0, bottom_px)];
        let outline: Vec<(i32, i32)> = line.iter().copied().chain(corners).collect();
        self.area.draw(&Polygon::new(outline, ink.color().mix(0.2)))
    }

    /// A filled circle.
    pub(super) fn dot(&self, ink: Ink, radius_px: u32, at: (i32, i32)) -> Result<(), DrawError> {
        self.area.draw(&Circle::new(at, radius_px, ink.color().filled()))
    }

    /// A filled rectangle, at least two units wide.
    pub(super) fn bar(&self, ink: Ink, from: (i32, i32), to: (i32, i32)) -> Result<(), DrawError> {
        let to = (to.0.max(from.0 + 2), to.1);
        self.area.draw(&Rectangle::new([from, to], ink.color().filled()))
    }

    /// A filled or hollow shape around a point.
    pub(super) fn mark(
        &self,
        ink: Ink,
        shape: Shape,
        is_filled: bool,
        (x, y): (i32, i32),
    ) -> Result<(), DrawError> {
        const HALF_PX: i32 = 12;
        const STROKE_PX: i32 = 5;
        let outline = shape.outline(HALF_PX).map(|(dx, dy)| (x + dx, y + dy)).collect::<Vec<_>>();
        self.area.draw(&Polygon::new(outline, ink.color().filled()))?;
        if is_filled {
            return Ok(());
        }
        // A hole instead of an outline: inks with dashes would leave little of one.
        let hole: Vec<(i32, i32)> =
            shape.outline(HALF_PX - STROKE_PX).map(|(dx, dy)| (x + dx, y + dy)).collect();
        self.area.draw(&Polygon::new(hole, Ink::Lane.color().filled()))
    }

    /// A text in the colour of labels, vertically centred on its point.
    pub(super) fn text(&self, anchor: Anchor, at: (i32, i32), text: &str) -> Result<(), DrawError> {
        self.text_in(Ink::Text, anchor, at, text)
    }

    /// A text, vertically centred on its point.
    pub(super) fn text_in(
        &self,
        ink: Ink,
        anchor: Anchor,
        at: (i32, i32),
        text: &str,
    ) -> Result<(), DrawError> {
        let horizontal = match anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let color = ink.color();
        let font = ("sans-serif", f64::from(LETTER_PX) * PLOTTERS_FONT_SCALE).into_text_style(&self.area);
        let style = font.color(&color).pos(Pos::new(horizontal, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), at, style))
    }

    /// About how wide a text is: plotters knows no fonts here.
    pub(super) fn text_width_px(text: &str) -> i32 {
        let letters = i32::try_from(text.chars().count()).unwrap_or(i32::MAX / LETTER_PX);
        letters * LETTER_PX * 14 / 25
    }
}
