//! Reads the wait that a service requests, in every header and spelling that services use.
//!
//! RFC 9110 defines seconds and three forms of dates. Services also send fractions, milliseconds, units, ISO 8601, and
//! resets as moments (in seconds, or in milliseconds) or as seconds from now. Moments count from the service's own
//! time.

use std::time::{Duration, SystemTime};

use headwater_core::{SignedDuration, Timestamp, one_line};
use http::{HeaderMap, header::RETRY_AFTER};

/// The maximum wait, a year: longer ones may overflow a clock.
const MAX_WAIT: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The maximum reset: a later one belongs to no limit on requests.
const MAX_RESET: Duration = Duration::from_secs(24 * 60 * 60);

/// From this number on, a wait is a moment: as a wait it would exceed thirty years.
const MIN_MOMENT_OF_WAIT: f64 = 1e9;
/// The same for a reset, which may be either: 1973 in seconds since 1970, or three years.
const MIN_MOMENT_OF_RESET: f64 = 1e8;

/// The number of shown characters of an unreadable value.
const MAX_SHOWN: usize = 40;

/// Headers with a wait in milliseconds.
const IN_MILLIS: &[&str] = &["retry-after-ms", "x-ms-retry-after-ms"];

/// Headers with a reset, in addition to those that a connector names.
const RESETS: &[&str] = &[
    "ratelimit-reset",
    "x-ratelimit-reset",
    "x-rate-limit-reset",
    "x-ratelimit-reset-after",
    "x-rate-limit-reset-after",
    "x-ratelimit-reset-requests",
    "x-ratelimit-retry-after",
];

/// Headers with the remaining requests, in addition to those that a connector names.
const REMAINING: &[&str] = &[
    "ratelimit-remaining",
    "x-ratelimit-remaining",
    "x-rate-limit-remaining",
    "x-ratelimit-remaining-requests",
];

/// A header with several numbers: `limit=10, remaining=0, reset=7` or `"default";r=0;t=7`.
const RATE_LIMIT: &str = "ratelimit";

/// The wait that a response requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RequestedWait {
    /// The time to wait; `None` if the response does not state it.
    pub(crate) delay: Option<Duration>,
    /// A header with an unreadable value, and the value. It counts as absent.
    pub(crate) unread: Option<(&'static str, String)>,
}

impl RequestedWait {
    fn take(&mut self, header: &'static str, text: &str, read: Option<Duration>) {
        match read {
            Some(delay) => self.delay = self.delay.max(Some(delay)),
            None => {
                self.unread
                    .get_or_insert((header, one_line(text, MAX_SHOWN)));
            }
        }
    }

    /// Returns the other wait if this one is empty.
    fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        if self.delay.is_some() {
            return self;
        }
        let other = other();
        Self {
            delay: other.delay,
            unread: self.unread.or(other.unread),
        }
    }
}

/// Returns the delay that the service requests for any reason: `Retry-After` and its variants. `now` is the time of the
/// response. Of several values the longest counts.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> RequestedWait {
    let mut requested = RequestedWait::default();
    for text in texts(headers, RETRY_AFTER.as_str()) {
        let read = several(text, |one| delay(one, now, MIN_MOMENT_OF_WAIT));
        requested.take("retry-after", text, read);
    }
    for name in IN_MILLIS {
        for text in texts(headers, name) {
            let read = several(text, |one| seconds(number(one)? / 1000.0));
            requested.take(name, text, read);
        }
    }
    requested.delay = requested.delay.map(|delay| delay.min(MAX_WAIT));
    requested
}

/// Returns whether a response requests a delay, readable or not.
pub(crate) fn is_requested(headers: &HeaderMap) -> bool {
    let mut names = [RETRY_AFTER.as_str()]
        .into_iter()
        .chain(IN_MILLIS.iter().copied());
    names.any(|name| headers.contains_key(name))
}

