//! Every fault, and the control endpoints that set them.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use crate::support::{Api, answer, texts};
use headwater_sandbox::{Faults, RedirectFault, Sandbox};
use reqwest::Method;
use serde_json::{Value, json};

async fn with_faults(faults: &str) -> Api {
    let api = Api::of_calls(60).await;
    api.sandbox.set_faults(faults.parse().unwrap());
    api
}

#[tokio::test]
async fn latency_delays_each_answer() {
    let api = with_faults("latency=120ms").await;
    for _ in 0..2 {
        let begin = Instant::now();
        assert_eq!(api.get("/users").await.0, 200);
        assert!(begin.elapsed() >= Duration::from_millis(120));
    }
}

#[tokio::test]
async fn statuses_are_answered_so_many_times() {
    let api = with_faults("status=503:2:/calls,retry_after=4").await;
    assert_eq!(api.get("/users").await.0, 200);
    for _ in 0..2 {
        let request = api.request(Method::GET, "/calls");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "4");
    }
    assert_eq!(api.get("/calls").await.0, 200);
    assert_eq!(api.sandbox.faults().status.unwrap().next, 0);
}

#[tokio::test]
async fn connections_are_reset() {
    let api = with_faults("reset=1").await;
    let error = api.request(Method::GET, "/users").send().await.unwrap_err();
    let mut source: Option<&dyn Error> = Some(&error);
    let mut kinds = Vec::new();
    while let Some(current) = source {
        kinds.extend(current.downcast_ref::<io::Error>().map(io::Error::kind));
        source = current.source();
    }
    assert!(kinds.contains(&io::ErrorKind::ConnectionReset), "{error:?}");
    assert_eq!(api.get("/users").await.0, 200);
    assert_eq!(api.sandbox.stats().unanswered, 1);
}

#[tokio::test]
async fn stalled_requests_are_never_answered() {
    let api = with_faults("stall=1").await;
    let error = api
        .request(Method::GET, "/users")
        .timeout(Duration::from_millis(200))
        .send()
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(api.get("/users").await.0, 200);
}

#[tokio::test]
async fn truncated_answers_break_off() {
    let api = with_faults("truncate=1").await;
    let response = api.request(Method::GET, "/users").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let announced = response.content_length().unwrap();
    let mut response = response;
    let mut received = 0;
    let error = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => received += chunk.len() as u64,
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(error.is_some());
    assert!(received > 0 && received < announced);
    assert_eq!(api.get("/users").await.0, 200);
}

#[tokio::test]
async fn successful_answers_can_be_nonsense() {
    let api = with_faults("html=1,other_json=1,error_body=1").await;
    let response = api.request(Method::GET, "/users").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    assert!(response.text().await.unwrap().contains("Sign in"));
    assert_eq!(api.get("/users").await, (200, json!({"hello": "world"})));
    let (status, body) = api.get("/users").await;
    assert_eq!(status, 200);
    assert!(body["errorMessage"].is_string());
    assert!(api.ok("/users").await["users"].is_array());
}

#[tokio::test]
async fn requests_are_redirected() {
    let api = Api::of_calls(10).await;
    api.sandbox.set_faults(Faults {
        redirect: Some(RedirectFault {
            origin: "http://127.0.0.1:1".to_owned(),
            next: 1,
        }),
        ..Faults::default()
    });
    let request = api.request(Method::GET, "/calls?limit=3");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 302);
    assert_eq!(
        response.headers()["location"],
        "http://127.0.0.1:1/calls?limit=3"
    );
    assert_eq!(api.get("/calls?limit=3").await.0, 200);
}

#[tokio::test]
async fn denied_paths_answer_forbidden() {
    let api = with_faults("deny=/scorecard,deny=/users").await;
    for target in ["/scorecard", "/scorecard-template", "/users"] {
        assert_eq!(
            api.get(target).await,
            (403, json!({"message": "Forbidden"}))
        );
    }
    assert_eq!(api.get("/calls").await.0, 200);
}

#[tokio::test]
async fn the_set_shrinks_while_it_is_read_below_a_bound() {
    let api = with_faults("changing=3").await;
    let bound = jiff::Timestamp::now();
    let matched = async || {
        let page = api.ok(&format!("/calls?filterModifiedLt={bound}")).await;
        page["pagination"]["matched"].as_u64().unwrap()
    };
    let first = matched().await;
    assert_eq!(matched().await, first - 3);
    assert_eq!(matched().await, first - 6);
    let keys = api.sandbox.keys("calls").unwrap().len() as u64;
    assert_eq!(keys, first);
}

