//! The scenario file: YAML text in, a complete and valid [`Scenario`] or good error messages out.
//!
//! The layers, each a module that knows only the ones before it:
//!
//! 1. `tree`: text to nodes that know their place.
//! 2. `merge`: the chosen profile and `--set` over the file.
//! 3. `interpolate`: `${vars.x}`, `${env.X}`, `${matrix.x}`. References to secrets stay references (`secrets`).
//! 4. `deserialize`: nodes to `written`, the grammar of the file, by serde.
//! 5. `resolve`: defaults that depend on something, giving [`types`].
//! 6. `validate`: contradictions, all of them at once.
//!
//! A file with `sweep:` goes through 3 to 6 once for every point; `sweep` makes the points from its matrix. Of a load of shape
//! `max-search`, `search` makes a scenario for every trial.
//!
//! Layers 1 to 4 stop at the first mistake (3 collects), because what comes after would only echo it.
//!
//! `connection` reads a file that is nothing but a block `cluster.security`, for commands that have no scenario.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

mod connection;
mod deserialize;
mod diagnostic;
mod emit;
mod interpolate;
mod later;
mod merge;
mod problems;
mod resolve;
mod schema;
pub mod search;
mod secrets;
pub mod sweep;
mod tree;
pub mod types;
mod validate;
mod written;

pub use connection::LoadedSecurity;
pub use diagnostic::{Diagnostic, Place, ScenarioError};
pub use schema::schema;
pub use search::LoadedSearch;
pub use sweep::{LoadedSweep, ScenarioFile};
pub use types::Scenario;
pub(crate) use validate::{BATCH_OVERHEAD_BYTES, FAULT_REPEATS_MAX, is_host_and_port};

use diagnostic::{Problem, Sources, did_you_mean, scenario_error};
use interpolate::Matrix;
use merge::ProfileError;
use problems::Problems;
use tree::{Content, Located, Node};
use types::Expectation;

/// Number of the first controller of its own.
pub(crate) const CONTROLLER_ID_MIN: u16 = 101;

/// Checks the expression of one expectation against the scenario that it belongs to.
pub type ExpectationCheck<'c> = &'c dyn Fn(&Scenario, &Expectation) -> Result<(), ExpressionMistake>;

/// What is wrong with the expression of an expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionMistake {
    /// Where in the expression: a byte offset.
    pub offset: usize,
    /// Number of bytes concerned.
    pub length: usize,
    /// What is wrong there, in a few words.
    pub message: String,
    /// The next step.
    pub help: Option<String>,
}

/// What decides the scenario besides the file.
#[derive(Clone, Default)]
pub struct LoadOptions<'c> {
    /// Profile to put over the file.
    pub profile: Option<String>,
    /// Arguments of `--set`, `path=value`, in the order given; later ones win.
    pub sets: Vec<String>,
    /// Environment for `${env.X}`.
    pub env: BTreeMap<String, String>,
    /// Cores of this machine, which decide the default number of producers. 0 counts as 1.
    pub cores: usize,
    /// Parser of expectations. None: their text is taken as it is.
    pub expectation_check: Option<ExpectationCheck<'c>>,
}

impl LoadOptions<'_> {
    /// The options of this process: its environment, its cores; no profile, no `--set`, no check of expectations.
    ///
    /// Variables that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process() -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { env, cores, ..Self::default() }
    }
}

impl fmt::Debug for LoadOptions<'_> {
    /// Without the environment, which holds secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LoadOptions")
            .field("profile", &self.profile)
            .field("sets", &self.sets)
            .field("cores", &self.cores)
            .finish_non_exhaustive()
    }
}

/// A scenario with what it was read from.
#[derive(Clone, Debug)]
pub struct LoadedScenario {
    /// The complete scenario.
    pub scenario: Scenario,
    /// The scenario as YAML after profile, `--set` and interpolation. Reads back to the same scenario.
    pub resolved_yaml: String,
    /// The text of the file; the points of a sweep share it.
    pub source: Arc<str>,
    /// Names of the file's profiles.
    pub profiles: Vec<String>,
    root: Node,
    sources: Sources,
}

