//! The console as a browser without a script sees it: the pages and forms of the shipped binary.

use std::time::Duration;

use acceptance::{
    binary::{command, contents},
    revenue,
    service::Service,
    terminal::Session,
    unlimited_sandbox,
};
use headwater_core::{SignedDuration, Timestamp};
use headwater_sandbox::{API_KEY, API_PASSWORD, ClaribiOptions, Sandbox, claribi};
use reqwest::{Method, Response, header};
use serde_json::json;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const WRONG: &str = "canary-7c1f-never-to-be-seen";

fn service() -> Service {
    Service::start(HEADWATER, &[])
}

/// An answer and what a test looks at of it.
struct Seen {
    status: u16,
    location: String,
    html: String,
}

async fn seen(response: Response) -> Seen {
    let location = response.headers().get(header::LOCATION);
    let location = location.map_or("", |location| location.to_str().unwrap());
    let (status, location) = (response.status().as_u16(), location.to_owned());
    let html = response.text().await.unwrap();
    for secret in [API_KEY, API_PASSWORD, WRONG] {
        assert!(!html.contains(secret), "a secret is in the page");
        assert!(!location.contains(secret), "a secret is in the address");
    }
    Seen {
        status,
        location,
        html,
    }
}

async fn get(service: &Service, path: &str) -> Seen {
    seen(service.request(Method::GET, path).send().await.unwrap()).await
}

async fn post(service: &Service, path: &str, fields: &[(&str, &str)]) -> Seen {
    let body = form(fields);
    let request = service.request(Method::POST, path).body(body);
    let kind = "application/x-www-form-urlencoded";
    let request = request.header(header::CONTENT_TYPE, kind);
    seen(request.send().await.unwrap()).await
}

fn form(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| -> String {
        let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    let pairs = fields.iter();
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect();
    pairs.join("&")
}

/// Whether a text stands in a file of the service's home.
fn wrote(service: &Service, text: &str) -> bool {
    let files = contents(service.path());
    files
        .iter()
        .any(|(_, bytes)| String::from_utf8_lossy(bytes).contains(text))
}

/// The value of the first input of this name.
fn value_of(html: &str, name: &str) -> String {
    let (_, after) = html.split_once(&format!("name=\"{name}\"")).unwrap();
    let (_, after) = after.split_once("value=\"").unwrap();
    after.split_once('"').unwrap().0.to_owned()
}

async fn add(service: &Service, sandbox: &Sandbox, title: &str, key: &str, action: &str) -> Seen {
    let fields = [
        ("title", title),
        ("description", "For the weekly report"),
        ("/api_key", key),
        ("/api_password", API_PASSWORD),
        ("/base_url", &*sandbox.base_url()),
        ("action", action),
    ];
    post(service, "/sources/clari-copilot/add", &fields).await
}

#[tokio::test]
async fn a_credential_that_ends_is_shown_where_people_look() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let save = async |title: &str, expires: &str| {
        let fields = [
            ("title", title),
            ("expires", expires),
            ("/api_key", API_KEY),
            ("/api_password", API_PASSWORD),
            ("/base_url", &*sandbox.base_url()),
            ("action", "save"),
        ];
        post(&service, "/sources/clari-copilot/add", &fields).await
    };
    let day = |days: i64| {
        let then = Timestamp::now() + SignedDuration::from_hours(24 * days);
        then.strftime("%Y-%m-%d").to_string()
    };
    for (wrong, says) in [
        ("tomorrow", "This is not a date"),
        ("2020-05-17", "has passed"),
    ] {
        let refused = save("Calls", wrong).await;
        assert_eq!(refused.status, 422);
        assert!(refused.html.contains("id=\"expires-error\""));
        assert!(refused.html.contains(says));
        assert_eq!(value_of(&refused.html, "expires"), wrong);
    }
    for (title, days) in [("Calls", 9), ("Later", 100), ("Over", -1)] {
        assert_eq!(save(title, &day(days)).await.status, 303, "{title}");
    }
    assert_eq!(save("Without", "").await.status, 303);
    assert!(get(&service, "/").await.html.contains("2 expire soon"));
    let listed = get(&service, "/connections?status=expiring").await.html;
    for (title, is_listed) in [
        ("calls", true),
        ("over", true),
        ("later", false),
        ("without", false),
    ] {
        let link = format!("href=\"/connections/{title}\"");
        assert_eq!(listed.contains(&link), is_listed, "{title}");
    }
    let page = get(&service, "/connections/calls").await.html;
    assert!(page.contains("data-expiry=\"info\"") && page.contains("Expiring"));
    assert!(page.contains(&format!("on {}.", day(9))), "{page}");
    let over = get(&service, "/connections/over").await.html;
    assert!(over.contains("data-expiry=\"bad\""));
    let later = get(&service, "/connections/later").await.html;
    assert!(!later.contains("data-expiry") && later.contains(&day(100)));
    // The form keeps the day, and new secrets have one of their own.
    let edit = get(&service, "/connections/calls/edit").await.html;
    assert_eq!(value_of(&edit, "expires"), day(9));
    let rotate = get(&service, "/connections/calls/rotate").await.html;
    assert_eq!(value_of(&rotate, "expires"), "");
    assert!(rotate.contains(&format!("expire on {}", day(9))));
    let version = value_of(&rotate, "version");
    let fields = [
        ("title", "Calls"),
        ("version", &*version),
        ("expires", ""),
        ("/api_key", API_KEY),
        ("/api_password", API_PASSWORD),
        ("/base_url", &*sandbox.base_url()),
        ("action", "save"),
    ];
    let rotated = post(&service, "/connections/calls/rotate", &fields).await;
    assert_eq!(rotated.status, 303, "{}", rotated.html);
    let page = get(&service, "/connections/calls").await.html;
    assert!(!page.contains("data-expiry") && page.contains("Working"));
}

#[tokio::test]
async fn what_is_old_and_whose_owner_is_gone_is_told() {
    let sandbox = unlimited_sandbox(20).await;
    let home = tempfile::tempdir().unwrap();
    let token = token(&home, "ana", "admin");
    let service = Service::start_in(home, HEADWATER, &["--development"]);
    let config =
        json!({ "api_key": API_KEY, "api_password": API_PASSWORD, "base_url": sandbox.base_url() });
    let new = json!({ "connector": "clari-copilot", "title": "Calls", "config": config });
    let saved = service.send(Method::POST, "/api/v1/connections", &new);
    let saved = saved.bearer_auth(token).send().await.unwrap();
    assert_eq!(saved.status(), 201);
    let (old, gone) = ("not changed since", "Saved by ana, whose access");
    let page = get(&service, "/connections/calls").await.html;
    assert!(!page.contains(old) && !page.contains(gone), "{page}");
    let edit = get(&service, "/connections/calls/edit").await.html;
    assert!(edit.contains(" by ana"), "{edit}");
    let store = rusqlite::Connection::open(service.path().join("home/store.db")).unwrap();
    let year: i64 = 366 * 24 * 60 * 60 * 1000;
    let ago = "UPDATE headwater_connections SET updated = updated - ?1";
    store.execute(ago, [year]).unwrap();
    store.execute("DELETE FROM headwater_tokens", []).unwrap();
    let page = get(&service, "/connections/calls").await.html;
    assert!(page.contains(gone), "{page}");
    assert!(
        page.contains("Saved 366 days ago and not changed since"),
        "{page}"
    );
}

