//! Quantities as a scenario writes them: a number and its unit in one string.
//!
//! A bare number where a unit is due is refused, because `60` has been read as seconds, milliseconds and minutes by
//! three tools on the same desk. Underscores may group digits. Every type prints a form that it reads back exactly.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};

mod bytes;
mod count;
mod duration;
mod fraction;
mod number;
mod offset;
mod rate;

pub use bytes::Bytes;
pub use count::Count;
pub use duration::Duration;
pub use fraction::Fraction;
pub use offset::Offset;
pub use rate::Rate;

/// Why a text is not the quantity that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A number without a unit.
    #[error("{quantity} needs a unit, for example {example}, not the bare number {text}")]
    Bare {
        /// What was due, with its article: `a duration`.
        quantity: &'static str,
        /// What to write.
        example: &'static str,
        /// What was written.
        text: String,
    },
    /// Not of the form, or a unit that is not known.
    #[error("`{text}` is not {quantity}; write it like {example}")]
    Malformed {
        /// What was due, with its article.
        quantity: &'static str,
        /// What to write.
        example: &'static str,
        /// What was written.
        text: String,
    },
    /// Below the least or above the largest value.
    #[error("`{text}` is out of range: {quantity} is {range}")]
    Range {
        /// What was due, with its article.
        quantity: &'static str,
        /// The values that are allowed.
        range: &'static str,
        /// What was written.
        text: String,
    },
}

/// What the types here have in common: how they are called, shown and matched in messages and in the JSON Schema.
trait Quantity: FromStr<Err = UnitError> {
    /// With its article, as in "a duration".
    const QUANTITY: &'static str;
    /// One or more values that show the form.
    const EXAMPLE: &'static str;
    /// Regular expression of the form (ECMA 262, as JSON Schema asks).
    const PATTERN: &'static str;

    /// The value of a bare number, for the quantities that have no unit.
    fn from_bare(text: &str) -> Result<Self, UnitError> {
        Err(UnitError::Bare { quantity: Self::QUANTITY, example: Self::EXAMPLE, text: text.to_owned() })
    }

    /// The error for a text that does not have the form.
    fn malformed(text: &str) -> UnitError {
        UnitError::Malformed { quantity: Self::QUANTITY, example: Self::EXAMPLE, text: text.to_owned() }
    }

    /// The error for a value outside `range`.
    fn out_of_range(text: &str, range: &'static str) -> UnitError {
        UnitError::Range { quantity: Self::QUANTITY, range, text: text.to_owned() }
    }
}

/// Reads any quantity from a string, or from a number through [`Quantity::from_bare`].
struct QuantityVisitor<Q>(std::marker::PhantomData<Q>);

impl<Q: Quantity> Visitor<'_> for QuantityVisitor<Q> {
    type Value = Q;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, for example {}", Q::QUANTITY, Q::EXAMPLE)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Q, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Q, E> {
        Q::from_bare(&number.to_string()).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Q, E> {
        Q::from_bare(&number.to_string()).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Q, E> {
        Q::from_bare(&number.to_string()).map_err(E::custom)
    }
}

fn deserialize<'de, Q: Quantity, D: Deserializer<'de>>(deserializer: D) -> Result<Q, D::Error> {
    deserializer.deserialize_any(QuantityVisitor(std::marker::PhantomData))
}

/// Implements what every quantity does the same way: serde as a string, and its JSON Schema.
macro_rules! quantity_impls {
    ($type:ident) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize(deserializer)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let types: &[&str] =
                    if $type::from_bare("0").is_ok() { &["string", "number"] } else { &["string"] };
                schemars::json_schema!({
                    "type": types,
                    "description": format!("{}, for example {}", $type::QUANTITY, $type::EXAMPLE),
                    "pattern": $type::PATTERN,
                })
            }
        }
    };
}

quantity_impls!(Bytes);
quantity_impls!(Count);
quantity_impls!(Duration);
quantity_impls!(Fraction);
quantity_impls!(Offset);
quantity_impls!(Rate);
