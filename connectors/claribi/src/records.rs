//! The shapes of records, for their schemas and for parsers.
//!
//! The vendor's pages on this interface show only data sources and the account; the other fields are those of its other
//! interfaces. Every field is optional, enums are open, and unlisted fields pass.

use std::borrow::Cow;

use headwater::DataClass;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An identifier: a number in some of the vendor's pages, a UUID in others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A number.
    Number(serde_json::Number),
    /// A UUID or other text.
    Text(String),
}

impl JsonSchema for Id {
    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"] })
    }
}

/// A connected data source.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct DataSource {
    /// Identifier.
    pub id: Option<Id>,
    /// Name.
    pub name: Option<String>,
    /// Kind of source.
    #[schemars(extend("examples" = ["database", "api", "file", "cloud"]))]
    pub r#type: Option<String>,
    /// Kind of source, under the name of the vendor's other interfaces.
    pub source_type: Option<String>,
    /// The product of the source.
    #[schemars(extend("examples" = ["postgresql", "google_analytics"]))]
    pub engine: Option<String>,
    /// Status.
    #[schemars(extend("examples" = ["active", "paused", "error", "preprocessing"]))]
    pub status: Option<String>,
    /// When it was last synced; null before the first sync.
    #[schemars(extend("format" = "date-time"))]
    pub last_synced_at: Option<String>,
    /// The same, under the name of the vendor's other interfaces.
    #[schemars(extend("format" = "date-time"))]
    pub last_sync_at: Option<String>,
    /// When it was connected.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: Option<String>,
    /// When it was last changed. In details.
    #[schemars(extend("format" = "date-time"))]
    pub updated_at: Option<String>,
    /// The error. In details.
    #[schemars(transform = DataClass::FreeText)]
    pub error_message: Option<String>,
    /// Number of rows, where known. In details.
    pub row_count: Option<f64>,
    /// How often it is synced. In details.
    pub sync_schedule: Option<String>,
}

/// A generated report.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Identifier.
    pub id: Option<Id>,
    /// Title.
    pub title: Option<String>,
    /// Title, under the name of some pages.
    pub name: Option<String>,
    /// Description.
    #[schemars(transform = DataClass::FreeText)]
    pub description: Option<String>,
    /// State of the report.
    #[schemars(extend("examples" = ["pending", "generating", "completed", "failed", "cancelled"]))]
    pub status: Option<String>,
    /// Format of the file.
    #[schemars(extend("examples" = ["pdf"]))]
    pub output_format: Option<String>,
    /// Link to the file of a completed report. Needs the credentials.
    pub download_url: Option<String>,
    /// The report's page in the product.
    pub web_url: Option<String>,
    /// First day of the report.
    #[schemars(extend("format" = "date"))]
    pub report_period_start: Option<String>,
    /// Last day of the report.
    #[schemars(extend("format" = "date"))]
    pub report_period_end: Option<String>,
    /// The contents, in blocks. In details.
    #[schemars(transform = DataClass::FreeText)]
    pub insights: Option<Value>,
    /// Quality of its data. In details.
    pub data_quality_metrics: Option<Value>,
    /// When it was ordered.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: Option<String>,
    /// When it last changed.
    #[schemars(extend("format" = "date-time"))]
    pub updated_at: Option<String>,
    /// When it was finished.
    #[schemars(extend("format" = "date-time"))]
    pub completed_at: Option<String>,
}

/// A dashboard.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Dashboard {
    /// Identifier.
    pub id: Option<Id>,
    /// Name.
    pub name: Option<String>,
    /// Description.
    #[schemars(transform = DataClass::FreeText)]
    pub description: Option<String>,
    /// Status.
    pub status: Option<String>,
    /// Whether it can be seen without an account.
    pub is_public: Option<bool>,
    /// How many widgets it has.
    pub widget_count: Option<i64>,
    /// The dashboard's page in the product.
    pub web_url: Option<String>,
    /// When its data were last refreshed.
    #[schemars(extend("format" = "date-time"))]
    pub last_refresh: Option<String>,
    /// When it was created.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: Option<String>,
    /// When it was last changed.
    #[schemars(extend("format" = "date-time"))]
    pub updated_at: Option<String>,
    /// Layout and widgets. In details.
    pub configuration: Option<Value>,
    /// Analysis behind the dashboard. In details.
    pub analysis_metadata: Option<Value>,
}

/// The user and the organization of the credentials.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-headwater" = { "key": "composed" }))]
pub struct AccountStatus {
    /// Time of the response, by clariBI's clock. Added by the connector.
    #[schemars(extend("format" = "date-time"))]
    pub fetched_at: Option<String>,
    /// The user of the credentials.
    pub user: Option<User>,
    /// The user's organization.
    pub organization: Option<Organization>,
}

/// A user.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Identifier.
    pub id: Option<Id>,
    /// E-mail address.
    #[schemars(transform = DataClass::Email)]
    pub email: Option<String>,
    /// First name.
    #[schemars(transform = DataClass::PersonName)]
    pub first_name: Option<String>,
    /// Last name.
    #[schemars(transform = DataClass::PersonName)]
    pub last_name: Option<String>,
    /// Role.
    #[schemars(extend("examples" = ["administrator"]))]
    pub role: Option<String>,
}

/// An organization.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Organization {
    /// Identifier.
    pub id: Option<Id>,
    /// Name.
    pub name: Option<String>,
    /// Plan.
    #[schemars(extend("examples" = ["trial", "lite", "starter", "professional", "enterprise"]))]
    pub plan: Option<String>,
    /// AI credits left in this period.
    pub ai_credits_remaining: Option<f64>,
}

/// The use of the plan's limits.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-headwater" = { "key": "composed" }))]
pub struct BillingUsage {
    /// Time of the response, by clariBI's clock. Added by the connector.
    #[schemars(extend("format" = "date-time"))]
    pub fetched_at: Option<String>,
    /// Plan.
    #[schemars(extend("examples" = ["trial", "lite", "starter", "professional", "enterprise"]))]
    pub subscription_tier: Option<String>,
    /// State of the subscription.
    pub subscription_status: Option<String>,
    /// AI credits used in this period.
    pub ai_credits_used: Option<f64>,
    /// AI credits per period.
    pub ai_credits_limit: Option<f64>,
    /// AI credits left in this period.
    pub ai_credits_remaining: Option<f64>,
    /// Data sources connected.
    pub data_sources_used: Option<f64>,
    /// Data sources included in the plan.
    pub data_sources_limit: Option<f64>,
    /// Users of the organization.
    pub users_used: Option<f64>,
    /// Users included in the plan.
    pub max_users: Option<f64>,
    /// Storage used.
    pub storage_gb_used: Option<f64>,
    /// Storage included in the plan.
    pub storage_gb_limit: Option<f64>,
    /// First day of the period.
    #[schemars(extend("format" = "date"))]
    pub period_start: Option<String>,
    /// Last day of the period.
    #[schemars(extend("format" = "date"))]
    pub period_end: Option<String>,
    /// End of a trial.
    #[schemars(extend("format" = "date-time"))]
    pub trial_ends_at: Option<String>,
}
