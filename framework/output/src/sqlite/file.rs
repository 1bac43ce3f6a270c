//! Opening the file, and taking the run: from here on no other run of the connection commits to it.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use headwater_core::{Error, Kind, Result, sink::busy};
use headwater_files::{
    Locked,
    create::{Access, make_database, open_or_make_lock},
    refuse_untrusted_database,
};
use rusqlite::{
    Connection, MAIN_DB, OpenFlags, OptionalExtension, Row, TransactionBehavior, params,
};

use super::problem::{READ_ONLY, problem};

/// The version of our own tables in the file.
const FORMAT: i64 = 1;
/// How long another program may hold the file.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open file, and the right to commit to it.
#[derive(Debug)]
pub(super) struct Run {
    pub connection: Connection,
    pub epoch: i64,
    /// The state as the file has it; empty before the first commit.
    pub stored_state: Vec<u8>,
    /// Dropped after the connection, since the file is in use until then.
    _lock: Locked,
}

/// Opens the file and takes the run. `read` gets the state that the last run left, and may refuse it before anything
/// changes.
pub(super) fn take(
    path: &Path,
    name: &str,
    connector: &str,
    read: impl FnOnce(&[u8], &str) -> Result<()>,
) -> Result<Run> {
    let failed = |error: rusqlite::Error| problem(path, error);
    make(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    if connection.is_readonly(MAIN_DB).map_err(failed)? {
        return Err(Error::new(
            Kind::OutputFailed,
            format!("{} {READ_ONLY}", path.display()),
        ));
    }
    configure(&connection).map_err(failed)?;
    let lock = lock(path, name)?;

    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    refuse_newer(&transaction, path)?;
    transaction.execute_batch(TABLES).map_err(failed)?;
    let stored_state = stored_state(&transaction, name).map_err(failed)?;
    if let Some(json) = &stored_state {
        let place = format!("the state of the connection {name} in {}", path.display());
        read(json, &place)?;
    }
    let epoch = transaction
        .query_row(
            "INSERT INTO _headwater_state (connection, connector, epoch) VALUES (?1, ?2, 1) \
             ON CONFLICT (connection) DO UPDATE SET connector = ?2, epoch = epoch + 1 RETURNING epoch",
            params![name, connector],
            |row| row.get(0),
        )
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    let stored_state = stored_state.unwrap_or_default();
    Ok(Run {
        connection,
        epoch,
        stored_state,
        _lock: lock,
    })
}

/// Makes a missing file, and refuses one that another user may change.
fn make(path: &Path) -> Result<()> {
    let made = Access::of_records().and_then(|access| make_database(path, access));
    match made {
        Err(error) if error.raw_os_error().is_none() => {
            let text = format!("{} cannot be written: {error}", path.display());
            Err(Error::new(Kind::OutputFailed, text))
        }
        // What the system refuses, SQLite meets too, and says what to do.
        _ => Ok(()),
    }
}

/// Whether a run has used the file. Looking changes nothing.
pub(super) fn is_ours(path: &Path) -> Result<bool> {
    has_table(&look(path)?, "_headwater_state").map_err(|error| problem(path, error))
}

/// The file for looking at it; an empty one where there is none.
pub(super) fn look(path: &Path) -> Result<Connection> {
    let opened = if path.exists() {
        refuse_untrusted_database(path).map_err(|error| {
            let text = format!("{} cannot be read: {error}", path.display());
            Error::new(Kind::OutputFailed, text)
        })?;
        // Able to write, since only then nothing of the log is left when it is closed.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(path, flags)
    } else {
        Connection::open_in_memory()
    };
    opened.map_err(|error| problem(path, error))
}

/// The state that the last run left, for those who only want to look.
pub(super) fn peek(path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    if !path.exists() {
        return Ok(None);
    }
    let failed = |error: rusqlite::Error| problem(path, error);
    let connection = look(path)?;
    refuse_newer(&connection, path)?;
    if !has_table(&connection, "_headwater_state").map_err(failed)? {
        return Ok(None);
    }
    stored_state(&connection, name).map_err(failed)
}

fn stored_state(connection: &Connection, name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT state FROM _headwater_state WHERE connection = ?1";
    let text = |row: &Row<'_>| Ok(row.get_ref(0)?.as_bytes_or_null()?.map(<[u8]>::to_vec));
    let found = connection.query_row(sql, [name], text).optional()?;
    Ok(found.flatten())
}

pub(super) fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT * FROM sqlite_schema WHERE name = ?1)";
    connection.query_row(sql, [name], |row| row.get(0))
}

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS _headwater_format (version INTEGER NOT NULL);
    INSERT INTO _headwater_format SELECT 1 WHERE NOT EXISTS (SELECT * FROM _headwater_format);
    CREATE TABLE IF NOT EXISTS _headwater_state (
        connection TEXT NOT NULL PRIMARY KEY,
        connector TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        state TEXT,
        written_at TEXT
    );
    CREATE TABLE IF NOT EXISTS _headwater_tables (
        table_name TEXT NOT NULL PRIMARY KEY COLLATE NOCASE,
        connection TEXT NOT NULL,
        stream TEXT NOT NULL,
        mode TEXT NOT NULL,
        key TEXT NOT NULL,
        columns TEXT NOT NULL
    );
";

/// A commit that was reported outlives a power cut; a long transaction does not leave a large log behind.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    // The answer is the mode that the file is in. Where its file system cannot have this one, any other is as safe.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)
}

fn refuse_newer(connection: &Connection, path: &Path) -> Result<()> {
    let failed = |error: rusqlite::Error| problem(path, error);
    if !has_table(connection, "_headwater_format").map_err(failed)? {
        return Ok(());
    }
    let format: Option<i64> = connection
        .query_row("SELECT max(version) FROM _headwater_format", [], |row| {
            row.get(0)
        })
        .map_err(failed)?;
    match format {
        Some(newer) if newer > FORMAT => {
            let text = format!(
                "{} was written by a newer version (format {newer}); use that version",
                path.display()
            );
            Err(Error::new(Kind::ConfigInvalid, text))
        }
        _ => Ok(()),
    }
}

/// Refuses a second run early. The lock is on a file of its own, since SQLite has locks on the other one.
fn lock(path: &Path, name: &str) -> Result<Locked> {
    let lock_path = lock_path(path, name);
    let failed = |error: io::Error| {
        let text = format!(
            "the lock {} cannot be made: {error}; let this user write to its folder",
            lock_path.display()
        );
        Error::new(Kind::OutputFailed, text)
    };
    let file = Access::of_records().and_then(|access| open_or_make_lock(&lock_path, access));
    let locked = file.and_then(Locked::take).map_err(failed)?;
    locked.ok_or_else(|| busy(path.display(), Some(name)))
}

/// One lock for each connection, so that several may share a file.
pub(super) fn lock_path(path: &Path, name: &str) -> PathBuf {
    let clean = |letter: char| {
        if letter.is_ascii_alphanumeric() || letter == '-' {
            letter
        } else {
            '_'
        }
    };
    let clean: String = name.chars().take(64).map(clean).collect();
    let mut lock = path.as_os_str().to_owned();
    lock.push(format!("-{clean}.lock"));
    PathBuf::from(lock)
}
