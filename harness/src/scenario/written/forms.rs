//! Values that may be written in more than one form.
//!
//! Written by hand instead of `#[serde(untagged)]`, which buffers the value and so loses the place of every mistake
//! inside it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{ExpectationOptionsWritten, GuardOptionsWritten, VerifyOptionsWritten};
use crate::scenario::types::Controllers;
use crate::units::Duration;

/// The version of the format: 1.
#[derive(Debug)]
pub(crate) struct Version;

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => {
                Err(de::Error::custom(format!("this gauntlet reads version 1 of the format, not {other}")))
            }
        }
    }
}

impl JsonSchema for Version {
    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": 1 })
    }
}

/// A list, or its only item without the list around it.
#[derive(Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map or a list of maps")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|one| OneOrMany(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(OneOrMany)
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [item, { "type": "array", "items": item }] })
    }
}

/// `host:port` texts: a list, or one text with commas, as Kafka's own tools take it.
#[derive(Debug)]
pub(crate) struct ServersWritten(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for ServersWritten {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ServersVisitor)
    }
}

struct ServersVisitor;

impl<'de> Visitor<'de> for ServersVisitor {
    type Value = ServersWritten;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("host:port, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(ServersWritten(text.split(',').map(|server| server.trim().to_owned()).collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(ServersWritten)
    }
}

impl JsonSchema for ServersWritten {
    fn schema_name() -> Cow<'static, str> {
        "BootstrapServers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// A Kafka property's value as text; numbers and booleans are taken as they look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PropertyText(pub(crate) String);

impl<'de> Deserialize<'de> for PropertyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PropertyTextVisitor)
    }
}

struct PropertyTextVisitor;

impl Visitor<'_> for PropertyTextVisitor {
    type Value = PropertyText;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, a number, true, or false")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PropertyText, E> {
        Ok(PropertyText(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<PropertyText, E> {
        Ok(PropertyText(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<PropertyText, E> {
        Ok(PropertyText(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<PropertyText, E> {
        Ok(PropertyText(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<PropertyText, E> {
        Ok(PropertyText(value.to_string()))
    }
}

impl JsonSchema for PropertyText {
    fn schema_name() -> Cow<'static, str> {
        "PropertyValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// Number of a partition, or `lowest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartitionWritten {
    Number(u32),
    Lowest,
}

impl<'de> Deserialize<'de> for PartitionWritten {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartitionVisitor)
    }
}

struct PartitionVisitor;

impl Visitor<'_> for PartitionVisitor {
    type Value = PartitionWritten;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the number of a partition, or `lowest`")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<PartitionWritten, E> {
        let invalid = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
        u32::try_from(number).map(PartitionWritten::Number).map_err(invalid)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PartitionWritten, E> {
        match text {
            "lowest" => Ok(PartitionWritten::Lowest),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

impl JsonSchema for PartitionWritten {
    fn schema_name() -> Cow<'static, str> {
        "Partition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "lowest" }] })
    }
}

/// Number of a broker, or `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokerWritten {
    Number(u16),
    All,
}

impl<'de> Deserialize<'de> for BrokerWritten {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BrokerVisitor)
    }
}

struct BrokerVisitor;

impl Visitor<'_> for BrokerVisitor {
    type Value = BrokerWritten;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the number of a broker, or `all`")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<BrokerWritten, E> {
        let invalid = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
        u16::try_from(number).map(BrokerWritten::Number).map_err(invalid)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<BrokerWritten, E> {
        match text {
            "all" => Ok(BrokerWritten::All),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

impl JsonSchema for BrokerWritten {
    fn schema_name() -> Cow<'static, str> {
        "Broker".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "all" }] })
    }
}

/// Implements reading and the schema of a type that is either a text or a map of options.
macro_rules! text_or_map {
    ($type:ident, $expecting:literal, $text:expr, $map:expr, $map_type:ty, $text_schema:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct FormVisitor;

                impl<'de> Visitor<'de> for FormVisitor {
                    type Value = $type;

                    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                        formatter.write_str($expecting)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        let read: fn(&str) -> Result<$type, String> = $text;
                        read(text).map_err(E::custom)
                    }

                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        <$map_type>::deserialize(MapAccessDeserializer::new(map)).map($map)
                    }
                }

                deserializer.deserialize_any(FormVisitor)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).trim_end_matches("Written").into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let text: fn(&mut SchemaGenerator) -> Schema = $text_schema;
                json_schema!({ "anyOf": [text(generator), generator.subschema_for::<$map_type>()] })
            }
        }
    };
}

