//! The state of the simulated workspace: the generated population, and its changes since the
//! sandbox started.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use super::call::{Call, Change};
use super::calls::CallFilter;
use super::created_call::{CreatedCall, NewCall};
use super::crm::CrmKind;
use super::population::Population;
use super::scorecards;
use crate::ids;
use crate::random::Purpose;

/// All data of the API.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) population: Population,
    changes: BTreeMap<u64, Change>,
    created_calls: Vec<CreatedCall>,
    /// Written CRM records by kind and CRM id; `None` marks a deleted one.
    written_crm: BTreeMap<(CrmKind, String), Option<Value>>,
    next_pick: u64,
    object_ids: u64,
}

/// The result of a request to create a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CreateCallOutcome {
    /// The call is new, or replaced the older one of the same id.
    Stored { id: String },
    /// A call of the same source exists and was kept.
    Exists { id: String },
}

impl Workspace {
    pub(crate) fn new(population: Population) -> Self {
        Self {
            population,
            changes: BTreeMap::new(),
            created_calls: Vec::new(),
            written_crm: BTreeMap::new(),
            next_pick: 0,
            object_ids: 0,
        }
    }

    /// The generated call of this index, which must be below the number of generated calls.
    pub(crate) fn generated_call(&self, index: u64) -> Call<'_> {
        Call::Generated {
            population: &self.population,
            index,
            change: self.changes.get(&index),
        }
    }

    /// The call with this id.
    pub(crate) fn find_call(&self, id: &str) -> Option<Call<'_>> {
        if let Some(index) = self.population.call_index(id) {
            return Some(self.generated_call(index));
        }
        let created = self.created_calls.iter().find(|call| call.id == id)?;
        Some(Call::Created(created))
    }

    /// The generated calls that a filter may accept, in the order of their time, less those that
    /// [`Self::calls_out_of_order`] gives.
    pub(crate) fn calls_in_order(&self, filter: &CallFilter) -> Range<u64> {
        let by_time = self.population.calls_at(filter.time);
        if filter.modified.is_open() {
            return by_time;
        }
        let by_modified = self.population.calls_modified_about(filter.modified);
        let start = by_time.start.max(by_modified.start);
        let end = by_time.end.min(by_modified.end);
        start..end.max(start)
    }

    /// The other calls that a filter may accept: created ones, and those whose changed modified time
    /// is in the window.
    pub(crate) fn calls_out_of_order(&self, filter: &CallFilter) -> impl Iterator<Item = Call<'_>> {
        let in_order = self.calls_in_order(filter);
        let changed = self
            .changes
            .keys()
            .filter(move |index| !in_order.contains(index))
            .map(|index| self.generated_call(*index));
        self.created_calls.iter().map(Call::Created).chain(changed)
    }

    /// Moves a generated call to another status; false when there is no such call.
    pub(crate) fn touch_call(&mut self, index: u64, status: &str, now: i64) -> bool {
        if index >= self.population.calls {
            return false;
        }
        let change = Change {
            status: status.to_owned(),
            modified: now,
        };
        self.changes.insert(index, change);
        true
    }

    /// Moves `count` calls that are not private to another status.
    ///
    /// The calls are picked from all over the workspace: steps of a large prime visit every call
    /// once before any call twice.
    pub(crate) fn change_calls(&mut self, count: u64, now: i64) {
        const STRIDE: u64 = 2_147_483_647;
        let calls = self.population.calls;
        let mut changed = 0;
        for _ in 0..calls {
            if changed == count {
                return;
            }
            let index = self.next_pick.wrapping_mul(STRIDE) % calls;
            self.next_pick = (self.next_pick + 1) % calls;
            if self.population.is_private(index) {
                continue;
            }
            let status = match self.generated_call(index).status() {
                "POST_PROCESSING_DONE" => "PROCESSED",
                _ => "POST_PROCESSING_DONE",
            };
            self.touch_call(index, status, now);
            changed += 1;
        }
    }

    /// Keeps a created call. It replaces a call of the same source only if the request says so.
    pub(crate) fn create_call(&mut self, new_call: NewCall, now: i64) -> CreateCallOutcome {
        let seed = self.population.seed;
        let existing = self
            .created_calls
            .iter_mut()
            .find(|call| call.source_id == new_call.source_id);
        let Some(existing) = existing else {
            let number = self.created_calls.len() as u64;
            let call = new_call.into_call(seed, number, now);
            let id = call.id.clone();
            self.created_calls.push(call);
            return CreateCallOutcome::Stored { id };
        };
        let id = existing.id.clone();
        if !new_call.overwrite {
            return CreateCallOutcome::Exists { id };
        }
        *existing = new_call.into_call(seed, existing.number, now);
        CreateCallOutcome::Stored { id }
    }

    /// The CRM record with this CRM id.
    pub(crate) fn crm_record(&self, kind: CrmKind, crm_id: &str) -> Option<Value> {
        if let Some(written) = self.written_crm.get(&(kind, crm_id.to_owned())) {
            return written.clone();
        }
        let index = kind.index(self.population.seed, crm_id)?;
        if index >= kind.count(self.population.accounts) {
            return None;
        }
        Some(kind.record(self.population.seed, index))
    }

    /// Stores a CRM record, or marks it as deleted.
    pub(crate) fn write_crm(&mut self, kind: CrmKind, crm_id: &str, record: Option<Value>) {
        self.written_crm.insert((kind, crm_id.to_owned()), record);
    }

    /// A new id of Copilot's own for a created CRM record.
    pub(crate) fn new_object_id(&mut self) -> String {
        self.object_ids += 1;
        ids::object_id(self.population.seed, Purpose::Created, self.object_ids)
    }

    /// The sorted keys of every record that a complete read of a stream must deliver; `None` for
    /// an unknown stream. `missing_details`: every n-th call has no details, 0 for none.
    pub(crate) fn keys(&self, stream: &str, missing_details: u64) -> Option<Vec<String>> {
        let population = &self.population;
        let mut keys: Vec<String> = match stream {
            "users" => population
                .users
                .iter()
                .map(|user| user.id.clone())
                .collect(),
            "calls" => self.call_keys(0),
            "call_details" => self.call_keys(missing_details),
            "topics" => population
                .topics
                .iter()
                .map(|topic| topic.id.clone())
                .collect(),
            "scorecards" => (0..population.calls)
                .filter(|index| population.has_scorecard(*index))
                .map(|index| scorecards::scorecard_id(population, index))
                .collect(),
            "scorecard_templates" => scorecards::templates(population.seed)
                .iter()
                .filter_map(|template| template["id"].as_str().map(str::to_owned))
                .collect(),
            "accounts" => self.crm_keys(CrmKind::Account),
            "contacts" => self.crm_keys(CrmKind::Contact),
            "deals" => self.crm_keys(CrmKind::Deal),
            _ => return None,
        };
        keys.sort_unstable();
        Some(keys)
    }

    fn call_keys(&self, missing_details: u64) -> Vec<String> {
        let generated = self
            .listed_calls()
            .filter(|index| !lacks_details(*index, missing_details))
            .map(|index| self.population.call_id(index));
        let created = self.created_calls.iter().map(|call| call.id.clone());
        generated.chain(created).collect()
    }

    fn crm_keys(&self, kind: CrmKind) -> Vec<String> {
        let mut indexes = BTreeSet::new();
        for call in self.listed_calls() {
            let Some(reference) = self.population.crm_reference(call) else {
                continue;
            };
            match kind {
                CrmKind::Account => indexes.extend([reference.account]),
                CrmKind::Contact => indexes.extend(reference.contacts()),
                CrmKind::Deal => indexes.extend(reference.deal()),
            }
        }
        indexes
            .into_iter()
            .map(|index| kind.crm_id(self.population.seed, index))
            .filter(|crm_id| self.crm_record(kind, crm_id).is_some())
            .collect()
    }

    /// The indexes of the generated calls that are not private.
    fn listed_calls(&self) -> impl Iterator<Item = u64> {
        (0..self.population.calls).filter(|index| !self.population.is_private(*index))
    }
}

/// Whether the details of a generated call are missing when every `every`-th is (0: none).
pub(crate) fn lacks_details(index: u64, every: u64) -> bool {
    every > 0 && index % every == every - 1
}
