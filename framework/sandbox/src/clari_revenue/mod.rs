//! Clari Revenue: forecasts, export jobs, the audit log, activities and opportunities.
//!
//! Connections and faults of the transport are handled before this module.

mod activities;
mod audit;
mod calendar;
mod errors;
mod forecast;
mod forecast_csv;
mod forecast_json;
mod forecast_request;
mod gateway;
mod ingest;
mod jobs;
mod log;
mod opportunities;
mod options;
mod tenant;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::activities::{Activities, ActivityRequest};
use self::audit::{AuditFilter, AuditLog};
use self::calendar::{DAY_MILLISECONDS, day_of};
use self::errors::Errors;
use self::forecast::{ForecastData, find_forecast, quarters};
use self::forecast_json::ForecastJson;
use self::forecast_request::{ForecastRequest, Format, Types};
use self::gateway::Route;
use self::ingest::Ingested;
use self::jobs::{Job, Jobs, NoQuota, Order, Title};
pub use self::jobs::{JobOutcome, OrderedJob};
pub use self::options::{
    AuditLink, JobOptions, LimitsEndpoint, RevenueAuth, RevenueBehaviour, RevenueOptions,
    RevenueVersions,
};
use self::tenant::{FORECASTS, NO_ACCESS, Tenant};
use crate::api::{Admission, Api, ApiRequest, bad_request};
use crate::faults::DataFaults;
use crate::query::Query;
use crate::random::mix;
use crate::reply::{Content, Reply};
use crate::sliding_window::SlidingWindow;

/// Keys of more entries than this are not listed.
const MAX_KEYS: u64 = 2_000_000;

/// The life of a download link in seconds (proposed).
const LINK_LIFE: i64 = 15 * 60;

/// The simulated API of one tenant, with methods that change the tenant.
#[derive(Debug)]
pub struct ClariRevenue {
    options: RevenueOptions,
    base_url: String,
    tenant: Tenant,
    errors: Errors,
    window: Mutex<SlidingWindow>,
    jobs: Mutex<Jobs<Work>>,
    data: Mutex<Data>,
    ingested: Mutex<Ingested>,
}

/// The part of the data that can change.
#[derive(Debug)]
struct Data {
    /// The moment of the data, in milliseconds.
    now: i64,
    /// Whether that is the moment of a chosen day and not of the clock.
    is_fixed: bool,
    audit: AuditLog,
    activities: Activities,
    /// The number of changes to the forecasts of the open week.
    revision: u64,
}

impl Data {
    fn new(tenant: Tenant, today: Option<Date>, clock: Timestamp) -> Self {
        let now = match today {
            Some(today) => day_of(today) * DAY_MILLISECONDS + DAY_MILLISECONDS / 2,
            None => clock.as_millisecond(),
        };
        Self {
            now,
            is_fixed: today.is_some(),
            audit: AuditLog::new(tenant, now),
            activities: Activities::new(tenant, now),
            revision: 0,
        }
    }

    fn today(&self) -> i64 {
        self.now.div_euclid(DAY_MILLISECONDS)
    }
}

/// The inputs of a job's result.
#[derive(Clone, Debug)]
enum Work {
    Forecast(Box<ForecastData>, Format),
    Audit(AuditLog, AuditFilter),
    Activity(Activities, ActivityRequest),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Change {
    audit_events: u64,
    forecast_changes: u64,
    next_jobs: Vec<JobOutcome>,
    today: Option<Date>,
}

impl ClariRevenue {
    pub(crate) fn new(options: RevenueOptions, base_url: String) -> Self {
        let tenant = Tenant::new(options.seed, options.forecast_entries);
        let per_second = options.per_second.map(u64::from);
        Self {
            tenant,
            base_url,
            errors: Errors::new(options.seed),
            window: Mutex::new(SlidingWindow::new(per_second, Duration::from_secs(1))),
            jobs: Mutex::new(Jobs::new(options.seed, options.jobs)),
            data: Mutex::new(Data::new(tenant, options.today, options.faults.now())),
            ingested: Mutex::default(),
            options,
        }
    }

    /// Sets the outcomes of the next export jobs, one after the other. Later ones are done.
    pub fn script_jobs(&self, outcomes: impl IntoIterator<Item = JobOutcome>) {
        lock(&self.jobs).script(outcomes);
    }

