//! Streams that a service delivers as documents: at once, or by an export job that is ordered, waited for and fetched.
//!
//! # Why nothing is ordered twice
//!
//! An order costs quota and has no idempotency key, so the way to a job is three positions, each kept by the host before
//! the next step is taken:
//!
//! 1. *Ordering*, with a mark: the newest job that the service knew before. From here, a job newer than the mark that
//!    fits the order is ours; only where there is none is one ordered. A crash between the order and the next position
//!    finds the job this way, and so does an order whose answer was lost. A refusal makes the mark anew.
//! 2. *Waiting*, with the job's id.
//! 3. *Reading*, with the number of records that were handed over. The download is kept open between two fetches; where it
//!    is not there any more, it is opened anew and read up to that number.
//!
//! Several orders of a stream may be under way side by side. They are made one at a time, and a job that is one order's is
//! not found for another. That is for orders whose jobs look alike; since a crash forgets it, orders that are planned
//! together are such that [`Jobs::find`] tells their jobs apart.

use std::{
    collections::HashMap,
    fmt,
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use headwater_core::{
    Coverage, Error, Extent, Hold, Kind, Note, Page, Result, Scope, Status, Stream, StreamSpec,
    Timestamp,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    client::{Client, Download, Request, Response},
    cutter::{Cut, Cutter},
    seen::Seen,
};

/// Bytes of records in one page.
const PAGE: usize = 1 << 20;
/// Between the first two questions for a job's status; half as much again each time.
const FIRST_POLL: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(30);
/// Between two tries to order when the service has no room for another job.
const BUSY: Duration = Duration::from_secs(20);
/// How often a download that broke off is opened again for one page, and an order without an answer looked for.
const TRIES: u32 = 4;

/// What a connector says about its exports.
#[async_trait]
pub trait Export: Send + Sync + 'static {
    /// What one document is asked for with.
    type Order: Serialize + DeserializeOwned + Clone + Send + Sync;
    /// Where the next pass starts.
    type Bookmark: Serialize + DeserializeOwned + Send + Sync;

    /// The client to ask with.
    fn client(&self) -> &Client;

    /// What the stream is.
    fn spec(&self) -> &StreamSpec;

    /// The streams that the same document feeds.
    fn companions(&self) -> &[StreamSpec] {
        &[]
    }

    /// The lists of a document by name, each with the stream its records belong to: 0 is the stream, 1 the first of
    /// its companions. The empty name is a document that is a list.
    fn lists(&self) -> &'static [(&'static str, usize)];

    /// See [`Stream::plan`].
    fn plan(&self, bookmark: Option<Self::Bookmark>, now: Timestamp) -> Result<Vec<Self::Order>>;

    /// How to get the document of an order.
    fn route(&self, order: &Self::Order) -> Route;

    /// The bookmark that a finished order leaves.
    fn bookmark(&self, _order: &Self::Order) -> Option<Self::Bookmark> {
        None
    }

    /// See [`Stream::extent`].
    fn extent(&self, _order: &Self::Order) -> Extent {
        Extent::default()
    }

    /// See [`Stream::coverage`].
    fn coverage(&self, _bookmark: &Self::Bookmark) -> Coverage {
        Coverage::default()
    }

    /// See [`Stream::rewind`]; none where the stream is not read by time.
    fn rewind(&self, _to: Timestamp) -> Option<Self::Bookmark> {
        None
    }

    /// See [`Stream::scope`].
    fn scope(&self, _now: Timestamp) -> Scope {
        Scope::default()
    }

    /// A field, `"name":value`, to put before the own ones of the records of a stream.
    fn field(&self, _order: &Self::Order, _stream: usize) -> Option<String> {
        None
    }

    /// Whether a record, with the field put before it, belongs into the answer to this order.
    fn inspect(&self, _order: &Self::Order, _stream: usize, _record: &[u8]) -> Result<()> {
        Ok(())
    }

    /// The error for an answer that is not the document; of the statuses that the request accepts.
    fn refusal(&self, _order: &Self::Order, request: &Request, response: &Response) -> Error {
        self.client().refusal(request, response)
    }

    /// The service's jobs.
    fn jobs(&self) -> &dyn Jobs<Self::Order>;
}

