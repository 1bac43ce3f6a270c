//! What the tests of the Clari Revenue connector share.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, fs,
    future::{pending, poll_fn},
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    AnyStream, Body, Context, Error, Failure, Kind, Page, Position, Result, Source, Timestamp,
    Transport, TransportError, Wait,
};
use headwater_host::{Receipt, RunOptions, State};
use headwater_output::JsonLinesFolder;
use headwater_sandbox::{API_KEY, ClariRevenue, JobOptions, OrderedJob, RevenueOptions, Sandbox};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::{Notify, watch},
    time::{Sleep, sleep},
};

use crate::{
    connector,
    unhurried::{self, on_the_wire},
};

/// The connector.
pub const ID: &str = "clari-revenue";

/// All streams.
pub const STREAMS: [&str; 11] = [
    "forecast_entries",
    "forecast_users",
    "forecast_fields",
    "time_periods",
    "time_frames",
    "activities",
    "opportunities",
    "audit_events",
    "audit_actors",
    "export_jobs",
    "limits",
];

/// The streams of a forecast's document.
pub const FORECAST: [&str; 5] = [
    "forecast_entries",
    "forecast_users",
    "forecast_fields",
    "time_periods",
    "time_frames",
];

/// A tenant without a rate limit whose jobs are done at once, for a test with a paused clock.
pub fn options() -> RevenueOptions {
    RevenueOptions {
        per_second: None,
        jobs: JobOptions {
            scheduled: Duration::ZERO,
            running: Duration::ZERO,
            ..JobOptions::default()
        },
        ..RevenueOptions::default()
    }
}

/// A simulator for a test with a paused clock.
pub async fn tenant(options: RevenueOptions) -> Sandbox {
    on_the_wire(Sandbox::start(options))
        .await
        .expect("a free loopback port")
}

/// What can be done to a tenant from outside.
pub fn outside(sandbox: &Sandbox) -> &ClariRevenue {
    sandbox.revenue().expect("a tenant of Clari Revenue")
}

/// The export jobs that were ordered, none of them twice.
pub fn ordered_once(sandbox: &Sandbox) -> Vec<OrderedJob> {
    let jobs = outside(sandbox).jobs();
    for job in &jobs {
        assert_eq!(job.orders, 1, "ordered more than once: {job:#?}");
    }
    jobs
}

/// The answer to the form that a sandbox accepts.
pub fn answer(base_url: &str) -> Value {
    json!({
        "api_key": API_KEY,
        "base_url": format!("{base_url}/v4"),
        "auth_profile": "apikey",
        "forecast_ids": ["net_arr"],
    })
}

/// The same with other fields.
pub fn answer_with(base_url: &str, fields: Value) -> Value {
    let mut answer = answer(base_url);
    for (name, value) in fields.as_object().into_iter().flatten() {
        answer[name] = value.clone();
    }
    answer
}

/// A source for a test with a paused clock.
pub fn open(answer: Value) -> Arc<dyn Source> {
    open_in(&unhurried::context(), answer)
}

/// A source in a context.
pub fn open_in(context: &Context, answer: Value) -> Arc<dyn Source> {
    let connector = connector(ID);
    let config = connector.validate(answer).expect("a valid answer");
    connector.open(&config, context).expect("a source")
}

/// The key of a record as [`Sandbox::keys`] spells it; of a week without its quarter, which the record does not have.
pub fn key(stream: &str, record: &str) -> String {
    let record: Value = serde_json::from_str(record).expect("a record is JSON");
    let fields: &[&str] = match stream {
        "forecast_entries" => &["timePeriodId", "timeFrameId", "userId", "fieldId"],
        "forecast_users" => &["userId"],
        "forecast_fields" => &["fieldId"],
        "time_periods" => &["timePeriodId"],
        "time_frames" => &["timeFrameId"],
        "activities" => &["activityId"],
        "opportunities" => &["id"],
        "audit_events" => &["eventTimestamp", "actorId", "sessionId", "event"],
        "audit_actors" => &["actorId"],
        "export_jobs" => &["jobId"],
        _ => &[],
    };
    let parts: Vec<&str> = fields
        .iter()
        .map(|field| record[field].as_str().expect("a key is text"))
        .collect();
    parts.join("|")
}

/// The keys of records, sorted.
pub fn keys(stream: &str, records: &[String]) -> Vec<String> {
    let mut keys: Vec<String> = records.iter().map(|record| key(stream, record)).collect();
    keys.sort();
    keys
}

