//! References: `${vars.rate}`, `${env.BROKERS:-localhost:9092}`, `${matrix.codec}`, `${name}`, `${run.id}`.
//!
//! A scalar that is nothing but one reference becomes what it refers to, with its type. Within a longer text the
//! value's text is put in. `$${` is a literal `${`. `${run.id}` stays until the run has an id, which is why only names
//! may hold it. `${matrix.x}` has a value only in a point of a sweep.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Problem, did_you_mean};
use super::secrets;
use super::tree::{Content, NODES_MAX, Node, Scalar};

/// What stands for the id of the run.
pub(crate) const RUN_ID: &str = "${run.id}";

/// Longest chain of variables that refer to variables.
const CHAIN_MAX: usize = 16;

/// What begins a reference to a value of the matrix.
const MATRIX: &str = "matrix.";

/// What `${matrix.x}` stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Matrix<'m> {
    /// Nothing: the file has no sweep.
    Absent,
    /// It stays as it is, if `x` is one of these: the values are not chosen yet.
    Kept(&'m BTreeSet<String>),
    /// Its value at a point.
    Point(&'m BTreeMap<String, Node>),
}

/// What came of the references.
#[derive(Debug, Default)]
pub(crate) struct Interpolated {
    /// Those that can't be resolved.
    pub(crate) problems: Vec<Problem>,
    /// Names of the matrix that something refers to which a run depends on: not only a description or a variable.
    pub(crate) matrix_used: BTreeSet<String>,
}

/// Resolves all references below `root` but `${run.id}`, and `${matrix.x}` if that is kept. Reports all that can't be
/// resolved.
pub(crate) fn interpolate(
    root: &mut Node,
    env: &BTreeMap<String, String>,
    matrix: Matrix<'_>,
) -> Interpolated {
    let name = root.get("name").and_then(Node::text).map(str::to_owned);
    let vars = root.get("vars").cloned();
    let mut interpolator =
        Interpolator { env, matrix, name, vars, done: Interpolated::default(), nodes: root.count() };
    interpolator.node(root, "", 0);
    interpolator.done
}

struct Interpolator<'e> {
    env: &'e BTreeMap<String, String>,
    matrix: Matrix<'e>,
    name: Option<String>,
    vars: Option<Node>,
    done: Interpolated,
    nodes: usize,
}

