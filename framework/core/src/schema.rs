//! JSON Schemas from Rust types: forms in our profile, records open and nullable.

use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform},
};
use serde_json::{Map, Value, json};

use crate::form::NAMESPACE;

/// Returns the schema of a config type in the profile that [`FormModel`](crate::FormModel) reads: no references, no
/// nulls (an absent key means "not set"), no formats outside the standard.
pub fn form_schema<C: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<C>();
    RecursiveTransform(to_profile).transform(&mut schema);
    schema.to_value()
}

/// Returns the schema of a stream's records: fields may be missing or null, unknown fields are allowed.
pub fn record_schema<R: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<R>();
    RecursiveTransform(drop_foreign_formats).transform(&mut schema);
    schema.to_value()
}

fn to_profile(schema: &mut Schema) {
    bound_integers(schema);
    drop_foreign_formats(schema);
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(choices)) = object.get_mut("enum") {
        choices.retain(|choice| !choice.is_null());
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    let is_tagged = object
        .get("oneOf")
        .and_then(Value::as_array)
        .is_some_and(|branches| {
            branches
                .iter()
                .all(|branch| branch.get("properties").is_some())
        });
    if is_tagged && !object.contains_key("type") {
        object.insert("type".to_owned(), json!("object"));
    }
}

/// Adds the bounds that schemars leaves to the format, so that every accepted number fits its type.
fn bound_integers(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    let (minimum, maximum) = match object.get("format").and_then(Value::as_str) {
        Some("int32") => (json!(i32::MIN), json!(i32::MAX)),
        Some("int64" | "int") => (json!(i64::MIN), json!(i64::MAX)),
        Some("uint32") => (json!(0), json!(u32::MAX)),
        Some("uint64" | "uint") => (json!(0), json!(u64::MAX)),
        _ => return,
    };
    object.entry("minimum").or_insert(minimum);
    object.entry("maximum").or_insert(maximum);
}

/// schemars notes Rust's integer and float widths as formats that JSON Schema does not know.
fn drop_foreign_formats(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    let is_number = object.get("type").is_some_and(|of| {
        let numeric = |name: &Value| name == "integer" || name == "number";
        numeric(of) || of.as_array().is_some_and(|names| names.iter().any(numeric))
    });
    if is_number {
        object.remove("format");
    }
}

/// How a form shows a field: merged into the field's `x-headwater` object.
///
/// Used as `#[schemars(transform = Hint::order(1).advanced())]` on the fields of a config type, and as
/// `#[schemars(transform = Hint::recommended())]` on one of its alternatives.
#[derive(Clone, Debug, Default)]
pub struct Hint(Map<String, Value>);

impl Hint {
    /// Position in the form, from 1. Every field has one: JSON objects have no order of their own.
    #[must_use]
    pub fn order(position: u16) -> Self {
        Self::default().with("order", json!(position))
    }

    /// Marks the alternative for most people.
    #[must_use]
    pub fn recommended() -> Self {
        Self::default().with("recommended", json!(true))
    }

    /// Says where to find the value; shown next to the field.
    #[must_use]
    pub fn help(self, text: &str) -> Self {
        self.with("help", json!(text))
    }

    /// Sets the text of an empty input.
    #[must_use]
    pub fn placeholder(self, text: &str) -> Self {
        self.with("placeholder", json!(text))
    }

    /// Folds the field at first.
    #[must_use]
    pub fn advanced(self) -> Self {
        self.with("advanced", json!(true))
    }

    /// Puts the field under a heading.
    #[must_use]
    pub fn group(self, name: &str) -> Self {
        self.with("group", json!(name))
    }

    /// Links the step of the setup guide that explains the field, from 1.
    #[must_use]
    pub fn guide_step(self, step: u16) -> Self {
        self.with("guideStep", json!(step))
    }

    /// Sets the message for a value that a pattern or format refuses, as in "must be a date".
    #[must_use]
    pub fn invalid(self, sentence: &str) -> Self {
        self.with("invalid", json!(sentence))
    }

    /// Allows several lines, as in a private key.
    #[must_use]
    pub fn multiline(self) -> Self {
        self.with("multiline", json!(true))
    }

    /// States that the service keeps one secret at a time: creating a new one disables the old one, which cannot be
    /// restored.
    #[must_use]
    pub fn single(self) -> Self {
        self.with("single", json!(true))
    }

    /// Keeps spaces and quotes around the value and shows a notice about them. For passwords; a key that its service
    /// generates is tidied.
    #[must_use]
    pub fn verbatim(self) -> Self {
        self.with("verbatim", json!(true))
    }

    /// Sets the usual prefix of values. Another prefix gives a notice and passes, since services change it.
    #[must_use]
    pub fn known_prefix(self, text: &str) -> Self {
        self.with("knownPrefix", json!(text))
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }
}

impl Transform for Hint {
    fn transform(&mut self, schema: &mut Schema) {
        let object = schema.ensure_object();
        let hints = object.entry(NAMESPACE).or_insert_with(|| json!({}));
        if let Some(hints) = hints.as_object_mut() {
            hints.extend(self.0.clone());
        }
    }
}
