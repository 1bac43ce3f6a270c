//! `cargo bench`: what reading costs, beside a loop that does as little as can be done.
//!
//! A simulator on loopback serves the calls. Two programs read them to a file, in turns, each as a process of its own:
//! the shipped binary, and the smallest loop over reqwest that cuts out the raw records (`serde_json::RawValue`) and
//! writes them, without state, retry, limit or resume. What counts is the ratio of their CPU times in one run; times
//! alone say more about the machine. Then follow the peak memory at two sizes, the time lost against the service's
//! rate limit, and the start of the process.

mod cost;

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufWriter, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cost::{Cost, measure, median, median_of, smallest};

use acceptance::{sandbox, simulation, unlimited_sandbox};
use headwater::Timestamp;
use headwater_sandbox::CopilotOptions;
use serde::Deserialize;
use serde_json::value::RawValue;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
/// Set for the processes that run the minimal loop.
const MINIMAL: &str = "HEADWATER_BENCH_MINIMAL";
/// Far more than one connection gets through.
const UNLIMITED: u32 = 1000;
const ROUNDS: usize = 5;
const CALLS: u64 = 200_000;
/// Windows of the minimal loop, so that each stays under the service's cap of 10,000.
const WINDOWS: i64 = 30;
/// The span of the simulator's calls, with room for the last ones to be processed.
const SPAN: (&str, &str) = ("2025-01-01T00:00:00Z", "2026-01-05T00:00:00Z");

fn main() {
    if let Ok(base_url) = env::var(MINIMAL) {
        return minimal_loop(&base_url, Path::new(&env::args_os().nth(1).unwrap()));
    }
    let calls = env::var("HEADWATER_BENCH_CALLS").map_or(CALLS, |text| text.parse().unwrap());
    throughput(calls);
    rate_limit();
    start();
}

fn throughput(calls: u64) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let service = runtime.block_on(unlimited_sandbox(calls));
    let mut costs: [Vec<Cost>; 2] = Default::default();
    for _ in 0..ROUNDS {
        let out = folder.path().join("minimal.jsonl");
        costs[0].push(minimal(&service.base_url(), &out));
        let minimal_lines = lines(&out);
        let out = folder.path().join("out");
        costs[1].push(headwater_read(&service.base_url(), &out, UNLIMITED));
        assert_eq!(
            lines(&out.join("calls.jsonl")),
            minimal_lines,
            "both read the same calls"
        );
        fs::remove_dir_all(out).unwrap();
    }
    let small = runtime.block_on(unlimited_sandbox(calls / 10));
    let small_peak =
        headwater_read(&small.base_url(), &folder.path().join("small"), UNLIMITED).peak_kib;

    println!("reading {calls} calls of about 1.6 KiB in pages of 100, {ROUNDS} rounds in turns");
    println!(
        "{:<16} {:>12} {:>12} {:>12} {:>10}",
        "", "CPU min s", "CPU median s", "wall med. s", "peak MiB"
    );
    let [minimal, ours] = costs;
    for (name, costs) in [("minimal loop", &minimal), ("headwater read", &ours)] {
        println!(
            "{name:<16} {:>12.3} {:>12.3} {:>12.3} {:>10.1}",
            smallest(costs).as_secs_f64(),
            median(costs.iter().map(|cost| cost.cpu).collect()).as_secs_f64(),
            median(costs.iter().map(|cost| cost.wall).collect()).as_secs_f64(),
            costs.iter().map(|cost| cost.peak_kib).max().unwrap() as f64 / 1024.0,
        );
    }
    let ratios: Vec<f64> = ours
        .iter()
        .zip(&minimal)
        .map(|(ours, minimal)| ours.cpu.as_secs_f64() / minimal.cpu.as_secs_f64())
        .collect();
    println!(
        "CPU ratio        {:.2} median of the rounds, {:.2} of the minima",
        median_of(ratios),
        { smallest(&ours).as_secs_f64() / smallest(&minimal).as_secs_f64() }
    );
    println!(
        "peak at a tenth  {:.1} MiB for {} calls\n",
        small_peak as f64 / 1024.0,
        calls / 10
    );
}

