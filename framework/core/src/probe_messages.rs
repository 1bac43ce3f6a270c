//! The messages of the first request of a probe, the same for every connector.

use std::time::Duration;

use crate::{
    error::Kind,
    probe::Check,
    transport::{Failure, TransportError},
};

/// The service that a probe asks, as its checks name it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The name of the service, for people.
    pub service: &'a str,
    /// The host of its address.
    pub host: &'a str,
    /// Whether the address uses TLS.
    pub is_https: bool,
    /// The JSON Pointer of the address field.
    pub address: &'a str,
}

impl Target<'_> {
    /// Returns the checks of a request with any response.
    pub fn reached(&self, latency: Duration) -> Vec<Check> {
        let mut checks = vec![self.answers().took(latency)];
        if self.is_https {
            let text = format!("the certificate of {} is valid", self.host);
            checks.push(Check::passed("tls", text));
        }
        checks
    }

    /// Returns the check of a response from the intended service.
    pub fn right_service(&self) -> Check {
        Check::passed("api", format!("this is the {} API", self.service))
    }

    /// Returns the checks of a request without a response, up to `api`.
    pub fn unreachable(&self, failed: &TransportError, latency: Duration) -> Vec<Check> {
        let host = self.host;
        let failed_check = |name: &str, code, message: String, remedy: &str| {
            Check::failed(name, Kind::Unavailable, code, message)
                .at([self.address])
                .remedy(remedy)
                .took(latency)
        };
        let retry = "check the address, then your network; a firewall may have to allow it";
        if failed.failure == Failure::Undecodable {
            let mut checks = self.reached(latency);
            checks.push(self.undecodable(failed));
            return checks;
        }
        let mut checks = match failed.failure {
            // The same for every address and without a time, so that neither reveals what the address holds.
            Failure::NotAllowed => vec![
                Check::failed("address", Kind::ConfigInvalid, "not_allowed", failed.to_string())
                    .at([self.address])
                    .remedy(format!(
                        "use the form's default address of {}; for another address, ask the operator of this \
                         installation to allow its host with --allow-host",
                        self.service
                    )),
                Check::skipped("reachable"),
            ],
            Failure::Tls => vec![
                self.answers().took(latency),
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
                    format!("{host} was not found"),
                    "check the address for typos",
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
                format!("{host} did not answer within 10 seconds"),
                retry,
            )],
            Failure::Interrupted | Failure::Stale | Failure::Undecodable => {
                vec![failed_check(
                    "reachable",
                    "interrupted",
                    format!("{host} closed the connection early"),
                    retry,
                )]
            }
        };
        if self.is_https && failed.failure != Failure::Tls {
            checks.push(Check::skipped("tls"));
        }
        checks.push(Check::skipped("api"));
        checks
    }

    /// Returns the check of a web page with this status.
    pub fn web_page(&self, status: u16) -> Check {
        let text = format!(
            "the address returned a web page instead of the {} API",
            self.service
        );
        self.elsewhere("not_this_api", Kind::of_status(status), text)
    }

    /// Returns the check of a response that cannot be decompressed.
    fn undecodable(&self, failed: &TransportError) -> Check {
        let text = format!(
            "the response of {} cannot be decompressed: {failed}",
            self.service
        );
        Check::failed("api", Kind::DataInvalid, "undecodable", text).remedy(format!(
            "look for a proxy between this machine and {} that changes responses; without a proxy, the service has to \
             correct this",
            self.service
        ))
    }

    /// Returns the check of a response that the service never sends.
    pub fn not_this_api(&self) -> Check {
        let text = format!("the address does not answer like the {} API", self.service);
        self.elsewhere("not_this_api", Kind::DataInvalid, text)
    }

    /// Returns the check of a status that the service never sends, with the message of its body.
    pub fn refuses_question(&self, status: u16, detail: Option<&str>) -> Check {
        let detail = detail.map(|text| format!(": {text}")).unwrap_or_default();
        let text = format!("the address refuses the request (status {status}){detail}");
        self.elsewhere("not_this_api", Kind::of_status(status), text)
    }

    /// Returns the check of a 404: the path does not exist.
    pub fn wrong_path(&self) -> Check {
        let text = format!(
            "the address answers, but has no {} API at this path (status 404)",
            self.service
        );
        self.elsewhere("wrong_path", Kind::of_status(404), text)
    }

    /// Returns the check of a redirect to this origin, which the probe does not follow.
    pub fn redirected(&self, to: &str) -> Check {
        let text = format!("the address redirects to {to}; keys are not sent to another host");
        let check = self.elsewhere("redirected", Kind::of_status(302), text);
        // The check offers no origin where keys would travel in the clear.
        let is_as_safe = to.starts_with("https://") || !self.is_https && to.starts_with("http://");
        match is_as_safe {
            true => check.fact("origin", to),
            false => check,
        }
    }

    /// Returns the check of a service that asks to wait.
    pub fn throttled(&self, name: &str, wait: Duration) -> Check {
        let wait = wait.as_secs_f64().ceil().max(1.0) as u64;
        let text = format!(
            "{} asks to wait; the credentials were not tested",
            self.service
        );
        let remedy = format!(
            "try again in {wait} seconds, or stop other programs that use these credentials"
        );
        Check::failed(name, Kind::RateLimited, "throttled", text)
            .remedy(remedy)
            .fact("wait_seconds", wait)
    }

    /// Returns the check of a 5xx: the service has a problem.
    pub fn service_problem(&self, name: &str, status: u16) -> Check {
        let text = format!(
            "{} has a problem of its own (status {status}); the credentials were not tested",
            self.service
        );
        Check::failed(name, Kind::Unavailable, "service_problem", text)
            .remedy("your input is not the cause; try again later")
    }

    fn answers(&self) -> Check {
        Check::passed("reachable", format!("{} answered", self.host))
    }

    /// The kind equals that of a read that fails with the same response.
    fn elsewhere(&self, code: &'static str, kind: Kind, message: String) -> Check {
        let remedy = format!(
            "check the address; the form's default is the usual address of {}",
            self.service
        );
        Check::failed("api", kind, code, message)
            .at([self.address])
            .remedy(remedy)
    }
}
