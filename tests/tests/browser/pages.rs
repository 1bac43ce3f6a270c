//! Every page in its main states, in long words, from right to left, and in the dark. The states are those of the
//! console's own tests; the service shows them in English only.

#[path = "../../../framework/console/tests/it/samples/mod.rs"]
pub mod samples;

use std::collections::BTreeMap;

use acceptance::browser::Browser;
use headwater_console::{Messages, Page, SCRIPT, STYLE, Theme};
use headwater_testkit::{Reply, Request, Script};
use serde_json::json;

/// What the service sends with its pages.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A site with these pages, each at `/` and its name.
pub async fn site(pages: Vec<(&'static str, Page)>, text: &Messages, theme: Theme) -> Script {
    let frame = samples::frame(theme);
    let documents: BTreeMap<String, String> = pages
        .into_iter()
        .map(|(name, page)| (format!("/{name}"), page.document(&frame, text)))
        .collect();
    let script = Script::start(move |request| shown(&documents, POLICY, request));
    script.await.unwrap()
}

/// One of these documents, by its path, or what belongs to all of them.
pub fn shown(documents: &BTreeMap<String, String>, policy: &str, request: &Request) -> Reply {
    let path = request.target.split('?').next().unwrap_or_default();
    let (kind, body) = match path {
        "/assets/console.css" => ("text/css", STYLE),
        "/assets/console.js" => ("text/javascript", SCRIPT),
        page => match documents.get(page) {
            Some(document) => ("text/html; charset=utf-8", document.as_str()),
            None => return Reply::json(404, "{}"),
        },
    };
    let headers = [("content-type", kind), ("content-security-policy", policy)];
    Reply::full(200, &headers, body.as_bytes())
}

/// Looks at all pages at two widths, in dark or light. Where they differ in colours only, one width is enough.
async fn every_page_is_sound(text: Messages, theme: Theme, way: &str) {
    let pages = samples::pages(&text);
    let names: Vec<&str> = pages.iter().map(|(name, _)| *name).collect();
    let site = site(pages, &text, theme).await;
    let Some(browser) = Browser::start(&site.base_url()).await else {
        return;
    };
    browser.resize(320, 640).await;
    for name in names.iter().filter(|_| theme != Theme::Dark) {
        browser.go(&format!("/{name}")).await;
        browser.fits(&format!("{name}, {way}, 320 pixels")).await;
        browser.screenshot(&format!("{way}-phone-{name}")).await;
    }
    browser.resize(1280, 800).await;
    for name in &names {
        browser.go(&format!("/{name}")).await;
        browser.inspect(&format!("{way}-{name}")).await;
        let clipped = browser.run(CLIPPED).await;
        assert_eq!(clipped, json!([]), "{name}, {way}");
    }
    browser.close().await;
}

/// Controls and badges with words that do not fit into them.
const CLIPPED: &str = "return [...document.querySelectorAll('button, .button, .badge, legend, label, h1, h2')].filter(isShown)
    .filter((one) => !one.matches('.vh') && one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline').map(nameOf)";

#[tokio::test]
async fn every_page_is_sound_in_longer_words() {
    every_page_is_sound(Messages::pseudo(false).unwrap(), Theme::Light, "long").await;
}

#[tokio::test]
async fn every_page_is_sound_from_right_to_left() {
    every_page_is_sound(Messages::pseudo(true).unwrap(), Theme::Light, "rtl").await;
}

#[tokio::test]
async fn every_page_is_sound_in_the_dark() {
    every_page_is_sound(Messages::english().unwrap(), Theme::Dark, "night").await;
}

#[tokio::test]
async fn what_is_wrong_with_a_page_is_noticed() {
    let page = r#"<!DOCTYPE html><html lang="en"><title>Wrong</title><main><h1>Wrong</h1><img src="data:,"><input>
        <button onclick="alert(1)" style="width: 400px">Press</button></main></html>"#;
    let headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", POLICY),
    ];
    let reply = move |_: &_| Reply::full(200, &headers, page.as_bytes());
    let site = Script::start(reply).await.unwrap();
    let Some(browser) = Browser::start(&site.base_url()).await else {
        return;
    };
    browser.go("/").await;
    let found = browser.axe_complaints().await;
    for rule in ["image-alt", "label"] {
        assert!(found.iter().any(|one| one.starts_with(rule)), "{found:#?}");
    }
    browser.click("Press").await;
    let found = browser.complaints().await;
    for policy in ["style-src", "script-src"] {
        assert!(found.iter().any(|one| one.contains(policy)), "{found:#?}");
    }
}
