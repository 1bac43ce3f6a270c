//! The shapes of records, for their schemas and for parsers.
//!
//! The source is the vendor's OpenAPI document, corrected where live responses differ. Every field is optional: the
//! service leaves out unknown values or sends null. Enums are open: the documentation names known values, others pass.
//! Unlisted fields pass too.
#![allow(
    non_snake_case,
    reason = "the service mixes two spellings; fields are named as it names them"
)]

use headwater::DataClass;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A current user of the workspace.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Identifier, a UUID.
    pub id: Option<String>,
    /// E-mail address.
    #[schemars(transform = DataClass::Email)]
    pub email: Option<String>,
    /// Full name.
    #[schemars(transform = DataClass::PersonName)]
    pub name: Option<String>,
    /// Role.
    #[schemars(extend("examples" = ["REP", "MANAGER", "OBSERVER"]))]
    pub role: Option<String>,
    /// Whether the user's calls are recorded.
    pub is_recording: Option<bool>,
    /// The manager's user id; absent without a manager.
    pub manager_id: Option<String>,
}

/// A scheduled or recorded call.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// Identifier, a UUID.
    pub id: Option<String>,
    /// Identifier in the system that the call came from.
    pub source_id: Option<String>,
    /// Title.
    #[schemars(transform = DataClass::FreeText)]
    pub title: Option<String>,
    /// Users of the workspace who take part.
    pub users: Option<Vec<CallUser>>,
    /// Invited people from outside.
    pub externalParticipants: Option<Vec<Participant>>,
    /// People who joined; may hold names only.
    pub joinedParticipants: Option<Vec<Participant>>,
    /// State of the call. `last_modified_time` changes together with it.
    #[schemars(extend("examples" = ["SCHEDULED", "INITIATED", "INPROGRESS", "WAITING_IN_QUEUE", "PROCESSING", "PROCESSED", "ERROR_IN_TRANSCRIBE", "ERROR_IN_PROCESSING", "ERROR_IN_RECORDING", "UNABLE_TO_JOIN", "CALL_DID_NOT_HAPPEN", "IGNORED_BY_USER", "BOTJOIN_DISABLED", "POST_PROCESSING_DONE", "NO_DATA_INCALL", "NOBODY_JOINED_CALL", "BOTJOIN_DENIED"]))]
    pub status: Option<String>,
    /// Why the recorder did not join; often empty.
    pub bot_not_join_reason: Option<Vec<String>>,
    /// Where the call was held, or how it was uploaded.
    #[schemars(extend("examples" = ["ZOOM", "GOOGLE_MEET", "FRESHCALLER", "AIRCALL_RECORDING", "RINGCENTRAL", "GOTO_MEETING", "OUTREACH", "HUBSPOT", "BLUE_JEANS", "SALESLOFT", "MS_TEAMS", "DIALPAD", "FRONTSPIN", "TALKDESK", "RECORDING", "VENDASTA", "KNOWLARITY", "CALL_HIPPO", "RINGOVER"]))]
    pub r#type: Option<String>,
    /// Scheduled time, or start for dialled calls.
    #[schemars(extend("format" = "date-time"))]
    pub time: Option<String>,
    /// Calendar event identifier. It has the form of an e-mail address, and with some calendars is made of one.
    #[schemars(transform = DataClass::Email)]
    pub icaluid: Option<String>,
    /// Calendar identifier; with some calendars their owner's e-mail address.
    #[schemars(transform = DataClass::Email)]
    pub calendar_id: Option<String>,
    /// The series that the event belongs to.
    pub recurring_event_id: Option<String>,
    /// Start before the event was moved.
    #[schemars(extend("format" = "date-time"))]
    pub original_start_time: Option<String>,
    /// When the status last changed.
    #[schemars(extend("format" = "date-time"))]
    pub last_modified_time: Option<String>,
    /// Signed link, valid for four hours; null unless requested.
    #[schemars(transform = DataClass::SignedUrl)]
    pub audio_url: Option<String>,
    /// Signed link, valid for four hours; null unless requested.
    #[schemars(transform = DataClass::SignedUrl)]
    pub video_url: Option<String>,
    /// How the call went.
    #[schemars(extend("examples" = ["UNKNOWN_CALL_DISPOSITION", "CALL_CONNECTED_WITH_PROSPECT", "CALL_DID_NOT_CONNECT_WITH_PROSPECT", "CALL_NOBODY_JOINED", "CALL_BOTJOIN_DENIED"]))]
    pub disposition: Option<String>,
    /// Name of the deal.
    pub deal_name: Option<String>,
    /// Value of the deal, as text.
    #[schemars(transform = DataClass::Money)]
    pub deal_value: Option<String>,
    /// When the deal should close.
    #[schemars(extend("format" = "date-time"))]
    pub deal_close_date: Option<String>,
    /// Stage of the deal before the call.
    pub deal_stage_before_call: Option<String>,
    /// Name of the account.
    pub account_name: Option<String>,
    /// Names of the contacts.
    #[schemars(transform = DataClass::PersonName)]
    pub contact_names: Option<Vec<String>>,
    /// Identifiers in the CRM.
    pub crm_info: Option<CrmInfo>,
    /// Marked moments.
    pub bookmark_timestamps: Option<Vec<String>>,
    /// Measurements of the conversation.
    pub metrics: Option<Metrics>,
    /// The call's page in the product.
    pub call_review_page_url: Option<String>,
}

