//! Who did what: a list that only grows, and that never holds a value.
//!
//! A row is written in the transaction of the change that it tells of, so that neither is there without the other. The
//! number of a row is taken first, which makes all changes wait for each other and the numbers grow without a gap.

use headwater_core::{Result, Timestamp};

use crate::{
    connections::timestamp,
    database::{Database, Row, Value, first, transaction},
    store::Store,
};

/// On whose behalf something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name of a token, or `local`.
    pub who: String,
    /// The request that asked for it.
    pub request_id: Option<String>,
}

impl Actor {
    /// Nobody: a run was due.
    pub fn schedule() -> Self {
        Self {
            who: "schedule".to_owned(),
            request_id: None,
        }
    }

    /// Who uses the store directly, as the command line does.
    pub fn local() -> Self {
        Self {
            who: "local".to_owned(),
            request_id: None,
        }
    }
}

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Grows with each row.
    pub id: i64,
    /// When it was done.
    pub time: Timestamp,
    /// Who did it: the name of a token, or `local`.
    pub who: String,
    /// What was done, in a word or two.
    pub what: String,
    /// The id of the connection that it was done to; another one of the same name has another id.
    pub connection_id: Option<String>,
    /// The connection, or the token, that it was done to.
    pub name: Option<String>,
    /// The version of the connection's config.
    pub version: Option<i64>,
    /// How it ended.
    pub outcome: String,
    /// The request that asked for it.
    pub request_id: Option<String>,
}

/// What a row is made of.
pub(crate) struct Event {
    what: String,
    connection_id: Option<String>,
    name: Option<String>,
    version: Option<i64>,
    outcome: String,
}

impl Event {
    /// Something that was done to the store.
    pub(crate) fn new(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            connection_id: None,
            name: None,
            version: None,
            outcome: "done".to_owned(),
        }
    }

    pub(crate) fn id(self, connection_id: &str) -> Self {
        Self {
            connection_id: Some(connection_id.to_owned()),
            ..self
        }
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..self
        }
    }

    pub(crate) fn at(self, version: i64) -> Self {
        Self {
            version: Some(version),
            ..self
        }
    }

    pub(crate) fn of(self, connection_id: &str, name: &str, version: i64) -> Self {
        self.id(connection_id).named(name).at(version)
    }

    pub(crate) fn ended(self, outcome: &str) -> Self {
        Self {
            outcome: outcome.to_owned(),
            ..self
        }
    }
}

/// Carries out some work and tells of it, as a whole or not at all.
pub(crate) fn audited<T>(
    database: &mut dyn Database,
    actor: &Actor,
    work: impl FnOnce(&mut dyn Database) -> Result<(T, Event)>,
) -> Result<T> {
    let now = database.now()?;
    transaction(database, |database| {
        let statement = "UPDATE headwater_store SET audited = audited + 1 RETURNING audited";
        let rows = database.query(statement, &[])?;
        let id = rows.first().map_or(Ok(0), |row| row.integer(0))?;
        let (done, event) = work(database)?;
        let statement = "INSERT INTO headwater_audit \
                         (id, time, who, what, connection_id, name, version, outcome, request_id) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let parameters = [
            id.into(),
            now.into(),
            actor.who.as_str().into(),
            event.what.as_str().into(),
            event.connection_id.as_deref().into(),
            event.name.as_deref().into(),
            event.version.into(),
            event.outcome.as_str().into(),
            actor.request_id.as_deref().into(),
        ];
        database.execute(statement, &parameters)?;
        Ok(done)
    })
}

impl Store {
    /// Tells of something that changes nothing in the store, such as a preview.
    pub fn note(
        &mut self,
        actor: &Actor,
        what: &str,
        connection: Option<&str>,
        outcome: &str,
    ) -> Result<()> {
        audited(&mut *self.database, actor, |database| {
            let event = Event::new(what).ended(outcome);
            let Some(name) = connection else {
                return Ok(((), event));
            };
            let statement = "SELECT id, version FROM headwater_connections WHERE name = ?1";
            let event = match first(database.query(statement, &[name.into()])?) {
                Some(row) => event.of(&row.text(0)?, name, row.integer(1)?),
                None => event.named(name),
            };
            Ok(((), event))
        })
    }

    /// What was done, the newest first: at most so many rows before one, of all connections or of those of one name.
    pub fn audit(
        &mut self,
        before: Option<i64>,
        most: usize,
        name: Option<&str>,
    ) -> Result<Vec<Audited>> {
        let mut parameters: Vec<Value> = vec![
            before.unwrap_or(i64::MAX).into(),
            i64::try_from(most).unwrap_or(i64::MAX).into(),
        ];
        parameters.extend(name.map(Value::from));
        let of_name = name.map_or("", |_| "AND name = ?3");
        let statement = format!(
            "SELECT id, time, who, what, connection_id, name, version, outcome, request_id FROM headwater_audit \
             WHERE id < ?1 {of_name} ORDER BY id DESC LIMIT ?2"
        );
        let rows = self.database.query(&statement, &parameters)?;
        rows.iter().map(row).collect()
    }
}

fn row(row: &Row) -> Result<Audited> {
    Ok(Audited {
        id: row.integer(0)?,
        time: timestamp(row.integer(1)?)?,
        who: row.text(2)?,
        what: row.text(3)?,
        connection_id: row.optional_text(4)?,
        name: row.optional_text(5)?,
        version: row.optional_integer(6)?,
        outcome: row.text(7)?,
        request_id: row.optional_text(8)?,
    })
}
