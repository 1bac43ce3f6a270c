//! What tables are told beyond their rows: records that share a key, records that the service has deleted, tables that lost
//! what the state vouches for, and destinations that another run is writing to.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use acceptance::{
    binary::{Ran, command},
    postgres::{Postgres, execute},
    simulation,
};
use headwater_core::{Registry, StreamSpec};
use headwater_output::Destination;
use headwater_testkit::{Ending, Reply, Script};
use postgres::{Client, NoTls};
use rusqlite::Connection;
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";

/// A service with users, and a folder with its config.
struct Home {
    folder: tempfile::TempDir,
    users: Arc<Mutex<String>>,
    service: Script,
}

impl Home {
    async fn new() -> Self {
        let users = Arc::new(Mutex::new("[]".to_owned()));
        let said = Arc::clone(&users);
        let service = Script::start(move |_| {
            let users = said.lock().unwrap().clone();
            if users.is_empty() {
                return Reply::raw("", Ending::Stall);
            }
            Reply::json(200, &format!("{{\"users\":{users}}}"))
        })
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut config = (simulation(ID).form)(&service.base_url());
        config["requests_per_second"] = 1000.into();
        fs::write(folder.path().join("copilot.json"), config.to_string()).unwrap();
        Self {
            folder,
            users,
            service,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(HEADWATER);
        command
            .args(arguments)
            .current_dir(self.path())
            .env("HEADWATER_HOME", self.path().join("home"));
        command
    }

    fn syncing(&self, to: &str) -> Command {
        self.command(&[
            "sync",
            ID,
            "--config",
            "copilot.json",
            "--stream",
            "users",
            "--to",
            to,
            "--json",
        ])
    }

    /// One sync of these users, a JSON list.
    fn sync(&self, to: &str, users: &str) -> Ran {
        users.clone_into(&mut self.users.lock().unwrap());
        self.syncing(to).output().unwrap().into()
    }

    /// The receipt of the stream after a sync that ends well.
    fn synced(&self, to: &str, users: &str) -> Value {
        let ran = self.sync(to, users);
        assert_eq!(ran.code, Some(0), "{}", ran.all());
        ran.json()["streams"][0].clone()
    }

    /// The destinations with tables: one of each kind, without options.
    fn tables(&self) -> Vec<Table> {
        let file = self.path().join("users.db").display().to_string();
        let mut tables = vec![Table {
            to: format!("sqlite:{file}"),
            file: Some(file),
        }];
        tables.extend(Postgres::shared().map(|server| Table {
            to: server.database(),
            file: None,
        }));
        tables
    }
}

/// A destination with tables.
struct Table {
    to: String,
    file: Option<String>,
}

impl Table {
    fn with(&self, option: &str) -> String {
        let separator = if self.to.contains('?') { '&' } else { '?' };
        format!("{}{separator}{option}", self.to)
    }

    fn execute(&self, statement: &str) {
        match &self.file {
            Some(file) => Connection::open(file)
                .unwrap()
                .execute_batch(statement)
                .unwrap(),
            // Away from the runtime of the test, since the client has one of its own.
            None => std::thread::scope(|scope| {
                scope.spawn(|| execute(&self.to, statement)).join().unwrap();
            }),
        }
    }

