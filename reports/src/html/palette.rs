//! Colours and dashes of the charts.
//!
//! plotters writes literal colours. [`restyle`] adds a class to each, so that the style sheet can give it the colour of
//! the theme; the literal stays, for readers without style sheets.

use plotters::style::RGBColor;

/// What something is drawn with. No two have the same colour: that is how [`restyle`] knows them.
///
/// The four lines are the Okabe-Ito blue, green, vermilion and purple, darkened to a contrast of at least 4.5:1 on white.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Text of axes and labels.
    Text,
    /// Grid lines.
    Grid,
    /// Frame of the plot, and t = 0.
    Frame,
    /// What was wanted: a dashed line.
    Target,
    /// A solid line.
    Blue,
    /// A solid line.
    Green,
    /// A line of dashes.
    Vermilion,
    /// A dotted line.
    Purple,
    /// Warm-up and drain.
    Outside,
    /// A fault, from taking effect to heal.
    Fault,
    /// The recovery from it.
    Recovery,
    /// Where a fault took effect.
    FaultEdge,
    /// A lane of the timeline.
    Lane,
    /// A bar: injected, not yet seen to act; or no leader.
    BarWait,
    /// A bar: the fault acts.
    BarActs,
    /// A bar: it is being healed.
    BarHeals,
    /// A bar: healed, the ISR is not full; also, partitions below full ISR.
    BarIsr,
    /// Text on a cell of a heatmap, and the frame of its best one.
    Strong,
    /// What is unknown: lines across a cell.
    Hatch,
    /// A cell of a heatmap, the worst of five.
    Heat1,
    /// A cell of a heatmap.
    Heat2,
    /// A cell of a heatmap.
    Heat3,
    /// A cell of a heatmap.
    Heat4,
    /// A cell of a heatmap, the best of five.
    Heat5,
}

impl Ink {
    const ALL: [Ink; 24] = [
        Ink::Text,
        Ink::Grid,
        Ink::Frame,
        Ink::Target,
        Ink::Blue,
        Ink::Green,
        Ink::Vermilion,
        Ink::Purple,
        Ink::Outside,
        Ink::Fault,
        Ink::Recovery,
        Ink::FaultEdge,
        Ink::Lane,
        Ink::BarWait,
        Ink::BarActs,
        Ink::BarHeals,
        Ink::BarIsr,
        Ink::Strong,
        Ink::Hatch,
        Ink::Heat1,
        Ink::Heat2,
        Ink::Heat3,
        Ink::Heat4,
        Ink::Heat5,
    ];

