//! The columns of a stream, from the JSON Schema of its records.

use headwater_core::StreamSpec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The column that holds the whole record as it was sent.
pub const RECORD: &str = "_record";
/// The column that holds, as one JSON object, the values that do not fit their columns; null where all fit.
pub const OVERFLOW: &str = "_overflow";

/// A column, named as the field of the record that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The field at the top level of a record.
    pub name: String,
    /// What fits.
    pub kind: ColumnKind,
    /// Whether the schema says that every record has it, and never as null.
    pub is_required: bool,
}

/// The values that fit into a column. Null fits into each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColumnKind {
    /// JSON strings, without their quotes and escapes.
    Text,
    /// JSON numbers that are whole and fit into 64 bits.
    Integer,
    /// JSON numbers, with their digits as they were sent.
    Number,
    /// True and false.
    Boolean,
    /// JSON strings that are moments by RFC 3339.
    Time,
    /// Anything, as JSON text: objects, lists, and fields of more than one type.
    Json,
}

/// The columns of a stream, in the schema's order.
pub fn columns(spec: &StreamSpec) -> Vec<Column> {
    let schema = (spec.schema)();
    let root = resolve(&schema, &schema);
    let required: Vec<&str> = root
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = root.get("properties").and_then(Value::as_object);
    let mut columns: Vec<Column> = properties
        .into_iter()
        .flatten()
        .map(|(name, property)| {
            let (kind, is_nullable) = kind(&schema, property);
            Column {
                name: name.clone(),
                kind,
                is_required: required.contains(&name.as_str()) && !is_nullable,
            }
        })
        .collect();
    // A key that the schema does not describe is one all the same.
    for key in spec.key.iter().copied() {
        if columns.iter().all(|column| column.name != key) {
            columns.push(Column {
                name: key.to_owned(),
                kind: ColumnKind::Json,
                is_required: false,
            });
        }
    }
    columns
}

/// Follows `$ref`s inside the document, a bounded number of times.
fn resolve<'a>(document: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..16 {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| document.pointer(pointer));
        let Some(target) = target else { break };
        schema = target;
    }
    schema
}

/// The kind of column that a property fits into, and whether it may be null.
fn kind(document: &Value, property: &Value) -> (ColumnKind, bool) {
    let property = resolve(document, property);
    for word in ["anyOf", "oneOf"] {
        if let Some(choices) = property.get(word).and_then(Value::as_array) {
            return one_kind(choices.iter().map(|choice| kind_or_null(document, choice)));
        }
    }
    let is_time = property.get("format").and_then(Value::as_str) == Some("date-time");
    match property.get("type") {
        Some(Value::String(name)) => one_kind([named(name, is_time)].into_iter()),
        Some(Value::Array(names)) => one_kind(
            names
                .iter()
                .map(|name| named(name.as_str().unwrap_or_default(), is_time)),
        ),
        _ => match property.get("enum").and_then(Value::as_array) {
            Some(members) if members.iter().all(Value::is_string) => (ColumnKind::Text, false),
            _ => (ColumnKind::Json, true),
        },
    }
}

fn kind_or_null(document: &Value, choice: &Value) -> Option<ColumnKind> {
    let choice = resolve(document, choice);
    if choice.get("type").and_then(Value::as_str) == Some("null") {
        return None;
    }
    if choice.get("const").is_some_and(Value::is_string) {
        return Some(ColumnKind::Text);
    }
    Some(kind(document, choice).0)
}

fn named(name: &str, is_time: bool) -> Option<ColumnKind> {
    match name {
        "null" => None,
        "string" if is_time => Some(ColumnKind::Time),
        "string" => Some(ColumnKind::Text),
        "integer" => Some(ColumnKind::Integer),
        "number" => Some(ColumnKind::Number),
        "boolean" => Some(ColumnKind::Boolean),
        _ => Some(ColumnKind::Json),
    }
}

/// The one kind of several choices, null left out; JSON where there are several.
fn one_kind(choices: impl Iterator<Item = Option<ColumnKind>>) -> (ColumnKind, bool) {
    let mut is_nullable = false;
    let mut found: Option<ColumnKind> = None;
    for choice in choices {
        match (choice, found) {
            (None, _) => is_nullable = true,
            (Some(kind), None) => found = Some(kind),
            (Some(kind), Some(other)) if kind == other => {}
            (Some(_), Some(_)) => return (ColumnKind::Json, true),
        }
    }
    (found.unwrap_or(ColumnKind::Json), is_nullable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(key: &'static [&'static str], schema: fn() -> Value) -> StreamSpec {
        StreamSpec {
            name: "things",
            description: "A thing.",
            key,
            cursor: None,
            incremental: false,
            schema,
        }
    }

    #[test]
    fn each_field_gets_the_column_that_its_schema_asks_for() {
        let schema = || {
            json!({
                "type": "object",
                "required": ["id", "maybe"],
                "properties": {
                    "id": {"type": "string"},
                    "count": {"type": ["integer", "null"]},
                    "money": {"type": "number"},
                    "is_open": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
                    "at": {"type": "string", "format": "date-time"},
                    "who": {"anyOf": [{"$ref": "#/$defs/Person"}, {"type": "null"}]},
                    "status": {"$ref": "#/$defs/Status"},
                    "either": {"type": ["string", "number"]},
                    "maybe": {"type": ["string", "null"]},
                    "list": {"type": "array"},
                    "anything": true,
                },
                "$defs": {
                    "Person": {"type": "object"},
                    "Status": {"oneOf": [{"const": "a"}, {"const": "b"}]},
                }
            })
        };
        let found = columns(&spec(&["id", "other"], schema));
        let kinds: Vec<(&str, ColumnKind, bool)> = found
            .iter()
            .map(|column| (column.name.as_str(), column.kind, column.is_required))
            .collect();
        use ColumnKind::{Boolean, Integer, Json, Number, Text, Time};
        for expected in [
            ("id", Text, true),
            ("count", Integer, false),
            ("money", Number, false),
            ("is_open", Boolean, false),
            ("at", Time, false),
            ("who", Json, false),
            ("status", Text, false),
            ("either", Json, false),
            ("maybe", Text, false),
            ("list", Json, false),
            ("anything", Json, false),
            ("other", Json, false),
        ] {
            assert!(kinds.contains(&expected), "{expected:?} in {kinds:?}");
        }
        assert_eq!(kinds.len(), 12);
    }
}
