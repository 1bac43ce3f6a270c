//! The files that exports make: their formats, their size and how they are sent.

use headwater_sandbox::{RevenueBehaviour, RevenueOptions};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Tenant, list, options};

async fn results(tenant: &Tenant, body: Value) -> reqwest::Response {
    let id = tenant.order("/export/forecast/net_arr", body).await;
    let request = tenant.request(Method::GET, &format!("/export/jobs/{id}/results"));
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_large_result_streams_with_its_length() {
    let tenant = Tenant::start(RevenueOptions {
        forecast_entries: 200_000,
        ..options()
    })
    .await;
    let body = json!({"timePeriod": "2026_Q1", "includeHistorical": true});
    let mut response = results(&tenant, body.clone()).await;
    let announced = response.content_length().unwrap();
    assert!(announced > 40_000_000, "{announced}");
    assert_eq!(response.headers()["content-type"], "application/json");
    let mut received = 0;
    let mut end = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        received += chunk.len() as u64;
        end = chunk.to_vec();
    }
    assert_eq!(received, announced);
    assert!(end.ends_with(b"]}"));
    // A client that leaves early costs nothing.
    let mut response = results(&tenant, body).await;
    response.chunk().await.unwrap();
    drop(response);
    assert_eq!(tenant.get("/admin/limits").await.0, 200);
}

#[tokio::test]
async fn the_largest_tenant_starts_to_answer_at_once() {
    let tenant = Tenant::start(RevenueOptions {
        forecast_entries: 100_000_000,
        ..options()
    })
    .await;
    let mut response = results(
        &tenant,
        json!({"timePeriod": "2026_Q1", "includeHistorical": true}),
    )
    .await;
    assert!(response.content_length().unwrap() > 10_000_000_000);
    let chunk = response.chunk().await.unwrap().unwrap();
    assert!(chunk.starts_with(b"{\"entries\":[{\"fieldId\":\""));
    assert_eq!(tenant.sandbox.keys("forecast_entries"), None);
}

#[tokio::test]
async fn the_length_can_be_left_out() {
    let whole = results(&Tenant::usual().await, json!({})).await;
    let tenant = Tenant::start(RevenueOptions {
        behaviour: RevenueBehaviour {
            chunked_results: true,
            ..RevenueBehaviour::default()
        },
        ..options()
    })
    .await;
    let chunked = results(&tenant, json!({})).await;
    assert!(whole.headers().contains_key("content-length"));
    assert!(!chunked.headers().contains_key("content-length"));
    assert_eq!(chunked.text().await.unwrap(), whole.text().await.unwrap());
}

#[tokio::test]
async fn csv_shows_one_value_a_line() {
    let tenant = Tenant::usual().await;
    let options = |format: &str| {
        json!({
            "exportFormat": format,
            "includeHistorical": true,
            "typesToExport": ["forecast", "forecast_updated", "quota", "adjustment"],
        })
    };
    let id = tenant
        .order("/export/forecast/net_arr", options("CSV"))
        .await;
    let job = tenant.job(&id).await;
    assert_eq!(job["fileType"], "CSV");
    assert!(job["fileName"].as_str().unwrap().ends_with(".csv"));
    let response = results(&tenant, options("CSV")).await;
    assert_eq!(response.headers()["content-type"], "text/csv");
    let text = response.text().await.unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "User,Email,CRM User ID,Role,Parent Role,Timeframe,Field,Week,Start Day,End Day,Data Type,Data Value"
    );
    let json = tenant
        .export("/export/forecast/net_arr", options("JSON"))
        .await;
    let entries = list(&json, "entries").iter();
    let expected: usize = entries
        .map(|entry| {
            if entry["quotaValue"].is_null() && entry.get("quotaValue").is_none() {
                3
            } else {
                1
            }
        })
        .sum();
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), expected);
    for wanted in [
        ",Forecast Value,$572.00",
        ",Forecast Value,\"$12,345,678,901,234,567,890.10\"",
        ",Forecast Updated,Yes",
        ",Forecast Updated,No",
        ",Quota Value,",
        ",Adjustment Value,",
        ",06/18/2025,06/24/2025,",
        ",Q2 FY 2026,Net Commit,0,04/30/2025,",
    ] {
        assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted}");
    }
}

#[tokio::test]
async fn a_download_link_needs_no_key_and_is_signed() {
    let tenant = Tenant::start(RevenueOptions {
        behaviour: RevenueBehaviour {
            download_link: true,
            ..RevenueBehaviour::default()
        },
        ..options()
    })
    .await;
    let id = tenant.order("/export/forecast/net_arr", json!({})).await;
    let link = tenant.job(&id).await["downloadUrl"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(link.starts_with(&tenant.sandbox.base_url()));
    let get = async |link: &str| {
        let response = tenant.http.get(link).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, text) = get(&link).await;
    let direct = tenant.ok(&format!("/export/jobs/{id}/results")).await;
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), direct);
    let (plain, _) = link.split_once('?').unwrap();
    assert_eq!(get(plain).await.0, 403);
    assert_eq!(get(&link.replace("expires=", "expires=1")).await.0, 403);
    assert_eq!(get(&link.replace(&id, "x")).await.0, 403);
    let usual = Tenant::usual().await;
    let id = usual.order("/export/forecast/net_arr", json!({})).await;
    assert_eq!(usual.job(&id).await["downloadUrl"], Value::Null);
}
