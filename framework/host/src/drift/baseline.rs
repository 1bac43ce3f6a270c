//! What earlier runs saw, kept with the state.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    event::{DriftEvent, DriftKind},
    types::JsonType,
};

/// The most drift that is remembered. What is beyond is told as new again.
const MAX_TOLD: usize = 2_000;

/// Objects of earlier runs that a field must have been in, all of them, before it is missed. With fewer, an optional
/// field would be missed by chance.
const ENOUGH: u64 = 20;

/// What earlier runs saw of a stream: paths and counts, never a value.
///
/// It grows with the schema and with the drift that was told, both of which are bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Drift that was told.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    told: BTreeSet<ReportedDrift>,
    /// How many objects were looked at, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    objects: BTreeMap<String, u64>,
    /// Fields that every object had which could have them, by path. Those that a whole run was without stay, so that
    /// they go on being missed.
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
    /// Whether this drift was told.
    pub(super) fn knows(&self, event: &DriftEvent) -> bool {
        self.told.contains(&ReportedDrift::of(event))
    }

    /// Remembers that drift was told.
    pub(super) fn tell(&mut self, event: &DriftEvent) {
        if self.told.len() < MAX_TOLD {
            self.told.insert(ReportedDrift::of(event));
        }
    }

    /// Whether the names in an object were found to be data.
    pub(super) fn has_many_new_fields(&self, object: &str) -> bool {
        let kind = DriftKind::ManyNewFields;
        let is_it = |told: &ReportedDrift| told.kind == kind && told.path == object;
        self.told.iter().any(is_it)
    }

    /// Whether a field of an object should be there, going by earlier runs.
    pub(super) fn expects(&self, field: &str, object: &str) -> bool {
        self.always.contains(field) && self.objects.get(object).is_some_and(|seen| *seen >= ENOUGH)
    }

    /// Takes in how many objects of a run had a field, out of how many. To be called before [`Baseline::add_objects`].
    pub(super) fn add_field(&mut self, field: &str, object: &str, had: u64, objects: u64) {
        let is_first = !self.objects.contains_key(object);
        if had == objects && is_first {
            self.always.insert(field.to_owned());
        } else if had > 0 && had < objects {
            self.always.remove(field);
        }
    }

    /// Takes in how many objects a run looked at.
    pub(super) fn add_objects(&mut self, object: &str, count: u64) {
        *self.objects.entry(object.to_owned()).or_default() += count;
    }
}
