//! What headwater keeps in a schema beside the streams' tables: states, and which table belongs to whom.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use headwater_core::{
    Error, Kind, Result,
    sink::{SinkState, busy},
};
use postgres::{Client, types::ToSql};

use super::{
    server::Server,
    table::{Remembered, Table, qualified, quoted},
    upgrade::add_digests,
};

/// The version of these tables.
const FORMAT: i32 = 1;
const FORMAT_TABLE: &str = "_headwater_format";
const STATE_TABLE: &str = "_headwater_state";
const TABLES_TABLE: &str = "_headwater_tables";
/// The server may take a moment to notice that a run was killed.
const TURN_WITHIN: Duration = Duration::from_secs(5);
const TURN_STEP: Duration = Duration::from_millis(50);

/// The part of a schema that is about one connection.
pub(super) struct Ledger {
    pub(super) server: Server,
    pub(super) schema: String,
    /// Whose rows and states these are.
    pub(super) connection: String,
}

/// What is known about a table that was made before.
pub(super) struct KnownTable {
    pub(super) connection: String,
    pub(super) stream: String,
    /// The fields of the key; none where rows are appended.
    pub(super) key: Vec<String>,
    pub(super) columns: Remembered,
}

/// What makes a table, or makes it what its stream needs now.
pub(super) struct Change {
    statement: String,
    /// Whether the key has to be given a digest after that.
    pub(super) is_upgrade: bool,
    pub(super) table: String,
    pub(super) stream: &'static str,
    key: String,
    columns: String,
}

impl Change {
    pub(super) fn new(table: &Table, statement: String) -> Result<Self> {
        let unserialised = |error: serde_json::Error| {
            Error::new(Kind::Unexpected, "the columns do not serialise").caused_by(error)
        };
        Ok(Self {
            statement,
            is_upgrade: false,
            table: table.name.clone(),
            stream: table.stream,
            key: serde_json::to_string(&table.key_fields()).map_err(unserialised)?,
            columns: serde_json::to_string(&table.remember()).map_err(unserialised)?,
        })
    }
}

impl Ledger {
    /// Takes the turn for the connection, so that a second run is told before it reads anything. The turn ends with
    /// the client.
    pub(super) fn take_turn(&self, client: &mut Client) -> Result<()> {
        let key = format!("headwater/{}/{}", self.schema, self.connection);
        let question = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
        let started = Instant::now();
        loop {
            let answer = client.query_one(question, &[&key]);
            if answer
                .map_err(|error| self.server.failed(error, "begin"))?
                .get(0)
            {
                return Ok(());
            }
            if started.elapsed() >= TURN_WITHIN {
                let place = format!("PostgreSQL at {}", self.server.place());
                return Err(busy(place, Some(&self.connection)));
            }
            thread::sleep(TURN_STEP);
        }
    }

    /// Makes the schema and the ledger where they are missing.
    pub(super) fn make(&self, client: &mut Client) -> Result<()> {
        let failed = |error| self.server.failed(error, "make the tables of headwater");
        // Others may be about to do the same.
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        let key = format!("headwater/{}", self.schema);
        client.execute(lock, &[&key]).map_err(failed)?;

        // Asked, since IF NOT EXISTS wants permissions that nothing else needs.
        let question = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
        let schema = client
            .query_opt(question, &[&self.schema])
            .map_err(failed)?;
        if schema.is_none() {
            let statement = format!("CREATE SCHEMA {}", quoted(&self.schema));
            client.batch_execute(&statement).map_err(failed)?;
        }
        if self.is_made(client)? {
            return Ok(());
        }
        let statements = format!(
            "CREATE TABLE {format_table} (format integer NOT NULL); INSERT INTO {format_table} VALUES ({FORMAT}); \
             CREATE TABLE {} (connection text PRIMARY KEY, connector text NOT NULL, epoch bigint NOT NULL, \
             state text, written_at timestamptz NOT NULL); \
             CREATE TABLE {} (table_name text PRIMARY KEY, connection text NOT NULL, stream text NOT NULL, \
             key text NOT NULL, columns text NOT NULL)",
            self.table(STATE_TABLE),
            self.table(TABLES_TABLE),
            format_table = self.table(FORMAT_TABLE),
        );
        client.batch_execute(&statements).map_err(failed)
    }

