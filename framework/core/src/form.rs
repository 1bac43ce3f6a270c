//! The form model: the only reader of a config's JSON Schema, and the input of every renderer.
//!
//! The profile of JSON Schema that a form may use: one level of grouping; scalars, lists of scalars, enums, tagged
//! `oneOf` with a `const` tag; title and description on every field; secrets are write-only password strings without
//! default; booleans have a default. Our own hints are under [`NAMESPACE`].

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    base_url::BaseUrl,
    secret::VISIBLE_ASCII,
    text::{bare, unspaced},
};

/// The one keyword that holds our hints.
pub const NAMESPACE: &str = "x-headwater";

/// A form, ready to render: fields in display order.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct FormModel {
    /// The connector's name.
    pub title: String,
    /// Fields in display order.
    pub fields: Vec<Field>,
    /// The setup guide, shown next to the form.
    pub guide: Vec<GuideStep>,
}

/// One step of a setup guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GuideStep {
    /// A few words.
    pub title: &'static str,
    /// One or two sentences.
    pub text: &'static str,
}

/// One input of a form.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Field {
    /// JSON Pointer of the value inside the form's answer.
    pub pointer: String,
    /// Label.
    pub title: String,
    /// The purpose of the value.
    pub description: String,
    /// The kind of input.
    #[serde(flatten)]
    pub kind: FieldKind,
    /// Whether the form refuses an answer without it.
    pub required: bool,
    /// The value used when the answer has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Where to find the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The text of an empty input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
    /// The heading above the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Folded away at first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub advanced: bool,
    /// Decides where secrets are sent: after a change the user has to enter them again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub destination: bool,
    /// The step of the guide that explains the field, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guide_step: Option<u64>,
    /// Whether the text may have several lines.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub multiline: bool,
    /// The service keeps one at a time: creating a new one disables the old one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub single: bool,
    /// Spaces and quotes around its value are part of it, as in a password that a person chose.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub verbatim: bool,
    /// The usual prefix of its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_prefix: Option<String>,
    /// Its pattern permits visible ASCII only, so a space is never part of a value.
    #[serde(skip)]
    is_visible: bool,
    #[serde(skip)]
    order: u64,
}

/// The kinds of input.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FieldKind {
    /// One line of text.
    Text,
    /// A value that is not shown after saving.
    Secret,
    /// An address.
    Url,
    /// A calendar date, `2026-01-31`.
    Date,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A switch.
    Boolean,
    /// One of a few values.
    Choice {
        /// The choices.
        choices: Vec<Choice>,
    },
    /// Several values of one kind.
    List {
        /// The kind of each value.
        of: Box<Self>,
    },
    /// Fields under one object.
    Group {
        /// The fields.
        fields: Vec<Field>,
    },
    /// Alternatives, identified by a constant in `tag`.
    OneOf {
        /// The property that names the alternative of an answer.
        tag: String,
        /// The alternatives.
        branches: Vec<Choice>,
    },
}

/// One value of a choice, or one alternative of a `oneOf` with its own fields.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Choice {
    /// The value in the answer.
    pub value: Value,
    /// The label.
    pub title: String,
    /// When to choose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it suits most people.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recommended: bool,
    /// The fields of this alternative.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

impl Choice {
    fn of(value: Value, title: String) -> Self {
        Self {
            value,
            title,
            description: None,
            recommended: false,
            fields: Vec::new(),
        }
    }
}

/// A violation of the profile by a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileViolation {
    /// JSON Pointer of the field.
    pub pointer: String,
    /// The rule of the profile.
    pub rule: &'static str,
    /// The remedy for the author.
    pub remedy: &'static str,
}

impl fmt::Display for ProfileViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.rule)
    }
}

impl Field {
    /// Returns the key of its value in the object around it.
    pub fn key(&self) -> String {
        let token = self.pointer.rsplit('/').next().unwrap_or_default();
        token.replace("~1", "/").replace("~0", "~")
    }
}

impl FormModel {
    /// Reads a schema. Reports every violation of the profile, not just the first.
    ///
    /// # Errors
    ///
    /// Fails with every violation of the profile.
    pub fn from_schema(
        title: &str,
        guide: &[GuideStep],
        schema: &Value,
    ) -> Result<Self, Vec<ProfileViolation>> {
        let mut reader = Reader {
            violations: Vec::new(),
        };
        let fields = reader.fields(schema, "", Depth::Top);
        if !reader.violations.is_empty() {
            return Err(reader.violations);
        }
        Ok(Self {
            title: title.to_owned(),
            fields,
            guide: guide.to_vec(),
        })
    }

    /// Returns all inputs, with groups and alternatives opened. A pointer shared by alternatives appears several times.
    pub fn inputs(&self) -> Vec<&Field> {
        let mut found = Vec::new();
        walk(&self.fields, &|_, _, _| true, &mut found);
        found
    }

