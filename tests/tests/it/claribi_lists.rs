//! Lists of clariBI that change while they are read, that do not end, and that say less of themselves than they should.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use acceptance::{
    ReadThrough,
    binary::{Ran, run_with_input},
    claribi::{answer, ids, open, stream},
    copilot::script,
    read_through,
};
use headwater_core::{Kind, Result, Timestamp};
use headwater_testkit::{Reply, Request, Script};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const PAGE: usize = 100;

/// The envelopes that tell a total.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Envelope {
    /// `{count,next,results}` with numbered pages.
    Numbered,
    /// `{items,total,limit,offset}`.
    Items,
    /// `{items,total}`.
    Bare,
    /// `{data,next_cursor,total}`, the cursor an offset.
    Cursor,
}

const ENVELOPES: [Envelope; 4] = [
    Envelope::Numbered,
    Envelope::Items,
    Envelope::Bare,
    Envelope::Cursor,
];

fn number(request: &Request, name: &str) -> Option<usize> {
    request.parameter(name).and_then(|text| text.parse().ok())
}

fn offset(request: &Request, envelope: Envelope) -> usize {
    match envelope {
        Envelope::Numbered => (number(request, "page").unwrap_or(1) - 1) * PAGE,
        Envelope::Items | Envelope::Bare => number(request, "offset").unwrap_or(0),
        Envelope::Cursor => number(request, "cursor").unwrap_or(0),
    }
}

