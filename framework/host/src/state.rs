//! How far every stream got, in one file that is always replaced as a whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use headwater_core::{
    AnyStream, Error, Identity, Kind, Position, Result, Scope, Timestamp,
    sink::{Sink, SinkState},
};
use headwater_files::{
    create::{behind_links, left_beside},
    read_regular, replace_file,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{drift::Baseline, pass::Pass};

/// The version of the file's layout.
const FORMAT: u32 = 4;
/// The first version that has a digest.
const FIRST_WITH_DIGEST: u32 = 4;
/// Some forty times the state of a week's allowance of requests.
const LARGEST: u64 = 64 << 20;

/// Bookmarks and unfinished passes of one connector's streams.
///
/// A state is kept as `{"headwater_state":4,"digest":"…",…}`. The digest is that of everything behind it, without the
/// white space between tokens, so that a state which a disk or a hand has changed is refused. States of the versions
/// before have none, and are read as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    #[serde(skip_serializing)]
    headwater_state: u32,
    /// As it was read; [`State::to_json`] makes a new one.
    #[serde(default, skip_serializing)]
    digest: Option<String>,
    connector: String,
    #[serde(default)]
    streams: BTreeMap<String, StreamState>,
    /// Streams that an interrupted run has finished; the run that goes on reads them after the others.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    finished: BTreeSet<String>,
    /// Bytes of each output file that this state vouches for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    outputs: BTreeMap<String, u64>,
    /// Whose data it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<StoredIdentity>,
    /// New rows that each stream has brought since it was last read from the start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rows: BTreeMap<String, u64>,
    /// Digests of the last bytes of these files, which identify a file after it was moved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ends: BTreeMap<String, String>,
}

/// The connector's identity as a state stores it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredIdentity {
    pub source: Identity,
    /// Digests of the account facts that the service reported; empty where it reported none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub account: BTreeSet<String>,
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
    /// Positions that are missing from the passes so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aside: Vec<Quarantined>,
    /// Records of the last complete pass, to notice when there are none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_records: Option<u64>,
    /// When the last complete pass began, also one without a bookmark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
    /// How records differed from their schema in earlier runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Baseline>,
    /// The streams of the group that the bookmark covers; a state of an earlier version does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers: Option<BTreeSet<String>>,
    /// The bookmarks of streams of the group that later passes were not read for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub behind: BTreeMap<String, Position>,
    /// What the bookmark covers, or what the last pass has read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The moment that the pass which left the bookmark was planned for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_began: Option<Timestamp>,
    /// The pass as rows know it, which outlives an interruption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

impl StreamState {
    /// Forgets one secondary stream of a group: the next run reads it from the start. Returns whether the group knew it.
    pub(crate) fn forget(&mut self, outlet: &str) -> bool {
        let mut is_known = self.behind.remove(outlet).is_some();
        if let Some(covers) = &mut self.covers {
            is_known |= covers.remove(outlet);
        }
        if let Some(pass) = &mut self.pass
            && let Some(outlets) = &mut pass.outlets
        {
            is_known |= outlets.remove(outlet);
        }
        is_known
    }

    /// The streams of the group that it leads.
    pub(crate) fn group(&self) -> impl Iterator<Item = &String> {
        let of_pass = self.pass.as_ref();
        let of_pass = of_pass.and_then(|pass| pass.outlets.as_ref());
        self.covers.iter().chain(of_pass).flatten()
    }
}

/// What tells a pass from the earlier ones of its stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {
    /// Milliseconds since 1970 at the beginning of the pass, and greater than that of the pass before it.
    pub number: u64,
    /// The streams that were written from its beginning on, and without a gap; none once it is over.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub whole: BTreeSet<String>,
}

/// A place that was given up on, since it failed in run after run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quarantined {
    pub partition: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Position>,
    /// What the last run said.
    pub message: String,
}

