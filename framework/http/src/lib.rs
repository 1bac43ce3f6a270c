//! The HTTP kit: everything between a connector and the wire, once, in one documented order.
//!
//! A request passes, outermost first: the deadline of the call, the limit on the decoded body, retry, the service's
//! rate limit, credentials, the timeout of one try, the [`Transport`](headwater_core::Transport). Limit and
//! credentials lie inside retry because they apply to every try.
//!
//! | outcome | what happens |
//! | --- | --- |
//! | not connected, interrupted, timed out, 408, 425, 500, 502, 504 | tried again, at most 5 times, full jitter |
//! | 503 | tried again after the longer of `Retry-After` and the backoff; beyond the deadline: given up at once, the error carries the delay |
//! | 429, and 403 that means a rate limit | tried again after `Retry-After`, else after waits that grow to a minute, as often as there is time; all that share the credential slow down |
//! | a used connection that is closed without an answer | a request that may be sent twice is, at once, over a new connection |
//! | 3xx | never followed: credentials stay with the origin they were saved for |
//! | an address that the host does not permit | fails before anything is dialled |
//! | 401, or 403 with the code of a token that has ended | with a token that was obtained: renewed once; else fails |
//! | other 403, 404, other 4xx, undecodable body | fails |
//! | a status that the caller [accepts](Request::accept) | handed to the caller |
//!
//! All clients of one service that use the same credential at the same origin wait in one queue for its rate limit, also
//! those of other contexts; the requests of a probe go before those that read.
//!
//! A request that changes something is sent again only where the service certainly did nothing (not connected, 429, 503),
//! unless it is [repeatable](Request::repeatable).
//!
//! Retries draw on a budget per credential, so that they add at most a tenth to the traffic of an outage.
//!
//! On top of the client stand the streams that most connectors need: [`RestStream`] over the closed list of
//! [`Paging`], [`WindowedList`] for offset-paged lists that are read by time and capped, [`ChildStream`] for what is
//! read one request per parent, [`ExportStream`] for documents that export jobs deliver, [`Snapshot`] for how things
//! stand now; and [`Prober`] for the checks that every probe begins with.

mod answer;
mod blocks;
mod buffers;
mod children;
mod client;
mod clock;
mod connections;
mod cutter;
mod encoding;
mod envelope;
mod error_message;
mod export;
mod fingerprints;
mod hide;
mod limit;
mod limiter;
mod message;
mod pace;
mod paging;
mod probe;
mod progress;
mod refusal;
mod resolver;
mod rest;
mod retry;
mod room;
mod snapshot;
mod spelling;
mod tokens;
mod transport;
mod urls;
mod waits;
mod walk;
mod windows;

pub use answer::document;
pub use children::{ChildStream, ChildToken};
pub use client::{Client, ClientBuilder, Download, Request, Response};
pub use clock::{BookmarkLimit, ServiceTime};
pub use envelope::{Records, Split, split, split_with, without};
pub use export::{
    Export, ExportStream, ExportToken, Grace, JobPolicy, JobStatus, Jobs, OrderOutcome, Route,
};
pub use fingerprints::FingerprintSet;
pub use limit::{LimitHeaders, Quota, RateLimit};
pub use paging::{Paging, cursor};
pub use probe::{Access, Prober, StreamAccess, Verdict};
pub use progress::{Ending, Progress, total};
pub use resolver::Resolver;
pub use rest::{RestStream, RestToken};
pub use retry::RetryPolicy;
pub use snapshot::Snapshot;
pub use tokens::{Grant, TokenSource};
pub use transport::{ReqwestTransport, context};
pub use windows::{OffsetPaging, Window, WindowBookmark, WindowToken, WindowedList};
