//! A store in PostgreSQL.
//!
//! The client has a runtime of its own inside and must not be called from within another one, so it runs on a thread of
//! its own: a store can be used wherever blocking is allowed.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use headwater_core::{Error, Kind, Result, Secret};
use headwater_postgres::{Server, Usage};
use postgres::{
    Client,
    types::{ToSql, Type},
};

use crate::database::{Column, Database, Row, Value};

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
        let server = server(url)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        let (opened, is_open) = mpsc::channel();
        thread::spawn(move || {
            let mut client = match server.connect() {
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
                    true => answer_anew(&mut client, &server, &job),
                    false => match answer(&mut client, &server, &job) {
                        // The restart shows only now. Repeats a statement that changes nothing.
                        Err(_)
                            if is_free && client.is_closed() && changes_nothing(&job.statement) =>
                        {
                            answer_anew(&mut client, &server, &job)
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

fn server(url: &Secret) -> Result<Server> {
    let usage = Usage {
        url_name: "the store's address",
        subject: "the store in PostgreSQL".to_owned(),
        silence: SILENCE,
        settings: SETTINGS,
        after_loss: "try again",
    };
    Server::parse(url, usage)
}

fn answer_anew(client: &mut Client, server: &Server, job: &Job) -> Result<Answer> {
    *client = server.connect()?;
    answer(client, server, job)
}

fn answer(client: &mut Client, server: &Server, job: &Job) -> Result<Answer> {
    let refused = |error| server.failed(error, "carry out a statement");
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
    let labels = prepared.columns().iter();
    let labels: Arc<[String]> = labels.map(|column| column.name().to_owned()).collect();
    let rows: Vec<Row> = rows.iter().map(|found| row(&labels, found)).collect();
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
fn row(labels: &Arc<[String]>, row: &postgres::Row) -> Row {
    let value = |(index, column): (usize, &postgres::Column)| match *column.type_() {
        Type::INT8 => row.try_get(index).ok().flatten().map(Value::Integer),
        Type::TEXT => row.try_get(index).ok().flatten().map(Value::Text),
        _ => None,
    };
    let values = row.columns().iter().enumerate().map(value);
    let values = values.map(|value| value.unwrap_or(Value::Null));
    Row::new(labels, values.collect())
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
        const NOW: Column<i64> = Column::new(
            "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) AS \"now\"",
            "now",
        );
        let rows = self.query(&format!("SELECT {NOW}"), &[])?;
        rows.first()
            .map_or_else(|| Err(ended()), |row| row.get(NOW))
    }

    fn tables(&mut self) -> Result<Vec<String>> {
        const NAME: Column<String> =
            Column::new("CAST(tablename AS TEXT) AS \"tablename\"", "tablename");
        let statement = format!("SELECT {NAME} FROM pg_tables WHERE schemaname = current_schema()");
        let rows = self.query(&statement, &[])?;
        rows.iter().map(|row| row.get(NAME)).collect()
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
            let server = server(&Secret::new(url)).unwrap();
            *server.config().get_tcp_user_timeout().unwrap()
        };
        assert!(given_up(url) * 2 <= crate::runs::Run::LEASE);
        assert_eq!(
            given_up(&format!("{url}?tcp_user_timeout=5")),
            Duration::from_secs(5)
        );
        let server = server(&Secret::new(url)).unwrap();
        let config = server.config();
        let tries = config.get_keepalives_retries().unwrap();
        let silence =
            config.get_keepalives_idle() + config.get_keepalives_interval().unwrap() * tries;
        assert!(config.get_keepalives() && silence <= SILENCE);
    }
}
