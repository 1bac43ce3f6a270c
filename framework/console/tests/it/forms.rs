//! Random forms: schemas of the profile are generated, rendered, filled in and read back.

use std::collections::{BTreeMap, BTreeSet};

use crate::html::{Tag, tags};
use fastrand::Rng;
use headwater_console::{
    CredentialForm, Messages, Page, Purpose, SavedSecret, Source, answer, credential,
};
use headwater_core::{Choice, Field, FieldKind, FormModel, Timestamp};
use serde_json::{Map, Value, json};

const FORMS: usize = 10_000;

#[test]
fn ten_thousand_forms_are_sound_and_give_back_what_was_put_in() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let text = Messages::english().unwrap();
    for number in 0..FORMS {
        let schema = form(&mut random);
        let form = FormModel::from_schema("Made up", &[], &schema).unwrap();
        let config = object(&form.fields, &mut random);
        let tags = tags(&render(&form, &config, &text).fragment());
        let name = format!("form {number} of seed {seed}");
        crate::html::check(&tags, &name);
        one_control_each(&form, &tags, &name);
        let read = answer(&form, pairs(&tags));
        assert_eq!(read, Value::Object(config), "{name}: {schema}");
    }
}

#[test]
fn what_was_typed_into_another_alternative_is_never_in_the_answer() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let text = Messages::english().unwrap();
    for _ in 0..500 {
        let form = FormModel::from_schema("Made up", &[], &form(&mut random)).unwrap();
        let config = object(&form.fields, &mut random);
        let tags = tags(&render(&form, &config, &text).fragment());
        let hidden = hidden_names(&form, &Value::Object(config.clone()));
        let mut pairs = pairs(&tags);
        pairs.extend(hidden.into_iter().map(|name| (name, "canary".to_owned())));
        let read = answer(&form, pairs);
        assert_eq!(read, Value::Object(config));
    }
}

#[test]
fn a_saved_secret_has_no_input_until_it_is_to_be_replaced() {
    let text = Messages::english().unwrap();
    let schema = json!({ "type": "object", "properties": { "key": field(1, "string", json!({ "format": "password", "writeOnly": true })) } });
    let form = FormModel::from_schema("Made up", &[], &schema).unwrap();
    let source = source();
    let mut view = view(&form, &source, json!({}));
    let secret = SavedSecret {
        at: Timestamp::UNIX_EPOCH,
        by: None,
        ending: None,
    };
    view.purpose = Purpose::Edit;
    view.connection = Some(("made-up".to_owned(), "1".to_owned()));
    view.saved.insert("/key".to_owned(), secret);
    let inputs = |view: &CredentialForm<'_>| {
        let tags = tags(&credential(view, &text).fragment());
        let in_template = |tag: &Tag| {
            tag.inside
                .iter()
                .any(|place| tags[*place].name == "template")
        };
        let all = tags.iter().filter(|tag| tag.get("name") == Some("/key"));
        all.filter(|tag| !in_template(tag)).count()
    };
    assert_eq!(inputs(&view), 0);
    view.replacing.insert("/key".to_owned());
    assert_eq!(inputs(&view), 1);
    view.replacing.clear();
    view.asked_again
        .insert("/key".to_owned(), "Base URL was changed".to_owned());
    assert_eq!(inputs(&view), 1);
}

#[test]
fn texts_of_schemas_and_answers_cannot_become_markup() {
    let text = Messages::english().unwrap();
    let attack = "\"><script>alert(1)</script><img src=x onerror=alert(1)>{title}";
    let mut evil = field(
        1,
        "string",
        json!({ "title": attack, "description": attack }),
    );
    evil["x-headwater"] =
        json!({ "order": 1, "help": attack, "group": attack, "placeholder": attack });
    let schema = json!({ "type": "object", "properties": { attack: evil } });
    let form = FormModel::from_schema(attack, &[], &schema).unwrap();
    let source = source();
    let view = CredentialForm {
        title: attack.to_owned(),
        description: attack.to_owned(),
        ..view(&form, &source, json!({ attack: attack }))
    };
    let markup = credential(&view, &text).fragment();
    crate::html::check(&tags(&markup), "an attack");
    assert!(
        !markup.contains("<script") && !markup.contains("<img"),
        "{markup}"
    );
}

// ---- Rendering and reading back

fn source() -> Source {
    Source {
        id: "made-up".to_owned(),
        name: "Made up".to_owned(),
        summary: "Nothing.".to_owned(),
        docs: "https://example.com".to_owned(),
    }
}

fn view<'a>(form: &'a FormModel, source: &'a Source, answer: Value) -> CredentialForm<'a> {
    CredentialForm {
        purpose: Purpose::Add,
        path: "/sources/made-up/add".to_owned(),
        back: "/sources/made-up".to_owned(),
        source,
        form,
        connection: None,
        title: "Made up".to_owned(),
        description: String::new(),
        expires: String::new(),
        expires_before: None,
        saved_answer: Value::Null,
        answer,
        saved: BTreeMap::new(),
        asked_again: BTreeMap::new(),
        replacing: BTreeSet::new(),
        errors: Vec::new(),
        notices: Vec::new(),
        tested: None,
        offers_untested: true,
        may_save_untested: false,
        egress: Vec::new(),
    }
}

