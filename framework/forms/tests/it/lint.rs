//! What the author of a form is told, and what people would see of its probe.

use crate::sample::{good, sample};
use fastrand::Rng;
use headwater_core::{FormModel, GuideStep, Outcome, validate};
use headwater_forms::{Finding, ProbeClass, lint, simulate};
use serde_json::{Value, json};

const GUIDE: [GuideStep; 1] = [GuideStep {
    title: "Get a key",
    text: "It is on the settings page.",
}];

/// A form without anything wrong, and one change to it.
fn schema(change: impl FnOnce(&mut Value)) -> Value {
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["api_key"],
        "properties": {
            "api_key": { "type": "string", "format": "password", "writeOnly": true, "minLength": 1, "title": "Key",
                         "description": "Yours.", "x-headwater": { "order": 1, "guideStep": 1 } },
            "base_url": { "type": "string", "format": "uri", "default": "https://api.example.com", "title": "Address",
                          "description": "Where it is.", "x-headwater": { "order": 2, "destination": true } },
            "limit": { "type": "integer", "title": "Limit", "description": "How many.", "x-headwater": { "order": 3 } },
        },
    });
    change(&mut schema);
    schema
}

fn findings(schema: &Value) -> Vec<Finding> {
    lint(schema, Some(&GUIDE), &|answer| validate(schema, &answer))
}

#[test]
fn a_sound_form_has_no_findings() {
    assert_eq!(findings(&schema(|_| {})), []);
}

#[test]
fn each_finding_names_its_field_its_rule_and_what_to_do() {
    type Change = fn(&mut Value);
    let table: [(Change, &str, &str, bool, &str); 15] = [
        (
            |schema| schema["properties"]["limit"]["title"] = "".into(),
            "/limit",
            "the form keeps the profile",
            true,
            "title",
        ),
        (
            |schema| schema["properties"]["limit"]["type"] = "null".into(),
            "/limit",
            "the form keeps the profile",
            true,
            "type",
        ),
        (
            |schema| *schema = json!([1]),
            "",
            "the form keeps the profile",
            true,
            "properties",
        ),
        (
            |schema| schema["properties"]["limit"]["minimun"] = 1.into(),
            "/limit",
            "the form uses supported keywords",
            false,
            "did you mean minimum?",
        ),
        (
            |schema| schema["properties"]["limit"]["x-headwater"]["advanecd"] = true.into(),
            "/limit",
            "the form uses supported keywords",
            false,
            "did you mean advanced?",
        ),
        (
            |schema| schema["allOf"] = json!([{ "$ref": "http://127.0.0.1:9/x" }]),
            "",
            "the form uses supported keywords",
            false,
            "allOf",
        ),
        (
            |schema| schema["additionalProperties"] = json!({ "type": "string" }),
            "",
            "the form uses supported keywords",
            false,
            "only the fields that it names",
        ),
        (
            |schema| schema["properties"]["api_key"]["format"] = "x".into(),
            "",
            "the form has a secret and a destination",
            false,
            "no field is a secret",
        ),
        (
            |schema| schema["properties"]["base_url"]["x-headwater"]["destination"] = false.into(),
            "",
            "the form has a secret and a destination",
            false,
            "no field is a destination",
        ),
        (
            |schema| schema["properties"]["api_key"]["format"] = "x".into(),
            "/api_key",
            "a field named like a secret is a secret",
            false,
            "in clear",
        ),
        (
            |schema| {
                schema["properties"]["Pass-Word"] = schema["properties"]["api_key"].clone();
                schema["properties"]["Pass-Word"]["x-headwater"]["order"] = 4.into();
            },
            "/Pass-Word",
            "a password keeps its spaces and quotes",
            false,
            "Hint::verbatim()",
        ),
        (
            |schema| schema["properties"]["api_key"]["x-headwater"]["guideStep"] = 2.into(),
            "/api_key",
            "the guide explains every secret",
            false,
            "no step",
        ),
        (
            |schema| schema["additionalProperties"] = true.into(),
            "",
            "an unknown field is refused",
            false,
            "typos pass",
        ),
        (
            |schema| schema["required"] = json!(["api_key", "base_url"]),
            "/base_url",
            "an empty answer misses exactly the required fields",
            false,
            "is refused",
        ),
        (
            |schema| schema["properties"]["limit"]["minimum"] = "x".into(),
            "",
            "the form can be answered",
            true,
            "broken",
        ),
    ];
    for (number, (change, pointer, rule, is_refused, says)) in table.into_iter().enumerate() {
        let schema = schema(change);
        let found = findings(&schema);
        let named = found.iter().find(|one| {
            one.pointer == pointer
                && one.rule == rule
                && one.is_refused == is_refused
                && (one.message.contains(says) || one.remedy.contains(says))
                && !one.remedy.is_empty()
        });
        assert!(named.is_some(), "{number} {rule}: {found:#?}");
    }
}

