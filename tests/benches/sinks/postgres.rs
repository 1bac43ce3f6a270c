//! The PostgreSQL sink beside a bare COPY.
//!
//! Both put the same rows, in the same pages with the same commits, into the same tables of one server. The bare COPY
//! gets its rows ready made, as the server itself writes them in COPY's binary form: it looks into no record, asks for no
//! key and keeps no position. CPU time is ours alone, without the server's.

use std::io::{Read, Write};

use acceptance::{
    cost::{Cost, measured},
    postgres::{Postgres, execute},
};
use headwater_host::{Sink, State};
use headwater_output::Destination;
use postgres::{Client, NoTls};

use crate::{Calls, ID, PAGE, ROUNDS, STREAM, show};

const PAGES_OF_A_COMMIT: usize = 10;

pub fn compare(calls: &Calls) {
    let Some(server) = Postgres::start() else {
        return;
    };
    let url = server.database();
    let count = calls.records.len() as u64;
    sink(&url, calls, (count, 0));
    let pages = ready_pages(&url, calls.records.len().div_ceil(PAGE));
    execute(
        &url,
        &format!("CREATE TABLE bare (LIKE {STREAM} INCLUDING ALL)"),
    );
    let [mut bare_costs, mut new_costs, mut known_costs]: [Vec<Cost>; 3] = Default::default();
    for _ in 0..ROUNDS {
        execute(&url, "TRUNCATE bare");
        execute(&url, "CHECKPOINT");
        bare_costs.push(bare(&url, &pages));
        execute(&url, &format!("TRUNCATE {STREAM}"));
        execute(&url, "CHECKPOINT");
        new_costs.push(sink(&url, calls, (count, 0)));
        execute(&url, "CHECKPOINT");
        known_costs.push(sink(&url, calls, (0, count)));
    }
    println!(
        "PostgreSQL, a commit after {} rows",
        PAGE * PAGES_OF_A_COMMIT
    );
    let bare = ("bare COPY", &bare_costs[..]);
    show(calls, bare, ("new rows, PostgresSink", &new_costs));
    show(calls, bare, ("known rows, PostgresSink", &known_costs));
}

/// The pages as COPY takes them.
fn ready_pages(url: &str, pages: usize) -> Vec<Vec<u8>> {
    let mut client = Client::connect(url, NoTls).unwrap();
    let mut page = |page: usize| {
        let from = page * PAGE;
        let rows = format!("SELECT * FROM {STREAM} ORDER BY id OFFSET {from} LIMIT {PAGE}");
        let mut bytes = Vec::new();
        let mut reader = client
            .copy_out(&format!("COPY ({rows}) TO STDOUT (FORMAT binary)"))
            .unwrap();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    };
    (0..pages).map(&mut page).collect()
}

fn bare(url: &str, pages: &[Vec<u8>]) -> Cost {
    let mut client = Client::connect(url, NoTls).unwrap();
    let statement = client
        .prepare("COPY bare FROM STDIN (FORMAT binary)")
        .unwrap();
    measured(|| {
        for batch in pages.chunks(PAGES_OF_A_COMMIT) {
            let mut transaction = client.transaction().unwrap();
            for page in batch {
                let mut writer = transaction.copy_in(&statement).unwrap();
                writer.write_all(page).unwrap();
                assert!(writer.finish().unwrap() > 0);
            }
            transaction.commit().unwrap();
        }
    })
}

/// Writes all calls, of which so many are new and known.
fn sink(url: &str, calls: &Calls, (new, known): (u64, u64)) -> Cost {
    let destination = Destination::parse(url).unwrap();
    let mut sink: Box<dyn Sink> = destination.open("acme").unwrap();
    let state: State = State::held_by(&mut *sink, ID).unwrap().unwrap();
    sink.restore(std::slice::from_ref(&calls.spec), &state)
        .unwrap();
    measured(|| {
        let written = calls.write_to(&mut *sink, PAGES_OF_A_COMMIT);
        assert_eq!((written.records, written.deduplicated), (new, known));
    })
}
