//! Schema drift: what the simulators send is what the connectors' schemas say, and a difference is seen in every stream.

use std::{collections::BTreeMap, fs, path::Path};

use acceptance::{binary::command, connector};
use headwater_core::StreamSpec;
use headwater_host::drift::{DriftKind, DriftPolicy, DriftWatch, RejectReason, Verdict};
use headwater_sandbox::{Sandbox, Setup, Simulation, simulations};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

/// All streams of a simulated service with this seed, each with its lines.
async fn read_all(simulation: &Simulation, seed: u64) -> BTreeMap<String, String> {
    let setup = Setup {
        seed,
        size: Some(60),
        per_second: Some(0),
        ..Setup::default()
    };
    let service = (simulation.service)(&setup).unwrap();
    let sandbox = Sandbox::start(service).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let mut form = (simulation.form)(&sandbox.base_url());
    // These are read by their ids only.
    if let Some(ids) = sandbox.keys("opportunities") {
        form["opportunity_ids"] = json!(ids);
    }
    fs::write(&config, form.to_string()).unwrap();
    let run = |streams: &[&str], out: &Path| {
        let ran = command(HEADWATER)
            .args(["read", simulation.id, "--config"])
            .arg(&config)
            .arg("--out")
            .arg(out)
            .args(streams)
            .output()
            .unwrap();
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    };
    // The service lists the export jobs that were ordered before.
    let catalog = connector(simulation.id).catalog();
    if catalog.iter().any(|spec| spec.name == "export_jobs") {
        run(&["--stream", "activities"], &folder.path().join("before"));
    }
    let out = folder.path().join("out");
    run(&[], &out);
    let read = |spec: &StreamSpec| {
        let path = out.join(format!("{}.jsonl", spec.name));
        (spec.name.to_owned(), fs::read_to_string(path).unwrap())
    };
    catalog.iter().map(read).collect()
}

/// The simulator of clariBI sends fields that no documentation has, so that clients do not stumble over the vendor's.
const PLANTED: [&str; 4] = [
    "claribi dashboards: theme is a new field",
    "claribi data_sources: health_score is a new field",
    "claribi data_sources: labels is a new field",
    "claribi reports: generation_cost is a new field",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_drift_by_planted_fields_only() {
    let random = fastrand::u64(..);
    println!("seed {random}");
    for seed in [1, random] {
        let mut found = Vec::new();
        for simulation in simulations() {
            let streams = read_all(simulation, seed).await;
            for spec in connector(simulation.id).catalog() {
                let mut watch = DriftWatch::new(&spec, DriftPolicy::Stop, None);
                let records = &streams[spec.name];
                assert!(!records.is_empty(), "{} has no records", spec.name);
                for record in records.lines() {
                    assert_eq!(watch.observe(record.as_bytes()).unwrap(), Verdict::Keep);
                }
                let events = watch.report();
                let events = events
                    .iter()
                    .map(|event| format!("{} {}: {event}", simulation.id, spec.name));
                found.extend(events);
            }
        }
        found.sort();
        assert_eq!(found, PLANTED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_is_rejected_in_every_stream() {
    for simulation in simulations() {
        let streams = read_all(simulation, 1).await;
        for spec in connector(simulation.id).catalog() {
            let Some(key) = spec.key.first() else {
                continue;
            };
            let mut watch = DriftWatch::new(&spec, DriftPolicy::Reject, None);
            let record = streams[spec.name].lines().next().unwrap();
            assert_eq!(watch.observe(record.as_bytes()).unwrap(), Verdict::Keep);
            let mut record: Value = serde_json::from_str(record).unwrap();
            record[*key] = json!({ "unexpected": true });
            let reason = RejectReason {
                kind: DriftKind::Widened,
                field: (*key).to_owned(),
            };
            let verdict = watch.observe(record.to_string().as_bytes()).unwrap();
            assert_eq!(
                verdict,
                Verdict::Reject(reason),
                "{} {}",
                simulation.id,
                spec.name
            );
        }
    }
}
