//! Runs that are killed or whose disk fails: the counted files are those of the state, and the next run continues from there.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use headwater_core::sink::Sink;
use headwater_core::{Kind, Result};
use headwater_host::State;

use super::{
    faults::{self, Fault},
    tests::{calls, counted, load, newest, position, state_at, texts},
};

/// The folder that a process of this test binary writes to instead of testing.
const FOLDER: &str = "HEADWATER_CRASH_FOLDER";
/// The step at which it dies; none writes until it is killed.
const STEP: &str = "HEADWATER_CRASH_STEP";
/// Records of a page, and pages between two commits.
const PAGE: u64 = 3;
const PAGES: u64 = 2;

/// Continues from the state for a number of commits. The state is the number of records.
fn go_on(folder: &Path, commits: u64) -> Result<()> {
    let (mut sink, mut state) = load(folder)?;
    sink.restore(&[calls()], &state)?;
    // Small row groups, so that a file is written to more than once.
    sink.memory = 2 << 10;
    for _ in 0..commits {
        for _ in 0..PAGES {
            let first = position(&state);
            let records: Vec<String> = (first..first + PAGE)
                .map(|id| format!("{{\"id\":\"{id}\"}}"))
                .collect();
            sink.write("calls", &mut records.iter().map(|record| record.as_bytes()))?;
            state = state_at(first + PAGE);
        }
        sink.commit(&mut state)?;
    }
    Ok(())
}

/// Each record up to the state is there once, and none beyond it.
fn check(folder: &Path) -> u64 {
    let mut state = State::new("acme");
    newest(folder).read_state(&mut state, "m").unwrap();
    let records = position(&state);
    let ids: Vec<String> = texts(&counted(folder, "calls"), "id")
        .into_iter()
        .flatten()
        .collect();
    let expected: Vec<String> = (0..records).map(|id| id.to_string()).collect();
    assert_eq!(ids, expected);
    records
}

#[test]
fn when_any_call_to_the_disk_fails_the_run_ends_and_the_next_one_goes_on() {
    const ENOSPC: i32 = 28;
    const EIO: i32 = 5;
    let mut steps = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        go_on(folder.path(), 1).unwrap();
        let before = check(folder.path());
        faults::after(
            steps,
            Fault::Error(if steps % 2 == 0 { ENOSPC } else { EIO }),
        );
        let ran = go_on(folder.path(), 2);
        if !faults::end() {
            ran.unwrap();
            break;
        }
        // A manifest that is outdated may stay: nothing else may fail unseen.
        if let Err(error) = ran {
            assert_eq!(error.kind(), Kind::OutputFailed, "{error}");
            assert!(error.to_string().contains("(os error "), "{error}");
        }
        let after = check(folder.path());
        assert!(after >= before, "step {steps}: {after} of {before}");
        go_on(folder.path(), 1).unwrap();
        assert_eq!(check(folder.path()), after + PAGE * PAGES);
        let left = fs::read_dir(folder.path().join("calls")).unwrap().count();
        assert_eq!(
            left,
            newest(folder.path()).files.len(),
            "step {steps}: a file is left that does not count"
        );
        steps += 1;
    }
    assert!(steps > 30, "{steps}");
}

/// What the killed processes do. Without the variable it is no test.
#[test]
fn process_that_is_killed() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let Ok(step) = env::var(STEP) else {
        go_on(Path::new(&folder), u64::MAX).unwrap();
        return;
    };
    faults::after(step.parse().unwrap(), Fault::Death);
    go_on(Path::new(&folder), 2).unwrap();
}

fn process(folder: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "parquet::crash_tests::process_that_is_killed",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn killed_at_every_step_nothing_is_lost_or_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let mut steps = 0;
    while !process(folder.path())
        .env(STEP, steps.to_string())
        .status()
        .unwrap()
        .success()
    {
        if has_manifest(folder.path()) {
            check(folder.path());
        }
        steps += 1;
    }
    assert!(steps > 30, "{steps}");
    assert!(check(folder.path()) > 0);
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_repeated() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..60 {
        let mut child = process(folder.path()).spawn().unwrap();
        thread::sleep(Duration::from_millis(random.u64(5..120)));
        child.kill().unwrap();
        child.wait().unwrap();
        if has_manifest(folder.path()) {
            let records = check(folder.path());
            assert!(records >= last);
            last = records;
        }
    }
    go_on(folder.path(), 1).unwrap();
    assert_eq!(check(folder.path()), last + PAGE * PAGES);
    assert!(last > 0, "no process got to a commit");
}

fn has_manifest(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder.join("_headwater")) else {
        return false;
    };
    let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.any(|name| name.starts_with("manifest-") && name.ends_with(".json"))
}

#[test]
fn a_file_that_cannot_grow_ends_the_run_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    go_on(folder.path(), 1).unwrap();
    let before = check(folder.path());
    // Files of 512 bytes at most, without the signal that would end the process.
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "parquet::crash_tests::process_that_is_killed"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(
        status.code(),
        Some(101),
        "the run did not end with its own error"
    );
    assert_eq!(check(folder.path()), before);
    go_on(folder.path(), 1).unwrap();
    assert_eq!(check(folder.path()), before + PAGE * PAGES);
}
