//! The content of the files, the files that count, and refusals.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow_array::{
    Array, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    cast::AsArray,
    types::{Int64Type, TimestampMicrosecondType},
};
use headwater_core::{
    Kind, StreamSpec,
    sink::{Sink, WriteCounts},
};
use headwater_host::State;
use serde_json::{Value, json};

use super::{Manifest, ParquetSink};

const CONNECTOR: &str = "acme";
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn calls() -> StreamSpec {
    StreamSpec {
        name: "calls",
        description: "A call.",
        key: &["id"],
        cursor: None,
        incremental: true,
        schema: || {
            json!({
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "count": {"type": ["integer", "null"]},
                    "money": {"type": "number"},
                    "is_open": {"type": "boolean"},
                    "at": {"type": "string", "format": "date-time"},
                    "people": {"type": "array"},
                }
            })
        },
    }
}

fn users() -> StreamSpec {
    StreamSpec {
        name: "users",
        ..calls()
    }
}

/// A state that tells how far reading got by a number.
pub(super) fn state_at(records: u64) -> State {
    let text = json!({
        "headwater_state": 2,
        "connector": CONNECTOR,
        "streams": { "calls": { "last_records": records } },
    });
    State::from_json(text.to_string().as_bytes(), "the state", CONNECTOR).unwrap()
}

pub(super) fn position(state: &State) -> u64 {
    let text: Value = serde_json::from_slice(&state.to_json().unwrap()).unwrap();
    text["streams"]["calls"]["last_records"]
        .as_u64()
        .unwrap_or(0)
}

