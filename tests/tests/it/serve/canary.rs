//! Secrets that must come out by no door: every answer, page, file, log line and figure is searched for them, while the
//! service behind a connection does its worst with what it was sent.

use std::{sync::Arc, time::Duration};

use acceptance::{
    binary::contents,
    service::{Answer, Service},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use headwater_core::{FieldKind, FormModel, Registry};
use headwater_sandbox::{CopilotOptions, Sandbox, simulations};
use headwater_testkit::{Ending, Reply, Request, Script};
use reqwest::{Method, RequestBuilder, header};
use serde_json::{Map, Value, json};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use crate::serve::HEADWATER;

/// Typed into every field for secrets. In letters that nothing has to write otherwise.
const SECRET: &str = "CanaryZq7f3aK9nW2x";
/// Typed there as well: whoever shows it has to write it otherwise.
const ODD_SECRET: &str = "Canary&<\"'%41/+=Zq8";

/// What a faulty service does with a request. Each of these sends back what it got wherever it can.
const FAULTS: [&str; 14] = [
    "401",
    "403",
    "404",
    "400",
    "429",
    "500",
    "html",
    "echo",
    "moved",
    "moved-away",
    "cut",
    "reset",
    "broken",
    "stall",
];

/// How many connections are mistreated at once: fewer than syncs may run.
const AT_ONCE: usize = 30;
/// How long an answer is waited for that may hang on the service behind; nobody waits for one that says nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an answer may take that hangs on nobody else.
const LONGEST: Duration = Duration::from_secs(120);

/// An answer that has all of the request in its body and in its headers.
fn answer(fault: &str, request: &Request) -> Reply {
    let got = format!(
        "{}\n{}",
        request.head,
        String::from_utf8_lossy(&request.body)
    );
    let secrets: Vec<&str> = got
        .split(|sign: char| sign.is_whitespace())
        .filter(|word| word.contains("Canary"))
        .collect();
    let secret = secrets.first().copied().unwrap_or_default();
    let body =
        json!({ "error": got, "message": got, "detail": got, "errorSummary": got, "code": secret });
    let body = body.to_string();
    let headers = [
        ("content-type", "application/json"),
        ("x-request-id", secret),
        ("www-authenticate", secret),
    ];
    let json = |status| Reply::full(status, &headers, body.as_bytes());
    let moved = |place: String| {
        let location = format!("{place}/login?key={secret}");
        Reply::full(302, &[("location", &location)], got.as_bytes())
    };
    match fault {
        "html" => {
            let page = format!("<html><title>{secret}</title><script>{got}</script></html>");
            Reply::full(200, &[("content-type", "text/html")], page.as_bytes())
        }
        "echo" => json(200),
        "moved" => moved(String::new()),
        "moved-away" => moved("https://elsewhere.example".to_owned()),
        "cut" => json(200).cut(7, Ending::Close),
        "reset" => json(200).cut(body.len() / 2, Ending::Reset),
        "broken" => Reply::full(200, &headers, got.as_bytes()),
        "stall" => json(200).cut(body.len() / 2, Ending::Stall),
        status => json(status.parse().unwrap()),
    }
}

/// A service and every form in which a secret could leave it.
struct Watched {
    service: Service,
    forms: Vec<String>,
}

impl Watched {
    fn start() -> Self {
        let forms = [SECRET, ODD_SECRET]
            .into_iter()
            .flat_map(forms_of)
            .collect();
        Self {
            // Every line of the log is among the files that are searched.
            service: Service::start(HEADWATER, &["-vvv"]),
            forms,
        }
    }

    fn search(&self, place: &str, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for form in &self.forms {
            let shown = text
                .find(form)
                .map(|at| text[at..].chars().take(200).collect::<String>());
            assert_eq!(shown, None, "a secret stands in {place} as {form}");
        }
    }

    /// What a request is answered, searched from the first header on; nothing where it takes too long.
    async fn ask_for(&self, most: Duration, what: &str, request: RequestBuilder) -> Option<Answer> {
        let work = async {
            let response = request.send().await.unwrap();
            let headers = format!("{:?}", response.headers());
            self.search(&format!("the headers of {what}"), headers.as_bytes());
            Answer::of(response).await
        };
        let answer = timeout(most, work).await.ok()?;
        self.search(&format!("the answer to {what}"), answer.text.as_bytes());
        Some(answer)
    }

    /// Asks for what the service says by itself.
    async fn ask(&self, what: &str, request: RequestBuilder) -> Answer {
        let answer = self.ask_for(LONGEST, what, request).await;
        answer.unwrap_or_else(|| panic!("{what} is not answered"))
    }

    async fn get(&self, path: &str) -> Answer {
        let request = self.service.request(Method::GET, path);
        self.ask(path, request).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.service.send(Method::POST, path, body);
        self.ask(path, request).await
    }

    /// A form as a browser without a script posts it.
    async fn post_form(&self, path: &str, fields: &[(String, String)]) -> Answer {
        self.ask(path, self.form(path, fields)).await
    }

    /// Posts what makes the service ask the one behind, and does not wait for that one.
    async fn try_post(&self, path: &str, body: &Value) -> Option<Answer> {
        let request = self.service.send(Method::POST, path, body);
        self.ask_for(PATIENCE, path, request).await
    }

    /// The same with a form.
    async fn try_post_form(&self, path: &str, fields: &[(String, String)]) {
        let request = self.form(path, fields);
        self.ask_for(PATIENCE, path, request).await;
    }

    /// A probe told as it goes.
    async fn watch(&self, path: &str, body: &Value) {
        let request = self.service.send(Method::POST, path, body);
        let request = request.header(header::ACCEPT, "text/event-stream");
        self.ask_for(PATIENCE, path, request).await;
    }

    fn form(&self, path: &str, fields: &[(String, String)]) -> RequestBuilder {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self.service.request(Method::POST, path).body(body);
        let kind = "application/x-www-form-urlencoded";
        request.header(header::CONTENT_TYPE, kind)
    }
}

/// How a text may be written: as it is, for JSON, for HTML, for addresses, in base64 behind anything, and in hex.
fn forms_of(secret: &str) -> Vec<String> {
    let json = Value::from(secret).to_string();
    let html = secret
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;");
    let address: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = (0..3).map(|before| {
        let text = [&b"ab"[..before.min(2)], secret.as_bytes()].concat();
        // Its ends depend on what stands beside it.
        let text = STANDARD.encode(text);
        text[4..text.len() - 4].to_owned()
    });
    let mut forms = vec![
        secret.to_owned(),
        json.trim_matches('"').to_owned(),
        html,
        address,
        hex.to_uppercase(),
        hex,
        format!("{secret:?}").trim_matches('"').to_owned(),
    ];
    forms.extend(base64);
    forms.sort();
    forms.dedup();
    forms
}

/// A way to sign in to a connector's service, with a secret in every field for one.
#[derive(Clone)]
struct Way {
    connector: String,
    form: FormModel,
    schema: Value,
    config: Value,
}

impl Way {
    fn with(&self, secret: &str, base_url: &str) -> Value {
        let mut config = self.config.clone();
        for field in self.form.inputs_of(&self.config) {
            match field.kind {
                FieldKind::Secret => {
                    let prefix = field.known_prefix.as_deref().unwrap_or_default();
                    put(
                        &mut config,
                        &field.pointer,
                        format!("{prefix}{secret}").into(),
                    );
                }
                _ if field.destination => put(&mut config, &field.pointer, base_url.into()),
                _ => {}
            }
        }
        config
    }

    /// What a browser without a script would send.
    fn fields(&self, config: &Value, title: &str, action: &str) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> =
            [("title", title), ("description", ""), ("action", action)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        let mut leaves = Vec::new();
        collect(config, String::new(), &mut leaves);
        fields.extend(leaves);
        fields
    }
}

fn collect(value: &Value, pointer: String, leaves: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                collect(value, format!("{pointer}/{name}"), leaves);
            }
        }
        Value::String(text) => leaves.push((pointer, text.clone())),
        other => leaves.push((pointer, other.to_string())),
    }
}

