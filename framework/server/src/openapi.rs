//! The OpenAPI 3.1 document of the table of operations.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value, json};

use crate::{
    operations::{Answer, Operation},
    problem::ProblemBody,
};

/// Problems of every request: access, form and load.
const EVERYWHERE: [u16; 7] = [400, 403, 408, 413, 421, 429, 503];

/// The reference to the description of the header of every answer.
const REQUEST_ID: &str = "#/components/headers/RequestId";

/// The document, with its objects in a fixed order.
pub(crate) fn document(operations: &[Operation]) -> Value {
    // Requests may omit members with a default; answers omit empty members.
    let (mut requests, mut generator) = (generator(false), generator(true));
    let problem = generator.subschema_for::<ProblemBody<'_>>();
    let mut paths = Map::new();
    for operation in operations {
        let mut parameters = path_parameters(operation.path);
        if let Some(query) = operation.query {
            parameters.extend(query_parameters(query));
        }
        parameters.extend(operation.headers.iter().map(|header| {
            json!({
                "name": header.name, "in": "header", "required": header.is_required,
                "description": header.about, "schema": { "type": "string" },
            })
        }));
        let mut answers = Map::new();
        for answer in &operation.answers {
            answers.insert(answer.status.to_string(), response(answer, &mut generator));
        }
        for status in problems(operation) {
            let refused = json!({
                "description": "Refused; the problem document states the reason.",
                "headers": { "X-Request-Id": { "$ref": REQUEST_ID } },
                "content": { "application/problem+json": { "schema": problem } },
            });
            answers.insert(status.to_string(), refused);
        }
        let mut described = json!({
            "operationId": operation.id,
            "summary": operation.summary,
            "responses": answers,
        });
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        if let Some(body) = operation.body {
            let schema = body(&mut requests);
            described["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": schema } },
            });
        }
        if let Some(scope) = operation.scope {
            described["security"] = json!([{ "token": [scope.to_string()] }]);
            described["description"] = format!("Needs a token of the scope `{scope}`.").into();
        } else {
            described["security"] = json!([]);
        }
        let path = paths
            .entry(operation.path)
            .or_insert_with(|| Value::Object(Map::new()));
        path[operation.method.as_str().to_ascii_lowercase()] = described;
    }
    let mut schemas = generator.take_definitions(true);
    schemas.extend(requests.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Headwater",
            "version": "1",
            "description": "Connectors, connections, probes and syncs. On a loopback address no token is needed.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": { "RequestId": {
                "description": "The id of the request: the one that it was sent with, if that is plain, otherwise a \
                 new one.",
                "schema": { "type": "string" },
            } },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
            },
        },
    })
}

fn problems(operation: &Operation) -> Vec<u16> {
    let mut statuses = operation.problems.clone();
    statuses.extend(EVERYWHERE);
    if operation.scope.is_some() {
        statuses.push(401);
    }
    if operation.body.is_some() {
        statuses.push(415);
    }
    if operation.path.contains('{') {
        statuses.push(404);
    }
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn response(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    let mut response = json!({
        "description": answer.about,
        "headers": { "X-Request-Id": { "$ref": REQUEST_ID } },
    });
    for (kind, schema) in &answer.content {
        let schema = schema.map_or_else(
            || json!({ "type": "string" }),
            |schema| schema(generator).to_value(),
        );
        response["content"][*kind] = json!({ "schema": schema });
    }
    if answer.is_tagged {
        response["headers"]["ETag"] = json!({
            "description": "Identifies this state; send it in If-Match to change it.",
            "schema": { "type": "string" },
        });
    }
    response
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            json!({
                "name": name, "in": "path", "required": true, "schema": { "type": "string" },
            })
        })
        .collect()
}

fn query_parameters(query: fn(&mut SchemaGenerator) -> Schema) -> Vec<Value> {
    let mut generator = generator(false);
    query(&mut generator);
    let definitions = generator.take_definitions(true);
    let properties = definitions
        .values()
        .filter_map(|schema| schema["properties"].as_object().cloned())
        .flatten();
    let parameter = |(name, mut schema): (String, Value)| {
        let about = schema
            .as_object_mut()
            .and_then(|schema| schema.remove("description"));
        json!({
            "name": name, "in": "query", "required": false, "description": about, "schema": schema,
        })
    };
    properties.map(parameter).collect()
}

/// Generates the schemas of requests or, with `is_answer`, of answers.
fn generator(is_answer: bool) -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    if is_answer {
        settings = settings.for_serialize();
    }
    let plain = |schema: &mut Schema| {
        // Rust's names of number formats mean nothing to clients.
        let format = schema.get("format").and_then(Value::as_str);
        if format.is_some_and(|format| format.starts_with("uint") || format.starts_with("int")) {
            schema.remove("format");
        }
    };
    settings
        .with_transform(RecursiveTransform(plain))
        .into_generator()
}
