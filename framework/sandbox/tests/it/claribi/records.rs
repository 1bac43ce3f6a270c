//! The form of records, alone and in lists.

use headwater_sandbox::ClaribiOptions;
use headwater_sandbox::claribi::{Ids, SourceField, Tier};
use serde_json::{Value, json};

use crate::claribi::support::{Claribi, LISTS, id_text, unlimited};

#[tokio::test]
async fn sources_are_in_every_state() {
    let api = Claribi::unlimited().await;
    let sources = api.read_all("/api/data-sources/").await;
    let of_status = |status: &str| -> Vec<Value> {
        let is_match = |source: &&Value| source["status"] == status;
        sources.iter().filter(is_match).cloned().collect()
    };
    for status in ["active", "paused", "error", "preprocessing"] {
        assert!(!of_status(status).is_empty(), "{status}");
    }
    let never_synced = |source: &&Value| source["last_synced_at"].is_null();
    assert!(
        of_status("preprocessing")
            .iter()
            .all(|source| never_synced(&source))
    );
    assert!(
        of_status("active")
            .iter()
            .any(|source| never_synced(&source))
    );
    let long_ago = |source: &Value| source["last_synced_at"].as_str() < Some("2025-06-25");
    assert!(
        of_status("active")
            .iter()
            .any(|source| !source["last_synced_at"].is_null() && long_ago(source))
    );
    for source in &sources {
        assert!(source["created_at"].as_str().unwrap() <= "2025-07-15T08:00:00Z");
        let id = id_text(source);
        let detail = api.ok(&format!("/api/data-sources/{id}/")).await;
        let has_message = detail["error_message"].is_string();
        let status = source["status"].as_str().unwrap();
        assert_eq!(has_message, ["error", "paused"].contains(&status));
        assert_eq!(
            detail["row_count"].is_null(),
            source["last_synced_at"].is_null()
        );
    }
}

#[tokio::test]
async fn single_records_have_the_fields_of_the_list_and_more() {
    for ids in [Ids::Int, Ids::Uuid] {
        let api = Claribi::start(ClaribiOptions { ids, ..unlimited() }).await;
        for ((_, path), more) in LISTS.into_iter().zip([
            &["updated_at", "error_message", "row_count", "sync_schedule"][..],
            &[
                "description",
                "web_url",
                "report_period_start",
                "report_period_end",
                "insights",
                "data_quality_metrics",
            ],
            &["web_url", "configuration", "analysis_metadata"],
        ]) {
            for record in api.read_all(path).await.into_iter().take(12) {
                let detail = api.ok(&format!("{path}{}/", id_text(&record))).await;
                let mut expected = record.as_object().unwrap().clone();
                for field in more {
                    assert!(!expected.contains_key(*field), "{path} {field}");
                    expected.insert((*field).to_owned(), detail[*field].clone());
                }
                assert_eq!(detail, Value::Object(expected));
            }
        }
    }
}

#[tokio::test]
async fn completed_reports_can_be_downloaded() {
    let api = Claribi::unlimited().await;
    for report in api.read_all("/api/reports/").await {
        let is_completed = report["status"] == "completed";
        assert_eq!(report["download_url"].is_string(), is_completed);
        assert_eq!(report["completed_at"].is_string(), is_completed);
        if is_completed {
            let seconds = |field: &str| report[field].as_str().unwrap()[..19].to_owned();
            assert!(seconds("completed_at") >= seconds("created_at"));
        }
    }
}

#[tokio::test]
async fn the_same_seed_makes_the_same_records() {
    let start = |seed| {
        Claribi::start(ClaribiOptions {
            seed,
            ..unlimited()
        })
    };
    let (one, same, other) = (start(7).await, start(7).await, start(8).await);
    for target in [
        "/api/data-sources/?page=last",
        "/api/dashboards/?page=last",
        "/api/auth/status/",
        "/api/billing/usage/",
    ] {
        let results = |answer: Value| match answer.get("results") {
            Some(results) => results.clone(),
            None => answer,
        };
        let expected = results(one.ok(target).await);
        assert_eq!(results(same.ok(target).await), expected);
        assert_ne!(results(other.ok(target).await), expected);
    }
}

