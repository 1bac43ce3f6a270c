//! Clocks that differ: a bookmark never lies beyond the service's own time, and one that lies beyond ours is refused. Walks
//! every stream of every connector that keeps a time.

use std::{collections::BTreeSet, fs, sync::Arc};

use acceptance::{
    binary::{Ran, command},
    open, read_through, revenue, simulation,
};
use headwater_core::{AnyStream, Registry, SignedDuration, Timestamp};
use headwater_sandbox::{
    ClaribiOptions, CopilotOptions, Faults, RevenueOptions, Sandbox, Service, claribi::RateLimit,
};
use headwater_testkit::{Reply, Script};
use serde_json::{Value, json};
use tempfile::TempDir;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const HOUR: i64 = 3600;

/// A small simulator of a connector's service.
async fn simulated(id: &str, faults: &str) -> Sandbox {
    let faults: Faults = faults.parse().unwrap();
    let service: Service = match id {
        "clari-copilot" => {
            let mut options = CopilotOptions {
                calls: 40,
                faults,
                ..CopilotOptions::default()
            };
            options.limits.per_second = None;
            options.into()
        }
        "claribi" => ClaribiOptions {
            faults,
            rate_limit: RateLimit::None,
            ..ClaribiOptions::default()
        }
        .into(),
        revenue::ID => RevenueOptions {
            forecast_entries: 300,
            faults,
            ..revenue::options()
        }
        .into(),
        _ => panic!("{id} needs a simulator here"),
    };
    Sandbox::start(service).await.unwrap()
}

/// The settings to read from a simulator, with exports for whatever can be exported where that is wanted.
fn settings(id: &str, base_url: &str, by_export: bool) -> Value {
    let mut settings = (simulation(id).form)(base_url);
    if id == revenue::ID {
        settings["auth_profile"] = "apikey".into();
        settings["audit_export_days"] = i32::from(by_export).into();
    }
    settings
}

/// The ids of all connectors, each with its streams that keep a time.
fn keep_a_time() -> Vec<(&'static str, Vec<&'static str>)> {
    let registry = Registry::collect().unwrap();
    let streams = |connector: &Arc<dyn headwater_core::AnyConnector>| {
        let catalog = connector.catalog();
        let names = catalog.iter().filter(|spec| spec.incremental);
        names.map(|spec| spec.name).collect()
    };
    registry
        .iter()
        .map(|connector| (connector.about().id, streams(connector)))
        .collect()
}

