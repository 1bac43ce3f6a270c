//! The tables of a store, and the upgrade of older stores.

use headwater_core::{Error, Kind, Result};

use crate::{
    database::{Database, end, first},
    key::Keyring,
    ledger::{self, StoreTable},
};

/// The statements that make each format out of the one before, for both databases.
const FORMATS: &[&[&str]] = &[FIRST, SECOND, THIRD, FOURTH];
/// The formats that need no key.
const WITHOUT_KEYS: usize = 2;
/// The format that has a ledger.
const SEALED: usize = 3;

const FIRST: &[&str] = &[
    // One row: the format, and the key of the next seal.
    "CREATE TABLE headwater_store (format BIGINT NOT NULL, key_id TEXT)",
    "INSERT INTO headwater_store (format, key_id) VALUES (0, NULL)",
    // `epoch`, `holder`, `since` and `until` are the lease of the run that is under way; times are milliseconds since 1970.
    "CREATE TABLE headwater_connections (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        connector TEXT NOT NULL,
        config TEXT NOT NULL,
        identity TEXT NOT NULL,
        version BIGINT NOT NULL,
        destination TEXT,
        created BIGINT NOT NULL,
        updated BIGINT NOT NULL,
        epoch BIGINT NOT NULL,
        holder TEXT,
        since BIGINT,
        until BIGINT
    )",
    "CREATE TABLE headwater_secrets (
        connection TEXT NOT NULL REFERENCES headwater_connections (id) ON DELETE CASCADE,
        pointer TEXT NOT NULL,
        key_id TEXT NOT NULL,
        sealed TEXT NOT NULL,
        PRIMARY KEY (connection, pointer)
    )",
    "CREATE TABLE headwater_runs (
        connection TEXT NOT NULL REFERENCES headwater_connections (id) ON DELETE CASCADE,
        epoch BIGINT NOT NULL,
        holder TEXT NOT NULL,
        started BIGINT NOT NULL,
        ended BIGINT,
        receipt TEXT,
        PRIMARY KEY (connection, epoch)
    )",
    "CREATE TABLE headwater_states (
        connection TEXT PRIMARY KEY REFERENCES headwater_connections (id) ON DELETE CASCADE,
        epoch BIGINT NOT NULL,
        saved BIGINT NOT NULL,
        state TEXT NOT NULL
    )",
];

const SECOND: &[&str] = &[
    // Every destination keeps the position with its records.
    "DROP TABLE headwater_states",
    // The number of the last row of the audit.
    "ALTER TABLE headwater_store ADD COLUMN audited BIGINT NOT NULL DEFAULT 0",
    // A connection without a title shows its name. `revision` grows with each change, `version` with each change of the
    // config. `last_check` is of the current config.
    "ALTER TABLE headwater_connections ADD COLUMN title TEXT",
    "ALTER TABLE headwater_connections ADD COLUMN description TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE headwater_connections ADD COLUMN created_by TEXT NOT NULL DEFAULT 'local'",
    "ALTER TABLE headwater_connections ADD COLUMN updated_by TEXT NOT NULL DEFAULT 'local'",
    "ALTER TABLE headwater_connections ADD COLUMN revision BIGINT NOT NULL DEFAULT 1",
    "ALTER TABLE headwater_connections ADD COLUMN checked BIGINT",
    "ALTER TABLE headwater_connections ADD COLUMN last_check TEXT",
    "ALTER TABLE headwater_connections ADD COLUMN deleted BIGINT",
    // A day, as in 2027-01-31.
    "ALTER TABLE headwater_connections ADD COLUMN expires TEXT",
    // The previous config with its seals.
    "CREATE TABLE headwater_previous (
        connection TEXT PRIMARY KEY REFERENCES headwater_connections (id) ON DELETE CASCADE,
        version BIGINT NOT NULL,
        config TEXT NOT NULL,
        identity TEXT NOT NULL,
        seals TEXT NOT NULL,
        expires TEXT,
        replaced BIGINT NOT NULL
    )",
    // Rows outlive their connections.
    "CREATE TABLE headwater_audit (
        id BIGINT PRIMARY KEY,
        time BIGINT NOT NULL,
        who TEXT NOT NULL,
        what TEXT NOT NULL,
        connection_id TEXT,
        name TEXT,
        version BIGINT,
        outcome TEXT NOT NULL,
        request_id TEXT
    )",
    "CREATE INDEX headwater_audit_names ON headwater_audit (name, id)",
    "CREATE TABLE headwater_tokens (
        name TEXT PRIMARY KEY,
        hash TEXT NOT NULL UNIQUE,
        scope TEXT NOT NULL,
        created BIGINT NOT NULL,
        last_used BIGINT,
        expires BIGINT
    )",
    // `status` and `body` appear with the answer to the request.
    "CREATE TABLE headwater_requests (
        key TEXT PRIMARY KEY,
        hash TEXT NOT NULL,
        status BIGINT,
        body TEXT,
        began BIGINT NOT NULL
    )",
    // Either `every`, in seconds, or `cron` and `zone`. `streams` is a JSON array; an empty array means all.
    "CREATE TABLE headwater_schedules (
        connection TEXT PRIMARY KEY REFERENCES headwater_connections (id) ON DELETE CASCADE,
        every BIGINT,
        cron TEXT,
        zone TEXT,
        streams TEXT NOT NULL,
        destination TEXT NOT NULL,
        redacted BIGINT NOT NULL,
        paused BIGINT NOT NULL,
        due BIGINT NOT NULL,
        started BIGINT
    )",
    "CREATE INDEX headwater_schedules_due ON headwater_schedules (due)",
    "CREATE INDEX headwater_runs_started ON headwater_runs (started)",
];

