//! Accounts, contacts and deals, as the customer's CRM is mirrored in Copilot.
//!
//! Account `n` has the contacts `2n` and `2n + 1` and the deal `n`, so that calls, which name an
//! account, share all three. Shapes are the vendor document's.

use std::ops::Range;

use serde_json::{Map, Value, json};

use super::people::{self, Guest, Person};
use super::population::FIRST_TIME;
use super::words::{
    COMPANY_HEADS, COMPANY_TAILS, CONTACT_STAGES, DEAL_REASONS, DEAL_STAGES, FORECAST_CATEGORIES,
    JOB_TITLES, PLACES, STREETS,
};
use crate::ids;
use crate::instant::iso;
use crate::random::{Purpose, Rolls, pick_at};

const DAY: i64 = 24 * 3_600_000;

/// The three kinds of CRM record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CrmKind {
    Account,
    Contact,
    Deal,
}

/// The type of a field in a CRM record, for checking writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FieldType {
    Text,
    Instant,
    Boolean,
    List,
}

impl CrmKind {
    fn purpose(self) -> Purpose {
        match self {
            Self::Account => Purpose::Account,
            Self::Contact => Purpose::Contact,
            Self::Deal => Purpose::Deal,
        }
    }

    /// The object prefix that Salesforce gives such records.
    fn prefix(self) -> &'static str {
        match self {
            Self::Account => "001",
            Self::Contact => "003",
            Self::Deal => "006",
        }
    }

    /// The id of record `index` in the customer's CRM: the value of the `id` parameter.
    pub(crate) fn crm_id(self, seed: u64, index: u64) -> String {
        ids::crm_id(seed, self.purpose(), self.prefix(), index)
    }

    /// The index of a record from its CRM id.
    pub(crate) fn index(self, seed: u64, crm_id: &str) -> Option<u64> {
        ids::crm_index(seed, self.purpose(), self.prefix(), crm_id)
    }

    /// The number of generated records of this kind for this number of accounts.
    pub(crate) fn count(self, accounts: u64) -> u64 {
        match self {
            Self::Account | Self::Deal => accounts,
            Self::Contact => 2 * accounts,
        }
    }

    /// The generated record `index`.
    pub(crate) fn record(self, seed: u64, index: u64) -> Value {
        match self {
            Self::Account => account(seed, index),
            Self::Contact => contact(seed, index),
            Self::Deal => deal(seed, index),
        }
    }

    /// The fields that create and update requests may set, as the vendor document lists them.
    pub(crate) fn writable_fields(self) -> &'static [(&'static str, FieldType)] {
        match self {
            Self::Account => &[
                ("crm_id", FieldType::Text),
                ("name", FieldType::Text),
                ("phones", FieldType::List),
                ("description", FieldType::Text),
                ("website", FieldType::Text),
                ("address", FieldType::Text),
                ("city", FieldType::Text),
                ("state", FieldType::Text),
                ("country", FieldType::Text),
                ("zip", FieldType::Text),
                ("custom_fields", FieldType::List),
            ],
            Self::Contact => &[
                ("crm_id", FieldType::Text),
                ("account_crm_id", FieldType::Text),
                ("first_name", FieldType::Text),
                ("last_name", FieldType::Text),
                ("job_title", FieldType::Text),
                ("phones", FieldType::List),
                ("stage", FieldType::Text),
                ("reason", FieldType::Text),
                ("emails", FieldType::List),
                ("is_lead", FieldType::Boolean),
                ("custom_fields", FieldType::List),
            ],
            Self::Deal => &[
                ("crm_id", FieldType::Text),
                ("owner_crm_id", FieldType::Text),
                ("deal_name", FieldType::Text),
                ("amount", FieldType::Text),
                ("close_date", FieldType::Instant),
                ("created_date", FieldType::Instant),
                ("last_contacted", FieldType::Instant),
                ("next_call_date", FieldType::Instant),
                ("stage", FieldType::Text),
                ("probability", FieldType::Text),
                ("forecast_category", FieldType::Text),
                ("account_crm_id", FieldType::Text),
                ("stage_change_history", FieldType::List),
                ("close_date_change_history", FieldType::List),
                ("custom_fields", FieldType::List),
                ("deal_reason", FieldType::Text),
            ],
        }
    }
}

/// The CRM records that one call belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrmReference {
    /// The account's index. Equal to or above the number of accounts: no such record exists.
    pub(crate) account: u64,
    /// A number of the call's own, for values that differ between the calls of an account.
    pub(crate) number: u64,
}

