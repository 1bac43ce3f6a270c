//! A connector with one field of every kind.

use std::sync::Arc;

use headwater_core::{
    About, AnyConnector, BaseUrl, Connector, Context, Date, Error, GuideStep, Hint, Kind,
    Registration, Registry, Result, Secret, Source, StreamSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key of your workspace.
    #[schemars(title = "API key", transform = Hint::order(1).guide_step(1))]
    api_key: Secret,
    /// Where the service is.
    #[serde(default = "address")]
    #[schemars(title = "Address", transform = Hint::order(2).help("In the footer of every page."))]
    base_url: BaseUrl,
    /// Nothing older is read.
    #[schemars(title = "Since", transform = Hint::order(3).placeholder("2026-01-31").invalid("must be a date"))]
    since: Date,
    /// Whether archived items are read, too.
    #[serde(default)]
    #[schemars(title = "Archived items", transform = Hint::order(4).group("Scope"))]
    archived: bool,
    /// Requests per second.
    #[schemars(title = "Rate", range(min = 1, max = 50), transform = Hint::order(5).advanced())]
    rate: Option<u16>,
    /// An item number to start at.
    #[schemars(title = "First item", transform = Hint::order(6).advanced())]
    first: Option<u64>,
    /// The share of items that is read.
    #[schemars(title = "Share", range(min = 0, max = 1), transform = Hint::order(7).advanced())]
    share: Option<f64>,
    /// Only items with one of these.
    #[serde(default)]
    #[schemars(title = "Tags", length(max = 3), transform = Hint::order(8).group("Scope"))]
    tags: Vec<String>,
    /// Where your data lives.
    #[schemars(title = "Region", transform = Hint::order(9))]
    region: Region,
    /// A region to fall back to.
    #[schemars(title = "Second region", transform = Hint::order(10).advanced())]
    fallback: Option<Region>,
    /// How you sign in.
    #[schemars(title = "Sign-in", transform = Hint::order(11))]
    auth: Auth,
}

fn address() -> BaseUrl {
    BaseUrl::parse("https://api.example.com").unwrap()
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Region {
    Europe,
    America,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "method",
    rename_all = "snake_case",
    rename_all_fields = "snake_case",
    deny_unknown_fields
)]
enum Auth {
    #[schemars(title = "Token")]
    Token {
        /// The token of a service user.
        #[schemars(title = "Access token", transform = Hint::order(1))]
        token: Secret,
    },
    #[schemars(title = "User and password")]
    Password {
        /// The name you sign in with.
        #[schemars(title = "User", length(min = 2, max = 64), transform = Hint::order(1))]
        user: String,
        /// The password you sign in with.
        #[schemars(title = "Password", transform = Hint::order(2))]
        password: Secret,
    },
}

pub struct Sample;

impl Connector for Sample {
    type Config = Config;

    const ABOUT: About = About {
        id: "sample",
        name: "Sample",
        summary: "Nothing.",
        docs: "https://example.com/docs",
        guide: &[GuideStep {
            title: "Get a key",
            text: "It is on the settings page.",
        }],
    };

    fn catalog() -> Vec<StreamSpec> {
        Vec::new()
    }

    fn open(_: &Config, _: &Context) -> Result<Arc<dyn Source>> {
        Err(Error::new(Kind::Unsupported, "a sample has no source"))
    }
}

/// The sample as a host sees it.
pub fn sample() -> Arc<dyn AnyConnector> {
    let registry = Registry::from_entries([Registration::of::<Sample>()]).unwrap();
    Arc::clone(registry.get("sample").unwrap())
}

/// An answer without anything wrong.
pub fn good() -> Value {
    json!({
        "api_key": "key-1",
        "base_url": "https://api.example.com/v1",
        "since": "2026-01-31",
        "archived": true,
        "rate": 10,
        "first": 7,
        "share": 0.5,
        "tags": ["a", "b"],
        "region": "europe",
        "fallback": "america",
        "auth": { "method": "password", "user": "ann", "password": "pass-1" },
    })
}
