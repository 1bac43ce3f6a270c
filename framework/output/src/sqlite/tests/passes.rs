//! Keys that do not tell all records apart, rows that a pass did not see, and tables that lost what they had.

use headwater_core::Kind;
use headwater_core::sink::{Deletes, UnseenRows};

use super::*;

/// A stream whose key is composed and not promised.
fn composed() -> StreamSpec {
    StreamSpec {
        key: &["id", "at"],
        schema: || {
            let mut schema = (things().schema)();
            schema["x-headwater"] = json!({"key": "composed"});
            schema
        },
        ..things()
    }
}

fn with_deletes(deletes: Deletes) -> TableOptions {
    TableOptions {
        deletes,
        ..TableOptions::default()
    }
}

/// One complete pass of a stream with its mark.
fn pass(
    place: &Fixture,
    options: &TableOptions,
    stream: &StreamSpec,
    mark: u64,
    records: &[&str],
) -> (WriteCounts, Option<UnseenRows>) {
    let mut sink = place.sink_of("main", options.clone());
    let mut state = State::held_by(&mut sink, CONNECTOR).unwrap().unwrap();
    sink.restore(std::slice::from_ref(stream), &state).unwrap();
    sink.begin_pass(stream.name, mark).unwrap();
    let written = write(&mut sink, stream.name, records).unwrap();
    let unseen = sink.end_pass(stream.name).unwrap();
    sink.commit(&mut state).unwrap();
    (written, unseen)
}

fn counts(written: WriteCounts) -> (u64, u64, u64) {
    (written.records, written.deduplicated, written.collisions)
}

#[test]
fn records_that_share_a_composed_key_are_all_kept_and_repeats_are_one_row() {
    let place = Fixture::new();
    let events: Vec<String> = (0..20)
        .map(|n| {
            format!(
                r#"{{"id":"{}","at":"2026-01-31T10:00:00Z","correlation":{n}}}"#,
                n / 5
            )
        })
        .collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let options = TableOptions::default();
    let (written, _) = pass(&place, &options, &composed(), 1, &events);
    assert_eq!(counts(written), (20, 0, 0));
    // The passes overlap; and a service may spell an event in another way.
    let respelt = r#"{ "correlation":0,"at":"2026-01-31T10:00:00\u005a", "id":"0" }"#;
    let (written, _) = pass(
        &place,
        &options,
        &composed(),
        2,
        &[events[3], events[4], respelt],
    );
    assert_eq!(counts(written), (0, 3, 0));
    assert_eq!(
        place.query("SELECT count(*), count(DISTINCT _digest), sum(_seen = 2) FROM things"),
        ["20 20 3"]
    );
}