/// Returns the delay of a response that refuses for a rate limit: that of [`retry_after`], otherwise the reset of a
/// used-up limit. `own` are the headers of the connector, with that of the reset last.
pub(crate) fn throttled(
    headers: &HeaderMap,
    own: Option<[&'static str; 2]>,
    now: Timestamp,
) -> RequestedWait {
    retry_after(headers, now).or_else(|| {
        // A limit with remaining requests is not the refusing one.
        match remaining(headers, own.map(|[remaining, _]| remaining)) {
            Some(left) if left > 0.0 => RequestedWait::default(),
            _ => resets(headers, own.map(|[_, reset]| reset), now),
        }
    })
}

/// Returns the lowest number of remaining requests of all headers; `None` without such a header.
pub(crate) fn remaining(headers: &HeaderMap, own: Option<&str>) -> Option<f64> {
    let names = own.into_iter().chain(REMAINING.iter().copied());
    let counts = names.flat_map(|name| texts(headers, name)).filter_map(left);
    let both = texts(headers, RATE_LIMIT).filter_map(|text| member(text, &["r", "remaining"]));
    counts.chain(both).min_by(f64::total_cmp)
}

/// Returns the time until the reset in a header.
pub(crate) fn reset(headers: &HeaderMap, name: &str, now: Timestamp) -> Option<Duration> {
    let text = texts(headers, name).next()?;
    read_reset(text, now)
}

/// Returns the remaining requests in one header.
pub(crate) fn left_by(headers: &HeaderMap, name: &str) -> Option<f64> {
    texts(headers, name).next().and_then(left)
}

fn resets(headers: &HeaderMap, own: Option<&'static str>, now: Timestamp) -> RequestedWait {
    let mut requested = RequestedWait::default();
    for name in own.into_iter().chain(RESETS.iter().copied()) {
        for text in texts(headers, name) {
            requested.take(name, text, read_reset(text, now));
        }
    }
    for text in texts(headers, RATE_LIMIT) {
        if let Some(seconds) = member(text, &["t", "reset"]).and_then(seconds) {
            requested.take(RATE_LIMIT, text, Some(seconds.min(MAX_RESET)));
        }
    }
    requested
}

fn read_reset(text: &str, now: Timestamp) -> Option<Duration> {
    let delay = several(text, |one| delay(one, now, MIN_MOMENT_OF_RESET))?;
    Some(delay.min(MAX_RESET))
}

fn texts<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.map(trimmed).filter(|text| !text.is_empty())
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'')
}

fn left(text: &str) -> Option<f64> {
    let first = trimmed(text.split(',').next()?);
    match first.strip_prefix('-') {
        Some(below) => number(below).map(|number| -number),
        None => number(first),
    }
}

/// Reads one number of a header with several: `r=0` of `"default";r=0;t=7`.
fn member(text: &str, names: &[&str]) -> Option<f64> {
    text.split([',', ';']).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let is_it = names.contains(&name.trim().to_ascii_lowercase().as_str());
        is_it.then(|| number(trimmed(value)))?
    })
}

/// Reads one value, or the longest of a list. Dates contain a comma themselves.
fn several(text: &str, read: impl Fn(&str) -> Option<Duration>) -> Option<Duration> {
    read(text).or_else(|| text.split(',').filter_map(|one| read(trimmed(one))).max())
}

/// Reads a number of seconds, a time with its unit, or a moment.
fn delay(text: &str, now: Timestamp, earliest: f64) -> Option<Duration> {
    if let Some(number) = number(text) {
        return match moment(number, earliest) {
            // Both sides are cut to whole seconds.
            Some(seconds_since_1970) => {
                seconds((seconds_since_1970 - now.as_second() as f64 + 1.0).max(0.0))
            }
            None => seconds(number),
        };
    }
    if let Some(moment) = date(text) {
        return Some(moment.duration_since(now.into()).unwrap_or_default());
    }
    // `60s`, `1m30s`, `PT1M`.
    text.parse::<SignedDuration>().ok()?.try_into().ok()
}

/// Returns the number as seconds since 1970, if it is a moment.
fn moment(number: f64, earliest: f64) -> Option<f64> {
    match number {
        n if n < earliest => None,
        n if n < 1e11 => Some(n),
        n if n < 1e14 => Some(n / 1e3),
        n if n < 1e17 => Some(n / 1e6),
        n => Some(n / 1e9),
    }
}

fn date(text: &str) -> Option<SystemTime> {
    let as_http = httpdate::parse_http_date(text).ok();
    as_http.or_else(|| text.parse::<Timestamp>().ok().map(SystemTime::from))
}

/// Reads digits, optionally with a fraction. Rust's other numbers (`inf`, `1e9`) are not numbers here.
fn number(text: &str) -> Option<f64> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_plain.then(|| text.parse().ok())?
}

