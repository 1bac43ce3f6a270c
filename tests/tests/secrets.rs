//! No secret leaves by a side door: unique values in every secret field, every command, every fault, every place
//! that a run leaves something in.

use std::{fs, path::Path, process::Stdio};

use acceptance::{
    binary::{Ran, command, run_with_input},
    simulation, unlimited_sandbox,
};
use headwater_testkit::{Reply, Script};
use serde_json::json;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";
const KEY: &str = "Kq7canaryZ3vXw";
const PASSWORD: &str = "Pm9canaryT5uYs";

/// Fragments of eight characters: half a secret is a leak, too.
fn leaks(text: &str) -> Vec<String> {
    let hidden = [KEY, PASSWORD].into_iter().flat_map(|secret| {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let pieces = secret
            .as_bytes()
            .windows(8)
            .map(|piece| String::from_utf8_lossy(piece).into_owned());
        pieces.chain([hex]).collect::<Vec<_>>()
    });
    hidden.filter(|piece| text.contains(piece)).collect()
}

fn assert_clean(place: &str, text: &str) {
    let found = leaks(text);
    assert!(found.is_empty(), "{place} holds {found:?}: {text}");
}

fn assert_folder_clean(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            assert_folder_clean(&entry.path());
        } else {
            let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
            assert_clean(&entry.path().display().to_string(), &text);
        }
    }
}

fn run_everything(base_url: &str, folder: &Path) -> Vec<Ran> {
    let answer =
        json!({ "api_key": KEY, "api_password": PASSWORD, "base_url": base_url }).to_string();
    let (out, state) = (folder.join("out"), folder.join("state.json"));
    let read = [
        "read",
        ID,
        "--config",
        "-",
        "--out",
        out.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
    ];
    [
        &["check", ID, "--config", "-"][..],
        &["check", ID, "--config", "-", "--json"],
        &read,
        &["read", ID, "--config", "-", "--json"],
    ]
    .into_iter()
    .map(|arguments| run_with_input(HEADWATER, arguments, answer.as_bytes()))
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_repeats_the_credentials_does_not_make_us_repeat_them() {
    // The whole request comes back as the complaint, on every status, as a body and as a redirect.
    for status in [200, 302, 400, 401, 403, 404, 429, 500] {
        let script = Script::start(move |request| {
            let (key, password) = (
                request.header("x-api-key").unwrap_or_default(),
                request.header("x-api-password").unwrap_or_default(),
            );
            let body = json!({ "errorMessage": format!("bad pair {key} {password}") }).to_string();
            let location = format!("https://elsewhere.invalid/{key}?password={password}");
            let headers = [
                ("content-type", "application/json"),
                ("location", location.as_str()),
                ("retry-after", "9999"),
            ];
            Reply::full(status, &headers, body.as_bytes())
        })
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        for ran in run_everything(&script.base_url(), folder.path()) {
            assert_ne!(ran.code, Some(0));
            assert_clean(&format!("the output at status {status}"), &ran.all());
        }
        assert_folder_clean(folder.path());
        assert!(
            script
                .requests()
                .iter()
                .all(|request| leaks(&request.target).is_empty()),
            "a secret is in a URL"
        );
        assert!(
            script
                .requests()
                .iter()
                .any(|request| request.header("x-api-key") == Some(KEY))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_do_not_bring_secrets_out() {
    let sandbox = unlimited_sandbox(10).await;
    for faults in ["html=99", "other_json=99", "truncate=99", "reset=99"] {
        sandbox.set_faults(faults.parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        for ran in run_everything(&sandbox.base_url(), folder.path()) {
            assert_clean(faults, &ran.all());
        }
        assert_folder_clean(folder.path());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_neither_among_the_arguments_nor_in_the_environment() {
    let sandbox = unlimited_sandbox(10).await;
    sandbox.set_faults("latency=300ms".parse().unwrap());
    let answer = (simulation(ID).form)(&sandbox.base_url()).to_string();
    let mut child = command(HEADWATER)
        .args(["read", ID, "--config", "-", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), answer.as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    for place in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{}/{place}", child.id())).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(
            !text.is_empty() && !text.contains(headwater_sandbox::API_PASSWORD),
            "{place}: {text}"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_check_finds_what_it_looks_for() {
    assert!(!leaks(&format!("x{}", &KEY[3..])).is_empty());
    assert!(leaks("nothing here").is_empty());
}
