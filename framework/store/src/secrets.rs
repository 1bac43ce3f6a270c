//! The secrets of a config, and the binding of their use.

use headwater_core::{Error, Field, FieldKind, FormModel, Kind, Result, Secret};
use headwater_host::references;
use serde_json::{Value, json};

/// Splits a config into the config without literal secrets, and the secrets by pointer. References stay: they are not
/// secrets.
pub(crate) fn split_secrets(
    form: &FormModel,
    answer: &Value,
) -> Result<(Value, Vec<(String, Secret)>)> {
    let mut config = answer.clone();
    let mut secrets = Vec::new();
    for field in form.inputs() {
        let Some(value) = config.pointer(&field.pointer) else {
            continue;
        };
        let refused = |what| Error::new(Kind::Unsupported, format!("{} {what}", field.title));
        match (&field.kind, value) {
            (FieldKind::Secret, Value::String(text)) if references::is_reference(text) => {}
            (FieldKind::Secret, Value::String(text)) => {
                secrets.push((field.pointer.clone(), Secret::new(text.as_str())));
                remove(&mut config, &field.pointer);
            }
            (FieldKind::Secret, _) => return Err(refused("is not a text, so it cannot be sealed")),
            (FieldKind::List { of }, _) if **of == FieldKind::Secret => {
                return Err(refused("is a list of secrets, which cannot be saved"));
            }
            _ => {}
        }
    }
    Ok((config, secrets))
}

fn remove(config: &mut Value, pointer: &str) {
    let (inside, name) = pointer.rsplit_once('/').unwrap_or_default();
    let name = name.replace("~1", "/").replace("~0", "~");
    if let Some(object) = config.pointer_mut(inside).and_then(Value::as_object_mut) {
        object.remove(&name);
    }
}

/// The use of the secrets of a config: the connector, the fields with the address of the service, and the chosen
/// alternatives. A secret is bound to it, and used for nothing else.
pub(crate) fn identity(form: &FormModel, connector: &str, answer: &Value) -> String {
    let destinations = form
        .inputs_of(answer)
        .into_iter()
        .filter(|field| field.destination)
        .map(|field| json!([field.pointer, destination(field, answer)]));
    let choices = form.fields.iter().filter_map(|field| match &field.kind {
        FieldKind::OneOf { tag, .. } => {
            let pointer = format!("{}/{tag}", field.pointer);
            Some(json!([pointer, answer.pointer(&pointer)]))
        }
        _ => None,
    });
    let parts: Vec<Value> = destinations.chain(choices).collect();
    json!([connector, parts]).to_string()
}

/// The address in its normal form, however it was written.
fn destination(field: &Field, answer: &Value) -> Value {
    let value = answer.pointer(&field.pointer).or(field.default.as_ref());
    match field.address(answer) {
        Some(url) => url.as_str().into(),
        None => value.cloned().unwrap_or(Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> FormModel {
        let secret = |order: u64| {
            json!({ "type": "string", "format": "password", "writeOnly": true, "title": "Key", "description": "It.",
                    "x-headwater": { "order": order } })
        };
        let branch = |tag: &str| {
            json!({ "type": "object", "title": tag, "required": ["by", "key"],
                    "properties": { "by": { "const": tag }, "key": secret(1) } })
        };
        let schema = json!({ "type": "object", "properties": {
            "auth": { "title": "Sign in", "description": "How.", "x-headwater": { "order": 1 },
                      "oneOf": [branch("key"), branch("token")] },
            "base_url": { "type": "string", "format": "uri", "title": "Base URL", "description": "Where.",
                          "default": "https://example.com/v1", "x-headwater": { "order": 2, "destination": true } },
            "note": { "type": "string", "title": "Note", "description": "Any.", "x-headwater": { "order": 3 } },
            "other": secret(4),
        }});
        FormModel::from_schema("Test", &[], &schema).unwrap()
    }

    #[test]
    fn literal_secrets_are_taken_out_and_nothing_else() {
        let answer =
            json!({ "auth": { "by": "key", "key": "canary" }, "other": "env:OTHER", "note": "x" });
        let (config, taken) = split_secrets(&form(), &answer).unwrap();
        assert_eq!(
            config,
            json!({ "auth": { "by": "key" }, "other": "env:OTHER", "note": "x" })
        );
        assert_eq!(taken.len(), 1);
        assert_eq!(
            (taken[0].0.as_str(), taken[0].1.expose()),
            ("/auth/key", "canary")
        );
    }

    #[test]
    fn a_destination_is_the_same_however_it_is_written() {
        let of = |answer: Value| identity(&form(), "c", &answer);
        let base = of(json!({ "auth": { "by": "key" } }));
        for same in ["https://example.com/v1", "https://EXAMPLE.com:443/v1/"] {
            assert_eq!(
                base,
                of(json!({ "auth": { "by": "key" }, "base_url": same, "note": "n" }))
            );
        }
        for other in [
            json!({ "auth": { "by": "token" } }),
            json!({ "auth": { "by": "key" }, "base_url": "https://example.com/v2" }),
            json!({ "auth": { "by": "key" }, "base_url": "https://example.org/v1" }),
            json!({ "auth": { "by": "key" }, "base_url": "https://example.com:8443/v1" }),
        ] {
            assert_ne!(base, of(other));
        }
        assert_ne!(
            base,
            identity(&form(), "d", &json!({ "auth": { "by": "key" } }))
        );
    }
}