/// A piece of a scalar.
enum Part<'t> {
    Text(&'t str),
    Reference(&'t str),
}

impl Interpolator<'_> {
    /// `path` without indices, as [`allows_run_id`] takes it. `chain` counts the variables gone through.
    fn node(&mut self, node: &mut Node, path: &str, chain: usize) {
        match &mut node.content {
            Content::Sequence(items) => items.iter_mut().for_each(|item| self.node(item, path, chain)),
            Content::Mapping(entries) => {
                for entry in entries {
                    let below =
                        if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                    self.node(&mut entry.value, &below, chain);
                }
            }
            // What it stands for is read when it is used, so that it is nowhere before.
            Content::Scalar(scalar) if secrets::is_secret(path) => {
                scalar.secret = secrets::variable(&scalar.text).is_some();
            }
            Content::Scalar(scalar) if scalar.text.contains("${") => {
                let text = scalar.text.clone();
                match self.scalar(&text, node, path, chain) {
                    Ok(content) => node.content = content,
                    Err(problem) => self.done.problems.push(problem),
                }
            }
            Content::Scalar(_) => {}
        }
    }

    fn scalar(&mut self, text: &str, node: &Node, path: &str, chain: usize) -> Result<Content, Problem> {
        let parts = parts(text).ok_or_else(|| {
            Problem::new(node.span, "a reference is not closed", "`${` without `}`")
                .help("write `$${` for a literal `${`")
        })?;
        if let [Part::Reference(reference)] = parts[..]
            && reference != "run.id"
        {
            return self.value(reference, node, path, chain);
        }
        let mut result = String::with_capacity(text.len());
        for part in parts {
            match part {
                Part::Text(text) => result.push_str(text),
                Part::Reference("run.id") if allows_run_id(path) => result.push_str(RUN_ID),
                Part::Reference("run.id") => {
                    return Err(Problem::new(
                        node.span,
                        "`${run.id}` is not known yet when this is read",
                        "not possible here",
                    )
                    .help("it can be part of the name of a topic and of `report.dir`"));
                }
                Part::Reference(reference) => match self.value(reference, node, path, chain)? {
                    Content::Scalar(scalar) => result.push_str(&scalar.text),
                    Content::Sequence(_) | Content::Mapping(_) => {
                        let message = format!("`${{{reference}}}` is a list or a map");
                        return Err(Problem::new(node.span, message, "can't be part of a text"));
                    }
                },
            }
        }
        Ok(Content::Scalar(Scalar::quoted(result)))
    }

    /// What `reference` stands for, resolved itself.
    fn value(&mut self, reference: &str, node: &Node, path: &str, chain: usize) -> Result<Content, Problem> {
        if let Some(variable) = reference.strip_prefix("env.") {
            if is_command(path) {
                return Err(no_value_in_command(variable, node));
            }
            return self.env_value(variable, node);
        }
        if let Some(name) = reference.strip_prefix(MATRIX) {
            return self.matrix_value(reference, name, node, path);
        }
        if reference == "name"
            && let Some(name) = &self.name
        {
            return Ok(Content::Scalar(Scalar::quoted(name.clone())));
        }
        let Some(var_path) = reference.strip_prefix("vars.") else {
            return Err(unknown(reference, node, self.matrix));
        };
        let mut value = var_path.split('.').try_fold(self.vars.as_ref(), |at, key| at?.get(key).map(Some));
        let Some(Some(found)) = value.take() else {
            return Err(self.unknown_variable(var_path, node));
        };
        if chain == CHAIN_MAX {
            let message =
                format!("`${{{reference}}}` refers to itself, or through over {CHAIN_MAX} variables");
            return Err(Problem::new(node.span, message, ""));
        }
        let mut found = found.clone();
        self.nodes += found.count();
        if self.nodes > NODES_MAX {
            let message = format!("the scenario has over {NODES_MAX} values");
            return Err(Problem::new(node.span, message, "the limit is passed here"));
        }
        let before = self.done.problems.len();
        self.node(&mut found, path, chain + 1);
        if self.done.problems.len() > before {
            // The variable's own definition is visited too, and says the same with a better place.
            let problem = self.done.problems.swap_remove(before);
            self.done.problems.truncate(before);
            return Err(problem);
        }
        Ok(found.content)
    }

    fn matrix_value(
        &mut self,
        reference: &str,
        name: &str,
        node: &Node,
        path: &str,
    ) -> Result<Content, Problem> {
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        if let Some(why) = no_matrix_in(path) {
            let message = format!("`${{{reference}}}` has no value in `{path}`");
            return Err(Problem::new(node.span, message, why));
        }
        let known = match self.matrix {
            Matrix::Absent => return Err(unknown(reference, node, self.matrix)),
            Matrix::Kept(names) => names.contains(name),
            Matrix::Point(values) => values.contains_key(name),
        };
        if known && changes_runs(path) {
            self.done.matrix_used.insert(name.to_owned());
        }
        match (self.matrix, default) {
            (Matrix::Kept(_), _) if known => Ok(Content::Scalar(Scalar::quoted(format!("${{{reference}}}")))),
            (Matrix::Kept(names), _) => Err(unknown_axis(name, names, node)),
            (Matrix::Point(values), default) => match (values.get(name), default) {
                (Some(value), _) => Ok(value.content.clone()),
                (None, Some(default)) => Ok(Content::Scalar(Scalar::plain(default))),
                (None, None) => {
                    let message = format!("`matrix.{name}` has no value");
                    Err(Problem::new(node.span, message, "needed here")
                        .help(format!("give a default: `${{matrix.{name}:-value}}`")))
                }
            },
            (Matrix::Absent, _) => Err(unknown(reference, node, self.matrix)),
        }
    }

    fn env_value(&self, variable: &str, node: &Node) -> Result<Content, Problem> {
        let (variable, default) = match variable.split_once(":-") {
            Some((variable, default)) => (variable, Some(default)),
            None => (variable, None),
        };
        // As in shells, `:-` also replaces an empty value.
        let set =
            self.env.get(variable).map(String::as_str).filter(|value| default.is_none() || !value.is_empty());
        match set.or(default) {
            Some(value) => Ok(Content::Scalar(Scalar::plain(value))),
            None => {
                let message = format!("environment variable `{variable}` is not set");
                Err(Problem::new(node.span, message, "needed here")
                    .help(format!("set it, or give a default: `${{env.{variable}:-value}}`")))
            }
        }
    }

    fn unknown_variable(&self, var_path: &str, node: &Node) -> Problem {
        let names: Vec<&str> =
            self.vars.iter().filter_map(Node::entries).flatten().map(|entry| entry.key.as_str()).collect();
        let label = did_you_mean(var_path, names.iter().copied()).unwrap_or_default();
        let problem = Problem::new(node.span, format!("unknown variable `vars.{var_path}`"), label);
        if names.is_empty() {
            return problem.help("the file has no `vars:`");
        }
        problem.help(format!("variables of this file: {}", names.join(", ")))
    }
}

