//! `cluster.command` and `cluster.ssh`: what an operator does to brokers that run already.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::units::Duration;

/// How faults are done to the brokers of `bootstrap_servers`, by the names of faults.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map of faults, for example { broker.pause: { apply: …, heal: … } }"
)]
pub(crate) struct HooksWritten {
    /// Ends a broker at once; `heal` starts it.
    #[serde(rename = "broker.kill")]
    pub(crate) kill: Option<HookWritten>,
    /// Ends a broker in order; `heal` starts it.
    #[serde(rename = "broker.stop")]
    pub(crate) stop: Option<HookWritten>,
    /// Halts a broker; `heal` lets it go on.
    #[serde(rename = "broker.pause")]
    pub(crate) pause: Option<HookWritten>,
    /// Ends a broker in order; `heal`, run as soon as it is gone, starts it.
    #[serde(rename = "broker.restart")]
    pub(crate) restart: Option<HookWritten>,
    /// Ends a broker at once; `heal`, run as soon as it is gone, starts it.
    #[serde(rename = "broker.bounce")]
    pub(crate) bounce: Option<HookWritten>,
}

/// The commands for one fault. They may hold `{broker.id}`, `{broker.host}`, `{broker.port}`, and `{fault.name}`; `{{broker.id}}` is a
/// literal `{broker.id}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Hook")]
#[serde(deny_unknown_fields, expecting = "a map with at least `apply` and `heal`")]
pub(crate) struct HookWritten {
    /// Where ssh runs it: `host` or `user@host`; `{broker.host}` if left out. For `cluster.ssh` only.
    pub(crate) to: Option<String>,
    /// More options of ssh, for example `[-p, "2222"]`. For `cluster.ssh` only.
    #[serde(default)]
    pub(crate) options: Vec<String>,
    /// Does it. It must have ended, with exit status 0, once it is done.
    pub(crate) apply: CommandWritten,
    /// Proves it, besides what gauntlet sees itself: asked every second until its exit status is 0.
    pub(crate) check: Option<CommandWritten>,
    /// Undoes it. It must be harmless when there is nothing to undo, and when it is run twice.
    pub(crate) heal: CommandWritten,
    /// Names of environment variables that the commands get besides PATH, HOME, and such. Their values are kept nowhere.
    #[serde(default)]
    pub(crate) env: Vec<String>,
    /// How long each command may take, 10m at most, before it is killed; 30s if left out.
    pub(crate) timeout: Option<Duration>,
    /// How long it may take until the broker is seen to be gone or silent, and, after `heal`, to be back; 60s if left out.
    pub(crate) within: Option<Duration>,
}

/// A command: a list is run as it is, a text by a shell.
#[derive(Debug)]
pub(crate) enum CommandWritten {
    /// By `sh -c`, or, over ssh, by the log-in shell there.
    Script(String),
    /// The program and its arguments.
    Words(Vec<String>),
}

impl<'de> Deserialize<'de> for CommandWritten {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CommandVisitor)
    }
}

struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = CommandWritten;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of a program and its arguments, or a text for a shell")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(CommandWritten::Script(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(CommandWritten::Words)
    }
}

impl JsonSchema for CommandWritten {
    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A list is run as it is; a text by `sh -c`, or, over ssh, by the log-in shell there.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }]
        })
    }
}
