//! Secret fields that say where the secret is: every kind, good and bad, with nothing of a secret in what is printed.

use std::{fs, path::Path, process::Stdio};

use acceptance::{
    binary::{Ran, command},
    unlimited_sandbox,
};
use headwater_sandbox::{API_KEY, API_PASSWORD};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";
/// What a bad reference leads to; it must never be seen.
const HIDDEN: &str = "Hq7canaryV2";

/// Values of the variable that are not lists of names.
const HIDDEN_PAIR: &str = "KEY=Hq7canaryV2";

/// Runs a command in a folder that holds `config.json` with this answer.
fn run_in(folder: &Path, answer: &Value, arguments: &[&str]) -> Ran {
    run_naming("", folder, answer, arguments)
}

/// The same, where the operator names variables that commands get.
fn run_naming(names: &str, folder: &Path, answer: &Value, arguments: &[&str]) -> Ran {
    fs::write(folder.join("config.json"), answer.to_string()).unwrap();
    command(HEADWATER)
        .args(arguments)
        .args(["--config", "config.json"])
        .current_dir(folder)
        .env("HEADWATER_TEST_PASSWORD", API_PASSWORD)
        .env("HEADWATER_TEST_HIDDEN", HIDDEN)
        .env("HEADWATER_STORE_KEY", HIDDEN)
        .env("HEADWATER_COMMAND_ENV", names)
        .env("HOME", folder)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap()
        .into()
}

fn assert_silent(ran: &Ran) {
    for secret in [HIDDEN, API_KEY, API_PASSWORD] {
        assert!(!ran.all().contains(secret), "{}", ran.all());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_leads_to_the_secret() {
    let sandbox = unlimited_sandbox(10).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), format!("{API_KEY}\r\n")).unwrap();
    fs::write(
        folder.path().join("settings"),
        format!("# ours\nexport HEADWATER_TEST_KEY='{API_KEY}'\n"),
    )
    .unwrap();
    for reference in [
        "file:key",
        "env:HEADWATER_TEST_KEY",
        "command:cat key",
        "command:sh -c 'cat \"$0\"; echo noise >&2' key",
        "command:[\"cat\", \"key\"]",
    ] {
        let answer = json!({
            "api_key": reference,
            "api_password": "env:HEADWATER_TEST_PASSWORD",
            "base_url": sandbox.base_url(),
        });
        let ran = run_in(
            folder.path(),
            &answer,
            &["check", ID, "--env-file", "settings"],
        );
        assert_eq!(ran.code, Some(0), "{reference}: {}", ran.all());
        assert!(!ran.all().contains("noise"), "{}", ran.all());
        assert_silent(&ran);
        let read = ["read", ID, "--env-file", "settings", "--stream", "users"];
        let ran = run_in(folder.path(), &answer, &read);
        assert_eq!(ran.code, Some(0), "{reference}: {}", ran.all());
        assert_silent(&ran);
    }
}

