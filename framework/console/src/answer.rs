//! Reads a submitted form as the JSON answer that a connector validates.

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::{Choice, Field, FieldError, FieldKind, FormModel};
use serde_json::{Map, Value};

use crate::{
    inputs::{Branch, name, name_at, tag_name, text_of},
    messages::{Messages, fill},
};

/// The name of the inputs that remove a saved secret.
pub(crate) const REMOVE: &str = "remove";

/// Reads the pairs of a submitted form.
///
/// Alternatives that were not chosen are left out, whatever their inputs hold. An empty input and the field's default are
/// absent, so that a default may change later. An absent secret keeps the saved one; null removes it. A value that does
/// not parse as its kind stays text, so that validation reports it.
pub fn answer(form: &FormModel, pairs: impl IntoIterator<Item = (String, String)>) -> Value {
    let mut typed = TypedInputs::default();
    for (name, text) in pairs {
        let text = text.replace("\r\n", "\n");
        typed.0.entry(name).or_default().push(text);
    }
    Value::Object(typed.object(&form.fields, None))
}

/// The saved config as its unchanged form would send it: without defaults.
pub(crate) fn as_sent(fields: &[Field], saved: &Value) -> Value {
    let mut sent = Map::new();
    for field in fields {
        let Some(value) = saved.get(field.key()) else {
            continue;
        };
        let value = match &field.kind {
            FieldKind::Group { fields } => as_sent(fields, value),
            FieldKind::OneOf { tag, branches } => alternative_as_sent(tag, branches, value),
            _ => value.clone(),
        };
        let is_empty = value.as_object().is_some_and(Map::is_empty) && !field.required;
        if !is_default(field, &value) && !is_empty {
            sent.insert(field.key(), value);
        }
    }
    Value::Object(sent)
}

fn alternative_as_sent(tag: &str, branches: &[Choice], value: &Value) -> Value {
    let chosen = branches
        .iter()
        .find(|branch| value.get(tag) == Some(&branch.value));
    let Some(chosen) = chosen else {
        return value.clone();
    };
    let mut sent = as_sent(&chosen.fields, value);
    if let Some(object) = sent.as_object_mut() {
        object.insert(tag.to_owned(), chosen.value.clone());
    }
    sent
}

/// Errors for secrets that were to be replaced and are empty. `replacing` has the names of their inputs.
pub fn left_empty(
    form: &FormModel,
    answer: &Value,
    replacing: &BTreeSet<String>,
    text: &Messages,
) -> Vec<FieldError> {
    let inputs = form.inputs_of(answer).into_iter();
    let empty = inputs.filter(|field| {
        let own = name_at(&form.fields, answer, &field.pointer);
        field.kind == FieldKind::Secret
            && answer.pointer(&field.pointer).is_none()
            && own.is_some_and(|name| replacing.contains(&name))
    });
    let error = |field: &Field| FieldError {
        pointer: field.pointer.clone(),
        code: "required".into(),
        message: fill(&text.script.empty, &[("field", &field.title)]),
    };
    empty.map(error).collect()
}

/// The submitted texts, by the names of their inputs.
#[derive(Default)]
struct TypedInputs(BTreeMap<String, Vec<String>>);

