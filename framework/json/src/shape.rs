//! The shape of a value by its JSON Schema, with alternatives and references resolved.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::types::{JsonType, TypeSet};

/// The types of a value and of everything in it. Where a schema says more than this can hold, it is taken to allow more, so
/// that nothing is reported as drift for want of understanding.
#[derive(Debug)]
pub(crate) struct Shape<'schema> {
    pub(crate) types: TypeSet,
    /// The only values there are, unless there may be any.
    pub(crate) members: Option<Vec<&'schema Value>>,
    pub(crate) fields: BTreeMap<&'schema str, Self>,
    pub(crate) required: BTreeSet<&'schema str>,
    /// Whether an object may have fields of any name, as a map has.
    pub(crate) is_map: bool,
    pub(crate) items: Option<Box<Self>>,
}

impl<'schema> Shape<'schema> {
    /// The shape that a whole schema describes.
    pub(crate) fn new(root: &'schema Value) -> Self {
        Self::read(root, root, &mut vec!["#"])
    }

    /// `inside` has the references that lead here. A repeated one describes a value without an end and is not followed.
    fn read(schema: &'schema Value, root: &'schema Value, inside: &mut Vec<&'schema str>) -> Self {
        let mut shape = Self::own(schema, root, inside);
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str)
            && !inside.contains(&reference)
            && let Some(target) = reference.strip_prefix('#').and_then(|to| root.pointer(to))
        {
            inside.push(reference);
            shape = shape.both(Self::read(target, root, inside));
            inside.pop();
        }
        for part in list(schema, "allOf") {
            shape = shape.both(Self::read(part, root, inside));
        }
        for keyword in ["anyOf", "oneOf"] {
            let alternatives = list(schema, keyword).map(|part| Self::read(part, root, inside));
            if let Some(either) = alternatives.reduce(Self::either) {
                shape = shape.both(either);
            }
        }
        shape
    }

    /// The shape by a schema alone, without its subschemas.
    fn own(schema: &'schema Value, root: &'schema Value, inside: &mut Vec<&'schema str>) -> Self {
        let members: Option<Vec<&Value>> = match (schema.get("enum"), schema.get("const")) {
            (Some(Value::Array(members)), _) => Some(members.iter().collect()),
            (_, Some(only)) => Some(vec![only]),
            _ => None,
        };
        let types = match (schema.get("type"), &members) {
            (Some(named), _) => TypeSet::named(named),
            (None, Some(members)) => members.iter().map(|member| JsonType::of(member)).collect(),
            (None, None) => TypeSet::ANY,
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let fields = properties
            .into_iter()
            .flatten()
            .map(|(name, field)| (name.as_str(), Self::read(field, root, inside)))
            .collect();
        let others = schema.get("additionalProperties");
        let has_positions = schema.get("prefixItems").is_some();
        let items = schema.get("items").filter(|_| !has_positions);
        Self {
            types,
            members,
            fields,
            required: list(schema, "required").filter_map(Value::as_str).collect(),
            is_map: others.is_some_and(|others| *others != Value::Bool(false))
                || schema.get("patternProperties").is_some(),
            items: items.map(|items| Box::new(Self::read(items, root, inside))),
        }
    }

    /// The shape of values that have this shape and the other one.
    fn both(mut self, other: Self) -> Self {
        for (name, field) in other.fields {
            let field = match self.fields.remove(name) {
                Some(own) => own.both(field),
                None => field,
            };
            self.fields.insert(name, field);
        }
        self.required.extend(other.required);
        Self {
            types: self.types.and(other.types),
            members: match (self.members, other.members) {
                (Some(mut own), Some(other)) => {
                    own.retain(|member| other.contains(member));
                    Some(own)
                }
                (own, other) => own.or(other),
            },
            fields: self.fields,
            required: self.required,
            is_map: self.is_map || other.is_map,
            items: match (self.items, other.items) {
                (Some(own), Some(other)) => Some(Box::new(own.both(*other))),
                (own, other) => own.or(other),
            },
        }
    }

    /// The shape of values that have this shape or the other one.
    fn either(self, other: Self) -> Self {
        let types = self.types.or(other.types);
        let takes_any_name = self.takes_any_name() || other.takes_any_name();
        let members = match (self.types.has_scalar(), other.types.has_scalar()) {
            (true, true) => self.members.zip(other.members).map(|(mut own, other)| {
                own.extend(other);
                own
            }),
            (true, false) => self.members,
            _ => other.members,
        };
        let items = match (
            self.types.has(JsonType::Array),
            other.types.has(JsonType::Array),
        ) {
            (true, true) => self
                .items
                .zip(other.items)
                .map(|(own, other)| Box::new(own.either(*other))),
            (true, false) => self.items,
            _ => other.items,
        };
        let is_object = (
            self.types.has(JsonType::Object),
            other.types.has(JsonType::Object),
        );
        let (fields, required, is_map) = match is_object {
            (true, true) => {
                let required = &self.required & &other.required;
                let mut fields = self.fields;
                for (name, field) in other.fields {
                    let field = match fields.remove(name) {
                        Some(own) => own.either(field),
                        None => field,
                    };
                    fields.insert(name, field);
                }
                (fields, required, takes_any_name)
            }
            (true, false) => (self.fields, self.required, self.is_map),
            _ => (other.fields, other.required, other.is_map),
        };
        Self {
            types,
            members,
            fields,
            required,
            is_map,
            items,
        }
    }

    fn takes_any_name(&self) -> bool {
        self.is_map || self.fields.is_empty()
    }

    /// Whether any value is of this shape.
    pub(crate) fn is_anything(&self) -> bool {
        self.types == TypeSet::ANY
            && self.members.is_none()
            && self.fields.is_empty()
            && self.items.is_none()
    }
}

fn list<'schema>(
    schema: &'schema Value,
    keyword: &str,
) -> impl Iterator<Item = &'schema Value> + use<'schema> {
    let values = schema.get(keyword).and_then(Value::as_array);
    values.into_iter().flatten()
}
