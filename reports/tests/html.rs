//! The HTML report of every kind of run: valid, self-contained, legible, and true to the data.
//!
//! `UPDATE=1` rewrites the golden file. To look at the pages: `cargo run -p gauntlet-reports --example render_fixture -- DIRECTORY`.

#[path = "html/checks.rs"]
mod checks;
#[path = "html/dom.rs"]
mod dom;
#[path = "fixtures/runs.rs"]
mod fixtures;

use gauntlet_reports::html::render;
use gauntlet_reports::run_data::RunData;

use checks::{assert_accessible, assert_asks_for_nothing, assert_legible, compare};
use dom::{Element, Page};

const BYTES_MAX: usize = 1_000_000;
/// Per series.
const POINTS_MAX: usize = 1_000;

fn page(data: &RunData) -> Page {
    Page::parse(&render(data))
}

fn charts(page: &Page) -> Vec<Element> {
    page.all("svg").into_iter().filter(|svg| svg.has_class("chart")).collect()
}

#[test]
fn a_small_run_is_rendered_as_before() {
    compare("three_seconds.html", &render(&fixtures::three_seconds()));
}

#[test]
fn every_page_is_valid_and_small() {
    for (name, data) in fixtures::all() {
        let html = render(&data);
        assert!(html.len() < BYTES_MAX, "{name}: {} bytes", html.len());
        assert_eq!(Page::parse(&html).errors(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_page_asks_for_nothing_and_runs_nothing() {
    for (name, data) in fixtures::all() {
        assert_asks_for_nothing(name, &render(&data), |_| false);
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
        let page = page(&data);
        for figure in page.all("figure") {
            let id = figure.attr("id").unwrap_or_default();
            let finding = page.by_id(&figure.attr("aria-describedby").unwrap()).text();
            assert!(finding.len() > 15, "{name} {id}: {finding}");
            assert!(figure.all("figcaption")[0].text().starts_with("How to read this: "), "{name} {id}");
            let details = figure.all("details");
            assert_eq!(details.len(), 1, "{name} {id}");
            if id != "timeline" {
                let rows = details[0].all("tr").len();
                assert!((2..=302).contains(&rows), "{name} {id}: {rows} rows");
            }
        }
    }
}

/// What is shaded behind a chart: class, left edge and width of every band.
fn bands(chart: &Element) -> Vec<(String, i32, i32)> {
    let classes = ["i-out", "i-fault", "i-recov"];
    let rects = chart.all("rect").into_iter().filter_map(|rect| {
        let class = classes.into_iter().find(|class| rect.has_class(class))?;
        Some((class.to_owned(), rect.number("x"), rect.number("width")))
    });
    rects.collect()
}

#[test]
fn every_chart_has_the_same_bands_and_the_same_time_axis() {
    for (name, data) in fixtures::all() {
        let page = page(&data);
        let charts = charts(&page);
        for chart in &charts {
            assert_eq!(bands(chart), bands(&charts[0]), "{name}");
            assert_eq!(time_labels(chart), time_labels(&charts[0]), "{name}");
        }
        let injected = data.record.faults.iter().filter(|f| f.at_s.injected.is_some()).count();
        let drawn = charts.first().map_or(0, |c| bands(c).iter().filter(|b| b.0 == "i-fault").count());
        assert_eq!(drawn, injected, "{name}");
    }
}

/// Labels under a chart: the row of text furthest down.
fn time_labels(chart: &Element) -> Vec<(i32, String)> {
    let texts = chart.all("text");
    let lowest = texts.iter().map(|t| t.number("y")).max();
    texts.iter().filter(|t| Some(t.number("y")) == lowest).map(|t| (t.number("x"), t.text())).collect()
}

#[test]
fn labels_stay_inside_and_do_not_overlap() {
    for (name, data) in fixtures::all() {
        assert_legible(name, &page(&data));
    }
}

#[test]
fn long_runs_are_thinned_and_keep_their_peak() {
    let data = fixtures::hours();
    assert!(data.seconds.len() > 5 * POINTS_MAX);
    let page = page(&data);
    for line in page.all("polyline") {
        let points = line.attr("points").unwrap().split(' ').count();
        assert!(points <= POINTS_MAX, "{points} points");
    }
    let worst_ms = data.seconds.iter().filter_map(|s| s.latency_ms.p99).fold(0.0, f64::max);
    let told = format!("{:.2} s at worst", worst_ms / 1e3);
    assert!(page.by_id("latency-finding").text().contains(&told), "{told}");
}

#[test]
fn the_banner_says_the_verdict_and_whether_anything_was_checked() {
    for (name, verdict, is_verified) in [
        ("pass", "PASS", true),
        ("violation", "VIOLATION", true),
        ("inconclusive", "INCONCLUSIVE", true),
        ("crashed", "DID NOT FINISH", false),
        ("before_load", "ABORTED", false),
        ("not_verified", "PASS", false),
    ] {
        let data = fixtures::all().into_iter().find(|(n, _)| *n == name).unwrap().1;
        let page = page(&data);
        assert_eq!(page.all("h1")[0].text(), verdict, "{name}");
        let banner = page.by_id("top").text();
        assert_eq!(banner.contains("NOT VERIFIED"), !is_verified, "{name}: {banner}");
        assert_eq!(page.by_id("correctness").text().contains("NOT VERIFIED"), !is_verified, "{name}");
        for reason in data.record.reasons {
            assert!(banner.contains(&reason.text), "{name}: {banner}");
        }
    }
}

#[test]
fn broken_expectations_come_first_with_their_margin() {
    let page = page(&fixtures::violation());
    let rows = page.by_id("expectations").all("tr");
    let results: Vec<String> = rows[1..].iter().map(|row| row.all("th")[0].text()).collect();
    assert_eq!(results[..3], ["✗ broken", "✗ broken", "✓ held"]);
    let cells: Vec<String> = rows[2].all("td").iter().map(Element::text).collect();
    assert_eq!(cells, ["produce.latency p99 < 50ms", "before", "177 ms", "50.0 ms", "127 ms over"]);
}

#[test]
fn what_the_guarantee_allows_is_told_apart_from_violations() {
    let text = page(&fixtures::violation()).by_id("correctness").text();
    assert!(text.contains("✗ 1,204") && text.contains("allowed 17"), "{text}");
    let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} is not in {text}"));
    let order = [
        place("Violations"),
        place("1,204 × lost"),
        place("Expected"),
        place("17 × duplicate"),
        place("For the record"),
        place("311 × indeterminate-present"),
    ];
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn blocks_without_data_are_left_out_or_say_so() {
    let before_load = page(&fixtures::before_load());
    assert!(charts(&before_load).is_empty());
    assert!(before_load.by_id("over-time").text().contains("ended before its load began"));
    assert!(!before_load.has("recovery") && !before_load.has("windows"));

    let crashed = page(&fixtures::crashed());
    assert!(crashed.has("throughput") && !crashed.has("windows"));
    assert!(crashed.by_id("numbers").text().contains("So far"));
    assert!(crashed.by_id("errors").text().contains("not yet counted"));

    // Neither faults nor the cluster are on record.
    let cold = page(&fixtures::crashed_in_warm_up());
    assert!(cold.by_id("over-time").text().contains("The run ended in its warm-up"));
    assert!(!cold.has("timeline"));
    assert!(cold.by_id("latency-finding").text().contains("(in the warm-up)"));

    let unlimited = page(&fixtures::unlimited());
    assert!(!unlimited.has("slip"), "without a schedule nothing can be late");
    assert!(!unlimited.by_id("throughput").text().contains("target"));

    let lost = page(&fixtures::counts_lost());
    assert!(lost.has("latency") && !lost.has("throughput") && !lost.has("slip") && !lost.has("lag"));
    assert!(lost.by_id("over-time").text().contains("no counts per second"));
    assert!(lost.by_id("numbers").text().contains("highest lag–"), "no count is not a count of 0");

    let nothing = page(&fixtures::nothing_measured());
    assert!(
        nothing.has("throughput") && !nothing.has("latency") && !nothing.has("e2e") && !nothing.has("lag")
    );
}

#[test]
fn a_fault_that_never_ended_or_never_came_is_told_as_such() {
    let page = page(&fixtures::never_recovered());
    let finding = page.by_id("timeline-finding").text();
    for told in [
        "kill-leader took effect at 60.1 s, not healed",
        "partition-away was injected at 80.0 s and not seen to act",
        "too-late was planned for 140.0 s and never injected",
    ] {
        assert!(finding.contains(told), "{finding}");
    }
    let recovery = page.by_id("recovery").text();
    assert!(recovery.contains("port 9093 is taken") && recovery.contains("? not seen to act"), "{recovery}");
}

#[test]
fn nothing_that_a_run_says_becomes_markup() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;\u{0}\u{7}\u{ffff}";
    let evil = || EVIL.to_owned();
    let mut data = fixtures::violation();
    data.reproduce = evil();
    data.scenario = evil();
    data.files[0].name = evil();
    data.files[0].sha256 = evil();
    data.cluster[0].partition = evil();
    let record = &mut data.record;
    record.name = evil();
    record.run_id = evil();
    record.started_at = evil();
    record.guarantee = Some(evil());
    record.evidence = evil();
    record.reasons[0].text = evil();
    record.findings[0].class = evil();
    record.findings[0].examples[0] = evil();
    record.expect[0].rule = evil();
    record.expect[0].detail.reason = Some(evil());
    record.expect[0].detail.during = evil();
    record.errors.insert(evil(), 1);
    record.environment.gauntlet = evil();
    record.environment.host = evil();
    record.environment.kafka = Some(evil());
    record.environment.config.insert(evil(), [(evil(), evil())].into());
    let all = record.windows["all"].clone();
    record.windows.insert(evil(), all);
    let fault = &mut record.faults[0];
    (fault.name, fault.action, fault.target, fault.error) = (evil(), evil(), evil(), Some(evil()));
    fault.unavailable_s.per_partition.insert(evil(), 1.0);

    let html = render(&data);
    let page = Page::parse(&html);
    assert_eq!(page.errors(), Vec::<String>::new());
    assert!(page.all("script").is_empty() && page.all("img").is_empty());
    assert!(
        page.by_id("top").text().contains("<script>alert(1)</script>\"'><img src=x onerror=y>&amp;\u{fffd}")
    );
    // Every string above is on the page: those of the SVG, of the title and of aria labels too.
    assert!(html.matches("&lt;script&gt;").count() >= 25, "{}", html.matches("&lt;script&gt;").count());
}
