//! A local simulator of HTTP APIs, for tests and demonstrations.
//!
//! [`Sandbox::start`] serves one API with made-up data on a port of the loopback interface. It
//! follows the vendor's API document and observations of the live API: credentials, parameters
//! and their limits, filters, order, paging, errors, rate limits and the size limit of answers.
//! Where both are silent the behaviour is a proposal, and the documentation of the item says so.
//! [`simulations`] lists the APIs for programs that offer a choice.
//!
//! The data are a pure function of a seed and a size. A million records need no memory and no time
//! to set up, two sandboxes with the same options answer the same, and [`Sandbox::keys`] lists
//! the records that a complete read must have delivered.
//!
//! Things go wrong on demand: see [`Faults`].
//!
//! # Where the behaviour comes from
//!
//! ## Clari Copilot
//!
//! | Behaviour | Standing |
//! |---|---|
//! | paths, parameters, ranges, defaults, enums, shapes of answers, 400 and 404 | vendor document |
//! | 10 requests a second, 100,000 a week from Sunday 00:00 GMT | vendor document |
//! | 401 for missing credentials, before the path is looked at | observed live |
//! | no `nextPageSkip` on the last page, null media URLs, `scorecardTemplates` | observed live |
//! | 502 for answers above 6 MB, also when repeated | vendor's reply to users |
//! | strict bounds, newest call first, `sortTime` before `sortProcessed` | proposed |
//! | bodies of 400, 403, 429, 500 and 502, the answer to wrong credentials | proposed |
//! | the form of a created call, 400 for updating a record that does not exist | proposed |
//!
//! ## clariBI
//!
//! No public code that calls this API was found, and the vendor's own pages contradict each other.
//! Each contradiction is a setting of [`ClaribiOptions`].
//!
//! | Behaviour | Standing |
//! |---|---|
//! | paths, the fields of `auth/status`, `auth/verify` and of data sources in lists | vendor's pages |
//! | `page`, `page_size` (20, at most 100), the filters `status` and `type` of data sources, the envelope `{count, next, previous, results}` of their list | vendor's pages |
//! | `{error, message, status}` for a record that does not exist | vendor's pages |
//! | the plans, their requests an hour, `X-RateLimit-*`, `Retry-After` | vendor's pages |
//! | login and refresh of tokens, `mfa_required`, how long tokens are good | vendor's pages |
//! | the fields of reports, dashboards and the usage, the filters of reports and dashboards | vendor's pages, for another interface |
//! | three headers for the key, ids as numbers or uuids, `type` or `source_type`, which rate headers | vendor's pages disagree |
//! | 301 for a missing slash, 404 for a page past the end, order and form of links, 401, 403, 405 and 429 bodies | those of Django REST Framework; that clariBI keeps them is proposed |
//! | other envelopes, links with another scheme, a count that is wrong | proposed, for clients that have to handle them |
//! | newest record first, 400 for a filter with an unknown value, everything under `/api/v1/` beyond its paths | proposed |
//! | fields of single records, the status of dashboards, the life of a report that was added | proposed |
//!
//! ## Clari Revenue
//!
//! | Behaviour | Standing |
//! |---|---|
//! | paths, parameters, shapes of answers, error codes, statuses of jobs | vendor document |
//! | 400 `export_monthly_quota_reached` for either limit, cancelling frees both | vendor document |
//! | the quota and the limits in numbers, results readable for 30 days | its examples |
//! | 404 of the gateway for an unknown route, before the key is looked at | observed live |
//! | the five arrays of a forecast result, `{"job": ...}`, `GET /forecast/{forecastId}` | clients in production |
//! | an unknown quarter means the current one, weeks that overlap two quarters | clients in production |
//! | the audit log goes back 30 days | documentation of an integrator |
//! | `/v1`, Bearer, `downloadUrl`, `GET /export/forecast/list` and other envelopes | single sources: off unless chosen |
//! | values and types of fields, the CSV beyond its header, scopes, the hierarchy | proposed |
//! | newest audit event first, the cursor in `nextLink` | proposed |
//! | bodies and `Retry-After` of 429, 401 for a missing key | the gateway's usual ones |
//! | ingestion: only the documented answers; the records are discarded | proposed |
//!
//! Where sources contradict each other there is a choice: see [`RevenueBehaviour`].
//!
//! "Proposed" means that no source was found; a connector must not rely on it.
//!
//! # Use
//!
//! ```
//! use headwater_sandbox::{CopilotOptions, Sandbox};
//!
//! # async fn example() -> std::io::Result<()> {
//! let sandbox = Sandbox::start(CopilotOptions::default()).await?;
//! let calls_url = format!("{}/calls", sandbox.base_url());
//! // ... read from `calls_url` with the headers X-Api-Key and X-Api-Password ...
//! assert_eq!(sandbox.stats().throttled, 0);
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Control endpoints
//!
//! Next to the API the sandbox serves a few endpoints of its own, for programs in other languages.
//! They need no credentials and answer only requests that name a loopback host.
//!
//! | Request | Answer or effect |
//! |---|---|
//! | `GET /_sandbox/stats` | [`Stats`] |
//! | `GET /_sandbox/keys?stream=calls` | `{"stream", "keys"}`, as [`Sandbox::keys`] |
//! | `POST /_sandbox/faults` with [`Faults`] | replaces all faults |
//! | `POST /_sandbox/change` | changes data; what to send depends on the API |
//!
//! Clari Copilot changes with `{"calls": 5}`, as [`Sandbox::change_calls`] does, or with
//! `{"calls": 5, "late_seconds": 60}`, as [`Sandbox::change_calls_late`] does; clariBI with
//! `{"reports": 5}`, as [`Sandbox::add_reports`] does. Clari Revenue changes with any of
//! `{"audit_events": 3, "forecast_changes": 1, "next_jobs": ["failed"], "today": "2025-06-18"}`, as
//! [`ClariRevenue`] does, and answers `GET /_sandbox/jobs` with every export job ever ordered.
//!
//! The crate shares no code with the connectors it tests, so that it cannot share a mistake with
//! them.

