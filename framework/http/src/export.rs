//! Streams that a service delivers as documents: directly, or by an export job to order, await and fetch.
//!
//! # Why no job is ordered twice
//!
//! An order costs quota and has no idempotency key, so there are three positions on the way to a document. The host
//! commits each before the next step:
//!
//! 1. *Ordering*, with a mark: the newest earlier job at the service. A job newer than the mark that fits the order is
//!    ours; only without such a job is one ordered. After a crash, or if the response to an order is lost, this finds
//!    the job. A refusal requests a new mark.
//! 2. *Waiting*, with the job's id.
//! 3. *Reading*, with the number of delivered records. The download stays open between two fetches; if it is lost, a
//!    new one is opened and read up to that number.
//!
//! # Jobs and results that appear late
//!
//! After a write, a service may answer from an older replica for a while: the list lacks the job, the job is unknown, a
//! finished job has no result. So a new job or result has a grace period, counted in the token, in which its absence
//! means nothing: *Looking* for the job of an order that may have arrived, *Unseen* between an order and the first
//! sight of its job, *Unready* between a job's end and its result. A job that was seen before, has expired, or is
//! absent after the grace period is lost, and is ordered again at most once in a run.
//!
//! Several orders of a stream may run concurrently. They are placed one at a time, and a job of one order is never
//! assigned to another. This covers orders with similar jobs; since a crash forgets it, [`Jobs::find`] has to
//! distinguish the jobs of orders that are planned together.

mod jobs;
mod reading;
mod token;
mod way;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use headwater_core::{
    Error, Kind, Note, Page, PartitionRange, Result, Scope, Stream, StreamSpec, Timestamp, Wait,
    Watermark,
};
use serde::{Serialize, de::DeserializeOwned};

use self::reading::{Live, ReadingPosition};
pub use self::{
    jobs::{JobPolicy, JobStatus, Jobs, OrderOutcome},
    token::{ExportToken, Grace},
};
use crate::client::{Client, Request, Response};

/// The maximum number of downloads for one page, of searches for an order without a response, and of readings of a
/// changing document.
const TRIES: u32 = 4;

/// The exports of a connector.
#[async_trait]
pub trait Export: Send + Sync + 'static {
    /// The request for one document.
    type Order: Serialize + DeserializeOwned + Clone + Send + Sync;
    /// The start of the next pass.
    type Bookmark: Serialize + DeserializeOwned + Clone + Send + Sync;

    /// Returns the client.
    fn client(&self) -> &Client;

    /// Returns the description of the stream.
    fn spec(&self) -> &StreamSpec;

    /// Returns the secondary streams of the same document.
    fn companions(&self) -> &[StreamSpec] {
        &[]
    }

    /// Returns the lists of a document by name, each with the stream of its records: 0 is the stream, 1 its first
    /// secondary stream. The empty name is a document that is a list.
    fn lists(&self) -> &'static [(&'static str, usize)];

    /// See [`Stream::plan`].
    ///
    /// # Errors
    ///
    /// Fails if no pass can start from the bookmark.
    fn plan(&self, bookmark: Option<Self::Bookmark>, now: Timestamp) -> Result<Vec<Self::Order>>;

    /// Returns the way to get the document of an order.
    fn route(&self, order: &Self::Order) -> Route;

    /// Returns the bookmark of a finished order.
    fn bookmark(&self, _order: &Self::Order) -> Option<Self::Bookmark> {
        None
    }

    /// See [`Stream::range`].
    fn range(&self, _order: &Self::Order) -> PartitionRange {
        PartitionRange::default()
    }

    /// See [`Stream::watermark`].
    fn watermark(&self, _bookmark: &Self::Bookmark) -> Watermark {
        Watermark::default()
    }

    /// See [`Stream::rewind`]; `None` if the stream is not read by time.
    fn rewind(&self, _to: Timestamp) -> Option<Self::Bookmark> {
        None
    }

    /// See [`Stream::scope`].
    fn scope(&self, _now: Timestamp) -> Scope {
        Scope::default()
    }

    /// Returns a field, `"name":value`, to add before the own fields of a stream's records.
    fn field(&self, _order: &Self::Order, _stream: usize) -> Option<String> {
        None
    }

    /// Checks that a record, including the added field, belongs to this order.
    ///
    /// # Errors
    ///
    /// Fails if the record belongs to another order.
    fn inspect(&self, _order: &Self::Order, _stream: usize, _record: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Returns the error for a response that is not the document, with a status that the request accepts.
    fn refusal(&self, _order: &Self::Order, request: &Request, response: &Response) -> Error {
        self.client().refusal(request, response)
    }

    /// Returns the service's jobs.
    fn jobs(&self) -> &dyn Jobs<Self::Order>;
}

/// The way to get a document.
#[derive(Debug)]
pub enum Route {
    /// Order an export job.
    Job,
    /// Send this request, which returns the document.
    Direct(Request),
    /// Nothing to read, or no longer; the note states the reason.
    Nothing(Note),
}