    /// The number of outcomes that no order has used yet.
    pub fn scripted_jobs(&self) -> usize {
        lock(&self.jobs).scripted()
    }

    /// Every export job that was ever ordered, in their order.
    pub fn jobs(&self) -> Vec<OrderedJob> {
        lock(&self.jobs).ordered(Instant::now())
    }

    /// Adds audit events, now.
    pub fn add_audit_events(&self, count: u64) {
        let mut data = lock(&self.data);
        let now = match data.is_fixed {
            true => data.now,
            false => self.options.faults.now().as_millisecond(),
        };
        data.audit.add(count, now);
    }

    /// Changes the values of the open week.
    pub fn change_forecasts(&self) {
        lock(&self.data).revision += 1;
    }

    /// Moves the tenant to another day. Audit events that were added are gone then.
    pub fn set_today(&self, today: Date) {
        let mut data = lock(&self.data);
        let revision = data.revision;
        *data = Data::new(self.tenant, Some(today), self.options.faults.now());
        data.revision = revision;
    }

    fn behaviour(&self) -> &RevenueBehaviour {
        &self.options.behaviour
    }

    fn route(&self, request: &ApiRequest) -> Reply {
        let query = Query::parse(&request.query);
        let body = request.body.as_slice();
        let Some((version, route)) = Route::find(request, self.behaviour()) else {
            return errors::no_route(self.options.seed, &request.path);
        };
        match route {
            Route::OrderForecast(id) => self.order_forecast(id, &query, body),
            Route::ForecastList => self.forecast_list(),
            Route::Jobs => self.job_list(),
            Route::Job(id) => self.job(id),
            Route::ChangeJob(id) => self.cancel_job(id, body),
            Route::Results(id) => self.results(id),
            Route::Forecast(id) => self.forecast(id, &query),
            Route::Limits => self.limits(),
            Route::AuditEvents => self.audit_events(version, &query),
            Route::OrderAudit => self.order_audit(body),
            Route::OrderActivity => self.order_activity(body),
            Route::Opportunity => self.opportunities(&query),
            Route::IngestEntity(entity) => ingest::upload(entity, &query, body),
            Route::IngestFile(entity) => {
                let mut ingested = lock(&self.ingested);
                ingested.upload_file(self.options.seed, entity, &query, body)
            }
            Route::IngestJob(id) => lock(&self.ingested).job(id),
            Route::AddPicklist(entity) => lock(&self.ingested).add_values(entity, body),
            Route::Picklists(entity) => lock(&self.ingested).values(entity, &query),
        }
    }

    /// The data that a forecast request selects, or its refusal. `of_crm` says whether values of the
    /// CRM are available.
    fn select(
        &self,
        id: &str,
        request: &ForecastRequest,
        of_crm: bool,
    ) -> Result<ForecastData, Reply> {
        let refuse = |status, code, message: &str| {
            Err(self.errors.application(status, "fcw", code, message))
        };
        if id.is_empty() {
            let message = "The forecastId is missing.";
            return refuse(StatusCode::BAD_REQUEST, "missing_forecast_id", message);
        }
        let scope = request.scope_id.as_deref().unwrap_or("1::MGR");
        let no_optin = format!("There are no optins of the scope {scope} for the forecast '{id}'.");
        if id == NO_ACCESS {
            return refuse(StatusCode::UNAUTHORIZED, "no_optin", &no_optin);
        }
        let Some(forecast) = find_forecast(id) else {
            let message = format!("There is no forecast {id} in the template.");
            return refuse(StatusCode::BAD_REQUEST, "no_such_forecast_config", &message);
        };
        if request.types.of_crm() && !of_crm {
            let message = "The types crm_total and crm_closed cannot be exported.";
            return refuse(StatusCode::BAD_REQUEST, "type_not_supported", message);
        }
        let data = lock(&self.data);
        let (today, revision) = (data.today(), data.revision);
        match ForecastData::select(self.tenant, forecast, request, today, revision) {
            Some(selected) => Ok(selected),
            None => refuse(StatusCode::UNAUTHORIZED, "no_optin", &no_optin),
        }
    }

    fn malformed(&self, message: &str) -> Reply {
        self.errors
            .application(StatusCode::BAD_REQUEST, "fcw", "bad_request", message)
    }

