//! Who gets in, and what is refused at the door.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use acceptance::{binary::command, service::Answer, unlimited_sandbox};
use headwater_sandbox::API_KEY;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::serve::{HEADWATER, new, service, until};

#[tokio::test]
async fn a_page_of_another_site_gets_nothing() {
    let service = service();
    let port = service.address.rsplit(':').next().unwrap();
    let own = format!("127.0.0.1:{port}");
    let refused = |headers: Vec<(&'static str, String)>, method: Method| {
        let mut request = service.request(method, "/api/v1/connectors");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        async { Answer::of(request.send().await.unwrap()).await.status }
    };
    let cases = [
        // A name that was made to lead here.
        (vec![("host", "evil.example".to_owned())], 421),
        (vec![("host", format!("evil.example:{port}"))], 421),
        (
            vec![
                ("host", "evil.example".to_owned()),
                ("origin", "http://evil.example".to_owned()),
                ("sec-fetch-site", "same-origin".to_owned()),
            ],
            421,
        ),
        (vec![("host", format!("localhost:{port}"))], 200),
        (vec![("origin", "http://evil.example".to_owned())], 403),
        (vec![("origin", "null".to_owned())], 403),
        (vec![("origin", "http://127.0.0.1:1".to_owned())], 403),
        (vec![("origin", format!("http://{own}"))], 200),
        (vec![("sec-fetch-site", "cross-site".to_owned())], 403),
        (vec![("sec-fetch-site", "same-site".to_owned())], 403),
        (vec![("sec-fetch-site", "same-origin".to_owned())], 200),
        (vec![("sec-fetch-site", "none".to_owned())], 200),
        (
            vec![
                ("sec-fetch-site", "cross-site".to_owned()),
                ("sec-fetch-mode", "navigate".to_owned()),
                ("sec-fetch-dest", "document".to_owned()),
            ],
            403,
        ),
        (vec![], 200),
    ];
    for (headers, status) in cases {
        let shown = format!("{headers:?}");
        assert_eq!(refused(headers, Method::GET).await, status, "{shown}");
    }
}

#[tokio::test]
async fn every_answer_forbids_frames_scripts_and_guesses() {
    let service = service();
    for path in ["/api/v1/connectors", "/healthz", "/nowhere"] {
        let answer = service.request(Method::GET, path).send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert!(header("content-security-policy").contains("default-src 'none'"));
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
    }
}

#[test]
fn nobody_listens_to_a_network_without_a_token() {
    let home = tempfile::tempdir().unwrap();
    let ran = command(HEADWATER)
        .args(["serve", "--listen", "0.0.0.0:0"])
        .env("HEADWATER_HOME", home.path())
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(2));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("headwater token add"), "{said}");
}

