//! The page for authors of connectors: a schema as a form, what is wrong with it, and every end of its test.

use std::net::TcpListener;

use acceptance::{
    binary::command,
    service::{Answer, Service},
};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::serve::{HEADWATER, service};

/// Everything that the page posts without a script.
async fn post(service: &Service, fields: &[(&str, &str)]) -> Answer {
    let mut body = String::new();
    for (name, value) in fields {
        let escaped =
            |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
        body.push_str(&format!("{}={}&", escaped(name), escaped(value)));
    }
    let kind = "application/x-www-form-urlencoded";
    let request = service.request(Method::POST, "/author").body(body);
    let request = request.header(header::CONTENT_TYPE, kind);
    Answer::of(request.send().await.unwrap()).await
}

/// A sound form with one field changed.
fn schema(change: impl FnOnce(&mut Value)) -> String {
    let mut schema = json!({
        "type": "object", "title": "Acme", "additionalProperties": false, "required": ["api_key"],
        "properties": {
            "api_key": { "type": "string", "format": "password", "writeOnly": true, "minLength": 1, "title": "Acme key",
                         "description": "Yours.", "x-headwater": { "order": 1, "guideStep": 1, "help": "Settings > Keys" } },
            "base_url": { "type": "string", "format": "uri", "default": "https://api.acme.example", "title": "Address",
                          "description": "Where it is.", "x-headwater": { "order": 2, "destination": true } },
        },
    });
    change(&mut schema);
    schema.to_string()
}

