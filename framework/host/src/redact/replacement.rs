//! Classed values are replaced while a traversal passes over a record; everything else is copied as it is.

use std::{collections::BTreeMap, str};

use headwater_json::{
    ClassRules, Frame, Malformed, NodeId, Text, TraversalPosition, Value, ValueKind, Visitor,
    decode, join_path,
};
use memchr::{memchr, memmem};

use super::{
    Action, RedactedClass,
    replace::{Pseudonyms, holds_address, without_signature},
};

/// Counts of the values in the records of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Values of each classed field that were treated as its class asks.
    pub(super) values: Vec<u64>,
    /// Values that were removed since they were not what the schema says, by path.
    pub(super) unexpected: BTreeMap<String, u64>,
    /// Values without a class that hold what looks like an e-mail address, by path.
    pub(super) addresses: BTreeMap<String, u64>,
}

/// Paths of their own that are kept. Names of fields come from the service and could be any number.
const MAX_PATHS: usize = 100;

/// The redaction of one record.
pub(crate) struct Replacement<'a> {
    pub(super) fields: &'a [RedactedClass],
    pub(super) pseudonyms: &'a Pseudonyms,
    pub(super) counts: &'a mut Counts,
    pub(super) out: &'a mut Vec<u8>,
    /// The record before this offset is in the output, as it was or replaced.
    pub(super) copied: usize,
}

impl Visitor for Replacement<'_> {
    #[inline(always)]
    fn enter(&mut self, place: &TraversalPosition<'_>, node: Option<NodeId>, _: bool) -> bool {
        let rules = place.schema.classes_at(node);
        rules.is_none_or(|rules| rules.field.is_none())
    }

    #[inline(always)]
    fn field(&mut self, place: &TraversalPosition<'_>, text: &Text, _: &[u8], _: Option<NodeId>) {
        let spelt = &place.record[text.span.clone()];
        self.look_for_address(place, spelt, text.has_escapes);
    }

    #[inline(always)]
    fn value(&mut self, place: &TraversalPosition<'_>, value: &Value) {
        let rules = place.schema.classes_at(value.node);
        match (rules, value.kind) {
            (
                Some(ClassRules {
                    field: Some(field), ..
                }),
                kind,
            ) => match kind {
                ValueKind::Text { .. } => self.classed_text(place, value, *field),
                ValueKind::Token => self.classed_token(place, value, *field),
                ValueKind::Object | ValueKind::List => self.remove_unexpected(place, value),
            },
            (Some(rules), ValueKind::Text { .. } | ValueKind::Token)
                if !rules.may_be_scalar && !is_null(place, value) =>
            {
                self.remove_unexpected(place, value);
            }
            (_, ValueKind::Text { has_escapes }) => {
                let spelt = &place.record[value.span.start + 1..value.span.end - 1];
                self.look_for_address(place, spelt, has_escapes);
            }
            _ => {}
        }
    }

    #[inline(always)]
    fn leave(&mut self, _: &TraversalPosition<'_>, _: &Frame) {}
}

impl Replacement<'_> {
    /// Copies the rest of a record that was read with this result.
    pub(super) fn end(self, read: Result<(), Malformed>, record: &[u8]) -> Result<(), Malformed> {
        read?;
        self.out.extend_from_slice(&record[self.copied..]);
        Ok(())
    }

    fn classed_text(&mut self, place: &TraversalPosition<'_>, value: &Value, field: usize) {
        let RedactedClass { class, action, .. } = self.fields[field];
        let spelt = &place.record[value.span.start + 1..value.span.end - 1];
        // An empty text tells nothing; a pseudonym would make all of them one person.
        if spelt.is_empty() {
            return;
        }
        match action {
            Action::Kept => {}
            Action::Removed => self.replace(place, value, b"null"),
            Action::Replaced | Action::Cut => {
                let Some(text) = decode(spelt) else {
                    return self.remove_unexpected(place, value);
                };
                if text.trim().is_empty() {
                    return;
                }
                self.copy_until(place, value);
                if action == Action::Cut {
                    // Writing to a vector does not fail, and a text can always be written.
                    let _ = serde_json::to_writer(&mut *self.out, without_signature(&text));
                } else {
                    self.out.push(b'"');
                    self.pseudonyms.append(class, &text, self.out);
                    self.out.push(b'"');
                }
            }
        }
        self.counts.values[field] += 1;
    }

    /// A number or truth value where the schema has a class. Pseudonyms and links are made of texts only.
    fn classed_token(&mut self, place: &TraversalPosition<'_>, value: &Value, field: usize) {
        if is_null(place, value) {
            return;
        }
        match self.fields[field].action {
            Action::Kept => {}
            Action::Removed => self.replace(place, value, b"null"),
            Action::Replaced | Action::Cut => return self.remove_unexpected(place, value),
        }
        self.counts.values[field] += 1;
    }

    #[inline(always)]
    fn look_for_address(&mut self, place: &TraversalPosition<'_>, spelt: &[u8], has_escapes: bool) {
        // An `@` may be written as an escape.
        let may_hold_one = memchr(b'@', spelt).is_some()
            || has_escapes && memmem::find(spelt, br"\u0040").is_some();
        if may_hold_one
            && let Some(text) = decode(spelt)
            && holds_address(text.as_bytes())
        {
            count(&mut self.counts.addresses, path(place));
        }
    }

    /// Puts null in place of a value that is not what its schema says, since it may hold anything.
    fn remove_unexpected(&mut self, place: &TraversalPosition<'_>, value: &Value) {
        self.replace(place, value, b"null");
        count(&mut self.counts.unexpected, path(place));
    }

    /// Writes something in place of a value.
    fn replace(&mut self, place: &TraversalPosition<'_>, value: &Value, by: &[u8]) {
        self.copy_until(place, value);
        self.out.extend_from_slice(by);
    }

    /// Copies the bytes before a value, and passes over the value.
    fn copy_until(&mut self, place: &TraversalPosition<'_>, value: &Value) {
        let before = &place.record[self.copied..value.span.start];
        self.out.extend_from_slice(before);
        self.copied = value.span.end;
    }
}

fn is_null(place: &TraversalPosition<'_>, value: &Value) -> bool {
    place.record[value.span.clone()] == *b"null"
}

/// The path of the value that is being read: `users[].userEmail`.
fn path(place: &TraversalPosition<'_>) -> String {
    let mut path = String::new();
    for frame in place.open {
        if !frame.is_object {
            path.push_str("[]");
            continue;
        }
        let name = &place.record[frame.name.clone()];
        let rules = place.schema.classes_at(frame.node);
        let is_data = rules.is_some_and(|rules| rules.is_map_key(name));
        // What does not look like the name of a field may be a person's.
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

fn count(counts: &mut BTreeMap<String, u64>, path: String) {
    let path = if counts.len() < MAX_PATHS || counts.contains_key(&path) {
        path
    } else {
        "and others".to_owned()
    };
    *counts.entry(path).or_default() += 1;
}
