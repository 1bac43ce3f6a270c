//! The schedules of connections. The store keeps which run is due; the process that claims a run executes it.

use headwater_core::{Error, Kind, Result, SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    audit::{Actor, Event, audited},
    connection_row::ConnectionsTable,
    connections::timestamp,
    database::{Row, table},
    refusal::Refusal,
    store::Store,
};

/// How long an unusable schedule is postponed.
const UNUSABLE: SignedDuration = SignedDuration::from_hours(24);

table! {
    /// Schedules. Joined with its connection, a row may be missing.
    SchedulesTable = "headwater_schedules" {
        EVERY: Option<i64> = "every",
        CRON: String = "cron",
        ZONE: String = "zone",
        STREAMS: String = "streams",
        DESTINATION: String = "destination",
        REDACTED: i64 = "redacted",
        PAUSED: i64 = "paused",
        DUE: Option<i64> = "due",
        STARTED: Option<i64> = "started",
    }
}

/// When a connection runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// At an interval in seconds.
    Every(u32),
    /// At the times of an expression.
    Cron {
        /// The expression. The store does not parse it.
        expression: String,
        /// Its time zone, for example `Europe/Berlin`.
        zone: String,
    },
}

/// A schedule: the streams, their destination and the times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The times.
    pub when: When,
    /// The streams to read; all if empty.
    pub streams: Vec<String>,
    /// Where the records go.
    pub destination: String,
    /// Whether personal data is replaced before it is written.
    pub is_redacted: bool,
    /// Whether the schedule is paused.
    pub is_paused: bool,
}

impl Schedule {
    /// The text that a seal covers.
    pub(crate) fn as_sealed(&self) -> String {
        let when = match &self.when {
            When::Every(seconds) => json!(seconds),
            When::Cron { expression, zone } => json!([expression, zone]),
        };
        json!([
            when,
            self.streams,
            self.destination,
            self.is_redacted,
            self.is_paused
        ])
        .to_string()
    }
}

/// A schedule with its next and its last run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledRun {
    /// The connection that runs.
    pub connection: String,
    /// A schedule: the streams, their destination and the times.
    pub schedule: Schedule,
    /// When the next run is due.
    pub due: Timestamp,
    /// When the last due run started.
    pub started: Option<Timestamp>,
}

impl ScheduledRun {
    /// Reads a schedule, if there is one.
    pub(crate) fn of(row: &Row, connection: &str) -> Result<Option<Self>> {
        let Some(due) = row.get(SchedulesTable::DUE)? else {
            return Ok(None);
        };
        let damaged = || Error::new(Kind::DataInvalid, "the store contains an invalid schedule");
        let when = match row.get(SchedulesTable::EVERY)? {
            Some(every) => When::Every(u32::try_from(every).map_err(|_| damaged())?),
            None => When::Cron {
                expression: row.get(SchedulesTable::CRON)?,
                zone: row.get(SchedulesTable::ZONE)?,
            },
        };
        let started = row.get(SchedulesTable::STARTED)?;
        Ok(Some(Self {
            connection: connection.to_owned(),
            schedule: Schedule {
                when,
                streams: serde_json::from_str(&row.get(SchedulesTable::STREAMS)?)
                    .map_err(|_| damaged())?,
                destination: row.get(SchedulesTable::DESTINATION)?,
                is_redacted: row.get(SchedulesTable::REDACTED)? != 0,
                is_paused: row.get(SchedulesTable::PAUSED)? != 0,
            },
            due: timestamp(due)?,
            started: started.map(timestamp).transpose()?,
        }))
    }
}

impl Store {
    /// Sets the schedule of a connection and the time of its next run.
    ///
    /// # Errors
    ///
    /// Fails if there is no such connection, if it has another revision than the one given, or if the interval is zero.
    pub fn set_schedule(
        &mut self,
        name: &str,
        schedule: &Schedule,
        due: Timestamp,
        revision: Option<i64>,
        actor: &Actor,
    ) -> Result<()> {
        Self::check_name(name)?;
        let (every, cron, zone) = match &schedule.when {
            When::Every(0) => {
                let text = "a schedule cannot run every 0 seconds; give it a longer interval";
                return Err(Error::new(Kind::ConfigInvalid, text));
            }
            When::Every(seconds) => (Some(i64::from(*seconds)), None, None),
            When::Cron { expression, zone } => (None, Some(&**expression), Some(&**zone)),
        };
        let streams = json!(schedule.streams).to_string();
        audited(self, actor, |change| {
            let mut held = change.hold(name, revision)?;
            let started = held.schedule.and_then(|before| before.started);
            held.schedule = Some(ScheduledRun {
                connection: name.to_owned(),
                schedule: schedule.clone(),
                due,
                started,
            });
            let statement = "INSERT INTO headwater_schedules \
                             (connection, every, cron, zone, streams, destination, redacted, paused, due) \
                             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (connection) DO UPDATE \
                             SET every = excluded.every, cron = excluded.cron, zone = excluded.zone, \
                             streams = excluded.streams, destination = excluded.destination, redacted = excluded.redacted, \
                             paused = excluded.paused, due = excluded.due";
            let parameters = [
                held.id.as_str().into(),
                every.into(),
                cron.into(),
                zone.into(),
                streams.as_str().into(),
                schedule.destination.as_str().into(),
                i64::from(schedule.is_redacted).into(),
                i64::from(schedule.is_paused).into(),
                due.as_millisecond().into(),
            ];
            change.database.execute(statement, &parameters)?;
            let event = Event::new("scheduled").of(&held.id, name, held.version);
            change.seal(held)?;
            Ok(((), event))
        })
    }