#[tokio::test]
async fn every_registered_form_is_sound_and_shown_by_the_renderer_of_the_real_one() {
    let service = service();
    for id in ["clari-copilot", "clari-revenue", "claribi"] {
        let page = service.get(&format!("/author?connector={id}")).await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("No problems found."), "{id}");
        let real = service.get(&format!("/sources/{id}/add")).await.text;
        // From the first input to the guide both are the same.
        let inputs = |page: &str| {
            let (_, after) = page.split_once("data-counter").unwrap();
            let (inside, _) = after.split_once("id=\"test-result\"").unwrap();
            inside.to_owned()
        };
        assert_eq!(inputs(&page.text), inputs(&real), "{id}");
    }
    let unknown = service.get("/author?connector=acme").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.text.contains("There is no connector"));
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_place_and_what_to_do() {
    let service = service();
    let refused = schema(|schema| schema["properties"]["api_key"]["title"] = "".into());
    let page = post(&service, &[("schema", &refused)]).await;
    assert_eq!(page.status, 200);
    for text in [
        "1 finding",
        "refused",
        "/api_key",
        "Every field has a title",
        "Add a title",
    ] {
        assert!(page.text.contains(text), "{text} in {}", page.text);
    }
    assert!(!page.text.contains("name=\"/api_key\""));
    let odd = schema(|schema| {
        schema["properties"]["base_url"]["x-headwater"]["advanecd"] = true.into();
        schema["additionalProperties"] = true.into();
    });
    let page = post(&service, &[("schema", &odd)]).await.text;
    for text in ["1 finding", "did you mean advanced?", "name=\"/api_key\""] {
        assert!(page.contains(text), "{text} in {page}");
    }
    for (text, says) in [
        ("{", "This is not JSON"),
        ("", "This is not JSON"),
        (r#"{"type":"object","type":"object"}"#, "is present twice"),
        ("[1]", "A form and a group are objects with properties"),
        ("null", "A form and a group are objects with properties"),
    ] {
        let page = post(&service, &[("schema", text)]).await;
        assert!([200, 422].contains(&page.status), "{text}: {}", page.status);
        assert!(page.text.contains(says), "{text}: {}", page.text);
    }
    let deep = "[".repeat(100_000);
    assert_eq!(post(&service, &[("schema", &deep)]).await.status, 422);
}

#[tokio::test]
async fn every_end_of_a_test_is_shown_as_the_real_one() {
    let service = service();
    let schema = schema(|_| {});
    let table = [
        ("working", "Connected. All checks passed.", ""),
        (
            "unauthenticated",
            "Acme did not accept these credentials",
            "input-_2f_api_5f_key-error",
        ),
        ("permission_denied", "they may read nothing", ""),
        (
            "wrong_path",
            "no Acme API at this path (status 404)",
            "input-_2f_base_5f_url-error",
        ),
        (
            "not_this_api",
            "a web page instead of the Acme API",
            "input-_2f_base_5f_url-error",
        ),
        (
            "redirected",
            "keys are not sent to another host",
            "input-_2f_base_5f_url-error",
        ),
        (
            "not_allowed",
            "does not permit the address",
            "input-_2f_base_5f_url-error",
        ),
        (
            "name_unknown",
            "api.acme.example was not found",
            "input-_2f_base_5f_url-error",
        ),
        (
            "refused",
            "does not accept connections",
            "input-_2f_base_5f_url-error",
        ),
        (
            "timeout",
            "did not answer within 10 seconds",
            "input-_2f_base_5f_url-error",
        ),
        (
            "interrupted",
            "closed the connection early",
            "input-_2f_base_5f_url-error",
        ),
        (
            "tls",
            "no trusted connection",
            "input-_2f_base_5f_url-error",
        ),
        ("throttled", "asks to wait", ""),
        ("service_problem", "has a problem of its own", ""),
        ("no_test", "This source has no test", ""),
        ("unreadable", "The saved secrets cannot be opened", ""),
    ];
    for (class, says, marked) in table {
        let page = post(&service, &[("schema", &schema), ("class", class)]).await;
        assert_eq!(page.status, 200, "{class}");
        assert!(page.text.contains(says), "{class}: {}", page.text);
        let is_marked = page.text.contains("aria-invalid=\"true\"");
        assert_eq!(is_marked, !marked.is_empty(), "{class}");
        assert!(page.text.contains(marked), "{class}");
        // Saving without a test is offered where it is for a real one.
        let hidden = "value=\"save-untested\" hidden";
        let is_failed = !["working", "no_test", "unreadable", "not_allowed"].contains(&class);
        assert_eq!(!page.text.contains(hidden), is_failed, "{class}");
    }
}

#[tokio::test]
async fn a_filled_form_is_judged_as_the_real_one_and_nothing_of_it_stays() {
    let service = service();
    let schema = schema(|_| {});
    let with = |key, url, action| {
        [
            ("schema", schema.as_str()),
            ("/api_key", key),
            ("/base_url", url),
            ("action", action),
        ]
    };
    let page = post(&service, &with("", "http://evil", "test")).await.text;
    assert!(page.contains("Acme key is required"));
    assert!(page.contains("Please correct 2 fields"));
    assert!(!page.contains("<span>Connected."));
    let page = post(
        &service,
        &with(" canary-7c1f ", "https://api.acme.example", "save"),
    )
    .await;
    assert_eq!(page.status, 200);
    assert!(
        page.text
            .contains("surrounding spaces or quotes were removed")
    );
    assert!(page.text.contains("<span>Connected."));
    assert!(!page.text.contains("canary"));
    let saved = service.get("/api/v1/connections").await.json();
    assert_eq!(saved["items"], json!([]));
    let audit = service.get("/api/v1/audit").await.json();
    assert_eq!(audit["items"], json!([]));
}

#[tokio::test]
async fn a_schema_reaches_nobody_and_becomes_no_markup() {
    let service = service();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/schema.json", listener.local_addr().unwrap());
    let attack = "</textarea><script>alert(1)</script><img src=x onerror=alert(1)>";
    let schema = schema(|schema| {
        schema["$schema"] = url.clone().into();
        schema["title"] = attack.into();
        schema["properties"]["base_url"]["default"] = url.clone().into();
        schema["properties"]["api_key"]["title"] = attack.into();
        schema["properties"]["api_key"][attack] = json!({ "$ref": url });
        schema["properties"]["more"] = json!({ "$ref": url });
        schema["allOf"] = json!([{ "$ref": url }]);
    });
    for class in ["", "working", "unauthenticated", "redirected"] {
        let page = post(&service, &[("schema", &schema), ("class", class)])
            .await
            .text;
        assert!(
            !page.contains("<script>") && !page.contains("<img"),
            "{page}"
        );
    }
    assert!(listener.accept().is_err(), "somebody was asked");
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_what_is_slow_is_bounded() {
    let service = service();
    let large = format!("\"{}\"", "a".repeat(300 << 10));
    let page = post(&service, &[("schema", &large)]).await;
    assert_eq!(page.status, 413);
    assert!(page.text.contains("The schema is larger than 262144 bytes"));
    // Percent signs make three of one, which the body has no place for.
    let huge = "a".repeat(400 << 10);
    assert_eq!(post(&service, &[("schema", &huge)]).await.status, 413);
    let slow = schema(|schema| {
        for number in 0..450 {
            schema["properties"][format!("f{number}")] = json!({ "type": "string", "title": "T", "description": "D",
                "pattern": format!("[a-z]{{700}}{number}"), "x-headwater": { "order": number + 10 } });
        }
    });
    let page = post(&service, &[("schema", &slow)]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(service.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn it_takes_the_scope_read_and_a_page_of_ours() {
    let home = tempfile::tempdir().unwrap();
    let made = command(HEADWATER)
        .args(["token", "add", "reader", "--scope", "read"])
        .env("HEADWATER_HOME", home.path().join("home"))
        .output()
        .unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let token = made.split_whitespace().find(|word| word.starts_with("hw_"));
    let service = Service::start_in(home, HEADWATER, &["--require-token"]);
    let page = service.get("/author").await;
    assert_eq!(page.status, 303);
    let request = service
        .request(Method::GET, "/author")
        .bearer_auth(token.unwrap());
    assert_eq!(Answer::of(request.send().await.unwrap()).await.status, 200);
    let file = service
        .request(Method::GET, "/author/file")
        .bearer_auth(token.unwrap());
    assert_eq!(Answer::of(file.send().await.unwrap()).await.status, 404);
    let elsewhere = service
        .request(Method::POST, "/author")
        .header("sec-fetch-site", "cross-site")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body("schema=1");
    assert_eq!(
        Answer::of(elsewhere.send().await.unwrap()).await.status,
        403
    );
}
