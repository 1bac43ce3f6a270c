//! Bad input to `sync`, `plan` and `state`: one clear sentence, a documented exit code, nothing changed on disk.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use acceptance::{
    binary::{Ran, command},
    claribi, copilot, sandbox, unlimited_sandbox,
};
use headwater_sandbox::{CopilotOptions, Sandbox};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";
/// Part of values below: it must not come back in any output.
const CANARY: &str = "canary9b1e";

/// One sentence, and nothing on standard output.
#[track_caller]
fn refused(ran: &Ran, code: i32, says: &str) {
    assert_eq!(ran.code, Some(code), "expected {says:?}: {}", ran.all());
    assert_eq!(ran.out, "", "standard output is for results");
    assert!(ran.err.contains(says), "expected {says:?} in {:?}", ran.err);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 1, "one sentence: {}", ran.err);
    assert!(lines[0].starts_with("error: "), "{}", ran.err);
    assert!(!lines[0].ends_with('.'), "{}", ran.err);
    assert!(!ran.err.contains(CANARY), "{}", ran.err);
}

/// A folder with the config of a sandbox.
struct Place(TempDir);

impl Place {
    fn new(sandbox: &Sandbox) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = copilot::answer(&sandbox.base_url());
        config["requests_per_second"] = 1000.into();
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(HEADWATER);
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// A command about the connector.
    fn about(&self, name: &str, arguments: &[&str]) -> Ran {
        let config = self.text("config.json");
        self.run(&[&[name, ID, "--config", &config][..], arguments].concat())
    }

    fn sync(&self, arguments: &[&str]) -> Ran {
        let quiet = ["--quiet", "--progress", "none"];
        self.about("sync", &[&quiet[..], arguments].concat())
    }

    /// Everything below the folder, byte for byte.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut contents = BTreeMap::new();
        collect(self.0.path(), &mut contents);
        contents
    }

    /// A run that must be refused and leave everything as it was.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], code: i32, says: &str) {
        let before = self.contents();
        refused(&self.run(arguments), code, says);
        let after = self.contents();
        let names = |contents: &BTreeMap<PathBuf, Vec<u8>>| {
            contents.keys().cloned().collect::<Vec<PathBuf>>()
        };
        assert_eq!(names(&before), names(&after), "{arguments:?}");
        assert!(before == after, "bytes changed: {arguments:?}");
    }

    #[track_caller]
    fn sync_refuses(&self, arguments: &[&str], code: i32, says: &str) {
        let config = self.text("config.json");
        let sync = ["sync", ID, "--config", &config, "--quiet"];
        self.refuses(&[&sync[..], arguments].concat(), code, says);
    }
}

fn collect(folder: &Path, contents: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect(&path, contents);
            contents.insert(path, Vec::new());
        } else if kind.is_file() {
            // A device of its own kind has no bytes of its own.
            let bytes = match entry.metadata().unwrap().len() {
                0..=10_000_000 => fs::read(&path).unwrap(),
                length => length.to_le_bytes().to_vec(),
            };
            contents.insert(path, bytes);
        } else {
            contents.insert(path, b"special".to_vec());
        }
    }
}

