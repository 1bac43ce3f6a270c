//! Lists read by time, against a service that says what is not so.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use crate::common::{
    at, pages, texts,
    windows::{CAP, Item, NOW, PAGING, assert_none_lost, ids, list, sorted},
};
use headwater_core::{AnyStream, Kind, Result, SignedDuration};
use headwater_testkit::{Reply, Request, Script};
use serde_json::{Value, json};

/// Returns the records of one window, a minute apart, before the overlap.
fn in_a_row(count: usize) -> Vec<Item> {
    let first = at("2026-01-02T00:00:00Z");
    let item = |id: usize| Item {
        id,
        modified: first + SignedDuration::from_secs(60 * id as i64),
        text: "old",
    };
    (0..count).map(item).collect()
}

async fn pass_of(
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (Script, Result<Vec<usize>>) {
    let script = Script::start(answer).await.unwrap();
    let stream: Arc<dyn AnyStream> = Arc::new(list(&script).paging(PAGING));
    let mut read = Vec::new();
    for partition in stream.plan(None, at(NOW)).unwrap() {
        match pages(&stream, &partition, None).await {
            Ok(pages) => read.extend(ids(&texts(&pages))),
            Err(error) => return (script, Err(error)),
        }
    }
    (script, Ok(read))
}

/// Returns the different ids that a read gives, and the number of its gaps; no number where the read fails.
async fn read_and_gaps(
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (BTreeSet<usize>, Option<usize>) {
    let script = Script::start(answer).await.unwrap();
    let stream: Arc<dyn AnyStream> = Arc::new(list(&script).paging(PAGING));
    let (mut read, mut gaps) = (BTreeSet::new(), 0);
    for partition in stream.plan(None, at(NOW)).unwrap() {
        let Ok(pages) = pages(&stream, &partition, None).await else {
            return (read, None);
        };
        gaps += pages.iter().map(|page| page.gaps.len()).sum::<usize>();
        read.extend(ids(&texts(&pages)));
    }
    (read, Some(gaps))
}

/// The items that a request asks for, with their number.
fn asked_for(request: &Request, items: &[Item]) -> (Vec<Value>, usize) {
    let bound = |name: &str| at(&request.parameter(name).unwrap().replace("%3A", ":"));
    let number = |name: &str| request.parameter(name).unwrap().parse::<usize>().unwrap();
    let inside = |item: &&Item| bound("after") < item.modified && item.modified < bound("before");
    let found: Vec<Value> = items
        .iter()
        .filter(inside)
        .map(|item| json!({ "id": item.id, "at": item.modified }))
        .collect();
    let total = found.len();
    let page = found.into_iter().skip(number("skip")).take(number("limit"));
    (page.collect(), total)
}

#[tokio::test]
async fn a_row_that_leads_every_page_hides_no_other() {
    for count in [0, 1, 3, 4, 5, 6, 9, 10, 11, 14, 16, 31, 47, 55] {
        for (is_on_top, is_counted) in [(false, true), (true, true), (true, false)] {
            let items = in_a_row(count);
            let answer = move |request: &Request| {
                let (mut page, total) = asked_for(request, &items);
                let limit: usize = request.parameter("limit").unwrap().parse().unwrap();
                let is_pinned = total > 0;
                if is_pinned {
                    page.insert(0, json!({ "id": 99_999, "at": "pinned" }));
                    if !is_on_top {
                        page.truncate(limit);
                    }
                }
                let matched = total + usize::from(is_pinned && is_counted);
                Reply::json(
                    200,
                    &json!({ "items": page, "pagination": { "matched": matched } }).to_string(),
                )
            };
            let (_, read) = pass_of(answer).await;
            let case = format!("{count} on top {is_on_top} counted {is_counted}");
            let mut read = sorted(read.unwrap_or_else(|error| panic!("{case}: {error}")));
            read.dedup();
            read.retain(|id| *id < 99_999);
            assert_eq!(read, (0..count).collect::<Vec<_>>(), "{case}");
        }
    }
}

#[tokio::test]
async fn a_total_that_is_too_small_hides_no_record() {
    for count in [3, 4, 5, 6, 9, 10, 11, 14, 16, 31, 47, 55] {
        for less in [1, 2, 4, 5, 9, 10, 30, 60] {
            let items = in_a_row(count);
            let answer = move |request: &Request| {
                let (page, total) = asked_for(request, &items);
                let matched = total.saturating_sub(less);
                let body = json!({ "items": page, "pagination": { "matched": matched } });
                Reply::json(200, &body.to_string())
            };
            let (_, read) = pass_of(answer).await;
            let mut read = sorted(read.unwrap());
            read.dedup();
            let case = format!("{count} without {less}");
            assert_eq!(read, (0..count).collect::<Vec<_>>(), "{case}");
        }
    }
}

/// A service that gives another page in the place of one, or a row in the place of another, now and then.
#[tokio::test]
async fn what_takes_the_place_of_records_hides_none_without_a_gap() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..60 {
        let (count, percent) = (random.usize(2..56), random.u8(5..60));
        let items = in_a_row(count);
        let dice = Mutex::new(random.fork());
        let last = Mutex::new(Vec::<Value>::new());
        let answer = move |request: &Request| {
            let (mut page, total) = asked_for(request, &items);
            let mut dice = dice.lock().unwrap();
            if dice.u8(..100) < percent && page.len() > 1 {
                let (from, to) = (dice.usize(..page.len()), dice.usize(..page.len()));
                page[to] = page[from].clone();
            }
            let mut last = last.lock().unwrap();
            if dice.u8(..100) < percent && last.len() == page.len() {
                page.clone_from(&last);
            }
            last.clone_from(&page);
            let body = json!({ "items": page, "pagination": { "matched": total } });
            Reply::json(200, &body.to_string())
        };
        let (read, gaps) = read_and_gaps(answer).await;
        let is_told = gaps.is_none_or(|gaps| gaps > 0);
        assert!(is_told || read.len() == count, "{count}: {read:?}");
    }
}

/// A service with totals that are wrong and pages that are short, which gives the first page in the place of another one,
/// too. Its totals are never those that a short page would make true.
#[tokio::test]
async fn several_lies_at_once_hide_no_record_without_a_gap() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..120 {
        let (count, percent) = (random.usize(2..40), random.u8(0..40));
        let (short, by) = (random.usize(1..6), random.i64(-20..40));
        let items = in_a_row(count);
        let dice = Mutex::new(random.fork());
        let answer = move |request: &Request| {
            let mut asked = request.clone();
            let is_later = request.parameter("skip") != Some("0");
            if is_later && dice.lock().unwrap().u8(..100) < percent {
                let skip = format!("skip={}&", request.parameter("skip").unwrap());
                asked.target = asked.target.replace(&skip, "skip=0&");
            }
            let (mut page, total) = asked_for(&asked, &items);
            page.truncate(short);
            let mut told = usize::try_from(total as i64 + by).unwrap_or(0);
            if told < total && told == page.len() {
                told += 1;
            }
            let body = json!({ "items": page, "pagination": { "matched": told } }).to_string();
            // One answer escapes what another one does not.
            let is_escaped = dice.lock().unwrap().bool();
            let body = if is_escaped {
                body.replace('-', "\\u002d")
            } else {
                body
            };
            Reply::json(200, &body)
        };
        let (read, gaps) = read_and_gaps(answer).await;
        let is_told = gaps.is_none_or(|gaps| gaps > 0);
        let case = format!("{count} by {by} short {short} {percent} %");
        assert!(is_told || read.len() == count, "{case}: {read:?}");
    }
}

