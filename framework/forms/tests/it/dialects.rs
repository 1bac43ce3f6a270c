//! A form with one field of every kind in the languages of other platforms.

use crate::sample::{good, sample};
use headwater_core::Kind;
use headwater_forms::Dialect;
use jsonschema::Draft;
use serde_json::{Value, json};

fn export(dialect: Dialect) -> Value {
    let sample = sample();
    dialect.export(&*sample, &sample.form().unwrap())
}

/// What is wrong with an answer by the schema of a dialect.
fn errors(dialect: Dialect, answer: &Value) -> Vec<String> {
    let exported = export(dialect);
    let (draft, schema) = match dialect {
        Dialect::Airbyte => (Draft::Draft7, &exported["connectionSpecification"]),
        Dialect::Rjsf => (Draft::Draft7, &exported["schema"]),
        _ => (Draft::Draft202012, &exported),
    };
    let options = jsonschema::options().with_draft(draft);
    let validator = options.should_validate_formats(true).build(schema).unwrap();
    validator
        .iter_errors(answer)
        .map(|error| error.to_string())
        .collect()
}

const WITH_SCHEMA: [Dialect; 3] = [Dialect::Airbyte, Dialect::JsonSchema, Dialect::Rjsf];

#[test]
fn every_dialect_of_every_kind_of_field() {
    for dialect in Dialect::ALL {
        insta::assert_json_snapshot!(dialect.name(), export(dialect));
    }
}

#[test]
fn a_good_answer_passes_in_every_dialect_that_judges() {
    for dialect in WITH_SCHEMA {
        assert_eq!(errors(dialect, &good()), [""; 0], "{dialect:?}");
    }
}

#[test]
fn a_bad_answer_is_refused_in_every_dialect_that_can_say_why() {
    let table = [
        ("/api_key", json!("")),
        ("/api_key", json!("two words")),
        ("/api_key", json!(7)),
        ("/base_url", json!("http://example.com")),
        ("/since", json!("yesterday")),
        ("/since", json!("2026-13-01")),
        ("/archived", json!("yes")),
        ("/rate", json!(0)),
        ("/rate", json!(51)),
        ("/first", json!(1.5)),
        ("/share", json!(2)),
        ("/tags", json!(["a", "b", "c", "d"])),
        ("/tags", json!([1])),
        ("/region", json!("mars")),
        ("/auth", json!({ "method": "none" })),
        ("/auth", json!({ "method": "token" })),
        (
            "/auth",
            json!({ "method": "password", "user": "a", "password": "p" }),
        ),
    ];
    for (pointer, value) in table {
        let mut answer = good();
        *answer.pointer_mut(pointer).unwrap() = value.clone();
        for dialect in WITH_SCHEMA {
            let errors = errors(dialect, &answer);
            assert!(!errors.is_empty(), "{dialect:?} takes {pointer}: {value}");
        }
    }
    let mut answer = good();
    answer.as_object_mut().unwrap().remove("api_key");
    for dialect in WITH_SCHEMA {
        assert_eq!(errors(dialect, &answer).len(), 1, "{dialect:?}");
    }
}

#[test]
fn what_airbyte_cannot_say_is_that_a_form_is_closed() {
    let mut answer = good();
    answer["apikey"] = "typo".into();
    assert_eq!(errors(Dialect::Airbyte, &answer), [""; 0]);
    assert_eq!(errors(Dialect::JsonSchema, &answer).len(), 1);
    assert_eq!(errors(Dialect::Rjsf, &answer).len(), 1);
}

#[test]
fn an_unknown_dialect_is_told_all_of_them() {
    for dialect in Dialect::ALL {
        assert_eq!(Dialect::named(dialect.name()).unwrap(), dialect);
    }
    let error = Dialect::named("jsonforms").unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(
        error.message(),
        "there is no dialect \"jsonforms\"; there are airbyte, json-schema, meltano, rjsf"
    );
}

#[test]
fn meltano_lists_what_each_combination_of_alternatives_needs() {
    let exported = export(Dialect::Meltano);
    let rows = exported["settings"].as_array().unwrap();
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        exported["settings_group_validation"],
        json!([
            ["api_key", "since", "region", "auth.method", "auth.token"],
            [
                "api_key",
                "since",
                "region",
                "auth.method",
                "auth.user",
                "auth.password"
            ],
        ])
    );
    let needed = exported["settings_group_validation"].as_array().unwrap();
    for name in needed.iter().flat_map(|set| set.as_array().unwrap()) {
        assert!(names.contains(&name.as_str().unwrap()), "{name}");
    }
    let sensitive: Vec<&str> = rows
        .iter()
        .filter(|row| row["sensitive"] == true)
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(sensitive, ["api_key", "auth.token", "auth.password"]);
}
