//! A disk that fails: the n-th call that changes a file below the output folder ends with "no space left" or "input/output
//! error", for every n until the run no longer makes so many. The run says so in one sentence, and the next one completes.
//!
//! And a disk without locks, on which two runs would write to one place.
//!
//! A small library is compiled with `cc` and preloaded into the real binary. Without a compiler these tests are skipped
//! and say so.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use acceptance::{
    binary::{Ran, command},
    copilot::answer,
    unlimited_sandbox, workspace,
};
use headwater_sandbox::Sandbox;
use parquet::file::{reader::FileReader, serialized_reader::SerializedFileReader};
use rusqlite::Connection;
use serde_json::Value;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";
/// No space left on device, and an error of the device.
const ERRORS: [i32; 2] = [28, 5];
/// More calls than any run makes here.
const MAX_CALLS: usize = 2_000;

/// The library that makes calls fail; none where it cannot be compiled.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let compile = || {
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fail_nth.so");
        // In one step, since each of these tests may be a process of its own.
        let own = built.with_extension(format!("{}.so", std::process::id()));
        let compiled = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&own)
            .arg(workspace().join("tests/faults/fail_nth.c"))
            .arg("-ldl")
            .output();
        let Ok(compiled) = compiled else {
            // Straight to the stream: what a macro prints is captured while the test passes.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED, no disk fails: there is no C compiler; install the package gcc"
            );
            return None;
        };
        let said = String::from_utf8_lossy(&compiled.stderr).into_owned();
        assert!(compiled.status.success(), "{said}");
        fs::rename(own, &built).unwrap();
        Some(built)
    };
    LIBRARY.get_or_init(compile).as_deref()
}

/// A folder for a run whose disk fails.
struct Case {
    folder: tempfile::TempDir,
    /// What comes after the name of the binary.
    arguments: Vec<String>,
}

/// A call that failed, and what the binary said of it.
struct Failed {
    /// `write /tmp/…/records.db-wal`
    call: String,
    ran: Ran,
}

impl Case {
    fn new(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.json");
        let mut answer = answer(&sandbox.base_url());
        answer["requests_per_second"] = 1000.into();
        fs::write(config, answer.to_string()).unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        let place = folder.path().display().to_string();
        Self {
            arguments: arguments
                .iter()
                .map(|one| one.replace("HERE", &place))
                .collect(),
            folder,
        }
    }

    /// Everything that is to fail is below it.
    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn command(&self) -> Command {
        let mut command = command(HEADWATER);
        command
            .args(&self.arguments)
            .env("HEADWATER_HOME", self.out());
        command
    }

    fn run(&self) -> Ran {
        self.command().output().unwrap().into()
    }

    /// Runs it while its n-th call fails; none where it does not make so many.
    fn run_with_failing(&self, library: &Path, number: usize, error: i32) -> Option<Failed> {
        let report = self.folder.path().join("report");
        let mut command = self.command();
        command
            .env("LD_PRELOAD", library)
            .env("FAIL_BELOW", self.out())
            .env("FAIL_AT", number.to_string())
            .env("FAIL_WITH", error.to_string())
            .env("FAIL_REPORT", &report);
        let ran: Ran = command.output().unwrap().into();
        let Ok(call) = fs::read_to_string(&report) else {
            assert_eq!(ran.code, Some(0), "{}", ran.all());
            return None;
        };
        Some(Failed { call, ran })
    }
}

impl Failed {
    /// Whether the run got over it. If not, it has said one sentence that names a file.
    fn was_survived(&self, case: &Case) -> bool {
        let Self { call, ran } = self;
        assert!(!ran.all().contains("panicked"), "{call}: {}", ran.all());
        if ran.code == Some(0) {
            return true;
        }
        assert_eq!(ran.code, Some(74), "{call}: {}", ran.all());
        let place = case.out().display().to_string();
        let is_told = ran.err.lines().filter(|line| line.contains(&place)).count();
        assert_eq!(is_told, 1, "{call}: {}", ran.all());
        false
    }
}

/// Lets every n-th call fail, each time in a new folder, and looks at what is left there.
fn every_call(case: impl Fn() -> Case, check: impl Fn(&Case, &Failed, bool)) {
    let Some(library) = library() else { return };
    let (mut failures, mut survived) = (0, Vec::new());
    for number in 1..MAX_CALLS {
        for error in ERRORS {
            let case = case();
            let Some(failed) = case.run_with_failing(library, number, error) else {
                println!("{failures} failures, of which the run got over {survived:?}");
                assert!(failures > 10, "{failures} calls are no run");
                return;
            };
            failures += 1;
            let was_survived = failed.was_survived(&case);
            if was_survived {
                survived.push(failed.call.clone());
            }
            check(&case, &failed, was_survived);
        }
    }
    panic!("the run made more than {MAX_CALLS} calls");
}

