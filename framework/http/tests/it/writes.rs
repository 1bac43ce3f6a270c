//! Requests that change something: what they carry, and when they may be sent twice.

use std::time::Duration;

use crate::common::{QUICK, Wire, builder, client, closed_port};
use headwater_core::{Egress, Kind, Status};
use headwater_http::{Client, Request, RetryPolicy, context};
use headwater_testkit::{Ending, Reply, Script};
use serde_json::json;

fn order() -> Request {
    Request::post("/orders", &json!({ "name": "ö", "rows": [1, 2.50] }))
}

/// A client whose calls end soon, whatever the server does.
fn hasty(script: &Script) -> Client {
    let policy = RetryPolicy {
        deadline: Duration::from_millis(300),
        ..QUICK
    };
    let context = context(&Egress::Anywhere).unwrap();
    let client = builder(&script.base_url(), &context).retry(policy);
    client.build().unwrap()
}

#[tokio::test]
async fn a_write_carries_its_body_as_json() {
    let script = Script::start(|_| Reply::json(200, "{}")).await.unwrap();
    let client = client(&script);
    let body = json!({ "name": "ö", "rows": [1, 2.50] });
    for (method, request) in [
        ("POST", Request::post("/orders", &body)),
        ("PATCH", Request::patch("/orders/1", &body)),
    ] {
        client.send(&request.query("dry", true)).await.unwrap();
        let sent = script.requests().pop().unwrap();
        assert_eq!(sent.method(), method);
        assert!(sent.target.ends_with("?dry=true"), "{}", sent.target);
        assert_eq!(sent.header("content-type"), Some("application/json"));
        assert_eq!(sent.body, body.to_string().as_bytes());
    }
    client.send(&Request::get("/orders")).await.unwrap();
    let sent = script.requests().pop().unwrap();
    assert_eq!((sent.method(), sent.body.len()), ("GET", 0));
    assert_eq!(sent.header("content-type"), None);
}

#[tokio::test]
async fn a_body_of_many_packets_arrives_whole_and_leaves_the_connection_usable() {
    let script = Script::start(|_| Reply::json(200, "{}")).await.unwrap();
    let client = client(&script);
    let large = json!({ "text": "x".repeat(3 << 20) });
    for _ in 0..2 {
        let request = Request::post("/orders", &large);
        client.send(&request).await.unwrap();
    }
    for sent in script.requests() {
        assert_eq!(sent.body, large.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_write_whose_outcome_is_unknown_is_not_sent_again() {
    let whole = Reply::json(200, r#"{"id":1}"#);
    for (lost, what) in [
        (Reply::raw("", Ending::Close), "closed before the answer"),
        (Reply::raw("", Ending::Reset), "reset before the answer"),
        (Reply::raw("", Ending::Stall), "no answer"),
        (whole.clone().cut(4, Ending::Close), "closed half way"),
        (whole.cut(4, Ending::Stall), "stalled half way"),
    ] {
        let script = Script::start(move |_| lost.clone()).await.unwrap();
        let error = hasty(&script).send(&order()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.status()),
            (Kind::Unavailable, Status::Temporary),
            "{what}"
        );
        assert!(!format!("{error:?}").contains('ö'), "{error:?}");
        assert_eq!(script.requests().len(), 1, "{what}");
    }
    for status in [408, 425, 500, 502, 504] {
        let script = Script::start(move |_| Reply::json(status, "{}"));
        let script = script.await.unwrap();
        let error = client(&script).send(&order()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{status}");
        assert_eq!(script.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_write_that_may_be_repeated_is() {
    for first in [
        Reply::raw("", Ending::Close),
        Reply::json(200, r#"{"id":1}"#).cut(4, Ending::Reset),
        Reply::json(408, "{}"),
        Reply::json(500, "{}"),
        Reply::json(504, "{}"),
    ] {
        let script = Script::start(move |request| match request.index {
            0 => first.clone(),
            _ => Reply::json(200, "{}"),
        });
        let script = script.await.unwrap();
        let sent = client(&script).send(&order().repeatable()).await;
        assert_eq!(sent.unwrap().status, 200);
        let bodies: Vec<_> = script.requests().into_iter().map(|one| one.body).collect();
        assert_eq!(bodies.len(), 2);
        assert_eq!(bodies[0], bodies[1]);
    }
}

#[tokio::test]
async fn a_write_that_was_never_sent_is_tried_again() {
    let context = context(&Egress::Anywhere).unwrap();
    let base = format!("http://127.0.0.1:{}", closed_port());
    let client = builder(&base, &context).build().unwrap();
    let error = client.send(&order()).await.unwrap_err();
    assert_eq!(error.status(), Status::Persistent);
    assert_eq!(context.meter.requests(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_the_service_turned_away_is_tried_again() {
    for status in [429, 503] {
        let wire = Wire::new(move |nth, _| match nth {
            0 => Wire::reply(status, &[("retry-after", "7")], "{}"),
            _ => Wire::reply(200, &[], "{}"),
        });
        let sent = wire.client().send(&order()).await;
        assert_eq!(sent.unwrap().status, 200);
        let times = wire.times();
        assert_eq!(times.len(), 2, "{status}");
        assert!(times[1] - times[0] >= Duration::from_secs(7), "{times:?}");
    }
}
