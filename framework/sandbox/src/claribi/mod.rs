//! clariBI, a business-intelligence product that is unrelated to Clari Inc.: the settings
//! of its simulation, and the credentials that it takes.
//!
//! The vendor describes two HTTP interfaces, under `/api/` and under `/api/v1/`. Both are served,
//! the second one in a simple form. The pages contradict each other in many points; see
//! [`ClaribiOptions`] for the choices, and the documentation of the crate for the known facts.

mod account;
mod catalogue;
mod credentials;
mod dashboard;
mod data_source;
mod limiter;
mod listing;
mod options;
mod problem;
mod record;
mod report;
mod route;
mod simulation;
mod tier;
mod token;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::header::{HOST, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::catalogue::{Catalogue, Kind};
use self::credentials::{Caller, identify};
use self::limiter::Limiter;
use self::listing::ListRequest;
pub use self::options::{
    ClaribiOptions, ErrorBodies, Ids, KeyHeaders, NextLinks, Paging, Permissions, RateHeaders,
    RateLimit, SourceField, Tier,
};
use self::problem::Problem;
use self::record::Record;
use self::route::{Route, Surface};
pub(crate) use self::simulation::CLARIBI;
use self::token::{TokenKind, Tokens};
use crate::api::{Admission, Api, ApiRequest, bad_request};
use crate::faults::DataFaults;
use crate::query::Query;
use crate::reply::Reply;

/// The API key that every simulated clariBI accepts.
pub const API_KEY: &str = "claribi_sk_sandbox";

/// The e-mail address of the one user.
pub const EMAIL: &str = "sandbox@example.com";

/// The password of the one user.
pub const PASSWORD: &str = "sandbox-password";

/// The page for a path that does not exist, which never reaches the framework and so is no JSON.
const NOT_FOUND_PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><title>Not Found</title>\
    </head><body><h1>Not Found</h1></body></html>\n";

/// The simulated API of one organization.
#[derive(Debug)]
pub(crate) struct Claribi {
    options: ClaribiOptions,
    catalogue: Catalogue,
    tokens: Mutex<Tokens>,
    limiter: Mutex<Limiter>,
    base_url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeRequest {
    reports: u64,
}

impl Claribi {
    pub(crate) fn new(options: ClaribiOptions, base_url: String) -> Self {
        Self {
            catalogue: Catalogue::new(&options),
            tokens: Mutex::default(),
            limiter: Mutex::new(Limiter::new(&options)),
            options,
            base_url,
        }
    }

    /// Adds reports to the end of the list, as of now.
    pub(crate) fn end_tokens(&self, with_sessions: bool) {
        let mut tokens = lock(&self.tokens);
        tokens.end(TokenKind::Access);
        if with_sessions {
            tokens.end(TokenKind::Refresh);
        }
    }

    pub(crate) fn add_reports(&self, count: u64) {
        self.catalogue.add_reports(count);
    }

    fn caller(&self, request: &ApiRequest, route: &Route) -> Result<Caller, Problem> {
        identify(
            &request.headers,
            route.surface(),
            self.options.key_headers,
            &lock(&self.tokens),
        )
    }

    fn check_permission(&self, caller: Caller, route: &Route) -> Result<(), Problem> {
        let is_permitted = match self.options.permissions {
            _ if caller == Caller::User => true,
            Permissions::ReadWrite => true,
            Permissions::ReadOnly => route.method() == "GET",
            Permissions::None => route.tells_whose_key_it_is(),
        };
        match is_permitted {
            true => Ok(()),
            false => Err(Problem::NoPermission),
        }
    }

    fn route(&self, request: &ApiRequest, faults: DataFaults) -> Result<Reply, Problem> {
        let route = Route::of(&request.path);
        match route {
            Route::Unknown => return Ok(Reply::html(StatusCode::NOT_FOUND, NOT_FOUND_PAGE)),
            Route::Unslashed => return Ok(add_slash(request)),
            _ => check_method(request, &route)?,
        }
        let catalogue = &self.catalogue;
        let tier = self.options.tier;
        let answer = match route {
            Route::Login => self.login(&request.body)?,
            Route::Refresh => self.refresh(&request.body)?,
            Route::Status => account::status(catalogue, tier, self.options.ids).to_json(),
            Route::Verify => {
                account::verification(catalogue, tier, self.options.permissions).to_json()
            }
            Route::Usage(_) => account::usage(catalogue, tier).to_json(),
            Route::List(surface, kind) => self.list(request, surface, kind, faults)?,
            Route::Detail(surface, kind, id) => {
                self.detail(request, surface, kind, &id, faults)?.to_json()
            }
            Route::Generate(id) => return self.generate(request, &id),
            Route::Unslashed | Route::Unknown => String::new(),
        };
        Ok(Reply::new(StatusCode::OK, "application/json", answer))
    }

