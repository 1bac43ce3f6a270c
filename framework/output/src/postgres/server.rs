//! The server that tables are in.

use std::time::Duration;

use headwater_core::{Error, Kind, Result, Secret};
use headwater_postgres::Usage;
use postgres::Client;

/// How long sent data may stay without an answer of the other machine.
const SILENCE: Duration = Duration::from_secs(60);
/// The server forgets a client that is gone, so that the next run gets its turn. Rows are looked up one by one through
/// the index of their key, since statistics of a table that fills are outdated. Only `pg_catalog` is searched for names.
const SETTINGS: &str = "SET statement_timeout = '300s'; SET lock_timeout = '30s'; SET search_path = pg_catalog; \
                        SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; \
                        SET tcp_keepalives_count = 3; SET tcp_user_timeout = '60s'; \
                        SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
                        SET client_min_messages = warning";
/// The oldest version that knows all of these settings.
const OLDEST: i32 = 120_000;

/// A database that can be connected to.
pub(super) struct Server {
    server: headwater_postgres::Server,
    /// Host and database, for people.
    place: String,
}

impl Server {
    /// Reads a URL. Connects to nothing. `place` is host and database, for people.
    pub(super) fn parse(url: &Secret, place: &str) -> Result<Self> {
        let usage = Usage {
            url_name: "the destination",
            subject: format!("PostgreSQL at {place}"),
            silence: SILENCE,
            // Applied once the version is known.
            settings: "",
            after_loss: "run again to continue from the last commit",
        };
        Ok(Self {
            server: headwater_postgres::Server::parse(url, usage)?,
            place: place.to_owned(),
        })
    }

    /// Host and database, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Connects, and refuses a server that cannot keep what records may hold.
    pub(super) fn connect(&self) -> Result<Client> {
        let mut client = self.server.connect()?;
        let failed = |error| self.failed(error, "begin");
        let question = "SELECT pg_catalog.current_setting('server_version_num')::int, \
                        pg_catalog.current_setting('server_encoding')";
        let row = client.query_one(question, &[]).map_err(failed)?;
        let (version, encoding): (i32, String) = (row.get(0), row.get(1));
        if version < OLDEST {
            let text = format!(
                "PostgreSQL at {} is older than version 12; use a newer server",
                self.place
            );
            return Err(Error::new(Kind::Unsupported, text));
        }
        if encoding != "UTF8" {
            let text = format!(
                "the database of PostgreSQL at {} is kept in {encoding}, which cannot hold every text; make one with \
                 the encoding UTF8",
                self.place
            );
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        client.batch_execute(SETTINGS).map_err(failed)?;
        Ok(client)
    }

    /// The error of a statement; `doing` says what it was for.
    pub(super) fn failed(&self, error: postgres::Error, doing: &str) -> Error {
        self.server.failed(error, doing)
    }
}
