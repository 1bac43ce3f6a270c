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
//! # What shows late
//!
//! A service that was written to may answer from an older copy of itself for a while: the list lacks the job, the job is
//! unknown, a job that is done has no result. So what was just made has a time of grace, counted in the token, in which
//! its absence means nothing: *Looking* for the job of an order that may have arrived, *Unseen* between an order and the
//! first sight of its job, *Unready* between a job's end and its result. What was seen before, has expired, or is absent
//! when the grace is over is gone, and is ordered again at most once in a run.
//!
//! Several orders of a stream may be under way side by side. They are made one at a time, and a job that is one order's is
//! not found for another. That is for orders whose jobs look alike; since a crash forgets it, orders that are planned
//! together are such that [`Jobs::find`] tells their jobs apart.

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

/// How often a download that broke off is opened again for one page, an order without an answer looked for, and a document
/// that changes read from its start.
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

    /// See [`Stream::range`].
    fn range(&self, _order: &Self::Order) -> PartitionRange {
        PartitionRange::default()
    }

    /// See [`Stream::watermark`].
    fn watermark(&self, _bookmark: &Self::Bookmark) -> Watermark {
        Watermark::default()
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

/// The stream of an [`Export`].
pub struct ExportStream<E: Export> {
    export: E,
    /// The downloads under way, at most one for each document; a finished one is dropped.
    live: Mutex<HashMap<String, Live>>,
    /// Held while an order is made.
    ordering: tokio::sync::Mutex<()>,
    /// Jobs, and the orders they belong to.
    taken: Mutex<HashMap<String, String>>,
    /// Orders whose mark was made here: no earlier process has placed them.
    marked: Mutex<HashSet<String>>,
    /// How often the document of an order was another one when it was opened again.
    changed: Mutex<HashMap<String, u32>>,
}

impl<E: Export> fmt::Debug for ExportStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportStream({})", self.export.spec().name)
    }
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
            marked: Mutex::default(),
            changed: Mutex::default(),
        }
    }

    /// The exports.
    pub fn export(&self) -> &E {
        &self.export
    }

    fn live(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts that the document of an order was another one, and says whether that was once too often.
    fn changes_too_often(&self, order: &E::Order) -> bool {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let times = changed.entry(written(order)).or_default();
        *times += 1;
        *times >= TRIES
    }
}

/// An order as text, to tell it from others.
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
            (
                Route::Direct(_),
                None | Some(ExportToken::Ordering { .. } | ExportToken::Looking { .. }),
            ) => ExportToken::DIRECT,
            (_, Some(token)) => token,
        };
        if let Some(job) = token.job() {
            self.take(&order, job);
        }
        let place = token.clone();
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
                let place = ReadingPosition {
                    job: Some(job),
                    failed,
                    records: 0,
                    last: 0,
                    lacks,
                    grace,
                };
                self.read(&order, place).await
            }
            ExportToken::Reading {
                job,
                failed,
                records,
                last,
                lacks,
            } => {
                let place = ReadingPosition {
                    job,
                    failed,
                    records,
                    last,
                    lacks,
                    grace: Grace::default(),
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
            // It may have been ordered just before a crash; then it is found, and nothing must keep it from that. Where
            // it was not, the service itself says whether there is room.
            Some(_) => 0,
        }
    }

    async fn release(&self, order: E::Order, token: ExportToken) -> Result<bool> {
        let jobs = self.export.jobs();
        let job = match token {
            ExportToken::Waiting { job, .. } | ExportToken::Unseen { job, .. } => Some(job),
            // The read may have been stopped while the order was on its way.
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