    fn list(
        &self,
        request: &ApiRequest,
        surface: Surface,
        kind: Kind,
        faults: DataFaults,
    ) -> Result<String, Problem> {
        let base_url = self.base_url(request);
        let list = ListRequest {
            catalogue: &self.catalogue,
            options: &self.options,
            kind,
            surface,
            path: &request.path,
            query: &Query::parse(&request.query),
            base_url: &base_url,
        };
        let answer = list.answer(|index| self.record(surface, kind, index, &base_url, false))?;
        if kind == Kind::Report && faults.changing > 0 {
            self.add_reports(faults.changing);
        }
        Ok(answer)
    }

    fn detail(
        &self,
        request: &ApiRequest,
        surface: Surface,
        kind: Kind,
        id: &str,
        faults: DataFaults,
    ) -> Result<Record, Problem> {
        let index = self.find(surface, kind, id)?;
        let every = faults.missing_details;
        let is_missing = every > 0 && index % every == every - 1;
        if is_missing || !self.options.details {
            return Err(no_such_record(kind, id));
        }
        let base_url = self.base_url(request);
        Ok(self.record(surface, kind, index, &base_url, true))
    }

    fn find(&self, surface: Surface, kind: Kind, id: &str) -> Result<u64, Problem> {
        self.catalogue
            .find(kind, id, self.ids(surface))
            .ok_or_else(|| no_such_record(kind, id))
    }

    fn record(
        &self,
        surface: Surface,
        kind: Kind,
        index: u64,
        base_url: &str,
        is_detail: bool,
    ) -> Record {
        let catalogue = &self.catalogue;
        let ids = self.ids(surface);
        match kind {
            Kind::DataSource => {
                let source_field = match surface {
                    Surface::Rest => self.options.source_field,
                    Surface::External => SourceField::SourceType,
                };
                data_source::record(catalogue, index, ids, source_field, is_detail)
            }
            Kind::Report => report::record(catalogue, index, ids, base_url, is_detail),
            Kind::Dashboard => dashboard::record(catalogue, index, ids, base_url, is_detail),
        }
    }

    fn ids(&self, surface: Surface) -> Ids {
        match surface {
            Surface::Rest => self.options.ids,
            Surface::External => Ids::Uuid,
        }
    }

    /// Orders a report to be written once more, which makes a new one.
    fn generate(&self, request: &ApiRequest, id: &str) -> Result<Reply, Problem> {
        self.find(Surface::External, Kind::Report, id)?;
        let index = self.catalogue.add_reports(1);
        let report_id = self.catalogue.id_text(Kind::Report, index, Ids::Uuid);
        let web_url = format!("{}/reports/{report_id}", self.base_url(request));
        let body = json!({"report_id": report_id, "status": "pending", "web_url": web_url});
        Ok(Reply::json(StatusCode::CREATED, &body))
    }

    fn login(&self, body: &[u8]) -> Result<String, Problem> {
        let body = parse_object(body)?;
        let email = required(&body, "email")?;
        let password = required(&body, "password")?;
        if (email, password) != (EMAIL, PASSWORD) {
            return Err(Problem::WrongPassword);
        }
        if self.options.mfa {
            return Ok(json!({"mfa_required": true}).to_string());
        }
        let mut tokens = lock(&self.tokens);
        let answer = json!({
            "access": tokens.issue(TokenKind::Access, self.options.access_life),
            "refresh": tokens.issue(TokenKind::Refresh, self.options.refresh_life),
            "user": account::login_user(&self.catalogue, self.options.ids),
        });
        Ok(answer.to_string())
    }

    fn refresh(&self, body: &[u8]) -> Result<String, Problem> {
        let body = parse_object(body)?;
        let refresh = required(&body, "refresh")?;
        let mut tokens = lock(&self.tokens);
        let checked = tokens.check(TokenKind::Refresh, refresh);
        checked.map_err(Problem::BadRefreshToken)?;
        let access = tokens.issue(TokenKind::Access, self.options.access_life);
        Ok(json!({"access": access}).to_string())
    }