#[tokio::test]
async fn bad_bodies_are_refused_with_a_sentence_and_change_nothing() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let good = new(&sandbox, "Calls").to_string();
    let path = "/api/v1/connections";
    let json = "application/json";
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let large = format!("{{\"title\":\"{}\"}}", "x".repeat(1 << 20));
    let twice = good.replacen('{', "{\"title\":\"a\",", 1);
    let twice_inside = good.replacen("\"config\":{", "\"config\":{\"api_key\":\"a\",", 1);
    let wrong = |member: &str, value: Value| {
        let mut body = new(&sandbox, "Calls");
        body[member] = value;
        body.to_string()
    };
    let nowhere = (None, None);
    let inside = |pointer| (Some(pointer), None);
    let beside = |member| (Some(""), Some(member));
    // Each with the field of the config, or the member beside it, that the refusal names.
    let cases = [
        ("nothing", Vec::new(), Some(json), 400, nowhere),
        ("no JSON", b"api_key=1".to_vec(), Some(json), 400, nowhere),
        (
            "not UTF-8",
            vec![b'{', b'"', 0xff, b'"', b'}'],
            Some(json),
            400,
            nowhere,
        ),
        (
            "an array",
            b"[]".to_vec(),
            Some(json),
            400,
            (Some(""), None),
        ),
        ("nested deeply", deep.into_bytes(), Some(json), 400, nowhere),
        ("too large", large.into_bytes(), Some(json), 413, nowhere),
        (
            "a field twice",
            twice.into_bytes(),
            Some(json),
            400,
            beside("title"),
        ),
        (
            "a field of the config twice",
            twice_inside.into_bytes(),
            Some(json),
            400,
            inside("/api_key"),
        ),
        (
            "a field twice within a list",
            wrong("config", json!({ "a/b": [1, "twice"] }))
                .replace("\"twice\"", "{\"c\":1,\"c\":2}")
                .into_bytes(),
            Some(json),
            400,
            inside("/a~1b/1/c"),
        ),
        (
            "an unknown member",
            wrong("colour", 1.into()).into_bytes(),
            Some(json),
            400,
            beside("colour"),
        ),
        (
            "a title that is a number",
            wrong("title", 73_519.into()).into_bytes(),
            Some(json),
            400,
            beside("title"),
        ),
        (
            "a description that is null",
            wrong("description", Value::Null).into_bytes(),
            Some(json),
            400,
            beside("description"),
        ),
        (
            "a test that is a text",
            wrong("test", "canary, expected 73519".into()).into_bytes(),
            Some(json),
            400,
            beside("test"),
        ),
        (
            "no connector",
            b"{\"config\":{}}".to_vec(),
            Some(json),
            400,
            beside("connector"),
        ),
        (
            "no config",
            b"{\"connector\":\"clari-copilot\"}".to_vec(),
            Some(json),
            400,
            beside("config"),
        ),
        (
            "an unknown connector",
            b"{\"connector\":\"nothing\",\"config\":{}}".to_vec(),
            Some(json),
            404,
            nowhere,
        ),
        (
            "a config that is no object",
            b"{\"connector\":\"clari-copilot\",\"config\":[]}".to_vec(),
            Some(json),
            422,
            inside(""),
        ),
        (
            "another kind",
            good.clone().into_bytes(),
            Some("text/plain"),
            415,
            nowhere,
        ),
        ("no kind", good.clone().into_bytes(), None, 415, nowhere),
        (
            "a form",
            good.clone().into_bytes(),
            Some("multipart/form-data; boundary=x"),
            415,
            nowhere,
        ),
    ];
    for (name, body, kind, status, place) in cases {
        let mut request = service.request(Method::POST, path).body(body);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.problem().0, status, "{name}: {}", answer.text);
        let problem = answer.json();
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{name}");
        let error = &problem["errors"][0];
        let named = (error["pointer"].as_str(), error["member"].as_str());
        assert_eq!(named, place, "{name}: {}", answer.text);
        if place != nowhere {
            let message = error["message"].as_str().unwrap();
            assert!(message.len() > 10, "{name}: {message}");
            assert!(error["code"].as_str().is_some(), "{name}");
        }
        for value in ["73519", "canary", API_KEY] {
            assert!(!answer.text.contains(value), "{name}: {}", answer.text);
        }
    }
    let packed = service
        .request(Method::POST, path)
        .header("content-type", json)
        .header("content-encoding", "gzip")
        .body(good);
    let packed = Answer::of(packed.send().await.unwrap()).await;
    assert_eq!(packed.problem().0, 415);
    assert_eq!(service.get(path).await.json()["items"], json!([]));
    assert_eq!(sandbox.stats().requests, 0);
}

#[tokio::test]
async fn odd_paths_and_methods_have_problems_of_their_own() {
    let service = service();
    for (method, path, status) in [
        (Method::GET, "/api/v1/nothing", 404),
        (Method::GET, "/api/v1/connectors/nothing", 404),
        (Method::GET, "/api/v1/connectors/..%2f..%2fetc", 404),
        (Method::GET, "/api/v1/connections/%00", 404),
        (Method::GET, "/api/v1/connections/UPPER", 404),
        (Method::GET, "/api/v1/syncs/none", 404),
        (Method::GET, "/api/v1/syncs/none.1", 404),
        (Method::DELETE, "/api/v1/connectors", 405),
        (Method::PUT, "/api/v1/connections", 405),
        (Method::TRACE, "/api/v1/connectors", 405),
        (Method::OPTIONS, "/api/v1/connectors", 405),
        (Method::OPTIONS, "/api/v1/nothing", 404),
        (Method::GET, "/api/v1/connections?limit=0", 400),
        (Method::GET, "/api/v1/connections?limit=-1", 400),
        (Method::GET, "/api/v1/connections?limit=1000000000", 400),
        (Method::GET, "/api/v1/connections?after=", 400),
        (Method::GET, "/api/v1/connections?after=../calls", 400),
        (Method::GET, "/api/v1/connections?after=%27%20OR%201=1", 400),
        (Method::GET, "/api/v1/connections?after=calls%00", 400),
        (Method::GET, "/api/v1/connections?after=CALLS", 400),
    ] {
        let request = service.request(method.clone(), path);
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.problem().0, status, "{method} {path}");
    }
}

