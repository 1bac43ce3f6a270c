//! Faults on demand: what goes wrong, how often, and how it is written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Everything that shall go wrong. The default is that nothing does.
///
/// Faults apply to requests with good credentials that stay within the rate limits. A counted fault
/// goes off once per request until its count is used up; when several are set, they go off in the
/// order of the fields.
///
/// As JSON (for `POST /_sandbox/faults`) every field is optional and unknown ones are refused. As
/// text (for a command line) the faults are separated by commas:
///
/// ```
/// use headwater_sandbox::Faults;
///
/// let faults: Faults = "latency=200ms,status=503:3:/calls,stall=1,changing=5,deny=/scorecard"
///     .parse()?;
/// assert_eq!(faults.latency_ms, 200);
/// assert_eq!(faults.deny, ["/scorecard"]);
/// # Ok::<(), headwater_sandbox::FaultSyntaxError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Milliseconds to wait before each answer. Text: `latency=200ms` or `latency=2s`.
    pub latency_ms: u64,
    /// Answer some requests with an error status. Text: `status=503:3` or `status=503:3:/calls`.
    pub status: Option<StatusFault>,
    /// Reset the connection of the next so many requests after reading them (TCP RST).
    /// Text: `reset=2`.
    pub reset: u32,
    /// Never answer the next so many requests; the connection stays open until the client leaves.
    /// Text: `stall=1`.
    pub stall: u32,
    /// Announce a longer body than is sent, then close, for the next so many requests.
    /// Text: `truncate=1`.
    pub truncate: u32,
    /// Answer the next so many requests with status 200 and a login page in HTML. Text: `html=1`.
    pub html: u32,
    /// Answer the next so many requests with status 200 and `{"hello":"world"}`.
    /// Text: `other_json=1`.
    pub other_json: u32,
    /// Answer the next so many requests with status 200 and an `errorMessage`.
    /// Text: `error_body=1`.
    pub error_body: u32,
    /// Send some requests elsewhere. Text: `redirect=2:http://127.0.0.1:9000`.
    pub redirect: Option<RedirectFault>,
    /// Seconds to send as `Retry-After` with every 429, and with the answers of `status` unless it
    /// has its own. Text: `retry_after=2`.
    pub retry_after: Option<u64>,
    /// Prefixes of paths that answer 403, as for a missing permission.
    /// Text: `deny=/scorecard`, repeated for more.
    pub deny: Vec<String>,
    /// How many calls change their status after each request for `/calls`, so that the set shrinks
    /// while it is read below a fixed `filterModifiedLt`. clariBI: how many reports are added after
    /// each request for their list. Text: `changing=5`.
    pub changing: u64,
    /// Every so many calls have no `/call-details` (404); 0 for none. clariBI: the same for single
    /// records of every kind. Text: `missing_details=7`.
    pub missing_details: u64,
}

/// Requests answered with an error status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusFault {
    /// The HTTP status to answer, 200 to 599.
    pub code: u16,
    /// How many requests to answer so.
    pub next: u32,
    /// Only requests for paths with this prefix.
    #[serde(default)]
    pub path: Option<String>,
    /// Seconds to send as `Retry-After`.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

/// Requests answered with a redirection (status 302).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedirectFault {
    /// Where to, without a path: the path and the parameters of the request are appended.
    pub origin: String,
    /// How many requests to answer so.
    pub next: u32,
}

/// The faults that lie in the data, not in the transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataFaults {
    /// How many records change after each request for a list.
    pub(crate) changing: u64,
    /// Every so many records have no details; 0 for none.
    pub(crate) missing_details: u64,
}

/// What a fault does to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    Deny,
    Status { code: u16, retry_after: Option<u64> },
    Reset,
    Stall,
    Truncate,
    Html,
    OtherJson,
    ErrorBody,
    Redirect { origin: String },
}

impl Faults {
    pub(crate) fn of_data(&self) -> DataFaults {
        DataFaults {
            changing: self.changing,
            missing_details: self.missing_details,
        }
    }

    /// Decides on one request and counts down the fault that goes off.
    pub(crate) fn take(&mut self, path: &str) -> Effect {
        if self.deny.iter().any(|prefix| path.starts_with(prefix)) {
            return Effect::Deny;
        }
        if let Some(status) = &mut self.status {
            let prefix = status.path.as_deref().unwrap_or_default();
            if path.starts_with(prefix) && count_down(&mut status.next) {
                return Effect::Status {
                    code: status.code,
                    retry_after: status.retry_after.or(self.retry_after),
                };
            }
        }
        let counted = [
            (&mut self.reset, Effect::Reset),
            (&mut self.stall, Effect::Stall),
            (&mut self.truncate, Effect::Truncate),
            (&mut self.html, Effect::Html),
            (&mut self.other_json, Effect::OtherJson),
            (&mut self.error_body, Effect::ErrorBody),
        ];
        for (remaining, effect) in counted {
            if count_down(remaining) {
                return effect;
            }
        }
        if let Some(redirect) = &mut self.redirect
            && count_down(&mut redirect.next)
        {
            let origin = redirect.origin.clone();
            return Effect::Redirect { origin };
        }
        Effect::None
    }
}

fn count_down(remaining: &mut u32) -> bool {
    if *remaining == 0 {
        return false;
    }
    *remaining -= 1;
    true
}

/// A text that does not describe faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSyntaxError {
    part: String,
    reason: String,
}

