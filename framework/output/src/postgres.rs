//! A table per stream in a PostgreSQL database, with the position in a table of its own.
//!
//! Rows and position are committed in one transaction, so that each record takes effect once, whatever happens to the
//! run, the connection or the server.
//!
//! | field | column | does not fit, and goes to `_overflow` |
//! | --- | --- | --- |
//! | text | `text` | `\u0000` and half surrogate pairs, which PostgreSQL's texts cannot hold |
//! | whole number | `bigint` | more than 64 bits, and `1.0` or `1e5`, which would be written anew |
//! | number | `numeric`, with its digits and decimals | more digits than a numeric has; `-0` |
//! | truth value | `boolean` | |
//! | moment | `timestamptz`: the moment, without its offset | no RFC 3339, leap seconds, parts of a microsecond |
//! | anything else | `json`, its text as sent; `text` in a key | text that is not JSON, or more than 1,000 levels deep |
//!
//! `_record` has the whole record as it was sent, with all of its fields. It is `text`, not `json`, since the
//! server would refuse a record for one value that it cannot hold.
//!
//! A page's new rows go into the table by COPY; rows whose key is there already replace the earlier ones. A record without
//! its whole key is one more row each time it comes. A part of a key is at most 2,600 bytes long (less where there are
//! several); a longer one overflows, and the record counts as one without its key.
//!
//! A connection to the server is never opened anew within a run: the next run finds out whether the last transaction was
//! committed.

mod dialect;
mod fates;
mod ledger;
mod rows;
mod server;
mod table;
mod upgrade;
mod value;

#[cfg(test)]
pub(crate) use dialect::Postgres;

use std::{collections::BTreeMap, fmt, thread};

use ::postgres::Client;
use headwater_core::{
    Error, Kind, Result, Secret, StreamSpec,
    sink::{Deletes, Delivery, Sink, SinkState, UnseenRows, WriteCounts},
};

use self::{
    dialect::MAX_NAME,
    ledger::{Ledger, SchemaCatalog},
    rows::{Rows, Statements},
    server::Server,
    table::Table,
};
use crate::{
    destination::TableOptions,
    relational::{self, Owner},
};

/// Where tables go without `?schema=`.
const DEFAULT_SCHEMA: &str = "public";
/// Rows are handed over when they are this many bytes, or when their page ends.
const BUFFER: usize = 1 << 20;

/// A table per stream in a PostgreSQL database.
///
/// The client has a runtime of its own inside, so that a sink must not be called from within another one.
pub struct PostgresSink {
    ledger: Ledger,
    options: TableOptions,
    session: Option<Session>,
    tables: BTreeMap<&'static str, Prepared>,
    /// Whether the database has the tables as they are planned.
    are_tables_made: bool,
    is_in_transaction: bool,
    /// A write failed half way: the rows since the last commit are not whole.
    is_broken: bool,
}

/// A connection to the server that holds the lock of a run.
struct Session {
    client: Client,
    /// Counts the runs of the connection. Only the last one commits.
    epoch: i64,
}

struct Prepared {
    table: Table,
    /// The mark of the pass under way.
    mark: Option<i64>,
    statements: Option<Statements>,
}

