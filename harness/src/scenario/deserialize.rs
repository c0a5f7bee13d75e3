//! The tree as a serde deserializer, so that plain structs with `deny_unknown_fields` are the grammar of the file.
//!
//! serde knows nothing of places. The error type here keeps what serde says in parts, and every step on the way out
//! adds the place and path of the innermost node that doesn't have one yet.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};

use super::diagnostic::{Problem, Span, closest, did_you_mean};
use super::later;
use super::tree::{Content, Entry, Node, Typed};

/// Reads `root` as `T`; the first mistake ends it.
pub(crate) fn from_tree<T: DeserializeOwned>(root: &Node) -> Result<T, Problem> {
    let deserializer = NodeDeserializer { node: root, path: &Path::Root };
    T::deserialize(deserializer).map_err(|error| error.into_problem(root))
}

/// Where the deserializer is; a list that grows inwards on the stack.
enum Path<'p> {
    Root,
    Field { parent: &'p Path<'p>, key: &'p str },
    Item { parent: &'p Path<'p>, index: usize },
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field { parent: Path::Root, key } => write!(formatter, "{key}"),
            Path::Field { parent, key } => write!(formatter, "{parent}.{key}"),
            Path::Item { parent, index } => write!(formatter, "{parent}[{index}]"),
        }
    }
}

/// What serde found wrong, and where that was.
#[derive(Debug)]
struct Error {
    kind: ErrorKind,
    at: Option<(Span, String)>,
}

#[derive(Debug)]
enum ErrorKind {
    UnknownField { field: String, expected: &'static [&'static str] },
    UnknownVariant { variant: String, expected: &'static [&'static str] },
    MissingField(&'static str),
    Mismatch { found: String, expected: String },
    Message(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.kind)
    }
}

impl std::error::Error for Error {}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, at: None }
    }
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        ErrorKind::Message(message.to_string()).into()
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        ErrorKind::Mismatch { found: found(unexpected), expected: readable(&expected.to_string()) }.into()
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        ErrorKind::UnknownVariant { variant: variant.to_owned(), expected }.into()
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        ErrorKind::UnknownField { field: field.to_owned(), expected }.into()
    }

    fn missing_field(field: &'static str) -> Self {
        ErrorKind::MissingField(field).into()
    }
}

impl Error {
    /// Adds the place, if a deeper step hasn't.
    fn at(mut self, span: Span, path: &Path<'_>) -> Self {
        self.at.get_or_insert_with(|| (span, path.to_string()));
        self
    }

    fn into_problem(self, root: &Node) -> Problem {
        let (span, path) = self.at.unwrap_or((root.span, String::new()));
        match self.kind {
            ErrorKind::UnknownField { field, expected } => unknown_field(&field, expected, &path, root, span),
            ErrorKind::UnknownVariant { variant, expected } => {
                unknown_variant(&variant, expected, &path, span)
            }
            ErrorKind::MissingField(field) => {
                let message = format!("missing field `{field}`{}", within(&path, root));
                // The start of the block is the place; its first line is no mistake, so nothing is said there.
                let problem = Problem::new(root.span_of(&path), message, "");
                match required_example(field) {
                    Some(example) => problem.help(format!("add it, for example `{example}`")),
                    None => problem,
                }
            }
            ErrorKind::Mismatch { found, expected } => {
                Problem::new(span, invalid(&path), format!("expected {expected}, found {found}"))
            }
            ErrorKind::Message(message) => Problem::new(span, invalid(&path), message),
        }
    }
}

fn invalid(path: &str) -> String {
    if path.is_empty() { "invalid scenario".to_owned() } else { format!("invalid value for `{path}`") }
}

/// ` in fault `kill-leader``, ` in `load``, or nothing at the top.
fn within(path: &str, root: &Node) -> String {
    let Some(index) = path.strip_prefix("faults[").and_then(|rest| rest.strip_suffix(']')) else {
        return if path.is_empty() { String::new() } else { format!(" in `{path}`") };
    };
    let fault = index.parse::<usize>().ok().and_then(|index| match &root.get("faults")?.content {
        Content::Sequence(items) => items.get(index)?.get("name")?.text(),
        _ => None,
    });
    fault.map_or_else(|| format!(" in `{path}`"), |name| format!(" in fault `{name}`"))
}

fn unknown_field(
    field: &str,
    expected: &'static [&'static str],
    path: &str,
    root: &Node,
    span: Span,
) -> Problem {
    let within = within(path, root);
    if later::is_later_field(path, field) {
        let message = format!("`{field}`{within} is not supported by this version of gauntlet yet");
        return Problem::new(span, message, "not yet").help(known(expected));
    }
    if later::is_kafka_property(path, field) {
        let message = format!("Kafka's property `{field}` is not supported by this version of gauntlet yet");
        return Problem::new(span, message, "not yet").help(known(expected));
    }
    let label = did_you_mean(field, expected.iter().copied()).unwrap_or_default();
    Problem::new(span, format!("unknown field `{field}`{within}"), label).help(known(expected))
}

