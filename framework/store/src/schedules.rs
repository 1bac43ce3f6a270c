//! When connections run by themselves. What is kept here is which run is due; who claims it runs it.

use headwater_core::{Error, Kind, Result, SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    audit::{Actor, Event, audited},
    connections::timestamp,
    database::Row,
    refusal::Refusal,
    store::Store,
};

/// How long a schedule is left alone that cannot be kept.
const UNUSABLE: SignedDuration = SignedDuration::from_hours(24);

/// When a connection runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Every so many seconds.
    Every(u32),
    /// At the times of an expression.
    Cron {
        /// The expression. The store does not look into it.
        expression: String,
        /// The time zone that it is meant in, as `Europe/Berlin`.
        zone: String,
    },
}

/// What runs, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When.
    pub when: When,
    /// The streams that are read; all where there are none.
    pub streams: Vec<String>,
    /// Where the records go.
    pub destination: String,
    /// Whether personal data is replaced before it is written.
    pub is_redacted: bool,
    /// Whether nothing is due for now.
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

/// A schedule with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledRun {
    /// The connection that runs.
    pub connection: String,
    /// What runs, and when.
    pub schedule: Schedule,
    /// When the next run is due.
    pub due: Timestamp,
    /// When the last run that was due was started.
    pub started: Option<Timestamp>,
}

impl ScheduledRun {
    /// The schedule that nine columns hold, if there is one.
    pub(crate) fn of(row: &Row, column: usize, connection: &str) -> Result<Option<Self>> {
        let Some(due) = row.optional_integer(column + 7)? else {
            return Ok(None);
        };
        let damaged = || Error::new(Kind::DataInvalid, "the store holds a schedule that is none");
        let when = match row.optional_integer(column)? {
            Some(every) => When::Every(u32::try_from(every).map_err(|_| damaged())?),
            None => When::Cron {
                expression: row.text(column + 1)?,
                zone: row.text(column + 2)?,
            },
        };
        let started = row.optional_integer(column + 8)?;
        Ok(Some(Self {
            connection: connection.to_owned(),
            schedule: Schedule {
                when,
                streams: serde_json::from_str(&row.text(column + 3)?).map_err(|_| damaged())?,
                destination: row.text(column + 4)?,
                is_redacted: row.integer(column + 5)? != 0,
                is_paused: row.integer(column + 6)? != 0,
            },
            due: timestamp(due)?,
            started: started.map(timestamp).transpose()?,
        }))
    }
}

impl Store {
    /// Gives a connection a schedule, or another one, with when its next run is due. Fails where the connection is of
    /// another revision than the one that is given.
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

    /// Takes the schedule of a connection away.
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

    /// The runs that are due by now, the longest due first. A schedule that headwater did not write, or that another build
    /// wrote, is set aside, or it would stand before all others for ever.
    pub fn due(&mut self, most: usize) -> Result<Vec<ScheduledRun>> {
        let now = self.database.now()?;
        let statement = "SELECT h.every, h.cron, h.zone, h.streams, h.destination, h.redacted, h.paused, h.due, h.started, \
                         c.name FROM headwater_schedules h JOIN headwater_connections c ON c.id = h.connection \
                         WHERE h.due <= ?1 AND h.paused = 0 AND c.deleted IS NULL ORDER BY h.due, c.name LIMIT ?2";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = self.database.query(statement, &[now.into(), most.into()])?;
        let mut due = Vec::new();
        for row in &rows {
            let connection = row.text(9)?;
            // SQLite also holds times that are no whole numbers.
            let found = ScheduledRun::of(row, 0, &connection).ok().flatten();
            // The connection vouches for its schedule.
            match self.get(&connection).map(|connection| connection.schedule) {
                Ok(known) if found.is_some() && known == found => due.extend(known),
                Err(error) if Refusal::of(&error) == Some(&Refusal::Unreadable) => {
                    self.leave_alone(&connection)?;
                }
                Ok(_) if found.is_none() => self.leave_alone(&connection)?,
                // It was changed this very moment.
                _ => {}
            }
        }
        Ok(due)
    }

    /// Leaves a schedule alone for a day that is due and cannot be kept, and notes that once.
    pub fn set_aside(&mut self, scheduled: &ScheduledRun) -> Result<()> {
        self.leave_alone(&scheduled.connection)
    }

    fn leave_alone(&mut self, connection: &str) -> Result<()> {
        let now = self.database.now()?;
        let next = timestamp(now)? + UNUSABLE;
        // When it was due may be what cannot be read. Of several who see it, one still finds it due.
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

    /// Takes a run that is due, and says when the next one is. Of several who try, one gets it.
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
