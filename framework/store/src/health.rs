//! The health of a connection by its last probe, its last sync and the day its secrets expire.

use headwater_core::{Date, Outcome, Timestamp};
use headwater_host::summaries::{ReceiptSummary, StreamStatus, StreamSummary};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    checks::LastCheck,
    connections::{Connection, ConnectionSummary},
    expiry::days_until,
};

/// How many days before its secrets expire a connection counts as expiring.
pub const SOON_DAYS: i32 = 14;

/// The health of a connection as far as the store knows. The last probe and the last sync are two facts, of which the
/// worse one shows; a later probe replaces the first, a later sync the second, another config both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The last probe passed, and the last sync read everything.
    Working,
    /// Neither a probe nor a complete sync ended since the config changed.
    NotTested,
    /// The last sync left out some streams or positions.
    Incomplete,
    /// The last sync did not finish for a temporary reason: a limit, an outage, a stop.
    Unfinished,
    /// Its secrets expire within 14 days, or have expired by date.
    Expiring,
    /// The last probe failed, or the last sync failed and will fail again.
    NeedsAttention,
    /// The saved config cannot be read.
    Unreadable,
}

impl Health {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::NotTested => "not_tested",
            Self::Incomplete => "incomplete",
            Self::Unfinished => "unfinished",
            Self::Expiring => "expiring",
            Self::NeedsAttention => "needs_attention",
            Self::Unreadable => "unreadable",
        }
    }

    fn of(check: Option<&LastCheck>, sync: Option<&LastSync>, expires: Option<Date>) -> Self {
        let tested = check.map(|check| match check.said.outcome {
            Outcome::Failed => Self::NeedsAttention,
            _ => Self::Working,
        });
        let synced = sync.map(LastSync::health);
        let is_ending = expires.is_some_and(|day| days_until(day) <= SOON_DAYS);
        let ending = is_ending.then_some(Self::Expiring);
        let known = [tested, synced, ending].into_iter().flatten();
        known.max().unwrap_or(Self::NotTested)
    }
}

impl Connection {
    /// The health of the connection.
    pub fn health(&self) -> Health {
        Health::of(
            self.last_check.as_ref(),
            self.last_sync.as_ref(),
            self.expires,
        )
    }
}

impl ConnectionSummary {
    /// The health of the connection.
    pub fn health(&self) -> Health {
        match self.problem {
            Some(_) => Health::Unreadable,
            None => Health::of(
                self.last_check.as_ref(),
                self.last_sync.as_ref(),
                self.expires,
            ),
        }
    }
}

/// The end of the last sync with the current config. A killed sync has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSync {
    /// When it ended.
    pub ended: Timestamp,
    /// `complete`, `partial`, `suspended`, `stopped` or `failed`.
    pub outcome: String,
    /// The kind of error that ended it, or a stream of it.
    pub code: Option<String>,
    /// The sentence that people read.
    pub message: String,
}

impl LastSync {
    /// Summarises a receipt; `None` if it cannot be read.
    pub(crate) fn of(ended: Timestamp, receipt: &str) -> Option<Self> {
        let receipt: ReceiptSummary = serde_json::from_str(receipt).ok()?;
        let outcome = receipt.outcome?;
        let streams = receipt.streams.iter();
        // An error that ends every later sync comes before a temporary one.
        let failed = streams
            .filter(|one| one.kind.is_some())
            .max_by_key(|one| kind_of(one.kind.as_deref()));
        let code = receipt.kind.or_else(|| failed?.kind.clone());
        let message = receipt
            .message
            .or_else(|| Some(format!("{}: {}", failed?.stream, failed?.message.as_ref()?)));
        let message = message.unwrap_or_else(|| match outcome.as_str() {
            "complete" => "everything was read".to_owned(),
            "stopped" => "the sync was stopped before its end".to_owned(),
            "partial" => missing(&receipt.streams),
            _ => "the sync did not reach its end".to_owned(),
        });
        Some(Self {
            ended,
            outcome,
            code,
            message,
        })
    }

    /// The health of the connection by this sync.
    fn health(&self) -> Health {
        let kind = kind_of(self.code.as_deref());
        match self.outcome.as_str() {
            "complete" => Health::Working,
            // A stream without access does not affect the others; ended credentials do.
            "partial" if kind != Severity::Ended => Health::Incomplete,
            "suspended" | "stopped" => Health::Unfinished,
            "failed" if kind == Severity::Passing => Health::Unfinished,
            _ => Health::NeedsAttention,
        }
    }
}

/// The effect of an error on later syncs of the same config.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    /// A later sync may succeed.
    Passing,
    /// It lasts until a stream, a position or the service changes.
    Lasting,
    /// No sync can read anything until the config changes.
    Ended,
}

fn kind_of(code: Option<&str>) -> Severity {
    match code {
        Some("rate_limited" | "unavailable" | "quota_exhausted" | "cancelled") => Severity::Passing,
        Some("unauthenticated" | "config_invalid") => Severity::Ended,
        _ => Severity::Lasting,
    }
}

