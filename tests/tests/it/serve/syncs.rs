//! Previews and syncs over the API.

use std::{process::Stdio, time::Duration};

use acceptance::{
    binary::command,
    connector,
    service::{Answer, Service},
    unlimited_sandbox,
};
use headwater_sandbox::{CopilotOptions, Sandbox};
use headwater_store::{Actor, Label, NewConnection, Store, StoreLocation};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::serve::{HEADWATER, config, new, service, until};

/// The events of a stream of them: name and data.
fn events(text: &str) -> Vec<(String, Value)> {
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::to_owned)
    };
    text.split("\n\n")
        .filter_map(|event| {
            let data = field(event, "data: ")?;
            let name = field(event, "event: ")?;
            Some((name, serde_json::from_str(&data).unwrap()))
        })
        .collect()
}

#[tokio::test]
async fn a_probe_tells_its_checks_and_then_the_whole() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let body = json!({ "config": new(&sandbox, "")["config"] });
    let path = "/api/v1/connectors/clari-copilot/probe";
    let answer = service
        .send(Method::POST, path, &body)
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let events = events(&answer.text().await.unwrap());
    let (last, checks) = events.split_last().unwrap();
    assert_eq!(last.0, "done");
    assert!(checks.iter().all(|(name, _)| name == "check"));
    let told: Vec<&Value> = checks.iter().map(|(_, check)| check).collect();
    let whole: Vec<&Value> = last.1["checks"].as_array().unwrap().iter().collect();
    assert_eq!(told, whole);
    assert_eq!(told[0]["name"], "reachable");
}

#[tokio::test]
async fn a_preview_masks_people_unless_it_is_asked_for() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    let path = "/api/v1/connections/calls/preview";
    let masked = service
        .post(path, &json!({ "stream": "users", "limit": 3 }))
        .await
        .json();
    assert_eq!(masked["records"].as_array().unwrap().len(), 3);
    assert_eq!(masked["masked"], true);
    let shown = service
        .post(
            path,
            &json!({ "stream": "users", "limit": 3, "reveal": true }),
        )
        .await
        .json();
    let email = |page: &Value| page["records"][0]["email"].as_str().unwrap().to_owned();
    assert_ne!(email(&masked), email(&shown));
    assert!(email(&masked).ends_with("@redacted"));
    let audit = service.get("/api/v1/audit").await.text;
    assert!(audit.contains("previewed with personal data"));
    let refused = service.post(path, &json!({ "stream": "nothing" })).await;
    assert_eq!(refused.problem().0, 404);
    let refused = service
        .post(path, &json!({ "stream": "users", "limit": 1000 }))
        .await;
    assert_eq!(refused.problem().0, 400);
}

