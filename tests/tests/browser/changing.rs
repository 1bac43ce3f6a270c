//! Changing, repairing, rotating and deleting what was saved.

use acceptance::unlimited_sandbox;
use headwater_core::{SignedDuration, Timestamp};
use headwater_sandbox::{API_KEY, API_PASSWORD, Sandbox, claribi};
use serde_json::{Value, json};

use crate::{
    FAILS, WORKS, accepting, console, ends, enter, keys_of, save, save_as, schedule, wrong_fields,
};

/// What the last test of an accepting service finds: it has users and refuses the rest.
const MOSTLY: &str = "Connected. Some streams cannot be read.";

fn with_key(key: &str, base_url: &str) -> Value {
    json!({ "api_key": key, "api_password": API_PASSWORD, "base_url": base_url })
}

#[tokio::test]
async fn a_new_description_leaves_the_secret_as_it_is() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let upstream = accepting().await;
    let config = with_key("first-key", &upstream.base_url());
    save_as(&service, "clari-copilot", "Calls", config).await;
    browser.go("/connections/calls").await;
    browser.click("Edit").await;
    browser.focus_is_at("Credential name").await;
    browser.inspect("edit").await;
    let inputs = "return document.querySelectorAll('[data-secret]').length";
    assert_eq!(browser.run(inputs).await, 0, "a saved secret has no input");
    browser.fill("Description", "For the weekly report").await;
    browser.click("Save").await;
    browser.is_at("/connections/calls").await;
    browser.sees("For the weekly report").await;
    assert_eq!(keys_of(&upstream), [""; 0], "nothing was to be tested");
    browser.click("Test").await;
    browser.sees(MOSTLY).await;
    let keys = keys_of(&upstream);
    assert!(
        !keys.is_empty() && keys.iter().all(|key| key == "first-key"),
        "{keys:?}"
    );
    browser.close().await;
}

#[tokio::test]
async fn a_secret_may_look_like_a_mask() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    let upstream = accepting().await;
    browser.go("/sources/clari-copilot/add").await;
    enter(&browser, "Stars", "**********", &upstream.base_url()).await;
    browser.click("Save").await;
    browser.is_at("/sources/clari-copilot?added=stars").await;
    browser.go("/connections/stars/edit").await;
    browser.fill("Description", "All stars").await;
    browser.click("Save").await;
    browser.is_at("/connections/stars").await;
    browser.click("Test").await;
    browser.sees(MOSTLY).await;
    let keys = keys_of(&upstream);
    assert!(keys.iter().all(|key| key == "**********"), "{keys:?}");
    browser.close().await;
}

#[tokio::test]
async fn another_address_asks_for_the_secrets_again_and_says_why() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let (sandbox, other) = (unlimited_sandbox(20).await, unlimited_sandbox(20).await);
    save(&service, "Calls", &sandbox.base_url()).await;
    browser.go("/connections/calls").await;
    browser.click("Edit").await;
    browser.sees("Saved").await;
    // What differs from its default is not folded away.
    browser.sees("1 changed").await;
    browser.fill("Base URL", &other.base_url()).await;
    let reason = "Base URL was changed, so enter this again";
    browser.sees(reason).await;
    browser.inspect("asked-again").await;
    // Where it was, nothing is asked.
    browser.fill("Base URL", &sandbox.base_url()).await;
    browser.no_longer_sees(reason).await;
    browser.fill("Base URL", &other.base_url()).await;
    browser.sees(reason).await;
    browser.click("Save").await;
    browser.focus_is_at("Please correct 2 fields").await;
    browser.sees("API Key is empty").await;
    assert_eq!(other.stats().requests, 0);
    browser.fill("API Key", API_KEY).await;
    browser.fill("API Password", API_PASSWORD).await;
    browser.click("Save").await;
    browser.is_at("/connections/calls").await;
    browser.sees("Working").await;
    assert!(other.stats().requests > 0);
    assert_eq!(sandbox.stats().requests, 0);
    browser.close().await;
}

