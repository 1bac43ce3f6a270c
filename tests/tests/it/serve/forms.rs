//! What is wrong in a form: the same field and the same sentence at every door, and nothing is done.

use headwater_sandbox::{
    API_KEY, API_PASSWORD,
    claribi::{EMAIL, PASSWORD},
};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::serve::{Service, config, new, service};
use acceptance::{service::Answer, unlimited_sandbox};

/// A form with something wrong in it.
struct Bad {
    what: &'static str,
    connector: &'static str,
    config: Value,
    /// The same as a browser without a script sends it, and the input that it is about; none where inputs cannot say it.
    typed: Option<(Vec<(&'static str, String)>, &'static str)>,
    pointer: &'static str,
    sentence: &'static str,
}

fn revenue(name: &str, value: Value) -> Value {
    let mut config = json!({ "api_key": API_KEY, "base_url": "http://127.0.0.1:1" });
    config[name] = value;
    config
}

fn typed(
    name: &'static str,
    value: impl Into<String>,
) -> (Vec<(&'static str, String)>, &'static str) {
    let mut fields = vec![("/base_url", "http://127.0.0.1:1".to_owned())];
    if name != "/api_key" {
        fields.push(("/api_key", API_KEY.to_owned()));
    }
    fields.push((name, value.into()));
    (fields, name)
}

fn claribi(auth: Value) -> Value {
    json!({ "auth": auth, "base_url": "http://127.0.0.1:1" })
}

fn bad_forms() -> Vec<Bad> {
    let bad = |what, config, typed, pointer, sentence| Bad {
        what,
        connector: "clari-revenue",
        config,
        typed,
        pointer,
        sentence,
    };
    let bad_auth = |what, auth, typed: Option<Vec<(&'static str, &str)>>, pointer, sentence| Bad {
        what,
        connector: "claribi",
        config: claribi(auth),
        typed: typed.map(|fields| {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, value)| (name, value.to_owned()));
            (fields.collect(), "/auth/style")
        }),
        pointer,
        sentence,
    };
    let many = || vec!["?"; 200];
    let id_rule = "Forecast ids has a character that is not allowed here";
    vec![
        bad(
            "null",
            revenue("currency", Value::Null),
            None,
            "/currency",
            "Currency must be text, not null (leave the field out instead)",
        ),
        bad(
            "absent",
            json!({ "base_url": "http://127.0.0.1:1" }),
            Some((
                vec![("/base_url", "http://127.0.0.1:1".to_owned())],
                "/api_key",
            )),
            "/api_key",
            "API Key is required",
        ),
        bad(
            "empty",
            revenue("api_key", "".into()),
            Some(typed("/api_key", "")),
            "/api_key",
            "API Key is required",
        ),
        bad(
            "a text for a list",
            revenue("forecast_ids", "x".into()),
            None,
            "/forecast_ids",
            "Forecast ids must be a list, not text",
        ),
        bad(
            "a list for a text",
            revenue("currency", json!(["USD"])),
            None,
            "/currency",
            "Currency must be text, not a list",
        ),
        bad(
            "a number as text",
            revenue("audit_export_days", "7".into()),
            None,
            "/audit_export_days",
            "Audit export after days must be a whole number, not text",
        ),
        bad(
            "a word for a number",
            revenue("audit_export_days", "many".into()),
            Some(typed("/audit_export_days", "many")),
            "/audit_export_days",
            "Audit export after days must be a whole number, not text",
        ),
        bad(
            "a number that is too large",
            revenue("audit_export_days", 31.into()),
            Some(typed("/audit_export_days", "31")),
            "/audit_export_days",
            "Audit export after days must be at most 30",
        ),
        bad(
            "the character 0",
            revenue("opportunity_ids", json!(["a\0b"])),
            Some(typed("/opportunity_ids", "a\0b")),
            "/opportunity_ids/0",
            "Opportunity ids has a character that is not allowed here",
        ),
        bad(
            "an unknown member",
            revenue("colour", 1.into()),
            None,
            "/colour",
            "colour is not a field of this form",
        ),
        bad(
            "the prototype",
            revenue("__proto__", json!({ "api_key": "x" })),
            None,
            "/__proto__",
            "__proto__ is not a field of this form",
        ),
        bad(
            "too long",
            revenue("api_key", "x".repeat(4097).into()),
            Some(typed("/api_key", "x".repeat(4097))),
            "/api_key",
            "API Key has more than 4096 characters",
        ),
        bad(
            "too many",
            revenue("forecast_ids", json!(many())),
            Some(typed("/forecast_ids", many().join("\n"))),
            "/forecast_ids/0",
            id_rule,
        ),
        bad_auth(
            "no way to sign in",
            json!({}),
            None,
            "/auth/style",
            "style is required",
        ),
        bad_auth(
            "a way to sign in that there is not",
            json!({ "style": "magic" }),
            Some(vec![("/auth/style", "magic")]),
            "/auth/style",
            "style must be one of api_key_authorization, x_api_key, bearer, jwt",
        ),
        bad_auth(
            "two ways to sign in",
            json!({ "style": "bearer", "api_key": API_KEY, "email": "a@b.example", "password": API_PASSWORD }),
            None,
            "/auth/email",
            "email is not a field of this form",
        ),
    ]
}

