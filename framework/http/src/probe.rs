//! The first checks of every probe of an HTTP service: reachable, TLS, API, credentials.

use std::time::Duration;

use headwater_core::{Check, Failure, Kind, Target, Timestamp, TransportError};
use http::{HeaderMap, header};
use tokio::time::Instant;
use url::Url;

use crate::{
    client::{Attempt, BodyMode, Client, Request, Response},
    envelope::{Records, looks_like_html, split},
    refusal::leads_elsewhere,
    retry::RetryPolicy,
};

/// The wait for a service that asks to wait without stating a time.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// Sends requests to a service and turns the responses into checks.
#[derive(Clone, Copy, Debug)]
pub struct Prober<'a> {
    /// The client for the requests.
    pub client: &'a Client,
    /// The form field of the base URL.
    pub address: &'static str,
}

/// The result of the first request of a probe.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The checks `reachable`, `tls` (for https) and `api`, as far as possible; before them a failed `address` if the
    /// host does not permit it.
    pub checks: Vec<Check>,
    /// The service's verdict on the credentials.
    pub access: Access,
    /// The time of the request.
    pub latency: Duration,
    /// The response itself, with any status.
    pub response: Option<Response>,
}

/// The result of a request for the records of one stream.
#[derive(Clone, Debug)]
pub struct StreamAccess {
    /// The service's verdict.
    pub access: Access,
    /// The time of the request.
    pub latency: Duration,
    /// The response itself, with any status.
    pub response: Option<Response>,
}

/// A service's verdict on a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Access {
    /// The response has the expected records.
    Granted,
    /// 401: the service does not accept these credentials.
    Unauthenticated,
    /// 403: the service accepts them but refuses, or does not distinguish.
    Denied,
    /// Neither; the check states the reason.
    Unknown(Box<Check>),
}

impl Prober<'_> {
    /// Sends the first request.
    pub async fn first(&self, request: &Request, records: Records) -> Verdict {
        let (tried, latency) = self.ask(request).await;
        let target = self.target();
        let response = match tried {
            Ok(response) => response,
            Err(failed) => {
                let unknown = Check::skipped("credentials");
                return Verdict {
                    checks: target.unreachable(&failed, latency),
                    access: Access::Unknown(Box::new(unknown)),
                    latency,
                    response: None,
                };
            }
        };
        let mut checks = target.reached(latency);
        let access = self.judge("api", &response, records);
        match access {
            Access::Unknown(check) if check.name == "api" => {
                checks.push(check.took(latency));
                Verdict {
                    checks,
                    access: Access::Unknown(Box::new(Check::skipped("credentials"))),
                    latency,
                    response: Some(response),
                }
            }
            // Throttled or broken: the owner of the address also remains unknown.
            Access::Unknown(check) => Verdict {
                checks,
                access: Access::Unknown(Box::new(check.took(latency))),
                latency,
                response: Some(response),
            },
            access => {
                checks.push(target.right_service());
                Verdict {
                    checks,
                    access,
                    latency,
                    response: Some(response),
                }
            }
        }
    }

    /// Requests the records of one stream.
    pub async fn access(&self, stream: &str, request: &Request, records: Records) -> StreamAccess {
        let name = format!("access:{stream}");
        let (tried, latency) = self.ask(request).await;
        match tried {
            Ok(response) => StreamAccess {
                access: self.judge(&name, &response, records),
                latency,
                response: Some(response),
            },
            Err(failed) => {
                let text = format!("no response from {}: {failed}", self.client.service());
                let check = Check::warned(name, Kind::Unavailable, "unavailable", text);
                StreamAccess {
                    access: Access::Unknown(Box::new(check)),
                    latency,
                    response: None,
                }
            }
        }
    }

    /// Returns the response and its time, without the wait for the service's limit.
    async fn ask(&self, request: &Request) -> (Result<Response, TransportError>, Duration) {
        // The requests are few and small, and a person waits for them.
        let client = self.client.urgent();
        client.turn().await;
        let started = Instant::now();
        let deadline = started + RetryPolicy::PROBE.deadline;
        let answer = ask_twice(&client, request, deadline).await;
        (answer, started.elapsed())
    }

    fn judge(&self, name: &str, response: &Response, records: Records) -> Access {
        let target = self.target();
        let unknown = |check: Check| Access::Unknown(Box::new(check));
        if is_web_page(response) {
            return unknown(target.web_page(response.status.as_u16()));
        }
        if response.status.is_success() {
            return match split(&response.body, records, &[]) {
                Ok(_) => Access::Granted,
                Err(_) => unknown(target.not_this_api()),
            };
        }
        let refusal = self.client.weigh(response);
        match (refusal.kind, response.status.as_u16()) {
            (Kind::Unauthenticated, _) => Access::Unauthenticated,
            (Kind::PermissionDenied, 403) => Access::Denied,
            (Kind::RateLimited, _) => {
                let wait = refusal.requested.delay.unwrap_or(DEFAULT_WAIT);
                let mut check = target.throttled(name_of(name), wait);
                if let Some((header, text)) = refusal.requested.unread {
                    let text = self.client.redacted(text);
                    check.message += &format!("; its {header} {text:?} cannot be read");
                }
                unknown(check)
            }
            (_, status) if leads_elsewhere(status) => {
                unknown(target.redirected(&redirect(&response.headers)))
            }
            (Kind::NotFound, 404) => unknown(target.wrong_path()),
            (Kind::Unavailable, status) => unknown(target.service_problem(name_of(name), status)),
            (_, status) => {
                let message = self.client.said(&response.body);
                unknown(target.refuses_question(status, message.as_deref()))
            }
        }
    }

    /// Returns the target that the checks name.
    fn target(&self) -> Target<'_> {
        let url = self.client.base().as_url();
        Target {
            service: self.client.service(),
            host: url.host_str().unwrap_or_default(),
            is_https: url.scheme() == "https",
            address: self.address,
        }
    }
}

