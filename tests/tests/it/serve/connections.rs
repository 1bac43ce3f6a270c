//! Connections over the API: nothing lost, nothing shown, nothing sent elsewhere.

use std::fs;

use acceptance::unlimited_sandbox;
use headwater_core::{SignedDuration, Timestamp};
use headwater_sandbox::{API_KEY, API_PASSWORD};
use reqwest::Method;
use serde_json::{Value, json};

use crate::serve::{Service, config, new, referring, service};

#[tokio::test]
async fn a_connection_is_saved_once_its_test_passed_and_its_secrets_never_come_back() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Sales calls"))
        .await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    let shown = saved.json();
    assert_eq!(shown["name"], "sales-calls");
    assert_eq!(shown["health"], "working");
    assert_eq!(shown["config"], json!({ "base_url": sandbox.base_url() }));
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 2);
    for path in [
        "/api/v1/connections",
        "/api/v1/connections/sales-calls",
        "/api/v1/connections/sales-calls/streams",
        "/api/v1/audit",
        "/metrics",
    ] {
        let answer = service.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert!(!answer.text.contains(API_KEY), "{path}");
        assert!(!answer.text.contains(API_PASSWORD), "{path}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_named_at_its_fields_and_nothing_is_saved() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let mut wrong = new(&sandbox, "Calls");
    wrong["config"]["api_key"] = "another".into();
    let refused = service.post("/api/v1/connections", &wrong).await;
    assert_eq!(refused.problem(), (422, "test_failed".to_owned()));
    assert_eq!(refused.pointers(), ["/api_key", "/api_password"]);
    let checks = &refused.json()["report"]["checks"];
    assert!(checks.as_array().is_some_and(|checks| checks.len() > 2));
    let listed = service.get("/api/v1/connections").await.json();
    assert_eq!(listed, json!({ "items": [], "next": null }));
    // Wanted all the same, it is saved as untested.
    wrong["test"] = false.into();
    let saved = service.post("/api/v1/connections", &wrong).await;
    assert_eq!(saved.status, 201);
    assert_eq!(saved.json()["health"], "not_tested");
}

#[tokio::test]
async fn a_form_with_errors_names_every_field_before_anything_is_sent() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let config = json!({ "api_key": "", "base_url": "ftp://example.com", "colour": "red" });
    let body = json!({ "connector": "clari-copilot", "config": config });
    let refused = service.post("/api/v1/connections", &body).await;
    assert_eq!(refused.problem(), (422, "form_invalid".to_owned()));
    let mut pointers = refused.pointers();
    pointers.sort();
    assert_eq!(
        pointers,
        ["/api_key", "/api_password", "/base_url", "/colour"]
    );
    assert_eq!(sandbox.stats().requests, 0);
    let judged = service
        .post(
            "/api/v1/connectors/clari-copilot/validate",
            &json!({ "config": body["config"] }),
        )
        .await;
    assert_eq!(judged.status, 200);
    assert_eq!(judged.json()["valid"], false);
    assert_eq!(judged.json()["errors"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn editing_the_description_leaves_the_sealed_bytes_alone() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    let seals = |service: &Service| {
        let path = service.path().join("home/store.db");
        let store = rusqlite::Connection::open(path).unwrap();
        let mut rows = store
            .prepare("SELECT pointer, sealed FROM headwater_secrets ORDER BY pointer")
            .unwrap();
        let rows = rows
            .query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .unwrap();
        rows.map(Result::unwrap)
            .filter(|(pointer, _)| !pointer.is_empty())
            .collect::<Vec<_>>()
    };
    let before = seals(&service);
    assert_eq!(before.len(), 2);
    let tag = saved.tag.unwrap();
    let change = json!({ "description": "for the weekly report" });
    let changed = service
        .patch("/api/v1/connections/calls", &tag, &change)
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(changed.json()["description"], "for the weekly report");
    assert_eq!(changed.json()["version"], 1);
    assert_ne!(changed.tag.as_ref(), Some(&tag));
    assert_eq!(seals(&service), before);
}

#[tokio::test]
async fn the_end_of_secrets_is_told_before_it_comes() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let day = |days: i64| {
        let then = Timestamp::now() + SignedDuration::from_hours(24 * days);
        then.strftime("%Y-%m-%d").to_string()
    };
    let mut calls = new(&sandbox, "Calls");
    for (wrong, says) in [
        ("soon".to_owned(), "this is not a date"),
        (day(-3), "has passed"),
    ] {
        calls["expires"] = wrong.into();
        let refused = service.post("/api/v1/connections", &calls).await;
        assert_eq!(refused.problem().0, 422);
        assert_eq!(refused.json()["errors"][0]["member"], "expires");
        assert!(refused.text.contains(says), "{}", refused.text);
    }
    assert_eq!(sandbox.stats().requests, 0);
    calls["expires"] = day(40).into();
    let mut seen = service.post("/api/v1/connections", &calls).await;
    assert_eq!(seen.status, 201, "{}", seen.text);
    assert_eq!(seen.json()["expires"], day(40));
    let mut change = async |change: Value| {
        let tag = seen.tag.clone().unwrap();
        seen = service
            .patch("/api/v1/connections/calls", &tag, &change)
            .await;
        assert_eq!(seen.status, 200, "{}", seen.text);
        let (health, expires) = (&seen.json()["health"], &seen.json()["expires"]);
        let listed = service.get("/api/v1/connections").await.json();
        assert_eq!(listed["items"][0]["health"], *health);
        assert_eq!(listed["items"][0]["expires"], *expires);
        (health.clone(), expires.clone())
    };
    // A day more or less than the bound, since midnight may come in between.
    assert_eq!(change(json!({ "expires": day(16) })).await.0, "working");
    assert_eq!(change(json!({ "expires": day(13) })).await.0, "expiring");
    let kept = change(json!({ "title": "Sales" })).await;
    assert_eq!(kept, ("expiring".into(), day(13).into()));
    // What does not work does not work, whenever it ends.
    let wrong = json!({ "config": { "api_key": "wrong" }, "test": false });
    assert_eq!(change(wrong).await.0, "expiring");
    service
        .post("/api/v1/connections/calls/probe", &json!({}))
        .await;
    assert_eq!(
        change(json!({ "description": "x" })).await.0,
        "needs_attention"
    );
    let gone = change(json!({ "expires": null })).await;
    assert_eq!(gone, ("needs_attention".into(), Value::Null));
}

#[tokio::test]
async fn of_two_who_edit_the_second_is_told() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    let (path, tag) = ("/api/v1/connections/calls", saved.tag.unwrap());
    let first = service.patch(path, &tag, &json!({ "title": "One" })).await;
    assert_eq!(first.status, 200);
    let second = service.patch(path, &tag, &json!({ "title": "Two" })).await;
    assert_eq!(second.problem(), (412, "changed_meanwhile".to_owned()));
    assert_eq!(service.get(path).await.json()["title"], "One");
    let blind = service.send(Method::PATCH, path, &json!({ "title": "Three" }));
    let blind = acceptance::service::Answer::of(blind.send().await.unwrap()).await;
    assert_eq!(blind.problem(), (428, "if_match_missing".to_owned()));
}

