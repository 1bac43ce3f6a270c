//! From a saved credential to records: streams, preview, a sync as it goes.

use acceptance::sandbox;
use headwater_sandbox::{CopilotOptions, Faults};
use serde_json::{Value, json};

use crate::{console, save};

#[tokio::test]
async fn streams_are_chosen_looked_at_and_read_while_one_watches() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let mut options = CopilotOptions {
        calls: 30,
        ..CopilotOptions::default()
    };
    options.limits.per_second = None;
    let sandbox = sandbox(options).await;
    save(&service, "Calls", &sandbox.base_url()).await;
    browser.go("/connections/calls").await;
    browser.click("Test").await;
    browser.sees("Working").await;
    browser.inspect("connection").await;
    browser.go("/sources/clari-copilot").await;
    browser.click("Calls").await;
    browser.click("Continue").await;
    browser.is_at("/connections/calls/streams").await;
    browser.inspect("streams").await;

    browser.click("Preview users").await;
    browser.sees("Personal data is masked.").await;
    browser.sees("@redacted").await;
    browser.inspect("preview-masked").await;
    browser.click("Show personal data").await;
    browser.sees("Personal data is visible.").await;
    browser.no_longer_sees("@redacted").await;
    browser.inspect("preview-shown").await;
    browser.click("Mask it again").await;
    browser.sees("@redacted").await;

    browser.go("/connections/calls/streams").await;
    let unwanted = [
        "topics",
        "scorecards",
        "scorecard_templates",
        "accounts",
        "contacts",
        "deals",
    ];
    for stream in unwanted {
        browser.click(stream).await;
    }
    // Slow enough to be watched.
    sandbox.set_faults(Faults {
        latency_ms: 40,
        ..Faults::default()
    });
    browser.click("Run now").await;
    browser.sees("Run of Calls").await;
    browser.sees("Stop this run").await;
    let script = "window.said = [];
        const said = document.querySelector('[data-said]');
        new MutationObserver(() => window.said.push(said.textContent)).observe(said, { childList: true, characterData: true, subtree: true });
        return said.getAttribute('role')";
    assert_eq!(browser.run(script).await, "status");
    let records = "const text = document.querySelector('.figures-row div:nth-child(2) dd').innerText.replace(/\\D/g, '');
        return Number(text) > 0 && document.querySelector('[data-run]') ? Number(text) : null";
    let first = browser
        .until("records while it goes on", records, json!([]))
        .await;
    browser.inspect("run-going-on").await;
    browser.no_longer_sees("Stop this run").await;
    browser.sees("Complete").await;
    browser.inspect("run-complete").await;
    let after = "return Number(document.querySelector('.figures-row div:nth-child(2) dd').innerText.replace(/\\D/g, ''))";
    let last = browser.run(after).await;
    assert!(last.as_f64() >= first.as_f64(), "{first} then {last}");
    // The picture of the run says the same in words.
    let chart = "return document.querySelector('figure.chart svg[role=img]')?.getAttribute('aria-label') ?? ''";
    let chart = browser.run(chart).await;
    let words = format!("{last} records in ");
    assert!(
        chart.as_str().unwrap().replace(',', "").starts_with(&words),
        "{chart}, not {words}"
    );
    // It was told once that it ended, and nothing else that would interrupt a reader.
    assert_eq!(browser.run("return window.said").await, json!(["Complete"]));
    let rows = browser.run("return [...document.querySelectorAll('.receipt tbody th code')].map((one) => one.innerText)").await;
    let rows: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        rows.contains(&"users") && rows.contains(&"calls"),
        "{rows:?}"
    );
    assert!(!rows.contains(&"topics"));
    browser.click("Runs").await;
    browser.is_at("/syncs").await;
    browser.sees("Complete").await;
    browser.inspect("runs").await;
    browser.go("/connections").await;
    browser.inspect("connections").await;
    browser.close().await;
}

#[tokio::test]
async fn a_sync_is_stopped_with_one_click() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = sandbox(CopilotOptions {
        calls: 2_000,
        ..CopilotOptions::default()
    })
    .await;
    save(&service, "Calls", &sandbox.base_url()).await;
    browser.go("/connections/calls/streams").await;
    browser.sees("Access not tested").await;
    browser.click("Run now").await;
    browser.click("Stop this run").await;
    browser.sees("Stopped").await;
    browser.no_longer_sees("Stop this run").await;
    browser.inspect("run-stopped").await;
    browser.close().await;
}

#[tokio::test]
async fn a_choice_without_streams_is_refused_where_it_is_made() {
    let Some((service, browser)) = console().await else {
        return;
    };
    let sandbox = acceptance::unlimited_sandbox(20).await;
    save(&service, "Calls", &sandbox.base_url()).await;
    browser.go("/connections/calls/streams").await;
    browser
        .run("for (const one of document.querySelectorAll('[name=stream]')) one.checked = false")
        .await;
    browser.click("Run now").await;
    browser.sees("Choose at least one stream").await;
    browser.inspect("no-streams").await;
    browser.click("Choose at least one stream").await;
    browser
        .until(
            "the focus at the streams",
            "return document.activeElement.id === 'streams'",
            json!([]),
        )
        .await;
    browser.close().await;
}