/// The keys of all records that there are, sorted; of a forecast and a quarter where `which` is `/FORECAST/QUARTER`.
pub fn truth(sandbox: &Sandbox, stream: &str, which: &str) -> Vec<String> {
    let keys = sandbox
        .keys(&format!("{stream}{which}"))
        .expect("a stream that can be listed");
    let mut keys: Vec<String> = keys
        .into_iter()
        .map(|key| match stream {
            "time_frames" => key.split('|').nth(1).expect("a week").to_owned(),
            _ => key,
        })
        .collect();
    keys.sort();
    keys
}

/// What a request meets on its way.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// Nothing.
    Arrives,
    /// It arrives, and the connection breaks before the answer.
    AnswerLost,
    /// It arrives, and no answer ever comes.
    AnswerNever,
    /// It does not arrive, and no answer ever comes.
    Never,
    /// It arrives, and something in between answers with this status.
    AnsweredBy(u16),
    /// It does not arrive; this status and body are the answer.
    Instead(u16, String),
    /// It arrives, and each piece of the answer takes so long.
    Slowly(Duration),
}

type Judge = dyn Fn(usize, &http::Request<Bytes>) -> Fate + Send + Sync;

/// A place on the wire where requests are seen and meet their fate.
#[derive(Clone)]
pub struct Between(Arc<Inner>);

struct Inner {
    wire: Arc<dyn Transport>,
    judge: Box<Judge>,
    /// Where requests to another origin go in truth.
    instead_of: Option<(String, String)>,
    seen: Mutex<Vec<Sent>>,
    stuck: Notify,
}

/// A request that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// `GET`, `POST`, …
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Without origin and query.
    pub path: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Between({} requests)", self.sent().len())
    }
}

impl Between {
    /// Judges every request by its number, from 0, and what it is.
    pub fn new(
        judge: impl Fn(usize, &http::Request<Bytes>) -> Fate + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            wire: unhurried::context().transport,
            judge: Box::new(judge),
            instead_of: None,
            seen: Mutex::default(),
            stuck: Notify::new(),
        }))
    }

    /// Lets every request pass, those for one origin to another one.
    pub fn rerouting(origin: &str, to: &str) -> Self {
        Self(Arc::new(Inner {
            wire: unhurried::context().transport,
            judge: Box::new(|_, _| Fate::Arrives),
            instead_of: Some((origin.to_owned(), to.to_owned())),
            seen: Mutex::default(),
            stuck: Notify::new(),
        }))
    }

    /// What a host hands to connectors.
    pub fn context(&self) -> Context {
        Context::new(self.clone())
    }

    /// The requests so far.
    pub fn sent(&self) -> Vec<Sent> {
        let seen = self.0.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Comes back once a request has met [`Fate::Never`] or [`Fate::AnswerNever`].
    pub async fn is_stuck(&self) {
        self.0.stuck.notified().await;
    }

    async fn never(&self) -> ! {
        self.0.stuck.notify_one();
        pending().await
    }
}