#[tokio::test]
async fn a_form_says_from_where_it_calls_and_a_second_credential_may_have_the_same_name() {
    let options = ["--calls-from", "203.0.113.7", "--calls-from", "2001:db8::7"];
    let service = Service::start(HEADWATER, &options);
    let sandbox = unlimited_sandbox(20).await;
    let form = get(&service, "/sources/clari-copilot/add").await.html;
    assert!(form.contains("<code>203.0.113.7</code>"), "{form}");
    assert!(form.contains("<code>2001:db8::7</code>"), "{form}");
    let note = "has the same name. A description";
    for (name, is_noted) in [("calls", false), ("calls-2", true)] {
        let saved = add(&service, &sandbox, "Calls", API_KEY, "save").await;
        let added = format!("/sources/clari-copilot?added={name}");
        assert_eq!(saved.location, added);
        let page = get(&service, &added).await.html;
        assert_eq!(page.contains(note), is_noted, "{page}");
    }
}

#[tokio::test]
async fn the_whole_flow_works_without_a_script() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let gallery = get(&service, "/").await;
    assert_eq!(gallery.status, 200);
    assert!(gallery.html.contains("href=\"/sources/clari-copilot\""));
    let found = get(&service, "/?q=copilot").await.html;
    assert!(found.contains("/sources/clari-copilot"));
    assert!(!found.contains("/sources/claribi"));
    let source = get(&service, "/sources/clari-copilot").await;
    assert!(source.html.contains("/sources/clari-copilot/add"));
    let empty = get(&service, "/sources/clari-copilot/add").await;
    assert!(empty.html.contains("name=\"/api_key\""));

    assert!(empty.html.contains("We will call https://"));

    // Nothing was entered: every field says so, and nothing is sent.
    let refused = post(
        &service,
        "/sources/clari-copilot/add",
        &[("title", "Calls"), ("action", "save")],
    )
    .await;
    assert_eq!(refused.status, 422);
    assert!(refused.html.contains("aria-invalid=\"true\""));
    // A wrong key is told at its field, and the rest of what was typed is still there.
    for action in ["test", "save"] {
        let refused = add(&service, &sandbox, "Calls", WRONG, action).await;
        let expected = if action == "test" { 200 } else { 422 };
        assert_eq!(refused.status, expected, "{}", refused.html);
        assert!(refused.html.contains("id=\"input-_2f_api_5f_key-error\""));
        assert!(refused.html.contains("value=\"Calls\""));
        assert!(refused.html.contains(&sandbox.base_url()));
        assert!(refused.html.contains("value=\"save-untested\""));
        let calls = format!("We will call {}/…", sandbox.base_url());
        assert!(refused.html.contains(&calls), "{}", refused.html);
    }
    let listed = get(&service, "/connections").await.html;
    assert!(!listed.contains("/connections/calls"));

    let saved = add(&service, &sandbox, "Calls", API_KEY, "save").await;
    assert_eq!(saved.status, 303, "{}", saved.html);
    assert_eq!(saved.location, "/sources/clari-copilot?added=calls");
    let added = get(&service, &saved.location).await.html;
    assert!(added.contains("value=\"calls\" checked"), "{added}");
    assert!(added.contains("Working"));
    let chosen = [("connection", "calls"), ("action", "continue")];
    let next = post(&service, "/sources/clari-copilot", &chosen).await;
    assert_eq!(
        (next.status, &*next.location),
        (303, "/connections/calls/streams")
    );
    let streams = get(&service, &next.location).await.html;
    assert!(streams.contains("value=\"users\""));
    assert_eq!(value_of(&streams, "destination"), "default");

    let masked = get(&service, "/connections/calls/preview?stream=users").await;
    assert_eq!(masked.status, 200, "{}", masked.html);
    assert!(masked.html.contains("@redacted"), "{}", masked.html);
    assert!(masked.html.contains("value=\"reveal\""));
    let fields = [("stream", "users"), ("action", "reveal")];
    let open = post(&service, "/connections/calls/preview", &fields).await;
    assert!(open.html.contains("value=\"mask\""));
    assert!(open.html.contains('@') && !open.html.contains("@redacted"));

    let none = [("destination", "default"), ("action", "run")];
    let refused = post(&service, "/connections/calls/streams", &none).await;
    assert_eq!(refused.status, 422);
    let elsewhere = [
        ("stream", "users"),
        ("destination", "moon"),
        ("action", "run"),
    ];
    let refused = post(&service, "/connections/calls/streams", &elsewhere).await;
    assert_eq!(refused.status, 422);
    assert!(refused.html.contains("id=\"destination-error\""));
    let run = [
        ("stream", "users"),
        ("destination", "default"),
        ("redact", "true"),
        ("action", "run"),
    ];
    let started = post(&service, "/connections/calls/streams", &run).await;
    assert_eq!(started.status, 303, "{}", started.html);
    let mut page = get(&service, &started.location).await.html;
    for _ in 0..600 {
        if !page.contains("data-run=") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        page = get(&service, &started.location).await.html;
    }
    assert!(page.contains("Complete"), "{page}");
    assert!(page.contains("<code>users</code>"));
    assert!(wrote(&service, "@redacted"), "it was to be redacted");
    assert!(
        get(&service, "/syncs")
            .await
            .html
            .contains(&started.location)
    );

    let detail = get(&service, "/connections/calls").await.html;
    assert!(detail.contains(&started.location));
    let tag = service.get("/api/v1/connections/calls").await.tag.unwrap();
    let path = "/api/v1/connections/calls/schedule";
    let scheduled = service.send(Method::PUT, path, &json!({ "every_seconds": 86_400 }));
    let scheduled = scheduled.header(header::IF_MATCH, tag).send().await;
    assert_eq!(scheduled.unwrap().status(), 200);
    let detail = get(&service, "/connections/calls").await.html;
    let version = value_of(&detail, "version");
    // What is in use is deleted only by those who type its name.
    let unsure = [("version", &*version), ("action", "delete")];
    let refused = post(&service, "/connections/calls", &unsure).await;
    assert_eq!(refused.status, 422);
    assert!(refused.html.contains("name=\"confirm\""));
    let stale = [
        ("version", "999"),
        ("confirm", "calls"),
        ("action", "delete"),
    ];
    let refused = post(&service, "/connections/calls", &stale).await;
    assert_eq!(refused.status, 412);
    let delete = [
        ("version", &*version),
        ("confirm", "calls"),
        ("action", "delete"),
    ];
    let deleted = post(&service, "/connections/calls", &delete).await;
    assert_eq!((deleted.status, &*deleted.location), (303, "/connections"));
    assert_eq!(get(&service, "/connections/calls").await.status, 404);
}

