//! The life of export jobs.

use std::time::Duration;

use headwater_sandbox::{JobOptions, JobOutcome, RevenueOptions};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Tenant, answer, list, options, quick, soon};

const NET_ARR: &str = "/export/forecast/net_arr";

/// Jobs that stay queued, or that run for ever.
async fn slow(scheduled: Duration) -> Tenant {
    Tenant::start(RevenueOptions {
        jobs: JobOptions {
            scheduled,
            running: Duration::from_secs(3_600),
            ..JobOptions::default()
        },
        ..options()
    })
    .await
}

#[tokio::test]
async fn a_job_is_queued_runs_and_is_done() {
    let tenant = Tenant::start(RevenueOptions {
        jobs: JobOptions {
            scheduled: Duration::from_millis(900),
            running: Duration::from_millis(900),
            ..JobOptions::default()
        },
        ..options()
    })
    .await;
    let id = tenant.order(NET_ARR, json!({})).await;
    assert_eq!(id.len(), 24);
    let first = tenant.job(&id).await;
    assert_eq!(first["status"], "SCHEDULED");
    assert_eq!(first["endTime"], Value::Null);
    let early = tenant.get(&format!("/export/jobs/{id}/results")).await;
    assert_eq!((early.0, &early.1["code"]), (400, &json!("invalid_jobId")));
    let mut seen = vec!["SCHEDULED".to_owned()];
    soon(async {
        while seen.last().unwrap() != "DONE" {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let status = tenant.status(&id).await;
            if *seen.last().unwrap() != status {
                seen.push(status);
            }
        }
    })
    .await;
    assert_eq!(seen, ["SCHEDULED", "STARTED", "DONE"]);
    let job = tenant.job(&id).await;
    let month = 30 * 24 * 3_600 * 1_000;
    let time = |name: &str| job[name].as_i64().unwrap();
    assert_eq!(time("endTime") - time("startTime"), 1_800);
    assert_eq!(time("expiredTime") - time("endTime"), month);
    let name = job["fileName"].as_str().unwrap();
    assert!(
        name.starts_with("clari_export_forecast_net_arr_2026_Q2_"),
        "{name}"
    );
    tenant.ok(&format!("/export/jobs/{id}/results")).await;
    assert_eq!(tenant.job(&id).await["downloads"], 1);
}

#[tokio::test]
async fn jobs_end_as_they_are_told_to() {
    let tenant = Tenant::usual().await;
    let word = "PAUSED".to_owned();
    tenant.revenue().script_jobs([
        JobOutcome::Failed,
        JobOutcome::Aborted,
        JobOutcome::Cancelled,
        JobOutcome::Expired,
        JobOutcome::Stuck,
        JobOutcome::UnknownStatus { word, polls: 2 },
        JobOutcome::Truncated {
            rows: true,
            cells: false,
        },
        JobOutcome::WrongContentType,
    ]);
    let mut statuses = Vec::new();
    let mut results = Vec::new();
    let mut last = Value::Null;
    for _ in 0..9 {
        let id = tenant.order(NET_ARR, json!({})).await;
        let mut polls = Vec::new();
        for _ in 0..3 {
            last = tenant.job(&id).await;
            polls.push(last["status"].as_str().unwrap().to_owned());
        }
        polls.dedup();
        statuses.push(polls.join(" "));
        let request = tenant.request(Method::GET, &format!("/export/jobs/{id}/results"));
        let response = request.send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap();
        results.push(format!(
            "{} {kind} {}",
            response.status().as_u16(),
            last["rowsTruncated"]
        ));
    }
    assert_eq!(
        statuses,
        [
            "FAILED",
            "ABORTED",
            "CANCELLED",
            "DONE",
            "STARTED",
            "PAUSED DONE",
            "DONE",
            "DONE",
            "DONE"
        ]
    );
    let refused = "400 application/json false";
    let good = "200 application/json false";
    assert_eq!(
        results,
        [
            refused,
            refused,
            refused,
            refused,
            refused,
            good,
            "200 application/json true",
            "200 application/octet-stream false",
            good
        ]
    );
    assert_eq!(last["cellsTruncated"], false);
}