    fn order_forecast(&self, id: &str, query: &Query, body: &[u8]) -> Reply {
        let request = match ForecastRequest::parse(query, body) {
            Ok(request) => request,
            Err(message) => return self.malformed(&message),
        };
        let data = match self.select(id, &request, self.behaviour().crm_export) {
            Ok(data) => data,
            Err(refusal) => return refusal,
        };
        let title = Title {
            title: data.forecast.title.to_owned(),
            module: "FORECAST",
            file_stem: format!("forecast_{id}_{}", data.quarter.id()),
            file_type: request.format.name(),
            currency: request.currency.0,
        };
        self.order(
            StatusCode::OK,
            Order {
                title,
                path: format!("/export/forecast/{id}"),
                parameters: request.parameters,
                retries: request.retries,
                work: Work::Forecast(Box::new(data), request.format),
            },
        )
    }

    fn order_audit(&self, body: &[u8]) -> Reply {
        let Some(parameters) = object(body) else {
            return errors::audit("body", "the body is not a JSON object");
        };
        let filter = match AuditFilter::of_body(&parameters) {
            Ok(filter) => filter,
            Err(name) => return errors::audit(name, "the value cannot be used"),
        };
        let log = lock(&self.data).audit.clone();
        let work = Work::Audit(log, filter);
        self.order_other(
            "Audit Export",
            "AUDIT",
            "/export/audit/events",
            parameters,
            work,
        )
    }

    fn order_activity(&self, body: &[u8]) -> Reply {
        let Some(parameters) = object(body) else {
            return self.errors.activity("the body is not a JSON object");
        };
        let request = match ActivityRequest::parse(&parameters) {
            Ok(request) => request,
            Err(message) => return self.errors.activity(&message),
        };
        let activities = lock(&self.data).activities;
        let work = Work::Activity(activities, request);
        self.order_other(
            "Activity Export",
            "ACTIVITY",
            "/export/activity",
            parameters,
            work,
        )
    }

    fn order_other(
        &self,
        title: &str,
        module: &'static str,
        path: &str,
        parameters: Map<String, Value>,
        work: Work,
    ) -> Reply {
        let title = Title {
            title: title.to_owned(),
            module,
            file_stem: module.to_lowercase(),
            file_type: "JSON",
            currency: "USD",
        };
        self.order(
            StatusCode::ACCEPTED,
            Order {
                title,
                path: path.to_owned(),
                parameters: Value::Object(parameters),
                retries: 0,
                work,
            },
        )
    }

    fn order(&self, status: StatusCode, order: Order<Work>) -> Reply {
        match lock(&self.jobs).order(order, Instant::now()) {
            Ok(id) => Reply::json(status, &json!({"jobId": id})),
            Err(NoQuota) => {
                let limits = self.options.jobs;
                self.errors
                    .quota(limits.monthly_quota, limits.concurrent_limit)
            }
        }
    }

    fn forecast(&self, id: &str, query: &Query) -> Reply {
        let request = ForecastRequest::parse(query, b"").map(|request| ForecastRequest {
            include_historical: false,
            ..request
        });
        let request = match request {
            Ok(request) => request,
            Err(message) => return self.malformed(&message),
        };
        match self.select(id, &request, true) {
            Ok(data) => json_result(data),
            Err(refusal) => refusal,
        }
    }

    fn forecast_list(&self) -> Reply {
        let today = lock(&self.data).today();
        let periods: Vec<String> = quarters(today).map(|quarter| quarter.id()).collect();
        let forecasts: Vec<Value> = FORECASTS
            .iter()
            .map(|forecast| {
                json!({
                    "forecastId": forecast.id,
                    "forecastName": forecast.title,
                    "timePeriods": periods,
                })
            })
            .collect();
        Reply::json(StatusCode::OK, &json!({ "forecasts": forecasts }))
    }

    fn job_list(&self) -> Reply {
        let jobs = lock(&self.jobs).list(Instant::now());
        let jobs: Vec<Value> = jobs.into_iter().map(|job| self.with_link(job)).collect();
        let body = match self.behaviour().wrapped_job_list {
            true => json!({ "jobs": jobs }),
            false => json!(jobs),
        };
        Reply::json(StatusCode::OK, &body)
    }

