//! `cargo bench`: what exports and audit pages cost, beside loops that do as little as can be done.
//!
//! An export of about 1 GiB, streamed by the simulator, is read by the shipped binary and, in turns, fetched by the same
//! HTTP client and thrown away. Both take the result of a job that is done, so that no wait is measured. Then pages of
//! 1,000 audit events are read by the binary and by the smallest loop that cuts out raw records. Exports go to
//! `/dev/null`, with the state in memory, since a disk is not what is measured; audit events go to files. What counts is
//! the ratio in one run. Last, a single audit page of 1 GiB has to be refused without being kept.

use std::{
    env, fs,
    io::{self, BufWriter, Read, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use acceptance::{
    cost::{Cost, Ratios, Table, measure, measure_any, median},
    simulation,
};
use headwater_sandbox::{API_KEY, JobOptions, RevenueOptions, Sandbox};
use headwater_testkit::{Reply, Script};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::runtime::Runtime;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
/// Set for the processes that fetch this address and throw the bytes away.
const DISCARD: &str = "HEADWATER_BENCH_DISCARD";
/// Set for the processes that read audit pages in the smallest loop.
const MINIMAL: &str = "HEADWATER_BENCH_MINIMAL";
const ROUNDS: usize = 5;
/// The size to simulate for about 1 GiB.
const ENTRIES: u64 = 15_000_000;
const PAGES: u64 = 1_000;
const EVENTS: usize = 1_000;

fn main() {
    if let Ok(url) = env::var(DISCARD) {
        return discard(&url);
    }
    if let Ok(url) = env::var(MINIMAL) {
        return minimal_loop(&url);
    }
    let entries = env::var("HEADWATER_BENCH_ENTRIES").map_or(ENTRIES, |text| text.parse().unwrap());
    let runtime = Runtime::new().unwrap();
    export(&runtime, entries);
    audit(&runtime);
    endless_page();
}

fn export(runtime: &Runtime, entries: u64) {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let options = RevenueOptions {
        forecast_entries: entries,
        jobs: JobOptions {
            scheduled: Duration::ZERO,
            running: Duration::ZERO,
            ..JobOptions::default()
        },
        ..RevenueOptions::default()
    };
    let service = runtime.block_on(Sandbox::start(options)).unwrap();
    let config = (simulation("clari-revenue").form)(&service.base_url());
    // Orders the job and waits for it; the state stands before the first page of the result.
    let ordered = folder.path().join("ordered.json");
    headwater_read(&config, &["forecast_entries"], &["--limit", "1"], &ordered);
    let job = service.revenue().unwrap().jobs().remove(0).job_id;
    let url = format!("{}/v4/export/jobs/{job}/results", service.base_url());
    let bytes = size(&url, runtime);

    let mut costs: [Vec<Cost>; 2] = Default::default();
    for _ in 0..ROUNDS {
        let mut command = Command::new(env::current_exe().unwrap());
        costs[0].push(measure(command.env(DISCARD, &url), b""));
        let state = folder.path().join("state.json");
        fs::copy(&ordered, &state).unwrap();
        costs[1].push(headwater_read(&config, &["forecast_entries"], &[], &state));
    }
    println!(
        "an export of {:.2} GiB, {ROUNDS} rounds in turns",
        bytes as f64 / f64::from(1 << 30)
    );
    show(["fetched and discarded", "headwater read"], &costs, bytes);
    let speed = Ratios::of_wall(&costs[0], &costs[1]);
    println!(
        "speed            {:.0} % of the floor's, median of the rounds\n",
        100.0 * speed.median
    );
}

fn audit(runtime: &Runtime) {
    let folder = tempfile::tempdir().unwrap();
    let service = runtime.block_on(audit_service());
    let base_url = service.base_url();
    let config = json!({ "api_key": API_KEY, "auth_profile": "apikey", "base_url": format!("{base_url}/v4"), "requests_per_second": 1000 });
    let url = format!("{base_url}/v4/audit/events");
    let mut costs: [Vec<Cost>; 2] = Default::default();
    for round in 0..ROUNDS {
        let mut command = Command::new(env::current_exe().unwrap());
        command.stdout(fs::File::create(folder.path().join("minimal.jsonl")).unwrap());
        costs[0].push(measure(command.env(MINIMAL, &url), b""));
        let state = folder.path().join(format!("{round}.json"));
        let out = folder.path().join("out");
        let arguments = ["--out", out.to_str().unwrap()];
        costs[1].push(headwater_read(
            &config,
            &["audit_events"],
            &arguments,
            &state,
        ));
        fs::remove_dir_all(out).unwrap();
    }
    let bytes = PAGES * audit_page(0, "").len() as u64;
    println!("{PAGES} audit pages of {EVENTS}, {ROUNDS} rounds in turns");
    show(["minimal loop", "headwater read"], &costs, bytes);
    println!("CPU ratio        {}", Ratios::of_cpu(&costs[1], &costs[0]));
}

/// One page of 1 GiB, its length announced and not: it is more than an answer may have.
fn endless_page() {
    for is_announced in [true, false] {
        let base_url = endless(is_announced);
        let folder = tempfile::tempdir().unwrap();
        let complaint = folder.path().join("stderr");
        let config = json!({ "api_key": API_KEY, "auth_profile": "apikey", "base_url": base_url });
        let mut command = Command::new(HEADWATER);
        command
            .args([
                "read",
                "clari-revenue",
                "--config",
                "-",
                "--stream",
                "audit_events",
            ])
            .stdout(Stdio::null())
            .stderr(fs::File::create(&complaint).unwrap());
        let (cost, exit) = measure_any(&mut command, config.to_string().as_bytes());
        assert!(!exit.success());
        let how = if is_announced {
            "announced"
        } else {
            "in chunks"
        };
        println!("\na page of 1 GiB, {how}: {:.1} MiB peak", mebibytes(cost));
        print!("{}", fs::read_to_string(complaint).unwrap());
    }
}

fn mebibytes(cost: Cost) -> f64 {
    cost.peak_kib as f64 / 1024.0
}

/// A server that answers everything with one page of 1 GiB, which nobody keeps.
fn endless(is_announced: bool) -> String {
    const CHUNK: usize = 64 << 10;
    const BYTES: usize = 1 << 30;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let event = audit_page(0, "");
    let chunk: Vec<u8> = event.bytes().cycle().take(CHUNK).collect();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            // The head of a request without a body comes in one piece on loopback.
            let _ = connection.read(&mut [0; 4096]);
            let length = match is_announced {
                true => format!("content-length: {BYTES}"),
                false => "transfer-encoding: chunked".to_owned(),
            };
            // The reader leaves before the end.
            let mut sent = write!(connection, "HTTP/1.1 200 OK\r\n{length}\r\n\r\n");
            for _ in 0..BYTES / CHUNK {
                sent = sent.and_then(|()| {
                    if !is_announced {
                        write!(connection, "{CHUNK:x}\r\n")?;
                    }
                    connection.write_all(&chunk)?;
                    if is_announced {
                        Ok(())
                    } else {
                        connection.write_all(b"\r\n")
                    }
                });
            }
        }
    });
    base_url
}