#[test]
fn a_reference_that_leads_nowhere_is_told_at_its_field_and_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("binary"), b"\xff").unwrap();
    fs::write(folder.path().join("large"), vec![b'x'; (64 << 10) + 1]).unwrap();
    let noisy = format!("sh -c 'echo {HIDDEN}; echo {HIDDEN} >&2; exit 3'");
    for (reference, says) in [
        (
            "env:HEADWATER_TEST_UNSET",
            "refers to the environment variable \"HEADWATER_TEST_UNSET\", which is not set",
        ),
        ("env:", "is a reference without a target; write env:NAME"),
        (
            "file:nowhere",
            "refers to the file \"nowhere\", which cannot be opened",
        ),
        ("file:binary", "\"binary\", which is not UTF-8 text"),
        ("file:large", "\"large\", which is far too large"),
        ("file:", "is a reference without a target; write file:PATH"),
        (
            &format!("command:{noisy}"),
            "refers to the command \"sh\", which ended with status 3",
        ),
        (
            &format!("command:no-such-program-here {HIDDEN}"),
            "refers to the command \"no-such-program-here\", which cannot be started",
        ),
        (
            "command:",
            "is a reference without a target; write command:",
        ),
        (
            &format!("command:sh '{HIDDEN}"),
            "is a command with a quote that is not closed",
        ),
        (
            &format!("command:[\"{HIDDEN}\", 1]"),
            "is a command that is not a JSON array of texts",
        ),
        // The right secret of another field is not what this one wants.
        (
            "command:printf 'a b'",
            "API Key holds a space, a line break",
        ),
    ] {
        let answer = json!({ "api_key": reference, "api_password": "env:HEADWATER_TEST_HIDDEN" });
        for json in [false, true] {
            let arguments: &[&str] = if json {
                &["check", ID, "--json"]
            } else {
                &["check", ID]
            };
            let ran = run_in(folder.path(), &answer, arguments);
            assert_eq!(ran.code, Some(2), "{reference}: {}", ran.all());
            assert_silent(&ran);
            let message = if json {
                let told: Value = serde_json::from_str(&ran.err).unwrap();
                assert_eq!(told["errors"][0]["pointer"], "/api_key");
                told["errors"][0]["message"].as_str().unwrap().to_owned()
            } else {
                ran.err.clone()
            };
            assert!(message.contains(says), "{reference}: {message}");
        }
    }
}

#[cfg(not(feature = "aws-sm"))]
#[test]
fn a_build_without_aws_says_how_to_get_one_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let answer = json!({ "api_key": "aws-sm:pair#key", "api_password": "env:HOME" });
    for arguments in [&["check", ID][..], &["check", ID, "--offline"]] {
        let ran = run_in(folder.path(), &answer, arguments);
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        assert!(
            ran.err
                .contains("which this build leaves out; build it with `--features aws-sm`"),
            "{}",
            ran.err
        );
    }
}

/// A value may be looked up with a colon in it, so a prefix that nobody knows makes it no reference.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_with_a_colon_is_a_secret() {
    let sandbox = unlimited_sandbox(10).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = format!("vault:{HIDDEN}");
    let answer = json!({ "api_key": secret, "api_password": "env:HEADWATER_TEST_PASSWORD", "base_url": sandbox.base_url() });
    let ran = run_in(folder.path(), &answer, &["check", ID]);
    assert_eq!(ran.code, Some(3), "{}", ran.all());
    assert_silent(&ran);
}

