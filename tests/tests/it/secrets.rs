//! No secret leaves by a side door: unique values in every secret field, every command, every fault, every place
//! that a run leaves something in.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::Stdio,
};

use acceptance::{
    binary::{Ran, command, run_with_input},
    simulation, unlimited_sandbox,
};
use headwater_testkit::{Reply, Request, Script};
use serde_json::{Value, json};

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

/// Every connector, with its secrets in every way that it sends them.
fn configs(base_url: &str) -> Vec<(&'static str, Value)> {
    let revenue = |profile| {
        let answer = json!({
            "api_key": KEY, "base_url": base_url, "auth_profile": profile, "forecast_ids": ["net_arr"],
            "opportunity_ids": ["006"],
        });
        ("clari-revenue", answer)
    };
    let copilot = json!({ "api_key": KEY, "api_password": PASSWORD, "base_url": base_url });
    vec![
        (ID, copilot),
        revenue("automatic"),
        revenue("apikey"),
        revenue("bearer"),
    ]
}

fn run_everything(id: &str, answer: &Value, folder: &Path) -> Vec<Ran> {
    let answer = answer.to_string();
    let (out, state) = (folder.join("out"), folder.join("state.json"));
    let read = [
        "read",
        id,
        "--config",
        "-",
        "--out",
        out.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
        "-vvv",
    ];
    [
        &["check", id, "--config", "-"][..],
        &["check", id, "--config", "-", "-vvv"],
        &["check", id, "--config", "-", "--json"],
        &read,
        &["read", id, "--config", "-", "--json"],
    ]
    .into_iter()
    .map(|arguments| run_with_input(HEADWATER, arguments, answer.as_bytes()))
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_repeats_the_credentials_does_not_make_us_repeat_them() {
    // The whole request comes back as the complaint, on every status, as a body and as a redirect.
    let statuses = [200, 302, 400, 401, 403, 404, 429, 500];
    let all = statuses.map(|status| tokio::spawn(repeats_credentials(status)));
    for one in all {
        one.await.unwrap();
    }
}

async fn repeats_credentials(status: u16) {
    let script = Script::start(move |request| {
        let header = |name| request.header(name).unwrap_or_default();
        let given = ["x-api-key", "x-api-password", "apikey", "authorization"].map(header);
        let given = given.join(" ");
        let body = json!({ "errorMessage": format!("bad pair {given}") }).to_string();
        let location = format!(
            "https://elsewhere.invalid/x?password={}",
            given.replace(' ', "_")
        );
        let headers = [
            ("content-type", "application/json"),
            ("location", location.as_str()),
            ("retry-after", "9999"),
        ];
        Reply::full(status, &headers, body.as_bytes())
    })
    .await
    .unwrap();
    for (id, answer) in configs(&script.base_url()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let runs = tokio::task::spawn_blocking(move || run_everything(id, &answer, &path));
        for ran in runs.await.unwrap() {
            assert_ne!(ran.code, Some(0));
            assert_clean(
                &format!("the output of {id} at status {status}"),
                &ran.all(),
            );
        }
        assert_folder_clean(folder.path());
    }
    let requests = script.requests();
    assert!(
        requests
            .iter()
            .all(|request| leaks(&request.target).is_empty()),
        "a secret is in a URL"
    );
    for (name, value) in [
        ("x-api-key", KEY.to_owned()),
        ("apikey", KEY.to_owned()),
        ("authorization", format!("Bearer {KEY}")),
    ] {
        let sent = |request: &Request| request.header(name) == Some(&value);
        assert!(
            requests.iter().any(sent),
            "{name} was not sent at status {status}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_do_not_bring_secrets_out() {
    let sandbox = unlimited_sandbox(10).await;
    for faults in ["html=99", "other_json=99", "truncate=99", "reset=99"] {
        sandbox.set_faults(faults.parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let (id, answer) = configs(&sandbox.base_url()).remove(0);
        for ran in run_everything(id, &answer, folder.path()) {
            assert_clean(faults, &ran.all());
        }
        assert_folder_clean(folder.path());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_neither_among_the_arguments_nor_in_the_environment() {
    let sandbox = unlimited_sandbox(10).await;
    sandbox.set_faults("latency=60s".parse().unwrap());
    let answer = (simulation(ID).form)(&sandbox.base_url()).to_string();
    let mut child = command(HEADWATER)
        .args(["read", ID, "--config", "-", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), answer.as_bytes()).unwrap();
    // By then it has read them and put them into a request.
    let patience = std::time::Instant::now();
    while sandbox.stats().requests == 0 {
        assert!(patience.elapsed().as_secs() < 60, "nothing is asked");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let limit = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let limit: Vec<&str> = limit.unwrap().split_whitespace().collect();
    assert_eq!(limit[4..], ["0", "0", "bytes"], "{limits}");
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

/// The files of a process that cannot be dumped belong to root, not to the user of the process.
#[tokio::test(flavor = "multi_thread")]
async fn no_other_process_of_the_user_reads_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    // Root runs it as another user, so that the owner of its files tells.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let (program, user) = match is_root {
        true => (folder.path().join("headwater"), 65534),
        false => (HEADWATER.into(), fs::metadata("/proc/self").unwrap().uid()),
    };
    if is_root {
        fs::copy(HEADWATER, &program).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    }
    let mut child = command(program.to_str().unwrap())
        .args(["sandbox", ID, "--port", "0"])
        .current_dir("/")
        .uid(user)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let owner = fs::metadata(format!("/proc/{}/environ", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(owner.unwrap().uid(), 0, "{line}");
}

#[test]
fn the_check_finds_what_it_looks_for() {
    assert!(!leaks(&format!("x{}", &KEY[3..])).is_empty());
    assert!(leaks("nothing here").is_empty());
}
