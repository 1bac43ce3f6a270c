//! SQLite's names, types and limits.

use std::collections::BTreeSet;

use headwater_core::Result;

use crate::{
    columns::ColumnKind,
    relational::{Dialect, LEDGER, TableColumn, columns_as_list, columns_from_list},
};

/// SQLite.
#[derive(Debug)]
pub(crate) struct Sqlite;

impl Dialect for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn max_columns(&self) -> usize {
        2_000
    }

    /// SQLite has no limit.
    fn max_name(&self) -> usize {
        usize::MAX
    }

    fn reserved(&self) -> &'static [&'static str] {
        &["sqlite_", LEDGER]
    }

    fn elsewhere(&self) -> &'static str {
        "name another file, or give the tables a prefix with ?prefix="
    }

    /// SQLite takes `Id` and `id` for one name.
    fn fold(&self, name: &str) -> String {
        name.to_ascii_lowercase()
    }

    /// SQLite takes everything but a NUL; a line break is of no use.
    fn table_name(&self, text: &str) -> String {
        let clean = text.replace(char::is_control, "_");
        if clean.is_empty() {
            "_".to_owned()
        } else {
            clean
        }
    }

    /// The field's name, or with a number where the table has that name already.
    fn column_name(&self, field: &str, taken: &BTreeSet<String>) -> String {
        let name = self.table_name(field);
        let mut free = name.clone();
        let mut number = 2;
        while taken.contains(&self.fold(&free)) {
            free = format!("{name}_{number}");
            number += 1;
        }
        free
    }

    /// The type decides how SQLite converts a value: a number in a text column keeps its digits.
    fn type_name(&self, kind: ColumnKind, _is_key: bool) -> &'static str {
        match kind {
            ColumnKind::Text | ColumnKind::Number | ColumnKind::Time | ColumnKind::Json => "TEXT",
            ColumnKind::Integer => "INTEGER",
            ColumnKind::Boolean => "BOOLEAN",
        }
    }

    fn read_columns(&self, json: &str, key: &[String]) -> Option<Vec<TableColumn>> {
        columns_from_list(json, key)
    }

    fn write_columns(&self, columns: &[TableColumn]) -> Result<String> {
        columns_as_list(columns)
    }

    fn parameter(&self, number: usize, _kind: ColumnKind) -> String {
        format!("?{number}")
    }

    fn now(&self) -> &'static str {
        "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
    }
}
