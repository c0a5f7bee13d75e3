//! The expectation grammar: `<metric>[{label=value}] [stat] <op> <quantity>`, e.g.
//! `recovery.isr_full{fault=kill-leader} < 60s` or `produce.latency p99 < 50ms`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::metric::{self, Capabilities, METRICS, Metric, Scope, Shape, Stat};
use crate::quantity;

/// What a broken expectation means for the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The run fails.
    #[default]
    Fail,
    /// It is shown as a warning.
    Warn,
    /// It is shown.
    Info,
}

/// How the observed value is compared with the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Op {
    const ALL: [(&'static str, Op); 6] = [
        ("<=", Op::AtMost),
        (">=", Op::AtLeast),
        ("==", Op::Equal),
        ("!=", Op::NotEqual),
        ("<", Op::Below),
        (">", Op::Above),
    ];

    /// Whether `observed op limit` holds.
    pub fn holds(self, observed: f64, limit: f64) -> bool {
        match self {
            Op::Below => observed < limit,
            Op::AtMost => observed <= limit,
            Op::Above => observed > limit,
            Op::AtLeast => observed >= limit,
            Op::Equal => (observed - limit).abs() < f64::EPSILON,
            Op::NotEqual => (observed - limit).abs() >= f64::EPSILON,
        }
    }
}

/// A parsed and type-checked expectation.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// As it was written.
    pub rule: String,
    /// The metric.
    pub metric: &'static Metric,
    /// Value of the label `fault` or `by`.
    pub label: Option<String>,
    /// The statistic, for distributions and levels.
    pub stat: Option<Stat>,
    /// The comparison.
    pub op: Op,
    /// In the metric's unit.
    pub limit: f64,
    /// The window; `fault:*` and `recovery:*` mean each of them.
    pub during: String,
    /// What a break means.
    pub severity: Severity,
    /// Not written by anybody: holds for every run.
    pub builtin: bool,
}

/// What is wrong with an expectation, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectError {
    /// Byte offset into the text.
    pub offset: usize,
    /// Number of bytes concerned.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// The next step.
    pub help: Option<String>,
}

impl fmt::Display for ExpectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExpectError {}

struct Text<'a> {
    whole: &'a str,
}

impl<'a> Text<'a> {
    fn offset_of(&self, part: &str) -> usize {
        part.as_ptr() as usize - self.whole.as_ptr() as usize
    }

    fn wrong(&self, part: &'a str, message: impl Into<String>, help: Option<String>) -> ExpectError {
        ExpectError { offset: self.offset_of(part), length: part.len().max(1), message: message.into(), help }
    }
}

impl Expectation {
    /// Parses `rule` and checks it against what the plan can produce. `during` is the window, `all` if not said.
    pub fn parse(
        rule: &str,
        during: Option<&str>,
        severity: Severity,
        capabilities: &Capabilities,
    ) -> Result<Expectation, ExpectError> {
        let text = Text { whole: rule };
        let (left, op, right) = split(&text)?;
        let Subject { name, label, rest } = subject(&text, left)?;
        let metric = metric::find(name).ok_or_else(|| unknown_metric(&text, name))?;
        if let Some(why) = capabilities.lacks(metric.needs) {
            return Err(text.wrong(name, format!("this plan cannot produce `{name}`: {why}"), None));
        }
        let stat = statistic(&text, metric, name, rest)?;
        let label = checked_label(&text, metric, name, label, capabilities)?;
        let limit =
            quantity::parse(right, metric.unit).map_err(|message| text.wrong(right, message, None))?;
        let during = checked_window(&text, metric, name, during, capabilities)?;
        Ok(Expectation {
            rule: rule.trim().to_owned(),
            metric,
            label,
            stat,
            op,
            limit,
            during,
            severity,
            builtin: false,
        })
    }

