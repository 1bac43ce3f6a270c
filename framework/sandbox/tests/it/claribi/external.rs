//! The other interface, under `/api/v1/`.

use headwater_sandbox::ClaribiOptions;
use headwater_sandbox::claribi::{API_KEY, Ids, Permissions};
use reqwest::Method;
use serde_json::{Value, json};

use crate::claribi::support::{Answer, Claribi, send, sorted_ids, unlimited};

async fn get(api: &Claribi, target: &str) -> Answer {
    send(api.bearer(target, API_KEY)).await
}

async fn generate(api: &Claribi, id: &str) -> Answer {
    let path = format!("/api/v1/reports/{id}/generate");
    send(api.bare(Method::POST, &path).bearer_auth(API_KEY)).await
}

#[tokio::test]
async fn only_a_key_as_bearer_is_accepted() {
    let api = Claribi::unlimited().await;
    assert_eq!(get(&api, "/api/v1/usage/").await.status, 200);
    assert_eq!(api.get("/api/v1/usage/").await.status, 401);
    let other = api.with_header("/api/v1/usage/", "X-API-Key", API_KEY);
    assert_eq!(send(other).await.status, 401);
    let wrong = send(api.bearer("/api/v1/usage/", "nonsense")).await;
    assert_eq!(wrong.json(), json!({"detail": "Invalid API key."}));
}

#[tokio::test]
async fn verifying_tells_what_the_key_may_do() {
    for (permissions, count) in [
        (Permissions::ReadWrite, 5),
        (Permissions::ReadOnly, 4),
        (Permissions::None, 0),
    ] {
        let api = Claribi::start(ClaribiOptions {
            permissions,
            ..unlimited()
        })
        .await;
        let body = get(&api, "/api/v1/auth/verify/").await.json();
        assert_eq!(body["valid"], true);
        assert_eq!(
            body["api_key"]["permissions"].as_array().unwrap().len(),
            count
        );
        assert_eq!(body["api_key"]["expires_at"], Value::Null);
        assert_eq!(body["organization"]["tier"], "professional");
        for owner in ["api_key", "organization", "user"] {
            assert_eq!(body[owner]["id"].as_str().unwrap().len(), 36);
        }
        let expected = if permissions == Permissions::None {
            403
        } else {
            200
        };
        assert_eq!(get(&api, "/api/v1/reports").await.status, expected);
    }
}

#[tokio::test]
async fn records_have_uuids_and_the_other_name_of_the_type() {
    let api = Claribi::start(ClaribiOptions {
        ids: Ids::Uuid,
        ..unlimited()
    })
    .await;
    let ints = Claribi::unlimited().await;
    for path in ["/api/v1/reports", "/api/v1/reports/", "/api/v1/dashboards"] {
        let page = get(&ints, &format!("{path}?page_size=100")).await.json();
        let stream = if path.contains("reports") {
            "reports"
        } else {
            "dashboards"
        };
        let known = api.sandbox.keys(stream).unwrap();
        let ids = sorted_ids(page["results"].as_array().unwrap());
        assert!(ids.iter().all(|id| known.binary_search(id).is_ok()));
        let id = &ids[0];
        let one = get(&ints, &format!("{}/{id}", path.trim_end_matches('/'))).await;
        assert_eq!(one.json()["id"], *id);
    }
    let sources = get(&ints, "/api/v1/data-sources/?page_size=100")
        .await
        .json();
    let sources = sources["results"].as_array().unwrap();
    assert!((10..40).contains(&sources.len()));
    for source in sources {
        assert_eq!(source["status"], "active");
        assert!(source["source_type"].is_string() && source.get("type").is_none());
    }
    let next = get(&ints, "/api/v1/reports").await.json();
    let next = ints.target(next["next"].as_str().unwrap());
    assert_eq!(next, "/api/v1/reports?page=2");
}

#[tokio::test]
async fn a_report_is_generated_by_a_key_that_may_write() {
    let api = Claribi::unlimited().await;
    let reports = get(&api, "/api/v1/reports").await.json();
    let id = reports["results"][0]["id"].as_str().unwrap();
    let answer = generate(&api, id).await;
    assert_eq!(answer.status, 201);
    let body = answer.json();
    assert_eq!(body["status"], "pending");
    let new_id = body["report_id"].as_str().unwrap();
    assert!(body["web_url"].as_str().unwrap().ends_with(new_id));
    let after = get(&api, "/api/v1/reports").await.json();
    assert_eq!(after["count"], 121);
    assert_eq!(after["results"][0]["id"], new_id);
    assert_eq!(generate(&api, "other").await.status, 404);
    let path = format!("/api/v1/reports/{id}/generate");
    assert_eq!(get(&api, &path).await.status, 405);

    let read_only = Claribi::start(ClaribiOptions {
        permissions: Permissions::ReadOnly,
        ..unlimited()
    })
    .await;
    assert_eq!(generate(&read_only, id).await.status, 403);
    assert_eq!(
        get(&read_only, "/api/v1/reports").await.json()["count"],
        120
    );
}