impl TypedInputs {
    fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn last(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    fn object(&self, fields: &[Field], branch: Branch) -> Map<String, Value> {
        let value = |field: &Field| Some((field.key(), self.value(field, branch)?));
        fields.iter().filter_map(value).collect()
    }

    fn value(&self, field: &Field, branch: Branch) -> Option<Value> {
        let name = name(&field.pointer, branch);
        let value = match &field.kind {
            FieldKind::Group { fields } => {
                let object = self.object(fields, branch);
                let is_absent = object.is_empty() && !field.required;
                return (!is_absent).then_some(Value::Object(object));
            }
            FieldKind::OneOf { tag, branches } => return self.alternative(field, tag, branches),
            FieldKind::Secret => return self.secret(&name),
            FieldKind::Boolean => Value::Bool(self.last(&name)? == "true"),
            FieldKind::List { of } => self.list(field, of, &name)?,
            kind => scalar(kind, self.last(&name)?)?,
        };
        (!is_default(field, &value)).then_some(value)
    }

    fn secret(&self, name: &str) -> Option<Value> {
        let typed = self.last(name).filter(|text| !text.is_empty());
        if let Some(text) = typed {
            return Some(text.into());
        }
        let is_removed = self.all(REMOVE).iter().any(|removed| removed == name);
        is_removed.then_some(Value::Null)
    }

    fn alternative(&self, field: &Field, tag: &str, branches: &[Choice]) -> Option<Value> {
        let text = self.last(&tag_name(field, tag))?;
        let number = branches
            .iter()
            .position(|branch| text_of(&branch.value) == text);
        let (value, mut object) = match number {
            Some(number) => {
                let branch = &branches[number];
                (
                    branch.value.clone(),
                    self.object(&branch.fields, Some(number)),
                )
            }
            None if text.is_empty() => return None,
            None => (text.into(), Map::new()),
        };
        object.insert(tag.to_owned(), value);
        Some(Value::Object(object))
    }

    /// Choices are several inputs of one name, anything else is one value per line.
    fn list(&self, field: &Field, of: &FieldKind, name: &str) -> Option<Value> {
        let texts = self.0.get(name)?.iter();
        let values: Vec<Value> = match of {
            FieldKind::Choice { .. } => texts.filter_map(|text| scalar(of, text)).collect(),
            _ => texts
                .flat_map(|text| text.split('\n'))
                .filter_map(|line| scalar(of, line.trim()))
                .collect(),
        };
        let has_default = field.default.is_some();
        (!values.is_empty() || has_default).then_some(Value::Array(values))
    }
}

fn scalar(kind: &FieldKind, text: &str) -> Option<Value> {
    if let FieldKind::Choice { choices } = kind {
        let choice = choices.iter().find(|choice| text_of(&choice.value) == text);
        if let Some(choice) = choice {
            return Some(choice.value.clone());
        }
    }
    if text.is_empty() {
        return None;
    }
    let value = match kind {
        FieldKind::Integer | FieldKind::Number => text.trim().parse().ok().map(Value::Number),
        FieldKind::Boolean => text.parse().ok().map(Value::Bool),
        _ => None,
    };
    Some(value.unwrap_or_else(|| text.into()))
}

fn is_default(field: &Field, value: &Value) -> bool {
    let default = field.default.as_ref();
    default.is_some_and(|default| is_same(default, value))
}

/// Whether two values are the same, however their numbers are written: 5.0 is 5.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() != other.is_f64() => {
            one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len() && pairs.all(|(one, other)| is_same(one, other))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form() -> FormModel {
        let field = |order: u64, more: Value| {
            let mut field = json!({ "title": "A field", "description": "It.", "x-headwater": { "order": order } });
            field
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            field
        };
        let secret = |order| {
            field(
                order,
                json!({ "type": "string", "format": "password", "writeOnly": true }),
            )
        };
        let branch = |tag: &str| json!({ "title": tag, "properties": { "by": { "const": tag }, "key": secret(1) } });
        let schema = json!({ "type": "object", "required": ["auth"], "properties": {
            "auth": field(1, json!({ "oneOf": [branch("key"), branch("token")] })),
            "base_url": field(2, json!({ "type": "string", "format": "uri", "default": "https://example.com" })),
            "first": field(3, json!({ "type": "integer" })),
            "share": field(4, json!({ "type": "number" })),
            "archived": field(5, json!({ "type": "boolean", "default": true })),
            "tags": field(6, json!({ "type": "array", "items": { "type": "string" } })),
            "types": field(7, json!({ "type": "array", "default": ["a"], "items": { "enum": ["a", "b"] } })),
            "extra": secret(8),
        }});
        FormModel::from_schema("Test", &[], &schema).unwrap()
    }

    fn of(pairs: &[(&str, &str)]) -> Value {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        answer(&form(), pairs.iter().map(owned))
    }