#[test]
fn two_records_under_one_key_of_one_pass_are_counted_and_both_kept() {
    let place = Fixture::new();
    let options = TableOptions::default();
    let (one, other) = (r#"{"id":"a","count":1}"#, r#"{"id":"a","count":2}"#);
    let (written, _) = pass(&place, &options, &things(), 1, &[one, other, one, other]);
    assert_eq!(counts(written), (2, 2, 1));
    let rows = "SELECT count, _digest = '' FROM things ORDER BY count";
    assert_eq!(place.query(rows), ["1 1", "2 0"]);
    // In the next pass they come in another order, and are the same two.
    let (written, unseen) = pass(&place, &options, &things(), 2, &[other, one]);
    assert_eq!(counts(written), (0, 2, 1));
    assert_eq!(unseen.unwrap().rows, 0);
    assert_eq!(place.query(rows), ["1 1", "2 0"]);
    // A record that differs from the one in the pass before has changed; and the pass shows one only.
    let (written, unseen) = pass(&place, &options, &things(), 3, &[r#"{"id":"a","count":3}"#]);
    assert_eq!(counts(written), (0, 1, 0));
    assert_eq!(unseen.unwrap().rows, 0);
    assert_eq!(place.query(rows), ["3 1"]);
}

#[test]
fn of_two_versions_of_one_pass_the_one_that_came_last_stays() {
    let place = Fixture::new();
    let stream = StreamSpec {
        cursor: Some("at"),
        ..things()
    };
    let version = |at: &str, n: u32| format!(r#"{{"id":"a","at":"2026-01-31T{at}Z","count":{n}}}"#);
    let versions = [
        version("10:00:00", 1),
        version("10:00:02", 2),
        version("10:00:01", 3),
    ];
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    let (written, _) = pass(&place, &TableOptions::default(), &stream, 1, &versions);
    assert_eq!(counts(written), (1, 2, 0));
    assert_eq!(place.query("SELECT count FROM things"), ["3"]);
    // Two that changed at one time are no versions.
    let (written, _) = pass(
        &place,
        &TableOptions::default(),
        &stream,
        1,
        &[&version("10:00:01", 4)],
    );
    assert_eq!(counts(written), (1, 0, 1));
}

#[test]
fn two_spellings_of_an_id_are_one_row() {
    let any = spec("things", &["id"], || json!({"properties": {"id": true}}));
    for stream in [things(), any] {
        let place = Fixture::new();
        let ids = [r#""a/b""#, r#""a\/b""#, r#""caf\u00e9""#, "\"café\""];
        let records = ids.map(|id| format!(r#"{{"id":{id}}}"#));
        let written = place.write(&stream, &records.each_ref().map(String::as_str));
        assert_eq!(counts(written), (2, 2, 0));
    }
}

#[test]
fn rows_that_a_complete_pass_did_not_see_are_kept_marked_or_removed() {
    for deletes in [Deletes::Keep, Deletes::Mark, Deletes::Remove] {
        let place = Fixture::new();
        let options = with_deletes(deletes);
        let (a, b, c) = (r#"{"id":"a"}"#, r#"{"id":"b"}"#, r#"{"id":"c","count":1}"#);
        pass(&place, &options, &things(), 1, &[a, b, c]);
        let (_, unseen) = pass(&place, &options, &things(), 2, &[a]);
        assert_eq!(unseen, Some(UnseenRows { rows: 2, deletes }));
        let deleted = match deletes {
            Deletes::Mark => "_deleted_at IS NOT NULL",
            Deletes::Keep | Deletes::Remove => "0",
        };
        let rows = format!("SELECT id, _seen, {deleted} FROM things ORDER BY id");
        let expected: &[&str] = match deletes {
            Deletes::Keep => &["'a' 2 0", "'b' 1 0", "'c' 1 0"],
            Deletes::Mark => &["'a' 2 0", "'b' 1 1", "'c' 1 1"],
            Deletes::Remove => &["'a' 2 0"],
        };
        assert_eq!(place.query(&rows), expected, "{deletes:?}");
        // What comes back is not deleted any more, the same or changed.
        let (_, unseen) = pass(
            &place,
            &options,
            &things(),
            3,
            &[a, b, r#"{"id":"c","count":2}"#],
        );
        assert_eq!(unseen, Some(UnseenRows { rows: 0, deletes }));
        assert_eq!(
            place.query(&rows),
            ["'a' 3 0", "'b' 3 0", "'c' 3 0"],
            "{deletes:?}"
        );
    }
    let place = Fixture::new();
    let mut sink = place.sink_of("main", with_deletes(Deletes::Mark));
    let state = State::held_by(&mut sink, CONNECTOR).unwrap().unwrap();
    let error = sink.restore(&[events()], &state).unwrap_err();
    assert_eq!(error.kind(), Kind::ConfigInvalid);
}

/// A table of an earlier version: no marks, and a key without a digest.
fn of_an_earlier_version(place: &Fixture, key: &str, rows: &str) {
    let file = Connection::open(place.path()).unwrap();
    let columns =
        r#""at" TEXT, "count" INTEGER, "id" TEXT, "is_open" BOOLEAN, "money" TEXT, "tags" TEXT"#;
    file.execute_batch(&format!(
        "DROP TABLE IF EXISTS things;
         CREATE TABLE things ({columns}, _record TEXT NOT NULL, _overflow TEXT, UNIQUE ({key}));
         CREATE INDEX mine ON things (count);
         CREATE VIEW seen AS SELECT id FROM things;
         INSERT INTO things (id, at, count, _record) VALUES {rows};
         UPDATE _headwater_tables SET key = '[{}]' WHERE table_name = 'things';",
        key.split(", ")
            .map(|name| format!("\"{name}\""))
            .collect::<Vec<_>>()
            .join(",")
    ))
    .unwrap();
}

#[test]
fn a_table_of_an_earlier_version_goes_on_with_a_digest_in_its_key() {
    let place = Fixture::new();
    let at = "2026-01-31T10:00:00Z";
    let record = format!(r#"{{"id":"a","at":"{at}","count":1}}"#);
    place.write(&composed(), &[]);
    of_an_earlier_version(&place, "id, at", &format!("('a', '{at}', 1, '{record}')"));
    let again = format!(r#"{{"count":1, "id":"a","at":"{at}"}}"#);
    let other = format!(r#"{{"id":"a","at":"{at}","count":2}}"#);
    let (written, _) = pass(
        &place,
        &TableOptions::default(),
        &composed(),
        1,
        &[&again, &other],
    );
    assert_eq!(counts(written), (1, 1, 0));
    assert_eq!(
        place.query("SELECT count FROM things ORDER BY count"),
        ["1", "2"]
    );
    assert_eq!(place.query("SELECT count(*) FROM seen"), ["2"]);
    assert_eq!(
        place.query("SELECT count(*) FROM sqlite_schema WHERE name = 'mine'"),
        ["1"]
    );
    let (written, _) = pass(&place, &TableOptions::default(), &composed(), 2, &[&other]);
    assert_eq!(counts(written), (0, 1, 0));
}

#[test]
fn a_table_of_an_earlier_version_that_cannot_keep_both_says_so() {
    let place = Fixture::new();
    place.write(&things(), &[]);
    of_an_earlier_version(&place, "id", r#"('a', NULL, 1, '{"id":"a","count":1}')"#);
    let options = with_deletes(Deletes::Mark);
    let records = [r#"{"id":"a","count":1}"#, r#"{"id":"a","count":2}"#];
    let (written, _) = pass(&place, &options, &things(), 1, &records);
    assert_eq!((counts(written), written.merged), ((0, 2, 1), 1));
    assert_eq!(place.query("SELECT count, _seen FROM things"), ["2 1"]);
}

#[test]
fn a_table_that_lost_what_the_state_vouches_for_is_refused_until_its_stream_is_reset() {
    for loss in ["DROP TABLE things", "DELETE FROM things"] {
        let place = Fixture::new();
        place.write(&things(), &[r#"{"id":"a"}"#]);
        Connection::open(place.path())
            .unwrap()
            .execute_batch(loss)
            .unwrap();
        let before = place.query("SELECT * FROM _headwater_tables");
        let text = json!({
            "headwater_state": 2,
            "connector": CONNECTOR,
            "streams": {"things": {"last_records": 1}},
            "rows": {"things": 1},
        });
        let mut state =
            State::from_json(text.to_string().as_bytes(), "the state", CONNECTOR).unwrap();
        let mut sink = place.sink();
        State::held_by(&mut sink, CONNECTOR).unwrap();
        let error = sink.restore(&[things()], &state).unwrap_err();
        assert_eq!(error.kind(), Kind::ConfigInvalid);
        let said = error.to_string();
        assert!(
            said.contains("headwater state reset sqlite:") && said.contains("--stream things"),
            "{said}"
        );
        assert_eq!(place.query("SELECT * FROM _headwater_tables"), before);
        state.reset("things").unwrap();
        sink.restore(&[things()], &state).unwrap();
        write(&mut sink, "things", &[r#"{"id":"a"}"#]).unwrap();
        sink.commit(&mut state).unwrap();
        assert_eq!(place.query("SELECT count(*) FROM things"), ["1"]);
    }
}
