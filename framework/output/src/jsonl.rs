//! JSON lines: one record a line, to a folder with a file per stream or to any writer.

mod known_file;
mod line_key;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use headwater_core::{
    DIGEST, Error, Kind, Result, StreamSpec,
    sink::{Delivery, Sink, SinkState, WriteCounts, busy, lost},
};
use headwater_files::{
    Locked,
    create::{Access, make_folder, make_names_durable, open_or_make},
    push_line,
};

use known_file::{extend, known_file, length_in, tail};
use line_key::push_key;

/// Bytes per write to the file.
const BUFFER: usize = 128 << 10;

/// A folder with one file per stream, `STREAM.jsonl`.
///
/// The state vouches for a length of each file. A resumed run cuts the bytes that a crash left beyond it, half a line
/// included, so that every record is there once.
#[derive(Debug)]
pub struct JsonLinesFolder {
    folder: PathBuf,
    files: BTreeMap<String, Output>,
    is_keyed: bool,
}

#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: Locked,
    /// The fields of the key, where lines contain it.
    key: Option<Vec<&'static str>>,
    buffer: Vec<u8>,
    /// Bytes in the file, the buffer not counted.
    written: u64,
    /// The name of the file in the state, if it differs.
    known_as: Option<String>,
    /// The last of these bytes.
    tail: Vec<u8>,
}

impl JsonLinesFolder {
    /// Uses a folder, and makes it if it is missing.
    ///
    /// # Errors
    ///
    /// Fails if the path has no absolute form.
    pub fn new(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder).map_err(|error| failed(folder, &error))?;
        Ok(Self {
            folder,
            files: BTreeMap::new(),
            is_keyed: false,
        })
    }

    /// Writes lines with the key of their record: `{"stream":…,"key":…,"record":…}`.
    #[must_use]
    pub fn keyed(self) -> Self {
        Self {
            is_keyed: true,
            ..self
        }
    }
}

impl Sink for JsonLinesFolder {
    fn delivery(&self) -> Delivery {
        Delivery::RecordsFirst
    }

    fn restore(&mut self, streams: &[StreamSpec], state: &dyn SinkState) -> Result<()> {
        Access::of_records()
            .and_then(|access| make_folder(&self.folder, access))
            .map_err(|error| failed(&self.folder, &error))?;
        for spec in streams {
            let stream = spec.name;
            let path = self.folder.join(format!("{stream}.jsonl"));
            if length_in(state, &path).is_some_and(|bytes| bytes > 0)
                && state.vouches_for(stream)
                && matches!(path.try_exists(), Ok(false))
            {
                let what = format!("{} is gone", path.display());
                return Err(lost(
                    &what,
                    &format!("jsonl:{}", self.folder.display()),
                    stream,
                ));
            }
            let (file, length) = open(&path).map_err(|error| failed(&path, &error))?;
            // Locked until the process ends, however it ends. Two runs would cut each other's lines.
            let locked = Locked::take(file).map_err(|error| failed(&path, &error))?;
            let Some(file) = locked else {
                return Err(busy(path.display(), None));
            };
            let known = known_file(state, &path, &file).map_err(|error| failed(&path, &error))?;
            let (written, known_as) = match known {
                // A shorter file was taken away or rotated by its reader: new lines go to its end.
                Some(known) => (known.bytes.min(length), known.known_as),
                None if length == 0 => (0, None),
                None => {
                    let text = format!(
                        "{} holds records that this state does not know; choose another folder, or give the \
                         state file that goes with it",
                        path.display()
                    );
                    return Err(Error::new(Kind::ConfigInvalid, text));
                }
            };
            self.files.insert(
                stream.to_owned(),
                Output {
                    path,
                    file,
                    key: self.is_keyed.then(|| line_key(spec)),
                    buffer: Vec::new(),
                    written,
                    known_as,
                    tail: Vec::new(),
                },
            );
        }
        // Only after all checks, so that a refusal changes nothing.
        for output in self.files.values_mut() {
            let tail = tail(&output.file, output.written);
            output.tail = tail.map_err(|error| failed(&output.path, &error))?;
            let cut = output.file.set_len(output.written);
            let moved = cut.and_then(|()| output.file.seek(SeekFrom::Start(output.written)));
            moved.map_err(|error| failed(&output.path, &error))?;
        }
        make_names_durable(&self.folder).map_err(|error| failed(&self.folder, &error))
    }

    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        let Some(output) = self.files.get_mut(stream) else {
            return Err(Error::new(
                Kind::Unexpected,
                format!("the stream {stream} was not announced to the folder"),
            ));
        };
        let mut written = WriteCounts::default();
        for record in records {
            match &output.key {
                None => push_line(&mut output.buffer, record),
                Some(key) => {
                    let line = &mut output.buffer;
                    line.extend_from_slice(
                        format!("{{\"stream\":\"{stream}\",\"key\":").as_bytes(),
                    );
                    push_key(line, key, record)?;
                    line.extend_from_slice(b",\"record\":");
                    push_line(line, record);
                    line.pop();
                    line.extend_from_slice(b"}\n");
                }
            }
            written.records += 1;
            if output.buffer.len() >= BUFFER {
                output.flush()?;
            }
        }
        Ok(written)
    }

    fn commit(&mut self, state: &mut dyn SinkState) -> Result<()> {
        for output in self.files.values_mut() {
            let path = output.path.to_string_lossy().into_owned();
            let is_known = length_in(state, &output.path) == Some(output.written)
                && state.is_tail(&path, &output.tail).is_some();
            if output.buffer.is_empty() && is_known {
                continue;
            }
            output.flush()?;
            output
                .file
                .sync_data()
                .map_err(|error| failed(&output.path, &error))?;
            if let Some(before) = output.known_as.take() {
                state.forget_file(&before);
            }
            state.set_file(&path, output.written, &output.tail);
        }
        Ok(())
    }
}

