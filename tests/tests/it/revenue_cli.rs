//! Clari Revenue, read by the shipped binary on the real clock: killed, stopped, and the exit codes of its troubles.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use acceptance::{
    binary::{Ran, command},
    revenue::{Host, ID, answer_with, keys, ordered_once, outside, truth},
};
use headwater_sandbox::{JobOptions, JobOutcome, RevenueOptions, Sandbox};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

async fn tenant(entries: u64, running: Duration) -> Sandbox {
    let options = RevenueOptions {
        forecast_entries: entries,
        per_second: None,
        jobs: JobOptions {
            scheduled: Duration::from_millis(100),
            running,
            concurrent_limit: 9,
            ..JobOptions::default()
        },
        ..RevenueOptions::default()
    };
    Sandbox::start(options).await.unwrap()
}

/// A read into the host's folder, with its state.
fn read(host: &Host, answer: &Value, arguments: &[&str]) -> Command {
    let config = host.state().with_file_name("config.json");
    fs::write(&config, answer.to_string()).unwrap();
    let mut command = command(HEADWATER);
    command
        .args(["read", ID, "--config"])
        .arg(config)
        .arg("--out")
        .arg(host.out())
        .arg("--state")
        .arg(host.state())
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(mut command: Command) -> Ran {
    command.output().unwrap().into()
}

/// Whether a read has come to its end, however the process did: another one would begin anew.
fn has_ended(host: &Host) -> bool {
    let Ok(state) = fs::read(host.state()) else {
        return false;
    };
    let state: Value = serde_json::from_slice(&state).unwrap();
    let streams = state["streams"].as_object().unwrap();
    let is_open = streams.values().any(|stream| stream.get("pass").is_some());
    !streams.is_empty() && !is_open && state.get("finished").is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_no_export_is_ordered_twice() {
    let sandbox = tenant(3_000, Duration::from_millis(900)).await;
    sandbox.set_faults("latency=8ms".parse().unwrap());
    let forecasts = ["net_arr", "net_bookings"];
    let fields = json!({ "forecast_ids": forecasts, "audit_export_days": 1, "opportunities_of_activities": true });
    let answer = answer_with(&sandbox.base_url(), fields);
    let host = Host::default();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kills = 0;
    while !has_ended(&host) {
        let mut child = read(&host, &answer, &["--quiet"]).spawn().unwrap();
        // In the end one is left alone.
        if kills < 9 {
            sleep(Duration::from_millis(random.u64(60..700)));
            kills += usize::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
        }
        let ended: Ran = child.wait_with_output().unwrap().into();
        assert!(
            matches!(ended.code, None | Some(0)),
            "seed {seed}: {}",
            ended.err
        );
    }
    assert!(kills > 0, "no read was alive when it was to be killed");
    assert_eq!(ordered_once(&sandbox).len(), 4, "seed {seed}");
    for stream in ["forecast_entries", "forecast_users", "time_frames"] {
        let mut all: Vec<String> = forecasts
            .iter()
            .flat_map(|forecast| truth(&sandbox, stream, &format!("/{forecast}")))
            .collect();
        all.sort();
        assert_eq!(
            keys(stream, &host.records(stream)),
            all,
            "{stream}, seed {seed}"
        );
    }
    for stream in ["activities", "audit_events", "audit_actors"] {
        let read = keys(stream, &host.records(stream));
        assert_eq!(read, truth(&sandbox, stream, ""), "{stream}, seed {seed}");
    }
    let opportunities = keys("opportunities", &host.records("opportunities"));
    let mut once = opportunities.clone();
    once.dedup();
    assert!(opportunities == once && !once.is_empty(), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_feeds_several_streams_costs_one_job() {
    let sandbox = tenant(200, Duration::from_millis(100)).await;
    let fields = json!({ "forecast_ids": ["net_arr"] });
    let answer = answer_with(&sandbox.base_url(), fields);
    let host = Host::default();
    let config = host.state().with_file_name("config.json");
    fs::write(&config, answer.to_string()).unwrap();
    let planned = || {
        let mut plan = command(HEADWATER);
        plan.args([
            "plan",
            ID,
            "--json",
            "--stream",
            "forecast_entries",
            "--config",
        ]);
        let plan = run({
            plan.arg(&config);
            plan
        });
        assert_eq!(plan.code, Some(0), "{}", plan.all());
        plan.json()["streams"][0]["partitions"][0]["partition"].to_string()
    };
    let partition = planned();
    let group = [
        "forecast_entries",
        "time_periods",
        "forecast_users",
        "forecast_fields",
        "time_frames",
    ];
    let with = |streams: &[&str]| -> Vec<String> {
        let streams = streams.iter().map(|name| format!("--stream={name}"));
        streams
            .chain([format!("--partition={partition}")])
            .collect()
    };
    let arguments = with(&group);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = run(read(&host, &answer, &arguments));
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(ordered_once(&sandbox).len(), 1);
    for stream in group {
        assert_eq!(
            keys(stream, &host.records(stream)),
            truth(&sandbox, stream, "/net_arr"),
            "{stream}"
        );
    }
    // Streams that are read separately share no partition, and the error names a partition of another stream.
    for (streams, says) in [
        (
            &["forecast_entries", "audit_events"][..],
            "are read separately",
        ),
        (
            &["audit_events"],
            "the partition given with --partition is not one of audit_events",
        ),
        (&[], "--stream <STREAM>"),
    ] {
        let arguments = with(streams);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ran = run(read(&Host::default(), &answer, &arguments));
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        assert!(ran.err.contains(says), "{}", ran.err);
        assert!(
            streams.is_empty() || !ran.err.contains("state"),
            "{}",
            ran.err
        );
    }
    assert_eq!(ordered_once(&sandbox).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_fails_is_told_once_and_not_once_for_each_stream() {
    let sandbox = tenant(50, Duration::from_millis(100)).await;
    outside(&sandbox).script_jobs([JobOutcome::Failed, JobOutcome::Failed]);
    let fields = json!({ "forecast_ids": ["net_arr"] });
    let answer = answer_with(&sandbox.base_url(), fields);
    let ran = run(read(
        &Host::default(),
        &answer,
        &["--stream", "forecast_entries", "--stream", "time_frames"],
    ));
    assert_ne!(ran.code, Some(0), "{}", ran.all());
    let errors = ran.err.lines().filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{}", ran.err);
}

/// Waits until a job has been asked for, then sends the signal that Ctrl-C sends.
fn interrupt(child: Child, sandbox: &Sandbox) -> Ran {
    let patience = Instant::now();
    while outside(sandbox)
        .jobs()
        .first()
        .is_none_or(|job| job.polls == 0)
    {
        assert!(
            patience.elapsed() < Duration::from_secs(60),
            "the read does not get going"
        );
        sleep(Duration::from_millis(10));
    }
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    child.wait_with_output().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_read_leaves_its_job_to_the_next_one() {
    let sandbox = tenant(300, Duration::ZERO).await;
    // It goes on until it was asked for some more times, however long that takes.
    outside(&sandbox).script_jobs([JobOutcome::UnknownStatus {
        word: "STARTED".to_owned(),
        polls: 3,
    }]);
    let answer = answer_with(&sandbox.base_url(), json!({}));
    let host = Host::default();
    let arguments = ["--stream", "forecast_entries"];
    let child = read(&host, &answer, &arguments).spawn().unwrap();
    let stopped = interrupt(child, &sandbox);
    assert_eq!(stopped.code, Some(130), "{}", stopped.err);
    let status = &outside(&sandbox).jobs()[0].status;
    assert!(["SCHEDULED", "STARTED"].contains(&&**status), "{status}");
    assert!(!stopped.err.contains("cancelled"), "{}", stopped.err);

    let rest = run(read(&host, &answer, &arguments));
    assert_eq!(rest.code, Some(0), "{}", rest.err);
    assert_eq!(ordered_once(&sandbox).len(), 1);
    assert_eq!(
        keys("forecast_entries", &host.records("forecast_entries")),
        truth(&sandbox, "forecast_entries", "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_read_cancels_its_job_when_it_shall() {
    let sandbox = tenant(300, Duration::from_millis(300)).await;
    outside(&sandbox).script_jobs([JobOutcome::Stuck]);
    let answer = answer_with(&sandbox.base_url(), json!({}));
    let host = Host::default();
    let arguments = ["--stream", "forecast_entries"];
    let child = read(
        &host,
        &answer,
        &["--cancel-jobs", "--stream", "forecast_entries"],
    );
    let stopped = interrupt({ child }.spawn().unwrap(), &sandbox);
    assert_eq!(stopped.code, Some(130), "{}", stopped.err);
    assert!(
        stopped.err.contains("cancelled 1 export job"),
        "{}",
        stopped.err
    );
    assert_eq!(outside(&sandbox).jobs()[0].status, "ABORTED");

    let rest = run(read(&host, &answer, &arguments));
    assert_eq!(rest.code, Some(0), "{}", rest.err);
    assert_eq!(outside(&sandbox).jobs().len(), 2);
    assert_eq!(
        keys("forecast_entries", &host.records("forecast_entries")),
        truth(&sandbox, "forecast_entries", "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn troubles_have_their_exit_codes() {
    let truncated = JobOutcome::Truncated {
        rows: true,
        cells: false,
    };
    for (outcome, fields, code, says) in [
        (
            JobOutcome::Done,
            json!({ "auth_profile": "automatic" }),
            2,
            "headwater check clari-revenue",
        ),
        (
            JobOutcome::Done,
            json!({ "api_key": "wrong" }),
            3,
            "does not accept the credentials",
        ),
        (
            JobOutcome::Done,
            json!({ "forecast_ids": ["no_access"] }),
            3,
            "not opted in",
        ),
        (
            JobOutcome::Failed,
            json!({ "job_attempts": 1 }),
            5,
            "failed at Clari",
        ),
        (truncated, json!({}), 6, "cut rows off"),
    ] {
        let sandbox = tenant(30, Duration::from_millis(50)).await;
        outside(&sandbox).script_jobs([outcome]);
        let answer = answer_with(&sandbox.base_url(), fields);
        let host = Host::default();
        let ran = run(read(&host, &answer, &["--stream", "forecast_entries"]));
        assert_eq!(ran.code, Some(code), "{says}: {}", ran.err);
        let told = ran.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(says), "{says:?} is not in {told}");
    }
    let mut options = RevenueOptions::default();
    options.jobs.monthly_quota = 0;
    let sandbox = Sandbox::start(options).await.unwrap();
    let host = Host::default();
    let answer = answer_with(&sandbox.base_url(), json!({}));
    let ran = run(read(&host, &answer, &["--stream", "forecast_entries"]));
    assert_eq!(ran.code, Some(5), "{}", ran.err);
    assert!(ran.err.contains("nothing was ordered"), "{}", ran.err);
}
