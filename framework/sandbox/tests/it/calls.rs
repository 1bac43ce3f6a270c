//! `/calls` and `/call-details`: parameters, filters, order, paging and records.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::support::{Api, encode, sorted, texts, unlimited};
use headwater_sandbox::CopilotOptions;
use serde_json::{Value, json};

#[tokio::test]
async fn bad_values_are_refused_and_the_parameter_is_named() {
    let api = Api::of_calls(10).await;
    for (path, parameter, values) in [
        ("/calls", "skip", &["-1", "10001", "x", "1.5", ""][..]),
        ("/calls", "limit", &["0", "101", "x", "2.5"]),
        ("/calls", "filterStatus", &["DONE", "processed", ""]),
        ("/calls", "filterType", &["PHONE"]),
        ("/calls", "filterTimeGt", &["x", "2020-01-01T00:00:00+0000"]),
        ("/calls", "filterTimeLt", &["1577836800"]),
        ("/calls", "filterModifiedGt", &["yesterday"]),
        ("/calls", "filterModifiedLt", &["2020-13-01T00:00:00Z"]),
        ("/calls", "filterDurationGt", &["-1", "7201", "1.5"]),
        ("/calls", "filterDurationLt", &["x"]),
        ("/calls", "sortTime", &["ascending", ""]),
        ("/calls", "sortProcessed", &["ASC"]),
        ("/calls", "includePrivate", &["yes", "TRUE", "2"]),
        ("/calls", "includeAudio", &["1"]),
        ("/calls", "includeVideo", &["no"]),
        ("/calls", "includePagination", &["0"]),
        ("/call-details", "id", &[""]),
        ("/get-account", "id", &[""]),
        ("/get-contact", "id", &[""]),
        ("/get-deal", "id", &[""]),
        ("/v2/topics", "filterModifiedGt", &["x"]),
        ("/v2/topics", "filterModifiedLt", &["x"]),
        ("/scorecard", "skip", &["-1", "10001"]),
        ("/scorecard", "limit", &["0", "101"]),
        ("/scorecard", "filterTimeGt", &["x"]),
        ("/scorecard", "filterTimeLt", &["x"]),
    ] {
        for value in values {
            // Not encoded: a raw plus sign means a blank.
            let target = format!("{path}?{parameter}={value}");
            let expected = json!({"errorMessage": format!("{parameter} is invalid")});
            assert_eq!(api.get(&target).await, (400, expected), "{target}");
        }
    }
    for (parameter, values) in [("includeAudio", &["x"]), ("includeVideo", &["x"])] {
        let target = format!("/call-details?id=x&{parameter}={}", values[0]);
        assert_eq!(api.get(&target).await.0, 400);
    }
    for path in ["/call-details", "/get-account", "/get-contact", "/get-deal"] {
        assert_eq!(api.get(path).await.0, 400);
    }
}

#[tokio::test]
async fn good_values_are_accepted_and_unknown_parameters_ignored() {
    let api = Api::of_calls(10).await;
    for target in [
        "/calls?filterTimeGt=2020-01-01T00:00:00%2B0000",
        "/calls?filterTimeGt=2020-01-01T00%3A00%3A00.000Z&filterModifiedLt=2030-01-01",
        "/calls?includePrivate=1&includePrivate=0",
        "/calls?includePrivate=false&includePagination=true",
        "/calls?filterDurationGt=0&filterDurationLt=7200",
        "/calls?skip=10000&limit=1",
        "/calls?page=7&cursor=x",
        "/users?limit=100",
    ] {
        api.ok(target).await;
    }
}

#[tokio::test]
async fn pages_have_documented_default_sizes() {
    let api = Api::of_calls(600).await;
    let page = api.ok("/calls").await;
    assert_eq!(page["calls"].as_array().unwrap().len(), 25);
    assert_eq!(page["pagination"]["hasMore"], true);
    assert_eq!(page["pagination"]["nextPageSkip"], 25);
    let page = api.ok("/scorecard").await;
    assert_eq!(page["scorecards"].as_array().unwrap().len(), 50);
    assert_eq!(page["pagination"]["nextPageSkip"], 50);
}

