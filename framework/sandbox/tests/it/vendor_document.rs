//! The simulator against the vendor's OpenAPI document: every documented path and parameter is
//! served, and every answer has the documented shape, with nothing missing from the comparison but
//! the deviations listed here.
//!
//! The document is not part of this repository. Its path, or that of the folder that holds it, is
//! taken from the environment variable `HEADWATER_VENDOR_DOCS`. Without the document the tests are
//! skipped, and say so.

use std::collections::BTreeSet;

use crate::support::{Api, unlimited};
use headwater_sandbox::{CopilotOptions, TemplateKey};
use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Map, Value, json};

/// Where the live API, and the simulator after it, departs from the document.
const DEVIATIONS: &[Deviation] = &[
    Deviation {
        reason: "`audio_url` is null when it was not asked for (observed live)",
        pointer: "/components/schemas/Call/properties/audio_url/type",
        apply: |schema| *schema = json!(["string", "null"]),
    },
    Deviation {
        reason: "`video_url` is null when it was not asked for (observed live)",
        pointer: "/components/schemas/Call/properties/video_url/type",
        apply: |schema| *schema = json!(["string", "null"]),
    },
    Deviation {
        reason: "calls made by upload keep their `APICallType` (observed live)",
        pointer: "/components/schemas/Call/properties/type",
        apply: |schema| {
            *schema = json!({"anyOf": [
                {"$ref": "#/components/schemas/CallType"},
                {"$ref": "#/components/schemas/APICallType"},
            ]});
        },
    },
    Deviation {
        reason: "the type `float` exists neither in OpenAPI nor in JSON Schema",
        pointer: "/components/schemas/Category/properties/phrases_matched/items/properties/time/type",
        apply: |schema| *schema = json!("number"),
    },
    Deviation {
        reason: "the list is spelled `scorecardTemplates` (observed live)",
        pointer: "/components/schemas/ScorecardTemplateResponse/properties",
        apply: |schema| {
            let list = schema["scoreCardTemplates"].take();
            *schema = json!({"scorecardTemplates": list});
        },
    },
];

struct Deviation {
    reason: &'static str,
    pointer: &'static str,
    apply: fn(&mut Value),
}

/// The document, as JSON.
struct Document {
    root: Value,
}

impl Document {
    /// The document with the deviations applied to it.
    fn of_live_api() -> Option<Self> {
        let mut document = Self::as_published()?;
        for deviation in DEVIATIONS {
            let schema = document.root.pointer_mut(deviation.pointer);
            (deviation.apply)(schema.unwrap_or_else(|| panic!("{}", deviation.reason)));
        }
        Some(document)
    }

    fn as_published() -> Option<Self> {
        let root = crate::support::document::published("clari-copilot.yml")?;
        Some(Self { root })
    }

    fn paths(&self) -> &Map<String, Value> {
        self.root["paths"].as_object().unwrap()
    }

    /// The checker of the answers of an operation.
    fn checker(&self, method: &str, path: &str, status: &str) -> Validator {
        let operation = &self.root["paths"][path][method];
        let response = self.resolve(&operation["responses"][status]);
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} {status}");
        jsonschema::options()
            .should_validate_formats(true)
            .build(&self.strict(schema))
            .unwrap()
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.root.pointer(&reference[1..]).unwrap(),
            None => value,
        }
    }

    /// A JSON Schema without references that refuses fields which the document does not name.
    fn strict(&self, schema: &Value) -> Value {
        let schema = self.resolve(schema);
        let mut strict = schema.clone();
        let mut properties = schema["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            let part = self.strict(part);
            properties.extend(part["properties"].as_object().unwrap().clone());
        }
        strict.as_object_mut().unwrap().remove("allOf");
        if !properties.is_empty() {
            let strict_properties: Map<String, Value> = properties
                .iter()
                .map(|(name, property)| (name.clone(), self.strict(property)))
                .collect();
            strict["properties"] = strict_properties.into();
            strict["additionalProperties"] = false.into();
        }
        if schema["items"].is_object() {
            strict["items"] = self.strict(&schema["items"]);
        }
        if let Some(alternatives) = schema["anyOf"].as_array() {
            strict["anyOf"] = alternatives.iter().map(|part| self.strict(part)).collect();
        }
        strict
    }

    fn enumeration(&self, name: &str) -> BTreeSet<String> {
        let values = self.root["components"]["schemas"][name]["enum"].as_array();
        let values = values.unwrap().iter();
        values.map(|value| value.as_str().unwrap().into()).collect()
    }
}

fn assert_fits(checker: &Validator, answer: &Value, target: &str) {
    let errors: Vec<String> = checker
        .iter_errors(answer)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0], "{target}");
}

#[tokio::test]
async fn every_documented_operation_is_served() {
    let Some(document) = Document::as_published() else {
        return;
    };
    let api = Api::of_calls(20).await;
    let mut operations = 0;
    for (path, methods) in document.paths() {
        for method in methods.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let (status, body) = api.send(method.clone(), path, &json!({})).await;
            assert!(
                [200, 400].contains(&status),
                "{method} {path}: {status} {body}"
            );
            operations += 1;
        }
    }
    assert_eq!(operations, 20);
}

