//! Opportunities: found by the ids that the customer's CRM gave them.

use serde_json::{Value, json};

use super::tenant::{Tenant, crm_user_id};
use crate::ids;
use crate::random::{Purpose, Rolls};

/// Maximum number of ids of one request (vendor document).
pub(crate) const MAX_IDS: usize = 100;

const OPPORTUNITY: &str = "006";
const ACCOUNT: &str = "001";

const NAMES: &[&str] = &[
    "Amberfield",
    "Blue Heron",
    "Cobalt",
    "Driftwood",
    "Elm & Oak",
];

const STAGES: &[&str] = &["Discovery", "Proposal", "Negotiation", "Closed Won"];

pub(crate) fn count(tenant: Tenant) -> u64 {
    (tenant.entries / 20).clamp(5, 1_000_000)
}

pub(crate) fn id(tenant: Tenant, index: u64) -> String {
    ids::crm_id(tenant.seed, Purpose::Opportunity, OPPORTUNITY, index)
}

fn name(index: u64) -> String {
    let name = crate::random::pick_at(NAMES, index);
    format!("{name} {index}")
}

/// The account and the opportunity as an activity shows them.
pub(crate) fn references(tenant: Tenant, index: u64) -> (Value, Value) {
    let owner = crm_user_id(index % tenant.users);
    let account = json!({
        "accountId": ids::crm_id(tenant.seed, Purpose::Opportunity, ACCOUNT, index),
        "accountName": format!("{} Inc.", name(index)),
        "accountOwnerId": owner,
    });
    let opportunity = json!({
        "opportunityId": id(tenant, index),
        "opportunityName": name(index),
        "opportunityOwnerId": owner,
    });
    (account, opportunity)
}

/// An opportunity; `None` when there is none with this id.
pub(crate) fn find(tenant: Tenant, wanted: &str) -> Option<Value> {
    let index = ids::crm_index(tenant.seed, Purpose::Opportunity, OPPORTUNITY, wanted)
        .filter(|index| *index < count(tenant))?;
    let mut rolls = Rolls::new(tenant.seed, Purpose::Opportunity, index);
    let score = rolls.below(101);
    let amount = rolls.between(1, 2_000) * 500;
    let before = amount + rolls.below(50) * 100;
    let stage = rolls.pick(STAGES);
    let date = 1_700_000_000_000 + rolls.below(50_000_000) * 1_000;
    let field = |id: &str, alias: &str, value: Value, original: Value, history: Value| {
        json!({
            "id": format!("opportunity.{id}"),
            "alias": alias,
            "imageUrl": "/images/card.png",
            "trendHistory": history,
            "trend": if value == original { "NONE" } else { "DOWN" },
            "value": value,
            "originalValue": original,
        })
    };
    let change = json!([{
        "oldValue": {"amount": before},
        "newValue": {"amount": amount},
        "date": date,
    }]);
    let fields = [
        field("amount", "Amount", amount.into(), before.into(), change),
        field("stage", "Stage", stage.into(), stage.into(), json!([])),
        field(
            "isClosed",
            "Closed",
            (score == 0).into(),
            false.into(),
            json!([]),
        ),
        field(
            "owner",
            "Owner",
            json!({"id": crm_user_id(index % tenant.users)}),
            json!({}),
            json!([]),
        ),
        field("tags", "Tags", json!(["new", 1]), json!([]), json!([])),
        field("nextStep", "Next step", Value::Null, Value::Null, json!([])),
    ];
    Some(json!({
        "id": wanted,
        "crmScore": {"message": "Opportunity is open", "score": score},
        "fields": fields,
    }))
}
