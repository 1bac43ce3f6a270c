//! Embeds: a token for one form in a frame of another page, which opens that form and nothing else.

use acceptance::{
    binary::command,
    service::{Answer, Service},
    unlimited_sandbox,
};
use headwater_sandbox::{API_KEY, API_PASSWORD, Sandbox};
use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};

use crate::serve::{HEADWATER, config, new};

const ORIGIN: &str = "https://app.example";
const WRONG: &str = "canary-51d0-never-to-be-seen";

fn embedding() -> Service {
    Service::start(HEADWATER, &["--embed-origin", ORIGIN])
}

/// An embed as its page gets it.
struct Embed {
    id: String,
    token: String,
    url: String,
}

impl Embed {
    async fn made(service: &Service, what: Value) -> Self {
        let mut body = what;
        body["origin"] = ORIGIN.into();
        let made = service.post("/api/v1/embeds", &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let text = |name: &str| made.json()[name].as_str().unwrap().to_owned();
        Self {
            id: text("id"),
            token: text("token"),
            url: text("url"),
        }
    }

    async fn to_add(service: &Service) -> Self {
        Self::made(service, json!({ "connector": "clari-copilot" })).await
    }

    async fn to(service: &Service, purpose: &str) -> Self {
        Self::made(
            service,
            json!({ "connection": "calls", "purpose": purpose }),
        )
        .await
    }

    async fn ask(&self, request: RequestBuilder) -> Answer {
        let request = request.bearer_auth(&self.token);
        Answer::of(request.send().await.unwrap()).await
    }

    async fn post(&self, service: &Service, path: &str, body: &Value) -> Answer {
        self.ask(service.send(Method::POST, path, body)).await
    }

    async fn change(&self, service: &Service, tag: &str, body: &Value) -> Answer {
        let request = service.send(Method::PATCH, "/api/v1/connections/calls", body);
        self.ask(request.header(header::IF_MATCH, tag)).await
    }

    async fn form(&self, service: &Service) -> Answer {
        let path = format!("{}/form", self.url);
        let request = service.request(Method::GET, &path);
        self.ask(request.header("headwater-fragment", "1")).await
    }
}

/// Saves the connection `calls` and returns its tag.
async fn saved(service: &Service, sandbox: &Sandbox) -> String {
    let saved = service
        .post("/api/v1/connections", &new(sandbox, "Calls"))
        .await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    saved.tag.unwrap()
}

/// The fields of Clari Copilot that a form has an input for. What it only shows has none.
fn inputs(form: &str) -> Vec<&'static str> {
    let ids = [
        ("/api_key", "id=\"input-_2f_api_5f_key\""),
        ("/api_password", "id=\"input-_2f_api_5f_password\""),
        ("/base_url", "id=\"input-_2f_base_5f_url\""),
    ];
    let there = ids.into_iter().filter(|(_, id)| form.contains(id));
    there.map(|(name, _)| name).collect()
}

/// Status, who may frame it, and the text of a page.
async fn framed_by(service: &Service, path: &str) -> (u16, String, String) {
    let answer = service.request(Method::GET, path).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str();
    let policy = policy.unwrap().to_owned();
    let (_, by) = policy.split_once("frame-ancestors ").unwrap();
    let by = by.split(';').next().unwrap().to_owned();
    (answer.status().as_u16(), by, answer.text().await.unwrap())
}

#[tokio::test]
async fn an_embed_chooses_no_name_skips_no_test_and_learns_no_name() {
    let (sandbox, service) = (unlimited_sandbox(20).await, embedding());
    saved(&service, &sandbox).await;
    let embed = Embed::to_add(&service).await;
    let form = embed.form(&service).await;
    assert!(!form.text.contains("save-untested"), "{}", form.text);
    for (field, value) in [("name", json!("mine")), ("test", json!(false))] {
        let mut body = new(&sandbox, "Calls");
        body[field] = value;
        let refused = embed.post(&service, "/api/v1/connections", &body).await;
        assert_eq!(
            refused.problem(),
            (403, "embed_limited".to_owned()),
            "{field}"
        );
    }
    let wrong = json!({ "connector": "clari-copilot", "title": "Calls",
                        "config": { "api_key": "wrong", "api_password": "wrong", "base_url": sandbox.base_url() } });
    let refused = embed.post(&service, "/api/v1/connections", &wrong).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    // There is one of this title, whose name is `calls`.
    let body = new(&sandbox, "Calls");
    let added = embed.post(&service, "/api/v1/connections", &body).await;
    assert_eq!(added.status, 201, "{}", added.text);
    let name = added.json()["name"].as_str().unwrap().to_owned();
    let random = name.strip_prefix("calls-").unwrap();
    assert!(
        random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{name}"
    );
}