/// Whether this user may write everywhere, so that permissions tell nothing.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_that_cannot_be_used_are_refused_before_anything_is_written() {
    let sandbox = unlimited_sandbox(20).await;
    let place = Place::new(&sandbox);
    fs::write(
        place.path("notes.txt"),
        "not a database, and longer than a header of one",
    )
    .unwrap();
    fs::write(
        place.path("notes.db"),
        "not a database, and longer than a header".repeat(9),
    )
    .unwrap();
    fs::create_dir(place.path("folder")).unwrap();
    fs::create_dir(place.path("folder.db")).unwrap();
    let no_folder = place.text("no/such/records.db");
    let no_folder = format!("sqlite:{no_folder}");
    for (to, code, says) in [
        (
            "mysql://root:canary9b1e@host/db",
            2,
            "there is no destination \"mysql\"",
        ),
        ("sqlite:///data/x.db", 2, "without slashes of its own"),
        ("sqlite:", 2, "needs a file"),
        ("sqlite::memory:", 2, "needs a file"),
        ("", 2, "the destination does not say what it is"),
        ("records", 2, "the destination does not say what it is"),
        (
            "sqlite:x.db?mode=canary9b1e",
            2,
            "\"mode\" is upsert or append",
        ),
        ("sqlite:x.db?mdoe=append", 2, "did you mean \"mode\"?"),
        ("sqlite:x.db?prefix=sqlite_", 2, "reserved"),
        ("sqlite:x.db?prefix=_headwater", 2, "begins with a letter"),
        (
            "sqlite:x.db?prefix=a-b",
            2,
            "letters, digits and underscores only",
        ),
        (
            "postgres://user:canary9b1e@localhost/db",
            2,
            "write --to env:NAME",
        ),
        ("arrow:file", 2, "goes to standard output only"),
        ("env:NO_SUCH_VARIABLE_AT_ALL", 2, "NO_SUCH_VARIABLE_AT_ALL"),
        (&no_folder, 74, "cannot be opened"),
        ("sqlite:notes.db", 2, "is not an SQLite file"),
        ("sqlite:folder.db", 74, "cannot be opened"),
        (
            "jsonl:notes.txt",
            2,
            "notes.txt/_headwater_state.json cannot be read",
        ),
        ("parquet:notes.txt", 74, "notes.txt"),
    ] {
        place.sync_refuses(&["--to", to], code, says);
    }
    let config = place.text("config.json");
    for to in [
        "mysql://host/db",
        "sqlite:x.db?mdoe=append",
        "sqlite:notes.db",
    ] {
        let before = place.contents();
        let ran = place.run(&["plan", ID, "--config", &config, "--no-survey", "--to", to]);
        assert_eq!(ran.code, Some(2), "{to}: {}", ran.all());
        assert!(before == place.contents(), "{to}");
    }
    assert_eq!(sandbox.stats().requests, 0, "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_this_user_may_not_write_to_are_named() {
    if is_root() {
        println!("skipped: root may write everywhere");
        return;
    }
    let sandbox = unlimited_sandbox(20).await;
    let place = Place::new(&sandbox);
    let closed = place.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    for to in ["sqlite:closed/x.db", "jsonl:closed/x", "parquet:closed/x"] {
        place.sync_refuses(&["--to", to], 74, "closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_tables_of_its_own_stays_as_it_was() {
    let sandbox = unlimited_sandbox(20).await;
    let place = Place::new(&sandbox);
    let own = Connection::open(place.path("own.db")).unwrap();
    own.execute_batch(
        "CREATE TABLE calls (id INTEGER, note BLOB); INSERT INTO calls VALUES (1, 'x')",
    )
    .unwrap();
    drop(own);
    let to = [
        "--to",
        "sqlite:own.db",
        "--stream",
        "users",
        "--stream",
        "calls",
    ];
    place.sync_refuses(
        &to,
        2,
        "there is a table or view \"calls\" that headwater did not make",
    );

    let prefixed = ["--to", "sqlite:own.db?prefix=copilot_", "--stream", "calls"];
    assert_eq!(place.sync(&prefixed).code, Some(0));
    // The same stream under another prefix would begin in the middle.
    let other = ["--to", "sqlite:own.db?prefix=other_", "--stream", "calls"];
    refused(
        &place.sync(&other),
        2,
        "has the table \"copilot_calls\" already",
    );
    let own = Connection::open(place.path("own.db")).unwrap();
    let sql = "SELECT note FROM calls";
    let note: String = own.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(note, "x");
    own.execute_batch("ALTER TABLE copilot_calls DROP COLUMN status")
        .unwrap();
    drop(own);
    refused(&place.sync(&prefixed), 2, "lost its column \"status\"");
}

/// A run that may not write files beyond so many kilobytes, as on a disk that is full.
fn with_little_room(place: &Place, kilobytes: u32, arguments: &[&str]) -> Ran {
    let config = place.text("config.json");
    let mut shell = Command::new("bash");
    shell
        .current_dir(place.0.path())
        .env("NO_COLOR", "1")
        .args([
            "-c",
            "ulimit -f \"$1\"; trap '' XFSZ; shift; exec \"$@\"",
            "limited",
        ])
        .arg(kilobytes.to_string())
        .args([HEADWATER, "sync", ID, "--config", &config, "--quiet"])
        .args(arguments);
    shell.output().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_run_and_the_next_one_completes_it() {
    let sandbox = unlimited_sandbox(300).await;
    let place = Place::new(&sandbox);
    for (to, stream) in [
        ("sqlite:full.db", "calls"),
        ("jsonl:full", "calls"),
        ("parquet:full.parquet", "calls"),
    ] {
        let arguments = ["--to", to, "--stream", stream];
        let ran = with_little_room(&place, 24, &arguments);
        assert_eq!(ran.code, Some(74), "{to}: {}", ran.all());
        assert!(!ran.err.contains("panicked"), "{to}: {}", ran.err);
        assert!(
            ran.err.contains("cannot be written") || ran.err.contains("full"),
            "{to}: {}",
            ran.err
        );
        let ran = place.sync(&arguments);
        assert_eq!(ran.code, Some(0), "{to}: {}", ran.all());
    }
    let all = sandbox.keys("calls").unwrap();
    let database = Connection::open(place.path("full.db")).unwrap();
    let sql = "SELECT count(*), count(DISTINCT id) FROM calls";
    let counts: (i64, i64) = database
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let all_of_them = i64::try_from(all.len()).unwrap();
    assert_eq!(counts, (all_of_them, all_of_them));
    let lines = fs::read_to_string(place.path("full/calls.jsonl")).unwrap();
    let mut ids: Vec<String> = lines
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["id"].as_str().unwrap().to_owned()
        })
        .collect();
    ids.sort();
    assert_eq!(ids, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarantee_that_cannot_be_had_is_refused_with_the_reason() {
    let sandbox = unlimited_sandbox(20).await;
    let place = Place::new(&sandbox);
    let exactly_once = ["--guarantee", "exactly-once"];
    let of = |to| [&["--to", to][..], &exactly_once].concat();
    place.sync_refuses(
        &of("jsonl:lines"),
        7,
        "the position is kept after the records",
    );
    place.sync_refuses(&of("jsonl:-"), 7, "no state is kept");
    assert_eq!(place.sync(&of("sqlite:records.db")).code, Some(0));
    let ran = place.sync(&["--to", "sqlite:records.db", "--guarantee", "sometimes"]);
    assert_eq!(ran.code, Some(2), "{}", ran.all());
    assert!(
        ran.err
            .contains("a guarantee is exactly-once or at-least-once")
    );
}

/// The partitions of a stream, as the plan shows them.
fn partitions(place: &Place, stream: &str) -> Vec<Value> {
    let ran = place.about("plan", &["--json", "--no-survey", "--stream", stream]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let partitions = ran.json()["streams"][0]["partitions"].clone();
    let partitions = partitions.as_array().unwrap().iter();
    partitions.map(|one| one["partition"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_none_of_the_stream_are_refused() {
    let sandbox = unlimited_sandbox(20).await;
    let place = Place::new(&sandbox);
    let of_calls = partitions(&place, "calls").remove(0);
    let mut older = of_calls.clone();
    older["version"] = 0.into();
    let mut newer = of_calls.clone();
    newer["version"] = 99.into();
    let mut typo = of_calls.clone();
    typo["value"]["from"] = CANARY.into();
    fs::write(place.path("empty.json"), "").unwrap();
    let calls = of_calls.to_string();
    let to = ["--to", "sqlite:records.db"];
    for (arguments, says) in [
        (
            vec!["--stream", "calls", "--partition", "{canary9b1e"],
            "is not a partition",
        ),
        (
            vec!["--stream", "calls", "--partition", "{}"],
            "is not a partition",
        ),
        (
            vec!["--stream", "calls", "--partition", "nowhere.json"],
            "is neither JSON nor a readable file",
        ),
        (
            vec!["--stream", "calls", "--partition", "empty.json"],
            "is not a partition",
        ),
        (
            vec!["--stream", "calls", "--partition", "."],
            "is neither JSON nor a readable file",
        ),
        (vec!["--stream", "users", "--partition", &calls], "users"),
        (
            vec![
                "--stream",
                "calls",
                "--stream",
                "users",
                "--partition",
                &calls,
            ],
            "are read separately",
        ),
        (
            vec!["--stream", "calls", "--partition", &older.to_string()],
            "calls",
        ),
        (
            vec!["--stream", "calls", "--partition", &newer.to_string()],
            "of this version",
        ),
        (
            vec!["--stream", "calls", "--partition", &typo.to_string()],
            "calls",
        ),
    ] {
        place.sync_refuses(&[&to[..], &arguments].concat(), 2, says);
    }
    assert_eq!(sandbox.stats().requests, 0, "nobody was asked");
}

/// A state file that a run left.
fn good_state(place: &Place) -> Vec<u8> {
    let ran = place.about(
        "read",
        &[
            "--quiet",
            "--stream",
            "calls",
            "--stream",
            "users",
            "--state",
            "good.json",
        ],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    fs::read(place.path("good.json")).unwrap()
}

/// The same state as an earlier version wrote it, which knew no digest.
fn of_an_earlier_version(state: &[u8]) -> Value {
    let mut state: Value = serde_json::from_slice(state).unwrap();
    state["headwater_state"] = 3.into();
    state.as_object_mut().unwrap().remove("digest").unwrap();
    state
}

/// State files that no command may take.
fn bad_states(good: &[u8]) -> Vec<(Vec<u8>, &'static str)> {
    let text = String::from_utf8(good.to_vec()).unwrap();
    let flipped = text.replace("\"last_records\":", "\"last_recordr\":");
    let other_number = text.replace("\"last_records\":", "\"last_records\":1");
    assert_ne!(text, other_number);
    let good = of_an_earlier_version(good);
    let with = |change: fn(&mut Value)| {
        let mut state = good.clone();
        change(&mut state);
        state.to_string().into_bytes()
    };
    let commented = format!("// by hand\n{good}").into_bytes();
    vec![
        (Vec::new(), "is empty"),
        (b" \n".to_vec(), "is empty"),
        (b"canary9b1e".to_vec(), "is not a state file"),
        (b"{}".to_vec(), "is not a state file of headwater"),
        (b"[1]".to_vec(), "is not a state file"),
        (commented, "is not a state file, or is damaged (line 1"),
        (flipped.into_bytes(), "is not a state file, or is damaged"),
        (
            other_number.into_bytes(),
            "is damaged: its digest does not match; restore a copy of it",
        ),
        (
            with(|state| state["headwater_state"] = 99.into()),
            "newer version (format 99)",
        ),
        (
            with(|state| state["connector"] = "claribi".into()),
            "belongs to the connector \"claribi\"",
        ),
        (with(|state| state["canary9b1e"] = 1.into()), "is damaged"),
        (
            with(|state| state["streams"]["calls"]["bookmrak"] = json!({})),
            "is damaged",
        ),
        (
            with(|state| state["streams"]["calls"]["bookmark"]["version"] = 99.into()),
            "newer version (format 99, this one reads",
        ),
        (
            with(|state| {
                state["streams"]["calls"]["bookmark"]["value"]["to"] = "canary9b1e".into()
            }),
            "the state of stream calls is damaged",
        ),
        (
            with(|state| state["streams"]["tweets"] = json!({})),
            "names the stream \"tweets\"",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn state_files_that_cannot_be_used_are_refused_by_every_command() {
    let sandbox = unlimited_sandbox(20).await;
    let place = Place::new(&sandbox);
    let good = good_state(&place);
    let config = place.text("config.json");
    let asked = sandbox.stats().requests;
    fs::create_dir(place.path("lines")).unwrap();
    for (bytes, says) in bad_states(&good) {
        fs::write(place.path("state.json"), &bytes).unwrap();
        fs::write(place.path("lines/_headwater_state.json"), &bytes).unwrap();
        let read = [
            "read", ID, "--config", &config, "--quiet", "--stream", "calls",
        ];
        place.refuses(&[&read[..], &["--state", "state.json"]].concat(), 2, says);
        let plan = ["plan", ID, "--config", &config, "--no-survey"];
        place.refuses(&[&plan[..], &["--state", "state.json"]].concat(), 2, says);
        place.refuses(&[&plan[..], &["--to", "jsonl:lines"]].concat(), 2, says);
        place.sync_refuses(&["--to", "jsonl:lines", "--stream", "calls"], 2, says);
        let explain = ["state", "explain", ID, "--config", &config, "--at"];
        place.refuses(&[&explain[..], &["state.json"]].concat(), 2, says);
        let rewind = [
            "state", "rewind", ID, "--config", &config, "--stream", "calls",
        ];
        let to = ["--to", "2020-01-01", "--at", "state.json"];
        place.refuses(&[&rewind[..], &to].concat(), 2, says);
    }
    assert_eq!(sandbox.stats().requests, asked, "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_in_which_a_bit_has_flipped_is_refused() {
    let sandbox = unlimited_sandbox(20).await;
    let place = Place::new(&sandbox);
    let good = good_state(&place);
    let parse = |bytes: &[u8]| headwater_host::State::parse(bytes, "the state");
    let state = parse(&good).unwrap();
    let mut bytes = good.clone();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            if let Ok(read) = parse(&bytes) {
                assert_eq!(read, state, "bit {bit} of byte {at} was believed");
            }
            bytes[at] ^= 1 << bit;
        }
    }
    // What a command changes has a digest of its own.
    fs::write(place.path("state.json"), &good).unwrap();
    let reset = ["state", "reset", "state.json", "--stream", "calls"];
    assert_eq!(place.run(&reset).code, Some(0));
    let after = fs::read(place.path("state.json")).unwrap();
    assert_ne!(parse(&after).unwrap(), state);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_cut_off_anywhere_is_refused() {
    let sandbox = unlimited_sandbox(20).await;
    let place = Place::new(&sandbox);
    let good = good_state(&place);
    let length = good.trim_ascii_end().len();
    for end in (0..length).step_by(length.div_ceil(40)).chain([length - 1]) {
        fs::write(place.path("state.json"), &good[..end]).unwrap();
        let says = if end == 0 { "is empty" } else { "is damaged" };
        place.refuses(&["state", "show", "state.json"], 2, says);
        place.refuses(
            &["state", "reset", "state.json", "--stream", "calls"],
            2,
            says,
        );
        place.refuses(
            &["state", "retry", "state.json", "--stream", "calls"],
            2,
            says,
        );
        place.refuses(&["state", "diff", "state.json", "good.json"], 2, says);
    }
    // Every byte, without the process around it.
    for end in 0..length {
        assert!(
            headwater_host::State::parse(&good[..end], "the state").is_err(),
            "cut off at {end}"
        );
    }
    assert!(headwater_host::State::parse(&good, "the state").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_regular_state_file_is_refused_without_waiting_for_it() {
    let sandbox = unlimited_sandbox(20).await;
    let place = Place::new(&sandbox);
    let config = place.text("config.json");
    fs::create_dir(place.path("folder")).unwrap();
    let huge = fs::File::create(place.path("huge.json")).unwrap();
    huge.set_len(100 << 20).unwrap();
    let made = Command::new("mkfifo").arg(place.path("pipe.json")).status();
    assert!(made.unwrap().success());
    for (state, says) in [
        ("folder", "is not a regular file"),
        ("pipe.json", "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
        ("huge.json", "is far too large for a state"),
    ] {
        let read = [
            "read", ID, "--config", &config, "--quiet", "--stream", "calls",
        ];
        place.refuses(&[&read[..], &["--state", state]].concat(), 2, says);
        let plan = [
            "plan",
            ID,
            "--config",
            &config,
            "--no-survey",
            "--state",
            state,
        ];
        place.refuses(&plan, 2, says);
        place.refuses(&["state", "show", state], 2, says);
        place.refuses(&["state", "reset", state, "--stream", "calls"], 2, says);
        place.refuses(&["state", "diff", state, state], 2, says);
    }
    place.refuses(&["state", "show", "nowhere.json"], 2, "does not exist");
    assert_eq!(sandbox.stats().requests, 0, "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_not_changed_by_what_cannot_be_done_to_it() {
    let sandbox = unlimited_sandbox(20).await;
    let place = Place::new(&sandbox);
    let good = good_state(&place);
    let config = place.text("config.json");
    let to = [
        "--to",
        "sqlite:records.db",
        "--stream",
        "calls",
        "--stream",
        "users",
    ];
    assert_eq!(place.sync(&to).code, Some(0));
    for at in ["good.json", "sqlite:records.db"] {
        let rewind = |stream: &'static str, to: &'static str| {
            let all = [
                "state", "rewind", ID, "--config", &config, "--at", at, "--stream", stream, "--to",
                to,
            ];
            all.map(str::to_owned)
        };
        for (stream, to, code, says) in [
            ("calls", "yesterday", 2, "is not a time; write 2026-01-31"),
            ("calls", "2026-02-31", 2, "is not a time; write 2026-01-31"),
            ("calls", "2026-13-01", 2, "is not a time"),
            ("calls", "", 2, "is not a time"),
            ("calls", "9999-12-01", 2, "the clock of this machine says"),
            ("users", "2020-01-01", 7, "users"),
            ("tweets", "2020-01-01", 4, "tweets"),
        ] {
            let arguments = rewind(stream, to);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            place.refuses(&arguments, code, says);
        }
        let connection: &[&str] = match at {
            "good.json" => &[],
            _ => &["--connection", ID],
        };
        for command in ["reset", "retry"] {
            let arguments = [
                &["state", command, at, "--stream", "tweets"][..],
                connection,
            ]
            .concat();
            place.refuses(
                &arguments,
                4,
                "the state does not know \"tweets\"; it has calls",
            );
        }
    }
    place.refuses(
        &["state", "show", "sqlite:records.db"],
        2,
        "choose one with --connection NAME",
    );
    place.refuses(
        &[
            "state",
            "show",
            "sqlite:records.db",
            "--connection",
            "other",
        ],
        4,
        "has no state of \"other\"",
    );
    place.refuses(
        &[
            "state",
            "reset",
            "sqlite:nowhere.db",
            "--connection",
            ID,
            "--stream",
            "calls",
        ],
        4,
        "has no state of",
    );
    let mut other = of_an_earlier_version(&good);
    other["connector"] = "claribi".into();
    fs::write(place.path("other.json"), other.to_string()).unwrap();
    place.refuses(
        &["state", "diff", "good.json", "other.json"],
        2,
        "the states belong to different connectors, clari-copilot and claribi",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_of_another_connector_is_not_touched() {
    let sandbox = sandbox(CopilotOptions {
        calls: 20,
        ..CopilotOptions::default()
    })
    .await;
    let place = Place::new(&sandbox);
    let to = ["--to", "jsonl:lines", "--stream", "users"];
    assert_eq!(place.sync(&to).code, Some(0));
    let other = claribi::organization_of(6).await;
    let config = place.path("claribi.json");
    fs::write(&config, claribi::answer(&other.base_url()).to_string()).unwrap();
    let config = config.to_str().unwrap();
    place.refuses(
        &[
            "sync",
            "claribi",
            "--config",
            config,
            "--quiet",
            "--to",
            "jsonl:lines",
        ],
        2,
        "belongs to the connector \"clari-copilot\", not to \"claribi\"",
    );
    assert_eq!(other.stats().requests, 0, "nobody was asked");
}
