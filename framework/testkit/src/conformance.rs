//! The rules for every connector. Each rule returns its violations, so that a test can show all of them.

use headwater_core::{AnyConnector, DataClass};
use headwater_forms::{Finding, lint};
use serde_json::Value;

/// Runs every rule; an empty result means that the connector keeps all of them.
pub fn check(connector: &dyn AnyConnector) -> Vec<String> {
    let id = connector.about().id;
    let findings = form_findings(connector).into_iter();
    let mut broken: Vec<String> = findings
        .map(|one| {
            format!(
                "{id}: {}: {}: {}; {}",
                one.rule, one.pointer, one.message, one.remedy
            )
        })
        .collect();
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

/// The rules with their names, in addition to those of forms.
const RULES: &[(&str, Rule)] = &[
    ("the id is kebab case", id_is_kebab_case),
    (
        "streams have names, keys and schemas",
        streams_are_described,
    ),
    (
        "e-mail addresses and phone numbers have a class",
        addresses_have_a_class,
    ),
    (
        "a redacted key still identifies records",
        redacted_keys_identify_records,
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

/// Returns the findings of the form, which its author also sees before compiling.
fn form_findings(connector: &dyn AnyConnector) -> Vec<Finding> {
    let judge = |answer: Value| connector.validate(answer).err().unwrap_or_default();
    lint(&connector.schema(), Some(connector.about().guide), &judge)
}

fn streams_are_described(connector: &dyn AnyConnector) -> Vec<String> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    for spec in connector.catalog() {
        let schema = (spec.schema)();
        let has_property =
            |name: &str| schema["properties"].get(name).is_some_and(Value::is_object);
        if names.contains(&spec.name) {
            problems.push(format!("two streams have the name {}", spec.name));
        }
        names.push(spec.name);
        if spec.description.is_empty() || spec.key.is_empty() {
            problems.push(format!("{} lacks a description or a key", spec.name));
        }
        for name in spec.key.iter().copied().chain(spec.cursor) {
            if !has_property(name) {
                problems.push(format!("{} has no field {name} in its schema", spec.name));
            }
        }
    }
    if names.is_empty() {
        problems.push("there are no streams".to_owned());
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

/// Checks every property of a schema, at any depth, whose name reveals the content of its texts.
fn find_unclassed(schema: &Value, at: &str, problems: &mut Vec<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let at = format!("{at}.{name}");
        let lower = name.to_lowercase();
        let is_contact = lower.contains("email") || lower.contains("phone");
        if is_contact && has_unclassed_text(property) {
            problems.push(format!("{at} has none"));
        }
        find_unclassed(property, &at, problems);
    }
    for part in parts(schema) {
        find_unclassed(part, at, problems);
    }
}

/// Returns whether a schema allows texts, directly or in a list or map, without a known class.
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

/// Returns the composed schemas of a schema, and those of its list and map values.
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

/// Checks the classes of keys: pseudonyms of names are short, and redaction cuts or removes values of other classes.
fn redacted_keys_identify_records(connector: &dyn AnyConnector) -> Vec<String> {
    let mut problems = Vec::new();
    for spec in connector.catalog() {
        let schema = (spec.schema)();
        for name in spec.key.iter().copied().chain(spec.cursor) {
            let class = DataClass::of(&schema["properties"][name]);
            if !matches!(class, Ok(None | Some(DataClass::Email | DataClass::Phone))) {
                problems.push(format!("{}.{name} cannot have its class", spec.name));
            }
        }
    }
    problems
}
