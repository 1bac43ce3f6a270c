//! Pure validation of a form's answer: every error, each at its field.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::civil::Date;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroize;

use crate::{
    base_url::BaseUrl,
    form::{Field, FieldKind, FormModel, NAMESPACE, escape_pointer, tag_of},
    suggest::nearest,
    text::{WRAPPED, is_wrapped},
};

/// The maximum number of reported errors. People correct fewer at once, and the report stays small for an answer of any
/// size.
const MAX_ERRORS: usize = 100;
/// The maximum size of a compiled pattern in bytes; the patterns of forms need a part of it.
const LARGEST_PATTERN: usize = 64 << 10;

/// The error of one field. It never contains the value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct FieldError {
    /// JSON Pointer of the field, even if it is missing. Empty for the form as a whole.
    pub pointer: String,
    /// Stable, for machines: `required`, `unknown_field`, `type`, `too_short`, `too_long`, `pattern`, `format`,
    /// `out_of_range`, `not_a_choice`, `too_few`, `too_many`, `duplicate`, `unreadable`, `too_many_errors`.
    pub code: Cow<'static, str>,
    /// A sentence for people, starting with the field's title.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name of an unknown field may hold anything; a terminal gets a part of it, without control characters.
        let pointer: String = self.pointer.chars().take(128).collect();
        let pointer = if pointer.is_empty() { "/" } else { &pointer };
        write!(f, "{}: {}", pointer.escape_debug(), self.message)
    }
}

/// A change made on the user's behalf before validation, or an unusual value that passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Notice {
    /// JSON Pointer of the field.
    pub pointer: String,
    /// The change or the observation. Never the value itself.
    pub message: String,
}

/// Removes the white space and quotes that pasting leaves around keys and addresses. A password keeps them and gets a
/// notice. Whole numbers written as `1.0`, which JSON Schema counts as integers, become integers. A value without the
/// usual prefix of its field gets a notice.
pub fn tidy(form: &FormModel, answer: &mut Value) -> Vec<Notice> {
    let mut notices = Vec::new();
    for field in form.inputs_of(answer) {
        tidy_field(field, answer, &mut notices);
    }
    notices
}

fn tidy_field(field: &Field, answer: &mut Value, notices: &mut Vec<Notice>) {
    let mut notice = |message: String| {
        notices.push(Notice {
            pointer: field.pointer.clone(),
            message,
        });
    };
    let title = &field.title;
    match (&field.kind, answer.pointer_mut(&field.pointer)) {
        (FieldKind::Secret | FieldKind::Url, Some(Value::String(text))) => {
            let tidied = field.tidied(text);
            if tidied.len() != text.len() {
                let what = match field.verbatim {
                    true if field.keeps_blanks() => "the end of the line was removed",
                    true => "surrounding spaces were removed",
                    false => "surrounding spaces or quotes were removed",
                };
                notice(format!("{title}: {what}"));
                let tidied = tidied.to_owned();
                text.zeroize();
                *text = tidied;
            }
            if is_wrapped(text) {
                notice(format!("{title} {WRAPPED}"));
            }
        }
        (FieldKind::Integer, Some(value)) => make_whole(value),
        (FieldKind::List { of }, Some(Value::Array(values))) if **of == FieldKind::Integer => {
            values.iter_mut().for_each(make_whole);
        }
        _ => {}
    }
    if let (Some(prefix), Some(Value::String(text))) =
        (&field.known_prefix, answer.pointer(&field.pointer))
        && !text.is_empty()
        && !text.starts_with(prefix.as_str())
    {
        notice(format!(
            "{title}: values usually begin with {prefix}; check that this is the right value"
        ));
    }
}

fn make_whole(value: &mut Value) {
    let float = value.as_f64().filter(|_| value.is_f64());
    if let Some(float) = float.filter(|float| float.fract() == 0.0) {
        // A number beyond 64 bits stays unchanged, and the schema refuses it.
        if (0.0..2_f64.powi(64)).contains(&float) {
            *value = json!(float as u64);
        } else if (-2_f64.powi(63)..0.0).contains(&float) {
            *value = json!(float as i64);
        }
    }
}

/// Returns the errors of `answer` against `schema`, ordered by pointer; of more than a hundred the first, and the
/// number of the others.
///
/// It first narrows a tagged `oneOf` to the alternative that the answer's tag names, so errors are about the fields
/// that the user sees.
pub fn validate(schema: &Value, answer: &Value) -> Vec<FieldError> {
    Rules::default().errors(schema, answer)
}

const NOT_ALLOWED: &str = "has a character that is not allowed here";

/// Collects the pointers of texts with the character 0. People do not type it, and many programs end a text there.
fn with_nul(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains('\0') => found.push(at),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                with_nul(value, format!("{at}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                with_nul(value, format!("{at}/{}", escape_pointer(name)), found);
            }
        }
        _ => {}
    }
}

/// The maximum number of cached choices of alternatives: more than a real form has.
const MAX_NARROWED: usize = 64;