#[test]
fn without_a_guide_any_step_is_taken_for_there() {
    let schema = schema(|schema| {
        schema["properties"]["api_key"]["x-headwater"]["guideStep"] = 7.into();
    });
    let judge = |answer: Value| validate(&schema, &answer);
    assert_eq!(lint(&schema, None, &judge), []);
    assert_eq!(lint(&schema, Some(&GUIDE), &judge).len(), 1);
}

#[test]
fn a_pattern_that_takes_too_much_and_a_form_that_nobody_fills_in_are_not_tried_out() {
    let large = schema(|schema| {
        schema["properties"]["limit"] = json!({ "type": "string", "title": "T", "description": "D",
            "pattern": "((\\w{200}){200}){200}", "x-headwater": { "order": 3 } });
    });
    let found = findings(&large);
    assert!(
        found
            .iter()
            .any(|one| one.rule == "the form can be answered"),
        "{found:?}"
    );
    let many = schema(|schema| {
        for number in 0..600 {
            let field = json!({ "type": "string", "pattern": "((\\w{200}){200}){200}", "title": "T",
                "description": "D", "x-headwater": { "order": number + 10 } });
            schema["properties"][format!("f{number}")] = field;
        }
    });
    let found = findings(&many);
    assert!(
        found
            .iter()
            .any(|one| one.message.contains("more than 500")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .all(|one| one.rule != "the form can be answered")
    );
}

/// Whatever an author has typed so far: parts of a schema are put in each other's places.
#[test]
fn no_schema_is_too_broken_to_be_told_what_is_wrong() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    for _ in 0..1_000 {
        let mut schema = sample().schema();
        for _ in 0..random.usize(1..4) {
            let pointers = pointers(&schema);
            let (from, to) = (random.choice(&pointers), random.choice(&pointers));
            let part = match random.u8(..4) {
                0 => Value::Null,
                1 => json!([{}]),
                _ => schema.pointer(from.unwrap()).unwrap().clone(),
            };
            *schema.pointer_mut(to.unwrap()).unwrap() = part;
        }
        for finding in findings(&schema) {
            assert!(!finding.message.is_empty() && !finding.remedy.is_empty());
        }
        if let Ok(form) = FormModel::from_schema("X", &[], &schema) {
            for class in ProbeClass::ALL {
                simulate(&form, &json!({}), &["calls"], class);
            }
        }
    }
}

fn pointers(schema: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut inside = |name: &str, value: &Value| {
        let name = name.replace('~', "~0").replace('/', "~1");
        let deeper = pointers(value).into_iter();
        found.extend(deeper.map(|rest| format!("/{name}{rest}")));
    };
    match schema {
        Value::Object(all) => all.iter().for_each(|(name, value)| inside(name, value)),
        Value::Array(all) => all
            .iter()
            .enumerate()
            .for_each(|(number, value)| inside(&number.to_string(), value)),
        _ => {}
    }
    found
}

#[test]
fn every_class_of_a_probe_says_what_is_wrong_where_and_what_next() {
    let form = sample().form().unwrap();
    let answer = good();
    for class in ProbeClass::ALL {
        let report = simulate(&form, &answer, &["calls", "users"], class);
        let name = class.name();
        let (outcome, code, pointers): (_, _, &[&str]) = match class {
            ProbeClass::NoTest | ProbeClass::Unreadable => {
                assert_eq!(report.checks, [], "{name}");
                continue;
            }
            ProbeClass::Working => (Outcome::Passed, "", &[]),
            ProbeClass::PartlyDenied => (Outcome::Warned, "permission_denied", &[]),
            ProbeClass::Unauthenticated => (
                Outcome::Failed,
                "unauthenticated",
                &["/api_key", "/auth/password"],
            ),
            ProbeClass::PermissionDenied => (Outcome::Failed, "forbidden", &[]),
            ProbeClass::Throttled | ProbeClass::ServiceProblem => (Outcome::Failed, name, &[]),
            _ => (Outcome::Failed, name, &["/base_url"]),
        };
        assert_eq!(report.outcome(), outcome, "{name}");
        let worst = report.checks.iter().find(|check| check.kind.is_some());
        let Some(worst) = worst else {
            assert_eq!(class, ProbeClass::Working);
            assert_eq!(report.allowances.len(), 1);
            continue;
        };
        assert_eq!(worst.code, code);
        assert_eq!(worst.pointers, pointers, "{name}");
        assert!(worst.remedy.is_some(), "{name}");
        let streams = ["access:calls", "access:users"];
        let has_streams = streams
            .iter()
            .all(|stream| report.checks.iter().any(|check| check.name == *stream));
        assert!(has_streams, "{name}: {report:?}");
    }
}

#[test]
fn of_alternatives_that_nobody_chose_the_first_is_meant() {
    let report = simulate(
        &sample().form().unwrap(),
        &json!({}),
        &[],
        ProbeClass::Unauthenticated,
    );
    let failed = report.failure().unwrap();
    assert_eq!(failed.pointers, ["/api_key", "/auth/token"]);
}
