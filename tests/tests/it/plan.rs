//! `headwater plan`: what it shows for each connector, and that its parts, each read by a process of its own, are
//! together what there is.

use std::fs;

use acceptance::{
    binary::{Ran, command},
    claribi, copilot, revenue, unlimited_sandbox,
};
use headwater_core::Date;
use headwater_sandbox::{ClaribiOptions, JobOptions, RevenueOptions, Sandbox, claribi::RateLimit};
use serde_json::{Value, json};
use tempfile::TempDir;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

/// A simulated service of each connector, and a config for it.
struct Service {
    connector: &'static str,
    sandbox: Sandbox,
    folder: TempDir,
}

impl Service {
    fn new(connector: &'static str, sandbox: Sandbox, config: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Self {
            connector,
            sandbox,
            folder,
        }
    }

    async fn copilot(calls: u64) -> Self {
        let sandbox = unlimited_sandbox(calls).await;
        let mut config = copilot::answer(&sandbox.base_url());
        config["requests_per_second"] = 1000.into();
        Self::new("clari-copilot", sandbox, &config)
    }

    async fn revenue() -> Self {
        let sandbox = Sandbox::start(RevenueOptions {
            forecast_entries: 3_000,
            per_second: None,
            jobs: JobOptions {
                concurrent_limit: 9,
                ..revenue::options().jobs
            },
            ..RevenueOptions::default()
        })
        .await
        .unwrap();
        let fields = json!({
            "forecast_ids": ["net_arr", "net_bookings"],
            "opportunities_of_activities": true,
        });
        let config = revenue::answer_with(&sandbox.base_url(), fields);
        Self::new(revenue::ID, sandbox, &config)
    }

    async fn claribi() -> Self {
        let sandbox = Sandbox::start(ClaribiOptions {
            rate_limit: RateLimit::None,
            ..ClaribiOptions::default()
        })
        .await
        .unwrap();
        let config = claribi::answer(&sandbox.base_url());
        Self::new("claribi", sandbox, &config)
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Ran {
        let ran: Ran = command(HEADWATER)
            .args([name, self.connector, "--config"])
            .arg(self.folder.path().join("config.json"))
            .args(arguments)
            .output()
            .unwrap()
            .into();
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.all());
        ran
    }

    /// Reads each part of the plan of a stream in a process of its own: the records of all of them.
    fn read_in_parts(&self, stream: &str) -> Vec<String> {
        let plan = self.run("plan", &["--json", "--stream", stream]).json();
        let parts = plan["streams"][0]["partitions"].as_array().unwrap().clone();
        let mut records = Vec::new();
        for part in parts {
            let partition = part["partition"].to_string();
            let ran = self.run(
                "read",
                &["--quiet", "--stream", stream, "--partition", &partition],
            );
            let read = ran.out.lines().count() as u64;
            if let Some(expected) = part["records"].as_u64() {
                assert_eq!(read, expected, "{stream}: {part}");
            }
            records.extend(ran.out.lines().map(str::to_owned));
        }
        records
    }
}

/// What a plan shows, without what depends on when it is made: days, and times of the day, which midnight has none of.
fn without_times(text: &str) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        let is_day = |word: &str| word.len() >= 10 && word.as_bytes()[4] == b'-';
        let is_minute = |word: &str| word.len() == 5 && word.as_bytes()[2] == b':';
        let words = line.split(' ');
        let words = words.filter(|word| !word.is_empty() && !is_minute(word));
        let words = words.map(|word| if is_day(word) { "[time]" } else { word });
        let words: Vec<&str> = words.collect();
        shown.push_str(&words.join(" "));
        shown.push('\n');
    }
    shown
}

/// The same of a plan for machines.
fn without_moments(plan: &mut Value) {
    match plan {
        Value::Array(items) => items.iter_mut().for_each(without_moments),
        Value::Object(fields) => fields.values_mut().for_each(without_moments),
        Value::String(text) if text.starts_with("20") && text.ends_with('Z') => {
            "[time]".clone_into(text);
        }
        Value::String(text) if text.parse::<Date>().is_ok() => "[day]".clone_into(text),
        _ => {}
    }
}

fn shown(service: &Service) -> (String, String) {
    let table = without_times(&service.run("plan", &[]).out);
    let mut plan = service.run("plan", &["--json"]).json();
    without_moments(&mut plan);
    (table, serde_json::to_string_pretty(&plan).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_of_a_workspace() {
    let (table, plan) = shown(&Service::copilot(250).await);
    insta::assert_snapshot!("copilot_table", table);
    insta::assert_snapshot!("copilot_json", plan);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_of_a_tenant() {
    let (table, plan) = shown(&Service::revenue().await);
    insta::assert_snapshot!("revenue_table", table);
    insta::assert_snapshot!("revenue_json", plan);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_of_an_organization() {
    let (table, plan) = shown(&Service::claribi().await);
    insta::assert_snapshot!("claribi_table", table);
    insta::assert_snapshot!("claribi_json", plan);
}

/// The values of a field, sorted.
fn field(records: &[String], name: &str) -> Vec<String> {
    let mut values: Vec<String> = records
        .iter()
        .map(|record| {
            let record: Value = serde_json::from_str(record).unwrap();
            match &record[name] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            }
        })
        .collect();
    values.sort();
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_workspace_are_all_of_it() {
    // More calls than the service pages through in one window.
    let service = Service::copilot(11_000).await;
    for (stream, key) in [("calls", "id"), ("users", "id"), ("topics", "topic_id")] {
        let records = service.read_in_parts(stream);
        assert_eq!(
            field(&records, key),
            service.sandbox.keys(stream).unwrap(),
            "{stream}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_tenant_are_all_of_it() {
    let service = Service::revenue().await;
    let records = service.read_in_parts("forecast_entries");
    let mut truth = Vec::new();
    for forecast in ["/net_arr", "/net_bookings"] {
        truth.extend(revenue::truth(
            &service.sandbox,
            "forecast_entries",
            forecast,
        ));
    }
    truth.sort();
    assert_eq!(revenue::keys("forecast_entries", &records), truth);
    let records = service.read_in_parts("activities");
    assert_eq!(
        revenue::keys("activities", &records),
        revenue::truth(&service.sandbox, "activities", "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_an_organization_are_all_of_it() {
    let service = Service::claribi().await;
    for stream in ["data_sources", "reports", "dashboards"] {
        let records = service.read_in_parts(stream);
        assert_eq!(
            field(&records, "id"),
            service.sandbox.keys(stream).unwrap(),
            "{stream}"
        );
    }
}
