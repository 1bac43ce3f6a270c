//! What a probe answers: named checks, each graded, each with its fields and a way out.

use std::{borrow::Cow, collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{connector::Source, error::Kind, validate::WRAPPED};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Check {
    /// Stable name: `address`, `reachable`, `tls`, `api`, `credentials`, or `access:STREAM`.
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
    #[schemars(with = "Option<u64>")]
    pub latency: Option<Duration>,
    /// The kind of error behind a check that warned or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The names and numbers behind the message, for machines.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
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

    /// A check that was not made because asking has a price or needs an id that nobody gave; the message says which.
    pub fn unknown(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, Outcome::Skipped, "unknown", message)
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
            facts: Map::new(),
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

    /// Adds a name or a number for machines.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Says how long it took.
    #[must_use]
    pub fn took(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }
}

/// A probe under way. Its source tells it each check once, as soon as nothing can change it any more.
pub struct Probe {
    checks: Vec<Check>,
    watcher: Box<dyn FnMut(&Check) + Send>,
    /// What the service says is left.
    pub allowances: Vec<Allowance>,
    /// What the service would rather have in the config.
    pub patch: Option<ConfigPatch>,
    /// Pointers and titles of secrets that have spaces or quotes around them.
    pub(crate) wrapped: Vec<(String, String)>,
}

impl Probe {
    /// Takes in a check and tells whoever watches.
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
            code = check.code,
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

/// The checks of one probe, in the order they were made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ProbeReport {
    /// The checks.
    pub checks: Vec<Check>,
    /// What the service says is left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowances: Vec<Allowance>,
    /// What the service would rather have in the config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<ConfigPatch>,
}

/// How much of something the service allows, and how much of that is left.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct Allowance {
    /// Stable name, snake case: `export_jobs`, `ai_credits`, …
    pub name: Cow<'static, str>,
    /// What it is, for people: "export jobs in 30 days".
    pub title: Cow<'static, str>,
    /// How much there is in all.
    #[serde(serialize_with = "number")]
    #[schemars(with = "f64")]
    pub limit: f64,
    /// How much of it is used.
    #[serde(serialize_with = "number")]
    #[schemars(with = "f64")]
    pub used: f64,
    /// When more comes back, where the service tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Timestamp>,
    /// Whether [`Stream::jobs`](crate::Stream::jobs) counts against it.
    #[serde(skip)]
    pub counts_jobs: bool,
}

impl Allowance {
    /// How much is left.
    pub fn left(&self) -> f64 {
        (self.limit - self.used).max(0.0)
    }

    /// How much is used, in percent of what there is; none where there is nothing.
    pub fn used_percent(&self) -> Option<f64> {
        (self.limit > 0.0).then(|| self.used / self.limit * 100.0)
    }
}

/// A change of the config that the service was seen to accept, for the host to store.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct ConfigPatch {
    /// What was found, for people.
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

/// Puts a value at a pointer, making the objects on the way. An answer that is no object is left for validation.
pub fn put(answer: &mut Value, pointer: &str, value: Value) {
    let mut place = answer;
    for name in pointer.split('/').skip(1) {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let Some(object) = place.as_object_mut() else {
            return;
        };
        place = object.entry(name).or_insert(Value::Null);
    }
    *place = value;
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
    /// Probes a source.
    pub async fn of(source: &dyn Source) -> Self {
        Self::watched(source, |_| {}).await
    }

    /// Probes a source and tells each check when it is made, in the order of the report. Dropped, it asks no more.
    pub async fn watched(
        source: &dyn Source,
        watcher: impl FnMut(&Check) + Send + 'static,
    ) -> Self {
        let mut probe = Probe {
            checks: Vec::new(),
            watcher: Box::new(watcher),
            allowances: Vec::new(),
            patch: None,
            wrapped: Vec::new(),
        };
        source.probe(&mut probe).await;
        Self {
            checks: probe.checks,
            allowances: probe.allowances,
            patch: probe.patch,
        }
    }

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

/// Whole numbers without a fraction, as services write them.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn number<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}
