//! Runs that the service starts by itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use acceptance::{
    service::{Answer, Service},
    unlimited_sandbox,
};
use headwater_sandbox::{CopilotOptions, Sandbox};
use reqwest::Method;
use serde_json::{Value, json};

use crate::serve::{HEADWATER, new, service, until};

const CALLS: &str = "/api/v1/connections/calls";
const HOUR: i64 = 60 * 60 * 1000;

async fn saved(service: &Service, sandbox: &Sandbox, title: &str) -> Answer {
    let mut body = new(sandbox, title);
    body["test"] = false.into();
    let saved = service.post("/api/v1/connections", &body).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    saved
}

/// Sets the schedule of what has this tag.
async fn set(service: &Service, connection: &str, tag: &str, body: &Value) -> Answer {
    let path = format!("/api/v1/connections/{connection}/schedule");
    let request = service.send(Method::PUT, &path, body);
    Answer::of(request.header("if-match", tag).send().await.unwrap()).await
}

/// Saves a connection that reads one small stream by a schedule.
async fn scheduled(service: &Service, sandbox: &Sandbox, title: &str, schedule: Value) -> Value {
    let saved = saved(service, sandbox, title).await;
    let name = saved.json()["name"].as_str().unwrap().to_owned();
    let mut body = json!({ "streams": ["users"] });
    let members = schedule.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    let set = set(service, &name, &saved.tag.unwrap(), &body).await;
    assert_eq!(set.status, 200, "{}", set.text);
    set.json()["schedule"].clone()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

fn store(service: &Service) -> rusqlite::Connection {
    let store = rusqlite::Connection::open(service.path().join("home/store.db")).unwrap();
    store.busy_timeout(Duration::from_secs(30)).unwrap();
    store
}

/// Makes a connection due at another time.
fn make_due(service: &Service, connection: &str, due: i64) {
    let statement = "UPDATE headwater_schedules SET due = ?1 \
                     WHERE connection = (SELECT id FROM headwater_connections WHERE name = ?2)";
    let changed = store(service).execute(statement, (due, connection));
    assert_eq!(changed.unwrap(), 1);
}

fn due(service: &Service, connection: &str) -> i64 {
    let statement = "SELECT due FROM headwater_schedules h JOIN headwater_connections c ON c.id = h.connection \
                     WHERE name = ?1";
    let due = store(service).query_row(statement, [connection], |row| row.get(0));
    due.unwrap()
}

async fn syncs(service: &Service, connection: &str) -> Vec<Value> {
    let path = format!("/api/v1/syncs?connection={connection}");
    let listed = service.get(&path).await.json();
    listed["items"].as_array().unwrap().clone()
}

/// Waits until a connection has had so many syncs, and all of them have ended.
async fn ended(service: &Service, connection: &str, count: usize) -> Vec<Value> {
    let has_ended = |sync: &Value| sync["receipt"].is_object();
    until("the end of a sync", async || {
        let syncs = syncs(service, connection).await;
        syncs.len() >= count && syncs.iter().all(has_ended)
    })
    .await;
    syncs(service, connection).await
}

/// What the audit says of runs that were due and were not started.
async fn left_out(service: &Service) -> Vec<Value> {
    let audit = service.get("/api/v1/audit").await.json();
    let mut items = audit["items"].as_array().unwrap().clone();
    items.retain(|item| item["what"] == "scheduled run");
    items
}

#[tokio::test]
async fn a_run_that_is_due_is_started_once_however_many_were_missed() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let begun = now();
    let schedule = json!({ "every_seconds": 3600 });
    let shown = scheduled(&service, &sandbox, "Calls", schedule).await;
    assert_eq!(shown["every_seconds"], 3600);
    assert_eq!(shown["destination"], "default");
    assert_eq!(shown["started"], Value::Null);
    let late = due(&service, "calls") - begun - HOUR;
    assert!((0..HOUR / 10 + (now() - begun)).contains(&late), "{late}");
    let missed = now() - 5 * HOUR / 2;
    make_due(&service, "calls", missed);
    let all = ended(&service, "calls", 1).await;
    assert_eq!(all[0]["status"], "complete", "{}", all[0]);
    assert_eq!(all[0]["by"], "schedule");
    assert_eq!(all[0]["receipt"]["streams"][0]["stream"], "users");
    // The next one is in time with those that were missed.
    assert_eq!(due(&service, "calls"), missed + 3 * HOUR);
    // By the time that another one has started, no second one has.
    make_due(&service, "calls", now());
    assert_eq!(ended(&service, "calls", 2).await.len(), 2);
    assert_eq!(left_out(&service).await, Vec::<Value>::new());
    let shown = service.get(CALLS).await.json();
    assert!(shown["schedule"]["started"].is_string(), "{shown}");
}