/// A page of these ids.
fn page(envelope: Envelope, offset: usize, all: &[usize]) -> Reply {
    let items: Vec<Value> = all
        .iter()
        .skip(offset)
        .take(PAGE)
        .map(|id| json!({ "id": id, "name": format!("report {id}") }))
        .collect();
    let total = all.len();
    let next = offset + items.len();
    let has_next = next < total;
    let body = match envelope {
        Envelope::Numbered if items.is_empty() && offset > 0 => {
            return Reply::json(404, r#"{"detail":"Invalid page."}"#);
        }
        Envelope::Numbered => {
            let link = format!("/api/reports/?page={}&page_size=100", offset / PAGE + 2);
            json!({ "count": total, "next": has_next.then_some(link), "previous": null, "results": items })
        }
        Envelope::Items => {
            json!({ "items": items, "total": total, "limit": PAGE, "offset": offset })
        }
        Envelope::Bare => json!({ "items": items, "total": total }),
        Envelope::Cursor => {
            json!({ "data": items, "next_cursor": has_next.then(|| next.to_string()), "total": total })
        }
    };
    Reply::json(200, &body.to_string())
}

/// A service with 250 reports; `change` gets them before each answer but the first, with the number of the answer.
async fn changing(
    envelope: Envelope,
    change: impl Fn(usize, &mut Vec<usize>) + Send + Sync + 'static,
) -> (Script, Arc<Mutex<Vec<usize>>>) {
    let all: Arc<Mutex<Vec<usize>>> = Arc::new(Mutex::new((0..250).collect()));
    let shared = Arc::clone(&all);
    let answer = move |request: &Request| {
        let mut all = shared.lock().unwrap();
        if request.index > 0 {
            change(request.index, &mut all);
        }
        page(envelope, offset(request, envelope), &all)
    };
    (script(answer).await, all)
}

async fn read_reports(script: &Script) -> Result<ReadThrough> {
    let stream = stream(&script.base_url(), "reports");
    read_through(&*stream, None, Timestamp::now()).await
}

fn missing(live: &[usize], read: &ReadThrough) -> Vec<usize> {
    let read: BTreeSet<String> = ids(read).into_iter().collect();
    let is_missing = |id: &&usize| !read.contains(&id.to_string());
    live.iter().filter(is_missing).copied().collect()
}

#[tokio::test(start_paused = true)]
async fn a_list_that_shrinks_between_two_pages_is_read_once_more() {
    for envelope in ENVELOPES {
        let (script, all) = changing(envelope, |number, all| {
            if number == 1 {
                all.drain(..5);
            }
        })
        .await;
        let read = read_reports(&script).await.unwrap();
        assert_eq!(missing(&all.lock().unwrap(), &read), [0; 0], "{envelope:?}");
        assert_eq!(read.records.len(), 250, "{envelope:?}: each comes once");
        assert_eq!(read.gaps, [], "{envelope:?}");
        assert_eq!(read.notes, ["read_again"], "{envelope:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_goes_on_changing_is_told_with_what_may_be_missing() {
    for envelope in ENVELOPES {
        for is_shrinking in [true, false] {
            let (script, all) = changing(envelope, move |number, all| match is_shrinking {
                true => drop(all.drain(..3)),
                false => all
                    .splice(0..0, 10_000 + 3 * number..10_003 + 3 * number)
                    .for_each(drop),
            })
            .await;
            let read = read_reports(&script).await.unwrap();
            let missing = missing(&all.lock().unwrap(), &read).len() as u64;
            let what = format!(
                "{envelope:?} {is_shrinking}: {missing} missing, {:?}",
                read.gaps
            );
            let [("list_changed", Some(at_most))] = read.gaps[..] else {
                panic!("{what}")
            };
            // What came after the last page was read is the next run's.
            assert!(!is_shrinking || missing <= at_most, "{what}");
            assert!(script.requests().len() < 20, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_gone_lets_the_list_be_read_once_more() {
    // Page 3 is gone when page 1 has lost sixty.
    let (script, all) = changing(Envelope::Numbered, |number, all| {
        if number == 2 {
            all.drain(..60);
        }
    })
    .await;
    let read = read_reports(&script).await.unwrap();
    assert_eq!(missing(&all.lock().unwrap(), &read), [0; 0]);
    assert_eq!((read.gaps, read.notes), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_leads_every_page_and_a_burst_in_front_do_not_end_a_read() {
    for envelope in ENVELOPES {
        // On top of each page, and in the place of another one.
        for room in [PAGE, PAGE - 1] {
            let all: Vec<usize> = (0..1_250).collect();
            let pinned = move |request: &Request| {
                let from = offset(request, envelope);
                let mut shown = vec![99_999];
                shown.extend(all.iter().skip(from).take(room));
                let total = all.len() + 1;
                let items: Vec<Value> = shown.iter().map(|id| json!({ "id": id })).collect();
                let next = from + PAGE;
                let has_next = next < all.len();
                let body = match envelope {
                    Envelope::Numbered => {
                        let link = format!("/api/reports/?page={}", from / PAGE + 2);
                        json!({ "count": total, "next": has_next.then_some(link), "results": items })
                    }
                    Envelope::Items => json!({ "items": items, "total": total, "offset": from }),
                    Envelope::Bare => json!({ "items": items, "total": total }),
                    Envelope::Cursor => {
                        json!({ "data": items, "next_cursor": has_next.then(|| next.to_string()), "total": total })
                    }
                };
                Reply::json(200, &body.to_string())
            };
            let script = script(pinned).await;
            let read = read_reports(&script).await;
            let read = read.unwrap_or_else(|error| panic!("{envelope:?} {room}: {error}"));
            let live: Vec<usize> = (0..1_250).collect();
            let missing = missing(&live, &read).len() as u64;
            let told: u64 = read.gaps.iter().filter_map(|(_, at_most)| *at_most).sum();
            assert!(
                missing <= told,
                "{envelope:?} {room}: {missing} missing, {told} told"
            );
            // The offsets of the second reading overlap.
            if matches!(envelope, Envelope::Items | Envelope::Bare) || room == PAGE {
                assert_eq!((missing, told), (0, 0), "{envelope:?} {room}");
            }
        }
        let (script, all) = changing(envelope, |number, all| {
            if number % 4 == 3 && number < 12 {
                all.splice(0..0, 10_000 * number..10_000 * number + PAGE);
            }
        })
        .await;
        let read = read_reports(&script).await;
        let read = read.unwrap_or_else(|error| panic!("{envelope:?}: {error}"));
        let old = missing(&(0..250).collect::<Vec<_>>(), &read);
        assert_eq!(old, [0; 0], "{envelope:?}");
        let missing = missing(&all.lock().unwrap(), &read);
        assert!(missing.is_empty() || !read.gaps.is_empty(), "{envelope:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_total_without_a_way_on_is_followed_or_told() {
    // A service that takes an offset but does not say so, one that takes a page, one that takes neither.
    for way in ["offset", "page", "neither"] {
        for (list, total) in [("items", "total"), ("results", "count"), ("data", "total")] {
            let script = script(move |request| {
                let from = match way {
                    "offset" => number(request, "offset").unwrap_or(0),
                    "page" => (number(request, "page").unwrap_or(1) - 1) * PAGE,
                    _ => 0,
                };
                let items: Vec<Value> = (from..250.min(from + PAGE))
                    .map(|id| json!({ "id": id }))
                    .collect();
                Reply::json(200, &json!({ list: items, total: 250 }).to_string())
            })
            .await;
            let read = read_reports(&script).await.unwrap();
            if way == "neither" {
                assert_eq!(read.records.len(), 100, "{list}");
                assert_eq!(read.gaps, [("count_differs", Some(150))], "{list}");
                assert!(!read.notes.contains(&"count_differs"), "{list}");
            } else {
                assert_eq!(
                    (read.records.len(), read.gaps),
                    (250, vec![]),
                    "{way} {list}"
                );
                assert_eq!(script.requests().len(), 3, "{way} {list}");
            }
        }
    }
    // A list that says that it is over, and that it has more.
    let script = script(|_| {
        let items: Vec<Value> = (0..100).map(|id| json!({ "id": id })).collect();
        let body = json!({ "count": 250, "next": null, "previous": null, "results": items });
        Reply::json(200, &body.to_string())
    })
    .await;
    let read = read_reports(&script).await.unwrap();
    assert_eq!(read.gaps, [("count_differs", Some(150))]);
}

type Answer = fn(&Request) -> Value;

/// Services that never say that their list is over.
const ENDLESS: [(&str, Answer); 12] = [
    (
        "a link, and empty pages",
        |request| json!({ "next": format!("?page={}", request.index), "results": [] }),
    ),
    ("a link, and empty pages behind the end", |request| {
        let items = if request.index < 2 {
            vec![json!({ "id": request.index })]
        } else {
            vec![]
        };
        json!({ "count": 5, "next": format!("?page={}", request.index), "results": items })
    }),
    (
        "a cursor, and empty pages",
        |request| json!({ "data": [], "next_cursor": format!("c{}", request.index) }),
    ),
    (
        "a cursor, and null for pages",
        |request| json!({ "data": null, "next_cursor": request.index }),
    ),
    (
        "a cursor, and the same page",
        |request| json!({ "data": [{ "id": 1 }, { "id": 2 }], "next_cursor": request.index }),
    ),
    (
        "a cursor, and the same records in other orders",
        |request| {
            let items: Vec<Value> = (0..7)
                .map(|n| json!({ "id": (n * (request.index % 6 + 1)) % 7 }))
                .collect();
            json!({ "data": items, "next_cursor": request.index })
        },
    ),
    ("a cursor, and records in a circle", |request| {
        let items: Vec<Value> = (0..90)
            .map(|n| json!({ "id": (request.index * 90 + n) % 1_001 }))
            .collect();
        json!({ "data": items, "next_cursor": request.index })
    }),
    (
        "a cursor that comes back, and new records",
        |request| json!({ "data": [{ "id": request.index }], "next_cursor": request.index % 9 }),
    ),
    (
        "an offset that is not looked at",
        |_| json!({ "items": [{ "id": 1 }], "offset": 0 }),
    ),
    ("a total, and new records for ever", |request| {
        let items: Vec<Value> = (0..100)
            .map(|n| json!({ "id": request.index * 100 + n }))
            .collect();
        json!({ "items": items, "total": 13, "offset": 0 })
    }),
    (
        "a total that grows, and the same page",
        |request| json!({ "items": [{ "id": 1 }], "total": 100 * request.index, "offset": 0 }),
    ),
    (
        "a total, no offset, and the same page",
        |_| json!({ "items": [{ "id": 1 }], "total": 1_000_000 }),
    ),
];

#[tokio::test(start_paused = true)]
async fn every_list_ends_that_never_says_so() {
    for (what, body) in ENDLESS {
        let script = script(move |request| Reply::json(200, &body(request).to_string())).await;
        let read = read_reports(&script).await;
        let requests = script.requests().len();
        assert!(requests < 150, "{what}: {requests} requests");
        match read {
            Ok(read) => assert!(!read.gaps.is_empty(), "{what}: {:?}", read.gaps),
            Err(error) => {
                assert_eq!(error.kind(), Kind::DataInvalid, "{what}: {error}");
                assert!(error.message().contains("never end"), "{what}: {error}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_the_end_is_no_error_where_the_total_shows_that_everything_came() {
    let script = script(|request| {
        let from = 100 * request.index;
        let items: Vec<Value> = (from..250.min(from + PAGE))
            .map(|id| json!({ "id": id }))
            .collect();
        let next = format!("?page={}", request.index + 2);
        Reply::json(
            200,
            &json!({ "count": 250, "next": next, "results": items }).to_string(),
        )
    })
    .await;
    let read = read_reports(&script).await.unwrap();
    assert_eq!((read.records.len(), read.gaps), (250, vec![]));
    assert_eq!(script.requests().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_for_nothing_where_no_total_tells_otherwise() {
    for (status, body) in [
        (200, "null"),
        (200, r#"{"count":0,"next":null,"results":null}"#),
        (200, r#"{"items":null}"#),
        (204, ""),
    ] {
        let script = script(move |_| Reply::json(status, body)).await;
        let read = read_reports(&script).await.unwrap();
        assert_eq!(
            (read.records.len(), &read.notes[..]),
            (0, &["taken_as_empty"][..]),
            "{body}"
        );
    }
    for body in [
        r#"{"count":3,"next":null,"results":null}"#,
        "",
        "{}",
        r#"{"items":null,"total":"3"}"#,
    ] {
        let script = script(move |_| Reply::json(200, body)).await;
        assert_eq!(
            read_reports(&script).await.unwrap_err().kind(),
            Kind::DataInvalid,
            "{body}"
        );
    }
    let marked = "\u{feff}{\"count\":\"1\",\"next\":null,\"results\":[{\"id\":1}]}";
    let script = script(move |_| Reply::json(200, marked)).await;
    let read = read_reports(&script).await.unwrap();
    assert_eq!(
        (ids(&read), &read.notes[..]),
        (vec!["1".to_owned()], &["total_as_text"][..])
    );
}

/// A service of 60 reports, whose details answer like this; the list leaves out those that are gone.
async fn detailed(
    status: impl Fn(usize) -> u16 + Send + Sync + Clone + 'static,
    is_listed_still: bool,
) -> (Script, ReadThrough) {
    let answer_of = move |request: &Request| {
        let path = request.target.strip_prefix("/api/reports/").unwrap();
        if let Some(id) = path.strip_suffix('/') {
            let id: usize = id.parse().unwrap();
            return match status(id) {
                200 => Reply::json(200, &json!({ "id": id, "detail": true }).to_string()),
                other => Reply::json(other, r#"{"detail":"Not found."}"#),
            };
        }
        let is_live = |id: &usize| request.index == 0 || is_listed_still || status(*id) == 200;
        let items: Vec<Value> = (0..60)
            .filter(is_live)
            .map(|id| json!({ "id": id }))
            .collect();
        Reply::json(
            200,
            &json!({ "count": items.len(), "next": null, "results": items }).to_string(),
        )
    };
    let script = script(answer_of).await;
    let mut answer = answer(&script.base_url());
    answer["read_details"] = true.into();
    let stream = open(answer).stream("reports").unwrap();
    let read = read_through(&*stream, None, Timestamp::now())
        .await
        .unwrap();
    (script, read)
}

#[tokio::test(start_paused = true)]
async fn deleted_items_never_take_the_details_of_others() {
    for gone in [1, 3, 4, 11, 25, 45, 59] {
        for from in [0, 60 - gone] {
            let status = move |id| {
                if (from..from + gone).contains(&id) {
                    404
                } else {
                    200
                }
            };
            let (_, read) = detailed(status, false).await;
            assert_eq!(read.records.len(), 60 - gone, "{gone} from {from}");
            assert!(read.records.iter().all(|record| record.contains("detail")));
            assert_eq!(read.notes, vec!["missing"; gone], "{gone} from {from}");
            assert_eq!(read.gaps, [], "{gone} from {from}");
        }
    }
    let (_, read) = detailed(|_| 404, false).await;
    assert_eq!(
        (read.records.len(), read.notes.len(), read.gaps.len()),
        (0, 60, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn details_that_are_not_served_are_told_and_the_list_comes() {
    for status in [404, 405, 410] {
        let (script, read) = detailed(move |_| status, true).await;
        assert_eq!(read.records.len(), 60, "{status}");
        assert_eq!(read.gaps, [("no_details", Some(60))], "{status}");
        assert_eq!(script.requests().len(), 12, "{status}");
    }
}

fn run_read(script: &Script) -> Ran {
    let config = answer(&script.base_url()).to_string();
    let arguments = ["read", "claribi", "--config", "-", "--stream", "reports"];
    run_with_input(HEADWATER, arguments, config.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_missing_is_said_at_the_end_of_a_run() {
    let (script, all) = changing(Envelope::Numbered, |number, all| {
        if number == 1 {
            all.drain(..5);
        }
    })
    .await;
    let ran = run_read(&script);
    let read: BTreeSet<&str> = ran.out.lines().collect();
    assert_eq!(read.len(), 250, "{}", ran.err);
    for id in all.lock().unwrap().iter() {
        assert!(ran.out.contains(&format!("report {id}\"")), "{id}");
    }
    let (script, _) = changing(Envelope::Items, |_, all| drop(all.drain(..5))).await;
    let ran = run_read(&script);
    for said in [
        "changed during both reads",
        "at most",
        "the next run reads them again",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_page_of_any_length_is_followed_or_an_error_of_the_service() {
    for length in [5_000, 65_300, 65_450, 65_500, 70_000, 1_000_000] {
        for is_link in [true, false] {
            let long = "x".repeat(length);
            let answer = move |request: &Request| {
                if request.index > 1 {
                    return Reply::json(200, r#"{"data":[]}"#);
                }
                let items = [json!({ "id": request.index })];
                let body = match is_link {
                    true => {
                        let link = format!("/api/reports/?page=2&more={long}");
                        json!({ "count": 2, "next": link, "results": items })
                    }
                    false => json!({ "data": items, "next_cursor": long, "total": 2 }),
                };
                Reply::json(200, &body.to_string())
            };
            let script = script(answer).await;
            let ran = tokio::task::block_in_place(|| run_read(&script));
            assert!(
                matches!(ran.code, Some(0 | 6 | 8)),
                "{length}: {}",
                ran.all()
            );
            assert!(ran.all().len() < 5_000, "{length}: the link is shown");
        }
    }
}
