//! Counts of the fields in the records of a run, by schema node.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
};

use headwater_core::is_hidden;
use headwater_json::{JsonType, TypeId, TypeRules, join_path};

use super::{
    baseline::Baseline,
    event::{DriftEvent, DriftKind},
};

/// The node of the record itself among the rules about types.
pub(super) const RECORD: TypeId = 0;

/// Maximum number of fields that the schema does not name, in all objects of a stream. Any more are counted together.
const MAX_NEW_FIELDS: usize = 1_000;
/// The same in one object. Any more, and their names are taken for data and not shown.
const MAX_NEW_SIBLINGS: usize = 50;
/// Characters of a name that are shown.
const LONGEST_NAME: usize = 100;
/// Bytes of a name that are stored: enough for the characters that are shown.
const LONGEST_KEY: usize = LONGEST_NAME * 4;

#[derive(Debug)]
pub(super) struct Ledger {
    /// Records compared.
    pub(super) records: u64,
    /// By node.
    nodes: Vec<NodeCounts>,
    drift: BTreeMap<(TypeId, DriftKind, Option<JsonType>), Tally>,
    new_fields: usize,
}

/// Counts at a node.
#[derive(Debug, Default)]
struct NodeCounts {
    /// Compared objects at this node, and the first record with one.
    objects: Tally,
    /// The number of parent objects with this field.
    had: u64,
    /// The last of them, so that a repeated name in an object counts once.
    last_had: u64,
    /// Fields that the schema does not name, by name.
    new_fields: HashMap<Box<[u8]>, Tally>,
    /// All of them together, once there are too many.
    many_new_fields: Option<Tally>,
}

/// A count, and the first record.
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

    /// The sum of both.
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
    pub(super) fn new(rules: &[TypeRules], earlier: &Baseline) -> Self {
        let nodes = rules.iter().map(|rules| NodeCounts {
            many_new_fields: earlier
                .has_many_new_fields(&rules.path)
                .then(Tally::default),
            ..NodeCounts::default()
        });
        Self {
            records: 0,
            nodes: nodes.collect(),
            drift: BTreeMap::new(),
            new_fields: 0,
        }
    }

    /// Counts an object and returns its number among those at this node.
    pub(super) fn open(&mut self, object: TypeId) -> u64 {
        let objects = &mut self.nodes[object].objects;
        objects.add(self.records);
        objects.count
    }

    /// Counts a field of the object with this number.
    pub(super) fn has(&mut self, field: TypeId, number: u64) {
        let counts = &mut self.nodes[field];
        if counts.last_had != number {
            counts.last_had = number;
            counts.had += 1;
        }
    }

    /// Whether the object with this number had a field.
    pub(super) fn had(&self, field: TypeId, number: u64) -> bool {
        self.nodes[field].last_had == number
    }

    /// Counts drift.
    pub(super) fn drifts(&mut self, at: TypeId, kind: DriftKind, saw: Option<JsonType>) {
        let tally = self.drift.entry((at, kind, saw)).or_default();
        tally.add(self.records);
    }

    /// Counts a field that the schema does not name.
    pub(super) fn has_new(&mut self, object: TypeId, name: &[u8]) {
        let record = self.records;
        let counts = &mut self.nodes[object];
        if let Some(many) = &mut counts.many_new_fields {
            many.add(record);
            return;
        }
        let name = &name[..name.len().min(LONGEST_KEY)];
        if let Some(known) = counts.new_fields.get_mut(name) {
            known.add(record);
            return;
        }
        if counts.new_fields.len() == MAX_NEW_SIBLINGS {
            let siblings = mem::take(&mut counts.new_fields);
            let mut many = siblings.into_values().fold(Tally::default(), Tally::with);
            many.add(record);
            counts.many_new_fields = Some(many);
            self.new_fields -= MAX_NEW_SIBLINGS;
            return;
        }
        if self.new_fields == MAX_NEW_FIELDS {
            self.drifts(RECORD, DriftKind::TooMany, None);
            return;
        }
        self.new_fields += 1;
        let mut new = Tally::default();
        new.add(record);
        counts.new_fields.insert(name.into(), new);
    }

    /// All drift so far, by path.
    pub(super) fn events(&self, rules: &[TypeRules], earlier: &Baseline) -> Vec<DriftEvent> {
        let mut events = Vec::new();
        for ((at, kind, saw), tally) in &self.drift {
            let node = &rules[*at];
            let mut event = tally.event(*kind, node.path.clone());
            if saw.is_some() {
                event.expected = node.types.list();
                event.saw = *saw;
            }
            events.push(event);
        }
        for (node, counts) in rules.iter().zip(&self.nodes) {
            for (name, seen) in &counts.new_fields {
                let path = join_path(&node.path, &shown(name));
                events.push(seen.event(DriftKind::NewField, path));
            }
            if let Some(many) = counts.many_new_fields.filter(|many| many.count > 0) {
                events.push(many.event(DriftKind::ManyNewFields, node.path.clone()));
            }
            for field in &node.fields {
                let path = &rules[*field].path;
                let is_reported = self
                    .drift
                    .contains_key(&(*field, DriftKind::MissingField, None));
                let is_gone = counts.objects.count > 0 && self.nodes[*field].had == 0;
                if is_gone && !is_reported && earlier.expects(path, &node.path) {
                    events.push(counts.objects.event(DriftKind::MissingField, path.clone()));
                }
            }
        }
        for event in &mut events {
            event.is_known = earlier.knows(event);
        }
        events.sort_by(|a, b| (&a.path, a.kind, a.saw).cmp(&(&b.path, b.kind, b.saw)));
        events
    }

    /// The baseline for later runs: the earlier one and this run's counts.
    pub(super) fn baseline(&self, rules: &[TypeRules], earlier: &Baseline) -> Baseline {
        let mut baseline = earlier.clone();
        for event in self.events(rules, earlier) {
            baseline.add_reported(&event);
        }
        for (node, counts) in rules.iter().zip(&self.nodes) {
            let objects = counts.objects.count;
            if objects == 0 || node.fields.is_empty() {
                continue;
            }
            for field in &node.fields {
                let path = &rules[*field].path;
                baseline.add_field(path, &node.path, self.nodes[*field].had, objects);
            }
            baseline.add_objects(&node.path, objects);
        }
        baseline
    }
}

/// A name that is safe to show. A service could send names of any length, or with characters that move a terminal's
/// cursor.
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
