//! The way to a server, and what it says when something goes wrong, in sentences.

use std::{error::Error as _, time::Duration};

use headwater_core::{Error, Kind, Result, Secret};
use postgres::{
    Client, Config, NoTls,
    config::{Host, SslMode},
    error::DbError,
};
use tokio_postgres_rustls::MakeRustlsConnect;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long sent data may stay without an answer of the other machine.
const SILENCE: Duration = Duration::from_secs(60);
/// The server forgets a client that is gone, so that the next run gets its turn. Rows are looked up one by one through
/// the index of their key: how many there are is not known while a table fills. Names are taken from nowhere else.
const SETTINGS: &str = "SET statement_timeout = '300s'; SET lock_timeout = '30s'; SET search_path = pg_catalog; \
                        SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; \
                        SET tcp_keepalives_count = 3; SET tcp_user_timeout = '60s'; \
                        SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
                        SET client_min_messages = warning";
/// The oldest version that knows all of these settings.
const OLDEST: i32 = 120_000;

/// A database that can be connected to.
pub(super) struct Server {
    config: Config,
    /// Host and database, for people.
    place: String,
}

impl Server {
    /// Reads a URL. Nothing is connected. `place` is host and database, for people.
    pub(super) fn parse(url: &Secret, place: &str) -> Result<Self> {
        let url = url.expose();
        // The driver takes the first `@` for the end of the password; it may well be a part of it.
        let url = match url.rsplit_once('@') {
            Some((user, rest)) => format!("{}@{rest}", user.replace('@', "%40")),
            None => url.to_owned(),
        };
        // Certificates are always checked in full; the driver knows one word for it.
        let verified = ["sslmode=verify-full", "sslmode=verify-ca"];
        let verified = verified.iter().find_map(|mode| url.strip_suffix(mode));
        let url = verified.map_or(url.clone(), |url| format!("{url}sslmode=require"));
        // The driver's own complaint would show parts of the URL.
        let mut config: Config = url.parse().map_err(|_| {
            let text = "the destination is not a PostgreSQL URL; write \
                        postgres://USER:PASSWORD@HOST/DATABASE, with %XX for special characters in the password, and \
                        sslmode as disable, require or verify-full";
            Error::new(Kind::ConfigInvalid, text)
        })?;
        if config.get_hosts().is_empty() {
            let text = "the PostgreSQL URL names no host; write postgres://USER@HOST/DATABASE";
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        config
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(SILENCE)
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3)
            .application_name("headwater");
        // Records leave this machine in clear only where the URL says so.
        let is_local = config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => ["localhost", "127.0.0.1", "::1"].contains(&name.as_str()),
            Host::Unix(_) => true,
        });
        if config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(if is_local {
                SslMode::Disable
            } else {
                SslMode::Require
            });
        }
        Ok(Self {
            config,
            place: place.to_owned(),
        })
    }

    /// Host and database, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Connects, and refuses a server that cannot keep what records may hold.
    pub(super) fn connect(&self) -> Result<Client> {
        let connected = if self.config.get_ssl_mode() == SslMode::Disable {
            self.config.connect(NoTls)
        } else {
            // Fails only when a provider is there already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let (tls, _) = MakeRustlsConnect::with_native_certs().map_err(|_| {
                let text = "this machine has no certificates to check those of PostgreSQL with; install \
                            ca-certificates, or name a file of them in SSL_CERT_FILE";
                Error::new(Kind::ConfigInvalid, text)
            })?;
            self.config.connect(tls)
        };
        let mut client = connected.map_err(|error| self.unreachable(error))?;
        let failed = |error| self.failed(error, "begin");
        let question = "SELECT pg_catalog.current_setting('server_version_num')::int, \
                        pg_catalog.current_setting('server_encoding')";
        let about = client.query_one(question, &[]).map_err(failed)?;
        let (version, encoding): (i32, String) = (about.get(0), about.get(1));
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

    /// Why there is no connection.
    fn unreachable(&self, error: postgres::Error) -> Error {
        let place = &self.place;
        if error.as_db_error().is_some() {
            return self.failed(error, "connect");
        }
        let cause = error
            .source()
            .map_or(String::new(), |cause| format!(": {cause}"));
        let said = format!("{error}{cause}");
        let (kind, text) = if said.contains("server does not support TLS") {
            (
                Kind::ConfigInvalid,
                format!(
                    "PostgreSQL at {place} offers no TLS; add sslmode=disable to the URL if records and password may \
                     travel in clear"
                ),
            )
        } else if said.contains("TLS") {
            (
                Kind::ConfigInvalid,
                format!(
                    "the certificate of PostgreSQL at {place} is not trusted; name a file with its authority in \
                     SSL_CERT_FILE"
                ),
            )
        } else if said.contains("password missing") {
            (
                Kind::Unauthenticated,
                format!("PostgreSQL at {place} asks for a password; write it into the URL"),
            )
        } else {
            (
                Kind::Unavailable,
                format!("PostgreSQL at {place} cannot be reached{cause}"),
            )
        };
        Error::new(kind, text).caused_by(error)
    }

    /// What went wrong while doing something, said without the server's details, which may show values.
    pub(super) fn failed(&self, error: postgres::Error, doing: &str) -> Error {
        let (kind, text) = match error.as_db_error() {
            Some(said) => self.sentence(said, doing),
            None => (
                Kind::OutputFailed,
                format!(
                    "the connection to PostgreSQL at {} was lost; run again to go on from the last commit",
                    self.place
                ),
            ),
        };
        Error::new(kind, text)
    }

    fn sentence(&self, said: &DbError, doing: &str) -> (Kind, String) {
        let place = &self.place;
        // Names tables, users and hosts, never a value, for the codes where it is shown.
        let message = said.message();
        match said.code().code() {
            "28P01" => (
                Kind::Unauthenticated,
                format!(
                    "PostgreSQL at {place} does not accept this user and password; check the URL"
                ),
            ),
            "28000" if message.contains("no encryption") || message.contains("SSL off") => (
                Kind::ConfigInvalid,
                format!(
                    "PostgreSQL at {place} asks for TLS, or for another host or user; add sslmode=require to the URL"
                ),
            ),
            "28000" => (
                Kind::Unauthenticated,
                format!(
                    "PostgreSQL at {place} does not let this user in; check user, database and pg_hba.conf"
                ),
            ),
            "3D000" => (
                Kind::NotFound,
                format!(
                    "there is no such database in PostgreSQL at {place}; create it, or name another one"
                ),
            ),
            "42501" => (
                Kind::PermissionDenied,
                format!("PostgreSQL at {place} says {message}; grant it to the user of the URL"),
            ),
            "25006" => (
                Kind::ConfigInvalid,
                format!(
                    "PostgreSQL at {place} takes no writes, it is a standby or set to read only; name the primary server"
                ),
            ),
            "53100" => (
                Kind::OutputFailed,
                format!("the disk of PostgreSQL at {place} is full; make room and run again"),
            ),
            "53300" => (
                Kind::Unavailable,
                format!(
                    "PostgreSQL at {place} has no connection left; try again later, or raise max_connections"
                ),
            ),
            "55P03" => (
                Kind::OutputFailed,
                format!(
                    "somebody else has locked a table of PostgreSQL at {place}; run again when they are done"
                ),
            ),
            "57014" => (
                Kind::OutputFailed,
                format!(
                    "PostgreSQL at {place} took too long to {doing}; run again when it has less to do"
                ),
            ),
            "57P01" | "57P02" | "57P03" | "08006" => (
                Kind::OutputFailed,
                format!(
                    "PostgreSQL at {place} ended the connection; run again to go on from the last commit"
                ),
            ),
            "42703" | "42804" => (
                Kind::ConfigInvalid,
                format!(
                    "a table of PostgreSQL at {place} is not as it was made: {message}; choose another ?schema="
                ),
            ),
            // Data exceptions show data.
            code if code.starts_with("22") || code.starts_with("23") => (
                Kind::OutputFailed,
                format!(
                    "PostgreSQL at {place} refused to {doing}: {} (SQLSTATE {code})",
                    class(code)
                ),
            ),
            code => (
                Kind::OutputFailed,
                format!("PostgreSQL at {place} refused to {doing}: {message} (SQLSTATE {code})"),
            ),
        }
    }
}

fn class(code: &str) -> &'static str {
    match code {
        "23505" => "the key is there already, since somebody else writes to the table",
        code if code.starts_with("23") => {
            "a constraint that somebody added to the table forbids it"
        }
        _ => "a value is not what the column takes",
    }
}