#[async_trait]
impl Transport for Between {
    async fn send(
        &self,
        mut request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError> {
        let number = {
            let seen = self.0.seen.lock();
            let mut seen = seen.unwrap_or_else(PoisonError::into_inner);
            seen.push(Sent::of(&request));
            seen.len() - 1
        };
        let fate = (self.0.judge)(number, &request);
        if let Some((origin, to)) = &self.0.instead_of {
            let url = request.uri().to_string();
            if let Some(rest) = url.strip_prefix(origin.as_str()) {
                *request.uri_mut() = format!("{to}{rest}").parse().expect("a URL");
            }
        }
        match fate {
            Fate::Arrives => self.0.wire.send(request).await,
            Fate::AnswerLost => {
                self.0.wire.send(request).await?;
                Err(TransportError {
                    failure: Failure::Interrupted,
                    before_send: false,
                    detail: "the connection broke off".to_owned(),
                })
            }
            Fate::AnswerNever => {
                self.0.wire.send(request).await?;
                self.never().await
            }
            Fate::Never => self.never().await,
            Fate::AnsweredBy(status) => {
                self.0.wire.send(request).await?;
                Ok(reply(status, "{\"message\":\"a gateway\"}"))
            }
            Fate::Instead(status, body) => Ok(reply(status, &body)),
            Fate::Slowly(wait) => {
                let (head, body) = self.0.wire.send(request).await?.into_parts();
                let slow = Slow {
                    body,
                    wait,
                    sleep: None,
                };
                Ok(http::Response::from_parts(head, Box::pin(slow)))
            }
        }
    }
}

impl Sent {
    fn of(request: &http::Request<Bytes>) -> Self {
        let headers = request.headers().iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        });
        Self {
            method: request.method().to_string(),
            url: request.uri().to_string(),
            path: request.uri().path().to_owned(),
            headers: headers.collect(),
        }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Asks a sandbox directly, as any client would: the status and the body.
pub async fn ask(sandbox: &Sandbox, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut request = http::Request::new(Bytes::from(body.to_owned()));
    *request.method_mut() = method.parse().expect("a method");
    *request.uri_mut() = format!("{}/v4{path}", sandbox.base_url())
        .parse()
        .expect("a URL");
    let key = http::HeaderValue::from_static(API_KEY);
    request.headers_mut().insert("apikey", key);
    let reply = unhurried::context().transport.send(request).await;
    let (head, mut body) = reply.expect("an answer").into_parts();
    let mut text = Vec::new();
    while let Some(piece) = poll_fn(|context| body.as_mut().poll_next(context)).await {
        text.extend_from_slice(&piece.expect("a whole answer"));
    }
    let text = String::from_utf8(text).expect("an answer is text");
    (head.status.as_u16(), text)
}

fn reply(status: u16, body: &str) -> http::Response<Body> {
    let body = Pieces(Some(Bytes::from(body.to_owned())));
    let mut reply = http::Response::new(Box::pin(body) as Body);
    *reply.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    reply
}

struct Pieces(Option<Bytes>);

impl futures_core::Stream for Pieces {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

struct Slow {
    body: Body,
    wait: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl futures_core::Stream for Slow {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        let wait = self.wait;
        let waiting = self.sleep.get_or_insert_with(|| Box::pin(sleep(wait)));
        if waiting.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.sleep = None;
        self.body.as_mut().poll_next(context)
    }
}

/// A pass of one stream and its companions that can be interrupted before every page and goes on from text.
///
/// A partition that is over for this run is put off: its error is kept, and the place goes on with it.
pub struct Pass {
    stream: Arc<dyn AnyStream>,
    partitions: VecDeque<(Position, Option<Position>)>,
    put_off: Vec<(Position, Option<Position>)>,
    /// Records by stream, byte for byte.
    pub records: BTreeMap<String, Vec<String>>,
    /// Where the next pass starts.
    pub bookmark: Option<Position>,
    /// Codes of the notes.
    pub notes: Vec<&'static str>,
    /// Errors of partitions that are over for this run.
    pub errors: Vec<Error>,
    /// Pages fetched, empty ones included.
    pub fetches: usize,
}

impl Pass {
    /// A pass from its beginning.
    pub fn begin(
        stream: &Arc<dyn AnyStream>,
        bookmark: Option<Position>,
        now: Timestamp,
    ) -> Result<Self> {
        let plan = stream.plan(bookmark, now)?;
        Ok(Self::of(
            stream,
            plan.into_iter().map(|one| (one, None)).collect(),
        ))
    }

    /// The rest of a pass from a place, with nothing read yet.
    pub fn resume(stream: &Arc<dyn AnyStream>, place: &str) -> Self {
        Self::of(stream, serde_json::from_str(place).expect("a place"))
    }

    fn of(stream: &Arc<dyn AnyStream>, partitions: VecDeque<(Position, Option<Position>)>) -> Self {
        Self {
            stream: Arc::clone(stream),
            partitions,
            put_off: Vec::new(),
            records: BTreeMap::new(),
            bookmark: None,
            notes: Vec::new(),
            errors: Vec::new(),
            fetches: 0,
        }
    }

    /// The place as text, as a host would keep it.
    pub fn place(&self) -> String {
        let places: Vec<_> = self.put_off.iter().chain(&self.partitions).collect();
        serde_json::to_string(&places).expect("positions are JSON")
    }

    /// Export jobs that the rest will order.
    pub fn jobs(&self) -> u64 {
        let places = self.put_off.iter().chain(&self.partitions);
        places
            .map(|(partition, token)| {
                let jobs = self.stream.jobs(partition, token.as_ref());
                jobs.expect("a place of this stream")
            })
            .sum()
    }

