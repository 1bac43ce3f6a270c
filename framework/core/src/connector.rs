//! Connectors: typed for authors, erased for hosts.

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::{Error, Kind, Result},
    form::{Field, FieldKind, FormModel, GuideStep, ProfileViolation},
    identity::Identity,
    probe::{Allowance, Check, Probe, ProbeReport},
    schema::form_schema,
    secret::wipe,
    stream::{AnyStream, StreamSpec},
    text::is_wrapped,
    transport::Context,
    validate::{FieldError, Notice, Rules, tidy},
};

/// The description of a connector.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct About {
    /// Stable identifier, kebab case.
    pub id: &'static str,
    /// The product's name.
    pub name: &'static str,
    /// One sentence about the data that it reads.
    pub summary: &'static str,
    /// The vendor's documentation.
    pub docs: &'static str,
    /// The steps to get the credentials.
    pub guide: &'static [GuideStep],
}

/// A plugin: a credential form, a probe and streams. Register it with [`register!`](crate::register!).
pub trait Connector: Send + Sync + 'static {
    /// The config that the form collects. `Serialize` provides the defaults that the form shows.
    type Config: Serialize + DeserializeOwned + JsonSchema + Send + Sync;

    /// Name, summary, guide.
    const ABOUT: About;

    /// Returns the streams, as known without credentials.
    fn catalog() -> Vec<StreamSpec>;

    /// Builds a source. Pure: it sends nothing before the first probe or fetch.
    ///
    /// # Errors
    ///
    /// Fails if a value of the config cannot be used, such as one that is no header value.
    fn open(config: &Self::Config, context: &Context) -> Result<Arc<dyn Source>>;
}

/// An opened connector.
#[async_trait]
pub trait Source: Send + Sync {
    /// Tests the credentials at the service, without side effects. Never an error: failures are in the checks. Hosts
    /// call [`ProbeReport::of`].
    async fn probe(&self, probe: &mut Probe);

    /// Returns the readable streams.
    fn streams(&self) -> Vec<Arc<dyn AnyStream>>;

    /// Returns the address and the sign-in method. Pure. A position belongs to an identity; `None` where the connector
    /// does not know it.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// Returns stable facts of the account, such as its id or ids of its users: two results of one account share at
    /// least one fact, results of two accounts share no fact. A cheap request; `None` where the service has no such
    /// facts. Hosts store digests of them.
    async fn account(&self) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    /// Returns the remaining allowances of the service. Hosts call it before a read that orders export jobs.
    async fn allowances(&self) -> Result<Vec<Allowance>> {
        Ok(Vec::new())
    }

    /// Returns a stream by its own name or that of one of its secondary streams; the error names the existing streams.
    ///
    /// # Errors
    ///
    /// Fails if the source has no such stream.
    fn stream(&self, name: &str) -> Result<Arc<dyn AnyStream>> {
        let streams = self.streams();
        if let Some(stream) = streams.iter().find(|stream| stream.names().contains(&name)) {
            return Ok(Arc::clone(stream));
        }
        let names: Vec<&str> = streams.iter().flat_map(|stream| stream.names()).collect();
        Err(Error::new(
            Kind::NotFound,
            format!(
                "there is no stream {name:?}; there are {}",
                names.join(", ")
            ),
        ))
    }
}

impl ProbeReport {
    /// Probes a source.
    pub async fn of(source: &dyn Source) -> Self {
        Self::watched(source, |_| {}).await
    }

    /// Probes a source and passes each finished check to the watcher, in the order of the report. Dropping the future
    /// stops the probe.
    pub async fn watched(
        source: &dyn Source,
        watcher: impl FnMut(&Check) + Send + 'static,
    ) -> Self {
        let mut probe = Probe::new(watcher);
        source.probe(&mut probe).await;
        probe.into()
    }
}

/// A config that passed validation. `Debug` hides its values.
pub struct ValidConfig {
    connector: &'static str,
    config: Box<dyn Any + Send + Sync>,
    /// Pointers and titles of secrets with spaces or quotes around them.
    wrapped: Vec<(String, String)>,
    /// The changes made on the user's behalf.
    pub notices: Vec<Notice>,
}

impl fmt::Debug for ValidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValidConfig({}, [redacted])", self.connector)
    }
}

/// The object-safe form of [`Connector`], implemented for every connector.
pub trait AnyConnector: Send + Sync {
    /// Returns name, summary and guide.
    fn about(&self) -> &'static About;

    /// Returns the JSON Schema of the form.
    fn schema(&self) -> Value;

    /// Returns the streams, as known without credentials.
    fn catalog(&self) -> Vec<StreamSpec>;

    /// Checks an answer against the form: every error, each at its field. Pure.
    ///
    /// # Errors
    ///
    /// Fails with every field error of the answer, or with one error if the schema of the connector cannot be used.
    fn validate(&self, answer: Value) -> Result<ValidConfig, Vec<FieldError>>;

    /// Builds a source. Pure.
    ///
    /// # Errors
    ///
    /// Fails if the config is that of another connector, or if the connector refuses it.
    fn open(&self, config: &ValidConfig, context: &Context) -> Result<Arc<dyn Source>>;

