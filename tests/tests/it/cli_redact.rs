//! `headwater read --redact`: nobody's data in the output, and joins that still work.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use acceptance::{
    binary::{Ran, command, files},
    simulation, unlimited_sandbox,
};
use headwater_sandbox::Sandbox;
use serde_json::{Value, json};
use tempfile::TempDir;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";
const KEY: &str = "a key that is long enough";

/// A simulator and a folder with its config.
struct Desk {
    sandbox: Sandbox,
    folder: TempDir,
}

impl Desk {
    async fn new(calls: u64) -> Self {
        let sandbox = unlimited_sandbox(calls).await;
        let folder = tempfile::tempdir().unwrap();
        let mut config = (simulation(ID).form)(&sandbox.base_url());
        config["requests_per_second"] = 1000.into();
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Self { sandbox, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, arguments: &[&str]) -> Ran {
        let mut command = command(HEADWATER);
        command
            .current_dir(self.folder.path())
            .env("REDACTION_KEY", KEY)
            .env("EMPTY_KEY", "")
            .env("SHORT_KEY", "short")
            .args(["read", ID, "--config", "config.json"])
            .args(arguments);
        command.output().unwrap().into()
    }

    /// Reads everything into a folder and gives its lines by stream.
    fn read_to(&self, out: &str, arguments: &[&str]) -> (Ran, BTreeMap<String, Vec<Value>>) {
        let ran = self.read(&[&["--out", out, "--json", "--concurrency", "1"], arguments].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        (ran, records(&self.path(out)))
    }
}

fn records(folder: &Path) -> BTreeMap<String, Vec<Value>> {
    let parse = |name: String| {
        let text = fs::read_to_string(folder.join(&name)).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        (name, lines.collect())
    };
    files(folder).into_iter().map(parse).collect()
}

/// Every text of two values of the same shape, side by side with its path. Where one is null the other may be anything.
fn side_by_side<'a>(
    path: &str,
    one: &'a Value,
    other: &'a Value,
    found: &mut Vec<(String, &'a str, Option<&'a str>)>,
) {
    match (one, other) {
        (Value::String(text), _) => found.push((path.to_owned(), text, other.as_str())),
        (Value::Array(ones), Value::Array(others)) => {
            assert_eq!(ones.len(), others.len(), "{path}");
            for (one, other) in ones.iter().zip(others) {
                side_by_side(&format!("{path}[]"), one, other, found);
            }
        }
        (Value::Object(ones), Value::Object(others)) => {
            assert!(ones.keys().eq(others.keys()), "{path}");
            for (name, one) in ones {
                side_by_side(&format!("{path}.{name}"), one, &others[name], found);
            }
        }
        _ => assert_eq!(one, other, "{path}"),
    }
}

fn is_name(path: &str) -> bool {
    [
        "users.jsonl[].name",
        "articipants[].name",
        ".contact_names[]",
        ".phrases_matched[].name",
        ".speaker_name",
        ".first_name",
        ".last_name",
    ]
    .iter()
    .any(|end| path.ends_with(end))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_name_or_number_is_in_the_output_and_joins_still_work() {
    let desk = Desk::new(120).await;
    let (_, plain) = desk.read_to("plain", &[]);
    let (ran, redacted) = desk.read_to("redacted", &["--redact"]);
    let mut texts = Vec::new();
    for (file, records) in &plain {
        assert_eq!(records.len(), redacted[file].len(), "{file}");
        for (one, other) in records.iter().zip(&redacted[file]) {
            side_by_side(&format!("{file}[]"), one, other, &mut texts);
        }
    }

    let written: String = files(&desk.path("redacted"))
        .into_iter()
        .map(|file| fs::read_to_string(desk.path("redacted").join(file)).unwrap())
        .chain([ran.all()])
        .collect();
    let (mut emails, mut people, mut said) = (BTreeMap::new(), BTreeMap::new(), 0);
    for (path, before, after) in &texts {
        let is_email = before.contains('@');
        if is_email || path.contains("hone") || (is_name(path) && before.contains(' ')) {
            assert!(!written.contains(before), "{path} is in the output");
        }
        if is_email {
            let known = emails.entry(before.to_lowercase()).or_insert(*after);
            assert_eq!(known, after, "{path}");
        } else if is_name(path) && !before.is_empty() {
            let known = people.entry(*before).or_insert(*after);
            assert_eq!(known, after, "{path}");
        } else if path.ends_with(".text") {
            assert_eq!(*after, None, "{path}");
            said += 1;
        }
    }
    // One pseudonym for each, wherever it stands, and none for two.
    let pseudonyms: BTreeSet<&str> = emails.values().map(|after| after.unwrap()).collect();
    assert_eq!(pseudonyms.len(), emails.len());
    assert!(pseudonyms.iter().all(|text| text.ends_with("@redacted")));
    assert!(emails.len() > 50 && people.len() > 50 && said > 1000);
    for after in people.values() {
        let digits = after.unwrap().strip_prefix("Rep-").unwrap();
        assert!(digits.len() == 6 && digits.parse::<u32>().is_ok());
    }

    // As a user would join: from a call to the user who made it.
    let users: BTreeMap<&str, &Value> = redacted["users.jsonl"]
        .iter()
        .map(|user| (user["email"].as_str().unwrap(), &user["id"]))
        .collect();
    let mut joined = 0;
    for call in &redacted["calls.jsonl"] {
        for user in call["users"].as_array().unwrap() {
            assert_eq!(users[user["userEmail"].as_str().unwrap()], &user["userId"]);
            joined += 1;
        }
    }
    assert!(joined >= 120);
    for (stream, key) in [("calls", "id"), ("contacts", "crm_id")] {
        let records = &redacted[&format!("{stream}.jsonl")];
        let mut keys: Vec<&str> = records.iter().filter_map(|one| one[key].as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, desk.sandbox.keys(stream).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_tells_what_was_done() {
    let desk = Desk::new(30).await;
    let (ran, _) = desk.read_to("out", &["--redact", "--redact-text", "keep"]);
    let summary = ran.json();
    let calls = &summary["streams"][1];
    assert_eq!(calls["stream"], "calls");
    // All that looks like an address in these records has a class.
    assert_eq!(calls.get("notes"), None);
    assert_eq!(calls["redaction"]["keyed"], false);
    assert_eq!(calls["redaction"].get("unexpected"), None);
    let fields = calls["redaction"]["fields"].as_array().unwrap();
    let field = |path: &str| fields.iter().find(|field| field["path"] == path).unwrap();
    assert_eq!(field("users[].userEmail")["action"], "replaced");
    assert_eq!(
        field("title"),
        &json!({ "path": "title", "class": "free_text", "action": "kept", "values": calls["records"] })
    );
    assert_eq!(field("audio_url")["action"], "cut");
    assert_eq!(field("deal_value")["action"], "kept");

    let ran = desk.read(&[
        "--stream",
        "calls",
        "--redact",
        "--redact-money",
        "drop",
        "--redact-key",
        "env:REDACTION_KEY",
    ]);
    let line = ran.err.lines().find(|line| line.starts_with("redacted "));
    let line = line.unwrap();
    assert!(line.starts_with("redacted with the key: "), "{line}");
    assert!(
        line.contains("money removed") && line.contains("free_text removed"),
        "{line}"
    );

    let plain = desk.read(&["--stream", "calls", "--limit", "1"]);
    assert!(!plain.err.contains("redacted"), "{}", plain.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_other_pseudonyms_and_the_same_ones_again() {
    let desk = Desk::new(10).await;
    fs::write(desk.path("key"), format!("{KEY}\n")).unwrap();
    let users = |arguments: &[&str]| {
        let ran = desk.read(&[&["--stream", "users", "--redact"], arguments].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert!(!ran.all().contains(KEY));
        ran.out
    };
    let keyed = users(&["--redact-key", "env:REDACTION_KEY"]);
    assert_eq!(keyed, users(&["--redact-key", "file:key"]));
    let emails = |text: &str| -> BTreeSet<String> {
        let parse = |line| serde_json::from_str::<Value>(line).unwrap();
        let email = |line| parse(line)["email"].as_str().unwrap().to_owned();
        text.lines().map(email).collect()
    };
    assert!(emails(&keyed).is_disjoint(&emails(&users(&[]))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_refused_before_anything_is_read() {
    let desk = Desk::new(10).await;
    for (reference, complaint) in [
        (KEY, "is given by reference"),
        ("env:NO_SUCH_KEY", "which is not set"),
        ("env:EMPTY_KEY", "is too short"),
        ("env:SHORT_KEY", "is too short"),
        ("file:no-such-file", "cannot be opened"),
    ] {
        let ran = desk.read(&["--redact", "--redact-key", reference, "--out", "out"]);
        assert_eq!(ran.code, Some(2), "{reference}: {}", ran.all());
        assert!(ran.err.contains(complaint), "{reference}: {}", ran.err);
        assert!(!ran.all().contains(KEY), "{}", ran.all());
    }
    for arguments in [
        ["--redact-key", "env:REDACTION_KEY"],
        ["--redact-text", "keep"],
        ["--redact-money", "drop"],
    ] {
        let ran = desk.read(&arguments);
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        assert!(ran.err.contains("--redact"), "{}", ran.err);
    }
    assert_eq!(desk.sandbox.stats().requests, 0);
    assert!(!desk.path("out").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_and_a_later_run_give_what_one_run_gives() {
    let desk = Desk::new(150).await;
    let streams = ["--stream", "calls", "--stream", "users", "--redact"];
    let with_state = [&streams[..], &["--state", "state.json"]].concat();
    let (_, limited) = desk.read_to("out", &[&with_state[..], &["--limit", "7"]].concat());
    assert_eq!(limited["calls.jsonl"].len(), 7);
    let (ran, _) = desk.read_to("out", &with_state);
    assert_eq!(ran.json()["streams"][1]["status"], "complete");
    let (_, at_once) = desk.read_to("at_once", &streams);
    assert_eq!(
        records(&desk.path("out"))["calls.jsonl"],
        at_once["calls.jsonl"]
    );
    let state = fs::read_to_string(desk.path("state.json")).unwrap();
    assert!(!state.contains("redact"), "{state}");

    let (ran, _) = desk.read_to("out", &with_state);
    assert_eq!(ran.json()["streams"][1]["records"], 0, "nothing changed");
}

#[test]
fn the_catalog_says_what_a_redacted_read_does() {
    let catalog = |arguments: &[&str]| {
        let ran = acceptance::binary::run(HEADWATER, [&["discover", ID], arguments].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.all());
        ran
    };
    let action = |streams: &Value, stream: &str, path: &str| {
        let streams = streams.as_array().unwrap();
        let stream = streams.iter().find(|one| one["name"] == stream).unwrap();
        let fields = stream["redaction"].as_array().unwrap();
        let field = fields.iter().find(|field| field["path"] == path).unwrap();
        field["action"].as_str().unwrap().to_owned()
    };
    let plain = catalog(&["--json"]).json();
    assert_eq!(plain[0]["redaction"], Value::Null);
    let redacted = catalog(&["--json", "--redact"]).json();
    assert_eq!(action(&redacted, "users", "email"), "replaced");
    assert_eq!(action(&redacted, "calls", "title"), "removed");
    let kept = catalog(&["--json", "--redact", "--redact-text", "keep"]).json();
    assert_eq!(action(&kept, "calls", "title"), "kept");
    let shown = catalog(&["--redact"]).out;
    let email = shown
        .lines()
        .find(|line| line.starts_with("users") && line.contains(" email "));
    assert!(email.unwrap().ends_with("a pseudonym"), "{shown}");
}