#[tokio::test]
async fn an_embed_adds_one_connection_and_is_spent() {
    let (sandbox, service) = (unlimited_sandbox(20).await, embedding());
    let embed = Embed::to_add(&service).await;
    let form = embed.form(&service).await;
    assert_eq!(form.status, 200, "{}", form.text);
    assert!(form.text.contains("data-overlay"), "{}", form.text);
    let draft = json!({ "config": config(&sandbox) });
    for step in ["validate", "probe"] {
        let path = format!("/api/v1/connectors/clari-copilot/{step}");
        let answer = embed.post(&service, &path, &draft).await;
        assert_eq!(answer.status, 200, "{step}: {}", answer.text);
    }
    // What was refused can be corrected.
    let mut wrong = new(&sandbox, "Calls");
    wrong["config"]["api_key"] = WRONG.into();
    let refused = embed.post(&service, "/api/v1/connections", &wrong).await;
    assert_eq!(refused.problem(), (422, "test_failed".to_owned()));
    assert!(!refused.text.contains(WRONG));
    let good = new(&sandbox, "Calls");
    let once = async |body: &Value| {
        let request = service.send(Method::POST, "/api/v1/connections", body);
        embed.ask(request.header("idempotency-key", "mine")).await
    };
    let saved = once(&good).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    // The same request again, since its answer may have been lost on the way, has the same answer.
    assert_eq!(once(&good).await.json(), saved.json());
    // What others change later is not shown to whoever filled in the form.
    let name = saved.json()["name"].as_str().unwrap().to_owned();
    let (path, tag) = (format!("/api/v1/connections/{name}"), saved.tag.unwrap());
    let change = json!({ "description": "not for every page" });
    assert_eq!(service.patch(&path, &tag, &change).await.status, 200);
    assert_eq!(once(&good).await.problem(), (401, "embed_spent".to_owned()));
    let another = embed.post(&service, "/api/v1/connections", &good).await;
    assert_eq!(another.problem(), (401, "embed_spent".to_owned()));
    let path = "/api/v1/connectors/clari-copilot/probe";
    let probed = embed.post(&service, path, &draft).await;
    assert_eq!(probed.problem(), (401, "embed_spent".to_owned()));
    assert_eq!(embed.form(&service).await.problem().0, 401);
    let (status, by, html) = framed_by(&service, &embed.url).await;
    assert_eq!((status, &*by), (410, ORIGIN));
    assert!(html.contains("data-code=\"spent\""), "{html}");
    let listed = service.get("/api/v1/connections").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn of_saves_at_once_one_is_carried_out() {
    let (sandbox, service) = (unlimited_sandbox(20).await, embedding());
    let embed = Embed::to_add(&service).await;
    let good = new(&sandbox, "Calls");
    let save = || embed.post(&service, "/api/v1/connections", &good);
    let (one, two, three) = tokio::join!(save(), save(), save());
    let mut statuses = [one.status, two.status, three.status];
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201, "{statuses:?}");
    let are_refused = statuses[1..]
        .iter()
        .all(|status| [401, 409].contains(status));
    assert!(are_refused, "{statuses:?}");
    let listed = service.get("/api/v1/connections").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_token_of_an_embed_opens_nothing_but_its_form() {
    let (sandbox, service) = (unlimited_sandbox(20).await, embedding());
    saved(&service, &sandbox).await;
    let other = new(&sandbox, "Other");
    assert_eq!(
        service.post("/api/v1/connections", &other).await.status,
        201
    );
    let add = Embed::to_add(&service).await;
    let edit = Embed::to(&service, "edit").await;
    let judge = "POST /api/v1/connectors/clari-copilot/validate";
    let permitted = [
        (
            &add,
            [
                judge,
                "POST /api/v1/connectors/clari-copilot/probe",
                "POST /api/v1/connections",
            ],
        ),
        (
            &edit,
            [
                judge,
                "POST /api/v1/connections/calls/probe-change",
                "PATCH /api/v1/connections/calls",
            ],
        ),
    ];
    let document = service.get("/api/v1/openapi.json").await.json();
    let mut asked = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            for (connector, connection) in [("clari-copilot", "calls"), ("claribi", "other")] {
                let path = path
                    .replace("{connector}", connector)
                    .replace("{connection}", connection)
                    .replace(['{', '}'], "");
                asked.push((method.to_uppercase(), path));
            }
        }
    }
    for page in [
        "/",
        "/sources/clari-copilot",
        "/sources/clari-copilot/add",
        "/connections",
        "/connections/calls",
        "/connections/calls/edit",
        "/connections/calls/rotate",
        "/connections/calls/streams",
        "/connections/calls/preview",
        "/syncs",
        "/login",
        "/logout",
        "/theme",
        "/nowhere",
        "/api/v1/connections/calls/",
        "/api/v1/connections/calls?x=1",
        "/api/v1/connections/c%61lls",
        "/api/v1/connections/calls/probe-change?x=1",
        "/api/v1/connectors/clari-copilot/probe/",
    ] {
        for method in ["GET", "POST", "PATCH", "HEAD"] {
            asked.push((method.to_owned(), page.to_owned()));
        }
    }
    let (mut refused, mut opened) = (0, 0);
    for (embed, permitted) in &permitted {
        let others = [&add, &edit].map(|other| (other, format!("{}/form", other.url)));
        let others = others.into_iter().filter(|(other, _)| other.id != embed.id);
        let forms = others.map(|(_, path)| ("GET".to_owned(), path));
        for (method, path) in asked.iter().cloned().chain(forms) {
            let what = format!("{method} {path}");
            let verb = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = embed.ask(service.request(verb, &path)).await;
            if permitted.contains(&&*what) {
                // It has no body, which is the next thing to be looked at.
                assert!(
                    [415, 428].contains(&answer.status),
                    "{what}: {}",
                    answer.status
                );
                opened += 1;
                continue;
            }
            assert_eq!(answer.status, 403, "{what}: {}", answer.text);
            if method != "HEAD" {
                assert_eq!(answer.problem().1, "embed_limited", "{what}");
            }
            refused += 1;
        }
    }
    assert!(refused > 200, "{refused}");
    assert!(opened >= 6, "{opened}");
    // The path is one thing, the body another.
    let config = json!({ "api_key": "claribi_sk_1" });
    let another = json!({ "connector": "claribi", "config": config, "test": false });
    let refused = add.post(&service, "/api/v1/connections", &another).await;
    assert_eq!(refused.problem(), (403, "embed_limited".to_owned()));
    // Nor is it exchanged for a session.
    let login = service
        .request(Method::POST, "/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={}", add.token));
    assert_eq!(Answer::of(login.send().await.unwrap()).await.status, 401);
}

