//! Reports the problems of a form to its author: those that hosts refuse and those that conformance reports.

use headwater_core::{
    Field, FieldError, FieldKind, FormModel, GuideStep, NAMESPACE, escape_pointer, nearest, put,
};
use serde::Serialize;
use serde_json::{Value, json};

/// The maximum number of nested schemas in a form: more fields are unusable for people.
const MAX_SCHEMAS: usize = 500;

/// The JSON Schema keywords that a form may use.
const KEYWORDS: [&str; 27] = [
    "$comment",
    "$id",
    "$schema",
    "additionalProperties",
    "const",
    "default",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "uniqueItems",
];

/// The hints that a form may use.
const HINTS: [&str; 13] = [
    "advanced",
    "destination",
    "group",
    "guideStep",
    "help",
    "invalid",
    "knownPrefix",
    "multiline",
    "order",
    "placeholder",
    "recommended",
    "single",
    "verbatim",
];

/// Parts of names that mark a secret.
const SECRET_WORDS: [&str; 7] = [
    "apikey",
    "credential",
    "passphrase",
    "password",
    "privatekey",
    "secret",
    "token",
];

/// Parts of names that mark a password chosen by a person.
const PASSWORD_WORDS: [&str; 2] = ["passphrase", "password"];

/// One problem of a form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// JSON Pointer of the field; empty for the form as a whole.
    pub pointer: String,
    /// The name of the broken rule.
    pub rule: &'static str,
    /// The problem.
    pub message: String,
    /// The remedy for the author.
    pub remedy: String,
    /// Whether hosts refuse the form. Otherwise only conformance reports the problem.
    pub is_refused: bool,
}

impl Finding {
    fn new(
        rule: &'static str,
        pointer: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            pointer: pointer.to_owned(),
            rule,
            message: message.into(),
            remedy: remedy.into(),
            is_refused: false,
        }
    }
}

/// Returns all problems of a form. `judge` returns the errors of an answer; without a `guide`, every guide step counts
/// as existing.
pub fn lint(
    schema: &Value,
    guide: Option<&[GuideStep]>,
    judge: &dyn Fn(Value) -> Vec<FieldError>,
) -> Vec<Finding> {
    let mut vocabulary = Vocabulary::default();
    vocabulary.read(schema, "");
    let mut findings = vocabulary.findings;
    let form = match FormModel::from_schema("", guide.unwrap_or_default(), schema) {
        Ok(form) => form,
        Err(violations) => {
            findings.extend(violations.into_iter().map(|violation| Finding {
                is_refused: true,
                ..Finding::new(
                    "the form keeps the profile",
                    &violation.pointer,
                    violation.rule,
                    violation.remedy,
                )
            }));
            return findings;
        }
    };
    findings.extend(secrets_and_destination(&form));
    findings.extend(secret_names(&form));
    findings.extend(tidied_passwords(&form));
    findings.extend(explained_secrets(&form, guide.map(<[_]>::len)));
    // Only a form with known keywords is tried out.
    if vocabulary.is_known {
        findings.extend(answers(&form, judge));
    }
    findings
}

/// Finds keywords and hints that forms do not support and hosts would silently ignore.
struct Vocabulary {
    findings: Vec<Finding>,
    schemas: usize,
    is_known: bool,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self {
            findings: Vec::new(),
            schemas: 0,
            is_known: true,
        }
    }
}

impl Vocabulary {
    fn read(&mut self, schema: &Value, at: &str) {
        let Some(keywords) = schema.as_object() else {
            return;
        };
        self.schemas += 1;
        if self.schemas == MAX_SCHEMAS + 1 {
            let message = format!("the form has more than {MAX_SCHEMAS} fields");
            self.complain(
                "",
                message,
                "remove fields; people do not fill in that many",
            );
        }
        for (name, value) in keywords {
            match (name.as_str(), value) {
                (NAMESPACE, Value::Object(hints)) => {
                    for hint in hints.keys().filter(|hint| !HINTS.contains(&hint.as_str())) {
                        self.unknown("hint", hint, &HINTS, at);
                    }
                }
                ("writeOnly", Value::Bool(_)) | ("additionalProperties", Value::Bool(_)) => {}
                ("additionalProperties", _) => {
                    let message = "a form accepts only the fields that it names";
                    self.complain(at, message, "set additionalProperties to false");
                }
                (known, _) if KEYWORDS.contains(&known) => {}
                _ => self.unknown("keyword", name, &KEYWORDS, at),
            }
        }
        if let Some(Value::Object(properties)) = keywords.get("properties") {
            for (name, property) in properties {
                self.read(property, &format!("{at}/{}", escape_pointer(name)));
            }
        }
        if let Some(Value::Array(branches)) = keywords.get("oneOf") {
            branches.iter().for_each(|branch| self.read(branch, at));
        }
        if let Some(items) = keywords.get("items") {
            self.read(items, at);
        }
    }

    fn unknown(&mut self, what: &str, name: &str, known: &[&'static str], at: &str) {
        let shown: String = name.chars().take(64).collect();
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("; did you mean {near}?"),
            None => String::new(),
        };
        let message = format!("forms do not support the {what} {shown:?}{hint}");
        let remedy = format!("remove it, or use one of {}", known.join(", "));
        self.complain(at, message, remedy);
    }

    fn complain(&mut self, at: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.is_known = false;
        let rule = "the form uses supported keywords";
        self.findings.push(Finding::new(rule, at, message, remedy));
    }
}

