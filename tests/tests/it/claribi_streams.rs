//! clariBI, stream by stream: what the organization has is what comes, byte for byte, in whichever envelope.

use std::time::Duration;

use acceptance::{
    claribi::{
        LISTS, STREAMS, answer, by_key, by_login, ids, limited, open, organization,
        organization_of, stream,
    },
    copilot::{Reading, script},
    read_through,
};
use headwater_core::{Egress, Kind, Timestamp};
use headwater_sandbox::{
    ClaribiOptions,
    claribi::{API_KEY, Ids, KeyHeaders, NextLinks, Paging, RateHeaders, RateLimit, SourceField},
};
use headwater_testkit::{Reply, Request};
use serde_json::{Value, json};

fn parse(record: &str) -> Value {
    serde_json::from_str(record).unwrap()
}

const PAGINGS: [Paging; 4] = [Paging::Drf, Paging::Array, Paging::Items, Paging::Cursor];

#[tokio::test(start_paused = true)]
async fn every_envelope_with_every_id_and_link_delivers_each_record_once() {
    for paging in PAGINGS {
        for ids_are in [Ids::Int, Ids::Uuid] {
            for next_links in [
                NextLinks::Absolute,
                NextLinks::Relative,
                NextLinks::OtherScheme,
            ] {
                let what = format!("{paging:?} {ids_are:?} {next_links:?}");
                let sandbox = organization(ClaribiOptions {
                    data_sources: 120,
                    ids: ids_are,
                    paging,
                    next_links,
                    ..ClaribiOptions::default()
                })
                .await;
                for (name, _) in LISTS {
                    let stream = stream(&sandbox.base_url(), name);
                    let read = read_through(&*stream, None, Timestamp::now())
                        .await
                        .unwrap();
                    let keys = sandbox.keys(name).unwrap();
                    assert!(keys.len() > 100, "{what}: {name}");
                    assert_eq!(ids(&read), keys, "{what}: {name}");
                    assert_eq!(read.notes, [""; 0], "{what}: {name}");
                }
                let statuses: Vec<u16> = sandbox.stats().by_status.into_keys().collect();
                assert_eq!(statuses, [200], "{what}: no redirect, nothing past the end");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lists_of_any_length_are_read_to_their_end() {
    for paging in PAGINGS {
        for data_sources in [1, 19, 20, 21, 99, 100, 101, 200] {
            let sandbox = organization(ClaribiOptions {
                data_sources,
                paging,
                ..ClaribiOptions::default()
            })
            .await;
            let stream = stream(&sandbox.base_url(), "data_sources");
            let read = read_through(&*stream, None, Timestamp::now())
                .await
                .unwrap();
            assert_eq!(
                ids(&read),
                sandbox.keys("data_sources").unwrap(),
                "{paging:?} {data_sources}"
            );
            if paging == Paging::Drf {
                assert_eq!(sandbox.stats().requests, data_sources.div_ceil(100));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_header_takes_the_key() {
    for (key_headers, style) in [
        (KeyHeaders::ApiKey, "api_key_authorization"),
        (KeyHeaders::XApiKey, "x_api_key"),
        (KeyHeaders::Bearer, "bearer"),
    ] {
        let sandbox = organization(ClaribiOptions {
            key_headers,
            ..ClaribiOptions::default()
        })
        .await;
        for asked in ["api_key_authorization", "x_api_key", "bearer"] {
            let source = open(by_key(&sandbox.base_url(), asked, API_KEY));
            let stream = source.stream("reports").unwrap();
            let read = read_through(&*stream, None, Timestamp::now()).await;
            match read {
                Ok(read) => assert_eq!((asked, read.records.len()), (style, 120)),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Unauthenticated, "{error}");
                    assert_ne!(asked, style);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_record_keeps_the_schema_of_its_stream() {
    for source_field in [SourceField::Type, SourceField::SourceType] {
        let sandbox = organization(ClaribiOptions {
            data_sources: 30,
            source_field,
            ..ClaribiOptions::default()
        })
        .await;
        for read_details in [false, true] {
            let mut answer = answer(&sandbox.base_url());
            answer["read_details"] = read_details.into();
            let source = open(answer);
            for name in STREAMS {
                let stream = source.stream(name).unwrap();
                let spec = stream.spec().clone();
                let schema = jsonschema::options()
                    .should_validate_formats(true)
                    .build(&(spec.schema)())
                    .unwrap();
                let read = read_through(&*stream, None, Timestamp::now())
                    .await
                    .unwrap();
                assert!(!read.records.is_empty());
                for record in read.records.iter().map(|record| parse(record)) {
                    let problems: Vec<String> = schema
                        .iter_errors(&record)
                        .map(|error| format!("{} at {}", error, error.instance_path()))
                        .collect();
                    assert!(problems.is_empty(), "{name}: {problems:?}\n{record}");
                    for key in spec.key {
                        assert!(!record[key].is_null(), "{name} lacks {key}: {record}");
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_account_and_the_usage_are_one_record_each_with_the_time_of_asking() {
    let sandbox = organization_of(10).await;
    for name in ["account_status", "billing_usage"] {
        let stream = stream(&sandbox.base_url(), name);
        let read = read_through(&*stream, None, Timestamp::now())
            .await
            .unwrap();
        let [record] = &read.records[..] else {
            panic!("{name}: {:?}", read.records)
        };
        let at: Timestamp = parse(record)["fetched_at"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let age = Timestamp::now().duration_since(at);
        assert!(age.as_secs().abs() < 600, "{name}: {record}");
        if name == "billing_usage" {
            // The spelling of numbers is the service's.
            assert!(record.contains(".0,\"ai_credits_limit\""), "{record}");
        }
    }
}

/// Odd in every way that JSON allows.
const ODD: &str = r#"{ "id" : 900719925474099312345, "name":"one",
    "long":98.239997863769530000,"power":1.0E+2,"zero":-0.0,
	"text":"\u00e9\/\ud83d\ude00\u0000 é 😀 \" <\/script>","status":"HALF_BAKED",
    "next":"nowhere","results":[{"id":1}],"twice":1,"twice":2,"last_synced_at":null }"#;

#[tokio::test(start_paused = true)]
async fn records_are_the_bytes_that_the_service_sent() {
    for body in [
        format!("\u{20}[ {ODD} ]\n"),
        format!(r#"{{"count":1,"next":null,"previous":null,"results":[ {ODD} ]}}"#),
        format!(r#"{{"results":[{ODD}]}}"#),
        format!(r#"{{"data":[{ODD}],"next_cursor":null,"new":[{ODD}]}}"#),
        format!(r#"{{"data":[{ODD}],"next_cursor":""}}"#),
    ] {
        let script = script(move |request| {
            let is_list = LISTS
                .iter()
                .any(|(_, path)| request.target.starts_with(&format!("{path}?")));
            let body = if is_list { body.as_str() } else { ODD };
            Reply::json(200, body)
        })
        .await;
        for (name, _) in LISTS {
            let read = read_through(&*stream(&script.base_url(), name), None, Timestamp::now())
                .await
                .unwrap();
            assert_eq!(read.records, [ODD], "{name}");
        }
        for name in ["account_status", "billing_usage"] {
            let read = read_through(&*stream(&script.base_url(), name), None, Timestamp::now())
                .await
                .unwrap();
            assert!(read.records[0].ends_with(&ODD[1..]), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_on_from_every_place_as_text() {
    for paging in PAGINGS {
        for read_details in [false, true] {
            let what = format!("{paging:?} details {read_details}");
            let sandbox = organization(ClaribiOptions {
                data_sources: if read_details { 12 } else { 230 },
                paging,
                ..ClaribiOptions::default()
            })
            .await;
            let mut answer = answer(&sandbox.base_url());
            answer["read_details"] = read_details.into();
            let stream = open(answer).stream("dashboards").unwrap();
            let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
            let mut before = Vec::new();
            loop {
                let place = reading.place();
                let rest = Reading::resume(&stream, &place).finish().await.unwrap();
                let mut all = before.clone();
                all.extend(rest.records);
                all.sort();
                let mut whole: Vec<String> = ids_of(&all);
                whole.sort();
                assert_eq!(whole, sandbox.keys("dashboards").unwrap(), "{what}");
                if reading.is_done() {
                    break;
                }
                reading.step().await.unwrap();
                before = reading.read.records.clone();
            }
            assert!(
                reading.read.fetches > 1 || paging == Paging::Array,
                "{what}"
            );
        }
    }
}

fn ids_of(records: &[String]) -> Vec<String> {
    records
        .iter()
        .map(|record| parse(record)["id"].to_string())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn details_take_the_place_of_list_records() {
    for paging in PAGINGS {
        let sandbox = organization(ClaribiOptions {
            data_sources: 40,
            paging,
            ..ClaribiOptions::default()
        })
        .await;
        let mut answer = answer(&sandbox.base_url());
        answer["read_details"] = true.into();
        let source = open(answer);
        for ((name, path), added) in
            LISTS
                .into_iter()
                .zip(["row_count", "insights", "configuration"])
        {
            let before = sandbox.stats().requests;
            let read = read_through(&*source.stream(name).unwrap(), None, Timestamp::now())
                .await
                .unwrap();
            let keys = sandbox.keys(name).unwrap();
            assert_eq!(ids(&read), keys, "{paging:?} {name}");
            for record in read.records.iter().map(|record| parse(record)) {
                assert!(
                    record.get(added).is_some(),
                    "{name} lacks {added}: {record}"
                );
            }
            assert_eq!(read.notes, [""; 0]);
            let lists = sandbox.stats().by_path[path];
            let asked = sandbox.stats().requests - before;
            assert_eq!(asked, keys.len() as u64 + lists, "{paging:?} {name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_that_is_gone_when_its_details_are_asked_for_is_counted() {
    for every in [2, 3, 7] {
        let sandbox = organization(ClaribiOptions {
            data_sources: 40,
            faults: format!("missing_details={every}").parse().unwrap(),
            ..ClaribiOptions::default()
        })
        .await;
        let mut answer = answer(&sandbox.base_url());
        answer["read_details"] = true.into();
        let source = open(answer);
        let read = read_through(&*source.stream("reports").unwrap(), None, Timestamp::now())
            .await
            .unwrap();
        let gone = 120 / every;
        assert_eq!(read.records.len(), 120 - gone);
        assert_eq!(read.notes, vec!["missing"; gone]);
    }
}

#[tokio::test(start_paused = true)]
async fn where_there_are_no_details_the_list_is_what_comes() {
    let sandbox = organization(ClaribiOptions {
        data_sources: 250,
        details: false,
        ..ClaribiOptions::default()
    })
    .await;
    let plain = open(answer(&sandbox.base_url()));
    let mut answer = answer(&sandbox.base_url());
    answer["read_details"] = true.into();
    let source = open(answer);
    for (name, _) in LISTS {
        let read = read_through(&*source.stream(name).unwrap(), None, Timestamp::now())
            .await
            .unwrap();
        let list = read_through(&*plain.stream(name).unwrap(), None, Timestamp::now())
            .await
            .unwrap();
        assert_eq!(read.records, list.records, "{name}");
        assert_eq!(read.notes, ["no_details"], "{name}");
        let without: u64 = read.gaps.iter().filter_map(|(_, at_most)| *at_most).sum();
        assert_eq!(without, read.records.len() as u64, "{name}");
        assert!(read.gaps.iter().all(|(code, _)| *code == "no_details"));
    }
    assert_eq!(sandbox.stats().by_status[&404], 30, "ten tries a list");
}

#[tokio::test(start_paused = true)]
async fn an_object_without_an_id_is_no_detail() {
    let script = script(|request| {
        let body = if request.target.contains('?') {
            r#"{"count":1,"next":null,"results":[{"id":"a/b"}]}"#
        } else {
            r#"{"error":"odd","message":"nothing today"}"#
        };
        Reply::json(200, body)
    })
    .await;
    let mut answer = answer(&script.base_url());
    answer["read_details"] = true.into();
    let stream = open(answer).stream("reports").unwrap();
    let error = read_through(&*stream, None, Timestamp::now())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::DataInvalid);
    assert!(error.to_string().contains("nothing today"), "{error}");
    let asked = script.requests().pop().unwrap();
    assert_eq!(asked.target, "/api/reports/a%2Fb/");
}

#[tokio::test(start_paused = true)]
async fn a_count_that_lies_is_told_and_not_believed() {
    let sandbox = organization(ClaribiOptions {
        data_sources: 150,
        count_lies: true,
        ..ClaribiOptions::default()
    })
    .await;
    let read = read_through(
        &*stream(&sandbox.base_url(), "reports"),
        None,
        Timestamp::now(),
    )
    .await
    .unwrap();
    assert_eq!(ids(&read), sandbox.keys("reports").unwrap());
    assert_eq!(read.notes, ["count_differs"]);
}

#[tokio::test(start_paused = true)]
async fn reports_that_are_added_meanwhile_lose_none_that_was_there() {
    let sandbox = organization(ClaribiOptions {
        data_sources: 150,
        faults: "changing=3".parse().unwrap(),
        ..ClaribiOptions::default()
    })
    .await;
    let before = sandbox.keys("reports").unwrap();
    let read = read_through(
        &*stream(&sandbox.base_url(), "reports"),
        None,
        Timestamp::now(),
    )
    .await
    .unwrap();
    let ids = ids(&read);
    assert!(before.iter().all(|id| ids.contains(id)));
}

/// A list whose first page leads to `next`; what comes there is up to the test.
fn first_page(next: &str) -> String {
    json!({ "count": 2, "next": next, "previous": null, "results": [{ "id": 1 }] }).to_string()
}

const LAST_PAGE: &str = r#"{"count":2,"next":null,"previous":"x","results":[{"id":2}]}"#;

fn is_first(request: &Request) -> bool {
    request.parameter("page").is_none()
}

#[tokio::test(start_paused = true)]
async fn only_the_query_of_a_link_is_used_and_nobody_else_is_asked() {
    let other = script(|_| Reply::json(200, LAST_PAGE)).await;
    for (prefix, link) in [
        (
            "",
            format!("{}/api/reports/?page=2&a=%20b", other.base_url()),
        ),
        (
            "/proxy",
            "https://claribi.invalid/api/reports/?page=2&a=%20b".to_owned(),
        ),
        ("/proxy", "/api/reports/?page=2&a=%20b#top".to_owned()),
        ("", "?page=2&a=%20b".to_owned()),
        (
            "",
            "//elsewhere.invalid/api/reports/?page=2&a=%20b".to_owned(),
        ),
        (
            "",
            "https://user:word@elsewhere.invalid/api/reports/?page=2&a=%20b".to_owned(),
        ),
    ] {
        let script = script(move |request| match is_first(request) {
            true => Reply::json(200, &first_page(&link)),
            false => Reply::json(200, LAST_PAGE),
        })
        .await;
        let stream = stream(&format!("{}{prefix}", script.base_url()), "reports");
        let read = read_through(&*stream, None, Timestamp::now())
            .await
            .unwrap();
        assert_eq!(ids(&read), ["1", "2"]);
        let targets: Vec<String> = script
            .requests()
            .into_iter()
            .map(|request| request.target)
            .collect();
        assert_eq!(
            targets,
            [
                format!("{prefix}/api/reports/?page_size=100"),
                format!("{prefix}/api/reports/?page=2&a=%20b")
            ]
        );
    }
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn links_that_lead_nowhere_or_in_circles_are_errors() {
    for (link, says) in [
        (json!("/api/users/?page=2"), "another list"),
        (json!("https://claribi.invalid/?page=2"), "another list"),
        (json!("/api/reports/"), "no page"),
        (json!(["/api/reports/?page=2"]), "neither text nor a number"),
        (json!("/api/reports/?page=2"), "came twice in a row"),
    ] {
        let body = json!({ "count": 9, "next": link, "results": [{ "id": 1 }] }).to_string();
        let script = script(move |_| Reply::json(200, &body)).await;
        let error = read_through(
            &*stream(&script.base_url(), "reports"),
            None,
            Timestamp::now(),
        )
        .await
        .unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid);
        assert!(error.to_string().contains(says), "{error}");
    }
    // A circle of three pages, each unlike the last.
    let script = script(|request| {
        let page: u64 = request.parameter("page").unwrap_or("0").parse().unwrap();
        let next = format!("?page={}", (page + 1) % 3);
        Reply::json(
            200,
            &json!({ "next": next, "results": [{ "id": request.index }] }).to_string(),
        )
    })
    .await;
    let error = read_through(
        &*stream(&script.base_url(), "reports"),
        None,
        Timestamp::now(),
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("never end"), "{error}");
    assert!(script.requests().len() < 6);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_gone_ends_the_list_and_any_other_404_does_not() {
    for (body, notes) in [
        (r#"{"detail":"Invalid page."}"#, Some(["list_shrank"])),
        (
            r#"{"error":"not_found","message":"Invalid page.","status":404}"#,
            Some(["list_shrank"]),
        ),
        (r#"{"detail":"Not found."}"#, None),
        (r#"{"detail":"Invalid cursor"}"#, None),
        ("<html>", None),
    ] {
        let script = script(move |request| match is_first(request) {
            true => Reply::json(200, &first_page("/api/reports/?page=2")),
            false => Reply::json(404, body),
        })
        .await;
        let read = read_through(
            &*stream(&script.base_url(), "reports"),
            None,
            Timestamp::now(),
        )
        .await;
        match notes {
            Some(notes) => {
                let read = read.unwrap();
                assert_eq!(
                    (ids(&read), &read.notes[..]),
                    (vec!["1".to_owned()], &notes[..])
                );
            }
            None => assert_eq!(read.unwrap_err().kind(), Kind::NotFound, "{body}"),
        }
    }
    // The first page of a list is never past its end.
    let script = script(|_| Reply::json(404, r#"{"detail":"Invalid page."}"#)).await;
    let error = read_through(
        &*stream(&script.base_url(), "reports"),
        None,
        Timestamp::now(),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn when_the_hour_is_used_up_the_read_ends_with_the_time_to_come_back() {
    for rate_headers in [RateHeaders::Full, RateHeaders::Old, RateHeaders::Off] {
        let sandbox = limited(ClaribiOptions {
            data_sources: 400,
            rate_limit: RateLimit::Of {
                requests: 5,
                window: Duration::from_secs(3600),
            },
            rate_headers,
            ..ClaribiOptions::default()
        })
        .await;
        let source = open(answer(&sandbox.base_url()));
        let stream = source.stream("reports").unwrap();
        let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
        let error = loop {
            match reading.step().await {
                Ok(()) => assert!(!reading.is_done()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), Kind::RateLimited, "{rate_headers:?}: {error}");
        let delay = error.delay().unwrap().as_secs();
        assert!((3000..=3700).contains(&delay), "{rate_headers:?}: {delay}");
        assert_eq!(reading.read.records.len(), 500, "what the hour allows came");
        let place = reading.place();
        assert!(Reading::resume(&stream, &place).step().await.is_err());
        let throttled = u64::from(rate_headers == RateHeaders::Off) * 2;
        assert_eq!(sandbox.stats().throttled, throttled, "{rate_headers:?}");
    }
}

/// In real time: the window is the service's.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_limit_is_waited_for_and_never_hit() {
    let sandbox = limited(ClaribiOptions {
        data_sources: 220,
        rate_limit: RateLimit::Of {
            requests: 4,
            window: Duration::from_secs(1),
        },
        ..ClaribiOptions::default()
    })
    .await;
    let context = headwater_http::context(&Egress::Anywhere).unwrap();
    let source = acceptance::claribi::open_in(&context, answer(&sandbox.base_url()));
    let read = read_through(&*source.stream("reports").unwrap(), None, Timestamp::now())
        .await
        .unwrap();
    assert_eq!(ids(&read), sandbox.keys("reports").unwrap());
    assert_eq!(sandbox.stats().throttled, 0);
    assert!(context.meter.limit_wait() > Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_login_reads_what_a_key_reads() {
    let sandbox = organization_of(60).await;
    let source = open(by_login(&sandbox.base_url()));
    for (name, _) in LISTS {
        let read = read_through(&*source.stream(name).unwrap(), None, Timestamp::now())
            .await
            .unwrap();
        assert_eq!(ids(&read), sandbox.keys(name).unwrap());
    }
    assert_eq!(sandbox.stats().by_path["/api/auth/login/"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_is_renewed_and_a_session_that_ends_is_begun_again() {
    for (with_session, logins) in [(false, 1), (true, 2)] {
        let sandbox = organization(ClaribiOptions {
            data_sources: 120,
            ..ClaribiOptions::default()
        })
        .await;
        let stream = open(by_login(&sandbox.base_url()))
            .stream("data_sources")
            .unwrap();
        let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
        reading.step().await.unwrap();
        sandbox.end_tokens(with_session);
        let read = reading.finish().await.unwrap();
        assert_eq!(ids(&read), sandbox.keys("data_sources").unwrap());
        let stats = sandbox.stats();
        assert_eq!(stats.by_path["/api/auth/login/"], logins);
        assert_eq!(stats.by_path["/api/auth/token/refresh/"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_fails_says_why() {
    let sandbox = organization(ClaribiOptions {
        mfa: true,
        ..ClaribiOptions::default()
    })
    .await;
    let mut answer = by_login(&sandbox.base_url());
    for (password, says) in [
        (None, "multi-factor authentication"),
        (Some("canary wörd"), "does not accept the credentials"),
    ] {
        if let Some(password) = password {
            answer["auth"]["password"] = password.into();
        }
        let stream = open(answer.clone()).stream("reports").unwrap();
        let error = read_through(&*stream, None, Timestamp::now())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(says), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_repeats_secrets_does_not_get_them_shown() {
    const SECRET: &str = "claribi_sk_canary-5c1f";
    for status in [200, 400, 401, 403, 404, 418, 429, 500] {
        for padding in ["", &"x".repeat(190)] {
            let body = json!({ "detail": format!("{padding} {SECRET} {SECRET}") }).to_string();
            let script = script(move |_| Reply::json(status, &body)).await;
            let base_url = script.base_url();
            let login = json!({ "style": "jwt", "email": "a@example.com", "password": SECRET });
            let answers = ["api_key_authorization", "x_api_key", "bearer"]
                .map(|style| by_key(&base_url, style, SECRET))
                .into_iter()
                .chain([json!({ "auth": login, "base_url": base_url })]);
            for answer in answers {
                let source = open(answer);
                let report = headwater_core::ProbeReport::of(&*source).await;
                let error =
                    read_through(&*source.stream("reports").unwrap(), None, Timestamp::now())
                        .await
                        .unwrap_err();
                let shown = format!("{report:?} {error} {error:?}");
                assert!(!shown.contains("canary"), "{status}: {shown}");
            }
            for request in script.requests() {
                assert!(!request.target.contains("canary"), "{}", request.target);
            }
        }
    }
}
