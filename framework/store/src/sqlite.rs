//! A store in a SQLite file.

use std::{
    io,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use headwater_core::{Error, Kind, Result};
use headwater_files::{
    create::{Access, make_database, make_folder},
    refuse_untrusted_folder,
};
use rusqlite::{
    Connection, ErrorCode, ToSql, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};

use crate::database::{Column, Database, Row, Value};

/// How long another process may hold the file for writing.
const BUSY: Duration = Duration::from_secs(10);
/// Between two tries where SQLite does not try again itself.
const PAUSE: Duration = Duration::from_millis(5);

/// `secure_delete` overwrites deleted rows; `trusted_schema` keeps code in the schema of a foreign file from running.
const PRAGMAS: &str = "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON; \
                       PRAGMA trusted_schema = OFF;";

pub(crate) struct Sqlite {
    connection: Connection,
    name: String,
}

impl Sqlite {
    /// Opens a file. Creates a missing one with its folder, for its owner only.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let made = make(path).and_then(|()| refuse_untrusted_folder(path));
        made.map_err(|error| match error.raw_os_error() {
            Some(_) => {
                let text = format!("the store {name} cannot be opened: {error}");
                Error::new(Kind::OutputFailed, text)
            }
            None => {
                let text = format!("the store {name} is not safe: {error}");
                Error::new(Kind::ConfigInvalid, text)
            }
        })?;
        let opened = Connection::open(path).and_then(|connection| {
            connection.busy_timeout(BUSY)?;
            connection.execute_batch(PRAGMAS)?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => Ok(Self { connection, name }),
            Err(error) => Err(failed(&name, error)),
        }
    }

    /// Lets others read while one writes. The file keeps the mode, so this is set only once the file is known to be
    /// ours.
    pub(crate) fn keep_log(&mut self) -> Result<()> {
        // SQLite waits for other processes with every statement but this one; another process that opens a new store
        // makes it fail.
        let end = Instant::now() + BUSY;
        loop {
            match self.query("PRAGMA journal_mode = WAL", &[]) {
                Err(error) if error.kind() == Kind::Unavailable && Instant::now() < end => {
                    thread::sleep(PAUSE);
                }
                done => return done.map(drop),
            }
        }
    }

    fn run<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.connection).map_err(|error| failed(&self.name, error))
    }
}

/// Makes a missing file with its folder, and refuses a file that another user may change.
fn make(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        make_folder(folder, Access::OWNER)?;
    }
    make_database(path, Access::OWNER)
}

fn failed(name: &str, error: rusqlite::Error) -> Error {
    let code = error.sqlite_error_code();
    let (kind, what) = match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Kind::Unavailable,
            "is in use by another process; try again".to_owned(),
        ),
        Some(ErrorCode::NotADatabase) => (
            Kind::ConfigInvalid,
            "is not a SQLite database; name another file".to_owned(),
        ),
        Some(ErrorCode::DatabaseCorrupt) => (
            Kind::ConfigInvalid,
            "is damaged; restore it from a copy".to_owned(),
        ),
        Some(ErrorCode::DiskFull) => (
            Kind::OutputFailed,
            "has no space left on its disk".to_owned(),
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => (
            Kind::OutputFailed,
            "cannot be opened for writing; check its permissions".to_owned(),
        ),
        Some(ErrorCode::SystemIoFailure) => (
            Kind::OutputFailed,
            "cannot be read or written by the system".to_owned(),
        ),
        // The text of any other error may contain a value.
        _ => (Kind::Unexpected, "refused a statement".to_owned()),
    };
    Error::new(kind, format!("the store {name} {what}")).caused_by(error)
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Integer(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl Database for Sqlite {
    fn query(&mut self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        self.run(|connection| {
            let mut prepared = connection.prepare(statement)?;
            let labels: Arc<[String]> = prepared.column_names().map(str::to_owned).collect();
            let mut rows = prepared.query(params_from_iter(parameters))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let value = |column| Ok(value(row.get_ref(column)?));
                let values = (0..labels.len()).map(value);
                found.push(Row::new(&labels, values.collect::<rusqlite::Result<_>>()?));
            }
            Ok(found)
        })
    }

    fn execute(&mut self, statement: &str, parameters: &[Value]) -> Result<u64> {
        self.run(|connection| connection.execute(statement, params_from_iter(parameters)))
            .map(|changed| changed as u64)
    }

    fn begin(&mut self) -> Result<()> {
        // Takes the lock for writing at once: later, this could fail half way.
        self.run(|connection| connection.execute_batch("BEGIN IMMEDIATE"))
    }

    fn begin_alone(&mut self) -> Result<()> {
        self.begin()
    }

    fn now(&mut self) -> Result<i64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(now.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        }))
    }

    fn tables(&mut self) -> Result<Vec<String>> {
        const NAME: Column<String> = Column::new("name AS \"name\"", "name");
        let statement = format!("SELECT {NAME} FROM sqlite_master WHERE type = 'table'");
        let rows = self.query(&statement, &[])?;
        rows.iter().map(|row| row.get(NAME)).collect()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn forget_deleted(&mut self) {
        // SQLite does nothing while others read: deleted rows then stay in the log until the next time.
        let _ = self.query("PRAGMA wal_checkpoint(TRUNCATE)", &[]);
    }
}

/// A store writes only texts and whole numbers; the reader of the row refuses any other value.
fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_opens_a_store_waits_for_those_who_still_make_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let (mut here, mut there) = (Sqlite::open(&path).unwrap(), Sqlite::open(&path).unwrap());
        here.execute("CREATE TABLE t (id INT)", &[]).unwrap();
        here.begin().unwrap();
        thread::scope(|scope| {
            let opened = scope.spawn(|| there.keep_log());
            thread::sleep(Duration::from_millis(100));
            here.execute("COMMIT", &[]).unwrap();
            opened.join().unwrap().unwrap();
        });
    }
}