    fn count(&self, table: &str, condition: &str) -> i64 {
        let query = format!("SELECT count(*) FROM {table} WHERE {condition}");
        match &self.file {
            Some(file) => {
                let file = Connection::open(file).unwrap();
                file.query_row(&query, [], |row| row.get(0)).unwrap()
            }
            None => std::thread::scope(|scope| {
                let count = || -> i64 {
                    let mut client = Client::connect(&self.to, NoTls).unwrap();
                    client.query_one(&query, &[]).unwrap().get(0)
                };
                scope.spawn(count).join().unwrap()
            }),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_records_under_one_key_are_told_and_both_kept() {
    let home = Home::new().await;
    let both = r#"[{"id":"u1","name":"Ada"},{"id":"u1","name":"Grace"},{"id":"u2"}]"#;
    for table in home.tables() {
        let receipt = home.synced(&table.to, both);
        assert_eq!(
            (&receipt["records"], &receipt["collisions"]),
            (&json!(3), &json!(1))
        );
        let flag = &receipt["flags"][0];
        assert_eq!(
            (&flag["code"], &flag["at_most"]),
            (&json!("key_collision"), &json!(1))
        );
        assert_eq!(table.count("users", "id = 'u1'"), 2, "{}", table.to);
        // Every pass that meets them says so, and keeps them as they are.
        let receipt = home.synced(&table.to, both);
        assert_eq!(
            (&receipt["deduplicated"], &receipt["collisions"]),
            (&json!(3), &json!(1))
        );
        assert_eq!(table.count("users", "true"), 3, "{}", table.to);
        let receipt = home.synced(
            &table.to,
            r#"[{"id":"u1","name":"Ada"},{"id":"u1","name":"Ada"}]"#,
        );
        assert_eq!(receipt["collisions"], Value::Null);
        // One of the two was the other record, and is no record that is gone.
        assert_eq!(receipt["unseen"]["rows"], 1);
        assert_eq!(table.count("users", "id = 'u1'"), 1, "{}", table.to);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_has_deleted_is_kept_marked_or_removed() {
    let home = Home::new().await;
    let (three, one) = (r#"[{"id":"a"},{"id":"b"},{"id":"c"}]"#, r#"[{"id":"b"}]"#);
    for deletes in ["keep", "mark", "remove"] {
        for table in home.tables() {
            let prefix = format!("prefix={deletes}_");
            let to = table.with(&format!("{prefix}&deletes={deletes}"));
            let to = match &table.file {
                // A stream has one table in a file.
                Some(file) => to.replace(file.as_str(), &format!("{file}-{deletes}.db")),
                None => format!("{to}&schema={deletes}"),
            };
            let table = Table {
                file: table
                    .file
                    .as_ref()
                    .map(|file| format!("{file}-{deletes}.db")),
                ..table
            };
            let users = match &table.file {
                Some(_) => format!("{deletes}_users"),
                None => format!("{deletes}.{deletes}_users"),
            };
            assert_eq!(home.synced(&to, three)["unseen"]["rows"], 0);
            let receipt = home.synced(&to, one);
            assert_eq!(
                receipt["unseen"],
                json!({"rows": 2, "deletes": deletes}),
                "{to}"
            );
            let left = if deletes == "remove" { 1 } else { 3 };
            assert_eq!(table.count(&users, "true"), left, "{to}");
            if deletes == "mark" {
                assert_eq!(table.count(&users, "_deleted_at IS NULL"), 1, "{to}");
                // Only what is new is counted.
                assert_eq!(home.synced(&to, one)["unseen"]["rows"], 0);
            }
            home.synced(&to, three);
            assert_eq!(table.count(&users, "true"), 3, "{to}");
            if deletes == "mark" {
                assert_eq!(table.count(&users, "_deleted_at IS NULL"), 3, "{to}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_whose_files_only_grow_refuse_to_mark_and_remove() {
    let home = Home::new().await;
    for to in [
        "parquet:out?deletes=mark",
        "jsonl:out?deletes=remove",
        "users.db?deletes=all",
    ] {
        let ran = home.sync(to, "[]");
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        assert!(ran.err.contains("deletes"), "{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_lost_its_rows_is_refused_with_the_command_that_mends_it() {
    let home = Home::new().await;
    let users = r#"[{"id":"a"},{"id":"b"}]"#;
    for loss in ["DROP TABLE users", "DELETE FROM users"] {
        for table in home.tables() {
            // What a loss leaves of the loop before.
            home.sync(&table.to, users);
            home.synced(&table.to, users);
            table.execute(loss);
            let ran = home.sync(&table.to, users);
            assert_eq!(ran.code, Some(2), "{}", ran.all());
            assert!(ran.all().contains("headwater state reset"), "{}", ran.all());
            assert!(ran.all().contains("--stream users"), "{}", ran.all());
            let reset = [
                "state",
                "reset",
                &table.to,
                "--connection",
                ID,
                "--stream",
                "users",
            ];
            let reset: Ran = home.command(&reset).output().unwrap().into();
            assert_eq!(reset.code, Some(0), "{}", reset.all());
            assert_eq!(
                home.synced(&table.to, users)["records"],
                2,
                "{loss} {}",
                table.to
            );
            assert_eq!(table.count("users", "true"), 2);
            home.synced(&table.to, users);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_lost_their_rows_are_refused_with_the_command_that_mends_it() {
    let home = Home::new().await;
    let users = r#"[{"id":"a"},{"id":"b"}]"#;
    for (to, folder) in [
        ("jsonl:lines", "lines"),
        ("parquet:columns", "columns/users"),
    ] {
        home.synced(to, users);
        for entry in fs::read_dir(home.path().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|one| one == "jsonl" || one == "parquet")
            {
                fs::remove_file(path).unwrap();
            }
        }
        let ran = home.sync(to, users);
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        assert!(ran.all().contains("headwater state reset"), "{}", ran.all());
        let reset = [
            "state",
            "reset",
            to,
            "--connection",
            ID,
            "--stream",
            "users",
        ];
        let reset: Ran = home.command(&reset).output().unwrap().into();
        assert_eq!(reset.code, Some(0), "{}", reset.all());
        assert_eq!(home.synced(to, users)["records"], 2, "{to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_another_run_is_writing_to_is_busy_and_not_wrong() {
    let home = Home::new().await;
    let mut destinations: Vec<String> = home.tables().into_iter().map(|table| table.to).collect();
    destinations.extend(["jsonl:lines", "parquet:columns"].map(str::to_owned));
    for to in destinations {
        // A run that waits for an answer that does not come.
        home.users.lock().unwrap().clear();
        let asked = home.service.requests().len();
        let mut first = home
            .syncing(&to)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let since = Instant::now();
        while home.service.requests().len() == asked {
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "the first run does not ask"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let second = home.sync(&to, "[]");
        assert_eq!(second.code, Some(5), "{to}: {}", second.all());
        assert!(
            second.all().contains("is being written by another run"),
            "{}",
            second.all()
        );
        first.kill().unwrap();
        first.wait().unwrap();
    }
}

/// A key of our own making tells records apart only if its parts are the whole identity of what they describe.
#[test]
fn every_composed_key_is_an_identity_or_has_a_digest() {
    // What a user forecast for a field in a week, and an actor: their records change, and stay the same.
    let identities = ["forecast_entries", "audit_actors"];
    let registry = Registry::collect().unwrap();
    let mut seen = 0;
    for connector in registry.iter() {
        for spec in connector.catalog() {
            let is_ours = spec.key.len() > 1 || spec.key.contains(&"fetched_at");
            if is_ours && !identities.contains(&spec.name) {
                assert!(spec.has_digest(), "{}", spec.name);
                seen += 1;
            }
        }
    }
    assert!(seen >= 4);
}

/// Every destination that keeps a key keeps 20 events that share theirs, and one that comes twice is one.
#[test]
fn events_that_share_a_composed_key_are_one_row_each_everywhere() {
    let registry = Registry::collect().unwrap();
    let spec: StreamSpec = registry
        .iter()
        .flat_map(|connector| connector.catalog())
        .find(|spec| spec.name == "audit_events")
        .unwrap();
    let event = |n: u32| {
        json!({
            "eventTimestamp": format!("2026-01-31T10:00:0{}Z", n / 5), "actorId": "a", "sessionId": "s",
            "event": "LOGIN", "ipAddress": "10.0.0.1", "correlationID": format!("c{n}"),
        })
        .to_string()
    };
    let mut events: Vec<String> = (0..20).map(event).collect();
    events.push(event(7));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.db").display().to_string();
    let lines = folder.path().join("lines");
    let mut destinations = vec![
        (
            format!("sqlite:{file}"),
            Some(Table {
                to: String::new(),
                file: Some(file),
            }),
        ),
        (format!("jsonl:{}?lines=keyed", lines.display()), None),
    ];
    if let Some(server) = Postgres::shared() {
        let to = server.database();
        destinations.push((to.clone(), Some(Table { to, file: None })));
    }
    for (to, table) in destinations {
        for mark in [1, 2] {
            let mut sink = Destination::parse(&to).unwrap().open("acme").unwrap();
            let state = headwater_host::State::held_by(&mut *sink, "clari-revenue").unwrap();
            let mut state = state.unwrap_or_else(|| headwater_host::State::new("clari-revenue"));
            if table.is_none() && mark == 2 {
                continue;
            }
            sink.restore(std::slice::from_ref(&spec), &state).unwrap();
            sink.begin_pass(spec.name, mark).unwrap();
            let mut records = events.iter().map(String::as_bytes);
            let written = sink.write(spec.name, &mut records).unwrap();
            assert_eq!(written.collisions, 0, "{to}");
            sink.commit(&mut state).unwrap();
        }
        let count = match table {
            Some(table) => table.count("audit_events", "true"),
            None => {
                let text = fs::read_to_string(lines.join("audit_events.jsonl")).unwrap();
                let key =
                    |line: &str| serde_json::from_str::<Value>(line).unwrap()["key"].to_string();
                let keys: std::collections::BTreeSet<String> = text.lines().map(key).collect();
                i64::try_from(keys.len()).unwrap()
            }
        };
        assert_eq!(count, 20, "{to}");
    }
}
