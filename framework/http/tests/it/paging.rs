//! Every kind of paging, read to its end, through its loops and from every place in between.

use std::sync::Arc;

use crate::common::{SECRET, client, kept, pages, spec, texts};
use headwater_core::{AnyStream, Error, Kind, Position, Timestamp};
use headwater_http::{Paging, Records, RestStream};
use headwater_testkit::{Reply, Request, Script};
use serde_json::{Value, json};

const ITEMS: Records = Records::Lists(&["/items"]);
const PAGE: usize = 3;

const KINDS: [Paging; 6] = [
    Paging::PageNumber {
        page: "page",
        first: 1,
        size: "size",
        per_page: PAGE as u32,
    },
    Paging::Offset {
        skip: "skip",
        limit: "limit",
        per_page: PAGE as u32,
    },
    Paging::CursorInBody {
        pointer: "/meta/next",
        parameter: "cursor",
    },
    Paging::CursorInHeader {
        header: "x-next",
        parameter: "cursor",
    },
    Paging::NextLinkInBody {
        pointer: "/meta/next",
    },
    Paging::LinkHeader,
];

fn stream(script: &Script, paging: Paging) -> Arc<dyn AnyStream> {
    let stream = RestStream::new(&client(script), spec("things"), "/things", ITEMS);
    Arc::new(stream.paging(paging).query("fields", "all"))
}

