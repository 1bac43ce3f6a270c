//! Checking query parameters.
//!
//! The names, types, ranges and defaults are the vendor document's, and so is the status 400 for a
//! bad value; the wording of the 400 body is proposed (not seen live). Parameters that the document
//! does not name are tolerated, as observed live.

use std::ops::RangeInclusive;

use jiff::Timestamp;

use crate::instant::parse_instant;
use crate::query::Query;

/// A parameter (or body field) whose value the API refuses with status 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) parameter: String,
}

impl Invalid {
    pub(crate) fn new(parameter: &str) -> Self {
        Self {
            parameter: parameter.to_owned(),
        }
    }
}

/// An open interval: both bounds are excluded, both are optional.
///
/// The vendor document leaves open whether the bounds are included; strict bounds are proposed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Values must be greater than this.
    pub(crate) after: Option<i64>,
    /// Values must be less than this.
    pub(crate) before: Option<i64>,
}

impl Window {
    pub(crate) fn contains(&self, value: i64) -> bool {
        self.after.is_none_or(|after| value > after)
            && self.before.is_none_or(|before| value < before)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.after.is_none() && self.before.is_none()
    }
}

/// Which way a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

impl Query {
    /// Every value of a repeatable parameter, each of which must be one of `allowed`.
    pub(crate) fn all_of(&self, name: &str, allowed: &[&str]) -> Result<Vec<String>, Invalid> {
        let values = self.all(name);
        let all_known = values.iter().all(|value| allowed.contains(&value.as_str()));
        if !all_known {
            return Err(Invalid::new(name));
        }
        Ok(values)
    }

    /// A required parameter, which must not be empty.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Invalid> {
        self.first(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Invalid::new(name))
    }

    /// An optional integer within `range`.
    pub(crate) fn integer(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Invalid> {
        let Some(text) = self.first(name) else {
            return Ok(None);
        };
        let number: u64 = text.parse().map_err(|_| Invalid::new(name))?;
        if !range.contains(&number) {
            return Err(Invalid::new(name));
        }
        Ok(Some(number))
    }

    /// `true` or `false`, with a default.
    pub(crate) fn boolean(&self, name: &str, default: bool) -> Result<bool, Invalid> {
        match self.first(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(Invalid::new(name)),
        }
    }

    /// `true`, `false`, `1` or `0`; false when absent. Only `includePrivate` has this type.
    pub(crate) fn boolean_or_digit(&self, name: &str) -> Result<bool, Invalid> {
        match self.first(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(Invalid::new(name)),
        }
    }

    /// `asc` or `desc`.
    pub(crate) fn direction(&self, name: &str) -> Result<Option<Direction>, Invalid> {
        match self.first(name) {
            None => Ok(None),
            Some("asc") => Ok(Some(Direction::Ascending)),
            Some("desc") => Ok(Some(Direction::Descending)),
            Some(_) => Err(Invalid::new(name)),
        }
    }

    /// The window of `<prefix>Gt` and `<prefix>Lt` as milliseconds since the Unix epoch.
    pub(crate) fn time_window(&self, prefix: &str) -> Result<Window, Invalid> {
        let greater = format!("{prefix}Gt");
        let less = format!("{prefix}Lt");
        // Record times have whole milliseconds. Rounding the lower bound down and the upper one up
        // therefore keeps strict comparison exact for bounds with finer fractions.
        let after = self.instant(&greater)?.map(floor_milliseconds);
        let before = self.instant(&less)?.map(ceil_milliseconds);
        Ok(Window { after, before })
    }

    /// The window of `<prefix>Gt` and `<prefix>Lt` as integers within `range`.
    pub(crate) fn integer_window(
        &self,
        prefix: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Window, Invalid> {
        let after = self.integer(&format!("{prefix}Gt"), range.clone())?;
        let before = self.integer(&format!("{prefix}Lt"), range)?;
        Ok(Window {
            after: after.and_then(|bound| i64::try_from(bound).ok()),
            before: before.and_then(|bound| i64::try_from(bound).ok()),
        })
    }

    fn instant(&self, name: &str) -> Result<Option<Timestamp>, Invalid> {
        let Some(text) = self.first(name) else {
            return Ok(None);
        };
        parse_instant(text)
            .map(Some)
            .ok_or_else(|| Invalid::new(name))
    }

    /// The position and size of a page; the bounds are the vendor document's.
    pub(crate) fn paging(&self, default_limit: u64) -> Result<Paging, Invalid> {
        let skip = self.integer("skip", 0..=10_000)?.unwrap_or(0);
        let limit = self.integer("limit", 1..=100)?.unwrap_or(default_limit);
        Ok(Paging {
            skip: usize::try_from(skip).unwrap_or_default(),
            limit: usize::try_from(limit).unwrap_or_default(),
        })
    }
}

/// The part of a list in a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paging {
    /// How many records to leave out from the start, 0 to 10,000.
    pub(crate) skip: usize,
    /// How many records to answer at most, 1 to 100.
    pub(crate) limit: usize,
}

impl Paging {
    /// The `pagination` object of the answer. `nextPageSkip` is absent on the last page (observed
    /// live).
    pub(crate) fn summary(&self, matched: usize, returned: usize) -> serde_json::Value {
        let next = self.skip + returned;
        let has_more = next < matched;
        let mut summary = serde_json::json!({"matched": matched, "hasMore": has_more});
        if has_more {
            summary["nextPageSkip"] = next.into();
        }
        summary
    }
}

fn floor_milliseconds(instant: Timestamp) -> i64 {
    let milliseconds = instant.as_nanosecond().div_euclid(1_000_000);
    i64::try_from(milliseconds).unwrap_or(i64::MIN)
}

fn ceil_milliseconds(instant: Timestamp) -> i64 {
    let milliseconds = -(-instant.as_nanosecond()).div_euclid(1_000_000);
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_finer_than_a_millisecond_stay_exact() {
        let query = Query::parse("tGt=1970-01-01T00:00:00.0015Z&tLt=1970-01-01T00:00:00.0025Z");
        let window = query.time_window("t").unwrap();
        assert!(!window.contains(1));
        assert!(window.contains(2));
        assert!(!window.contains(3));
    }
}
