#![doc = include_str!("../README.md")]

mod account;
mod details;
mod freshness;
mod list;
mod login;
mod probe;
pub mod records;
mod streams;
mod usage;

use std::sync::Arc;

use async_trait::async_trait;
use headwater::{
    Allowance,
    http::{Client, ClientBuilder, LimitHeaders, RateLimit, Request},
    prelude::*,
};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::login::Login;

/// The name of the service in sentences.
const SERVICE: &str = "clariBI";
/// Only hourly limits are documented. This bound keeps one burst from using up the hour.
const REQUESTS_PER_SECOND: u32 = 10;
/// A page holds at most a hundred records; decoded responses stay far below this bound.
const BODY_LIMIT: usize = 32 << 20;
/// The documented headers. The connector learns the hourly limit from every response, since it depends on the plan.
const LIMIT_HEADERS: LimitHeaders = LimitHeaders {
    remaining: "x-ratelimit-remaining",
    reset: "x-ratelimit-reset",
};

/// The fields of the form.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[schemars(
        title = "Authentication",
        description = "How to sign in. If unsure, keep the first: the test finds the right header.",
        transform = Hint::order(1)
    )]
    auth: Auth,

    #[serde(default = "default_base_url")]
    #[schemars(
        title = "Base URL",
        description = "The address of clariBI. Change it only for a proxy or a simulator.",
        transform = Hint::order(2).advanced()
    )]
    base_url: BaseUrl,

    #[serde(default)]
    #[schemars(
        title = "Fetch full details",
        description = "Read every item on its own for the fields missing in lists. This costs one request per item; a plan \
                       allows 60 to 5,000 requests an hour.",
        transform = Hint::order(3).group("Reading options")
    )]
    read_details: bool,

    #[serde(default = "default_stale_after_hours")]
    #[schemars(
        title = "Stale after (hours)",
        description = "The test warns about data sources whose last sync is older than this.",
        range(min = 1, max = 8760),
        transform = Hint::order(4).group("Reading options")
    )]
    stale_after_hours: u32,
}

/// The sign-in methods. The vendor's pages name three headers for a key.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "style", rename_all = "snake_case", deny_unknown_fields)]
enum Auth {
    #[schemars(
        title = "Api-Key header",
        description = "Documented by clariBI.",
        transform = Hint::recommended()
    )]
    ApiKeyAuthorization {
        #[schemars(
            title = "API key",
            description = "Sent as Authorization: Api-Key.",
            transform = api_key_hint()
        )]
        api_key: Secret,
    },
    #[schemars(
        title = "X-API-Key header",
        description = "Use only if the test suggests it."
    )]
    XApiKey {
        #[schemars(
            title = "API key",
            description = "Sent as X-API-Key.",
            transform = api_key_hint()
        )]
        api_key: Secret,
    },
    #[schemars(
        title = "Bearer header",
        description = "Use only if the test suggests it."
    )]
    Bearer {
        #[schemars(
            title = "API key",
            description = "Sent as Authorization: Bearer.",
            transform = api_key_hint()
        )]
        api_key: Secret,
    },
    #[schemars(
        title = "E-mail and password",
        description = "If you cannot create an API key. Not with multi-factor authentication."
    )]
    Jwt {
        #[schemars(
            title = "E-mail",
            description = "Your login address. Accounts with multi-factor authentication do not work here, because no one \
                           can enter the code.",
            length(min = 1, max = 254),
            transform = Hint::order(1).placeholder("reader@example.com")
        )]
        email: String,
        #[schemars(
            title = "Password",
            description = "The password of that account. Use an account with read-only access. Each run exchanges the \
                           password for a token and does not store the token.",
            transform = any_characters,
            transform = Hint::order(2)
                .help("Your clariBI login password")
                .guide_step(4)
                .verbatim()
        )]
        password: Secret,
    },
}

fn api_key_hint() -> Hint {
    Hint::order(1)
        .help("Settings > Developer > Create API Key. The key is shown only once")
        .guide_step(2)
        .known_prefix("claribi_sk_")
}

/// A password travels in a body, not in a header, and may hold any character.
fn any_characters(schema: &mut Schema) {
    schema.remove("pattern");
}

/// The headers that can carry a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyStyle {
    ApiKeyAuthorization,
    XApiKey,
    Bearer,
}

impl KeyStyle {
    const ALL: [Self; 3] = [Self::ApiKeyAuthorization, Self::XApiKey, Self::Bearer];

    /// The value of the tag in the form.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::ApiKeyAuthorization => "api_key_authorization",
            Self::XApiKey => "x_api_key",
            Self::Bearer => "bearer",
        }
    }

    /// The header, for people.
    pub(crate) const fn header(self) -> &'static str {
        match self {
            Self::ApiKeyAuthorization => "Authorization: Api-Key",
            Self::XApiKey => "X-API-Key",
            Self::Bearer => "Authorization: Bearer",
        }
    }

    fn send(self, client: ClientBuilder, key: &Secret) -> ClientBuilder {
        match self {
            Self::ApiKeyAuthorization => client.authorization("Api-Key", key),
            Self::XApiKey => client.secret_header("x-api-key", key),
            Self::Bearer => client.authorization("Bearer", key),
        }
    }
}

