//! The simulator against the vendor's OpenAPI document: every documented operation and parameter is
//! served, and every answer has the documented shape, but for the deviations listed here.
//!
//! The document is found and skipped as that of Clari Copilot is (see `vendor_document.rs`).

use std::collections::BTreeSet;

use headwater_sandbox::{API_KEY, PARTNER_KEY, RevenueBehaviour, RevenueOptions};
use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Tenant, answer, list, options};
use crate::support::document::published;

/// An error in the document, and the behaviour of the simulator instead.
const DEVIATIONS: &[Deviation] = &[
    Deviation {
        reason: "the example of a job has a `deliveryStatusMap` that its schema leaves out",
        pointer: "/paths/~1export~1jobs~1{jobId}/get/responses/200/content/application~1json/schema/properties",
        apply: |properties| properties["deliveryStatusMap"] = json!({"type": "object"}),
    },
    Deviation {
        reason: "an actor who impersonates no other has no `impersonatingActorId`: its description says null",
        pointer: "/paths/~1audit~1events/get/responses/200/content/application~1json/schema/properties/items/items/properties/impersonatingActorId",
        apply: |schema| *schema = json!({"type": ["string", "null"]}),
    },
    Deviation {
        reason: "the schemas of refused uploads name a `description`, but require and show an `errorSummary`",
        pointer: "/paths",
        apply: |paths| {
            let uploads = paths.as_object_mut().unwrap().iter_mut();
            for (_, upload) in uploads.filter(|(path, _)| path.starts_with("/ingest/")) {
                for status in ["400", "401"] {
                    let schema = format!(
                        "/post/responses/{status}/content/application~1json/schema/items/properties"
                    );
                    if let Some(properties) = upload.pointer_mut(&schema) {
                        properties["errorSummary"] = json!({"type": "string"});
                    }
                }
            }
        },
    },
    Deviation {
        reason: "the example of an activity has its `date` as a text",
        pointer: "/paths/~1export~1activity/post/responses/x-export-results/content/application~1json/schema/properties/activities/items/properties/date",
        apply: |schema| *schema = json!({"type": ["string", "integer"]}),
    },
];

struct Deviation {
    reason: &'static str,
    pointer: &'static str,
    apply: fn(&mut Value),
}

struct Document {
    root: Value,
}

impl Document {
    fn published() -> Option<Self> {
        let root = published("clari-revenue.yml")?;
        Some(Self { root })
    }

    fn with_deviations() -> Option<Self> {
        let mut document = Self::published()?;
        for deviation in DEVIATIONS {
            let schema = document.root.pointer_mut(deviation.pointer);
            (deviation.apply)(schema.unwrap_or_else(|| panic!("{}", deviation.reason)));
        }
        Some(document)
    }

    /// Every operation: path, method in lower case, and its description.
    fn operations(&self) -> Vec<(&str, &str, &Value)> {
        let paths = self.root["paths"].as_object().unwrap().iter();
        let operations = paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        });
        operations.collect()
    }

    fn resolve<'a>(&'a self, mut value: &'a Value) -> &'a Value {
        while let Some(reference) = value["$ref"].as_str() {
            let pointer = reference[1..].replace("%7B", "{").replace("%7D", "}");
            value = self.root.pointer(&pointer).unwrap();
        }
        value
    }

    /// The checker of the answers of an operation.
    fn checker(&self, method: &str, path: &str, response: &str) -> Validator {
        let operation = &self.root["paths"][path][method];
        let described = match response {
            "results" => &operation["responses"]["x-export-results"],
            status => self.resolve(&operation["responses"][status]),
        };
        let schema = &described["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} {response}");
        jsonschema::options()
            .should_validate_formats(true)
            .build(&self.strict(schema))
            .unwrap()
    }

    /// A JSON Schema without references that refuses fields which the document does not name.
    fn strict(&self, schema: &Value) -> Value {
        let mut strict = self.resolve(schema).clone();
        let Some(members) = strict.as_object_mut() else {
            // A property with a description only can be anything.
            return json!({});
        };
        // Alternatives overlap in the document: the errors differ in their examples only.
        if let Some(alternatives) = members.remove("oneOf") {
            let alternatives = alternatives.as_array().unwrap().iter();
            members.insert(
                "anyOf".into(),
                alternatives.map(|part| self.strict(part)).collect(),
            );
        }
        if let Some(properties) = members.get("properties").and_then(Value::as_object) {
            let properties: Map<String, Value> = properties
                .iter()
                .map(|(name, property)| (name.clone(), self.strict(property)))
                .collect();
            members.insert("properties".into(), properties.into());
            members.insert("additionalProperties".into(), false.into());
        }
        if let Some(items) = members.get("items") {
            let items = self.strict(items);
            members.insert("items".into(), items);
        }
        strict
    }
}

fn assert_fits(checker: &Validator, answer: &Value, target: &str) {
    let errors: Vec<String> = checker
        .iter_errors(answer)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0], "{target}");
}

