//! The sink against real files: content of rows, refusals, and files after a crash.

mod crash;
mod passes;
mod refusals;
mod rows;
mod schema;

use std::path::{Path, PathBuf};

use headwater_core::{
    Result, StreamSpec,
    sink::{Sink, WriteCounts},
};
use headwater_host::State;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::SqliteSink;
use crate::{Mode, TableOptions};

const CONNECTOR: &str = "acme";

/// A folder with a file in it, and a connection that writes to it.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("records.db")
    }

    fn sink(&self) -> SqliteSink {
        self.sink_of("main", TableOptions::default())
    }

    fn sink_of(&self, connection: &str, options: TableOptions) -> SqliteSink {
        SqliteSink::new(&self.path(), connection, options).unwrap()
    }

    /// One run that writes these records and commits.
    fn write(&self, stream: &StreamSpec, records: &[&str]) -> WriteCounts {
        self.write_with(TableOptions::default(), stream, records)
            .unwrap()
    }

    fn write_with(
        &self,
        options: TableOptions,
        stream: &StreamSpec,
        records: &[&str],
    ) -> Result<WriteCounts> {
        let mut sink = self.sink_of("main", options);
        let mut state = State::held_by(&mut sink, CONNECTOR)?.unwrap();
        sink.restore(std::slice::from_ref(stream), &state)?;
        let written = write(&mut sink, stream.name, records)?;
        sink.commit(&mut state)?;
        Ok(written)
    }

    /// The rows of a query, each as its values in SQL's own spelling.
    fn query(&self, sql: &str) -> Vec<String> {
        query(&self.path(), sql)
    }
}

fn write(sink: &mut SqliteSink, stream: &str, records: &[&str]) -> Result<WriteCounts> {
    sink.write(stream, &mut records.iter().map(|record| record.as_bytes()))
}

fn query(path: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let count = statement.column_count();
    let rows = statement.query_map([], |row| {
        let values = (0..count).map(|place| match row.get_ref(place).unwrap() {
            rusqlite::types::ValueRef::Null => "NULL".to_owned(),
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            rusqlite::types::ValueRef::Real(number) => format!("{number:?}"),
            rusqlite::types::ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
            rusqlite::types::ValueRef::Blob(blob) => {
                format!("x'{}'", String::from_utf8_lossy(blob))
            }
        });
        Ok(values.collect::<Vec<_>>().join(" "))
    });
    rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

fn spec(name: &'static str, key: &'static [&'static str], schema: fn() -> Value) -> StreamSpec {
    StreamSpec {
        name,
        description: "A thing.",
        key,
        cursor: None,
        incremental: false,
        schema,
    }
}

/// A field of each kind.
fn things() -> StreamSpec {
    spec("things", &["id"], || {
        json!({
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "count": {"type": "integer"},
                "money": {"type": "number"},
                "is_open": {"type": "boolean"},
                "at": {"type": "string", "format": "date-time"},
                "tags": {"type": "array"},
            },
        })
    })
}

/// The same without a key.
fn events() -> StreamSpec {
    StreamSpec {
        name: "events",
        key: &[],
        ..things()
    }
}

/// A state with a number that distinguishes it from others.
fn state(number: u64) -> State {
    let text = json!({
        "headwater_state": 2,
        "connector": CONNECTOR,
        "streams": {"things": {"last_records": number}},
    });
    State::from_json(text.to_string().as_bytes(), "the state", CONNECTOR).unwrap()
}

/// The number of a state; nought for a new one.
fn number(state: &State) -> u64 {
    let state: Value = serde_json::from_slice(&state.to_json().unwrap()).unwrap();
    state["streams"]["things"]["last_records"]
        .as_u64()
        .unwrap_or(0)
}

fn with_mode(mode: Mode) -> TableOptions {
    TableOptions {
        mode: Some(mode),
        ..TableOptions::default()
    }
}

fn with_prefix(prefix: &str) -> TableOptions {
    TableOptions {
        prefix: prefix.to_owned(),
        ..TableOptions::default()
    }
}
