//! One pass over the bytes of a record, beside the compiled schema.

use headwater_json::{JsonCursor, Malformed};

use super::{
    event::DriftKind,
    ledger::Ledger,
    plan::{NodeId, Plan, ROOT},
    types::JsonType,
};

/// Drift that breaks what the schema declares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breach {
    pub(super) kind: DriftKind,
    pub(super) at: NodeId,
    pub(super) saw: Option<JsonType>,
}

/// An object or list that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// The object's own node, or that of the list's elements.
    node: NodeId,
    is_object: bool,
    /// The object's number in the ledger.
    number: u64,
    /// The object's last field that the schema names.
    after: Option<NodeId>,
    is_empty: bool,
}

struct Scanner<'a> {
    plan: &'a Plan,
    ledger: &'a mut Ledger,
    open: &'a mut Vec<Frame>,
    cursor: JsonCursor<'a>,
    /// The first one in this record.
    breach: Option<Breach>,
}

/// Counts what a record has, and tells the first breach in it. `open` is kept by the caller for its memory only.
pub(super) fn scan(
    plan: &Plan,
    ledger: &mut Ledger,
    open: &mut Vec<Frame>,
    record: &[u8],
) -> Option<Breach> {
    open.clear();
    let mut scanner = Scanner {
        plan,
        ledger,
        open,
        cursor: JsonCursor::new(record),
        breach: None,
    };
    if let Err(Malformed) = scanner.record() {
        scanner.drifts(ROOT, DriftKind::NotAnObject, None);
    }
    scanner.breach
}

impl Scanner<'_> {
    /// Nesting is kept in `open` and not on the stack of the program, so that its depth has no limit.
    fn record(&mut self) -> Result<(), Malformed> {
        self.cursor.skip_space();
        if self.cursor.peek()? != b'{' {
            return Err(Malformed);
        }
        self.value(ROOT)?;
        loop {
            self.cursor.skip_space();
            let Some(frame) = self.open.last_mut() else {
                let is_over = self.cursor.is_at_end();
                return if is_over { Ok(()) } else { Err(Malformed) };
            };
            let end = if frame.is_object { b'}' } else { b']' };
            if self.cursor.peek()? == end {
                self.cursor.advance();
                self.close();
                continue;
            }
            if !frame.is_empty {
                self.cursor.expect(b',')?;
                self.cursor.skip_space();
            }
            frame.is_empty = false;
            let frame = *frame;
            if frame.is_object {
                self.field(frame)?;
            } else {
                self.value(frame.node)?;
            }
        }
    }

    /// Reads a field of the innermost object.
    fn field(&mut self, object: Frame) -> Result<(), Malformed> {
        let name = self.cursor.name()?;
        let spelt = &self.cursor.input()[name.span.clone()];
        let decoded = if name.has_escapes {
            self.cursor.decode(&name)
        } else {
            None
        };
        let said = decoded.as_ref().map_or(spelt, |decoded| decoded.as_bytes());
        let likely = self.ledger.likely(object.node, object.after);
        if let Some(field) = self.plan.field(object.node, said, likely) {
            if likely != Some(field) {
                self.ledger.follows(object.node, object.after, field);
            }
            if let Some(frame) = self.open.last_mut() {
                frame.after = Some(field);
            }
            self.ledger.has(field, object.number);
            return self.value(field);
        }
        if !self.plan.nodes[object.node].is_map {
            self.ledger.has_new(object.node, said);
        }
        self.cursor.skip_value()
    }

    /// Reads a value, or opens it if there is something in it to look at.
    fn value(&mut self, at: NodeId) -> Result<(), Malformed> {
        let node = &self.plan.nodes[at];
        let start = self.cursor.at();
        let of = match self.cursor.peek()? {
            b'{' if node.types.has(JsonType::Object) && node.has_fields() => {
                let number = self.ledger.open(at);
                self.enter(at, true, number);
                return Ok(());
            }
            b'[' if node.types.has(JsonType::Array)
                && let Some(items) = node.items =>
            {
                self.enter(items, false, 0);
                return Ok(());
            }
            b'{' => {
                self.cursor.skip_value()?;
                JsonType::Object
            }
            b'[' => {
                self.cursor.skip_value()?;
                JsonType::Array
            }
            b'"' => {
                self.cursor.text()?;
                JsonType::String
            }
            _ => JsonType::of_token(self.cursor.token()?, node.types.has(JsonType::Number)),
        };
        if !node.types.has(of) {
            let is_null = of == JsonType::Null;
            let kind = if is_null {
                DriftKind::NewlyNull
            } else {
                DriftKind::Widened
            };
            self.drifts(at, kind, Some(of));
        } else if of.is_scalar()
            && !node.allows_value(&self.cursor.input()[start..self.cursor.at()])
        {
            self.drifts(at, DriftKind::NewEnumMember, None);
        }
        Ok(())
    }

    fn enter(&mut self, node: NodeId, is_object: bool, number: u64) {
        self.cursor.advance();
        self.open.push(Frame {
            node,
            is_object,
            number,
            after: None,
            is_empty: true,
        });
    }

    /// Leaves the innermost object or list. Only now is it known which fields an object does not have.
    fn close(&mut self) {
        let Some(frame) = self.open.pop().filter(|frame| frame.is_object) else {
            return;
        };
        let plan = self.plan;
        for field in &plan.nodes[frame.node].required {
            if !self.ledger.had(*field, frame.number) {
                self.drifts(*field, DriftKind::MissingField, None);
            }
        }
    }

    fn drifts(&mut self, at: NodeId, kind: DriftKind, saw: Option<JsonType>) {
        self.ledger.drifts(at, kind, saw);
        if self.breach.is_none() && kind.is_breaking() {
            self.breach = Some(Breach { kind, at, saw });
        }
    }
}