#[tokio::test]
async fn every_documented_parameter_is_served() {
    let Some(document) = Document::as_published() else {
        return;
    };
    let api = Api::of_calls(400).await;
    let mut checked = 0;
    for (path, methods) in document.paths() {
        let operation = &methods["get"];
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let schema = document.resolve(&parameter["schema"]);
            check_parameter(&api, &document, path, name, schema).await;
            checked += 1;
        }
    }
    assert_eq!(checked, 34);
}

/// Sends good and bad values of one parameter, after its documented type.
async fn check_parameter(api: &Api, document: &Document, path: &str, name: &str, schema: &Value) {
    let target = |value: &str| match (path, name) {
        ("/call-details", "id") | (_, "id") => format!("{path}?{name}={value}"),
        ("/call-details", _) => {
            let id = api.sandbox.keys("calls").unwrap().swap_remove(0);
            format!("{path}?id={id}&{name}={value}")
        }
        _ => format!("{path}?{name}={value}"),
    };
    let status = async |value: &str| api.get(&target(value)).await.0;
    let of_items = document.resolve(&schema["items"]);
    let values = schema["enum"].as_array().or(of_items["enum"].as_array());
    if let Some(values) = values {
        for value in values {
            let value = value.as_str().map_or(value.to_string(), str::to_owned);
            assert_eq!(status(&value).await, 200, "{path} {name}={value}");
        }
        assert_eq!(status("no-such-value").await, 400, "{path} {name}");
        return;
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("integer"), _) => {
            let minimum = schema["minimum"].as_i64().unwrap();
            let maximum = schema["maximum"].as_i64().unwrap();
            for (value, expected) in [
                (minimum, 200),
                (maximum, 200),
                (minimum - 1, 400),
                (maximum + 1, 400),
            ] {
                let value = value.to_string();
                assert_eq!(status(&value).await, expected, "{path} {name}={value}");
            }
            assert_eq!(status("1.5").await, 400, "{path} {name}");
            if let Some(default) = schema["default"].as_i64() {
                let explicit = api.ok(&target(&default.to_string())).await;
                assert_eq!(explicit, api.ok(path).await, "{path} {name}");
            }
        }
        (Some("string"), Some("date-time")) => {
            assert_eq!(status("2025-06-01T00:00:00Z").await, 200);
            assert_eq!(status("soon").await, 400);
            let unfiltered = api.ok(path).await;
            assert_ne!(api.ok(&target("2025-06-01T00:00:00Z")).await, unfiltered);
        }
        (Some("string"), None) if name == "id" => assert_eq!(status("x").await, 404),
        // A filter by text: nothing matches a text that does not occur.
        (Some("string" | "array"), None) => {
            let found = api.ok(&target("no-such-value")).await;
            assert_eq!(found["pagination"]["matched"], 0, "{path} {name}");
        }
        other => panic!("{path} {name}: {other:?}"),
    }
}

#[tokio::test]
async fn every_answer_has_the_documented_shape() {
    let Some(document) = Document::of_live_api() else {
        return;
    };
    let api = Api::of_calls(600).await;
    let calls_checker = document.checker("get", "/calls", "200");
    for skip in (0..600).step_by(100) {
        let target = format!(
            "/calls?limit=100&skip={skip}&includePrivate=true&includeAudio={}",
            skip % 200 == 0
        );
        assert_fits(&calls_checker, &api.ok(&target).await, &target);
    }
    for target in [
        "/users",
        "/topics",
        "/v2/topics",
        "/scorecard?limit=100",
        "/scorecard-template",
    ] {
        let path = target.split('?').next().unwrap();
        let checker = document.checker("get", path, "200");
        assert_fits(&checker, &api.ok(target).await, target);
    }
    for (stream, path) in [
        ("call_details", "/call-details"),
        ("accounts", "/get-account"),
        ("contacts", "/get-contact"),
        ("deals", "/get-deal"),
    ] {
        let checker = document.checker("get", path, "200");
        for key in api.sandbox.keys(stream).unwrap() {
            let target = format!("{path}?id={key}");
            assert_fits(&checker, &api.ok(&target).await, &target);
        }
        let checker = document.checker("get", path, "404");
        let (status, missing) = api.get(&format!("{path}?id=x")).await;
        assert_eq!(status, 404);
        assert_fits(&checker, &missing, path);
        let checker = document.checker("get", path, "400");
        let (status, refused) = api.get(path).await;
        assert_eq!(status, 400);
        assert_fits(&checker, &refused, path);
    }
}

