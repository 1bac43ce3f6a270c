//! The content of a forecast export.

use std::collections::BTreeSet;

use headwater_sandbox::RevenueOptions;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Tenant, answer, keys, list, options};

const ENTRY_KEY: [&str; 4] = ["timePeriodId", "timeFrameId", "userId", "fieldId"];

#[tokio::test]
async fn a_full_export_holds_exactly_what_the_keys_say() {
    let tenant = Tenant::usual().await;
    for forecast in ["net_arr", "net_bookings", "deal_owner"] {
        for period in ["2026_Q2", "2026_Q1"] {
            let body = json!({"timePeriod": period, "includeHistorical": true});
            let result = tenant
                .export(&format!("/export/forecast/{forecast}"), body)
                .await;
            for (array, stream, members) in [
                ("entries", "forecast_entries", &ENTRY_KEY[..]),
                ("users", "forecast_users", &["userId"]),
                ("fields", "forecast_fields", &["fieldId"]),
                ("timePeriods", "time_periods", &["timePeriodId"]),
            ] {
                let stream = format!("{stream}/{forecast}/{period}");
                let found = keys(list(&result, array), members);
                assert_eq!(found, tenant.keys(&stream), "{stream}");
                let distinct: BTreeSet<&String> = found.iter().collect();
                assert_eq!(distinct.len(), found.len());
            }
            let frames = keys(list(&result, "timeFrames"), &["timeFrameId"]);
            let frames: Vec<String> = frames.iter().map(|id| format!("{period}|{id}")).collect();
            assert_eq!(
                frames,
                tenant.keys(&format!("time_frames/{forecast}/{period}"))
            );
        }
    }
    assert_eq!(
        tenant.keys("forecast_entries"),
        tenant.keys("forecast_entries/net_arr")
    );
    assert_eq!(tenant.sandbox.keys("forecast_entries/nothing"), None);
    assert_eq!(tenant.sandbox.keys("nothing"), None);
}

#[tokio::test]
async fn weeks_are_unordered_and_overlap_the_quarters() {
    let tenant = Tenant::usual().await;
    let full = |period: &str| json!({"timePeriod": period, "includeHistorical": true});
    let this = tenant
        .export("/export/forecast/net_arr", full("2026_Q2"))
        .await;
    let last = tenant
        .export("/export/forecast/net_arr", full("2026_Q1"))
        .await;
    let texts = |result: &Value, member: &str| -> Vec<String> {
        let frames = list(result, "timeFrames").iter();
        frames
            .map(|frame| frame[member].as_str().unwrap().to_owned())
            .collect()
    };
    let weeks = texts(&this, "timeFrameId");
    let mut sorted = weeks.clone();
    sorted.sort();
    assert_ne!(weeks, sorted);
    assert_eq!(this["timePeriods"][0]["startDate"], "2025-05-01");
    assert!(
        texts(&this, "startDate")
            .iter()
            .any(|day| day.as_str() < "2025-05-01")
    );
    let earlier: BTreeSet<String> = texts(&last, "timeFrameId").into_iter().collect();
    assert_eq!(
        sorted.iter().filter(|week| earlier.contains(*week)).count(),
        1
    );
    // The week of today is the last one.
    assert_eq!(sorted.last().unwrap(), "TF:2025-06-18");
}

#[tokio::test]
async fn without_history_there_is_the_latest_week_only() {
    let tenant = Tenant::usual().await;
    for (period, week) in [("2026_Q2", "TF:2025-06-18"), ("2026_Q1", "TF:2025-04-30")] {
        let body = json!({"timePeriod": period});
        let exported = tenant.export("/export/forecast/net_arr", body).await;
        let target = format!("/forecast/net_arr?timePeriod={period}&exportFormat=JSON");
        assert_eq!(tenant.ok(&target).await, exported);
        let frames = list(&exported, "timeFrames");
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0]["timeFrameId"], week);
    }
    assert_eq!(tenant.revenue().jobs().len(), 2, "only exports are jobs");
}

#[tokio::test]
async fn an_unknown_quarter_silently_means_the_current_one() {
    let tenant = Tenant::usual().await;
    for period in ["2030_Q1", "1999_Q2", "whatever"] {
        let target = format!("/forecast/net_arr?timePeriod={period}");
        let result = tenant.ok(&target).await;
        assert_eq!(result["timePeriods"][0]["timePeriodId"], "2026_Q2");
        let result = tenant
            .export("/export/forecast/net_arr", json!({"timePeriod": period}))
            .await;
        assert_eq!(result["timePeriods"][0]["timePeriodId"], "2026_Q2");
    }
}