#[test]
fn arguments_take_references_and_nothing_else_for_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let password = json!({ "api_password": "env:HEADWATER_TEST_PASSWORD" });
    for value in [
        HIDDEN.to_owned(),
        format!("vault:{HIDDEN}"),
        format!("ENV:{HIDDEN}"),
        format!(" env:{HIDDEN}"),
    ] {
        let set = format!("api_key={value}");
        let ran = run_in(folder.path(), &password, &["check", ID, "--set", &set]);
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        assert!(
            ran.err
                .contains("API Key is a secret, and every user of this machine can see arguments"),
            "{}",
            ran.err
        );
        for form in ["env:NAME", "file:PATH", "command:PROGRAM", "aws-sm:NAME"] {
            assert!(ran.err.contains(form), "{form}: {}", ran.err);
        }
        assert_silent(&ran);
    }
    for reference in ["env:X", "file:x", "command:pass show key"] {
        let set = format!("api_key={reference}");
        let arguments = ["check", ID, "--offline", "--set", &set];
        let ran = run_in(folder.path(), &password, &arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.all());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_file_is_read_only_when_it_is_named_and_only_by_references() {
    let sandbox = unlimited_sandbox(10).await;
    let folder = tempfile::tempdir().unwrap();
    let lines = format!("HEADWATER_TEST_KEY={API_KEY}\nHEADWATER_TEST_PASSWORD={HIDDEN}\n");
    fs::write(folder.path().join(".env"), lines).unwrap();
    let mut answer = json!({
        "api_key": "env:HEADWATER_TEST_KEY",
        "api_password": "env:HEADWATER_TEST_PASSWORD",
        "base_url": sandbox.base_url(),
    });
    let ran = run_in(folder.path(), &answer, &["check", ID]);
    assert_eq!(ran.code, Some(2), "{}", ran.all());
    assert!(
        ran.err.contains("\"HEADWATER_TEST_KEY\", which is not set"),
        "{}",
        ran.err
    );

    // The file comes before the environment, which has the right password.
    let named = ["check", ID, "--env-file", ".env"];
    let ran = run_in(folder.path(), &answer, &named);
    assert_eq!(ran.code, Some(3), "{}", ran.all());
    assert_silent(&ran);

    // The environment itself is as it was: a command sees the variable that it always had, and no other.
    answer["api_password"] =
        "command:sh -c 'printf %s \"$HEADWATER_TEST_KEY$HEADWATER_TEST_PASSWORD\"'".into();
    let names = "HEADWATER_TEST_KEY, HEADWATER_TEST_PASSWORD";
    let ran = run_naming(names, folder.path(), &answer, &named);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_silent(&ran);
}

#[test]
fn a_command_gets_no_secret_of_the_environment_that_is_not_named() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let answer = json!({
        "api_key": format!("command:sh -c 'env > {}; echo key'", seen.display()),
        "api_password": "env:HEADWATER_TEST_PASSWORD",
        "base_url": "http://127.0.0.1:1",
    });
    let variables = |text: String| -> Vec<String> {
        let names = text
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0.to_owned()));
        names.collect()
    };
    for (names, gets) in [("", false), ("OTHER,HEADWATER_TEST_HIDDEN", true)] {
        let ran = run_naming(names, folder.path(), &answer, &["check", ID]);
        assert_eq!(ran.code, Some(5), "{}", ran.all());
        let seen = variables(fs::read_to_string(&seen).unwrap());
        let has = |name: &str| seen.iter().any(|seen| seen == name);
        assert!(has("PATH") && has("HOME") && has("LC_ALL"), "{seen:?}");
        assert_eq!(has("HEADWATER_TEST_HIDDEN"), gets, "{seen:?}");
        for name in ["HEADWATER_STORE_KEY", "HEADWATER_TEST_PASSWORD", "NO_COLOR"] {
            assert!(!has(name), "{seen:?}");
        }
    }
    for (names, says) in [
        (
            "HEADWATER_STORE_KEY",
            "HEADWATER_COMMAND_ENV names HEADWATER_STORE_KEY, which no command gets",
        ),
        (
            HIDDEN_PAIR,
            "HEADWATER_COMMAND_ENV is not a list of names separated by commas",
        ),
    ] {
        let ran = run_naming(names, folder.path(), &answer, &["check", ID]);
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        assert!(ran.err.contains(says), "{}", ran.err);
        assert_silent(&ran);
    }
}

#[test]
fn an_environment_file_that_cannot_be_read_is_told_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let answer = json!({ "api_key": "env:A", "api_password": "env:B" });
    for (text, says) in [
        (
            format!("A=1\n{HIDDEN}\n"),
            "has a line that is not NAME=VALUE (line 2)",
        ),
        (
            format!("A='{HIDDEN}"),
            "has a quote that is not closed on its line (line 1)",
        ),
        (
            format!("A=1\nB=2\nA={HIDDEN}"),
            "sets a name that it has set before (line 3)",
        ),
    ] {
        fs::write(folder.path().join("settings"), text).unwrap();
        for arguments in [
            &["check", ID, "--env-file", "settings"][..],
            &["check", ID, "--env-file", "settings", "--offline"],
            &["read", ID, "--env-file", "settings"],
        ] {
            let ran = run_in(folder.path(), &answer, arguments);
            assert_eq!(ran.code, Some(2), "{}", ran.all());
            assert!(
                ran.err
                    .contains(&format!("the environment file settings {says}")),
                "{}",
                ran.err
            );
            assert_silent(&ran);
        }
    }
    let ran = run_in(folder.path(), &answer, &["check", ID, "--env-file", "none"]);
    assert_eq!(ran.code, Some(2), "{}", ran.all());
    assert!(
        ran.err.contains("the environment file none cannot be read"),
        "{}",
        ran.err
    );
}