/// A tenant that answers as documented.
async fn documented() -> Tenant {
    Tenant::start(RevenueOptions {
        behaviour: RevenueBehaviour {
            bare_job: true,
            ..RevenueBehaviour::default()
        },
        ..options()
    })
    .await
}

fn version(path: &str) -> &'static str {
    if path.starts_with("/ingest/") {
        "v2"
    } else {
        "v4"
    }
}

fn request(tenant: &Tenant, method: &str, path: &str, target: &str) -> reqwest::RequestBuilder {
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    tenant
        .bare(method, &format!("/{}{target}", version(path)))
        .header("apikey", API_KEY)
        .header("partnerkey", PARTNER_KEY)
}

#[tokio::test]
async fn every_documented_operation_is_served() {
    let Some(document) = Document::published() else {
        return;
    };
    let tenant = Tenant::usual().await;
    let operations = document.operations();
    for (path, method, _) in &operations {
        let (_, body) = answer(request(&tenant, method, path, path)).await;
        let is_served = body["message"] != "no Route matched with those values";
        assert!(is_served, "{method} {path}");
    }
    assert_eq!(operations.len(), 15);
}

#[tokio::test]
async fn every_checkable_parameter_is_checked() {
    let Some(document) = Document::published() else {
        return;
    };
    let tenant = Tenant::usual().await;
    let mut checked = 0;
    let mut free = BTreeSet::new();
    for (path, method, operation) in document.operations() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = document.resolve(parameter);
            if parameter["in"] != "query" {
                continue;
            }
            let name = parameter["name"].as_str().unwrap();
            let schema = &parameter["schema"];
            let known = schema["enum"]
                .as_array()
                .or(schema["items"]["enum"].as_array());
            let is_text = schema["type"] == "string" && schema["format"].is_null();
            if known.is_none() && (is_text || schema["type"] == "array") {
                free.insert(name);
                continue;
            }
            let concrete = path
                .replace("{forecastId}", "net_arr")
                .replace("{entity}", "account");
            let target = format!("{concrete}?{name}=no-such-value");
            let (status, body) = answer(request(&tenant, method, path, &target)).await;
            assert_eq!(status, 400, "{method} {target}: {body}");
            checked += 1;
        }
    }
    assert_eq!(checked, 14);
    let free = Vec::from_iter(free);
    assert_eq!(
        free,
        [
            "currency",
            "event",
            "fieldNames",
            "mode",
            "oppId",
            "scopeId",
            "timePeriod"
        ]
    );
}

#[tokio::test]
async fn every_answer_has_the_documented_shape() {
    let Some(document) = Document::with_deviations() else {
        return;
    };
    let tenant = documented().await;
    let forecast = "/export/forecast/{forecastId}";
    let exports = [
        (forecast, "/export/forecast/net_arr", "200"),
        ("/export/activity", "/export/activity", "202"),
        ("/export/audit/events", "/export/audit/events", "202"),
    ];
    let mut ids = Vec::new();
    for (path, target, status) in exports {
        let (found, body) = tenant.post(target, json!({})).await;
        assert_eq!(found.to_string(), status);
        assert_fits(&document.checker("post", path, status), &body, path);
        let id = body["jobId"].as_str().unwrap().to_owned();
        if path != forecast {
            let result = tenant.ok(&format!("/export/jobs/{id}/results")).await;
            assert_fits(&document.checker("post", path, "results"), &result, path);
        }
        ids.push(id);
    }
    let job = "/export/jobs/{jobId}";
    let body = tenant.ok(&format!("/export/jobs/{}", ids[0])).await;
    assert_fits(&document.checker("get", job, "200"), &body, job);
    let opportunity = format!(
        "/opportunity?oppId={}",
        tenant.keys("opportunities").join("&oppId=")
    );
    for target in [
        "/export/jobs",
        "/admin/limits",
        "/audit/events?limit=1000",
        "/audit/events?limit=3",
        &opportunity,
    ] {
        let path = target.split('?').next().unwrap();
        let body = tenant.ok(target).await;
        assert_fits(&document.checker("get", path, "200"), &body, target);
    }
}

