//! How far every stream got, in one file that is always replaced as a whole.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use headwater_core::{AnyStream, Error, Kind, Position, Result};
use serde::{Deserialize, Serialize};

/// The version of the file's layout.
const FORMAT: u32 = 1;
/// Some forty times the state of a week's allowance of requests.
const LARGEST: u64 = 64 << 20;

/// Bookmarks and unfinished passes of one connector's streams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    headwater_state: u32,
    connector: String,
    #[serde(default)]
    streams: BTreeMap<String, StreamState>,
    /// Streams that an interrupted run has finished; the run that goes on leaves them out.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    finished: BTreeSet<String>,
    /// Bytes of each output file that this state vouches for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    outputs: BTreeMap<String, u64>,
}

/// How far one stream got.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamState {
    /// Where the next pass starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bookmark: Option<Position>,
    /// The pass that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Pass>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pass {
    /// Partitions still to read, in the order of the plan.
    pub partitions: VecDeque<Progress>,
    /// The bookmark that this pass will leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bookmark: Option<Position>,
    /// The number of the partition that the bookmark is from: one from further back in the plan does not replace it.
    #[serde(default)]
    pub bookmark_from: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// The partition's place in the plan.
    #[serde(default)]
    pub number: usize,
    pub partition: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Position>,
}

impl Pass {
    /// A pass over planned partitions.
    pub fn new(partitions: Vec<Position>) -> Self {
        let partitions = partitions.into_iter().enumerate();
        Self {
            partitions: partitions
                .map(|(number, partition)| Progress {
                    number,
                    partition,
                    token: None,
                })
                .collect(),
            bookmark: None,
            bookmark_from: 0,
        }
    }

    /// Numbers the partitions of a pass that was written before they had numbers: all of them are 0 then, and what
    /// ends one would end all.
    fn number(&mut self) {
        if self.partitions.iter().all(|one| one.number == 0) {
            let numbered = self.partitions.iter_mut().enumerate();
            numbered.for_each(|(number, progress)| progress.number = number);
        }
    }
}

impl State {
    /// The state before the first read.
    pub fn new(connector: &str) -> Self {
        Self {
            headwater_state: FORMAT,
            connector: connector.to_owned(),
            streams: BTreeMap::new(),
            finished: BTreeSet::new(),
            outputs: BTreeMap::new(),
        }
    }

    /// Reads a state file; a file that is not there is a new state. `streams` are the connector's.
    pub fn load(path: &Path, connector: &str, streams: &[&str]) -> Result<Self> {
        let bytes = match fs::metadata(path) {
            Ok(about) if !about.is_file() => return Err(invalid(path, "is not a regular file")),
            Ok(about) if about.len() > LARGEST => {
                return Err(invalid(path, "is far too large for a state"));
            }
            Ok(_) => fs::read(path)
                .map_err(|error| invalid(path, &format!("cannot be read: {error}")))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::new(connector));
            }
            Err(error) => return Err(invalid(path, &format!("cannot be read: {error}"))),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(invalid(
                path,
                "is empty; delete it to read everything from the start",
            ));
        }
        // Asked first, so that a newer layout is named as such and not as a damaged file.
        #[derive(Deserialize)]
        struct Format {
            headwater_state: Option<u32>,
        }
        let unreadable = |error: &serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            invalid(
                path,
                &format!("is not a state file, or is damaged (line {line}, column {column})"),
            )
        };
        let format: Format = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
        match format.headwater_state {
            Some(FORMAT) => {}
            Some(newer) if newer > FORMAT => {
                return Err(invalid(
                    path,
                    &format!("was written by a newer version (format {newer}); use that version"),
                ));
            }
            _ => return Err(invalid(path, "is not a state file of headwater")),
        }
        let mut state: Self = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
        let passes = state.streams.values_mut();
        passes
            .filter_map(|stream| stream.pass.as_mut())
            .for_each(Pass::number);
        if state.connector != connector {
            let text = format!(
                "belongs to the connector {:?}, not to {connector:?}",
                state.connector
            );
            return Err(invalid(path, &text));
        }
        if let Some(unknown) = state
            .streams
            .keys()
            .find(|name| !streams.contains(&name.as_str()))
        {
            let text = format!(
                "names the stream {unknown:?}, which {connector} does not have; remove it from the file if it is not missed"
            );
            return Err(invalid(path, &text));
        }
        Ok(state)
    }

    /// Replaces the file in one step: written beside it, made durable, renamed.
    pub fn save(&self, path: &Path) -> Result<()> {
        let failed = |error: io::Error| {
            let text = format!(
                "the state file {} cannot be written: {error}",
                path.display()
            );
            Error::new(Kind::OutputFailed, text)
        };
        let mut text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        let beside = beside(path);
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_data()
        });
        let replaced = written.and_then(|()| fs::rename(&beside, path));
        if replaced.is_err() {
            let _ = fs::remove_file(&beside);
        }
        replaced.map_err(failed)?;
        // The rename itself is durable once its folder is. Not every file system can do that.
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            && let Ok(folder) = File::open(folder)
        {
            let _ = folder.sync_all();
        }
        Ok(())
    }

    /// The unfinished pass of a stream.
    pub(crate) fn pass(&self, stream: &str) -> Option<&Pass> {
        self.streams.get(stream)?.pass.as_ref()
    }

    /// Where the next pass of a stream starts.
    pub(crate) fn bookmark(&self, stream: &str) -> Option<&Position> {
        self.streams.get(stream)?.bookmark.as_ref()
    }

    /// Whether a stream has an unfinished pass.
    pub fn is_under_way(&self, stream: &str) -> bool {
        self.pass(stream).is_some()
    }

    /// Whether a stream can read its part of the state; asked before anything is read or written.
    pub(crate) fn verify(&self, stream: &dyn AnyStream) -> Result<()> {
        let Some(state) = self.streams.get(stream.spec().name) else {
            return Ok(());
        };
        let partitions = state.pass.iter().flat_map(|pass| &pass.partitions);
        let places: Vec<_> = partitions
            .map(|progress| (&progress.partition, progress.token.as_ref()))
            .collect();
        let passed_on = state.pass.as_ref().and_then(|pass| pass.bookmark.as_ref());
        stream.verify(passed_on, &[])?;
        stream.verify(state.bookmark.as_ref(), &places)
    }

    /// Whether an interrupted run has finished a stream.
    pub(crate) fn is_finished(&self, stream: &str) -> bool {
        self.finished.contains(stream)
    }

    pub(crate) fn finish(&mut self, stream: &str) {
        self.finished.insert(stream.to_owned());
    }

    /// The run came to its end: the next one reads every stream.
    pub(crate) fn end_run(&mut self) {
        self.finished.clear();
    }

    pub(crate) fn stream(&mut self, name: &str) -> &mut StreamState {
        self.streams.entry(name.to_owned()).or_default()
    }

    /// The bytes of an output file that this state vouches for.
    pub(crate) fn output(&self, path: &Path) -> Option<u64> {
        self.outputs.get(path.to_string_lossy().as_ref()).copied()
    }

    pub(crate) fn set_output(&mut self, path: &Path, bytes: u64) {
        self.outputs
            .insert(path.to_string_lossy().into_owned(), bytes);
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn invalid(path: &Path, what: &str) -> Error {
    Error::new(
        Kind::ConfigInvalid,
        format!("the state file {} {what}", path.display()),
    )
}
