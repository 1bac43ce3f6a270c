//! The rules that every connector keeps. Each returns what is wrong, so that a test can show all of it.

use headwater_core::{AnyConnector, DataClass, FieldKind};
use serde_json::{Value, json};

/// Runs every rule; an empty answer means that the connector keeps them all.
pub fn check(connector: &dyn AnyConnector) -> Vec<String> {
    let mut broken = Vec::new();
    let id = connector.about().id;
    for (rule, check) in RULES {
        broken.extend(
            check(connector)
                .into_iter()
                .map(|problem| format!("{id}: {rule}: {problem}")),
        );
    }
    broken
}

type Rule = fn(&dyn AnyConnector) -> Vec<String>;

/// Each rule with its name.
const RULES: &[(&str, Rule)] = &[
    ("the id is kebab case", id_is_kebab_case),
    ("the form keeps the profile", form_keeps_the_profile),
    (
        "the form has a secret and a destination",
        form_has_a_secret_and_a_destination,
    ),
    (
        "an empty answer misses exactly the required fields",
        empty_answer_misses_required_fields,
    ),
    ("an unknown field is refused", unknown_field_is_refused),
    ("no error shows a value", no_error_shows_a_value),
    (
        "the guide explains every secret",
        guide_explains_every_secret,
    ),
    (
        "streams have names, keys and schemas",
        streams_are_described,
    ),
    (
        "e-mail addresses and phone numbers have a class",
        addresses_have_a_class,
    ),
    (
        "a redacted key tells records apart",
        redacted_keys_tell_records_apart,
    ),
];

fn id_is_kebab_case(connector: &dyn AnyConnector) -> Vec<String> {
    let id = connector.about().id;
    let is_kebab = !id.is_empty()
        && id.split('-').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        });
    if is_kebab {
        Vec::new()
    } else {
        vec![format!("{id:?} is not")]
    }
}

fn form_keeps_the_profile(connector: &dyn AnyConnector) -> Vec<String> {
    connector
        .form()
        .err()
        .into_iter()
        .flatten()
        .map(|violation| violation.to_string())
        .collect()
}

fn form_has_a_secret_and_a_destination(connector: &dyn AnyConnector) -> Vec<String> {
    let Ok(form) = connector.form() else {
        return Vec::new();
    };
    let inputs = form.inputs();
    let mut problems = Vec::new();
    if !inputs.iter().any(|field| field.kind == FieldKind::Secret) {
        problems.push("no field is a secret".to_owned());
    }
    if !inputs.iter().any(|field| field.destination) {
        problems.push("no field is a destination".to_owned());
    }
    problems
}

fn empty_answer_misses_required_fields(connector: &dyn AnyConnector) -> Vec<String> {
    let Ok(form) = connector.form() else {
        return Vec::new();
    };
    let mut expected: Vec<String> = form
        .fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.pointer.clone())
        .collect();
    expected.sort();
    let errors = connector.validate(json!({})).err().unwrap_or_default();
    let found: Vec<String> = errors.iter().map(|error| error.pointer.clone()).collect();
    if found == expected {
        Vec::new()
    } else {
        vec![format!("expected {expected:?}, found {found:?}")]
    }
}

fn unknown_field_is_refused(connector: &dyn AnyConnector) -> Vec<String> {
    let errors = connector
        .validate(json!({ "no_such_field": 1 }))
        .err()
        .unwrap_or_default();
    let is_refused = errors
        .iter()
        .any(|error| error.code == "unknown_field" && error.pointer == "/no_such_field");
    if is_refused {
        Vec::new()
    } else {
        vec!["it is accepted".to_owned()]
    }
}

fn no_error_shows_a_value(connector: &dyn AnyConnector) -> Vec<String> {
    const CANARY: &str = "canary 5c1f";
    let Ok(form) = connector.form() else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for value in [json!(CANARY), json!([CANARY]), json!({ CANARY: CANARY })] {
        let mut answer = json!({});
        for field in form
            .fields
            .iter()
            .filter(|field| field.pointer.matches('/').count() == 1)
        {
            answer[&field.pointer[1..]] = value.clone();
        }
        let shown = format!("{:?}", connector.validate(answer));
        if shown.contains("canary") {
            problems.push(shown);
        }
    }
    problems
}

