//! The audit log.

use std::collections::BTreeSet;

use headwater_sandbox::{RevenueBehaviour, RevenueOptions};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Tenant, answer, keys, list, options};

const KEY: [&str; 4] = ["eventTimestamp", "actorId", "sessionId", "event"];

/// Reads from a target to the last page, following the links.
async fn read_all(tenant: &Tenant, target: &str) -> (Vec<Value>, BTreeSet<String>) {
    let (mut items, mut actors) = (Vec::new(), BTreeSet::new());
    let mut page = tenant.ok(target).await;
    loop {
        items.extend(list(&page, "items").iter().cloned());
        let of_page = list(&page, "actors").iter();
        actors.extend(of_page.map(|actor| actor["actorId"].as_str().unwrap().to_owned()));
        let Some(link) = page["nextLink"].as_str() else {
            return (items, actors);
        };
        let target = link.strip_prefix(&format!("{}/v4", tenant.sandbox.base_url()));
        page = tenant.ok(target.unwrap()).await;
    }
}

#[tokio::test]
async fn following_the_links_reads_every_event_once_newest_first() {
    let tenant = Tenant::usual().await;
    for limit in [1_000, 7] {
        let (items, actors) = read_all(&tenant, &format!("/audit/events?limit={limit}")).await;
        assert_eq!(keys(&items, &KEY), tenant.keys("audit_events"));
        assert_eq!(Vec::from_iter(actors), tenant.keys("audit_actors"));
        let times: Vec<&str> = items
            .iter()
            .map(|item| item["eventTimestamp"].as_str().unwrap())
            .collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older));
        assert!(times.iter().all(|time| *time > "2025-05-19T12:00:00Z"));
        assert!(times.iter().all(|time| *time < "2025-06-18T12:00:00Z"));
    }
    let larger = Tenant::start(RevenueOptions {
        forecast_entries: 2_000,
        ..options()
    })
    .await;
    let page = larger.ok("/audit/events").await;
    assert_eq!(list(&page, "items").len(), 100);
    assert!(larger.keys("audit_events").len() > 100);
}

#[tokio::test]
async fn some_events_differ_in_their_parameters_only() {
    let tenant = Tenant::usual().await;
    let (items, _) = read_all(&tenant, "/audit/events").await;
    let all = keys(&items, &KEY);
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert!(distinct.len() < all.len());
    let whole: BTreeSet<String> = items.iter().map(Value::to_string).collect();
    assert_eq!(whole.len(), items.len());
}

