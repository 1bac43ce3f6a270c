//! The shapes of records, for their schemas.
//!
//! The source is the fields that production code reads, then the vendor's OpenAPI document. Every field is optional:
//! the export types decide which fields exist. Unlisted fields pass too.
#![allow(non_snake_case, reason = "fields are named as the service names them")]

use headwater::DataClass;
use schemars::JsonSchema;
use serde_json::Value;

/// The forecast of one user for one field in one week.
#[derive(JsonSchema)]
pub struct ForecastEntry {
    /// The requested forecast; added by Headwater, since the service does not repeat it.
    pub forecastId: Option<String>,
    /// The field.
    pub fieldId: Option<String>,
    /// The fiscal quarter, such as `2026_Q4`.
    pub timePeriodId: Option<String>,
    /// The week, such as `TF:2026-11-18`.
    pub timeFrameId: Option<String>,
    /// The user.
    pub userId: Option<String>,
    /// The call.
    #[schemars(transform = DataClass::Money)]
    pub forecastValue: Option<f64>,
    /// The currency of the amounts.
    pub currency: Option<Currency>,
    /// Whether the user has updated the call.
    pub isUpdated: Option<bool>,
    /// Who updated it.
    pub updatedBy: Option<String>,
    /// When, in milliseconds.
    pub updatedOn: Option<i64>,
    /// The quota.
    #[schemars(transform = DataClass::Money)]
    pub quotaValue: Option<f64>,
    /// The manager's adjustment.
    #[schemars(transform = DataClass::Money)]
    pub adjustmentValue: Option<f64>,
    /// Who adjusted it.
    pub adjustedBy: Option<String>,
    /// When, in milliseconds.
    pub adjustedOn: Option<i64>,
    /// The CRM total.
    #[schemars(transform = DataClass::Money)]
    pub aggregationTotal: Option<f64>,
}

/// A currency.
#[derive(JsonSchema)]
pub struct Currency {
    /// ISO code.
    pub code: Option<String>,
    /// Sign.
    pub symbol: Option<String>,
}

/// A user whose forecast was read.
#[derive(JsonSchema)]
pub struct ForecastUser {
    /// Identifier.
    pub userId: Option<String>,
    /// Full name.
    #[schemars(transform = DataClass::PersonName)]
    pub name: Option<String>,
    /// E-mail address.
    #[schemars(transform = DataClass::Email)]
    pub email: Option<String>,
    /// Identifier in the CRM.
    pub crmId: Option<String>,
    /// The scope below the user: text, or an object.
    pub scopeId: Option<Value>,
    /// Role in the hierarchy.
    pub hierarchyId: Option<String>,
    /// Name of the role.
    pub hierarchyName: Option<String>,
    /// The role above.
    pub parentHierarchyId: Option<String>,
    /// Its name.
    pub parentHierarchyName: Option<String>,
}

/// A field of a forecast.
#[derive(JsonSchema)]
pub struct ForecastField {
    /// Identifier.
    pub fieldId: Option<String>,
    /// Name.
    pub fieldName: Option<String>,
    /// Kind of field.
    pub fieldType: Option<String>,
}

/// A fiscal quarter.
#[derive(JsonSchema)]
pub struct TimePeriod {
    /// Identifier, such as `2026_Q4`.
    pub timePeriodId: Option<String>,
    /// `quarter`.
    pub r#type: Option<String>,
    /// Name.
    pub label: Option<String>,
    /// Fiscal year, as text.
    pub year: Option<String>,
    /// First day.
    pub startDate: Option<String>,
    /// Last day.
    pub endDate: Option<String>,
    /// Identifier in the CRM.
    pub crmId: Option<String>,
}

/// A week. The first one of a quarter may begin before the quarter.
#[derive(JsonSchema)]
pub struct TimeFrame {
    /// Identifier, such as `TF:2026-11-18`.
    pub timeFrameId: Option<String>,
    /// First day.
    pub startDate: Option<String>,
    /// Last day.
    pub endDate: Option<String>,
}

