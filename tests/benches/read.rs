//! `cargo bench`: what reading costs, beside a loop that does as little as can be done.
//!
//! A simulator on loopback serves the calls. Programs read them to a file, in turns, each as a process of its own: the
//! shipped binary, and the smallest loop over reqwest that cuts out the raw records (`serde_json::RawValue`) and writes
//! them, without state, retry, limit or resume; once as it is, and once taking key and cursor of every record, which
//! nobody who reads again can do without. What counts is the ratio of their CPU times in one run; times alone say more
//! about the machine. Then follow the peak memory at two sizes, the same calls compressed, and the start of
//! the process.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufWriter, Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Instant,
};

use acceptance::{
    cost::{Cost, Ratios, Table, measure, median},
    simulation, unlimited_sandbox,
};
use headwater_core::Timestamp;
use headwater_sandbox::{API_KEY, API_PASSWORD};
use headwater_testkit::{Reply, Request, Script};
use serde::Deserialize;
use serde_json::value::RawValue;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
/// Set for the processes that run the minimal loop.
const MINIMAL: &str = "HEADWATER_BENCH_MINIMAL";
/// Set for those that take key and cursor as well.
const KEYED: &str = "HEADWATER_BENCH_KEYED";
/// Set for the process that only decodes compressed answers.
const DECODE: &str = "HEADWATER_BENCH_DECODE";
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
    if let Ok(answers) = env::var(DECODE) {
        return decode(Path::new(&answers));
    }
    let calls = env::var("HEADWATER_BENCH_CALLS").map_or(CALLS, |text| text.parse().unwrap());
    let _ = rustls::crypto::ring::default_provider().install_default();
    throughput(calls);
    compressed(calls);
    start();
}

fn throughput(calls: u64) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let service = runtime.block_on(unlimited_sandbox(calls));
    let mut costs: [Vec<Cost>; 3] = Default::default();
    for _ in 0..ROUNDS {
        let out = folder.path().join("minimal.jsonl");
        costs[0].push(minimal(&service.base_url(), &out, false));
        costs[1].push(minimal(&service.base_url(), &out, true));
        let minimal_lines = lines(&out);
        let out = folder.path().join("out");
        costs[2].push(headwater_read(&service.base_url(), &out));
        assert_eq!(
            lines(&out.join("calls.jsonl")),
            minimal_lines,
            "both read the same calls"
        );
        fs::remove_dir_all(out).unwrap();
    }
    let small = runtime.block_on(unlimited_sandbox(calls / 10));
    let small_peak = headwater_read(&small.base_url(), &folder.path().join("small")).peak_kib;

    println!("reading {calls} calls of about 1.6 KiB in pages of 100, {ROUNDS} rounds in turns");
    let [minimal, keyed, ours] = costs;
    print!(
        "{}",
        Table(&[
            ("minimal loop", &minimal),
            ("key and cursor", &keyed),
            ("headwater read", &ours),
        ])
    );
    println!("CPU ratio        {}", Ratios::of_cpu(&ours, &keyed));
    println!("without the keys {}", Ratios::of_cpu(&ours, &minimal));
    println!(
        "peak at a tenth  {:.1} MiB for {} calls\n",
        small_peak as f64 / 1024.0,
        calls / 10
    );
}

/// Reading compressed answers, beside decoding them alone and reading them as they are.
fn compressed(calls: u64) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let service = runtime.block_on(unlimited_sandbox(calls));
    let answers = Arc::new(Mutex::new(Vec::new()));
    let compressing = runtime.block_on(compressing(service.base_url(), Arc::clone(&answers)));
    let out = folder.path().join("out");
    let read = |base_url: &str| {
        let cost = headwater_read(base_url, &out);
        fs::remove_dir_all(&out).unwrap();
        cost
    };
    let file = folder.path().join("answers");
    let [mut plain, mut whole, mut sums]: [Vec<Cost>; 3] = Default::default();
    let mut decoded = Vec::new();
    for _ in 0..ROUNDS {
        answers.lock().unwrap().clear();
        whole.push(read(&compressing.base_url()));
        fs::write(&file, &*answers.lock().unwrap()).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        decoded.push(measure(command.env(DECODE, &file), b""));
        plain.push(read(&service.base_url()));
    }
    for (decoded, plain) in decoded.iter().zip(&plain) {
        sums.push(Cost {
            cpu: decoded.cpu + plain.cpu,
            ..*plain
        });
    }
    println!("the same, compressed with gzip");
    print!(
        "{}",
        Table(&[
            ("decoding alone", &decoded),
            ("reading as it is", &plain),
            ("headwater read", &whole),
        ])
    );
    println!("ratio to the sum {}\n", Ratios::of_cpu(&whole, &sums));
}

