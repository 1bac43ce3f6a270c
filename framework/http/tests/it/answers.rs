//! What is made of a body: records, those of companions, snapshots, and what a service says is wrong.

use std::{borrow::Cow, sync::Arc};

use crate::common::{Wire, at, client, pages, spec, texts};
use headwater_core::{AnyStream, Kind};
use headwater_http::{Records, Request, Snapshot, split_with, without};
use headwater_testkit::{Reply, Script};

#[tokio::test]
async fn what_a_service_says_is_wrong_is_passed_on_whatever_its_family() {
    for (body, says) in [
        (
            r#"{"code":"no_optin","message":"not switched on","orgId":1}"#,
            "not switched on",
        ),
        (r#"{"errorMessage":"not today"}"#, "not today"),
        (
            r#"{"errors":[{"status":"400","message":"the first"},{"message":"x"}]}"#,
            "the first",
        ),
        (
            r#"{"errors":[{"code":7,"details":"the details"}]}"#,
            "the details",
        ),
        (
            r#"[{"statusCode":400,"description":"in a list"}]"#,
            "in a list",
        ),
        (
            r#"[{"errorCode":"E1","errorSummary":"in short"}]"#,
            "in short",
        ),
        (
            r#"{"error":"invalid_grant","error_description":"wrong password"}"#,
            "wrong password",
        ),
        (r#"{"error":"not_found"}"#, "not_found"),
        (r#"{"detail":"no such page"}"#, "no such page"),
        (
            r#"{"id":1,"page_size":["too large","x"]}"#,
            "page_size: too large",
        ),
        (r#"{"message":"","detail":"the next one"}"#, "the next one"),
        (
            r#"{"message":{"deep":"canary"},"error":"the next one"}"#,
            "the next one",
        ),
        ("  {\"message\":\" in\\n\\ttwo lines \"}", "in  two lines"),
    ] {
        let script = Script::start(move |_| Reply::json(400, body))
            .await
            .unwrap();
        let client = client(&script);
        let request = Request::get("/things");
        let error = client.send(&request).await.unwrap_err();
        assert_eq!(
            error.message(),
            format!("Sample refuses the request: {says}"),
            "{body}"
        );
        // The same with a status that promised records.
        let error = client
            .split(body.as_bytes(), Records::Lists(&["/things"]), &[])
            .unwrap_err();
        assert!(
            error.context().any(|fact| fact == ("it says", says)),
            "{error}"
        );
    }
    let silent = Script::start(|_| Reply::json(200, "")).await.unwrap();
    for body in [
        "{}",
        "[]",
        "[1]",
        "{\"errors\":[]}",
        "{\"page_size\":[1]}",
        "\"canary\"",
        "<p>",
    ] {
        let client = client(&silent);
        assert_eq!(client.said(body.as_bytes()), None, "{body}");
    }
}

fn found<'b>(body: &'b str, spans: &[std::ops::Range<usize>]) -> Vec<&'b str> {
    spans.iter().map(|span| &body[span.clone()]).collect()
}

#[test]
fn companions_are_cut_from_the_same_body_wherever_they_stand() {
    let records = Records::Lists(&["/entries"]);
    let body = r#"{ "users":[ {"u":1.0} ],"x":{"teams":[{"t":1},{"t":2}]},
        "entries":[{"e":1, "users":[{"u":9}]}],"next":"abc" }"#;
    let split = split_with(
        body.as_bytes(),
        records,
        &["/users", "/x/teams", "/regions"],
        &["/next"],
    )
    .unwrap();
    assert_eq!(
        found(body, &split.records),
        [r#"{"e":1, "users":[{"u":9}]}"#]
    );
    assert_eq!(found(body, &split.companions[0]), [r#"{"u":1.0}"#]);
    assert_eq!(
        found(body, &split.companions[1]),
        [r#"{"t":1}"#, r#"{"t":2}"#]
    );
    assert!(split.companions[2].is_empty());
    assert_eq!(split.found, [Some("abc".into())]);

    // One record with lists beside it.
    let split = split_with(body.as_bytes(), Records::One("/x"), &["/users"], &[]).unwrap();
    assert_eq!(split.records.len(), 1);
    assert_eq!(found(body, &split.companions[0]), [r#"{"u":1.0}"#]);

    for body in [
        r#"{"entries":[],"users":{"canary":1}}"#,
        r#"{"entries":[],"users":["canary"]}"#,
        r#"{"users":[{"u":1}]}"#,
        r#"{"entries":[],"users":[{"u":1}],"users":[{"u":2}]}"#,
    ] {
        let error = split_with(body.as_bytes(), records, &["/users"], &[]).unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid);
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn a_field_that_must_not_be_kept_becomes_null() {
    for (record, fields, kept) in [
        (r#"{"a":"canary"}"#, &["a"][..], r#"{"a":null}"#),
        (
            r#"{"a":{"b":["canary"]},"b":1e2}"#,
            &["a"],
            r#"{"a":null,"b":1e2}"#,
        ),
        (
            r#"{"b":1,"a":1,"c":2}"#,
            &["c", "b"],
            r#"{"b":null,"a":1,"c":null}"#,
        ),
        (
            r#"{"a":"canary","a":"canary"}"#,
            &["a"],
            r#"{"a":null,"a":null}"#,
        ),
        (r#"{"\u0061":"canary"}"#, &["a"], r#"{"\u0061":null}"#),
        (r#"{"b":{"a":"kept"}}"#, &["a"], r#"{"b":{"a":"kept"}}"#),
        ("{}", &["a"], "{}"),
        (r#"{"a":1}"#, &[], r#"{"a":1}"#),
    ] {
        let without = without(record.as_bytes(), fields);
        assert_eq!(std::str::from_utf8(&without).unwrap(), kept);
        let is_changed = kept != record;
        assert_eq!(matches!(without, Cow::Owned(_)), is_changed, "{record}");
        serde_json::from_slice::<serde_json::Value>(&without).unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_is_what_the_service_says_now_with_its_time() {
    let dates = [
        "Sun, 22 Nov 2026 08:49:37 GMT",
        "Sun, 22 Nov 2026 09:00:00 GMT",
    ];
    for (body, record, rest) in [
        (r#" { "n": 1.0 } "#, "", r#" "n": 1.0 }"#),
        (
            r#"{"usage":{"n":1,"fetched":"x"},"x":2}"#,
            "/usage",
            r#""n":1,"fetched":"x"}"#,
        ),
    ] {
        let wire = Wire::new(move |nth, _| Wire::reply(200, &[("date", dates[nth])], body));
        let snapshot = Snapshot::new(&wire.client(), spec("usage"), "/usage", record);
        let stream: Arc<dyn AnyStream> = Arc::new(snapshot);
        for time in ["2026-11-22T08:49:37Z", "2026-11-22T09:00:00Z"] {
            let plan = stream.plan(None, at(time)).unwrap();
            assert_eq!(plan.len(), 1);
            let pages = pages(&stream, &plan[0], None).await.unwrap();
            assert!(pages[0].bookmark.is_none());
            assert_eq!(
                texts(&pages),
                [format!("{{\"fetched_at\":\"{time}\",{rest}")]
            );
        }
        assert_eq!(wire.targets(), ["/usage", "/usage"]);
    }
    for body in [
        "[]",
        "{}",
        "{\"usage\":[]}",
        "{\"usage\":null}",
        "<html>",
        "",
    ] {
        let wire = Wire::new(move |_, _| Wire::reply(200, &[], body));
        let snapshot = Snapshot::new(&wire.client(), spec("usage"), "/usage", "/usage");
        let stream: Arc<dyn AnyStream> = Arc::new(snapshot);
        let plan = stream.plan(None, at("2026-11-22T08:49:37Z")).unwrap();
        let error = pages(&stream, &plan[0], None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid, "{body}");
    }
}
