use serde_json::json;

use super::*;

/// A state with everything in it that a run keeps.
fn rich() -> State {
    let at = |value: u32| json!({ "version": 1, "value": { "after": value, "url": "/a?b=\"\\ü" } });
    let text = json!({
        "headwater_state": 3,
        "connector": "x",
        "streams": {
            "calls": {
                "bookmark": at(7),
                "pass": { "partitions": [{ "partition": at(1), "token": at(5) }, { "partition": at(2) }] },
                "aside": [{ "partition": at(0), "token": at(3), "message": "read calls: broken" }],
                "last_records": 12,
                "read_at": "2026-01-31T12:00:00Z",
                "covers": ["calls", "users"],
                "behind": { "users": at(4) },
                "mark": { "number": 5, "whole": ["calls"] },
            },
            "users": { "last_records": 70 },
        },
        "finished": ["users"],
        "outputs": { "/data/calls.jsonl": 4096 },
        "rows": { "calls": 12, "users": 70 },
        "ends": { "/data/calls.jsonl": "00ff" },
    });
    State::parse(text.to_string().as_bytes(), "the state").unwrap()
}

#[test]
fn no_bit_of_a_state_flips_without_being_seen() {
    let good = rich();
    let mut text = good.to_json().unwrap();
    assert_eq!(State::parse(&text, "the state").unwrap(), good);
    for place in 0..text.len() {
        for bit in 0..8 {
            text[place] ^= 1 << bit;
            if let Ok(read) = State::parse(&text, "the state") {
                assert_eq!(read, good, "bit {bit} of byte {place}");
            }
            text[place] ^= 1 << bit;
        }
    }
}

#[test]
fn a_number_that_was_changed_is_told_as_damage() {
    let text = String::from_utf8(rich().to_json().unwrap()).unwrap();
    let changed = text.replace("\"last_records\":70", "\"last_records\":71");
    assert_ne!(changed, text);
    let error = State::parse(changed.as_bytes(), "the state file s.json").unwrap_err();
    assert_eq!(error.kind(), Kind::ConfigInvalid);
    assert_eq!(
        error.to_string(),
        "the state file s.json is damaged: its digest does not match; restore a copy of it, or start anew in another place"
    );
    let without = text.replacen("\"digest\"", "\"digset\"", 1);
    State::parse(without.as_bytes(), "the state").unwrap_err();
}

#[test]
fn a_state_with_a_digest_may_be_laid_out_anew() {
    let good = rich();
    let text = String::from_utf8(good.to_json().unwrap()).unwrap();
    let spread = text
        .replace("\":", "\" :\n\t")
        .replace(",\"", ", \r\n \"")
        .replace('{', "{ ");
    assert_ne!(spread, text);
    assert_eq!(State::parse(spread.as_bytes(), "the state").unwrap(), good);
}

#[test]
fn a_state_needs_a_digest_from_the_version_on_that_has_one() {
    for version in 1..FIRST_WITH_DIGEST {
        let text = format!("{{\"headwater_state\":{version},\"connector\":\"x\"}}");
        assert_eq!(
            State::parse(text.as_bytes(), "the state").unwrap(),
            State::new("x")
        );
    }
    for version in FIRST_WITH_DIGEST..=FORMAT {
        let text = format!("{{\"headwater_state\":{version},\"connector\":\"x\"}}");
        let error = State::parse(text.as_bytes(), "the state").unwrap_err();
        assert!(error.to_string().contains("digest"), "{error}");
    }
}

#[test]
fn what_is_set_aside_of_a_group_is_read_again_by_the_name_of_any_of_its_streams() {
    for name in ["calls", "users"] {
        let mut state = rich();
        assert_eq!(state.retry(name).unwrap(), 1, "{name}");
        assert!(state.status()[0].set_aside.is_empty(), "{name}");
        assert_eq!(state.retry(name).unwrap(), 0, "{name}");
    }
    assert!(rich().retry("topics").is_err());
}
