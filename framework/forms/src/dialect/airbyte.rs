//! Airbyte: `ConnectorSpecification` with JSON Schema of draft 7 and Airbyte's own keywords.
//!
//! Its acceptance suite refuses closed objects and constants outside of `oneOf` tags, so unknown fields pass and the
//! labels of choices move to the description.

use headwater_core::{About, Choice, Field, FieldKind, FormModel, NAMESPACE};
use serde_json::{Map, Value, json};

use super::property;

/// Keywords with the same meaning in Airbyte.
const SHARED_KEYWORDS: [&str; 14] = [
    "default",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "pattern",
    "type",
    "uniqueItems",
    "writeOnly",
];

/// The maximum number of alternatives shown as radio buttons; more become a dropdown.
const MAX_RADIOS: usize = 4;

const DAY: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";

pub(super) fn specification(about: &About, form: &FormModel, schema: &Value) -> Value {
    let mut connection = object(&form.fields, schema, 0);
    connection.insert("title".to_owned(), about.name.into());
    connection.insert("description".to_owned(), about.summary.into());
    connection.insert(
        "$schema".to_owned(),
        "http://json-schema.org/draft-07/schema#".into(),
    );
    let groups = groups(&form.fields);
    for field in &form.fields {
        let Some(title) = &field.group else { continue };
        connection["properties"][field.key()]["group"] = group_id(title).into();
    }
    if !groups.is_empty() {
        connection.insert("groups".to_owned(), groups.into());
    }
    json!({ "documentationUrl": about.docs, "connectionSpecification": connection })
}

/// Returns an object with these fields. Its tag, where it has one, takes the first number of the display order.
fn object(fields: &[Field], schema: &Value, first: usize) -> Map<String, Value> {
    let mut properties = Map::new();
    for (number, field) in fields.iter().enumerate() {
        let key = field.key();
        let mut inside = one(field, property(schema, &key));
        inside.insert("order".to_owned(), json!(first + number));
        properties.insert(key, inside.into());
    }
    let mut object = Map::new();
    object.insert("type".to_owned(), "object".into());
    object.insert("additionalProperties".to_owned(), true.into());
    object.insert("properties".to_owned(), properties.into());
    if let Some(required) = schema.get("required") {
        object.insert("required".to_owned(), required.clone());
    }
    object
}

fn one(field: &Field, schema: &Value) -> Map<String, Value> {
    let mut made = match &field.kind {
        FieldKind::Group { fields } => object(fields, schema, 0),
        FieldKind::OneOf { tag, branches } => alternatives(tag, branches, schema),
        kind => value(kind, schema),
    };
    made.insert("title".to_owned(), field.title.clone().into());
    made.insert("description".to_owned(), description(field).into());
    if let Some(example) = &field.placeholder {
        made.insert("examples".to_owned(), json!([example]));
    }
    if made.contains_key("pattern") && !made.contains_key("pattern_descriptor") {
        let invalid = schema
            .get(NAMESPACE)
            .and_then(|hints| hints.get("invalid")?.as_str());
        if let Some(sentence) = invalid {
            let rule = sentence.strip_prefix("must be ").unwrap_or(sentence);
            made.insert("pattern_descriptor".to_owned(), rule.into());
        }
    }
    let mut flag = |name: &str, is_on: bool| {
        if is_on {
            made.insert(name.to_owned(), true.into());
        }
    };
    flag("airbyte_secret", field.kind == FieldKind::Secret);
    flag("multiline", field.multiline);
    // Airbyte folds optional fields otherwise.
    flag("always_show", !field.required && !field.advanced);
    made
}

fn value(kind: &FieldKind, schema: &Value) -> Map<String, Value> {
    let mut made = Map::new();
    for keyword in SHARED_KEYWORDS {
        if let Some(shared) = schema.get(keyword) {
            made.insert(keyword.to_owned(), shared.clone());
        }
    }
    match kind {
        FieldKind::Choice { choices } => {
            let values: Vec<Value> = choices.iter().map(|choice| choice.value.clone()).collect();
            if values.iter().all(Value::is_string) {
                made.insert("type".to_owned(), "string".into());
            }
            made.insert("enum".to_owned(), values.into());
        }
        FieldKind::List { of } => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            made.insert("items".to_owned(), value(of, items).into());
        }
        FieldKind::Url => {
            made.insert("format".to_owned(), "uri".into());
        }
        FieldKind::Date => {
            made.insert("format".to_owned(), "date".into());
            if !made.contains_key("pattern") {
                made.insert("pattern".to_owned(), DAY.into());
                made.insert("pattern_descriptor".to_owned(), "YYYY-MM-DD".into());
            }
        }
        _ => {}
    }
    made
}

fn alternatives(tag: &str, branches: &[Choice], schema: &Value) -> Map<String, Value> {
    let schemas = schema.get("oneOf").and_then(Value::as_array);
    let schemas = schemas.map_or(&[][..], Vec::as_slice);
    let branch = |(branch, schema): (&Choice, &Value)| {
        let mut made = object(&branch.fields, schema, 1);
        made.insert("title".to_owned(), branch.title.clone().into());
        let mut constant = json!({ "const": branch.value, "order": 0 });
        if branch.value.is_string() {
            constant["type"] = "string".into();
        }
        if let Some(Value::Object(properties)) = made.get_mut("properties") {
            properties.insert(tag.to_owned(), constant);
        }
        Value::Object(made)
    };
    let display = match branches.len() {
        0..=MAX_RADIOS => "radio",
        _ => "dropdown",
    };
    let mut made = Map::new();
    made.insert("type".to_owned(), "object".into());
    made.insert("display_type".to_owned(), display.into());
    let branches: Vec<Value> = branches.iter().zip(schemas).map(branch).collect();
    made.insert("oneOf".to_owned(), branches.into());
    if let Some(default) = schema.get("default") {
        made.insert("default".to_owned(), default.clone());
    }
    made
}

/// Returns the description, extended by the hints that Airbyte has no keyword for.
fn description(field: &Field) -> String {
    let mut text = field.description.clone();
    let choices = match &field.kind {
        FieldKind::Choice { choices } => choices.as_slice(),
        FieldKind::List { of } => match of.as_ref() {
            FieldKind::Choice { choices } => choices.as_slice(),
            _ => &[],
        },
        _ => &[],
    };
    let labelled = choices
        .iter()
        .filter_map(|choice| Some((choice.value.as_str()?, choice.title.as_str())))
        .filter(|(value, title)| value != title);
    for (number, (value, title)) in labelled.enumerate() {
        let before = if number == 0 { " " } else { "; " };
        text.push_str(&format!("{before}{value}: {title}"));
    }
    if let Some(help) = &field.help {
        text.push_str(&format!(" Where to find it: {help}"));
    }
    text
}

/// Returns the headings of the form, in their order.
fn groups(fields: &[Field]) -> Vec<Value> {
    let mut titles: Vec<&String> = Vec::new();
    for title in fields.iter().filter_map(|field| field.group.as_ref()) {
        if !titles.contains(&title) {
            titles.push(title);
        }
    }
    let group = |title: &String| json!({ "id": group_id(title), "title": title });
    titles.into_iter().map(group).collect()
}

fn group_id(title: &str) -> String {
    title.to_lowercase().replace(' ', "_")
}
