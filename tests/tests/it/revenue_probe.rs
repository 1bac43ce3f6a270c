//! Clari Revenue, the probe: which way of sending the key works, what it may read, and every other problem named as what
//! it is.

use acceptance::{
    copilot::script,
    probe::{self, check, keeps_the_rules},
    revenue::{
        Between, FORECAST, Fate, Host, ID, answer, answer_with, ask, open, open_in, options,
        outside, tenant,
    },
    unhurried::on_the_wire,
};
use headwater_core::{Check, Kind, Outcome, ProbeReport};
use headwater_sandbox::{
    API_KEY, Faults, JobOutcome, LimitsEndpoint, RedirectFault, RevenueAuth, RevenueBehaviour,
    RevenueOptions, RevenueVersions, Sandbox,
};
use headwater_testkit::Reply;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Wrong, and easy to find in a text.
const KEY: &str = "canary-key-5c1f";
const VENDOR: &str = "https://api.clari.com";

/// Asserts that only this check failed, and that the probe offers no change of the config.
fn only_failure<'r>(
    report: &'r ProbeReport,
    name: &str,
    code: &str,
    pointers: &[&str],
) -> &'r Check {
    assert!(report.patch.is_none(), "{report:?}");
    probe::only_failure(report, name, code, pointers)
}

async fn service(behaviour: RevenueBehaviour) -> Sandbox {
    tenant(RevenueOptions {
        forecast_entries: 60,
        behaviour,
        ..options()
    })
    .await
}

fn bearer() -> RevenueBehaviour {
    RevenueBehaviour {
        auth: RevenueAuth::Bearer,
        versions: RevenueVersions::V1,
        ..RevenueBehaviour::default()
    }
}

async fn faulty(faults: &str) -> Sandbox {
    let sandbox = service(RevenueBehaviour::default()).await;
    sandbox.set_faults(faults.parse().unwrap());
    sandbox
}

async fn probe(answer: Value) -> ProbeReport {
    let source = open(answer);
    let report = ProbeReport::of(&*source).await;
    keeps_the_rules(&report, &["canary", API_KEY]);
    report
}

#[tokio::test(start_paused = true)]
async fn the_way_that_was_chosen_by_hand_passes() {
    for (behaviour, fields) in [
        (RevenueBehaviour::default(), json!({})),
        (bearer(), json!({ "auth_profile": "bearer" })),
    ] {
        let sandbox = service(behaviour).await;
        let mut answer = answer_with(&sandbox.base_url(), fields);
        if behaviour.auth == RevenueAuth::Bearer {
            answer["base_url"] = json!(format!("{}/v1", sandbox.base_url()));
        }
        let report = probe(answer).await;
        let checks: Vec<(&str, Outcome, &str)> = report
            .checks
            .iter()
            .map(|check| (&*check.name, check.outcome, &*check.code))
            .collect();
        let passed = |name| (name, Outcome::Passed, "ok");
        let unknown = |name| (name, Outcome::Skipped, "unknown");
        assert_eq!(
            checks,
            [
                passed("reachable"),
                passed("api"),
                passed("credentials"),
                passed("access:limits"),
                passed("access:forecast_entries:net_arr"),
                unknown("access:activities"),
                unknown("access:opportunities"),
                passed("access:audit_events"),
                passed("access:export_jobs"),
            ]
        );
        assert!(report.patch.is_none(), "nothing is to be changed");
        assert_eq!(outside(&sandbox).jobs().len(), 0, "a probe costs no job");
        assert_eq!(sandbox.stats().requests, 4);
    }
}

