//! The README's first command, as a newcomer runs it.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use acceptance::{
    binary::{command, files, run},
    client,
    terminal::Session,
};
use headwater_sandbox::{API_KEY, API_PASSWORD};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

#[test]
fn the_demo_goes_all_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let ran = run(HEADWATER, ["demo", "--keep", kept.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(files(&kept), ["clari-copilot", "clari-revenue", "claribi"]);
    for (id, streams) in [("clari-copilot", 9), ("clari-revenue", 11), ("claribi", 5)] {
        assert_eq!(files(&kept.join(id)), ["records", "state.json"]);
        assert_eq!(files(&kept.join(id).join("records")).len(), streams, "{id}");
    }
    // Times, and how far the read got before it was killed, differ from run to run.
    insta::with_settings!({filters => vec![
        (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
        (r" +\d+ ms", " [time] ms"),
        (r"in the middle of \w+, with \d+ lines written", "in the middle of [stream], with [count] lines written"),
        // Streams are read side by side: how many jobs there are when they are listed is a matter of time.
        (r"export_jobs +\d+", "export_jobs [count]"),
        // A quarter gains a time frame with each of its weeks, and the last weeks of the log hold more or less.
        (r"(forecast_entries|time_frames|audit_events) +\d+", "$1 [count]"),
        (r"kept in .*\.", "kept in [folder]."),
    ]}, {
        insta::assert_snapshot!("demo", ran.out);
    });
    let records = kept.join("clari-revenue/records");
    let lines = |stream: &str| {
        let text = fs::read_to_string(records.join(format!("{stream}.jsonl"))).unwrap();
        text.lines().count()
    };
    assert!(lines("time_frames") > 0 && lines("audit_events") > 0);
    // The simulator has one entry for each user and time frame.
    let entries = lines("forecast_users") * lines("time_frames");
    assert_eq!(lines("forecast_entries"), entries);
    assert!(
        ran.err.contains("read before the interruption"),
        "{}",
        ran.err
    );
}

#[test]
fn at_a_terminal_the_demo_offers_the_console_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let home = format!("TMPDIR={}", folder.path().display());
    let mut session = Session::start("env", &[&home, HEADWATER, "demo"]);
    session.wait_for("Open the console on the simulators now");
    session.type_line("y");
    session.wait_for("The console is at ");
    session.wait_for("Clari Copilot  API Key         sandbox-key");
    session.press_ctrl_c();
    let (code, _) = session.end();
    assert_eq!(code, Some(0));
    assert_eq!(files(folder.path()), [""; 0]);
}

#[test]
fn the_console_of_the_demo_works_with_what_the_simulators_accept() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(HEADWATER)
        .args(["demo", "--console"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut console, mut simulator) = (String::new(), String::new());
    for line in lines.by_ref().map(Result::unwrap) {
        let mut addresses = line
            .split_whitespace()
            .filter(|word| word.starts_with("http://"));
        match addresses.next_back() {
            Some(address) if console.is_empty() => console = address.to_owned(),
            Some(address) => simulator = address.to_owned(),
            None => {}
        }
        if !simulator.is_empty() {
            break;
        }
    }
    let config = json!({ "api_key": API_KEY, "api_password": API_PASSWORD, "base_url": simulator });
    let new = json!({ "connector": "clari-copilot", "title": "Calls", "config": config });
    let saved = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = client().build().unwrap();
        let page = client.get(&console).send().await.unwrap();
        assert!(page.text().await.unwrap().contains("Clari Copilot"));
        let request = client.post(format!("{console}/api/v1/connections"));
        let request = request.header("content-type", "application/json");
        request.body(new.to_string()).send().await.unwrap().status()
    });
    assert_eq!(saved, 201);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(files(folder.path()), [""; 0]);
}