#[tokio::test]
async fn a_schedule_is_set_changed_and_removed_by_a_form() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    add(&service, &sandbox, "Calls", API_KEY, "save").await;
    let path = "/connections/calls/streams";
    let kept = async || service.get("/api/v1/connections/calls").await.json()["schedule"].clone();
    let empty = get(&service, path).await.html;
    assert!(empty.contains("<option value=\"manual\" selected>"));
    let first = value_of(&empty, "version");
    let send = async |version: &str, action: &str, fields: &[(&str, &str)]| {
        let own = [
            ("version", version),
            ("stream", "users"),
            ("destination", "default"),
            ("action", action),
        ];
        let fields: Vec<_> = own.iter().chain(fields).copied().collect();
        post(&service, path, &fields).await
    };
    // The words of the service, each at its input, with what was entered still there.
    for (fields, id, said) in [
        (
            [("schedule", "cron"), ("cron", "at six"), ("time_zone", "")],
            "cron-error",
            "6:30 on weekdays",
        ),
        (
            [
                ("schedule", "cron"),
                ("cron", "@daily"),
                ("time_zone", "Mars"),
            ],
            "time_zone-error",
            "Europe/Berlin",
        ),
        (
            [("schedule", "5"), ("cron", ""), ("time_zone", "")],
            "schedule-error",
            "3600 is every hour",
        ),
    ] {
        for action in ["times", "save"] {
            let refused = send(&first, action, &fields).await;
            assert_eq!(refused.status, 422, "{fields:?}");
            assert!(refused.html.contains(&format!("id=\"{id}\"")), "{fields:?}");
            assert!(refused.html.contains(said), "{fields:?}");
            assert_eq!(value_of(&refused.html, "cron"), fields[1].1);
        }
    }
    assert_eq!(kept().await, json!(null));

    let daily = [
        ("schedule", "cron"),
        ("cron", "0 6 * * *"),
        ("time_zone", "Europe/Berlin"),
        ("redact", "true"),
    ];
    let shown = send(&first, "times", &daily).await;
    assert_eq!(shown.status, 200);
    let times = |html: &str| html.matches("<li><time datetime=").count();
    assert_eq!(times(&shown.html), 3, "{}", shown.html);
    assert_eq!(kept().await, json!(null), "to look changes nothing");
    let saved = send(&first, "save", &daily).await;
    assert_eq!(saved.status, 303, "{}", saved.html);
    let page = get(&service, &saved.location).await.html;
    assert!(page.contains("The schedule was saved."));
    assert!(page.contains("<option value=\"cron\" selected>"));
    assert_eq!(times(&page), 3);
    assert_eq!(value_of(&page, "time_zone"), "Europe/Berlin");
    let schedule = kept().await;
    assert_eq!(schedule["cron"], "0 6 * * *");
    assert_eq!(schedule["streams"], json!(["users"]));
    assert_eq!(schedule["redact"], true);

    // Whoever did not see that is told, and changes nothing.
    let hourly = [("schedule", "3600"), ("paused", "true")];
    let stale = send(&first, "save", &hourly).await;
    assert_eq!(stale.status, 412);
    assert!(stale.html.contains("<option value=\"3600\" selected>"));
    let second = value_of(&page, "version");
    let saved = send(&second, "save", &hourly).await;
    let page = get(&service, &saved.location).await.html;
    assert_eq!(times(&page), 0, "what is paused has no next time");
    let schedule = kept().await;
    assert_eq!(schedule["every_seconds"], 3600);
    assert_eq!(schedule["redact"], false);
    assert_eq!(schedule["due"], json!(null));

    let third = value_of(&page, "version");
    let removed = send(&third, "save", &[("schedule", "manual")]).await;
    assert_eq!(removed.status, 303, "{}", removed.html);
    assert!(
        get(&service, &removed.location)
            .await
            .html
            .contains("was removed")
    );
    assert_eq!(kept().await, json!(null));

    // Where a platform keeps the times, none are offered.
    let other = Service::start(HEADWATER, &["--no-schedules"]);
    add(&other, &sandbox, "Calls", API_KEY, "save").await;
    assert!(!get(&other, path).await.html.contains("name=\"schedule\""));
}

#[tokio::test]
async fn a_saved_connection_is_changed_repaired_and_undone_by_forms() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    add(&service, &sandbox, "Calls", API_KEY, "save").await;
    let edit = get(&service, "/connections/calls/edit").await.html;
    let base = |version: &str, title: &str, base_url: &str, more: &[(&str, &str)]| {
        let fields = [
            ("version", version),
            ("title", title),
            ("description", ""),
            ("/base_url", base_url),
        ];
        let fields = fields.iter().chain(more);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        fields.map(owned).collect::<Vec<_>>()
    };
    let send = async |path: &str, fields: Vec<(String, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(a, b)| (&**a, &**b)).collect();
        post(&service, path, &fields).await
    };
    let path = "/connections/calls/edit";
    let version = value_of(&edit, "version");
    let here = &*sandbox.base_url();

    // Only the title: the secrets stay as they are.
    let saved = send(path, base(&version, "Renamed", here, &[("action", "save")])).await;
    assert_eq!(
        (saved.status, &*saved.location),
        (303, "/connections/calls")
    );
    let again = send(path, base(&version, "Late", here, &[("action", "save")])).await;
    assert_eq!(again.status, 412, "a change that was not seen is not lost");
    let detail = get(&service, "/connections/calls").await.html;
    assert!(detail.contains("Renamed") && !detail.contains("Late"));
    let version = value_of(&detail, "version");

    // An input that was asked for and left empty is refused.
    let open = send(
        path,
        base(&version, "Renamed", here, &[("replace", "/api_key")]),
    )
    .await;
    assert!(open.html.contains("name=\"replacing\" value=\"/api_key\""));
    let left = [
        ("replacing", "/api_key"),
        ("/api_key", ""),
        ("action", "save"),
    ];
    let left = send(path, base(&version, "Renamed", here, &left)).await;
    assert_eq!(left.status, 422);
    assert!(left.html.contains("is empty"));

    // Elsewhere the secrets are asked for again, and nothing is sent there.
    let other = unlimited_sandbox(20).await;
    let moved = base(
        &version,
        "Renamed",
        &other.base_url(),
        &[("action", "test")],
    );
    let refused = send(path, moved).await;
    assert_eq!(refused.status, 422);
    assert!(refused.html.contains("another address"));
    assert_eq!(other.stats().requests, 0);

    // Wrong secrets are saved only by those who insist, can be seen to fail, and be put back.
    let wrong = |action| {
        let both = [
            ("/api_key", WRONG),
            ("/api_password", WRONG),
            ("action", action),
        ];
        base(&version, "Renamed", here, &both)
    };
    assert_eq!(send(path, wrong("save")).await.status, 422);
    assert_eq!(send(path, wrong("save-untested")).await.status, 303);
    let detail = get(&service, "/connections/calls").await.html;
    assert!(detail.contains("Not tested"));
    let tested = post(&service, "/connections/calls", &[("action", "test")]).await;
    assert_eq!(tested.status, 303);
    let detail = get(&service, "/connections/calls").await.html;
    assert!(detail.contains("Needs attention"), "{detail}");
    let attention = get(&service, "/connections?status=attention").await.html;
    assert!(attention.contains("/connections/calls"));
    assert!(
        !get(&service, "/connections?status=working")
            .await
            .html
            .contains("/connections/calls")
    );
    let repair = get(&service, "/connections/calls/edit?repair=1").await.html;
    assert!(repair.contains("name=\"/api_key\""));
    assert!(repair.contains(&format!(
        "type=\"hidden\" name=\"/base_url\" value=\"{here}\""
    )));
    let version = value_of(&detail, "version");
    let undone = [("version", &*version), ("action", "undo")];
    assert_eq!(
        post(&service, "/connections/calls", &undone).await.status,
        303
    );
    post(&service, "/connections/calls", &[("action", "test")]).await;
    assert!(
        get(&service, "/connections/calls")
            .await
            .html
            .contains("Working")
    );
}

