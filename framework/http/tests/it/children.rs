//! Children: asked for once per id that a parent names, wherever the parents stand.

use std::{sync::Arc, time::Duration};

use crate::common::{SECRET, again, at, bookmark, client, pages, spec, texts};
use headwater_core::{AnyStream, Error, Kind, Page, Position, Result, SignedDuration, Timestamp};
use headwater_http::{ChildStream, OffsetPaging, Records, Request, WindowedList};
use headwater_testkit::{PassDriver, PassReader, Reply, Script};
use serde_json::{Value, json};

const START: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-01-31T00:00:00Z";

/// The children that the parents name. Parent `n` was modified on day `n + 1`; the last one within the overlap.
const NAMED: [&[&str]; 7] = [
    &["a", "b"],
    &["a"],
    &[],
    &["c", "a/../x?y#z é"],
    &["b", "b"],
    &["d"],
    &["a", "e"],
];

fn ids(parent: &[u8]) -> Result<Vec<String>> {
    let parent: Value = serde_json::from_slice(parent)
        .map_err(|_| Error::new(Kind::DataInvalid, "a parent is not readable"))?;
    let names = parent["users"].as_array().into_iter().flatten();
    Ok(names.filter_map(Value::as_str).map(str::to_owned).collect())
}

fn request(id: &str) -> Request {
    Request::get("/user").query("id", id)
}

fn modified(parent: usize) -> Timestamp {
    match parent {
        6 => at("2026-01-30T23:30:00Z"),
        n => at(START) + SignedDuration::from_hours(24 * n as i64),
    }
}

fn parents(request: &headwater_testkit::Request) -> Reply {
    let bound = |name: &str| at(&request.parameter(name).unwrap().replace("%3A", ":"));
    let number = |name: &str| request.parameter(name).unwrap().parse::<usize>().unwrap();
    let found: Vec<Value> = (0..NAMED.len())
        .filter(|n| bound("after") < modified(*n) && modified(*n) < bound("before"))
        .map(|n| json!({ "id": n, "users": NAMED[n] }))
        .collect();
    let page: Vec<&Value> = found
        .iter()
        .skip(number("skip"))
        .take(number("limit"))
        .collect();
    Reply::json(
        200,
        &json!({ "items": page, "total": found.len() }).to_string(),
    )
}

fn child(request: &headwater_testkit::Request) -> Reply {
    let id = request.parameter("id").unwrap();
    Reply::json(200, &json!({ "user": { "id": id } }).to_string())
}

/// A service whose children answer as told.
async fn service(
    answer: impl Fn(&headwater_testkit::Request) -> Reply + Send + Sync + 'static,
) -> Script {
    let route = move |request: &headwater_testkit::Request| {
        if request.target.starts_with("/items?") {
            parents(request)
        } else {
            answer(request)
        }
    };
    Script::start(route).await.unwrap()
}

fn children(script: &Script) -> ChildStream {
    let paging = OffsetPaging {
        skip: "skip",
        limit: "limit",
        sizes: &[2],
        cap: 4,
        total: "/total",
        without_total: None,
    };
    let list = WindowedList::new(
        &client(script),
        spec("items"),
        "/items",
        Records::Lists(&["/items"]),
        ("after", "before"),
        at(START),
        SignedDuration::from_hours(1),
    );
    ChildStream::new(
        list.paging(paging),
        spec("users"),
        ids,
        request,
        Records::One("/user"),
    )
}

/// The pages of a whole pass.
async fn pass(stream: &Arc<dyn AnyStream>) -> Result<Vec<Page<Position, Position>>> {
    let mut all = Vec::new();
    for partition in stream.plan(None, at(NOW))? {
        all.extend(pages(stream, &partition, None).await?);
    }
    Ok(all)
}

/// The ids of the children that were asked for, sorted.
fn asked(script: &Script) -> Vec<String> {
    let requests = script.requests().into_iter();
    let mut asked: Vec<String> = requests
        .filter_map(|request| request.parameter("id").map(str::to_owned))
        .collect();
    asked.sort();
    asked
}

#[tokio::test]
async fn each_child_of_each_parent_is_asked_for() {
    let script = service(child).await;
    let stream: Arc<dyn AnyStream> = Arc::new(children(&script));
    let pages = pass(&stream).await.unwrap();
    let named: usize = NAMED.iter().map(|ids| ids.len()).sum();
    assert_eq!(texts(&pages).len(), named);
    assert_eq!(asked(&script).len(), named);
    assert!(bookmark(&pages).is_some());
}

#[tokio::test]
async fn once_asks_for_each_child_once_across_all_windows() {
    let script = service(child).await;
    let stream: Arc<dyn AnyStream> = Arc::new(children(&script).once());
    let pages = pass(&stream).await.unwrap();
    let expected = ["a", "a%2F..%2Fx%3Fy%23z+%C3%A9", "b", "c", "d", "e"];
    assert_eq!(asked(&script), expected);
    assert_eq!(texts(&pages).len(), expected.len());
    assert!(bookmark(&pages).is_some());
}

