//! Tables in an SQLite file, with the position in a table of its own.
//!
//! Rows and position are one transaction, which is open between two commits. SQLite itself writes to disk what
//! does not fit its cache, so that memory is bounded however long a transaction gets.
//!
//! Two runs of one connection cannot both commit. A lock file refuses the second one at once. Where locks do
//! not work, or were removed, the epoch does: each run raises it, and commits only while it is still its own.

mod catalog;
mod dialect;
mod file;
mod problem;
mod row;
mod rows;
mod table;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use dialect::Sqlite;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use headwater_core::{
    Error, Kind, Result, StreamSpec,
    sink::{Delivery, Sink, SinkState, UnseenRows, WriteCounts},
};
use rusqlite::{Connection, params};

use crate::{
    TableOptions,
    relational::{self, Owner},
};
use catalog::FileCatalog;
use file::Run;
use problem::problem;
use row::Row;
use table::Table;

/// Tables in an SQLite file: one per stream, a typed column per field, and the whole raw record.
#[derive(Debug)]
pub struct SqliteSink {
    path: PathBuf,
    connection_name: String,
    options: TableOptions,
    run: Option<Run>,
    /// Whether no run has used the file before: it is taken once nothing speaks against it.
    is_new: bool,
    /// By stream.
    tables: BTreeMap<String, Table>,
    /// The marks of the passes under way, by stream.
    marks: BTreeMap<String, i64>,
    /// Whether the file has the tables as they are planned.
    are_tables_made: bool,
    /// A write failed: the rows since the last commit are incomplete, and nothing may be committed any more.
    has_failed: bool,
}

impl SqliteSink {
    /// Uses a file, which is made where it is missing. Nothing is opened before [`Sink::load`].
    ///
    /// # Errors
    ///
    /// Fails if the path has no absolute form.
    pub fn new(path: &Path, connection_name: &str, options: TableOptions) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|error| {
            let text = format!("{} cannot be found: {error}", path.display());
            Error::new(Kind::OutputFailed, text)
        })?;
        Ok(Self {
            path,
            connection_name: connection_name.to_owned(),
            options,
            run: None,
            is_new: false,
            tables: BTreeMap::new(),
            marks: BTreeMap::new(),
            are_tables_made: false,
            has_failed: false,
        })
    }

    fn run(&self) -> Result<&Run> {
        if self.has_failed {
            let text = format!(
                "an earlier write to {} failed, so that nothing more goes there; run again",
                self.path.display()
            );
            return Err(Error::new(Kind::OutputFailed, text));
        }
        self.run.as_ref().ok_or_else(|| {
            Error::new(
                Kind::Unexpected,
                "the SQLite file was not loaded before its use",
            )
        })
    }

    fn plan(
        &self,
        connection: &Connection,
        streams: &[StreamSpec],
        state: &dyn SinkState,
    ) -> Result<BTreeMap<String, Table>> {
        let subject = self.path.display().to_string();
        let owner = Owner {
            connection: &self.connection_name,
            subject: &subject,
            place: &format!("sqlite:{subject} --connection {}", self.connection_name),
            options: &self.options,
        };
        let mut catalog = FileCatalog::new(connection, &self.path)?;
        let plans = relational::plan(&mut catalog, &owner, streams, state)?.into_iter();
        plans
            .map(|plan| Ok((plan.stream.to_owned(), Table::new(plan)?)))
            .collect()
    }

    /// Takes a run in a file that had none of this connection when it was loaded.
    fn take_new(&mut self, state: &dyn SinkState) -> Result<()> {
        let run = file::take(
            &self.path,
            &self.connection_name,
            state.connector(),
            |_, _| Ok(()),
        )?;
        if !run.stored_state.is_empty() {
            let text = format!(
                "another run of the connection {} has written to {} meanwhile; run again",
                self.connection_name,
                self.path.display()
            );
            return Err(Error::new(Kind::Unavailable, text));
        }
        self.run = Some(run);
        self.is_new = false;
        Ok(())
    }

    /// Opens the transaction that lasts until the next commit, and makes the tables in the first one.
    fn begin(&mut self) -> Result<()> {
        let connection = &self.run()?.connection;
        if !connection.is_autocommit() {
            return Ok(());
        }
        let failed = |error: rusqlite::Error| problem(&self.path, error);
        let is_rebuilt = !self.are_tables_made && self.tables.values().any(Table::is_rebuilt);
        if is_rebuilt {
            // A table that is replaced by its copy must not take rows along that refer to it.
            let pragma = connection.pragma_update(None, "foreign_keys", false);
            pragma.map_err(failed)?;
        }
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(failed)?;
        if !self.are_tables_made {
            for table in self.tables.values() {
                table
                    .make(connection, &self.connection_name)
                    .map_err(failed)?;
            }
            self.are_tables_made = true;
        }
        Ok(())
    }

    fn write_rows(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        self.begin()?;
        let connection = &self.run()?.connection;
        let Some(table) = self.tables.get(stream) else {
            let text = format!("the stream {stream} was not announced to the SQLite file");
            return Err(Error::new(Kind::Unexpected, text));
        };
        let failed = |error: rusqlite::Error| problem(&self.path, error);
        let mut writer = rows::Writer::new(connection, table, self.marks.get(stream).copied());
        let mut insert = connection
            .prepare_cached(&table.statements.insert)
            .map_err(failed)?;
        let mut row = Row::new(&table.plan);
        for record in records {
            row.read(record)
                .map_err(|error| error.with("stream", stream))?;
            writer.write(&mut insert, &row, record).map_err(failed)?;
        }
        Ok(writer.written)
    }

    /// Deals with the rows that the pass did not see.
    fn sweep(&mut self, stream: &str) -> Result<Option<UnseenRows>> {
        self.begin()?;
        let (Some(table), Some(mark)) = (self.tables.get(stream), self.marks.get(stream)) else {
            return Ok(None);
        };
        if !table.plan.is_keyed() {
            return Ok(None);
        }
        let swept = table.sweep(&self.run()?.connection, *mark);
        let rows = swept.map_err(|error| problem(&self.path, error))?;
        Ok(Some(UnseenRows {
            rows,
            deletes: table.plan.deletes,
        }))
    }

    fn commit_state(&mut self, state: &dyn SinkState) -> Result<()> {
        let text = state.to_json()?;
        let run = self.run()?;
        if run.connection.is_autocommit() && text == run.stored_state {
            return Ok(());
        }
        self.begin()?;
        let run = self.run()?;
        let failed = |error: rusqlite::Error| problem(&self.path, error);
        let stored = run
            .connection
            .execute(
                "UPDATE _headwater_state SET connector = ?1, state = CAST(?2 AS TEXT), \
                 written_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE connection = ?3 AND epoch = ?4",
                params![state.connector(), text, self.connection_name, run.epoch],
            )
            .map_err(failed)?;
        if stored == 0 {
            let text = format!(
                "another run of the connection {} took over {}; what this one read since its last commit is left to it",
                self.connection_name,
                self.path.display()
            );
            return Err(Error::new(Kind::OutputFailed, text));
        }
        run.connection.execute_batch("COMMIT").map_err(failed)?;
        if let Some(run) = &mut self.run {
            run.stored_state = text;
        }
        Ok(())
    }

    /// After a failure, the rows since the last commit are taken back.
    fn stop_after_failure<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.has_failed = true;
            if let Some(run) = &self.run
                && !run.connection.is_autocommit()
            {
                // Where even this fails, the transaction ends with the process.
                let _ = run.connection.execute_batch("ROLLBACK");
            }
        }
        result
    }
}

