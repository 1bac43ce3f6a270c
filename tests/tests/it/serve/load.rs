//! Many probes at once, each with a key of its own: all are answered, none in the way of another.
//!
//! `cargo test --release --package acceptance --test it serve::load -- --nocapture` tells the times of the shipped build.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use acceptance::{client, cost::memory, simulation};
use headwater_sandbox::{API_KEY, Sandbox, Setup};
use headwater_testkit::{Ending, Reply, Request, Script};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::serve::{Service, service, until};

const REVENUE: &str = "clari-revenue";
const PROBES: usize = 1_000;
const LATENCY: Duration = Duration::from_millis(200);
/// How much memory all the probes may take together.
const MAX_KIB: u64 = 64 * 1024;

/// What the simulator answers to each request of a probe, so that every key can be given the same.
struct Recorded(Vec<(&'static str, String)>);

impl Recorded {
    async fn new() -> Self {
        let service = (simulation(REVENUE).service)(&Setup::default()).unwrap();
        let sandbox = Sandbox::start(service).await.unwrap();
        let client = client().build().unwrap();
        let mut answers = Vec::new();
        for path in ["/admin/limits", "/audit/events?limit=1", "/export/jobs"] {
            let request = client.get(format!("{}/v4{path}", sandbox.base_url()));
            let answer = request.header("apikey", API_KEY).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            answers.push((path, answer.text().await.unwrap()));
        }
        Self(answers)
    }

    /// The answer of a service that knows each key that begins with `good`.
    fn answer(&self, request: &Request) -> Reply {
        let is_known = request
            .header("apikey")
            .is_some_and(|key| key.starts_with("good"));
        let path = request.target.trim_start_matches("/v4");
        let found = self.0.iter().find(|(known, _)| *known == path);
        let reply = match (found, is_known) {
            (Some((_, body)), true) => Reply::json(200, body),
            (_, false) => Reply::json(401, r#"{"message":"Unauthorized"}"#),
            _ => Reply::json(404, "{}"),
        };
        reply.after(LATENCY)
    }
}

/// Probes a draft. Says whether every check passed that could be made, and how long it took.
async fn probe(service: Arc<Service>, base_url: String, key: String) -> (bool, Duration) {
    let config = json!({ "auth_profile": "apikey", "api_key": key, "base_url": base_url });
    let path = format!("/api/v1/connectors/{REVENUE}/probe");
    let started = Instant::now();
    let answer = service.post(&path, &json!({ "config": config })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let took = started.elapsed();
    let report = answer.json();
    let checks = report["checks"].as_array().unwrap();
    let is_made = |check: &Value, outcome: &str| check["outcome"] == outcome;
    let has_failed = checks.iter().any(|check| is_made(check, "failed"));
    let has_passed = checks
        .iter()
        .any(|check| is_made(check, "passed") && check["name"] == "credentials");
    assert_ne!(has_failed, has_passed, "{report}");
    (has_passed, took)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_probes_at_once_are_all_answered_rightly_in_little_memory() {
    let recorded = Recorded::new().await;
    let script = Script::start(move |request| recorded.answer(request))
        .await
        .unwrap();
    let service = Arc::new(service());
    let alone = probe(Arc::clone(&service), script.base_url(), "good".to_owned()).await;
    assert!(alone.0);
    let before = memory(&service.id().to_string(), "VmRSS:");
    let mut all = JoinSet::new();
    for number in 0..PROBES {
        let is_good = number % 4 > 0;
        let kind = if is_good { "good" } else { "bad" };
        let one = probe(
            Arc::clone(&service),
            script.base_url(),
            format!("{kind}-{number}"),
        );
        all.spawn(async move { (one.await, is_good) });
    }
    let mut took = Vec::new();
    while let Some(done) = all.join_next().await {
        let ((has_passed, elapsed), is_good) = done.unwrap();
        assert_eq!(has_passed, is_good);
        took.push(elapsed);
    }
    let most = memory(&service.id().to_string(), "VmHWM:");
    took.sort();
    println!(
        "alone {:?}; of {PROBES}: median {:?}, 99 % {:?}; {} KiB more; {} connections",
        alone.1,
        took[PROBES / 2],
        took[PROBES * 99 / 100],
        most - before,
        script.connections()
    );
    assert!(most - before < MAX_KIB, "{} KiB more", most - before);
    // Only the shipped build is held to its speed, and to that of one probe on the same machine.
    if !cfg!(debug_assertions) {
        let slow = took[PROBES * 99 / 100];
        assert!(slow < alone.1 + LATENCY * 5 / 2, "99 % took {slow:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_keeps_no_other_probe_waiting() {
    let recorded = Recorded::new().await;
    let well = Script::start(move |request| recorded.answer(request))
        .await
        .unwrap();
    let hung = Script::start(|_| Reply::raw("", Ending::Stall))
        .await
        .unwrap();
    let service = Arc::new(service());
    // A probe gives up after a while; then the next one hangs in its place.
    let given_up = Arc::new(AtomicUsize::new(0));
    let mut waiting = JoinSet::new();
    for number in 0..200 {
        let (service, given_up) = (Arc::clone(&service), Arc::clone(&given_up));
        let base_url = hung.base_url();
        waiting.spawn(async move {
            loop {
                let key = format!("good-{number}");
                probe(Arc::clone(&service), base_url.clone(), key).await;
                given_up.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    until("the last of them", async || hung.requests().len() >= 200).await;
    let mut unhindered = 0;
    for number in 0..10 {
        let before = given_up.load(Ordering::Relaxed);
        let (has_passed, _) = probe(
            Arc::clone(&service),
            well.base_url(),
            format!("good-{number}"),
        )
        .await;
        assert!(has_passed);
        unhindered += usize::from(given_up.load(Ordering::Relaxed) == before);
    }
    // Whoever had to wait for those that hang would not be done before one of them gave up.
    assert!(unhindered > 0, "the others wait still");
    assert!(
        waiting.try_join_next().is_none(),
        "a probe was not answered"
    );
    let health = service
        .request(Method::GET, "/healthz")
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
}
