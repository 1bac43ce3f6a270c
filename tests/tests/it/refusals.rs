//! What services answer besides records, met with the binary: limits, refusals, encodings, connections that end.

use std::{
    io::Write,
    process::{Child, Stdio},
    thread,
};

use acceptance::{
    binary::{Ran, command, run_with_input},
    claribi, sandbox, simulation,
};
use headwater_core::Registry;
use headwater_sandbox::CopilotOptions;
use headwater_testkit::{Ending, Reply, Request, Script};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";
const USERS: &str = r#"{"users":[{"id":"u1"},{"id":"u2"}]}"#;

fn config(base_url: &str) -> Value {
    json!({ "api_key": "key", "api_password": "word", "base_url": base_url })
}

fn run(id: &str, arguments: &[&str], config: &Value) -> Ran {
    let (command, rest) = arguments.split_first().unwrap();
    let all = [*command, id, "--config", "-"];
    let all = all.iter().chain(rest);
    run_with_input(HEADWATER, all, config.to_string().as_bytes())
}

/// A service that answers like this, and the read of its users.
async fn read_users(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Ran, Script) {
    let script = Script::start(answer).await.unwrap();
    let config = config(&script.base_url());
    let read = run(ID, &["read", "--stream", "users"], &config);
    (read, script)
}

