//! The page for authors of connectors: the form of a schema, its problems, and every outcome of its test.
//!
//! The page saves nothing and sends nothing: it simulates a test from the form alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    path::PathBuf,
};

use axum::{
    Extension,
    response::{IntoResponse, Response},
};
use headwater_console::{Author, CredentialForm, ProbeResult, Purpose, Source, answer, author};
use headwater_core::{
    About, AnyConnector, FieldError, FieldKind, FormModel, Notice, Timestamp, tidy, validate,
};
use headwater_files::open_regular;
use headwater_forms::{Finding, ProbeClass, lint, simulate};
use headwater_store::Scope;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::{
    FormBody, Visit,
    credential::{failures, may_skip},
    gallery::source_of,
};
use crate::{
    api::connections::remove,
    body::{Query, read_once},
    probing::connector,
    problem::Problem,
};

/// The largest schema; real forms need a twentieth of it.
const LARGEST_SCHEMA: usize = 256 << 10;
/// How many schemas are rendered at once. Each may keep a processor busy for a moment.
static LOOKS: Semaphore = Semaphore::const_new(4);
/// How many streams of a connector a simulated test has.
const STREAMS: usize = 3;

/// The query of the first page.
#[derive(Deserialize)]
pub(super) struct Start {
    connector: Option<String>,
}

/// The input of an author.
#[derive(Default)]
struct Draft {
    schema: String,
    /// The connector whose name, guide and streams are used; empty for none.
    connector: String,
    class: Option<ProbeClass>,
    /// The values of the form, once it was submitted.
    filled: Option<Vec<(String, String)>>,
    file: Option<String>,
}

/// The connector around a form, if any.
#[derive(Clone, Copy, Default)]
struct FormContext {
    about: Option<&'static About>,
    streams: [&'static str; STREAMS],
}

/// The view of a draft.
#[derive(Default)]
struct DraftView {
    /// The reason why there is no form.
    problem: Option<String>,
    findings: Vec<Finding>,
    seen: Option<RenderedForm>,
}

/// A form with its input and the outcome of its test.
struct RenderedForm {
    form: FormModel,
    answer: Value,
    errors: Vec<FieldError>,
    notices: Vec<Notice>,
    tested: Option<ProbeResult>,
}

pub(super) async fn open(
    Extension(visit): Extension<Visit>,
    Query(start): Query<Start>,
) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let app = &visit.app;
    let draft = match (start.connector, &app.options.author_file) {
        (None, Some(path)) => Draft {
            schema: read(path.clone()).await?,
            file: path.file_name().map(|name| name.display().to_string()),
            ..Draft::default()
        },
        (wanted, _) => {
            let first = app.registry.iter().next();
            let first = first.map_or("", |connector| connector.about().id);
            let connector = connector(app, wanted.as_deref().unwrap_or(first))?;
            Draft {
                schema: pretty(&connector.schema()),
                connector: connector.about().id.to_owned(),
                ..Draft::default()
            }
        }
    };
    answer_with(&visit, draft).await
}

pub(super) async fn show(
    Extension(visit): Extension<Visit>,
    posted: FormBody,
) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let class = posted.text("class");
    let action = posted.text("action");
    let draft = Draft {
        schema: posted.text("schema").replace("\r\n", "\n"),
        connector: posted.text("connector").to_owned(),
        class: ProbeClass::ALL
            .into_iter()
            .find(|known| known.name() == class),
        filled: (!action.is_empty()).then(|| posted.pairs().collect()),
        file: None,
    };
    answer_with(&visit, draft).await
}

/// The followed file, so that the script can detect changes.
pub(super) async fn file(Extension(visit): Extension<Visit>) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let Some(path) = visit.app.options.author_file.clone() else {
        let text = "this service follows no file; start `cargo dev preview FILE`";
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", text));
    };
    let text = read(path).await?;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, plain)], text).into_response())
}

async fn answer_with(visit: &Visit, draft: Draft) -> Result<Response, Problem> {
    if draft.schema.len() > LARGEST_SCHEMA {
        return Err(too_large());
    }
    let around = match draft.connector.as_str() {
        "" => FormContext::default(),
        id => around(&*connector(&visit.app, id)?),
    };
    let Ok(_permit) = LOOKS.try_acquire() else {
        let text = "too many previews are under way; try again in a moment";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text).retry_after(1));
    };
    // A schema may take a moment, which must not block other requests.
    let looked = tokio::task::spawn_blocking(move || {
        let look = look(&draft, around);
        (draft, look)
    });
    let (draft, look) = looked.await.map_err(|_| {
        let text = "the preview failed unexpectedly on this schema";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", text)
    })?;
    Ok(page(visit, draft, look, around))
}

fn around(connector: &dyn AnyConnector) -> FormContext {
    let mut around = FormContext {
        about: Some(connector.about()),
        ..FormContext::default()
    };
    for (name, stream) in around.streams.iter_mut().zip(connector.catalog()) {
        *name = stream.name;
    }
    around
}

