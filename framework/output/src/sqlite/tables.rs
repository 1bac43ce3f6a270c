//! Which table each stream has, and what is to be done to the file for it.
//!
//! Planning only looks. The plan is carried out in the transaction of the first rows, so that a run that is refused or
//! killed leaves no table behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use headwater_core::{Error, Kind, Result, StreamSpec};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::{
    file::has_table,
    problem::problem,
    row::{Layout, TableColumn},
};
use crate::{
    Mode, TableOptions,
    columns::{ColumnKind, OVERFLOW, RECORD, columns},
};

/// SQLite's limit for the columns of a table.
const MOST_COLUMNS: usize = 2000;

/// The table of a stream.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    stream: &'static str,
    mode: Mode,
    pub layout: Layout,
    /// The names of the key's fields and the columns, as our own table remembers them.
    key_json: String,
    columns_json: String,
    /// Columns at the end of the layout that the file does not have yet; none where it has no such table at all.
    added: Option<usize>,
    /// Adds a row, where its key is new.
    pub insert: String,
    /// Replaces the row with the same key. The parameters are those of `insert`.
    pub update: String,
}

/// What our own table remembers of a table.
struct Known {
    connection: String,
    stream: String,
    mode: String,
    key: Vec<String>,
    columns: Vec<TableColumn>,
}

/// The tables of a run, by stream.
pub(super) fn plan(
    connection: &Connection,
    path: &Path,
    connection_name: &str,
    options: &TableOptions,
    streams: &[StreamSpec],
) -> Result<BTreeMap<String, Table>> {
    let remembers = has_table(connection, "_headwater_tables");
    let planner = Planner {
        connection,
        path,
        connection_name,
        options,
        remembers: remembers.map_err(|error| problem(path, error))?,
    };
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for stream in streams {
        let table = planner.table(stream)?;
        let other = tables
            .values()
            .find(|other| other.name.eq_ignore_ascii_case(&table.name));
        if let Some(other) = other {
            return Err(invalid(format!(
                "the streams {} and {} would share the table {}; write them to different files",
                other.stream, stream.name, other.name
            )));
        }
        tables.insert(stream.name.to_owned(), table);
    }
    Ok(tables)
}

struct Planner<'run> {
    connection: &'run Connection,
    path: &'run Path,
    connection_name: &'run str,
    options: &'run TableOptions,
    /// Whether the file has the table in which we remember our tables.
    remembers: bool,
}

