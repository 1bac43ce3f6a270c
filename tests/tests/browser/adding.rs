//! Adding a credential.

use std::time::Instant;

use acceptance::{browser::Browser, service::Service, unlimited_sandbox};
use headwater_sandbox::{
    API_KEY, API_PASSWORD, ClaribiOptions, Faults, RedirectFault, Sandbox, StatusFault, claribi,
};
use serde_json::{Value, json};

use crate::{FAILS, HEADWATER, WORKS, console, ends, enter, unfold, wrong_fields};

/// The open form, filled in with a right key for this address.
async fn filled(browser: &Browser, base_url: &str) {
    browser.go("/sources/clari-copilot").await;
    browser.click("Add credential").await;
    enter(browser, "Calls", API_KEY, base_url).await;
}

/// Tests a right key while the service is in this state; what the form says then.
async fn tested(browser: &Browser, sandbox: &Sandbox, faults: Faults, shot: &str) {
    sandbox.set_faults(faults);
    filled(browser, &sandbox.base_url()).await;
    browser.click("Test").await;
    ends(browser, FAILS).await;
    browser.inspect(shot).await;
}

#[tokio::test]
async fn a_wrong_key_is_put_right_and_the_credential_is_saved() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    browser.go("/").await;
    browser.inspect("gallery").await;
    browser.click("Clari Copilot").await;
    browser.sees("Choose a credential").await;
    browser.inspect("authenticate").await;
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    browser.inspect("add").await;
    enter(&browser, "Calls of the team", "wrong", &sandbox.base_url()).await;
    browser.click("Save").await;
    ends(&browser, FAILS).await;
    browser.focus_is_at("Please correct 2 fields").await;
    browser.inspect("wrong-key").await;
    // One pair: either half may be the wrong one, and none of them is taken away.
    assert_eq!(
        wrong_fields(&browser).await,
        json!(["API Key", "API Password"])
    );
    browser.sees("if the pair was regenerated").await;
    assert_eq!(browser.value("API Key").await, "wrong");
    browser.click_at(".summary a").await;
    browser.focus_is_at("API Key").await;
    browser.focus_is_not_covered().await;
    browser.fill("API Key", API_KEY).await;
    browser.click("Save").await;
    let added = "/sources/clari-copilot?added=calls-of-the-team";
    browser.is_at(added).await;
    browser
        .sees("Calls of the team was saved and is selected.")
        .await;
    browser.sees("Working").await;
    browser.inspect("saved").await;
    browser.close().await;
}

#[tokio::test]
async fn a_form_without_input_names_every_field_and_sends_nothing() {
    let Some((service, browser)) = console().await else {
        return;
    };
    browser.go("/sources/clari-copilot").await;
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    browser.click("Save").await;
    browser.focus_is_at("Please correct").await;
    browser.inspect("empty-form").await;
    let wrong = wrong_fields(&browser).await;
    let wrong: Vec<&str> = wrong
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(wrong.contains(&"API Key") && wrong.contains(&"API Password"));
    // The words of the summary stand at the fields too, in what is read out for them.
    let script = "return [...top_().querySelectorAll('.summary a')].every((link) => {
        const about = document.getElementById(link.hash.slice(1)).getAttribute('aria-describedby').split(' ');
        return about.every((id) => document.getElementById(id)) && tidy(document.getElementById(about[0]).innerText) === tidy(link.innerText);
    })";
    assert_eq!(browser.run(script).await, true);
    let all = service.get("/api/v1/connections").await.json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(0), "{all}");
    browser.close().await;
}