/// A reader that turns numbers into its own and back would change these.
#[tokio::test]
async fn numbers_come_in_many_spellings() {
    let api = Claribi::of_size(100).await;
    let page = api.get("/api/data-sources/?page_size=100").await.text;
    for spelling in [".0,", ".30000000000000004,", "e+16,", ":900719925474099"] {
        assert!(page.contains(spelling), "{spelling}");
    }
}

#[tokio::test]
async fn the_type_of_a_source_has_two_names() {
    for (source_field, present, absent) in [
        (SourceField::Type, "type", "source_type"),
        (SourceField::SourceType, "source_type", "type"),
    ] {
        let api = Claribi::start(ClaribiOptions {
            source_field,
            ..unlimited()
        })
        .await;
        let sources = api.read_all("/api/data-sources/").await;
        assert!(sources.iter().all(|source| source[present].is_string()));
        assert!(sources.iter().all(|source| source.get(absent).is_none()));
    }
}

#[tokio::test]
async fn single_records_can_be_missing() {
    let api = Claribi::unlimited().await;
    let id = &api.ok("/api/reports/").await["results"][0]["id"];
    api.sandbox.set_faults("missing_details=1".parse().unwrap());
    assert_eq!(api.get(&format!("/api/reports/{id}/")).await.status, 404);
    api.sandbox.set_faults("missing_details=2".parse().unwrap());
    let mut statuses = Vec::new();
    for report in api.read_all("/api/reports/").await {
        let id = &report["id"];
        statuses.push(api.get(&format!("/api/reports/{id}/")).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 60);

    let without = Claribi::start(ClaribiOptions {
        details: false,
        ..unlimited()
    })
    .await;
    for (_, path) in LISTS {
        let id = &without.ok(path).await["results"][0]["id"];
        assert_eq!(without.get(&format!("{path}{id}/")).await.status, 404);
    }
}

#[tokio::test]
async fn the_account_and_its_usage_follow_the_plan() {
    for (tier, name, credits, sources) in [
        (Tier::Trial, "trial", 50, Value::Null),
        (Tier::Starter, "starter", 500, json!(10)),
        (Tier::Professional, "professional", 1_500, json!(15)),
        (Tier::Enterprise, "enterprise", 5_000, json!(25)),
    ] {
        let api = Claribi::start(ClaribiOptions {
            tier,
            ..unlimited()
        })
        .await;
        let status = api.ok("/api/auth/status/").await;
        assert_eq!(status["organization"]["plan"], name);
        assert_eq!(status["user"]["email"], headwater_sandbox::claribi::EMAIL);
        let usage = api.ok("/api/billing/usage/").await;
        assert_eq!(usage["subscription_tier"], name);
        assert_eq!(usage["ai_credits_limit"], credits);
        assert_eq!(usage["data_sources_limit"], sources);
        assert_eq!(usage["data_sources_used"], 40);
        assert_eq!(usage["trial_ends_at"].is_string(), tier == Tier::Trial);
        let left = usage["ai_credits_remaining"].as_f64().unwrap();
        assert_eq!(
            usage["ai_credits_used"].as_f64().unwrap() + left,
            f64::from(credits)
        );
        assert_eq!(
            status["organization"]["ai_credits_remaining"],
            usage["ai_credits_remaining"]
        );
    }
}

#[tokio::test]
async fn a_time_of_choice_moves_all_records() {
    let api = Claribi::start(ClaribiOptions {
        as_of: "2031-02-03T04:05:06Z".parse().unwrap(),
        ..unlimited()
    })
    .await;
    let newest = &api.ok("/api/reports/").await["results"][0];
    let created = newest["created_at"].as_str().unwrap();
    assert!(
        ("2031-01-20".."2031-02-03T04:05:07").contains(&created),
        "{created}"
    );
}
