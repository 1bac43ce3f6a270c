//! The state that all requests share.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use headwater_console::Messages;
use headwater_core::{AnyConnector, Context, Error, FormModel, Kind, Meter, Registry, Result};
use headwater_host::references::EnvFile;
use headwater_store::{Store, TokenHash};
use tokio::{
    runtime::Handle,
    sync::{Mutex, Semaphore},
    time::timeout,
};

use crate::{
    body::Budget, embeds::Embeds, frequency::Frequency, guard::Caller, guesses::Guesses,
    large::LargeRequests, metrics::Metrics, notes::Notes, origin::Origin, runs::Runs,
    sessions::Sessions,
};

/// How many probes may run at once. Each holds a connection to a service, and little else.
const MAX_PROBES: usize = 2_000;
/// How long a request waits for the store.
pub(crate) const LONGEST_TURN: Duration = Duration::from_secs(5);

/// The options of a service.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen at.
    pub bind: SocketAddr,
    /// Whether requests need a token. They always do except on a loopback address.
    pub needs_token: bool,
    /// Host names that browsers may use in addition to this machine's own. With a foreign name, requests need a token,
    /// unless `is_open`.
    pub hosts: Vec<String>,
    /// Whether requests on a loopback address need no token, whatever their host name and proxy.
    pub is_open: bool,
    /// Proxies whose `X-Forwarded-For` names the client.
    pub trusted_proxies: Vec<IpAddr>,
    /// The addresses from which requests reach services, for their allow-lists.
    pub calls_from: Vec<IpAddr>,
    /// The origins of pages that may show forms of this service in a frame; empty allows none.
    pub embed_origins: Vec<Origin>,
    /// The certificate and its key as PEM files; plain HTTP without them.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The destinations of syncs, by name.
    pub destinations: BTreeMap<String, String>,
    /// Whether configs that arrive over the network may refer to variables, files and programs of this machine.
    pub allows_references: bool,
    /// Variables that references may name in addition to those of the process.
    pub env_file: Arc<EnvFile>,
    /// Whether it starts due runs. It removes deleted connections in any case.
    pub schedules: bool,
    /// How many connections may be open at once.
    pub max_connections: usize,
    /// The file with the form that the page for authors shows and follows.
    pub author_file: Option<PathBuf>,
}

impl Options {
    /// A service on a free port of this machine for its user, without any optional permission.
    pub fn on_this_machine() -> Self {
        Self {
            bind: (Ipv4Addr::LOCALHOST, 0).into(),
            needs_token: false,
            hosts: Vec::new(),
            is_open: false,
            trusted_proxies: Vec::new(),
            calls_from: Vec::new(),
            embed_origins: Vec::new(),
            tls: None,
            destinations: BTreeMap::new(),
            allows_references: false,
            env_file: Arc::default(),
            schedules: false,
            max_connections: 100,
            author_file: None,
        }
    }
}

/// Opens the store.
pub type OpenStore = Arc<dyn Fn() -> Result<Store> + Send + Sync>;

/// The registry, the store and the runs.
pub(crate) struct App {
    pub registry: Arc<Registry>,
    pub options: Options,
    pub metrics: Metrics,
    pub runs: Runs,
    pub sessions: Sessions,
    pub embeds: Arc<Embeds>,
    /// The texts of the console.
    pub texts: Messages,
    pub probes: Arc<Semaphore>,
    /// The memory for all bodies under way.
    pub bodies: Budget,
    /// The thread for requests with a large body.
    pub large: LargeRequests,
    pub frequency: Frequency,
    pub guesses: Guesses,
    /// Rows of the audit that wait to be written.
    pub notes: Notes,
    /// Opens the store again, for a run that uses it on a thread of its own.
    pub open_store: OpenStore,
    /// The runtime of the service, for work that outlives its request.
    pub runtime: Handle,
    context: Context,
    store: Arc<Mutex<Store>>,
}

impl App {
    pub(crate) fn new(
        registry: Registry,
        open_store: OpenStore,
        context: Context,
        options: Options,
    ) -> Result<Self> {
        let store = open_store()?;
        Ok(Self {
            registry: Arc::new(registry),
            metrics: Metrics::new(),
            runs: Runs::default(),
            sessions: Sessions::new(options.tls.is_some()),
            embeds: Arc::new(Embeds::new()?),
            texts: Messages::english()?,
            options,
            probes: Arc::new(Semaphore::new(MAX_PROBES)),
            bodies: Budget::default(),
            large: LargeRequests::new()?,
            frequency: Frequency::new()?,
            guesses: Guesses::default(),
            notes: Notes::default(),
            open_store,
            runtime: Handle::current(),
            context,
            store: Arc::new(Mutex::new(store)),
        })
    }

    /// Runs a blocking call of the store. While one of them waits for a database that does not answer, it refuses the
    /// others.
    pub(crate) async fn store<T: Send + 'static, E: From<Error> + Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let turn = timeout(LONGEST_TURN, Arc::clone(&self.store).lock_owned());
        let mut store = turn.await.map_err(|_| unanswered())?;
        let done = tokio::task::spawn_blocking(move || work(&mut store));
        done.await.unwrap_or_else(|_| {
            let text = "the store failed unexpectedly during this request";
            Err(Error::new(Kind::Unexpected, text).into())
        })
    }

    /// The caller of a token, if the token exists and has not expired.
    pub(crate) async fn caller(&self, token: TokenHash) -> Result<Option<Caller>> {
        let found = self.store(move |store| store.find_token(&token)).await?;
        Ok(found.map(|token| Caller {
            name: token.name,
            scope: token.scope,
            request_id: None,
            embed: None,
        }))
    }

    /// Whether a caller's config may refer to variables, files and programs of this machine. A user of an embedded form
    /// is never the operator, whatever the operator allows to holders of tokens.
    pub(crate) fn lets_refer(&self, caller: &Caller) -> bool {
        self.options.allows_references && caller.embed.is_none()
    }

    /// The context of a connector, with a meter of its own.
    pub(crate) fn context(&self) -> Context {
        Context {
            transport: Arc::clone(&self.context.transport),
            meter: Arc::new(Meter::default()),
        }
    }
}

/// The refusal while the database does not answer an earlier request.
pub(crate) fn unanswered() -> Error {
    let text = "the store does not answer; try again in a moment";
    Error::new(Kind::Unavailable, text)
}

/// The form of a connector. Every registered form follows the profile; a test of all connectors verifies it.
pub(crate) fn form(connector: &dyn AnyConnector) -> Result<FormModel> {
    connector.form().map_err(|violations| {
        let listed: Vec<String> = violations.iter().map(ToString::to_string).collect();
        Error::new(
            Kind::Unexpected,
            format!(
                "the form of {} does not follow the profile: {}",
                connector.about().id,
                listed.join("; ")
            ),
        )
    })
}
