//! The page of every kind of search: valid, self-contained, legible, and true to the data.
//!
//! `UPDATE=1` rewrites the golden files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "html/dom.rs"]
mod dom;
#[path = "fixtures/searches.rs"]
mod fixtures;

use std::collections::BTreeSet;
use std::path::Path;

use gauntlet_reports::html::render_search;
use gauntlet_reports::junit::Document;
use gauntlet_reports::search::{SearchData, SearchRecord};

use dom::{Element, Page};

fn page(data: &SearchData) -> Page {
    Page::parse(&render_search(data))
}

fn named(name: &str) -> SearchData {
    fixtures::all().into_iter().find(|(known, _)| *known == name).unwrap().1
}

fn junit(data: &SearchData) -> String {
    let mut document = Document::default();
    document.add_search(&data.record);
    document.render()
}

fn compare(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "tests/golden/{file} is out of date: run UPDATE=1 cargo test -p gauntlet-reports"
    );
}

#[test]
fn a_search_is_rendered_as_before() {
    let data = fixtures::pass();
    compare("search.html", &render_search(&data));
    compare("search.json", &(serde_json::to_string_pretty(&data.record).unwrap() + "\n"));
    compare("search.junit.xml", &junit(&data));
}

#[test]
fn search_json_reads_back() {
    for (name, data) in fixtures::all() {
        let json = serde_json::to_string(&data.record).unwrap();
        assert!(serde_json::from_str::<SearchRecord>(&json).unwrap() == data.record, "{name}");
    }
}

#[test]
fn every_page_is_valid_and_asks_for_nothing() {
    for (name, data) in fixtures::all() {
        let html = render_search(&data);
        let page = Page::parse(&html);
        assert_eq!(page.errors(), Vec::<String>::new(), "{name}");
        for forbidden in ["<script", "http:", "https:", "@import", "url(", "javascript:"] {
            assert!(!html.contains(forbidden), "{name} has {forbidden}");
        }
        let trials: BTreeSet<String> =
            data.record.trials.iter().map(|trial| format!("{}/report.html", trial.dir)).collect();
        for href in page.elements().iter().filter_map(|element| element.attr("href")) {
            assert!(href.starts_with('#') || trials.contains(&href), "{name}: {href}");
        }
    }
}

#[test]
fn every_page_can_be_found_through_without_seeing_it() {
    for (name, data) in fixtures::all() {
        let page = page(&data);
        for landmark in ["main", "nav", "header", "footer", "h1"] {
            assert_eq!(page.all(landmark).len(), 1, "{name}: {landmark}");
        }
        let ids: Vec<String> = page.elements().iter().filter_map(|e| e.attr("id")).collect();
        let known: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(known.len(), ids.len(), "{name}: an id twice");
        for element in page.elements() {
            let referred =
                ["aria-labelledby", "aria-describedby"].into_iter().filter_map(|a| element.attr(a));
            let linked = element.attr("href").filter(|h| h.starts_with('#'));
            for id in referred.chain(linked.map(|h| h.trim_start_matches('#').to_owned())) {
                assert!(known.contains(&id), "{name}: nothing has the id {id}");
            }
        }
        for figure in page.all("figure") {
            assert!(figure.all("p")[0].text().len() > 15, "{name}");
            assert!(figure.all("details")[0].all("tr").len() >= 2, "{name}");
        }
    }
}

#[test]
fn labels_stay_inside_and_do_not_overlap() {
    for (name, data) in fixtures::all() {
        for chart in page(&data).all("svg").into_iter().filter(|svg| svg.has_class("chart")) {
            let boxes: Vec<([i32; 4], String)> =
                chart.all("text").iter().map(|text| (extent(text), text.text())).collect();
            for (index, (one, label)) in boxes.iter().enumerate() {
                assert!(one[0] >= 0 && one[1] <= 2240, "{name}: {label} leaves the chart: {one:?}");
                for (other, other_label) in &boxes[..index] {
                    let apart =
                        one[1] <= other[0] || other[1] <= one[0] || one[3] <= other[2] || other[3] <= one[2];
                    assert!(apart, "{name}: {label} lies on {other_label}");
                }
            }
        }
    }
}