fn put(config: &mut Value, pointer: &str, value: Value) {
    let mut place = config;
    for name in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = place
            .as_object_mut()
            .unwrap()
            .entry(name)
            .or_insert(Value::Null);
    }
    *place = value;
}

/// Every connector with every way to sign in that its form offers.
fn ways() -> Vec<Way> {
    let registry = Registry::collect().unwrap();
    let mut ways = Vec::new();
    for simulation in simulations() {
        let connector = registry.get(simulation.id).unwrap();
        let form = connector.form().unwrap();
        let way = Way {
            connector: simulation.id.to_owned(),
            config: (simulation.form)("http://127.0.0.1:1"),
            form: form.clone(),
            schema: connector.schema(),
        };
        ways.push(way.clone());
        for field in &form.fields {
            let FieldKind::OneOf { tag, branches } = &field.kind else {
                continue;
            };
            for branch in branches {
                let mut other = way.clone();
                let mut chosen = json!({});
                chosen[tag] = branch.value.clone();
                put(&mut other.config, &field.pointer, chosen);
                for input in form.inputs_of(&other.config) {
                    let is_empty = other
                        .config
                        .pointer(&input.pointer)
                        .is_none_or(Value::is_null);
                    if input.required && is_empty && matches!(input.kind, FieldKind::Text) {
                        put(
                            &mut other.config,
                            &input.pointer,
                            "someone@example.com".into(),
                        );
                    }
                }
                ways.push(other);
            }
        }
    }
    ways
}