impl CrmReference {
    /// The indexes of the contacts on the call: one or both of the account's two.
    pub(crate) fn contacts(&self) -> Range<u64> {
        let first = 2 * self.account;
        match (self.number >> 16) % 3 {
            0 => first..first + 1,
            1 => first + 1..first + 2,
            _ => first..first + 2,
        }
    }

    /// The index of the deal; three calls in four have one.
    pub(crate) fn deal(&self) -> Option<u64> {
        (!(self.number >> 24).is_multiple_of(4)).then_some(self.account)
    }

    /// The `crm_info` object of the call.
    pub(crate) fn record(&self, seed: u64) -> Value {
        let contact_ids: Vec<String> = self
            .contacts()
            .map(|contact| CrmKind::Contact.crm_id(seed, contact))
            .collect();
        let mut record = json!({
            "source_crm": "salesforce",
            "account_id": CrmKind::Account.crm_id(seed, self.account),
            "contact_ids": contact_ids,
        });
        if let Some(deal) = self.deal() {
            record["deal_id"] = CrmKind::Deal.crm_id(seed, deal).into();
        }
        record
    }
}

/// The name of an account's company.
pub(crate) fn account_name(seed: u64, index: u64) -> String {
    let mut rolls = Rolls::new(seed, Purpose::Account, index);
    let head = rolls.pick(COMPANY_HEADS);
    let tail = rolls.pick(COMPANY_TAILS);
    format!("{head} {tail}")
}

fn account(seed: u64, index: u64) -> Value {
    let mut rolls = Rolls::new(seed, Purpose::Account, index + (1 << 40));
    let name = account_name(seed, index);
    let town = usize::try_from(rolls.below(PLACES.len() as u64)).unwrap_or_default();
    let (city, state, country, zip) = PLACES.get(town).copied().unwrap_or_default();
    let mut record = identified(CrmKind::Account, seed, index);
    record.insert("name".into(), name.as_str().into());
    record.insert("city".into(), city.into());
    record.insert("country".into(), country.into());
    record.insert("zip".into(), zip.into());
    record.insert("phones".into(), phones(&mut rolls));
    record.insert(
        "website".into(),
        format!("https://account-{index}.example.com/").into(),
    );
    record.insert("custom_fields".into(), custom_fields(&mut rolls));
    if !state.is_empty() {
        record.insert("state".into(), state.into());
    }
    if rolls.chance(70) {
        record.insert("address".into(), rolls.pick(STREETS).into());
    }
    if rolls.chance(60) {
        let description = format!("{name} – \"trusted since {}\"", 1950 + rolls.below(70));
        record.insert("description".into(), description.into());
    }
    Value::Object(record)
}

fn contact_person(seed: u64, index: u64) -> Person {
    Person::roll(&mut Rolls::new(seed, Purpose::Contact, index))
}

fn contact_email(person: Person, index: u64) -> String {
    format!("{}.{index}@example.net", person.login())
}

/// A contact as a participant of a call.
pub(crate) fn contact_guest(seed: u64, index: u64) -> Guest {
    let person = contact_person(seed, index);
    Guest {
        name: person.full_name(),
        email: contact_email(person, index),
        phone: index.is_multiple_of(3).then(|| people::phone(index)),
    }
}

fn contact(seed: u64, index: u64) -> Value {
    let mut rolls = Rolls::new(seed, Purpose::Contact, index + (1 << 40));
    let person = contact_person(seed, index);
    let mut record = identified(CrmKind::Contact, seed, index);
    let account_crm_id = CrmKind::Account.crm_id(seed, index / 2);
    record.insert("account_crm_id".into(), account_crm_id.into());
    record.insert("first_name".into(), person.first_name().into());
    record.insert("last_name".into(), person.last_name().into());
    record.insert(
        "emails".into(),
        json!([contact_email(person, index).as_str()]),
    );
    record.insert("phones".into(), phones(&mut rolls));
    record.insert("is_lead".into(), rolls.chance(25).into());
    record.insert("custom_fields".into(), custom_fields(&mut rolls));
    if rolls.chance(80) {
        record.insert("job_title".into(), rolls.pick(JOB_TITLES).into());
    }
    if rolls.chance(70) {
        record.insert("stage".into(), rolls.pick(CONTACT_STAGES).into());
    }
    if rolls.chance(10) {
        record.insert("reason".into(), "Met at the user conference".into());
    }
    Value::Object(record)
}

/// The fields of its deal in a call.
#[derive(Clone, Debug)]
pub(crate) struct DealOutline {
    pub(crate) name: String,
    pub(crate) amount: String,
    pub(crate) close_date: i64,
    pub(crate) stage: &'static str,
    pub(crate) previous_stage: &'static str,
}

