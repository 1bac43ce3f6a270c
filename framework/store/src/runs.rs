//! Runs of a connection: the lease, the history, and the state of sinks that keep none.
//!
//! A lease says that a run is under way, and its epoch says which one. Safety rests on the epoch alone: whatever a run
//! writes is written in a transaction that finds the epoch unchanged. That the holder still lives is told on one host by
//! a lock that the system gives back when a process ends, and between hosts by a time on the server's clock until which
//! the lease was last renewed.

use std::{fs::File, process, time::Duration};

use headwater_core::{Error, Kind, Result, Status, Timestamp};
use serde_json::Value as Json;

use crate::{
    connections::{missing, timestamp},
    database::{Database, Row, first, transaction},
    store::Store,
};

/// How long a lease lasts that is not renewed.
const LEASE: Duration = Duration::from_secs(60);
const LEASE_MILLISECONDS: i64 = 60_000;
/// How many runs of a connection are remembered.
const RUNS_KEPT: i64 = 100;

/// Who runs a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process and its host.
    pub name: String,
    /// When the run started.
    pub since: Timestamp,
    /// When the lease ends, if it is not renewed.
    pub until: Timestamp,
}

impl Holder {
    /// The holder that three columns name.
    pub(crate) fn of(row: &Row, column: usize) -> Result<Option<Self>> {
        let Some(name) = row.optional_text(column)? else {
            return Ok(None);
        };
        let time = |column| timestamp(row.optional_integer(column)?.unwrap_or(0));
        Ok(Some(Self {
            name,
            since: time(column + 1)?,
            until: time(column + 2)?,
        }))
    }
}

/// A run that is under way. Dropping it without [`Store::finish_run`] leaves a run without an end in the history.
#[derive(Debug)]
pub struct Run {
    connection: String,
    name: String,
    epoch: i64,
    _lock: Option<File>,
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
            "run {} of the connection {} is not its run any more: another one took over, or the connection was removed",
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
    /// When it ended; none while it is under way, and where it was killed.
    pub ended: Option<Timestamp>,
    /// What it said of itself at its end.
    pub receipt: Option<Json>,
}

impl Store {
    /// Starts a run of a connection. Refused while another one is under way, with who that is.
    pub fn begin_run(&mut self, name: &str) -> Result<Run> {
        let id = self.id(name)?;
        let lock = match &self.locks {
            None => None,
            Some(locks) => match locks.take(&id)? {
                Some(lock) => Some(lock),
                None => return Err(self.busy(name)),
            },
        };
        let holder = holder();
        let now = self.database.now()?;
        let until = now.saturating_add(LEASE_MILLISECONDS);
        // Whoever has the lock has outlived the holder. Without locks, a lease that would last longer than any does was
        // made before the clock went back.
        let is_outlived = i64::from(lock.is_some());
        let epoch = transaction(&mut *self.database, |database| {
            let statement = "UPDATE headwater_connections \
                             SET epoch = epoch + 1, holder = ?1, since = ?2, until = ?3 \
                             WHERE id = ?4 AND (holder IS NULL OR until <= ?2 OR until > ?3 OR CAST(?5 AS BIGINT) = 1) RETURNING epoch";
            let parameters = [
                holder.as_str().into(),
                now.into(),
                until.into(),
                id.as_str().into(),
                is_outlived.into(),
            ];
            let Some(row) = first(database.query(statement, &parameters)?) else {
                return Ok(None);
            };
            let epoch = row.integer(0)?;
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
            Ok(Some(epoch))
        })?;
        let Some(epoch) = epoch else {
            return Err(self.busy(name));
        };
        Ok(Run {
            connection: id,
            name: name.to_owned(),
            epoch,
            _lock: lock,
        })
    }

    fn id(&mut self, name: &str) -> Result<String> {
        Self::check_name(name)?;
        let statement = "SELECT id FROM headwater_connections WHERE name = ?1";
        let rows = self.database.query(statement, &[name.into()])?;
        first(rows).ok_or_else(|| missing(name))?.text(0)
    }