impl Planner<'_> {
    fn table(&self, stream: &StreamSpec) -> Result<Table> {
        let name = self.table_name(stream.name)?;
        let is_there = self.is_there(&name)?;
        let known = self.known(&name)?;
        let path = self.path.display();
        let known = match known {
            None if is_there => {
                return Err(invalid(format!(
                    "{path} has a table or view {name} of its own; name another file, or give the tables a prefix \
                     with ?prefix="
                )));
            }
            Some(known)
                if known.connection != self.connection_name || known.stream != stream.name =>
            {
                return Err(invalid(format!(
                    "the table {name} in {path} belongs to the stream {} of the connection {}; name another file, or \
                     give the tables a prefix with ?prefix=",
                    known.stream, known.connection
                )));
            }
            // Somebody took the table away: it begins anew.
            known => known.filter(|_| is_there),
        };
        self.refuse_elsewhere(stream, &name)?;
        let mode = self.mode(stream, &name, known.as_ref())?;
        let actual = if known.is_some() {
            self.column_names(&name)?
        } else {
            BTreeSet::new()
        };
        let (columns, added) = self.columns(stream, &name, known, actual)?;
        let key_fields = match mode {
            Mode::Upsert => stream.key,
            Mode::Append => &[],
        };
        let place = |field: &&str| columns.iter().position(|column| column.field == *field);
        let key: Vec<usize> = key_fields.iter().filter_map(place).collect();
        Ok(Table {
            insert: insert_statement(&name, &columns, &key),
            update: update_statement(&name, &columns, &key),
            name,
            stream: stream.name,
            mode,
            key_json: json(&key_fields)?,
            columns_json: json(&columns)?,
            layout: Layout::new(columns, key),
            added,
        })
    }

    fn table_name(&self, stream: &str) -> Result<String> {
        let name = identifier(&format!("{}{stream}", self.options.prefix));
        let folded = name.to_ascii_lowercase();
        let reserved = ["sqlite_", "_headwater"];
        let Some(reserved) = reserved.iter().find(|start| folded.starts_with(**start)) else {
            return Ok(name);
        };
        Err(invalid(format!(
            "the stream {stream} cannot have the table {name}, since names with {reserved} are reserved; give the \
             tables a prefix with ?prefix="
        )))
    }

    /// Whether the file has a table, a view or an index of this name.
    fn is_there(&self, name: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT * FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE)";
        let found = self.connection.query_row(sql, [name], |row| row.get(0));
        found.map_err(|error| problem(self.path, error))
    }

    fn known(&self, name: &str) -> Result<Option<Known>> {
        if !self.remembers {
            return Ok(None);
        }
        let sql = "SELECT connection, stream, mode, key, columns FROM _headwater_tables WHERE table_name = ?1";
        let found = self
            .connection
            .query_row(sql, [name], |row| {
                let texts: [String; 5] = [
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ];
                Ok(texts)
            })
            .optional()
            .map_err(|error| problem(self.path, error))?;
        let Some([connection, stream, mode, key, columns]) = found else {
            return Ok(None);
        };
        let (Ok(key), Ok(columns)) = (serde_json::from_str(&key), serde_json::from_str(&columns))
        else {
            return Err(invalid(format!(
                "{} says about its table {name} what cannot be read; name another file",
                self.path.display()
            )));
        };
        Ok(Some(Known {
            connection,
            stream,
            mode,
            key,
            columns,
        }))
    }

    /// The position speaks of the records in the table that the stream had so far: another one would lack them.
    fn refuse_elsewhere(&self, stream: &StreamSpec, name: &str) -> Result<()> {
        if !self.remembers {
            return Ok(());
        }
        let sql = "SELECT table_name FROM _headwater_tables WHERE connection = ?1 AND stream = ?2 AND table_name <> ?3";
        let other: Option<String> = self
            .connection
            .query_row(sql, [self.connection_name, stream.name, name], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|error| problem(self.path, error))?;
        other.map_or(Ok(()), |other| {
            Err(invalid(format!(
                "the stream {} of the connection {} is in the table {other} in {} already; keep the prefix that it \
                 was given, or name another file",
                stream.name,
                self.connection_name,
                self.path.display()
            )))
        })
    }

    /// The columns that the file's table has, folded.
    fn column_names(&self, name: &str) -> Result<BTreeSet<String>> {
        let names = || {
            let mut statement = self
                .connection
                .prepare("SELECT lower(name) FROM pragma_table_info(?1)")?;
            let names = statement.query_map([name], |row| row.get(0))?;
            names.collect::<rusqlite::Result<_>>()
        };
        names().map_err(|error| problem(self.path, error))
    }

    fn mode(&self, stream: &StreamSpec, table: &str, known: Option<&Known>) -> Result<Mode> {
        let asked = self.options.mode;
        if asked == Some(Mode::Upsert) && stream.key.is_empty() {
            return Err(invalid(format!(
                "the stream {} has no key, so that mode=upsert cannot be had; leave the mode out",
                stream.name
            )));
        }
        let usual = if stream.key.is_empty() {
            Mode::Append
        } else {
            Mode::Upsert
        };
        let Some(known) = known else {
            return Ok(asked.unwrap_or(usual));
        };
        let made = if known.mode == Mode::Upsert.name() {
            Mode::Upsert
        } else {
            Mode::Append
        };
        let path = self.path.display();
        if asked.is_some_and(|asked| asked != made) {
            return Err(invalid(format!(
                "the table {table} in {path} was made with mode={}; keep that mode, or name another file",
                known.mode
            )));
        }
        if made == Mode::Upsert && known.key != stream.key {
            return Err(invalid(format!(
                "the key of the stream {} is another one than when the table {table} in {path} was made; name \
                 another file",
                stream.name
            )));
        }
        Ok(made)
    }

    /// The columns of a stream's table, and how many of them an existing table lacks. What a table has stays as it is:
    /// where the kind of a field changed, values that do not fit the old one go to the overflow column.
    fn columns(
        &self,
        stream: &StreamSpec,
        table: &str,
        known: Option<Known>,
        actual: BTreeSet<String>,
    ) -> Result<(Vec<TableColumn>, Option<usize>)> {
        let path = self.path.display();
        let is_new = known.is_none();
        let mut all = known.map_or_else(Vec::new, |known| known.columns);
        let ours = all.iter().map(|column| column.column.as_str());
        let lacking = ours
            .chain([RECORD, OVERFLOW])
            .find(|name| !is_new && !actual.contains(&name.to_ascii_lowercase()));
        if let Some(lacking) = lacking {
            return Err(invalid(format!(
                "the table {table} in {path} lost its column {lacking}; put it back, or name another file"
            )));
        }
        let mut taken = actual;
        taken.extend([RECORD, OVERFLOW].map(str::to_owned));
        let had = all.len();
        for column in columns(stream) {
            if all.iter().any(|known| known.field == column.name) {
                continue;
            }
            all.push(TableColumn {
                column: free_name(&column.name, &mut taken),
                field: column.name,
                kind: column.kind,
            });
        }
        let count = all.len() + 2;
        if count > MOST_COLUMNS {
            return Err(invalid(format!(
                "the table {table} of the stream {} would have {count} columns; SQLite's limit is {MOST_COLUMNS}",
                stream.name
            )));
        }
        let added = all.len() - had;
        Ok((all, (!is_new).then_some(added)))
    }
}

