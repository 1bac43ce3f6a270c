//! Sinks that keep rows and position in two steps, to see that the tests would notice; and the same in one.

use std::path::Path;

use headwater_core::{Error, Kind, Result, StreamSpec};
use headwater_host::{Delivery, Sink, SinkState, WriteCounts};
use rusqlite::{Connection, params};

/// What is made durable first.
#[derive(Clone, Copy, PartialEq)]
pub enum First {
    State,
    Rows,
    /// Both at once.
    Neither,
}

/// All rows in one table of an SQLite file, the state in another.
pub struct TwoSteps {
    connection: Connection,
    first: First,
    rows: Vec<(String, String)>,
}

impl TwoSteps {
    pub fn open(path: &Path, first: First) -> Result<Self> {
        let connection = Connection::open(path).map_err(failed)?;
        let tables = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                      CREATE TABLE IF NOT EXISTS records (stream TEXT, record TEXT); \
                      CREATE TABLE IF NOT EXISTS kept (one INTEGER PRIMARY KEY, state TEXT)";
        connection.execute_batch(tables).map_err(failed)?;
        Ok(Self {
            connection,
            first,
            rows: Vec::new(),
        })
    }

    fn store_rows(&mut self) -> rusqlite::Result<()> {
        for (stream, record) in self.rows.drain(..) {
            let insert = "INSERT INTO records VALUES (?1, ?2)";
            self.connection.execute(insert, params![stream, record])?;
        }
        Ok(())
    }

    fn store_state(&self, state: &dyn SinkState) -> rusqlite::Result<()> {
        let text = String::from_utf8(state.to_json().unwrap()).unwrap();
        let replace = "INSERT OR REPLACE INTO kept VALUES (1, ?1)";
        self.connection.execute(replace, [text]).map(|_| ())
    }

    fn store(&mut self, state: &dyn SinkState) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        match self.first {
            First::State => self.store_state(state)?,
            First::Rows => self.store_rows()?,
            First::Neither => {
                self.store_state(state)?;
                self.store_rows()?;
                return self.connection.execute_batch("COMMIT");
            }
        }
        self.connection.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
        self.store_rows()?;
        self.store_state(state)?;
        self.connection.execute_batch("COMMIT")
    }
}

impl Sink for TwoSteps {
    fn delivery(&self) -> Delivery {
        Delivery::Together
    }

    fn load(&mut self, state: &mut dyn SinkState) -> Result<bool> {
        if let Some(json) = kept_state(&self.connection) {
            state.read_json(json.as_bytes(), "the state")?;
        }
        Ok(true)
    }

    fn restore(&mut self, _: &[StreamSpec], _: &dyn SinkState) -> Result<()> {
        Ok(())
    }

    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        let before = self.rows.len();
        let text = |record: &[u8]| String::from_utf8_lossy(record).into_owned();
        self.rows
            .extend(records.map(|record| (stream.to_owned(), text(record))));
        Ok(WriteCounts {
            records: (self.rows.len() - before) as u64,
            ..WriteCounts::default()
        })
    }

    fn commit(&mut self, state: &mut dyn SinkState) -> Result<()> {
        self.store(state).map_err(failed)
    }
}

/// The state that a file holds, if it holds one.
pub fn kept_state(connection: &Connection) -> Option<String> {
    let question = "SELECT state FROM kept";
    connection.query_row(question, [], |row| row.get(0)).ok()
}

fn failed(error: rusqlite::Error) -> Error {
    Error::new(Kind::OutputFailed, error.to_string())
}