/// The part of a deal that its calls repeat.
pub(crate) fn deal_outline(seed: u64, index: u64) -> DealOutline {
    let mut rolls = Rolls::new(seed, Purpose::Deal, index);
    let stage = 1 + rolls.below(DEAL_STAGES.len() as u64 - 1);
    DealOutline {
        name: format!(
            "{} – {} seats",
            account_name(seed, index),
            10 * rolls.between(1, 90)
        ),
        amount: money(&mut rolls),
        close_date: FIRST_TIME + days(rolls.between(30, 500)),
        stage: pick_at(DEAL_STAGES, stage),
        previous_stage: pick_at(DEAL_STAGES, stage - 1),
    }
}

fn deal(seed: u64, index: u64) -> Value {
    let mut rolls = Rolls::new(seed, Purpose::Deal, index + (1 << 40));
    let outline = deal_outline(seed, index);
    let created = outline.close_date - days(rolls.between(60, 400));
    let moved = created + days(rolls.between(1, 50));
    let mut record = identified(CrmKind::Deal, seed, index);
    record.insert("deal_name".into(), outline.name.into());
    record.insert("amount".into(), outline.amount.into());
    record.insert("close_date".into(), iso(outline.close_date).into());
    record.insert("created_date".into(), iso(created).into());
    record.insert("stage".into(), outline.stage.into());
    record.insert(
        "account_crm_id".into(),
        CrmKind::Account.crm_id(seed, index).into(),
    );
    record.insert(
        "owner_crm_id".into(),
        ids::crm_id(seed, Purpose::User, "005", index % 5).into(),
    );
    record.insert(
        "stage_change_history".into(),
        json!([{
            "stage": outline.stage,
            "prev_stage": outline.previous_stage,
            "date_changed": iso(moved),
        }]),
    );
    let close_date_changes = match rolls.chance(50) {
        true => json!([{
            "close_date": iso(outline.close_date),
            "prev_close_date": iso(outline.close_date - days(rolls.between(1, 40))),
            "date_changed": iso(moved),
        }]),
        false => json!([]),
    };
    record.insert("close_date_change_history".into(), close_date_changes);
    record.insert("custom_fields".into(), custom_fields(&mut rolls));
    if rolls.chance(80) {
        record.insert(
            "probability".into(),
            (5 * rolls.below(21)).to_string().into(),
        );
        record.insert(
            "forecast_category".into(),
            rolls.pick(FORECAST_CATEGORIES).into(),
        );
    }
    if rolls.chance(60) {
        record.insert("last_contacted".into(), iso(moved).into());
    }
    if rolls.chance(30) {
        record.insert("next_call_date".into(), iso(moved + 14 * DAY).into());
    }
    if rolls.chance(30) {
        record.insert("deal_reason".into(), rolls.pick(DEAL_REASONS).into());
    }
    Value::Object(record)
}

fn identified(kind: CrmKind, seed: u64, index: u64) -> Map<String, Value> {
    let mut record = Map::new();
    let id = ids::object_id(seed, kind.purpose(), index);
    record.insert("id".into(), id.into());
    record.insert("crm_id".into(), kind.crm_id(seed, index).into());
    record
}

fn phones(rolls: &mut Rolls) -> Value {
    let count = rolls.below(3);
    (0..count)
        .map(|_| Value::from(people::phone(rolls.next())))
        .collect()
}

fn custom_fields(rolls: &mut Rolls) -> Value {
    let mut fields = Vec::new();
    if rolls.chance(50) {
        let value = rolls.pick(&["EMEA", "AMER", "APAC", "LATAM & Ibérica"]);
        fields.push(json!({"key": "Region__c", "value": value}));
    }
    if rolls.chance(30) {
        fields.push(json!({"key": "Legacy \"ID\"", "value": rolls.below(1_000_000).to_string()}));
    }
    Value::Array(fields)
}

/// An amount of money as text. One in twenty has more digits than a double-precision number keeps.
fn money(rolls: &mut Rolls) -> String {
    if rolls.chance(5) {
        let high = rolls.between(1_000_000_000, 9_999_999_999);
        let low = rolls.below(10_000_000_000);
        return format!("{high}{low:010}.{}0", rolls.below(10));
    }
    let whole = 500 * rolls.between(1, 900);
    match rolls.below(3) {
        0 => whole.to_string(),
        1 => format!("{whole}.00"),
        _ => format!("{whole}.5"),
    }
}

fn days(count: u64) -> i64 {
    i64::try_from(count).unwrap_or_default() * DAY
}