const fn default_stale_after_hours() -> u32 {
    24
}

#[allow(
    clippy::expect_used,
    reason = "a constant, parsed in every test of the form"
)]
fn default_base_url() -> BaseUrl {
    BaseUrl::parse("https://claribi.com").expect("the default address is valid")
}

/// The connector.
#[derive(Debug)]
pub struct Claribi {
    client: Client,
    identity: Identity,
    sign_in: &'static str,
    read_details: bool,
    stale_after: SignedDuration,
}

/// Who asks, as far as the probe has to know.
#[derive(Debug)]
pub(crate) enum Identity {
    /// A key, and clients that send it in the other headers.
    Key {
        style: KeyStyle,
        others: Vec<(KeyStyle, Client)>,
    },
    /// A user.
    User(Arc<Login>),
}

impl Connector for Claribi {
    type Config = Config;

    const ABOUT: About = About {
        id: "claribi",
        name: SERVICE,
        summary: "Reads data sources, reports, dashboards, the account and the usage of the plan.",
        docs: "https://claribi.com/docs/api/reference",
        guide: &[
            GuideStep {
                title: "Open the settings",
                text: "In clariBI, open Settings > Developer > Create API Key. External access to the API may need \
                       the Professional plan or higher.",
            },
            GuideStep {
                title: "Create a key",
                text: "Choose the read-only scope and an expiry date you can track. Copy the key into the form \
                       immediately: it is shown only once.",
            },
            GuideStep {
                title: "Choose who owns the key",
                text: "A key has the role of the person who created it and stops working on its expiry date. Record the \
                       date where your team will see it.",
            },
            GuideStep {
                title: "Or log in with a password",
                text: "Instead of a key, you can use an e-mail address and a password. Accounts with multi-factor \
                       authentication need a key.",
            },
        ],
    };

    fn catalog() -> Vec<StreamSpec> {
        streams::specs()
    }

    fn open(config: &Config, context: &Context) -> Result<Arc<dyn Source>> {
        let client = || {
            Client::builder(SERVICE, &config.base_url, context)
                .rate_limit(RateLimit::per_second(REQUESTS_PER_SECOND))
                .limit_headers(LIMIT_HEADERS)
                .body_limit(BODY_LIMIT)
        };
        let by_key = |style: KeyStyle, key: &Secret| -> Result<_> {
            let others = KeyStyle::ALL.into_iter().filter(|other| *other != style);
            let others = others.map(|other| Ok((other, other.send(client(), key).build()?)));
            let identity = Identity::Key {
                style,
                others: others.collect::<Result<_>>()?,
            };
            Ok((style.send(client(), key).build()?, identity))
        };
        let (client, identity) = match &config.auth {
            Auth::ApiKeyAuthorization { api_key } => {
                by_key(KeyStyle::ApiKeyAuthorization, api_key)?
            }
            Auth::XApiKey { api_key } => by_key(KeyStyle::XApiKey, api_key)?,
            Auth::Bearer { api_key } => by_key(KeyStyle::Bearer, api_key)?,
            Auth::Jwt { email, password } => {
                let login_client = client().secrets(&[password]).build()?;
                let login = Arc::new(Login::new(login_client, email, password));
                let source = login::Tokens(Arc::clone(&login));
                let client = client().tokens(source, &[password]).build()?;
                (client, Identity::User(login))
            }
        };
        let sign_in = match &identity {
            Identity::Key { style, .. } => style.tag(),
            Identity::User(_) => "jwt",
        };
        Ok(Arc::new(Self {
            client,
            identity,
            sign_in,
            read_details: config.read_details,
            stale_after: SignedDuration::from_hours(config.stale_after_hours.into()),
        }))
    }
}

#[async_trait]
impl Source for Claribi {
    async fn probe(&self, probe: &mut Probe) {
        probe::probe(self, probe).await;
    }

    fn streams(&self) -> Vec<Arc<dyn AnyStream>> {
        streams::open(&self.client, self.read_details)
    }

    fn identity(&self) -> Option<headwater::Identity> {
        Some(headwater::Identity::new(self.client.base(), self.sign_in))
    }

    /// Returns the facts of the organization.
    async fn account(&self) -> Result<Option<Vec<String>>> {
        let response = self.client.send(&Request::get(streams::STATUS)).await?;
        Ok(account::facts(self.client.base().as_str(), &response.body))
    }

    async fn allowances(&self) -> Result<Vec<Allowance>> {
        let response = self.client.send(&Request::get(streams::USAGE)).await?;
        Ok(usage::allowances(&usage::fields(&response.body)))
    }
}

register!(Claribi);
