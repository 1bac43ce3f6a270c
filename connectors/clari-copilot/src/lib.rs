#![doc = include_str!("../README.md")]

mod probe;
pub mod records;
mod streams;

use std::sync::Arc;

use async_trait::async_trait;
use headwater::{
    Identity,
    http::{Client, Quota, RateLimit},
    prelude::*,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of the service in sentences.
const SERVICE: &str = "Clari Copilot";
/// The documented default limit.
const REQUESTS_PER_SECOND: u32 = 10;
/// Documented; the week starts on Sunday at 00:00 GMT.
const REQUESTS_PER_WEEK: u32 = 100_000;
/// The service limits responses to 6 MB; decoded responses stay far below this bound.
const BODY_LIMIT: usize = 32 << 20;

/// The fields of the form.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[schemars(
        title = "API Key",
        description = "Sent as the X-Api-Key header.",
        transform = Hint::order(1)
            .help("Workspace Settings > Integrations > Copilot API")
            .guide_step(2)
            .single()
    )]
    api_key: Secret,

    #[schemars(
        title = "API Password",
        description = "Sent as the X-Api-Password header.",
        transform = Hint::order(2)
            .help("Next to the API key. Shown only once, when the pair is created")
            .guide_step(2)
            .single()
            .verbatim()
    )]
    api_password: Secret,

    #[serde(default = "default_base_url")]
    #[schemars(
        title = "Base URL",
        description = "The address of the API. Change it only for a proxy or a simulator.",
        transform = Hint::order(3).advanced()
    )]
    base_url: BaseUrl,

    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        title = "Start date",
        description = "Skip calls and scorecards that last changed before this day. Leave empty to read everything.",
        transform = Hint::order(4)
            .group("Reading options")
            .placeholder("2026-01-31")
            .invalid("must be a date like 2026-01-31")
    )]
    start_date: Option<Date>,

    #[serde(default)]
    #[schemars(
        title = "Include private calls",
        description = "Also read calls marked as private.",
        transform = Hint::order(5).group("Reading options")
    )]
    include_private: bool,

    #[serde(default = "default_requests_per_second")]
    #[schemars(
        title = "Requests per second",
        description = "Maximum API requests per second. Lower it to leave room for other integrations of the \
                       workspace; raise it only if Clari raised your limit of 10.",
        range(min = 1, max = 1000),
        transform = Hint::order(6).group("Reading options").advanced()
    )]
    requests_per_second: u32,
}

const fn default_requests_per_second() -> u32 {
    REQUESTS_PER_SECOND
}

#[allow(
    clippy::expect_used,
    reason = "a constant, parsed in every test of the form"
)]
fn default_base_url() -> BaseUrl {
    BaseUrl::parse("https://rest-api.copilot.clari.com").expect("the default address is valid")
}

/// The connector.
#[derive(Debug)]
pub struct ClariCopilot {
    client: Client,
    identity: Identity,
    options: streams::Options,
}

impl Connector for ClariCopilot {
    type Config = Config;

    const ABOUT: About = About {
        id: "clari-copilot",
        name: SERVICE,
        summary: "Reads calls, transcripts, summaries, scorecards and linked CRM records.",
        docs: "https://api-doc.copilot.clari.com",
        guide: &[
            GuideStep {
                title: "Open the settings",
                text: "In Clari Copilot, open Workspace Settings > Integrations > Copilot API. \
                       This needs an admin or owner role.",
            },
            GuideStep {
                title: "Copy the pair",
                text: "Copy the API key and the API password into the form. The password may be shown only once, \
                       so store it with your team's secrets.",
            },
            GuideStep {
                title: "Check other integrations first",
                text: "A workspace has one pair. Regenerating it stops every integration that uses the old pair, until \
                       you enter the new pair there.",
            },
        ],
    };

    fn catalog() -> Vec<StreamSpec> {
        streams::specs()
    }

    fn open(config: &Config, context: &Context) -> Result<Arc<dyn Source>> {
        let client = Client::builder(SERVICE, &config.base_url, context)
            .secret_header("x-api-key", &config.api_key)
            .secret_header("x-api-password", &config.api_password)
            .rate_limit(RateLimit::per_second(config.requests_per_second))
            .quota(Quota::WeeklyFromSunday(REQUESTS_PER_WEEK))
            .body_limit(BODY_LIMIT)
            .build()?;
        let options = streams::Options::new(config.start_date, config.include_private)?;
        Ok(Arc::new(Self {
            client,
            identity: Identity::new(&config.base_url, ""),
            options,
        }))
    }
}

#[async_trait]
impl Source for ClariCopilot {
    async fn probe(&self, probe: &mut Probe) {
        probe::probe(&self.client, probe).await;
    }

    fn streams(&self) -> Vec<Arc<dyn AnyStream>> {
        streams::open(&self.client, &self.options)
    }

    fn identity(&self) -> Option<Identity> {
        Some(self.identity.clone())
    }

    /// Returns the ids of the workspace's users, which are UUIDs: the key pair itself identifies no account.
    async fn account(&self) -> Result<Option<Vec<String>>> {
        streams::user_ids(&self.client).await.map(Some)
    }
}

register!(ClariCopilot);