fn start(folder: &std::path::Path, config: &Value) -> Child {
    let mut child = command(HEADWATER)
        .args(["read", ID, "--config", "-", "--stream", "call_details"])
        .arg("--out")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(config.to_string().as_bytes()).unwrap();
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_one_key_share_its_limit_and_both_end_complete() {
    let sandbox = sandbox(CopilotOptions {
        calls: 90,
        ..CopilotOptions::default()
    })
    .await;
    let config = (simulation(ID).form)(&sandbox.base_url());
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let children = folders
        .each_ref()
        .map(|folder| start(&folder.path().join("out"), &config));
    let ended: Vec<Ran> = children
        .into_iter()
        .map(|child| thread::spawn(move || Ran::from(child.wait_with_output().unwrap())))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|ended| ended.join().unwrap())
        .collect();
    let all = sandbox.keys("call_details").unwrap().len();
    for (ran, folder) in ended.iter().zip(&folders) {
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let file = folder.path().join("out/call_details.jsonl");
        let lines = std::fs::read_to_string(file).unwrap().lines().count();
        assert_eq!(lines, all, "{}", ran.err);
    }
    assert!(sandbox.stats().throttled > 0, "they met at the limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_the_same_for_check_and_read_and_no_defect() {
    for (status, body, said, code) in [
        (
            400,
            r#"{"error":{"code":400,"message":"limit is too large","status":"INVALID_ARGUMENT"}}"#,
            "limit is too large",
            6,
        ),
        (
            422,
            r#"{"errors":[{"title":"Unprocessable"}]}"#,
            "Unprocessable",
            6,
        ),
        (
            400,
            r#"{"fault":{"faultstring":"bad call"}}"#,
            "bad call",
            6,
        ),
        (405, "{}", "", 6),
        (409, r#"{"title":"Conflict","status":409}"#, "Conflict", 6),
        (410, "{}", "", 4),
        (404, "{}", "", 4),
        (302, "", "", 6),
        (200, "<html></html>", "", 6),
        (200, r#"{"hello":"world"}"#, "", 6),
        (401, "{}", "", 3),
    ] {
        let reply = Reply::json(status, body);
        let (read, script) = read_users(move |_| reply.clone()).await;
        let checked = run(ID, &["check"], &config(&script.base_url()));
        let codes = (read.code, checked.code);
        assert_eq!(
            codes,
            (Some(code), Some(code)),
            "{status} {body}: {}{}",
            read.err,
            checked.all()
        );
        assert!(read.err.contains(said), "{status}: {}", read.err);
        assert!(!read.err.contains("defect"), "{}", read.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_status_is_a_defect_of_ours_for_any_connector() {
    // Some have a meaning, some have none, some are none.
    let statuses = [
        101, 199, 226, 300, 304, 399, 400, 407, 418, 451, 499, 511, 599, 600, 999,
    ];
    let registry = Registry::collect().unwrap();
    let connectors = registry.iter().map(|one| one.about().id);
    let mut running = tokio::task::JoinSet::new();
    let mut wrong = Vec::new();
    for id in connectors {
        for status in statuses {
            let script = Script::start(move |_| Reply::json(status, "{}")).await;
            let script = script.unwrap();
            running.spawn_blocking(move || {
                let config = (simulation(id).form)(&script.base_url());
                let both = [&["check"][..], &["read", "--quiet"]];
                both.map(|command| {
                    let ran = run(id, command, &config);
                    let is_failure = ran.code.is_some_and(|code| !matches!(code, 0 | 70 | 101));
                    // Below 200 a status only says that the answer is still to come.
                    let is_named = status < 300 || ran.all().contains(&status.to_string());
                    let is_right = is_failure && is_named && !ran.all().contains("defect");
                    let said = format!("{id} {command:?} {status} {:?}: {}", ran.code, ran.all());
                    (!is_right).then_some(said)
                })
            });
        }
    }
    while let Some(ran) = running.join_next().await {
        wrong.extend(ran.unwrap().into_iter().flatten());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Values that no service should send, each in every header that may tell of a limit.
const POISON: [&str; 12] = [
    "-1",
    "0",
    "NaN",
    "1e400",
    "-0.0",
    "99999999999999999999999",
    "18446744073709551615",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "soon",
    "0x10",
    ";;;,,,",
];
const LIMIT_HEADERS: [&str; 8] = [
    "retry-after",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "ratelimit",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_header_of_a_limit_keeps_a_run_or_breaks_it_for_any_connector() {
    let registry = Registry::collect().unwrap();
    let connectors = registry.iter().map(|one| one.about().id);
    let mut running = tokio::task::JoinSet::new();
    for id in connectors {
        for value in POISON {
            for status in [200, 429, 503] {
                let headers = LIMIT_HEADERS.map(|name| (name, value));
                let script = Script::start(move |_| Reply::full(status, &headers, b"{}")).await;
                let script = script.unwrap();
                running.spawn_blocking(move || {
                    let config = (simulation(id).form)(&script.base_url());
                    // A read of a service that always refuses goes on for minutes.
                    let wanted = if status == 200 { 2 } else { 1 };
                    let commands = [&["check"][..], &["read", "--quiet"]]
                        .into_iter()
                        .take(wanted);
                    let wrong = commands.filter_map(|command| {
                        let ran = run(id, command, &config);
                        let is_told = ran.code.is_some_and(|code| !matches!(code, 70 | 101));
                        let is_right = is_told && !ran.all().contains("defect");
                        let said = format!("{id} {command:?} {status} {value}: {}", ran.all());
                        (!is_right).then_some(said)
                    });
                    wrong.collect::<Vec<String>>()
                });
            }
        }
    }
    let mut wrong = Vec::new();
    // Every one of them ends, since a wait that a header asks for is bounded.
    while let Some(ran) = running.join_next().await {
        wrong.extend(ran.unwrap());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_403_that_means_a_rate_limit_is_waited_for_without_stay() {
    for header in [("retry-after", "1.5"), ("x-ratelimit-remaining", "0")] {
        let (read, _) = read_users(move |request| match request.index {
            0 => Reply::full(403, &[header, ("x-ratelimit-reset", "1")], b"{}"),
            _ => Reply::json(200, USERS),
        })
        .await;
        assert_eq!(read.code, Some(0), "{}", read.err);
        assert_eq!(read.out.lines().count(), 2);
    }
    let limited = |_: &Request| Reply::full(403, &[("retry-after", "7200")], b"{}");
    let (read, script) = read_users(limited).await;
    assert_eq!(read.code, Some(5), "{}", read.err);
    let checked = run(ID, &["check"], &config(&script.base_url()));
    assert_eq!(checked.code, Some(5), "{}", checked.all());
    assert!(checked.all().contains("7200 seconds"), "{}", checked.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_is_decoded_however_it_is_sent_and_other_encodings_are_named() {
    let member = |text: &str| {
        let level = flate2::Compression::fast();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let body = [member(&USERS[..17]), member(&USERS[17..])].concat();
    for encoding in ["gzip", "GZIP", "x-gzip", "gzip, identity"] {
        let reply = Reply::full(200, &[("content-encoding", encoding)], &body);
        let (read, _) = read_users(move |_| reply.clone()).await;
        assert_eq!(read.code, Some(0), "{encoding}: {}", read.err);
        assert_eq!(read.out, "{\"id\":\"u1\"}\n{\"id\":\"u2\"}\n");
    }
    let reply = Reply::full(200, &[("content-encoding", "br")], b"\x0b\x02\x80{}\x03");
    let (read, script) = read_users(move |_| reply.clone()).await;
    let checked = run(ID, &["check"], &config(&script.base_url()));
    assert_eq!(
        (read.code, checked.code),
        (Some(6), Some(6)),
        "{}",
        read.err
    );
    assert!(read.err.contains("encoded as br"), "{}", read.err);
    assert!(checked.all().contains("encoded as br"), "{}", checked.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheme_of_an_address_may_have_capital_letters() {
    let script = Script::start(|_| Reply::json(200, USERS)).await.unwrap();
    let address = script
        .base_url()
        .replace("http://127.0.0.1", "Http://LocalHost");
    let read = run(ID, &["read", "--stream", "users"], &config(&address));
    assert_eq!(read.code, Some(0), "{}", read.err);
    // Nothing listens with TLS there, but the address is one.
    let address = script.base_url().replace("http://", "Https://");
    let read = run(ID, &["check"], &config(&address));
    assert_eq!(read.code, Some(5), "{}", read.all());
}

/// A list of so many pages, each with one item.
fn pages(request: &Request, last: usize) -> Reply {
    let page = request
        .parameter("page")
        .map_or(1, |page| page.parse().unwrap());
    let next = (page < last).then(|| format!("http://127.0.0.1/api/dashboards/?page={}", page + 1));
    let body = json!({
        "count": last,
        "next": next,
        "previous": null,
        "results": [{ "id": page, "name": format!("dashboard {page}") }],
    });
    Reply::json(200, &body.to_string())
}

/// One item by its path: `/api/dashboards/7/`.
fn item(request: &Request) -> Reply {
    let id = request.target.trim_end_matches('/').rsplit('/').next();
    let id: Option<usize> = id.and_then(|id| id.parse().ok());
    Reply::json(200, &json!({ "id": id, "name": "a dashboard" }).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_read_though_every_used_connection_is_dropped() {
    let script = Script::start(|request| match request.on_connection {
        0 if request.target.starts_with("/api/dashboards/?") => pages(request, 60),
        0 => item(request),
        _ => Reply::raw("", Ending::Close),
    });
    let script = script.await.unwrap();
    let config = claribi::answer(&script.base_url());
    let read = run("claribi", &["read", "--stream", "dashboards"], &config);
    assert_eq!(read.code, Some(0), "{}", read.err);
    assert_eq!(read.out.lines().count(), 60, "{}", read.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_with_a_403_is_renewed() {
    for (status, ended) in [
        (401, r#"{"code":"token_not_valid"}"#),
        (
            403,
            r#"{"detail":"Given token not valid for any token type","code":"token_not_valid"}"#,
        ),
        (
            403,
            r#"{"error":"token_not_valid","message":"x","status":403}"#,
        ),
    ] {
        let script = Script::start(move |request| {
            let token = request.header("authorization").map(str::to_owned);
            match (&*request.target, token.as_deref()) {
                ("/api/auth/login/", _) => Reply::json(200, r#"{"access":"one","refresh":"r"}"#),
                ("/api/auth/token/refresh/", _) => Reply::json(200, r#"{"access":"two"}"#),
                // The first token ends after the third page.
                (target, Some("Bearer one")) if target.ends_with("page=4") => {
                    Reply::json(status, ended)
                }
                (target, Some(_)) if target.starts_with("/api/dashboards/?") => pages(request, 9),
                (_, Some(_)) => item(request),
                _ => Reply::json(401, "{}"),
            }
        });
        let script = script.await.unwrap();
        let config = claribi::by_login(&script.base_url());
        let read = run("claribi", &["read", "--stream", "dashboards"], &config);
        assert_eq!(read.code, Some(0), "{status}: {}", read.err);
        assert_eq!(read.out.lines().count(), 9, "{status}: {}", read.err);
        let asked = script.requests();
        let count = |target: &str| asked.iter().filter(|one| one.target == target).count();
        assert_eq!(count("/api/auth/token/refresh/"), 1, "{status}");
        assert_eq!(count("/api/auth/login/"), 1, "{status}");
    }
}
