//! A store in PostgreSQL.
//!
//! The client has a runtime of its own inside and must not be called from within another one, so it runs on a thread of
//! its own: a store can be used wherever blocking is allowed.

use std::{sync::mpsc, thread, time::Duration};

use headwater_core::{Error, Kind, Result, Secret};
use postgres::{
    Client, Config, NoTls,
    config::{Host, SslMode},
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::database::{Database, Row, Value};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long sent data may stay unacknowledged by the server: half of a lease, so that a run whose server has vanished
/// can try once more.
const SILENCE: Duration = Duration::from_secs(30);
/// No statement of a store takes a second; the limits leave time for a busy server.
const SETTINGS: &str = "SET statement_timeout = '60s'; SET lock_timeout = '30s'; \
                        SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = warning";
/// Any fixed number: a process that creates or upgrades the tables holds this lock.
const SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(7163012895644071)";

pub(crate) struct Postgres {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    statement: String,
    parameters: Vec<Value>,
    answer: mpsc::Sender<Result<Answer>>,
}

struct Answer {
    rows: Vec<Row>,
    changed: u64,
}

impl Postgres {
    /// Connects to the database at a URL.
    pub(crate) fn open(url: &Secret) -> Result<Self> {
        let config = config(url)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        let (opened, is_open) = mpsc::channel();
        thread::spawn(move || {
            let mut client = match connect(&config) {
                Ok(client) => client,
                Err(error) => return drop(opened.send(Err(error))),
            };
            if opened.send(Ok(())).is_err() {
                return;
            }
            let mut is_in_transaction = false;
            for job in queue {
                // Connects to a restarted server again, but not in the middle of a transaction.
                let is_free = !is_in_transaction;
                let answered = match is_free && client.is_closed() {
                    true => answer_anew(&mut client, &config, &job),
                    false => match answer(&mut client, &job) {
                        // The restart shows only now. Repeats a statement that changes nothing.
                        Err(_)
                            if is_free && client.is_closed() && changes_nothing(&job.statement) =>
                        {
                            answer_anew(&mut client, &config, &job)
                        }
                        answered => answered,
                    },
                };
                is_in_transaction = match job.statement.as_str() {
                    "BEGIN" => answered.is_ok(),
                    "COMMIT" | "ROLLBACK" => false,
                    _ => is_in_transaction,
                };
                // A dropped store does not wait for the answer.
                let _ = job.answer.send(answered);
            }
        });
        is_open.recv().map_err(|_| ended())??;
        Ok(Self { jobs })
    }

    fn send(&self, statement: &str, parameters: &[Value]) -> Result<Answer> {
        let (answer, answered) = mpsc::channel();
        let job = Job {
            statement: statement.to_owned(),
            parameters: parameters.to_vec(),
            answer,
        };
        self.jobs.send(job).map_err(|_| ended())?;
        answered.recv().map_err(|_| ended())?
    }
}

fn changes_nothing(statement: &str) -> bool {
    statement == "BEGIN" || statement.starts_with("SELECT")
}

fn ended() -> Error {
    Error::new(Kind::Unexpected, "the thread of the store has ended")
}

/// The config of a URL, without the defaults of the client. Errors do not show the URL: it may contain a password.
fn config(url: &Secret) -> Result<Config> {
    let mut config: Config = url.expose().parse().map_err(|_| {
        let text =
            "the store's address is not a PostgreSQL URL; write postgres://USER@HOST/DATABASE";
        Error::new(Kind::ConfigInvalid, text)
    })?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    config
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .application_name("headwater");
    // Sealed or not, no data of a store travels in clear unless the URL allows it or the server is on this machine.
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
    Ok(config)
}

fn connect(config: &Config) -> Result<Client> {
    let connected = if config.get_ssl_mode() == SslMode::Disable {
        config.connect(NoTls)
    } else {
        // Fails only if a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (tls, _) = MakeRustlsConnect::with_native_certs().map_err(|_| {
            let text =
                "the store requires TLS, but this machine has no certificates to verify the server";
            Error::new(Kind::ConfigInvalid, text)
        })?;
        config.connect(tls)
    };
    let mut client = connected.map_err(|error| failed(error, "cannot be opened"))?;
    client
        .batch_execute(SETTINGS)
        .map_err(|error| failed(error, "cannot be opened"))?;
    Ok(client)
}

fn answer_anew(client: &mut Client, config: &Config, job: &Job) -> Result<Answer> {
    *client = connect(config)?;
    answer(client, job)
}