/// Sends a request at most twice, within the time limit of a probe.
async fn ask_twice(
    client: &Client,
    request: &Request,
    deadline: Instant,
) -> Result<Response, TransportError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let failed = match client
            .try_once(request, tries > 1, deadline, BodyMode::Whole)
            .await
        {
            Ok(Attempt::Answered(response, _))
                if response.status.is_server_error() && tries == 1 =>
            {
                tokio::time::sleep(RetryPolicy::PROBE.backoff(tries, false)).await;
                continue;
            }
            Ok(Attempt::Answered(response, _)) => return Ok(response),
            Ok(Attempt::TooLarge) => {
                return Ok(Response {
                    status: http::StatusCode::OK,
                    headers: HeaderMap::new(),
                    body: bytes::Bytes::new(),
                    at: Timestamp::now(),
                });
            }
            Ok(Attempt::Failed(failed)) => failed,
            Err(error) => TransportError {
                failure: Failure::Interrupted,
                before_send: true,
                detail: error.message().to_owned(),
            },
        };
        let may_pass = matches!(
            failed.failure,
            Failure::Interrupted | Failure::Stale | Failure::Refused
        );
        if tries > 1 || !may_pass {
            return Err(failed);
        }
        tokio::time::sleep(RetryPolicy::PROBE.backoff(tries, false)).await;
    }
}

/// Returns the name of the check: the first request tests the credentials, later ones the access to their stream.
fn name_of(name: &str) -> &str {
    if name == "api" { "credentials" } else { name }
}

fn is_web_page(response: &Response) -> bool {
    let is_html = response
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/html"));
    // Gateways before an API send web pages for their own problems; those do not mean a wrong address.
    !response.status.is_server_error() && (is_html || looks_like_html(&response.body))
}

/// Returns the origin of a redirect, without path and query.
fn redirect(headers: &HeaderMap) -> String {
    let to = headers
        .get(header::LOCATION)
        .and_then(|value| Url::parse(value.to_str().ok()?).ok());
    let to = to.filter(Url::has_host);
    to.map_or_else(
        || "elsewhere".to_owned(),
        |url| url.origin().ascii_serialization(),
    )
}
