//! How a connection is, as far as is known without asking: by its last test, its last sync and the day its secrets end.

use headwater_core::{Date, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    checks::LastCheck,
    connections::{Connection, ConnectionSummary},
    expiry::days_until,
};

/// How many days before its end a connection is shown as one that ends.
pub const SOON_DAYS: i32 = 14;

/// How a connection is, as far as is known without asking. The last test and the last sync are two facts, of which the worse
/// one shows; a later test clears that of the test, a later sync that of the sync, another config both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The last test passed, and the last sync read everything.
    Working,
    /// There was neither a test nor a whole sync since the config was changed.
    NotTested,
    /// The last sync read everything but some streams or places.
    Incomplete,
    /// The last sync did not finish for a reason that passes: a limit, an outage, a stop.
    Unfinished,
    /// Its secrets end within 14 days, or should have ended.
    Expiring,
    /// The last test failed, or the last sync did and will again.
    NeedsAttention,
    /// What is saved cannot be read.
    Unreadable,
}

impl Health {
    /// The name that machines read.
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
        let tested = check.map(|check| match check.said.outcome.as_str() {
            "failed" => Self::NeedsAttention,
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
    /// How it is.
    pub fn health(&self) -> Health {
        Health::of(
            self.last_check.as_ref(),
            self.last_sync.as_ref(),
            self.expires,
        )
    }
}

impl ConnectionSummary {
    /// How it is.
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

/// How the last sync of the config of today ended. A sync that was killed says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSync {
    /// When it ended.
    pub ended: Timestamp,
    /// `complete`, `partial`, `suspended`, `stopped` or `failed`.
    pub outcome: String,
    /// The kind of error that ended it, or a stream of it.
    pub code: Option<String>,
    /// The sentence for people.
    pub message: String,
}

/// What of a receipt tells how a run ended.
#[derive(Deserialize)]
struct ReceiptSummary {
    outcome: String,
    kind: Option<String>,
    message: Option<String>,
    #[serde(default)]
    streams: Vec<StreamSummary>,
}

#[derive(Deserialize)]
struct StreamSummary {
    stream: String,
    status: String,
    kind: Option<String>,
    message: Option<String>,
    #[serde(default)]
    rejected: u64,
}

impl LastSync {
    /// What a receipt says; none of one that cannot be read.
    pub(crate) fn of(ended: Timestamp, receipt: &str) -> Option<Self> {
        let told: ReceiptSummary = serde_json::from_str(receipt).ok()?;
        let streams = told.streams.iter();
        // What ends every later sync as well is told before what passes.
        let failed = streams
            .filter(|one| one.kind.is_some())
            .max_by_key(|one| kind_of(one.kind.as_deref()));
        let code = told.kind.or_else(|| failed?.kind.clone());
        let message = told
            .message
            .or_else(|| Some(format!("{}: {}", failed?.stream, failed?.message.as_ref()?)));
        let message = message.unwrap_or_else(|| match told.outcome.as_str() {
            "complete" => "everything was read".to_owned(),
            "stopped" => "it was stopped before its end".to_owned(),
            "partial" => missing(&told.streams),
            _ => "it did not reach its end".to_owned(),
        });
        Some(Self {
            ended,
            outcome: told.outcome,
            code,
            message,
        })
    }

    /// What it says of the connection.
    fn health(&self) -> Health {
        let kind = kind_of(self.code.as_deref());
        match self.outcome.as_str() {
            "complete" => Health::Working,
            // One stream that may not be read leaves the others as they are; credentials that ended do not.
            "partial" if kind != Severity::Ended => Health::Incomplete,
            "suspended" | "stopped" => Health::Unfinished,
            "failed" if kind == Severity::Passing => Health::Unfinished,
            _ => Health::NeedsAttention,
        }
    }
}

/// What an error means for later syncs of the same config.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    /// It may be gone the next time.
    Passing,
    /// It stays until something is done about a stream, a place or the service.
    Lasting,
    /// Nothing can be read until the config is another one.
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
    let is_partial = |one: &&StreamSummary| one.status == "partial" || one.rejected > 0;
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

    fn check(outcome: &str) -> LastCheck {
        let mut check = LastCheck::of(&ProbeReport::default());
        outcome.clone_into(&mut check.said.outcome);
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
        let (passed, failed) = (check("passed"), check("failed"));
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
        let told = sync(&json!({ "outcome": "failed", "streams": [
            stream("failed", Some("unavailable")),
            { "stream": "users", "status": "failed", "kind": "unauthenticated", "message": "no such key" },
        ] }));
        assert_eq!(told.code.as_deref(), Some("unauthenticated"));
        assert_eq!(told.message, "users: no such key");
        assert_eq!(LastSync::of(Timestamp::now(), "no JSON"), None);
    }
}