/// Does everything with a connection that can be done with one whose service is at its worst.
async fn mistreat(watched: &Watched, way: &Way, fault: &'static str, number: usize) {
    let script = Script::start(move |request| answer(fault, request))
        .await
        .unwrap();
    let id = &way.connector;
    for secret in [SECRET, ODD_SECRET] {
        let draft = json!({ "config": way.with(secret, &script.base_url()) });
        watched
            .post(&format!("/api/v1/connectors/{id}/validate"), &draft)
            .await;
        watched
            .watch(&format!("/api/v1/connectors/{id}/probe"), &draft)
            .await;
    }
    let name = format!("{id}-{fault}-{number}");
    let config = way.with(SECRET, &script.base_url());
    let mut new = json!({ "connector": id, "name": name, "title": name, "config": config });
    let refused = watched.try_post("/api/v1/connections", &new).await;
    // A service that sends back what it is sent has no key that works.
    assert!(
        refused.is_none_or(|refused| refused.status != 201),
        "{name}"
    );
    for action in ["test", "save"] {
        let fields = way.fields(&config, &name, action);
        watched
            .try_post_form(&format!("/sources/{id}/add"), &fields)
            .await;
    }
    new["test"] = false.into();
    let saved = watched.post("/api/v1/connections", &new).await;
    assert_eq!(saved.status, 201, "{name}: {}", saved.text);
    let api = format!("/api/v1/connections/{name}");
    let page = format!("/connections/{name}");
    watched.watch(&format!("{api}/probe"), &Value::Null).await;
    let change = json!({ "config": way.with(ODD_SECRET, &script.base_url()) });
    watched
        .try_post(&format!("{api}/probe-change"), &change)
        .await;
    let tag = saved.tag.unwrap();
    let request = watched
        .service
        .send(Method::PATCH, &api, &change)
        .header(header::IF_MATCH, tag);
    watched.ask_for(PATIENCE, "a change", request).await;
    // What a service gives as a record is data, and goes on as it came.
    if fault != "echo" {
        read(watched, &api).await;
    }
    for path in [
        api.clone(),
        page.clone(),
        format!("{page}/edit"),
        format!("{page}/rotate"),
        format!("{page}/streams"),
    ] {
        assert_eq!(watched.get(&path).await.status, 200, "{path}");
    }
    let version = watched.get(&api).await.json()["revision"].to_string();
    for (door, action) in [
        ("edit", "test"),
        ("edit", "save-untested"),
        ("rotate", "save"),
    ] {
        let mut fields = way.fields(&way.with(ODD_SECRET, &script.base_url()), &name, action);
        fields.push(("version".to_owned(), version.clone()));
        watched
            .try_post_form(&format!("{page}/{door}"), &fields)
            .await;
    }
}

