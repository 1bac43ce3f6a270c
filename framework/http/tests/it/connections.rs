//! Connections that the service closes between two requests.

use std::time::{Duration, Instant};

use crate::common::{SECRET, builder, client};
use async_trait::async_trait;
use headwater_core::{BaseUrl, Egress, Error, Kind, Result, Secret};
use headwater_http::{
    Access, Client, Grant, Prober, Records, Request, RetryPolicy, TokenSource, context,
};
use headwater_testkit::{Ending, Reply, Script};
use serde_json::json;
use tokio::task::JoinSet;

/// A policy whose waits a test would notice.
const SLOW: RetryPolicy = RetryPolicy {
    base: Duration::from_secs(1000),
    deadline: Duration::from_secs(600),
    ..RetryPolicy::READ
};

/// A server that answers the first request of each connection, and drops it with the second one.
async fn forgetful(ending: Ending) -> Script {
    let answer = move |request: &headwater_testkit::Request| match request.on_connection {
        0 => Reply::json(200, r#"{"things":[],"access":"token"}"#),
        _ => Reply::raw("", ending),
    };
    Script::start(answer).await.unwrap()
}

#[tokio::test]
async fn sixty_pages_are_read_though_every_used_connection_is_dropped() {
    for ending in [Ending::Close, Ending::Reset] {
        let script = forgetful(ending).await;
        let context = context(&Egress::Anywhere).unwrap();
        let client = builder(&script.base_url(), &context).retry(SLOW);
        let client = client.build().unwrap();
        for page in 0..60 {
            let request = Request::get("/things").query("page", page);
            client.send(&request).await.unwrap();
        }
        // Side by side as well.
        let mut all = JoinSet::new();
        for page in 0..60 {
            let client = client.clone();
            let request = Request::get("/things").query("page", page);
            all.spawn(async move { client.send(&request).await.map(drop) });
        }
        for sent in all.join_all().await {
            sent.unwrap();
        }
        assert_eq!(context.meter.backoff_wait(), Duration::ZERO);
        assert_eq!(script.requests().len() as u64, context.meter.requests());
        assert!(context.meter.requests() <= 240, "each twice at most");
    }
}

#[tokio::test]
async fn a_download_begins_though_its_connection_was_dropped() {
    let script = forgetful(Ending::Close).await;
    let context = context(&Egress::Anywhere).unwrap();
    let client = builder(&script.base_url(), &context).retry(SLOW);
    let client = client.build().unwrap();
    for _ in 0..4 {
        let opened = client.download(&Request::get("/things")).await.unwrap();
        let mut download = opened.unwrap();
        while download.chunk().await.unwrap().is_some() {}
    }
}

#[tokio::test]
async fn a_probe_takes_a_dropped_connection_for_no_trouble() {
    let script = forgetful(Ending::Close).await;
    let client = client(&script);
    for _ in 0..3 {
        let prober = Prober {
            client: &client,
            address: "/base_url",
        };
        let verdict = prober
            .first(&Request::get("/things"), Records::Lists(&["/things"]))
            .await;
        assert_eq!(verdict.access, Access::Granted, "{verdict:?}");
    }
}

struct Login(Client);

#[async_trait]
impl TokenSource for Login {
    async fn obtain(&self, _: Option<&Secret>) -> Result<Grant> {
        let request = Request::post("/login", &json!({})).repeatable();
        self.0.send(&request).await?;
        Ok(Grant {
            access: Secret::new("token"),
            refresh: None,
        })
    }
}

#[tokio::test]
async fn a_login_goes_over_a_new_connection_where_the_used_one_was_dropped() {
    let script = forgetful(Ending::Close).await;
    let context = context(&Egress::Anywhere).unwrap();
    let base = BaseUrl::parse(&script.base_url()).unwrap();
    let start = || Client::builder("Sample", &base, &context).retry(SLOW);
    let login = start().build().unwrap();
    // Leaves a connection behind that was used.
    login.send(&Request::get("/things")).await.unwrap();
    let client = start().tokens(Login(login), &[&Secret::new(SECRET)]);
    let client = client.build().unwrap();
    client.send(&Request::get("/things")).await.unwrap();
    assert_eq!(context.meter.backoff_wait(), Duration::ZERO);
}

#[tokio::test]
async fn what_changes_something_is_never_sent_twice() {
    let script = forgetful(Ending::Close).await;
    let client = client(&script);
    client.send(&Request::get("/things")).await.unwrap();
    let order = Request::post("/orders", &json!({}));
    let error: Error = client.send(&order).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let orders = script.requests();
    let orders = orders.iter().filter(|one| one.target == "/orders");
    assert_eq!(orders.count(), 1);
}

#[tokio::test]
async fn a_new_connection_that_fails_as_well_is_trouble() {
    let answer = |request: &headwater_testkit::Request| match request.index {
        0 => Reply::json(200, "{}"),
        _ => Reply::raw("", Ending::Close),
    };
    let script = Script::start(answer).await.unwrap();
    let client = client(&script);
    client.send(&Request::get("/things")).await.unwrap();
    let start = Instant::now();
    let error = client.send(&Request::get("/things")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(
        error.context().any(|fact| fact == ("tries", "5")),
        "{error}"
    );
    // Five tries, and the one over the used connection, which was free.
    assert_eq!(script.requests().len(), 1 + 1 + 5);
    assert!(start.elapsed() < Duration::from_secs(20));
}
