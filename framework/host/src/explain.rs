//! A state in words: the ranges that were read, those that are left, those that will be read again and why.

use headwater_core::{AnyStream, Error, Kind, Position, Result, Source, Timestamp};
use serde::Serialize;

use crate::{
    State,
    clock::{beyond, refuse_future},
    pass::Pass,
    receipt::{PassRange, counted},
    state::StreamState,
};

/// How far a stream got, without its positions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamStatus {
    /// Its name.
    pub stream: String,
    /// Whether a run has read a pass to its end.
    pub has_bookmark: bool,
    /// Positions that the pass under way has still to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places_left: Option<usize>,
    /// The quarantined positions, each as the error message of the last run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<String>,
    /// Records of the last pass that one run read in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_records: Option<u64>,
}

/// A stream's state in sentences.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Its name.
    pub stream: String,
    /// Sentences for people.
    pub sentences: Vec<String>,
}

/// How two states differ in a stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamDifference {
    /// Its name.
    pub stream: String,
    /// The differences.
    pub changes: Vec<String>,
}

impl State {
    /// How far every stream got.
    pub fn status(&self) -> Vec<StreamStatus> {
        let status = |(name, state): (&String, &StreamState)| StreamStatus {
            stream: name.clone(),
            has_bookmark: state.bookmark.is_some(),
            places_left: state.pass.as_ref().map(|pass| pass.leaves().len()),
            set_aside: state.aside.iter().map(|one| one.message.clone()).collect(),
            last_records: state.last_records,
        };
        self.streams().iter().map(status).collect()
    }

    /// Forgets a stream: the next run reads it from the start. Returns all streams that this resets: the first stream
    /// of a group holds the position of the whole group.
    ///
    /// # Errors
    ///
    /// Fails if the state has no such stream.
    pub fn reset(&mut self, stream: &str) -> Result<Vec<String>> {
        let led = self.streams().get(stream);
        let others = led.into_iter().flat_map(StreamState::group);
        let mut names = vec![stream.to_owned()];
        for other in others {
            if !names.contains(other) {
                names.push(other.clone());
            }
        }
        if self.remove(stream) {
            return Ok(names);
        }
        Err(self.unknown(stream))
    }

    /// Puts quarantined positions back into the next run and returns their number. The first stream of a group holds
    /// the quarantined positions of the group.
    ///
    /// # Errors
    ///
    /// Fails if the state has no such stream.
    pub fn retry(&mut self, stream: &str) -> Result<usize> {
        let leads = |name: &str, state: &StreamState| {
            name == stream || state.group().any(|other| other == stream)
        };
        let leading = self.streams().iter();
        let mut leading = leading.filter(|(name, state)| leads(name, state));
        let found = leading.clone().find(|(_, state)| !state.aside.is_empty());
        let found = found.or_else(|| leading.next());
        let Some(leader) = found.map(|(name, _)| name.clone()) else {
            return Err(self.unknown(stream));
        };
        let state = self.stream(&leader);
        let aside = std::mem::take(&mut state.aside);
        let count = aside.len();
        let began = state.read_at;
        let pass = state.pass.get_or_insert_with(|| Pass {
            began,
            ..Pass::default()
        });
        for one in aside {
            pass.put_back(one.partition, one.token);
        }
        if pass.partitions.is_empty() {
            state.pass = None;
        }
        Ok(count)
    }