async fn posted(service: &Service, path: &str, fields: &[(&str, String)]) -> Answer {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let request = service.request(Method::POST, path).body(body);
    let kind = "application/x-www-form-urlencoded";
    let request = request.header(header::CONTENT_TYPE, kind);
    Answer::of(request.send().await.unwrap()).await
}

/// What a page says at the input of this id.
fn said_at(html: &str, id: &str) -> Option<String> {
    let (_, after) = html.split_once(&format!("id=\"{id}-error\""))?;
    let (_, after) = after.split_once("<span>")?;
    let (said, _) = after.split_once("</span>")?;
    Some(said.replace("&quot;", "\""))
}

fn id_of(input: &str) -> String {
    let escaped = input.chars().map(|c| match c.is_ascii_alphanumeric() {
        true => c.to_string(),
        false => format!("_{:x}_", u32::from(c)),
    });
    format!("input-{}", escaped.collect::<String>())
}

#[tokio::test]
async fn what_is_wrong_is_said_at_its_field_in_the_same_words_everywhere() {
    let service = service();
    for bad in bad_forms() {
        let (what, connector) = (bad.what, bad.connector);
        let new = json!({ "connector": connector, "title": "Bad", "config": bad.config });
        let refused = service.post("/api/v1/connections", &new).await;
        let problem = (422, "form_invalid".to_owned());
        assert_eq!(refused.problem(), problem, "{what}: {}", refused.text);
        let errors = refused.json()["errors"].clone();
        let first = (&errors[0]["pointer"], &errors[0]["message"]);
        assert_eq!(first.0, bad.pointer, "{what}: {errors}");
        let said = first.1.as_str().unwrap();
        assert!(said.starts_with(bad.sentence), "{what}: {said}");
        for secret in [API_KEY, API_PASSWORD] {
            assert!(!refused.text.contains(secret), "{what}");
        }

        let path = format!("/api/v1/connectors/{connector}");
        let draft = json!({ "config": bad.config });
        let judged = service.post(&format!("{path}/validate"), &draft).await;
        assert_eq!(judged.json()["valid"], false, "{what}");
        assert_eq!(judged.json()["errors"], errors, "{what}");
        let probed = service.post(&format!("{path}/probe"), &draft).await;
        assert_eq!(probed.problem(), problem, "{what}");
        assert_eq!(probed.json()["errors"], errors, "{what}");

        let Some((mut fields, input)) = bad.typed else {
            continue;
        };
        fields.push(("title", "Bad".to_owned()));
        fields.push(("action", "save".to_owned()));
        let page = posted(&service, &format!("/sources/{connector}/add"), &fields).await;
        assert_eq!(page.status, 422, "{what}");
        // The page shows the error as a sentence.
        let shown = said_at(&page.text, &id_of(input)).map(|shown| shown.to_lowercase());
        let sentence = format!("{}.", said.to_lowercase());
        assert_eq!(shown, Some(sentence), "{what}");
    }
    let listed = service.get("/api/v1/connections").await.json();
    assert_eq!(listed["items"], json!([]));
    assert_eq!(
        service.get("/api/v1/audit").await.json()["items"],
        json!([])
    );
}