    /// The expectations that hold for every run; see `design` section 3. `topics` get `acked > 0` and `checked > 0`
    /// by the judge, which knows them.
    pub fn built_in(capabilities: &Capabilities) -> Vec<Expectation> {
        let mut rules: Vec<(&str, &str)> = Vec::new();
        if capabilities.verify {
            rules.push(("verify.unseen == 0", "all"));
        }
        rules.push(("produce.failed == 0", "steady"));
        if capabilities.acks {
            rules.push(("produce.indeterminate == 0", "steady"));
            if capabilities.schedule {
                rules.push(("load.achieved_ratio >= 0.9", "all"));
            }
        }
        rules
            .into_iter()
            .filter_map(|(rule, during)| {
                let scoped = metric::find(rule.split(' ').next()?)?.scope == Scope::Window;
                let parsed = Expectation::parse(rule, scoped.then_some(during), Severity::Fail, capabilities);
                Some(Expectation { builtin: true, ..parsed.ok()? })
            })
            .collect()
    }
}

fn split<'a>(text: &Text<'a>) -> Result<(&'a str, Op, &'a str), ExpectError> {
    // `==` inside braces would be odd, but labels use a single `=`, so look behind the closing brace.
    let from = text.whole.find('}').unwrap_or(0);
    let found = text.whole[from..].char_indices().find_map(|(at, _)| {
        Op::ALL.iter().find(|(s, _)| text.whole[from + at..].starts_with(s)).map(|op| (from + at, op))
    });
    let Some((at, (symbol, op))) = found else {
        let help = "write `<metric> [stat] <op> <quantity>`, for example `produce.latency p99 < 50ms`";
        return Err(text.wrong(
            text.whole,
            "there is no comparison (<, <=, >, >=, ==, !=)",
            Some(help.to_owned()),
        ));
    };
    Ok((text.whole[..at].trim(), *op, text.whole[at + symbol.len()..].trim()))
}

/// The left side: metric, label, and what is left for a statistic.
struct Subject<'a> {
    name: &'a str,
    label: Option<(&'a str, &'a str)>,
    rest: &'a str,
}

fn subject<'a>(text: &Text<'a>, left: &'a str) -> Result<Subject<'a>, ExpectError> {
    let Some((name, labelled)) = left.split_once('{') else {
        let (name, rest) = left.split_once(char::is_whitespace).unwrap_or((left, &left[left.len()..]));
        return Ok(Subject { name, label: None, rest: rest.trim() });
    };
    let (inside, rest) = labelled
        .split_once('}')
        .ok_or_else(|| text.wrong(labelled, "the label is not closed with `}`", None))?;
    let (key, value) = inside
        .split_once('=')
        .ok_or_else(|| text.wrong(inside, "a label is written `{name=value}`", None))?;
    Ok(Subject { name: name.trim(), label: Some((key.trim(), value.trim())), rest: rest.trim() })
}

fn unknown_metric(text: &Text<'_>, name: &str) -> ExpectError {
    if let Some(over) = ["best", "worst"].into_iter().find(|over| name.starts_with(&format!("{over}("))) {
        return ExpectError {
            offset: text.offset_of(name),
            length: name.len(),
            message: format!(
                "`{over}(…)` over the points of a sweep is not supported by this version of gauntlet yet"
            ),
            help: Some(
                "an expectation without it holds for every point; `severity: warn` or `info` fails none"
                    .to_owned(),
            ),
        };
    }
    let near = METRICS.iter().map(|m| (strsim::damerau_levenshtein(m.name, name), m.name)).min();
    let help = match near {
        Some((distance, metric)) if distance <= 4 => format!("did you mean `{metric}`?"),
        _ => format!("the metrics are {}", METRICS.iter().map(|m| m.name).collect::<Vec<_>>().join(", ")),
    };
    ExpectError {
        offset: text.offset_of(name),
        length: name.len().max(1),
        message: format!("unknown metric `{name}`"),
        help: Some(help),
    }
}

