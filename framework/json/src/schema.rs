//! The JSON Schema of a stream, compiled for a traversal: a node for every place in a record that can be looked at.
//!
//! Two things are read of a schema, each by its own rules: the types that values have, which follow references and
//! compositions, and the classes of values, which follow compositions only. A node is a pair of both, so that a traversal
//! looks a name up once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ptr,
};

use serde_json::Value;

use crate::{shape::Shape, text::join_path, types::TypeSet};

/// The index of a node in its schema.
pub type NodeId = usize;

/// The index of [`TypeRules`] in their schema.
pub type TypeId = usize;

/// The index of [`ClassRules`] in their schema.
type ClassId = usize;

/// The node of a record itself.
pub const ROOT: NodeId = 0;

/// A schema, compiled.
#[derive(Debug)]
pub struct CompiledSchema {
    nodes: Vec<Node>,
    types: Vec<TypeRules>,
    classes: Vec<ClassRules>,
}

/// What the schema says about a place in a record.
#[derive(Debug)]
struct Node {
    types: Option<TypeId>,
    class: Option<ClassId>,
    /// Fields of an object, sorted by name.
    fields: Vec<(Box<[u8]>, Option<NodeId>)>,
    /// Fields of an object that are not among these.
    other: Option<NodeId>,
    items: Option<NodeId>,
    /// The node in whose place an object is read.
    object: NodeId,
    /// Where the fields that follow its fields begin in a list for all nodes.
    followers: usize,
}

/// The types of a value.
#[derive(Debug)]
pub struct TypeRules {
    /// Where the value is: `[]` for the elements of a list. Empty for the record.
    pub path: String,
    /// All types that it may have.
    pub types: TypeSet,
    /// The fields of an object, in the order of their names.
    pub fields: Vec<TypeId>,
    /// Those that every object has.
    pub required: Vec<TypeId>,
    /// Whether an object may have other fields than these.
    pub is_map: bool,
    /// The elements of a list.
    pub items: Option<TypeId>,
    /// The only values there are, as JSON text, unless there may be any.
    members: Option<Vec<String>>,
    names: Vec<Box<[u8]>>,
}

/// The class of a value, or the way to classed values in it.
#[derive(Debug, Default)]
pub struct ClassRules {
    /// The place in the list of [`ClassedField`]s, if the value itself has a class.
    pub field: Option<usize>,
    /// Whether the schema allows a text, a number or a truth value here.
    pub may_be_scalar: bool,
    /// Fields of an object on the way.
    named: Vec<(Box<[u8]>, Option<ClassId>)>,
    /// Fields of an object that the schema does not name.
    other: Option<ClassId>,
    items: Option<ClassId>,
}

/// A field with a class.
#[derive(Debug)]
pub struct ClassedField<C> {
    /// Where it is: `[]` for the elements of a list, `*` for any name in a map.
    pub path: String,
    /// What its values are.
    pub class: C,
}

/// Why the classes of a schema cannot all be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassError {
    /// A class with this name is not known.
    Unknown(String),
    /// Classes are where a compiled schema does not look: in a definition or a pattern for example.
    OutOfReach,
}

impl CompiledSchema {
    /// Compiles the types of a schema, without classes.
    pub fn of_types(schema: &Value) -> Self {
        let types = compile_types(schema);
        Self::pair(types, Vec::new())
    }

    /// Compiles the types and the classes of a schema. `class_of` returns the class that a schema gives its values, or the
    /// name of one that is not known.
    ///
    /// # Errors
    ///
    /// Fails if a class is not known, or is where a compiled schema does not look.
    pub fn with_classes<C>(
        schema: &Value,
        class_of: impl Fn(&Value) -> Result<Option<C>, String>,
    ) -> Result<(Self, Vec<ClassedField<C>>), ClassError> {
        let mut compiler = ClassCompiler {
            class_of: &class_of,
            rules: Vec::new(),
            fields: Vec::new(),
            followed: BTreeSet::new(),
        };
        compiler.add(&[schema], "").map_err(ClassError::Unknown)?;
        if compiler.followed.len() != count_classes(schema, &class_of) {
            return Err(ClassError::OutOfReach);
        }
        let schema = Self::pair(compile_types(schema), compiler.rules);
        Ok((schema, compiler.fields))
    }

    fn pair(types: Vec<TypeRules>, classes: Vec<ClassRules>) -> Self {
        let root = (Some(0), (!classes.is_empty()).then_some(0));
        let mut pairs = PairCompiler {
            types: &types,
            classes: &classes,
            nodes: Vec::new(),
            known: HashMap::new(),
        };
        pairs.add(root);
        let mut nodes = pairs.nodes;
        let mut followers = 0;
        for node in &mut nodes {
            node.followers = followers;
            followers += node.fields.len() + 1;
        }
        Self {
            nodes,
            types,
            classes,
        }
    }