    /// Makes the next run read a stream again from a moment on, with the streams that share its position, and returns
    /// their names.
    ///
    /// # Errors
    ///
    /// Fails if the stream is not read by time, has a pass under way, was never read to its end, or cannot continue at
    /// that time without a gap.
    pub fn rewind(
        &mut self,
        source: &dyn Source,
        stream: &str,
        to: Timestamp,
    ) -> Result<Vec<String>> {
        let requested = stream;
        let stream = source.stream(stream)?;
        let name = stream.spec().name;
        refuse_future(name, to, Timestamp::now())?;
        let bookmark = stream.rewind(to)?;
        let invalid = |text: String| Err(Error::new(Kind::ConfigInvalid, text));
        let known = self.streams().get(name);
        // A new bookmark drops the pass. It reads again from the moment on, but the rest of the pass before that moment
        // would be lost.
        if known.is_some_and(|state| state.pass.is_some()) {
            return invalid(format!(
                "a pass of {name} is under way; let a run finish it, or reset the stream"
            ));
        }
        let Some((state, current)) = known.and_then(|state| Some((state, state.bookmark.clone()?)))
        else {
            return invalid(format!(
                "no run has read {requested} to its end yet, so it has no position to go back from; a run reads it from the start"
            ));
        };
        let covers = state.covers.as_ref();
        if covers.is_some_and(|covers| !covers.contains(requested))
            && !state.behind.contains_key(requested)
        {
            return invalid(format!(
                "no run has read {requested} yet, so it has no position to go back from; a run reads it from the start"
            ));
        }
        let until = stream.watermark(&current)?.until;
        if let Some(until) = until.filter(|until| to > *until) {
            return invalid(format!(
                "{name} was read up to {until} only; continuing at {to} would leave a gap"
            ));
        }
        let start = stream.scope(Timestamp::now()).since;
        if let Some(start) = start.filter(|start| to < *start) {
            return invalid(format!(
                "{name} is read from {start} on, as its options say, so that a run would not go back to {to}; choose an \
                 earlier start instead, and the next run reads the range between"
            ));
        }
        let mut caught = Vec::new();
        for (outlet, left) in &state.behind {
            if stream
                .watermark(left)?
                .until
                .is_none_or(|until| until >= to)
            {
                caught.push(outlet.clone());
            }
        }
        let state = self.stream(name);
        state.bookmark = Some(bookmark);
        state.last_began = None;
        for outlet in caught {
            state.behind.remove(&outlet);
            state.covers.get_or_insert_default().insert(outlet);
        }
        let names = stream.names().into_iter();
        let is_covered = |name: &&str| {
            let covers = state.covers.as_ref();
            covers.is_none_or(|covers| covers.contains(*name))
        };
        Ok(names.filter(is_covered).map(str::to_owned).collect())
    }

    /// Explains the state of each stream in sentences.
    ///
    /// # Errors
    ///
    /// Fails if a stream cannot decode its part of the state.
    pub fn explain(&self, source: &dyn Source) -> Result<Vec<Explanation>> {
        let mut explanations = Vec::new();
        for stream in source.streams() {
            self.verify(&*stream)?;
            let name = stream.spec().name;
            let mut sentences = Vec::new();
            let state = self.streams().get(name);
            match state.and_then(|state| state.bookmark.as_ref()) {
                Some(bookmark) => match beyond(&*stream, bookmark, Timestamp::now())? {
                    Some(sentence) => sentences.push(sentence),
                    None => sentences.extend(covered(&*stream, bookmark, state)?),
                },
                None if self.is_finished(name) => {
                    sentences.push(
                        "an interrupted run has read it to its end; the next run completes that run first, and reads all of \
                         it again unless that was a short time ago"
                            .to_owned(),
                    );
                }
                None if state.is_some_and(|state| state.last_records.is_some()) => {
                    sentences.push(
                        "it was read to its end; the next run reads all of it again".to_owned(),
                    );
                }
                None => sentences.push("no run has read it to its end yet".to_owned()),
            }
            if let Some(pass) = state.and_then(|state| state.pass.as_ref()) {
                let mut left = PassRange::default();
                for progress in &pass.partitions {
                    left.extend(&stream.range(&progress.partition)?);
                }
                let mut text = format!(
                    "a pass is under way, with {} to read in {}",
                    counted(pass.leaves().len(), "position"),
                    counted(pass.partitions.len(), "partition"),
                );
                if let (Some(from), Some(to)) = (left.from, left.to) {
                    text.push_str(&format!(", between {} and {}", time(from), time(to)));
                }
                text.push_str(
                    "; the next run continues there, and repeats at most the records that were not committed",
                );
                sentences.push(text);
            }
            for aside in state.iter().flat_map(|state| &state.aside) {
                let range = stream.range(&aside.partition)?;
                let mut text = format!("missing: {}", aside.message);
                if let (Some(from), Some(to)) = (range.from, range.to) {
                    text.push_str(&format!(" (between {} and {})", time(from), time(to)));
                }
                text.push_str("; `headwater state retry` reads it again");
                sentences.push(text);
            }
            explanations.push(Explanation {
                stream: name.to_owned(),
                sentences,
            });
        }
        Ok(explanations)
    }

    /// The differences from this state to another one.
    pub fn difference(&self, other: &Self) -> Vec<StreamDifference> {
        let names = self.streams().keys().chain(other.streams().keys());
        let names: std::collections::BTreeSet<&String> = names.collect();
        let mut differences = Vec::new();
        for name in names {
            let changes = match (self.streams().get(name), other.streams().get(name)) {
                (Some(_), None) => vec!["only in the first".to_owned()],
                (None, Some(_)) => vec!["only in the second".to_owned()],
                (Some(one), Some(two)) => changes(one, two),
                (None, None) => Vec::new(),
            };
            if !changes.is_empty() {
                differences.push(StreamDifference {
                    stream: name.clone(),
                    changes,
                });
            }
        }
        differences
    }

