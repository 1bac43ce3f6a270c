//! Drift of each kind under each policy.

use headwater_core::{Kind, StreamSpec};
use serde_json::{Value, json};

use super::*;

fn spec(schema: fn() -> Value) -> StreamSpec {
    StreamSpec {
        name: "calls",
        description: "Calls.",
        key: &["id"],
        cursor: None,
        incremental: false,
        schema,
    }
}

/// A schema as schemars generates it from a record type, with more of JSON Schema added.
fn calls() -> Value {
    json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": { "type": "string" },
            "title": { "type": ["string", "null"] },
            "length": { "type": ["integer", "null"] },
            "ratio": { "type": ["number", "null"] },
            "status": { "type": "string", "enum": ["DONE", "FAILED"] },
            "side": { "anyOf": [{ "enum": ["in", "out"] }, { "type": "null" }] },
            "crm_info": { "anyOf": [
                { "$ref": "#/$defs/Crm" },
                { "type": "null" },
            ] },
            "participants": { "type": ["array", "null"], "items": {
                "type": "object",
                "required": ["email"],
                "properties": {
                    "email": { "type": "string", "x-headwater": { "class": "email" } },
                    "phones": { "type": "array", "items": { "type": "string" } },
                },
            } },
            "score": { "anyOf": [{ "type": "integer" }, { "type": "string" }] },
            "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            "settings": { "type": "object" },
            "anything": true,
        },
        "$defs": { "Crm": {
            "type": "object",
            "properties": {
                "account_id": { "type": ["string", "null"] },
                "parent": { "$ref": "#/$defs/Crm" },
            },
        } },
    })
}

fn watch(policy: DriftPolicy) -> DriftWatch {
    DriftWatch::new(&spec(calls), policy, None)
}

/// The drift of these records, as `kind path count first`.
fn reported(records: &[&str]) -> Vec<String> {
    let mut watch = watch(DriftPolicy::Accept);
    for record in records {
        assert_eq!(watch.observe(record.as_bytes()).unwrap(), Verdict::Keep);
    }
    lines(&watch)
}

fn lines(watch: &DriftWatch) -> Vec<String> {
    let events = watch.report();
    let line = |event: &DriftEvent| {
        let DriftEvent {
            kind,
            path,
            count,
            first_record,
            ..
        } = event;
        format!("{kind} {path} {count} {first_record}")
    };
    events.iter().map(line).collect()
}

/// A valid record with every field filled.
fn valid() -> Value {
    json!({
        "id": "1",
        "title": "a \"title\"",
        "length": 12,
        "ratio": 0.5,
        "status": "DONE",
        "side": "in",
        "crm_info": { "account_id": "A", "parent": null },
        "participants": [
            { "email": "ada@example.com", "phones": ["1", "2"] },
            { "email": "bob@example.com" },
        ],
        "score": 3,
        "labels": { "a": "b" },
        "settings": { "depth": { "x": 1 } },
        "anything": [{ "x": 1 }],
    })
}

#[test]
fn a_record_that_is_as_its_schema_says_does_not_drift() {
    let nothing: [String; 0] = [];
    assert_eq!(reported(&[&valid().to_string()]), nothing);
    let spellings = [
        r#" { "i\u0064" : "1" , "status":"DONE" , "length" : 572.0, "ratio":5 } "#,
        r#"{"id":"1","status":"D\u004fNE","length":null,"crm_info":null,"side":null,"participants":null}"#,
        r#"{"id":"1","score":"3","participants":[],"crm_info":{},"length":1e3,"labels":{"é":"b"},"anything":null}"#,
        r#"{"id":"1","crm_info":{"parent":{"any":"depth"}},"settings":{"free":[1,{"x":2}]},"anything":2.5}"#,
    ];
    assert_eq!(reported(&spellings), nothing);
}

