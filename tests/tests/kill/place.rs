//! What a sink holds, read behind its back after its process has ended.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use headwater_core::Result;
use headwater_host::{Sink, State};
use headwater_output::Destination;
use parquet::file::{reader::FileReader, serialized_reader::SerializedFileReader};
use parquet::record::Field;
use postgres::{Client, IsolationLevel, NoTls};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    broken::{First, TwoSteps, kept_state},
    service::STREAMS,
};

/// The name of the connector and of the connection.
pub const NAME: &str = "kill";

/// Where records go.
pub enum Place {
    Sqlite(PathBuf),
    Postgres {
        url: String,
        schema: String,
    },
    Parquet(PathBuf),
    /// One of the sinks of this test.
    TwoSteps(PathBuf, First),
}

/// A state, and the records beside it: stream and record, in the order in which they were stored.
pub struct Kept {
    pub state: State,
    pub records: Vec<(String, Value)>,
}

impl Place {
    /// The destination as the process that writes there is told of it.
    pub fn destination(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres { url, schema } => format!("{url}?schema={schema}"),
            Self::Parquet(folder) => format!("parquet:{}", folder.display()),
            Self::TwoSteps(path, First::State) => format!("state-first:{}", path.display()),
            Self::TwoSteps(path, First::Rows) => format!("rows-first:{}", path.display()),
            Self::TwoSteps(path, First::Neither) => format!("at-once:{}", path.display()),
        }
    }

    /// State and records as of one moment. A server may still be at work for a process that was killed.
    pub fn kept(&self) -> Kept {
        let (state, records) = match self {
            Self::Sqlite(path) => sqlite(path),
            Self::Postgres { url, schema } => postgres(url, schema),
            Self::Parquet(folder) => parquet(folder),
            Self::TwoSteps(path, _) => two_steps(path),
        };
        let state = state.map_or_else(
            || State::new(NAME),
            |text| State::from_json(text.as_bytes(), "the state", NAME).unwrap(),
        );
        let parsed = |(stream, text): (String, String)| {
            let record = serde_json::from_str(&text).unwrap();
            (stream, record)
        };
        Kept {
            state,
            records: records.into_iter().map(parsed).collect(),
        }
    }
}

/// The sink of a destination.
pub fn open(destination: &str) -> Result<Box<dyn Sink>> {
    let first = match destination.split_once(':') {
        Some(("state-first", path)) => Some((path, First::State)),
        Some(("rows-first", path)) => Some((path, First::Rows)),
        Some(("at-once", path)) => Some((path, First::Neither)),
        _ => None,
    };
    match first {
        Some((path, first)) => Ok(Box::new(TwoSteps::open(Path::new(path), first)?)),
        None => Destination::parse(destination)?.open(NAME),
    }
}

type Found = (Option<String>, Vec<(String, String)>);

fn sqlite(path: &Path) -> Found {
    let connection = connect(path);
    let begun = connection.unchecked_transaction().unwrap();
    let has = |table: &str| -> bool {
        let question = "SELECT EXISTS (SELECT * FROM sqlite_schema WHERE name = ?1)";
        begun
            .query_row(question, [table], |row| row.get(0))
            .unwrap()
    };
    if !has("_headwater_state") {
        return (None, Vec::new());
    }
    let question = "SELECT max(state) FROM _headwater_state";
    let state = begun.query_row(question, [], |row| row.get(0)).unwrap();
    let mut records = Vec::new();
    for stream in STREAMS.into_iter().filter(|stream| has(stream)) {
        let question = format!("SELECT _record FROM {stream} ORDER BY rowid");
        records.extend(
            texts(&begun, &question)
                .into_iter()
                .map(|text| (stream.to_owned(), text)),
        );
    }
    (state, records)
}

fn two_steps(path: &Path) -> Found {
    let connection = connect(path);
    let mut records = Vec::new();
    for stream in STREAMS {
        let question = format!("SELECT record FROM records WHERE stream = '{stream}'");
        // The table is missing where the process was killed before it made one.
        if connection.prepare(&question).is_ok() {
            let found = texts(&connection, &question).into_iter();
            records.extend(found.map(|text| (stream.to_owned(), text)));
        }
    }
    (kept_state(&connection), records)
}

fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection
}

fn texts(connection: &Connection, question: &str) -> Vec<String> {
    let mut statement = connection.prepare(question).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(|row| row.unwrap()).collect()
}

fn postgres(url: &str, schema: &str) -> Found {
    let mut client = Client::connect(url, NoTls).unwrap();
    let begun = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead);
    let mut begun = begun.start().unwrap();
    let mut has = |table: &str| {
        let question =
            "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = $2)";
        let row = begun.query_one(question, &[&schema, &table]).unwrap();
        row.get::<_, bool>(0)
    };
    let there: Vec<&str> = STREAMS.into_iter().filter(|stream| has(stream)).collect();
    if !has("_headwater_state") {
        return (None, Vec::new());
    }
    let question = format!("SELECT state FROM {schema}._headwater_state");
    let state = begun.query_opt(&question, &[]).unwrap();
    let mut records = Vec::new();
    for stream in there {
        let question = format!("SELECT _record FROM {schema}.{stream}");
        let rows = begun.query(&question, &[]).unwrap();
        records.extend(rows.iter().map(|row| (stream.to_owned(), row.get(0))));
    }
    (state.and_then(|row| row.get(0)), records)
}

/// A manifest whose state is as it was written, since its digest is that of its text.
#[derive(Deserialize)]
struct Manifest {
    state: Box<RawValue>,
}

fn parquet(folder: &Path) -> Found {
    let names = fs::read_dir(folder.join("_headwater"))
        .into_iter()
        .flatten();
    let mut manifests: Vec<PathBuf> = names
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("manifest-")
        })
        .collect();
    manifests.sort();
    let Some(newest) = manifests.last() else {
        return (None, Vec::new());
    };
    let text = fs::read(newest).unwrap();
    let manifest: Value = serde_json::from_slice(&text).unwrap();
    let kept: Manifest = serde_json::from_slice(&text).unwrap();
    let mut records = Vec::new();
    for file in manifest["files"].as_array().unwrap() {
        let text = |name: &str| file[name].as_str().unwrap().to_owned();
        let rows = File::open(folder.join(text("path"))).unwrap();
        let rows = SerializedFileReader::new(rows).unwrap();
        for row in rows.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let mut columns = row.get_column_iter();
            let record = columns.find(|(name, _)| *name == "_record");
            let Some((_, Field::Str(record))) = record else {
                panic!("a row without a record");
            };
            records.push((text("stream"), record.clone()));
        }
    }
    (Some(kept.state.get().to_owned()), records)
}
