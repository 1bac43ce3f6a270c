//! Lists read by time, against a service whose records come, go and change while they are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::common::{
    SECRET, again, at, bookmark, pages, texts,
    windows::{Item, NOW, OVERLAP, PAGING, START, assert_none_lost, ids, list, sorted},
};
use headwater_core::{AnyStream, Error, Kind, Position, Result, SignedDuration, Timestamp, Wait};
use headwater_testkit::{PassDriver, PassReader, PassResult, Reply, Request, Script};
use serde_json::{Value, json};

/// The service. The default one keeps to its documentation.
#[derive(Clone, Default)]
struct Service {
    items: Vec<Item>,
    /// The bounds belong to the window.
    inclusive: bool,
    /// Bounds lose their fraction of a second.
    whole_seconds: bool,
    /// Every page begins at the first record.
    ignores_skip: bool,
    /// Pages further back begin here.
    last_skip: Option<usize>,
    /// The most records of a page, whatever was asked for.
    clamp: Option<usize>,
    /// The largest page that does not fail.
    largest: Option<usize>,
    /// Where the total is.
    total: Option<&'static str>,
    /// Records taken away after each request.
    removes: usize,
    /// Records added inside the windows after each of the first requests.
    adds: usize,
    /// One record more is taken away after about so many requests.
    removes_one_in: Option<usize>,
    /// Answers come up to so many milliseconds later.
    delay: u64,
    random: Option<fastrand::Rng>,
}

impl Service {
    fn with(items: Vec<Item>) -> Self {
        Self {
            items,
            ..Self::default()
        }
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let (_, query) = request.target.split_once('?').unwrap();
        let query: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let bound = |name: &str| {
            let bound = at(&query[name]);
            if self.whole_seconds {
                Timestamp::from_second(bound.as_second()).unwrap()
            } else {
                bound
            }
        };
        let number = |name: &str| query.get(name).map(|text| text.parse::<usize>().unwrap());
        let (after, before) = (bound("after"), bound("before"));
        let (skip, limit) = (
            number("skip").unwrap_or(0),
            number("limit").unwrap_or(usize::MAX),
        );
        let is_inside = |item: &&Item| {
            let is_edge = item.modified == after || item.modified == before;
            (after < item.modified && item.modified < before) || (self.inclusive && is_edge)
        };
        let found: Vec<&Item> = self.items.iter().filter(is_inside).collect();
        assert!(skip <= 60, "the service pages no further");
        if limit != usize::MAX && limit > self.largest.unwrap_or(usize::MAX) {
            return Reply::json(502, "");
        }
        let page = found
            .iter()
            .skip(if self.ignores_skip {
                0
            } else {
                skip.min(self.last_skip.unwrap_or(skip))
            })
            .take(limit.min(self.clamp.unwrap_or(usize::MAX)))
            .map(|item| json!({ "id": item.id, "at": item.modified, "text": item.text }))
            .collect::<Vec<_>>();
        let mut body = json!({ "items": page });
        if query
            .get("includePagination")
            .is_none_or(|text| text != "false")
        {
            body["pagination"] = json!({ self.total.unwrap_or("matched"): found.len() });
        }
        self.change(request.index);
        let delay = fastrand::u64(..=self.delay);
        Reply::json(200, &body.to_string()).after(Duration::from_millis(delay))
    }

    fn change(&mut self, index: usize) {
        let Some(random) = &mut self.random else {
            return;
        };
        for _ in 0..self.removes.min(self.items.len()) {
            self.items.remove(random.usize(..self.items.len()));
        }
        if !self.items.is_empty()
            && self
                .removes_one_in
                .is_some_and(|requests| random.usize(..requests) == 0)
        {
            self.items.remove(random.usize(..self.items.len()));
        }
        if index < self.adds {
            let place = random.usize(..=self.items.len());
            self.items.insert(place, item(10_000 + index, random));
        }
    }
}

/// A record modified some time before the overlap.
fn item(id: usize, random: &mut fastrand::Rng) -> Item {
    let last = at(NOW).as_millisecond() - 2 * OVERLAP.as_millis() as i64;
    let modified = Timestamp::from_millisecond(random.i64(at(START).as_millisecond()..last));
    Item {
        id,
        modified: modified.unwrap(),
        text: "old",
    }
}

