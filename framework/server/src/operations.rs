//! The table of operations, which defines both the routes and the OpenAPI document.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawPathParams, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use headwater_store::{Scope, Store};
use http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::{app::App, guard, problem::Problem};

/// Generates the schema of a type for the document.
type Schemas = fn(&mut SchemaGenerator) -> Schema;

/// One operation of the API.
pub(crate) struct Operation {
    pub method: Method,
    pub path: &'static str,
    pub id: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The scope that a token needs; `None` for public operations.
    pub scope: Option<Scope>,
    pub query: Option<Schemas>,
    pub headers: Vec<RequestHeader>,
    pub body: Option<Schemas>,
    pub answers: Vec<Answer>,
    /// Statuses of problems in addition to those of every operation.
    pub problems: Vec<u16>,
    handler: MethodRouter<Arc<App>>,
}

/// A header of a request.
pub(crate) struct RequestHeader {
    pub name: &'static str,
    pub about: &'static str,
    pub is_required: bool,
}

/// An answer that is not a problem.
pub(crate) struct Answer {
    pub status: u16,
    pub about: &'static str,
    /// The media types of the body, each with its schema.
    pub content: Vec<(&'static str, Option<Schemas>)>,
    /// Whether it has an entity tag.
    pub is_tagged: bool,
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Operation {
    pub(crate) fn new<H, T>(
        method: Method,
        path: &'static str,
        id: &'static str,
        scope: Option<Scope>,
        handler: H,
    ) -> Self
    where
        H: axum::handler::Handler<T, Arc<App>>,
        T: 'static,
    {
        // All methods of the table have a filter.
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        Self {
            method,
            path,
            id,
            summary: "",
            scope,
            query: None,
            headers: Vec::new(),
            body: None,
            answers: Vec::new(),
            problems: Vec::new(),
            handler: on(filter, handler),
        }
    }

    pub(crate) fn summary(mut self, text: &'static str) -> Self {
        self.summary = text;
        self
    }

    pub(crate) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(schema_of::<T>);
        self
    }

    pub(crate) fn header(
        mut self,
        name: &'static str,
        about: &'static str,
        is_required: bool,
    ) -> Self {
        self.headers.push(RequestHeader {
            name,
            about,
            is_required,
        });
        self
    }

    pub(crate) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(schema_of::<T>);
        self
    }

    pub(crate) fn answer<T: JsonSchema>(mut self, status: u16, about: &'static str) -> Self {
        self.answers.push(Answer {
            status,
            about,
            content: vec![("application/json", Some(schema_of::<T>))],
            is_tagged: false,
        });
        self
    }

    /// Adds another media type to the last answer.
    pub(crate) fn or(mut self, kind: &'static str) -> Self {
        if let Some(last) = self.answers.last_mut() {
            last.content.push((kind, None));
        }
        self
    }

    /// Gives the last answer an entity tag.
    pub(crate) fn tagged(mut self) -> Self {
        if let Some(last) = self.answers.last_mut() {
            last.is_tagged = true;
        }
        self
    }

    /// Adds an answer that is not JSON, or is empty.
    pub(crate) fn plain(
        mut self,
        status: u16,
        about: &'static str,
        kind: Option<&'static str>,
    ) -> Self {
        self.answers.push(Answer {
            status,
            about,
            content: kind.map(|kind| (kind, None)).into_iter().collect(),
            is_tagged: false,
        });
        self
    }

    pub(crate) fn problems<const N: usize>(mut self, statuses: [u16; N]) -> Self {
        self.problems.extend(statuses);
        self
    }
}

/// The routes of the operations, each behind its scope.
pub(crate) fn router(operations: Vec<Operation>) -> Router<Arc<App>> {
    let mut router = Router::new();
    for operation in operations {
        let scope = operation.scope;
        let guarded = move |path: RawPathParams, request: Request, next: Next| async move {
            let allowed = scope.map_or(Ok(()), |scope| guard::require(&request, scope));
            match allowed.and_then(|()| named(&path)) {
                Ok(()) => next.run(request).await,
                Err(problem) => problem.into_response(),
            }
        };
        let guarded = middleware::from_fn(guarded);
        router = router.route(operation.path, operation.handler.layer(guarded));
    }
    router.method_not_allowed_fallback(wrong_method)
}

/// Refuses a path with an invalid name.
fn named(path: &RawPathParams) -> Result<(), Problem> {
    let mut names = path.iter().filter(|(part, _)| *part == "connection");
    match names.all(|(_, name)| Store::check_name(name).is_ok()) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "no connection can have this name",
        )),
    }
}

async fn wrong_method() -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this address accepts other methods; the OpenAPI document lists them",
    )
    .into_response()
}