#[tokio::test]
async fn each_purpose_changes_what_its_form_shows() {
    let (sandbox, service) = (unlimited_sandbox(20).await, embedding());
    let tag = saved(&service, &sandbox).await;
    let elsewhere = json!({ "config": { "base_url": "http://127.0.0.1:1", "api_key": "a", "api_password": "b" }, "test": false });
    let renamed = json!({ "title": "Mine" });
    let rotate = Embed::to(&service, "rotate").await;
    let form = rotate.form(&service).await.text;
    assert_eq!(inputs(&form), ["/api_key", "/api_password"]);
    let day = "9998-05-17";
    for (change, field) in [(&elsewhere, "/base_url"), (&renamed, "")] {
        let refused = rotate.change(&service, &tag, change).await;
        assert_eq!(refused.problem().0, 422, "{change}");
        assert_eq!(refused.pointers(), [field], "{change}");
    }
    let path = "/api/v1/connections/calls/probe-change";
    let draft = json!({ "config": elsewhere["config"] });
    assert_eq!(
        rotate.post(&service, path, &draft).await.pointers(),
        ["/base_url"]
    );
    // The title and the description come along with the form, and stay.
    let secrets = json!({ "title": "Calls", "description": "", "expires": day, "config": { "api_key": API_KEY, "api_password": API_PASSWORD } });
    let rotated = rotate.change(&service, &tag, &secrets).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    assert!(!rotated.text.contains(API_KEY));
    assert_eq!(rotated.json()["expires"], day);
    let tag = rotated.tag.unwrap();
    let spent = rotate.change(&service, &tag, &secrets).await;
    assert_eq!(spent.problem(), (401, "embed_spent".to_owned()));

    let edit = Embed::to(&service, "edit").await;
    let changed = edit.change(&service, &tag, &renamed).await;
    assert_eq!(changed.json()["title"], "Mine", "{}", changed.text);
    let tag = changed.tag.unwrap();
    let spent = edit.change(&service, &tag, &renamed).await;
    assert_eq!(spent.problem(), (401, "embed_spent".to_owned()));

    // A repair shows the fields at which the last test failed.
    let wrong = json!({ "config": { "api_key": WRONG }, "test": false });
    let broken = service
        .patch("/api/v1/connections/calls", &tag, &wrong)
        .await;
    assert_eq!(broken.status, 200, "{}", broken.text);
    let tested = service
        .post("/api/v1/connections/calls/probe", &json!({}))
        .await;
    assert_eq!(tested.status, 200);
    let tag = service.get("/api/v1/connections/calls").await.tag.unwrap();
    let repair = Embed::to(&service, "repair").await;
    let form = repair.form(&service).await.text;
    assert_eq!(inputs(&form), ["/api_key", "/api_password"]);
    let refused = repair.change(&service, &tag, &elsewhere).await;
    assert_eq!(refused.pointers(), ["/base_url"]);
    let later = json!({ "expires": "9999-01-02" });
    let refused = repair.change(&service, &tag, &later).await;
    assert_eq!(refused.json()["errors"][0]["member"], "expires");
    let repaired = json!({ "config": { "api_key": API_KEY } });
    let repaired = repair.change(&service, &tag, &repaired).await;
    assert_eq!(repaired.status, 200, "{}", repaired.text);
    assert_eq!(repaired.json()["health"], "working");
    // Where nothing failed, there is nothing to limit it to.
    let (tag, repair) = (repaired.tag.unwrap(), Embed::to(&service, "repair").await);
    let changed = repair
        .change(&service, &tag, &json!({ "title": "Ours" }))
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
}

