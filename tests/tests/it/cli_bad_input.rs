//! Bad input of every kind, at every door: one clear sentence, a documented exit code, nothing half done.

use std::{fs, path::Path};

use acceptance::{
    binary::{Ran, files, run, run_with_input},
    simulation, unlimited_sandbox,
};
use serde_json::json;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";
/// Part of every value below: it must not come back in any output.
const CANARY: &str = "canary9b1e";

fn refused(ran: &Ran, code: i32, says: &str) {
    assert_eq!(ran.code, Some(code), "{}", ran.all());
    assert_eq!(ran.out, "", "standard output is for results");
    assert!(ran.err.contains(says), "expected {says:?} in {:?}", ran.err);
    assert!(!ran.err.contains(CANARY), "{}", ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

fn check(input: &[u8]) -> Ran {
    run_with_input(HEADWATER, ["check", ID, "--config", "-"], input)
}

#[test]
fn configs_that_are_no_json_object() {
    let deep = format!(
        "{{\"api_key\":{}\"{CANARY}\"{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let huge = format!("{{\"api_key\":\"{}\"}}", "x".repeat(2 << 20));
    let cases: &[(&[u8], &str)] = &[
        (b"", "the config standard input is empty"),
        (b" \n ", "is empty"),
        (
            b"{\"api_key\": \"canary9b1e",
            "is not valid JSON (line 1, column",
        ),
        (
            b"{\"api_key\": canary9b1e}",
            "is not valid JSON (line 1, column",
        ),
        (b"api_key: canary9b1e", "is not valid JSON"),
        (
            b"{\"api_key\": \"canary9b1e\xff\"}",
            "is not UTF-8 text (byte 23)",
        ),
        (
            b"[\"canary9b1e\"]",
            "the form must be an object, not a list",
        ),
        (b"\"canary9b1e\"", "the form must be an object, not text"),
        (b"null", "the form must be an object, not null"),
        (
            b"{\"api_key\": \"canary9b1e\",\n \"api_key\": \"canary9b1e\"}",
            "has a field twice (line 2, column",
        ),
        (deep.as_bytes(), "is not valid JSON"),
        (huge.as_bytes(), "is larger than 1 MiB"),
    ];
    for (input, says) in cases {
        refused(&check(input), 2, says);
    }
    refused(
        &run(HEADWATER, ["check", ID, "--config", "/no/such/file"]),
        2,
        "the config /no/such/file cannot be read",
    );
    refused(
        &run(HEADWATER, ["check", ID, "--config", "/"]),
        2,
        "the config / cannot be read",
    );
}

#[test]
fn answers_that_the_form_refuses_name_every_field_and_no_value() {
    let cases = [
        (
            json!({}),
            vec![
                "/api_key: API Key is required",
                "/api_password: API Password is required",
                "2 errors",
            ],
        ),
        (
            json!({ "api_key": "", "api_password": CANARY }),
            vec!["/api_key: API Key is required"],
        ),
        (
            json!({ "api_key": 5, "api_password": [CANARY] }),
            vec!["API Key must be text, not a number", "not a list"],
        ),
        (
            json!({ "api_key": null, "api_password": CANARY }),
            vec!["/api_key: API Key must be text, not null"],
        ),
        (
            json!({ "api_key": format!("{CANARY}\r\nX-Evil: 1"), "api_password": format!("{CANARY} b") }),
            vec![
                "/api_key: API Key holds a space, a line break",
                "/api_password: API Password holds a space",
            ],
        ),
        (
            json!({ "api_key": format!("{CANARY}é"), "api_password": CANARY }),
            vec!["outside ASCII"],
        ),
        (
            json!({ "api_key": format!("{CANARY}{}", "x".repeat(5000)), "api_password": CANARY }),
            vec!["more than 4096"],
        ),
        (
            json!({ "api_key": CANARY, "api_password": CANARY, "api_secret": CANARY, "bas_url": CANARY }),
            vec![
                "/api_secret: api_secret is not a field",
                "did you mean base_url?",
            ],
        ),
        (
            json!({ "api_key": CANARY, "api_password": CANARY, "base_url": format!("http://{CANARY}.example.com") }),
            vec!["/base_url: Base URL must be an https:// address"],
        ),
        (
            json!({ "api_key": CANARY, "api_password": CANARY, "base_url": format!("https://u:{CANARY}@example.com") }),
            vec!["/base_url"],
        ),
        (
            json!({ "api_key": CANARY, "api_password": CANARY, "start_date": "2026-02-31", "include_private": "yes" }),
            vec![
                "/start_date: Start date must be a date like 2026-01-31",
                "/include_private: Include private calls must be true or false",
            ],
        ),
        (
            json!({ "api_key": CANARY, "api_password": CANARY, "requests_per_second": 0 }),
            vec!["/requests_per_second: Requests per second must be at least 1"],
        ),
        (
            json!({ "api_key": "env:HEADWATER_NO_SUCH", "api_password": CANARY }),
            vec!["\"HEADWATER_NO_SUCH\", which is not set"],
        ),
        (
            json!({ "api_key": "file:/no/such", "api_password": CANARY }),
            vec!["\"/no/such\", which cannot be opened"],
        ),
    ];
    for (answer, says) in cases {
        let ran = check(answer.to_string().as_bytes());
        for says in says {
            refused(&ran, 2, says);
        }
    }
    let machine = run_with_input(HEADWATER, ["check", ID, "--config", "-", "--json"], b"{}");
    let errors: serde_json::Value = serde_json::from_str(&machine.err).unwrap();
    assert_eq!(errors["errors"][1]["pointer"], "/api_password");
    assert_eq!(errors["errors"][1]["code"], "required");
}

#[test]
fn referenced_files_that_are_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str); 4] = [
        ("empty", b"", "API Key is required"),
        ("binary", b"canary9b1e\xff", "is not UTF-8 text"),
        ("huge", &[b'x'; 70_000], "far too large"),
        (
            "lines",
            b"canary9b1e\ncanary9b1e\n",
            "holds a space, a line break",
        ),
    ];
    for (name, bytes, says) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let answer = json!({ "api_key": format!("file:{}", path.display()), "api_password": "x" });
        refused(&check(answer.to_string().as_bytes()), 2, says);
    }
}

