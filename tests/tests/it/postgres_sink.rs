//! The PostgreSQL sink against a real server.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use acceptance::postgres::{Postgres, execute};
use headwater_core::{Error, Kind, StreamSpec};
use headwater_host::{Sink, State, WriteCounts};
use headwater_output::Destination;
use postgres::{Client, NoTls};
use serde_json::{Value, json};

const THINGS: StreamSpec = spec("things", &["id"], things);

const fn spec(
    name: &'static str,
    key: &'static [&'static str],
    schema: fn() -> Value,
) -> StreamSpec {
    StreamSpec {
        name,
        description: "A thing.",
        key,
        cursor: None,
        incremental: true,
        schema,
    }
}

fn things() -> Value {
    json!({"type": "object", "properties": {
        "id": {"type": "string"},
        "count": {"type": "integer"},
        "money": {"type": "number"},
        "is_open": {"type": "boolean"},
        "at": {"type": "string", "format": "date-time"},
        "parts": {"type": "array"},
    }})
}

fn open(to: &str) -> Box<dyn Sink> {
    Destination::parse(to)
        .unwrap()
        .open("acme")
        .expect("a sink")
}

/// A sink that is ready to be written to, and the state in it.
fn begin(to: &str, streams: &[StreamSpec]) -> Result<(Box<dyn Sink>, State), Error> {
    let mut sink = open(to);
    let state = State::held_by(&mut *sink, "test")?.expect("a state");
    sink.restore(streams, &state)?;
    Ok((sink, state))
}

fn refused(to: &str, streams: &[StreamSpec]) -> String {
    let error = begin(to, streams).err().expect("a refusal");
    let said = error.to_string();
    assert!(!said.contains('\n') && !said.ends_with('.'), "{said}");
    format!("{said} [{:?}]", error.kind())
}

fn write(sink: &mut dyn Sink, stream: &str, records: &[&str]) -> Result<WriteCounts, Error> {
    sink.write(stream, &mut records.iter().map(|record| record.as_bytes()))
}

/// Writes to a new run and commits.
fn run(to: &str, stream: &StreamSpec, records: &[&str]) -> WriteCounts {
    let (mut sink, mut state) = begin(to, std::slice::from_ref(stream)).unwrap();
    let written = write(&mut *sink, stream.name, records).unwrap();
    sink.commit(&mut state).unwrap();
    written
}

fn counts(written: WriteCounts) -> (u64, u64, u64) {
    (written.records, written.deduplicated, written.overflowed)
}

fn client(url: &str) -> Client {
    Client::connect(url, NoTls).unwrap()
}

/// The rows of a query, each value as text.
fn rows(url: &str, query: &str) -> Vec<Vec<Option<String>>> {
    let query = format!("SELECT to_json(array_agg(found))::text FROM ({query}) AS found");
    let text: Option<String> = client(url).query_one(&query, &[]).unwrap().get(0);
    // The names of fields are the query's, which keeps them in order.
    let Some(text) = text else { return Vec::new() };
    let rows: Vec<std::collections::BTreeMap<String, Value>> = serde_json::from_str(&text).unwrap();
    let plain = |value: Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    rows.into_iter()
        .map(|row| row.into_values().map(plain).collect())
        .collect()
}

/// The one value of a query, as text.
fn value(url: &str, expression: &str) -> Option<String> {
    let query = format!("SELECT ({expression})::text");
    client(url).query_one(&query, &[]).unwrap().get(0)
}

/// A state whose bookmark says a number.
fn state_at(number: u64) -> State {
    let json = json!({"headwater_state": 2, "connector": "test",
        "streams": {"things": {"bookmark": {"version": 1, "value": number}}}});
    State::from_json(json.to_string().as_bytes(), "a test", "test").unwrap()
}

fn number_of(state: &State) -> u64 {
    let json: Value = serde_json::from_slice(&state.to_json().unwrap()).unwrap();
    json.pointer("/streams/things/bookmark/value")
        .and_then(Value::as_u64)
        .unwrap_or(0)
}