/// A server in front of another one that compresses its answers, and keeps them, each behind its length.
async fn compressing(base_url: String, answers: Arc<Mutex<Vec<u8>>>) -> Script {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let forward = move |request: &Request| {
        let asked = client
            .get(format!("{base_url}{}", request.target))
            .header("x-api-key", API_KEY)
            .header("x-api-password", API_PASSWORD);
        let answered = async { asked.send().await.unwrap().bytes().await.unwrap() };
        let handle = tokio::runtime::Handle::current();
        let body = tokio::task::block_in_place(|| handle.block_on(answered));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(&body).unwrap();
        let body = encoder.finish().unwrap();
        let mut answers = answers.lock().unwrap();
        answers.extend_from_slice(&(body.len() as u64).to_le_bytes());
        answers.extend_from_slice(&body);
        Reply::full(200, &[("content-encoding", "gzip")], &body)
    };
    Script::start(forward).await.unwrap()
}

/// The floor of compressed answers.
fn decode(answers: &Path) {
    let answers = fs::read(answers).unwrap();
    let mut rest = &answers[..];
    let mut decoded = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (body, behind) = behind.split_at(u64::from_le_bytes(*length) as usize);
        decoded.clear();
        flate2::read::GzDecoder::new(body)
            .read_to_end(&mut decoded)
            .unwrap();
        rest = behind;
    }
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

fn headwater_read(base_url: &str, out: &Path) -> Cost {
    let mut answer = (simulation("clari-copilot").form)(base_url);
    answer["start_date"] = "2025-01-01".into();
    answer["requests_per_second"] = UNLIMITED.into();
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

fn minimal(base_url: &str, out: &Path, is_keyed: bool) -> Cost {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg(out).env(MINIMAL, base_url);
    if is_keyed {
        command.env(KEYED, "1");
    }
    measure(&mut command, b"")
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    calls: Vec<&'a RawValue>,
}

/// The key and the cursor of a call.
#[derive(Deserialize)]
struct Call<'a> {
    id: &'a str,
    last_modified_time: &'a str,
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
    let is_keyed = env::var_os(KEYED).is_some();
    let mut newest = String::new();
    let mut file = BufWriter::with_capacity(128 << 10, fs::File::create(out).unwrap());
    for window in 0..WINDOWS {
        let start = Timestamp::from_second(from.as_second() + step * window).unwrap();
        let after = start - headwater_core::SignedDuration::from_millis(1);
        let before = Timestamp::from_second(start.as_second() + step).unwrap();
        for skip in (0..).step_by(100) {
            let url = format!(
                "{base_url}/calls?filterModifiedGt={after}&filterModifiedLt={before}&sortTime=asc\
                 &includePagination=false&skip={skip}&limit=100"
            );
            let request = client
                .get(url)
                .header("x-api-key", API_KEY)
                .header("x-api-password", API_PASSWORD);
            let body =
                runtime.block_on(async { request.send().await.unwrap().bytes().await.unwrap() });
            let answer: Answer<'_> = serde_json::from_slice(&body).unwrap();
            for call in &answer.calls {
                if is_keyed {
                    let call: Call<'_> = serde_json::from_str(call.get()).unwrap();
                    assert!(!call.id.is_empty());
                    if *newest < *call.last_modified_time {
                        call.last_modified_time.clone_into(&mut newest);
                    }
                }
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
