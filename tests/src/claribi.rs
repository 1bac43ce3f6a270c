//! What the tests of the clariBI connector share.

use std::sync::Arc;

use headwater_core::{AnyStream, Context, Source};
use headwater_sandbox::{
    ClaribiOptions, Sandbox,
    claribi::{API_KEY, EMAIL, PASSWORD, RateLimit},
};
use serde_json::{Value, json};

use crate::{
    ReadThrough, connector,
    unhurried::{self, on_the_wire},
};

/// All streams.
pub const STREAMS: [&str; 5] = [
    "data_sources",
    "reports",
    "dashboards",
    "account_status",
    "billing_usage",
];
/// Those that are lists, with their paths.
pub const LISTS: [(&str, &str); 3] = [
    ("data_sources", "/api/data-sources/"),
    ("reports", "/api/reports/"),
    ("dashboards", "/api/dashboards/"),
];

/// A simulator without a rate limit, for a test with a paused clock.
pub async fn organization_of(data_sources: u64) -> Sandbox {
    organization(ClaribiOptions {
        data_sources,
        ..ClaribiOptions::default()
    })
    .await
}

/// The same with other options; no rate limit in any case.
pub async fn organization(options: ClaribiOptions) -> Sandbox {
    limited(ClaribiOptions {
        rate_limit: RateLimit::None,
        ..options
    })
    .await
}

/// The same with the limit of the options.
pub async fn limited(options: ClaribiOptions) -> Sandbox {
    on_the_wire(Sandbox::start(options))
        .await
        .expect("a free loopback port")
}

/// An answer to the form with a key in one of the styles.
pub fn by_key(base_url: &str, style: &str, key: &str) -> Value {
    json!({ "auth": { "style": style, "api_key": key }, "base_url": base_url })
}

/// The answer to the form that a sandbox accepts.
pub fn answer(base_url: &str) -> Value {
    by_key(base_url, "api_key_authorization", API_KEY)
}

/// The same with a login.
pub fn by_login(base_url: &str) -> Value {
    json!({ "auth": { "style": "jwt", "email": EMAIL, "password": PASSWORD }, "base_url": base_url })
}

/// A source for a test with a paused clock.
pub fn open(answer: Value) -> Arc<dyn Source> {
    open_in(&unhurried::context(), answer)
}

/// A source in a context.
pub fn open_in(context: &Context, answer: Value) -> Arc<dyn Source> {
    let connector = connector("claribi");
    let config = connector.validate(answer).expect("a valid answer");
    connector.open(&config, context).expect("a source")
}

/// A stream of a service that a sandbox's key opens, for a test with a paused clock.
pub fn stream(base_url: &str, name: &str) -> Arc<dyn AnyStream> {
    open(answer(base_url)).stream(name).expect("a known stream")
}

/// The ids of records as text, sorted.
pub fn ids(read: &ReadThrough) -> Vec<String> {
    let id = |record: &String| {
        let record: Value = serde_json::from_str(record).expect("a record is JSON");
        match &record["id"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    };
    let mut ids: Vec<String> = read.records.iter().map(id).collect();
    ids.sort();
    ids
}
