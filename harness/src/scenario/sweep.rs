//! `sweep:`: one file, many points. Each point is the scenario with a value for every name of the matrix, as complete and
//! as valid as if it had been written by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::diagnostic::{Place, Problem, ScenarioError, Sources, scenario_error};
use super::interpolate::{Matrix, RUN_ID, interpolate};
use super::tree::{Content, Node, Typed};
use super::types::{Cluster, Fault, Lifecycle, Shape};
use super::validate::{RUN_ID_LENGTH, TOPIC_LENGTH_MAX};
use super::written::{SweepDocument, SweepWritten};
use super::{
    LoadOptions, LoadedScenario, LoadedSearch, Scenario, deserialize, emit, find_nulls, merge, secrets,
};
use crate::units::Duration;

mod expand;
mod matrix;

use expand::Combination;

/// Most points of a sweep: more is days, and a page that nobody reads.
pub const POINTS_MAX: usize = 256;
/// Most runs: points times repeats.
pub const RUNS_MAX: usize = 1_000;
/// Most values of all points' scenarios together, which bounds the memory of a sweep.
const NODES_MAX: usize = 1_000_000;
/// Load before the first point on a cluster, where nothing is said.
const WARMUP_S: u32 = 30;
/// Pause between runs, where nothing is said.
const COOLDOWN_S: u32 = 10;

/// How the points of a sweep are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// How often each point is run, at least once.
    pub repeats: u16,
    /// In which order.
    pub order: SweepOrder,
    /// Pause between two runs.
    pub cooldown: Duration,
    /// No run begins that could end later than this after the begin of the sweep.
    pub max_wall: Option<Duration>,
    /// What happens after a run that failed.
    pub on_fail: OnFail,
    /// Which runs share a cluster.
    pub cluster: ClusterUse,
    /// Load before the first run on each shared cluster, which is part of no result. Zero: none.
    pub warmup: Duration,
}

/// In which order points are run. Either way every point is run once before any is run again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SweepOrder {
    /// Shuffled with the seed, anew for each repeat, points of one cluster together: what drifts is spread over all points.
    #[default]
    Shuffled,
    /// As the matrix has them: the last name changes fastest.
    AsWritten,
}

/// What happens after a run that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFail {
    /// The other runs follow.
    #[default]
    Continue,
    /// Nothing more is run.
    Stop,
}

/// Which runs share a local cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterUse {
    /// Those that follow each other and have the same `cluster:`; each on topics of its own. Without faults only.
    #[default]
    Shared,
    /// Every run starts its own.
    PerPoint,
}

/// A file that makes one scenario, or a sweep of them.
#[derive(Clone, Debug)]
pub enum ScenarioFile {
    /// One.
    Single(Box<LoadedScenario>),
    /// Many.
    Sweep(Box<LoadedSweep>),
    /// As many as it takes to find a rate.
    Search(Box<LoadedSearch>),
}

impl ScenarioFile {
    /// The name of the scenario.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Single(loaded) => &loaded.scenario.name,
            Self::Sweep(sweep) => &sweep.points[0].loaded.scenario.name,
            Self::Search(search) => &search.whole.scenario.name,
        }
    }

    /// Names of the file's profiles.
    #[must_use]
    pub fn profiles(&self) -> &[String] {
        match self {
            Self::Single(loaded) => &loaded.profiles,
            Self::Sweep(sweep) => &sweep.points[0].loaded.profiles,
            Self::Search(search) => &search.whole.profiles,
        }
    }
}

/// A sweep with what it was read from.
#[derive(Clone, Debug)]
pub struct LoadedSweep {
    /// How its points are run.
    pub sweep: Sweep,
    /// Names of the matrix, and those that only `include` brings, in the order of the file.
    pub axes: Vec<String>,
    /// At least one, in the order of the matrix.
    pub points: Vec<Point>,
    /// Where `max_wall` stands, or else the sweep.
    pub max_wall_place: Place,
    /// The file as YAML after profile, `--set` and interpolation, but for the values of the matrix. Reads back to the
    /// same sweep.
    pub resolved_yaml: String,
}

