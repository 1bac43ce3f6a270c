//! The checks that every probe of an HTTP service begins with: reachable, TLS, the right API, credentials.

use std::time::{Duration, SystemTime};

use headwater_core::{Check, Failure, Kind, Timestamp, TransportError};
use http::{HeaderMap, header};
use tokio::time::Instant;
use url::Url;

use crate::{
    client::{Client, Request, Response, Take, Tried},
    envelope::{Records, looks_like_html, split},
    retry::{RetryPolicy, retry_after},
};

/// Asks a service and turns its answers into checks.
#[derive(Clone, Copy, Debug)]
pub struct Prober<'a> {
    /// The client to ask with.
    pub client: &'a Client,
    /// The form field of the base URL.
    pub address: &'static str,
}

/// What the first request of a probe told.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The checks `reachable`, `tls` (for https) and `api`, as far as they could be made; before them a failed `address`
    /// where the host does not permit it.
    pub checks: Vec<Check>,
    /// What the service said of the credentials.
    pub access: Access,
    /// How long the request took.
    pub latency: Duration,
    /// The answer itself, whatever its status.
    pub response: Option<Response>,
}

/// What a request for the records of one stream told.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What the service said of it.
    pub access: Access,
    /// How long it took.
    pub latency: Duration,
    /// The answer itself, whatever its status.
    pub response: Option<Response>,
}

/// What a service said of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Access {
    /// It answered with the expected records.
    Granted,
    /// 401: it does not know these credentials.
    Unauthenticated,
    /// 403: it knows them and says no, or does not say which.
    Denied,
    /// Neither: this check says why.
    Unknown(Box<Check>),
}

impl Prober<'_> {
    /// Makes the first request.
    pub async fn first(&self, request: &Request, records: Records) -> Verdict {
        let (tried, latency) = self.ask(request).await;
        let is_https = self.client.base().as_url().scheme() == "https";
        let mut checks = Vec::new();
        let response = match tried {
            Ok(response) => response,
            Err(failed) => {
                checks.extend(self.unreachable(&failed, is_https, latency));
                let unknown = Check::skipped("credentials");
                return Verdict {
                    checks,
                    access: Access::Unknown(Box::new(unknown)),
                    latency,
                    response: None,
                };
            }
        };
        let host = self
            .client
            .base()
            .as_url()
            .host_str()
            .unwrap_or_default()
            .to_owned();
        checks.push(Check::passed("reachable", format!("{host} answers")).took(latency));
        if is_https {
            checks.push(Check::passed(
                "tls",
                format!("the certificate of {host} is valid"),
            ));
        }
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
            // Throttled or broken: whose address it is remains open, too.
            Access::Unknown(check) => Verdict {
                checks,
                access: Access::Unknown(Box::new(check.took(latency))),
                latency,
                response: Some(response),
            },
            access => {
                checks.push(Check::passed(
                    "api",
                    format!("the address is that of {}", self.client.service()),
                ));
                Verdict {
                    checks,
                    access,
                    latency,
                    response: Some(response),
                }
            }
        }
    }

    /// Asks for the records of one stream.
    pub async fn access(&self, stream: &str, request: &Request, records: Records) -> Asked {
        let name = format!("access:{stream}");
        let (tried, latency) = self.ask(request).await;
        match tried {
            Ok(response) => Asked {
                access: self.judge(&name, &response, records),
                latency,
                response: Some(response),
            },
            Err(failed) => {
                let text = format!("{} could not be asked: {failed}", self.client.service());
                let check = Check::warned(name, Kind::Unavailable, "unavailable", text);
                Asked {
                    access: Access::Unknown(Box::new(check)),
                    latency,
                    response: None,
                }
            }
        }
    }

    /// The answer, and how long it took without the wait for the service's limit.
    async fn ask(&self, request: &Request) -> (Result<Response, TransportError>, Duration) {
        // Few and small, and a person waits for them.
        let client = self.client.urgent();
        client.turn().await;
        let started = Instant::now();
        let deadline = started + RetryPolicy::PROBE.deadline;
        let answer = ask_twice(&client, request, deadline).await;
        (answer, started.elapsed())
    }

    fn judge(&self, name: &str, response: &Response, records: Records) -> Access {
        let service = self.client.service();
        let unknown = |check: Check| Access::Unknown(Box::new(check));
        let elsewhere = |code, message: String| {
            let remedy = format!(
                "check the address; the usual one is shown as the default of the form for {service}"
            );
            unknown(
                Check::failed("api", Kind::ConfigInvalid, code, message)
                    .at([self.address])
                    .remedy(remedy),
            )
        };
        if is_web_page(response) {
            return elsewhere(
                "not_this_api",
                format!("the address answers with a web page, not like {service}"),
            );
        }
        match response.status.as_u16() {
            401 => Access::Unauthenticated,
            403 => Access::Denied,
            200..=299 => match split(&response.body, records, &[]) {
                Ok(_) => Access::Granted,
                Err(_) => elsewhere(
                    "not_this_api",
                    format!("the address answers, but not like {service}"),
                ),
            },
            300..=399 => elsewhere("redirected", redirect(&response.headers)),
            404 => elsewhere(
                "wrong_path",
                format!("the address answers, but {service} is not there (status 404)"),
            ),
            429 => {
                let wait = retry_after(&response.headers, SystemTime::now())
                    .unwrap_or(Duration::from_secs(60));
                let wait = wait.as_secs().max(1);
                let text = format!("{service} asks to wait; the credentials were not judged");
                let check = Check::failed(name_of(name), Kind::RateLimited, "throttled", text);
                unknown(check.remedy(format!(
                    "try again in {wait} seconds, or stop what else uses these credentials"
                )))
            }
            status @ 500..=599 => {
                let text = format!(
                    "{service} has a problem of its own (status {status}); the credentials were not judged"
                );
                let check =
                    Check::failed(name_of(name), Kind::Unavailable, "service_problem", text);
                unknown(check.remedy("nothing is wrong with your input; try again later"))
            }
            status => {
                let said = self
                    .client
                    .said(&response.body)
                    .map(|text| format!(": {text}"))
                    .unwrap_or_default();
                elsewhere(
                    "not_this_api",
                    format!("the address refuses the question (status {status}){said}"),
                )
            }
        }
    }

    fn unreachable(
        &self,
        failed: &TransportError,
        is_https: bool,
        latency: Duration,
    ) -> Vec<Check> {
        let url = self.client.base().as_url();
        let host = url.host_str().unwrap_or_default();
        let failed_check = |name: &str, code, message: String, remedy: &str| {
            Check::failed(name, Kind::Unavailable, code, message)
                .at([self.address])
                .remedy(remedy)
                .took(latency)
        };
        let retry = "check the address, then your network; a firewall may have to allow it";
        let mut checks = match failed.failure {
            // The same for every address, and without a time: neither says what was found there.
            Failure::NotAllowed => vec![
                Check::failed("address", Kind::ConfigInvalid, "not_allowed", failed.to_string())
                    .at([self.address])
                    .remedy(format!(
                        "use the address of {} that the form has as its default; for another one, ask the operator of \
                         this installation to allow its host with --allow-host",
                        self.client.service()
                    )),
                Check::skipped("reachable"),
            ],
            Failure::Tls => vec![
                Check::passed("reachable", format!("{host} answers")).took(latency),
                failed_check(
                    "tls",
                    "tls",
                    format!("no trusted connection to {host}: {failed}"),
                    "check the address; behind a proxy that re-signs traffic, install its certificate on this machine",
                ),
            ],
            Failure::NameUnknown => {
                vec![failed_check(
                    "reachable",
                    "name_unknown",
                    format!("the name {host} is unknown"),
                    "check the address for typing errors",
                )]
            }
            Failure::Refused => vec![failed_check(
                "reachable",
                "refused",
                format!("{host} does not accept connections"),
                retry,
            )],
            Failure::Timeout => vec![failed_check(
                "reachable",
                "timeout",
                format!("{host} gave no answer in 10 seconds"),
                retry,
            )],
            Failure::Interrupted | Failure::Undecodable => {
                vec![failed_check(
                    "reachable",
                    "interrupted",
                    format!("{host} broke off the connection"),
                    retry,
                )]
            }
        };
        if is_https && failed.failure != Failure::Tls {
            checks.push(Check::skipped("tls"));
        }
        checks.push(Check::skipped("api"));
        checks
    }
}

