//! The result of a probe: named checks, each with an outcome, fields and a remedy.

use std::{borrow::Cow, collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{error::Kind, text::WRAPPED};

/// How a check ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The check was not made, since an earlier check failed.
    Skipped,
    /// Everything works.
    Passed,
    /// Usable in part.
    Warned,
    /// Not usable.
    Failed,
}

impl Outcome {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
        }
    }
}

/// One named check of a probe.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct Check {
    /// Stable name: `address`, `reachable`, `tls`, `api`, `credentials`, or `access:STREAM`.
    pub name: String,
    /// The outcome.
    pub outcome: Outcome,
    /// Stable, for machines: `ok`, `skipped`, `unauthenticated`, `permission_denied`, `name_unknown`, …
    pub code: Cow<'static, str>,
    /// One sentence for people.
    pub message: String,
    /// The form fields that can correct the problem.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pointers: Vec<String>,
    /// The next step for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The time of the request, in milliseconds. Absent without a request.
    #[serde(
        rename = "latency_ms",
        default,
        skip_serializing_if = "Option::is_none",
        with = "millis"
    )]
    #[schemars(with = "Option<u64>")]
    pub latency: Option<Duration>,
    /// The kind of error behind a check that warned or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The names and numbers behind the message, for machines.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
}

impl Check {
    /// Makes a check that passed.
    pub fn passed(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, Outcome::Passed, "ok", message)
    }

    /// Makes a check that waits for an earlier one, which failed.
    pub fn skipped(name: impl Into<String>) -> Self {
        Self::new(
            name,
            Outcome::Skipped,
            "skipped",
            "waiting for an earlier check",
        )
    }

    /// Makes a skipped check, because it has a cost or needs a missing id; the message states the reason.
    pub fn unknown(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, Outcome::Skipped, "unknown", message)
    }

    /// Makes a check that failed.
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

    /// Makes a check whose problem leaves the rest usable.
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
            code: Cow::Borrowed(code),
            message: message.into(),
            pointers: Vec::new(),
            remedy: None,
            latency: None,
            kind: None,
            facts: Map::new(),
        }
    }

    /// Names the fields that can correct the problem.
    #[must_use]
    pub fn at<const N: usize>(mut self, pointers: [&str; N]) -> Self {
        self.pointers = pointers.map(str::to_owned).to_vec();
        self
    }

    /// Sets the next step for the user.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = Some(text.into());
        self
    }

    /// Adds a name or a number for machines.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the time of the request.
    #[must_use]
    pub fn took(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }
}

/// A running probe. Its source adds each check once, as soon as the check is final.
pub struct Probe {
    checks: Vec<Check>,
    watcher: Box<dyn FnMut(&Check) + Send>,
    /// The allowances that the service reports.
    pub allowances: Vec<Allowance>,
    /// The change of the config that the service needs.
    pub patch: Option<ConfigPatch>,
    /// Pointers and titles of secrets with spaces or quotes around them.
    pub(crate) wrapped: Vec<(String, String)>,
}

impl Probe {
    /// Begins a probe that passes each finished check to the watcher.
    pub(crate) fn new(watcher: impl FnMut(&Check) + Send + 'static) -> Self {
        Self {
            checks: Vec::new(),
            watcher: Box::new(watcher),
            allowances: Vec::new(),
            patch: None,
            wrapped: Vec::new(),
        }
    }

    /// Adds a check and passes it to the watcher.
    pub fn push(&mut self, mut check: Check) {
        if matches!(
            check.kind,
            Some(Kind::Unauthenticated | Kind::PermissionDenied)
        ) {
            for (pointer, title) in &self.wrapped {
                if check.pointers.contains(pointer) {
                    let known = check
                        .remedy
                        .take()
                        .map_or_else(String::new, |text| text + "; ");
                    check.remedy = Some(format!("{known}{title} {WRAPPED}"));
                }
            }
        }
        tracing::info!(
            name = %check.name,
            outcome = ?check.outcome,
            code = %check.code,
            "check"
        );
        (self.watcher)(&check);
        self.checks.push(check);
    }
}

impl Extend<Check> for Probe {
    fn extend<I: IntoIterator<Item = Check>>(&mut self, checks: I) {
        checks.into_iter().for_each(|check| self.push(check));
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("checks", &self.checks)
            .field("allowances", &self.allowances)
            .field("patch", &self.patch)
            .finish_non_exhaustive()
    }
}

/// The checks of one probe, in the order of their completion.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct ProbeReport {
    /// The checks.
    pub checks: Vec<Check>,
    /// The allowances that the service reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowances: Vec<Allowance>,
    /// The change of the config that the service needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<ConfigPatch>,
}

/// An allowance of the service and its use.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct Allowance {
    /// Stable name, snake case: `export_jobs`, `ai_credits`, …
    pub name: Cow<'static, str>,
    /// The title for people: "export jobs in 30 days".
    pub title: Cow<'static, str>,
    /// The total amount.
    #[serde(serialize_with = "number")]
    #[schemars(with = "f64")]
    pub limit: f64,
    /// The used amount.
    #[serde(serialize_with = "number")]
    #[schemars(with = "f64")]
    pub used: f64,
    /// The time of the next reset, where the service states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Timestamp>,
    /// Whether [`Stream::jobs`](crate::Stream::jobs) counts against it.
    #[serde(skip)]
    pub counts_jobs: bool,
}

impl Allowance {
    /// Returns the remaining amount.
    pub fn left(&self) -> f64 {
        (self.limit - self.used).max(0.0)
    }

    /// Returns the used share in percent; `None` where the limit is zero.
    pub fn used_percent(&self) -> Option<f64> {
        (self.limit > 0.0).then(|| self.used / self.limit * 100.0)
    }
}

/// A change of the config, accepted by the service, for the host to store.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct ConfigPatch {
    /// The finding, for people.
    pub message: String,
    /// New values by JSON Pointer into the config. Never a secret.
    pub set: BTreeMap<Cow<'static, str>, Value>,
}

impl ConfigPatch {
    /// Changes an answer to the form.
    pub fn apply(&self, answer: &mut Value) {
        for (pointer, value) in &self.set {
            put(answer, pointer, value.clone());
        }
    }
}

/// Sets a value at a pointer and creates the objects on the path. Leaves an answer that is not an object to validation.
pub fn put(answer: &mut Value, pointer: &str, value: Value) {
    let mut node = answer;
    for name in pointer.split('/').skip(1) {
        if node.is_null() {
            *node = Value::Object(Map::new());
        }
        let Some(object) = node.as_object_mut() else {
            return;
        };
        node = object.entry(name).or_insert(Value::Null);
    }
    *node = value;
}

impl From<Probe> for ProbeReport {
    fn from(probe: Probe) -> Self {
        Self {
            checks: probe.checks,
            allowances: probe.allowances,
            patch: probe.patch,
        }
    }
}

impl From<Vec<Check>> for ProbeReport {
    fn from(checks: Vec<Check>) -> Self {
        Self {
            checks,
            ..Self::default()
        }
    }
}

impl ProbeReport {
    /// Returns the worst outcome of all checks.
    pub fn outcome(&self) -> Outcome {
        self.checks
            .iter()
            .map(|check| check.outcome)
            .max()
            .unwrap_or(Outcome::Skipped)
    }

    /// Returns the first failed check.
    pub fn failure(&self) -> Option<&Check> {
        self.checks
            .iter()
            .find(|check| check.outcome == Outcome::Failed)
    }
}

/// A latency as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        latency: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let millis = latency.map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
        millis.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

/// Whole numbers without a fraction, as services write them.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn number<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}
