//! Parquet files and Arrow's stream format, read by somebody else: DuckDB, with the statements of `docs/parquet.md`.
//!
//! The interpreter is the one that `HEADWATER_PYTHON` names, or else `python3`. Without it or without the package of
//! `tests/parquet/requirements.txt` the tests are skipped, and say so; with `HEADWATER_REQUIRE_PYTHON=1` they fail.

use std::{env, fs, io::Write, path::Path};

use acceptance::{binary::command, open, read_through, simulation, unlimited_sandbox, workspace};
use headwater_core::{StreamSpec, Timestamp};
use headwater_host::State;
use headwater_output::Destination;
use serde_json::{Value, json};

/// Runs statements, the rows of the last one as JSON.
const READER: &str = r#"
import json, sys
try:
    import duckdb
except ImportError:
    sys.exit(3)
database = duckdb.connect()
for statement in json.loads(sys.argv[1]):
    result = database.sql(statement)
print(json.dumps({"types": dict(zip(result.columns, map(str, result.types))), "rows": result.fetchall()}, default=str))
"#;

/// None where there is no DuckDB and none is asked for.
fn duckdb(folder: &Path, statements: &[String]) -> Option<Value> {
    let python = env::var("HEADWATER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let ran = command(&python)
        .args(["-c", READER, &json!(statements).to_string()])
        .current_dir(folder)
        .env("TZ", "UTC")
        .output();
    match ran {
        Ok(ran) if ran.status.success() => Some(serde_json::from_slice(&ran.stdout).unwrap()),
        Ok(ran) if ran.status.code() != Some(3) => {
            panic!("{}", String::from_utf8_lossy(&ran.stderr))
        }
        _ => {
            let what =
                format!("{python} with the package of tests/parquet/requirements.txt is not here");
            assert_ne!(
                env::var("HEADWATER_REQUIRE_PYTHON").as_deref(),
                Ok("1"),
                "{what}"
            );
            // Straight to the stream: what a macro prints is captured while the test passes.
            let mut error = std::io::stderr();
            let _ = writeln!(
                error,
                "SKIPPED: {what}; Parquet files were not read by others"
            );
            None
        }
    }
}

/// The statements of a block of the document, told by what stands behind its backquotes.
fn documented(block: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join("docs/parquet.md")).unwrap();
    let start = format!("```{block}\n");
    let (_, rest) = text.split_once(&start).unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    block
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}

fn spec() -> StreamSpec {
    StreamSpec {
        name: "calls",
        description: "A call.",
        key: &["id"],
        cursor: None,
        incremental: true,
        schema: || {
            json!({
                "properties": {
                    "id": {"type": "string"},
                    "count": {"type": "integer"},
                    "money": {"type": "number"},
                    "is_open": {"type": "boolean"},
                    "at": {"type": "string", "format": "date-time"},
                    "people": {"type": "array"},
                }
            })
        },
    }
}

fn write(folder: &Path, spec: &StreamSpec, commits: &[&[&str]]) {
    let to = format!("parquet:{}", folder.join("out").display());
    let mut sink = Destination::parse(&to).unwrap().open("main").unwrap();
    let mut state = State::held_by(&mut *sink, "acme").unwrap().unwrap();
    sink.restore(std::slice::from_ref(spec), &state).unwrap();
    for records in commits {
        sink.write(
            spec.name,
            &mut records.iter().map(|record| record.as_bytes()),
        )
        .unwrap();
        sink.commit(&mut state).unwrap();
    }
}

