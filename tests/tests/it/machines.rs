//! Output for machines is read back by the types that wrote it: reports, events and receipts of every connector.

use std::fs;

use acceptance::binary::command;
use headwater_core::ProbeReport;
use headwater_host::{EventRecord, Receipt, RunOptions, State, run};
use headwater_sandbox::{Sandbox, Setup, simulations};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

/// Reads a text with a type and expects the same text from it.
fn returns<T: DeserializeOwned + Serialize>(written: &Value) -> T {
    let read: T = serde_json::from_value(written.clone())
        .unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(&json!(read), written);
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_events_and_receipts_are_read_back_as_they_were_written() {
    for simulation in simulations() {
        let setup = Setup {
            size: Some(30),
            per_second: Some(0),
            ..Setup::default()
        };
        let sandbox = Sandbox::start((simulation.service)(&setup).unwrap())
            .await
            .unwrap();
        let form = (simulation.form)(&sandbox.base_url());
        let (source, context) = acceptance::open(simulation.id, form.clone());
        let report = ProbeReport::of(&*source).await;
        returns::<ProbeReport>(&json!(report));

        let folder = tempfile::tempdir().unwrap();
        let sink = headwater_output::JsonLinesFolder::new(folder.path()).unwrap();
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let options = RunOptions::new(std::sync::Arc::clone(&context.meter), stop);
        let mut events = Vec::new();
        let meter = std::sync::Arc::clone(&context.meter);
        let receipt = run(
            &*source,
            &[],
            State::new(simulation.id),
            Box::new(sink),
            options,
            &mut |event| events.push(event.to_json(&meter)),
        )
        .await
        .unwrap();
        let read: Receipt = returns(&json!(receipt));
        assert_eq!(read.outcome, receipt.outcome);
        assert_eq!(read.streams.len(), receipt.streams.len());
        let names = events.iter().map(returns::<EventRecord>);
        let progress = names.filter(|event| matches!(event, EventRecord::Progress { .. }));
        assert!(progress.count() > 0, "{}", simulation.id);

        let config = folder.path().join("config.json");
        fs::write(&config, form.to_string()).unwrap();
        let checked = command(HEADWATER)
            .args(["check", simulation.id, "--json", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        let written: Value = serde_json::from_slice(&checked.stdout).unwrap();
        let read: ProbeReport = serde_json::from_value(written).unwrap();
        assert_eq!(read.checks.len(), report.checks.len(), "{}", simulation.id);
    }
}
