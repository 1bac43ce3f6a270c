//! The schema of a stream, compiled for the scanner: a node for every place in a record that can be looked at.

use headwater_json::join_path;
use serde_json::Value;

use super::{shape::Shape, types::Types};

/// Place of a node in its plan.
pub(super) type NodeId = usize;

/// The node of a record itself.
pub(super) const ROOT: NodeId = 0;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) nodes: Vec<Node>,
}

/// A place in a record.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it is: `[]` for what stands in a list. Empty for the record.
    pub(super) path: String,
    /// The name, if it is a field.
    name: Box<[u8]>,
    pub(super) types: Types,
    /// The only values there are, as JSON text, unless there may be any.
    members: Option<Vec<String>>,
    /// Fields of an object, sorted by name.
    fields: Vec<NodeId>,
    pub(super) required: Vec<NodeId>,
    /// Whether an object may have other fields than these.
    pub(super) is_map: bool,
    /// What stands in a list.
    pub(super) items: Option<NodeId>,
}

impl Plan {
    pub(super) fn new(schema: &Value) -> Self {
        let mut plan = Self { nodes: Vec::new() };
        plan.add(Shape::new(schema), "", String::new());
        plan
    }

    fn add(&mut self, shape: Shape<'_>, name: &str, path: String) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(Node {
            path: path.clone(),
            name: name.as_bytes().into(),
            types: shape.types,
            members: shape.members.map(|members| {
                let spelt = members.into_iter().map(Value::to_string);
                spelt.collect()
            }),
            fields: Vec::new(),
            required: Vec::new(),
            is_map: shape.is_map || shape.fields.is_empty(),
            items: None,
        });
        // A map of names to fields is in the order of the names.
        for (name, field) in shape.fields {
            let field = self.add(field, name, join_path(&path, name));
            self.nodes[id].fields.push(field);
            if shape.required.contains(name) {
                self.nodes[id].required.push(field);
            }
        }
        if let Some(items) = shape.items
            && !items.is_anything()
        {
            let items = self.add(*items, "", format!("{path}[]"));
            self.nodes[id].items = Some(items);
        }
        id
    }

    /// The field of this name. A likely one is tried first.
    pub(super) fn field(
        &self,
        object: NodeId,
        name: &[u8],
        likely: Option<NodeId>,
    ) -> Option<NodeId> {
        if let Some(likely) = likely
            && *self.nodes[likely].name == *name
        {
            return Some(likely);
        }
        let fields = &self.nodes[object].fields;
        let found = fields.binary_search_by(|field| (*self.nodes[*field].name).cmp(name));
        found.ok().map(|place| fields[place])
    }
}

impl Node {
    /// All fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = NodeId> {
        self.fields.iter().copied()
    }

    /// Whether the fields of an object are looked at.
    pub(super) fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Whether a text, a number or a truth value is one of those there are.
    pub(super) fn allows_value(&self, value: &[u8]) -> bool {
        let Some(members) = &self.members else {
            return true;
        };
        if members.iter().any(|member| member.as_bytes() == value) {
            return true;
        }
        // The same value can be spelt in several ways.
        let spelt = serde_json::from_slice::<Value>(value).map(|value| value.to_string());
        spelt.is_ok_and(|spelt| members.contains(&spelt))
    }
}