#[tokio::test]
async fn an_address_of_something_else_is_told_at_the_address() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    let page = Faults {
        html: 5,
        ..Faults::default()
    };
    tested(&browser, &sandbox, page, "web-page").await;
    browser
        .sees("The address returned a web page instead of the Clari Copilot API")
        .await;
    assert_eq!(wrong_fields(&browser).await, json!(["Base URL"]));
    sandbox.set_faults(Faults::default());
    let elsewhere = format!("{}/nowhere", sandbox.base_url());
    browser.fill("Base URL", &elsewhere).await;
    browser.click("Test").await;
    browser
        .sees("no Clari Copilot API at this path (status 404)")
        .await;
    ends(&browser, FAILS).await;
    assert_eq!(wrong_fields(&browser).await, json!(["Base URL"]));
    browser.inspect("wrong-path").await;
    browser.click("Reset to default").await;
    browser.focus_is_at("Base URL").await;
    let address = browser.value("Base URL").await;
    assert_eq!(address, "https://rest-api.copilot.clari.com");
    browser.close().await;
}

#[tokio::test]
async fn a_service_that_asks_to_wait_judges_no_key() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    let throttled = Faults {
        status: Some(StatusFault {
            code: 429,
            next: 9,
            path: None,
            retry_after: Some(2),
        }),
        ..Faults::default()
    };
    tested(&browser, &sandbox, throttled, "throttled").await;
    browser
        .sees("asks to wait; the credentials were not tested")
        .await;
    browser.sees("Try again in 2 seconds").await;
    assert_eq!(wrong_fields(&browser).await, json!([]));
    assert_eq!(browser.value("API Key").await, API_KEY);
    sandbox.set_faults(Faults::default());
    // It waits as long as it was asked to, which can be stopped.
    browser.click("Test again automatically in 2 seconds").await;
    browser.sees("Waiting as the service asks").await;
    browser.click("Stop").await;
    browser.no_longer_sees("Waiting as the service asks").await;
    browser.click("Test again automatically in 2 seconds").await;
    ends(&browser, WORKS).await;
    browser.inspect("test-passed").await;
    browser.close().await;
}

#[tokio::test]
async fn a_key_follows_no_redirect() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    let (sandbox, other) = (unlimited_sandbox(20).await, unlimited_sandbox(20).await);
    let origin = other.base_url();
    let redirected = Faults {
        redirect: Some(RedirectFault {
            origin: origin.clone(),
            next: 9,
        }),
        ..Faults::default()
    };
    tested(&browser, &sandbox, redirected, "redirected").await;
    browser
        .sees(&format!("The address redirects to {origin}"))
        .await;
    browser.sees("keys are not sent to another host").await;
    assert_eq!(wrong_fields(&browser).await, json!(["Base URL"]));
    browser
        .click(&format!("Use {origin} and enter the secrets again"))
        .await;
    browser.focus_is_at("API Key").await;
    for (field, value) in [
        ("Base URL", &*origin),
        ("API Key", ""),
        ("API Password", ""),
    ] {
        assert_eq!(browser.value(field).await, value, "{field}");
    }
    browser.click("Test").await;
    browser.focus_is_at("Please correct 2 fields").await;
    assert_eq!(other.stats().requests, 0);
    browser.fill("API Key", API_KEY).await;
    browser.fill("API Password", API_PASSWORD).await;
    browser.click("Test").await;
    ends(&browser, WORKS).await;
    browser.close().await;
}

#[tokio::test]
async fn an_address_that_is_not_permitted_gets_no_request_and_cannot_be_saved() {
    // Without --development no base URL leads to this machine.
    let service = Service::start_in(tempfile::tempdir().unwrap(), HEADWATER, &[]);
    let Some(browser) = Browser::start(&service.address).await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    let https = sandbox.base_url().replace("http:", "https:");
    filled(&browser, &https).await;
    browser.click("Test").await;
    ends(&browser, FAILS).await;
    assert_eq!(wrong_fields(&browser).await, json!(["Base URL"]));
    browser.sees("--allow-host").await;
    browser.inspect("refused-address").await;
    let offered = "return [...top_().querySelectorAll('[value=save-untested]')].some(isShown)";
    assert_eq!(browser.run(offered).await, false);
    browser.click("Save").await;
    browser.focus_is_at("Please correct").await;
    assert_eq!(sandbox.stats().requests, 0);
    browser.close().await;
}

