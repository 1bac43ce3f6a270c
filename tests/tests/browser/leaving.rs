//! Closing, going back, being impatient, and being on a slow network.

use std::time::Duration;

use acceptance::{binary::command, browser::Browser, service::Service, unlimited_sandbox};
use headwater_sandbox::{API_KEY, API_PASSWORD, Faults};
use headwater_testkit::{Reply, Script};
use serde_json::json;

use crate::{HEADWATER, WORKS, console, ends, enter, save, save_as};

const DISCARD: &str = "Discard changes?";

async fn saved(service: &Service) -> usize {
    let all = service.get("/api/v1/connections").await.json();
    all["items"].as_array().unwrap().len()
}

async fn open(browser: &Browser) {
    browser.go("/sources/clari-copilot").await;
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
}

#[tokio::test]
async fn closing_asks_only_where_something_would_be_lost() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    open(&browser).await;
    browser.press("Escape").await;
    browser.focus_is_at("Add credential").await;
    for close in ["Escape", "Close", "Cancel"] {
        open(&browser).await;
        browser.fill("API Key", "typed").await;
        let leave = async || match close {
            "Escape" => browser.press("Escape").await,
            name => browser.click(name).await,
        };
        leave().await;
        browser.sees(DISCARD).await;
        browser.inspect("discard").await;
        browser.press("Escape").await;
        browser.no_longer_sees(DISCARD).await;
        assert_eq!(browser.value("API Key").await, "typed");
        leave().await;
        browser.click("Keep editing").await;
        assert_eq!(browser.value("API Key").await, "typed");
        leave().await;
        browser.click("Discard").await;
        browser.focus_is_at("Add credential").await;
        browser.is_at("/sources/clari-copilot").await;
    }
    browser.close().await;
}

#[tokio::test]
async fn the_back_button_closes_the_overlay_and_asks_before_something_is_lost() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    browser.go("/").await;
    browser.click("Clari Copilot").await;
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    browser.is_at("/sources/clari-copilot/add").await;
    browser.back().await;
    browser.focus_is_at("Add credential").await;
    browser.is_at("/sources/clari-copilot").await;
    browser.click("Add credential").await;
    browser.fill("Credential name", "Mine").await;
    browser.back().await;
    browser.sees(DISCARD).await;
    browser.click("Keep editing").await;
    assert_eq!(browser.value("Credential name").await, "Mine");
    browser.back().await;
    browser.click("Discard").await;
    browser.is_at("/sources/clari-copilot").await;
    browser.focus_is_at("Add credential").await;
    browser.back().await;
    browser.is_at("/").await;
    browser.sees("Connect a source").await;
    browser.close().await;
}

#[tokio::test]
async fn an_open_overlay_survives_a_reload_as_a_page() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    open(&browser).await;
    browser.reload().await;
    browser.sees("Add New Credential – Clari Copilot").await;
    browser.inspect("add-page").await;
    browser.click("Cancel").await;
    browser.is_at("/sources/clari-copilot").await;
    browser.close().await;
}

#[tokio::test]
async fn a_form_that_comes_late_does_not_take_the_place_of_the_one_asked_for_after_it() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    for title in ["Slow", "Quick"] {
        let config = json!({ "api_key": "wrong", "api_password": API_PASSWORD, "base_url": sandbox.base_url() });
        let name = save_as(&service, "clari-copilot", title, config).await;
        service
            .post(&format!("/api/v1/connections/{name}/probe"), &json!({}))
            .await;
    }
    browser.go("/sources/clari-copilot").await;
    let script = "const real = window.fetch;
        window.late = 0;
        window.fetch = (address, ...rest) => String(address).includes('slow')
          ? new Promise((done) => setTimeout(done, 1500)).then(() => real(address, ...rest)).finally(() => { window.late += 1; })
          : real(address, ...rest);";
    browser.run(script).await;
    browser.click("Fix Slow").await;
    browser.click("Fix Quick").await;
    browser.sees("Fix Quick").await;
    browser.focus_is_at("API Key").await;
    browser.write("typed").await;
    browser
        .until("the late form", "return window.late > 0", json!([]))
        .await;
    browser.sees("Fix Quick").await;
    let title = "return tidy(document.querySelector('dialog h1').innerText)";
    assert_eq!(browser.run(title).await, "Fix Quick");
    assert_eq!(browser.value("API Key").await, "typed");
    browser.close().await;
}

