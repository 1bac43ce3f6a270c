//! What the binary takes of memory for answers that are as large as may be, or larger.

use std::{fs, path::Path, process::Stdio};

use acceptance::{
    binary::command,
    cost::{Cost, measure_any},
};
use headwater_testkit::{Reply, Script};
use serde_json::json;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
/// What a run takes at most for one answer, beyond what it takes for a small one: the answer itself, a copy while its buffer
/// grows, the places of its records, and what the output gathers.
const MAX_KIB: u64 = 64 << 10;

/// Returns a list of records of one size, up to a size of the whole.
fn records(bytes: usize, all: usize) -> String {
    let record = |number: usize| {
        let id = format!("{{\"id\":\"u{number:08}\"");
        match bytes.checked_sub(id.len() + 8) {
            Some(padding) => format!("{id},\"n\":\"{}\"}}", "x".repeat(padding)),
            None => format!("{id}}}"),
        }
    };
    let records: Vec<String> = (0..all / (bytes + 1)).map(record).collect();
    format!("{{\"users\":[{}]}}", records.join(","))
}

/// What a read of the users costs, its exit code, what it said, and how many records it wrote.
async fn read(body: String, folder: &Path, rejects: bool) -> (Cost, Option<i32>, String, usize) {
    let reply = Reply::json(200, &body);
    let script = Script::start(move |_| reply.clone()).await.unwrap();
    let config = json!({ "api_key": "k", "api_password": "w", "base_url": script.base_url() });
    let folder = folder.to_owned();
    let run = move || {
        let said = fs::File::create(folder.join("said")).unwrap();
        let mut run = command(HEADWATER);
        run.arg(if rejects { "sync" } else { "read" })
            .args(["clari-copilot", "--stream", "users", "--config", "-"])
            .stdout(Stdio::null())
            .stderr(said);
        if rejects {
            let database = format!("sqlite:{}", folder.join("records.db").display());
            let letters = folder.join("letters");
            run.args(["--to", &database, "--drift", "reject", "--dead-letters"]);
            run.arg(letters);
        } else {
            run.arg("--out").arg(folder.join("out"));
        }
        let (cost, exit) = measure_any(&mut run, config.to_string().as_bytes());
        let said = fs::read_to_string(folder.join("said")).unwrap();
        let written = fs::read(folder.join("out/users.jsonl")).unwrap_or_default();
        let lines = written.iter().filter(|byte| **byte == b'\n').count();
        let _ = fs::remove_dir_all(folder.join("out"));
        (cost, exit.code(), said, lines)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_takes_more_memory_than_is_stated() {
    let folder = tempfile::tempdir().unwrap();
    let (floor, code, said, lines) = read(records(100, 1_000), folder.path(), false).await;
    assert_eq!((code, lines), (Some(0), 9), "{said}");
    let large = |bytes| records(bytes, bytes + 10);
    let numbered = records(110, 28_000_000).replace("{\"id\":\"u", "{\"id\":7,\"m\":\"u");
    let zeros = "0,".repeat(15_000_000);
    for (body, rejects, code, lines, says) in [
        (records(120, 30_000_000), false, 0, 247_933, ""),
        (large(12_000_000), false, 0, 1, ""),
        (
            large(30_000_000),
            false,
            8,
            0,
            "1 record of users left out for being longer than 16 MiB; the longest has 30000000 bytes",
        ),
        (
            records(18, 30_000_000),
            false,
            6,
            0,
            "the answer has a list of more than 262144 records",
        ),
        (
            numbered,
            true,
            8,
            0,
            "252,252 records went to the dead letters",
        ),
        (
            format!("{{\"users\":[],\"x\":[{zeros}0]}}"),
            false,
            0,
            0,
            "",
        ),
        (
            format!("{{\"error\":[{zeros}0]}}"),
            false,
            6,
            0,
            "no records at",
        ),
    ] {
        let length = body.len();
        let (cost, ended, said, written) = read(body, folder.path(), rejects).await;
        assert_eq!((ended, written), (Some(code), lines), "{length}: {said}");
        assert!(said.contains(says), "{said}");
        let more = cost.peak_kib.saturating_sub(floor.peak_kib);
        println!(
            "{length} bytes: {more} KiB over {}; exit {ended:?}",
            floor.peak_kib
        );
        assert!(more < MAX_KIB, "{length} bytes: {more} KiB");
    }
}
