//! The loop over sources that wait, share their answers among streams, and order jobs.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    Allowance, AnyStream, Error, Kind, Meter, Page, Probe, Result, Source, Stream, StreamSpec,
    Timestamp, Wait,
};
use headwater_host::{
    Delivery, Ending, Event, Outcome, Receipt, RunOptions, Sink, SinkState, State, StreamReceipt,
    WriteCounts,
};
use headwater_output::JsonLinesFolder;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

type FakePage = Page<u32, u32>;

/// The calls to the streams of a source, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// A stream whose pages come from a closure, by partition and token.
struct Fake {
    spec: StreamSpec,
    companions: Vec<StreamSpec>,
    partitions: Result<u32, Kind>,
    pages: Box<dyn Fn(u32, u32) -> Result<FakePage> + Send + Sync>,
    /// The duration of a fetch.
    takes: Duration,
    has_jobs: bool,
    log: Log,
}

fn spec(name: &'static str) -> StreamSpec {
    StreamSpec {
        name,
        description: "A thing.",
        key: &["id"],
        cursor: None,
        incremental: true,
        schema: || json!({}),
    }
}

impl Fake {
    fn new(
        name: &'static str,
        partitions: u32,
        pages: impl Fn(u32, u32) -> Result<FakePage> + Send + Sync + 'static,
    ) -> Self {
        Self {
            spec: spec(name),
            companions: Vec::new(),
            partitions: Ok(partitions),
            pages: Box::new(pages),
            takes: Duration::ZERO,
            has_jobs: false,
            log: Log::default(),
        }
    }

    fn with(self, secondary: &'static str) -> Self {
        Self {
            companions: vec![spec(secondary)],
            ..self
        }
    }

    fn log(&self, text: String) {
        self.log.lock().unwrap().push(text);
    }
}

#[async_trait]
impl Stream for Fake {
    type Partition = u32;
    type Token = u32;
    type Bookmark = u32;

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn companions(&self) -> &[StreamSpec] {
        &self.companions
    }

    fn plan(&self, bookmark: Option<u32>, _: Timestamp) -> Result<Vec<u32>> {
        if let Some(bookmark) = bookmark {
            self.log(format!("{} after {bookmark}", self.spec.name));
        }
        match self.partitions {
            Ok(partitions) => Ok((0..partitions).collect()),
            Err(kind) => Err(Error::new(kind, "no plan")),
        }
    }

    async fn fetch(&self, partition: u32, token: Option<u32>) -> Result<FakePage> {
        let token = token.unwrap_or(0);
        self.log(format!("{} {partition}.{token}", self.spec.name));
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        (self.pages)(partition, token)
    }

    fn jobs(&self, _: &u32, token: Option<&u32>) -> u64 {
        u64::from(self.has_jobs && token.is_none())
    }

    async fn release(&self, partition: u32, token: u32) -> Result<bool> {
        self.log(format!("release {} {partition}.{token}", self.spec.name));
        Ok(self.has_jobs)
    }
}

/// A page of these records, `{"id":…}`.
fn page(ids: &[u32], next: Option<u32>) -> FakePage {
    both(ids, &[], next)
}

/// A page with these records of its stream and those of the secondary stream `users`.
fn both(ids: &[u32], users: &[u32], next: Option<u32>) -> FakePage {
    let mut body = String::new();
    let mut place = |id: &u32| {
        let from = body.len();
        body.push_str(&format!("{{\"id\":{id}}}"));
        from..body.len()
    };
    let records = ids.iter().map(&mut place).collect();
    let users = users.iter().map(&mut place).collect();
    let mut page = Page::new(Bytes::from(body), records);
    page.companions = vec![("users", users)];
    page.next = next;
    page
}

fn wait(next: u32, seconds: u64) -> FakePage {
    Page::wait(next, Duration::from_secs(seconds), "a job")
}

fn next_run(page: FakePage, kind: Kind) -> FakePage {
    let error = Error::new(kind, "half of it is missing");
    Page {
        wait: Some(Wait::NextRun(error.retry_after(Duration::from_secs(9)))),
        ..page
    }
}

#[derive(Default)]
struct Fakes {
    streams: Vec<Arc<Fake>>,
    log: Log,
    allowances: Option<Result<Vec<Allowance>, Kind>>,
    /// The duration of a request for the allowances.
    ponders: Duration,
}

impl Fakes {
    fn new(streams: impl IntoIterator<Item = Fake>) -> Self {
        let log = Log::default();
        let share = |stream| Fake {
            log: Arc::clone(&log),
            ..stream
        };
        Self {
            streams: streams.into_iter().map(share).map(Arc::new).collect(),
            log,
            allowances: None,
            ponders: Duration::ZERO,
        }
    }

    /// The calls since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

#[async_trait]
impl Source for Fakes {
    async fn probe(&self, _: &mut Probe) {}

    fn streams(&self) -> Vec<Arc<dyn AnyStream>> {
        let erased = |stream: &Arc<Fake>| Arc::clone(stream) as Arc<dyn AnyStream>;
        self.streams.iter().map(erased).collect()
    }

    async fn allowances(&self) -> Result<Vec<Allowance>> {
        self.log.lock().unwrap().push("allowances".to_owned());
        tokio::time::sleep(self.ponders).await;
        match &self.allowances {
            None => Ok(Vec::new()),
            Some(Ok(allowances)) => Ok(allowances.clone()),
            Some(Err(kind)) => Err(Error::new(*kind, "not for this key")),
        }
    }
}

/// Stores lines as `STREAM ID`; committed ones are durable. Clones share their lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    announced: Option<Vec<String>>,
    written: Vec<String>,
    /// Fails from this commit on.
    breaks_at: Option<usize>,
    commits: usize,
}

