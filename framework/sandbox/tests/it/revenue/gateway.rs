//! Routes, keys and the limit per second.

use headwater_sandbox::{API_KEY, RevenueOptions, simulations};
use reqwest::Method;
use serde_json::json;

use super::{Tenant, answer, options};

#[tokio::test]
async fn a_path_that_leads_nowhere_is_told_before_the_key_is_looked_at() {
    let tenant = Tenant::usual().await;
    for target in [
        "/v4/nothing",
        "/v5/admin/limits",
        "/v1/admin/limits",
        "/admin/limits",
        "/v4/export/forecast/list",
        "/v4/ingest/job/x",
        "/",
    ] {
        let (status, body) = answer(tenant.bare(Method::GET, target)).await;
        assert_eq!(status, 404, "{target}");
        assert_eq!(body["message"], "no Route matched with those values");
        assert_eq!(body["request_id"].as_str().unwrap().len(), 32);
    }
    let wrong_method = tenant.bare(Method::DELETE, "/v4/admin/limits");
    assert_eq!(answer(wrong_method).await.0, 404);
}

#[tokio::test]
async fn the_key_is_taken_from_its_header_only() {
    let tenant = Tenant::usual().await;
    let missing = json!({"message": "No API key found in request"});
    let wrong = json!({"message": "Invalid authentication credentials"});
    let request = || tenant.bare(Method::GET, "/v4/admin/limits");
    assert_eq!(answer(request()).await, (401, missing.clone()));
    assert_eq!(answer(request().bearer_auth(API_KEY)).await, (401, missing));
    assert_eq!(answer(request().header("apikey", "x")).await, (401, wrong));
    assert_eq!(answer(request().header("apiKey", API_KEY)).await.0, 200);
}

#[tokio::test]
async fn the_forms_hold_good_and_wrong_keys() {
    let tenant = Tenant::usual().await;
    let mut all = simulations().iter();
    let simulation = all.find(|one| one.id == "clari-revenue").unwrap();
    let base_url = tenant.sandbox.base_url();
    for (form, expected) in [
        ((simulation.form)(&base_url), 200),
        ((simulation.wrong_form)(&base_url), 401),
    ] {
        let url = format!("{}/admin/limits", form["base_url"].as_str().unwrap());
        let key = form["api_key"].as_str().unwrap();
        let request = tenant.http.get(url).header("apikey", key);
        assert_eq!(answer(request).await.0, expected);
    }
}

#[tokio::test]
async fn too_many_requests_in_a_second_are_throttled() {
    let tenant = Tenant::start(RevenueOptions {
        per_second: Some(3),
        ..options()
    })
    .await;
    let mut throttled = 0;
    for _ in 0..8 {
        let response = tenant.request(Method::GET, "/admin/limits").send().await;
        let response = response.unwrap();
        if response.status() != 429 {
            continue;
        }
        throttled += 1;
        assert_eq!(response.headers()["retry-after"], "1");
        let body: serde_json::Value =
            serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(body, json!({"message": "API rate limit exceeded"}));
    }
    assert!(throttled > 0);
    assert_eq!(tenant.sandbox.stats().throttled, throttled);
    // The value of Retry-After can be set.
    tenant.sandbox.set_faults("retry_after=7".parse().unwrap());
    let mut last = None;
    while last.is_none() {
        let response = tenant.request(Method::GET, "/admin/limits").send().await;
        last = response.unwrap().headers().get("retry-after").cloned();
    }
    assert_eq!(last.unwrap(), "7");
}