#[tokio::test]
async fn a_saved_secret_is_sent_to_no_other_address() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    let other = unlimited_sandbox(20).await;
    let moved = json!({ "config": { "base_url": other.base_url() } });
    let path = "/api/v1/connections/calls";
    let tag = saved.tag.unwrap();
    let refused = service.patch(path, &tag, &moved).await;
    assert_eq!(refused.problem(), (422, "form_invalid".to_owned()));
    assert_eq!(refused.pointers(), ["/api_key", "/api_password"]);
    let probed = service.post(&format!("{path}/probe-change"), &moved).await;
    assert_eq!(probed.pointers(), ["/api_key", "/api_password"]);
    assert_eq!(other.stats().requests, 0);
    // Given again, they go there.
    let given = json!({ "config": config(&other) });
    let changed = service.patch(path, &tag, &given).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert!(other.stats().requests > 0);
}

#[tokio::test]
async fn new_secrets_are_tested_before_they_take_the_old_ones_place_and_can_be_undone() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    let (path, tag) = ("/api/v1/connections/calls", saved.tag.unwrap());
    let wrong = json!({ "config": { "api_key": "wrong", "api_password": "wrong" } });
    let refused = service.patch(path, &tag, &wrong).await;
    assert_eq!(refused.problem(), (422, "test_failed".to_owned()));
    let still = service.post(&format!("{path}/probe"), &Value::Null).await;
    assert_eq!(still.status, 200);
    assert!(
        still.text.contains("accepted the key pair"),
        "{}",
        still.text
    );
    // Saved without a test it is broken, and one step back it works again.
    let mut untested = wrong;
    untested["test"] = false.into();
    let tag = service.get(path).await.tag.unwrap();
    let changed = service.patch(path, &tag, &untested).await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["health"], "not_tested");
    let undo = service
        .request(Method::POST, &format!("{path}/undo"))
        .header("if-match", changed.tag.unwrap());
    let undone = acceptance::service::Answer::of(undo.send().await.unwrap()).await;
    assert_eq!(undone.status, 200, "{}", undone.text);
    let works = service.post(&format!("{path}/probe"), &Value::Null).await;
    assert!(works.text.contains("accepted the key pair"));
    // A new pair that works has ended the one before.
    let works = json!({ "config": { "api_key": API_KEY, "api_password": API_PASSWORD } });
    let changed = service.patch(path, &undone.tag.unwrap(), &works).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(changed.json()["undo_until"], Value::Null);
    let undo = service
        .request(Method::POST, &format!("{path}/undo"))
        .header("if-match", changed.tag.unwrap());
    let undone = acceptance::service::Answer::of(undo.send().await.unwrap()).await;
    assert_eq!(undone.problem(), (409, "nothing_to_undo".to_owned()));
}