/// Every call of a run fails once; the records are all there after the next one.
async fn every_call_of_a_run(arguments: &[&str], ids: impl Fn(&Path) -> Vec<String>) {
    let sandbox = unlimited_sandbox(6).await;
    let calls = sandbox.keys("calls").unwrap();
    every_call(
        || Case::new(&sandbox, arguments),
        |case, failed, was_survived| {
            if !was_survived {
                let next = case.run();
                assert_eq!(next.code, Some(0), "{}: {}", failed.call, next.all());
            }
            let mut found = ids(&case.out());
            found.sort();
            assert_eq!(found, calls, "{}", failed.call);
        },
    );
}

const SYNC: [&str; 7] = [
    "sync",
    ID,
    "--config",
    "HERE/config.json",
    "--stream",
    "calls",
    "--to",
];

fn id_of(record: &str) -> String {
    let record: Value = serde_json::from_str(record).unwrap();
    record["id"].as_str().unwrap().to_owned()
}

fn ids_of_sqlite(out: &Path) -> Vec<String> {
    let connection = Connection::open(out.join("records.db")).unwrap();
    let health: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(health, "ok");
    let mut records = connection.prepare("SELECT id FROM calls").unwrap();
    let ids = records.query_map([], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

fn ids_of_lines(out: &Path) -> Vec<String> {
    let lines = fs::read_to_string(out.join("calls.jsonl")).unwrap();
    lines.lines().map(id_of).collect()
}

/// Of the files that the newest manifest counts.
fn ids_of_parquet(out: &Path) -> Vec<String> {
    let manifests = acceptance::binary::files(&out.join("_headwater"));
    let newest = manifests
        .iter()
        .rfind(|name| name.ends_with(".json"))
        .unwrap();
    let manifest = fs::read(out.join("_headwater").join(newest)).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let mut ids = Vec::new();
    for file in manifest["files"].as_array().unwrap() {
        let path = out.join(file["path"].as_str().unwrap());
        let rows = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        for row in rows.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let id = row.get_column_iter().find(|(name, _)| *name == "id");
            let (_, id) = id.unwrap();
            ids.push(id.to_string().trim_matches('"').to_owned());
        }
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_fails_the_next_sync_to_sqlite_completes() {
    let arguments = [&SYNC[..], &["sqlite:HERE/out/records.db"]].concat();
    every_call_of_a_run(&arguments, ids_of_sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_fails_the_next_sync_to_json_lines_completes() {
    let arguments = [&SYNC[..], &["jsonl:HERE/out"]].concat();
    every_call_of_a_run(&arguments, ids_of_lines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_fails_the_next_sync_to_parquet_completes() {
    let arguments = [&SYNC[..], &["parquet:HERE/out"]].concat();
    every_call_of_a_run(&arguments, ids_of_parquet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_fails_the_next_read_with_a_state_completes() {
    let read = [
        "read",
        ID,
        "--config",
        "HERE/config.json",
        "--stream",
        "calls",
    ];
    let places = ["--out", "HERE/out", "--state", "HERE/out/state.json"];
    every_call_of_a_run(&[&read[..], &places[..]].concat(), ids_of_lines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_fails_a_connection_is_saved_as_a_whole_or_not_at_all() {
    let sandbox = unlimited_sandbox(6).await;
    let add = [
        "connection",
        "add",
        "copilot",
        ID,
        "--config",
        "HERE/config.json",
    ];
    every_call(
        || Case::new(&sandbox, &add),
        |case, failed, was_survived| {
            let connection = |arguments: &[&str]| -> Ran {
                let mut command = command(HEADWATER);
                command.arg("connection").args(arguments);
                command.env("HEADWATER_HOME", case.out());
                command.output().unwrap().into()
            };
            let list = connection(&["list", "--json"]);
            assert_eq!(list.code, Some(0), "{}: {}", failed.call, list.all());
            let is_saved = list.json() != serde_json::json!([]);
            assert!(
                is_saved || !was_survived,
                "{}: it said that it is saved",
                failed.call
            );
            if !is_saved {
                let again = case.run();
                assert_eq!(again.code, Some(0), "{}: {}", failed.call, again.all());
            }
            let tested = connection(&["test", "copilot"]);
            assert_eq!(tested.code, Some(0), "{}: {}", failed.call, tested.all());
        },
    );
}

/// Kills a command of the store at every call, each time in a new folder. The next command finds the old or the new
/// state, with one key and nothing left over.
fn killed_at_every_call(sandbox: &Sandbox, arguments: &[&str], has_connection: bool) {
    let Some(library) = library() else { return };
    let connection = |case: &Case, arguments: &[&str]| -> Ran {
        let mut command = command(HEADWATER);
        command.arg("connection").args(arguments);
        command.env("HEADWATER_HOME", case.out());
        command.output().unwrap().into()
    };
    let mut rates = BTreeSet::new();
    for number in 1..MAX_CALLS {
        let case = Case::new(sandbox, arguments);
        let config = case.folder.path().join("config.json");
        let config = config.to_str().unwrap();
        let changed = case.folder.path().join("changed.json");
        fs::write(changed, r#"{"requests_per_second":500}"#).unwrap();
        let add = ["add", "copilot", ID, "--config", config];
        let key_file = case.out().join("store.db.key");
        let mut old_key = String::new();
        if has_connection {
            assert_eq!(connection(&case, &add).code, Some(0));
            old_key = fs::read_to_string(&key_file).unwrap();
        }
        let Some(killed) = case.run_with_failing(library, number, 0) else {
            println!("{arguments:?}: killed at {} calls", number - 1);
            assert!(number > 10, "{number} calls are no command");
            // A kill before the change leaves the old config, and one after it the new one.
            let is_change = arguments[1] == "rotate";
            assert_eq!(rates.len(), if is_change { 2 } else { 1 }, "{rates:?}");
            return;
        };
        let call = &killed.call;
        assert_eq!(killed.ran.code, None, "{call}: {}", killed.ran.all());
        // The first command after it mends everything.
        let list = connection(&case, &["list", "--json"]);
        assert_eq!(list.code, Some(0), "{call}: {}", list.all());
        let key = fs::read_to_string(&key_file).unwrap();
        assert_eq!(key.lines().count(), 1, "{call}: an old key is left");
        if arguments[1] == "rekey" {
            let mut audit = command(HEADWATER);
            audit
                .args(["audit", "list"])
                .env("HEADWATER_HOME", case.out());
            let audit: Ran = audit.output().unwrap().into();
            let rows = audit.out.matches("key replaced").count();
            assert_eq!(rows, usize::from(key != old_key), "{call}: {}", audit.all());
        }
        let is_saved = list.json() != serde_json::json!([]);
        assert!(is_saved || !has_connection, "{call}: it is gone");
        if !is_saved {
            let again = connection(&case, &add);
            assert_eq!(again.code, Some(0), "{call}: {}", again.all());
        }
        let tested = connection(&case, &["test", "copilot"]);
        assert_eq!(tested.code, Some(0), "{call}: {}", tested.all());
        let shown = connection(&case, &["show", "copilot", "--json"]).json();
        let rate = shown["config"]["/requests_per_second"].as_u64();
        assert!(matches!(rate, Some(500 | 1000)), "{call}: {shown}");
        rates.insert(rate);
        let left = acceptance::binary::files(&case.out());
        let left: Vec<&String> = left.iter().filter(|name| name.ends_with(".new")).collect();
        assert!(left.is_empty(), "{call}: {left:?}");
        let verified: Ran = command(HEADWATER)
            .args(["audit", "verify"])
            .env("HEADWATER_HOME", case.out())
            .output()
            .unwrap()
            .into();
        assert_eq!(verified.code, Some(0), "{call}: {}", verified.all());
    }
    panic!("the command made more than {MAX_CALLS} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_call_a_saved_connection_is_whole_or_not_there() {
    let sandbox = unlimited_sandbox(6).await;
    let add = [
        "connection",
        "add",
        "copilot",
        ID,
        "--config",
        "HERE/config.json",
    ];
    killed_at_every_call(&sandbox, &add, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_call_a_changed_connection_is_the_old_or_the_new_one() {
    let sandbox = unlimited_sandbox(6).await;
    let rotate = [
        "connection",
        "rotate",
        "copilot",
        "--config",
        "HERE/changed.json",
    ];
    killed_at_every_call(&sandbox, &rotate, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_call_a_new_key_leaves_one_key_and_nothing_else() {
    let sandbox = unlimited_sandbox(6).await;
    killed_at_every_call(&sandbox, &["connection", "rekey"], true);
}

/// Not supported, not there in this system, and no answer from the service of a network that keeps the locks.
const WITHOUT_LOCKS: [i32; 3] = [95, 38, 37];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_no_lock_keeps_a_second_run_away() {
    let Some(library) = library() else { return };
    let sandbox = unlimited_sandbox(6).await;
    let read = [
        "read",
        ID,
        "--config",
        "HERE/config.json",
        "--stream",
        "calls",
    ];
    for arguments in [
        [&SYNC[..], &["sqlite:HERE/out/records.db"]].concat(),
        [&SYNC[..], &["jsonl:HERE/out"]].concat(),
        [&SYNC[..], &["parquet:HERE/out"]].concat(),
        [&read[..], &["--out", "HERE/out"]].concat(),
        ["connection", "rekey"].to_vec(),
    ] {
        for error in WITHOUT_LOCKS {
            let case = Case::new(&sandbox, &arguments);
            // What is sealed anew.
            let add = ["connection", "add", "copilot", ID, "--config"];
            let mut added = command(HEADWATER);
            added.args(add).arg(case.folder.path().join("config.json"));
            let added = added.env("HEADWATER_HOME", case.out()).output().unwrap();
            assert!(added.status.success());
            let mut command = case.command();
            command
                .env("LD_PRELOAD", library)
                .env("FAIL_LOCKS", error.to_string());
            let ran: Ran = command.output().unwrap().into();
            assert_eq!(ran.code, Some(74), "{arguments:?}: {}", ran.all());
            for says in ["has no locks", "choose a folder on a local disk"] {
                assert!(ran.err.contains(says), "{arguments:?}: {}", ran.all());
            }
            let next = case.run();
            assert_eq!(next.code, Some(0), "{arguments:?}: {}", next.all());
        }
    }
}
