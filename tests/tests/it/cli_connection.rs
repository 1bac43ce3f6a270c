//! `headwater connection`: saving, showing, testing, changing and removing configs, with no secret in sight.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use acceptance::{
    binary::{Ran, command, files},
    connector,
    postgres::Postgres,
    terminal::Session,
    unlimited_sandbox,
};
use headwater_sandbox::{API_KEY, API_PASSWORD};
use headwater_store::{Actor, Label, NewConnection, Store, StoreLocation};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";
const SECOND_KEY: &str = "Hq7canaryV2";

/// A home of its own, with a config of the simulator in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new(base_url: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write(
            "copilot.json",
            &json!({ "api_key": API_KEY, "api_password": API_PASSWORD, "base_url": base_url }),
        );
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, answer: &Value) {
        fs::write(self.path().join(name), answer.to_string()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(HEADWATER);
        command
            .arg("connection")
            .args(arguments)
            .current_dir(self.path())
            .env("HEADWATER_HOME", self.path().join("home"))
            .env("TEST_PASSWORD", API_PASSWORD);
        command
    }

    /// Runs a command that shows no secret.
    fn run(&self, arguments: &[&str]) -> Ran {
        let ran: Ran = self.command(arguments).output().unwrap().into();
        assert_silent(&ran);
        ran
    }

    /// Runs a command that does its work.
    fn good(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.all());
        ran
    }

    /// Runs a command that is refused, with a sentence that says this.
    fn refused(&self, arguments: &[&str], code: i32, says: &str) {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.all());
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }

    fn add(&self) {
        self.good(&["add", "copilot", ID, "--config", "copilot.json"]);
    }

    fn store(&self) -> StoreLocation {
        StoreLocation::File(self.path().join("home/store.db"))
    }
}

