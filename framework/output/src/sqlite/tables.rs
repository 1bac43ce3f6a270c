//! Which table each stream has, and what is to be done to the file for it.
//!
//! Planning only looks. The plan is carried out in the transaction of the first rows, so that a run that is refused or
//! killed leaves no table behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use headwater_core::{
    Error, Kind, Result, StreamSpec,
    sink::{Deletes, SinkState, lost},
};
use headwater_host::canonical::digest;
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
    relational::{DELETED_AT, DIGEST, OURS, SEEN},
};

/// SQLite's limit for the columns of a table.
const MAX_COLUMNS: usize = 2000;

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
    /// What the columns of the file's table are called, folded, before anything is done to it.
    actual: BTreeSet<String>,
    /// The field that tells when a record changed.
    pub cursor: Option<&'static str>,
    /// Whether each row has the digest of its record in its key.
    pub has_digests: bool,
    /// Whether rows of one key can be told apart by a digest.
    pub has_digest: bool,
    /// Whether rows can be marked as deleted.
    has_deleted_at: bool,
    deletes: Deletes,
    pub statements: Statements,
}

/// The statements of a table. Those of rows have as parameters the columns, the record and the overflow; then, where
/// rows have a key, the mark of the pass and, where there is one, the digest.
#[derive(Debug)]
pub(super) struct Statements {
    /// Adds a row, where its key is new.
    pub insert: String,
    /// Makes a row the record; its number is the last parameter.
    pub update: String,
    /// The rows with a key: number, mark, whether deleted, digest and record.
    pub find: String,
    /// Says that the pass has seen a row, by the mark and the row's number.
    pub touch: String,
}