/// The rules of one schema, compiled at first use: compiling takes far longer than validating.
#[derive(Default)]
pub(crate) struct Rules(Mutex<Vec<Arc<BranchRules>>>);

/// The rules for one choice of alternatives.
struct BranchRules {
    schema: Value,
    validator: Validator,
}

impl Rules {
    /// Returns the errors of [`validate`], for a schema that is the same at every call.
    pub(crate) fn errors(&self, schema: &Value, answer: &Value) -> Vec<FieldError> {
        let narrowed = match self.narrowed(narrow(schema, answer)) {
            Ok(narrowed) => narrowed,
            Err(error) => {
                return vec![FieldError {
                    pointer: String::new(),
                    code: "unreadable".into(),
                    message: format!("the connector's form schema is broken: {}", error.masked()),
                }];
            }
        };
        let errors = narrowed.validator.iter_errors(answer);
        let mut errors: Vec<FieldError> = errors
            .flat_map(|error| {
                let field = SchemaField::find(&narrowed.schema, error.instance_path().as_str());
                field.errors(error.kind(), error.instance())
            })
            .collect();
        let mut unreadable = Vec::new();
        with_nul(answer, String::new(), &mut unreadable);
        errors.extend(unreadable.iter().map(|pointer| {
            let field = SchemaField::find(&narrowed.schema, pointer);
            field.error("pattern", field.rule(NOT_ALLOWED))
        }));
        errors
            .sort_by(|left, right| (&left.pointer, &left.code).cmp(&(&right.pointer, &right.code)));
        errors.dedup_by(|left, right| left.pointer == right.pointer);
        let hidden = errors.len().saturating_sub(MAX_ERRORS);
        if hidden > 0 {
            errors.truncate(MAX_ERRORS);
            errors.push(FieldError {
                pointer: String::new(),
                code: "too_many_errors".into(),
                message: format!("the form has {hidden} more errors; correct these first"),
            });
        }
        errors
    }

    fn narrowed(&self, schema: Value) -> Result<Arc<BranchRules>, ValidationError<'static>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.iter().find(|one| one.schema == schema) {
            return Ok(Arc::clone(found));
        }
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            // Answers and previewed schemas are untrusted: this engine's time grows linearly with the answer.
            .with_pattern_options(PatternOptions::regex().size_limit(LARGEST_PATTERN))
            // An address must be one that a config can hold: a port beyond 65535, for example, is a URI but not a URL.
            .with_format("uri", |text: &str| BaseUrl::parse(text).is_ok())
            // The library's own check accepts a few other characters as digits.
            .with_format("date", |text: &str| {
                text.parse::<Date>()
                    .is_ok_and(|date| date.year() >= 0 && date.to_string() == text)
            })
            .build(&schema)?;
        let narrowed = Arc::new(BranchRules { schema, validator });
        known.truncate(MAX_NARROWED - 1);
        known.push(Arc::clone(&narrowed));
        Ok(narrowed)
    }
}

/// Returns the schema with each tagged `oneOf` replaced by the chosen alternative, or by "choose one" where the tag is
/// missing or unknown.
fn narrow(schema: &Value, answer: &Value) -> Value {
    let Some(object) = schema.as_object() else {
        return schema.clone();
    };
    let mut narrowed = object.clone();
    if let Some(branches) = object.get("oneOf").and_then(Value::as_array)
        && let Some(tag) = tag_of(branches)
    {
        let constant = |branch: &Value| branch["properties"][&tag]["const"].clone();
        let chosen = branches
            .iter()
            .find(|branch| answer.get(&tag) == Some(&constant(branch)));
        narrowed.remove("oneOf");
        let replacement = chosen.cloned().unwrap_or_else(|| {
            let tags: Vec<Value> = branches.iter().map(constant).collect();
            json!({ "type": "object", "properties": { &tag: { "enum": tags } }, "required": [&tag] })
        });
        if let Value::Object(replacement) = replacement {
            for (name, value) in replacement {
                narrowed.entry(name).or_insert(value);
            }
        }
    }
    if let Some(Value::Object(properties)) = narrowed.get_mut("properties") {
        for (name, property) in properties {
            *property = narrow(property, answer.get(name).unwrap_or(&Value::Null));
        }
    }
    Value::Object(narrowed)
}

/// A field of the schema.
struct SchemaField<'a> {
    pointer: String,
    title: String,
    schema: Option<&'a Value>,
}

impl<'a> SchemaField<'a> {
    fn find(root: &'a Value, pointer: &str) -> Self {
        let mut field = Self {
            pointer: String::new(),
            title: "the form".to_owned(),
            schema: Some(root),
        };
        for token in pointer.split('/').skip(1) {
            // A list value uses the list's title: it has no title of its own, and an index has no meaning for people.
            match field.schema.and_then(|schema| schema.get("items")) {
                Some(items) => field.schema = Some(items),
                None => field = field.child(&token.replace("~1", "/").replace("~0", "~")),
            }
        }
        field.pointer = pointer.to_owned();
        field
    }