#[tokio::test]
async fn what_looks_like_a_mask_is_a_secret_like_any_other() {
    let service = service();
    let config = json!({
        "api_key": "**********", "api_password": "\u{2022}\u{2022}\u{2022}\u{2022}",
        "base_url": "https://example.com",
    });
    let body =
        json!({ "connector": "clari-copilot", "title": "Stars", "config": config, "test": false });
    let saved = service.post("/api/v1/connections", &body).await;
    // Bullets are no header, so the form says what is wrong with them; stars are kept as they are.
    assert_eq!(saved.status, 422, "{}", saved.text);
    let mut plain = body;
    plain["config"]["api_password"] = "**********".into();
    let saved = service.post("/api/v1/connections", &plain).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    assert_eq!(saved.json()["secrets"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_deleted_connection_is_gone_and_can_be_brought_back() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    let path = "/api/v1/connections/calls";
    let delete = service
        .request(Method::DELETE, path)
        .header("if-match", saved.tag.unwrap());
    assert_eq!(delete.send().await.unwrap().status(), 204);
    assert_eq!(service.get(path).await.status, 404);
    let back = service.post(&format!("{path}/restore"), &Value::Null).await;
    assert_eq!(back.status, 200, "{}", back.text);
    let works = service.post(&format!("{path}/probe"), &Value::Null).await;
    assert!(works.text.contains("accepted the key pair"));
}

#[tokio::test]
async fn what_is_kept_on_disk_holds_no_secret() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    assert_eq!(saved.status, 201);
    let home = service.path().join("home");
    let said = {
        let files: Vec<_> = fs::read_dir(&home).unwrap().map(Result::unwrap).collect();
        assert!(files.len() > 1);
        for file in files.iter().filter(|file| file.path().is_file()) {
            let bytes = fs::read(file.path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(API_KEY), "{}", file.path().display());
            assert!(!text.contains(API_PASSWORD), "{}", file.path().display());
        }
        service.stop()
    };
    assert!(!said.contains(API_KEY) && !said.contains(API_PASSWORD));
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    for number in 0..7 {
        let mut body = new(&sandbox, &format!("Calls {number}"));
        body["test"] = false.into();
        let saved = service.post("/api/v1/connections", &body).await;
        assert_eq!(saved.status, 201, "{}", saved.text);
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = service
            .get(&format!("/api/v1/connections?limit=3{after}"))
            .await
            .json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        names.extend(
            items
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..7).map(|number| format!("calls-{number}")).collect();
    assert_eq!(names, expected);
    for wrong in ["limit=0", "limit=1001", "limit=x", "colour=red"] {
        let refused = service.get(&format!("/api/v1/connections?{wrong}")).await;
        assert_eq!(refused.problem().0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_draft_is_told_where_its_requests_would_go() {
    let service = service();
    let path = "/api/v1/connectors/clari-copilot/validate";
    let address = async |config: Value| {
        let said = service.post(path, &json!({ "config": config })).await;
        assert_eq!(said.status, 200, "{}", said.text);
        said.json()["addresses"]["/base_url"].clone()
    };
    // Also while the rest is missing, and with what the address is without an answer.
    assert!(
        address(json!({}))
            .await
            .as_str()
            .unwrap()
            .starts_with("https://")
    );
    for (typed, joined) in [
        (
            "https://API.example.com:443/v1/",
            "https://api.example.com/v1",
        ),
        (" https://api.example.com ", "https://api.example.com"),
        ("http://127.0.0.1:9/x//", "http://127.0.0.1:9/x"),
    ] {
        assert_eq!(address(json!({ "base_url": typed })).await, joined);
    }
    for typed in [
        "",
        "api.example.com",
        "http://api.example.com",
        "https://a@b.example",
        "https://a.example/?k=canary",
    ] {
        assert_eq!(
            address(json!({ "base_url": typed })).await,
            Value::Null,
            "{typed}"
        );
    }
}

#[tokio::test]
async fn a_reference_is_followed_where_the_operator_lets_it_and_saved_as_it_is() {
    let sandbox = unlimited_sandbox(20).await;
    let service = referring(&format!("CALLS_KEY={API_KEY}\n"));
    let mut body = new(&sandbox, "Calls");
    body["config"]["api_key"] = "env:CALLS_KEY".into();
    let path = "/api/v1/connectors/clari-copilot/probe";
    let probed = service
        .post(path, &json!({ "config": body["config"] }))
        .await;
    let checks = probed.json()["checks"].as_array().unwrap().clone();
    assert!(
        checks.iter().all(|check| check["outcome"] != "failed"),
        "{checks:?}"
    );
    let saved = service.post("/api/v1/connections", &body).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    let kinds = saved.json()["secrets"].clone();
    assert!(
        kinds
            .as_array()
            .unwrap()
            .contains(&json!({ "pointer": "/api_key", "kind": "reference" }))
    );
    let change = json!({ "config": { "api_key": "env:NO_SUCH_KEY" } });
    let (path, tag) = ("/api/v1/connections/calls", saved.tag.unwrap());
    let refused = service.patch(path, &tag, &change).await;
    assert_eq!(refused.pointers(), ["/api_key"], "{}", refused.text);
    let again = service
        .post("/api/v1/connections/calls/probe", &Value::Null)
        .await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(service.get(path).await.json()["health"], "working");
}
