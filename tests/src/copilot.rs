//! What the tests of the Clari Copilot connector share.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    sync::Arc,
};

use headwater_core::{AnyStream, Context, Position, Result, Source, Timestamp};
use headwater_sandbox::{API_KEY, API_PASSWORD, CopilotOptions, Sandbox};
use headwater_testkit::{PassDriver, Reply, Request, Script};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    ReadThrough, connector,
    unhurried::{self, on_the_wire},
};

/// All streams.
pub const STREAMS: [&str; 9] = [
    "users",
    "calls",
    "call_details",
    "topics",
    "scorecards",
    "scorecard_templates",
    "accounts",
    "contacts",
    "deals",
];

/// A simulator without rate limits, for a test with a paused clock.
pub async fn workspace_of(calls: u64) -> Sandbox {
    workspace(CopilotOptions {
        calls,
        ..CopilotOptions::default()
    })
    .await
}

/// The same with other options; no limit per second in any case.
pub async fn workspace(mut options: CopilotOptions) -> Sandbox {
    options.limits.per_second = None;
    on_the_wire(Sandbox::start(options))
        .await
        .expect("a free loopback port")
}

/// A scripted service, for a test with a paused clock.
pub async fn script(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Script {
    on_the_wire(Script::start(answer))
        .await
        .expect("a free loopback port")
}

/// The answer to the form that a sandbox accepts.
pub fn answer(base_url: &str) -> Value {
    json!({ "api_key": API_KEY, "api_password": API_PASSWORD, "base_url": base_url })
}

/// A folder with a `config.json` for a sandbox without limits.
pub fn folder(base_url: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = answer(base_url);
    config["requests_per_second"] = 1000.into();
    let path = folder.path().join("config.json");
    fs::write(&path, config.to_string()).expect("a new file");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a file of ours");
    folder
}

/// A source for a test with a paused clock.
pub fn open(answer: Value) -> Arc<dyn Source> {
    open_in(&unhurried::context(), answer)
}

/// A source in a context.
pub fn open_in(context: &Context, answer: Value) -> Arc<dyn Source> {
    let connector = connector("clari-copilot");
    let config = connector.validate(answer).expect("a valid answer");
    connector.open(&config, context).expect("a source")
}

/// A stream of a service that a sandbox's credentials open, for a test with a paused clock.
pub fn stream(base_url: &str, name: &str) -> Arc<dyn AnyStream> {
    open(answer(base_url)).stream(name).expect("a known stream")
}

/// A pass that can be interrupted before every page and goes on from text.
pub struct Reading {
    stream: Arc<dyn AnyStream>,
    walk: PassDriver,
    /// What came so far.
    pub read: ReadThrough,
}

impl Reading {
    /// A pass from its beginning.
    pub fn begin(
        stream: &Arc<dyn AnyStream>,
        bookmark: Option<Position>,
        now: Timestamp,
    ) -> Result<Self> {
        Ok(Self {
            stream: Arc::clone(stream),
            walk: PassDriver::new(stream.plan(bookmark, now)?),
            read: ReadThrough::default(),
        })
    }

    /// The place as text, as a host would keep it.
    pub fn place(&self) -> String {
        serde_json::to_string(&self.walk).expect("positions are JSON")
    }

    /// The rest of a pass from a place, with nothing read yet.
    pub fn resume(stream: &Arc<dyn AnyStream>, place: &str) -> Self {
        Self {
            stream: Arc::clone(stream),
            walk: serde_json::from_str(place).expect("a place"),
            read: ReadThrough::default(),
        }
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.walk.is_over()
    }

    /// Fetches the next page. An error leaves the place as it was.
    pub async fn step(&mut self) -> Result<()> {
        let Some(ready) = self.walk.first() else {
            return Ok(());
        };
        let page = self.stream.fetch(ready.partition, ready.token).await?;
        self.walk.arrived(ready.id, &page);
        self.read.take(page);
        Ok(())
    }

    /// Fetches all that is left.
    pub async fn finish(mut self) -> Result<ReadThrough> {
        while !self.is_done() {
            self.step().await?;
        }
        Ok(self.read)
    }
}
