//! Clari Copilot, where it is hard to read: too many calls, too large answers, calls that change meanwhile, outages.
//! Nothing is lost, nothing ends early, and nothing goes on for ever.

use std::collections::{BTreeMap, BTreeSet};

use acceptance::{
    ReadThrough,
    copilot::{Reading, answer, open, open_in, script, stream, workspace, workspace_of},
    read_through,
};
use headwater_core::{Kind, SignedDuration, Status, Timestamp};
use headwater_sandbox::{CopilotOptions, Faults, Sandbox};
use headwater_testkit::{Reply, Request};
use serde_json::{Value, json};

fn parse(record: &str) -> Value {
    serde_json::from_str(record).unwrap()
}

fn faults(text: &str) -> Faults {
    text.parse().unwrap()
}

async fn first_pass(sandbox: &Sandbox, name: &str) -> ReadThrough {
    let stream = stream(&sandbox.base_url(), name);
    read_through(&*stream, None, Timestamp::now())
        .await
        .unwrap()
}

/// Id and status of each record, in the order they came.
fn statuses(read: &ReadThrough) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    read.records
        .iter()
        .map(|record| parse(record))
        .map(|call| (text(&call["id"]), text(&call["status"])))
        .collect()
}

/// A bound of the window that a request asks for.
fn bound(request: &Request, name: &str) -> Timestamp {
    let text = request.parameter(name).unwrap().replace("%3A", ":");
    text.parse().unwrap()
}

fn number(request: &Request, name: &str) -> usize {
    request.parameter(name).unwrap().parse().unwrap()
}

/// The answer of `/calls` from all calls that match.
fn page(request: &Request, matching: &[Value]) -> Reply {
    let (skip, limit) = (number(request, "skip"), number(request, "limit"));
    if skip > 10_000 || !(1..=100).contains(&limit) {
        return Reply::json(400, r#"{"errorMessage":"out of range"}"#);
    }
    let calls: Vec<&Value> = matching.iter().skip(skip).take(limit).collect();
    let mut body = json!({ "calls": calls });
    if request.parameter("includePagination") != Some("false") {
        body["pagination"] = json!({
            "matched": matching.len(),
            "hasMore": skip + calls.len() < matching.len(),
        });
    }
    Reply::json(200, &body.to_string())
}

#[tokio::test(start_paused = true)]
async fn more_calls_than_an_offset_reaches_are_read_in_windows() {
    let sandbox = workspace_of(12_000).await;
    let read = first_pass(&sandbox, "calls").await;
    let keys = sandbox.keys("calls").unwrap();
    assert!(keys.len() > 10_000);
    assert_eq!(read.sorted("id"), keys);
    assert_eq!(
        sandbox.stats().by_status.keys().collect::<Vec<_>>(),
        [&200],
        "no offset was beyond the limit"
    );
}

#[tokio::test(start_paused = true)]
async fn more_calls_in_one_second_than_an_offset_reaches_are_an_error() {
    let script = script(|request| {
        let at: Timestamp = "2025-06-01T12:00:00.500Z".parse().unwrap();
        let is_inside =
            bound(request, "filterModifiedGt") < at && at < bound(request, "filterModifiedLt");
        let calls: Vec<Value> = (0..if is_inside { 12_000 } else { 0 })
            .map(|number| json!({ "id": format!("c{number}") }))
            .collect();
        page(request, &calls)
    })
    .await;
    let stream = stream(&script.base_url(), "calls");
    let error = read_through(&*stream, None, Timestamp::now())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::DataInvalid, "{error:?}");
    assert!(
        error
            .message()
            .contains("12000 records share the second 2025-06-01T12:00:00Z"),
        "{error}"
    );
    let requests = script.requests().len();
    assert!(requests < 100, "the search for the second ends: {requests}");
}

