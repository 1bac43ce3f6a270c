//! A redacted record is JSON with the same members, and without the addresses and names of its classed fields.
#![no_main]

use headwater_core::{Secret, StreamSpec};
use headwater_host::{Redaction, Redactor};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": { "type": "string" },
            "owner": { "type": "string", "x-headwater": { "class": "email" } },
            "people": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": { "name": { "type": "string", "x-headwater": { "class": "person_name" } } },
                },
            },
        },
    })
}

/// Whether a text is a value anywhere in a record.
fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(items) => items.iter().any(|item| holds(item, text)),
        Value::Object(members) => members.values().any(|member| holds(member, text)),
        _ => false,
    }
}

fuzz_target!(|data: &[u8]| {
    let spec = StreamSpec {
        name: "things",
        description: "Things.",
        key: &["id"],
        cursor: None,
        incremental: false,
        schema,
    };
    let redaction = Redaction {
        key: Some(Secret::new("a key of many bytes")),
        ..Redaction::default()
    };
    let Ok(mut redactor) = Redactor::new(&spec, &redaction) else {
        panic!("the schema can be redacted");
    };
    let Ok((body, spans)) = redactor.records(data, &[0..data.len()]) else {
        return;
    };
    let Ok(before) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let after: Value = serde_json::from_slice(&body[spans[0].clone()]).expect("JSON stays JSON");
    let names = |value: &Value| {
        let members = value.as_object().into_iter().flatten();
        members.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&before), names(&after));
    if let Some(owner) = before["owner"].as_str().filter(|owner| owner.contains('@')) {
        assert!(!holds(&after["owner"], owner), "an address is left");
    }
    let people = before["people"].as_array().into_iter().flatten();
    for (at, person) in people.enumerate() {
        if let Some(name) = person["name"].as_str().filter(|name| name.trim().len() > 1) {
            let left = &after["people"][at]["name"];
            assert!(
                left.as_str().is_some_and(|left| left.starts_with("Rep-")),
                "{name} is left"
            );
        }
    }
});