#[tokio::test]
async fn totals_that_grow_or_do_not_go_by_the_time_never_keep_a_read() {
    type Total = fn(usize, usize) -> usize;
    let lies: [(&str, Total); 6] = [
        ("always many", |_, _| 1_000_000),
        ("always more", |real, index| real + 1_000 * index),
        ("more and more", |real, index| real + (1 << index.min(40))),
        ("one more each time", |real, index| real + index),
        (
            "many more later",
            |real, index| if index < 3 { real } else { 8_269_300 },
        ),
        (
            "now and then",
            |real, index| if index % 2 == 0 { real } else { real * 3 },
        ),
    ];
    for (what, total) in lies {
        for count in [0, 3, 12, 50] {
            let items = in_a_row(count);
            let answer = move |request: &Request| {
                let (page, real) = asked_for(request, &items);
                let matched = total(real, request.index);
                Reply::json(
                    200,
                    &json!({ "items": page, "pagination": { "matched": matched } }).to_string(),
                )
            };
            let (script, read) = pass_of(answer).await;
            let requests = script.requests();
            assert!(requests.len() < 500, "{what} {count}: {}", requests.len());
            let skip =
                |request: &Request| request.parameter("skip").unwrap().parse::<u64>().unwrap();
            assert!(
                requests.iter().all(|request| skip(request) <= CAP),
                "{what} {count}"
            );
            match read {
                Ok(read) => assert_none_lost(&in_a_row(count), &read, what),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::DataInvalid, "{what} {count}: {error}");
                }
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_taken_for_nothing_and_said_so() {
    for (body, status) in [
        (r#"{"items":null}"#, 200),
        (r#"{"items":[]}"#, 200),
        (r#"{"items":[],"pagination":null}"#, 200),
        (
            "\u{feff}{\"items\":[],\"pagination\":{\"matched\":\"0\"}}",
            200,
        ),
        ("", 204),
    ] {
        let script = Script::start(move |_| Reply::json(status, body))
            .await
            .unwrap();
        let stream: Arc<dyn AnyStream> = Arc::new(list(&script).paging(PAGING));
        let partition = stream.plan(None, at(NOW)).unwrap().remove(0);
        let pages = pages(&stream, &partition, None).await.unwrap();
        assert_eq!(texts(&pages).len(), 0);
        let notes: Vec<&str> = pages
            .iter()
            .flat_map(|page| &page.notes)
            .map(|note| note.code)
            .collect();
        let expected = if body.contains('"') && body.contains("\"0\"") {
            "total_as_text"
        } else {
            "taken_as_empty"
        };
        assert_eq!(notes, [expected], "{body}");
    }
    for body in [
        r#"{"items":null,"pagination":{"matched":3}}"#,
        r#"{"items":[],"pagination":{}}"#,
        r#"{"items":[{"id":1}]}"#,
        r#"{"items":[{"id":1}],"pagination":null}"#,
        "",
        "{}",
    ] {
        let (_, read) = pass_of(move |_| Reply::json(200, body)).await;
        assert_eq!(read.unwrap_err().kind(), Kind::DataInvalid, "{body}");
    }
}