#[tokio::test]
async fn what_a_test_offers_is_taken_over_and_another_way_to_sign_in_leaves_nothing_behind() {
    let options = ClaribiOptions {
        key_headers: claribi::KeyHeaders::ApiKey,
        ..ClaribiOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let service = Service::start(HEADWATER, &["--allow-references"]);
    let here = sandbox.base_url();
    let path = "/sources/claribi/add";
    // The simulator wants the key in another header than this.
    let mut fields = vec![
        ("title", "Org"),
        ("/auth/style", "bearer"),
        ("2:/auth/api_key", claribi::API_KEY),
        ("/base_url", &*here),
        ("action", "test"),
    ];
    let tested = post(&service, path, &fields).await;
    assert!(tested.html.contains("value=\"apply\""), "{}", tested.html);
    assert!(!tested.html.contains(claribi::API_KEY));
    let patch = value_of(&tested.html, "patch").replace("&quot;", "\"");
    fields.pop();
    fields.extend([("patch", &*patch), ("action", "apply")]);
    let applied = post(&service, path, &fields).await;
    assert_eq!(applied.status, 200, "{}", applied.html);
    assert!(applied.html.contains("value=\"api_key_authorization\" data-value=\"&quot;api_key_authorization&quot;\" data-branch=\"0\" checked"), "{}", applied.html);
    assert!(!applied.html.contains("value=\"apply\""));

    let config = json!({ "auth": { "style": "x_api_key", "api_key": "env:NO_SUCH_VARIABLE" }, "base_url": here });
    let body = json!({ "connector": "claribi", "title": "Org", "config": config, "test": false });
    let saved = service.post("/api/v1/connections", &body).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    let edit = get(&service, "/connections/org/edit").await.html;
    assert!(!edit.contains("NO_SUCH_VARIABLE"));
    let version = value_of(&edit, "version");
    let fields = [
        ("version", &*version),
        ("title", "Org"),
        ("/auth/style", "jwt"),
        ("3:/auth/email", claribi::EMAIL),
        ("3:/auth/password", claribi::PASSWORD),
        ("/base_url", &*here),
        ("action", "save"),
    ];
    let saved = post(&service, "/connections/org/edit", &fields).await;
    assert_eq!(saved.status, 303, "{}", saved.html);
    let saved = service.get("/api/v1/connections/org").await.json();
    let auth = json!({ "style": "jwt", "email": claribi::EMAIL });
    assert_eq!(saved["config"]["auth"], auth);
    assert_eq!(saved["secrets"].as_array().unwrap().len(), 1);
    // The same by the API, which names the new way only.
    let tag = service.get("/api/v1/connections/org").await.tag.unwrap();
    let back = json!({ "config": { "auth": { "style": "bearer", "email": null, "api_key": "env:OTHER" } }, "test": false });
    let changed = service.patch("/api/v1/connections/org", &tag, &back).await;
    assert_eq!(
        changed.status, 422,
        "a variable that is not set: {}",
        changed.text
    );
}

#[tokio::test]
async fn what_the_last_test_offers_is_one_click_away_and_asks_for_the_secret_where_it_would_go_elsewhere()
 {
    // The key is asked for again, since it would be sent in another way.
    let options = ClaribiOptions {
        key_headers: claribi::KeyHeaders::ApiKey,
        ..ClaribiOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let service = service();
    let config = json!({ "auth": { "style": "bearer", "api_key": claribi::API_KEY }, "base_url": sandbox.base_url() });
    let body = json!({ "connector": "claribi", "title": "Org", "config": config, "test": false });
    let saved = service.post("/api/v1/connections", &body).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    let apply = async |path: &str| {
        let version = value_of(&get(&service, path).await.html, "version");
        post(
            &service,
            path,
            &[("version", &version), ("action", "apply")],
        )
        .await
    };
    let untested = apply("/connections/org").await;
    assert_eq!(untested.status, 409, "nothing was offered");
    post(&service, "/connections/org", &[("action", "test")]).await;
    let page = get(&service, "/connections/org").await.html;
    assert!(page.contains("value=\"apply\""), "{page}");
    assert!(!page.contains(claribi::API_KEY));
    let applied = apply("/connections/org").await;
    assert_eq!(
        (applied.status, &*applied.location),
        (303, "/connections/org/edit?offer=1")
    );
    let form = get(&service, &applied.location).await.html;
    assert!(form.contains("value=\"api_key_authorization\" data-value=\"&quot;api_key_authorization&quot;\" data-branch=\"0\" checked"), "{form}");
    assert!(form.contains("name=\"0:/auth/api_key\""), "{form}");
    let saved = service.get("/api/v1/connections/org").await.json();
    assert_eq!(saved["config"]["auth"]["style"], "bearer", "not yet");
    let version = value_of(&form, "version");
    let fields = [
        ("version", &*version),
        ("title", "Org"),
        ("/auth/style", "api_key_authorization"),
        ("0:/auth/api_key", claribi::API_KEY),
        ("/base_url", &*sandbox.base_url()),
        ("action", "save"),
    ];
    let saved = post(&service, "/connections/org/edit", &fields).await;
    assert_eq!(saved.status, 303, "{}", saved.html);
    let page = get(&service, "/connections/org").await.html;
    assert!(page.contains("Working") && !page.contains("value=\"apply\""));
    assert!(page.contains("<meter"), "what the service allows is kept");

    // The profile of a key goes nowhere else, so it is saved at once.
    let sandbox = revenue::tenant(revenue::options()).await;
    let config = revenue::answer_with(&sandbox.base_url(), json!({ "auth_profile": "automatic" }));
    let body = json!({ "connector": "clari-revenue", "title": "Revenue", "test": false, "config": config });
    let saved = service.post("/api/v1/connections", &body).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    post(&service, "/connections/revenue", &[("action", "test")]).await;
    let applied = apply("/connections/revenue").await;
    assert_eq!(
        (applied.status, &*applied.location),
        (303, "/connections/revenue"),
        "{}",
        applied.html
    );
    let saved = service.get("/api/v1/connections/revenue").await.json();
    assert_eq!(saved["config"]["auth_profile"], "apikey");
    assert_eq!(saved["health"], "working");
    let page = get(&service, "/connections/revenue").await.html;
    assert!(!page.contains("value=\"apply\""), "it is as it was offered");
}

#[tokio::test]
async fn a_connection_that_cannot_be_read_says_so_and_is_entered_again_or_deleted() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    add(&service, &sandbox, "Whole", API_KEY, "save").await;
    let damages = [
        ("Key", "UPDATE headwater_secrets SET key_id = 'another'"),
        ("Seal", "UPDATE headwater_secrets SET sealed = 'x'"),
        ("Config", "UPDATE headwater_connections SET config = '{}'"),
        (
            "Text",
            "UPDATE headwater_connections SET config = 'no json'",
        ),
        ("Time", "UPDATE headwater_connections SET created = 'once'"),
        ("Check", "UPDATE headwater_connections SET last_check = '['"),
    ];
    let store = rusqlite::Connection::open(service.path().join("home/store.db")).unwrap();
    for (title, damage) in damages {
        let name = title.to_lowercase();
        // A credential of its own, each of which is tested more than once.
        let sandbox = unlimited_sandbox(20).await;
        add(&service, &sandbox, title, API_KEY, "save").await;
        let id = "(SELECT id FROM headwater_connections WHERE name = ?1)";
        let place = match damage.contains("headwater_secrets") {
            true => "connection",
            false => "id",
        };
        let damage = format!("{damage} WHERE {place} = {id}");
        assert!(store.execute(&damage, [&name]).unwrap() > 0);

        // The list shows it beside the others, and its page works.
        let listed = get(&service, "/connections?status=unreadable").await.html;
        assert!(
            listed.contains(&format!("href=\"/connections/{name}\"")),
            "{title}"
        );
        let chosen = [("connection", &*name), ("action", "continue")];
        let path = format!("/connections/{name}");
        let next = post(&service, "/sources/clari-copilot", &chosen).await;
        assert_eq!((next.status, &*next.location), (303, &*path), "{title}");
        let page = get(&service, &path).await;
        assert_eq!(page.status, 200, "{title}: {}", page.html);
        assert!(page.html.contains("Cannot be read"), "{title}");
        assert!(page.html.contains("Enter them again"), "{title}");
        assert!(!page.html.contains("value=\"test\""), "{title}");
        let refused = post(&service, &path, &[("action", "test")]).await;
        assert_eq!(refused.status, 409, "{title}");

        // All of it is asked for again, and nothing of it is taken from what was there.
        let edit = format!("{path}/edit");
        let form = get(&service, &edit).await.html;
        for secret in ["/api_key", "/api_password"] {
            assert!(
                form.contains(&format!("name=\"{secret}\" type=\"password\"")),
                "{title}"
            );
        }
        let version = value_of(&form, "version");
        let base_url = match title {
            "Config" | "Text" => sandbox.base_url(),
            _ => value_of(&form, "/base_url"),
        };
        let fields = |key: &'static str| {
            let fields = [
                ("version", version.clone()),
                ("title", format!("{title} again")),
                ("/api_key", key.to_owned()),
                ("/api_password", API_PASSWORD.to_owned()),
                ("/base_url", base_url.clone()),
                ("action", "save".to_owned()),
            ];
            fields.to_vec()
        };
        let send = async |fields: Vec<(&str, String)>| {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (*name, &**value))
                .collect();
            post(&service, &edit, &fields).await
        };
        let mut half = fields(API_KEY);
        half.retain(|(name, _)| *name != "/api_password");
        assert_eq!(send(half).await.status, 422, "{title}");
        let wrong = send(fields(WRONG)).await;
        assert_eq!(wrong.status, 422, "{title}");
        assert!(
            wrong.html.contains("id=\"input-_2f_api_5f_key-error\""),
            "{title}"
        );
        let saved = send(fields(API_KEY)).await;
        assert_eq!(saved.status, 303, "{title}: {}", saved.html);
        let stale = send(fields(API_KEY)).await;
        assert_eq!(stale.status, 412, "{title}");
        let page = get(&service, &path).await.html;
        assert!(
            page.contains("Working") && page.contains(&format!("{title} again")),
            "{title}"
        );
        assert!(page.contains("Entered again"), "the history tells");
        post(&service, &path, &[("action", "test")]).await;
        assert!(
            get(&service, &path).await.html.contains("Working"),
            "{title}"
        );
    }
    assert!(
        get(&service, "/connections/whole")
            .await
            .html
            .contains("Working")
    );

    // What no connector is known for can only be deleted. By the API too, whose list names the revision.
    for name in ["key", "seal"] {
        let damage = "UPDATE headwater_connections SET connector = 'gone' WHERE name = ?1";
        store.execute(damage, [name]).unwrap();
    }
    let page = get(&service, "/connections/key").await;
    assert_eq!(page.status, 200, "{}", page.html);
    assert!(!page.html.contains("Enter them again"));
    assert_eq!(get(&service, "/connections/key/edit").await.status, 409);
    let version = value_of(&page.html, "version");
    let delete = [("version", &*version), ("action", "delete")];
    let deleted = post(&service, "/connections/key", &delete).await;
    assert_eq!((deleted.status, &*deleted.location), (303, "/connections"));
    let listed = service.get("/api/v1/connections").await.json();
    let lines = listed["items"].as_array().unwrap();
    let line = lines.iter().find(|line| line["name"] == "seal").unwrap();
    assert_eq!(line["health"], "unreadable");
    let request = service.request(Method::DELETE, "/api/v1/connections/seal");
    let request = request.header(header::IF_MATCH, format!("\"{}\"", line["revision"]));
    assert_eq!(request.send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn a_credential_that_was_tested_too_often_says_when_it_can_be_tested_again() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    for _ in 0..4 {
        let tested = add(&service, &sandbox, "Calls", API_KEY, "test").await;
        assert_eq!(tested.status, 200, "{}", tested.html);
    }
    let saved = add(&service, &sandbox, "Calls", API_KEY, "save").await;
    assert_eq!(saved.status, 303, "{}", saved.html);
    let store = rusqlite::Connection::open(service.path().join("home/store.db")).unwrap();
    let failed =
        json!({ "outcome": "failed", "code": null, "message": "it was away", "report": {} });
    let statement = "UPDATE headwater_connections SET last_check = ?1";
    store.execute(statement, [failed.to_string()]).unwrap();
    let requests = sandbox.stats().requests;
    let said = "This credential was tested 5 times within a minute; try again in ";
    for action in ["test", "save"] {
        let refused = add(&service, &sandbox, "Others", API_KEY, action).await;
        assert_eq!(refused.status, 429, "{action}");
        assert!(refused.html.contains(said), "{action}: {}", refused.html);
        assert!(refused.html.contains("value=\"Others\""), "{action}");
    }
    let page = "/connections/calls";
    let refused = post(&service, page, &[("action", "test")]).await;
    assert_eq!(refused.status, 429);
    assert!(refused.html.contains(said), "{}", refused.html);
    // Among those that are tested again at once, it stays as it was.
    let done = post(&service, "/connections", &[("action", "retest")]).await;
    assert_eq!(
        (done.status, &*done.location),
        (303, "/connections?tested=1&working=0")
    );
    assert_eq!(sandbox.stats().requests, requests);
    let shown = get(&service, page).await.html;
    assert!(shown.contains("Needs attention"), "{shown}");
    assert_eq!(get(&service, "/connections/others").await.status, 404);
}