#[tokio::test]
async fn a_slow_test_is_stopped_and_nothing_is_saved() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    sandbox.set_faults(Faults {
        stall: 9,
        ..Faults::default()
    });
    open(&browser).await;
    enter(&browser, "Calls", API_KEY, &sandbox.base_url()).await;
    browser.click("Save").await;
    browser.sees("Testing … 1 s Stop").await;
    // Whoever cannot see is told once that it goes on, and not every second.
    let script = "const progress = document.querySelector('dialog [data-progress]');
        return [progress.getAttribute('role'), wordsOf(progress)]";
    assert_eq!(
        browser.run(script).await,
        json!(["status", "Testing … Stop"])
    );
    browser.inspect("testing").await;
    browser.click("Save").await;
    browser.click("Stop").await;
    browser.sees("The test was stopped.").await;
    browser.inspect("stopped").await;
    assert_eq!(browser.value("API Key").await, API_KEY);
    assert_eq!(sandbox.stats().requests, 1, "it was sent once");
    assert_eq!(saved(&service).await, 0);
    sandbox.set_faults(Faults::default());
    browser.click("Test").await;
    ends(&browser, WORKS).await;
    browser.close().await;
}

/// How long a slow service takes for its second answer: longer than a busy machine needs to look at what is there by then,
/// and not as long as a probe waits.
const SLOW: Duration = Duration::from_secs(6);

/// A service that knows every key, and is slow.
async fn slow() -> Script {
    let script = Script::start(|request| match request.target.as_str() {
        "/users" => Reply::json(200, r#"{"users":[]}"#),
        list if list.starts_with("/calls") => Reply::json(403, "{}").after(SLOW),
        _ => Reply::json(403, "{}"),
    });
    script.await.unwrap()
}

/// Waits for the first check of a save, which goes on; what it says.
async fn first_check(browser: &Browser) -> String {
    let script = "const found = top_(), check = found.querySelector('[data-checks] li .name');
        const goesOn = found.querySelector('[data-progress] button') && !found.querySelector('[data-verdict]').innerText;
        return check && goesOn ? tidy(check.innerText) : null";
    let said = browser.until("the first check", script, json!([])).await;
    said.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_save_shows_each_check_as_it_is_made() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let upstream = slow().await;
    open(&browser).await;
    enter(&browser, "Calls", API_KEY, &upstream.base_url()).await;
    browser.click("Save").await;
    let check = first_check(&browser).await;
    assert!(check.starts_with("Server reached passed"), "{check}");
    assert_eq!(saved(&service).await, 0, "the service has not answered yet");
    browser.screenshot("saving").await;
    browser.is_at("/sources/clari-copilot?added=calls").await;
    // The same where something is changed.
    browser.go("/connections/calls").await;
    browser.click("Edit").await;
    browser.focus_is_at("Credential name").await;
    browser.click("Replace API Key").await;
    browser.fill("API Key", "another-key").await;
    browser.click("Save").await;
    first_check(&browser).await;
    let version = async || service.get("/api/v1/connections/calls").await.json()["version"].clone();
    assert_eq!(version().await, 1);
    browser.is_at("/connections/calls").await;
    assert_eq!(version().await, 2);
    browser.close().await;
}

#[tokio::test]
async fn a_save_that_is_stopped_saves_nothing_although_the_credential_works() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let upstream = slow().await;
    open(&browser).await;
    enter(&browser, "Calls", API_KEY, &upstream.base_url()).await;
    browser.click("Save").await;
    first_check(&browser).await;
    browser.click("Stop").await;
    browser.sees("The test was stopped.").await;
    // Until the test would have ended, had it gone on.
    let asked = upstream.requests().len();
    tokio::time::sleep(2 * SLOW).await;
    assert_eq!(saved(&service).await, 0);
    assert_eq!(upstream.requests().len(), asked);
    browser.click("Save").await;
    browser.is_at("/sources/clari-copilot?added=calls").await;
    assert_eq!(saved(&service).await, 1);
    browser.close().await;
}