#[tokio::test]
async fn every_nth_call_lacks_its_details() {
    let api = with_faults("missing_details=4").await;
    let calls = api
        .read_all("/calls?sortTime=asc&includePrivate=true", "calls")
        .await;
    for (id, position) in texts(&calls, "id").iter().zip(1..) {
        let (status, _) = api.get(&format!("/call-details?id={id}")).await;
        assert_eq!(status == 404, position % 4 == 0);
    }
}

#[tokio::test]
async fn faults_are_set_over_http() {
    let api = Api::of_calls(20).await;
    let post = |target: &str, body: Value| answer(api.http.post(api.url(target)).json(&body));
    let (status, _) = post("/_sandbox/faults", json!({"html": 2, "deny": ["/users"]})).await;
    assert_eq!(status, 200);
    assert_eq!(api.sandbox.faults().html, 2);
    assert_eq!(api.get("/users").await.0, 403);

    let (status, body) = post("/_sandbox/faults", json!({"htlm": 1})).await;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().contains("htlm"));
    let status_fault = json!({"status": {"code": 99, "next": 1}});
    assert_eq!(post("/_sandbox/faults", status_fault).await.0, 400);
    assert_eq!(api.sandbox.faults().html, 2);

    assert_eq!(post("/_sandbox/faults", json!({})).await.0, 200);
    assert_eq!(api.sandbox.faults(), Faults::default());
}

#[tokio::test]
async fn control_endpoints_tell_and_change() {
    let api = Api::of_calls(20).await;
    assert_eq!(api.get("/users").await.0, 200);
    let get = |target: &str| answer(api.http.get(api.url(target)));
    let (status, stats) = get("/_sandbox/stats").await;
    assert_eq!(status, 200);
    assert_eq!(stats["requests"], 1);
    assert_eq!(stats["by_status"]["200"], 1);
    let (_, keys) = get("/_sandbox/keys?stream=calls").await;
    let expected = json!({"stream": "calls", "keys": api.sandbox.keys("calls")});
    assert_eq!(keys, expected);
    assert_eq!(get("/_sandbox/keys?stream=x").await.0, 400);
    assert_eq!(get("/_sandbox/keys").await.0, 400);
    assert_eq!(get("/_sandbox/x").await.0, 404);

    let now = jiff::Timestamp::now().as_millisecond() - 1;
    let now = jiff::Timestamp::from_millisecond(now).unwrap();
    let change = api.http.post(api.url("/_sandbox/change"));
    let (status, _) = answer(change.json(&json!({"calls": 4}))).await;
    assert_eq!(status, 200);
    let changed = api.ok(&format!("/calls?filterModifiedGt={now}")).await;
    assert_eq!(changed["pagination"]["matched"], 4);
    let bad = api.http.post(api.url("/_sandbox/change"));
    assert_eq!(answer(bad.json(&json!({"call": 4}))).await.0, 400);
}

#[tokio::test]
async fn control_endpoints_refuse_foreign_host_names() {
    let api = Api::of_calls(10).await;
    let request = api
        .http
        .get(api.url("/_sandbox/stats"))
        .header("Host", "attacker.example.com");
    assert_eq!(answer(request).await.0, 403);
}

#[tokio::test]
async fn a_stopped_sandbox_is_gone_even_for_a_stalled_client() {
    let api = with_faults("stall=1").await;
    let url = api.url("/users");
    let stalled = tokio::spawn(api.request(Method::GET, "/users").send());
    let patience = Instant::now();
    while api.sandbox.stats().requests == 0 {
        assert!(patience.elapsed().as_secs() < 60, "nothing is asked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let Api { sandbox, http } = api;
    sandbox.stop().await;
    assert!(stalled.await.unwrap().is_err());
    assert!(http.get(url).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn a_dropped_sandbox_frees_its_port() {
    let sandbox = Sandbox::start(headwater_sandbox::CopilotOptions::default())
        .await
        .unwrap();
    let port: u16 = sandbox
        .base_url()
        .rsplit_once(':')
        .unwrap()
        .1
        .parse()
        .unwrap();
    let taken = Sandbox::start(headwater_sandbox::CopilotOptions {
        port,
        ..Default::default()
    });
    let error = taken.await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    drop(sandbox);
    for _ in 0..6_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            return;
        }
    }
    unreachable!("the sandbox still listens");
}
