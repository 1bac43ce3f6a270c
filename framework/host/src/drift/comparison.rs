//! The comparison of one record with the types of its schema.

use headwater_json::{
    Frame, JsonType, Malformed, NodeId, Text, TraversalPosition, TypeId, Value, ValueKind, Visitor,
};

use super::{
    event::DriftKind,
    ledger::{Ledger, RECORD},
};

/// Drift that breaks what the schema declares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breach {
    pub(super) kind: DriftKind,
    pub(super) at: TypeId,
    pub(super) saw: Option<JsonType>,
}

/// Counts what a record has, and keeps the first breach in it.
pub(crate) struct Comparison<'a> {
    ledger: &'a mut Ledger,
    /// The numbers of the open objects in the ledger, with a zero for each open list.
    numbers: &'a mut Vec<u64>,
    breach: Option<Breach>,
}

impl Visitor for Comparison<'_> {
    #[inline(always)]
    fn enter(
        &mut self,
        place: &TraversalPosition<'_>,
        node: Option<NodeId>,
        is_object: bool,
    ) -> bool {
        let Some((at, rules)) = place.schema.types_at(node) else {
            return false;
        };
        let number = if is_object {
            if !rules.types.has(JsonType::Object) || rules.fields.is_empty() {
                return false;
            }
            self.ledger.open(at)
        } else {
            if !rules.types.has(JsonType::Array) || rules.items.is_none() {
                return false;
            }
            0
        };
        self.numbers.push(number);
        true
    }

    #[inline(always)]
    fn field(
        &mut self,
        place: &TraversalPosition<'_>,
        _: &Text,
        name: &[u8],
        node: Option<NodeId>,
    ) {
        if let Some((field, _)) = place.schema.types_at(node) {
            let number = self.numbers.last().copied().unwrap_or_default();
            self.ledger.has(field, number);
            return;
        }
        let object = place.open.last().and_then(|frame| frame.node);
        if let Some((object, rules)) = place.schema.types_at(object)
            && !rules.is_map
        {
            self.ledger.has_new(object, name);
        }
    }

    #[inline(always)]
    fn value(&mut self, place: &TraversalPosition<'_>, value: &Value) {
        let Some((at, rules)) = place.schema.types_at(value.node) else {
            return;
        };
        let bytes = &place.record[value.span.clone()];
        let of = match value.kind {
            ValueKind::Object => JsonType::Object,
            ValueKind::List => JsonType::Array,
            ValueKind::Text { .. } => JsonType::String,
            ValueKind::Token => JsonType::of_token(bytes, rules.types.has(JsonType::Number)),
        };
        if !rules.types.has(of) {
            let is_null = of == JsonType::Null;
            let kind = if is_null {
                DriftKind::NewlyNull
            } else {
                DriftKind::Widened
            };
            self.drifts(at, kind, Some(of));
        } else if of.is_scalar() && !rules.allows_value(bytes) {
            self.drifts(at, DriftKind::NewEnumMember, None);
        }
    }

    /// Only now is it known which fields an object does not have.
    #[inline(always)]
    fn leave(&mut self, place: &TraversalPosition<'_>, frame: &Frame) {
        let number = self.numbers.pop().unwrap_or_default();
        if !frame.is_object {
            return;
        }
        let Some((_, rules)) = place.schema.types_at(frame.node) else {
            return;
        };
        for field in &rules.required {
            if !self.ledger.had(*field, number) {
                self.drifts(*field, DriftKind::MissingField, None);
            }
        }
    }
}

impl<'a> Comparison<'a> {
    /// Begins with the next record.
    pub(super) fn begin(ledger: &'a mut Ledger, numbers: &'a mut Vec<u64>) -> Self {
        ledger.records += 1;
        numbers.clear();
        Self {
            ledger,
            numbers,
            breach: None,
        }
    }

    /// The first breach in the record, which was read with this result.
    pub(crate) fn end(mut self, read: Result<(), Malformed>) -> Option<Breach> {
        if read == Err(Malformed) {
            self.drifts(RECORD, DriftKind::NotAnObject, None);
        }
        self.breach
    }

    fn drifts(&mut self, at: TypeId, kind: DriftKind, saw: Option<JsonType>) {
        self.ledger.drifts(at, kind, saw);
        if self.breach.is_none() && kind.is_breaking() {
            self.breach = Some(Breach { kind, at, saw });
        }
    }
}