fn secrets_and_destination(form: &FormModel) -> Vec<Finding> {
    let rule = "the form has a secret and a destination";
    let inputs = form.inputs();
    let mut findings = Vec::new();
    if !inputs.iter().any(|field| field.kind == FieldKind::Secret) {
        let remedy = "make the field of the credentials a Secret";
        findings.push(Finding::new(rule, "", "no field is a secret", remedy));
    }
    if !inputs.iter().any(|field| field.destination) {
        let remedy = "add a field for the address of the service, a BaseUrl with its usual address as the default";
        findings.push(Finding::new(rule, "", "no field is a destination", remedy));
    }
    findings
}

fn secret_names(form: &FormModel) -> Vec<Finding> {
    let sounds_secret = |field: &&Field| {
        let name: String = field.key().to_lowercase().replace(['_', '-', ' '], "");
        field.kind == FieldKind::Text && SECRET_WORDS.iter().any(|word| name.contains(word))
    };
    let inputs = form.inputs().into_iter();
    inputs
        .filter(sounds_secret)
        .map(|field| {
            Finding::new(
                "a field named like a secret is a secret",
                &field.pointer,
                "its name suggests a secret, but its value is shown, stored and logged in clear",
                "make it a Secret, or give it another name",
            )
        })
        .collect()
}

fn tidied_passwords(form: &FormModel) -> Vec<Finding> {
    let is_tidied = |field: &&Field| {
        let name: String = field.key().to_lowercase().replace(['_', '-', ' '], "");
        let mut words = PASSWORD_WORDS.iter();
        field.kind == FieldKind::Secret && !field.verbatim && words.any(|word| name.contains(word))
    };
    let inputs = form.inputs().into_iter();
    inputs
        .filter(is_tidied)
        .map(|field| {
            Finding::new(
                "a password keeps its spaces and quotes",
                &field.pointer,
                "spaces and quotes around it are removed, though they may be part of a password",
                "add Hint::verbatim(), or give it the name of a key",
            )
        })
        .collect()
}

fn explained_secrets(form: &FormModel, steps: Option<usize>) -> Vec<Finding> {
    let steps = steps.map_or(u64::MAX, |steps| steps as u64);
    let is_explained = |field: &Field| {
        field
            .guide_step
            .is_some_and(|step| (1..=steps).contains(&step))
    };
    let inputs = form.inputs().into_iter();
    inputs
        .filter(|field| field.kind == FieldKind::Secret && !is_explained(field))
        .map(|field| {
            Finding::new(
                "the guide explains every secret",
                &field.pointer,
                "it names no step of the guide",
                "name the step that explains where to find it, as in Hint::guide_step(1)",
            )
        })
        .collect()
}

/// Returns the problems that a few answers reveal.
fn answers(form: &FormModel, judge: &dyn Fn(Value) -> Vec<FieldError>) -> Vec<Finding> {
    let missing = judge(json!({}));
    let broken = missing.iter().find(|error| error.code == "unreadable");
    if let Some(error) = broken {
        let remedy = "correct the named keyword; a pattern has to be small and without look-around";
        let rule = "the form can be answered";
        return vec![Finding {
            is_refused: true,
            ..Finding::new(rule, &error.pointer, error.message.clone(), remedy)
        }];
    }
    let mut findings = required_fields(form, &missing);
    findings.extend(unknown_field(judge));
    findings.extend(shown_values(form, judge));
    findings
}

fn required_fields(form: &FormModel, missing: &[FieldError]) -> Vec<Finding> {
    let rule = "an empty answer misses exactly the required fields";
    let required = || form.fields.iter().filter(|field| field.required);
    let is_missed = |field: &&Field| missing.iter().any(|error| error.pointer == field.pointer);
    let passed = required().filter(|field| !is_missed(field)).map(|field| {
        let message = "it is required, but an answer without it passes";
        Finding::new(rule, &field.pointer, message, "name it under required")
    });
    let is_required = |error: &&FieldError| required().any(|field| field.pointer == error.pointer);
    let missed = missing
        .iter()
        .filter(|error| !is_required(error))
        .map(|error| {
            let message = "it is not required, but an answer without it is refused";
            let remedy = "take it out of required where it has a default (#[serde(default)])";
            Finding::new(rule, &error.pointer, message, remedy)
        });
    passed.chain(missed).collect()
}

fn unknown_field(judge: &dyn Fn(Value) -> Vec<FieldError>) -> Option<Finding> {
    let errors = judge(json!({ "no_such_field": 1 }));
    let is_refused = errors
        .iter()
        .any(|error| error.code == "unknown_field" && error.pointer == "/no_such_field");
    let finding = || {
        Finding::new(
            "an unknown field is refused",
            "",
            "an unknown field is accepted, so typos pass",
            "set additionalProperties to false (#[serde(deny_unknown_fields)])",
        )
    };
    (!is_refused).then(finding)
}

fn shown_values(form: &FormModel, judge: &dyn Fn(Value) -> Vec<FieldError>) -> Option<Finding> {
    const CANARY: &str = "canary 5c1f";
    let values = [json!(CANARY), json!([CANARY]), json!({ "name": CANARY })];
    let shows = |value: &Value| {
        let mut answer = json!({});
        for field in &form.fields {
            put(&mut answer, &field.pointer, value.clone());
        }
        judge(answer)
            .iter()
            .find(|error| format!("{error:?}").contains(CANARY))
            .map(|error| error.pointer.clone())
    };
    let pointer = values.iter().find_map(shows)?;
    Some(Finding::new(
        "no error shows a value",
        &pointer,
        "an error repeats the entered value, which may be a secret",
        "build the message from the schema alone",
    ))
}
