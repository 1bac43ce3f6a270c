//! Parquet files in object storage, against moto's imitation of S3: a server in Python.
//!
//! The interpreter is the one that `HEADWATER_PYTHON` names, or else `python3`. Without it or without the package
//! `moto[server]` the tests are skipped, and say so; with `HEADWATER_REQUIRE_PYTHON=1` they fail.
//!
//! What writes is a process of this test binary, so that its credentials are those of its environment.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, ErrorKind, Write},
    net::TcpListener,
    path::Path,
    process::{Child, Stdio},
};

use acceptance::binary::{Ran, command};
use headwater_core::{Kind, StreamSpec};
use headwater_host::{Sink, State};
use headwater_output::Destination;
use headwater_testkit::{Ending, Reply, Request, Script};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};

/// Starts the server on a free port with a bucket, and ends with its standard input. For each line that comes it
/// writes all objects of the bucket to the folder that the line names, and tells their names.
const SERVER: &str = r#"
import json, os, sys
try:
    import boto3
    from moto.server import ThreadedMotoServer
except ImportError:
    sys.exit(3)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
address = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
service = boto3.client("s3", region_name="us-east-1", endpoint_url=address,
                       aws_access_key_id="test", aws_secret_access_key="test")
service.create_bucket(Bucket="records")
print(address, flush=True)
for line in sys.stdin:
    names = [entry["Key"] for entry in service.list_objects_v2(Bucket="records").get("Contents", [])]
    for name in names:
        path = os.path.join(line.strip(), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        service.download_file("records", name, path)
    pieces = len(service.list_multipart_uploads(Bucket="records").get("Uploads", []))
    print(json.dumps({"names": names, "unfinished": pieces}), flush=True)
"#;

/// What a process of this test binary does instead of testing.
const PART: &str = "HEADWATER_TEST_PART";
const TO: &str = "HEADWATER_TEST_TO";

struct Storage {
    server: Child,
    answers: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Storage {
    /// None where it cannot run and need not.
    fn start() -> Option<Self> {
        let python = env::var("HEADWATER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let spawned = command(&python)
            .args(["-c", SERVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut server = match spawned {
            Ok(server) => server,
            Err(error) if error.kind() == ErrorKind::NotFound => return skip(&python),
            Err(error) => panic!("{python}: {error}"),
        };
        let mut answers = BufReader::new(server.stdout.take().unwrap());
        let mut address = String::new();
        answers.read_line(&mut address).unwrap();
        if address.is_empty() {
            let status = server.wait().unwrap();
            assert_eq!(status.code(), Some(3), "the server did not start");
            return skip(&python);
        }
        Some(Self {
            server,
            answers,
            address: address.trim().to_owned(),
        })
    }

    /// Copies all objects into a folder; their names.
    fn copy(&mut self, folder: &Path) -> Value {
        writeln!(self.server.stdin.as_mut().unwrap(), "{}", folder.display()).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn skip(python: &str) -> Option<Storage> {
    let what = format!("{python} with the package of tests/moto/requirements.txt is not here");
    assert_ne!(
        env::var("HEADWATER_REQUIRE_PYTHON").as_deref(),
        Ok("1"),
        "{what}"
    );
    // Straight to the stream: what a macro prints is captured while the test passes.
    let mut error = std::io::stderr();
    let _ = writeln!(
        error,
        "SKIPPED: {what}; Parquet files were not put into object storage"
    );
    None
}

fn spec() -> StreamSpec {
    StreamSpec {
        name: "calls",
        description: "A call.",
        key: &["id"],
        cursor: None,
        incremental: true,
        schema: || json!({"properties": {"id": {"type": "string"}}}),
    }
}

/// A process that does one of the parts below, with these variables of AWS and no other.
fn process(part: &str, to: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = command(env::current_exe().unwrap().to_str().unwrap());
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .args(["--exact", "process_that_writes", "--nocapture"])
        .env(PART, part)
        .env(TO, to)
        .envs(variables.iter().copied());
    command.output().unwrap().into()
}

fn credentials(address: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_ENDPOINT_URL", address),
    ]
}

fn begin() -> headwater_core::Result<(Box<dyn Sink>, State)> {
    let mut sink = Destination::parse(&env::var(TO).unwrap())?.open("main")?;
    let state = State::held_by(&mut *sink, "acme")?.unwrap();
    sink.restore(&[spec()], &state)?;
    Ok((sink, state))
}

fn write(sink: &mut dyn Sink, id: &str) -> headwater_core::Result<()> {
    let record = format!("{{\"id\":\"{id}\"}}");
    sink.write("calls", &mut [record.as_bytes()].into_iter())
        .map(drop)
}

/// What the processes do. Without the variable it is no test.
///
/// Within a runtime, as a read is: whatever waits for the service must not need it.
#[tokio::test]
async fn process_that_writes() {
    let Ok(part) = env::var(PART) else { return };
    match part.as_str() {
        "two commits" => {
            let (mut sink, mut state) = begin().unwrap();
            write(&mut *sink, "small").unwrap();
            sink.commit(&mut state).unwrap();
            // Random letters do not compress to less than three quarters: pieces of 8 MiB, and one that is smaller.
            let mut random = fastrand::Rng::with_seed(7);
            for _ in 0..30 {
                let large: String = (0..1 << 20).map(|_| random.alphanumeric()).collect();
                write(&mut *sink, &large).unwrap();
            }
            sink.commit(&mut state).unwrap();
            write(&mut *sink, "never committed").unwrap();
        }
        "one commit" => {
            let (mut sink, mut state) = begin().unwrap();
            write(&mut *sink, "again").unwrap();
            sink.commit(&mut state).unwrap();
        }
        "two runs" => {
            let (mut first, mut state) = begin().unwrap();
            write(&mut *first, "first").unwrap();
            let (mut second, _) = begin().unwrap();
            let error = first.commit(&mut state).unwrap_err();
            assert_eq!(error.kind(), Kind::OutputFailed);
            assert!(
                error.to_string().contains("another run has written"),
                "{error}"
            );
            for id in ["second", "third", "fourth"] {
                write(&mut *second, id).unwrap();
                second.commit(&mut state).unwrap();
            }
        }
        "refused" => println!("SAID {}", begin().map(drop).unwrap_err()),
        other => panic!("{other}"),
    }
    println!("DONE");
}

fn done(part: &str, to: &str, address: &str) {
    let ran = process(part, to, &credentials(address));
    assert!(ran.out.contains("DONE"), "{}", ran.all());
}

/// Rows of the files that the newest manifest in a folder counts, and how many files there are.
fn rows(root: &Path) -> (u64, usize) {
    let manifests = acceptance::binary::files(&root.join("_headwater"));
    let newest = manifests.iter().max().unwrap();
    let manifest: Value =
        serde_json::from_slice(&fs::read(root.join("_headwater").join(newest)).unwrap()).unwrap();
    let files = manifest["files"].as_array().unwrap();
    let mut rows = 0;
    for file in files {
        let path = root.join(file["path"].as_str().unwrap());
        let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        let found = reader.metadata().file_metadata().num_rows() as u64;
        assert_eq!(found, file["rows"].as_u64().unwrap());
        rows += found;
    }
    (rows, files.len())
}

#[test]
fn objects_large_and_small_are_counted_and_the_next_run_goes_on() {
    let Some(mut storage) = Storage::start() else {
        return;
    };
    let to = "s3://records/some/where";
    done("two commits", to, &storage.address.clone());
    let folder = tempfile::tempdir().unwrap();
    let found = storage.copy(folder.path());
    assert_eq!(rows(&folder.path().join("some/where")), (31, 2), "{found}");
    assert_eq!(found["unfinished"], 0);
    let sizes: BTreeMap<u64, ()> = fs::read_dir(folder.path().join("some/where/calls"))
        .unwrap()
        .map(|entry| (entry.unwrap().metadata().unwrap().len(), ()))
        .collect();
    assert!(*sizes.last_key_value().unwrap().0 > 16 << 20, "{sizes:?}");

    done("one commit", to, &storage.address.clone());
    let folder = tempfile::tempdir().unwrap();
    let found = storage.copy(folder.path());
    assert_eq!(rows(&folder.path().join("some/where")), (32, 3), "{found}");
    // Three files and two manifests.
    assert_eq!(found["names"].as_array().unwrap().len(), 5, "{found}");
}

#[test]
fn of_two_runs_only_one_commits() {
    let Some(mut storage) = Storage::start() else {
        return;
    };
    done("two runs", "s3://records", &storage.address.clone());
    let folder = tempfile::tempdir().unwrap();
    storage.copy(folder.path());
    assert_eq!(rows(folder.path()), (3, 3));
    // What the first had put is removed by the run after.
    done("one commit", "s3://records", &storage.address.clone());
    let folder = tempfile::tempdir().unwrap();
    let found = storage.copy(folder.path());
    assert_eq!(rows(folder.path()), (4, 4));
    assert_eq!(found["names"].as_array().unwrap().len(), 6, "{found}");
}

#[test]
fn what_cannot_be_used_is_told_in_one_sentence() {
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let key = ("AWS_ACCESS_KEY_ID", "test");
    let secret = ("AWS_SECRET_ACCESS_KEY", "hunter2");
    let with_endpoint = |address| [key, secret, ("AWS_ENDPOINT_URL", address)];
    for (variables, says) in [
        (&[][..], "needs the environment variable AWS_ACCESS_KEY_ID"),
        (
            &[key],
            "needs the environment variable AWS_SECRET_ACCESS_KEY",
        ),
        (
            &[key, secret],
            "needs the environment variable AWS_REGION or AWS_DEFAULT_REGION",
        ),
        (
            &with_endpoint("http://storage.example.com"),
            "plain http is for services on this machine only",
        ),
        (&with_endpoint(&closed), "cannot be reached"),
    ] {
        let ran = process("refused", "s3://records/here", variables);
        assert!(
            ran.out.contains("SAID ") && ran.out.contains(says),
            "{says}: {}",
            ran.all()
        );
        assert!(!ran.all().contains("hunter2"), "{}", ran.all());
    }
    let Some(storage) = Storage::start() else {
        return;
    };
    let ran = process("refused", "s3://nowhere", &credentials(&storage.address));
    assert!(
        ran.out.contains("s3://nowhere/ does not exist"),
        "{}",
        ran.all()
    );
}

/// A page of a list, with names of objects and a next page.
fn page(names: &[&str], next: Option<&str>) -> String {
    let objects = names.iter().map(|name| {
        format!(
            "<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"e\"</ETag>\
             <Size>100</Size></Contents>"
        )
    });
    let next = next.map(|token| format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    format!(
        "<ListBucketResult><IsTruncated>{}</IsTruncated>{}{}</ListBucketResult>",
        next.is_some(),
        objects.collect::<String>(),
        next.unwrap_or_default(),
    )
}

/// Starts a process that opens a destination at a service with these answers.
async fn refused(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Ran, usize) {
    let service = Script::start(answer).await.unwrap();
    let address = service.base_url();
    let ran = tokio::task::spawn_blocking(move || {
        process("refused", "s3://records/here", &credentials(&address))
    });
    let ran = ran.await.unwrap();
    assert!(!ran.all().contains("hunter2"), "{}", ran.all());
    (ran, service.requests().len())
}

#[tokio::test]
async fn a_service_that_attacks_is_given_up() {
    let manifest = "here/_headwater/manifest-00000000000000000001.json";
    let xml =
        |body: &str| Reply::full(200, &[("content-type", "application/xml")], body.as_bytes());
    // Lists without an end.
    let (ran, requests) =
        refused(move |request| xml(&page(&[], Some(&format!("t{}", request.index))))).await;
    assert!(ran.out.contains("choose another prefix"), "{}", ran.all());
    assert!((2..2_300).contains(&requests), "{requests} requests");
    let many: Vec<String> = (0..10_000)
        .map(|number| format!("here/_headwater/{number}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let many = page(&many, Some("same"));
    let (ran, requests) = refused(move |_| xml(&many)).await;
    assert!(ran.out.contains("choose another prefix"), "{}", ran.all());
    assert!((2..120).contains(&requests), "{requests} requests");
    // An answer that is no object and too long, though it is valid.
    let long = page(&[], None) + &" ".repeat(17 << 20);
    let (ran, _) = refused(move |_| xml(&long)).await;
    assert!(ran.out.contains("answered with an error"), "{}", ran.all());
    // A manifest that is larger than its list says.
    let (ran, _) = refused(move |request| match request.target.contains("list-type") {
        true => xml(&page(&[manifest], None)),
        false => Reply::raw(
            "HTTP/1.1 200 X\r\ncontent-length: 400000000\r\netag: \"e\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 \
             GMT\r\n\r\n{",
            Ending::Stall,
        ),
    })
    .await;
    assert!(
        ran.out.contains("too large for a manifest"),
        "{}",
        ran.all()
    );
    // Names that lead out of the prefix.
    for name in ["here/_headwater/../../../etc/passwd", "here//_headwater/x"] {
        let (ran, _) = refused(move |_| xml(&page(&[name], None))).await;
        assert!(
            ran.out.contains("answered with an error"),
            "{name}: {}",
            ran.all()
        );
    }
    // A credential in an error, which is not shown.
    let (ran, _) =
        refused(|_| Reply::full(403, &[], b"<Error><Message>hunter2</Message></Error>")).await;
    assert!(ran.out.contains("may not read and write"), "{}", ran.all());
}

#[tokio::test]
async fn no_redirect_of_a_service_is_followed() {
    let other = Script::start(|_| Reply::json(200, "{}")).await.unwrap();
    for status in [301, 302, 307, 308] {
        let to = format!("{}/records", other.base_url());
        let (ran, _) = refused(move |_| Reply::full(status, &[("location", &to)], b"")).await;
        assert!(ran.out.contains("answered with an error"), "{}", ran.all());
    }
    assert_eq!(other.connections(), 0);
}