#[tokio::test]
async fn what_a_test_offers_is_taken_over_with_one_click() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    let options = ClaribiOptions {
        key_headers: claribi::KeyHeaders::ApiKey,
        ..ClaribiOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    browser.go("/sources/claribi").await;
    browser.click("Add credential").await;
    browser.fill("Credential name", "Org").await;
    browser.click("Bearer header").await;
    browser.fill("API key", claribi::API_KEY).await;
    unfold(&browser).await;
    browser.fill("Base URL", &sandbox.base_url()).await;
    browser.click("Test").await;
    browser.sees("Use this setting").await;
    browser.inspect("offer").await;
    browser.click("Use this setting").await;
    // The plan of this one has data that were not synced for long.
    ends(&browser, "Connected, with a warning.").await;
    let chosen = "return nameOf(top_().querySelector('[data-kind=tag] input:checked'))";
    assert_eq!(browser.run(chosen).await, "Api-Key header recommended");
    browser.click("Save").await;
    browser.is_at("/sources/claribi?added=org").await;
    browser.close().await;
}

#[tokio::test]
async fn a_credential_that_does_not_work_is_saved_only_by_those_who_insist() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    filled(&browser, &sandbox.base_url()).await;
    browser.fill("API Key", "wrong").await;
    browser.click("Save").await;
    ends(&browser, FAILS).await;
    browser.click("Save anyway").await;
    browser.is_at("/sources/clari-copilot?added=calls").await;
    browser.sees("Not tested").await;
    browser.inspect("not-tested").await;
    browser.click("Details").await;
    browser
        .sees("This connection was saved without a test.")
        .await;
    browser.inspect("untested-connection").await;
    browser.close().await;
}

#[tokio::test]
async fn the_overlay_opens_with_the_focus_in_it_and_gives_it_back() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    browser.go("/sources/clari-copilot").await;
    let mut took = Vec::new();
    for _ in 0..5 {
        // From the click until the first field has the focus, by the clock of the browser.
        let script = "const done = arguments[arguments.length - 1], began = performance.now();
            addEventListener('focusin', (event) => event.target.id === 'title' && requestAnimationFrame(() => done(performance.now() - began)));
            document.querySelector('a[data-dialog]').focus();
            document.activeElement.click();";
        took.push(browser.run_later(script).await.as_f64().unwrap());
        browser.press("Escape").await;
        browser.focus_is_at("Add credential").await;
        assert_eq!(browser.path().await, "/sources/clari-copilot");
    }
    took.sort_by(f64::total_cmp);
    println!(
        "overlay open to focus, of {}: median {:.0} ms, most {:.0} ms",
        took.len(),
        took[2],
        took[4]
    );
    // What is behind is out of reach while it is open.
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    let started = Instant::now();
    let mut inside = 0;
    loop {
        browser.press("Tab").await;
        let is_inside = browser
            .run("return document.activeElement.closest('dialog') !== null")
            .await;
        let is_body = browser
            .run("return document.activeElement === document.body")
            .await;
        assert!(
            is_inside == true || is_body == true,
            "the focus left the overlay for {}",
            browser.focused().await
        );
        inside += 1;
        if browser.focused().await.starts_with("Credential name") || inside > 60 {
            break;
        }
    }
    assert!(inside <= 60, "after {:?}", started.elapsed());
    browser.click("Close").await;
    browser.focus_is_at("Add credential").await;
    browser.close().await;
}

