//! Meltano: the `settings` of a plugin, which represent the config of a Singer tap.
//!
//! Settings are flat, so fields of groups and alternatives have dotted names, which Meltano nests again. It knows the
//! kind of a value and whether it is needed, and no other rule.

use headwater_core::{About, Choice, Field, FieldKind, FormModel};
use serde_json::{Map, Value, json};

/// The maximum number of combinations of alternatives whose needed settings are listed.
const MAX_COMBINATIONS: usize = 64;

pub(super) fn settings(about: &About, form: &FormModel) -> Value {
    let mut settings = Vec::new();
    all(&form.fields, "", &mut settings);
    json!({
        "label": about.name,
        "description": about.summary,
        "docs": about.docs,
        "settings": settings,
        "settings_group_validation": needed(&form.fields, ""),
    })
}

fn all(fields: &[Field], before: &str, settings: &mut Vec<Value>) {
    for field in fields {
        let name = format!("{before}{}", field.key());
        match &field.kind {
            FieldKind::Group { fields } => all(fields, &format!("{name}."), settings),
            FieldKind::OneOf { tag, branches } => {
                settings.push(tag_setting(field, &format!("{name}.{tag}"), branches, tag));
                alternatives(branches, &format!("{name}."), settings);
            }
            _ => settings.push(setting(field, name, &field.description).into()),
        }
    }
}

fn setting(field: &Field, name: String, description: &str) -> Map<String, Value> {
    let mut made = Map::new();
    let mut set = |name: &str, value: Value| {
        made.insert(name.to_owned(), value);
    };
    set("name", name.into());
    set("kind", kind(&field.kind).into());
    set("label", field.title.clone().into());
    let help = field.help.as_ref();
    let help = help.map(|help| format!(" Where to find it: {help}"));
    set(
        "description",
        format!("{description}{}", help.unwrap_or_default()).into(),
    );
    if field.kind == FieldKind::Secret {
        set("sensitive", true.into());
    }
    if let FieldKind::Choice { choices } = &field.kind {
        set("options", options(choices));
    }
    if let Some(default) = &field.default {
        set("value", default.clone());
    }
    if let Some(example) = &field.placeholder {
        set("placeholder", example.clone().into());
    }
    made
}

/// Returns the setting that selects an alternative.
fn tag_setting(field: &Field, name: &str, branches: &[Choice], tag: &str) -> Value {
    let mut made = json!({
        "name": name,
        "kind": "options",
        "label": field.title,
        "description": field.description,
        "options": options(branches),
    });
    if let Some(default) = field.default.as_ref().and_then(|default| default.get(tag)) {
        made["value"] = default.clone();
    }
    made
}

/// Adds the fields of all alternatives; a field that several share is one setting.
fn alternatives(branches: &[Choice], before: &str, settings: &mut Vec<Value>) {
    let mut known: Vec<String> = Vec::new();
    for field in branches.iter().flat_map(|branch| &branch.fields) {
        let key = field.key();
        if known.contains(&key) {
            continue;
        }
        let description = descriptions(branches, &key);
        settings.push(setting(field, format!("{before}{key}"), &description).into());
        known.push(key);
    }
}

/// Joins the descriptions of the alternatives' fields with this key; a shared description appears once.
fn descriptions(branches: &[Choice], key: &str) -> String {
    let mut texts: Vec<(&str, Vec<&str>)> = Vec::new();
    for branch in branches {
        let field = branch.fields.iter().find(|field| field.key() == key);
        let Some(text) = field.map(|field| field.description.as_str()) else {
            continue;
        };
        match texts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, titles)) => titles.push(&branch.title),
            None => texts.push((text, vec![&branch.title])),
        }
    }
    let sentence = |(text, titles): &(&str, Vec<&str>)| format!("{}: {text}", titles.join(", "));
    let sentences: Vec<String> = texts.iter().map(sentence).collect();
    sentences.join(" ")
}

fn kind(kind: &FieldKind) -> &'static str {
    match kind {
        FieldKind::Text | FieldKind::Secret | FieldKind::Url => "string",
        FieldKind::Date => "date_iso8601",
        FieldKind::Integer => "integer",
        FieldKind::Number => "decimal",
        FieldKind::Boolean => "boolean",
        FieldKind::Choice { .. } => "options",
        FieldKind::List { .. } => "array",
        FieldKind::Group { .. } | FieldKind::OneOf { .. } => "object",
    }
}

fn options(choices: &[Choice]) -> Value {
    let option = |choice: &Choice| json!({ "value": choice.value, "label": choice.title });
    choices.iter().map(option).collect()
}

/// Returns the sets of settings of which one has to be complete: one per combination of alternatives.
fn needed(fields: &[Field], before: &str) -> Vec<Vec<String>> {
    let mut sets = vec![Vec::new()];
    for field in fields.iter().filter(|field| field.required) {
        let name = format!("{before}{}", field.key());
        let more = match &field.kind {
            FieldKind::Group { fields } => needed(fields, &format!("{name}.")),
            FieldKind::OneOf { tag, branches } => {
                let branch = |branch: &Choice| {
                    let own = branch.fields.iter().filter(|field| field.required);
                    let own = own.map(|field| format!("{name}.{}", field.key()));
                    std::iter::once(format!("{name}.{tag}"))
                        .chain(own)
                        .collect()
                };
                branches.iter().map(branch).collect()
            }
            _ => vec![vec![name]],
        };
        if sets.len() * more.len() > MAX_COMBINATIONS {
            continue;
        }
        let combined = |set: &Vec<String>| -> Vec<Vec<String>> {
            more.iter()
                .map(|more| [set.as_slice(), more].concat())
                .collect()
        };
        sets = sets.iter().flat_map(combined).collect();
    }
    // Alternatives may need the same settings.
    sets.sort();
    sets.dedup();
    sets
}
