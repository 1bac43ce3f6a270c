//! Clari Copilot, the probe: right credentials pass, wrong ones fail, and every other problem is named as what it is.

use acceptance::{
    copilot::{answer, open, script, workspace},
    probe::{check, keeps_the_rules, only_failure},
    unhurried::on_the_wire,
};
use headwater_core::{Outcome, ProbeReport};
use headwater_sandbox::{
    API_KEY, API_PASSWORD, CopilotOptions, Faults, RedirectFault, Sandbox, StatusFault,
};
use headwater_testkit::Reply;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Wrong, and easy to find in a text.
const KEY: &str = "canary-key-5c1f";
const PASSWORD: &str = "canary-password-9a2e";

fn pair(base_url: &str, key: &str, password: &str) -> Value {
    json!({ "api_key": key, "api_password": password, "base_url": base_url })
}

async fn service(faults: &str) -> Sandbox {
    workspace(CopilotOptions {
        calls: 10,
        faults: faults.parse().unwrap(),
        ..CopilotOptions::default()
    })
    .await
}

/// Probes with the right pair.
async fn probe(sandbox: &Sandbox) -> ProbeReport {
    let report = ProbeReport::of(&*open(answer(&sandbox.base_url()))).await;
    keeps_the_rules(&report, &[KEY, PASSWORD, API_KEY, API_PASSWORD, "canary"]);
    let stats = sandbox.stats();
    assert!(stats.requests <= 6, "{stats:?}");
    report
}

/// Probes with a pair that no text may show.
async fn probe_with_canaries(base_url: &str) -> ProbeReport {
    let report = ProbeReport::of(&*open(pair(base_url, KEY, PASSWORD))).await;
    keeps_the_rules(&report, &[KEY, PASSWORD, API_KEY, API_PASSWORD, "canary"]);
    report
}

