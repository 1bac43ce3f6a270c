use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;

fn spec(schema: fn() -> Value) -> StreamSpec {
    StreamSpec {
        name: "people",
        description: "",
        key: &["id"],
        cursor: Some("changed"),
        incremental: false,
        schema,
    }
}

fn text(class: &str) -> Value {
    json!({ "type": ["string", "null"], "x-headwater": { "class": class } })
}

fn people() -> Value {
    let person = json!({
        "type": "object",
        "properties": { "name": text("person_name"), "email": text("email"), "phone": text("phone") },
    });
    json!({
        "type": "object",
        "properties": {
            "id": { "type": "string" },
            "changed": text("free_text"),
            "email": text("email"),
            "owner": { "anyOf": [person, { "type": "null" }] },
            "guests": { "type": ["array", "null"], "items": person },
            "phones": { "type": "array", "items": text("phone") },
            "notes": { "type": "object", "additionalProperties": text("free_text") },
            "amount": text("money"),
            "link": text("signed_url"),
        },
    })
}

fn none() -> Value {
    json!({ "type": "object", "properties": { "id": { "type": "string" } } })
}

fn redactor(schema: fn() -> Value, redaction: &Redaction) -> Redactor {
    Redactor::new(&spec(schema), redaction).unwrap()
}