#[tokio::test]
async fn a_job_can_vanish() {
    let tenant = Tenant::start(RevenueOptions {
        jobs: JobOptions {
            scheduled: Duration::from_millis(300),
            ..quick()
        },
        ..options()
    })
    .await;
    tenant.revenue().script_jobs([JobOutcome::Vanish]);
    let id = tenant.order(NET_ARR, json!({})).await;
    let target = format!("/export/jobs/{id}");
    let (status, body) = loop {
        let (status, body) = tenant.get(&target).await;
        if status != 200 {
            break (status, body);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((status, &body["code"]), (400, &json!("invalid_jobId")));
    assert_eq!(tenant.ok("/export/jobs").await, json!([]));
    assert_eq!(tenant.revenue().jobs()[0].job_id, id);
}

#[tokio::test]
async fn a_failed_job_with_retries_is_tried_again() {
    let tenant = Tenant::start(RevenueOptions {
        jobs: JobOptions {
            retry_delay: Duration::from_millis(400),
            ..quick()
        },
        ..options()
    })
    .await;
    tenant.revenue().script_jobs([JobOutcome::Failed]);
    let id = tenant.order(NET_ARR, json!({"schedule": "ONCE"})).await;
    assert_eq!(tenant.status(&id).await, "SCHEDULED");
    soon(async {
        while tenant.status(&id).await != "DONE" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn cancelling_stops_what_is_not_finished() {
    let tenant = slow(Duration::from_secs(3_600)).await;
    let id = tenant.order(NET_ARR, json!({})).await;
    let cancelled = json!({"status": "CANCELLED", "successful": true});
    assert_eq!(tenant.cancel(&id).await, (200, cancelled.clone()));
    assert_eq!(tenant.status(&id).await, "CANCELLED");
    let (status, body) = tenant.cancel(&id).await;
    assert_eq!(
        (status, &body["code"]),
        (400, &json!("export_failed_to_cancel"))
    );

    let tenant = slow(Duration::ZERO).await;
    let id = tenant.order(NET_ARR, json!({})).await;
    assert_eq!(tenant.status(&id).await, "STARTED");
    assert_eq!(tenant.cancel(&id).await, (200, cancelled));
    assert_eq!(tenant.status(&id).await, "ABORTED");

    let tenant = Tenant::usual().await;
    let id = tenant.order(NET_ARR, json!({})).await;
    assert_eq!(
        tenant.cancel(&id).await.1["code"],
        "export_failed_to_cancel"
    );
    assert_eq!(tenant.cancel("x").await.1["code"], "invalid_jobId");
    let request = tenant.request(Method::PATCH, &format!("/export/jobs/{id}"));
    assert_eq!(answer(request.json(&json!({"type": "PAUSE"}))).await.0, 400);
}

#[tokio::test]
async fn only_so_many_jobs_run_at_a_time() {
    let tenant = slow(Duration::ZERO).await;
    let idle = tenant.ok("/admin/limits").await;
    assert_eq!(
        idle,
        json!({"jobs": {
            "concurrentLimit": 3,
            "monthlyQuota": 1_000,
            "submittedJobIds": [],
            "availableConcurrentLimit": 3,
            "availableMonthlyQuota": 1_000,
        }})
    );
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(tenant.order(NET_ARR, json!({})).await);
    }
    for path in [NET_ARR, "/export/activity", "/export/audit/events"] {
        let (status, body) = tenant.post(path, json!({})).await;
        assert_eq!(
            (status, &body["code"]),
            (400, &json!("export_monthly_quota_reached"))
        );
        assert_eq!(body["source"], "Export");
        assert_eq!(body["namespace"], "exports");
        let message = body["message"].as_str().unwrap();
        assert!(
            message.contains("1000") && message.contains('3'),
            "{message}"
        );
    }
    let busy = tenant.ok("/admin/limits").await["jobs"].clone();
    assert_eq!(busy["runningJobIds"], json!(ids));
    assert_eq!(busy["availableConcurrentLimit"], 0);
    assert_eq!(busy["availableMonthlyQuota"], 997);
    tenant.cancel(&ids[0]).await;
    let limits = tenant.ok("/admin/limits").await["jobs"].clone();
    assert_eq!(limits["availableConcurrentLimit"], 1);
    assert_eq!(limits["availableMonthlyQuota"], 998);
    tenant.order(NET_ARR, json!({})).await;
}

#[tokio::test]
async fn the_quota_is_used_up_and_comes_back() {
    let tenant = Tenant::start(RevenueOptions {
        jobs: JobOptions {
            monthly_quota: 2,
            quota_window: Duration::from_secs(3),
            ..quick()
        },
        ..options()
    })
    .await;
    tenant.order(NET_ARR, json!({})).await;
    tenant.order(NET_ARR, json!({})).await;
    let (status, body) = tenant.post(NET_ARR, json!({})).await;
    assert_eq!(
        (status, &body["code"]),
        (400, &json!("export_monthly_quota_reached"))
    );
    assert_eq!(
        tenant.ok("/admin/limits").await["jobs"]["availableMonthlyQuota"],
        0
    );
    soon(async {
        while tenant.post(NET_ARR, json!({})).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn results_expire() {
    let tenant = Tenant::start(RevenueOptions {
        jobs: JobOptions {
            result_life: Duration::ZERO,
            ..quick()
        },
        ..options()
    })
    .await;
    let id = tenant.order(NET_ARR, json!({})).await;
    assert_eq!(tenant.status(&id).await, "DONE");
    let (status, body) = tenant.get(&format!("/export/jobs/{id}/results")).await;
    assert_eq!((status, &body["code"]), (400, &json!("invalid_jobId")));
}

#[tokio::test]
async fn every_order_is_recorded() {
    let tenant = Tenant::usual().await;
    let body = json!({"timePeriod": "2026_Q1", "unknown": 1});
    let first = tenant.order(NET_ARR, body.clone()).await;
    tenant
        .order("/export/activity", json!({"activityTypes": ["MEETING"]}))
        .await;
    let again = tenant.order(NET_ARR, body).await;
    tenant.status(&again).await;
    let jobs = tenant.revenue().jobs();
    let orders: Vec<u64> = jobs.iter().map(|job| job.orders).collect();
    assert_eq!(orders, [2, 1, 2]);
    assert_eq!((&jobs[0].job_id, &jobs[2].job_id), (&first, &again));
    assert_eq!(jobs[0].parameters, json!({"timePeriod": "2026_Q1"}));
    assert_eq!((jobs[0].polls, jobs[2].polls), (0, 1));
    assert_eq!(tenant.keys("export_jobs").len(), 3);

    let shown = answer(tenant.bare(Method::GET, "/_sandbox/jobs")).await.1;
    assert_eq!(shown, json!({ "jobs": jobs }));
    let listed = tenant.ok("/export/jobs").await;
    assert_eq!(listed[0]["jobId"], *again);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!(listed[1]["module"], "ACTIVITY");
}

#[tokio::test]
async fn jobs_are_scripted_by_request_too() {
    let tenant = Tenant::usual().await;
    let change = |body: Value| answer(tenant.bare(Method::POST, "/_sandbox/change").json(&body));
    let outcomes = json!(["failed", {"unknown_status": {"word": "ODD", "polls": 1}}]);
    assert_eq!(change(json!({"next_jobs": outcomes})).await.0, 200);
    for expected in ["FAILED", "ODD", "DONE"] {
        let id = tenant.order(NET_ARR, json!({})).await;
        assert_eq!(tenant.status(&id).await, expected);
    }
    change(json!({"today": "2025-08-02", "audit_events": 3, "forecast_changes": 1})).await;
    let result = tenant.ok("/forecast/net_arr").await;
    assert_eq!(list(&result, "timePeriods")[0]["timePeriodId"], "2026_Q3");
    assert_eq!(change(json!({"nonsense": 1})).await.0, 400);
    assert_eq!(
        answer(tenant.bare(Method::GET, "/_sandbox/nothing"))
            .await
            .0,
        404
    );
}
