//! Services at their worst, read by the shipped binary: data that move while they are read, outages, pages that nobody
//! can read, waits of an hour, and users who stop in the middle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use acceptance::{
    binary::{Ran, command},
    claribi, copilot, revenue, sandbox, unhurried,
};
use headwater_core::{Context, Timestamp};
use headwater_host::{Receipt, RunOptions, State};
use headwater_output::JsonLinesWriter;
use headwater_sandbox::{
    ClaribiOptions, CopilotOptions, Faults, JobOptions, JobOutcome, RandomFault, RevenueBehaviour,
    RevenueOptions, Sandbox, StatusFault,
    claribi::{Paging, RateLimit},
};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

/// A connector, its config in a file, and a database for its records.
struct Place {
    connector: &'static str,
    folder: TempDir,
}

impl Place {
    fn new(connector: &'static str, config: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Self { connector, folder }
    }

    /// Of Clari Copilot, without a rate limit of its own.
    fn of_copilot(sandbox: &Sandbox) -> Self {
        let mut config = copilot::answer(&sandbox.base_url());
        config["requests_per_second"] = 1000.into();
        Self::new("clari-copilot", &config)
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("records.db")
    }

    fn destination(&self) -> String {
        format!("sqlite:{}", self.database().display())
    }

    /// A command about the connector.
    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = command(HEADWATER);
        command
            .args([name, self.connector, "--config"])
            .arg(self.config())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn sync_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("sync", &["--to", &self.destination(), "--json"]);
        command.args(["--progress", "none"]).args(arguments);
        command
    }

    fn sync(&self, arguments: &[&str]) -> Ran {
        self.sync_command(arguments).output().unwrap().into()
    }

    /// A command about the state.
    fn state(&self, arguments: &[&str]) -> Ran {
        let mut command = command(HEADWATER);
        command
            .arg("state")
            .args(arguments)
            .output()
            .unwrap()
            .into()
    }

    /// Whether the state says of a stream that it was read to its end, yes or not yet.
    fn shows(&self, stream: &str, is_read: &str) -> bool {
        let destination = self.destination();
        let ran = self.state(&["show", &destination, "--connection", self.connector]);
        let is_so = |line: &str| line.starts_with(stream) && line.contains(is_read);
        ran.out.lines().any(is_so)
    }

    fn explain(&self) -> String {
        let config = self.config();
        let ran = self.state(&[
            "explain",
            self.connector,
            "--config",
            config.to_str().unwrap(),
            "--at",
            &self.destination(),
        ]);
        assert_eq!(ran.code, Some(0), "{}", ran.all());
        ran.out
    }

    /// The records of a stream as they stand in the database.
    fn records(&self, stream: &str) -> Vec<String> {
        let database = Connection::open(self.database()).unwrap();
        let sql = format!("SELECT _record FROM \"{stream}\"");
        let Ok(mut statement) = database.prepare(&sql) else {
            return Vec::new();
        };
        let records = statement.query_map([], |row| row.get(0)).unwrap();
        records.map(Result::unwrap).collect()
    }

    /// The records that a read from the start brings now.
    fn truth(&self, stream: &str) -> Vec<String> {
        let ran: Ran = self
            .command("read", &["--quiet", "--stream", stream])
            .output()
            .unwrap()
            .into();
        assert_eq!(ran.code, Some(0), "{stream}: {}", ran.err);
        ran.out.lines().map(str::to_owned).collect()
    }
}

fn receipt_of<'r>(receipt: &'r Value, stream: &str) -> &'r Value {
    let streams = receipt["streams"].as_array().unwrap();
    streams.iter().find(|one| one["stream"] == stream).unwrap()
}

fn seed() -> u64 {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    seed
}

