//! Runs that fetch concurrently: order, positions, bounds, quarantine, drift.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    AnyStream, Error, Kind, Meter, Page, PartitionRange, Probe, Result, Source, Stream, StreamSpec,
    Timestamp,
};
use headwater_host::{
    Delivery, DriftOptions, Event, Level, Outcome, Receipt, RunOptions, Sink, SinkState, State,
    WriteCounts,
};
use headwater_output::JsonLinesFolder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

/// A tree of positions: the target of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    id: u32,
    concurrent: Vec<Self>,
    next: Option<Box<Self>>,
}

fn leaf(id: u32) -> Node {
    Node {
        id,
        concurrent: Vec::new(),
        next: None,
    }
}

fn fork(id: u32, concurrent: Vec<Node>, next: Node) -> Node {
    Node {
        id,
        concurrent,
        next: Some(Box::new(next)),
    }
}

/// The result of the fetch of a position.
type Answers = Arc<dyn Fn(u32) -> Result<Value> + Send + Sync>;

struct Tree {
    spec: StreamSpec,
    roots: Vec<Node>,
    answer: Answers,
    takes: Duration,
    log: Mutex<Vec<u32>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

impl Tree {
    fn new(roots: Vec<Node>) -> Self {
        Self {
            spec: StreamSpec {
                name: "things",
                description: "A thing.",
                key: &["id"],
                cursor: None,
                incremental: false,
                schema: || {
                    json!({
                        "type": "object",
                        "required": ["id"],
                        "properties": { "id": { "type": "integer" } }
                    })
                },
            },
            roots,
            answer: Arc::new(|id| Ok(json!({ "id": id }))),
            takes: Duration::from_secs(1),
            log: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }
    }

    fn answering(self, answer: impl Fn(u32) -> Result<Value> + Send + Sync + 'static) -> Self {
        Self {
            answer: Arc::new(answer),
            ..self
        }
    }

    fn asked(&self) -> Vec<u32> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

#[async_trait]
impl Stream for Tree {
    type Partition = usize;
    type Token = Node;
    type Bookmark = ();

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn plan(&self, _: Option<()>, _: Timestamp) -> Result<Vec<usize>> {
        Ok((0..self.roots.len()).collect())
    }

    fn range(&self, partition: &usize) -> PartitionRange {
        let day = |day: usize| Timestamp::from_second(86_400 * day as i64).unwrap();
        PartitionRange {
            title: String::new(),
            from: Some(day(*partition)),
            to: Some(day(*partition + 1)),
        }
    }

    async fn fetch(&self, partition: usize, token: Option<Node>) -> Result<Page<Node, ()>> {
        let node = token.unwrap_or_else(|| self.roots[partition].clone());
        self.log.lock().unwrap().push(node.id);
        let now = self.under_way.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        tokio::time::sleep(self.takes).await;
        self.under_way.fetch_sub(1, SeqCst);
        let body = Bytes::from((self.answer)(node.id)?.to_string());
        let span = 0..body.len();
        let mut page = Page::new(body, vec![span]);
        page.beside = node.concurrent;
        page.next = node.next.map(|next| *next);
        Ok(page)
    }
}

struct Only(Arc<Tree>);

#[async_trait]
impl Source for Only {
    async fn probe(&self, _: &mut Probe) {}

    fn streams(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![Arc::clone(&self.0) as Arc<dyn AnyStream>]
    }
}

/// Counts its records; a write may take its time.
#[derive(Clone, Default)]
struct Counting {
    ids: Arc<Mutex<BTreeMap<u64, usize>>>,
    takes: Duration,
}

impl Counting {
    /// The ids that came, and their counts.
    fn got(&self) -> Vec<(u64, usize)> {
        let ids = self.ids.lock().unwrap();
        ids.iter().map(|(id, times)| (*id, *times)).collect()
    }
}

impl Sink for Counting {
    fn delivery(&self) -> Delivery {
        Delivery::RecordsFirst
    }

