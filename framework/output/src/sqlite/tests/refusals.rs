//! Refusals, each of which leaves everything as it was.

use std::{fs, io, os::unix::fs::PermissionsExt};

use headwater_core::{Error, Kind};

use super::{super::file::lock_path, *};

/// A run that gets as far as its first write.
fn refused(
    place: &Fixture,
    connection: &str,
    options: TableOptions,
    streams: &[StreamSpec],
) -> Error {
    let mut sink = place.sink_of(connection, options);
    let state = State::held_by(&mut sink, CONNECTOR).unwrap().unwrap();
    sink.restore(streams, &state).unwrap_err()
}

fn says(error: &Error, kind: Kind, part: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(part), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn tables_of_another_program_are_left_alone() {
    for foreign in [
        "CREATE TABLE things (mine)",
        "CREATE TABLE THINGS (id, _record, _overflow)",
        "CREATE VIEW things AS SELECT 1 AS id",
        "CREATE TABLE mine (a); CREATE INDEX things ON mine (a)",
    ] {
        let place = Fixture::new();
        Connection::open(place.path())
            .unwrap()
            .execute_batch(foreign)
            .unwrap();
        let error = refused(&place, "main", TableOptions::default(), &[things()]);
        says(
            &error,
            Kind::ConfigInvalid,
            "there is a table or view \"things\" that headwater did not make; name another file",
        );
        place
            .write_with(with_prefix("acme_"), &things(), &[r#"{"id":"a"}"#])
            .unwrap();
        assert_eq!(place.query("SELECT id FROM acme_things"), ["'a'"]);
    }
}

#[test]
fn tables_of_another_connection_are_left_alone() {
    let place = Fixture::new();
    place.write(&things(), &[r#"{"id":"a"}"#]);
    let error = refused(&place, "other", TableOptions::default(), &[things()]);
    says(
        &error,
        Kind::ConfigInvalid,
        "belongs to the stream things of the connection main",
    );
    assert_eq!(place.query("SELECT id FROM things"), ["'a'"]);
}

#[test]
fn another_prefix_would_leave_records_behind_and_is_refused() {
    let place = Fixture::new();
    place.write(&things(), &[r#"{"id":"a"}"#]);
    let error = refused(&place, "main", with_prefix("acme_"), &[things()]);
    says(
        &error,
        Kind::ConfigInvalid,
        "has the table \"things\" already",
    );
    says(&error, Kind::ConfigInvalid, "keep its ?prefix=");
}

#[test]
fn reserved_names_ask_for_a_prefix() {
    for name in [
        "sqlite_sequence",
        "SQLite_x",
        "_headwater_state",
        "_Headwater_x",
    ] {
        let place = Fixture::new();
        let stream = StreamSpec { name, ..things() };
        let error = refused(
            &place,
            "main",
            TableOptions::default(),
            std::slice::from_ref(&stream),
        );
        says(
            &error,
            Kind::ConfigInvalid,
            "are reserved; give the tables a prefix",
        );
        place
            .write_with(with_prefix("acme_"), &stream, &[r#"{"id":"a"}"#])
            .unwrap();
    }
}

#[test]
fn streams_that_would_share_a_table_are_refused() {
    let place = Fixture::new();
    let streams = [
        things(),
        StreamSpec {
            name: "Things",
            ..things()
        },
    ];
    let error = refused(&place, "main", TableOptions::default(), &streams);
    says(
        &error,
        Kind::ConfigInvalid,
        "the streams things and Things would share the table \"things\"",
    );
}

#[test]
fn a_mode_that_cannot_be_had_is_refused() {
    let place = Fixture::new();
    let error = refused(&place, "main", with_mode(Mode::Upsert), &[events()]);
    says(
        &error,
        Kind::ConfigInvalid,
        "the stream events has no key, so that its rows can only be appended",
    );

    place
        .write_with(with_mode(Mode::Append), &things(), &[r#"{"id":"a"}"#])
        .unwrap();
    let error = refused(&place, "main", with_mode(Mode::Upsert), &[things()]);
    says(
        &error,
        Kind::ConfigInvalid,
        "was made to append rows, and now it would be made with the key id",
    );
    // Without the option, a table stays what it is.
    assert_eq!(place.write(&things(), &[r#"{"id":"a"}"#]).records, 1);
}

#[test]
fn a_table_with_another_key_is_refused() {
    let place = Fixture::new();
    place.write(&things(), &[r#"{"id":"a"}"#]);
    let stream = StreamSpec {
        key: &["count"],
        ..things()
    };
    let error = refused(&place, "main", TableOptions::default(), &[stream]);
    says(
        &error,
        Kind::ConfigInvalid,
        "was made with the key id, and now it would be made with the key count",
    );
}

#[test]
fn a_table_that_lost_a_column_is_refused() {
    for column in ["count", "_overflow"] {
        let place = Fixture::new();
        place.write(&things(), &[r#"{"id":"a"}"#]);
        let sql = format!("ALTER TABLE things DROP COLUMN {column}");
        Connection::open(place.path())
            .unwrap()
            .execute_batch(&sql)
            .unwrap();
        let error = refused(&place, "main", TableOptions::default(), &[things()]);
        says(
            &error,
            Kind::ConfigInvalid,
            &format!("lost its column {column:?}"),
        );
    }
}

#[test]
fn a_file_of_a_newer_version_is_left_as_it_is() {
    let place = Fixture::new();
    place.write(&things(), &[r#"{"id":"a"}"#]);
    let newer = "UPDATE _headwater_format SET version = 2; DROP TABLE _headwater_tables";
    Connection::open(place.path())
        .unwrap()
        .execute_batch(newer)
        .unwrap();
    let error = State::held_by(&mut place.sink(), CONNECTOR).unwrap_err();
    says(
        &error,
        Kind::ConfigInvalid,
        "was written by a newer version (format 2); use that version",
    );
    assert_eq!(place.query("SELECT epoch FROM _headwater_state"), ["1"]);
    assert_eq!(
        place.query("SELECT count(*) FROM sqlite_schema WHERE name = '_headwater_tables'"),
        ["0"]
    );
}

#[test]
fn a_state_that_cannot_be_used_is_never_a_silent_restart() {
    let newer = r#"{"headwater_state":99,"connector":"acme"}"#;
    let foreign = r#"{"headwater_state":2,"connector":"other"}"#;
    for (text, part) in [
        (newer, "was written by a newer version"),
        (
            foreign,
            "belongs to the connector \"other\", not to \"acme\"",
        ),
        ("{\"headwater", "is damaged"),
        ("", "is empty"),
    ] {
        let place = Fixture::new();
        place.write(&things(), &[r#"{"id":"a"}"#]);
        let connection = Connection::open(place.path()).unwrap();
        connection
            .execute("UPDATE _headwater_state SET state = ?1", [text])
            .unwrap();
        let error = State::held_by(&mut place.sink(), CONNECTOR).unwrap_err();
        says(&error, Kind::ConfigInvalid, part);
        says(
            &error,
            Kind::ConfigInvalid,
            "the state of the connection main in ",
        );
        assert_eq!(
            place.query("SELECT state, epoch FROM _headwater_state"),
            [format!("'{text}' 1")]
        );
    }
}

#[test]
fn what_is_no_database_is_left_as_it_is() {
    let place = Fixture::new();
    let text = "not a database, but long enough to look at. ".repeat(100);
    fs::write(place.path(), &text).unwrap();
    let error = State::held_by(&mut place.sink(), CONNECTOR).unwrap_err();
    says(
        &error,
        Kind::ConfigInvalid,
        "is not an SQLite file; name another one",
    );
    assert_eq!(fs::read_to_string(place.path()).unwrap(), text);
    assert_eq!(
        fs::read_dir(place.folder.path()).unwrap().count(),
        1,
        "no other file is left"
    );
}

#[test]
fn a_folder_and_a_missing_folder_are_refused() {
    let place = Fixture::new();
    for path in [
        place.folder.path().to_owned(),
        place.folder.path().join("missing/records.db"),
    ] {
        let mut sink = SqliteSink::new(&path, "main", TableOptions::default()).unwrap();
        let loaded = State::held_by(&mut sink, CONNECTOR);
        let restored = loaded.and_then(|_| sink.restore(&[things()], &state(0)));
        says(
            &restored.unwrap_err(),
            Kind::OutputFailed,
            "it has to be a file, in a folder that is there",
        );
    }
}

#[test]
fn a_file_of_another_program_is_not_changed_by_a_refusal() {
    let place = Fixture::new();
    let own = Connection::open(place.path()).unwrap();
    own.execute_batch("CREATE TABLE things (mine)").unwrap();
    drop(own);
    let before = fs::read(place.path()).unwrap();
    let mut sink = place.sink();
    State::held_by(&mut sink, CONNECTOR).unwrap();
    let error = sink.restore(&[things()], &state(0)).unwrap_err();
    says(
        &error,
        Kind::ConfigInvalid,
        "there is a table or view \"things\" that headwater did not make",
    );
    assert!(fs::read(place.path()).unwrap() == before);
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 1);
}

#[test]
fn a_second_run_of_the_connection_is_refused_until_the_first_ends() {
    let place = Fixture::new();
    let mut first = place.sink();
    let mut second = place.sink();
    State::held_by(&mut first, CONNECTOR).unwrap();
    State::held_by(&mut second, CONNECTOR).unwrap();
    first.restore(&[things()], &state(0)).unwrap();
    for error in [
        // It saw the file before the first one took it.
        second.restore(&[things()], &state(0)).unwrap_err(),
        State::held_by(&mut place.sink(), CONNECTOR).unwrap_err(),
    ] {
        says(
            &error,
            Kind::Unavailable,
            "is being written by another run of the connection main; wait",
        );
    }
    first.commit(&mut state(1)).unwrap();
    drop(first);
    let error = second.restore(&[things()], &state(0)).unwrap_err();
    says(&error, Kind::Unavailable, "meanwhile; run again");
    State::held_by(&mut place.sink(), CONNECTOR).unwrap();
}

/// As on a file system without locks.
#[test]
fn of_two_runs_at_once_only_the_later_one_commits() {
    let place = Fixture::new();
    let mut first = place.sink();
    State::held_by(&mut first, CONNECTOR).unwrap();
    first.restore(&[things()], &state(0)).unwrap();
    write(&mut first, "things", &[r#"{"id":"a"}"#]).unwrap();
    first.commit(&mut state(1)).unwrap();

    fs::remove_file(lock_path(&place.path(), "main")).unwrap();
    let mut second = place.sink();
    let mut taken = State::held_by(&mut second, CONNECTOR).unwrap().unwrap();
    assert_eq!(number(&taken), 1);
    second.restore(&[things()], &taken).unwrap();

    write(&mut first, "things", &[r#"{"id":"lost"}"#]).unwrap();
    let error = first.commit(&mut state(2)).unwrap_err();
    says(
        &error,
        Kind::OutputFailed,
        "another run of the connection main took over",
    );
    let error = write(&mut first, "things", &[r#"{"id":"lost"}"#]).unwrap_err();
    says(&error, Kind::OutputFailed, "an earlier write");
    assert!(first.commit(&mut state(2)).is_err());

    write(&mut second, "things", &[r#"{"id":"b"}"#]).unwrap();
    taken = state(3);
    second.commit(&mut taken).unwrap();
    assert_eq!(
        place.query("SELECT id FROM things ORDER BY id"),
        ["'a'", "'b'"]
    );
    drop((first, second));
    assert_eq!(
        number(
            &State::held_by(&mut place.sink(), CONNECTOR)
                .unwrap()
                .unwrap()
        ),
        3
    );
}

#[test]
fn a_look_at_the_state_takes_no_run_and_leaves_nothing_behind() {
    let place = Fixture::new();
    let files = || {
        let mut names: Vec<_> = fs::read_dir(place.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(place.sink().peek().unwrap(), None);
    assert!(files().is_empty(), "no file is made");

    let mut sink = place.sink();
    State::held_by(&mut sink, CONNECTOR).unwrap();
    assert_eq!(
        place.sink().peek().unwrap(),
        None,
        "nothing was committed yet"
    );
    sink.restore(&[things()], &state(0)).unwrap();
    write(&mut sink, "things", &[r#"{"id":"a"}"#]).unwrap();
    sink.commit(&mut state(7)).unwrap();
    write(&mut sink, "things", &[r#"{"id":"b"}"#]).unwrap();
    let seen = place.sink().peek().unwrap().unwrap();
    assert_eq!(seen, state(7).to_json().unwrap(), "also while a run writes");
    sink.commit(&mut state(8)).unwrap();
    drop(sink);

    let (before, left) = (fs::read(place.path()).unwrap(), files());
    assert!(place.sink().peek().unwrap().is_some());
    assert_eq!(
        place
            .sink_of("other", TableOptions::default())
            .peek()
            .unwrap(),
        None
    );
    assert_eq!((fs::read(place.path()).unwrap(), files()), (before, left));

    fs::write(place.path(), "not a database ".repeat(100)).unwrap();
    says(
        &place.sink().peek().unwrap_err(),
        Kind::ConfigInvalid,
        "is not an SQLite file",
    );
}

#[test]
fn after_a_malformed_record_nothing_is_committed_any_more() {
    for record in ["[]", "{\"id\":", "\u{feff}{}"] {
        let place = Fixture::new();
        place.write(&things(), &[r#"{"id":"a"}"#]);
        let mut sink = place.sink();
        let position = State::held_by(&mut sink, CONNECTOR).unwrap().unwrap();
        sink.restore(&[things()], &position).unwrap();
        let error = write(&mut sink, "things", &[r#"{"id":"b"}"#, record]).unwrap_err();
        says(&error, Kind::DataInvalid, "stream things");
        assert!(sink.commit(&mut state(1)).is_err());
        drop(sink);
        assert_eq!(place.query("SELECT id FROM things"), ["'a'"]);
    }
}

#[test]
fn a_full_disk_takes_back_everything_since_the_last_commit() {
    let place = Fixture::new();
    let mut sink = place.sink();
    State::held_by(&mut sink, CONNECTOR).unwrap();
    sink.restore(&[things()], &state(0)).unwrap();
    write(&mut sink, "things", &[r#"{"id":"a"}"#]).unwrap();
    sink.commit(&mut state(1)).unwrap();
    // In place of a full disk: SQLite gives the same error.
    let connection = &sink.run.as_ref().unwrap().connection;
    connection
        .pragma_update_and_check(None, "max_page_count", 40, |_| Ok(()))
        .unwrap();
    let large = format!(r#"{{"id":"b","tags":["{}"]}}"#, "x".repeat(1 << 20));
    let error = write(&mut sink, "things", &[r#"{"id":"c"}"#, &large]).unwrap_err();
    says(
        &error,
        Kind::OutputFailed,
        "the disk is full; make room and run again",
    );
    let error = sink.commit(&mut state(2)).unwrap_err();
    says(&error, Kind::OutputFailed, "an earlier write");
    drop(sink);

    assert_eq!(place.query("SELECT id FROM things"), ["'a'"]);
    let mut sink = place.sink();
    let position = State::held_by(&mut sink, CONNECTOR).unwrap().unwrap();
    assert_eq!(number(&position), 1);
    sink.restore(&[things()], &position).unwrap();
    write(&mut sink, "things", &[&large]).unwrap();
    sink.commit(&mut state(2)).unwrap();
}

#[test]
fn a_file_that_can_only_be_read_is_refused() {
    let place = Fixture::new();
    place.write(&things(), &[r#"{"id":"a"}"#]);
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o444)).unwrap();
    let opened = fs::OpenOptions::new().write(true).open(place.path());
    if opened.is_ok() {
        // Root may write to every file, so that SQLite itself is set to refuse.
        let mut sink = place.sink();
        let position = State::held_by(&mut sink, CONNECTOR).unwrap().unwrap();
        sink.restore(&[things()], &position).unwrap();
        let connection = &sink.run.as_ref().unwrap().connection;
        connection.pragma_update(None, "query_only", true).unwrap();
        let error = write(&mut sink, "things", &[r#"{"id":"b"}"#]).unwrap_err();
        return says(
            &error,
            Kind::OutputFailed,
            "is read-only; let this user write",
        );
    }
    let error = State::held_by(&mut place.sink(), CONNECTOR).unwrap_err();
    says(
        &error,
        Kind::OutputFailed,
        "is read-only; let this user write",
    );
}

#[test]
fn a_file_that_another_program_keeps_is_waited_for_and_then_refused() {
    let place = Fixture::new();
    let mut sink = place.sink();
    State::held_by(&mut sink, CONNECTOR).unwrap();
    sink.restore(&[things()], &state(0)).unwrap();
    let connection = &sink.run.as_ref().unwrap().connection;
    connection
        .busy_timeout(std::time::Duration::from_millis(20))
        .unwrap();
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = write(&mut sink, "things", &[r#"{"id":"a"}"#]).unwrap_err();
    says(
        &error,
        Kind::Unavailable,
        "is being written by another program",
    );
}

#[test]
fn a_damaged_file_is_named_as_such() {
    let place = Fixture::new();
    let large = format!(r#"{{"id":"b","tags":["{}"]}}"#, "x".repeat(1 << 20));
    place.write(&things(), &[&large]);
    let mut bytes = fs::read(place.path()).unwrap();
    bytes[100..8192].fill(0xff);
    fs::write(place.path(), bytes).unwrap();
    let error = State::held_by(&mut place.sink(), CONNECTOR).unwrap_err();
    says(
        &error,
        Kind::OutputFailed,
        "is damaged; put a sound copy in its place",
    );
}

#[test]
fn a_sink_that_was_not_loaded_says_so() {
    let place = Fixture::new();
    let error = place.sink().restore(&[things()], &state(0)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unexpected);
    assert_eq!(
        fs::metadata(place.path()).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
}

#[test]
fn the_file_and_what_sqlite_puts_beside_it_are_for_their_owner() {
    let place = Fixture::new();
    let mut sink = place.sink();
    let mut state = State::held_by(&mut sink, CONNECTOR).unwrap().unwrap();
    sink.restore(&[things()], &state).unwrap();
    write(&mut sink, "things", &[r#"{"id":"a"}"#]).unwrap();
    sink.commit(&mut state).unwrap();
    let entries = fs::read_dir(place.folder.path()).unwrap();
    let modes = entries.map(|entry| {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        (entry.file_name().into_string().unwrap(), mode)
    });
    let mut modes: Vec<(String, u32)> = modes.collect();
    modes.sort();
    let names = ["", "-main.lock", "-shm", "-wal"];
    let expected = names.map(|ending| (format!("records.db{ending}"), 0o600));
    assert_eq!(modes, expected);
}