    fn job(&self, id: &str) -> Reply {
        let Some(job) = lock(&self.jobs).poll(id, Instant::now()) else {
            return self.unknown_job();
        };
        let job = self.with_link(job);
        let body = match self.behaviour().bare_job {
            true => job,
            false => json!({ "job": job }),
        };
        Reply::json(StatusCode::OK, &body)
    }

    fn unknown_job(&self) -> Reply {
        let status = match self.behaviour().unknown_job_not_found {
            true => StatusCode::NOT_FOUND,
            false => StatusCode::BAD_REQUEST,
        };
        let message = "There is no job with this id, or it has no result.";
        self.errors
            .application(status, "exports", "invalid_jobId", message)
    }

    /// Adds the link of a finished job, if the tenant has such links.
    fn with_link(&self, mut job: Value) -> Value {
        if self.behaviour().download_link && job["status"] == "DONE" {
            let id = job["jobId"].as_str().unwrap_or_default();
            let expires = Timestamp::now().as_second() + LINK_LIFE;
            let signature = self.signature(id, expires);
            let base_url = &self.base_url;
            let link = format!("{base_url}/files/{id}?expires={expires}&signature={signature}");
            job["downloadUrl"] = link.into();
        }
        job
    }

    fn signature(&self, id: &str, expires: i64) -> String {
        let start = mix(self.options.seed ^ expires.unsigned_abs());
        let digest = id
            .bytes()
            .fold(start, |digest, byte| mix(digest ^ u64::from(byte)));
        format!("{digest:016x}")
    }

    /// Answers a download link, which needs no key.
    fn file(&self, id: &str, query: &str) -> Reply {
        let query = Query::parse(query);
        let expires: Option<i64> = query.first("expires").and_then(|text| text.parse().ok());
        let signature = query.first("signature").unwrap_or_default();
        let is_valid = expires.is_some_and(|expires| {
            Timestamp::now().as_second() < expires && self.signature(id, expires) == signature
        });
        if !is_valid {
            return Reply::json(StatusCode::FORBIDDEN, &json!({"message": "Forbidden"}));
        }
        self.results(id)
    }

    fn cancel_job(&self, id: &str, body: &[u8]) -> Reply {
        let refuse = |code, message| {
            self.errors
                .application(StatusCode::BAD_REQUEST, "exports", code, message)
        };
        if !object(body).is_some_and(|body| body.get("type") == Some(&json!("CANCEL"))) {
            return refuse("SWW", "The type can be CANCEL only.");
        }
        match lock(&self.jobs).cancel(id, Instant::now()) {
            None => self.unknown_job(),
            Some(true) => {
                let body = json!({"status": "CANCELLED", "successful": true});
                Reply::json(StatusCode::OK, &body)
            }
            Some(false) => refuse("export_failed_to_cancel", "The job is finished already."),
        }
    }

    fn results(&self, id: &str) -> Reply {
        // Making the result takes a while; other requests must not wait for it.
        let finished = lock(&self.jobs).finished(id, Instant::now());
        match finished {
            Some(job) => self.result(job),
            None => self.unknown_job(),
        }
    }

    fn result(&self, job: Job<Work>) -> Reply {
        let mut reply = match job.order.work {
            Work::Forecast(data, Format::Json) => json_result(*data),
            Work::Forecast(data, Format::Csv) => {
                let lines = Content::of_pieces(forecast_csv::pieces(*data));
                Reply::new(StatusCode::OK, "text/csv", "").with_body(lines)
            }
            Work::Audit(log, filter) => {
                let page = log.page(&filter, 0, usize::MAX);
                let mut body = self.audit_body(page.items);
                body["actors"] = page.actors.into();
                Reply::json(StatusCode::OK, &body)
            }
            Work::Activity(activities, request) => {
                let list = list("activities", activities.select(request));
                Reply::new(StatusCode::OK, "application/json", "")
                    .with_body(Content::of_pieces(list))
            }
        };
        if job.outcome == JobOutcome::WrongContentType {
            reply.content_type = "application/octet-stream";
        }
        if self.behaviour().chunked_results {
            reply.body = reply.body.without_length();
        }
        reply
    }

