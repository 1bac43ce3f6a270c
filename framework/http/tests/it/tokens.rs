//! Credentials that are exchanged for tokens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crate::common::{Answer, QUICK, Wire, builder};
use async_trait::async_trait;
use headwater_core::{BaseUrl, Egress, Error, Kind, Meter, Result, Secret};
use headwater_http::{Client, Grant, RateLimit, Request, Response, TokenSource, context};
use headwater_testkit::{Reply, Script};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const PASSWORD: &str = "canary-password";

/// Logs in at `/login`, and renews at `/refresh`.
struct Login(Client);

#[async_trait]
impl TokenSource for Login {
    async fn obtain(&self, refresh: Option<&Secret>) -> Result<Grant> {
        let request = match refresh {
            Some(refresh) => Request::post("/refresh", &json!({ "refresh": refresh.expose() })),
            None => Request::post("/login", &json!({ "password": PASSWORD })),
        };
        let response = self.0.send(&request.repeatable()).await?;
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        let secret = |name: &str| body[name].as_str().map(Secret::new);
        Ok(Grant {
            access: secret("access").unwrap(),
            refresh: secret("refresh"),
        })
    }
}

struct Service {
    script: Script,
    client: Client,
    meter: Arc<Meter>,
}

impl Service {
    async fn start(
        answer: impl Fn(&headwater_testkit::Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let script = Script::start(answer).await.unwrap();
        let context = context(&Egress::Anywhere).unwrap();
        let base = BaseUrl::parse(&script.base_url()).unwrap();
        let start = || Client::builder("Sample", &base, &context).retry(QUICK);
        let login = Login(start().build().unwrap());
        let client = start().tokens(login, &[&Secret::new(PASSWORD)]);
        Self {
            client: client.build().unwrap(),
            script,
            meter: context.meter,
        }
    }

    async fn get(&self) -> Result<Response> {
        self.client.send(&Request::get("/things")).await
    }

    /// What was asked, in order.
    fn asked(&self) -> Vec<String> {
        let requests = self.script.requests();
        requests.into_iter().map(|one| one.target).collect()
    }
}

fn grant(number: usize) -> Reply {
    let body = json!({
        "access": format!("canary-access-{number}"),
        "refresh": format!("canary-refresh-{number}"),
    });
    Reply::json(200, &body.to_string())
}

/// Whether a request carries the token of this number.
fn carries(request: &headwater_testkit::Request, number: usize) -> bool {
    let expected = format!("Bearer canary-access-{number}");
    request.header("authorization") == Some(&*expected)
}

#[tokio::test]
async fn many_requests_at_once_wait_for_one_login() {
    let service = Service::start(|request| match &*request.target {
        "/login" => grant(1).after(Duration::from_millis(50)),
        _ if carries(request, 1) => Reply::json(200, "{}"),
        _ => Reply::json(401, "{}"),
    })
    .await;
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let client = service.client.clone();
        requests.spawn(async move { client.send(&Request::get("/things")).await });
    }
    for response in requests.join_all().await {
        assert_eq!(response.unwrap().status, 200);
    }
    let asked = service.asked();
    assert_eq!((asked.len(), &*asked[0]), (21, "/login"));
    let login = &service.script.requests()[0];
    assert_eq!(login.header("authorization"), None);
    assert_eq!(
        login.body,
        json!({ "password": PASSWORD }).to_string().as_bytes()
    );
}