#[tokio::test]
async fn answers_to_writes_have_the_documented_shape() {
    let Some(document) = Document::of_live_api() else {
        return;
    };
    let api = Api::of_calls(20).await;
    for kind in ["account", "contact", "deal"] {
        for (method, verb, body) in [
            (
                "post",
                "create",
                json!({"crm_id": "X-1", "custom_fields": []}),
            ),
            ("put", "update", json!({"crm_id": "X-1"})),
            ("delete", "delete", json!({"id": "X-1"})),
        ] {
            let path = format!("/{verb}-{kind}");
            let http_method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let (status, answer) = api.send(http_method, &path, &body).await;
            assert_eq!(status, 200, "{path}");
            assert_fits(&document.checker(method, &path, "200"), &answer, &path);
        }
    }
    let user = api.ok("/users").await["users"][0]["email"].clone();
    let call = json!({
        "source_id": "s",
        "call_time": "2025-01-01T00:00:00Z",
        "type": "RECORDING",
        "audio_url": "https://example.com/a.mp3",
        "user_emails": [user],
    });
    let (_, answer) = api.send(Method::POST, "/create-call", &call).await;
    assert_fits(
        &document.checker("post", "/create-call", "200"),
        &answer,
        "/create-call",
    );
    let id = answer["call_id"].as_str().unwrap();
    let target = format!("/call-details?id={id}");
    let details = api.ok(&target).await;
    assert_fits(
        &document.checker("get", "/call-details", "200"),
        &details,
        &target,
    );
}

#[tokio::test]
async fn the_document_spelling_of_templates_can_be_chosen() {
    let Some(document) = Document::as_published() else {
        return;
    };
    let api = Api::start(CopilotOptions {
        template_key: TemplateKey::ScoreCardTemplates,
        limits: unlimited(),
        ..CopilotOptions::default()
    })
    .await;
    let checker = document.checker("get", "/scorecard-template", "200");
    let answer = api.ok("/scorecard-template").await;
    assert_fits(&checker, &answer, "/scorecard-template");
}

#[tokio::test]
async fn every_documented_enum_value_occurs() {
    let Some(document) = Document::as_published() else {
        return;
    };
    let api = Api::of_calls(6_000).await;
    let calls = api.read_all("/calls?includePrivate=true", "calls").await;
    let occurring = |key: &str| -> BTreeSet<String> {
        let values = calls.iter().flat_map(|call| match &call[key] {
            Value::Array(values) => values.clone(),
            value => vec![value.clone()],
        });
        values
            .map(|value| value.as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(occurring("status"), document.enumeration("CallStatus"));
    assert_eq!(
        occurring("disposition"),
        document.enumeration("CallDisposition")
    );
    assert_eq!(
        occurring("bot_not_join_reason"),
        document.enumeration("BotNotJoinReason")
    );
    let mut types = document.enumeration("CallType");
    types.extend(document.enumeration("APICallType"));
    assert_eq!(occurring("type"), types);
}

#[tokio::test]
async fn the_checker_refuses_broken_answers() {
    let Some(document) = Document::of_live_api() else {
        return;
    };
    let api = Api::of_calls(20).await;
    let good = api.ok("/calls").await;
    let checker = document.checker("get", "/calls", "200");
    assert!(checker.is_valid(&good));
    for (pointer, value) in [
        ("/calls/0/status", json!("DONE")),
        ("/calls/0/time", json!("yesterday")),
        ("/calls/0/users/0/personId", json!("0")),
        ("/calls/0/title", Value::Null),
        ("/pagination/matched", json!("20")),
        ("/pagination", json!({"total": 20})),
    ] {
        let mut broken = good.clone();
        *broken.pointer_mut(pointer).unwrap() = value;
        assert!(!checker.is_valid(&broken), "{pointer}");
    }
    let mut with_unknown_field = good.clone();
    with_unknown_field["calls"][0]["transcripts"] = json!([]);
    assert!(!checker.is_valid(&with_unknown_field));
}

/// A deviation that nothing needs would hide a mistake.
#[tokio::test]
async fn every_deviation_is_needed() {
    let Some(document) = Document::as_published() else {
        return;
    };
    let api = Api::of_calls(600).await;
    let calls = api.read_all("/calls?includePrivate=true", "calls").await;
    let templates = api.ok("/scorecard-template").await;
    let answers = [
        ("/calls", json!({"calls": calls})),
        ("/scorecard-template", templates),
    ];
    for left_out in DEVIATIONS {
        let mut partial = Document {
            root: document.root.clone(),
        };
        for deviation in DEVIATIONS {
            if deviation.pointer != left_out.pointer {
                let schema = partial.root.pointer_mut(deviation.pointer).unwrap();
                (deviation.apply)(schema);
            }
        }
        let fits = answers.iter().all(|(path, answer)| {
            let schema = &partial.root["paths"][path]["get"]["responses"]["200"]["content"];
            let schema = partial.strict(&schema["application/json"]["schema"]);
            // A schema that cannot be read at all does not fit either.
            jsonschema::validator_for(&schema).is_ok_and(|checker| checker.is_valid(answer))
        });
        assert!(!fits, "not needed: {}", left_out.reason);
    }
}
