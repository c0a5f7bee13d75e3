//! Collects what is wrong with the meaning of a scenario, so that all of it is reported at once.

use super::diagnostic::{Problem, Span, did_you_mean};
use super::tree::Node;

/// Problems by the paths of the fields that they are about.
pub(crate) struct Problems<'t> {
    root: &'t Node,
    found: Vec<Problem>,
}

/// One problem; `message` says what, `label` what stands at the place, `help` the next step.
pub(crate) struct Finding<'f> {
    pub(crate) path: &'f str,
    pub(crate) message: String,
    pub(crate) label: &'f str,
    pub(crate) help: &'f str,
}

impl<'t> Problems<'t> {
    /// None yet, in the scenario `root`.
    pub(crate) fn new(root: &'t Node) -> Self {
        Self { root, found: Vec::new() }
    }

    /// Place of the field at `path`, or of the closest block around it that was written.
    pub(crate) fn span_of(&self, path: &str) -> Span {
        self.root.span_of(path)
    }

    /// Whether the field at `path` is in the file.
    pub(crate) fn is_written(&self, path: &str) -> bool {
        self.root.at(path).is_some()
    }

    /// Adds a problem at the field `finding.path`, or at the closest block around it that was written.
    pub(crate) fn add(&mut self, finding: Finding<'_>) {
        let span = self.root.span_of(finding.path);
        self.found.push(Problem::new(span, finding.message, finding.label).help(finding.help));
    }

    /// Adds a problem whose place is known better than by path.
    pub(crate) fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Adds that `name` at `path` is none of `known`.
    pub(crate) fn unknown<'n>(
        &mut self,
        path: &str,
        what: &str,
        name: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) {
        let label = did_you_mean(name, known.clone()).unwrap_or_default();
        let known: Vec<&str> = known.collect();
        let help = match known.is_empty() {
            true => format!("the scenario has no {what}"),
            false => format!("{what}s of this scenario: {}", known.join(", ")),
        };
        self.add(Finding { path, message: format!("unknown {what} `{name}`"), label: &label, help: &help });
    }

    /// What was found.
    pub(crate) fn into_found(self) -> Vec<Problem> {
        self.found
    }
}
