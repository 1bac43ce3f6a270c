//! How a database remembers the tables that headwater made, in its table `_headwater_tables`.
//!
//! SQLite has the columns as a list with their names, since a name there may have a number. PostgreSQL has them as a map
//! from fields to kinds, since the name follows from the field. Both formats are on disks, so that each has its reader.

#[cfg(feature = "sqlite")]
use std::borrow::Cow;
#[cfg(feature = "postgres")]
use std::collections::{BTreeMap, BTreeSet};

use headwater_core::{Error, Kind, Result};
use serde::Serialize;

use super::{Dialect, TableColumn};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::columns::ColumnKind;

/// A row of `_headwater_tables`.
#[derive(Debug)]
pub(crate) struct LedgerRow {
    pub connection: String,
    pub stream: String,
    /// The fields of the key, as JSON.
    pub key: String,
    /// The columns, as the JSON of their dialect.
    pub columns: String,
}

/// A table as the database remembers it.
#[derive(Debug)]
pub(crate) struct StoredTable {
    pub connection: String,
    pub stream: String,
    /// The fields of the key; none where rows are appended.
    pub key: Vec<String>,
    pub columns: Vec<TableColumn>,
}

impl LedgerRow {
    /// Reads the row; none where another version wrote it in another format.
    pub fn read(self, dialect: &dyn Dialect) -> Option<StoredTable> {
        let key: Vec<String> = serde_json::from_str(&self.key).ok()?;
        Some(StoredTable {
            columns: dialect.read_columns(&self.columns, &key)?,
            connection: self.connection,
            stream: self.stream,
            key,
        })
    }
}

impl StoredTable {
    /// Whether rows have a key.
    pub fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }
}

#[cfg(feature = "sqlite")]
#[derive(Serialize, serde::Deserialize)]
struct ListedColumn<'a> {
    column: Cow<'a, str>,
    field: Cow<'a, str>,
    kind: ColumnKind,
}

/// Reads columns that are a list; none where they are something else.
#[cfg(feature = "sqlite")]
pub(crate) fn columns_from_list(json: &str, key: &[String]) -> Option<Vec<TableColumn>> {
    let listed: Vec<ListedColumn<'_>> = serde_json::from_str(json).ok()?;
    let columns = listed.into_iter().map(|listed| TableColumn {
        is_key: key.iter().any(|field| *field == listed.field),
        name: listed.column.into_owned(),
        field: listed.field.into_owned(),
        kind: listed.kind,
    });
    Some(columns.collect())
}

/// Columns as a list.
#[cfg(feature = "sqlite")]
pub(crate) fn columns_as_list(columns: &[TableColumn]) -> Result<String> {
    let listed = columns.iter().map(|column| ListedColumn {
        column: column.name.as_str().into(),
        field: column.field.as_str().into(),
        kind: column.kind,
    });
    json(&listed.collect::<Vec<_>>())
}

/// Reads columns that are a map; none where they are something else.
#[cfg(feature = "postgres")]
pub(crate) fn columns_from_map(
    json: &str,
    key: &[String],
    dialect: &dyn Dialect,
) -> Option<Vec<TableColumn>> {
    let kinds: BTreeMap<String, ColumnKind> = serde_json::from_str(json).ok()?;
    let columns = kinds.into_iter().map(|(field, kind)| TableColumn {
        name: dialect.column_name(&field, &BTreeSet::new()),
        is_key: key.contains(&field),
        field,
        kind,
    });
    Some(columns.collect())
}

/// Columns as a map.
#[cfg(feature = "postgres")]
pub(crate) fn columns_as_map(columns: &[TableColumn]) -> Result<String> {
    let kinds = columns.iter();
    let kinds: BTreeMap<&str, ColumnKind> = kinds
        .map(|column| (column.field.as_str(), column.kind))
        .collect();
    json(&kinds)
}

/// The JSON text of a key or of columns.
pub(crate) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(Kind::Unexpected, "the columns of a table do not serialise").caused_by(error)
    })
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    fn column(field: &str, name: &str, kind: ColumnKind, is_key: bool) -> TableColumn {
        TableColumn {
            field: field.to_owned(),
            name: name.to_owned(),
            kind,
            is_key,
        }
    }

    #[test]
    fn a_list_of_an_earlier_version_is_read_and_written_again() {
        let text = r#"[{"column":"id","field":"id","kind":"text"},{"column":"Id_2","field":"Id","kind":"integer"}]"#;
        let columns = columns_from_list(text, &["id".to_owned()]).unwrap();
        assert_eq!(
            columns,
            [
                column("id", "id", ColumnKind::Text, true),
                column("Id", "Id_2", ColumnKind::Integer, false),
            ]
        );
        assert_eq!(columns_as_list(&columns).unwrap(), text);
        assert_eq!(columns_from_list("{}", &[]), None);
        let unknown = text.replace("integer", "interval");
        assert_eq!(columns_from_list(&unknown, &[]), None);
    }

    #[test]
    #[cfg(feature = "postgres")]
    fn a_map_of_an_earlier_version_is_read_and_written_again() {
        let text = r#"{"_record":"json","at":"time","id":"text"}"#;
        let dialect = &crate::postgres::Postgres;
        let columns = columns_from_map(text, &["id".to_owned()], dialect).unwrap();
        assert_eq!(
            columns[1..],
            [
                column("at", "at", ColumnKind::Time, false),
                column("id", "id", ColumnKind::Text, true),
            ]
        );
        assert!(columns[0].name.starts_with("_record_"), "{columns:?}");
        assert_eq!(columns_as_map(&columns).unwrap(), text);
        assert_eq!(columns_from_map("[]", &[], dialect), None);
    }
}