/// `15s`, or `{ until: stable, min, max }`.
#[derive(Debug)]
pub(crate) enum WarmupWritten {
    For(Duration),
    Until(WarmupUntilWritten),
}

/// A warm-up that ends when latency has settled.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a duration, or a map with `until`, `min`, and `max`")]
#[schemars(rename = "WarmupUntil")]
pub(crate) struct WarmupUntilWritten {
    /// What to wait for.
    #[expect(dead_code, reason = "there is one condition so far; that it is named keeps the file readable")]
    pub(crate) until: WarmupCondition,
    /// Shortest warm-up; 60s if left out.
    pub(crate) min: Option<Duration>,
    /// Longest warm-up; 240s if left out. The run then goes on and counts as not warm.
    pub(crate) max: Option<Duration>,
}

/// What ends a warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WarmupCondition {
    /// The p99 of produce latency no longer falls.
    Stable,
}

pub(super) use text_or_map;

text_or_map!(
    WarmupWritten,
    "a duration, or a map with `until`, `min`, and `max`",
    |text| text.parse().map(WarmupWritten::For).map_err(|error: crate::units::UnitError| error.to_string()),
    WarmupWritten::Until,
    WarmupUntilWritten,
    |generator| generator.subschema_for::<Duration>()
);

/// `off`, or the demands.
#[derive(Debug)]
pub(crate) enum VerifyWritten {
    Off,
    On(VerifyOptionsWritten),
}

text_or_map!(
    VerifyWritten,
    "`off`, or a map with `guarantee`, `final_read`, or `max_examples`",
    |text| match text {
        "off" => Ok(VerifyWritten::Off),
        _ => Err(format!("expected `off` or a map, found `{text}`")),
    },
    VerifyWritten::On,
    VerifyOptionsWritten,
    |_| json_schema!({ "const": "off" })
);

/// An expression, or one with options.
#[derive(Debug)]
pub(crate) enum ExpectationWritten {
    Plain(String),
    Options(ExpectationOptionsWritten),
}

text_or_map!(
    ExpectationWritten,
    "an expression, or a map with `that`, `during`, or `severity`",
    |text| Ok(ExpectationWritten::Plain(text.to_owned())),
    ExpectationWritten::Options,
    ExpectationOptionsWritten,
    |_| json_schema!({ "type": "string" })
);

/// A condition, or one with options.
#[derive(Debug)]
pub(crate) enum GuardWritten {
    Plain(String),
    Options(GuardOptionsWritten),
}

text_or_map!(
    GuardWritten,
    "a condition, or a map with `that` or `for`",
    |text| Ok(GuardWritten::Plain(text.to_owned())),
    GuardWritten::Options,
    GuardOptionsWritten,
    |_| json_schema!({ "type": "string" })
);

impl<'de> Deserialize<'de> for Controllers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ControllersVisitor)
    }
}

struct ControllersVisitor;

impl Visitor<'_> for ControllersVisitor {
    type Value = Controllers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`combined`, or a number of processes")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Controllers, E> {
        let invalid = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
        u16::try_from(number).map(Controllers::Isolated).map_err(invalid)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Controllers, E> {
        match text {
            "combined" => Ok(Controllers::Combined),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

impl serde::Serialize for Controllers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Combined => serializer.serialize_str("combined"),
            Self::Isolated(count) => serializer.serialize_u16(*count),
        }
    }
}

impl JsonSchema for Controllers {
    fn schema_name() -> Cow<'static, str> {
        "Controllers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": "combined" }, { "type": "integer", "minimum": 1 }] })
    }
}