/// A point of a sweep.
#[derive(Clone, Debug)]
pub struct Point {
    /// `p01`, `p02`, …, in the order of the matrix.
    pub id: String,
    /// What is particular to it, by the names of the matrix: numbers, texts, true or false.
    pub parameters: BTreeMap<String, Value>,
    /// The scenario with these values. Topics that it creates have `${run.id}` in their names.
    pub loaded: LoadedScenario,
}

/// A parameter as users write it.
#[must_use]
pub fn parameter_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `batch_size=65536, codec=lz4`, in the order of `axes`.
#[must_use]
pub fn label(axes: &[String], parameters: &BTreeMap<String, Value>) -> String {
    let texts = axes
        .iter()
        .filter_map(|axis| parameters.get(axis).map(|value| format!("{axis}={}", parameter_text(value))));
    texts.collect::<Vec<_>>().join(", ")
}

/// Reads the sweep in `root`, after profile and `--set`.
pub(super) fn read(
    text: &Arc<str>,
    mut root: Node,
    profiles: Vec<String>,
    sources: &Sources,
    options: &LoadOptions<'_>,
) -> Result<LoadedSweep, ScenarioError> {
    let fail = |problems: Vec<Problem>| scenario_error(sources, problems);
    let names = matrix::names(&root);
    let mut kept = root.clone();
    let interpolated = interpolate(&mut kept, &options.env, Matrix::Kept(&names));
    let mut problems = interpolated.problems;
    problems.extend(secrets::find_literals(&kept).problems);
    find_nulls(&kept, &mut problems);
    if !problems.is_empty() {
        return Err(fail(problems));
    }
    let resolved_yaml = emit::to_yaml_of_sweep(&kept);
    let Some(written) = merge::remove(&mut kept, "sweep").map(document) else {
        return Err(fail(vec![Problem::new(kept.span, "the file has no `sweep:`", "")]));
    };
    let SweepDocument { sweep } = deserialize::from_tree(&written).map_err(|problem| fail(vec![problem]))?;
    let node = written.get("sweep").unwrap_or(&written);
    let matrix = matrix::read(node).map_err(fail)?;
    let combinations = expand::expand(&matrix).map_err(fail)?;
    let mut problems = changes_nothing(&matrix, &interpolated.matrix_used);
    limits(&sweep, combinations.len(), node, &kept, &mut problems);
    if !problems.is_empty() {
        return Err(fail(problems));
    }
    merge::remove(&mut root, "sweep");
    let axes = matrix.axis_names();
    let width = combinations.len().to_string().len().max(2);
    let found = combinations.iter().enumerate().map(|(index, combination)| {
        let id = format!("p{:0width$}", index + 1);
        point(id, combination, &root, text, &profiles, sources, options)
    });
    let points = gather(found.collect(), &axes).map_err(fail)?;
    let problems = clusters(&sweep, node, &points);
    if !problems.is_empty() {
        return Err(fail(problems));
    }
    let max_wall_place = sources.place(node.get("max_wall").unwrap_or(node).span);
    Ok(LoadedSweep { sweep: resolve(&sweep, &points), axes, points, max_wall_place, resolved_yaml })
}

/// A document of nothing but the sweep, so that paths in errors are those of the file.
fn document(sweep: Node) -> Node {
    let span = sweep.span;
    let entry = super::tree::Entry { key: "sweep".to_owned(), key_span: span, value: sweep };
    Node { span, content: Content::Mapping(vec![entry]) }
}

fn has_faults(points: &[Point]) -> bool {
    points.iter().any(|point| !point.loaded.scenario.faults.is_empty())
}

/// A fault leaves its traces: leaders elsewhere, a broker with cold caches. The next run is to find what this one did.
fn cluster_use(written: &SweepWritten, points: &[Point]) -> ClusterUse {
    let default = if has_faults(points) { ClusterUse::PerPoint } else { ClusterUse::Shared };
    written.cluster.unwrap_or(default)
}

