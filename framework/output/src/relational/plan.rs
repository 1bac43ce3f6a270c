//! Decides which table a stream gets, whether it may be written to, and how it grows.
//!
//! Planning only looks. The first transaction of rows carries the plan out, so that a run that is refused or killed leaves
//! no table behind.

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::{
    Error, Kind, Result, StreamSpec,
    sink::{Deletes, SinkState, lost},
};

use super::{
    Change, DELETED_AT, DIGEST, Dialect, LEDGER, OURS, SEEN, TableColumn, TablePlan, quoted,
    stored::{LedgerRow, StoredTable},
    table::declaration,
};
use crate::{
    Mode, TableOptions,
    columns::{ColumnKind, OVERFLOW, RECORD, columns},
};

/// A database that answers about its tables, and changes nothing.
pub(crate) trait Catalog {
    /// Its dialect.
    fn dialect(&self) -> &'static dyn Dialect;

    /// Whether a name is taken, by a table or anything else.
    fn is_taken(&mut self, table: &str) -> Result<bool>;

    /// A table that headwater made, as the database remembers it.
    fn stored_table(&mut self, table: &str) -> Result<Option<LedgerRow>>;

    /// The other tables that a stream of a connection has, by their names.
    fn other_tables(&mut self, connection: &str, stream: &str, table: &str) -> Result<Vec<String>>;

    /// Whether a table has no rows.
    fn is_empty(&mut self, table: &str) -> Result<bool>;

    /// The columns of a table by their names, with their types where a row must fit these.
    fn columns(&mut self, table: &str) -> Result<BTreeMap<String, Option<String>>>;
}

/// The connection that writes, and its names for people.
#[derive(Debug)]
pub(crate) struct Owner<'run> {
    pub connection: &'run str,
    /// The subject of refusals: `calls.db`, `PostgreSQL at HOST/DATABASE`.
    pub subject: &'run str,
    /// The arguments of `headwater state` for this destination.
    pub place: &'run str,
    pub options: &'run TableOptions,
}

/// Plans the tables of a run, in the order of its streams.
pub(crate) fn plan(
    catalog: &mut dyn Catalog,
    owner: &Owner<'_>,
    streams: &[StreamSpec],
    state: &dyn SinkState,
) -> Result<Vec<TablePlan>> {
    let mut planner = Planner {
        dialect: catalog.dialect(),
        catalog,
        owner,
        state,
    };
    let mut tables: Vec<TablePlan> = Vec::new();
    for stream in streams {
        let table = planner.table(stream)?;
        let name = table.dialect.fold(&table.name);
        let other = tables
            .iter()
            .find(|other| other.dialect.fold(&other.name) == name);
        if let Some(other) = other {
            return Err(planner.refused(format!(
                "the streams {} and {} would share the table {:?}; write them to different destinations",
                other.stream, stream.name, other.name
            )));
        }
        tables.push(table);
    }
    Ok(tables)
}

struct Planner<'run> {
    catalog: &'run mut dyn Catalog,
    dialect: &'static dyn Dialect,
    owner: &'run Owner<'run>,
    state: &'run dyn SinkState,
}