#[tokio::test]
async fn an_address_that_failed_is_repaired_together_with_the_secrets_for_it() {
    let (sandbox, service) = (unlimited_sandbox(20).await, embedding());
    let mut lost = new(&sandbox, "Calls");
    lost["config"]["base_url"] = format!("{}/nowhere", sandbox.base_url()).into();
    lost["test"] = false.into();
    let saved = service.post("/api/v1/connections", &lost).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    service
        .post("/api/v1/connections/calls/probe", &json!({}))
        .await;
    let tag = service.get("/api/v1/connections/calls").await.tag.unwrap();
    let repair = Embed::to(&service, "repair").await;
    let form = repair.form(&service).await.text;
    assert_eq!(inputs(&form), ["/api_key", "/api_password", "/base_url"]);
    let repaired = json!({ "config": config(&sandbox) });
    let repaired = repair.change(&service, &tag, &repaired).await;
    assert_eq!(repaired.status, 200, "{}", repaired.text);
    assert_eq!(repaired.json()["health"], "working");
}

#[tokio::test]
async fn whoever_fills_in_a_form_elsewhere_names_nothing_of_this_machine() {
    let sandbox = unlimited_sandbox(20).await;
    let options = ["--embed-origin", ORIGIN, "--allow-references"];
    let service = Service::start(HEADWATER, &options);
    let tag = saved(&service, &sandbox).await;
    let mut body = new(&sandbox, "Mine");
    body["config"]["api_key"] = "env:HOME".into();
    let draft = json!({ "config": body["config"] });
    // With a token of the service that is permitted, and judged by the service that is asked.
    let path = "/api/v1/connectors/clari-copilot/validate";
    assert_eq!(service.post(path, &draft).await.json()["valid"], true);
    let add = Embed::to_add(&service).await;
    assert_eq!(
        add.post(&service, path, &draft).await.json()["valid"],
        false
    );
    let edit = Embed::to(&service, "edit").await;
    let path = "/api/v1/connections/calls/probe-change";
    for refused in [
        add.post(&service, "/api/v1/connections", &body).await,
        add.post(&service, "/api/v1/connectors/clari-copilot/probe", &draft)
            .await,
        edit.post(&service, path, &draft).await,
        edit.change(&service, &tag, &draft).await,
    ] {
        assert_eq!(refused.problem().0, 422, "{}", refused.text);
        assert_eq!(refused.pointers(), ["/api_key"]);
        assert_eq!(refused.json()["errors"][0]["code"], "reference_not_allowed");
    }
}

