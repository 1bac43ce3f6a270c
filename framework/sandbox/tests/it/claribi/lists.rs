//! Filters, reports that are added during a read, and slashes.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::claribi::support::{Claribi, send};

fn values<'a>(page: &'a Value, field: &str) -> Vec<&'a str> {
    let records = page["results"].as_array().unwrap();
    let value = |record: &'a Value| record[field].as_str().unwrap();
    records.iter().map(value).collect()
}

#[tokio::test]
async fn lists_are_filtered_by_the_documented_parameters() {
    let api = Claribi::of_size(90).await;
    let whole = |path: &'static str| {
        let api = &api;
        async move { json!({"results": api.read_all(path).await}) }
    };
    for (path, parameter, field, choices) in [
        (
            "/api/data-sources/",
            "status",
            "status",
            &["active", "paused", "error"][..],
        ),
        (
            "/api/data-sources/",
            "type",
            "type",
            &["database", "api", "file", "cloud"],
        ),
        (
            "/api/reports/",
            "status",
            "status",
            &["pending", "generating", "completed", "failed", "cancelled"],
        ),
    ] {
        let all = whole(path).await;
        for choice in choices {
            let page = api
                .ok(&format!("{path}?page_size=100&{parameter}={choice}"))
                .await;
            let expected = values(&all, field);
            let expected = expected.iter().filter(|value| *value == choice).count();
            assert!(expected > 0, "{path} {choice}");
            assert_eq!(page["count"], expected, "{path} {choice}");
            let found = values(&page, field);
            assert!(found.iter().all(|value| value == choice));
        }
        let answer = api.get(&format!("{path}?{parameter}=other")).await;
        assert_eq!(answer.status, 400);
        assert!(answer.json()[parameter][0].is_string(), "{}", answer.text);
    }
    let both = api
        .ok("/api/data-sources/?status=active&type=api&page_size=100")
        .await;
    assert!(
        values(&both, "status")
            .iter()
            .all(|status| *status == "active")
    );
    assert!(
        values(&both, "type")
            .iter()
            .all(|source_type| *source_type == "api")
    );
    assert!(both["count"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn dashboards_are_searched_by_a_part_of_their_name() {
    let api = Claribi::of_size(90).await;
    let all = json!({"results": api.read_all("/api/dashboards/").await});
    let page = api
        .ok("/api/dashboards/?page_size=100&search=vertrieb")
        .await;
    let is_match = |name: &&&str| name.to_lowercase().contains("vertrieb");
    let expected: Vec<&str> = values(&all, "name")
        .iter()
        .filter(is_match)
        .copied()
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(values(&page, "name"), expected);
    let other = api.ok("/api/data-sources/?search=vertrieb").await;
    assert_eq!(other["count"], 90, "data sources have no such filter");
}

#[tokio::test]
async fn lists_begin_with_the_newest_record() {
    let api = Claribi::of_size(40).await;
    for path in ["/api/data-sources/", "/api/reports/", "/api/dashboards/"] {
        let records = json!({"results": api.read_all(path).await});
        let created = values(&records, "created_at");
        assert!(created.is_sorted_by(|newer, older| newer[..19] >= older[..19]));
    }
}

#[tokio::test]
async fn added_reports_come_first_and_move_the_others() {
    let api = Claribi::of_size(40).await;
    let before = api.ok("/api/reports/?page_size=10").await;
    api.sandbox.add_reports(2);
    let change = api.post("/_sandbox/change", &json!({"reports": 1})).await;
    assert_eq!((change.status, change.json()), (200, json!({"reports": 1})));
    let after = api.ok("/api/reports/?page_size=10").await;
    assert_eq!(after["count"], before["count"].as_u64().unwrap() + 3);
    let [before, after] = [before, after].map(|page| page["results"].as_array().unwrap().clone());
    assert_eq!(after[3..], before[..7]);
    assert_eq!(api.sandbox.keys("reports").unwrap().len(), 123);
    let id = &after[0]["id"];
    assert!(after.iter().filter(|report| report["id"] == *id).count() == 1);
    assert_eq!(after[0]["status"], "pending");
    let path = format!("/api/reports/{id}/");
    for _ in 0..100 {
        let report = api.ok(&path).await;
        if report["status"] == "completed" {
            assert!(report["updated_at"].as_str() > report["created_at"].as_str());
            assert!(report["download_url"].is_string());
            return;
        }
        assert_eq!(report["download_url"], Value::Null);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the report was never completed");
}

#[tokio::test]
async fn reports_are_added_while_they_are_read() {
    let api = Claribi::of_size(40).await;
    api.sandbox.set_faults("changing=2".parse().unwrap());
    for expected in [120, 122, 124] {
        assert_eq!(api.ok("/api/reports/").await["count"], expected);
        assert_eq!(api.ok("/api/data-sources/").await["count"], 40);
    }
    let unknown = api.post("/_sandbox/change", &json!({"calls": 1})).await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn a_missing_slash_is_added_by_a_redirection() {
    let api = Claribi::of_size(40).await;
    for (target, location) in [
        ("/api/auth/status", "/api/auth/status/"),
        (
            "/api/reports?page=2&status=failed",
            "/api/reports/?page=2&status=failed",
        ),
        ("/api/dashboards/7", "/api/dashboards/7/"),
        ("/api/billing/usage", "/api/billing/usage/"),
        ("/api/v1/data-sources", "/api/v1/data-sources/"),
    ] {
        // The path is checked before the credentials.
        for method in [Method::GET, Method::POST] {
            let answer = send(api.bare(method, target)).await;
            assert_eq!(answer.status, 301, "{target}");
            assert_eq!(answer.header("location"), Some(location));
        }
    }
}

#[tokio::test]
async fn other_paths_do_not_exist_for_anybody() {
    let api = Claribi::of_size(40).await;
    for path in [
        "/",
        "/api/",
        "/api/users/",
        "/api/reports/1/2/",
        "/users",
        "/api/v2/usage/",
    ] {
        let answer = send(api.bare(Method::GET, path)).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(
            answer
                .header("content-type")
                .unwrap()
                .starts_with("text/html")
        );
    }
}
