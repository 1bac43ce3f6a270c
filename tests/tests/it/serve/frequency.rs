//! How often one credential is tested, by whatever door.

use std::sync::Arc;

use acceptance::{service::Answer, unlimited_sandbox};
use headwater_sandbox::{API_KEY, Sandbox};
use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::serve::{config, new, referring, service};

const DRAFT: &str = "/api/v1/connectors/clari-copilot/probe";
const CALLS: &str = "/api/v1/connections/calls";

fn draft(sandbox: &Sandbox) -> Value {
    json!({ "config": config(sandbox) })
}

/// Asks for events instead of one answer.
fn as_events(request: RequestBuilder) -> RequestBuilder {
    request.header(header::ACCEPT, "text/event-stream")
}

/// Sends what is one test too many.
async fn is_refused(request: RequestBuilder) {
    let response = request.send().await.unwrap();
    let seconds = response.headers().get(header::RETRY_AFTER).cloned();
    let answer = Answer::of(response).await;
    assert_eq!(answer.problem(), (429, "tested_too_often".to_owned()));
    let seconds: u64 = seconds.unwrap().to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    let unit = if seconds == 1 { "second" } else { "seconds" };
    let expected = format!(
        "this credential was tested 5 times within a minute; try again in {seconds} {unit}"
    );
    assert_eq!(answer.json()["detail"], expected);
}

#[tokio::test]
async fn the_sixth_test_of_a_credential_waits_whichever_way_it_comes() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let draft = draft(&sandbox);
    assert_eq!(service.post(DRAFT, &draft).await.status, 200);
    let requests_of_one = sandbox.stats().requests;
    assert!(requests_of_one > 0);
    let watched = as_events(service.send(Method::POST, DRAFT, &draft));
    let watched = Answer::of(watched.send().await.unwrap()).await;
    assert_eq!(
        (watched.status, &*watched.kind),
        (200, "text/event-stream"),
        "{}",
        watched.text
    );
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    // A space is no other credential.
    let spaced = json!({ "config": { "api_key": format!(" {API_KEY} ") } });
    for (door, body) in [("probe", &Value::Null), ("probe-change", &spaced)] {
        let probed = service.post(&format!("{CALLS}/{door}"), body).await;
        assert_eq!(probed.status, 200, "{}", probed.text);
    }

    let saved_before = service.get(CALLS).await;
    let post = |path: &str, body: &Value| service.send(Method::POST, path, body);
    is_refused(post(DRAFT, &draft)).await;
    is_refused(as_events(post(DRAFT, &draft))).await;
    for door in ["probe", "probe-change"] {
        is_refused(post(&format!("{CALLS}/{door}"), &json!({ "config": {} }))).await;
    }
    is_refused(post("/api/v1/connections", &new(&sandbox, "Others"))).await;
    let key = json!({ "title": "Others", "config": { "api_key": API_KEY } });
    let change = service
        .send(Method::PATCH, CALLS, &key)
        .header(header::IF_MATCH, saved_before.tag.as_deref().unwrap());
    is_refused(change).await;
    assert_eq!(sandbox.stats().requests, 5 * requests_of_one);
    // Nothing was saved or changed by what was refused.
    assert_eq!(service.get(CALLS).await.text, saved_before.text);
    let listed = service.get("/api/v1/connections").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);

    // Another credential is not held up, and this one is saved without a test.
    let mut other = draft.clone();
    other["config"]["api_key"] = "another".into();
    assert_eq!(service.post(DRAFT, &other).await.status, 200);
    let mut untested = new(&sandbox, "Others");
    untested["test"] = false.into();
    let saved = service.post("/api/v1/connections", &untested).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
}

#[tokio::test]
async fn of_many_tests_at_once_five_reach_the_service() {
    let (sandbox, service) = (unlimited_sandbox(20).await, Arc::new(service()));
    let mut all = JoinSet::new();
    for _ in 0..20 {
        let (service, draft) = (Arc::clone(&service), draft(&sandbox));
        all.spawn(async move { service.post(DRAFT, &draft).await.status });
    }
    let mut told = all.join_all().await;
    told.sort_unstable();
    assert_eq!(told, [vec![200; 5], vec![429; 15]].concat());
    let requests = sandbox.stats().requests;
    let one = unlimited_sandbox(20).await;
    let alone = service.post(DRAFT, &draft(&one)).await;
    assert_eq!(alone.status, 200, "{}", alone.text);
    assert_eq!(requests, 5 * one.stats().requests);
}

#[tokio::test]
async fn a_reference_is_the_credential_that_it_leads_to() {
    let sandbox = unlimited_sandbox(20).await;
    let service = referring(&format!("CALLS_KEY={API_KEY}\nOTHER_KEY=another\n"));
    for _ in 0..5 {
        assert_eq!(service.post(DRAFT, &draft(&sandbox)).await.status, 200);
    }
    let mut named = draft(&sandbox);
    named["config"]["api_key"] = "env:CALLS_KEY".into();
    is_refused(service.send(Method::POST, DRAFT, &named)).await;
    named["config"]["api_key"] = "env:OTHER_KEY".into();
    assert_eq!(service.post(DRAFT, &named).await.status, 200);
}