fn rate_limit() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let service = runtime.block_on(sandbox(CopilotOptions {
        calls: 20_000,
        ..CopilotOptions::default()
    }));
    let folder = tempfile::tempdir().unwrap();
    let cost = headwater_read(&service.base_url(), &folder.path().join("out"), 10);
    let stats = service.stats();
    // The first request needs no wait; the limit allows one every 100 ms after it.
    let allowed = Duration::from_millis(100 * (stats.requests - 1));
    println!(
        "10 requests a second: {} requests in {:.2} s",
        stats.requests,
        cost.wall.as_secs_f64()
    );
    println!(
        "ratio to the limit {:.3}",
        cost.wall.as_secs_f64() / allowed.as_secs_f64()
    );
    println!("answers 429        {}", stats.throttled);
    println!("most in a second   {}\n", stats.peak_per_second);
}

fn start() {
    let time = |program: &str, arguments: &[&str]| {
        let times = (0..40).map(|_| {
            let started = Instant::now();
            let status = Command::new(program)
                .args(arguments)
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert!(status.success());
            started.elapsed()
        });
        median(times.collect())
    };
    let floor = time("true", &[]);
    let spec = time(HEADWATER, &["spec", "clari-copilot"]);
    println!("start of the process, median of 40");
    println!(
        "true                         {:.2} ms",
        floor.as_secs_f64() * 1e3
    );
    println!(
        "headwater spec clari-copilot {:.2} ms",
        spec.as_secs_f64() * 1e3
    );
}

fn headwater_read(base_url: &str, out: &Path, per_second: u32) -> Cost {
    let mut answer = (simulation("clari-copilot").form)(base_url);
    answer["start_date"] = "2025-01-01".into();
    answer["requests_per_second"] = per_second.into();
    let state = out.with_extension("state.json");
    let mut command = Command::new(HEADWATER);
    command.args([
        "read",
        "clari-copilot",
        "--config",
        "-",
        "--stream",
        "calls",
        "--quiet",
    ]);
    command.args([
        OsStr::new("--out"),
        out.as_os_str(),
        OsStr::new("--state"),
        state.as_os_str(),
    ]);
    let cost = measure(&mut command, answer.to_string().as_bytes());
    fs::remove_file(state).unwrap();
    cost
}

fn minimal(base_url: &str, out: &Path) -> Cost {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg(out).env(MINIMAL, base_url);
    measure(&mut command, b"")
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    calls: Vec<&'a RawValue>,
}

/// The floor: pages of 100 in windows of time until one is short, raw records to a file.
fn minimal_loop(base_url: &str, out: &Path) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (from, to) = (
        SPAN.0.parse::<Timestamp>().unwrap(),
        SPAN.1.parse::<Timestamp>().unwrap(),
    );
    let step = (to.as_second() - from.as_second()) / WINDOWS;
    let mut file = BufWriter::with_capacity(128 << 10, fs::File::create(out).unwrap());
    for window in 0..WINDOWS {
        let start = Timestamp::from_second(from.as_second() + step * window).unwrap();
        let after = start - headwater::SignedDuration::from_millis(1);
        let before = Timestamp::from_second(start.as_second() + step).unwrap();
        for skip in (0..).step_by(100) {
            let url = format!(
                "{base_url}/calls?filterModifiedGt={after}&filterModifiedLt={before}&sortTime=asc\
                 &includePagination=false&skip={skip}&limit=100"
            );
            let request = client
                .get(url)
                .header("x-api-key", headwater_sandbox::API_KEY)
                .header("x-api-password", headwater_sandbox::API_PASSWORD);
            let body =
                runtime.block_on(async { request.send().await.unwrap().bytes().await.unwrap() });
            let answer: Answer<'_> = serde_json::from_slice(&body).unwrap();
            for call in &answer.calls {
                file.write_all(call.get().as_bytes()).unwrap();
                file.write_all(b"\n").unwrap();
            }
            if answer.calls.len() < 100 {
                break;
            }
        }
    }
    file.flush().unwrap();
}

fn lines(path: &Path) -> usize {
    fs::read(path).unwrap().split(|byte| *byte == b'\n').count() - 1
}