    /// Whether nothing is left for this run.
    pub fn is_done(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Fetches the next page, and waits if it says so. An error leaves the place as it was.
    pub async fn step(&mut self) -> Result<()> {
        let Some((partition, token)) = self.partitions.front().cloned() else {
            return Ok(());
        };
        let page = self.stream.fetch(partition.clone(), token).await?;
        self.fetches += 1;
        self.keep(&page);
        self.partitions.pop_front();
        match page.wait {
            Some(Wait::NextRun(error)) => {
                self.errors.push(error);
                self.put_off.push((partition, page.next));
                return Ok(());
            }
            Some(Wait::For { wait, .. }) => sleep(wait).await,
            None => {}
        }
        if page.next.is_some() {
            self.partitions.push_front((partition, page.next));
        }
        Ok(())
    }

    fn keep(&mut self, page: &Page<Position, Position>) {
        let own = (self.stream.spec().name, &page.records);
        let companions = page.companions.iter().map(|(name, spans)| (*name, spans));
        for (name, spans) in std::iter::once(own).chain(companions) {
            let records = page
                .spans(spans)
                .map(|record| String::from_utf8(record.to_vec()).expect("a record is text"));
            self.records
                .entry(name.to_owned())
                .or_default()
                .extend(records);
        }
        self.notes.extend(page.notes.iter().map(|note| note.code));
        self.bookmark = page.bookmark.clone().or(self.bookmark.take());
    }

    /// Fetches all that is left for this run.
    pub async fn finish(mut self) -> Result<Self> {
        while !self.is_done() {
            self.step().await?;
        }
        Ok(self)
    }

    /// The records of a stream.
    pub fn of_stream(&self, name: &str) -> &[String] {
        self.records.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Reads a pass of a stream to its end.
pub async fn read_pass(
    stream: &Arc<dyn AnyStream>,
    bookmark: Option<Position>,
    now: Timestamp,
) -> Result<Pass> {
    Pass::begin(stream, bookmark, now)?.finish().await
}

/// A host with a folder for records and a state file.
pub struct Host {
    folder: TempDir,
    stop: watch::Sender<bool>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            stop: watch::Sender::new(false),
        }
    }
}

impl Host {
    /// The state file.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state.json")
    }

    /// The folder of records.
    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Reads streams, all of them where none is named.
    pub async fn read(&self, context: Context, answer: Value, wanted: &[&str]) -> Result<Receipt> {
        self.read_with(context, answer, wanted, |_| {}).await
    }

    /// The same with other options.
    pub async fn read_with(
        &self,
        context: Context,
        answer: Value,
        wanted: &[&str],
        change: impl FnOnce(&mut RunOptions),
    ) -> Result<Receipt> {
        let source = open_in(&context, answer);
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        let state = State::load(&self.state(), ID, &STREAMS)?;
        self.until_free();
        let sink = Box::new(JsonLinesFolder::new(&self.out())?);
        let mut options = RunOptions::new(Arc::clone(&context.meter), self.stop.subscribe());
        options.state_path = Some(self.state());
        options.commit_every = Some(Duration::ZERO);
        // One after the other, so that the order of the requests tells something.
        options.concurrency = 1;
        change(&mut options);
        headwater_host::run(&*source, &wanted, state, sink, options, &mut |_| {}).await
    }

    /// Waits until a read that was dropped has let go of its files. A process that ends does so at once; here the writer
    /// has to notice first, on a thread of its own.
    fn until_free(&self) {
        let files = fs::read_dir(self.out()).into_iter().flatten().flatten();
        for file in files.filter_map(|entry| fs::File::open(entry.path()).ok()) {
            let mut tries = 0..500;
            while file.try_lock().is_err() && tries.next().is_some() {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Stops the read that is under way, and every later one.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Lets reads go on again.
    pub fn go_on(&self) {
        self.stop.send_replace(false);
    }

    /// The records of a stream.
    pub fn records(&self, stream: &str) -> Vec<String> {
        let path = self.out().join(format!("{stream}.jsonl"));
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// How a stream of a read ended: its kind of error, if it failed.
pub fn failure(summary: &Receipt, stream: &str) -> Option<(Kind, String)> {
    let one = summary.streams.iter().find(|one| one.stream == stream)?;
    match &one.ending {
        headwater_host::Ending::Failed { kind, message, .. }
        | headwater_host::Ending::Suspended { kind, message, .. } => Some((*kind, message.clone())),
        _ => None,
    }
}
