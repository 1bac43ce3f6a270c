//! The form in a frame of another page: what users do there, and what the page gets to know.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use acceptance::{browser::Browser, service::Service, unlimited_sandbox, workspace};
use headwater_sandbox::API_KEY;
use headwater_testkit::{Reply, Script};
use serde_json::{Value, json};

use crate::{FAILS, HEADWATER, ends, enter, save, wrong_fields};

const WRONG: &str = "canary-8e21-never-to-be-seen";
pub const FRAME: &str = "dialog iframe";
/// A page that keeps what it is told.
pub const PLAIN: &str = r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>A platform</title>
<h1>A platform</h1><button id="opener">Open</button><script src="https://headwater.example/embed.js"></script></html>"#;

/// A platform: a page on another origin than the service, and a backend that asks for embeds.
pub struct Platform {
    pub service: Service,
    origin: String,
    /// What `/connect` answers.
    embed: Arc<Mutex<String>>,
    _script: Script,
}

impl Platform {
    /// Shows this page, which names the service as the documentation does.
    pub async fn start(page: String) -> Self {
        Self::start_at("localhost", page).await
    }

    /// The same on this host. On that of the service the page is of another origin all the same, but of the same site.
    pub async fn start_at(host: &str, page: String) -> Self {
        let html = Arc::new(Mutex::new(String::new()));
        let embed = Arc::new(Mutex::new(String::new()));
        let (shown, given) = (Arc::clone(&html), Arc::clone(&embed));
        let script = Script::start(move |request| match request.target.as_str() {
            "/" => {
                let headers = [("content-type", "text/html; charset=utf-8")];
                Reply::full(200, &headers, shown.lock().unwrap().as_bytes())
            }
            "/connect" => Reply::json(200, &given.lock().unwrap()),
            _ => Reply::json(404, "{}"),
        });
        let script = script.await.unwrap();
        let origin = format!("http://{host}:{}", script.port());
        let other = "https://app.example";
        let options = ["--embed-origin", other, "--embed-origin", &origin];
        let service = Service::start(HEADWATER, &options);
        *html.lock().unwrap() = page.replace("https://headwater.example", &service.address);
        Self {
            service,
            origin,
            embed,
            _script: script,
        }
    }

