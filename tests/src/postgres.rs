//! A PostgreSQL server of its own for tests, in a folder of its own on a free port of 127.0.0.1.
//!
//! `initdb` and `postgres` are looked for on the path and where Debian puts them. Without them tests that need a server
//! are skipped, and say so; with `HEADWATER_REQUIRE_POSTGRES=1` they fail instead. The server refuses to run as root, so
//! root starts it as the user `postgres`, or as `nobody`.

use std::{
    env,
    fs::{self, File},
    io::Write,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use postgres::{Client, NoTls};

/// The superuser of every server.
const USER: &str = "headwater";
/// Somebody else may take the port between the moment it is found free and the start of the server.
const MAX_STARTS: usize = 5;
/// A busy machine may take its time.
const STARTS_WITHIN: Duration = Duration::from_secs(120);

/// Stops the server and removes its folder when its input ends, so also after tests that were killed.
const KEEPER: &str = r#"
folder=$1
shift
"$@" &
server=$!
read -r _
kill -QUIT "$server"
wait "$server"
rm -rf "$folder"
"#;

/// A running server. It stops when this is dropped, and when the process of the tests ends.
#[derive(Debug)]
pub struct Postgres {
    keeper: Child,
    port: u16,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl Postgres {
    /// Starts a server; none where there are no programs for it.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let what = "there is no PostgreSQL server; install the package postgresql";
            assert!(
                env::var_os("HEADWATER_REQUIRE_POSTGRES").is_none_or(|value| value != "1"),
                "{what}"
            );
            // Straight to the stream: what a macro prints is captured while the test passes.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED, nothing is checked against PostgreSQL: {what}"
            );
            return None;
        };
        let mut log = String::new();
        for _ in 0..MAX_STARTS {
            match start(&programs) {
                Ok(server) => return Some(server),
                Err(failed) => log = failed,
            }
        }
        panic!("the server does not start: {log}");
    }

    /// One server for all tests of a binary; none where there are no programs for it.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Makes a new, empty database and returns its URL.
    pub fn database(&self) -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        execute(&self.url("postgres"), &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }
}

/// Runs statements in the database at a URL.
pub fn execute(url: &str, statements: &str) {
    // On a thread of its own: the client has a runtime inside, which cannot run within that of a test.
    let work = || Client::connect(url, NoTls)?.batch_execute(statements);
    let done = thread::scope(|scope| scope.spawn(work).join().expect("no panic"));
    done.expect("the statements run");
}

/// The folder of the programs, the newest where there are several.
fn programs() -> Option<PathBuf> {
    let on_path = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut debian: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    debian.sort();
    let mut folders = on_path.into_iter().chain(debian.into_iter().rev());
    folders.find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// A server that takes connections, or what it said instead.
fn start(programs: &Path) -> Result<Postgres, String> {
    let folder = tempfile::tempdir().expect("a folder for the server");
    let owner = owner();
    if let Some((user, group)) = owner {
        chown(folder.path(), Some(user), Some(group)).expect("root may give a folder away");
    }
    let as_owner = |command: &mut Command| {
        if let Some((user, group)) = owner {
            command.uid(user).gid(group);
        }
    };
    let data = folder.path().join("data");
    let mut initdb = Command::new(programs.join("initdb"));
    initdb
        .args(["--username", USER, "--auth", "trust", "--encoding", "UTF8"])
        .args(["--locale", "C", "--no-sync", "--pgdata"])
        .arg(&data)
        .current_dir(&folder);
    as_owner(&mut initdb);
    let made = initdb.output().expect("initdb runs");
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned());
    }
    let log = folder.path().join("log");
    let port = free_port();
    let mut keeper = Command::new("sh");
    keeper
        .args(["-c", KEEPER, "keeper"])
        .arg(folder.path())
        .arg(programs.join("postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"])
        .arg(folder.path())
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(File::create(&log).expect("a log"));
    as_owner(&mut keeper);
    let server = Postgres {
        keeper: keeper.spawn().expect("a shell"),
        port,
    };
    // From here on the folder is the keeper's.
    let _ = folder.keep();
    let started = Instant::now();
    loop {
        let said = fs::read_to_string(&log).unwrap_or_default();
        if said.contains("ready to accept connections") {
            return Ok(server);
        }
        if said.contains("FATAL") || started.elapsed() > STARTS_WITHIN {
            return Err(said);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Who the server runs as where the tests run as root: user and group.
fn owner() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let printed = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(printed.stdout).ok()?.trim().parse().ok()
    };
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !is_root {
        return None;
    }
    let users = ["postgres", "nobody"];
    users
        .iter()
        .find_map(|user| Some((id(&["-u", user])?, id(&["-g", user])?)))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
    listener.local_addr().expect("an address").port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_and_every_database_is_new() {
        let Some(server) = Postgres::start() else {
            return;
        };
        let (first, second) = (server.database(), server.database());
        execute(&first, "CREATE TABLE one (id int)");
        execute(&second, "CREATE TABLE one (id int)");
        let port = server.port;
        drop(server);
        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
    }
}