#[tokio::test]
async fn replacing_a_secret_can_be_thought_over() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    save(&service, "Calls", &sandbox.base_url()).await;
    browser.go("/connections/calls/edit").await;
    browser.click("Replace API Key").await;
    browser.focus_is_at("API Key").await;
    browser.inspect("replacing").await;
    browser.write("not this one").await;
    browser.click("Cancel (keep the saved value) API Key").await;
    browser.focus_is_at("Replace API Key").await;
    let inputs = "return document.querySelectorAll('[data-secret]').length";
    assert_eq!(browser.run(inputs).await, 0);
    browser.click("Test").await;
    ends(&browser, WORKS).await;
    browser.close().await;
}

#[tokio::test]
async fn the_way_to_sign_in_can_be_looked_at_and_left_again() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = Sandbox::start(headwater_sandbox::ClaribiOptions::default())
        .await
        .unwrap();
    // Not saved yet: what was typed stays with its choice.
    browser.go("/sources/claribi/add").await;
    browser.click("X-API-Key header").await;
    browser.fill("API key", "typed first").await;
    browser.click("E-mail and password").await;
    browser.fill("E-mail", claribi::EMAIL).await;
    browser.click("X-API-Key header").await;
    assert_eq!(browser.value("API key").await, "typed first");
    browser.inspect("ways-to-sign-in").await;
    // Saved: the other choice warns, and coming back loses nothing.
    let auth = json!({ "style": "x_api_key", "api_key": claribi::API_KEY });
    let config = json!({ "auth": auth, "base_url": sandbox.base_url() });
    save_as(&service, "claribi", "Org", config).await;
    browser.go("/connections/org/edit").await;
    let leaving = "Saving removes the secrets of the saved choice.";
    browser.no_longer_sees(leaving).await;
    browser.click("E-mail and password").await;
    browser.sees(leaving).await;
    browser.inspect("leaving-a-choice").await;
    browser.click("X-API-Key header").await;
    browser.no_longer_sees(leaving).await;
    browser.sees("Saved").await;
    browser.click("Save").await;
    browser.is_at("/connections/org").await;
    let same = service.get("/api/v1/connections/org").await.json();
    assert_eq!(same["config"]["auth"], json!({ "style": "x_api_key" }));
    assert_eq!(same["secrets"].as_array().unwrap().len(), 1);
    browser.go("/connections/org/edit").await;
    browser.click("E-mail and password").await;
    browser.fill("E-mail", claribi::EMAIL).await;
    browser.fill("Password", claribi::PASSWORD).await;
    browser.click("Save").await;
    browser.is_at("/connections/org").await;
    let other = service.get("/api/v1/connections/org").await.json();
    let auth = json!({ "style": "jwt", "email": claribi::EMAIL });
    assert_eq!(other["config"]["auth"], auth);
    assert_eq!(other["secrets"].as_array().unwrap().len(), 1);
    browser.close().await;
}

#[tokio::test]
async fn every_choice_opens_as_it_was_saved_and_saving_it_again_changes_nothing() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let key = |style: &str| json!({ "auth": { "style": style, "api_key": claribi::API_KEY } });
    let login = json!({ "style": "jwt", "email": claribi::EMAIL, "password": claribi::PASSWORD });
    let cases = [
        (
            "claribi",
            "Api-Key header recommended",
            key("api_key_authorization"),
        ),
        ("claribi", "X-API-Key header", key("x_api_key")),
        ("claribi", "Bearer header", key("bearer")),
        ("claribi", "E-mail and password", json!({ "auth": login })),
    ];
    for (number, (connector, choice, config)) in cases.into_iter().enumerate() {
        let name = save_as(&service, connector, &format!("Case {number}"), config).await;
        let path = format!("/api/v1/connections/{name}");
        let before = service.get(&path).await.json();
        browser.go(&format!("/connections/{name}/edit")).await;
        let chosen = "return nameOf(document.querySelector('[data-kind=tag] input:checked'))";
        assert_eq!(browser.run(chosen).await, choice);
        browser.click("Save").await;
        browser.is_at(&format!("/connections/{name}")).await;
        let after = service.get(&path).await.json();
        assert_eq!(after["config"], before["config"]);
        assert_eq!(after["secrets"], before["secrets"]);
    }
    let config = json!({ "api_key": API_KEY, "auth_profile": "bearer", "server_retries": "none" });
    save_as(&service, "clari-revenue", "Revenue", config).await;
    let path = "/api/v1/connections/revenue";
    let before = service.get(path).await.json();
    browser.go("/connections/revenue/edit").await;
    browser.click("Save").await;
    browser.is_at("/connections/revenue").await;
    let after = service.get(path).await.json();
    assert_eq!(after["config"], before["config"]);
    browser.close().await;
}