fn show(names: [&str; 2], costs: &[Vec<Cost>; 2], bytes: u64) {
    let [one, other] = costs;
    print!("{}", Table(&[(names[0], one), (names[1], other)]));
    for (name, costs) in names.iter().zip(costs) {
        let wall = median(costs.iter().map(|cost| cost.wall).collect());
        let speed = bytes as f64 / f64::from(1 << 20) / wall.as_secs_f64();
        println!("{name:<22} {speed:.0} MiB/s");
    }
}

/// The streams' records to nowhere.
fn headwater_read(config: &Value, streams: &[&str], more: &[&str], state: &Path) -> Cost {
    let mut command = Command::new(HEADWATER);
    command.args(["read", "clari-revenue", "--config", "-", "--quiet"]);
    for stream in streams {
        command.args(["--stream", stream]);
    }
    command
        .args(more)
        .arg("--state")
        .arg(state)
        .stdout(Stdio::null());
    measure(&mut command, config.to_string().as_bytes())
}

/// Pages of the same events that differ in their ids, each with a link to the next.
async fn audit_service() -> Script {
    let base = Arc::new(std::sync::OnceLock::<String>::new());
    let known = Arc::clone(&base);
    let script = Script::start(move |request| {
        let page: u64 = request
            .parameter("cursor")
            .map_or(0, |cursor| cursor.parse().unwrap());
        let base = known.get().map_or("", String::as_str);
        Reply::json(200, &audit_page(page, base))
    })
    .await
    .unwrap();
    base.set(script.base_url()).unwrap();
    script
}