impl Lines {
    fn written(&self) -> Vec<String> {
        self.0.lock().unwrap().written.clone()
    }

    fn announced(&self) -> Option<Vec<String>> {
        self.0.lock().unwrap().announced.clone()
    }
}

impl Sink for Lines {
    fn delivery(&self) -> Delivery {
        Delivery::RecordsFirst
    }

    fn restore(&mut self, streams: &[StreamSpec], _: &dyn SinkState) -> Result<()> {
        let names = streams.iter().map(|spec| spec.name.to_owned());
        self.0.lock().unwrap().announced = Some(names.collect());
        Ok(())
    }

    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        let mut kept = self.0.lock().unwrap();
        let mut written = WriteCounts::default();
        for record in records {
            let record: Value = serde_json::from_slice(record).unwrap();
            kept.written.push(format!("{stream} {}", record["id"]));
            written.records += 1;
        }
        Ok(written)
    }

    fn commit(&mut self, _: &mut dyn SinkState) -> Result<()> {
        let mut kept = self.0.lock().unwrap();
        kept.commits += 1;
        if kept.breaks_at.is_some_and(|broken| kept.commits >= broken) {
            return Err(Error::new(Kind::OutputFailed, "the disk is full"));
        }
        Ok(())
    }
}

fn options(state: &Path) -> (watch::Sender<bool>, RunOptions) {
    let (stop, stopped) = watch::channel(false);
    let mut options = RunOptions::new(Arc::new(Meter::default()), stopped);
    options.state_path = Some(state.to_owned());
    options.commit_every = Some(Duration::ZERO);
    // One after the other, so that the order of the calls is meaningful.
    options.concurrency = 1;
    (stop, options)
}

fn load(source: &Fakes, path: &Path) -> State {
    let streams = source.streams();
    let names: Vec<&str> = streams.iter().flat_map(|stream| stream.names()).collect();
    State::load(path, "x", &names).unwrap()
}

/// Runs from the state and saves it.
async fn run(
    source: &Fakes,
    wanted: &[&str],
    state: &Path,
    sink: impl Sink + 'static,
) -> Result<Receipt> {
    let (_stop, options) = options(state);
    run_with(source, wanted, sink, options, &mut |_| {}).await
}

async fn run_with(
    source: &Fakes,
    wanted: &[&str],
    sink: impl Sink + 'static,
    options: RunOptions,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<Receipt> {
    let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
    let state = load(source, options.state_path.as_deref().unwrap());
    headwater_host::run(source, &wanted, state, Box::new(sink), options, on_event).await
}

fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    (folder, state)
}

