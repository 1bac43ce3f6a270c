//! Runs of a connection: the lease and the history.
//!
//! A lease marks a run that is under way, and its epoch identifies that run. Safety rests on the epoch alone: a run
//! writes only in transactions that find the epoch unchanged. On one host a lock shows that the holder lives, since the
//! system releases it when the process ends; between hosts the lease has an end on the server's clock, which each
//! renewal moves.

use std::{process, time::Duration};

use headwater_core::{Error, Kind, Result, Status, Timestamp};
use headwater_files::Locked;
use serde_json::Value as Json;

use crate::{
    connection_row::{ConnectionsTable, missing},
    connections::timestamp,
    database::{Column, Database, Row, first, table, transaction},
    refusal::Refusal,
    store::Store,
};

/// How long a lease lasts without renewal.
const LEASE: Duration = Duration::from_secs(60);
const LEASE_MILLISECONDS: i64 = 60_000;
/// How many runs of a connection the store keeps.
const RUNS_KEPT: i64 = 100;

table! {
    /// Runs.
    RunsTable = "headwater_runs" {
        EPOCH: i64 = "epoch",
        HOLDER: String = "holder",
        STARTED: i64 = "started",
        ENDED: Option<i64> = "ended",
        RECEIPT: Option<String> = "receipt",
    }
}

/// Null unless a run is under way by its lease at the time `?5`.
const IS_RUNNING: Column<Option<i64>> = Column::new(
    "CASE WHEN headwater_runs.ended IS NULL AND headwater_connections.epoch = headwater_runs.epoch \
     AND headwater_connections.until > ?5 THEN headwater_runs.epoch END AS \"is_running\"",
    "is_running",
);

/// Who runs a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunHolder {
    /// The process and its host.
    pub name: String,
    /// When the run started.
    pub since: Timestamp,
    /// When the lease ends without renewal.
    pub until: Timestamp,
}

impl RunHolder {
    /// Reads the holder of a connection, if there is one.
    pub(crate) fn of(row: &Row) -> Result<Option<Self>> {
        let Some(name) = row.get(ConnectionsTable::HOLDER)? else {
            return Ok(None);
        };
        let time = |column| timestamp(row.get::<Option<i64>>(column)?.unwrap_or(0));
        Ok(Some(Self {
            name,
            since: time(ConnectionsTable::SINCE)?,
            until: time(ConnectionsTable::UNTIL)?,
        }))
    }
}

/// A run that is under way. Dropping it without [`Store::finish_run`] leaves a run without an end in the history.
#[derive(Debug)]
pub struct Run {
    connection: String,
    name: String,
    epoch: i64,
    _lock: Option<Locked>,
}

impl Run {
    /// How long a lease lasts. Renewing it three times in this time leaves room for a failure.
    pub const LEASE: Duration = LEASE;

    /// The connection that runs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the run: it grows with each run of a connection.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    pub(crate) fn id(&self) -> &str {
        &self.connection
    }

    pub(crate) fn lost(&self) -> Error {
        let text = format!(
            "run {} of the connection {} has lost its lease: another run took over, or the connection was removed",
            self.epoch, self.name
        );
        Error::new(Kind::Unavailable, text).with_status(Status::Permanent)
    }
}

/// A run of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct PastRun {
    /// Its number.
    pub epoch: i64,
    /// Who ran it.
    pub holder: String,
    /// When it started.
    pub started: Timestamp,
    /// When it ended; `None` while it is under way, and after a kill.
    pub ended: Option<Timestamp>,
    /// Its receipt.
    pub receipt: Option<Json>,
}

/// A run in a list of many connections.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedRun {
    /// The connection's name.
    pub connection: String,
    /// What people call the connection.
    pub title: String,
    /// The run.
    pub run: PastRun,
    /// Whether it is under way by its lease.
    pub is_running: bool,
}

/// The position in a list of runs: after this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunsAfter {
    /// When it started.
    pub started: Timestamp,
    /// Its connection.
    pub connection: String,
    /// Its number.
    pub epoch: i64,
}