    /// All rules about types; those of the record itself are the first.
    pub fn types(&self) -> &[TypeRules] {
        &self.types
    }

    /// The rules about types that hold at a node, with their place.
    #[inline]
    pub fn types_at(&self, node: Option<NodeId>) -> Option<(TypeId, &TypeRules)> {
        let id = self.nodes[node?].types?;
        Some((id, &self.types[id]))
    }

    /// The rules about classes that hold at a node.
    #[inline]
    pub fn classes_at(&self, node: Option<NodeId>) -> Option<&ClassRules> {
        Some(&self.classes[self.nodes[node?].class?])
    }

    /// The fields that follow each field of each node, and its beginning, as long as no record was seen: those that come
    /// next by name.
    pub(crate) fn followers(&self) -> Vec<usize> {
        let nodes = self.nodes.iter();
        nodes.flat_map(|node| 0..=node.fields.len()).collect()
    }

    #[inline]
    pub(crate) fn followers_at(&self, object: NodeId) -> usize {
        self.nodes[object].followers
    }

    /// The place of a field among those of an object. A likely one is tried first.
    #[inline]
    pub(crate) fn field(&self, object: NodeId, name: &[u8], likely: usize) -> Result<usize, usize> {
        let fields = &self.nodes[object].fields;
        if let Some((known, _)) = fields.get(likely)
            && **known == *name
        {
            return Ok(likely);
        }
        fields.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    #[inline]
    pub(crate) fn field_at(&self, object: NodeId, place: usize) -> Option<NodeId> {
        self.nodes[object].fields[place].1
    }

    #[inline]
    pub(crate) fn other_of(&self, object: NodeId) -> Option<NodeId> {
        self.nodes[object].other
    }

    #[inline]
    pub(crate) fn items_of(&self, list: NodeId) -> Option<NodeId> {
        self.nodes[list].items
    }

    #[inline]
    pub(crate) fn object_at(&self, node: NodeId) -> NodeId {
        self.nodes[node].object
    }
}

impl TypeRules {
    /// Whether a text, a number or a truth value is one of those there are.
    #[inline]
    pub fn allows_value(&self, value: &[u8]) -> bool {
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

impl ClassRules {
    /// Whether a field's name is data, as in a map, and not part of the schema.
    pub fn is_map_key(&self, name: &[u8]) -> bool {
        self.other.is_some() && !self.named.iter().any(|(known, _)| **known == *name)
    }

    fn field(&self, name: &[u8]) -> Option<ClassId> {
        let known = self.named.iter().find(|(known, _)| **known == *name);
        known.map_or(self.other, |(_, id)| *id)
    }
}

fn compile_types(schema: &Value) -> Vec<TypeRules> {
    fn add(rules: &mut Vec<TypeRules>, shape: Shape<'_>, path: String) -> TypeId {
        let id = rules.len();
        rules.push(TypeRules {
            path: path.clone(),
            types: shape.types,
            fields: Vec::new(),
            required: Vec::new(),
            is_map: shape.is_map || shape.fields.is_empty(),
            items: None,
            members: shape.members.map(|members| {
                let spelt = members.into_iter().map(Value::to_string);
                spelt.collect()
            }),
            names: Vec::new(),
        });
        // A map of names to fields is in the order of the names.
        for (name, field) in shape.fields {
            let field = add(rules, field, join_path(&path, name));
            rules[id].fields.push(field);
            rules[id].names.push(name.as_bytes().into());
            if shape.required.contains(name) {
                rules[id].required.push(field);
            }
        }
        if let Some(items) = shape.items
            && !items.is_anything()
        {
            let items = add(rules, *items, format!("{path}[]"));
            rules[id].items = Some(items);
        }
        id
    }
    let mut rules = Vec::new();
    add(&mut rules, Shape::new(schema), String::new());
    rules
}

struct ClassCompiler<'c, C> {
    class_of: &'c dyn Fn(&Value) -> Result<Option<C>, String>,
    rules: Vec<ClassRules>,
    fields: Vec<ClassedField<C>>,
    /// The schemas whose class was seen.
    followed: BTreeSet<*const Value>,
}

impl<C> ClassCompiler<'_, C> {
    /// Adds the rules of a value that all these schemas describe, or none if nothing in it has a class.
    fn add(&mut self, schemas: &[&Value], path: &str) -> Result<Option<ClassId>, String> {
        let schemas = branches(schemas);
        let id = self.rules.len();
        self.rules.push(ClassRules::default());
        let mut class = None;
        for schema in &schemas {
            if let Some(found) = (self.class_of)(schema)? {
                self.followed.insert(ptr::from_ref(*schema));
                class = class.or(Some(found));
            }
        }
        let mut rules = ClassRules {
            may_be_scalar: schemas.iter().any(|schema| allows_scalar(schema)),
            ..ClassRules::default()
        };
        if let Some(class) = class {
            rules.field = Some(self.fields.len());
            self.fields.push(ClassedField {
                path: path.to_owned(),
                class,
            });
        }
        let names: BTreeSet<&String> = schemas
            .iter()
            .filter_map(|schema| schema.get("properties")?.as_object())
            .flat_map(|properties| properties.keys())
            .collect();
        for name in names {
            let inner = inner(&schemas, |schema| {
                let known = schema.get("properties").and_then(|all| all.get(name));
                known.or_else(|| schema.get("additionalProperties"))
            });
            let id = self.add(&inner, &join_path(path, name))?;
            rules.named.push((name.as_bytes().into(), id));
        }
        let others = inner(&schemas, |schema| schema.get("additionalProperties"));
        if !others.is_empty() {
            rules.other = self.add(&others, &join_path(path, "*"))?;
        }
        let items = inner(&schemas, |schema| schema.get("items"));
        if !items.is_empty() {
            rules.items = self.add(&items, &format!("{path}[]"))?;
        }
        if rules.other.is_none() {
            rules.named.retain(|(_, id)| id.is_some());
        }
        let is_empty = rules.field.is_none()
            && rules.named.is_empty()
            && rules.other.is_none()
            && rules.items.is_none();
        // The record itself always has rules, so that a record that is no object is noticed.
        if is_empty && id != ROOT {
            self.rules.truncate(id);
            return Ok(None);
        }
        self.rules[id] = rules;
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

/// How many classes a schema has, wherever they are.
fn count_classes<C>(
    schema: &Value,
    class_of: &impl Fn(&Value) -> Result<Option<C>, String>,
) -> usize {
    let own = usize::from(!matches!(class_of(schema), Ok(None)));
    let inner: usize = match schema {
        Value::Object(object) => object
            .values()
            .map(|part| count_classes(part, class_of))
            .sum(),
        Value::Array(array) => array.iter().map(|part| count_classes(part, class_of)).sum(),
        _ => 0,
    };
    own + inner
}

type Pair = (Option<TypeId>, Option<ClassId>);

/// Makes the nodes: all pairs of rules that hold at one place of some record.
struct PairCompiler<'r> {
    types: &'r [TypeRules],
    classes: &'r [ClassRules],
    nodes: Vec<Node>,
    known: HashMap<Pair, NodeId>,
}

impl PairCompiler<'_> {
    fn add(&mut self, pair: Pair) -> Option<NodeId> {
        let (types, class) = pair;
        if types.is_none() && class.is_none() {
            return None;
        }
        if let Some(id) = self.known.get(&pair) {
            return Some(*id);
        }
        let id = self.nodes.len();
        self.known.insert(pair, id);
        self.nodes.push(Node {
            types,
            class,
            fields: Vec::new(),
            other: None,
            items: None,
            object: id,
            followers: 0,
        });
        let rules = types.map(|id| &self.types[id]);
        let classes = class.map(|id| &self.classes[id]);
        let mut fields: BTreeMap<&[u8], Option<TypeId>> = BTreeMap::new();
        for (name, _) in classes.iter().flat_map(|class| &class.named) {
            fields.insert(name, None);
        }
        if let Some(rules) = rules {
            for (name, field) in rules.names.iter().zip(&rules.fields) {
                fields.insert(name, Some(*field));
            }
        }
        let fields = fields.into_iter().map(|(name, field)| {
            let class = classes.and_then(|class| class.field(name));
            (Box::from(name), self.add((field, class)))
        });
        self.nodes[id].fields = fields.collect();
        self.nodes[id].other = self.add((None, classes.and_then(|class| class.other)));
        // Where the classes know no list, its elements are taken for what they know.
        let items = classes.and_then(|classes| classes.items.or(class));
        self.nodes[id].items = self.add((rules.and_then(|rules| rules.items), items));
        if let Some(object) = class.map(|class| self.object_of(class))
            && let Some(object) = self.add((types, Some(object)))
        {
            self.nodes[id].object = object;
        }
        Some(id)
    }

    /// The class rules that the fields of an object have. Where the classes know a list only, the object is taken for
    /// its element.
    fn object_of(&self, mut id: ClassId) -> ClassId {
        loop {
            let rules = &self.classes[id];
            match rules.items {
                Some(items) if rules.named.is_empty() && rules.other.is_none() => id = items,
                _ => return id,
            }
        }
    }
}
