//! Parquet files, of which a commit manifest says which count.
//!
//! ```text
//! calls/part-00000002-5f1c09ab-000001.parquet       rows: run 2, its first file
//! _headwater/manifest-00000000000000000007.json     what counts, and the state
//! ```
//!
//! Files grow under another name, are made durable and renamed when a commit closes them. Then the next manifest is
//! put there in one step: it lists all files that count and holds the state, so that rows and position cannot differ.
//! What no manifest lists does not count, and is removed by the next run. A run begins by putting a manifest of its
//! own, since two runs cannot put the same number: the one that comes second there is refused.
//!
//! The rows of a key that came twice are both there. The later row is in the file with the greater name, or further
//! down in the same file.

#[cfg(feature = "s3")]
mod bounded;
#[cfg(feature = "s3")]
mod bucket;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod faults;
mod folder;
mod manifest;
mod storage;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use ::parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties},
    schema::types::ColumnPath,
};
use arrow_schema::Schema;
use headwater_core::{
    Error, Kind, Result, StreamSpec,
    sink::{Delivery, Sink, SinkState, WriteCounts, lost},
};

use crate::{
    arrow::{BATCH, Rows},
    columns::{OVERFLOW, RECORD},
};
use folder::Folder;
use manifest::{CountedFile, Manifest, part_name, run_name, written};
use storage::{FileStorage, Part};

/// Memory for rows of all streams together. A row group ends when it is full.
const MEMORY: usize = 64 << 20;

/// Parquet files in a folder or in object storage.
///
/// Each commit with rows closes a file per stream: commit once a minute or so, not after every page.
pub struct ParquetSink {
    // Before the place: an unfinished file still needs it when it is dropped.
    streams: BTreeMap<String, Output>,
    place: Box<dyn FileStorage>,
    connection: String,
    memory: usize,
    /// What counts; none before the place was loaded.
    manifest: Option<Manifest>,
    /// The name of this run, which its files carry.
    run: String,
    files: u32,
    /// Counted files that are not there as they were counted.
    missing: Vec<CountedFile>,
    /// The last write may be there in part. Nothing is committed any more.
    is_broken: bool,
}

/// The rows of a stream that no file holds yet, and the file that is open.
struct Output {
    rows: Rows,
    file: Option<OpenFile>,
}

struct OpenFile {
    path: String,
    writer: ArrowWriter<Box<dyn Part>>,
    rows: u64,
}

impl ParquetSink {
    /// Files in a local folder, which is made where it is missing.
    ///
    /// # Errors
    ///
    /// Fails if the path has no absolute form.
    pub fn in_folder(folder: &Path, connection: &str) -> Result<Self> {
        Ok(Self::new(Box::new(Folder::new(folder)?), connection))
    }

    /// Files in a bucket, under a prefix that may be empty. The credentials, the region and, for services other than
    /// Amazon's, the endpoint come from the environment variables of AWS.
    ///
    /// # Errors
    ///
    /// Fails if the environment has no usable settings for the bucket.
    #[cfg(feature = "s3")]
    pub fn in_bucket(bucket: &str, prefix: &str, connection: &str) -> Result<Self> {
        let place = bucket::Bucket::from_environment(bucket, prefix)?;
        Ok(Self::new(Box::new(place), connection))
    }

    fn new(place: Box<dyn FileStorage>, connection: &str) -> Self {
        Self {
            streams: BTreeMap::new(),
            place,
            connection: connection.to_owned(),
            memory: MEMORY,
            manifest: None,
            run: String::new(),
            files: 0,
            missing: Vec::new(),
            is_broken: false,
        }
    }

