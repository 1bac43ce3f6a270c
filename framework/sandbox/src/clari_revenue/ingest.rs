//! Ingestion in a simple form: records are checked and counted, picklists are kept.

use std::collections::BTreeMap;

use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::errors::{ORG_ID, USER_ID, ingestion};
use crate::query::Query;
use crate::random::{Purpose, draw};
use crate::reply::Reply;

/// Maximum number of records of one request (vendor document).
const MAX_RECORDS: usize = 100;

const ENTITIES: &[&str] = &["account", "opportunity"];

/// The ingested data.
#[derive(Debug, Default)]
pub(crate) struct Ingested {
    /// By entity and field.
    picklists: BTreeMap<(String, String), Vec<String>>,
    /// By id: the time of submission, and the error.
    jobs: BTreeMap<String, (i64, Option<Value>)>,
}

fn bad_input(summary: &str) -> Reply {
    ingestion(StatusCode::BAD_REQUEST, "INVALID_INPUT_FORMAT", summary)
}

pub(crate) fn wrong_partner_key() -> Reply {
    ingestion(
        StatusCode::UNAUTHORIZED,
        "INVALID_PARTNER_KEY",
        "The partnerkey is missing or wrong",
    )
}

/// Checks the parameters of both uploads.
fn check(entity: &str, query: &Query) -> Result<(), Reply> {
    if !ENTITIES.contains(&entity) {
        return Err(bad_input("The entity is not enabled for integration"));
    }
    let mode = query.first("mode");
    if mode.is_some_and(|mode| !matches!(mode, "initial" | "incremental")) {
        return Err(bad_input("The mode can be initial or incremental"));
    }
    let last = query.first("isLastBatch");
    if last.is_some_and(|last| !matches!(last, "true" | "false")) {
        return Err(bad_input("isLastBatch can be true or false"));
    }
    Ok(())
}

/// Checks the data sets of an upload.
fn check_records(body: &[u8], max: usize) -> Result<(), String> {
    let Ok(Value::Array(sets)) = serde_json::from_slice(body) else {
        return Err("The payload is not an array".into());
    };
    let mut count = 0;
    for (index, set) in sets.iter().enumerate() {
        if !set["sourceEntity"].is_string() {
            return Err(format!("The dataSet {index} has no sourceEntity"));
        }
        let Some(records) = set["records"].as_array() else {
            return Err(format!("The dataSet {index} has no records"));
        };
        count += records.len();
        let required = [
            ("id", Value::is_string as fn(&Value) -> bool),
            ("createdAt", Value::is_number),
            ("updatedAt", Value::is_number),
        ];
        for (name, fits) in required {
            if records.iter().any(|record| !fits(&record[name])) {
                return Err(format!("The field {name} is missing or of another type"));
            }
        }
    }
    if count > max {
        return Err(format!("There can be {MAX_RECORDS} records at most"));
    }
    Ok(())
}

pub(crate) fn upload(entity: &str, query: &Query, body: &[u8]) -> Reply {
    let checked = check(entity, query)
        .and_then(|()| check_records(body, MAX_RECORDS).map_err(|error| bad_input(&error)));
    match checked {
        Ok(()) => Reply::json(StatusCode::OK, &json!({})),
        Err(refusal) => refusal,
    }
}

impl Ingested {
    /// Takes one JSON file in the part `FileData`. Its job shows errors in the file.
    pub(crate) fn upload_file(
        &mut self,
        seed: u64,
        entity: &str,
        query: &Query,
        body: &[u8],
    ) -> Reply {
        if let Err(refusal) = check(entity, query) {
            return refusal;
        }
        let Some(file) = file_data(body) else {
            return ingestion(
                StatusCode::BAD_REQUEST,
                "INVALID_FILE_FORMAT",
                "Expected one JSON file in the part FileData",
            );
        };
        let problem = check_records(file, usize::MAX)
            .err()
            .map(|summary| json!([{"errorCode": "INVALID_INPUT_FORMAT", "errorSummary": summary}]));
        let now = Timestamp::now().as_millisecond();
        let number = u64::MAX - self.jobs.len() as u64;
        let id = format!(
            "{:08x}{:016x}",
            now / 1_000,
            draw(seed, Purpose::ExportJob, number)
        );
        self.jobs.insert(id.clone(), (now, problem));
        Reply::json(StatusCode::ACCEPTED, &json!({"jobId": id}))
    }

    pub(crate) fn job(&self, id: &str) -> Reply {
        let Some((submitted, problem)) = self.jobs.get(id) else {
            let body = json!({"error": "Bulk ingestion job not found"});
            return Reply::json(StatusCode::NOT_FOUND, &body);
        };
        let (http_status, status, message) = match problem {
            None => (StatusCode::OK, "SUCCESS", json!("The file was ingested")),
            Some(problem) => (
                StatusCode::BAD_REQUEST,
                "VALIDATION_FAILED",
                problem.clone(),
            ),
        };
        let message = json!({
            "jobId": id,
            "orgId": ORG_ID,
            "userId": USER_ID,
            "module": "DATA_INGESTION",
            "submittedTime": submitted,
            "startTime": submitted,
            "endTime": submitted + 10,
            "title": "Data Ingestion",
            "fileName": "file.json",
            "status": status,
            "message": message,
        });
        Reply::json(http_status, &json!({ "message": message }))
    }

    pub(crate) fn add_values(&mut self, entity: &str, body: &[u8]) -> Reply {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(name) = body["fieldName"].as_str().filter(|name| !name.is_empty()) else {
            return bad_input("fieldName is missing");
        };
        if !matches!(
            body["fieldType"].as_str(),
            Some("picklist" | "multipicklist")
        ) {
            return bad_input("fieldType can be picklist or multipicklist");
        }
        let values: Option<Vec<String>> = serde_json::from_value(body["values"].clone()).ok();
        let Some(values) = values.filter(|values| !values.is_empty()) else {
            return bad_input("values are missing");
        };
        let key = (entity.to_owned(), name.to_owned());
        let known = self.picklists.entry(key).or_default();
        for value in values {
            if !known.contains(&value) {
                known.push(value);
            }
        }
        Reply::json(StatusCode::OK, &json!({"message": "The values were added"}))
    }

    pub(crate) fn values(&self, entity: &str, query: &Query) -> Reply {
        let wanted = query.first("fieldNames");
        let wanted: Option<Vec<&str>> = wanted.map(|names| names.split(',').collect());
        let mut fields = Map::new();
        for ((of_entity, name), values) in &self.picklists {
            let is_wanted = wanted
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&name.as_str()));
            if of_entity == entity && is_wanted {
                fields.insert(name.clone(), json!(values));
            }
        }
        Reply::json(StatusCode::OK, &Value::Object(fields))
    }
}

/// The content of the part `FileData` of a multipart body.
fn file_data(body: &[u8]) -> Option<&[u8]> {
    let find = |text: &[u8], wanted: &[u8]| {
        text.windows(wanted.len())
            .position(|window| window == wanted)
    };
    let line_end = find(body, b"\r\n")?;
    let boundary = body.get(..line_end)?;
    let head = body.get(find(body, b"name=\"FileData\"")?..)?;
    let content = head.get(find(head, b"\r\n\r\n")? + 4..)?;
    let end = find(content, boundary)?;
    content.get(..end.saturating_sub(2))
}
