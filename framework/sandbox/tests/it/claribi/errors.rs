//! The bodies of errors, and the faults of every sandbox.

use std::time::Duration;

use headwater_sandbox::ClaribiOptions;
use headwater_sandbox::claribi::{ErrorBodies, Permissions, RateLimit};
use reqwest::Method;
use serde_json::{Value, json};

use crate::claribi::support::{Claribi, send, unlimited};

const MISSING: &str = "/api/reports/999999/";

async fn with_bodies(error_bodies: ErrorBodies) -> Claribi {
    Claribi::start(ClaribiOptions {
        error_bodies,
        ..unlimited()
    })
    .await
}

#[tokio::test]
async fn only_missing_records_have_the_documented_body_by_default() {
    let custom = json!({
        "error": "not_found",
        "message": "Report with ID 999999 not found",
        "status": 404,
    });
    let framework = json!({"detail": "Not found."});
    for (bodies, expected) in [
        (ErrorBodies::Mixed, &custom),
        (ErrorBodies::Custom, &custom),
        (ErrorBodies::Drf, &framework),
    ] {
        let api = with_bodies(bodies).await;
        let answer = api.get(MISSING).await;
        assert_eq!((answer.status, &answer.json()), (404, expected));
    }
    let api = with_bodies(ErrorBodies::Mixed).await;
    let source = api.get("/api/data-sources/0/").await.json();
    assert_eq!(source["message"], "Data source with ID 0 not found");
}

#[tokio::test]
async fn all_errors_can_have_the_documented_body() {
    let api = Claribi::start(ClaribiOptions {
        error_bodies: ErrorBodies::Custom,
        permissions: Permissions::None,
        rate_limit: RateLimit::Of {
            requests: 2,
            window: Duration::from_secs(60),
        },
        ..ClaribiOptions::default()
    })
    .await;
    let is_custom = |status: u16, error: &str, body: &Value| {
        assert_eq!(body["status"], status);
        assert_eq!(body["error"], error);
        assert!(body["message"].is_string());
        assert!(body.get("detail").is_none());
    };
    let answer = send(api.bare(Method::GET, "/api/reports/")).await;
    assert_eq!(answer.status, 401);
    is_custom(401, "not_authenticated", &answer.json());
    let answer = send(api.bearer("/api/reports/", "nonsense")).await;
    assert_eq!(answer.status, 401);
    is_custom(401, "token_not_valid", &answer.json());
    let answer = api.get("/api/reports/").await;
    assert_eq!(answer.status, 403);
    is_custom(403, "permission_denied", &answer.json());
    for _ in 0..2 {
        assert_eq!(api.get("/api/auth/status/").await.status, 200);
    }
    let answer = api.get("/api/auth/status/").await;
    assert_eq!(answer.status, 429);
    is_custom(429, "throttled", &answer.json());
}

#[tokio::test]
async fn other_methods_are_refused_after_the_credentials() {
    let api = Claribi::unlimited().await;
    let bare = send(api.bare(Method::DELETE, "/api/reports/")).await;
    assert_eq!(bare.status, 401);
    let key = headwater_sandbox::claribi::API_KEY;
    let request = api.bare(Method::DELETE, "/api/reports/");
    let answer = send(request.header("X-API-Key", key)).await;
    assert_eq!(answer.status, 405);
    assert_eq!(
        answer.json(),
        json!({"detail": "Method \"DELETE\" not allowed."})
    );
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn the_faults_of_every_sandbox_apply() {
    let api = Claribi::unlimited().await;
    let set = |faults: &str| api.sandbox.set_faults(faults.parse().unwrap());

    set("status=503:1:/api/reports/,retry_after=3");
    assert_eq!(api.get("/api/auth/status/").await.status, 200);
    let answer = api.get("/api/reports/").await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("3"))
    );
    assert_eq!(api.get("/api/reports/").await.status, 200);

    set("status=500:1:/api/auth/login/");
    assert_eq!(api.post("/api/auth/login/", &json!({})).await.status, 500);

    set("deny=/api/dashboards");
    assert_eq!(api.get("/api/dashboards/").await.status, 403);
    assert_eq!(api.get("/api/reports/").await.status, 200);

    set("html=1");
    let answer = api.get("/api/reports/").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.starts_with("<!DOCTYPE html>"));

    set("redirect=1:http://127.0.0.1:9");
    let answer = api.get("/api/reports/?page=2").await;
    let location = Some("http://127.0.0.1:9/api/reports/?page=2");
    assert_eq!((answer.status, answer.header("location")), (302, location));

    let key = headwater_sandbox::claribi::API_KEY;
    let request = || api.with_header("/api/reports/", "X-API-Key", key);
    set("truncate=1");
    let response = request().send().await.unwrap();
    assert!(response.text().await.is_err());
    set("reset=1");
    assert!(request().send().await.is_err());
    set("stall=1");
    let stalled = request().timeout(Duration::from_millis(300)).send().await;
    assert!(stalled.unwrap_err().is_timeout());
    assert_eq!(api.get("/api/reports/").await.status, 200);
}
