//! Documents by export jobs: the way to a job, and the way through its result.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use crate::common::{Answer, Piece, Wire, spec};
use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{Error, Kind, Note, Page, Result, Stream, StreamSpec, Timestamp, Wait};
use headwater_http::{
    Client, Export, ExportStream, ExportToken, Grace, JobPolicy, JobStatus, Jobs, OrderOutcome,
    Request, Response, Route,
};
use tokio::{task::yield_now, time::Instant};

type ExportPage = Page<ExportToken, u32>;

/// Entries and users.
type Records = (Vec<String>, Vec<String>);

const POLICY: JobPolicy = JobPolicy {
    attempts: 3,
    patience: Duration::from_secs(600),
};

/// Documents by number. Below 100 they need a job, below 200 they come at once, from 200 on there are none.
struct Documents {
    client: Client,
    spec: StreamSpec,
    companions: Vec<StreamSpec>,
    jobs: Arc<dyn Jobs<u32>>,
}

#[async_trait]
impl Export for Documents {
    type Order = u32;
    type Bookmark = u32;

    fn client(&self) -> &Client {
        &self.client
    }

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn companions(&self) -> &[StreamSpec] {
        &self.companions
    }

    fn lists(&self) -> &'static [(&'static str, usize)] {
        &[("entries", 0), ("users", 1)]
    }

    fn plan(&self, bookmark: Option<u32>, _: Timestamp) -> Result<Vec<u32>> {
        Ok((bookmark.unwrap_or(0)..3).collect())
    }

    fn route(&self, order: &u32) -> Route {
        match order {
            0..100 => Route::Job,
            100..200 => Route::Direct(Request::get(format!("/{order}")).accept(&[409])),
            _ => Route::Nothing(Note {
                code: "not_any_more",
                message: "too old".to_owned(),
            }),
        }
    }

    fn bookmark(&self, order: &u32) -> Option<u32> {
        Some(*order)
    }

    fn field(&self, order: &u32, stream: usize) -> Option<String> {
        (stream == 0).then(|| format!("\"order\":{order}"))
    }

    fn inspect(&self, _: &u32, _: usize, record: &[u8]) -> Result<()> {
        if record.ends_with(b"\"bad\":1}") {
            return Err(Error::new(
                Kind::DataInvalid,
                "a record of another document",
            ));
        }
        Ok(())
    }

    fn jobs(&self) -> &dyn Jobs<u32> {
        &*self.jobs
    }
}

fn stream(wire: &Wire, jobs: &Arc<impl Jobs<u32> + 'static>) -> ExportStream<Documents> {
    ExportStream::new(Documents {
        client: wire.client(),
        spec: spec("entries"),
        companions: vec![spec("users")],
        jobs: Arc::clone(jobs) as Arc<dyn Jobs<u32>>,
    })
}

/// A service that says what it is told to, once.
#[derive(Default)]
struct Told(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    mark: Option<Result<i64>>,
    found: Option<&'static str>,
    ordered: Option<Result<OrderOutcome>>,
    status: Option<Result<JobStatus>>,
    is_cancelled: bool,
    calls: Vec<String>,
}

impl Told {
    fn called(&self, call: impl Into<String>) -> std::sync::MutexGuard<'_, Answers> {
        let mut answers = self.0.lock().unwrap();
        answers.calls.push(call.into());
        answers
    }
}

fn result(job: &str) -> Request {
    Request::get(format!("/results/{job}")).accept(&[404, 409])
}

#[async_trait]
impl Jobs<u32> for Told {
    fn policy(&self) -> JobPolicy {
        POLICY
    }

    async fn mark(&self) -> Result<i64> {
        self.called("mark").mark.take().unwrap()
    }

    async fn find(&self, order: &u32, mark: i64, _: &[String]) -> Result<Option<String>> {
        let found = self.called(format!("find {order} after {mark}")).found;
        Ok(found.map(str::to_owned))
    }

    async fn order(&self, order: &u32) -> Result<OrderOutcome> {
        self.called(format!("order {order}"))
            .ordered
            .take()
            .unwrap()
    }

    async fn status(&self, job: &str) -> Result<JobStatus> {
        self.called(format!("status {job}")).status.take().unwrap()
    }

    fn result(&self, job: &str) -> Request {
        result(job)
    }

    fn is_gone(&self, response: &Response) -> bool {
        response.status == 404
    }

    async fn cancel(&self, job: &str) -> Result<bool> {
        Ok(self.called(format!("cancel {job}")).is_cancelled)
    }
}

fn error(kind: Kind) -> Error {
    Error::new(kind, "it went wrong")
}

fn ordering(mark: impl Into<Option<i64>>, failed: u32, refused: u32) -> ExportToken {
    let mark = mark.into();
    ExportToken::Ordering {
        mark,
        failed,
        refused,
    }
}

fn waiting(failed: u32, polls: u32, waited: u64) -> ExportToken {
    let job = "j".to_owned();
    ExportToken::Waiting {
        job,
        failed,
        polls,
        waited,
    }
}

