//! What an attacker on the network tries: bodies that grow when they are parsed, proxies that make everybody local, and
//! connections that say nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use acceptance::{
    binary::{Ran, command},
    service::Service,
};
use reqwest::{Method, header};
use serde_json::json;

use crate::serve::{HEADWATER, doors::raw, named_token, service, token};

const MEBIBYTE: usize = 1 << 20;

/// The memory that a process holds, in bytes.
fn memory(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Sends a body to many connections at once, each as far as the service takes it, and returns the first lines of the answers.
fn flood(service: &Service, count: usize, path: &str, kind: &str, body: &str) -> Vec<String> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let host = service.address.trim_start_matches("http://");
    thread::scope(|scope| {
        let send = |_| {
            let head = &head;
            scope.spawn(move || {
                let mut stream = TcpStream::connect(host).unwrap();
                let timeout = Some(Duration::from_secs(30));
                stream.set_read_timeout(timeout).unwrap();
                stream.write_all(head.as_bytes()).unwrap();
                let _ = stream.write_all(body.as_bytes());
                let mut answer = Vec::new();
                let mut part = [0; 1 << 12];
                while let Ok(length @ 1..) = stream.read(&mut part) {
                    answer.extend_from_slice(&part[..length]);
                    if answer.contains(&b'\n') {
                        break;
                    }
                }
                let answer = String::from_utf8_lossy(&answer).into_owned();
                answer.lines().next().unwrap_or_default().to_owned()
            })
        };
        let sent: Vec<_> = (0..count).map(send).collect();
        sent.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_grow_when_they_are_parsed_fit_into_a_budget() {
    let service = service();
    let form = "application/x-www-form-urlencoded";
    let json = "application/json";
    let list = |item: &str| {
        let items = vec![item; (MEBIBYTE - 16) / (item.len() + 1)].join(",");
        format!("[{items}]")
    };
    let pairs = "a&".repeat(MEBIBYTE / 2 - 1);
    let few = format!("[{}]", vec!["{}"; 19_000].join(","));
    let names: Vec<String> = (0..60_000).map(|name| format!("\"{name}\":[]")).collect();
    let names = format!("{{{}}}", names.join(","));
    assert_eq!(service.get("/healthz").await.status, 200);
    let before = memory(&service);
    for (path, kind, body) in [
        ("/login", form, &pairs),
        ("/theme", form, &pairs),
        ("/sources/clari-copilot/add", form, &pairs),
        ("/author", form, &pairs),
        ("/api/v1/connections", json, &list("0")),
        ("/api/v1/connections", json, &list("[]")),
        ("/api/v1/connections", json, &names),
        ("/api/v1/connectors/clari-copilot/probe", json, &few),
        (
            "/api/v1/connectors/clari-copilot/validate",
            json,
            &list("{}"),
        ),
    ] {
        for answer in flood(&service, 100, path, kind, body) {
            let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
            let is_refused = matches!(&*status, "400" | "404" | "413" | "422" | "503" | "");
            assert!(is_refused, "{path}: {answer}");
        }
        assert_eq!(service.get("/healthz").await.status, 200);
    }
    let more = memory(&service).saturating_sub(before) / MEBIBYTE as u64;
    assert!(more < 64, "{more} MiB more");
    // What is no attack goes through as before.
    let fine = service.post("/api/v1/connections", &json!({})).await;
    assert_eq!(fine.status, 400, "{}", fine.text);
}

#[tokio::test]
async fn a_caller_that_is_not_known_sends_little() {
    let service = service();
    let body = format!("token={}", "x".repeat(10_000));
    let home = tempfile::tempdir().unwrap();
    token(home.path(), "admin");
    let guarded = Service::start_in(home, HEADWATER, &["--require-token"]);
    for (service, status) in [(&service, 401), (&guarded, 413)] {
        let request = service.request(Method::POST, "/login").body(body.clone());
        let kind = "application/x-www-form-urlencoded";
        let answer = request.header(header::CONTENT_TYPE, kind).send().await;
        assert_eq!(answer.unwrap().status(), status);
    }
}

#[tokio::test]
async fn the_large_requests_of_one_caller_hold_up_nobody_else() {
    let home = tempfile::tempdir().unwrap();
    let tokens = ["one", "other"].map(|name| named_token(home.path(), name, "use"));
    let service = Service::start_in(home, HEADWATER, &["--require-token"]);
    let path = "/api/v1/connectors/clari-copilot/validate";
    let fields: Vec<String> = (0..4_000).map(|name| format!("\"f{name}\":1")).collect();
    let large = format!("{{\"config\":{{{}}}}}", fields.join(","));
    // Two of them stay half sent. The service asks for a body once the request has its turn.
    let host = service.address.trim_start_matches("http://").to_owned();
    let [one, other] = &tokens;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {one}\r\ncontent-type: \
         application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        large.len()
    );
    let half_sent: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = TcpStream::connect(&host).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            let mut asked = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
            stream.read_exact(&mut asked).unwrap();
            assert!(asked.starts_with(b"HTTP/1.1 100 "), "{asked:?}");
            stream.write_all(&large.as_bytes()[..1_000]).unwrap();
            stream
        })
        .collect();
    let validate = async |token: &str, body: &str| {
        let request = service.request(Method::POST, path).bearer_auth(token);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let answer = request.body(body.to_owned()).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(validate(one, &large).await, 503);
    assert_eq!(validate(one, r#"{"config":{}}"#).await, 200);
    assert_eq!(validate(other, &large).await, 200);
    assert_eq!(service.get("/healthz").await.status, 200);
    // A client that leaves gives its turn back.
    drop(half_sent);
    let deadline = Instant::now() + Duration::from_secs(10);
    while validate(one, &large).await != 200 {
        assert!(Instant::now() < deadline, "the turns are never given back");
    }
}

#[tokio::test]
async fn a_request_that_a_proxy_passes_on_is_not_local() {
    let service = service();
    let connections = async |service: &Service, headers: &[(&str, &str)]| {
        let request = service.request(Method::GET, "/api/v1/connections");
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(connections(&service, &[]).await, 200);
    for (name, value) in [
        ("forwarded", "for=203.0.113.9"),
        ("via", "1.1 proxy"),
        ("x-real-ip", "203.0.113.9"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "localhost"),
    ] {
        assert_eq!(connections(&service, &[(name, value)]).await, 401, "{name}");
    }
    // A page leads to the login.
    let page = service
        .request(Method::GET, "/connections")
        .header("x-forwarded-for", "203.0.113.9");
    let page = page.send().await.unwrap();
    assert_eq!(page.status(), 303);
    assert!(
        page.headers()["location"]
            .to_str()
            .unwrap()
            .starts_with("/login")
    );
    // Whoever wants that says so.
    let open = Service::start(HEADWATER, &["--open", "--host", "headwater.example"]);
    let headers = [
        ("x-forwarded-for", "203.0.113.9"),
        ("host", "headwater.example"),
    ];
    assert_eq!(connections(&open, &headers).await, 200);
    assert!(open.stop().contains("--open"), "a warning");
}

#[tokio::test]
async fn a_name_that_is_not_this_machines_takes_tokens() {
    let home = tempfile::tempdir().unwrap();
    let refused: Ran = command(HEADWATER)
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--host",
            "headwater.example",
        ])
        .env("HEADWATER_HOME", home.path().join("home"))
        .output()
        .unwrap()
        .into();
    assert_eq!(refused.code, Some(2), "{}", refused.all());
    for says in ["headwater.example", "headwater token add", "--open"] {
        assert!(refused.err.contains(says), "{says}: {}", refused.err);
    }
    let admin = token(home.path(), "admin");
    let options = ["--host", "headwater.example", "--host", "localhost"];
    let service = Service::start_in(home, HEADWATER, &options);
    for name in ["headwater.example", "localhost"] {
        let asked = |token: Option<&str>| {
            let request = service
                .request(Method::GET, "/api/v1/connections")
                .header("host", name);
            match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            }
        };
        let status = asked(None).send().await.unwrap().status();
        assert_eq!(status, 401, "{name}");
        let status = asked(Some(&admin)).send().await.unwrap().status();
        assert_eq!(status, 200, "{name}");
    }
    // On names of its own a service needs none, as ever.
    let own = Service::start(HEADWATER, &["--host", "localhost"]);
    assert_eq!(own.get("/api/v1/connections").await.status, 200);
}

#[tokio::test]
async fn wrong_tokens_are_counted_by_the_client_of_a_trusted_proxy() {
    let home = tempfile::tempdir().unwrap();
    token(home.path(), "admin");
    let options = ["--require-token", "--trusted-proxy", "127.0.0.1"];
    let service = Service::start_in(home, HEADWATER, &options);
    let guess = async |client: &str| {
        let request = service.request(Method::GET, "/api/v1/connections");
        let request = request.header("x-forwarded-for", client);
        let answer = request.bearer_auth("hw_wrong").send().await.unwrap();
        answer.status().as_u16()
    };
    for _ in 0..10 {
        assert_eq!(guess("203.0.113.9").await, 401);
    }
    assert_eq!(guess("203.0.113.9").await, 429);
    // What the client wrote before it counts for nothing.
    assert_eq!(guess("198.51.100.1, 203.0.113.9").await, 429);
    assert_eq!(guess("198.51.100.1").await, 401);
}

#[tokio::test]
async fn silent_connections_shut_nobody_out() {
    let service = Service::start(HEADWATER, &["--most-connections", "16"]);
    let host = service.address.trim_start_matches("http://").to_owned();
    let silent: Vec<TcpStream> = (0..100)
        .map(|number| {
            let mut stream = TcpStream::connect(&host).unwrap();
            // Some say half of a head.
            if number % 3 == 0 {
                stream.write_all(b"GET /healthz HTTP/1.1\r\nhost:").unwrap();
            }
            stream
        })
        .collect();
    let healthz = || {
        raw(
            &service.address,
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        )
    };
    // A busy machine takes a while to accept them all, and each of them makes room for itself.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !healthz().starts_with("HTTP/1.1 200 ") {
        assert!(
            Instant::now() < deadline,
            "no other connection gets an answer"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for _ in 0..20 {
        let answer = healthz();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }
    assert_eq!(service.get("/api/v1/connectors").await.status, 200);
    drop(silent);
}