#[tokio::test]
async fn what_needs_attention_is_tested_again_at_once() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    add(&service, &sandbox, "Good", API_KEY, "save").await;
    let calm = get(&service, "/connections").await.html;
    assert!(!calm.contains("value=\"retest\""));
    add(&service, &sandbox, "Bad", WRONG, "save-untested").await;
    post(&service, "/connections/bad", &[("action", "test")]).await;
    let store = rusqlite::Connection::open(service.path().join("home/store.db")).unwrap();
    let failed =
        json!({ "outcome": "failed", "code": null, "message": "it was away", "report": {} });
    let statement = "UPDATE headwater_connections SET last_check = ?1 WHERE name = 'good'";
    store.execute(statement, [failed.to_string()]).unwrap();
    let list = get(&service, "/connections").await.html;
    assert!(list.contains("value=\"retest\""));
    let done = post(&service, "/connections", &[("action", "retest")]).await;
    assert_eq!(
        (done.status, &*done.location),
        (303, "/connections?tested=2&working=1")
    );
    let list = get(&service, &done.location).await.html;
    assert!(
        list.contains("2 tested again, 1 of them work now."),
        "{list}"
    );
    let left = get(&service, "/connections?status=attention").await.html;
    assert!(left.contains("/connections/bad") && !left.contains("/connections/good"));
    // What helps to ask for help is on the page, with the version, and with nothing that was typed.
    let page = get(&service, "/connections/bad").await.html;
    let (_, details) = page.split_once("data-copy").unwrap();
    let details = details.split("</pre>").next().unwrap();
    assert!(details.contains("credentials: failed") && details.contains("Headwater "));
}

