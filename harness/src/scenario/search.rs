//! `load.shape: max-search`: one file, a series of trials at rates that are found as it goes. Each trial is the scenario with
//! a constant load, as complete and as valid as if it had been written by itself.

use super::diagnostic::{Problem, ScenarioError, scenario_error};
use super::merge;
use super::sweep::{too_long, with_topics_of_its_own};
use super::tree::{Content, Entry, Node, Scalar};
use super::types::{Search, Shape};
use super::validate::is_over_a_search;
use super::{LoadOptions, LoadedScenario};
use crate::units::{Duration, Rate};

/// Expectations that hold for every trial: what is sent too fast may be late, but not lost.
const OF_EVERY_TRIAL: &str = "verify.";

/// A search with what it was read from.
#[derive(Clone, Debug)]
pub struct LoadedSearch {
    /// What is searched, and how.
    pub search: Search,
    /// The whole file, with its names, reports and expectations. Its load stands for the first trial.
    pub whole: LoadedScenario,
    /// What decides the default number of producers.
    cores: usize,
}

/// What a trial is for, which decides what is expected of it besides what makes a rate sustainable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialKind {
    /// It brings the search further: of the file's expectations, those on `verify.*` apply.
    Search,
    /// It confirms a rate: all of them apply.
    Confirm,
    /// It warms brokers up: nothing is expected.
    WarmUp,
}

impl LoadedSearch {
    /// The search in `whole`, if its load is one.
    ///
    /// # Errors
    /// Something is wrong with its trials.
    pub(super) fn of(
        whole: &LoadedScenario,
        options: &LoadOptions<'_>,
    ) -> Result<Option<Self>, ScenarioError> {
        let Shape::MaxSearch(search) = &whole.scenario.load.shape else { return Ok(None) };
        let loaded = Self { search: search.clone(), whole: whole.clone(), cores: options.cores };
        // What is wrong with every trial is found before the first.
        loaded.trial(search.high, search.confirm, TrialKind::Confirm)?;
        Ok(Some(loaded))
    }

    /// The scenario of a trial: constant load at `rate` for `duration` after the warm-up. The first expectations are those
    /// that make a rate sustainable, in their order. Topics that it creates have `${run.id}` in their names.
    ///
    /// # Errors
    /// A topic's name has no room for the id of a run.
    pub fn trial(
        &self,
        rate: Rate,
        duration: Duration,
        kind: TrialKind,
    ) -> Result<LoadedScenario, ScenarioError> {
        let whole = &self.whole;
        let fail = |problems: Vec<Problem>| scenario_error(&whole.sources, problems);
        let mut root = whole.root.clone();
        let sustainable = make_constant(&mut root, rate, duration, kind);
        expect(&mut root, sustainable, kind);
        // Expectations were checked with the whole file.
        let options = LoadOptions { cores: self.cores, ..LoadOptions::default() };
        let mut trial =
            super::complete(root, &whole.source, whole.profiles.clone(), &whole.sources, &options)
                .map_err(fail)?;
        with_topics_of_its_own(&mut trial.scenario);
        match too_long(&trial) {
            problems if problems.is_empty() => Ok(trial),
            problems => Err(fail(problems)),
        }
    }
}

/// Puts a constant load in the place of the search. Returns the expressions of the search.
fn make_constant(root: &mut Node, rate: Rate, duration: Duration, kind: TrialKind) -> Vec<Node> {
    let Some(load) = value_of(root, "load") else { return Vec::new() };
    let span = load.span;
    let search = merge::remove(load, "search");
    let mut fields = vec![
        ("shape", "constant".to_owned()),
        ("rate", rate.to_string()),
        ("duration", duration.to_string()),
    ];
    if kind == TrialKind::WarmUp {
        fields.push(("warmup", Duration::ZERO.to_string()));
    }
    for (key, _) in &fields {
        merge::remove(load, key);
    }
    if let Content::Mapping(entries) = &mut load.content {
        let entry = |(key, text): (&str, String)| {
            let value = Node { span, content: Content::Scalar(Scalar::plain(text)) };
            Entry { key: key.to_owned(), key_span: span, value }
        };
        entries.splice(0..0, fields.into_iter().map(entry));
    }
    match search.and_then(|mut search| merge::remove(&mut search, "sustainable")) {
        Some(Node { content: Content::Sequence(items), .. }) => items,
        _ => Vec::new(),
    }
}

