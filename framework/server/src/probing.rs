//! From an answer to the form to an open source, and to what its probe says.

use std::{sync::Arc, time::Instant};

use headwater_core::{
    AnyConnector, Check, Context, FieldError, FieldKind, FormModel, Meter, ProbeReport, Source,
    Validated, tidy,
};
use headwater_host::references;
use headwater_store::Connection;
use http::StatusCode;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    app::{App, form},
    frequency::Credential,
    guard::Caller,
    problem::Problem,
};

/// Finds the connector; the refusal names those that there are.
pub(crate) fn connector(app: &App, id: &str) -> Result<Arc<dyn AnyConnector>, Problem> {
    Ok(Arc::clone(app.registry.get(id)?))
}

/// An answer that is as its form wants it, pure: nothing is followed, nothing is sent.
pub(crate) fn judge(
    app: &App,
    caller: &Caller,
    connector: &dyn AnyConnector,
    answer: &Value,
) -> Result<(FormModel, Validated), Vec<FieldError>> {
    let form = permitted(app, caller, connector, answer)?;
    let config = connector.validate(answer.clone())?;
    Ok((form, config))
}

/// A config with what its references lead to: ready to be opened.
pub(crate) struct Ready {
    connector: Arc<dyn AnyConnector>,
    config: Validated,
    credential: Credential,
}

impl Ready {
    fn open(&self, context: &Context) -> headwater_core::Result<Arc<dyn Source>> {
        self.connector.open(&self.config, context)
    }
}

/// Judges an answer, and makes it ready.
pub(crate) async fn ready(
    app: &App,
    caller: &Caller,
    connector: &Arc<dyn AnyConnector>,
    answer: &Value,
) -> Result<(FormModel, Ready), Problem> {
    let form = permitted(app, caller, &**connector, answer).map_err(Problem::form)?;
    let config = followed(app, connector, &form, answer.clone()).await?;
    Ok((form, config))
}

/// Follows the references of an answer.
pub(crate) async fn followed(
    app: &App,
    connector: &Arc<dyn AnyConnector>,
    form: &FormModel,
    mut answer: Value,
) -> Result<Ready, Problem> {
    references::resolve(form, &mut answer, &app.options.env_file)
        .await
        .map_err(Problem::form)?;
    // A space before a key makes no other credential.
    tidy(form, &mut answer);
    let credential = app.frequency.credential(connector.about().id, &answer);
    Ok(Ready {
        connector: Arc::clone(connector),
        config: connector.validate(answer).map_err(Problem::form)?,
        credential,
    })
}

/// The form of an answer that refers to nothing, unless the caller may.
fn permitted(
    app: &App,
    caller: &Caller,
    connector: &dyn AnyConnector,
    answer: &Value,
) -> Result<FormModel, Vec<FieldError>> {
    let form = form(connector).map_err(|error| {
        vec![FieldError {
            pointer: String::new(),
            code: "unreadable",
            message: error.to_string(),
        }]
    })?;
    if !app.lets_refer(caller) {
        let named = referring(&form, answer);
        if !named.is_empty() {
            return Err(named);
        }
    }
    Ok(form)
}

/// The secrets that name a variable, a file or a program of this machine. Whoever reaches this service is not let read
/// them that way.
pub(crate) fn referring(form: &FormModel, answer: &Value) -> Vec<FieldError> {
    let secrets = form.inputs_of(answer).into_iter().filter(|field| {
        let given = answer.pointer(&field.pointer).and_then(Value::as_str);
        field.kind == FieldKind::Secret && given.is_some_and(references::is_reference)
    });
    secrets
        .map(|field| FieldError {
            pointer: field.pointer.clone(),
            code: "reference_not_allowed",
            message: format!(
                "{} names a place on the machine of this service, which only its operator may do; enter the secret itself",
                field.title
            ),
        })
        .collect()
}

/// A saved connection, whose references its owner chose.
pub(crate) async fn saved(app: &App, name: &str) -> Result<(Connection, Ready), Problem> {
    let registry = Arc::clone(&app.registry);
    let found = name.to_owned();
    let (connection, connector, form, answer) = app
        .store(move |store| {
            let connection = store.get(&found).map_err(Problem::of_store)?;
            let connector = Arc::clone(registry.get(&connection.connector)?);
            let form = form(&*connector)?;
            let mut answer = connection.config.clone();
            store
                .reveal(&form, &connection, &mut answer)
                .map_err(Problem::of_store)?;
            Ok::<_, Problem>((connection, connector, form, answer))
        })
        .await?;
    let ready = followed(app, &connector, &form, answer).await?;
    Ok((connection, ready))
}

/// A saved connection, ready to ask.
pub(crate) struct Opened {
    pub connector: Arc<dyn AnyConnector>,
    pub connection: Connection,
    pub source: Arc<dyn Source>,
    /// Counts what this source sends.
    pub meter: Arc<Meter>,
}

/// Opens a saved connection.
pub(crate) async fn open_saved(app: &App, name: &str) -> Result<Opened, Problem> {
    let (connection, ready) = saved(app, name).await?;
    let context = app.context();
    Ok(Opened {
        source: ready.open(&context)?,
        meter: context.meter,
        connector: ready.connector,
        connection,
    })
}

/// A probe that may begin.
pub(crate) struct Admitted {
    connector: &'static str,
    source: Arc<dyn Source>,
    _place: OwnedSemaphorePermit,
}

/// Lets a probe begin, unless too many are under way or this credential was tested too often. There is no other way to
/// a probe.
pub(crate) fn admit(app: &App, ready: &Ready) -> Result<Admitted, Problem> {
    let source = ready.open(&app.context())?;
    let Ok(place) = Arc::clone(&app.probes).try_acquire_owned() else {
        let text = "too many probes are under way; try again in a moment";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text).retry_after(1));
    };
    // Last, so that only what begins is counted.
    app.frequency.begin(ready.credential, Instant::now())?;
    Ok(Admitted {
        connector: ready.connector.about().id,
        source,
        _place: place,
    })
}

impl Admitted {
    /// Probes, counted, with a watcher of its checks.
    pub(crate) async fn watched(
        self,
        app: &App,
        watch: impl FnMut(&Check) + Send + 'static,
    ) -> ProbeReport {
        let started = Instant::now();
        let report = ProbeReport::watched(&*self.source, watch).await;
        let outcome = match report.failure() {
            Some(_) => "failed",
            None => "passed",
        };
        let seconds = started.elapsed().as_secs_f64();
        app.metrics.probe(self.connector, outcome, seconds);
        report
    }
}

/// Probes, watched by nobody.
pub(crate) async fn probe(app: &App, ready: &Ready) -> Result<ProbeReport, Problem> {
    Ok(admit(app, ready)?.watched(app, |_| {}).await)
}
