//! Connectors: their descriptions, their forms, and the validation and probing of unsaved configs.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Extension, extract::State, response::Response};
use headwater_core::{AnyConnector, FieldError, FormModel, Notice, ProbeReport, StreamSpec};
use headwater_forms::Dialect;
use headwater_store::Scope;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connections::actor;
use crate::{
    answer::json,
    app::{App, form},
    body::{Json, Path},
    events::WantsEvents,
    guard::Caller,
    operations::Operation,
    probing::{CheckedInput, Tester, connector, ready},
    problem::Problem,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            Method::GET,
            "/api/v1/connectors",
            "listConnectors",
            Some(Scope::Read),
            list,
        )
        .summary("The connectors of this service")
        .answer::<Connectors>(200, "All of them, by id."),
        Operation::new(
            Method::GET,
            "/api/v1/connectors/{connector}",
            "getConnector",
            Some(Scope::Read),
            get,
        )
        .summary("One connector with its form and its streams")
        .answer::<Connector>(200, "The connector, with everything needed to render its form."),
        Operation::new(
            Method::GET,
            "/api/v1/connectors/{connector}/dialects/{dialect}",
            "exportForm",
            Some(Scope::Read),
            export,
        )
        .summary("The form of a connector in the language of another platform")
        .answer::<Value>(
            200,
            "The form; `dialects` of the connector lists the languages.",
        )
        .problems([404]),
        Operation::new(
            Method::POST,
            "/api/v1/connectors/{connector}/validate",
            "validateConfig",
            Some(Scope::Use),
            validate,
        )
        .summary("Validates a config against the form; sends nothing to the service")
        .body::<Draft>()
        .answer::<Validity>(
            200,
            "All errors, each at its field; empty if the config is valid.",
        ),
        Operation::new(
            Method::POST,
            "/api/v1/connectors/{connector}/probe",
            "probeConfig",
            Some(Scope::Use),
            probe_draft,
        )
        .summary("Tests whether a config works at the service, without saving it")
        .body::<Draft>()
        .answer::<ProbeReport>(
            200,
            "The checks. As events: `check` for each check as it ends, then `done` with all of them.",
        )
        .or("text/event-stream")
        .problems([422]),
    ]
}

/// The connectors of this service.
#[derive(Serialize, JsonSchema)]
struct Connectors {
    items: Vec<Summary>,
}

/// The description of a connector.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConnectorSummary")]
struct Summary {
    /// Stable identifier.
    id: &'static str,
    /// The product's name.
    name: &'static str,
    /// One sentence about the data that it reads.
    summary: &'static str,
    /// The vendor's documentation.
    docs: &'static str,
}

/// A connector with its form and its streams.
#[derive(Serialize, JsonSchema)]
struct Connector {
    #[serde(flatten)]
    about: Summary,
    /// The JSON Schema of the config.
    schema: Value,
    /// The form, ready to render.
    form: FormModel,
    /// The streams, as known without credentials.
    streams: Vec<StreamSpec>,
    /// The languages of other platforms that the form is available in.
    dialects: Vec<&'static str>,
}

/// An unsaved config.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Draft {
    /// The answer to the form.
    config: Value,
}

/// The result of a validation.
#[derive(Serialize, JsonSchema)]
struct Validity {
    /// Whether there are no errors.
    valid: bool,
    /// All errors, each at its field.
    errors: Vec<FieldError>,
    /// Automatic corrections, and values that look unusual.
    notices: Vec<Notice>,
    /// The addresses of requests: for each field with an address, by its JSON Pointer, the base URL that paths are
    /// appended to.
    addresses: BTreeMap<String, String>,
}

fn summary(connector: &dyn AnyConnector) -> Summary {
    let about = connector.about();
    Summary {
        id: about.id,
        name: about.name,
        summary: about.summary,
        docs: about.docs,
    }
}

async fn list(State(app): State<Arc<App>>) -> Response {
    let items = app.registry.iter().map(|one| summary(&**one)).collect();
    json(StatusCode::OK, &Connectors { items })
}

async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let connector = connector(&app, &id)?;
    let shown = Connector {
        about: summary(&*connector),
        schema: connector.schema(),
        form: form(&*connector)?,
        streams: connector.catalog(),
        dialects: Dialect::ALL.map(Dialect::name).to_vec(),
    };
    Ok(json(StatusCode::OK, &shown))
}

async fn export(
    State(app): State<Arc<App>>,
    Path((id, dialect)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let connector = connector(&app, &id)?;
    let dialect = Dialect::named(&dialect)?;
    let exported = dialect.export(&*connector, &form(&*connector)?);
    Ok(json(StatusCode::OK, &exported))
}

async fn validate(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    let connector = connector(&app, &id)?;
    let form = form(&*connector)?;
    let entered = draft.config.clone();
    let permitted =
        CheckedInput::entered(&app, &caller, (&connector, &form), entered, &Value::Null);
    // The config as sent, so that notices cover the tidying.
    let judged = permitted.and_then(|_| connector.validate(draft.config.clone()));
    let (errors, notices) = match judged {
        Ok(config) => (Vec::new(), config.notices),
        Err(errors) => (errors, Vec::new()),
    };
    let valid = errors.is_empty();
    let fields = form.inputs_of(&draft.config).into_iter();
    let addresses = fields.filter_map(|field| {
        let address = field.address(&draft.config)?;
        Some((field.pointer.clone(), address.to_string()))
    });
    Ok(json(
        StatusCode::OK,
        &Validity {
            valid,
            errors,
            notices,
            addresses: addresses.collect(),
        },
    ))
}

async fn probe_draft(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    wanted: WantsEvents,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    let connector = connector(&app, &id)?;
    let ready = ready(&app, &caller, &connector, draft.config).await?;
    let tester = Tester::Draft(actor(&caller), None);
    super::answer_probe(app, &ready, wanted, tester, |_| async {}).await
}
