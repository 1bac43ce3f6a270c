//! What a position covers: which streams of a group, under which options, and of which account. Told from the binary's
//! rows, receipts and refusals.

use std::{collections::BTreeSet, fs, path::Path};

use acceptance::{
    binary::{Ran, command},
    claribi, copilot,
    postgres::Postgres,
    revenue::{self, outside, truth},
};
use headwater_connectors as _;
use headwater_core::Registry;
use headwater_sandbox::{
    ClaribiOptions, CopilotOptions, RevenueOptions, Sandbox, claribi::RateLimit,
};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

/// A folder with the config of a connector in it.
struct Home {
    connector: &'static str,
    folder: TempDir,
}

impl Home {
    fn new(connector: &'static str, config: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Self { connector, folder };
        home.configure(config);
        home
    }

    fn configure(&self, config: &Value) {
        fs::write(self.path().join("config.json"), config.to_string()).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        command(HEADWATER)
            .args(arguments)
            .current_dir(self.path())
            .env("HEADWATER_HOME", self.path().join("home"))
            .output()
            .unwrap()
            .into()
    }

    fn sync(&self, to: &str, streams: &[&str], more: &[&str]) -> Ran {
        let mut arguments = vec!["sync", self.connector, "--config", "config.json", "--json"];
        arguments.extend(["--to", to]);
        arguments.extend(streams.iter().flat_map(|stream| ["--stream", stream]));
        arguments.extend(more);
        self.run(&arguments)
    }

    /// A sync that is complete, and its receipt.
    fn complete(&self, to: &str, streams: &[&str]) -> Value {
        let ran = self.sync(to, streams, &[]);
        assert_eq!(ran.code, Some(0), "{}", ran.all());
        let receipt = ran.json();
        assert_eq!(receipt["outcome"], "complete", "{receipt}");
        receipt
    }

    fn refused(&self, to: &str, streams: &[&str], says: &[&str]) {
        let ran = self.sync(to, streams, &[]);
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        for says in says {
            assert!(ran.all().contains(says), "{says}: {}", ran.all());
        }
    }

    fn explained(&self, at: &str) -> String {
        let ran = self.run(&[
            "state",
            "explain",
            self.connector,
            "--config",
            "config.json",
            "--at",
            at,
        ]);
        assert_eq!(ran.code, Some(0), "{}", ran.all());
        ran.all()
    }

    fn reset(&self, at: &str, stream: &str) -> String {
        let mut arguments = vec!["state", "reset", at, "--stream", stream];
        if !at.starts_with("jsonl:") {
            arguments.extend(["--connection", self.connector]);
        }
        let ran = self.run(&arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.all());
        ran.all()
    }

    /// The records of a stream at a destination, as their keys: of every row or line, repeats included.
    fn keys(&self, to: &str, stream: &str) -> Vec<String> {
        let mut keys: Vec<String> = if let Some(file) = to.strip_prefix("sqlite:") {
            let database = Connection::open(self.path().join(file)).unwrap();
            let mut rows = database
                .prepare(&format!("SELECT _record FROM {stream}"))
                .unwrap();
            let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
            rows.map(|row| revenue_or_id(stream, &row.unwrap()))
                .collect()
        } else {
            let folder = self.path().join(to.strip_prefix("jsonl:").unwrap());
            let lines = fs::read_to_string(folder.join(format!("{stream}.jsonl"))).unwrap();
            lines
                .lines()
                .map(|line| revenue_or_id(stream, line))
                .collect()
        };
        keys.sort();
        keys
    }
}

fn revenue_or_id(stream: &str, record: &str) -> String {
    if copilot::STREAMS.contains(&stream) {
        let record: Value = serde_json::from_str(record).unwrap();
        return record["id"].as_str().unwrap().to_owned();
    }
    revenue::key(stream, record)
}

fn of<'a>(receipt: &'a Value, stream: &str) -> &'a Value {
    let streams = receipt["streams"].as_array().unwrap();
    streams.iter().find(|one| one["stream"] == stream).unwrap()
}

async fn tenant() -> (Sandbox, Home) {
    tenant_of(None).await
}

/// A tenant whose day is another one. What happens today is read again by the next run, and has an hour of its own.
async fn tenant_of(today: Option<&str>) -> (Sandbox, Home) {
    let sandbox = Sandbox::start(RevenueOptions {
        forecast_entries: 2_000,
        today: today.map(|day| day.parse().unwrap()),
        ..revenue::options()
    })
    .await
    .unwrap();
    let fields = json!({ "opportunities_of_activities": true });
    let config = revenue::answer_with(&sandbox.base_url(), fields);
    (sandbox, Home::new(revenue::ID, &config))
}