fn render(form: &FormModel, config: &Map<String, Value>, text: &Messages) -> Page {
    let source = source();
    credential(&view(form, &source, Value::Object(config.clone())), text)
}

/// The pairs that a browser without script sends, including inputs of alternatives that are not chosen.
fn pairs(tags: &[Tag]) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (place, tag) in tags.iter().enumerate() {
        let Some(name) = tag.get("name").map(str::to_owned) else {
            continue;
        };
        let is_choice = matches!(tag.get("type"), Some("radio" | "checkbox"));
        let value = match tag.name.as_str() {
            "input" if is_choice && !tag.has("checked") => continue,
            "input" => tag.get("value").unwrap_or_default().to_owned(),
            "select" => selected(tags, place),
            "textarea" => tag
                .text
                .strip_prefix('\n')
                .unwrap_or(&tag.text)
                .replace('\n', "\r\n"),
            _ => continue,
        };
        pairs.push((name, value));
    }
    pairs
}

fn selected(tags: &[Tag], select: usize) -> String {
    let options = || tags.iter().filter(|tag| tag.inside.last() == Some(&select));
    let chosen = options()
        .find(|tag| tag.has("selected"))
        .or(options().next());
    chosen
        .and_then(|tag| tag.get("value"))
        .unwrap_or_default()
        .to_owned()
}

/// Each field is there once, with a control or, for several choices, a group of them. That controls are labelled is
/// checked for the page.
fn one_control_each(form: &FormModel, tags: &[Tag], name: &str) {
    let mut found: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    for (place, tag) in tags.iter().enumerate() {
        if let Some(pointer) = tag.get("data-pointer") {
            let kind = tag.get("data-kind").unwrap_or_default();
            found.entry(pointer).or_default().push((place, kind));
        }
    }
    let mut controls: BTreeMap<usize, usize> = BTreeMap::new();
    for tag in tags.iter().filter(|tag| tag.is_control()) {
        for place in &tag.inside {
            *controls.entry(*place).or_default() += 1;
        }
    }
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for field in form.inputs() {
        *wanted.entry(&field.pointer).or_default() += 1;
    }
    for (pointer, times) in wanted {
        let places = found.remove(pointer).unwrap_or_default();
        assert_eq!(places.len(), times, "{name}: {pointer}");
        for (place, kind) in places {
            let controls = controls.get(&place).copied().unwrap_or_default();
            let is_right = controls == 1 || (kind == "choices" && controls > 0);
            assert!(is_right, "{name}: {pointer} has {controls} controls");
        }
    }
}

/// The names of inputs in alternatives that were not chosen, as they are rendered.
fn hidden_names(form: &FormModel, config: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for field in &form.fields {
        let FieldKind::OneOf { tag, branches } = &field.kind else {
            continue;
        };
        for (number, branch) in branches.iter().enumerate() {
            let is_chosen =
                config.pointer(&field.pointer).and_then(|one| one.get(tag)) == Some(&branch.value);
            if !is_chosen {
                names.extend(
                    branch
                        .fields
                        .iter()
                        .map(|inside| format!("{number}:{}", inside.pointer)),
                );
            }
        }
    }
    names
}

// ---- Made-up schemas

fn field(order: usize, kind: &str, more: Value) -> Value {
    let mut field = json!({ "type": kind, "title": format!("Field {order}"), "description": "What it is for.",
                            "x-headwater": { "order": order } });
    merge(&mut field, more);
    field
}

fn merge(field: &mut Value, more: Value) {
    if let (Some(field), Value::Object(more)) = (field.as_object_mut(), more) {
        field.extend(more);
    }
}

fn form(random: &mut Rng) -> Value {
    fields(random, true)
}