    /// The scheme and the host that the client used, as far as the framework can know them.
    fn base_url(&self, request: &ApiRequest) -> String {
        let host = request.headers.get(HOST);
        match host.and_then(|host| host.to_str().ok()) {
            Some(host) => format!("http://{host}"),
            None => self.base_url.clone(),
        }
    }
}

impl Api for Claribi {
    fn unguarded(&self, _request: &ApiRequest) -> Option<Reply> {
        None
    }

    /// Refuses bad credentials and missing permissions. Unknown paths and those that lack their slash
    /// are handled before credentials are checked.
    fn refuse(&self, request: &ApiRequest) -> Option<Reply> {
        let route = Route::of(&request.path);
        if !route.is_guarded() {
            return None;
        }
        let checked = self
            .caller(request, &route)
            .and_then(|caller| self.check_permission(caller, &route));
        let problem = checked.err()?;
        Some(problem.reply(self.options.error_bodies))
    }

    fn admit(&self, request: &ApiRequest, now: Instant, unix_seconds: i64) -> Admission {
        let route = Route::of(&request.path);
        if !route.is_guarded() {
            return Ok(Vec::new());
        }
        // A token that expired since the check above is accepted this once.
        let caller = self.caller(request, &route).unwrap_or(Caller::User);
        lock(&self.limiter).admit(caller, now, unix_seconds)
    }

    fn answer(&self, request: &ApiRequest, faults: DataFaults) -> Reply {
        self.route(request, faults)
            .unwrap_or_else(|problem| problem.reply(self.options.error_bodies))
    }

    fn keys(&self, stream: &str, _faults: DataFaults) -> Option<Vec<String>> {
        let kind = match stream {
            "data_sources" => Kind::DataSource,
            "reports" => Kind::Report,
            "dashboards" => Kind::Dashboard,
            "account_status" => {
                let id = account::organization_id(self.catalogue.seed, self.options.ids);
                let text = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
                return Some(vec![text]);
            }
            "billing_usage" => return Some(vec![account::period_start(&self.catalogue)]),
            _ => return None,
        };
        let mut keys: Vec<String> = (0..self.catalogue.count(kind))
            .map(|index| self.catalogue.id_text(kind, index, self.options.ids))
            .collect();
        keys.sort();
        Some(keys)
    }

    fn change(&self, body: &[u8]) -> Reply {
        match serde_json::from_slice::<ChangeRequest>(body) {
            Ok(change) => {
                self.add_reports(change.reports);
                Reply::json(StatusCode::OK, &json!({"reports": change.reports}))
            }
            Err(error) => bad_request(&error.to_string()),
        }
    }
}

/// The values behind these locks stay usable whatever happened to a thread that held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_such_record(kind: Kind, id: &str) -> Problem {
    Problem::NoSuchRecord {
        kind: kind.title(),
        id: id.to_owned(),
    }
}

fn check_method(request: &ApiRequest, route: &Route) -> Result<(), Problem> {
    let allowed = route.method();
    let is_head = request.method == Method::HEAD && allowed == "GET";
    if request.method.as_str() == allowed || is_head {
        return Ok(());
    }
    Err(Problem::MethodNotAllowed {
        method: request.method.clone(),
        allowed,
    })
}

/// Sends a request to the same path with a slash at its end, as Django does for every method.
fn add_slash(request: &ApiRequest) -> Reply {
    let separator = if request.query.is_empty() { "" } else { "?" };
    let location = format!("{}/{separator}{}", request.path, request.query);
    let reply = Reply::html(StatusCode::MOVED_PERMANENTLY, "");
    match HeaderValue::from_str(&location) {
        Ok(location) => reply.with_header(LOCATION, location),
        Err(_) => Reply::html(StatusCode::NOT_FOUND, NOT_FOUND_PAGE),
    }
}

fn parse_object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    serde_json::from_slice(body).map_err(|_| Problem::NotJson)
}

fn required<'a>(body: &'a Map<String, Value>, field: &'static str) -> Result<&'a str, Problem> {
    let reason = match body.get(field) {
        Some(Value::String(text)) if !text.is_empty() => return Ok(text),
        Some(Value::String(_)) => "This field may not be blank.",
        Some(_) => "Not a valid string.",
        None => "This field is required.",
    };
    Err(Problem::Invalid {
        field,
        reason: reason.to_owned(),
    })
}
