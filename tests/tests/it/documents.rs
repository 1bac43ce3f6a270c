//! Every command that a document shows is one that works.

use std::{fs, path::PathBuf};

use acceptance::{
    binary::{command, run},
    simulation, unlimited_sandbox, workspace,
};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

/// The lines of the `console` blocks of a document that call headwater.
fn commands(path: &PathBuf) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let mut is_inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_inside = line == "```console";
        } else if is_inside && let Some(command) = line.strip_prefix("$ ") {
            found.push(command.to_owned());
        }
    }
    found
}

fn documents() -> Vec<PathBuf> {
    let docs = workspace().join("docs");
    let listed = acceptance::binary::files(&docs);
    let pages = listed
        .iter()
        .filter(|name| name.ends_with(".md"))
        .map(|name| docs.join(name));
    pages.chain([workspace().join("README.md")]).collect()
}

/// Runs each with a simulator behind it, in a folder of its own, as a shell would.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_shown_runs() {
    let sandbox = unlimited_sandbox(10).await;
    let mut shown = 0;
    for path in documents() {
        let folder = tempfile::tempdir().unwrap();
        let config = (simulation("clari-copilot").form)(&sandbox.base_url());
        fs::write(folder.path().join("copilot.json"), config.to_string()).unwrap();
        fs::write(
            folder.path().join("password"),
            headwater_sandbox::API_PASSWORD,
        )
        .unwrap();
        fs::write(
            folder.path().join("copilot.env"),
            format!("COPILOT_KEY={}\n", headwater_sandbox::API_KEY),
        )
        .unwrap();
        for line in commands(&path) {
            // The demo, the simulator and the service have tests of their own; cargo is not run from within cargo.
            if line.starts_with("cargo")
                || line.contains("headwater demo")
                || line.starts_with("headwater sandbox")
                || line.starts_with("headwater serve")
            {
                continue;
            }
            shown += 1;
            let line = line.replacen("headwater ", &format!("{HEADWATER} "), 1);
            let line = line.replace("| headwater ", &format!("| {HEADWATER} "));
            let output = command("bash")
                .args(["-o", "pipefail", "-c", &line])
                .current_dir(folder.path())
                .env("HEADWATER_HOME", folder.path())
                .env("COPILOT_KEY", headwater_sandbox::API_KEY)
                .env("REDACTION_KEY", "a key that is long enough")
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "{}: {line}\n{error}",
                path.display()
            );
        }
    }
    assert!(shown >= 8, "only {shown} commands were found");
}

#[test]
fn the_readme_has_exactly_its_two_commands_at_the_top() {
    let commands = commands(&workspace().join("README.md"));
    assert_eq!(
        commands[..2],
        ["cargo run --release -- demo", "cargo test --workspace"]
    );
}

#[test]
fn every_command_is_in_the_reference() {
    let reference = fs::read_to_string(workspace().join("docs/command-line.md")).unwrap();
    let help = run(HEADWATER, ["--help"]).out;
    let listed = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    for name in listed.filter_map(|line| line.split_whitespace().next()) {
        assert!(
            reference.contains(&format!("## `headwater {name}")),
            "docs/command-line.md lacks {name}"
        );
    }
}

/// Relative links of the documents lead somewhere.
/// A promise whose test is gone is none.
#[test]
fn every_test_that_holds_a_promise_is_there() {
    let text = fs::read_to_string(workspace().join("docs/security.md")).unwrap();
    let folders = ["connectors", "framework", "tests/tests"];
    let files = folders.map(|folder| acceptance::binary::contents(&workspace().join(folder)));
    let sources = files.into_iter().flatten();
    let sources = sources.filter(|(path, _)| path.extension().is_some_and(|ending| ending == "rs"));
    let sources: String = sources
        .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
        .collect();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let names = quoted.filter(|name| name.len() > 20 && name.bytes().all(is_of_a_name));
    let mut count = 0;
    for name in names {
        let is_there = sources.contains(&format!("fn {name}("));
        assert!(
            is_there,
            "docs/security.md names the test {name}, which is not there"
        );
        count += 1;
    }
    assert!(count > 50, "{count}");
}

const fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

#[test]
fn links_lead_somewhere() {
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.starts_with("http") {
                continue;
            }
            assert!(
                path.parent().unwrap().join(target).exists(),
                "{} links to {target}",
                path.display()
            );
        }
    }
}
