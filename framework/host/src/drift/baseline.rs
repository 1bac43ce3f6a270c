//! The baseline of earlier runs, stored with the state.

use std::collections::{BTreeMap, BTreeSet};

use headwater_json::JsonType;
use serde::{Deserialize, Serialize};

use super::event::{DriftEvent, DriftKind};

/// Maximum number of remembered drift events. Any more are reported as new again.
const MAX_REPORTED: usize = 2_000;

/// Number of objects in earlier runs, all with a field, before the field counts as expected. With fewer, an optional
/// field would count by chance.
const ENOUGH: u64 = 20;

/// The paths and counts that earlier runs saw of a stream, never a value.
///
/// It grows with the schema and with the reported drift, both of which are bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Drift that was reported.
    #[serde(default, rename = "told", skip_serializing_if = "BTreeSet::is_empty")]
    reported: BTreeSet<ReportedDrift>,
    /// The number of compared objects, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    objects: BTreeMap<String, u64>,
    /// Fields that every possible object had, by path. A field that is missing from a whole run stays, so that later
    /// runs report it, too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    always: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportedDrift {
    kind: DriftKind,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    saw: Option<JsonType>,
}

impl ReportedDrift {
    fn of(event: &DriftEvent) -> Self {
        Self {
            kind: event.kind,
            path: event.path.clone(),
            saw: event.saw,
        }
    }
}

impl Baseline {
    /// Whether this drift was reported.
    pub(super) fn knows(&self, event: &DriftEvent) -> bool {
        self.reported.contains(&ReportedDrift::of(event))
    }

    /// Remembers reported drift.
    pub(super) fn add_reported(&mut self, event: &DriftEvent) {
        if self.reported.len() < MAX_REPORTED {
            self.reported.insert(ReportedDrift::of(event));
        }
    }

    /// Whether the names in an object were found to be data.
    pub(super) fn has_many_new_fields(&self, object: &str) -> bool {
        let kind = DriftKind::ManyNewFields;
        let is_it = |one: &ReportedDrift| one.kind == kind && one.path == object;
        self.reported.iter().any(is_it)
    }

    /// Whether earlier runs make a field of an object expected.
    pub(super) fn expects(&self, field: &str, object: &str) -> bool {
        self.always.contains(field) && self.objects.get(object).is_some_and(|seen| *seen >= ENOUGH)
    }

    /// Adds the number of objects of a run that had a field, out of `objects`. Call it before
    /// [`Baseline::add_objects`].
    pub(super) fn add_field(&mut self, field: &str, object: &str, had: u64, objects: u64) {
        let is_first = !self.objects.contains_key(object);
        if had == objects && is_first {
            self.always.insert(field.to_owned());
        } else if had > 0 && had < objects {
            self.always.remove(field);
        }
    }

    /// Adds the number of objects that a run compared.
    pub(super) fn add_objects(&mut self, object: &str, count: u64) {
        *self.objects.entry(object.to_owned()).or_default() += count;
    }
}