#[test]
fn assignments() {
    let secret = format!("api_key={CANARY}");
    let cases: &[(&[&str], &str)] = &[
        (
            &[&secret],
            "API Key is a secret, and every user of this machine can see arguments",
        ),
        (&["canary9b1e"], "--set takes FIELD=VALUE"),
        (
            &["base_url=https://a.example", "base_url=https://b.example"],
            "base_url is set twice",
        ),
        (
            &["include_private=perhaps"],
            "Include private calls must be true or false",
        ),
        (
            &["requests_per_second=ten"],
            "Requests per second must be a whole number",
        ),
        (&["start_date=canary9b1e"], "/start_date"),
        (&["=x"], "is not a field"),
        (&["include_privat=true"], "did you mean include_private?"),
        (&["base_url.x=y"], "is required"),
    ];
    for (assignments, says) in cases {
        let arguments = ["check", ID]
            .into_iter()
            .chain(assignments.iter().flat_map(|one| ["--set", one]));
        refused(&run(HEADWATER, arguments), 2, says);
    }
}

#[test]
fn arguments() {
    let cases: &[(&[&str], i32, &str)] = &[
        (&[], 2, "Usage"),
        (&["chek"], 2, "unrecognized subcommand"),
        (&["spec", "clari-copilo"], 4, "did you mean clari-copilot?"),
        (&["spec", ""], 4, "there is no connector \"\""),
        (&["spec", "a\r\nb"], 4, "there is no connector \"a\\r\\nb\""),
        (
            &["discover", ID, "--schema", "call"],
            4,
            "there is no stream \"call\"",
        ),
        (
            &["check", ID],
            2,
            "a config is missing and there is no terminal to ask at",
        ),
        (&["read", ID, "--limit", "0"], 2, "0 is not in 1.."),
        (&["read", ID, "--limit", "many"], 2, "invalid digit"),
        (
            &["sandbox", "--size", "3"],
            2,
            "the size 3 is not in 10..=1000000",
        ),
        (
            &["sandbox", "clari-copilo"],
            4,
            "there is no simulator of \"clari-copilo\"; choose one of clari-copilot, clari-revenue, claribi",
        ),
        (
            &["sandbox", "--switch", "colour=red"],
            2,
            "there is no switch \"colour\"; the switches are template_key, wrong_credentials",
        ),
        (
            &["sandbox", "--switch", "wrong_credentials=402"],
            2,
            "the switch wrong_credentials cannot be \"402\"; it can be 401, 403",
        ),
        (
            &["sandbox", "--switch", "wrong_credentials"],
            2,
            "expected a name, an equals sign and a value",
        ),
        (&["sandbox", "--faults", "explode=1"], 2, "explode"),
        (
            &["sandbox", "--port", "99999"],
            2,
            "99999 is not in 0..=65535",
        ),
        (
            &["demo", "--keep", "/no/such/folder"],
            74,
            "/no/such/folder cannot be made",
        ),
    ];
    for (arguments, code, says) in cases {
        refused(&run(HEADWATER, *arguments), *code, says);
    }
    let not_text = std::os::unix::ffi::OsStrExt::from_bytes(b"a\xff");
    let arguments: [&std::ffi::OsStr; 4] =
        ["check".as_ref(), ID.as_ref(), "--set".as_ref(), not_text];
    refused(&run(HEADWATER, arguments), 2, "invalid UTF-8");
    let huge = "x".repeat(100_000);
    refused(
        &run(HEADWATER, ["spec", huge.as_str()]),
        4,
        "there is no connector",
    );
}

