//! JSON Schema of the format, for editors: draft-07, which is what yaml-language-server supports.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Map, Value, json};

use super::written::ScenarioWritten;

/// The JSON Schema (draft-07) of a scenario file. The committed copy is `scenarios/scenario.schema.json`.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07().with_transform(AllowReferences);
    settings.into_generator().into_root_schema_for::<ScenarioWritten>().to_value()
}

/// A `${…}` reference may stand for any number, quantity or choice, so every schema of a single value also takes one.
#[derive(Clone, Debug)]
struct AllowReferences;

impl Transform for AllowReferences {
    fn transform(&mut self, schema: &mut schemars::Schema) {
        let Some(object) = schema.as_object_mut() else { return };
        remove_null(object);
        if !is_single_value(object) {
            transform_subschemas(self, schema);
            return;
        }
        let mut outer = Map::new();
        let mut inner = Map::new();
        for (key, value) in std::mem::take(object) {
            // What describes the field stays outside, where editors look for it.
            let describes = matches!(key.as_str(), "title" | "description" | "default");
            if describes {
                outer.insert(key, value)
            } else {
                inner.insert(key, value)
            };
        }
        let is_integer = inner.get("type") == Some(&json!("integer"));
        let pattern = if is_integer { r"^([0-9][0-9_]*|.*\$\{.+\}.*)$" } else { r"\$\{.+\}" };
        outer.insert("anyOf".to_owned(), json!([inner, { "type": "string", "pattern": pattern }]));
        *object = outer;
    }
}

/// A key without a value is refused, so null is no value of an optional field.
fn remove_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(forms)) = object.get_mut("anyOf") else { return };
    forms.retain(|form| form != &json!({ "type": "null" }));
    if let [Value::Object(only)] = &forms[..] {
        let only = only.clone();
        object.remove("anyOf");
        // draft-07 ignores what stands beside a `$ref`, except in an `allOf`.
        if only.contains_key("$ref") {
            object.insert("allOf".to_owned(), json!([only]));
        } else {
            object.extend(only);
        }
    }
}

/// Whether the schema is of a scalar that is more special than "a string".
fn is_single_value(object: &Map<String, Value>) -> bool {
    let choices = ["oneOf", "anyOf"].iter().filter_map(|key| object.get(*key)?.as_array());
    let is_choice = choices.into_iter().any(|forms| forms.iter().all(|form| form.get("const").is_some()));
    let restricted = ["pattern", "enum", "const"].iter().any(|key| object.contains_key(*key));
    let number =
        object.get("type").is_some_and(|name| name == "integer" || name == "number" || name == "boolean");
    is_choice || restricted || number
}