#[tokio::test]
async fn the_guide_follows_the_field_and_help_is_one_key_away() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    browser.go("/sources/clari-copilot").await;
    // A window that was opened just now takes no keys yet.
    let is_focused = "return document.hasFocus()";
    browser
        .until("the focus of the window", is_focused, json!([]))
        .await;
    browser.press("?").await;
    browser.focus_is_at("Keyboard shortcuts").await;
    browser.sees("Save the open form").await;
    browser.press("/").await;
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    // It is a question mark there.
    browser.write("?").await;
    assert_eq!(browser.value("Credential name").await, "?");
    let step = "return [...document.querySelectorAll('.guide [aria-current=step]')].map((one) => tidy(one.querySelector('h3, strong, b, .title')?.innerText ?? one.innerText.split('\\n')[0]))";
    assert_eq!(browser.run(step).await, json!([]));
    browser.tab_to("API Key").await;
    assert_eq!(browser.run(step).await, json!(["Copy the pair"]));
    browser.close().await;
}

#[tokio::test]
async fn a_secret_that_is_shown_is_hidden_again_by_itself() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    browser.hurry(20).await;
    browser.go("/sources/clari-copilot").await;
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    browser.fill("API Key", "seen for a moment").await;
    let kind = "return top_().querySelector('[data-pointer=\"/api_key\"] [data-secret]').type";
    assert_eq!(browser.run(kind).await, "password");
    browser.click("Show API Key").await;
    assert_eq!(browser.run(kind).await, "text");
    let is_hidden = format!("return (() => {{ {kind} }})() === 'password'");
    browser
        .until("the secret hidden again", &is_hidden, json!([]))
        .await;
    assert_eq!(browser.value("API Key").await, "seen for a moment");
    browser.close().await;
}

#[tokio::test]
async fn no_control_is_below_the_bars_that_stick_when_it_has_the_focus() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    for (width, height) in [(1280, 720), (320, 640)] {
        browser.resize(width, height).await;
        browser.go("/sources/clari-revenue/add").await;
        unfold(&browser).await;
        browser
            .run("document.querySelector('#title').focus()")
            .await;
        for _ in 0..60 {
            browser.focus_is_not_covered().await;
            browser.press("Tab").await;
            if browser.focused().await == "Save" {
                break;
            }
        }
        assert_eq!(browser.focused().await, "Save");
    }
    browser.close().await;
}

#[tokio::test]
async fn password_managers_are_asked_to_leave_the_fields_alone() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    browser.go("/sources/clari-copilot/add").await;
    unfold(&browser).await;
    let script = "return [...document.querySelectorAll('form.credential :is(input, textarea):not([type=hidden])')].filter(isShown)
        .filter((one) => one.type !== 'checkbox')
        .map((one) => [nameOf(one), one.type, one.autocomplete, one.hasAttribute('data-1p-ignore') && one.hasAttribute('data-bwignore') && one.dataset.lpignore === 'true'])";
    let inputs = browser.run(script).await;
    for input in inputs.as_array().unwrap() {
        let (name, kind) = (input[0].as_str().unwrap(), &input[1]);
        let hint = if kind == "password" {
            "new-password"
        } else {
            "off"
        };
        assert_eq!(input[2], hint, "{name}");
        assert!(
            input[3] == true || kind == "textarea" || kind == "date",
            "{name}: {input}"
        );
    }
    browser.close().await;
}

#[tokio::test]
async fn what_pasting_brings_along_is_taken_off_and_told() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    browser.go("/sources/clari-copilot/add").await;
    let script = "const input = field('API Key'), data = new DataTransfer();
        input.focus();
        input.value = ' \"Bearer sandbox-key\" ';
        input.dispatchEvent(new ClipboardEvent('paste', { bubbles: true, clipboardData: data }));";
    browser.run(script).await;
    browser.sees("Removed surrounding spaces or quotes.").await;
    browser.sees("Removed the word Bearer").await;
    assert_eq!(browser.value("API Key").await, API_KEY);
    browser.inspect("pasted").await;
    // Shown while it is wanted, and hidden again by the next look elsewhere.
    browser.click("Show API Key").await;
    let kind = "return field('API Key').type";
    assert_eq!(browser.run(kind).await, "text");
    browser.run("window.dispatchEvent(new Event('blur'))").await;
    assert_eq!(browser.run(kind).await, "password");
    browser.close().await;
}

