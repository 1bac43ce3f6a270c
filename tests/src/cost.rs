//! What work costs: CPU time, peak memory and wall time, of several rounds in turns, and how two of them compare.
//!
//! The benchmarks share it. Seconds say more about the machine than about the program, so that ratios within one run
//! are what counts.

use std::{
    fmt, fs,
    io::Write,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};

/// What some work cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// User and system, as the kernel counts it.
    pub cpu: Duration,
    /// The high-water mark of a process; zero for work within one.
    pub peak_kib: u64,
    /// By the clock on the wall.
    pub wall: Duration,
}

/// Runs a process to its end, which has to be a success.
pub fn measure(command: &mut Command, input: &[u8]) -> Cost {
    let (cost, exit) = measure_any(command, input);
    assert!(exit.success(), "{command:?} failed");
    cost
}

/// Runs a process to its end, whatever that is.
pub fn measure_any(command: &mut Command, input: &[u8]) -> (Cost, ExitStatus) {
    let (before, started) = (cpu(UsageWho::RUSAGE_CHILDREN), Instant::now());
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(input).expect("it reads its input");
    drop(pipe);
    let mut peak_kib = 0;
    let exit = loop {
        // The high-water mark only rises, so the last look before the end is the peak.
        peak_kib = peak_kib.max(memory(&child.id().to_string(), "VmHWM:"));
        if let Some(exit) = child.try_wait().expect("a child") {
            break exit;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let cost = Cost {
        cpu: cpu(UsageWho::RUSAGE_CHILDREN) - before,
        peak_kib,
        wall: started.elapsed(),
    };
    (cost, exit)
}

/// Does some work within this process.
pub fn measured(work: impl FnOnce()) -> Cost {
    let (before, started) = (own_cpu(), Instant::now());
    work();
    Cost {
        cpu: own_cpu() - before,
        peak_kib: 0,
        wall: started.elapsed(),
    }
}

/// The CPU time of this process so far.
pub fn own_cpu() -> Duration {
    cpu(UsageWho::RUSAGE_SELF)
}

fn cpu(of: UsageWho) -> Duration {
    let usage = getrusage(of).expect("the kernel counts");
    let micros = |time: TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()) as u64;
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

/// What the kernel says of the memory of a process, in KiB; zero where there is none any more.
pub fn memory(process: &str, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| {
        let kib = line.strip_prefix(name)?.trim().strip_suffix(" kB")?;
        kib.parse().ok()
    });
    kib.unwrap_or(0)
}

/// The median.
pub fn median<T: PartialOrd>(mut of: Vec<T>) -> T {
    of.sort_by(|a, b| a.partial_cmp(b).expect("numbers and times"));
    of.swap_remove(of.len() / 2)
}

/// One quantity divided by another one, in the rounds and of the best.
#[derive(Clone, Copy, Debug)]
pub struct Ratios {
    /// The median of the ratios within a round.
    pub median: f64,
    /// The best of one divided by the best of the other.
    pub of_minima: f64,
}

impl Ratios {
    /// Of what took part in the same rounds.
    pub fn of(these: &[Cost], those: &[Cost], what: fn(&Cost) -> Duration) -> Self {
        let ratio = |this: Duration, that: Duration| this.as_secs_f64() / that.as_secs_f64();
        let best = |costs: &[Cost]| costs.iter().map(what).min().expect("a round");
        let rounds = these.iter().zip(those);
        Self {
            median: median(rounds.map(|(a, b)| ratio(what(a), what(b))).collect()),
            of_minima: ratio(best(these), best(those)),
        }
    }

    /// Of CPU times.
    pub fn of_cpu(these: &[Cost], those: &[Cost]) -> Self {
        Self::of(these, those, |cost| cost.cpu)
    }

    /// Of wall times.
    pub fn of_wall(these: &[Cost], those: &[Cost]) -> Self {
        Self::of(these, those, |cost| cost.wall)
    }
}

impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, of_minima } = self;
        write!(
            f,
            "{median:.2} median of the rounds, {of_minima:.2} of the minima"
        )
    }
}

/// Several rounds of some works, one line each.
pub struct Table<'t>(pub &'t [(&'t str, &'t [Cost])]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28} {:>10} {:>12} {:>12} {:>10}",
            "", "CPU min s", "CPU median s", "wall med. s", "peak MiB"
        )?;
        for (name, costs) in self.0 {
            let of = |what: fn(&Cost) -> Duration| costs.iter().map(what).collect::<Vec<_>>();
            let best = of(|cost| cost.cpu).into_iter().min().expect("a round");
            writeln!(
                f,
                "{name:<28} {:>10.3} {:>12.3} {:>12.3} {:>10.1}",
                best.as_secs_f64(),
                median(of(|cost| cost.cpu)).as_secs_f64(),
                median(of(|cost| cost.wall)).as_secs_f64(),
                costs.iter().map(|cost| cost.peak_kib).max().unwrap_or(0) as f64 / 1024.0,
            )?;
        }
        Ok(())
    }
}
