//! react-jsonschema-form: `schema` of draft 7 and `uiSchema`.
//!
//! Its core has no headings, no folding and no message for a pattern. A password widget only hides the typing: the host
//! still has to keep stored secrets out of its responses.

use headwater_core::{Field, FieldKind, FormModel, NAMESPACE, tag_of};
use serde_json::{Map, Value, json};

pub(super) fn form(form: &FormModel, schema: &Value) -> Value {
    let mut schema = plain(schema);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    json!({ "schema": schema, "uiSchema": fields(&form.fields, None) })
}

/// Returns the schema without our hints and with labels where that library reads them.
fn plain(schema: &Value) -> Value {
    let Some(keywords) = schema.as_object() else {
        return schema.clone();
    };
    let mut made = Map::new();
    for (name, value) in keywords {
        let value = match (name.as_str(), value) {
            (NAMESPACE, _) => continue,
            ("properties", Value::Object(properties)) => properties
                .iter()
                .map(|(name, property)| (name.clone(), plain(property)))
                .collect(),
            ("oneOf", Value::Array(branches)) => branches.iter().map(plain).collect(),
            ("items", items) => plain(items),
            (_, value) => value.clone(),
        };
        made.insert(name.clone(), value);
    }
    if let Some(Value::Array(branches)) = keywords.get("oneOf")
        && let Some(tag) = tag_of(branches)
    {
        made.insert("discriminator".to_owned(), json!({ "propertyName": tag }));
    }
    // The label of one value of a choice.
    if made.contains_key("const") && !made.contains_key("title") {
        let label = made.remove("description");
        made.extend(label.map(|label| ("title".to_owned(), label)));
    }
    made.into()
}

fn fields(fields: &[Field], tag: Option<&str>) -> Value {
    let mut made = Map::new();
    let keys = fields.iter().map(Field::key);
    let order: Vec<String> = tag.map(str::to_owned).into_iter().chain(keys).collect();
    made.insert("ui:order".to_owned(), json!(order));
    if let Some(tag) = tag {
        made.insert(tag.to_owned(), json!({ "ui:widget": "hidden" }));
    }
    for field in fields {
        let hints = hints(field);
        if !hints.is_empty() {
            made.insert(field.key(), hints.into());
        }
    }
    made.into()
}

fn hints(field: &Field) -> Map<String, Value> {
    let mut made = Map::new();
    let mut set = |name: &str, value: &str| {
        made.insert(name.to_owned(), value.into());
    };
    if field.kind == FieldKind::Secret {
        set("ui:widget", "password");
        set("ui:autocomplete", "new-password");
    } else if field.multiline {
        set("ui:widget", "textarea");
    }
    if let Some(help) = &field.help {
        set("ui:help", help);
    }
    if let Some(example) = &field.placeholder {
        set("ui:placeholder", example);
    }
    match &field.kind {
        FieldKind::Group { fields: inside } => {
            if let Value::Object(inside) = fields(inside, None) {
                made.extend(inside);
            }
        }
        FieldKind::OneOf { tag, branches } => {
            let inside = branches.iter().map(|one| fields(&one.fields, Some(tag)));
            made.insert("oneOf".to_owned(), inside.collect());
        }
        _ => {}
    }
    made
}
