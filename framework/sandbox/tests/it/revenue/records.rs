//! Activities and opportunities.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Tenant, answer, keys, list};

const ACTIVITY: &str = "/export/activity";

fn milliseconds(activity: &Value) -> i64 {
    let date = &activity["date"];
    date.as_i64()
        .unwrap_or_else(|| date.as_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn an_activity_export_holds_every_activity() {
    let tenant = Tenant::usual().await;
    let result = tenant.export(ACTIVITY, json!({})).await;
    let activities = list(&result, "activities");
    assert_eq!(keys(activities, &["activityId"]), tenant.keys("activities"));
    assert!(activities.iter().any(|one| one["date"].is_string()));
    assert!(activities.iter().any(|one| one["date"].is_number()));
    let types: BTreeSet<&str> = activities
        .iter()
        .map(|one| one["activityType"].as_str().unwrap())
        .collect();
    assert_eq!(types.len(), 5);
    let known = tenant.keys("opportunities");
    for activity in activities {
        for opportunity in list(activity, "opportunities") {
            assert!(known.contains(&opportunity["opportunityId"].as_str().unwrap().to_owned()));
        }
        let people = list(activity, "participants").iter();
        assert!(
            people
                .clone()
                .any(|one| one["isInternal"] == true && one["sfdcUserId"] != "")
        );
        assert!(
            people
                .clone()
                .any(|one| one["isInternal"] == false && one["sfdcUserId"] == "")
        );
    }
}

#[tokio::test]
async fn activities_are_selected_by_whole_days_and_types() {
    let tenant = Tenant::usual().await;
    let all = tenant.export(ACTIVITY, json!({})).await;
    let select = async |body: Value| tenant.export(ACTIVITY, body).await["activities"].clone();
    let within = |from: i64, to: i64| -> Value {
        let all = list(&all, "activities").iter();
        all.filter(|one| (from..to).contains(&milliseconds(one)))
            .cloned()
            .collect()
    };
    let june = 1_748_736_000_000;
    let day = 24 * 3_600_000;
    let days = json!({"startDate": "2025-06-01T15:00:00Z", "endDate": "2025-06-05T00:00:00Z"});
    let found = select(days).await;
    assert_eq!(found, within(june, june + 5 * day));
    assert!(!found.as_array().unwrap().is_empty());
    let days =
        json!({"startDate": "2025-06-01T15:00:00-08:00", "endDate": "2025-06-05T00:00:00-08:00"});
    let shift = 8 * 3_600_000;
    assert_eq!(
        select(days).await,
        within(june + shift, june + 5 * day + shift)
    );
    assert_eq!(
        select(json!({"startDate": "2025-06-10T00:00:00Z"})).await,
        within(june + 9 * day, i64::MAX)
    );
    assert_eq!(
        select(json!({"endDate": "2020-01-01T00:00:00Z"})).await,
        json!([])
    );
    let types = json!({"activityTypes": ["MEETING", "EMAIL_SENT"], "exportFormat": "JSON"});
    let found = select(types).await;
    let kinds = found
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["activityType"].as_str().unwrap());
    assert_eq!(
        Vec::from_iter(kinds.collect::<BTreeSet<_>>()),
        ["EMAIL_SENT", "MEETING"]
    );
}

#[tokio::test]
async fn bad_activity_exports_are_refused() {
    let tenant = Tenant::usual().await;
    for body in [
        json!({"activityTypes": ["meeting"]}),
        json!({"activityTypes": "MEETING"}),
        json!({"startDate": "yesterday"}),
        json!({"endDate": 5}),
        json!({"exportFormat": "CSV"}),
        json!([]),
    ] {
        let (status, answer) = tenant.post(ACTIVITY, body.clone()).await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!("Bad request")),
            "{body}"
        );
        assert_eq!(
            (&answer["namespace"], &answer["orgId"]),
            (&json!("activity"), &json!("101"))
        );
    }
}

#[tokio::test]
async fn opportunities_are_found_by_their_ids() {
    let tenant = Tenant::usual().await;
    let ids = tenant.keys("opportunities");
    let target = |ids: &[String]| {
        let pairs: Vec<String> = ids.iter().map(|id| format!("oppId={id}")).collect();
        format!("/opportunity?{}", pairs.join("&"))
    };
    let found = tenant.ok(&target(&ids)).await;
    assert_eq!(keys(found.as_array().unwrap(), &["id"]), ids);
    let values = list(&found[0], "fields")
        .iter()
        .map(|field| &field["value"]);
    let values: Vec<&Value> = values.collect();
    assert!(values.iter().any(|value| value.is_number()));
    assert!(values.iter().any(|value| value.is_string()));
    assert!(values.iter().any(|value| value.is_boolean()));
    assert!(values.iter().any(|value| value.is_object()));
    assert!(values.iter().any(|value| value.is_array()));
    assert!(values.iter().any(|value| value.is_null()));
    // Unknown ids are left out.
    let mixed = [
        "006000000000000000".to_owned(),
        ids[0].clone(),
        "x".to_owned(),
    ];
    let found = tenant.ok(&target(&mixed)).await;
    assert_eq!(keys(found.as_array().unwrap(), &["id"]), [ids[0].as_str()]);
    let hundred = vec![ids[0].clone(); 100];
    assert_eq!(
        tenant.ok(&target(&hundred)).await.as_array().unwrap().len(),
        100
    );
    for query in [
        String::new(),
        target(&[&hundred[..], &ids[..1]].concat()).split_off(13),
    ] {
        let request = tenant.request(Method::GET, &format!("/opportunity?{query}"));
        let (status, body) = answer(request).await;
        assert_eq!((status, &body[0]["statusCode"]), (400, &json!(400)));
        assert_eq!(body[0]["reaspnPhrase"], "Bad Request");
    }
}