/// Left, right, top, bottom of a text, by the widths of a common sans-serif.
fn extent(text: &Element) -> [i32; 4] {
    let size = text.attr("font-size").and_then(|s| s.parse::<f64>().ok()).expect("every text has a size");
    let width = (text.text().chars().count() as f64 * size * 0.54) as i32;
    let (x, y, half) = (text.number("x"), text.number("y"), size as i32 / 2);
    let left = match text.attr("text-anchor").as_deref() {
        Some("start") => x,
        Some("middle") => x - width / 2,
        _ => x - width,
    };
    [left, left + width, y - half, y + half]
}

#[test]
fn the_banner_says_what_the_search_came_to() {
    for (name, verdict, exit_code, sentence) in [
        ("search_pass", "PASS", "exit code0", "400,000/s is sustainable, 475,683/s is not."),
        ("search_fail", "FAIL", "exit code99", "400,000/s is sustainable, 475,683/s is not."),
        ("search_nothing", "FAIL", "exit code99", "No rate was sustainable, not even 195/s."),
        ("search_ours", "INCONCLUSIVE", "exit code5", "At least 400,000/s is sustainable: above it gauntlet"),
        (
            "search_high",
            "PASS",
            "exit code0",
            "At least 400,000/s is sustainable: the search went no higher.",
        ),
        ("search_violation", "VIOLATION", "exit code100", "400,000/s is sustainable, 475,683/s is not."),
        ("search_interrupted", "INCONCLUSIVE", "exit code105", "The search did not come to its end."),
        ("search_running", "DID NOT FINISH", "exit codenone", "The search is still going on"),
    ] {
        let page = page(&named(name));
        assert_eq!(page.all("h1")[0].text(), verdict, "{name}");
        let banner = page.by_id("top").text();
        assert!(banner.contains(exit_code) && banner.contains(sentence), "{name}: {banner}");
    }
}

#[test]
fn the_rate_is_told_with_what_it_means() {
    let capacity = page(&named("search_pass")).by_id("capacity").text();
    for told in ["400,000/s", "475,683/s", "1.60 times", "29.40 MB/s", "2.54 TB", "7.62 TB"] {
        assert!(capacity.contains(told), "{told} is not in {capacity}");
    }
    for without in ["search_nothing", "search_interrupted", "search_running"] {
        assert!(!page(&named(without)).has("capacity"), "{without}");
    }
}

#[test]
fn every_trial_says_what_broke() {
    let page = page(&named("search_pass"));
    let trials = page.by_id("trials");
    assert_eq!(trials.all("tr").len(), 9, "a heading, and a row per trial");
    assert!(trials.text().contains("produce.latency p99 < 50ms: 890 ms"), "{}", trials.text());
    let expectations = page.by_id("expectations").text();
    for told in ["search.sustainable_rate >= 250k/s", "verify.lost == 0", "trial 8, which confirmed"] {
        assert!(expectations.contains(told), "{told} is not in {expectations}");
    }
    let knee = page.by_id("latency-by-rate-finding").text();
    assert!(knee.contains("at 400,000/s where a rate held at last"), "{knee}");
}

#[test]
fn nothing_that_a_search_says_becomes_markup() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;\u{0}\u{7}\u{ffff}";
    let evil = || EVIL.to_owned();
    let mut data = named("search_violation");
    data.scenario = evil();
    data.reproduce = evil();
    let record = &mut data.record;
    (record.name, record.description, record.search_id) = (evil(), Some(evil()), evil());
    record.reasons[0].text = evil();
    record.sustainable[0] = evil();
    record.trials[4].dir = evil();
    record.trials[4].rules[0].rule = evil();
    record.trials[5].reasons[0].text = evil();
    let html = render_search(&data);
    let page = Page::parse(&html);
    assert_eq!(page.errors(), Vec::<String>::new());
    assert!(page.all("script").is_empty() && page.all("img").is_empty());
}

#[test]
fn a_pipeline_that_reads_only_junit_is_not_green() {
    for (name, red) in [
        ("search_pass", 0),
        ("search_high", 0),
        ("search_fail", 1),
        ("search_nothing", 1),
        ("search_ours", 1),
        ("search_violation", 1),
        ("search_interrupted", 1),
        ("search_running", 1),
    ] {
        let report = quick_junit::Report::deserialize_from_str(&junit(&named(name))).unwrap();
        assert_eq!((report.test_suites.len(), report.failures + report.errors), (1, red), "{name}");
    }
}
