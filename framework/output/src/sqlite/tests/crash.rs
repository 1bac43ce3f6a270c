//! A run that is killed, or whose disk fails: rows and position agree, whenever it happens.
//!
//! The test program starts itself again as the process that this happens to.

use std::{
    env,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::*;

/// Set for the processes that are to be killed: the file.
const FILE: &str = "HEADWATER_TEST_SQLITE_FILE";
const KILLS: usize = 120;
const ROWS_OF_A_PAGE: u64 = 50;
/// Should the test itself be killed, its processes end by themselves.
const LONGEST: Duration = Duration::from_secs(60);

/// What the started process does.
#[test]
fn writes_until_it_is_killed() {
    let Some(path) = env::var_os(FILE) else {
        return;
    };
    if let Err(error) = write_pages(Path::new(&path)) {
        eprintln!("{error}");
    }
}

/// Writes `things` by key and `events` without one, the position with both.
fn write_pages(path: &Path) -> Result<()> {
    let mut sink = SqliteSink::new(path, "main", TableOptions::default())?;
    let position = State::held_by(&mut sink, CONNECTOR)?.unwrap();
    sink.restore(&[things(), events()], &position)?;
    let mut next = number(&position);
    let deadline = Instant::now() + LONGEST;
    while Instant::now() < deadline {
        for _ in 0..next % 3 + 1 {
            let records: Vec<String> = (next..next + ROWS_OF_A_PAGE)
                .map(|number| {
                    format!(
                        r#"{{"id":"{number}","count":{number},"tags":"{}"}}"#,
                        "x".repeat(500)
                    )
                })
                .collect();
            let records: Vec<&str> = records.iter().map(String::as_str).collect();
            write(&mut sink, "things", &records)?;
            write(&mut sink, "events", &records)?;
            next += ROWS_OF_A_PAGE;
        }
        sink.commit(&mut state(next))?;
    }
    Ok(())
}

#[test]
fn killed_again_and_again_rows_and_position_agree() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let place = Fixture::new();
    let mut last = 0;
    let mut runs_with_progress = 0;
    for _ in 0..KILLS {
        let before = epoch(&place);
        let mut child = Running::start(&place.path());
        // The kill must hit the writing, not the start of the process.
        let deadline = Instant::now() + LONGEST;
        while epoch(&place) == before {
            assert!(child.is_alive(), "the run ended by itself");
            assert!(Instant::now() < deadline, "the run did not begin");
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(random.u64(..40_000)));
        assert!(child.is_alive(), "the run ended by itself");
        drop(child);
        let position = agreed_position(&place);
        assert!(
            position >= last,
            "the position went back from {last} to {position}"
        );
        runs_with_progress += usize::from(position > last);
        last = position;
    }
    println!("{KILLS} kills, {runs_with_progress} runs with progress, {last} rows");
    assert!(runs_with_progress > 0, "no run got to a commit");
    assert_eq!(place.query("PRAGMA integrity_check"), ["'ok'"]);
}

/// No file may grow beyond a size, so that some write of SQLite fails: to the log, or to the file itself.
#[test]
fn where_any_write_fails_rows_and_position_agree() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let place = Fixture::new();
    let mut last = 0;
    for limit_kib in (1..=20).map(|step| step * 150 + random.u64(..150)) {
        let limited = format!("trap '' XFSZ; ulimit -f {limit_kib}; exec \"$0\" \"$@\"");
        let mut command = Command::new("bash");
        command
            .args(["-c", &limited])
            .arg(env::current_exe().unwrap());
        let output = as_writer(&mut command, &place.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let is_named =
            said.contains("the disk reports an error") || said.contains("the disk is full");
        assert!(is_named, "{limit_kib} KiB: {said}");
        let position = agreed_position(&place);
        assert!(
            position >= last,
            "the position went back from {last} to {position}"
        );
        last = position;
    }
    assert!(last > 0, "no run got to a commit");
    assert_eq!(place.query("PRAGMA integrity_check"), ["'ok'"]);
}

/// A process that is killed when it goes out of scope.
struct Running(Child);

/// The test program as the process that writes.
fn as_writer<'command>(command: &'command mut Command, path: &Path) -> &'command mut Command {
    let name = "sqlite::tests::crash::writes_until_it_is_killed";
    command
        .args(["--exact", name, "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::null())
}

impl Running {
    fn start(path: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        Self(as_writer(&mut command, path).spawn().unwrap())
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn epoch(place: &Fixture) -> Option<i64> {
    let connection = Connection::open(place.path()).ok()?;
    connection.busy_timeout(Duration::from_secs(5)).ok()?;
    let sql = "SELECT epoch FROM _headwater_state";
    connection.query_row(sql, [], |row| row.get(0)).ok()
}

/// The number of rows that the position speaks of, which are there, each once.
fn agreed_position(place: &Fixture) -> u64 {
    let mut sink = place.sink();
    let position = number(&State::held_by(&mut sink, CONNECTOR).unwrap().unwrap());
    drop(sink);
    if position > 0 {
        for table in ["things", "events"] {
            let sql = format!(
                "SELECT count(*), count(DISTINCT count), min(count), max(count) FROM {table}"
            );
            let expected = format!("{position} {position} 0 {}", position - 1);
            assert_eq!(place.query(&sql), [expected], "{table}");
        }
    }
    position
}