/// How a document comes.
#[derive(Debug)]
pub enum Route {
    /// An export job has to be ordered.
    Job,
    /// This request answers with the document.
    Direct(Request),
    /// There is nothing to read, or not any more; the note says why.
    Nothing(Note),
}

/// Ordering, watching and fetching the jobs of a service.
#[async_trait]
pub trait Jobs<Order>: Send + Sync {
    /// How long and how often.
    fn policy(&self) -> JobPolicy;

    /// Something that every later job is newer than.
    async fn mark(&self) -> Result<i64>;

    /// The job that an order after the mark has made, if there is one; none of those that other orders have.
    async fn find(&self, order: &Order, mark: i64, taken: &[String]) -> Result<Option<String>>;

    /// Orders a job.
    async fn order(&self, order: &Order) -> Result<Ordered>;

    /// How a job is doing.
    async fn status(&self, job: &str) -> Result<JobStatus>;

    /// The request for a job's result, which accepts the statuses that `is_gone` knows.
    fn result(&self, job: &str) -> Request;

    /// Whether this answer to [`Jobs::result`] means that there is no such result any more.
    fn is_gone(&self, response: &Response) -> bool;

    /// Cancels a job. True when that was still possible.
    async fn cancel(&self, job: &str) -> Result<bool>;
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct JobPolicy {
    /// Jobs ordered in a run for one order, the first included.
    pub attempts: u32,
    /// How long one run waits for one job.
    pub patience: Duration,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// A job with this id.
    Job(String),
    /// The service runs as many jobs as it allows.
    Busy,
}

/// How a job is doing.
#[derive(Debug)]
pub enum JobStatus {
    /// Not finished.
    Running,
    /// Not finished, in a state that nobody has heard of.
    Unknown(String),
    /// The result is there; an error where it lacks something.
    Done(Result<()>),
    /// The service could not do it. Another try may help.
    Failed(Error),
    /// Somebody ended it. Another try is not wanted by itself.
    Ended(Error),
    /// The service does not know it, or not any more.
    Gone,
}

/// The stream of an [`Export`].
pub struct ExportStream<E: Export> {
    export: E,
    /// The downloads under way, at most one for each document; a finished one is dropped.
    live: Mutex<HashMap<String, Live>>,
    /// Held while an order is made.
    ordering: tokio::sync::Mutex<()>,
    /// Jobs, and the orders they belong to.
    taken: Mutex<HashMap<String, String>>,
}

impl<E: Export> fmt::Debug for ExportStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportStream({})", self.export.spec().name)
    }
}

/// A place on the way to the end of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExportToken {
    /// About to order.
    Ordering {
        /// Every job that is ours is newer than this; none where that was not asked yet.
        mark: Option<i64>,
        /// Jobs of this order that failed.
        failed: u32,
        /// How often the service had no room, or did not answer.
        refused: u32,
    },
    /// Waiting for a job.
    Waiting {
        /// Its id.
        job: String,
        /// Jobs of this order that failed before.
        failed: u32,
        /// How often this run has asked.
        polls: u32,
        /// Seconds between all of those.
        waited: u64,
    },
    /// Reading a result.
    Reading {
        /// The job; none where the document came at once.
        job: Option<String>,
        /// Jobs of this order that failed before.
        failed: u32,
        /// Records that were handed over.
        records: u64,
        /// Fingerprint of the last one of them.
        last: u64,
        /// What the result lacks: the order ends with this sentence.
        lacks: Option<String>,
    },
}

impl ExportToken {
    const BEGIN: Self = Self::Ordering {
        mark: None,
        failed: 0,
        refused: 0,
    };

    const DIRECT: Self = Self::Reading {
        job: None,
        failed: 0,
        records: 0,
        last: 0,
        lacks: None,
    };

    fn job(&self) -> Option<&str> {
        match self {
            Self::Ordering { .. } => None,
            Self::Waiting { job, .. } => Some(job),
            Self::Reading { job, .. } => job.as_deref(),
        }
    }
}

/// A download that is open, and where it stands.
struct Live {
    records: u64,
    download: Download,
    cutter: Cutter,
    /// Of the last piece, what is not cut yet.
    rest: Bytes,
    /// The memory of the last page, which serves again once the host is done with it.
    buffer: BytesMut,
}

type ExportPage<B> = Page<ExportToken, B>;

