//! Refusals as problem documents (RFC 9457), the same for machines and for the console.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use headwater_core::{Check, Error, FieldError, Kind, ProbeReport};
use headwater_store::Refusal;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

/// The reason of a refused request.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Problem {
    /// `urn:headwater:` and the code.
    #[serde(rename = "type")]
    kind: Box<str>,
    /// The reason phrase of the status.
    pub title: &'static str,
    /// The status of the answer.
    status: u16,
    /// Stable, for machines.
    pub code: &'static str,
    /// One sentence: the problem and its remedy.
    pub detail: String,
    /// The problems of single fields, with JSON Pointers into the config.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// The report of a probe that had to pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<ProbeReport>>,
    #[serde(skip)]
    retry_after: Option<u32>,
}

/// The body of a refusal.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemBody<'a> {
    #[serde(flatten)]
    pub problem: &'a Problem,
    /// The id of the request, as in the header X-Request-Id.
    pub request_id: &'a str,
}

/// The problem of one field.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Complaint")]
pub(crate) struct FieldProblem {
    /// JSON Pointer of the field in the config; empty for a problem outside the config.
    pub pointer: String,
    /// The member of the body outside the config, for example `title`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<Cow<'static, str>>,
    /// Stable, for machines.
    pub code: String,
    /// The sentence for people.
    pub message: String,
}

impl From<FieldError> for FieldProblem {
    fn from(error: FieldError) -> Self {
        Self {
            pointer: error.pointer,
            member: None,
            code: error.code.into_owned(),
            message: error.message,
        }
    }
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:headwater:{code}").into(),
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            errors: Vec::new(),
            report: None,
            retry_after: None,
        }
    }

    /// A request that cannot be read.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// A refused form with all its errors.
    pub(crate) fn form(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.message.clone(),
            [listed @ .., more] if more.code == "too_many_errors" => {
                format!("more than {} fields need attention", listed.len())
            }
            several => format!("{} fields need attention", several.len()),
        };
        Self {
            errors: errors.into_iter().map(FieldProblem::from).collect(),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "form_invalid", detail)
        }
    }

    /// Several refused fields, each with its code and its sentence.
    pub(crate) fn fields<'a>(
        fields: impl IntoIterator<Item = (&'a str, &'static str, &'a str)>,
    ) -> Self {
        let error = |(pointer, code, message): (&str, &'static str, &str)| FieldError {
            pointer: pointer.to_owned(),
            code: code.into(),
            message: message.to_owned(),
        };
        Self::form(fields.into_iter().map(error).collect())
    }

    /// A failed probe that had to pass.
    pub(crate) fn test_failed(failed: &Check, report: &ProbeReport) -> Self {
        let error = |pointer: &String| FieldProblem {
            pointer: pointer.clone(),
            member: None,
            code: failed.code.clone().into_owned(),
            message: failed.message.clone(),
        };
        Self {
            errors: failed.pointers.iter().map(error).collect(),
            report: Some(Box::new(report.clone())),
            ..Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "test_failed",
                failed.message.clone(),
            )
        }
    }

    /// One refused field.
    pub(crate) fn field(pointer: &str, code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let error = FieldProblem {
            pointer: pointer.to_owned(),
            member: None,
            code: code.to_owned(),
            message: message.clone(),
        };
        Self {
            errors: vec![error],
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "form_invalid", message)
        }
    }

    /// A refused member of the body outside the config.
    pub(crate) fn parameter(name: &'static str, message: &str) -> Self {
        let mut problem = Self::field("", "not_usable", message);
        for error in &mut problem.errors {
            error.member = Some(name.into());
        }
        problem
    }

    /// Adds the position in the body: a field of the config, or another member.
    pub(crate) fn at(mut self, path: &[String], code: &str, message: impl Into<String>) -> Self {
        let (member, inside) = match path {
            [config, inside @ ..] if config == "config" && !inside.is_empty() => (None, inside),
            [member, ..] => (Some(member.clone().into()), &[][..]),
            [] => (None, path),
        };
        let escaped = |name: &String| name.replace('~', "~0").replace('/', "~1");
        let pointer = inside.iter().map(|name| format!("/{}", escaped(name)));
        self.errors.push(FieldProblem {
            pointer: pointer.collect(),
            member,
            code: code.to_owned(),
            message: message.into(),
        });
        self
    }

    /// Adds the time to wait before the next try, in seconds.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The refusals of the store, each with its own status.
impl Problem {
    /// The refusal after another change.
    pub(crate) fn changed() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "changed_meanwhile",
            "this was changed meanwhile; reload it, then repeat your change",
        )
    }

    pub(crate) fn of_store(error: Error) -> Self {
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, error.to_string());
        match Refusal::of(&error) {
            Some(Refusal::Missing) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", error.to_string())
            }
            Some(Refusal::Taken) => conflict("name_taken"),
            Some(Refusal::InUse) => conflict("in_use"),
            Some(Refusal::Unreadable) => conflict("unreadable"),
            Some(Refusal::NothingToUndo) => conflict("nothing_to_undo"),
            Some(Refusal::Field(name)) => Self::parameter(name, error.message()),
            Some(Refusal::Changed) => Self::changed(),
            Some(Refusal::GiveAgain(pointers)) => {
                let text = error.message().to_owned();
                Self::fields(
                    pointers
                        .iter()
                        .map(|at| (at.as_str(), "give_again", &*text)),
                )
            }
            None => error.into(),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, code) = match error.kind() {
            Kind::ConfigInvalid => (StatusCode::UNPROCESSABLE_ENTITY, "config_invalid"),
            Kind::Unauthenticated => (StatusCode::UNPROCESSABLE_ENTITY, "unauthenticated"),
            Kind::PermissionDenied => (StatusCode::UNPROCESSABLE_ENTITY, "permission_denied"),
            Kind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Kind::RateLimited => (StatusCode::SERVICE_UNAVAILABLE, "rate_limited"),
            Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Kind::QuotaExhausted => (StatusCode::SERVICE_UNAVAILABLE, "quota_exhausted"),
            Kind::DataInvalid => (StatusCode::BAD_GATEWAY, "data_invalid"),
            Kind::Unsupported => (StatusCode::CONFLICT, "unsupported"),
            Kind::OutputFailed => (StatusCode::INTERNAL_SERVER_ERROR, "output_failed"),
            // `Cancelled`, `Unexpected`, and kinds of a later version.
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "unexpected"),
        };
        let delay = error.delay().map(|delay| delay.as_secs().max(1));
        let delay = delay.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
        let problem = Self::new(status, code, error.to_string());
        match (delay, status) {
            (Some(seconds), _) => problem.retry_after(seconds),
            (None, StatusCode::SERVICE_UNAVAILABLE) => problem.retry_after(5),
            _ => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut answer = (self.status(), body).into_response();
        let headers = answer.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == 401 {
            let bearer = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        // For the console, which shows the problem as a page.
        answer.extensions_mut().insert(self);
        answer
    }
}
