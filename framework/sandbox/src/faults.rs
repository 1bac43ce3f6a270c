//! Faults on demand: their kinds, their counts and their syntax.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::random::{Purpose, Rolls};

/// The faults of a sandbox. The default is no fault.
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
    /// Accept only n requests within any second, from now on; answer the others with 429. For a limit
    /// that changes while a client reads. Text: `per_second=3`.
    pub per_second: Option<u32>,
    /// Let some requests fail at random, each in one of the ways in which services do.
    /// Text: `random=10:7` or `random=10:7:/calls`, 10 of 100 with the seed 7.
    pub random: Option<RandomFault>,
    /// Answer some requests with a status and no data. Text: `status=503:3`,
    /// `status=503:3:/calls` or `status=503:3:/calls?skip=200`.
    pub status: Option<StatusFault>,
    /// Reset the connection of the next n requests after reading them (TCP RST).
    /// Text: `reset=2`.
    pub reset: u32,
    /// Never answer the next n requests; the connection stays open until the client leaves.
    /// Text: `stall=1`.
    pub stall: u32,
    /// Announce a longer body than is sent, then close, for the next n requests.
    /// Text: `truncate=1`.
    pub truncate: u32,
    /// Answer the next n requests with status 200 and a login page in HTML. Text: `html=1`.
    pub html: u32,
    /// Answer the next n requests with status 200 and `{"hello":"world"}`.
    /// Text: `other_json=1`.
    pub other_json: u32,
    /// Answer the next n requests with status 200 and an `errorMessage`.
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
    /// Every n-th call has no `/call-details` (404); 0 for none. clariBI: the same for single
    /// records of every kind. Text: `missing_details=7`.
    pub missing_details: u64,
    /// Seconds by which the service's clock is ahead; behind, where they are negative. `Date` shows it
    /// from now on; the records of a simulator that starts with it are of that time. Text:
    /// `clock=-3600`.
    pub clock: i64,
}

/// Requests answered with an error status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusFault {
    /// The HTTP status to answer, 200 to 599.
    pub code: u16,
    /// How many requests to answer so.
    pub next: u32,
    /// Only requests for paths with this prefix; after a question mark, one of the parameters, as
    /// it is sent.
    #[serde(default)]
    pub path: Option<String>,
    /// Seconds to send as `Retry-After`.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

/// Requests that fail at random, by a seed: with 429, 500, 502 or 503, by a reset, or half way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomFault {
    /// How many of 100 requests fail.
    pub percent: u8,
    /// Decides which ones, and how.
    pub seed: u64,
    /// The number of decided requests.
    #[serde(default)]
    pub decided: u64,
    /// Only requests to paths that start with this fail.
    #[serde(default)]
    pub path: Option<String>,
}

impl RandomFault {
    fn take(&mut self, path: &str, query: &str) -> Option<Effect> {
        if !is_meant(self.path.as_deref().unwrap_or_default(), path, query) {
            return None;
        }
        let mut rolls = Rolls::new(self.seed, Purpose::Fault, self.decided);
        self.decided += 1;
        if !rolls.chance(u64::from(self.percent)) {
            return None;
        }
        let status = |code| Effect::Status {
            code,
            retry_after: None,
        };
        Some(match rolls.below(6) {
            0 => status(429),
            1 => status(500),
            2 => status(502),
            3 => status(503),
            4 => Effect::Reset,
            _ => Effect::Truncate,
        })
    }
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

/// The faults in the data, not in the transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataFaults {
    /// How many records change after each request for a list.
    pub(crate) changing: u64,
    /// Every n-th record has no details; 0 for none.
    pub(crate) missing_details: u64,
}