fn statistic<'a>(
    text: &Text<'a>,
    metric: &Metric,
    name: &'a str,
    rest: &'a str,
) -> Result<Option<Stat>, ExpectError> {
    let stat = Stat::ALL.iter().find(|(s, _)| *s == rest).map(|(_, stat)| *stat);
    match (metric.shape, rest.is_empty(), stat) {
        (Shape::Single, true, _) => Ok(None),
        (Shape::Single, false, _) => {
            Err(text.wrong(rest, format!("`{name}` is a single number and has no statistic"), None))
        }
        (_, true, _) => {
            let help = match metric.shape {
                Shape::Level => "add max, min or mean",
                _ => "add p50, p99, p99.9, max, min, mean or count",
            };
            Err(text.wrong(name, format!("`{name}` needs a statistic"), Some(help.to_owned())))
        }
        (Shape::Level, _, Some(stat @ (Stat::Max | Stat::Min | Stat::Mean))) => Ok(Some(stat)),
        (Shape::Distribution, _, Some(stat)) => Ok(Some(stat)),
        (Shape::Level, _, Some(_)) => {
            Err(text.wrong(rest, format!("`{name}` has only max, min and mean"), None))
        }
        (_, _, None) => {
            let near = Stat::ALL.iter().map(|(s, _)| (strsim::damerau_levenshtein(s, rest), *s)).min();
            Err(text.wrong(
                rest,
                format!("unknown statistic `{rest}`"),
                near.map(|(_, s)| format!("did you mean `{s}`?")),
            ))
        }
    }
}

fn checked_label<'a>(
    text: &Text<'a>,
    metric: &Metric,
    name: &'a str,
    label: Option<(&'a str, &'a str)>,
    capabilities: &Capabilities,
) -> Result<Option<String>, ExpectError> {
    let names = |set: Vec<&str>| if set.is_empty() { "none".to_owned() } else { set.join(", ") };
    let (wanted, values): (&str, Vec<&str>) = match metric.scope {
        Scope::Fault => ("fault", capabilities.faults.iter().map(String::as_str).collect()),
        _ if !metric.by.is_empty() => ("by", metric.by.to_vec()),
        _ => ("", Vec::new()),
    };
    match label {
        None if wanted.is_empty() => Ok(None),
        None => Err(text.wrong(
            name,
            format!("`{name}` needs the label `{{{wanted}=…}}`"),
            Some(format!("the values are: {}", names(values))),
        )),
        Some((key, _)) if key != wanted => {
            let message = if wanted.is_empty() {
                format!("`{name}` has no labels")
            } else {
                format!("unknown label `{key}`")
            };
            let help = (!wanted.is_empty()).then(|| format!("did you mean `{wanted}`?"));
            Err(text.wrong(key, message, help))
        }
        Some((_, value)) if values.contains(&value) => Ok(Some(value.to_owned())),
        Some((key, value)) => Err(text.wrong(
            value,
            format!("there is no {key} `{value}`"),
            Some(format!("the values are: {}", names(values))),
        )),
    }
}