#[tokio::test]
async fn embeds_are_made_for_named_origins_and_whole_wishes_only() {
    let (sandbox, service) = (unlimited_sandbox(20).await, embedding());
    saved(&service, &sandbox).await;
    let add = |origin: &str| json!({ "origin": origin, "connector": "clari-copilot" });
    let cases = [
        (add("https://evil.example"), 403, "origin_not_allowed"),
        (add("https://sub.app.example"), 403, "origin_not_allowed"),
        (add("https://app.example:8443"), 403, "origin_not_allowed"),
        (add("*"), 422, "form_invalid"),
        (add("https://app.example/path"), 422, "form_invalid"),
        (add("http://app.example"), 422, "form_invalid"),
        (
            add("https://app.example; script-src *"),
            422,
            "form_invalid",
        ),
        (json!({ "origin": ORIGIN }), 422, "form_invalid"),
        (
            json!({ "origin": ORIGIN, "connection": "calls" }),
            422,
            "form_invalid",
        ),
        (
            json!({ "origin": ORIGIN, "connection": "calls", "purpose": "delete" }),
            400,
            "bad_request",
        ),
        (
            json!({ "origin": ORIGIN, "connector": "clari-copilot", "purpose": "edit" }),
            422,
            "form_invalid",
        ),
        (
            json!({ "origin": ORIGIN, "connector": "clari-copilot", "connection": "calls", "purpose": "edit" }),
            422,
            "form_invalid",
        ),
        (
            json!({ "origin": ORIGIN, "connector": "nothing" }),
            404,
            "not_found",
        ),
        (
            json!({ "origin": ORIGIN, "connection": "nothing", "purpose": "edit" }),
            404,
            "not_found",
        ),
        (json!({ "connector": "clari-copilot" }), 400, "bad_request"),
    ];
    for (body, status, code) in cases {
        let refused = service.post("/api/v1/embeds", &body).await;
        assert_eq!(
            refused.problem(),
            (status, code.to_owned()),
            "{body}: {}",
            refused.text
        );
    }
    let audit = service.get("/api/v1/audit").await.text;
    assert!(!audit.contains("embed:"), "{audit}");

    let closed = crate::serve::service();
    let refused = closed.post("/api/v1/embeds", &add(ORIGIN)).await;
    assert_eq!(refused.problem(), (403, "origin_not_allowed".to_owned()));
    assert!(refused.text.contains("--embed-origin"), "{}", refused.text);
    let home = tempfile::tempdir().unwrap();
    for origin in ["*", "https://app.example/", "http://app.example"] {
        let ran = command(HEADWATER)
            .args(["serve", "--embed-origin", origin])
            .env("HEADWATER_HOME", home.path())
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(2), "{origin}");
    }
}

#[tokio::test]
async fn only_the_frame_of_an_embed_may_be_framed_and_only_by_its_origin() {
    let (sandbox, service) = (unlimited_sandbox(20).await, embedding());
    saved(&service, &sandbox).await;
    let embed = Embed::to(&service, "edit").await;
    let (status, by, html) = framed_by(&service, &embed.url).await;
    assert_eq!((status, &*by), (200, ORIGIN));
    // It is the same for everybody, so that nothing is to be seen of the connection.
    for word in ["Calls", &sandbox.base_url(), &embed.token, "clari"] {
        assert!(!html.contains(word), "{word}: {html}");
    }
    for path in [
        "/embed/0123456789abcdef",
        "/embed/",
        "/embed/a/b",
        &format!("{}/form", embed.url),
        "/",
        "/connections/calls",
        "/connections/calls/edit",
        "/sources/clari-copilot/add",
        "/login",
        "/embed.js",
        "/api/v1/connections",
        "/healthz",
        "/nowhere",
    ] {
        let (_, by, _) = framed_by(&service, path).await;
        assert_eq!(by, "'none'", "{path}");
    }
    let script = service
        .request(Method::GET, "/embed.js")
        .send()
        .await
        .unwrap();
    let header = |name: &str| script.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("cross-origin-resource-policy"), "cross-origin");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-type").starts_with("text/javascript"));
    assert!(!header("cache-control").contains("immutable"));
}

