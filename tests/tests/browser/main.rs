//! The console in a real browser: the shipped binary, the simulator, and everything that people do with them.

mod adding;
mod answers;
mod author;
mod budgets;
mod changing;
mod embed;
mod embed_ways;
mod leaving;
mod managers;
mod pages;
mod reading;
mod secrets;
mod ways;

use acceptance::{browser::Browser, service::Service};
use headwater_sandbox::{API_KEY, API_PASSWORD};
use headwater_testkit::{Reply, Script};
use reqwest::{Method, header};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

/// A service and a window that looks at it; none where there is no browser.
async fn console() -> Option<(Service, Browser)> {
    let service = Service::start(HEADWATER, &[]);
    let browser = Browser::start(&service.address).await?;
    Some((service, browser))
}

/// Saves a connection without the console and returns its name.
async fn save(service: &Service, title: &str, base_url: &str) -> String {
    let config = json!({ "api_key": API_KEY, "api_password": API_PASSWORD, "base_url": base_url });
    save_as(service, "clari-copilot", title, config).await
}

/// The same for any connector.
async fn save_as(service: &Service, connector: &str, title: &str, config: Value) -> String {
    let body = json!({ "connector": connector, "title": title, "config": config, "test": false });
    let saved = service.post("/api/v1/connections", &body).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    saved.json()["name"].as_str().unwrap().to_owned()
}

/// Gives a connection a schedule, so that it is in use.
async fn schedule(service: &Service, name: &str) {
    let path = format!("/api/v1/connections/{name}");
    let tag = service.get(&path).await.tag.unwrap();
    let body = json!({ "every_seconds": 86_400 });
    let request = service.send(Method::PUT, &format!("{path}/schedule"), &body);
    let scheduled = request.header(header::IF_MATCH, tag).send().await.unwrap();
    assert_eq!(scheduled.status(), 200);
}

/// Fills in the form of Clari Copilot that is open.
async fn enter(browser: &Browser, title: &str, key: &str, base_url: &str) {
    browser.fill("Credential name", title).await;
    browser.fill("API Key", key).await;
    browser.fill("API Password", API_PASSWORD).await;
    unfold(browser).await;
    browser.fill("Base URL", base_url).await;
}

/// Opens what is folded away.
async fn unfold(browser: &Browser) {
    let script = "return top_().querySelector('details.advanced')?.open === false";
    if browser.run(script).await == true {
        browser.click("Advanced").await;
    }
}

/// Waits until a test of the open form has ended so.
async fn ends(browser: &Browser, verdict: &str) {
    let script = "return tidy(top_().querySelector('[data-verdict]')?.innerText) === arguments[0] && !top_().querySelector('[aria-disabled=true]')";
    let what = format!("a test that ends with {verdict:?}");
    browser.until(&what, script, json!([verdict])).await;
}

/// The fields that are marked as wrong.
async fn wrong_fields(browser: &Browser) -> Value {
    let script = "return [...top_().querySelectorAll('[aria-invalid=true]')].map((one) => nameOf(one).replace(' required', ''))";
    browser.run(script).await
}

/// A service that accepts every key but `wrong`, and remembers what it was sent.
async fn accepting() -> Script {
    let script = Script::start(|request| {
        let is_wrong = request.header("x-api-key") == Some("wrong");
        match request.target.as_str() {
            _ if is_wrong => Reply::json(401, "{}"),
            "/users" => Reply::json(200, r#"{"users":[]}"#),
            _ => Reply::json(403, "{}"),
        }
    });
    script.await.unwrap()
}

/// The keys that such a service was sent.
fn keys_of(script: &Script) -> Vec<String> {
    let requests = script.requests();
    let keys = requests
        .iter()
        .filter_map(|request| request.header("x-api-key"));
    keys.map(str::to_owned).collect()
}

const WORKS: &str = "Connected. All checks passed.";
const FAILS: &str = "The test did not pass.";