    #[test]
    fn values_have_the_types_of_their_fields() {
        let typed = of(&[
            ("/auth/by", "token"),
            ("1:/auth/key", "k"),
            ("/first", " 18446744073709551615 "),
            ("/share", "0.5"),
            ("/archived", "false"),
            ("/tags", "one\r\ntwo, three\r\n\r\n"),
            ("/types", ""),
            ("/types", "b"),
        ]);
        assert_eq!(
            typed,
            json!({ "auth": { "by": "token", "key": "k" }, "first": u64::MAX, "share": 0.5, "archived": false,
                    "tags": ["one", "two, three"], "types": ["b"] })
        );
    }

    #[test]
    fn a_number_is_what_json_takes_for_one() {
        for text in ["+5", "007", "5.", ".5", "1e400", "0x10", "NaN"] {
            let typed = of(&[("/first", text), ("/share", text)]);
            assert_eq!(typed, json!({ "first": text, "share": text }));
        }
    }

    #[test]
    fn a_default_is_absent_however_its_number_is_written() {
        let schema = json!({ "type": "object", "properties": { "sizes": {
            "title": "Sizes", "description": "Them.", "x-headwater": { "order": 1 },
            "type": "array", "items": { "type": "number" }, "default": [5, 0.1],
        }}});
        let form = FormModel::from_schema("Test", &[], &schema).unwrap();
        let typed = |text: &str| answer(&form, [("/sizes".to_owned(), text.to_owned())]);
        assert_eq!(typed("5.0\n0.10"), json!({}));
        assert_eq!(typed("5"), json!({ "sizes": [5] }));
    }

    #[test]
    fn a_choice_is_taken_with_its_blanks_and_line_breaks() {
        let schema = json!({ "type": "object", "properties": { "marks": {
            "title": "Marks", "description": "Them.", "x-headwater": { "order": 1 },
            "type": "array", "items": { "enum": ["a ", "two\nlines"] },
        }}});
        let form = FormModel::from_schema("Test", &[], &schema).unwrap();
        let pairs = ["", "a ", "two\r\nlines"].map(|text| ("/marks".to_owned(), text.to_owned()));
        assert_eq!(
            answer(&form, pairs),
            json!({ "marks": ["a ", "two\nlines"] })
        );
    }

    #[test]
    fn an_alternative_that_was_not_chosen_is_left_out() {
        let typed = of(&[
            ("/auth/by", "key"),
            ("0:/auth/key", "mine"),
            ("1:/auth/key", "canary"),
        ]);
        assert_eq!(typed, json!({ "auth": { "by": "key", "key": "mine" } }));
    }

    #[test]
    fn what_is_saved_is_sent_without_defaults() {
        let saved = json!({ "auth": { "by": "token" }, "base_url": "https://example.com", "first": 5, "types": ["b"] });
        let sent = json!({ "auth": { "by": "token" }, "first": 5, "types": ["b"] });
        assert_eq!(as_sent(&form().fields, &saved), sent);
    }

    #[test]
    fn an_unknown_alternative_is_left_for_validation() {
        assert_eq!(of(&[("/auth/by", "x")]), json!({ "auth": { "by": "x" } }));
    }

    #[test]
    fn empty_inputs_and_defaults_are_absent() {
        let typed = of(&[
            ("/auth/by", "key"),
            ("0:/auth/key", ""),
            ("/base_url", "https://example.com"),
            ("/first", ""),
            ("/archived", "false"),
            ("/archived", "true"),
            ("/tags", ""),
            ("/types", ""),
            ("/types", "a"),
        ]);
        assert_eq!(typed, json!({ "auth": { "by": "key" } }));
    }

    #[test]
    fn a_list_that_was_emptied_is_not_its_default() {
        assert_eq!(of(&[("/types", "")]), json!({ "types": [] }));
    }

    #[test]
    fn a_removed_secret_is_null_unless_a_new_one_was_typed() {
        assert_eq!(of(&[("remove", "/extra")]), json!({ "extra": null }));
        assert_eq!(
            of(&[("remove", "/extra"), ("/extra", "new")]),
            json!({ "extra": "new" })
        );
    }

    #[test]
    fn what_is_no_number_stays_text_and_other_names_are_ignored() {
        assert_eq!(
            of(&[("/first", "many"), ("title", "x"), ("/nothing", "x")]),
            json!({ "first": "many" })
        );
    }
}