/// Chooses a file with this text, as a user would.
async fn choose(browser: &Browser, name: &str, text: &str) {
    let chosen = "const [name, text] = arguments; const given = new DataTransfer();
        given.items.add(new File([text], name)); const input = document.getElementById('from-file');
        input.files = given.files; input.dispatchEvent(new Event('change', { bubbles: true }));";
    browser.run_with(chosen, json!([name, text])).await;
}

#[tokio::test]
async fn a_config_in_a_file_fills_in_the_form() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    browser.go("/sources/clari-copilot").await;
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    browser.click_at("[data-from-file] summary").await;
    browser.inspect("from-file").await;
    for (name, text, says) in [
        ("a.json", "[1]", "a.json is not a JSON object."),
        ("b.json", "{", "b.json is not a JSON object."),
        (
            "c.json",
            r#"{"connector":"claribi","config":{}}"#,
            "c.json is a config of claribi; this form is for clari-copilot.",
        ),
        (
            "d.json",
            &format!("{{{}}}", " ".repeat(1 << 20)),
            "d.json is too large to be a config",
        ),
        (
            "e.json",
            r#"{"colour":{"of/it":"red"},"base_url":null}"#,
            "Filled in 0 fields from e.json. Look them over, then test them. Left out, because this form has no field for it: colour/of~1it.",
        ),
    ] {
        choose(&browser, name, text).await;
        browser.sees(says).await;
    }
    let config = json!({ "api_key": API_KEY, "api_password": API_PASSWORD,
                         "base_url": sandbox.base_url(), "include_private": true });
    let mut saved = json!({ "connector": "clari-copilot", "title": "From a file", "config": config, "expires": "soon" });
    choose(&browser, "copilot.json", &saved.to_string()).await;
    browser
        .sees("Left out, because this form has no field for it: expires.")
        .await;
    saved["expires"] = "9998-05-17".into();
    choose(&browser, "copilot.json", &saved.to_string()).await;
    browser
        .no_longer_sees("Left out, because this form has no field for it")
        .await;
    browser.sees("Filled in 4 fields from copilot.json.").await;
    assert_eq!(browser.value("Expires on").await, "9998-05-17");
    assert_eq!(browser.value("Credential name").await, "From a file");
    browser.inspect("from-file-filled").await;
    browser.click("Save").await;
    let added = "/sources/clari-copilot?added=from-a-file";
    browser.is_at(added).await;
    let saved = service.get("/api/v1/connections/from-a-file").await.json();
    assert_eq!(saved["health"], "working");
    let open = json!({ "base_url": sandbox.base_url(), "include_private": true });
    assert_eq!(saved["config"], open);
    // A second one of the same name may be wanted, and is noticed before it is saved.
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    browser.fill("Credential name", "From a file").await;
    browser.press("Tab").await;
    browser
        .sees("Another credential has the same name. You can keep it")
        .await;
    browser.inspect("same-name").await;

    // What the command line prints has its fields by their pointers, and no secrets.
    browser.go("/sources/claribi").await;
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    browser.click_at("[data-from-file] summary").await;
    let printed = json!({ "connection": "bi", "connector": "claribi", "title": "BI",
        "config": { "/auth/style": "bearer", "/base_url": "https://bi.example.com" } });
    choose(&browser, "bi.json", &printed.to_string()).await;
    browser.sees("Filled in 2 fields from bi.json.").await;
    let chosen = "return [...document.querySelectorAll('input:checked[data-branch]')].map((one) => one.value)";
    assert_eq!(browser.run(chosen).await, json!(["bearer"]));
    browser.inspect("from-file-branch").await;
    let exact = r#"{"stale_after_hours":9007199254740993}"#;
    choose(&browser, "exact.json", exact).await;
    browser.sees("Filled in 1 field from exact.json.").await;
    let stale = "return document.querySelector('[name=\"/stale_after_hours\"]').value";
    assert_eq!(browser.run(stale).await, "9007199254740993");
    browser.close().await;
}
