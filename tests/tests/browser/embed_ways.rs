//! The form in a frame again, by everybody: with the keyboard only, on a small screen, from right to left, and in the
//! colours of the system.

use acceptance::{browser::Browser, unlimited_sandbox};
use headwater_sandbox::{API_KEY, API_PASSWORD};
use serde_json::json;

use crate::{
    FAILS,
    embed::{FRAME, PLAIN, Platform, example, heard, named, open},
    ends, enter,
};

/// Another site than that of the service.
const ELSEWHERE: &str = "localhost";

/// The form of a new credential, opened in the frame of a page on this host.
async fn opened(host: &str) -> Option<(Platform, Browser)> {
    let platform = Platform::start_at(host, PLAIN.to_owned()).await;
    let embed = platform.ask(json!({ "connector": "clari-copilot" })).await;
    let browser = platform.browser().await?;
    open(&browser, &embed, json!({})).await;
    heard(&browser, "ready").await;
    browser.enter_frame(FRAME).await;
    browser.focus_is_at("Credential name").await;
    Some((platform, browser))
}

/// Adds with a wrong key first. Pictures are called after the way.
async fn adds(browser: &Browser, way: &str) {
    let sandbox = unlimited_sandbox(1).await;
    let shot = async |state: &str| browser.inspect(&format!("embed-{way}-{state}")).await;
    shot("add").await;
    enter(browser, "Calls", "wrong", &sandbox.base_url()).await;
    browser.click("Test").await;
    ends(browser, FAILS).await;
    shot("wrong-key").await;
    browser.fill("API Key", API_KEY).await;
    browser.click("Save").await;
    browser.leave_frames().await;
    let events = heard(browser, "closed").await;
    assert_eq!(named(&events), ["ready", "tested", "saved", "closed"]);
    assert_eq!(events[2][1]["status"], "working");
    browser.focus_is_at("Open").await;
}

#[tokio::test]
async fn a_frame_works_on_320_pixels_without_scrolling_sideways() {
    let Some((_platform, browser)) = opened(ELSEWHERE).await else {
        return;
    };
    browser.leave_frames().await;
    browser.resize(320, 640).await;
    browser.enter_frame(FRAME).await;
    let width = "return innerWidth <= 320";
    browser.until("a narrow frame", width, json!([])).await;
    browser.click("Step 2 of the guide : API Key").await;
    browser.focus_is_at("Close the guide").await;
    browser.inspect("embed-phone-guide").await;
    // Only the drawer is closed.
    browser.press("Escape").await;
    browser.focus_is_at("Step 2 of the guide").await;
    adds(&browser, "phone").await;
    browser.close().await;
}

#[tokio::test]
async fn a_frame_works_from_right_to_left() {
    let Some((_platform, browser)) = opened(ELSEWHERE).await else {
        return;
    };
    let turn = "const guideIsLeft = () => document.querySelector('.guide').getBoundingClientRect().left < document.querySelector('.inputs').getBoundingClientRect().left;
        const before = guideIsLeft();
        document.documentElement.dir = 'rtl';
        return [before, guideIsLeft()]";
    assert_eq!(browser.run(turn).await, json!([false, true]));
    adds(&browser, "rtl").await;
    browser.close().await;
}

#[tokio::test]
async fn a_frame_works_in_the_colours_of_the_system() {
    // What is emulated reaches frames of the same site only.
    let Some((_platform, browser)) = opened("127.0.0.1").await else {
        return;
    };
    browser.prefers(&[("forced-colors", "active")]).await;
    let forced = "return matchMedia('(forced-colors: active)').matches";
    browser
        .until("the colours of the system", forced, json!([]))
        .await;
    adds(&browser, "forced").await;
    browser.close().await;
}

#[tokio::test]
async fn a_frame_works_with_the_keyboard_only() {
    let platform = Platform::start(example()).await;
    platform.ask(json!({ "connector": "clari-copilot" })).await;
    let Some(browser) = platform.browser().await else {
        return;
    };
    let sandbox = unlimited_sandbox(1).await;
    // Opened and left again, which leads back to where it was opened.
    browser.press("Tab").await;
    browser.tab_to("Connect Clari Copilot").await;
    browser.press("Enter").await;
    browser.enter_frame(FRAME).await;
    browser.focus_is_at("Credential name").await;
    browser.hold("Escape").await;
    browser.leave_frames().await;
    browser.focus_is_at("Connect Clari Copilot").await;
    browser.release().await;

    browser.press("Enter").await;
    browser.enter_frame(FRAME).await;
    browser.focus_is_at("Credential name").await;
    let write_at = async |name: &str, text: &str| {
        browser.tab_to(name).await;
        browser.press("Control+a").await;
        browser.write(text).await;
    };
    write_at("Credential name", "Calls").await;
    write_at("API Key", "wrong").await;
    write_at("API Password", API_PASSWORD).await;
    browser.tab_to("Advanced").await;
    browser.press("Enter").await;
    write_at("Base URL", &sandbox.base_url()).await;
    browser.tab_to("Test").await;
    browser.press("Enter").await;
    ends(&browser, FAILS).await;
    browser.inspect("embed-keyboard-wrong-key").await;
    // Round to the field that is wrong.
    write_at("API Key", API_KEY).await;
    browser.press("Enter").await;
    browser.leave_frames().await;
    browser.sees("Calls is saved as calls-").await;
    browser.focus_is_at("Connect Clari Copilot").await;
    browser.close().await;
}
