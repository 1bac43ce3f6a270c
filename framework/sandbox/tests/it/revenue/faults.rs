//! The faults of the crate, where streamed answers make a difference.

use reqwest::Method;
use serde_json::json;

use headwater_sandbox::{RevenueBehaviour, RevenueOptions};

use super::{Tenant, options};

#[tokio::test]
async fn a_streamed_result_is_cut_short() {
    for chunked_results in [false, true] {
        let tenant = Tenant::start(RevenueOptions {
            forecast_entries: 20_000,
            behaviour: RevenueBehaviour {
                chunked_results,
                ..RevenueBehaviour::default()
            },
            ..options()
        })
        .await;
        let body = json!({"includeHistorical": true});
        let id = tenant.order("/export/forecast/net_arr", body).await;
        let request = || tenant.request(Method::GET, &format!("/export/jobs/{id}/results"));
        let whole = request().send().await.unwrap().bytes().await.unwrap().len();
        tenant.sandbox.set_faults("truncate=1".parse().unwrap());
        let mut response = request().send().await.unwrap();
        let mut received = 0;
        let outcome = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => received += chunk.len(),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert!(outcome.is_err());
        assert!(received > 0 && received < whole, "{received} of {whole}");
        let again = request().send().await.unwrap().bytes().await.unwrap().len();
        assert_eq!(again, whole);
    }
}

#[tokio::test]
async fn the_other_faults_apply_below_the_version() {
    let tenant = Tenant::usual().await;
    let limits = "/admin/limits";
    tenant.sandbox.set_faults("deny=/v4/audit".parse().unwrap());
    assert_eq!(tenant.get("/audit/events").await.0, 403);
    assert_eq!(tenant.get(limits).await.0, 200);
    tenant
        .sandbox
        .set_faults("status=503:1:/v4/admin".parse().unwrap());
    assert_eq!(tenant.get(limits).await.0, 503);
    assert_eq!(tenant.get(limits).await.0, 200);
    tenant.sandbox.set_faults("other_json=1".parse().unwrap());
    assert_eq!(tenant.ok(limits).await, json!({"hello": "world"}));
    for (fault, is_error) in [
        ("reset=1", true),
        ("html=1", false),
        ("redirect=1:http://x", false),
    ] {
        tenant.sandbox.set_faults(fault.parse().unwrap());
        let outcome = tenant.request(Method::GET, limits).send().await;
        assert_eq!(outcome.is_err(), is_error, "{fault}");
    }
}
