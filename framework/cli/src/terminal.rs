//! Output for people: tables, and colours on a terminal.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use headwater_core::{Error, Kind};
use rustix::{
    fs::{self, OFlags},
    stdio,
};
use serde::Serialize;

use crate::{Failure, Outcome, signals::StopSignals};

/// Standard output and its abilities.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// Whether a machine reads.
    pub json: bool,
    colour: bool,
}

/// The few colours, by meaning.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Warning,
    Bad,
    Faint,
    Strong,
}

impl Terminal {
    pub(crate) fn new(json: bool) -> Self {
        let is_wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json,
            colour: !json && is_wanted && io::stdout().is_terminal(),
        }
    }

    /// Wraps a text in its colour.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Prints a line to standard output.
    pub(crate) fn print(&self, text: &str) -> Outcome {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(|error| {
                let kind = if error.kind() == io::ErrorKind::BrokenPipe {
                    Kind::Cancelled
                } else {
                    Kind::OutputFailed
                };
                Failure::Error(Error::new(
                    kind,
                    format!("standard output cannot be written: {error}"),
                ))
            })
    }

    /// Prints a value as indented JSON.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Outcome {
        let text = serde_json::to_string_pretty(value).map_err(|error| {
            Error::new(Kind::Unexpected, "a result does not serialise").caused_by(error)
        })?;
        self.print(&text)
    }
}

/// Refuses to work for a standard output that is closed.
///
/// The process replaces it by the null device at its start, for reading and writing; `>/dev/null` opens that for writing
/// only.
pub(crate) fn require_output() -> Result<(), Error> {
    let output = stdio::stdout();
    let is_null = || {
        let (about, null) = (fs::fstat(output).ok()?, fs::stat("/dev/null").ok()?);
        Some((about.st_dev, about.st_ino) == (null.st_dev, null.st_ino))
    };
    let access = fs::fcntl_getfl(output).map(|flags| flags & OFlags::ACCMODE);
    let is_closed = access.is_err() || (access == Ok(OFlags::RDWR) && is_null() == Some(true));
    if is_closed {
        let text = "standard output is closed; nothing was read";
        return Err(Error::new(Kind::OutputFailed, text));
    }
    Ok(())
}

/// Work that Ctrl-C, SIGTERM and SIGHUP end early, together with its children. From then on these signals have no other
/// effect, so later work has to be wrapped as well, or handle them itself.
pub(crate) async fn until_stopped<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let mut stops = StopSignals::new().map_err(|error| {
        Error::new(Kind::Unexpected, "signals cannot be received").caused_by(error)
    })?;
    tokio::select! {
        done = work => return Ok(done),
        () = stops.next() => {}
    }
    Err(Error::new(Kind::Cancelled, "stopped by the user"))
}

/// Prints a line to standard error and ignores a failure.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Rows with aligned columns; the last one is not padded. Numbers are aligned to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_number = |cell: &str| {
        cell.chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ',' | '.'))
    };
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let space = " ".repeat(widths[column] - cell.chars().count());
                if is_number(cell) {
                    line.push_str(&space);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&space);
                }
                line.push_str("  ");
            }
            line.trim_end().to_owned()
        })
        .collect()
}

/// `1 record`, `2,000 records`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number as u64))
}

/// `1,234,567`
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12 s`, `3 min`, `5 h`, `2 days`, rounded up: a time to wait.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds.div_ceil(60)),
        7200..=172_799 => format!("{} h", seconds.div_ceil(3600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_to_the_right() {
        let rows = [["stream", "records"], ["users", "7"], ["é", "1,234"]];
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.map(str::to_owned).to_vec())
            .collect();
        assert_eq!(
            table(&rows),
            ["stream  records", "users         7", "é         1,234"]
        );
    }

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [5, 121, 7200, 200_000].map(duration),
            ["5 s", "3 min", "2 h", "3 days"]
        );
        assert_eq!(
            [count(1, "error"), count(2, "error")],
            ["1 error", "2 errors"]
        );
    }
}