/// The effect of a fault on one request.
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
    /// The time by the service's clock.
    pub(crate) fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(SignedDuration::from_secs(self.clock))
            .unwrap_or(now)
    }

    pub(crate) fn of_data(&self) -> DataFaults {
        DataFaults {
            changing: self.changing,
            missing_details: self.missing_details,
        }
    }

    /// Decides on one request and counts down the fault that goes off.
    pub(crate) fn take(&mut self, path: &str, query: &str) -> Effect {
        if self.deny.iter().any(|prefix| path.starts_with(prefix)) {
            return Effect::Deny;
        }
        if let Some(status) = &mut self.status {
            let wanted = status.path.as_deref().unwrap_or_default();
            if is_meant(wanted, path, query) && count_down(&mut status.next) {
                return Effect::Status {
                    code: status.code,
                    retry_after: status.retry_after.or(self.retry_after),
                };
            }
        }
        let random = self.random.as_mut();
        if let Some(effect) = random.and_then(|random| random.take(path, query)) {
            return effect;
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

/// Whether a fault for `wanted` applies to this request.
fn is_meant(wanted: &str, path: &str, query: &str) -> bool {
    let Some((prefix, parameter)) = wanted.split_once('?') else {
        return path.starts_with(wanted);
    };
    path.starts_with(prefix) && query.split('&').any(|one| one == parameter)
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
    /// The invalid part of the text, between two commas.
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
            "per_second" => self.per_second = Some(number(value)?),
            "random" => self.random = Some(random(value)?),
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
            "clock" => self.clock = number(value)?,
            _ => {
                return Err(format!(
                    "there is no fault {name:?}; the faults are latency, per_second, random, status, \
                     reset, stall, truncate, html, other_json, error_body, redirect, retry_after, deny, \
                     changing, missing_details and clock"
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

fn random(text: &str) -> Result<RandomFault, String> {
    let mut fields = text.splitn(3, ':');
    let percent = number(fields.next().unwrap_or_default())?;
    let seed = fields
        .next()
        .ok_or("expected a percentage, a colon and a seed")?;
    if percent > 100 {
        return Err(format!("{percent} is more than 100 percent"));
    }
    Ok(RandomFault {
        percent,
        seed: number(seed)?,
        decided: 0,
        path: fields.next().map(path).transpose()?,
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
        let text = "latency=200ms, per_second=3, random=10:7:/users, status=503:3:/calls, reset=2, stall=1, truncate=4, html=5, \
                    other_json=6, error_body=7, redirect=8:http://127.0.0.1:9, retry_after=9, \
                    deny=/a, deny=/b, changing=10, missing_details=11, clock=-12";
        let expected = Faults {
            latency_ms: 200,
            per_second: Some(3),
            random: Some(RandomFault {
                percent: 10,
                seed: 7,
                decided: 0,
                path: Some("/users".to_owned()),
            }),
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
            clock: -12,
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
            "random=10",
            "random=101:1",
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
        assert_eq!(faults.take("/users", ""), Effect::Reset);
        assert_eq!(faults.take("/scorecard-template", ""), Effect::Deny);
        assert!(matches!(
            faults.take("/calls", ""),
            Effect::Status { code: 500, .. }
        ));
        assert_eq!(faults.take("/calls", ""), Effect::Html);
        assert_eq!(faults.take("/calls", ""), Effect::None);
    }

    #[test]
    fn a_status_can_be_for_one_page() {
        let mut faults: Faults = "status=500:9:/calls?skip=200".parse().unwrap();
        let mut is_meant = |path, query| faults.take(path, query) != Effect::None;
        assert!(is_meant("/calls", "limit=100&skip=200"));
        assert!(!is_meant("/calls", "limit=100&skip=2000"));
        assert!(!is_meant("/users", "skip=200"));
        assert!(!is_meant("/calls", ""));
    }

    #[test]
    fn random_faults_are_as_many_as_asked_for_and_the_same_for_a_seed() {
        let effects = |text: &str| {
            let mut faults: Faults = text.parse().unwrap();
            (0..1_000)
                .map(|_| faults.take("/calls", ""))
                .collect::<Vec<_>>()
        };
        let some = effects("random=20:7");
        let failed = some.iter().filter(|one| **one != Effect::None).count();
        assert!((150..250).contains(&failed), "{failed}");
        for effect in [Effect::Reset, Effect::Truncate] {
            assert!(some.contains(&effect));
        }
        assert_eq!(some, effects("random=20:7"));
        assert_ne!(some, effects("random=20:8"));
        assert_eq!(some, effects("random=20:7:/calls"));
        let none = effects("random=100:7:/users");
        assert!(none.iter().all(|one| *one == Effect::None));
    }
}
