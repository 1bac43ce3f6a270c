//! A table in a file: how a plan is carried out, and the statements for its rows.

use headwater_core::{Result, sink::Deletes};
use headwater_json::canonical::digest;
use rusqlite::{Connection, params};

use crate::{
    Mode,
    columns::{OVERFLOW, RECORD},
    relational::{Change, DELETED_AT, DIGEST, SEEN, TableColumn, TablePlan, quoted},
};

/// The table of a stream.
#[derive(Debug)]
pub(super) struct Table {
    pub plan: TablePlan,
    pub statements: Statements,
    /// The key's fields and the columns, as `_headwater_tables` remembers them.
    key_json: String,
    columns_json: String,
}

/// The statements for rows. Their parameters are those of [`TablePlan::row_names`].
#[derive(Debug)]
pub(super) struct Statements {
    /// Adds a row, where its key is new.
    pub insert: String,
    /// Replaces a row by the record; the row's number is the last parameter.
    pub update: String,
    /// The rows with a key: number, mark, whether deleted, digest and record.
    pub find: String,
    /// Records that the pass has seen a row, by the mark and the row's number.
    pub touch: String,
}

impl Table {
    pub fn new(plan: TablePlan) -> Result<Self> {
        Ok(Self {
            statements: Statements::new(&plan),
            key_json: plan.key_json()?,
            columns_json: plan.columns_json()?,
            plan,
        })
    }

    /// Whether the table has to be made anew, for a key of more columns.
    pub const fn is_rebuilt(&self) -> bool {
        matches!(
            self.plan.change,
            Change::Grow {
                needs_digest: true,
                ..
            }
        )
    }

    /// Carries out the plan, in the transaction under way.
    pub fn make(&self, connection: &Connection, connection_name: &str) -> rusqlite::Result<()> {
        let name = quoted(&self.plan.name);
        match self.plan.change {
            Change::None => return Ok(()),
            Change::Create => connection.execute_batch(&self.plan.create(&name))?,
            Change::Grow { needs_digest, .. } => {
                connection.execute_batch(&self.plan.grow(&name))?;
                if needs_digest {
                    self.rebuild(connection)?;
                }
            }
        }
        let mode = if self.plan.is_keyed() {
            Mode::Upsert
        } else {
            Mode::Append
        };
        connection.execute(
            "INSERT OR REPLACE INTO _headwater_tables (table_name, connection, stream, mode, key, columns) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                self.plan.name,
                connection_name,
                self.plan.stream,
                mode.name(),
                self.key_json,
                self.columns_json
            ],
        )?;
        Ok(())
    }

    /// Moves the rows of a table whose key had no digest to one whose key has. Its indexes and triggers move, too.
    fn rebuild(&self, connection: &Connection) -> rusqlite::Result<()> {
        let name = quoted(&self.plan.name);
        let number = row_number(&self.plan.columns);
        let moved = format!("_headwater_new_{}", self.plan.name);
        let others = "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE AND sql IS NOT NULL \
                      AND type IN ('index', 'trigger')";
        let others: Vec<String> = connection
            .prepare(others)?
            .query_map([&self.plan.name], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut all: Vec<String> = self
            .plan
            .columns
            .iter()
            .map(|column| quoted(&column.name))
            .collect();
        all.extend([SEEN, RECORD, OVERFLOW].map(str::to_owned));
        if self.plan.has_deleted_at {
            all.push(DELETED_AT.to_owned());
        }
        let all = all.join(", ");
        connection.execute_batch(&self.plan.create(&quoted(&moved)))?;
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

    /// Counts, marks or removes the rows that the pass with this mark did not see.
    pub fn sweep(&self, connection: &Connection, mark: i64) -> rusqlite::Result<u64> {
        let name = quoted(&self.plan.name);
        if let Some([drop, promote]) = self.plan.drop_outdated(&name) {
            connection.execute(&drop, [mark])?;
            connection.execute(&promote, [])?;
        }
        let sweep = self.plan.sweep(&name);
        if self.plan.deletes == Deletes::Keep {
            let count: i64 = connection.query_row(&sweep, [mark], |row| row.get(0))?;
            return Ok(u64::try_from(count).unwrap_or(0));
        }
        connection.execute(&sweep, [mark]).map(|rows| rows as u64)
    }
}

impl Statements {
    fn new(plan: &TablePlan) -> Self {
        let table = quoted(&plan.name);
        let names = plan.row_names();
        let key = plan.key_names();
        let number = row_number(&plan.columns);
        let parameters: Vec<String> = (1..=names.len()).map(|at| format!("?{at}")).collect();
        let mut insert = format!(
            "INSERT INTO {table} ({}) VALUES ({})",
            names.join(", "),
            parameters.join(", ")
        );
        if plan.is_keyed() {
            let mut unique = key.clone();
            unique.extend(plan.has_digest.then(|| DIGEST.to_owned()));
            insert.push_str(&format!(" ON CONFLICT ({}) DO NOTHING", unique.join(", ")));
        }
        let values = names.iter().zip(&parameters).enumerate();
        let values: Vec<String> = values
            .filter(|(at, _)| !plan.key.contains(at))
            .map(|(_, (name, parameter))| format!("{name} = {parameter}"))
            .collect();
        let (back, deleted) = if plan.has_deleted_at {
            (
                format!(", {DELETED_AT} = NULL"),
                format!("{DELETED_AT} IS NOT NULL"),
            )
        } else {
            (String::new(), "0".to_owned())
        };
        let update = format!(
            "UPDATE {table} SET {}{back} WHERE {number} = ?{}",
            values.join(", "),
            names.len() + 1
        );
        let mut equal = key;
        equal.extend(plan.has_digests.then(|| DIGEST.to_owned()));
        let equal = equal.iter().zip(&parameters);
        let equal: Vec<String> = equal
            .map(|(name, parameter)| format!("{name} = {parameter}"))
            .collect();
        let digest = if plan.has_digest { DIGEST } else { "''" };
        let find = format!(
            "SELECT {number}, {SEEN}, {deleted}, {digest}, {RECORD} FROM {table} WHERE {}",
            equal.join(" AND ")
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

/// SQLite's name for the number of a row, one that no column has.
fn row_number(columns: &[TableColumn]) -> &'static str {
    let is_free = |name: &&str| {
        columns
            .iter()
            .all(|column| !column.name.eq_ignore_ascii_case(name))
    };
    ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(is_free)
        .unwrap_or("rowid")
}
