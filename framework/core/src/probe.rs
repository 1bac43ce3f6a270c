//! What a probe answers: named checks, each graded, each with its fields and a way out.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::error::Kind;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An earlier check failed, so this one says nothing.
    Skipped,
    /// As it should be.
    Passed,
    /// Usable, but not all of it.
    Warned,
    /// Not usable like this.
    Failed,
}

/// One named check of a probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Stable name: `reachable`, `tls`, `api`, `credentials`, or `access:STREAM`.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Stable, for machines: `ok`, `skipped`, `unauthenticated`, `permission_denied`, `name_unknown`, …
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
    /// The fields of the form that can cure it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pointers: Vec<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// How long the request took, in milliseconds. None where nothing was asked.
    #[serde(
        rename = "latency_ms",
        skip_serializing_if = "Option::is_none",
        serialize_with = "millis"
    )]
    pub latency: Option<Duration>,
    /// The kind of error behind a check that warned or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
}

impl Check {
    /// A check that passed.
    pub fn passed(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, Outcome::Passed, "ok", message)
    }

    /// A check that was not made because an earlier one failed.
    pub fn skipped(name: impl Into<String>) -> Self {
        Self::new(
            name,
            Outcome::Skipped,
            "skipped",
            "not checked: an earlier check failed",
        )
    }

    /// A check that failed.
    pub fn failed(
        name: impl Into<String>,
        kind: Kind,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind: Some(kind),
            ..Self::new(name, Outcome::Failed, code, message)
        }
    }

    /// A check that found something missing that is not needed for the rest.
    pub fn warned(
        name: impl Into<String>,
        kind: Kind,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind: Some(kind),
            ..Self::new(name, Outcome::Warned, code, message)
        }
    }

    fn new(
        name: impl Into<String>,
        outcome: Outcome,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            outcome,
            code,
            message: message.into(),
            pointers: Vec::new(),
            remedy: None,
            latency: None,
            kind: None,
        }
    }

    /// Names the fields that can cure it.
    #[must_use]
    pub fn at<const N: usize>(mut self, pointers: [&str; N]) -> Self {
        self.pointers = pointers.map(str::to_owned).to_vec();
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = Some(text.into());
        self
    }

    /// Says how long it took.
    #[must_use]
    pub fn took(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }
}

/// The checks of one probe, in the order they were made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProbeReport {
    /// The checks.
    pub checks: Vec<Check>,
}

impl ProbeReport {
    /// The worst outcome of all checks.
    pub fn outcome(&self) -> Outcome {
        self.checks
            .iter()
            .map(|check| check.outcome)
            .max()
            .unwrap_or(Outcome::Skipped)
    }

    /// The first check that failed.
    pub fn failure(&self) -> Option<&Check> {
        self.checks
            .iter()
            .find(|check| check.outcome == Outcome::Failed)
    }
}

fn millis<S: Serializer>(latency: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = latency.map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
    millis.serialize(serializer)
}
