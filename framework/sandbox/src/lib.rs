//! A local simulator of the Clari Copilot HTTP API, for tests and demonstrations.
//!
//! [`Sandbox::start`] serves a made-up workspace on a port of the loopback interface. It follows
//! the vendor's API document and what was observed of the live API: credentials, parameters and
//! their limits, filters, order, paging, errors, rate limits and the size limit of answers. Where
//! both are silent the behaviour is a proposal, and the documentation of the item says so.
//!
//! The workspace is a pure function of a seed and a size. A million calls need no memory and no
//! time to set up, two sandboxes with the same options answer the same, and
//! [`Sandbox::keys`] tells which records a complete read must have delivered.
//!
//! Things go wrong on demand: see [`Faults`].
//!
//! # Where the behaviour comes from
//!
//! | Behaviour | Standing |
//! |---|---|
//! | paths, parameters, ranges, defaults, enums, shapes of answers, 400 and 404 | vendor document |
//! | 10 requests a second, 100,000 a week from Sunday 00:00 GMT | vendor document |
//! | 401 for missing credentials, before the path is looked at | observed live |
//! | no `nextPageSkip` on the last page, null media URLs, `scorecardTemplates` | observed live |
//! | 502 for answers above 6 MB, however often they are asked for | vendor's reply to users |
//! | strict bounds, newest call first, `sortTime` before `sortProcessed` | proposed |
//! | bodies of 400, 403, 429, 500 and 502, the answer to wrong credentials | proposed |
//! | what a created call looks like, 400 for updating a record that does not exist | proposed |
//!
//! "Proposed" means that no source was found; a connector must not rely on it.
//!
//! # Use
//!
//! ```
//! use headwater_sandbox::{Options, Sandbox};
//!
//! # async fn example() -> std::io::Result<()> {
//! let sandbox = Sandbox::start(Options::default()).await?;
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
//! | `POST /_sandbox/change` with `{"calls": 5}` | as [`Sandbox::change_calls`] |
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

mod clari_copilot;
mod control;
mod faults;
mod gate;
mod reply;
mod server;
mod simulations;
mod stats;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::faults::{FaultSyntaxError, Faults, RedirectFault, StatusFault};
use self::server::Site;
pub use self::simulations::{Simulation, simulations};
pub use self::stats::Stats;

/// The value of `X-Api-Key` that every sandbox accepts.
pub const API_KEY: &str = "sandbox-key";

/// The value of `X-Api-Password` that every sandbox accepts.
pub const API_PASSWORD: &str = "sandbox-password";

/// The largest workspace, in calls.
const MOST_CALLS: u64 = 10_000_000;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port to listen on at 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// How many calls the workspace has. The other records are made to fit. Made for 10 to
    /// 1,000,000; more than 10,000,000 count as that.
    pub calls: u64,
    /// Workspaces with different seeds have different records.
    pub seed: u64,
    /// What goes wrong from the start.
    pub faults: Faults,
    /// The rate limits and the size limit of answers.
    pub limits: Limits,
    /// The spelling of the key that `/scorecard-template` answers with.
    pub template_key: TemplateKey,
    /// The status for a wrong pair of credentials: 403, or 401 for every other value (proposed:
    /// clients are seen to handle both, the live answer is unknown).
    pub wrong_credentials: u16,
}

impl Default for Options {
    /// 120 calls on a free port, with the limits of the real API and without faults.
    fn default() -> Self {
        Self {
            port: 0,
            calls: 120,
            seed: 0,
            faults: Faults::default(),
            limits: Limits::default(),
            template_key: TemplateKey::default(),
            wrong_credentials: 401,
        }
    }
}

/// The limits of the API. The defaults are the real ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many requests are let through within any one second; `None` for no limit. Vendor
    /// document: 10.
    pub per_second: Option<u32>,
    /// How many requests are let through from one Sunday 00:00 GMT to the next; `None` for no
    /// limit. Vendor document: 100,000.
    pub per_week: Option<u64>,
    /// Answers with a longer body than this many bytes fail with 502. Vendor's reply to users:
    /// 6 MB.
    pub response_cap_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_second: Some(10),
            per_week: Some(100_000),
            response_cap_bytes: 6 * 1024 * 1024,
        }
    }
}

/// The key that holds the list in the answer of `/scorecard-template`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TemplateKey {
    /// `scorecardTemplates`, observed live.
    #[default]
    ScorecardTemplates,
    /// `scoreCardTemplates`, in the vendor document.
    ScoreCardTemplates,
}

impl TemplateKey {
    /// The key as it is spelled in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScorecardTemplates => "scorecardTemplates",
            Self::ScoreCardTemplates => "scoreCardTemplates",
        }
    }
}

/// A running simulator. Dropping it stops it and closes every connection.
#[derive(Debug)]
pub struct Sandbox {
    base_url: String,
    site: Arc<Site>,
    accept_loop: JoinHandle<()>,
}

impl Sandbox {
    /// Starts a simulator on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// When the port cannot be listened on, mostly because it is taken.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let options = Options {
            calls: options.calls.min(MOST_CALLS),
            ..options
        };
        let site = Arc::new(Site::new(options, base_url.clone()));
        let accept_loop = tokio::spawn(server::accept_connections(listener, Arc::clone(&site)));
        Ok(Self {
            base_url,
            site,
            accept_loop,
        })
    }

    /// Where the API is served: `http://127.0.0.1:<port>`, without a slash at the end.
    pub fn base_url(&self) -> String {
        self.base_url.clone()
    }

    /// What was asked and answered so far.
    pub fn stats(&self) -> Stats {
        self.site.stats()
    }

    /// The faults that are set, with what is left of their counts.
    pub fn faults(&self) -> Faults {
        self.site.faults()
    }

    /// Replaces all faults, for requests that arrive from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.site.set_faults(faults);
    }

    /// The truth to compare a read with: the sorted keys of every record of a stream that a
    /// complete read must deliver. `None` for an unknown stream.
    ///
    /// | Stream | Keys |
    /// |---|---|
    /// | `users`, `scorecards`, `scorecard_templates` | `id` of every record |
    /// | `topics` | `topic_id` of every topic |
    /// | `calls` | `id` of every call that is not private |
    /// | `call_details` | the same, less those the fault `missing_details` takes away |
    /// | `accounts`, `contacts`, `deals` | `crm_id` of every existing record that the `crm_info` of a call that is not private names |
    pub fn keys(&self, stream: &str) -> Option<Vec<String>> {
        self.site.keys(stream)
    }

    /// Moves `count` calls that are not private to another status. Their `last_modified_time`
    /// becomes the current time of the clock. Calls are picked from all over the workspace, and
    /// none twice before every other one was picked.
    pub fn change_calls(&self, count: u64) {
        self.site.api.change_calls(count);
    }

    /// Moves the call of this index (by time, from 0) to a status, which need not be a documented
    /// one. Its `last_modified_time` becomes the current time of the clock. False when there is no
    /// such call.
    pub fn touch_call(&self, index: u64, status: &str) -> bool {
        self.site.api.touch_call(index, status)
    }

    /// Stops the simulator, closes every connection and waits until that is done.
    pub async fn stop(mut self) {
        self.accept_loop.abort();
        // The task ends with a cancellation, which is what was asked for.
        let _ = (&mut self.accept_loop).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.accept_loop.abort();
    }
}
