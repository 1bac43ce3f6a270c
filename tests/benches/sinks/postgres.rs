//! `cargo bench -p acceptance --bench sinks_postgres`: the PostgreSQL sink beside a bare COPY.
//!
//! Both put the same rows, in the same pages with the same commits, into the same empty tables of one server. The bare
//! COPY gets its rows ready made, as the server itself writes them in COPY's binary form: it looks into no record, asks
//! for no key and keeps no position. What counts is the ratio in one run.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use acceptance::postgres::{Postgres, execute};
use headwater::StreamSpec;
use headwater_host::State;
use headwater_output::Destination;
use postgres::{Client, NoTls};
use serde_json::json;

const ROUNDS: usize = 5;
const PAGES: usize = 200;
const PAGE: usize = 100;
const PAGES_PER_COMMIT: usize = 10;
/// About the size of a call's record.
const BYTES: usize = 2_000;

const CALLS: StreamSpec = StreamSpec {
    name: "calls",
    description: "A call.",
    key: &["id"],
    cursor: None,
    incremental: true,
    schema: || {
        json!({"properties": {
            "id": {"type": "string"},
            "title": {"type": "string"},
            "started": {"type": "string", "format": "date-time"},
            "duration": {"type": "number"},
            "seats": {"type": "integer"},
            "is_open": {"type": "boolean"},
            "parties": {"type": "array"},
            "summary": {"type": "string"},
        }})
    },
};

fn main() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.database();
    let pages = pages();
    sink(&url, &pages);
    let ready = ready_pages(&url);
    execute(&url, "CREATE TABLE bare (LIKE calls INCLUDING ALL)");
    let (mut bare_times, mut sink_times, mut again_times) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        execute(&url, "TRUNCATE bare");
        execute(&url, "CHECKPOINT");
        bare_times.push(bare(&url, &ready));
        execute(&url, "TRUNCATE calls");
        execute(&url, "CHECKPOINT");
        sink_times.push(sink(&url, &pages));
        execute(&url, "CHECKPOINT");
        again_times.push(sink(&url, &pages));
    }
    let bare = median(bare_times);
    print("bare COPY", bare, bare);
    print("sink, new rows", median(sink_times), bare);
    print("sink, known rows", median(again_times), bare);
}

fn print(what: &str, time: Duration, bare: Duration) {
    let rows = (PAGES * PAGE) as f64 / time.as_secs_f64();
    let ratio = bare.as_secs_f64() / time.as_secs_f64();
    println!("{what:<18} {rows:>8.0} rows/s   {ratio:.2} of the bare COPY");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn pages() -> Vec<Vec<String>> {
    let mut random = fastrand::Rng::with_seed(1);
    let letters = |random: &mut fastrand::Rng| -> String {
        (0..random.usize(2..10))
            .map(|_| random.lowercase())
            .collect()
    };
    let words: Vec<String> = (0..3_000).map(|_| letters(&mut random)).collect();
    let mut text = |bytes: usize| {
        let mut text = String::new();
        while text.len() < bytes {
            text.push_str(&words[random.usize(..words.len())]);
            text.push(' ');
        }
        text
    };
    let mut record = |at: usize| {
        let party = || json!({"name": "Ada Example", "email": format!("ada{at}@example.com"), "role": "host"});
        let record = json!({
            "id": format!("{:016x}", (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            "title": text(40),
            "started": format!("2024-05-01T10:{:02}:{:02}.250Z", at / 60 % 60, at % 60),
            "duration": at as f64 + 0.5,
            "seats": at,
            "is_open": at.is_multiple_of(2),
            "parties": [party(), party(), party()],
            "summary": "",
        })
        .to_string();
        let missing = BYTES - record.len();
        record.replace(
            "\"summary\":\"\"",
            &format!("\"summary\":\"{}\"", text(missing)),
        )
    };
    (0..PAGES)
        .map(|page| (page * PAGE..(page + 1) * PAGE).map(&mut record).collect())
        .collect()
}

/// The pages as COPY takes them.
fn ready_pages(url: &str) -> Vec<Vec<u8>> {
    let mut client = Client::connect(url, NoTls).unwrap();
    let mut page = |page: usize| {
        let (from, to) = (page * PAGE, (page + 1) * PAGE);
        let rows =
            format!("SELECT * FROM calls WHERE seats >= {from} AND seats < {to} ORDER BY seats");
        let mut bytes = Vec::new();
        let mut reader = client
            .copy_out(&format!("COPY ({rows}) TO STDOUT (FORMAT binary)"))
            .unwrap();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    };
    (0..PAGES).map(&mut page).collect()
}

fn bare(url: &str, pages: &[Vec<u8>]) -> Duration {
    let mut client = Client::connect(url, NoTls).unwrap();
    let statement = client
        .prepare("COPY bare FROM STDIN (FORMAT binary)")
        .unwrap();
    let started = Instant::now();
    for batch in pages.chunks(PAGES_PER_COMMIT) {
        let mut transaction = client.transaction().unwrap();
        for page in batch {
            let mut writer = transaction.copy_in(&statement).unwrap();
            writer.write_all(page).unwrap();
            assert_eq!(writer.finish().unwrap(), PAGE as u64);
        }
        transaction.commit().unwrap();
    }
    started.elapsed()
}

fn sink(url: &str, pages: &[Vec<String>]) -> Duration {
    let destination = Destination::parse(url).unwrap();
    let mut sink = destination.open("acme").unwrap();
    let mut state: State = sink.load("test").unwrap().unwrap();
    sink.restore(&[CALLS], &state).unwrap();
    let started = Instant::now();
    for batch in pages.chunks(PAGES_PER_COMMIT) {
        for page in batch {
            let mut records = page.iter().map(String::as_bytes);
            let written = sink.write("calls", &mut records).unwrap();
            assert_eq!(written.records + written.deduplicated, PAGE as u64);
            assert_eq!(written.overflowed, 0);
        }
        sink.commit(&mut state).unwrap();
    }
    started.elapsed()
}
