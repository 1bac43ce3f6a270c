//! A sandbox of clariBI and a client with a good key.

use headwater_sandbox::claribi::{API_KEY, RateLimit};
use headwater_sandbox::{ClaribiOptions, Sandbox};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

pub const LISTS: [(&str, &str); 3] = [
    ("data_sources", "/api/data-sources/"),
    ("reports", "/api/reports/"),
    ("dashboards", "/api/dashboards/"),
];

pub struct Claribi {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
}

pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Options without a rate limit.
pub fn unlimited() -> ClaribiOptions {
    ClaribiOptions {
        rate_limit: RateLimit::None,
        ..ClaribiOptions::default()
    }
}

impl Claribi {
    pub async fn start(options: ClaribiOptions) -> Self {
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
            sandbox: Sandbox::start(options).await.unwrap(),
            http,
        }
    }

    pub async fn unlimited() -> Self {
        Self::start(unlimited()).await
    }

    pub async fn of_size(data_sources: u64) -> Self {
        Self::start(ClaribiOptions {
            data_sources,
            ..unlimited()
        })
        .await
    }

    /// A request without credentials.
    pub fn bare(&self, method: Method, target: &str) -> RequestBuilder {
        let url = format!("{}{target}", self.sandbox.base_url());
        self.http.request(method, url)
    }

    pub fn with_header(&self, target: &str, name: &str, value: &str) -> RequestBuilder {
        self.bare(Method::GET, target).header(name, value)
    }

    pub fn bearer(&self, target: &str, token: &str) -> RequestBuilder {
        self.with_header(target, "Authorization", &format!("Bearer {token}"))
    }

    pub async fn get(&self, target: &str) -> Answer {
        send(self.with_header(target, "Authorization", &format!("Api-Key {API_KEY}"))).await
    }

    /// The body of an answer that must be 200.
    pub async fn ok(&self, target: &str) -> Value {
        let answer = self.get(target).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text);
        answer.json()
    }

    pub async fn post(&self, target: &str, body: &Value) -> Answer {
        send(self.bare(Method::POST, target).json(body)).await
    }

    /// Every record of a list, read by following `next`.
    pub async fn read_all(&self, path: &str) -> Vec<Value> {
        let mut records = Vec::new();
        let mut target = format!("{path}?page_size=100");
        loop {
            let page = self.ok(&target).await;
            records.extend(page["results"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else {
                return records;
            };
            target = self.target(next);
        }
    }

    /// What follows the host of a link to this sandbox.
    pub fn target(&self, link: &str) -> String {
        let target = link.strip_prefix(&self.sandbox.base_url());
        target.expect("a link to this sandbox").to_owned()
    }
}

pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.unwrap(),
    }
}

/// The ids of records as texts, sorted.
pub fn sorted_ids(records: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> = records.iter().map(id_text).collect();
    ids.sort();
    ids
}

pub fn id_text(record: &Value) -> String {
    match &record["id"] {
        Value::String(text) => text.clone(),
        id => id.to_string(),
    }
}
