//! Clari Revenue, stream by stream: what the tenant has is what comes, byte for byte.

use std::{collections::BTreeSet, thread, time::Duration};

use acceptance::{
    revenue::{
        Between, FORECAST, Fate, Host, STREAMS, answer, answer_with, ask, failure, key, keys, open,
        open_in, options, ordered_once, outside, read_pass, tenant, truth,
    },
    unhurried,
};
use headwater_core::{Kind, SignedDuration, Timestamp};
use headwater_sandbox::{AuditLink, RevenueBehaviour, RevenueOptions, Sandbox};
use serde_json::{Value, json};

fn parse(record: &str) -> Value {
    serde_json::from_str(record).unwrap()
}

async fn tenant_of(entries: u64) -> Sandbox {
    tenant(RevenueOptions {
        forecast_entries: entries,
        ..options()
    })
    .await
}

/// With every opportunity's id.
fn everything(sandbox: &Sandbox) -> Value {
    let ids = sandbox.keys("opportunities").unwrap();
    answer_with(&sandbox.base_url(), json!({ "opportunity_ids": ids }))
}

/// Reads everything, and the list of jobs once more when all of them are there.
async fn read_everything(sandbox: &Sandbox, answer: Value) -> Host {
    let host = Host::default();
    let read = host.read(unhurried::context(), answer.clone(), &[]);
    let summary = read.await.unwrap();
    assert!(summary.failure().is_none(), "{summary:?}");
    let jobs = Host::default();
    let read = jobs.read(unhurried::context(), answer, &["export_jobs"]);
    assert!(read.await.unwrap().failure().is_none());
    assert_eq!(
        keys("export_jobs", &jobs.records("export_jobs")),
        truth(sandbox, "export_jobs", "")
    );
    host
}