/// Loads as soon as the lock is free. A process that another test starts has it, too, for the moment before it becomes
/// another program.
pub(super) fn load(folder: &Path) -> headwater_core::Result<(ParquetSink, State)> {
    let started = Instant::now();
    loop {
        let mut sink = ParquetSink::in_folder(folder, "main")?;
        match State::held_by(&mut sink, CONNECTOR) {
            Ok(state) => return Ok((sink, state.unwrap())),
            Err(error)
                if error.to_string().contains("by another run") && started.elapsed() < PATIENCE =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn begin(folder: &Path) -> (ParquetSink, State) {
    let (mut sink, state) = load(folder).unwrap();
    sink.restore(&[calls(), users()], &state).unwrap();
    (sink, state)
}

fn write(sink: &mut ParquetSink, stream: &str, records: &[&str]) -> WriteCounts {
    sink.write(stream, &mut records.iter().map(|record| record.as_bytes()))
        .unwrap()
}

fn refusal(folder: &Path) -> String {
    let begun =
        load(folder).and_then(|(mut sink, state)| sink.restore(&[calls(), users()], &state));
    let Err(error) = begun else {
        panic!("nothing was refused");
    };
    assert_eq!(error.kind(), Kind::ConfigInvalid);
    error.to_string()
}

/// The newest manifest.
pub(super) fn newest(folder: &Path) -> Manifest {
    let mut names: Vec<_> = fs::read_dir(folder.join("_headwater"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    names.sort();
    Manifest::parse(&fs::read(names.last().unwrap()).unwrap(), "m").unwrap()
}

/// The rows that count.
pub(super) fn counted(folder: &Path, stream: &str) -> Vec<RecordBatch> {
    let manifest = newest(folder);
    let mut batches = Vec::new();
    for file in manifest.files.iter().filter(|file| file.stream == stream) {
        let path = folder.join(&file.path);
        assert_eq!(fs::metadata(&path).unwrap().len(), file.bytes);
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap());
        let found: Vec<RecordBatch> = reader
            .unwrap()
            .build()
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(
            found.iter().map(RecordBatch::num_rows).sum::<usize>() as u64,
            file.rows
        );
        batches.extend(found);
    }
    batches
}

pub(super) fn texts(batches: &[RecordBatch], column: &str) -> Vec<Option<String>> {
    batches
        .iter()
        .flat_map(|batch| {
            let array: &StringArray = batch.column_by_name(column).unwrap().as_string();
            array
                .iter()
                .map(|text| text.map(str::to_owned))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn part_files(folder: &Path) -> usize {
    let streams = ["calls", "users"].map(|stream| fs::read_dir(folder.join(stream)));
    streams.into_iter().flatten().map(Iterator::count).sum()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn each_value_is_in_the_column_of_its_type_as_it_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = begin(folder.path());
    let records = [
        r#"{"id":"12345678901234567890","count":-9223372036854775808,"money":572.0,"is_open":true,"at":"2026-01-02T03:04:05.123456+02:00","people":[ {"n":1.0} ]}"#,
        r#"{ "id" : "\u00e9\ud83d\ude00 \"q\" ü", "i\u0064": "again", "count":null, "money":12345678901234567890.123, "unknown": {"a":1} }"#,
        r#"{}"#,
    ];
    let counts = write(&mut sink, "calls", &records);
    assert_eq!((counts.records, counts.overflowed), (3, 0));
    sink.commit(&mut state_at(3)).unwrap();

    let batches = counted(folder.path(), "calls");
    assert_eq!(texts(&batches, "_record"), some(&records));
    assert_eq!(texts(&batches, "_overflow"), [None, None, None]);
    let id = texts(&batches, "id");
    assert_eq!(
        id,
        [
            Some("12345678901234567890".to_owned()),
            Some("again".to_owned()),
            None
        ]
    );
    let money = texts(&batches, "money");
    assert_eq!(money[..2], some(&["572.0", "12345678901234567890.123"]));
    assert_eq!(
        texts(&batches, "people")[0].as_deref(),
        Some(r#"[ {"n":1.0} ]"#)
    );
    let batch = &batches[0];
    let count: &Int64Array = batch
        .column_by_name("count")
        .unwrap()
        .as_primitive::<Int64Type>();
    assert_eq!(
        count.iter().collect::<Vec<_>>(),
        [Some(i64::MIN), None, None]
    );
    let is_open: &BooleanArray = batch.column_by_name("is_open").unwrap().as_boolean();
    assert_eq!(is_open.iter().collect::<Vec<_>>(), [Some(true), None, None]);
    let at: &TimestampMicrosecondArray = batch
        .column_by_name("at")
        .unwrap()
        .as_primitive::<TimestampMicrosecondType>();
    assert_eq!(at.timezone(), Some("+00:00"));
    assert_eq!(at.value(0), 1_767_315_845_123_456);
    let schema = batch.schema();
    let marks = |name: &str| {
        schema
            .field_with_name(name)
            .unwrap()
            .metadata()
            .get("headwater")
            .cloned()
    };
    assert_eq!(marks("money").as_deref(), Some("number"));
    assert_eq!(marks("people").as_deref(), Some("json"));
    assert_eq!(marks("id"), None);
}

#[test]
fn what_does_not_fit_stands_in_the_overflow_column_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = begin(folder.path());
    let cases = [
        ("count", "9223372036854775808"),
        ("count", "1.0"),
        ("count", "1e3"),
        ("count", "-0"),
        ("count", "\"5\""),
        ("money", "\"5\""),
        ("money", "1.5.5"),
        ("id", "7"),
        ("id", "[\"a\"]"),
        ("id", r#""\ud800""#),
        ("is_open", "1"),
        ("at", "\"2026-01-02T03:04:05.123456789Z\""),
        ("at", "\"2026-01-02\""),
        ("at", "\"2016-12-31T23:59:60Z\""),
        ("at", "1767315845"),
        ("at", "\"soon\""),
    ];
    let records: Vec<String> = cases
        .iter()
        .map(|(name, value)| format!("{{\"{name}\":{value}}}"))
        .collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let counts = write(&mut sink, "calls", &records);
    assert_eq!((counts.records, counts.overflowed), (16, 16));
    let both = write(
        &mut sink,
        "calls",
        &[r#"{"count":1.5,"id":false,"money":1}"#],
    );
    assert_eq!((both.records, both.overflowed), (1, 1));
    sink.commit(&mut state_at(17)).unwrap();

    let batches = counted(folder.path(), "calls");
    let mut overflow = texts(&batches, "_overflow");
    let last: Value = serde_json::from_str(overflow.pop().unwrap().unwrap().as_str()).unwrap();
    assert_eq!(last, json!({"count": 1.5, "id": false}));
    assert_eq!(overflow, some(&records));
    for name in ["id", "count", "is_open", "at"] {
        let column = batches[0].column_by_name(name).unwrap();
        assert_eq!(column.null_count(), 17, "{name}");
    }
}

#[test]
fn a_page_with_a_record_that_is_none_is_not_taken_and_the_others_are() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = begin(folder.path());
    write(&mut sink, "calls", &[r#"{"id":"1"}"#]);
    for bad in [&b"[1]"[..], b"{\"id\":", b"{\"id\":\"\xff\"}"] {
        let page = [&br#"{"id":"2"}"#[..], bad];
        let error = sink.write("calls", &mut page.into_iter()).unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid);
        assert!(
            error
                .to_string()
                .contains("a record of the stream calls is not"),
            "{error}"
        );
    }
    write(&mut sink, "calls", &[r#"{"id":"3"}"#]);
    sink.commit(&mut state_at(2)).unwrap();
    assert_eq!(
        texts(&counted(folder.path(), "calls"), "id"),
        some(&["1", "3"])
    );
}

#[test]
fn only_what_was_committed_counts_and_the_rest_is_removed_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, state) = begin(folder.path());
    assert_eq!(position(&state), 0);
    write(&mut sink, "calls", &[r#"{"id":"1"}"#]);
    write(&mut sink, "users", &[r#"{"id":"u"}"#]);
    sink.commit(&mut state_at(1)).unwrap();
    // An open file, as a crash leaves it, one that was finished and not counted, and one that is not ours.
    sink.memory = 0;
    write(&mut sink, "calls", &[r#"{"id":"2"}"#]);
    drop(sink);
    let calls = folder.path().join("calls");
    fs::write(calls.join("part-00000001-00000000-000099.parquet"), "half").unwrap();
    fs::write(calls.join("notes.parquet"), "mine").unwrap();
    assert_eq!(part_files(folder.path()), 5);

    let (mut sink, state) = begin(folder.path());
    assert_eq!(position(&state), 1);
    assert_eq!(part_files(folder.path()), 3);
    assert!(calls.join("notes.parquet").exists());
    write(&mut sink, "calls", &[r#"{"id":"2"}"#]);
    sink.commit(&mut state_at(2)).unwrap();
    assert_eq!(
        texts(&counted(folder.path(), "calls"), "id"),
        some(&["1", "2"])
    );
    assert_eq!(texts(&counted(folder.path(), "users"), "id"), some(&["u"]));
    let names: Vec<String> = newest(folder.path())
        .files
        .iter()
        .map(|file| file.path.clone())
        .collect();
    let mut calls: Vec<&String> = names
        .iter()
        .filter(|name| name.starts_with("calls"))
        .collect();
    calls.sort();
    assert!(
        calls[0].contains("part-00000001-") && calls[1].contains("part-00000002-"),
        "{calls:?}"
    );
}

#[test]
fn a_commit_of_nothing_new_writes_nothing_and_two_manifests_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = begin(folder.path());
    for _ in 0..5 {
        sink.commit(&mut state_at(7)).unwrap();
    }
    assert_eq!(newest(folder.path()).sequence, 2);
    for records in 8..20 {
        write(&mut sink, "calls", &["{}"]);
        sink.commit(&mut state_at(records)).unwrap();
    }
    assert_eq!(newest(folder.path()).sequence, 14);
    // The lock is the third.
    assert_eq!(
        fs::read_dir(folder.path().join("_headwater"))
            .unwrap()
            .count(),
        3
    );
    drop(sink);
    let mut looking = ParquetSink::in_folder(folder.path(), "main").unwrap();
    let seen = looking.peek().unwrap().unwrap();
    let seen = State::from_json(&seen, "the state", CONNECTOR).unwrap();
    assert_eq!(newest(folder.path()).sequence, 14);
    assert_eq!(position(&seen), 19);
    assert_eq!(position(&begin(folder.path()).1), 19);
}

#[test]
fn row_groups_end_when_the_memory_is_full_whatever_stream_fills_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = begin(folder.path());
    sink.memory = 64 << 10;
    let mut random = fastrand::Rng::with_seed(1);
    let record = |random: &mut fastrand::Rng| {
        let text: String = (0..500).map(|_| random.alphanumeric()).collect();
        format!(r#"{{"id":"{text}"}}"#)
    };
    for _ in 0..400 {
        for stream in ["calls", "users"] {
            write(&mut sink, stream, &[&record(&mut random)]);
            assert!(
                sink.streams
                    .values()
                    .map(super::Output::memory)
                    .sum::<usize>()
                    <= 64 << 10
            );
        }
    }
    sink.commit(&mut state_at(1)).unwrap();
    for stream in ["calls", "users"] {
        assert_eq!(texts(&counted(folder.path(), stream), "id").len(), 400);
        let manifest = newest(folder.path());
        let file = manifest
            .files
            .iter()
            .find(|file| file.stream == stream)
            .unwrap();
        let file = fs::File::open(folder.path().join(&file.path)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert!(reader.metadata().num_row_groups() > 2);
    }
}

#[test]
fn a_second_run_is_refused_while_the_first_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _) = begin(folder.path());
    let mut second = ParquetSink::in_folder(folder.path(), "main").unwrap();
    let error = State::held_by(&mut second, CONNECTOR).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(
        error
            .to_string()
            .contains("is being written by another run"),
        "{error}"
    );
    write(&mut first, "calls", &["{}"]);
    first.commit(&mut state_at(1)).unwrap();
}

#[test]
fn without_locks_only_one_of_two_runs_commits() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _) = begin(folder.path());
    write(&mut first, "calls", &[r#"{"id":"first"}"#]);
    // As on a file system where nothing can be locked: the second begins while the first has rows.
    fs::remove_file(folder.path().join("_headwater/lock")).unwrap();
    let (mut second, _) = begin(folder.path());
    let error = first.commit(&mut state_at(1)).unwrap_err();
    assert_eq!(error.kind(), Kind::OutputFailed);
    assert!(
        error.to_string().contains("another run has written"),
        "{error}"
    );
    let error = first.commit(&mut state_at(1)).unwrap_err();
    assert!(
        error.to_string().contains("takes nothing more in this run"),
        "{error}"
    );
    write(&mut second, "calls", &[r#"{"id":"second"}"#]);
    second.commit(&mut state_at(2)).unwrap();
    drop((first, second));
    let (_, state) = begin(folder.path());
    assert_eq!(position(&state), 2);
    assert_eq!(
        texts(&counted(folder.path(), "calls"), "id"),
        some(&["second"])
    );
}

/// Every file below a folder with its bytes.
fn everything(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

fn with_two_commits() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = begin(folder.path());
    for records in 1..=2 {
        write(&mut sink, "calls", &[&format!("{{\"id\":\"{records}\"}}")]);
        sink.commit(&mut state_at(records)).unwrap();
    }
    folder
}

#[test]
fn a_damaged_manifest_is_refused_and_nothing_is_touched_until_it_is_deleted() {
    let folder = with_two_commits();
    let newest = folder
        .path()
        .join(format!("_headwater/{}", super::manifest::manifest_name(3)));
    let text = fs::read(&newest).unwrap();
    // The last byte is a line feed, without which nothing is missing.
    for length in 0..text.len() - 1 {
        fs::write(&newest, &text[..length]).unwrap();
        let before = everything(folder.path());
        assert!(
            refusal(folder.path()).contains("is damaged; put it back"),
            "{length}"
        );
        assert_eq!(everything(folder.path()), before);
    }
    fs::remove_file(&newest).unwrap();
    let (mut sink, state) = begin(folder.path());
    assert_eq!(position(&state), 1);
    write(&mut sink, "calls", &[r#"{"id":"2"}"#]);
    sink.commit(&mut state_at(2)).unwrap();
    assert_eq!(
        texts(&counted(folder.path(), "calls"), "id"),
        some(&["1", "2"])
    );
}

#[test]
fn files_of_another_program_are_refused_and_left_alone() {
    type Change = Box<dyn Fn(&Path)>;
    let manifest = |change: fn(&mut Value)| {
        move |folder: &Path| {
            let path = folder
                .join("_headwater")
                .join(super::manifest::manifest_name(3));
            let mut text: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            change(&mut text);
            fs::write(&path, text.to_string()).unwrap();
        }
    };
    let counted_file = |folder: &Path| folder.join(&newest(folder).files[0].path);
    let cases: Vec<(Change, &str)> = vec![
        (
            Box::new(manifest(|text| text["headwater_manifest"] = 9.into())),
            "was written by a newer version (format 9)",
        ),
        (
            Box::new(manifest(|text| *text = json!({"files": []}))),
            "is not a manifest of headwater",
        ),
        (
            Box::new(manifest(|text| text["connector"] = "other".into())),
            "belongs to the connector \"other\", not to \"acme\"",
        ),
        (
            Box::new(manifest(|text| text["connection"] = "other".into())),
            "belongs to the connection \"other\", not to \"main\"",
        ),
        (
            Box::new(manifest(|text| text["sequence"] = 9.into())),
            "has the number of another one",
        ),
        (
            Box::new(manifest(|text| {
                text["state"]["headwater_state"] = 99.into();
            })),
            "was written by a newer version (format 99)",
        ),
        (
            Box::new(move |folder| fs::remove_file(counted_file(folder)).unwrap()),
            "put it back",
        ),
        (
            Box::new(move |folder| fs::write(counted_file(folder), "x").unwrap()),
            "put it back",
        ),
        (
            Box::new(|folder| fs::remove_dir_all(folder.join("_headwater")).unwrap()),
            "no manifest that counts them",
        ),
        (
            Box::new(|folder| {
                let path = folder
                    .join("_headwater")
                    .join(super::manifest::manifest_name(3));
                let file = fs::File::create(path).unwrap();
                file.set_len(300 << 20).unwrap();
            }),
            "is far too large for a manifest",
        ),
    ];
    for (change, says) in cases {
        let folder = with_two_commits();
        change(folder.path());
        let before = everything(&folder.path().join("calls"));
        let said = refusal(folder.path());
        assert!(said.contains(says), "{said}");
        assert_eq!(everything(&folder.path().join("calls")), before, "{says}");
    }
}

#[test]
fn streams_with_names_or_fields_that_are_taken_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, state) = load(folder.path()).unwrap();
    let named = |name| StreamSpec { name, ..calls() };
    for name in ["_headwater", ".hidden", "", "a/b", "..", "é"] {
        let error = sink.restore(&[named(name)], &state).unwrap_err();
        assert!(
            error.to_string().contains("has a name that no folder gets"),
            "{error}"
        );
    }
    let error = sink
        .restore(&[named("calls"), named("Calls")], &state)
        .unwrap_err();
    assert!(error.to_string().contains("the same name"), "{error}");
    let reserved = StreamSpec {
        schema: || json!({"properties": {"_record": {}}}),
        ..calls()
    };
    let error = sink.restore(&[reserved], &state).unwrap_err();
    assert!(error.to_string().contains("has a field _record"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // A file where the folder of a stream should be.
    fs::write(folder.path().join("calls"), "mine").unwrap();
    let error = sink.restore(&[calls()], &state).unwrap_err();
    assert_eq!(error.kind(), Kind::OutputFailed);
    assert_eq!(
        fs::read_to_string(folder.path().join("calls")).unwrap(),
        "mine"
    );
    for name in ["select", "con-1"] {
        sink.restore(&[named(name)], &state).unwrap();
    }
}

#[test]
fn a_place_that_is_no_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "mine").unwrap();
    let mut sink = ParquetSink::in_folder(&path, "main").unwrap();
    let error = State::held_by(&mut sink, CONNECTOR).unwrap_err();
    assert_eq!(error.kind(), Kind::OutputFailed);
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn columns_that_a_newer_schema_has_are_in_the_files_written_since() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = begin(folder.path());
    write(&mut sink, "calls", &[r#"{"id":"1","new":"a"}"#]);
    sink.commit(&mut state_at(1)).unwrap();
    drop(sink);
    let grown = StreamSpec {
        schema: || json!({"properties": {"id": {"type": "string"}, "new": {"type": "string"}}}),
        ..calls()
    };
    let (mut sink, state) = load(folder.path()).unwrap();
    sink.restore(&[grown], &state).unwrap();
    write(&mut sink, "calls", &[r#"{"id":"2","new":"b"}"#]);
    sink.commit(&mut state_at(2)).unwrap();
    let files = newest(folder.path()).files;
    assert_ne!(files[0].schema, files[1].schema);
    let batches = counted(folder.path(), "calls");
    assert!(batches[0].column_by_name("new").is_none());
    assert_eq!(texts(&batches[1..], "new"), some(&["b"]));
    assert_eq!(texts(&batches, "_record").len(), 2);
}
