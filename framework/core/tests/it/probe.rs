//! What a probe reports, and what it changes.

use std::{collections::BTreeMap, time::Duration};

use headwater_core::{Allowance, Check, ConfigPatch, Kind, Outcome, ProbeReport, put};
use serde_json::{Value, json};

fn allowance(limit: f64, used: f64) -> Allowance {
    Allowance {
        name: "export_jobs".into(),
        title: "export jobs in 30 days".into(),
        limit,
        used,
        resets_at: None,
        counts_jobs: true,
    }
}

#[test]
fn a_report_names_its_checks_allowances_and_patch() {
    let report = ProbeReport {
        checks: vec![
            Check::passed("api", "fine").took(Duration::from_micros(12_900)),
            Check::failed(
                "credentials",
                Kind::Unauthenticated,
                "unauthenticated",
                "no",
            )
            .at(["/key"])
            .remedy("make a new one")
            .fact("status", 401),
            Check::unknown("access:calls", "asking costs a credit"),
        ],
        allowances: vec![Allowance {
            resets_at: Some("2026-11-22T08:30:00Z".parse().unwrap()),
            ..allowance(100.0, 12.5)
        }],
        patch: Some(ConfigPatch {
            message: "the key is one of an older kind".to_owned(),
            set: BTreeMap::from([("/auth/style".into(), json!("bearer"))]),
        }),
    };
    let expected = json!({
        "checks": [
            { "name": "api", "outcome": "passed", "code": "ok", "message": "fine", "latency_ms": 12 },
            {
                "name": "credentials", "outcome": "failed", "code": "unauthenticated", "message": "no",
                "pointers": ["/key"], "remedy": "make a new one", "kind": "unauthenticated", "facts": { "status": 401 },
            },
            { "name": "access:calls", "outcome": "skipped", "code": "unknown", "message": "asking costs a credit" },
        ],
        "allowances": [{
            "name": "export_jobs", "title": "export jobs in 30 days", "limit": 100, "used": 12.5,
            "resets_at": "2026-11-22T08:30:00Z",
        }],
        "patch": { "message": "the key is one of an older kind", "set": { "/auth/style": "bearer" } },
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), expected);
    assert_eq!(report.outcome(), Outcome::Failed);
    assert_eq!(report.failure().unwrap().name, "credentials");

    let bare = ProbeReport::from(vec![Check::skipped("api")]);
    let text = serde_json::to_value(&bare).unwrap();
    assert_eq!(
        text.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["checks"]
    );
    assert_eq!((bare.outcome(), bare.failure()), (Outcome::Skipped, None));
}

#[test]
fn numbers_of_an_allowance_are_written_as_services_write_them() {
    for (number, written) in [
        (0.0, "0"),
        (-0.0, "0"),
        (3.0, "3"),
        (250_000_000.0, "250000000"),
        (0.25, "0.25"),
        (1e300, "1e+300"),
        // A service that leaves out a limit by writing nonsense.
        (f64::INFINITY, "null"),
        (f64::NAN, "null"),
    ] {
        let text = serde_json::to_string(&allowance(number, 1.0)).unwrap();
        assert!(text.contains(&format!("\"limit\":{written},")), "{text}");
    }
}

#[test]
fn what_is_left_is_never_less_than_nothing() {
    for (limit, used, left, percent) in [
        (100.0, 40.0, 60.0, Some(40.0)),
        (100.0, 130.0, 0.0, Some(130.0)),
        (0.0, 0.0, 0.0, None),
    ] {
        let allowance = allowance(limit, used);
        assert_eq!(
            (allowance.left(), allowance.used_percent()),
            (left, percent)
        );
    }
}

#[test]
fn a_value_is_put_at_its_pointer_and_objects_are_made_on_the_way() {
    for (before, pointer, after) in [
        (json!({}), "/key", json!({ "key": 1 })),
        (
            json!({ "key": 0, "b": 2 }),
            "/key",
            json!({ "key": 1, "b": 2 }),
        ),
        (json!({}), "/a/b/c", json!({ "a": { "b": { "c": 1 } } })),
        (json!({ "a": null }), "/a/b", json!({ "a": { "b": 1 } })),
        (
            json!({ "a": { "b": { "x": 0 } } }),
            "/a/b",
            json!({ "a": { "b": 1 } }),
        ),
        (Value::Null, "/key", json!({ "key": 1 })),
        // Not made fit by force: validation says what is wrong.
        (json!({ "a": "text" }), "/a/b", json!({ "a": "text" })),
        (json!({ "a": [0] }), "/a/0", json!({ "a": [0] })),
        (json!([]), "/key", json!([])),
        (json!("text"), "/key", json!("text")),
    ] {
        let mut answer = before.clone();
        put(&mut answer, pointer, json!(1));
        assert_eq!(answer, after, "{pointer} of {before}");
    }
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let patch = ConfigPatch {
        message: String::new(),
        set: BTreeMap::from([
            ("/auth/style".into(), json!("bearer")),
            ("/page_size".into(), json!(50)),
        ]),
    };
    let mut answer = json!({ "auth": { "style": "header", "key": "canary" }, "base_url": "x" });
    for _ in 0..2 {
        patch.apply(&mut answer);
        let expected = json!({
            "auth": { "style": "bearer", "key": "canary" }, "base_url": "x", "page_size": 50,
        });
        assert_eq!(answer, expected);
    }
}
