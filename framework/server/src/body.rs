//! The contents of a request: JSON with unique fields, and known parameters.
//!
//! A body takes many times its bytes once it is parsed: two bytes of a form are a pair of texts, two of JSON a value.
//! All bodies under way share one [`Budget`], which counts their possible size while they are read, and their actual
//! size until they are answered. The service refuses a body that does not fit, and does not read it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde::{
    Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_path_to_error::Segment;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{guard::Caller, problem::Problem};

/// A config and its description are smaller than this.
pub(crate) const LARGEST_BODY: usize = 1 << 20;
/// The limit for unknown callers, who send a token or the name of a theme.
const LARGEST_OPEN: usize = 8 << 10;
/// How long a client may take for a body. It occupies a slot meanwhile.
const LONGEST_BODY: Duration = Duration::from_secs(15);
/// The most values of a JSON body, and pairs of a form.
const MAX_VALUES: usize = 20_000;
const MAX_PAIRS: usize = 2_000;
/// The memory for all bodies under way, in KiB.
const BUDGET: usize = 40 << 10;
/// The bytes that one byte of a body may become, and the bytes that a value or a pair takes at most in addition to its
/// text.
const GROWTH: usize = 24;
const PER_VALUE: usize = 128;

/// The memory for all bodies under way.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET)))
    }
}

/// The share of one request in the budget, until it is answered.
#[derive(Clone)]
pub(crate) struct BodyPermit {
    budget: Budget,
    share: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl BodyPermit {
    pub(crate) fn new(budget: &Budget) -> Self {
        Self {
            budget: budget.clone(),
            share: Arc::default(),
        }
    }

    /// Changes the share to a number of bytes.
    fn resize(&self, bytes: usize) -> Result<(), Problem> {
        let wanted = bytes.div_ceil(1 << 10);
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if let (Some(share), Some(less)) = (share.as_mut(), taken.checked_sub(wanted)) {
            drop(share.split(less));
            return Ok(());
        }
        let more = u32::try_from(wanted.saturating_sub(taken)).unwrap_or(u32::MAX);
        let budget = Arc::clone(&self.budget.0);
        let more = budget.try_acquire_many_owned(more).map_err(|_| {
            let text = "too many large requests are under way; send this one again in a moment";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text);
            problem.retry_after(1)
        })?;
        match share.as_mut() {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }
}

/// A body of JSON.
pub(crate) struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        expect(&head.headers, "application/json")?;
        let body = read(&head, body).await?;
        Self::of(&body)
    }
}

impl<T: DeserializeOwned> Json<T> {
    /// Parses a body.
    pub(crate) fn of(body: &CompleteBody) -> Result<Self, Problem> {
        let (value, values) = parse(&body.bytes)?;
        body.count_values(values)?;
        let read = serde_path_to_error::deserialize(value);
        read.map(Self).map_err(|error| {
            let path = path_of(error.path());
            refused(path, &error.into_inner())
        })
    }
}

fn path_of(path: &serde_path_to_error::Path) -> Vec<String> {
    let names = path.iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    names.collect()
}

/// Refuses JSON that does not fit the request, with the position of the error.
fn refused(mut path: Vec<String>, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let reason = plain(&text);
    let code = if let Some(rest) = text.strip_prefix("missing field `") {
        path.extend(rest.split('`').next().map(str::to_owned));
        "required"
    } else if text.starts_with("unknown field") {
        "unknown_field"
    } else if text.starts_with("unknown variant") {
        "not_a_choice"
    } else {
        "type"
    };
    let detail = format!("the body does not fit this request: {reason}");
    Problem::bad_request(detail).at(&path, code, reason)
}

/// The parameters of the query string.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(crate) struct Query<T>(pub T);

impl From<axum::extract::rejection::QueryRejection> for Problem {
    fn from(rejection: axum::extract::rejection::QueryRejection) -> Self {
        let text = rejection.body_text();
        let unknown = text.split_once("unknown field `");
        let unknown = unknown.and_then(|(_, rest)| rest.split('`').next());
        Self::bad_request(match unknown {
            Some(name) => format!("unknown parameter {name:?}"),
            None => text,
        })
    }
}

/// The variable parts of the path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(crate) struct Path<T>(pub T);

impl From<axum::extract::rejection::PathRejection> for Problem {
    fn from(_: axum::extract::rejection::PathRejection) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "no resource has this address",
        )
    }
}

/// Refuses a body of another kind, or a compressed one.
pub(crate) fn expect(headers: &HeaderMap, kind: &str) -> Result<(), Problem> {
    let unsupported = |text: String| {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media",
            text,
        )
    };
    if headers.contains_key(header::CONTENT_ENCODING) {
        let text = "the body is compressed; send it uncompressed";
        return Err(unsupported(text.to_owned()));
    }
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let is_expected = content_type
        .split(';')
        .next()
        .is_some_and(|name| name.trim().eq_ignore_ascii_case(kind));
    match is_expected {
        true => Ok(()),
        false => Err(unsupported(format!("send the body as {kind}"))),
    }
}

