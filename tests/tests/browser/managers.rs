//! The browser's own password manager, which knows a login of this site, and the secrets of a form.

use std::{collections::BTreeMap, path::Path, time::Duration};

use acceptance::browser::Browser;
use headwater_console::{Messages, Theme, credential};
use headwater_testkit::Script;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::pages::{POLICY, samples, shown};

const USER: &str = "ana";
const PASSWORD: &str = "account-password-7";
/// The password as Chromium for Linux seals it without a keyring: AES-128-CBC under a key that is the same everywhere.
const SEALED: &[u8] = b"v10\xe4\x12\xd9\x0a\xa0\x1e\xbf\x7b\x92\x2d\x8e\xfd\xc2\xb8\x29\x6b\x90\x5d\x7d\x61\xf8\xa9\x7f\x1e\xa1\xbd\xe6\xd3\x75\x82\xb5\x25";

/// Puts a login of this site into a profile, as if somebody had let the browser save it.
fn save_login(profile: &Path, site: &str) {
    let path = profile.join("Default/Login Data");
    assert!(path.exists(), "the browser keeps its logins elsewhere");
    let logins = Connection::open(path).unwrap();
    let row = "INSERT INTO logins (origin_url, action_url, username_element, username_value, password_element,
        password_value, signon_realm, date_created, blacklisted_by_user, scheme, times_used)
        VALUES (?1 || '/login', ?1 || '/login', 'user', ?2, 'password', ?3, ?1 || '/', 13400000000000000, 0, 0, 3)";
    logins.execute(row, (site, USER, SEALED)).unwrap();
}

/// What is in the inputs of the form, and whether the browser filled them in. It lets a page see what it filled in only
/// after somebody did something there.
async fn filled_in(browser: &Browser) -> Vec<Value> {
    browser.click_at("h1").await;
    let script = "return [...document.querySelectorAll('form.credential :is(input, textarea):not([type=hidden])')]
        .map((one) => [one.name, one.value, one.matches(':autofill')])";
    let inputs = browser.run(script).await;
    inputs.as_array().unwrap().clone()
}

fn holds(inputs: &[Value], name: &str, text: &str) -> bool {
    inputs.contains(&json!([name, text, true]))
}

#[tokio::test]
async fn a_saved_login_is_not_put_into_the_secrets_of_a_form() {
    let text = Messages::english().unwrap();
    let frame = samples::frame(Theme::Light);
    let mut documents = BTreeMap::new();
    let sources = [samples::copilot(), samples::claribi(), samples::revenue()];
    for source in &sources {
        let form = samples::form(&source.id, &source.name);
        // Where a name stands already, it is no login's, and the browser leaves all of the form alone.
        let mut new = samples::new_form(source, &form);
        new.title.clear();
        let new = credential(&new, &text);
        let mut saved =
            samples::saved_form(source, &form, json!({}), &["/api_key", "/api_password"]);
        saved.title.clear();
        saved.replacing = ["/api_key", "/api_password"].map(str::to_owned).into();
        let saved = credential(&saved, &text);
        documents.insert(format!("/{}", source.id), new.document(&frame, &text));
        documents.insert(
            format!("/{}-replace", source.id),
            saved.document(&frame, &text),
        );
    }
    let names: Vec<String> = documents.keys().cloned().collect();
    // The same form by somebody who believes that this keeps password managers away.
    let careless = documents["/clari-revenue"].replace("new-password", "off");
    documents.insert("/careless".to_owned(), careless);
    let site = Script::start(move |request| shown(&documents, POLICY, request));
    let site = site.await.unwrap();
    let Some(browser) = Browser::start_with(&site.base_url(), save_login).await else {
        return;
    };
    let is_filled =
        "return document.querySelector('[data-secret]').matches(':autofill') && performance.now()";
    browser.go("/careless").await;
    let took = browser
        .until("a secret that the browser fills in", is_filled, json!([]))
        .await;
    let took = Duration::from_secs_f64(took.as_f64().unwrap() / 1_000.0);
    let inputs = filled_in(&browser).await;
    assert!(holds(&inputs, "/api_key", PASSWORD), "{inputs:?}");
    browser
        .run("document.querySelector('form.credential').remove()")
        .await;

    for name in &names {
        browser.go(name).await;
        // As long as it took where it was filled in, and as long again.
        tokio::time::sleep(took * 2).await;
        let inputs = filled_in(&browser).await;
        assert!(inputs.len() > 3, "{inputs:?}");
        for input in &inputs {
            assert_eq!(input[2], false, "{name}: {input}");
            assert!(input[1] != PASSWORD && input[1] != USER, "{name}: {input}");
        }
    }
    browser.close().await;
}
