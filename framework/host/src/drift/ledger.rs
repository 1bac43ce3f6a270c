//! What the records of a run had, counted by place.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
};

use headwater_core::is_hidden;

use super::{
    baseline::Baseline,
    event::{DriftEvent, DriftKind},
    plan::{NodeId, Plan, ROOT},
    types::JsonType,
};
use crate::json::join;

/// Fields that the schema does not name, in all objects of a stream. Beyond, they are counted together.
const MAX_NEW_FIELDS: usize = 1_000;
/// Fields that the schema does not name, in one object. Beyond, their names are taken for data and not shown.
const MAX_NEW_SIBLINGS: usize = 50;
/// Characters of a name that are shown.
const LONGEST_NAME: usize = 100;
/// Bytes of a name that are kept: as many as the characters that are shown can take.
const LONGEST_KEY: usize = LONGEST_NAME * 4;

#[derive(Debug)]
pub(super) struct Ledger {
    /// Records looked at.
    pub(super) records: u64,
    /// By node.
    places: Vec<NodeCounts>,
    drift: BTreeMap<(NodeId, DriftKind, Option<JsonType>), Tally>,
    new_fields: usize,
}

/// What was seen at a node.
#[derive(Debug, Default)]
struct NodeCounts {
    /// Objects that stood here and were looked into, and the first record with one.
    objects: Tally,
    /// How many of the objects around it had this field.
    had: u64,
    /// The last of them, so that a name which an object has twice counts once.
    last_had: u64,
    /// The field that the last object here began with, and the one that this field was followed by. Services keep the order
    /// of their fields, which saves most searches.
    began_with: Option<NodeId>,
    followed_by: Option<NodeId>,
    /// Fields that the schema does not name, by name.
    new_fields: HashMap<Box<[u8]>, Tally>,
    /// All of them together, once there are too many.
    many_new_fields: Option<Tally>,
}

/// How often, and the first record.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    count: u64,
    first_record: u64,
}

impl Tally {
    fn add(&mut self, record: u64) {
        if self.count == 0 {
            self.first_record = record;
        }
        self.count += 1;
    }

    /// Both together.
    fn with(self, other: Self) -> Self {
        if self.count == 0 {
            return other;
        }
        Self {
            count: self.count + other.count,
            first_record: self.first_record.min(other.first_record),
        }
    }

    fn event(self, kind: DriftKind, path: String) -> DriftEvent {
        DriftEvent {
            kind,
            path,
            expected: Vec::new(),
            saw: None,
            count: self.count,
            first_record: self.first_record,
            is_known: false,
        }
    }
}

impl Ledger {
    pub(super) fn new(plan: &Plan, earlier: &Baseline) -> Self {
        let places = plan.nodes.iter().map(|node| NodeCounts {
            many_new_fields: earlier.has_many_new_fields(&node.path).then(Tally::default),
            ..NodeCounts::default()
        });
        Self {
            records: 0,
            places: places.collect(),
            drift: BTreeMap::new(),
            new_fields: 0,
        }
    }

    /// Counts an object and gives its number among those at this node.
    pub(super) fn open(&mut self, object: NodeId) -> u64 {
        let objects = &mut self.places[object].objects;
        objects.add(self.records);
        objects.count
    }

    /// The field that is likely to come after another one of an object, or first in it.
    pub(super) fn likely(&self, object: NodeId, after: Option<NodeId>) -> Option<NodeId> {
        match after {
            Some(field) => self.places[field].followed_by,
            None => self.places[object].began_with,
        }
    }

    /// Remembers the field that came after another one of an object, or first in it.
    pub(super) fn follows(&mut self, object: NodeId, after: Option<NodeId>, field: NodeId) {
        match after {
            Some(after) => self.places[after].followed_by = Some(field),
            None => self.places[object].began_with = Some(field),
        }
    }

    /// Counts a field of the object with this number.
    pub(super) fn has(&mut self, field: NodeId, number: u64) {
        let place = &mut self.places[field];
        if place.last_had != number {
            place.last_had = number;
            place.had += 1;
        }
    }

