//! The entry of clariBI in the list of simulations.

use std::time::Duration;

use serde_json::{Value, json};

use super::API_KEY;
use super::options::{
    ClaribiOptions, ErrorBodies, Ids, KeyHeaders, NextLinks, Paging, Permissions, RateHeaders,
    RateLimit, SourceField, Tier,
};
use crate::Service;
use crate::simulations::{Setup, Simulation, Switch};

pub(crate) const CLARIBI: Simulation = Simulation {
    id: "claribi",
    title: "clariBI",
    size: "data sources, 1 to 1,000,000",
    switches: SWITCHES,
    form: |base_url| form(base_url, API_KEY),
    wrong_form: |base_url| form(base_url, "claribi_sk_wrong"),
    service,
};

const SWITCHES: &[Switch] = &[
    Switch {
        name: "auth",
        values: &["any", "api-key", "x-api-key", "bearer"],
        meaning: "the header that takes an API key",
    },
    Switch {
        name: "ids",
        values: &["int", "uuid"],
        meaning: "the kind of ids under /api/",
    },
    Switch {
        name: "paging",
        values: &["drf", "array", "items", "cursor"],
        meaning: "the envelope of lists",
    },
    Switch {
        name: "next",
        values: &["absolute", "relative", "other_scheme"],
        meaning: "how links to other pages are written",
    },
    Switch {
        name: "errors",
        values: &["mixed", "custom", "drf"],
        meaning: "the bodies of errors",
    },
    Switch {
        name: "count",
        values: &["true", "lies"],
        meaning: "whether the count of a list is right",
    },
    Switch {
        name: "detail",
        values: &["on", "off"],
        meaning: "whether single records can be read",
    },
    Switch {
        name: "mfa",
        values: &["off", "on"],
        meaning: "whether a login asks for a second factor",
    },
    Switch {
        name: "tier",
        values: &["professional", "trial", "starter", "enterprise"],
        meaning: "the plan, which sets the rate limit",
    },
    Switch {
        name: "rate_headers",
        values: &["full", "old", "off"],
        meaning: "the rate-limit headers in answers",
    },
    Switch {
        name: "source_field",
        values: &["type", "source_type"],
        meaning: "the name of the field with the type of a data source",
    },
    Switch {
        name: "permissions",
        values: &["read-write", "read-only", "none"],
        meaning: "the permissions of the API key",
    },
];

fn form(base_url: &str, api_key: &str) -> Value {
    json!({
        "auth": {"style": "api_key_authorization", "api_key": api_key},
        "base_url": base_url,
    })
}

fn service(setup: &Setup) -> Result<Service, String> {
    let mut options = ClaribiOptions {
        port: setup.port,
        seed: setup.seed,
        faults: setup.faults.clone(),
        ..ClaribiOptions::default()
    };
    options.data_sources = setup.size_within(1, 1_000_000, options.data_sources)?;
    options.rate_limit = match setup.per_second {
        None => RateLimit::OfTier,
        Some(0) => RateLimit::None,
        Some(requests) => RateLimit::Of {
            requests,
            window: Duration::from_secs(1),
        },
    };
    for (name, value) in setup.known_switches(SWITCHES)? {
        set(&mut options, name, value);
    }
    Ok(options.into())
}

/// Sets a switch; the first value of each is the default of the options.
fn set(options: &mut ClaribiOptions, name: &str, value: &str) {
    match (name, value) {
        ("auth", "api-key") => options.key_headers = KeyHeaders::ApiKey,
        ("auth", "x-api-key") => options.key_headers = KeyHeaders::XApiKey,
        ("auth", "bearer") => options.key_headers = KeyHeaders::Bearer,
        ("ids", "uuid") => options.ids = Ids::Uuid,
        ("paging", "array") => options.paging = Paging::Array,
        ("paging", "items") => options.paging = Paging::Items,
        ("paging", "cursor") => options.paging = Paging::Cursor,
        ("next", "relative") => options.next_links = NextLinks::Relative,
        ("next", "other_scheme") => options.next_links = NextLinks::OtherScheme,
        ("errors", "custom") => options.error_bodies = ErrorBodies::Custom,
        ("errors", "drf") => options.error_bodies = ErrorBodies::Drf,
        ("count", "lies") => options.count_lies = true,
        ("detail", "off") => options.details = false,
        ("mfa", "on") => options.mfa = true,
        ("tier", "trial") => options.tier = Tier::Trial,
        ("tier", "starter") => options.tier = Tier::Starter,
        ("tier", "enterprise") => options.tier = Tier::Enterprise,
        ("rate_headers", "old") => options.rate_headers = RateHeaders::Old,
        ("rate_headers", "off") => options.rate_headers = RateHeaders::Off,
        ("source_field", "source_type") => options.source_field = SourceField::SourceType,
        ("permissions", "read-only") => options.permissions = Permissions::ReadOnly,
        ("permissions", "none") => options.permissions = Permissions::None,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that `set` does not know would silently do nothing.
    #[test]
    fn every_value_but_the_first_changes_something() {
        for switch in SWITCHES {
            for value in switch.values {
                let mut options = ClaribiOptions::default();
                let before = format!("{options:?}");
                set(&mut options, switch.name, value);
                let is_default = switch.values.first() == Some(value);
                let is_unchanged = format!("{options:?}") == before;
                assert_eq!(is_unchanged, is_default, "{}={value}", switch.name);
            }
        }
    }
}
