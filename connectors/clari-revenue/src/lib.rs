#![doc = include_str!("../README.md")]

mod activities;
mod audit;
mod forecasts;
mod jobs;
mod limits;
mod opportunities;
mod probe;
mod profiles;
pub mod records;
mod streams;

use std::sync::Arc;

use async_trait::async_trait;
use headwater::{Allowance, Identity, prelude::*};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use profiles::Profiles;

/// The name of the service in sentences.
const SERVICE: &str = "Clari";
/// The documented limit per token.
const REQUESTS_PER_SECOND: u32 = 100;

/// The fields of the form.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[schemars(
        title = "API Key",
        description = "The API token of a Clari user. It has that user's access and stops working when the user is deactivated.",
        transform = Hint::order(1)
            .help("In Clari: your profile > Settings > API tokens. A token is shown only once, when it is created")
            .guide_step(2)
    )]
    api_key: Secret,

    #[serde(default = "profiles::default_base_url")]
    #[schemars(
        title = "Base URL",
        description = "The address of the API with its version. Change it only if your account uses another address.",
        transform = Hint::order(2).advanced()
    )]
    base_url: BaseUrl,

    #[serde(default)]
    #[schemars(
        title = "Authentication",
        description = "How to send the key. With automatic, the test finds the right header; apply its suggestion before \
                       the first sync.",
        transform = Hint::order(3).advanced()
    )]
    auth_profile: AuthProfile,

    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        title = "Forecast ids",
        description = "The forecasts to read, such as net_arr. The key's user must be opted in to each of them.",
        inner(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$")),
        transform = Hint::order(4)
            .group("Reading options")
            .help("Open a Forecast Tab in Clari; the id is the last part of its address")
            .invalid("must be forecast ids of letters, digits, _ and -, as in the address of a Forecast Tab")
            .guide_step(3)
    )]
    forecast_ids: Vec<String>,

    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        title = "Fiscal periods",
        description = "The fiscal quarters to read, such as 2026_Q4. Each quarter costs one export job per forecast in \
                       every run. Leave empty to read the current quarter.",
        inner(regex(pattern = "^[0-9]{4}_Q[1-4]$")),
        transform = Hint::order(5)
            .group("Reading options")
            .placeholder("2026_Q3, 2026_Q4")
            .invalid("must be fiscal quarters like 2026_Q4")
    )]
    fiscal_periods: Vec<String>,

    #[serde(default)]
    #[schemars(
        title = "History",
        description = "The weeks of a quarter to read: every week so far, with an export job, or the current week only, \
                       without a job.",
        transform = Hint::order(6).group("Reading options")
    )]
    history: History,

    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        title = "Currency",
        description = "Convert amounts to this currency, such as USD. Leave empty to use Clari's setting.",
        regex(pattern = "^[A-Z]{3}$"),
        transform = Hint::order(7)
            .group("Reading options")
            .placeholder("USD")
            .invalid("must be a currency code of three capital letters, like USD")
    )]
    currency: Option<String>,

    #[serde(default = "default_export_types")]
    #[schemars(
        title = "Which values to export",
        description = "The values of each forecast entry. Clari may refuse the CRM values in exports.",
        length(min = 1),
        transform = Hint::order(8).group("Reading options")
    )]
    export_types: Vec<ExportType>,

    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        title = "Activities since",
        description = "The first day of activities to read. Leave empty to start one year before the first run.",
        transform = Hint::order(9)
            .group("Reading options")
            .placeholder("2026-01-31")
            .invalid("must be a date like 2026-01-31")
    )]
    activities_since: Option<Date>,

    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        title = "Opportunity ids",
        description = "CRM ids of the opportunities to read. Clari cannot list them.",
        inner(length(min = 1)),
        transform = Hint::order(10).group("Reading options").advanced()
    )]
    opportunity_ids: Vec<String>,

    #[serde(default)]
    #[schemars(
        title = "Opportunities of activities",
        description = "Without opportunity ids: also read the opportunities linked to activities.",
        transform = Hint::order(11).group("Reading options")
    )]
    opportunities_of_activities: bool,

    #[serde(default)]
    #[schemars(
        title = "Audit export after days",
        description = "Read audit events with an export job if they span more than this number of days, otherwise page by \
                       page. 0: always page by page.",
        range(max = 30),
        transform = Hint::order(12).group("Reading options").advanced()
    )]
    audit_export_days: u32,

    #[serde(default = "default_requests_per_second")]
    #[schemars(
        title = "Requests per second",
        description = "Maximum API requests per second. Lower it to leave room for other integrations with this key; Clari \
                       allows 100.",
        range(min = 1, max = 1000),
        transform = Hint::order(13).group("Reading options").advanced()
    )]
    requests_per_second: u32,

    #[serde(default)]
    #[schemars(
        title = "Clari-side retries",
        description = "How often Clari itself repeats a failed forecast export, half an hour apart.",
        transform = Hint::order(14).group("Export jobs").advanced()
    )]
    server_retries: ServerRetries,

    #[serde(default = "default_job_attempts")]
    #[schemars(
        title = "Export attempts",
        description = "Maximum number of jobs per export in one run, if jobs fail. Each job counts against the monthly quota.",
        range(min = 1, max = 5),
        transform = Hint::order(15).group("Export jobs").advanced()
    )]
    job_attempts: u32,

    #[serde(default = "default_job_minutes")]
    #[schemars(
        title = "Export timeout (minutes)",
        description = "How long a run waits for a job. The job continues, and a later run reads its result.",
        range(min = 1, max = 1440),
        transform = Hint::order(16).group("Export jobs").advanced()
    )]
    job_minutes: u32,
}

