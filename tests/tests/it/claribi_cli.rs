//! The command line with a service that has plans, limits by the hour and three headers for a key.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use acceptance::{
    binary::{Ran, command, files, run, run_with_input},
    claribi::{answer, by_key, organization, organization_of},
};
use headwater_sandbox::{
    ClaribiOptions, Sandbox,
    claribi::{API_KEY, KeyHeaders, RateLimit},
};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "claribi";

fn check(answer: &Value, more: &[&str]) -> Ran {
    let arguments = ["check", ID, "--config", "-"].iter().chain(more);
    run_with_input(HEADWATER, arguments, answer.to_string().as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_is_used_of_the_plan() {
    let sandbox = organization_of(6).await;
    let ran = check(&answer(&sandbox.base_url()), &["--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let report = ran.json();
    let allowances = report["allowances"].as_array().unwrap();
    assert_eq!(allowances.len(), 4);
    let sources = allowances
        .iter()
        .find(|one| one["name"] == "data_sources")
        .unwrap();
    assert_eq!(
        *sources,
        json!({
            "name": "data_sources", "title": "data sources",
            "used": 6, "limit": 15, "left": 9, "used_percent": 40,
        })
    );
    assert_eq!(report["patch"], Value::Null);

    let shown = check(&answer(&sandbox.base_url()), &[]);
    let lines: Vec<Vec<&str>> = shown
        .out
        .lines()
        .map(|line| {
            line.split("  ")
                .filter(|cell| !cell.is_empty())
                .map(str::trim)
                .collect()
        })
        .collect();
    assert!(
        lines.contains(&vec!["allowance", "used", "limit", "left", "used %"]),
        "{}",
        shown.out
    );
    assert!(
        lines.contains(&vec!["data sources", "6", "15", "9", "40"]),
        "{}",
        shown.out
    );
}

/// A service that takes the key in `X-API-Key` alone.
async fn other_header() -> Sandbox {
    organization(ClaribiOptions {
        key_headers: KeyHeaders::XApiKey,
        ..ClaribiOptions::default()
    })
    .await
}

fn write(path: &Path, base_url: &str) -> String {
    let text = format!(
        "{{\n  \"base_url\" : \"{base_url}\",\n\n\t\"auth\": {{ \"api_key\":\"env:CLARIBI_KEY\", \"style\":\"bearer\" }},\n  \
         \"stale_after_hours\": 24.0\n}}\n\n"
    );
    fs::write(path, &text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_check_finds_out_can_be_written_into_the_config() {
    let sandbox = other_header().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claribi.json");
    let before = write(&path, &sandbox.base_url());
    let check = |more: &[&str]| -> Ran {
        command(HEADWATER)
            .args(["check", ID, "--config", path.to_str().unwrap()])
            .args(more)
            .env("CLARIBI_KEY", API_KEY)
            .output()
            .unwrap()
            .into()
    };
    // It is offered, and nothing is changed unasked.
    let offered = check(&[]);
    assert_eq!(offered.code, Some(3));
    assert!(offered.out.contains("X-API-Key"), "{}", offered.out);
    assert!(
        offered.out.contains("set auth.style to \"x_api_key\""),
        "{}",
        offered.out
    );
    let machine = check(&["--json"]).json();
    assert_eq!(
        machine["patch"]["set"],
        json!({ "/auth/style": "x_api_key" })
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), before);

    let applied = check(&["--apply"]);
    assert_eq!(applied.code, Some(3), "{}", applied.all());
    let after = fs::read_to_string(&path).unwrap();
    assert_eq!(after, before.replace("\"bearer\"", "\"x_api_key\""));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(files(folder.path()), ["claribi.json"]);

    // Now there is nothing to apply.
    let again = check(&["--apply"]);
    assert_eq!(again.code, Some(0), "{}", again.all());
    assert_eq!(fs::read_to_string(&path).unwrap(), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_config_stays_one() {
    let sandbox = other_header().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (
        folder.path().join("real.json"),
        folder.path().join("link.json"),
    );
    let config = by_key(&sandbox.base_url(), "bearer", API_KEY);
    fs::write(&path, config.to_string()).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    run(
        HEADWATER,
        ["check", ID, "--apply", "--config", link.to_str().unwrap()],
    );
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let changed: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(changed, by_key(&sandbox.base_url(), "x_api_key", API_KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_there_is_nothing_to_write_to_and_nobody_is_asked() {
    let sandbox = organization_of(6).await;
    let config = answer(&sandbox.base_url());
    let base_url = format!("base_url={}", sandbox.base_url());
    for ran in [
        check(&config, &["--apply"]),
        run(HEADWATER, ["check", ID, "--apply", "--set", &base_url]),
    ] {
        assert_eq!(ran.code, Some(2));
        assert!(ran.err.contains("needs --config FILE"), "{}", ran.err);
    }
    assert_eq!(sandbox.stats().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alternative_is_set_field_by_field() {
    let sandbox = organization_of(6).await;
    let base_url = format!("base_url={}", sandbox.base_url());
    let set = |assignments: &[&str]| -> Ran {
        let mut run = command(HEADWATER);
        run.args(["check", ID, "--set", &base_url]);
        for assignment in assignments {
            run.args(["--set", assignment]);
        }
        run.env("CLARIBI_KEY", API_KEY).output().unwrap().into()
    };
    let ran = set(&["auth.style=x_api_key", "auth.api_key=env:CLARIBI_KEY"]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    for (assignments, says) in [
        (&["auth.api_key=env:CLARIBI_KEY"][..], "/auth/style"),
        (
            &["auth.style=cookie", "auth.api_key=env:CLARIBI_KEY"],
            "/auth/style",
        ),
        (
            &["auth.style=jwt", "auth.api_key=env:CLARIBI_KEY"],
            "/auth/api_key",
        ),
        (
            &["auth.style=bearer", "auth.api_key=canary"],
            "/auth/api_key",
        ),
        (
            &["auth.style=bearer", "auth.api_key=env:NOT_SET"],
            "/auth/api_key",
        ),
    ] {
        let ran = set(assignments);
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        assert_eq!(ran.err.matches(says).count(), 1, "{}", ran.err);
        assert!(!ran.all().contains("canary"), "{}", ran.all());
    }
}

#[test]
fn offline_nothing_is_said_of_a_secret_that_is_not_known() {
    let offline = |more: &[&str]| {
        let arguments = [
            "check",
            ID,
            "--offline",
            "--set",
            "auth.style=bearer",
            "--set",
            "auth.api_key=env:NOT_SET",
        ];
        run(HEADWATER, arguments.iter().chain(more))
    };
    let ran = offline(&[]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{}", ran.all());
    assert_eq!(ran.out.matches("NOT_SET").count(), 1, "{}", ran.out);
    assert_eq!(offline(&["--apply"]).code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_uses_up_the_hour_keeps_what_it_has() {
    let limit = |requests| ClaribiOptions {
        data_sources: 300,
        rate_limit: RateLimit::Of {
            requests,
            window: Duration::from_secs(3600),
        },
        ..ClaribiOptions::default()
    };
    // The first one asks for the account.
    let sandbox = Sandbox::start(limit(8)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (out, state) = (folder.path().join("out"), folder.path().join("state.json"));
    let read = |sandbox: &Sandbox| {
        let arguments = [
            "read",
            ID,
            "--config",
            "-",
            "--stream",
            "reports",
            "--out",
            out.to_str().unwrap(),
            "--state",
            state.to_str().unwrap(),
        ];
        let config = answer(&sandbox.base_url()).to_string();
        run_with_input(HEADWATER, arguments, config.as_bytes())
    };
    let first = read(&sandbox);
    assert_eq!(first.code, Some(5), "{}", first.all());
    assert!(first.err.contains("try again in"), "{}", first.err);
    let lines = || {
        fs::read_to_string(out.join("reports.jsonl"))
            .unwrap()
            .lines()
            .count()
    };
    assert_eq!(lines(), 700);
    // An hour later, with another simulator in the place of the passage of time.
    let later = Sandbox::start(limit(100)).await.unwrap();
    let second = read(&later);
    assert_eq!(second.code, Some(0), "{}", second.all());
    assert_eq!(lines(), 900);
    assert_eq!(later.stats().requests, 3);
}