impl<E: Export> ExportStream<E> {
    /// The stream of these exports.
    pub fn new(export: E) -> Self {
        Self {
            export,
            live: Mutex::default(),
            ordering: tokio::sync::Mutex::default(),
            taken: Mutex::default(),
        }
    }

    /// The exports.
    pub fn export(&self) -> &E {
        &self.export
    }

    /// Finds the job of an interrupted order, or orders one.
    async fn order(
        &self,
        order: &E::Order,
        mark: Option<i64>,
        failed: u32,
        refused: u32,
    ) -> Result<ExportPage<E::Bookmark>> {
        let jobs = self.export.jobs();
        let Some(mark) = mark else {
            let mark = Some(jobs.mark().await?);
            let next = ExportToken::Ordering {
                mark,
                failed,
                refused,
            };
            // Nothing to wait for, but to be kept before anything is ordered.
            return Ok(Page::wait(next, Duration::ZERO, "the order of an export"));
        };
        let turn = self.ordering.lock().await;
        let ordered = match jobs.find(order, mark, &self.taken_by_others(order)).await? {
            Some(job) => Ok(Ordered::Job(job)),
            None => jobs.order(order).await,
        };
        if let Ok(Ordered::Job(job)) = &ordered {
            self.take(order, job);
        }
        drop(turn);
        let again = |mark: Option<i64>, wait: Duration, reason: &str| {
            let next = ExportToken::Ordering {
                mark,
                failed,
                refused: refused + 1,
            };
            Page::wait(next, wait, reason)
        };
        match ordered {
            Ok(Ordered::Job(job)) => {
                let next = ExportToken::Waiting {
                    job,
                    failed,
                    polls: 0,
                    waited: 0,
                };
                Ok(Page::wait(next, FIRST_POLL, "an export job"))
            }
            Ok(Ordered::Busy) => {
                let waited = BUSY.saturating_mul(refused);
                if waited < jobs.policy().patience {
                    // Certainly not ordered: what others order while this one waits is not ours.
                    return Ok(again(None, BUSY, "a free place for an export job"));
                }
                let text = format!(
                    "the service had no free place for an export job for {} minutes; end the exports that run there, or \
                     read again later",
                    waited.as_secs() / 60
                );
                Ok(next_run(
                    ExportToken::BEGIN,
                    Error::new(Kind::QuotaExhausted, text).retry_after(BUSY * 15),
                ))
            }
            // The order may have arrived: looked for first, the next time.
            Err(error) if error.kind() == Kind::Unavailable && refused + 1 < TRIES => Ok(again(
                Some(mark),
                FIRST_POLL * 2_u32.pow(refused + 1),
                "an answer to the order",
            )),
            Err(error) => Err(error),
        }
    }

