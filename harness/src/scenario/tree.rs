//! YAML 1.2 text to one tree in which every node knows where it came from.
//!
//! Built on the events of saphyr-parser. Bounded in bytes, depth and nodes, aliases counted as often as they are
//! used, so that no file can make gauntlet run out of memory. Tags and second documents are refused.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::diagnostic::{Problem, Span};

mod path;
mod scalar;

pub(crate) use path::{Segment, parse_path};
pub(crate) use scalar::{Scalar, Typed};

/// Largest text. A scenario of over 1 MiB is a file given by mistake.
pub(crate) const BYTES_MAX: usize = 1 << 20;
/// Deepest nesting; scenarios need 6.
const DEPTH_MAX: usize = 32;
/// Most nodes of a tree, copies made by aliases and references included.
pub(crate) const NODES_MAX: usize = 50_000;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) content: Content,
}

/// The three kinds of YAML nodes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key of a mapping with its value. Keys of one mapping are distinct.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Node {
    /// The entries, if this is a mapping.
    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of `key`, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The text, if this is a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// Whether this is a scalar that means "no value".
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.typed() == Typed::Null)
    }

    /// Number of nodes from here down.
    pub(crate) fn count(&self) -> usize {
        1 + match &self.content {
            Content::Scalar(_) => 0,
            Content::Sequence(items) => items.iter().map(Node::count).sum(),
            Content::Mapping(entries) => entries.iter().map(|entry| entry.value.count()).sum(),
        }
    }
}

/// Where a text stands: its source, and how far its first character is from the start of that source's line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located<'t> {
    pub(crate) source: usize,
    pub(crate) column_offset: usize,
    pub(crate) text: &'t str,
}

/// Parses one document. An empty text gives an empty mapping.
pub(crate) fn parse(located: Located<'_>) -> Result<Node, Problem> {
    let start = Span { source: located.source, line: 1, column: located.column_offset + 1, len: 1 };
    if located.text.len() > BYTES_MAX {
        let message = format!("the scenario is {} bytes long", located.text.len());
        return Err(Problem::new(start, message, format!("at most {BYTES_MAX} bytes are read")));
    }
    let mut builder = Builder { located, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    let mut documents = 0;
    let mut parser = Parser::new_from_str(located.text);
    while let Some(event) = parser.next_event() {
        let (event, yaml_span) = event.map_err(|error| {
            let marker = error.marker();
            let span = builder.span_at(marker.line(), marker.col(), 1);
            Problem::new(span, "this is not valid YAML", error.info())
        })?;
        let span = builder.span(yaml_span);
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents > 1 {
                return Err(Problem::new(span, "the file has a second YAML document", "starts here")
                    .help("a scenario is one document: use one file each"));
            }
        }
        builder.take(event, span)?;
    }
    Ok(builder.root.unwrap_or(Node { span: start, content: Content::Mapping(Vec::new()) }))
}

/// A collection whose end has not been seen.
struct Open {
    span: Span,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, key: Option<(String, Span)> },
}