impl Output {
    fn flush(&mut self) -> Result<()> {
        self.file
            .write_all(&self.buffer)
            .map_err(|error| failed(&self.path, &error))?;
        self.written += self.buffer.len() as u64;
        extend(&mut self.tail, &self.buffer);
        self.buffer.clear();
        Ok(())
    }
}

/// The parts of the key of a line.
fn line_key(spec: &StreamSpec) -> Vec<&'static str> {
    let digest = spec.has_digest().then_some(DIGEST);
    spec.key.iter().copied().chain(digest).collect()
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = open_or_make(path, Access::of_records()?)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// Lines to a writer such as standard output. With several streams each line is `{"stream":…,"record":…}`.
pub struct JsonLinesWriter<W> {
    writer: W,
    buffer: Vec<u8>,
    with_names: bool,
}

impl<W: Write> std::fmt::Debug for JsonLinesWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JsonLinesWriter")
    }
}

impl<W: Write> JsonLinesWriter<W> {
    /// Writes to `writer`; `with_names` adds the stream's name to each record.
    pub fn new(writer: W, with_names: bool) -> Self {
        Self {
            writer,
            buffer: Vec::new(),
            with_names,
        }
    }

    fn flush(&mut self) -> Result<()> {
        let written = self
            .writer
            .write_all(&self.buffer)
            .and_then(|()| self.writer.flush());
        self.buffer.clear();
        written.map_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Error::new(Kind::Cancelled, "the reader of the records went away");
            }
            Error::new(
                Kind::OutputFailed,
                format!("the records cannot be written: {error}"),
            )
        })
    }
}

impl<W: Write + Send> Sink for JsonLinesWriter<W> {
    fn delivery(&self) -> Delivery {
        Delivery::RecordsFirst
    }