/// A call with its transcript, summary and competitor sentiments.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CallDetails {
    /// The fields that the list of calls has too.
    #[serde(flatten)]
    pub call: Call,
    /// Stage of the deal now.
    pub deal_stage_live: Option<String>,
    /// The transcript; missing or empty until the call is processed.
    pub transcript: Option<Vec<Turn>>,
    /// The summary.
    pub summary: Option<Summary>,
    /// Statements about competitors.
    pub competitor_sentiments: Option<Vec<CompetitorSentiment>>,
}

/// A user of the workspace in a call.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CallUser {
    /// User id.
    pub userId: Option<String>,
    /// E-mail address.
    #[schemars(transform = DataClass::Email)]
    pub userEmail: Option<String>,
    /// Whether the user organised the call.
    pub isOrganizer: Option<bool>,
    /// Speaker number in the transcript.
    pub personId: Option<i64>,
}

/// A person from outside in a call.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Participant {
    /// Name.
    #[schemars(transform = DataClass::PersonName)]
    pub name: Option<String>,
    /// E-mail address.
    #[schemars(transform = DataClass::Email)]
    pub email: Option<String>,
    /// Phone number.
    #[schemars(transform = DataClass::Phone)]
    pub phone: Option<String>,
    /// Speaker number in the transcript.
    pub personId: Option<i64>,
}

/// The CRM records linked to a call. The ids are those of the CRM.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CrmInfo {
    /// The CRM.
    pub source_crm: Option<String>,
    /// Deal id.
    pub deal_id: Option<String>,
    /// Account id.
    pub account_id: Option<String>,
    /// Contact ids.
    pub contact_ids: Option<Vec<String>>,
}

/// Measurements of a conversation; times in seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Metrics {
    /// Ratio of talking to listening.
    pub talk_listen_ratio: Option<f64>,
    /// Questions asked.
    pub num_questions_asked: Option<i64>,
    /// Questions asked by users of the workspace.
    pub num_questions_asked_by_reps: Option<i64>,
    /// Length.
    pub call_duration: Option<i64>,
    /// Time spoken.
    pub total_speak_duration: Option<f64>,
    /// Length of the longest monologue.
    pub longest_monologue_duration: Option<f64>,
    /// Its start.
    pub longest_monologue_start_time: Option<f64>,
    /// Engaging questions.
    pub engaging_questions: Option<i64>,
    /// Topics that came up.
    pub categories: Option<Vec<Category>>,
}

/// A topic that came up in a call.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Category {
    /// Name.
    pub name: Option<String>,
    /// Number of occurrences, in the spelling of the service.
    pub occurences: Option<i64>,
    /// The matched phrases.
    pub phrases_matched: Option<Vec<Phrase>>,
    /// Whether a model and not a keyword found it.
    pub ai_detected: Option<bool>,
}

/// A phrase that belongs to a topic.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Phrase {
    /// The words.
    #[schemars(transform = DataClass::FreeText)]
    pub text: Option<String>,
    /// Who said it.
    pub user_id: Option<String>,
    /// Their name.
    #[schemars(transform = DataClass::PersonName)]
    pub name: Option<String>,
    /// When, in seconds.
    pub time: Option<f64>,
}

