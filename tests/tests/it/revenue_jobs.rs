//! Clari Revenue, export jobs: whatever happens on the way, nothing is ordered twice and nothing is lost.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use acceptance::{
    revenue::{
        Between, FORECAST, Fate, Host, Pass, answer, answer_with, ask, failure, keys, open,
        open_in, options, ordered_once, outside, tenant, truth,
    },
    unhurried,
};
use bytes::Bytes;
use headwater_core::{Kind, Timestamp};
use headwater_host::Receipt;
use headwater_sandbox::{JobOptions, JobOutcome, LimitsEndpoint, RevenueOptions, Sandbox};
use serde_json::{Value, json};

/// A read whose streams need three export jobs.
const THREE_JOBS: [&str; 3] = ["forecast_entries", "activities", "audit_events"];

fn three_jobs(sandbox: &Sandbox) -> Value {
    answer_with(&sandbox.base_url(), json!({ "audit_export_days": 1 }))
}

/// Every job is polled twice before it is done.
async fn tenant_with_polls(entries: u64) -> Sandbox {
    let sandbox = tenant(RevenueOptions {
        forecast_entries: entries,
        ..options()
    })
    .await;
    let polled = || JobOutcome::UnknownStatus {
        word: "QUEUED".to_owned(),
        polls: 1,
    };
    outside(&sandbox).script_jobs([polled(), polled(), polled()]);
    sandbox
}

fn is_order(request: &http::Request<Bytes>) -> bool {
    request.method() == http::Method::POST
}

/// Meets the first order with a fate.
fn first_order(fate: Fate) -> Between {
    let orders = AtomicUsize::new(0);
    Between::new(move |_, request| {
        if is_order(request) && orders.fetch_add(1, SeqCst) == 0 {
            return fate.clone();
        }
        Fate::Arrives
    })
}

/// Reads until the end, or until a request is stuck: then the process dies. True when it did.
async fn dies(host: &Host, between: &Between, answer: Value, wanted: &[&str]) -> bool {
    let context = between.context();
    tokio::select! {
        biased;
        () = between.is_stuck() => true,
        read = host.read(context.clone(), answer, wanted) => {
            let summary = read.unwrap();
            assert!(summary.failure().is_none(), "{summary:?}");
            false
        }
    }
}

/// Asserts that a read has brought everything that three jobs give, once.
fn is_complete(host: &Host, sandbox: &Sandbox, wanted: &[&str], case: &str) {
    for stream in wanted {
        assert_eq!(
            keys(stream, &host.records(stream)),
            truth(sandbox, stream, ""),
            "{stream}, {case}"
        );
    }
}

async fn killed_at_every_request(fate: Fate) {
    let mut deaths = 0;
    for at in 0.. {
        let sandbox = tenant_with_polls(60).await;
        let host = Host::default();
        let fate = fate.clone();
        let between = Between::new(move |number, _| match number == at {
            true => fate.clone(),
            false => Fate::Arrives,
        });
        if !dies(&host, &between, three_jobs(&sandbox), &THREE_JOBS).await {
            break;
        }
        deaths += 1;
        let case = format!("killed at request {at}");
        let rest = host
            .read(unhurried::context(), three_jobs(&sandbox), &THREE_JOBS)
            .await
            .unwrap();
        assert!(rest.failure().is_none(), "{case}: {rest:?}");
        assert_eq!(ordered_once(&sandbox).len(), 3, "{case}");
        is_complete(&host, &sandbox, &THREE_JOBS, &case);
    }
    // Limits; mark, look, order, two polls and the result of each job.
    assert!(deaths >= 19, "{deaths} deaths");
}

#[tokio::test(start_paused = true)]
async fn killed_before_any_request_arrives_every_export_is_ordered_once() {
    killed_at_every_request(Fate::Never).await;
}

#[tokio::test(start_paused = true)]
async fn killed_after_any_request_arrived_every_export_is_ordered_once() {
    killed_at_every_request(Fate::AnswerNever).await;
}

