//! The options of clariBI. The vendor's pages contradict one another; each contradiction is a
//! setting here, so that a client can be tested against every reading of it.

use std::time::Duration;

use jiff::Timestamp;

use crate::Faults;

/// 2025-07-15T08:00:00Z, in seconds since the Unix epoch.
const DEFAULT_AS_OF: i64 = 1_752_566_400;

const HOUR: Duration = Duration::from_secs(3_600);

/// The options of a simulation.
#[derive(Clone, Debug)]
pub struct ClaribiOptions {
    /// The port to listen on at 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// Simulations with different seeds have different records.
    pub seed: u64,
    /// How many data sources there are; more than 1,000,000 count as that. There are three reports
    /// for each, and one dashboard less for every ten.
    pub data_sources: u64,
    /// The time the records look back from: everything was created and synced before. Times are
    /// part of what the seed determines, so the clock is not asked.
    pub as_of: Timestamp,
    /// The faults from the start.
    pub faults: Faults,
    /// The location of an API key in a request. JSON web tokens are accepted with every choice.
    pub key_headers: KeyHeaders,
    /// The kind of ids under `/api/`. Under `/api/v1/` they are always uuids.
    pub ids: Ids,
    /// The envelope of lists.
    pub paging: Paging,
    /// How `next` and `previous` are written.
    pub next_links: NextLinks,
    /// The bodies of errors.
    pub error_bodies: ErrorBodies,
    /// Whether `count` is only half of the true count. `next` stays right.
    pub count_lies: bool,
    /// Whether single records can be read; all of them are 404 otherwise.
    pub details: bool,
    /// Whether a login asks for a second factor and gives no tokens.
    pub mfa: bool,
    /// The plan, which sets the rate limit and the limits that the usage shows.
    pub tier: Tier,
    /// The rate limit of each key and each user.
    pub rate_limit: RateLimit,
    /// The rate-limit headers in answers.
    pub rate_headers: RateHeaders,
    /// The name of the field that holds the type of a data source under `/api/`. Under `/api/v1/`
    /// it is always `source_type`.
    pub source_field: SourceField,
    /// The permissions of the API key.
    pub permissions: Permissions,
    /// How long an access token is good. Vendor's pages: one hour.
    pub access_life: Duration,
    /// How long a refresh token is good. Vendor's pages: seven days.
    pub refresh_life: Duration,
}

impl Default for ClaribiOptions {
    /// 40 data sources on a free port, on the Professional plan and without faults.
    fn default() -> Self {
        Self {
            port: 0,
            seed: 0,
            data_sources: 40,
            as_of: Timestamp::from_second(DEFAULT_AS_OF).unwrap_or(Timestamp::UNIX_EPOCH),
            faults: Faults::default(),
            key_headers: KeyHeaders::default(),
            ids: Ids::default(),
            paging: Paging::default(),
            next_links: NextLinks::default(),
            error_bodies: ErrorBodies::default(),
            count_lies: false,
            details: true,
            mfa: false,
            tier: Tier::default(),
            rate_limit: RateLimit::default(),
            rate_headers: RateHeaders::default(),
            source_field: SourceField::default(),
            permissions: Permissions::default(),
            access_life: HOUR,
            refresh_life: 7 * 24 * HOUR,
        }
    }
}

/// The location of an API key in a request under `/api/`; the pages name three headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyHeaders {
    /// All of them.
    #[default]
    Any,
    /// `Authorization: Api-Key` only.
    ApiKey,
    /// `X-API-Key` only.
    XApiKey,
    /// `Authorization: Bearer` only.
    Bearer,
}

/// The kind of ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// Numbers, with gaps.
    #[default]
    Int,
    /// Uuids.
    Uuid,
}

/// The envelope of lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paging {
    /// `{count, next, previous, results}`, asked for by `page` and `page_size`.
    #[default]
    Drf,
    /// An array of everything, without pages.
    Array,
    /// `{items, total, limit, offset}`, asked for by `limit` and `offset`.
    Items,
    /// `{data, next_cursor}`, asked for by `cursor` and either of `limit` and `page_size`.
    Cursor,
}

/// How `next` and `previous` are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextLinks {
    /// As absolute URLs to the host that the request named.
    #[default]
    Absolute,
    /// As a path and a query.
    Relative,
    /// As absolute URLs with the scheme that the client does not speak. The real API could write
    /// `http` behind a proxy that ends TLS; the simulator speaks `http`, and so writes `https`.
    OtherScheme,
}

/// The bodies of errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorBodies {
    /// `{error, message, status}` for records that do not exist, the framework's for the others.
    #[default]
    Mixed,
    /// `{error, message, status}` for all of them.
    Custom,
    /// Those of Django REST Framework, `{detail}`, for all of them.
    Drf,
}

/// A subscription plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// 60 requests an hour.
    Trial,
    /// 300 requests an hour.
    Starter,
    /// 1,000 requests an hour.
    #[default]
    Professional,
    /// 5,000 requests an hour.
    Enterprise,
}

/// How many requests are let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateLimit {
    /// What the plan allows within any one hour.
    #[default]
    OfTier,
    /// Another number, or another time than an hour.
    Of {
        /// How many requests are let through within any one window.
        requests: u32,
        /// How long the window is.
        window: Duration,
    },
    /// All of them.
    None,
}

/// The rate-limit headers in answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateHeaders {
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, and `Retry-After` with a 429.
    #[default]
    Full,
    /// `X-RateLimit-Remaining` and `-Reset`, as an older page lists them.
    Old,
    /// `Retry-After` with a 429, which is what Django REST Framework does by itself.
    Off,
}

/// The name of the field that holds the type of a data source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceField {
    /// `type`.
    #[default]
    Type,
    /// `source_type`.
    SourceType,
}

/// The permissions of an API key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permissions {
    /// Everything.
    #[default]
    ReadWrite,
    /// Read everything.
    ReadOnly,
    /// Show its owner, and nothing else.
    None,
}