/// What the scenario of the points makes impossible.
fn clusters(written: &SweepWritten, node: &Node, points: &[Point]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let of_cluster = node.get("cluster").unwrap_or(node).span;
    let per_point = cluster_use(written, points) == ClusterUse::PerPoint;
    if !per_point && has_faults(points) {
        problems.push(
            Problem::new(
                of_cluster,
                "a sweep with faults can't share a cluster",
                "a fault leaves its traces",
            )
            .help("remove `cluster`: with faults every run has a cluster of its own"),
        );
    }
    let is_foreign = |point: &Point| matches!(point.loaded.scenario.cluster, Cluster::Bootstrap(_));
    if per_point && points.iter().any(is_foreign) {
        problems.push(
            Problem::new(
                of_cluster,
                match has_faults(points) {
                    true => "a sweep with faults needs a local cluster",
                    false => "`sweep.cluster: per-point` needs a local cluster",
                },
                "gauntlet starts none here",
            )
            .help(match has_faults(points) {
                true => "use `cluster: { local: … }`, or remove `faults`",
                false => "remove `cluster`",
            }),
        );
    }
    if per_point && let Some(warmup) = node.get("warmup") {
        let label = "every run begins on brokers of its own";
        problems.push(
            Problem::new(warmup.span, "`sweep.warmup` does not fit a cluster per point", label)
                .help("use `load.warmup`, which every run has"),
        );
    }
    problems
}

fn resolve(written: &SweepWritten, points: &[Point]) -> Sweep {
    let cluster = cluster_use(written, points);
    let warmup = match cluster {
        ClusterUse::Shared => written.warmup.unwrap_or(Duration::from_secs(WARMUP_S)),
        ClusterUse::PerPoint => Duration::ZERO,
    };
    Sweep {
        repeats: written.repeats.unwrap_or(1),
        order: written.order,
        cooldown: written.cooldown.unwrap_or(Duration::from_secs(COOLDOWN_S)),
        max_wall: written.max_wall,
        on_fail: written.on_fail,
        cluster,
        warmup,
    }
}

/// A name that nothing refers to would make equal points look different.
fn changes_nothing(matrix: &matrix::MatrixWritten, used: &BTreeSet<String>) -> Vec<Problem> {
    let unused = matrix.named().into_iter().filter(|(name, _)| !used.contains(*name));
    unused
        .map(|(name, span)| {
            Problem::new(span, format!("`matrix.{name}` changes nothing"), "no run refers to it")
                .help(format!("use it as `${{matrix.{name}}}`, or remove it"))
        })
        .collect()
}

fn limits(written: &SweepWritten, points: usize, node: &Node, scenario: &Node, problems: &mut Vec<Problem>) {
    let span = node.get("matrix").unwrap_or(node).span;
    if points > POINTS_MAX {
        problems.push(
            Problem::new(span, format!("the sweep has {points} points"), format!("at most {POINTS_MAX}"))
                .help("exclude some, or make several sweeps of it"),
        );
        return;
    }
    let repeats = usize::from(written.repeats.unwrap_or(1));
    let of_repeats = node.get("repeats").unwrap_or(node).span;
    if repeats == 0 {
        problems.push(Problem::new(of_repeats, "`sweep.repeats` is 0", "at least 1"));
    }
    if points * repeats > RUNS_MAX {
        let message = format!("the sweep has {points} points, {repeats} times each");
        problems.push(Problem::new(of_repeats, message, format!("at most {RUNS_MAX} runs")));
    }
    if points * scenario.count() > NODES_MAX {
        let message = format!("the sweep has {points} points of {} values each", scenario.count());
        problems.push(Problem::new(span, message, format!("at most {NODES_MAX} values")));
    }
    if written.max_wall.is_some_and(|limit| limit.as_ns() == 0) {
        let span = node.get("max_wall").unwrap_or(node).span;
        problems.push(Problem::new(span, "`sweep.max_wall` is 0", "nothing could be run"));
    }
}

/// What is wrong with a point; the id and parameters say which one it is.
struct BadPoint {
    id: String,
    parameters: BTreeMap<String, Value>,
    problems: Vec<Problem>,
}

