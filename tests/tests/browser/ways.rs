//! The main flows again, by everybody: with the keyboard only, on a small screen, in the dark, from right to left, in the
//! colours of the system, and without the script.

use acceptance::{browser::Browser, service::Service, unlimited_sandbox};
use headwater_sandbox::{API_KEY, API_PASSWORD, Faults, RedirectFault, Sandbox, StatusFault};
use serde_json::json;

use crate::{FAILS, WORKS, console, ends, enter, save, schedule, unfold, wrong_fields};

/// Whoever is asked ten times says to wait.
fn throttled() -> Faults {
    Faults {
        status: Some(StatusFault {
            code: 429,
            next: 10,
            path: None,
            retry_after: Some(1),
        }),
        ..Faults::default()
    }
}

fn redirected() -> Faults {
    Faults {
        redirect: Some(RedirectFault {
            origin: "https://elsewhere.example.com".to_owned(),
            next: 10,
        }),
        ..Faults::default()
    }
}

/// Adds with a wrong key and a wrong address first and while the service has other things to do, edits, goes to another
/// address, replaces the secrets, reads, deletes what is in use. Pictures are called after the way.
async fn main_flows(browser: &Browser, service: &Service, way: &str) {
    let (sandbox, other) = (small_sandbox().await, small_sandbox().await);
    let shot = async |state: &str| browser.inspect(&format!("{way}-{state}")).await;
    browser.go("/").await;
    shot("gallery").await;
    browser.click("Clari Copilot").await;
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    shot("add").await;
    enter(browser, "Calls", "wrong", &sandbox.base_url()).await;
    browser.click("Save").await;
    ends(browser, FAILS).await;
    shot("wrong-key").await;
    browser.fill("API Key", API_KEY).await;
    let nowhere = format!("{}/nowhere", sandbox.base_url());
    browser.fill("Base URL", &nowhere).await;
    browser.click("Test").await;
    browser.sees("API at this path (status 404)").await;
    ends(browser, FAILS).await;
    assert_eq!(wrong_fields(browser).await, json!(["Base URL"]));
    shot("wrong-url").await;
    browser.fill("Base URL", &sandbox.base_url()).await;
    sandbox.set_faults(redirected());
    browser.click("Test").await;
    browser
        .sees("The address redirects to https://elsewhere.example.com")
        .await;
    ends(browser, FAILS).await;
    shot("redirected").await;
    sandbox.set_faults(throttled());
    browser.click("Test").await;
    browser
        .sees("asks to wait; the credentials were not tested")
        .await;
    shot("throttled").await;
    sandbox.set_faults(Faults::default());
    browser.click("Test again automatically").await;
    ends(browser, WORKS).await;
    shot("works").await;
    browser.click("Save").await;
    browser.is_at("/sources/clari-copilot?added=calls").await;
    shot("saved").await;

    browser.click("Details").await;
    browser.is_at("/connections/calls").await;
    shot("connection").await;
    browser.click("Edit").await;
    browser.fill("Description", "For the weekly report").await;
    shot("edit").await;
    browser.click("Save").await;
    browser.is_at("/connections/calls").await;
    browser.sees("For the weekly report").await;

    browser.click("Edit").await;
    unfold(browser).await;
    browser.fill("Base URL", &other.base_url()).await;
    browser
        .sees("Base URL was changed, so enter this again")
        .await;
    shot("asked-again").await;
    browser.fill("API Key", API_KEY).await;
    browser.fill("API Password", API_PASSWORD).await;
    browser.click("Save").await;
    browser.is_at("/connections/calls").await;
    browser.sees("Working").await;
    assert!(other.stats().requests > 0);

    browser.click("Replace secrets").await;
    browser.fill("API Key", API_KEY).await;
    browser.fill("API Password", API_PASSWORD).await;
    shot("rotate").await;
    browser.click("Save").await;
    browser.is_at("/connections/calls").await;
    shot("rotated").await;

    browser.click("Choose streams").await;
    browser.is_at("/connections/calls/streams").await;
    shot("streams").await;
    browser.click("Preview users").await;
    browser.sees("Personal data is masked.").await;
    shot("preview").await;
    browser.back().await;
    browser.click("Run now").await;
    browser.sees("Run of Calls").await;
    browser.no_longer_sees("Stop this run").await;
    shot("run").await;

    schedule(service, "calls").await;
    browser.go("/connections/calls").await;
    browser.sees("Its schedule will stop.").await;
    browser.fill("Type calls to confirm", "cals").await;
    browser.click("Delete this connection").await;
    browser.sees("Type calls to confirm").await;
    shot("in-use").await;
    browser.fill("Type calls to confirm", "calls").await;
    browser.click("Delete this connection").await;
    browser.is_at("/connections").await;
    browser.no_longer_sees("Calls").await;
    shot("connections").await;
}

