//! Shared by the tests: a sandbox without rate limits and a client with good credentials.

pub mod document;

use headwater_sandbox::{API_KEY, API_PASSWORD, CopilotLimits, CopilotOptions, Sandbox};
use serde_json::Value;

pub struct Api {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
}

pub fn unlimited() -> CopilotLimits {
    CopilotLimits {
        per_second: None,
        per_week: None,
        ..CopilotLimits::default()
    }
}

impl Api {
    pub async fn start(options: CopilotOptions) -> Self {
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

    pub async fn of_calls(calls: u64) -> Self {
        Self::start(CopilotOptions {
            calls,
            limits: unlimited(),
            ..CopilotOptions::default()
        })
        .await
    }

    pub fn url(&self, target: &str) -> String {
        format!("{}{target}", self.sandbox.base_url())
    }

    pub fn request(&self, method: reqwest::Method, target: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, self.url(target))
            .header("X-Api-Key", API_KEY)
            .header("X-Api-Password", API_PASSWORD)
    }

    pub async fn get(&self, target: &str) -> (u16, Value) {
        answer(self.request(reqwest::Method::GET, target)).await
    }

    /// The body of an answer that must be 200.
    pub async fn ok(&self, target: &str) -> Value {
        let (status, body) = self.get(target).await;
        assert_eq!(status, 200, "{target}: {body}");
        body
    }

    pub async fn send(&self, method: reqwest::Method, target: &str, body: &Value) -> (u16, Value) {
        answer(self.request(method, target).json(body)).await
    }

    /// Every record of a paged list; `target` must have a `?`.
    pub async fn read_all(&self, target: &str, key: &str) -> Vec<Value> {
        let mut records = Vec::new();
        let mut skip = 0;
        loop {
            let page = self.ok(&format!("{target}&limit=100&skip={skip}")).await;
            records.extend(page[key].as_array().unwrap().iter().cloned());
            let pagination = &page["pagination"];
            if pagination["hasMore"] == false {
                assert_eq!(pagination["nextPageSkip"], Value::Null);
                assert_eq!(pagination["matched"], records.len());
                return records;
            }
            skip = pagination["nextPageSkip"].as_u64().unwrap();
        }
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

pub fn texts(records: &[Value], key: &str) -> Vec<String> {
    let text = |record: &Value| record[key].as_str().unwrap().to_owned();
    records.iter().map(text).collect()
}

pub fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

pub fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