impl LoadedScenario {
    /// Where the field at `path` was written, for example `faults[0].target` or
    /// `workload.producers[0].config.batch.size`; if it was left out, the closest block around it.
    #[must_use]
    pub fn span_of(&self, path: &str) -> Place {
        self.sources.place(self.root.span_of(path))
    }

    /// An error about the field at `path` that only a later stage can find: `message` says what, `label` what stands
    /// at the place, `help` the next step.
    #[must_use]
    pub fn diagnostic(&self, path: &str, message: &str, label: &str, help: &str) -> Diagnostic {
        Diagnostic {
            message: message.to_owned(),
            place: Some(self.span_of(path)),
            label: label.to_owned(),
            help: (!help.is_empty()).then(|| help.to_owned()),
        }
    }
}

impl Scenario {
    /// Reads the scenario file `path`, which must not be a sweep or a search.
    ///
    /// # Errors
    /// The file can't be read, is no valid scenario under `options`, or is a sweep or a search.
    pub fn load(path: &Path, options: &LoadOptions<'_>) -> Result<LoadedScenario, ScenarioError> {
        ScenarioFile::load(path, options)?.single()
    }

    /// Reads a scenario from `text`, which must not be a sweep or a search; `name` is what errors call the file.
    ///
    /// # Errors
    /// The text is no valid scenario under `options`, or is a sweep or a search.
    pub fn parse(name: &str, text: &str, options: &LoadOptions<'_>) -> Result<LoadedScenario, ScenarioError> {
        ScenarioFile::parse(name, text, options)?.single()
    }
}

impl ScenarioFile {
    /// The one scenario of the file.
    fn single(self) -> Result<LoadedScenario, ScenarioError> {
        match self {
            Self::Single(loaded) => Ok(*loaded),
            Self::Sweep(sweep) => {
                let message =
                    format!("the file is a sweep of {} points, not one scenario", sweep.points.len());
                Err(ScenarioError { diagnostics: vec![Diagnostic::without_place(message, None)] })
            }
            Self::Search(_) => {
                let message = "the file is a search, which is a series of runs, not one scenario".to_owned();
                Err(ScenarioError { diagnostics: vec![Diagnostic::without_place(message, None)] })
            }
        }
    }

    /// Reads the scenario file `path`.
    ///
    /// # Errors
    /// The file can't be read, or is no valid scenario under `options`.
    pub fn load(path: &Path, options: &LoadOptions<'_>) -> Result<Self, ScenarioError> {
        let (name, text) = read_file(path)?;
        Self::parse(&name, &text, options)
    }

    /// Reads a scenario from `text`; `name` is what errors call the file.
    ///
    /// # Errors
    /// The text is no valid scenario under `options`.
    pub fn parse(name: &str, text: &str, options: &LoadOptions<'_>) -> Result<Self, ScenarioError> {
        let mut sources = Sources::new(name, text, &options.sets);
        let mut root = tree::parse(Located { source: 0, column_offset: 0, text })
            .map_err(|problem| scenario_error(&sources, vec![problem]))?;
        // With all of its profiles, whichever is chosen.
        refuse_secrets(&root, &mut sources)?;
        let one = |problem: Problem| scenario_error(&sources, vec![problem]);
        let profiles =
            merge::apply_profile(&mut root, options.profile.as_deref()).map_err(|error| match error {
                ProfileError::Problem(problem) => one(problem),
                ProfileError::Unknown { chosen, names } => unknown_profile(name, &chosen, &names),
            })?;
        for (index, argument) in options.sets.iter().enumerate() {
            merge::apply_set(&mut root, argument, index + 1).map_err(one)?;
        }
        // Once more, as `--set` may have brought some.
        refuse_secrets(&root, &mut sources)?;
        if root.get("sweep").is_some() {
            let sweep = sweep::read(&text.into(), root, profiles, &sources, options)?;
            return Ok(Self::Sweep(Box::new(sweep)));
        }
        let bad_references = interpolate::interpolate(&mut root, &options.env, Matrix::Absent).problems;
        if !bad_references.is_empty() {
            return Err(scenario_error(&sources, bad_references));
        }
        // Once more, as variables may have brought some.
        refuse_secrets(&root, &mut sources)?;
        let fail = |problems: Vec<Problem>| scenario_error(&sources, problems);
        let mut without_value = Vec::new();
        find_nulls(&root, &mut without_value);
        if !without_value.is_empty() {
            return Err(fail(without_value));
        }
        let loaded = complete(root, &text.into(), profiles, &sources, options).map_err(fail)?;
        Ok(match LoadedSearch::of(&loaded, options)? {
            Some(search) => Self::Search(Box::new(search)),
            None => Self::Single(Box::new(loaded)),
        })
    }
}