    /// Whether the object with this number had a field.
    pub(super) fn had(&self, field: NodeId, number: u64) -> bool {
        self.places[field].last_had == number
    }

    /// Counts drift.
    pub(super) fn drifts(&mut self, at: NodeId, kind: DriftKind, saw: Option<JsonType>) {
        let tally = self.drift.entry((at, kind, saw)).or_default();
        tally.add(self.records);
    }

    /// Counts a field that the schema does not name.
    pub(super) fn has_new(&mut self, object: NodeId, name: &[u8]) {
        let record = self.records;
        let place = &mut self.places[object];
        if let Some(many) = &mut place.many_new_fields {
            many.add(record);
            return;
        }
        let name = &name[..name.len().min(LONGEST_KEY)];
        if let Some(known) = place.new_fields.get_mut(name) {
            known.add(record);
            return;
        }
        if place.new_fields.len() == MAX_NEW_SIBLINGS {
            let siblings = mem::take(&mut place.new_fields);
            let mut many = siblings.into_values().fold(Tally::default(), Tally::with);
            many.add(record);
            place.many_new_fields = Some(many);
            self.new_fields -= MAX_NEW_SIBLINGS;
            return;
        }
        if self.new_fields == MAX_NEW_FIELDS {
            self.drifts(ROOT, DriftKind::TooMany, None);
            return;
        }
        self.new_fields += 1;
        let mut new = Tally::default();
        new.add(record);
        place.new_fields.insert(name.into(), new);
    }

    /// All drift so far, by path.
    pub(super) fn events(&self, plan: &Plan, earlier: &Baseline) -> Vec<DriftEvent> {
        let mut events = Vec::new();
        for ((at, kind, saw), tally) in &self.drift {
            let node = &plan.nodes[*at];
            let mut event = tally.event(*kind, node.path.clone());
            if saw.is_some() {
                event.expected = node.types.list();
                event.saw = *saw;
            }
            events.push(event);
        }
        for (node, place) in plan.nodes.iter().zip(&self.places) {
            for (name, seen) in &place.new_fields {
                let path = join(&node.path, &shown(name));
                events.push(seen.event(DriftKind::NewField, path));
            }
            if let Some(many) = place.many_new_fields.filter(|many| many.count > 0) {
                events.push(many.event(DriftKind::ManyNewFields, node.path.clone()));
            }
            for field in node.fields() {
                let path = &plan.nodes[field].path;
                let is_told = self
                    .drift
                    .contains_key(&(field, DriftKind::MissingField, None));
                let is_gone = place.objects.count > 0 && self.places[field].had == 0;
                if is_gone && !is_told && earlier.expects(path, &node.path) {
                    events.push(place.objects.event(DriftKind::MissingField, path.clone()));
                }
            }
        }
        for event in &mut events {
            event.is_known = earlier.knows(event);
        }
        events.sort_by(|a, b| (&a.path, a.kind, a.saw).cmp(&(&b.path, b.kind, b.saw)));
        events
    }

    /// What a later run has to know: what an earlier one did, and this one.
    pub(super) fn baseline(&self, plan: &Plan, earlier: &Baseline) -> Baseline {
        let mut baseline = earlier.clone();
        for event in self.events(plan, earlier) {
            baseline.tell(&event);
        }
        for (node, place) in plan.nodes.iter().zip(&self.places) {
            let objects = place.objects.count;
            if objects == 0 || !node.has_fields() {
                continue;
            }
            for field in node.fields() {
                let path = &plan.nodes[field].path;
                baseline.add_field(path, &node.path, self.places[field].had, objects);
            }
            baseline.add_objects(&node.path, objects);
        }
        baseline
    }
}

/// A name as it may be shown. A service could send names of any length, and such that move a terminal's cursor.
fn shown(name: &[u8]) -> String {
    let mut shown = String::new();
    for character in String::from_utf8_lossy(name).chars().take(LONGEST_NAME) {
        if character.is_control() || is_hidden(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}