#[tokio::test]
async fn a_credential_that_ends_says_so_and_new_secrets_end_that() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let upstream = accepting().await;
    let config = with_key("first-key", &upstream.base_url());
    save_as(&service, "clari-copilot", "Calls", config).await;
    let soon = Timestamp::now() + SignedDuration::from_hours(24);
    let soon = soon.strftime("%Y-%m-%d").to_string();
    browser.go("/connections/calls").await;
    browser.click("Edit").await;
    browser.focus_is_at("Credential name").await;
    let half = "const day = document.getElementById('expires'); day.focus();";
    browser.run(half).await;
    browser.press("1").await;
    browser.click("Save").await;
    browser.sees("Expires on must be a complete date.").await;
    browser.inspect("expiry-half").await;
    let set = format!("document.getElementById('expires').value = '{soon}'");
    browser.run(&set).await;
    browser.click("Save").await;
    browser.is_at("/connections/calls").await;
    browser.sees("Expiring").await;
    browser.sees(&format!("on {soon}.")).await;
    browser.inspect("expiring").await;
    browser.go("/connections?status=expiring").await;
    browser.sees("Calls").await;
    browser.inspect("connections-expiring").await;
    browser.go("/sources/clari-copilot").await;
    browser.inspect("authenticate-expiring").await;
    browser.click("Replace secrets").await;
    browser.focus_is_at("API Key").await;
    browser.fill("API Key", "second-key").await;
    browser.fill("API Password", API_PASSWORD).await;
    browser.inspect("rotate-expiring").await;
    browser.click("Save").await;
    browser.is_at("/connections/calls").await;
    browser.no_longer_sees("Expiring").await;
    browser.close().await;
}

#[tokio::test]
async fn new_secrets_take_the_place_of_the_old_ones_only_when_they_work() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let upstream = accepting().await;
    let config = with_key("first-key", &upstream.base_url());
    save_as(&service, "clari-copilot", "Calls", config).await;
    let replace = async |key: &str| {
        browser.go("/connections/calls").await;
        browser.click("Replace secrets").await;
        browser.focus_is_at("API Key").await;
        browser.fill("API Key", key).await;
        browser.fill("API Password", API_PASSWORD).await;
        browser.click("Save").await;
    };
    let last_key = async || {
        let before = keys_of(&upstream).len();
        browser.click("Test").await;
        browser
            .until(
                "the end of the test",
                "return !document.querySelector('[data-progress] button')",
                json!([]),
            )
            .await;
        browser.sees(MOSTLY).await;
        let keys = keys_of(&upstream);
        assert!(keys.len() > before);
        keys[keys.len() - 1].clone()
    };
    replace("wrong").await;
    ends(&browser, FAILS).await;
    browser.inspect("rotate-failed").await;
    browser.press("Escape").await;
    browser.click("Discard").await;
    browser.is_at("/connections/calls").await;
    assert_eq!(last_key().await, "first-key");
    replace("wrong").await;
    browser.click("Save anyway").await;
    browser.sees("You can undo this until").await;
    browser.inspect("rotated-untested").await;
    browser.click("Put the old secrets back").await;
    browser.no_longer_sees("You can undo this until").await;
    assert_eq!(last_key().await, "first-key");
    // There is one pair at a time: once a new one works, the old one has ended.
    browser.click("Replace secrets").await;
    browser
        .sees("Creating new secrets has already disabled the old ones")
        .await;
    browser.inspect("rotate-single").await;
    browser.press("Escape").await;
    replace("second-key").await;
    browser.is_at("/connections/calls").await;
    browser.sees(MOSTLY).await;
    browser.no_longer_sees("You can undo this until").await;
    assert_eq!(last_key().await, "second-key");
    browser.close().await;
}

