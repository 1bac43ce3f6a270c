//! Validation of a form's answer: every error at its field, and never the value.

use std::borrow::Cow;

use crate::sample::{good, sample};
use headwater_core::{FieldError, FormModel, tidy};
use serde_json::{Value, json};

const CANARY: &str = "canary-5c1f";

fn errors(answer: Value) -> Vec<FieldError> {
    sample().validate(answer).err().unwrap_or_default()
}

/// Pointer and code of each error.
fn codes(answer: Value) -> Vec<(String, &'static str)> {
    let pairs = errors(answer).into_iter();
    let code = |error: FieldError| match error.code {
        Cow::Borrowed(code) => (error.pointer, code),
        Cow::Owned(code) => panic!("{code} is not of validation"),
    };
    pairs.map(code).collect()
}

/// The good answer with one value replaced.
fn with(pointer: &str, value: Value) -> Value {
    let mut answer = good();
    *answer.pointer_mut(pointer).unwrap() = value;
    answer
}

/// The only error of the good answer with one value replaced.
fn only(pointer: &str, value: Value) -> FieldError {
    let errors = errors(with(pointer, value));
    let [error] = errors.as_slice() else {
        panic!("{pointer}: {errors:?}");
    };
    error.clone()
}

#[test]
fn a_good_answer_passes_without_notices() {
    let validated = sample().validate(good()).unwrap();
    assert_eq!(validated.notices, []);
}

#[test]
fn optional_fields_may_be_left_out() {
    let answer = json!({
        "api_key": "k",
        "since": "2026-01-31",
        "region": "america",
        "auth": { "method": "token", "token": "t" },
    });
    assert_eq!(codes(answer), []);
}

#[test]
fn every_error_comes_at_once_in_the_order_of_pointers() {
    let answer = json!({
        "base_url": "http://example.com",
        "since": "2026-02-31",
        "archived": "yes",
        "rate": 51,
        "tags": ["a", 1, "c", "d"],
        "region": "asia",
        "auth": { "method": "password", "user": "x", "extra": 1 },
        "colour": "red",
    });
    let found = codes(answer);
    let expected = [
        ("/api_key", "required"),
        ("/archived", "type"),
        ("/auth/extra", "unknown_field"),
        ("/auth/password", "required"),
        ("/auth/user", "too_short"),
        ("/base_url", "format"),
        ("/colour", "unknown_field"),
        ("/rate", "out_of_range"),
        ("/region", "not_a_choice"),
        ("/since", "format"),
        ("/tags", "too_many"),
        ("/tags/1", "type"),
    ];
    assert_eq!(found, expected.map(|(at, code)| (at.to_owned(), code)));
}

#[test]
fn a_missing_field_is_reported_at_the_field_by_its_title() {
    let errors = errors(json!({}));
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "/api_key: API key is required",
            "/auth: Sign-in is required",
            "/region: Region is required",
            "/since: Since is required",
        ]
    );
}

#[test]
fn an_unknown_field_comes_with_the_nearest_known_one() {
    let mut answer = good();
    answer["bas_url"] = json!(1);
    answer["auth"]["pasword"] = json!(1);
    answer["a/b~c"] = json!(1);
    let shown: Vec<String> = errors(answer).iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "/auth/pasword: pasword is not a field of this form (did you mean password?)",
            "/a~1b~0c: a/b~c is not a field of this form",
            "/bas_url: bas_url is not a field of this form (did you mean base_url?)",
        ]
    );
}

#[test]
fn the_name_of_an_unknown_field_is_shown_short_and_escaped() {
    let mut answer = good();
    answer[&format!("\u{1b}[31m{}", "x".repeat(1 << 20))] = json!(1);
    let errors = errors(answer);
    let [error] = errors.as_slice() else {
        panic!("{} errors", errors.len());
    };
    assert!(error.message.len() < 200, "{}", error.message);
    assert!(!error.message.contains('\u{1b}'), "{}", error.message);
}

#[test]
fn only_the_chosen_alternative_is_judged() {
    let token = json!({ "method": "token", "password": "p" });
    assert_eq!(
        codes(with("/auth", token)),
        [
            ("/auth/password".to_owned(), "unknown_field"),
            ("/auth/token".to_owned(), "required"),
        ]
    );
}

