//! The parts of SQL, and of the limits, in which databases differ.

use std::{collections::BTreeSet, fmt::Debug};

use headwater_core::Result;

use super::TableColumn;
use crate::columns::ColumnKind;

/// A database as far as its tables differ from those of another one.
pub(crate) trait Dialect: Debug + Sync {
    /// The name of the database, for people.
    fn name(&self) -> &'static str;

    /// The most columns of a table.
    fn max_columns(&self) -> usize;

    /// The most bytes of the name of a table.
    fn max_name(&self) -> usize;

    /// The beginnings of names that no table may have.
    fn reserved(&self) -> &'static [&'static str];

    /// The remedy where a table cannot be used: another location, as an imperative.
    fn elsewhere(&self) -> &'static str;

    /// A name in the spelling in which two equal names are the same.
    fn fold(&self, name: &str) -> String;

    /// A text as the name of a table.
    fn table_name(&self, text: &str) -> String;

    /// The name of a field's column. `taken` are folded names; a dialect that always names a field in the same way
    /// ignores them.
    fn column_name(&self, field: &str, taken: &BTreeSet<String>) -> String;

    /// The type of a column. A database that compares types spells it in the same way.
    fn type_name(&self, kind: ColumnKind, is_key: bool) -> &'static str;

    /// Reads the columns of a table as `_headwater_tables` has them; none where another version wrote another format.
    fn read_columns(&self, json: &str, key: &[String]) -> Option<Vec<TableColumn>>;

    /// The columns of a table for `_headwater_tables`.
    fn write_columns(&self, columns: &[TableColumn]) -> Result<String>;

    /// A parameter of a statement, by its number from one.
    fn parameter(&self, number: usize, kind: ColumnKind) -> String;

    /// The present moment, as the expression for a column of [`ColumnKind::Time`].
    fn now(&self) -> &'static str;
}

/// A name in quotes: with them, any word and any letter is a name.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