impl FaultSyntaxError {
    /// The part of the text, between two commas, that is not understood.
    pub fn part(&self) -> &str {
        &self.part
    }
}

impl fmt::Display for FaultSyntaxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "fault {:?}: {}", self.part, self.reason)
    }
}

impl std::error::Error for FaultSyntaxError {}

impl FromStr for Faults {
    type Err = FaultSyntaxError;

    /// Reads faults separated by commas; blanks around them are ignored, and so is an empty text.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut faults = Self::default();
        for part in text.split(',').map(str::trim) {
            if part.is_empty() {
                continue;
            }
            faults.set(part).map_err(|reason| FaultSyntaxError {
                part: part.to_owned(),
                reason,
            })?;
        }
        Ok(faults)
    }
}

impl Faults {
    fn set(&mut self, part: &str) -> Result<(), String> {
        let (name, value) = part
            .split_once('=')
            .ok_or("expected a name, an equals sign and a value")?;
        match name {
            "latency" => self.latency_ms = milliseconds(value)?,
            "status" => self.status = Some(status(value)?),
            "reset" => self.reset = number(value)?,
            "stall" => self.stall = number(value)?,
            "truncate" => self.truncate = number(value)?,
            "html" => self.html = number(value)?,
            "other_json" => self.other_json = number(value)?,
            "error_body" => self.error_body = number(value)?,
            "redirect" => self.redirect = Some(redirect(value)?),
            "retry_after" => self.retry_after = Some(number(value)?),
            "deny" => self.deny.push(path(value)?),
            "changing" => self.changing = number(value)?,
            "missing_details" => self.missing_details = number(value)?,
            _ => {
                return Err(format!(
                    "there is no fault {name:?}; the faults are latency, status, reset, stall, \
                     truncate, html, other_json, error_body, redirect, retry_after, deny, \
                     changing and missing_details"
                ));
            }
        }
        Ok(())
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a whole number in range"))
}

fn milliseconds(text: &str) -> Result<u64, String> {
    if let Some(count) = text.strip_suffix("ms") {
        return number(count);
    }
    if let Some(count) = text.strip_suffix('s') {
        let seconds: u64 = number(count)?;
        return Ok(seconds.saturating_mul(1_000));
    }
    Err(format!(
        "{text:?} is not a duration such as \"200ms\" or \"2s\""
    ))
}

fn status(text: &str) -> Result<StatusFault, String> {
    let mut fields = text.splitn(3, ':');
    let code: u16 = number(fields.next().unwrap_or_default())?;
    if !is_possible_status(code) {
        return Err(format!("{code} is not an HTTP status from 200 to 599"));
    }
    let next = fields
        .next()
        .ok_or("expected a status, a colon and a count")?;
    Ok(StatusFault {
        code,
        next: number(next)?,
        path: fields.next().map(path).transpose()?,
        retry_after: None,
    })
}

/// Whether a status can be the final one of an answer.
pub(crate) fn is_possible_status(code: u16) -> bool {
    (200..600).contains(&code)
}

fn redirect(text: &str) -> Result<RedirectFault, String> {
    let (next, origin) = text
        .split_once(':')
        .ok_or("expected a count, a colon and an origin")?;
    Ok(RedirectFault {
        origin: origin.to_owned(),
        next: number(next)?,
    })
}

fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("{text:?} is not a path that starts with a slash"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_can_be_written_as_text() {
        let text = "latency=200ms, status=503:3:/calls, reset=2, stall=1, truncate=4, html=5, \
                    other_json=6, error_body=7, redirect=8:http://127.0.0.1:9, retry_after=9, \
                    deny=/a, deny=/b, changing=10, missing_details=11";
        let expected = Faults {
            latency_ms: 200,
            status: Some(StatusFault {
                code: 503,
                next: 3,
                path: Some("/calls".to_owned()),
                retry_after: None,
            }),
            reset: 2,
            stall: 1,
            truncate: 4,
            html: 5,
            other_json: 6,
            error_body: 7,
            redirect: Some(RedirectFault {
                origin: "http://127.0.0.1:9".to_owned(),
                next: 8,
            }),
            retry_after: Some(9),
            deny: vec!["/a".to_owned(), "/b".to_owned()],
            changing: 10,
            missing_details: 11,
        };
        assert_eq!(text.parse(), Ok(expected));
        assert_eq!("".parse(), Ok(Faults::default()));
        assert_eq!("latency=2s".parse::<Faults>().unwrap().latency_ms, 2_000);
    }

    #[test]
    fn the_bad_part_of_a_text_is_named() {
        for part in [
            "statu=503:1",
            "status=503",
            "status=99:1",
            "status=503:x",
            "status=503:1:calls",
            "latency=200",
            "reset",
            "reset=-1",
            "redirect=http",
            "deny=users",
        ] {
            let error = format!("html=1,{part},stall=1")
                .parse::<Faults>()
                .unwrap_err();
            assert_eq!(error.part(), part);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn counted_faults_go_off_one_at_a_time() {
        let mut faults: Faults = "status=500:1:/calls,reset=1,html=1,deny=/scorecard"
            .parse()
            .unwrap();
        assert_eq!(faults.take("/users"), Effect::Reset);
        assert_eq!(faults.take("/scorecard-template"), Effect::Deny);
        assert!(matches!(
            faults.take("/calls"),
            Effect::Status { code: 500, .. }
        ));
        assert_eq!(faults.take("/calls"), Effect::Html);
        assert_eq!(faults.take("/calls"), Effect::None);
    }
}
