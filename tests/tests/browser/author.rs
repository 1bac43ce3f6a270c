//! The page for authors: the form follows what is typed, and shows every end of its test.

use std::fs;

use acceptance::browser::Browser;
use headwater_connectors as _;
use headwater_core::Registry;
use headwater_dev::preview::Preview;
use serde_json::json;
use tokio::sync::watch;

use crate::console;

/// What the page says of the schema, once it does.
const SAID: &str =
    "return document.querySelector('[data-said]').textContent.includes(arguments[0])";

#[tokio::test]
async fn a_form_follows_its_schema_while_somebody_types() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    browser.go("/author?connector=clari-copilot").await;
    browser.sees("No problems found.").await;
    browser.axe().await;
    browser.screenshot("author").await;
    let half = r#"{ "type": "object", "properties": { "acme_key": { "type": "string" "#;
    browser.fill("JSON Schema of the config", half).await;
    browser
        .until("the complaint", SAID, json!(["This is not JSON"]))
        .await;
    // The form before stays until there is another.
    browser.sees("API Password").await;
    browser.axe().await;
    let refused = r#"{ "type": "object", "additionalProperties": false, "properties": { "acme_key": { "type": "string" } } }"#;
    browser.fill("JSON Schema of the config", refused).await;
    browser.sees("Every field has a title").await;
    browser.no_longer_sees("API Password").await;
    browser.axe().await;
    browser.screenshot("author-refused").await;
    let sound = r#"{ "type": "object", "title": "Acme", "additionalProperties": false, "required": ["acme_key"], "properties": {
        "acme_key": { "type": "string", "format": "password", "writeOnly": true, "minLength": 1, "title": "Acme key", "description": "Yours.",
            "x-headwater": { "order": 1, "guideStep": 1, "help": "Settings > Keys" } },
        "base_url": { "type": "string", "format": "uri", "default": "https://api.acme.example", "title": "Acme address",
            "description": "Where it is.", "x-headwater": { "order": 2, "destination": true } } } }"#;
    browser.fill("JSON Schema of the config", sound).await;
    browser.sees("Add New Credential – Acme").await;
    browser.sees("No problems found.").await;
    browser.is_quiet().await;
    browser.close().await;
}

#[tokio::test]
async fn every_end_of_a_test_is_shown_and_a_filled_form_is_judged() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    browser.go("/author?connector=claribi").await;
    let names = browser
        .run("return [...document.querySelectorAll('#author-class option')].slice(1).map((one) => one.text)")
        .await;
    let names = names.as_array().unwrap().clone();
    assert_eq!(names.len(), 17);
    for name in names {
        let name = name.as_str().unwrap();
        browser.select("Test outcome", name).await;
        let shown = "const hidden = document.querySelector('[data-author] [name=class]');
            const list = document.getElementById('author-class');
            return hidden?.value === list.value;";
        browser.until(name, shown, json!([])).await;
        browser.axe().await;
    }
    browser.screenshot("author-unreadable").await;
    browser
        .select("Test outcome", "The credentials are not accepted (401)")
        .await;
    browser.sees("did not accept these credentials").await;
    // An empty form is refused before anything is tested.
    browser
        .click_at("[data-author] footer button[value=test]")
        .await;
    browser.sees("API key is required").await;
    browser.fill("API key", "claribi_sk_canary").await;
    browser
        .click_at("[data-author] footer button[value=test]")
        .await;
    browser.no_longer_sees("API key is required").await;
    browser.sees("did not accept these credentials").await;
    browser.axe().await;
    browser.screenshot("author-failed").await;
    assert_eq!(browser.path().await, "/author?connector=claribi");
    browser.resize(320, 800).await;
    browser.axe().await;
    let fits = "return document.documentElement.scrollWidth <= 320";
    browser
        .until("no scrolling sideways", fits, json!([]))
        .await;
    browser.screenshot("author-320").await;
    browser.close().await;
}

#[tokio::test]
async fn the_preview_of_a_file_follows_its_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("form.json");
    let schema = |title: &str| {
        json!({ "type": "object", "title": title, "additionalProperties": false, "properties": {} })
            .to_string()
    };
    fs::write(&file, schema("Before")).unwrap();
    let registry = Registry::collect().unwrap();
    let preview = Preview::bind(registry, Some(file.clone())).await.unwrap();
    let Some(browser) = Browser::start(&preview.address().unwrap()).await else {
        return;
    };
    let (stop, stopped) = watch::channel(false);
    let look = async {
        browser.go("/author").await;
        browser.sees("Add New Credential – Before").await;
        browser.axe().await;
        fs::write(&file, schema("After")).unwrap();
        browser.sees("Add New Credential – After").await;
        fs::remove_file(&file).unwrap();
        fs::write(&file, schema("Again")).unwrap();
        browser.sees("Add New Credential – Again").await;
        assert!(
            browser
                .value("JSON Schema of the config")
                .await
                .contains("Again")
        );
        browser.close().await;
        stop.send(true).unwrap();
    };
    let (served, ()) = tokio::join!(preview.run(stopped), look);
    served.unwrap();
}