/// What our own table remembers of a table.
struct StoredTable {
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
    state: &dyn SinkState,
) -> Result<BTreeMap<String, Table>> {
    let remembers = has_table(connection, "_headwater_tables");
    let planner = Planner {
        connection,
        path,
        connection_name,
        options,
        state,
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
    state: &'run dyn SinkState,
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
            known => known.filter(|_| is_there),
        };
        self.refuse_elsewhere(stream, &name)?;
        self.refuse_lost(stream, &name, is_there)?;
        let mode = self.mode(stream, &name, known.as_ref())?;
        if mode == Mode::Append && self.options.deletes != Deletes::Keep {
            return Err(invalid(format!(
                "the stream {} is appended, so that no row of it can be told to be deleted; leave out ?deletes=",
                stream.name
            )));
        }
        let actual = if known.is_some() {
            self.column_names(&name)?
        } else {
            BTreeSet::new()
        };
        let (columns, added) = self.columns(stream, &name, known, actual.clone())?;
        let key_fields: Vec<&str> = match mode {
            Mode::Upsert => stream.key.to_vec(),
            Mode::Append => Vec::new(),
        };
        let place = |field: &&str| columns.iter().position(|column| column.field == *field);
        let key: Vec<usize> = key_fields.iter().filter_map(place).collect();
        let is_keyed = !key.is_empty();
        let has_digests = is_keyed && stream.has_digest();
        let has_digest = is_keyed && (has_digests || added.is_none() || actual.contains(DIGEST));
        let deletes = self.options.deletes;
        let has_deleted_at = is_keyed && (deletes == Deletes::Mark || actual.contains(DELETED_AT));
        let layout = Layout::new(columns, key);
        Ok(Table {
            statements: Statements::new(&name, &layout, has_digest, has_deleted_at, has_digests),
            name,
            stream: stream.name,
            mode,
            key_json: json(&key_fields)?,
            columns_json: json(&layout.columns)?,
            layout,
            added,
            actual,
            cursor: stream.cursor,
            has_digests,
            has_digest,
            has_deleted_at,
            deletes,
        })
    }

    /// Refuses to go on where a table has lost what the state says that it has.
    fn refuse_lost(&self, stream: &StreamSpec, table: &str, is_there: bool) -> Result<()> {
        let path = self.path.display();
        let what = if !is_there && self.state.vouches_for(stream.name) {
            format!(
                "the table {table} of the stream {} is not in {path}",
                stream.name
            )
        } else if is_there
            && self.options.mode != Some(Mode::Append)
            && self.state.rows(stream.name) > 0
            && self.is_empty(table)?
        {
            format!(
                "the table {table} of the stream {} in {path} is empty",
                stream.name
            )
        } else {
            return Ok(());
        };
        let place = format!("sqlite:{path} --connection {}", self.connection_name);
        Err(lost(&what, &place, stream.name))
    }

    fn is_empty(&self, table: &str) -> Result<bool> {
        let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", quoted(table));
        let found = self.connection.query_row(&sql, [], |row| row.get(0));
        found.map_err(|error| problem(self.path, error))
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

    fn known(&self, name: &str) -> Result<Option<StoredTable>> {
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
        Ok(Some(StoredTable {
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

    fn mode(&self, stream: &StreamSpec, table: &str, known: Option<&StoredTable>) -> Result<Mode> {
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
        if made == Mode::Upsert
            && !stream
                .key
                .iter()
                .copied()
                .eq(known.key.iter().map(String::as_str))
        {
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
        known: Option<StoredTable>,
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
        let clash = all
            .iter()
            .find(|column| OURS.contains(&column.column.as_str()));
        if let Some(clash) = clash {
            return Err(invalid(format!(
                "the table {table} in {path} has a field's column {}, a name that is needed now; name another file",
                clash.column
            )));
        }
        let mut taken = actual;
        taken.extend(OURS.map(str::to_owned));
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
        let ours = if stream.key.is_empty() { 2 } else { OURS.len() };
        let count = all.len() + ours;
        if count > MAX_COLUMNS {
            return Err(invalid(format!(
                "the table {table} of the stream {} would have {count} columns; SQLite's limit is {MAX_COLUMNS}",
                stream.name
            )));
        }
        let added = all.len() - had;
        Ok((all, (!is_new).then_some(added)))
    }
}

impl Table {
    /// Whether the file's table has to be made anew, for a key of more columns.
    pub fn is_rebuilt(&self) -> bool {
        self.added.is_some() && self.has_digest && !self.actual.contains(DIGEST)
    }

    /// Makes the file's table what was planned, inside of a transaction.
    pub fn make(&self, connection: &Connection, connection_name: &str) -> rusqlite::Result<()> {
        let columns = &self.layout.columns;
        let name = quoted(&self.name);
        match self.added {
            Some(added) => {
                let mut declared: Vec<String> = columns[columns.len() - added..]
                    .iter()
                    .map(declaration)
                    .collect();
                declared.extend(self.lacking().map(str::to_owned));
                for column in &declared {
                    connection.execute_batch(&format!("ALTER TABLE {name} ADD COLUMN {column}"))?;
                }
                if self.is_rebuilt() {
                    self.rebuild(connection)?;
                } else if declared.is_empty() {
                    return Ok(());
                }
            }
            None => {
                connection.execute_batch(&self.create(&self.name))?;
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

    /// Our own columns that an existing table lacks and can be given.
    fn lacking(&self) -> impl Iterator<Item = &'static str> {
        let is_keyed = !self.layout.key.is_empty();
        let wanted = [
            (SEEN, "_seen INTEGER", is_keyed),
            (DELETED_AT, "_deleted_at TEXT", self.has_deleted_at),
        ];
        wanted
            .into_iter()
            .filter(|(name, _, is_wanted)| *is_wanted && !self.actual.contains(*name))
            .map(|(_, declared, _)| declared)
    }

    /// The statement that makes the table under a name.
    fn create(&self, name: &str) -> String {
        let columns = &self.layout.columns;
        let mut parts: Vec<String> = columns.iter().map(declaration).collect();
        if !self.layout.key.is_empty() {
            // Before the record, so that a pass that looks for them need not step over it.
            parts.push(format!("{SEEN} INTEGER"));
            parts.push(format!("{DIGEST} TEXT NOT NULL DEFAULT ''"));
        }
        if self.has_deleted_at {
            parts.push(format!("{DELETED_AT} TEXT"));
        }
        parts.push(format!("{RECORD} TEXT NOT NULL"));
        parts.push(format!("{OVERFLOW} TEXT"));
        // Not a primary key, since a record without its key is kept, too.
        if !self.layout.key.is_empty() {
            let key = key_names(columns, &self.layout.key);
            parts.push(format!("UNIQUE ({key}, {DIGEST})"));
        }
        format!("CREATE TABLE {} ({})", quoted(name), parts.join(", "))
    }

    /// Moves the rows of a table whose key had no digest to one whose key has. Its indexes and triggers come along.
    fn rebuild(&self, connection: &Connection) -> rusqlite::Result<()> {
        let name = quoted(&self.name);
        let number = row_number(&self.layout.columns);
        let moved = format!("_headwater_new_{}", self.name);
        let others = "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE AND sql IS NOT NULL \
                      AND type IN ('index', 'trigger')";
        let others: Vec<String> = connection
            .prepare(others)?
            .query_map([&self.name], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut all: Vec<String> = self
            .layout
            .columns
            .iter()
            .map(|column| quoted(&column.column))
            .collect();
        all.extend([SEEN, RECORD, OVERFLOW].map(str::to_owned));
        if self.has_deleted_at {
            all.push(DELETED_AT.to_owned());
        }
        let all = all.join(", ");
        connection.execute_batch(&self.create(&moved))?;
        connection.execute_batch(&format!(
            "INSERT INTO {} ({number}, {all}, {DIGEST}) SELECT {number}, {all}, CAST({number} AS TEXT) FROM {name}",
            quoted(&moved)
        ))?;
        // Views that name the table stay as they are while it is away.
        connection.execute_batch(&format!(
            "PRAGMA legacy_alter_table = ON; DROP TABLE {name}; ALTER TABLE {} RENAME TO {name}; \
             PRAGMA legacy_alter_table = OFF;",
            quoted(&moved)
        ))?;
        let mut rows = connection.prepare(&format!(
            "SELECT {number}, {RECORD} FROM {name} WHERE {number} > ?1 ORDER BY {number} LIMIT 1000"
        ))?;
        let mut update = connection.prepare(&format!(
            "UPDATE {name} SET {DIGEST} = ?1 WHERE {number} = ?2"
        ))?;
        let mut last = i64::MIN;
        loop {
            let batch: Vec<(i64, String)> = rows
                .query_map([last], |row| {
                    let record = row.get_ref(1)?.as_bytes().map_err(rusqlite::Error::from)?;
                    Ok((row.get(0)?, digest(record)))
                })?
                .collect::<rusqlite::Result<_>>()?;
            let Some((number, _)) = batch.last() else {
                break;
            };
            last = *number;
            for (number, digest) in &batch {
                update.execute(params![digest, number])?;
            }
        }
        others
            .iter()
            .try_for_each(|sql| connection.execute_batch(sql))
    }

    /// Deals with the rows that the pass with this mark did not see, and counts them.
    pub fn sweep(&self, connection: &Connection, mark: i64) -> rusqlite::Result<usize> {
        let name = quoted(&self.name);
        let unseen = format!("{SEEN} IS NOT ?1");
        if self.has_digest && !self.has_digests {
            // What a record was while an earlier pass met it twice: no record that is gone.
            let names = self.layout.key.iter();
            let names = names.map(|place| quoted(&self.layout.columns[*place].column));
            let beside: Vec<String> = names.map(|key| format!("o.{key} = {name}.{key}")).collect();
            let beside = format!("SELECT 1 FROM {name} AS o WHERE {}", beside.join(" AND "));
            connection.execute(
                &format!(
                    "DELETE FROM {name} WHERE {unseen} AND EXISTS ({beside} AND o.{SEEN} = ?1)"
                ),
                [mark],
            )?;
            // Rows of a key are found by the one without a digest.
            connection.execute_batch(&format!(
                "UPDATE {name} SET {DIGEST} = '' WHERE {DIGEST} <> '' AND NOT EXISTS ({beside} AND o.{DIGEST} < \
                 {name}.{DIGEST})"
            ))?;
        }
        match self.deletes {
            Deletes::Keep => {
                let sql = format!("SELECT count(*) FROM {name} WHERE {unseen}");
                let count: i64 = connection.query_row(&sql, [mark], |row| row.get(0))?;
                Ok(usize::try_from(count).unwrap_or(0))
            }
            Deletes::Mark => connection.execute(
                &format!(
                    "UPDATE {name} SET {DELETED_AT} = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') \
                     WHERE {unseen} AND {DELETED_AT} IS NULL"
                ),
                [mark],
            ),
            Deletes::Remove => {
                connection.execute(&format!("DELETE FROM {name} WHERE {unseen}"), [mark])
            }
        }
    }

    /// Whether rows have a key, and so a mark.
    pub fn is_keyed(&self) -> bool {
        !self.layout.key.is_empty()
    }

    pub const fn deletes(&self) -> Deletes {
        self.deletes
    }
}

impl Statements {
    fn new(
        table: &str,
        layout: &Layout,
        has_digest: bool,
        has_deleted_at: bool,
        has_digests: bool,
    ) -> Self {
        let Layout { columns, key, .. } = layout;
        let mut names: Vec<String> = columns
            .iter()
            .map(|column| quoted(&column.column))
            .collect();
        names.extend([RECORD, OVERFLOW].map(str::to_owned));
        if !key.is_empty() {
            names.push(SEEN.to_owned());
        }
        if has_digest {
            names.push(DIGEST.to_owned());
        }
        let table = quoted(table);
        let parameters: Vec<String> = (1..=names.len())
            .map(|number| format!("?{number}"))
            .collect();
        let digest = if has_digest {
            format!(", {DIGEST}")
        } else {
            String::new()
        };
        let mut insert = format!(
            "INSERT INTO {table} ({}) VALUES ({})",
            names.join(", "),
            parameters.join(", ")
        );
        if !key.is_empty() {
            let key = key_names(columns, key);
            insert.push_str(&format!(" ON CONFLICT ({key}{digest}) DO NOTHING"));
        }
        let mut values: Vec<String> = names
            .iter()
            .enumerate()
            .filter(|(place, _)| !key.contains(place))
            .map(|(place, name)| format!("{name} = ?{}", place + 1))
            .collect();
        let back = if has_deleted_at {
            format!(", {DELETED_AT} = NULL")
        } else {
            String::new()
        };
        let row = names.len() + 1;
        let number = row_number(columns);
        let update = format!(
            "UPDATE {table} SET {}{back} WHERE {number} = ?{row}",
            values.join(", ")
        );
        values.clear();
        let of_key = key.iter().enumerate();
        values.extend(
            of_key.map(|(at, place)| format!("{} = ?{}", quoted(&columns[*place].column), at + 1)),
        );
        if has_digests {
            values.push(format!("{DIGEST} = ?{}", key.len() + 1));
        }
        let deleted = if has_deleted_at {
            format!("{DELETED_AT} IS NOT NULL")
        } else {
            "0".to_owned()
        };
        let digest = if has_digest { DIGEST } else { "''" };
        let find = format!(
            "SELECT {number}, {SEEN}, {deleted}, {digest}, {RECORD} FROM {table} WHERE {}",
            values.join(" AND ")
        );
        let touch = format!("UPDATE {table} SET {SEEN} = ?1{back} WHERE {number} = ?2");
        Self {
            insert,
            update,
            find,
            touch,
        }
    }
}

/// What SQLite calls the number of a row where no column has that name.
fn row_number(columns: &[TableColumn]) -> &'static str {
    let is_free = |name: &&str| {
        columns
            .iter()
            .all(|column| !column.column.eq_ignore_ascii_case(name))
    };
    ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(is_free)
        .unwrap_or("rowid")
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