    fn unknown(&self, stream: &str) -> Error {
        let names: Vec<&str> = self.streams().keys().map(String::as_str).collect();
        let text = if names.is_empty() {
            format!("the state does not know {stream:?}: it is empty")
        } else {
            format!(
                "the state does not know {stream:?}; it has {}",
                names.join(", ")
            )
        };
        Error::new(Kind::NotFound, text)
    }
}

fn since(state: &StreamState) -> Option<Timestamp> {
    state.scope.as_ref()?.since
}

/// Sentences on options that differ from those of the last pass.
fn options(stream: &dyn AnyStream, state: &StreamState) -> Vec<String> {
    let Some(before) = &state.scope else {
        return Vec::new();
    };
    let scope = stream.scope(Timestamp::now());
    let change = scope.change_from(before);
    let mut sentences = Vec::new();
    if change.is_earlier {
        let start = scope.since.map_or_else(|| "the beginning".to_owned(), time);
        sentences.push(format!(
            "the options ask for everything from {start}: the next run reads the range between as well"
        ));
    }
    let hidden: Vec<String> = change.wider.into_iter().chain(change.other).collect();
    if !hidden.is_empty() && stream.spec().incremental {
        sentences.push(format!(
            "the options have changed since ({}); the next run is refused until you set them back or reset the stream",
            hidden.join("; ")
        ));
    }
    sentences
}

/// Sentences on the secondary streams: which of them the bookmark covers.
fn secondary(stream: &dyn AnyStream, state: &StreamState) -> Vec<String> {
    let Some(covers) = &state.covers else {
        return Vec::new();
    };
    let names = stream.names();
    let left = names.iter().filter(|name| !covers.contains(**name));
    let mut sentences: Vec<String> = left
        .map(|name| match state.behind.contains_key(*name) {
            true => format!(
                "not of {name}, which later runs left out; a run that reads it begins where it stopped"
            ),
            false => {
                format!("not of {name}, which was not read yet; a run that reads it begins at the start")
            }
        })
        .collect();
    let others: Vec<&str> = names
        .into_iter()
        .skip(1)
        .filter(|name| covers.contains(*name))
        .collect();
    if !others.is_empty() {
        sentences.insert(0, format!("the same is true of {}", others.join(", ")));
    }
    sentences
}

fn changes(one: &StreamState, two: &StreamState) -> Vec<String> {
    let mut changes = Vec::new();
    if one.bookmark != two.bookmark {
        changes.push(format!(
            "bookmark: {} → {}",
            shown(one.bookmark.as_ref()),
            shown(two.bookmark.as_ref())
        ));
    }
    if one.pass != two.pass {
        let left = |state: &StreamState| match &state.pass {
            Some(pass) => format!("{} left", counted(pass.leaves().len(), "position")),
            None => "none under way".to_owned(),
        };
        changes.push(format!("pass: {} → {}", left(one), left(two)));
    }
    if one.aside != two.aside {
        changes.push(format!(
            "quarantined: {} → {}",
            one.aside.len(),
            two.aside.len()
        ));
    }
    if one.last_records != two.last_records {
        let records = |state: &StreamState| {
            state
                .last_records
                .map_or_else(|| "unknown".to_owned(), |count| count.to_string())
        };
        changes.push(format!(
            "records of the last pass: {} → {}",
            records(one),
            records(two)
        ));
    }
    changes
}

/// Sentences on a bookmark: its watermark, and the start of the next run.
fn covered(
    stream: &dyn AnyStream,
    bookmark: &Position,
    state: Option<&StreamState>,
) -> Result<Vec<String>> {
    let watermark = stream.watermark(bookmark)?;
    let mut sentences = vec![
        match watermark.until {
            Some(until) => match state.and_then(since) {
                Some(since) => format!(
                    "everything that changed from {} and before {} was read",
                    time(since),
                    time(until)
                ),
                None => format!("everything that changed before {} was read", time(until)),
            },
            None => "it was read to its end".to_owned(),
        },
        match (watermark.again_from, stream.spec().incremental) {
            (Some(from), _) => format!("the next run begins at {}", time(from)),
            (None, true) => "the next run continues from there".to_owned(),
            (None, false) => "the next run reads all of it again".to_owned(),
        },
    ];
    sentences.extend((!watermark.reason.is_empty()).then_some(watermark.reason));
    if let Some(state) = state {
        sentences.extend(options(stream, state));
        sentences.extend(secondary(stream, state));
    }
    Ok(sentences)
}

/// A moment for people: to the second.
fn time(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A position as the state has it, cut where it is long.
fn shown(position: Option<&Position>) -> String {
    const MAX: usize = 120;
    let Some(position) = position else {
        return "none".to_owned();
    };
    let text = serde_json::to_string(position).unwrap_or_default();
    if text.chars().count() <= MAX {
        return text;
    }
    let cut: String = text.chars().take(MAX).collect();
    format!("{cut}…")
}