    fn limits(&self) -> Reply {
        if self.behaviour().limits == LimitsEndpoint::Forbidden {
            return Reply::json(StatusCode::FORBIDDEN, &json!({"message": "Forbidden"}));
        }
        Reply::json(StatusCode::OK, &lock(&self.jobs).limits(Instant::now()))
    }

    fn audit_body(&self, items: Vec<Value>) -> Value {
        match self.behaviour().audit_activities {
            true => json!({ "activities": items }),
            false => json!({ "items": items }),
        }
    }

    fn audit_events(&self, version: &str, query: &Query) -> Reply {
        let limit = match query.first("limit").map(str::parse::<usize>) {
            None => 100,
            Some(Ok(limit)) if (1..=1_000).contains(&limit) => limit,
            Some(_) => return errors::audit("limit", "expected 1 to 1000"),
        };
        let filter = match AuditFilter::of_query(query) {
            Ok(filter) => filter,
            Err(name) => return errors::audit(name, "the value cannot be used"),
        };
        let log = lock(&self.data).audit.clone();
        let from = match query.first("cursor") {
            None => 0,
            Some(cursor) => match self.read_cursor(cursor, log.count()) {
                Some(from) => from,
                None => return errors::audit("cursor", "the cursor is not one of this service"),
            },
        };
        let page = match self.behaviour().audit_filter_after {
            true => log.filtered_page(&filter, from, limit),
            false => log.page(&filter, from, limit),
        };
        let mut body = self.audit_body(page.items);
        body["actors"] = page.actors.into();
        if let Some((newer, older)) = page.next {
            let position = match self.behaviour().audit_offset_cursor {
                true => newer,
                false => older,
            };
            body["nextLink"] = self.next_link(version, query, position).into();
        }
        if self.options.audit_growth > 0 {
            self.add_audit_events(self.options.audit_growth);
        }
        Reply::json(StatusCode::OK, &body)
    }

    /// The position of a cursor: it counts from the newest event, or from the oldest one, which new
    /// events do not move.
    fn read_cursor(&self, cursor: &str, count: u64) -> Option<u64> {
        let position = u64::from_str_radix(cursor.strip_prefix("c")?, 16).ok()?;
        let position = position ^ self.cursor_mask();
        match self.behaviour().audit_offset_cursor {
            true => Some(position),
            false => count.checked_sub(position),
        }
    }

    fn cursor_mask(&self) -> u64 {
        mix(self.options.seed ^ 0x6375_7273_6f72)
    }

    /// The parameters of the request with a cursor.
    fn next_link(&self, version: &str, query: &Query, position: u64) -> String {
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        for (name, value) in query.pairs() {
            if name != "cursor" {
                parameters.append_pair(name, value);
            }
        }
        parameters.append_pair(
            "cursor",
            &format!("c{:016x}", position ^ self.cursor_mask()),
        );
        let target = format!("/{version}/audit/events?{}", parameters.finish());
        match self.behaviour().audit_link {
            AuditLink::Absolute => format!("{}{target}", self.base_url),
            AuditLink::Relative => target,
            AuditLink::OtherScheme => {
                let host = self.base_url.trim_start_matches("http");
                format!("https{host}{target}")
            }
            AuditLink::OtherHost => format!("http://audit.clari.invalid{target}"),
        }
    }

    fn opportunities(&self, query: &Query) -> Reply {
        let ids = query.all("oppId");
        if ids.is_empty() {
            return errors::opportunity("oppId is missing");
        }
        if ids.len() > opportunities::MAX_IDS {
            return errors::opportunity("there can be 100 oppId at most");
        }
        let found: Vec<Value> = ids
            .iter()
            .filter_map(|id| opportunities::find(self.tenant, id))
            .collect();
        let body = match self.behaviour().wrapped_opportunities {
            true => json!({ "opportunities": found }),
            false => json!(found),
        };
        Reply::json(StatusCode::OK, &body)
    }

    /// The truth of a forecast: the content of the default export with all weeks.
    fn selected(&self, forecast: Option<&str>, period: Option<&str>) -> Option<ForecastData> {
        let types = Types {
            forecast: true,
            forecast_updated: true,
            ..Types::default()
        };
        let data = lock(&self.data);
        let forecast = find_forecast(forecast.unwrap_or("net_arr"))?;
        ForecastData::all_weeks(self.tenant, forecast, period, types, data.today())
    }