fn assert_silent(ran: &Ran) {
    for secret in [SECOND_KEY, API_KEY, API_PASSWORD] {
        assert!(!ran.all().contains(secret), "{}", ran.all());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_added_shown_tested_and_removed() {
    let sandbox = unlimited_sandbox(10).await;
    let home = Home::new(&sandbox.base_url());
    assert_eq!(home.good(&["list", "--json"]).json(), json!([]));
    let added = home.good(&[
        "add",
        "copilot",
        ID,
        "--config",
        "copilot.json",
        "--set",
        "api_password=env:TEST_PASSWORD",
    ]);
    assert!(
        added.out.contains("Clari Copilot accepted the key pair"),
        "{}",
        added.out
    );
    assert!(added.out.contains("saved copilot in "), "{}", added.out);

    let shown = home.good(&["show", "copilot"]).out;
    for line in [
        "copilot (clari-copilot)",
        "set, sealed",
        "set, the environment variable \"TEST_PASSWORD\"",
        &sandbox.base_url(),
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let shown = home.good(&["show", "copilot", "--json"]).json();
    assert_eq!(shown["secrets"]["/api_key"]["kind"], "sealed");
    assert_eq!(shown["secrets"]["/api_password"]["kind"], "reference");
    assert_eq!(shown["config"], json!({ "/base_url": sandbox.base_url() }));

    let listed = home.good(&["list", "--json"]).json();
    assert_eq!(
        (&listed[0]["connection"], &listed[0]["problem"]),
        (&json!("copilot"), &Value::Null)
    );
    assert!(
        home.good(&["list"])
            .out
            .contains("copilot     clari-copilot")
    );
    let tested = home.good(&["test", "copilot", "--json"]).json();
    assert_eq!(
        (&tested["connection"], &tested["connector"]),
        (&json!("copilot"), &json!(ID))
    );
    assert_eq!(tested["outcome"], "passed");

    home.refused(
        &["remove", "copilot"],
        2,
        "removing copilot also removes 1 secret and 0 runs; confirm with --yes",
    );
    let removed = home.good(&["remove", "copilot", "--yes"]);
    assert_eq!(removed.out, "removed copilot with 1 secret and 0 runs\n");
    home.refused(
        &["show", "copilot"],
        4,
        "there is no connection \"copilot\"",
    );
    home.refused(&["remove", "copilot", "--yes"], 4, "there is no connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_saved_that_the_service_refuses() {
    let sandbox = unlimited_sandbox(10).await;
    let home = Home::new(&sandbox.base_url());
    home.write("bad.json", &json!({ "api_key": SECOND_KEY, "api_password": API_PASSWORD, "base_url": sandbox.base_url() }));
    home.refused(
        &["add", "copilot", ID, "--config", "bad.json"],
        3,
        "nothing was saved, because the test failed",
    );
    let failed = home.run(&["add", "copilot", ID, "--config", "bad.json", "--json"]);
    assert_eq!(failed.code, Some(3));
    assert_eq!(failed.json()["saved"], false);
    assert_eq!(home.good(&["list", "--json"]).json(), json!([]));
    let saved = home
        .good(&[
            "add",
            "copilot",
            ID,
            "--config",
            "bad.json",
            "--no-test",
            "--json",
        ])
        .json();
    assert_eq!(
        (&saved["saved"], &saved["test"]),
        (&json!(true), &Value::Null)
    );
    let last_check = || home.good(&["show", "copilot", "--json"]).json()["last_check"].clone();
    assert_eq!(last_check(), Value::Null);
    assert_eq!(home.run(&["test", "copilot"]).code, Some(3));
    // Kept for whoever looks next.
    let failed = last_check();
    assert_eq!(
        (&failed["outcome"], &failed["code"]),
        (&json!("failed"), &json!("unauthenticated"))
    );
    let listed = home.good(&["list"]).out;
    assert!(listed.contains("failed"), "{listed}");
    // New secrets cure it.
    home.write("good.json", &json!({ "api_key": API_KEY }));
    let rotated = home.good(&["rotate", "copilot", "--config", "good.json"]);
    assert!(
        rotated.out.contains("changed API Key of copilot"),
        "{}",
        rotated.out
    );
    assert_eq!(last_check()["outcome"], "passed");
    let shown = home.good(&["show", "copilot"]).out;
    assert!(shown.contains("all checks passed"), "{shown}");
    home.good(&["test", "copilot"]);
}

/// A store that takes no result of a test, as a full disk would.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_is_refused_shows_in_the_health_of_its_connection() {
    let sandbox = unlimited_sandbox(10).await;
    let home = Home::new(&sandbox.base_url());
    home.add();
    let health = || {
        let listed = home.good(&["list", "--json"]).json()[0].clone();
        let shown = home.good(&["show", "copilot", "--json"]).json();
        assert_eq!(listed["health"], shown["health"]);
        assert_eq!(listed["last_sync"], shown["last_sync"]);
        shown
    };
    assert_eq!(health()["health"], "working");
    sandbox.set_faults("status=401:9999".parse().unwrap());
    let sync = || -> Ran {
        let mut command = command(HEADWATER);
        command.args(["sync", "copilot", "--to", "sqlite:records.db"]);
        command.current_dir(home.path());
        command.env("HEADWATER_HOME", home.path().join("home"));
        command.output().unwrap().into()
    };
    assert_eq!(sync().code, Some(3));
    let seen = health();
    assert_eq!(seen["health"], "needs_attention", "{seen}");
    assert_eq!(seen["last_check"]["outcome"], "passed");
    assert_eq!(seen["last_sync"]["code"], "unauthenticated");
    let listed = home.good(&["list"]).out;
    assert!(listed.contains("needs attention"), "{listed}");
    let shown = home.good(&["show", "copilot"]).out;
    assert!(
        shown.contains("last sync") && shown.contains("failed"),
        "{shown}"
    );
    sandbox.set_faults(Default::default());
    home.good(&["test", "copilot"]);
    assert_eq!(health()["health"], "needs_attention");
    let whole = sync();
    assert_eq!(whole.code, Some(0), "{}", whole.all());
    assert_eq!(health()["health"], "working");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_test_said_is_told_also_where_it_cannot_be_kept() {
    let sandbox = unlimited_sandbox(10).await;
    let home = Home::new(&sandbox.base_url());
    home.add();
    let store = rusqlite::Connection::open(home.path().join("home/store.db")).unwrap();
    let broken = "CREATE TRIGGER full BEFORE UPDATE OF last_check ON headwater_connections \
                  WHEN NEW.last_check IS NOT NULL BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    store.execute_batch(broken).unwrap();
    home.write(
        "good.json",
        &json!({ "api_key": API_KEY, "api_password": API_PASSWORD }),
    );
    for (arguments, says) in [
        (&["test", "copilot"][..], "accepted the key pair"),
        (&["rotate", "copilot", "--config", "good.json"], "changed "),
        (
            &["add", "other", ID, "--config", "copilot.json"],
            "saved other",
        ),
    ] {
        let ran = home.good(arguments);
        assert!(ran.out.contains(says), "{}", ran.all());
        assert!(ran.err.contains("was not saved"), "{}", ran.all());
    }
    assert_eq!(
        home.good(&["list", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_the_service_refuses_changes_nothing() {
    let sandbox = unlimited_sandbox(10).await;
    let home = Home::new(&sandbox.base_url());
    home.add();
    home.write("bad.json", &json!({ "api_key": SECOND_KEY }));
    home.refused(
        &["rotate", "copilot", "--config", "bad.json"],
        3,
        "nothing was saved, because the test failed",
    );
    home.good(&["test", "copilot"]);
    assert_eq!(
        home.good(&["show", "copilot", "--json"]).json()["version"],
        1
    );
    for (arguments, says) in [
        (
            &["rotate", "copilot"][..],
            "a new secret is missing and there is no terminal to ask at",
        ),
        (
            &["rotate", "copilot", "--set", "api_key=Hq7canaryV2"],
            "API Key is a secret, and every user of this machine can see arguments",
        ),
        (
            &["rotate", "copilot", "--set", "base_url=https://example.com"],
            "is sent nowhere else; enter it again",
        ),
        (
            &["rotate", "copilot", "--set", "no_such=1"],
            "is not a field of this form",
        ),
        (
            &[
                "rotate",
                "copilot",
                "--set",
                &format!("base_url={}", sandbox.base_url()),
            ],
            "nothing would change",
        ),
        (
            &["rotate", "copilot", "--set", "api_key=env:NOT_SET_ANYWHERE"],
            "is not set",
        ),
    ] {
        home.refused(arguments, 2, says);
    }
    let rotated = home
        .good(&[
            "rotate",
            "copilot",
            "--set",
            "api_password=env:TEST_PASSWORD",
            "--json",
        ])
        .json();
    assert_eq!(rotated["changed"], json!(["API Password"]));
    let shown = home.good(&["show", "copilot", "--json"]).json();
    assert_eq!(shown["secrets"]["/api_password"]["kind"], "reference");
    assert_eq!(shown["version"], 2);
    home.good(&["test", "copilot"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_secrets_is_kept_until_there_are_new_ones() {
    let sandbox = unlimited_sandbox(10).await;
    let home = Home::new(&sandbox.base_url());
    let add = [
        "add",
        "copilot",
        ID,
        "--config",
        "copilot.json",
        "--expires",
    ];
    for (day, says) in [
        ("soon", "this is not a date; write it like 2027-01-31"),
        (
            "2020-05-17",
            "2020-05-17 has passed; enter a future date, or leave it empty",
        ),
    ] {
        home.refused(&[&add[..], &[day]].concat(), 2, says);
    }
    home.good(&[&add[..], &["9998-05-17"]].concat());
    let expires = || home.good(&["show", "copilot", "--json"]).json()["expires"].clone();
    assert_eq!(expires(), "9998-05-17");
    assert!(home.good(&["show", "copilot"]).out.contains("9998-05-17"));
    assert_eq!(
        home.good(&["list", "--json"]).json()[0]["expires"],
        "9998-05-17"
    );
    let rotate = ["rotate", "copilot", "--no-test", "--set"];
    home.good(
        &[
            &rotate[..],
            &["base_url=https://example.com", "--config", "copilot.json"],
        ]
        .concat(),
    );
    assert_eq!(
        expires(),
        Value::Null,
        "new secrets have an end of their own"
    );
    let password = ["api_password=env:TEST_PASSWORD", "--expires", "9999-01-02"];
    home.good(&[&rotate[..], &password].concat());
    assert_eq!(expires(), "9999-01-02");
}

#[test]
fn the_way_to_sign_in_is_shown_with_what_belongs_to_it() {
    let home = Home::new("https://example.com");
    home.write(
        "bi.json",
        &json!({ "auth": { "style": "bearer", "api_key": SECOND_KEY } }),
    );
    home.good(&["add", "bi", "claribi", "--config", "bi.json", "--no-test"]);
    let shown = home.good(&["show", "bi", "--json"]).json();
    assert_eq!(shown["config"]["/auth/style"], "bearer");
    assert_eq!(shown["secrets"]["/auth/api_key"]["kind"], "sealed");
    assert!(home.good(&["show", "bi"]).out.contains("bearer"));
}

/// Titles come from the service; the command line shows them.
#[test]
fn a_title_is_shown_beside_the_name() {
    let home = Home::new("https://example.com");
    home.good(&[
        "add",
        "copilot",
        ID,
        "--config",
        "copilot.json",
        "--no-test",
    ]);
    home.good(&["add", "plain", ID, "--config", "copilot.json", "--no-test"]);
    let mut store = Store::open(&home.store(), None).unwrap();
    let connection = store.get("copilot").unwrap();
    let label = Label {
        title: "Copilot – Ana",
        description: "two\nlines",
        expires: None,
    };
    store.describe(&connection, label, &Actor::local()).unwrap();
    let listed = home.good(&["list"]).out;
    assert!(listed.contains("copilot (Copilot – Ana)"), "{listed}");
    assert!(!listed.contains("plain (plain)"), "{listed}");
    let listed = home.good(&["list", "--json"]).json();
    assert_eq!(listed[0]["title"], "Copilot – Ana");
    assert_eq!(listed[1]["title"], "plain");
    let shown = home.good(&["show", "copilot"]).out;
    assert!(
        shown.contains("Copilot – Ana") && shown.contains("two lines"),
        "{shown}"
    );
    let shown = home.good(&["show", "copilot", "--json"]).json();
    assert_eq!(
        (&shown["title"], &shown["description"]),
        (&json!("Copilot – Ana"), &json!("two\nlines"))
    );
    assert_eq!(shown["created_by"], "local");
}

#[test]
fn bad_calls_are_refused_before_anything_is_made() {
    let home = Home::new("https://example.com");
    for (arguments, code, says) in [
        (
            &["list", "--store", "postgres://me:Hq7canaryV2@127.0.0.1/db"][..],
            2,
            "put the URL of the store with its password into",
        ),
        (
            &["list", "--store", "mysql://127.0.0.1/db"],
            2,
            "a store is a file, or a database postgres://",
        ),
        (
            &["list", "--store", "postgres://127.0.0.1:1/db"],
            2,
            "one key for all hosts",
        ),
        (
            &["list", "--key", "Hq7canaryV2"],
            2,
            "the store's key is a reference, never the key itself",
        ),
        (
            &["list", "--key", "env:NOT_SET_ANYWHERE"],
            2,
            "which is not set",
        ),
        (
            &["list", "--key", "env:TEST_PASSWORD"],
            2,
            "neither 64 hex digits nor 32 bytes in base64",
        ),
    ] {
        home.refused(arguments, code, says);
        assert_eq!(files(&home.path().join("home")), Vec::<String>::new());
    }
    for (arguments, code, says) in [
        (
            &["add", "Not a name", ID, "--config", "copilot.json"][..],
            2,
            "cannot be called \"Not a name\"",
        ),
        (
            &["add", "a", "no-such", "--config", "copilot.json"],
            4,
            "no-such",
        ),
        (&["add", "a", ID], 2, "a config is missing"),
        (&["show", "a"], 4, "there is no connection \"a\""),
        (&["test", "a"], 4, "there is no connection \"a\""),
        (&["rotate", "a"], 4, "there is no connection \"a\""),
    ] {
        home.refused(arguments, code, says);
    }
    home.good(&["add", "a", ID, "--config", "copilot.json", "--no-test"]);
    home.refused(
        &["add", "a", ID, "--config", "copilot.json", "--no-test"],
        2,
        "the connection a exists already",
    );
    let ran: Ran = home
        .command(&["list"])
        .env("HEADWATER_STORE_KEY", "ab".repeat(32))
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("the key is not that of the store"),
        "{}",
        ran.err
    );
    let key = home.path().join("home/store.db.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    home.refused(&["list"], 2, "is readable by other users");
    fs::remove_file(&key).unwrap();
    home.refused(&["list"], 2, "its key file");
    assert!(!key.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_that_is_left_holds_a_secret() {
    let sandbox = unlimited_sandbox(10).await;
    let home = Home::new(&sandbox.base_url());
    home.add();
    home.good(&["rekey"]);
    fs::remove_file(home.path().join("copilot.json")).unwrap();
    home.good(&["test", "copilot"]);
    let all = Command::new("find")
        .arg(home.path())
        .args(["-type", "f", "-exec", "cat", "{}", "+"])
        .output()
        .unwrap()
        .stdout;
    assert!(all.len() > 10_000);
    for secret in [API_KEY, API_PASSWORD] {
        assert!(
            !all.windows(secret.len())
                .any(|window| window == secret.as_bytes())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_be_anywhere_that_a_reference_leads_to() {
    let sandbox = unlimited_sandbox(10).await;
    let home = Home::new(&sandbox.base_url());
    fs::write(home.path().join("key"), "cd".repeat(32)).unwrap();
    home.good(&[
        "add",
        "copilot",
        ID,
        "--config",
        "copilot.json",
        "--key",
        "file:key",
    ]);
    assert!(!home.path().join("home/store.db.key").exists());
    home.refused(&["list"], 2, "restore the file, or give the key");
    let ran: Ran = home
        .command(&["test", "copilot"])
        .env("HEADWATER_STORE_KEY_REF", "command:cat key")
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    home.refused(&["rekey", "--key", "file:key"], 2, "as in NEW,OLD");
    fs::write(
        home.path().join("keys"),
        format!("{}\n{}\n", "ef".repeat(32), "cd".repeat(32)),
    )
    .unwrap();
    let rekeyed = home.good(&["rekey", "--key", "file:keys", "--json"]).json();
    assert_eq!(
        (&rekeyed["resealed"], &rekeyed["unreadable"]),
        (&json!(1), &json!([]))
    );
    home.refused(
        &["list", "--key", "file:key"],
        2,
        "the key is not that of the store",
    );
    fs::write(home.path().join("key"), "ef".repeat(32)).unwrap();
    home.good(&["test", "copilot", "--key", "file:key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_a_shared_database_works_the_same() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = tokio::task::spawn_blocking(|| server.database())
        .await
        .unwrap();
    let sandbox = unlimited_sandbox(10).await;
    let home = Home::new(&sandbox.base_url());
    let good = |arguments: &[&str]| -> Ran {
        let mut command = home.command(arguments);
        let ran: Ran = command
            .env("HEADWATER_STORE", &url)
            .env("HEADWATER_STORE_KEY", "ab".repeat(32))
            .output()
            .unwrap()
            .into();
        assert_silent(&ran);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.all());
        ran
    };
    good(&["add", "copilot", ID, "--config", "copilot.json"]);
    good(&["test", "copilot"]);
    good(&[
        "rotate",
        "copilot",
        "--set",
        "api_password=env:TEST_PASSWORD",
    ]);
    assert_eq!(good(&["list", "--json"]).json()[0]["secrets"], 1);
    good(&["remove", "copilot", "--yes"]);
    assert_eq!(files(&home.path().join("home")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_secrets_are_asked_for_and_a_removal_is_confirmed() {
    let sandbox = unlimited_sandbox(10).await;
    let home = Home::new(&sandbox.base_url());
    let bad = json!({ "api_key": SECOND_KEY, "api_password": API_PASSWORD, "base_url": sandbox.base_url() });
    home.write("bad.json", &bad);
    home.good(&["add", "copilot", ID, "--config", "bad.json", "--no-test"]);
    let store = home.path().join("home/store.db").display().to_string();
    let session = |arguments: &[&str]| {
        let before = ["connection", "--store", &store];
        Session::start(HEADWATER, &[&before, arguments].concat())
    };

    let mut rotate = session(&["rotate", "copilot"]);
    rotate.wait_for("A blank secret stays unchanged.");
    rotate.wait_for("API Key: ");
    rotate.type_line(API_KEY);
    rotate.wait_for("API Password: ");
    rotate.type_line("");
    let (code, rest) = rotate.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("changed API Key of copilot"), "{rest}");
    assert!(!rest.contains(API_KEY), "{rest}");
    home.good(&["test", "copilot"]);

    let mut remove = session(&["remove", "copilot"]);
    remove.wait_for("Remove copilot with 2 secrets and 0 runs? [y/N]: ");
    remove.type_line("");
    assert_eq!(remove.end().0, Some(130));
    home.good(&["show", "copilot"]);
    let mut remove = session(&["remove", "copilot"]);
    remove.wait_for("[y/N]: ");
    remove.type_line("y");
    assert_eq!(remove.end().0, Some(0));
    assert_eq!(home.good(&["list", "--json"]).json(), json!([]));
}

/// Killed at any moment, everything can be read, and the next call goes on.
#[test]
fn a_rotation_that_is_killed_goes_on() {
    const CONNECTIONS: usize = 60;
    let home = Home::new("https://example.com");
    let form = connector(ID).form().unwrap();
    let answer = json!({ "api_key": SECOND_KEY, "api_password": API_PASSWORD });
    let mut store = Store::open(&home.store(), None).unwrap();
    for number in 0..CONNECTIONS {
        let new = NewConnection {
            name: &format!("c{number}"),
            label: Label::default(),
            connector: ID,
            answer: &answer,
        };
        store.add(&form, &new, &Actor::local()).unwrap();
    }
    drop(store);
    let started = Instant::now();
    home.good(&["rekey"]);
    let whole = started.elapsed();
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut killed = 0;
    for _ in 0..40 {
        let mut rekey = home
            .command(&["rekey"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(whole.mul_f64(random.f64()).min(Duration::from_secs(5)));
        rekey.kill().unwrap();
        killed += usize::from(!rekey.wait().unwrap().success());
        let mut store = Store::open(&home.store(), None).unwrap();
        let listed = store.list(None, 2 * CONNECTIONS, None).unwrap();
        assert_eq!(listed.len(), CONNECTIONS);
        assert!(listed.iter().all(|one| one.problem.is_none()), "{listed:?}");
        let connection = store.get("c0").unwrap();
        let mut revealed = connection.config.clone();
        store.unseal(&form, &connection, &mut revealed).unwrap();
        assert_eq!(revealed, answer);
    }
    eprintln!("killed {killed} of 40");
    home.good(&["rekey"]);
    let keys = fs::read_to_string(home.path().join("home/store.db.key")).unwrap();
    assert_eq!(keys.lines().count(), 1);
}
