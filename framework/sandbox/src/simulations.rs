//! The list of simulations, for programs that offer a choice.

use serde_json::{Value, json};

use crate::claribi::CLARIBI;
use crate::{
    API_KEY, API_PASSWORD, AuditLink, CopilotOptions, Faults, LimitsEndpoint, RevenueAuth,
    RevenueOptions, RevenueVersions, Service, TemplateKey,
};

/// One simulated API.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// The connector this simulation is for.
    pub id: &'static str,
    /// The name to show.
    pub title: &'static str,
    /// What [`Setup::size`] counts.
    pub size: &'static str,
    /// The options beyond the size, the seed and the faults.
    pub switches: &'static [Switch],
    /// From the sandbox's base URL to the settings that a connector needs to read from it.
    pub form: fn(&str) -> Value,
    /// The same settings with a key that the sandbox refuses.
    pub wrong_form: fn(&str) -> Value,
    /// The service to start; an error names the impossible part of the setup and the possible values.
    pub service: fn(&Setup) -> Result<Service, String>,
}

/// A choice of how a simulated API behaves, where sources contradict each other.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// The name of the switch.
    pub name: &'static str,
    /// The values; the first one is the default.
    pub values: &'static [&'static str],
    /// The meaning of the choice.
    pub meaning: &'static str,
}

/// How to start a simulation, in terms that every API has.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The port to listen on at 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// Simulations with different seeds have different records.
    pub seed: u64,
    /// The amount of data, in the unit of [`Simulation::size`]; `None` for the default.
    pub size: Option<u64>,
    /// The faults from the start.
    pub faults: Faults,
    /// How many requests are let through within any one second: `None` for the limit of the real
    /// API, 0 for no limit.
    pub per_second: Option<u32>,
    /// Names and values of switches.
    pub switches: Vec<(String, String)>,
}

impl Setup {
    /// The size, which must be in a range.
    pub(crate) fn size_within(&self, min: u64, max: u64, default: u64) -> Result<u64, String> {
        match self.size {
            Some(size) if !(min..=max).contains(&size) => {
                Err(format!("the size {size} is not in {min}..={max}"))
            }
            size => Ok(size.unwrap_or(default)),
        }
    }

    /// The limit per second, which is that of the real API unless it is set.
    fn limit_per_second(&self, real: Option<u32>) -> Option<u32> {
        match self.per_second {
            None => real,
            Some(0) => None,
            limit => limit,
        }
    }

    /// The switches that are set, each of which must be one of `known`. The last one of a name
    /// counts.
    pub(crate) fn known_switches(&self, known: &[Switch]) -> Result<Vec<(&str, &str)>, String> {
        let mut set: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &self.switches {
            let Some(switch) = known.iter().find(|switch| switch.name == name) else {
                let names: Vec<&str> = known.iter().map(|switch| switch.name).collect();
                let names = names.join(", ");
                return Err(format!(
                    "there is no switch {name:?}; the switches are {names}"
                ));
            };
            if !switch.values.contains(&value.as_str()) {
                let values = switch.values.join(", ");
                return Err(format!(
                    "the switch {name} cannot be {value:?}; it can be {values}"
                ));
            }
            set.retain(|(earlier, _)| earlier != name);
            set.push((name.as_str(), value.as_str()));
        }
        Ok(set)
    }
}

/// Every simulated API.
pub fn simulations() -> &'static [Simulation] {
    &[CLARI_COPILOT, CLARI_REVENUE, CLARIBI]
}

const CLARI_COPILOT: Simulation = Simulation {
    id: "clari-copilot",
    title: "Clari Copilot",
    size: "calls, 10 to 1,000,000",
    switches: COPILOT_SWITCHES,
    form: |base_url| copilot_form(base_url, API_KEY),
    wrong_form: |base_url| copilot_form(base_url, "wrong-key"),
    service: copilot_service,
};

const COPILOT_SWITCHES: &[Switch] = &[
    Switch {
        name: "template_key",
        values: &["scorecardTemplates", "scoreCardTemplates"],
        meaning: "the key that holds the list of scorecard templates",
    },
    Switch {
        name: "wrong_credentials",
        values: &["401", "403"],
        meaning: "the status for a wrong pair of credentials",
    },
];

fn copilot_form(base_url: &str, api_key: &str) -> Value {
    json!({
        "api_key": api_key,
        "api_password": API_PASSWORD,
        "base_url": base_url,
    })
}

fn copilot_service(setup: &Setup) -> Result<Service, String> {
    let mut options = CopilotOptions {
        port: setup.port,
        seed: setup.seed,
        faults: setup.faults.clone(),
        ..CopilotOptions::default()
    };
    options.calls = setup.size_within(10, 1_000_000, options.calls)?;
    options.limits.per_second = setup.limit_per_second(options.limits.per_second);
    for switch in setup.known_switches(COPILOT_SWITCHES)? {
        match switch {
            ("template_key", "scoreCardTemplates") => {
                options.template_key = TemplateKey::ScoreCardTemplates;
            }
            ("wrong_credentials", "403") => options.wrong_credentials = 403,
            _ => {}
        }
    }
    Ok(options.into())
}

const CLARI_REVENUE: Simulation = Simulation {
    id: "clari-revenue",
    title: "Clari Revenue",
    size: "forecast entries of a whole quarter, 10 to 100,000,000",
    switches: REVENUE_SWITCHES,
    form: |base_url| revenue_form(base_url, API_KEY),
    wrong_form: |base_url| revenue_form(base_url, "wrong-key"),
    service: revenue_service,
};