    fn restore(&mut self, _: &[StreamSpec], _: &dyn SinkState) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, _: &str, records: &mut dyn Iterator<Item = &[u8]>) -> Result<WriteCounts> {
        std::thread::sleep(self.takes);
        let mut written = WriteCounts::default();
        for record in records {
            let record: Value = serde_json::from_slice(record).unwrap();
            let id = record["id"].as_u64().unwrap_or(u64::MAX);
            *self.ids.lock().unwrap().entry(id).or_default() += 1;
            written.records += 1;
        }
        Ok(written)
    }

    fn commit(&mut self, _: &mut dyn SinkState) -> Result<()> {
        Ok(())
    }
}

fn options(state: &Path) -> RunOptions {
    let (_, never) = watch::channel(false);
    let mut options = RunOptions::new(Arc::new(Meter::default()), never);
    options.state_path = Some(state.to_owned());
    options.commit_every = Some(Duration::ZERO);
    options
}

async fn run(tree: &Arc<Tree>, sink: impl Sink + 'static, options: RunOptions) -> Result<Receipt> {
    let source = Only(Arc::clone(tree));
    let state = State::load(options.state_path.as_deref().unwrap(), "x", &["things"]).unwrap();
    headwater_host::run(&source, &[], state, Box::new(sink), options, &mut |_| {}).await
}

fn once(ids: impl IntoIterator<Item = u64>) -> Vec<(u64, usize)> {
    ids.into_iter().map(|id| (id, 1)).collect()
}

#[tokio::test(start_paused = true)]
async fn places_beside_each_other_are_fetched_at_once_and_the_next_one_after_all_of_them() {
    let concurrent = |ids: std::ops::Range<u32>| ids.map(leaf).collect::<Vec<_>>();
    let inner = fork(2, concurrent(20..23), leaf(29));
    let root = fork(1, vec![inner, leaf(3), leaf(4)], leaf(9));
    let tree = Arc::new(Tree::new(vec![root]));
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let sink = Counting::default();
    let receipt = run(&tree, sink.clone(), options(&folder.path().join("state")))
        .await
        .unwrap();
    assert_eq!(receipt.outcome, Outcome::Complete);
    let asked = tree.asked();
    assert_eq!(asked[0], 1);
    assert_eq!(asked[1..4], [2, 3, 4]);
    assert_eq!(asked[4..7], [20, 21, 22]);
    assert_eq!(asked[7..], [29, 9]);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(sink.got(), once([1, 2, 3, 4, 9, 20, 21, 22, 29]));
}

#[tokio::test(start_paused = true)]
async fn no_more_pages_are_asked_for_at_once_than_allowed() {
    for concurrency in [1, 3, 8] {
        let roots = (0..20).map(leaf).collect();
        let tree = Arc::new(Tree::new(roots));
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut options = options(&folder.path().join("state"));
        options.concurrency = concurrency;
        let receipt = run(&tree, Counting::default(), options).await.unwrap();
        assert_eq!(tree.most.load(SeqCst), concurrency);
        let rounds = 20_u64.div_ceil(concurrency as u64);
        assert_eq!(start.elapsed(), Duration::from_secs(rounds));
        let things = &receipt.streams[0];
        assert_eq!((things.read, things.records, things.pages), (20, 20, 20));
        assert_eq!(things.covered.from, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(
            things.covered.to.unwrap().to_string(),
            "1970-01-21T00:00:00Z"
        );
    }
}

#[tokio::test]
async fn a_slow_sink_slows_the_source_down() {
    let roots = (0..40).map(leaf).collect();
    let tree = Arc::new(Tree {
        takes: Duration::ZERO,
        ..Tree::new(roots)
    });
    let folder = tempfile::tempdir().unwrap();
    let sink = Counting {
        takes: Duration::from_millis(5),
        ..Counting::default()
    };
    let got = sink.clone();
    let farthest = Arc::new(AtomicUsize::new(0));
    let source = Only(Arc::clone(&tree));
    let mut options = options(&folder.path().join("state"));
    // Less than two pages.
    options.memory = 10;
    options.concurrency = 4;
    headwater_host::run(
        &source,
        &[],
        State::new("x"),
        Box::new(sink),
        options,
        &mut |event| {
            if matches!(event, Event::Progress(_)) {
                let asked = tree.log.lock().unwrap().len();
                let ahead = asked.saturating_sub(got.got().len());
                farthest.fetch_max(ahead, SeqCst);
            }
        },
    )
    .await
    .unwrap();
    assert_eq!(got.got(), once(0..40));
    // Waiting pages, pages in the writer, and fetches that were under way when the bound was reached.
    let farthest = farthest.load(SeqCst);
    assert!(farthest <= 10, "{farthest} pages were ahead of the sink");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_at_any_moment_is_gone_on_with() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..12 {
        let concurrent = |from: u32| (from..from + 4).map(leaf).collect::<Vec<_>>();
        let roots = (0..4)
            .map(|root| {
                let from = root * 100;
                let inner = fork(from + 10, concurrent(from + 20), leaf(from + 30));
                fork(
                    from,
                    vec![inner, leaf(from + 11)],
                    fork(from + 40, concurrent(from + 50), leaf(from + 60)),
                )
            })
            .collect();
        let tree = Arc::new(Tree::new(roots));
        let folder = tempfile::tempdir().unwrap();
        let (out, state) = (folder.path().join("out"), folder.path().join("state"));
        let concurrency = random.usize(1..6);
        let mut runs = 0;
        loop {
            runs += 1;
            let mut options = options(&state);
            options.concurrency = concurrency;
            let sink = JsonLinesFolder::new(&out).unwrap();
            let running = run(&tree, sink, options);
            let moment = Duration::from_millis(random.u64(0..9000));
            if let Ok(receipt) = tokio::time::timeout(moment, running).await {
                assert_eq!(receipt.unwrap().outcome, Outcome::Complete);
                break;
            }
            // The write under way ends by itself before the next run.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let text = fs::read_to_string(out.join("things.jsonl")).unwrap();
        let mut ids: Vec<u64> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["id"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        ids.sort_unstable();
        let wanted: Vec<u64> = (0..4_u64)
            .flat_map(|root| {
                let offsets = [0, 10, 11, 20, 21, 22, 23, 30, 40, 50, 51, 52, 53, 60];
                offsets.map(|offset| root * 100 + offset)
            })
            .collect();
        assert_eq!(ids, wanted, "seed {seed}, {runs} runs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_fails_in_three_runs_is_set_aside_and_read_again_when_asked_to() {
    let is_mended = Arc::new(Mutex::new(false));
    let mended = Arc::clone(&is_mended);
    let roots = vec![
        leaf(1),
        fork(2, vec![leaf(20), leaf(21)], leaf(22)),
        leaf(3),
    ];
    let tree = Arc::new(Tree::new(roots).answering(move |id| {
        if id == 20 && !*mended.lock().unwrap() {
            return Err(Error::new(Kind::DataInvalid, "the page is damaged"));
        }
        Ok(json!({ "id": id }))
    }));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let sink = Counting::default();
    for _ in 0..2 {
        let receipt = run(&tree, sink.clone(), options(&path)).await.unwrap();
        assert_eq!(receipt.outcome, Outcome::Failed);
        assert_eq!(receipt.failure(), Some(Kind::DataInvalid));
    }
    let receipt = run(&tree, sink.clone(), options(&path)).await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Partial);
    let flag = &receipt.streams[0].flags[0];
    assert_eq!(flag.code, "set_aside");
    assert!(flag.message.contains("the page is damaged"), "{flag:?}");
    // The rest came, once.
    assert_eq!(sink.got(), once([1, 2, 3, 21, 22]));

    let mut state = State::load(&path, "x", &["things"]).unwrap();
    assert_eq!(state.status()[0].set_aside.len(), 1);
    let explained = state.explain(&Only(Arc::clone(&tree))).unwrap();
    let said = explained[0].sentences.join("\n");
    assert!(
        said.contains("missing: read things: the page is damaged"),
        "{said}"
    );
    assert_eq!(state.retry("things").unwrap(), 1);
    state.save(&path).unwrap();
    *is_mended.lock().unwrap() = true;
    let receipt = run(&tree, sink.clone(), options(&path)).await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Complete);
    assert_eq!(sink.got(), once([1, 2, 3, 20, 21, 22]));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_breaks_a_service_which_answers_otherwise_is_set_aside_too() {
    let deep = fork(3, vec![leaf(4)], leaf(5));
    let tree = Arc::new(Tree::new(vec![leaf(1), leaf(2), deep]).answering(|id| {
        if id == 2 {
            return Err(Error::new(Kind::Unavailable, "status 500"));
        }
        Ok(json!({ "id": id }))
    }));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let sink = Counting::default();
    let one_by_one = || {
        let mut one = options(&path);
        one.concurrency = 1;
        one
    };
    // Before the first answer, the fault is the service's and not the page's.
    let outage = Arc::new(
        Tree::new(vec![leaf(1)]).answering(|_| Err(Error::new(Kind::Unavailable, "status 503"))),
    );
    let elsewhere = folder.path().join("outage");
    for _ in 0..5 {
        let receipt = run(&outage, Counting::default(), options(&elsewhere)).await;
        assert_eq!(receipt.unwrap().outcome, Outcome::Failed);
    }
    // From the second run on, the page is fetched last: by then the service has answered.
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let receipt = run(&tree, sink.clone(), one_by_one()).await.unwrap();
        outcomes.push(receipt.outcome);
    }
    assert_eq!(
        outcomes,
        [Outcome::Failed, Outcome::Failed, Outcome::Partial]
    );
    assert_eq!(sink.got(), once([1, 3, 4, 5]));
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_suspends_the_run_or_is_waited_for() {
    let asked_to_wait = || {
        let times = AtomicUsize::new(0);
        Tree::new(vec![leaf(1), leaf(2)]).answering(move |id| {
            if id == 2 && times.fetch_add(1, SeqCst) == 0 {
                let error = Error::new(Kind::RateLimited, "the service asks to wait");
                return Err(error.retry_after(Duration::from_secs(7200)));
            }
            Ok(json!({ "id": id }))
        })
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let tree = Arc::new(asked_to_wait());
    let sink = Counting::default();
    let start = Instant::now();
    let receipt = run(&tree, sink.clone(), options(&path)).await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Suspended);
    assert_eq!(receipt.failure(), Some(Kind::RateLimited));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(sink.got(), once([1]));
    let receipt = run(&tree, sink.clone(), options(&path)).await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Complete);
    assert_eq!(sink.got(), once([1, 2]));

    let tree = Arc::new(asked_to_wait());
    let sink = Counting::default();
    let mut staying = options(&folder.path().join("stays"));
    staying.stay = true;
    let start = Instant::now();
    let receipt = run(&tree, sink.clone(), staying).await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Complete);
    assert!(start.elapsed() >= Duration::from_secs(7200));
    assert_eq!(sink.got(), once([1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_asks_to_wait_for_ever_keeps_no_run() {
    let folder = tempfile::tempdir().unwrap();
    for (name, delay, most) in [
        ("years", Duration::from_secs(366 * 86_400), 1),
        ("again", Duration::from_secs(60), 101),
    ] {
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        let tree = Tree::new(vec![leaf(1)]).answering(move |_| {
            counted.fetch_add(1, SeqCst);
            let error = Error::new(Kind::RateLimited, "the service asks to wait");
            Err(error.retry_after(delay))
        });
        let mut staying = options(&folder.path().join(name));
        staying.stay = true;
        let tree = Arc::new(tree);
        let run = run(&tree, Counting::default(), staying);
        let receipt = tokio::time::timeout(Duration::from_secs(86_400), run).await;
        let receipt = receipt.expect("it ends").unwrap();
        assert_eq!(receipt.outcome, Outcome::Suspended, "{name}");
        assert_eq!(receipt.failure(), Some(Kind::RateLimited), "{name}");
        assert_eq!(times.load(SeqCst), most, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_drift_are_told_and_rejected_or_stop_the_stream() {
    let tree = || {
        Arc::new(Tree::new((0..6).map(leaf).collect()).answering(|id| {
            Ok(match id {
                3 => json!({ "id": "three" }),
                4 => json!({ "id": 4, "colour": "red" }),
                _ => json!({ "id": id }),
            })
        }))
    };
    let folder = tempfile::tempdir().unwrap();
    let letters = folder.path().join("letters.jsonl");
    let with = |name: &str, policy: &str| {
        let mut options = options(&folder.path().join(name));
        options.concurrency = 1;
        options.drift = Some(DriftOptions::new(
            vec![policy.parse().unwrap()],
            Some(letters.clone()),
        ));
        options
    };
    let sink = Counting::default();
    let receipt = run(&tree(), sink.clone(), with("reject", "reject"))
        .await
        .unwrap();
    assert_eq!(receipt.outcome, Outcome::Partial);
    let things = &receipt.streams[0];
    assert_eq!((things.read, things.records, things.rejected), (6, 5, 1));
    let kinds: Vec<String> = things
        .drift
        .iter()
        .map(|event| format!("{} {}", event.kind, event.path))
        .collect();
    assert_eq!(kinds, ["new_field colour", "widened id"]);
    assert_eq!(sink.got(), once([0, 1, 2, 4, 5]));
    let text = fs::read_to_string(&letters).unwrap();
    let letter: Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(letter["record"], json!({ "id": "three" }));
    // Reported drift is known.
    let receipt = run(&tree(), Counting::default(), with("reject", "accept"))
        .await
        .unwrap();
    assert!(receipt.streams[0].drift.iter().all(|event| event.is_known));

    let sink = Counting::default();
    let receipt = run(&tree(), sink.clone(), with("stop", "things=stop"))
        .await
        .unwrap();
    assert_eq!(receipt.outcome, Outcome::Failed);
    assert_eq!(sink.got(), once([0, 1, 2]));
    let status = serde_json::to_value(&receipt.streams[0].ending).unwrap();
    assert!(
        status["message"].as_str().unwrap().contains("id"),
        "{status}"
    );

    // All pages had been fetched when the writer found the drift.
    let last = Arc::new(Tree::new(vec![leaf(1)]).answering(|_| Ok(json!({ "id": "one" }))));
    let receipt = run(&last, Counting::default(), with("last", "stop"))
        .await
        .unwrap();
    assert_eq!(receipt.outcome, Outcome::Failed);

    let mut nowhere = options(&folder.path().join("nowhere"));
    nowhere.drift = Some(DriftOptions::new(vec!["reject".parse().unwrap()], None));
    let refused = run(&tree(), Counting::default(), nowhere)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::ConfigInvalid);
}

#[tokio::test]
async fn a_promise_that_cannot_be_kept_is_refused_before_anything_is_asked() {
    let tree = Arc::new(Tree::new(vec![leaf(1)]));
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder.path().join("state"));
    options.guarantee = Some(Level::ExactlyOnce);
    let refused = run(&tree, Counting::default(), options).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported);
    assert!(refused.message().contains("at most one page"), "{refused}");
    assert!(tree.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_suddenly_empty_is_flagged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let many = Arc::new(Tree::new((0..12).map(leaf).collect()));
    run(&many, Counting::default(), options(&path))
        .await
        .unwrap();
    let none = Arc::new(Tree::new(Vec::new()));
    let receipt = run(&none, Counting::default(), options(&path))
        .await
        .unwrap();
    assert_eq!(receipt.outcome, Outcome::Complete);
    assert_eq!(receipt.streams[0].flags[0].code, "empty");
}

#[tokio::test(start_paused = true)]
async fn one_partition_is_read_alone_and_leaves_the_bookmark() {
    let tree = Arc::new(Tree::new(vec![leaf(1), leaf(2), leaf(3)]));
    let folder = tempfile::tempdir().unwrap();
    let source = Only(Arc::clone(&tree));
    let state = State::new("x");
    let plan = headwater_host::plan(&source, &[], &state, Delivery::Together, true, true)
        .await
        .unwrap();
    let parts = &plan.streams[0].partitions;
    assert_eq!(parts.len(), 3);
    let path = folder.path().join("state");
    let sink = Counting::default();
    let mut only = options(&path);
    only.only = Some(parts[1].partition.clone());
    let receipt = run(&tree, sink.clone(), only).await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Complete);
    assert_eq!(sink.got(), once([2]));
    let status = State::load(&path, "x", &["things"]).unwrap().status();
    assert!(
        status
            .iter()
            .all(|one| !one.has_bookmark && one.last_records.is_none())
    );
}