fn partition(stream: &Arc<dyn AnyStream>) -> Position {
    let partitions = stream.plan(None, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(partitions.len(), 1);
    partitions[0].clone()
}

async fn read(stream: &Arc<dyn AnyStream>) -> Result<Vec<String>, Error> {
    let pages = pages(stream, &partition(stream), None).await?;
    Ok(texts(&pages))
}

async fn read_one(paging: Paging, reply: Reply) -> Result<Vec<String>, Error> {
    let script = Script::start(move |_| reply.clone()).await.unwrap();
    read(&stream(&script, paging)).await
}

fn record(n: usize) -> String {
    format!("{{\"id\":{n}}}")
}

/// The page at an offset, with a way to the next one in the manner of the given paging.
fn page(paging: Paging, items: &[String], next: Option<usize>) -> Reply {
    page_of(paging, items, next, None)
}

/// The same with a total.
fn page_of(paging: Paging, items: &[String], next: Option<usize>, total: Option<usize>) -> Reply {
    let mut body = json!({ "meta": {}, "total": total });
    let mut header = None;
    let next_text = next.map(|offset| match paging {
        Paging::NextLinkInBody { .. } | Paging::LinkHeader => format!("/things?at={offset}"),
        _ => offset.to_string(),
    });
    match (paging, next_text) {
        (Paging::CursorInBody { .. } | Paging::NextLinkInBody { .. }, next) => {
            body["meta"]["next"] = json!(next);
        }
        (Paging::CursorInHeader { .. }, Some(next)) => header = Some(("x-next", next)),
        (Paging::LinkHeader, Some(next)) => {
            header = Some((
                "link",
                format!("</things>; rel=\"first\", <{next}>; rel=\"next\""),
            ));
        }
        _ => {}
    }
    let text = body
        .to_string()
        .replacen('{', &format!("{{\"items\":[{}],", items.join(",")), 1);
    let headers: Vec<(&str, &str)> = header
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    Reply::full(200, &headers, text.as_bytes())
}

/// Where a request wants to read, in the manner of any paging.
fn offset_of(request: &Request) -> usize {
    let number = |name: &str| {
        request
            .parameter(name)
            .map(|text| text.parse::<usize>().unwrap())
    };
    number("page")
        .map(|page| (page - 1) * PAGE)
        .or_else(|| number("skip"))
        .or_else(|| number("cursor"))
        .or_else(|| number("at"))
        .unwrap_or(0)
}

/// A service with so many records.
async fn service(paging: Paging, total: usize) -> Script {
    let answer = move |request: &Request| {
        let from = offset_of(request).min(total);
        let to = (from + PAGE).min(total);
        let items: Vec<String> = (from..to).map(record).collect();
        page(paging, &items, (to < total).then_some(to))
    };
    Script::start(answer).await.unwrap()
}

#[tokio::test]
async fn a_service_that_gives_less_than_asked_for_is_read_to_its_end() {
    let clamped = |request: &Request| {
        let from = request
            .parameter("skip")
            .unwrap()
            .parse::<usize>()
            .unwrap()
            .min(20);
        let items: Vec<String> = (from..(from + 2).min(20)).map(record).collect();
        Reply::json(200, &format!("{{\"items\":[{}]}}", items.join(",")))
    };
    let script = Script::start(clamped).await.unwrap();
    let paging = Paging::Offset {
        skip: "skip",
        limit: "limit",
        per_page: 7,
    };
    let read = read(&stream(&script, paging)).await.unwrap();
    assert_eq!(read, (0..20).map(record).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_kind_is_read_to_its_end() {
    for paging in KINDS {
        for total in [0, 1, PAGE - 1, PAGE, PAGE + 1, 10 * PAGE] {
            let script = service(paging, total).await;
            let read = read(&stream(&script, paging)).await.unwrap();
            assert_eq!(
                read,
                (0..total).map(record).collect::<Vec<_>>(),
                "{paging:?} {total}"
            );
            let requests = script.requests();
            // Where only an empty page is a sure end, it is asked for.
            assert!(requests.len() <= total / PAGE + 2, "{paging:?} {total}");
            // A link has its own query; everything else carries the stream's.
            let is_kept = |request: &&Request| {
                request.parameter("fields") == Some("all") || request.parameter("at").is_some()
            };
            assert_eq!(requests.iter().filter(is_kept).count(), requests.len());
            assert!(
                requests
                    .iter()
                    .all(|request| request.header("x-key") == Some(SECRET))
            );
        }
    }
}

#[tokio::test]
async fn a_list_in_one_answer_needs_one_request() {
    let script = service(Paging::LinkHeader, 10).await;
    let read = read(&stream(&script, Paging::Single)).await.unwrap();
    assert_eq!(read.len(), PAGE);
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test]
async fn reading_goes_on_from_every_page_exactly_where_it_was() {
    for paging in KINDS {
        let script = service(paging, 4 * PAGE + 1).await;
        let stream = stream(&script, paging);
        let partition = partition(&stream);
        let pages_of_all = pages(&stream, &partition, None).await.unwrap();
        for (index, page) in pages_of_all.iter().enumerate() {
            let Some(next) = &page.next else { continue };
            for _ in 0..2 {
                let rest = pages(&stream, &partition, Some(kept(next))).await.unwrap();
                assert_eq!(
                    texts(&rest),
                    texts(&pages_of_all[index + 1..]),
                    "{paging:?} {index}"
                );
            }
        }
    }
}

#[tokio::test]
async fn cursors_and_links_that_come_back_are_noticed() {
    for paging in &KINDS[2..] {
        for cycle in [1, 2, 3, 50] {
            let paging = *paging;
            // Records differ each time: only the cursors tell.
            let answer = move |request: &Request| {
                let next = 1 + offset_of(request) % cycle;
                page(paging, &[record(request.index)], Some(next))
            };
            let script = Script::start(answer).await.unwrap();
            let error = read(&stream(&script, paging)).await.unwrap_err();
            assert_eq!(error.kind(), Kind::DataInvalid);
            assert!(error.message().contains("would never end"), "{error}");
            assert!(script.requests().len() <= cycle + 1, "{paging:?} {cycle}");
        }
    }
}

#[tokio::test]
async fn a_loop_is_noticed_across_a_resumption() {
    let paging = KINDS[2];
    let answer = move |request: &Request| {
        page(
            paging,
            &[record(request.index)],
            Some(1 + offset_of(request) % 5),
        )
    };
    let script = Script::start(answer).await.unwrap();
    let stream = stream(&script, paging);
    let partition = partition(&stream);
    let first = stream.fetch(partition.clone(), None).await.unwrap();
    let second = stream.fetch(partition.clone(), first.next).await.unwrap();
    let token = kept(&second.next.unwrap());
    let error = pages(&stream, &partition, Some(token)).await.unwrap_err();
    assert!(error.message().contains("would never end"), "{error}");
    assert!(script.requests().len() <= 6);
}

#[tokio::test]
async fn a_service_that_ignores_the_paging_parameters_is_noticed() {
    for paging in &KINDS[..2] {
        let items: Vec<String> = (0..PAGE).map(record).collect();
        let reply = page(*paging, &items, None);
        let script = Script::start(move |_| reply.clone()).await.unwrap();
        let error = read(&stream(&script, *paging)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid);
        assert!(
            error.message().contains("ignore the paging parameters"),
            "{error}"
        );
        // Two pages alike may come from a burst of new records in front.
        assert_eq!(script.requests().len(), 4);
    }
}

#[tokio::test]
async fn a_link_to_another_origin_is_refused_before_anything_is_sent() {
    let elsewhere = service(Paging::Single, 1).await;
    for link in [
        format!("{}/things", elsewhere.base_url()),
        format!("//127.0.0.1:{}/things", elsewhere.port()),
        "https://user@example.com/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let body = json!({ "items": [], "meta": { "next": link } }).to_string();
        let header = format!("<{link}>; rel=next");
        let reply = Reply::full(200, &[("link", &header)], body.as_bytes());
        for paging in [KINDS[4], KINDS[5]] {
            let error = read_one(paging, reply.clone()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::DataInvalid, "{link}");
            assert!(
                error.message().contains("leads to another host"),
                "{link}: {error}"
            );
        }
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn an_answer_without_records_is_an_error_and_never_the_end() {
    for (body, says) in [
        (
            r#"{"errorMessage":"workspace suspended"}"#,
            "workspace suspended",
        ),
        (r#"{"meta":{"next":null}}"#, "no records at /items"),
        (r#"{"items":{"id":1}}"#, "expected form"),
        (r#"{"items":[1]}"#, "expected form"),
        ("<!doctype html><title>Sign in</title>", "web page"),
        ("", "empty"),
        (r#"{"items":[{"id":1}"#, "not complete"),
    ] {
        for paging in KINDS {
            let error = read_one(paging, Reply::json(200, body)).await.unwrap_err();
            assert_eq!(error.kind(), Kind::DataInvalid, "{body}");
            assert!(error.to_string().contains(says), "{body}: {error}");
        }
    }
}

#[tokio::test]
async fn an_error_in_a_good_answer_never_shows_the_secret() {
    let body = json!({ "message": format!("unknown key {SECRET}") }).to_string();
    let error = read_one(Paging::Single, Reply::json(200, &body))
        .await
        .unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("unknown key [redacted]"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn an_empty_cursor_ends_the_list() {
    for next in [json!(null), json!("")] {
        let body = json!({ "items": [{ "id": 0 }], "meta": { "next": next } }).to_string();
        for paging in [KINDS[2], KINDS[4]] {
            let read = read_one(paging, Reply::json(200, &body)).await.unwrap();
            assert_eq!(read.len(), 1, "{next}");
        }
    }
    let reply = Reply::full(200, &[("x-next", "")], br#"{"items":[{"id":0}]}"#);
    assert_eq!(read_one(KINDS[3], reply).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_cursor_that_is_neither_text_nor_number_is_refused() {
    for next in [json!(true), json!(["a"]), json!({ "a": 1 })] {
        let body = json!({ "items": [], "meta": { "next": next } }).to_string();
        let error = read_one(KINDS[2], Reply::json(200, &body))
            .await
            .unwrap_err();
        assert!(
            error.message().contains("neither text nor a number"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_number_is_a_cursor_and_any_cursor_is_encoded() {
    let cursors = [json!(7), json!("a b&c=d+/%?#"), json!("é")];
    let sent = cursors.clone();
    let answer = move |request: &Request| {
        let next = sent.get(request.index).cloned().unwrap_or(Value::Null);
        Reply::json(
            200,
            &json!({ "items": [], "meta": { "next": next } }).to_string(),
        )
    };
    let script = Script::start(answer).await.unwrap();
    read(&stream(&script, KINDS[2])).await.unwrap();
    let requests = script.requests();
    let received: Vec<&str> = requests
        .iter()
        .filter_map(|request| request.parameter("cursor"))
        .collect();
    assert_eq!(received, ["7", "a+b%26c%3Dd%2B%2F%25%3F%23", "%C3%A9"]);
}

#[tokio::test]
async fn an_empty_page_with_a_cursor_is_not_the_end() {
    for paging in &KINDS[2..] {
        let paging = *paging;
        let answer = move |request: &Request| match request.index {
            0 | 2 => page(paging, &[], Some(request.index + 1)),
            1 => page(paging, &[record(1)], Some(2)),
            _ => page(paging, &[record(3)], None),
        };
        let script = Script::start(answer).await.unwrap();
        let read = read(&stream(&script, paging)).await.unwrap();
        assert_eq!(read, [record(1), record(3)], "{paging:?}");
    }
}

#[tokio::test]
async fn records_pass_byte_for_byte() {
    let records = [
        r#"{"n":12345678901234567890.10,"e":1e2,"z":-0.0,"big":1E+400}"#,
        r#"{ "u" : "\u00e9\/\"\\\u0000", "é":"\t" , "dup":1,"dup":2}"#,
        "{\r\n\t\"nested\": [ {\"items\":[ 1 , 2 ]} , null ]\n}",
        "{}",
    ];
    let body = format!("{{ \"items\" : [ {} ] }}", records.join(" ,\n "));
    let read = read_one(Paging::Single, Reply::json(200, &body))
        .await
        .unwrap();
    assert_eq!(read, records);
}

/// What a page of a service that never ends holds, by the number of the request.
type Items = fn(usize) -> Vec<usize>;

const ENDLESS: [(&str, Items); 6] = [
    ("empty pages", |_| vec![]),
    ("empty pages behind some", |index| {
        if index < 3 { vec![index] } else { vec![] }
    }),
    ("the same page", |_| vec![1, 2, 3]),
    ("the same page in other orders", |index| {
        (0..5).map(|n| (n + index) % 5).collect()
    }),
    ("a row on top and then nothing new", |index| {
        vec![9, index.min(4)]
    }),
    ("a circle", |index| {
        (0..7).map(|n| (7 * index + n) % 100).collect()
    }),
];

#[tokio::test]
async fn every_way_of_paging_ends_that_never_says_so() {
    for paging in KINDS {
        for (what, items) in ENDLESS {
            let answer = move |request: &Request| {
                let items: Vec<String> = items(request.index).into_iter().map(record).collect();
                page(paging, &items, Some(request.index + 1))
            };
            let script = Script::start(answer).await.unwrap();
            let is_by_number = matches!(paging, Paging::PageNumber { .. } | Paging::Offset { .. });
            let read = read(&stream(&script, paging)).await;
            let requests = script.requests().len();
            assert!(requests < 40, "{paging:?} {what}: {requests}");
            match read {
                // An empty page is the end where pages have numbers.
                Ok(_) => assert!(
                    is_by_number && what.starts_with("empty"),
                    "{paging:?} {what}"
                ),
                Err(error) => assert!(error.message().contains("never end"), "{what}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_total_that_moves_lets_the_list_be_read_once_more() {
    for paging in KINDS {
        for (goes_on, expected) in [(false, None), (true, Some("list_changed"))] {
            // Each answer but the first finds two records less in front.
            let gone = move |index: usize| if goes_on { 2 * index } else { 2 * index.min(1) };
            let answer = move |request: &Request| {
                let all: Vec<usize> = (gone(request.index)..60).collect();
                let from = offset_of(request).min(all.len());
                let to = (from + PAGE).min(all.len());
                let items: Vec<String> = all[from..to].iter().copied().map(record).collect();
                page_of(
                    paging,
                    &items,
                    (to < all.len()).then_some(to),
                    Some(all.len()),
                )
            };
            let script = Script::start(answer).await.unwrap();
            let list = RestStream::new(&client(&script), spec("things"), "/things", ITEMS);
            let list = list.paging(paging).total("/total").query("fields", "all");
            let stream: Arc<dyn AnyStream> = Arc::new(list);
            let pages = pages(&stream, &partition(&stream), None).await.unwrap();
            let texts = texts(&pages);
            let gaps: Vec<&str> = pages
                .iter()
                .flat_map(|page| &page.gaps)
                .map(|gap| gap.code)
                .collect();
            assert_eq!(gaps, Vec::from_iter(expected), "{paging:?}");
            let live = gone(script.requests().len())..60;
            let missing = live.filter(|n| !texts.contains(&record(*n))).count();
            assert!(goes_on || missing == 0, "{paging:?}: {missing} missing");
        }
    }
}