#[tokio::test]
async fn many_requests_at_once_make_one_login_that_fails() {
    let service = Service::start(|_| {
        Reply::json(401, r#"{"detail":"wrong password"}"#).after(Duration::from_millis(100))
    })
    .await;
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let client = service.client.clone();
        requests.spawn(async move { client.send(&Request::get("/things")).await });
    }
    for response in requests.join_all().await {
        let error = response.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated);
        assert!(error.message().ends_with("wrong password"), "{error}");
        assert_eq!(error.context().count(), 2, "{error}");
        assert_hidden(&error);
    }
    assert_eq!(service.asked(), ["/login"]);
    // Who asks later is not told what was.
    service.get().await.unwrap_err();
    assert_eq!(service.asked(), ["/login", "/login"]);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_however_many_were_sent_with_it() {
    let service = Service::start(|request| match &*request.target {
        "/login" => grant(1),
        "/refresh" => grant(2).after(Duration::from_millis(20)),
        "/first" => Reply::json(200, "{}"),
        _ if carries(request, 2) => Reply::json(200, "{}"),
        _ => Reply::json(401, "{}").after(Duration::from_millis(20)),
    })
    .await;
    service.client.send(&Request::get("/first")).await.unwrap();
    let mut requests = JoinSet::new();
    for _ in 0..10 {
        let client = service.client.clone();
        // What was refused was not done, so a write is sent again as well.
        requests.spawn(async move { client.send(&Request::post("/things", &json!({}))).await });
    }
    for response in requests.join_all().await {
        assert_eq!(response.unwrap().status, 200);
    }
    let asked = service.asked();
    let count = |target: &str| asked.iter().filter(|one| *one == target).count();
    assert_eq!((count("/login"), count("/refresh")), (1, 1));
    let requests = service.script.requests();
    let refresh = requests
        .iter()
        .find(|one| one.target == "/refresh")
        .unwrap();
    assert_eq!(refresh.body, br#"{"refresh":"canary-refresh-1"}"#);
}

#[tokio::test]
async fn a_token_that_ends_is_renewed_whatever_status_says_so() {
    for (status, body) in [
        (401, "{}"),
        (
            403,
            r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[]}"#,
        ),
        (
            403,
            r#"{"error":"token_not_valid","message":"x","status":403}"#,
        ),
        (403, r#"{"error":{"code":"TOKEN_EXPIRED"}}"#),
        (400, r#"{"error":"invalid_token"}"#),
        (419, "{}"),
        (498, "{}"),
    ] {
        let service = Service::start(move |request| match &*request.target {
            "/login" => grant(1),
            "/refresh" => grant(2),
            _ if carries(request, 2) => Reply::json(200, "{}"),
            _ => Reply::json(status, body),
        })
        .await;
        service.get().await.unwrap();
        assert_eq!(
            service.asked(),
            ["/login", "/things", "/refresh", "/things"],
            "{status} {body}"
        );
        // Once per try: a new token that is refused as well is the answer.
        let service = Service::start(move |request| match &*request.target {
            "/login" | "/refresh" => grant(1),
            _ => Reply::json(status, body),
        })
        .await;
        let error = service.get().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated, "{status} {body}");
        assert_eq!(service.asked().len(), 4, "{status} {body}");
    }
    // A missing permission is no matter of tokens.
    for body in [
        r#"{"code":"permission_denied"}"#,
        r#"{"detail":"no access"}"#,
        "{}",
    ] {
        let service = Service::start(move |request| match &*request.target {
            "/login" => grant(1),
            _ => Reply::json(403, body),
        })
        .await;
        let error = service.get().await.unwrap_err();
        assert_eq!(error.kind(), Kind::PermissionDenied);
        assert_eq!(service.asked(), ["/login", "/things"]);
    }
}

#[tokio::test]
async fn a_refresh_that_is_refused_makes_room_for_a_login() {
    let service = Service::start(|request| match (&*request.target, request.index) {
        ("/login", 0) => grant(1),
        ("/login", _) => grant(2),
        ("/refresh", _) => Reply::json(401, "{}"),
        _ if carries(request, 2) => Reply::json(200, "{}"),
        _ => Reply::json(401, "{}"),
    })
    .await;
    service.get().await.unwrap();
    assert_eq!(
        service.asked(),
        ["/login", "/things", "/refresh", "/login", "/things"]
    );
    assert_eq!(service.meter.retries(), 1);
}

#[tokio::test]
async fn a_new_token_that_is_refused_as_well_is_the_answer() {
    let service = Service::start(|request| match &*request.target {
        "/login" | "/refresh" => grant(request.index),
        _ => Reply::json(401, r#"{"detail":"account closed"}"#),
    })
    .await;
    let error = service.get().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated);
    assert!(error.message().ends_with("account closed"), "{error}");
    assert_eq!(
        service.asked(),
        ["/login", "/things", "/refresh", "/things"]
    );
}

#[tokio::test]
async fn a_login_that_is_refused_is_the_error_and_nothing_else_is_sent() {
    let service = Service::start(|_| Reply::json(401, r#"{"detail":"wrong password"}"#)).await;
    for error in [
        service.get().await.unwrap_err(),
        service.client.authenticate().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Unauthenticated);
        assert!(error.message().ends_with("wrong password"), "{error}");
        assert_hidden(&error);
    }
    assert_eq!(service.asked(), ["/login", "/login"]);
}

#[tokio::test]
async fn authenticating_asks_for_a_token_and_for_nothing_else() {
    let service = Service::start(|_| grant(1)).await;
    service.client.authenticate().await.unwrap();
    service.get().await.unwrap();
    assert_eq!(service.asked(), ["/login", "/things"]);
    let plain = Wire::new(|_, _| Wire::reply(200, &[], "{}"));
    plain.client().authenticate().await.unwrap();
    assert!(plain.times().is_empty());
}

fn assert_hidden(error: &Error) {
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn no_message_repeats_a_token_not_even_one_that_is_over() {
    let service = Service::start(|request| match &*request.target {
        "/login" => grant(1),
        "/refresh" => grant(2),
        "/things" if carries(request, 1) => Reply::json(401, "{}"),
        "/slow" => {
            let said =
                json!({ "message": format!("no: {}", request.header("authorization").unwrap()) });
            Reply::json(400, &said.to_string()).after(Duration::from_millis(300))
        }
        _ => {
            let said =
                json!({ "message": format!("canary-refresh-2 {PASSWORD} {}", request.head) });
            Reply::json(400, &said.to_string())
        }
    })
    .await;
    service.client.authenticate().await.unwrap();
    let slow = tokio::spawn({
        let client = service.client.clone();
        async move { client.send(&Request::get("/slow")).await }
    });
    let patience = Instant::now();
    while !service.asked().contains(&"/slow".to_owned()) {
        assert!(patience.elapsed().as_secs() < 60, "nothing is asked");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let error = service.get().await.unwrap_err();
    assert!(error.message().contains("[redacted]"), "{error}");
    assert_hidden(&error);
    // It was sent with the first token and is answered when the second one is in use.
    let error = slow.await.unwrap().unwrap_err();
    assert!(
        error.message().ends_with("no: Bearer [redacted]"),
        "{error}"
    );
    assert_hidden(&error);
    assert_eq!(
        service.asked(),
        ["/login", "/slow", "/things", "/refresh", "/things"]
    );
    let shown = format!("{:?}", service.client);
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_an_error_that_does_not_show_it() {
    let service = Service::start(|_| Reply::json(200, r#"{"access":"canary\n1"}"#)).await;
    let error = service.get().await.unwrap_err();
    assert_hidden(&error);
    assert_eq!(service.asked(), ["/login"]);
}

/// Gives tokens without asking anybody.
struct Mint(AtomicUsize);

#[async_trait]
impl TokenSource for Mint {
    async fn obtain(&self, refresh: Option<&Secret>) -> Result<Grant> {
        assert!(refresh.is_none());
        let number = self.0.fetch_add(1, SeqCst);
        Ok(Grant {
            access: Secret::new(format!("canary-{number}")),
            refresh: None,
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_with_the_new_token_waits_for_its_turn() {
    let wire = Wire::new(|nth, request| -> Answer {
        let is_sensitive = request.headers()["authorization"].is_sensitive();
        assert!(is_sensitive, "a log of headers would show the token");
        Wire::reply(if nth == 0 { 401 } else { 200 }, &[], "{}")
    });
    let client = builder("https://sample.test", &wire.context())
        .rate_limit(RateLimit::per_second(1))
        .tokens(Mint(AtomicUsize::new(0)), &[]);
    let client = client.build().unwrap();
    client.send(&Request::get("/things")).await.unwrap();
    let times = wire.times();
    assert_eq!(times.len(), 2);
    assert!(times[1] - times[0] >= Duration::from_secs(1), "{times:?}");
}

#[tokio::test]
async fn a_scheme_stands_before_a_secret_that_is_sent_as_it_is() {
    let script = Script::start(|_| Reply::json(400, r#"{"error":"bad key canary-1"}"#));
    let script = script.await.unwrap();
    let base = BaseUrl::parse(&script.base_url()).unwrap();
    let context = context(&Egress::Anywhere).unwrap();
    let build = |scheme, secret| {
        let client = Client::builder("Sample", &base, &context);
        client.authorization(scheme, &Secret::new(secret)).build()
    };
    for (scheme, sent) in [
        ("ApiKey", "ApiKey canary-1"),
        ("Bearer", "Bearer canary-1"),
        ("", "canary-1"),
    ] {
        let client = build(scheme, "canary-1").unwrap();
        let error = client.send(&Request::get("/things")).await.unwrap_err();
        assert!(error.message().ends_with("bad key [redacted]"), "{error}");
        let request = script.requests().pop().unwrap();
        assert_eq!(request.header("authorization"), Some(sent));
    }
    let error = build("Bearer", "canary\n1").unwrap_err();
    assert_eq!(error.kind(), Kind::ConfigInvalid);
    assert_hidden(&error);
}