/// Names that are made when the run starts. Definitions of variables too: they are judged where they are used.
fn allows_run_id(path: &str) -> bool {
    matches!(
        path,
        "topics.name"
            | "workload.producers.topic"
            | "workload.consumers.topic"
            | "faults.target.of.topic"
            | "faults.args.topic"
            | "report.dir"
    ) || path.starts_with("vars.")
}

/// Whether it is a command of a hook. Those are shown, stored, and in the list of processes.
fn is_command(path: &str) -> bool {
    let hook = path.strip_prefix("cluster.command.").or_else(|| path.strip_prefix("cluster.ssh."));
    let command = [".apply", ".check", ".heal", ".options"];
    hook.is_some_and(|field| command.iter().any(|name| field.ends_with(name)))
}

fn no_value_in_command(variable: &str, node: &Node) -> Problem {
    let message = format!("the value of `{variable}` can't be part of a command");
    let label = "everybody could read it in the list of processes";
    let help =
        format!("add `env: [{variable}]` to the hook, and let the command read it: `\"$$ {variable}\"`");
    Problem::new(node.span, message, label).help(help.replace("$$ ", "$"))
}

/// Why a value of the matrix can't decide the field at `path`: what belongs to the sweep as a whole is the same at all
/// of its points.
fn no_matrix_in(path: &str) -> Option<&'static str> {
    let block = path.split('.').next().unwrap_or_default();
    match block {
        "sweep" => Some("the points are made from this"),
        "name" | "seed" | "report" => Some("this is the sweep's, and the same at every point"),
        _ => None,
    }
}

/// Whether a run depends on the field at `path`. Definitions of variables are judged where they are used.
fn changes_runs(path: &str) -> bool {
    let block = path.split('.').next().unwrap_or_default();
    !matches!(block, "description" | "tags" | "vars")
}

fn unknown(reference: &str, node: &Node, matrix: Matrix<'_>) -> Problem {
    let message = format!("unknown reference `${{{reference}}}`");
    let label = match (reference.split_once('.'), matrix) {
        (Some(("producer", _)), _) => "not supported by this version of gauntlet yet".to_owned(),
        (Some(("matrix", _)), Matrix::Absent) => "the file has no `sweep:`".to_owned(),
        _ => did_you_mean(reference, ["vars.", "env.", "matrix.", "run.id", "name"]).unwrap_or_default(),
    };
    Problem::new(node.span, message, label).help(
        "references are ${vars.NAME}, ${env.NAME}, ${env.NAME:-default}, ${matrix.NAME} in a sweep, ${name}, and \
         ${run.id}",
    )
}

fn unknown_axis(name: &str, names: &BTreeSet<String>, node: &Node) -> Problem {
    let label = did_you_mean(name, names.iter().map(String::as_str)).unwrap_or_default();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    Problem::new(node.span, format!("`matrix.{name}` is not in `sweep.matrix`"), label)
        .help(format!("names of this sweep: {}", known.join(", ")))
}

/// Splits `text` at its references. `None` if one has no end.
fn parts(text: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            // `$${`: the first dollar is the escape.
            push_text(&mut parts, &rest[..start - 1]);
            push_text(&mut parts, "${");
            rest = &rest[start + 2..];
            continue;
        }
        push_text(&mut parts, &rest[..start]);
        let (reference, tail) = rest[start + 2..].split_once('}')?;
        parts.push(Part::Reference(reference.trim()));
        rest = tail;
    }
    push_text(&mut parts, rest);
    Some(parts)
}

