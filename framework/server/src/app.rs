//! What all requests share.

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
    sync::{Mutex, Semaphore},
    time::timeout,
};

use crate::{
    body::Budget, embeds::Embeds, frequency::Frequency, guard::Caller, metrics::Metrics,
    notes::Notes, origin::Origin, runs::Runs, sessions::Sessions,
};

/// How many probes may be under way. Each holds a connection to a service, and little else.
const MAX_PROBES: usize = 2_000;
/// How long a request waits for its turn at the store.
pub(crate) const LONGEST_TURN: Duration = Duration::from_secs(5);

/// How a service is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub bind: SocketAddr,
    /// Whether requests need a token. Everywhere but on the loopback address they always do.
    pub needs_token: bool,
    /// Names that browsers may call it by, beside those of this machine. With one that is not this machine's, requests
    /// need a token, unless `is_open`.
    pub hosts: Vec<String>,
    /// Whether requests on the loopback address need no token, by whatever name and through whatever proxy they come.
    pub is_open: bool,
    /// Proxies that say whose requests they pass on, in `X-Forwarded-For`.
    pub trusted_proxies: Vec<IpAddr>,
    /// The addresses that services see, for their lists of allowed ones.
    pub calls_from: Vec<IpAddr>,
    /// Pages of which origins may show forms of this service in a frame; without any, none may.
    pub embed_origins: Vec<Origin>,
    /// The certificate and its key as PEM files; without them it speaks plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Where syncs may put their records, by name.
    pub destinations: BTreeMap<String, String>,
    /// Whether configs that arrive over the network may name variables, files and programs of this machine.
    pub allows_references: bool,
    /// Variables that references may name, beside those of the process.
    pub env_file: Arc<EnvFile>,
    /// Whether it starts the runs that are due by their schedules. What was deleted is removed in any case.
    pub schedules: bool,
    /// How many connections may be open at once.
    pub max_connections: usize,
    /// The file with a form that the page for authors begins with and follows.
    pub author_file: Option<PathBuf>,
}

impl Options {
    /// On a free port of this machine, for whoever sits at it; what has to be allowed is not.
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

/// The registry, the store and what runs.
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
    /// What all bodies under way may take.
    pub bodies: Budget,
    pub frequency: Frequency,
    /// Rows of the audit that wait to be written.
    pub notes: Notes,
    /// Opens the store once more, for a run that works with it from a thread of its own.
    pub open_store: OpenStore,
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
            frequency: Frequency::new()?,
            notes: Notes::default(),
            open_store,
            context,
            store: Arc::new(Mutex::new(store)),
        })
    }

    /// Works with the store, whose calls block. While one of them waits for a database that does not answer, the others
    /// are refused.
    pub(crate) async fn store<T: Send + 'static, E: From<Error> + Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let turn = timeout(LONGEST_TURN, Arc::clone(&self.store).lock_owned());
        let mut store = turn.await.map_err(|_| unanswered())?;
        let done = tokio::task::spawn_blocking(move || work(&mut store));
        done.await.unwrap_or_else(|_| {
            let text = "the store broke down over this request";
            Err(Error::new(Kind::Unexpected, text).into())
        })
    }

    /// Who a token stands for, as long as there is such a token and it has not ended.
    pub(crate) async fn caller(&self, token: TokenHash) -> Result<Option<Caller>> {
        let found = self.store(move |store| store.find_token(&token)).await?;
        Ok(found.map(|token| Caller {
            name: token.name,
            scope: token.scope,
            request_id: None,
            embed: None,
        }))
    }

    /// Whether a caller's config may name variables, files and programs of this machine. Whoever fills in a form in
    /// another page is no operator, whatever the operator allows to those who have tokens.
    pub(crate) fn lets_refer(&self, caller: &Caller) -> bool {
        self.options.allows_references && caller.embed.is_none()
    }

    /// The way to the network, counted on its own.
    pub(crate) fn context(&self) -> Context {
        Context {
            transport: Arc::clone(&self.context.transport),
            meter: Arc::new(Meter::default()),
        }
    }
}

/// The database holds up whoever came first.
pub(crate) fn unanswered() -> Error {
    let text = "the store does not answer; try again in a moment";
    Error::new(Kind::Unavailable, text)
}

/// The form of a connector. What is registered follows the profile, as a test of all connectors says.
pub(crate) fn form(connector: &dyn AnyConnector) -> Result<FormModel> {
    connector.form().map_err(|violations| {
        let listed: Vec<String> = violations.iter().map(ToString::to_string).collect();
        Error::new(
            Kind::Unexpected,
            format!(
                "the form of {} leaves the profile: {}",
                connector.about().id,
                listed.join("; ")
            ),
        )
    })
}