#[tokio::test]
async fn references_of_this_machine_are_not_for_those_who_call_over_the_network() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    for reference in ["env:HOME", "file:/etc/hostname", "command:id"] {
        let mut body = new(&sandbox, "Calls");
        body["config"]["api_key"] = reference.into();
        let refused = service.post("/api/v1/connections", &body).await;
        assert_eq!(refused.problem(), (422, "form_invalid".to_owned()));
        assert_eq!(refused.pointers(), ["/api_key"]);
        let probe = json!({ "config": body["config"] });
        let path = "/api/v1/connectors/clari-copilot/probe";
        assert_eq!(service.post(path, &probe).await.problem().0, 422);
    }
    assert_eq!(sandbox.stats().requests, 0);
}

/// Sends these bytes and returns what comes back.
pub(crate) fn raw(address: &str, bytes: &[u8]) -> String {
    let host = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // A server that has seen enough closes before the end.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn smuggled_and_oversized_requests_are_refused() {
    let service = service();
    let line = "POST /api/v1/connections HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let many: String = (0..10_000)
        .map(|number| format!("x-{number}: 1\r\n"))
        .collect();
    let cases = [
        format!("{line}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{line}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"),
        format!("{line}content-length: -1\r\n\r\n"),
        format!("{line}x: {}\r\n\r\n", "y".repeat(70_000)),
        format!("{line}{many}\r\n"),
        "GET /healthz\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n".to_owned(),
    ];
    for case in cases {
        let answer = raw(&service.address, format!("{case}\r\n").as_bytes());
        let shown: String = case.chars().take(120).collect();
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        let is_refused = answer.is_empty() || status.starts_with('4');
        assert!(is_refused, "{shown:?} gets {answer:?}");
        assert!(!answer.contains("201 Created"), "{shown:?}");
    }
    assert_eq!(service.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let service = acceptance::service::Service::start(HEADWATER, &["--most-connections", "4"]);
    let form = "content-type: application/x-www-form-urlencoded";
    let stalled = [
        (
            "/api/v1/connections",
            "content-type: application/json",
            false,
        ),
        ("/login", form, false),
        ("/sources/clari-copilot/add", form, false),
        // A little now and then is no body either.
        ("/theme", form, true),
    ]
    .map(|(path, kind, is_dripping)| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n{kind}\r\ncontent-length: 1000\r\n\r\n"
        );
        let mut stream = TcpStream::connect(service.address.trim_start_matches("http://")).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"{").unwrap();
        let timeout = Duration::from_secs(60);
        stream.set_read_timeout(Some(timeout)).unwrap();
        let mut drops = stream.try_clone().unwrap();
        if is_dripping {
            std::thread::spawn(move || {
                while drops.write_all(b"x").is_ok() {
                    std::thread::sleep(Duration::from_millis(500));
                }
            });
        }
        std::thread::spawn(move || {
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            (path, answer)
        })
    });
    let busy = service.get("/api/v1/connectors").await;
    assert_eq!(busy.problem(), (503, "busy".to_owned()));
    until("room for another one", async || {
        service.get("/api/v1/connectors").await.status == 200
    })
    .await;
    for one in stalled {
        let (path, answer) = one.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer:?}");
        let said = "the body did not arrive within 15 seconds";
        assert!(answer.contains(said), "{path}: {answer:?}");
    }
    let made = service.get("/api/v1/connections").await.json();
    assert_eq!(made["items"], json!([]));
}