async fn workspace(seed: u64) -> (Sandbox, Value) {
    let mut options = CopilotOptions {
        calls: 150,
        seed,
        ..CopilotOptions::default()
    };
    options.limits.per_second = None;
    let sandbox = Sandbox::start(options).await.unwrap();
    let mut config = copilot::answer(&sandbox.base_url());
    config["requests_per_second"] = 1000.into();
    (sandbox, config)
}

fn distinct(keys: &[String]) -> BTreeSet<&String> {
    keys.iter().collect()
}

/// Both sinks that can be looked into with what is here: rows by key, and lines that are appended.
const PLACES: [&str; 2] = ["sqlite:kept.db", "jsonl:kept"];

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_group_that_is_chosen_later_is_read_from_the_start() {
    for (leads, follows) in [
        ("audit_events", "audit_actors"),
        ("activities", "opportunities"),
    ] {
        for (first, later) in [(leads, follows), (follows, leads)] {
            for to in PLACES {
                let (sandbox, home) = tenant_of(Some("2026-11-18")).await;
                home.complete(to, &[first]);
                let before = home.keys(to, first);
                let receipt = home.complete(to, &[first, later]);
                let fresh = home.keys(to, later);
                home.complete("sqlite:fresh.db", &[first, later]);
                assert_eq!(
                    distinct(&fresh),
                    distinct(&home.keys("sqlite:fresh.db", later)),
                    "{first}, then {later} in {to}: {receipt}"
                );
                assert!(!fresh.is_empty(), "{later}");
                // The other one goes on, and nothing of it comes twice.
                assert_eq!(home.keys(to, first), before, "{first} in {to}");
                assert!(
                    of(&receipt, leads)["notes"]["caught_up"].is_array(),
                    "{receipt}"
                );
                // From there on, both go on together.
                let again = home.complete(to, &[first, later]);
                assert!(
                    again["streams"][0]["notes"].get("caught_up").is_none(),
                    "{again}"
                );
                drop(sandbox);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_group_that_was_left_out_for_a_while_misses_nothing() {
    for to in PLACES {
        let (sandbox, home) = tenant().await;
        home.complete(to, &["audit_events", "audit_actors"]);
        outside(&sandbox).add_audit_events(30);
        home.complete(to, &["audit_actors"]);
        outside(&sandbox).add_audit_events(30);
        home.complete(to, &["audit_events", "audit_actors"]);
        home.complete("sqlite:fresh.db", &["audit_events", "audit_actors"]);
        for stream in ["audit_events", "audit_actors"] {
            let (kept, fresh) = (home.keys(to, stream), home.keys("sqlite:fresh.db", stream));
            assert!(
                distinct(&kept).is_superset(&distinct(&fresh)),
                "{stream} in {to}: {} of {}",
                kept.len(),
                fresh.len()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_one_stream_of_a_group_reads_it_from_the_start() {
    for to in PLACES {
        let (_sandbox, home) = tenant().await;
        let group = ["audit_events", "audit_actors"];
        let first = home.complete(to, &group);
        let all = of(&first, "audit_actors")["read"].as_u64().unwrap();
        let events = home.keys(to, "audit_events");
        let said = home.reset(to, "audit_actors");
        assert!(
            said.contains("audit_actors will be read from the start"),
            "{said}"
        );
        assert!(!said.contains("audit_events"), "{said}");
        assert!(
            home.explained(to).contains("not of audit_actors"),
            "{}",
            home.explained(to)
        );
        let again = home.complete(to, &group);
        assert!(
            of(&again, "audit_actors")["read"].as_u64().unwrap() >= all,
            "{again}"
        );
        assert_eq!(home.keys(to, "audit_events"), events);
        // The one that leads takes the other along, and says so.
        let said = home.reset(to, "audit_events");
        assert!(
            said.contains("audit_events, audit_actors will be read from the start"),
            "{said}"
        );
        let anew = home.complete(to, &group);
        assert_eq!(of(&anew, "audit_events")["read"], events.len(), "{anew}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_read_is_not_rewound() {
    let (sandbox, config) = workspace(1).await;
    let home = Home::new("clari-copilot", &config);
    for to in PLACES {
        home.complete(to, &["users"]);
        let rewind = |stream: &str, moment: &str| {
            home.run(&[
                "state",
                "rewind",
                "clari-copilot",
                "--config",
                "config.json",
                "--at",
                to,
                "--stream",
                stream,
                "--to",
                moment,
            ])
        };
        let ran = rewind("calls", "2025-06-01");
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        assert!(ran.all().contains("no run has read calls"), "{}", ran.all());
        home.complete(to, &["calls"]);
        assert_eq!(home.keys(to, "calls"), sandbox.keys("calls").unwrap());
    }
    // Nor to before the start that the options give.
    let mut later = config.clone();
    later["start_date"] = json!("2025-07-01");
    let home = Home::new("clari-copilot", &later);
    home.complete("sqlite:kept.db", &["calls"]);
    let ran = home.run(&[
        "state",
        "rewind",
        "clari-copilot",
        "--config",
        "config.json",
        "--at",
        "sqlite:kept.db",
        "--stream",
        "calls",
        "--to",
        "2025-01-01",
    ]);
    assert_eq!(ran.code, Some(2), "{}", ran.all());
    assert!(
        ran.all().contains("choose an earlier start"),
        "{}",
        ran.all()
    );
    // A companion that no run has read.
    let (_sandbox, home) = tenant().await;
    home.complete("sqlite:kept.db", &["audit_events"]);
    let ran = home.run(&[
        "state",
        "rewind",
        revenue::ID,
        "--config",
        "config.json",
        "--at",
        "sqlite:kept.db",
        "--stream",
        "audit_actors",
        "--to",
        "2025-01-01",
    ]);
    assert_eq!(ran.code, Some(2), "{}", ran.all());
    assert!(
        ran.all().contains("no run has read audit_actors"),
        "{}",
        ran.all()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_or_removed_start_reads_what_lies_between() {
    let (sandbox, config) = workspace(1).await;
    let mut dated = config.clone();
    for to in PLACES {
        let home = Home::new("clari-copilot", &config);
        let mut read = Vec::new();
        for start in [Some("2025-09-01"), Some("2025-04-01"), None] {
            dated["start_date"] = json!(start);
            if start.is_none() {
                dated.as_object_mut().unwrap().remove("start_date");
            }
            home.configure(&dated);
            let explained = read.is_empty() || home.explained(to).contains("the range between");
            assert!(explained, "{}", home.explained(to));
            let receipt = home.complete(to, &["calls", "call_details", "scorecards"]);
            read.push(of(&receipt, "calls")["read"].as_u64().unwrap());
        }
        assert!(read.iter().all(|count| *count > 0), "{to}: {read:?}");
        for stream in ["calls", "call_details"] {
            let (kept, truth) = (home.keys(to, stream), sandbox.keys(stream).unwrap());
            assert_eq!(distinct(&kept), distinct(&truth), "{stream} in {to}");
        }
        // A later start goes on, and coming back from it reads nothing twice.
        for start in ["2025-09-01", "2025-04-01"] {
            dated["start_date"] = json!(start);
            home.configure(&dated);
            let receipt = home.complete(to, &["calls"]);
            assert_eq!(of(&receipt, "calls")["read"], 0, "{receipt}");
        }
    }
    // By export job, with days.
    let (sandbox, home) = tenant().await;
    let answer = |since: &str| {
        revenue::answer_with(&sandbox.base_url(), json!({ "activities_since": since }))
    };
    let today = jiff_today();
    home.configure(&answer(&today));
    home.complete("sqlite:kept.db", &["activities"]);
    home.configure(&answer("2024-01-01"));
    home.complete("sqlite:kept.db", &["activities"]);
    let kept = home.keys("sqlite:kept.db", "activities");
    assert_eq!(kept, truth(&sandbox, "activities", ""));
}

/// Today in UTC.
fn jiff_today() -> String {
    headwater_core::Timestamp::now()
        .strftime("%Y-%m-%d")
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_that_cannot_be_widened_is_refused_with_the_command() {
    let (_sandbox, config) = workspace(1).await;
    let home = Home::new("clari-copilot", &config);
    let streams = ["users", "calls", "call_details"];
    home.complete("sqlite:kept.db", &streams);
    let mut wider = config.clone();
    wider["include_private"] = json!(true);
    home.configure(&wider);
    let says = [
        "include_private from off to on",
        "headwater state reset --stream calls --stream call_details",
    ];
    home.refused("sqlite:kept.db", &streams, &says);
    assert!(
        home.explained("sqlite:kept.db")
            .contains("include_private from off to on")
    );
    home.complete("sqlite:kept.db", &["users"]);
    for stream in ["calls", "call_details"] {
        home.reset("sqlite:kept.db", stream);
    }
    home.complete("sqlite:kept.db", &streams);
    // Less goes on; more again is refused again.
    home.configure(&config);
    home.complete("sqlite:kept.db", &streams);
    home.configure(&wider);
    home.refused("sqlite:kept.db", &streams, &says);
    // What is read whole each time is told, not refused.
    let (sandbox, home) = tenant().await;
    home.complete("sqlite:kept.db", &["forecast_entries"]);
    let fields = json!({ "currency": "EUR" });
    home.configure(&revenue::answer_with(&sandbox.base_url(), fields));
    let receipt = home.complete("sqlite:kept.db", &["forecast_entries"]);
    let told = of(&receipt, "forecast_entries")["notes"]["read_differently"].to_string();
    assert!(told.contains("currency from unset to EUR"), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_everything_is_flagged() {
    let (_sandbox, mut config) = workspace(1).await;
    config["start_date"] = json!(jiff_today());
    let home = Home::new("clari-copilot", &config);
    let receipt = home.complete("sqlite:kept.db", &["users", "calls", "call_details"]);
    for stream in ["calls", "call_details"] {
        let flags = &of(&receipt, stream)["flags"];
        assert_eq!(flags[0]["code"], "nothing_since_start", "{receipt}");
    }
    assert!(of(&receipt, "users").get("flags").is_none(), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_position_of_one_account_is_not_used_for_another() {
    let of_claribi = |seed| async move {
        let sandbox = Sandbox::start(ClaribiOptions {
            rate_limit: RateLimit::None,
            seed,
            ..ClaribiOptions::default()
        })
        .await
        .unwrap();
        let config = claribi::answer(&sandbox.base_url());
        (sandbox, config)
    };
    let of_revenue = |seed| async move {
        let sandbox = Sandbox::start(RevenueOptions {
            forecast_entries: 1_000,
            seed,
            ..revenue::options()
        })
        .await
        .unwrap();
        let config = revenue::answer(&sandbox.base_url());
        (sandbox, config)
    };
    let (one, other) = (workspace(1).await, workspace(2).await);
    let (acme, umbrella) = (of_claribi(1).await, of_claribi(2).await);
    let (north, south) = (of_revenue(1).await, of_revenue(2).await);
    let all = [
        ("clari-copilot", "calls", &one, &other),
        (revenue::ID, "audit_events", &north, &south),
        ("claribi", "reports", &acme, &umbrella),
    ];
    let registry = Registry::collect().unwrap();
    let registered = registry.iter().map(|connector| connector.about().id);
    assert!(
        registered.eq(all.iter().map(|one| one.0)),
        "every connector is tried"
    );
    for (connector, stream, mine, others) in all {
        let (source, _) = acceptance::open(connector, mine.1.clone());
        assert!(
            source.identity().is_some(),
            "{connector} tells where it reads"
        );
        let facts = source.account().await.unwrap();
        assert!(facts.is_some(), "{connector} tells whose account it reads");
        let files = ["sqlite:kept.db", "jsonl:kept", "parquet:rows"].map(str::to_owned);
        let server = Postgres::shared();
        let tables = server.map(Postgres::database);
        for to in files.into_iter().chain(tables) {
            let to = &*to;
            let home = Home::new(connector, &mine.1);
            home.complete(to, &[stream]);
            home.configure(&others.1);
            let says = ["another account", "--same-account", "state reset --all"];
            home.refused(to, &[stream], &says);
            // Its own account goes on, and the other one where that is said to be the same.
            home.configure(&mine.1);
            home.complete(to, &[stream]);
            home.configure(&others.1);
            let ran = home.sync(to, &[stream], &["--same-account"]);
            assert_eq!(ran.code, Some(0), "{connector} {to}: {}", ran.all());
            home.complete(to, &[stream]);
        }
        // A state file as well.
        let home = Home::new(connector, &mine.1);
        let read = [
            "read",
            connector,
            "--config",
            "config.json",
            "--quiet",
            "--stream",
            stream,
        ];
        let read = [&read[..], &["--out", "records", "--state", "state.json"]].concat();
        assert_eq!(home.run(&read).code, Some(0));
        home.configure(&others.1);
        let ran = home.run(&read);
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        let kept = fs::read_to_string(home.path().join("state.json")).unwrap();
        assert!(!kept.contains('@'), "a state holds digests: {kept}");
        // Begun anew, it is the other account's.
        let ran = home.run(&["state", "reset", "state.json", "--all"]);
        assert_eq!(ran.code, Some(0), "{}", ran.all());
        assert_eq!(home.run(&read).code, Some(0));
    }
}