impl Store {
    /// Starts a run of a connection. Refused while another one is under way; the error names its holder.
    ///
    /// # Errors
    ///
    /// Fails if there is no such connection, or if another run of it is under way.
    pub fn begin_run(&mut self, name: &str) -> Result<Run> {
        let id = self.id(name)?;
        let lock = self.lock(&id, name)?;
        let holder = holder();
        let epoch = transaction(&mut *self.database, |database| {
            // From here on other changes of the row wait for this transaction.
            let statement = format!(
                "UPDATE headwater_connections SET epoch = epoch + 1 WHERE id = ?1 AND deleted IS NULL RETURNING {}",
                ConnectionsTable::EPOCH
            );
            let row = first(database.query(&statement, &[id.as_str().into()])?);
            let row = row.ok_or_else(|| missing(name))?;
            let epoch = row.get(ConnectionsTable::EPOCH)?;
            refuse_in_use(database, &id, name, lock.as_ref())?;
            let now = database.now()?;
            let until = now.saturating_add(LEASE_MILLISECONDS);
            let statement = "UPDATE headwater_connections SET holder = ?1, since = ?2, until = ?3 WHERE id = ?4";
            let parameters = [
                holder.as_str().into(),
                now.into(),
                until.into(),
                id.as_str().into(),
            ];
            database.execute(statement, &parameters)?;
            let statement = "INSERT INTO headwater_runs (connection, epoch, holder, started) VALUES (?1, ?2, ?3, ?4)";
            let parameters = [
                id.as_str().into(),
                epoch.into(),
                holder.as_str().into(),
                now.into(),
            ];
            database.execute(statement, &parameters)?;
            let statement = "DELETE FROM headwater_runs WHERE connection = ?1 AND epoch <= ?2";
            database.execute(statement, &[id.as_str().into(), (epoch - RUNS_KEPT).into()])?;
            Ok(epoch)
        })?;
        Ok(Run {
            connection: id,
            name: name.to_owned(),
            epoch,
            _lock: lock,
        })
    }

    pub(crate) fn id(&mut self, name: &str) -> Result<String> {
        Self::check_name(name)?;
        let statement = format!(
            "SELECT {} FROM headwater_connections WHERE name = ?1 AND deleted IS NULL",
            ConnectionsTable::ID
        );
        let row = first(self.database.query(&statement, &[name.into()])?);
        let row = row.ok_or_else(|| missing(name))?;
        row.get(ConnectionsTable::ID)
    }

    /// Takes the lock of a connection, if the store uses locks.
    pub(crate) fn lock(&mut self, id: &str, name: &str) -> Result<Option<Locked>> {
        let Some(locks) = &self.locks else {
            return Ok(None);
        };
        match locks.take(id)? {
            Some(lock) => Ok(Some(lock)),
            None => Err(busy(&mut *self.database, id, name, true)),
        }
    }

    /// Renews the lease and returns its new end.
    ///
    /// # Errors
    ///
    /// Fails if another run took over, or if the store cannot be written.
    pub fn renew(&mut self, run: &Run) -> Result<Timestamp> {
        let until = self.database.now()?.saturating_add(LEASE_MILLISECONDS);
        let statement = "UPDATE headwater_connections SET until = ?1 WHERE id = ?2 AND epoch = ?3 AND holder IS NOT NULL";
        let parameters = [until.into(), run.id().into(), run.epoch.into()];
        match self.database.execute(statement, &parameters)? {
            0 => Err(run.lost()),
            _ => timestamp(until),
        }
    }

    /// Checks that no other run took over. Called before a commit outside the store.
    ///
    /// # Errors
    ///
    /// Fails if another run took over, or if the store cannot be read.
    pub fn fence(&mut self, run: &Run) -> Result<()> {
        let statement = "SELECT epoch FROM headwater_connections WHERE id = ?1 AND epoch = ?2 AND holder IS NOT NULL";
        let rows = self
            .database
            .query(statement, &[run.id().into(), run.epoch.into()])?;
        first(rows).map(drop).ok_or_else(|| run.lost())
    }

    /// Ends a run with its receipt, and releases the connection.
    ///
    /// # Errors
    ///
    /// Fails if another run took over, or if the store cannot be written.
    pub fn finish_run(&mut self, run: Run, receipt: &Json) -> Result<()> {
        let now = self.database.now()?;
        transaction(&mut *self.database, |database| {
            let statement = "UPDATE headwater_connections SET holder = NULL, since = NULL, until = NULL \
                             WHERE id = ?1 AND epoch = ?2 AND holder IS NOT NULL";
            if database.execute(statement, &[run.id().into(), run.epoch.into()])? == 0 {
                return Err(run.lost());
            }
            let statement = "UPDATE headwater_runs SET ended = ?1, receipt = ?2 WHERE connection = ?3 AND epoch = ?4";
            let receipt = receipt.to_string();
            let parameters = [
                now.into(),
                receipt.as_str().into(),
                run.id().into(),
                run.epoch.into(),
            ];
            database.execute(statement, &parameters).map(drop)
        })
    }

