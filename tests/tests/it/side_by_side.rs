//! Streams read with many requests at once, in any order, by a reader that is killed: the same records come.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use acceptance::{claribi, copilot, read_through, revenue};
use headwater_core::{AnyStream, Kind, Position, SignedDuration, Source, Timestamp};
use headwater_sandbox::{
    ClaribiOptions, CopilotOptions, Faults, JobOptions, RevenueOptions, Sandbox,
};
use headwater_testkit::{PassDriver, PassReader, PassResult};
use serde_json::{Value, json};

/// Where a test begins its random numbers.
fn seed() -> u64 {
    let seed = fastrand::u64(..1 << 40);
    println!("seed {seed}");
    seed
}

async fn gather(
    stream: &Arc<dyn AnyStream>,
    bookmark: Option<Position>,
    now: Timestamp,
    how: PassReader,
) -> PassResult {
    let plan = stream.plan(bookmark, now).unwrap();
    how.all(stream, plan).await.unwrap()
}

fn field(record: &str, name: &str) -> String {
    let record: Value = serde_json::from_str(record).unwrap();
    match &record[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn sorted(records: &[String]) -> Vec<&String> {
    let mut records: Vec<&String> = records.iter().collect();
    records.sort();
    records
}

#[tokio::test(start_paused = true)]
async fn a_workspace_at_rest_gives_each_stream_once_in_whatever_order_it_is_read() {
    let mut random = fastrand::Rng::with_seed(seed());
    let sandbox = copilot::workspace_of(900).await;
    for name in copilot::STREAMS {
        let stream = copilot::stream(&sandbox.base_url(), name);
        let how = PassReader {
            at_once: random.usize(2..24),
            seed: random.u64(..),
            crash_every: None,
        };
        let gathered = gather(&stream, None, Timestamp::now(), how).await;
        let key = stream.spec().key[0];
        let mut keys: Vec<String> = gathered.records.iter().map(|one| field(one, key)).collect();
        keys.sort();
        assert_eq!(keys, sandbox.keys(name).unwrap(), "{name}");
        assert_eq!(
            gathered.bookmark.is_some(),
            stream.spec().incremental,
            "{name}"
        );
    }
}

/// Statuses by id; the last one that came counts.
fn statuses(records: &[String]) -> BTreeMap<String, String> {
    let status = |record: &String| (field(record, "id"), field(record, "status"));
    records.iter().map(status).collect()
}

#[tokio::test(start_paused = true)]
async fn calls_that_change_while_they_are_read_side_by_side_come_with_this_pass_or_the_next() {
    let mut random = fastrand::Rng::with_seed(seed());
    for (name, most) in [("calls", 2_500), ("calls", 2_500), ("call_details", 400)] {
        let options = CopilotOptions {
            calls: random.u64(most / 2..most),
            seed: random.u64(..),
            faults: Faults {
                changing: random.u64(1..8),
                ..Faults::default()
            },
            ..CopilotOptions::default()
        };
        println!("{name}: {options:?}");
        let sandbox = copilot::workspace(options).await;
        let stream = copilot::stream(&sandbox.base_url(), name);
        let how = PassReader {
            at_once: random.usize(2..20),
            seed: random.u64(..),
            crash_every: random.bool().then_some(12),
        };
        let first = gather(&stream, None, Timestamp::now(), how).await;
        sandbox.set_faults(Faults::default());
        let later = Timestamp::now() + SignedDuration::from_secs(1);
        let second = gather(&stream, first.bookmark, later, how).await;
        assert!(!second.records.is_empty(), "some calls changed");
        let mut delivered = statuses(&first.records);
        delivered.extend(statuses(&second.records));
        let truth = read_through(&*stream, None, later).await.unwrap();
        let truth = statuses(&truth.records);
        assert_eq!(truth.len(), sandbox.keys("calls").unwrap().len());
        assert_eq!(delivered, truth);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_take_a_quarter_of_the_rounds_at_most() {
    let sandbox = copilot::workspace_of(10_000).await;
    let stream = copilot::stream(&sandbox.base_url(), "calls");
    let mut walk = PassDriver::new(stream.plan(None, Timestamp::now()).unwrap());
    let (mut rounds, mut requests, mut ids) = (0, 0, BTreeSet::new());
    while !walk.is_over() {
        // What is sent together is answered together.
        rounds += 1;
        for ready in walk.ready().into_iter().take(16) {
            let page = stream.fetch(ready.partition, ready.token).await.unwrap();
            walk.arrived(ready.id, &page);
            requests += 1;
            ids.extend(
                page.iter()
                    .map(|record| field(std::str::from_utf8(record).unwrap(), "id")),
            );
        }
    }
    assert_eq!(
        ids.into_iter().collect::<Vec<_>>(),
        sandbox.keys("calls").unwrap()
    );
    assert!(requests > 90, "{requests}");
    assert!(
        rounds * 4 <= requests,
        "{rounds} rounds for {requests} requests"
    );
}

#[tokio::test(start_paused = true)]
async fn a_survey_says_what_reading_takes_and_every_part_can_be_read_by_itself() {
    let sandbox = copilot::workspace_of(11_000).await;
    let now = Timestamp::now();
    let stream = copilot::stream(&sandbox.base_url(), "calls");
    let mut parts = Vec::new();
    for partition in stream.plan(None, now).unwrap() {
        parts.extend(stream.survey(partition).await.unwrap());
    }
    let surveyed = sandbox.stats().by_path["/calls"];
    assert!(surveyed < 10, "{surveyed} requests");
    assert!(parts.len() > 2, "more than the service pages through");
    let keys = sandbox.keys("calls").unwrap();
    let records: Option<u64> = parts.iter().map(|part| part.records).sum();
    assert_eq!(records, Some(keys.len() as u64));

    let mut ids = Vec::new();
    for part in &parts {
        // As another process would: from the text.
        let partition: Position =
            serde_json::from_str(&serde_json::to_string(&part.partition).unwrap()).unwrap();
        let stream = copilot::stream(&sandbox.base_url(), "calls");
        let before = sandbox.stats().by_path["/calls"];
        let how = PassReader {
            at_once: 8,
            seed: 1,
            crash_every: None,
        };
        let gathered = how.all(&stream, vec![partition]).await.unwrap();
        assert_eq!(Some(gathered.records.len() as u64), part.records);
        let asked = sandbox.stats().by_path["/calls"] - before;
        assert_eq!(Some(asked), part.requests);
        ids.extend(gathered.records.iter().map(|record| field(record, "id")));
    }
    ids.sort();
    assert_eq!(ids, keys);

    // Of details: the same pages, and a request for each call at most.
    let details = copilot::stream(&sandbox.base_url(), "call_details");
    let partition = details.plan(None, now).unwrap().remove(0);
    let of_details = details.survey(partition).await.unwrap();
    assert_eq!(of_details[0].records, parts[0].records);
    let expected = parts[0].requests.unwrap() + parts[0].records.unwrap();
    assert_eq!(of_details[0].requests, Some(expected));
}

/// A tenant, and two forecasts of two quarters to read.
async fn quarters() -> (Sandbox, Arc<dyn AnyStream>) {
    let sandbox = revenue::tenant(RevenueOptions {
        forecast_entries: 3_000,
        jobs: JobOptions {
            concurrent_limit: 3,
            running: Duration::from_millis(20),
            ..revenue::options().jobs
        },
        ..revenue::options()
    })
    .await;
    let answer = revenue::answer_with(
        &sandbox.base_url(),
        json!({
            "forecast_ids": ["net_arr", "net_bookings"],
            "fiscal_periods": sandbox_quarters(&sandbox),
        }),
    );
    let stream = revenue::open(answer).stream("forecast_entries").unwrap();
    (sandbox, stream)
}

/// The quarters that the simulator knows of a forecast by default and one before.
fn sandbox_quarters(sandbox: &Sandbox) -> Vec<String> {
    let current = sandbox.keys("time_periods").unwrap().remove(0);
    let (year, quarter) = current.split_once("_Q").unwrap();
    let (year, quarter): (u32, u32) = (year.parse().unwrap(), quarter.parse().unwrap());
    let before = match quarter {
        1 => format!("{}_Q4", year - 1),
        _ => format!("{year}_Q{}", quarter - 1),
    };
    vec![before, current]
}

#[tokio::test(start_paused = true)]
async fn exports_that_are_under_way_at_once_are_ordered_once_each_and_not_mixed_up() {
    let mut random = fastrand::Rng::with_seed(seed());
    for crash_every in [None, Some(9), Some(4)] {
        let (sandbox, stream) = quarters().await;
        let how = PassReader {
            at_once: 4,
            seed: random.u64(..),
            crash_every,
        };
        let gathered = gather(&stream, None, Timestamp::now(), how).await;
        assert_eq!(revenue::ordered_once(&sandbox).len(), 4, "{how:?}");
        let mut came: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for record in gathered.records {
            let of = (field(&record, "forecastId"), field(&record, "timePeriodId"));
            came.entry(of).or_default().push(record);
        }
        assert_eq!(came.len(), 4);
        for ((forecast, quarter), records) in came {
            let which = format!("/{forecast}/{quarter}");
            let truth = revenue::truth(&sandbox, "forecast_entries", &which);
            assert_eq!(
                revenue::keys("forecast_entries", &records),
                truth,
                "{which}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn details_of_a_list_come_in_whatever_order_they_are_read() {
    let mut random = fastrand::Rng::with_seed(seed());
    let sandbox = claribi::organization(ClaribiOptions::default()).await;
    let mut answer = claribi::answer(&sandbox.base_url());
    answer["read_details"] = true.into();
    for name in ["data_sources", "reports", "dashboards"] {
        let stream = claribi::open(answer.clone()).stream(name).unwrap();
        let one_by_one = read_through(&*stream, None, Timestamp::now())
            .await
            .unwrap();
        for crash_every in [None, Some(8)] {
            let how = PassReader {
                at_once: 8,
                seed: random.u64(..),
                crash_every,
            };
            let gathered = gather(&stream, None, Timestamp::now(), how).await;
            assert_eq!(
                sorted(&gathered.records),
                sorted(&one_by_one.records),
                "{name}"
            );
        }
    }
}

/// Every source, with what its form needs to open it; nothing is sent.
fn sources() -> Vec<Arc<dyn Source>> {
    vec![
        copilot::open(copilot::answer("http://127.0.0.1:1")),
        revenue::open(revenue::answer("http://127.0.0.1:1")),
        claribi::open(claribi::answer("http://127.0.0.1:1")),
    ]
}

#[tokio::test]
async fn every_stream_that_goes_on_from_a_bookmark_can_be_rewound_and_says_how_far_it_got() {
    let now = Timestamp::now();
    let to = now - SignedDuration::from_hours(5 * 24);
    for source in sources() {
        for stream in source.streams() {
            let name = stream.spec().name;
            for partition in stream.plan(None, now).unwrap() {
                let range = stream.range(&partition).unwrap();
                assert_eq!(range.from.is_some(), stream.spec().incremental, "{name}");
                assert!(
                    range.to <= Some(now + SignedDuration::from_hours(24)),
                    "{name}"
                );
            }
            if !stream.spec().incremental {
                let error = stream.rewind(to).unwrap_err();
                assert_eq!(error.kind(), Kind::Unsupported, "{name}");
                assert!(error.message().contains(name), "{error}");
                continue;
            }
            let bookmark = stream.rewind(to).unwrap();
            let watermark = stream.watermark(&bookmark).unwrap();
            assert!(watermark.until.unwrap() <= to, "{name}: {watermark:?}");
            assert!(
                watermark.again_from < watermark.until,
                "{name}: {watermark:?}"
            );
            assert!(!watermark.reason.is_empty(), "{name}");
            let plan = stream.plan(Some(bookmark), now).unwrap();
            let first = stream.range(&plan[0]).unwrap().from.unwrap();
            assert!(first <= to, "{name} begins at {first}");
            let begins = watermark.again_from.or(watermark.until);
            assert_eq!(Some(first), begins, "{name}: what is said is what is done");
            let last = stream.range(plan.last().unwrap()).unwrap().to.unwrap();
            assert!(
                last > now - SignedDuration::from_mins(10),
                "{name} ends at {last}"
            );
        }
    }
}