/// Reads users with this state; the folder must be as it was.
fn read_with_state(folder: &Path, state: &Path, base_url: &str) -> Ran {
    let answer = (simulation(ID).form)(base_url);
    let out = folder.join("out");
    let places = [
        "--out",
        out.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
    ];
    let arguments = [
        "read", ID, "--config", "-", "--stream", "users", "--stream", "calls",
    ]
    .into_iter()
    .chain(places);
    run_with_input(HEADWATER, arguments, answer.to_string().as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn state_files() {
    let sandbox = unlimited_sandbox(10).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let good = |streams: &str| {
        format!("{{\"headwater_state\":1,\"connector\":\"{ID}\",\"streams\":{{{streams}}}}}")
            .into_bytes()
    };
    let position =
        |version: u32, value: &str| format!("{{\"version\":{version},\"value\":{value}}}");
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "is empty; delete it"),
        (
            b"{\"headwater_state\":1,\"connector\":\"clari-co".to_vec(),
            "is not a state file, or is damaged (line 1",
        ),
        (b"canary9b1e".to_vec(), "is not a state file"),
        (b"\xff\xfe".to_vec(), "is not a state file"),
        (b"{}".to_vec(), "is not a state file of headwater"),
        (b"[1]".to_vec(), "is not a state file"),
        (
            b"{\"headwater_state\":5,\"canary9b1e\":1}".to_vec(),
            "newer version (format 5)",
        ),
        (
            b"{\"headwater_state\":1,\"connector\":\"acme\"}".to_vec(),
            "belongs to the connector \"acme\"",
        ),
        (
            format!("{{\"headwater_state\":4,\"connector\":\"{ID}\"}}").into_bytes(),
            "is damaged: its digest does not match",
        ),
        (good("\"tweets\":{}"), "names the stream \"tweets\""),
        (
            good("\"calls\":{\"canary9b1e\":1}"),
            "is not a state file, or is damaged",
        ),
        (
            good(&format!("\"calls\":{{\"bookmark\":{}}}", position(9, "{}"))),
            "newer version (format 9, this one reads 1)",
        ),
        (
            good(&format!(
                "\"calls\":{{\"bookmark\":{}}}",
                position(1, "{\"canary9b1e\":1}")
            )),
            "the state of stream calls is damaged",
        ),
        ("[".repeat(200_000).into_bytes(), "is not a state file"),
    ];
    for (bytes, says) in cases {
        fs::write(&state, &bytes).unwrap();
        let ran = read_with_state(folder.path(), &state, &sandbox.base_url());
        refused(&ran, 2, says);
        assert_eq!(fs::read(&state).unwrap(), bytes, "the state is as it was");
        let written = files(&folder.path().join("out"));
        let kept = written.iter().all(|name| {
            fs::read(folder.path().join("out").join(name))
                .unwrap()
                .is_empty()
        });
        assert!(kept, "{says}: {written:?}");
    }
    for device in ["/dev/full", "/dev/null", "/"] {
        let ran = read_with_state(folder.path(), Path::new(device), &sandbox.base_url());
        refused(&ran, 2, "is not a regular file");
    }
    let huge = fs::File::create(&state).unwrap();
    huge.set_len(65 << 20).unwrap();
    let ran = read_with_state(folder.path(), &state, &sandbox.base_url());
    refused(&ran, 2, "is far too large for a state");
    let nowhere = folder.path().join("no/such/state.json");
    let ran = read_with_state(folder.path(), &nowhere, &sandbox.base_url());
    refused(&ran, 74, "state.json cannot be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_answers() {
    let sandbox = unlimited_sandbox(10).await;
    let folder = tempfile::tempdir().unwrap();
    let config = (simulation(ID).form)(&sandbox.base_url()).to_string();
    let cases = [
        ("html=9", 6, "the answer is a web page, not JSON"),
        ("other_json=9", 6, "no records at /users"),
        ("error_body=9", 6, "no records at /users"),
        ("truncate=99", 5, "cannot be reached"),
        ("reset=99", 5, "cannot be reached"),
        ("status=401:9", 3, "does not accept the credentials"),
        ("status=403:9", 3, "does not allow this"),
        ("status=503:99,retry_after=4000", 5, "try again in 67 min"),
    ];
    for (faults, code, says) in cases {
        sandbox.set_faults(faults.parse().unwrap());
        let state = folder.path().join("state.json");
        let arguments = [
            "read",
            ID,
            "--config",
            "-",
            "--stream",
            "users",
            "--state",
            state.to_str().unwrap(),
        ];
        let ran = run_with_input(HEADWATER, arguments, config.as_bytes());
        refused(&ran, code, says);
        assert!(ran.err.contains("read users"), "{faults}: {}", ran.err);
        // What is kept resumes: the stream is not taken for read.
        sandbox.set_faults(Default::default());
        let resumed = run_with_input(HEADWATER, arguments, config.as_bytes());
        assert_eq!(
            resumed.out.lines().count(),
            sandbox.keys("users").unwrap().len(),
            "{faults}"
        );
        fs::remove_file(state).unwrap();
    }
}