fn missing(streams: &[StreamSummary]) -> String {
    let is_partial = |one: &&StreamSummary| one.status == StreamStatus::Partial || one.rejected > 0;
    let names: Vec<&str> = streams
        .iter()
        .filter(is_partial)
        .map(|one| one.stream.as_str())
        .collect();
    match names.is_empty() {
        true => "something is missing".to_owned(),
        false => format!("something is missing in {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use headwater_core::ProbeReport;
    use serde_json::{Value, json};

    use super::*;

    fn check(outcome: Outcome) -> LastCheck {
        let mut check = LastCheck::of(&ProbeReport::default());
        check.said.outcome = outcome;
        check
    }

    fn sync(receipt: &Value) -> LastSync {
        LastSync::of(Timestamp::now(), &receipt.to_string()).unwrap()
    }

    fn stream(status: &str, kind: Option<&str>) -> Value {
        json!({ "stream": "calls", "status": status, "kind": kind, "message": "said", "records": 3 })
    }

    #[test]
    fn each_ending_of_a_sync_says_how_its_connection_is() {
        let failed = |kind| json!({ "outcome": "failed", "streams": [stream("failed", Some(kind)), stream("not_read", None)] });
        let partly = |kind| json!({ "outcome": "partial", "streams": [stream("complete", None), stream("failed", Some(kind))] });
        for (receipt, health) in [
            (
                json!({ "outcome": "complete", "streams": [stream("complete", None)] }),
                Health::Working,
            ),
            (
                json!({ "outcome": "partial", "streams": [stream("partial", None)] }),
                Health::Incomplete,
            ),
            (partly("unavailable"), Health::Incomplete),
            (partly("permission_denied"), Health::Incomplete),
            (partly("unauthenticated"), Health::NeedsAttention),
            (
                json!({ "outcome": "suspended", "streams": [stream("suspended", Some("quota_exhausted"))] }),
                Health::Unfinished,
            ),
            (
                json!({ "outcome": "stopped", "streams": [stream("stopped", None)] }),
                Health::Unfinished,
            ),
            (failed("unavailable"), Health::Unfinished),
            (failed("rate_limited"), Health::Unfinished),
            (failed("quota_exhausted"), Health::Unfinished),
            (failed("unauthenticated"), Health::NeedsAttention),
            (failed("permission_denied"), Health::NeedsAttention),
            (failed("config_invalid"), Health::NeedsAttention),
            (failed("data_invalid"), Health::NeedsAttention),
            (failed("output_failed"), Health::NeedsAttention),
            (failed("a_kind_of_later"), Health::NeedsAttention),
            (
                json!({ "outcome": "failed", "message": "refused" }),
                Health::NeedsAttention,
            ),
            (
                json!({ "outcome": "failed", "kind": "unavailable", "message": "refused" }),
                Health::Unfinished,
            ),
        ] {
            assert_eq!(sync(&receipt).health(), health, "{receipt}");
        }
    }

    #[test]
    fn of_two_facts_the_worse_one_shows() {
        let (passed, failed) = (check(Outcome::Passed), check(Outcome::Failed));
        let complete = sync(&json!({ "outcome": "complete" }));
        let refused =
            sync(&json!({ "outcome": "failed", "kind": "unauthenticated", "message": "no" }));
        let late = sync(&json!({ "outcome": "suspended" }));
        for (check, sync, health) in [
            (None, None, Health::NotTested),
            (Some(&passed), None, Health::Working),
            (None, Some(&complete), Health::Working),
            (Some(&passed), Some(&refused), Health::NeedsAttention),
            (Some(&failed), Some(&complete), Health::NeedsAttention),
            (Some(&passed), Some(&late), Health::Unfinished),
            (Some(&failed), Some(&late), Health::NeedsAttention),
            (Some(&passed), Some(&complete), Health::Working),
        ] {
            assert_eq!(Health::of(check, sync, None), health);
        }
        let today = Some("2020-01-01".parse().unwrap());
        assert_eq!(Health::of(Some(&passed), None, today), Health::Expiring);
        assert_eq!(
            Health::of(Some(&passed), Some(&late), today),
            Health::Expiring
        );
        assert_eq!(
            Health::of(Some(&failed), None, today),
            Health::NeedsAttention
        );
    }

    #[test]
    fn what_ends_every_later_sync_is_told_first() {
        let last = sync(&json!({ "outcome": "failed", "streams": [
            stream("failed", Some("unavailable")),
            { "stream": "users", "status": "failed", "kind": "unauthenticated", "message": "no such key" },
        ] }));
        assert_eq!(last.code.as_deref(), Some("unauthenticated"));
        assert_eq!(last.message, "users: no such key");
        assert_eq!(LastSync::of(Timestamp::now(), "no JSON"), None);
    }
}