/// Puts the nodes of the event stream together.
struct Builder<'t> {
    located: Located<'t>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn span_at(&self, line: usize, column: usize, len: usize) -> Span {
        let offset = if line <= 1 { self.located.column_offset } else { 0 };
        Span { source: self.located.source, line: line.max(1), column: column + 1 + offset, len: len.max(1) }
    }

    /// The part of `yaml_span` that lies on its first line. The parser counts the blanks behind a quoted scalar in.
    fn span(&self, yaml_span: saphyr_parser::Span) -> Span {
        let (start, end) = (yaml_span.start, yaml_span.end);
        let line = self.located.text.lines().nth(start.line().saturating_sub(1)).unwrap_or_default();
        let rest = line.chars().skip(start.col());
        let on_line: String = match end.line() == start.line() {
            true => rest.take(end.col().saturating_sub(start.col())).collect(),
            false => rest.collect(),
        };
        self.span_at(start.line(), start.col(), on_line.trim_end().chars().count())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), span)?;
                let plain = style == ScalarStyle::Plain;
                let scalar = Scalar { text: text.into_owned(), plain, secret: false };
                self.add(Node { span, content: Content::Scalar(scalar) }, anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.is_some(), span)?;
                self.start(Open { span, anchor, kind: OpenKind::Sequence(Vec::new()) })
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.is_some(), span)?;
                self.start(Open { span, anchor, kind: OpenKind::Mapping { entries: Vec::new(), key: None } })
            }
            Event::SequenceEnd | Event::MappingEnd => self.finish(),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Problem::new(
                        span,
                        "this alias stands inside its own anchor",
                        "refers to itself",
                    ));
                };
                let nodes = node.count();
                self.add(node, 0, nodes)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn start(&mut self, open: Open) -> Result<(), Problem> {
        if self.open.len() == DEPTH_MAX {
            return Err(Problem::new(
                open.span,
                "the scenario is nested too deeply",
                format!("at most {DEPTH_MAX} levels"),
            ));
        }
        if matches!(self.open.last(), Some(Open { kind: OpenKind::Mapping { key: None, .. }, .. })) {
            return Err(Problem::new(open.span, "a key must be a plain word", "this is a list or a map"));
        }
        self.open.push(open);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let (span, content) = match open.kind {
            OpenKind::Sequence(items) => (open.span, Content::Sequence(items)),
            // A block mapping starts at its first key: that is the better place to point to.
            OpenKind::Mapping { entries, .. } => {
                (entries.first().map_or(open.span, |entry| entry.key_span), Content::Mapping(entries))
            }
        };
        self.add(Node { span, content }, open.anchor, 1)
    }

    /// Puts a complete node, which stands for `nodes` nodes, where it belongs.
    fn add(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), Problem> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(Problem::new(
                node.span,
                format!("the scenario has over {NODES_MAX} values"),
                "the limit is passed here",
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { kind: OpenKind::Sequence(items), .. }) => items.push(node),
            Some(Open { kind: OpenKind::Mapping { entries, key }, .. }) => match key.take() {
                Some((key, key_span)) => entries.push(Entry { key, key_span, value: node }),
                None => *key = Some(new_key(entries, node)?),
            },
        }
        Ok(())
    }
}

fn refuse_tag(is_tagged: bool, span: Span) -> Result<(), Problem> {
    if is_tagged {
        return Err(Problem::new(span, "YAML tags are not supported", "remove the `!` tag"));
    }
    Ok(())
}

/// Checks that `node` can be the next key of a mapping that has `entries`.
fn new_key(entries: &[Entry], node: Node) -> Result<(String, Span), Problem> {
    let Content::Scalar(scalar) = node.content else {
        return Err(Problem::new(node.span, "a key must be a plain word", "this is a list or a map"));
    };
    if let Some(first) = entries.iter().find(|entry| entry.key == scalar.text) {
        let label = format!("first given on line {}", first.key_span.line);
        return Err(Problem::new(node.span, format!("duplicate key `{}`", scalar.text), label)
            .help("keep one of the two"));
    }
    if scalar.plain && scalar.text == "<<" {
        return Err(Problem::new(node.span, "merge keys (`<<`) are not part of YAML 1.2", "not supported")
            .help("use `profiles:` for variants of a scenario"));
    }
    Ok((scalar.text, node.span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Result<Node, Problem> {
        parse(Located { source: 0, column_offset: 0, text })
    }

    #[test]
    fn nodes_know_their_place() {
        let root = tree("a: 1\nb:\n  - x\n  - { c: \"d e\" }\n").unwrap();
        let b = root.get("b").unwrap();
        let Content::Sequence(items) = &b.content else { panic!("{b:?}") };
        assert_eq!(items[0].span, Span { source: 0, line: 3, column: 5, len: 1 });
        let c = items[1].get("c").unwrap();
        assert_eq!(c.span, Span { source: 0, line: 4, column: 10, len: 5 });
        assert_eq!(root.count(), 6);
    }

    #[test]
    fn aliases_are_counted_as_often_as_used() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..8 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("a{level}: &a{level} [{below}]\n");
        }
        let problem = tree(&text).unwrap_err();
        assert!(problem.message.contains("over 50000 values"), "{problem:?}");
    }

    #[test]
    fn depth_is_bounded() {
        let problem = tree(&"[".repeat(200)).unwrap_err();
        assert_eq!(problem.message, "the scenario is nested too deeply");
    }

    #[test]
    fn refuses_what_the_format_leaves_out() {
        for (text, message) in [
            ("a: 1\n---\nb: 2\n", "the file has a second YAML document"),
            ("a: !x 1\n", "YAML tags are not supported"),
            ("a: &a [*a]\n", "this alias stands inside its own anchor"),
            ("[a]: 1\n", "a key must be a plain word"),
            ("<<: {a: 1}\n", "merge keys (`<<`) are not part of YAML 1.2"),
            ("a: [1\n", "this is not valid YAML"),
        ] {
            assert_eq!(tree(text).unwrap_err().message, message, "{text}");
        }
    }
}
