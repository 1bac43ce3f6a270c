//! Every rule can fail: connectors that break each of them.

use std::sync::Arc;

use headwater_core::{
    About, AnyConnector, Context, Error, FieldError, Kind, Result, Source, StreamSpec, ValidConfig,
};
use headwater_testkit::conformance::check;
use serde_json::{Value, json};

struct Broken {
    about: &'static About,
    schema: Value,
    catalog: Vec<StreamSpec>,
}

impl AnyConnector for Broken {
    fn about(&self) -> &'static About {
        self.about
    }

    fn schema(&self) -> Value {
        self.schema.clone()
    }

    fn catalog(&self) -> Vec<StreamSpec> {
        self.catalog.clone()
    }

    /// Misses nothing, knows every field, and repeats what it was given.
    fn validate(&self, answer: Value) -> std::result::Result<ValidConfig, Vec<FieldError>> {
        Err(vec![FieldError {
            pointer: "/other".to_owned(),
            code: "type".into(),
            message: answer.to_string(),
        }])
    }

    fn open(&self, _: &ValidConfig, _: &Context) -> Result<Arc<dyn Source>> {
        Err(Error::new(
            Kind::Unsupported,
            "only its declarations are looked at",
        ))
    }
}

fn broken_rules(connector: &Broken) -> Vec<String> {
    let broken = check(connector);
    broken
        .iter()
        .filter_map(|line| line.split(": ").nth(1))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_form_outside_the_profile_and_streams_without_keys_are_found() {
    const ABOUT: About = About {
        id: "Bad Id",
        name: "Bad",
        summary: "",
        docs: "",
        guide: &[],
    };
    let stream = StreamSpec {
        name: "twins",
        description: "",
        key: &["nowhere"],
        cursor: None,
        incremental: false,
        schema: || json!({ "properties": {} }),
    };
    let connector = Broken {
        about: &ABOUT,
        schema: json!({ "type": "object", "properties": { "a": { "type": "string" } } }),
        catalog: vec![stream.clone(), stream],
    };
    let rules = broken_rules(&connector);
    for rule in [
        "the id is kebab case",
        "the form keeps the profile",
        "streams have names, keys and schemas",
    ] {
        assert!(
            rules.iter().any(|broken| broken == rule),
            "{rule} in {rules:?}"
        );
    }
}

#[test]
fn a_form_that_leaks_and_lets_everything_pass_is_found() {
    const ABOUT: About = About {
        id: "leaky",
        name: "Leaky",
        summary: "",
        docs: "",
        guide: &[],
    };
    let field = |order: u64| {
        json!({
            "type": "string", "title": "A", "description": "B", "x-headwater": { "order": order },
        })
    };
    let mut secret = field(1);
    secret["format"] = "password".into();
    secret["writeOnly"] = true.into();
    let connector = Broken {
        about: &ABOUT,
        schema: json!({
            "type": "object",
            "properties": { "key": secret, "name": field(2) },
            "required": ["key"],
        }),
        catalog: Vec::new(),
    };
    let rules = broken_rules(&connector);
    for rule in [
        "the form has a secret and a destination",
        "an empty answer misses exactly the required fields",
        "an unknown field is refused",
        "no error shows a value",
        "the guide explains every secret",
        "streams have names, keys and schemas",
    ] {
        assert!(
            rules.iter().any(|broken| broken == rule),
            "{rule} in {rules:?}"
        );
    }
}

#[test]
fn personal_data_without_a_class_and_keys_that_redaction_would_spoil_are_found() {
    const ABOUT: About = About {
        id: "open",
        name: "Open",
        summary: "",
        docs: "",
        guide: &[],
    };
    let connector = Broken {
        about: &ABOUT,
        schema: json!({ "type": "object", "properties": {} }),
        catalog: vec![StreamSpec {
            name: "people",
            description: "A person.",
            key: &["name", "id"],
            cursor: None,
            incremental: false,
            schema: || {
                json!({ "properties": {
                    "name": { "type": "string", "x-headwater": { "class": "person_name" } },
                    "id": { "type": "string", "x-headwater": { "class": "email" } },
                    "has_email": { "type": "boolean" },
                    "emails": { "items": { "type": "string", "x-headwater": { "class": "email" } } },
                    "workPhone": { "type": ["string", "null"], "x-headwater": { "class": "fone" } },
                    "guests": { "type": "array", "items": { "anyOf": [
                        { "properties": { "e": { "type": "string" }, "OtherEmails": {
                            "additionalProperties": { "type": "string" },
                        } } },
                        { "type": "null" },
                    ] } },
                } })
            },
        }],
    };
    let problems = check(&connector);
    let of_rule = |rule: &str| {
        let of_rule = problems.iter().filter_map(|line| line.split_once(rule));
        of_rule.map(|(_, problem)| problem).collect::<Vec<_>>()
    };
    assert_eq!(
        of_rule("e-mail addresses and phone numbers have a class"),
        [
            ": people.guests.OtherEmails has none",
            ": people.workPhone has none"
        ]
    );
    assert_eq!(
        of_rule("a redacted key still identifies records"),
        [": people.name cannot have its class"]
    );
}
