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
    form::{Field, FieldKind, FormModel, ProfileViolation},
    identity::Identity,
    probe::{Allowance, Probe},
    schema::form_schema,
    secret::wipe,
    stream::{AnyStream, StreamSpec},
    transport::Context,
    validate::{FieldError, Notice, Rules, is_wrapped, tidy},
};

/// What a connector says about itself.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct About {
    /// Stable identifier, kebab case.
    pub id: &'static str,
    /// The product's name.
    pub name: &'static str,
    /// One sentence: what it reads.
    pub summary: &'static str,
    /// The vendor's documentation.
    pub docs: &'static str,
    /// How to get the credentials, step by step.
    pub guide: &'static [GuideStep],
}

/// One step of a setup guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GuideStep {
    /// A few words.
    pub title: &'static str,
    /// One or two sentences.
    pub text: &'static str,
}

/// A plugin: a credential form, a probe and streams. Register it with [`register!`](crate::register!).
pub trait Connector: Send + Sync + 'static {
    /// What the form collects. `Serialize` is there for the defaults that the form shows.
    type Config: Serialize + DeserializeOwned + JsonSchema + Send + Sync;

    /// Name, summary, guide.
    const ABOUT: About;

    /// The streams, as known without credentials.
    fn catalog() -> Vec<StreamSpec>;

    /// Builds a source. Pure: nothing is sent before the first probe or fetch.
    fn open(config: &Self::Config, context: &Context) -> Result<Arc<dyn Source>>;
}

/// An opened connector.
#[async_trait]
pub trait Source: Send + Sync {
    /// Asks the service whether the credentials work, without side effects. Never an error: what went wrong is in
    /// the checks. Hosts call [`ProbeReport::of`](crate::ProbeReport::of).
    async fn probe(&self, probe: &mut Probe);

    /// What can be read.
    fn streams(&self) -> Vec<Arc<dyn AnyStream>>;

    /// Where it reads and how it signs in. Pure. A position belongs to it; none where the connector does not tell.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// Stable facts of the account that the credentials open, such as its id or ids of its users: two answers of one
    /// account share one fact at least, those of two accounts none. A cheap request; none where the service does not
    /// tell. Hosts keep digests of them.
    async fn account(&self) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    /// What the service says is left of what reading uses up; asked before a read that will order export jobs.
    async fn allowances(&self) -> Result<Vec<Allowance>> {
        Ok(Vec::new())
    }

    /// One stream by name, or the one that it comes along with; the error names the streams that exist.
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

/// A config that passed validation. Shows nothing of it.
pub struct ValidConfig {
    connector: &'static str,
    config: Box<dyn Any + Send + Sync>,
    /// Pointers and titles of secrets that have spaces or quotes around them.
    wrapped: Vec<(String, String)>,
    /// What was changed on the user's behalf.
    pub notices: Vec<Notice>,
}

impl fmt::Debug for ValidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValidConfig({}, [redacted])", self.connector)
    }
}

/// The object-safe twin of [`Connector`], implemented for every connector.
pub trait AnyConnector: Send + Sync {
    /// Name, summary, guide.
    fn about(&self) -> &'static About;

    /// The JSON Schema of the form.
    fn schema(&self) -> Value;

    /// The streams, as known without credentials.
    fn catalog(&self) -> Vec<StreamSpec>;

    /// Checks an answer against the form: every error, each at its field. Pure.
    fn validate(&self, answer: Value) -> Result<ValidConfig, Vec<FieldError>>;

    /// Builds a source. Pure.
    fn open(&self, config: &ValidConfig, context: &Context) -> Result<Arc<dyn Source>>;

    /// The form model, or how the schema leaves the profile.
    fn form(&self) -> Result<FormModel, Vec<ProfileViolation>> {
        form_of(self.about(), &self.schema())
    }
}

/// The secrets of an answer that have spaces or quotes around them.
fn wrapped(form: &FormModel, answer: &Value) -> Vec<(String, String)> {
    let inputs = form.inputs_of(answer).into_iter();
    let is_wrapped = |field: &&Field| {
        let text = answer.pointer(&field.pointer).and_then(Value::as_str);
        field.kind == FieldKind::Secret && text.is_some_and(is_wrapped)
    };
    let named = |field: &Field| (field.pointer.clone(), field.title.clone());
    inputs.filter(is_wrapped).map(named).collect()
}

/// A source whose secrets have spaces or quotes around them: its probe says so where the service refuses them. Everything
/// else is the source's own, so each method of [`Source`] is passed on.
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
    /// Made once, when it is first asked for: making it takes longer than judging an answer by it.
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
                code: "unreadable",
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
        // The schema has accepted the answer, so this fails only where a type is stricter than its schema. The cause
        // may quote the value and stays inside.
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
                    "a config of {} was given to {}",
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