/// A turn of a conversation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// The spoken words.
    #[schemars(transform = DataClass::FreeText)]
    pub text: Option<String>,
    /// Start in seconds.
    pub start: Option<f64>,
    /// End in seconds.
    pub end: Option<f64>,
    /// Who, by speaker number.
    pub personId: Option<i64>,
    /// Findings in this turn.
    pub annotations: Option<Vec<Annotation>>,
}

/// Something found in a turn, by a tracker or by a model.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Annotation {
    /// The tracker.
    pub tracker: Option<String>,
    /// The model's label.
    pub label: Option<String>,
    /// The phrase.
    #[schemars(transform = DataClass::FreeText)]
    pub phrase: Option<String>,
    /// The category.
    pub category: Option<String>,
}

/// The summary of a call.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The full summary.
    #[schemars(transform = DataClass::FreeText)]
    pub full_summary: Option<String>,
    /// Takeaways; not in the vendor's document.
    #[schemars(transform = DataClass::FreeText)]
    pub key_takeaways: Option<String>,
    /// The summary of each part.
    pub topics_discussed: Option<Vec<SummaryTopic>>,
    /// Action items.
    pub key_action_items: Option<Vec<ActionItem>>,
}

/// A part of a summary.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SummaryTopic {
    /// Heading.
    #[schemars(transform = DataClass::FreeText)]
    pub name: Option<String>,
    /// Start, as text.
    pub start_timestamp: Option<String>,
    /// End, as text.
    pub end_timestamp: Option<String>,
    /// Text.
    #[schemars(transform = DataClass::FreeText)]
    pub summary: Option<String>,
}

/// An action item.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ActionItem {
    /// The action.
    #[schemars(transform = DataClass::FreeText)]
    pub action_item: Option<String>,
    /// Who said it.
    #[schemars(transform = DataClass::PersonName)]
    pub speaker_name: Option<String>,
    /// Start, as text.
    pub start_timestamp: Option<String>,
    /// End, as text.
    pub end_timestamp: Option<String>,
}

/// A statement about a competitor.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CompetitorSentiment {
    /// The competitor.
    pub competitor_name: Option<String>,
    /// The sentiment.
    pub sentiment: Option<String>,
    /// Why.
    #[schemars(transform = DataClass::FreeText)]
    pub reasoning: Option<String>,
    /// Who, by speaker number; text here, a number elsewhere.
    pub personId: Option<String>,
    /// When, as text.
    pub turn_start_time: Option<String>,
}

/// A topic; either `custom_topic` or `keyword_topic` is filled.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Topic {
    /// Identifier.
    pub topic_id: Option<String>,
    /// Name.
    pub topic_name: Option<String>,
    /// Kind of topic.
    pub r#type: Option<String>,
    /// Teams that use it.
    pub team_ids: Option<Vec<String>>,
    /// A topic described in words.
    pub custom_topic: Option<CustomTopic>,
    /// A topic found by keywords.
    pub keyword_topic: Option<KeywordTopic>,
}

/// A topic described in words.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CustomTopic {
    /// The description.
    pub description: Option<String>,
    /// Its status.
    pub status: Option<String>,
}

/// A topic found by keywords.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct KeywordTopic {
    /// The keywords.
    pub trackers: Option<Vec<String>>,
}

/// A filled-in scorecard. It has no time of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Scorecard {
    /// Identifier.
    pub id: Option<String>,
    /// Kind of scorecard.
    pub r#type: Option<String>,
    /// User id of the scored person.
    pub rep: Option<String>,
    /// User id of the scoring person.
    pub scorer: Option<String>,
    /// The template.
    pub template_id: Option<String>,
    /// The call.
    pub call_id: Option<String>,
    /// The score in total.
    pub total_score: Option<f64>,
    /// A remark.
    #[schemars(transform = DataClass::FreeText)]
    pub remark: Option<String>,
    /// The score of each question.
    pub questions_score: Option<Vec<QuestionScore>>,
}

/// The score of a question.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct QuestionScore {
    /// The score.
    pub score: Option<i64>,
    /// The skill asked about.
    pub skill: Option<String>,
    /// The question.
    pub label: Option<String>,
    /// Its position, as text.
    pub order: Option<String>,
}

/// Scorecard questions.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ScorecardTemplate {
    /// Identifier.
    pub id: Option<String>,
    /// The workspace.
    pub customer_id: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// The scored object, CALL for example.
    pub r#type: Option<String>,
    /// The questions.
    pub questions: Option<Vec<TemplateQuestion>>,
}

