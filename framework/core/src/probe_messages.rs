//! What the first request of a probe can meet, in words: the same whoever meets it.

use std::time::Duration;

use crate::{
    error::Kind,
    probe::Check,
    transport::{Failure, TransportError},
};

/// Whom a probe asks: what its checks name.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The service, for people.
    pub service: &'a str,
    /// The host of its address.
    pub host: &'a str,
    /// Whether it is asked over TLS.
    pub is_https: bool,
    /// JSON Pointer of the field with the address.
    pub address: &'a str,
}

impl Target<'_> {
    /// The checks of a request that was answered, whatever the answer.
    pub fn reached(&self, latency: Duration) -> Vec<Check> {
        let mut checks = vec![self.answers().took(latency)];
        if self.is_https {
            let text = format!("the certificate of {} is valid", self.host);
            checks.push(Check::passed("tls", text));
        }
        checks
    }

    /// The service that was meant answers.
    pub fn right_service(&self) -> Check {
        Check::passed("api", format!("the address is that of {}", self.service))
    }

    /// The checks of a request without an answer, up to `api`.
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
            // The same for every address, and without a time: neither says what was found there.
            Failure::NotAllowed => vec![
                Check::failed("address", Kind::ConfigInvalid, "not_allowed", failed.to_string())
                    .at([self.address])
                    .remedy(format!(
                        "use the address of {} that the form has as its default; for another one, ask the operator of \
                         this installation to allow its host with --allow-host",
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
            Failure::Interrupted | Failure::Stale | Failure::Undecodable => {
                vec![failed_check(
                    "reachable",
                    "interrupted",
                    format!("{host} broke off the connection"),
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

    /// A page for people came back, with this status.
    pub fn web_page(&self, status: u16) -> Check {
        let text = format!(
            "the address answers with a web page, not like {}",
            self.service
        );
        self.elsewhere("not_this_api", Kind::of_status(status), text)
    }

    /// An answer came back whose compressed bytes cannot be read.
    fn undecodable(&self, failed: &TransportError) -> Check {
        let text = format!(
            "the answer of {} cannot be decompressed: {failed}",
            self.service
        );
        Check::failed("api", Kind::DataInvalid, "undecodable", text).remedy(format!(
            "look for a proxy between this machine and {} that changes answers; if there is none, it has to be mended there",
            self.service
        ))
    }

    /// An answer came back that the service never gives.
    pub fn not_this_api(&self) -> Check {
        let text = format!("the address answers, but not like {}", self.service);
        self.elsewhere("not_this_api", Kind::DataInvalid, text)
    }

    /// A status came back that the service never gives, with what its body said.
    pub fn refuses_question(&self, status: u16, said: Option<&str>) -> Check {
        let said = said.map(|text| format!(": {text}")).unwrap_or_default();
        let text = format!("the address refuses the question (status {status}){said}");
        self.elsewhere("not_this_api", Kind::of_status(status), text)
    }

    /// 404: nothing is there.
    pub fn wrong_path(&self) -> Check {
        let text = format!(
            "the address answers, but {} is not there (status 404)",
            self.service
        );
        self.elsewhere("wrong_path", Kind::of_status(404), text)
    }

    /// The answer leads to this origin, which is not followed.
    pub fn redirected(&self, to: &str) -> Check {
        let text = format!("the address forwards to {to}; keys are not sent to another host");
        let check = self.elsewhere("redirected", Kind::of_status(302), text);
        // Where keys would be sent in the clear nobody is led.
        let is_as_safe = to.starts_with("https://") || !self.is_https && to.starts_with("http://");
        match is_as_safe {
            true => check.fact("origin", to),
            false => check,
        }
    }

    /// The service asks to wait.
    pub fn throttled(&self, name: &str, wait: Duration) -> Check {
        let wait = wait.as_secs_f64().ceil().max(1.0) as u64;
        let text = format!(
            "{} asks to wait; the credentials were not judged",
            self.service
        );
        let remedy =
            format!("try again in {wait} seconds, or stop what else uses these credentials");
        Check::failed(name, Kind::RateLimited, "throttled", text)
            .remedy(remedy)
            .fact("wait_seconds", wait)
    }

    /// 5xx: the service has a problem.
    pub fn service_problem(&self, name: &str, status: u16) -> Check {
        let text = format!(
            "{} has a problem of its own (status {status}); the credentials were not judged",
            self.service
        );
        Check::failed(name, Kind::Unavailable, "service_problem", text)
            .remedy("nothing is wrong with your input; try again later")
    }

    fn answers(&self) -> Check {
        Check::passed("reachable", format!("{} answers", self.host))
    }

    /// The kind is the one that a read fails with for the same answer.
    fn elsewhere(&self, code: &'static str, kind: Kind, message: String) -> Check {
        let remedy = format!(
            "check the address; the usual one is shown as the default of the form for {}",
            self.service
        );
        Check::failed("api", kind, code, message)
            .at([self.address])
            .remedy(remedy)
    }
}
