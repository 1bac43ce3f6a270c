//! `headwater sync`: records and position in one place, saved connections, progress and receipts.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use acceptance::{
    binary::{Ran, command},
    postgres::Postgres,
    simulation, unlimited_sandbox,
};
use headwater_sandbox::Sandbox;
use rusqlite::Connection;
use serde_json::Value;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";

/// A folder with a config of the simulator in it.
struct Home {
    folder: tempfile::TempDir,
    sandbox: Sandbox,
}

impl Home {
    async fn new(calls: u64) -> Self {
        let sandbox = unlimited_sandbox(calls).await;
        let folder = tempfile::tempdir().unwrap();
        let mut config = (simulation(ID).form)(&sandbox.base_url());
        config["requests_per_second"] = 1000.into();
        fs::write(folder.path().join("copilot.json"), config.to_string()).unwrap();
        Self { folder, sandbox }
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

    fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// A sync of the connector itself.
    fn sync(&self, arguments: &[&str]) -> Ran {
        let config = ["sync", ID, "--config", "copilot.json"];
        self.run(&[&config, arguments].concat())
    }

    /// The keys of a table.
    fn keys(&self, file: &str, table: &str) -> Vec<String> {
        let database = Connection::open(self.path().join(file)).unwrap();
        let mut statement = database
            .prepare(&format!("SELECT id FROM {table} ORDER BY id"))
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

fn stream<'a>(receipt: &'a Value, name: &str) -> &'a Value {
    let streams = receipt["streams"].as_array().unwrap();
    streams.iter().find(|one| one["stream"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_keeps_rows_and_position_together_and_says_what_it_did() {
    let home = Home::new(350).await;
    let wanted = ["--stream", "users", "--stream", "calls", "--json"];
    let sync = || home.sync(&[&["--to", "sqlite:kept.db"], &wanted[..]].concat());
    let first = sync();
    assert_eq!(first.code, Some(0), "{}", first.all());
    let receipt = first.json();
    assert_eq!(receipt["outcome"], "complete");
    let calls = stream(&receipt, "calls");
    let keys = home.sandbox.keys("calls").unwrap();
    assert_eq!(calls["status"], "complete");
    assert_eq!(calls["records"], keys.len());
    assert_eq!(calls["guarantee"]["level"], "exactly_once");
    assert!(calls["requests"].as_u64().unwrap() > 3, "{calls}");
    assert_eq!(calls["covered_from"], "2015-01-01T00:00:00Z");
    assert!(calls.get("drift").is_none(), "{calls}");
    assert_eq!(home.keys("kept.db", "calls"), keys);

    // What changed replaces what was there; what did not is not read again.
    home.sandbox.change_calls(7);
    let receipt = sync().json();
    let calls = stream(&receipt, "calls");
    let read = calls["read"].as_u64().unwrap();
    assert_eq!(read, 7, "{calls}");
    assert_eq!(
        calls["records"].as_u64().unwrap() + calls["deduplicated"].as_u64().unwrap(),
        7
    );
    let users = stream(&receipt, "users");
    assert_eq!(
        (&users["records"], &users["deduplicated"]),
        (&0.into(), &users["read"])
    );
    assert_eq!(
        home.keys("kept.db", "calls"),
        home.sandbox.keys("calls").unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_connection_remembers_where_its_records_go_and_what_its_runs_did() {
    let home = Home::new(40).await;
    let added = home.run(&["connection", "add", "team", ID, "--config", "copilot.json"]);
    assert_eq!(added.code, Some(0), "{}", added.all());
    let nowhere = home.run(&["sync", "team"]);
    assert_eq!(nowhere.code, Some(2));
    assert!(nowhere.err.contains("--to sqlite:"), "{}", nowhere.err);
    let first = home.run(&[
        "sync",
        "team",
        "--to",
        "sqlite:team.db",
        "--stream",
        "calls",
    ]);
    assert_eq!(first.code, Some(0), "{}", first.all());
    let again = home.run(&["sync", "team", "--json"]);
    assert_eq!(again.code, Some(0), "{}", again.all());
    assert_eq!(
        home.keys("team.db", "calls"),
        home.sandbox.keys("calls").unwrap()
    );
    let shown = home.run(&["connection", "show", "team", "--json"]).json();
    assert_eq!(shown["destination"], "sqlite:team.db");
    let runs = shown["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2, "{shown}");
    // A run that is refused has an end, too.
    fs::write(home.path().join("other.db"), "no database ".repeat(99)).unwrap();
    let refused = home.run(&["sync", "team", "--to", "sqlite:other.db"]);
    assert_eq!(refused.code, Some(2), "{}", refused.all());
    let shown = home.run(&["connection", "show", "team", "--json"]).json();
    let runs = shown["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3, "{shown}");
    assert!(runs.iter().all(|run| run["ended"].is_string()), "{shown}");
    assert_eq!(shown["destination"], "sqlite:team.db");
    let state = home.run(&[
        "state",
        "show",
        "sqlite:team.db",
        "--connection",
        "team",
        "--json",
    ]);
    assert_eq!(state.json()["connector"], ID);
    let unknown = home.run(&["sync", "tema", "--to", "sqlite:team.db"]);
    assert_eq!(unknown.code, Some(4), "{}", unknown.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_for_machines_is_one_object_per_event() {
    let home = Home::new(350).await;
    let ran = home.sync(&[
        "--to",
        "jsonl:lines",
        "--stream",
        "calls",
        "--progress",
        "json",
        "--json",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let events: Vec<Value> = ran
        .err
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(names[0], "started");
    assert!(
        names.contains(&"progress") && names.contains(&"committed"),
        "{names:?}"
    );
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event"], &last["status"]),
        (&"ended".into(), &"complete".into())
    );
    let progress = events
        .iter()
        .find(|event| event["event"] == "progress")
        .unwrap();
    assert_eq!(
        progress["expected"],
        home.sandbox.keys("calls").unwrap().len()
    );
    assert_eq!(
        stream(&ran.json(), "calls")["guarantee"]["level"],
        "at_least_once"
    );
}

/// More calls than the service pages through, so that they are split into parts which are counted one by one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_expected_is_never_less_than_there_is() {
    let home = Home::new(12_000).await;
    let ran = home.sync(&["--to", "jsonl:lines", "--progress", "json", "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let receipt = ran.json();
    let events = ran.err.lines();
    let events = events.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut told = 0;
    for event in events.filter(|event| event["event"] == "progress") {
        let Some(expected) = event["expected"].as_u64() else {
            continue;
        };
        let name = event["stream"].as_str().unwrap();
        let there = stream(&receipt, name)["records"].as_u64().unwrap();
        assert!(expected >= there, "{event}: {there} records");
        told += usize::from(name == "calls");
    }
    assert!(told > 0, "nothing was told of the calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_a_stream_that_may_not_be_read_is_done_in_part() {
    let home = Home::new(20).await;
    home.sandbox.set_faults("deny=/scorecard".parse().unwrap());
    let ran = home.sync(&["--to", "sqlite:part.db", "--json"]);
    assert_eq!(ran.code, Some(8), "{}", ran.all());
    let receipt = ran.json();
    assert_eq!(receipt["outcome"], "partial");
    assert_eq!(stream(&receipt, "scorecards")["status"], "failed");
    assert_eq!(stream(&receipt, "calls")["status"], "complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_given_by_reference_and_a_password_never_as_an_argument() {
    let home = Home::new(40).await;
    let refused = home.sync(&["--to", "postgres://me:canary9b1e@127.0.0.1:1/x"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("--to env:NAME"), "{}", refused.err);
    assert!(!refused.all().contains("canary9b1e"));
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    let ran = home
        .command(&[
            "sync",
            ID,
            "--config",
            "copilot.json",
            "--to",
            "env:TARGET",
            "--stream",
            "calls",
        ])
        .env("TARGET", &url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let ran = Ran::from(ran);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let count = tokio::task::spawn_blocking(move || {
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        let row = client.query_one("SELECT count(*) FROM calls", &[]).unwrap();
        row.get::<_, i64>(0)
    })
    .await
    .unwrap();
    let keys = home.sandbox.keys("calls").unwrap();
    assert_eq!(usize::try_from(count).unwrap(), keys.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_the_size_of_files_is_an_error_and_the_next_run_completes() {
    let home = Home::new(300).await;
    for to in ["jsonl:records", "sqlite:records.db"] {
        let limited = command("sh")
            .args(["-c", "ulimit -f 64; exec \"$0\" \"$@\"", HEADWATER])
            .args(["sync", ID, "--config", "copilot.json", "--stream", "calls"])
            .args(["--to", to])
            .current_dir(home.path())
            .env("HEADWATER_HOME", home.path().join("home"))
            .output()
            .unwrap();
        let limited = Ran::from(limited);
        assert_eq!(limited.code, Some(74), "{to}: {}", limited.all());
        let ran = home.sync(&["--stream", "calls", "--to", to]);
        assert_eq!(ran.code, Some(0), "{to}: {}", ran.all());
    }
    assert_eq!(
        home.keys("records.db", "calls"),
        home.sandbox.keys("calls").unwrap()
    );
}