    /// Whether the ledger is there, and one that this version can read.
    fn is_made(&self, client: &mut Client) -> Result<bool> {
        match self.count_relations(client, &[FORMAT_TABLE, STATE_TABLE, TABLES_TABLE])? {
            0 => Ok(false),
            3 => self.check_format(client).map(|()| true),
            _ => Err(self.invalid(format!(
                "the schema {:?} has tables named _headwater_… that are not headwater's; choose another ?schema=",
                self.schema
            ))),
        }
    }

    fn check_format(&self, client: &mut Client) -> Result<()> {
        let question = format!("SELECT format FROM {}", self.table(FORMAT_TABLE));
        let formats = client.query(&question, &[]);
        let formats = formats.map_err(|error| self.server.failed(error, "tell its format"))?;
        match formats.first().and_then(|row| row.try_get(0).ok()) {
            Some(FORMAT) => Ok(()),
            Some(newer) if newer > FORMAT => Err(self.invalid(format!(
                "the schema {:?} was written by a newer version (format {newer}); use that version",
                self.schema
            ))),
            _ => Err(self.invalid(format!(
                "the table {FORMAT_TABLE} in the schema {:?} holds no format; choose another ?schema=",
                self.schema
            ))),
        }
    }

    /// The state as it is now, without taking the turn.
    pub(super) fn peek(&self, client: &mut Client) -> Result<Option<Vec<u8>>> {
        if !self.is_made(client)? {
            return Ok(None);
        }
        let question = format!(
            "SELECT state FROM {} WHERE connection = $1 AND state IS NOT NULL",
            self.table(STATE_TABLE)
        );
        let row = client.query_opt(&question, &[&self.connection]);
        let row = row.map_err(|error| self.server.failed(error, "tell the state"))?;
        Ok(row.map(|row| row.get::<_, String>(0).into_bytes()))
    }

    /// Raises the epoch, which ends whatever run still believes that it is its turn, and reads the state.
    pub(super) fn take_over(&self, client: &mut Client, state: &mut dyn SinkState) -> Result<i64> {
        let statement = format!(
            "INSERT INTO {} AS kept (connection, connector, epoch, written_at) VALUES ($1, $2, 1, now()) \
             ON CONFLICT (connection) DO UPDATE SET epoch = kept.epoch + 1 RETURNING epoch, state",
            self.table(STATE_TABLE)
        );
        let row = client.query_one(&statement, &[&self.connection, &state.connector()]);
        let row = row.map_err(|error| self.server.failed(error, "tell the state"))?;
        let (epoch, stored): (i64, Option<String>) = (row.get(0), row.get(1));
        if let Some(json) = stored {
            let place = format!(
                "the state of {} in PostgreSQL at {}",
                self.connection,
                self.server.place()
            );
            state.read_json(json.as_bytes(), &place)?;
        }
        Ok(epoch)
    }

    /// Stores the state in the transaction that is under way. False where another run took over.
    pub(super) fn keep(
        &self,
        client: &mut Client,
        epoch: i64,
        state: &dyn SinkState,
    ) -> Result<bool> {
        let statement = format!(
            "UPDATE {} SET connector = $1, state = $2, written_at = now() WHERE connection = $3 AND epoch = $4",
            self.table(STATE_TABLE)
        );
        let json = state.to_json()?;
        let json = String::from_utf8_lossy(&json);
        let values: [&(dyn ToSql + Sync); 4] =
            [&state.connector(), &json, &self.connection, &epoch];
        let changed = client.execute(&statement, &values);
        let changed = changed.map_err(|error| self.server.failed(error, "keep the state"))?;
        Ok(changed == 1)
    }