#[test]
fn each_kind_is_told_with_its_place_and_count_and_no_value() {
    for (record, expected) in [
        (r#"{"id":"1","colour":"red"}"#, "new_field colour 1 2"),
        (
            r#"{"id":"1","crm_info":{"owner":{"x":1}}}"#,
            "new_field crm_info.owner 1 2",
        ),
        (
            r#"{"id":"1","participants":[{"email":"a","age":1},{"email":"b","age":2}]}"#,
            "new_field participants[].age 2 2",
        ),
        (r#"{"title":"x"}"#, "missing_field id 1 2"),
        (
            r#"{"id":"1","participants":[{"phones":[]}]}"#,
            "missing_field participants[].email 1 2",
        ),
        (r#"{"id":1}"#, "widened id 1 2"),
        (r#"{"id":"1","title":{"text":"x"}}"#, "widened title 1 2"),
        (r#"{"id":"1","length":"12"}"#, "widened length 1 2"),
        (r#"{"id":"1","length":12.5}"#, "widened length 1 2"),
        (r#"{"id":"1","ratio":true}"#, "widened ratio 1 2"),
        (r#"{"id":"1","crm_info":[]}"#, "widened crm_info 1 2"),
        (
            r#"{"id":"1","participants":{"email":"a"}}"#,
            "widened participants 1 2",
        ),
        (
            r#"{"id":"1","participants":[{"email":"a","phones":["1",2,3]}]}"#,
            "widened participants[].phones[] 2 2",
        ),
        (r#"{"id":null}"#, "newly_null id 1 2"),
        (
            r#"{"id":"1","participants":[null]}"#,
            "newly_null participants[] 1 2",
        ),
        (
            r#"{"id":"1","status":"secret"}"#,
            "new_enum_member status 1 2",
        ),
        (r#"{"id":"1","side":"up"}"#, "new_enum_member side 1 2"),
        ("[]", "not_an_object  1 2"),
        ("\"id\"", "not_an_object  1 2"),
        ("", "not_an_object  1 2"),
        (r#"{"id":"1"} {"#, "not_an_object  1 2"),
        (r#"{"id":"1","length":NaN}"#, "not_an_object  1 2"),
    ] {
        assert_eq!(
            reported(&[&valid().to_string(), record]),
            [expected],
            "{record}"
        );
    }
}

#[test]
fn an_event_is_written_with_types_and_read_back() {
    let mut watch = watch(DriftPolicy::Accept);
    watch.observe(br#"{"id":"1","length":"a secret"}"#).unwrap();
    let events = watch.report();
    let written = serde_json::to_value(&events).unwrap();
    let expected = json!([{
        "kind": "widened", "path": "length", "expected": ["integer", "null"], "saw": "string",
        "count": 1, "first_record": 1, "is_known": false,
    }]);
    assert_eq!(written, expected);
    assert_eq!(
        serde_json::from_value::<Vec<DriftEvent>>(written).unwrap(),
        events
    );
    assert_eq!(
        events[0].to_string(),
        "length is string where integer or null was expected"
    );
}

#[test]
fn kinds_and_types_are_written_by_their_names() {
    let kinds = [
        DriftKind::NewField,
        DriftKind::ManyNewFields,
        DriftKind::TooMany,
        DriftKind::MissingField,
        DriftKind::Widened,
        DriftKind::NewlyNull,
        DriftKind::NewEnumMember,
        DriftKind::NotAnObject,
    ];
    for kind in kinds {
        assert_eq!(json!(kind), kind.name());
    }
    for name in [
        "null", "boolean", "integer", "number", "string", "array", "object",
    ] {
        let of: JsonType = serde_json::from_value(json!(name)).unwrap();
        assert_eq!(of.name(), name);
    }
}

/// The result of a policy for a record: kept, rejected for a reason, or the text of the error.
fn judged(policy: DriftPolicy, record: &str) -> String {
    match watch(policy).observe(record.as_bytes()) {
        Ok(Verdict::Keep) => "kept".to_owned(),
        Ok(Verdict::Reject(reason)) => serde_json::to_string(&reason).unwrap(),
        Err(error) => {
            assert_eq!(error.kind(), Kind::DataInvalid);
            error.to_string()
        }
    }
}

#[test]
fn only_a_record_that_breaks_its_schema_is_rejected_or_stops() {
    let harmless = [
        valid().to_string(),
        r#"{"id":"1","colour":"red"}"#.to_owned(),
        r#"{"id":"1","status":"NEW"}"#.to_owned(),
    ];
    for policy in [DriftPolicy::Accept, DriftPolicy::Reject, DriftPolicy::Stop] {
        for record in &harmless {
            assert_eq!(judged(policy, record), "kept", "{policy} {record}");
        }
    }
    for (record, reason) in [
        (
            r#"{"id":"1","length":"s3cret"}"#,
            r#"{"kind":"widened","field":"length"}"#,
        ),
        (
            r#"{"id":null,"length":"s3cret"}"#,
            r#"{"kind":"newly_null","field":"id"}"#,
        ),
        (
            r#"{"title":"s3cret"}"#,
            r#"{"kind":"missing_field","field":"id"}"#,
        ),
        (r#"["s3cret"]"#, r#"{"kind":"not_an_object","field":""}"#),
    ] {
        assert_eq!(judged(DriftPolicy::Accept, record), "kept", "{record}");
        assert_eq!(judged(DriftPolicy::Reject, record), reason);
        let stopped = judged(DriftPolicy::Stop, record);
        let field = serde_json::from_str::<Value>(reason).unwrap()["field"].to_string();
        assert!(stopped.contains(field.trim_matches('"')), "{stopped}");
        assert!(stopped.contains("record 1 of this run"), "{stopped}");
        assert!(!stopped.contains("s3cret"), "{stopped}");
    }
}

#[test]
fn names_that_look_like_data_are_told_once_for_their_object() {
    let fields: Vec<String> = (0..51).map(|id| format!("\"id{id}\":1")).collect();
    let fifty = format!("{{\"id\":\"1\",{}}}", fields[..50].join(","));
    let one_more = format!("{{\"id\":\"1\",{}}}", fields[50]);
    assert_eq!(reported(&[&fifty]).len(), 50);
    let mut watch = watch(DriftPolicy::Accept);
    for record in ["{\"id\":\"1\"}", &fifty, &one_more, &one_more] {
        watch.observe(record.as_bytes()).unwrap();
    }
    assert_eq!(lines(&watch), ["many_new_fields  52 2"]);

    // The next run does not show the first fifty either.
    let earlier = watch.baseline();
    let mut next = DriftWatch::new(&spec(calls), DriftPolicy::Accept, Some(&earlier));
    assert_eq!(next.report(), []);
    next.observe(one_more.as_bytes()).unwrap();
    assert_eq!(lines(&next), ["many_new_fields  1 1"]);
    assert!(next.report()[0].is_known);
}

#[test]
fn new_fields_beyond_a_thousand_are_counted_together() {
    fn schema() -> Value {
        let nodes = (0..30).map(|node| {
            let inner = json!({ "properties": { "a": {} } });
            (format!("node{node}"), inner)
        });
        json!({ "properties": nodes.collect::<serde_json::Map<_, _>>() })
    }
    let mut watch = DriftWatch::new(&spec(schema), DriftPolicy::Accept, None);
    for node in 0..30 {
        let fields: Vec<String> = (0..40).map(|id| format!("\"new{id}\":1")).collect();
        let record = format!("{{\"node{node}\":{{{}}}}}", fields.join(","));
        watch.observe(record.as_bytes()).unwrap();
    }
    let events = watch.report();
    assert_eq!(events.len(), 1001);
    assert_eq!(lines(&watch)[0], "too_many  200 26");
    let written = serde_json::to_string(&watch.baseline()).unwrap();
    assert!(written.len() < 100_000, "{}", written.len());
}

#[test]
fn a_new_name_is_cut_and_cannot_move_a_cursor() {
    let name = format!("\\u001b[2J{}", "é".repeat(500));
    let lines = reported(&[&format!("{{\"id\":\"1\",\"{name}\":1}}")]);
    let expected = format!("new_field \\u{{1b}}[2J{} 1 1", "é".repeat(96));
    assert_eq!(lines, [expected]);
}

/// Runs over these records, each with the baseline of the one before, and returns the events of the last run.
fn runs(runs: &[Vec<String>]) -> Vec<DriftEvent> {
    let mut earlier: Option<Baseline> = None;
    let mut events = Vec::new();
    for records in runs {
        let mut watch = DriftWatch::new(&spec(calls), DriftPolicy::Accept, earlier.as_ref());
        for record in records {
            watch.observe(record.as_bytes()).unwrap();
        }
        events = watch.report();
        let written = serde_json::to_string(&watch.baseline()).unwrap();
        earlier = Some(serde_json::from_str(&written).unwrap());
    }
    events
}

fn times(count: usize, record: &str) -> Vec<String> {
    vec![record.to_owned(); count]
}

#[test]
fn drift_is_new_once_and_known_later() {
    let drifting = times(1, r#"{"id":"1","colour":"red","length":"12"}"#);
    let other_type = times(1, r#"{"id":"1","length":true}"#);
    let known = |events: Vec<DriftEvent>| -> Vec<bool> {
        events.iter().map(|event| event.is_known).collect()
    };
    assert_eq!(known(runs(std::slice::from_ref(&drifting))), [false, false]);
    assert_eq!(
        known(runs(&[drifting.clone(), drifting.clone()])),
        [true, true]
    );
    let quiet = times(1, r#"{"id":"1"}"#);
    assert_eq!(
        known(runs(&[drifting.clone(), quiet, drifting.clone()])),
        [true, true]
    );
    assert_eq!(known(runs(&[drifting, other_type])), [false]);
}

#[test]
fn a_field_that_was_always_there_is_missed_when_a_whole_run_is_without_it() {
    let with = r#"{"id":"1","title":"x","crm_info":{"account_id":null}}"#;
    let without = r#"{"id":"1","crm_info":{}}"#;
    let reported = |all: &[Vec<String>]| -> Vec<String> {
        let events = runs(all);
        let line = |event: &DriftEvent| {
            format!(
                "{} {} {} {}",
                event.kind, event.path, event.count, event.is_known
            )
        };
        events.iter().map(line).collect()
    };
    let always = times(30, with);
    let nothing: [&str; 0] = [];
    assert_eq!(
        reported(&[always.clone(), times(3, without)]),
        [
            "missing_field crm_info.account_id 3 false",
            "missing_field title 3 false"
        ]
    );
    // The field stays missing, as known drift, until it is back.
    assert_eq!(
        reported(&[always.clone(), times(3, without), times(2, without)]),
        [
            "missing_field crm_info.account_id 2 true",
            "missing_field title 2 true"
        ]
    );
    assert_eq!(
        reported(&[always.clone(), times(3, without), times(2, with)]),
        nothing
    );
    // If its parent is missing, the report names the parent.
    assert_eq!(
        reported(&[always.clone(), times(1, r#"{"id":"1"}"#)]),
        [
            "missing_field crm_info 1 false",
            "missing_field title 1 false"
        ]
    );
    // A run with the field in some records shows that it is optional, and so does an earlier one.
    let some = [times(1, with), times(1, without)].concat();
    assert_eq!(reported(&[always.clone(), some.clone()]), nothing);
    assert_eq!(
        reported(&[always.clone(), some.clone(), times(3, without)]),
        nothing
    );
    assert_eq!(
        reported(&[some, always.clone(), times(3, without)]),
        nothing
    );
    // A few records prove nothing, nor does a run without any.
    assert_eq!(reported(&[times(2, with), times(3, without)]), nothing);
    assert_eq!(reported(&[always, Vec::new()]), nothing);
}

#[test]
fn a_name_that_a_record_has_twice_counts_as_one_field() {
    let record = r#"{"id":"1","title":"a","title":"b"}"#;
    assert_eq!(
        runs(&[times(30, record), times(1, r#"{"id":"1"}"#)]).len(),
        1
    );
}

#[test]
fn compositions_and_tags_are_followed() {
    fn schema() -> Value {
        json!({
            "allOf": [{ "properties": { "base": { "type": "string" } }, "required": ["base"] }],
            "properties": { "id": { "type": "string" } },
            "oneOf": [
                { "properties": { "type": { "const": "a" }, "x": { "type": "string" } }, "required": ["type", "x"] },
                { "properties": { "type": { "const": "b" }, "y": { "type": "string" } }, "required": ["type"] },
            ],
        })
    }
    for (record, expected) in [
        (r#"{"base":"","type":"a","x":""}"#, ""),
        (r#"{"base":"","type":"b","id":"1"}"#, ""),
        (r#"{"base":"","type":"c"}"#, "new_enum_member type 1 1"),
        (r#"{"base":""}"#, "missing_field type 1 1"),
        (r#"{"type":"a"}"#, "missing_field base 1 1"),
        (r#"{"base":"","type":"b","y":1}"#, "widened y 1 1"),
        (r#"{"base":"","type":"b","z":1}"#, "new_field z 1 1"),
    ] {
        let mut watch = DriftWatch::new(&spec(schema), DriftPolicy::Accept, None);
        watch.observe(record.as_bytes()).unwrap();
        assert_eq!(lines(&watch).join(", "), expected, "{record}");
    }
}

#[test]
fn nesting_has_no_limit() {
    let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    let record = format!("{{\"id\":\"1\",\"anything\":{deep},\"new\":{deep}}}");
    assert_eq!(reported(&[&record]), ["new_field new 1 1"]);
}

/// A valid record is changed at one random node; the expected event follows from the change.
#[test]
fn a_random_change_of_a_valid_record_is_told_as_what_it_is() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    // Pointer, path, whether it is required, whether it may be null, and a value of another type.
    let nodes = [
        ("/id", "id", true, false, json!(1)),
        ("/title", "title", false, true, json!(["x"])),
        ("/length", "length", false, true, json!("12")),
        ("/ratio", "ratio", false, true, json!({ "x": 1 })),
        ("/status", "status", false, false, json!(1.5)),
        ("/crm_info", "crm_info", false, true, json!("x")),
        (
            "/crm_info/account_id",
            "crm_info.account_id",
            false,
            true,
            json!(7),
        ),
        ("/participants", "participants", false, true, json!(true)),
        (
            "/participants/1",
            "participants[]",
            false,
            false,
            json!("x"),
        ),
        (
            "/participants/0/email",
            "participants[].email",
            true,
            false,
            json!([]),
        ),
        (
            "/participants/0/phones/1",
            "participants[].phones[]",
            false,
            false,
            json!(2),
        ),
        ("/score", "score", false, false, json!(false)),
    ];
    for _ in 0..2000 {
        let (pointer, path, is_required, is_nullable, other) = &nodes[random.usize(..nodes.len())];
        let (around, name) = pointer.rsplit_once('/').unwrap();
        let (path_around, _) = path.rsplit_once('.').unwrap_or(("", path));
        let mut record = valid();
        let value = record.pointer_mut(pointer).unwrap();
        let expected = match random.usize(..5) {
            0 => {
                *value = other.clone();
                Some(format!("widened {path} 1 1"))
            }
            1 => {
                *value = Value::Null;
                (!is_nullable).then(|| format!("newly_null {path} 1 1"))
            }
            choice => {
                let Some(object) = record.pointer_mut(around).unwrap().as_object_mut() else {
                    continue;
                };
                let new = format!("new{}", random.u8(..));
                let new_path = headwater_json::join_path(path_around, &new);
                let new_line = format!("new_field {new_path} 1 1");
                let missing_line = format!("missing_field {path} 1 1");
                match choice {
                    2 => {
                        object.insert(new, json!({ "deep": [1, "x"] }));
                        Some(new_line)
                    }
                    3 => {
                        object.remove(name);
                        is_required.then_some(missing_line)
                    }
                    _ => {
                        let value = object.remove(name).unwrap();
                        object.insert(new, value);
                        let mut expected = vec![(new_path, new_line)];
                        if *is_required {
                            expected.push(((*path).to_owned(), missing_line));
                        }
                        expected.sort();
                        Some(
                            expected
                                .into_iter()
                                .map(|(_, line)| line)
                                .collect::<Vec<_>>()
                                .join(", "),
                        )
                    }
                }
            }
        };
        let record = if random.bool() {
            record.to_string()
        } else {
            serde_json::to_string_pretty(&record).unwrap()
        };
        assert_eq!(
            reported(&[&record]).join(", "),
            expected.unwrap_or_default(),
            "{record}"
        );
    }
}