#[tokio::test]
async fn every_refusal_has_the_documented_shape() {
    let Some(document) = Document::published() else {
        return;
    };
    let mut limited = options();
    limited.jobs.monthly_quota = 1;
    let tenant = Tenant::start(limited).await;
    let id = tenant.order("/export/activity", json!({})).await;
    let forecast = "/export/forecast/{forecastId}";
    let results = "/export/jobs/{jobId}/results";
    let one = "/export/jobs/{jobId}";
    let cases = [
        (
            "post",
            forecast,
            "/export/forecast/net_arr".to_owned(),
            json!({}),
            "400",
        ),
        (
            "post",
            forecast,
            "/export/forecast/nothing".to_owned(),
            json!({}),
            "400",
        ),
        (
            "post",
            forecast,
            "/export/forecast/no_access".to_owned(),
            json!({}),
            "401",
        ),
        (
            "post",
            "/export/activity",
            "/export/activity".to_owned(),
            json!({"startDate": "x"}),
            "400",
        ),
        (
            "post",
            "/export/activity",
            "/export/activity".to_owned(),
            json!({}),
            "400",
        ),
        (
            "post",
            "/export/audit/events",
            "/export/audit/events".to_owned(),
            json!({"dateTo": "x"}),
            "400",
        ),
        (
            "post",
            "/export/audit/events",
            "/export/audit/events".to_owned(),
            json!({}),
            "400",
        ),
        ("get", one, "/export/jobs/x".to_owned(), json!({}), "400"),
        (
            "get",
            results,
            "/export/jobs/x/results".to_owned(),
            json!({}),
            "400",
        ),
        (
            "patch",
            one,
            format!("/export/jobs/{id}"),
            json!({"type": "CANCEL"}),
            "400",
        ),
        (
            "get",
            "/audit/events",
            "/audit/events?limit=0".to_owned(),
            json!({}),
            "4XX",
        ),
        (
            "get",
            "/opportunity",
            "/opportunity".to_owned(),
            json!({}),
            "4XX",
        ),
    ];
    for (method, path, target, body, status) in cases {
        let request = request(&tenant, method, path, &target).json(&body);
        let (found, body) = answer(request).await;
        assert_eq!(found.to_string(), status.replace("XX", "00"), "{target}");
        assert_fits(&document.checker(method, path, status), &body, &target);
    }
    let unauthorized = tenant
        .bare(Method::POST, "/v4/export/activity")
        .header("apikey", "x");
    let (status, body) = answer(unauthorized).await;
    assert_eq!(status, 401);
    assert_fits(
        &document.checker("post", "/export/activity", "401"),
        &body,
        "401",
    );
}

#[tokio::test]
async fn ingestion_has_the_documented_shape() {
    let Some(document) = Document::with_deviations() else {
        return;
    };
    let tenant = Tenant::usual().await;
    let entity = "/ingest/entity/{entity}";
    let file = "/ingest/bulk/entity/{entity}";
    let field = "/ingest/schema/{entity}/field";
    let job = "/ingest/job/{jobId}";
    let sent = |method: &str, path: &str, target: &str, body: &str| {
        answer(request(&tenant, method, path, target).body(body.to_owned()))
    };
    let part = "--b\r\nContent-Disposition: form-data; name=\"FileData\"\r\n\r\n[]\r\n--b--";
    let (status, body) = sent("post", file, "/ingest/bulk/entity/account", part).await;
    assert_eq!(status, 202);
    assert_fits(&document.checker("post", file, "202"), &body, file);
    let target = format!("/ingest/job/{}", body["jobId"].as_str().unwrap());
    let (_, mut body) = sent("get", job, &target, "").await;
    // The schema leaves out two members that all examples have.
    for name in ["orgId", "userId"] {
        assert!(
            body["message"]
                .as_object_mut()
                .unwrap()
                .remove(name)
                .is_some()
        );
    }
    assert_fits(&document.checker("get", job, "200"), &body, job);
    let (_, body) = sent("get", job, "/ingest/job/x", "").await;
    assert_fits(&document.checker("get", job, "404"), &body, job);
    for (path, target) in [
        (entity, "/ingest/entity/account"),
        (file, "/ingest/bulk/entity/x"),
        (field, "/ingest/schema/account/field"),
    ] {
        let (status, body) = sent("post", path, target, "{}").await;
        assert_eq!(status, 400);
        assert_fits(&document.checker("post", path, "400"), &body, path);
        let request = tenant.bare(Method::POST, &format!("/v2{target}"));
        let (status, body) = answer(request.header("apikey", API_KEY)).await;
        assert_eq!(status, 401);
        assert_fits(&document.checker("post", path, "401"), &body, path);
    }
    let body = r#"{"fieldName": "fieldName", "fieldType": "picklist", "values": ["a"]}"#;
    for (method, body) in [("post", body), ("get", "")] {
        let (status, body) = sent(method, field, "/ingest/schema/account/field", body).await;
        assert_eq!(status, 200);
        assert_fits(&document.checker(method, field, "200"), &body, field);
    }
}

/// A deviation that the document no longer needs would hide a mistake.
#[tokio::test]
async fn every_deviation_is_needed() {
    let Some(document) = Document::published() else {
        return;
    };
    let tenant = documented().await;
    let job = tenant.order("/export/activity", json!({})).await;
    let checker = document.checker("get", "/export/jobs/{jobId}", "200");
    assert!(!checker.is_valid(&tenant.ok(&format!("/export/jobs/{job}")).await));
    let events = tenant.ok("/audit/events?limit=1000").await;
    assert!(!list(&events, "items").is_empty());
    assert!(
        !document
            .checker("get", "/audit/events", "200")
            .is_valid(&events)
    );
    let result = tenant.ok(&format!("/export/jobs/{job}/results")).await;
    assert!(
        !document
            .checker("post", "/export/activity", "results")
            .is_valid(&result)
    );
    let path = "/ingest/entity/{entity}";
    let refused = request(&tenant, "post", path, "/ingest/entity/account").body("{}");
    let (_, body) = answer(refused).await;
    assert!(!document.checker("post", path, "400").is_valid(&body));
}
