//! PostgreSQL's names, types and limits.

use std::collections::BTreeSet;

use headwater_core::{Result, fnv1a};

use crate::{
    columns::ColumnKind,
    relational::{Dialect, LEDGER, OURS, TableColumn, columns_as_map, columns_from_map},
};

/// The most bytes of a name; PostgreSQL cuts off the rest silently.
pub(super) const MAX_NAME: usize = 63;
/// Columns that every table has already.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// PostgreSQL.
#[derive(Debug)]
pub(crate) struct Postgres;

impl Dialect for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn max_columns(&self) -> usize {
        1_600
    }

    fn max_name(&self) -> usize {
        MAX_NAME
    }

    fn reserved(&self) -> &'static [&'static str] {
        &[LEDGER]
    }

    fn elsewhere(&self) -> &'static str {
        "choose another ?schema= or a ?prefix="
    }

    fn fold(&self, name: &str) -> String {
        name.to_owned()
    }

    fn table_name(&self, text: &str) -> String {
        text.to_owned()
    }

    /// The field's own name wherever PostgreSQL can have it; otherwise as much of it as fits, and a fingerprint of it.
    fn column_name(&self, field: &str, _taken: &BTreeSet<String>) -> String {
        let is_taken = SYSTEM_COLUMNS.contains(&field) || OURS.contains(&field);
        let is_possible = !field.is_empty() && field.len() <= MAX_NAME && !field.contains('\0');
        if is_possible && !is_taken {
            return field.to_owned();
        }
        let mut name = field.replace('\0', "");
        while name.len() > MAX_NAME - "_0123456789abcdef".len() {
            name.pop();
        }
        format!("{name}_{:016x}", fnv1a(field.as_bytes()))
    }

    /// JSON cannot be compared, so that a key of it is text.
    fn type_name(&self, kind: ColumnKind, is_key: bool) -> &'static str {
        match kind {
            ColumnKind::Text => "text",
            ColumnKind::Integer => "bigint",
            ColumnKind::Number => "numeric",
            ColumnKind::Boolean => "boolean",
            ColumnKind::Time => "timestamp with time zone",
            ColumnKind::Json if is_key => "text",
            ColumnKind::Json => "json",
        }
    }

    fn read_columns(&self, json: &str, key: &[String]) -> Option<Vec<TableColumn>> {
        columns_from_map(json, key, self)
    }

    fn write_columns(&self, columns: &[TableColumn]) -> Result<String> {
        columns_as_map(columns)
    }

    fn parameter(&self, number: usize, kind: ColumnKind) -> String {
        format!("${number}::{}", self.type_name(kind, false))
    }

    fn now(&self) -> &'static str {
        "now()"
    }
}