#[tokio::test(start_paused = true)]
async fn the_right_pair_passes_every_check() {
    let sandbox = service("").await;
    let report = probe(&sandbox).await;
    let checks: Vec<(&str, Outcome, &str)> = report
        .checks
        .iter()
        .map(|check| (&*check.name, check.outcome, &*check.code))
        .collect();
    let passed = [
        "reachable",
        "api",
        "credentials",
        "access:users",
        "access:calls",
        "access:topics",
        "access:scorecards",
        "access:scorecard_templates",
    ]
    .map(|name| (name, Outcome::Passed, "ok"));
    assert_eq!(checks, passed);
    assert_eq!(report.outcome(), Outcome::Passed);

    let stats = sandbox.stats();
    let asked: Vec<(&str, u64)> = stats
        .by_path
        .iter()
        .map(|(path, count)| (&**path, *count))
        .collect();
    assert_eq!(
        asked,
        [
            ("/calls", 1),
            ("/scorecard", 1),
            ("/scorecard-template", 1),
            ("/users", 1),
            ("/v2/topics", 1)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_probe_only_reads_and_asks_for_little() {
    let script = script(|request| {
        let path = request.target.split('?').next().unwrap_or_default();
        let body = match path {
            "/users" => r#"{"users":[]}"#,
            "/calls" => r#"{"calls":[]}"#,
            "/v2/topics" => r#"{"topics":[]}"#,
            "/scorecard" => r#"{"scorecards":[]}"#,
            "/scorecard-template" => r#"{"scoreCardTemplates":[]}"#,
            _ => return Reply::json(404, "{}"),
        };
        Reply::json(200, body)
    })
    .await;
    let report = probe_with_canaries(&script.base_url()).await;
    assert_eq!(report.outcome(), Outcome::Passed, "{report:?}");
    let requests = script.requests();
    assert!(requests.len() <= 6, "{requests:?}");
    for request in requests {
        assert!(request.head.starts_with("GET "), "{}", request.head);
        assert_eq!(request.header("x-api-key"), Some(KEY));
        assert_eq!(request.header("x-api-password"), Some(PASSWORD));
        assert_eq!(request.header("authorization"), None);
        assert!(!request.target.contains("canary"), "{}", request.target);
        if request.target.starts_with("/calls") || request.target.starts_with("/scorecard?") {
            assert_eq!(request.parameter("limit"), Some("1"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_pair_is_told_with_both_fields_and_a_way_out() {
    let sandbox = service("").await;
    for (key, password) in [
        (KEY, PASSWORD),
        (API_KEY, PASSWORD),
        (KEY, API_PASSWORD),
        (API_PASSWORD, API_KEY),
    ] {
        let before = sandbox.stats().requests;
        let source = open(pair(&sandbox.base_url(), key, password));
        let report = ProbeReport::of(&*source).await;
        keeps_the_rules(&report, &[KEY, PASSWORD, API_KEY, API_PASSWORD, "canary"]);
        let failed = only_failure(
            &report,
            "credentials",
            "unauthenticated",
            &["/api_key", "/api_password"],
        );
        let remedy = failed.remedy.as_deref().unwrap();
        assert!(remedy.contains("regenerated"), "{remedy}");
        assert!(remedy.contains("Workspace Settings"), "{remedy}");
        assert_eq!(check(&report, "api").outcome, Outcome::Passed);
        // Asking again could lock the pair.
        assert_eq!(sandbox.stats().requests - before, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_pair_that_is_answered_with_403_is_told_from_a_missing_permission() {
    let sandbox = workspace(CopilotOptions {
        calls: 10,
        wrong_credentials: 403,
        ..CopilotOptions::default()
    })
    .await;
    let report = probe_with_canaries(&sandbox.base_url()).await;
    let failed = only_failure(
        &report,
        "credentials",
        "forbidden",
        &["/api_key", "/api_password"],
    );
    assert!(failed.remedy.as_deref().unwrap().contains("admin"));
    assert!(sandbox.stats().requests <= 2);
}

/// At every place of a text: a character left out, put in, or exchanged, by one of each sort.
fn neighbours(right: &str) -> Vec<String> {
    let visible = || ['!', '0', 'A', 'a', '~'].into_iter();
    let mut texts = Vec::new();
    for at in 0..=right.len() {
        let (head, tail) = right.split_at(at);
        texts.extend(visible().map(|c| format!("{head}{c}{tail}")));
        if let Some(rest) = tail.get(1..) {
            texts.push(format!("{head}{rest}"));
            texts.extend(visible().map(|c| format!("{head}{c}{rest}")));
        }
    }
    texts.sort();
    texts.dedup();
    texts.retain(|text| text != right);
    texts
}

#[tokio::test(start_paused = true)]
async fn every_key_that_is_wrong_in_one_character_fails() {
    all_fail(neighbours(API_KEY), |wrong| (wrong, API_PASSWORD)).await;
}

#[tokio::test(start_paused = true)]
async fn every_password_that_is_wrong_in_one_character_fails() {
    all_fail(neighbours(API_PASSWORD), |wrong| (API_KEY, wrong)).await;
}

async fn all_fail(wrong: Vec<String>, pair_of: impl Fn(&str) -> (&str, &str)) {
    assert!(wrong.len() > 100, "{}", wrong.len());
    let sandbox = service("").await;
    let context = acceptance::unhurried::context();
    for text in &wrong {
        let (key, password) = pair_of(text);
        let answer = pair(&sandbox.base_url(), key, password);
        let source = acceptance::copilot::open_in(&context, answer);
        let report = ProbeReport::of(&*source).await;
        let credentials = check(&report, "credentials");
        assert_eq!(
            (credentials.outcome, &*credentials.code),
            (Outcome::Failed, "unauthenticated"),
            "{text:?} passed"
        );
    }
    let stats = sandbox.stats();
    assert_eq!(stats.by_status[&401], wrong.len() as u64);
    assert_eq!(stats.requests, wrong.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_a_warning_for_its_stream() {
    for (denied, warned) in [
        ("/users", &["access:users"][..]),
        ("/calls", &["access:calls"]),
        ("/v2/topics", &["access:topics"]),
        ("/scorecard-template", &["access:scorecard_templates"]),
        // A prefix: it denies the templates as well.
        (
            "/scorecard",
            &["access:scorecards", "access:scorecard_templates"],
        ),
    ] {
        let sandbox = service(&format!("deny={denied}")).await;
        let report = probe(&sandbox).await;
        assert_eq!(report.outcome(), Outcome::Warned, "{report:?}");
        let credentials = check(&report, "credentials");
        assert_eq!(credentials.outcome, Outcome::Passed, "{denied}");
        for one in &report.checks {
            if warned.contains(&&*one.name) {
                assert_eq!(
                    (one.outcome, &*one.code),
                    (Outcome::Warned, "permission_denied"),
                    "{report:?}"
                );
            } else {
                assert_eq!(one.outcome, Outcome::Passed, "{report:?}");
            }
        }
        assert_eq!(report.checks.len(), 8, "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_service_behind_the_address_is_not_taken_for_this_one() {
    for faults in ["html=9", "other_json=9", "error_body=9"] {
        let sandbox = service(faults).await;
        let report = probe(&sandbox).await;
        let failed = only_failure(&report, "api", "not_this_api", &["/base_url"]);
        assert!(failed.remedy.as_deref().unwrap().contains("address"));
        assert_eq!(check(&report, "reachable").outcome, Outcome::Passed);
        assert_eq!(check(&report, "credentials").outcome, Outcome::Skipped);
        assert_eq!(sandbox.stats().requests, 1, "{faults}");
    }
    for (reply, code) in [
        (
            Reply::full(200, &[("content-type", "text/html")], b"<html>"),
            "not_this_api",
        ),
        (
            Reply::full(404, &[("content-type", "text/html")], b"<html>"),
            "not_this_api",
        ),
        (
            Reply::full(401, &[("content-type", "text/html")], b"<html>"),
            "not_this_api",
        ),
        (Reply::json(404, "{}"), "wrong_path"),
        (Reply::json(200, r#"{"users":{}}"#), "not_this_api"),
        (Reply::json(200, r#"{"users":[1]}"#), "not_this_api"),
        (Reply::json(200, ""), "not_this_api"),
        (Reply::json(204, ""), "not_this_api"),
    ] {
        let script = script(move |_| reply.clone()).await;
        let report = probe_with_canaries(&script.base_url()).await;
        only_failure(&report, "api", code, &["/base_url"]);
        assert_eq!(script.requests().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_repeats_the_credentials_does_not_get_them_shown() {
    for status in [200, 400, 401, 403, 418, 429, 500] {
        for padding in ["", &"x".repeat(190)] {
            let text = format!("{padding} {KEY} with {PASSWORD}");
            let body = json!({ "message": text, "errorMessage": text }).to_string();
            let script = script(move |_| Reply::json(status, &body)).await;
            let report = probe_with_canaries(&script.base_url()).await;
            assert_eq!(report.outcome(), Outcome::Failed, "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_told_and_the_other_host_gets_nothing() {
    let other = script(|_| Reply::json(200, r#"{"users":[]}"#)).await;
    let sandbox = service("").await;
    sandbox.set_faults(Faults {
        redirect: Some(RedirectFault {
            origin: other.base_url(),
            next: 9,
        }),
        ..Faults::default()
    });
    let report = probe(&sandbox).await;
    let failed = only_failure(&report, "api", "redirected", &["/base_url"]);
    assert!(failed.message.contains(&other.base_url()), "{failed:?}");
    assert_eq!(other.requests().len(), 0);
    assert_eq!(sandbox.stats().requests, 1);
}

#[tokio::test(start_paused = true)]
async fn a_busy_or_broken_service_leaves_the_credentials_unjudged() {
    let status = |code, retry_after| Faults {
        status: Some(StatusFault {
            code,
            next: 9,
            path: None,
            retry_after,
        }),
        ..Faults::default()
    };
    for (faults, code, requests, says) in [
        (status(429, None), "throttled", 1, "60 seconds"),
        (status(429, Some(7)), "throttled", 1, "7 seconds"),
        (status(503, None), "service_problem", 2, "later"),
        (status(500, None), "service_problem", 2, "later"),
        (status(502, None), "service_problem", 2, "later"),
    ] {
        let sandbox = service("").await;
        sandbox.set_faults(faults);
        let report = probe(&sandbox).await;
        let failed = only_failure(&report, "credentials", code, &[]);
        let remedy = failed.remedy.as_deref().unwrap();
        assert!(remedy.contains(says), "{remedy}");
        assert!(failed.message.contains("not tested"), "{failed:?}");
        assert_eq!(sandbox.stats().requests, requests, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_hiccup_does_not_fail_a_probe() {
    for faults in ["status=503:1", "reset=1", "status=502:1:/scorecard"] {
        let sandbox = service(faults).await;
        let report = probe(&sandbox).await;
        assert_eq!(report.outcome(), Outcome::Passed, "{faults}: {report:?}");
        assert_eq!(sandbox.stats().requests, 6, "{faults}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_where_nobody_listens_is_refused() {
    let port = on_the_wire(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    })
    .await;
    let report = probe_with_canaries(&format!("http://127.0.0.1:{port}")).await;
    only_failure(&report, "reachable", "refused", &["/base_url"]);
}

#[tokio::test(start_paused = true)]
async fn a_host_name_that_does_not_resolve_is_unknown() {
    let report = probe_with_canaries("https://no-such-host.invalid").await;
    let failed = only_failure(&report, "reachable", "name_unknown", &["/base_url"]);
    assert!(failed.message.contains("no-such-host.invalid"));
}

#[tokio::test(start_paused = true)]
async fn a_host_without_tls_is_told_as_that() {
    let sandbox = service("").await;
    let address = sandbox.base_url().replace("http://", "https://");
    let report = probe_with_canaries(&address).await;
    only_failure(&report, "tls", "tls", &["/base_url"]);
    assert_eq!(check(&report, "reachable").outcome, Outcome::Passed);
    assert_eq!(sandbox.stats().requests, 0);
}