    fn child(&self, name: &str) -> Self {
        let schema = self
            .schema
            .and_then(|schema| schema.get("properties")?.get(name));
        Self {
            pointer: format!("{}/{}", self.pointer, escape_pointer(name)),
            title: title(schema, name),
            schema,
        }
    }

    fn error(&self, code: &'static str, complaint: impl fmt::Display) -> FieldError {
        FieldError {
            pointer: self.pointer.clone(),
            code: code.into(),
            message: format!("{} {complaint}", self.title),
        }
    }

    fn errors(&self, kind: &ValidationErrorKind, value: &Value) -> Vec<FieldError> {
        use ValidationErrorKind as K;
        let error = match kind {
            K::Required { property } => {
                return vec![
                    self.child(property.as_str().unwrap_or_default())
                        .error("required", "is required"),
                ];
            }
            K::AdditionalProperties { unexpected } | K::UnevaluatedProperties { unexpected } => {
                return unexpected.iter().map(|name| self.unknown(name)).collect();
            }
            K::MinLength { limit: 1 } => self.error("required", "is required"),
            K::Type { .. } => self.error(
                "type",
                format!("must be {}, not {}", self.expected(), actual(value)),
            ),
            K::MinLength { limit } => {
                self.error("too_short", format!("needs at least {limit} characters"))
            }
            K::MaxLength { limit } => {
                self.error("too_long", format!("has more than {limit} characters"))
            }
            K::Pattern { .. } => self.error("pattern", self.rule(NOT_ALLOWED)),
            K::Format { format } => {
                self.error("format", self.rule(&format!("is not a valid {format}")))
            }
            K::Minimum { limit } => self.error("out_of_range", format!("must be at least {limit}")),
            K::Maximum { limit } => self.error("out_of_range", format!("must be at most {limit}")),
            K::ExclusiveMinimum { limit } => {
                self.error("out_of_range", format!("must be more than {limit}"))
            }
            K::ExclusiveMaximum { limit } => {
                self.error("out_of_range", format!("must be less than {limit}"))
            }
            K::Enum { options } => self.error(
                "not_a_choice",
                format!("must be one of {}", listed(options)),
            ),
            K::MinItems { limit } => {
                self.error("too_few", format!("needs at least {limit} values"))
            }
            K::MaxItems { limit } => {
                self.error("too_many", format!("has more than {limit} values"))
            }
            K::UniqueItems => self.error("duplicate", "holds the same value twice"),
            _ => self.error("unreadable", "cannot be used"),
        };
        vec![error]
    }

    fn unknown(&self, name: &str) -> FieldError {
        let known = self
            .schema
            .and_then(|schema| schema.get("properties")?.as_object());
        let names = known
            .into_iter()
            .flat_map(|all| all.keys().map(String::as_str));
        let hint = match nearest(name, names) {
            Some(near) => format!(" (did you mean {near}?)"),
            None => String::new(),
        };
        let shown: String = name
            .chars()
            .take(64)
            .flat_map(char::escape_default)
            .collect();
        FieldError {
            pointer: format!("{}/{}", self.pointer, escape_pointer(name)),
            code: "unknown_field".into(),
            message: format!("{shown} is not a field of this form{hint}"),
        }
    }

    /// Returns the connector's own message where it has one, since a pattern explains nothing.
    fn rule(&self, otherwise: &str) -> String {
        let own = self
            .schema
            .and_then(|schema| schema.get(NAMESPACE)?.get("invalid")?.as_str());
        let is_secret = self
            .schema
            .is_some_and(|schema| schema.get("format") == Some(&json!("password")));
        match own {
            Some(sentence) => sentence.to_owned(),
            None if is_secret => {
                "holds a space, a line break or a character outside ASCII; copy it again".to_owned()
            }
            None => otherwise.to_owned(),
        }
    }

    fn expected(&self) -> String {
        let of = self.schema.and_then(|schema| schema.get("type"));
        match of.and_then(Value::as_str) {
            Some("string") => "text".to_owned(),
            Some("boolean") => "true or false".to_owned(),
            Some("integer") => "a whole number".to_owned(),
            Some("number") => "a number".to_owned(),
            Some("array") => "a list".to_owned(),
            Some("object") => "an object".to_owned(),
            _ => "of another type".to_owned(),
        }
    }
}

fn title(schema: Option<&Value>, name: &str) -> String {
    let own = schema.and_then(|schema| schema.get("title")?.as_str());
    own.unwrap_or(name).to_owned()
}

fn actual(value: &Value) -> &'static str {
    match value {
        Value::Null => "null (leave the field out instead)",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn listed(options: &Value) -> String {
    let names = options.as_array().into_iter().flatten();
    names
        .map(|name| {
            name.as_str()
                .map_or_else(|| name.to_string(), str::to_owned)
        })
        .collect::<Vec<_>>()
        .join(", ")
}