#![cfg_attr(
    test,
    allow(
        clippy::expect_used,
        clippy::panic,
        clippy::unwrap_used,
        reason = "a test that meets the unexpected shall fail"
    )
)]

mod api;
mod clari_copilot;
mod clari_revenue;
pub mod claribi;
mod control;
mod faults;
mod ids;
mod instant;
mod names;
mod query;
mod random;
mod reply;
mod server;
mod simulations;
mod sliding_window;
mod stats;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::api::Api;
use self::clari_copilot::ClariCopilot;
pub use self::clari_copilot::{CopilotLimits, CopilotOptions, TemplateKey};
pub use self::clari_revenue::{
    AuditLink, ClariRevenue, JobOptions, JobOutcome, LimitsEndpoint, OrderedJob, RevenueAuth,
    RevenueBehaviour, RevenueOptions, RevenueVersions,
};
use self::claribi::Claribi;
pub use self::claribi::ClaribiOptions;
pub use self::faults::{FaultSyntaxError, Faults, RandomFault, RedirectFault, StatusFault};
use self::server::Site;
pub use self::simulations::{Setup, Simulation, Switch, simulations};
pub use self::stats::Stats;

/// The key that every sandbox accepts: `X-Api-Key` of Clari Copilot, `apikey` of Clari Revenue.
pub const API_KEY: &str = "sandbox-key";

/// The value of `X-Api-Password` that every sandbox of Clari Copilot accepts.
pub const API_PASSWORD: &str = "sandbox-password";

/// The value of `partnerkey` that every sandbox of Clari Revenue accepts.
pub const PARTNER_KEY: &str = "sandbox-partner-key";

