//! A secret that was typed leaves no trace in the browser.

use acceptance::{binary::contents, browser::Browser, service::Service, unlimited_sandbox};
use headwater_sandbox::{API_KEY, API_PASSWORD};
use serde_json::json;

use crate::{FAILS, console, ends, enter};

const CANARY: &str = "canary-5e1d-never-to-be-seen";

/// Everything that this browser keeps of the console, and what stands in the page.
async fn traces(browser: &Browser) -> String {
    let script = "return JSON.stringify([location.href, history.state, document.documentElement.outerHTML, document.cookie,
        [...document.querySelectorAll('input, textarea')].map((one) => one.value),
        Object.entries(localStorage), Object.entries(sessionStorage), document.referrer,
        performance.getEntries().map((one) => one.name)])";
    let page = browser.run(script).await;
    let cookies = browser.cdp("Storage.getCookies", json!({})).await;
    let history = browser.cdp("Page.getNavigationHistory", json!({})).await;
    let stored = "return indexedDB.databases().then((all) => caches.keys().then((keys) => JSON.stringify([all, keys])))";
    let stored = browser.run(stored).await;
    format!("{page}{cookies}{history}{stored}")
}

async fn is_clean(browser: &Browser, service: &Service, secrets: &[&str]) {
    let traces = traces(browser).await;
    for secret in secrets {
        assert!(
            !traces.contains(secret),
            "a secret is at {}",
            browser.path().await
        );
        for (path, bytes) in contents(service.path()) {
            let is_there = String::from_utf8_lossy(&bytes).contains(secret);
            assert!(!is_there, "a secret is in {}", path.display());
        }
    }
}

#[tokio::test]
async fn what_was_typed_as_a_secret_is_nowhere_afterwards() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    let secrets = [CANARY, API_KEY, API_PASSWORD];
    browser.go("/sources/clari-copilot").await;
    // Typed and thought better of.
    browser.click("Add credential").await;
    enter(&browser, "Calls", CANARY, &sandbox.base_url()).await;
    browser.click("Test").await;
    ends(&browser, FAILS).await;
    browser.press("Escape").await;
    browser.click("Discard").await;
    browser.focus_is_at("Add credential").await;
    is_clean(&browser, &service, &secrets).await;
    // Typed wrong, then right, and saved.
    browser.click("Add credential").await;
    enter(&browser, "Calls", CANARY, &sandbox.base_url()).await;
    browser.click("Save").await;
    ends(&browser, FAILS).await;
    assert!(!browser.path().await.contains(CANARY));
    browser.fill("API Key", API_KEY).await;
    browser.click("Save").await;
    browser.is_at("/sources/clari-copilot?added=calls").await;
    is_clean(&browser, &service, &secrets).await;
    browser.back().await;
    browser.sees("Clari Copilot").await;
    is_clean(&browser, &service, &secrets).await;
    for path in [
        "/connections/calls",
        "/connections/calls/edit",
        "/connections/calls/rotate",
        "/connections",
        "/syncs",
    ] {
        browser.go(path).await;
        is_clean(&browser, &service, &secrets).await;
    }
    let metrics = service.get("/metrics").await.text;
    let audit = service.get("/api/v1/audit").await.text;
    for secret in secrets {
        assert!(!metrics.contains(secret) && !audit.contains(secret));
    }
    browser.close().await;
    let said = service.stop();
    assert!(
        secrets.iter().all(|secret| !said.contains(secret)),
        "a secret is in the log"
    );
}
