//! The simulator of Clari Revenue, over HTTP.

mod audit;
mod document;
mod faults;
mod forecasts;
mod gateway;
mod ingest;
mod jobs;
mod records;
mod results;
mod switches;

use std::time::Duration;

use headwater_sandbox::{API_KEY, ClariRevenue, JobOptions, RevenueOptions, Sandbox, Service};
use reqwest::Method;
use serde_json::{Value, json};

/// A simulated tenant and a client with a good key.
struct Tenant {
    sandbox: Sandbox,
    http: reqwest::Client,
}

/// A tenant on a day in the middle of 2026_Q2, without limits per second and with jobs that are
/// done at once.
fn options() -> RevenueOptions {
    RevenueOptions {
        forecast_entries: 300,
        today: Some("2025-06-18".parse().unwrap()),
        per_second: None,
        jobs: quick(),
        ..RevenueOptions::default()
    }
}

fn quick() -> JobOptions {
    JobOptions {
        scheduled: Duration::ZERO,
        running: Duration::ZERO,
        ..JobOptions::default()
    }
}

/// Polls for a result, for a minute at most.
async fn soon(work: impl Future<Output = ()>) {
    let patience = Duration::from_secs(60);
    let came = tokio::time::timeout(patience, work).await;
    came.expect("it comes within a minute");
}

impl Tenant {
    async fn start(service: impl Into<Service>) -> Self {
        // Other crates of the workspace switch TLS on, which then wants a provider even for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // A server may close an idle connection just when a request goes out on it.
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self {
            sandbox: Sandbox::start(service).await.unwrap(),
            http,
        }
    }

    async fn usual() -> Self {
        Self::start(options()).await
    }

    fn revenue(&self) -> &ClariRevenue {
        self.sandbox.revenue().unwrap()
    }

    fn keys(&self, stream: &str) -> Vec<String> {
        self.sandbox.keys(stream).unwrap()
    }

    /// A request without a key; `target` has the version.
    fn bare(&self, method: Method, target: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{target}", self.sandbox.base_url());
        self.http.request(method, url)
    }

    fn request(&self, method: Method, target: &str) -> reqwest::RequestBuilder {
        self.bare(method, &format!("/v4{target}"))
            .header("apikey", API_KEY)
    }

    async fn get(&self, target: &str) -> (u16, Value) {
        answer(self.request(Method::GET, target)).await
    }

    /// The body of an answer that must be 200.
    async fn ok(&self, target: &str) -> Value {
        let (status, body) = self.get(target).await;
        assert_eq!(status, 200, "{target}: {body}");
        body
    }

    async fn post(&self, target: &str, body: Value) -> (u16, Value) {
        answer(self.request(Method::POST, target).json(&body)).await
    }

    /// Orders a forecast export that must be taken.
    async fn order(&self, target: &str, body: Value) -> String {
        let (status, answer) = self.post(target, body).await;
        assert!([200, 202].contains(&status), "{target}: {answer}");
        answer["jobId"].as_str().unwrap().to_owned()
    }

    /// The job object, out of the default envelope.
    async fn job(&self, id: &str) -> Value {
        self.ok(&format!("/export/jobs/{id}")).await["job"].clone()
    }

    async fn status(&self, id: &str) -> String {
        self.job(id).await["status"].as_str().unwrap().to_owned()
    }

    /// The result of an export whose job is done at once.
    async fn export(&self, target: &str, body: Value) -> Value {
        let id = self.order(target, body).await;
        self.ok(&format!("/export/jobs/{id}/results")).await
    }

    async fn cancel(&self, id: &str) -> (u16, Value) {
        let request = self.request(Method::PATCH, &format!("/export/jobs/{id}"));
        answer(request.json(&json!({"type": "CANCEL"}))).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
    (status, body)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap()
}

/// The texts of one or several members of records, joined and sorted.
fn keys(records: &[Value], members: &[&str]) -> Vec<String> {
    let key = |record: &Value| {
        let parts: Vec<&str> = members
            .iter()
            .map(|member| record[member].as_str().unwrap())
            .collect();
        parts.join("|")
    };
    let mut keys: Vec<String> = records.iter().map(key).collect();
    keys.sort();
    keys
}