    fn restore(&mut self, _: &[StreamSpec], _: &dyn SinkState) -> Result<()> {
        Ok(())
    }

    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        let mut written = WriteCounts::default();
        for record in records {
            written.records += 1;
            if self.with_names {
                // Stream names are snake case: nothing to escape.
                self.buffer
                    .extend_from_slice(format!("{{\"stream\":\"{stream}\",\"record\":").as_bytes());
                push_line(&mut self.buffer, record);
                self.buffer.pop();
                self.buffer.extend_from_slice(b"}\n");
            } else {
                push_line(&mut self.buffer, record);
            }
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        }
        Ok(written)
    }

    fn commit(&mut self, _: &mut dyn SinkState) -> Result<()> {
        self.flush()
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::new(
        Kind::OutputFailed,
        format!("{} cannot be written: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use headwater_host::State;

    use super::*;

    fn spec() -> StreamSpec {
        StreamSpec {
            name: "calls",
            description: "A call.",
            key: &["id"],
            cursor: None,
            incremental: true,
            schema: || serde_json::Value::Null,
        }
    }

    fn lines(records: &[&[u8]], with_names: bool) -> String {
        let mut written = Vec::new();
        let mut sink = JsonLinesWriter::new(&mut written, with_names);
        sink.write("calls", &mut records.iter().copied()).unwrap();
        sink.commit(&mut State::new("x")).unwrap();
        drop(sink);
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn a_line_may_say_the_key_of_its_record() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = JsonLinesFolder::new(folder.path()).unwrap().keyed();
        let mut state = State::new("x");
        sink.restore(&[spec()], &state).unwrap();
        let records: &[&[u8]] = &[b"{\"n\":572.0,\"id\":\"a\"}"];
        sink.write("calls", &mut records.iter().copied()).unwrap();
        sink.commit(&mut state).unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join("calls.jsonl")).unwrap(),
            "{\"stream\":\"calls\",\"key\":[\"a\"],\"record\":{\"n\":572.0,\"id\":\"a\"}}\n"
        );
    }

    #[test]
    fn a_record_is_one_line_of_its_own_bytes() {
        let records: &[&[u8]] = &[b"{\"n\":572.0, \"s\":\"a\\nb\"}", b"{\r\n  \"n\": 1e2\n}"];
        assert_eq!(
            lines(records, false),
            "{\"n\":572.0, \"s\":\"a\\nb\"}\n{  \"n\": 1e2}\n"
        );
        assert_eq!(
            lines(&records[..1], true),
            "{\"stream\":\"calls\",\"record\":{\"n\":572.0, \"s\":\"a\\nb\"}}\n"
        );
    }

    #[test]
    fn a_resumed_folder_is_cut_back_to_what_the_state_vouches_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        let mut state = State::new("x");
        let mut sink = JsonLinesFolder::new(folder.path()).unwrap();
        sink.restore(&[spec()], &state).unwrap();
        sink.write("calls", &mut [&b"{\"id\":1}"[..]].into_iter())
            .unwrap();
        sink.commit(&mut state).unwrap();
        drop(sink);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"id\":2}\n{\"id\":")
            .unwrap();

        let mut sink = JsonLinesFolder::new(folder.path()).unwrap();
        sink.restore(&[spec()], &state).unwrap();
        sink.write("calls", &mut [&b"{\"id\":2}"[..]].into_iter())
            .unwrap();
        sink.commit(&mut state).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"id\":1}\n{\"id\":2}\n"
        );
    }

    /// Writes a record to a folder and commits; returns the file's name in the state.
    fn append(folder: &Path, state: &mut State, id: u32) -> Result<()> {
        let mut sink = JsonLinesFolder::new(folder)?;
        sink.restore(&[spec()], state)?;
        sink.commit(state)?;
        let record = format!("{{\"id\":{id}}}");
        sink.write("calls", &mut [record.as_bytes()].into_iter())?;
        sink.commit(state)
    }

    #[test]
    fn a_folder_that_was_moved_copied_or_linked_goes_on_with_its_state() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let read = |name: &str| fs::read_to_string(at(name).join("calls.jsonl")).unwrap();
        let mut state = State::new("x");
        append(&at("a"), &mut state, 1).unwrap();
        // A link to the folder, and then the folder again.
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        append(&at("link"), &mut state, 2).unwrap();
        append(&at("a"), &mut state, 3).unwrap();
        fs::rename(at("a"), at("b")).unwrap();
        append(&at("b"), &mut state, 4).unwrap();
        let before = state.clone();
        // A crash has left bytes after the end, which are cut off in the copy.
        let torn = format!("{}{{\"id\":", read("b"));
        fs::create_dir(at("c")).unwrap();
        fs::write(at("c").join("calls.jsonl"), torn).unwrap();
        append(&at("c"), &mut state, 5).unwrap();
        let lines: String = (1..=5).map(|id| format!("{{\"id\":{id}}}\n")).collect();
        assert_eq!(read("c"), lines);
        assert_eq!(state.files().len(), 1);
        // A file of another program with the same name is left alone, also where it is as long.
        fs::create_dir(at("other")).unwrap();
        let foreign = "{\"mine\":1}\n".repeat(9);
        fs::write(at("other").join("calls.jsonl"), &foreign).unwrap();
        let mut state = before;
        let error = append(&at("other"), &mut state, 6).unwrap_err();
        assert_eq!(error.kind(), Kind::ConfigInvalid);
        assert_eq!(read("other"), foreign);
    }

    #[test]
    fn a_state_of_an_earlier_version_goes_on_in_a_moved_folder() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let mut state = State::new("x");
        append(&at("a"), &mut state, 1).unwrap();
        let mut old: serde_json::Value = serde_json::from_slice(&state.to_json().unwrap()).unwrap();
        old["headwater_state"] = 3.into();
        for later in ["digest", "ends"] {
            old.as_object_mut().unwrap().remove(later);
        }
        let old = old.to_string();
        fs::rename(at("a"), at("b")).unwrap();
        let mut state = State::from_json(old.as_bytes(), "the state", "x").unwrap();
        append(&at("b"), &mut state, 2).unwrap();
        let lines = fs::read_to_string(at("b").join("calls.jsonl")).unwrap();
        assert_eq!(lines, "{\"id\":1}\n{\"id\":2}\n");
    }

    #[test]
    fn records_of_another_program_are_neither_cut_nor_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        fs::write(&path, "{\"mine\":1}\n").unwrap();
        let mut sink = JsonLinesFolder::new(folder.path()).unwrap();
        let error = sink.restore(&[spec()], &State::new("x")).unwrap_err();
        assert_eq!(error.kind(), Kind::ConfigInvalid);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"mine\":1}\n");
    }
}
