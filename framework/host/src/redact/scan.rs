//! One pass over the bytes of a record: classed values are replaced, everything else is copied as it is.

use std::{collections::BTreeMap, ops::Range, str};

use headwater_json::{JsonCursor, Malformed, Text, join_path};
use memchr::{memchr, memmem};

use super::{
    Action,
    plan::{NodeId, Plan, ROOT},
    replace::{Pseudonyms, holds_address, without_signature},
};

/// What was met in the records of a stream.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Values of each classed field that were treated as its class asks.
    pub(super) values: Vec<u64>,
    /// Values that were removed since they were not what the schema says, by path.
    pub(super) unexpected: BTreeMap<String, u64>,
    /// Values without a class that hold what looks like an e-mail address, by path.
    pub(super) addresses: BTreeMap<String, u64>,
}

/// Paths of their own that are kept. Names of fields come from the service and could be any number.
const MAX_PATHS: usize = 100;

/// An object or list that is open.
#[derive(Debug)]
pub(super) struct Frame {
    node: Option<NodeId>,
    is_object: bool,
    /// The name of the field that is being read, as it is spelt between its quotes.
    name: Range<usize>,
}

pub(super) struct Scanner<'a> {
    plan: &'a Plan,
    pseudonyms: &'a Pseudonyms,
    counts: &'a mut Counts,
    open: &'a mut Vec<Frame>,
    cursor: JsonCursor<'a>,
    out: &'a mut Vec<u8>,
    /// The input before this place is in the output, as it was or replaced.
    copied: usize,
}

impl<'a> Scanner<'a> {
    /// Appends the redacted record to `out`.
    pub(super) fn run(
        plan: &'a Plan,
        pseudonyms: &'a Pseudonyms,
        counts: &'a mut Counts,
        open: &'a mut Vec<Frame>,
        input: &'a [u8],
        out: &'a mut Vec<u8>,
    ) -> Result<(), Malformed> {
        open.clear();
        let mut scanner = Self {
            plan,
            pseudonyms,
            counts,
            open,
            cursor: JsonCursor::new(input),
            out,
            copied: 0,
        };
        scanner.record()?;
        scanner.out.extend_from_slice(&input[scanner.copied..]);
        Ok(())
    }

    /// Nesting is kept in `open` and not on the stack of the program, so that its depth has no limit.
    fn record(&mut self) -> Result<(), Malformed> {
        let mut node = Some(ROOT);
        loop {
            let opened = self.value(node)?;
            let mut is_first = opened;
            node = loop {
                self.cursor.skip_space();
                let Some(frame) = self.open.last() else {
                    return if self.cursor.is_at_end() {
                        Ok(())
                    } else {
                        Err(Malformed)
                    };
                };
                let (inside, is_object) = (frame.node, frame.is_object);
                match self.cursor.peek()? {
                    b'}' if is_object => self.close(),
                    b']' if !is_object => self.close(),
                    b',' if !is_first => {
                        self.cursor.advance();
                        break self.next(inside, is_object)?;
                    }
                    _ if is_first => break self.next(inside, is_object)?,
                    _ => return Err(Malformed),
                }
                is_first = false;
            };
        }
    }

    fn close(&mut self) {
        self.cursor.advance();
        self.open.pop();
    }

    /// Goes to the next value of the innermost object or list and tells its node.
    fn next(
        &mut self,
        inside: Option<NodeId>,
        is_object: bool,
    ) -> Result<Option<NodeId>, Malformed> {
        self.cursor.skip_space();
        if !is_object {
            return Ok(inside.map(|list| self.plan.item_of(list)));
        }
        let name = self.cursor.name()?;
        if let Some(frame) = self.open.last_mut() {
            frame.name = name.span.clone();
        }
        self.look_for_address(&name);
        let Some(object) = inside else {
            return Ok(None);
        };
        // A name that is no text cannot be one of the schema's.
        let decoded = self.cursor.decode(&name).unwrap_or_default();
        Ok(self.plan.field_of(object, decoded.as_bytes()))
    }

