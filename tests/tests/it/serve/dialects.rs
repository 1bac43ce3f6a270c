//! The forms of all connectors in the languages of other platforms: what is valid here is valid there, and what is not is
//! refused there too, where the language can say why.

use std::collections::BTreeMap;

use acceptance::workspace;
use fastrand::Rng;
use headwater_connectors as _;
use headwater_core::Registry;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use crate::serve::service;

const CONNECTORS: [&str; 3] = ["clari-copilot", "clari-revenue", "claribi"];
const DIALECTS: [&str; 4] = ["airbyte", "json-schema", "meltano", "rjsf"];

/// The schema of an export that judges answers; none where the language has none.
fn validator(dialect: &str, exported: &Value) -> Option<Validator> {
    let (draft, schema) = match dialect {
        "airbyte" => (Draft::Draft7, &exported["connectionSpecification"]),
        "rjsf" => (Draft::Draft7, &exported["schema"]),
        "json-schema" => (Draft::Draft202012, exported),
        _ => return None,
    };
    let options = jsonschema::options().with_draft(draft);
    Some(options.should_validate_formats(true).build(schema).unwrap())
}

#[tokio::test]
async fn every_dialect_is_served_as_it_is_committed_and_others_are_not_found() {
    let service = service();
    for connector in CONNECTORS {
        let told = service
            .get(&format!("/api/v1/connectors/{connector}"))
            .await;
        assert_eq!(told.json()["dialects"], json!(DIALECTS));
        for dialect in DIALECTS {
            let path = format!("/api/v1/connectors/{connector}/dialects/{dialect}");
            let served = service.get(&path).await;
            assert_eq!((served.status, &*served.kind), (200, "application/json"));
            let file = format!("schemas/{connector}/dialects/{dialect}.json");
            let file = std::fs::read(workspace().join(file)).unwrap();
            let committed: Value = serde_json::from_slice(&file).unwrap();
            assert_eq!(served.json(), committed, "{path}");
        }
    }
    let unknown = service
        .get("/api/v1/connectors/claribi/dialects/jsonforms")
        .await;
    assert_eq!(unknown.problem(), (404, "not_found".to_owned()));
    let detail = unknown.json()["detail"].to_string();
    for dialect in DIALECTS {
        assert!(detail.contains(dialect), "{detail}");
    }
    let unknown = service.get("/api/v1/connectors/acme/dialects/rjsf").await;
    assert_eq!(unknown.problem().0, 404);
}

#[tokio::test]
async fn what_is_valid_here_is_valid_there_and_what_is_not_is_refused() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let service = service();
    let registry = Registry::collect().unwrap();
    for id in CONNECTORS {
        let connector = registry.get(id).unwrap();
        let schema = connector.schema();
        let mut exported = BTreeMap::new();
        for dialect in DIALECTS {
            let path = format!("/api/v1/connectors/{id}/dialects/{dialect}");
            exported.insert(dialect, service.get(&path).await.json());
        }
        let judges: Vec<(&str, Validator)> = exported
            .iter()
            .filter_map(|(dialect, exported)| Some((*dialect, validator(dialect, exported)?)))
            .collect();
        let mut refused = 0;
        for _ in 0..200 {
            let config = object(&schema, &mut random);
            let ours = connector.validate(config.clone());
            assert!(ours.is_ok(), "{config}: {ours:?}");
            for (dialect, judge) in &judges {
                let error = judge.validate(&config).err();
                assert!(error.is_none(), "{id} in {dialect}: {error:?}: {config}");
            }
            assert!(has_all(&exported["meltano"], &config), "{id}: {config}");
            let (broken, is_closed_only) = broken(&schema, &config, &mut random);
            if connector.validate(broken.clone()).is_ok() {
                continue;
            }
            refused += 1;
            for (dialect, judge) in &judges {
                // Airbyte wants its objects open.
                let can_say = *dialect != "airbyte" || !is_closed_only;
                assert_eq!(
                    !judge.is_valid(&broken),
                    can_say,
                    "{id} in {dialect}: {broken}"
                );
            }
        }
        assert!(refused > 100, "{id}: {refused}");
    }
}

#[test]
fn airbyte_finds_nothing_that_its_acceptance_suite_refuses() {
    for connector in CONNECTORS {
        let file = format!("schemas/{connector}/dialects/airbyte.json");
        let file = std::fs::read(workspace().join(file)).unwrap();
        let exported: Value = serde_json::from_slice(&file).unwrap();
        assert!(
            exported["documentationUrl"]
                .as_str()
                .unwrap()
                .starts_with("https://")
        );
        let specification = &exported["connectionSpecification"];
        acceptable(specification, connector);
        let groups: Vec<&Value> = specification["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["id"])
            .collect();
        for field in specification["properties"].as_object().unwrap().values() {
            if let Some(group) = field.get("group") {
                assert!(groups.contains(&group), "{connector}: {group}");
            }
        }
    }
}

/// The rules of that suite, for one schema and all inside.
fn acceptable(schema: &Value, at: &str) {
    const REFUSED: [&str; 10] = [
        "$ref",
        "anyOf",
        "allOf",
        "not",
        "if",
        "then",
        "else",
        "patternProperties",
        "prefixItems",
        "x-headwater",
    ];
    for keyword in REFUSED {
        assert!(schema.get(keyword).is_none(), "{at}: {keyword}");
    }
    assert_ne!(
        schema.get("additionalProperties"),
        Some(&json!(false)),
        "{at}"
    );
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let mut texts: Vec<String> = values.iter().map(Value::to_string).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), values.len(), "{at}");
    }
    if schema.get("format") == Some(&json!("date")) {
        assert!(schema.get("pattern").is_some(), "{at}");
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let mut orders: Vec<u64> = properties
            .values()
            .map(|one| one["order"].as_u64().unwrap())
            .collect();
        orders.sort_unstable();
        orders.dedup();
        assert_eq!(
            orders.len(),
            properties.len(),
            "{at}: two fields of one order"
        );
        for (name, property) in properties {
            let sounds_secret = ["token", "password", "key", "secret"]
                .iter()
                .any(|word| name.contains(word));
            if sounds_secret
                && property.get("type") == Some(&json!("string"))
                && property.get("const").is_none()
            {
                assert_eq!(
                    property.get("airbyte_secret"),
                    Some(&json!(true)),
                    "{at}.{name}"
                );
            }
            acceptable(property, &format!("{at}.{name}"));
        }
    }
    let Some(branches) = schema.get("oneOf").and_then(Value::as_array) else {
        return;
    };
    assert_eq!(schema["type"], "object", "{at}");
    let tags: Vec<&String> = branches[0]["properties"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, one)| one.get("const").is_some())
        .map(|(name, _)| name)
        .collect();
    let [tag] = tags.as_slice() else {
        panic!("{at}: {tags:?}");
    };
    for branch in branches {
        let tag = &branch["properties"][tag.as_str()];
        assert!(tag.get("const").is_some(), "{at}");
        assert!(
            tag.get("default").is_none() && tag.get("enum").is_none(),
            "{at}"
        );
        assert!(branch["title"].is_string(), "{at}");
        acceptable(branch, at);
    }
}

