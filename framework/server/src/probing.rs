//! Opening a source from a config, and probing it.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use headwater_core::{
    AnyConnector, Check, Context, Field, FieldError, FieldKind, FormModel, Meter, ProbeReport,
    Source, ValidConfig, bare, tidy, wipe,
};
use headwater_host::references;
use headwater_store::{Actor, AuditNote, Connection};
use http::StatusCode;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    api::connections::remove,
    app::{App, form},
    frequency::Credential,
    guard::Caller,
    problem::Problem,
};

/// Finds a connector; the refusal names the existing ones.
pub(crate) fn connector(app: &App, id: &str) -> Result<Arc<dyn AnyConnector>, Problem> {
    Ok(Arc::clone(app.registry.get(id)?))
}

/// A whole, tidied config whose references are all permitted. Every opened or saved config passes through this type,
/// which checks it before any reference is followed.
pub(crate) struct CheckedInput {
    connector: Arc<dyn AnyConnector>,
    form: FormModel,
    answer: Value,
}

impl Drop for CheckedInput {
    fn drop(&mut self) {
        wipe(&mut self.answer);
    }
}

impl CheckedInput {
    /// The config that a caller entered. Unless the caller may refer to variables, files and programs of this machine,
    /// its only references are those at the same pointer of the `saved` config, where a permitted caller put them.
    pub(crate) fn entered(
        app: &App,
        caller: &Caller,
        (connector, form): (&Arc<dyn AnyConnector>, &FormModel),
        mut answer: Value,
        saved: &Value,
    ) -> Result<Self, Vec<FieldError>> {
        // First, since a reference may appear once spaces and quotes are removed.
        tidy(form, &mut answer);
        if !app.lets_refer(caller) {
            let named = new_references(form, &answer, saved);
            if !named.is_empty() {
                return Err(named);
            }
        }
        Ok(Self {
            connector: Arc::clone(connector),
            form: form.clone(),
            answer,
        })
    }

    /// The config as it would be saved.
    pub(crate) fn answer(&self) -> &Value {
        &self.answer
    }

    /// Adds the sealed secrets of the saved connection of this changed config, except for those at `removed`.
    pub(crate) async fn keeping(
        mut self,
        app: &App,
        connection: Connection,
        removed: Vec<String>,
    ) -> Result<Self, Problem> {
        app.store(move |store| {
            store
                .unseal(&self.form, &connection, &mut self.answer)
                .map_err(Problem::of_store)?;
            for pointer in removed {
                remove(&mut self.answer, &pointer);
            }
            Ok(self)
        })
        .await
    }

    /// Validates the config with its references as they are. Follows none and sends nothing.
    pub(crate) fn validate(&self) -> Result<(), Problem> {
        let valid = self.connector.validate(self.answer.clone());
        valid.map(drop).map_err(Problem::form)
    }

    /// Resolves its references and validates the result, so that it can be opened.
    pub(crate) async fn follow(&self, app: &App) -> Result<ResolvedInput, Problem> {
        let mut answer = self.answer.clone();
        references::resolve(&self.form, &mut answer, &app.options.env_file)
            .await
            .map_err(Problem::form)?;
        // A resolved value may start with a space, which does not make another credential.
        tidy(&self.form, &mut answer);
        let id = self.connector.about().id;
        let credential = app.frequency.credential(id, &answer);
        Ok(ResolvedInput {
            connector: Arc::clone(&self.connector),
            config: self.connector.validate(answer).map_err(Problem::form)?,
            credential,
        })
    }
}

/// The secrets that newly refer to a variable, a file or a program of this machine. Secrets of alternatives that are
/// not chosen count as well: another change may choose them.
fn new_references(form: &FormModel, answer: &Value, saved: &Value) -> Vec<FieldError> {
    let mut seen = BTreeSet::new();
    let is_new = |field: &&Field| {
        let entered = answer.pointer(&field.pointer);
        let is_reference = entered
            .and_then(Value::as_str)
            .is_some_and(|text| references::is_reference(bare(text)));
        is_reference && entered != saved.pointer(&field.pointer)
    };
    let secrets = form.inputs().into_iter();
    let secrets = secrets.filter(|field| field.kind == FieldKind::Secret);
    secrets
        .filter(is_new)
        .filter(|field| seen.insert(&field.pointer))
        .map(|field| FieldError {
            pointer: field.pointer.clone(),
            code: "reference_not_allowed".into(),
            message: format!(
                "{} refers to the machine of this service, which only its operator may do; enter the secret itself",
                field.title
            ),
        })
        .collect()
}