#[test]
fn a_missing_or_unknown_tag_is_reported_at_the_tag() {
    for (auth, code) in [
        (json!({}), "required"),
        (json!({ "token": "t" }), "required"),
        (json!({ "method": CANARY }), "not_a_choice"),
        (json!({ "method": "Token" }), "not_a_choice"),
        (json!({ "method": ["token"] }), "not_a_choice"),
        (json!({ "method": null, "user": 1 }), "not_a_choice"),
    ] {
        let error = only("/auth", auth.clone());
        assert_eq!(
            (&*error.pointer, &*error.code),
            ("/auth/method", code),
            "{auth}"
        );
        assert!(!error.message.contains("canary"), "{error}");
    }
    let error = only("/auth", json!({ "method": "key" }));
    assert!(
        error.message.ends_with("must be one of token, password"),
        "{error}"
    );
}

#[test]
fn a_value_of_another_type_is_named_by_both_types() {
    let wrong = [
        (json!(null), "null (leave the field out instead)"),
        (json!(true), "true or false"),
        (json!(1.5), "a number"),
        (json!(CANARY), "text"),
        (json!([CANARY]), "a list"),
        (json!({ CANARY: CANARY }), "an object"),
    ];
    for (pointer, wanted) in [
        ("/api_key", "text"),
        ("/base_url", "text"),
        ("/since", "text"),
        ("/archived", "true or false"),
        ("/rate", "a whole number"),
        ("/first", "a whole number"),
        ("/share", "a number"),
        ("/tags", "a list"),
        ("/tags/0", "text"),
        ("/auth", "an object"),
        ("/auth/user", "text"),
        ("/auth/password", "text"),
    ] {
        for (value, given) in wrong.iter().filter(|(_, given)| {
            let is_number = wanted == "a whole number" && *given == "a number";
            *given != wanted || is_number
        }) {
            if pointer == "/auth" && *given == "an object" {
                continue;
            }
            let error = only(pointer, value.clone());
            assert_eq!((&*error.pointer, &*error.code), (pointer, "type"));
            let sentence = format!("must be {wanted}, not {given}");
            assert!(error.message.ends_with(&sentence), "{error}");
        }
    }
}

#[test]
fn an_error_in_a_list_names_the_list() {
    let error = only("/tags/1", json!(1));
    assert_eq!(
        error.to_string(),
        "/tags/1: Tags must be text, not a number"
    );
}

#[test]
fn only_an_object_is_an_answer() {
    for root in [
        json!(null),
        json!([good()]),
        json!(CANARY),
        json!(1),
        json!(true),
    ] {
        let errors = errors(root);
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 1, "{shown:?}");
        assert_eq!((&*errors[0].pointer, &*errors[0].code), ("", "type"));
        assert!(
            shown[0].starts_with("/: the form must be an object"),
            "{shown:?}"
        );
        assert!(!shown[0].contains("canary"), "{shown:?}");
    }
}

