//! `command:`: the output of a program, such as the command line of a vault.

use std::{
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::{LARGEST_SECRET, buffer, child_env, text};

/// The program and its arguments: a JSON array, or words as a shell would split them. Nothing is expanded.
pub(super) fn split(line: &str) -> Result<Vec<String>, String> {
    let words = if line.trim_start().starts_with('[') {
        // serde_json's text may quote the input.
        serde_json::from_str(line)
            .map_err(|_| "is a command that is not a JSON array of texts".to_owned())?
    } else {
        words(line)?
    };
    if words.first().is_none_or(String::is_empty) {
        return Err("is a command without a program; write command:PROGRAM ARGUMENT…".to_owned());
    }
    Ok(words)
}

/// Blanks separate words. `'…'` keeps everything; `"…"` keeps everything but `\"` and `\\`; elsewhere a backslash
/// keeps the character after it.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = line.chars().peekable();
    while let Some(next) = rest.next() {
        match (quote, next) {
            (Some(open), _) if next == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(next);
                // An empty pair of quotes is a word, too.
                word.get_or_insert_default();
            }
            (None, _) if next.is_whitespace() => words.extend(word.take()),
            (None, '\\') => match rest.next() {
                Some(kept) => word.get_or_insert_default().push(kept),
                None => return Err("is a command that ends with a backslash".to_owned()),
            },
            (Some('"'), '\\') if matches!(rest.peek(), Some('"' | '\\')) => {
                word.get_or_insert_default().extend(rest.next());
            }
            _ => word.get_or_insert_default().push(next),
        }
    }
    if quote.is_some() {
        return Err("is a command with a quote that is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

/// Runs the program and returns its output, without one line break at its end. It gets no input and cannot ask at the
/// terminal; its standard error may quote secrets and is not shown.
pub(super) async fn run(line: &[String], limit: Duration) -> Result<String, String> {
    let Some((program, arguments)) = line.split_first() else {
        return Err("has no program".to_owned());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(child_env::kept()?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    // Dropped at the latest when this future is.
    let group = Group::of(&child);
    let ran = timeout(limit, finish(&mut child)).await;
    let message = match ran {
        Ok(Ok((status, bytes))) => {
            // Processes that it left running, such as an agent, may stay.
            group.release();
            return secret(status, bytes);
        }
        Ok(Err(message)) => message,
        Err(_) => format!(
            "did not end within {} s and was stopped",
            limit.as_secs_f64()
        ),
    };
    drop(group);
    // Waits for it, so that no zombie is left.
    let _ = child.wait().await;
    Err(message)
}

/// The exit status of a program and its output.
async fn finish(child: &mut Child) -> Result<(ExitStatus, Zeroizing<Vec<u8>>), String> {
    let mut bytes = buffer();
    if let Some(out) = child.stdout.take() {
        let read = out.take(LARGEST_SECRET + 1).read_to_end(&mut bytes).await;
        read.map_err(|error| format!("cannot be read: {error}"))?;
    }
    if bytes.len() as u64 > LARGEST_SECRET {
        return Err("printed far too much for a secret".to_owned());
    }
    let status = child.wait().await;
    let status = status.map_err(|error| format!("cannot be waited for: {error}"))?;
    Ok((status, bytes))
}

fn secret(status: ExitStatus, bytes: Zeroizing<Vec<u8>>) -> Result<String, String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => {}
        (Some(code), _) => return Err(format!("ended with status {code}")),
        (None, Some(signal)) => return Err(format!("was ended by signal {signal}")),
        (None, None) => return Err("ended without a status or a signal".to_owned()),
    }
    let mut text = text(bytes).ok_or("printed bytes that are not UTF-8 text")?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// A program and everything that it started, ended when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group may be empty.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Instant};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(work)
    }

    fn is_alive(id: &str) -> bool {
        // A zombie has a folder as well; its command line is empty.
        fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty())
    }

    /// The id that a script has written into a file, once it is there.
    fn id_in(path: &Path) -> String {
        let id = fs::read_to_string(path).unwrap();
        assert!(id.ends_with('\n'), "{id:?}");
        id.trim().to_owned()
    }

    #[test]
    fn a_line_is_split_as_a_shell_would_and_nothing_is_expanded() {
        let cases: [(&str, &[&str]); 9] = [
            (
                "op read op://vault/item",
                &["op", "read", "op://vault/item"],
            ),
            ("  a \t b\n", &["a", "b"]),
            ("a 'b  c' \"d  e\"", &["a", "b  c", "d  e"]),
            ("a b'c'\"d\"e", &["a", "bcde"]),
            ("a '' \"\"", &["a", "", ""]),
            (r#"a \  \' "\"\\\n" '\'"#, &["a", " ", "'", r#""\\n"#, "\\"]),
            (
                "a $HOME `b` *.c #d ~",
                &["a", "$HOME", "`b`", "*.c", "#d", "~"],
            ),
            (r#"["a b","","\"c\""]"#, &["a b", "", "\"c\""]),
            (r#" [ "a" ] "#, &["a"]),
        ];
        for (line, wanted) in cases {
            assert_eq!(split(line).unwrap(), wanted, "{line}");
        }
        for (line, says) in [
            ("a 'b", "a quote that is not closed"),
            ("a \"b\\\"", "a quote that is not closed"),
            ("a \\", "ends with a backslash"),
            ("  ", "without a program"),
            ("'' a", "without a program"),
            ("[]", "without a program"),
            ("[\"a\", 1]", "not a JSON array of texts"),
            ("[\"a\"", "not a JSON array of texts"),
        ] {
            let message = split(line).unwrap_err();
            assert!(message.contains(says), "{line}: {message}");
        }
    }

    #[test]
    fn one_line_break_is_taken_off_and_nothing_else() {
        for (printed, kept) in [
            ("secret", "secret"),
            ("secret\\n", "secret"),
            ("secret\\r\\n", "secret"),
            ("secret\\n\\n", "secret\n"),
            (" secret ", " secret "),
        ] {
            let ran = block_on(run(&shell(&format!("printf '{printed}'")), LONG));
            assert_eq!(ran.as_deref(), Ok(kept));
        }
    }

    #[test]
    fn what_goes_wrong_is_told_without_what_was_printed() {
        for (script, says) in [
            (
                "printf hidden; printf hidden >&2; exit 7",
                "ended with status 7",
            ),
            ("printf hidden; kill -TERM $$", "was ended by signal 15"),
            (
                "printf '\\377hidden'",
                "printed bytes that are not UTF-8 text",
            ),
            ("yes hidden", "printed far too much for a secret"),
        ] {
            let message = block_on(run(&shell(script), LONG)).unwrap_err();
            assert_eq!(message, says);
        }
        let nowhere = ["/no/such/program".to_owned()];
        let message = block_on(run(&nowhere, LONG)).unwrap_err();
        assert!(message.starts_with("cannot be started"), "{message}");
    }

    #[test]
    fn it_has_no_input_to_wait_for() {
        assert_eq!(
            block_on(run(&shell("cat; printf end"), LONG)).as_deref(),
            Ok("end")
        );
    }

    #[test]
    fn at_the_limit_the_program_and_what_it_started_are_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        let script = format!(
            "echo $$ > '{}'; sleep 600 & echo $! > '{}'; wait",
            first.display(),
            second.display()
        );
        let message = block_on(run(&shell(&script), Duration::from_secs(3))).unwrap_err();
        assert_eq!(message, "did not end within 3 s and was stopped");
        // The program itself was waited for: there is not even a zombie.
        assert!(!Path::new("/proc").join(id_in(&first)).exists());
        assert_is_ended(&id_in(&second));
    }

    #[test]
    fn dropping_the_work_ends_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id");
        let script = format!("echo $$ > '{}'; sleep 600; true", path.display());
        block_on(async {
            let line = shell(&script);
            let patience = Instant::now();
            let is_there = async {
                while fs::read(&path).unwrap_or_default().is_empty() {
                    assert!(patience.elapsed() < LONG, "it does not begin");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                ran = run(&line, LONG) => panic!("it ended: {}", ran.is_ok()),
                () = is_there => {}
            }
        });
        assert_is_ended(&id_in(&path));
    }

    /// A signal takes effect a moment after it was sent.
    fn assert_is_ended(id: &str) {
        for _ in 0..1000 {
            if !is_alive(id) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the process {id} is alive");
    }
}
