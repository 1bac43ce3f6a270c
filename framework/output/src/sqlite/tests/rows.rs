//! The content of rows.

use super::*;

#[test]
fn each_value_stands_in_its_column_as_it_was_sent() {
    let place = Fixture::new();
    let record = r#"{"id":"a","count":-9223372036854775808,"money":572.0,"is_open":true,"at":"2026-01-01T00:00:00+02:00","tags":[1.0, {"a":"b"}],"more":1e400}"#;
    let written = place.write(&things(), &[record]);
    assert_eq!(
        written,
        WriteCounts {
            records: 1,
            deduplicated: 0,
            overflowed: 0,
            ..WriteCounts::default()
        }
    );
    assert_eq!(
        place.query("SELECT id, count, money, is_open, at, tags, _overflow FROM things"),
        [
            r#"'a' -9223372036854775808 '572.0' 1 '2026-01-01T00:00:00+02:00' '[1.0, {"a":"b"}]' NULL"#
        ]
    );
    assert_eq!(
        place.query("SELECT _record FROM things"),
        [format!("'{record}'")]
    );
}

#[test]
fn the_digits_of_a_number_survive() {
    let place = Fixture::new();
    let numbers = [
        "572.0",
        "12345678901234567890.123",
        "12345678901234567890",
        "1e5",
        "-0",
        "0.10",
        "1E+400",
        "-0.0",
        "9007199254740993",
    ];
    let records: Vec<String> = numbers
        .iter()
        .enumerate()
        .map(|(id, number)| format!(r#"{{"id":"{id}","money":{number}}}"#))
        .collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    assert_eq!(place.write(&things(), &records).overflowed, 0);
    let expected: Vec<String> = numbers.iter().map(|number| format!("'{number}'")).collect();
    assert_eq!(
        place.query("SELECT money FROM things ORDER BY rowid"),
        expected
    );
}

#[test]
fn what_does_not_fit_its_column_overflows_and_is_counted() {
    let place = Fixture::new();
    let cases = [
        (r#""count":572.0"#, r#"{"count":572.0}"#),
        (
            r#""count":9223372036854775808"#,
            r#"{"count":9223372036854775808}"#,
        ),
        (r#""count":-0"#, r#"{"count":-0}"#),
        (r#""count":"5""#, r#"{"count":"5"}"#),
        (r#""money":"5""#, r#"{"money":"5"}"#),
        (r#""is_open":"true""#, r#"{"is_open":"true"}"#),
        (r#""is_open":1"#, r#"{"is_open":1}"#),
        (r#""at":1700000000"#, r#"{"at":1700000000}"#),
        (r#""at":"a\u0000b""#, r#"{"at":"a\u0000b"}"#),
        (r#""at":"\ud800""#, r#"{"at":"\ud800"}"#),
        (
            r#""at":{"a": 1},"count":[]"#,
            r#"{"at":{"a": 1},"count":[]}"#,
        ),
    ];
    let records: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(id, (fields, _))| format!(r#"{{"id":"{id}",{fields}}}"#))
        .collect();
    let fitting = r#"{"id":"fits","count":0}"#;
    let records: Vec<&str> = records
        .iter()
        .map(String::as_str)
        .chain([fitting])
        .collect();
    let written = place.write(&things(), &records);
    assert_eq!(written.records, records.len() as u64);
    assert_eq!(written.overflowed, cases.len() as u64);
    let mut expected: Vec<String> = cases
        .iter()
        .map(|(_, overflow)| format!("'{overflow}'"))
        .collect();
    expected.push("NULL".to_owned());
    assert_eq!(
        place.query("SELECT _overflow FROM things ORDER BY rowid"),
        expected
    );
    let filled =
        "SELECT count(*) FROM things WHERE coalesce(count, money, is_open, at) IS NOT NULL";
    assert_eq!(place.query(filled), ["1"], "what overflows is in no column");
}

#[test]
fn texts_are_unescaped_and_the_last_of_two_equal_names_counts() {
    let place = Fixture::new();
    place.write(
        &things(),
        &[r#" { "id" : "\u00e9\n\"\ud83d\ude00" , "count":1, "\u0063ount" : 2, "tags": "\u00e9", "at":null } "#],
    );
    assert_eq!(
        place.query("SELECT id, count, tags, at FROM things"),
        ["'é\n\"😀' 2 '\"\\u00e9\"' NULL"]
    );
}

#[test]
fn a_record_with_a_known_key_replaces_the_row() {
    let place = Fixture::new();
    let first = place.write(
        &things(),
        &[r#"{"id":"a","count":1,"money":1}"#, r#"{"id":"b"}"#],
    );
    assert_eq!((first.records, first.deduplicated), (2, 0));
    let second = place.write(
        &things(),
        &[
            r#"{"id":"a","count":2}"#,
            r#"{"id":"c"}"#,
            r#"{"id":"c","count":"x"}"#,
        ],
    );
    assert_eq!(
        (second.records, second.deduplicated, second.overflowed),
        (1, 2, 1)
    );
    assert_eq!(
        place.query("SELECT id, count, money, _overflow FROM things ORDER BY id"),
        [
            "'a' 2 NULL NULL",
            "'b' NULL NULL NULL",
            r#"'c' NULL NULL '{"count":"x"}'"#
        ]
    );
}

#[test]
fn a_key_of_several_fields_is_one_key() {
    let place = Fixture::new();
    let stream = StreamSpec {
        key: &["id", "count"],
        ..things()
    };
    let written = place.write(
        &stream,
        &[
            r#"{"id":"a","count":1}"#,
            r#"{"id":"a","count":2}"#,
            r#"{"id":"b","count":1}"#,
            r#"{"id":"a","count":2,"money":7}"#,
        ],
    );
    assert_eq!((written.records, written.deduplicated), (3, 1));
    assert_eq!(
        place.query("SELECT money FROM things WHERE id = 'a' AND count = 2"),
        ["'7'"]
    );
}

#[test]
fn records_without_their_key_are_all_kept() {
    let place = Fixture::new();
    let records = [
        r#"{"count":1}"#,
        r#"{"count":1}"#,
        r#"{"id":null}"#,
        r#"{"id":null}"#,
    ];
    let written = place.write(&things(), &records);
    assert_eq!((written.records, written.deduplicated), (4, 0));
    assert_eq!(place.query("SELECT count(*) FROM things"), ["4"]);
}

#[test]
fn a_key_of_the_wrong_type_still_tells_records_apart() {
    let place = Fixture::new();
    let records = [
        r#"{"id":7}"#,
        r#"{"id":"7"}"#,
        r#"{"id":8}"#,
        r#"{"id":7,"count":1}"#,
    ];
    let written = place.write(&things(), &records);
    assert_eq!(
        (written.records, written.deduplicated, written.overflowed),
        (3, 1, 3)
    );
    assert_eq!(
        place.query("SELECT id, count, _overflow FROM things ORDER BY rowid"),
        [
            r#"x'7' 1 '{"id":7}'"#,
            "'7' NULL NULL",
            r#"x'8' NULL '{"id":8}'"#
        ]
    );
}

#[test]
fn appended_records_are_rows_of_their_own() {
    let place = Fixture::new();
    let record = r#"{"id":"a"}"#;
    for _ in 0..2 {
        let written = place
            .write_with(with_mode(Mode::Append), &things(), &[record, record])
            .unwrap();
        assert_eq!((written.records, written.deduplicated), (2, 0));
        assert_eq!(place.write(&events(), &[record]).records, 1);
    }
    assert_eq!(place.query("SELECT count(*) FROM things"), ["4"]);
    assert_eq!(place.query("SELECT count(*) FROM events"), ["2"]);
}

#[test]
fn several_streams_and_connections_share_a_file() {
    let place = Fixture::new();
    place.write(&things(), &[r#"{"id":"a"}"#]);
    let mut other = place.sink_of("other", with_prefix("other_"));
    let mut position = State::held_by(&mut other, CONNECTOR).unwrap().unwrap();
    other.restore(&[things(), events()], &position).unwrap();
    write(&mut other, "things", &[r#"{"id":"b"}"#]).unwrap();
    write(&mut other, "events", &["{}", "{}"]).unwrap();
    other.commit(&mut position).unwrap();
    assert_eq!(place.query("SELECT id FROM things"), ["'a'"]);
    assert_eq!(place.query("SELECT id FROM other_things"), ["'b'"]);
    assert_eq!(place.query("SELECT count(*) FROM other_events"), ["2"]);
}

/// Whatever a record holds, its bytes are in its row, and each value is in its column or in the overflow.
#[test]
fn random_records_are_kept_whole() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let values = [
        "null",
        "1",
        "1.50",
        "true",
        r#""a""#,
        r#""\u00e9\"""#,
        "[1, 2]",
        r#"{"a":null}"#,
        "-12e3",
    ];
    let names = ["count", "money", "is_open", "at", "tags", "more"];
    let records: Vec<String> = (0..500)
        .map(|id| {
            let fields = (0..random.usize(..8)).map(|_| {
                let (name, value) = (
                    random.choice(names).unwrap(),
                    random.choice(values).unwrap(),
                );
                format!(r#","{name}": {value}"#)
            });
            format!(r#"{{"id":"{id}"{}}}"#, fields.collect::<String>())
        })
        .collect();
    let written = place_and_compare(&records);
    assert_eq!(written.records, 500);
}

fn place_and_compare(records: &[String]) -> WriteCounts {
    let place = Fixture::new();
    let texts: Vec<&str> = records.iter().map(String::as_str).collect();
    let written = place.write(&things(), &texts);
    let kept = place.query("SELECT _record FROM things ORDER BY rowid");
    let expected: Vec<String> = records.iter().map(|record| format!("'{record}'")).collect();
    assert_eq!(kept, expected);
    let overflows = place.query("SELECT count(*) FROM things WHERE _overflow IS NOT NULL");
    assert_eq!(overflows, [written.overflowed.to_string()]);
    for (place_of_record, record) in records.iter().enumerate() {
        let parsed: serde_json::Map<String, Value> = serde_json::from_str(record).unwrap();
        let row = format!("WHERE rowid = {}", place_of_record + 1);
        let overflow = place.query(&format!(
            "SELECT coalesce(_overflow, '{{}}') FROM things {row}"
        ));
        let overflow: Value = serde_json::from_str(overflow[0].trim_matches('\'')).unwrap();
        for name in ["count", "money", "is_open", "at", "tags"] {
            let column = place.query(&format!("SELECT {name} FROM things {row}"));
            let is_in_column = column != ["NULL"];
            let is_in_overflow = overflow.get(name).is_some();
            let is_sent = parsed.get(name).is_some_and(|value| !value.is_null());
            assert_eq!(
                is_in_column || is_in_overflow,
                is_sent,
                "{name} of {record}"
            );
            assert!(!(is_in_column && is_in_overflow), "{name} of {record}");
            if is_in_overflow {
                assert_eq!(overflow[name], parsed[name], "{record}");
            }
        }
    }
    written
}
