//! Plans the pass of a group: what it reads for which of its streams, and under which options.
//!
//! A stream and its secondary streams share pass and bookmark, but not every run wants all of them. The state records
//! which streams a bookmark covers and where the others stopped. A wanted stream that the bookmark does not cover
//! catches up: the pass gets partitions for it alone, from where it stopped, or from the start, up to the bookmark.
//! Likewise, an earlier start in the options adds partitions from the new start to the old one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use headwater_core::{AnyStream, Error, Kind, Position, Result, Scope, ScopeChange, Timestamp};

use crate::{
    State,
    pass::{Pass, Progress},
    state::StreamState,
};

type Names = BTreeSet<String>;

/// A pass to read, with notes for the receipt.
pub(crate) struct PlannedPass {
    pub pass: Pass,
    /// Whether it resumes the state's pass.
    pub is_resumed: bool,
    /// Whether it has to replace the state's pass.
    pub is_new: bool,
    /// For the receipt: code and sentence.
    pub notes: Vec<(&'static str, String)>,
}

/// Refuses options under which a position would hide records that no run has read. One error names all streams.
pub(crate) fn check(streams: &[Arc<dyn AnyStream>], state: &State) -> Result<()> {
    let now = Timestamp::now();
    let mut names = Vec::new();
    let mut differences = Names::new();
    for stream in streams {
        let name = stream.spec().name;
        let Some(known) = state.streams().get(name) else {
            continue;
        };
        // Such a stream never has a bookmark: each pass reads all of it.
        if known.bookmark.is_none() && !stream.spec().incremental {
            continue;
        }
        let scope = stream.scope(now);
        let of_pass = known.pass.as_ref().and_then(|pass| pass.scope.as_ref());
        let mut is_hidden = false;
        for before in of_pass.into_iter().chain(&known.scope) {
            let ScopeChange { wider, other, .. } = scope.change_from(before);
            is_hidden |= !wider.is_empty() || !other.is_empty();
            differences.extend(wider.into_iter().chain(other));
        }
        if is_hidden {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let were = if names.len() == 1 { "was" } else { "were" };
    let differences: Vec<String> = differences.into_iter().collect();
    let text = format!(
        "{} {were} read with other options ({}), and the missing records cannot be read alone; set the options back, or \
         start over: `headwater state reset --stream {}`, then a run",
        names.join(", "),
        differences.join("; "),
        names.join(" --stream "),
    );
    Err(Error::new(Kind::ConfigInvalid, text))
}

/// Returns the pass to read: the state's pass under way, else the next one. `wanted` are streams of the group.
pub(crate) fn plan(
    stream: &dyn AnyStream,
    state: &State,
    wanted: &Names,
    now: Timestamp,
) -> Result<PlannedPass> {
    let nothing = StreamState::default();
    let name = stream.spec().name;
    let group = Group {
        stream,
        known: state.streams().get(name).unwrap_or(&nothing),
        state,
        wanted,
        now,
    };
    match &group.known.pass {
        Some(pass) => group.resume(pass.clone()),
        None => group.begin(),
    }
}

struct Group<'a> {
    stream: &'a dyn AnyStream,
    known: &'a StreamState,
    state: &'a State,
    wanted: &'a Names,
    now: Timestamp,
}

impl Group<'_> {
    fn begin(&self) -> Result<PlannedPass> {
        let scope = self.stream.scope(self.now);
        let covered: Names = match &self.known.bookmark {
            Some(_) => self.covered().intersection(self.wanted).cloned().collect(),
            None => Names::new(),
        };
        let mut left_out: BTreeMap<Option<String>, (Option<Position>, Names)> = BTreeMap::new();
        for outlet in self.wanted.difference(&covered) {
            let from = self.left_at(outlet);
            let position = from.map(serde_json::to_string).transpose().ok().flatten();
            let (_, outlets) = left_out
                .entry(position)
                .or_insert_with(|| (from.cloned(), Names::new()));
            outlets.insert(outlet.clone());
        }
        let mut left_out: Vec<(Option<Position>, Names)> = left_out.into_values().collect();
        // Where all of them are at one position, the pass begins there, and no stream has to catch up.
        let mut notes = Vec::new();
        let from = if covered.is_empty() && left_out.len() == 1 {
            let (from, outlets) = left_out.remove(0);
            if self.known.bookmark.is_some() {
                notes.push(self.caught_up(&outlets, from.as_ref()));
            }
            from
        } else {
            self.known.bookmark.clone()
        };
        let mut planned = PlannedPass {
            pass: Pass::new(self.stream.plan(from.clone(), self.now)?),
            is_resumed: false,
            is_new: true,
            notes,
        };
        planned.pass.began = Some(self.now);
        planned.pass.outlets = Some(self.wanted.clone());
        self.catch_up(&mut planned, left_out)?;
        let before = self.known.scope.as_ref();
        planned.pass.scope = Some(match (&from, before) {
            (Some(from), Some(before)) => {
                self.widen(&mut planned, &scope, before)?;
                self.merged(scope, before, from)?
            }
            (None, Some(before)) => {
                let other = scope.change_from(before).other;
                if !other.is_empty() {
                    let text = format!(
                        "read with other options than before ({}); records that this run does not read do not change",
                        other.join("; ")
                    );
                    planned.notes.push(("read_differently", text));
                }
                scope
            }
            _ => scope,
        });
        Ok(planned)
    }

    fn resume(&self, mut pass: Pass) -> Result<PlannedPass> {
        let scope = self.stream.scope(self.now);
        let had = pass.outlets.clone().unwrap_or_else(|| self.wanted.clone());
        let stays: Names = had.intersection(self.wanted).cloned().collect();
        let change = pass.scope.as_ref().map(|before| scope.change_from(before));
        let change = change.unwrap_or_default();
        if !change.wider.is_empty() || !change.other.is_empty() || stays.is_empty() {
            return self.begin_instead(&pass, &change);
        }
        let mut planned = PlannedPass {
            pass: Pass::default(),
            is_resumed: true,
            is_new: stays != had || stays != *self.wanted,
            notes: Vec::new(),
        };
        let joins: Names = self.wanted.difference(&had).cloned().collect();
        if !joins.is_empty() {
            for progress in &mut pass.partitions {
                progress.outlets.get_or_insert_with(|| stays.clone());
            }
        }
        let until = pass.began;
        pass.outlets = Some(self.wanted.clone());
        let before = pass.scope.take();
        planned.pass = pass;
        for outlet in joins {
            let covers = self.known.covers.as_ref();
            let is_covered = covers.is_some_and(|covers| covers.contains(&outlet));
            let from = match is_covered {
                true => self.known.bookmark.clone(),
                false => self.known.behind.get(&outlet).cloned(),
            };
            let outlets = Names::from([outlet]);
            self.add(&mut planned, from, until, outlets)?;
        }
        if let Some(before) = before {
            self.widen(&mut planned, &scope, &before)?;
            let now = Scope {
                since: scope.since.min(before.since),
                ..scope
            };
            // From here on the pass reads less, so the bookmark covers less.
            planned.is_new |= now != before;
            planned.pass.scope = Some(now);
        }
        Ok(planned)
    }

    /// Plans a new pass in place of one whose records would be useless. Partitions of both keep their positions.
    fn begin_instead(&self, old: &Pass, change: &ScopeChange) -> Result<PlannedPass> {
        let mut planned = self.begin()?;
        if change.other.is_empty()
            && old
                .outlets
                .as_ref()
                .is_some_and(|had| self.wanted.is_subset(had))
        {
            for progress in &mut planned.pass.partitions {
                let same = old
                    .partitions
                    .iter()
                    .find(|one| one.partition == progress.partition);
                if let Some(same) = same {
                    progress.token.clone_from(&same.token);
                    progress.concurrent.clone_from(&same.concurrent);
                }
            }
            planned.pass.number();
        }
        let differences: Vec<&str> = change
            .wider
            .iter()
            .chain(&change.other)
            .map(String::as_str)
            .collect();
        if !differences.is_empty() {
            let text = format!(
                "the options changed while a pass was under way ({}); it starts over",
                differences.join("; ")
            );
            planned.notes.push(("begun_anew", text));
        }
        Ok(planned)
    }

    /// The streams of the group that the bookmark covers. A state of an earlier version has no such list: there, the
    /// streams that it knows records or drift of count as covered.
    fn covered(&self) -> Names {
        if let Some(covers) = &self.known.covers {
            return covers.clone();
        }
        let names = self.stream.names();
        if names.len() == 1 {
            return names.into_iter().map(str::to_owned).collect();
        }
        let is_known = |name: &&str| {
            let state = self.state.streams().get(*name);
            state.is_some_and(|state| state.last_records.is_some() || state.drift.is_some())
        };
        names
            .into_iter()
            .filter(is_known)
            .map(str::to_owned)
            .collect()
    }

    fn left_at(&self, outlet: &str) -> Option<&Position> {
        self.known.behind.get(outlet)
    }

    /// Adds, for each of these streams, the range from where it stopped to the bookmark.
    fn catch_up(
        &self,
        planned: &mut PlannedPass,
        left_out: Vec<(Option<Position>, Names)>,
    ) -> Result<()> {
        for (from, outlets) in left_out {
            self.add(planned, from, self.known.last_began, outlets)?;
        }
        Ok(())
    }

    fn caught_up(&self, outlets: &Names, from: Option<&Position>) -> (&'static str, String) {
        let names: Vec<&str> = outlets.iter().map(String::as_str).collect();
        let is = if names.len() == 1 { "is" } else { "are" };
        let begins = match from {
            Some(_) => "read from where an earlier run stopped",
            None => "read from the start",
        };
        let text = format!(
            "{} {is} {begins}: the last runs did not read all of this group",
            names.join(", ")
        );
        ("caught_up", text)
    }

    fn add(
        &self,
        planned: &mut PlannedPass,
        from: Option<Position>,
        until: Option<Timestamp>,
        outlets: Names,
    ) -> Result<()> {
        planned.notes.push(self.caught_up(&outlets, from.as_ref()));
        planned.is_new = true;
        // Planned for the moment of the bookmark's pass, so that it ends where that pass did.
        let partitions = self.stream.plan(from, until.unwrap_or(self.now))?;
        self.append(&mut planned.pass, partitions, Some(outlets))
    }

    /// Adds the range from an earlier start to the start of the last pass.
    fn widen(&self, planned: &mut PlannedPass, scope: &Scope, before: &Scope) -> Result<()> {
        let (true, Some(old)) = (scope.change_from(before).is_earlier, before.since) else {
            return Ok(());
        };
        let from = scope
            .since
            .map_or_else(|| "the beginning".to_owned(), |since| format!("{since}"));
        let text =
            format!("the start moved from {old} back to {from}; this run reads the range between");
        planned.notes.push(("start_moved_back", text));
        // Streams that this pass reads from the start get the range there.
        let has_position =
            |outlet: &&String| self.covered().contains(*outlet) || self.left_at(outlet).is_some();
        let outlets: Names = match self.known.bookmark {
            Some(_) => self.wanted.iter().filter(has_position).cloned().collect(),
            None => self.wanted.clone(),
        };
        let outlets = (outlets != *self.wanted).then_some(outlets);
        let partitions = self.stream.plan(None, old)?;
        self.append(&mut planned.pass, partitions, outlets)
    }

    fn append(
        &self,
        pass: &mut Pass,
        partitions: Vec<Position>,
        outlets: Option<Names>,
    ) -> Result<()> {
        for partition in partitions {
            // Jobs of one stream look alike: the run orders the next one after it has read the one before.
            let is_in_turn = self.stream.jobs(&partition, None)? > 0;
            let progress = pass.put_back(partition, None);
            progress.outlets.clone_from(&outlets);
            progress.is_in_turn = is_in_turn;
        }
        Ok(())
    }

    /// The scope that the bookmark will cover: from the earlier start on, unless the new start is after its watermark.
    fn merged(&self, scope: Scope, before: &Scope, from: &Position) -> Result<Scope> {
        let until = self.stream.watermark(from)?.until;
        let has_gap = until
            .zip(scope.since)
            .is_some_and(|(until, since)| since > until);
        if has_gap {
            return Ok(scope);
        }
        Ok(Scope {
            since: scope.since.min(before.since),
            ..scope
        })
    }
}

/// Stores the bookmark of a finished pass, and the scope and streams that it covers. Streams of the group that the pass
/// did not read keep their position.
pub(crate) fn leave(state: &mut StreamState, pass: Pass) {
    let has_moved = pass.bookmark.is_some();
    let before = state.bookmark.take();
    state.bookmark = pass.bookmark.or_else(|| before.clone());
    let is_same_scope = match (&pass.scope, &state.scope) {
        (Some(new), Some(old)) => new.change_from(old).is_covered(),
        _ => true,
    };
    if pass.scope.is_some() {
        state.scope = pass.scope;
    }
    if state.bookmark.is_none() {
        return;
    }
    let Some(outlets) = pass.outlets else {
        return;
    };
    for outlet in &outlets {
        state.behind.remove(outlet);
    }
    let others: Vec<String> = state
        .covers
        .take()
        .unwrap_or_default()
        .difference(&outlets)
        .cloned()
        .collect();
    let mut covers = outlets;
    if !is_same_scope {
        // They were not read under these options.
        state.behind.clear();
    } else if !has_moved {
        covers.extend(others);
    } else if let Some(before) = before {
        let left = others.into_iter().map(|outlet| (outlet, before.clone()));
        state.behind.extend(left);
    }
    state.covers = Some(covers);
    if has_moved {
        state.last_began = pass.began;
    }
}

/// Whether a partition's records go to this stream.
pub(crate) fn goes_to(progress: &Progress, outlet: &str) -> bool {
    progress
        .outlets
        .as_ref()
        .is_none_or(|outlets| outlets.contains(outlet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(value: u32) -> Position {
        serde_json::from_value(serde_json::json!({ "version": 1, "value": value })).unwrap()
    }

    fn names(names: &[&str]) -> Names {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn pass(bookmark: Option<u32>, outlets: &[&str], since: &str) -> Pass {
        Pass {
            bookmark: bookmark.map(position),
            outlets: Some(names(outlets)),
            scope: Some(Scope::since(format!("{since}T00:00:00Z").parse().unwrap())),
            ..Pass::default()
        }
    }

    #[test]
    fn a_stream_that_a_pass_was_not_read_for_keeps_its_place() {
        let mut state = StreamState::default();
        leave(&mut state, pass(Some(1), &["a", "b"], "2026-01-01"));
        assert_eq!(state.covers, Some(names(&["a", "b"])));
        leave(&mut state, pass(Some(2), &["a"], "2026-01-01"));
        assert_eq!(state.covers, Some(names(&["a"])));
        assert_eq!(
            state.behind,
            BTreeMap::from([("b".to_owned(), position(1))])
        );
        // No new bookmark: the position stays the same for the streams that were not read.
        leave(&mut state, pass(None, &["b"], "2026-01-01"));
        assert_eq!(state.covers, Some(names(&["a", "b"])));
        assert_eq!((state.behind.len(), state.bookmark), (0, Some(position(2))));
    }

    #[test]
    fn a_stream_that_a_wider_pass_was_not_read_for_has_no_place_any_more() {
        let mut state = StreamState::default();
        leave(&mut state, pass(Some(1), &["a", "b"], "2026-01-01"));
        leave(&mut state, pass(Some(2), &["a"], "2025-01-01"));
        assert_eq!(state.covers, Some(names(&["a"])));
        assert!(state.behind.is_empty());
    }

    #[test]
    fn a_stream_that_is_forgotten_has_no_place_in_the_pass_under_way_either() {
        let mut state = StreamState::default();
        leave(&mut state, pass(Some(1), &["a", "b"], "2026-01-01"));
        state.pass = Some(pass(None, &["a", "b"], "2026-01-01"));
        assert!(state.forget("b"));
        assert!(!state.forget("b"));
        assert_eq!(state.covers, Some(names(&["a"])));
        assert_eq!(state.pass.unwrap().outlets, Some(names(&["a"])));
    }
}