#[tokio::test(start_paused = true)]
async fn automatic_finds_the_way_and_offers_it() {
    for (behaviour, base, profile, version) in [
        (RevenueBehaviour::default(), None, "apikey", "v4"),
        (RevenueBehaviour::default(), Some("v4"), "apikey", "v4"),
        (RevenueBehaviour::default(), Some("v2/"), "apikey", "v4"),
        (bearer(), None, "bearer", "v1"),
        (bearer(), Some("v4"), "bearer", "v1"),
        (
            RevenueBehaviour {
                auth: RevenueAuth::Both,
                versions: RevenueVersions::Both,
                ..RevenueBehaviour::default()
            },
            None,
            "apikey",
            "v4",
        ),
    ] {
        let sandbox = service(behaviour).await;
        let between = Between::rerouting(VENDOR, &sandbox.base_url());
        let mut answer = json!({ "api_key": API_KEY, "forecast_ids": ["net_arr"] });
        if let Some(base) = base {
            answer["base_url"] = json!(format!("{VENDOR}/{base}"));
        }
        let report = ProbeReport::of(&*open_in(&between.context(), answer.clone())).await;
        keeps_the_rules(&report, &["canary", API_KEY]);
        assert_eq!(report.outcome(), Outcome::Passed, "{report:?}");
        let patch = report.patch.unwrap();
        assert_eq!(patch.set["/auth_profile"], profile);
        assert!(patch.message.contains(version), "{}", patch.message);
        let is_moved = base.unwrap_or("v1").trim_end_matches('/') != version;
        assert_eq!(patch.set.contains_key("/base_url"), is_moved, "{patch:?}");

        // Only the version moved, and each way sent the key in its own place.
        let sent = between.sent();
        for one in &sent {
            assert_eq!(one.method, "GET");
            let (place, name) = match one.url.strip_prefix(VENDOR).unwrap().get(..4).unwrap() {
                "/v4/" => (one.header("apikey"), "authorization"),
                "/v1/" => (one.header("authorization"), "apikey"),
                other => panic!("{other} was asked"),
            };
            assert!(place.unwrap().ends_with(API_KEY), "{one:?}");
            assert_eq!(one.header(name), None, "{one:?}");
            assert!(!one.url.contains(API_KEY), "{one:?}");
        }

        // What is offered is enough to read with.
        patch.apply(&mut answer);
        let host = Host::default();
        let read = host.read(between.context(), answer, &["forecast_users"]);
        assert!(read.await.unwrap().failure().is_none());
        assert!(!host.records("forecast_users").is_empty());
        let rest = &between.sent()[sent.len()..];
        let start = format!("{VENDOR}/{version}/");
        assert!(rest.iter().all(|one| one.url.starts_with(&start)));
    }
}