#[tokio::test]
async fn a_method_is_what_the_request_line_says() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    let tag = saved.tag.unwrap();
    let calls = "/api/v1/connections/calls";
    for header in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        for (method, path, pretended, status) in [
            (Method::GET, calls, "DELETE", 200),
            (Method::POST, calls, "DELETE", 405),
            (Method::POST, "/api/v1/connectors", "GET", 405),
        ] {
            let request = service
                .request(method.clone(), path)
                .header(header, pretended);
            let answer = request.header("if-match", &tag).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{method} {path} {header}");
        }
    }
    let answer = service.get(&format!("{calls}?_method=DELETE")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(service.get(calls).await.tag.unwrap(), tag);
}

#[tokio::test]
async fn head_tells_what_get_would_and_nothing_lets_other_sites_in() {
    let service = service();
    for path in [
        "/healthz",
        "/metrics",
        "/api/v1/connectors",
        "/api/v1/openapi.json",
        "/",
    ] {
        let got = service.request(Method::GET, path).send().await.unwrap();
        let head = service.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(head.status(), got.status(), "{path}");
        assert_eq!(
            head.headers()["content-type"],
            got.headers()["content-type"],
            "{path}"
        );
        assert_eq!(head.bytes().await.unwrap().len(), 0, "{path}");
    }
    let missing = service.request(Method::HEAD, "/api/v1/connections/none");
    assert_eq!(
        missing.send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    let probe = "/api/v1/connectors/clari-copilot/probe";
    for (method, path) in [
        (Method::HEAD, probe),
        (Method::OPTIONS, probe),
        (Method::OPTIONS, "/"),
    ] {
        let request = service.request(method.clone(), path);
        let request = request.header("access-control-request-method", "POST");
        let answer = request.send().await.unwrap();
        assert_eq!(
            answer.status(),
            StatusCode::METHOD_NOT_ALLOWED,
            "{method} {path}"
        );
        let mut names = answer.headers().keys();
        assert!(!names.any(|name| name.as_str().starts_with("access-control")));
    }
}

#[tokio::test]
async fn a_connection_stays_one_of_http_and_its_requests_stay_apart() {
    let service = service();
    let upgrade = "GET /api/v1/connectors HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let answer = raw(&service.address, upgrade.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    assert!(
        !answer.to_ascii_lowercase().contains("upgrade"),
        "{answer:?}"
    );

    // Several at once are answered one after the other, each as if it were alone.
    let get =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
    let body = "{\"connector\":\"nothing\",\"config\":{}}";
    let post = format!(
        "POST /api/v1/connections HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let all = [
        get("/healthz", "x-request-id: first\r\n"),
        post,
        get("/api/v1/connections/none", "x-request-id: third\r\n"),
        get("/healthz", "x-request-id: last\r\nconnection: close\r\n"),
    ];
    let answer = raw(&service.address, all.concat().as_bytes());
    let statuses: Vec<&str> = answer
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|one| &one[..3])
        .collect();
    assert_eq!(statuses, ["200", "404", "404", "200"], "{answer}");
    let ids = ["first", "third", "last"].map(|id| answer.find(&format!("x-request-id: {id}")));
    assert!(ids.is_sorted() && ids[0].is_some(), "{answer}");
}

