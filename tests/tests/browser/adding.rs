//! Adding a credential.

use acceptance::unlimited_sandbox;
use headwater_sandbox::{API_KEY, API_PASSWORD};

use crate::console;

#[tokio::test]
async fn a_wrong_key_is_put_right_and_the_credential_is_saved() {
    let Some((_service, browser)) = console().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    browser.go("/").await;
    browser.axe().await;
    browser.screenshot("gallery").await;
    browser.click("Clari Copilot").await;
    browser.sees("Choose a credential").await;
    browser.axe().await;
    browser.click("Add credential").await;
    browser.focus_is_at("Credential name").await;
    browser.axe().await;
    browser.screenshot("add").await;
    browser.fill("Credential name", "Calls of the team").await;
    browser.fill("API Key", "wrong").await;
    browser.fill("API Password", API_PASSWORD).await;
    browser.click("Advanced").await;
    browser.fill("Base URL", &sandbox.base_url()).await;
    browser.click("Save").await;
    browser.sees("This does not work yet.").await;
    browser.axe().await;
    browser.screenshot("wrong-key").await;
    assert_eq!(browser.value("API Key").await, "wrong");
    browser.fill("API Key", API_KEY).await;
    browser.click("Save").await;
    browser
        .is_at("/sources/clari-copilot?added=calls-of-the-team")
        .await;
    browser.sees("Working").await;
    browser.axe().await;
    browser.screenshot("saved").await;
    browser.close().await;
}
