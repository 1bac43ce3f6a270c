//! Which tables and columns there are.

use super::*;

#[test]
fn fields_that_the_schema_gained_become_columns_with_the_first_rows() {
    let place = Fixture::new();
    let narrow = spec(
        "things",
        &["id"],
        || json!({"properties": {"id": {"type": "string"}}}),
    );
    place.write(&narrow, &[r#"{"id":"a","count":1}"#]);
    let columns = "SELECT group_concat(name, ' ') FROM pragma_table_info('things')";
    assert_eq!(
        place.query(columns),
        ["'id _seen _digest _record _overflow'"]
    );

    let mut sink = place.sink();
    let mut position = State::held_by(&mut sink, CONNECTOR).unwrap().unwrap();
    sink.restore(&[things()], &position).unwrap();
    assert_eq!(
        place.query(columns),
        ["'id _seen _digest _record _overflow'"],
        "nothing changes before a write"
    );
    write(&mut sink, "things", &[r#"{"id":"b","count":2}"#]).unwrap();
    drop(sink);
    assert_eq!(
        place.query(columns),
        ["'id _seen _digest _record _overflow'"],
        "nothing changes without a commit"
    );

    let mut sink = place.sink();
    State::held_by(&mut sink, CONNECTOR).unwrap();
    sink.restore(&[things()], &position).unwrap();
    write(&mut sink, "things", &[r#"{"id":"b","count":2}"#]).unwrap();
    sink.commit(&mut position).unwrap();
    drop(sink);
    assert_eq!(
        place.query("SELECT id, count FROM things ORDER BY id"),
        ["'a' NULL", "'b' 2"]
    );

    // Fields that the schema lost keep their columns.
    place.write(&narrow, &[r#"{"id":"c","count":3}"#]);
    assert_eq!(
        place.query("SELECT count FROM things WHERE id = 'c'"),
        ["3"]
    );
}

#[test]
fn a_field_whose_kind_changed_keeps_its_column() {
    let place = Fixture::new();
    place.write(&things(), &[r#"{"id":"a","count":1}"#]);
    let changed = spec(
        "things",
        &["id"],
        || json!({"properties": {"id": {"type": "string"}, "count": {"type": "string"}}}),
    );
    let written = place.write(
        &changed,
        &[r#"{"id":"b","count":"many"}"#, r#"{"id":"c","count":3}"#],
    );
    assert_eq!((written.records, written.overflowed), (2, 1));
    assert_eq!(
        place.query("SELECT count, _overflow FROM things ORDER BY id"),
        ["1 NULL", r#"NULL '{"count":"many"}'"#, "3 NULL"]
    );
}

#[test]
fn tables_are_made_for_streams_without_records_too() {
    let place = Fixture::new();
    let mut sink = place.sink();
    State::held_by(&mut sink, CONNECTOR).unwrap();
    sink.restore(&[things(), events()], &state(0)).unwrap();
    sink.commit(&mut state(1)).unwrap();
    drop(sink);
    assert_eq!(place.query("SELECT count(*) FROM things, events"), ["0"]);
}

#[test]
fn a_table_that_was_taken_away_is_made_again() {
    let place = Fixture::new();
    place.write(&things(), &[r#"{"id":"a"}"#]);
    Connection::open(place.path())
        .unwrap()
        .execute_batch("DROP TABLE things")
        .unwrap();
    place.write(&things(), &[r#"{"id":"b"}"#]);
    assert_eq!(place.query("SELECT id FROM things"), ["'b'"]);
}

#[test]
fn any_name_can_be_a_column() {
    let place = Fixture::new();
    let weird = spec("weird", &["select"], || {
        json!({"properties": {
            "select": {"type": "string"},
            "a\"b": {"type": "integer"},
            "größe 😀": {"type": "integer"},
            "x'; DROP TABLE weird; --": {"type": "integer"},
            "": {"type": "integer"},
            "a\u{0}b": {"type": "integer"},
            "Id": {"type": "integer"},
            "id": {"type": "integer"},
            "_record": {"type": "integer"},
            "_OVERFLOW": {"type": "integer"},
            "rowid": {"type": "integer"},
            "[x]": {"type": "integer"},
            "?1": {"type": "integer"},
        }})
    });
    let record = r#"{"select":"s","a\"b":1,"größe 😀":2,"x'; DROP TABLE weird; --":3,"":4,"a\u0000b":5,"Id":6,"id":7,"_record":8,"_OVERFLOW":9,"rowid":10,"[x]":11,"?1":12}"#;
    let written = place.write(&weird, &[record, record]);
    assert_eq!(
        written,
        WriteCounts {
            records: 1,
            deduplicated: 1,
            overflowed: 0,
            ..WriteCounts::default()
        }
    );
    assert_eq!(
        place.query(
            r#"SELECT "select", "a""b", "größe 😀", "x'; DROP TABLE weird; --", "_", a_b, "Id", "id_2", "_record_2",
               "_OVERFLOW_2", rowid, "[x]", "?1" FROM weird"#
        ),
        ["'s' 1 2 3 4 5 6 7 8 9 10 11 12"]
    );
    assert_eq!(
        place.query("SELECT _record FROM weird"),
        [format!("'{record}'")]
    );
}

#[test]
fn any_name_can_be_a_table() {
    let long: &'static str = "very_long_".repeat(300).leak();
    for name in ["select", "table", "größe", "a\"b", "x'y", "a b", "1", long] {
        let place = Fixture::new();
        let stream = StreamSpec { name, ..things() };
        place.write(&stream, &[r#"{"id":"a"}"#]);
        let written = place.write(&stream, &[r#"{"id":"a"}"#]);
        assert_eq!(written.deduplicated, 1, "{name}");
        let table = name.replace('"', "\"\"");
        assert_eq!(place.query(&format!("SELECT id FROM \"{table}\"")), ["'a'"]);
    }
}

fn many_fields(count: usize) -> Value {
    let fields = (0..count).map(|number| (format!("field_{number}"), json!({"type": "integer"})));
    json!({"properties": fields.collect::<serde_json::Map<_, _>>()})
}

#[test]
fn a_table_can_have_a_thousand_columns() {
    let place = Fixture::new();
    let wide = spec("wide", &["field_0"], || many_fields(1000));
    let fields: Vec<String> = (0..1000)
        .map(|number| format!(r#""field_{number}":{number}"#))
        .collect();
    let record = format!("{{{}}}", fields.join(","));
    assert_eq!(place.write(&wide, &[&record, &record]).deduplicated, 1);
    assert_eq!(
        place.query("SELECT field_0, field_500, field_999 FROM wide"),
        ["0 500 999"]
    );
}

#[test]
fn more_columns_than_sqlite_has_are_refused() {
    let place = Fixture::new();
    let wide = spec("wide", &[], || many_fields(1999));
    let error = place
        .write_with(TableOptions::default(), &wide, &["{}"])
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("2001 columns; the limit of SQLite is 2000"),
        "{error}"
    );
}