#[tokio::test]
async fn a_child_that_is_gone_is_noted_and_left_out() {
    for status in [404, 400] {
        let answer = move |request: &headwater_testkit::Request| match request.parameter("id") {
            Some("a" | "e") => Reply::json(status, r#"{"errorMessage":"no such user"}"#),
            _ => child(request),
        };
        let script = service(answer).await;
        let stream: Arc<dyn AnyStream> = Arc::new(children(&script).once());
        let pages = pass(&stream).await.unwrap();
        assert_eq!(texts(&pages).len(), 4, "{status}");
        let notes: Vec<&str> = pages
            .iter()
            .flat_map(|page| &page.notes)
            .map(|note| note.code)
            .collect();
        assert_eq!(notes, ["missing", "missing"], "{status}");
        assert_eq!(asked(&script).len(), 6, "{status}");
        // The last child of all is gone, too: the bookmark is there nevertheless.
        assert!(bookmark(&pages).is_some());
    }
}

#[tokio::test]
async fn a_child_that_fails_for_a_moment_is_tried_again() {
    let answer = |request: &headwater_testkit::Request| match request.index % 2 {
        0 => child(request),
        _ => Reply::json(500, "{}"),
    };
    let script = service(answer).await;
    let stream: Arc<dyn AnyStream> = Arc::new(children(&script).once());
    let pages = pass(&stream).await.unwrap();
    assert_eq!(texts(&pages).len(), 6);
    assert!(pages.iter().all(|page| page.notes.is_empty()));
    assert!(asked(&script).len() > 6);
}

#[tokio::test]
async fn a_child_that_may_not_be_read_fails_the_stream() {
    for (status, kind) in [(401, Kind::Unauthenticated), (403, Kind::PermissionDenied)] {
        let script = service(move |_| Reply::json(status, "{}")).await;
        let stream: Arc<dyn AnyStream> = Arc::new(children(&script));
        let error = pass(&stream).await.unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}

#[tokio::test]
async fn a_child_without_its_record_is_an_error_that_shows_no_secret() {
    let body = json!({ "message": format!("unknown key {SECRET}") }).to_string();
    let script = service(move |_| Reply::json(200, &body)).await;
    let stream: Arc<dyn AnyStream> = Arc::new(children(&script));
    let error = pass(&stream).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DataInvalid);
    assert!(!format!("{error:?}").contains(SECRET), "{error}");
}

#[tokio::test]
async fn reading_goes_on_from_every_page_exactly_where_it_was() {
    let script = service(child).await;
    let streams: [Arc<dyn AnyStream>; 2] = [
        Arc::new(children(&script)),
        Arc::new(children(&script).once()),
    ];
    for stream in streams {
        for partition in stream.plan(None, at(NOW)).unwrap() {
            let all = pages(&stream, &partition, None).await.unwrap();
            let mut walk = PassDriver::new(vec![partition]);
            for index in 0.. {
                let Some(ready) = walk.first() else { break };
                let page = stream.fetch(ready.partition, ready.token).await.unwrap();
                walk.arrived(ready.id, &page);
                let (mut rest, mut walk) = (Vec::new(), again(&walk));
                while let Some(ready) = walk.first() {
                    let page = stream.fetch(ready.partition, ready.token).await.unwrap();
                    walk.arrived(ready.id, &page);
                    rest.push(page);
                }
                assert_eq!(texts(&rest), texts(&all[index + 1..]), "page {index}");
                let left = bookmark(&all[index + 1..]);
                assert_eq!(bookmark(&rest), left, "page {index}");
            }
        }
    }
}

#[tokio::test]
async fn children_come_whatever_the_order_and_however_often_the_reader_is_killed() {
    let first = fastrand::u64(..1 << 40);
    println!("seeds from {first}");
    let delayed = |request: &headwater_testkit::Request| {
        child(request).after(Duration::from_millis(fastrand::u64(..3)))
    };
    for seed in first..first + 10 {
        for (once, crash_every) in [
            (false, None),
            (true, None),
            (false, Some(5)),
            (true, Some(5)),
        ] {
            let script = service(delayed).await;
            let stream: Arc<dyn AnyStream> = match once {
                true => Arc::new(children(&script).once()),
                false => Arc::new(children(&script)),
            };
            let one_by_one = pass(&stream).await.unwrap();
            let how = PassReader {
                at_once: 8,
                seed,
                crash_every,
            };
            let plan = stream.plan(None, at(NOW)).unwrap();
            let gathered = how.all(&stream, plan).await.unwrap();
            let mut expected = texts(&one_by_one);
            let mut records = gathered.records;
            expected.sort();
            records.sort();
            assert_eq!(records, expected, "seed {seed}, {how:?}, once {once}");
            assert_eq!(gathered.bookmark, bookmark(&one_by_one), "seed {seed}");
        }
    }
}

#[tokio::test]
async fn a_place_of_an_older_state_with_several_children_is_read_to_its_end() {
    let script = service(child).await;
    let stream: Arc<dyn AnyStream> = Arc::new(children(&script).once());
    let partition = stream.plan(None, at(NOW)).unwrap().remove(0);
    let bookmark_then = json!({ "to": NOW });
    let token = json!({
        "version": 1,
        "value": { "parents": null, "pending": ["x", "y"], "bookmark": bookmark_then },
    });
    let token = serde_json::from_value(token).unwrap();
    let pages = pages(&stream, &partition, Some(token)).await.unwrap();
    assert_eq!(texts(&pages), [r#"{"id":"x"}"#, r#"{"id":"y"}"#]);
    assert_eq!(json!(bookmark(&pages))["value"], bookmark_then);
}

#[tokio::test]
async fn a_survey_tells_what_children_take_where_each_parent_has_one_at_most() {
    let script = service(child).await;
    let asked = async |stream: ChildStream| {
        let stream: Arc<dyn AnyStream> = Arc::new(stream);
        let mut parts = Vec::new();
        for partition in stream.plan(None, at(NOW)).unwrap() {
            parts.extend(stream.survey(partition).await.unwrap());
        }
        let figures = parts.iter().map(|part| (part.records, part.requests));
        figures.collect::<Vec<_>>()
    };
    // Six parents on the first days: three windows are split until one has four and one has two; one parent within the
    // overlap.
    let parts = asked(children(&script).one_at_most()).await;
    let empty = (Some(0), Some(1));
    let expected = [
        (Some(4), Some(4 + 4)),
        (Some(2), Some(3 + 2)),
        empty,
        empty,
        (Some(1), Some(1 + 1)),
    ];
    assert_eq!(parts, expected);
    // In one partition: the same windows, those that were split, and seven children.
    let parts = asked(children(&script).once().one_at_most()).await;
    assert_eq!(parts, [(None, Some((4 + 3 + 1 + 1 + 1) + 3 + 7))]);
    for unbounded in [children(&script), children(&script).once()] {
        let parts = asked(unbounded).await;
        assert!(parts.iter().all(|part| *part == (None, None)), "{parts:?}");
    }
    let details = script.requests().into_iter();
    assert_eq!(
        details
            .filter(|one| one.target.starts_with("/user"))
            .count(),
        0
    );
}

#[tokio::test]
async fn the_next_pass_asks_only_for_children_of_new_parents() {
    let script = service(child).await;
    let stream: Arc<dyn AnyStream> = Arc::new(children(&script).once());
    let bookmark = bookmark(&pass(&stream).await.unwrap());
    let before = asked(&script).len();
    for partition in stream.plan(bookmark, at("2026-01-31T00:00:01Z")).unwrap() {
        let pages = pages(&stream, &partition, None).await.unwrap();
        assert_eq!(texts(&pages), Vec::<String>::new());
    }
    assert_eq!(asked(&script).len(), before);
}

/// A parent that looks the same may have changed: its time is coarse, or the service does not renew it.
#[tokio::test]
async fn the_next_pass_asks_again_for_children_of_parents_that_may_have_changed() {
    for (changed, is_asked_again) in [
        (json!("2026-01-30T23:30:00Z"), false),
        // Up to the unit in which the last pass began.
        (json!("2026-01-30T23:59:59Z"), false),
        (json!("2026-01-31T00:00:00Z"), true),
        (json!("2026-01-30T23:59:59.999Z"), false),
        (json!("2026-01-30T23:59:59.9995Z"), true),
        (json!("2999-12-31T23:59:59Z"), true),
        (json!("yesterday"), true),
        (Value::Null, true),
    ] {
        let listed = changed.clone();
        let script = Script::start(move |request| {
            if request.target.starts_with("/items?") {
                let item = json!({ "id": 1, "users": ["a"], "changed": listed });
                Reply::json(200, &json!({ "items": [item], "total": 1 }).to_string())
            } else {
                child(request)
            }
        })
        .await
        .unwrap();
        let list = WindowedList::new(
            &client(&script),
            spec("items"),
            "/items",
            Records::Lists(&["/items"]),
            ("after", "before"),
            at("2026-01-30T23:10:00Z"),
            SignedDuration::from_hours(1),
        );
        let stream = ChildStream::new(list, spec("users"), ids, request, Records::One("/user"));
        let stream: Arc<dyn AnyStream> = Arc::new(stream.changed_at("changed"));
        let first = pass(&stream).await.unwrap();
        assert_eq!(asked(&script), ["a"], "{changed}");
        let later = at(NOW) + SignedDuration::from_mins(10);
        let mut second = Vec::new();
        for partition in stream.plan(bookmark(&first), later).unwrap() {
            second.extend(pages(&stream, &partition, None).await.unwrap());
        }
        let count = if is_asked_again { 2 } else { 1 };
        assert_eq!(asked(&script).len(), count, "{changed}");
        assert_eq!(texts(&second).len(), count - 1, "{changed}");
    }
}
