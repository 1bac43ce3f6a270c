//! `headwater read`: to a pipe, to a folder, with a state, killed and stopped.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use acceptance::{
    binary::{Ran, command, files, run_with_input},
    sandbox, simulation, unlimited_sandbox,
};
use headwater_sandbox::{CopilotOptions, Sandbox};
use serde_json::Value;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";

fn config(sandbox: &Sandbox) -> String {
    let mut answer = (simulation(ID).form)(&sandbox.base_url());
    answer["requests_per_second"] = 1000.into();
    answer.to_string()
}

fn read(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let all = ["read", ID, "--config", "-"].iter().chain(arguments);
    run_with_input(HEADWATER, all, config(sandbox).as_bytes())
}

fn keys(text: &str, field: &str) -> Vec<String> {
    let key = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()[field]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut keys: Vec<String> = text.lines().map(key).collect();
    keys.sort();
    keys
}

fn folder_keys(folder: &Path, stream: &str) -> Vec<String> {
    let field = match stream {
        "topics" => "topic_id",
        "accounts" | "contacts" | "deals" => "crm_id",
        _ => "id",
    };
    keys(
        &fs::read_to_string(folder.join(format!("{stream}.jsonl"))).unwrap(),
        field,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_to_a_pipe_is_bare_records_and_several_are_named() {
    let sandbox = unlimited_sandbox(30).await;
    let one = read(&sandbox, &["--stream", "calls"]);
    assert_eq!(one.code, Some(0), "{}", one.err);
    assert_eq!(keys(&one.out, "id"), sandbox.keys("calls").unwrap());

    let two = read(&sandbox, &["--stream", "users", "--stream", "topics"]);
    let named: Vec<Value> = two
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let users = named
        .iter()
        .filter(|line| line["stream"] == "users")
        .count();
    assert_eq!(users, sandbox.keys("users").unwrap().len());
    assert!(named.iter().all(|line| line["record"].is_object()));
    // Receipt and progress are not among the records.
    assert!(two.err.contains("complete"), "{}", two.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_every_record_of_every_stream_once() {
    let sandbox = unlimited_sandbox(40).await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let ran = read(&sandbox, &["--out", out.to_str().unwrap(), "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for stream in ran.json()["streams"].as_array().unwrap() {
        let name = stream["stream"].as_str().unwrap();
        assert_eq!(
            folder_keys(&out, name),
            sandbox.keys(name).unwrap(),
            "{name}"
        );
        assert_eq!(stream["status"], "complete");
    }
    assert_eq!(files(&out).len(), 9);

    let again = read(&sandbox, &["--out", out.to_str().unwrap()]);
    assert_eq!(
        again.code,
        Some(2),
        "a folder with records of an unknown run is not written to: {}",
        again.err
    );
    assert_eq!(folder_keys(&out, "calls"), sandbox.keys("calls").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_read_brings_only_what_changed() {
    let sandbox = unlimited_sandbox(60).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let arguments = ["--stream", "calls", "--state", state.to_str().unwrap()];
    let first = read(&sandbox, &arguments);
    assert_eq!(keys(&first.out, "id"), sandbox.keys("calls").unwrap());
    let second = read(&sandbox, &arguments);
    assert_eq!(
        (second.code, second.out.as_str()),
        (Some(0), ""),
        "{}",
        second.err
    );

    sandbox.touch_call(3, "IGNORED_BY_USER");
    let third = read(&sandbox, &arguments);
    let changed: Vec<Value> = third
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["status"], "IGNORED_BY_USER");
    assert_eq!(read(&sandbox, &arguments).out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_nothing_is_lost_or_repeated() {
    let mut options = CopilotOptions {
        calls: 300,
        ..CopilotOptions::default()
    };
    options.limits.per_second = None;
    options.faults.latency_ms = 4;
    let sandbox = sandbox(options).await;
    let folder = tempfile::tempdir().unwrap();
    let (out, state) = (folder.path().join("out"), folder.path().join("state.json"));
    let config_file = folder.path().join("config.json");
    fs::write(&config_file, config(&sandbox)).unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let start = || {
        command(HEADWATER)
            .args([
                "read",
                ID,
                "--quiet",
                "--config",
                config_file.to_str().unwrap(),
            ])
            .args([
                "--out",
                out.to_str().unwrap(),
                "--state",
                state.to_str().unwrap(),
            ])
            .spawn()
            .unwrap()
    };
    let mut kills = 0;
    let is_finished = (0..20).any(|_| {
        let mut child = start();
        sleep(Duration::from_millis(random.u64(50..700)));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return true;
        }
        kills += 1;
        child.kill().unwrap();
        child.wait().unwrap();
        false
    });
    assert!(kills > 0, "no read was alive when it was to be killed");
    assert!(is_finished || start().wait().unwrap().success());
    for stream in acceptance::connector(ID).catalog() {
        assert_eq!(
            folder_keys(&out, stream.name),
            sandbox.keys(stream.name).unwrap(),
            "{} (seed {seed})",
            stream.name
        );
    }
    assert_eq!(files(folder.path()), ["config.json", "out", "state.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_with_what_was_read_kept() {
    let mut options = CopilotOptions {
        calls: 200,
        ..CopilotOptions::default()
    };
    options.limits.per_second = None;
    options.faults.latency_ms = 20;
    let sandbox = sandbox(options).await;
    let folder = tempfile::tempdir().unwrap();
    let (out, state) = (folder.path().join("out"), folder.path().join("state.json"));
    let config_file = folder.path().join("config.json");
    fs::write(&config_file, config(&sandbox)).unwrap();
    let arguments = [
        "read",
        ID,
        "--stream",
        "call_details",
        "--config",
        config_file.to_str().unwrap(),
    ];
    let places = [
        "--out",
        out.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
    ];
    let child = command(HEADWATER)
        .args(arguments)
        .args(places)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = Instant::now();
    while sandbox
        .stats()
        .by_path
        .get("/call-details")
        .copied()
        .unwrap_or(0)
        < 20
    {
        assert!(
            patience.elapsed() < Duration::from_secs(60),
            "the read does not get going"
        );
        sleep(Duration::from_millis(10));
    }
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let stopped: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(stopped.code, Some(130), "{}", stopped.err);
    assert!(stopped.err.contains("stopped"), "{}", stopped.err);
    let so_far = folder_keys(&out, "call_details").len();
    assert!(so_far >= 15, "{so_far} records were kept");

    let rest = command(HEADWATER)
        .args(arguments)
        .args(places)
        .output()
        .unwrap();
    assert!(rest.status.success());
    assert_eq!(
        folder_keys(&out, "call_details"),
        sandbox.keys("call_details").unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_exact_and_moves_no_state_past_what_was_given() {
    let sandbox = unlimited_sandbox(250).await;
    let folder = tempfile::tempdir().unwrap();
    let (out, state) = (folder.path().join("out"), folder.path().join("state.json"));
    let places = [
        "--stream",
        "calls",
        "--out",
        out.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
    ];
    let limited = read(&sandbox, &[&places[..], &["--limit", "7"]].concat());
    assert_eq!(limited.code, Some(0), "{}", limited.err);
    assert!(
        limited.err.contains("stopped at the limit"),
        "{}",
        limited.err
    );
    assert_eq!(folder_keys(&out, "calls").len(), 7);
    assert_eq!(read(&sandbox, &places).code, Some(0));
    assert_eq!(folder_keys(&out, "calls"), sandbox.keys("calls").unwrap());
    let looked_at = read(&sandbox, &["--stream", "calls", "--limit", "101"]);
    assert_eq!(looked_at.out.lines().count(), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_permission_leaves_the_others_alone() {
    let sandbox = unlimited_sandbox(20).await;
    sandbox.set_faults("deny=/users".parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let ran = read(
        &sandbox,
        &[
            "--stream",
            "users",
            "--stream",
            "calls",
            "--out",
            folder.path().to_str().unwrap(),
        ],
    );
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(
        ran.err
            .contains("error: read users: Clari Copilot does not allow this"),
        "{}",
        ran.err
    );
    assert_eq!(
        folder_keys(folder.path(), "calls"),
        sandbox.keys("calls").unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_into_the_same_folder_is_refused_while_the_first_is_under_way() {
    let mut options = CopilotOptions {
        calls: 60,
        ..CopilotOptions::default()
    };
    options.limits.per_second = None;
    options.faults.latency_ms = 100;
    let sandbox = sandbox(options).await;
    let folder = tempfile::tempdir().unwrap();
    let (out, state) = (folder.path().join("out"), folder.path().join("state.json"));
    let config_file = folder.path().join("config.json");
    fs::write(&config_file, config(&sandbox)).unwrap();
    let run = || {
        let mut command = command(HEADWATER);
        command.args([
            "read",
            ID,
            "--stream",
            "call_details",
            "--config",
            config_file.to_str().unwrap(),
        ]);
        command.args([
            "--out",
            out.to_str().unwrap(),
            "--state",
            state.to_str().unwrap(),
            "--quiet",
        ]);
        command
    };
    let mut first = run().spawn().unwrap();
    let patience = Instant::now();
    while sandbox
        .stats()
        .by_path
        .get("/call-details")
        .copied()
        .unwrap_or(0)
        < 5
    {
        assert!(
            patience.elapsed() < Duration::from_secs(60),
            "the read does not get going"
        );
        sleep(Duration::from_millis(10));
    }
    let second: Ran = run().output().unwrap().into();
    assert_eq!(second.code, Some(5), "{}", second.all());
    assert!(
        second.err.contains("is being written by another run"),
        "{}",
        second.err
    );
    first.kill().unwrap();
    first.wait().unwrap();
    // The lock goes with the process, also with one that was killed.
    assert!(run().status().unwrap().success());
    assert_eq!(
        folder_keys(&out, "call_details"),
        sandbox.keys("call_details").unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_read_and_costs_nothing_later() {
    let sandbox = unlimited_sandbox(400).await;
    let folder = tempfile::tempdir().unwrap();
    let (out, state) = (folder.path().join("out"), folder.path().join("state.json"));
    let config_file = folder.path().join("config.json");
    fs::write(&config_file, config(&sandbox)).unwrap();
    let line = format!(
        "{HEADWATER} read {ID} --stream users --stream calls --config {} --out {} --state {}",
        config_file.display(),
        out.display(),
        state.display()
    );
    // No file may grow beyond 200 KiB; the signal that comes with it is ignored, so that the write fails instead.
    let limited = format!("trap '' XFSZ; ulimit -f 200; {line}");
    let ran: Ran = command("bash")
        .args(["-c", &limited])
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, Some(74), "{}", ran.all());
    assert!(
        ran.err.contains("calls.jsonl cannot be written"),
        "{}",
        ran.err
    );
    let ran: Ran = command("bash").args(["-c", &line]).output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    for stream in ["users", "calls"] {
        assert_eq!(folder_keys(&out, stream), sandbox.keys(stream).unwrap());
    }

    let to_full = format!(
        "{HEADWATER} read {ID} --stream users --config {} > /dev/full",
        config_file.display()
    );
    let ran: Ran = command("bash")
        .args(["-c", &to_full])
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, Some(74), "{}", ran.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_error() {
    let sandbox = unlimited_sandbox(3000).await;
    let mut child = command(HEADWATER)
        .args(["read", ID, "--stream", "calls", "--quiet", "--config", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(
        &mut child.stdin.take().unwrap(),
        config(&sandbox).as_bytes(),
    )
    .unwrap();
    drop(child.stdout.take());
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.err, "");
}

/// A shell that runs the binary with its streams as `redirects` say.
fn in_a_shell(folder: &Path, arguments: &str, redirects: &str) -> Ran {
    let mut shell = Command::new("sh");
    shell
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env("HEADWATER_STORE", "store.db")
        .env("HEADWATER", HEADWATER)
        .args(["-c", &format!("\"$HEADWATER\" {arguments} {redirects}")]);
    shell.output().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_closed_or_full_keeps_the_state_where_it_is() {
    let sandbox = unlimited_sandbox(60).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("config.json"), config(&sandbox)).unwrap();
    let of = |what: &str| format!("{what} {ID} --config config.json");
    let read = |rest: &str| format!("{} --stream calls --state state.json {rest}", of("read"));
    let ran = in_a_shell(folder, &read("--quiet"), ">&-");
    assert_eq!(ran.code, Some(74), "{}", ran.all());
    assert!(ran.err.contains("standard output is closed"), "{}", ran.err);
    assert!(!folder.join("state.json").exists());
    assert_eq!(sandbox.stats().requests, 0);
    let ran = in_a_shell(folder, &read("--quiet"), ">/dev/full");
    assert_eq!(ran.code, Some(74), "{}", ran.all());
    let state: Value =
        serde_json::from_slice(&fs::read(folder.join("state.json")).unwrap()).unwrap();
    assert!(
        state["streams"]["calls"].get("bookmark").is_none(),
        "{state}"
    );
    // What was not written comes with the next read, and a record is no worse for progress that nobody sees.
    for redirects in ["2>&-", "</dev/null 2>/dev/full"] {
        fs::remove_file(folder.join("state.json")).unwrap();
        let ran = in_a_shell(folder, &read(""), redirects);
        assert_eq!(ran.code, Some(0), "{redirects}: {}", ran.all());
        assert_eq!(keys(&ran.out, "id"), sandbox.keys("calls").unwrap());
    }
    // The null device is an output like any other one, and a folder needs none.
    fs::remove_file(folder.join("state.json")).unwrap();
    for (arguments, redirects) in [
        (read("--quiet"), ">/dev/null"),
        (format!("{} --out out --stream users", of("read")), ">&-"),
        (
            format!("{} --to sqlite:records.db --stream users", of("sync")),
            ">&-",
        ),
    ] {
        let ran = in_a_shell(folder, &arguments, redirects);
        assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.all());
    }
    let ran = in_a_shell(folder, &of("read"), "--stream users <&- >/dev/null");
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let empty = format!("read {ID} --config -");
    let ran = in_a_shell(folder, &empty, "<&-");
    assert_eq!(ran.code, Some(2), "{}", ran.all());
    // Whatever does nothing but write.
    for arguments in [
        "list".to_owned(),
        format!("spec {ID}"),
        format!("discover {ID}"),
        of("plan"),
        "state show state.json".to_owned(),
        format!("{} --at state.json", of("state explain")),
        "state diff state.json state.json".to_owned(),
        format!("{} --to jsonl:-", of("sync")),
        "connection list".to_owned(),
        "token list".to_owned(),
        "token add one --scope read".to_owned(),
        "--help".to_owned(),
    ] {
        let redirects: &[&str] = match arguments.as_str() {
            "--help" => &[">/dev/full"],
            // Where there are none, that is said on standard error.
            "connection list" | "token list" => &[">&-"],
            _ => &[">&-", ">/dev/full"],
        };
        for redirects in redirects {
            let ran = in_a_shell(folder, &arguments, redirects);
            assert_eq!(ran.code, Some(74), "{arguments} {redirects}: {}", ran.all());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_behind_a_link_stays_behind_it() {
    let sandbox = unlimited_sandbox(30).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("real")).unwrap();
    symlink("real/state.json", at("state.json")).unwrap();
    let state = at("state.json");
    for _ in 0..2 {
        let ran = read(
            &sandbox,
            &["--stream", "users", "--state", state.to_str().unwrap()],
        );
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert!(fs::symlink_metadata(&state).unwrap().is_symlink());
        assert_eq!(files(&at("real")), ["state.json"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_a_mount_point_is_written_over() {
    let sandbox = unlimited_sandbox(30).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in ["state.json", "elsewhere.json"] {
        let empty = format!("{{\"headwater_state\":1,\"connector\":\"{ID}\"}}");
        fs::write(folder.join(name), empty).unwrap();
    }
    fs::write(folder.join("config.json"), config(&sandbox)).unwrap();
    let script = format!(
        "mount --bind elsewhere.json state.json || exit 99; \"$0\" read {ID} --config config.json --stream users --state \
         state.json"
    );
    let mut shell = Command::new("unshare");
    shell
        .args(["--mount", "--map-root-user", "sh", "-c", &script, HEADWATER])
        .current_dir(folder);
    let Ok(output) = shell.output() else {
        return eprintln!("skipped: there is no unshare here");
    };
    let ran: Ran = output.into();
    if matches!(ran.code, Some(1 | 99)) {
        return eprintln!("skipped: nothing can be mounted here: {}", ran.err);
    }
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(keys(&ran.out, "id"), sandbox.keys("users").unwrap());
    let kept = fs::read_to_string(folder.join("elsewhere.json")).unwrap();
    assert!(kept.contains("last_records"), "{kept}");
    assert_eq!(
        files(folder),
        ["config.json", "elsewhere.json", "state.json"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_moved_goes_on_with_its_own_state() {
    let sandbox = unlimited_sandbox(60).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let sync = |out: &str| {
        let to = format!("jsonl:{}", at(out));
        let all = [
            "sync", ID, "--config", "-", "--stream", "calls", "--to", &to,
        ];
        run_with_input(HEADWATER, all, config(&sandbox).as_bytes())
    };
    assert_eq!(sync("one").code, Some(0));
    fs::rename(at("one"), at("two")).unwrap();
    symlink(at("two"), at("three")).unwrap();
    for out in ["two", "three", "two"] {
        sandbox.change_calls(2);
        let ran = sync(out);
        assert_eq!(ran.code, Some(0), "{out}: {}", ran.all());
    }
    let lines = fs::read_to_string(folder.path().join("two/calls.jsonl")).unwrap();
    assert_eq!(
        lines.lines().count(),
        sandbox.keys("calls").unwrap().len() + 6
    );
}