#[tokio::test]
async fn a_password_is_tested_and_saved_as_it_was_given() {
    const KEPT: &str = "Password has spaces or quotes around it, which are kept";
    let service = service();
    let sandbox = acceptance::claribi::organization_of(4).await;
    let base_url = sandbox.base_url();
    let password = format!(" {PASSWORD}");
    let auth = json!({ "style": "jwt", "email": EMAIL, "password": password });
    let config = json!({ "auth": auth, "base_url": base_url });
    let judged = service
        .post(
            "/api/v1/connectors/claribi/validate",
            &json!({ "config": config }),
        )
        .await;
    let judged = judged.json();
    assert_eq!(judged["valid"], true, "{judged}");
    assert_eq!(judged["notices"][0]["pointer"], "/auth/password");
    let said = judged["notices"][0]["message"].as_str().unwrap();
    assert!(said.starts_with(KEPT), "{said}");

    // The password of the account has no space before it, so what was given is refused, and the reason is named.
    let draft = json!({ "config": config });
    let probed = service
        .post("/api/v1/connectors/claribi/probe", &draft)
        .await;
    let text = &probed.text;
    assert!(text.contains(KEPT) && !text.contains(PASSWORD), "{text}");
    let fields = [
        ("/auth/style", "jwt".to_owned()),
        ("3:/auth/email", EMAIL.to_owned()),
        ("3:/auth/password", password.clone()),
        ("/base_url", base_url.clone()),
        ("title", "Ours".to_owned()),
        ("action", "test".to_owned()),
    ];
    let page = posted(&service, "/sources/claribi/add", &fields).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let notice = format!("id=\"{}-notice\"", id_of("3:/auth/password"));
    let (_, at_field) = page.text.split_once(&notice).unwrap();
    assert!(
        at_field[..at_field.find("</p>").unwrap()].contains(KEPT),
        "{at_field}"
    );

    let new = json!({ "connector": "claribi", "title": "Ours", "config": config, "test": false });
    let saved = service.post("/api/v1/connections", &new).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    let tested = service
        .post("/api/v1/connections/ours/probe", &json!({}))
        .await;
    assert!(tested.text.contains(KEPT), "{}", tested.text);
}

#[tokio::test]
async fn a_body_of_nothing_but_mistakes_gets_a_small_answer() {
    let service = service();
    let members: Vec<String> = (0..15_000)
        .map(|number| format!("\"{number:x}\":1"))
        .collect();
    let config = format!("{{{}}}", members.join(","));
    for (path, body) in [
        (
            "/api/v1/connections",
            format!("{{\"connector\":\"clari-copilot\",\"config\":{config}}}"),
        ),
        (
            "/api/v1/connectors/clari-copilot/validate",
            format!("{{\"config\":{config}}}"),
        ),
    ] {
        let request = service.request(Method::POST, path).body(body);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert!(answer.text.len() < 32 << 10, "{} bytes", answer.text.len());
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        assert_eq!(errors.len(), 101);
        // Two fields that are required are missing as well.
        let more = errors[100]["message"].as_str().unwrap();
        assert!(more.contains("14902 more errors"), "{more}");
    }
    assert_eq!(
        service.get("/api/v1/connections").await.json()["items"],
        json!([])
    );
}