/// At most two tries within the time that a person waits.
async fn ask_twice(
    client: &Client,
    request: &Request,
    deadline: Instant,
) -> Result<Response, TransportError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let failed = match client
            .try_once(request, tries > 1, deadline, Take::Whole)
            .await
        {
            Ok(Tried::Answered(response, _)) if response.status.is_server_error() && tries == 1 => {
                tokio::time::sleep(RetryPolicy::PROBE.backoff(tries, false)).await;
                continue;
            }
            Ok(Tried::Answered(response, _)) => return Ok(response),
            Ok(Tried::TooLarge) => {
                return Ok(Response {
                    status: http::StatusCode::OK,
                    headers: HeaderMap::new(),
                    body: bytes::Bytes::new(),
                    at: Timestamp::now(),
                });
            }
            Ok(Tried::Failed(failed)) => failed,
            Err(error) => TransportError {
                failure: Failure::Interrupted,
                before_send: true,
                detail: error.message().to_owned(),
            },
        };
        let may_pass = matches!(failed.failure, Failure::Interrupted | Failure::Refused);
        if tries > 1 || !may_pass {
            return Err(failed);
        }
        tokio::time::sleep(RetryPolicy::PROBE.backoff(tries, false)).await;
    }
}

/// The first request judges the credentials; later ones the access to their stream.
fn name_of(name: &str) -> &str {
    if name == "api" { "credentials" } else { name }
}

fn is_web_page(response: &Response) -> bool {
    let is_html = response
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/html"));
    // Gateways in front of an API send web pages with their own problems; those are not a wrong address.
    !response.status.is_server_error() && (is_html || looks_like_html(&response.body))
}

/// Names the other origin, without path and query.
fn redirect(headers: &HeaderMap) -> String {
    let to = headers
        .get(header::LOCATION)
        .and_then(|value| Url::parse(value.to_str().ok()?).ok());
    let to = to.filter(Url::has_host).map_or_else(
        || "elsewhere".to_owned(),
        |url| url.origin().ascii_serialization(),
    );
    format!("the address forwards to {to}; keys are not sent to another host")
}