#[tokio::test]
async fn lines_that_end_in_another_way_hide_no_second_request() {
    let service = service();
    let kind = "content-type: application/json\r\nconnection: close\r\n";
    let hidden = "DELETE /api/v1/connections/calls HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let cases = [
        // Alone it is one request, whoever reads it.
        (
            "GET /healthz HTTP/1.1\nhost: localhost\nconnection: close\n\n".to_owned(),
            1,
        ),
        (
            format!(
                "POST /api/v1/connections HTTP/1.1\r\nhost: localhost\r\n{kind}transfer-encoding: chunked\r\n\r\n0\n\n{hidden}"
            ),
            1,
        ),
        (
            format!(
                "POST /api/v1/connections HTTP/1.1\r\nhost: localhost\r\n{kind}transfer-encoding: chunked\r\n\r\n2;x\n{{}}\r\n0\r\n\r\n{hidden}"
            ),
            1,
        ),
        (
            format!(
                "POST /api/v1/connections HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: 2\rtransfer-encoding: chunked\r\n\r\n{{}}{hidden}"
            ),
            1,
        ),
    ];
    for (case, most) in cases {
        let answer = raw(&service.address, case.as_bytes());
        let count = answer.matches("HTTP/1.1 ").count();
        assert!(count <= most, "{case:?} gets {answer:?}");
        assert!(!answer.contains("HTTP/1.1 201"), "{case:?} gets {answer:?}");
    }
    assert_eq!(service.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn whoever_sends_more_than_is_read_sees_the_answer() {
    let service = service();
    let length = 4 << 20;
    let head = format!("host: localhost\r\ncontent-length: {length}\r\nconnection: close\r\n");
    for (line, status) in [
        (
            "POST /login HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n",
            "413",
        ),
        (
            "POST /sources/clari-copilot/add HTTP/1.1\r\ncontent-type: text/plain\r\n",
            "415",
        ),
        ("POST /api/v1/nothing HTTP/1.1\r\n", "404"),
    ] {
        let request = [format!("{line}{head}\r\n").into_bytes(), vec![b'x'; length]].concat();
        let answer = raw(&service.address, &request);
        let start = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&start), "{line:?} gets {answer:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_about_to_be_closed_says_so() {
    let service = service();
    for length in [0, 10, 200_000, 2 << 20] {
        let body = vec![b'x'; length];
        let request = service.request(Method::POST, "/api/v1/nothing").body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 404);
        let is_closed = answer.headers().get("connection").is_some();
        // Nobody read the body.
        assert_eq!(is_closed, length > 0, "{length}");
        let read = service.send(Method::POST, "/api/v1/connections", &json!({}));
        let read = read.send().await.unwrap();
        assert!(read.headers().get("connection").is_none());
    }
}

#[tokio::test]
async fn too_many_connections_are_told_so_while_health_answers() {
    let service = acceptance::service::Service::start(HEADWATER, &["--most-connections", "4"]);
    let host = service.address.trim_start_matches("http://").to_owned();
    let head = "POST /login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                content-length: 9\r\n\r\n";
    let hold = |_| {
        let mut stream = TcpStream::connect(&host).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let held: Vec<TcpStream> = (0..4).map(hold).collect();
    // Their requests have come before this one.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let busy = service.get("/api/v1/connectors").await;
    assert_eq!(busy.problem(), (503, "busy".to_owned()));
    let busy = service.request(Method::GET, "/api/v1/connectors");
    let busy = busy.send().await.unwrap();
    assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(busy.headers()["retry-after"], "1");
    assert_eq!(service.get("/healthz").await.status, 200);
    drop(held);
    until("room for another one", async || {
        service.get("/api/v1/connectors").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn every_answer_has_the_id_of_its_request_and_so_has_what_it_changed() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let given = |id: &'static str, path: &str| {
        let request = service.request(Method::GET, path);
        request.header("x-request-id", id).send()
    };
    let id = |answer: &reqwest::Response| {
        let id = answer.headers()["x-request-id"].to_str();
        id.unwrap().to_owned()
    };
    for path in [
        "/",
        "/healthz",
        "/metrics",
        "/assets/console.js",
        "/nowhere",
        "/api/v1/connections",
    ] {
        assert_eq!(
            id(&given("mine-1.a:b_C", path).await.unwrap()),
            "mine-1.a:b_C"
        );
        let own = [
            given("", path).await.unwrap(),
            given("", path).await.unwrap(),
        ];
        let own = own.map(|answer| id(&answer));
        assert!(own[0] != own[1] && own[0].len() >= 16, "{own:?}");
    }
    let long = "x".repeat(65);
    for odd in ["a b", "<b>", "a\tb", "a=b", long.leak()] {
        assert_ne!(id(&given(odd, "/healthz").await.unwrap()), odd);
    }
    // A problem says it, as a document and as a page.
    let refused = given("look-here", "/api/v1/connections/none")
        .await
        .unwrap();
    let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(problem["request_id"], "look-here");
    let page = given("look-there", "/connections/none").await.unwrap();
    assert!(page.text().await.unwrap().contains("request look-there"));
    // And so does the audit.
    let body = new(&sandbox, "Calls");
    let saved = service.send(Method::POST, "/api/v1/connections", &body);
    let saved = saved
        .header("x-request-id", "made-by")
        .send()
        .await
        .unwrap();
    assert_eq!(saved.status(), 201);
    let audit = service.get("/api/v1/audit").await.json();
    let rows = audit["items"].as_array().unwrap();
    let created = rows.iter().find(|row| row["what"] == "created").unwrap();
    assert_eq!(created["request_id"], "made-by");
}
