//! The SQLite sink beside a bare loop: one prepared statement, and the values of each row in memory, as they come out of
//! a file of ours. Both write to a new file, with a commit after as many pages and the same settings of SQLite; then both
//! write everything a second time, when each key is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use acceptance::cost::{Cost, measured};
use headwater_host::{Sink, State};
use headwater_output::{SqliteSink, TableOptions};
use rusqlite::{Connection, params_from_iter, types::Value};

use crate::{Calls, ID, PAGE, ROUNDS, STREAM, show};

const PAGES_OF_A_COMMIT: usize = 20;

pub fn compare(calls: &Calls) {
    let folder = tempfile::tempdir().unwrap();
    let sample = folder.path().join("sample.db");
    let count = calls.records.len() as u64;
    sink(&sample, calls, (count, 0));
    let bare = Bare::of(&sample);
    assert_eq!(bare.rows.len(), calls.records.len());
    println!(
        "SQLite, {} columns, a commit after {} rows",
        bare.rows[0].len(),
        PAGE * PAGES_OF_A_COMMIT
    );
    // Two passes each: into an empty table, and over what is there.
    let mut costs: [[Vec<Cost>; 2]; 2] = Default::default();
    for round in 0..ROUNDS {
        let path = folder.path().join(format!("bare{round}.db"));
        costs[0][0].push(bare.write(&path, &bare.insert));
        costs[1][0].push(bare.write(&path, &bare.upsert));
        remove(&path);
        let path = folder.path().join(format!("sink{round}.db"));
        costs[0][1].push(sink(&path, calls, (count, 0)));
        costs[1][1].push(sink(&path, calls, (0, count)));
        remove(&path);
    }
    let [[bare_new, sink_new], [bare_known, sink_known]] = &costs;
    show(
        calls,
        ("new rows, bare prepared loop", bare_new),
        ("new rows, SqliteSink", sink_new),
    );
    show(
        calls,
        ("known rows, bare loop", bare_known),
        ("known rows, SqliteSink", sink_known),
    );
}

/// The bare loop: the rows of a file of ours, its table, and one statement for each.
struct Bare {
    tables: Vec<String>,
    insert: String,
    upsert: String,
    rows: Vec<Vec<Value>>,
}

impl Bare {
    fn of(sample: &Path) -> Self {
        let connection = Connection::open(sample).unwrap();
        let table: String = connection
            .query_row(
                "SELECT sql FROM sqlite_schema WHERE name = ?1",
                [STREAM],
                |row| row.get(0),
            )
            .unwrap();
        let mut statement = connection
            .prepare(&format!("SELECT * FROM {STREAM}"))
            .unwrap();
        let names: Vec<String> = statement
            .column_names()
            .map(|name| format!("\"{name}\""))
            .collect();
        let rows = statement
            .query_map([], |row| {
                (0..names.len()).map(|place| row.get(place)).collect()
            })
            .unwrap();
        let rows = rows.collect::<Result<_, _>>().unwrap();
        let mut statement = connection
            .prepare(
                "SELECT part.name FROM pragma_index_list(?1) own, pragma_index_info(own.name) part \
                 WHERE own.origin = 'u' ORDER BY part.seqno",
            )
            .unwrap();
        let key = statement.query_map([STREAM], |row| row.get(0)).unwrap();
        let key: Vec<String> = key.collect::<Result<_, _>>().unwrap();
        let parameters = vec!["?"; names.len()].join(", ");
        let insert = format!("INSERT INTO {STREAM} VALUES ({parameters})");
        let values: Vec<String> = names
            .iter()
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        let upsert = format!(
            "{insert} ON CONFLICT ({}) DO UPDATE SET {}",
            key.join(", "),
            values.join(", ")
        );
        Self {
            tables: vec![table, "CREATE TABLE position (at INTEGER)".to_owned()],
            insert,
            upsert,
            rows,
        }
    }

    fn write(&self, path: &Path, sql: &str) -> Cost {
        measured(|| {
            let is_new = !path.exists();
            let connection = Connection::open(path).unwrap();
            connection
                .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
                .unwrap();
            connection
                .pragma_update(None, "synchronous", "FULL")
                .unwrap();
            if is_new {
                connection.execute_batch(&self.tables.join(";")).unwrap();
            }
            let mut statement = connection.prepare(sql).unwrap();
            for (number, batch) in self.rows.chunks(PAGE * PAGES_OF_A_COMMIT).enumerate() {
                connection.execute_batch("BEGIN IMMEDIATE").unwrap();
                for row in batch {
                    statement.execute(params_from_iter(row)).unwrap();
                }
                connection
                    .execute("INSERT INTO position VALUES (?1)", [number as i64])
                    .unwrap();
                connection.execute_batch("COMMIT").unwrap();
            }
        })
    }
}

/// Writes all calls, of which so many are new and known.
fn sink(path: &Path, calls: &Calls, (new, known): (u64, u64)) -> Cost {
    measured(|| {
        let mut sink = SqliteSink::new(path, "main", TableOptions::default()).unwrap();
        let state = State::held_by(&mut sink, ID).unwrap().unwrap();
        sink.restore(std::slice::from_ref(&calls.spec), &state)
            .unwrap();
        let written = calls.write_to(&mut sink, PAGES_OF_A_COMMIT);
        assert_eq!((written.records, written.deduplicated), (new, known));
    })
}

fn remove(path: &Path) {
    for end in ["", "-wal", "-shm", "-main.lock"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        let _ = fs::remove_file(PathBuf::from(name));
    }
}