/// Whether each value of a config has its setting of the right kind, and one set of needed ones is complete.
fn has_all(exported: &Value, config: &Value) -> bool {
    let settings = exported["settings"].as_array().unwrap();
    let mut flat = BTreeMap::new();
    for (name, value) in config.as_object().unwrap() {
        match value {
            Value::Object(inside) => flat.extend(
                inside
                    .iter()
                    .map(|(key, value)| (format!("{name}.{key}"), value)),
            ),
            _ => {
                flat.insert(name.clone(), value);
            }
        }
    }
    let fits = |(name, value): (&String, &&Value)| {
        let Some(setting) = settings.iter().find(|setting| setting["name"] == *name) else {
            return false;
        };
        match setting["kind"].as_str().unwrap() {
            "string" | "date_iso8601" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "decimal" => value.is_number(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "options" => setting["options"]
                .as_array()
                .unwrap()
                .iter()
                .any(|one| one["value"] == **value),
            _ => false,
        }
    };
    let sets = exported["settings_group_validation"].as_array().unwrap();
    let is_complete = |set: &Value| {
        let names = set.as_array().unwrap();
        names
            .iter()
            .all(|name| flat.contains_key(name.as_str().unwrap()))
    };
    flat.iter().all(fits) && sets.iter().any(is_complete)
}

// ---- Made-up answers

/// A valid answer: what is required, and some of the rest.
fn object(schema: &Value, random: &mut Rng) -> Value {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut made = Map::new();
    for (name, property) in schema["properties"].as_object().unwrap() {
        if required.contains(&json!(name)) || random.bool() {
            made.insert(name.clone(), value(name, property, random));
        }
    }
    made.into()
}

fn value(name: &str, schema: &Value, random: &mut Rng) -> Value {
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(branches) = schema.get("oneOf").and_then(Value::as_array) {
        let branch = random.choice(branches).unwrap();
        return match branch.get("const") {
            Some(constant) => constant.clone(),
            None => object(branch, random),
        };
    }
    match (
        schema["type"].as_str().unwrap(),
        schema.get("format").and_then(Value::as_str),
    ) {
        ("string", Some("uri")) => random
            .choice(["https://example.com/v1", "http://localhost:8080"])
            .into(),
        ("string", Some("date")) => {
            format!("2026-{:02}-{:02}", random.u8(1..13), random.u8(1..29)).into()
        }
        ("string", Some("password")) => "k-1".into(),
        ("string", _) if schema.get("pattern").is_some() => text_of(name).into(),
        ("string", _) => "some text".into(),
        ("integer", _) => {
            let least = schema.get("minimum").and_then(Value::as_u64).unwrap_or(0);
            let most = schema
                .get("maximum")
                .and_then(Value::as_u64)
                .unwrap_or(1000);
            random.u64(least..=most).into()
        }
        ("boolean", _) => random.bool().into(),
        ("array", _) => {
            let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize;
            let count = random.usize(least..least + 3);
            (0..count)
                .map(|_| value(name, &schema["items"], random))
                .collect()
        }
        (other, _) => panic!("{name} is of the type {other}"),
    }
}

/// A text that the pattern of this field takes.
fn text_of(name: &str) -> &'static str {
    match name {
        "currency" => "EUR",
        "fiscal_periods" => "2026_Q4",
        _ => "net_arr",
    }
}

/// An answer with one thing wrong, and whether only a closed object would tell.
fn broken(schema: &Value, config: &Value, random: &mut Rng) -> (Value, bool) {
    let mut broken = config.clone();
    let fields = broken.as_object_mut().unwrap();
    let names: Vec<String> = schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let required: Vec<Value> = schema["required"].as_array().unwrap().clone();
    let name = random.choice(&names).unwrap().clone();
    match random.u8(..6) {
        0 => {
            fields.insert("no_such_field".to_owned(), 1.into());
            return (broken, true);
        }
        1 => {
            fields.remove(random.choice(&required).unwrap().as_str().unwrap());
        }
        2 => {
            fields.insert(name, Value::Null);
        }
        3 => {
            fields.insert(name, json!("\u{0}?"));
        }
        4 => {
            fields.insert(name, json!(-1));
        }
        _ => {
            fields.insert(name, json!(["", 5, {}]));
        }
    }
    (broken, false)
}