/// Fills in the form on the page for authors, which sends nothing anywhere.
async fn preview(watched: &Watched, way: &Way) {
    for secret in [SECRET, ODD_SECRET] {
        let config = way.with(secret, "https://api.example");
        let mut draft = way.fields(&config, "Calls", "test");
        draft.push(("schema".to_owned(), way.schema.to_string()));
        let shown = watched.post_form("/author", &draft).await;
        assert_eq!(shown.status, 200, "{}", shown.text);
    }
}

/// Looks at the first records of a connection, and runs a sync of it.
async fn read(watched: &Watched, api: &str) {
    let streams = watched.get(&format!("{api}/streams")).await.json();
    for stream in streams["items"].as_array().unwrap().iter().take(2) {
        let wanted = json!({ "stream": stream["name"] });
        watched.try_post(&format!("{api}/preview"), &wanted).await;
    }
    let started = watched.post(&format!("{api}/syncs"), &json!({})).await;
    assert_eq!(started.status, 202, "{}", started.text);
    let sync = started.json()["id"].as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_millis(300)).await;
    watched
        .post(&format!("/api/v1/syncs/{sync}/cancel"), &Value::Null)
        .await;
    // They end with the sync, which frees its place.
    watched.get(&format!("/api/v1/syncs/{sync}/events")).await;
    for path in [format!("/api/v1/syncs/{sync}"), format!("/syncs/{sync}")] {
        assert_eq!(watched.get(&path).await.status, 200, "{path}");
    }
}

/// Everything that shows more than one connection.
async fn look_around(watched: &Watched) {
    for path in [
        "/",
        "/connections",
        "/syncs",
        "/api/v1/connections?limit=1000",
        "/api/v1/syncs",
        "/api/v1/audit",
        "/api/v1/connectors",
        "/api/v1/openapi.json",
        "/metrics",
        "/healthz",
    ] {
        assert_eq!(watched.get(path).await.status, 200, "{path}");
    }
}

