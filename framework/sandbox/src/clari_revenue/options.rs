//! The options of a simulated Clari Revenue tenant.

use std::time::Duration;

use jiff::civil::Date;

use crate::Faults;

/// A tenant of Clari Revenue to simulate.
#[derive(Clone, Debug)]
pub struct RevenueOptions {
    /// The port to listen on at 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// Tenants with different seeds have different records.
    pub seed: u64,
    /// The faults from the start.
    pub faults: Faults,
    /// About how many forecast entries the whole history of one full quarter has. The other
    /// records are made to fit. Made for 10 to 100,000,000; more count as that.
    pub forecast_entries: u64,
    /// The day of the tenant's data; `None` for the day of the start.
    pub today: Option<Date>,
    /// How many requests are let through within any one second; `None` for no limit. Vendor
    /// document: 100.
    pub per_second: Option<u32>,
    /// How export jobs run, and their limits.
    pub jobs: JobOptions,
    /// How many audit events happen right after each page of them is answered, so that the log
    /// grows while it is read.
    pub audit_growth: u64,
    /// The choices between contradicting sources.
    pub behaviour: RevenueBehaviour,
}

impl Default for RevenueOptions {
    /// A small tenant on a free port, with the limits of the vendor document and without faults.
    fn default() -> Self {
        Self {
            port: 0,
            seed: 0,
            faults: Faults::default(),
            forecast_entries: 2_000,
            today: None,
            per_second: Some(100),
            jobs: JobOptions::default(),
            audit_growth: 0,
            behaviour: RevenueBehaviour::default(),
        }
    }
}

/// How export jobs run, and their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobOptions {
    /// How long a job is queued.
    pub scheduled: Duration,
    /// How long a job runs.
    pub running: Duration,
    /// How long a job that failed and asked for retries waits for the next one. Vendor document:
    /// 30 minutes.
    pub retry_delay: Duration,
    /// How long the result of a job can be read (examples of the vendor document: 30 days).
    pub result_life: Duration,
    /// How many jobs may be queued and running at a time.
    pub concurrent_limit: u64,
    /// How many jobs may be ordered within [`JobOptions::quota_window`].
    pub monthly_quota: u64,
    /// How long a job counts against the quota. Vendor document: 30 days.
    pub quota_window: Duration,
}

impl Default for JobOptions {
    /// Quick jobs; the limits are the vendor document's examples.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        Self {
            scheduled: Duration::from_millis(300),
            running: Duration::from_millis(700),
            retry_delay: Duration::from_secs(30 * 60),
            result_life: 30 * DAY,
            concurrent_limit: 3,
            monthly_quota: 1_000,
            quota_window: 30 * DAY,
        }
    }
}

/// The choices between sources that contradict each other. The defaults follow the vendor document
/// and what clients in production do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevenueBehaviour {
    /// The location of the key in a request.
    pub auth: RevenueAuth,
    /// The version segments that everything but ingestion is served below.
    pub versions: RevenueVersions,
    /// `GET /export/jobs/{jobId}` answers the bare job and not `{"job": ...}`.
    pub bare_job: bool,
    /// `GET /export/jobs` answers `{"jobs": [...]}` and not a bare array.
    pub wrapped_job_list: bool,
    /// `GET /opportunity` answers `{"opportunities": [...]}` and not a bare array.
    pub wrapped_opportunities: bool,
    /// `GET /export/forecast/list` exists.
    pub forecast_list: bool,
    /// The audit log calls its list `activities` and not `items`.
    pub audit_activities: bool,
    /// The form of `nextLink` in the audit log.
    pub audit_link: AuditLink,
    /// The cursor of the audit log counts from the newest event, so that events that happen while
    /// it is read shift its pages.
    pub audit_offset_cursor: bool,
    /// The audit log is cut into pages before it is filtered, so that a filter can empty a page
    /// that is not the last one.
    pub audit_filter_after: bool,
    /// The answer of `GET /admin/limits`.
    pub limits: LimitsEndpoint,
    /// A finished job carries a `downloadUrl`, which needs no key.
    pub download_link: bool,
    /// Results are sent without their length.
    pub chunked_results: bool,
    /// The types `crm_total` and `crm_closed` can be exported.
    pub crm_export: bool,
    /// A job that does not exist is answered 404 and not 400.
    pub unknown_job_not_found: bool,
}

/// The location of the key in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevenueAuth {
    /// In the header `apikey` (vendor document).
    #[default]
    ApiKey,
    /// In `Authorization: Bearer` (one integrator).
    Bearer,
    /// In either.
    Both,
}

/// The version segments that everything but ingestion is served below; ingestion is always below
/// `/v2` (vendor document).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevenueVersions {
    /// `/v4` (vendor document).
    #[default]
    V4,
    /// `/v1` (one integrator).
    V1,
    /// `/v2` (another integrator).
    V2,
    /// `/v1` and `/v4`.
    Both,
}

impl RevenueVersions {
    pub(crate) fn contains(self, version: &str) -> bool {
        match self {
            Self::V4 => version == "v4",
            Self::V1 => version == "v1",
            Self::V2 => version == "v2",
            Self::Both => matches!(version, "v1" | "v4"),
        }
    }
}

/// The form of `nextLink` in the audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditLink {
    /// A whole URL of this server (vendor document).
    #[default]
    Absolute,
    /// A path with parameters.
    Relative,
    /// A URL of this host with the other scheme, as from behind a proxy.
    OtherScheme,
    /// A URL of another host, which must never see the key.
    OtherHost,
}

/// The answer of `GET /admin/limits`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitsEndpoint {
    /// The limits.
    #[default]
    On,
    /// 404, as a route that does not exist.
    Off,
    /// 403, as to a user without the permission.
    Forbidden,
}
