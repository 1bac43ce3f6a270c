//! What a request brings: JSON that says everything once, and parameters that are known.

use std::{fmt, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{
    Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_path_to_error::Segment;
use tokio::time::timeout;

use crate::problem::Problem;

/// A config and its description are small; anything larger is something else.
pub(crate) const LARGEST_BODY: usize = 1 << 20;
/// How long a client may take for a body. It holds a place meanwhile that others could have.
const LONGEST_BODY: Duration = Duration::from_secs(15);

/// A body of JSON.
pub(crate) struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        expect(&head.headers, "application/json")?;
        Self::of(&read(body).await?)
    }
}

impl<T: DeserializeOwned> Json<T> {
    /// Reads what a body says.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, Problem> {
        let value = parse(bytes)?;
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

/// Refuses a body that is JSON and yet not what its request takes, at the place that is wrong.
fn refused(mut path: Vec<String>, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let said = plain(&text);
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
    let detail = format!("the body is not what this request takes: {said}");
    Problem::bad_request(detail).at(&path, code, said)
}

/// The parameters behind the `?`.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(crate) struct Query<T>(pub T);

impl From<axum::extract::rejection::QueryRejection> for Problem {
    fn from(rejection: axum::extract::rejection::QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

/// The parts of the path that are no fixed words.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(crate) struct Path<T>(pub T);

impl From<axum::extract::rejection::PathRejection> for Problem {
    fn from(_: axum::extract::rejection::PathRejection) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing at this address",
        )
    }
}

/// Refuses a body of another kind, or one that is compressed.
pub(crate) fn expect(headers: &HeaderMap, kind: &str) -> Result<(), Problem> {
    let unsupported = |text: String| {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media",
            text,
        )
    };
    if headers.contains_key(header::CONTENT_ENCODING) {
        let text = "the body is compressed; send it as it is";
        return Err(unsupported(text.to_owned()));
    }
    let said = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let is_expected = said
        .split(';')
        .next()
        .is_some_and(|said| said.trim().eq_ignore_ascii_case(kind));
    match is_expected {
        true => Ok(()),
        false => Err(unsupported(format!("send the body as {kind}"))),
    }
}

/// The whole body, up to the limits of its size and of its time.
pub(crate) async fn read(body: Body) -> Result<bytes::Bytes, Problem> {
    let collected = timeout(LONGEST_BODY, Limited::new(body, LARGEST_BODY).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body is larger than {LARGEST_BODY} bytes"),
        )),
        Ok(Err(_)) => Err(Problem::bad_request("the body broke off")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            format!(
                "the body did not come within {} seconds; send it again",
                LONGEST_BODY.as_secs()
            ),
        )),
    }
}

/// Reads JSON in which no field stands twice.
fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let mut path = Vec::new();
    read_at(bytes, &mut path).map_err(|error| {
        let problem = Problem::bad_request(format!("the body is not JSON: {error}"));
        match error.is_data() {
            true => problem.at(&path, "duplicate", TWICE),
            false => problem,
        }
    })
}

/// Reads JSON in which no field stands twice, or says where it is none.
pub(crate) fn read_once(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    read_at(bytes, &mut Vec::new())
}

/// The same. After a refusal, the path leads to what was refused.
fn read_at(bytes: &[u8], path: &mut Vec<String>) -> Result<Value, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Once { path }.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// serde's sentence without what was sent: an unknown name or a value may be a secret in the wrong place.
fn plain(text: &str) -> String {
    let instead = match text {
        _ if text.starts_with("unknown field") => "it has a field that is not known here",
        _ if text.starts_with("unknown variant") => "a value is none of those that there are",
        _ if text.starts_with("invalid ") => "a value has another type",
        _ => return text.to_owned(),
    };
    let expected = text.rfind(", expected").map_or("", |at| &text[at + 2..]);
    format!("{instead}; {expected}")
}

const TWICE: &str = "a field stands there twice";

/// Reads a value whose objects name each field once.
struct Once<'p> {
    /// Leads to where it reads.
    path: &'p mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Once<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once<'_> {
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
            self.path.push(values.len().to_string());
            let next = sequence.next_element_seed(Once { path: self.path })?;
            self.path.pop();
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
            self.path.push(name.clone());
            if is_there {
                return Err(de::Error::custom(TWICE));
            }
            fields.insert(name, map.next_value_seed(Once { path: self.path })?);
            self.path.pop();
        }
        Ok(Value::Object(fields))
    }
}