#[tokio::test]
async fn two_doors_are_open_to_other_sites_and_only_where_embedding_is_on() {
    let (open, closed) = (embedding(), crate::serve::service());
    let embed = Embed::to_add(&open).await;
    let asked = async |service: &Service, method: Method, path: &str, mode: &str, dest: &str| {
        let request = service
            .request(method, path)
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", mode)
            .header("sec-fetch-dest", dest);
        request.send().await.unwrap().status().as_u16()
    };
    let form = format!("{}/form", embed.url);
    let deeper = format!("{}/", embed.url);
    let frame = ("navigate", "iframe");
    let script = ("no-cors", "script");
    for (method, path, (mode, dest), status) in [
        (Method::GET, &*embed.url, frame, 200),
        (Method::GET, "/embed.js", script, 200),
        (Method::POST, &*embed.url, frame, 403),
        (Method::GET, &*embed.url, script, 403),
        (Method::GET, &*embed.url, ("cors", "empty"), 403),
        (Method::GET, &*embed.url, ("navigate", "object"), 403),
        (Method::GET, &*embed.url, ("navigate", "embed"), 403),
        (Method::GET, &*form, frame, 403),
        (Method::GET, &*deeper, frame, 403),
        (Method::GET, "/embed.js", ("cors", "script"), 403),
        (Method::GET, "/embed.js", ("no-cors", "image"), 403),
        (Method::GET, "/", frame, 403),
        (Method::GET, "/connections", frame, 403),
        (Method::GET, "/assets/console.js", script, 403),
        (Method::GET, "/api/v1/connections", script, 403),
        (Method::POST, "/api/v1/embeds", ("cors", "empty"), 403),
        (Method::GET, "/healthz", frame, 403),
    ] {
        let answer = asked(&open, method.clone(), path, mode, dest).await;
        assert_eq!(answer, status, "{method} {path} {mode} {dest}");
    }
    for (path, (mode, dest)) in [(&*embed.url, frame), ("/embed.js", script)] {
        assert_eq!(
            asked(&closed, Method::GET, path, mode, dest).await,
            403,
            "{path}"
        );
    }
}

#[tokio::test]
async fn where_tokens_are_needed_the_frame_needs_its_own_and_made_by_an_admin() {
    let home = tempfile::tempdir().unwrap();
    let token = |name: &'static str| {
        let made = command(HEADWATER)
            .args(["token", "add", name, "--scope", name])
            .env("HEADWATER_HOME", home.path().join("home"))
            .output()
            .unwrap();
        let text = String::from_utf8(made.stdout).unwrap();
        let token = text.split_whitespace().find(|word| word.starts_with("hw_"));
        token.unwrap().to_owned()
    };
    let (user, admin) = (token("use"), token("admin"));
    let sandbox = unlimited_sandbox(20).await;
    let options = ["--development", "--require-token", "--embed-origin", ORIGIN];
    let service = Service::start_in(home, HEADWATER, &options);
    let body = json!({ "origin": ORIGIN, "connector": "clari-copilot" });
    let make = async |token: &str| {
        let request = service.send(Method::POST, "/api/v1/embeds", &body);
        Answer::of(request.bearer_auth(token).send().await.unwrap()).await
    };
    // Nobody hands out more than they have.
    assert_eq!(
        make(&user).await.problem(),
        (403, "scope_missing".to_owned())
    );
    let made = make(&admin).await.json();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let embed = Embed {
        id: text("id"),
        token: text("token"),
        url: text("url"),
    };
    // An embed makes no embeds.
    assert_eq!(make(&embed.token).await.problem().1, "embed_limited");
    assert_eq!(service.get(&embed.url).await.status, 200);
    let path = format!("{}/form", embed.url);
    assert_eq!(service.get(&path).await.status, 401);
    let as_admin = service.request(Method::GET, &path).bearer_auth(&admin);
    assert_eq!(Answer::of(as_admin.send().await.unwrap()).await.status, 403);
    assert_eq!(embed.form(&service).await.status, 200);
    // Forms that were left open somewhere are no guesses, which would shut out all who come by the same address.
    for _ in 0..20 {
        let request = service.request(Method::GET, &path);
        let late = request.bearer_auth("hwe_0123456789abcdef_00");
        let late = Answer::of(late.send().await.unwrap()).await;
        assert_eq!(late.problem(), (401, "embed_unknown".to_owned()));
    }
    let good = new(&sandbox, "Calls");
    let saved = embed.post(&service, "/api/v1/connections", &good).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    let audit = service
        .request(Method::GET, "/api/v1/audit")
        .bearer_auth(&admin);
    let audit = Answer::of(audit.send().await.unwrap()).await;
    let rows = audit.json()["items"].as_array().unwrap().clone();
    let row = |who: &str, what: &str| {
        let is_it = |row: &Value| row["who"] == who && row["what"] == what;
        assert!(rows.iter().any(is_it), "{who}: {what} is not in {rows:#?}");
    };
    let id = &embed.id;
    row("admin", &format!("embed:{id} made to add clari-copilot"));
    row(&format!("embed:{id} by admin"), "created");
    for secret in [&embed.token, API_KEY, API_PASSWORD] {
        assert!(!audit.text.contains(secret));
    }
}