fn answer(client: &mut Client, job: &Job) -> Result<Answer> {
    let refused = |error| failed(error, "refused a statement");
    let statement = job.statement.replace('?', "$");
    let prepared = client.prepare(&statement).map_err(refused)?;
    let parameters: Vec<&(dyn ToSql + Sync)> = job
        .parameters
        .iter()
        .zip(prepared.params())
        .map(parameter)
        .collect();
    if prepared.columns().is_empty() {
        let changed = client.execute(&prepared, &parameters).map_err(refused)?;
        return Ok(Answer {
            rows: Vec::new(),
            changed,
        });
    }
    let rows = client.query(&prepared, &parameters).map_err(refused)?;
    let rows: Vec<Row> = rows.iter().map(row).collect();
    let changed = rows.len() as u64;
    Ok(Answer { rows, changed })
}

fn parameter<'v>((value, column): (&'v Value, &Type)) -> &'v (dyn ToSql + Sync) {
    match value {
        Value::Null if *column == Type::INT8 => &None::<i64>,
        Value::Null => &None::<String>,
        Value::Integer(number) => number,
        Value::Text(text) => text,
    }
}

/// A store writes only texts and whole numbers; the reader of the row refuses any other value.
fn row(row: &postgres::Row) -> Row {
    let value = |(index, column): (usize, &postgres::Column)| match *column.type_() {
        Type::INT8 => row.try_get(index).ok().flatten().map(Value::Integer),
        Type::TEXT => row.try_get(index).ok().flatten().map(Value::Text),
        _ => None,
    };
    let values = row.columns().iter().enumerate().map(value);
    Row(values.map(|value| value.unwrap_or(Value::Null)).collect())
}

/// The error of the server without its details, which may contain values.
fn failed(error: postgres::Error, what: &str) -> Error {
    let Some(refusal) = error.as_db_error() else {
        // A failed connection, for example a certificate; its text never contains parts of the URL.
        let text = format!("the store in PostgreSQL {what}: {error}");
        return Error::new(Kind::Unavailable, text).caused_by(error);
    };
    let kind = match refusal.code().code().get(..2) {
        Some("28") => Kind::Unauthenticated,
        Some("3D") => Kind::NotFound,
        Some("40" | "55" | "57") => Kind::Unavailable,
        Some("53") => Kind::OutputFailed,
        _ if refusal.code().code() == "42501" => Kind::PermissionDenied,
        _ => Kind::Unexpected,
    };
    Error::new(
        kind,
        format!("the store in PostgreSQL {what}: {}", refusal.message()),
    )
}

impl Database for Postgres {
    fn query(&mut self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        self.send(statement, parameters).map(|answer| answer.rows)
    }

    fn execute(&mut self, statement: &str, parameters: &[Value]) -> Result<u64> {
        self.send(statement, parameters)
            .map(|answer| answer.changed)
    }

    fn begin(&mut self) -> Result<()> {
        self.send("BEGIN", &[]).map(drop)
    }

    fn begin_alone(&mut self) -> Result<()> {
        self.begin()?;
        self.send(SCHEMA_LOCK, &[]).map(drop)
    }

    fn now(&mut self) -> Result<i64> {
        let statement = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
        let rows = self.query(statement, &[])?;
        rows.first()
            .map_or_else(|| Err(ended()), |row| row.integer(0))
    }

    fn tables(&mut self) -> Result<Vec<String>> {
        let statement =
            "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()";
        let rows = self.query(statement, &[])?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    fn is_shared(&self) -> bool {
        true
    }

    /// The server manages its own files.
    fn forget_deleted(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_vanished_is_given_up_before_a_lease_runs_out() {
        let url = "postgres://me@db.example/store";
        let given_up = |url: &str| {
            *config(&Secret::new(url))
                .unwrap()
                .get_tcp_user_timeout()
                .unwrap()
        };
        assert!(given_up(url) * 2 <= crate::runs::Run::LEASE);
        assert_eq!(
            given_up(&format!("{url}?tcp_user_timeout=5")),
            Duration::from_secs(5)
        );
        let config = config(&Secret::new(url)).unwrap();
        let tries = config.get_keepalives_retries().unwrap();
        let silence =
            config.get_keepalives_idle() + config.get_keepalives_interval().unwrap() * tries;
        assert!(config.get_keepalives() && silence <= SILENCE);
    }
}