impl State {
    /// The state before the first read.
    pub fn new(connector: &str) -> Self {
        Self {
            headwater_state: FORMAT,
            digest: None,
            connector: connector.to_owned(),
            streams: BTreeMap::new(),
            finished: BTreeSet::new(),
            outputs: BTreeMap::new(),
            identity: None,
            rows: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    /// Reads a state file; a file that is not there is a new state. `streams` are the connector's.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is damaged, newer or of another connector, or names a stream that does not
    /// exist.
    pub fn load(path: &Path, connector: &str, streams: &[&str]) -> Result<Self> {
        let Some(bytes) = Self::bytes(path)? else {
            return Ok(Self::new(connector));
        };
        let place = place(path);
        let state = Self::from_json(&bytes, &place, connector).map_err(|error| {
            // A file that is written over, as a mount point is, has a copy until that has gone well.
            let beside = behind_links(path).map_or_else(|_| Vec::new(), |path| left_beside(&path));
            let is_copy = |copy: &PathBuf| {
                read_regular(copy, LARGEST).is_ok_and(|bytes| Self::parse(&bytes, &place).is_ok())
            };
            match beside.into_iter().find(is_copy) {
                Some(copy) => error.with(
                    "copy",
                    format_args!("{} holds the whole state", copy.display()),
                ),
                None => error,
            }
        })?;
        state.belongs_to(streams, &place)?;
        Ok(state)
    }

    /// The state that a sink holds, an empty one the first time; takes hold of the sink for a run. None where the sink
    /// holds no state.
    ///
    /// # Errors
    ///
    /// Fails if the sink cannot be opened, or if its state cannot be read.
    pub fn held_by(sink: &mut dyn Sink, connector: &str) -> Result<Option<Self>> {
        let mut state = Self::new(connector);
        Ok(sink.load(&mut state)?.then_some(state))
    }

    /// Reads a state file, of whatever connector it is.
    ///
    /// # Errors
    ///
    /// Fails if the file does not exist, cannot be read, or is damaged or newer.
    pub fn open(path: &Path) -> Result<Self> {
        match Self::bytes(path)? {
            Some(bytes) => Self::parse(&bytes, &place(path)),
            None => Err(invalid(path, "does not exist")),
        }
    }

    /// What a state file holds; none where there is no such file.
    fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
        let unreadable = |error: io::Error| invalid(path, &format!("cannot be read: {error}"));
        let file = behind_links(path).map_err(unreadable)?;
        let about = match fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            about => about.map_err(unreadable)?,
        };
        if !about.is_file() {
            return Err(invalid(path, "is not a regular file"));
        }
        if about.len() > LARGEST {
            return Err(invalid(path, "is far too large for a state"));
        }
        // Refuses a state of another user, which could claim that everything was read.
        read_regular(&file, LARGEST).map(Some).map_err(unreadable)
    }

    /// Reads a state from wherever it is kept: `place` is for people, "the state file x.json".
    ///
    /// # Errors
    ///
    /// Fails if the state is damaged, newer or of another connector.
    pub fn from_json(bytes: &[u8], place: &str, connector: &str) -> Result<Self> {
        Self::parse(bytes, place)?.of(connector, place)
    }

    /// Itself, if it is of this connector.
    ///
    /// # Errors
    ///
    /// Fails if it is of another connector.
    pub fn of(self, connector: &str, place: &str) -> Result<Self> {
        if self.connector == connector {
            return Ok(self);
        }
        let text = format!(
            "{place} belongs to the connector {:?}, not to {connector:?}",
            self.connector
        );
        Err(Error::new(Kind::ConfigInvalid, text))
    }

    /// The same, of whatever connector it is.
    ///
    /// # Errors
    ///
    /// Fails if the state is damaged or newer.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Self> {
        let invalid = |what: &str| Error::new(Kind::ConfigInvalid, format!("{place} {what}"));
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(invalid(
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
            invalid(&format!(
                "is not a state file, or is damaged (line {line}, column {column})"
            ))
        };
        let format: Format = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
        match format.headwater_state {
            Some(1..=FORMAT) => {}
            Some(newer) if newer > FORMAT => {
                return Err(invalid(&format!(
                    "was written by a newer version (format {newer}); use that version"
                )));
            }
            _ => return Err(invalid("is not a state file of headwater")),
        }
        let mut state: Self = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
        if !state.is_what_was_written(bytes) {
            return Err(invalid(
                "is damaged: its digest does not match; restore a copy of it, or start anew in another place",
            ));
        }
        state.headwater_state = FORMAT;
        state.digest = None;
        let passes = state.streams.values_mut();
        passes
            .filter_map(|stream| stream.pass.as_mut())
            .for_each(Pass::number);
        Ok(state)
    }