impl PostgresSink {
    /// Uses the database at a URL for one connection; nothing is connected yet. `place` names host and database to
    /// people. Without a schema, tables are in `public`.
    ///
    /// # Errors
    ///
    /// Fails if the URL cannot be read, or if PostgreSQL cannot hold the name of the schema or the connection.
    pub fn new(
        url: &Secret,
        place: &str,
        connection: &str,
        schema: Option<&str>,
        options: &TableOptions,
    ) -> Result<Self> {
        let schema = schema.unwrap_or(DEFAULT_SCHEMA);
        if schema.is_empty() || schema.len() > MAX_NAME || schema.contains('\0') {
            let text = format!("the name of a schema has 1 to {MAX_NAME} bytes; change ?schema=");
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        if connection.contains('\0') {
            let text = "PostgreSQL cannot hold the name of this connection; give it another one";
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        Ok(Self {
            ledger: Ledger {
                server: Server::parse(url, place)?,
                schema: schema.to_owned(),
                connection: connection.to_owned(),
            },
            options: options.clone(),
            session: None,
            tables: BTreeMap::new(),
            are_tables_made: false,
            is_in_transaction: false,
            is_broken: false,
        })
    }

    /// Plans the tables of a run.
    fn plan(
        &self,
        client: &mut Client,
        streams: &[StreamSpec],
        state: &dyn SinkState,
    ) -> Result<BTreeMap<&'static str, Prepared>> {
        let ledger = &self.ledger;
        let owner = Owner {
            connection: &ledger.connection,
            subject: &format!("PostgreSQL at {}", ledger.server.place()),
            place: &ledger.place(),
            options: &self.options,
        };
        let mut catalog = SchemaCatalog { ledger, client };
        let plans = relational::plan(&mut catalog, &owner, streams, state)?.into_iter();
        let prepared = plans.map(|plan| {
            let prepared = Prepared {
                table: Table::new(&ledger.schema, plan)?,
                mark: None,
                statements: None,
            };
            Ok((prepared.table.plan.stream, prepared))
        });
        prepared.collect()
    }

    /// Begins a transaction unless there is one. The first one makes the tables what they have to be.
    fn begin(&mut self) -> Result<()> {
        if self.is_in_transaction {
            return Ok(());
        }
        let client = &mut self.session.as_mut().ok_or_else(not_loaded)?.client;
        let begun = client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED");
        begun.map_err(|error| self.ledger.server.failed(error, "begin"))?;
        self.is_in_transaction = true;
        if !self.are_tables_made {
            for prepared in self.tables.values() {
                self.ledger.apply(client, &prepared.table)?;
            }
            self.are_tables_made = true;
        }
        Ok(())
    }

    fn write_page(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        let mut written = WriteCounts::default();
        let mut rows = Rows::default();
        for record in records {
            let prepared = self.tables.get(stream).ok_or_else(|| unannounced(stream))?;
            rows.push(&prepared.table, prepared.mark, record)?;
            if rows.size() >= BUFFER {
                self.store(stream, &mut rows, &mut written)?;
            }
        }
        if !rows.is_empty() {
            self.store(stream, &mut rows, &mut written)?;
        }
        Ok(written)
    }

    fn store(&mut self, stream: &str, rows: &mut Rows, written: &mut WriteCounts) -> Result<()> {
        self.begin()?;
        let failed = |error| self.ledger.server.failed(error, "store rows");
        let client = &mut self.session.as_mut().ok_or_else(not_loaded)?.client;
        let prepared = self.tables.get_mut(stream);
        let prepared = prepared.ok_or_else(|| unannounced(stream))?;
        let Prepared {
            table,
            mark,
            statements,
        } = prepared;
        let statements = match statements {
            Some(statements) => statements,
            missing => missing.insert(Statements::prepare(client, table).map_err(failed)?),
        };
        rows.store(client, table, *mark, statements, written)
            .map_err(failed)
    }

    /// Deals with the rows that the pass did not see.
    fn sweep(&mut self, stream: &str) -> Result<Option<UnseenRows>> {
        self.begin()?;
        let failed = |error| {
            self.ledger
                .server
                .failed(error, "look for rows that were not seen")
        };
        let client = &mut self.session.as_mut().ok_or_else(not_loaded)?.client;
        let Prepared { table, mark, .. } =
            self.tables.get(stream).ok_or_else(|| unannounced(stream))?;
        let plan = &table.plan;
        let Some(mark) = mark.filter(|_| plan.is_keyed()) else {
            return Ok(None);
        };
        if let Some([drop, promote]) = plan.drop_outdated(&table.qualified) {
            client.execute(&drop, &[&mark]).map_err(failed)?;
            client.execute(&promote, &[]).map_err(failed)?;
        }
        let sweep = plan.sweep(&table.qualified);
        let rows = if plan.deletes == Deletes::Keep {
            let row = client.query_one(&sweep, &[&mark]).map_err(failed)?;
            u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)
        } else {
            client.execute(&sweep, &[&mark]).map_err(failed)?
        };
        Ok(Some(UnseenRows {
            rows,
            deletes: plan.deletes,
        }))
    }

