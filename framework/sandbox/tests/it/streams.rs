//! Users, topics, scorecards, CRM records, writes, and the truth from `keys`.

use std::collections::BTreeSet;

use crate::support::{Api, sorted, texts, unlimited};
use headwater_sandbox::{CopilotOptions, TemplateKey};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn users_form_a_team_with_one_head() {
    for (calls, expected) in [(10, 5), (600, 20), (100_000, 200)] {
        let api = Api::of_calls(calls).await;
        let users = api.ok("/users").await;
        let users = users["users"].as_array().unwrap();
        assert_eq!(users.len(), expected);
        let heads = users.iter().filter(|user| user.get("manager_id").is_none());
        assert_eq!(heads.count(), 1);
        let ids: BTreeSet<String> = texts(users, "id").into_iter().collect();
        for user in users {
            if let Some(manager) = user["manager_id"].as_str() {
                assert!(ids.contains(manager));
                assert_ne!(user["id"], manager);
            }
        }
        let emails: BTreeSet<String> = texts(users, "email").into_iter().collect();
        assert_eq!(emails.len(), expected);
    }
}

#[tokio::test]
async fn topics_are_listed_in_both_versions() {
    let api = Api::of_calls(10).await;
    let topics = api.ok("/v2/topics").await;
    let topics = topics["topics"].as_array().unwrap();
    let (keyword, custom): (Vec<Value>, Vec<Value>) = topics
        .iter()
        .cloned()
        .partition(|topic| topic.get("keyword_topic").is_some());
    assert!(!keyword.is_empty() && !custom.is_empty());
    assert!(custom.iter().all(|topic| topic["custom_topic"].is_object()));
    let names = api.ok("/topics").await;
    assert_eq!(names, json!({"topics": texts(&keyword, "topic_name")}));

    let count = |query: &'static str| {
        let api = &api;
        async move {
            let answer = api.ok(&format!("/v2/topics?{query}")).await;
            answer["topics"].as_array().unwrap().len()
        }
    };
    let after = count("filterModifiedGt=2025-01-01T00:00:00%2B0000").await;
    let before = count("filterModifiedLt=2025-01-01T00:00:00Z").await;
    assert_eq!(after + before, topics.len());
    assert!(after > 0 && before > 0);
    assert_eq!(count("filterModifiedGt=2026-01-01T00:00:00Z").await, 0);
}

#[tokio::test]
async fn scorecards_are_filtered_by_person_and_by_the_time_of_the_call() {
    let api = Api::of_calls(2_000).await;
    let all = api.read_all("/scorecard?", "scorecards").await;
    assert!((250..420).contains(&all.len()), "{}", all.len());
    for (parameter, key) in [("filterRepId", "rep"), ("filterScorerId", "scorer")] {
        let person = all[3][key].as_str().unwrap();
        let found = api
            .read_all(&format!("/scorecard?{parameter}={person}"), "scorecards")
            .await;
        let expected: Vec<Value> = all
            .iter()
            .filter(|scorecard| scorecard[key] == person)
            .cloned()
            .collect();
        assert!(!expected.is_empty() && expected.len() < all.len());
        assert_eq!(found, expected);
    }
    let bound = "2025-05-05T05:05:05Z";
    let early = api
        .read_all(&format!("/scorecard?filterTimeLt={bound}"), "scorecards")
        .await;
    let late = api
        .read_all(&format!("/scorecard?filterTimeGt={bound}"), "scorecards")
        .await;
    assert_eq!([late, early.clone()].concat(), all);
    for scorecard in early.iter().take(10) {
        let id = scorecard["call_id"].as_str().unwrap();
        let call = api.ok(&format!("/call-details?id={id}")).await;
        assert!(call["call"]["time"].as_str().unwrap() < bound);
    }
}

#[tokio::test]
async fn templates_come_under_either_spelling() {
    for (template_key, spelling) in [
        (TemplateKey::ScorecardTemplates, "scorecardTemplates"),
        (TemplateKey::ScoreCardTemplates, "scoreCardTemplates"),
    ] {
        let api = Api::start(CopilotOptions {
            template_key,
            ..CopilotOptions::default()
        })
        .await;
        let answer = api.ok("/scorecard-template").await;
        assert_eq!(answer.as_object().unwrap().len(), 1);
        let templates = answer[spelling].as_array().unwrap();
        assert!(templates.iter().all(|template| template["type"] == "CALL"));
        assert!(templates[0]["questions"][0]["order"].is_string());
    }
}

