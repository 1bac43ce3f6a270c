//! The gateway in front of the service: routes first, then the key.

use hyper::header::{AUTHORIZATION, HeaderMap};

use super::errors::{no_route, unauthorized};
use super::ingest::wrong_partner_key;
use super::options::{LimitsEndpoint, RevenueAuth, RevenueBehaviour};
use crate::api::ApiRequest;
use crate::reply::Reply;
use crate::{API_KEY, PARTNER_KEY};

/// An endpoint, with what its path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    OrderForecast(&'a str),
    ForecastList,
    Jobs,
    Job(&'a str),
    ChangeJob(&'a str),
    Results(&'a str),
    Forecast(&'a str),
    Limits,
    AuditEvents,
    OrderAudit,
    OrderActivity,
    Opportunity,
    IngestEntity(&'a str),
    IngestFile(&'a str),
    IngestJob(&'a str),
    AddPicklist(&'a str),
    Picklists(&'a str),
}

impl<'a> Route<'a> {
    /// The version and the endpoint of a request; `None` when no route matches.
    pub(crate) fn find(
        request: &'a ApiRequest,
        behaviour: &RevenueBehaviour,
    ) -> Option<(&'a str, Self)> {
        let path = request.path.strip_prefix('/')?;
        let (version, path) = path.split_once('/')?;
        let parts: Vec<&str> = path.split('/').collect();
        let route = match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["export", "forecast", "list"]) if behaviour.forecast_list => {
                Self::ForecastList
            }
            ("POST", ["export", "forecast"]) => Self::OrderForecast(""),
            ("POST", ["export", "forecast", id]) => Self::OrderForecast(id),
            ("GET", ["export", "jobs"]) => Self::Jobs,
            ("GET", ["export", "jobs", id]) => Self::Job(id),
            ("PATCH", ["export", "jobs", id]) => Self::ChangeJob(id),
            ("GET", ["export", "jobs", id, "results"]) => Self::Results(id),
            ("GET", ["forecast", id]) => Self::Forecast(id),
            ("GET", ["admin", "limits"]) if behaviour.limits != LimitsEndpoint::Off => Self::Limits,
            ("GET", ["audit", "events"]) => Self::AuditEvents,
            ("POST", ["export", "audit", "events"]) => Self::OrderAudit,
            ("POST", ["export", "activity"]) => Self::OrderActivity,
            ("GET", ["opportunity"]) => Self::Opportunity,
            ("POST", ["ingest", "entity", entity]) => Self::IngestEntity(entity),
            ("POST", ["ingest", "bulk", "entity", entity]) => Self::IngestFile(entity),
            ("GET", ["ingest", "job", id]) => Self::IngestJob(id),
            ("POST", ["ingest", "schema", entity, "field"]) => Self::AddPicklist(entity),
            ("GET", ["ingest", "schema", entity, "field"]) => Self::Picklists(entity),
            _ => return None,
        };
        let is_served = match route.is_ingestion() {
            true => version == "v2",
            false => behaviour.versions.contains(version),
        };
        is_served.then_some((version, route))
    }

    fn is_ingestion(self) -> bool {
        matches!(
            self,
            Self::IngestEntity(_)
                | Self::IngestFile(_)
                | Self::IngestJob(_)
                | Self::AddPicklist(_)
                | Self::Picklists(_)
        )
    }
}

/// The answer to a request that the gateway refuses.
pub(crate) fn refuse(
    request: &ApiRequest,
    behaviour: &RevenueBehaviour,
    seed: u64,
) -> Option<Reply> {
    let Some((_, route)) = Route::find(request, behaviour) else {
        return Some(no_route(seed, &request.path));
    };
    match key(&request.headers, behaviour.auth) {
        None => return Some(unauthorized(&request.path, "No API key found in request")),
        Some(key) if key != API_KEY.as_bytes() => {
            return Some(unauthorized(
                &request.path,
                "Invalid authentication credentials",
            ));
        }
        Some(_) => {}
    }
    let partner = request.headers.get("partnerkey");
    if route.is_ingestion() && partner.is_none_or(|partner| partner != PARTNER_KEY) {
        return Some(wrong_partner_key());
    }
    None
}

fn key(headers: &HeaderMap, auth: RevenueAuth) -> Option<&[u8]> {
    let in_header = || headers.get("apikey").map(|value| value.as_bytes());
    let as_bearer = || {
        let value = headers.get(AUTHORIZATION)?.as_bytes();
        value.strip_prefix(b"Bearer ")
    };
    match auth {
        RevenueAuth::ApiKey => in_header(),
        RevenueAuth::Bearer => as_bearer(),
        RevenueAuth::Both => in_header().or_else(as_bearer),
    }
}