/// The texts or numbers of some fields, sorted.
fn fields(records: &[String], names: &[&str]) -> Vec<String> {
    let mut fields: Vec<String> = records
        .iter()
        .map(|record| {
            let record: Value = serde_json::from_str(record).unwrap();
            let parts = names.iter().map(|name| match &record[name] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            parts.collect::<Vec<_>>().join("|")
        })
        .collect();
    fields.sort();
    fields
}

fn bytes(records: &[String]) -> Vec<&String> {
    let mut records: Vec<&String> = records.iter().collect();
    records.sort();
    records
}

/// Some faults for one run: failures at random, data that change with every page, now and then a lower limit.
fn some_faults(paths: &[&str], random: &mut fastrand::Rng) -> Faults {
    Faults {
        latency_ms: random.u64(0..4),
        random: Some(RandomFault {
            percent: random.u8(1..6),
            seed: random.u64(..),
            decided: 0,
            path: random.choice(paths).map(|&path| path.to_owned()),
        }),
        changing: random.u64(0..3),
        ..Faults::default()
    }
}

/// Syncs in a hostile world, where requests to one of the `failing` paths (all where there are none) fail now and then in
/// each run, and `change` happens before and during it; then in a calm one until two runs are
/// complete, and gives the receipt of the second. The first may have gone on with passes that began before the last change,
/// as far as its receipt says; the second begins all of them anew.
async fn sync_through(
    place: &Place,
    sandbox: &Arc<Sandbox>,
    seed: u64,
    failing: &[&str],
    change: fn(&Sandbox, &mut fastrand::Rng),
) -> Value {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut codes = Vec::new();
    for _ in 0..3 {
        change(sandbox, &mut random);
        sandbox.set_faults(some_faults(failing, &mut random));
        let is_over = Arc::new(AtomicBool::new(false));
        let world = {
            let (sandbox, is_over) = (Arc::clone(sandbox), Arc::clone(&is_over));
            let mut random = random.fork();
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(random.u64(20..200))).await;
                    change(&sandbox, &mut random);
                    let per_second = random.bool().then(|| random.u32(40..200));
                    let faults = sandbox.faults();
                    sandbox.set_faults(Faults {
                        per_second,
                        ..faults
                    });
                }
            })
        };
        let child = place.sync_command(&[]).spawn().unwrap();
        let ran: Ran = ended(child).await;
        is_over.store(true, Ordering::Relaxed);
        world.await.unwrap();
        assert!(
            matches!(ran.code, Some(0 | 5 | 8)),
            "seed {seed}: {}",
            ran.all()
        );
        codes.push(ran.code);
    }
    sandbox.set_faults(Faults::default());
    // What changed within the last second may be changing still.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let mut complete = 0;
    for _ in 0..7 {
        let ran: Ran = ended(place.sync_command(&[]).spawn().unwrap()).await;
        codes.push(ran.code);
        let is_complete = ran.code == Some(0)
            && ran.json()["streams"]
                .as_array()
                .unwrap()
                .iter()
                .all(|stream| stream["status"] == "complete");
        complete += usize::from(is_complete);
        if complete == 2 {
            println!("exit codes {codes:?}");
            return ran.json();
        }
        for stream in ran.json()["streams"].as_array().unwrap() {
            if stream["status"] != "complete" {
                println!("{stream}");
            }
            let stream = stream["stream"].as_str().unwrap();
            let place_text = place.destination();
            let connection = ["--connection", place.connector, "--stream", stream];
            place.state(&[&["retry", &place_text][..], &connection].concat());
        }
    }
    panic!("seed {seed}: no run was complete: {codes:?}");
}