#[tokio::test]
async fn a_run_that_is_due_replaces_personal_data_where_its_schedule_says_so() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let schedule = json!({ "every_seconds": 3600, "redact": true });
    let shown = scheduled(&service, &sandbox, "Calls", schedule).await;
    assert_eq!(shown["redact"], true);
    make_due(&service, "calls", now());
    ended(&service, "calls", 1).await;
    let records = service.path().join("home/records/calls.db");
    let records = rusqlite::Connection::open(records).unwrap();
    let open = "SELECT count(*) FROM users WHERE email NOT LIKE '%@redacted'";
    let count = |statement| records.query_row(statement, [], |row| row.get::<_, i64>(0));
    assert_eq!(count(open).unwrap(), 0);
    assert!(count("SELECT count(*) FROM users").unwrap() > 0);
}

#[tokio::test]
async fn what_is_paused_or_deleted_is_not_started() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let hourly = json!({ "every_seconds": 3600 });
    scheduled(&service, &sandbox, "Running", hourly.clone()).await;
    scheduled(&service, &sandbox, "Deleted", hourly).await;
    let paused = json!({ "cron": "0 6 * * *", "time_zone": "Europe/Berlin", "paused": true });
    let shown = scheduled(&service, &sandbox, "Paused", paused).await;
    assert_eq!(shown["due"], Value::Null);
    assert_eq!(shown["time_zone"], "Europe/Berlin");
    let deleted = "/api/v1/connections/deleted";
    let tag = service.get(deleted).await.tag.unwrap();
    let delete = async |query: &str| {
        let request = service.request(Method::DELETE, &format!("{deleted}{query}"));
        let request = request.header("if-match", tag.clone());
        Answer::of(request.send().await.unwrap()).await
    };
    for query in ["", "?force=false"] {
        let refused = delete(query).await;
        assert_eq!(refused.problem(), (409, "in_use".to_owned()));
        assert!(refused.text.contains("its schedule to default"));
    }
    assert_eq!(delete("?force=true").await.status, 204);
    for name in ["paused", "deleted"] {
        make_due(&service, name, now() - 2 * HOUR);
    }
    // What is due longest is started first, so they had their turn before this one.
    make_due(&service, "running", now() - HOUR);
    ended(&service, "running", 1).await;
    make_due(&service, "running", now() - HOUR);
    ended(&service, "running", 2).await;
    assert_eq!(syncs(&service, "paused").await, Vec::<Value>::new());
    let back = service
        .post(&format!("{deleted}/restore"), &Value::Null)
        .await;
    assert_eq!(back.status, 200, "{}", back.text);
    ended(&service, "deleted", 1).await;
}

#[tokio::test]
async fn a_connection_that_still_runs_is_left_out_until_it_is_due_again() {
    let sandbox = acceptance::sandbox(CopilotOptions {
        calls: 50_000,
        ..Default::default()
    })
    .await;
    let service = service();
    scheduled(
        &service,
        &sandbox,
        "Calls",
        json!({ "every_seconds": 3600 }),
    )
    .await;
    let order = json!({ "streams": ["calls"] });
    let started = service.post(&format!("{CALLS}/syncs"), &order).await;
    assert_eq!(started.status, 202, "{}", started.text);
    make_due(&service, "calls", now() - 1);
    until("a row of the audit", async || {
        !left_out(&service).await.is_empty()
    })
    .await;
    let noted = left_out(&service).await;
    assert_eq!(noted[0]["outcome"], "in_use", "{noted:?}");
    assert_eq!(noted[0]["who"], "schedule");
    assert!(due(&service, "calls") > now());
    assert_eq!(syncs(&service, "calls").await.len(), 1);
    let sync = service.get("/api/v1/syncs/calls.1").await.json();
    assert_eq!(sync["status"], "running");
}