    /// The state as it is kept.
    ///
    /// # Errors
    ///
    /// Fails if the state cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let fields = serde_json::to_vec(self).map_err(|error| {
            Error::new(Kind::Unexpected, "the state does not serialise").caused_by(error)
        })?;
        let rest = fields.get(1..).unwrap_or_default();
        let mut text = before_the_rest(FORMAT, &digest(rest)).into_bytes();
        text.extend_from_slice(rest);
        text.push(b'\n');
        Ok(text)
    }

    /// Whether the digest is that of the text which was read.
    fn is_what_was_written(&self, bytes: &[u8]) -> bool {
        let Some(known) = &self.digest else {
            return self.headwater_state < FIRST_WITH_DIGEST;
        };
        let text = without_white_space(bytes);
        let rest = text.strip_prefix(before_the_rest(self.headwater_state, known).as_bytes());
        rest.is_some_and(|rest| digest(rest) == *known)
    }

    /// Refuses a state that names a stream which the connector does not have: what it says would be forgotten.
    ///
    /// # Errors
    ///
    /// Fails if the connector does not have one of the streams.
    pub fn belongs_to(&self, streams: &[&str], place: &str) -> Result<()> {
        let unknown = self
            .streams
            .keys()
            .find(|name| !streams.contains(&name.as_str()));
        unknown.map_or(Ok(()), |unknown| {
            let text = format!(
                "{place} names the stream {unknown:?}, which {} does not have; remove it with `headwater state reset` \
                 if it is not missed",
                self.connector
            );
            Err(Error::new(Kind::ConfigInvalid, text))
        })
    }

    /// Replaces the file in one step.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let failed = |error: io::Error| {
            let text = format!(
                "the state file {} cannot be written: {error}",
                path.display()
            );
            Error::new(Kind::OutputFailed, text)
        };
        replace_file(path, &self.to_json()?).map_err(failed)
    }

    /// The unfinished pass of a stream.
    pub(crate) fn pass(&self, stream: &str) -> Option<&Pass> {
        self.streams.get(stream)?.pass.as_ref()
    }

    /// Where the next pass of a stream starts.
    pub(crate) fn bookmark(&self, stream: &str) -> Option<&Position> {
        self.streams.get(stream)?.bookmark.as_ref()
    }

    /// Places of a stream that were given up on.
    pub(crate) fn places_set_aside(&self, stream: &str) -> usize {
        self.streams
            .get(stream)
            .map_or(0, |stream| stream.aside.len())
    }

    /// When the pass of a stream began that is under way, or else the last complete one.
    pub(crate) fn began(&self, stream: &str) -> Option<Timestamp> {
        let state = self.streams.get(stream)?;
        let under_way = state.pass.as_ref();
        under_way.map_or(state.read_at, |pass| pass.began)
    }

    /// Records of the last complete pass of a stream.
    pub(crate) fn last_records(&self, stream: &str) -> Option<u64> {
        self.streams.get(stream)?.last_records
    }

    /// How a stream's records differed from their schema in earlier runs.
    pub(crate) fn drift(&self, stream: &str) -> Option<&Baseline> {
        self.streams.get(stream)?.drift.as_ref()
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
        let mut places = Vec::new();
        for progress in partitions {
            places.push((&progress.partition, None));
            let tokens = Pass::tokens(progress).into_iter();
            places.extend(tokens.map(|token| (&progress.partition, Some(token))));
        }
        for aside in &state.aside {
            places.push((&aside.partition, aside.token.as_ref()));
        }
        let passed_on = state.pass.as_ref().and_then(|pass| pass.bookmark.as_ref());
        for bookmark in passed_on.into_iter().chain(state.behind.values()) {
            stream.verify(Some(bookmark), &[])?;
        }
        stream.verify(state.bookmark.as_ref(), &places)
    }

    /// Whether an interrupted run has finished a stream.
    pub(crate) fn is_finished(&self, stream: &str) -> bool {
        self.finished.contains(stream)
    }

    pub(crate) fn finish(&mut self, stream: &str) {
        self.finished.insert(stream.to_owned());
    }

    /// The connector that it belongs to.
    pub fn connector(&self) -> &str {
        &self.connector
    }

    /// The run came to its end: the next one reads every stream.
    pub(crate) fn end_run(&mut self) {
        self.finished.clear();
    }

    pub(crate) const fn streams(&self) -> &BTreeMap<String, StreamState> {
        &self.streams
    }

    /// Forgets a stream, where it leads a group with the position of all of it, and where it is one of a group.
    pub(crate) fn remove(&mut self, stream: &str) -> bool {
        self.finished.remove(stream);
        self.rows.remove(stream);
        let mut is_known = self.streams.remove(stream).is_some();
        for state in self.streams.values_mut() {
            is_known |= state.forget(stream);
        }
        is_known
    }

    /// Forgets all streams and whose they are. What outputs hold stays known.
    pub fn clear(&mut self) {
        self.finished.clear();
        self.streams.clear();
        self.rows.clear();
        self.identity = None;
    }

    /// Whose data it is about.
    pub(crate) const fn identity(&self) -> Option<&StoredIdentity> {
        self.identity.as_ref()
    }

    pub(crate) fn set_identity(&mut self, known: StoredIdentity) {
        self.identity = Some(known);
    }

    /// Whether it says of any stream that something was read.
    pub(crate) fn has_history(&self) -> bool {
        let has_read = |state: &StreamState| {
            state.bookmark.is_some() || state.pass.is_some() || state.last_records.is_some()
        };
        self.streams.values().any(has_read)
    }

    pub(crate) fn stream(&mut self, name: &str) -> &mut StreamState {
        self.streams.entry(name.to_owned()).or_default()
    }

    /// Whether the state says of a stream that something of it was read, so that it has to be where the records are.
    pub fn vouches_for(&self, stream: &str) -> bool {
        // What leads a group has a bookmark also where only others of the group were read.
        let is_among = |names: &Option<BTreeSet<String>>| {
            names.as_ref().is_none_or(|names| names.contains(stream))
        };
        let has_read = |state: &StreamState| {
            (state.bookmark.is_some() && is_among(&state.covers))
                || state.last_records.is_some_and(|records| records > 0)
                || state
                    .pass
                    .as_ref()
                    .is_some_and(|pass| pass.has_begun() && is_among(&pass.outlets))
        };
        self.rows(stream) > 0 || self.streams.get(stream).is_some_and(has_read)
    }

    /// New rows that a stream has brought since it was last read from the start, as far as the state knows.
    pub fn rows(&self, stream: &str) -> u64 {
        self.rows.get(stream).copied().unwrap_or(0)
    }

    pub(crate) fn add_rows(&mut self, stream: &str, rows: u64) {
        if rows > 0 {
            *self.rows.entry(stream.to_owned()).or_default() += rows;
        }
    }

    pub(crate) fn take_rows(&mut self, stream: &str, rows: u64) {
        if let Some(known) = self.rows.get_mut(stream) {
            *known = known.saturating_sub(rows);
        }
    }

    /// Begins the mark of a new pass of a stream that brings these ones.
    pub(crate) fn begin_mark(&mut self, stream: &str, outlets: BTreeSet<String>) {
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        let state = self.stream(stream);
        let before = state.mark.as_ref().map_or(0, |mark| mark.number);
        state.mark = Some(Mark {
            number: now.max(before + 1),
            whole: outlets,
        });
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

impl SinkState for State {
    fn connector(&self) -> &str {
        &self.connector
    }

    fn read_json(&mut self, json: &[u8], place: &str) -> Result<()> {
        *self = Self::from_json(json, place, &self.connector)?;
        Ok(())
    }

    fn to_json(&self) -> Result<Vec<u8>> {
        self.to_json()
    }

    fn vouches_for(&self, stream: &str) -> bool {
        self.vouches_for(stream)
    }

    fn rows(&self, stream: &str) -> u64 {
        self.rows(stream)
    }

    fn files(&self) -> Vec<(String, u64)> {
        let files = self.outputs.iter();
        files.map(|(path, bytes)| (path.clone(), *bytes)).collect()
    }

    fn is_tail(&self, path: &str, tail: &[u8]) -> Option<bool> {
        self.ends.get(path).map(|end| digest(tail) == *end)
    }

    fn set_file(&mut self, path: &str, bytes: u64, tail: &[u8]) {
        self.outputs.insert(path.to_owned(), bytes);
        self.ends.insert(path.to_owned(), digest(tail));
    }

    fn forget_file(&mut self, path: &str) {
        self.outputs.remove(path);
        self.ends.remove(path);
    }
}

/// A digest of the bytes behind a state's own digest, or at the end of an output file.
fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let bytes = digest.iter().take(16);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// How a state begins: all that its digest is not about.
fn before_the_rest(format: u32, digest: &str) -> String {
    format!("{{\"headwater_state\":{format},\"digest\":\"{digest}\",")
}

/// JSON without the white space between its tokens.
fn without_white_space(json: &[u8]) -> Vec<u8> {
    let (mut is_text, mut is_escaped) = (false, false);
    let mut is_kept = |byte: &u8| {
        let is_inside = is_text;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'"' => is_text = !is_text,
            b'\\' if is_text => is_escaped = true,
            _ => {}
        }
        is_inside || !byte.is_ascii_whitespace()
    };
    json.iter().copied().filter(|byte| is_kept(byte)).collect()
}

fn place(path: &Path) -> String {
    format!("the state file {}", path.display())
}

fn invalid(path: &Path, what: &str) -> Error {
    Error::new(Kind::ConfigInvalid, format!("{} {what}", place(path)))
}

#[cfg(test)]
mod tests;