/// How to send the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthProfile {
    /// Automatic: the test finds the right header
    #[default]
    Automatic,
    /// Header apikey, under /v4
    Apikey,
    /// Authorization: Bearer, under /v1
    Bearer,
}

/// How much of a quarter to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Every week of the quarter so far
    #[default]
    AllWeeks,
    /// The current week only
    CurrentWeek,
}

/// A value of a forecast entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportType {
    /// Forecast call
    Forecast,
    /// Quotas
    Quota,
    /// Call updated or not
    ForecastUpdated,
    /// Manager adjustments
    Adjustment,
    /// CRM total
    CrmTotal,
    /// CRM closed
    CrmClosed,
}

impl ExportType {
    const fn name(self) -> &'static str {
        match self {
            Self::Forecast => "forecast",
            Self::Quota => "quota",
            Self::ForecastUpdated => "forecast_updated",
            Self::Adjustment => "adjustment",
            Self::CrmTotal => "crm_total",
            Self::CrmClosed => "crm_closed",
        }
    }
}

/// How often Clari repeats a failed export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerRetries {
    /// Never
    #[default]
    None,
    /// Once
    Once,
    /// Three times
    Max,
}

fn default_export_types() -> Vec<ExportType> {
    vec![ExportType::Forecast, ExportType::ForecastUpdated]
}

const fn default_job_attempts() -> u32 {
    2
}

const fn default_job_minutes() -> u32 {
    60
}

const fn default_requests_per_second() -> u32 {
    REQUESTS_PER_SECOND
}

/// The connector.
#[derive(Debug)]
pub struct ClariRevenue {
    profiles: Profiles,
    config: Config,
}

impl Connector for ClariRevenue {
    type Config = Config;

    const ABOUT: About = About {
        id: "clari-revenue",
        name: "Clari Revenue",
        summary: "Reads forecasts by week and quarter, activities, audit events and opportunities.",
        docs: "https://developer.clari.com",
        guide: &[
            GuideStep {
                title: "Choose the user",
                text: "A token has the rights of its user and stops working when that user is deactivated. Choose a user at \
                       the top of the hierarchy who is opted in to the forecasts, ideally a service user.",
            },
            GuideStep {
                title: "Create a token",
                text: "In Clari, open your profile > Settings > API tokens, generate a new token and copy it into the \
                       form. It is shown only once. If the page is missing, ask Clari for access to the API.",
            },
            GuideStep {
                title: "Note the forecast ids",
                text: "Open each Forecast Tab that you want to read. Its id is the last part of the address, \
                       app.clari.com/forecast/ID.",
            },
        ],
    };

    fn catalog() -> Vec<StreamSpec> {
        streams::catalog()
    }

    fn open(config: &Config, context: &Context) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Self {
            profiles: Profiles::new(config, context)?,
            config: config.clone(),
        }))
    }
}

/// Returns the error of a read before a test has found the profile of the key. A read never guesses.
fn undecided() -> Error {
    Error::new(
        Kind::ConfigInvalid,
        "the header for this key is not known yet: the field auth_profile is automatic. Test the credentials (headwater \
         check clari-revenue) and store the profile that the test suggests",
    )
}

#[async_trait]
impl Source for ClariRevenue {
    async fn probe(&self, probe: &mut Probe) {
        probe::probe(&self.profiles, &self.config, probe).await;
    }

    async fn allowances(&self) -> Result<Vec<Allowance>> {
        limits::allowances(self.profiles.chosen().ok_or_else(undecided)?).await
    }

    fn identity(&self) -> Option<Identity> {
        let profile = self.profiles.candidates.first()?;
        let sign_in = match profile.name {
            AuthProfile::Bearer => "bearer",
            AuthProfile::Apikey | AuthProfile::Automatic => "apikey",
        };
        Some(Identity::new(profile.client.base(), sign_in))
    }

    /// Returns the users who started the visible jobs. Their numbers are unique at one address only.
    async fn account(&self) -> Result<Option<Vec<String>>> {
        let client = self.profiles.chosen().ok_or_else(undecided)?;
        let users = jobs::users(client).await?;
        let fact = |user| format!("{} {user}", client.base());
        Ok(Some(users.into_iter().map(fact).collect()))
    }

    fn streams(&self) -> Vec<Arc<dyn AnyStream>> {
        match self.profiles.chosen() {
            Some(client) => streams::open(client, &self.config),
            None => streams::undecided(&self.config),
        }
    }
}

register!(ClariRevenue);