const THIRD: &[&str] = &[
    // The sealed text of `ledger.rs`, and its key; both are null in an empty store.
    "ALTER TABLE headwater_store ADD COLUMN ledger TEXT",
    "ALTER TABLE headwater_store ADD COLUMN ledger_key TEXT",
    "ALTER TABLE headwater_audit ADD COLUMN digest TEXT",
    // The previous config, sealed as a whole. The rows of an earlier version would last half an hour only.
    "DROP TABLE headwater_previous",
    "CREATE TABLE headwater_previous (
        connection TEXT PRIMARY KEY REFERENCES headwater_connections (id) ON DELETE CASCADE,
        key_id TEXT NOT NULL,
        sealed TEXT NOT NULL,
        replaced BIGINT NOT NULL
    )",
];

const FOURTH: &[&str] = &[
    // Earlier digests of requests had no key, so that a weak secret in one could be guessed. The requests stay known.
    "UPDATE headwater_requests SET hash = ''",
];

/// Creates the tables, or upgrades older ones as far as possible without a key; refuses a newer store.
pub(crate) fn begin(database: &mut dyn Database, name: &str) -> Result<()> {
    upgrade(database, name, FORMATS, WITHOUT_KEYS, |_, _| Ok(()))
}

/// Upgrades the tables to the current format.
pub(crate) fn prepare(database: &mut dyn Database, name: &str, keyring: &Keyring) -> Result<()> {
    let mut is_upgraded = false;
    upgrade(database, name, FORMATS, FORMATS.len(), |database, from| {
        is_upgraded = true;
        match from < SEALED {
            true => ledger::begin(database, keyring),
            false => Ok(()),
        }
    })?;
    if is_upgraded {
        database.forget_deleted();
    }
    Ok(())
}

fn upgrade(
    database: &mut dyn Database,
    name: &str,
    formats: &[&[&str]],
    to: usize,
    finish: impl FnOnce(&mut dyn Database, usize) -> Result<()>,
) -> Result<()> {
    // Usually there is nothing to do, and no process has to wait.
    if format(database, name, formats.len())? >= to {
        return Ok(());
    }
    database.begin_alone()?;
    end(database, |database| {
        let present = format(database, name, formats.len())?;
        if present >= to {
            return Ok(());
        }
        for statement in formats[present..to].iter().copied().flatten() {
            database.execute(statement, &[])?;
        }
        finish(database, present)?;
        let reached = i64::try_from(to).unwrap_or(i64::MAX);
        database.execute("UPDATE headwater_store SET format = ?1", &[reached.into()])?;
        Ok(())
    })
}