/// The stream of an [`Export`].
pub struct ExportStream<E: Export> {
    export: E,
    /// The open downloads, at most one per document; finished ones are dropped.
    live: Mutex<HashMap<String, Live>>,
    /// Locked during an order.
    ordering: tokio::sync::Mutex<()>,
    /// The jobs and their orders.
    taken: Mutex<HashMap<String, String>>,
    /// The orders whose mark this process requested: no earlier process placed them.
    marked: Mutex<HashSet<String>>,
    /// How often the document of an order had changed when it was opened again.
    changed: Mutex<HashMap<String, u32>>,
}

impl<E: Export> fmt::Debug for ExportStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportStream({})", self.export.spec().name)
    }
}

type ExportPage<B> = Page<ExportToken, B>;

impl<E: Export> ExportStream<E> {
    /// Makes the stream of these exports.
    pub fn new(export: E) -> Self {
        Self {
            export,
            live: Mutex::default(),
            ordering: tokio::sync::Mutex::default(),
            taken: Mutex::default(),
            marked: Mutex::default(),
            changed: Mutex::default(),
        }
    }

    /// Returns the exports.
    pub fn export(&self) -> &E {
        &self.export
    }

    fn live(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a change of the document of an order, and returns whether the limit is reached.
    fn changes_too_often(&self, order: &E::Order) -> bool {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let times = changed.entry(written(order)).or_default();
        *times += 1;
        *times >= TRIES
    }
}

/// Returns an order as text, to compare it with others.
fn written(order: &impl Serialize) -> String {
    serde_json::to_string(order).unwrap_or_default()
}

fn next_run<B>(next: ExportToken, error: Error) -> ExportPage<B> {
    Page {
        next: Some(next),
        wait: Some(Wait::NextRun(error)),
        ..Page::empty()
    }
}

fn gone(job: &str) -> Error {
    let text = format!("the service no longer has the export job {job}");
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

    /// An export has only the ordered records, which may be fewer than those of an earlier one.
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
            // The options changed during this document. A position that cost no quota restarts.
            (Route::Job, None | Some(ExportToken::Reading { job: None, .. })) => ExportToken::BEGIN,
            (
                Route::Direct(_),
                None | Some(ExportToken::Ordering { .. } | ExportToken::Looking { .. }),
            ) => ExportToken::DIRECT,
            (_, Some(token)) => token,
        };
        if let Some(job) = token.job() {
            self.take(&order, job);
        }
        let position = token.clone();
        let fetched = match token {
            ExportToken::Ordering {
                mark: None,
                failed,
                refused,
            } => self.mark(&order, failed, refused).await,
            ExportToken::Ordering {
                mark: Some(mark),
                failed,
                refused,
            } => self.order(&order, (mark, failed, refused), None).await,
            ExportToken::Looking {
                mark,
                failed,
                refused,
                grace,
            } => {
                self.order(&order, (mark, failed, refused), Some(grace))
                    .await
            }
            ExportToken::Unseen { job, failed, grace } => {
                self.watch(job, failed, (0, 0), grace).await
            }
            ExportToken::Waiting {
                job,
                failed,
                polls,
                waited,
            } => {
                self.watch(job, failed, (polls, waited), Grace::default())
                    .await
            }
            ExportToken::Unready {
                job,
                failed,
                lacks,
                grace,
            } => {
                let position = ReadingPosition {
                    job: Some(job),
                    failed,
                    records: 0,
                    last: 0,
                    lacks,
                    grace,
                };
                self.read(&order, position).await
            }
            ExportToken::Reading {
                job,
                failed,
                records,
                last,
                lacks,
            } => {
                let position = ReadingPosition {
                    job,
                    failed,
                    records,
                    last,
                    lacks,
                    grace: Grace::default(),
                };
                self.read(&order, position).await
            }
        };
        match fetched {
            // A problem with one document does not affect the others.
            Err(error)
                if matches!(
                    error.kind(),
                    Kind::PermissionDenied
                        | Kind::NotFound
                        | Kind::ConfigInvalid
                        | Kind::DataInvalid
                ) =>
            {
                Ok(next_run(position, error))
            }
            fetched => fetched,
        }
    }

    fn range(&self, order: &E::Order) -> PartitionRange {
        self.export.range(order)
    }

    fn watermark(&self, bookmark: &E::Bookmark) -> Watermark {
        self.export.watermark(bookmark)
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
            // The job may have been ordered just before a crash, and its search must not be refused. Otherwise the
            // service itself checks its limits.
            Some(_) => 0,
        }
    }

    async fn release(&self, order: E::Order, token: ExportToken) -> Result<bool> {
        let jobs = self.export.jobs();
        let job = match token {
            ExportToken::Waiting { job, .. } | ExportToken::Unseen { job, .. } => Some(job),
            // The read may have stopped while the order was on its way.
            ExportToken::Ordering {
                mark: Some(mark), ..
            }
            | ExportToken::Looking { mark, .. } => {
                let taken = self.taken_by_others(&order);
                jobs.find(&order, mark, &taken).await?
            }
            ExportToken::Ordering { mark: None, .. }
            | ExportToken::Unready { .. }
            | ExportToken::Reading { .. } => None,
        };
        match job {
            Some(job) => jobs.cancel(&job).await,
            None => Ok(false),
        }
    }
}
