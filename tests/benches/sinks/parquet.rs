//! What Parquet files cost: `cargo bench -p acceptance --features parquet --bench sinks_parquet`.
//!
//! The floor is arrow's own JSON reader and Parquet writer with the same records from memory, the same compression and
//! as many files. It keeps typed nested values and neither the records as they were sent nor the spelling of numbers;
//! ours keeps both. Each side is a process of its own that measures its work, in turns.
//!
//! `HEADWATER_BENCH_CALLS` is the number of records, 100,000 without it.

use std::{
    env, fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use acceptance::{open, read_through, simulation, unlimited_sandbox};
use arrow_json::{ReaderBuilder, reader::infer_json_schema};
use arrow_schema::SchemaRef;
use headwater::{StreamSpec, Timestamp};
use headwater_host::{Sink, State};
use headwater_output::ParquetSink;
use nix::sys::resource::{UsageWho, getrusage};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

/// Set for the processes that do the work: which of the two.
const SIDE: &str = "HEADWATER_BENCH_SIDE";
const ID: &str = "clari-copilot";
const ROUNDS: usize = 5;
const CALLS: u64 = 100_000;
const FILES: usize = 4;
const PAGE: usize = 100;

fn main() {
    let mut arguments = env::args().skip(1);
    if let Ok(side) = env::var(SIDE) {
        let (input, out) = (arguments.next().unwrap(), arguments.next().unwrap());
        return work(&side, Path::new(&input), Path::new(&out));
    }
    let calls = env::var("HEADWATER_BENCH_CALLS").map_or(CALLS, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("calls.jsonl");
    let bytes = write_input(calls, &input);
    println!(
        "{calls} calls, {:.0} MB of JSON, {FILES} files, {ROUNDS} rounds in turns",
        bytes as f64 / 1e6
    );
    let mut costs: [Vec<Cost>; 2] = Default::default();
    for round in 0..ROUNDS {
        for (side, costs) in ["floor", "ours"].into_iter().zip(&mut costs) {
            let out = folder.path().join(format!("{side}{round}"));
            fs::create_dir(&out).unwrap();
            costs.push(run(side, &input, &out));
            fs::remove_dir_all(out).unwrap();
        }
    }
    println!(
        "{:<22} {:>10} {:>12} {:>12} {:>10}",
        "", "CPU min s", "MB/s of JSON", "files MB", "grew MiB"
    );
    for (name, costs) in [
        ("arrow-json + parquet", &costs[0]),
        ("headwater", &costs[1]),
    ] {
        let smallest = costs
            .iter()
            .map(|cost| cost.cpu)
            .min()
            .unwrap()
            .as_secs_f64();
        println!(
            "{name:<22} {smallest:>10.3} {:>12.0} {:>12.1} {:>10.1}",
            bytes as f64 / 1e6 / smallest,
            costs[0].files as f64 / 1e6,
            costs.iter().map(|cost| cost.grew_kib).max().unwrap() as f64 / 1024.0,
        );
    }
    let mut ratios: Vec<f64> = costs[1]
        .iter()
        .zip(&costs[0])
        .map(|(ours, floor)| ours.cpu.as_secs_f64() / floor.cpu.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "CPU ratio              {:.2} median of the rounds",
        ratios[ROUNDS / 2]
    );
}

#[derive(Clone, Copy)]
struct Cost {
    cpu: Duration,
    /// Peak memory above what the records in memory take.
    grew_kib: u64,
    files: u64,
}

fn write_input(calls: u64, path: &Path) -> u64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let read = runtime.block_on(async {
        let service = unlimited_sandbox(calls).await;
        let mut answer = (simulation(ID).form)(&service.base_url());
        answer["start_date"] = "2025-01-01".into();
        answer["requests_per_second"] = 1000.into();
        let (source, _) = open(ID, answer);
        let stream = source.stream("calls").unwrap();
        read_through(&*stream, None, Timestamp::now())
            .await
            .unwrap()
    });
    assert_eq!(read.records.len() as u64, calls);
    let mut file = std::io::BufWriter::new(fs::File::create(path).unwrap());
    for record in &read.records {
        writeln!(file, "{record}").unwrap();
    }
    file.flush().unwrap();
    fs::metadata(path).unwrap().len()
}

fn run(side: &str, input: &Path, out: &Path) -> Cost {
    let child = Command::new(env::current_exe().unwrap())
        .args([input, out])
        .env(SIDE, side)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(child.status.success(), "{side} failed");
    let told = String::from_utf8(child.stdout).unwrap();
    let numbers: Vec<u64> = told
        .split_whitespace()
        .map(|text| text.parse().unwrap())
        .collect();
    Cost {
        cpu: Duration::from_micros(numbers[0]),
        grew_kib: numbers[1],
        files: size(out),
    }
}

fn work(side: &str, input: &Path, out: &Path) {
    let text = fs::read(input).unwrap();
    let records: Vec<&[u8]> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    let pages: Vec<&[&[u8]]> = records.chunks(PAGE).collect();
    let shares: Vec<&[&[&[u8]]]> = pages.chunks(pages.len().div_ceil(FILES)).collect();
    let (cpu, memory);
    if side == "floor" {
        let (schema, _) = infer_json_schema(&text[..], None).unwrap();
        (cpu, memory) = (cpu_micros(), resident_kib("VmRSS:"));
        floor(Arc::new(schema), &shares, out);
    } else {
        let base_url = "http://127.0.0.1:1";
        let (source, _) = open(ID, (simulation(ID).form)(base_url));
        let stream = source.stream("calls").unwrap();
        (cpu, memory) = (cpu_micros(), resident_kib("VmRSS:"));
        ours(stream.spec(), &shares, out);
    }
    println!(
        "{} {}",
        cpu_micros() - cpu,
        resident_kib("VmHWM:").saturating_sub(memory)
    );
}

fn floor(schema: SchemaRef, shares: &[&[&[&[u8]]]], out: &Path) {
    for (number, share) in shares.iter().enumerate() {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
            .build();
        let file = fs::File::create(out.join(format!("{number}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).unwrap();
        let mut decoder = ReaderBuilder::new(Arc::clone(&schema))
            .with_batch_size(8192)
            .build_decoder()
            .unwrap();
        for record in share.iter().copied().flatten() {
            let mut rest = *record;
            while !rest.is_empty() {
                let taken = decoder.decode(rest).unwrap();
                rest = &rest[taken..];
                if taken == 0 {
                    writer.write(&decoder.flush().unwrap().unwrap()).unwrap();
                }
            }
        }
        if let Some(batch) = decoder.flush().unwrap() {
            writer.write(&batch).unwrap();
        }
        writer.into_inner().unwrap().sync_all().unwrap();
    }
}

fn ours(spec: &StreamSpec, shares: &[&[&[&[u8]]]], out: &Path) {
    let mut sink = ParquetSink::in_folder(out, "bench").unwrap();
    let mut state = sink.load(ID).unwrap().unwrap_or_else(|| State::new(ID));
    sink.restore(std::slice::from_ref(spec), &state).unwrap();
    for share in shares {
        for page in *share {
            let counts = sink.write("calls", &mut page.iter().copied()).unwrap();
            assert_eq!(counts.records, page.len() as u64);
        }
        sink.commit(&mut state).unwrap();
    }
}

fn cpu_micros() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros =
        |time: nix::sys::time::TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()) as u64;
    micros(usage.user_time()) + micros(usage.system_time())
}

fn resident_kib(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(what))
        .unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            if path.is_dir() {
                size(&path)
            } else {
                fs::metadata(path).unwrap().len()
            }
        })
        .sum()
}