    fn unsorted_keys(&self, stream: &str) -> Option<Vec<String>> {
        let mut parts = stream.split('/');
        let (name, forecast, period) = (parts.next()?, parts.next(), parts.next());
        let data = lock(&self.data);
        match name {
            "activities" => return Some(data.activities.keys()),
            "audit_events" => return Some(data.audit.keys()),
            "audit_actors" => return Some(data.audit.actor_keys()),
            "limits" => return Some(Vec::new()),
            "opportunities" => {
                let indexes = 0..opportunities::count(self.tenant);
                return Some(
                    indexes
                        .map(|index| opportunities::id(self.tenant, index))
                        .collect(),
                );
            }
            "export_jobs" => {
                let jobs = lock(&self.jobs).list(Instant::now());
                let ids = jobs.iter().filter_map(|job| job["jobId"].as_str());
                return Some(ids.map(str::to_owned).collect());
            }
            _ => {}
        }
        drop(data);
        let selected = self.selected(forecast, period)?;
        match name {
            "forecast_entries" if selected.count() <= MAX_KEYS => Some(selected.entry_keys()),
            "forecast_users" => Some(selected.users.clone().map(tenant::user_id).collect()),
            "forecast_fields" => Some(selected.fields().map(|field| field.id.to_owned()).collect()),
            "time_periods" => Some(vec![selected.quarter.id()]),
            "time_frames" => Some(selected.frame_keys()),
            _ => None,
        }
    }
}

/// The values behind these locks stay usable whatever happened to a thread that held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The object in a body; an empty body counts as an empty object.
fn object(body: &[u8]) -> Option<Map<String, Value>> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Some(Map::new());
    }
    serde_json::from_slice(body).ok()
}

fn json_result(data: ForecastData) -> Reply {
    let chunks = ForecastJson::new(data);
    let length = Some(chunks.length());
    Reply::new(StatusCode::OK, "application/json", "").with_body(Content::Chunks {
        chunks: Box::new(chunks),
        length,
    })
}

/// An object with a list, made piece by piece.
fn list(
    name: &str,
    items: impl Iterator<Item = Value> + Send,
) -> impl Iterator<Item = String> + Send {
    let start = format!("{{\"{name}\":[");
    let items = items.enumerate().map(|(position, item)| {
        let comma = if position > 0 { "," } else { "" };
        format!("{comma}{item}")
    });
    let end = "]}".to_owned();
    std::iter::once(start)
        .chain(items)
        .chain(std::iter::once(end))
}

impl Api for ClariRevenue {
    /// A download link points to a file store, which does not check the API's keys.
    fn unguarded(&self, request: &ApiRequest) -> Option<Reply> {
        let id = request.path.strip_prefix("/files/")?;
        Some(self.file(id, &request.query))
    }

    fn refuse(&self, request: &ApiRequest) -> Option<Reply> {
        gateway::refuse(request, self.behaviour(), self.options.seed)
    }

    fn admit(&self, request: &ApiRequest, now: Instant, _: i64) -> Admission {
        match lock(&self.window).admit(now) {
            Ok(_) => Ok(Vec::new()),
            Err(_) => Err(errors::too_many(&request.path)),
        }
    }

    fn answer(&self, request: &ApiRequest, _: DataFaults) -> Reply {
        self.route(request)
    }

    fn keys(&self, stream: &str, _: DataFaults) -> Option<Vec<String>> {
        let mut keys = self.unsorted_keys(stream)?;
        keys.sort();
        Some(keys)
    }

    fn change(&self, body: &[u8]) -> Reply {
        let change: Change = match serde_json::from_slice(body) {
            Ok(change) => change,
            Err(error) => return bad_request(&error.to_string()),
        };
        if let Some(today) = change.today {
            self.set_today(today);
        }
        self.add_audit_events(change.audit_events);
        for _ in 0..change.forecast_changes {
            self.change_forecasts();
        }
        self.script_jobs(change.next_jobs);
        Reply::json(StatusCode::OK, &json!({}))
    }

    fn inspect(&self, endpoint: &str) -> Option<Reply> {
        let jobs = (endpoint == "jobs").then(|| self.jobs())?;
        Some(Reply::json(StatusCode::OK, &json!({ "jobs": jobs })))
    }
}
