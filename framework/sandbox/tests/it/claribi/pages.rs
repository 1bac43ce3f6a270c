//! Pages, envelopes, links and counts.

use headwater_sandbox::ClaribiOptions;
use headwater_sandbox::claribi::{Ids, NextLinks, Paging};
use serde_json::{Value, json};

use crate::claribi::support::{Claribi, LISTS, id_text, send, sorted_ids, unlimited};

#[tokio::test]
async fn keys_are_what_following_the_links_finds() {
    for ids in [Ids::Int, Ids::Uuid] {
        let api = Claribi::start(ClaribiOptions {
            data_sources: 130,
            ids,
            ..unlimited()
        })
        .await;
        for (stream, path) in LISTS {
            let records = api.read_all(path).await;
            assert_eq!(api.sandbox.keys(stream), Some(sorted_ids(&records)));
            let is_uuid = records[0]["id"].is_string();
            assert_eq!(is_uuid, ids == Ids::Uuid);
        }
        let counts = LISTS.map(|(stream, _)| api.sandbox.keys(stream).unwrap().len());
        assert_eq!(counts, [130, 390, 117]);
        let status = api.ok("/api/auth/status/").await;
        let organization = vec![id_text(&status["organization"])];
        assert_eq!(api.sandbox.keys("account_status"), Some(organization));
        let usage = api.ok("/api/billing/usage/").await;
        let period = vec![usage["period_start"].as_str().unwrap().to_owned()];
        assert_eq!(api.sandbox.keys("billing_usage"), Some(period));
        assert_eq!(api.sandbox.keys("calls"), None);
    }
}

#[tokio::test]
async fn a_page_has_twenty_records_and_at_most_a_hundred() {
    let api = Claribi::of_size(130).await;
    for (query, expected) in [
        ("", 20),
        ("?page_size=7", 7),
        ("?page_size=100", 100),
        ("?page_size=1000", 100),
        ("?page_size=0", 20),
        ("?page_size=-1", 20),
        ("?page_size=x", 20),
        ("?page=7", 10),
        ("?page=", 20),
        ("?page=last", 10),
        ("?page=2&page_size=100", 30),
    ] {
        let page = api.ok(&format!("/api/data-sources/{query}")).await;
        assert_eq!(page["count"], 130);
        assert_eq!(
            page["results"].as_array().unwrap().len(),
            expected,
            "{query}"
        );
    }
}

#[tokio::test]
async fn pages_past_the_end_do_not_exist() {
    let api = Claribi::of_size(40).await;
    for page in ["3", "99", "0", "-1", "x", "1.0", "18446744073709551615"] {
        let answer = api.get(&format!("/api/data-sources/?page={page}")).await;
        assert_eq!(answer.status, 404, "{page}");
        assert_eq!(answer.json(), json!({"detail": "Invalid page."}));
    }
    let empty = api.ok("/api/dashboards/?search=no-such-dashboard").await;
    let expected = json!({"count": 0, "next": null, "previous": null, "results": []});
    assert_eq!(empty, expected);
}

#[tokio::test]
async fn links_keep_the_other_parameters() {
    let api = Claribi::of_size(130).await;
    let first = api
        .ok("/api/data-sources/?status=active&page_size=10&a=%26")
        .await;
    let next = api.target(first["next"].as_str().unwrap());
    assert_eq!(
        next,
        "/api/data-sources/?a=%26&page=2&page_size=10&status=active"
    );
    assert_eq!(first["previous"], Value::Null);
    let second = api.ok(&next).await;
    let previous = api.target(second["previous"].as_str().unwrap());
    assert_eq!(
        previous,
        "/api/data-sources/?a=%26&page_size=10&status=active"
    );
    assert_eq!(api.ok(&previous).await, first);
    let last = api.ok("/api/data-sources/?page=last").await;
    assert_eq!(last["next"], Value::Null);
}