#[tokio::test]
async fn the_pagination_object_can_be_left_out() {
    let api = Api::of_calls(200).await;
    for order in [
        "",
        "&sortTime=asc",
        "&sortTime=desc",
        "&sortProcessed=asc",
        "&sortProcessed=desc",
    ] {
        let with = api.ok(&format!("/calls?skip=30&limit=40{order}")).await;
        let without = api
            .ok(&format!(
                "/calls?skip=30&limit=40&includePagination=false{order}"
            ))
            .await;
        assert_eq!(without.get("pagination"), None);
        assert_eq!(without["calls"], with["calls"]);
    }
}

#[tokio::test]
async fn a_page_after_the_end_is_empty() {
    let api = Api::of_calls(20).await;
    let page = api.ok("/calls?skip=5000").await;
    let matched = api.sandbox.keys("calls").unwrap().len();
    assert_eq!(
        page,
        json!({"calls": [], "pagination": {"matched": matched, "hasMore": false}})
    );
}

#[tokio::test]
async fn an_empty_workspace_answers_empty_lists() {
    let api = Api::of_calls(0).await;
    api.sandbox.change_calls(3);
    assert!(!api.sandbox.touch_call(0, "PROCESSED"));
    assert_eq!(api.ok("/calls").await["pagination"]["matched"], 0);
    assert_eq!(api.ok("/scorecard").await["scorecards"], json!([]));
    assert_eq!(api.sandbox.keys("accounts").unwrap(), [""; 0]);
}

#[tokio::test]
async fn paging_reaches_the_cap_and_not_beyond() {
    let api = Api::of_calls(12_000).await;
    let page = api.ok("/calls?skip=10000&limit=100").await;
    assert_eq!(page["calls"].as_array().unwrap().len(), 100);
    assert_eq!(page["pagination"]["hasMore"], true);
    assert_eq!(page["pagination"]["nextPageSkip"], 10_100);
    assert_eq!(api.get("/calls?skip=10001").await.0, 400);
}

#[tokio::test]
async fn lists_are_sorted_as_asked() {
    let api = Api::of_calls(300).await;
    for (order, key, ascending) in [
        ("", "time", false),
        ("&sortTime=desc", "time", false),
        ("&sortTime=asc", "time", true),
        ("&sortProcessed=asc", "last_modified_time", true),
        ("&sortProcessed=desc", "last_modified_time", false),
        ("&sortTime=asc&sortProcessed=desc", "time", true),
    ] {
        let calls = api.read_all(&format!("/calls?{order}"), "calls").await;
        let times = texts(&calls, key);
        let mut expected = sorted(times.clone());
        if !ascending {
            expected.reverse();
        }
        assert_eq!(times, expected, "{order}");
    }
}

