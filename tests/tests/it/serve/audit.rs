//! What the audit tells of the service: who came in, who was refused, and what was asked of others.

use acceptance::{binary::command, service::Service, unlimited_sandbox};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::serve::{HEADWATER, config, new, service, sessions::sign_in, token, until};

/// Actor, action and connection of each row, the oldest first.
async fn rows(service: &Service, token: &str) -> Vec<(String, String, Value, String)> {
    let request = service.request(Method::GET, "/api/v1/audit?limit=100");
    let request = match token {
        "" => request,
        token => request.bearer_auth(token),
    };
    let answer = request.send().await.unwrap();
    let page: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let rows = page["items"].as_array().unwrap().iter().rev();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.map(|row| {
        (
            text(&row["who"]),
            text(&row["what"]),
            row["connection"].clone(),
            text(&row["outcome"]),
        )
    })
    .collect()
}

#[tokio::test]
async fn who_signs_in_and_out_and_who_is_refused_has_a_row() {
    let home = tempfile::tempdir().unwrap();
    let admin = token(home.path(), "admin");
    let service = Service::start_in(home, HEADWATER, &["--require-token"]);
    let cookie = sign_in(&service, &admin).await;
    let out = service.request(Method::POST, "/logout");
    let out = out.header(header::COOKIE, &cookie).send().await.unwrap();
    assert_eq!(out.status(), 303);
    for _ in 0..14 {
        let wrong = service.request(Method::GET, "/api/v1/connections");
        let wrong = wrong.bearer_auth("hw_wrong").send().await.unwrap();
        assert!([401, 429].contains(&wrong.status().as_u16()));
    }
    let told = async |what: &str| {
        let all = rows(&service, &admin).await;
        all.into_iter()
            .filter(|row| row.1 == what)
            .collect::<Vec<_>>()
    };
    until("the rows", async || told("wrong token").await.len() >= 2).await;
    for what in ["signed in", "signed out"] {
        let rows = told(what).await;
        assert_eq!(rows.len(), 1, "{what}");
        assert_eq!(rows[0].0, "admin", "{what}");
    }
    // The first and the tenth of a minute alone, so that guesses do not fill the table.
    let wrong = told("wrong token").await;
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(
        wrong
            .iter()
            .all(|row| row.0 == "anonymous" && row.3.contains("127.0.0.1"))
    );
    // Without the service, too.
    let path = service.path().to_owned();
    let audit = |arguments: &[&str]| {
        let mut command = command(HEADWATER);
        command
            .arg("audit")
            .args(arguments)
            .env("HEADWATER_HOME", path.join("home"));
        command.output().unwrap()
    };
    let before = audit(&["list", "--json"]).stdout;
    let before: Value = serde_json::from_slice(&before).unwrap();
    assert!(before.as_array().unwrap().len() >= 5, "{before}");
    let whole = audit(&["verify"]);
    assert!(whole.status.success(), "{whole:?}");
    let store = rusqlite::Connection::open(path.join("home/store.db")).unwrap();
    let change = "UPDATE headwater_audit SET who = 'ana' WHERE what = 'signed out'";
    assert_eq!(store.execute(change, []).unwrap(), 1);
    let broken = audit(&["verify"]);
    assert_eq!(broken.status.code(), Some(6));
    let said = String::from_utf8(broken.stderr).unwrap();
    assert!(said.contains("was not written by headwater"), "{said}");
}

#[tokio::test]
async fn tests_and_syncs_have_rows() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let draft = json!({ "config": config(&sandbox) });
    let probe = service
        .post("/api/v1/connectors/clari-copilot/probe", &draft)
        .await;
    assert_eq!(probe.status, 200, "{}", probe.text);
    let added = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    assert_eq!(added.status, 201, "{}", added.text);
    let change = json!({ "config": { "api_key": "wrong" } });
    let probe = service
        .post("/api/v1/connections/calls/probe-change", &change)
        .await;
    assert_eq!(probe.status, 200, "{}", probe.text);
    let order = json!({ "streams": ["users"] });
    let started = service
        .post("/api/v1/connections/calls/syncs", &order)
        .await;
    assert_eq!(started.status, 202, "{}", started.text);
    let id = started.json()["id"].as_str().unwrap().to_owned();
    service
        .post(&format!("/api/v1/syncs/{id}/cancel"), &json!({}))
        .await;
    let row = |what: &str, name: Value, outcome: &str| {
        (
            "local".to_owned(),
            what.to_owned(),
            name,
            outcome.to_owned(),
        )
    };
    let expected = [
        row("tested", Value::Null, "passed"),
        row("created", json!("calls"), "done"),
        row("checked", json!("calls"), "passed"),
        row("tested", json!("calls"), "failed"),
        row("sync started", json!("calls"), "started"),
    ];
    until("the rows", async || {
        let rows = rows(&service, "").await;
        expected.iter().all(|row| rows.contains(row))
    })
    .await;
}

#[tokio::test]
async fn a_sync_that_the_audit_cannot_tell_is_not_started_and_holds_nothing() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let added = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    assert_eq!(added.status, 201, "{}", added.text);
    let store = rusqlite::Connection::open(service.path().join("home/store.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON headwater_audit WHEN NEW.what = 'sync started' \
                BEGIN SELECT RAISE(ABORT, 'full'); END";
    store.execute(full, []).unwrap();
    let (path, order) = (
        "/api/v1/connections/calls/syncs",
        json!({ "streams": ["users"] }),
    );
    let refused = service.post(path, &order).await;
    assert!(refused.status >= 500, "{}", refused.text);
    store.execute("DROP TRIGGER full", []).unwrap();
    let started = service.post(path, &order).await;
    assert_eq!(started.status, 202, "{}", started.text);
}
