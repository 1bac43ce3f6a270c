//! What a stream's JSON Schema says about where personal data stands, compiled for the scanner.

use std::{collections::BTreeSet, ptr};

use headwater_core::{DataClass, Error, Kind, Result, StreamSpec};
use headwater_json::join_path;
use serde_json::Value;

use super::{Action, Redaction};

/// Place of a node in its plan.
pub(super) type NodeId = usize;

/// The node of a record itself.
pub(super) const ROOT: NodeId = 0;

/// Where classed values stand in the records of a stream. Parts of a record without any have no node.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) nodes: Vec<Node>,
    pub(super) fields: Vec<ClassedField>,
}

/// A value on the way to classed ones, or a classed one.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The place in [`Plan::fields`], if the value itself has a class.
    pub(super) field: Option<usize>,
    /// Fields of an object on the way.
    named: Vec<(Box<[u8]>, Option<NodeId>)>,
    /// Fields of an object that the schema does not name.
    other: Option<NodeId>,
    /// What stands in a list.
    items: Option<NodeId>,
    /// Whether the schema allows a text, a number or a truth value here.
    pub(super) may_be_scalar: bool,
}

/// A field with a class.
#[derive(Debug)]
pub(super) struct ClassedField {
    pub(super) path: String,
    pub(super) class: DataClass,
    pub(super) action: Action,
}

impl Plan {
    /// Reads the schema of a stream. A schema whose classes cannot all be followed is refused: what is not understood
    /// would not be replaced.
    pub(super) fn new(spec: &StreamSpec, redaction: &Redaction) -> Result<Self> {
        let refuse = |why: String| {
            let text = format!("the records of {} cannot be redacted: {why}", spec.name);
            Error::new(Kind::Unsupported, text)
        };
        let schema = (spec.schema)();
        let mut plan = Self {
            nodes: Vec::new(),
            fields: Vec::new(),
        };
        let mut followed = BTreeSet::new();
        plan.node(&[&schema], "", spec, redaction, &mut followed)
            .map_err(|name| {
                refuse(format!(
                    "its schema has the class {name}, which is not known"
                ))
            })?;
        if followed.len() != marks(&schema) {
            let why = "its schema has classes where redaction does not look, in a definition or a pattern for example";
            return Err(refuse(why.to_owned()));
        }
        Ok(plan)
    }

    /// The node for a field of an object.
    pub(super) fn field_of(&self, object: NodeId, name: &[u8]) -> Option<NodeId> {
        let node = &self.nodes[object];
        let known = node.named.iter().find(|(known, _)| **known == *name);
        known.map_or(node.other, |(_, id)| *id)
    }

    /// Whether a field's name is data, as in a map, and not part of the schema.
    pub(super) fn is_map_key(&self, object: NodeId, name: &[u8]) -> bool {
        let node = &self.nodes[object];
        node.other.is_some() && !node.named.iter().any(|(known, _)| **known == *name)
    }

    /// The node for what stands in a list. Where the schema knows no list, its elements are taken for what it knows.
    pub(super) fn item_of(&self, list: NodeId) -> NodeId {
        self.nodes[list].items.unwrap_or(list)
    }

    /// The node whose fields an object has. Where the schema knows a list only, the object is taken for its element.
    pub(super) fn object_of(&self, mut id: NodeId) -> NodeId {
        loop {
            let node = &self.nodes[id];
            match node.items {
                Some(items) if node.named.is_empty() && node.other.is_none() => id = items,
                _ => return id,
            }
        }
    }

    /// Adds the node of a value that all these schemas describe, or none if nothing in it has a class. `followed`
    /// collects the schemas whose class was seen.
    fn node(
        &mut self,
        schemas: &[&Value],
        path: &str,
        spec: &StreamSpec,
        redaction: &Redaction,
        followed: &mut BTreeSet<*const Value>,
    ) -> Result<Option<NodeId>, String> {
        let schemas = branches(schemas);
        let id = self.nodes.len();
        self.nodes.push(Node::default());
        let mut class = None;
        for schema in &schemas {
            if let Some(found) = DataClass::of(schema)? {
                followed.insert(ptr::from_ref(*schema));
                class = class.or(Some(found));
            }
        }
        let is_identifier = spec
            .key
            .iter()
            .chain(&spec.cursor)
            .any(|name| *name == path);
        let mut node = Node {
            may_be_scalar: schemas.iter().any(|schema| allows_scalar(schema)),
            ..Node::default()
        };
        if let Some(class) = class {
            node.field = Some(self.fields.len());
            self.fields.push(ClassedField {
                path: path.to_owned(),
                class,
                action: redaction.action(class, is_identifier),
            });
        }
        let mut names: Vec<&String> = schemas
            .iter()
            .filter_map(|schema| schema.get("properties")?.as_object())
            .flat_map(|properties| properties.keys())
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            let inner = inner(&schemas, |schema| {
                let known = schema.get("properties").and_then(|all| all.get(name));
                known.or_else(|| schema.get("additionalProperties"))
            });
            let id = self.node(&inner, &join_path(path, name), spec, redaction, followed)?;
            node.named.push((name.as_bytes().into(), id));
        }
        let others = inner(&schemas, |schema| schema.get("additionalProperties"));
        if !others.is_empty() {
            node.other = self.node(&others, &join_path(path, "*"), spec, redaction, followed)?;
        }
        let items = inner(&schemas, |schema| schema.get("items"));
        if !items.is_empty() {
            node.items = self.node(&items, &format!("{path}[]"), spec, redaction, followed)?;
        }
        if node.other.is_none() {
            node.named.retain(|(_, id)| id.is_some());
        }
        let is_empty = node.field.is_none()
            && node.named.is_empty()
            && node.other.is_none()
            && node.items.is_none();
        // The record itself always has a node, so that the scanner has where to begin.
        if is_empty && id != ROOT {
            self.nodes.truncate(id);
            return Ok(None);
        }
        self.nodes[id] = node;
        Ok(Some(id))
    }
}

/// These schemas and all that they are composed of.
fn branches<'a>(schemas: &[&'a Value]) -> Vec<&'a Value> {
    let mut found = schemas.to_vec();
    let mut next = 0;
    while let Some(schema) = found.get(next).copied() {
        let parts = ["anyOf", "oneOf", "allOf"]
            .into_iter()
            .filter_map(|keyword| schema.get(keyword)?.as_array());
        found.extend(parts.flatten());
        next += 1;
    }
    found
}

fn inner<'a>(
    schemas: &[&'a Value],
    part: impl Fn(&'a Value) -> Option<&'a Value>,
) -> Vec<&'a Value> {
    schemas.iter().filter_map(|schema| part(schema)).collect()
}

/// A composed schema has no type of its own; its parts have.
fn allows_scalar(schema: &Value) -> bool {
    let is_scalar = |name: &Value| {
        matches!(
            name.as_str(),
            Some("string" | "number" | "integer" | "boolean")
        )
    };
    match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(is_scalar),
        Some(name) => is_scalar(name),
        None => false,
    }
}

/// How many classes a schema has, wherever they stand.
fn marks(schema: &Value) -> usize {
    let own = usize::from(!matches!(DataClass::of(schema), Ok(None)));
    let inner: usize = match schema {
        Value::Object(object) => object.values().map(marks).sum(),
        Value::Array(array) => array.iter().map(marks).sum(),
        _ => 0,
    };
    own + inner
}
