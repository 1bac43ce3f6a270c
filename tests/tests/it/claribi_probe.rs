//! clariBI, the probe: right credentials pass, wrong ones fail, every other problem is named as what it is, and the
//! organization's plan and data sources are told.

use acceptance::{
    claribi::{answer, by_key, by_login, limited, open, organization},
    copilot::script,
    probe::{check, keeps_the_rules, only_failure},
    unhurried::on_the_wire,
};
use headwater_core::{Outcome, ProbeReport, Timestamp};
use headwater_sandbox::{
    ClaribiOptions, Faults, RedirectFault, Sandbox, StatusFault,
    claribi::{API_KEY, KeyHeaders, PASSWORD, Paging, Permissions, Tier},
};
use headwater_testkit::Reply;
use serde_json::Value;
use tokio::net::TcpListener;

/// Wrong, and easy to find in a text.
const KEY: &str = "claribi_sk_canary-5c1f";
const STYLES: [&str; 3] = ["api_key_authorization", "x_api_key", "bearer"];
const NAMES: [&str; 9] = [
    "reachable",
    "api",
    "credentials",
    "access:account_status",
    "access:billing_usage",
    "access:data_sources",
    "access:reports",
    "access:dashboards",
    "health:data_sources",
];

async fn service(faults: &str) -> Sandbox {
    organization(ClaribiOptions {
        faults: faults.parse().unwrap(),
        ..ClaribiOptions::default()
    })
    .await
}

async fn probe(answer: Value) -> ProbeReport {
    let report = ProbeReport::of(&*open(answer)).await;
    keeps_the_rules(&report, &[KEY, API_KEY, PASSWORD, "canary"]);
    for name in &NAMES[2..] {
        check(&report, name);
    }
    for check in &report.checks {
        let is_bad = check.kind.is_some();
        assert_eq!(is_bad, check.remedy.is_some(), "no remedy: {check:?}");
    }
    report
}

