//! The page of every kind of sweep: valid, self-contained, legible, and true to the data.
//!
//! `UPDATE=1` rewrites the golden files.

#[path = "html/checks.rs"]
mod checks;
#[path = "html/dom.rs"]
mod dom;
#[path = "fixtures/sweeps.rs"]
mod fixtures;

use std::collections::BTreeSet;

use gauntlet_reports::html::render_sweep;
use gauntlet_reports::junit::Document;
use gauntlet_reports::sweep::csv::csv;
use gauntlet_reports::sweep::{SweepData, SweepRecord};

use checks::{assert_accessible, assert_asks_for_nothing, assert_legible, compare};
use dom::{Element, Page};

const BYTES_MAX: usize = 3_000_000;

fn page(data: &SweepData) -> Page {
    Page::parse(&render_sweep(data))
}

fn junit(data: &SweepData) -> String {
    let mut document = Document::default();
    document.add_sweep(data);
    document.render()
}

#[test]
fn a_small_sweep_is_rendered_as_before() {
    let small = fixtures::small();
    compare("small_sweep.html", &render_sweep(&small));
    compare("small_sweep.json", &(serde_json::to_string_pretty(&small.record).unwrap() + "\n"));
    compare("small_sweep.csv", &csv(&small.record));
    compare("small_sweep.junit.xml", &junit(&small));
}

#[test]
fn sweep_json_reads_back() {
    for (name, data) in fixtures::all() {
        let json = serde_json::to_string(&data.record).unwrap();
        assert!(serde_json::from_str::<SweepRecord>(&json).unwrap() == data.record, "{name}");
    }
}