#[test]
fn secrets_with_anything_inside_that_a_header_cannot_carry_are_refused() {
    for inside in [
        "\r\n", "\n", "\r", "\0", "\t", " ", "\u{a0}", "é", "\u{7f}", "\u{200b}", "🔑",
    ] {
        for pointer in ["/api_key", "/auth/password"] {
            let error = only(pointer, json!(format!("{CANARY}{inside}{CANARY}")));
            assert_eq!(
                (&*error.pointer, &*error.code),
                (pointer, "pattern"),
                "{inside:?}"
            );
            assert!(error.message.contains("copy it again"), "{error}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }
}

#[test]
fn a_text_with_the_character_0_is_refused_where_no_pattern_says_so() {
    for (pointer, code) in [
        ("/auth/user", "pattern"),
        ("/tags/0", "pattern"),
        ("/region", "not_a_choice"),
        ("/since", "format"),
    ] {
        let error = only(pointer, json!("a\0b"));
        assert_eq!((&*error.pointer, &*error.code), (pointer, code));
    }
}

#[test]
fn of_many_errors_the_first_are_told_and_how_many_more_there_are() {
    let with_unknown = |count: usize| {
        let mut answer = good();
        for number in 0..count {
            answer[format!("__proto__{number:06}")] = 1.into();
        }
        errors(answer)
    };
    assert_eq!(with_unknown(100).len(), 100);
    let many = with_unknown(100_000);
    assert_eq!(many.len(), 101);
    assert_eq!(many[0].pointer, "/__proto__000000");
    let last = &many[100];
    assert_eq!((&*last.pointer, &*last.code), ("", "too_many_errors"));
    assert!(last.message.contains("99900 more errors"), "{last}");
}

#[test]
fn an_empty_secret_is_a_missing_one() {
    for empty in ["", " ", "\"\"", "\u{feff}\n"] {
        let error = only("/api_key", json!(empty));
        assert_eq!(
            error.to_string(),
            "/api_key: API key is required",
            "{empty:?}"
        );
    }
}

#[test]
fn a_mebibyte_of_text_is_refused_wherever_it_stands() {
    let long = json!("x".repeat(1 << 20));
    for (pointer, code) in [
        ("/api_key", "too_long"),
        ("/base_url", "format"),
        ("/since", "format"),
        ("/rate", "type"),
        ("/region", "not_a_choice"),
        ("/auth", "type"),
        ("/auth/user", "too_long"),
        ("/auth/method", "not_a_choice"),
    ] {
        let error = only(pointer, long.clone());
        assert_eq!((&*error.pointer, &*error.code), (pointer, code));
        assert!(
            error.message.len() < 300,
            "{pointer}: {} bytes",
            error.message.len()
        );
    }
}

#[test]
fn deep_values_are_refused_like_any_other() {
    let deep = (0..100).fold(json!(CANARY), |inner, _| json!({ "a": [inner] }));
    for pointer in [
        "/api_key",
        "/since",
        "/tags",
        "/tags/0",
        "/region",
        "/auth",
        "/auth/user",
    ] {
        let errors = errors(with(pointer, deep.clone()));
        assert!(!errors.is_empty(), "{pointer}");
        assert!(!format!("{errors:?}").contains("canary"), "{pointer}");
    }
    let text = format!(
        "{{\"api_key\":{}{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert!(serde_json::from_str::<Value>(&text).is_err());
}

#[test]
fn addresses_that_could_leak_credentials_are_refused() {
    for address in [
        "",
        "api.example.com",
        "//api.example.com",
        "https://",
        "https:///v1",
        "https:/api.example.com",
        "HTTPS://user@api.example.com",
        "http://api.example.com",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://localhost@example.com",
        "http://0.0.0.0",
        "https://user@api.example.com",
        "https://user:pass@api.example.com",
        "https://api.example.com@169.254.169.254/",
        "https://api.example.com\\@169.254.169.254/",
        "https://api.example.com?token=canary-5c1f",
        "https://api.example.com/v1?token=canary-5c1f",
        "https://api.example.com/#canary-5c1f",
        "https://api.exa mple.com",
        "https://api.example.com/a\tb",
        "https://api.example.com:99999",
        "https://api.example.com:port",
        "http://localhost:99999",
        "https://[::1",
        "https://1.2.3.999",
        "https://%20",
        "https://xn--a",
        "ftp://api.example.com",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/plain,canary-5c1f",
    ] {
        let error = only("/base_url", json!(address));
        assert_eq!(error.pointer, "/base_url", "{address}");
        assert!(
            ["format", "pattern"].contains(&&*error.code),
            "{address}: {error:?}"
        );
        assert!(
            error.message.contains("must be an https:// address"),
            "{address}: {error}"
        );
        assert!(
            !format!("{error} {error:?}").contains("canary"),
            "{address}: {error}"
        );
    }
    for address in [
        "https://api.example.com",
        "https://api.example.com:8443/v1/",
        "http://localhost:8080",
        "http://127.0.0.1",
        "http://[::1]:9/x",
    ] {
        assert_eq!(codes(with("/base_url", json!(address))), [], "{address}");
    }
}

#[test]
fn days_that_no_calendar_has_are_refused() {
    for date in [
        "2026-02-31",
        "2026-13-01",
        "2026-00-10",
        "2026-01-00",
        "2025-02-29",
        "26-01-01",
        "2026-1-1",
        "20260101",
        "2026-01-01T00:00:00Z",
        "2026-01-01 ",
        "/026-01-01",
        "20260101Z",
        "yesterday",
        "",
        "+002026-01-01",
        "-002026-01-01",
    ] {
        let error = only("/since", json!(date));
        assert_eq!(error.to_string(), "/since: Since must be a date", "{date}");
    }
    assert_eq!(codes(with("/since", json!("2024-02-29"))), []);
}

#[test]
fn numbers_keep_their_bounds() {
    for (pointer, value, code) in [
        ("/rate", json!(0), "out_of_range"),
        ("/rate", json!(-1), "out_of_range"),
        ("/rate", json!(51), "out_of_range"),
        ("/rate", json!(u64::MAX), "out_of_range"),
        ("/rate", json!(1e300), "out_of_range"),
        ("/rate", json!(1.5), "type"),
        ("/first", json!(-1), "out_of_range"),
        ("/first", json!(1e20), "out_of_range"),
        ("/share", json!(1.0001), "out_of_range"),
    ] {
        let error = only(pointer, value.clone());
        assert_eq!((&*error.pointer, &*error.code), (pointer, code), "{value}");
    }
    for (pointer, value) in [
        ("/rate", json!(1)),
        ("/rate", json!(50.0)),
        ("/first", json!(u64::MAX)),
        ("/first", json!(3.0)),
        ("/share", json!(0)),
    ] {
        assert_eq!(codes(with(pointer, value.clone())), [], "{pointer} {value}");
    }
}

#[test]
fn no_text_about_an_answer_holds_a_value_of_it() {
    let wrong = [
        json!(CANARY),
        json!(format!("{CANARY} {CANARY}")),
        json!([CANARY]),
        json!([CANARY, CANARY, CANARY, CANARY, 1]),
        json!({ "method": "token", "token": [CANARY] }),
        json!({ "method": "password", "user": CANARY.repeat(9), "password": format!("{CANARY}é") }),
        json!(format!("https://{CANARY}@example.com")),
    ];
    let connector = sample();
    let names: Vec<String> = good().as_object().unwrap().keys().cloned().collect();
    for name in &names {
        for value in &wrong {
            let shown = match connector.validate(with(&format!("/{name}"), value.clone())) {
                Ok(validated) => format!("{validated:?} {:?}", validated.notices),
                Err(errors) => {
                    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    let json = serde_json::to_string(&errors).unwrap();
                    format!("{errors:?} {errors:#?} {texts:?} {json}")
                }
            };
            assert!(!shown.contains("canary"), "{name}: {shown}");
        }
    }
}

#[test]
fn what_pasting_leaves_around_a_value_is_removed_with_a_notice() {
    for around in [
        "  {}",
        "{}\n",
        "\t{}\r\n",
        "\u{feff}{}",
        "{}\u{200b}",
        "\u{a0}{}",
        "\"{}\"",
        "'{}'",
        " \"{}\"\n",
    ] {
        for (pointer, value, title) in [
            ("/api_key", "key-1", "API key"),
            ("/auth/password", "pass-1", "Password"),
            ("/base_url", "https://api.example.com", "Address"),
        ] {
            let pasted = around.replace("{}", value);
            let validated = sample().validate(with(pointer, json!(pasted))).unwrap();
            let [notice] = validated.notices.as_slice() else {
                panic!("{pasted:?}: {:?}", validated.notices);
            };
            assert_eq!(notice.pointer, pointer);
            assert_eq!(
                notice.message,
                format!("{title}: surrounding spaces or quotes were removed")
            );
        }
    }
}

#[test]
fn an_unusual_beginning_is_noticed_once_and_not_refused() {
    let key = json!({
        "title": "Key", "description": "D", "type": "string", "format": "password", "writeOnly": true,
        "x-headwater": { "order": 1, "knownPrefix": "acme_sk_" },
    });
    let branch =
        |name: &str| json!({ "properties": { "style": { "const": name }, "key": key.clone() } });
    let schema = json!({ "type": "object", "properties": { "auth": {
        "title": "Sign-in", "description": "D", "x-headwater": { "order": 1 },
        "oneOf": [branch("header"), branch("bearer")],
    } } });
    let form = FormModel::from_schema("X", &[], &schema).unwrap();
    assert_eq!(form.inputs()[0].known_prefix.as_deref(), Some("acme_sk_"));
    for (given, kept, notices) in [
        ("acme_sk_1", "acme_sk_1", 0),
        (" 'acme_sk_1'", "acme_sk_1", 1),
        ("canary-1", "canary-1", 1),
        ("\"canary-1\"", "canary-1", 2),
        ("\"\"acme_sk_1\"\"", "acme_sk_1", 1),
        ("", "", 0),
    ] {
        let mut answer = json!({ "auth": { "style": "bearer", "key": given } });
        let found = tidy(&form, &mut answer);
        assert_eq!(answer["auth"]["key"], kept);
        assert_eq!(found.len(), notices, "{given}: {found:?}");
        assert!(found.iter().all(|notice| notice.pointer == "/auth/key"));
        assert!(!format!("{found:?}").contains("canary"), "{found:?}");
    }
}

#[test]
fn tidying_takes_what_is_around_and_doing_it_again_takes_no_more() {
    let connector = sample();
    let form = connector.form().unwrap();
    for (pasted, tidied) in [
        ("\"a\"", "a"),
        ("\"\"a\"\"", "a"),
        ("'\" a \"'", "a"),
        ("'a\"", "'a\""),
        ("\"", "\""),
        ("a'b", "a'b"),
        ("\" a \"", "a"),
        ("\"\"", ""),
        (" a b ", "a b"),
    ] {
        let mut answer = with("/api_key", json!(pasted));
        tidy(&form, &mut answer);
        assert_eq!(answer["api_key"], tidied, "{pasted:?}");
        // What is saved is tidied once more whenever it is read.
        assert_eq!(tidy(&form, &mut answer), [], "{pasted:?}");
    }
    // Other texts may begin with a space or a quote for a reason.
    let mut answer = with("/auth/user", json!(" \"ann\" "));
    assert_eq!(tidy(&form, &mut answer), []);
    assert_eq!(answer["auth"]["user"], " \"ann\" ");
}

#[test]
fn a_password_keeps_what_is_around_it_and_a_notice_tells() {
    let removed = "Password: surrounding spaces were removed";
    let ended = "Password: the end of the line was removed";
    let kept = "Password has spaces or quotes around it, which are kept; remove them if they are not part of \
                the value";
    for (pattern, given, left, notices) in [
        (None, "a b", "a b", vec![]),
        (None, " a", " a", vec![kept]),
        (None, "a\u{a0}", "a\u{a0}", vec![kept]),
        (None, "\"a\"", "\"a\"", vec![kept]),
        (None, " 'a' ", " 'a' ", vec![kept]),
        (None, "a'", "a'", vec![]),
        // A login form cannot hold the end of a line, but files and variables often do.
        (None, "a\n", "a", vec![ended]),
        (None, " a\r\n", " a", vec![ended, kept]),
        // A header carries no space around its value.
        (Some("^[!-~]*$"), " a\n", "a", vec![removed]),
        (Some("^[!-~]*$"), "\"a\"", "\"a\"", vec![kept]),
        (
            Some("^[!-~]*$"),
            " '\"a\"' ",
            "'\"a\"'",
            vec![removed, kept],
        ),
    ] {
        let mut schema = json!({ "type": "object", "properties": { "password": {
            "title": "Password", "description": "D", "type": "string", "format": "password", "writeOnly": true,
            "x-headwater": { "order": 1, "verbatim": true },
        } } });
        if let Some(pattern) = pattern {
            schema["properties"]["password"]["pattern"] = pattern.into();
        }
        let form = FormModel::from_schema("X", &[], &schema).unwrap();
        let mut answer = json!({ "password": given });
        let said: Vec<String> = tidy(&form, &mut answer)
            .into_iter()
            .map(|notice| notice.message)
            .collect();
        assert_eq!(said, notices, "{given:?}");
        assert_eq!(answer["password"], left, "{given:?}");
        tidy(&form, &mut answer);
        assert_eq!(answer["password"], left, "{given:?}, once more");
    }
}

#[test]
fn what_the_schema_accepts_can_always_be_read() {
    const SEED: u64 = 0x5eed;
    const ROUNDS: usize = 1_500;
    println!("seed {SEED:#x}");
    let connector = sample();
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let mut answer = good();
        for _ in 0..random.usize(1..4) {
            mutate(&mut answer, &mut random);
        }
        match connector.validate(answer.clone()) {
            Ok(_) => accepted += 1,
            Err(errors) => {
                let is_read = errors.iter().all(|error| error.code != "unreadable");
                assert!(is_read, "round {round}: {answer} {errors:?}");
            }
        }
    }
    assert!(
        (ROUNDS / 50..ROUNDS).contains(&accepted),
        "{accepted} accepted"
    );
}

/// Changes one random place of an answer: another value, another character, a key less, a key more.
fn mutate(answer: &mut Value, random: &mut fastrand::Rng) {
    let mut places = vec![String::new()];
    collect(answer, "", &mut places);
    let place = &places[random.usize(..places.len())];
    let Some(value) = answer.pointer_mut(place) else {
        return;
    };
    match (random.u8(..4), &mut *value) {
        (0, Value::Object(object)) => {
            let name = object
                .keys()
                .nth(random.usize(..object.len().max(1)))
                .cloned();
            object.remove(&name.unwrap_or_default());
        }
        (1, Value::Object(object)) => {
            object.insert("x".repeat(random.usize(..3)), random_value(random, 2));
        }
        (0 | 1, Value::String(text)) => {
            let mut characters: Vec<char> = text.chars().collect();
            let at = random.usize(..=characters.len());
            let new = random
                .choice("\"'/ :@?#[]%\\.0:9-aé\n\0".chars().collect::<Vec<_>>())
                .unwrap();
            if random.bool() || at == characters.len() {
                characters.insert(at, new);
            } else {
                characters[at] = new;
            }
            *text = characters.into_iter().collect();
        }
        _ => *value = random_value(random, 2),
    }
}

fn collect(value: &Value, at: &str, places: &mut Vec<String>) {
    let mut enter = |name: String, inner: &Value| {
        let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        places.push(place.clone());
        collect(inner, &place, places);
    };
    match value {
        Value::Object(object) => object
            .iter()
            .for_each(|(name, inner)| enter(name.clone(), inner)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(n, inner)| enter(n.to_string(), inner)),
        _ => {}
    }
}

fn random_value(random: &mut fastrand::Rng, depth: u8) -> Value {
    const TEXTS: &[&str] = &[
        "",
        " ",
        "a",
        "europe",
        "token",
        "password",
        "2026-02-28",
        "2026-02-31",
        "0000-01-01",
        "9999-12-31",
        "-000001-01-01",
        "2026-02-28Z",
        "https://a",
        "https://a:65536",
        "https://a:0",
        "https://[::1]",
        "https://[::g]",
        "https://1.2.3",
        "https://256.1.1.1",
        "https://0x7f.1",
        "https://a%2eb",
        "https://%41",
        "https://xn--",
        "https://-",
        "https://a..b",
        "https://a_b",
        "https://a/%zz",
        "https://é",
        "https://a/é",
        "https://a<b",
        "https://a|b",
        "https://a^",
        "http://localhost:65536",
        "http://[::1]:0/",
        "https://.",
        "https://:1",
        "https://*",
        "https://a/..",
        "https://a//b",
        "https://\u{ad}",
        "https://a\u{3002}b",
        "\u{2028}",
    ];
    match random.u8(..if depth == 0 { 4 } else { 6 }) {
        0 => json!(TEXTS[random.usize(..TEXTS.len())]),
        1 => json!(random.choice([
            0.0, -0.0, 1.0, 1.5, -1.0, 49.999, 1e15, 1e19, 1e20, 1e300, 5e-324
        ])),
        2 => json!(random.choice([i64::MIN, -1, 0, 1, 50, 51, 65_535, 65_536, i64::MAX])),
        3 => random
            .choice([json!(null), json!(true), json!(false), json!(u64::MAX)])
            .unwrap(),
        4 => (0..random.usize(..5))
            .map(|_| random_value(random, depth - 1))
            .collect(),
        _ => {
            let keys = ["method", "token", "user", "password", "x"];
            let chosen = keys.iter().filter(|_| random.bool()).collect::<Vec<_>>();
            let pairs = chosen
                .into_iter()
                .map(|key| ((*key).to_owned(), random_value(random, depth - 1)));
            Value::Object(pairs.collect())
        }
    }
}
