//! What the acceptance tests share.
//!
//! Naming the bundle here links every connector into every test binary that uses this crate.

pub mod binary;
pub mod browser;
pub mod claribi;
pub mod copilot;
pub mod cost;
pub mod postgres;
pub mod probe;
pub mod revenue;
pub mod service;
pub mod terminal;
pub mod unhurried;

use std::{path::PathBuf, sync::Arc};

use headwater_connectors as _;
use headwater_core::{
    AnyConnector, AnyStream, Context, Egress, Page, Position, Registry, Source, Timestamp,
};
use headwater_sandbox::{CopilotOptions, Sandbox, Simulation, simulations};
use headwater_testkit::PassDriver;
use reqwest::{Client, ClientBuilder};
use serde_json::Value;

/// The simulator without its rate limit, for tests that are not about it.
pub async fn unlimited_sandbox(calls: u64) -> Sandbox {
    let mut options = CopilotOptions {
        calls,
        ..CopilotOptions::default()
    };
    options.limits.per_second = None;
    sandbox(options).await
}

/// A simulator on a free port.
pub async fn sandbox(options: CopilotOptions) -> Sandbox {
    Sandbox::start(options).await.expect("a free loopback port")
}

/// The simulation of a connector.
pub fn simulation(id: &str) -> &'static Simulation {
    simulations()
        .iter()
        .find(|one| one.id == id)
        .expect("the simulator has this service")
}

/// A registered connector.
pub fn connector(id: &str) -> Arc<dyn AnyConnector> {
    let registry = Registry::collect().expect("connectors are linked");
    Arc::clone(registry.get(id).expect("the connector is registered"))
}

/// A source opened with an answer to its form.
pub fn open(id: &str, answer: Value) -> (Arc<dyn Source>, Context) {
    let context = headwater_http::context(&Egress::Anywhere).expect("a client");
    let connector = connector(id);
    let config = connector.validate(answer).expect("a valid answer");
    (
        connector.open(&config, &context).expect("a source"),
        context,
    )
}

/// Where a stream got: its records as text, and the bookmark of its last page.
#[derive(Debug, Default)]
pub struct ReadThrough {
    /// The records, byte for byte.
    pub records: Vec<String>,
    /// Where the next pass starts.
    pub bookmark: Option<Position>,
    /// Codes of the notes.
    pub notes: Vec<&'static str>,
    /// Codes of the gaps, each with the number of records at most.
    pub gaps: Vec<(&'static str, Option<u64>)>,
    /// Pages fetched, empty ones included.
    pub fetches: usize,
}

impl ReadThrough {
    /// The values of a top-level text field, sorted.
    pub fn sorted(&self, field: &str) -> Vec<String> {
        let mut keys: Vec<String> = self
            .records
            .iter()
            .filter_map(|record| {
                let record: Value = serde_json::from_str(record).ok()?;
                Some(record[field].as_str()?.to_owned())
            })
            .collect();
        keys.sort();
        keys
    }

    fn take(&mut self, page: Page<Position, Position>) {
        self.fetches += 1;
        self.records.extend(
            page.iter()
                .map(|record| String::from_utf8_lossy(record).into_owned()),
        );
        self.notes.extend(page.notes.iter().map(|note| note.code));
        let gaps = page.gaps.iter().map(|gap| (gap.code, gap.at_most));
        self.gaps.extend(gaps);
        self.bookmark = page.bookmark.or(self.bookmark.take());
    }
}

/// Reads a pass of a stream to its end, as a host with one reader would.
pub async fn read_through(
    stream: &dyn AnyStream,
    bookmark: Option<Position>,
    now: Timestamp,
) -> headwater_core::Result<ReadThrough> {
    let mut read = ReadThrough::default();
    let mut walk = PassDriver::new(stream.plan(bookmark, now)?);
    while let Some(ready) = walk.first() {
        let page = stream.fetch(ready.partition, ready.token).await?;
        walk.arrived(ready.id, &page);
        read.take(page);
    }
    Ok(read)
}

/// A client that asks what a test started: past every proxy, and with a new connection for each request. A server may close
/// a connection that is idle at the moment at which a request goes out on it; such a request fails, and no test is about it.
pub fn client() -> ClientBuilder {
    // Fails only when a provider is there already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().pool_max_idle_per_host(0)
}

/// The top folder of the workspace.
pub fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