/// A meeting, e-mail or attachment.
#[derive(JsonSchema)]
pub struct Activity {
    /// Identifier.
    pub activityId: Option<String>,
    /// Kind of activity.
    #[schemars(extend("examples" = ["MEETING", "EMAIL_SENT", "EMAIL_RECEIVED", "ATTACHMENT_SENT", "ATTACHMENT_RECEIVED"]))]
    pub activityType: Option<String>,
    /// Subject line.
    #[schemars(transform = DataClass::FreeText)]
    pub subject: Option<String>,
    /// When, in milliseconds; a number, or the same as text.
    pub date: Option<NumberOrText>,
    /// Owner of the activity.
    pub activityOwnerId: Option<String>,
    /// Who organised it.
    pub activityOrganiserId: Option<String>,
    /// Linked accounts.
    pub accounts: Option<Vec<ActivityAccount>>,
    /// Linked opportunities.
    pub opportunities: Option<Vec<ActivityOpportunity>>,
    /// People who took part.
    pub participants: Option<Vec<ActivityParticipant>>,
}

/// A number, or the same as text.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum NumberOrText {
    /// As a number.
    Number(i64),
    /// As text.
    Text(String),
}

/// An account linked to an activity.
#[derive(JsonSchema)]
pub struct ActivityAccount {
    /// Identifier in the CRM.
    pub accountId: Option<String>,
    /// Name of the company.
    pub accountName: Option<String>,
    /// Owner in the CRM.
    pub accountOwnerId: Option<String>,
}

/// An opportunity linked to an activity.
#[derive(JsonSchema)]
pub struct ActivityOpportunity {
    /// Identifier in the CRM.
    pub opportunityId: Option<String>,
    /// Name.
    pub opportunityName: Option<String>,
    /// Owner in the CRM.
    pub opportunityOwnerId: Option<String>,
}

/// A person who took part in an activity.
#[derive(JsonSchema)]
pub struct ActivityParticipant {
    /// Full name.
    #[schemars(transform = DataClass::PersonName)]
    pub name: Option<String>,
    /// E-mail address.
    #[schemars(transform = DataClass::Email)]
    pub email: Option<String>,
    /// Identifier in Salesforce; empty for people from outside.
    pub sfdcUserId: Option<String>,
    /// Whether the person belongs to the company.
    pub isInternal: Option<bool>,
}

/// An opportunity's fields.
#[derive(JsonSchema)]
pub struct Opportunity {
    /// Identifier in the CRM.
    pub id: Option<String>,
    /// Clari's score.
    pub crmScore: Option<CrmScore>,
    /// The fields.
    pub fields: Option<Vec<OpportunityField>>,
}

/// Clari's score of an opportunity.
#[derive(JsonSchema)]
pub struct CrmScore {
    /// Its meaning.
    pub message: Option<String>,
    /// The score.
    pub score: Option<i64>,
}

/// A field of an opportunity.
#[derive(JsonSchema)]
pub struct OpportunityField {
    /// Identifier, such as `opportunity.amount`.
    pub id: Option<String>,
    /// Name.
    pub alias: Option<String>,
    /// Picture.
    #[schemars(transform = DataClass::SignedUrl)]
    pub imageUrl: Option<String>,
    /// Changes of the value.
    pub trendHistory: Option<Vec<Trend>>,
    /// Direction of the value.
    pub trend: Option<Value>,
    /// The value, of any type.
    #[schemars(transform = DataClass::FreeText)]
    pub value: Option<Value>,
    /// The value before conversion, of any type.
    #[schemars(transform = DataClass::FreeText)]
    pub originalValue: Option<Value>,
}

/// One change of a field.
#[derive(JsonSchema)]
pub struct Trend {
    /// Before, of any type.
    #[schemars(transform = DataClass::FreeText)]
    pub oldValue: Option<Value>,
    /// After, of any type.
    #[schemars(transform = DataClass::FreeText)]
    pub newValue: Option<Value>,
    /// When, in milliseconds.
    pub date: Option<i64>,
}