    /// What is known about a table.
    pub(super) fn known_table(
        &self,
        client: &mut Client,
        name: &str,
    ) -> Result<Option<KnownTable>> {
        let question = format!(
            "SELECT connection, stream, key, columns FROM {} WHERE table_name = $1",
            self.table(TABLES_TABLE)
        );
        let row = client.query_opt(&question, &[&name]);
        let Some(row) = row.map_err(|error| self.server.failed(error, "tell its tables"))? else {
            return Ok(None);
        };
        let (key, columns): (String, String) = (row.get(2), row.get(3));
        let (Ok(key), Ok(columns)) = (serde_json::from_str(&key), serde_json::from_str(&columns))
        else {
            return Err(self.invalid(format!(
                "what {TABLES_TABLE} says about the table {name:?} is damaged; restore it, or choose a ?prefix="
            )));
        };
        Ok(Some(KnownTable {
            connection: row.get(0),
            stream: row.get(1),
            key,
            columns,
        }))
    }

    /// Makes or changes a table, and remembers it.
    pub(super) fn apply(
        &self,
        client: &mut Client,
        change: &Change,
        table: Option<&Table>,
    ) -> Result<()> {
        let failed = |error| self.server.failed(error, "make its tables");
        client.batch_execute(&change.statement).map_err(failed)?;
        if let Some(table) = table.filter(|_| change.is_upgrade) {
            add_digests(client, table).map_err(failed)?;
        }
        let statement = format!(
            "INSERT INTO {} (table_name, connection, stream, key, columns) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (table_name) DO UPDATE SET key = excluded.key, columns = excluded.columns",
            self.table(TABLES_TABLE)
        );
        let values: [&(dyn ToSql + Sync); 5] = [
            &change.table,
            &self.connection,
            &change.stream,
            &change.key,
            &change.columns,
        ];
        client.execute(&statement, &values).map_err(failed)?;
        Ok(())
    }

    /// Whether a name is taken in the schema, by whatever.
    pub(super) fn is_taken(&self, client: &mut Client, name: &str) -> Result<bool> {
        Ok(self.count_relations(client, &[name])? > 0)
    }

    /// Whether a table has no rows.
    pub(super) fn is_empty(&self, client: &mut Client, table: &str) -> Result<bool> {
        let question = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", self.table(table));
        let row = client.query_one(&question, &[]);
        Ok(row
            .map_err(|error| self.server.failed(error, "look at its tables"))?
            .get(0))
    }

    /// What `headwater state` takes for the connection, without a password.
    pub(super) fn place(&self) -> String {
        format!(
            "postgres://{} --connection {}",
            self.server.place(),
            self.connection
        )
    }

    fn count_relations(&self, client: &mut Client, names: &[&str]) -> Result<i64> {
        let question = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                        WHERE n.nspname = $1 AND c.relname::text = ANY($2)";
        let row = client.query_one(question, &[&self.schema, &names]);
        let row = row.map_err(|error| self.server.failed(error, "tell its tables"))?;
        Ok(row.get(0))
    }

    /// The columns of a table: names and types.
    pub(super) fn columns(
        &self,
        client: &mut Client,
        table: &str,
    ) -> Result<BTreeMap<String, String>> {
        let question = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a \
                        JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                        WHERE n.nspname = $1 AND c.relname::text = $2 AND a.attnum > 0 AND NOT a.attisdropped";
        let rows = client.query(question, &[&self.schema, &table]);
        let rows = rows.map_err(|error| self.server.failed(error, "tell its columns"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    fn table(&self, name: &str) -> String {
        qualified(&self.schema, name)
    }

    /// An error about this database.
    pub(super) fn invalid(&self, text: String) -> Error {
        let place = self.server.place();
        Error::new(
            Kind::ConfigInvalid,
            format!("PostgreSQL at {place}: {text}"),
        )
    }
}
