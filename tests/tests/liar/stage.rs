//! A service, the proxy before it, and what a reader of it needs.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use acceptance::{
    claribi, connector, copilot, revenue,
    unhurried::{self, on_the_wire},
};
use headwater_host::{RunOptions, State};
use headwater_output::JsonLinesWriter;
use headwater_sandbox::{
    AuditLink, ClaribiOptions, CopilotOptions, Faults, JobOptions, RevenueBehaviour,
    RevenueOptions, Sandbox, Service,
    claribi::{Ids, NextLinks, Paging, RateLimit},
};
use serde_json::{Value, json};

use crate::{
    lies::Lie,
    proxy::{Proxy, plain_client},
};

/// Every connector.
pub const CONNECTORS: [&str; 3] = ["clari-copilot", "clari-revenue", "claribi"];

/// Streams whose records say when they were fetched, so that no two are the same, and the jobs, of which each read
/// orders more.
pub const OF_THE_MOMENT: [&str; 4] = ["account_status", "billing_usage", "limits", "export_jobs"];

/// Records by stream, each in one spelling, sorted.
pub type Union = BTreeMap<String, Vec<String>>;

/// One service.
#[derive(Debug)]
pub struct Stage {
    pub connector: &'static str,
    pub sandbox: Sandbox,
    pub proxy: Proxy,
    pub config: Value,
    /// Whether records change and come during the first runs.
    pub moves: bool,
    /// How it was set up, for people.
    pub described: String,
}

impl Stage {
    /// A small service of a seed.
    pub async fn start(
        connector: &'static str,
        seed: u64,
        moves: bool,
        dice: &mut fastrand::Rng,
        lies: Vec<Box<dyn Lie>>,
    ) -> Self {
        let (service, described) = service(connector, seed, dice);
        let (sandbox, proxy) = on_the_wire(async move {
            let sandbox = Sandbox::start(service).await.expect("a free port");
            let proxy = Proxy::start(connector, seed, sandbox.base_url(), lies).await;
            (sandbox, proxy.expect("a free port"))
        })
        .await;
        let config = config(connector, &proxy.base_url(), dice);
        Self {
            connector,
            sandbox,
            proxy,
            config,
            moves,
            described,
        }
    }

    /// Records change, or new ones come.
    pub fn stir(&self, dice: &mut fastrand::Rng) {
        match self.connector {
            "clari-copilot" => self.sandbox.change_calls(dice.u64(..4)),
            "clari-revenue" => {
                let tenant = revenue::outside(&self.sandbox);
                tenant.add_audit_events(dice.u64(..4));
                if dice.u8(..4) == 0 {
                    tenant.change_forecasts();
                }
            }
            _ => self.sandbox.add_reports(dice.u64(..3)),
        }
        self.sandbox.set_faults(Faults {
            changing: dice.u64(..3),
            ..Faults::default()
        });
    }

    /// Nothing changes any more.
    pub fn settle(&self) {
        self.sandbox.set_faults(Faults::default());
        if self.moves {
            // A report is finished after a second.
            std::thread::sleep(Duration::from_millis(1_100));
        }
    }

    /// The records that the service has, read while no lies are told but those of its data.
    pub async fn truth(&self) -> Union {
        self.proxy.set_calm(true);
        let context = unhurried::context();
        let source = self.source(&context);
        let lines = Lines::default();
        let (_sender, stop) = tokio::sync::watch::channel(false);
        let options = RunOptions::new(Arc::clone(&context.meter), stop);
        let sink = Box::new(JsonLinesWriter::new(lines.clone(), true));
        let state = State::new(self.connector);
        let receipt = headwater_host::run(&*source, &[], state, sink, options, &mut |_| {})
            .await
            .expect("an honest service is read");
        assert!(receipt.failure().is_none(), "{receipt:#?}");
        self.proxy.set_calm(false);
        let mut union = Union::new();
        for stream in &receipt.streams {
            union.insert(stream.stream.clone(), Vec::new());
        }
        for line in lines.text().lines() {
            let line: Value = serde_json::from_str(line).expect("a line is JSON");
            let stream = line["stream"].as_str().expect("a stream");
            let records = union.entry(stream.to_owned()).or_default();
            records.push(canonical(&line["record"]));
        }
        union.values_mut().for_each(|records| records.sort());
        self.compare_with_keys(&union);
        union
    }

    /// What was read while no lies were told has as many records as the simulator lists.
    fn compare_with_keys(&self, union: &Union) {
        let gone = self.deleted().len();
        for (stream, records) in union {
            let is_about_all = match self.connector {
                "clari-revenue" => {
                    ["activities", "forecast_users", "forecast_fields"].contains(&stream.as_str())
                }
                "claribi" => gone == 0 && !OF_THE_MOMENT.contains(&stream.as_str()),
                _ => true,
            };
            if let Some(keys) = self.sandbox.keys(stream).filter(|_| is_about_all) {
                assert_eq!(records.len(), keys.len(), "{stream}: {keys:?}");
            }
        }
    }

    /// Records that were there once: streams and ids.
    pub fn deleted(&self) -> HashSet<(String, String)> {
        let deleted =
            |lies: &mut [Box<dyn Lie>]| lies.iter().flat_map(|lie| lie.deleted()).collect();
        self.proxy.with_lies(deleted)
    }

