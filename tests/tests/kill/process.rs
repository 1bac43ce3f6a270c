//! A run in a process of its own, which can be killed: the test program, started once more.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio, exit},
    sync::Arc,
    thread,
    time::Duration,
};

use headwater_core::Meter;
use headwater_host::{RunOptions, State, run};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    place::{NAME, open},
    service::{Jobs, Service, ServiceSource},
    steps::{Stepping, Steps},
};

/// Set for the process: what it has to do.
const TASK: &str = "HEADWATER_TEST_KILL_TASK";
/// How it ends with an error that is told.
const REFUSED: i32 = 3;
/// It says so when it is about to begin: its start as a process is not of interest.
const BEGUN: &str = "the run begins";
/// Should the test itself be killed, its processes end by themselves.
const LONGEST: Duration = Duration::from_secs(60);

/// What a process does.
#[derive(Clone, Serialize, Deserialize)]
pub struct Task {
    pub destination: String,
    pub jobs: PathBuf,
    pub now: u64,
    pub commit_every: Duration,
    pub concurrency: usize,
    pub slowest: Duration,
    /// The step at which it ends itself.
    pub last_step: Option<u64>,
}

/// How a process ended.
#[derive(Debug, PartialEq)]
pub enum End {
    Killed,
    /// Its run was complete.
    Complete,
    /// It ended with this error.
    Refused(String),
}

impl Task {
    /// Runs to its end, however that comes.
    pub fn carry_out(&self) -> End {
        self.start().end()
    }

    /// Is killed at this time after the run has begun, unless it has ended by then.
    pub fn killed_after(&self, time: Duration) -> End {
        let mut process = self.start();
        thread::sleep(time);
        process.child.kill().unwrap();
        process.end()
    }

    /// Starts the process and waits for its run to begin.
    fn start(&self) -> Process {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "process::the_process_that_is_killed",
                "--nocapture",
            ])
            .env(TASK, serde_json::to_string(self).unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains(BEGUN) {
            line.clear();
            let read = output.read_line(&mut line).unwrap();
            assert!(read > 0, "the process ended before its run began");
        }
        Process {
            child,
            _output: output,
        }
    }
}

struct Process {
    child: Child,
    /// Kept open, since the test program has something to say at its end.
    _output: BufReader<ChildStdout>,
}

impl Process {
    fn end(mut self) -> End {
        let status = self.child.wait().unwrap();
        match (status.signal(), status.success()) {
            (Some(9), _) => End::Killed,
            (None, true) => End::Complete,
            (None, false) if status.code() == Some(REFUSED) => End::Refused(self.said()),
            _ => panic!("the run failed by itself: {}", self.said()),
        }
    }

    fn said(mut self) -> String {
        let mut said = String::new();
        let pipe = self.child.stderr.take().unwrap();
        BufReader::new(pipe).read_to_string(&mut said).unwrap();
        said
    }
}

/// Not a test of its own: what the process does.
#[test]
fn the_process_that_is_killed() {
    let Ok(task) = env::var(TASK) else { return };
    let task: Task = serde_json::from_str(&task).unwrap();
    thread::spawn(|| {
        thread::sleep(LONGEST);
        std::process::abort();
    });
    let steps = Steps::until(task.last_step);
    let service = Service {
        now: task.now,
        jobs: Jobs::of(&task.jobs),
        slowest: task.slowest,
        steps: Arc::clone(&steps),
    };
    let (_stop, stopped) = watch::channel(false);
    let mut options = RunOptions::new(Arc::new(Meter::default()), stopped);
    options.commit_every = Some(task.commit_every);
    options.concurrency = task.concurrency;
    let sink = Box::new(Stepping {
        sink: open(&task.destination).unwrap(),
        steps,
    });
    let source = ServiceSource(Arc::new(service));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    println!("{BEGUN}");
    let receipt = runtime
        .block_on(async { run(&source, &[], State::new(NAME), sink, options, &mut |_| {}).await });
    let receipt = receipt.unwrap_or_else(|error| {
        eprintln!("{error}");
        exit(REFUSED);
    });
    assert_eq!(receipt.failure(), None, "{receipt:?}");
}

/// An empty folder for the jobs.
pub fn jobs_folder(folder: &Path) -> PathBuf {
    let jobs = folder.join("jobs");
    std::fs::create_dir(&jobs).unwrap();
    jobs
}
