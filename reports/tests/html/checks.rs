//! What holds for every page, whatever it reports.

use std::collections::BTreeSet;
use std::path::Path;

use crate::dom::{Element, Page};

/// Compares a text with its golden file; with `UPDATE=1` in the environment, writes that instead.
pub(crate) fn compare(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("golden files can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "tests/golden/{file} is out of date: run UPDATE=1 cargo test -p gauntlet-reports"
    );
}

/// The page loads nothing and runs nothing. Links that go neither to a place on the page nor where `may_link` allows are none.
pub(crate) fn assert_asks_for_nothing(name: &str, html: &str, may_link: impl Fn(&str) -> bool) {
    for forbidden in ["<script", "http:", "https:", "@import", "url(", "javascript:"] {
        assert!(!html.contains(forbidden), "{name} has {forbidden}");
    }
    for element in Page::parse(html).elements() {
        for (attribute, value) in element.attrs() {
            let is_link = matches!(attribute.as_str(), "href" | "src" | "srcset");
            assert!(!is_link || value.starts_with('#') || may_link(&value), "{name}: {attribute}={value}");
            assert!(!attribute.starts_with("on"), "{name}: {attribute}={value}");
        }
    }
}

/// The page has its landmarks, its ids are known once each, and what can't be seen has words.
pub(crate) fn assert_accessible(name: &str, page: &Page) {
    for landmark in ["main", "nav", "header", "footer", "h1"] {
        assert_eq!(page.all(landmark).len(), 1, "{name}: {landmark}");
    }
    let ids: Vec<String> = page.elements().iter().filter_map(|e| e.attr("id")).collect();
    let known: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(known.len(), ids.len(), "{name}: an id twice");
    for element in page.elements() {
        let referred = ["aria-labelledby", "aria-describedby"].into_iter().filter_map(|a| element.attr(a));
        let linked = element.attr("href").and_then(|href| href.strip_prefix('#').map(str::to_owned));
        for id in referred.chain(linked) {
            assert!(known.contains(&id), "{name}: nothing has the id {id}");
        }
    }
    assert!(page.all("th").iter().all(|th| th.attr("scope").is_some()), "{name}: th without scope");
    assert!(page.all("svg").iter().all(|svg| svg.attr("aria-hidden").as_deref() == Some("true")), "{name}");
}

/// Labels of charts stay inside and do not overlap.
pub(crate) fn assert_legible(name: &str, page: &Page) {
    for chart in page.all("svg").into_iter().filter(|svg| svg.has_class("chart")) {
        let boxes: Vec<(Extent, String)> =
            chart.all("text").iter().map(|text| (Extent::of(text), text.text())).collect();
        for (i, (one, label)) in boxes.iter().enumerate() {
            assert!(one.left >= 0 && one.right <= 2240, "{name}: {label} leaves the chart: {one:?}");
            for (other, other_label) in &boxes[..i] {
                assert!(!one.overlaps(other), "{name}: {label} lies on {other_label}");
            }
        }
    }
}

/// The place of a text, by the widths of a common sans-serif.
#[derive(Debug)]
struct Extent {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl Extent {
    fn of(text: &Element) -> Extent {
        let size = text.attr("font-size").and_then(|s| s.parse::<f64>().ok()).expect("every text has a size");
        let width = (text.text().chars().count() as f64 * size * 0.54) as i32;
        let (x, y, half) = (text.number("x"), text.number("y"), size as i32 / 2);
        let left = match text.attr("text-anchor").as_deref() {
            Some("start") => x,
            Some("middle") => x - width / 2,
            _ => x - width,
        };
        Extent { left, right: left + width, top: y - half, bottom: y + half }
    }

    fn overlaps(&self, other: &Extent) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }
}