/// Waits without standing in the way of the simulator.
async fn ended(child: Child) -> Ran {
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    output.await.unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_change_and_come_late_while_everything_fails_at_times_are_all_there_once() {
    let seed = seed();
    let mut options = CopilotOptions {
        calls: 350,
        seed,
        ..CopilotOptions::default()
    };
    options.limits.per_second = None;
    let sandbox = Arc::new(sandbox(options).await);
    let place = Place::of_copilot(&sandbox);
    sync_through(&place, &sandbox, seed, &[], |sandbox, random| {
        // Several at once share their time, at the boundary of a pass, too.
        sandbox.change_calls(random.u64(0..4));
        let late = Duration::from_millis(random.u64(0..400_000));
        sandbox.change_calls_late(random.u64(0..3), late);
    })
    .await;
    for stream in copilot::STREAMS {
        let key = match stream {
            "topics" => "topic_id",
            "accounts" | "contacts" | "deals" => "crm_id",
            _ => "id",
        };
        let records = place.records(stream);
        let keys = fields(&records, &[key]);
        assert_eq!(keys, sandbox.keys(stream).unwrap(), "{stream}, seed {seed}");
    }
    for stream in ["calls", "call_details"] {
        let version = ["id", "status", "last_modified_time"];
        let records = fields(&place.records(stream), &version);
        let truth = fields(&place.truth(stream), &version);
        assert_eq!(records, truth, "{stream}, seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_that_fail_and_a_log_with_empty_pages_are_all_there_once() {
    let seed = seed();
    let options = RevenueOptions {
        seed,
        forecast_entries: 9_000,
        per_second: None,
        jobs: JobOptions {
            // A job is seen before it vanishes: one that never showed is waited for, for two minutes.
            scheduled: Duration::from_millis(1_200),
            running: Duration::from_millis(50),
            concurrent_limit: 3,
            ..JobOptions::default()
        },
        behaviour: RevenueBehaviour {
            audit_filter_after: true,
            ..RevenueBehaviour::default()
        },
        ..RevenueOptions::default()
    };
    let sandbox = Arc::new(sandbox_of(options).await);
    let forecasts = ["net_arr", "net_bookings"];
    let fields = json!({ "forecast_ids": forecasts, "opportunities_of_activities": true });
    let config = revenue::answer_with(&sandbox.base_url(), fields);
    let place = Place::new(revenue::ID, &config);
    // An order without an answer is looked for, for two minutes, before the next one: tests whose clock stands still do that.
    let failing = ["/export/jobs", "/audit", "/admin"];
    let receipt = sync_through(&place, &sandbox, seed, &failing, |sandbox, random| {
        let tenant = revenue::outside(sandbox);
        tenant.add_audit_events(random.u64(0..4));
        if random.u8(..4) == 0 {
            tenant.change_forecasts();
        }
        let outcomes = [
            JobOutcome::Failed,
            JobOutcome::Aborted,
            JobOutcome::Vanish,
            JobOutcome::Expired,
            JobOutcome::Done,
        ];
        // One at a time: what is left when the world calms down meets one order more.
        if random.u8(..12) == 0 && tenant.scripted_jobs() == 0 {
            tenant.script_jobs(random.choice(outcomes));
        }
    })
    .await;
    for stream in revenue::FORECAST {
        let all = forecasts
            .iter()
            .flat_map(|forecast| revenue::truth(&sandbox, stream, &format!("/{forecast}")));
        let truth: BTreeSet<String> = all.collect();
        let keys = revenue::keys(stream, &place.records(stream));
        let distinct: BTreeSet<String> = keys.into_iter().collect();
        assert_eq!(distinct, truth, "{stream}, seed {seed}");
    }
    let activities = place.records("activities");
    let named: BTreeSet<String> = activities
        .iter()
        .flat_map(|record| {
            let record: Value = serde_json::from_str(record).unwrap();
            record["opportunities"].as_array().unwrap().clone()
        })
        .map(|named| named["opportunityId"].as_str().unwrap().to_owned())
        .collect();
    let opportunities = revenue::keys("opportunities", &place.records("opportunities"));
    assert!(opportunities.iter().eq(&named), "seed {seed}");
    assert_eq!(
        revenue::keys("activities", &activities),
        revenue::truth(&sandbox, "activities", ""),
        "seed {seed}"
    );
    // The newest events are left to a later run, which finds them in their final order.
    let audit = receipt_of(&receipt, "audit_events");
    let covered_to: Timestamp = audit["covered_to"].as_str().unwrap().parse().unwrap();
    let is_due = |key: &String| {
        let at: Timestamp = key.split('|').next().unwrap().parse().unwrap();
        at < covered_to
    };
    let events = revenue::keys("audit_events", &place.records("audit_events"));
    let truth = revenue::truth(&sandbox, "audit_events", "");
    let due: Vec<String> = truth.into_iter().filter(is_due).collect();
    assert!(due.len() > 2_000, "{} events", due.len());
    assert_eq!(events, due, "seed {seed}");
    let records = place.records("forecast_entries");
    let truth = place.truth("forecast_entries");
    assert_eq!(records.len(), truth.len(), "seed {seed}");
    assert_eq!(
        bytes(&records),
        bytes(&truth),
        "the last version, seed {seed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_whose_rows_move_between_pages_are_all_there_once() {
    let seed = seed();
    let options = ClaribiOptions {
        seed,
        data_sources: 60,
        rate_limit: RateLimit::None,
        paging: Paging::Drf,
        ..ClaribiOptions::default()
    };
    let sandbox = Arc::new(sandbox_of(options).await);
    let place = Place::new("claribi", &claribi::answer(&sandbox.base_url()));
    sync_through(&place, &sandbox, seed, &[], |sandbox, random| {
        sandbox.add_reports(random.u64(0..3));
    })
    .await;
    for stream in ["data_sources", "reports", "dashboards"] {
        let records = place.records(stream);
        let keys = fields(&records, &["id"]);
        assert_eq!(keys, sandbox.keys(stream).unwrap(), "{stream}, seed {seed}");
        let truth = place.truth(stream);
        assert_eq!(bytes(&records), bytes(&truth), "{stream}, seed {seed}");
    }
}

async fn sandbox_of(service: impl Into<headwater_sandbox::Service>) -> Sandbox {
    Sandbox::start(service).await.unwrap()
}

/// Every request fails in this way.
fn outage(code: u16, retry_after: Option<u64>) -> Faults {
    Faults {
        status: Some(StatusFault {
            code,
            next: u32::MAX,
            path: None,
            retry_after,
        }),
        ..Faults::default()
    }
}

fn resets() -> Faults {
    Faults {
        reset: u32::MAX,
        ..Faults::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_ends_a_run_over_all_streams_after_few_requests() {
    for faults in [outage(503, None), resets()] {
        let sandbox = acceptance::unlimited_sandbox(200).await;
        sandbox.set_faults(faults);
        let place = Place::of_copilot(&sandbox);
        let ran = place.sync(&["--concurrency", "8"]);
        assert_eq!(ran.code, Some(5), "{}", ran.all());
        let receipt = ran.json();
        let sent = receipt["requests"].as_u64().unwrap();
        assert!(sent <= 8 * 5, "{sent} requests");
        // The end of a run leaves what it is about to send at that moment.
        let arrived = sandbox.stats().requests;
        assert!(arrived <= sent && sent - arrived < 8, "{arrived} of {sent}");
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        assert_eq!(receipt["outcome"], "failed", "{}", ran.all());
    }
}

/// A run over all streams in this process that keeps nothing.
async fn run_in(context: &Context, base_url: &str) -> Receipt {
    let source = copilot::open_in(context, copilot::answer(base_url));
    let (_sender, stop) = tokio::sync::watch::channel(false);
    let options = RunOptions::new(Arc::clone(&context.meter), stop);
    let sink = Box::new(JsonLinesWriter::new(std::io::sink(), true));
    let state = State::new("clari-copilot");
    headwater_host::run(&*source, &[], state, sink, options, &mut |_| {})
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn runs_that_share_a_credential_share_what_an_outage_may_cost() {
    let sandbox = copilot::workspace_of(200).await;
    for (faults, least_wait) in [
        (outage(503, None), 0),
        (outage(500, Some(2)), 2),
        (resets(), 0),
    ] {
        sandbox.set_faults(faults);
        let context = unhurried::context();
        // The platform keeps its sources open; each of its runs opens one of its own as well.
        let _open = copilot::open_in(&context, copilot::answer(&sandbox.base_url()));
        let mut tried = BTreeMap::new();
        for round in 0..12 {
            let url = sandbox.base_url();
            let runs = (0..4).map(|_| run_in(&context, &url));
            let mut all = Vec::new();
            for run in runs {
                all.push(run.await);
            }
            for receipt in all {
                assert!(receipt.failure().is_some());
                tried.insert(round, (receipt.requests, receipt.retries));
            }
        }
        let (requests, retries) = (context.meter.requests(), context.meter.retries());
        let first = requests - retries;
        assert!(first >= 48, "{first} requests were tried");
        // A full budget is some 35 retries; nothing was earned since.
        assert!(
            retries <= 36,
            "{retries} retries of {first} requests: {tried:?}"
        );
        assert_eq!(tried[&11].1, 0, "the budget is empty: {tried:?}");
        let waited = context.meter.backoff_wait();
        assert!(
            waited >= Duration::from_secs(retries * least_wait),
            "{waited:?}"
        );
        // Each outage begins with a full budget: the fingerprint is forgotten with its last user.
    }
}

/// The records of the window that a first read of calls pages through.
fn windowed(place: &Place) -> u64 {
    let ran: Ran = place
        .command("plan", &["--json", "--stream", "calls"])
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    ran.json()["streams"][0]["partitions"][0]["records"]
        .as_u64()
        .unwrap()
}

/// One page of calls is answered like this, for ever.
fn poison(code: u16, skip: u64) -> Faults {
    Faults {
        status: Some(StatusFault {
            code,
            next: u32::MAX,
            path: Some(format!("/calls?skip={skip}")),
            retry_after: None,
        }),
        ..Faults::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_fails_in_three_runs_is_set_aside_named_and_brought_back() {
    for (code, exit_code) in [(500, 5), (200, 6)] {
        let sandbox = acceptance::unlimited_sandbox(1_000).await;
        let place = Place::of_copilot(&sandbox);
        let skip = windowed(&place) - 299;
        sandbox.set_faults(poison(code, skip));
        let only_calls = ["--stream", "calls"];
        for run in 1..=2 {
            let ran = place.sync(&only_calls);
            assert_eq!(ran.code, Some(exit_code), "run {run}: {}", ran.all());
        }
        let third = place.sync(&only_calls);
        assert_eq!(third.code, Some(8), "{}", third.all());
        let receipt = third.json();
        assert_eq!(receipt["outcome"], "partial");
        let calls = receipt_of(&receipt, "calls");
        assert_eq!(calls["status"], "partial");
        assert_eq!(calls["flags"][0]["code"], "set_aside", "{calls}");

        let all = sandbox.keys("calls").unwrap();
        let had = fields(&place.records("calls"), &["id"]);
        let missing = all.len() - had.len();
        assert!((1..=200).contains(&missing), "{missing} calls are missing");
        let explained = place.explain();
        assert!(explained.contains("missing: "), "{explained}");
        assert!(explained.contains("headwater state retry"), "{explained}");

        // It is not asked for again, and every receipt says that it is missing.
        for _ in 0..2 {
            let later = place.sync(&only_calls);
            assert_eq!(later.code, Some(8), "{}", later.all());
            let receipt = later.json();
            assert_eq!(receipt["outcome"], "partial");
            let calls = receipt_of(&receipt, "calls");
            assert_eq!(calls["status"], "partial");
            assert_eq!(calls["places_missing"], 1);
            assert_eq!(calls["flags"][0]["code"], "missing", "{calls}");
            let mend = "headwater state retry --stream calls";
            assert_eq!(calls["flags"][0]["mend"], mend);
        }

        sandbox.set_faults(Faults::default());
        let destination = place.destination();
        let retry = [
            "retry",
            &destination,
            "--connection",
            place.connector,
            "--stream",
            "calls",
        ];
        let ran = place.state(&retry);
        assert_eq!(ran.code, Some(0), "{}", ran.all());
        assert!(ran.out.contains("1 position of calls"), "{}", ran.out);
        let last = place.sync(&only_calls);
        assert_eq!(last.code, Some(0), "{}", last.all());
        assert_eq!(fields(&place.records("calls"), &["id"]), all);
        assert!(!place.explain().contains("missing"), "{}", place.explain());
    }
}

/// 429 for one page of calls, so many times.
fn closed(skip: u64, next: u32, retry_after: u64) -> Faults {
    Faults {
        status: Some(StatusFault {
            code: 429,
            next,
            path: Some(format!("/calls?skip={skip}")),
            retry_after: Some(retry_after),
        }),
        ..Faults::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_asked_to_come_back_in_an_hour_ends_with_what_it_has() {
    let sandbox = acceptance::unlimited_sandbox(1_000).await;
    let place = Place::of_copilot(&sandbox);
    let skip = windowed(&place) - 899;
    sandbox.set_faults(closed(skip, u32::MAX, 3600));
    let begun = Instant::now();
    let one_by_one = [
        "--stream",
        "users",
        "--stream",
        "calls",
        "--concurrency",
        "1",
    ];
    let ran = place.sync(&one_by_one);
    assert!(begun.elapsed() < Duration::from_secs(60), "it did not wait");
    assert_eq!(ran.code, Some(5), "{}", ran.all());
    let receipt = ran.json();
    assert_eq!(receipt["outcome"], "suspended");
    assert_eq!(receipt_of(&receipt, "users")["status"], "complete");
    let calls = receipt_of(&receipt, "calls");
    assert_eq!(calls["status"], "suspended");
    assert!(calls["until"].is_string(), "{calls}");
    let seconds = calls["retry_after_seconds"].as_u64().unwrap();
    assert!((3_500..=3_700).contains(&seconds), "{seconds}");
    let kept = place.records("calls").len() as u64;
    assert_eq!(calls["records"], kept);
    assert!(kept >= 100, "the pages before that were kept: {kept}");
    assert_eq!(
        fields(&place.records("users"), &["id"]),
        sandbox.keys("users").unwrap()
    );

    sandbox.set_faults(Faults::default());
    let asked = sandbox.stats().by_path["/calls"];
    let ran = place.sync(&one_by_one);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(
        fields(&place.records("calls"), &["id"]),
        sandbox.keys("calls").unwrap()
    );
    let again = receipt_of(&ran.json(), "calls")["records"]
        .as_u64()
        .unwrap();
    assert_eq!(kept + again, sandbox.keys("calls").unwrap().len() as u64);
    assert!(sandbox.stats().by_path["/calls"] - asked < 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_to_stay_goes_on_by_itself() {
    let sandbox = acceptance::unlimited_sandbox(500).await;
    let place = Place::of_copilot(&sandbox);
    let skip = windowed(&place) - 299;
    // More than the tries of one request.
    sandbox.set_faults(closed(skip, 7, 1));
    let ran = place.sync(&["--stream", "calls", "--stay"]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(ran.json()["outcome"], "complete");
    assert_eq!(sandbox.faults().status.unwrap().next, 0, "all were met");
    assert_eq!(
        fields(&place.records("calls"), &["id"]),
        sandbox.keys("calls").unwrap()
    );
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until the run has asked for so many pages; it has more to ask for by then.
fn until_asked(sandbox: &Sandbox, child: &mut Child, requests: u64) {
    let before = sandbox.stats().requests;
    let patience = Instant::now();
    while sandbox.stats().requests < before + requests {
        assert_eq!(child.try_wait().unwrap(), None, "the run ended by itself");
        assert!(patience.elapsed().as_secs() < 60, "the run asks no more");
        sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_sync_keeps_what_it_has_and_the_next_one_completes_it() {
    for which in [Signal::TERM, Signal::INT, Signal::HUP] {
        let sandbox = acceptance::unlimited_sandbox(600).await;
        sandbox.set_faults("latency=20ms".parse().unwrap());
        let place = Place::of_copilot(&sandbox);
        let mut child = place.sync_command(&[]).spawn().unwrap();
        until_asked(&sandbox, &mut child, 150);
        signal(&child, which);
        let ran: Ran = ended(child).await;
        assert_eq!(ran.code, Some(130), "{}", ran.all());
        let receipt = ran.json();
        assert_eq!(receipt["outcome"], "stopped");
        let mut kept = 0;
        for stream in receipt["streams"].as_array().unwrap() {
            let records = place.records(stream["stream"].as_str().unwrap()).len() as u64;
            assert_eq!(stream["records"], records, "{stream}");
            kept += records;
        }
        assert!(kept > 0, "what was read by then is there");

        sandbox.set_faults(Faults::default());
        let ran = place.sync(&[]);
        assert_eq!(ran.code, Some(0), "{}", ran.all());
        for stream in ["users", "calls", "call_details", "scorecards"] {
            assert_eq!(
                fields(&place.records(stream), &["id"]),
                sandbox.keys(stream).unwrap(),
                "{stream}"
            );
        }
    }
}

/// Every version of the calls that are stored, against a read from the start.
fn assert_up_to_date(place: &Place, stream: &str) {
    let version = ["id", "status", "last_modified_time"];
    let records = fields(&place.records(stream), &version);
    assert_eq!(records, fields(&place.truth(stream), &version), "{stream}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_after_a_crash_brings_what_is_newer_than_the_crash() {
    let sandbox = acceptance::unlimited_sandbox(600).await;
    let place = Place::of_copilot(&sandbox);
    sandbox.set_faults("latency=20ms".parse().unwrap());
    let mut child = place.sync_command(&[]).spawn().unwrap();
    until_asked(&sandbox, &mut child, 150);
    child.kill().unwrap();
    child.wait().unwrap();
    sandbox.set_faults(Faults::default());
    sandbox.change_calls(40);
    let ran = place.sync(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(ran.json()["outcome"], "complete");
    for stream in ["calls", "call_details"] {
        assert_up_to_date(&place, stream);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_is_read_up_to_now_whatever_a_crash_left_of_other_streams() {
    let sandbox = acceptance::unlimited_sandbox(300).await;
    let place = Place::of_copilot(&sandbox);
    // The calls are there when the run dies over their details.
    sandbox.set_faults("latency=30ms".parse().unwrap());
    let streams = ["--stream", "calls", "--stream", "call_details"];
    let mut child = place.sync_command(&streams).spawn().unwrap();
    let patience = Instant::now();
    while place.database().exists() && !place.shows("calls", "yes") || !place.database().exists() {
        assert!(patience.elapsed().as_secs() < 60, "the calls never end");
        assert_eq!(child.try_wait().unwrap(), None, "the run ended by itself");
        sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    sandbox.set_faults(Faults::default());
    sandbox.change_calls(40);
    let ran = place.sync(&["--stream", "calls"]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(receipt_of(&ran.json(), "calls")["status"], "complete");
    assert_up_to_date(&place, "calls");
    let ran = place.sync(&streams);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_up_to_date(&place, "call_details");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_hangs_does_not_keep_a_stopped_run_for_long_nor_a_second_signal_at_all() {
    let sandbox = acceptance::unlimited_sandbox(4_000).await;
    for is_repeated in [false, true] {
        // Each has all calls before it: forty pages, eight at a time, the later ones after the end of this test.
        let place = Place::of_copilot(&sandbox);
        assert_eq!(place.sync(&["--stream", "users"]).code, Some(0));
        sandbox.set_faults("latency=3s".parse().unwrap());
        let mut child = place.sync_command(&["--stream", "calls"]).spawn().unwrap();
        until_asked(&sandbox, &mut child, 12);
        sandbox.set_faults("latency=60s".parse().unwrap());
        // Somebody else writes to the file and does not end.
        let other = Connection::open(place.database()).unwrap();
        other.busy_timeout(Duration::from_secs(10)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        sleep(Duration::from_millis(300));
        signal(&child, Signal::TERM);
        let stopped = Instant::now();
        // Two that come at almost the same time are one.
        while is_repeated && child.try_wait().unwrap().is_none() {
            assert!(stopped.elapsed().as_secs() < 60, "it does not end");
            sleep(Duration::from_millis(300));
            signal(&child, Signal::TERM);
        }
        let ran: Ran = ended(child).await;
        let took = stopped.elapsed();
        // A stop waits nine seconds for the sink, which waits half a minute for others.
        let most = if is_repeated { 9 } else { 30 };
        assert!(took < Duration::from_secs(most), "it took {took:?}");
        assert_eq!(ran.code, Some(130), "{}", ran.all());
        drop(other);
        sandbox.set_faults(Faults::default());
        let ran = place.sync(&["--stream", "calls"]);
        assert_eq!(ran.code, Some(0), "{}", ran.all());
        assert_eq!(
            fields(&place.records("calls"), &["id"]),
            sandbox.keys("calls").unwrap()
        );
    }
}
