//! Answers about the tables in a file.

use std::{collections::BTreeMap, path::Path};

use headwater_core::Result;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::{dialect::Sqlite, file::has_table, problem::problem};
use crate::relational::{Catalog, Dialect, LedgerRow, quoted};

/// The tables in a file.
pub(super) struct FileCatalog<'run> {
    connection: &'run Connection,
    path: &'run Path,
    /// Whether the file has the table in which headwater remembers its tables.
    has_ledger: bool,
}

impl<'run> FileCatalog<'run> {
    pub fn new(connection: &'run Connection, path: &'run Path) -> Result<Self> {
        let has_ledger = has_table(connection, "_headwater_tables");
        Ok(Self {
            connection,
            path,
            has_ledger: has_ledger.map_err(|error| problem(path, error))?,
        })
    }

    fn all<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let all = || {
            let mut statement = self.connection.prepare(sql)?;
            let rows = statement.query_map(parameters, read)?;
            rows.collect::<rusqlite::Result<_>>()
        };
        all().map_err(|error| problem(self.path, error))
    }

    fn is(&self, sql: &str, parameters: impl Params) -> Result<bool> {
        let answer = self.connection.query_row(sql, parameters, |row| row.get(0));
        answer.map_err(|error| problem(self.path, error))
    }
}

impl Catalog for FileCatalog<'_> {
    fn dialect(&self) -> &'static dyn Dialect {
        &Sqlite
    }

    fn is_taken(&mut self, table: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT * FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE)";
        self.is(sql, [table])
    }

    fn stored_table(&mut self, table: &str) -> Result<Option<LedgerRow>> {
        if !self.has_ledger {
            return Ok(None);
        }
        let sql =
            "SELECT connection, stream, key, columns FROM _headwater_tables WHERE table_name = ?1";
        let read = |row: &Row<'_>| {
            Ok(LedgerRow {
                connection: row.get(0)?,
                stream: row.get(1)?,
                key: row.get(2)?,
                columns: row.get(3)?,
            })
        };
        let stored = self.connection.query_row(sql, [table], read).optional();
        stored.map_err(|error| problem(self.path, error))
    }

    fn other_tables(&mut self, connection: &str, stream: &str, table: &str) -> Result<Vec<String>> {
        if !self.has_ledger {
            return Ok(Vec::new());
        }
        let sql = "SELECT table_name FROM _headwater_tables WHERE connection = ?1 AND stream = ?2 AND table_name <> ?3";
        self.all(sql, params![connection, stream, table], |row| row.get(0))
    }

    fn is_empty(&mut self, table: &str) -> Result<bool> {
        let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", quoted(table));
        self.is(&sql, [])
    }

    /// SQLite stores any value in any column, so that no type is named.
    fn columns(&mut self, table: &str) -> Result<BTreeMap<String, Option<String>>> {
        let sql = "SELECT name FROM pragma_table_info(?1)";
        let names = self.all(sql, [table], |row| Ok((row.get(0)?, None)))?;
        Ok(names.into_iter().collect())
    }
}