#[tokio::test]
async fn a_copy_begins_with_everything_but_the_name_and_the_secrets() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    add(&service, &sandbox, "Calls", API_KEY, "save").await;
    let page = get(&service, "/connections/calls").await.html;
    let path = "/sources/clari-copilot/add?from=calls";
    assert!(page.contains(&format!("href=\"{path}\"")));
    let form = get(&service, path).await.html;
    assert_eq!(value_of(&form, "title"), "Copy of Calls");
    assert_eq!(value_of(&form, "/base_url"), sandbox.base_url());
    assert!(form.contains("For the weekly report"));
    assert!(form.contains("name=\"/api_key\" type=\"password\""));
    assert!(form.contains("action=\"/sources/clari-copilot/add\""));
    let other = get(&service, "/sources/claribi/add?from=calls").await;
    assert_eq!(other.status, 400);
    let none = get(&service, "/sources/clari-copilot/add?from=none").await;
    assert_eq!(none.status, 404);
}

#[tokio::test]
async fn what_people_write_is_text_on_every_page() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let corpus = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' autofocus onfocus=alert(1) x='",
        "</textarea><svg onload=alert(1)>",
        "{{7*7}}${7*7}<!--",
        "</title><style>*{}</style>",
        "javascript:alert(1)",
    ];
    for (number, text) in corpus.iter().enumerate() {
        let name = format!("x-{number}");
        let body = json!({ "connector": "clari-copilot", "name": name, "title": text, "description": text, "test": false,
                           "config": { "api_key": API_KEY, "api_password": API_PASSWORD, "base_url": sandbox.base_url() } });
        let saved = service.post("/api/v1/connections", &body).await;
        assert_eq!(saved.status, 201, "{}", saved.text);
        let escaped = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let escaped = escaped.replace('"', "&quot;");
        for path in [
            format!("/connections?q={name}"),
            format!("/sources/clari-copilot?added={name}"),
            format!("/connections/{name}"),
            format!("/connections/{name}/edit"),
            format!("/connections/{name}/streams"),
        ] {
            let page = get(&service, &path).await;
            assert_eq!(page.status, 200, "{path}");
            assert!(page.html.contains(&escaped), "{path}: {text}");
            for tag in ["<script>alert", "<img", "<svg onload", "<style", "<!--"] {
                assert!(!page.html.contains(tag), "{path}: {tag}");
            }
        }
    }
    let searched = get(&service, "/?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(!searched.html.contains("<script>alert"));
}

#[tokio::test]
async fn pages_have_a_policy_of_their_own_and_fragments_have_no_frame() {
    let service = service();
    for path in ["/", "/connections", "/syncs", "/login", "/connections/none"] {
        let answer = service.request(Method::GET, path).send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
        let html = answer.text().await.unwrap();
        assert!(html.starts_with("<!DOCTYPE html>"));
        assert!(!html.contains(" style=\"") && !html.contains("<style"));
    }
    let request = service.request(Method::GET, "/nowhere");
    let nowhere = request.header(header::ACCEPT, "text/html,*/*").send().await;
    let nowhere = seen(nowhere.unwrap()).await;
    assert_eq!(nowhere.status, 404);
    assert!(nowhere.html.contains("page not found"));
    let request = service.request(Method::GET, "/");
    let fragment = request.header("headwater-fragment", "1").send().await;
    let fragment = seen(fragment.unwrap()).await.html;
    assert!(!fragment.contains("<html") && fragment.contains("<h1>"));
    let home = get(&service, "/").await.html;
    for (mark, kind) in [
        ("src=\"", "text/javascript"),
        ("rel=\"stylesheet\" href=\"", "text/css"),
    ] {
        let (_, after) = home.split_once(mark).unwrap();
        let asset = after.split_once('"').unwrap().0;
        let answer = service.request(Method::GET, asset).send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(kind), "{asset}");
        assert!(header("cache-control").contains("immutable"));
    }
    // What cannot be read as a form is refused as a page.
    let request = service.request(Method::POST, "/sources/clari-copilot/add");
    let wrong = request
        .header(header::CONTENT_TYPE, "text/plain")
        .body("x=1");
    assert_eq!(wrong.send().await.unwrap().status(), 415);
    let large = post(&service, "/login", &[("token", &"x".repeat(1 << 20))]).await;
    assert_eq!(large.status, 413);
}