    /// Returns the inputs of this answer: of alternatives, those of the chosen one.
    pub fn inputs_of(&self, answer: &Value) -> Vec<&Field> {
        let is_chosen = |field: &Field, tag: &str, branch: &Choice| {
            let chosen = answer.pointer(&field.pointer);
            chosen.and_then(|chosen| chosen.get(tag)) == Some(&branch.value)
        };
        let mut found = Vec::new();
        walk(&self.fields, &is_chosen, &mut found);
        found
    }
}

impl Field {
    /// Returns the destination address in this field of an answer, or its default; `None` for another field or an
    /// invalid address.
    pub fn address(&self, answer: &Value) -> Option<BaseUrl> {
        let value = answer.pointer(&self.pointer).or(self.default.as_ref());
        let text = value.filter(|_| self.destination)?.as_str()?;
        BaseUrl::parse(text.trim()).ok()
    }

    /// Returns a text for this field without the characters that pasting adds, as [`tidy`](crate::tidy) cleans it.
    pub fn tidied<'t>(&self, text: &'t str) -> &'t str {
        match self.kind {
            FieldKind::Secret if self.keeps_blanks() => text.trim_end_matches(['\r', '\n']),
            FieldKind::Secret if self.verbatim => unspaced(text),
            FieldKind::Secret | FieldKind::Url => bare(text),
            _ => text,
        }
    }

    /// Returns whether spaces around a value are part of it.
    pub fn keeps_blanks(&self) -> bool {
        self.verbatim && !self.is_visible
    }
}