fn fields(random: &mut Rng, is_top: bool) -> Value {
    let count = random.usize(usize::from(is_top)..if is_top { 9 } else { 4 });
    let mut properties = Map::new();
    let mut required = Vec::new();
    for order in 1..=count {
        let name = format!(
            "{}{order}",
            random
                .choice(["a", "b_c", "d-e", "f/g", "h~i", "jö", "k l"])
                .unwrap()
        );
        let mut one = one_field(random, order, is_top);
        let hints = &mut one["x-headwater"];
        if random.u8(..4) == 0 {
            hints["advanced"] = true.into();
        }
        if random.u8(..4) == 0 {
            hints["group"] = (*random.choice(["One", "Two"]).unwrap()).into();
        }
        if random.bool() {
            hints["help"] = "On the settings page".into();
        }
        if random.bool() && one.get("default").is_none() {
            required.push(name.clone());
        }
        properties.insert(name, one);
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn one_field(random: &mut Rng, order: usize, is_top: bool) -> Value {
    let choices = || json!({ "enum": ["x", "y z", 3, "4", true] });
    let with_default = |random: &mut Rng, kind: &str, more: Value, default: Value| {
        let mut one = field(order, kind, more);
        if random.bool() {
            one["default"] = default;
        }
        one
    };
    match random.u8(..if is_top { 14 } else { 11 }) {
        0 => with_default(random, "string", json!({}), json!("standard")),
        1 => field(
            order,
            "string",
            json!({ "format": "password", "writeOnly": true }),
        ),
        2 => with_default(
            random,
            "string",
            json!({ "format": "uri" }),
            json!("https://example.com"),
        ),
        3 => field(order, "string", json!({ "format": "date" })),
        4 => with_default(random, "integer", json!({}), json!(7)),
        5 => field(order, "number", json!({})),
        6 => field(order, "boolean", json!({ "default": random.bool() })),
        7 => with_default(random, "string", choices(), json!("x")),
        8 => with_default(
            random,
            "array",
            json!({ "items": { "type": "string" } }),
            json!(["a", "b"]),
        ),
        9 => with_default(random, "array", json!({ "items": choices() }), json!(["x"])),
        10 => field(order, "array", json!({ "items": { "type": "integer" } })),
        11 => {
            let mut group = fields(random, false);
            merge(&mut group, field(order, "object", json!({})));
            group
        }
        _ => alternatives(random, order),
    }
}

fn alternatives(random: &mut Rng, order: usize) -> Value {
    let branches: Vec<Value> = (0..random.usize(2..8))
        .map(|number| {
            let mut branch = fields(random, false);
            branch["properties"]["by/way"] = json!({ "const": format!("way {number}") });
            branch["title"] = format!("Way {number}").into();
            branch
        })
        .collect();
    let mut one = field(order, "object", json!({ "oneOf": branches }));
    if let Some(one) = one.as_object_mut() {
        one.remove("type");
    }
    one
}

// ---- Random answers without absent values and defaults, as forms send them

fn object(fields: &[Field], random: &mut Rng) -> Map<String, Value> {
    let mut made = Map::new();
    for field in fields {
        if let Some(value) = value(field, random) {
            let token = field.pointer.rsplit('/').next().unwrap();
            made.insert(token.replace("~1", "/").replace("~0", "~"), value);
        }
    }
    made
}

fn value(field: &Field, random: &mut Rng) -> Option<Value> {
    match &field.kind {
        FieldKind::Group { fields } => {
            let inside = object(fields, random);
            return (field.required || !inside.is_empty()).then_some(Value::Object(inside));
        }
        FieldKind::OneOf { tag, branches } => {
            if !field.required && random.bool() {
                return None;
            }
            let branch = random.choice(branches).unwrap();
            let mut inside = object(&branch.fields, random);
            inside.insert(tag.clone(), branch.value.clone());
            return Some(Value::Object(inside));
        }
        // Never rendered, so never given back.
        FieldKind::Secret => return None,
        _ if random.u8(..3) == 0 && may_be_absent(field) => return None,
        _ => {}
    }
    let value = match &field.kind {
        FieldKind::List { of } => {
            let values = (0..random.usize(usize::from(field.default.is_none())..4))
                .map(|_| scalar(of, random));
            let mut values: Vec<Value> = values.collect();
            if let FieldKind::Choice { choices } = of.as_ref() {
                values = in_order(choices, &values);
            }
            Value::Array(values)
        }
        kind => scalar(kind, random),
    };
    (field.default.as_ref() != Some(&value)).then_some(value)
}

/// A choice that has to be made, or has a default, always has a value in its list.
fn may_be_absent(field: &Field) -> bool {
    !matches!(field.kind, FieldKind::Choice { .. }) || !field.required
}

fn in_order(choices: &[Choice], values: &[Value]) -> Vec<Value> {
    let chosen = choices
        .iter()
        .filter(|choice| values.contains(&choice.value));
    chosen.map(|choice| choice.value.clone()).collect()
}

fn scalar(kind: &FieldKind, random: &mut Rng) -> Value {
    let texts = [
        "one",
        "two words",
        "<b>&amp;\"quoted\"</b>",
        "{name}",
        "ünï",
        "0",
        "true",
        "null",
        "a,b",
        "https://x.example/y",
    ];
    match kind {
        FieldKind::Integer => {
            let numbers = [
                json!(0),
                json!(-3),
                json!(i64::MIN),
                json!(u64::MAX),
                json!(42),
            ];
            random.choice(numbers).unwrap()
        }
        FieldKind::Number => random
            .choice([json!(0.5), json!(-1e300), json!(3), json!(0.1)])
            .unwrap(),
        FieldKind::Boolean => random.bool().into(),
        FieldKind::Choice { choices } => random.choice(choices).unwrap().value.clone(),
        FieldKind::Date => "2026-01-31".into(),
        _ => (*random.choice(&texts).unwrap()).into(),
    }
}