#[tokio::test]
async fn what_finds_no_place_stays_due_until_there_is_one() {
    let sandbox = acceptance::sandbox(CopilotOptions {
        calls: 5_000,
        ..Default::default()
    })
    .await;
    let service = service();
    let first = now() - HOUR;
    for number in 0..65 {
        let name = format!("calls-{number}");
        let hourly = json!({ "every_seconds": 3600, "streams": ["calls"] });
        scheduled(&service, &sandbox, &name, hourly).await;
    }
    for number in 0..65 {
        make_due(&service, &format!("calls-{number}"), first + number);
    }
    let running = async || {
        let listed = service.get("/api/v1/syncs").await.json();
        let all = listed["items"].as_array().unwrap().clone();
        all.into_iter().filter(|sync| sync["status"] == "running")
    };
    until("a full service", async || running().await.count() == 64).await;
    let is_due = |number: &i64| due(&service, &format!("calls-{number}")) == first + number;
    let left: Vec<i64> = (0..65).filter(is_due).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let id = running().await.next().unwrap()["id"].clone();
    let cancel = format!("/api/v1/syncs/{}/cancel", id.as_str().unwrap());
    assert_eq!(service.post(&cancel, &Value::Null).await.status, 202);
    let name = format!("calls-{}", left[0]);
    until("the last sync", async || {
        !syncs(&service, &name).await.is_empty()
    })
    .await;
    assert_eq!(due(&service, &name) % HOUR, (first + left[0]) % HOUR);
    assert_eq!(left_out(&service).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_service_without_schedules_starts_none_and_another_one_on_its_store_does() {
    let sandbox = unlimited_sandbox(20).await;
    let service = Service::start(HEADWATER, &["--no-schedules"]);
    let daily = json!({ "cron": "@daily" });
    scheduled(&service, &sandbox, "Calls", daily).await;
    make_due(&service, "calls", now() - HOUR);
    // Time for several looks at what is due.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(syncs(&service, "calls").await, Vec::<Value>::new());
    let _other = beside(&service);
    let all = ended(&service, "calls", 1).await;
    assert_eq!(all[0]["status"], "complete", "{}", all[0]);
}

/// Another service on the same store.
fn beside(service: &Service) -> Service {
    let home = service.path().join("home");
    let store = home.join("store.db").display().to_string();
    let to = format!(
        "default=sqlite:{}/records/{{connection}}.db",
        home.display()
    );
    Service::start(HEADWATER, &["--store", &store, "--to", &to])
}

#[tokio::test]
async fn of_two_services_on_one_store_one_starts_what_is_due() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let other = beside(&service);
    let names: Vec<String> = (0..12).map(|number| format!("calls-{number}")).collect();
    for name in &names {
        let hourly = json!({ "every_seconds": 3600 });
        scheduled(&service, &sandbox, name, hourly).await;
    }
    for round in 1..=3 {
        for name in &names {
            make_due(&service, name, now() - HOUR);
        }
        for name in &names {
            assert_eq!(ended(&service, name, round).await.len(), round, "{name}");
        }
    }
    // A second start would have been refused as the first one held the connection, or would be in the history.
    assert_eq!(left_out(&other).await, Vec::<Value>::new());
    for name in &names {
        assert_eq!(syncs(&other, name).await.len(), 3, "{name}");
    }
}

#[tokio::test]
async fn what_was_deleted_more_than_a_day_ago_is_removed_for_good() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    for name in ["old", "new"] {
        let tag = saved(&service, &sandbox, name).await.tag.unwrap();
        let path = format!("/api/v1/connections/{name}");
        let delete = service.request(Method::DELETE, &path);
        let delete = delete.header("if-match", tag).send().await.unwrap();
        assert_eq!(delete.status(), 204);
    }
    let statement = "UPDATE headwater_connections SET deleted = deleted - ?1 WHERE name = 'old'";
    store(&service).execute(statement, [25 * HOUR]).unwrap();
    // A service looks when it starts, and then every hour.
    let other = beside(&service);
    let left = || {
        let count = "SELECT count(*) FROM headwater_connections";
        store(&service).query_row(count, [], |row| row.get::<_, i64>(0))
    };
    until("a removal", async || left().unwrap() == 1).await;
    let restore = "/api/v1/connections/new/restore";
    let restored = other.post(restore, &Value::Null).await;
    assert_eq!(restored.status, 200, "{}", restored.text);
    let audit = other.get("/api/v1/audit").await.json();
    let items = audit["items"].as_array().unwrap();
    let removed = items.iter().find(|row| row["what"] == "removed").unwrap();
    assert_eq!(removed["who"], "service", "{removed}");
}