async fn small_sandbox() -> Sandbox {
    unlimited_sandbox(1).await
}

#[tokio::test]
async fn everything_works_on_320_pixels_without_scrolling_sideways() {
    let Some((service, browser)) = console().await else {
        return;
    };
    browser.resize(320, 640).await;
    main_flows(&browser, &service, "phone").await;
    browser.close().await;
}

#[tokio::test]
async fn the_guide_is_a_drawer_on_a_small_screen() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    browser.resize(320, 640).await;
    browser.go("/sources/clari-copilot").await;
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    browser.fill("Credential name", "Calls").await;
    browser.click("Step 2 of the guide : API Key").await;
    browser.focus_is_at("Close the guide").await;
    browser.sees("Copy the pair").await;
    browser.inspect("phone-guide").await;
    browser.press("Escape").await;
    browser.focus_is_at("Step 2 of the guide").await;
    // Only the drawer was closed.
    assert_eq!(browser.value("Credential name").await, "Calls");
    browser.close().await;
}

#[tokio::test]
async fn everything_works_in_the_dark() {
    let Some((service, browser)) = console().await else {
        return;
    };
    browser
        .prefers(&[
            ("prefers-color-scheme", "dark"),
            ("prefers-reduced-motion", "reduce"),
        ])
        .await;
    browser.go("/").await;
    // Light text on a dark page.
    let script = "const [text, page] = ['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name].match(/[\\d.]+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0));
        return text > page";
    assert_eq!(browser.run(script).await, true);
    main_flows(&browser, &service, "dark").await;
    // A choice of one's own stands above that of the system.
    browser.select("Theme", "Light").await;
    assert_eq!(browser.run(script).await, false);
    browser.go("/syncs").await;
    assert_eq!(browser.run(script).await, false);
    browser.close().await;
}

#[tokio::test]
async fn everything_works_in_the_colours_of_the_system() {
    let Some((service, browser)) = console().await else {
        return;
    };
    browser.prefers(&[("forced-colors", "active")]).await;
    main_flows(&browser, &service, "forced").await;
    browser.close().await;
}

#[tokio::test]
async fn everything_works_from_right_to_left() {
    let Some((service, browser)) = console().await else {
        return;
    };
    browser.right_to_left().await;
    browser.go("/").await;
    let starts_right = "const main = document.querySelector('main').getBoundingClientRect();
        const heading = document.querySelector('h1');
        const text = document.createRange();
        text.selectNodeContents(heading);
        const { left, right } = text.getBoundingClientRect();
        return main.right - right < left - main.left";
    assert_eq!(browser.run(starts_right).await, true);
    main_flows(&browser, &service, "right-to-left").await;
    browser.close().await;
}

#[tokio::test]
async fn nothing_moves_for_those_who_do_not_want_it() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    browser
        .prefers(&[("prefers-reduced-motion", "reduce")])
        .await;
    browser.go("/").await;
    let script = "document.body.append(document.getElementById('icons').content.querySelector('.icon-busy').cloneNode(true));
        return document.getAnimations().length";
    assert_eq!(browser.run(script).await, 0);
    browser
        .prefers(&[("prefers-reduced-motion", "no-preference")])
        .await;
    browser.go("/").await;
    assert_eq!(browser.run(script).await, 1);
    browser.close().await;
}

/// Goes to what is called so and presses Enter there.
async fn enter_at(browser: &Browser, name: &str) {
    browser.tab_to(name).await;
    browser.press("Enter").await;
}

async fn write_at(browser: &Browser, name: &str, text: &str) {
    browser.tab_to(name).await;
    browser.press("Control+a").await;
    browser.write(text).await;
}

