//! Folders that others may read, or write to: who may use what a run leaves there, and what it refuses to write to.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use acceptance::{
    binary::{Ran, command},
    copilot, unlimited_sandbox,
};
use headwater_sandbox::Sandbox;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";
const STRANGER: u32 = 4711;

struct Place(tempfile::TempDir);

impl Place {
    fn new(sandbox: &Sandbox) -> Self {
        let folder = copilot::folder(&sandbox.base_url());
        fs::create_dir(folder.path().join("out")).unwrap();
        Self(folder)
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("out")
    }

    /// In the folder `out`, under a umask that lets everybody read what is new.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut shell = command("sh");
        shell
            .args(["-c", "umask 022; exec \"$0\" \"$@\"", HEADWATER])
            .args(arguments)
            .current_dir(self.out())
            .env("HEADWATER_HOME", self.out().join("home"));
        shell
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    fn read(to: &[&'static str]) -> Vec<&'static str> {
        let read = ["--config", "../config.json", "--stream", "calls"];
        [&to[..1], &[ID], &read, &to[1..]].concat()
    }

    /// Everything below the folder `out`, with its mode.
    fn modes(&self) -> BTreeMap<PathBuf, u32> {
        let (mut found, mut open) = (BTreeMap::new(), vec![self.out()]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let about = fs::symlink_metadata(&path).unwrap();
                if about.is_dir() {
                    open.push(path.clone());
                }
                let name = path.strip_prefix(self.out()).unwrap().to_owned();
                found.insert(name, about.mode() & 0o7777);
            }
        }
        found
    }
}

/// Every command that leaves files.
fn commands() -> Vec<Vec<&'static str>> {
    vec![
        Place::read(&["sync", "--to", "sqlite:records.db"]),
        Place::read(&["sync", "--to", "jsonl:lines/of/calls"]),
        Place::read(&["sync", "--to", "parquet:files"]),
        Place::read(&["read", "--out", "read", "--state", "state.json"]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_for_its_owner_unless_a_mode_is_given() {
    let sandbox = unlimited_sandbox(6).await;
    for (mode, file, folder) in [
        (None, 0o600, 0o700),
        (Some("600"), 0o600, 0o700),
        (Some("0640"), 0o640, 0o750),
        (Some("644"), 0o644, 0o755),
    ] {
        let place = Place::new(&sandbox);
        for arguments in commands() {
            let mut command = place.command(&arguments);
            if let Some(mode) = mode {
                command.env("HEADWATER_FILE_MODE", mode);
            }
            let ran: Ran = command.output().unwrap().into();
            assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.all());
        }
        let modes = place.modes();
        assert!(modes.len() > 10, "{modes:?}");
        for (path, mode) in modes {
            let is_folder = place.out().join(&path).is_dir();
            let expected = if is_folder { folder } else { file };
            assert_eq!(mode, expected, "{}: {mode:o}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_keeps_its_mode() {
    let sandbox = unlimited_sandbox(6).await;
    let place = Place::new(&sandbox);
    for arguments in commands() {
        assert_eq!(place.run(&arguments).code, Some(0));
    }
    for (path, _) in place.modes() {
        let path = place.out().join(path);
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let before = place.modes();
    sandbox.change_calls(3);
    for arguments in commands() {
        let ran = place.run(&arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.all());
    }
    let after = place.modes();
    for (path, mode) in &before {
        if let Some(now) = after.get(path) {
            assert_eq!(now, mode, "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_is_none_is_refused_before_anything_is_done() {
    let sandbox = unlimited_sandbox(6).await;
    let place = Place::new(&sandbox);
    for mode in ["rw-r-----", "0700", "400", ""] {
        let mut command = place.command(&Place::read(&["sync", "--to", "sqlite:records.db"]));
        let ran: Ran = command
            .env("HEADWATER_FILE_MODE", mode)
            .output()
            .unwrap()
            .into();
        assert_eq!(ran.code, Some(2), "{}", ran.all());
        assert!(ran.err.contains("write 600, 640 or 660"), "{}", ran.err);
    }
    assert!(place.modes().is_empty(), "{:?}", place.modes());
    assert_eq!(sandbox.stats().requests, 0);
}

/// What a stranger may put into the way.
fn plant_link(path: &Path) {
    symlink("../victim", path).unwrap();
    lchown(path, Some(STRANGER), None).unwrap();
}

fn plant_file(path: &Path) {
    fs::write(path, "").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    chown(path, Some(STRANGER), None).unwrap();
}

fn plant_folder(path: &Path) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    chown(path, Some(STRANGER), None).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_a_stranger_put_a_link_or_a_file() {
    let sandbox = unlimited_sandbox(6).await;
    let trial = tempfile::NamedTempFile::new().unwrap();
    if chown(trial.path(), Some(STRANGER), None).is_err() {
        return eprintln!("skipped: only a superuser gives files away");
    }
    let files = [
        (
            "records.db",
            Place::read(&["sync", "--to", "sqlite:records.db"]),
        ),
        (
            "records.db-clari-copilot.lock",
            Place::read(&["sync", "--to", "sqlite:records.db"]),
        ),
        ("calls.jsonl", Place::read(&["read", "--out", "."])),
        (
            "state.json",
            Place::read(&["read", "--quiet", "--state", "state.json"]),
        ),
        (
            "_headwater_state.json",
            Place::read(&["sync", "--to", "jsonl:."]),
        ),
    ];
    let folders = [
        ("lines", Place::read(&["sync", "--to", "jsonl:lines"])),
        ("files", Place::read(&["sync", "--to", "parquet:files"])),
    ];
    let plants: [fn(&Path); 2] = [plant_link, plant_file];
    let in_files = files
        .iter()
        .flat_map(|(name, arguments)| plants.map(|plant| (*name, plant, arguments)));
    let in_folders = folders
        .iter()
        .map(|(name, arguments)| (*name, plant_folder as fn(&Path), arguments));
    for (name, plant, arguments) in in_files.chain(in_folders) {
        let place = Place::new(&sandbox);
        fs::set_permissions(place.out(), fs::Permissions::from_mode(0o1777)).unwrap();
        let victim = place.0.path().join("victim");
        plant(&place.out().join(name));
        let ran = place.run(arguments);
        let code = if name.contains("state") { 2 } else { 74 };
        assert_eq!(ran.code, Some(code), "{name} {arguments:?}: {}", ran.all());
        let is_told = ran.err.contains("belongs to another user") || ran.err.contains("is a link");
        assert!(is_told, "{name} {arguments:?}: {}", ran.all());
        assert!(!victim.exists(), "{name}");
        let planted = place.out().join(name);
        if planted.is_dir() {
            assert_eq!(fs::read_dir(planted).unwrap().count(), 0, "{name}");
        } else if planted.is_file() {
            assert_eq!(fs::read_to_string(planted).unwrap(), "", "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_at_a_name_that_a_state_was_once_written_under_does_no_harm() {
    let sandbox = unlimited_sandbox(6).await;
    let place = Place::new(&sandbox);
    fs::write(place.out().join("mine"), "mine").unwrap();
    symlink("mine", place.out().join("state.json.new")).unwrap();
    for _ in 0..2 {
        let ran = place.run(&Place::read(&["read", "--quiet", "--state", "state.json"]));
        assert_eq!(ran.code, Some(0), "{}", ran.all());
    }
    let names: Vec<PathBuf> = place.modes().into_keys().collect();
    let expected = ["mine", "state.json", "state.json.new"].map(PathBuf::from);
    assert_eq!(names, expected);
    assert_eq!(
        fs::read_to_string(place.out().join("mine")).unwrap(),
        "mine"
    );
}
