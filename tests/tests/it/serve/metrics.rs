//! What an operator watches moves with what is done, and grows with nothing that a stranger sends.

use std::collections::BTreeSet;

use acceptance::{binary::command, service::Service, unlimited_sandbox};
use reqwest::Method;
use serde_json::json;

use crate::serve::{HEADWATER, new, until};

/// The value of a series; 0 where it is not there yet.
fn value(metrics: &str, series: &str) -> f64 {
    let mut lines = metrics.lines();
    let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

async fn metrics(service: &Service) -> String {
    service.get("/metrics").await.text
}

#[tokio::test]
async fn what_is_done_moves_its_counters() {
    let sandbox = unlimited_sandbox(20).await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("records.db");
    let to = format!("local=sqlite:{}", file.display());
    let service = Service::start_in(home, HEADWATER, &["--development", "--to", &to]);
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    let mut wrong = new(&sandbox, "Wrong");
    wrong["config"]["api_key"] = "another".into();
    assert_eq!(
        service.post("/api/v1/connections", &wrong).await.status,
        422
    );
    let order = json!({ "streams": ["users"], "destination": "local" });
    let started = service
        .post("/api/v1/connections/calls/syncs", &order)
        .await;
    assert_eq!(started.status, 202, "{}", started.text);
    let sync = "headwater_syncs_total{connector=\"clari-copilot\",outcome=\"complete\"}";
    until("the sync", async || {
        value(&metrics(&service).await, sync) == 1.0
    })
    .await;

    let text = metrics(&service).await;
    for (series, expected) in [
        (
            "headwater_http_requests_total{method=\"POST\",route=\"/api/v1/connections\",status=\"201\"}",
            1.0,
        ),
        (
            "headwater_http_requests_total{method=\"POST\",route=\"/api/v1/connections\",status=\"422\"}",
            1.0,
        ),
        (
            "headwater_probes_total{connector=\"clari-copilot\",outcome=\"passed\"}",
            1.0,
        ),
        (
            "headwater_probes_total{connector=\"clari-copilot\",outcome=\"failed\"}",
            1.0,
        ),
        ("headwater_probe_seconds_count", 2.0),
        ("headwater_syncs_running", 0.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}: {text}");
    }
    let records = "headwater_sync_records_total{connector=\"clari-copilot\"}";
    assert!(value(&text, records) > 0.0, "{text}");
    assert!(value(&text, "headwater_http_connections") >= 1.0, "{text}");

    // Whatever has a value says what it is.
    let about = |word: &str| -> BTreeSet<String> {
        let named = text.lines().filter_map(|line| line.strip_prefix(word));
        let names = named.map(|rest| rest.split(' ').next().unwrap().to_owned());
        names.collect()
    };
    let (helped, typed) = (about("# HELP "), about("# TYPE "));
    assert_eq!(helped, typed);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let endings = ["", "_total", "_count", "_sum", "_bucket"];
        let mut names = endings.iter().filter_map(|end| name.strip_suffix(end));
        assert!(names.any(|name| helped.contains(name)), "{line}");
    }
}

#[tokio::test]
async fn what_a_stranger_makes_up_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let added = command(HEADWATER)
        .args(["token", "add", "boss", "--scope", "admin"])
        .env("HEADWATER_HOME", home.path().join("home"))
        .output()
        .unwrap();
    assert!(added.status.success());
    let token = String::from_utf8(added.stdout).unwrap().trim().to_owned();
    let service = Service::start_in(home, HEADWATER, &["--require-token"]);
    let series = async || {
        let asked = service.request(Method::GET, "/metrics").bearer_auth(&token);
        let text = asked.send().await.unwrap().text().await.unwrap();
        text.lines()
            .filter(|line| line.starts_with("headwater_http_requests_total"))
            .count()
    };
    assert_eq!(series().await, 0);
    assert_eq!(series().await, 1);
    for number in 0..200 {
        let method = Method::from_bytes(format!("MADE-UP-{number}").as_bytes()).unwrap();
        let answer = service.request(method, &format!("/made/up/{number}"));
        let status = answer.send().await.unwrap().status();
        assert!(status.is_client_error(), "{status}");
    }
    assert_eq!(series().await, 2);
}
