//! A planned table: its columns, and the statements that are the same in every database.

use std::collections::HashMap;

use headwater_core::{Result, sink::Deletes};

use super::{DELETED_AT, DIGEST, Dialect, SEEN, quoted, stored::json};
use crate::columns::{ColumnKind, OVERFLOW, RECORD};

/// The table of a stream.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub dialect: &'static dyn Dialect,
    pub stream: &'static str,
    /// The name in the database, without quotes.
    pub name: String,
    pub columns: Vec<TableColumn>,
    /// The positions of the key's columns; empty where rows are appended.
    pub key: Vec<usize>,
    /// The field that says when a record changed.
    pub cursor: Option<&'static str>,
    /// Whether each row has the digest of its record in its key.
    pub has_digests: bool,
    /// Whether a digest tells rows of one key apart. Tables of earlier versions have no column for it.
    pub has_digest: bool,
    /// Whether rows can be marked as deleted.
    pub has_deleted_at: bool,
    pub deletes: Deletes,
    /// What the first transaction does to the table.
    pub change: Change,
    pub by_field: HashMap<Vec<u8>, usize>,
}

/// A column, and the field that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableColumn {
    pub field: String,
    /// Mostly the field's own name.
    pub name: String,
    pub kind: ColumnKind,
    pub is_key: bool,
}

/// What the first transaction of a run does to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Create,
    Grow {
        /// The declarations of the columns that it lacks.
        added: Vec<String>,
        /// Whether its key has to be given a digest: an earlier version made it.
        needs_digest: bool,
    },
}

impl TablePlan {
    /// Whether rows have a key, and so a mark.
    pub fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }

    /// The fields of the key, as the database remembers them.
    pub fn key_json(&self) -> Result<String> {
        let fields = self.key.iter().map(|at| self.columns[*at].field.as_str());
        json(&fields.collect::<Vec<_>>())
    }

    /// The columns, as the database remembers them.
    pub fn columns_json(&self) -> Result<String> {
        self.dialect.write_columns(&self.columns)
    }

    /// The position of a field's column. The name of the field is spelt as in the record.
    pub fn column(&self, spelt: &[u8]) -> Option<usize> {
        if !spelt.contains(&b'\\') {
            return self.by_field.get(spelt).copied();
        }
        let name = [b"\"", spelt, b"\""].concat();
        let field: String = serde_json::from_slice(&name).ok()?;
        self.by_field.get(field.as_bytes()).copied()
    }

    /// The names of the key's columns, in quotes.
    pub fn key_names(&self) -> Vec<String> {
        let name = |at: &usize| quoted(&self.columns[*at].name);
        self.key.iter().map(name).collect()
    }

    /// The names of all columns that a row is written to, in quotes: the fields, the record, the overflow; then, where
    /// rows have a key, the mark and, where there is one, the digest.
    pub fn row_names(&self) -> Vec<String> {
        let fields = self.columns.iter().map(|column| column.name.as_str());
        let mut own = vec![RECORD, OVERFLOW];
        own.extend(self.is_keyed().then_some(SEEN));
        own.extend(self.has_digest.then_some(DIGEST));
        fields.chain(own).map(quoted).collect()
    }

    /// The statement that makes the table. `name` is in quotes, and qualified where it has to be.
    pub fn create(&self, name: &str) -> String {
        let own_type = |kind| self.dialect.type_name(kind, false);
        let text = own_type(ColumnKind::Text);
        let columns = self.columns.iter();
        let mut parts: Vec<String> = columns
            .map(|column| declaration(self.dialect, column))
            .collect();
        // Before the record, so that a pass that looks for them need not step over it.
        if self.is_keyed() {
            parts.push(format!(
                "{} {}",
                quoted(SEEN),
                own_type(ColumnKind::Integer)
            ));
            parts.push(format!("{} {text} NOT NULL DEFAULT ''", quoted(DIGEST)));
        }
        if self.has_deleted_at {
            let time = own_type(ColumnKind::Time);
            parts.push(format!("{} {time}", quoted(DELETED_AT)));
        }
        parts.push(format!("{} {text} NOT NULL", quoted(RECORD)));
        parts.push(format!("{} {text}", quoted(OVERFLOW)));
        if self.is_keyed() {
            parts.push(self.unique());
        }
        format!("CREATE TABLE {name} ({})", parts.join(", "))
    }

    /// The constraint that keeps rows of one key apart. No primary key, since a record without its key is a row, too.
    pub fn unique(&self) -> String {
        let mut key = self.key_names();
        key.push(quoted(DIGEST));
        format!("UNIQUE ({})", key.join(", "))
    }

    /// The statements that add the columns which the table lacks, one after the other.
    pub fn grow(&self, name: &str) -> String {
        let Change::Grow { added, .. } = &self.change else {
            return String::new();
        };
        let statement = |column: &String| format!("ALTER TABLE {name} ADD COLUMN {column};");
        added.iter().map(statement).collect()
    }

    /// Drops rows that the pass did not see where it saw another one with their key: an earlier pass met the record
    /// twice, and neither is gone. The mark is the first parameter of the first statement. None where no such row can
    /// be.
    pub fn drop_outdated(&self, name: &str) -> Option<[String; 2]> {
        if !self.has_digest || self.has_digests {
            return None;
        }
        let (seen, digest) = (quoted(SEEN), quoted(DIGEST));
        let mark = self.dialect.parameter(1, ColumnKind::Integer);
        let names = self.key_names();
        let equal = names.iter().map(|key| format!("other.{key} = kept.{key}"));
        let equal: Vec<String> = equal.collect();
        let other = format!(
            "SELECT 1 FROM {name} AS other WHERE {}",
            equal.join(" AND ")
        );
        Some([
            format!(
                "DELETE FROM {name} AS kept WHERE kept.{seen} IS DISTINCT FROM {mark} AND EXISTS ({other} AND \
                 other.{seen} = {mark})"
            ),
            // Rows of a key are found by the one without a digest.
            format!(
                "UPDATE {name} AS kept SET {digest} = '' WHERE kept.{digest} <> '' AND NOT EXISTS ({other} AND \
                 other.{digest} < kept.{digest})"
            ),
        ])
    }

    /// The statement for the rows that the pass did not see: it counts, marks or removes them. The mark is its first
    /// parameter.
    pub fn sweep(&self, name: &str) -> String {
        let mark = self.dialect.parameter(1, ColumnKind::Integer);
        let unseen = format!("{} IS DISTINCT FROM {mark}", quoted(SEEN));
        let deleted_at = quoted(DELETED_AT);
        match self.deletes {
            Deletes::Keep => format!("SELECT count(*) FROM {name} WHERE {unseen}"),
            Deletes::Mark => format!(
                "UPDATE {name} SET {deleted_at} = {} WHERE {unseen} AND {deleted_at} IS NULL",
                self.dialect.now()
            ),
            Deletes::Remove => format!("DELETE FROM {name} WHERE {unseen}"),
        }
    }
}

/// A column as it is declared.
pub(super) fn declaration(dialect: &dyn Dialect, column: &TableColumn) -> String {
    let kind = dialect.type_name(column.kind, column.is_key);
    format!("{} {kind}", quoted(&column.name))
}

/// Adds a field to the JSON object of the overflow column, which stays open until its `}`.
pub(crate) fn push_overflow(object: &mut Vec<u8>, field: &str, value: &[u8]) {
    object.push(if object.is_empty() { b'{' } else { b',' });
    object.extend_from_slice(serde_json::Value::from(field).to_string().as_bytes());
    object.push(b':');
    object.extend_from_slice(value);
}
