//! Files that are obeyed: one that another user may change is refused, with the command that mends it.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use acceptance::{
    binary::{Ran, command},
    copilot, unlimited_sandbox,
};
use headwater_sandbox::{API_KEY, Sandbox};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";
const STRANGER: u32 = 4711;

struct Place(tempfile::TempDir);

impl Place {
    /// A folder with a config, a reference, an environment file, a state, two destinations and a store.
    fn new(sandbox: &Sandbox) -> Self {
        let place = Self(copilot::folder(&sandbox.base_url()));
        let mut config = copilot::answer(&sandbox.base_url());
        config["requests_per_second"] = 1000.into();
        place.put("key", API_KEY);
        config["api_key"] = "file:key".into();
        place.put("referring.json", &config.to_string());
        config["api_key"] = "env:CALLS_KEY".into();
        place.put("variables.json", &config.to_string());
        place.put("settings", &format!("CALLS_KEY={API_KEY}\n"));
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        place.put("certificate.pem", &certified.cert.pem());
        place.put("tls.pem", &certified.signing_key.serialize_pem());
        for arguments in [READ_STATE, SYNC_SQLITE, SYNC_PARQUET, ADD, TOKEN] {
            let ran = place.run(arguments);
            assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.all());
        }
        place
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
        fs::set_permissions(self.at(name), Permissions::from_mode(0o600)).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(HEADWATER);
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("HEADWATER_HOME", self.at("home"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }
}

const CHECK: &[&str] = &["check", ID, "--config", "config.json"];
const READ_STATE: &[&str] = &[
    "read",
    ID,
    "--config",
    "config.json",
    "--stream",
    "users",
    "--quiet",
    "--state",
    "state.json",
];
const SYNC_SQLITE: &[&str] = &[
    "sync",
    ID,
    "--config",
    "config.json",
    "--stream",
    "users",
    "--to",
    "sqlite:records.db",
];
const SYNC_PARQUET: &[&str] = &[
    "sync",
    ID,
    "--config",
    "config.json",
    "--stream",
    "users",
    "--to",
    "parquet:files",
];
const SHOW_SQLITE: &[&str] = &["state", "show", "sqlite:records.db", "--connection", ID];
const ADD: &[&str] = &["connection", "add", "calls", ID, "--config", "config.json"];
const TOKEN: &[&str] = &["token", "add", "one", "--scope", "admin"];
const LIST: &[&str] = &["connection", "list"];
/// Ends at once, since the address belongs to nothing here; a certificate is read before.
const SERVE: &[&str] = &[
    "serve",
    "--listen",
    "192.0.2.1:1",
    "--tls-certificate",
    "certificate.pem",
    "--tls-key",
    "tls.pem",
];

/// Each obeyed file, with a command that obeys it.
fn obeyed(place: &Place) -> Vec<(String, &'static [&'static str])> {
    let manifest = fs::read_dir(place.at("files/_headwater")).unwrap();
    let manifest = manifest
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .max()
        .unwrap();
    let referring: &[&str] = &["check", ID, "--config", "referring.json"];
    let variables: &[&str] = &[
        "check",
        ID,
        "--config",
        "variables.json",
        "--env-file",
        "settings",
    ];
    vec![
        ("config.json".to_owned(), CHECK),
        ("key".to_owned(), referring),
        ("settings".to_owned(), variables),
        ("state.json".to_owned(), READ_STATE),
        ("state.json".to_owned(), &["state", "show", "state.json"]),
        ("records.db".to_owned(), SYNC_SQLITE),
        ("records.db".to_owned(), SHOW_SQLITE),
        (format!("files/_headwater/{manifest}"), SYNC_PARQUET),
        ("home/store.db".to_owned(), LIST),
        ("home".to_owned(), LIST),
        ("home/store.db.key".to_owned(), LIST),
        ("certificate.pem".to_owned(), SERVE),
        ("tls.pem".to_owned(), SERVE),
    ]
}

