//! What there is to simulate, for programs that offer a choice.

use serde_json::{Value, json};

use crate::{API_KEY, API_PASSWORD};

/// One simulated API.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// The connector this simulation is for.
    pub id: &'static str,
    /// The name to show.
    pub title: &'static str,
    /// From the sandbox's base URL to the settings that a connector needs to read from it.
    pub form: fn(&str) -> Value,
    /// The same settings with a key that the sandbox refuses.
    pub wrong_form: fn(&str) -> Value,
}

/// Every simulated API.
pub fn simulations() -> &'static [Simulation] {
    &[Simulation {
        id: "clari-copilot",
        title: "Clari Copilot",
        form: |base_url| settings(base_url, API_KEY),
        wrong_form: |base_url| settings(base_url, "wrong-key"),
    }]
}

fn settings(base_url: &str, api_key: &str) -> Value {
    json!({
        "api_key": api_key,
        "api_password": API_PASSWORD,
        "base_url": base_url,
    })
}