#[tokio::test]
async fn what_needs_attention_is_fixed_at_the_field_that_failed() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    let config = with_key("wrong", &sandbox.base_url());
    save_as(&service, "clari-copilot", "Calls", config).await;
    browser.go("/connections/calls").await;
    browser.click("Test").await;
    browser.sees("Needs attention").await;
    browser.inspect("needs-attention").await;
    browser.go("/sources/clari-copilot").await;
    browser.inspect("tile-needs-attention").await;
    browser.click("Fix Calls").await;
    browser.focus_is_at("API Key").await;
    browser.inspect("repair").await;
    let script = "return [...document.querySelectorAll('dialog :is(input, select, textarea)')].filter(isShown).map((one) => nameOf(one).replace(' required', ''))";
    let open = browser.run(script).await;
    assert_eq!(
        open,
        json!(["API Key", "API Password"]),
        "the rest is to be read"
    );
    browser.fill("API Key", API_KEY).await;
    browser.fill("API Password", API_PASSWORD).await;
    browser.click("Save").await;
    browser.is_at("/connections/calls").await;
    browser.sees("Working").await;
    browser.close().await;
}

#[tokio::test]
async fn who_tests_too_often_is_told_when_to_go_on_and_loses_nothing() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    save(&service, "Calls", &sandbox.base_url()).await;
    for _ in 0..5 {
        let path = "/api/v1/connections/calls/probe";
        assert_eq!(service.post(path, &json!({})).await.status, 200);
    }
    let said = "This credential was tested 5 times within a minute; try again in";
    browser.go("/connections/calls").await;
    browser.click("Test").await;
    browser.sees(said).await;
    browser.inspect("connection-tested-too-often").await;
    browser.click("Edit").await;
    browser.fill("Description", "For the weekly report").await;
    browser.click("Test").await;
    browser.focus_is_at("That was not accepted.").await;
    browser.sees(said).await;
    browser.inspect("tested-too-often").await;
    assert_eq!(wrong_fields(&browser).await, json!([]));
    // A new description is saved without a test.
    browser.click("Save").await;
    browser.is_at("/connections/calls").await;
    browser.sees("For the weekly report").await;
    browser.sees("Working").await;
    browser.close().await;
}

#[tokio::test]
async fn what_is_in_use_is_deleted_by_those_who_type_its_name() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    save(&service, "Calls", &sandbox.base_url()).await;
    schedule(&service, "calls").await;
    browser.go("/connections/calls").await;
    browser.sees("Its schedule will stop.").await;
    browser.inspect("in-use").await;
    browser.fill("Type calls to confirm", "cals").await;
    browser.click("Delete this connection").await;
    browser.sees("Type calls to confirm").await;
    browser.inspect("not-confirmed").await;
    browser.fill("Type calls to confirm", "calls").await;
    browser.click("Delete this connection").await;
    browser.is_at("/connections").await;
    browser.no_longer_sees("Calls").await;
    browser.inspect("no-connections").await;
    let restored = service
        .post("/api/v1/connections/calls/restore", &json!({}))
        .await;
    assert_eq!(restored.status, 200, "{}", restored.text);
    browser.go("/connections/calls").await;
    browser.click("Test").await;
    browser.sees("Working").await;
    browser.close().await;
}

#[tokio::test]
async fn of_two_tabs_the_second_is_told_that_the_first_was_faster() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    save(&service, "Calls", &sandbox.base_url()).await;
    browser.go("/connections/calls/edit").await;
    browser.fill("Description", "From the first tab").await;
    let (first, second) = browser.second_window().await;
    browser.go("/connections/calls/edit").await;
    browser.fill("Description", "From the second tab").await;
    browser.click("Save").await;
    browser.is_at("/connections/calls").await;
    browser.sees("From the second tab").await;
    browser.switch(&first).await;
    browser.click("Save").await;
    browser
        .sees("This connection was changed in the meantime.")
        .await;
    browser.focus_is_at("That was not accepted.").await;
    browser.inspect("conflict").await;
    // Nothing is lost on either side.
    assert_eq!(browser.value("Description").await, "From the first tab");
    let saved = service.get("/api/v1/connections/calls").await.json();
    assert_eq!(saved["description"], "From the second tab");
    assert_eq!(wrong_fields(&browser).await, json!([]));
    browser.switch(&second).await;
    browser.close().await;
}