fn redact_with(redactor: &mut Redactor, record: &str) -> String {
    let mut out = Vec::new();
    redactor.record(record.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn redact(record: &str) -> String {
    redact_with(&mut redactor(people, &Redaction::default()), record)
}

/// The digests are those of `printf %s ada@example.com | sha256sum` and the like.
#[test]
fn each_class_has_its_shape() {
    assert_eq!(
        redact(r#"{"email":"ada@example.com"}"#),
        r#"{"email":"b5fc85e55755@redacted"}"#
    );
    assert_eq!(
        redact(r#"{"owner":{"name":"Ada Lovelace","phone":"+12025550101"}}"#),
        r#"{"owner":{"name":"Rep-758096","phone":"tel-0ad2aee0d8bc"}}"#
    );
    assert_eq!(
        redact(r#"{"notes":{"a":"b"},"amount":"12.50","link":"https://x.example/a?sig=1#f"}"#),
        r#"{"notes":{"a":null},"amount":"12.50","link":"https://x.example/a"}"#
    );
    let mut other = redactor(
        people,
        &Redaction {
            keep_text: true,
            drop_money: true,
            ..Redaction::default()
        },
    );
    assert_eq!(
        redact_with(&mut other, r#"{"notes":{"a":"b"},"amount":12.50}"#),
        r#"{"notes":{"a":"b"},"amount":null}"#
    );
}

#[test]
fn spellings_of_one_value_have_one_pseudonym() {
    let same = |one: &str, other: &str| assert_eq!(redact(one), redact(other), "{one} {other}");
    same(
        r#"{"email":"ada@example.com"}"#,
        r#"{"email":" Ada@Example.COM "}"#,
    );
    same(
        r#"{"email":"ada@example.com"}"#,
        r#"{"email":"\u0061da\u0040example.com"}"#,
    );
    same(
        r#"{"phones":["+1 (202) 555-0101"]}"#,
        r#"{"phones":["+12025550101"]}"#,
    );
    same(
        r#"{"owner":{"name":"Zoë"}}"#,
        r#"{"owner":{"name":"Zo\u00eb "}}"#,
    );
}

#[test]
fn a_key_changes_every_pseudonym_and_no_shape() {
    let keyed = |key: &str| {
        let redaction = Redaction {
            key: Some(Secret::new(key)),
            ..Redaction::default()
        };
        redact_with(
            &mut redactor(people, &redaction),
            r#"{"email":"Ada@example.com"}"#,
        )
    };
    // printf %s ada@example.com | openssl dgst -sha256 -hmac 0123456789abcdef
    assert_eq!(
        keyed("0123456789abcdef"),
        r#"{"email":"512383176ce1@redacted"}"#
    );
    assert_ne!(keyed("0123456789abcdef"), keyed("0123456789abcdeg"));
}

#[test]
fn bytes_without_a_class_stay_as_they_are() {
    let record = "{ \"id\" : \"a\\u0041\\/\",\r\n\t\"n\":572.0e+01 ,\"email\" :\t\"ada@example.com\" , \"x\":[ ] ,\"y\":{ }, \"z\":[1e400,-0,{\"email\":\"plain\"}]} ";
    let expected = record.replace("ada@example.com", "b5fc85e55755@redacted");
    assert_eq!(redact(record), expected);
}

#[test]
fn null_and_empty_values_stay() {
    let record = r#"{"email":null,"owner":null,"guests":[null,{"name":"","email":null}],"phones":[],"amount":null,"notes":null}"#;
    assert_eq!(redact(record), record);
    assert_eq!(redact(r#"{"email":" "}"#), r#"{"email":" "}"#);
}

#[test]
fn every_copy_of_a_field_is_replaced_however_its_name_is_spelt() {
    assert_eq!(
        redact(r#"{"email":"ada@example.com","\u0065mail":"ada@example.com","email":["a"]}"#),
        r#"{"email":"b5fc85e55755@redacted","\u0065mail":"b5fc85e55755@redacted","email":null}"#
    );
}

#[test]
fn what_is_not_as_the_schema_says_is_removed_and_counted() {
    let mut redactor = redactor(people, &Redaction::default());
    let record = r#"{"email":{"a":["}","ada@example.com"]},"phones":[12025550101,[1],true,"1"],"guests":["Ada"],"owner":[{"name":7}],"notes":"said","amount":{"a":1},"link":5,"email":"\ud800"}"#;
    let expected = r#"{"email":null,"phones":[null,null,null,"tel-6b86b273ff34"],"guests":[null],"owner":[{"name":null}],"notes":null,"amount":null,"link":null,"email":null}"#;
    assert_eq!(redact_with(&mut redactor, record), expected);
    let unexpected: Vec<(String, u64)> = redactor.report().unexpected.into_iter().collect();
    let unexpected: Vec<(&str, u64)> = unexpected
        .iter()
        .map(|(path, count)| (path.as_str(), *count))
        .collect();
    assert_eq!(
        unexpected,
        [
            ("amount", 1),
            ("email", 2),
            ("guests[]", 1),
            ("link", 1),
            ("notes", 1),
            ("owner[].name", 1),
            ("phones[]", 3),
        ]
    );
}

#[test]
fn one_object_stands_for_a_list_of_one() {
    assert_eq!(
        redact(r#"{"guests":{"email":"ada@example.com"}}"#),
        r#"{"guests":{"email":"b5fc85e55755@redacted"}}"#
    );
}

#[test]
fn an_object_in_place_of_a_list_of_texts_is_removed() {
    assert_eq!(
        redact(r#"{"phones":{"home":"+12025550101"},"notes":["said"]}"#),
        r#"{"phones":null,"notes":[null]}"#
    );
}

#[test]
fn keys_and_cursors_stay_usable() {
    // The cursor has the class of free text, which is removed elsewhere.
    for record in [
        r#"{"id":"1","changed":"2026-01-01"}"#,
        r#"{"id":1,"changed":1767225600}"#,
    ] {
        assert_eq!(redact(record), record);
    }
}

#[test]
fn the_report_tells_what_was_done_where() {
    let mut redactor = redactor(people, &Redaction::default());
    redact_with(
        &mut redactor,
        r#"{"email":"ada@example.com","guests":[{"name":"Ada"},{"name":"Bob"},{"name":null}],"notes":{"a":"b"}}"#,
    );
    let report = serde_json::to_value(redactor.report()).unwrap();
    assert_eq!(report["keyed"], false);
    let field = |path: &str| {
        let fields = report["fields"].as_array().unwrap();
        fields
            .iter()
            .find(|field| field["path"] == path)
            .unwrap()
            .clone()
    };
    assert_eq!(
        field("guests[].name"),
        json!({ "path": "guests[].name", "class": "person_name", "action": "replaced", "values": 2 })
    );
    assert_eq!(
        field("notes.*"),
        json!({ "path": "notes.*", "class": "free_text", "action": "removed", "values": 1 })
    );
    assert_eq!(field("changed")["action"], "kept");
    assert_eq!(field("link")["action"], "cut");
    assert_eq!(report.get("unexpected"), None);
}

#[test]
fn addresses_without_a_class_are_counted_by_path_and_left_alone() {
    let mut redactor = redactor(people, &Redaction::default());
    let record = r#"{"owner":{"login":"ada@example.com"},"new":[{"to":["Bob <bob@example.com>","bob\u0040example.org"]}],"by":{"ada@example.com":1},"not":["a @ b","@ada","ada@home","https://x.example/@ada"]}"#;
    assert_eq!(redact_with(&mut redactor, record), record);
    let (count, message) = redactor.unclassed_email().unwrap();
    assert_eq!(count, 4);
    assert!(
        message.ends_with(": by.*, new[].to[], owner.login"),
        "{message}"
    );
    assert!(!message.contains('@'), "{message}");
}

#[test]
fn the_paths_of_a_stream_that_invents_names_are_bounded() {
    let mut redactor = redactor(none, &Redaction::default());
    for number in 0..1000 {
        redact_with(
            &mut redactor,
            &format!("{{\"f{number}\":\"ada@example.com\"}}"),
        );
    }
    let (count, message) = redactor.unclassed_email().unwrap();
    assert_eq!(count, 1000);
    assert!(message.len() < 2000, "{message}");
    assert!(message.contains("and others"), "{message}");
}

#[test]
fn what_is_not_json_is_refused_and_not_passed_on() {
    for record in [
        "",
        "{",
        "[",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,}",
        "{,}",
        "[1,]",
        "[1 2]",
        "{\"a\" 1}",
        "{]",
        "\"a",
        "\"a\\",
        "{}x",
        "{\"email\":{\"a\":[}",
        "{\"email\":[\"",
    ] {
        let mut redactor = redactor(people, &Redaction::default());
        let error = redactor
            .record(record.as_bytes(), &mut Vec::new())
            .unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid, "{record}");
    }
}

#[test]
fn nesting_has_no_limit() {
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(redact(&deep), deep);
    let deep = format!(
        "{{\"email\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(redact(&deep), "{\"email\":null}");
}

#[test]
fn a_schema_whose_classes_cannot_all_be_followed_is_refused() {
    let refused = |schema: fn() -> Value| {
        let error = Redactor::new(&spec(schema), &Redaction::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        error.to_string()
    };
    refused(
        || json!({ "properties": { "a": { "$ref": "#/$defs/a" } }, "$defs": { "a": text("email") } }),
    );
    refused(|| json!({ "patternProperties": { "^a": text("email") } }));
    let unknown = refused(|| json!({ "properties": { "a": text("emial") } }));
    assert!(unknown.contains("emial"), "{unknown}");
}

#[test]
fn a_class_of_the_other_names_is_not_that_of_the_named_ones() {
    fn schema() -> Value {
        json!({
            "properties": { "id": { "type": "string" }, "email": text("email") },
            "additionalProperties": text("free_text"),
        })
    }
    let mut redactor = redactor(schema, &Redaction::default());
    assert_eq!(
        redact_with(
            &mut redactor,
            r#"{"id":"1","email":"ada@example.com","x":"y"}"#
        ),
        r#"{"id":"1","email":"b5fc85e55755@redacted","x":null}"#
    );
}

#[test]
fn a_name_that_one_alternative_knows_may_be_any_name_in_another() {
    fn schema() -> Value {
        json!({ "anyOf": [
            { "properties": { "owner": { "type": "string" } } },
            { "additionalProperties": text("email") },
        ] })
    }
    assert_eq!(
        redact_with(
            &mut redactor(schema, &Redaction::default()),
            r#"{"owner":"ada@example.com"}"#
        ),
        r#"{"owner":"b5fc85e55755@redacted"}"#
    );
}

#[test]
fn records_get_a_body_of_their_own() {
    let body = br#"[{"email":"ada@example.com"}, {"id":"2"}, {"email":"bob@example.com"}]"#;
    let mut redactor = redactor(people, &Redaction::default());
    let (redacted, spans) = redactor.records(body, &[1..28, 30..40]).unwrap();
    let records: Vec<&[u8]> = spans.iter().map(|span| &redacted[span.clone()]).collect();
    assert_eq!(
        records,
        [
            &br#"{"email":"b5fc85e55755@redacted"}"#[..],
            br#"{"id":"2"}"#
        ]
    );
    assert_eq!(&redacted[..], records.concat());
}

/// Writes random JSON twice: the input, and the expected output.
struct Writer {
    random: fastrand::Rng,
    input: String,
    expected: String,
}

impl Writer {
    fn both(&mut self, text: &str) {
        self.input.push_str(text);
        self.expected.push_str(text);
    }

    fn space(&mut self) {
        let space = ["", "", "", " ", "\n", "\r\n\t"][self.random.usize(..6)];
        self.both(space);
    }

    fn plain_text(&mut self) -> String {
        const PIECES: &[&str] = &[
            "a",
            "é",
            "\\\"",
            "\\\\",
            "\\n",
            "\\u0041",
            "\\ud83d\\ude00",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "@",
            " ",
            "\\/",
            "x@y.zz",
        ];
        let pieces = (0..self.random.usize(..6)).map(|_| PIECES[self.random.usize(..PIECES.len())]);
        format!("\"{}\"", pieces.collect::<String>())
    }

    /// Any value, untouched.
    fn value(&mut self, depth: usize) {
        match self.random.usize(..if depth > 3 { 5 } else { 7 }) {
            0..3 => {
                const TOKENS: &[&str] = &[
                    "null",
                    "true",
                    "-12.50",
                    "1e400",
                    "123456789012345678901234567890",
                ];
                let token = TOKENS[self.random.usize(..TOKENS.len())];
                self.both(token);
            }
            3 | 4 => {
                let text = self.plain_text();
                self.both(&text);
            }
            5 => self.list(Self::value, depth),
            _ => self.object(&["a", "b", "email", "unknown"], |writer, _| {
                writer.value(depth + 1);
            }),
        }
    }

    fn list(&mut self, element: fn(&mut Self, usize), depth: usize) {
        self.both("[");
        self.space();
        for index in 0..self.random.usize(..4) {
            if index > 0 {
                self.both(",");
            }
            self.space();
            element(self, depth + 1);
            self.space();
        }
        self.both("]");
    }

    fn object(&mut self, names: &[&str], mut field: impl FnMut(&mut Self, &str)) {
        self.both("{");
        self.space();
        for index in 0..self.random.usize(..5) {
            if index > 0 {
                self.both(",");
            }
            let name = names[self.random.usize(..names.len())];
            self.space();
            self.both(&format!("\"{name}\""));
            self.space();
            self.both(":");
            self.space();
            field(self, name);
            self.space();
        }
        self.both("}");
    }

    /// A value of a class, or a value of another type in its place.
    fn classed(&mut self, class: DataClass) {
        match self.random.usize(..6) {
            0 => self.both("null"),
            1 => {
                let is_money = class == DataClass::Money;
                self.input.push_str(if is_money { "[1]" } else { "12" });
                self.expected.push_str("null");
            }
            _ => {
                let value = format!("v{}", self.random.u8(..));
                write!(self.input, "\"{value}\"").unwrap();
                if class == DataClass::FreeText {
                    self.expected.push_str("null");
                } else if class == DataClass::Money || class == DataClass::SignedUrl {
                    write!(self.expected, "\"{value}\"").unwrap();
                } else {
                    let mut made = Vec::new();
                    Pseudonyms::Plain.append(class, &value, &mut made);
                    write!(self.expected, "\"{}\"", String::from_utf8(made).unwrap()).unwrap();
                }
            }
        }
    }

    fn person(&mut self, _: usize) {
        self.object(
            &["name", "email", "phone", "x"],
            |writer, name| match name {
                "name" => writer.classed(DataClass::PersonName),
                "email" => writer.classed(DataClass::Email),
                "phone" => writer.classed(DataClass::Phone),
                _ => writer.value(2),
            },
        );
    }

    fn record(&mut self) {
        const NAMES: &[&str] = &[
            "id", "email", "owner", "guests", "phones", "notes", "amount", "link", "unknown",
        ];
        self.object(NAMES, |writer, name| match name {
            "email" => writer.classed(DataClass::Email),
            "owner" => writer.person(0),
            "guests" => writer.list(Self::person, 0),
            "phones" => writer.list(|writer, _| writer.classed(DataClass::Phone), 0),
            "notes" => writer.object(&["p", "q"], |writer, _| writer.classed(DataClass::FreeText)),
            "amount" => writer.classed(DataClass::Money),
            "link" => writer.classed(DataClass::SignedUrl),
            _ => writer.value(0),
        });
    }
}

#[test]
fn random_records_change_at_classed_values_only() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut writer = Writer {
        random: fastrand::Rng::with_seed(seed),
        input: String::new(),
        expected: String::new(),
    };
    let mut classed = redactor(people, &Redaction::default());
    let mut unclassed = redactor(none, &Redaction::default());
    for _ in 0..5000 {
        writer.input.clear();
        writer.expected.clear();
        writer.record();
        assert_eq!(redact_with(&mut classed, &writer.input), writer.expected);
        assert_eq!(redact_with(&mut unclassed, &writer.input), writer.input);
    }
}

/// For `--nocapture` and an optimised build; the shape is that of a call with its transcript.
#[test]
fn prints_its_throughput() {
    let mut record =
        String::from("{\"id\":\"6f1c\",\"email\":\"ada@example.com\",\"transcript\":[");
    for turn in 0..200 {
        let comma = if turn > 0 { "," } else { "" };
        write!(record, "{comma}{{\"text\":\"So what you are saying is that \\\"it works\\\" already, if I got that right?\",\"start\":{turn}.5,\"end\":{turn}.9,\"personId\":3,\"annotations\":[]}}").unwrap();
    }
    record.push_str("]}");
    let mut redactor = redactor(people, &Redaction::default());
    let mut out = Vec::new();
    let started = std::time::Instant::now();
    let rounds = 200;
    for _ in 0..rounds {
        out.clear();
        redactor.record(record.as_bytes(), &mut out).unwrap();
    }
    let bytes = record.len() * rounds;
    println!(
        "{:.0} MB/s",
        bytes as f64 / 1e6 / started.elapsed().as_secs_f64()
    );
    assert_eq!(
        out.len(),
        record.len() + "b5fc85e55755@redacted".len() - "ada@example.com".len()
    );
}
