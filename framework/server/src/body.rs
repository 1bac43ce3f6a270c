//! What a request brings: JSON that says everything once, and parameters that are known.

use std::{collections::BTreeSet, fmt};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::problem::Problem;

/// A config and its description are small; anything larger is something else.
pub(crate) const LARGEST_BODY: usize = 1 << 20;

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
        let read = serde_json::from_value(value);
        // serde's sentence names the field and never the value of one that it does not know.
        read.map(Self).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                format!("the body is not what this request takes: {}", plain(&error)),
            )
        })
    }
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

/// The whole body, up to the limit.
pub(crate) async fn read(body: Body) -> Result<bytes::Bytes, Problem> {
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body is larger than {LARGEST_BODY} bytes"),
        )),
        Err(_) => Err(Problem::bad_request("the body broke off")),
    }
}

/// Reads JSON in which no field stands twice.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    read_once(bytes)
        .map_err(|error| Problem::bad_request(format!("the body is not JSON: {}", plain(&error))))
}

/// Reads JSON in which no field stands twice, or says where it is none.
pub(crate) fn read_once(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(bytes).map(|once: Once| once.0)
}

/// serde_json's sentence. Of an unknown field it would repeat the name, which may be a secret in the wrong place.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.find("unknown field `") {
        Some(start) => {
            let known = text[start..].find("expected").map(|at| &text[start + at..]);
            format!(
                "it has a field that is not known here; {}",
                known.unwrap_or_default()
            )
        }
        None if text.starts_with("invalid type") || text.starts_with("invalid value") => {
            let expected = text.find("expected").map(|at| &text[at..]);
            format!("a value has another type; {}", expected.unwrap_or_default())
        }
        None => text,
    }
}

/// A value whose objects name each field once.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Once, A::Error> {
        let mut values = Vec::new();
        while let Some(Once(value)) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Once(Value::Array(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let (mut fields, mut names) = (Map::new(), BTreeSet::new());
        while let Some((name, Once(value))) = map.next_entry::<String, Once>()? {
            if !names.insert(name.clone()) {
                return Err(de::Error::custom("a field stands there twice"));
            }
            fields.insert(name, value);
        }
        Ok(Once(Value::Object(fields)))
    }
}