#[test]
fn offline_nothing_is_followed_and_nobody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let answer = json!({
        "api_key": "command:sh -c 'echo ran > ran'",
        "api_password": "file:nowhere",
        // A request to a port that nobody listens on would fail.
        "base_url": "http://127.0.0.1:1",
    });
    let ran = run_in(folder.path(), &answer, &["check", ID, "--offline"]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    for line in [
        "the answers fit the form",
        "not followed: the command \"sh\"",
        "not followed: the file \"nowhere\"",
        "not tested: this check is offline",
    ] {
        assert!(ran.out.contains(line), "{}", ran.out);
    }
    assert!(!folder.path().join("ran").exists());

    let ran = run_in(
        folder.path(),
        &answer,
        &["check", ID, "--offline", "--json"],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(ran.json()["outcome"], "passed");
    let names: Vec<Value> = ran.json()["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["name"].clone())
        .collect();
    assert_eq!(
        names,
        [
            "form",
            "reference:/api_key",
            "reference:/api_password",
            "service"
        ]
    );
}

#[test]
fn offline_every_error_of_the_form_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let answer = json!({
        "api_key": "command:sh '",
        "api_password": format!("{HIDDEN} with spaces"),
        "start_date": "yesterday",
    });
    let ran = run_in(
        folder.path(),
        &answer,
        &["check", ID, "--offline", "--json"],
    );
    assert_eq!(ran.code, Some(2), "{}", ran.all());
    assert_eq!(ran.out, "");
    assert_silent(&ran);
    let told: Value = serde_json::from_str(&ran.err).unwrap();
    let errors = told["errors"].as_array().unwrap();
    let places: Vec<&Value> = errors.iter().map(|error| &error["pointer"]).collect();
    assert_eq!(places, ["/api_key", "/api_password", "/start_date"]);

    let missing = json!({ "api_key": "env:X" });
    let ran = run_in(folder.path(), &missing, &["check", ID, "--offline"]);
    assert_eq!(ran.code, Some(2), "{}", ran.all());
    assert!(ran.err.contains("API Password is required"), "{}", ran.err);
}

#[test]
fn a_stop_ends_the_command_that_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let answer = json!({
        "api_key": "command:sh -c 'echo $$ > id.new; mv id.new id; sleep 600; true'",
        "api_password": "env:HEADWATER_TEST_HIDDEN",
    });
    fs::write(folder.path().join("config.json"), answer.to_string()).unwrap();
    for signal in ["INT", "TERM"] {
        let _ = fs::remove_file(folder.path().join("id"));
        let mut child = command(HEADWATER)
            .args(["check", ID, "--config", "config.json"])
            .current_dir(folder.path())
            .env("HEADWATER_TEST_HIDDEN", HIDDEN)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let id = wait_for(|| fs::read_to_string(folder.path().join("id")).ok());
        let arguments = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
        assert!(!String::from_utf8_lossy(&arguments).contains(HIDDEN));
        let sent = command("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130));
        // A process that has ended but was not yet waited for has no command line.
        let line = format!("/proc/{}/cmdline", id.trim());
        wait_for(|| fs::read(&line).unwrap_or_default().is_empty().then_some(()));
    }
}

/// Looks until there is something, for a minute.
fn wait_for<T>(look: impl Fn() -> Option<T>) -> T {
    for _ in 0..6000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("nothing came");
}