    /// Runs of all connections, or of one, the newest first: at most `limit` after a position.
    ///
    /// # Errors
    ///
    /// Fails if there is no connection of the name, or if the store cannot be read.
    pub fn runs(
        &mut self,
        after: Option<&RunsAfter>,
        limit: usize,
        name: Option<&str>,
    ) -> Result<Vec<ListedRun>> {
        let now = self.database.now()?;
        let (started, connection, epoch) = after.map_or((i64::MAX, "", i64::MAX), |after| {
            let started = after.started.as_millisecond();
            (started, after.connection.as_str(), after.epoch)
        });
        let mut parameters = vec![
            started.into(),
            connection.into(),
            epoch.into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
            now.into(),
        ];
        let id = name.map(|name| self.id(name)).transpose()?;
        parameters.extend(id.as_deref().map(Into::into));
        let of_one = id
            .as_ref()
            .map_or("", |_| "AND headwater_runs.connection = ?6");
        let statement = format!(
            "SELECT {}, {}, {}, {IS_RUNNING} FROM headwater_runs \
             JOIN headwater_connections ON headwater_connections.id = headwater_runs.connection \
             WHERE deleted IS NULL {of_one} AND (started < ?1 OR (started = ?1 \
             AND (name > ?2 OR (name = ?2 AND headwater_runs.epoch < ?3)))) \
             ORDER BY started DESC, name, headwater_runs.epoch DESC LIMIT ?4",
            RunsTable::ALL,
            ConnectionsTable::NAME,
            ConnectionsTable::TITLE
        );
        let rows = self.database.query(&statement, &parameters)?;
        rows.iter().map(listed_run).collect()
    }

    /// The last runs of a connection, the newest first.
    ///
    /// # Errors
    ///
    /// Fails if there is no such connection, or if the store cannot be read.
    pub fn history(&mut self, name: &str, limit: usize) -> Result<Vec<PastRun>> {
        let id = self.id(name)?;
        let statement = format!(
            "SELECT {} FROM headwater_runs WHERE connection = ?1 ORDER BY epoch DESC LIMIT ?2",
            RunsTable::ALL
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .database
            .query(&statement, &[id.as_str().into(), limit.into()])?;
        rows.iter().map(past_run).collect()
    }
}

/// Fails while a run of a connection is under way. A process with the lock has outlived the last holder. The
/// transaction holds the connection's row already, so no lease in it is newer than now.
pub(crate) fn refuse_in_use(
    database: &mut dyn Database,
    id: &str,
    name: &str,
    lock: Option<&Locked>,
) -> Result<()> {
    if lock.is_some() {
        return Ok(());
    }
    let now = database.now()?;
    // A lease with a later end than any lease can have was taken before the clock went back.
    let statement = "SELECT id FROM headwater_connections \
                     WHERE id = ?1 AND (holder IS NULL OR until <= ?2 OR until > ?3)";
    let until = now.saturating_add(LEASE_MILLISECONDS);
    let parameters = [id.into(), now.into(), until.into()];
    match database.query(statement, &parameters)?.is_empty() {
        true => Err(busy(database, id, name, false)),
        false => Ok(()),
    }
}

fn busy(database: &mut dyn Database, id: &str, name: &str, has_locks: bool) -> Error {
    let statement = format!(
        "SELECT {}, {}, {} FROM headwater_connections WHERE id = ?1",
        ConnectionsTable::HOLDER,
        ConnectionsTable::SINCE,
        ConnectionsTable::UNTIL
    );
    let found = database
        .query(&statement, &[id.into()])
        .and_then(|rows| first(rows).map_or(Ok(None), |row| RunHolder::of(&row)));
    let who = match found {
        Ok(Some(holder)) if has_locks => format!(
            "{} has been running it since {} and holds it until that process ends",
            holder.name, holder.since
        ),
        Ok(Some(holder)) => format!(
            "{} has been running it since {} and holds it until {} at least",
            holder.name, holder.since, holder.until
        ),
        _ => "another process has just started".to_owned(),
    };
    let text = format!("the connection {name} is in use: {who}");
    Refusal::InUse.error(Kind::Unavailable, text)
}

fn past_run(row: &Row) -> Result<PastRun> {
    let receipt = row.get(RunsTable::RECEIPT)?;
    Ok(PastRun {
        epoch: row.get(RunsTable::EPOCH)?,
        holder: row.get(RunsTable::HOLDER)?,
        started: timestamp(row.get(RunsTable::STARTED)?)?,
        ended: row.get(RunsTable::ENDED)?.map(timestamp).transpose()?,
        receipt: receipt.and_then(|text| serde_json::from_str(&text).ok()),
    })
}

fn listed_run(row: &Row) -> Result<ListedRun> {
    let connection = row.get(ConnectionsTable::NAME)?;
    let title = row.get(ConnectionsTable::TITLE)?;
    Ok(ListedRun {
        title: title.unwrap_or_else(|| connection.clone()),
        connection,
        run: past_run(row)?,
        is_running: row.get(IS_RUNNING)?.is_some(),
    })
}

/// The name of this process and its host.
fn holder() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    format!("process {} on {host}", process::id())
}