#[tokio::test]
async fn on_a_slow_network_impatience_saves_once() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    browser.latency(Duration::from_millis(700)).await;
    open(&browser).await;
    enter(&browser, "Calls", API_KEY, &sandbox.base_url()).await;
    let script =
        "const save = control('Save'); for (let times = 0; times < 5; times++) save.click();";
    browser.run(script).await;
    browser.is_at("/sources/clari-copilot?added=calls").await;
    browser.sees("Calls was saved and is selected.").await;
    assert_eq!(saved(&service).await, 1);
    browser.close().await;
}

#[tokio::test]
async fn without_a_network_what_was_typed_stays_and_is_saved_later() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    open(&browser).await;
    enter(&browser, "Calls", API_KEY, &sandbox.base_url()).await;
    browser.offline(true).await;
    browser.click("Save").await;
    browser.sees("This page cannot reach its server.").await;
    browser.inspect("offline").await;
    assert_eq!(browser.value("API Key").await, API_KEY);
    browser.offline(false).await;
    browser.click("Save").await;
    browser.is_at("/sources/clari-copilot?added=calls").await;
    assert_eq!(saved(&service).await, 1);
    browser.close().await;
}

#[tokio::test]
async fn whoever_is_signed_out_meanwhile_signs_in_beside_the_form_and_saves_it() {
    let home = tempfile::tempdir().unwrap();
    let added = command(HEADWATER)
        .args(["token", "add", "boss", "--scope", "admin"])
        .env("HEADWATER_HOME", home.path().join("home"))
        .output()
        .unwrap();
    let token = String::from_utf8(added.stdout).unwrap();
    let options = ["--require-token", "--development"];
    let service = Service::start_in(home, HEADWATER, &options);
    let Some(browser) = Browser::start(&service.address).await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    let sign_in = async || {
        browser.fill("Access token", token.trim()).await;
        browser.click("Sign in").await;
    };
    browser.go("/sources/clari-copilot").await;
    browser.sees("Access token").await;
    browser.inspect("login").await;
    browser.fill("Access token", "wrong").await;
    browser.click("Sign in").await;
    browser.sees("This token is invalid").await;
    sign_in().await;
    browser.is_at("/sources/clari-copilot").await;
    browser.click("Add credential").await;
    enter(&browser, "Calls", API_KEY, &sandbox.base_url()).await;
    let (form, _) = browser.second_window().await;
    browser.go("/").await;
    browser.click("Sign out").await;
    browser.is_at("/login").await;
    browser.switch(&form).await;
    browser.click("Save").await;
    browser.sees("You were signed out.").await;
    browser.inspect("signed-out").await;
    assert_eq!(browser.value("Credential name").await, "Calls");
    browser.second_window().await;
    browser.go("/login").await;
    sign_in().await;
    browser.is_at("/").await;
    browser.switch(&form).await;
    browser.click("Save").await;
    browser.is_at("/sources/clari-copilot?added=calls").await;
    browser.close().await;
}

#[tokio::test]
async fn the_keys_of_the_overlay_save_and_test() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    save(&service, "Calls", &sandbox.base_url()).await;
    browser.go("/connections/calls").await;
    browser.click("Edit").await;
    browser.focus_is_at("Credential name").await;
    browser.press("Control+Shift+T").await;
    ends(&browser, WORKS).await;
    browser
        .fill("Description", "Typed, and saved from here")
        .await;
    browser.press("Control+Enter").await;
    browser.is_at("/connections/calls").await;
    browser.sees("Typed, and saved from here").await;
    browser.go("/").await;
    browser.press("/").await;
    browser.focus_is_at("Search sources").await;
    browser.write("copilot").await;
    browser.no_longer_sees("clariBI").await;
    browser.write("xyz").await;
    browser.sees("No source matches.").await;
    browser.inspect("nothing-found").await;
    browser.close().await;
}