fn saved(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The token of a partition under way, from the state file.
fn token(state: &Value, stream: &str, number: u64) -> Value {
    let pass = &state["streams"][stream]["pass"]["partitions"];
    let partitions = pass.as_array().unwrap();
    let partition = partitions.iter().find(|one| one["number"] == number);
    partition.unwrap()["token"]["value"].clone()
}

fn endings(summary: &Receipt) -> Vec<String> {
    let shown = |stream: &StreamReceipt| {
        let ending = serde_json::to_value(&stream.ending).unwrap();
        let status = ending["status"].as_str().unwrap().to_owned();
        format!("{} {status} {}", stream.stream, stream.records)
    };
    summary.streams.iter().map(shown).collect()
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_kept_before_it_begins_and_others_are_read_meanwhile() {
    let source = Fakes::new([
        Fake::new("slow", 1, |_, token| match token {
            0 => Ok(wait(1, 10)),
            _ => Ok(page(&[1], None)),
        }),
        Fake::new("quick", 1, |_, token| {
            Ok(page(&[token], (token < 2).then_some(token + 1)))
        }),
    ]);
    let (_folder, state) = place();
    let (_stop, options) = options(&state);
    // A commit for a wait only.
    let mut options = options;
    options.commit_every = Some(Duration::from_secs(3600));
    let start = Instant::now();
    let mut waits = Vec::new();
    let sink = Lines::default();
    let summary = run_with(&source, &[], sink.clone(), options, &mut |event| {
        if let Event::Waiting { stream, reason } = event {
            waits.push(format!("{stream}: {reason}"));
            assert_eq!(token(&saved(&state), "slow", 0), 1);
        }
    })
    .await
    .unwrap();
    assert_eq!(waits, ["slow: a job"]);
    assert_eq!(endings(&summary), ["slow complete 1", "quick complete 3"]);
    assert_eq!(
        source.asked(),
        [
            "slow 0.0",
            "quick 0.0",
            "quick 0.1",
            "quick 0.2",
            "slow 0.1"
        ]
    );
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn the_shortest_wait_ends_first_among_streams_and_among_partitions() {
    let waits = |seconds: [u64; 3]| {
        move |partition: u32, token: u32| match token {
            0 => Ok(wait(1, seconds[partition as usize])),
            _ => Ok(page(&[partition], None)),
        }
    };
    let source = Fakes::new([
        Fake::new("a", 3, waits([30, 10, 50])),
        Fake::new("b", 3, waits([40, 20, 0])),
    ]);
    let (_folder, state) = place();
    let start = Instant::now();
    run(&source, &[], &state, Lines::default()).await.unwrap();
    let asked = source.asked();
    assert_eq!(asked[..3], ["a 0.0", "a 1.0", "a 2.0"]);
    assert_eq!(
        asked[6..],
        ["b 2.1", "a 1.1", "b 1.1", "a 0.1", "b 0.1", "a 2.1"]
    );
    assert_eq!(start.elapsed(), Duration::from_secs(50));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_wait_at_once_and_the_next_run_goes_on_with_it() {
    let source = Fakes::new([
        Fake::new("a", 2, |partition, token| match token {
            0 => Ok(wait(1, 3600)),
            _ => Ok(page(&[partition], None)),
        }),
        Fake::new("b", 1, |_, _| Ok(page(&[7], None))),
    ]);
    let (_folder, state) = place();
    let (stop, options) = options(&state);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.send_replace(true);
        stop.closed().await;
    });
    let start = Instant::now();
    let sink = Lines::default();
    let summary = run_with(&source, &[], sink.clone(), options, &mut |_| {}).await;
    let summary = summary.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(endings(&summary), ["a stopped 0", "b complete 1"]);
    assert_eq!(summary.failure(), Some(Kind::Cancelled));
    assert_eq!(source.asked(), ["a 0.0", "a 1.0", "b 0.0"]);

    let summary = run(&source, &[], &state, sink.clone()).await.unwrap();
    // The interrupted pass comes first, newer records after it.
    assert_eq!(endings(&summary), ["a complete 4", "b complete 1"]);
    assert_eq!(
        source.asked(),
        [
            "a 0.1", "a 1.1", "a 0.0", "a 1.0", "b 0.0", "a 0.1", "a 1.1"
        ]
    );
}

/// Changes the begin of passes in a state; `None` removes it, as in a state of an older version.
fn began(path: &Path, at: Option<&str>) {
    let mut state = saved(path);
    for stream in state["streams"].as_object_mut().unwrap().values_mut() {
        let stream = stream.as_object_mut().unwrap();
        if stream.contains_key("read_at") {
            match at {
                Some(at) => stream.insert("read_at".to_owned(), json!(at)),
                None => stream.remove("read_at"),
            };
        }
        if let Some(Value::Object(pass)) = stream.get_mut("pass") {
            match at {
                Some(at) => pass.insert("began".to_owned(), json!(at)),
                None => pass.remove("began"),
            };
        }
    }
    // An earlier version has no digest.
    state["headwater_state"] = json!(3);
    state.as_object_mut().unwrap().remove("digest");
    fs::write(path, state.to_string()).unwrap();
}

/// A finished stream, one that a killed run had begun, and one that it had not.
fn interrupted(is_incremental: bool, has_jobs: bool) -> Fakes {
    let of = |name| {
        let mut stream = Fake::new(name, 1, move |_, token| match token {
            0 => Ok(Page {
                bookmark: Some(7),
                ..page(&[1], Some(1))
            }),
            _ => Ok(page(&[2], None)),
        });
        stream.spec.incremental = is_incremental;
        stream.has_jobs = has_jobs;
        stream.takes = Duration::from_secs(1);
        stream
    };
    Fakes::new([of("a"), of("b"), of("c")])
}

#[tokio::test]
async fn what_was_set_aside_makes_every_run_partial_until_it_is_brought_back() {
    let source = with_users();
    let at = |value: u32| json!({ "version": 1, "value": value });
    let kept = json!({
        "headwater_state": 1,
        "connector": "x",
        "streams": { "a": { "aside": [
            { "partition": at(0), "message": "read a: broken" },
            { "partition": at(0), "token": at(3), "message": "read a: broken" },
        ] } },
    });
    // A secondary stream misses the quarantined positions of its group, also where it alone is wanted.
    for (wanted, flagged) in [
        (&["a"][..], &["a"][..]),
        (&["users"], &["users"]),
        (&["a", "users"], &["a", "users"]),
        (&[], &["a", "users"]),
        (&["b"], &[]),
    ] {
        let (_folder, state) = place();
        fs::write(&state, kept.to_string()).unwrap();
        for _ in 0..2 {
            let receipt = run(&source, wanted, &state, Lines::default())
                .await
                .unwrap();
            let is_whole = flagged.is_empty();
            assert_eq!(receipt.outcome == Outcome::Complete, is_whole, "{wanted:?}");
            assert_eq!(receipt.outcome == Outcome::Partial, !is_whole, "{wanted:?}");
            assert_eq!(receipt.failure(), None);
            let missing = receipt.streams.iter().filter(|one| one.places_missing == 2);
            let missing: Vec<&str> = missing.map(|one| one.stream.as_str()).collect();
            assert_eq!(missing, flagged);
            for stream in receipt.streams.iter().filter(|one| one.places_missing > 0) {
                assert!(matches!(stream.ending, Ending::Partial), "{stream:?}");
                let flag = &stream.flags[0];
                assert_eq!(flag.code, "missing");
                assert_eq!(
                    flag.mend.as_deref(),
                    Some("headwater state retry --stream a")
                );
                assert!(flag.message.starts_with("2 positions"), "{flag:?}");
            }
        }
        let mut retried = load(&source, &state);
        assert_eq!(retried.retry("a").unwrap(), 2);
        retried.save(&state).unwrap();
        let receipt = run(&source, wanted, &state, Lines::default())
            .await
            .unwrap();
        assert_eq!(receipt.outcome, Outcome::Complete, "{wanted:?}");
    }
}

/// A run that is stopped after the first page of `b`.
async fn interrupt(source: &Fakes, state: &Path) {
    let (stop, options) = options(state);
    let stopped = run_with(source, &[], Lines::default(), options, &mut |event| {
        if let Event::Progress(receipt) = event
            && receipt.stream == "b"
        {
            stop.send_replace(true);
        }
    })
    .await
    .unwrap();
    assert_eq!(
        endings(&stopped),
        ["a complete 2", "b stopped 1", "c not_read 0"]
    );
    source.asked();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_an_older_pass_goes_straight_on_with_the_newer_one() {
    const LONG_AGO: Option<&str> = Some("2020-01-01T00:00:00Z");
    let new_pass = |name: &str| {
        [
            format!("{name} after 7"),
            format!("{name} 0.0"),
            format!("{name} 0.1"),
        ]
    };
    let old_pass = |name: &str| [format!("{name} 0.0"), format!("{name} 0.1")];
    // Changes are always read. An old list is read again in full, and an old export is ordered again.
    for (is_incremental, has_jobs, at, is_again) in [
        (true, false, Some("2100-01-01T00:00:00Z"), true),
        (true, false, LONG_AGO, true),
        (true, true, Some("2100-01-01T00:00:00Z"), false),
        (true, true, LONG_AGO, true),
        (false, false, Some("2100-01-01T00:00:00Z"), false),
        (false, false, LONG_AGO, true),
        (false, false, None, true),
        (false, true, Some("2100-01-01T00:00:00Z"), false),
        (false, true, LONG_AGO, true),
    ] {
        let source = interrupted(is_incremental, has_jobs);
        let (_folder, state) = place();
        interrupt(&source, &state).await;
        began(&state, at);
        let summary = run(&source, &[], &state, Lines::default()).await.unwrap();
        let mut asked = source.asked();
        asked.retain(|one| one != "allowances" && !one.ends_with("after 7"));
        let mut expected = vec!["b 0.1".to_owned()];
        expected.extend(old_pass("c"));
        if is_again {
            expected.extend(new_pass("a")[1..].to_vec());
            expected.extend(new_pass("b")[1..].to_vec());
            assert_eq!(
                endings(&summary),
                ["a complete 2", "b complete 3", "c complete 2"]
            );
        } else {
            assert_eq!(
                endings(&summary),
                ["a read_before 0", "b complete 1", "c complete 2"]
            );
        }
        assert_eq!(asked, expected, "{is_incremental} {has_jobs} {at:?}");
        // The run after it is a normal one.
        run(&source, &[], &state, Lines::default()).await.unwrap();
        let asked = source.asked();
        let read = asked.iter().filter(|one| one.contains('.')).count();
        assert_eq!(read, 6, "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_selection_is_not_bound_by_the_unfinished_pass_of_another_stream() {
    for is_incremental in [true, false] {
        let source = interrupted(is_incremental, false);
        let (_folder, state) = place();
        interrupt(&source, &state).await;
        let summary = run(&source, &["a"], &state, Lines::default())
            .await
            .unwrap();
        assert_eq!(endings(&summary), ["a complete 2"]);
        assert_eq!(source.asked(), ["a after 7", "a 0.0", "a 0.1"]);
        // The pass of the other one has not moved.
        assert_eq!(token(&saved(&state), "b", 0), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_interrupted_run_has_finished_is_not_promised_to_come_again() {
    let of = |name| {
        let mut stream = Fake::new(name, 1, |_, token| match token {
            0 => Ok(page(&[1], Some(1))),
            _ => Ok(page(&[2], None)),
        });
        stream.takes = Duration::from_secs(1);
        stream
    };
    let source = Fakes::new([of("a"), of("b"), of("c")]);
    let (_folder, state) = place();
    interrupt(&source, &state).await;
    let said = |stream: usize| {
        let explained = load(&source, &state).explain(&source).unwrap();
        explained[stream].sentences.join("\n")
    };
    assert!(said(0).contains("interrupted"), "{}", said(0));
    assert!(said(1).contains("a pass is under way"), "{}", said(1));
    run(&source, &[], &state, Lines::default()).await.unwrap();
    assert!(said(0).ends_with("the next run reads all of it again"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_between_the_two_passes_is_no_complete_run() {
    let source = interrupted(true, false);
    let (_folder, state) = place();
    interrupt(&source, &state).await;
    let (stop, options) = options(&state);
    let summary = run_with(&source, &["b"], Lines::default(), options, &mut |event| {
        if matches!(event, Event::Progress(_)) {
            stop.send_replace(true);
        }
    })
    .await
    .unwrap();
    assert_eq!(endings(&summary), ["b stopped 1"]);
    assert_eq!(summary.failure(), Some(Kind::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_newer_export_that_cannot_be_paid_for_suspends_its_stream_alone() {
    let mut source = interrupted(true, true);
    let (_folder, state) = place();
    interrupt(&source, &state).await;
    began(&state, Some("2020-01-01T00:00:00Z"));
    // Enough for the orders of the first round.
    source.allowances = Some(Ok(vec![allowance("export_jobs", 2.0, 0.0)]));
    let summary = run(&source, &["b", "c"], &state, Lines::default())
        .await
        .unwrap();
    assert_eq!(endings(&summary), ["b complete 3", "c complete 2"]);
    source.allowances = Some(Ok(vec![allowance("export_jobs", 0.0, 0.0)]));
    let (_folder, state) = place();
    source.allowances.take();
    interrupt(&source, &state).await;
    began(&state, Some("2020-01-01T00:00:00Z"));
    source.allowances = Some(Ok(vec![allowance("export_jobs", 0.0, 0.0)]));
    let summary = run(&source, &["b"], &state, Lines::default())
        .await
        .unwrap();
    assert_eq!(endings(&summary), ["b failed 1"]);
    assert_eq!(summary.failure(), Some(Kind::QuotaExhausted));
    assert_eq!(source.asked(), ["b 0.1", "b after 7", "allowances"]);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_nobody_can_stop_comes_to_its_end() {
    let source = Fakes::new([Fake::new("a", 1, |_, token| match token {
        0 => Ok(wait(1, 10)),
        _ => Ok(page(&[1], None)),
    })]);
    let (_folder, state) = place();
    let (stop, options) = options(&state);
    drop(stop);
    let sink = Lines::default();
    let summary = run_with(&source, &[], sink.clone(), options, &mut |_| {}).await;
    assert_eq!(endings(&summary.unwrap()), ["a complete 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_over_for_this_run_keeps_nothing_else_from_being_read() {
    for kind in [Kind::DataInvalid, Kind::Unavailable, Kind::QuotaExhausted] {
        let mends = Arc::new(Mutex::new(false));
        let is_mended = Arc::clone(&mends);
        let source = Fakes::new([
            Fake::new("a", 3, move |partition, token| {
                let page = match (partition, token) {
                    (1, 0) if !*is_mended.lock().unwrap() => next_run(page(&[10], Some(5)), kind),
                    (1, _) if !*is_mended.lock().unwrap() => next_run(
                        Page {
                            next: Some(token + 1),
                            ..Page::empty()
                        },
                        kind,
                    ),
                    _ => page(&[partition], None),
                };
                Ok(Page {
                    bookmark: Some(partition),
                    ..page
                })
            }),
            Fake::new("b", 1, |_, _| Ok(page(&[7], None))),
        ]);
        let (_folder, state) = place();
        let sink = Lines::default();
        let summary = run(&source, &[], &state, sink.clone()).await.unwrap();
        // A stream that has to wait differs from a broken one.
        let status = match kind {
            Kind::QuotaExhausted => "suspended",
            _ => "failed",
        };
        let ended = format!("a {status} 3");
        assert_eq!(endings(&summary), [ended.as_str(), "b complete 1"]);
        assert_eq!(summary.failure(), Some(kind));
        let ending = serde_json::to_value(&summary.streams[0].ending).unwrap();
        assert_eq!(ending["message"], "read a: half of it is missing");
        assert_eq!(ending["retry_after_seconds"], 9);
        assert_eq!(sink.written(), ["a 0", "a 10", "a 2", "b 7"]);
        assert_eq!(source.asked(), ["a 0.0", "a 1.0", "a 2.0", "b 0.0"]);

        run(&source, &[], &state, sink.clone()).await.unwrap();
        // A new pass of the one, the rest of the other.
        assert_eq!(source.asked(), ["a 1.5", "b 0.0"]);
        *mends.lock().unwrap() = true;
        let summary = run(&source, &[], &state, sink.clone()).await.unwrap();
        assert_eq!(endings(&summary), ["a complete 4", "b complete 1"]);
        assert_eq!(
            source.asked(),
            ["a 1.6", "b 0.0", "a after 2", "a 0.0", "a 1.0", "a 2.0"]
        );
    }
}

#[tokio::test]
async fn trouble_with_the_service_ends_the_read() {
    let source = Fakes::new([
        Fake::new("a", 1, |_, _| Ok(page(&[1], None))),
        Fake::new("b", 1, |_, _| Err(Error::new(Kind::Unavailable, "down"))),
        Fake::new("c", 1, |_, _| Ok(page(&[1], None))),
    ]);
    let (_folder, state) = place();
    let sink = Lines::default();
    let summary = run(&source, &[], &state, sink.clone()).await.unwrap();
    assert_eq!(
        endings(&summary),
        ["a complete 1", "b failed 0", "c not_read 0"]
    );
}

/// Lists, which are read in full.
fn with_users() -> Fakes {
    let list = |mut stream: Fake| {
        stream.spec.incremental = false;
        stream
    };
    let streams = [
        Fake::new("a", 1, |_, token| match token {
            0 => Ok(both(&[1, 2, 3], &[], Some(1))),
            1 => Ok(both(&[4], &[21, 22], Some(2))),
            2 => Ok(both(&[], &[23, 24, 25], Some(3))),
            _ => Ok(both(&[5, 6], &[26], None)),
        })
        .with("users"),
        Fake::new("b", 1, |_, _| Ok(page(&[7], None))),
    ];
    Fakes::new(streams.map(list))
}

#[tokio::test]
async fn only_wanted_companions_are_written() {
    let all_a = ["a 1", "a 2", "a 3", "a 4", "a 5", "a 6"];
    for (wanted, announced, lines, ends) in [
        (
            &["a"][..],
            &["a"][..],
            all_a.to_vec(),
            &["a complete 6"][..],
        ),
        (
            &["users"],
            &["users"],
            vec![
                "users 21", "users 22", "users 23", "users 24", "users 25", "users 26",
            ],
            &["users complete 6"],
        ),
        (&["b"], &["b"], vec!["b 7"], &["b complete 1"]),
    ] {
        let (_folder, state) = place();
        let sink = Lines::default();
        let summary = run(&with_users(), wanted, &state, sink.clone()).await;
        assert_eq!(endings(&summary.unwrap()), ends);
        assert_eq!(sink.announced().unwrap(), announced);
        assert_eq!(sink.written(), lines);
    }
    let (_folder, state) = place();
    let (_stop, options) = options(&state);
    let sink = Lines::default();
    let mut started = Vec::new();
    let mut ended = Vec::new();
    let source = with_users();
    let summary = run_with(
        &source,
        &[],
        sink.clone(),
        options,
        &mut |event| match event {
            Event::Started { stream, .. } => started.push(stream.to_owned()),
            Event::Ended(summary) => ended.push(summary.stream.clone()),
            _ => {}
        },
    )
    .await
    .unwrap();
    assert_eq!(sink.announced().unwrap(), ["a", "users", "b"]);
    assert_eq!(
        endings(&summary),
        ["a complete 6", "users complete 6", "b complete 1"]
    );
    let pages: Vec<u64> = summary.streams.iter().map(|one| one.pages).collect();
    assert_eq!(pages, [3, 3, 1]);
    assert_eq!(started, ["a", "b"]);
    assert_eq!(ended, ["a", "users", "b"]);
    // A secondary stream is not a stream of the source, but its name is known.
    assert!(source.stream("users").is_ok());
    let refused = run(&source, &["user"], &state, Lines::default()).await;
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("there are a, users, b"), "{message}");
}

#[tokio::test]
async fn a_limit_counts_each_stream_and_a_run_without_it_writes_nothing_twice() {
    let ids = |folder: &Path, stream: &str| -> Vec<u64> {
        let text = fs::read_to_string(folder.join(format!("{stream}.jsonl"))).unwrap();
        let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
        records
            .map(|record: Value| record["id"].as_u64().unwrap())
            .collect()
    };
    for limit in 0..8 {
        let count = limit.min(6);
        let (folder, state) = place();
        let records = folder.path().join("records");
        let (_stop, mut options) = options(&state);
        options.limit = Some(limit);
        let source = with_users();
        let wanted = ["a", "users"];
        let sink = JsonLinesFolder::new(&records).unwrap();
        let summary = run_with(&source, &wanted, sink, options, &mut |_| {}).await;
        for stream in summary.unwrap().streams {
            assert_eq!(stream.records, count, "{limit} {stream:?}");
            let is_limited = matches!(stream.ending, Ending::Limited);
            assert_eq!(is_limited, limit < 6, "{limit} {stream:?}");
        }
        assert_eq!(ids(&records, "a"), (1..=count).collect::<Vec<_>>());
        assert_eq!(
            ids(&records, "users"),
            (21..=20 + count).collect::<Vec<_>>()
        );
        if limit >= 6 {
            continue;
        }
        let sink = JsonLinesFolder::new(&records).unwrap();
        run(&source, &wanted, &state, sink).await.unwrap();
        assert_eq!(ids(&records, "a"), [1, 2, 3, 4, 5, 6], "{limit}");
        assert_eq!(ids(&records, "users"), [21, 22, 23, 24, 25, 26], "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_beyond_a_cut_page_is_read_of_its_own_partition() {
    let mut stream = Fake::new("a", 2, |partition, token| match (partition, token) {
        (0, 0) => Ok(wait(9, 1)),
        (0, 9) => Ok(both(&[90], &[91], None)),
        (1, 0) => Ok(both(&[1, 2, 3], &[], Some(1))),
        (1, 1) => Ok(both(&[4], &[21], Some(2))),
        (1, 2) => Ok(both(&[5], &[22, 23], None)),
        other => panic!("{other:?} is no position"),
    })
    .with("users");
    // The wait of the first partition is over when the page of the second one is there.
    stream.takes = Duration::from_secs(2);
    stream.spec.incremental = false;
    let source = Fakes::new([stream]);
    let (_folder, state) = place();
    let (_stop, mut options) = options(&state);
    options.limit = Some(2);
    let sink = Lines::default();
    let summary = run_with(&source, &[], sink.clone(), options, &mut |_| {}).await;
    assert_eq!(
        endings(&summary.unwrap()),
        ["a limited 2", "users limited 2"]
    );
    assert_eq!(sink.written(), ["a 1", "a 2", "users 21", "users 22"]);
    assert_eq!(source.asked(), ["a 0.0", "a 1.0", "a 1.1", "a 1.2"]);

    let sink = Lines::default();
    run(&source, &[], &state, sink.clone()).await.unwrap();
    assert_eq!(source.asked()[0], "a 0.9");
    assert_eq!(sink.written().len(), 5 + 3 + 2);
}

#[tokio::test(start_paused = true)]
async fn the_bookmark_is_that_of_the_partition_furthest_back_in_the_plan() {
    for (waits, gives, left) in [
        ([30, 20, 10], [Some(1), Some(2), Some(3)], Some(3)),
        ([10, 30, 20], [Some(1), Some(2), Some(3)], Some(3)),
        ([30, 10, 20], [Some(1), Some(2), None], Some(2)),
        ([20, 10, 30], [Some(1), None, None], Some(1)),
        ([10, 20, 30], [None, None, None], None),
    ] {
        let source = Fakes::new([Fake::new("a", 3, move |partition, token| match token {
            0 => Ok(wait(1, waits[partition as usize])),
            _ => Ok(Page {
                bookmark: gives[partition as usize],
                ..page(&[1], None)
            }),
        })]);
        let (_folder, state) = place();
        let sink = Lines::default();
        run(&source, &[], &state, sink.clone()).await.unwrap();
        let state = saved(&state);
        assert_eq!(
            state["streams"]["a"]["bookmark"]["value"],
            json!(left),
            "{waits:?} {gives:?}"
        );
    }
}

fn allowance(name: &'static str, limit: f64, used: f64) -> Allowance {
    Allowance {
        name: name.into(),
        title: "export jobs in 30 days".into(),
        limit,
        used,
        resets_at: None,
        counts_jobs: true,
    }
}

/// Two streams, the first with a job for each of its three partitions.
fn with_jobs(allowances: Result<Vec<Allowance>, Kind>) -> Fakes {
    let mut jobs = Fake::new("a", 3, |_, _| Ok(page(&[1], None)));
    jobs.has_jobs = true;
    let source = Fakes::new([jobs, Fake::new("b", 1, |_, _| Ok(page(&[7], None)))]);
    Fakes {
        allowances: Some(allowances),
        ..source
    }
}

#[tokio::test]
async fn jobs_that_are_not_left_are_refused_before_anything_happens() {
    let back: Timestamp = "2099-11-22T08:30:00Z".parse().unwrap();
    for (used, resets_at, says, delays) in [
        (
            98.0,
            Some(back),
            "this read orders 3 export jobs, and 2 of 100 export jobs in 30 days are left; nothing was ordered. Read fewer \
             streams, or come back on 2099-11-22 at 08:30 UTC",
            true,
        ),
        (
            120.0,
            None,
            "this read orders 3 export jobs, and 0 of 100 export jobs in 30 days are left; nothing was ordered. Read fewer streams",
            false,
        ),
    ] {
        let source = with_jobs(Ok(vec![Allowance {
            resets_at,
            ..allowance("export_jobs", 100.0, used)
        }]));
        let (_folder, state) = place();
        let sink = Lines::default();
        let refused = run(&source, &[], &state, sink.clone()).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::QuotaExhausted);
        assert_eq!(refused.to_string(), says);
        assert_eq!(refused.delay().is_some(), delays);
        assert_eq!(sink.announced(), None);
        assert!(!state.exists());
        assert_eq!(source.asked(), ["allowances"]);
        // Streams without jobs are read all the same, and no run requests the allowances.
        run(&source, &["b"], &state, sink.clone()).await.unwrap();
        assert_eq!(source.asked(), ["b 0.0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_while_the_service_is_asked_what_is_left() {
    let source = Fakes {
        ponders: Duration::from_secs(300),
        ..with_jobs(Ok(vec![]))
    };
    let (_folder, state) = place();
    let (stop, options) = options(&state);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.send_replace(true);
        stop.closed().await;
    });
    let start = Instant::now();
    let sink = Lines::default();
    let summary = run_with(&source, &[], sink, options, &mut |_| {}).await;
    let summary = summary.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(endings(&summary), ["a not_read 0", "b not_read 0"]);
    assert_eq!(summary.failure(), Some(Kind::Cancelled));
    assert_eq!(source.asked(), ["allowances"]);
}

#[tokio::test]
async fn jobs_that_are_left_are_told_before_they_are_ordered() {
    let other = Allowance {
        counts_jobs: false,
        ..allowance("ai_credits", 1.0, 1.0)
    };
    for (allowances, expected) in [
        (
            Ok(vec![allowance("export_jobs", 3.0, 0.0), other]),
            vec!["3 of export_jobs"],
        ),
        (Ok(vec![]), vec![]),
        // An account that may not see the limits meets them when it orders.
        (Err(Kind::PermissionDenied), vec![]),
        (Err(Kind::NotFound), vec![]),
    ] {
        let source = with_jobs(allowances);
        let (_folder, state) = place();
        let (_stop, options) = options(&state);
        let sink = Lines::default();
        let mut events = Vec::new();
        let summary = run_with(
            &source,
            &[],
            sink.clone(),
            options,
            &mut |event| match event {
                Event::Jobs { jobs, allowance } => {
                    events.push(format!("{jobs} of {}", allowance.name));
                }
                Event::Started { .. } => assert_eq!(events.len(), expected.len()),
                _ => {}
            },
        )
        .await
        .unwrap();
        assert_eq!(endings(&summary), ["a complete 3", "b complete 1"]);
        assert_eq!(events, expected);
        assert_eq!(source.asked().len(), 5);
    }
    let source = with_jobs(Err(Kind::Unavailable));
    let (_folder, state) = place();
    let refused = run(&source, &[], &state, Lines::default()).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_were_ordered_before_are_not_counted_again() {
    let mut stream = Fake::new("a", 3, |partition, token| match (partition, token) {
        (0, _) => Ok(page(&[1], None)),
        (1, 0) => Ok(wait(1, 60)),
        (1, _) => Ok(page(&[2], None)),
        _ => Err(Error::new(Kind::Unavailable, "down")),
    });
    stream.has_jobs = true;
    let source = Fakes {
        allowances: Some(Ok(vec![allowance("export_jobs", 3.0, 0.0)])),
        ..Fakes::new([stream])
    };
    let (_folder, state) = place();
    for expected in [3, 1] {
        let (_stop, options) = options(&state);
        let mut counted = 0;
        let sink = Lines::default();
        run_with(&source, &[], sink.clone(), options, &mut |event| {
            if let Event::Jobs { jobs, .. } = event {
                counted = jobs;
            }
        })
        .await
        .unwrap();
        assert_eq!(counted, expected);
    }
}

/// A stream with a pending job, one whose job is not ordered yet, and one without.
fn with_waits() -> Fakes {
    let mut stream = Fake::new("a", 2, |partition, token| match (partition, token) {
        (0, 0) => Ok(wait(4711, 3600)),
        (1, 0) => Ok(page(&[1], Some(1))),
        (1, 1) => Ok(wait(4712, 3600)),
        _ => Ok(page(&[1], None)),
    });
    stream.has_jobs = true;
    let other = Fake::new("b", 1, |_, token| match token {
        0 => Ok(wait(1, 3600)),
        _ => Ok(page(&[1], None)),
    });
    Fakes::new([stream, other])
}

/// A run that is stopped in its first wait.
async fn stopped(source: &Fakes, state: &Path, release: bool, sink: Lines) -> Result<Receipt> {
    let (stop, mut options) = options(state);
    options.release = release;
    run_with(source, &[], sink, options, &mut |event| {
        if matches!(event, Event::Waiting { stream: "b", .. }) {
            stop.send_replace(true);
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_stopped_read_lets_go_of_its_jobs_when_it_is_asked_to() {
    let released = |asked: &[String]| -> Vec<String> {
        let is_release = |text: &&String| text.starts_with("release");
        asked.iter().filter(is_release).cloned().collect()
    };
    let source = with_waits();
    let (_folder, state) = place();
    let sink = Lines::default();
    let summary = stopped(&source, &state, false, sink.clone()).await.unwrap();
    assert_eq!(summary.cancelled_jobs, 0);
    assert_eq!(released(&source.asked()), [""; 0]);
    assert_eq!(token(&saved(&state), "a", 0), 4711);

    let (_folder, state) = place();
    let summary = stopped(&source, &state, true, sink.clone()).await.unwrap();
    assert_eq!(summary.cancelled_jobs, 2);
    assert_eq!(
        released(&source.asked()),
        ["release a 0.4711", "release a 1.4712", "release b 0.1"]
    );
    for number in [0, 1] {
        assert_eq!(token(&saved(&state), "a", number), Value::Null);
    }
    // There was no job to cancel.
    assert_eq!(token(&saved(&state), "b", 0), 1);

    let (_folder, state) = place();
    let (_stop, mut options) = options(&state);
    options.release = true;
    let summary = run_with(&source, &[], sink.clone(), options, &mut |_| {}).await;
    assert_eq!(summary.unwrap().cancelled_jobs, 0);
    assert_eq!(released(&source.asked()), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_broke_gets_no_state_ahead_of_it_from_a_release() {
    let source = with_waits();
    let (_folder, state) = place();
    // The page after the wait is written and cannot be committed. The first commit is before all pages.
    let sink = Lines::default();
    sink.0.lock().unwrap().breaks_at = Some(4);
    let (stop, mut options) = options(&state);
    options.release = true;
    let summary = run_with(&source, &[], sink.clone(), options, &mut |event| {
        if matches!(event, Event::Progress(_)) {
            stop.send_replace(true);
        }
    })
    .await
    .unwrap();
    assert_eq!(endings(&summary), ["a failed 1", "b stopped 0"]);
    assert_eq!(summary.failure(), Some(Kind::OutputFailed));
    let kept = saved(&state);
    assert_eq!(token(&kept, "a", 0), 4711);
    assert_eq!(token(&kept, "a", 1), Value::Null);
    let sink = Lines::default();
    run(&source, &["a"], &state, sink.clone()).await.unwrap();
    assert_eq!(sink.written().len(), 3);
}

#[tokio::test]
async fn a_plan_that_fails_refuses_the_whole_read() {
    let mut broken = Fake::new("b", 1, |_, _| Ok(page(&[7], None)));
    broken.partitions = Err(Kind::ConfigInvalid);
    let source = Fakes::new([Fake::new("a", 1, |_, _| Ok(page(&[1], None))), broken]);
    let (_folder, state) = place();
    let sink = Lines::default();
    let refused = run(&source, &[], &state, sink.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::ConfigInvalid);
    assert_eq!(sink.announced(), None);
    assert_eq!(source.asked(), [""; 0]);
    assert!(!state.exists());
    run(&source, &["a"], &state, sink.clone()).await.unwrap();
    assert_eq!(sink.written(), ["a 1"]);
}

#[tokio::test]
async fn a_pass_that_an_older_version_left_is_read_to_its_end() {
    let source = Fakes::new([Fake::new("a", 3, |partition, token| {
        Ok(Page {
            bookmark: Some(partition),
            ..page(&[10 * partition + token], None)
        })
    })]);
    let (_folder, state) = place();
    let at = |value: u32| json!({ "version": 1, "value": value });
    let old = json!({
        "headwater_state": 1,
        "connector": "x",
        "streams": { "a": { "pass": { "partitions": [
            { "partition": at(1), "token": at(5) },
            { "partition": at(2) },
            { "partition": at(3) },
        ] } } },
    });
    fs::write(&state, old.to_string()).unwrap();
    let sink = Lines::default();
    run(&source, &[], &state, sink.clone()).await.unwrap();
    let (left, newer) = (["a 15", "a 20", "a 30"], ["a 0", "a 10", "a 20"]);
    assert_eq!(sink.written(), [left, newer].concat());
    assert_eq!(source.asked()[3], "a after 3");
    assert_eq!(saved(&state)["streams"]["a"]["bookmark"], at(2));
}