#[tokio::test]
async fn everything_works_with_the_keyboard_only() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = small_sandbox().await;
    browser.go("/").await;
    browser.press("Tab").await;
    browser.focus_is_at("Skip to the content").await;
    browser.screenshot("keyboard-skip").await;
    browser.press("Enter").await;
    enter_at(&browser, "Clari Copilot").await;
    browser.sees("Choose a credential").await;
    enter_at(&browser, "Add credential").await;
    browser.focus_is_at("Credential name").await;
    browser.write("Calls").await;
    write_at(&browser, "API Key", "wrong").await;
    write_at(&browser, "API Password", API_PASSWORD).await;
    enter_at(&browser, "Advanced").await;
    write_at(&browser, "Base URL", &sandbox.base_url()).await;
    // Enter in a field saves.
    browser.press("Enter").await;
    ends(&browser, FAILS).await;
    browser.focus_is_at("Please correct 2 fields").await;
    browser.press("Tab").await;
    browser.press("Enter").await;
    browser.focus_is_at("API Key").await;
    browser.press("Control+a").await;
    browser.write(API_KEY).await;
    browser.press("Enter").await;
    browser.is_at("/sources/clari-copilot?added=calls").await;
    browser.tab_to("Calls").await;
    browser.inspect("keyboard-saved").await;
    enter_at(&browser, "Details").await;
    browser.is_at("/connections/calls").await;

    enter_at(&browser, "Edit").await;
    browser.focus_is_at("Credential name").await;
    write_at(&browser, "Description", "For the weekly report").await;
    browser.press("Control+Enter").await;
    browser.is_at("/connections/calls").await;
    browser.sees("For the weekly report").await;

    enter_at(&browser, "Replace secrets").await;
    browser.focus_is_at("API Key").await;
    browser.write(API_KEY).await;
    browser.press("Tab").await;
    // The way to see what was typed is on the way.
    browser.focus_is_at("Show API Key").await;
    write_at(&browser, "API Password", API_PASSWORD).await;
    browser.press("Enter").await;
    browser.is_at("/connections/calls").await;

    enter_at(&browser, "Choose streams").await;
    browser.is_at("/connections/calls/streams").await;
    browser.tab_to("users").await;
    browser.press("Space").await;
    let chosen = "return document.activeElement.checked";
    assert_eq!(browser.run(chosen).await, false);
    browser.press("Space").await;
    enter_at(&browser, "Run now").await;
    browser.sees("Run of Calls").await;
    browser.no_longer_sees("Stop this run").await;

    browser.go("/connections").await;
    enter_at(&browser, "Calls").await;
    browser.is_at("/connections/calls").await;
    enter_at(&browser, "Delete this connection").await;
    browser.is_at("/connections").await;
    let all = service.get("/api/v1/connections").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 0);
    browser.close().await;
}

#[tokio::test]
async fn a_saved_credential_is_chosen_with_the_arrow_keys() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = small_sandbox().await;
    for title in ["First", "Second"] {
        save(&service, title, &sandbox.base_url()).await;
    }
    browser.go("/sources/clari-copilot?added=first").await;
    browser.tab_to("First").await;
    browser.press("ArrowDown").await;
    browser.focus_is_at("Second").await;
    let script = "return document.activeElement.checked && document.querySelectorAll('[name=connection]:checked').length === 1";
    assert_eq!(browser.run(script).await, true);
    enter_at(&browser, "Continue").await;
    browser.is_at("/connections/second/streams").await;
    browser.close().await;
}

#[tokio::test]
async fn a_credential_is_added_and_read_without_the_script() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = small_sandbox().await;
    browser.scripts(false).await;
    browser.go("/").await;
    browser.click("Clari Copilot").await;
    browser.is_at("/sources/clari-copilot").await;
    browser.click("Add credential").await;
    browser.is_at("/sources/clari-copilot/add").await;
    browser.screenshot("no-script-add").await;
    enter(&browser, "Calls", "wrong", &sandbox.base_url()).await;
    browser.click("Save").await;
    browser.sees("Please correct 2 fields").await;
    browser.sees("Save anyway").await;
    browser.screenshot("no-script-wrong-key").await;
    // A secret never comes back; everything else does.
    assert_eq!(browser.value("API Key").await, "");
    assert_eq!(browser.value("Credential name").await, "Calls");
    browser.fill("API Key", API_KEY).await;
    browser.fill("API Password", API_PASSWORD).await;
    browser.click("Save").await;
    browser.is_at("/sources/clari-copilot?added=calls").await;
    browser.sees("Calls was saved and is selected.").await;
    browser.screenshot("no-script-saved").await;
    browser.click("Continue").await;
    browser.is_at("/connections/calls/streams").await;
    browser.click("Run now").await;
    browser.sees("Run of Calls").await;
    for _ in 0..50 {
        if browser.path().await.starts_with("/syncs/") && !seen(&browser, "Refresh").await {
            break;
        }
        browser.click("Refresh").await;
    }
    browser.sees("Complete").await;
    browser.screenshot("no-script-run").await;
    let tested = works(&service).await;
    assert!(tested, "the result of the test is kept");
    browser.close().await;
}

async fn seen(browser: &Browser, text: &str) -> bool {
    let script = "return tidy(document.body.innerText).includes(arguments[0])";
    browser.run_with(script, serde_json::json!([text])).await == true
}

async fn works(service: &Service) -> bool {
    let saved = service.get("/api/v1/connections/calls").await.json();
    saved["health"] == "working"
}
