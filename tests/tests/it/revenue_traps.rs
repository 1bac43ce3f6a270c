//! Clari Revenue, where it is hard to read: other quarters than asked for, links that lead elsewhere, answers that are
//! none, clocks that jump. Nothing wrong is written, nothing is lost, nothing goes on for ever, and the key stays at home.

use std::collections::BTreeSet;

use acceptance::{
    copilot::script,
    revenue::{
        Between, FORECAST, Fate, Host, answer, answer_with, ask, failure, keys, open, open_in,
        options, ordered_once, outside, read_pass, tenant, truth,
    },
    unhurried,
};
use bytes::Bytes;
use headwater_core::{Kind, SignedDuration, Timestamp};
use headwater_sandbox::{
    AuditLink, Faults, RedirectFault, RevenueBehaviour, RevenueOptions, Sandbox,
};
use headwater_testkit::Reply;
use serde_json::{Value, json};

async fn tenant_of(entries: u64) -> Sandbox {
    tenant(RevenueOptions {
        forecast_entries: entries,
        today: Some("2026-07-28".parse().unwrap()),
        ..options()
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn another_quarter_than_the_one_asked_for_is_an_error_and_nothing_of_it_is_written() {
    for history in ["all_weeks", "current_week"] {
        for entries in [60, 20_000] {
            let sandbox = tenant_of(entries).await;
            let host = Host::default();
            let fields = json!({ "fiscal_periods": ["2019_Q1", "2027_Q1"], "history": history });
            let answer = answer_with(&sandbox.base_url(), fields);
            let read = host.read(unhurried::context(), answer, &FORECAST);
            let summary = read.await.unwrap();
            for stream in FORECAST {
                let (kind, message) = failure(&summary, stream).unwrap();
                assert_eq!(kind, Kind::DataInvalid);
                for part in [
                    "instead of 2019_Q1",
                    "returned \"2027_Q2\"",
                    "no record was taken",
                    "orrect the fiscal periods",
                ] {
                    assert!(message.contains(part), "{part:?} is not in {message}");
                }
            }
            // The quarter that there is has been read all the same.
            assert_eq!(
                keys("time_periods", &host.records("time_periods")),
                ["2027_Q1"]
            );
            let read = host.records("forecast_entries");
            assert!(!read.is_empty());
            assert!(read.iter().all(|entry| entry.contains("\"2027_Q1\"")));
            if history == "all_weeks" {
                let all = truth(&sandbox, "forecast_entries", "/net_arr/2027_Q1");
                assert_eq!(keys("forecast_entries", &read), all);
            }
        }
    }
}

/// Reads a forecast of which something in between answers some requests.
async fn read_with_answers(
    matches: fn(&http::Request<Bytes>) -> bool,
    status: u16,
    body: &str,
    fields: Value,
) -> (Sandbox, Host, Between, headwater_host::Receipt) {
    let sandbox = tenant_of(60).await;
    let body = body.to_owned();
    let between = Between::new(move |_, request| match matches(request) {
        true => Fate::Instead(status, body.clone()),
        false => Fate::Arrives,
    });
    let host = Host::default();
    let mut answer = answer_with(&sandbox.base_url(), fields);
    answer["job_minutes"] = json!(2);
    let read = host.read(
        between.context(),
        answer,
        &["forecast_entries", "time_periods"],
    );
    let summary = read.await.unwrap();
    (sandbox, host, between, summary)
}

const fn anything(_: &http::Request<Bytes>) -> bool {
    true
}

fn list(request: &http::Request<Bytes>) -> bool {
    request.uri().path() == "/v4/export/jobs"
}

fn order(request: &http::Request<Bytes>) -> bool {
    request.method() == http::Method::POST
}

fn status(request: &http::Request<Bytes>) -> bool {
    let path = request.uri().path();
    path.starts_with("/v4/export/jobs/") && !path.ends_with("/results")
}

fn result(request: &http::Request<Bytes>) -> bool {
    request.uri().path().ends_with("/results")
}

#[tokio::test(start_paused = true)]
async fn quarters_are_compared_record_by_record() {
    let period = json!({ "fiscal_periods": ["2027_Q2"] });
    for (document, says) in [
        (
            r#"{"entries":[{"timePeriodId":"2027_Q2"},{"timePeriodId":"2027_Q1"}]}"#,
            "\"2027_Q1\"",
        ),
        (r#"{"entries":[{"userId":"u"}]}"#, "\"\""),
        (r#"{"entries":[{"timePeriodId":null}]}"#, "\"\""),
        (r#"{"entries":[{"timePeriodId":["2027_Q3"]}]}"#, "\"\""),
        (
            r#"{"entries":[],"timePeriods":[{"timePeriodId":"2027_Q1","type":"quarter"}]}"#,
            "\"2027_Q1\"",
        ),
        (
            r#"{"entries":[],"timePeriods":[{"timePeriodId":"2027_Q1"}]}"#,
            "\"2027_Q1\"",
        ),
    ] {
        let (_, host, _, summary) = read_with_answers(result, 200, document, period.clone()).await;
        let (kind, message) = failure(&summary, "forecast_entries").unwrap();
        assert_eq!(kind, Kind::DataInvalid);
        assert!(
            message.contains(&format!("returned {says}")),
            "{document}: {message}"
        );
        assert!(host.records("forecast_entries").is_empty(), "{document}");
        assert!(host.records("time_periods").is_empty(), "{document}");
    }
    // Spelled in another way it is the same quarter, and a year is no quarter.
    let good = r#"{"entries":[{"timePeriodId" : "2027\u005fQ2"}],"timePeriods":[{"timePeriodId":"2027","type":"year"}]}"#;
    let (_, host, _, summary) = read_with_answers(result, 200, good, period).await;
    assert!(summary.failure().is_none(), "{summary:?}");
    assert_eq!(host.records("forecast_entries").len(), 1);
    assert_eq!(host.records("time_periods").len(), 1);
}

const HTML: &str = "\n <!DOCTYPE html><html><body>log in</body></html>";
const OTHER: &str = r#"{"hello":"world"}"#;

#[tokio::test(start_paused = true)]
async fn answers_that_are_none_are_errors_that_say_what_was_wrong() {
    type Matches = fn(&http::Request<Bytes>) -> bool;
    type Case = (
        Matches,
        u16,
        &'static str,
        fn() -> Value,
        Kind,
        &'static str,
    );
    let export = || json!({});
    let week = || json!({ "history": "current_week" });
    let cases: &[Case] = &[
        (result, 200, HTML, export, Kind::DataInvalid, "web page"),
        (
            result,
            200,
            OTHER,
            export,
            Kind::DataInvalid,
            "none of the lists entries",
        ),
        (result, 200, "", export, Kind::DataInvalid, "empty"),
        (
            result,
            200,
            "[]",
            export,
            Kind::DataInvalid,
            "a list where an object",
        ),
        (
            result,
            200,
            "null",
            export,
            Kind::DataInvalid,
            "does not begin like JSON",
        ),
        (
            result,
            200,
            r#"{"entries":7}"#,
            export,
            Kind::DataInvalid,
            "other than a list at entries",
        ),
        (
            result,
            200,
            r#"{"entries":{}}"#,
            export,
            Kind::DataInvalid,
            "other than a list at entries",
        ),
        (
            result,
            200,
            r#"{"entries":[1]}"#,
            export,
            Kind::DataInvalid,
            "other than records",
        ),
        (
            result,
            200,
            r#"{"entries":[null]}"#,
            export,
            Kind::DataInvalid,
            "other than records",
        ),
        (
            result,
            200,
            r#"{"entries":[[]]}"#,
            export,
            Kind::DataInvalid,
            "other than records",
        ),
        (
            result,
            200,
            r#"{"entries":[{"a":1}"#,
            export,
            Kind::DataInvalid,
            "breaks off",
        ),
        (
            result,
            200,
            r#"{"entries":[{"a":1}]"#,
            export,
            Kind::DataInvalid,
            "breaks off",
        ),
        (
            result,
            200,
            r#"{"entries":[{"a":"#,
            export,
            Kind::DataInvalid,
            "breaks off",
        ),
        (
            result,
            200,
            r#"{"entries":[]} {}"#,
            export,
            Kind::DataInvalid,
            "not valid JSON",
        ),
        (
            result,
            403,
            OTHER,
            export,
            Kind::PermissionDenied,
            "does not allow this",
        ),
        (
            result,
            400,
            r#"{"message":"odd"}"#,
            export,
            Kind::ConfigInvalid,
            "odd",
        ),
        (
            result,
            500,
            "{}",
            export,
            Kind::Unavailable,
            "problem of its own",
        ),
        (status, 200, HTML, export, Kind::DataInvalid, "web page"),
        (status, 200, "{}", export, Kind::DataInvalid, "export job"),
        (
            status,
            200,
            "[]",
            export,
            Kind::DataInvalid,
            "expected form",
        ),
        (
            status,
            200,
            r#"{"job":null}"#,
            export,
            Kind::DataInvalid,
            "reports no status for the export job",
        ),
        (
            status,
            200,
            r#"{"job":{"status":7}}"#,
            export,
            Kind::DataInvalid,
            "in an unknown form",
        ),
        (
            status,
            403,
            OTHER,
            export,
            Kind::PermissionDenied,
            "does not allow this",
        ),
        (
            status,
            400,
            r#"{"message":"odd"}"#,
            export,
            Kind::DataInvalid,
            "odd",
        ),
        (list, 200, HTML, export, Kind::DataInvalid, "web page"),
        (list, 200, OTHER, export, Kind::DataInvalid, "no records at"),
        (
            list,
            200,
            "null",
            export,
            Kind::DataInvalid,
            "has no list of export jobs",
        ),
        (
            list,
            200,
            r#"{"jobs":null}"#,
            export,
            Kind::DataInvalid,
            "has no list of export jobs",
        ),
        (list, 200, "[1]", export, Kind::DataInvalid, "expected form"),
        (
            list,
            200,
            r#"[{"jobId":7}]"#,
            export,
            Kind::DataInvalid,
            "in an unknown form",
        ),
        (
            list,
            200,
            r#"[{"startTime":"now"}]"#,
            export,
            Kind::DataInvalid,
            "in an unknown form",
        ),
        (
            order,
            200,
            HTML,
            export,
            Kind::DataInvalid,
            "in an unknown form",
        ),
        (
            order,
            200,
            OTHER,
            export,
            Kind::DataInvalid,
            "without a job id",
        ),
        (
            order,
            202,
            r#"{"jobId":null}"#,
            export,
            Kind::DataInvalid,
            "in an unknown form",
        ),
        (
            order,
            401,
            r#"{"message":"Invalid authentication credentials"}"#,
            export,
            Kind::Unauthenticated,
            "does not accept the credentials",
        ),
        (
            order,
            403,
            OTHER,
            export,
            Kind::PermissionDenied,
            "does not allow this",
        ),
        (
            order,
            404,
            OTHER,
            export,
            Kind::ConfigInvalid,
            "no forecast net_arr",
        ),
        (order, 302, "", export, Kind::DataInvalid, "redirect"),
        (
            order,
            500,
            "{}",
            export,
            Kind::Unavailable,
            "problem of its own",
        ),
        (order, 429, "{}", export, Kind::RateLimited, "slow down"),
        (anything, 200, HTML, week, Kind::DataInvalid, "web page"),
        (
            anything,
            200,
            OTHER,
            week,
            Kind::DataInvalid,
            "none of the lists entries",
        ),
        (
            anything,
            200,
            r#"{"entries":[{}"#,
            week,
            Kind::DataInvalid,
            "breaks off",
        ),
        (
            anything,
            401,
            r#"{"code":"no_optin"}"#,
            week,
            Kind::PermissionDenied,
            "opt the user in",
        ),
        (
            anything,
            404,
            "{}",
            week,
            Kind::ConfigInvalid,
            "take the id from the address",
        ),
        (
            anything,
            503,
            "{}",
            week,
            Kind::Unavailable,
            "problem of its own",
        ),
    ];
    let mut problems = Vec::new();
    for (matches, code, body, fields, kind, says) in cases {
        let (sandbox, host, _, summary) = read_with_answers(*matches, *code, body, fields()).await;
        let told = Told::new(&summary, "forecast_entries", *kind, says);
        problems.extend(told.problem(&format!("status {code} and {body}")));
        assert!(host.records("forecast_entries").is_empty(), "{body}");
        ordered_once(&sandbox);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_null_in_an_export_is_empty_and_said_so() {
    let body = r#"{"entries":null,"timePeriods":null}"#;
    let (sandbox, host, _, summary) = read_with_answers(result, 200, body, json!({})).await;
    assert!(summary.failure().is_none(), "{summary:?}");
    for stream in ["forecast_entries", "time_periods"] {
        assert!(host.records(stream).is_empty());
    }
    let notes = |stream: usize| summary.streams[stream].notes.keys().map(|code| &**code);
    let all: Vec<&str> = notes(0).chain(notes(1)).collect();
    assert!(all.contains(&"taken_as_empty"), "{summary:?}");
    ordered_once(&sandbox);
}

/// What a stream that failed told, and what it should have.
struct Told<'a> {
    found: Option<(Kind, String)>,
    stream: &'a str,
    kind: Kind,
    says: &'a str,
}

impl<'a> Told<'a> {
    fn new(summary: &headwater_host::Receipt, stream: &'a str, kind: Kind, says: &'a str) -> Self {
        Self {
            found: failure(summary, stream),
            stream,
            kind,
            says,
        }
    }

    fn problem(&self, case: &str) -> Option<String> {
        let Some((kind, message)) = &self.found else {
            return Some(format!("{case} is no error"));
        };
        let names_it = message.starts_with(&format!("read {}: ", self.stream));
        let quotes = ["hello", "log in", "html"]
            .iter()
            .any(|part| message.contains(part));
        let is_right = *kind == self.kind && message.contains(self.says) && names_it && !quotes;
        (!is_right).then(|| {
            format!(
                "{case}: {kind:?} {message}, not {:?} {:?}",
                self.kind, self.says
            )
        })
    }
}

#[tokio::test(start_paused = true)]
async fn empty_lists_are_no_error() {
    for document in [
        r#"{"entries":[],"users":[],"fields":[],"timePeriods":[],"timeFrames":[]}"#,
        r#"{"entries":[ ]}"#,
        r#" { "new" : {"entries":[[1]]} , "entries" : [
            ] } "#,
    ] {
        let (_, host, _, summary) = read_with_answers(result, 200, document, json!({})).await;
        assert!(summary.failure().is_none(), "{document}: {summary:?}");
        assert!(host.records("forecast_entries").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ended_before_it_ever_started_is_not_taken_for_a_new_one() {
    // Jobs that were cancelled in the queue have no time at which they started.
    let body = r#"[{"jobId":"old","status":"CANCELLED","fileName":"clari_export_forecast_net_arr_2027_Q2_x.json"}]"#;
    let (sandbox, _, _, summary) = read_with_answers(list, 200, body, json!({})).await;
    assert!(summary.failure().is_none(), "{summary:?}");
    assert_eq!(ordered_once(&sandbox).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_other_streams_tell_what_was_wrong_as_well() {
    type Matches = fn(&http::Request<Bytes>) -> bool;
    let cases: &[(&str, Matches, u16, &str, Kind, &str)] = &[
        (
            "activities",
            result,
            200,
            HTML,
            Kind::DataInvalid,
            "web page",
        ),
        (
            "activities",
            result,
            200,
            OTHER,
            Kind::DataInvalid,
            "none of the lists activities",
        ),
        (
            "activities",
            result,
            200,
            r#"{"activities":7}"#,
            Kind::DataInvalid,
            "other than a list",
        ),
        (
            "activities",
            result,
            200,
            r#"{"activities":[{"opportunities":7}]}"#,
            Kind::DataInvalid,
            "in an unknown form",
        ),
        (
            "activities",
            order,
            400,
            r#"{"code":"Bad request","message":"odd"}"#,
            Kind::ConfigInvalid,
            "odd",
        ),
        (
            "audit_events",
            anything,
            200,
            HTML,
            Kind::DataInvalid,
            "web page",
        ),
        (
            "audit_events",
            anything,
            200,
            OTHER,
            Kind::DataInvalid,
            "no records at /items",
        ),
        (
            "audit_events",
            anything,
            200,
            r#"{"items":[1]}"#,
            Kind::DataInvalid,
            "expected form",
        ),
        (
            "audit_events",
            anything,
            200,
            r#"{"items":[{"#,
            Kind::DataInvalid,
            "JSON",
        ),
        (
            "audit_events",
            anything,
            403,
            "{}",
            Kind::PermissionDenied,
            "does not allow this",
        ),
        (
            "audit_events",
            anything,
            400,
            r#"{"errors":[{"message":"odd"}]}"#,
            Kind::DataInvalid,
            "odd",
        ),
        (
            "opportunities",
            anything,
            200,
            HTML,
            Kind::DataInvalid,
            "web page",
        ),
        (
            "opportunities",
            anything,
            200,
            OTHER,
            Kind::DataInvalid,
            "no records at",
        ),
        (
            "opportunities",
            anything,
            200,
            "[[]]",
            Kind::DataInvalid,
            "expected form",
        ),
        (
            "opportunities",
            anything,
            400,
            r#"[{"details":"odd"}]"#,
            Kind::DataInvalid,
            "odd",
        ),
        (
            "export_jobs",
            anything,
            200,
            HTML,
            Kind::DataInvalid,
            "web page",
        ),
        (
            "export_jobs",
            anything,
            200,
            r#"{"jobs":{}}"#,
            Kind::DataInvalid,
            "expected form",
        ),
        ("limits", anything, 200, HTML, Kind::DataInvalid, "web page"),
        (
            "limits",
            anything,
            200,
            OTHER,
            Kind::DataInvalid,
            "no records at /jobs",
        ),
        (
            "limits",
            anything,
            200,
            r#"{"jobs":[]}"#,
            Kind::DataInvalid,
            "expected form",
        ),
    ];
    let mut problems = Vec::new();
    for (stream, matches, code, body, kind, says) in cases {
        let sandbox = tenant_of(60).await;
        let (code, matches, reply) = (*code, *matches, (*body).to_owned());
        let between = Between::new(move |_, request| match matches(request) {
            true => Fate::Instead(code, reply.clone()),
            false => Fate::Arrives,
        });
        let host = Host::default();
        let answer = answer_with(&sandbox.base_url(), json!({ "opportunity_ids": ["006"] }));
        let wanted = [*stream];
        let read = host.read(between.context(), answer, &wanted);
        let summary = read.await.unwrap();
        let told = Told::new(&summary, stream, *kind, says);
        problems.extend(told.problem(&format!("{stream} with status {code} and {body}")));
        assert!(host.records(stream).is_empty(), "{body}");
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

async fn linking(audit_link: AuditLink) -> Sandbox {
    tenant(RevenueOptions {
        forecast_entries: 5_000,
        behaviour: RevenueBehaviour {
            audit_link,
            ..RevenueBehaviour::default()
        },
        ..options()
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_link_that_leaves_the_service_is_an_error_and_is_not_followed() {
    for link in [AuditLink::OtherHost, AuditLink::OtherScheme] {
        let sandbox = linking(link).await;
        let between = Between::new(|_, _| Fate::Arrives);
        let host = Host::default();
        let wanted = ["audit_events"];
        let read = host.read(between.context(), answer(&sandbox.base_url()), &wanted);
        let summary = read.await.unwrap();
        let (kind, message) = failure(&summary, "audit_events").unwrap();
        assert_eq!(kind, Kind::DataInvalid);
        assert!(
            message.contains("leads to another host; it was not followed"),
            "{message}"
        );
        assert!(!message.contains("cursor"), "{message}");
        // The page, and what tells the account.
        assert_eq!(between.sent().len(), 2);
        // The page before was good.
        assert_eq!(host.records("audit_events").len(), 1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn the_key_goes_to_no_other_origin() {
    let other = script(|_| Reply::json(200, r#"{"items":[]}"#)).await;
    let sandbox = tenant_of(60).await;
    let home = sandbox.base_url();
    let away = other.base_url();
    let port = other.port();
    for link in [
        format!("{away}/v4/audit/events?cursor=1"),
        format!("//127.0.0.1:{port}/v4/audit/events"),
        format!(r"\\127.0.0.1:{port}\v4"),
        format!("http://127.0.0.1:{port}@127.0.0.1:{port}/"),
        format!("http:127.0.0.1:{port}"),
        "https://audit.clari.invalid/x".to_owned(),
        "file:///etc/hostname".to_owned(),
        "javascript:alert(1)".to_owned(),
        home.replace("http://", "http://somebody:secret@"),
    ] {
        let body = json!({ "items": [{ "actorId": "1" }], "nextLink": link }).to_string();
        let between = Between::new(move |_, request| match request.uri().query() {
            Some(query) if query.contains("dateFrom") => Fate::Instead(200, body.clone()),
            _ => Fate::Arrives,
        });
        let source = open_in(&between.context(), answer(&home));
        let stream = source.stream("audit_events").unwrap();
        let read = read_pass(&stream, None, Timestamp::now()).await;
        let urls: Vec<String> = between.sent().into_iter().map(|sent| sent.url).collect();
        assert!(
            urls.iter().all(|url| url.starts_with(&format!("{home}/"))),
            "{link}: {urls:?}"
        );
        if let Err(error) = read {
            assert!(!error.to_string().contains("secret"), "{error}");
        } else {
            unreachable!("{link} was followed: {urls:?}");
        }
    }
    // Redirects are not followed either, wherever they come.
    for stream in [
        "forecast_entries",
        "activities",
        "audit_events",
        "limits",
        "export_jobs",
    ] {
        sandbox.set_faults(Faults {
            redirect: Some(RedirectFault {
                origin: away.clone(),
                next: 9,
            }),
            ..Faults::default()
        });
        let host = Host::default();
        let read = host
            .read(unhurried::context(), answer(&home), &[stream])
            .await;
        let error = match read {
            Ok(summary) => failure(&summary, stream).unwrap().1,
            Err(error) => error.to_string(),
        };
        assert!(
            error.contains("redirect, which is not followed"),
            "{stream}: {error}"
        );
    }
    assert_eq!(other.requests().len(), 0, "somebody else was asked");
}

#[tokio::test(start_paused = true)]
async fn pages_that_go_round_in_circles_are_an_error() {
    for length in [1, 2, 5] {
        let sandbox = tenant_of(60).await;
        let between = Between::new(move |number, request| {
            if request.uri().path() != "/v4/audit/events" {
                return Fate::Arrives;
            }
            let link = format!("/v4/audit/events?cursor={}", number % length);
            let items = [json!({ "actorId": number.to_string() })];
            Fate::Instead(200, json!({ "items": items, "nextLink": link }).to_string())
        });
        let stream = open_in(&between.context(), answer(&sandbox.base_url()))
            .stream("audit_events")
            .unwrap();
        let error = read_pass(&stream, None, Timestamp::now())
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), Kind::DataInvalid);
        assert!(error.message().contains("would never end"), "{error}");
        assert!(between.sent().len() <= length + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_pages_is_told_in_several_ways() {
    for end in [
        r#","nextLink":null"#,
        r#","nextLink":"""#,
        "",
        r#","actors":[]"#,
    ] {
        let sandbox = tenant_of(60).await;
        let body = format!(r#"{{"items":[{{"actorId":"1"}}]{end}}}"#);
        let between = Between::new(move |_, _| Fate::Instead(200, body.clone()));
        let stream = open_in(&between.context(), answer(&sandbox.base_url()))
            .stream("audit_events")
            .unwrap();
        let read = read_pass(&stream, None, Timestamp::now()).await.unwrap();
        assert_eq!(read.of_stream("audit_events").len(), 1, "{end}");
        assert!(read.bookmark.is_some());
        assert_eq!(between.sent().len(), 1, "{end}");
    }
    let body = r#"{"items":[],"nextLink":{"href":"/x"}}"#;
    let between = Between::new(move |_, _| Fate::Instead(200, body.to_owned()));
    let stream = open_in(&between.context(), answer("http://127.0.0.1:9"))
        .stream("audit_events")
        .unwrap();
    let error = read_pass(&stream, None, Timestamp::now())
        .await
        .err()
        .unwrap();
    assert!(error.message().contains("is not text"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_loses_nothing() {
    let sandbox = tenant(RevenueOptions {
        forecast_entries: 3_000,
        ..options()
    })
    .await;
    let source = open(answer(&sandbox.base_url()));
    let now = Timestamp::now() + SignedDuration::from_mins(6);
    let hours = |hours| now - SignedDuration::from_hours(hours);
    // Back by days, on by more, back to the very beginning.
    for name in ["activities", "audit_events"] {
        let stream = source.stream(name).unwrap();
        let mut bookmark = None;
        let mut delivered = Vec::new();
        for then in [
            hours(300),
            hours(500),
            hours(120),
            hours(121),
            hours(24 * 3_000),
            hours(0),
        ] {
            let read = read_pass(&stream, bookmark.clone(), then).await.unwrap();
            assert!(read.errors.is_empty(), "{name}: {:?}", read.errors);
            delivered.extend_from_slice(read.of_stream(name));
            bookmark = read.bookmark.or(bookmark);
        }
        let distinct: BTreeSet<String> = delivered.into_iter().collect();
        let distinct: Vec<String> = distinct.into_iter().collect();
        let truth: BTreeSet<String> = truth(&sandbox, name, "").into_iter().collect();
        let read: BTreeSet<String> = keys(name, &distinct).into_iter().collect();
        let lost: Vec<&String> = truth.difference(&read).collect();
        // The first pass reaches 30 days back from its own time, and so do all: nothing older is lost.
        assert!(lost.is_empty(), "{name} lost {lost:?}");
    }
    for name in ["forecast_entries", "opportunities", "export_jobs", "limits"] {
        let stream = source.stream(name).unwrap();
        for then in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            assert!(stream.plan(None, then).is_ok(), "{name}");
        }
    }
    // Beyond all calendars a plan may refuse, but it must not break.
    for name in ["activities", "audit_events"] {
        for then in [Timestamp::MIN, Timestamp::MAX] {
            let _ = source.stream(name).unwrap().plan(None, then);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_of_another_forecast_is_left_alone_and_told() {
    let sandbox = tenant_of(60).await;
    outside(&sandbox).script_jobs([headwater_sandbox::JobOutcome::Stuck]);
    let host = Host::default();
    let wanted = ["forecast_entries"];
    let fields = json!({ "forecast_ids": ["deal_owner"], "job_minutes": 1 });
    let read = host.read(
        unhurried::context(),
        answer_with(&sandbox.base_url(), fields),
        &wanted,
    );
    assert_eq!(read.await.unwrap().failure(), Some(Kind::Unavailable));
    // The forecast was taken off the list while its job was under way.
    let read = host.read(unhurried::context(), answer(&sandbox.base_url()), &wanted);
    let summary = read.await.unwrap();
    assert!(summary.failure().is_none(), "{summary:?}");
    assert_eq!(summary.streams[0].notes["begun_anew"].0, 1, "{summary:?}");
    assert_eq!(
        keys("forecast_entries", &host.records("forecast_entries")),
        truth(&sandbox, "forecast_entries", "")
    );
    let (status, _) = ask(&sandbox, "GET", "/admin/limits", "").await;
    assert_eq!(status, 200);
}
