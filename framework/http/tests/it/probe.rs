//! The first questions of a probe, and what each answer means for the form.

use crate::common::{SECRET, builder, client, closed_port, plain_server, self_signed_server};
use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{Body, Check, Context, Egress, Kind, Outcome, Transport, TransportError};
use headwater_http::{Access, Client, Prober, Records, Request, Verdict, context};
use headwater_testkit::{Ending, Reply, Script};

const ITEMS: Records = Records::Lists(&["/items"]);
const ADDRESS: &str = "/base_url";

fn prober(client: &Client) -> Prober<'_> {
    Prober {
        client,
        address: ADDRESS,
    }
}

async fn ask(client: &Client) -> Verdict {
    let verdict = prober(client)
        .first(&Request::get("/items").query("filter", "private"), ITEMS)
        .await;
    let shown = format!("{verdict:?}");
    for hidden in [SECRET, "canary", "private"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    verdict
}

/// Name and code of each check.
fn codes(verdict: &Verdict) -> Vec<(&str, &str)> {
    let checks = verdict.checks.iter();
    checks
        .map(|check| (check.name.as_str(), &*check.code))
        .collect()
}

fn unknown(access: &Access) -> &Check {
    match access {
        Access::Unknown(check) => check,
        known => panic!("{known:?}"),
    }
}

async fn always(reply: Reply) -> Script {
    Script::start(move |_| reply.clone()).await.unwrap()
}

#[tokio::test]
async fn an_answer_of_the_api_says_whether_the_credentials_are_good() {
    for (status, body, access) in [
        (200, r#"{"items":[]}"#, Access::Granted),
        (200, r#"{"items":[{"id":1}],"more":true}"#, Access::Granted),
        (401, r#"{"message":"no"}"#, Access::Unauthenticated),
        (401, "", Access::Unauthenticated),
        (403, r#"{"message":"no"}"#, Access::Denied),
    ] {
        let script = always(Reply::json(status, body)).await;
        let verdict = ask(&client(&script)).await;
        assert_eq!(
            codes(&verdict),
            [("reachable", "ok"), ("api", "ok")],
            "{status}"
        );
        assert_eq!(verdict.access, access, "{status}");
        assert_eq!(script.requests().len(), 1, "{status}");
        assert!(verdict.checks[0].latency.is_some());
    }
}

#[tokio::test]
async fn an_answer_of_something_else_points_at_the_address() {
    let json = |status, body: &str| Reply::json(status, body);
    let html = |status| {
        Reply::full(
            status,
            &[("content-type", "text/html; charset=utf-8")],
            b"<html>canary</html>",
        )
    };
    let location = |to: &str| Reply::full(302, &[("location", to)], b"");
    let echo = format!(r#"{{"message":"{}{SECRET}"}}"#, "x".repeat(190));
    for (reply, code, says) in [
        (html(200), "not_this_api", "web page"),
        (html(401), "not_this_api", "web page"),
        (html(404), "not_this_api", "web page"),
        (json(200, " <!doctype html>"), "not_this_api", "web page"),
        (
            json(200, r#"{"status":"ok"}"#),
            "not_this_api",
            "not answer like the Sample API",
        ),
        (
            json(200, "[]"),
            "not_this_api",
            "not answer like the Sample API",
        ),
        (
            json(200, ""),
            "not_this_api",
            "not answer like the Sample API",
        ),
        (
            json(204, ""),
            "not_this_api",
            "not answer like the Sample API",
        ),
        (json(404, "{}"), "wrong_path", "404"),
        (
            json(405, r#"{"message":"use POST"}"#),
            "not_this_api",
            "(status 405): use POST",
        ),
        (json(400, &echo), "not_this_api", "status 400"),
        (
            location("https://login.example.com/canary?x=canary"),
            "redirected",
            "https://login.example.com;",
        ),
        (location("/login"), "redirected", "elsewhere"),
        (Reply::full(301, &[], b""), "redirected", "elsewhere"),
    ] {
        let script = always(reply).await;
        let client = client(&script);
        let verdict = ask(&client).await;
        assert_eq!(codes(&verdict), [("reachable", "ok"), ("api", code)]);
        let api = &verdict.checks[1];
        assert_eq!(script.requests().len(), 1);
        // The kind of a read that gets the same answer.
        let read = client.send(&Request::get("/items")).await;
        let read = read.and_then(|answer| client.split(&answer.body, ITEMS, &[]).map(drop));
        assert_eq!(
            (api.outcome, api.kind),
            (Outcome::Failed, Some(read.unwrap_err().kind()))
        );
        assert_eq!(api.pointers, [ADDRESS]);
        assert!(api.message.contains(says), "{}", api.message);
        assert!(api.remedy.is_some());
        assert_eq!(unknown(&verdict.access), &Check::skipped("credentials"));
    }
}

#[tokio::test]
async fn a_service_in_trouble_leaves_the_credentials_unjudged() {
    let html = Reply::full(
        502,
        &[("content-type", "text/html")],
        b"<html>canary</html>",
    );
    for (reply, code, kind, remedy, requests) in [
        (
            Reply::full(429, &[("retry-after", "7")], b""),
            "throttled",
            Kind::RateLimited,
            "in 7 seconds",
            1,
        ),
        (
            Reply::json(429, "{}"),
            "throttled",
            Kind::RateLimited,
            "in 60 seconds",
            1,
        ),
        (
            Reply::json(503, "{}"),
            "service_problem",
            Kind::Unavailable,
            "your input is not the cause",
            2,
        ),
        (
            html,
            "service_problem",
            Kind::Unavailable,
            "your input is not the cause",
            2,
        ),
    ] {
        let script = always(reply).await;
        let verdict = ask(&client(&script)).await;
        assert_eq!(codes(&verdict), [("reachable", "ok")]);
        let check = unknown(&verdict.access);
        assert_eq!(
            (&*check.name, &*check.code, check.kind),
            ("credentials", code, Some(kind))
        );
        assert!(check.pointers.is_empty(), "no field can cure it");
        assert!(check.remedy.as_ref().unwrap().contains(remedy), "{check:?}");
        assert_eq!(script.requests().len(), requests, "{code}");
    }
}

#[tokio::test]
async fn a_hiccup_is_forgiven_once() {
    for hiccup in [
        Reply::json(502, ""),
        Reply::raw("", Ending::Close),
        Reply::raw("", Ending::Reset),
    ] {
        let answer = move |request: &headwater_testkit::Request| match request.index {
            0 => hiccup.clone(),
            _ => Reply::json(200, r#"{"items":[]}"#),
        };
        let script = Script::start(answer).await.unwrap();
        assert_eq!(ask(&client(&script)).await.access, Access::Granted);
        assert_eq!(script.requests().len(), 2);
    }
}

async fn ask_at(base: &str) -> Verdict {
    let context = context(&Egress::Anywhere).unwrap();
    ask(&builder(base, &context).build().unwrap()).await
}

/// A verdict of nothing but trouble on the way.
fn assert_unreachable(verdict: &Verdict, expected: &[(&str, &str)]) {
    assert_eq!(codes(verdict), expected);
    let mut failed = verdict
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::Failed);
    let check = failed.next().unwrap();
    assert_eq!((check.kind, failed.next()), (Some(Kind::Unavailable), None));
    assert_eq!(check.pointers, [ADDRESS]);
    assert!(check.remedy.is_some());
    assert_eq!(unknown(&verdict.access), &Check::skipped("credentials"));
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_refused() {
    let verdict = ask_at(&format!("http://127.0.0.1:{}", closed_port())).await;
    assert_unreachable(&verdict, &[("reachable", "refused"), ("api", "skipped")]);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unknown() {
    let verdict = ask_at("https://no-such-host.invalid").await;
    let expected = [
        ("reachable", "name_unknown"),
        ("tls", "skipped"),
        ("api", "skipped"),
    ];
    assert_unreachable(&verdict, &expected);
}

#[tokio::test]
async fn a_connection_without_trust_is_told_from_one_that_fails() {
    for port in [self_signed_server().await, plain_server().await] {
        let verdict = ask_at(&format!("https://localhost:{port}")).await;
        assert_unreachable(
            &verdict,
            &[("reachable", "ok"), ("tls", "tls"), ("api", "skipped")],
        );
    }
}

#[tokio::test]
async fn a_connection_that_breaks_twice_is_interrupted() {
    let whole = Reply::json(200, r#"{"items":[]}"#);
    for broken in [Reply::raw("", Ending::Reset), whole.cut(3, Ending::Close)] {
        let script = always(broken).await;
        let verdict = ask(&client(&script)).await;
        assert_unreachable(
            &verdict,
            &[("reachable", "interrupted"), ("api", "skipped")],
        );
        assert_eq!(script.requests().len(), 2);
    }
}

/// A network on which nothing ever arrives.
struct Silence;

#[async_trait]
impl Transport for Silence {
    async fn send(&self, _: http::Request<Bytes>) -> Result<http::Response<Body>, TransportError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_timeout_after_as_long_as_a_person_waits() {
    let client = builder("http://127.0.0.1:1", &Context::new(Silence))
        .build()
        .unwrap();
    let start = tokio::time::Instant::now();
    let verdict = ask(&client).await;
    assert_unreachable(&verdict, &[("reachable", "timeout"), ("api", "skipped")]);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn access_to_a_stream_is_judged_under_its_own_name() {
    let request = Request::get("/items");
    for (reply, expected) in [
        (Reply::json(200, r#"{"items":[]}"#), None),
        (
            Reply::json(429, ""),
            Some(("access:things", "throttled", Outcome::Failed)),
        ),
        (
            Reply::json(503, ""),
            Some(("access:things", "service_problem", Outcome::Failed)),
        ),
        (
            Reply::raw("", Ending::Close),
            Some(("access:things", "unavailable", Outcome::Warned)),
        ),
    ] {
        let script = always(reply).await;
        let client = client(&script);
        let access = prober(&client)
            .access("things", &request, ITEMS)
            .await
            .access;
        match expected {
            None => assert_eq!(access, Access::Granted),
            Some(expected) => {
                let check = unknown(&access);
                assert_eq!((&*check.name, &*check.code, check.outcome), expected);
            }
        }
    }
}