/// A config with its references resolved, ready to be opened.
pub(crate) struct ResolvedInput {
    connector: Arc<dyn AnyConnector>,
    config: ValidConfig,
    credential: Credential,
}

impl ResolvedInput {
    fn open(&self, context: &Context) -> headwater_core::Result<Arc<dyn Source>> {
        self.connector.open(&self.config, context)
    }
}

/// The config entered for a new connection, ready to be opened. Nothing else of it is kept.
pub(crate) async fn ready(
    app: &App,
    caller: &Caller,
    connector: &Arc<dyn AnyConnector>,
    answer: Value,
) -> Result<ResolvedInput, Problem> {
    let form = form(&**connector)?;
    let permitted = CheckedInput::entered(app, caller, (connector, &form), answer, &Value::Null);
    permitted.map_err(Problem::form)?.follow(app).await
}

/// A saved connection with its references resolved, since its owner chose them.
pub(crate) async fn saved(app: &App, name: &str) -> Result<(Connection, ResolvedInput), Problem> {
    let registry = Arc::clone(&app.registry);
    let found = name.to_owned();
    let (connection, permitted) = app
        .store(move |store| {
            let connection = store.get(&found).map_err(Problem::of_store)?;
            let connector = Arc::clone(registry.get(&connection.connector)?);
            let form = form(&*connector)?;
            let mut answer = connection.config.clone();
            store
                .unseal(&form, &connection, &mut answer)
                .map_err(Problem::of_store)?;
            let permitted = CheckedInput {
                connector,
                form,
                answer,
            };
            Ok::<_, Problem>((connection, permitted))
        })
        .await?;
    let ready = permitted.follow(app).await?;
    Ok((connection, ready))
}

/// An open saved connection.
pub(crate) struct OpenConnection {
    pub connector: Arc<dyn AnyConnector>,
    pub connection: Connection,
    pub source: Arc<dyn Source>,
    /// Counts the requests of this source.
    pub meter: Arc<Meter>,
}

/// Opens a saved connection.
pub(crate) async fn open_saved(app: &App, name: &str) -> Result<OpenConnection, Problem> {
    let (connection, ready) = saved(app, name).await?;
    let context = app.context();
    Ok(OpenConnection {
        source: ready.open(&context)?,
        meter: context.meter,
        connector: ready.connector,
        connection,
    })
}

/// The permit of a probe.
pub(crate) struct ProbePermit {
    connector: &'static str,
    source: Arc<dyn Source>,
    tester: Tester,
    _permit: OwnedSemaphorePermit,
}

/// The purpose of a probe.
pub(crate) enum Tester {
    /// A test of a saved connection; its result is saved with a row of the audit.
    Kept,
    /// A test of a draft, or of a change of the connection with this name.
    Draft(Actor, Option<String>),
}

/// Permits a probe, unless too many are under way or this credential was tested too often. Every probe needs this
/// permit.
pub(crate) fn admit(
    app: &App,
    ready: &ResolvedInput,
    tester: Tester,
) -> Result<ProbePermit, Problem> {
    let source = ready.open(&app.context())?;
    let Ok(permit) = Arc::clone(&app.probes).try_acquire_owned() else {
        let text = "too many probes are under way; try again in a moment";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text).retry_after(1));
    };
    // Last, so that only starting probes count.
    app.frequency.begin(ready.credential, Instant::now())?;
    Ok(ProbePermit {
        connector: ready.connector.about().id,
        source,
        tester,
        _permit: permit,
    })
}

impl ProbePermit {
    /// Probes and reports each check to a watcher.
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
        if let Tester::Draft(actor, connection) = self.tester {
            app.notes.add(AuditNote {
                actor,
                what: "tested",
                connection,
                outcome: outcome.to_owned(),
            });
        }
        report
    }
}

/// Probes without a watcher.
pub(crate) async fn probe(
    app: &App,
    ready: &ResolvedInput,
    tester: Tester,
) -> Result<ProbeReport, Problem> {
    Ok(admit(app, ready, tester)?.watched(app, |_| {}).await)
}