    /// Returns the form model, or the violations of the profile.
    ///
    /// # Errors
    ///
    /// Fails with every violation of the profile.
    fn form(&self) -> Result<FormModel, Vec<ProfileViolation>> {
        form_of(self.about(), &self.schema())
    }
}

/// Returns the secrets of an answer with spaces or quotes around them.
fn wrapped(form: &FormModel, answer: &Value) -> Vec<(String, String)> {
    let inputs = form.inputs_of(answer).into_iter();
    let is_wrapped = |field: &&Field| {
        let text = answer.pointer(&field.pointer).and_then(Value::as_str);
        field.kind == FieldKind::Secret && text.is_some_and(is_wrapped)
    };
    let named = |field: &Field| (field.pointer.clone(), field.title.clone());
    inputs.filter(is_wrapped).map(named).collect()
}

/// A source whose secrets have spaces or quotes around them: its probe reports this where the service refuses them. It
/// forwards every other method of [`Source`].
struct CheckedSecrets {
    source: Arc<dyn Source>,
    secrets: Vec<(String, String)>,
}

#[async_trait]
impl Source for CheckedSecrets {
    async fn probe(&self, probe: &mut Probe) {
        probe.wrapped.clone_from(&self.secrets);
        self.source.probe(probe).await;
    }

    fn streams(&self) -> Vec<Arc<dyn AnyStream>> {
        self.source.streams()
    }

    fn identity(&self) -> Option<Identity> {
        self.source.identity()
    }

    async fn account(&self) -> Result<Option<Vec<String>>> {
        self.source.account().await
    }

    async fn allowances(&self) -> Result<Vec<Allowance>> {
        self.source.allowances().await
    }

    fn stream(&self, name: &str) -> Result<Arc<dyn AnyStream>> {
        self.source.stream(name)
    }
}

fn form_of(about: &About, schema: &Value) -> Result<FormModel, Vec<ProfileViolation>> {
    FormModel::from_schema(about.name, about.guide, schema)
}

/// Makes an [`AnyConnector`] of a [`Connector`].
pub(crate) struct ErasedConnector<C> {
    /// Made once, at the first use: making it takes longer than validating an answer.
    description: OnceLock<Description>,
    connector: PhantomData<fn() -> C>,
}

struct Description {
    schema: Value,
    form: Result<FormModel, Vec<ProfileViolation>>,
    rules: Rules,
}

impl<C> ErasedConnector<C> {
    pub(crate) const fn new() -> Self {
        Self {
            description: OnceLock::new(),
            connector: PhantomData,
        }
    }
}

impl<C: Connector> ErasedConnector<C> {
    fn description(&self) -> &Description {
        self.description.get_or_init(|| {
            let mut schema = form_schema::<C::Config>();
            if let Some(object) = schema.as_object_mut() {
                object.insert("title".to_owned(), C::ABOUT.name.into());
                object.insert("description".to_owned(), C::ABOUT.summary.into());
            }
            Description {
                form: form_of(&C::ABOUT, &schema),
                rules: Rules::default(),
                schema,
            }
        })
    }
}

impl<C: Connector> AnyConnector for ErasedConnector<C> {
    fn about(&self) -> &'static About {
        &C::ABOUT
    }

    fn schema(&self) -> Value {
        self.description().schema.clone()
    }

    fn form(&self) -> Result<FormModel, Vec<ProfileViolation>> {
        self.description().form.clone()
    }

    fn catalog(&self) -> Vec<StreamSpec> {
        C::catalog()
    }

    fn validate(&self, mut answer: Value) -> Result<ValidConfig, Vec<FieldError>> {
        let whole = |message: String| {
            vec![FieldError {
                pointer: String::new(),
                code: "unreadable".into(),
                message,
            }]
        };
        let Description {
            schema,
            form,
            rules,
        } = self.description();
        let form = form.as_ref().map_err(|violations| {
            let listed: Vec<String> = violations.iter().map(ToString::to_string).collect();
            whole(format!(
                "the connector's form leaves the profile: {}",
                listed.join("; ")
            ))
        })?;
        let notices = tidy(form, &mut answer);
        let errors = rules.errors(schema, &answer);
        if !errors.is_empty() {
            wipe(&mut answer);
            return Err(errors);
        }
        let wrapped = wrapped(form, &answer);
        // The schema accepted the answer, so this fails only where a type is stricter than its schema. The cause may
        // quote the value and is dropped.
        let config: C::Config = serde_json::from_value(answer).map_err(|_| {
            whole("the form passed its schema but cannot be read as a config".to_owned())
        })?;
        Ok(ValidConfig {
            connector: C::ABOUT.id,
            config: Box::new(config),
            wrapped,
            notices,
        })
    }

    fn open(&self, config: &ValidConfig, context: &Context) -> Result<Arc<dyn Source>> {
        let Some(typed) = config.config.downcast_ref::<C::Config>() else {
            return Err(Error::new(
                Kind::Unexpected,
                format!(
                    "a config of {} was passed to {}",
                    config.connector,
                    C::ABOUT.id
                ),
            ));
        };
        let source = C::open(typed, context)?;
        Ok(match config.wrapped.is_empty() {
            true => source,
            false => Arc::new(CheckedSecrets {
                source,
                secrets: config.wrapped.clone(),
            }),
        })
    }
}
