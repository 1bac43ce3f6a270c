//! `headwater sandbox`: what it prints is what works.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
};

use acceptance::binary::{Ran, command, run, run_with_input};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

/// A simulator in a process of its own, and its first lines.
fn start(arguments: &[&str], lines: usize) -> (Child, String) {
    let mut child = command(HEADWATER)
        .arg("sandbox")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.as_mut().unwrap());
    let mut text = String::new();
    for _ in 0..lines {
        reader.read_line(&mut text).unwrap();
    }
    (child, text)
}

fn interrupt(mut child: Child) {
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    let mut error = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), error.as_str()),
        (Some(0), "")
    );
}

#[test]
fn the_commands_that_it_prints_work() {
    let (child, text) = start(&["--size", "10", "--per-second", "0"], 8);
    let shown: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("| headwater "))
        .collect();
    assert_eq!(shown.len(), 2, "{text}");
    for line in shown {
        let line = line.replace("| headwater ", &format!("| {HEADWATER} "));
        let ran: Ran = command("bash").args(["-c", &line]).output().unwrap().into();
        assert_eq!(ran.code, Some(0), "{line}\n{}", ran.all());
    }
    interrupt(child);
}

#[test]
fn a_machine_gets_one_line_and_faults_come_from_the_flag() {
    let (child, text) = start(&["--json", "--size", "10", "--faults", "deny=/users"], 1);
    let announced: Value = serde_json::from_str(&text).unwrap();
    let config = announced["simulations"][0]["config"].to_string();
    let report = run_with_input(
        HEADWATER,
        ["check", "clari-copilot", "--config", "-", "--json"],
        config.as_bytes(),
    );
    assert_eq!(report.code, Some(0), "{}", report.all());
    assert_eq!(report.json()["outcome"], "warned");

    let port = announced["base_url"]
        .as_str()
        .unwrap()
        .rsplit_once(':')
        .unwrap()
        .1;
    let taken = run(HEADWATER, ["sandbox", "--port", port]);
    assert_eq!(taken.code, Some(2));
    assert!(taken.err.contains("cannot be used"), "{}", taken.err);
    interrupt(child);
}

#[test]
fn another_service_is_named_by_its_connector() {
    let arguments = [
        "clari-revenue",
        "--json",
        "--size",
        "10",
        "--switch",
        "versions=both",
    ];
    let (child, text) = start(&arguments, 1);
    let announced: Value = serde_json::from_str(&text).unwrap();
    let simulated = &announced["simulations"][0];
    assert_eq!(simulated["id"], "clari-revenue");
    let base_url = announced["base_url"].as_str().unwrap();
    assert_eq!(simulated["config"]["base_url"], format!("{base_url}/v4"));
    interrupt(child);
}
