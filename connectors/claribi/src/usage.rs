//! The plan's limits in the response of `/api/billing/usage/`. The vendor documents none of its fields for this
//! interface; the names are those of other interfaces, and any field may be missing.

use headwater::{Allowance, http::document, prelude::*};
use serde_json::{Map, Value};

/// Name, title, and the fields of limit, use and rest.
const COUNTED: [(&str, &str, [&str; 3]); 4] = [
    (
        "ai_credits",
        "AI credits",
        [
            "ai_credits_limit",
            "ai_credits_used",
            "ai_credits_remaining",
        ],
    ),
    (
        "data_sources",
        "data sources",
        ["data_sources_limit", "data_sources_used", ""],
    ),
    ("users", "users", ["max_users", "users_used", ""]),
    (
        "storage_gb",
        "storage in GB",
        ["storage_gb_limit", "storage_gb_used", ""],
    ),
];

/// Useful fields other than limits.
const FACTS: [&str; 5] = [
    "subscription_tier",
    "subscription_status",
    "period_start",
    "period_end",
    "trial_ends_at",
];

/// Returns the fields of the response; empty where it is not an object.
pub(crate) fn fields(body: &[u8]) -> Map<String, Value> {
    document(body).unwrap_or_default()
}

/// Returns the allowances. A limit without a count, or of zero, is left out.
pub(crate) fn allowances(fields: &Map<String, Value>) -> Vec<Allowance> {
    let number = |name: &str| number(fields.get(name)?);
    let allowance =
        |(name, title, [limit, used, left]): (&'static str, &'static str, [&str; 3])| {
            let limit = number(limit).filter(|limit| *limit > 0.0)?;
            let used = number(used).or_else(|| Some(limit - number(left)?))?;
            Some(Allowance {
                name: name.into(),
                title: title.into(),
                limit,
                used,
                resets_at: None,
                counts_jobs: false,
            })
        };
    COUNTED.into_iter().filter_map(allowance).collect()
}

/// Adds the other facts of the response.
pub(crate) fn with_facts(check: Check, fields: &Map<String, Value>) -> Check {
    FACTS
        .into_iter()
        .filter_map(|name| Some((name, fields.get(name).filter(|value| !value.is_null())?)))
        .fold(check, |check, (name, value)| {
            check.fact(name, value.clone())
        })
}

/// Reads a number, which may be in quotes: frameworks write decimals so.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        _ => value.as_f64(),
    };
    number.filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_missing_quoted_or_boundless() {
        let read = |body: &str| -> Vec<(String, f64, f64)> {
            let found = allowances(&fields(body.as_bytes()));
            found
                .into_iter()
                .map(|one| (one.name.into_owned(), one.used, one.limit))
                .collect()
        };
        assert_eq!(
            read(
                r#"{"ai_credits_limit":1500,"ai_credits_remaining":1347,"max_users":"15","users_used":4,"storage_gb_used":"1.20","storage_gb_limit":10}"#
            ),
            [
                ("ai_credits", 153.0, 1500.0),
                ("users", 4.0, 15.0),
                ("storage_gb", 1.2, 10.0)
            ]
            .map(|(name, used, limit)| (name.to_owned(), used, limit))
        );
        for none in [
            "{}",
            "[]",
            "<html>",
            r#"{"ai_credits_limit":1500}"#,
            r#"{"data_sources_limit":null,"data_sources_used":3}"#,
            r#"{"data_sources_limit":-1,"data_sources_used":3}"#,
            r#"{"max_users":"many","users_used":"NaN"}"#,
        ] {
            assert_eq!(read(none), [], "{none}");
        }
    }
}
