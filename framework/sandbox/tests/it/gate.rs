//! Credentials and rate limits.

use std::time::Duration;

use crate::support::{Api, answer, unlimited};
use headwater_sandbox::{API_KEY, API_PASSWORD, CopilotLimits, CopilotOptions, simulations};
use serde_json::json;

#[tokio::test]
async fn both_credential_headers_are_required_before_the_path_is_looked_at() {
    let api = Api::of_calls(10).await;
    let message = "Credentials not provided!, see documentation: https://api-doc.copilot.clari.com";
    let expected = (401, json!({"errorMessage": message}));
    for target in ["/users", "/calls?limit=x", "/no-such-path"] {
        let without = api.http.get(api.url(target));
        assert_eq!(answer(without).await, expected);
        let key_only = api.http.get(api.url(target)).header("X-Api-Key", API_KEY);
        assert_eq!(answer(key_only).await, expected);
        let password_only = api
            .http
            .get(api.url(target))
            .header("X-Api-Password", API_PASSWORD);
        assert_eq!(answer(password_only).await, expected);
    }
    assert_eq!(
        api.get("/no-such-path").await,
        (404, json!({"message": "Not Found"}))
    );
    assert_eq!(
        api.send(reqwest::Method::POST, "/users", &json!({}))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn a_wrong_pair_is_refused_with_the_status_of_choice() {
    for (status, body) in [
        (401, json!({"errorMessage": "Invalid credentials"})),
        (403, json!({"message": "Forbidden"})),
    ] {
        let api = Api::start(CopilotOptions {
            wrong_credentials: status,
            ..CopilotOptions::default()
        })
        .await;
        for (key, password) in [(API_KEY, "x"), ("x", API_PASSWORD)] {
            let request = api
                .http
                .get(api.url("/users"))
                .header("X-Api-Key", key)
                .header("X-Api-Password", password);
            assert_eq!(answer(request).await, (status, body.clone()));
        }
    }
}

#[tokio::test]
async fn the_forms_hold_good_and_wrong_credentials() {
    let api = Api::of_calls(10).await;
    let mut all = simulations().iter();
    let simulation = all.find(|one| one.id == "clari-copilot").unwrap();
    let base_url = api.sandbox.base_url();
    for (form, expected) in [
        ((simulation.form)(&base_url), 200),
        ((simulation.wrong_form)(&base_url), 401),
    ] {
        let request = api
            .http
            .get(format!("{}/users", form["base_url"].as_str().unwrap()))
            .header("X-Api-Key", form["api_key"].as_str().unwrap())
            .header("X-Api-Password", form["api_password"].as_str().unwrap());
        assert_eq!(answer(request).await.0, expected);
    }
}

#[tokio::test]
async fn more_than_ten_requests_within_a_second_are_throttled() {
    let api = Api::start(CopilotOptions::default()).await;
    api.sandbox.set_faults("retry_after=3".parse().unwrap());
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let response = api
            .request(reqwest::Method::GET, "/topics")
            .send()
            .await
            .unwrap();
        if response.status() == 429 {
            assert_eq!(response.headers()["retry-after"], "3");
        }
        statuses.push(response.status().as_u16());
    }
    assert_eq!(statuses[..10], [200; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    assert_eq!(api.get("/topics").await.1["message"], "Too Many Requests");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(api.get("/topics").await.0, 200);
    let stats = api.sandbox.stats();
    assert_eq!(stats.requests, 14);
    assert_eq!(stats.throttled, 3);
    assert_eq!(stats.peak_per_second, 13);
    assert_eq!(stats.by_path["/topics"], 14);
    assert_eq!(stats.by_status[&200], 11);
    assert_eq!(stats.unanswered, 0);
}

#[tokio::test]
async fn the_weekly_quota_ends_too() {
    let api = Api::start(CopilotOptions {
        limits: CopilotLimits {
            per_week: Some(2),
            ..unlimited()
        },
        ..CopilotOptions::default()
    })
    .await;
    assert_eq!(api.get("/users").await.0, 200);
    assert_eq!(api.get("/users").await.0, 200);
    assert_eq!(
        api.get("/users").await,
        (429, json!({"errorMessage": "Rate limit exceeded"}))
    );
}

#[tokio::test]
async fn answers_above_the_cap_fail_however_often_they_are_asked_for() {
    let api = Api::start(CopilotOptions {
        limits: CopilotLimits {
            response_cap_bytes: 60_000,
            ..unlimited()
        },
        ..CopilotOptions::default()
    })
    .await;
    for _ in 0..2 {
        assert_eq!(
            api.get("/calls?limit=100").await,
            (502, json!({"message": "Internal server error"}))
        );
    }
    assert_eq!(api.get("/calls?limit=10").await.0, 200);
}