/// The format of a store; 0 for an empty one.
fn format(database: &mut dyn Database, name: &str, newest: usize) -> Result<usize> {
    let refused =
        |what: String| Error::new(Kind::ConfigInvalid, format!("the store {name} {what}"));
    let tables = database.tables()?;
    if !tables.iter().any(|table| table == "headwater_store") {
        if tables.is_empty() || database.is_shared() {
            return Ok(0);
        }
        return Err(refused(
            "is a SQLite database of another program; name another file".to_owned(),
        ));
    }
    let statement = format!("SELECT {} FROM headwater_store", StoreTable::FORMAT);
    let row = first(database.query(&statement, &[])?);
    let format = row.map(|row| row.get(StoreTable::FORMAT)).transpose()?;
    match format.map(usize::try_from) {
        Some(Ok(format)) if format > newest => Err(refused(format!(
            "was written by a newer version (format {format}); use that version"
        ))),
        Some(Ok(format)) if format > 0 => Ok(format),
        _ => Err(refused(
            "does not state its format; restore it from a copy".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::AuditTable,
        connection_row::{ConnectionsTable, SecretsTable},
        requests::RequestsTable,
        runs::RunsTable,
        schedules::SchedulesTable,
        sqlite::Sqlite,
        tokens::TokensTable,
        undo::PreviousTable,
    };

    #[test]
    fn every_declared_column_is_in_its_table() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Sqlite::open(&folder.path().join("store.db")).unwrap();
        upgrade(&mut database, "s", FORMATS, FORMATS.len(), |_, _| Ok(())).unwrap();
        let mut tables = database.tables().unwrap();
        for (table, columns) in [
            ("headwater_audit", AuditTable::ALL),
            ("headwater_connections", ConnectionsTable::ALL),
            ("headwater_previous", PreviousTable::ALL),
            ("headwater_requests", RequestsTable::ALL),
            ("headwater_runs", RunsTable::ALL),
            ("headwater_schedules", SchedulesTable::ALL),
            ("headwater_secrets", SecretsTable::ALL),
            ("headwater_store", StoreTable::ALL),
            ("headwater_tokens", TokensTable::ALL),
        ] {
            let statement = format!("SELECT {columns} FROM {table}");
            database.query(&statement, &[]).unwrap();
            tables.retain(|one| one != table);
        }
        assert_eq!(tables, [""; 0]);
    }

    #[test]
    fn an_older_store_is_upgraded_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let upgrade = |database: &mut Sqlite, formats: &[&[&str]]| {
            upgrade(database, "s", formats, formats.len(), |_, _| Ok(()))
        };
        upgrade(&mut Sqlite::open(&path).unwrap(), &[FIRST]).unwrap();
        let good: &[&str] = &["CREATE TABLE later (id BIGINT)"];
        let bad: &[&str] = &["CREATE TABLE half (id BIGINT)", "CREATE NONSENSE"];
        let mut database = Sqlite::open(&path).unwrap();
        upgrade(&mut database, &[FIRST, bad]).unwrap_err();
        assert!(!database.tables().unwrap().contains(&"half".to_owned()));
        assert_eq!(format(&mut database, "s", 1).unwrap(), 1);
        upgrade(&mut database, &[FIRST, good]).unwrap();
        assert!(database.tables().unwrap().contains(&"later".to_owned()));
        // The upgraded store is too new for the earlier format.
        let refused = upgrade(&mut database, &[FIRST]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the store s was written by a newer version (format 2); use that version"
        );
    }

    #[test]
    fn a_database_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("theirs.db");
        let mut database = Sqlite::open(&path).unwrap();
        database
            .execute("CREATE TABLE theirs (id INT)", &[])
            .unwrap();
        let refused = begin(&mut database, "theirs.db").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the store theirs.db is a SQLite database of another program; name another file"
        );
        assert_eq!(database.tables().unwrap(), ["theirs"]);
    }
}