/// Titles and descriptions that are refused, with the word that says why.
fn bad_labels() -> Vec<(&'static str, String, &'static str)> {
    let mut bad: Vec<(&'static str, String, &'static str)> = vec![
        ("title", String::new(), "a name is required"),
        ("title", " ".into(), "a name is required"),
        (
            "title",
            "\u{a0}\u{3164}\u{200d}".into(),
            "a name is required",
        ),
        ("title", "x".repeat(81), "too long"),
        ("title", "a\0b".into(), "control character"),
        ("title", "a\u{1b}[31mb".into(), "control character"),
        ("description", "x".repeat(501), "too long"),
        ("description", "a\0b".into(), "control character"),
    ];
    for hidden in [
        '\u{202e}', '\u{202a}', '\u{2066}', '\u{2069}', '\u{200b}', '\u{200f}', '\u{feff}',
    ] {
        bad.push(("title", format!("Calls {hidden}txt.exe"), "invisible"));
        bad.push(("description", format!("Calls {hidden}txt.exe"), "invisible"));
    }
    bad
}

#[tokio::test]
async fn a_name_is_there_can_be_seen_and_says_what_it_shows() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let saved = service
        .post("/api/v1/connections", &new(&sandbox, "Calls"))
        .await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    let (tag, requests) = (saved.tag.unwrap(), sandbox.stats().requests);
    let check = |refused: &Answer, member: &str, said: &str| {
        assert_eq!(refused.problem(), (422, "form_invalid".to_owned()));
        let error = refused.json()["errors"][0].clone();
        assert_eq!(
            (&error["pointer"], &error["member"]),
            (&json!(""), &json!(member))
        );
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
    };
    for (member, text, said) in bad_labels() {
        let mut body = new(&sandbox, "Other");
        body[member] = text.clone().into();
        check(
            &service.post("/api/v1/connections", &body).await,
            member,
            said,
        );
        let change = json!({ member: text });
        let path = "/api/v1/connections/calls";
        check(&service.patch(path, &tag, &change).await, member, said);

        let saved_at = [
            ("/sources/clari-copilot/add", String::new()),
            ("/connections/calls/edit", tag.trim_matches('"').to_owned()),
        ];
        for (path, version) in saved_at {
            let mut fields = vec![
                ("title", "Other".to_owned()),
                ("version", version),
                ("/api_key", API_KEY.to_owned()),
                ("/api_password", API_PASSWORD.to_owned()),
                ("/base_url", sandbox.base_url()),
                ("action", "save-untested".to_owned()),
            ];
            fields.retain(|(name, _)| *name != member);
            fields.push((member, text.clone()));
            let page = posted(&service, path, &fields).await;
            assert_eq!(page.status, 422, "{path} {member} {text:?}");
            let shown = said_at(&page.text, member).unwrap_or_default();
            let is_shown = shown.to_lowercase().contains(&said.to_lowercase());
            assert!(is_shown, "{path} {member} {text:?}: {shown}");
        }
    }
    let listed = service.get("/api/v1/connections").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        service.get("/api/v1/connections/calls").await.tag.unwrap(),
        tag
    );
    assert_eq!(sandbox.stats().requests, requests);

    // The longest that there may be, in any script.
    let longest = [
        "é".repeat(80),
        "שיחות".to_owned(),
        "می\u{200c}خواهم".to_owned(),
    ];
    for (number, title) in longest.iter().enumerate() {
        let body = json!({ "connector": "clari-copilot", "name": format!("good-{number}"), "title": title,
                           "description": "é".repeat(500), "test": false, "config": config(&sandbox) });
        let saved = service.post("/api/v1/connections", &body).await;
        assert_eq!(saved.status, 201, "{}", saved.text);
        for path in ["/connections", "/sources/clari-copilot"] {
            let page = service.get(path).await.text;
            let shown = format!("dir=\"auto\">{title}<");
            assert!(page.contains(&shown), "{path}: {title}");
        }
        let page = service
            .get(&format!("/connections/good-{number}"))
            .await
            .text;
        assert!(page.contains(&format!("<bdi>{title}</bdi>")), "{title}");
    }
    // Without one it is called after its source.
    let mut body = new(&sandbox, "");
    for absent in [None, Some(Value::Null)] {
        body.as_object_mut().unwrap().remove("title");
        body["test"] = false.into();
        if let Some(null) = absent {
            body["title"] = null;
        }
        let saved = service.post("/api/v1/connections", &body).await;
        assert_eq!(saved.json()["title"], "Clari Copilot", "{}", saved.text);
    }
}
