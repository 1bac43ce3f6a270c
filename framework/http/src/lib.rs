//! The HTTP kit: everything between a connector and the wire, in one documented order.
//!
//! A request passes, outermost first: the deadline of the call, the limit on the decoded body, retry, the service's
//! rate limit, credentials, the timeout of one try, the [`Transport`](headwater_core::Transport). Limit and
//! credentials are inside retry because they apply to every try.
//!
//! | outcome | what happens |
//! | --- | --- |
//! | not connected, interrupted, timed out, 408, 425, 500, 502, 504 | tried again, at most 5 times, full jitter |
//! | 503 | tried again after the longer of `Retry-After` and the backoff; beyond the deadline: fails at once, with the delay in the error |
//! | 429, and 403 that means a rate limit | tried again after `Retry-After`, otherwise after waits that grow to a minute, until the deadline; all clients with the credential slow down |
//! | a reused connection closes without a response | a repeatable request is sent again at once, over a new connection |
//! | 3xx | never followed: credentials stay with their origin |
//! | an address that the host does not permit | fails before any connection |
//! | 401, or 403 with the code of an expired token | an obtained token is renewed once; otherwise fails |
//! | other 403, 404, other 4xx, undecodable body | fails |
//! | a status that the caller [accepts](Request::accept) | returned to the caller |
//!
//! All clients of one service with the same credential and origin share one queue for its rate limit, across contexts;
//! requests of a probe precede requests of a read.
//!
//! A request that changes data is sent again only if the service certainly did nothing (not connected, 429, 503), or if
//! it is [repeatable](Request::repeatable).
//!
//! Retries use a budget per credential, so that they add at most a tenth to the traffic of an outage.
//!
//! The crate provides the streams that most connectors need: [`RestStream`] over the closed list of [`Paging`],
//! [`WindowedList`] for capped offset-paged lists that are read by time, [`ChildStream`] for one request per parent,
//! [`ExportStream`] for documents of export jobs, [`Snapshot`] for the current state; and [`Prober`] for the first
//! checks of every probe.

#![warn(clippy::missing_errors_doc)]

mod answer;
mod buffers;
mod children;
mod client;
mod clock;
mod connections;
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
