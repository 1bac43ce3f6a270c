//! The client against a server that misbehaves in every way that services do.

use std::{
    future::poll_fn,
    io::Write,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crate::common::{
    QUICK, SECRET, builder, client, closed_port, plain_server, self_signed_server,
};
use headwater_core::{Context, Egress, Error, Kind, Meter, Status};
use headwater_http::{Client, Request, Response, RetryPolicy, context};
use headwater_testkit::{Ending, Reply, Script};

/// A server that gives `first` to the first request and a good answer to all later ones.
async fn once(first: Reply) -> Script {
    let answer = move |request: &headwater_testkit::Request| match request.index {
        0 => first.clone(),
        _ => Reply::json(200, "{}"),
    };
    Script::start(answer).await.unwrap()
}

/// A server that always gives the same.
async fn always(reply: Reply) -> Script {
    Script::start(move |_| reply.clone()).await.unwrap()
}

fn with(script: &Script, policy: RetryPolicy) -> (Client, Arc<Meter>) {
    let context = context(&Egress::Anywhere).unwrap();
    let client = builder(&script.base_url(), &context).retry(policy).build();
    (client.unwrap(), context.meter)
}

async fn get(client: &Client) -> Result<Response, Error> {
    client
        .send(&Request::get("/things").query("filter", "private"))
        .await
}

async fn fails(client: &Client) -> Error {
    let error = get(client).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    for hidden in [SECRET, "canary", "private", "filter", "http://", "https://"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
    assert!(
        error.context().any(|fact| fact == ("path", "/things")),
        "{error}"
    );
    error
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_counted() {
    for status in [408, 425, 500, 502, 503, 504] {
        let script = once(Reply::json(status, "{}")).await;
        let (client, meter) = with(
            &script,
            RetryPolicy {
                deadline: Duration::from_secs(10),
                ..QUICK
            },
        );
        let response = get(&client).await.unwrap();
        assert_eq!(response.status, 200);
        assert_eq!((meter.requests(), meter.retries()), (2, 1), "{status}");
        assert_eq!(script.requests().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    let whole = || Reply::json(200, r#"{"items":[1,2,3,4,5,6,7,8,9]}"#);
    for (broken, what) in [
        (Reply::raw("", Ending::Close), "closed before the answer"),
        (Reply::raw("", Ending::Reset), "reset before the answer"),
        (whole().cut(40, Ending::Close), "closed within the head"),
        (whole().cut(10, Ending::Close), "closed within the body"),
        (whole().cut(10, Ending::Reset), "reset within the body"),
        (
            Reply::raw("SSH-2.0-OpenSSH_9.6\r\n", Ending::Close),
            "another protocol",
        ),
    ] {
        let script = once(broken.clone()).await;
        let response = get(&client(&script)).await;
        assert_eq!(
            response.map(|response| response.body).unwrap(),
            "{}",
            "{what}"
        );
        assert_eq!(script.requests().len(), 2, "{what}");

        let script = always(broken).await;
        let error = fails(&client(&script)).await;
        assert_eq!(
            (error.kind(), error.status()),
            (Kind::Unavailable, Status::Persistent),
            "{what}"
        );
        assert!(
            error.context().any(|fact| fact == ("tries", "5")),
            "{what}: {error}"
        );
        assert_eq!(script.requests().len(), 5, "{what}");
    }
}

#[tokio::test]
async fn an_answer_that_stalls_ends_with_the_deadline() {
    let policy = RetryPolicy {
        deadline: Duration::from_millis(200),
        ..QUICK
    };
    let whole = Reply::json(200, r#"{"items":[1,2,3]}"#);
    for stalled in [Reply::raw("", Ending::Stall), whole.cut(5, Ending::Stall)] {
        let script = always(stalled).await;
        let (client, _) = with(&script, policy);
        let start = Instant::now();
        let error = fails(&client).await;
        assert_eq!(
            (error.kind(), error.status()),
            (Kind::Unavailable, Status::Persistent)
        );
        assert!(
            start.elapsed() < policy.deadline * 25,
            "{:?}",
            start.elapsed()
        );
    }
}

#[tokio::test]
async fn a_throttled_request_waits_as_long_as_the_service_asks() {
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    for (headers, least) in [
        (vec![("retry-after", "2")], 2000),
        (vec![("retry-after", &*soon)], 1000),
        (vec![("retry-after", "soon")], 1000),
        (vec![], 1000),
    ] {
        let script = once(Reply::full(429, &headers, b"{}")).await;
        let (client, meter) = with(&script, QUICK);
        let start = Instant::now();
        get(&client).await.unwrap();
        let least = Duration::from_millis(least);
        assert!(
            start.elapsed() >= least,
            "{headers:?}: {:?}",
            start.elapsed()
        );
        assert!(
            meter.backoff_wait() >= least,
            "{headers:?}: {:?}",
            meter.backoff_wait()
        );
    }
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_handed_on_at_once() {
    let hour = Duration::from_secs(3600);
    for (status, kind) in [(429, Kind::RateLimited), (503, Kind::Unavailable)] {
        let script = always(Reply::full(status, &[("retry-after", "3600")], b"{}")).await;
        let error = fails(&client(&script)).await;
        assert_eq!((error.kind(), error.status()), (kind, Status::Persistent));
        assert_eq!(error.delay(), Some(hour));
        assert_eq!(script.requests().len(), 1);
    }
    for absurd in [&u64::MAX.to_string(), "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let script = always(Reply::full(429, &[("retry-after", absurd)], b"{}")).await;
        let error = fails(&client(&script)).await;
        assert!(error.delay() > Some(hour), "{absurd}");
        assert!(
            SystemTime::now()
                .checked_add(error.delay().unwrap())
                .is_some(),
            "{absurd}"
        );
        assert_eq!(script.requests().len(), 1, "{absurd}");
    }
}

#[tokio::test]
async fn what_the_request_causes_fails_at_once() {
    for (status, kind) in [
        (400, Kind::DataInvalid),
        (401, Kind::Unauthenticated),
        (403, Kind::PermissionDenied),
        (404, Kind::NotFound),
        (409, Kind::DataInvalid),
        (410, Kind::NotFound),
        (405, Kind::DataInvalid),
        (413, Kind::DataInvalid),
        (415, Kind::DataInvalid),
        (422, Kind::DataInvalid),
        (402, Kind::PermissionDenied),
        (501, Kind::Unavailable),
    ] {
        let script = always(Reply::json(status, "{}")).await;
        let error = fails(&client(&script)).await;
        assert_eq!(error.kind(), kind, "{status}");
        let text = status.to_string();
        assert!(
            error.context().any(|fact| fact == ("status", &*text)),
            "{error}"
        );
        assert_eq!(script.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let elsewhere = always(Reply::json(200, "{}")).await;
    let away = format!("{}/things", elsewhere.base_url());
    for status in [301, 302, 303, 307, 308] {
        for location in [&*away, "/other", "http://169.254.169.254/"] {
            let script = always(Reply::full(status, &[("location", location)], b"")).await;
            let error = fails(&client(&script)).await;
            assert_eq!(
                (error.kind(), error.status()),
                (Kind::DataInvalid, Status::Permanent)
            );
            assert!(error.message().contains("redirect"), "{error}");
            assert_eq!(script.requests().len(), 1, "{status}");
        }
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn accepted_statuses_are_handed_over_untouched() {
    for status in [302, 400, 404, 429, 502, 503] {
        let script = always(Reply::full(status, &[("x-why", "gone")], b" {\"a\": 1e2} ")).await;
        let request = Request::get("/things").accept(&[302, 400, 404, 429, 502, 503]);
        let response = client(&script).send(&request).await.unwrap();
        assert_eq!(response.status.as_u16(), status);
        assert_eq!(response.headers["x-why"], "gone");
        assert_eq!(response.body, " {\"a\": 1e2} ");
        // A server error may be a hiccup of the gateway, so it is believed when it comes twice.
        let requests = if status < 500 { 1 } else { 2 };
        assert_eq!(script.requests().len(), requests, "{status}");
    }
}

#[tokio::test]
async fn a_request_carries_each_header_once_and_its_query_encoded() {
    let script = once(Reply::json(500, "{}")).await;
    let context = context(&Egress::Anywhere).unwrap();
    let base = format!("{}/v1/", script.base_url());
    let client = builder(&base, &context).build().unwrap();
    let request = Request::get("/things").query("since", "2026-01-01T00:00:00+01:00 &x=1");
    client.send(&request).await.unwrap();
    let requests = script.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(
            request.target,
            "/v1/things?since=2026-01-01T00%3A00%3A00%2B01%3A00+%26x%3D1"
        );
        assert_eq!(request.header("x-key"), Some(SECRET));
        assert_eq!(request.header("accept"), Some("application/json"));
        let agent = concat!("headwater/", env!("CARGO_PKG_VERSION"));
        assert_eq!(request.header("user-agent"), Some(agent));
        let head = request.head.to_ascii_lowercase();
        for name in ["x-key", "accept", "user-agent", "host"] {
            assert_eq!(
                head.matches(&format!("\n{name}:")).count(),
                1,
                "{name} in {head}"
            );
        }
        assert_eq!(head.matches(SECRET).count(), 1, "{head}");
    }
}

#[tokio::test]
async fn errors_repeat_what_the_service_says_but_never_the_secret() {
    let said =
        |text: &str| serde_json::json!({ "errorMessage": text, "trace": "private" }).to_string();
    for (body, expected) in [
        (said("workspace suspended"), Some("workspace suspended")),
        (
            said(&format!("bad key {SECRET}!")),
            Some("bad key [redacted]!"),
        ),
        (said("one\r\n\u{1b}[31mtwo"), Some("one   [31mtwo")),
        (said(&"x".repeat(10_000)), Some("xxx")),
        // The secret must not lose its tail to the cut, and its head must not survive it.
        (said(&format!("{}{SECRET}", "x".repeat(190))), Some("xxx")),
        ("<html><h1>canary</h1></html>".to_owned(), None),
        ("canary".to_owned(), None),
        (r#"{"error":{"canary":"canary"}}"#.to_owned(), None),
        (format!("[{}", "x".repeat(1 << 20)), None),
    ] {
        for status in [400, 401, 500] {
            let script = always(Reply::json(status, &body)).await;
            let (client, _) = with(&script, RetryPolicy { tries: 1, ..QUICK });
            let error = fails(&client).await;
            assert!(error.message().len() < 400, "{error}");
            let has_tail = error.message().contains(": ");
            assert_eq!(has_tail, expected.is_some(), "{error}");
            assert!(
                error.message().contains(expected.unwrap_or_default()),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn an_endless_outage_sees_few_retries() {
    let script = always(Reply::json(500, "{}")).await;
    let (client, meter) = with(
        &script,
        RetryPolicy {
            base: Duration::ZERO,
            ..QUICK
        },
    );
    for _ in 0..20 {
        fails(&client).await;
    }
    let drained = meter.requests();
    assert!(drained > 20, "the first calls are tried again");
    for _ in 0..100 {
        fails(&client).await;
    }
    let later = meter.requests() - drained;
    assert!(later <= 110, "{later} requests for 100 calls");
    assert_eq!(script.requests().len() as u64, meter.requests());
}

#[tokio::test]
async fn clients_of_one_credential_pay_for_their_retries_together() {
    let script = always(Reply::json(500, "{}")).await;
    let policy = RetryPolicy {
        base: Duration::ZERO,
        ..QUICK
    };
    let clients: Vec<_> = (0..10).map(|_| with(&script, policy)).collect();
    for (client, _) in &clients {
        for _ in 0..10 {
            fails(client).await;
        }
    }
    let retries: u64 = clients.iter().map(|(_, meter)| meter.retries()).sum();
    assert!((30..=36).contains(&retries), "{retries} for 100 calls");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compressed_bodies_are_decoded_and_broken_ones_refused() {
    let zipped = gzip(b"{\"items\":[]}");
    let headers = [("content-encoding", "gzip")];
    let script = always(Reply::full(200, &headers, &zipped)).await;
    assert_eq!(get(&client(&script)).await.unwrap().body, "{\"items\":[]}");
    assert!(
        script.requests()[0]
            .header("accept-encoding")
            .unwrap()
            .contains("gzip")
    );

    let mut damaged = zipped.clone();
    damaged[12..16].fill(0xff);
    for body in [b"not gzip at all".to_vec(), damaged] {
        let script = always(Reply::full(200, &headers, &body)).await;
        let error = fails(&client(&script)).await;
        assert_eq!(error.kind(), Kind::DataInvalid);
        assert!(
            error.message().contains("cannot be decompressed"),
            "{error}"
        );
        assert_eq!(script.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused_and_the_limit_named() {
    let context = context(&Egress::Anywhere).unwrap();
    let limit = 10_000;
    for (length, is_refused) in [(limit, false), (limit + 1, true), (50 * limit, true)] {
        let plain = " ".repeat(length);
        let zipped = gzip(plain.as_bytes());
        let chunked = format!(
            "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{plain}\r\n0\r\n\r\n"
        );
        for reply in [
            Reply::full(200, &[], plain.as_bytes()),
            Reply::full(200, &[("content-encoding", "gzip")], &zipped),
            Reply::raw(chunked, Ending::KeepOpen),
        ] {
            let script = always(reply).await;
            let client = builder(&script.base_url(), &context)
                .body_limit(limit)
                .build()
                .unwrap();
            if is_refused {
                let error = fails(&client).await;
                assert_eq!(
                    (error.kind(), error.status()),
                    (Kind::DataInvalid, Status::Permanent)
                );
                assert!(
                    error.message().contains("the limit of 10000 bytes"),
                    "{error}"
                );
            } else {
                assert_eq!(get(&client).await.unwrap().body.len(), length);
            }
            assert_eq!(script.requests().len(), 1);
        }
    }
}

/// 256 MiB of spaces: one compressed mebibyte, again and again.
fn bomb() -> Vec<u8> {
    let mut block = Vec::with_capacity(64 << 10);
    let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
    deflate
        .compress_vec(
            &vec![b' '; 1 << 20],
            &mut block,
            flate2::FlushCompress::Full,
        )
        .unwrap();
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    bomb.extend(block.repeat(256));
    bomb
}

#[tokio::test]
async fn a_compression_bomb_takes_no_more_memory_than_its_limit() {
    let context = context(&Egress::Anywhere).unwrap();
    for status in [200, 400] {
        let script = always(Reply::full(
            status,
            &[("content-encoding", "gzip")],
            &bomb(),
        ))
        .await;
        let client = builder(&script.base_url(), &context)
            .body_limit(8 << 20)
            .build()
            .unwrap();
        let before = peak_memory();
        let error = fails(&client).await;
        if status == 200 {
            assert_eq!(error.kind(), Kind::DataInvalid);
            assert!(error.message().contains("8388608 bytes"), "{error}");
        }
        if let (Some(before), Some(after)) = (before, peak_memory()) {
            let growth = after - before;
            assert!(growth < 64 << 10, "{growth} KiB more");
        }
    }
}

/// The most memory this process ever had, in KiB.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

async fn fails_at(base: &str) -> (Error, Arc<Meter>) {
    let context: Context = context(&Egress::Anywhere).unwrap();
    let client = builder(base, &context).build().unwrap();
    let error = fails(&client).await;
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    (error, context.meter)
}

#[tokio::test]
async fn a_connection_that_is_not_trusted_is_not_tried_again() {
    for port in [plain_server().await, self_signed_server().await] {
        let (error, meter) = fails_at(&format!("https://localhost:{port}")).await;
        assert_eq!(error.status(), Status::Permanent, "{error}");
        assert_eq!(meter.requests(), 1, "{error}");
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_tried_again() {
    let (error, meter) = fails_at(&format!("http://127.0.0.1:{}", closed_port())).await;
    assert_eq!(error.status(), Status::Persistent);
    assert!(error.message().contains("connection refused"), "{error}");
    assert_eq!(meter.requests(), 5);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named_as_the_cause() {
    let (error, _) = fails_at("https://no-such-host.invalid").await;
    assert!(error.message().contains("does not resolve"), "{error}");
}

const TARGET: &str = "HEADWATER_TEST_TARGET";

#[tokio::test(flavor = "multi_thread")]
async fn proxies_from_the_environment_are_ignored() {
    let target = always(Reply::json(200, "{}")).await;
    let proxy = always(Reply::json(200, "{}")).await;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "client::asks_the_target_once", "--ignored"]);
    child.env(TARGET, target.base_url()).env("NO_PROXY", "");
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        child.env(name, proxy.base_url());
    }
    let output = tokio::task::spawn_blocking(move || child.output())
        .await
        .unwrap()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!((target.requests().len(), proxy.requests().len()), (1, 0));
}

#[tokio::test]
#[ignore = "run by the test of proxies, in a process with an environment of its own"]
async fn asks_the_target_once() {
    let Ok(target) = std::env::var(TARGET) else {
        return;
    };
    let client = builder(&target, &context(&Egress::Anywhere).unwrap())
        .build()
        .unwrap();
    get(&client).await.unwrap();
}

/// On one thread, so that nothing is left to chance.
#[tokio::test]
async fn whoever_asks_one_thing_after_another_keeps_one_connection() {
    let script = always(Reply::json(200, "{}")).await;
    let context = context(&Egress::Anywhere).unwrap();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (transport, url) = (Arc::clone(&context.transport), script.base_url());
        all.spawn(async move {
            for _ in 0..3 {
                let request = http::Request::get(&url).body(bytes::Bytes::new());
                let answer = transport.send(request.unwrap()).await.unwrap();
                let mut body = answer.into_body();
                while let Some(chunk) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
                    chunk.unwrap();
                }
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    assert_eq!(script.requests().len(), 300);
    assert_eq!(script.connections(), 100);
}