    fn commit_with(&mut self, state: &dyn SinkState) -> Result<()> {
        self.begin()?;
        let failed = |error| self.ledger.server.failed(error, "commit");
        let Session { client, epoch } = self.session.as_mut().ok_or_else(not_loaded)?;
        if !self.ledger.keep(client, *epoch, state)? {
            client.batch_execute("ROLLBACK").map_err(failed)?;
            let text = format!(
                "another run of {} took over, so that this one commits no more",
                self.ledger.connection
            );
            return Err(Error::new(Kind::OutputFailed, text));
        }
        client.batch_execute("COMMIT").map_err(failed)?;
        self.is_in_transaction = false;
        Ok(())
    }

    fn check_whole(&self) -> Result<()> {
        if !self.is_broken {
            return Ok(());
        }
        let text = "writing to PostgreSQL failed before, so that nothing more is committed; run again to go on from the \
                    last commit";
        Err(Error::new(Kind::OutputFailed, text))
    }
}

impl Sink for PostgresSink {
    fn delivery(&self) -> Delivery {
        Delivery::Together
    }

    fn peek(&mut self) -> Result<Option<Vec<u8>>> {
        let mut client = self.ledger.server.connect()?;
        self.ledger.peek(&mut client)
    }

    fn load(&mut self, state: &mut dyn SinkState) -> Result<bool> {
        let failed = |error| self.ledger.server.failed(error, "begin");
        let mut client = self.ledger.server.connect()?;
        self.ledger.lock_connection(&mut client)?;
        // A refusal from here on leaves no trace: the transaction ends with the client.
        let begun = client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED");
        begun.map_err(failed)?;
        self.ledger.make(&mut client)?;
        let epoch = self.ledger.take_over(&mut client, state)?;
        client.batch_execute("COMMIT").map_err(failed)?;
        self.session = Some(Session { client, epoch });
        Ok(true)
    }

    fn restore(&mut self, streams: &[StreamSpec], state: &dyn SinkState) -> Result<()> {
        let mut session = self.session.take().ok_or_else(not_loaded)?;
        let planned = self.plan(&mut session.client, streams, state);
        self.session = Some(session);
        self.tables = planned?;
        self.are_tables_made = false;
        Ok(())
    }

    fn begin_pass(&mut self, stream: &str, mark: u64) -> Result<()> {
        let prepared = self.tables.get_mut(stream);
        prepared.ok_or_else(|| unannounced(stream))?.mark = i64::try_from(mark).ok();
        Ok(())
    }

    fn end_pass(&mut self, stream: &str) -> Result<Option<UnseenRows>> {
        self.check_whole()?;
        let swept = self.sweep(stream);
        self.is_broken = swept.is_err();
        swept.map_err(of_output)
    }

    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        self.check_whole()?;
        let written = self.write_page(stream, records);
        self.is_broken = written.is_err();
        written.map_err(of_output)
    }

    fn commit(&mut self, state: &mut dyn SinkState) -> Result<()> {
        self.check_whole()?;
        let committed = self.commit_with(state);
        self.is_broken = committed.is_err();
        committed.map_err(of_output)
    }
}

impl Drop for PostgresSink {
    /// Where a runtime is at work the client's own cannot end, so that it ends on a thread of its own.
    fn drop(&mut self) {
        let session = self.session.take();
        let _ = thread::spawn(move || drop(session)).join();
    }
}

impl fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresSink({})", self.ledger.server.place())
    }
}

/// Every failure to write records is one of the sink: a host must not blame a stream for it.
fn of_output(error: Error) -> Error {
    if matches!(
        error.kind(),
        Kind::OutputFailed | Kind::DataInvalid | Kind::Unexpected
    ) {
        return error;
    }
    Error::new(Kind::OutputFailed, error.message())
}

fn not_loaded() -> Error {
    Error::new(
        Kind::Unexpected,
        "the PostgreSQL sink is used before it was loaded",
    )
}

fn unannounced(stream: &str) -> Error {
    Error::new(
        Kind::Unexpected,
        format!("the stream {stream} was not announced to the PostgreSQL sink"),
    )
}
