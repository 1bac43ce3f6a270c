//! The signals that stop a process.

use std::{fs, io};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, SIGTERM, and SIGHUP, the signal of a closed terminal. While this exists they have no other effect.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
}

impl StopSignals {
    pub(crate) fn new() -> io::Result<Self> {
        // Under `nohup` it is ignored, and stays so.
        let hang_up = match is_ignored(SignalKind::hangup()) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hang_up => {}
        }
    }
}

/// Lets a write beyond the limit of a file's size fail as other writes do, instead of ending the process.
pub(crate) fn outlive_file_limits() {
    let beyond = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    // The handler stays when this is dropped.
    drop(signal(beyond));
}

/// Whether the process was started with a signal ignored. True if unknown, so that the signal keeps its effect.
fn is_ignored(kind: SignalKind) -> bool {
    let mask = || {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    mask().is_none_or(|mask| mask & (1 << (kind.as_raw_value() - 1)) != 0)
}