/// A question of a template.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TemplateQuestion {
    /// The skill asked about.
    pub skill: Option<String>,
    /// The question.
    pub label: Option<String>,
    /// Its position, as text.
    pub order: Option<String>,
}

/// A custom field of the customer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CustomField {
    /// Name.
    pub key: Option<String>,
    /// Value, of any content.
    #[schemars(transform = DataClass::FreeText)]
    pub value: Option<String>,
}

/// An account. `id` is Copilot's, `crm_id` the CRM's.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// Identifier in Copilot.
    pub id: Option<String>,
    /// Identifier in the CRM.
    pub crm_id: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// Phone numbers.
    #[schemars(transform = DataClass::Phone)]
    pub phones: Option<Vec<String>>,
    /// Description.
    #[schemars(transform = DataClass::FreeText)]
    pub description: Option<String>,
    /// Website.
    pub website: Option<String>,
    /// Address.
    pub address: Option<String>,
    /// City.
    pub city: Option<String>,
    /// State.
    pub state: Option<String>,
    /// Country.
    pub country: Option<String>,
    /// Postal code.
    pub zip: Option<String>,
    /// Other fields.
    pub custom_fields: Option<Vec<CustomField>>,
}

/// A contact.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    /// Identifier in Copilot.
    pub id: Option<String>,
    /// Identifier in the CRM.
    pub crm_id: Option<String>,
    /// The account's identifier in the CRM.
    pub account_crm_id: Option<String>,
    /// The account's identifier in Copilot; seen live only.
    pub account_id: Option<String>,
    /// First name.
    #[schemars(transform = DataClass::PersonName)]
    pub first_name: Option<String>,
    /// Last name.
    #[schemars(transform = DataClass::PersonName)]
    pub last_name: Option<String>,
    /// Job title.
    #[schemars(transform = DataClass::FreeText)]
    pub job_title: Option<String>,
    /// Phone numbers.
    #[schemars(transform = DataClass::Phone)]
    pub phones: Option<Vec<String>>,
    /// Stage.
    pub stage: Option<String>,
    /// Reason.
    #[schemars(transform = DataClass::FreeText)]
    pub reason: Option<String>,
    /// E-mail addresses.
    #[schemars(transform = DataClass::Email)]
    pub emails: Option<Vec<String>>,
    /// Whether it is a lead.
    pub is_lead: Option<bool>,
    /// Other fields.
    pub custom_fields: Option<Vec<CustomField>>,
}

/// A deal.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Deal {
    /// Identifier in Copilot.
    pub id: Option<String>,
    /// Identifier in the CRM.
    pub crm_id: Option<String>,
    /// The owner's identifier in the CRM.
    pub owner_crm_id: Option<String>,
    /// Name.
    pub deal_name: Option<String>,
    /// Amount, as text.
    #[schemars(transform = DataClass::Money)]
    pub amount: Option<String>,
    /// When it should close.
    #[schemars(extend("format" = "date-time"))]
    pub close_date: Option<String>,
    /// When it was created.
    #[schemars(extend("format" = "date-time"))]
    pub created_date: Option<String>,
    /// Last contact.
    #[schemars(extend("format" = "date-time"))]
    pub last_contacted: Option<String>,
    /// Next call.
    #[schemars(extend("format" = "date-time"))]
    pub next_call_date: Option<String>,
    /// Stage.
    pub stage: Option<String>,
    /// Probability, as text.
    pub probability: Option<String>,
    /// Forecast category.
    pub forecast_category: Option<String>,
    /// The account's identifier in the CRM.
    pub account_crm_id: Option<String>,
    /// Stages over time.
    pub stage_change_history: Option<Vec<StageChange>>,
    /// Close dates over time.
    pub close_date_change_history: Option<Vec<CloseDateChange>>,
    /// Other fields.
    pub custom_fields: Option<Vec<CustomField>>,
    /// Reason.
    #[schemars(transform = DataClass::FreeText)]
    pub deal_reason: Option<String>,
}

/// A change of stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StageChange {
    /// New stage.
    pub stage: Option<String>,
    /// Old stage.
    pub prev_stage: Option<String>,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub date_changed: Option<String>,
}

/// A change of close date.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CloseDateChange {
    /// New date.
    #[schemars(extend("format" = "date-time"))]
    pub close_date: Option<String>,
    /// Old date.
    #[schemars(extend("format" = "date-time"))]
    pub prev_close_date: Option<String>,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub date_changed: Option<String>,
}