#[tokio::test]
async fn a_schedule_that_cannot_be_kept_is_refused_with_its_member_and_an_example() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let tag = saved(&service, &sandbox, "Calls").await.tag.unwrap();
    let cases = [
        (json!({}), "every_seconds", "3600"),
        (
            json!({ "every_seconds": 3600, "cron": "@daily" }),
            "every_seconds",
            "3600",
        ),
        (json!({ "every_seconds": 59 }), "every_seconds", "3600"),
        (
            json!({ "every_seconds": 4_000_000_000_u32 }),
            "every_seconds",
            "3600",
        ),
        (
            json!({ "every_seconds": 3600, "time_zone": "UTC" }),
            "time_zone",
            "omit it",
        ),
        (json!({ "cron": "" }), "cron", "30 6 * * 1-5"),
        (json!({ "cron": "at six" }), "cron", "30 6 * * 1-5"),
        (json!({ "cron": "* * * * * *" }), "cron", "30 6 * * 1-5"),
        (json!({ "cron": "0 0 30 2 *" }), "cron", "0 6 1 * *"),
        (
            json!({ "cron": "@daily", "time_zone": "Mars" }),
            "time_zone",
            "Europe/Berlin",
        ),
        (
            json!({ "cron": "@daily", "streams": ["nothing"] }),
            "streams",
            "users",
        ),
        (
            json!({ "cron": "@daily", "streams": ["users", "users"] }),
            "streams",
            "twice",
        ),
        (
            json!({ "cron": "@daily", "destination": "sqlite:/x" }),
            "destination",
            "default",
        ),
    ];
    for (body, member, said) in cases {
        let refused = set(&service, "calls", &tag, &body).await;
        assert_eq!(
            refused.problem(),
            (422, "form_invalid".to_owned()),
            "{body}"
        );
        let error = &refused.json()["errors"][0];
        assert_eq!(error["member"], member, "{body}");
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
    }
    for body in [
        json!({ "every_seconds": -1 }),
        json!({ "every_seconds": 60.5 }),
        json!({ "every_seconds": "60" }),
        json!({ "cron": ["@daily"] }),
        json!({ "cron": "@daily", "colour": "red" }),
        json!([]),
    ] {
        let refused = set(&service, "calls", &tag, &body).await;
        assert_eq!(refused.problem(), (400, "bad_request".to_owned()), "{body}");
    }
    let shown = service.get(CALLS).await;
    assert_eq!(shown.json()["schedule"], Value::Null);
    assert_eq!(shown.tag.as_ref(), Some(&tag));
}

#[tokio::test]
async fn a_schedule_is_changed_and_taken_away_by_those_who_saw_it() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let tag = saved(&service, &sandbox, "Calls").await.tag.unwrap();
    let path = format!("{CALLS}/schedule");
    let mut body = json!({ "every_seconds": 3600 });
    let blind = service.send(Method::PUT, &path, &body).send().await;
    let blind = Answer::of(blind.unwrap()).await;
    assert_eq!(blind.problem(), (428, "if_match_missing".to_owned()));
    let first = set(&service, "calls", &tag, &body).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let second = set(&service, "calls", &tag, &body).await;
    assert_eq!(second.problem(), (412, "changed_meanwhile".to_owned()));
    // The same interval keeps its beat, another one begins anew.
    let before = due(&service, "calls");
    body["streams"] = json!(["users"]);
    let third = set(&service, "calls", &first.tag.unwrap(), &body).await;
    assert_eq!(third.json()["schedule"]["streams"], json!(["users"]));
    assert_eq!(due(&service, "calls"), before);
    body["every_seconds"] = 7200.into();
    let fourth = set(&service, "calls", &third.tag.unwrap(), &body).await;
    assert!(due(&service, "calls") > before);
    let remove = |tag: String| {
        let request = service.request(Method::DELETE, &path);
        let sent = request.header("if-match", tag).send();
        async { Answer::of(sent.await.unwrap()).await }
    };
    assert_eq!(remove(tag).await.problem().0, 412);
    let removed = remove(fourth.tag.unwrap()).await;
    assert_eq!(removed.status, 200, "{}", removed.text);
    assert_eq!(removed.json()["schedule"], Value::Null);
    let none = remove(removed.tag.unwrap()).await;
    assert_eq!(none.problem(), (404, "not_found".to_owned()));
    let missing = set(&service, "nowhere", "\"1\"", &body).await;
    assert_eq!(missing.problem(), (404, "not_found".to_owned()));
}
