//! Drift and redaction in one pass, against one after the other.

use std::{hint::black_box, time::Instant};

use serde_json::{Value, json};

use super::*;
use crate::drift::DriftPolicy;

fn schema() -> Value {
    let text =
        |class: &str| json!({ "type": ["string", "null"], "x-headwater": { "class": class } });
    let person = json!({
        "type": "object",
        "required": ["email"],
        "properties": { "name": text("person_name"), "email": text("email") },
    });
    json!({
        "type": "object",
        "required": ["id", "status"],
        "properties": {
            "id": { "type": "string" },
            "status": { "enum": ["DONE", "FAILED"] },
            "length": { "type": ["integer", "null"] },
            "owner": { "anyOf": [person, { "type": "null" }] },
            "guests": { "type": ["array", "null"], "items": person },
            "notes": { "type": "object", "additionalProperties": text("free_text") },
            // A class on a value that has fields: redaction passes over it, drift looks into it.
            "secret": {
                "type": "object",
                "properties": { "a": { "type": "integer" } },
                "x-headwater": { "class": "free_text" },
            },
            "settings": { "type": "object" },
            "parent": { "$ref": "#/$defs/Parent" },
        },
        "$defs": { "Parent": {
            "type": "object",
            "properties": { "id": { "type": "string" } },
        } },
    })
}

fn spec() -> StreamSpec {
    StreamSpec {
        name: "calls",
        description: "",
        key: &["id"],
        cursor: None,
        incremental: false,
        schema,
    }
}

const RECORDS: [&str; 3] = [
    r#"{"id":"1","status":"DONE","length":3,"owner":{"name":"Ada","email":"ada@example.com"},"guests":[{"email":"b@example.com"},{"name":null}],"secret":{"a":1,"b":[{"c":"}"}]},"settings":{"x":[1,{"y":"z@example.com"}]},"parent":{"id":"0","more":{}}}"#,
    r#"{ "status" : "NEW", "notes":{"a":"b","c":1}, "id":null, "guests":{"email":"c@example.com"}, "owner":[{"email":[1]}], "secret":"x", "length":1.5, "new":{"deep":[{},[]]} }"#,
    r#"{"\u0069d":"2","status":"FAILED","secret":[{"a":"b"}],"settings":null,"parent":[],"notes":[["x"]]}"#,
];

fn changed(random: &mut fastrand::Rng) -> Vec<u8> {
    const TELLING: &[u8] = b"\"\\{}[],:01-.e tn\n\x00\xff";
    let mut record = RECORDS[random.usize(..RECORDS.len())].as_bytes().to_vec();
    for _ in 0..random.usize(..3) {
        let at = random.usize(1..record.len());
        let telling = TELLING[random.usize(..TELLING.len())];
        match random.usize(..5) {
            0 => record[at] = telling,
            1 => record.insert(at, telling),
            2 => drop(record.remove(at)),
            3 => record.truncate(at + 1),
            _ => {
                let end = (at + random.usize(1..20)).min(record.len());
                let part = record[at..end].to_vec();
                let to = random.usize(1..=record.len());
                record.splice(to..to, part);
            }
        }
    }
    record
}

#[test]
fn one_pass_finds_what_two_passes_find() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for policy in [DriftPolicy::Accept, DriftPolicy::Reject, DriftPolicy::Stop] {
        let mut watch = DriftWatch::new(&spec(), policy, None);
        let mut redactor = Redactor::new(&spec(), &Redaction::default()).unwrap();
        let mut both = Redactor::new(&spec(), &Redaction::default()).unwrap();
        let mut watch_both = DriftWatch::with_schema(both.schema(), &spec(), policy, None);
        for _ in 0..10_000 {
            let record = changed(&mut random);
            let text = String::from_utf8_lossy(&record);
            let (mut out, mut out_both) = (Vec::new(), Vec::new());
            let verdict = watch.observe(&record).map_err(|error| error.to_string());
            let redacted = redactor.record(&record, &mut out);
            let redacted = redacted.map_err(|error| error.to_string());
            let (said, made) = both.record_compared(&mut watch_both, &record, &mut out_both);
            assert_eq!(said.map_err(|error| error.to_string()), verdict, "{text}");
            assert_eq!(made.map_err(|error| error.to_string()), redacted, "{text}");
            if redacted.is_ok() {
                assert_eq!(out_both, out, "{text}");
            }
        }
        assert_eq!(watch_both.report(), watch.report());
        assert_eq!(watch_both.baseline(), watch.baseline());
        assert_eq!(both.report(), redactor.report());
        assert_eq!(both.unclassed_email(), redactor.unclassed_email());
    }
}

/// Each goes on where only the other one meets malformed text.
#[test]
fn malformed_text_in_a_value_that_one_passes_over_is_malformed_for_the_other_one_only() {
    for (record, is_drift, is_redacted) in [
        (r#"{"id":"1","status":"DONE","secret":{"a" 1}}"#, true, true),
        (
            r#"{"id":"1","status":"DONE","secret":{"a":1,}}"#,
            true,
            true,
        ),
        (
            r#"{"id":"1","status":"DONE","settings":{"x":[}}}"#,
            false,
            false,
        ),
        (r#"{"id":"1","status":"DONE","new":{"x" 1}}"#, false, false),
        (r#"{"id":"1","status":"DONE","new":{"x" 1}"#, true, false),
        (r#"{"id":"1","status":"DONE" "x"}"#, true, false),
    ] {
        let mut redactor = Redactor::new(&spec(), &Redaction::default()).unwrap();
        let mut watch =
            DriftWatch::with_schema(redactor.schema(), &spec(), DriftPolicy::Reject, None);
        let mut out = Vec::new();
        let (verdict, made) = redactor.record_compared(&mut watch, record.as_bytes(), &mut out);
        assert_eq!(verdict.unwrap() != Verdict::Keep, is_drift, "{record}");
        assert_eq!(made.is_ok(), is_redacted, "{record}");
        if is_redacted {
            let expected = r#"{"id":"1","status":"DONE","secret":null}"#;
            assert_eq!(out, expected.as_bytes());
        }
    }
}

/// For `--nocapture` and an optimised build.
#[test]
#[ignore = "measures"]
fn prints_the_time_of_one_pass_and_of_two() {
    let record = RECORDS[0].as_bytes();
    let mut watch = DriftWatch::new(&spec(), DriftPolicy::Accept, None);
    let mut redactor = Redactor::new(&spec(), &Redaction::default()).unwrap();
    let mut out = Vec::new();
    let mut fastest = |round: &mut dyn FnMut(&mut Vec<u8>)| {
        let time = |_| {
            let started = Instant::now();
            for _ in 0..1_000 {
                out.clear();
                round(&mut out);
            }
            started.elapsed().as_secs_f64()
        };
        (0..100).map(time).fold(f64::MAX, f64::min)
    };
    let two = fastest(&mut |out| {
        black_box(watch.observe(black_box(record))).unwrap();
        redactor.record(record, out).unwrap();
    });
    let one = fastest(&mut |out| {
        let (verdict, made) = redactor.record_compared(&mut watch, black_box(record), out);
        black_box(verdict).unwrap();
        made.unwrap();
    });
    println!("one pass takes {:.2} of the time of two", one / two);
}
