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

/// The name in sentences.
const SERVICE: &str = "clariBI";
/// Only hourly limits are documented. This keeps a full hour from being used up in a burst of a second.
const REQUESTS_PER_SECOND: u32 = 10;
/// A page holds a hundred records at most; decoded, nothing comes near this.
const BODY_LIMIT: usize = 32 << 20;
/// Documented, and learned from every answer: how much an hour allows depends on the plan.
const LIMIT_HEADERS: LimitHeaders = LimitHeaders {
    remaining: "x-ratelimit-remaining",
    reset: "x-ratelimit-reset",
};

/// What the form asks for.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[schemars(
        title = "Authentication",
        description = "How clariBI is told who asks. The check finds out which header takes your key.",
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
        title = "Read details",
        description = "Read each item on its own for the fields that lists leave out. This costs one request per item, \
                       and a plan allows 60 to 5,000 requests an hour.",
        transform = Hint::order(3).group("Reading options")
    )]
    read_details: bool,

    #[serde(default = "default_stale_after_hours")]
    #[schemars(
        title = "Stale after hours",
        description = "The check warns of data sources that were not synced for longer than this.",
        range(min = 1, max = 8760),
        transform = Hint::order(4).group("Reading options")
    )]
    stale_after_hours: u32,
}

/// The ways to authenticate. The vendor's pages name three headers for a key.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "style", rename_all = "snake_case", deny_unknown_fields)]
enum Auth {
    #[schemars(
        title = "Api-Key header",
        description = "For a key, sent as clariBI's pages say.",
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
        description = "For a key that the check finds to be taken like this."
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
        description = "For a key that the check finds to be taken like this."
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
        description = "For those who cannot make a key. Not with multi-factor authentication."
    )]
    Jwt {
        #[schemars(
            title = "E-mail",
            description = "The address that you log in with. An account with multi-factor authentication cannot be \
                           used like this: nobody is there to type the code.",
            length(min = 1, max = 254),
            transform = Hint::order(1).placeholder("reader@example.com")
        )]
        email: String,
        #[schemars(
            title = "Password",
            description = "The password of that account; take one that may only read. It is exchanged for a token at \
                           each run, and the token is not kept.",
            transform = any_characters,
            transform = Hint::order(2)
                .help("the one that you log in to clariBI with")
                .guide_step(4)
                .verbatim()
        )]
        password: Secret,
    },
}

fn api_key_hint() -> Hint {
    Hint::order(1)
        .help("Settings > Developer > Create API Key; the key is shown once")
        .guide_step(2)
        .known_prefix("claribi_sk_")
}

/// A password travels in a body, not in a header, and may hold anything.
fn any_characters(schema: &mut Schema) {
    schema.remove("pattern");
}

/// The headers that a key can be sent in.
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
                text: "In clariBI, open Settings > Developer > Create API Key. External access to the API may need a \
                       plan from Professional up.",
            },
            GuideStep {
                title: "Create a key",
                text: "Give it the read-only scope, which is enough, and an expiry that you will remember. Copy the key \
                       into the form at once: it is shown this one time.",
            },
            GuideStep {
                title: "Mind whose key it is",
                text: "A key has the role of the person who created it and stops working on its expiry date. Note the date \
                       where your team will see it.",
            },
            GuideStep {
                title: "Or log in with a password",
                text: "Instead of a key, an e-mail address and a password can be used. Accounts with multi-factor \
                       authentication cannot log in like this; they need a key.",
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
                let asked_by = client().secrets(&[password]).build()?;
                let login = Arc::new(Login::new(asked_by, email, password));
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

    /// The organization.
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
