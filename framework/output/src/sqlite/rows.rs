//! Writes rows into a table: a new row, one in the place of an earlier one, or one more under the same key.

use headwater_core::sink::WriteCounts;
use headwater_json::canonical::digest;
use rusqlite::{CachedStatement, Connection, Statement};

use super::{row::Row, table::Table};
use crate::relational::{Fate, Kept, Relation, relation, rule};

/// Writes the rows of one page into a table, and counts them.
pub(super) struct Writer<'run> {
    connection: &'run Connection,
    table: &'run Table,
    /// The mark of the pass; none where no pass is known.
    mark: Option<i64>,
    find: Option<CachedStatement<'run>>,
    touch: Option<CachedStatement<'run>>,
    update: Option<CachedStatement<'run>>,
    pub written: WriteCounts,
}

impl<'run> Writer<'run> {
    pub fn new(connection: &'run Connection, table: &'run Table, mark: Option<i64>) -> Self {
        Self {
            connection,
            table,
            mark,
            find: None,
            touch: None,
            update: None,
            written: WriteCounts::default(),
        }
    }

    /// Writes a row into the table, with the statement that inserts.
    pub fn write(
        &mut self,
        insert: &mut Statement<'_>,
        row: &Row<'_, '_>,
        record: &[u8],
    ) -> rusqlite::Result<()> {
        let own = if self.table.plan.has_digests {
            digest(record)
        } else {
            String::new()
        };
        let has_overflow = self.bind(row, insert, &own)?;
        self.written.overflowed += u64::from(has_overflow);
        if insert.raw_execute()? == 1 {
            self.written.records += 1;
            return Ok(());
        }
        // The key is there already.
        let (kept, places) = self.find(row, record, &own)?;
        let (fate, is_collision) = if self.table.plan.has_digests {
            // Rows with the same digest are the same.
            if kept.is_empty() {
                return Ok(());
            }
            (Fate::Touch(0), false)
        } else {
            rule(&kept, || digest(record))
        };
        self.written.collisions += u64::from(is_collision);
        match fate {
            Fate::Touch(at) if kept[at].is_current && !places[at].is_deleted => {}
            Fate::Touch(at) => {
                let touch = prepared(
                    self.connection,
                    &mut self.touch,
                    &self.table.statements.touch,
                )?;
                touch.raw_bind_parameter(1, self.mark)?;
                touch.raw_bind_parameter(2, places[at].number)?;
                touch.raw_execute()?;
            }
            Fate::Replace(at) => {
                let is_first = kept[at].digest.is_empty();
                let own = if is_first {
                    String::new()
                } else {
                    digest(record)
                };
                self.replace(row, places[at].number, &own)?;
            }
            Fate::Insert if self.table.plan.has_digest => {
                self.bind(row, insert, &digest(record))?;
                self.written.records += insert.raw_execute()? as u64;
                return Ok(());
            }
            Fate::Insert => {
                self.written.merged += 1;
                self.replace(row, places[0].number, "")?;
            }
        }
        self.written.deduplicated += 1;
        Ok(())
    }

    /// The rows with the key of a record.
    fn find(
        &mut self,
        row: &Row<'_, '_>,
        record: &[u8],
        own: &str,
    ) -> rusqlite::Result<(Vec<Kept>, Vec<RowPosition>)> {
        let table = self.table;
        let find = prepared(self.connection, &mut self.find, &table.statements.find)?;
        row.bind_key(find)?;
        if table.plan.has_digests {
            find.raw_bind_parameter(table.plan.key.len() + 1, own)?;
        }
        let (mut kept, mut places) = (Vec::new(), Vec::new());
        let mut rows = find.raw_query();
        while let Some(found) = rows.next()? {
            let seen: Option<i64> = found.get(1)?;
            let is_current = seen.is_some() && seen == self.mark;
            let before = found
                .get_ref(4)?
                .as_bytes()
                .map_err(rusqlite::Error::from)?;
            let relation = match is_current {
                true if table.plan.has_digests => Relation::Same,
                true => relation(table.plan.cursor, before, record),
                false if before == record => Relation::Same,
                false => Relation::Other,
            };
            kept.push(Kept {
                is_current,
                digest: found.get(3)?,
                relation,
            });
            places.push(RowPosition {
                number: found.get(0)?,
                is_deleted: found.get(2)?,
            });
        }
        Ok((kept, places))
    }

    fn replace(&mut self, row: &Row<'_, '_>, number: i64, own: &str) -> rusqlite::Result<()> {
        let update = prepared(
            self.connection,
            &mut self.update,
            &self.table.statements.update,
        )?;
        row.bind(update)?;
        let mut next = bind_own(self.table, update, self.mark, own)?;
        next += 1;
        update.raw_bind_parameter(next, number)?;
        update.raw_execute()?;
        Ok(())
    }

    /// Binds a row with its mark and its digest. True where a value did not fit its column.
    fn bind(
        &self,
        row: &Row<'_, '_>,
        statement: &mut Statement<'_>,
        own: &str,
    ) -> rusqlite::Result<bool> {
        let has_overflow = row.bind(statement)?;
        bind_own(self.table, statement, self.mark, own)?;
        Ok(has_overflow)
    }
}

/// The position of a row, and whether it is marked as deleted.
struct RowPosition {
    number: i64,
    is_deleted: bool,
}

/// Binds the mark and the digest after the columns, the record and the overflow; the number of the last parameter.
fn bind_own(
    table: &Table,
    statement: &mut Statement<'_>,
    mark: Option<i64>,
    own: &str,
) -> rusqlite::Result<usize> {
    let mut at = table.plan.columns.len() + 2;
    if table.plan.is_keyed() {
        at += 1;
        statement.raw_bind_parameter(at, mark)?;
    }
    if table.plan.has_digest {
        at += 1;
        statement.raw_bind_parameter(at, own)?;
    }
    Ok(at)
}

fn prepared<'one, 'run>(
    connection: &'run Connection,
    statement: &'one mut Option<CachedStatement<'run>>,
    sql: &str,
) -> rusqlite::Result<&'one mut CachedStatement<'run>> {
    if statement.is_none() {
        *statement = Some(connection.prepare_cached(sql)?);
    }
    statement.as_mut().ok_or(rusqlite::Error::InvalidQuery)
}