#[test]
fn values_come_back_as_they_were_sent() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let record = r#"{"id":"a\"\né😀","count":-9223372036854775808,"money":12345678901234567890.123,"is_open":true,"at":"2024-05-01T10:00:00.5+02:00","parts":[1.0, {"x":1e5}],"unknown":[572.0]}"#;
    assert_eq!(counts(run(&url, &THINGS, &[record])), (1, 0, 0));
    let of = |column: &str| value(&url, &format!("SELECT {column} FROM things"));
    assert_eq!(of("id").unwrap(), "a\"\né😀");
    assert_eq!(of("count").unwrap(), "-9223372036854775808");
    assert_eq!(of("money").unwrap(), "12345678901234567890.123");
    assert_eq!(of("is_open").unwrap(), "true");
    assert_eq!(
        of("at AT TIME ZONE 'UTC'").unwrap(),
        "2024-05-01 08:00:00.5"
    );
    assert_eq!(of("parts").unwrap(), "[1.0, {\"x\":1e5}]");
    assert_eq!(of("_record").unwrap(), record);
    assert_eq!(of("_overflow"), None);
}

/// Against the server's own reading of the same texts.
#[test]
fn numbers_keep_their_digits_and_decimals() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut numbers: Vec<String> = [
        "0", "0.0", "572.0", "1e5", "1.50E-3", "0.00010", "9999", "10000", "1e131071", "0e-7",
    ]
    .map(str::to_owned)
    .to_vec();
    for _ in 0..500 {
        let digits = |random: &mut fastrand::Rng, most: usize| -> String {
            (0..random.usize(1..=most))
                .map(|_| random.digit(10))
                .collect()
        };
        let mut number = if random.bool() {
            "-".to_owned()
        } else {
            String::new()
        };
        number.push(random.digit(9).max('1'));
        number += &digits(&mut random, 30);
        if random.bool() {
            number += &format!(".{}", digits(&mut random, 30));
        }
        if random.bool() {
            number += &format!("e{}", random.i32(-60..60));
        }
        numbers.push(number);
    }
    let record = |(at, number): (usize, &String)| format!("{{\"id\":\"{at}\",\"money\":{number}}}");
    let records: Vec<String> = numbers.iter().enumerate().map(record).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    assert_eq!(
        counts(run(&url, &THINGS, &records)),
        (numbers.len() as u64, 0, 0)
    );
    let mut client = client(&url);
    for (at, number) in numbers.iter().enumerate() {
        let query = format!(
            "SELECT money::text, ('{number}'::numeric)::text FROM things WHERE id = '{at}'"
        );
        let row = client.query_one(&query, &[]).unwrap();
        let (kept, expected): (String, String) = (row.get(0), row.get(1));
        assert_eq!(kept, expected, "{number}");
    }
}