/// An action of a user in Clari.
#[derive(JsonSchema)]
#[schemars(extend("x-headwater" = { "key": "composed" }))]
pub struct AuditEvent {
    /// Identifier shared by related events.
    pub correlationID: Option<String>,
    /// The actor.
    pub actorId: Option<String>,
    /// The user who acted in the actor's name.
    pub impersonatingActorId: Option<String>,
    /// `USER`, `SYSTEM` or `JOB`.
    pub actorType: Option<String>,
    /// The session, a UUID.
    pub sessionId: Option<String>,
    /// Network address.
    pub ipAddress: Option<String>,
    /// `WEB`, `IOS` or `ANDROID`.
    pub sessionType: Option<String>,
    /// The action, such as `api.accessed`.
    pub event: Option<String>,
    /// Parameters of the action.
    #[schemars(transform = DataClass::FreeText)]
    pub eventParameters: Option<Value>,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub eventTimestamp: Option<String>,
}

/// An actor of audit events.
#[derive(JsonSchema)]
pub struct AuditActor {
    /// Identifier.
    pub actorId: Option<String>,
    /// `USER`, `SYSTEM` or `JOB`.
    pub actorType: Option<String>,
    /// Full name.
    #[schemars(transform = DataClass::PersonName)]
    pub name: Option<String>,
    /// E-mail address.
    #[schemars(transform = DataClass::Email)]
    pub email: Option<String>,
}

/// An export job.
#[derive(JsonSchema)]
pub struct ExportJob {
    /// Identifier.
    pub jobId: Option<String>,
    /// Who ordered it.
    pub userId: Option<i64>,
    /// The organisation.
    pub orgId: Option<i64>,
    /// Title.
    pub title: Option<String>,
    /// The exported module.
    pub module: Option<String>,
    /// When it began, in milliseconds.
    pub startTime: Option<i64>,
    /// When it ended, in milliseconds.
    pub endTime: Option<i64>,
    /// When the result expires, in milliseconds.
    pub expiredTime: Option<i64>,
    /// Version.
    pub version: Option<i64>,
    /// Name of the result's file.
    pub fileName: Option<String>,
    /// `JSON` or `CSV`.
    pub fileType: Option<String>,
    /// Status.
    #[schemars(extend("examples" = ["SCHEDULED", "STARTED", "DONE", "FAILED", "CANCELLED", "ABORTED"]))]
    pub status: Option<String>,
    /// Whether a user has viewed it.
    pub viewed: Option<bool>,
    /// Whether cells were cut off.
    pub cellsTruncated: Option<bool>,
    /// Whether rows were cut off.
    pub rowsTruncated: Option<bool>,
    /// How often it was downloaded.
    pub downloads: Option<i64>,
    /// Status of the delivery.
    pub deliveryStatusMap: Option<Value>,
    /// Currency of the amounts.
    pub currency: Option<String>,
}

/// The limits of export jobs.
#[derive(JsonSchema)]
#[schemars(extend("x-headwater" = { "key": "composed" }))]
pub struct LimitsSnapshot {
    /// Time of the response; added by Headwater.
    #[schemars(extend("format" = "date-time"))]
    pub fetched_at: String,
    /// Maximum of concurrent jobs.
    pub concurrentLimit: Option<i64>,
    /// Maximum of jobs in 30 days.
    pub monthlyQuota: Option<i64>,
    /// Running jobs; absent without any.
    pub runningJobIds: Option<Vec<String>>,
    /// Jobs that count against the 30 days.
    pub submittedJobIds: Option<Vec<String>>,
    /// Remaining concurrent jobs.
    pub availableConcurrentLimit: Option<i64>,
    /// Remaining jobs of the 30 days.
    pub availableMonthlyQuota: Option<i64>,
}