    /// Removes the schedule of a connection.
    ///
    /// # Errors
    ///
    /// Fails if the connection has no schedule, or another revision than the one given.
    pub fn remove_schedule(
        &mut self,
        name: &str,
        revision: Option<i64>,
        actor: &Actor,
    ) -> Result<()> {
        Self::check_name(name)?;
        audited(self, actor, |change| {
            let mut held = change.hold(name, revision)?;
            held.schedule = None;
            let statement = "DELETE FROM headwater_schedules WHERE connection = ?1";
            match change
                .database
                .execute(statement, &[held.id.as_str().into()])?
            {
                0 => {
                    let text = format!("the connection {name} has no schedule");
                    Err(Refusal::Missing.error(Kind::NotFound, text))
                }
                _ => {
                    let event = Event::new("unscheduled").of(&held.id, name, held.version);
                    change.seal(held)?;
                    Ok(((), event))
                }
            }
        })
    }

    /// The runs that are due now, the longest due first. Postpones a schedule that headwater did not write, or that
    /// another build wrote, since it would stay ahead of all others for ever.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read or written.
    pub fn due(&mut self, limit: usize) -> Result<Vec<ScheduledRun>> {
        let now = self.database.now()?;
        let statement = format!(
            "SELECT {}, {} FROM headwater_schedules \
             JOIN headwater_connections ON headwater_connections.id = headwater_schedules.connection \
             WHERE due <= ?1 AND paused = 0 AND deleted IS NULL ORDER BY due, name LIMIT ?2",
            SchedulesTable::ALL,
            ConnectionsTable::NAME
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .database
            .query(&statement, &[now.into(), limit.into()])?;
        let mut due = Vec::new();
        for row in &rows {
            let connection = row.get(ConnectionsTable::NAME)?;
            // SQLite also accepts times that are not whole numbers.
            let found = ScheduledRun::of(row, &connection).ok().flatten();
            // The connection vouches for its schedule.
            match self.get(&connection).map(|connection| connection.schedule) {
                Ok(known) if found.is_some() && known == found => due.extend(known),
                Err(error) if Refusal::of(&error) == Some(&Refusal::Unreadable) => {
                    self.postpone_unusable(&connection)?;
                }
                Ok(_) if found.is_none() => self.postpone_unusable(&connection)?,
                // The schedule has just changed.
                _ => {}
            }
        }
        Ok(due)
    }

    /// Postpones a due schedule that cannot run by a day, and writes one row of the audit about it.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn postpone(&mut self, scheduled: &ScheduledRun) -> Result<()> {
        self.postpone_unusable(&scheduled.connection)
    }

    fn postpone_unusable(&mut self, connection: &str) -> Result<()> {
        let now = self.database.now()?;
        let next = timestamp(now)? + UNUSABLE;
        // Its due time may be unreadable. Of several processes, only the first still finds it due.
        let statement = "UPDATE headwater_schedules SET due = ?1 WHERE due <= ?2 AND paused = 0 AND connection = \
                         (SELECT id FROM headwater_connections WHERE name = ?3 AND deleted IS NULL)";
        let parameters = [next.as_millisecond().into(), now.into(), connection.into()];
        if self.database.execute(statement, &parameters)? == 0 {
            return Ok(());
        }
        self.note(
            &Actor::schedule(),
            "scheduled run",
            Some(connection),
            "schedule_unusable",
        )
    }

    /// Claims a due run and sets the time of the next one. Of several processes, one succeeds.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn claim(&mut self, due: &ScheduledRun, next: Timestamp) -> Result<bool> {
        let now = self.database.now()?;
        let statement = "UPDATE headwater_schedules SET due = ?1, started = ?2 \
                         WHERE due = ?3 AND paused = 0 AND connection = \
                         (SELECT id FROM headwater_connections WHERE name = ?4 AND deleted IS NULL)";
        let parameters = [
            next.as_millisecond().into(),
            now.into(),
            due.due.as_millisecond().into(),
            due.connection.as_str().into(),
        ];
        Ok(self.database.execute(statement, &parameters)? > 0)
    }
}