    fn busy(&mut self, name: &str) -> Error {
        let statement = "SELECT holder, since, until FROM headwater_connections WHERE name = ?1";
        let found = self
            .database
            .query(statement, &[name.into()])
            .and_then(|rows| first(rows).map_or(Ok(None), |row| Holder::of(&row, 0)));
        let who = match found {
            Ok(Some(holder)) if self.locks.is_none() => format!(
                "{} runs it since {} and has it until {} at least",
                holder.name, holder.since, holder.until
            ),
            Ok(Some(holder)) => format!(
                "{} runs it since {} and has it until that process ends",
                holder.name, holder.since
            ),
            _ => "another process has just started".to_owned(),
        };
        Error::new(
            Kind::Unavailable,
            format!("the connection {name} is in use: {who}"),
        )
    }

    /// Makes the lease last again, and returns until when. Fails where another run took over.
    pub fn renew(&mut self, run: &Run) -> Result<Timestamp> {
        let until = self.database.now()?.saturating_add(LEASE_MILLISECONDS);
        let statement = "UPDATE headwater_connections SET until = ?1 WHERE id = ?2 AND epoch = ?3 AND holder IS NOT NULL";
        let parameters = [until.into(), run.id().into(), run.epoch.into()];
        match self.database.execute(statement, &parameters)? {
            0 => Err(run.lost()),
            _ => timestamp(until),
        }
    }

    /// Fails where another run took over. Asked before something is committed elsewhere.
    pub fn fence(&mut self, run: &Run) -> Result<()> {
        let statement = "SELECT epoch FROM headwater_connections WHERE id = ?1 AND epoch = ?2 AND holder IS NOT NULL";
        let rows = self
            .database
            .query(statement, &[run.id().into(), run.epoch.into()])?;
        first(rows).map(drop).ok_or_else(|| run.lost())
    }

    /// Ends a run with what it says of itself, and gives the connection back.
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

    /// The last runs of a connection, the newest first.
    pub fn history(&mut self, name: &str, most: usize) -> Result<Vec<PastRun>> {
        let id = self.id(name)?;
        let statement = "SELECT epoch, holder, started, ended, receipt FROM headwater_runs \
                         WHERE connection = ?1 ORDER BY epoch DESC LIMIT ?2";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = self
            .database
            .query(statement, &[id.as_str().into(), most.into()])?;
        rows.iter().map(past_run).collect()
    }

    /// The state that was saved for a connection.
    pub fn load_state(&mut self, name: &str) -> Result<Option<String>> {
        let id = self.id(name)?;
        let statement = "SELECT state FROM headwater_states WHERE connection = ?1";
        let rows = self.database.query(statement, &[id.as_str().into()])?;
        first(rows).map(|row| row.text(0)).transpose()
    }

    /// Saves the state of a connection. Fails where another run took over, and then changes nothing.
    pub fn save_state(&mut self, run: &Run, state: &str) -> Result<()> {
        let now = self.database.now()?;
        transaction(&mut *self.database, |database| {
            hold(database, run)?;
            let statement = "INSERT INTO headwater_states (connection, epoch, saved, state) VALUES (?1, ?2, ?3, ?4) \
                             ON CONFLICT (connection) DO UPDATE \
                             SET epoch = excluded.epoch, saved = excluded.saved, state = excluded.state";
            let parameters = [run.id().into(), run.epoch.into(), now.into(), state.into()];
            database.execute(statement, &parameters).map(drop)
        })
    }
}

/// Keeps the lease from being taken until the transaction ends.
fn hold(database: &mut dyn Database, run: &Run) -> Result<()> {
    let statement = "UPDATE headwater_connections SET epoch = epoch WHERE id = ?1 AND epoch = ?2 AND holder IS NOT NULL";
    match database.execute(statement, &[run.id().into(), run.epoch.into()])? {
        0 => Err(run.lost()),
        _ => Ok(()),
    }
}

fn past_run(row: &Row) -> Result<PastRun> {
    let receipt = row.optional_text(4)?;
    Ok(PastRun {
        epoch: row.integer(0)?,
        holder: row.text(1)?,
        started: timestamp(row.integer(2)?)?,
        ended: row.optional_integer(3)?.map(timestamp).transpose()?,
        receipt: receipt.and_then(|text| serde_json::from_str(&text).ok()),
    })
}

/// This process, for somebody who looks for it.
fn holder() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    format!("process {} on {host}", process::id())
}