fn known(expected: &[&str]) -> String {
    format!("known here: {}", expected.join(", "))
}

fn unknown_variant(variant: &str, expected: &[&str], path: &str, span: Span) -> Problem {
    let values = format!("possible values: {}", expected.join(", "));
    if later::is_later_value(path, variant) {
        let message = format!("`{variant}` is not supported by this version of gauntlet yet");
        return Problem::new(span, message, "not yet").help(values);
    }
    let label = match closest(variant, expected.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => String::new(),
    };
    Problem::new(span, format!("unknown value `{variant}` for `{path}`"), label).help(values)
}

/// An example for the fields that have no default.
fn required_example(field: &str) -> Option<&'static str> {
    Some(match field {
        "version" => "version: 1",
        "name" => "name: leader-kill",
        "load" => "load: { shape: constant, rate: 10k/s, duration: 30s }",
        "shape" => "shape: constant",
        "at" => "at: 60s",
        "action" => "action: broker.kill",
        "target" => "target: { role: controller }",
        "after" => "after: 30s",
        "until" => "until: stable",
        "partition" => "partition: 0",
        "security.protocol" => "security.protocol: SASL_SSL",
        "that" => "that: produce.latency p99 < 50ms",
        "low" => "low: 10k/s",
        "high" => "high: 1M/s",
        "sustainable" => "sustainable: [produce.latency p99 < 50ms]",
        _ => return None,
    })
}

/// serde's names of what is there, in the words of the format.
fn found(unexpected: de::Unexpected<'_>) -> String {
    match unexpected {
        de::Unexpected::Bool(value) => format!("`{value}`"),
        de::Unexpected::Unsigned(value) => format!("the number {value}"),
        de::Unexpected::Signed(value) => format!("the number {value}"),
        de::Unexpected::Float(value) => format!("the number {value}"),
        de::Unexpected::Str(text) => format!("the text `{text}`"),
        de::Unexpected::Unit => "no value".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}

/// serde's names of what is due, in the words of the format.
fn readable(expected: &str) -> String {
    match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number from 0 to 18446744073709551615",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        "a string" => "a text (quote it if it looks like a number)",
        other => other,
    }
    .to_owned()
}

#[derive(Clone, Copy)]
struct NodeDeserializer<'t> {
    node: &'t Node,
    path: &'t Path<'t>,
}

impl<'t> NodeDeserializer<'t> {
    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Sequence(items) => {
                visitor.visit_seq(Items { items: items.iter().enumerate(), path: self.path })
            }
            Content::Mapping(entries) => {
                visitor.visit_map(Fields { entries: entries.iter(), value: None, path: self.path })
            }
            Content::Scalar(scalar) => match scalar.typed() {
                Typed::Null => visitor.visit_unit(),
                Typed::Bool(value) => visitor.visit_bool(value),
                Typed::Unsigned(value) => visitor.visit_u64(value),
                Typed::Signed(value) => visitor.visit_i64(value),
                Typed::Float(value) => visitor.visit_f64(value),
                Typed::Text(text) => visitor.visit_str(text),
            },
        }
    }

    fn place<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| error.at(self.node.span, self.path))
    }
}

impl<'de> de::Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.place(self.visit(visitor))
    }

    /// Whole numbers may have their digits grouped, which YAML 1.2 reads as text.
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let grouped = match &self.node.content {
            Content::Scalar(scalar) if scalar.plain && scalar.text.contains('_') => {
                scalar.text.parse::<crate::units::Count>().ok()
            }
            _ => None,
        };
        match grouped {
            Some(count) => self.place(visitor.visit_u64(count.get())),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.place(visitor.visit_some(self))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.place(visitor.visit_newtype_struct(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match self.node.text() {
            Some(text) => visitor.visit_enum(text.to_owned().into_deserializer()),
            None => {
                let found = match self.node.content {
                    Content::Sequence(_) => "a list",
                    _ => "a map",
                };
                let expected = format!("one of {}", variants.join(", "));
                Err(ErrorKind::Mismatch { found: found.to_owned(), expected }.into())
            }
        };
        self.place(result)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'t> {
    items: std::iter::Enumerate<std::slice::Iter<'t, Node>>,
    path: &'t Path<'t>,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path = Path::Item { parent: self.path, index };
        let deserializer = NodeDeserializer { node, path: &path };
        // Placed here as well: a type may be read first and refused by its own rule then.
        deserializer.place(seed.deserialize(deserializer)).map(Some)
    }
}

struct Fields<'t> {
    entries: std::slice::Iter<'t, Entry>,
    value: Option<&'t Entry>,
    path: &'t Path<'t>,
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(entry);
        let key = seed.deserialize(entry.key.as_str().into_deserializer());
        key.map(Some).map_err(|error: Error| error.at(entry.key_span, self.path))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some(entry) = self.value.take() else {
            return Err(ErrorKind::Message("a value without a key".to_owned()).into());
        };
        let path = Path::Field { parent: self.path, key: &entry.key };
        let deserializer = NodeDeserializer { node: &entry.value, path: &path };
        deserializer.place(seed.deserialize(deserializer))
    }
}
