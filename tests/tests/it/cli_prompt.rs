//! Without a config a terminal is asked: a real pseudo-terminal here.

use acceptance::{terminal::Session, unlimited_sandbox};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

#[tokio::test(flavor = "multi_thread")]
async fn the_form_is_asked_for_and_secrets_are_not_shown() {
    let sandbox = unlimited_sandbox(10).await;
    let base_url = format!("base_url={}", sandbox.base_url());
    let mut session = Session::start(HEADWATER, &["check", "clari-copilot", "--set", &base_url]);
    session.wait_for("1. Open the settings");
    session.wait_for("API Key: ");
    session.type_line("bad key");
    session.wait_for("API Password: ");
    session.type_line(headwater_sandbox::API_PASSWORD);
    session.wait_for("Start date (optional): ");
    session.type_line("");
    session.wait_for("Include private calls [false]: ");
    session.type_line("");
    // Only what was refused is asked for again.
    session.wait_for("API Key holds a space");
    session.wait_for("API Key: ");
    session.type_line(headwater_sandbox::API_KEY);
    session.wait_for("✓");
    let (code, rest) = session.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(
        rest.contains("Clari Copilot accepted the key pair"),
        "{rest}"
    );
    for secret in [
        "bad key",
        headwater_sandbox::API_KEY,
        headwater_sandbox::API_PASSWORD,
    ] {
        assert!(!rest.contains(secret), "{rest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_taken_as_it_is_typed() {
    let sandbox = acceptance::claribi::organization_of(4).await;
    let base_url = format!("base_url={}", sandbox.base_url());
    let mut session = Session::start(HEADWATER, &["check", "claribi", "--set", &base_url]);
    session.wait_for("Authentication [1]: ");
    session.type_line("4");
    session.wait_for("E-mail: ");
    session.type_line(headwater_sandbox::claribi::EMAIL);
    session.wait_for("Password: ");
    session.type_line(&format!(" {} ", headwater_sandbox::claribi::PASSWORD));
    session.wait_for("Fetch full details [false]: ");
    session.type_line("");
    session.wait_for("Stale after (hours) [24]: ");
    session.type_line("");
    let (code, rest) = session.end();
    assert_eq!(code, Some(3), "{rest}");
    assert!(
        rest.contains("note: Password has spaces or quotes around it"),
        "{rest}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn three_wrong_answers_end_it() {
    let mut session = Session::start(HEADWATER, &["check", "clari-copilot"]);
    for round in 0..3 {
        session.wait_for("API Key: ");
        session.type_line("");
        session.wait_for("API Password: ");
        session.type_line("");
        if round == 0 {
            session.wait_for("Start date (optional): ");
            session.type_line("");
            session.wait_for("Include private calls [false]: ");
            session.type_line("");
        }
    }
    let (code, rest) = session.end();
    assert_eq!(code, Some(2), "{rest}");
    assert!(rest.contains("API Key is required"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alternative_is_chosen_before_its_fields_are_asked_for() {
    for typed in ["", "2"] {
        let sandbox = acceptance::claribi::organization_of(4).await;
        let base_url = format!("base_url={}", sandbox.base_url());
        let mut session = Session::start(HEADWATER, &["check", "claribi", "--set", &base_url]);
        session.wait_for("1. Open the settings");
        session.wait_for("1) Api-Key header");
        session.wait_for("4) E-mail and password");
        session.wait_for("Authentication [1]: ");
        session.type_line("5");
        session.wait_for("choose a number from 1 to 4");
        session.wait_for("Authentication [1]: ");
        session.type_line(typed);
        session.wait_for("API key: ");
        session.type_line("");
        session.wait_for("Fetch full details [false]: ");
        session.type_line("");
        session.wait_for("Stale after (hours) [24]: ");
        session.type_line("");
        // Only what was refused is asked for again.
        session.wait_for("API key is required");
        session.wait_for("API key: ");
        session.type_line(headwater_sandbox::claribi::API_KEY);
        session.wait_for("✓");
        let (code, rest) = session.end();
        assert_eq!(code, Some(0), "{rest}");
        assert!(
            !rest.contains(headwater_sandbox::claribi::API_KEY),
            "{rest}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_asked_for_by_its_own_fields() {
    let sandbox = acceptance::claribi::organization_of(4).await;
    let base_url = format!("base_url={}", sandbox.base_url());
    let mut session = Session::start(
        HEADWATER,
        &[
            "check",
            "claribi",
            "--set",
            &base_url,
            "--set",
            "auth.style=jwt",
        ],
    );
    session.wait_for("E-mail: ");
    session.type_line(headwater_sandbox::claribi::EMAIL);
    session.wait_for("Password: ");
    session.type_line(headwater_sandbox::claribi::PASSWORD);
    session.wait_for("Fetch full details [false]: ");
    session.type_line("");
    session.wait_for("Stale after (hours) [24]: ");
    session.type_line("");
    session.wait_for("clariBI accepted the login");
    let (code, rest) = session.end();
    assert_eq!(code, Some(0), "{rest}");
}