/// Name and content of a file, unless it is too long for what it should be.
fn read_file(path: &Path) -> Result<(String, String), ScenarioError> {
    let name = path.display().to_string();
    let unreadable = |reason: String| ScenarioError {
        diagnostics: vec![Diagnostic::without_place(format!("{name}: {reason}"), None)],
    };
    // Asked for first, so that a wrong file of many gigabytes is not read.
    let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if length > tree::BYTES_MAX as u64 {
        return Err(unreadable(format!(
            "{length} bytes are no scenario; at most {} are read",
            tree::BYTES_MAX
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    Ok((name, text))
}

/// From a tree without references to a valid scenario.
fn complete(
    root: Node,
    text: &Arc<str>,
    profiles: Vec<String>,
    sources: &Sources,
    options: &LoadOptions<'_>,
) -> Result<LoadedScenario, Vec<Problem>> {
    let written = deserialize::from_tree(&root).map_err(|problem| vec![problem])?;
    let mut problems = Problems::new(&root);
    let scenario = resolve::resolve(written, options.cores, &mut problems);
    validate::validate(&scenario, sources, options.expectation_check, &mut problems);
    let found = problems.into_found();
    if !found.is_empty() {
        return Err(found);
    }
    let resolved_yaml = emit::to_yaml(&root);
    let sources = sources.clone();
    Ok(LoadedScenario { scenario, resolved_yaml, source: Arc::clone(text), profiles, root, sources })
}

/// Refuses secrets that stand in the file, and keeps them out of the messages of all later steps.
fn refuse_secrets(root: &Node, sources: &mut Sources) -> Result<(), ScenarioError> {
    let literals = secrets::find_literals(root);
    sources.hide(literals.hidden);
    match literals.problems {
        problems if problems.is_empty() => Ok(()),
        problems => Err(scenario_error(sources, problems)),
    }
}

fn unknown_profile(file: &str, chosen: &str, names: &[String]) -> ScenarioError {
    let suggestion = did_you_mean(chosen, names.iter().map(String::as_str));
    let help = match names.is_empty() {
        true => "the file has no profiles".to_owned(),
        false => format!(
            "{}profiles of this file: {}",
            suggestion.map(|text| text + " ").unwrap_or_default(),
            names.join(", ")
        ),
    };
    let diagnostic = Diagnostic::without_place(format!("{file}: unknown profile `{chosen}`"), Some(help));
    ScenarioError { diagnostics: vec![diagnostic] }
}

/// Keys that stand there without a value: a default is asked for by leaving the key out, so this is a slip, and for
/// some keys (`bootstrap_servers:`) taking it as absent would do something quite different from what was meant.
fn find_nulls(node: &Node, problems: &mut Vec<Problem>) {
    match &node.content {
        Content::Scalar(_) => {}
        Content::Sequence(items) => {
            for item in items {
                if item.is_null() {
                    problems.push(Problem::new(
                        item.span,
                        "an item of the list has no value",
                        "nothing here",
                    ));
                }
                find_nulls(item, problems);
            }
        }
        Content::Mapping(entries) => {
            for entry in entries {
                if entry.value.is_null() {
                    let message = format!("`{}` has no value", entry.key);
                    problems.push(
                        Problem::new(entry.key_span, message, "")
                            .help("give it a value, or remove the line to get the default"),
                    );
                }
                find_nulls(&entry.value, problems);
            }
        }
    }
}