#[tokio::test]
async fn only_the_values_that_are_asked_for_are_there() {
    let tenant = Tenant::usual().await;
    let members = async |types: &[&str]| {
        let types: Vec<String> = types
            .iter()
            .map(|name| format!("typesToExport={name}"))
            .collect();
        let target = format!("/forecast/net_arr?{}", types.join("&"));
        let result = tenant.ok(&target).await;
        let mut members = BTreeSet::new();
        for entry in list(&result, "entries") {
            members.extend(entry.as_object().unwrap().keys().cloned());
        }
        for common in [&ENTRY_KEY[..], &["currency"]].concat() {
            assert!(members.remove(common), "{common}");
        }
        let kinds = list(&result, "fields").iter();
        let kinds: BTreeSet<String> = kinds
            .map(|field| field["fieldType"].as_str().unwrap().to_owned())
            .collect();
        (
            Vec::from_iter(members).join(" "),
            Vec::from_iter(kinds).join(" "),
        )
    };
    let expect = |members: &str, kinds: &str| (members.to_owned(), kinds.to_owned());
    let updated = "isUpdated updatedBy updatedOn";
    assert_eq!(
        members(&[]).await,
        expect(&format!("forecastValue {updated}"), "FORECAST")
    );
    assert_eq!(
        members(&["forecast"]).await,
        expect("forecastValue", "FORECAST")
    );
    assert_eq!(
        members(&["forecast_updated"]).await,
        expect(updated, "FORECAST")
    );
    assert_eq!(members(&["quota"]).await, expect("quotaValue", "QUOTA"));
    assert_eq!(
        members(&["adjustment"]).await,
        expect("adjustedBy adjustedOn adjustmentValue", "FORECAST")
    );
    assert_eq!(
        members(&["crm_total"]).await,
        expect("aggregationTotal", "CRM")
    );
    assert_eq!(
        members(&["quota", "crm_closed"]).await,
        expect("aggregationTotal quotaValue", "CRM QUOTA")
    );
    let counts = tenant.ok("/forecast/deal_owner").await;
    assert_eq!(counts["entries"][0]["currency"], Value::Null);
}

#[tokio::test]
async fn numbers_are_spelled_in_many_ways() {
    let tenant = Tenant::start(RevenueOptions {
        forecast_entries: 20_000,
        ..options()
    })
    .await;
    let request = tenant.request(Method::GET, "/forecast/net_arr");
    let text = request.send().await.unwrap().text().await.unwrap();
    for spelling in [
        "12345678901234567890.10",
        "572.0",
        "0.0",
        "null",
        "0.30000000000000004",
        "-",
    ] {
        assert!(
            text.contains(&format!("\"forecastValue\":{spelling}")),
            "{spelling}"
        );
    }
}

#[tokio::test]
async fn users_form_a_hierarchy_that_scopes_cut() {
    let tenant = Tenant::usual().await;
    let result = tenant.ok("/forecast/net_arr").await;
    let users = list(&result, "users");
    let roles: BTreeSet<&str> = users
        .iter()
        .map(|user| user["hierarchyId"].as_str().unwrap())
        .collect();
    assert_eq!(roles.len(), users.len());
    let heads: Vec<&Value> = users
        .iter()
        .filter(|user| user["parentHierarchyId"] == "")
        .collect();
    assert_eq!(heads.len(), 1);
    for user in users.iter().filter(|user| user["parentHierarchyId"] != "") {
        assert!(roles.contains(user["parentHierarchyId"].as_str().unwrap()));
        let (_, role) = user["userId"].as_str().unwrap().split_once(':').unwrap();
        assert_eq!(user["hierarchyId"], role);
    }
    // A scope is a text, an object, or that object as a text.
    assert!(users.iter().any(|user| user["scopeId"].is_object()));
    let is_json = |user: &Value| {
        user["scopeId"]
            .as_str()
            .is_some_and(|text| text.starts_with('{'))
    };
    assert!(users.iter().any(is_json));

    let manager = users
        .iter()
        .find(|user| user["hierarchyName"] == "Sales Manager 0000001")
        .unwrap();
    let scope = manager["scopeId"].as_str().unwrap();
    let result = tenant
        .ok(&format!("/forecast/net_arr?scopeId={scope}"))
        .await;
    let team = list(&result, "users");
    assert!(team.len() > 1 && team.len() < users.len());
    let role = &manager["hierarchyId"];
    assert!(
        team.iter()
            .all(|user| user["hierarchyId"] == *role || user["parentHierarchyId"] == *role)
    );
    // One person has two roles.
    let people = team
        .iter()
        .map(|user| user["userId"].as_str().unwrap().split_once(':').unwrap().0);
    assert!(people.collect::<BTreeSet<_>>().len() < team.len());

    let (status, body) = tenant.get("/forecast/net_arr?scopeId=5::MGR").await;
    assert_eq!((status, &body["code"]), (401, &json!("no_optin")));
}