async fn ended(service: &Service, id: &str) -> Value {
    for _ in 0..600 {
        let sync = service.get(&format!("/api/v1/syncs/{id}")).await.json();
        if sync["status"] != "running" {
            return sync;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the sync does not end");
}

#[tokio::test]
async fn a_sync_that_failed_shows_in_the_health_of_its_connection_everywhere() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let new = new(&sandbox, "Calls");
    service.post("/api/v1/connections", &new).await;
    let path = "/api/v1/connections/calls";
    let is = async |health: &str, badge: &str| {
        let seen = service.get(path).await.json();
        assert_eq!(seen["health"], health, "{seen}");
        let listed = service.get("/api/v1/connections").await.json();
        assert_eq!(listed["items"][0]["health"], health);
        assert_eq!(listed["items"][0]["synced"], seen["synced"]);
        for page in ["/connections", "/connections/calls"] {
            let page = service.get(page).await.text;
            assert!(page.contains(badge), "{badge}: {page}");
        }
        seen
    };
    let sync = async || {
        let started = service.post(&format!("{path}/syncs"), &json!({})).await;
        ended(&service, started.json()["id"].as_str().unwrap()).await
    };
    is("working", "Working").await;
    // The key ends at the service.
    sandbox.set_faults("status=401:9999".parse().unwrap());
    let failed = sync().await;
    assert_eq!(failed["status"], "failed", "{failed}");
    let seen = is("needs_attention", "Needs attention").await;
    assert_eq!(seen["checked"]["outcome"], "passed");
    assert_eq!(seen["synced"]["code"], "unauthenticated", "{seen}");
    let page = service.get("/connections/calls").await.text;
    let said = seen["synced"]["message"].as_str().unwrap();
    assert!(
        page.contains("Last sync:") && page.contains(&said[..20]),
        "{page}"
    );
    // A test clears its own fact only; a sync clears that of the sync.
    sandbox.set_faults(Default::default());
    service.post(&format!("{path}/probe"), &json!({})).await;
    is("needs_attention", "Needs attention").await;
    assert_eq!(sync().await["status"], "complete");
    let seen = is("working", "Working").await;
    assert_eq!(seen["synced"]["outcome"], "complete");
}

#[tokio::test]
async fn a_connection_that_was_moved_to_another_account_is_refused_until_that_is_said() {
    let (sandbox, service) = (unlimited_sandbox(60).await, service());
    let other = sandbox_of_another_account().await;
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    let sync = async |body: Value| {
        let started = service.post("/api/v1/connections/calls/syncs", &body).await;
        assert_eq!(started.status, 202, "{}", started.text);
        ended(&service, started.json()["id"].as_str().unwrap()).await
    };
    let body = json!({ "streams": ["calls"] });
    assert_eq!(sync(body.clone()).await["status"], "complete");
    let moved = json!({ "config": new(&other, "")["config"] });
    let path = "/api/v1/connections/calls";
    let changed = service.patch(path, &saved.tag.unwrap(), &moved).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let refused = sync(body).await;
    assert_eq!(refused["status"], "failed", "{refused}");
    let said = refused["receipt"]["message"].as_str().unwrap();
    assert!(
        said.contains("another account") && said.contains("same_account"),
        "{said}"
    );
    let same = sync(json!({ "streams": ["calls"], "same_account": true })).await;
    assert_eq!(same["status"], "complete", "{same}");

    // The same in the console, whose form says it once.
    let tag = service.get(path).await.tag.unwrap();
    let back = json!({ "config": new(&sandbox, "")["config"] });
    let changed = service.patch(path, &tag, &back).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    for (same, status) in [("", "failed"), ("&same_account=true", "complete")] {
        let form = format!("stream=calls&destination=default&action=run{same}");
        let request = service.request(Method::POST, "/connections/calls/streams");
        let kind = "application/x-www-form-urlencoded";
        let request = request.header(header::CONTENT_TYPE, kind).body(form);
        let started = request.send().await.unwrap();
        assert_eq!(started.status(), 303);
        let page = started.headers()[header::LOCATION].to_str().unwrap();
        let id = page.strip_prefix("/syncs/").unwrap();
        assert_eq!(ended(&service, id).await["status"], status);
    }
}

async fn sandbox_of_another_account() -> Sandbox {
    let mut options = CopilotOptions {
        calls: 60,
        seed: 2,
        ..CopilotOptions::default()
    };
    options.limits.per_second = None;
    acceptance::sandbox(options).await
}

#[tokio::test]
async fn a_sync_puts_every_record_where_the_operator_said_and_ends_with_a_receipt() {
    let (sandbox, service) = (unlimited_sandbox(250).await, service());
    service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    let started = service
        .post(
            "/api/v1/connections/calls/syncs",
            &json!({ "streams": ["calls", "users"] }),
        )
        .await;
    assert_eq!(started.status, 202, "{}", started.text);
    let id = started.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(id, "calls.1");
    let watched = service.get(&format!("/api/v1/syncs/{id}/events")).await;
    let events = events(&watched.text);
    assert_eq!(events.last().unwrap().0, "done");
    let progress: Vec<_> = events
        .iter()
        .filter(|(name, _)| name == "progress")
        .collect();
    assert!(!progress.is_empty());
    for (_, event) in progress {
        assert!(event["requests"].as_u64().unwrap() > 0, "{event}");
        assert_eq!(event["retries"], 0);
    }
    let sync = ended(&service, &id).await;
    assert_eq!(sync["status"], "complete");
    let records = service.path().join("home/records/calls.db");
    let rows: i64 = rusqlite::Connection::open(records)
        .unwrap()
        .query_row("SELECT count(*) FROM calls", [], |row| row.get(0))
        .unwrap();
    let told = sync["receipt"]["streams"].as_array().unwrap();
    let calls = told.iter().find(|stream| stream["stream"] == "calls");
    assert_eq!(calls.unwrap()["records"], rows);
    // A second look at the events goes on where it was told to.
    let later = service
        .request(Method::GET, &format!("/api/v1/syncs/{id}/events"))
        .header("last-event-id", (events.len() - 1).to_string());
    let later = later.send().await.unwrap().text().await.unwrap();
    assert_eq!(later.matches("event: ").count(), 1, "{later}");
    let beyond = service.request(Method::GET, &format!("/api/v1/syncs/{id}/events"));
    let beyond = beyond
        .header("last-event-id", "999999")
        .send()
        .await
        .unwrap();
    assert_eq!(beyond.text().await.unwrap(), "");
    let listed = service.get("/api/v1/syncs?connection=calls").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let elsewhere = service
        .post(
            "/api/v1/connections/calls/syncs",
            &json!({ "destination": "sqlite:/etc/passwd" }),
        )
        .await;
    assert_eq!(elsewhere.problem(), (422, "destination_unknown".to_owned()));
}

#[tokio::test]
async fn a_destination_that_another_process_writes_to_is_busy_for_now() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    let order = json!({ "streams": ["users"] });
    let run = async || {
        let started = service
            .post("/api/v1/connections/calls/syncs", &order)
            .await;
        if started.status != 202 {
            return (started.status, started.text);
        }
        let id = started.json()["id"].as_str().unwrap().to_owned();
        let sync = ended(&service, &id).await;
        (202, sync.to_string())
    };
    // A run of the command line that waits for an answer that does not come.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(&sandbox);
    config["base_url"] = format!("http://{}", silent.local_addr().unwrap()).into();
    // A connection of the same name in another store.
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(&StoreLocation::File(home.path().join("store.db")), None).unwrap();
    let new = NewConnection {
        name: "calls",
        label: Label::default(),
        connector: "clari-copilot",
        answer: &config,
    };
    let form = connector("clari-copilot").form().unwrap();
    store.add(&form, &new, &Actor::local()).unwrap();
    drop(store);
    let to = service.path().join("home/records/calls.db");
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let mut other = command(HEADWATER)
        .args(["sync", "calls", "--stream", "users", "--to"])
        .arg(format!("sqlite:{}", to.display()))
        .env("HEADWATER_HOME", home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    silent.set_nonblocking(true).unwrap();
    until("a request of the other run", async || {
        silent.accept().is_ok()
    })
    .await;
    let (status, said) = run().await;
    assert_eq!(status, 202, "{said}");
    assert!(said.contains("\"kind\":\"unavailable\""), "{said}");
    assert!(said.contains("is being written by another run"), "{said}");
    let health = service.get("/api/v1/connections/calls").await.json();
    assert_ne!(health["health"], "needs_attention");
    other.kill().unwrap();
    other.wait().unwrap();
    let (status, sync) = run().await;
    assert!(status == 202 && sync.contains("\"complete\""), "{sync}");
}

/// The numbers in the line of a stream: records, bytes, requests, seconds.
fn numbers_of(page: &str, stream: &str) -> Vec<String> {
    let Some((_, after)) = page.split_once(&format!("<code>{stream}</code>")) else {
        return Vec::new();
    };
    let row = after.split("</tr>").next().unwrap();
    let cells = row.split("<td class=\"number\">").skip(1);
    cells
        .map(|cell| cell.split('<').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_second_sync_waits_its_turn_and_a_cancelled_one_keeps_what_it_has() {
    let sandbox = acceptance::sandbox(CopilotOptions {
        calls: 50_000,
        ..Default::default()
    })
    .await;
    let service = service();
    let mut body = new(&sandbox, "Calls");
    body["test"] = false.into();
    service.post("/api/v1/connections", &body).await;
    let path = "/api/v1/connections/calls/syncs";
    let order = json!({ "streams": ["calls"] });
    let started = service.post(path, &order).await;
    assert_eq!(started.status, 202, "{}", started.text);
    let second = service.post(path, &order).await;
    assert_eq!(second.problem(), (409, "in_use".to_owned()));
    assert_eq!(
        service.get("/api/v1/connections/calls").await.json()["running"],
        true
    );
    // What it has asked for and got so far is on its page while it goes on.
    let mut row = Vec::new();
    for _ in 0..600 {
        let page = service.get("/syncs/calls.1").await.text;
        assert!(page.contains("data-run="), "it ended: {page}");
        row = numbers_of(&page, "calls");
        if row.first().is_some_and(|records| records != "0") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let number = |text: &String| text.replace(',', "").parse::<u64>().unwrap();
    assert!(number(&row[0]) > 0 && number(&row[2]) > 0, "{row:?}");
    let cancelled = service
        .post("/api/v1/syncs/calls.1/cancel", &Value::Null)
        .await;
    assert_eq!(cancelled.status, 202);
    let sync = ended(&service, "calls.1").await;
    assert_eq!(sync["status"], "stopped", "{sync}");
    let again = service.post(path, &order).await;
    assert_eq!(again.status, 202, "{}", again.text);
}

#[tokio::test]
async fn a_service_that_is_stopped_lets_its_syncs_keep_what_they_have() {
    let sandbox = acceptance::sandbox(CopilotOptions {
        calls: 50_000,
        ..Default::default()
    })
    .await;
    let service = service();
    let mut body = new(&sandbox, "Calls");
    body["test"] = false.into();
    service.post("/api/v1/connections", &body).await;
    let order = json!({ "streams": ["calls"] });
    service
        .post("/api/v1/connections/calls/syncs", &order)
        .await;
    let watching = service.request(Method::GET, "/api/v1/syncs/calls.1/events");
    let watching = watching.send().await.unwrap();
    let service = tokio::task::spawn_blocking(|| stopped_and_started(service));
    // Whoever watches is told the end.
    assert!(watching.text().await.unwrap().contains("event: done"));
    let service = service.await.unwrap();
    let sync = service.get("/api/v1/syncs/calls.1").await.json();
    assert_eq!(sync["status"], "stopped", "{sync}");
    assert_eq!(sync["receipt"]["outcome"], "stopped");
}

#[tokio::test]
async fn of_many_syncs_that_are_started_at_once_as_many_run_as_may() {
    let sandbox = acceptance::sandbox(CopilotOptions {
        calls: 50_000,
        ..Default::default()
    })
    .await;
    let service = service();
    let mut starts = Vec::new();
    for number in 0..70 {
        let mut body = new(&sandbox, &format!("Calls {number}"));
        body["test"] = false.into();
        let saved = service.post("/api/v1/connections", &body).await;
        assert_eq!(saved.status, 201, "{}", saved.text);
        let path = format!("/api/v1/connections/calls-{number}/syncs");
        starts.push(service.send(Method::POST, &path, &json!({ "streams": ["calls"] })));
    }
    let starts: Vec<_> = starts
        .into_iter()
        .map(|start| tokio::spawn(start.send()))
        .collect();
    let (mut started, mut refused) = (0, 0);
    for start in starts {
        let answer = Answer::of(start.await.unwrap().unwrap()).await;
        if answer.status == 202 {
            started += 1;
            continue;
        }
        assert_eq!(answer.problem(), (503, "busy".to_owned()));
        refused += 1;
    }
    assert_eq!((started, refused), (64, 6));
}

fn stopped_and_started(mut service: Service) -> Service {
    let home = std::mem::replace(&mut service.home, tempfile::tempdir().unwrap());
    service.stop();
    Service::start_in(home, HEADWATER, &["--development"])
}

/// All pages of a list of syncs.
async fn pages(service: &Service, query: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/api/v1/syncs?{query}{after}");
        let page = service.get(&path).await.json();
        pages.push(page["items"].as_array().unwrap().clone());
        assert!(pages.len() < 50, "the list does not end");
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn the_list_of_syncs_is_that_of_the_store_whoever_ran_them() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let home = service.path().join("home");
    let records = service.path().join("records.db").display().to_string();
    for title in ["One", "Two"] {
        service
            .post("/api/v1/connections", &new(&sandbox, title))
            .await;
        let path = format!("/api/v1/connections/{}/syncs", title.to_lowercase());
        let started = service.post(&path, &json!({ "streams": ["users"] })).await;
        let id = started.json()["id"].as_str().unwrap().to_owned();
        ended(&service, &id).await;
        // The same connection by the command line, away from the thread that the simulator answers on.
        let mut sync = command(HEADWATER);
        sync.args(["sync", &title.to_lowercase(), "--stream", "users"])
            .args(["--to", &format!("sqlite:{records}?prefix={title}")])
            .env("HEADWATER_HOME", &home);
        let ran = tokio::task::spawn_blocking(move || sync.output());
        let ran = ran.await.unwrap().unwrap();
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
    let expected = ["two.2", "two.1", "one.2", "one.1"];
    let ids = |syncs: &[Value]| -> Vec<String> {
        let id = |sync: &Value| sync["id"].as_str().unwrap().to_owned();
        syncs.iter().map(id).collect()
    };
    for (limit, sizes) in [
        (1, vec![1; 4]),
        (3, vec![3, 1]),
        (4, vec![4]),
        (100, vec![4]),
    ] {
        let pages = pages(&service, &format!("limit={limit}")).await;
        let all = pages.concat();
        assert_eq!(ids(&all), expected, "{limit}");
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        for sync in &all {
            assert_eq!(sync["status"], "complete", "{sync}");
            assert_eq!(sync["receipt"]["streams"][0]["stream"], "users");
        }
        assert_eq!(all[0]["title"], "Two");
        assert!(
            all[0]["by"].as_str().unwrap().starts_with("process "),
            "{}",
            all[0]
        );
        assert_eq!(all[1]["by"], "local");
    }
    let one = pages(&service, "connection=one&limit=1").await.concat();
    assert_eq!(ids(&one), ["one.2", "one.1"]);
    for wrong in [
        "limit=0",
        "limit=101",
        "after=x",
        "after=1.one",
        "after=1.ONE.1",
        "after=x.one.1",
    ] {
        let refused = service.get(&format!("/api/v1/syncs?{wrong}")).await;
        assert_eq!(refused.problem().0, 400, "{wrong}");
    }
    let missing = service.get("/api/v1/syncs?connection=nowhere").await;
    assert_eq!(missing.problem().0, 404);

    // One that is under way elsewhere, and one that was killed.
    let store = rusqlite::Connection::open(home.join("store.db")).unwrap();
    let run = "INSERT INTO headwater_runs (connection, epoch, holder, started) \
               SELECT id, ?2, 'process 1 on other', ?3 FROM headwater_connections WHERE name = ?1";
    store.execute(run, ("one", 3, 1_000)).unwrap();
    store.execute(run, ("one", 4, 2_000)).unwrap();
    let held = "UPDATE headwater_connections SET epoch = 4, holder = 'process 1 on other', since = 2000, \
                until = 8000000000000 WHERE name = 'one'";
    store.execute(held, []).unwrap();
    let all = pages(&service, "limit=4").await.concat();
    let status: Vec<&str> = all[4..]
        .iter()
        .map(|sync| sync["status"].as_str().unwrap())
        .collect();
    assert_eq!(ids(&all[4..]), ["one.4", "one.3"]);
    assert_eq!(status, ["running", "unknown"]);

    // The page of the console shows the same, fifty at a time.
    for epoch in 100..160 {
        store.execute(run, ("two", epoch, 3_000 + epoch)).unwrap();
    }
    let links = |html: &str| html.matches("href=\"/syncs/").count();
    let page = service.get("/syncs").await.text;
    assert_eq!(links(&page), 50, "{page}");
    assert!(page.contains("href=\"/syncs/two.2\""));
    let (_, next) = page.split_once("href=\"/syncs?after=").unwrap();
    let next = format!("/syncs?after={}", next.split_once('"').unwrap().0);
    let page = service.get(&next).await.text;
    assert_eq!(links(&page), 66 - 50);
    assert!(!page.contains("rel=\"next\""));
}