fn checked_window<'a>(
    text: &Text<'a>,
    metric: &Metric,
    name: &'a str,
    during: Option<&str>,
    capabilities: &Capabilities,
) -> Result<String, ExpectError> {
    let Some(during) = during else { return Ok("all".to_owned()) };
    if metric.scope != Scope::Window {
        return Err(text.wrong(
            name,
            format!("`{name}` is not measured over a window, so `during` has no meaning"),
            None,
        ));
    }
    let windows = capabilities.windows();
    let glob = matches!(during, "fault:*" | "recovery:*") && !capabilities.faults.is_empty();
    if glob || windows.iter().any(|w| w == during) {
        return Ok(during.to_owned());
    }
    Err(text.wrong(
        text.whole,
        format!("there is no window `{during}`"),
        Some(format!("the windows are: {}", windows.join(", "))),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Unit;

    fn everything() -> Capabilities {
        Capabilities {
            hides_writes: false,
            hides_answers: false,
            queues: true,
            statistics: true,
            acks: true,
            readers: true,
            verify: true,
            schedule: true,
            search: true,
            headroom: true,
            drops: true,
            faults: ["kill-leader".to_owned()].into(),
        }
    }

    fn parse(rule: &str) -> Result<Expectation, ExpectError> {
        Expectation::parse(rule, None, Severity::Fail, &everything())
    }

    #[test]
    fn what_the_documentation_shows_is_understood() {
        let e = parse("produce.latency p99 < 50ms").unwrap();
        assert_eq!(
            (e.metric.name, e.stat, e.op, e.limit),
            ("produce.latency", Some(Stat::P99), Op::Below, 50.0)
        );
        let e = parse("recovery.isr_full{fault=kill-leader} < 60s").unwrap();
        assert_eq!((e.label.as_deref(), e.limit, e.metric.unit), (Some("kill-leader"), 60.0, Unit::Seconds));
        let e = parse("load.slip{by=broker}<=5ms").unwrap();
        assert_eq!((e.label.as_deref(), e.op), (Some("broker"), Op::AtMost));
        assert_eq!(parse("verify.lost==0").unwrap().op, Op::Equal);
        assert_eq!(parse("consumer.lag max < 200_000").unwrap().stat, Some(Stat::Max));
        let during =
            Expectation::parse("e2e.latency p99.9 < 1s", Some("fault:*"), Severity::Warn, &everything());
        assert_eq!(during.unwrap().during, "fault:*");
    }

    #[test]
    fn mistakes_are_pointed_at() {
        let cases = [
            (
                "produce.latancy p99 < 50ms",
                0,
                "unknown metric `produce.latancy`",
                Some("did you mean `produce.latency`?"),
            ),
            ("produce.latency p98 < 50ms", 16, "unknown statistic `p98`", Some("did you mean `p90`?")),
            ("produce.latency < 50ms", 0, "`produce.latency` needs a statistic", None),
            ("produce.latency p99 < 50", 22, "`50` is not a duration, such as 50ms or 60s", None),
            ("produce.latency p99 50ms", 0, "there is no comparison (<, <=, >, >=, ==, !=)", None),
            ("verify.lost max == 0", 12, "`verify.lost` is a single number and has no statistic", None),
            (
                "recovery.isr_full < 60s",
                0,
                "`recovery.isr_full` needs the label `{fault=…}`",
                Some("the values are: kill-leader"),
            ),
            (
                "recovery.isr_full{fault=nope} < 60s",
                24,
                "there is no fault `nope`",
                Some("the values are: kill-leader"),
            ),
            ("recovery.isr_full{falt=x} < 60s", 18, "unknown label `falt`", Some("did you mean `fault`?")),
            ("consumer.lag p99 < 5", 13, "`consumer.lag` has only max, min and mean", None),
        ];
        for (rule, offset, message, help) in cases {
            let error = parse(rule).unwrap_err();
            assert_eq!((error.offset, error.message.as_str()), (offset, message), "{rule}");
            if help.is_some() {
                assert_eq!(error.help.as_deref(), help, "{rule}");
            }
        }
    }

    #[test]
    fn what_the_plan_cannot_produce_is_refused() {
        let nothing = Capabilities::default();
        for rule in [
            "produce.latency p99 < 1s",
            "e2e.latency p99 < 1s",
            "verify.lost == 0",
            "load.achieved_ratio > 0.5",
            "search.sustainable_rate > 1k/s",
            "search.headroom_rate > 1k/s",
        ] {
            let error = Expectation::parse(rule, None, Severity::Fail, &nothing).unwrap_err();
            assert!(error.message.starts_with("this plan cannot produce"), "{error}");
        }
        let window =
            Expectation::parse("produce.latency p99 < 1s", Some("fault:x"), Severity::Fail, &everything());
        assert_eq!(window.unwrap_err().message, "there is no window `fault:x`");
        let fixed = Expectation::parse("verify.lost == 0", Some("steady"), Severity::Fail, &everything());
        assert!(fixed.is_err());
    }

    #[test]
    fn built_ins_follow_the_plan() {
        let rules =
            |c: &Capabilities| Expectation::built_in(c).into_iter().map(|e| e.rule).collect::<Vec<_>>();
        assert_eq!(
            rules(&everything()),
            [
                "verify.unseen == 0",
                "produce.failed == 0",
                "produce.indeterminate == 0",
                "load.achieved_ratio >= 0.9"
            ]
        );
        assert_eq!(rules(&Capabilities::default()), ["produce.failed == 0"]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(rule in "[a-z.{}=<>! 0-9p%ms/]{0,40}") {
            let _ = parse(&rule);
        }
    }
}
