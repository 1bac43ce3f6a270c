//! The account: the user, the organization, the plan and its usage.

use serde_json::{Value, json};

use super::EMAIL;
use super::catalogue::{Catalogue, Kind, day, instant};
use super::options::{Ids, Permissions, Tier};
use super::record::Record;
use crate::ids::uuid;
use crate::random::{Purpose, Rolls, draw_below};

const DAY: i64 = 24 * 3_600_000;

/// The length of a plan's period of use.
const PERIOD: i64 = 30 * DAY;

const ORGANIZATION: &str = "Sandbox & Söhne GmbH";

/// The inputs of the uuids of the user and of the key.
const USER: u64 = 0;
const KEY: u64 = 1;

/// The id of the user where ids are numbers. The organization has another one.
const USER_NUMBER: u64 = 1;

pub(crate) fn organization_id(seed: u64, ids: Ids) -> Value {
    match ids {
        Ids::Int => (2 + draw_below(seed, Purpose::Organization, 0, 1_000)).into(),
        Ids::Uuid => uuid(seed, Purpose::Organization, 0).into(),
    }
}

fn user_id(seed: u64, ids: Ids) -> Value {
    match ids {
        Ids::Int => USER_NUMBER.into(),
        Ids::Uuid => uuid(seed, Purpose::User, USER).into(),
    }
}

/// The body of `/api/auth/status/`, field by field as the vendor's page shows it.
pub(crate) fn status(catalogue: &Catalogue, tier: Tier, ids: Ids) -> Record {
    let plan = tier.plan();
    let used = credits_used(catalogue, tier);
    let user = json!({
        "id": user_id(catalogue.seed, ids),
        "email": EMAIL,
        "first_name": "Zoë",
        "last_name": "Sand",
        "role": "administrator",
    });
    let organization = json!({
        "id": organization_id(catalogue.seed, ids),
        "name": ORGANIZATION,
        "plan": plan.name,
        "ai_credits_remaining": plan.ai_credits - used,
    });
    Record::default()
        .with("user", user)
        .with("organization", organization)
}

/// The `user` of the answer to a login.
pub(crate) fn login_user(catalogue: &Catalogue, ids: Ids) -> Value {
    json!({"id": user_id(catalogue.seed, ids), "email": EMAIL, "organization": ORGANIZATION})
}

/// The body of `/api/v1/auth/verify/`, field by field as the vendor's page shows it.
pub(crate) fn verification(catalogue: &Catalogue, tier: Tier, permissions: Permissions) -> Record {
    let seed = catalogue.seed;
    let names: &[&str] = match permissions {
        Permissions::ReadWrite => &[
            "reports:read",
            "reports:generate",
            "dashboards:read",
            "data_sources:read",
            "usage:read",
        ],
        Permissions::ReadOnly => &[
            "reports:read",
            "dashboards:read",
            "data_sources:read",
            "usage:read",
        ],
        Permissions::None => &[],
    };
    let key = json!({
        "id": uuid(seed, Purpose::User, KEY),
        "name": "Sandbox key",
        "permissions": names,
        "created_at": instant(catalogue.as_of() - 90 * DAY),
        "expires_at": null,
    });
    let organization = json!({
        "id": organization_id(seed, Ids::Uuid),
        "name": ORGANIZATION,
        "tier": tier.plan().name,
    });
    Record::default()
        .with("valid", true)
        .with("api_key", key)
        .with("organization", organization)
        .with(
            "user",
            json!({"id": user_id(seed, Ids::Uuid), "email": EMAIL}),
        )
}

/// The first day of the usage period.
pub(crate) fn period_start(catalogue: &Catalogue) -> String {
    day(catalogue.as_of() - PERIOD / 2)
}

/// The usage of the plan. The fields are those of another interface in the vendor's pages, because
/// none shows this one's.
pub(crate) fn usage(catalogue: &Catalogue, tier: Tier) -> Record {
    let plan = tier.plan();
    let used = credits_used(catalogue, tier);
    let mut rolls = Rolls::new(catalogue.seed, Purpose::Organization, 1);
    let trial_ends = (tier == Tier::Trial).then(|| instant(catalogue.as_of() + 9 * DAY));
    Record::default()
        .with("subscription_tier", plan.name)
        .with(
            "subscription_status",
            match tier {
                Tier::Trial => "trialing",
                _ => "active",
            },
        )
        .with_json("ai_credits_used", &format!("{used}.0"))
        .with("ai_credits_limit", plan.ai_credits)
        .with("ai_credits_remaining", plan.ai_credits - used)
        .with("data_sources_used", catalogue.count(Kind::DataSource))
        .with("data_sources_limit", plan.data_sources)
        .with("users_used", 1 + rolls.below(plan.users))
        .with("max_users", plan.users)
        .with_json("storage_gb_used", &format!("{}.20", rolls.below(5)))
        .with("storage_gb_limit", plan.storage_gigabytes)
        .with("period_start", period_start(catalogue))
        .with("period_end", day(catalogue.as_of() + PERIOD / 2))
        .with("trial_ends_at", trial_ends)
}

fn credits_used(catalogue: &Catalogue, tier: Tier) -> u64 {
    draw_below(
        catalogue.seed,
        Purpose::Organization,
        2,
        tier.plan().ai_credits,
    )
}