impl Sink for SqliteSink {
    fn delivery(&self) -> Delivery {
        Delivery::Together
    }

    fn peek(&mut self) -> Result<Option<Vec<u8>>> {
        file::peek(&self.path, &self.connection_name)
    }

    fn load(&mut self, state: &mut dyn SinkState) -> Result<bool> {
        // It may be the file of another program.
        if !file::is_ours(&self.path)? {
            self.is_new = true;
            return Ok(true);
        }
        let connector = state.connector().to_owned();
        let read = |json: &[u8], place: &str| state.read_json(json, place);
        let run = file::take(&self.path, &self.connection_name, &connector, read)?;
        self.run = Some(run);
        Ok(true)
    }

    fn restore(&mut self, streams: &[StreamSpec], state: &dyn SinkState) -> Result<()> {
        if self.is_new {
            self.plan(&file::look(&self.path)?, streams, state)?;
            self.take_new(state)?;
        }
        let connection = &self.run()?.connection;
        let planned = self.plan(connection, streams, state)?;
        // Those of each table, and our own.
        connection.set_prepared_statement_cache_capacity(4 * planned.len() + 4);
        self.tables = planned;
        self.are_tables_made = false;
        Ok(())
    }

    fn begin_pass(&mut self, stream: &str, mark: u64) -> Result<()> {
        let mark = i64::try_from(mark).unwrap_or(i64::MAX);
        self.marks.insert(stream.to_owned(), mark);
        Ok(())
    }

    fn end_pass(&mut self, stream: &str) -> Result<Option<UnseenRows>> {
        let swept = self.sweep(stream);
        self.stop_after_failure(swept)
    }

    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        let written = self.write_rows(stream, records);
        self.stop_after_failure(written)
    }

    fn commit(&mut self, state: &mut dyn SinkState) -> Result<()> {
        let committed = self.commit_state(state);
        self.stop_after_failure(committed)
    }
}
