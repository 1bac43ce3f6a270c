//! Clari Copilot: from a method, a path, parameters and a body to a status and a body.
//!
//! Connections and faults of the transport are handled before this module.

mod call;
mod call_record;
mod calls;
mod conversation;
mod created_call;
mod crm;
mod gate;
mod media;
mod options;
mod people;
mod population;
mod query;
mod scorecards;
mod topics;
mod words;
mod workspace;

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::call::Call;
use self::calls::CallsRequest;
use self::created_call::{CreateCallError, NewCall};
use self::crm::{CrmKind, FieldType};
use self::gate::{RateGate, refuse_credentials};
use self::media::MediaRequest;
pub use self::options::{CopilotLimits, CopilotOptions, TemplateKey};
use self::population::Population;
use self::query::Invalid;
use self::scorecards::ScorecardRequest;
use self::workspace::{CreateCallOutcome, Workspace, lacks_details};
use crate::api::{Admission, Api, ApiRequest, bad_request};
use crate::faults::DataFaults;
use crate::instant::parse_instant;
use crate::query::Query;
use crate::reply::Reply;

/// The largest workspace, in calls.
const MAX_CALLS: u64 = 10_000_000;

/// The simulated API of one workspace.
#[derive(Debug)]
pub(crate) struct ClariCopilot {
    workspace: RwLock<Workspace>,
    options: CopilotOptions,
    base_url: String,
    gate: Mutex<RateGate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    calls: u64,
    #[serde(default)]
    late_seconds: u64,
}

/// Why a request is refused.
enum Refusal {
    Invalid(Invalid),
    NoRecordingUser,
    /// The record does not exist: 404 with an empty object (vendor document).
    NoSuchRecord,
    /// The path does not exist: 404 with a message (proposed).
    NoSuchPath,
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<CreateCallError> for Refusal {
    fn from(error: CreateCallError) -> Self {
        match error {
            CreateCallError::Invalid(invalid) => Self::Invalid(invalid),
            CreateCallError::NoRecordingUser => Self::NoRecordingUser,
        }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(Invalid { parameter }) => Self::json(
                StatusCode::BAD_REQUEST,
                &json!({"errorMessage": format!("{parameter} is invalid")}),
            ),
            Refusal::NoRecordingUser => Self::json(
                StatusCode::BAD_REQUEST,
                &json!({"errorMessage": "no recording user"}),
            ),
            Refusal::NoSuchRecord => Self::json(StatusCode::NOT_FOUND, &json!({})),
            Refusal::NoSuchPath => {
                Self::json(StatusCode::NOT_FOUND, &json!({"message": "Not Found"}))
            }
        }
    }
}

impl ClariCopilot {
    pub(crate) fn new(options: CopilotOptions, base_url: String) -> Self {
        let calls = options.calls.min(MAX_CALLS);
        Self {
            workspace: RwLock::new(Workspace::new(Population::new(options.seed, calls))),
            gate: Mutex::new(RateGate::new(options.limits)),
            options,
            base_url,
        }
    }