fn until(stream: &dyn AnyStream, bookmark: &headwater_core::Position) -> Timestamp {
    stream.watermark(bookmark).unwrap().until.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bookmark_lies_beyond_the_time_of_the_service() {
    let mut looked_at = 0;
    for (id, names) in keep_a_time() {
        for (behind, by_export) in [(HOUR, false), (HOUR, true), (26 * HOUR, false)] {
            let sandbox = simulated(id, &format!("clock=-{behind}")).await;
            let (source, _) = open(id, settings(id, &sandbox.base_url(), by_export));
            for name in &names {
                let stream = source.stream(name).unwrap();
                let read = read_through(&*stream, None, Timestamp::now())
                    .await
                    .unwrap();
                let there = Timestamp::now() - SignedDuration::from_secs(behind);
                let end = until(&*stream, &read.bookmark.unwrap());
                assert!(end <= there, "{id} {name}: {end} is beyond {there}");
                assert!(
                    there.duration_since(end) < SignedDuration::from_hours(25),
                    "{id} {name}: {end} is long before {there}"
                );
                assert!(read.notes.contains(&"clock_ahead"), "{id} {name}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at >= 30, "{looked_at}");
}

/// Answers every question of every connector with one record that changes in the year 2999.
fn from_the_future(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let record = json!({
        "id": "r1", "topic_id": "r1", "crm_id": "r1", "activityId": "r1", "eventTimestamp": "2999-01-01T00:00:00Z",
        "actorId": "a", "actorType": "user", "sessionId": "s", "event": "e", "ipAddress": "::1",
        "last_modified_time": "2999-01-01T00:00:00.000Z", "modified_time": "2999-01-01T00:00:00.000Z",
        "time": "2999-01-01T00:00:00.000Z", "date": 32_472_144_000_000_i64,
        "crm_info": { "account_id": "r1", "deal_id": "r1", "contact_ids": ["r1"] },
    });
    let list = json!([record]);
    let body = match path.trim_start_matches("/v4") {
        "/export/jobs" => json!([]),
        "/export/activity" | "/export/audit/events" => json!({ "jobId": "j1" }),
        "/export/jobs/j1" => json!({ "job": { "jobId": "j1", "status": "DONE" } }),
        "/export/jobs/j1/results" | "/audit/events" => {
            json!({ "activities": list, "actors": [] })
        }
        "/call-details" => json!({ "call": record }),
        "/get-account" | "/get-contact" | "/get-deal" => record,
        _ => json!({
            "calls": list, "topics": list, "scorecards": list, "pagination": { "matched": 1 },
        }),
    };
    body.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_from_the_future_moves_no_bookmark() {
    let script = Script::start(|request| Reply::json(200, &from_the_future(&request.target)));
    let script = script.await.unwrap();
    let mut looked_at = BTreeSet::new();
    for (id, names) in keep_a_time() {
        for by_export in [false, true] {
            let (source, _) = open(id, settings(id, &script.base_url(), by_export));
            for name in &names {
                let stream = source.stream(name).unwrap();
                let mut bookmark = None;
                for _ in 0..2 {
                    let now = Timestamp::now();
                    let read = read_through(&*stream, bookmark, now).await.unwrap();
                    let end = until(&*stream, read.bookmark.as_ref().unwrap());
                    assert!(end <= now, "{id} {name}: {end}");
                    bookmark = read.bookmark;
                }
                looked_at.insert((id, *name));
            }
        }
    }
    assert!(looked_at.len() >= 10, "{looked_at:?}");
}

/// The binary, with a config and a state.
struct User {
    id: &'static str,
    folder: TempDir,
}

impl User {
    fn new(id: &'static str, settings: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), settings.to_string()).unwrap();
        Self { id, folder }
    }

    fn state(&self) -> std::path::PathBuf {
        self.folder.path().join("state.json")
    }

    /// Runs a command of these words, then connector, config and arguments.
    fn run(&self, words: &[&str], arguments: &[&str]) -> Ran {
        command(HEADWATER)
            .args(words)
            .args([self.id, "--config", "config.json"])
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
            .into()
    }

    /// The records that a run brings of a stream.
    fn read(&self, stream: &str) -> Ran {
        self.run(&["read"], &["--state", "state.json", "--stream", stream])
    }

    fn brings(&self, stream: &str) -> Vec<Value> {
        let ran = self.read(stream);
        assert_eq!(ran.code, Some(0), "{}", ran.all());
        let lines = ran.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_the_hour_that_a_clock_was_ahead_is_read() {
    for by_export in [false, true] {
        let sandbox = simulated(revenue::ID, "clock=-3600").await;
        let user = User::new(
            revenue::ID,
            &settings(revenue::ID, &sandbox.base_url(), by_export),
        );
        assert!(!user.brings("audit_events").is_empty());
        let tenant = sandbox.revenue().unwrap();
        tenant.add_audit_events(20);
        // By the service's clock an hour later: ours is right now.
        sandbox.set_faults(Faults::default());
        assert_eq!(user.brings("audit_events").len(), 20, "{by_export}");
        assert_eq!(user.brings("audit_events").len(), 0, "{by_export}");
    }
    let sandbox = simulated("clari-copilot", "clock=-3600").await;
    let user = User::new(
        "clari-copilot",
        &settings("clari-copilot", &sandbox.base_url(), false),
    );
    for stream in ["calls", "call_details"] {
        assert!(!user.brings(stream).is_empty());
    }
    sandbox.change_calls(7);
    sandbox.set_faults(Faults::default());
    for stream in ["calls", "call_details"] {
        let brought = user.brings(stream);
        let ids: BTreeSet<String> = brought.iter().map(|one| one["id"].to_string()).collect();
        assert!(ids.len() >= 7, "{stream}: {ids:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bookmark_beyond_now_is_refused_until_it_is_rewound() {
    let mut looked_at = 0;
    for (id, names) in keep_a_time() {
        let sandbox = simulated(id, "").await;
        let settings = settings(id, &sandbox.base_url(), false);
        let (source, _) = open(id, settings.clone());
        for name in names {
            let stream = source.stream(name).unwrap();
            // The state of a stream that comes along with another one is that one's.
            let main = stream.spec().name;
            let now = Timestamp::now();
            let ahead = stream.rewind(now + SignedDuration::from_hours(25)).unwrap();
            let user = User::new(id, &settings);
            let state = json!({
                "headwater_state": 2, "connector": id, "streams": { main: { "bookmark": ahead } },
            });
            fs::write(user.state(), state.to_string()).unwrap();
            let at = ["--state", "state.json", "--stream", name];
            for refused in [user.read(name), user.run(&["plan"], &at)] {
                assert_eq!(refused.code, Some(2), "{id} {name}: {}", refused.all());
                for part in [
                    "the clock of this machine says",
                    &format!("headwater state rewind --stream {main} --to 20"),
                ] {
                    assert!(refused.err.contains(part), "{part:?}: {}", refused.all());
                }
                assert_eq!(fs::read_to_string(user.state()).unwrap(), state.to_string());
            }
            let told = user.run(&["state", "explain"], &["--at", "state.json"]);
            assert!(told.out.contains("state rewind --stream"), "{}", told.all());

            let rewind = |to: Timestamp| {
                let to = to.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let at = ["--at", "state.json", "--stream", name, "--to", &to];
                user.run(&["state", "rewind"], &at).code
            };
            assert_eq!(
                rewind(now + SignedDuration::from_hours(2)),
                Some(2),
                "{id} {name}"
            );
            assert_eq!(
                rewind(now - SignedDuration::from_hours(24)),
                Some(0),
                "{id} {name}"
            );
            let read = user.read(name);
            assert_eq!(read.code, Some(0), "{id} {name}: {}", read.all());
            looked_at += 1;
        }
    }
    assert!(looked_at >= 10, "{looked_at}");
}
