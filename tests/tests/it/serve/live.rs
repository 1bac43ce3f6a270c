//! Tests that are watched as they go, and whoever leaves before they have ended.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use acceptance::{
    service::{Answer, Service},
    unlimited_sandbox,
};
use headwater_sandbox::{API_KEY, API_PASSWORD};
use reqwest::{Method, RequestBuilder, Response, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::serve::{new, service, until};

const ALL: &str = "/api/v1/connections";
const DRAFT: &str = "/api/v1/connectors/clari-copilot/probe";
const CALLS: &str = "/api/v1/connections/calls";

/// A service that answers its first request and holds the answers to all others until it may give them.
struct Holding {
    base_url: String,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

struct Seen {
    asked: AtomicUsize,
    /// How many connections were closed by those who waited for an answer.
    left: AtomicUsize,
    may_answer: watch::Sender<bool>,
}

impl Holding {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Seen {
            asked: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            may_answer: watch::Sender::new(false),
        });
        let shared = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Self {
            base_url,
            seen,
            accepting,
        }
    }

    fn config(&self) -> Value {
        json!({ "api_key": API_KEY, "api_password": API_PASSWORD, "base_url": self.base_url })
    }

    fn connection(&self) -> Value {
        json!({ "connector": "clari-copilot", "title": "Calls", "config": self.config() })
    }

    async fn holds_an_answer(&self) {
        let holds = async || self.seen.asked.load(Ordering::SeqCst) > 1;
        until("a request that waits for its answer", holds).await;
    }

    async fn was_left(&self) {
        let was_left = async || self.seen.left.load(Ordering::SeqCst) > 0;
        until("the end of the connection that waits", was_left).await;
    }

    fn answers_all(&self) {
        self.seen.may_answer.send_replace(true);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(mut stream: TcpStream, seen: Arc<Seen>) {
    let mut received = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut received).await {
        if !received.ends_with(b"\r\n\r\n") {
            continue;
        }
        let is_for_users = received.starts_with(b"GET /users");
        received.clear();
        if seen.asked.fetch_add(1, Ordering::SeqCst) > 0 {
            let mut may_answer = seen.may_answer.subscribe();
            tokio::select! {
                _ = may_answer.wait_for(|may| *may) => {}
                _ = stream.read_u8() => {
                    seen.left.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
        }
        let (status, body) = if is_for_users {
            (200, r#"{"users":[]}"#)
        } else {
            (403, "{}")
        };
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn as_events(request: RequestBuilder) -> RequestBuilder {
    request.header(header::ACCEPT, "text/event-stream")
}

/// Events as they come.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn of(request: RequestBuilder) -> Self {
        let response = as_events(request).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event, by name; none after the last.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name| event.lines().find_map(|line| line.strip_prefix(name));
                let found = field("event: ").zip(field("data: "));
                let found = found.map(|(name, data)| (name.to_owned(), serde_json::from_str(data)));
                self.text = rest.to_owned();
                match found {
                    Some((name, data)) => return Some((name, data.unwrap())),
                    None => continue,
                }
            }
            let more = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&more).unwrap());
        }
    }

    /// The checks that are still to come, and what is said at the end.
    async fn rest(mut self) -> (Vec<Value>, Value) {
        let mut checks = Vec::new();
        while let Some((name, data)) = self.next().await {
            if name == "done" {
                assert_eq!(self.next().await, None);
                return (checks, data);
            }
            assert_eq!(name, "check");
            checks.push(data);
        }
        panic!("the events have no end");
    }
}

/// Saves a connection to a service without asking it anything.
async fn untested(service: &Service, upstream: &Holding) -> Answer {
    let mut body = upstream.connection();
    body["test"] = false.into();
    let saved = service.post(ALL, &body).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    saved
}

fn change(service: &Service, tag: &str, body: &Value) -> RequestBuilder {
    let request = service.send(Method::PATCH, CALLS, body);
    request.header(header::IF_MATCH, tag)
}

async fn saved_ones(service: &Service) -> Vec<Value> {
    let listed = service.get(ALL).await.json();
    listed["items"].as_array().unwrap().clone()
}

/// Makes what is saved unreadable.
fn spoil(service: &Service) {
    let store = rusqlite::Connection::open(service.path().join("home/store.db")).unwrap();
    store
        .execute("UPDATE headwater_connections SET config = '{}'", [])
        .unwrap();
}

#[tokio::test]
async fn a_save_tells_each_check_while_the_next_is_made_and_ends_with_its_answer() {
    for door in ["add", "change", "enter again"] {
        let (upstream, service) = (Holding::start().await, service());
        let request = match door {
            "add" => service.send(Method::POST, ALL, &upstream.connection()),
            _ => {
                let tag = untested(&service, &upstream).await.tag.unwrap();
                if door == "enter again" {
                    spoil(&service);
                }
                change(&service, &tag, &json!({ "config": upstream.config() }))
            }
        };
        let mut events = Events::of(request).await;
        let (name, first) = events.next().await.unwrap();
        assert_eq!((&*name, &first["outcome"]), ("check", &json!("passed")));
        upstream.holds_an_answer().await;
        if door == "add" {
            assert_eq!(saved_ones(&service).await, [json!(null); 0]);
        }
        upstream.answers_all();
        let (checks, done) = events.rest().await;
        assert!(checks.len() > 2, "{checks:?}");
        let expected = if door == "add" { 201 } else { 200 };
        assert_eq!(done["status"], expected, "{door}: {done}");
        let shown = service.get(CALLS).await.json();
        assert_eq!(done["connection"], shown, "{door}");
        assert_eq!(shown["health"], "working");
    }
}