#[tokio::test]
async fn bad_options_are_refused_with_the_documented_codes() {
    let tenant = Tenant::usual().await;
    for (path, body, status, code) in [
        ("nothing", json!({}), 400, "no_such_forecast_config"),
        ("", json!({}), 400, "missing_forecast_id"),
        ("no_access", json!({}), 401, "no_optin"),
        (
            "net_arr",
            json!({"typesToExport": ["crm_total"]}),
            400,
            "type_not_supported",
        ),
        (
            "net_arr",
            json!({"typesToExport": ["forecast_value"]}),
            400,
            "bad_request",
        ),
        (
            "net_arr",
            json!({"typesToExport": "forecast"}),
            400,
            "bad_request",
        ),
        ("net_arr", json!({"currency": "XXX"}), 400, "bad_request"),
        (
            "net_arr",
            json!({"exportFormat": "XML"}),
            400,
            "bad_request",
        ),
        ("net_arr", json!({"schedule": "TWICE"}), 400, "bad_request"),
        (
            "net_arr",
            json!({"includeHistorical": "yes"}),
            400,
            "bad_request",
        ),
        ("net_arr", json!({"timePeriod": 2026}), 400, "bad_request"),
        ("net_arr", json!([1]), 400, "bad_request"),
    ] {
        let (found, answer) = tenant
            .post(&format!("/export/forecast/{path}"), body.clone())
            .await;
        assert_eq!(
            (found, &answer["code"]),
            (status, &json!(code)),
            "{path} {body}"
        );
        assert_eq!(answer["namespace"], "fcw");
        assert_eq!(answer["errorId"].as_str().unwrap().len(), 36);
    }
    let values = tenant.post(
        "/export/forecast/net_arr",
        json!({"typesToExport": ["a", "quota", "b"]}),
    );
    assert!(
        values.await.1["message"]
            .as_str()
            .unwrap()
            .contains(r#"["a","b"]"#)
    );
    let malformed = tenant
        .request(Method::POST, "/export/forecast/net_arr")
        .body("{");
    assert_eq!(answer(malformed).await.1["code"], "bad_request");
    assert_eq!(tenant.revenue().jobs().len(), 0);
}

#[tokio::test]
async fn options_come_from_parameters_or_the_body() {
    let tenant = Tenant::usual().await;
    let target = "/export/forecast/net_arr?timePeriod=2026_Q1&typesToExport=quota&typesToExport=forecast\
                  &currency=EUR&includeHistorical=true";
    let by_query = tenant.export(target, json!({})).await;
    let body = json!({
        "timePeriod": "2026_Q1",
        "typesToExport": ["quota", "forecast"],
        "currency": "EUR",
        "includeHistorical": true,
        "scopeId": null,
    });
    assert_eq!(
        tenant.export("/export/forecast/net_arr", body).await,
        by_query
    );
    assert_eq!(
        by_query["entries"][0]["currency"],
        json!({"code": "EUR", "symbol": "€"})
    );
    let over = tenant
        .export(target, json!({"timePeriod": "2026_Q2"}))
        .await;
    assert_eq!(over["timePeriods"][0]["timePeriodId"], "2026_Q2");
    // Without any body at all.
    let bare = tenant.request(Method::POST, "/export/forecast/net_arr");
    assert_eq!(answer(bare).await.0, 200);
}

#[tokio::test]
async fn the_open_week_changes_and_the_quarter_passes() {
    let tenant = Tenant::usual().await;
    let before = tenant.ok("/forecast/net_arr").await;
    let last_quarter = tenant.ok("/forecast/net_arr?timePeriod=2026_Q1").await;
    tenant.revenue().change_forecasts();
    let after = tenant.ok("/forecast/net_arr").await;
    assert_ne!(before["entries"], after["entries"]);
    assert_eq!(
        keys(list(&before, "entries"), &ENTRY_KEY),
        keys(list(&after, "entries"), &ENTRY_KEY)
    );
    assert_eq!(
        tenant.ok("/forecast/net_arr?timePeriod=2026_Q1").await,
        last_quarter
    );
    tenant.revenue().set_today("2025-08-02".parse().unwrap());
    let result = tenant.ok("/forecast/net_arr").await;
    assert_eq!(result["timePeriods"][0]["timePeriodId"], "2026_Q3");
}

#[tokio::test]
async fn data_depend_on_the_seed_only() {
    let read = async |seed| {
        let tenant = Tenant::start(RevenueOptions { seed, ..options() }).await;
        let targets = ["/forecast/net_arr", "/forecast/deal_owner", "/audit/events"];
        let mut answers = Vec::new();
        for target in targets {
            let mut answer = tenant.ok(target).await;
            // Its host has the port of the sandbox.
            answer.as_object_mut().unwrap().remove("nextLink");
            answers.push(answer);
        }
        answers.push(tenant.export("/export/activity", json!({})).await);
        answers
    };
    assert_eq!(read(1).await, read(1).await);
    assert_ne!(read(1).await, read(2).await);
}