    /// The newest manifest; an empty one where there is none.
    fn newest_manifest(&mut self, state: &dyn SinkState) -> Result<Manifest> {
        let manifests = self.place.manifests()?;
        let Some((&sequence, &bytes)) = manifests.last_key_value() else {
            self.refuse_rows_of_others()?;
            return Manifest::before_the_first(state, &self.connection);
        };
        let name = self.place.manifest_name(sequence);
        Manifest::check_size(bytes, &name)?;
        let manifest = Manifest::parse(&self.place.read_manifest(sequence)?, &name)?;
        manifest.check_owner(state.connector(), &self.connection, &name)?;
        if manifest.sequence != sequence {
            let text = format!(
                "the manifest {name} has the number of another one; put it back under its own name"
            );
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        Ok(manifest)
    }

    /// The first run puts a manifest before any rows. Rows without one are not from a crash.
    fn refuse_rows_of_others(&mut self) -> Result<()> {
        let parts = self.place.parts()?;
        let Some(path) = parts.keys().next() else {
            return Ok(());
        };
        let text = format!(
            "{} has rows in {path}, but no manifest that counts them; put the manifest back, or choose another place",
            self.place.name()
        );
        Err(Error::new(Kind::ConfigInvalid, text))
    }

    /// Refuses to go on without files that the state vouches for. Those of streams that are read from the start do not
    /// count any more.
    fn refuse_lost(&mut self, state: &dyn SinkState) -> Result<()> {
        let Some(manifest) = &mut self.manifest else {
            return Err(not_loaded());
        };
        let vouched = self
            .missing
            .iter()
            .find(|file| state.vouches_for(&file.stream));
        if let Some(file) = vouched {
            let name = self.place.name();
            let what = format!(
                "{} is not the file of {} bytes that the manifest of {name} counts",
                file.path, file.bytes
            );
            let place = format!(
                "{} --connection {}",
                self.place.destination(),
                self.connection
            );
            return Err(lost(&what, &place, &file.stream));
        }
        let missing = std::mem::take(&mut self.missing);
        manifest
            .files
            .retain(|file| missing.iter().all(|one| one.path != file.path));
        Ok(())
    }

    /// Puts the next manifest, and removes all but the one before it.
    fn publish(&mut self, manifest: Manifest) -> Result<()> {
        if !self
            .place
            .publish(manifest.sequence, &manifest.to_json()?)?
        {
            let text = format!(
                "another run has written to {} since this one began; what this one had not committed is read again",
                self.place.name()
            );
            return Err(Error::new(Kind::OutputFailed, text));
        }
        if let Some(outdated) = manifest.sequence.checked_sub(2) {
            // What stays there for now is removed by the next run.
            let _ = self.place.remove_manifest(outdated);
        }
        self.manifest = Some(manifest);
        Ok(())
    }

    /// Removes the files that an earlier run did not commit, and outdated manifests.
    fn clean_up(&mut self, manifest: &Manifest, parts: &BTreeMap<String, u64>) -> Result<()> {
        let counted: BTreeSet<&str> = manifest
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        for path in parts.keys().filter(|path| !counted.contains(path.as_str())) {
            self.place.remove_part(path)?;
        }
        for sequence in self.place.manifests()?.into_keys() {
            if sequence.saturating_add(1) < manifest.sequence {
                self.place.remove_manifest(sequence)?;
            }
        }
        Ok(())
    }

    /// Writes full rows to their file, and ends row groups until all that is held in memory fits into it again.
    fn make_room(&mut self) -> Result<()> {
        while self.streams.values().map(Output::memory).sum::<usize>() > self.memory {
            let largest = self
                .streams
                .iter()
                .max_by_key(|(_, output)| output.memory());
            let Some(stream) = largest.map(|(stream, _)| stream.clone()) else {
                break;
            };
            self.encode(&stream)?;
            let Some(file) = self
                .streams
                .get_mut(&stream)
                .and_then(|output| output.file.as_mut())
            else {
                break;
            };
            let ended = file.writer.flush();
            ended.map_err(|error| failed(&*self.place, &file.path, error))?;
        }
        Ok(())
    }

    /// Hands the rows of a stream to the writer of its file.
    fn encode(&mut self, stream: &str) -> Result<()> {
        let Some(output) = self.streams.get_mut(stream) else {
            return Ok(());
        };
        let Some(batch) = output.rows.take()? else {
            return Ok(());
        };
        let file = match &mut output.file {
            Some(file) => file,
            empty => {
                self.files += 1;
                let path = format!("{stream}/{}", part_name(&self.run, self.files));
                let part = self.place.create(&path)?;
                let schema = output.rows.schema();
                let properties = properties(&schema)?;
                let writer = ArrowWriter::try_new(part, schema, Some(properties));
                let writer = writer.map_err(|error| failed(&*self.place, &path, error))?;
                empty.insert(OpenFile {
                    path,
                    writer,
                    rows: 0,
                })
            }
        };
        file.rows += batch.num_rows() as u64;
        let taken = file.writer.write(&batch);
        taken.map_err(|error| failed(&*self.place, &file.path, error))
    }

    /// Closes the files that are open. They are durable then, but do not count yet.
    fn close_files(&mut self) -> Result<Vec<CountedFile>> {
        let mut closed = Vec::new();
        let streams: Vec<String> = self.streams.keys().cloned().collect();
        for stream in streams {
            self.encode(&stream)?;
            let Some(output) = self.streams.get_mut(&stream) else {
                continue;
            };
            let Some(file) = output.file.take() else {
                continue;
            };
            let ended = file.writer.into_inner();
            let finished = ended.and_then(|part| part.finish().map_err(ParquetError::from));
            let bytes = finished.map_err(|error| failed(&*self.place, &file.path, error))?;
            closed.push(CountedFile {
                stream,
                path: file.path,
                rows: file.rows,
                bytes,
                schema: format!("{:016x}", output.rows.fingerprint()),
            });
        }
        let names: Vec<&str> = closed.iter().map(|file| file.stream.as_str()).collect();
        self.place.settle(&names)?;
        Ok(closed)
    }

    fn take_page(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        let Some(output) = self.streams.get_mut(stream) else {
            let text = format!("the stream {stream} was not announced to the Parquet files");
            return Err(Error::new(Kind::Unexpected, text));
        };
        let checked = output.rows.check(records)?;
        // From here on a page may be there in part.
        self.is_broken = true;
        let mut counts = WriteCounts::default();
        for record in checked.iter() {
            let Some(output) = self.streams.get_mut(stream) else {
                break;
            };
            counts.records += 1;
            counts.overflowed += u64::from(output.rows.push(record)?);
            if output.rows.bytes() >= BATCH {
                self.encode(stream)?;
                self.make_room()?;
            }
        }
        self.make_room()?;
        self.is_broken = false;
        Ok(counts)
    }

    /// Closes the files and puts a manifest that counts them.
    fn count(&mut self, state: &dyn SinkState) -> Result<()> {
        let files = self.close_files()?;
        let Some(manifest) = &self.manifest else {
            return Err(not_loaded());
        };
        let state = written(state)?;
        if files.is_empty() && manifest.state.get() == state.get() {
            return Ok(());
        }
        self.publish(manifest.next(files, state))
    }

    fn refuse_if_broken(&self) -> Result<()> {
        if self.is_broken {
            let text = format!(
                "{} takes nothing more in this run, since an earlier write failed; run again to continue from the last commit",
                self.place.name()
            );
            return Err(Error::new(Kind::OutputFailed, text));
        }
        Ok(())
    }
}

impl Sink for ParquetSink {
    fn delivery(&self) -> Delivery {
        Delivery::Together
    }

