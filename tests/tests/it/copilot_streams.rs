//! Clari Copilot, stream by stream: what the workspace has is what comes, byte for byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use acceptance::{
    copilot::{Reading, STREAMS, answer, open, open_in, script, stream, workspace, workspace_of},
    read_through, unhurried,
};
use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{Body, Context, Timestamp, Transport, TransportError};
use headwater_sandbox::{CopilotOptions, TemplateKey};
use headwater_testkit::{Reply, Request};
use serde_json::{Value, json};
use tokio::time::Instant;

fn parse(record: &str) -> Value {
    serde_json::from_str(record).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_stream_delivers_each_record_of_the_workspace_once() {
    for calls in [10, 120, 300] {
        let sandbox = workspace_of(calls).await;
        for name in STREAMS {
            let stream = stream(&sandbox.base_url(), name);
            let read = read_through(&*stream, None, Timestamp::now())
                .await
                .unwrap();
            let keys = sandbox.keys(name).unwrap();
            assert!(calls == 10 || !keys.is_empty(), "{name} of {calls} calls");
            let key = stream.spec().key[0];
            assert_eq!(read.sorted(key), keys, "{name} of {calls} calls");
            assert_eq!(read.records.len(), keys.len(), "{name} of {calls} calls");
            assert_eq!(
                read.bookmark.is_some(),
                stream.spec().incremental,
                "{name} of {calls} calls"
            );
        }
        let stats = sandbox.stats();
        assert_eq!(
            stats.by_status.keys().collect::<Vec<_>>(),
            [&200, &404],
            "no request was wrong, only CRM records were missing"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_list_of_streams_is_complete() {
    let sandbox = workspace_of(10).await;
    let source = open(answer(&sandbox.base_url()));
    let names: Vec<&str> = source
        .streams()
        .iter()
        .map(|stream| stream.spec().name)
        .collect();
    assert_eq!(names, STREAMS);
}

#[tokio::test(start_paused = true)]
async fn every_record_keeps_the_schema_of_its_stream() {
    let sandbox = workspace_of(300).await;
    for name in STREAMS {
        let stream = stream(&sandbox.base_url(), name);
        let spec = stream.spec().clone();
        let schema = jsonschema::options()
            .should_validate_formats(true)
            .build(&(spec.schema)())
            .unwrap();
        let read = read_through(&*stream, None, Timestamp::now())
            .await
            .unwrap();
        for record in &read.records {
            let record = parse(record);
            let problems: Vec<String> = schema
                .iter_errors(&record)
                .map(|error| format!("{} at {}", error, error.instance_path()))
                .collect();
            assert!(problems.is_empty(), "{name}: {problems:?}\n{record}");
            for key in spec.key.iter().chain(&spec.cursor) {
                assert!(record[key].is_string(), "{name} lacks {key}: {record}");
            }
            // The schemas know every field that the simulator takes from the vendor's document.
            let known = (spec.schema)();
            let unknown: Vec<&String> = record
                .as_object()
                .unwrap()
                .keys()
                .filter(|field| known["properties"].get(*field).is_none())
                .collect();
            assert!(unknown.is_empty(), "{name} does not describe {unknown:?}");
        }
        if spec.cursor.is_some() {
            let mut broken = parse(&read.records[0]);
            broken["last_modified_time"] = json!("yesterday");
            assert!(!schema.is_valid(&broken), "{name}: formats count");
        }
    }
}

/// Odd in every way that JSON allows, with an id for each stream.
const ODD: &str = r#"{ "id" : "one",  "topic_id":"one" ,"crm_id":"one",
    "big":12345678901234567890123,"long":98.239997863769530000,"power":1.0E+2,"zero":-0.0,
	"text":"\u00e9\/\ud83d\ude00\u0000 é 😀 \" <\/script>","status":"HALF_BAKED","type":"CARRIER_PIGEON",
    "unknown":{"deep":[[[1.10,null,true]],{"":""}]},"twice":1,"twice":2,"last_modified_time":null,
    "crm_info":{"account_id":"one","deal_id":"one","contact_ids":["one"],"new":{}},"audio_url":null }"#;

/// A service whose lists hold [`ODD`] alone, in the first window that is asked for.
fn odd_service(request: &Request) -> Reply {
    let (path, _) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let is_first_window = ["filterModifiedGt", "filterTimeGt"]
        .iter()
        .filter_map(|name| request.parameter(name))
        .all(|after| after.starts_with("2014-12-31T"));
    let (list, matched) = if is_first_window { (ODD, 1) } else { ("", 0) };
    let pagination =
        format!(r#""pagination":{{"matched":{matched},"hasMore":false,"new":[{ODD}]}}"#);
    let body = match path {
        "/users" => format!("\u{20}{{\"users\" :[ {ODD} ] }}\n"),
        "/calls" => format!(r#"{{{pagination},"calls":[{list}]}}"#),
        "/call-details" => format!(r#"{{"other":{ODD},"call": {ODD} }}"#),
        "/v2/topics" => format!(r#"{{"topics":[{list}],"next":{{"topics":[1]}}}}"#),
        "/scorecard" => format!(r#"{{"scorecards":[{list}],{pagination}}}"#),
        "/scorecard-template" => format!(r#"{{"scorecardTemplates":[{ODD}]}}"#),
        "/get-account" | "/get-contact" | "/get-deal" => format!("\n{ODD}\n"),
        _ => return Reply::json(404, "{}"),
    };
    Reply::json(200, &body)
}

#[tokio::test(start_paused = true)]
async fn records_are_the_bytes_that_the_service_sent() {
    let script = script(odd_service).await;
    for name in STREAMS {
        let stream = stream(&script.base_url(), name);
        let read = read_through(&*stream, None, Timestamp::now())
            .await
            .unwrap();
        assert_eq!(read.records, [ODD], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn either_spelling_of_the_list_of_templates_is_read() {
    for template_key in [
        TemplateKey::ScorecardTemplates,
        TemplateKey::ScoreCardTemplates,
    ] {
        let sandbox = workspace(CopilotOptions {
            template_key,
            ..CopilotOptions::default()
        })
        .await;
        let stream = stream(&sandbox.base_url(), "scorecard_templates");
        let read = read_through(&*stream, None, Timestamp::now())
            .await
            .unwrap();
        assert_eq!(
            read.sorted("id"),
            sandbox.keys("scorecard_templates").unwrap(),
            "{template_key:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn private_calls_come_only_when_they_are_asked_for() {
    let sandbox = workspace_of(120).await;
    let public = sandbox.keys("calls").unwrap();
    assert!(public.len() < 120, "the workspace has private calls");
    for (include, expected) in [
        (None, public.len()),
        (Some(false), public.len()),
        (Some(true), 120),
    ] {
        let mut answer = answer(&sandbox.base_url());
        if let Some(include) = include {
            answer["include_private"] = json!(include);
        }
        let source = open(answer);
        for name in ["calls", "call_details"] {
            let stream = source.stream(name).unwrap();
            let read = read_through(&*stream, None, Timestamp::now())
                .await
                .unwrap();
            let ids: BTreeSet<String> = read.sorted("id").into_iter().collect();
            assert_eq!(ids.len(), expected, "{name} with {include:?}");
            assert_eq!(read.records.len(), expected, "{name} with {include:?}");
            assert!(public.iter().all(|id| ids.contains(id)), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_date_leaves_out_what_changed_before_it() {
    let sandbox = workspace_of(300).await;
    let mut answer = answer(&sandbox.base_url());
    let everything = open(answer.clone());
    answer["start_date"] = json!("2025-07-01");
    let since = open(answer);

    let all = read_through(
        &*everything.stream("calls").unwrap(),
        None,
        Timestamp::now(),
    )
    .await
    .unwrap();
    let mut expected: Vec<String> = all
        .records
        .iter()
        .map(|record| parse(record))
        .filter(|call| call["last_modified_time"].as_str().unwrap() >= "2025-07-01T00:00:00.000Z")
        .map(|call| call["id"].as_str().unwrap().to_owned())
        .collect();
    expected.sort();
    assert!((50..250).contains(&expected.len()), "{}", expected.len());

    for name in ["calls", "call_details"] {
        let read = read_through(&*since.stream(name).unwrap(), None, Timestamp::now())
            .await
            .unwrap();
        assert_eq!(read.sorted("id"), expected, "{name}");
    }
    for name in ["scorecards", "accounts", "contacts", "deals"] {
        let key = since.stream(name).unwrap().spec().key[0];
        let read = read_through(&*since.stream(name).unwrap(), None, Timestamp::now())
            .await
            .unwrap();
        let all = sandbox.keys(name).unwrap();
        let keys = read.sorted(key);
        assert!(!keys.is_empty() && keys.len() < all.len(), "{name}");
        assert!(keys.iter().all(|key| all.contains(key)), "{name}");
    }
    // The start date is about calls: what has no place in time comes whole.
    for name in ["users", "topics", "scorecard_templates"] {
        let key = since.stream(name).unwrap().spec().key[0];
        let read = read_through(&*since.stream(name).unwrap(), None, Timestamp::now())
            .await
            .unwrap();
        assert_eq!(read.sorted(key), sandbox.keys(name).unwrap(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn details_of_a_processed_call_carry_what_was_said() {
    let sandbox = workspace_of(120).await;
    let stream = stream(&sandbox.base_url(), "call_details");
    let read = read_through(&*stream, None, Timestamp::now())
        .await
        .unwrap();
    let (mut processed, mut others) = (0, 0);
    for call in read.records.iter().map(|record| parse(record)) {
        let is_processed = matches!(
            call["status"].as_str(),
            Some("PROCESSED" | "POST_PROCESSING_DONE")
        );
        if !is_processed {
            others += 1;
            continue;
        }
        processed += 1;
        let turns = call["transcript"].as_array().unwrap();
        assert!(!turns.is_empty(), "{call}");
        assert!(turns.iter().all(|turn| turn["text"].is_string()), "{call}");
        assert!(call["summary"]["full_summary"].is_string(), "{call}");
        assert!(call["competitor_sentiments"].is_array(), "{call}");
    }
    assert!(processed > 50 && others > 0, "{processed} and {others}");
}

#[tokio::test(start_paused = true)]
async fn crm_records_are_asked_for_once_however_many_calls_name_them() {
    let sandbox = workspace_of(300).await;
    let calls = read_through(
        &*stream(&sandbox.base_url(), "calls"),
        None,
        Timestamp::now(),
    )
    .await
    .unwrap();
    let mut named: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for call in calls.records.iter().map(|record| parse(record)) {
        let info = &call["crm_info"];
        let mut add = |stream, id: &Value| {
            let ids = named.entry(stream).or_default();
            ids.extend(id.as_str().map(str::to_owned));
        };
        add("accounts", &info["account_id"]);
        add("deals", &info["deal_id"]);
        for id in info["contact_ids"].as_array().into_iter().flatten() {
            add("contacts", id);
        }
    }
    for (name, path) in [
        ("accounts", "/get-account"),
        ("contacts", "/get-contact"),
        ("deals", "/get-deal"),
    ] {
        let names = &named[name];
        let distinct: BTreeSet<&String> = names.iter().collect();
        assert!(distinct.len() < names.len(), "{name}: some are named twice");
        let read = read_through(&*stream(&sandbox.base_url(), name), None, Timestamp::now())
            .await
            .unwrap();
        let asked = sandbox.stats().by_path[path];
        assert_eq!(asked, distinct.len() as u64, "{name}");

        let keys = sandbox.keys(name).unwrap();
        assert_eq!(read.sorted("crm_id"), keys, "{name}");
        let missing = read.notes.iter().filter(|note| **note == "missing").count();
        assert_eq!(missing, distinct.len() - keys.len(), "{name}");
        assert_eq!(read.notes.len(), missing, "{name}");
    }
    let missing: usize = ["accounts", "contacts", "deals"]
        .iter()
        .map(|name| {
            let distinct: BTreeSet<&String> = named[name].iter().collect();
            distinct.len() - sandbox.keys(name).unwrap().len()
        })
        .sum();
    assert!(missing > 0, "the CRM lacks records that calls name");
}

#[tokio::test(start_paused = true)]
async fn odd_ids_are_encoded_in_the_question() {
    const ID: &str = r"a b&id=c/d?#%25+é;=\";
    let script = script(|request| {
        let body = match request.target.split('?').next().unwrap_or_default() {
            "/calls" if request.parameter("filterModifiedGt").is_some_and(|after| after.starts_with("2014")) => json!({
                "calls": [{ "id": ID, "crm_info": { "account_id": ID, "contact_ids": [ID], "deal_id": ID } }],
                "pagination": { "matched": 1, "hasMore": false },
            }),
            "/calls" => json!({ "calls": [], "pagination": { "matched": 0, "hasMore": false } }),
            "/call-details" => json!({ "call": { "id": ID } }),
            _ => json!({ "crm_id": ID }),
        };
        Reply::json(200, &body.to_string())
    })
    .await;
    for (name, path) in [
        ("call_details", "/call-details"),
        ("accounts", "/get-account"),
        ("contacts", "/get-contact"),
        ("deals", "/get-deal"),
    ] {
        let stream = stream(&script.base_url(), name);
        let read = read_through(&*stream, None, Timestamp::now())
            .await
            .unwrap();
        assert_eq!(read.records.len(), 1, "{name}");
        let asked: Vec<String> = script
            .requests()
            .into_iter()
            .map(|request| request.target)
            .filter(|target| target.starts_with(path))
            .collect();
        assert_eq!(
            asked,
            [format!(
                "{path}?id=a+b%26id%3Dc%2Fd%3F%23%2525%2B%C3%A9%3B%3D%5C"
            )]
        );
    }
}

/// Notes when each request is sent, by the client's clock.
struct Timed {
    wire: Arc<dyn Transport>,
    sent: Arc<Mutex<Vec<Instant>>>,
}

#[async_trait]
impl Transport for Timed {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError> {
        self.sent.lock().unwrap().push(Instant::now());
        self.wire.send(request).await
    }
}

/// Copilot allows 10 requests a second. The client's clock decides, so that a busy machine cannot change the result.
#[tokio::test(start_paused = true)]
async fn no_second_has_more_requests_than_copilot_allows() {
    let sandbox = workspace(CopilotOptions::default()).await;
    let sent = Arc::default();
    let context = Context::new(Timed {
        wire: unhurried::context().transport,
        sent: Arc::clone(&sent),
    });
    let source = open_in(&context, answer(&sandbox.base_url()));
    let stream = source.stream("call_details").unwrap();
    let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
    for _ in 0..60 {
        reading.step().await.unwrap();
    }
    let sent = sent.lock().unwrap();
    assert_eq!(sent.len(), 60);
    for of_eleven in sent.windows(11) {
        assert!(of_eleven[10] - of_eleven[0] >= Duration::from_secs(1));
    }
    assert!(
        sent[59] - sent[0] < Duration::from_secs(7),
        "a request waits for nothing else"
    );
}