fn token(home: &tempfile::TempDir, name: &str, scope: &str) -> String {
    let added = command(HEADWATER)
        .args(["token", "add", name, "--scope", scope])
        .env("HEADWATER_HOME", home.path().join("home"))
        .output()
        .unwrap();
    assert!(added.status.success());
    String::from_utf8(added.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn whoever_is_not_signed_in_sees_the_login_only() {
    let home = tempfile::tempdir().unwrap();
    let (admin, reader) = (token(&home, "boss", "admin"), token(&home, "guest", "read"));
    let service = Service::start_in(home, HEADWATER, &["--require-token"]);
    let closed = get(&service, "/connections?q=a").await;
    assert_eq!(closed.status, 303);
    assert_eq!(closed.location, "/login?next=%2Fconnections%3Fq%3Da");
    let closed = post(
        &service,
        "/sources/clari-copilot/add",
        &[("action", "save")],
    )
    .await;
    assert_eq!(closed.status, 303);
    let login = get(&service, "/login?next=%2Fconnections").await.html;
    assert_eq!(value_of(&login, "next"), "/connections");
    let wrong = post(&service, "/login", &[("token", WRONG), ("next", "/")]).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.html.contains("id=\"token-error\""));

    let sign_in = async |token: &str, next: &str| {
        let fields = form(&[("token", token), ("next", next)]);
        let request = service.request(Method::POST, "/login").body(fields);
        let kind = "application/x-www-form-urlencoded";
        let answer = request
            .header(header::CONTENT_TYPE, kind)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(!cookie.contains(token));
        for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(word), "{cookie}");
        }
        let location = answer.headers()[header::LOCATION]
            .to_str()
            .unwrap()
            .to_owned();
        (cookie.split(';').next().unwrap().to_owned(), location)
    };
    for elsewhere in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
    ] {
        assert_eq!(sign_in(&admin, elsewhere).await.1, "/", "{elsewhere}");
    }
    let (cookie, location) = sign_in(&admin, "/connections").await;
    assert_eq!(location, "/connections");
    let with = async |cookie: &str, method: Method, path: &str| {
        let request = service.request(method, path).header(header::COOKIE, cookie);
        seen(request.send().await.unwrap()).await
    };
    let page = with(&cookie, Method::GET, "/connections").await;
    assert_eq!(page.status, 200);
    assert!(page.html.contains("boss") && !page.html.contains(&admin));
    assert_eq!(
        with(&cookie, Method::GET, "/sources/clari-copilot/add")
            .await
            .status,
        200
    );

    // A smaller scope sees, and changes nothing.
    let (guest, _) = sign_in(&reader, "/").await;
    assert_eq!(with(&guest, Method::GET, "/connections").await.status, 200);
    let refused = with(&guest, Method::GET, "/sources/clari-copilot/add").await;
    assert_eq!(refused.status, 403);
    assert!(refused.html.contains("You need admin access"));

    let left = with(&cookie, Method::POST, "/logout").await;
    assert_eq!((left.status, &*left.location), (303, "/login"));
    assert_eq!(with(&cookie, Method::GET, "/connections").await.status, 303);
}

/// What a page gives whom: its status, for who is not signed in and for the scopes read, use and admin.
struct Door {
    method: Method,
    path: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    statuses: [u16; 4],
}

/// Whoever may not is told 403, and who is not known is led to the login.
fn doors() -> Vec<Door> {
    let get = |path, statuses| Door {
        method: Method::GET,
        path,
        fields: Vec::new(),
        statuses,
    };
    let post = |path, fields: &[(&'static str, &'static str)], statuses| Door {
        method: Method::POST,
        path,
        fields: fields.to_vec(),
        statuses,
    };
    let calls = "/connections/calls";
    vec![
        get("/", [303, 200, 200, 200]),
        get("/sources/clari-copilot", [303, 200, 200, 200]),
        get("/sources/clari-copilot/add", [303, 403, 403, 200]),
        get("/connections", [303, 200, 200, 200]),
        get(calls, [303, 200, 200, 200]),
        get("/connections/calls/edit", [303, 403, 403, 200]),
        get("/connections/calls/rotate", [303, 403, 403, 200]),
        get("/connections/calls/streams", [303, 200, 200, 200]),
        get(
            "/connections/calls/preview?stream=users",
            [303, 403, 200, 200],
        ),
        get("/syncs", [303, 200, 200, 200]),
        get("/syncs/calls.1", [303, 404, 404, 404]),
        get("/author", [303, 200, 200, 200]),
        get("/author/file", [303, 404, 404, 404]),
        get("/login", [200, 200, 200, 200]),
        get("/nowhere", [404, 404, 404, 404]),
        post(
            "/sources/clari-copilot",
            &[("connection", "calls")],
            [303, 303, 303, 303],
        ),
        post(
            "/sources/clari-copilot/add",
            &[("title", ""), ("action", "save")],
            [303, 403, 403, 422],
        ),
        post(
            "/connections",
            &[("action", "retest")],
            [303, 403, 303, 303],
        ),
        post(calls, &[("action", "test")], [303, 403, 303, 303]),
        post(
            calls,
            &[("action", "apply"), ("version", "0")],
            [303, 403, 403, 409],
        ),
        post(
            calls,
            &[("action", "undo"), ("version", "0")],
            [303, 403, 403, 412],
        ),
        post(
            calls,
            &[("action", "delete"), ("version", "0"), ("name", "calls")],
            [303, 403, 403, 412],
        ),
        post(
            "/connections/calls/edit",
            &[("action", "save"), ("version", "0")],
            [303, 403, 403, 412],
        ),
        post(
            "/connections/calls/rotate",
            &[("action", "save"), ("version", "0")],
            [303, 403, 403, 412],
        ),
        post(
            "/connections/calls/streams",
            &[("action", "run"), ("stream", "none")],
            [303, 403, 422, 422],
        ),
        post(
            "/connections/calls/streams",
            &[
                ("action", "save"),
                ("stream", "users"),
                ("schedule", "3600"),
            ],
            [303, 403, 403, 412],
        ),
        post(
            "/connections/calls/preview",
            &[("action", "mask"), ("stream", "users")],
            [303, 403, 303, 303],
        ),
        post(
            "/connections/calls/preview",
            &[("action", "reveal"), ("stream", "users")],
            [303, 403, 403, 200],
        ),
        post(
            "/syncs/calls.1",
            &[("action", "cancel")],
            [303, 403, 404, 404],
        ),
        post("/author", &[("schema", "{}")], [303, 200, 200, 200]),
        post(
            "/theme",
            &[("theme", "dark"), ("back", "/")],
            [303, 303, 303, 303],
        ),
    ]
}