fn guide_explains_every_secret(connector: &dyn AnyConnector) -> Vec<String> {
    let Ok(form) = connector.form() else {
        return Vec::new();
    };
    let steps = form.guide.len() as u64;
    form.inputs()
        .iter()
        .filter(|field| field.kind == FieldKind::Secret)
        .filter(|field| {
            !field
                .guide_step
                .is_some_and(|step| (1..=steps).contains(&step))
        })
        .map(|field| format!("{} names no step of the guide", field.pointer))
        .collect()
}

fn streams_are_described(connector: &dyn AnyConnector) -> Vec<String> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    for spec in connector.catalog() {
        let schema = (spec.schema)();
        let has_property =
            |name: &str| schema["properties"].get(name).is_some_and(Value::is_object);
        if names.contains(&spec.name) {
            problems.push(format!("two streams are called {}", spec.name));
        }
        names.push(spec.name);
        if spec.description.is_empty() || spec.key.is_empty() {
            problems.push(format!("{} lacks a description or a key", spec.name));
        }
        for name in spec.key.iter().chain(&spec.cursor) {
            if !has_property(name) {
                problems.push(format!("{} has no field {name} in its schema", spec.name));
            }
        }
    }
    if names.is_empty() {
        problems.push("there are none".to_owned());
    }
    problems
}

fn addresses_have_a_class(connector: &dyn AnyConnector) -> Vec<String> {
    let mut problems = Vec::new();
    for spec in connector.catalog() {
        find_unclassed(&(spec.schema)(), spec.name, &mut problems);
    }
    problems
}

/// Looks at every property of a schema, however deep, whose name says what its texts are.
fn find_unclassed(schema: &Value, at: &str, problems: &mut Vec<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let at = format!("{at}.{name}");
        let lower = name.to_lowercase();
        let is_telling = lower.contains("email") || lower.contains("phone");
        if is_telling && has_unclassed_text(property) {
            problems.push(format!("{at} has none"));
        }
        find_unclassed(property, &at, problems);
    }
    for part in parts(schema) {
        find_unclassed(part, at, problems);
    }
}

/// Whether a schema allows texts, themselves or in a list or map, that have no class or one that is not known.
fn has_unclassed_text(schema: &Value) -> bool {
    if let Ok(Some(_)) = DataClass::of(schema) {
        return false;
    }
    let allows_text = schema.get("type").is_some_and(|of| {
        of == "string"
            || of
                .as_array()
                .is_some_and(|names| names.iter().any(|name| name == "string"))
    });
    allows_text || parts(schema).into_iter().any(has_unclassed_text)
}

/// What a schema is composed of, and what stands in its lists and maps.
fn parts(schema: &Value) -> Vec<&Value> {
    let composed = ["anyOf", "oneOf", "allOf"]
        .into_iter()
        .filter_map(|keyword| schema.get(keyword)?.as_array())
        .flatten();
    let inside = ["items", "additionalProperties"]
        .into_iter()
        .filter_map(|keyword| schema.get(keyword));
    composed.chain(inside).collect()
}

/// Pseudonyms of names are short, and values of the other classes are cut or removed.
fn redacted_keys_tell_records_apart(connector: &dyn AnyConnector) -> Vec<String> {
    let mut problems = Vec::new();
    for spec in connector.catalog() {
        let schema = (spec.schema)();
        for name in spec.key.iter().chain(&spec.cursor) {
            let class = DataClass::of(&schema["properties"][*name]);
            if !matches!(class, Ok(None | Some(DataClass::Email | DataClass::Phone))) {
                problems.push(format!("{}.{name} cannot have its class", spec.name));
            }
        }
    }
    problems
}