    /// Its class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Ink::Text => "i-text",
            Ink::Grid => "i-grid",
            Ink::Frame => "i-frame",
            Ink::Target => "i-target",
            Ink::Blue => "i-blue",
            Ink::Green => "i-green",
            Ink::Vermilion => "i-verm",
            Ink::Purple => "i-purp",
            Ink::Outside => "i-out",
            Ink::Fault => "i-fault",
            Ink::Recovery => "i-recov",
            Ink::FaultEdge => "i-edge",
            Ink::Lane => "i-lane",
            Ink::BarWait => "i-wait",
            Ink::BarActs => "i-acts",
            Ink::BarHeals => "i-heals",
            Ink::BarIsr => "i-isr",
            Ink::Strong => "i-strong",
            Ink::Hatch => "i-hatch",
            Ink::Heat1 => "i-heat1",
            Ink::Heat2 => "i-heat2",
            Ink::Heat3 => "i-heat3",
            Ink::Heat4 => "i-heat4",
            Ink::Heat5 => "i-heat5",
        }
    }

    /// Its colour in the light theme.
    pub(super) fn color(self) -> RGBColor {
        match self {
            Ink::Text => RGBColor(0x45, 0x4d, 0x57),
            Ink::Grid => RGBColor(0xe4, 0xe7, 0xeb),
            Ink::Frame => RGBColor(0xa8, 0xb0, 0xba),
            Ink::Target => RGBColor(0x5c, 0x65, 0x70),
            Ink::Blue => RGBColor(0x00, 0x63, 0xa6),
            Ink::Green => RGBColor(0x00, 0x7a, 0x5a),
            Ink::Vermilion => RGBColor(0xb8, 0x4a, 0x00),
            Ink::Purple => RGBColor(0x96, 0x3c, 0x73),
            Ink::Outside => RGBColor(0xee, 0xf0, 0xf3),
            Ink::Fault => RGBColor(0xfb, 0xd9, 0xc4),
            Ink::Recovery => RGBColor(0xfd, 0xf0, 0xcf),
            Ink::FaultEdge => RGBColor(0xb8, 0x4a, 0x01),
            Ink::Lane => RGBColor(0xf5, 0xf6, 0xf8),
            Ink::BarWait => RGBColor(0x8f, 0x2d, 0x56),
            Ink::BarActs => RGBColor(0xc8, 0x52, 0x0a),
            Ink::BarHeals => RGBColor(0xe0, 0x9b, 0x1f),
            Ink::BarIsr => RGBColor(0x5f, 0xa8, 0xd8),
            Ink::Strong => RGBColor(0x1c, 0x21, 0x28),
            Ink::Hatch => RGBColor(0x9a, 0xa3, 0xae),
            Ink::Heat1 => RGBColor(0xf1, 0xf6, 0xfb),
            Ink::Heat2 => RGBColor(0xdd, 0xeb, 0xf6),
            Ink::Heat3 => RGBColor(0xc5, 0xdd, 0xf0),
            Ink::Heat4 => RGBColor(0xaa, 0xcd, 0xe9),
            Ink::Heat5 => RGBColor(0x8c, 0xbb, 0xe1),
        }
    }

    /// Lengths of its dashes and gaps, for an SVG `stroke-dasharray`, where it is not solid.
    pub(super) fn dash(self) -> Option<&'static str> {
        match self {
            Ink::Target => Some("14 10"),
            Ink::Vermilion => Some("16 6"),
            Ink::Purple => Some("4 6"),
            Ink::FaultEdge => Some("6 6"),
            _ => None,
        }
    }

    /// The same, as SVG writes it.
    pub(super) fn hex(self) -> String {
        let RGBColor(r, g, b) = self.color();
        format!("#{r:02X}{g:02X}{b:02X}")
    }
}

/// Gives every colour in `svg` its class and its dashes, and drops what is default or inherited.
pub(super) fn restyle(svg: &str) -> String {
    let mut out = svg
        .replace(" font-family=\"sans-serif\"", "")
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", "")
        .replace(" \"", "\"");
    for ink in Ink::ALL {
        let (hex, class) = (ink.hex(), ink.class());
        let dash = ink.dash().map_or_else(String::new, |d| format!(" stroke-dasharray=\"{d}\""));
        out = out
            .replace(&format!("stroke=\"{hex}\""), &format!("class=\"l {class}\" stroke=\"{hex}\"{dash}"))
            .replace(&format!("fill=\"{hex}\""), &format!("class=\"f {class}\" fill=\"{hex}\""));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn inks_are_known_by_colour_and_by_class() {
        assert_eq!(Ink::ALL.iter().map(|i| i.hex()).collect::<BTreeSet<_>>().len(), Ink::ALL.len());
        assert_eq!(Ink::ALL.iter().map(|i| i.class()).collect::<BTreeSet<_>>().len(), Ink::ALL.len());
    }

    #[test]
    fn lines_can_be_read_on_white() {
        for ink in [Ink::Text, Ink::Strong, Ink::Target, Ink::Blue, Ink::Green, Ink::Vermilion, Ink::Purple] {
            assert!(contrast_with_white(ink.color()) >= 4.5, "{ink:?}");
        }
    }

    #[test]
    fn text_can_be_read_on_every_cell() {
        for ink in [Ink::Heat1, Ink::Heat2, Ink::Heat3, Ink::Heat4, Ink::Heat5] {
            let on_cell = contrast_with_white(Ink::Strong.color()) / contrast_with_white(ink.color());
            assert!(on_cell >= 4.5, "{ink:?}: {on_cell}");
        }
    }

    /// WCAG 2.2, "contrast ratio".
    fn contrast_with_white(RGBColor(r, g, b): RGBColor) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        1.05 / (0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) + 0.05)
    }

    #[test]
    fn a_class_is_added_and_the_colour_stays() {
        let line = format!("<line opacity=\"1\" stroke=\"{}\" stroke-width=\"2\"/>", Ink::Target.hex());
        assert_eq!(
            restyle(&line),
            "<line class=\"l i-target\" stroke=\"#5C6570\" stroke-dasharray=\"14 10\" stroke-width=\"2\"/>"
        );
    }
}