const REVENUE_SWITCHES: &[Switch] = &[
    Switch {
        name: "auth",
        values: &["apikey", "bearer", "both"],
        meaning: "the header of the key",
    },
    Switch {
        name: "versions",
        values: &["v4", "v1", "v2", "both"],
        meaning: "the version in the path; both is v1 and v4",
    },
    Switch {
        name: "job_envelope",
        values: &["wrapped", "bare"],
        meaning: "an export job comes as {\"job\":...} or by itself",
    },
    Switch {
        name: "jobs_list",
        values: &["array", "jobs"],
        meaning: "export jobs come as an array or as {\"jobs\":...}",
    },
    Switch {
        name: "opportunity_envelope",
        values: &["array", "opportunities"],
        meaning: "opportunities come as an array or as {\"opportunities\":...}",
    },
    Switch {
        name: "forecast_list",
        values: &["off", "on"],
        meaning: "whether forecasts can be listed",
    },
    Switch {
        name: "audit_key",
        values: &["items", "activities"],
        meaning: "the key that holds the audit events",
    },
    Switch {
        name: "audit_link",
        values: &["absolute", "relative", "other_scheme", "other_host"],
        meaning: "where the link to the next page of audit events leads",
    },
    Switch {
        name: "audit_cursor",
        values: &["stable", "offset"],
        meaning: "whether new audit events shift the next pages",
    },
    Switch {
        name: "audit_filter",
        values: &["before", "after"],
        meaning: "whether audit events are filtered before or after they are cut into pages",
    },
    Switch {
        name: "audit_growth",
        values: &["0", "1", "10"],
        meaning: "audit events that happen after each page of them",
    },
    Switch {
        name: "limits",
        values: &["on", "off", "403"],
        meaning: "the answer of the limits endpoint",
    },
    Switch {
        name: "download_link",
        values: &["off", "on"],
        meaning: "whether a finished export job carries a link to its result",
    },
    Switch {
        name: "results",
        values: &["length", "chunked"],
        meaning: "whether the length of a result is announced",
    },
    Switch {
        name: "crm_export",
        values: &["refused", "served"],
        meaning: "whether values of the CRM can be exported",
    },
    Switch {
        name: "unknown_job",
        values: &["400", "404"],
        meaning: "the status for an export job that does not exist",
    },
    Switch {
        name: "concurrent_limit",
        values: &["3", "1"],
        meaning: "export jobs at a time",
    },
    Switch {
        name: "monthly_quota",
        values: &["1000", "30", "3"],
        meaning: "export jobs in 30 days",
    },
];

fn revenue_form(base_url: &str, api_key: &str) -> Value {
    json!({
        "api_key": api_key,
        "base_url": format!("{base_url}/v4"),
        "auth_profile": "apikey",
        "forecast_ids": ["net_arr"],
    })
}

fn revenue_service(setup: &Setup) -> Result<Service, String> {
    let mut options = RevenueOptions {
        port: setup.port,
        seed: setup.seed,
        faults: setup.faults.clone(),
        ..RevenueOptions::default()
    };
    let default_size = options.forecast_entries;
    options.forecast_entries = setup.size_within(10, 100_000_000, default_size)?;
    options.per_second = setup.limit_per_second(options.per_second);
    for (name, value) in setup.known_switches(REVENUE_SWITCHES)? {
        let number = || value.parse().unwrap_or_default();
        let behaviour = &mut options.behaviour;
        match (name, value) {
            ("auth", "bearer") => behaviour.auth = RevenueAuth::Bearer,
            ("auth", "both") => behaviour.auth = RevenueAuth::Both,
            ("versions", "v1") => behaviour.versions = RevenueVersions::V1,
            ("versions", "v2") => behaviour.versions = RevenueVersions::V2,
            ("versions", "both") => behaviour.versions = RevenueVersions::Both,
            ("job_envelope", _) => behaviour.bare_job = value == "bare",
            ("jobs_list", _) => behaviour.wrapped_job_list = value == "jobs",
            ("opportunity_envelope", _) => {
                behaviour.wrapped_opportunities = value == "opportunities";
            }
            ("forecast_list", _) => behaviour.forecast_list = value == "on",
            ("audit_key", _) => behaviour.audit_activities = value == "activities",
            ("audit_link", "relative") => behaviour.audit_link = AuditLink::Relative,
            ("audit_link", "other_scheme") => behaviour.audit_link = AuditLink::OtherScheme,
            ("audit_link", "other_host") => behaviour.audit_link = AuditLink::OtherHost,
            ("audit_cursor", _) => behaviour.audit_offset_cursor = value == "offset",
            ("audit_filter", _) => behaviour.audit_filter_after = value == "after",
            ("audit_growth", _) => options.audit_growth = number(),
            ("limits", "off") => behaviour.limits = LimitsEndpoint::Off,
            ("limits", "403") => behaviour.limits = LimitsEndpoint::Forbidden,
            ("download_link", _) => behaviour.download_link = value == "on",
            ("results", _) => behaviour.chunked_results = value == "chunked",
            ("crm_export", _) => behaviour.crm_export = value == "served",
            ("unknown_job", _) => behaviour.unknown_job_not_found = value == "404",
            ("concurrent_limit", _) => options.jobs.concurrent_limit = number(),
            ("monthly_quota", _) => options.jobs.monthly_quota = number(),
            // The other values are the defaults.
            _ => {}
        }
    }
    Ok(options.into())
}
