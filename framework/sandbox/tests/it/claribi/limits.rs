//! The rate limit and its headers in answers.

use std::time::{Duration, SystemTime};

use headwater_sandbox::ClaribiOptions;
use headwater_sandbox::claribi::{API_KEY, EMAIL, PASSWORD, RateHeaders, RateLimit, Tier};
use serde_json::json;

use crate::claribi::support::{Answer, Claribi, send};

const STATUS: &str = "/api/auth/status/";

fn number(answer: &Answer, header: &str) -> u64 {
    answer.header(header).unwrap().parse().unwrap()
}

async fn of(requests: u32, window: Duration, rate_headers: RateHeaders) -> Claribi {
    Claribi::start(ClaribiOptions {
        rate_limit: RateLimit::Of { requests, window },
        rate_headers,
        ..ClaribiOptions::default()
    })
    .await
}

#[tokio::test]
async fn every_plan_has_its_limit() {
    for (tier, limit) in [
        (Tier::Trial, 60),
        (Tier::Starter, 300),
        (Tier::Professional, 1_000),
        (Tier::Enterprise, 5_000),
    ] {
        let api = Claribi::start(ClaribiOptions {
            tier,
            ..ClaribiOptions::default()
        })
        .await;
        let answer = api.get(STATUS).await;
        assert_eq!(number(&answer, "x-ratelimit-limit"), limit);
        assert_eq!(number(&answer, "x-ratelimit-remaining"), limit - 1);
        let now = SystemTime::now();
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let until_reset = number(&answer, "x-ratelimit-reset") - now;
        assert!((3_500..=3_601).contains(&until_reset), "{until_reset}");
    }
}

#[tokio::test]
async fn a_trial_ends_after_sixty_requests() {
    let api = Claribi::start(ClaribiOptions {
        tier: Tier::Trial,
        ..ClaribiOptions::default()
    })
    .await;
    for left in (0..60).rev() {
        // Errors count and have the headers as well.
        let answer = api
            .get(if left % 2 == 0 {
                STATUS
            } else {
                "/api/reports/0/"
            })
            .await;
        assert_eq!(number(&answer, "x-ratelimit-remaining"), left);
    }
    let answer = api.get(STATUS).await;
    assert_eq!(answer.status, 429);
    let wait = number(&answer, "retry-after");
    assert!((3_500..=3_600).contains(&wait), "{wait}");
    let message = format!("Request was throttled. Expected available in {wait} seconds.");
    assert_eq!(answer.json(), json!({"detail": message}));
    assert_eq!(number(&answer, "x-ratelimit-remaining"), 0);
    assert_eq!(api.sandbox.stats().throttled, 1);
}

#[tokio::test]
async fn the_window_rolls() {
    let api = of(2, Duration::from_millis(900), RateHeaders::Full).await;
    assert_eq!(api.get(STATUS).await.status, 200);
    assert_eq!(api.get(STATUS).await.status, 200);
    let refused = api.get(STATUS).await;
    assert_eq!(refused.status, 429);
    assert_eq!(number(&refused, "retry-after"), 1);
    assert!(refused.text.contains("in 1 second."), "{}", refused.text);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(api.get(STATUS).await.status, 200);
}

#[tokio::test]
async fn a_key_and_a_user_have_limits_of_their_own() {
    let api = of(1, Duration::from_secs(60), RateHeaders::Full).await;
    let body = json!({"email": EMAIL, "password": PASSWORD});
    for _ in 0..3 {
        assert_eq!(api.post("/api/auth/login/", &body).await.status, 200);
    }
    let login = api.post("/api/auth/login/", &body).await.json();
    let access = login["access"].as_str().unwrap();
    for expected in [200, 429] {
        assert_eq!(api.get(STATUS).await.status, expected);
        assert_eq!(send(api.bearer(STATUS, access)).await.status, expected);
    }
    // It is the same key in every header.
    let answer = send(api.with_header(STATUS, "X-API-Key", API_KEY)).await;
    assert_eq!(answer.status, 429);
}

#[tokio::test]
async fn answers_may_tell_less() {
    let names = [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "retry-after",
    ];
    for (rate_headers, on_success, on_refusal) in [
        (RateHeaders::Full, [true, true, true, false], [true; 4]),
        (
            RateHeaders::Old,
            [false, true, true, false],
            [false, true, true, false],
        ),
        (RateHeaders::Off, [false; 4], [false, false, false, true]),
    ] {
        let api = of(1, Duration::from_secs(60), rate_headers).await;
        for (status, expected) in [(200, on_success), (429, on_refusal)] {
            let answer = api.get(STATUS).await;
            assert_eq!(answer.status, status);
            let present = names.map(|name| answer.header(name).is_some());
            assert_eq!(present, expected, "{rate_headers:?} {status}");
        }
    }
}

#[tokio::test]
async fn there_may_be_no_limit() {
    let api = Claribi::unlimited().await;
    let answer = api.get(STATUS).await;
    assert_eq!(answer.header("x-ratelimit-limit"), None);
}

#[tokio::test]
async fn the_time_to_wait_can_be_set() {
    let api = of(0, Duration::from_secs(60), RateHeaders::Full).await;
    api.sandbox.set_faults("retry_after=7".parse().unwrap());
    let answer = api.get(STATUS).await;
    assert_eq!((answer.status, number(&answer, "retry-after")), (429, 7));
}