/// So many records at random times, a part of them within one second and on its boundary.
fn items(count: usize, random: &mut fastrand::Rng) -> Vec<Item> {
    let second = at("2026-01-15T08:00:00Z");
    let mut items: Vec<Item> = (0..count).map(|id| item(id, random)).collect();
    for (n, item) in items.iter_mut().step_by(9).take(10).enumerate() {
        item.modified = second + SignedDuration::from_millis(if n % 3 == 2 { 999 } else { 0 });
    }
    // The seams of a pass: its start, the beginning of the overlap, the last moment of the pass.
    let seams = [
        at(START),
        at(NOW) - OVERLAP,
        at(NOW) - SignedDuration::from_millis(1),
    ];
    for (item, seam) in items.iter_mut().skip(1).step_by(9).zip(seams) {
        item.modified = seam;
    }
    items
}

struct Bench {
    script: Script,
    service: Arc<Mutex<Service>>,
    stream: Arc<dyn AnyStream>,
}

impl Bench {
    async fn new(service: Service) -> Self {
        let service = Arc::new(Mutex::new(service));
        let answering = Arc::clone(&service);
        let answer = move |request: &Request| answering.lock().unwrap().answer(request);
        let script = Script::start(answer).await.unwrap();
        let list = list(&script).paging(PAGING);
        Self {
            script,
            service,
            stream: Arc::new(list),
        }
    }

    /// Reads a pass to its end: the records, and the bookmark.
    async fn pass(
        &self,
        bookmark: Option<Position>,
        now: &str,
    ) -> Result<(Vec<usize>, Option<Position>)> {
        let mut bookmark = bookmark;
        let mut found = Vec::new();
        for partition in self.stream.plan(bookmark.clone(), at(now))? {
            let pages = pages(&self.stream, &partition, None).await?;
            found.extend(ids(&texts(&pages)));
            bookmark = crate::common::bookmark(&pages).or(bookmark);
        }
        Ok((found, bookmark))
    }

    /// The same with several requests at once.
    async fn gather(
        &self,
        bookmark: Option<Position>,
        now: &str,
        how: PassReader,
    ) -> Result<PassResult> {
        let plan = self.stream.plan(bookmark, at(now))?;
        how.all(&self.stream, plan).await
    }

    async fn first_pass(&self) -> Result<Vec<usize>> {
        Ok(self.pass(None, NOW).await?.0)
    }
}

/// What a bookmark says, whatever order it was found out in.
fn of(bookmark: &Position) -> (Value, BTreeSet<String>) {
    let value = &json!(bookmark)["value"];
    let delivered = value["delivered"].as_str().unwrap_or_default().as_bytes();
    let delivered = delivered
        .chunks(11)
        .map(|one| String::from_utf8_lossy(one).into_owned());
    (value["to"].clone(), delivered.collect())
}

#[tokio::test]
async fn a_list_at_rest_is_delivered_exactly_once() {
    for seed in 0..4 {
        println!("seed {seed}");
        for count in [0, 1, 5, 6, 20, 21, 26, 59, 60, 61, 100, 257] {
            let items = items(count, &mut fastrand::Rng::with_seed(seed));
            let bench = Bench::new(Service::with(items)).await;
            let (read, bookmark) = bench.pass(None, NOW).await.unwrap();
            let all: Vec<usize> = (0..count).collect();
            assert_eq!(sorted(read), all, "seed {seed}, {count}");
            assert!(bookmark.is_some());
            let how = PassReader {
                at_once: 16,
                seed,
                crash_every: None,
            };
            let gathered = bench.gather(None, NOW, how).await.unwrap();
            assert_eq!(sorted(ids(&gathered.records)), all, "seed {seed}, {count}");
            assert_eq!(
                gathered.bookmark.map(|one| of(&one)),
                bookmark.map(|one| of(&one))
            );
        }
    }
}