fn push_text<'t>(parts: &mut Vec<Part<'t>>, text: &'t str) {
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tree::{Located, Typed, parse};

    fn resolved(text: &str) -> Result<Node, Vec<String>> {
        let mut root = parse(Located { source: 0, column_offset: 0, text }).unwrap();
        let env =
            BTreeMap::from([("PORT".to_owned(), "9092".to_owned()), ("EMPTY".to_owned(), String::new())]);
        let problems = interpolate(&mut root, &env, Matrix::Absent).problems;
        match problems.is_empty() {
            true => Ok(root),
            false => Err(problems.into_iter().map(|problem| problem.message).collect()),
        }
    }

    #[test]
    fn a_lone_reference_keeps_its_type() {
        let root = resolved("vars: {n: 3, l: [1, 2], m: {k: v}, again: \"${vars.n}\"}\na: ${vars.n}\nb: ${vars.l}\nc: ${vars.m.k}\nd: ${vars.again}\ne: x${vars.n}\nf: ${env.PORT}\n").unwrap();
        let typed = |key: &str| match &root.get(key).unwrap().content {
            Content::Scalar(scalar) => format!("{:?}", scalar.typed()),
            Content::Sequence(items) => format!("{} items", items.len()),
            Content::Mapping(_) => "map".to_owned(),
        };
        assert_eq!(typed("a"), format!("{:?}", Typed::Unsigned(3)));
        assert_eq!(typed("b"), "2 items");
        assert_eq!(typed("c"), format!("{:?}", Typed::Text("v")));
        assert_eq!(typed("d"), format!("{:?}", Typed::Unsigned(3)));
        assert_eq!(typed("e"), format!("{:?}", Typed::Text("x3")));
        assert_eq!(typed("f"), format!("{:?}", Typed::Unsigned(9092)));
    }

    #[test]
    fn defaults_escapes_and_the_run_id() {
        let root = resolved(
            "name: n\na: ${env.NOPE:-x:1}\nb: ${env.EMPTY:-y}\nc: $${vars.a}\ntopics: [{name: 't-${name}-${run.id}'}]\n",
        )
        .unwrap();
        assert_eq!(root.get("a").unwrap().text(), Some("x:1"));
        assert_eq!(root.get("b").unwrap().text(), Some("y"));
        assert_eq!(root.get("c").unwrap().text(), Some("${vars.a}"));
        let Content::Sequence(topics) = &root.get("topics").unwrap().content else { panic!() };
        assert_eq!(topics[0].get("name").unwrap().text(), Some("t-n-${run.id}"));
    }

    #[test]
    fn all_bad_references_are_reported() {
        let messages =
            resolved("vars: {a: 1}\nx: ${vars.b}\ny: ${env.NOPE}\nz: ${matrix.q}\nw: ${run.id}\nv: ${vars\n")
                .unwrap_err();
        assert_eq!(
            messages,
            [
                "unknown variable `vars.b`",
                "environment variable `NOPE` is not set",
                "unknown reference `${matrix.q}`",
                "`${run.id}` is not known yet when this is read",
                "a reference is not closed",
            ]
        );
    }

    #[test]
    fn values_of_the_matrix_are_kept_or_put_in() {
        let text = "vars: {v: '${matrix.a}', only_here: '${matrix.c}'}\ndescription: ${matrix.b}\nx: ${vars.v}\n\
                    y: 'is ${matrix.a}'\nz: ${matrix.d:-7}\n";
        let root = parse(Located { source: 0, column_offset: 0, text }).unwrap();
        let names = ["a", "b", "c", "d"].map(str::to_owned).into();
        let mut kept = root.clone();
        let done = interpolate(&mut kept, &BTreeMap::new(), Matrix::Kept(&names));
        assert_eq!((done.problems, done.matrix_used), (vec![], ["a", "d"].map(str::to_owned).into()));
        assert_eq!(kept.get("y").unwrap().text(), Some("is ${matrix.a}"));
        let value = |text: &str| Node { span: root.span, content: Content::Scalar(Scalar::plain(text)) };
        let values = ["a", "b", "c"].map(|name| (name.to_owned(), value("3"))).into();
        let mut point = root.clone();
        let done = interpolate(&mut point, &BTreeMap::new(), Matrix::Point(&values));
        assert_eq!(done.problems, vec![]);
        for (key, typed) in [("x", Typed::Unsigned(3)), ("y", Typed::Text("is 3")), ("z", Typed::Unsigned(7))]
        {
            let Content::Scalar(scalar) = &point.get(key).unwrap().content else { panic!("{key}") };
            assert_eq!(scalar.typed(), typed, "{key}");
        }
    }

    #[test]
    fn values_of_the_matrix_have_their_places() {
        let names = ["a"].map(str::to_owned).into();
        let text = "name: '${matrix.a}'\nsweep: {repeats: '${matrix.a}'}\nx: ${matrix.aa}\n";
        let mut root = parse(Located { source: 0, column_offset: 0, text }).unwrap();
        let done = interpolate(&mut root, &BTreeMap::new(), Matrix::Kept(&names));
        let messages: Vec<&str> = done.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "`${matrix.a}` has no value in `name`",
                "`${matrix.a}` has no value in `sweep.repeats`",
                "`matrix.aa` is not in `sweep.matrix`"
            ]
        );
    }

    #[test]
    fn loops_and_growth_are_bounded() {
        assert!(resolved("vars: {a: '${vars.b}', b: '${vars.a}'}\n").is_err());
        let mut text = "vars:\n  v0: [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..8 {
            let below = format!("'${{vars.v{}}}', ", level - 1).repeat(10);
            text += &format!("  v{level}: [{below}]\n");
        }
        assert!(resolved(&text).is_err());
    }
}
