//! The page of every kind of search: valid, self-contained, legible, and true to the data.
//!
//! `UPDATE=1` rewrites the golden files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "html/checks.rs"]
mod checks;
#[path = "html/dom.rs"]
mod dom;
#[path = "fixtures/searches.rs"]
mod fixtures;

use std::collections::BTreeSet;

use gauntlet_reports::html::render_search;
use gauntlet_reports::junit::Document;
use gauntlet_reports::search::{SearchData, SearchRecord};

use checks::{assert_accessible, assert_asks_for_nothing, assert_legible, compare};
use dom::Page;

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
        assert_eq!(Page::parse(&html).errors(), Vec::<String>::new(), "{name}");
        let trials: BTreeSet<String> =
            data.record.trials.iter().map(|trial| format!("{}/report.html", trial.dir)).collect();
        assert_asks_for_nothing(name, &html, |to| trials.contains(to));
    }
}

#[test]
fn every_figure_says_what_it_shows_and_has_its_numbers() {
    for (name, data) in fixtures::all() {
        for figure in page(&data).all("figure") {
            assert!(figure.all("p")[0].text().len() > 15, "{name}");
            assert!(figure.all("details")[0].all("tr").len() >= 2, "{name}");
        }
    }
}

#[test]
fn every_page_can_be_found_through_without_seeing_it() {
    for (name, data) in fixtures::all() {
        assert_accessible(name, &page(&data));
    }
}

#[test]
fn labels_stay_inside_and_do_not_overlap() {
    for (name, data) in fixtures::all() {
        assert_legible(name, &page(&data));
    }
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