#[tokio::test]
async fn each_page_is_for_those_whose_scope_it_takes() {
    let (sandbox, home) = (unlimited_sandbox(20).await, tempfile::tempdir().unwrap());
    let tokens = ["read", "use", "admin"].map(|scope| token(&home, scope, scope));
    let service = Service::start_in(home, HEADWATER, &["--require-token", "--development"]);
    let body = json!({ "connector": "clari-copilot", "title": "Calls", "test": false,
                       "config": { "api_key": API_KEY, "api_password": API_PASSWORD, "base_url": sandbox.base_url() } });
    let saved = service.send(Method::POST, "/api/v1/connections", &body);
    let saved = saved.bearer_auth(&tokens[2]).send().await.unwrap();
    assert_eq!(saved.status(), 201);
    let mut sessions = vec![None];
    for token in &tokens {
        let fields = [("token", token.as_str()), ("next", "/")];
        let request = service.request(Method::POST, "/login").body(form(&fields));
        let kind = "application/x-www-form-urlencoded";
        let answer = request.header(header::CONTENT_TYPE, kind).send().await;
        let cookie = answer.unwrap().headers()[header::SET_COOKIE].clone();
        let cookie = cookie.to_str().unwrap().to_owned();
        sessions.push(Some(cookie.split(';').next().unwrap().to_owned()));
    }
    let mut wrong = Vec::new();
    for door in doors() {
        for (session, expected) in sessions.iter().zip(door.statuses) {
            let mut request = service.request(door.method.clone(), door.path);
            request = request.header(header::ACCEPT, "text/html");
            if let Some(cookie) = session {
                request = request.header(header::COOKIE, cookie);
            }
            if door.method == Method::POST {
                let kind = "application/x-www-form-urlencoded";
                request = request.header(header::CONTENT_TYPE, kind);
                request = request.body(form(&door.fields));
            }
            let got = seen(request.send().await.unwrap()).await;
            let who = format!("{} {} {:?}", door.method, door.path, door.fields);
            if got.status != expected {
                wrong.push(format!(
                    "{who} for {session:?}: {}, not {expected}",
                    got.status
                ));
                continue;
            }
            let is_sent_away = got.location.starts_with("/login");
            let is_closed = door.statuses[0] == 303 && door.path != "/theme";
            assert_eq!(is_sent_away, session.is_none() && is_closed, "{who}");
            if expected == 403 {
                assert!(got.html.contains("access to do this"), "{who}");
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    let left = service.request(Method::GET, "/api/v1/connections/calls");
    let left = left.bearer_auth(&tokens[0]).send().await.unwrap();
    let left: serde_json::Value = serde_json::from_str(&left.text().await.unwrap()).unwrap();
    assert_eq!(
        (&left["title"], &left["version"]),
        (&json!("Calls"), &json!(1))
    );
}

#[tokio::test]
async fn a_theme_is_kept_and_leads_back_to_this_console_only() {
    let service = service();
    let choose = async |theme: &str, back: &str| {
        let fields = form(&[("theme", theme), ("back", back)]);
        let request = service.request(Method::POST, "/theme").body(fields);
        let kind = "application/x-www-form-urlencoded";
        request
            .header(header::CONTENT_TYPE, kind)
            .send()
            .await
            .unwrap()
    };
    let answer = choose("dark", "/syncs").await;
    assert_eq!(answer.headers()[header::LOCATION], "/syncs");
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let request = service
        .request(Method::GET, "/syncs")
        .header(header::COOKIE, cookie);
    let page = seen(request.send().await.unwrap()).await.html;
    assert!(page.contains("data-theme=\"dark\""));
    for elsewhere in ["https://evil.example", "//evil.example", "/\\evil.example"] {
        let answer = choose("light\r\nx: y", elsewhere).await;
        assert_eq!(answer.headers()[header::LOCATION], "/");
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.starts_with("theme=system"));
    }
}

#[tokio::test]
async fn a_form_of_another_site_is_refused() {
    let service = service();
    for path in ["/sources/clari-copilot/add", "/login", "/theme", "/logout"] {
        let request = service.request(Method::POST, path).body("action=save");
        let kind = "application/x-www-form-urlencoded";
        let request = request.header(header::CONTENT_TYPE, kind);
        let answer = request.header("sec-fetch-site", "cross-site").send().await;
        assert_eq!(answer.unwrap().status(), 403, "{path}");
    }
}

#[tokio::test]
async fn a_new_credential_has_a_name_already() {
    let service = service();
    let form = get(&service, "/sources/clari-copilot/add").await.html;
    assert_eq!(value_of(&form, "title"), "Clari Copilot");
}

#[tokio::test]
async fn the_command_of_a_page_saves_the_same_credential_elsewhere_and_asks_for_its_secrets() {
    let (sandbox, service) = (unlimited_sandbox(20).await, service());
    let added = add(&service, &sandbox, "The team's calls", API_KEY, "save").await;
    assert_eq!(added.status, 303, "{}", added.html);
    let page = get(&service, "/connections/the-team-s-calls").await.html;
    let (_, command) = page
        .split_once("<pre data-copy=\"Copy command\" tabindex=\"0\">")
        .unwrap();
    let command = command.split_once('<').unwrap().0;
    let own = command.replace("headwater ", &format!("{HEADWATER} "));
    let home = tempfile::tempdir().unwrap();
    let script = format!("HEADWATER_HOME={} {own}", home.path().display());
    let saved = tokio::task::spawn_blocking(move || {
        let mut session = Session::start("sh", &["-c", &script]);
        for (question, answer) in [
            ("API Key: ", API_KEY),
            ("API Password: ", API_PASSWORD),
            ("Start date (optional): ", ""),
            ("Include private calls [false]: ", ""),
        ] {
            session.wait_for(question);
            session.type_line(answer);
        }
        session.end()
    });
    let (code, shown) = saved.await.unwrap();
    assert_eq!(code, Some(0), "{command}: {shown}");
    assert!(command.contains("the-team-s-calls clari-copilot --set base_url=http://127.0.0.1:"));
}