    /// Asks for an embed as a backend does.
    pub async fn ask(&self, wanted: Value) -> Value {
        let mut body = wanted;
        if body["origin"].is_null() {
            body["origin"] = self.origin.clone().into();
        }
        let made = self.service.post("/api/v1/embeds", &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        *self.embed.lock().unwrap() = made.text.clone();
        made.json()
    }

    pub async fn browser(&self) -> Option<Browser> {
        let browser = Browser::start(&self.origin).await?;
        browser.go("/").await;
        Some(browser)
    }
}

/// Opens an embed in the plain page, which keeps the events.
pub async fn open(browser: &Browser, embed: &Value, theme: Value) {
    let script = "const [{ url, token }, theme] = arguments;
        window.events = [];
        document.getElementById('opener').focus();
        window.form = Headwater.open({ url, token, theme });
        for (const name of ['ready', 'tested', 'saved', 'closed', 'error']) form.on(name, (said) => events.push([name, said]));";
    browser.run_with(script, json!([embed, theme])).await;
}

/// Waits for an event, and returns what all of them told.
pub async fn heard(browser: &Browser, event: &str) -> Vec<Value> {
    let script = "return events.some(([name]) => name === arguments[0]) && events";
    let what = format!("the event {event}");
    let events = browser.until(&what, script, json!([event])).await;
    events.as_array().unwrap().clone()
}

pub fn named(events: &[Value]) -> Vec<&str> {
    let names = events.iter().map(|event| event[0].as_str().unwrap());
    names.collect()
}

/// The one example of the documentation, as it stands there.
pub fn example() -> String {
    let text = fs::read_to_string(workspace().join("docs/embedding.md")).unwrap();
    let mut blocks = text.split("```html\n").skip(1);
    let block = blocks.next().unwrap().split("```").next().unwrap();
    assert!(blocks.next().is_none(), "two examples");
    block.to_owned()
}

#[tokio::test]
async fn the_example_of_the_documentation_adds_a_credential() {
    let page = example();
    let lines = page.lines().count();
    assert!(lines <= 24, "{lines} lines");
    let platform = Platform::start(page).await;
    let embed = platform.ask(json!({ "connector": "clari-copilot" })).await;
    let Some(browser) = platform.browser().await else {
        return;
    };
    let sandbox = unlimited_sandbox(20).await;
    let listen = "window.messages = []; addEventListener('message', ({ data, origin }) => messages.push({ data, origin }))";
    browser.run(listen).await;
    browser.click("Connect Clari Copilot").await;
    browser.enter_frame(FRAME).await;
    browser.focus_is_at("Credential name").await;
    browser.inspect("embed-add").await;
    // The theme of the page.
    let look = "const style = getComputedStyle(document.querySelector('.primary'));
        return [style.backgroundColor, style.borderTopLeftRadius, document.documentElement.dataset.theme]";
    let look = browser.run(look).await;
    assert_eq!(look, json!(["rgb(122, 46, 160)", "3.2px", "light"]));
    enter(&browser, "Calls", WRONG, &sandbox.base_url()).await;
    browser.click("Test").await;
    ends(&browser, FAILS).await;
    let fields = json!(["API Key", "API Password"]);
    assert_eq!(wrong_fields(&browser).await, fields);
    browser.inspect("embed-wrong-key").await;
    // Nothing is left in the frame's browser that opens anything.
    let kept = "return JSON.stringify([location.href, document.cookie, Object.entries(localStorage), Object.entries(sessionStorage),
        history.state, document.documentElement.outerHTML, performance.getEntries().map((one) => one.name)])";
    let kept = browser.run(kept).await.to_string();
    let token = embed["token"].as_str().unwrap();
    assert!(!kept.contains(token) && !kept.contains(WRONG), "{kept}");
    browser.leave_frames().await;
    browser.sees("The test failed.").await;
    browser.enter_frame(FRAME).await;
    browser.fill("API Key", API_KEY).await;
    browser.click("Save").await;
    browser.leave_frames().await;
    browser.sees("Calls is saved as calls-").await;
    browser.sees(": working.").await;
    browser.focus_is_at("Connect Clari Copilot").await;
    let messages = browser.run("return messages").await;
    let messages = messages.as_array().unwrap();
    let kinds: Vec<&str> = messages
        .iter()
        .map(|message| message["data"]["headwater"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["hello", "ready", "tested", "saved", "closed"]);
    let tested = json!({ "headwater": "tested", "outcome": "failed", "class": "unauthenticated" });
    assert_eq!(messages[2]["data"], tested);
    let name = messages[3]["data"]["connection"].as_str().unwrap();
    assert!(name.starts_with("calls-"), "{name}");
    let saved = json!({ "headwater": "saved", "connection": name, "title": "Calls", "connector": "clari-copilot", "status": "working" });
    assert_eq!(messages[3]["data"], saved);
    for message in messages {
        assert_eq!(message["origin"], platform.service.address);
    }
    let kept = "return JSON.stringify([location.href, document.cookie, Object.entries(localStorage), Object.entries(sessionStorage),
        document.documentElement.outerHTML, messages, performance.getEntries().map((one) => one.name)])";
    let kept = browser.run(kept).await.to_string();
    for secret in [token, WRONG, API_KEY] {
        assert!(!kept.contains(secret), "{kept}");
    }
    browser.close().await;
}

#[tokio::test]
async fn a_frame_for_another_origin_stays_blank_and_the_page_is_told() {
    let platform = Platform::start(PLAIN.to_owned()).await;
    let elsewhere = json!({ "connector": "clari-copilot", "origin": "https://app.example" });
    let elsewhere = platform.ask(elsewhere).await;
    let Some(browser) = platform.browser().await else {
        return;
    };
    let unknown = json!({ "url": "/embed/0123456789abcdef", "token": "hwe_0123456789abcdef_00" });
    for embed in [&elsewhere, &unknown] {
        open(&browser, embed, json!({})).await;
        let events = heard(&browser, "closed").await;
        assert_eq!(named(&events), ["error", "closed"]);
        assert_eq!(events[0][1]["code"], "blocked");
        assert_eq!(events[1][1], json!({ "saved": false }));
        let complaints = browser.complaints().await;
        let is_policy = |text: &String| text.contains("frame-ancestors");
        assert!(complaints.iter().any(is_policy), "{complaints:?}");
        browser.focus_is_at("Open").await;
    }
    // An address elsewhere gets no token at all.
    let refused = "try { Headwater.open({ url: 'https://evil.example/embed/1', token: 'x' }) } catch (error) { return error.message }";
    let refused = browser.run(refused).await;
    assert!(refused.as_str().unwrap().contains("embed.js"), "{refused}");
    browser.close().await;
}