    /// Keeps a job for an order.
    fn take(&self, order: &E::Order, job: &str) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(job.to_owned(), written(order));
    }

    fn taken_by_others(&self, order: &E::Order) -> Vec<String> {
        let own = written(order);
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let others = taken.iter().filter(|(_, by)| **by != own);
        others.map(|(job, _)| job.clone()).collect()
    }

    async fn watch(
        &self,
        job: String,
        failed: u32,
        polls: u32,
        waited: u64,
    ) -> Result<ExportPage<E::Bookmark>> {
        let jobs = self.export.jobs();
        let policy = jobs.policy();
        let mut notes = Vec::new();
        match jobs.status(&job).await? {
            JobStatus::Running => {}
            JobStatus::Unknown(word) => notes.push(Note {
                code: "unknown_job_status",
                message: format!(
                    "the export job {job} is {word:?}, which is not known here; it was taken for running"
                ),
            }),
            JobStatus::Done(whole) => {
                let next = ExportToken::Reading {
                    job: Some(job),
                    failed,
                    records: 0,
                    last: 0,
                    lacks: whole.err().map(|error| error.message().to_owned()),
                };
                return Ok(Page {
                    next: Some(next),
                    ..Page::empty()
                });
            }
            JobStatus::Failed(error) => return Ok(self.failed(failed, error)),
            JobStatus::Ended(error) => return Ok(next_run(ExportToken::BEGIN, error)),
            JobStatus::Gone => return Ok(self.failed(failed, gone(&job))),
        }
        let patience = policy.patience.as_secs();
        if waited >= patience {
            let text = format!(
                "the export job {job} is not finished after {} minutes; a later read with the same state goes on waiting \
                 for it",
                patience / 60
            );
            let next = ExportToken::Waiting {
                job,
                failed,
                polls: 0,
                waited: 0,
            };
            let error = Error::new(Kind::Unavailable, text)
                .with_status(Status::Persistent)
                .retry_after(Duration::from_secs(600));
            return Ok(next_run(next, error));
        }
        let poll = FIRST_POLL
            .mul_f64(1.5_f64.powi(polls.min(30).cast_signed()))
            .min(LONGEST_POLL);
        let reason = format!("the export job {job}");
        let next = ExportToken::Waiting {
            job,
            failed,
            polls: polls + 1,
            waited: waited + poll.as_secs().max(1),
        };
        Ok(Page {
            notes,
            ..Page::wait(next, poll, reason)
        })
    }

    /// Orders another job, as often as the policy allows in one run.
    fn failed(&self, failed: u32, error: Error) -> ExportPage<E::Bookmark> {
        let failed = failed + 1;
        if failed >= self.export.jobs().policy().attempts {
            return next_run(ExportToken::BEGIN, error);
        }
        let note = Note {
            code: "job_failed",
            message: format!("{}; it was ordered again", error.message()),
        };
        let next = ExportToken::Ordering {
            mark: None,
            failed,
            refused: 0,
        };
        Page {
            notes: vec![note],
            next: Some(next),
            ..Page::empty()
        }
    }

    /// Reads on, over as many downloads as that takes.
    async fn read(&self, order: &E::Order, place: Place) -> Result<ExportPage<E::Bookmark>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.read_page(order, &place).await {
                Err(error)
                    if error.kind() == Kind::Unavailable
                        && error.status() == Status::Temporary
                        && tries < TRIES =>
                {
                    self.export.client().back_off(tries).await;
                }
                read => return read,
            }
        }
    }

    async fn read_page(&self, order: &E::Order, place: &Place) -> Result<ExportPage<E::Bookmark>> {
        let key = written(&(order, &place.job));
        let live = self.live().remove(&key);
        let mut live = match live.filter(|live| live.records == place.records) {
            Some(live) => live,
            None => match self.open(order, place).await? {
                Ok(live) => live,
                Err(page) => return Ok(page),
            },
        };
        let mut cut = live.cut();
        let is_over = loop {
            if cut.is_at_least(PAGE) {
                break false;
            }
            if !live.more(&mut cut).await? {
                break true;
            }
        };
        if is_over {
            live.cutter.finish()?;
        }
        cut.verify()?;
        live.records += cut.records.len() as u64;
        let body = cut.body.split().freeze();
        live.buffer = cut.body;
        let (page, last) = self.page(order, body, cut.records)?;
        let records = live.records;
        if !is_over {
            self.live().insert(key, live);
            let next = ExportToken::Reading {
                job: place.job.clone(),
                failed: place.failed,
                records,
                last: last.unwrap_or(place.last),
                lacks: place.lacks.clone(),
            };
            return Ok(Page {
                next: Some(next),
                ..page
            });
        }
        match &place.lacks {
            Some(sentence) => Ok(Page {
                companions: page.companions,
                body: page.body,
                records: page.records,
                ..next_run(
                    ExportToken::BEGIN,
                    Error::new(Kind::DataInvalid, sentence.clone()),
                )
            }),
            None => Ok(Page {
                bookmark: self.export.bookmark(order),
                ..page
            }),
        }
    }

    /// Opens the download and goes to the place; a page where there is no such result.
    async fn open(
        &self,
        order: &E::Order,
        place: &Place,
    ) -> Result<Result<Live, ExportPage<E::Bookmark>>> {
        let request = match (&place.job, self.export.route(order)) {
            (Some(job), _) => self.export.jobs().result(job),
            (None, Route::Direct(request)) => request,
            (None, _) => {
                let text = "the state has a document that the options do not give any more";
                return Err(Error::new(Kind::ConfigInvalid, text));
            }
        };
        let client = self.export.client();
        let fields: Vec<Option<String>> = (0..=self.export.companions().len())
            .map(|stream| self.export.field(order, stream))
            .collect();
        let download = match client.download(&request).await? {
            Ok(download) => download,
            Err(response) => {
                let job = place.job.as_deref().unwrap_or_default();
                return match self.export.jobs().is_gone(&response) {
                    true if place.job.is_some() => Ok(Err(self.failed(place.failed, gone(job)))),
                    _ => Err(self.export.refusal(order, &request, &response)),
                };
            }
        };
        let mut live = Live {
            records: 0,
            download,
            cutter: Cutter::new(self.export.lists(), &fields),
            rest: Bytes::new(),
            buffer: BytesMut::new(),
        };
        if live.skip(place.records, place.last).await? {
            return Ok(Ok(live));
        }
        // What was handed over is not what stands there now: everything comes again, nothing is left out.
        let next = ExportToken::Reading {
            job: place.job.clone(),
            failed: place.failed,
            records: 0,
            last: 0,
            lacks: place.lacks.clone(),
        };
        Ok(Err(Page {
            notes: vec![Note {
                code: "document_changed",
                message:
                    "a document changed between two reads of it; it was read from its start again"
                        .to_owned(),
            }],
            next: Some(next),
            ..Page::empty()
        }))
    }

    /// The page of what was cut, and the fingerprint of its last record.
    fn page(
        &self,
        order: &E::Order,
        body: Bytes,
        records: Vec<(usize, Range<usize>)>,
    ) -> Result<(ExportPage<E::Bookmark>, Option<u64>)> {
        let last = records
            .last()
            .map(|(_, place)| Seen::fingerprint(&body[place.clone()]));
        let companions = self.export.companions();
        let mut places: Vec<Vec<Range<usize>>> = vec![Vec::new(); 1 + companions.len()];
        if let Some((stream, _)) = records.first() {
            places[*stream].reserve(records.len());
        }
        for (stream, place) in records {
            self.export.inspect(order, stream, &body[place.clone()])?;
            places[stream].push(place);
        }
        let mut places = places.into_iter();
        let mut page = Page::new(body, places.next().unwrap_or_default());
        page.companions = companions
            .iter()
            .map(|spec| spec.name)
            .zip(places)
            .collect();
        Ok((page, last))
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<String, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// [`ExportToken::Reading`], taken apart.
struct Place {
    job: Option<String>,
    failed: u32,
    records: u64,
    last: u64,
    lacks: Option<String>,
}

impl Live {
    /// An empty page, in the memory of the last one where that is free again.
    fn cut(&mut self) -> Cut {
        let mut body = std::mem::take(&mut self.buffer);
        body.reserve(PAGE + PAGE / 8);
        Cut::within(body)
    }

    /// Cuts one more record or takes one more piece; false at the end of the document.
    async fn more(&mut self, cut: &mut Cut) -> Result<bool> {
        if self.rest.is_empty() {
            match self.download.chunk().await? {
                Some(piece) => self.rest = piece,
                None => return Ok(false),
            }
        }
        let mut taken = 0;
        while taken < self.rest.len() && !cut.is_at_least(PAGE) {
            let (used, _) = self.cutter.push(&self.rest[taken..], cut)?;
            taken += used;
        }
        let _ = self.rest.split_to(taken);
        Ok(true)
    }

    /// Goes over records that were handed over before; false when they are not the same any more.
    async fn skip(&mut self, records: u64, last: u64) -> Result<bool> {
        let mut found = 0;
        let mut cut = Cut::default();
        while self.records < records {
            if self.rest.is_empty() {
                match self.download.chunk().await? {
                    Some(piece) => self.rest = piece,
                    None => return Ok(false),
                }
            }
            while !self.rest.is_empty() && self.records < records {
                let (used, is_record) = self.cutter.push(&self.rest, &mut cut)?;
                let _ = self.rest.split_to(used);
                if is_record {
                    self.records += 1;
                    if self.records == records {
                        found = Seen::fingerprint(&cut.body);
                    }
                    cut.clear();
                }
            }
        }
        Ok(records == 0 || found == last)
    }
}

/// An order as text, to tell it from others.
fn written(order: &impl Serialize) -> String {
    serde_json::to_string(order).unwrap_or_default()
}

fn next_run<B>(next: ExportToken, error: Error) -> ExportPage<B> {
    Page {
        next: Some(next),
        hold: Some(Hold::NextRun(error)),
        ..Page::empty()
    }
}

fn gone(job: &str) -> Error {
    let text = format!("the service does not know the export job {job} any more");
    Error::new(Kind::Unavailable, text)
}

#[async_trait]
impl<E: Export> Stream for ExportStream<E> {
    type Partition = E::Order;
    type Token = ExportToken;
    type Bookmark = E::Bookmark;

    fn spec(&self) -> &StreamSpec {
        self.export.spec()
    }

    fn companions(&self) -> &[StreamSpec] {
        self.export.companions()
    }

    /// An export holds what was ordered, which may be less than an earlier one.
    fn sees_all(&self) -> bool {
        false
    }

    fn plan(&self, bookmark: Option<E::Bookmark>, now: Timestamp) -> Result<Vec<E::Order>> {
        self.export.plan(bookmark, now)
    }

    async fn fetch(
        &self,
        order: E::Order,
        token: Option<ExportToken>,
    ) -> Result<Page<ExportToken, E::Bookmark>> {
        let token = match (self.export.route(&order), token) {
            (Route::Nothing(note), _) => {
                return Ok(Page {
                    notes: vec![note],
                    bookmark: self.export.bookmark(&order),
                    ..Page::empty()
                });
            }
            // The options changed while this document was under way. What nothing was paid for begins anew.
            (Route::Job, None | Some(ExportToken::Reading { job: None, .. })) => ExportToken::BEGIN,
            (Route::Direct(_), None | Some(ExportToken::Ordering { .. })) => ExportToken::DIRECT,
            (_, Some(token)) => token,
        };
        if let Some(job) = token.job() {
            self.take(&order, job);
        }
        let place = token.clone();
        let fetched = match token {
            ExportToken::Ordering {
                mark,
                failed,
                refused,
            } => self.order(&order, mark, failed, refused).await,
            ExportToken::Waiting {
                job,
                failed,
                polls,
                waited,
            } => self.watch(job, failed, polls, waited).await,
            ExportToken::Reading {
                job,
                failed,
                records,
                last,
                lacks,
            } => {
                let place = Place {
                    job,
                    failed,
                    records,
                    last,
                    lacks,
                };
                self.read(&order, place).await
            }
        };
        match fetched {
            // What is wrong with one document says nothing about the others.
            Err(error)
                if matches!(
                    error.kind(),
                    Kind::PermissionDenied
                        | Kind::NotFound
                        | Kind::ConfigInvalid
                        | Kind::DataInvalid
                ) =>
            {
                Ok(next_run(place, error))
            }
            fetched => fetched,
        }
    }

    fn extent(&self, order: &E::Order) -> Extent {
        self.export.extent(order)
    }

    fn coverage(&self, bookmark: &E::Bookmark) -> Coverage {
        self.export.coverage(bookmark)
    }

    fn scope(&self, now: Timestamp) -> Scope {
        self.export.scope(now)
    }

    fn rewind(&self, to: Timestamp) -> Result<E::Bookmark> {
        self.export.rewind(to).ok_or_else(|| {
            let text = format!(
                "the stream {} is not read by time; reset it to read it from the start",
                self.export.spec().name
            );
            Error::new(Kind::Unsupported, text)
        })
    }

    fn jobs(&self, order: &E::Order, token: Option<&ExportToken>) -> u64 {
        match token {
            None | Some(ExportToken::Ordering { mark: None, .. }) => {
                u64::from(matches!(self.export.route(order), Route::Job))
            }
            // It may have been ordered just before a crash; then it is found, and nothing must keep it from that. Where
            // it was not, the service itself says whether there is room.
            Some(_) => 0,
        }
    }

    async fn release(&self, order: E::Order, token: ExportToken) -> Result<bool> {
        let jobs = self.export.jobs();
        let job = match token {
            ExportToken::Waiting { job, .. } => Some(job),
            // The read may have been stopped while the order was on its way.
            ExportToken::Ordering {
                mark: Some(mark), ..
            } => {
                let taken = self.taken_by_others(&order);
                jobs.find(&order, mark, &taken).await?
            }
            ExportToken::Ordering { mark: None, .. } | ExportToken::Reading { .. } => None,
        };
        match job {
            Some(job) => jobs.cancel(&job).await,
            None => Ok(false),
        }
    }
}
