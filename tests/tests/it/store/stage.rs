//! Stores of both kinds, and what every test does with them.

use std::path::PathBuf;

use acceptance::{
    connector,
    postgres::{Postgres, execute},
};
use headwater_core::{FormModel, Secret};
use headwater_store::{Actor, Connection, Label, NewConnection, Refusal, Store, StoreLocation};
use serde_json::{Value, json};

/// Looked for in everything that is written.
pub const CANARY: &str = "Hq7canaryV2";
pub const CONNECTOR: &str = "clari-copilot";

pub fn form() -> FormModel {
    connector(CONNECTOR).form().unwrap()
}

pub fn answer() -> Value {
    json!({ "api_key": format!("{CANARY}-key"), "api_password": format!("{CANARY}-password"),
            "base_url": "https://example.com/v1" })
}

/// A new store of some kind, with ways to do to it what no store does.
pub trait Stage: Sync {
    /// Opens the store with the keys of the stage.
    fn open(&self) -> Store {
        self.try_open().unwrap()
    }
    fn try_open(&self) -> headwater_core::Result<Store>;
    /// Changes the database behind the back of the store.
    fn tamper(&self, statement: &str);
}

pub struct Sqlite(pub tempfile::TempDir);

impl Sqlite {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    pub fn place(&self) -> StoreLocation {
        StoreLocation::File(self.path())
    }

    pub fn key_file(&self) -> PathBuf {
        self.0.path().join("store.db.key")
    }
}

impl Stage for Sqlite {
    fn try_open(&self) -> headwater_core::Result<Store> {
        Store::open(&self.place(), None)
    }

    fn tamper(&self, statement: &str) {
        let database = rusqlite::Connection::open(self.path()).unwrap();
        database.execute_batch(statement).unwrap();
    }
}

pub struct Server {
    pub url: String,
    pub keys: Secret,
}

impl Server {
    pub fn new() -> Option<Self> {
        let url = Postgres::shared()?.database();
        let keys = Secret::new("ab".repeat(32));
        Some(Self { url, keys })
    }

    /// Ends all connections to the database, as a restart does, and returns when they are gone.
    pub fn end_connections(&self) {
        execute(
            &self.url,
            "DO $$ BEGIN PERFORM pg_terminate_backend(pid, 60000) FROM pg_stat_activity \
             WHERE pid <> pg_backend_pid() AND datname = current_database(); END $$",
        );
    }
}

impl Stage for Server {
    fn try_open(&self) -> headwater_core::Result<Store> {
        Store::open(&StoreLocation::parse(&self.url).unwrap(), Some(&self.keys))
    }

    fn tamper(&self, statement: &str) {
        execute(&self.url, statement);
    }
}

/// Asks the same of both.
pub fn of_both(promise: fn(&dyn Stage)) {
    promise(&Sqlite::new());
    if let Some(server) = Server::new() {
        promise(&server);
    }
}

pub fn revealed(store: &mut Store, name: &str) -> headwater_core::Result<Value> {
    let connection = store.get(name)?;
    let mut answer = connection.config.clone();
    store.unseal(&form(), &connection, &mut answer)?;
    Ok(answer)
}

pub fn try_add(store: &mut Store, name: &str, answer: &Value) -> headwater_core::Result<()> {
    let new = NewConnection {
        name,
        label: Label::default(),
        connector: CONNECTOR,
        answer,
    };
    store.add(&form(), &new, &Actor::local())
}

pub fn add(store: &mut Store, name: &str) {
    try_add(store, name, &answer()).unwrap();
}

pub fn replace(
    store: &mut Store,
    connection: &Connection,
    answer: &Value,
) -> headwater_core::Result<()> {
    store.replace(&form(), connection, answer, None, &Actor::local())
}

pub fn remove(store: &mut Store, name: &str) -> headwater_core::Result<()> {
    store.remove(name, &Actor::local())
}

pub fn names(store: &mut Store) -> Vec<String> {
    let listed = store.list(None, 100, None).unwrap();
    listed.into_iter().map(|one| one.name).collect()
}

/// Why the store refused, for a machine.
pub fn reason<T>(refused: headwater_core::Result<T>) -> Refusal {
    let error = refused.map(drop).unwrap_err();
    Refusal::of(&error)
        .unwrap_or_else(|| panic!("{error}"))
        .clone()
}