    /// Reads a value, or opens it if it is an object or list that may hold something; then tells so.
    fn value(&mut self, node: Option<NodeId>) -> Result<bool, Malformed> {
        let (start, first) = (self.cursor.at(), self.cursor.peek()?);
        let node = match node {
            Some(id) if first == b'{' => Some(self.plan.object_of(id)),
            other => other,
        };
        let field = node.and_then(|id| self.plan.nodes[id].field);
        match first {
            b'{' | b'[' if field.is_some() => {
                self.cursor.skip_value()?;
                self.remove_unexpected(start);
            }
            b'{' | b'[' => {
                self.cursor.advance();
                self.open.push(Frame {
                    node,
                    is_object: first == b'{',
                    name: 0..0,
                });
                return Ok(true);
            }
            b'"' => {
                let text = self.cursor.text()?;
                match (field, node) {
                    (Some(field), _) => self.classed_text(field, &text),
                    (None, Some(id)) if !self.plan.nodes[id].may_be_scalar => {
                        self.remove_unexpected(start);
                    }
                    _ => self.look_for_address(&text),
                }
            }
            _ => {
                let token = self.cursor.token()?;
                if token == b"null" {
                    return Ok(false);
                }
                match (field, node) {
                    (Some(field), _) => self.classed_token(field, start),
                    (None, Some(id)) if !self.plan.nodes[id].may_be_scalar => {
                        self.remove_unexpected(start);
                    }
                    _ => {}
                }
            }
        }
        Ok(false)
    }

    fn classed_text(&mut self, field: usize, text: &Text) {
        let start = text.span.start - 1;
        let (class, action) = (
            self.plan.fields[field].class,
            self.plan.fields[field].action,
        );
        // An empty text tells nothing; a pseudonym would make all of them one person.
        if text.span.is_empty() {
            return;
        }
        match action {
            Action::Kept => {}
            Action::Removed => self.replace(start, b"null"),
            Action::Replaced | Action::Cut => {
                let Some(value) = self.cursor.decode(text) else {
                    return self.remove_unexpected(start);
                };
                if value.trim().is_empty() {
                    return;
                }
                self.copy_until(start);
                if action == Action::Cut {
                    // Writing to a vector does not fail, and a text can always be written.
                    let _ = serde_json::to_writer(&mut *self.out, without_signature(&value));
                } else {
                    self.out.push(b'"');
                    self.pseudonyms.append(class, &value, self.out);
                    self.out.push(b'"');
                }
            }
        }
        self.counts.values[field] += 1;
    }

    /// A number or truth value where the schema has a class. Pseudonyms and links are made of texts only.
    fn classed_token(&mut self, field: usize, start: usize) {
        match self.plan.fields[field].action {
            Action::Kept => {}
            Action::Removed => self.replace(start, b"null"),
            Action::Replaced | Action::Cut => return self.remove_unexpected(start),
        }
        self.counts.values[field] += 1;
    }

    fn look_for_address(&mut self, text: &Text) {
        if self.may_hold_address(text)
            && let Some(value) = self.cursor.decode(text)
            && holds_address(value.as_bytes())
        {
            let path = self.path();
            count(&mut self.counts.addresses, path);
        }
    }

    /// Whether a text has an `@`, also one that is written as an escape.
    fn may_hold_address(&self, text: &Text) -> bool {
        let spelt = &self.cursor.input()[text.span.clone()];
        memchr(b'@', spelt).is_some()
            || text.has_escapes && memmem::find(spelt, br"\u0040").is_some()
    }

    /// Puts null in place of a value that is not what its schema says, since nobody knows what it holds.
    fn remove_unexpected(&mut self, start: usize) {
        self.replace(start, b"null");
        let path = self.path();
        count(&mut self.counts.unexpected, path);
    }

    /// Writes something in place of the value that began at `start` and has just been read.
    fn replace(&mut self, start: usize, by: &[u8]) {
        self.copy_until(start);
        self.out.extend_from_slice(by);
    }

    /// Copies what stands before the value that has just been read, and passes over the value.
    fn copy_until(&mut self, start: usize) {
        self.out
            .extend_from_slice(&self.cursor.input()[self.copied..start]);
        self.copied = self.cursor.at();
    }

    /// The place of the value that is being read: `users[].userEmail`.
    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &*self.open {
            if !frame.is_object {
                path.push_str("[]");
                continue;
            }
            let name = &self.cursor.input()[frame.name.clone()];
            let is_data = frame
                .node
                .is_some_and(|node| self.plan.is_map_key(node, name));
            // What does not look like the name of a field may be somebody's.
            let is_plain = (1..=64).contains(&name.len())
                && name
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-$".contains(byte));
            let shown = if is_plain && !is_data {
                str::from_utf8(name).unwrap_or("*")
            } else {
                "*"
            };
            path = join_path(&path, shown);
        }
        path
    }
}

fn count(counts: &mut BTreeMap<String, u64>, path: String) {
    let path = if counts.len() < MAX_PATHS || counts.contains_key(&path) {
        path
    } else {
        "and others".to_owned()
    };
    *counts.entry(path).or_default() += 1;
}