#[test]
fn another_reader_finds_every_value_as_it_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let record = r#"{"id":"12345678901234567890","count":9223372036854775807,"money":12345678901234567890.1230,"is_open":true,"at":"2026-01-02T03:04:05.123456+02:00","people":[{"name":"Zoë 😀 \"Z\""}]}"#;
    let misfit = r#"{"id":"é","count":9223372036854775808,"money":572.0,"at":"2026-01-02T03:04:05.1234567Z"}"#;
    write(folder.path(), &spec(), &[&[record], &[misfit]]);
    let mut statements = documented("sql");
    statements.push("SELECT * FROM read_parquet(getvariable('files')) ORDER BY id".to_owned());
    let Some(found) = duckdb(folder.path(), &statements) else {
        return;
    };
    let types = json!({
        "id": "VARCHAR", "count": "BIGINT", "money": "VARCHAR", "is_open": "BOOLEAN",
        "at": "TIMESTAMP WITH TIME ZONE", "people": "VARCHAR", "_record": "VARCHAR", "_overflow": "VARCHAR",
    });
    assert_eq!(found["types"], types);
    let select = "SELECT id, count::VARCHAR, money, is_open, \"at\"::VARCHAR, people, _record, _overflow \
                  FROM read_parquet(getvariable('files')) ORDER BY id";
    statements.push(select.to_owned());
    let rows = duckdb(folder.path(), &statements).unwrap()["rows"].take();
    let people = r#"[{"name":"Zoë 😀 \"Z\""}]"#;
    assert_eq!(
        rows,
        json!([
            [
                "12345678901234567890",
                "9223372036854775807",
                "12345678901234567890.1230",
                true,
                "2026-01-02 01:04:05.123456+00",
                people,
                record,
                null
            ],
            [
                "é",
                null,
                "572.0",
                null,
                null,
                null,
                misfit,
                r#"{"at":"2026-01-02T03:04:05.1234567Z","count":9223372036854775808}"#
            ],
        ])
    );
}

#[test]
fn only_counted_files_are_read_and_the_newest_row_of_a_key_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let pages: [&[&str]; 3] = [
        &[
            r#"{"id":"a","count":1}"#,
            r#"{"id":"b","count":1}"#,
            r#"{"id":"a","count":2}"#,
        ],
        &[r#"{"id":"b","count":2}"#],
        &[r#"{"id":"a","count":3}"#],
    ];
    write(folder.path(), &spec(), &pages[..2]);
    // A later run writes the newest one.
    write(folder.path(), &spec(), &pages[2..]);
    let stray = fs::read_dir(folder.path().join("out/calls"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::copy(
        &stray,
        stray.with_file_name("part-00000009-00000000-000001.parquet"),
    )
    .unwrap();
    let statements = documented("sql");
    let Some(found) = duckdb(folder.path(), &statements) else {
        return;
    };
    assert_eq!(found["rows"], json!([[5]]));
    let mut statements = statements;
    let newest = &documented("sql newest")[0];
    statements.push(format!("SELECT id, count FROM ({newest}) ORDER BY id"));
    let found = duckdb(folder.path(), &statements).unwrap();
    assert_eq!(found["rows"], json!([["a", 3], ["b", 2]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_records_of_a_stream_are_there_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let service = unlimited_sandbox(500).await;
    let (source, _context) = open(
        "clari-copilot",
        (simulation("clari-copilot").form)(&service.base_url()),
    );
    let stream = source.stream("calls").unwrap();
    let read = read_through(&*stream, None, Timestamp::now())
        .await
        .unwrap();
    assert_eq!(read.records.len(), service.keys("calls").unwrap().len());
    let records: Vec<&str> = read.records.iter().map(String::as_str).collect();
    let pages: Vec<&[&str]> = records.chunks(100).collect();
    write(folder.path(), stream.spec(), &pages);
    let mut statements = documented("sql");
    statements.push("SELECT _record, _overflow FROM read_parquet(getvariable('files'))".to_owned());
    let Some(found) = duckdb(folder.path(), &statements) else {
        return;
    };
    let rows = found["rows"].as_array().unwrap();
    let mut found: Vec<&str> = rows.iter().map(|row| row[0].as_str().unwrap()).collect();
    assert!(
        rows.iter().all(|row| row[1].is_null()),
        "a value of the simulator did not fit"
    );
    let mut sent = records;
    sent.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, sent);
}
