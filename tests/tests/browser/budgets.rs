//! What large amounts cost. The figures are printed; what is asserted leaves room for a busy machine.

use acceptance::browser::Browser;
use headwater_console::{Messages, Theme, credential};
use headwater_core::FormModel;
use serde_json::{Map, Value, json};

use crate::{
    console,
    pages::{samples, site},
    save,
};

/// A form of so many fields of all kinds.
fn form(fields: usize) -> FormModel {
    let field = |number: usize| {
        let kind = match number % 5 {
            0 => json!({ "type": "integer", "default": 5 }),
            1 => json!({ "type": "boolean", "default": false }),
            2 => json!({ "type": "string", "enum": ["one", "two"], "default": "one" }),
            3 => json!({ "type": "string", "format": "password", "writeOnly": true }),
            _ => json!({ "type": "string" }),
        };
        let mut field = kind.as_object().unwrap().clone();
        field.insert("title".to_owned(), json!(format!("Field {number}")));
        field.insert("description".to_owned(), json!("What it is for."));
        let advanced = number.is_multiple_of(7);
        field.insert(
            "x-headwater".to_owned(),
            json!({ "order": number + 1, "advanced": advanced }),
        );
        (format!("field_{number}"), Value::Object(field))
    };
    let properties: Map<String, Value> = (0..fields).map(field).collect();
    let schema = json!({ "type": "object", "properties": properties });
    FormModel::from_schema("Made up", &[], &schema).unwrap()
}

/// The 95th of 100 times that a typed character takes, layout included, in milliseconds.
async fn keystroke(browser: &Browser, page: &str) -> f64 {
    browser.go(page).await;
    browser.click_at("[data-title='Field 9'] input").await;
    let script = "const input = field('Field 9'), took = [];
        input.focus();
        for (let times = 0; times < 100; times++) {
          const began = performance.now();
          document.execCommand('insertText', false, 'x');
          document.body.getBoundingClientRect();
          took.push(performance.now() - began);
        }
        return input.value.length === 100 && took.sort((a, b) => a - b)[95]";
    browser.run(script).await.as_f64().unwrap()
}

#[tokio::test]
async fn a_form_of_two_hundred_fields_stays_quick() {
    let text = Messages::english().unwrap();
    let source = samples::source("made-up", "Made up", "Nothing.");
    let (few, many) = (form(20), form(200));
    let page = |form| credential(&samples::new_form(&source, form), &text);
    let pages = vec![("few", page(&few)), ("many", page(&many))];
    let site = site(pages, &text, Theme::Light).await;
    let Some(browser) = Browser::start(&site.base_url()).await else {
        return;
    };
    let few = keystroke(&browser, "/few").await;
    let many = keystroke(&browser, "/many").await;
    println!("keystroke with layout, p95: {few:.1} ms of 20 fields, {many:.1} ms of 200 fields");
    assert!(many < 200.0, "{many} ms");
    browser.inspect("two-hundred-fields").await;
    browser.close().await;
}

#[tokio::test]
async fn a_thousand_saved_tiles_are_shown_and_searched() {
    let Some((service, browser)) = console().await else {
        return;
    };
    for number in 0..1_000 {
        save(&service, &format!("Team {number}"), "http://127.0.0.1:9").await;
    }
    browser.go("/sources/clari-copilot").await;
    // The whole document, which a busy machine may still be reading.
    browser.is_at("/sources/clari-copilot").await;
    let tiles = "return document.querySelectorAll('.tile.choice').length";
    assert_eq!(browser.run(tiles).await, 1_000);
    let script = "const done = arguments[arguments.length - 1];
        const page = performance.getEntriesByType('navigation')[0];
        const paint = performance.getEntriesByName('first-contentful-paint')[0];
        const frames = [];
        let before = performance.now();
        const step = () => {
          const now = performance.now();
          frames.push(now - before);
          before = now;
          scrollBy(0, 400);
          if (frames.length < 60) requestAnimationFrame(step);
          else done([page.responseEnd, page.domComplete, paint?.startTime ?? 0, frames.sort((a, b) => a - b)[57]]);
        };
        requestAnimationFrame(step);";
    let took = browser.run_later(script).await;
    let took: Vec<f64> = took
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    let script = "const input = document.querySelector('[data-filter]'), began = performance.now();
        input.value = 'team 77';
        input.dispatchEvent(new Event('input', { bubbles: true }));
        document.body.getBoundingClientRect();
        return [performance.now() - began, [...document.querySelectorAll('.tile.choice')].filter(isShown).length]";
    let filtered = browser.run(script).await;
    println!(
        "1,000 tiles: answered in {:.0} ms, painted after {:.0} ms, complete after {:.0} ms; a frame of scrolling, p95: \
         {:.1} ms; filtered in {:.1} ms",
        took[0],
        took[2],
        took[1],
        took[3],
        filtered[0].as_f64().unwrap()
    );
    // Ten numbers end with 77, and 770 to 779 are ten, 777 being both.
    assert_eq!(filtered[1], 19);
    assert!(took[1] < 10_000.0, "{took:?}");
    browser.inspect("thousand-tiles").await;
    browser.close().await;
}
