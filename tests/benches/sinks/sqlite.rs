//! `cargo bench --bench sinks`: what SQLite costs, beside a loop that does as little as can be done.
//!
//! Both write the same calls of about 1.6 KiB to a new file, in turns, in pages of 100, with a commit after as many
//! pages and the same settings of SQLite. The bare loop has one prepared statement and the values of each row in memory,
//! as they come out of a file of ours; the sink has the raw records. Then both write everything a second time, when
//! each key is there. What counts is the ratio in one run.
//!
//! `HEADWATER_BENCH_CALLS` is the number of records, 30,000 without it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use acceptance::{open, read_through, simulation, unlimited_sandbox};
use headwater::{StreamSpec, Timestamp};
use headwater_host::{Sink, State, Written};
use headwater_output::{SqliteSink, TableOptions};
use nix::sys::resource::{UsageWho, getrusage};
use rusqlite::{Connection, params_from_iter, types::Value};

const ID: &str = "clari-copilot";
const STREAM: &str = "calls";
const CALLS: u64 = 30_000;
const ROUNDS: usize = 5;
const PAGE: usize = 100;
const PAGES_OF_A_COMMIT: usize = 20;

fn main() {
    let calls = env::var("HEADWATER_BENCH_CALLS").map_or(CALLS, |text| text.parse().unwrap());
    let (spec, records) = records(calls);
    let folder = tempfile::tempdir().unwrap();
    let bytes: usize = records.iter().map(String::len).sum();
    println!(
        "{calls} calls of {} bytes, a commit after {} rows, {ROUNDS} rounds in turns",
        bytes / records.len(),
        PAGE * PAGES_OF_A_COMMIT
    );

    let sample = folder.path().join("sample.db");
    sink(&sample, &spec, &records, calls, 0);
    let bare = Bare::of(&sample);
    assert_eq!(bare.rows.len() as u64, calls);
    println!("{} columns", bare.rows[0].len());

    // Two passes each: into an empty table, and over what is there.
    let mut costs: [[Vec<Cost>; 2]; 2] = Default::default();
    for round in 0..ROUNDS {
        let path = folder.path().join(format!("bare{round}.db"));
        costs[0][0].push(bare.write(&path, &bare.insert));
        costs[1][0].push(bare.write(&path, &bare.upsert));
        remove(&path);
        let path = folder.path().join(format!("sink{round}.db"));
        costs[0][1].push(sink(&path, &spec, &records, calls, 0));
        costs[1][1].push(sink(&path, &spec, &records, 0, calls));
        remove(&path);
    }
    println!(
        "{:<34} {:>12} {:>12} {:>12}",
        "", "rows/s best", "rows/s med.", "CPU med. s"
    );
    for (pass, [bare, sink]) in ["new rows", "known rows"].into_iter().zip(&costs) {
        show(&format!("{pass}, bare prepared loop"), calls, bare);
        show(&format!("{pass}, SqliteSink"), calls, sink);
        let ratios = |of: fn(&Cost) -> Duration| {
            let ratio =
                |(bare, sink): (&Cost, &Cost)| of(bare).as_secs_f64() / of(sink).as_secs_f64();
            let mut ratios: Vec<f64> = bare.iter().zip(sink).map(ratio).collect();
            ratios.sort_by(f64::total_cmp);
            ratios[ROUNDS / 2]
        };
        println!(
            "{pass}, rows/s of the loop reached: {:.2} by wall time, {:.2} by CPU time (medians of the rounds)",
            ratios(|cost| cost.wall),
            ratios(|cost| cost.cpu)
        );
    }
}

#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

fn measured(work: impl FnOnce()) -> Cost {
    let (cpu_before, started) = (cpu(), Instant::now());
    work();
    Cost {
        wall: started.elapsed(),
        cpu: cpu() - cpu_before,
    }
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros =
        |time: nix::sys::time::TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()) as u64;
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

fn show(name: &str, calls: u64, costs: &[Cost]) {
    let mut walls: Vec<Duration> = costs.iter().map(|cost| cost.wall).collect();
    let mut cpus: Vec<Duration> = costs.iter().map(|cost| cost.cpu).collect();
    walls.sort();
    cpus.sort();
    let per_second = |wall: Duration| calls as f64 / wall.as_secs_f64();
    println!(
        "{name:<34} {:>12.0} {:>12.0} {:>12.3}",
        per_second(walls[0]),
        per_second(walls[ROUNDS / 2]),
        cpus[ROUNDS / 2].as_secs_f64()
    );
}

fn records(calls: u64) -> (StreamSpec, Vec<String>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let service = unlimited_sandbox(calls).await;
        let mut answer = (simulation(ID).form)(&service.base_url());
        answer["start_date"] = "2025-01-01".into();
        answer["requests_per_second"] = 1000.into();
        let (source, _) = open(ID, answer);
        let stream = source.stream(STREAM).unwrap();
        let read = read_through(&*stream, None, Timestamp::now())
            .await
            .unwrap();
        (stream.spec().clone(), read.records)
    })
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
        let parameters = vec!["?"; names.len()].join(", ");
        let insert = format!("INSERT INTO {STREAM} VALUES ({parameters})");
        let values: Vec<String> = names
            .iter()
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        let upsert = format!(
            "{insert} ON CONFLICT (id) DO UPDATE SET {}",
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

fn sink(path: &Path, spec: &StreamSpec, records: &[String], new: u64, known: u64) -> Cost {
    let mut total = Written::default();
    let cost = measured(|| {
        let mut sink = SqliteSink::new(path, "main", TableOptions::default()).unwrap();
        let state = sink.load(ID).unwrap().unwrap();
        sink.restore(std::slice::from_ref(spec), &state).unwrap();
        for (number, batch) in records.chunks(PAGE * PAGES_OF_A_COMMIT).enumerate() {
            for page in batch.chunks(PAGE) {
                let written = sink
                    .write(STREAM, &mut page.iter().map(|record| record.as_bytes()))
                    .unwrap();
                total.records += written.records;
                total.deduplicated += written.deduplicated;
            }
            sink.commit(&mut position(number)).unwrap();
        }
    });
    assert_eq!((total.records, total.deduplicated), (new, known));
    cost
}

fn position(number: usize) -> State {
    let text = format!(
        r#"{{"headwater_state":2,"connector":"{ID}","streams":{{"{STREAM}":{{"last_records":{number}}}}}}}"#
    );
    State::from_json(text.as_bytes(), "the state", ID).unwrap()
}

fn remove(path: &Path) {
    for end in ["", "-wal", "-shm", "-main.lock"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        let _ = fs::remove_file(PathBuf::from(name));
    }
}