#[tokio::test(start_paused = true)]
async fn killed_again_and_again_every_export_is_ordered_once() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..4 {
        let sandbox = tenant_with_polls(60).await;
        let host = Host::default();
        let mut runs = 0;
        loop {
            runs += 1;
            let at = random.usize(2..9) + runs;
            let fate = random.choice([Fate::Never, Fate::AnswerNever]).unwrap();
            let between = Between::new(move |number, _| match number == at {
                true => fate.clone(),
                false => Fate::Arrives,
            });
            if !dies(&host, &between, three_jobs(&sandbox), &THREE_JOBS).await {
                break;
            }
        }
        assert!(runs > 1);
        assert_eq!(ordered_once(&sandbox).len(), 3, "seed {seed}");
        is_complete(&host, &sandbox, &THREE_JOBS, &format!("seed {seed}"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_answer_is_lost_is_found_and_not_placed_again() {
    for fate in [
        Fate::AnswerLost,
        Fate::AnswerNever,
        Fate::AnsweredBy(500),
        Fate::AnsweredBy(502),
        Fate::AnsweredBy(503),
        Fate::AnsweredBy(504),
    ] {
        let sandbox = tenant_with_polls(60).await;
        let host = Host::default();
        let between = first_order(fate.clone());
        let read = host.read(between.context(), three_jobs(&sandbox), &THREE_JOBS);
        let summary = read.await.unwrap();
        assert!(summary.failure().is_none(), "{fate:?}: {summary:?}");
        assert_eq!(ordered_once(&sandbox).len(), 3, "{fate:?}");
        is_complete(&host, &sandbox, &THREE_JOBS, &format!("{fate:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_did_not_arrive_is_placed() {
    for fate in [
        Fate::Never,
        Fate::Instead(500, "{}".to_owned()),
        Fate::Instead(503, "{}".to_owned()),
        Fate::Instead(429, "{}".to_owned()),
    ] {
        let sandbox = tenant_with_polls(60).await;
        let host = Host::default();
        let between = first_order(fate.clone());
        let read = host.read(between.context(), three_jobs(&sandbox), &THREE_JOBS);
        let summary = read.await.unwrap();
        assert!(summary.failure().is_none(), "{fate:?}: {summary:?}");
        assert_eq!(ordered_once(&sandbox).len(), 3, "{fate:?}");
        is_complete(&host, &sandbox, &THREE_JOBS, &format!("{fate:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_wire_do_not_order_twice() {
    // The faults hit whatever comes: questions, orders, results.
    for faults in ["reset=7", "truncate=3", "status=502:9", "status=429:4"] {
        let sandbox = tenant_with_polls(60).await;
        let host = Host::default();
        sandbox.set_faults(faults.parse().unwrap());
        // What one run does not get done, another one does.
        for _ in 0..5 {
            let read = host.read(unhurried::context(), three_jobs(&sandbox), &THREE_JOBS);
            if read.await.is_ok_and(|summary| summary.failure().is_none()) {
                break;
            }
        }
        assert_eq!(ordered_once(&sandbox).len(), 3, "{faults}");
        is_complete(&host, &sandbox, &THREE_JOBS, faults);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_names_no_job_is_an_error_and_the_next_read_finds_the_job() {
    let sandbox = tenant_with_polls(60).await;
    let host = Host::default();
    let between = first_order(Fate::AnsweredBy(200));
    let wanted = ["forecast_entries"];
    let read = host.read(between.context(), answer(&sandbox.base_url()), &wanted);
    let summary = read.await.unwrap();
    let (kind, message) = failure(&summary, "forecast_entries").unwrap();
    assert_eq!(kind, Kind::DataInvalid);
    assert!(message.contains("without a job id"), "{message}");
    let read = host.read(unhurried::context(), answer(&sandbox.base_url()), &wanted);
    assert!(read.await.unwrap().failure().is_none());
    assert_eq!(ordered_once(&sandbox).len(), 1);
    is_complete(&host, &sandbox, &wanted, "the second read");
}

/// Reads the entries of a tenant whose next jobs come to these ends.
struct Scripted {
    sandbox: Sandbox,
    host: Host,
    answer: Value,
}

impl Scripted {
    async fn new(outcomes: impl IntoIterator<Item = JobOutcome>, fields: Value) -> Self {
        let sandbox = tenant(RevenueOptions {
            forecast_entries: 60,
            ..options()
        })
        .await;
        outside(&sandbox).script_jobs(outcomes);
        Self {
            answer: answer_with(&sandbox.base_url(), fields),
            host: Host::default(),
            sandbox,
        }
    }

    async fn read(&self) -> Receipt {
        let wanted = ["forecast_entries"];
        let read = self
            .host
            .read(unhurried::context(), self.answer.clone(), &wanted);
        read.await.unwrap()
    }

    fn jobs(&self) -> usize {
        outside(&self.sandbox).jobs().len()
    }

    /// Reads to the end.
    async fn completes(&self, case: &str) {
        let summary = self.read().await;
        assert!(summary.failure().is_none(), "{case}: {summary:?}");
        self.has_everything(case);
    }

    fn has_everything(&self, case: &str) {
        is_complete(&self.host, &self.sandbox, &["forecast_entries"], case);
    }

    /// Reads in vain.
    async fn fails(&self, kind: Kind, says: &str) {
        let summary = self.read().await;
        let (found, message) = failure(&summary, "forecast_entries").unwrap();
        assert_eq!(found, kind, "{message}");
        assert!(message.starts_with("read forecast_entries: "), "{message}");
        assert!(message.contains(says), "{says:?} is not in {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_is_ordered_again_as_often_as_it_is_set() {
    for attempts in 1..=3 {
        let failed = vec![JobOutcome::Failed; attempts];
        let scripted = Scripted::new(failed, json!({ "job_attempts": attempts })).await;
        scripted.fails(Kind::Unavailable, "failed at Clari").await;
        assert_eq!(scripted.jobs(), attempts);
        // The next read has its attempts anew.
        scripted.completes("after all attempts failed").await;
        assert_eq!(scripted.jobs(), attempts + 1);

        let failed = vec![JobOutcome::Failed; attempts - 1];
        let scripted = Scripted::new(failed, json!({ "job_attempts": attempts })).await;
        let summary = scripted.read().await;
        let notes = &summary.streams[0].notes;
        let told = notes.get("job_failed").map_or(0, |(times, _)| *times);
        assert_eq!(told, attempts as u64 - 1, "{notes:?}");
        scripted.has_everything("the last attempt");
        assert_eq!(scripted.jobs(), attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_ended_is_ordered_by_the_next_read_only() {
    for (outcome, says) in [
        (JobOutcome::Aborted, "aborted"),
        (JobOutcome::Cancelled, "cancelled"),
    ] {
        let scripted = Scripted::new([outcome], json!({ "job_attempts": 5 })).await;
        scripted.fails(Kind::Unavailable, says).await;
        assert_eq!(scripted.jobs(), 1);
        scripted.completes(says).await;
        assert_eq!(scripted.jobs(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_or_a_result_that_is_gone_is_ordered_again() {
    for outcome in [JobOutcome::Vanish, JobOutcome::Expired] {
        let case = format!("{outcome:?}");
        let scripted = Scripted::new([outcome.clone()], json!({})).await;
        scripted.completes(&case).await;
        assert_eq!(scripted.jobs(), 2, "{case}");

        let scripted = Scripted::new([outcome], json!({ "job_attempts": 1 })).await;
        scripted
            .fails(Kind::Unavailable, "no longer has the export job")
            .await;
        assert_eq!(scripted.jobs(), 1, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_shows_late_is_waited_for_and_not_ordered_again() {
    for is_not_found in [false, true] {
        for (status, result) in [(1, 0), (5, 0), (0, 1), (0, 5), (4, 4)] {
            let mut late = RevenueOptions {
                forecast_entries: 60,
                ..options()
            };
            late.behaviour.unknown_job_not_found = is_not_found;
            let sandbox = tenant(late).await;
            let outcome = || JobOutcome::Late {
                list: 3,
                status,
                result,
            };
            outside(&sandbox).script_jobs([outcome(), outcome(), outcome()]);
            let host = Host::default();
            let read = host.read(unhurried::context(), three_jobs(&sandbox), &THREE_JOBS);
            let summary = read.await.unwrap();
            let case = format!("status {status}, result {result}, 404: {is_not_found}");
            assert!(summary.failure().is_none(), "{case}: {summary:?}");
            assert_eq!(ordered_once(&sandbox).len(), 3, "{case}");
            is_complete(&host, &sandbox, &THREE_JOBS, &case);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_lists_lack_for_a_while_is_found_after_a_crash_and_after_a_lost_answer() {
    for fate in [
        Fate::AnswerNever,
        Fate::AnswerLost,
        Fate::AnsweredBy(503),
        Fate::AnsweredBy(200),
    ] {
        let sandbox = tenant(limited_to(1000)).await;
        outside(&sandbox).script_jobs([JobOutcome::Late {
            list: 5,
            status: 2,
            result: 2,
        }]);
        let host = Host::default();
        let wanted = ["forecast_entries"];
        let between = first_order(fate.clone());
        dies_or_fails(&host, &between, answer(&sandbox.base_url()), &wanted).await;
        let read = host.read(unhurried::context(), answer(&sandbox.base_url()), &wanted);
        let summary = read.await.unwrap();
        assert!(summary.failure().is_none(), "{fate:?}: {summary:?}");
        // One read finds it and is done; the next one is a pass of its own.
        let first = outside(&sandbox).jobs();
        assert!(first.len() <= 2, "{fate:?}: {first:#?}");
        assert!(first[0].downloads > 0, "{fate:?}: {first:#?}");
        let entries = keys("forecast_entries", &host.records("forecast_entries"));
        let all = truth(&sandbox, "forecast_entries", "");
        assert_eq!(entries.len(), all.len() * first.len(), "{fate:?}");
    }
}

/// Reads until the end, or until a request is stuck, or until an error.
async fn dies_or_fails(host: &Host, between: &Between, answer: Value, wanted: &[&str]) {
    let context = between.context();
    tokio::select! {
        biased;
        () = between.is_stuck() => {}
        _ = host.read(context.clone(), answer, wanted) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_never_shows_costs_one_more_and_then_one_a_run() {
    let never = || JobOutcome::Late {
        list: u32::MAX,
        status: u32::MAX,
        result: 0,
    };
    let scripted = Scripted::new([never(), never(), never()], json!({})).await;
    scripted
        .fails(Kind::Unavailable, "no longer has the export job")
        .await;
    assert_eq!(scripted.jobs(), 2);
    scripted
        .fails(Kind::Unavailable, "no longer has the export job")
        .await;
    assert_eq!(scripted.jobs(), 3);
    scripted.completes("the third read").await;
    assert_eq!(scripted.jobs(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_shows_after_a_run_gave_up_is_read_by_the_next_one() {
    let late = |status| JobOutcome::Late {
        list: 0,
        status,
        result: 0,
    };
    let scripted = Scripted::new([late(u32::MAX), late(15)], json!({})).await;
    scripted
        .fails(Kind::Unavailable, "no longer has the export job")
        .await;
    assert_eq!(scripted.jobs(), 2);
    scripted.completes("the second read").await;
    assert_eq!(scripted.jobs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_empty_at_first_is_waited_for() {
    let sandbox = tenant(limited_to(1000)).await;
    let asked = AtomicUsize::new(0);
    let between = Between::new(move |_, request| {
        let is_result = request.uri().path().ends_with("/results");
        match is_result && asked.fetch_add(1, SeqCst) < 3 {
            true => Fate::Instead(200, String::new()),
            false => Fate::Arrives,
        }
    });
    let host = Host::default();
    let wanted = ["forecast_entries"];
    let read = host.read(between.context(), answer(&sandbox.base_url()), &wanted);
    let summary = read.await.unwrap();
    assert!(summary.failure().is_none(), "{summary:?}");
    assert_eq!(ordered_once(&sandbox).len(), 1);
    is_complete(&host, &sandbox, &wanted, "");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_nobody_knows_is_waited_for_and_told() {
    let paused = JobOutcome::UnknownStatus {
        word: "PAUSED".to_owned(),
        polls: 3,
    };
    let scripted = Scripted::new([paused], json!({})).await;
    let summary = scripted.read().await;
    assert!(summary.failure().is_none(), "{summary:?}");
    let (times, sentence) = &summary.streams[0].notes["unknown_job_status"];
    assert_eq!(*times, 3);
    assert!(sentence.contains("\"PAUSED\""), "{sentence}");
    scripted.has_everything("after a pause");
    assert_eq!(scripted.jobs(), 1);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_a_later_read_goes_on_with_the_same_job() {
    let slow = JobOutcome::UnknownStatus {
        word: "RUNNING".to_owned(),
        polls: 20,
    };
    let scripted = Scripted::new([slow], json!({ "job_minutes": 1 })).await;
    scripted
        .fails(Kind::Unavailable, "is not finished after 1 minutes")
        .await;
    let polls = outside(&scripted.sandbox).jobs()[0].polls;
    assert!((5..20).contains(&polls), "{polls} polls in a minute");
    scripted.fails(Kind::Unavailable, "not finished").await;
    scripted.completes("the third read").await;
    assert_eq!(ordered_once(&scripted.sandbox).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_was_cut_off_is_delivered_and_is_an_error() {
    for (rows, cells, says) in [(true, false, "rows"), (false, true, "cells")] {
        let outcome = JobOutcome::Truncated { rows, cells };
        let scripted = Scripted::new([outcome], json!({})).await;
        let summary = scripted.read().await;
        let (kind, message) = failure(&summary, "forecast_entries").unwrap();
        assert_eq!((kind, kind.exit_code()), (Kind::DataInvalid, 6));
        assert!(message.contains(&format!("cut {says} off")), "{message}");
        scripted.has_everything(says);
        assert_eq!(scripted.jobs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_of_another_content_type_is_read() {
    let scripted = Scripted::new([JobOutcome::WrongContentType], json!({})).await;
    scripted.completes("octets").await;
}

/// Puts a job at the service that this connector knows nothing of.
async fn somebody_orders(sandbox: &Sandbox) {
    let (status, _) = ask(sandbox, "POST", "/export/forecast/deal_owner", "").await;
    assert_eq!(status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_full_service_is_waited_for_while_others_are_read() {
    let sandbox = tenant(RevenueOptions {
        forecast_entries: 60,
        jobs: JobOptions {
            concurrent_limit: 1,
            ..options().jobs
        },
        ..options()
    })
    .await;
    outside(&sandbox).script_jobs([JobOutcome::Stuck]);
    somebody_orders(&sandbox).await;
    let between = Between::new(|_, _| Fate::Arrives);
    // It leaves the place to others once they were refused, and read something else.
    let somebody = async {
        while !between
            .sent()
            .iter()
            .any(|one| one.path == "/v4/audit/events")
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let job = &outside(&sandbox).jobs()[0].job_id;
        let cancel = r#"{"type":"CANCEL"}"#;
        let (status, text) = ask(&sandbox, "PATCH", &format!("/export/jobs/{job}"), cancel).await;
        assert_eq!(status, 200, "{text}");
    };
    let host = Host::default();
    let answer = answer_with(&sandbox.base_url(), json!({ "job_minutes": 1440 }));
    let wanted = ["forecast_entries", "audit_events", "limits"];
    let read = host.read(between.context(), answer, &wanted);
    let (summary, ()) = tokio::join!(read, somebody);
    let summary = summary.unwrap();
    assert!(summary.failure().is_none(), "{summary:?}");
    is_complete(&host, &sandbox, &wanted[..2], "");
    assert_eq!(ordered_once(&sandbox).len(), 2);
    let sent = between.sent();
    let orders: Vec<usize> = (0..sent.len())
        .filter(|&at| sent[at].method == "POST")
        .collect();
    assert!(orders.len() > 1, "the first order was refused");
    let meanwhile = &sent[..orders[orders.len() - 1]];
    assert!(meanwhile.iter().any(|one| one.path == "/v4/audit/events"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stays_full_ends_the_wait_and_orders_nothing() {
    for limits in [
        LimitsEndpoint::On,
        LimitsEndpoint::Off,
        LimitsEndpoint::Forbidden,
    ] {
        let mut full = RevenueOptions {
            forecast_entries: 60,
            ..options()
        };
        full.jobs.concurrent_limit = 1;
        full.behaviour.limits = limits;
        let sandbox = tenant(full).await;
        outside(&sandbox).script_jobs([JobOutcome::Stuck]);
        somebody_orders(&sandbox).await;
        let host = Host::default();
        let answer = answer_with(&sandbox.base_url(), json!({ "job_minutes": 2 }));
        let wanted = ["forecast_entries", "audit_events"];
        let summary = host.read(unhurried::context(), answer, &wanted);
        let summary = summary.await.unwrap();
        let (kind, message) = failure(&summary, "forecast_entries").unwrap();
        assert_eq!(kind, Kind::QuotaExhausted, "{limits:?}: {message}");
        assert!(message.contains("no free slot"), "{limits:?}: {message}");
        assert_eq!(outside(&sandbox).jobs().len(), 1, "{limits:?}");
        is_complete(&host, &sandbox, &wanted[1..], "");
    }
}

fn limited_to(quota: u64) -> RevenueOptions {
    let mut limited = RevenueOptions {
        forecast_entries: 60,
        ..options()
    };
    limited.jobs.monthly_quota = quota;
    limited
}

/// In 30 days, as messages spell it.
fn in_thirty_days() -> String {
    let then = Timestamp::now() + headwater_core::SignedDuration::from_hours(30 * 24);
    then.strftime("%Y-%m-%d at ").to_string()
}

#[tokio::test(start_paused = true)]
async fn a_read_that_needs_more_jobs_than_are_left_orders_nothing() {
    let sandbox = tenant(limited_to(5)).await;
    somebody_orders(&sandbox).await;
    let host = Host::default();
    let fields = json!({ "forecast_ids": ["net_arr", "net_bookings"], "fiscal_periods": ["2026_Q1", "2026_Q2"] });
    let answer = answer_with(&sandbox.base_url(), fields);
    let wanted = ["time_frames", "activities"];
    let read = host.read(unhurried::context(), answer.clone(), &wanted);
    let error = read.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.kind().exit_code()),
        (Kind::QuotaExhausted, 5)
    );
    let message = error.to_string();
    for part in [
        "orders 5 ",
        "4 of 5 export jobs",
        "nothing was ordered",
        &in_thirty_days(),
    ] {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
    let delay = error.delay().unwrap().as_secs();
    assert!((29 * 86_400..=30 * 86_400).contains(&delay), "{delay}");
    assert_eq!(outside(&sandbox).jobs().len(), 1);
    assert!(
        !host.out().exists() && !host.state().exists(),
        "nothing was written"
    );

    let read = host.read(unhurried::context(), answer, &["time_frames"]);
    assert!(read.await.unwrap().failure().is_none());
    assert_eq!(ordered_once(&sandbox).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_used_up_in_between_is_told_with_its_date() {
    let sandbox = tenant(limited_to(1)).await;
    somebody_orders(&sandbox).await;
    let asked = AtomicUsize::new(0);
    let between = Between::new(move |_, request| {
        let is_first =
            request.uri().path() == "/v4/admin/limits" && asked.fetch_add(1, SeqCst) == 0;
        match is_first {
            true => Fate::Instead(
                200,
                json!({ "jobs": {
                    "concurrentLimit": 3, "monthlyQuota": 1,
                    "availableConcurrentLimit": 3, "availableMonthlyQuota": 1,
                }})
                .to_string(),
            ),
            false => Fate::Arrives,
        }
    });
    let host = Host::default();
    let read = host.read(
        between.context(),
        answer(&sandbox.base_url()),
        &["forecast_users"],
    );
    let summary = read.await.unwrap();
    let (kind, message) = failure(&summary, "forecast_users").unwrap();
    assert_eq!(kind, Kind::QuotaExhausted, "{message}");
    for part in [
        "all 1 export jobs",
        "nothing was ordered",
        &in_thirty_days(),
    ] {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
    assert_eq!(outside(&sandbox).jobs().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_paid_for_just_before_a_crash_is_not_refused_for_the_quota() {
    let sandbox = tenant(limited_to(1)).await;
    let host = Host::default();
    let wanted = ["forecast_entries"];
    let between = first_order(Fate::AnswerNever);
    assert!(dies(&host, &between, answer(&sandbox.base_url()), &wanted).await);
    let read = host.read(unhurried::context(), answer(&sandbox.base_url()), &wanted);
    let summary = read.await.unwrap();
    assert!(summary.failure().is_none(), "{summary:?}");
    assert_eq!(ordered_once(&sandbox).len(), 1);
    is_complete(&host, &sandbox, &wanted, "");
}

#[tokio::test(start_paused = true)]
async fn what_others_order_while_a_read_waits_for_room_is_not_taken_for_its_own() {
    let sandbox = tenant(limited_to(1000)).await;
    let full = r#"{"code":"export_monthly_quota_reached","namespace":"exports","message":"full"}"#;
    let between = first_order(Fate::Instead(400, full.to_owned()));
    let colleague = async {
        let patience = Instant::now();
        while !between.sent().iter().any(|sent| sent.method == "POST") {
            assert!(patience.elapsed().as_secs() < 60, "nothing is ordered");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let order = r#"{"currency":"EUR"}"#;
        assert_eq!(
            ask(&sandbox, "POST", "/export/forecast/net_arr", order)
                .await
                .0,
            200
        );
    };
    let host = Host::default();
    let wanted = ["forecast_entries"];
    let read = host.read(between.context(), answer(&sandbox.base_url()), &wanted);
    let (summary, ()) = tokio::join!(read, colleague);
    assert!(summary.unwrap().failure().is_none());
    is_complete(&host, &sandbox, &wanted, "");
    assert_eq!(outside(&sandbox).jobs().len(), 2);
    let entries = host.records("forecast_entries");
    let is_ours = |entry: &String| entry.contains(r#""code":"USD""#);
    assert!(
        entries.iter().all(is_ours),
        "the colleague's amounts were read"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopped_read_leaves_its_jobs_or_cancels_them() {
    for release in [false, true] {
        let sandbox = tenant(limited_to(3)).await;
        let slow = || JobOutcome::UnknownStatus {
            word: "STARTED".to_owned(),
            polls: 8,
        };
        outside(&sandbox).script_jobs([slow(), slow(), slow()]);
        let host = Host::default();
        let context = unhurried::context();
        let read = host.read_with(
            context.clone(),
            three_jobs(&sandbox),
            &THREE_JOBS,
            |options| {
                options.release = release;
            },
        );
        let stop = async {
            let patience = Instant::now();
            while outside(&sandbox).jobs().len() < 3 {
                assert!(patience.elapsed().as_secs() < 60, "nothing is ordered");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            host.stop();
        };
        let (stopped, ()) = tokio::join!(read, stop);
        let stopped = stopped.unwrap();
        assert_eq!(stopped.failure(), Some(Kind::Cancelled));
        let statuses: Vec<String> = outside(&sandbox)
            .jobs()
            .into_iter()
            .map(|job| job.status)
            .collect();
        host.go_on();
        if release {
            assert_eq!(stopped.cancelled_jobs, 3);
            assert!(
                statuses.iter().all(|status| status == "ABORTED"),
                "{statuses:?}"
            );
        } else {
            assert_eq!(stopped.cancelled_jobs, 0);
            assert!(
                statuses.iter().all(|status| status == "STARTED"),
                "{statuses:?}"
            );
        }
        // The quota is free again, or not needed.
        let rest = host
            .read(context.clone(), three_jobs(&sandbox), &THREE_JOBS)
            .await
            .unwrap();
        assert!(rest.failure().is_none(), "{rest:?}");
        assert_eq!(outside(&sandbox).jobs().len(), if release { 6 } else { 3 });
        is_complete(&host, &sandbox, &THREE_JOBS, &format!("release: {release}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_an_order_is_under_way_cancels_that_job_too() {
    let sandbox = tenant(limited_to(1)).await;
    outside(&sandbox).script_jobs([JobOutcome::Stuck]);
    let host = Host::default();
    let between = first_order(Fate::AnswerNever);
    let context = between.context();
    let wanted = ["forecast_entries"];
    let read = host.read_with(
        context.clone(),
        answer(&sandbox.base_url()),
        &wanted,
        |options| {
            options.release = true;
        },
    );
    let stop = async {
        between.is_stuck().await;
        host.stop();
    };
    let (stopped, ()) = tokio::join!(read, stop);
    assert_eq!(stopped.unwrap().cancelled_jobs, 1);
    assert_eq!(outside(&sandbox).jobs()[0].status, "ABORTED");
    host.go_on();
    let read = host.read(unhurried::context(), answer(&sandbox.base_url()), &wanted);
    assert!(read.await.unwrap().failure().is_none());
    is_complete(&host, &sandbox, &wanted, "");
}

#[tokio::test(start_paused = true)]
async fn while_jobs_run_other_streams_are_read() {
    let sandbox = tenant_with_polls(60).await;
    let between = Between::new(|_, _| Fate::Arrives);
    let host = Host::default();
    let fields = json!({ "opportunity_ids": sandbox.keys("opportunities").unwrap() });
    let answer = answer_with(&sandbox.base_url(), fields);
    let summary = host.read(between.context(), answer, &[]).await.unwrap();
    assert!(summary.failure().is_none(), "{summary:?}");
    let sent = between.sent();
    let first =
        |found: &dyn Fn(&str) -> bool| sent.iter().position(|one| found(&one.path)).unwrap();
    let result = first(&|path| path.ends_with("/results"));
    for path in ["/v4/export/activity", "/v4/opportunity", "/v4/audit/events"] {
        assert!(
            first(&|one| one == path) < result,
            "{path} waited for a job"
        );
    }
    assert_eq!(ordered_once(&sandbox).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_export_that_fails_again_and_again_holds_no_other_stream_back() {
    let sandbox = tenant(limited_to(1000)).await;
    outside(&sandbox).script_jobs(vec![JobOutcome::Failed; 20]);
    let host = Host::default();
    let wanted = ["forecast_entries", "audit_events"];
    for run in 1..=3 {
        let answer = answer_with(&sandbox.base_url(), json!({ "job_attempts": 1 }));
        let summary = host
            .read(unhurried::context(), answer, &wanted)
            .await
            .unwrap();
        assert_eq!(summary.failure(), Some(Kind::Unavailable));
        let audit = &summary.streams[1];
        assert!(
            matches!(audit.ending, headwater_host::Ending::Complete),
            "run {run}: {audit:?}"
        );
    }
    is_complete(&host, &sandbox, &wanted[1..], "");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_cuts_a_large_result_does_not_mix_it_with_another_one() {
    let sandbox = tenant(RevenueOptions {
        forecast_entries: 20_000,
        today: Some("2026-06-18".parse().unwrap()),
        ..options()
    })
    .await;
    let slow = JobOutcome::UnknownStatus {
        word: "STARTED".to_owned(),
        polls: 4,
    };
    outside(&sandbox).script_jobs([slow]);
    // The job of the first quarter comes due while the pages of the second one's result arrive.
    let between = Between::new(
        |_, request| match request.uri().path().ends_with("/results") {
            true => Fate::Slowly(Duration::from_millis(200)),
            false => Fate::Arrives,
        },
    );
    let host = Host::default();
    let fields = json!({ "fiscal_periods": ["2027_Q1", "2027_Q2"] });
    let answer = answer_with(&sandbox.base_url(), fields);
    let read = host.read_with(between.context(), answer.clone(), &FORECAST, |options| {
        options.limit = Some(10);
    });
    let limited = read.await.unwrap();
    assert!(limited.failure().is_none(), "{limited:?}");
    let entries = host.records("forecast_entries");
    assert_eq!(entries.len(), 10);
    assert!(
        entries.iter().all(|entry| entry.contains("\"2027_Q2\"")),
        "{entries:?}"
    );
    assert_eq!(host.records("forecast_users").len(), 10);
    assert_eq!(host.records("time_periods").len(), 1);

    // A later read without the limit brings everything, and orders nothing.
    let read = host.read(unhurried::context(), answer, &FORECAST);
    let whole = read.await.unwrap();
    assert!(whole.failure().is_none(), "{whole:?}");
    let both = |stream| {
        let mut keys = truth(&sandbox, stream, "/net_arr/2027_Q1");
        keys.extend(truth(&sandbox, stream, "/net_arr/2027_Q2"));
        keys.sort();
        keys
    };
    for stream in ["forecast_entries", "time_frames", "time_periods"] {
        let mut read = keys(stream, &host.records(stream));
        let mut truth = both(stream);
        assert!(read.len() >= truth.len(), "{stream}");
        read.dedup();
        truth.dedup();
        assert_eq!(read, truth, "{stream}");
    }
    assert_eq!(ordered_once(&sandbox).len(), 2);
}

/// A document of several pages, and its job.
async fn large() -> (Sandbox, Value) {
    let sandbox = tenant(RevenueOptions {
        forecast_entries: 20_000,
        today: Some("2026-07-28".parse().unwrap()),
        ..options()
    })
    .await;
    let answer = answer(&sandbox.base_url());
    (sandbox, answer)
}

#[tokio::test(start_paused = true)]
async fn a_large_result_goes_on_at_every_page() {
    let (sandbox, answer) = large().await;
    let stream = open(answer.clone()).stream("forecast_entries").unwrap();
    let mut pass = Pass::begin(&stream, None, Timestamp::now()).unwrap();
    let mut places = Vec::new();
    while !pass.is_done() {
        places.push((pass.place(), pass.of_stream("forecast_entries").len()));
        pass.step().await.unwrap();
    }
    let whole = pass;
    let entries = whole.of_stream("forecast_entries");
    assert_eq!(
        keys("forecast_entries", entries),
        truth(&sandbox, "forecast_entries", "")
    );
    let pages = places.iter().filter(|(_, records)| *records > 0).count();
    assert!(pages > 3, "{pages} pages");
    for (place, records) in places {
        let stream = open(answer.clone()).stream("forecast_entries").unwrap();
        let rest = Pass::resume(&stream, &place).finish().await.unwrap();
        assert!(
            rest.errors.is_empty() && rest.notes.is_empty(),
            "{:?}",
            rest.notes
        );
        assert_eq!(rest.of_stream("forecast_entries"), &entries[records..]);
        for companion in &FORECAST[1..] {
            assert_eq!(rest.of_stream(companion), whole.of_stream(companion));
        }
        // A place before the order orders; every other one goes on with the job that is there.
        let ordered = outside(&sandbox).jobs().len();
        assert!(ordered <= 3, "{ordered} jobs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_changed_between_two_reads_comes_again_as_a_whole() {
    let (sandbox, answer) = large().await;
    let stream = open(answer.clone()).stream("forecast_entries").unwrap();
    let mut pass = Pass::begin(&stream, None, Timestamp::now()).unwrap();
    while pass.of_stream("forecast_entries").is_empty() {
        pass.step().await.unwrap();
    }
    let job = ordered_once(&sandbox).remove(0);
    let path = format!("/export/jobs/{}/results", job.job_id);
    let (_, body) = ask(&sandbox, "GET", &path, "").await;
    let (first, rest) = body.split_once("},{").unwrap();
    assert!(first.contains("\"entries\":["));
    let changed = format!("{{\"entries\":[{{{rest}");
    let between =
        Between::new(
            move |_, request| match request.uri().path().ends_with("/results") {
                true => Fate::Instead(200, changed.clone()),
                false => Fate::Arrives,
            },
        );
    let stream = open_in(&between.context(), answer)
        .stream("forecast_entries")
        .unwrap();
    let again = Pass::resume(&stream, &pass.place()).finish().await.unwrap();
    assert_eq!(again.notes, ["document_changed"]);
    let all = truth(&sandbox, "forecast_entries", "").len();
    assert_eq!(again.of_stream("forecast_entries").len(), all - 1);
    assert_eq!(ordered_once(&sandbox).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_download_that_breaks_off_is_taken_up_again() {
    let (sandbox, answer) = large().await;
    let stream = open(answer).stream("forecast_entries").unwrap();
    let mut pass = Pass::begin(&stream, None, Timestamp::now()).unwrap();
    while outside(&sandbox)
        .jobs()
        .first()
        .is_none_or(|job| job.polls == 0)
    {
        pass.step().await.unwrap();
    }
    sandbox.set_faults("truncate=2".parse().unwrap());
    let pass = pass.finish().await.unwrap();
    assert!(pass.errors.is_empty(), "{:?}", pass.errors);
    assert_eq!(
        keys("forecast_entries", pass.of_stream("forecast_entries")),
        truth(&sandbox, "forecast_entries", "")
    );
    assert_eq!(outside(&sandbox).jobs()[0].downloads, 3);
    ordered_once(&sandbox);
}

#[tokio::test(start_paused = true)]
async fn options_that_change_half_way_do_not_leave_a_state_that_cannot_be_read() {
    // From a job that is about to be ordered to the current week, which needs none.
    let sandbox = tenant(limited_to(1000)).await;
    let now = json!({ "history": "current_week" });
    let host = Host::default();
    let wanted = ["forecast_users"];
    let between = first_order(Fate::Never);
    assert!(dies(&host, &between, answer(&sandbox.base_url()), &wanted).await);
    let answer_now = answer_with(&sandbox.base_url(), now);
    let read = host.read(unhurried::context(), answer_now.clone(), &wanted);
    let summary = read.await.unwrap();
    assert!(summary.failure().is_none(), "{summary:?}");
    assert_eq!(
        outside(&sandbox).jobs().len(),
        0,
        "the current week needs no job"
    );
    is_complete(&host, &sandbox, &wanted, "the current week");

    // And from the middle of a current week to all weeks.
    let sandbox = tenant(RevenueOptions {
        forecast_entries: 200_000,
        ..options()
    })
    .await;
    let answer_now = answer_with(&sandbox.base_url(), json!({ "history": "current_week" }));
    let stream = open(answer_now).stream("forecast_entries").unwrap();
    let mut pass = Pass::begin(&stream, None, Timestamp::now()).unwrap();
    pass.step().await.unwrap();
    assert!(!pass.is_done() && !pass.of_stream("forecast_entries").is_empty());
    let stream = open(answer(&sandbox.base_url()))
        .stream("forecast_entries")
        .unwrap();
    let mut all = Pass::resume(&stream, &pass.place());
    all.step().await.unwrap();
    assert!(all.errors.is_empty(), "{:?}", all.errors);
    assert!(!all.is_done());
}
