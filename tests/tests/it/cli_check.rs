//! `headwater check`, with wrong, half right and right answers.

use acceptance::{
    binary::{run, run_with_input},
    simulation, unlimited_sandbox,
};
use headwater_sandbox::{
    API_KEY, API_PASSWORD,
    claribi::{EMAIL, PASSWORD},
};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";
const CLARIBI: &str = "claribi";

fn check(answer: &Value) -> acceptance::binary::Ran {
    run_with_input(
        HEADWATER,
        ["check", ID, "--config", "-", "--json"],
        answer.to_string().as_bytes(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_pair_passes_and_a_wrong_one_says_what_to_do() {
    let sandbox = unlimited_sandbox(10).await;
    let right = check(&(simulation(ID).form)(&sandbox.base_url()));
    assert_eq!(right.code, Some(0), "{}", right.all());
    assert_eq!(right.json()["outcome"], "passed");

    let wrong = check(&(simulation(ID).wrong_form)(&sandbox.base_url()));
    assert_eq!(wrong.code, Some(3));
    let report = wrong.json();
    let failed = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["outcome"] == "failed")
        .unwrap();
    assert_eq!(failed["name"], "credentials");
    assert_eq!(failed["pointers"], json!(["/api_key", "/api_password"]));
    assert!(failed["remedy"].as_str().unwrap().contains("regenerated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_may_be_a_file_with_references_and_overrides() {
    let sandbox = unlimited_sandbox(10).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let secret = folder.path().join("password");
    std::fs::write(&secret, format!("{}\n", API_PASSWORD)).unwrap();
    let reference = format!("file:{}", secret.display());
    let answer = json!({ "api_key": "env:HEADWATER_TEST_KEY", "api_password": reference, "base_url": "https://localhost:1" });
    std::fs::write(&config, answer.to_string()).unwrap();
    let base_url = format!("base_url={}", sandbox.base_url());
    let arguments = [
        "check",
        ID,
        "--config",
        config.to_str().unwrap(),
        "--set",
        &base_url,
    ];
    let output = acceptance::binary::command(HEADWATER)
        .args(arguments)
        .env("HEADWATER_TEST_KEY", API_KEY)
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let unset = run(HEADWATER, arguments);
    assert_eq!(unset.code, Some(2));
    assert!(unset.err.contains("/api_key: API Key refers to the environment variable \"HEADWATER_TEST_KEY\", which is not set"));

    // A reference is no secret, so it may be an argument.
    let key = format!("api_key={reference}");
    let password = format!("api_password={reference}");
    let by_argument = run(
        HEADWATER,
        [
            "check", ID, "--set", &key, "--set", &password, "--set", &base_url,
        ],
    );
    assert_eq!(by_argument.code, Some(3), "{}", by_argument.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn pasted_spaces_and_quotes_are_taken_off_with_a_notice() {
    let sandbox = unlimited_sandbox(10).await;
    let mut answer = (simulation(ID).form)(&sandbox.base_url());
    answer["api_key"] = format!(" \"{}\"\n", API_KEY).into();
    let ran = run_with_input(
        HEADWATER,
        ["check", ID, "--config", "-"],
        answer.to_string().as_bytes(),
    );
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert!(
        ran.err
            .contains("note: API Key: surrounding spaces or quotes were removed"),
        "{}",
        ran.err
    );
}

/// What `check` says of a password for clariBI or Clari Copilot.
fn check_password(id: &str, base_url: &str, password: &str) -> acceptance::binary::Ran {
    let answer = match id {
        CLARIBI => {
            json!({ "auth": { "style": "jwt", "email": EMAIL, "password": password }, "base_url": base_url })
        }
        _ => json!({ "api_key": API_KEY, "api_password": password, "base_url": base_url }),
    };
    let arguments = ["check", id, "--config", "-"];
    run_with_input(HEADWATER, arguments, answer.to_string().as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_sent_with_what_is_around_it_and_the_remedy_says_so() {
    const KEPT: &str = "has spaces or quotes around it, which are kept";
    let claribi = acceptance::claribi::organization_of(4).await;
    let copilot = unlimited_sandbox(10).await;
    let folder = tempfile::tempdir().unwrap();
    let from_file = |text: &str| {
        let path = folder.path().join("password");
        std::fs::write(&path, text).unwrap();
        format!("file:{}", path.display())
    };
    // The right password with something around it is another one: the service sees it, and refuses it.
    for (id, base_url, password, title) in [
        (CLARIBI, claribi.base_url(), PASSWORD, "Password"),
        (ID, copilot.base_url(), API_PASSWORD, "API Password"),
    ] {
        let quoted = format!("\"{password}\"");
        let spaced = format!(" {password} ");
        let mut wrong = vec![quoted.clone(), from_file(&format!("{quoted}\n"))];
        if id == CLARIBI {
            wrong.extend([spaced.clone(), format!("{password}\u{a0}")]);
        }
        for given in wrong {
            let ran = check_password(id, &base_url, &given);
            assert_eq!(ran.code, Some(3), "{id} {given:?}: {}", ran.all());
            let note = format!("note: {title} {KEPT}");
            assert!(ran.err.contains(&note), "{id} {given:?}: {}", ran.err);
            let remedy = format!("; {title} {KEPT}");
            assert!(ran.out.contains(&remedy), "{id} {given:?}: {}", ran.out);
        }
        let ran = check_password(id, &base_url, &from_file(&format!("{password}\n")));
        assert_eq!(ran.code, Some(0), "{id}: {}", ran.all());
        assert!(!ran.all().contains(KEPT), "{id}: {}", ran.all());
        let ran = check_password(id, &base_url, "wrong");
        assert_eq!(ran.code, Some(3), "{id}: {}", ran.all());
        assert!(!ran.all().contains(KEPT), "{id}: {}", ran.all());
        if id == ID {
            // Spaces around it do not travel in a header.
            let ran = check_password(id, &base_url, &spaced);
            assert_eq!(ran.code, Some(0), "{}", ran.all());
            let note = "note: API Password: surrounding spaces were removed";
            assert!(ran.err.contains(note), "{}", ran.err);
        }
    }
}

#[test]
fn an_address_where_nothing_listens_is_told_apart_from_a_wrong_key() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let ran = check(&(simulation(ID).form)(&format!("http://127.0.0.1:{port}")));
    assert_eq!(ran.code, Some(5), "{}", ran.all());
    assert_eq!(ran.json()["checks"][0]["code"], "refused");
    assert_eq!(ran.json()["checks"][0]["pointers"], json!(["/base_url"]));
}