fn point(
    id: String,
    combination: &Combination,
    root: &Node,
    text: &Arc<str>,
    profiles: &[String],
    sources: &Sources,
    options: &LoadOptions<'_>,
) -> Result<Point, BadPoint> {
    let parameters = combination.iter().map(|(name, node)| (name.clone(), json(node))).collect();
    let mut root = root.clone();
    let mut problems = interpolate(&mut root, &options.env, Matrix::Point(combination)).problems;
    find_nulls(&root, &mut problems);
    if !problems.is_empty() {
        return Err(BadPoint { id, parameters, problems });
    }
    match super::complete(root, text, profiles.to_vec(), sources, options) {
        Ok(loaded) if matches!(loaded.scenario.load.shape, Shape::MaxSearch(_)) => {
            let span = loaded.root.span_of("load.shape");
            let message = "a sweep of searches is not supported by this version of gauntlet yet";
            let problem = Problem::new(span, message, "this is many runs of its own")
                .help("remove `sweep`, or give its points a rate");
            Err(BadPoint { id, parameters, problems: vec![problem] })
        }
        Ok(mut loaded) => {
            with_topics_of_its_own(&mut loaded.scenario);
            let problems = too_long(&loaded);
            if !problems.is_empty() {
                return Err(BadPoint { id, parameters, problems });
            }
            Ok(Point { id, parameters, loaded })
        }
        Err(problems) => Err(BadPoint { id, parameters, problems }),
    }
}

/// The value of a scalar.
fn json(node: &Node) -> Value {
    let Content::Scalar(scalar) = &node.content else { return Value::Null };
    match scalar.typed() {
        Typed::Null => Value::Null,
        Typed::Bool(value) => value.into(),
        Typed::Unsigned(value) => value.into(),
        Typed::Signed(value) => value.into(),
        Typed::Float(value) => value.into(),
        Typed::Text(text) => text.into(),
    }
}

/// Deleting a topic takes brokers a while, and an interrupted run may have left its own: no two runs share a name.
pub(super) fn with_topics_of_its_own(scenario: &mut Scenario) {
    let mut renamed = BTreeMap::new();
    for topic in &mut scenario.topics {
        if topic.lifecycle != Lifecycle::Reuse && !topic.name.contains(RUN_ID) {
            let own = format!("{}-{}", topic.name, RUN_ID);
            renamed.insert(std::mem::replace(&mut topic.name, own.clone()), own);
        }
    }
    let rename = |name: &mut String| {
        if let Some(own) = renamed.get(name) {
            name.clone_from(own);
        }
    };
    scenario.workload.producers.iter_mut().for_each(|producers| rename(&mut producers.topic));
    scenario.workload.consumers.iter_mut().for_each(|consumers| rename(&mut consumers.topic));
    scenario.faults.iter_mut().filter_map(Fault::topic_mut).for_each(rename);
}

/// Topics whose names have no room for the id of a run.
pub(super) fn too_long(loaded: &LoadedScenario) -> Vec<Problem> {
    let topics = loaded.scenario.topics.iter().enumerate();
    let long =
        topics.filter(|(_, topic)| topic.name.replace(RUN_ID, "").len() + RUN_ID_LENGTH > TOPIC_LENGTH_MAX);
    long.map(|(index, topic)| {
        let span = loaded.root.span_of(&format!("topics[{index}].name"));
        let message = format!("no room for the id of a run in the name `{}`", topic.name);
        Problem::new(span, message, format!("at most {}", TOPIC_LENGTH_MAX - RUN_ID_LENGTH)).help(
            "the runs of a sweep or a search have topics of their own: their ids are added to the names",
        )
    })
    .collect()
}

/// All points, or what is wrong with them: each mistake once, with the points that have it.
fn gather(found: Vec<Result<Point, BadPoint>>, axes: &[String]) -> Result<Vec<Point>, Vec<Problem>> {
    let count = found.len();
    let mut points = Vec::new();
    let mut bad: Vec<(Problem, Vec<String>)> = Vec::new();
    for one in found {
        match one {
            Ok(point) => points.push(point),
            Err(BadPoint { id, parameters, problems }) => {
                let which = format!("{id} ({})", label(axes, &parameters));
                for problem in problems {
                    match bad.iter_mut().find(|(known, _)| *known == problem) {
                        Some((_, points)) => points.push(which.clone()),
                        None => bad.push((problem, vec![which.clone()])),
                    }
                }
            }
        }
    }
    if bad.is_empty() {
        return Ok(points);
    }
    let told = bad.into_iter().map(|(mut problem, points)| {
        let whose = match points.len() {
            all if all == count && all > 1 => "at every point".to_owned(),
            1 => format!("at point {}", points[0]),
            several => format!("at point {} and {} more", points[0], several - 1),
        };
        problem.message = format!("{}, {whose}", problem.message);
        problem
    });
    Err(told.collect())
}

#[cfg(test)]
mod tests;
