//! Headwater's own tables in a schema: states, and the owners of the streams' tables.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use headwater_core::{
    Error, Kind, Result,
    sink::{SinkState, busy},
};
use postgres::{Client, Row, types::ToSql};

use super::{
    dialect::Postgres,
    server::Server,
    table::{Table, qualified},
    upgrade::add_digests,
};
use crate::relational::{Catalog, Change, Dialect, LedgerRow, quoted};

/// The version of these tables.
const FORMAT: i32 = 1;
const FORMAT_TABLE: &str = "_headwater_format";
const STATE_TABLE: &str = "_headwater_state";
const TABLES_TABLE: &str = "_headwater_tables";
/// The server may take a moment to notice that a run was killed.
const LOCK_WITHIN: Duration = Duration::from_secs(5);
const LOCK_STEP: Duration = Duration::from_millis(50);

/// The part of a schema that is about one connection.
pub(super) struct Ledger {
    pub(super) server: Server,
    pub(super) schema: String,
    /// The connection that the rows and states belong to.
    pub(super) connection: String,
}

impl Ledger {
    /// Takes the lock of the connection, so that a second run is refused before it reads anything. The lock ends with the
    /// client.
    pub(super) fn lock_connection(&self, client: &mut Client) -> Result<()> {
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
            if started.elapsed() >= LOCK_WITHIN {
                let place = format!("PostgreSQL at {}", self.server.place());
                return Err(busy(place, Some(&self.connection)));
            }
            thread::sleep(LOCK_STEP);
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
        let formats = formats.map_err(|error| self.server.failed(error, "read its format"))?;
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

    /// The state as it is now, without taking the lock.
    pub(super) fn peek(&self, client: &mut Client) -> Result<Option<Vec<u8>>> {
        if !self.is_made(client)? {
            return Ok(None);
        }
        let question = format!(
            "SELECT state FROM {} WHERE connection = $1 AND state IS NOT NULL",
            self.table(STATE_TABLE)
        );
        let row = client.query_opt(&question, &[&self.connection]);
        let row = row.map_err(|error| self.server.failed(error, "read the state"))?;
        Ok(row.map(|row| row.get::<_, String>(0).into_bytes()))
    }

    /// Raises the epoch, which ends any earlier run, and reads the state.
    pub(super) fn take_over(&self, client: &mut Client, state: &mut dyn SinkState) -> Result<i64> {
        let statement = format!(
            "INSERT INTO {} AS kept (connection, connector, epoch, written_at) VALUES ($1, $2, 1, now()) \
             ON CONFLICT (connection) DO UPDATE SET epoch = kept.epoch + 1 RETURNING epoch, state",
            self.table(STATE_TABLE)
        );
        let row = client.query_one(&statement, &[&self.connection, &state.connector()]);
        let row = row.map_err(|error| self.server.failed(error, "read the state"))?;
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
        let changed = changed.map_err(|error| self.server.failed(error, "store the state"))?;
        Ok(changed == 1)
    }

    /// Carries out the plan of a table, and remembers the table.
    pub(super) fn apply(&self, client: &mut Client, table: &Table) -> Result<()> {
        let failed = |error| self.server.failed(error, "make its tables");
        let plan = &table.plan;
        match plan.change {
            Change::None => return Ok(()),
            Change::Create => {
                let create = plan.create(&table.qualified);
                client.batch_execute(&create).map_err(failed)?;
            }
            Change::Grow { needs_digest, .. } => {
                let grow = plan.grow(&table.qualified);
                client.batch_execute(&grow).map_err(failed)?;
                if needs_digest {
                    add_digests(client, table).map_err(failed)?;
                }
            }
        }
        let statement = format!(
            "INSERT INTO {} (table_name, connection, stream, key, columns) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (table_name) DO UPDATE SET key = excluded.key, columns = excluded.columns",
            self.table(TABLES_TABLE)
        );
        let values: [&(dyn ToSql + Sync); 5] = [
            &plan.name,
            &self.connection,
            &plan.stream,
            &table.key_json,
            &table.columns_json,
        ];
        client.execute(&statement, &values).map_err(failed)?;
        Ok(())
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
        let row = row.map_err(|error| self.server.failed(error, "look at its tables"))?;
        Ok(row.get(0))
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

/// The tables of a schema.
pub(super) struct SchemaCatalog<'run> {
    pub(super) ledger: &'run Ledger,
    pub(super) client: &'run mut Client,
}

impl SchemaCatalog<'_> {
    fn ask(&mut self, question: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let rows = self.client.query(question, values);
        rows.map_err(|error| self.ledger.server.failed(error, "look at its tables"))
    }
}

impl Catalog for SchemaCatalog<'_> {
    fn dialect(&self) -> &'static dyn Dialect {
        &Postgres
    }

    fn is_taken(&mut self, table: &str) -> Result<bool> {
        Ok(self.ledger.count_relations(self.client, &[table])? > 0)
    }

    fn stored_table(&mut self, table: &str) -> Result<Option<LedgerRow>> {
        let question = format!(
            "SELECT connection, stream, key, columns FROM {} WHERE table_name = $1",
            self.ledger.table(TABLES_TABLE)
        );
        let rows = self.ask(&question, &[&table])?;
        Ok(rows.first().map(|row| LedgerRow {
            connection: row.get(0),
            stream: row.get(1),
            key: row.get(2),
            columns: row.get(3),
        }))
    }

    fn other_tables(&mut self, connection: &str, stream: &str, table: &str) -> Result<Vec<String>> {
        let question = format!(
            "SELECT table_name FROM {} WHERE connection = $1 AND stream = $2 AND table_name <> $3",
            self.ledger.table(TABLES_TABLE)
        );
        let rows = self.ask(&question, &[&connection, &stream, &table])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn is_empty(&mut self, table: &str) -> Result<bool> {
        let question = format!(
            "SELECT NOT EXISTS (SELECT 1 FROM {})",
            self.ledger.table(table)
        );
        let rows = self.ask(&question, &[])?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    /// With their types, since rows in binary form fit no other ones.
    fn columns(&mut self, table: &str) -> Result<BTreeMap<String, Option<String>>> {
        let question = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a \
                        JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                        WHERE n.nspname = $1 AND c.relname::text = $2 AND a.attnum > 0 AND NOT a.attisdropped";
        let rows = self.ask(question, &[&self.ledger.schema, &table])?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}