#[tokio::test]
async fn leaving_asks_before_something_is_lost_and_spent_forms_say_so() {
    let platform = Platform::start(PLAIN.to_owned()).await;
    let sandbox = unlimited_sandbox(20).await;
    save(&platform.service, "Calls", &sandbox.base_url()).await;
    let wanted = json!({ "connection": "calls", "purpose": "edit" });
    let embed = platform.ask(wanted).await;
    let Some(browser) = platform.browser().await else {
        return;
    };
    open(&browser, &embed, json!({})).await;
    heard(&browser, "ready").await;
    browser.enter_frame(FRAME).await;
    browser.focus_is_at("Credential name").await;
    browser.fill("Credential name", "Calls of the team").await;
    browser.press("Escape").await;
    browser.sees("Discard changes?").await;
    browser.inspect("embed-discard").await;
    browser.click("Keep editing").await;
    assert_eq!(browser.value("Credential name").await, "Calls of the team");
    browser.click("Save").await;
    browser.leave_frames().await;
    let events = heard(&browser, "closed").await;
    assert_eq!(named(&events), ["ready", "saved", "closed"]);
    assert_eq!(events[1][1]["title"], "Calls of the team");
    assert_eq!(events[2][1], json!({ "saved": true }));

    open(&browser, &embed, json!({})).await;
    let events = heard(&browser, "error").await;
    assert_eq!(events[0][1]["code"], "spent");
    browser.enter_frame(FRAME).await;
    browser.sees("This form has already been saved.").await;
    browser.inspect("embed-spent").await;
    browser.click("Close").await;
    browser.leave_frames().await;
    let events = heard(&browser, "closed").await;
    assert_eq!(named(&events), ["error", "closed"]);

    // Nothing was typed, so nothing is asked.
    let embed = platform
        .ask(json!({ "connection": "calls", "purpose": "rotate" }))
        .await;
    open(&browser, &embed, json!({})).await;
    heard(&browser, "ready").await;
    browser.enter_frame(FRAME).await;
    browser.focus_is_at("API Key").await;
    browser.inspect("embed-rotate").await;
    browser.click("Cancel").await;
    browser.leave_frames().await;
    let events = heard(&browser, "closed").await;
    assert_eq!(events[1][1], json!({ "saved": false }));
    browser.focus_is_at("Open").await;
    browser.close().await;
}

#[tokio::test]
async fn any_accent_can_be_read_in_both_schemes_and_what_is_no_theme_is_told() {
    let platform = Platform::start(PLAIN.to_owned()).await;
    let Some(browser) = platform.browser().await else {
        return;
    };
    let embed = platform.ask(json!({ "connector": "clari-revenue" })).await;
    for (scheme, accent) in [
        ("light", "#ffcc00"),
        ("dark", "#1a0033"),
        ("light", "#777777"),
        ("dark", "#ff0055"),
    ] {
        let theme =
            json!({ "scheme": scheme, "accent": accent, "font": "serif", "radius": "1rem" });
        open(&browser, &embed, theme).await;
        heard(&browser, "ready").await;
        browser.enter_frame(FRAME).await;
        browser.focus_is_at("Credential name").await;
        browser
            .inspect(&format!("embed-{scheme}-{}", &accent[1..]))
            .await;
        browser.leave_frames().await;
        browser.run("form.close()").await;
        heard(&browser, "closed").await;
    }
    let theme = json!({ "colour": "red", "accent": "red; }", "radius": "url(x)", "font": "var(--x)", "scheme": "sepia" });
    open(&browser, &embed, theme).await;
    let events = heard(&browser, "ready").await;
    assert_eq!(
        named(&events),
        ["error", "error", "error", "error", "error", "ready"]
    );
    for event in &events[..5] {
        assert_eq!(event[1]["code"], "theme", "{event}");
    }
    browser.resize(320, 640).await;
    browser.enter_frame(FRAME).await;
    browser.inspect("embed-narrow").await;
    browser.close().await;
}

#[tokio::test]
async fn page_and_frame_listen_to_each_other_and_to_nobody_else() {
    let platform = Platform::start(PLAIN.to_owned()).await;
    let embed = platform.ask(json!({ "connector": "clari-copilot" })).await;
    let Some(browser) = platform.browser().await else {
        return;
    };
    open(&browser, &embed, json!({})).await;
    heard(&browser, "ready").await;
    // The page itself is not the frame; another frame of the page is not the page.
    let pretend = "const done = arguments[arguments.length - 1];
        window.postMessage({ headwater: 'saved', connection: 'evil' }, '*');
        const other = document.createElement('iframe');
        other.srcdoc = '<title>Other</title>';
        other.onload = () => {
          const script = other.contentDocument.createElement('script');
          script.textContent = `parent.postMessage({ headwater: 'closed' }, '*');
            parent.document.querySelector('dialog iframe').contentWindow.postMessage({ headwater: 'close' }, '*');`;
          other.contentDocument.body.append(script);
          setTimeout(done, 500);
        };
        document.body.append(other);";
    browser.run_later(pretend).await;
    let events = heard(&browser, "ready").await;
    assert_eq!(named(&events), ["ready"]);
    browser.enter_frame(FRAME).await;
    browser.sees("API Key").await;
    browser.leave_frames().await;
    // The page is heard.
    let close = "document.querySelector('dialog iframe').contentWindow.postMessage({ headwater: 'close' }, '*')";
    browser.run(close).await;
    assert_eq!(named(&heard(&browser, "closed").await), ["ready", "closed"]);
    browser.close().await;
}