#[tokio::test]
async fn links_are_written_in_three_ways() {
    for (next_links, scheme) in [
        (NextLinks::Absolute, Some("http")),
        (NextLinks::Relative, None),
        (NextLinks::OtherScheme, Some("https")),
    ] {
        let api = Claribi::start(ClaribiOptions {
            next_links,
            ..unlimited()
        })
        .await;
        let page = api.ok("/api/reports/?page=2&page_size=10").await;
        let base_url = api.sandbox.base_url();
        let host = base_url.strip_prefix("http://").unwrap();
        let origin = scheme.map_or_else(String::new, |scheme| format!("{scheme}://{host}"));
        assert_eq!(
            page["next"],
            format!("{origin}/api/reports/?page=3&page_size=10")
        );
        assert_eq!(
            page["previous"],
            format!("{origin}/api/reports/?page_size=10")
        );
    }
}

/// The framework takes the host from the request, not from its settings.
#[tokio::test]
async fn links_lead_to_the_host_that_was_asked() {
    let api = Claribi::unlimited().await;
    let base_url = api.sandbox.base_url().replace("127.0.0.1", "localhost");
    let host = base_url.strip_prefix("http://").unwrap();
    let request = api
        .with_header(
            "/api/reports/",
            "X-API-Key",
            headwater_sandbox::claribi::API_KEY,
        )
        .header("Host", host);
    let page = send(request).await.json();
    assert_eq!(page["next"], format!("{base_url}/api/reports/?page=2"));
}

#[tokio::test]
async fn a_count_that_lies_leaves_the_links_right() {
    let api = Claribi::start(ClaribiOptions {
        data_sources: 130,
        count_lies: true,
        ..unlimited()
    })
    .await;
    let page = api.ok("/api/data-sources/").await;
    assert_eq!(page["count"], 65);
    assert_eq!(api.read_all("/api/data-sources/").await.len(), 130);
}

#[tokio::test]
async fn every_envelope_holds_the_same_records() {
    let start = |paging| {
        Claribi::start(ClaribiOptions {
            data_sources: 130,
            paging,
            ..unlimited()
        })
    };
    let numbered = start(Paging::Drf).await;
    let array = start(Paging::Array).await;
    let items = start(Paging::Items).await;
    let cursor = start(Paging::Cursor).await;
    for (_, path) in [LISTS[0], LISTS[2]] {
        let expected = numbered.read_all(path).await;
        assert_eq!(array.ok(path).await, Value::from(expected.clone()));

        let mut by_offset = Vec::new();
        loop {
            let offset = by_offset.len();
            let page = items.ok(&format!("{path}?limit=50&offset={offset}")).await;
            assert_eq!(page["total"], expected.len());
            assert_eq!(page["limit"], 50);
            assert_eq!(page["offset"], offset);
            let records = page["items"].as_array().unwrap().clone();
            if records.is_empty() {
                break;
            }
            by_offset.extend(records);
        }
        assert_eq!(by_offset, expected);

        let mut by_cursor = Vec::new();
        let mut next = String::new();
        loop {
            let page = cursor.ok(&format!("{path}?page_size=65{next}")).await;
            assert_ne!(page["data"], json!([]), "no page after the last record");
            by_cursor.extend(page["data"].as_array().unwrap().clone());
            let Some(cursor) = page["next_cursor"].as_str() else {
                break;
            };
            next = format!("&cursor={cursor}");
        }
        assert_eq!(by_cursor, expected);
    }
    let defaults = items.ok("/api/reports/?page_size=100").await;
    assert_eq!(
        (&defaults["limit"], &defaults["offset"]),
        (&json!(20), &json!(0))
    );
    let bad = cursor.get("/api/reports/?cursor=nonsense").await;
    assert_eq!(bad.status, 404);
    assert_eq!(bad.json(), json!({"detail": "Invalid cursor"}));
}

/// A cursor with a filter continues where the filtered list stopped.
#[tokio::test]
async fn a_cursor_works_with_a_filter() {
    let api = Claribi::start(ClaribiOptions {
        data_sources: 130,
        paging: Paging::Cursor,
        ..unlimited()
    })
    .await;
    let whole = api.ok("/api/data-sources/?limit=100&status=error").await;
    let whole = whole["data"].as_array().unwrap();
    let first = api.ok("/api/data-sources/?limit=5&status=error").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = api
        .ok(&format!(
            "/api/data-sources/?limit=100&status=error&cursor={cursor}"
        ))
        .await;
    let parts = [&first, &rest].map(|page| page["data"].as_array().unwrap().clone());
    assert_eq!(parts.concat(), *whole);
    assert!(whole.len() > 10);
}
