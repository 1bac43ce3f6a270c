//! Whoever comes over the network makes the service follow no reference, by whatever door and however it is written.

use std::{fs, path::Path};

use acceptance::{
    binary::{command, files},
    claribi::answer as good,
    service::{Answer, Service},
};
use headwater_sandbox::{ClaribiOptions, Sandbox, claribi::API_KEY};
use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};

use crate::serve::{HEADWATER, token, until};

const ORIGIN: &str = "https://app.example";
const STYLE: &str = "api_key_authorization";
const ORG: &str = "/api/v1/connections/org";

/// A service with tokens, and a folder in which commands leave a file when they are run.
struct Stage {
    sandbox: Sandbox,
    service: Service,
    admin: String,
    user: String,
}

impl Stage {
    /// With the connections `org` and `broken`, whose secrets are sealed; the second cannot be read.
    async fn start(options: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("made")).unwrap();
        let (admin, user) = (token(home.path(), "admin"), token(home.path(), "use"));
        let always = ["--development", "--require-token", "--embed-origin", ORIGIN];
        let all: Vec<&str> = always.iter().chain(options).copied().collect();
        let stage = Self {
            sandbox: Sandbox::start(ClaribiOptions::default()).await.unwrap(),
            service: Service::start_in(home, HEADWATER, &all),
            admin,
            user,
        };
        for name in ["org", "broken"] {
            let config = good(&stage.sandbox.base_url());
            let body =
                json!({ "connector": "claribi", "name": name, "config": config, "test": false });
            let saved = stage.post("/api/v1/connections", &body).await;
            assert_eq!(saved.status, 201, "{}", saved.text);
        }
        let store = rusqlite::Connection::open(stage.service.path().join("home/store.db")).unwrap();
        let damage = "UPDATE headwater_secrets SET key_id = 'another' WHERE connection = \
                      (SELECT id FROM headwater_connections WHERE name = 'broken')";
        assert!(store.execute(damage, []).unwrap() > 0);
        stage
    }

    /// A command that leaves a file.
    fn command(&self) -> String {
        format!("command:touch {}/here", self.made().display())
    }

    fn made(&self) -> std::path::PathBuf {
        self.service.path().join("made")
    }

    /// Whether the command was run since this was asked last.
    fn was_run(&self) -> bool {
        !files(&self.made()).is_empty() && fs::remove_file(self.made().join("here")).is_ok()
    }

    async fn ask(&self, token: &str, request: RequestBuilder) -> Answer {
        Answer::of(request.bearer_auth(token).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.service.send(Method::POST, path, body);
        self.ask(&self.admin, request).await
    }

    async fn get(&self, path: &str) -> Answer {
        let request = self.service.request(Method::GET, path);
        self.ask(&self.admin, request).await
    }

    /// The tag of a connection, also of one that cannot be read.
    async fn tag(&self, path: &str) -> String {
        let listed = self.get("/api/v1/connections").await.json();
        let rows = listed["items"].as_array().unwrap().clone();
        let row = rows
            .iter()
            .find(|row| path.ends_with(row["name"].as_str().unwrap()));
        format!("\"{}\"", row.unwrap()["revision"])
    }

    async fn patch(&self, token: &str, path: &str, body: &Value) -> Answer {
        let request = self.service.send(Method::PATCH, path, body);
        let request = request.header(header::IF_MATCH, self.tag(path).await);
        self.ask(token, request).await
    }

    /// The token of an embed.
    async fn embed(&self, what: Value) -> String {
        let mut body = what;
        body["origin"] = ORIGIN.into();
        let made = self.post("/api/v1/embeds", &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()["token"].as_str().unwrap().to_owned()
    }

    /// What a form of the console says after it was sent with this key.
    async fn form(&self, path: &str, key: &str, action: &str) -> Answer {
        let version = match path.strip_prefix("/connections/") {
            Some(rest) => self.tag(rest.split('/').next().unwrap()).await,
            None => String::new(),
        };
        let base_url = self.sandbox.base_url();
        let pairs = [
            ("version", version.trim_matches('"')),
            ("title", "Org"),
            ("/auth/style", STYLE),
            ("0:/auth/api_key", key),
            ("/base_url", &base_url),
            ("action", action),
        ];
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(pairs);
        let kind = "application/x-www-form-urlencoded";
        let request = self.service.request(Method::POST, path).body(body.finish());
        self.ask(&self.admin, request.header(header::CONTENT_TYPE, kind))
            .await
    }
}

/// A reference as it arrives, and what is left of it when it was tidied.
fn written(reference: &str) -> [String; 4] {
    [
        reference.to_owned(),
        format!(" {reference}"),
        format!("\"{reference}\""),
        format!("\u{feff}' \"{reference}\"'\t"),
    ]
}

/// Answers to how one signs in that have a reference somewhere, some of them in no place for it.
fn ways(reference: &str) -> Vec<Value> {
    let mut ways = Vec::new();
    for text in written(reference) {
        ways.extend([
            json!({ "style": STYLE, "api_key": text }),
            json!({ "api_key": text }),
            json!({ "style": "jwt", "email": "a@b.example", "password": text }),
            json!({ "style": STYLE, "api_key": API_KEY, "password": text }),
            json!({ "password": text }),
            json!({ "style": "another", "api_key": text }),
            json!({ "style": [STYLE], "api_key": text }),
        ]);
    }
    ways
}

/// Refused for its reference, and for nothing else.
fn assert_refused(answer: &Answer, what: &str) {
    let errors = answer.json()["errors"].as_array().cloned().unwrap();
    let codes: Vec<&str> = errors
        .iter()
        .map(|error| error["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["reference_not_allowed"], "{what}: {}", answer.text);
    match answer.status {
        200 => assert_eq!(answer.json()["valid"], false, "{what}"),
        status => assert_eq!(status, 422, "{what}: {}", answer.text),
    }
}

/// Tries this answer at every door of a change and of a new connection.
async fn try_doors(stage: &Stage, by_token: &str, auth: &Value, doors: &[&str]) {
    let base_url = stage.sandbox.base_url();
    let draft = json!({ "config": { "auth": auth, "base_url": base_url } });
    let change = json!({ "config": { "auth": auth } });
    for door in doors {
        let saves = door.starts_with("PATCH") || *door == "POST /api/v1/connections";
        for test in [true, false] {
            if !saves && !test {
                continue;
            }
            let (method, path) = door.split_once(' ').unwrap();
            let mut body = match path.contains("/connections/org") {
                true => change.clone(),
                false => draft.clone(),
            };
            if saves {
                body["test"] = test.into();
            }
            let answer = match method {
                "PATCH" => stage.patch(by_token, path, &body).await,
                _ => {
                    if saves {
                        body["connector"] = "claribi".into();
                    }
                    let request = stage.service.send(Method::POST, path, &body);
                    stage.ask(by_token, request).await
                }
            };
            let what = format!("{door} with {body}");
            assert!(!stage.was_run(), "{what}");
            assert_refused(&answer, &what);
        }
    }
}

const NEW: [&str; 3] = [
    "POST /api/v1/connectors/claribi/validate",
    "POST /api/v1/connectors/claribi/probe",
    "POST /api/v1/connections",
];
const CHANGES: [&str; 4] = [
    "PATCH /api/v1/connections/org",
    "POST /api/v1/connections/org/probe-change",
    "PATCH /api/v1/connections/broken",
    "POST /api/v1/connections/broken/probe-change",
];

#[tokio::test]
async fn no_door_follows_a_reference_that_came_over_the_network() {
    let stage = Stage::start(&[]).await;
    let before = stage.get(ORG).await.text;
    for auth in ways(&stage.command()) {
        try_doors(&stage, &stage.user, &auth, &NEW[..2]).await;
        try_doors(&stage, &stage.admin, &auth, &NEW).await;
        try_doors(&stage, &stage.admin, &auth, &CHANGES).await;
    }
    for text in written(&stage.command()) {
        for (path, actions) in [
            ("/sources/claribi/add", ["test", "save", "save-untested"]),
            ("/connections/org/edit", ["test", "save", "save-untested"]),
            ("/connections/org/rotate", ["test", "save", "save-untested"]),
            (
                "/connections/broken/edit",
                ["test", "save", "save-untested"],
            ),
        ] {
            for action in actions {
                let shown = stage.form(path, &text, action).await;
                assert!(!stage.was_run(), "{path} {action} {text}");
                assert_eq!(shown.status, 422, "{path} {action} {text}");
                let says = "which only its operator may do";
                assert!(shown.text.contains(says), "{path} {action} {text}");
            }
        }
    }
    assert_eq!(stage.get(ORG).await.text, before);
    let listed = stage.get("/api/v1/connections").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert_eq!(stage.sandbox.stats().requests, 0);
}

#[tokio::test]
async fn whoever_has_the_token_of_an_embed_names_nothing_whatever_the_operator_lets_others() {
    for options in [&[][..], &["--allow-references"]] {
        let stage = Stage::start(options).await;
        let add = stage.embed(json!({ "connector": "claribi" })).await;
        let edit = json!({ "connection": "org", "purpose": "edit" });
        let edit = stage.embed(edit).await;
        let rotate = json!({ "connection": "org", "purpose": "rotate" });
        let rotate = stage.embed(rotate).await;
        for auth in ways(&stage.command()) {
            try_doors(&stage, &add, &auth, &NEW).await;
            try_doors(&stage, &edit, &auth, &NEW[..1]).await;
            try_doors(&stage, &edit, &auth, &CHANGES[..2]).await;
            // Its form shows secrets only.
            let mut secrets = auth.clone();
            secrets.as_object_mut().unwrap().remove("style");
            secrets.as_object_mut().unwrap().remove("email");
            try_doors(&stage, &rotate, &secrets, &CHANGES[..2]).await;
        }
        assert_eq!(stage.sandbox.stats().requests, 0);
    }
}

#[tokio::test]
async fn where_the_operator_lets_them_references_are_followed_in_their_place_only() {
    let stage = Stage::start(&["--allow-references"]).await;
    let probe = "/api/v1/connectors/claribi/probe";
    let base_url = stage.sandbox.base_url();
    let draft = |auth: &Value| json!({ "config": { "auth": auth, "base_url": base_url } });
    for text in written(&stage.command()) {
        let in_place = json!({ "style": STYLE, "api_key": text });
        let answer = stage.post(probe, &draft(&in_place)).await;
        // What the command says is no key.
        assert_eq!(answer.problem().0, 422, "{}", answer.text);
        assert!(stage.was_run(), "{in_place}");
        let change = json!({ "config": { "auth": { "api_key": text } } });
        let answer = stage.patch(&stage.admin, ORG, &change).await;
        assert_eq!(answer.problem().0, 422, "{}", answer.text);
        assert!(stage.was_run(), "{change}");
    }
    for auth in ways(&stage.command()) {
        let chosen = auth["style"].as_str().unwrap_or_default();
        let is_in_place = match chosen {
            STYLE => auth["password"].is_null(),
            other => other == "jwt",
        };
        if is_in_place {
            continue;
        }
        let answer = stage.post(probe, &draft(&auth)).await;
        assert_eq!(answer.problem().0, 422, "{auth}: {}", answer.text);
        assert!(!stage.was_run(), "{auth}");
    }
    // What is pasted with a space is saved as the reference that it is.
    let key = stage.service.path().join("key");
    fs::write(&key, format!("{API_KEY}\n")).unwrap();
    let auth = json!({ "style": STYLE, "api_key": format!(" file:{} ", key.display()) });
    let mut body = draft(&auth);
    body["connector"] = "claribi".into();
    body["name"] = "referring".into();
    let saved = stage.post("/api/v1/connections", &body).await;
    assert_eq!(saved.status, 201, "{}", saved.text);
    assert_eq!(
        saved.json()["secrets"],
        json!([{ "pointer": "/auth/api_key", "kind": "reference" }])
    );
    assert_eq!(saved.json()["health"], "working");
}

/// Saves the connection `org`, whose key is in a file of this machine, as its operator does.
fn saved_by_the_operator(home: &Path, base_url: &str) -> String {
    let key = home.join("key");
    fs::write(&key, API_KEY).unwrap();
    let reference = format!("file:{}", key.display());
    let config = home.join("config.json");
    let auth = json!({ "style": STYLE, "api_key": reference });
    let answer = json!({ "auth": auth, "base_url": base_url });
    fs::write(&config, answer.to_string()).unwrap();
    let added = command(HEADWATER)
        .args(["connection", "add", "org", "claribi", "--no-test"])
        .arg("--config")
        .arg(&config)
        .env("HEADWATER_HOME", home.join("home"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&added.stderr);
    assert!(added.status.success(), "{said}");
    reference
}

#[tokio::test]
async fn a_reference_that_the_operator_saved_goes_on_working_and_leads_nowhere_else() {
    let sandbox = Sandbox::start(ClaribiOptions::default()).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let reference = saved_by_the_operator(home.path(), &sandbox.base_url());
    let options = ["--development", "--embed-origin", ORIGIN];
    let service = Service::start_in(home, HEADWATER, &options);
    let probed = service.post(&format!("{ORG}/probe"), &Value::Null).await;
    assert_eq!(probed.status, 200, "{}", probed.text);
    assert_eq!(service.get(ORG).await.json()["health"], "working");

    // Another field is changed, by the API, by a form in a frame, and with the reference as it is saved.
    let tag = async || service.get(ORG).await.tag.unwrap();
    let change = json!({ "config": { "stale_after_hours": 48 } });
    let changed = service.patch(ORG, &tag().await, &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let body = json!({ "origin": ORIGIN, "connection": "org", "purpose": "edit" });
    let embed = service.post("/api/v1/embeds", &body).await.json();
    let change = json!({ "config": { "stale_after_hours": 49 }, "test": false });
    let request = service.send(Method::PATCH, ORG, &change);
    let request = request.bearer_auth(embed["token"].as_str().unwrap());
    let changed = request.header(header::IF_MATCH, tag().await).send().await;
    let changed = Answer::of(changed.unwrap()).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let auth = json!({ "api_key": format!(" {reference}") });
    let change = json!({ "config": { "auth": auth, "stale_after_hours": 50 }, "test": false });
    let changed = service.patch(ORG, &tag().await, &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(changed.json()["config"]["stale_after_hours"], 50);

    // Another reference is refused, and so is this one for another address.
    let other = json!({ "config": { "auth": { "api_key": format!("{reference}x") } } });
    let refused = service.patch(ORG, &tag().await, &other).await;
    assert_refused(&refused, "another reference");
    let elsewhere = json!({ "config": { "base_url": "https://elsewhere.example" }, "test": false });
    let refused = service.patch(ORG, &tag().await, &elsewhere).await;
    assert_eq!(refused.json()["errors"][0]["code"], "give_again");
    // In a new connection it is no better than another one.
    let auth = json!({ "style": STYLE, "api_key": reference });
    let new = json!({ "connector": "claribi", "config": { "auth": auth, "base_url": sandbox.base_url() } });
    let refused = service.post("/api/v1/connections", &new).await;
    assert_refused(&refused, "a new connection");

    let preview = json!({ "stream": "data_sources", "limit": 1 });
    let shown = service.post(&format!("{ORG}/preview"), &preview).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let body = json!({ "streams": ["data_sources"] });
    let started = service.post(&format!("{ORG}/syncs"), &body).await;
    assert_eq!(started.status, 202, "{}", started.text);
    until("the end of the sync", async || {
        let sync = service.get("/api/v1/syncs/org.1").await.json();
        sync["status"] != "running"
    })
    .await;
    let sync = service.get("/api/v1/syncs/org.1").await.json();
    assert_eq!(sync["status"], "complete", "{sync}");
}
