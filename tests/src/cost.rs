//! What a process costs: CPU time, peak memory and wall time, and what stands in the middle of several.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};

/// CPU time, peak memory and wall time of a process.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub cpu: Duration,
    pub peak_kib: u64,
    pub wall: Duration,
}

/// Runs a process to its end, which has to be a success.
pub fn measure(command: &mut Command, input: &[u8]) -> Cost {
    let cpu = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let micros =
            |time: nix::sys::time::TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()) as u64;
        Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
    };
    let (before, started) = (cpu(), Instant::now());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let exit = loop {
        // The high-water mark only rises, so the last look before the end is the peak.
        let mark = fs::read_to_string(&status).unwrap_or_default();
        let mark = mark.lines().find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        });
        peak_kib = peak_kib.max(mark.unwrap_or(0));
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert!(exit.success(), "{command:?} failed");
    Cost {
        cpu: cpu() - before,
        peak_kib,
        wall: started.elapsed(),
    }
}

pub fn smallest(costs: &[Cost]) -> Duration {
    costs.iter().map(|cost| cost.cpu).min().unwrap()
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

pub fn median_of(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