    fn route(&self, request: &ApiRequest, faults: DataFaults) -> Result<Value, Refusal> {
        let query = Query::parse(&request.query);
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/users") => Ok(self.users()),
            ("GET", "/calls") => self.calls(&query, faults.changing),
            ("GET", "/call-details") => self.call_details(&query, faults.missing_details),
            ("GET", "/topics") => Ok(self.keyword_topics()),
            ("GET", "/v2/topics") => self.topics(&query),
            ("GET", "/scorecard") => {
                let request = ScorecardRequest::parse(&query)?;
                Ok(request.answer(&self.read().population))
            }
            ("GET", "/scorecard-template") => Ok(self.scorecard_templates()),
            ("GET", "/get-account") => self.get_crm(CrmKind::Account, &query),
            ("GET", "/get-contact") => self.get_crm(CrmKind::Contact, &query),
            ("GET", "/get-deal") => self.get_crm(CrmKind::Deal, &query),
            ("POST", "/create-call") => self.create_call(&query, &request.body),
            ("POST", "/create-account") => self.create_crm(CrmKind::Account, &request.body),
            ("POST", "/create-contact") => self.create_crm(CrmKind::Contact, &request.body),
            ("POST", "/create-deal") => self.create_crm(CrmKind::Deal, &request.body),
            ("PUT", "/update-account") => self.update_crm(CrmKind::Account, &request.body),
            ("PUT", "/update-contact") => self.update_crm(CrmKind::Contact, &request.body),
            ("PUT", "/update-deal") => self.update_crm(CrmKind::Deal, &request.body),
            ("DELETE", "/delete-account") => self.delete_crm(CrmKind::Account, &request.body),
            ("DELETE", "/delete-contact") => self.delete_crm(CrmKind::Contact, &request.body),
            ("DELETE", "/delete-deal") => self.delete_crm(CrmKind::Deal, &request.body),
            _ => Err(Refusal::NoSuchPath),
        }
    }

    /// The workspace's clock.
    fn now(&self) -> Timestamp {
        self.options.faults.now()
    }

    fn users(&self) -> Value {
        let workspace = self.read();
        let users: Vec<Value> = workspace
            .population
            .users
            .iter()
            .map(|user| user.record())
            .collect();
        json!({"users": users})
    }

    fn calls(&self, query: &Query, changing: u64) -> Result<Value, Refusal> {
        let request = CallsRequest::parse(query)?;
        let media = self.media(request.include_audio, request.include_video);
        let answer = request.answer(&self.read(), &media);
        if changing > 0 {
            self.change_calls(changing, Duration::ZERO);
        }
        Ok(answer)
    }

    fn call_details(&self, query: &Query, missing_details: u64) -> Result<Value, Refusal> {
        let id = query.required("id")?;
        let audio = query.boolean("includeAudio", false)?;
        let video = query.boolean("includeVideo", false)?;
        let workspace = self.read();
        let call = workspace.find_call(id).ok_or(Refusal::NoSuchRecord)?;
        if let Call::Generated { index, .. } = call
            && lacks_details(index, missing_details)
        {
            return Err(Refusal::NoSuchRecord);
        }
        Ok(json!({"call": call.details(&self.media(audio, video))}))
    }

    fn keyword_topics(&self) -> Value {
        let workspace = self.read();
        let names: Vec<&str> = workspace
            .population
            .topics
            .iter()
            .filter(|topic| matches!(topic.kind, topics::TopicKind::Keyword(_)))
            .map(|topic| topic.name)
            .collect();
        json!({"topics": names})
    }

    fn topics(&self, query: &Query) -> Result<Value, Refusal> {
        let modified = query.time_window("filterModified")?;
        let workspace = self.read();
        let topics: Vec<Value> = workspace
            .population
            .topics
            .iter()
            .filter(|topic| modified.contains(topic.modified))
            .map(|topic| topic.record())
            .collect();
        Ok(json!({"topics": topics}))
    }

    fn scorecard_templates(&self) -> Value {
        let mut answer = Map::new();
        let templates = scorecards::templates(self.options.seed);
        answer.insert(
            self.options.template_key.as_str().to_owned(),
            templates.into(),
        );
        Value::Object(answer)
    }

    fn get_crm(&self, kind: CrmKind, query: &Query) -> Result<Value, Refusal> {
        let crm_id = query.required("id")?;
        self.read()
            .crm_record(kind, crm_id)
            .ok_or(Refusal::NoSuchRecord)
    }

    fn create_call(&self, query: &Query, body: &[u8]) -> Result<Value, Refusal> {
        let body = match body {
            [] => created_call::body_from_query(query),
            _ => parse_body(body)?,
        };
        let mut workspace = self.write();
        let new_call = NewCall::parse(&body, &workspace.population)?;
        match workspace.create_call(new_call, self.now().as_millisecond()) {
            CreateCallOutcome::Stored { id } => Ok(json!({"call_id": id})),
            // The document gives the answer an `error` but not its wording: proposed.
            CreateCallOutcome::Exists { id } => {
                Ok(json!({"call_id": id, "error": "call already exists"}))
            }
        }
    }

    /// Creating a record that exists is refused (proposed).
    fn create_crm(&self, kind: CrmKind, body: &[u8]) -> Result<Value, Refusal> {
        let (crm_id, fields) = writable_fields(kind, body)?;
        let mut workspace = self.write();
        if workspace.crm_record(kind, &crm_id).is_some() {
            return Err(Invalid::new("crm_id").into());
        }
        let mut record = fields;
        record.insert("id".into(), workspace.new_object_id().into());
        let record = Value::Object(record);
        workspace.write_crm(kind, &crm_id, Some(record.clone()));
        Ok(record)
    }

    /// Updating sets the fields of the request and keeps the others. A record that does not exist is
    /// refused with 400, because the document lists no 404 here (proposed).
    fn update_crm(&self, kind: CrmKind, body: &[u8]) -> Result<Value, Refusal> {
        let (crm_id, fields) = writable_fields(kind, body)?;
        let mut workspace = self.write();
        let Some(Value::Object(mut record)) = workspace.crm_record(kind, &crm_id) else {
            return Err(Invalid::new("crm_id").into());
        };
        record.extend(fields);
        let record = Value::Object(record);
        workspace.write_crm(kind, &crm_id, Some(record.clone()));
        Ok(record)
    }

    /// Deleting answers the last snapshot of the record (vendor document).
    fn delete_crm(&self, kind: CrmKind, body: &[u8]) -> Result<Value, Refusal> {
        let body = parse_body(body)?;
        let crm_id = body["id"].as_str().ok_or_else(|| Invalid::new("id"))?;
        let mut workspace = self.write();
        let snapshot = workspace
            .crm_record(kind, crm_id)
            .ok_or(Refusal::NoSuchRecord)?;
        workspace.write_crm(kind, crm_id, None);
        Ok(snapshot)
    }

    /// Answers a signed media link, which needs no credentials.
    fn media_file(&self, file: &str, query: &str) -> Reply {
        let query = Query::parse(query);
        let expires = query.first("expires").and_then(|text| text.parse().ok());
        let signature = query.first("sig").unwrap_or_default();
        let is_valid = expires.is_some_and(|expires| {
            media::is_valid(
                self.options.seed,
                file,
                expires,
                signature,
                self.now().as_second(),
            )
        });
        if !is_valid {
            return Reply::json(StatusCode::FORBIDDEN, &json!({"message": "Forbidden"}));
        }
        let content_type = match file.ends_with(".mp4") {
            true => "video/mp4",
            false => "audio/mpeg",
        };
        Reply::new(StatusCode::OK, content_type, "no sound, no picture")
    }

    /// Moves `count` calls to another status, as of so long ago.
    pub(crate) fn change_calls(&self, count: u64, late: Duration) {
        let late = i64::try_from(late.as_millis()).unwrap_or(i64::MAX);
        let then = self.now().as_millisecond().saturating_sub(late);
        self.write().change_calls(count, then);
    }

    /// Moves one call to another status, as of now; false when there is no such call.
    pub(crate) fn touch_call(&self, index: u64, status: &str) -> bool {
        self.write()
            .touch_call(index, status, self.now().as_millisecond())
    }

    fn media(&self, audio: bool, video: bool) -> MediaRequest<'_> {
        MediaRequest {
            base_url: &self.base_url,
            seed: self.options.seed,
            now: self.now().as_second(),
            audio,
            video,
        }
    }

    // A thread that panicked while it held the lock leaves at worst a half-updated record; later
    // requests can still be answered.
    fn read(&self) -> RwLockReadGuard<'_, Workspace> {
        self.workspace
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Workspace> {
        self.workspace
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Api for ClariCopilot {
    /// A real media link points to a file store, which does not check the API's credentials.
    fn unguarded(&self, request: &ApiRequest) -> Option<Reply> {
        let file = request.path.strip_prefix("/media/")?;
        Some(self.media_file(file, &request.query))
    }

    /// The API checks the credentials before it looks at the path (observed live).
    fn refuse(&self, request: &ApiRequest) -> Option<Reply> {
        refuse_credentials(&request.headers, self.options.wrong_credentials)
    }

    fn admit(&self, _: &ApiRequest, now: Instant, unix_seconds: i64) -> Admission {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        match gate.admit(now, unix_seconds) {
            Ok(()) => Ok(Vec::new()),
            Err(throttle) => Err(throttle.reply()),
        }
    }

    fn answer(&self, request: &ApiRequest, faults: DataFaults) -> Reply {
        let reply = match self.route(request, faults) {
            Ok(value) => Reply::json(StatusCode::OK, &value),
            Err(refusal) => refusal.into(),
        };
        // Answers above the cap always fail, also when repeated (vendor's reply to users; the body is
        // proposed).
        let is_too_long = |length| length > self.options.limits.response_cap_bytes;
        if reply.body.length().is_some_and(is_too_long) {
            let body = json!({"message": "Internal server error"});
            return Reply::json(StatusCode::BAD_GATEWAY, &body);
        }
        reply
    }

    fn keys(&self, stream: &str, faults: DataFaults) -> Option<Vec<String>> {
        self.read().keys(stream, faults.missing_details)
    }

    fn change(&self, body: &[u8]) -> Reply {
        match serde_json::from_slice::<Change>(body) {
            Ok(change) => {
                self.change_calls(change.calls, Duration::from_secs(change.late_seconds));
                Reply::json(StatusCode::OK, &json!({"calls": change.calls}))
            }
            Err(error) => bad_request(&error.to_string()),
        }
    }
}

fn parse_body(body: &[u8]) -> Result<Value, Invalid> {
    serde_json::from_slice(body).map_err(|_| Invalid::new("body"))
}

/// The CRM id and the checked fields of a create or update request. Fields that the document does
/// not name are dropped; null counts as absent.
fn writable_fields(kind: CrmKind, body: &[u8]) -> Result<(String, Map<String, Value>), Invalid> {
    let Value::Object(mut body) = parse_body(body)? else {
        return Err(Invalid::new("body"));
    };
    let mut fields = Map::new();
    for (name, field_type) in kind.writable_fields() {
        let value = body.remove(*name).unwrap_or(Value::Null);
        if value.is_null() {
            continue;
        }
        let fits = match field_type {
            FieldType::Text => value.is_string(),
            FieldType::Instant => value.as_str().is_some_and(|t| parse_instant(t).is_some()),
            FieldType::Boolean => value.is_boolean(),
            FieldType::List => value.is_array(),
        };
        if !fits {
            return Err(Invalid::new(name));
        }
        fields.insert((*name).to_owned(), value);
    }
    let crm_id = match fields.get("crm_id").and_then(Value::as_str) {
        Some(crm_id) if !crm_id.is_empty() => crm_id.to_owned(),
        _ => return Err(Invalid::new("crm_id")),
    };
    Ok((crm_id, fields))
}