/// A workspace whose pages of 50 calls and more are too large, and those of 25 are not.
async fn with_pages_of_25(calls: u64) -> Sandbox {
    let whole = workspace_of(calls).await;
    let read = first_pass(&whole, "calls").await;
    let bytes: usize = read.records.iter().map(String::len).sum();
    let mut options = CopilotOptions {
        calls,
        ..CopilotOptions::default()
    };
    options.limits.response_cap_bytes = (36 * bytes / read.records.len()) as u64;
    workspace(options).await
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_large_is_asked_for_in_smaller_ones() {
    let sandbox = with_pages_of_25(600).await;
    let read = first_pass(&sandbox, "calls").await;
    let keys = sandbox.keys("calls").unwrap();
    assert_eq!(read.sorted("id"), keys);
    // 100 and 50 were too large, asked for twice each in case the gateway just had a hiccup; 25 is not.
    assert_eq!(read.notes, ["page_too_large"; 2]);
    let stats = sandbox.stats();
    assert_eq!(stats.by_status[&502], 4, "{stats:?}");
    assert_eq!(
        stats.by_path["/calls"],
        4 + 1 + keys.len().div_ceil(25) as u64 + 1
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_too_large_by_itself_is_an_error_and_not_a_loop() {
    let mut options = CopilotOptions::default();
    options.limits.response_cap_bytes = 200;
    let sandbox = workspace(options).await;
    let stream = stream(&sandbox.base_url(), "calls");
    let error = read_through(&*stream, None, Timestamp::now())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
    assert_eq!(error.status(), Status::Persistent, "{error:?}");
    // Four sizes twice, the last one as often as any request.
    assert_eq!(sandbox.stats().requests, 4 * 2 + 5);
}

#[tokio::test(start_paused = true)]
async fn calls_that_change_while_single_ones_are_read_are_no_error() {
    let mut options = CopilotOptions {
        calls: 60,
        faults: faults("changing=1"),
        ..CopilotOptions::default()
    };
    let whole = first_pass(&workspace_of(60).await, "calls").await;
    let longest = whole.records.iter().map(String::len).max().unwrap();
    // Room for one, not for ten.
    options.limits.response_cap_bytes = longest as u64 + 200;
    let sandbox = workspace(options).await;
    everything_comes_in_two_passes(&sandbox).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_ends_of_a_window_and_of_its_chains_are_counted() {
    let calls: Vec<Value> = (0..350)
        .map(|number| json!({ "id": format!("c{number}") }))
        .collect();
    let script = script(move |request| {
        let is_first = request
            .parameter("filterModifiedGt")
            .is_some_and(|after| after.starts_with("2014-12-31"));
        page(request, if is_first { &calls } else { &[] })
    })
    .await;
    let stream = stream(&script.base_url(), "calls");
    let read = read_through(&*stream, None, Timestamp::now())
        .await
        .unwrap();
    assert_eq!(read.records.len(), 350);
    let asked: Vec<(usize, usize, Option<String>)> = script
        .requests()
        .iter()
        .map(|request| {
            let counted = request.parameter("includePagination").map(str::to_owned);
            (number(request, "skip"), number(request, "limit"), counted)
        })
        .collect();
    let uncounted = Some("false".to_owned());
    assert_eq!(
        asked,
        [
            (0, 100, None),
            // One record more than there should be is asked for behind the last one.
            (251, 100, uncounted.clone()),
            (151, 100, None),
            (51, 100, uncounted),
            (0, 51, None),
            // The last minutes, a window of their own.
            (0, 100, None),
        ]
    );
}

/// Reads while calls change, and once more when they hold still; together that is everything, as it is at the end.
/// Hands back the first read.
async fn everything_comes_in_two_passes(sandbox: &Sandbox) -> ReadThrough {
    let stream = stream(&sandbox.base_url(), "calls");
    let first = read_through(&*stream, None, Timestamp::now())
        .await
        .unwrap();
    assert!(first.fetches < 120, "{} fetches", first.fetches);
    sandbox.set_faults(Faults::default());
    let later = Timestamp::now() + SignedDuration::from_secs(1);
    let second = read_through(&*stream, first.bookmark.clone(), later)
        .await
        .unwrap();
    assert!(!second.records.is_empty(), "some calls changed");

    let delivered: BTreeMap<String, String> = statuses(&first)
        .into_iter()
        .chain(statuses(&second))
        .collect();
    let truth: BTreeMap<String, String> = statuses(&first_pass(sandbox, "calls").await)
        .into_iter()
        .collect();
    assert_eq!(truth.len(), sandbox.keys("calls").unwrap().len());
    assert_eq!(delivered, truth);
    first
}

#[tokio::test(start_paused = true)]
async fn calls_that_change_during_a_read_push_no_other_out_of_it() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..3 {
        let options = CopilotOptions {
            calls: random.u64(1_000..2_500),
            seed: random.u64(..),
            faults: Faults {
                changing: random.u64(1..12),
                ..Faults::default()
            },
            ..CopilotOptions::default()
        };
        println!("seed {seed}: {options:?}");
        let calls = options.calls;
        let sandbox = workspace(options).await;
        let first = everything_comes_in_two_passes(&sandbox).await;
        // Most did not change; a list that is busy is read all the same.
        assert!(
            first.records.len() as u64 > calls / 2,
            "{}",
            first.records.len()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_change_by_the_hundred_push_no_other_out_of_a_read() {
    // As many as a page has: the next page begins with the record that the last one began with.
    let sandbox = workspace(CopilotOptions {
        calls: 2_000,
        faults: faults("changing=100"),
        ..CopilotOptions::default()
    })
    .await;
    everything_comes_in_two_passes(&sandbox).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_pass_delivers_what_changed_and_nothing_else() {
    /// Of all steps together the overlap sees the beginning: the simulator's clock is real, this one is not.
    const STEP: SignedDuration = SignedDuration::from_secs(5);
    let sandbox = workspace_of(400).await;
    for name in ["calls", "call_details"] {
        let stream = stream(&sandbox.base_url(), name);
        let mut now = Timestamp::now();
        let first = read_through(&*stream, None, now).await.unwrap();
        let mut bookmark = first.bookmark;
        assert_eq!(first.records.len(), sandbox.keys(name).unwrap().len());

        // Again and again without a change: nothing.
        for pass in 2..=4 {
            now += STEP;
            let read = read_through(&*stream, bookmark, now).await.unwrap();
            assert_eq!(read.records.len(), 0, "{name}, pass {pass}");
            bookmark = read.bookmark;
        }

        // A change comes once, with its new status, however often the overlap covers it.
        for (round, status) in ["PROCESSED", "IGNORED_BY_USER", "A_NEW_STATUS"]
            .into_iter()
            .enumerate()
        {
            let index = 11 + round as u64;
            assert!(sandbox.touch_call(index, status));
            now = now.max(Timestamp::now()) + STEP;
            let read = read_through(&*stream, bookmark, now).await.unwrap();
            let seen = statuses(&read);
            assert_eq!(seen.len(), 1, "{name}: {seen:?}");
            assert_eq!(seen[0].1, status, "{name}");
            bookmark = read.bookmark;
            for _ in 0..2 {
                now += STEP;
                let again = read_through(&*stream, bookmark, now).await.unwrap();
                assert_eq!(again.records.len(), 0, "{name} after {status}");
                bookmark = again.bookmark;
            }
        }

        sandbox.change_calls(25);
        now = now.max(Timestamp::now()) + STEP;
        let read = read_through(&*stream, bookmark, now).await.unwrap();
        let ids: BTreeSet<String> = read.sorted("id").into_iter().collect();
        assert_eq!((ids.len(), read.records.len()), (25, 25), "{name}");
        now += SignedDuration::from_secs(3600);
        let again = read_through(&*stream, read.bookmark, now).await.unwrap();
        assert_eq!(again.records.len(), 0, "{name}, an hour later");
    }
}

#[tokio::test(start_paused = true)]
async fn no_incremental_stream_repeats_what_it_delivered() {
    let sandbox = workspace_of(400).await;
    for name in ["topics", "scorecards", "accounts", "contacts", "deals"] {
        let stream = stream(&sandbox.base_url(), name);
        // In the middle of the year of all calls, so that the overlaps are full.
        let mut now: Timestamp = "2025-07-01T12:00:00Z".parse().unwrap();
        let first = read_through(&*stream, None, now).await.unwrap();
        assert!(!first.records.is_empty(), "{name}");
        let mut delivered: BTreeSet<String> =
            first.sorted(stream.spec().key[0]).into_iter().collect();
        let mut bookmark = first.bookmark;
        for pass in 2..=4 {
            now += SignedDuration::from_secs(1);
            let read = read_through(&*stream, bookmark, now).await.unwrap();
            assert_eq!(read.records.len(), 0, "{name}, pass {pass}");
            bookmark = read.bookmark;
        }
        // The rest of the year comes in steps.
        while now < Timestamp::now() {
            now += SignedDuration::from_hours(24 * 20);
            let read = read_through(&*stream, bookmark, now).await.unwrap();
            delivered.extend(read.sorted(stream.spec().key[0]));
            bookmark = read.bookmark;
        }
        let delivered: Vec<String> = delivered.into_iter().collect();
        assert_eq!(delivered, sandbox.keys(name).unwrap(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_pass_does_not_reach_before_the_start_date() {
    let sandbox = workspace_of(2_000).await;
    let mut answer = answer(&sandbox.base_url());
    answer["start_date"] = json!("2025-07-01");
    let source = open(answer);
    for name in ["calls", "call_details", "scorecards", "accounts"] {
        let stream = source.stream(name).unwrap();
        let mut now: Timestamp = "2025-07-01T00:05:00Z".parse().unwrap();
        let mut bookmark = read_through(&*stream, None, now).await.unwrap().bookmark;
        now += SignedDuration::from_secs(1);
        let read = read_through(&*stream, bookmark, now).await.unwrap();
        assert_eq!(read.records.len(), 0, "{name}");
        bookmark = read.bookmark;
        assert!(bookmark.is_some(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn details_that_are_gone_are_noted_and_all_others_come() {
    let sandbox = workspace(CopilotOptions {
        faults: faults("missing_details=7"),
        ..CopilotOptions::default()
    })
    .await;
    let read = first_pass(&sandbox, "call_details").await;
    let keys = sandbox.keys("call_details").unwrap();
    let calls = sandbox.keys("calls").unwrap();
    assert!(keys.len() < calls.len());
    assert_eq!(read.sorted("id"), keys);
    assert_eq!(read.notes.len(), calls.len() - keys.len());
    assert!(read.notes.iter().all(|note| *note == "missing"));
}

/// Stops before every page and goes on from text: what is left is exactly what was not delivered yet.
async fn goes_on_from_every_place(sandbox: &Sandbox, name: &str) {
    let stream = stream(&sandbox.base_url(), name);
    let now = Timestamp::now();
    let whole = Reading::begin(&stream, None, now)
        .unwrap()
        .finish()
        .await
        .unwrap();
    let mut reading = Reading::begin(&stream, None, now).unwrap();
    let mut places = 0;
    while !reading.is_done() {
        let delivered = reading.read.records.len();
        let rest = Reading::resume(&stream, &reading.place())
            .finish()
            .await
            .unwrap();
        assert!(
            rest.records == whole.records[delivered..],
            "{name}: page {places} does not go on where {delivered} records were delivered"
        );
        assert_eq!(rest.bookmark, whole.bookmark, "{name}, page {places}");
        reading.step().await.unwrap();
        places += 1;
    }
    assert!(places > 5, "{name}: {places}");
}

#[tokio::test(start_paused = true)]
async fn a_read_of_calls_goes_on_from_every_page() {
    let sandbox = workspace_of(800).await;
    goes_on_from_every_place(&sandbox, "calls").await;
}

#[tokio::test(start_paused = true)]
async fn a_read_of_details_and_crm_records_goes_on_from_every_record() {
    goes_on_from_every_place(&workspace_of(40).await, "call_details").await;
    let sandbox = workspace_of(24).await;
    for name in ["accounts", "contacts", "deals"] {
        goes_on_from_every_place(&sandbox, name).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_on_from_a_place_where_pages_were_too_large() {
    let sandbox = with_pages_of_25(200).await;
    goes_on_from_every_place(&sandbox, "calls").await;
}

/// The streams that take several requests, with the calls that make it so.
const LONG_READS: [(&str, u64); 4] = [
    ("calls", 700),
    ("call_details", 40),
    ("contacts", 40),
    ("scorecards", 2_000),
];

#[tokio::test(start_paused = true)]
async fn trouble_that_passes_loses_nothing() {
    for (name, calls) in LONG_READS {
        let sandbox = workspace_of(calls).await;
        for trouble in [
            "status=500:2",
            "reset=2",
            "truncate=2",
            "status=429:2",
            "status=503:1,reset=1,truncate=1",
        ] {
            let stream = stream(&sandbox.base_url(), name);
            let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
            let before = sandbox.stats().requests;
            for page in 0.. {
                if page == 0 || page == 3 {
                    sandbox.set_faults(faults(trouble));
                }
                if reading.is_done() {
                    break;
                }
                reading.step().await.unwrap();
            }
            assert_eq!(
                reading.read.sorted(stream.spec().key[0]),
                sandbox.keys(name).unwrap(),
                "{name} with {trouble}"
            );
            let requests = sandbox.stats().requests - before;
            assert!(
                requests >= reading.read.fetches as u64 + 4,
                "{name} with {trouble}: the trouble happened"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_stops_a_read_and_never_ends_it() {
    for (name, calls) in LONG_READS {
        let sandbox = workspace_of(calls).await;
        for (garbage, says) in [
            ("html=1", "web page"),
            ("other_json=1", "record"),
            ("error_body=1", "it says Internal server error"),
        ] {
            for pages in [0, 1, 3] {
                let stream = stream(&sandbox.base_url(), name);
                let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
                for _ in 0..pages {
                    reading.step().await.unwrap();
                }
                let place = reading.place();
                sandbox.set_faults(faults(garbage));
                let delivered = reading.read.records.len();
                let error = reading.step().await.expect_err("garbage is no page");
                assert_eq!(error.kind(), Kind::DataInvalid, "{name}: {error:?}");
                assert!(error.to_string().contains(says), "{name}: {error}");
                assert_eq!(reading.read.records.len(), delivered, "{name}");

                let mut records = reading.read.records;
                let rest = Reading::resume(&stream, &place).finish().await.unwrap();
                records.extend(rest.records);
                let whole = ReadThrough {
                    records,
                    ..ReadThrough::default()
                };
                assert_eq!(
                    whole.sorted(stream.spec().key[0]),
                    sandbox.keys(name).unwrap(),
                    "{name} with {garbage} after {pages} pages"
                );
                assert!(rest.bookmark.is_some(), "{name}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_fails_the_read_and_its_place_is_good_afterwards() {
    let sandbox = workspace_of(700).await;
    let stream = stream(&sandbox.base_url(), "calls");
    let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
    for _ in 0..3 {
        reading.step().await.unwrap();
    }
    sandbox.set_faults(faults("status=503:1000"));
    let before = sandbox.stats().requests;
    let error = reading.step().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (Kind::Unavailable, Status::Persistent)
    );
    assert_eq!(sandbox.stats().requests - before, 5, "five tries");
    sandbox.set_faults(Faults::default());
    let read = reading.finish().await.unwrap();
    assert_eq!(read.sorted("id"), sandbox.keys("calls").unwrap());
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_revoked_during_a_read_stop_it_at_once() {
    for (status, kind) in [(401, Kind::Unauthenticated), (403, Kind::PermissionDenied)] {
        let sandbox = workspace_of(700).await;
        let stream = stream(&sandbox.base_url(), "calls");
        let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
        reading.step().await.unwrap();
        sandbox.set_faults(faults(&format!("status={status}:1000")));
        let before = sandbox.stats().requests;
        let error = reading.step().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(sandbox.stats().requests - before, 1, "asked once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_weekly_allowance_that_is_used_up_comes_back_on_sunday() {
    let mut options = CopilotOptions::default();
    options.limits.per_week = Some(20);
    let sandbox = workspace(options).await;
    let stream = stream(&sandbox.base_url(), "call_details");
    let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
    let error = loop {
        if let Err(error) = reading.step().await {
            break error;
        }
        assert!(!reading.is_done(), "the allowance is too small for this");
    };
    assert_eq!(error.kind(), Kind::QuotaExhausted, "{error:?}");
    assert_eq!(error.status(), Status::Persistent, "{error:?}");
    assert!(error.message().contains("Sunday"), "{error}");

    let week = 7 * 24 * 60 * 60;
    let delay = i64::try_from(error.delay().unwrap().as_secs()).unwrap();
    assert!((0..=week).contains(&delay), "{delay}");
    let a_sunday: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let back = Timestamp::now().as_second() + delay;
    let off = (back - a_sunday.as_second()).rem_euclid(week);
    assert!(
        off.min(week - off) < 300,
        "{off} seconds after a Sunday began"
    );
    // Refused requests do not count; for some minutes each try was refused.
    let refused = sandbox.stats().throttled;
    assert!((5..20).contains(&refused), "{refused}");
    assert_eq!(sandbox.stats().requests, 20 + refused);
}

#[tokio::test(start_paused = true)]
async fn a_busy_minute_is_waited_for() {
    let sandbox = workspace(CopilotOptions {
        faults: faults("status=429:2:/calls,retry_after=40"),
        ..CopilotOptions::default()
    })
    .await;
    let context = acceptance::unhurried::context();
    let source = open_in(&context, answer(&sandbox.base_url()));
    let stream = source.stream("calls").unwrap();
    let read = read_through(&*stream, None, Timestamp::now())
        .await
        .unwrap();
    assert_eq!(read.sorted("id"), sandbox.keys("calls").unwrap());
    assert_eq!(sandbox.stats().throttled, 2);
    assert!(context.meter.backoff_wait() >= std::time::Duration::from_secs(80));
}
