//! What a service does while its store is held up, and when somebody else puts another key in the place of its own.

use std::time::Duration;

use acceptance::{binary::command, unlimited_sandbox};
use headwater_sandbox::API_PASSWORD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::serve::{HEADWATER, new, service};

#[tokio::test]
async fn while_one_request_waits_for_the_database_others_are_refused() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let database = rusqlite::Connection::open(service.path().join("home/store.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut body = new(&sandbox, "Calls");
    body["test"] = false.into();
    let saving = service.send(Method::POST, "/api/v1/connections", &body);
    let saving = tokio::spawn(saving.send());
    let refused = loop {
        let answer = service.get("/healthz").await;
        assert!(!saving.is_finished(), "it is let through after all");
        if answer.status != 200 {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(refused.problem(), (503, "unavailable".to_owned()));
    database.execute_batch("ROLLBACK").unwrap();
    assert_eq!(saving.await.unwrap().unwrap().status(), 201);
    assert_eq!(service.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_service_goes_on_when_its_key_is_rotated() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    let mut rekey = command(HEADWATER);
    rekey
        .args(["connection", "rekey"])
        .env("HEADWATER_HOME", service.path().join("home"));
    assert!(rekey.output().unwrap().status.success());
    let path = "/api/v1/connections/calls";
    let probed = service.post(&format!("{path}/probe"), &Value::Null).await;
    assert!(
        probed.text.contains("accepted the key pair"),
        "{}",
        probed.text
    );
    // With the key that is saved.
    let change = json!({ "config": { "api_password": API_PASSWORD } });
    let changed = service.patch(path, &saved.tag.unwrap(), &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let mut other = new(&sandbox, "Other");
    other["test"] = false.into();
    let added = service.post("/api/v1/connections", &other).await;
    assert_eq!(added.status, 201, "{}", added.text);
    let started = service.post(&format!("{path}/syncs"), &json!({})).await;
    assert_eq!(started.status, 202, "{}", started.text);
}
