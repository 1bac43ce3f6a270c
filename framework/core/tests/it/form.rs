//! The form model, and every way in which a schema can leave its profile.

use crate::sample::{good, sample};
use headwater_core::{FieldKind, FormModel, ProfileViolation};
use serde_json::{Value, json};

#[test]
fn the_form_model_of_every_kind_of_field() {
    insta::assert_json_snapshot!(sample().form().unwrap());
}

#[test]
fn inputs_are_the_fields_of_all_alternatives_in_the_order_of_the_form() {
    let form = sample().form().unwrap();
    let pointers: Vec<&str> = form.inputs().iter().map(|field| &*field.pointer).collect();
    assert_eq!(
        pointers,
        [
            "/api_key",
            "/base_url",
            "/since",
            "/archived",
            "/rate",
            "/first",
            "/share",
            "/tags",
            "/region",
            "/fallback",
            "/auth/token",
            "/auth/user",
            "/auth/password",
        ]
    );
    // The sample answer really has one value of every field at the top.
    assert_eq!(good().as_object().unwrap().len(), form.fields.len());
}

#[test]
fn inputs_of_an_answer_are_those_of_the_chosen_alternative() {
    let form = sample().form().unwrap();
    let of = |answer: Value| -> Vec<String> {
        let inputs = form.inputs_of(&answer);
        let pointers = inputs.iter().map(|field| field.pointer.clone());
        pointers
            .filter(|pointer| pointer.starts_with("/auth/"))
            .collect()
    };
    assert_eq!(of(good()), ["/auth/user", "/auth/password"]);
    assert_eq!(
        of(json!({ "auth": { "method": "token" } })),
        ["/auth/token"]
    );
    for undecided in [
        json!({}),
        json!({ "auth": {} }),
        json!({ "auth": { "method": "x" } }),
        json!(1),
    ] {
        assert_eq!(of(undecided), [""; 0]);
    }
    assert_eq!(form.inputs_of(&json!({})).len(), form.inputs().len() - 3);
}

#[test]
fn the_schema_is_titled_closed_and_free_of_nulls_and_references() {
    let schema = sample().schema();
    assert_eq!(schema["title"], "Sample");
    assert_eq!(schema["additionalProperties"], false);
    let text = schema.to_string();
    for absent in ["null", "$ref", "$defs", "anyOf", "uint"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
}

/// A field that keeps the profile.
fn field(order: u64, more: Value) -> Value {
    let mut field = json!({
        "title": "T", "description": "D", "type": "string", "x-headwater": { "order": order },
    });
    let more = more.as_object().unwrap().clone();
    field.as_object_mut().unwrap().extend(more);
    field
}

fn read(properties: Value) -> Result<FormModel, Vec<ProfileViolation>> {
    FormModel::from_schema(
        "X",
        &[],
        &json!({ "type": "object", "properties": properties }),
    )
}

/// The violations of a form, as shown.
fn violations(properties: Value) -> Vec<String> {
    let found = read(properties).err().unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn each_departure_from_the_profile_is_found_at_its_field() {
    let inner = json!({ "type": "object", "properties": { "x": field(1, json!({})) } });
    let group = field(1, inner.clone());
    let branch = |tag: &str| json!({ "type": "object", "properties": { "kind": { "const": tag }, "x": field(1, json!({})) } });
    let table = [
        (
            field(1, json!({ "title": "" })),
            "/f: every field has a title",
        ),
        (
            field(1, json!({ "description": null })),
            "/f: every field has a description",
        ),
        (
            field(1, json!({ "type": "boolean" })),
            "/f: a boolean has a default",
        ),
        (
            field(
                1,
                json!({ "format": "password", "writeOnly": true, "default": "" }),
            ),
            "/f: a secret is write-only and has no default",
        ),
        (
            field(1, json!({ "format": "password" })),
            "/f: a secret is write-only and has no default",
        ),
        (
            field(1, json!({ "type": ["string", "integer"] })),
            "/f: a field has a type that a form can show",
        ),
        (
            field(1, json!({ "type": "null" })),
            "/f: a field has a type that a form can show",
        ),
        (
            field(1, json!({ "type": "array", "items": inner })),
            "/f: a list holds scalars",
        ),
        (
            field(
                1,
                json!({ "type": "array", "items": { "type": "array", "items": { "type": "string" } } }),
            ),
            "/f: a list holds scalars",
        ),
        (
            field(1, json!({ "type": "array" })),
            "/f: a list holds scalars",
        ),
        (
            field(1, json!({ "type": "object", "properties": { "g": group } })),
            "/f/g: a form has one level of grouping",
        ),
        (
            field(1, json!({ "type": "object" })),
            "/f: a form and a group are objects with properties",
        ),
        (
            field(
                1,
                json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }] }),
            ),
            "/f: alternatives have a common property with a constant",
        ),
        (
            field(
                1,
                json!({ "oneOf": [branch("a"), { "type": "object", "properties": {} }] }),
            ),
            "/f: alternatives have a common property with a constant",
        ),
        (
            field(
                1,
                json!({
                    "type": "object",
                    "properties": { "o": field(1, json!({ "oneOf": [branch("a"), branch("b")] })) },
                }),
            ),
            "/f/o: alternatives are at the top level of a form",
        ),
    ];
    for (field, violation) in table {
        let found = violations(json!({ "f": field }));
        assert!(
            found.iter().any(|one| one == violation),
            "{violation}: {found:?}"
        );
    }
}

#[test]
fn two_fields_of_one_order_are_a_violation_at_every_level() {
    let twice = json!({ "a": field(1, json!({})), "b": field(1, json!({})) });
    assert_eq!(
        violations(twice.clone()),
        [": every field has an order of its own"]
    );
    let group = field(1, json!({ "type": "object", "properties": twice }));
    assert_eq!(
        violations(json!({ "g": group })),
        ["/g: every field has an order of its own"]
    );
}

#[test]
fn every_violation_is_reported_and_not_just_the_first() {
    let found = violations(json!({
        "a": { "x-headwater": { "order": 1 } },
        "b": field(2, json!({ "type": "boolean", "title": "" })),
    }));
    assert_eq!(
        found,
        [
            "/a: every field has a title",
            "/a: every field has a description",
            "/a: a field has a type that a form can show",
            "/b: every field has a title",
            "/b: a boolean has a default",
        ]
    );
}

#[test]
fn a_field_with_a_default_is_not_required() {
    let schema = json!({
        "properties": { "a": field(2, json!({})), "b": field(1, json!({ "default": "x" })) },
        "required": ["a", "b"],
    });
    let form = FormModel::from_schema("X", &[], &schema).unwrap();
    let required: Vec<bool> = form.fields.iter().map(|field| field.required).collect();
    assert_eq!(required, [false, true]);
}

#[test]
fn constants_with_titles_are_a_choice() {
    let field = field(
        1,
        json!({ "oneOf": [
        { "const": "eu", "title": "Europe" },
        { "const": "us", "description": "America" },
        { "const": 3 },
    ] }),
    );
    let form = read(json!({ "f": field })).unwrap();
    let FieldKind::Choice { choices } = &form.fields[0].kind else {
        panic!("{:?}", form.fields[0].kind);
    };
    let titles: Vec<&str> = choices.iter().map(|choice| &*choice.title).collect();
    assert_eq!(titles, ["Europe", "America", "3"]);
}
