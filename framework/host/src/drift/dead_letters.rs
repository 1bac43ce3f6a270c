//! Records that a policy rejected, in a file of their own.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use headwater_core::{Error, Kind, Result, sink::busy};
use headwater_files::{
    Locked,
    create::{Access, make_names_durable, open_or_make},
    push_line,
};
use memchr::memrchr;
use serde_json::value::RawValue;

use super::RejectReason;

/// Bytes per write to the file.
const BUFFER: usize = 128 << 10;
/// Bytes per read in the search for the last whole line.
const CHUNK: u64 = 8 << 10;
/// The beginning of every line.
const BEGINNING: &[u8] = b"{\"stream\":";

/// A file of JSON lines, `{"stream":…,"reason":{"kind":…,"field":…},"record":…}`, that grows from run to run.
///
/// A record keeps its bytes, line breaks between its tokens left out. A record that is not JSON becomes the text
/// `not_json`. The first rejected record opens the file, which is for its owner only unless [`Access::of_records`] says
/// otherwise. Under redaction, records have to be redacted before they come here, as before they go to a sink.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    output: Option<Output>,
}

#[derive(Debug)]
struct Output {
    file: Locked,
    buffer: Vec<u8>,
    /// Bytes in the file, the buffer not counted.
    written: u64,
}

impl DeadLetters {
    /// Will use this file, and make it if it is missing. Opens nothing yet.
    ///
    /// # Errors
    ///
    /// Fails if the path has no absolute form.
    pub fn new(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|error| failed(path, &error))?;
        Ok(Self { path, output: None })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes back to the length that a state vouches for. A shorter or missing file was taken away by its reader: new
    /// lines go to its end.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened, locked or cut.
    pub fn restore(&mut self, vouched: u64) -> Result<()> {
        let is_there = self.path.try_exists();
        if is_there.map_err(|error| failed(&self.path, &error))? {
            self.output = Some(self.open(Some(vouched))?);
        }
        Ok(())
    }