/// The API to simulate. It converts from the options of every API.
#[derive(Clone, Debug)]
pub enum Service {
    /// A workspace of Clari Copilot.
    ClariCopilot(CopilotOptions),
    /// A tenant of Clari Revenue.
    ClariRevenue(RevenueOptions),
    /// An organization of clariBI.
    Claribi(ClaribiOptions),
}

impl From<RevenueOptions> for Service {
    fn from(options: RevenueOptions) -> Self {
        Self::ClariRevenue(options)
    }
}

impl From<CopilotOptions> for Service {
    fn from(options: CopilotOptions) -> Self {
        Self::ClariCopilot(options)
    }
}

impl From<ClaribiOptions> for Service {
    fn from(options: ClaribiOptions) -> Self {
        Self::Claribi(options)
    }
}

impl Service {
    fn port(&self) -> u16 {
        match self {
            Self::ClariCopilot(options) => options.port,
            Self::ClariRevenue(options) => options.port,
            Self::Claribi(options) => options.port,
        }
    }

    fn faults(&self) -> Faults {
        match self {
            Self::ClariCopilot(options) => options.faults.clone(),
            Self::ClariRevenue(options) => options.faults.clone(),
            Self::Claribi(options) => options.faults.clone(),
        }
    }

    fn simulate(self, base_url: String) -> Simulated {
        match self {
            Self::ClariCopilot(options) => {
                Simulated::ClariCopilot(Arc::new(ClariCopilot::new(options, base_url)))
            }
            Self::ClariRevenue(options) => {
                Simulated::ClariRevenue(Arc::new(ClariRevenue::new(options, base_url)))
            }
            Self::Claribi(options) => Simulated::Claribi(Arc::new(Claribi::new(options, base_url))),
        }
    }
}

/// The simulated API with its own type, for methods of one API only.
#[derive(Debug)]
enum Simulated {
    ClariCopilot(Arc<ClariCopilot>),
    ClariRevenue(Arc<ClariRevenue>),
    Claribi(Arc<Claribi>),
}

impl Simulated {
    fn api(&self) -> Arc<dyn Api> {
        match self {
            Self::ClariCopilot(copilot) => Arc::<ClariCopilot>::clone(copilot),
            Self::ClariRevenue(revenue) => Arc::<ClariRevenue>::clone(revenue),
            Self::Claribi(claribi) => Arc::<Claribi>::clone(claribi),
        }
    }
}

/// A running simulator. Dropping it stops it and closes every connection.
#[derive(Debug)]
pub struct Sandbox {
    base_url: String,
    simulated: Simulated,
    site: Arc<Site>,
    accept_loop: JoinHandle<()>,
}