    /// Every audit event, those of this moment included.
    pub async fn audit_events(&self) -> HashSet<String> {
        if self.connector != "clari-revenue" {
            return HashSet::new();
        }
        self.proxy.set_calm(true);
        let mut url = format!("{}/v4/audit/events?limit=1000", self.proxy.base_url());
        let mut all = HashSet::new();
        loop {
            let page: Value = on_the_wire(async move {
                let request = plain_client().get(url);
                let request = request.header("apikey", headwater_sandbox::API_KEY);
                let bytes = request.send().await.unwrap().bytes().await.unwrap();
                serde_json::from_slice(&bytes).unwrap()
            })
            .await;
            let events = page["items"].as_array().or(page["activities"].as_array());
            all.extend(events.into_iter().flatten().map(canonical));
            let Some(next) = page["nextLink"].as_str() else {
                break;
            };
            url = match next.starts_with('/') {
                true => format!("{}{next}", self.proxy.base_url()),
                false => next.to_owned(),
            };
        }
        self.proxy.set_calm(false);
        all
    }

    /// A source for one run.
    pub fn source(&self, context: &headwater_core::Context) -> Arc<dyn headwater_core::Source> {
        let connector = connector(self.connector);
        let config = connector
            .validate(self.config.clone())
            .expect("a valid answer");
        connector.open(&config, context).expect("a source")
    }
}

fn service(connector: &str, seed: u64, dice: &mut fastrand::Rng) -> (Service, String) {
    match connector {
        "clari-copilot" => {
            let mut options = CopilotOptions {
                calls: dice.u64(10..26),
                seed,
                ..CopilotOptions::default()
            };
            options.limits.per_second = None;
            options.limits.per_week = None;
            let described = format!("{} calls", options.calls);
            (options.into(), described)
        }
        "clari-revenue" => {
            let options = RevenueOptions {
                seed,
                forecast_entries: dice.u64(10..400),
                per_second: None,
                jobs: JobOptions {
                    scheduled: Duration::ZERO,
                    running: Duration::from_millis(dice.u64(..3)),
                    ..JobOptions::default()
                },
                behaviour: RevenueBehaviour {
                    bare_job: dice.bool(),
                    wrapped_job_list: dice.bool(),
                    wrapped_opportunities: dice.bool(),
                    audit_activities: dice.bool(),
                    audit_link: [AuditLink::Absolute, AuditLink::Relative][dice.usize(..2)],
                    audit_filter_after: dice.bool(),
                    chunked_results: dice.bool(),
                    unknown_job_not_found: dice.bool(),
                    ..RevenueBehaviour::default()
                },
                ..RevenueOptions::default()
            };
            let described = format!(
                "{} entries, {:?}",
                options.forecast_entries, options.behaviour
            );
            (options.into(), described)
        }
        _ => {
            let options = ClaribiOptions {
                seed,
                data_sources: dice.u64(1..18),
                rate_limit: RateLimit::None,
                paging: [Paging::Drf, Paging::Array, Paging::Items, Paging::Cursor]
                    [dice.usize(..4)],
                next_links: [
                    NextLinks::Absolute,
                    NextLinks::Relative,
                    NextLinks::OtherScheme,
                ][dice.usize(..3)],
                ids: [Ids::Int, Ids::Uuid][dice.usize(..2)],
                ..ClaribiOptions::default()
            };
            let described = format!(
                "{} data sources, {:?}, {:?}",
                options.data_sources, options.paging, options.next_links
            );
            (options.into(), described)
        }
    }
}

fn config(connector: &str, base_url: &str, dice: &mut fastrand::Rng) -> Value {
    match connector {
        "clari-copilot" => {
            let mut config = copilot::answer(base_url);
            config["requests_per_second"] = 1000.into();
            config
        }
        "clari-revenue" => {
            let fields = json!({
                "opportunities_of_activities": dice.bool(),
                "audit_export_days": if dice.u8(..3) == 0 { 7 } else { 0 },
                "requests_per_second": 1000,
            });
            revenue::answer_with(base_url, fields)
        }
        _ => {
            let mut config = match dice.u8(..3) {
                0 => claribi::by_login(base_url),
                _ => claribi::answer(base_url),
            };
            config["read_details"] = dice.bool().into();
            config
        }
    }
}

/// A record in one spelling: members by their names, no blanks, no escapes that need not be.
pub fn canonical(record: &Value) -> String {
    fn write(value: &Value, text: &mut String) {
        match value {
            Value::Object(fields) => {
                let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
                text.push('{');
                for (name, value) in sorted {
                    text.push_str(&Value::from(name.as_str()).to_string());
                    text.push(':');
                    write(value, text);
                    text.push(',');
                }
                text.push('}');
            }
            Value::Array(values) => {
                text.push('[');
                for value in values {
                    write(value, text);
                    text.push(',');
                }
                text.push(']');
            }
            other => text.push_str(&other.to_string()),
        }
    }
    let mut text = String::new();
    write(record, &mut text);
    text
}

/// A writer that keeps what is written.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
