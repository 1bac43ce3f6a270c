//! Activities: mails, meetings and attachments of the last 300 days.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::calendar::DAY_MILLISECONDS;
use super::log::Slots;
use super::opportunities;
use super::tenant::{self, Tenant};
use crate::ids;
use crate::instant::parse_instant;
use crate::random::{Purpose, Rolls, draw};

/// The age of the oldest activities in days (proposed).
const DAYS: i64 = 300;

const TYPES: &[&str] = &[
    "MEETING",
    "EMAIL_SENT",
    "EMAIL_RECEIVED",
    "ATTACHMENT_SENT",
    "ATTACHMENT_RECEIVED",
];

/// A request: some types within some days.
#[derive(Clone, Debug)]
pub(crate) struct ActivityRequest {
    types: Vec<String>,
    from: Option<i64>,
    to: Option<i64>,
}

impl ActivityRequest {
    /// Only the date and the offset of the bounds count, and the last day is included. The error
    /// names the invalid value.
    pub(crate) fn parse(body: &Map<String, Value>) -> Result<Self, String> {
        let field = |name: &str| body.get(name).filter(|value| !value.is_null());
        let types: Vec<String> = match field("activityTypes") {
            None => Vec::new(),
            Some(list) => serde_json::from_value(list.clone())
                .map_err(|_| "activityTypes is not a list of texts")?,
        };
        if let Some(unknown) = types.iter().find(|kind| !TYPES.contains(&kind.as_str())) {
            return Err(format!("{unknown} is not a supported activityType"));
        }
        if field("exportFormat").is_some_and(|format| format != "JSON") {
            return Err("exportFormat can be JSON only".into());
        }
        let from = field("startDate").map(|value| midnight("startDate", value));
        let to = field("endDate").map(|value| midnight("endDate", value));
        let to = to.transpose()?.map(|day| day + DAY_MILLISECONDS - 1);
        Ok(Self {
            types,
            from: from.transpose()?,
            to,
        })
    }
}

/// The beginning of the day that a text names, at its own offset.
fn midnight(name: &str, value: &Value) -> Result<i64, String> {
    let refused = || format!("{name} is not an ISO 8601 date-time");
    let text = value.as_str().ok_or_else(refused)?;
    let instant = parse_instant(text).ok_or_else(refused)?;
    let date = text.get(..10).ok_or_else(refused)?;
    let utc: Timestamp = parse_instant(date).ok_or_else(refused)?;
    // Beyond its instant, the text has the offset.
    let time = text.get(10..).unwrap_or_default();
    let clock = time.split(['Z', '+', '-']).next().unwrap_or_default();
    let local = parse_instant(&format!("{date}{clock}")).ok_or_else(refused)?;
    let offset = local.as_millisecond() - instant.as_millisecond();
    Ok(utc.as_millisecond() - offset)
}

/// All activities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Activities {
    tenant: Tenant,
    slots: Slots,
}

impl Activities {
    pub(crate) fn new(tenant: Tenant, now: i64) -> Self {
        let count = (tenant.entries / 5).clamp(20, 10_000_000);
        Self {
            tenant,
            slots: Slots::new(count, DAYS, now),
        }
    }

    fn slots_within(self, from: Option<i64>, to: Option<i64>) -> RangeInclusive<i64> {
        let limit = i64::MAX / 4;
        self.slots
            .within(from.unwrap_or(-limit), to.unwrap_or(limit))
    }

    /// The activities that a request selects, one after the other.
    pub(crate) fn select(self, request: ActivityRequest) -> impl Iterator<Item = Value> + Send {
        self.slots_within(request.from, request.to)
            .map(move |slot| self.record(slot))
            .filter(move |record| {
                let kind = record["activityType"].as_str().unwrap_or_default();
                request.types.is_empty() || request.types.iter().any(|wanted| wanted == kind)
            })
    }

    pub(crate) fn keys(self) -> Vec<String> {
        self.slots_within(None, None)
            .map(|slot| self.id(slot))
            .collect()
    }

    fn id(self, slot: i64) -> String {
        let seed = self.tenant.seed;
        let number = slot.unsigned_abs();
        format!(
            "{:016x}{:016x}",
            draw(seed, Purpose::Activity, number),
            number
        )
    }

    fn record(self, slot: i64) -> Value {
        let tenant = self.tenant;
        let number = slot.unsigned_abs();
        let mut rolls = Rolls::new(tenant.seed, Purpose::Activity, number);
        let owner = rolls.below(tenant.users);
        let moment = self.slots.moment(slot);
        // The document names a number, and its example shows a text.
        let date = match rolls.chance(50) {
            true => json!(moment),
            false => json!(moment.to_string()),
        };
        let references = rolls
            .chance(80)
            .then(|| opportunities::references(tenant, rolls.below(opportunities::count(tenant))));
        let (accounts, opportunities): (Vec<Value>, Vec<Value>) = references.into_iter().unzip();
        let guest = ids::object_id(tenant.seed, Purpose::Activity, number);
        json!({
            "activityId": self.id(slot),
            "activityType": rolls.pick(TYPES),
            "subject": format!("Review <> Plan #{number}"),
            "date": date,
            "activityOwnerId": tenant::crm_user_id(owner),
            "activityOrganiserId": tenant::crm_user_id(rolls.below(tenant.users)),
            "accounts": accounts,
            "opportunities": opportunities,
            "participants": [
                {
                    "name": tenant::full_name(tenant.seed, owner),
                    "email": tenant::email(tenant.seed, owner),
                    "sfdcUserId": tenant::crm_user_id(owner),
                    "isInternal": true,
                },
                {
                    "name": "Guest",
                    "email": format!("guest.{guest}@customer.example"),
                    "sfdcUserId": "",
                    "isInternal": false,
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_that_of_its_own_offset() {
        let day = |text: &str| midnight("startDate", &text.into()).ok();
        let utc = 1_678_406_400_000;
        assert_eq!(day("2023-03-10T00:00:00Z"), Some(utc));
        assert_eq!(day("2023-03-10T23:59:00Z"), Some(utc));
        assert_eq!(day("2023-03-10"), Some(utc));
        assert_eq!(day("2023-03-10T05:00:00-08:00"), Some(utc + 8 * 3_600_000));
        assert_eq!(day("2023-03-10T22:00:00+05:30"), Some(utc - 19_800_000));
        assert_eq!(day("10/03/2023"), None);
    }
}
