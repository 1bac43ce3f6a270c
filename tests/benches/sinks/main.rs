//! `cargo bench --bench sinks`: what the places cost that records land in, each beside a loop that does as little as can
//! be done.
//!
//! Every comparison takes the same calls of the simulator, held in memory, in pages of 100, in turns with the loop. What
//! counts is the ratio in one run. The sinks have the raw records and a state to keep; what the loops are spared is said
//! in their modules.
//!
//! `HEADWATER_BENCH_CALLS` is the number of records, 30,000 without it; `HEADWATER_BENCH_SINK` the only sink to look at:
//! `sqlite`, `postgres` or `parquet`.

mod parquet;
mod postgres;
mod sqlite;

use std::env;

use acceptance::{
    cost::{Cost, Ratios, Table, median},
    open, read_through, simulation, unlimited_sandbox,
};
use headwater_core::{StreamSpec, Timestamp};
use headwater_host::{Sink, State, WriteCounts};

const ID: &str = "clari-copilot";
const STREAM: &str = "calls";
const CALLS: u64 = 30_000;
const ROUNDS: usize = 5;
const PAGE: usize = 100;

/// What is written.
struct Calls {
    spec: StreamSpec,
    records: Vec<String>,
}

fn main() {
    if let Ok(side) = env::var(parquet::SIDE) {
        return parquet::work(&side);
    }
    let count = env::var("HEADWATER_BENCH_CALLS").map_or(CALLS, |text| text.parse().unwrap());
    let calls = Calls::of_the_simulator(count);
    println!(
        "{} calls of {} bytes, {ROUNDS} rounds in turns\n",
        calls.records.len(),
        calls.bytes() / calls.records.len()
    );
    let only = env::var("HEADWATER_BENCH_SINK").ok();
    let comparisons: [(&str, Comparison); 3] = [
        ("sqlite", sqlite::compare),
        ("postgres", postgres::compare),
        ("parquet", parquet::compare),
    ];
    for (name, compare) in comparisons {
        if only.as_deref().is_none_or(|only| only == name) {
            compare(&calls);
        }
    }
}

/// Measures one sink against its floor.
type Comparison = fn(&Calls);

impl Calls {
    fn of_the_simulator(count: u64) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let service = unlimited_sandbox(count).await;
            let mut answer = (simulation(ID).form)(&service.base_url());
            answer["start_date"] = "2025-01-01".into();
            answer["requests_per_second"] = 1000.into();
            let (source, _) = open(ID, answer);
            let stream = source.stream(STREAM).unwrap();
            let read = read_through(&*stream, None, Timestamp::now());
            let records = read.await.unwrap().records;
            Self {
                spec: stream.spec().clone(),
                records,
            }
        })
    }

    fn bytes(&self) -> usize {
        self.records.iter().map(String::len).sum()
    }

    /// Puts all of them into a sink that is ready for them, with a commit after so many pages.
    fn write_to(&self, sink: &mut dyn Sink, pages_of_a_commit: usize) -> WriteCounts {
        let mut total = WriteCounts::default();
        for (number, batch) in self.records.chunks(PAGE * pages_of_a_commit).enumerate() {
            for page in batch.chunks(PAGE) {
                let mut records = page.iter().map(String::as_bytes);
                let written = sink.write(STREAM, &mut records).unwrap();
                total.records += written.records;
                total.deduplicated += written.deduplicated;
                total.overflowed += written.overflowed;
            }
            sink.commit(&mut position(number)).unwrap();
        }
        total
    }
}

/// A state that differs from commit to commit.
fn position(number: usize) -> State {
    let text = format!(
        r#"{{"headwater_state":2,"connector":"{ID}","streams":{{"{STREAM}":{{"last_records":{number}}}}}}}"#
    );
    State::from_json(text.as_bytes(), "the state", ID).unwrap()
}

/// The bare loop and the sink, and what the sink reaches of the loop's rows per second.
fn show(calls: &Calls, bare: (&str, &[Cost]), sink: (&str, &[Cost])) {
    print!("{}", Table(&[bare, sink]));
    let rows = |costs: &[Cost]| {
        let wall = median(costs.iter().map(|cost| cost.wall).collect());
        calls.records.len() as f64 / wall.as_secs_f64()
    };
    println!(
        "rows/s, medians    {:.0} and {:.0}",
        rows(bare.1),
        rows(sink.1)
    );
    println!("share of the rows/s {}", Ratios::of_wall(bare.1, sink.1));
    println!("CPU ratio           {}\n", Ratios::of_cpu(sink.1, bare.1));
}
