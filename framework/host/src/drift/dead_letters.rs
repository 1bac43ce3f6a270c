//! Records that a policy rejected, in a file of their own.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use headwater_core::{Error, Kind, Result};
use memchr::memrchr;
use serde_json::value::RawValue;

use super::RejectReason;
use crate::jsonl::push_line;

/// Written to the file at once.
const BUFFER: usize = 128 << 10;
/// Read at once when the end of the last whole line is looked for.
const CHUNK: u64 = 8 << 10;
/// How every line begins.
const BEGINNING: &[u8] = b"{\"stream\":";

/// A file of JSON lines, `{"stream":…,"reason":{"kind":…,"field":…},"record":…}`, that grows from run to run.
///
/// A record keeps its bytes, line breaks between its tokens left out. What is no JSON is there as the text `not_json`
/// in place of the record. The file is opened with the first record that is rejected, and is readable by its owner
/// only. Under redaction, records have to be redacted before they come here, as before they go to a sink.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    output: Option<Output>,
}

#[derive(Debug)]
struct Output {
    file: File,
    buffer: Vec<u8>,
    /// Bytes in the file, the buffer not counted.
    written: u64,
}

impl DeadLetters {
    /// Will use this file, which is made where it is missing. Nothing is opened yet.
    pub fn new(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|error| failed(path, &error))?;
        Ok(Self { path, output: None })
    }

    /// Goes back to the length that a state vouches for. A shorter or missing file was taken away by its reader: what
    /// is new goes on at its end.
    pub fn restore(&mut self, vouched: u64) -> Result<()> {
        let is_there = self.path.try_exists();
        if is_there.map_err(|error| failed(&self.path, &error))? {
            self.output = Some(self.open(Some(vouched))?);
        }
        Ok(())
    }

    /// Takes a record; it may stay in a buffer until [`DeadLetters::commit`].
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

    /// The length that a state can vouch for after [`DeadLetters::commit`]; none if the file was not needed so far.
    pub fn position(&self) -> Option<u64> {
        self.output.as_ref().map(|output| output.written)
    }

    fn open(&self, vouched: Option<u64>) -> Result<Output> {
        let fail = |error: io::Error| failed(&self.path, &error);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&self.path);
        let mut file = file.map_err(fail)?;
        // Held until the process ends, however it ends. Two runs would cut each other's lines.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!(
                    "{} is being written by another run; wait for it to end",
                    self.path.display()
                );
                return Err(Error::new(Kind::ConfigInvalid, text));
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let length = file.metadata().map_err(fail)?.len();
        let length = vouched.map_or(length, |vouched| vouched.min(length));
        let whole = end_of_whole_lines(&mut file, length).map_err(fail)?;
        let Some(whole) = whole else {
            let text = format!(
                "{} holds something else than rejected records; choose another file for them",
                self.path.display()
            );
            return Err(Error::new(Kind::ConfigInvalid, text));
        };
        let cut = file.set_len(whole);
        let placed = cut.and_then(|()| file.seek(SeekFrom::Start(whole)));
        placed.map_err(fail)?;
        // A new file outlives a power cut once its folder is durable, too. Not every file system can do that.
        if let Some(folder) = self.path.parent()
            && let Ok(folder) = File::open(folder)
        {
            let _ = folder.sync_all();
        }
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
        // The watch does not look into everything, and a line that is no JSON would spoil the file for its readers.
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

/// Where the last whole line before a place ends: a crash may have left half of one. None if what follows is not the
/// beginning of a line of ours, which then is somebody else's to cut.
fn end_of_whole_lines(file: &mut File, length: u64) -> io::Result<Option<u64>> {
    let mut chunk = Vec::new();
    let mut end = length;
    let whole = loop {
        if end == 0 {
            break 0;
        }
        let start = end.saturating_sub(CHUNK);
        read_range(file, start, end, &mut chunk)?;
        if let Some(place) = memrchr(b'\n', &chunk) {
            break start + place as u64 + 1;
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

/// The bytes of a file between two places.
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