/// The command in backticks that starts like this.
fn advice<'r>(ran: &'r Ran, start: &str) -> &'r str {
    let advised = ran.err.split('`').find(|text| text.starts_with(start));
    advised.unwrap_or_else(|| panic!("no `{start}…`: {}", ran.all()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_user_may_change_is_refused_with_the_command_that_mends_it() {
    let sandbox = unlimited_sandbox(6).await;
    let place = Place::new(&sandbox);
    for (name, arguments) in obeyed(&place) {
        let path = place.at(&name);
        let before = fs::metadata(&path).unwrap().permissions();
        let open = before.mode() | 0o006;
        fs::set_permissions(&path, Permissions::from_mode(open)).unwrap();
        let requests = sandbox.stats().requests;
        let refused = place.run(arguments);
        let is_written = name.starts_with("records") || name.starts_with("files");
        let code = if is_written { 74 } else { 2 };
        assert_eq!(refused.code, Some(code), "{name}: {}", refused.all());
        assert_eq!(sandbox.stats().requests, requests, "{name}");
        let mend = advice(&refused, "chmod");
        let mended = command("sh")
            .args(["-c", mend])
            .current_dir(place.0.path())
            .status();
        assert!(mended.unwrap().success(), "{mend}");
        if arguments != SERVE {
            fs::set_permissions(&path, before).unwrap();
            let ran = place.run(arguments);
            assert_eq!(ran.code, Some(0), "{name}, {mend}: {}", ran.all());
        }
    }
}

fn has_root(path: &Path) -> bool {
    let is_root = chown(path, Some(STRANGER), None).is_ok();
    if !is_root {
        eprintln!("SKIPPED: only a superuser gives files away");
    }
    is_root
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_user_owns_is_refused_until_that_user_is_trusted() {
    let sandbox = unlimited_sandbox(6).await;
    if !has_root(tempfile::NamedTempFile::new().unwrap().path()) {
        return;
    }
    let place = Place::new(&sandbox);
    for (name, arguments) in obeyed(&place) {
        let path = place.at(&name);
        chown(&path, Some(STRANGER), Some(STRANGER)).unwrap();
        let requests = sandbox.stats().requests;
        let refused = place.run(arguments);
        assert!(
            matches!(refused.code, Some(2 | 74)),
            "{name}: {}",
            refused.all()
        );
        let says = format!("belongs to another user ({STRANGER})");
        assert!(refused.err.contains(&says), "{name}: {}", refused.all());
        assert_eq!(sandbox.stats().requests, requests, "{name}");
        if arguments != SERVE {
            let mut trusting = place.command(arguments);
            trusting.env("HEADWATER_TRUSTED_USERS", format!("1,{STRANGER}"));
            let ran: Ran = trusting.output().unwrap().into();
            assert_eq!(ran.code, Some(0), "{name}: {}", ran.all());
        }
        if !path.exists() {
            // A run has replaced it.
            continue;
        }
        let mend = advice(&refused, "sudo chown").trim_start_matches("sudo ");
        let mended = command("sh")
            .args(["-c", mend])
            .current_dir(place.0.path())
            .status();
        assert!(mended.unwrap().success(), "{mend}");
        assert_eq!(fs::metadata(&path).unwrap().uid(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_a_stranger_put_there_grants_nothing() {
    let sandbox = unlimited_sandbox(6).await;
    if !has_root(tempfile::NamedTempFile::new().unwrap().path()) {
        return;
    }
    let place = Place::new(&sandbox);
    // The whole folder is the stranger's, as if the stranger had made it.
    for name in ["home", "home/store.db", "home/store.db.key"] {
        chown(place.at(name), Some(STRANGER), None).unwrap();
    }
    for arguments in [LIST, &["sync", "calls"], TOKEN] {
        let refused = place.run(arguments);
        assert_eq!(refused.code, Some(2), "{arguments:?}: {}", refused.all());
    }
    // All users are trusted where there are none, as in a container.
    let mut trusting = place.command(LIST);
    let ran: Ran = trusting
        .env("HEADWATER_TRUSTED_USERS", "all")
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    // SQLite would play a log of the stranger into a store of ours.
    let place = Place::new(&sandbox);
    let home = fs::metadata(place.at("home")).unwrap().permissions();
    fs::set_permissions(place.at("home"), Permissions::from_mode(0o1777)).unwrap();
    let refused = place.run(LIST);
    assert_eq!(refused.code, Some(2), "{}", refused.all());
    assert!(
        refused.err.contains("choose another folder"),
        "{}",
        refused.all()
    );
    fs::set_permissions(place.at("home"), home).unwrap();
    for ending in ["-wal", "-journal"] {
        let planted = place.at(&format!("home/store.db{ending}"));
        fs::write(&planted, "").unwrap();
        chown(&planted, Some(STRANGER), None).unwrap();
        let refused = place.run(LIST);
        assert_eq!(refused.code, Some(2), "{ending}: {}", refused.all());
        assert!(refused.err.contains(ending), "{}", refused.all());
        fs::remove_file(&planted).unwrap();
    }
    assert_eq!(place.run(LIST).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_privileges_does_everything_with_files_of_its_own() {
    let sandbox = unlimited_sandbox(6).await;
    let place = Place(copilot::folder(&sandbox.base_url()));
    let has_root = has_root(place.0.path());
    if has_root {
        chown(place.at("config.json"), Some(STRANGER), None).unwrap();
    }
    for arguments in [
        CHECK,
        READ_STATE,
        SYNC_SQLITE,
        SYNC_PARQUET,
        ADD,
        &["connection", "test", "calls"],
        &["sync", "calls", "--to", "sqlite:calls.db"],
        &["connection", "rekey"],
        LIST,
    ] {
        let mut command = place.command(arguments);
        if has_root {
            command.uid(STRANGER).gid(STRANGER);
        }
        let ran: Ran = command.output().unwrap().into();
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.all());
    }
}