#[tokio::test(start_paused = true)]
async fn the_right_key_passes_every_check_and_only_reads() {
    for style in STYLES {
        let sandbox = service("").await;
        let report = probe(by_key(&sandbox.base_url(), style, API_KEY)).await;
        let names: Vec<&str> = report.checks.iter().map(|check| &*check.name).collect();
        assert_eq!(names, NAMES);
        for check in &report.checks[..8] {
            assert_eq!(check.outcome, Outcome::Passed, "{check:?}");
        }
        assert_eq!(report.patch, None);
        let stats = sandbox.stats();
        assert_eq!(stats.requests, 5, "{stats:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_organization_and_its_plan_are_told() {
    for (tier, plan, names) in [
        (Tier::Trial, "trial", &["ai_credits", "users"][..]),
        (
            Tier::Professional,
            "professional",
            &["ai_credits", "data_sources", "users", "storage_gb"],
        ),
    ] {
        let sandbox = organization(ClaribiOptions {
            data_sources: 6,
            tier,
            ..ClaribiOptions::default()
        })
        .await;
        let report = probe(answer(&sandbox.base_url())).await;
        let credentials = check(&report, "credentials");
        assert_eq!(credentials.facts["plan"], plan);
        assert_eq!(credentials.facts["role"], "administrator");
        let organization = credentials.facts["organization"].as_str().unwrap();
        assert!(
            credentials.message.contains(organization),
            "{credentials:?}"
        );
        assert!(credentials.message.contains(plan), "{credentials:?}");
        let usage = check(&report, "access:billing_usage");
        assert_eq!(usage.facts["subscription_tier"], plan);
        let told: Vec<&str> = report.allowances.iter().map(|one| &*one.name).collect();
        assert_eq!(told, names);
        for allowance in &report.allowances {
            let percent = allowance.used_percent().unwrap();
            assert!((0.0..=100.0).contains(&percent), "{allowance:?}");
        }
        if let Some(sources) = report
            .allowances
            .iter()
            .find(|one| one.name == "data_sources")
        {
            assert_eq!((sources.used, sources.limit), (6.0, 15.0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_told_at_its_field() {
    for style in STYLES {
        let sandbox = service("").await;
        let report = probe(by_key(&sandbox.base_url(), style, KEY)).await;
        let failed = only_failure(
            &report,
            "credentials",
            "unauthenticated",
            &["/auth/api_key"],
        );
        let remedy = failed.remedy.as_deref().unwrap();
        assert!(remedy.contains("Settings > Developer"), "{remedy}");
        assert_eq!(report.patch, None);
        assert_eq!(sandbox.stats().requests, 3, "each header once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_goes_in_another_header_is_offered_that_one() {
    for (key_headers, right) in [
        (KeyHeaders::ApiKey, "api_key_authorization"),
        (KeyHeaders::XApiKey, "x_api_key"),
        (KeyHeaders::Bearer, "bearer"),
    ] {
        let sandbox = organization(ClaribiOptions {
            key_headers,
            ..ClaribiOptions::default()
        })
        .await;
        for style in STYLES {
            let mut answer = by_key(&sandbox.base_url(), style, API_KEY);
            let report = probe(answer.clone()).await;
            if style == right {
                assert_eq!(report.patch, None);
                assert_eq!(check(&report, "credentials").outcome, Outcome::Passed);
                continue;
            }
            only_failure(&report, "credentials", "wrong_header", &["/auth/style"]);
            let patch = report.patch.unwrap();
            assert_eq!(patch.set, [("/auth/style".into(), right.into())].into());
            patch.apply(&mut answer);
            let again = probe(answer).await;
            assert_eq!(check(&again, "credentials").outcome, Outcome::Passed);
            // A wrong key goes in no header.
            let wrong = probe(by_key(&sandbox.base_url(), style, KEY)).await;
            assert_eq!(wrong.patch, None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_everything_is_told_from_a_missing_permission() {
    let sandbox = service("deny=/api/").await;
    let report = probe(answer(&sandbox.base_url())).await;
    let failed = only_failure(&report, "credentials", "forbidden", &["/auth/api_key"]);
    let remedy = failed.remedy.as_deref().unwrap();
    assert!(
        remedy.contains("administrator") && remedy.contains("plan"),
        "{remedy}"
    );

    for (path, warned) in [
        ("/api/auth/status", "access:account_status"),
        ("/api/billing", "access:billing_usage"),
        ("/api/data-sources", "access:data_sources"),
        ("/api/reports", "access:reports"),
        ("/api/dashboards", "access:dashboards"),
    ] {
        let sandbox = service(&format!("deny={path}")).await;
        let report = probe(answer(&sandbox.base_url())).await;
        for check in report
            .checks
            .iter()
            .filter(|check| !check.name.starts_with("health"))
        {
            let expected = if check.name == warned {
                (Outcome::Warned, "permission_denied")
            } else {
                (Outcome::Passed, "ok")
            };
            assert_eq!((check.outcome, &*check.code), expected, "{path}: {check:?}");
        }
        let health = check(&report, "health:data_sources").outcome;
        assert_eq!(health == Outcome::Skipped, path == "/api/data-sources");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_without_permissions_passes_as_a_key() {
    let sandbox = organization(ClaribiOptions {
        permissions: Permissions::None,
        ..ClaribiOptions::default()
    })
    .await;
    let report = probe(answer(&sandbox.base_url())).await;
    assert_eq!(report.outcome(), Outcome::Warned);
    assert_eq!(check(&report, "credentials").outcome, Outcome::Passed);
    assert_eq!(check(&report, "access:reports").outcome, Outcome::Warned);
}

#[tokio::test(start_paused = true)]
async fn another_service_behind_the_address_is_not_taken_for_this_one() {
    for faults in ["html=9", "other_json=9", "error_body=9"] {
        let sandbox = service(faults).await;
        for answer in [answer(&sandbox.base_url()), by_login(&sandbox.base_url())] {
            let report = probe(answer).await;
            only_failure(&report, "api", "not_this_api", &["/base_url"]);
            assert_eq!(check(&report, "credentials").outcome, Outcome::Skipped);
        }
        assert_eq!(sandbox.stats().requests, 2, "{faults}");
    }
    for (reply, code) in [
        (
            Reply::full(200, &[("content-type", "text/html")], b"<html>"),
            "not_this_api",
        ),
        (
            Reply::full(401, &[("content-type", "text/html")], b"<html>"),
            "not_this_api",
        ),
        (Reply::json(404, r#"{"detail":"Not found."}"#), "wrong_path"),
        (Reply::json(200, "[]"), "not_this_api"),
        (Reply::json(200, ""), "not_this_api"),
    ] {
        let script = script(move |_| reply.clone()).await;
        for answer in [
            by_key(&script.base_url(), "bearer", KEY),
            by_login(&script.base_url()),
        ] {
            only_failure(&probe(answer).await, "api", code, &["/base_url"]);
        }
        assert_eq!(script.requests().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_told_and_the_other_host_gets_nothing() {
    let other = script(|_| Reply::json(200, "{}")).await;
    let sandbox = service("").await;
    sandbox.set_faults(Faults {
        redirect: Some(RedirectFault {
            origin: other.base_url(),
            next: 9,
        }),
        ..Faults::default()
    });
    let report = probe(answer(&sandbox.base_url())).await;
    only_failure(&report, "api", "redirected", &["/base_url"]);
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_or_broken_service_leaves_the_credentials_unjudged() {
    for (code, retry_after, says) in [
        (429, Some(7), "7 seconds"),
        (503, None, "later"),
        (500, None, "later"),
    ] {
        let sandbox = service("").await;
        let status = StatusFault {
            code,
            next: 9,
            path: None,
            retry_after,
        };
        sandbox.set_faults(Faults {
            status: Some(status),
            ..Faults::default()
        });
        for answer in [answer(&sandbox.base_url()), by_login(&sandbox.base_url())] {
            let report = probe(answer).await;
            let expected = if code == 429 {
                "throttled"
            } else {
                "service_problem"
            };
            let failed = only_failure(&report, "credentials", expected, &[]);
            assert!(failed.remedy.as_deref().unwrap().contains(says));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_without_a_service_is_told_apart() {
    let port = on_the_wire(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    })
    .await;
    let sandbox = service("").await;
    for (address, name, code) in [
        (format!("http://127.0.0.1:{port}"), "reachable", "refused"),
        (
            "https://no-such-host.invalid".to_owned(),
            "reachable",
            "name_unknown",
        ),
        (
            sandbox.base_url().replace("http://", "https://"),
            "tls",
            "tls",
        ),
    ] {
        for answer in [by_key(&address, "x_api_key", KEY), by_login(&address)] {
            only_failure(&probe(answer).await, name, code, &["/base_url"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_is_judged_like_a_key() {
    let sandbox = service("").await;
    let report = probe(by_login(&sandbox.base_url())).await;
    assert_eq!(check(&report, "credentials").outcome, Outcome::Passed);
    assert_eq!(check(&report, "credentials").facts["plan"], "professional");

    let mut wrong = by_login(&sandbox.base_url());
    wrong["auth"]["password"] = "canary wörd".into();
    let before = sandbox.stats().requests;
    let report = probe(wrong).await;
    only_failure(
        &report,
        "credentials",
        "unauthenticated",
        &["/auth/email", "/auth/password"],
    );
    // Asking again could lock the account.
    assert_eq!(sandbox.stats().requests - before, 1);

    let sandbox = organization(ClaribiOptions {
        mfa: true,
        ..ClaribiOptions::default()
    })
    .await;
    let report = probe(by_login(&sandbox.base_url())).await;
    let failed = only_failure(&report, "credentials", "mfa_required", &["/auth/style"]);
    assert!(failed.message.contains("multi-factor"), "{failed:?}");
    assert!(failed.remedy.as_deref().unwrap().contains("API key"));
}

#[tokio::test(start_paused = true)]
async fn data_sources_in_error_and_late_ones_are_named() {
    for paging in [Paging::Drf, Paging::Array, Paging::Items, Paging::Cursor] {
        let sandbox = organization(ClaribiOptions {
            data_sources: 250,
            as_of: Timestamp::now(),
            paging,
            ..ClaribiOptions::default()
        })
        .await;
        let mut answer = answer(&sandbox.base_url());
        let report = probe(answer.clone()).await;
        let health = check(&report, "health:data_sources");
        assert_eq!(
            (health.outcome, &*health.code),
            (Outcome::Warned, "unhealthy")
        );
        let count = |name: &str| health.facts[name].as_array().unwrap().len();
        assert_eq!(health.facts["total"], 250, "{paging:?}");
        assert_eq!(health.facts["is_complete"], true);
        assert!((20..50).contains(&count("in_error")), "{}", health.message);
        assert!(count("stale") > 5, "{}", health.message);
        let ids = sandbox.keys("data_sources").unwrap();
        for one in health.facts["stale"].as_array().unwrap() {
            assert!(ids.contains(&one["id"].to_string()), "{one}");
            assert!(one["name"].is_string() && one.get("last_synced_at").is_some());
        }
        // With more patience fewer are late.
        answer["stale_after_hours"] = (40 * 24).into();
        let patient = probe(answer).await;
        let patient = check(&patient, "health:data_sources");
        let late = patient.facts["stale"].as_array().unwrap().len();
        assert!(late < count("stale"), "{late}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_look_at_data_sources_has_an_end() {
    let sandbox = organization(ClaribiOptions {
        data_sources: 2_100,
        ..ClaribiOptions::default()
    })
    .await;
    let report = probe(answer(&sandbox.base_url())).await;
    let health = check(&report, "health:data_sources");
    assert_eq!(health.facts["total"], 2_000);
    assert_eq!(health.facts["is_complete"], false);
    assert!(health.message.contains("first 2000"), "{}", health.message);
    assert_eq!(sandbox.stats().by_path["/api/data-sources/"], 20);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_used_up_half_way_is_told_where_it_is() {
    let sandbox = limited(ClaribiOptions {
        rate_limit: headwater_sandbox::claribi::RateLimit::Of {
            requests: 3,
            window: std::time::Duration::from_secs(3600),
        },
        ..ClaribiOptions::default()
    })
    .await;
    let report = probe(answer(&sandbox.base_url())).await;
    assert_eq!(check(&report, "credentials").outcome, Outcome::Passed);
    let failed = check(&report, "access:reports");
    assert_eq!(
        (failed.outcome, &*failed.code),
        (Outcome::Failed, "throttled")
    );
}

#[test]
fn an_unusual_key_is_noticed_and_accepted() {
    let connector = acceptance::connector("claribi");
    let notices = |key: &str| {
        let validated = connector.validate(by_key("https://claribi.com", "bearer", key));
        validated.unwrap().notices
    };
    assert_eq!(notices(API_KEY), []);
    let [notice] = &notices("claribi_mcp_1")[..] else {
        panic!("one notice")
    };
    assert_eq!(notice.pointer, "/auth/api_key");
    assert!(notice.message.contains("claribi_sk_"), "{}", notice.message);
}