#[tokio::test]
async fn a_save_that_is_refused_ends_with_the_problem_it_would_have_been_answered_with() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let mut wrong = new(&sandbox, "Calls");
    wrong["config"]["api_key"] = "another".into();
    let request = service.send(Method::POST, ALL, &wrong);
    let events = Events::of(request.header("x-request-id", "mine")).await;
    let (checks, done) = events.rest().await;
    let plain = service.send(Method::POST, ALL, &wrong);
    let plain = plain.header("x-request-id", "mine").send().await.unwrap();
    let mut plain = Answer::of(plain).await.json();
    let mut problem = done["problem"].clone();
    assert_eq!(done["status"], 422);
    assert_eq!(problem["report"]["checks"], json!(checks));
    // How long it took is another matter.
    for told in [&mut problem, &mut plain] {
        for check in told["report"]["checks"].as_array_mut().unwrap() {
            check.as_object_mut().unwrap().remove("latency_ms");
        }
    }
    assert_eq!(problem, plain);
    assert_eq!(saved_ones(&service).await, [json!(null); 0]);
}

#[tokio::test]
async fn without_a_test_there_is_only_the_end_and_a_refusal_before_it_is_answered_as_ever() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let wrong = json!({ "connector": "clari-copilot", "config": {} });
    let request = service.send(Method::POST, ALL, &wrong);
    let refused = as_events(request).send().await.unwrap();
    let refused = Answer::of(refused).await;
    assert_eq!(refused.problem(), (422, "form_invalid".to_owned()));
    let mut body = new(&sandbox, "Calls");
    body["test"] = false.into();
    let events = Events::of(service.send(Method::POST, ALL, &body)).await;
    let (checks, done) = events.rest().await;
    assert_eq!((checks.len(), &done["status"]), (0, &json!(201)));
    assert_eq!(done["connection"], service.get(CALLS).await.json());
    assert_eq!(sandbox.stats().requests, 0);
    let blind = service.send(Method::PATCH, CALLS, &json!({ "title": "Sales" }));
    let blind = Answer::of(as_events(blind).send().await.unwrap()).await;
    assert_eq!(blind.problem().0, 428);
    let events = Events::of(change(&service, "\"1\"", &json!({ "title": "Sales" }))).await;
    let (checks, done) = events.rest().await;
    assert_eq!((checks.len(), &done["status"]), (0, &json!(200)));
    assert_eq!(done["connection"]["title"], "Sales");
}

#[tokio::test]
async fn whoever_leaves_ends_the_test_and_nothing_is_saved() {
    for (door, has_events) in [
        ("probe a draft", false),
        ("probe a draft", true),
        ("probe what is saved", false),
        ("probe what is saved", true),
        ("probe a change", true),
        ("add", false),
        ("add", true),
        ("change", false),
        ("change", true),
    ] {
        let what = format!("{door}, events: {has_events}");
        let (upstream, service) = (Holding::start().await, service());
        let config = json!({ "config": upstream.config() });
        let is_new = matches!(door, "add" | "probe a draft");
        let tag = match is_new {
            true => String::new(),
            false => untested(&service, &upstream).await.tag.unwrap(),
        };
        // A test that nobody leaves waits for longer.
        let patient = Holding::start().await;
        let draft = json!({ "config": patient.config() });
        let stays = tokio::spawn(service.send(Method::POST, DRAFT, &draft).send());
        patient.holds_an_answer().await;
        let before = saved_ones(&service).await;
        let post = |path: &str, body: &Value| service.send(Method::POST, path, body);
        let request = match door {
            "probe a draft" => post(DRAFT, &config),
            "probe what is saved" => post(&format!("{CALLS}/probe"), &Value::Null),
            "probe a change" => post(&format!("{CALLS}/probe-change"), &config),
            "add" => post(ALL, &upstream.connection()).header("idempotency-key", "mine"),
            _ => change(&service, &tag, &config),
        };
        if has_events {
            let mut events = Events::of(request).await;
            assert_eq!(events.next().await.unwrap().0, "check", "{what}");
            upstream.holds_an_answer().await;
            drop(events);
        } else {
            let sent = tokio::spawn(request.send());
            upstream.holds_an_answer().await;
            sent.abort();
        }
        upstream.was_left().await;
        assert_eq!(patient.seen.left.load(Ordering::SeqCst), 0, "{what}");
        patient.answers_all();
        assert_eq!(stays.await.unwrap().unwrap().status(), 200);
        upstream.answers_all();
        assert_eq!(saved_ones(&service).await, before, "{what}");
        if door != "add" {
            continue;
        }
        // What was given up can be sent again with the same key.
        let again = async || {
            let request = post(ALL, &upstream.connection()).header("idempotency-key", "mine");
            Answer::of(request.send().await.unwrap()).await
        };
        until("the end of the request that was given up", async || {
            let told = again().await;
            assert!(matches!(told.status, 201 | 409), "{}", told.text);
            told.status == 201
        })
        .await;
        assert_eq!(again().await.json()["name"], "calls");
        assert_eq!(saved_ones(&service).await.len(), 1);
    }
}
