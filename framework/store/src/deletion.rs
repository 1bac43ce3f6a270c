//! Deleting connections: for a while they can be restored, then they are removed for good.

use std::time::Duration;

use headwater_core::{Kind, Result, Timestamp};

use crate::{
    audit::{Actor, Event, audited},
    connection_row::{ConnectionRow, ConnectionsTable, LockedConnection, WHOLE, missing, raise},
    database::{Column, first},
    refusal::Refusal,
    runs::refuse_in_use,
    store::Store,
    undo,
};

/// The number of secrets of a connection `c`.
const SECRETS: Column<i64> = Column::new(
    "(SELECT count(*) FROM headwater_secrets s WHERE s.connection = c.id AND s.pointer <> ?2) AS \"secrets\"",
    "secrets",
);
/// The number of runs of a connection `c`.
const RUNS: Column<i64> = Column::new(
    "(SELECT count(*) FROM headwater_runs r WHERE r.connection = c.id) AS \"runs\"",
    "runs",
);
const RESTORE_MILLISECONDS: i64 = 24 * 60 * 60 * 1000;

/// The data that is removed with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Sealed secrets.
    pub secrets: usize,
    /// Runs of its history.
    pub runs: usize,
}

impl Store {
    /// How long [`Store::restore`] stays possible at least.
    pub const RESTORE: Duration = Duration::from_millis(RESTORE_MILLISECONDS.unsigned_abs());

    /// Counts the data that is removed with a connection, also with a deleted one.
    ///
    /// # Errors
    ///
    /// Fails if there is no such connection, or if the store cannot be read.
    pub fn contents(&mut self, name: &str) -> Result<Contents> {
        Self::check_name(name)?;
        let statement =
            format!("SELECT {SECRETS}, {RUNS} FROM headwater_connections c WHERE c.name = ?1");
        let rows = self
            .database
            .query(&statement, &[name.into(), WHOLE.into()])?;
        let row = first(rows).ok_or_else(|| missing(name))?;
        let count = |column| {
            row.get(column)
                .map(|count| usize::try_from(count).unwrap_or(0))
        };
        Ok(Contents {
            secrets: count(SECRETS)?,
            runs: count(RUNS)?,
        })
    }

    /// Hides a connection; refused while it runs. Its name stays taken, and for a day it can be restored.
    ///
    /// # Errors
    ///
    /// Fails if there is no such connection, if it runs, or if it has another revision than the one given.
    pub fn delete(&mut self, name: &str, revision: Option<i64>, actor: &Actor) -> Result<()> {
        let id = self.id(name)?;
        let lock = self.lock(&id, name)?;
        let now = self.database.now()?;
        audited(self, actor, |change| {
            // A connection that cannot be read is deleted unchanged.
            let verified = change.verified(name).ok();
            let held = raise(change.database, name, revision)?;
            refuse_in_use(change.database, &held.id, name, lock.as_ref())?;
            // An earlier holder can commit nothing more.
            let statement = "UPDATE headwater_connections SET deleted = ?1, epoch = epoch + 1, holder = NULL, since = NULL, \
                             until = NULL WHERE id = ?2";
            change
                .database
                .execute(statement, &[now.into(), held.id.as_str().into()])?;
            if let Some(stored) = verified {
                change.seal(ConnectionRow {
                    revision: held.revision,
                    deleted: Some(now),
                    ..stored
                })?;
            }
            Ok(((), Event::new("deleted").of(&held.id, name, held.version)))
        })
    }

    /// Restores a deleted connection.
    ///
    /// # Errors
    ///
    /// Fails if there is no deleted connection of this name, or if the store cannot be written.
    pub fn restore(&mut self, name: &str, actor: &Actor) -> Result<()> {
        Self::check_name(name)?;
        audited(self, actor, |change| {
            let verified = change.verified(name).ok();
            let statement = format!(
                "UPDATE headwater_connections SET deleted = NULL, revision = revision + 1 \
                 WHERE name = ?1 AND deleted IS NOT NULL RETURNING {}",
                LockedConnection::columns()
            );
            let Some(row) = first(change.database.query(&statement, &[name.into()])?) else {
                let text = format!("there is no deleted connection {name:?} to restore");
                return Err(Refusal::Missing.error(Kind::NotFound, text));
            };
            let held = LockedConnection::of(&row)?;
            if let Some(stored) = verified {
                change.seal(ConnectionRow {
                    revision: held.revision,
                    deleted: None,
                    ..stored
                })?;
            }
            let event = Event::new("restored").of(&held.id, name, held.version);
            Ok(((), event))
        })
    }

    /// Removes a connection and all its data for good; refused while it runs. Also removes an unreadable or deleted
    /// connection.
    ///
    /// # Errors
    ///
    /// Fails if there is no such connection, if it runs, or if the store cannot be written.
    pub fn remove(&mut self, name: &str, actor: &Actor) -> Result<()> {
        Self::check_name(name)?;
        self.remove_if(name, None, actor)
    }

    /// Removes a connection; with a time, only if it was deleted before that.
    fn remove_if(&mut self, name: &str, deleted_before: Option<i64>, actor: &Actor) -> Result<()> {
        let statement = format!(
            "SELECT {} FROM headwater_connections WHERE name = ?1",
            ConnectionsTable::ID
        );
        let row = first(self.database.query(&statement, &[name.into()])?);
        let row = row.ok_or_else(|| missing(name))?;
        let id = row.get(ConnectionsTable::ID)?;
        let lock = self.lock(&id, name)?;
        audited(self, actor, |change| {
            let database = &mut *change.database;
            // Makes a run of it, and its restoration, wait.
            let statement = "UPDATE headwater_connections SET epoch = epoch \
                             WHERE id = ?1 AND (CAST(?2 AS BIGINT) IS NULL OR deleted < ?2)";
            let parameters = [id.as_str().into(), deleted_before.into()];
            if database.execute(statement, &parameters)? == 0 {
                return Err(missing(name));
            }
            refuse_in_use(database, &id, name, lock.as_ref())?;
            let statement = "DELETE FROM headwater_connections WHERE id = ?1";
            database.execute(statement, &[id.as_str().into()])?;
            change.ledger.connections.remove(&id);
            Ok(((), Event::new("removed").id(&id).named(name)))
        })?;
        if let Some(locks) = &self.locks {
            locks.remove(&id);
        }
        self.database.forget_deleted();
        Ok(())
    }

    /// Removes connections that were deleted before a time for good, and forgets configs that can no longer be
    /// restored. Returns how many connections it removed.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn purge_deleted(&mut self, before: Timestamp, actor: &Actor) -> Result<usize> {
        let before = before.as_millisecond();
        let statement = format!(
            "SELECT {} FROM headwater_connections WHERE deleted < ?1",
            ConnectionsTable::NAME
        );
        let mut removed = 0;
        for row in self.database.query(&statement, &[before.into()])? {
            match self.remove_if(&row.get(ConnectionsTable::NAME)?, Some(before), actor) {
                Ok(()) => removed += 1,
                // Another process has just restored or removed it.
                Err(error) if Refusal::of(&error) == Some(&Refusal::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        let now = self.database.now()?;
        if undo::forget_old(&mut *self.database, now)? > 0 {
            self.database.forget_deleted();
        }
        Ok(removed)
    }
}
