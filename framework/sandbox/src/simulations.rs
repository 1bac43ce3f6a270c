//! What there is to simulate, for programs that offer a choice.

use serde_json::{Value, json};

use crate::claribi::CLARIBI;
use crate::{API_KEY, API_PASSWORD, CopilotOptions, Faults, Service, TemplateKey};

/// One simulated API.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// The connector this simulation is for.
    pub id: &'static str,
    /// The name to show.
    pub title: &'static str,
    /// What [`Setup::size`] counts.
    pub size: &'static str,
    /// What can be set beyond the size, the seed and the faults.
    pub switches: &'static [Switch],
    /// From the sandbox's base URL to the settings that a connector needs to read from it.
    pub form: fn(&str) -> Value,
    /// The same settings with a key that the sandbox refuses.
    pub wrong_form: fn(&str) -> Value,
    /// The service to start; an error says which part of the setup is impossible and what is
    /// possible.
    pub service: fn(&Setup) -> Result<Service, String>,
}

/// A choice of how a simulated API behaves, where sources contradict each other.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// What is chosen.
    pub name: &'static str,
    /// What there is to choose from; the first one is the default.
    pub values: &'static [&'static str],
    /// What the choice is about.
    pub meaning: &'static str,
}

/// How to start a simulation, in terms that every API has.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The port to listen on at 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// Simulations with different seeds have different records.
    pub seed: u64,
    /// How much data there is, in the unit of [`Simulation::size`]; `None` for the default.
    pub size: Option<u64>,
    /// What goes wrong from the start.
    pub faults: Faults,
    /// How many requests are let through within any one second: `None` for the limit of the real
    /// API, 0 for no limit.
    pub per_second: Option<u32>,
    /// Names and values of switches.
    pub switches: Vec<(String, String)>,
}

impl Setup {
    /// The size, which must be in a range.
    pub(crate) fn size_within(&self, least: u64, most: u64, default: u64) -> Result<u64, String> {
        match self.size {
            Some(size) if !(least..=most).contains(&size) => {
                Err(format!("the size {size} is not in {least}..={most}"))
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

    /// The switches that are set, each of which must be one of `known`.
    pub(crate) fn known_switches(&self, known: &[Switch]) -> Result<Vec<(&str, &str)>, String> {
        let mut set = Vec::new();
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
            set.push((name.as_str(), value.as_str()));
        }
        Ok(set)
    }
}

/// Every simulated API.
pub fn simulations() -> &'static [Simulation] {
    &[CLARI_COPILOT, CLARIBI]
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