fn audit_page(page: u64, base: &str) -> String {
    let mut body = String::with_capacity(400 * EVENTS);
    body.push('{');
    if page + 1 < PAGES {
        body.push_str(&format!(
            "\"nextLink\":\"{base}/v4/audit/events?cursor={}\",",
            page + 1
        ));
    }
    body.push_str("\"items\":[");
    for event in 0..EVENTS {
        if event > 0 {
            body.push(',');
        }
        body.push_str(&format!(
            "{{\"correlationID\":\"{page:08}-{event:08}-5c1f-9a27\",\"actorId\":\"{event}\",\"impersonatingActorId\":null,\
             \"actorType\":\"USER\",\"sessionId\":\"fe795746-5b8e-4c1d-9c5a-7f3f2f4d{event:04}\",\
             \"ipAddress\":\"203.0.113.7\",\"sessionType\":\"WEB\",\"event\":\"forecast.updated\",\
             \"eventParameters\":{{\"forecastId\":\"net_arr\",\"fieldId\":\"fc_net_commit\",\"value\":1250000.0}},\
             \"eventTimestamp\":\"2026-01-01T00:00:00Z\"}}"
        ));
    }
    body.push_str("],\"actors\":[");
    for actor in 0..50 {
        if actor > 0 {
            body.push(',');
        }
        body.push_str(&format!(
            "{{\"actorType\":\"USER\",\"actorId\":\"{actor}\",\"name\":\"Somebody\",\"email\":\"{actor}@example.com\"}}"
        ));
    }
    body.push_str("]}");
    body
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn single() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn size(url: &str, runtime: &Runtime) -> u64 {
    runtime.block_on(async {
        let response = client()
            .get(url)
            .header("apikey", API_KEY)
            .send()
            .await
            .unwrap();
        response.content_length().unwrap()
    })
}

/// The floor of an export: the same client, the same bytes, nothing done with them.
fn discard(url: &str) {
    let bytes = single().block_on(async {
        let request = client().get(url).header("apikey", API_KEY);
        let mut response = request.send().await.unwrap().error_for_status().unwrap();
        let mut bytes = 0;
        while let Some(chunk) = response.chunk().await.unwrap() {
            bytes += chunk.len();
        }
        bytes
    });
    assert!(bytes > 0);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    next_link: Option<String>,
}

/// The floor of audit pages: raw records, nothing else.
fn minimal_loop(url: &str) {
    let (client, runtime) = (client(), single());
    let mut out = BufWriter::with_capacity(128 << 10, io::stdout());
    let mut next = Some(url.to_owned());
    while let Some(url) = next {
        let request = client.get(url).header("apikey", API_KEY);
        let body = runtime.block_on(async { request.send().await.unwrap().bytes().await.unwrap() });
        let answer: Answer<'_> = serde_json::from_slice(&body).unwrap();
        for event in &answer.items {
            out.write_all(event.get().as_bytes()).unwrap();
            out.write_all(b"\n").unwrap();
        }
        next = answer.next_link;
    }
    out.flush().unwrap();
}