    /// Each commit with rows closes a file of each stream.
    fn commit_every(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn peek(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(sequence) = self.place.manifests()?.into_keys().next_back() else {
            return Ok(None);
        };
        let name = self.place.manifest_name(sequence);
        let manifest = Manifest::parse(&self.place.read_manifest(sequence)?, &name)?;
        Ok(Some(manifest.state.get().as_bytes().to_vec()))
    }

    fn load(&mut self, state: &mut dyn SinkState) -> Result<bool> {
        // Looked at before anything is made, so that a refusal leaves the place as it was.
        self.newest_manifest(state)?;
        self.place.take()?;
        let mut manifest = self.newest_manifest(state)?;
        manifest.read_state(state, &self.place.manifest_name(manifest.sequence))?;
        let parts = self.place.parts()?;
        let is_missing = |file: &&CountedFile| parts.get(&file.path) != Some(&file.bytes);
        self.missing = manifest.files.iter().filter(is_missing).cloned().collect();
        manifest.sequence = manifest.sequence.saturating_add(1);
        manifest.epoch = manifest.epoch.saturating_add(1);
        self.run = run_name(manifest.epoch, fastrand::u32(..));
        manifest.run = self.run.clone();
        self.publish(manifest.clone())?;
        // Only now: until here, another run might have counted them.
        self.clean_up(&manifest, &parts)?;
        Ok(true)
    }

    fn restore(&mut self, streams: &[StreamSpec], state: &dyn SinkState) -> Result<()> {
        self.refuse_lost(state)?;
        let mut outputs = BTreeMap::new();
        for spec in streams {
            check_name(spec.name)?;
            let output = Output {
                rows: Rows::new(spec)?,
                file: None,
            };
            outputs.insert(spec.name.to_owned(), output);
        }
        let names: BTreeSet<String> = outputs
            .keys()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        if names.len() < streams.len() {
            let text = "two streams have the same name on file systems without upper case; read them into different folders";
            return Err(Error::new(Kind::Unsupported, text));
        }
        for name in outputs.keys() {
            self.place.prepare(name)?;
        }
        self.streams = outputs;
        Ok(())
    }

    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        self.refuse_if_broken()?;
        self.take_page(stream, records)
    }