/// Grace after so many questions and seconds.
fn grace(polls: u32, waited: u64) -> Grace {
    serde_json::from_str(&format!(r#"{{"polls":{polls},"waited":{waited}}}"#)).unwrap()
}

/// Over.
const LONG: u64 = 120;

fn looking(failed: u32, refused: u32, grace: Grace) -> ExportToken {
    ExportToken::Looking {
        mark: 7,
        failed,
        refused,
        grace,
    }
}

fn unseen(failed: u32, grace: Grace) -> ExportToken {
    let job = "j".to_owned();
    ExportToken::Unseen { job, failed, grace }
}

fn unready(failed: u32, grace: Grace) -> ExportToken {
    ExportToken::Unready {
        job: "j".to_owned(),
        failed,
        lacks: None,
        grace,
    }
}

fn reading(failed: u32, lacks: Option<&str>) -> ExportToken {
    ExportToken::Reading {
        job: Some("j".to_owned()),
        failed,
        records: 0,
        last: 0,
        lacks: lacks.map(str::to_owned),
    }
}

/// What keeps a page's next one from being fetched at once.
fn wait_of(page: &ExportPage) -> String {
    match &page.wait {
        None => "nothing".to_owned(),
        Some(Wait::For { wait, .. }) => format!("{}s", wait.as_secs_f64()),
        Some(Wait::NextRun(error)) => format!("{:?}", error.kind()),
    }
}

fn notes(page: &ExportPage) -> Vec<&'static str> {
    page.notes.iter().map(|note| note.code).collect()
}

/// A step: from a token, with these answers, to a token with a hold and notes, or the error that ends the read.
type Step = (
    Option<ExportToken>,
    Answers,
    Result<(ExportToken, &'static str, &'static [&'static str]), Kind>,
    &'static [&'static str],
);

fn ordered(answer: Result<OrderOutcome>) -> Answers {
    Answers {
        ordered: Some(answer),
        ..Answers::default()
    }
}

fn marked(mark: Result<i64>) -> Answers {
    Answers {
        mark: Some(mark),
        ..Answers::default()
    }
}

fn status(status: Result<JobStatus>) -> Answers {
    Answers {
        status: Some(status),
        ..Answers::default()
    }
}

fn steps() -> Vec<Step> {
    let begin = || ordering(None, 0, 0);
    let order = &["find 5 after 7", "order 5"][..];
    let ask = &["status j"][..];
    let job = || Ok(OrderOutcome::Job("j".to_owned()));
    let failed = || Ok(JobStatus::Failed(error(Kind::Unavailable)));
    vec![
        // Nothing is ordered before the mark is kept.
        (
            None,
            marked(Ok(7)),
            Ok((ordering(7, 0, 0), "0s", &[])),
            &["mark"],
        ),
        (
            Some(ordering(None, 2, 0)),
            marked(Ok(7)),
            Ok((ordering(7, 2, 0), "0s", &[])),
            &["mark"],
        ),
        (
            None,
            marked(Err(error(Kind::PermissionDenied))),
            Ok((begin(), "PermissionDenied", &[])),
            &["mark"],
        ),
        (
            None,
            marked(Err(error(Kind::Unavailable))),
            Err(Kind::Unavailable),
            &["mark"],
        ),
        // A job that is there is not ordered.
        (
            Some(ordering(7, 1, 0)),
            Answers {
                found: Some("j"),
                ..Answers::default()
            },
            Ok((waiting(1, 0, 0), "1s", &[])),
            &["find 5 after 7"],
        ),
        (
            Some(ordering(7, 1, 0)),
            ordered(job()),
            Ok((waiting(1, 0, 0), "1s", &[])),
            order,
        ),
        // No room: again, as long as there is patience, and with a new mark, since others order meanwhile.
        (
            Some(ordering(7, 1, 0)),
            ordered(Ok(OrderOutcome::Busy)),
            Ok((ordering(None, 1, 1), "20s", &[])),
            order,
        ),
        (
            Some(ordering(7, 0, 29)),
            ordered(Ok(OrderOutcome::Busy)),
            Ok((ordering(None, 0, 30), "20s", &[])),
            order,
        ),
        (
            Some(ordering(7, 0, 30)),
            ordered(Ok(OrderOutcome::Busy)),
            Ok((begin(), "QuotaExhausted", &[])),
            order,
        ),
        // No answer: looked for before it is ordered again.
        (
            Some(ordering(7, 0, 0)),
            ordered(Err(error(Kind::Unavailable))),
            Ok((looking(0, 1, grace(0, 0)), "2s", &[])),
            order,
        ),
        // Its job may show late, so that it is looked for a while before it is ordered again.
        (
            Some(looking(0, 1, grace(0, 0))),
            Answers::default(),
            Ok((looking(0, 1, grace(1, 1)), "1s", &[])),
            &["find 5 after 7"],
        ),
        (
            Some(looking(1, 1, grace(3, 9))),
            Answers {
                found: Some("j"),
                ..Answers::default()
            },
            Ok((waiting(1, 0, 0), "1s", &[])),
            &["find 5 after 7"],
        ),
        // There is none, and a new order has a mark of its own.
        (
            Some(looking(0, 1, grace(9, LONG))),
            Answers::default(),
            Ok((ordering(None, 0, 1), "nothing", &[])),
            &["find 5 after 7"],
        ),
        // So does a job that was just ordered: what does not show yet is not gone.
        (
            Some(waiting(0, 0, 0)),
            status(Ok(JobStatus::Gone)),
            Ok((unseen(0, grace(1, 1)), "1s", &[])),
            ask,
        ),
        (
            Some(unseen(0, grace(2, 2))),
            status(Ok(JobStatus::Gone)),
            Ok((unseen(0, grace(3, 4)), "2.25s", &[])),
            ask,
        ),
        (
            Some(unseen(0, grace(2, 2))),
            status(Ok(JobStatus::Running)),
            Ok((waiting(0, 1, 1), "1s", &[])),
            ask,
        ),
        (
            Some(unseen(0, grace(2, 2))),
            status(Ok(JobStatus::Done(Ok(())))),
            Ok((reading(0, None), "nothing", &[])),
            ask,
        ),
        // Too long is gone: ordered once more, and the last one is kept for the next run.
        (
            Some(unseen(0, grace(9, LONG))),
            status(Ok(JobStatus::Gone)),
            Ok((ordering(None, 1, 0), "nothing", &["job_failed"])),
            ask,
        ),
        (
            Some(unseen(1, grace(9, LONG))),
            status(Ok(JobStatus::Gone)),
            Ok((unseen(0, grace(0, 0)), "Unavailable", &[])),
            ask,
        ),
        // One that has expired was there.
        (
            Some(waiting(0, 0, 0)),
            status(Ok(JobStatus::Expired)),
            Ok((ordering(None, 1, 0), "nothing", &["job_failed"])),
            ask,
        ),
        (
            Some(waiting(1, 0, 0)),
            status(Ok(JobStatus::Expired)),
            Ok((begin(), "Unavailable", &[])),
            ask,
        ),
        (
            Some(ordering(7, 0, 3)),
            ordered(Err(error(Kind::Unavailable))),
            Err(Kind::Unavailable),
            order,
        ),
        // An answer that nobody can read may have ordered something.
        (
            Some(ordering(7, 0, 0)),
            ordered(Err(error(Kind::DataInvalid))),
            Ok((ordering(7, 0, 0), "DataInvalid", &[])),
            order,
        ),
        (
            Some(ordering(7, 0, 0)),
            ordered(Err(error(Kind::QuotaExhausted))),
            Err(Kind::QuotaExhausted),
            order,
        ),
        // The questions get rarer.
        (
            Some(waiting(0, 0, 0)),
            status(Ok(JobStatus::Running)),
            Ok((waiting(0, 1, 1), "1s", &[])),
            ask,
        ),
        (
            Some(waiting(0, 2, 3)),
            status(Ok(JobStatus::Running)),
            Ok((waiting(0, 3, 5), "2.25s", &[])),
            ask,
        ),
        (
            Some(waiting(0, 99, 9)),
            status(Ok(JobStatus::Running)),
            Ok((waiting(0, 100, 39), "30s", &[])),
            ask,
        ),
        (
            Some(waiting(0, 0, 0)),
            status(Ok(JobStatus::Unknown("DREAMING".to_owned()))),
            Ok((waiting(0, 1, 1), "1s", &["unknown_job_status"])),
            ask,
        ),
        // The job is kept when the patience is not.
        (
            Some(waiting(1, 9, 600)),
            status(Ok(JobStatus::Running)),
            Ok((waiting(1, 0, 0), "Unavailable", &[])),
            ask,
        ),
        (
            Some(waiting(1, 9, 600)),
            status(Ok(JobStatus::Done(Ok(())))),
            Ok((reading(1, None), "nothing", &[])),
            ask,
        ),
        (
            Some(waiting(0, 0, 0)),
            status(Ok(JobStatus::Done(Err(error(Kind::DataInvalid))))),
            Ok((reading(0, Some("it went wrong")), "nothing", &[])),
            ask,
        ),
        // One that failed is ordered again, behind a new mark.
        (
            Some(waiting(0, 3, 9)),
            status(failed()),
            Ok((ordering(None, 1, 0), "nothing", &["job_failed"])),
            ask,
        ),
        (
            Some(waiting(2, 3, 9)),
            status(failed()),
            Ok((begin(), "Unavailable", &[])),
            ask,
        ),
        (
            Some(waiting(0, 3, 9)),
            status(Ok(JobStatus::Gone)),
            Ok((ordering(None, 1, 0), "nothing", &["job_failed"])),
            ask,
        ),
        (
            Some(waiting(2, 3, 9)),
            status(Ok(JobStatus::Gone)),
            Ok((begin(), "Unavailable", &[])),
            ask,
        ),
        // One that somebody ended is not, in this run.
        (
            Some(waiting(0, 3, 9)),
            status(Ok(JobStatus::Ended(error(Kind::Unavailable)))),
            Ok((begin(), "Unavailable", &[])),
            ask,
        ),
        (
            Some(waiting(0, 3, 9)),
            status(Err(error(Kind::Unavailable))),
            Err(Kind::Unavailable),
            ask,
        ),
        (
            Some(waiting(0, 3, 9)),
            status(Err(error(Kind::PermissionDenied))),
            Ok((waiting(0, 3, 9), "PermissionDenied", &[])),
            ask,
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_step_on_the_way_to_a_result() {
    for (from, answers, expected, calls) in steps() {
        let told = Arc::new(Told(Mutex::new(answers)));
        let wire = Wire::new(|_, _| panic!("nothing is fetched here"));
        let start = Instant::now();
        let stream = stream(&wire, &told);
        if let Some(ExportToken::Ordering {
            mark: Some(mark), ..
        }) = from
        {
            // The mark is of this process.
            told.0.lock().unwrap().mark = Some(Ok(mark));
            stream.fetch(5, None).await.unwrap();
            told.0.lock().unwrap().calls.clear();
        }
        let fetched = stream.fetch(5, from.clone()).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "the host waits: {from:?}");
        match (fetched, expected) {
            (Ok(page), Ok((next, held, noted))) => {
                assert_eq!(page.next, Some(next), "from {from:?}");
                assert_eq!(wait_of(&page), held, "from {from:?}");
                assert_eq!(notes(&page), noted, "from {from:?}");
                assert!(page.records.is_empty() && page.bookmark.is_none());
            }
            (Err(error), Err(kind)) => assert_eq!(error.kind(), kind, "from {from:?}"),
            (fetched, _) => panic!("{fetched:?} from {from:?}"),
        }
        assert_eq!(told.0.lock().unwrap().calls, calls, "from {from:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_of_another_process_may_have_been_ordered_behind() {
    let told = Arc::new(Told::default());
    let wire = Wire::new(|_, _| panic!("nothing is fetched here"));
    let page = stream(&wire, &told)
        .fetch(5, Some(ordering(7, 0, 0)))
        .await
        .unwrap();
    assert_eq!(page.next, Some(looking(0, 0, grace(1, 1))));
    assert_eq!(told.0.lock().unwrap().calls, ["find 5 after 7"]);
    // And so may one that was placed here, and whose answer could not be read.
    let told = Arc::new(Told(Mutex::new(Answers {
        mark: Some(Ok(7)),
        ordered: Some(Err(error(Kind::DataInvalid))),
        ..Answers::default()
    })));
    let stream = stream(&wire, &told);
    let mut token = None;
    for _ in 0..3 {
        token = stream.fetch(5, token).await.unwrap().next;
    }
    assert_eq!(token, Some(looking(0, 0, grace(1, 1))));
}

#[tokio::test]
async fn jobs_are_counted_as_long_as_they_are_not_ordered() {
    let stream = stream(
        &Wire::new(|_, _| panic!("pure")),
        &Arc::new(Told::default()),
    );
    for (order, token, jobs) in [
        (5, None, 1),
        (5, Some(ordering(None, 0, 0)), 1),
        // It may have been ordered already.
        (5, Some(ordering(7, 0, 0)), 0),
        (5, Some(looking(0, 0, grace(0, 0))), 0),
        (5, Some(unseen(0, grace(0, 0))), 0),
        (5, Some(waiting(0, 0, 0)), 0),
        (5, Some(unready(0, grace(0, 0))), 0),
        (5, Some(reading(0, None)), 0),
        (105, None, 0),
        (105, Some(ordering(None, 0, 0)), 0),
        (205, None, 0),
    ] {
        assert_eq!(
            stream.jobs(&order, token.as_ref()),
            jobs,
            "{order} {token:?}"
        );
    }
}

#[tokio::test]
async fn a_place_is_released_where_a_job_may_run() {
    for (token, found, calls) in [
        (waiting(0, 3, 9), None, &["cancel j"][..]),
        (unseen(0, grace(1, 1)), None, &["cancel j"]),
        (
            looking(0, 0, grace(1, 1)),
            Some("j"),
            &["find 5 after 7", "cancel j"],
        ),
        (unready(0, grace(1, 1)), None, &[]),
        // Stopped while the order was under way: the job is looked for.
        (
            ordering(7, 0, 0),
            Some("j"),
            &["find 5 after 7", "cancel j"],
        ),
        (ordering(7, 0, 0), None, &["find 5 after 7"]),
        (ordering(None, 0, 0), None, &[]),
        (reading(0, None), None, &[]),
    ] {
        for is_cancelled in [true, false] {
            let told = Arc::new(Told(Mutex::new(Answers {
                found,
                is_cancelled,
                ..Answers::default()
            })));
            let wire = Wire::new(|_, _| panic!("nothing is fetched here"));
            let released = stream(&wire, &told).release(5, token.clone()).await;
            let had_job = calls.last() == Some(&"cancel j");
            assert_eq!(released.unwrap(), had_job && is_cancelled, "{token:?}");
            assert_eq!(told.0.lock().unwrap().calls, calls, "{token:?}");
        }
    }
}

/// Entries and users of a document; an entry has so many bytes, more or less.
fn records(order: u32, count: usize, size: usize) -> Records {
    let pad = "{\\\"".repeat(size / 3);
    let entries = (0..count).map(|n| format!("{{\"n\":{n}, \"of\":{order},\"pad\":\"{pad}\"}}"));
    let users = (0..count / 3).map(|n| format!("{{\"user\":{n}}}"));
    (entries.collect(), users.collect())
}

fn document(entries: &[String], users: &[String]) -> String {
    let (entries, users) = (entries.join(",\n"), users.join(" ,"));
    format!("{{\"entries\":[{entries}],\"other\":[{{\"users\":[]}}],\"users\":[{users}]}}")
}

/// The document in pieces of random sizes, the last of them followed by a break where one is wanted.
fn pieces(document: &str, rng: &mut fastrand::Rng, breaks_after: Option<usize>) -> Answer {
    let kept = breaks_after.unwrap_or(document.len());
    let mut rest = Bytes::copy_from_slice(&document.as_bytes()[..kept]);
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let longest = [3, 1000, 200_000][rng.usize(..3)];
        let size = rng.usize(1..=longest.min(rest.len()));
        // Many tiny pieces only take time.
        let size = if pieces.len() > 200 { rest.len() } else { size };
        pieces.push(Piece::Data(rest.split_to(size)));
    }
    if breaks_after.is_some() {
        pieces.push(Piece::Broken);
    }
    Wire::pieces(200, &[], pieces)
}

fn seeded() -> fastrand::Rng {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    fastrand::Rng::with_seed(seed)
}

/// What a page has, of its stream and of the companion.
fn taken(page: &ExportPage, from: &mut Records) {
    let text = |record: &[u8]| String::from_utf8(record.to_vec()).unwrap();
    from.0.extend(page.iter().map(text));
    for (name, places) in &page.companions {
        assert_eq!(*name, "users");
        from.1.extend(page.spans(places).map(text));
    }
}

/// The records as the stream hands them over.
fn expected(order: u32, (entries, users): &Records) -> Records {
    let with_order = |entry: &String| format!("{{\"order\":{order},{}", &entry[1..]);
    (entries.iter().map(with_order).collect(), users.clone())
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_at_every_page_whatever_happened_to_the_download() {
    let rng = Mutex::new(seeded());
    let whole = records(105, 40, 100_000);
    let text = document(&whole.0, &whole.1);
    let wire = Wire::new(move |_, _| pieces(&text, &mut rng.lock().unwrap(), None));
    let told = Arc::new(Told::default());
    let first = stream(&wire, &told);
    let mut tokens = vec![None];
    let mut pages = Vec::new();
    loop {
        let token: Option<ExportToken> = tokens.last().cloned().unwrap();
        let page = first.fetch(105, token).await.unwrap();
        let next = page.next.clone();
        assert_eq!(page.bookmark.is_some(), next.is_none());
        let mut records = Default::default();
        taken(&page, &mut records);
        pages.push(records);
        if next.is_none() {
            break;
        }
        tokens.push(next);
    }
    assert!(pages.len() > 3, "{} pages", pages.len());
    assert_eq!(wire.times().len(), 1, "one download serves all pages");
    assert_eq!(together(&pages), expected(105, &whole));

    for place in 0..tokens.len() {
        // Another process, with nothing but the token; and this one, whose download stands elsewhere.
        let again = stream(&wire, &told);
        first.fetch(105, None).await.unwrap();
        for stream in [&again, &first] {
            let mut token = tokens[place].clone();
            let mut rest = Default::default();
            loop {
                let page = stream.fetch(105, token).await.unwrap();
                assert!(page.notes.is_empty());
                taken(&page, &mut rest);
                token = page.next;
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(rest, together(&pages[place..]), "from page {place}");
        }
    }
}

/// The records of some pages.
fn together(pages: &[Records]) -> Records {
    let entries = pages.iter().flat_map(|(entries, _)| entries.clone());
    let users = pages.iter().flat_map(|(_, users)| users.clone());
    (entries.collect(), users.collect())
}

#[tokio::test(start_paused = true)]
async fn a_download_that_breaks_off_is_opened_again_and_nothing_comes_twice() {
    let rng = Mutex::new(seeded());
    let whole = records(105, 30, 100_000);
    let text = document(&whole.0, &whole.1);
    let length = text.len();
    let wire = Wire::new(move |nth, _| {
        let mut rng = rng.lock().unwrap();
        // Later each time, so that it ends.
        let breaks_after = (nth < 8).then(|| length / 9 * nth + rng.usize(..length / 9));
        pieces(&text, &mut rng, breaks_after)
    });
    let stream = stream(&wire, &Arc::new(Told::default()));
    let mut token = None;
    let mut all = Default::default();
    let mut ended = 0;
    loop {
        match stream.fetch(105, token.clone()).await {
            Ok(page) => {
                taken(&page, &mut all);
                token = page.next;
                if token.is_none() {
                    break;
                }
            }
            // Broken off too often for one page: the run ends, a later one goes on.
            Err(error) => {
                assert_eq!(error.kind(), Kind::Unavailable);
                ended += 1;
                assert!(ended < 3);
            }
        }
    }
    assert_eq!(all, expected(105, &whole));
    assert_eq!(wire.times().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_download_that_always_breaks_off_is_given_up() {
    let wire = Wire::new(|_, _| {
        let start = Piece::Data(Bytes::from_static(b"{\"entries\":[{},"));
        Wire::pieces(200, &[], vec![start, Piece::Broken])
    });
    let stream = stream(&wire, &Arc::new(Told::default()));
    let error = stream.fetch(105, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(wire.times().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_changed_is_read_from_its_start_and_told() {
    let first = records(105, 30, 100_000);
    let other = records(105, 30, 100_003);
    let shorter = (first.0[..2].to_vec(), Vec::new());
    for changed in [other, shorter] {
        let texts = [&first, &changed].map(|(entries, users)| document(entries, users));
        let wire = Wire::new(move |nth, _| Wire::reply(200, &[], &texts[nth.min(1)]));
        let told = Arc::new(Told::default());
        let page = stream(&wire, &told).fetch(105, None).await.unwrap();
        let stream = stream(&wire, &told);
        let page = stream.fetch(105, page.next).await.unwrap();
        assert_eq!(notes(&page), ["document_changed"]);
        assert!(page.records.is_empty());
        let mut token = page.next;
        let mut all = Default::default();
        while token.is_some() {
            let page = stream.fetch(105, token).await.unwrap();
            taken(&page, &mut all);
            token = page.next;
        }
        assert_eq!(all, expected(105, &changed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_that_changes_whenever_it_is_opened_is_given_up() {
    let wire = Wire::new(|nth, _| {
        let (entries, users) = records(105, 30, 100_000 + nth);
        let whole = document(&entries, &users);
        let most = Piece::Data(Bytes::from(whole[..2_000_000].to_owned()));
        Wire::pieces(200, &[], vec![most, Piece::Broken])
    });
    let stream = stream(&wire, &Arc::new(Told::default()));
    let mut token = None;
    for fetches in 0.. {
        assert!(fetches < 20, "it does not end");
        let page = stream.fetch(105, token).await.unwrap();
        token = page.next.clone();
        if wait_of(&page) == "DataInvalid" {
            break;
        }
    }
    assert_eq!(token, Some(reading_at_start()));
}

/// Where a document begins that comes without a job.
fn reading_at_start() -> ExportToken {
    ExportToken::Reading {
        job: None,
        failed: 0,
        records: 0,
        last: 0,
        lacks: None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_document_ends_it_for_this_run() {
    let place = reading(0, None);
    for (status, body, next, held, noted) in [
        // Not there yet.
        (
            404,
            "{}",
            Some(unready(0, grace(1, 1))),
            "1s",
            &[] as &[&str],
        ),
        (200, "", Some(unready(0, grace(1, 1))), "1s", &[]),
        (200, " \n", Some(unready(0, grace(1, 1))), "1s", &[]),
        (403, "{}", Some(place.clone()), "PermissionDenied", &[]),
        (
            200,
            "{\"entries\":[{}",
            Some(place.clone()),
            "DataInvalid",
            &[],
        ),
        (200, "<html>", Some(place.clone()), "DataInvalid", &[]),
        (
            200,
            "{\"message\":\"no\"}",
            Some(place.clone()),
            "DataInvalid",
            &[],
        ),
        (
            200,
            "{\"entries\":[{\"bad\":1}]}",
            Some(place.clone()),
            "DataInvalid",
            &[],
        ),
        (200, "{\"entries\":[{}]}", None, "nothing", &[]),
    ] {
        let wire = Wire::new(move |_, _| Wire::reply(status, &[], body));
        let stream = stream(&wire, &Arc::new(Told::default()));
        let page = stream.fetch(5, Some(place.clone())).await.unwrap();
        assert_eq!(page.next, next, "{status} {body}");
        assert_eq!(wait_of(&page), held, "{status} {body}");
        assert_eq!(notes(&page), noted, "{status} {body}");
        assert_eq!(page.bookmark, next.is_none().then_some(5));
        assert_eq!(wire.targets(), ["/results/j"]);
    }
    // Accepted, and not the document: the connector's own error.
    let wire = Wire::new(|_, _| Wire::reply(409, &[], r#"{"message":"locked"}"#));
    let stream = stream(&wire, &Arc::new(Told::default()));
    for (order, token) in [(5, Some(place)), (105, None)] {
        let error = match stream.fetch(order, token).await {
            Ok(page) => match page.wait {
                Some(Wait::NextRun(error)) => error,
                other => panic!("{other:?}"),
            },
            Err(error) => error,
        };
        assert!(error.message().ends_with(": locked"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_does_not_come_is_given_up_after_a_while() {
    let read = |records: u64| ExportToken::Reading {
        job: Some("j".to_owned()),
        failed: 0,
        records,
        last: 9,
        lacks: None,
    };
    let long = grace(9, LONG);
    for (from, status, next, held, noted) in [
        (
            unready(0, grace(2, 2)),
            404,
            unready(0, grace(3, 4)),
            "2.25s",
            &[][..],
        ),
        (
            unready(0, long),
            404,
            ordering(None, 1, 0),
            "nothing",
            &["job_failed"],
        ),
        // The second one is kept for the next run.
        (unready(1, long), 404, reading(0, None), "Unavailable", &[]),
        (unready(0, long), 200, reading(0, None), "DataInvalid", &[]),
        // It was there before.
        (
            read(3),
            404,
            ordering(None, 1, 0),
            "nothing",
            &["job_failed"],
        ),
    ] {
        let wire = Wire::new(move |_, _| Wire::reply(status, &[], ""));
        let stream = stream(&wire, &Arc::new(Told::default()));
        let page = stream.fetch(5, Some(from.clone())).await.unwrap();
        assert_eq!(page.next, Some(next), "{from:?}");
        assert_eq!(wait_of(&page), held, "{from:?}");
        assert_eq!(notes(&page), noted, "{from:?}");
    }
    let wire = Wire::new(|_, _| Wire::reply(200, &[], "{\"entries\":[{}]}"));
    let stream = stream(&wire, &Arc::new(Told::default()));
    let page = stream
        .fetch(5, Some(unready(0, grace(2, 2))))
        .await
        .unwrap();
    assert_eq!((page.records.len(), page.next), (1, None));
}

#[tokio::test(start_paused = true)]
async fn what_there_is_of_a_result_that_lacks_something_is_read_and_the_order_fails() {
    let whole = records(5, 2, 10);
    let text = document(&whole.0, &whole.1);
    let wire = Wire::new(move |_, _| Wire::reply(200, &[], &text));
    let stream = stream(&wire, &Arc::new(Told::default()));
    let token = reading(0, Some("half of it"));
    let page = stream.fetch(5, Some(token)).await.unwrap();
    let mut all = Default::default();
    taken(&page, &mut all);
    assert_eq!(all, expected(5, &whole));
    assert_eq!(
        (wait_of(&page), page.bookmark),
        ("DataInvalid".to_owned(), None)
    );
    assert_eq!(page.next, Some(ordering(None, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn options_that_changed_between_two_runs_are_followed() {
    let wire = Wire::new(|_, _| panic!("nothing is fetched here"));
    let nothing = stream(&wire, &Arc::new(Told::default()));
    // There is nothing any more, wherever the last run was.
    for token in [None, Some(waiting(0, 0, 0)), Some(reading(0, None))] {
        let page = nothing.fetch(205, token).await.unwrap();
        assert_eq!(notes(&page), ["not_any_more"]);
        assert_eq!((page.next, page.bookmark), (None, Some(205)));
    }
    // A document that came at once needs a job now: nothing was paid for, and it begins anew.
    let told = Arc::new(Told::default());
    told.0.lock().unwrap().mark = Some(Ok(7));
    let direct = ExportToken::Reading {
        job: None,
        failed: 0,
        records: 3,
        last: 9,
        lacks: None,
    };
    let page = stream(&wire, &told).fetch(5, Some(direct)).await.unwrap();
    assert_eq!(page.next, Some(ordering(7, 0, 0)));
    // One that was about to be ordered comes at once now, and is not ordered.
    let told = Arc::new(Told::default());
    let wire = Wire::new(|_, _| Wire::reply(200, &[], "{\"entries\":[]}"));
    let page = stream(&wire, &told)
        .fetch(105, Some(ordering(7, 0, 0)))
        .await
        .unwrap();
    assert_eq!((page.next, page.bookmark), (None, Some(105)));
    assert_eq!(wire.targets(), ["/105"]);
    assert!(told.0.lock().unwrap().calls.is_empty());
}

/// A service whose jobs, answers and downloads all go wrong now and then.
struct Shaky {
    rng: Mutex<fastrand::Rng>,
    jobs: Mutex<Vec<Job>>,
}

struct Job {
    order: u32,
    made: i64,
    has_failed: bool,
    /// How many lists lack it, and how many questions for its status do not find it.
    late: [u32; 2],
}

/// Counts down how often something does not show yet.
fn is_late(left: &mut u32) -> bool {
    let is_late = *left > 0;
    *left -= u32::from(is_late);
    is_late
}

impl Shaky {
    fn chance(&self, of: f64) -> bool {
        self.rng.lock().unwrap().f64() < of
    }

    async fn answers(&self) -> Result<()> {
        yield_now().await;
        if self.chance(0.1) {
            return Err(error(Kind::Unavailable));
        }
        Ok(())
    }
}

#[async_trait]
impl Jobs<u32> for Shaky {
    fn policy(&self) -> JobPolicy {
        POLICY
    }

    async fn mark(&self) -> Result<i64> {
        self.answers().await?;
        let newest = self.jobs.lock().unwrap().iter().map(|job| job.made).max();
        Ok(newest.unwrap_or(0))
    }

    async fn find(&self, order: &u32, mark: i64, _: &[String]) -> Result<Option<String>> {
        self.answers().await?;
        let mut jobs = self.jobs.lock().unwrap();
        for job in jobs.iter_mut() {
            if job.made > mark && job.order == *order && !is_late(&mut job.late[0]) {
                return Ok(Some(job.made.to_string()));
            }
        }
        Ok(None)
    }

    async fn order(&self, order: &u32) -> Result<OrderOutcome> {
        self.answers().await?;
        if self.chance(0.2) {
            return Ok(OrderOutcome::Busy);
        }
        let made = {
            let mut jobs = self.jobs.lock().unwrap();
            let mut ours = jobs.iter().filter(|job| job.order == *order);
            assert!(ours.all(|job| job.has_failed), "ordered twice");
            let made = jobs.len() as i64 + 1;
            let late = [0, 1].map(|_| self.rng.lock().unwrap().u32(..5));
            jobs.push(Job {
                order: *order,
                made,
                has_failed: false,
                late,
            });
            made
        };
        self.answers().await?;
        Ok(OrderOutcome::Job(made.to_string()))
    }

    async fn status(&self, job: &str) -> Result<JobStatus> {
        self.answers().await?;
        let made: i64 = job.parse().unwrap();
        let fate = self.rng.lock().unwrap().u32(..6);
        let mut jobs = self.jobs.lock().unwrap();
        let job = jobs.iter_mut().find(|job| job.made == made).unwrap();
        if is_late(&mut job.late[1]) {
            return Ok(JobStatus::Gone);
        }
        job.has_failed |= fate == 0;
        Ok(match fate {
            _ if job.has_failed => JobStatus::Failed(error(Kind::Unavailable)),
            1..4 => JobStatus::Running,
            _ => JobStatus::Done(Ok(())),
        })
    }

    fn result(&self, job: &str) -> Request {
        result(job)
    }

    fn is_gone(&self, response: &Response) -> bool {
        response.status == 404
    }

    async fn cancel(&self, _: &str) -> Result<bool> {
        Ok(false)
    }
}

/// What a future gives within so many steps; dropped after them.
async fn within<T>(steps: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = steps;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn nothing_is_ordered_twice_and_nothing_read_twice_whatever_is_dropped_or_repeated() {
    let mut rng = seeded();
    for round in 0..12 {
        let whole = records(5, 12, 120_000);
        let text = document(&whole.0, &whole.1);
        let shaky = Arc::new(Shaky {
            rng: Mutex::new(rng.fork()),
            // Somebody else's, older.
            jobs: Mutex::new(vec![Job {
                order: 5,
                made: 1,
                has_failed: true,
                late: [0, 0],
            }]),
        });
        let breaks = Mutex::new(rng.fork());
        let late = rng.usize(..5);
        let wire = Wire::new(move |nth, _| {
            if nth < late {
                let status = if nth % 2 == 0 { 404 } else { 200 };
                return Wire::reply(status, &[], "");
            }
            let mut rng = breaks.lock().unwrap();
            let breaks_after = (rng.f64() < 0.3).then(|| rng.usize(..text.len()));
            pieces(&text, &mut rng, breaks_after)
        });
        let fresh = || stream(&wire, &shaky);
        let mut stream = fresh();
        // What the state keeps: a place, and the records up to there.
        let mut kept = None;
        let mut all = Default::default();
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 2000, "reading does not end");
            if rng.f64() < 0.1 {
                stream = fresh();
            }
            let patience = if rng.f64() < 0.3 {
                rng.u32(..8)
            } else {
                u32::MAX
            };
            let fetched = within(patience, stream.fetch(5, kept.clone())).await;
            let Some(Ok(page)) = fetched else { continue };
            // The process ends before the page is kept.
            if rng.f64() < 0.15 {
                continue;
            }
            taken(&page, &mut all);
            kept = page.next.clone();
            if kept.is_none() {
                break;
            }
        }
        assert_eq!(all, expected(5, &whole), "round {round}");
        let jobs = shaky.jobs.lock().unwrap();
        let good = jobs.iter().filter(|job| !job.has_failed).count();
        assert_eq!(good, 1, "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn patience_and_attempts_bound_what_a_run_does() {
    /// Never done, or always failed.
    struct Stubborn(bool, Mutex<(u32, u32)>);

    #[async_trait]
    impl Jobs<u32> for Stubborn {
        fn policy(&self) -> JobPolicy {
            POLICY
        }

        async fn mark(&self) -> Result<i64> {
            Ok(1)
        }

        async fn find(&self, _: &u32, _: i64, _: &[String]) -> Result<Option<String>> {
            Ok(None)
        }

        async fn order(&self, _: &u32) -> Result<OrderOutcome> {
            self.1.lock().unwrap().0 += 1;
            Ok(OrderOutcome::Job("j".to_owned()))
        }

        async fn status(&self, _: &str) -> Result<JobStatus> {
            self.1.lock().unwrap().1 += 1;
            Ok(if self.0 {
                JobStatus::Failed(error(Kind::Unavailable))
            } else {
                JobStatus::Running
            })
        }

        fn result(&self, job: &str) -> Request {
            result(job)
        }

        fn is_gone(&self, _: &Response) -> bool {
            false
        }

        async fn cancel(&self, _: &str) -> Result<bool> {
            Ok(false)
        }
    }

    for (fails, orders, next) in [
        (false, 1, waiting(0, 0, 0)),
        (true, 3, ordering(None, 0, 0)),
    ] {
        let jobs = Arc::new(Stubborn(fails, Mutex::default()));
        let stream = stream(&Wire::new(|_, _| panic!("never done")), &jobs);
        let mut token = None;
        let mut waited = Duration::ZERO;
        let last = loop {
            let page = stream.fetch(5, token).await.unwrap();
            token = page.next.clone();
            match &page.wait {
                Some(Wait::NextRun(error)) => {
                    assert_eq!(error.kind(), Kind::Unavailable);
                    break page;
                }
                Some(Wait::For { wait, .. }) => waited += *wait,
                None => {}
            }
        };
        assert_eq!(last.next, Some(next));
        let (ordered, asked) = *jobs.1.lock().unwrap();
        assert_eq!(ordered, orders);
        if !fails {
            let minutes = waited.as_secs() / 60;
            assert!((9..=11).contains(&minutes), "{waited:?}");
            assert!(asked < 40, "{asked} questions in ten minutes");
        }
    }
}

/// A service whose jobs look alike.
struct Alike {
    /// What each job was ordered for.
    jobs: Mutex<Vec<u32>>,
    rng: Mutex<fastrand::Rng>,
}

impl Alike {
    async fn takes_its_time(&self) {
        let times = self.rng.lock().unwrap().usize(..4);
        for _ in 0..times {
            yield_now().await;
        }
    }
}

#[async_trait]
impl Jobs<u32> for Alike {
    fn policy(&self) -> JobPolicy {
        POLICY
    }

    async fn mark(&self) -> Result<i64> {
        self.takes_its_time().await;
        Ok(self.jobs.lock().unwrap().len() as i64)
    }

    async fn find(&self, _: &u32, mark: i64, taken: &[String]) -> Result<Option<String>> {
        self.takes_its_time().await;
        let jobs = self.jobs.lock().unwrap().len() as i64;
        let mut newer = (mark..jobs).map(|job| job.to_string());
        Ok(newer.find(|job| !taken.contains(job)))
    }

    async fn order(&self, order: &u32) -> Result<OrderOutcome> {
        self.takes_its_time().await;
        let job = {
            let mut jobs = self.jobs.lock().unwrap();
            jobs.push(*order);
            jobs.len() - 1
        };
        self.takes_its_time().await;
        Ok(OrderOutcome::Job(job.to_string()))
    }

    async fn status(&self, _: &str) -> Result<JobStatus> {
        self.takes_its_time().await;
        Ok(JobStatus::Done(Ok(())))
    }

    fn result(&self, job: &str) -> Request {
        result(job)
    }

    fn is_gone(&self, response: &Response) -> bool {
        response.status == 404
    }

    async fn cancel(&self, _: &str) -> Result<bool> {
        Ok(false)
    }
}

#[tokio::test(start_paused = true)]
async fn no_order_gets_the_job_of_another_however_alike_they_look() {
    let mut rng = seeded();
    for _ in 0..30 {
        let alike = Arc::new(Alike {
            jobs: Mutex::default(),
            rng: Mutex::new(rng.fork()),
        });
        let wire = Wire::new(|_, _| Wire::reply(404, &[], "{}"));
        let stream = Arc::new(stream(&wire, &alike));
        let mut under_way = tokio::task::JoinSet::new();
        for order in 0..8 {
            let stream = Arc::clone(&stream);
            under_way.spawn(async move {
                let mut token = None;
                loop {
                    let page = stream.fetch(order, token).await.unwrap();
                    match page.next {
                        Some(ExportToken::Waiting { job, .. }) => return (order, job),
                        next => token = next,
                    }
                }
            });
        }
        while let Some(got) = under_way.join_next().await {
            let (order, job) = got.unwrap();
            let job: usize = job.parse().unwrap();
            assert_eq!(alike.jobs.lock().unwrap()[job], order);
        }
        assert_eq!(alike.jobs.lock().unwrap().len(), 8);
    }
}

#[tokio::test(start_paused = true)]
async fn documents_that_are_read_side_by_side_are_each_downloaded_once() {
    let mut rng = seeded();
    let documents: Vec<_> = (0..6).map(|_| records(40, 90, 120_000)).collect();
    let texts: Vec<String> = documents
        .iter()
        .map(|(entries, users)| document(entries, users))
        .collect();
    let cuts = Mutex::new(rng.fork());
    let wire = Wire::new(move |_, request| {
        let order: usize = request.uri().path()[1..].parse().unwrap();
        pieces(&texts[order - 100], &mut cuts.lock().unwrap(), None)
    });
    let stream = stream(&wire, &Arc::new(Told::default()));
    let mut places: Vec<(u32, Option<ExportToken>)> =
        (100..106).map(|order| (order, None)).collect();
    let mut all: Vec<_> = (0..6).map(|_| Default::default()).collect();
    let mut pages = 0;
    while !places.is_empty() {
        let index = rng.usize(..places.len());
        let (order, token) = places.swap_remove(index);
        let page = stream.fetch(order, token).await.unwrap();
        pages += 1;
        taken(&page, &mut all[order as usize - 100]);
        if page.next.is_some() {
            places.push((order, page.next));
        }
    }
    assert!(pages > 3 * 6, "{pages} pages are no test");
    for (number, whole) in documents.iter().enumerate() {
        assert_eq!(all[number], expected(100 + number as u32, whole));
    }
    assert_eq!(wire.targets().len(), 6);
}