fn is_complete(host: &Host, sandbox: &Sandbox, case: &str) {
    for stream in STREAMS {
        match stream {
            "export_jobs" => continue,
            "limits" => assert_eq!(host.records(stream).len(), 1, "{case}"),
            _ => assert_eq!(
                keys(stream, &host.records(stream)),
                truth(sandbox, stream, ""),
                "{stream}, {case}"
            ),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_stream_delivers_each_record_of_the_tenant_once() {
    for entries in [10, 300, 5_000] {
        let sandbox = tenant_of(entries).await;
        let host = read_everything(&sandbox, everything(&sandbox)).await;
        is_complete(&host, &sandbox, &format!("{entries} entries"));
        assert_eq!(ordered_once(&sandbox).len(), 2);
        let stats = sandbox.stats();
        let statuses: Vec<u16> = stats.by_status.keys().copied().collect();
        assert_eq!(statuses, [200, 202], "no request was wrong");
    }
}

#[tokio::test(start_paused = true)]
async fn the_list_of_streams_is_complete() {
    for profile in ["apikey", "automatic"] {
        let source = open(answer_with(
            "http://127.0.0.1:9",
            json!({ "auth_profile": profile }),
        ));
        let streams = source.streams();
        let names: Vec<&str> = streams.iter().flat_map(|stream| stream.names()).collect();
        assert_eq!(names, STREAMS, "{profile}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_record_keeps_the_schema_of_its_stream() {
    let sandbox = tenant_of(300).await;
    let mut answer = everything(&sandbox);
    answer["export_types"] = json!(["forecast", "quota", "forecast_updated", "adjustment"]);
    let host = read_everything(&sandbox, answer).await;
    for spec in acceptance::connector("clari-revenue").catalog() {
        let described = (spec.schema)();
        let schema = jsonschema::options()
            .should_validate_formats(true)
            .build(&described)
            .unwrap();
        let records = host.records(spec.name);
        assert!(!records.is_empty(), "{}", spec.name);
        for record in &records {
            let record = parse(record);
            let problems: Vec<String> = schema
                .iter_errors(&record)
                .map(|error| format!("{error} at {}", error.instance_path()))
                .collect();
            assert!(problems.is_empty(), "{}: {problems:?}\n{record}", spec.name);
            for key in spec.key.iter().chain(&spec.cursor) {
                assert!(!record[key].is_null(), "{} lacks {key}", spec.name);
            }
            let unknown: Vec<&String> = record
                .as_object()
                .unwrap()
                .keys()
                .filter(|field| described["properties"].get(*field).is_none())
                .collect();
            assert!(
                unknown.is_empty(),
                "{} does not describe {unknown:?}",
                spec.name
            );
        }
    }
}

/// The list of a document, as its service spells it.
fn list(name: &str, records: &[String]) -> String {
    format!("\"{name}\":[{}]", records.join(","))
}

async fn result(sandbox: &Sandbox, path: &str) -> String {
    let jobs = outside(sandbox).jobs();
    let job = jobs.iter().find(|job| job.path == path).unwrap();
    let path = format!("/export/jobs/{}/results", job.job_id);
    ask(sandbox, "GET", &path, "").await.1
}

#[tokio::test(start_paused = true)]
async fn records_are_the_bytes_that_the_service_sent() {
    let sandbox = tenant_of(2_000).await;
    let answer = everything(&sandbox);
    let host = read_everything(&sandbox, answer.clone()).await;
    let document = result(&sandbox, "/export/forecast/net_arr").await;
    let entries: Vec<String> = host
        .records("forecast_entries")
        .iter()
        .map(|entry| {
            let rest = entry.strip_prefix("{\"forecastId\":\"net_arr\",").unwrap();
            format!("{{{rest}")
        })
        .collect();
    assert!(
        entries
            .iter()
            .any(|entry| entry.contains("12345678901234567890.10"))
    );
    let lists = [
        list("entries", &entries),
        list("users", &host.records("forecast_users")),
        list("fields", &host.records("forecast_fields")),
        list("timePeriods", &host.records("time_periods")),
        list("timeFrames", &host.records("time_frames")),
    ];
    assert!(document == format!("{{{}}}", lists.join(",")), "forecasts");

    let activities = result(&sandbox, "/export/activity").await;
    let read = list("activities", &host.records("activities"));
    assert!(activities == format!("{{{read}}}"), "activities");

    let (_, page) = ask(&sandbox, "GET", "/audit/events?limit=1000", "").await;
    let events = host.records("audit_events");
    assert!(events.iter().all(|event| page.contains(event.as_str())));

    let ids: Vec<String> = sandbox.keys("opportunities").unwrap();
    let query: Vec<String> = ids
        .iter()
        .take(100)
        .map(|id| format!("oppId={id}"))
        .collect();
    let path = format!("/opportunity?{}", query.join("&"));
    let (_, first) = ask(&sandbox, "GET", &path, "").await;
    let read = &host.records("opportunities")[..query.len()];
    assert_eq!(first, format!("[{}]", read.join(",")));

    let jobs = Host::default();
    let wanted = ["export_jobs", "limits"];
    let read = jobs
        .read(unhurried::context(), answer, &wanted)
        .await
        .unwrap();
    assert!(read.failure().is_none());
    let (_, all) = ask(&sandbox, "GET", "/export/jobs", "").await;
    assert_eq!(all, format!("[{}]", jobs.records("export_jobs").join(",")));
    let (_, limits) = ask(&sandbox, "GET", "/admin/limits", "").await;
    let snapshot = jobs.records("limits").remove(0);
    let (at, rest) = snapshot.split_once(',').unwrap();
    assert_eq!(limits, format!("{{\"jobs\":{{{rest}}}"));
    let at = at.strip_prefix("{\"fetched_at\":\"").unwrap();
    let at: Timestamp = at.strip_suffix('"').unwrap().parse().unwrap();
    assert!(
        Timestamp::now().duration_since(at).as_secs().abs() < 60,
        "{at}"
    );
}

/// Odd in every way that JSON allows.
const ODD: &str = r#"{ "userId" : "a|b" ,"fieldId":"f","activityId":"x", "jobId" :"j","id":"o",
    "big":12345678901234567890123,"long":98.239997863769530000,"power":1.0E+2,"zero":-0.0,
	"text":"\u00e9\/\ud83d\ude00\u0000 é 😀 \" }]}\\","{\"entries\":[{":["}",{"]":{}}],
    "timePeriodId":null,"unknown":{"deep":[[[1.10,null,true]],{"":""}]},"twice":1,"twice":2 , "date" : "12" }"#;

#[tokio::test(start_paused = true)]
async fn odd_records_come_as_they_are() {
    let sandbox = tenant_of(10).await;
    let between = Between::new(|_, request| {
        let path = request.uri().path();
        let body = match path {
            "/v4/audit/events" => {
                format!(r#"{{"new":{ODD},"items":[{ODD}],"actors" : [ {ODD} ]}}"#)
            }
            "/v4/opportunity" => format!(" [ {ODD} ]\n"),
            "/v4/export/jobs" => format!("[{ODD}]"),
            "/v4/forecast/net_arr" => format!(
                "\n{{\"new\":{{\"entries\":[1]}},\"timeFrames\":[{ODD}] ,\"timePeriods\":[{ODD}],\"\\u0065ntry\":7,\
                 \"entries\": [ {ODD} , {ODD} ],\"users\":[{ODD}],\"fields\":[{ODD}]}} "
            ),
            _ => return Fate::Arrives,
        };
        Fate::Instead(200, body)
    });
    let fields = json!({ "history": "current_week", "opportunity_ids": ["o"] });
    let source = open_in(&between.context(), answer_with(&sandbox.base_url(), fields));
    for name in STREAMS {
        if matches!(name, "activities" | "limits") {
            continue;
        }
        let stream = source.stream(name).unwrap();
        let pass = read_pass(&stream, None, Timestamp::now()).await.unwrap();
        assert!(pass.errors.is_empty(), "{name}: {:?}", pass.errors);
        let expected = match name {
            "forecast_entries" => {
                let entry = ODD.replacen("{ ", "{\"forecastId\":\"net_arr\", ", 1);
                vec![entry.clone(), entry]
            }
            _ => vec![ODD.to_owned()],
        };
        assert_eq!(pass.of_stream(name), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_job_feeds_five_streams_whichever_are_wanted() {
    let sandbox = tenant_of(30).await;
    let all = Host::default();
    let base = answer(&sandbox.base_url());
    let read = all.read(unhurried::context(), base.clone(), &FORECAST);
    assert!(read.await.unwrap().failure().is_none());
    assert_eq!(ordered_once(&sandbox).len(), 1);
    // Every choice of streams, by the bits of a number.
    for choice in 1..(1_usize << FORECAST.len()) {
        let wanted: Vec<&str> = FORECAST
            .iter()
            .enumerate()
            .filter(|(bit, _)| choice & (1 << bit) != 0)
            .map(|(_, name)| *name)
            .collect();
        let sandbox = tenant_of(30).await;
        let host = Host::default();
        let read = host.read(unhurried::context(), answer(&sandbox.base_url()), &wanted);
        let summary = read.await.unwrap();
        assert!(summary.failure().is_none(), "{wanted:?}: {summary:?}");
        let names: Vec<&str> = summary.streams.iter().map(|one| &*one.stream).collect();
        assert_eq!(names, wanted);
        assert_eq!(ordered_once(&sandbox).len(), 1, "{wanted:?}");
        for stream in FORECAST {
            match wanted.contains(&stream) {
                true => assert_eq!(host.records(stream), all.records(stream), "{stream}"),
                false => assert!(!host.out().join(format!("{stream}.jsonl")).exists()),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_for_each_stream_and_a_later_read_brings_the_rest() {
    let sandbox = tenant_of(300).await;
    let host = Host::default();
    let answer = everything(&sandbox);
    let read = host.read_with(unhurried::context(), answer.clone(), &[], |options| {
        options.limit = Some(3);
    });
    let limited = read.await.unwrap();
    assert!(limited.failure().is_none(), "{limited:?}");
    for one in &limited.streams {
        let there = host.records(&one.stream).len();
        assert_eq!(there as u64, one.records, "{}", one.stream);
        assert!(there <= 3, "{}", one.stream);
        let all = match one.stream.as_str() {
            "limits" => 1,
            "export_jobs" => continue,
            stream => truth(&sandbox, stream, "").len(),
        };
        assert_eq!(there, all.min(3), "{}", one.stream);
    }
    let rest = host.read(unhurried::context(), answer, &[]).await.unwrap();
    assert!(rest.failure().is_none(), "{rest:?}");
    for stream in STREAMS {
        if matches!(stream, "limits" | "export_jobs") {
            continue;
        }
        let mut read = keys(stream, &host.records(stream));
        let mut all = truth(&sandbox, stream, "");
        read.dedup();
        all.dedup();
        assert_eq!(read, all, "{stream}");
    }
    assert_eq!(ordered_once(&sandbox).len(), 2, "the first read's jobs");
}

#[tokio::test(start_paused = true)]
async fn the_current_week_comes_without_a_job() {
    let sandbox = tenant_of(2_000).await;
    let host = Host::default();
    let fields = json!({ "history": "current_week", "forecast_ids": ["net_arr", "deal_owner"] });
    let answer = answer_with(&sandbox.base_url(), fields);
    let read = host.read(unhurried::context(), answer, &FORECAST);
    let summary = read.await.unwrap();
    assert!(summary.failure().is_none(), "{summary:?}");
    assert_eq!(outside(&sandbox).jobs().len(), 0);
    let stats = sandbox.stats();
    let asked: Vec<&String> = stats.by_path.keys().collect();
    // The jobs tell whose account it is.
    let expected = [
        "/v4/export/jobs",
        "/v4/forecast/deal_owner",
        "/v4/forecast/net_arr",
    ];
    assert_eq!(asked, expected);
    for forecast in ["net_arr", "deal_owner"] {
        let all = truth(&sandbox, "forecast_entries", &format!("/{forecast}"));
        let week = all.iter().map(|key| key.split('|').nth(1).unwrap()).max();
        let of_week = all.iter().filter(|key| key.split('|').nth(1) == week);
        let expected: Vec<String> = of_week.cloned().collect();
        let read: Vec<String> = host
            .records("forecast_entries")
            .into_iter()
            .filter(|entry| parse(entry)["forecastId"] == forecast)
            .collect();
        assert_eq!(keys("forecast_entries", &read), expected, "{forecast}");
    }
}

/// Quarters of a tenant of this day: the current one and two before it.
const TODAY: &str = "2026-06-18";
const QUARTERS: [&str; 3] = ["2026_Q4", "2027_Q1", "2027_Q2"];

async fn dated_tenant() -> Sandbox {
    tenant(RevenueOptions {
        forecast_entries: 300,
        today: Some(TODAY.parse().unwrap()),
        ..options()
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn each_forecast_and_each_quarter_is_an_export_of_its_own() {
    let sandbox = dated_tenant().await;
    let host = Host::default();
    let forecasts = ["net_arr", "net_bookings"];
    // Named twice they are read once.
    let fields = json!({
        "forecast_ids": [forecasts[0], forecasts[1], forecasts[0]],
        "fiscal_periods": [QUARTERS[0], QUARTERS[1], QUARTERS[2], QUARTERS[0]],
    });
    let answer = answer_with(&sandbox.base_url(), fields);
    let read = host.read(unhurried::context(), answer, &FORECAST);
    assert!(read.await.unwrap().failure().is_none());
    let mut expected = Vec::new();
    let mut asked = Vec::new();
    for forecast in forecasts {
        for quarter in QUARTERS {
            asked.push((format!("/export/forecast/{forecast}"), json!(quarter)));
            let keys = truth(
                &sandbox,
                "forecast_entries",
                &format!("/{forecast}/{quarter}"),
            );
            expected.extend(keys.iter().map(|key| format!("{forecast}|{key}")));
        }
    }
    expected.sort();
    let mut read: Vec<String> = host
        .records("forecast_entries")
        .iter()
        .map(|entry| {
            let forecast = parse(entry)["forecastId"].as_str().unwrap().to_owned();
            format!("{forecast}|{}", key("forecast_entries", entry))
        })
        .collect();
    read.sort();
    assert_eq!(read, expected);
    let jobs = ordered_once(&sandbox);
    let ordered: Vec<(String, Value)> = jobs
        .into_iter()
        .map(|job| (job.path, job.parameters["timePeriod"].clone()))
        .collect();
    assert_eq!(ordered, asked);
    let periods = keys("time_periods", &host.records("time_periods"));
    assert_eq!(periods.len(), 6, "each document has its quarter");
}

#[tokio::test(start_paused = true)]
async fn options_are_sent_as_they_are_set() {
    let sandbox = dated_tenant().await;
    let plain = json!({
        "typesToExport": ["forecast", "forecast_updated"],
        "exportFormat": "JSON",
        "includeHistorical": true,
        "schedule": "NONE",
    });
    let full = json!({
        "timePeriod": "2027_Q1",
        "typesToExport": ["quota", "adjustment", "forecast"],
        "currency": "EUR",
        "exportFormat": "JSON",
        "includeHistorical": true,
        "schedule": "MAX",
    });
    let chosen = json!({
        "fiscal_periods": ["2027_Q1"],
        "export_types": ["quota", "adjustment", "forecast"],
        "currency": "EUR",
        "server_retries": "max",
    });
    let mut expected = Vec::new();
    for (fields, parameters) in [(json!({}), plain), (chosen.clone(), full)] {
        let host = Host::default();
        let read = host.read(
            unhurried::context(),
            answer_with(&sandbox.base_url(), fields),
            &FORECAST,
        );
        assert!(read.await.unwrap().failure().is_none());
        expected.push(parameters);
        let sent: Vec<Value> = outside(&sandbox)
            .jobs()
            .into_iter()
            .map(|job| job.parameters)
            .collect();
        assert_eq!(sent, expected);
        if expected.len() == 2 {
            let entries = host.records("forecast_entries");
            let quotas = entries
                .iter()
                .filter(|entry| entry.contains("\"quotaValue\""));
            assert!(quotas.count() > 0);
            assert!(
                entries
                    .iter()
                    .all(|entry| entry.contains("\"code\":\"EUR\""))
            );
        }
    }
    // The current week takes the same, in its query.
    let between = Between::new(|_, _| Fate::Arrives);
    let mut answer = answer_with(&sandbox.base_url(), chosen);
    answer["history"] = json!("current_week");
    let stream = open_in(&between.context(), answer)
        .stream("time_frames")
        .unwrap();
    let pass = read_pass(&stream, None, Timestamp::now()).await.unwrap();
    assert_eq!(pass.of_stream("time_frames").len(), 1);
    let (_, query) = between.sent()[0]
        .url
        .split_once('?')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let mut parameters: Vec<&str> = query.split('&').collect();
    parameters.sort_unstable();
    assert_eq!(
        parameters,
        [
            "currency=EUR",
            "timePeriod=2027_Q1",
            "typesToExport=adjustment",
            "typesToExport=forecast",
            "typesToExport=quota",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn options_that_the_service_refuses_are_told_with_what_to_do() {
    for (fields, kind, says) in [
        (
            json!({ "currency": "XXX" }),
            Kind::ConfigInvalid,
            "does not accept these options for the forecast net_arr: ",
        ),
        (
            json!({ "export_types": ["crm_total"] }),
            Kind::ConfigInvalid,
            "leave out the CRM values",
        ),
        (
            json!({ "forecast_ids": ["nonsense"] }),
            Kind::ConfigInvalid,
            "Clari has no forecast nonsense",
        ),
        (
            json!({ "forecast_ids": ["no_access"] }),
            Kind::PermissionDenied,
            "not opted in to the forecast no_access",
        ),
    ] {
        for history in ["all_weeks", "current_week"] {
            let sandbox = tenant_of(10).await;
            let mut answer = answer_with(&sandbox.base_url(), fields.clone());
            answer["history"] = json!(history);
            let host = Host::default();
            let wanted = ["forecast_entries", "limits"];
            let read = host
                .read(unhurried::context(), answer, &wanted)
                .await
                .unwrap();
            if history == "current_week" && says.contains("CRM") {
                assert!(read.failure().is_none(), "only exports refuse them");
                continue;
            }
            let (found, message) = failure(&read, "forecast_entries").unwrap();
            assert_eq!(found, kind, "{message}");
            assert!(message.contains(says), "{says:?} is not in {message}");
            assert_eq!(host.records("limits").len(), 1, "others are read");
            assert_eq!(outside(&sandbox).jobs().len(), 0);
        }
    }
    // One forecast that cannot be read does not keep the others.
    let sandbox = tenant_of(10).await;
    let fields = json!({ "forecast_ids": ["no_access", "net_arr"] });
    let host = Host::default();
    let wanted = ["forecast_entries"];
    let read = host.read(
        unhurried::context(),
        answer_with(&sandbox.base_url(), fields),
        &wanted,
    );
    assert_eq!(read.await.unwrap().failure(), Some(Kind::PermissionDenied));
    assert_eq!(
        keys("forecast_entries", &host.records("forecast_entries")),
        truth(&sandbox, "forecast_entries", "")
    );
}

#[tokio::test(start_paused = true)]
async fn audit_events_by_page_and_by_export_are_the_same() {
    let sandbox = tenant_of(10_000).await;
    let mut both = Vec::new();
    for days in [0, 1] {
        let host = Host::default();
        let answer = answer_with(&sandbox.base_url(), json!({ "audit_export_days": days }));
        let wanted = ["audit_events", "audit_actors"];
        let read = host.read(unhurried::context(), answer, &wanted);
        assert!(read.await.unwrap().failure().is_none());
        assert_eq!(outside(&sandbox).jobs().len(), days);
        for stream in wanted {
            let records = host.records(stream);
            assert_eq!(
                keys(stream, &records),
                truth(&sandbox, stream, ""),
                "{stream}"
            );
            let distinct: BTreeSet<String> = records.iter().cloned().collect();
            assert_eq!(distinct.len(), records.len(), "{stream} repeats none");
        }
        both.push(wanted.map(|stream| host.records(stream).into_iter().collect::<BTreeSet<_>>()));
    }
    assert!(both[0][0].len() > 2_000, "several pages");
    assert_eq!(both[0], both[1]);
}

/// The events that a pass has to bring: the truth, with the time in which they may still come late.
fn until(now: Timestamp) -> Timestamp {
    now + SignedDuration::from_mins(5)
}

#[tokio::test(start_paused = true)]
async fn later_passes_of_audit_events_bring_each_new_one_once() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for days in [0, 1] {
        let sandbox = tenant_of(300).await;
        let fields = json!({ "audit_export_days": days });
        let stream = open(answer_with(&sandbox.base_url(), fields))
            .stream("audit_events")
            .unwrap();
        let mut delivered: Vec<String> = Vec::new();
        let mut bookmark = None;
        for pass in 0..6 {
            outside(&sandbox).add_audit_events(random.u64(0..4));
            thread::sleep(Duration::from_millis(random.u64(0..300)));
            // Within the time in which events may come late.
            let late = SignedDuration::from_millis(random.i64(0..1500));
            let now = until(Timestamp::now()) - late;
            let read = read_pass(&stream, bookmark.clone(), now).await.unwrap();
            assert!(read.errors.is_empty(), "pass {pass}: {:?}", read.errors);
            delivered.extend_from_slice(read.of_stream("audit_events"));
            // Too soon after the last one there is nothing to read, and the place stays.
            bookmark = read.bookmark.or(bookmark);
            outside(&sandbox).add_audit_events(random.u64(0..4));
        }
        thread::sleep(Duration::from_millis(2_100));
        let last = read_pass(
            &stream,
            bookmark,
            until(Timestamp::now() + SignedDuration::from_secs(3)),
        );
        delivered.extend_from_slice(last.await.unwrap().of_stream("audit_events"));
        let distinct: BTreeSet<&String> = delivered.iter().collect();
        assert_eq!(
            distinct.len(),
            delivered.len(),
            "none came twice, seed {seed}"
        );
        assert_eq!(
            keys("audit_events", &delivered),
            truth(&sandbox, "audit_events", ""),
            "seed {seed}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_brings_each_audit_event_once() {
    for days in [0, 1] {
        let sandbox = tenant(RevenueOptions {
            forecast_entries: 300,
            faults: "clock=-1200".parse().unwrap(),
            ..options()
        })
        .await;
        let fields = json!({ "audit_export_days": days });
        let stream = open(answer_with(&sandbox.base_url(), fields))
            .stream("audit_events")
            .unwrap();
        let mut delivered: Vec<String> = Vec::new();
        let mut bookmark = None;
        for pass in 0..4 {
            let read = read_pass(&stream, bookmark.clone(), Timestamp::now());
            let read = read.await.unwrap();
            assert!(read.notes.contains(&"clock_ahead"), "{:?}", read.notes);
            let brought = read.of_stream("audit_events");
            let again: Vec<&String> = brought
                .iter()
                .filter(|record| delivered.contains(record))
                .collect();
            assert!(again.is_empty(), "{days}, pass {pass}: {again:?}");
            delivered.extend_from_slice(brought);
            bookmark = read.bookmark;
            outside(&sandbox).add_audit_events(3);
            thread::sleep(Duration::from_millis(700));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn audit_events_that_happen_during_a_read_push_no_other_out_of_it() {
    for audit_offset_cursor in [false, true] {
        let sandbox = tenant(RevenueOptions {
            forecast_entries: 20_000,
            audit_growth: 30,
            behaviour: RevenueBehaviour {
                audit_offset_cursor,
                ..RevenueBehaviour::default()
            },
            ..options()
        })
        .await;
        let before = truth(&sandbox, "audit_events", "");
        let source = open(answer(&sandbox.base_url()));
        let stream = source.stream("audit_events").unwrap();
        let first = read_pass(&stream, None, Timestamp::now()).await.unwrap();
        assert!(first.fetches > 4, "{} pages", first.fetches);
        let mut delivered = first.of_stream("audit_events").to_vec();
        let distinct: BTreeSet<&String> = delivered.iter().collect();
        if !audit_offset_cursor {
            assert_eq!(distinct.len(), delivered.len(), "none came twice");
        }
        let distinct: Vec<String> = distinct.into_iter().cloned().collect();
        assert_eq!(keys("audit_events", &distinct), before);

        // What happened meanwhile comes with the next pass.
        thread::sleep(Duration::from_millis(1_100));
        let now = until(Timestamp::now());
        let second = read_pass(&stream, first.bookmark, now).await.unwrap();
        delivered.extend_from_slice(second.of_stream("audit_events"));
        let distinct: BTreeSet<String> = delivered.into_iter().collect();
        let distinct: Vec<String> = distinct.into_iter().collect();
        let grown = keys("audit_events", &distinct).len() - before.len();
        // The second pass made some more, after its first page.
        assert_eq!(grown, first.fetches * 30);
    }
}

#[tokio::test(start_paused = true)]
async fn later_passes_of_activities_bring_each_new_one_once() {
    let sandbox = tenant_of(5_000).await;
    let stream = open(answer(&sandbox.base_url()))
        .stream("activities")
        .unwrap();
    let now = Timestamp::now();
    let mut delivered = Vec::new();
    let mut bookmark = None;
    // Twice on one day, then day by day, then over a gap.
    let hours = [240, 240, 239, 216, 192, 192, 48, 0, 0];
    for (pass, back) in hours.into_iter().enumerate() {
        let then = now - SignedDuration::from_hours(back);
        let read = read_pass(&stream, bookmark, then).await.unwrap();
        assert!(read.errors.is_empty(), "pass {pass}: {:?}", read.errors);
        let records = read.of_stream("activities");
        assert!(pass != 1 && pass != 8 || records.is_empty(), "pass {pass}");
        delivered.extend_from_slice(records);
        bookmark = read.bookmark;
        assert!(bookmark.is_some());
    }
    let distinct: BTreeSet<&String> = delivered.iter().collect();
    assert_eq!(distinct.len(), delivered.len(), "none came twice");
    assert_eq!(
        keys("activities", &delivered),
        truth(&sandbox, "activities", "")
    );
}

#[tokio::test(start_paused = true)]
async fn activities_begin_where_they_are_asked_to() {
    let sandbox = tenant_of(5_000).await;
    let day = (Timestamp::now() - SignedDuration::from_hours(24 * 20))
        .strftime("%Y-%m-%d")
        .to_string();
    let answer = answer_with(&sandbox.base_url(), json!({ "activities_since": day }));
    let stream = open(answer).stream("activities").unwrap();
    let read = read_pass(&stream, None, Timestamp::now()).await.unwrap();
    let parameters = outside(&sandbox).jobs().remove(0).parameters;
    assert_eq!(parameters["startDate"], format!("{day}T00:00:00Z"));
    let start: Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
    let dates: Vec<i64> = read
        .of_stream("activities")
        .iter()
        .map(|record| match &parse(record)["date"] {
            Value::String(text) => text.parse().unwrap(),
            number => number.as_i64().unwrap(),
        })
        .collect();
    assert!(dates.len() > 20 && dates.len() < truth(&sandbox, "activities", "").len());
    assert!(dates.iter().all(|date| *date >= start.as_millisecond()));
}

fn ids_per_request(between: &Between) -> Vec<usize> {
    between
        .sent()
        .iter()
        .filter(|sent| sent.path == "/v4/opportunity")
        .map(|sent| sent.url.matches("oppId=").count())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn opportunities_are_asked_for_by_the_hundred() {
    let sandbox = tenant_of(5_000).await;
    let mut ids = sandbox.keys("opportunities").unwrap();
    assert_eq!(ids.len(), 250);
    ids.insert(120, "006-nobody & nothing".to_owned());
    // Named twice it is asked for once.
    ids.push(ids[0].clone());
    let between = Between::new(|_, _| Fate::Arrives);
    let answer = answer_with(&sandbox.base_url(), json!({ "opportunity_ids": ids }));
    let host = Host::default();
    let read = host
        .read(between.context(), answer, &["opportunities"])
        .await
        .unwrap();
    assert!(read.failure().is_none(), "{read:?}");
    assert_eq!(
        keys("opportunities", &host.records("opportunities")),
        truth(&sandbox, "opportunities", "")
    );
    assert_eq!(ids_per_request(&between), [100, 100, 51]);
    assert_eq!(read.streams[0].notes["missing"].0, 1);
}

#[tokio::test(start_paused = true)]
async fn opportunities_come_with_the_activities_that_name_them() {
    let sandbox = tenant_of(5_000).await;
    let fields = json!({ "opportunities_of_activities": true });
    let answer = answer_with(&sandbox.base_url(), fields);
    let whole = Host::default();
    let between = Between::new(|_, _| Fate::Arrives);
    let wanted = ["activities", "opportunities"];
    let read = whole.read(between.context(), answer.clone(), &wanted);
    assert!(read.await.unwrap().failure().is_none());
    let activities = whole.records("activities");
    assert_eq!(
        keys("activities", &activities),
        truth(&sandbox, "activities", "")
    );
    let named: BTreeSet<String> = activities
        .iter()
        .flat_map(|record| parse(record)["opportunities"].as_array().unwrap().clone())
        .map(|named| named["opportunityId"].as_str().unwrap().to_owned())
        .collect();
    let read = keys("opportunities", &whole.records("opportunities"));
    assert_eq!(read, named.into_iter().collect::<Vec<_>>(), "each once");
    assert!(read.len() > 200);
    assert!(ids_per_request(&between).iter().all(|ids| *ids <= 100));
    assert_eq!(ordered_once(&sandbox).len(), 1);

    // Opportunities alone need the activities as well, and write nothing of them.
    let alone = Host::default();
    let sandbox = tenant_of(5_000).await;
    let answer = answer_with(
        &sandbox.base_url(),
        json!({ "opportunities_of_activities": true }),
    );
    let read = alone.read(unhurried::context(), answer, &["opportunities"]);
    assert!(read.await.unwrap().failure().is_none());
    assert_eq!(
        alone.records("opportunities"),
        whole.records("opportunities")
    );
    assert!(!alone.out().join("activities.jsonl").exists());
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_chosen_the_read_says_so() {
    let sandbox = tenant_of(10).await;
    let host = Host::default();
    let answer = answer_with(&sandbox.base_url(), json!({ "forecast_ids": [] }));
    let wanted = ["forecast_users", "opportunities"];
    let summary = host
        .read(unhurried::context(), answer, &wanted)
        .await
        .unwrap();
    assert!(summary.failure().is_none());
    for (stream, code, says) in [
        (0, "no_forecast_ids", "Forecast Tab"),
        (1, "no_opportunity_ids", "enter ids"),
    ] {
        let (times, sentence) = &summary.streams[stream].notes[code];
        assert_eq!(*times, 1);
        assert!(sentence.contains(says), "{sentence}");
    }
    assert_eq!(sandbox.stats().requests, 1, "whose account it is");
}

#[tokio::test(start_paused = true)]
async fn every_way_to_wrap_an_answer_is_read() {
    let plain = RevenueBehaviour::default();
    for behaviour in [
        RevenueBehaviour {
            bare_job: true,
            ..plain
        },
        RevenueBehaviour {
            wrapped_job_list: true,
            ..plain
        },
        RevenueBehaviour {
            wrapped_opportunities: true,
            ..plain
        },
        RevenueBehaviour {
            audit_activities: true,
            ..plain
        },
        RevenueBehaviour {
            audit_link: AuditLink::Relative,
            ..plain
        },
        RevenueBehaviour {
            chunked_results: true,
            ..plain
        },
        RevenueBehaviour {
            download_link: true,
            ..plain
        },
        RevenueBehaviour {
            unknown_job_not_found: true,
            ..plain
        },
        RevenueBehaviour {
            forecast_list: true,
            ..plain
        },
    ] {
        for audit_export_days in [0, 1] {
            let sandbox = tenant(RevenueOptions {
                // More than a page of audit events, where a link to the next one counts.
                forecast_entries: if behaviour.audit_link == plain.audit_link {
                    60
                } else {
                    5_000
                },
                behaviour,
                ..options()
            })
            .await;
            let mut answer = everything(&sandbox);
            answer["audit_export_days"] = json!(audit_export_days);
            let host = read_everything(&sandbox, answer).await;
            is_complete(&host, &sandbox, &format!("{behaviour:?}"));
            ordered_once(&sandbox);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn links_to_results_are_kept_nowhere() {
    let sandbox = tenant(RevenueOptions {
        forecast_entries: 60,
        behaviour: RevenueBehaviour {
            download_link: true,
            ..RevenueBehaviour::default()
        },
        ..options()
    })
    .await;
    let between = Between::new(|_, _| Fate::Arrives);
    let host = Host::default();
    for _ in 0..2 {
        let read = host.read(between.context(), answer(&sandbox.base_url()), &[]);
        assert!(read.await.unwrap().failure().is_none());
    }
    let (_, shown) = ask(&sandbox, "GET", "/export/jobs", "").await;
    assert!(shown.contains("/files/") && shown.contains("signature="));
    let jobs = host.records("export_jobs");
    assert!(
        jobs.iter().any(|job| job.contains("\"downloadUrl\":null")),
        "{jobs:?}"
    );
    let mut kept = std::fs::read_to_string(host.state()).unwrap();
    for stream in STREAMS {
        kept.push_str(&host.records(stream).join("\n"));
    }
    assert!(!kept.contains("/files/") && !kept.contains("signature"));
    // Nor are they followed.
    assert!(
        between
            .sent()
            .iter()
            .all(|sent| sent.path.starts_with("/v4/"))
    );
}
