//! Requests with an `Idempotency-Key`: sent again they are not carried out again, whatever happened to their answers.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    sync::Arc,
};

use acceptance::{
    binary::command,
    service::{Answer, Service},
    unlimited_sandbox,
};
use headwater_sandbox::API_PASSWORD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::serve::{HEADWATER, new, referring, service, until};

const ALL: &str = "/api/v1/connections";
const CALLS: &str = "/api/v1/connections/calls";
const SYNCS: &str = "/api/v1/connections/calls/syncs";
const EMBEDS: &str = "/api/v1/embeds";
const ORIGIN: &str = "https://app.example";

async fn keyed(service: &Service, key: &str, path: &str, body: &Value) -> Answer {
    let request = service.send(Method::POST, path, body);
    Answer::of(request.header("idempotency-key", key).send().await.unwrap()).await
}

fn in_store(service: &Service, statement: &str) {
    let store = rusqlite::Connection::open(service.path().join("home/store.db")).unwrap();
    store.execute(statement, []).unwrap();
}

async fn count(service: &Service, path: &str) -> usize {
    let listed = service.get(path).await.json();
    listed["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn what_is_saved_is_answered_although_its_test_cannot_be_kept() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    in_store(
        &service,
        "CREATE TRIGGER no_checks BEFORE UPDATE OF last_check ON headwater_connections \
         WHEN NEW.last_check IS NOT NULL BEGIN SELECT RAISE(ABORT, 'no checks are kept'); END",
    );
    let calls = new(&sandbox, "Calls");
    let saved = keyed(&service, "mine", ALL, &calls).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    assert_eq!(saved.json()["health"], "not_tested");
    assert_eq!(
        keyed(&service, "mine", ALL, &calls).await.json(),
        saved.json()
    );
    assert_eq!(count(&service, ALL).await, 1);
    // New secrets that work have ended the ones before them, which are not kept for an undo.
    let change = json!({ "config": calls["config"] });
    let changed = service.patch(CALLS, &saved.tag.unwrap(), &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(changed.json()["version"], 2);
    assert_eq!(changed.json()["undo_until"], Value::Null);
}

#[tokio::test]
async fn a_connection_whose_answer_was_lost_is_found_by_its_key_and_not_saved_twice() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    in_store(
        &service,
        "CREATE TRIGGER spoil AFTER INSERT ON headwater_connections \
         BEGIN UPDATE headwater_connections SET config = '{}' WHERE id = NEW.id; END",
    );
    let calls = new(&sandbox, "Calls");
    // It is saved, and cannot be shown.
    for _ in 0..2 {
        let lost = keyed(&service, "mine", ALL, &calls).await;
        assert_eq!(lost.problem(), (409, "unreadable".to_owned()));
        assert_eq!(count(&service, ALL).await, 1);
    }
    let config = json!({ "base_url": sandbox.base_url() });
    in_store(&service, "DROP TRIGGER spoil");
    in_store(
        &service,
        &format!("UPDATE headwater_connections SET config = '{config}'"),
    );
    let found = keyed(&service, "mine", ALL, &calls).await;
    assert_eq!(found.status, 201, "{}", found.text);
    assert_eq!(found.json()["name"], "calls");
    assert!(found.tag.is_some());
    assert_eq!(count(&service, ALL).await, 1);
    let other = keyed(&service, "mine", ALL, &new(&sandbox, "Others")).await;
    assert_eq!(other.problem(), (409, "key_used".to_owned()));
}

/// The digests of requests in the store.
fn digests(service: &Service) -> Vec<String> {
    let store = rusqlite::Connection::open(service.path().join("home/store.db")).unwrap();
    let mut rows = store
        .prepare("SELECT hash FROM headwater_requests")
        .unwrap();
    let digests = rows.query_map([], |row| row.get(0)).unwrap();
    digests.map(Result::unwrap).collect()
}

#[tokio::test]
async fn the_digest_of_a_request_is_worth_nothing_without_the_key_of_the_store() {
    let sandbox = unlimited_sandbox(20).await;
    let calls = new(&sandbox, "Calls");
    let mut found = Vec::new();
    for _ in 0..2 {
        let service = service();
        let saved = keyed(&service, "mine", ALL, &calls).await;
        assert_eq!(saved.status, 201, "{}", saved.text);
        let [digest] = &digests(&service)[..] else {
            panic!("there is one request");
        };
        found.push(digest.split(':').next_back().unwrap().to_owned());
        // After a rotation of the key it is still known, and is not carried out again.
        let mut rekey = command(HEADWATER);
        let home = service.path().join("home");
        rekey
            .args(["connection", "rekey"])
            .env("HEADWATER_HOME", home);
        assert!(rekey.output().unwrap().status.success());
        let again = keyed(&service, "mine", ALL, &calls).await;
        assert_eq!(again.json()["name"], saved.json()["name"]);
        assert_eq!(count(&service, ALL).await, 1);
    }
    // The same request has another digest in another store, so a reader of the database cannot compute it.
    assert_ne!(found[0], found[1]);
}