fn seconds(seconds: f64) -> Option<Duration> {
    let max = MAX_WAIT.as_secs_f64();
    Duration::try_from_secs_f64(seconds.min(max)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-22T08:00:00Z";

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    #[test]
    fn every_spelling_of_a_wait_is_read() {
        let millis = |millis| Some(Duration::from_millis(millis));
        let year = Some(MAX_WAIT);
        for (text, expected) in [
            ("7", millis(7000)),
            (" 7 ", millis(7000)),
            ("\"7\"", millis(7000)),
            ("0", millis(0)),
            ("1.5", millis(1500)),
            ("120, 60", millis(120_000)),
            ("60s", millis(60_000)),
            ("60 seconds", millis(60_000)),
            ("2m", millis(120_000)),
            ("1m30s", millis(90_000)),
            ("1m 30s", millis(90_000)),
            ("500ms", millis(500)),
            ("PT1M30S", millis(90_000)),
            ("1h", millis(3_600_000)),
            // The three forms of RFC 9110.
            ("Sun, 22 Nov 2026 08:01:00 GMT", millis(60_000)),
            ("Sunday, 22-Nov-26 08:01:00 GMT", millis(60_000)),
            ("Sun Nov 22 08:01:00 2026", millis(60_000)),
            ("Sun, 22 Nov 2026 07:00:00 GMT", millis(0)),
            ("2026-11-22T08:01:00Z", millis(60_000)),
            ("2026-11-22T09:01:00.500+01:00", millis(60_500)),
            ("2026-11-22 08:01:00Z", millis(60_000)),
            // Moments: in seconds, and in milliseconds. One second more for the omitted fraction.
            ("1795334460", millis(61_000)),
            ("1795334460000", millis(61_000)),
            ("1795330000", millis(0)),
            // Never beyond a year.
            ("999999999", year),
            ("18446744073709551615", year),
            ("99999999999999999999999999999999", year),
            ("Fri, 31 Dec 9999 23:59:59 GMT", year),
            ("9999-12-01T00:00:00Z", year),
        ] {
            let requested = retry_after(&headers(&[("retry-after", text)]), now());
            assert_eq!(
                (requested.delay, requested.unread),
                (expected, None),
                "{text}"
            );
        }
        for text in [
            "soon",
            "-1",
            "-60s",
            "inf",
            "nan",
            "1e9",
            "0x10",
            "7 apples",
            "1.2.3",
            ".",
            "12:00",
            "2026-11-22T08:01:00",
            "+7",
        ] {
            let requested = retry_after(&headers(&[("retry-after", text)]), now());
            let unread = Some(("retry-after", text.to_owned()));
            assert_eq!(
                (requested.delay, requested.unread),
                (None, unread),
                "{text}"
            );
        }
        let requested = retry_after(&headers(&[("retry-after", "")]), now());
        assert_eq!(requested, RequestedWait::default());
    }

    #[test]
    fn of_several_headers_the_longest_counts() {
        for (values, expected) in [
            (&[("retry-after-ms", "1500")][..], 1500),
            (&[("retry-after-ms", "1500.5")], 1500),
            (&[("retry-after-ms", "1500"), ("retry-after", "2")], 2000),
            (
                &[("x-ms-retry-after-ms", "700"), ("retry-after", "soon")],
                700,
            ),
            (&[("retry-after", "3"), ("retry-after", "5")], 5000),
            (&[("retry-after", "soon"), ("retry-after", "5")], 5000),
            // The requested wait, not the reset of another limit.
            (&[("retry-after", "5"), ("x-ratelimit-reset", "3600")], 5000),
        ] {
            let requested = throttled(&headers(values), None, now());
            let delay = requested.delay.map(|delay| delay.as_millis());
            assert_eq!(delay, Some(expected), "{values:?}");
        }
    }

    #[test]
    fn a_reset_is_a_moment_or_a_time_from_now() {
        let day = MAX_RESET.as_secs();
        for (name, text, expected) in [
            ("x-ratelimit-reset", "30", Some(30)),
            ("x-ratelimit-reset", "1795334460", Some(61)),
            ("x-ratelimit-reset", "1795334460000", Some(61)),
            ("x-ratelimit-reset", "1795334400.5", Some(1)),
            ("x-ratelimit-reset", "2026-11-22T08:01:00Z", Some(60)),
            ("x-ratelimit-reset", "999999000", Some(0)),
            ("x-ratelimit-reset", "9223372036854775807", Some(day)),
            ("x-ratelimit-reset", "-5", None),
            ("x-ratelimit-reset", "later", None),
            ("x-ratelimit-reset-after", "7", Some(7)),
            ("x-rate-limit-reset", "1795334460", Some(61)),
            ("ratelimit-reset", "12", Some(12)),
            ("x-ratelimit-reset-requests", "6m0s", Some(360)),
            ("ratelimit", "limit=10, remaining=0, reset=7", Some(7)),
            ("ratelimit", "\"default\";r=0;t=30", Some(30)),
            ("ratelimit", "\"default\";r=5;t=30", None),
        ] {
            let requested = throttled(&headers(&[(name, text)]), None, now());
            let delay = requested.delay.map(|delay| delay.as_secs());
            assert_eq!(delay, expected, "{name}: {text}");
        }
        let left = |text| {
            let headers = headers(&[("x-ratelimit-remaining", text), ("x-ratelimit-reset", "30")]);
            let requested = throttled(&headers, None, now());
            requested.delay.map(|delay| delay.as_secs())
        };
        assert_eq!(left("0"), Some(30));
        assert_eq!(left("-3"), Some(30));
        assert_eq!(left("many"), Some(30));
        assert_eq!(left("5"), None, "another limit refuses");
        let own = headers(&[("x-left", "0"), ("x-again", "9")]);
        let requested = throttled(&own, Some(["x-left", "x-again"]), now());
        assert_eq!(requested.delay, Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_shown_in_short() {
        let long = "x".repeat(10_000);
        let requested = retry_after(&headers(&[("retry-after", &long)]), now());
        assert_eq!(requested.unread.unwrap().1.len(), MAX_SHOWN);
    }
}