/// Puts what is expected of a trial in the place of what is expected of the search.
fn expect(root: &mut Node, sustainable: Vec<Node>, kind: TrialKind) {
    let span = root.span;
    let written = match merge::remove(root, "expect") {
        Some(Node { content: Content::Sequence(items), .. }) => items,
        _ => Vec::new(),
    };
    let applies = |node: &Node| {
        let that = node.text().or_else(|| node.get("that")?.text()).unwrap_or_default();
        !is_over_a_search(that)
            && (kind == TrialKind::Confirm || that.trim_start().starts_with(OF_EVERY_TRIAL))
    };
    let items: Vec<Node> = match kind {
        TrialKind::WarmUp => Vec::new(),
        _ => sustainable.into_iter().chain(written.into_iter().filter(applies)).collect(),
    };
    if let Content::Mapping(entries) = &mut root.content {
        let value = Node { span, content: Content::Sequence(items) };
        entries.push(Entry { key: "expect".to_owned(), key_span: span, value });
    }
}

/// The value of a key, to be changed.
fn value_of<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    let Content::Mapping(entries) = &mut node.content else { return None };
    entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::ScenarioFile;

    const SEARCH: &str = "version: 1\nname: s\ntopics: [{ name: t }]\n\
        load:\n  shape: max-search\n  warmup: 2s\n  drain: 9s\n  search: { low: 1k/s, high: 9k/s, sustainable: [produce.latency p99 < 5ms] }\n\
        expect: [search.sustainable_rate >= 2k/s, { that: verify.lost == 0 }, produce.failed == 0]\n";

    fn search(text: &str) -> Result<LoadedSearch, ScenarioError> {
        match ScenarioFile::parse("s.yaml", text, &LoadOptions { cores: 2, ..LoadOptions::default() })? {
            ScenarioFile::Search(search) => Ok(*search),
            other => panic!("{} is no search", other.name()),
        }
    }

    fn rules(loaded: &LoadedScenario) -> Vec<&str> {
        loaded.scenario.expect.iter().map(|expectation| expectation.that.as_str()).collect()
    }

    #[test]
    fn a_trial_is_a_scenario_of_its_own() {
        let search = search(SEARCH).unwrap();
        assert_eq!((search.search.confirm, search.search.resolution.get()), (Duration::from_secs(120), 0.02));
        let trial =
            search.trial(Rate::per_second(1_414), Duration::from_secs(30), TrialKind::Search).unwrap();
        assert_eq!(rules(&trial), ["produce.latency p99 < 5ms", "verify.lost == 0"]);
        assert_eq!(
            trial.scenario.load.shape,
            Shape::Constant { rate: Rate::per_second(1_414), duration: Duration::from_secs(30) }
        );
        assert_eq!(trial.scenario.load.drain, Duration::from_secs(9));
        assert_eq!(trial.scenario.topics[0].name, "t-${run.id}");
        let options = LoadOptions { cores: 2, ..LoadOptions::default() };
        let again = ScenarioFile::parse("again.yaml", &trial.resolved_yaml, &options).unwrap();
        let ScenarioFile::Single(again) = again else { panic!("a trial is one run") };
        assert_eq!(again.scenario.load, trial.scenario.load);
        assert_eq!(rules(&again), rules(&trial));
    }

    #[test]
    fn what_is_expected_depends_on_what_the_trial_is_for() {
        let search = search(SEARCH).unwrap();
        let of = |kind| search.trial(Rate::per_second(1_000), Duration::from_secs(1), kind).unwrap();
        assert_eq!(
            rules(&of(TrialKind::Confirm)),
            ["produce.latency p99 < 5ms", "verify.lost == 0", "produce.failed == 0"]
        );
        let warmup = of(TrialKind::WarmUp);
        assert!(warmup.scenario.expect.is_empty());
        assert_eq!(
            warmup.scenario.load.warmup,
            crate::scenario::types::Warmup::For(Duration::ZERO),
            "a warm-up has none of its own"
        );
    }

    #[test]
    fn a_name_without_room_is_found_at_once() {
        let text = SEARCH.replace("name: t }", &format!("name: {} }}", "t".repeat(240)));
        assert!(search(&text).unwrap_err().to_string().contains("no room for the id of a run"));
    }
}
