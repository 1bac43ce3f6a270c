//! Running the shipped binary as a user would.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// What a run of the binary left.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("standard output is JSON")
    }

    /// Everything that was printed.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.out, self.err)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The binary at `program`, without colours and with nothing on standard input.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    // The store of whoever runs the tests is none of theirs.
    for name in ["STORE", "STORE_KEY", "STORE_KEY_REF"] {
        command.env_remove(format!("HEADWATER_{name}"));
    }
    command
}

/// Runs it with these arguments.
pub fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Ran {
    command(program)
        .args(arguments)
        .output()
        .expect("the binary runs")
        .into()
}

/// Runs it with these arguments and this standard input.
pub fn run_with_input<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    input: &[u8],
) -> Ran {
    let mut command = command(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    // It may refuse its arguments before it reads; then the pipe is closed already.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("the binary ends").into()
}

/// The names of the files below a folder, sorted; empty where there is none.
pub fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Every file below a folder, with its bytes.
pub fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found
}