#[test]
fn what_does_not_fit_stands_in_the_overflow_and_in_the_record() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let records = [
        r#"{"id":"1","count":1.0,"money":"12","is_open":1,"at":"yesterday","parts":null}"#.to_owned(),
        r#"{"id":"2","count":12345678901234567890,"money":1e999999,"at":"2024-05-01T10:00:00.1234567Z"}"#.to_owned(),
        r#"{"id":"3 \u0000","parts":["\u0000","\ud800"]}"#.to_owned(),
        r#"{"id":"\ud800"}"#.to_owned(),
        format!(r#"{{"id":"5","parts":{deep}}}"#),
        format!(r#"{{"id":"{}"}}"#, "x".repeat(10_000)),
        r#"{"id":"7","money":-0.0}"#.to_owned(),
    ];
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    assert_eq!(counts(run(&url, &THINGS, &records)), (7, 0, 7));
    let kept = |at: usize, column: &str| {
        let mut client = client(&url);
        let query = format!("SELECT {column}::text FROM things WHERE _record = $1");
        client
            .query_one(&query, &[&records[at]])
            .unwrap()
            .get::<_, Option<String>>(0)
    };
    assert_eq!(
        kept(0, "_overflow").unwrap(),
        r#"{"at":"yesterday","count":1.0,"is_open":1,"money":"12"}"#
    );
    assert_eq!(kept(0, "count"), None);
    assert_eq!(
        kept(1, "_overflow").unwrap(),
        r#"{"at":"2024-05-01T10:00:00.1234567Z","count":12345678901234567890,"money":1e999999}"#
    );
    assert_eq!(kept(2, "_overflow").unwrap(), r#"{"id":"3 \u0000"}"#);
    assert_eq!(kept(2, "parts").unwrap(), r#"["\u0000","\ud800"]"#);
    assert_eq!(kept(3, "_overflow").unwrap(), r#"{"id":"\ud800"}"#);
    assert_eq!(kept(4, "parts"), None);
    assert_eq!(
        kept(4, "_overflow").unwrap(),
        format!("{{\"parts\":{deep}}}")
    );
    assert_eq!(kept(5, "id"), None);
    assert_eq!(kept(6, "_overflow").unwrap(), r#"{"money":-0.0}"#);
}

#[test]
fn a_record_replaces_the_one_with_its_key() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let first = [
        r#"{"id":"a","count":1}"#,
        r#"{"id":"b","count":1}"#,
        r#"{"id":"a","count":2}"#,
    ];
    assert_eq!(counts(run(&url, &THINGS, &first)), (2, 1, 0));
    execute(
        &url,
        "ALTER TABLE things ADD COLUMN note text; UPDATE things SET note = 'kept'",
    );
    let second = [
        r#"{"id":"c","count":true}"#,
        r#"{"id":"a","count":"3"}"#,
        r#"{"id":"a","money":4}"#,
        r#"{"id":"b","count":5}"#,
    ];
    assert_eq!(counts(run(&url, &THINGS, &second)), (1, 3, 1));
    let found = rows(
        &url,
        "SELECT id AS a, count AS b, money AS c, note AS d FROM things ORDER BY id",
    );
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        vec![text("a"), None, text("4"), text("kept")],
        vec![text("b"), text("5"), None, text("kept")],
        vec![text("c"), None, None, None],
    ];
    assert_eq!(found, expected);
}

#[test]
fn keys_are_equal_where_the_server_says_so() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let schema = || json!({"properties": {"n": {"type": "number"}, "at": {"type": "string", "format": "date-time"}}});
    let stream = spec("pairs", &["n", "at", "any"], schema);
    let records = [
        r#"{"n":1,"at":"2024-05-01T10:00:00Z","any":[1]}"#,
        r#"{"n":1.0,"at":"2024-05-01T12:00:00+02:00","any":[1]}"#,
        r#"{"n":1.0,"at":"2024-05-01T12:00:00+02:00","any":[ 1]}"#,
    ];
    assert_eq!(counts(run(&url, &stream, &records)), (2, 1, 0));
    assert_eq!(counts(run(&url, &stream, &records)), (0, 3, 0));
}

#[test]
fn a_record_without_its_key_is_kept_every_time() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let records = [
        r#"{"count":1}"#,
        r#"{"id":null,"count":1}"#,
        r#"{"id":7,"count":1}"#,
    ];
    assert_eq!(counts(run(&url, &THINGS, &records)), (3, 0, 1));
    assert_eq!(counts(run(&url, &THINGS, &records)), (3, 0, 1));
    assert_eq!(value(&url, "SELECT count(*) FROM things").unwrap(), "6");
}

#[test]
fn in_append_mode_every_record_is_a_row() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let to = format!("{url}?mode=append&schema=Raw%20%22data%22&prefix=acme_");
    assert_eq!(
        counts(run(&to, &THINGS, &[r#"{"id":"a"}"#, r#"{"id":"a"}"#])),
        (2, 0, 0)
    );
    assert_eq!(counts(run(&to, &THINGS, &[r#"{"id":"a"}"#])), (1, 0, 0));
    let count = value(&url, r#"SELECT count(*) FROM "Raw ""data""".acme_things"#);
    assert_eq!(count.unwrap(), "3");
}

/// More than one batch of rows, on both ways into the table.
#[test]
fn a_large_page_goes_in_by_parts() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let padding = "x".repeat(1_000);
    let record = |at: usize| format!(r#"{{"id":"{at}","count":{at},"parts":["{padding}"]}}"#);
    let mut records: Vec<String> = (0..3_000).map(record).collect();
    records.push(format!(
        r#"{{"id":"large","parts":["{}"]}}"#,
        "y".repeat(5 << 20)
    ));
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    assert_eq!(counts(run(&url, &THINGS, &records)), (3_001, 0, 0));
    assert_eq!(counts(run(&url, &THINGS, &records)), (0, 3_001, 0));
    assert_eq!(
        value(&url, "SELECT sum(count) FROM things").unwrap(),
        "4498500"
    );
    assert_eq!(
        value(&url, "SELECT max(length(_record)) > 5000000 FROM things").unwrap(),
        "true"
    );
}

#[test]
fn a_second_run_is_told_to_wait_and_gets_its_turn_afterwards() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let (mut first, mut state) = begin(&url, &[THINGS]).unwrap();
    write(&mut *first, "things", &[r#"{"id":"a"}"#]).unwrap();
    let said = refused(&url, &[THINGS]);
    assert!(
        said.contains("another run of the connection acme"),
        "{said}"
    );
    // Another connection is in nobody's way.
    let other = Destination::parse(&format!("{url}?prefix=b_")).unwrap();
    State::held_by(&mut *other.open("other").unwrap(), "test").unwrap();
    first.commit(&mut state).unwrap();
    drop(first);
    begin(&url, &[THINGS]).unwrap();
}

#[test]
fn a_run_that_was_taken_over_commits_nothing() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let (mut stale, _) = begin(&url, &[THINGS]).unwrap();
    stale.commit(&mut state_at(1)).unwrap();
    write(&mut *stale, "things", &[r#"{"id":"a"}"#]).unwrap();
    execute(&url, "UPDATE _headwater_state SET epoch = epoch + 1");
    let error = stale.commit(&mut state_at(2)).unwrap_err();
    assert_eq!(error.kind(), Kind::OutputFailed);
    assert!(error.to_string().contains("took over"), "{error}");
    assert!(stale.commit(&mut state_at(3)).is_err());
    drop(stale);
    assert_eq!(value(&url, "SELECT count(*) FROM things").unwrap(), "0");
    let (_, state) = begin(&url, &[THINGS]).unwrap();
    assert_eq!(number_of(&state), 1);
}

#[test]
fn what_was_not_committed_is_gone_together_with_its_position() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let (mut sink, state) = begin(&url, &[THINGS]).unwrap();
    assert_eq!(number_of(&state), 0);
    write(&mut *sink, "things", &[r#"{"id":"a"}"#]).unwrap();
    sink.commit(&mut state_at(1)).unwrap();
    write(&mut *sink, "things", &[r#"{"id":"b"}"#]).unwrap();
    drop(sink);
    let (_, state) = begin(&url, &[THINGS]).unwrap();
    assert_eq!(number_of(&state), 1);
    assert_eq!(
        value(&url, "SELECT string_agg(id, ',') FROM things").unwrap(),
        "a"
    );
}

#[test]
fn the_state_can_be_looked_at_while_a_run_is_at_work() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    assert_eq!(open(&url).peek().unwrap(), None);
    let count = "SELECT count(*) FROM pg_class WHERE relname LIKE '\\_headwater%'";
    assert_eq!(value(&url, count).unwrap(), "0");
    let (mut sink, _) = begin(&url, &[THINGS]).unwrap();
    assert_eq!(open(&url).peek().unwrap(), None);
    sink.commit(&mut state_at(3)).unwrap();
    let seen = open(&url).peek().unwrap().unwrap();
    assert_eq!(seen, state_at(3).to_json().unwrap());
    sink.commit(&mut state_at(4)).unwrap();
}

#[test]
fn a_run_whose_connection_was_cut_is_gone_on_with() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    for cut_before_commit in [false, true] {
        let (mut sink, state) = begin(&url, &[THINGS]).unwrap();
        let at = number_of(&state);
        let record = format!("{{\"id\":\"{at}\"}}");
        write(&mut *sink, "things", &[&record]).unwrap();
        sink.commit(&mut state_at(at + 1)).unwrap();
        write(&mut *sink, "things", &[r#"{"id":"lost"}"#]).unwrap();
        execute(
            &url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headwater' \
             AND datname = current_database()",
        );
        let error = if cut_before_commit {
            sink.commit(&mut state_at(at + 2)).unwrap_err()
        } else {
            write(&mut *sink, "things", &[r#"{"id":"lost"}"#]).unwrap_err()
        };
        assert_eq!(error.kind(), Kind::OutputFailed);
        assert!(error.to_string().contains("run again"), "{error}");
        assert!(sink.commit(&mut state_at(at + 2)).is_err());
    }
    assert_eq!(run(&url, &THINGS, &[r#"{"id":"last"}"#]).records, 1);
    let found = value(&url, "SELECT string_agg(id, ',' ORDER BY id) FROM things");
    assert_eq!(found.unwrap(), "0,1,last");
}

/// Set for the processes that write until they are killed.
const VICTIM: &str = "HEADWATER_TEST_POSTGRES_VICTIM";
/// What they say when they begin to write.
const AT_WORK: &str = "at work";
const LOG: StreamSpec = spec("log", &[], things);

#[test]
fn killed_again_and_again_rows_and_position_stay_together() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..60 {
        let mut victim = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "postgres_sink::a_victim",
                "--ignored",
                "--nocapture",
            ])
            .env(VICTIM, &url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(victim.stdout.take().unwrap());
        let mut lines = said.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains(AT_WORK)), "no victim");
        thread::sleep(Duration::from_millis(random.u64(0..100)));
        victim.kill().unwrap();
        victim.wait().unwrap();
        if position(&url) == 0 {
            continue;
        }
        // One statement sees one moment, though the server may still be busy with what it got before the kill.
        let found = rows(
            &url,
            "SELECT (SELECT count(*) FROM things) AS a, (SELECT count(*) FROM log) AS b, \
             (SELECT count(DISTINCT count) FROM log) AS c, (SELECT max(count) + 1 FROM log) AS d, \
             (SELECT state::json #>> '{streams,things,bookmark,value}' FROM _headwater_state) AS e",
        );
        let first = &found[0][0];
        assert!(found[0].iter().all(|number| number == first), "{found:?}");
    }
    assert!(position(&url) > 0, "nothing was ever committed");
    println!("{} records", position(&url));
}

fn position(url: &str) -> u64 {
    let mut client = client(url);
    let query = "SELECT state::json #>> '{streams,things,bookmark,value}' FROM _headwater_state";
    // Before the first run there is no table.
    let row = client.query_opt(query, &[]).ok().flatten();
    let number: Option<String> = row.and_then(|row| row.get(0));
    number.map_or(0, |number| number.parse().unwrap())
}

/// Not a test of its own: writes until it is killed, from where the state says that the last one got to.
#[test]
#[ignore = "is started by the test of kills"]
fn a_victim() {
    let Ok(url) = env::var(VICTIM) else { return };
    let (mut sink, state) = begin(&url, &[THINGS, LOG]).unwrap();
    let mut at = number_of(&state);
    println!("{AT_WORK}");
    loop {
        for _ in 0..fastrand::usize(1..4) {
            let page = at..at + fastrand::u64(1..20);
            at = page.end;
            let records: Vec<String> = page
                .map(|number| format!("{{\"id\":\"{number}\",\"count\":{number}}}"))
                .collect();
            let records: Vec<&str> = records.iter().map(String::as_str).collect();
            write(&mut *sink, "things", &records).unwrap();
            write(&mut *sink, "log", &records).unwrap();
        }
        sink.commit(&mut state_at(at)).unwrap();
    }
}

#[test]
fn a_schema_that_grew_gets_new_columns_and_a_changed_kind_overflows() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    run(&url, &THINGS, &[r#"{"id":"a","count":1}"#]);
    let grown = || {
        json!({"properties": {"id": {"type": "string"}, "count": {"type": "string"}, "owner": {"type": "string"},
            "size": {"type": "integer"}}})
    };
    let grown = spec("things", &["id"], grown);
    let records = [r#"{"id":"b","count":"many","owner":"me","size":3,"is_open":true}"#];
    assert_eq!(counts(run(&url, &grown, &records)), (1, 0, 1));
    let found = rows(
        &url,
        "SELECT count AS a, is_open AS b, owner AS c, size AS d, _overflow AS e FROM things ORDER BY id",
    );
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(found[0], [text("1"), None, None, None, None]);
    assert_eq!(
        found[1],
        [
            None,
            text("true"),
            text("me"),
            text("3"),
            text(r#"{"count":"many"}"#)
        ]
    );
    // A column that is to be added comes and goes with its transaction.
    let more = spec(
        "things",
        &["id"],
        || json!({"properties": {"more": {"type": "string"}}}),
    );
    let (mut sink, _) = begin(&url, &[more]).unwrap();
    write(&mut *sink, "things", &[r#"{"id":"c","more":"x"}"#]).unwrap();
    drop(sink);
    let count = value(
        &url,
        "SELECT count(*) FROM pg_attribute WHERE attname = 'more'",
    );
    assert_eq!(count.unwrap(), "0");
}

#[test]
fn what_belongs_to_somebody_else_is_refused_and_left_as_it_is() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    execute(
        &url,
        "CREATE TABLE things (mine int); CREATE VIEW b_things AS SELECT 1",
    );
    let said = refused(&url, &[LOG, THINGS]);
    assert!(
        said.contains("table or view \"things\" that headwater did not make"),
        "{said}"
    );
    assert!(refused(&format!("{url}?prefix=b_"), &[THINGS]).contains("b_things"));
    let tables = "SELECT count(*) FROM pg_class WHERE relname = 'log'";
    assert_eq!(value(&url, tables).unwrap(), "0");

    let to = format!("{url}?prefix=a_");
    run(&to, &THINGS, &[r#"{"id":"a"}"#]);
    let other = Destination::parse(&to).unwrap().open("other");
    let mut other = other.unwrap();
    let state = State::held_by(&mut *other, "test").unwrap().unwrap();
    let said = other.restore(&[THINGS], &state).unwrap_err().to_string();
    assert!(
        said.contains("belongs to the stream things of the connection acme"),
        "{said}"
    );
    let said = refused(&format!("{to}&mode=append"), &[THINGS]);
    assert!(said.contains("made with the key id"), "{said}");

    let mut sink = open(&to);
    State::held_by(&mut *sink, "test").unwrap();
    sink.commit(&mut state_at(5)).unwrap();
    drop(sink);
    let said = State::held_by(&mut *open(&to), "elsewhere")
        .unwrap_err()
        .to_string();
    assert!(said.contains("belongs to the connector \"test\""), "{said}");
    // The refusal did not end anybody's turn.
    let epoch = value(
        &url,
        "SELECT epoch FROM _headwater_state WHERE connection = 'acme'",
    );
    let (_, state) = begin(&to, &[THINGS]).unwrap();
    assert_eq!(number_of(&state), 5);
    let after = value(
        &url,
        "SELECT epoch FROM _headwater_state WHERE connection = 'acme'",
    );
    assert_eq!(
        after.unwrap().parse::<i64>().unwrap(),
        epoch.unwrap().parse::<i64>().unwrap() + 1
    );
}

#[test]
fn a_table_that_somebody_changed_is_refused() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    run(&url, &THINGS, &[r#"{"id":"a"}"#]);
    execute(
        &url,
        "ALTER TABLE things ALTER COLUMN money TYPE numeric(10,2)",
    );
    let said = refused(&url, &[THINGS]);
    assert!(
        said.contains("column \"money\"") && said.contains("type numeric any more"),
        "{said}"
    );
    execute(&url, "ALTER TABLE things DROP COLUMN money");
    assert!(refused(&url, &[THINGS]).contains("column \"money\""));
    execute(
        &url,
        "ALTER TABLE things ADD COLUMN money numeric, ADD COLUMN owner int",
    );
    let grown = spec(
        "things",
        &["id"],
        || json!({"properties": {"owner": {"type": "string"}}}),
    );
    assert!(refused(&url, &[grown]).contains("rename the column"));
    let (mut sink, _) = begin(&url, &[THINGS]).unwrap();
    sink.commit(&mut state_at(1)).unwrap();
    drop(sink);
    execute(&url, "DROP TABLE things");
    assert!(refused(&url, &[THINGS]).contains("was removed"));
}

#[test]
fn a_ledger_that_is_newer_or_not_ours_is_refused() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    run(&url, &THINGS, &[]);
    execute(&url, "UPDATE _headwater_format SET format = 7");
    let said = refused(&url, &[THINGS]);
    assert!(said.contains("newer version (format 7)"), "{said}");
    execute(&url, "DELETE FROM _headwater_format");
    assert!(refused(&url, &[THINGS]).contains("holds no format"));
    execute(&url, "DROP TABLE _headwater_format");
    assert!(refused(&url, &[THINGS]).contains("not headwater's"));
    execute(
        &url,
        "CREATE TABLE _headwater_format AS SELECT 1 AS format; DROP TABLE _headwater_state; \
                   CREATE TABLE _headwater_state (connection text PRIMARY KEY)",
    );
    let said = refused(&url, &[THINGS]);
    assert!(said.contains("not as it was made"), "{said}");
}

#[test]
fn a_field_or_stream_of_any_name_gets_its_column_or_table() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    fn names() -> Vec<String> {
        let long = "long name ".repeat(20);
        [
            "select",
            "a\"b",
            "a'b; DROP TABLE x",
            "größe 😀",
            "ctid",
            "xmin",
            "_record",
            "_overflow",
            "",
            "nul \u{0}",
            "Id",
            "id",
            "$1",
        ]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("{long}1"), format!("{long}2"), "é".repeat(40)])
        .collect()
    }
    fn schema() -> Value {
        let properties: serde_json::Map<String, Value> = names()
            .into_iter()
            .map(|name| (name, json!({"type": "string"})))
            .collect();
        json!({ "properties": properties })
    }
    let stream = spec("select", &["select", "a\"b", "ctid"], schema);
    let fields: serde_json::Map<String, Value> = names()
        .into_iter()
        .enumerate()
        .map(|(at, name)| (name, json!(format!("value {at}"))))
        .collect();
    let record = Value::Object(fields).to_string();
    assert_eq!(counts(run(&url, &stream, &[&record])), (1, 0, 0));
    assert_eq!(counts(run(&url, &stream, &[&record])), (0, 1, 0));
    let mut client = client(&url);
    let row = client.query_one("SELECT * FROM \"select\"", &[]).unwrap();
    let mut found: Vec<String> = (0..row.len())
        .filter(|at| {
            !["_record", "_overflow", "_seen", "_digest"].contains(&row.columns()[*at].name())
        })
        .map(|at| row.get(at))
        .collect();
    let mut expected: Vec<String> = (0..names().len()).map(|at| format!("value {at}")).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(row.get::<_, &str>("größe 😀"), "value 3");

    let reserved = spec("_headwater_state", &[], things);
    assert!(refused(&url, &[reserved]).contains("reserved"));
    const LONG: &str = "a_name_that_is_just_a_little_longer_than_the_longest_name_there_is";
    assert!(refused(&url, &[spec(LONG, &[], things)]).contains("63 bytes"));
    let said = refused(&format!("{url}?mode=upsert"), &[spec("log", &[], things)]);
    assert!(said.contains("has no key"), "{said}");
}

#[test]
fn many_columns_are_no_trouble_up_to_the_limit() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    fn schema(count: usize) -> Value {
        let field = |at| (format!("field_{at}"), json!({"type": "integer"}));
        let properties: serde_json::Map<String, Value> = (0..count).map(field).collect();
        json!({ "properties": properties })
    }
    let wide = spec("wide", &["field_0"], || schema(300));
    let fields: Vec<String> = (0..300).map(|at| format!("\"field_{at}\":{at}")).collect();
    let record = format!("{{{}}}", fields.join(","));
    assert_eq!(counts(run(&url, &wide, &[&record])), (1, 0, 0));
    assert_eq!(counts(run(&url, &wide, &[&record])), (0, 1, 0));
    assert_eq!(value(&url, "SELECT field_299 FROM wide").unwrap(), "299");
    let too_wide = spec("too_wide", &[], || schema(1_599));
    assert!(refused(&url, &[too_wide]).contains("1601 columns; the limit of PostgreSQL is 1600"));
}

#[test]
fn a_record_that_is_no_record_ends_the_run_and_leaves_nothing() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    for record in [&b"[1]"[..], b"{\"id\":\"a\xff\"}", b"{\"id\":\"\0\"}"] {
        let (mut sink, mut state) = begin(&url, &[THINGS]).unwrap();
        write(&mut *sink, "things", &[r#"{"id":"a"}"#]).unwrap();
        let error = sink.write("things", &mut [record].into_iter()).unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid);
        assert!(error.to_string().contains("things"), "{error}");
        assert!(sink.commit(&mut state).is_err());
    }
    let count = value(
        &url,
        "SELECT count(*) FROM pg_class WHERE relname = 'things'",
    );
    assert_eq!(count.unwrap(), "0");
}

#[test]
fn a_full_disk_is_named_and_the_next_run_goes_on() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    run(&url, &THINGS, &[r#"{"id":"a"}"#]);
    execute(
        &url,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$; \
         CREATE TRIGGER fail BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION fail()",
    );
    let (mut sink, _) = begin(&url, &[THINGS]).unwrap();
    let large = format!("{{\"id\":\"b\",\"parts\":[\"{}\"]}}", "x".repeat(8 << 20));
    let error = write(&mut *sink, "things", &[&large, &large]).unwrap_err();
    assert_eq!(error.kind(), Kind::OutputFailed);
    assert!(error.to_string().contains("is full; make room"), "{error}");
    assert!(sink.commit(&mut state_at(2)).is_err());
    drop(sink);
    execute(&url, "DROP TRIGGER fail ON things");
    assert_eq!(run(&url, &THINGS, &[r#"{"id":"b"}"#]).records, 1);
}

#[test]
fn a_server_that_cannot_be_used_is_named_and_its_password_is_not() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let admin = server.database();
    let database = admin.rsplit('/').next().unwrap();
    let address = admin.split('@').nth(1).unwrap().split('/').next().unwrap();
    let login = |user: &str| format!("postgres://{user}:hunter2@{address}/{database}");
    execute(
        &admin,
        "CREATE ROLE reader LOGIN; CREATE ROLE frozen LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
         ALTER ROLE frozen SET default_transaction_read_only = on; CREATE ROLE few LOGIN CONNECTION LIMIT 0",
    );
    execute(
        &admin,
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    );
    for (to, part, kind) in [
        (
            "postgres://me:hunter2@127.0.0.1:1/base".to_owned(),
            "cannot be reached",
            "Unavailable",
        ),
        (
            "postgres://me:hunter2@nowhere.invalid/base".to_owned(),
            "cannot be reached",
            "Unavailable",
        ),
        (login("nobody"), "let this user in", "Unauthenticated"),
        (login("few"), "no connection left", "Unavailable"),
        (
            login("reader"),
            "permission denied for schema public",
            "PermissionDenied",
        ),
        (login("frozen"), "takes no writes", "ConfigInvalid"),
        (
            format!("{}?sslmode=require", login("reader")),
            "add sslmode=disable",
            "ConfigInvalid",
        ),
        (
            format!("{}?sslmode=verify-full", login("reader")),
            "add sslmode=disable",
            "ConfigInvalid",
        ),
        (
            format!("{}x", login("reader")),
            "no such database",
            "NotFound",
        ),
        (
            login("reader").replace(database, "latin"),
            "kept in LATIN1",
            "ConfigInvalid",
        ),
        (
            format!("{}?schema=new", login("reader")),
            "permission denied for database",
            "PermissionDenied",
        ),
    ] {
        let said = refused(&to, &[THINGS]);
        assert!(said.contains(part) && said.contains(kind), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let error = Destination::parse("postgres://me:hunter2@host/base?sslmode=maybe")
        .unwrap()
        .open("acme")
        .err()
        .expect("a refusal");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

/// A server of its own, whose rules are changed.
#[test]
fn passwords_and_tls_are_asked_for_by_the_server() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.database();
    let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, key.cert.pem()).unwrap();
    // The server writes its own files: they have to be its own.
    let file = |name: &str, text: &str| {
        let lines = format!(
            "SELECT unnest(string_to_array($text${}$text$, E'\\n'))",
            text.trim()
        );
        format!("COPY ({lines}) TO PROGRAM 'umask 077; cat > {name}'; ")
    };
    let rules = "hostssl all secure 127.0.0.1/32 scram-sha-256\nhostnossl all plain 127.0.0.1/32 scram-sha-256\n\
                 host all headwater 127.0.0.1/32 trust";
    let statements = [
        file("server.crt", &key.cert.pem()),
        file("server.key", &key.signing_key.serialize_pem()),
        file("pg_hba.conf", rules),
        "CREATE ROLE secure LOGIN SUPERUSER PASSWORD 'p@ss/w:rd'; CREATE ROLE plain LOGIN SUPERUSER PASSWORD 'hunter2'"
            .to_owned(),
    ];
    for statement in statements {
        execute(&url, &statement);
    }
    execute(&url, "ALTER SYSTEM SET ssl = on");
    execute(&url, "SELECT pg_reload_conf()");
    let login = |user: &str| url.replace("headwater@", &format!("{user}@"));

    // The server takes a moment to read its files again.
    let started = Instant::now();
    let said = loop {
        match begin(&login("plain:wrong"), &[THINGS]) {
            Err(error) => break error,
            Ok(_) => assert!(started.elapsed() < Duration::from_secs(60)),
        }
    };
    assert_eq!(said.kind(), Kind::Unauthenticated);
    assert!(said.to_string().contains("user and password"), "{said}");
    let said = refused(&login("plain"), &[THINGS]);
    assert!(said.contains("asks for a password"), "{said}");
    begin(&login("plain:hunter2"), &[THINGS]).unwrap();
    let secure = login("secure:p@ss/w:rd");
    let said = refused(&secure, &[THINGS]);
    assert!(said.contains("add sslmode=require"), "{said}");
    let secure = format!("{secure}?sslmode=require");
    let said = refused(&secure, &[THINGS]);
    assert!(
        said.contains("is not trusted") && !said.contains("p@ss"),
        "{said}"
    );
    let trusting = Command::new(env::current_exe().unwrap())
        .args(["--exact", "postgres_sink::a_run_over_tls", "--ignored"])
        .env(OVER_TLS, secure)
        .env("SSL_CERT_FILE", &authority)
        .output()
        .unwrap();
    assert!(
        trusting.status.success(),
        "{}",
        String::from_utf8_lossy(&trusting.stdout)
    );
    assert_eq!(value(&url, "SELECT count(*) FROM things").unwrap(), "1");
}

/// Set for the process that trusts the certificate of the server.
const OVER_TLS: &str = "HEADWATER_TEST_POSTGRES_TLS";

/// Not a test of its own: what is trusted is a matter of the process.
#[test]
#[ignore = "is started by the test of TLS"]
fn a_run_over_tls() {
    let Ok(url) = env::var(OVER_TLS) else { return };
    run(&url, &THINGS, &[r#"{"id":"a"}"#]);
}

#[tokio::test]
async fn a_sink_can_be_dropped_where_a_runtime_is_at_work() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let sink = thread::spawn(move || begin(&url, &[THINGS]).unwrap().0);
    drop(sink.join().unwrap());
}