fn look(draft: &Draft, around: FormContext) -> DraftView {
    let schema = match read_once(draft.schema.as_bytes()) {
        Ok(schema) => schema,
        Err(error) => {
            return DraftView {
                problem: Some(format!("this is not JSON: {error}")),
                ..DraftView::default()
            };
        }
    };
    let guide = around.about.map(|about| about.guide);
    let findings = lint(&schema, guide, &|answer| validate(&schema, &answer));
    if findings.iter().any(|finding| finding.is_refused) {
        return DraftView {
            findings,
            ..DraftView::default()
        };
    }
    let title = schema.get("title").and_then(Value::as_str);
    let title = title.or(around.about.map(|about| about.name));
    let form = FormModel::from_schema(
        title.unwrap_or("your source"),
        guide.unwrap_or_default(),
        &schema,
    );
    DraftView {
        seen: form.ok().map(|form| rendered(form, &schema, draft, around)),
        findings,
        ..DraftView::default()
    }
}

/// Renders the form, as filled in or empty, with the result of its test.
fn rendered(form: FormModel, schema: &Value, draft: &Draft, around: FormContext) -> RenderedForm {
    let mut seen = RenderedForm {
        answer: Value::Object(Map::new()),
        errors: Vec::new(),
        notices: Vec::new(),
        tested: None,
        form,
    };
    if let Some(pairs) = &draft.filled {
        seen.answer = answer(&seen.form, pairs.iter().cloned());
        seen.notices = tidy(&seen.form, &mut seen.answer);
        seen.errors = validate(schema, &seen.answer);
        for field in seen.form.inputs() {
            if field.kind == FieldKind::Secret {
                remove(&mut seen.answer, &field.pointer);
            }
        }
    }
    let class = draft
        .class
        .or(draft.filled.as_ref().map(|_| ProbeClass::Working));
    let is_asked = seen.errors.is_empty() && class != Some(ProbeClass::Unreadable);
    if let Some(class) = class.filter(|_| is_asked) {
        let streams: Vec<&str> = around
            .streams
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect();
        let report = simulate(&seen.form, &seen.answer, &streams, class);
        seen.errors = failures(&report);
        seen.tested = Some(ProbeResult {
            report,
            at: Timestamp::now(),
            seconds: 0.2,
            request_id: None,
        });
    }
    seen
}

fn page(visit: &Visit, draft: Draft, look: DraftView, around: FormContext) -> Response {
    let status = match look.problem {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    let seen = look.seen.as_ref();
    let source = Source {
        id: draft.connector.clone(),
        name: seen.map_or_else(String::new, |seen| seen.form.title.clone()),
        summary: String::new(),
        docs: around.about.map_or("#guide", |about| about.docs).to_owned(),
    };
    let form = seen.map(|seen| CredentialForm {
        purpose: Purpose::Add,
        path: "/author".to_owned(),
        back: "#author-schema".to_owned(),
        source: &source,
        form: &seen.form,
        connection: None,
        title: String::new(),
        description: String::new(),
        expires: String::new(),
        expires_before: None,
        answer: seen.answer.clone(),
        saved_answer: Value::Null,
        saved: BTreeMap::new(),
        asked_again: BTreeMap::new(),
        replacing: BTreeSet::new(),
        errors: seen.errors.clone(),
        notices: seen.notices.clone(),
        tested: seen.tested.clone(),
        offers_untested: true,
        may_save_untested: seen
            .tested
            .as_ref()
            .is_some_and(|tested| may_skip(&tested.report)),
        egress: Vec::new(),
    });
    let connectors = visit.app.registry.iter().map(|one| {
        let source = source_of(&**one);
        (source.id, source.name)
    });
    let view = Author {
        schema: draft.schema,
        problem: look.problem,
        connectors: connectors.collect(),
        connector: draft.connector,
        class: draft.class,
        findings: look.findings,
        model: seen.map_or_else(String::new, |seen| pretty(&seen.form)),
        form,
        file: draft.file,
    };
    visit.show(status, author(view, &visit.app.texts))
}

fn pretty<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn too_large() -> Problem {
    let text = format!("the schema is larger than {LARGEST_SCHEMA} bytes; forms are much smaller");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
}

/// Reads the file, up to the limit.
async fn read(path: PathBuf) -> Result<String, Problem> {
    let name = path.display().to_string();
    let refused = |text: String| Problem::new(StatusCode::NOT_FOUND, "not_found", text);
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        let limit = LARGEST_SCHEMA as u64 + 1;
        open_regular(&path)?.take(limit).read_to_string(&mut text)?;
        Ok::<_, io::Error>(text)
    });
    match read.await {
        Ok(Ok(text)) if text.len() > LARGEST_SCHEMA => Err(too_large()),
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(refused(format!("{name} cannot be read: {error}"))),
        Err(_) => Err(refused(format!("{name} cannot be read"))),
    }
}