#[tokio::test]
async fn a_sync_is_started_once_for_each_key() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    service.post(ALL, &new(&sandbox, "Calls")).await;
    // A refusal is not remembered.
    let nowhere = json!({ "streams": ["users"], "destination": "nowhere" });
    for _ in 0..2 {
        let refused = keyed(&service, "mine", SYNCS, &nowhere).await;
        assert_eq!(refused.problem(), (422, "destination_unknown".to_owned()));
    }
    let order = json!({ "streams": ["users"] });
    let started = keyed(&service, "mine", SYNCS, &order).await;
    assert_eq!(started.status, 202, "{}", started.text);
    until("the end of the sync", async || {
        let sync = service.get("/api/v1/syncs/calls.1").await.json();
        sync["status"] == "complete"
    })
    .await;
    let again = keyed(&service, "mine", SYNCS, &order).await;
    assert_eq!(
        (again.status, again.json()),
        (started.status, started.json())
    );
    assert_eq!(count(&service, "/api/v1/syncs").await, 1);
    let other = keyed(&service, "mine", SYNCS, &json!({ "streams": ["calls"] })).await;
    assert_eq!(other.problem(), (409, "key_used".to_owned()));
    let next = keyed(&service, "another", SYNCS, &order).await;
    assert_eq!(next.json()["id"], "calls.2", "{}", next.text);
}

#[tokio::test]
async fn a_request_with_the_key_of_one_that_is_under_way_is_told_to_wait() {
    let sandbox = unlimited_sandbox(20).await;
    let service = Arc::new(referring(""));
    let (begun, may_go) = (service.path().join("begun"), service.path().join("go"));
    let program = service.path().join("key.sh");
    let text = format!(
        "#!/bin/sh\ntouch {}; while [ ! -e {} ]; do sleep 0.05; done; echo {}",
        begun.display(),
        may_go.display(),
        headwater_sandbox::API_KEY
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
    let config = json!({
        "api_key": format!("command:{}", program.display()),
        "api_password": API_PASSWORD, "base_url": sandbox.base_url(),
    });
    let calls =
        json!({ "connector": "clari-copilot", "title": "Calls", "config": config, "test": false });
    let saved = service.post(ALL, &calls).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    let order = json!({ "streams": ["users"] });
    let first = {
        let (service, order) = (Arc::clone(&service), order.clone());
        tokio::spawn(async move { keyed(&service, "mine", SYNCS, &order).await })
    };
    until("the first request", async || begun.exists()).await;
    let second = keyed(&service, "mine", SYNCS, &order).await;
    assert_eq!(second.problem(), (409, "under_way".to_owned()));
    fs::write(may_go, "").unwrap();
    let first = first.await.unwrap();
    assert_eq!(first.status, 202, "{}", first.text);
    let again = keyed(&service, "mine", SYNCS, &order).await;
    assert_eq!(again.json(), first.json());
    assert_eq!(count(&service, "/api/v1/syncs").await, 1);
}

#[tokio::test]
async fn an_embed_is_made_once_for_each_key_and_its_token_is_not_stored() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--development", "--embed-origin", ORIGIN];
    let service = Service::start_in(home, HEADWATER, &options);
    let wanted = json!({ "origin": ORIGIN, "connector": "clari-copilot" });
    let made = keyed(&service, "mine", EMBEDS, &wanted).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let again = keyed(&service, "mine", EMBEDS, &wanted).await;
    assert_eq!((again.status, again.json()), (201, made.json()));
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let url = format!("{}/form", made.json()["url"].as_str().unwrap());
    let form = service.request(Method::GET, &url).bearer_auth(&token);
    let form = form.header("headwater-fragment", "1").send().await.unwrap();
    assert_eq!(form.status(), 200);
    let audit = service.get("/api/v1/audit").await.text;
    assert_eq!(audit.matches("made to add clari-copilot").count(), 1);
    let mut other = wanted.clone();
    other["connector"] = "claribi".into();
    let other = keyed(&service, "mine", EMBEDS, &other).await;
    assert_eq!(other.problem(), (409, "key_used".to_owned()));
    let next = keyed(&service, "another", EMBEDS, &wanted).await;
    assert_ne!(next.json()["token"], made.json()["token"]);

    let secret = token.rsplit_once('_').unwrap().1;
    for file in fs::read_dir(service.path().join("home")).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(secret), "{}", path.display());
    }

    // Embeds end with their process.
    let restarted = tokio::task::spawn_blocking(move || {
        let mut service = service;
        let home = std::mem::replace(&mut service.home, tempfile::tempdir().unwrap());
        service.stop();
        Service::start_in(home, HEADWATER, &options)
    });
    let service = restarted.await.unwrap();
    let lost = keyed(&service, "mine", EMBEDS, &wanted).await;
    assert_eq!(lost.problem(), (409, "embed_unknown".to_owned()));
}