#[tokio::test(start_paused = true)]
async fn automatic_leaves_an_address_of_ones_own_as_it_is() {
    for (behaviour, version, profile) in [
        (RevenueBehaviour::default(), "v4", "apikey"),
        (bearer(), "v1", "bearer"),
    ] {
        let sandbox = service(behaviour).await;
        let mut answer = answer_with(&sandbox.base_url(), json!({ "auth_profile": "automatic" }));
        answer["base_url"] = json!(format!("{}/{version}", sandbox.base_url()));
        let report = probe(answer).await;
        assert_eq!(report.outcome(), Outcome::Passed, "{report:?}");
        let patch = report.patch.unwrap();
        assert_eq!(patch.set, [("/auth_profile".into(), json!(profile))].into());
        let stats = sandbox.stats();
        let foreign: Vec<&String> = stats
            .by_path
            .keys()
            .filter(|path| !path.starts_with(&format!("/{version}/")))
            .collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_told_with_what_was_tried_and_a_way_out() {
    let sandbox = service(RevenueBehaviour::default()).await;
    for (profile, pointers, requests) in [
        ("automatic", &["/api_key"][..], 2),
        ("apikey", &["/api_key", "/auth_profile"], 1),
        ("bearer", &["/api_key", "/auth_profile"], 1),
    ] {
        let before = sandbox.stats().requests;
        let fields = json!({ "auth_profile": profile, "api_key": KEY });
        let report = probe(answer_with(&sandbox.base_url(), fields)).await;
        let failed = only_failure(&report, "credentials", "unauthenticated", pointers);
        let remedy = failed.remedy.as_deref().unwrap();
        assert!(remedy.contains("Settings > API tokens"), "{remedy}");
        assert_eq!(
            remedy.contains("automatic"),
            profile != "automatic",
            "{remedy}"
        );
        assert!(failed.message.contains("status 401"), "{failed:?}");
        if profile == "automatic" {
            for way in [
                "apikey header under /v4",
                "Authorization: Bearer header under /v4",
            ] {
                assert!(failed.message.contains(way), "{failed:?}");
            }
        }
        assert_eq!(sandbox.stats().requests - before, requests, "{profile}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_way_that_is_not_the_one_of_the_service_is_told() {
    for (behaviour, profile) in [
        (RevenueBehaviour::default(), "bearer"),
        (
            RevenueBehaviour {
                versions: RevenueVersions::V4,
                ..bearer()
            },
            "apikey",
        ),
    ] {
        let sandbox = service(behaviour).await;
        let fields = json!({ "auth_profile": profile });
        let report = probe(answer_with(&sandbox.base_url(), fields)).await;
        let pointers = &["/api_key", "/auth_profile"];
        only_failure(&report, "credentials", "unauthenticated", pointers);
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_served_is_told_with_the_usual_one() {
    let sandbox = service(RevenueBehaviour::default()).await;
    for (profile, usual) in [("apikey", "/v4"), ("bearer", "/v1"), ("automatic", "/v4")] {
        for path in ["/v9", "", "/v4/v4"] {
            let base = format!("{}{path}", sandbox.base_url());
            let fields = json!({ "auth_profile": profile, "base_url": base });
            let report = probe(answer_with("", fields)).await;
            let failed = only_failure(&report, "api", "wrong_path", &["/base_url"]);
            let remedy = failed.remedy.as_deref().unwrap();
            assert!(remedy.ends_with(&format!("{VENDOR}{usual}")), "{remedy}");
            assert!(failed.message.contains("status 404"), "{failed:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_forecast_has_a_check_of_its_own() {
    let sandbox = service(RevenueBehaviour::default()).await;
    let ids = json!({ "forecast_ids": ["net_arr", "no_access", "nonsense", "deal_owner"] });
    let report = probe(answer_with(&sandbox.base_url(), ids)).await;
    assert_eq!(report.outcome(), Outcome::Warned);
    for (id, code, kind, says) in [
        ("net_arr", "ok", None, "can be read"),
        (
            "no_access",
            "no_optin",
            Some(Kind::PermissionDenied),
            "not opted in",
        ),
        (
            "nonsense",
            "no_such_forecast",
            Some(Kind::NotFound),
            "no forecast nonsense",
        ),
        ("deal_owner", "ok", None, "can be read"),
    ] {
        let one = check(&report, &format!("access:forecast_entries:{id}"));
        assert_eq!((&*one.code, one.kind), (code, kind), "{one:?}");
        assert!(one.message.contains(says), "{one:?}");
        assert_eq!(one.remedy.is_some(), kind.is_some(), "{one:?}");
    }
    let none = probe(answer_with(
        &sandbox.base_url(),
        json!({ "forecast_ids": [] }),
    ))
    .await;
    assert_eq!(none.outcome(), Outcome::Passed, "{none:?}");
    assert_eq!(check(&none, "access:forecast_entries").code, "unknown");
}

#[tokio::test(start_paused = true)]
async fn opportunities_are_asked_for_where_there_is_an_id() {
    let sandbox = service(RevenueBehaviour::default()).await;
    let ids = sandbox.keys("opportunities").unwrap();
    let report = probe(answer_with(
        &sandbox.base_url(),
        json!({ "opportunity_ids": ids }),
    ))
    .await;
    assert_eq!(
        check(&report, "access:opportunities").outcome,
        Outcome::Passed
    );
    assert_eq!(sandbox.stats().by_path["/v4/opportunity"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_a_warning_for_its_stream() {
    for (denied, warned) in [
        ("/v4/admin/limits", "access:limits"),
        ("/v4/forecast/net_arr", "access:forecast_entries:net_arr"),
        ("/v4/audit", "access:audit_events"),
        ("/v4/export/jobs", "access:export_jobs"),
    ] {
        let sandbox = faulty(&format!("deny={denied}")).await;
        let report = probe(answer(&sandbox.base_url())).await;
        assert_eq!(report.outcome(), Outcome::Warned, "{report:?}");
        for one in &report.checks {
            let is_warned = one.outcome == Outcome::Warned;
            assert_eq!(is_warned, one.name == warned, "{denied}: {one:?}");
            if is_warned {
                assert_eq!(one.code, "permission_denied");
                assert!(one.message.contains("status 403"), "{one:?}");
            }
        }
    }
    let sandbox = faulty("deny=/v4").await;
    let report = probe(answer(&sandbox.base_url())).await;
    let failed = only_failure(&report, "credentials", "forbidden", &["/api_key"]);
    assert!(failed.remedy.as_deref().unwrap().contains("admin"));
}

#[tokio::test(start_paused = true)]
async fn a_key_works_also_where_the_limits_do_not_show() {
    for (limits, status) in [
        (LimitsEndpoint::Off, "status 404"),
        (LimitsEndpoint::Forbidden, "status 403"),
    ] {
        for profile in ["apikey", "automatic"] {
            let sandbox = service(RevenueBehaviour {
                limits,
                ..RevenueBehaviour::default()
            })
            .await;
            let fields = json!({ "auth_profile": profile });
            let report = probe(answer_with(&sandbox.base_url(), fields)).await;
            assert_eq!(report.outcome(), Outcome::Warned, "{report:?}");
            for name in ["api", "credentials", "access:audit_events"] {
                assert_eq!(check(&report, name).outcome, Outcome::Passed, "{report:?}");
            }
            let one = check(&report, "access:limits");
            assert_eq!(one.outcome, Outcome::Warned, "{one:?}");
            assert!(one.message.contains(status), "{one:?}");
            assert_eq!(report.patch.is_some(), profile == "automatic");
            assert!(report.allowances.is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_the_quota_is_told_in_numbers() {
    let mut limited = options();
    limited.jobs.monthly_quota = 2;
    let sandbox = tenant(limited).await;
    outside(&sandbox).script_jobs([JobOutcome::Stuck]);
    for (used, outcome, code) in [
        (0_u64, Outcome::Passed, "ok"),
        (1, Outcome::Passed, "ok"),
        (2, Outcome::Warned, "quota_used_up"),
    ] {
        let report = probe(answer(&sandbox.base_url())).await;
        let one = check(&report, "access:limits");
        assert_eq!((one.outcome, &*one.code), (outcome, code), "{one:?}");
        let left = format!("{} export jobs left", 2 - used);
        assert!(one.message.contains(&left), "{one:?}");
        assert_eq!(one.remedy.is_some(), used == 2, "{one:?}");
        let numbers: Vec<(&str, f64, f64)> = report
            .allowances
            .iter()
            .map(|one| (&*one.name, one.used, one.limit))
            .collect();
        let (at_once, month) = (used.min(1) as f64, used as f64);
        assert_eq!(
            numbers,
            [
                ("concurrent_export_jobs", at_once, 3.0),
                ("monthly_export_jobs", month, 2.0),
            ]
        );
        let (status, _) = ask(&sandbox, "POST", "/export/forecast/net_arr", "").await;
        assert_eq!(status, if used == 2 { 400 } else { 200 });
    }
}

#[tokio::test(start_paused = true)]
async fn another_service_behind_the_address_is_not_taken_for_this_one() {
    for faults in ["html=9", "other_json=9", "error_body=9"] {
        for profile in ["apikey", "automatic"] {
            let sandbox = faulty(faults).await;
            let fields = json!({ "auth_profile": profile });
            let report = probe(answer_with(&sandbox.base_url(), fields)).await;
            let failed = only_failure(&report, "api", "not_this_api", &["/base_url"]);
            assert!(failed.remedy.as_deref().unwrap().contains("address"));
            assert_eq!(sandbox.stats().requests, 1, "{faults}");
        }
    }
    for reply in [
        Reply::full(200, &[("content-type", "text/html")], b"<html>"),
        Reply::full(401, &[("content-type", "text/html")], b"<html>"),
        Reply::full(404, &[("content-type", "text/html")], b"<html>"),
        Reply::json(200, r#"{"jobs":[]}"#),
        Reply::json(200, r#"{"jobs":3}"#),
        Reply::json(200, ""),
        Reply::json(204, ""),
    ] {
        let shown = format!("{reply:?}");
        let script = script(move |_| reply.clone()).await;
        for profile in ["apikey", "automatic"] {
            let fields = json!({ "auth_profile": profile, "api_key": KEY });
            let report = probe(answer_with(&script.base_url(), fields)).await;
            assert_eq!(report.outcome(), Outcome::Failed, "{shown}");
            let failed = report.failure().unwrap();
            assert_eq!(failed.name, "api", "{shown}: {report:?}");
            assert_eq!(failed.pointers, ["/base_url"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn limits_in_a_form_that_is_not_known_are_a_warning() {
    for body in [
        r#"{"jobs":{}}"#,
        r#"{"jobs":{"concurrentLimit":"3","monthlyQuota":null,"availableConcurrentLimit":1,"availableMonthlyQuota":1}}"#,
        r#"{"jobs":{"concurrentLimit":3,"monthlyQuota":-5,"availableConcurrentLimit":1,"availableMonthlyQuota":1}}"#,
    ] {
        let sandbox = service(RevenueBehaviour::default()).await;
        let between =
            Between::new(
                move |_, request| match request.uri().path() == "/v4/admin/limits" {
                    true => Fate::Instead(200, body.to_owned()),
                    false => Fate::Arrives,
                },
            );
        let source = open_in(&between.context(), answer(&sandbox.base_url()));
        let report = ProbeReport::of(&*source).await;
        keeps_the_rules(&report, &["canary", API_KEY]);
        assert_eq!(check(&report, "credentials").outcome, Outcome::Passed);
        let one = check(&report, "access:limits");
        assert_eq!((one.outcome, &*one.code), (Outcome::Warned, "unreadable"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_or_broken_service_leaves_the_key_unjudged() {
    for (faults, code, requests, says) in [
        ("status=429:9", "throttled", 1, "60 seconds"),
        ("status=429:9,retry_after=7", "throttled", 1, "7 seconds"),
        ("status=500:9", "service_problem", 2, "later"),
        ("status=503:9", "service_problem", 2, "later"),
    ] {
        for profile in ["apikey", "automatic"] {
            let sandbox = faulty(faults).await;
            let fields = json!({ "auth_profile": profile });
            let report = probe(answer_with(&sandbox.base_url(), fields)).await;
            let failed = only_failure(&report, "credentials", code, &[]);
            assert!(failed.message.contains("not tested"), "{failed:?}");
            let remedy = failed.remedy.as_deref().unwrap();
            assert!(remedy.contains(says), "{remedy}");
            assert_eq!(sandbox.stats().requests, requests, "{faults}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_hiccup_does_not_fail_a_probe() {
    for faults in [
        "status=503:1",
        "reset=1",
        "truncate=1",
        "status=502:1:/v4/audit",
    ] {
        let sandbox = faulty(faults).await;
        let report = probe(answer(&sandbox.base_url())).await;
        assert_eq!(report.outcome(), Outcome::Passed, "{faults}: {report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_names_the_allow_list() {
    let port = on_the_wire(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    })
    .await;
    for profile in ["apikey", "automatic"] {
        let fields = json!({ "auth_profile": profile, "api_key": KEY });
        let report = probe(answer_with(&format!("http://127.0.0.1:{port}"), fields)).await;
        let failed = only_failure(&report, "reachable", "refused", &["/base_url"]);
        assert!(failed.remedy.as_deref().unwrap().contains("allow-list"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_told_and_the_other_host_gets_nothing() {
    let other = script(|_| Reply::json(200, "{}")).await;
    let sandbox = service(RevenueBehaviour::default()).await;
    sandbox.set_faults(Faults {
        redirect: Some(RedirectFault {
            origin: other.base_url(),
            next: 9,
        }),
        ..Faults::default()
    });
    let report = probe(answer(&sandbox.base_url())).await;
    let failed = only_failure(&report, "api", "redirected", &["/base_url"]);
    assert!(failed.message.contains(&other.base_url()), "{failed:?}");
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_repeats_the_key_does_not_get_it_shown() {
    for status in [200, 400, 401, 403, 404, 418, 429, 500] {
        for padding in ["", &"x".repeat(190)] {
            let text = format!("{padding} {KEY} Bearer {KEY}");
            let body = json!({ "message": text, "code": KEY, "jobs": { "message": text } });
            let body = body.to_string();
            let script = script(move |_| Reply::json(status, &body)).await;
            for profile in ["apikey", "bearer", "automatic"] {
                let fields = json!({ "auth_profile": profile, "api_key": KEY });
                let answer = answer_with(&script.base_url(), fields);
                let source = open(answer);
                keeps_the_rules(&ProbeReport::of(&*source).await, &["canary", API_KEY]);
                for stream in source.streams() {
                    let error = stream.plan(None, headwater_core::Timestamp::now());
                    let shown = format!("{error:?} {}", stream.spec().name);
                    assert!(!shown.contains("canary"), "{shown}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reading_without_a_known_way_is_refused_before_anything_is_sent_or_written() {
    let sandbox = service(RevenueBehaviour::default()).await;
    let answer = answer_with(&sandbox.base_url(), json!({ "auth_profile": "automatic" }));
    for wanted in [
        &[][..],
        &["limits"],
        &FORECAST,
        &["audit_actors", "activities"],
    ] {
        let between = Between::new(|_, _| Fate::Arrives);
        let host = Host::default();
        let read = host.read(between.context(), answer.clone(), wanted);
        let error = read.await.unwrap_err();
        assert_eq!(error.kind(), Kind::ConfigInvalid, "{error}");
        for part in [
            "auth_profile",
            "automatic",
            &format!("headwater check {ID}"),
        ] {
            let message = error
                .message()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            assert!(message.contains(part), "{part:?} is not in {message}");
        }
        assert_eq!(between.sent().len(), 0);
        assert!(!host.state().exists());
        assert!(!host.out().exists());
    }
    let error = open(answer).allowances().await.unwrap_err();
    assert_eq!(error.kind(), Kind::ConfigInvalid);
    assert_eq!(sandbox.stats().requests, 0);
}
