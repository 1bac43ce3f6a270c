//! `cargo bench --bench waiting`: the time that a slow service leaves, and how much of it is lost.
//!
//! The simulator takes 50 ms for each answer. First the details of 2,000 calls are read at 10 requests a second, one
//! request for each: what counts is the time beside what the limit allows. Then 10,000 calls are read in pages of 100
//! without a limit, with as many requests at once as the command line makes by itself and one by one, in turns.
//!
//! `HEADWATER_BENCH_DETAILS` is the number of calls with details, which take a tenth of a second each.

use std::{env, fs, path::Path, process::Command, time::Duration};

use acceptance::{
    cost::{Cost, Ratios, Table, measure},
    simulation,
};
use headwater_sandbox::{CopilotOptions, Faults, Sandbox};
use tokio::runtime::Runtime;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ROUNDS: usize = 3;
const DETAILS: u64 = 2_000;
const CALLS: u64 = 10_000;
const PER_SECOND: u32 = 10;
/// Far more than comes together.
const UNLIMITED: u32 = 1000;

fn main() {
    let details = env::var("HEADWATER_BENCH_DETAILS").map_or(DETAILS, |text| text.parse().unwrap());
    at_once();
    limit(details);
}

fn at_once() {
    let runtime = Runtime::new().unwrap();
    let service = runtime.block_on(service(CALLS, None));
    let [mut one_by_one, mut at_once]: [Vec<Cost>; 2] = Default::default();
    for _ in 0..ROUNDS {
        let read = |more: &[&str]| read(&service, "calls", UNLIMITED, more);
        one_by_one.push(read(&["--concurrency", "1"]));
        at_once.push(read(&[]));
    }
    println!("{CALLS} calls in pages of 100, 50 ms for each answer, {ROUNDS} rounds in turns");
    let table = [
        ("--concurrency 1", &one_by_one[..]),
        ("headwater read", &at_once),
    ];
    print!("{}", Table(&table));
    println!(
        "time ratio       {}\n",
        Ratios::of_wall(&at_once, &one_by_one)
    );
}

fn limit(details: u64) {
    let runtime = Runtime::new().unwrap();
    let service = runtime.block_on(service(details, Some(PER_SECOND)));
    let cost = read(&service, "call_details", PER_SECOND, &[]);
    let stats = service.stats();
    // The first request needs no wait.
    let allowed = Duration::from_secs(stats.requests - 1) / PER_SECOND;
    println!(
        "details of {details} calls, {PER_SECOND} requests a second, 50 ms for each answer: {} requests in {:.2} s",
        stats.requests,
        cost.wall.as_secs_f64()
    );
    println!(
        "ratio to the limit {:.3}",
        cost.wall.as_secs_f64() / allowed.as_secs_f64()
    );
    println!("answers 429        {}", stats.throttled);
    println!("most in a second   {}", stats.peak_per_second);
}

async fn service(calls: u64, per_second: Option<u32>) -> Sandbox {
    let mut options = CopilotOptions {
        calls,
        faults: Faults {
            latency_ms: 50,
            ..Faults::default()
        },
        ..CopilotOptions::default()
    };
    options.limits.per_second = per_second;
    Sandbox::start(options).await.unwrap()
}

fn read(service: &Sandbox, stream: &str, per_second: u32, more: &[&str]) -> Cost {
    let folder = tempfile::tempdir().unwrap();
    let mut answer = (simulation("clari-copilot").form)(&service.base_url());
    answer["start_date"] = "2025-01-01".into();
    answer["requests_per_second"] = per_second.into();
    let mut command = Command::new(HEADWATER);
    command
        .args(["read", "clari-copilot", "--config", "-", "--quiet"])
        .args(["--stream", stream, "--out"])
        .arg(folder.path())
        .args(more);
    let cost = measure(&mut command, answer.to_string().as_bytes());
    assert!(lines(&folder.path().join(format!("{stream}.jsonl"))) > 0);
    cost
}

fn lines(path: &Path) -> usize {
    fs::read(path).unwrap().split(|byte| *byte == b'\n').count() - 1
}
