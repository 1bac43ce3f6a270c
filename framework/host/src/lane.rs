//! A stream on its way through a read: what is planned, what waits, and who wants its records.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use headwater_core::{AnyStream, Error, Page, Position, Result, Source, Timestamp};
use tokio::time::Instant;

use crate::{Redaction, Redactor, State, pass::Progress, summary::StreamSummary};

/// The streams that give what is wanted, in the source's order.
pub(crate) fn select(source: &dyn Source, wanted: &[String]) -> Result<Vec<Arc<dyn AnyStream>>> {
    for name in wanted {
        source.stream(name)?;
    }
    let gives = |stream: &Arc<dyn AnyStream>| {
        let names = stream.names();
        wanted.is_empty() || wanted.iter().any(|name| names.contains(&name.as_str()))
    };
    Ok(source.streams().into_iter().filter(gives).collect())
}

/// A stream on its way through the read, with its companions.
pub(crate) struct Lane<'a> {
    pub(crate) stream: &'a dyn AnyStream,
    pub(crate) name: &'static str,
    /// The streams that are wanted.
    pub(crate) outlets: Vec<Outlet>,
    /// What the pass will consist of, unless one is under way.
    pub(crate) plan: Option<Vec<Position>>,
    /// Partitions that wait, by their number in the plan.
    pub(crate) waits: BTreeMap<usize, Pause>,
    /// The place beyond the state, once a limit has cut a page, and the number of its partition.
    pub(crate) ahead: Option<(usize, Position)>,
    /// Whether a limit has cut a page: from there on the state stays where it is.
    pub(crate) is_ahead: bool,
    pub(crate) has_begun: bool,
    pub(crate) has_ended: bool,
    /// The first error that ended one partition only.
    pub(crate) failure: Option<Error>,
}

/// A stream whose records are wanted.
pub(crate) struct Outlet {
    pub(crate) name: &'static str,
    /// The place of its summary.
    pub(crate) summary: usize,
    pub(crate) redactor: Option<Redactor>,
}

impl Outlet {
    /// The records of a page that are this stream's; `main` is the stream that the page was fetched from.
    pub(crate) fn records<'p>(
        &self,
        page: &'p Page<Position, Position>,
        main: &str,
    ) -> &'p [Range<usize>] {
        if self.name == main {
            return &page.records;
        }
        page.companions
            .iter()
            .find(|(companion, _)| *companion == self.name)
            .map_or(&[], |(_, records)| records)
    }
}

pub(crate) enum Pause {
    Until(Instant),
    NextRun,
}

pub(crate) enum Turn {
    /// This partition can be fetched.
    Fetch(Progress),
    /// Nothing can be fetched before this moment.
    Wait(Instant),
    /// Nothing is left in this run.
    Done,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(
        stream: &'a dyn AnyStream,
        wanted: &[String],
        state: &State,
        redaction: Option<&Redaction>,
        summaries: &mut Vec<StreamSummary>,
    ) -> Result<Self> {
        let name = stream.spec().name;
        let plan = if state.is_under_way(name) || state.is_finished(name) {
            None
        } else {
            Some(stream.plan(state.bookmark(name).cloned(), Timestamp::now())?)
        };
        let mut outlets = Vec::new();
        for spec in std::iter::once(stream.spec()).chain(stream.companions()) {
            if wanted.is_empty() || wanted.iter().any(|name| name == spec.name) {
                outlets.push(Outlet {
                    name: spec.name,
                    summary: summaries.len(),
                    // A schema that cannot be followed is found now and not after the streams before it.
                    redactor: redaction
                        .map(|redaction| Redactor::new(spec, redaction))
                        .transpose()?,
                });
                summaries.push(StreamSummary::new(spec.name));
            }
        }
        Ok(Self {
            stream,
            name,
            outlets,
            plan,
            waits: BTreeMap::new(),
            ahead: None,
            is_ahead: false,
            has_begun: false,
            has_ended: false,
            failure: None,
        })
    }

    /// Export jobs that this lane will order.
    pub(crate) fn jobs(&self, state: &State) -> Result<u64> {
        let mut jobs = 0;
        for partition in self.plan.iter().flatten() {
            jobs += self.stream.jobs(partition, None)?;
        }
        let under_way = state.pass(self.name).filter(|_| self.plan.is_none());
        for progress in under_way.iter().flat_map(|pass| &pass.partitions) {
            jobs += self
                .stream
                .jobs(&progress.partition, progress.token.as_ref())?;
        }
        Ok(jobs)
    }

    pub(crate) fn turn(&self, state: &State) -> Turn {
        let Some(pass) = state.pass(self.name) else {
            return Turn::Done;
        };
        // What lies beyond the state of one partition is no place in another whose wait is over meanwhile.
        let ahead = self.ahead.as_ref().map(|(number, _)| *number);
        if let Some(number) = ahead {
            let mut partitions = pass.partitions.iter();
            let progress = partitions.find(|one| one.number == number);
            return progress.map_or(Turn::Done, |progress| Turn::Fetch(progress.clone()));
        }
        let now = Instant::now();
        let mut earliest = None;
        for progress in &pass.partitions {
            match self.waits.get(&progress.number) {
                Some(Pause::NextRun) => {}
                Some(Pause::Until(at)) if *at > now => {
                    earliest = Some(earliest.map_or(*at, |other: Instant| other.min(*at)));
                }
                _ => return Turn::Fetch(progress.clone()),
            }
        }
        earliest.map_or(Turn::Done, Turn::Wait)
    }
}