/// A full read of every stream must find exactly the keys of the sandbox.
#[tokio::test]
async fn keys_are_what_a_brute_read_finds() {
    let api = Api::of_calls(800).await;
    api.sandbox.set_faults("missing_details=9".parse().unwrap());
    let calls = api.read_all("/calls?", "calls").await;
    let keys = |stream: &str| api.sandbox.keys(stream).unwrap();
    assert_eq!(sorted(texts(&calls, "id")), keys("calls"));

    let mut found = Vec::new();
    for id in texts(&calls, "id") {
        let (status, body) = api.get(&format!("/call-details?id={id}")).await;
        match status {
            200 => found.push(body["call"]["id"].as_str().unwrap().to_owned()),
            _ => assert_eq!((status, body), (404, json!({}))),
        }
    }
    assert!(found.len() < calls.len());
    assert_eq!(sorted(found), keys("call_details"));

    let users = api.ok("/users").await;
    assert_eq!(
        sorted(texts(users["users"].as_array().unwrap(), "id")),
        keys("users")
    );
    let topics = api.ok("/v2/topics").await;
    let topics = topics["topics"].as_array().unwrap();
    assert_eq!(sorted(texts(topics, "topic_id")), keys("topics"));
    let scorecards = api.read_all("/scorecard?", "scorecards").await;
    assert_eq!(sorted(texts(&scorecards, "id")), keys("scorecards"));
    let templates = api.ok("/scorecard-template").await;
    let templates = templates["scorecardTemplates"].as_array().unwrap();
    assert_eq!(sorted(texts(templates, "id")), keys("scorecard_templates"));

    for (stream, path, field) in [
        ("accounts", "/get-account", "account_id"),
        ("contacts", "/get-contact", "contact_ids"),
        ("deals", "/get-deal", "deal_id"),
    ] {
        let mut named = BTreeSet::new();
        for call in &calls {
            match &call["crm_info"][field] {
                Value::String(id) => named.extend([id.clone()]),
                Value::Array(ids) => named.extend(ids.iter().map(|id| id.as_str().unwrap().into())),
                _ => {}
            }
        }
        let mut found = Vec::new();
        for id in &named {
            let (status, body) = api.get(&format!("{path}?id={id}")).await;
            match status {
                200 => {
                    assert_eq!(body["crm_id"], id.as_str());
                    found.push(id.clone());
                }
                _ => assert_eq!((status, body), (404, json!({}))),
            }
        }
        assert!(found.len() < named.len(), "some {stream} are missing");
        assert_eq!(found, keys(stream));
    }
    assert_eq!(api.sandbox.keys("playlists"), None);
}

#[tokio::test]
async fn crm_records_can_be_created_updated_and_deleted() {
    let api = Api::of_calls(50).await;
    for (kind, fields, changes, bad) in [
        (
            "account",
            json!({"crm_id": "A-1", "name": "Test & Söhne", "phones": ["+1"]}),
            json!({"crm_id": "A-1", "city": "Wien"}),
            json!({"crm_id": "A-2", "name": 5}),
        ),
        (
            "contact",
            json!({"crm_id": "C-1", "emails": ["a@example.com"], "is_lead": true}),
            json!({"crm_id": "C-1", "is_lead": false}),
            json!({"crm_id": "C-2", "is_lead": "yes"}),
        ),
        (
            "deal",
            json!({"crm_id": "D-1", "amount": "10.50", "close_date": "2026-01-01T00:00:00Z"}),
            json!({"crm_id": "D-1", "stage": "Won", "amount": null}),
            json!({"crm_id": "D-2", "close_date": "soon"}),
        ),
    ] {
        let create = format!("/create-{kind}");
        let update = format!("/update-{kind}");
        let delete = format!("/delete-{kind}");
        let crm_id = fields["crm_id"].as_str().unwrap();
        let get = format!("/get-{kind}?id={crm_id}");
        assert_eq!(api.get(&get).await, (404, json!({})));
        assert_eq!(api.send(Method::POST, &create, &bad).await.0, 400);
        assert_eq!(api.send(Method::POST, &create, &json!({})).await.0, 400);
        assert_eq!(api.send(Method::POST, &create, &json!([])).await.0, 400);
        assert_eq!(api.send(Method::PUT, &update, &changes).await.0, 400);

        let (status, created) = api.send(Method::POST, &create, &fields).await;
        assert_eq!(status, 200);
        assert_eq!(created["id"].as_str().unwrap().len(), 24);
        assert_eq!(api.get(&get).await, (200, created.clone()));
        assert_eq!(api.send(Method::POST, &create, &fields).await.0, 400);

        let (status, updated) = api.send(Method::PUT, &update, &changes).await;
        assert_eq!(status, 200);
        assert_eq!(updated["id"], created["id"]);
        for (key, value) in changes.as_object().unwrap() {
            let expected = if value.is_null() { &fields[key] } else { value };
            assert_eq!(&updated[key], expected);
        }

        let key = json!({"id": crm_id});
        let deleted = api.send(Method::DELETE, &delete, &key).await;
        assert_eq!(deleted, (200, updated));
        assert_eq!(api.get(&get).await, (404, json!({})));
        assert_eq!(
            api.send(Method::DELETE, &delete, &key).await,
            (404, json!({}))
        );
        assert_eq!(api.send(Method::DELETE, &delete, &json!({})).await.0, 400);
    }
}

