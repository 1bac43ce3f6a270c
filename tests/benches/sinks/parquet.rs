//! Parquet files beside arrow's own JSON reader and Parquet writer.
//!
//! The bare loop takes the same records from memory, the same compression and as many files. It keeps typed nested values
//! and neither the records as they were sent nor the spelling of numbers; ours keeps both. Each side is a process of its
//! own that measures its work, and its memory above what the records take.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use acceptance::{
    cost::{Cost, measured, memory},
    open, simulation,
};
use arrow_json::{ReaderBuilder, reader::infer_json_schema};
use arrow_schema::SchemaRef;
use headwater_core::StreamSpec;
use headwater_host::{Sink, State};
use headwater_output::ParquetSink;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::{Calls, ID, PAGE, ROUNDS, STREAM, show};

/// Set for the processes that do the work: which of the two. Their arguments are the records and the folder of the files.
pub const SIDE: &str = "HEADWATER_BENCH_SIDE";
const FILES: usize = 4;

pub fn compare(calls: &Calls) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("calls.jsonl");
    fs::write(&input, calls.records.join("\n")).unwrap();
    let [mut bare, mut sink]: [Vec<Cost>; 2] = Default::default();
    let mut sizes = [0; 2];
    for round in 0..ROUNDS {
        for (number, (side, costs)) in [("bare", &mut bare), ("sink", &mut sink)]
            .into_iter()
            .enumerate()
        {
            let out = folder.path().join(format!("{side}{round}"));
            fs::create_dir(&out).unwrap();
            costs.push(run(side, &input, &out));
            sizes[number] = size(&out);
            fs::remove_dir_all(out).unwrap();
        }
    }
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "Parquet, {FILES} files: {:.1} MB from arrow and {:.1} MB from the sink for {:.0} MB of JSON",
        megabytes(sizes[0]),
        megabytes(sizes[1]),
        megabytes(calls.bytes() as u64),
    );
    show(
        calls,
        ("arrow-json and parquet", &bare),
        ("ParquetSink", &sink),
    );
}

/// One side as a process, and what it says its work cost.
fn run(side: &str, input: &Path, out: &Path) -> Cost {
    let child = Command::new(env::current_exe().unwrap())
        .args([input, out])
        .env(SIDE, side)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(child.status.success(), "{side} failed");
    let told = String::from_utf8(child.stdout).unwrap();
    let mut numbers = told.split_whitespace().map(|text| text.parse().unwrap());
    let mut next = || numbers.next().unwrap();
    Cost {
        cpu: Duration::from_micros(next()),
        wall: Duration::from_micros(next()),
        peak_kib: next(),
    }
}

/// The work of one side.
pub fn work(side: &str) {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let mut argument = || arguments.next().unwrap();
    let (input, out) = (argument(), argument());
    let text = fs::read(input).unwrap();
    let records: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let pages: Vec<&[&[u8]]> = records.chunks(PAGE).collect();
    let shares: Vec<&[&[&[u8]]]> = pages.chunks(pages.len().div_ceil(FILES)).collect();
    let (cost, before);
    if side == "bare" {
        let (schema, _) = infer_json_schema(&text[..], None).unwrap();
        before = memory("self", "VmRSS:");
        cost = measured(|| bare(Arc::new(schema), &shares, &out));
    } else {
        let (source, _) = open(ID, (simulation(ID).form)("http://127.0.0.1:1"));
        let stream = source.stream(STREAM).unwrap();
        before = memory("self", "VmRSS:");
        cost = measured(|| sink(stream.spec(), &shares, &out));
    }
    println!(
        "{} {} {}",
        cost.cpu.as_micros(),
        cost.wall.as_micros(),
        memory("self", "VmHWM:").saturating_sub(before)
    );
}

fn bare(schema: SchemaRef, shares: &[&[&[&[u8]]]], out: &Path) {
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

fn sink(spec: &StreamSpec, shares: &[&[&[&[u8]]]], out: &Path) {
    let mut sink = ParquetSink::in_folder(out, "bench").unwrap();
    let mut state = State::held_by(&mut sink, ID)
        .unwrap()
        .unwrap_or_else(|| State::new(ID));
    sink.restore(std::slice::from_ref(spec), &state).unwrap();
    for share in shares {
        for page in *share {
            let counts = sink.write(STREAM, &mut page.iter().copied()).unwrap();
            assert_eq!(counts.records, page.len() as u64);
        }
        sink.commit(&mut state).unwrap();
    }
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