#[tokio::test]
async fn where_bounds_belong_to_the_window_only_records_on_a_seam_come_twice() {
    for seed in 0..4 {
        println!("seed {seed}");
        for count in [0, 1, 5, 6, 20, 21, 100, 257] {
            let items = items(count, &mut fastrand::Rng::with_seed(seed));
            let service = Service {
                inclusive: true,
                ..Service::with(items.clone())
            };
            let bench = Bench::new(service).await;
            let read = bench.first_pass().await.unwrap();
            assert_none_lost(&items, &read, &format!("seed {seed}, {count}"));
            let bounds: BTreeSet<Timestamp> = bench
                .script
                .requests()
                .iter()
                .flat_map(|request| {
                    ["after", "before"]
                        .map(|name| request.parameter(name).unwrap().replace("%3A", ":"))
                })
                .map(|bound| at(&bound))
                .collect();
            for item in &items {
                let times = read.iter().filter(|id| **id == item.id).count();
                assert!(
                    times == 1 || bounds.contains(&item.modified),
                    "{item:?} came {times} times"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_service_that_drops_fractions_of_a_second_loses_nothing() {
    for inclusive in [false, true] {
        let items = items(100, &mut fastrand::Rng::with_seed(5));
        let service = Service {
            inclusive,
            whole_seconds: true,
            ..Service::with(items.clone())
        };
        let bench = Bench::new(service).await;
        let (mut read, bookmark) = bench.pass(None, NOW).await.unwrap();
        // What was modified in the last half second is seen by the next pass.
        read.extend(
            bench
                .pass(bookmark, "2026-01-31T12:05:00Z")
                .await
                .unwrap()
                .0,
        );
        assert_none_lost(&items, &read, &format!("inclusive {inclusive}"));
    }
}

#[tokio::test]
async fn records_that_leave_during_reading_never_hide_others() {
    for removes in 0..=7 {
        for (seed, largest) in (0..).zip([None, None, Some(2), Some(1)]) {
            let case = format!("removes {removes}, largest {largest:?}, seed {seed}");
            println!("{case}");
            let mut random = fastrand::Rng::with_seed(seed);
            let items = items(random.usize(1..200), &mut random);
            let service = Service {
                removes,
                largest,
                inclusive: random.bool(),
                random: Some(random),
                ..Service::with(items)
            };
            let bench = Bench::new(service).await;
            let read = bench.first_pass().await.expect(&case);
            let remaining = bench.service.lock().unwrap().items.clone();
            assert_none_lost(&remaining, &read, &case);
        }
    }
}

/// Reads with several requests at once while records leave, now and then or all the time; whatever is still there at
/// the end was delivered. Gives how many records came more than once.
async fn gather_while_records_leave(seed: u64, crash_every: Option<usize>) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let items = items(random.usize(1..240), &mut random);
    let service = Service {
        removes_one_in: Some([2, 5, 20, 60][random.usize(..4)]),
        removes: usize::from(random.usize(..8) == 0),
        // Asked again after each kill, pages that are too large would use up the client's budget for second tries.
        largest: [None, None, None, Some(2), Some(1)][random.usize(..5)]
            .filter(|_| crash_every.is_none()),
        clamp: [None, None, None, Some(3)][random.usize(..4)],
        inclusive: random.bool(),
        delay: 4,
        random: Some(random.fork()),
        ..Service::with(items)
    };
    let bench = Bench::new(service).await;
    let how = PassReader {
        at_once: random.usize(2..20),
        seed,
        crash_every,
    };
    let case = format!("seed {seed}, {how:?}");
    let gathered = bench.gather(None, NOW, how).await.expect(&case);
    let remaining = bench.service.lock().unwrap().items.clone();
    let mut read = sorted(ids(&gathered.records));
    assert_none_lost(&remaining, &read, &case);
    let all = read.len();
    read.dedup();
    all - read.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_leave_while_pages_are_read_side_by_side_hide_no_others() {
    let first = fastrand::u64(..1 << 40);
    println!("seeds from {first}");
    let mut twice = 0;
    for seed in first..first + 40 {
        twice += gather_while_records_leave(seed, None).await;
    }
    assert!(
        twice > 0,
        "no record moved from chain to chain: the test shows nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_killed_again_and_again_loses_nothing_that_is_still_there() {
    let first = fastrand::u64(..1 << 40);
    println!("seeds from {first}");
    for seed in first..first + 20 {
        gather_while_records_leave(seed, Some(6)).await;
    }
}

/// So many records in one window that is cut into chains, and nothing after it.
fn in_one_window(count: usize, seed: u64) -> Vec<Item> {
    let mut found = items(count, &mut fastrand::Rng::with_seed(seed));
    for item in &mut found {
        item.modified = item
            .modified
            .min(at(NOW) - OVERLAP - SignedDuration::from_secs(1));
    }
    found
}

/// Reads a window of forty records in four chains, one after the other in this order. Something happens to the service
/// after the first one, and in the middle of the second.
async fn in_chains(
    order: [usize; 4],
    mut happens: impl FnMut(&mut Vec<Item>),
) -> (Vec<Item>, Vec<usize>) {
    let bench = Bench::new(Service::with(in_one_window(40, 11))).await;
    let partition = bench.stream.plan(None, at(NOW)).unwrap().remove(0);
    let mut walk = PassDriver::new(vec![partition]);
    let mut read = Vec::new();
    let mut step = async |walk: &mut PassDriver, index: usize| {
        let ready = walk.ready().swap_remove(index);
        let page = bench
            .stream
            .fetch(ready.partition, ready.token)
            .await
            .unwrap();
        walk.arrived(ready.id, &page);
        read.extend(ids(&texts(&[page])));
    };
    step(&mut walk, 0).await;
    let chains: Vec<u64> = walk.ready().iter().map(|ready| ready.id).collect();
    assert_eq!(chains.len(), 4);
    for (number, chain) in order.into_iter().enumerate() {
        let mut pages = 0;
        while let Some(index) = walk
            .ready()
            .iter()
            .position(|ready| ready.id == chains[chain])
        {
            step(&mut walk, index).await;
            pages += 1;
            if number == 1 && pages == 1 {
                happens(&mut bench.service.lock().unwrap().items);
            }
        }
        if number == 0 {
            happens(&mut bench.service.lock().unwrap().items);
        }
    }
    assert!(walk.is_over());
    let present = bench.service.lock().unwrap().items.clone();
    (present, read)
}

const ORDERS: [[usize; 4]; 4] = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]];

#[tokio::test]
async fn each_chain_finds_its_records_wherever_they_moved_when_others_left() {
    for gone in [0, 3, 9, 12, 22, 33, 37] {
        for count in [1, 4, 7, 18] {
            for order in ORDERS {
                let (present, read) = in_chains(order, |items| {
                    for _ in 0..count {
                        items.remove(gone.min(items.len() - 1));
                    }
                })
                .await;
                let case = format!("{count} left at {gone}, twice, {order:?}");
                assert_none_lost(&present, &read, &case);
                // Nothing is read again but what moved into another chain.
                assert!(
                    read.len() <= 40 + 4 * (2 * count + 5),
                    "{case}: {} records",
                    read.len()
                );
            }
        }
    }
}

#[tokio::test]
async fn each_chain_finds_its_records_wherever_they_moved_when_others_entered() {
    for place in [0, 3, 9, 12, 22, 33, 40] {
        for count in [1, 3] {
            for order in ORDERS {
                let before = in_one_window(40, 11);
                let mut number = 1000;
                let (_, read) = in_chains(order, |items| {
                    for _ in 0..count {
                        number += 1;
                        let entered = Item {
                            id: number,
                            ..items[0].clone()
                        };
                        items.insert(place, entered);
                    }
                })
                .await;
                let case = format!("{count} entered at {place}, twice, {order:?}");
                assert_none_lost(&before, &read, &case);
            }
        }
    }
}

#[tokio::test]
async fn pages_side_by_side_take_no_more_requests_than_one_after_the_other() {
    let bench = Bench::new(Service::with(in_one_window(60, 12))).await;
    let read = bench.first_pass().await.unwrap();
    assert_eq!(sorted(read), (0..60).collect::<Vec<_>>());
    // The first page with the total, twelve pages, one record that is asked for behind them, and the empty end of the pass.
    assert_eq!(bench.script.requests().len(), 1 + 13 + 1);
    let how = PassReader {
        at_once: 16,
        seed: 1,
        crash_every: None,
    };
    let gathered = bench.gather(None, NOW, how).await.unwrap();
    assert_eq!(gathered.fetches, 1 + 13 + 1);
    assert!(gathered.longest_state < 3_000, "{}", gathered.longest_state);
}

#[tokio::test]
async fn a_service_that_goes_back_no_further_than_some_offset_is_noticed() {
    let found = items(60, &mut fastrand::Rng::with_seed(13));
    for last_skip in [0, 5, 10, 20] {
        let service = Service {
            last_skip: Some(last_skip),
            ..Service::with(found.clone())
        };
        let bench = Bench::new(service).await;
        let error = bench.first_pass().await.unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid, "{last_skip}: {error}");
    }
}

fn assert_restless(error: &Error) {
    assert_eq!(error.kind(), Kind::DataInvalid, "{error}");
    assert!(error.message().contains("keeps changing"), "{error}");
}

#[tokio::test]
async fn a_list_that_did_not_hold_still_in_one_run_is_read_by_a_later_one() {
    let mut random = fastrand::Rng::with_seed(17);
    let items = items(20, &mut random);
    let service = Service {
        adds: 30,
        random: Some(random),
        ..Service::with(items.clone())
    };
    let bench = Bench::new(service).await;
    let mut put_off = 0;
    let mut read = Vec::new();
    for partition in bench.stream.plan(None, at(NOW)).unwrap() {
        let mut walk = PassDriver::from_places([(partition, None)]);
        while let Some(ready) = walk.first() {
            let page = bench.stream.fetch(ready.partition, ready.token).await;
            let page = page.unwrap();
            put_off += usize::from(matches!(page.wait, Some(Wait::NextRun(_))));
            walk.arrived(ready.id, &page);
            read.extend(ids(&texts(&[page])));
        }
    }
    assert!(put_off > 0, "the list grew all the time");
    assert_none_lost(&items, &read, "in later runs");
}

#[tokio::test]
async fn records_that_enter_a_closed_window_never_hide_others() {
    for adds in 1..=3 {
        for seed in 0..12 {
            println!("adds {adds}, seed {seed}");
            let mut random = fastrand::Rng::with_seed(seed);
            let items = items(random.usize(1..100), &mut random);
            let service = Service {
                adds,
                random: Some(random),
                ..Service::with(items.clone())
            };
            let bench = Bench::new(service).await;
            match bench.first_pass().await {
                Ok(read) => assert_none_lost(&items, &read, &format!("adds {adds}, seed {seed}")),
                Err(error) => assert_restless(&error),
            }
            let how = PassReader {
                at_once: 8,
                seed,
                crash_every: None,
            };
            // The service counts its requests from the start, so that nothing is added any more: it is now at rest.
            let gathered = bench.gather(None, NOW, how).await.unwrap();
            let present = bench.service.lock().unwrap().items.clone();
            assert_none_lost(&present, &ids(&gathered.records), "at rest");
        }
    }
}

#[tokio::test]
async fn a_window_that_never_stops_growing_is_an_error() {
    let mut random = fastrand::Rng::with_seed(1);
    let items = items(12, &mut random);
    let service = Service {
        adds: usize::MAX,
        random: Some(random),
        ..Service::with(items)
    };
    let bench = Bench::new(service).await;
    assert_restless(&bench.first_pass().await.unwrap_err());
}

#[tokio::test]
async fn a_service_that_ignores_the_offset_is_noticed() {
    for count in [6, 10, 11, 20, 100] {
        let items = items(count, &mut fastrand::Rng::with_seed(2));
        let bench = Bench::new(Service {
            ignores_skip: true,
            ..Service::with(items)
        })
        .await;
        let error = bench.first_pass().await.unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid, "{count}: {error}");
        assert!(bench.script.requests().len() < 100, "{count}");
    }
}

#[tokio::test]
async fn a_service_that_gives_less_than_asked_for_is_read_in_smaller_pages() {
    let items = items(100, &mut fastrand::Rng::with_seed(3));
    for clamp in [4, 3, 2, 1] {
        let service = Service {
            clamp: Some(clamp),
            ..Service::with(items.clone())
        };
        let read = Bench::new(service).await.first_pass().await.unwrap();
        assert_eq!(sorted(read), (0..100).collect::<Vec<_>>(), "{clamp}");
    }
    let bench = Bench::new(Service {
        clamp: Some(0),
        ..Service::with(items)
    })
    .await;
    let error = bench.first_pass().await.unwrap_err();
    assert_eq!(error.kind(), Kind::DataInvalid);
    assert!(
        error.message().contains("do not add up to the total"),
        "{error}"
    );
}

#[tokio::test]
async fn pages_that_are_too_large_for_the_service_are_asked_for_smaller_with_a_note() {
    let items = items(100, &mut fastrand::Rng::with_seed(4));
    for largest in [4, 2, 1] {
        let service = Service {
            largest: Some(largest),
            ..Service::with(items.clone())
        };
        let bench = Bench::new(service).await;
        let read = bench.first_pass().await.unwrap();
        assert_eq!(sorted(read), (0..100).collect::<Vec<_>>(), "{largest}");
        let partition = bench.stream.plan(None, at(NOW)).unwrap().remove(0);
        let pages = pages(&bench.stream, &partition, None).await.unwrap();
        let mut notes = pages.iter().flat_map(|page| &page.notes);
        assert!(notes.all(|note| note.code == "page_too_large"));
        assert!(pages.iter().any(|page| !page.notes.is_empty()), "{largest}");
    }
    let bench = Bench::new(Service {
        largest: Some(0),
        ..Service::with(items)
    })
    .await;
    let error = bench.first_pass().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_missing_total_is_an_error() {
    for count in [0, 1, 30] {
        let items = items(count, &mut fastrand::Rng::with_seed(6));
        let bench = Bench::new(Service {
            total: Some("count"),
            ..Service::with(items)
        })
        .await;
        let error = bench.first_pass().await.unwrap_err();
        assert_eq!(error.kind(), Kind::DataInvalid);
        assert!(
            error.message().contains("no total at /pagination/matched"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn more_records_in_a_second_than_the_service_pages_through_are_an_error() {
    let mut items = items(70, &mut fastrand::Rng::with_seed(7));
    for item in &mut items {
        item.modified = at("2026-01-15T08:00:00.250Z");
    }
    let bench = Bench::new(Service::with(items)).await;
    let error = bench.first_pass().await.unwrap_err();
    assert_eq!(error.kind(), Kind::DataInvalid);
    assert!(
        error
            .message()
            .contains("share the second 2026-01-15T08:00:00Z"),
        "{error}"
    );
    assert!(bench.script.requests().len() < 100);
}

#[tokio::test]
async fn an_answer_without_records_is_an_error_that_shows_no_secret() {
    let body = json!({ "message": format!("unknown key {SECRET}") }).to_string();
    let script = Script::start(move |_| Reply::json(200, &body))
        .await
        .unwrap();
    for stream in [list(&script), list(&script).paging(PAGING)] {
        let stream: Arc<dyn AnyStream> = Arc::new(stream);
        let partition = stream.plan(None, at(NOW)).unwrap().remove(0);
        let error = stream.fetch(partition, None).await.unwrap_err();
        assert!(
            error.to_string().contains("unknown key [redacted]"),
            "{error}"
        );
        assert!(!format!("{error:?}").contains(SECRET), "{error}");
    }
}

#[tokio::test]
async fn reading_goes_on_from_every_page_exactly_where_it_was() {
    let items = items(57, &mut fastrand::Rng::with_seed(8));
    let bench = Bench::new(Service {
        largest: Some(2),
        ..Service::with(items)
    })
    .await;
    for partition in bench.stream.plan(None, at(NOW)).unwrap() {
        let all = pages(&bench.stream, &partition, None).await.unwrap();
        let mut walk = PassDriver::new(vec![partition]);
        for index in 0.. {
            let Some(ready) = walk.first() else { break };
            let page = bench
                .stream
                .fetch(ready.partition, ready.token)
                .await
                .unwrap();
            walk.arrived(ready.id, &page);
            let (mut rest, mut walk) = (Vec::new(), again(&walk));
            while let Some(ready) = walk.first() {
                let page = bench
                    .stream
                    .fetch(ready.partition, ready.token)
                    .await
                    .unwrap();
                walk.arrived(ready.id, &page);
                rest.push(page);
            }
            assert_eq!(texts(&rest), texts(&all[index + 1..]), "page {index}");
            if !rest.is_empty() {
                assert_eq!(bookmark(&rest), bookmark(&all), "page {index}");
            }
        }
    }
}

/// Every value that a position holds, replaced in turn by the largest and by the smallest of its type.
fn damaged(position: &Position) -> Vec<Position> {
    fn walk(value: &mut Value, spot: &mut usize, damage: &Value) {
        match value {
            Value::Object(fields) => fields
                .values_mut()
                .for_each(|value| walk(value, spot, damage)),
            Value::Array(items) => items.iter_mut().for_each(|value| walk(value, spot, damage)),
            scalar if scalar.is_number() == damage.is_number() => {
                if *spot == 0 {
                    *scalar = damage.clone();
                }
                *spot = spot.wrapping_sub(1);
            }
            _ => {}
        }
    }
    let whole = serde_json::to_value(position).unwrap();
    let damages = [
        u64::MAX.into(),
        0.into(),
        "9999-12-30T22:00:00Z".into(),
        "-009999-01-02T01:59:59Z".into(),
    ];
    let mut all = Vec::new();
    for damage in damages {
        for spot in 0..20 {
            let mut value = whole["value"].clone();
            walk(&mut value, &mut spot.clone(), &damage);
            let mut whole = whole.clone();
            whole["value"] = value;
            all.push(serde_json::from_value(whole).unwrap());
        }
    }
    all
}

#[tokio::test]
async fn a_damaged_state_reads_on_or_fails_but_never_panics() {
    let items = items(30, &mut fastrand::Rng::with_seed(8));
    let bench = Bench::new(Service::with(items)).await;
    // The same answer to whatever a damaged position asks for.
    let answer =
        json!({ "items": [{ "id": 1 }, { "id": 2 }], "pagination": { "matched": 57 } }).to_string();
    let script = Script::start(move |_| Reply::json(200, &answer))
        .await
        .unwrap();
    let stream: Arc<dyn AnyStream> = Arc::new(list(&script).paging(PAGING));
    for partition in bench.stream.plan(None, at(NOW)).unwrap() {
        for page in pages(&bench.stream, &partition, None).await.unwrap() {
            for next in page.next.iter().chain(&page.beside) {
                for token in damaged(next) {
                    let _ = stream.fetch(partition.clone(), Some(token)).await;
                }
                for partition in damaged(&partition) {
                    let _ = stream.fetch(partition, Some(next.clone())).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn the_next_pass_delivers_what_is_new_late_or_changed_and_nothing_else() {
    let later = |minutes: i64| at(NOW) + SignedDuration::from_mins(minutes);
    for inclusive in [false, true] {
        for unpaged in [false, true] {
            let mut found = items(30, &mut fastrand::Rng::with_seed(9));
            for (n, item) in found.iter_mut().take(15).enumerate() {
                item.modified = later(-3 * n as i64 - 1);
            }
            let mut bench = Bench::new(Service {
                inclusive,
                ..Service::with(found)
            })
            .await;
            if unpaged {
                bench.stream = Arc::new(list(&bench.script));
            }
            let (read, bookmark) = bench.pass(None, NOW).await.unwrap();
            assert_none_lost(&bench.service.lock().unwrap().items, &read, "first pass");

            let (read, bookmark) = bench.pass(bookmark, "2026-01-31T12:00:01Z").await.unwrap();
            assert_eq!(read, Vec::<usize>::new());

            {
                let mut service = bench.service.lock().unwrap();
                // Modified once more; changed without a new time; visible late; new.
                service.items[3].modified = later(2);
                service.items[4].text = "new";
                service.items.push(Item {
                    id: 100,
                    modified: later(-30),
                    text: "late",
                });
                service.items.push(Item {
                    id: 101,
                    modified: later(1),
                    text: "new",
                });
            }
            let (read, bookmark) = bench.pass(bookmark, "2026-01-31T12:05:00Z").await.unwrap();
            assert_eq!(sorted(read), [3, 4, 100, 101]);

            let (read, _) = bench.pass(bookmark, "2026-01-31T12:05:01Z").await.unwrap();
            assert_eq!(read, Vec::<usize>::new());
        }
    }
}

#[tokio::test]
async fn a_clock_that_goes_back_does_not_take_the_bookmark_along() {
    let bench = Bench::new(Service::with(items(30, &mut fastrand::Rng::with_seed(10)))).await;
    let (_, bookmark) = bench.pass(None, NOW).await.unwrap();
    let end = |bookmark: &Option<Position>| json!(bookmark)["value"]["to"].clone();
    assert_eq!(end(&bookmark), json!(at(NOW)));
    let earlier = "2026-01-31T11:30:00Z";
    let (read, kept) = bench.pass(bookmark.clone(), earlier).await.unwrap();
    assert_eq!(read, Vec::<usize>::new());
    assert_eq!(end(&kept), end(&bookmark));
    // Further back than what is read again: what the clock of the first pass ran ahead of would be missing.
    for earlier in ["2026-01-01T00:00:00Z", "1970-01-01T00:00:00Z"] {
        let refused = bench.pass(bookmark.clone(), earlier).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::ConfigInvalid);
        assert!(refused.message().contains("clock"), "{refused}");
    }
    assert!(
        bench
            .stream
            .plan(None, at("2025-12-31T00:00:00Z"))
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_survey_counts_each_window_with_one_request_and_its_parts_can_be_read_alone() {
    let mut found = items(150, &mut fastrand::Rng::with_seed(14));
    for (number, item) in found.iter_mut().enumerate() {
        let is_late = number % 50 == 0;
        let minutes = if is_late { 30 } else { 90 + number as i64 };
        item.modified = at(NOW) - SignedDuration::from_mins(minutes);
    }
    let bench = Bench::new(Service::with(found)).await;
    let mut parts = Vec::new();
    for partition in bench.stream.plan(None, at(NOW)).unwrap() {
        parts.extend(bench.stream.survey(partition).await.unwrap());
    }
    let surveyed = bench.script.requests().len();
    assert!(surveyed < 40, "{surveyed}");
    let records: Option<u64> = parts.iter().map(|part| part.records).sum();
    assert_eq!(records, Some(150));
    let requests: Option<u64> = parts.iter().map(|part| part.requests).sum();

    let mut read = Vec::new();
    for part in &parts {
        let range = bench.stream.range(&part.partition).unwrap();
        assert!(range.from < range.to, "{range:?}");
        let how = PassReader {
            at_once: 4,
            seed: 3,
            crash_every: None,
        };
        // In a process of its own, from the written form.
        let partition = serde_json::to_string(&part.partition).unwrap();
        let plan = vec![serde_json::from_str(&partition).unwrap()];
        let gathered = how.all(&bench.stream, plan).await.unwrap();
        assert_eq!(Some(gathered.records.len() as u64), part.records);
        let is_last = range.to == Some(at(NOW));
        assert_eq!(gathered.bookmark.is_some(), is_last, "{range:?}");
        read.extend(ids(&gathered.records));
    }
    assert_eq!(sorted(read), (0..150).collect::<Vec<_>>());
    let read = bench.script.requests().len() - surveyed;
    assert_eq!(Some(read as u64), requests);
}

#[tokio::test]
async fn a_bookmark_says_what_it_covers_and_one_that_was_rewound_reads_again() {
    let mut found = items(30, &mut fastrand::Rng::with_seed(15));
    for (number, item) in found.iter_mut().enumerate() {
        item.modified = at(NOW) - SignedDuration::from_hours(24 * number as i64);
    }
    let bench = Bench::new(Service::with(found)).await;
    let (_, bookmark) = bench.pass(None, NOW).await.unwrap();
    let watermark = bench.stream.watermark(&bookmark.unwrap()).unwrap();
    assert_eq!(watermark.until, Some(at(NOW)));
    assert_eq!(watermark.again_from, Some(at(NOW) - OVERLAP));
    assert_eq!(
        watermark.reason,
        "the last 60 minutes are read again for items that become visible late; known records are left out"
    );
    let to = at(NOW) - SignedDuration::from_hours(10 * 24);
    let rewound = bench.stream.rewind(to).unwrap();
    let (read, _) = bench.pass(Some(rewound), NOW).await.unwrap();
    assert_eq!(sorted(read), (1..=10).collect::<Vec<_>>());
    // Before the start there is nothing that this stream reads.
    let rewound = bench.stream.rewind(at("1999-01-01T00:00:00Z")).unwrap();
    let (read, _) = bench.pass(Some(rewound), NOW).await.unwrap();
    assert_eq!(sorted(read), (1..30).collect::<Vec<_>>());
}