impl Table {
    /// Makes the file's table what was planned, inside of a transaction.
    pub fn make(&self, connection: &Connection, connection_name: &str) -> rusqlite::Result<()> {
        let columns = &self.layout.columns;
        let name = quoted(&self.name);
        match self.added {
            Some(0) => return Ok(()),
            Some(added) => {
                for column in &columns[columns.len() - added..] {
                    let column = declaration(column);
                    connection.execute_batch(&format!("ALTER TABLE {name} ADD COLUMN {column}"))?;
                }
            }
            None => {
                let mut parts: Vec<String> = columns.iter().map(declaration).collect();
                parts.push(format!("{RECORD} TEXT NOT NULL"));
                parts.push(format!("{OVERFLOW} TEXT"));
                // Not a primary key, since a record without its key is kept, too.
                if !self.layout.key.is_empty() {
                    parts.push(format!("UNIQUE ({})", key_names(columns, &self.layout.key)));
                }
                connection.execute_batch(&format!("CREATE TABLE {name} ({})", parts.join(", ")))?;
            }
        }
        connection.execute(
            "INSERT OR REPLACE INTO _headwater_tables (table_name, connection, stream, mode, key, columns) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                self.name,
                connection_name,
                self.stream,
                self.mode.name(),
                self.key_json,
                self.columns_json
            ],
        )?;
        Ok(())
    }
}

fn insert_statement(table: &str, columns: &[TableColumn], key: &[usize]) -> String {
    let names: Vec<String> = columns
        .iter()
        .map(|column| quoted(&column.column))
        .collect();
    let parameters: Vec<String> = (1..=columns.len() + 2)
        .map(|number| format!("?{number}"))
        .collect();
    let mut sql = format!(
        "INSERT INTO {} ({}) VALUES ({})",
        quoted(table),
        [names, vec![RECORD.to_owned(), OVERFLOW.to_owned()]]
            .concat()
            .join(", "),
        parameters.join(", ")
    );
    if !key.is_empty() {
        sql.push_str(&format!(
            " ON CONFLICT ({}) DO NOTHING",
            key_names(columns, key)
        ));
    }
    sql
}

fn update_statement(table: &str, columns: &[TableColumn], key: &[usize]) -> String {
    let equal = |place: usize| format!("{} = ?{}", quoted(&columns[place].column), place + 1);
    let others = (0..columns.len()).filter(|place| !key.contains(place));
    let mut values: Vec<String> = others.map(equal).collect();
    values.push(format!("{RECORD} = ?{}", columns.len() + 1));
    values.push(format!("{OVERFLOW} = ?{}", columns.len() + 2));
    let condition: Vec<String> = key.iter().map(|place| equal(*place)).collect();
    format!(
        "UPDATE {} SET {} WHERE {}",
        quoted(table),
        values.join(", "),
        condition.join(" AND ")
    )
}

fn key_names(columns: &[TableColumn], key: &[usize]) -> String {
    let names: Vec<String> = key
        .iter()
        .map(|place| quoted(&columns[*place].column))
        .collect();
    names.join(", ")
}

/// A column as it is declared. The type decides what SQLite makes of a value: a number in a text column keeps its digits.
fn declaration(column: &TableColumn) -> String {
    let kind = match column.kind {
        ColumnKind::Text | ColumnKind::Number | ColumnKind::Time | ColumnKind::Json => "TEXT",
        ColumnKind::Integer => "INTEGER",
        ColumnKind::Boolean => "BOOLEAN",
    };
    format!("{} {kind}", quoted(&column.column))
}

/// A field's name, or with a number where the table has that name already. SQLite takes `Id` and `id` for one.
fn free_name(field: &str, taken: &mut BTreeSet<String>) -> String {
    let name = identifier(field);
    let mut free = name.clone();
    let mut number = 2;
    while !taken.insert(free.to_ascii_lowercase()) {
        free = format!("{name}_{number}");
        number += 1;
    }
    free
}

/// A text as a name: SQLite takes everything but a NUL, and a line break would be no use.
fn identifier(text: &str) -> String {
    let clean = text.replace(char::is_control, "_");
    if clean.is_empty() {
        "_".to_owned()
    } else {
        clean
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(Kind::Unexpected, "the columns of a table do not serialise").caused_by(error)
    })
}

fn invalid(text: String) -> Error {
    Error::new(Kind::ConfigInvalid, text)
}