impl Sandbox {
    /// Starts a simulator on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// When the port cannot be listened on, mostly because it is taken.
    pub async fn start(service: impl Into<Service>) -> io::Result<Self> {
        let service = service.into();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, service.port())).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let faults = service.faults();
        let simulated = service.simulate(base_url.clone());
        let site = Arc::new(Site::new(simulated.api(), faults));
        let accept_loop = tokio::spawn(server::accept_connections(listener, Arc::clone(&site)));
        Ok(Self {
            base_url,
            simulated,
            site,
            accept_loop,
        })
    }

    /// The base URL of the API: `http://127.0.0.1:<port>`, without a slash at the end.
    pub fn base_url(&self) -> String {
        self.base_url.clone()
    }

    /// The requests and answers so far.
    pub fn stats(&self) -> Stats {
        self.site.stats()
    }

    /// The active faults, with their remaining counts.
    pub fn faults(&self) -> Faults {
        self.site.faults()
    }

    /// Replaces all faults, for requests that arrive from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.site.set_faults(faults);
    }

    /// The truth to compare a read with: the sorted keys of every record of a stream that a
    /// complete read must deliver. `None` for an unknown stream, and for one that is too long to be
    /// listed.
    ///
    /// | Stream of Clari Copilot | Keys |
    /// |---|---|
    /// | `users`, `scorecards`, `scorecard_templates` | `id` of every record |
    /// | `topics` | `topic_id` of every topic |
    /// | `calls` | `id` of every call that is not private |
    /// | `call_details` | the same, less those the fault `missing_details` takes away |
    /// | `accounts`, `contacts`, `deals` | `crm_id` of every existing record that the `crm_info` of a call that is not private names |
    ///
    /// clariBI, with the ids of `/api/`, written as texts:
    ///
    /// | Stream | Keys |
    /// |---|---|
    /// | `data_sources`, `reports`, `dashboards` | `id` of every record |
    /// | `account_status` | `id` of the organization |
    /// | `billing_usage` | `period_start` |
    ///
    /// | Stream of Clari Revenue | Keys |
    /// |---|---|
    /// | `forecast_entries` | `timePeriodId`, `timeFrameId`, `userId` and `fieldId` of every row of the full history, joined by a bar |
    /// | `forecast_users`, `forecast_fields`, `time_periods` | `userId`, `fieldId`, `timePeriodId` of the same |
    /// | `time_frames` | `timePeriodId` and `timeFrameId` of the same, joined by a bar |
    /// | `activities`, `opportunities`, `export_jobs` | the id of every one |
    /// | `audit_events` | `eventTimestamp`, `actorId`, `sessionId` and `event` of every one, joined by a bar; some come twice |
    /// | `audit_actors` | every `actorId` in the audit log |
    /// | `limits` | none: there is one record without a key |
    ///
    /// The streams of forecasts are of `net_arr` and of the current quarter, with the types that are
    /// exported by default. Another forecast and quarter follow after slashes:
    /// `forecast_entries/net_bookings/2026_Q1`.
    pub fn keys(&self, stream: &str) -> Option<Vec<String>> {
        self.site.keys(stream)
    }

    /// Clari Copilot: moves `count` calls that are not private to another status. Their
    /// `last_modified_time` becomes the current time of the clock. Calls are picked from all over
    /// the workspace, and none twice before every other one was picked. Nothing happens when
    /// another API is simulated.
    pub fn change_calls(&self, count: u64) {
        if let Simulated::ClariCopilot(copilot) = &self.simulated {
            copilot.change_calls(count, Duration::ZERO);
        }
    }

    /// The same for changes that show late: the calls' `last_modified_time` is that long ago.
    pub fn change_calls_late(&self, count: u64, late: Duration) {
        if let Simulated::ClariCopilot(copilot) = &self.simulated {
            copilot.change_calls(count, late);
        }
    }

    /// Clari Copilot: moves the call of this index (by time, from 0) to a status, which need not be
    /// a documented one. Its `last_modified_time` becomes the current time of the clock. False when
    /// there is no such call.
    pub fn touch_call(&self, index: u64, status: &str) -> bool {
        match &self.simulated {
            Simulated::ClariCopilot(copilot) => copilot.touch_call(index, status),
            _ => false,
        }
    }

    /// clariBI: adds `count` reports, created now, at the start of the list. They are finished
    /// after a second. Nothing happens when another API is simulated.
    pub fn add_reports(&self, count: u64) {
        if let Simulated::Claribi(claribi) = &self.simulated {
            claribi.add_reports(count);
        }
    }

    /// clariBI: ends the life of every access token that was issued, and of every refresh token where the sessions end
    /// as well. Nothing happens when another API is simulated.
    pub fn end_tokens(&self, with_sessions: bool) {
        if let Simulated::Claribi(claribi) = &self.simulated {
            claribi.end_tokens(with_sessions);
        }
    }

    /// Clari Revenue: the methods that change the tenant; `None` when another API is simulated.
    pub fn revenue(&self) -> Option<&ClariRevenue> {
        match &self.simulated {
            Simulated::ClariRevenue(revenue) => Some(revenue),
            _ => None,
        }
    }

    /// Stops the simulator, closes every connection and waits until that is done.
    pub async fn stop(mut self) {
        self.accept_loop.abort();
        // The task ends with a cancellation, as intended.
        let _ = (&mut self.accept_loop).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.accept_loop.abort();
    }
}
