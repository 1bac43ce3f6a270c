//! Runs of a connector into a database, in this process or of the shipped binary.

use std::{fs, path::PathBuf, process::Stdio, sync::Arc};

use acceptance::{
    binary::{Ran, command},
    unhurried,
};
use headwater_host::{DriftOptions, Outcome, RunOptions, State};
use headwater_output::Destination;
use postgres::{Client, NoTls};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stage::{Stage, Union, canonical};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

/// What a run left.
#[derive(Debug)]
pub struct Run {
    pub code: u8,
    /// None where the run was refused.
    pub receipt: Option<Value>,
    /// What it said instead.
    pub said: String,
}

/// Where records go.
#[derive(Debug)]
pub enum Database {
    Sqlite(PathBuf),
    Postgres(String),
}

/// A database and, for the binary, the config beside it.
#[derive(Debug)]
pub struct Place {
    pub database: Database,
    pub is_binary: bool,
    folder: TempDir,
}

impl Place {
    pub fn new(postgres: Option<String>, is_binary: bool, stage: &Stage) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = match postgres {
            Some(url) => Database::Postgres(url),
            None => Database::Sqlite(folder.path().join("records.db")),
        };
        fs::write(folder.path().join("config.json"), stage.config.to_string()).expect("a file");
        Self {
            database,
            is_binary,
            folder,
        }
    }

    /// As it is said after `--to`.
    pub fn destination(&self) -> String {
        match &self.database {
            Database::Sqlite(path) => format!("sqlite:{}", path.display()),
            Database::Postgres(url) => url.clone(),
        }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    pub async fn run(&self, stage: &Stage) -> Run {
        match self.is_binary {
            true => self.run_binary(stage).await,
            false => self.run_here(stage).await,
        }
    }

    async fn run_here(&self, stage: &Stage) -> Run {
        let context = unhurried::context();
        let source = stage.source(&context);
        let sink = Destination::parse(&self.destination())
            .and_then(|destination| destination.open(stage.connector))
            .expect("a destination");
        let (_sender, stop) = tokio::sync::watch::channel(false);
        let mut options = RunOptions::new(Arc::clone(&context.meter), stop);
        options.drift = Some(DriftOptions::default());
        let state = State::new(stage.connector);
        match headwater_host::run(&*source, &[], state, sink, options, &mut |_| {}).await {
            Err(error) => Run {
                code: error.kind().exit_code(),
                receipt: None,
                said: error.to_string(),
            },
            Ok(receipt) => Run {
                code: match (receipt.outcome, receipt.failure()) {
                    (Outcome::Complete, _) => 0,
                    (Outcome::Partial, _) => 8,
                    (_, kind) => kind.map_or(70, |kind| kind.exit_code()),
                },
                receipt: Some(json!(receipt)),
                said: String::new(),
            },
        }
    }

    async fn run_binary(&self, stage: &Stage) -> Run {
        let mut command = command(HEADWATER);
        command
            .args(["sync", stage.connector, "--config"])
            .arg(self.config())
            .args(["--to", &self.destination()])
            .args(["--json", "--progress", "none"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let ran: Ran = command.output().expect("the binary runs").into();
        Run {
            code: ran
                .code
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(255),
            receipt: serde_json::from_str(&ran.out).ok(),
            said: ran.err,
        }
    }

    /// The records as they stand in the database.
    pub fn union(&self, streams: &[String]) -> Union {
        let parse = |record: String| {
            let record: Value = serde_json::from_str(&record).expect("a record is JSON");
            canonical(&record)
        };
        let mut union = Union::new();
        match &self.database {
            Database::Sqlite(path) => {
                let database = Connection::open(path).expect("a database");
                for stream in streams {
                    let sql = format!("SELECT _record FROM \"{stream}\"");
                    let records = database.prepare(&sql).map_or_else(
                        |_| Vec::new(),
                        |mut statement| {
                            let rows = statement.query_map([], |row| row.get::<_, String>(0));
                            let rows = rows.expect("rows");
                            rows.map(|row| parse(row.expect("a record"))).collect()
                        },
                    );
                    union.insert(stream.clone(), records);
                }
            }
            Database::Postgres(url) => {
                // On a thread of its own: the client has a runtime inside.
                let work = || {
                    let mut client = Client::connect(url, NoTls).expect("a server");
                    for stream in streams {
                        let sql = format!("SELECT _record::text FROM \"{stream}\"");
                        let rows = client.query(&sql, &[]).unwrap_or_default();
                        let records = rows.iter().map(|row| parse(row.get(0))).collect();
                        union.insert(stream.clone(), records);
                    }
                };
                std::thread::scope(|scope| scope.spawn(work).join()).expect("no panic");
            }
        }
        union
            .values_mut()
            .for_each(|records: &mut Vec<String>| records.sort());
        union
    }
}