    fn commit(&mut self, state: &mut dyn SinkState) -> Result<()> {
        self.refuse_if_broken()?;
        self.is_broken = true;
        self.count(state)?;
        self.is_broken = false;
        Ok(())
    }
}

impl Output {
    fn memory(&self) -> usize {
        self.rows.bytes()
            + self
                .file
                .as_ref()
                .map_or(0, |file| file.writer.memory_size())
    }
}

fn not_loaded() -> Error {
    let text = "the Parquet files were not loaded before they are written to";
    Error::new(Kind::Unexpected, text)
}

/// A stream's name becomes a folder's.
fn check_name(stream: &str) -> Result<()> {
    let is_plain = stream
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !is_plain || !stream.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        let text = format!(
            "the stream {stream:?} has a name that no folder gets here: letters, digits, _ and -, the first of them a \
             letter or digit; leave it out with --stream"
        );
        return Err(Error::new(Kind::Unsupported, text));
    }
    Ok(())
}

fn properties(schema: &Schema) -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(1);
    let level = level
        .map_err(|error| Error::new(Kind::Unexpected, "zstd has no level 1").caused_by(error))?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        // Row groups end by their bytes.
        .set_max_row_group_row_count(None)
        .set_created_by(concat!("headwater version ", env!("CARGO_PKG_VERSION")).to_owned());
    for field in schema.fields() {
        let is_whole = [RECORD, OVERFLOW].contains(&field.name().as_str());
        let is_json = field.metadata().values().any(|mark| mark == "json");
        let column = ColumnPath::new(vec![field.name().clone()]);
        // No record is there twice, and no reader looks for the smallest JSON text.
        if is_whole {
            properties = properties.set_column_dictionary_enabled(column.clone(), false);
        }
        if is_whole || is_json {
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
        }
    }
    Ok(properties.build())
}

fn failed(place: &dyn FileStorage, path: &str, error: ParquetError) -> Error {
    let cause = match error {
        ParquetError::External(cause) => cause.to_string(),
        other => other.to_string(),
    };
    Error::new(
        Kind::OutputFailed,
        format!("{path} in {} cannot be written: {cause}", place.name()),
    )
}