/// Every filter must select the same calls as a plain look at the records does.
#[tokio::test]
async fn filters_select_what_a_plain_look_at_the_records_selects() {
    let api = Api::of_calls(1_500).await;
    api.sandbox.change_calls(40);
    assert!(api.sandbox.touch_call(3, "SCHEDULED"));
    let all = api.read_all("/calls?includePrivate=true", "calls").await;
    assert_eq!(all.len(), 1_500);
    let private: BTreeSet<String> = {
        let open = api.read_all("/calls?", "calls").await;
        let open: BTreeSet<String> = texts(&open, "id").into_iter().collect();
        let ids = texts(&all, "id").into_iter();
        ids.filter(|id| !open.contains(id)).collect()
    };
    assert!((30..60).contains(&private.len()));

    let middle = all[700].clone();
    let text = |record: &Value, key: &str| record[key].as_str().unwrap().to_owned();
    let middle_time = text(&middle, "time");
    let late_time = text(&all[200], "time");
    let middle_modified = text(&middle, "last_modified_time");
    let late_modified = text(&all[200], "last_modified_time");
    let user = text(&middle["users"][0], "userEmail");
    let other_user = text(&all[701]["users"][0], "userEmail");
    let attendee = text(&middle["externalParticipants"][0], "email");
    let source_call = all.iter().find(|call| call["source_id"].is_string());
    let source_id = text(source_call.unwrap(), "source_id");

    let any = |list: &Value, key: &str, wanted: &[&str]| {
        let mut entries = list.as_array().into_iter().flatten();
        entries.any(|entry| {
            entry[key]
                .as_str()
                .is_some_and(|text| wanted.contains(&text))
        })
    };
    type Predicate<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let is = |key: &'static str, wanted: &'static [&'static str]| -> Predicate<'_> {
        Box::new(move |call| wanted.contains(&call[key].as_str().unwrap()))
    };
    let between = |key: &'static str, after: String, before: String| -> Predicate<'_> {
        Box::new(move |call| {
            let value = call[key].as_str().unwrap();
            value > after.as_str() && (before.is_empty() || value < before.as_str())
        })
    };
    let duration = |call: &Value| call["metrics"]["call_duration"].as_u64();

    let cases: Vec<(String, Predicate<'_>)> = vec![
        (
            "filterStatus=PROCESSED&filterStatus=SCHEDULED".into(),
            is("status", &["PROCESSED", "SCHEDULED"]),
        ),
        (
            "filterType=ZOOM&filterType=TALKDESK".into(),
            is("type", &["ZOOM", "TALKDESK"]),
        ),
        (
            format!("filterSourceId={source_id}"),
            Box::new(|call| call["source_id"] == source_id.as_str()),
        ),
        (
            format!("filterTimeGt={middle_time}&filterTimeLt={late_time}"),
            between("time", middle_time.clone(), late_time.clone()),
        ),
        (
            format!("filterModifiedGt={middle_modified}&filterModifiedLt={late_modified}"),
            between(
                "last_modified_time",
                middle_modified.clone(),
                late_modified.clone(),
            ),
        ),
        (
            format!("filterModifiedGt={late_modified}"),
            between("last_modified_time", late_modified.clone(), String::new()),
        ),
        (
            format!("filterTimeGt={middle_time}&filterModifiedGt={late_modified}"),
            Box::new(|call| {
                text(call, "time") > middle_time && text(call, "last_modified_time") > late_modified
            }),
        ),
        (
            "filterDurationGt=600&filterDurationLt=1200".into(),
            Box::new(|call| duration(call).is_some_and(|s| s > 600 && s < 1_200)),
        ),
        (
            "filterTopics=Pricing&filterTopics=R%C3%A9f%C3%A9rence+client".into(),
            Box::new(|call| {
                let wanted = ["Pricing", "Référence client"];
                any(&call["metrics"]["categories"], "name", &wanted)
            }),
        ),
        (
            format!(
                "filterUser={}&filterUser={}",
                encode(&user),
                encode(&other_user)
            ),
            Box::new(|call| any(&call["users"], "userEmail", &[&user, &other_user])),
        ),
        (
            format!("filterAttendees={}", encode(&attendee)),
            Box::new(|call| any(&call["externalParticipants"], "email", &[&attendee])),
        ),
        (
            "filterUser=nobody%40example.com".into(),
            Box::new(|_| false),
        ),
    ];
    for (query, accepts) in &cases {
        for include_private in [false, true] {
            let found = api
                .read_all(
                    &format!("/calls?{query}&includePrivate={include_private}"),
                    "calls",
                )
                .await;
            let expected: Vec<String> = all
                .iter()
                .filter(|call| accepts(call))
                .map(|call| text(call, "id"))
                .filter(|id| include_private || !private.contains(id))
                .collect();
            assert_eq!(texts(&found, "id"), expected, "{query}");
            assert_eq!(expected.is_empty(), query.contains("nobody"), "{query}");
        }
    }
}

#[tokio::test]
async fn bounds_are_strict() {
    let api = Api::of_calls(50).await;
    let calls = api.ok("/calls?sortTime=asc&limit=3").await;
    let time = |index: usize| calls["calls"][index]["time"].as_str().unwrap();
    let window = format!("/calls?filterTimeGt={}&filterTimeLt={}", time(0), time(2));
    let inside = api.ok(&window).await;
    assert_eq!(inside["pagination"]["matched"], 1);
    assert_eq!(inside["calls"][0]["id"], calls["calls"][1]["id"]);
}

#[tokio::test]
async fn changed_calls_move_to_the_present() {
    let api = Api::of_calls(100).await;
    let before = jiff::Timestamp::now();
    let none_yet = api.ok(&format!("/calls?filterModifiedGt={before}")).await;
    assert_eq!(none_yet["pagination"]["matched"], 0);
    api.sandbox.change_calls(7);
    let start = jiff::Timestamp::from_millisecond(before.as_millisecond() - 1).unwrap();
    let changed = api.ok(&format!("/calls?filterModifiedGt={start}")).await;
    assert_eq!(changed["pagination"]["matched"], 7);
    let old = api.ok(&format!("/calls?filterModifiedLt={start}")).await;
    let all = api.sandbox.keys("calls").unwrap().len();
    assert_eq!(old["pagination"]["matched"], all - 7);
}

#[tokio::test]
async fn a_touched_call_shows_its_new_status_everywhere() {
    let api = Api::of_calls(40).await;
    let calls = api
        .read_all("/calls?sortTime=asc&includePrivate=true", "calls")
        .await;
    let is_done = |call: &Value| call["status"] == "POST_PROCESSING_DONE";
    let index = calls.iter().position(is_done).unwrap();
    let id = calls[index]["id"].as_str().unwrap();
    assert!(api.sandbox.touch_call(index as u64, "SOMETHING_NEW"));
    assert!(!api.sandbox.touch_call(40, "PROCESSED"));
    let details = api.ok(&format!("/call-details?id={id}")).await;
    assert_eq!(details["call"]["status"], "SOMETHING_NEW");
    assert_eq!(details["call"].get("transcript"), None);
    assert_eq!(details["call"].get("metrics"), None);
}

#[tokio::test]
async fn details_hold_the_record_of_the_list_and_more() {
    let api = Api::of_calls(120).await;
    let mut sentiments = 0;
    for call in api.read_all("/calls?includePrivate=1", "calls").await {
        let id = call["id"].as_str().unwrap();
        let details = api
            .ok(&format!(
                "/call-details?id={id}&includeTranscript=true&includeSummary=true"
            ))
            .await;
        let details = &details["call"];
        for (key, value) in call.as_object().unwrap() {
            assert_eq!(&details[key], value, "{key}");
        }
        let is_finished =
            ["PROCESSED", "POST_PROCESSING_DONE"].contains(&call["status"].as_str().unwrap());
        let Some(turns) = details.get("transcript") else {
            assert!(!is_finished);
            assert_eq!(details.get("summary"), None);
            continue;
        };
        assert!(is_finished);
        let turns = turns.as_array().unwrap();
        assert!((20..=80).contains(&turns.len()));
        let mut previous_end = 0.0;
        for turn in turns {
            assert!(turn["start"].as_f64().unwrap() >= previous_end);
            previous_end = turn["end"].as_f64().unwrap();
            assert!(turn["end"].as_f64() > turn["start"].as_f64());
            assert!(turn["personId"].is_u64());
        }
        let duration = details["metrics"]["call_duration"].as_f64().unwrap();
        assert!(previous_end <= duration);
        for sentiment in details["competitor_sentiments"].as_array().unwrap() {
            assert!(sentiment["personId"].is_string());
            sentiments += 1;
        }
    }
    assert!(sentiments > 0);
    for id in ["x", "123e4567-e89b-42d3-a456-426614174000"] {
        let missing = api.get(&format!("/call-details?id={id}")).await;
        assert_eq!(missing, (404, json!({})));
    }
}

#[tokio::test]
async fn media_links_are_given_when_asked_for_and_can_be_followed() {
    let api = Api::of_calls(20).await;
    let silent = api
        .ok("/calls?filterStatus=PROCESSED&filterStatus=POST_PROCESSING_DONE")
        .await;
    assert_eq!(silent["calls"][0]["audio_url"], Value::Null);
    assert!(
        silent["calls"][0]
            .as_object()
            .unwrap()
            .contains_key("audio_url")
    );
    let finished = "/calls?filterStatus=PROCESSED&filterStatus=POST_PROCESSING_DONE";
    let loud = api
        .ok(&format!("{finished}&includeAudio=true&includeVideo=true"))
        .await;
    for key in ["audio_url", "video_url"] {
        let url = loud["calls"][0][key].as_str().unwrap();
        let response = api.http.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let forged = api.http.get(format!("{url}0")).send().await.unwrap();
        assert_eq!(forged.status(), 403);
    }
    let scheduled = api
        .ok("/calls?filterStatus=SCHEDULED&includeAudio=true")
        .await;
    for call in scheduled["calls"].as_array().unwrap() {
        assert_eq!(call["audio_url"], Value::Null);
    }
}

#[tokio::test]
async fn a_call_is_about_one_and_a_half_kibibytes() {
    for calls in [120, 3_000] {
        let api = Api::of_calls(calls).await;
        let records = api.read_all("/calls?", "calls").await;
        let bytes: usize = records.iter().map(|call| call.to_string().len()).sum();
        let kibibytes = bytes as f64 / records.len() as f64 / 1_024.0;
        eprintln!("{kibibytes:.3} KiB per call of {calls}");
        assert!((1.3..1.9).contains(&kibibytes), "{kibibytes} KiB");
    }
}

#[tokio::test]
async fn texts_and_numbers_are_as_awkward_as_real_ones() {
    let api = Api::of_calls(2_000).await;
    let records = api.read_all("/calls?includePrivate=true", "calls").await;
    let all = Value::Array(records.clone()).to_string();
    for awkward in ["🚀", "東京", "\\\"", "\\t", "occurences", "O'Brien"] {
        assert!(all.contains(awkward), "{awkward}");
    }
    let has_noise = |call: &Value| {
        let number = call["metrics"]["total_speak_duration"].to_string();
        number.len() > 12
    };
    assert!(records.iter().any(has_noise));
    let is_long = |call: &Value| call["deal_value"].as_str().is_some_and(|v| v.len() == 23);
    assert!(records.iter().any(is_long));
    for optional in ["source_id", "crm_info", "metrics", "calendar_id"] {
        let present = records.iter().filter(|call| call.get(optional).is_some());
        let present = present.count();
        assert!(present > 0 && present < records.len(), "{optional}");
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_workspace() {
    let start = |seed| {
        Api::start(CopilotOptions {
            seed,
            limits: unlimited(),
            ..CopilotOptions::default()
        })
    };
    let (first, again, other) = (start(5).await, start(5).await, start(6).await);
    for target in [
        "/calls",
        "/users",
        "/scorecard",
        "/v2/topics",
        "/scorecard-template",
    ] {
        let answer = first.ok(target).await;
        assert_eq!(answer, again.ok(target).await);
        assert_ne!(answer, other.ok(target).await);
    }
    let id = first.sandbox.keys("calls").unwrap().swap_remove(0);
    let target = format!("/call-details?id={id}");
    assert_eq!(first.ok(&target).await, again.ok(&target).await);
    assert_eq!(other.get(&target).await.0, 404);
}

#[tokio::test]
async fn a_million_calls_start_at_once_and_answer() {
    // A start that made up its calls would take a thousand times as long for a thousand times as many.
    let start = async |calls| {
        let begin = Instant::now();
        let api = Api::of_calls(calls).await;
        let page = api.ok("/calls?includePagination=false&limit=100").await;
        assert_eq!(page["calls"].as_array().unwrap().len(), 100);
        (api, begin.elapsed())
    };
    let (_small, of_few) = start(1_000).await;
    let (api, of_many) = start(1_000_000).await;
    assert!(of_many < of_few * 100, "{of_many:?} against {of_few:?}");
    let window =
        "/calls?filterModifiedGt=2025-06-01T00:00:00Z&filterModifiedLt=2025-06-02T00:00:00Z";
    let matched = api.ok(window).await["pagination"]["matched"]
        .as_u64()
        .unwrap();
    assert!((2_000..3_500).contains(&matched), "{matched}");
    let matched = &api.ok("/calls").await["pagination"]["matched"];
    assert_eq!(matched, 969_697);
}
