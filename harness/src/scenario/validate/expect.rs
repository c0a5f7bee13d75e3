//! Rules of `expect`: windows of faults that exist, and expressions that the given parser takes.

use crate::scenario::diagnostic::{Problem, Sources, Span};
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{Expectation, Scenario, Severity, Shape, Window};
use crate::scenario::{ExpectationCheck, ExpressionMistake};

const FORM: &str =
    "expectations are `metric{label=value} stat < quantity`, for example produce.latency p99 < 50ms";

pub(super) fn validate(
    scenario: &Scenario,
    sources: &Sources,
    check: Option<ExpectationCheck<'_>>,
    problems: &mut Problems<'_>,
) {
    for (index, expectation) in scenario.expect.iter().enumerate() {
        let path = format!("expect[{index}]");
        window(&path, expectation, scenario, problems);
        that(&path, expectation, Context { scenario, sources, check }, problems);
    }
    guards(Context { scenario, sources, check }, problems);
    let Shape::MaxSearch(search) = &scenario.load.shape else { return };
    for (index, rule) in search.sustainable.iter().enumerate() {
        let path = format!("load.search.sustainable[{index}]");
        let expectation = Expectation { that: rule.clone(), during: None, severity: Severity::Fail };
        if is_over_a_search(rule) {
            problems.add(Finding {
                path: &path,
                message: format!("`{}` is what the search is for", rule.trim()),
                label: "known when all trials are done",
                help: "write it under `expect`",
            });
        } else {
            that(&path, &expectation, Context { scenario, sources, check }, problems);
        }
    }
}

/// Rules of `abort_when`. Which metrics are known while a run goes is for the plan.
fn guards(context: Context<'_>, problems: &mut Problems<'_>) {
    const SECOND_NS: u64 = 1_000_000_000;
    for (index, guard) in context.scenario.abort_when.iter().enumerate() {
        let path = format!("abort_when[{index}]");
        let condition = Expectation { that: guard.that.clone(), during: None, severity: Severity::Fail };
        that(&path, &condition, context, problems);
        if guard.hold.as_ns() == 0 || !guard.hold.as_ns().is_multiple_of(SECOND_NS) {
            problems.add(Finding {
                path: &format!("{path}.for"),
                message: format!("`{path}.for` is {}", guard.hold),
                label: "not a number of whole seconds",
                help: "a guardrail is looked at once a second: write 1s or more",
            });
        }
    }
    if let (Shape::MaxSearch(_), false) =
        (&context.scenario.load.shape, context.scenario.abort_when.is_empty())
    {
        problems.add(Finding {
            path: "abort_when",
            message: "a search has no guardrails".to_owned(),
            label: "",
            help: "what a rate must keep to is said under `load.search.sustainable`",
        });
    }
}

/// Whether an expression is about what a search found, not about one of its trials.
pub(crate) fn is_over_a_search(that: &str) -> bool {
    that.trim_start().starts_with("search.")
}

/// What expressions are checked against.
#[derive(Clone, Copy)]
struct Context<'c> {
    scenario: &'c Scenario,
    sources: &'c Sources,
    check: Option<ExpectationCheck<'c>>,
}

fn that(path: &str, expectation: &Expectation, context: Context<'_>, problems: &mut Problems<'_>) {
    if expectation.that.trim().is_empty() {
        problems.add(Finding {
            path,
            message: "an expectation is empty".to_owned(),
            label: "",
            help: "write it like produce.latency p99 < 50ms, or remove it",
        });
    } else if let Some(check) = context.check
        && let Err(mistake) = check(context.scenario, expectation)
    {
        expression(path, &expectation.that, &mistake, context.sources, problems);
    }
}

fn window(path: &str, expectation: &Expectation, scenario: &Scenario, problems: &mut Problems<'_>) {
    let Some(Window::Fault(pattern) | Window::Recovery(pattern)) = &expectation.during else { return };
    let names = scenario.faults.iter().map(|fault| fault.name.as_str());
    if !names.clone().any(|name| matches(pattern, name)) {
        problems.unknown(&format!("{path}.during"), "fault", pattern, names);
    }
}

/// Whether `name` has the form `pattern`, in which `*` stands for any letters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((prefix, rest)) => name.strip_prefix(prefix).is_some_and(|tail| {
            (0..=tail.len()).any(|skip| tail.is_char_boundary(skip) && matches(rest, &tail[skip..]))
        }),
    }
}

fn expression(
    path: &str,
    that: &str,
    mistake: &ExpressionMistake,
    sources: &Sources,
    problems: &mut Problems<'_>,
) {
    // An expectation without options has no field `that`: the place is then that of the expectation itself.
    let whole = problems.span_of(&format!("{path}.that"));
    let help = mistake.help.clone().unwrap_or_else(|| FORM.to_owned());
    problems.push(
        Problem::new(
            inner_span(whole, that, mistake, sources),
            format!("invalid expectation `{}`", that.trim().replace('\n', " ")),
            mistake.message.as_str(),
        )
        .help(help),
    );
}

/// The place of the mistake in the scalar `text`, if the scalar stands on its line as it is; else the whole.
fn inner_span(whole: Span, text: &str, mistake: &ExpressionMistake, sources: &Sources) -> Span {
    let line: Vec<char> = sources.line(whole).chars().collect();
    let start = whole.column - 1;
    let quote = usize::from(matches!(line.get(start), Some('"' | '\'')));
    let scalar: Vec<char> = text.chars().collect();
    let verbatim = line.get(start + quote..start + quote + scalar.len()) == Some(&scalar[..]);
    let Some(before) = text.get(..mistake.offset).filter(|_| verbatim) else { return whole };
    let column = whole.column + quote + before.chars().count();
    let concerned =
        text.get(mistake.offset..mistake.offset.saturating_add(mistake.length)).unwrap_or_default();
    Span { column, len: concerned.chars().count().max(1), ..whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(matches("*", "kill"));
        assert!(matches("kill-*", "kill-leader"));
        assert!(matches("*-leader", "kill-leader"));
        assert!(matches("k*l*r", "kill-leader"));
        assert!(!matches("kill", "kill-leader"));
        assert!(!matches("stop-*", "kill-leader"));
    }
}