fn walk<'a>(
    fields: &'a [Field],
    is_open: &dyn Fn(&Field, &str, &Choice) -> bool,
    found: &mut Vec<&'a Field>,
) {
    for field in fields {
        match &field.kind {
            FieldKind::Group { fields } => walk(fields, is_open, found),
            FieldKind::OneOf { tag, branches } => {
                for branch in branches.iter().filter(|branch| is_open(field, tag, branch)) {
                    walk(&branch.fields, is_open, found);
                }
            }
            _ => found.push(field),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Depth {
    Top,
    Inside,
}

struct Reader {
    violations: Vec<ProfileViolation>,
}

impl Reader {
    fn violation(&mut self, pointer: &str, rule: &'static str, remedy: &'static str) {
        self.violations.push(ProfileViolation {
            pointer: pointer.to_owned(),
            rule,
            remedy,
        });
    }

    fn fields(&mut self, schema: &Value, at: &str, depth: Depth) -> Vec<Field> {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            self.violation(
                at,
                "a form and a group are objects with properties",
                "add its fields under properties",
            );
            return Vec::new();
        };
        let required = schema.get("required").and_then(Value::as_array);
        let mut fields = Vec::with_capacity(properties.len());
        for (name, property) in properties {
            if property.get("const").is_some() {
                continue; // the tag of an alternative, chosen by the card and not typed
            }
            let is_required = required.is_some_and(|names| names.iter().any(|known| known == name));
            let pointer = format!("{at}/{}", escape_pointer(name));
            fields.push(self.field(property, &pointer, is_required, depth));
        }
        fields.sort_by_key(|field| field.order);
        if fields.windows(2).any(|pair| pair[0].order == pair[1].order) {
            self.violation(
                at,
                "every field has an order of its own",
                "number the fields from 1, as in Hint::order(1)",
            );
        }
        fields
    }

    fn field(&mut self, schema: &Value, pointer: &str, required: bool, depth: Depth) -> Field {
        let empty = Map::new();
        let hints = schema
            .get(NAMESPACE)
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let text = |name: &str| hints.get(name).and_then(Value::as_str).map(str::to_owned);
        let flag = |name: &str| hints.get(name).and_then(Value::as_bool).unwrap_or(false);
        let own = |name: &str| {
            schema
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (title, description) = (own("title"), own("description"));
        if title.is_empty() {
            self.violation(
                pointer,
                "every field has a title",
                "add a title: the label of the input",
            );
        }
        if description.is_empty() {
            self.violation(
                pointer,
                "every field has a description",
                "add a description: the purpose of the value",
            );
        }
        let kind = self.kind(schema, pointer, depth);
        let default = schema.get("default").cloned();
        if kind == FieldKind::Secret
            && (default.is_some() || schema.get("writeOnly") != Some(&Value::Bool(true)))
        {
            self.violation(
                pointer,
                "a secret is write-only and has no default",
                "set writeOnly to true and remove the default",
            );
        }
        if kind == FieldKind::Boolean && default.is_none() {
            self.violation(
                pointer,
                "a boolean has a default",
                "add the default that applies without a choice",
            );
        }
        Field {
            pointer: pointer.to_owned(),
            title,
            description,
            required: required && default.is_none(),
            kind,
            default,
            help: text("help"),
            placeholder: text("placeholder"),
            group: text("group"),
            advanced: flag("advanced"),
            destination: flag("destination"),
            guide_step: hints.get("guideStep").and_then(Value::as_u64),
            multiline: flag("multiline"),
            single: flag("single"),
            verbatim: flag("verbatim"),
            known_prefix: text("knownPrefix"),
            is_visible: own("pattern") == VISIBLE_ASCII,
            order: hints.get("order").and_then(Value::as_u64).unwrap_or(0),
        }
    }

    fn kind(&mut self, schema: &Value, pointer: &str, depth: Depth) -> FieldKind {
        if let Some(branches) = schema.get("oneOf").and_then(Value::as_array) {
            return self.one_of(branches, pointer, depth);
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            let choices = values
                .iter()
                .map(|value| Choice::of(value.clone(), label(value)))
                .collect();
            return FieldKind::Choice { choices };
        }
        match (
            schema.get("type").and_then(Value::as_str),
            schema.get("format").and_then(Value::as_str),
        ) {
            (Some("string"), Some("password")) => FieldKind::Secret,
            (Some("string"), Some("uri")) => FieldKind::Url,
            (Some("string"), Some("date")) => FieldKind::Date,
            (Some("string"), _) => FieldKind::Text,
            (Some("integer"), _) => FieldKind::Integer,
            (Some("number"), _) => FieldKind::Number,
            (Some("boolean"), _) => FieldKind::Boolean,
            (Some("array"), _) => self.list(schema, pointer),
            (Some("object"), _) => {
                if depth == Depth::Inside {
                    self.violation(
                        pointer,
                        "a form has one level of grouping",
                        "move its fields up into the group around it",
                    );
                }
                FieldKind::Group {
                    fields: self.fields(schema, pointer, Depth::Inside),
                }
            }
            _ => {
                self.violation(pointer, "a field has a type that a form can show", "use string, integer, number, boolean, array or object as the type, enum, or oneOf");
                FieldKind::Text
            }
        }
    }

    fn list(&mut self, schema: &Value, pointer: &str) -> FieldKind {
        let of = match schema.get("items") {
            Some(items) => self.kind(items, pointer, Depth::Inside),
            None => FieldKind::Group { fields: Vec::new() },
        };
        if matches!(
            of,
            FieldKind::Group { .. } | FieldKind::List { .. } | FieldKind::OneOf { .. }
        ) {
            self.violation(
                pointer,
                "a list holds scalars",
                "let items be strings, numbers or choices",
            );
        }
        FieldKind::List { of: Box::new(of) }
    }

    fn one_of(&mut self, branches: &[Value], pointer: &str, depth: Depth) -> FieldKind {
        if branches.iter().all(|branch| branch.get("const").is_some()) {
            let choices = branches
                .iter()
                .map(|branch| {
                    let value = branch["const"].clone();
                    let title = branch.get("title").or_else(|| branch.get("description"));
                    let title = title.map_or_else(|| label(&value), label);
                    Choice::of(value, title)
                })
                .collect();
            return FieldKind::Choice { choices };
        }
        if depth == Depth::Inside {
            self.violation(
                pointer,
                "alternatives are at the top level of a form",
                "move it out of the group",
            );
        }
        let Some(tag) = tag_of(branches) else {
            self.violation(
                pointer,
                "alternatives have a common property with a constant",
                "give each branch of oneOf a property of the same name with a const of its own",
            );
            return FieldKind::Text;
        };
        let choices = branches
            .iter()
            .map(|branch| Choice {
                value: branch["properties"][&tag]["const"].clone(),
                title: branch
                    .get("title")
                    .map_or_else(|| label(&branch["properties"][&tag]["const"]), label),
                description: branch.get("description").map(label),
                recommended: branch[NAMESPACE]["recommended"] == true,
                fields: self.fields(branch, pointer, Depth::Inside),
            })
            .collect();
        FieldKind::OneOf {
            tag,
            branches: choices,
        }
    }
}

/// Returns the property that holds a constant in every branch of a tagged `oneOf`.
pub fn tag_of(branches: &[Value]) -> Option<String> {
    let has_constant = |branch: &Value, name: &str| {
        branch
            .get("properties")
            .and_then(|all| all.get(name))
            .is_some_and(|one| one.get("const").is_some())
    };
    let first = branches.first()?.get("properties")?.as_object()?;
    first
        .keys()
        .find(|name| branches.iter().all(|branch| has_constant(branch, name)))
        .cloned()
}

/// Escapes one reference token of a JSON Pointer (RFC 6901).
pub fn escape_pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn label(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