#[tokio::test]
async fn filters_select() {
    let tenant = Tenant::usual().await;
    let (all, _) = read_all(&tenant, "/audit/events").await;
    let sample = &all[3];
    let text = |name: &str| sample[name].as_str().unwrap();
    let time = text("eventTimestamp");
    type Expected<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let same =
        |name: &'static str| -> Expected<'_> { Box::new(move |item| item[name] == sample[name]) };
    let cases: [(String, Expected<'_>); 6] = [
        (format!("actorId={}", text("actorId")), same("actorId")),
        (
            format!("sessionId={}", text("sessionId")),
            same("sessionId"),
        ),
        (
            format!("sessionType={}", text("sessionType")),
            same("sessionType"),
        ),
        (format!("event={}", text("event")), same("event")),
        (
            format!("dateFrom={time}"),
            Box::new(|item| item["eventTimestamp"].as_str().unwrap() >= time),
        ),
        (
            format!("dateTo={time}"),
            Box::new(|item| item["eventTimestamp"].as_str().unwrap() <= time),
        ),
    ];
    for (query, expected) in cases {
        // The links keep the filter.
        let (items, _) = read_all(&tenant, &format!("/audit/events?limit=2&{query}")).await;
        let wanted: Vec<Value> = all.iter().filter(|item| expected(item)).cloned().collect();
        assert!(!wanted.is_empty() && wanted.len() < all.len(), "{query}");
        assert_eq!(items, wanted, "{query}");
    }
    let head = all
        .iter()
        .find(|item| item["impersonatingActorId"].is_string())
        .unwrap();
    let target = format!(
        "/audit/events?impersonatingActorId={}",
        head["impersonatingActorId"].as_str().unwrap()
    );
    let (items, _) = read_all(&tenant, &target).await;
    assert!(items.contains(head) && items.len() < all.len());
    assert_eq!(
        tenant.ok("/audit/events?event=none").await,
        json!({"items": [], "actors": []})
    );
}

#[tokio::test]
async fn bad_parameters_are_refused() {
    let tenant = Tenant::usual().await;
    for (query, target) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("actorId=x", "actorId"),
        ("impersonatingActorId=x", "impersonatingActorId"),
        ("sessionId=1", "sessionId"),
        ("sessionType=TV", "sessionType"),
        ("dateFrom=soon", "dateFrom"),
        ("dateTo=soon", "dateTo"),
        ("cursor=x", "cursor"),
        ("cursor=c0000000000000000", "cursor"),
    ] {
        let (status, body) = tenant.get(&format!("/audit/events?{query}")).await;
        assert_eq!(status, 400, "{query}");
        let error = &list(&body, "errors")[0];
        assert_eq!(
            (&error["status"], &error["target"]),
            (&json!("400"), &json!(target))
        );
        if target != "limit" && target != "cursor" {
            let (_, value) = query.split_once('=').unwrap();
            let refused = tenant
                .post("/export/audit/events", json!({ target: value }))
                .await;
            assert_eq!(refused.0, 400, "{query}");
            assert_eq!(refused.1["errors"][0]["target"], target);
        }
    }
}

#[tokio::test]
async fn events_that_happen_meanwhile_move_the_pages_of_one_cursor_only() {
    for (audit_offset_cursor, is_moved) in [(false, false), (true, true)] {
        let tenant = Tenant::start(RevenueOptions {
            audit_growth: 3,
            behaviour: RevenueBehaviour {
                audit_offset_cursor,
                ..RevenueBehaviour::default()
            },
            ..options()
        })
        .await;
        let before = tenant.keys("audit_events").len();
        let (items, _) = read_all(&tenant, "/audit/events?limit=10").await;
        let distinct: BTreeSet<String> = items.iter().map(Value::to_string).collect();
        assert_eq!(distinct.len() < items.len(), is_moved);
        assert_eq!(distinct.len(), before);
        assert!(tenant.keys("audit_events").len() > before);
    }
}

#[tokio::test]
async fn events_can_be_added_and_come_first() {
    let tenant = Tenant::usual().await;
    let before = tenant.ok("/audit/events").await;
    tenant.revenue().add_audit_events(2);
    let after = tenant.ok("/audit/events").await;
    assert_eq!(list(&after, "items")[2..], list(&before, "items")[..]);
    assert_eq!(after["items"][0]["eventTimestamp"], "2025-06-18T12:00:00Z");
}

#[tokio::test]
async fn an_export_holds_the_same_events() {
    let tenant = Tenant::usual().await;
    let (items, actors) = read_all(&tenant, "/audit/events").await;
    let result = tenant.export("/export/audit/events", json!({})).await;
    assert_eq!(list(&result, "items"), &items);
    assert_eq!(list(&result, "actors").len(), actors.len());
    let body = json!({"event": "api.accessed", "sessionType": "WEB", "actorId": null});
    let result = tenant.export("/export/audit/events", body).await;
    let chosen = items
        .iter()
        .filter(|item| item["event"] == "api.accessed" && item["sessionType"] == "WEB");
    assert_eq!(
        list(&result, "items").iter().collect::<Vec<_>>(),
        chosen.collect::<Vec<_>>()
    );
    let request = tenant
        .request(Method::POST, "/export/audit/events")
        .body("[");
    assert_eq!(answer(request).await.0, 400);
}