/// Stops the service, searches all that it leaves behind, and returns its log.
fn search_the_rest(watched: Watched, least: usize) -> String {
    let Watched { mut service, forms } = watched;
    let home = std::mem::replace(&mut service.home, tempfile::tempdir().unwrap());
    let said = service.stop();
    let service = Service::start_in(tempfile::tempdir().unwrap(), HEADWATER, &[]);
    let watched = Watched { service, forms };
    watched.search("standard error", said.as_bytes());
    let files = contents(home.path());
    for (path, bytes) in &files {
        watched.search(&path.display().to_string(), bytes);
    }
    assert!(
        files.len() >= least,
        "the store and the records were searched"
    );
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_comes_out_by_no_door_whatever_the_service_behind_it_does() {
    let (watched, ways) = (Arc::new(Watched::start()), ways());
    assert!(
        ways.len() > simulations().len(),
        "alternatives are among them"
    );
    for way in &ways {
        preview(&watched, way).await;
    }
    let mut all = JoinSet::new();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    for (number, way) in ways.into_iter().enumerate() {
        for fault in FAULTS {
            let (watched, way, places) = (Arc::clone(&watched), way.clone(), Arc::clone(&places));
            all.spawn(async move {
                let _place = places.acquire().await;
                mistreat(&watched, &way, fault, number).await;
            });
        }
    }
    all.join_all().await;
    look_around(&watched).await;
    let watched = Arc::into_inner(watched).unwrap();
    let log = tokio::task::spawn_blocking(|| search_the_rest(watched, 3))
        .await
        .unwrap();
    assert!(log.contains("answered"), "the log has the requests");
}

#[tokio::test]
async fn a_secret_in_the_wrong_place_is_refused_without_being_repeated() {
    let (watched, sandbox) = (
        Watched::start(),
        Sandbox::start(CopilotOptions::default()).await.unwrap(),
    );
    let address = sandbox.base_url();
    let host = address.trim_start_matches("http://");
    let configs = [
        json!({ "api_key": { "value": SECRET }, "api_password": [SECRET], "base_url": address }),
        json!({ "api_key": SECRET, "api_password": ODD_SECRET, "password": SECRET, "base_url": address }),
        json!({ "api_key": SECRET, "api_password": SECRET, "base_url": format!("http://me:{SECRET}@{host}") }),
        json!({ "api_key": SECRET, "api_password": SECRET, "base_url": format!("{address}?key={SECRET}") }),
        json!({ "api_key": SECRET, "api_password": SECRET, "base_url": format!("{address}#{SECRET}") }),
        json!({ "api_key": SECRET, "api_password": SECRET, "base_url": SECRET }),
        json!({ "api_key": format!("{SECRET}\u{7}ä"), "api_password": format!("line\n{SECRET}"), "base_url": address }),
        json!({ "colour": SECRET, "api_key": SECRET.repeat(10_000) }),
        json!([SECRET]),
        SECRET.into(),
    ];
    for config in &configs {
        let new = json!({ "connector": "clari-copilot", "title": "Calls", "config": config });
        let refused = watched.post("/api/v1/connections", &new).await;
        assert!((400..500).contains(&refused.status), "{}", refused.text);
        for what in ["validate", "probe"] {
            let path = format!("/api/v1/connectors/clari-copilot/{what}");
            watched.post(&path, &json!({ "config": config })).await;
        }
    }
    let whole =
        json!({ "connector": "clari-copilot", "config": configs[1], "title": SECRET }).to_string();
    let bodies = [
        whole[..whole.len() - 1].to_owned(),
        whole.replace("\"api_key\"", "\"api_password\""),
        format!("{whole}{SECRET}"),
        format!("\"{SECRET}\""),
        format!("{SECRET}={SECRET}"),
    ];
    for body in bodies {
        for kind in [
            "application/json",
            "text/plain",
            "application/x-www-form-urlencoded",
        ] {
            for path in [
                "/api/v1/connections",
                "/sources/clari-copilot/add",
                "/login",
            ] {
                let request = watched
                    .service
                    .request(Method::POST, path)
                    .body(body.clone());
                let request = request.header(header::CONTENT_TYPE, kind);
                watched.ask(path, request).await;
            }
        }
    }
    for (name, value) in [
        ("authorization", format!("Bearer {SECRET}")),
        ("authorization", SECRET.to_owned()),
        (
            "cookie",
            format!("headwater_session={SECRET}; theme={SECRET}"),
        ),
        ("origin", format!("https://{SECRET}")),
        ("if-match", SECRET.to_owned()),
        ("last-event-id", SECRET.to_owned()),
        ("accept", SECRET.to_owned()),
        ("host", SECRET.to_owned()),
    ] {
        for path in ["/api/v1/connections", "/connections", "/login"] {
            let request = watched.service.request(Method::GET, path);
            watched.ask(path, request.header(name, &value)).await;
        }
    }
    assert_eq!(sandbox.stats().requests, 0, "nothing was sent");
    tokio::task::spawn_blocking(|| search_the_rest(watched, 1))
        .await
        .unwrap();
}