    /// Takes a record; it may stay in a buffer until [`DeadLetters::commit`].
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened, locked or written.
    pub fn write(&mut self, stream: &str, reason: &RejectReason, record: &[u8]) -> Result<()> {
        let mut output = match self.output.take() {
            Some(output) => output,
            None => self.open(None)?,
        };
        let appended = output.append(stream, reason, record);
        self.output = Some(output);
        appended.map_err(|error| failed(&self.path, &error))
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written or made durable.
    pub fn commit(&mut self) -> Result<()> {
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        if output.buffer.is_empty() {
            return Ok(());
        }
        let flushed = output.flush().and_then(|()| output.file.sync_data());
        flushed.map_err(|error| failed(&self.path, &error))
    }

    /// The length that a state can vouch for after [`DeadLetters::commit`]; `None` if the file was not needed so far.
    pub fn position(&self) -> Option<u64> {
        self.output.as_ref().map(|output| output.written)
    }

    fn open(&self, vouched: Option<u64>) -> Result<Output> {
        let fail = |error: io::Error| failed(&self.path, &error);
        let file = Access::of_records().and_then(|access| open_or_make(&self.path, access));
        // Locked until the process ends, however it ends. Two runs would cut each other's lines.
        let locked = file.and_then(Locked::take).map_err(fail)?;
        let Some(mut file) = locked else {
            return Err(busy(self.path.display(), None));
        };
        let length = file.metadata().map_err(fail)?.len();
        let length = vouched.map_or(length, |vouched| vouched.min(length));
        let whole = end_of_whole_lines(&mut file, length).map_err(fail)?;
        let Some(whole) = whole else {
            let text = format!(
                "{} does not hold rejected records; choose another file for them",
                self.path.display()
            );
            return Err(Error::new(Kind::ConfigInvalid, text));
        };
        let cut = file.set_len(whole);
        let moved = cut.and_then(|()| file.seek(SeekFrom::Start(whole)));
        moved.map_err(fail)?;
        let folder = self.path.parent();
        folder.map_or(Ok(()), make_names_durable).map_err(fail)?;
        Ok(Output {
            file,
            buffer: Vec::new(),
            written: whole,
        })
    }
}

impl Output {
    fn append(&mut self, stream: &str, reason: &RejectReason, record: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(BEGINNING);
        serde_json::to_writer(&mut self.buffer, stream)?;
        self.buffer.extend_from_slice(b",\"reason\":");
        serde_json::to_writer(&mut self.buffer, reason)?;
        // The watch does not check all syntax, and a line that is not JSON would spoil the file for its readers.
        if serde_json::from_slice::<&RawValue>(record).is_ok() {
            self.buffer.extend_from_slice(b",\"record\":");
            push_line(&mut self.buffer, record);
            self.buffer.pop();
        } else {
            self.buffer.extend_from_slice(b",\"not_json\":");
            serde_json::to_writer(&mut self.buffer, &String::from_utf8_lossy(record))?;
        }
        self.buffer.extend_from_slice(b"}\n");
        if self.buffer.len() < BUFFER {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// The end of the last whole line before `length`: a crash may have left half of one. `None` if the rest is not the
/// beginning of a line of ours; the file then belongs to another writer and is not cut.
fn end_of_whole_lines(file: &mut File, length: u64) -> io::Result<Option<u64>> {
    let mut chunk = Vec::new();
    let mut end = length;
    let whole = loop {
        if end == 0 {
            break 0;
        }
        let start = end.saturating_sub(CHUNK);
        read_range(file, start, end, &mut chunk)?;
        if let Some(index) = memrchr(b'\n', &chunk) {
            break start + index as u64 + 1;
        }
        end = start;
    };
    read_range(
        file,
        whole,
        length.min(whole + BEGINNING.len() as u64),
        &mut chunk,
    )?;
    Ok(BEGINNING.starts_with(&chunk).then_some(whole))
}

/// The bytes of a file between two offsets.
fn read_range(file: &mut File, start: u64, end: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    file.seek(SeekFrom::Start(start))?;
    file.take(end - start).read_to_end(bytes)?;
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::new(
        Kind::OutputFailed,
        format!("{} cannot be written: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use tempfile::TempDir;

    use super::*;
    use crate::drift::DriftKind;

    const LINE: &str = "{\"stream\":\"calls\",\"reason\":{\"kind\":\"widened\",\"field\":\"length\"},\"record\":{\"length\":572.0}}\n";

    fn folder() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejected.jsonl");
        (folder, path)
    }

    fn reason() -> RejectReason {
        RejectReason {
            kind: DriftKind::Widened,
            field: "length".to_owned(),
        }
    }

    fn write(letters: &mut DeadLetters, record: &[u8]) {
        letters.write("calls", &reason(), record).unwrap();
    }

    #[test]
    fn a_record_keeps_its_bytes_and_stands_beside_its_reason() {
        let (_folder, path) = folder();
        let mut letters = DeadLetters::new(&path).unwrap();
        assert_eq!((letters.position(), path.exists()), (None, false));
        letters.commit().unwrap();
        assert!(!path.exists());
        write(&mut letters, b"{\"length\":572.0}");
        write(&mut letters, b"{\r\n  \"length\": 1e2 }");
        letters.commit().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let second = LINE.replace("{\"length\":572.0}", "{  \"length\": 1e2 }");
        assert_eq!(text, format!("{LINE}{second}"));
        assert_eq!(letters.position(), Some(text.len() as u64));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_json_does_not_spoil_its_line() {
        let (_folder, path) = folder();
        let mut letters = DeadLetters::new(&path).unwrap();
        write(&mut letters, b"{\"a\":\n\"\xff\"");
        letters.commit().unwrap();
        let line: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(line["not_json"], "{\"a\":\n\"\u{fffd}\"");
    }

    #[test]
    fn half_a_line_that_a_crash_left_is_cut() {
        for torn in [1, 10, 11, LINE.len() - 1] {
            for whole in [String::new(), LINE.repeat(300)] {
                let (_folder, path) = folder();
                fs::write(&path, format!("{whole}{}", &LINE[..torn])).unwrap();
                let mut letters = DeadLetters::new(&path).unwrap();
                write(&mut letters, b"{\"length\":572.0}");
                letters.commit().unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), format!("{whole}{LINE}"));
            }
        }
    }

    #[test]
    fn half_a_line_of_any_length_is_cut() {
        let (_folder, path) = folder();
        let long = format!(
            "{{\"stream\":\"calls\",\"record\":\"{}",
            "x".repeat(100_000)
        );
        fs::write(&path, format!("{LINE}{long}")).unwrap();
        let mut letters = DeadLetters::new(&path).unwrap();
        letters.restore(u64::MAX).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), LINE);
    }

    #[test]
    fn a_resumed_file_is_cut_back_to_what_the_state_vouches_for() {
        let (_folder, path) = folder();
        let mut letters = DeadLetters::new(&path).unwrap();
        write(&mut letters, b"{\"length\":572.0}");
        letters.commit().unwrap();
        let vouched = letters.position().unwrap();
        write(&mut letters, b"{\"length\":\"lost\"}");
        letters.commit().unwrap();
        drop(letters);

        let mut letters = DeadLetters::new(&path).unwrap();
        letters.restore(vouched).unwrap();
        assert_eq!(letters.position(), Some(vouched));
        assert_eq!(fs::read_to_string(&path).unwrap(), LINE);
        write(&mut letters, b"{\"length\":572.0}");
        letters.commit().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), LINE.repeat(2));
        drop(letters);

        // Its reader took it away: new lines begin a new file.
        fs::remove_file(&path).unwrap();
        let mut letters = DeadLetters::new(&path).unwrap();
        letters.restore(vouched).unwrap();
        assert!(!path.exists());
        write(&mut letters, b"{\"length\":572.0}");
        letters.commit().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), LINE);
    }

    #[test]
    fn a_file_of_somebody_else_is_neither_cut_nor_continued() {
        for text in ["my notes", "id,name\n1,Ada", "{\"streams\":1"] {
            let (_folder, path) = folder();
            fs::write(&path, text).unwrap();
            let mut letters = DeadLetters::new(&path).unwrap();
            let error = letters.write("calls", &reason(), b"{}").unwrap_err();
            assert_eq!(error.kind(), Kind::ConfigInvalid);
            assert!(error.to_string().contains("rejected.jsonl"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn two_runs_cannot_write_one_file() {
        let (_folder, path) = folder();
        let mut letters = DeadLetters::new(&path).unwrap();
        write(&mut letters, b"{}");
        let mut other = DeadLetters::new(&path).unwrap();
        let error = other.write("calls", &reason(), b"{}").unwrap_err();
        assert!(error.to_string().contains("another run"), "{error}");
    }

    #[test]
    fn an_error_names_the_file() {
        let (folder, _) = folder();
        let path = folder.path().join("no such folder").join("rejected.jsonl");
        let mut letters = DeadLetters::new(&path).unwrap();
        letters.restore(10).unwrap();
        let error = letters.write("calls", &reason(), b"{}").unwrap_err();
        assert_eq!(error.kind(), Kind::OutputFailed);
        assert!(error.to_string().contains("rejected.jsonl"), "{error}");
    }
}