impl Planner<'_> {
    fn table(&mut self, stream: &StreamSpec) -> Result<TablePlan> {
        let name = self.table_name(stream.name)?;
        let is_there = self.catalog.is_taken(&name)?;
        let row = self.catalog.stored_table(&name)?;
        let stored = row.map(|row| {
            row.read(self.dialect).ok_or_else(|| {
                self.refused(format!(
                    "{LEDGER}_tables describes the table {name:?} in a format that this version cannot read; use the \
                     version that made the table, or {}",
                    self.dialect.elsewhere()
                ))
            })
        });
        let stored = stored.transpose()?;
        self.refuse_foreign(stream, &name, stored.as_ref(), is_there)?;
        if !is_there {
            self.refuse_elsewhere(stream, &name)?;
        }
        let stored = stored.filter(|_| is_there);
        self.refuse_lost(stream, &name, stored.as_ref())?;
        let key = self.key(stream, &name, stored.as_ref())?;
        let actual = match &stored {
            Some(_) => self.actual_columns(&name)?,
            None => BTreeMap::new(),
        };
        let has = |column: &str| actual.contains_key(&self.dialect.fold(column));
        let columns = self.columns(stream, &name, key, stored.as_ref(), &actual)?;
        let place = |field: &&str| columns.iter().position(|column| column.field == **field);
        let positions: Vec<usize> = key.iter().filter_map(place).collect();
        let is_keyed = !positions.is_empty();
        let deletes = self.owner.options.deletes;
        let has_digests = is_keyed && stream.has_digest();
        let has_deleted_at = is_keyed && (deletes == Deletes::Mark || has(DELETED_AT));
        let change = stored.as_ref().map_or(Change::Create, |stored| {
            let new = columns[stored.columns.len()..].iter();
            let mut added: Vec<String> = new
                .map(|column| declaration(self.dialect, column))
                .collect();
            for (name, kind, is_wanted) in [
                (SEEN, ColumnKind::Integer, is_keyed),
                (DELETED_AT, ColumnKind::Time, has_deleted_at),
            ] {
                if is_wanted && !has(name) {
                    let kind = self.dialect.type_name(kind, false);
                    added.push(format!("{} {kind}", quoted(name)));
                }
            }
            let needs_digest = has_digests && !has(DIGEST);
            if added.is_empty() && !needs_digest {
                Change::None
            } else {
                Change::Grow {
                    added,
                    needs_digest,
                }
            }
        });
        let by_field = columns.iter().enumerate();
        let by_field = by_field.map(|(at, column)| (column.field.clone().into_bytes(), at));
        Ok(TablePlan {
            dialect: self.dialect,
            stream: stream.name,
            key: positions,
            cursor: stream.cursor,
            has_digests,
            has_digest: is_keyed && (has_digests || stored.is_none() || has(DIGEST)),
            has_deleted_at,
            deletes,
            change,
            by_field: by_field.collect(),
            name,
            columns,
        })
    }

    fn table_name(&self, stream: &str) -> Result<String> {
        let text = format!("{}{stream}", self.owner.options.prefix);
        let name = self.dialect.table_name(&text);
        let max = self.dialect.max_name();
        if name.len() > max {
            return Err(self.refused(format!(
                "the table {name:?} would have a name of more than {max} bytes; choose a shorter ?prefix="
            )));
        }
        let folded = self.dialect.fold(&name);
        let mut reserved = self.dialect.reserved().iter();
        match reserved.find(|start| folded.starts_with(**start)) {
            Some(start) => Err(self.refused(format!(
                "the stream {stream} cannot have the table {name:?}, since names with {start} are reserved; give the \
                 tables a prefix with ?prefix="
            ))),
            None => Ok(name),
        }
    }

    /// Refuses a table that another program, connection or stream has made.
    fn refuse_foreign(
        &self,
        stream: &StreamSpec,
        name: &str,
        stored: Option<&StoredTable>,
        is_there: bool,
    ) -> Result<()> {
        let elsewhere = self.dialect.elsewhere();
        match stored {
            None if is_there => Err(self.refused(format!(
                "there is a table or view {name:?} that headwater did not make; {elsewhere}"
            ))),
            Some(other)
                if other.connection != self.owner.connection || other.stream != stream.name =>
            {
                Err(self.refused(format!(
                    "the table {name:?} belongs to the stream {} of the connection {}; {elsewhere}",
                    other.stream, other.connection
                )))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a second table for a stream: the position speaks of the records in the first one, which the second one
    /// would lack.
    fn refuse_elsewhere(&mut self, stream: &StreamSpec, name: &str) -> Result<()> {
        let connection = self.owner.connection;
        for other in self.catalog.other_tables(connection, stream.name, name)? {
            if self.catalog.is_taken(&other)? {
                return Err(self.refused(format!(
                    "the stream {} of the connection {connection} has the table {other:?} already; keep its ?prefix=, or \
                     {}",
                    stream.name,
                    self.dialect.elsewhere()
                )));
            }
        }
        Ok(())
    }

    /// Refuses a table that has lost rows which the state vouches for. Tables of appended rows may be emptied.
    fn refuse_lost(
        &mut self,
        stream: &StreamSpec,
        name: &str,
        stored: Option<&StoredTable>,
    ) -> Result<()> {
        let what = match stored {
            None if self.state.vouches_for(stream.name) => "is not there or was removed",
            Some(stored)
                if stored.is_keyed()
                    && self.state.rows(stream.name) > 0
                    && self.catalog.is_empty(name)? =>
            {
                "is empty"
            }
            _ => return Ok(()),
        };
        let subject = self.owner.subject;
        let what = format!(
            "{subject}: the table {name:?} of the stream {} {what}",
            stream.name
        );
        Err(lost(&what, self.owner.place, stream.name))
    }

    /// The fields of the key; none where rows are appended. Without `?mode=`, a table keeps its mode.
    fn key(
        &self,
        stream: &StreamSpec,
        name: &str,
        stored: Option<&StoredTable>,
    ) -> Result<&'static [&'static str]> {
        let mode = self.owner.options.mode;
        if mode == Some(Mode::Upsert) && stream.key.is_empty() {
            return Err(self.refused(format!(
                "the stream {} has no key, so that its rows can only be appended; leave out ?mode=upsert",
                stream.name
            )));
        }
        let is_keyed = match (mode, stored) {
            (Some(mode), _) => mode == Mode::Upsert,
            (None, Some(stored)) => stored.is_keyed(),
            (None, None) => true,
        };
        let key: &[&str] = if is_keyed { stream.key } else { &[] };
        if let Some(stored) = stored
            && !key
                .iter()
                .copied()
                .eq(stored.key.iter().map(String::as_str))
        {
            return Err(self.refused(format!(
                "the table {name:?} was made {}, and now it would be made {}; {}",
                made(&stored.key),
                made(key),
                self.dialect.elsewhere()
            )));
        }
        if key.is_empty() && self.owner.options.deletes != Deletes::Keep {
            return Err(self.refused(format!(
                "the rows of the stream {} are appended, so that none is known to be deleted; leave out ?deletes=",
                stream.name
            )));
        }
        Ok(key)
    }

    fn actual_columns(&mut self, name: &str) -> Result<BTreeMap<String, Option<String>>> {
        let columns = self.catalog.columns(name)?.into_iter();
        Ok(columns
            .map(|(column, kind)| (self.dialect.fold(&column), kind))
            .collect())
    }

    /// The columns of a table: those that it was made with, then those of new fields. A column keeps its kind; values of
    /// a field whose kind changed go to the overflow column.
    fn columns(
        &self,
        stream: &StreamSpec,
        name: &str,
        key: &[&str],
        stored: Option<&StoredTable>,
        actual: &BTreeMap<String, Option<String>>,
    ) -> Result<Vec<TableColumn>> {
        let mut all = stored.map_or_else(Vec::new, |stored| stored.columns.clone());
        if stored.is_some() {
            self.check_columns(name, &all, actual)?;
        }
        let mut taken: BTreeSet<String> = actual.keys().cloned().collect();
        taken.extend(OURS.map(str::to_owned));
        for column in columns(stream) {
            if all.iter().any(|known| known.field == column.name) {
                continue;
            }
            let new = self.dialect.column_name(&column.name, &taken);
            if !taken.insert(self.dialect.fold(&new)) {
                return Err(self.refused(format!(
                    "the table {name:?} has a column {new:?} that headwater did not make, and the stream now has a field \
                     of that name; rename the column"
                )));
            }
            all.push(TableColumn {
                is_key: key.contains(&column.name.as_str()),
                name: new,
                field: column.name,
                kind: column.kind,
            });
        }
        let ours = if key.is_empty() { 2 } else { OURS.len() };
        let (count, max) = (all.len() + ours, self.dialect.max_columns());
        if count > max {
            return Err(self.refused(format!(
                "the table {name:?} of the stream {} would have {count} columns; the limit of {} is {max}",
                stream.name,
                self.dialect.name()
            )));
        }
        Ok(all)
    }

    /// Refuses a table whose columns are not those that it was made with.
    fn check_columns(
        &self,
        name: &str,
        stored: &[TableColumn],
        actual: &BTreeMap<String, Option<String>>,
    ) -> Result<()> {
        let elsewhere = self.dialect.elsewhere();
        let fields = stored.iter().map(|column| {
            let kind = self.dialect.type_name(column.kind, column.is_key);
            (column.name.as_str(), Some(kind))
        });
        for (column, kind) in fields.chain([(RECORD, None), (OVERFLOW, None)]) {
            let Some(found) = actual.get(&self.dialect.fold(column)) else {
                return Err(self.refused(format!(
                    "the table {name:?} lost its column {column:?}; put it back, or {elsewhere}"
                )));
            };
            if let (Some(found), Some(kind)) = (found, kind)
                && found != kind
            {
                return Err(self.refused(format!(
                    "the column {column:?} of the table {name:?} is not of type {kind} any more; change it back, or \
                     {elsewhere}"
                )));
            }
        }
        let mut names = stored.iter().map(|column| column.name.as_str());
        match names.find(|column| OURS.contains(column)) {
            Some(column) => Err(self.refused(format!(
                "the table {name:?} has a field's column {column:?}, a name that headwater needs now; {elsewhere}"
            ))),
            None => Ok(()),
        }
    }

    /// An error about this database.
    fn refused(&self, text: String) -> Error {
        Error::new(
            Kind::ConfigInvalid,
            format!("{}: {text}", self.owner.subject),
        )
    }
}

/// How a table was made, as an adverbial.
fn made(key: &[impl AsRef<str>]) -> String {
    if key.is_empty() {
        return "to append rows".to_owned();
    }
    let fields: Vec<&str> = key.iter().map(AsRef::as_ref).collect();
    format!("with the key {}", fields.join(", "))
}

#[cfg(test)]
mod tests;
