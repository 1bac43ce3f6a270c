//! Every switch of the simulation, by its name.

use headwater_sandbox::{API_KEY, Setup, Simulation, simulations};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Tenant, answer, soon};

fn simulation() -> &'static Simulation {
    let mut all = simulations().iter();
    all.find(|one| one.id == "clari-revenue").unwrap()
}

async fn with(switches: &[(&str, &str)]) -> Tenant {
    let switches = switches.iter();
    let setup = Setup {
        size: Some(300),
        switches: switches
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        per_second: Some(0),
        ..Setup::default()
    };
    Tenant::start((simulation().service)(&setup).unwrap()).await
}

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn every_value_of_every_switch_is_possible() {
    for switch in simulation().switches {
        for value in switch.values {
            with(&[(switch.name, value)]).await;
        }
        let setup = Setup {
            switches: vec![(switch.name.into(), "no such value".into())],
            ..Setup::default()
        };
        let refusal = (simulation().service)(&setup).unwrap_err();
        assert!(
            refusal.contains(switch.name) && refusal.contains(switch.values[0]),
            "{refusal}"
        );
    }
    for size in [9, 100_000_001] {
        let setup = Setup {
            size: Some(size),
            ..Setup::default()
        };
        let refusal = (simulation().service)(&setup).unwrap_err();
        assert_eq!(refusal, format!("the size {size} is not in 10..=100000000"));
    }
}

#[tokio::test]
async fn auth_and_versions() {
    for (auth, versions, served) in [
        ("apikey", "v4", ["v4 apikey", "", ""]),
        ("bearer", "v1", ["v1 bearer", "", ""]),
        ("both", "both", ["v4 apikey", "v1 bearer", "v1 apikey"]),
        ("apikey", "v2", ["v2 apikey", "", ""]),
    ] {
        let tenant = with(&[("auth", auth), ("versions", versions)]).await;
        for version in ["v1", "v2", "v4"] {
            for style in ["apikey", "bearer"] {
                let request = tenant.bare(Method::GET, &format!("/{version}/admin/limits"));
                let request = match style {
                    "apikey" => request.header("apikey", API_KEY),
                    _ => request.bearer_auth(API_KEY),
                };
                let is_good = status(request).await == 200;
                let way = format!("{version} {style}");
                if auth != "both" {
                    assert_eq!(
                        is_good,
                        served.contains(&way.as_str()),
                        "{auth} {versions} {way}"
                    );
                } else {
                    assert_eq!(is_good, version != "v2", "{way}");
                }
            }
        }
    }
    // The last one of a name counts.
    let tenant = with(&[("auth", "bearer"), ("auth", "apikey")]).await;
    assert_eq!(tenant.get("/admin/limits").await.0, 200);
}

#[tokio::test]
async fn envelopes() {
    let tenant = with(&[
        ("job_envelope", "bare"),
        ("jobs_list", "jobs"),
        ("opportunity_envelope", "opportunities"),
        ("audit_key", "activities"),
    ])
    .await;
    let id = tenant.order("/export/audit/events", json!({})).await;
    assert_eq!(tenant.ok(&format!("/export/jobs/{id}")).await["jobId"], *id);
    assert_eq!(tenant.ok("/export/jobs").await["jobs"][0]["jobId"], *id);
    let opportunity = tenant.keys("opportunities").remove(0);
    let found = tenant
        .ok(&format!("/opportunity?oppId={opportunity}"))
        .await;
    assert_eq!(found["opportunities"][0]["id"], *opportunity);
    let events = tenant.ok("/audit/events").await;
    assert!(events["activities"].is_array() && events["items"].is_null());
    soon(async {
        while tenant.ok(&format!("/export/jobs/{id}")).await["status"] != "DONE" {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let result = tenant.ok(&format!("/export/jobs/{id}/results")).await;
    assert!(result["activities"].is_array() && result["items"].is_null());
}

#[tokio::test]
async fn endpoints_that_may_not_exist() {
    let tenant = with(&[
        ("forecast_list", "on"),
        ("limits", "off"),
        ("unknown_job", "404"),
    ])
    .await;
    let listed = tenant.ok("/export/forecast/list").await;
    assert_eq!(listed["forecasts"][0]["forecastId"], "net_arr");
    assert_eq!(
        listed["forecasts"][0]["timePeriods"]
            .as_array()
            .unwrap()
            .len(),
        8
    );
    assert_eq!(tenant.get("/admin/limits").await.0, 404);
    assert_eq!(tenant.get("/export/jobs/x").await.0, 404);
    let tenant = with(&[("limits", "403")]).await;
    assert_eq!(tenant.get("/admin/limits").await.0, 403);
    assert_eq!(tenant.get("/export/jobs/x").await.0, 400);
}

#[tokio::test]
async fn links_of_the_audit_log() {
    for (value, expected) in [
        ("absolute", "http://127.0.0.1:"),
        ("relative", "/v4/audit/events?"),
        ("other_scheme", "https://127.0.0.1:"),
        ("other_host", "http://audit.clari.invalid/v4/audit/events?"),
    ] {
        let tenant = with(&[("audit_link", value)]).await;
        let page = tenant.ok("/audit/events?limit=1").await;
        let link = page["nextLink"].as_str().unwrap();
        assert!(link.starts_with(expected), "{link}");
    }
    let tenant = with(&[("audit_cursor", "offset"), ("audit_growth", "1")]).await;
    let first = tenant.ok("/audit/events?limit=1").await;
    let link = first["nextLink"].as_str().unwrap().to_owned();
    let request = tenant.http.get(link).header("apikey", API_KEY);
    assert_eq!(answer(request).await.1["items"], first["items"]);
}

#[tokio::test]
async fn exports() {
    let tenant = with(&[
        ("crm_export", "served"),
        ("concurrent_limit", "1"),
        ("monthly_quota", "30"),
        ("download_link", "on"),
        ("results", "chunked"),
    ])
    .await;
    let limits = tenant.ok("/admin/limits").await["jobs"].clone();
    assert_eq!(
        (&limits["concurrentLimit"], &limits["monthlyQuota"]),
        (&json!(1), &json!(30))
    );
    let body = json!({"typesToExport": ["crm_total", "crm_closed"]});
    let id = tenant.order("/export/forecast/net_arr", body).await;
    let job = loop {
        let job = tenant.job(&id).await;
        if job["status"] == "DONE" {
            break job;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let link = job["downloadUrl"].as_str().unwrap();
    let response = tenant.http.get(link).send().await.unwrap();
    assert_eq!(response.headers().get("content-length"), None);
    let result: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(result["fields"].as_array().unwrap().len(), 2);
    assert!(result["entries"][0].get("aggregationTotal").is_some());
}