/// A body that was read completely.
pub(crate) struct CompleteBody {
    pub bytes: Bytes,
    held: Option<BodyPermit>,
}

impl CompleteBody {
    /// The pairs of a form.
    pub(crate) fn pairs(&self) -> Result<Vec<(String, String)>, Problem> {
        let count = 1 + self.bytes.iter().filter(|byte| **byte == b'&').count();
        if count > MAX_PAIRS {
            let text = format!("the form has more than {MAX_PAIRS} fields");
            return Err(too_large(text));
        }
        let pairs = form_urlencoded::parse(&self.bytes).into_owned().collect();
        self.count_values(count)?;
        Ok(pairs)
    }

    /// Counts the parsed values, which stay until the answer.
    fn count_values(&self, values: usize) -> Result<(), Problem> {
        let Some(held) = &self.held else {
            return Ok(());
        };
        let limit = self.bytes.len() * GROWTH;
        held.resize((2 * self.bytes.len() + values * PER_VALUE).min(limit))
    }
}

/// Reads a whole body within the limits of size, time and the shared budget.
pub(crate) async fn read(head: &Parts, body: Body) -> Result<CompleteBody, Problem> {
    let limit = match head.extensions.get::<Caller>() {
        Some(_) => LARGEST_BODY,
        None => LARGEST_OPEN,
    };
    let held = head.extensions.get::<BodyPermit>().cloned();
    let bytes = timeout(LONGEST_BODY, collect(body, limit, held.as_ref()));
    let bytes = bytes.await.unwrap_or_else(|_| {
        Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            format!(
                "the body did not arrive within {} seconds; send it again",
                LONGEST_BODY.as_secs()
            ),
        ))
    })?;
    Ok(CompleteBody { bytes, held })
}

async fn collect(
    mut body: Body,
    limit: usize,
    held: Option<&BodyPermit>,
) -> Result<Bytes, Problem> {
    let too_large = || too_large(format!("the body is larger than {limit} bytes"));
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad_request("the body is incomplete"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > limit {
            return Err(too_large());
        }
        if let Some(held) = held {
            held.resize((bytes.len() + data.len()) * GROWTH)?;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

fn too_large(text: String) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
}

/// Parses JSON without duplicate fields, and counts its values.
fn parse(bytes: &[u8]) -> Result<(Value, usize), Problem> {
    let mut at = ReadPosition::default();
    let value = read_at(bytes, &mut at).map_err(|error| {
        if at.values > MAX_VALUES {
            return too_large(format!("the body has more than {MAX_VALUES} values"));
        }
        let problem = Problem::bad_request(format!("the body is not JSON: {error}"));
        match error.is_data() {
            true => problem.at(&at.path, "duplicate", TWICE),
            false => problem,
        }
    })?;
    Ok((value, at.values))
}

/// Parses JSON without duplicate fields; errors name the position.
pub(crate) fn read_once(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    read_at(bytes, &mut ReadPosition::default())
}

/// Parses JSON without duplicate fields. After an error, the path leads to its position.
fn read_at(bytes: &[u8], at: &mut ReadPosition) -> Result<Value, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = UniqueFields { at }.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// serde's sentence without the input: an unknown name or a value may be a secret in the wrong field.
fn plain(text: &str) -> String {
    let instead = match text {
        _ if text.starts_with("unknown field") => "it has an unknown field",
        _ if text.starts_with("unknown variant") => "a value is not one of the possible values",
        _ if text.starts_with("invalid ") => "a value has another type",
        _ => return text.to_owned(),
    };
    let expected = text.rfind(", expected").map_or("", |at| &text[at + 2..]);
    format!("{instead}; {expected}")
}

const TWICE: &str = "a field is present twice";

/// Parses a value whose objects name each field once.
struct UniqueFields<'p> {
    at: &'p mut ReadPosition,
}

/// The position in the JSON.
#[derive(Default)]
struct ReadPosition {
    path: Vec<String>,
    values: usize,
}

impl<'de> DeserializeSeed<'de> for UniqueFields<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.at.values += 1;
        if self.at.values > MAX_VALUES {
            return Err(de::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueFields<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            self.at.path.push(values.len().to_string());
            let next = sequence.next_element_seed(UniqueFields { at: self.at })?;
            self.at.path.pop();
            match next {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let is_there = fields.contains_key(&name);
            self.at.path.push(name.clone());
            if is_there {
                return Err(de::Error::custom(TWICE));
            }
            fields.insert(name, map.next_value_seed(UniqueFields { at: self.at })?);
            self.at.path.pop();
        }
        Ok(Value::Object(fields))
    }
}