#[tokio::test]
async fn deleting_a_generated_record_takes_its_key_away() {
    let api = Api::of_calls(50).await;
    let keys = api.sandbox.keys("accounts").unwrap();
    let body = json!({"id": keys[0]});
    let (status, snapshot) = api.send(Method::DELETE, "/delete-account", &body).await;
    assert_eq!((status, &snapshot["crm_id"]), (200, &json!(keys[0])));
    assert_eq!(api.sandbox.keys("accounts").unwrap(), keys[1..]);
}

#[tokio::test]
async fn calls_can_be_created_and_are_listed() {
    let api = Api::of_calls(50).await;
    let user = api.ok("/users").await["users"][1].clone();
    let good = json!({
        "source_id": "upload-1",
        "call_time": "2025-03-03T10:00:00Z",
        "type": "RECORDING",
        "audio_url": "https://example.com/a.mp3",
        "user_emails": [user["email"]],
        "other_name": ["Zoë"],
        "other_email": ["zoe@example.org"],
        "other_phone": [""],
        "external_transcript": {
            "external_speakers": [{"person_id": "a", "name": "A", "email_id": "a@example.org"}],
            "ext_conversation_turns": [{"person_id": "a", "text": "Hi", "start": 0, "end": 1.5}],
        },
    });
    for (field, value, error) in [
        ("source_id", Value::Null, "source_id is invalid"),
        ("call_time", json!("soon"), "call_time is invalid"),
        ("type", json!("ZOOM"), "type is invalid"),
        ("audio_url", json!(""), "audio_url is invalid"),
        ("other_email", json!([]), "other_email is invalid"),
        ("other_phone", json!(["1", "2"]), "other_phone is invalid"),
        ("header_key", json!(["k"]), "header_value is invalid"),
        ("stereo_to_mono", json!("x"), "stereo_to_mono is invalid"),
        (
            "external_transcript",
            json!({}),
            "external_transcript is invalid",
        ),
        ("user_emails", json!([]), "no recording user"),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        let answer = api.send(Method::POST, "/create-call", &bad).await;
        assert_eq!(answer, (400, json!({"errorMessage": error})));
    }

    let before = api.ok("/calls").await["pagination"]["matched"].as_u64();
    let (status, created) = api.send(Method::POST, "/create-call", &good).await;
    assert_eq!(status, 200);
    let id = created["call_id"].as_str().unwrap();
    let listed = api.ok("/calls?filterSourceId=upload-1").await;
    assert_eq!(listed["calls"][0]["id"], id);
    assert_eq!(listed["calls"][0]["type"], "RECORDING");
    let after = api.ok("/calls").await["pagination"]["matched"].as_u64();
    assert_eq!(after, before.map(|count| count + 1));
    let around = "/calls?filterTimeGt=2025-03-03T09:59:59Z&filterTimeLt=2025-03-03T10:00:01Z";
    assert_eq!(api.ok(around).await["calls"][0]["id"], id);
    let details = api.ok(&format!("/call-details?id={id}")).await;
    assert_eq!(details["call"]["transcript"][0]["text"], "Hi");
    assert!(api.sandbox.keys("calls").unwrap().contains(&id.to_owned()));

    let (_, again) = api.send(Method::POST, "/create-call", &good).await;
    assert_eq!(again["call_id"], id);
    assert!(again["error"].is_string());
    let mut overwriting = good.clone();
    overwriting["force_overwrite_old_call"] = true.into();
    overwriting["title"] = "New title".into();
    let (_, overwritten) = api.send(Method::POST, "/create-call", &overwriting).await;
    assert_eq!(overwritten, json!({"call_id": id}));
    let details = api.ok(&format!("/call-details?id={id}")).await;
    assert_eq!(details["call"]["title"], "New title");
}

#[tokio::test]
async fn calls_can_be_created_by_query_parameters() {
    let api = Api::start(CopilotOptions {
        limits: unlimited(),
        ..CopilotOptions::default()
    })
    .await;
    let user = api.ok("/users").await["users"][0]["email"].clone();
    let target = format!(
        "/create-call?source_id=q1&type=RINGOVER&call_time=2025-01-01T00:00:00.000Z\
         &user_emails={}&other_name=A&other_email=&other_phone=&audio_url=http://example.com/x",
        user.as_str().unwrap()
    );
    let request = api.request(Method::POST, &target);
    let (status, body) = crate::support::answer(request).await;
    assert_eq!(status, 200, "{body}");
    assert!(body["call_id"].is_string());
}