#[test]
fn every_page_is_valid_and_of_bounded_size() {
    for (name, data) in fixtures::all() {
        let html = render_sweep(&data);
        assert!(html.len() < BYTES_MAX, "{name}: {} bytes", html.len());
        assert_eq!(Page::parse(&html).errors(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_page_asks_for_nothing_and_runs_nothing() {
    for (name, data) in fixtures::all() {
        let runs = data.record.runs.iter();
        let pages: BTreeSet<String> =
            runs.filter_map(|run| Some(format!("{}/report.html", run.dir.as_ref()?))).collect();
        let may_link = |to: &str| to.starts_with("data:text/csv;charset=utf-8,") || pages.contains(to);
        assert_asks_for_nothing(name, &render_sweep(&data), may_link);
    }
}

#[test]
fn every_page_can_be_found_through_without_seeing_it() {
    for (name, data) in fixtures::all() {
        assert_accessible(name, &page(&data));
    }
}

#[test]
fn every_figure_says_what_it_shows_and_has_its_numbers() {
    for (name, data) in fixtures::all() {
        for figure in page(&data).all("figure") {
            let id = figure.attr("id").unwrap_or_default();
            let finding = figure.all("p")[0].text();
            assert!(finding.len() > 15, "{name} {id}: {finding}");
            assert!(figure.all("figcaption")[0].text().starts_with("How to read this: "), "{name} {id}");
            assert_eq!(figure.all("details").len(), 1, "{name} {id}");
            assert!(figure.all("details")[0].all("tr").len() >= 2, "{name} {id}");
        }
    }
}

#[test]
fn labels_stay_inside_and_do_not_overlap() {
    for (name, data) in fixtures::all() {
        assert_legible(name, &page(&data));
    }
}

#[test]
fn the_banner_says_the_verdict() {
    for (name, verdict, exit_code) in [
        ("sweep_pass", "PASS", "exit code0"),
        ("sweep_mixed", "VIOLATION", "exit code100"),
        ("sweep_interrupted", "INCONCLUSIVE", "exit code105"),
        ("sweep_running", "DID NOT FINISH", "exit codenone"),
    ] {
        let data = fixtures::all().into_iter().find(|(n, _)| *n == name).unwrap().1;
        let page = page(&data);
        assert_eq!(page.all("h1")[0].text(), verdict, "{name}");
        assert!(page.by_id("top").text().contains(exit_code), "{name}: {}", page.by_id("top").text());
    }
}

#[test]
fn what_is_unknown_is_hatched_and_never_the_best() {
    let page = page(&fixtures::mixed());
    let heatmap = page.by_id("heat-p99_ms-0");
    let chart = heatmap.all("svg").into_iter().find(|svg| svg.has_class("chart")).unwrap();
    let frames = chart.all("polyline").into_iter().filter(|line| line.has_class("i-strong")).count();
    assert_eq!(frames, 1, "one cell is the best");
    let hatches = chart.all("line").into_iter().chain(chart.all("polyline"));
    assert!(hatches.filter(|line| line.has_class("i-hatch")).count() >= 4);
    let finding = page.by_id("heat-p99_ms-0-finding").text();
    assert!(finding.ends_with("2 cells are unknown."), "{finding}");
    let texts: Vec<String> = chart.all("text").iter().map(Element::text).collect();
    for sign in ["✗ ", "‼ ", "? ", "… "] {
        assert!(texts.iter().any(|text| text.starts_with(sign)), "{sign} is not in {texts:?}");
    }
    let reasons = page.by_id("reasons").text();
    assert!(reasons.contains("3 x lost") && reasons.contains("not run"), "{reasons}");
}

#[test]
fn intervals_are_told_for_what_they_are() {
    let of = |data: &SweepData| page(data).by_id("lines-p99_ms-0").text();
    assert!(of(&fixtures::pass()).contains("95 % confidence interval (Student's t on the logarithms)"));
    assert!(of(&fixtures::mixed()).contains("with fewer than three runs there is no confidence interval"));
    assert!(of(&fixtures::three_axes()).contains("nothing is known of how much runs differ"));
}

#[test]
fn blocks_without_data_are_left_out_or_say_so() {
    let one = page(&fixtures::one_point());
    assert!(!one.has("grid") && !one.has("trade-off") && !one.has("lines") && !one.has("reasons"));
    let words = page(&fixtures::words());
    assert!(words.has("grid") && words.has("trade-off") && !words.has("lines"));
    let three = page(&fixtures::three_axes());
    assert!(three.by_id("grid").text().contains("are in the table of points only"));
    let running = page(&fixtures::running());
    assert!(running.has("points") && !running.has("trade-off"));
}

#[test]
fn nothing_that_a_sweep_says_becomes_markup() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;\u{0}\u{7}\u{ffff}";
    let evil = || EVIL.to_owned();
    let mut data = fixtures::mixed();
    data.scenario = evil();
    data.reproduce = evil();
    let record = &mut data.record;
    record.name = evil();
    record.description = Some(evil());
    record.sweep_id = evil();
    record.reasons[0].text = evil();
    record.only = vec![evil()];
    record.axes[1] = evil();
    for point in &mut record.points {
        let codec = point.parameters.remove("codec").unwrap();
        point.parameters.insert(evil(), format!("{EVIL}{codec}").into());
    }
    record.runs[3].reasons[0].text = evil();
    record.runs[4].dir = Some(evil());
    let html = render_sweep(&data);
    let page = Page::parse(&html);
    assert_eq!(page.errors(), Vec::<String>::new());
    assert!(page.all("script").is_empty() && page.all("img").is_empty());
    assert!(html.matches("&lt;script&gt;").count() >= 25, "{}", html.matches("&lt;script&gt;").count());
}

#[test]
fn a_pipeline_that_reads_only_junit_is_not_green() {
    for (name, suites, red) in [("sweep_pass", 20, 0), ("sweep_mixed", 20, 5), ("sweep_interrupted", 20, 19)]
    {
        let data = fixtures::all().into_iter().find(|(n, _)| *n == name).unwrap().1;
        let report = quick_junit::Report::deserialize_from_str(&junit(&data)).unwrap();
        assert_eq!(report.test_suites.len(), suites, "{name}: one per point");
        assert_eq!(report.failures + report.errors, red, "{name}");
    }
}
