//! What is wrong with a scenario, and where: messages in the style of rustc, with the line and a pointer under it.

use std::fmt;
use std::sync::Arc;

use super::secrets::telling_column;

/// A stretch of one source: where a node of the tree came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// Index in [`Sources`]: 0 is the file, the others are `--set` arguments.
    pub(crate) source: usize,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// In characters, on the first line only. At least 1.
    pub(crate) len: usize,
}

/// The texts that a scenario was put together from. Shared by the points of a sweep.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    file: String,
    texts: Arc<[String]>,
    /// Behind these nothing of the line is shown.
    hidden: Vec<Span>,
}

impl Sources {
    /// The scenario file `file` with its content, followed by `--set` arguments as typed.
    pub(crate) fn new(file: &str, text: &str, sets: &[String]) -> Self {
        let texts = std::iter::once(text.to_owned()).chain(sets.iter().cloned()).collect();
        Self { file: file.to_owned(), texts, hidden: Vec::new() }
    }

    /// Keeps what stands at these places, and behind them, out of every message.
    pub(crate) fn hide(&mut self, spans: Vec<Span>) {
        self.hidden.extend(spans);
    }

    /// The text of the span's first line as it may be shown: what may be secret is dots, one for each character, so that
    /// columns stay what they are.
    fn shown(&self, span: Span) -> String {
        let line = self.line(span).replace('\t', " ");
        let hidden = self.hidden.iter().filter(|h| (h.source, h.line) == (span.source, span.line));
        let from = hidden.map(|h| h.column - 1).chain(telling_column(&line)).min().unwrap_or(usize::MAX);
        line.chars().enumerate().map(|(at, c)| if at < from { c } else { '·' }).collect()
    }

    /// The text of the span's first line, without the line end.
    pub(crate) fn line(&self, span: Span) -> &str {
        self.texts[span.source].lines().nth(span.line - 1).unwrap_or_default()
    }

    /// `span` as users see it.
    pub(crate) fn place(&self, span: Span) -> Place {
        let in_file = span.source == 0;
        Place {
            source: if in_file { self.file.clone() } else { "--set".to_owned() },
            line: in_file.then_some(span.line),
            column: span.column,
            len: span.len,
            text: self.shown(span),
        }
    }
}

/// Where a diagnostic points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path of the scenario file as it was given, or `--set`.
    pub source: String,
    /// Line in the file, from 1. None for `--set`.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters to underline, at least 1.
    pub len: usize,
    /// The whole line, or the argument of `--set`.
    pub text: String,
}

impl fmt::Display for Place {
    /// `file:line:column`, as editors and CI annotations take it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}:{}", self.source, self.column),
            None => write!(formatter, "{} {}", self.source, self.text),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in one line without a full stop.
    pub message: String,
    /// Where. None if it is about the file as a whole.
    pub place: Option<Place>,
    /// What to say at the place itself; may be empty.
    pub label: String,
    /// The next step.
    pub help: Option<String>,
}

impl Diagnostic {
    /// One about a file as a whole, or about how it was asked for.
    pub(crate) fn without_place(message: String, help: Option<String>) -> Self {
        Self { message, place: None, label: String::new(), help }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "error: {}", self.message)?;
        let gutter = match &self.place {
            Some(place) => {
                let number = place.line.map(|line| line.to_string()).unwrap_or_default();
                let gutter = " ".repeat(number.len().max(2));
                match place.line {
                    Some(_) => write!(formatter, "\n{gutter} ┌─ {place}")?,
                    None => write!(formatter, "\n{gutter} ┌─ {}", place.source)?,
                }
                let line = format!("{number:>width$} │ {}", place.text, width = gutter.len());
                write!(formatter, "\n{}", line.trim_end())?;
                let indent = " ".repeat(place.column - 1);
                let line = format!("{indent}{} {}", "^".repeat(place.len), self.label);
                write!(formatter, "\n{gutter} │ {}", line.trim_end())?;
                gutter
            }
            None => "  ".to_owned(),
        };
        match &self.help {
            Some(help) => write!(formatter, "\n{gutter} = help: {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a scenario, in the order of the file. At least one diagnostic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", joined(diagnostics))]
pub struct ScenarioError {
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
}

fn joined(diagnostics: &[Diagnostic]) -> String {
    let texts: Vec<String> = diagnostics.iter().map(Diagnostic::to_string).collect();
    texts.join("\n\n")
}

/// A diagnostic before its place is looked up in the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) span: Span,
    pub(crate) label: String,
    pub(crate) help: Option<String>,
}

impl Problem {
    /// A problem without a help line.
    pub(crate) fn new(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { message: message.into(), span, label: label.into(), help: None }
    }

    /// With a next step.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Turns problems into the error that users see, sorted by position. `problems` must not be empty.
pub(crate) fn scenario_error(sources: &Sources, mut problems: Vec<Problem>) -> ScenarioError {
    problems.sort_by_key(|problem| problem.span);
    let diagnostics = problems
        .into_iter()
        .map(|problem| Diagnostic {
            message: problem.message,
            place: Some(sources.place(problem.span)),
            label: problem.label,
            help: problem.help,
        })
        .collect();
    ScenarioError { diagnostics }
}

/// The candidate that `word` was probably meant to be: the closest one, if it shares most of its letters.
pub(crate) fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    /// Jaro-Winkler similarity under which a suggestion confuses more than it helps; 0.8 keeps transpositions,
    /// missing letters and wrong separators.
    const SIMILARITY_MIN: f64 = 0.8;
    let score = |candidate: &str| strsim::jaro_winkler(&word.to_lowercase(), &candidate.to_lowercase());
    candidates
        .into_iter()
        .map(|candidate| (score(candidate), candidate))
        .filter(|(score, _)| *score >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// `did you mean …?`, or nothing.
pub(crate) fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    closest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}
