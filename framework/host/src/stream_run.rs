//! One stream in a run: its plan, its fetches and its waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use headwater_core::{
    AnyStream, Error, Kind, Meter, Page, Position, Result, Source, StreamSpec, Timestamp,
};
use tokio::{task::AbortHandle, time::Instant};

use crate::{
    State,
    clock::refuse_beyond,
    groups,
    pass::{Leaf, Pass},
    receipt::{Ending, PassRange, StreamReceipt},
};

/// A stream with at least this number of records in its last pass is not expected to be empty.
pub(crate) const MANY: u64 = 10;

/// The streams that provide the wanted names, in the source's order.
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

/// Refuses a single partition unless it belongs to the one wanted group of streams.
pub(crate) fn of_one_group(streams: &[Arc<dyn AnyStream>], only: &Position) -> Result<()> {
    let [stream] = streams else {
        let names: Vec<&str> = streams.iter().map(|stream| stream.spec().name).collect();
        let text = format!(
            "a single partition belongs to one stream, or to several that are read together; {} are read separately",
            names.join(" and ")
        );
        return Err(Error::new(Kind::ConfigInvalid, text));
    };
    stream.verify(None, &[(only, None)]).map_err(|error| {
        let text = format!(
            "the partition given with --partition is not one of {}; take it from `headwater plan --json` of this version",
            stream.names().join(", ")
        );
        Error::new(Kind::ConfigInvalid, text).caused_by(error)
    })
}

/// Whether an error concerns one stream only.
pub(crate) const fn is_stream_scoped(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::PermissionDenied
            | Kind::NotFound
            | Kind::DataInvalid
            | Kind::Unsupported
            | Kind::ConfigInvalid
    )
}

/// The wanted streams among a stream and its secondary streams.
pub(crate) fn outputs<'a>(
    stream: &'a dyn AnyStream,
    wanted: &'a [String],
) -> impl Iterator<Item = &'a StreamSpec> {
    std::iter::once(stream.spec())
        .chain(stream.companions())
        .filter(|spec| wanted.is_empty() || wanted.iter().any(|name| name == spec.name))
}

/// The records of a page that belong to the stream `name`; `main` is the stream that the page was fetched from.
pub(crate) fn records<'p>(
    page: &'p Page<Position, Position>,
    name: &str,
    main: &str,
) -> &'p [Range<usize>] {
    if name == main {
        return &page.records;
    }
    page.companions
        .iter()
        .find(|(secondary, _)| *secondary == name)
        .map_or(&[], |(_, records)| records)
}

/// One stream in a run, with its secondary streams.
pub(crate) struct StreamRun {
    pub(crate) stream: Arc<dyn AnyStream>,
    pub(crate) name: &'static str,
    /// The wanted streams of the group.
    pub(crate) outputs: Vec<StreamOutput>,
    /// The progress of fetching. The writer's state follows it.
    pub(crate) pass: Pass,
    /// Whether an interrupted run has read it to its end.
    pub(crate) is_finished: bool,
    /// Whether the pass was under way when the run began.
    pub(crate) is_resumed: bool,
    /// Whether the state does not hold this pass yet.
    pub(crate) is_new: bool,
    /// The start of a stream that no pass has read before, where the options set one.
    pub(crate) first_since: Option<Timestamp>,
    /// Notes on the plan for the receipt: code and sentence.
    pub(crate) notes: Vec<(&'static str, String)>,
    /// Whether a new pass follows this one in the same run.
    pub(crate) is_read_on: bool,
    /// Fetches under way, by partition and position.
    pub(crate) in_flight: BTreeMap<(usize, u64), AbortHandle>,
    /// Positions that wait.
    pub(crate) waits: BTreeMap<(usize, u64), Pause>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) covered: PassRange,
    /// The partition in which a limit has cut a page: from there on the state does not move, and only this partition is
    /// read further, for the secondary streams.
    pub(crate) ahead: Option<usize>,
    pub(crate) stage: Stage,
    /// The first error that ended a single position, and the number of such errors.
    pub(crate) failure: Option<Error>,
    pub(crate) failures: usize,
    /// Whether a position is quarantined.
    pub(crate) is_partial: bool,
    /// Its ending, which holds once the writer confirms.
    pub(crate) ending: Option<Ending>,
    /// Partitions whose total the service has not reported yet.
    pub(crate) without_total: BTreeSet<usize>,
}

/// A wanted stream.
pub(crate) struct StreamOutput {
    pub(crate) name: &'static str,
    /// The index of its receipt.
    pub(crate) receipt: usize,
    /// Records of the last complete pass, for a stream that every pass reads in full.
    pub(crate) last_records: Option<u64>,
    /// Records that this run had read before this pass.
    pub(crate) read_before: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No fetch has started yet.
    Ready,
    /// The second round of the run reads it.
    Later,
    Reading,
    /// Fetching is over; the writer has not confirmed the end yet.
    Closing,
    Ended,
}

#[derive(Debug)]
pub(crate) enum Pause {
    /// Until the writer has committed the page that asks to wait; then for `wait`.
    Commit {
        wait: Duration,
        reason: String,
    },
    Until(Instant),
    NextRun,
}

/// The next fetch of a stream run.
pub(crate) enum NextFetch {
    Fetch(Leaf),
    /// Only positions that failed in an earlier run are left; try one, alone.
    Suspect(Leaf),
    /// No fetch before this moment.
    Wait(Instant),
    /// No fetch before a page under way arrives or is committed.
    Busy,
    /// No fetch is left in this run.
    Done,
}

impl StreamOutput {
    /// The records that this pass has read so far.
    pub(crate) fn read(&self, receipts: &[StreamReceipt]) -> u64 {
        receipts[self.receipt].read - self.read_before
    }
}

impl StreamRun {
    /// With `only`, the run reads this one partition of the stream.
    pub(crate) fn new(
        stream: Arc<dyn AnyStream>,
        state: &State,
        wanted: &[String],
        only: Option<&Position>,
    ) -> Result<Self> {
        let name = stream.spec().name;
        let outputs: BTreeSet<String> = outputs(&*stream, wanted)
            .map(|spec| spec.name.to_owned())
            .collect();
        let is_finished = only.is_none()
            && !state.is_under_way(name)
            && outputs.iter().all(|output| state.is_finished(output));
        let planned = |pass: Pass, is_resumed: bool| groups::PlannedPass {
            pass,
            is_resumed,
            is_new: !is_resumed,
            notes: Vec::new(),
        };
        let planned = match (state.pass(name), only) {
            (Some(pass), Some(only)) => {
                if pass.partitions.iter().any(|one| one.partition != *only) {
                    let text = format!(
                        "the state has a pass over other partitions of {name}; read a single partition with a state of \
                         its own"
                    );
                    return Err(Error::new(Kind::ConfigInvalid, text));
                }
                planned(pass.clone(), true)
            }
            (None, Some(only)) => planned(Pass::new(vec![only.clone()]), false),
            (pass, None) => {
                let now = Timestamp::now();
                if pass.is_none() {
                    refuse_beyond(&*stream, state.bookmark(name), now)?;
                }
                groups::plan(&*stream, state, &outputs, now)?
            }
        };
        let pass = planned.pass;
        let is_first = state.bookmark(name).is_none() && only.is_none();
        let first_since = pass.scope.as_ref().and_then(|scope| scope.since);
        let first_since = first_since.filter(|_| is_first);
        let without_total = pass.partitions.iter().map(|one| one.number).collect();
        let mut covered = PassRange::default();
        for progress in &pass.partitions {
            covered.extend(&stream.range(&progress.partition)?);
        }
        Ok(Self {
            stream,
            name,
            outputs: Vec::new(),
            pass,
            is_finished,
            is_resumed: planned.is_resumed,
            is_read_on: false,
            is_new: planned.is_new,
            first_since,
            notes: planned.notes,
            in_flight: BTreeMap::new(),
            waits: BTreeMap::new(),
            meter: Arc::default(),
            covered,
            ahead: None,
            stage: Stage::Ready,
            failure: None,
            failures: 0,
            is_partial: false,
            ending: None,
            without_total,
        })
    }

    /// Whether the records of a partition go to this stream of the group.
    pub(crate) fn gives(&self, partition: usize, output: &str) -> bool {
        let mut partitions = self.pass.partitions.iter();
        let progress = partitions.find(|one| one.number == partition);
        progress.is_none_or(|progress| groups::goes_to(progress, output))
    }

    /// Plans the pass that follows this one, for the same outputs.
    pub(crate) fn next_pass(&mut self, state: &State) -> Result<Self> {
        let names = self.outputs.iter().map(|output| output.name.to_owned());
        let wanted: Vec<String> = names.collect();
        let next = Self::new(Arc::clone(&self.stream), state, &wanted, None)?;
        let mut covered = self.covered;
        covered.join(next.covered);
        Ok(Self {
            outputs: std::mem::take(&mut self.outputs),
            meter: Arc::clone(&self.meter),
            is_partial: self.is_partial,
            first_since: self.first_since,
            covered,
            ..next
        })
    }

    /// Whether an export job reads a partition of its pass, ordered already or not.
    pub(crate) fn orders(&self) -> Result<bool> {
        for progress in &self.pass.partitions {
            if self.stream.jobs(&progress.partition, None)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The number of export jobs that this run will order.
    pub(crate) fn jobs(&self) -> Result<u64> {
        let mut jobs = 0;
        for progress in &self.pass.partitions {
            jobs += self
                .stream
                .jobs(&progress.partition, progress.token.as_ref())?;
        }
        Ok(jobs)
    }

    /// Whether reading has not started.
    pub(crate) const fn is_to_come(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Later)
    }

    /// Whether it may still fetch.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Reading)
    }

    /// The ending once no fetch is left. An error that ended single positions, for example an export job that takes too
    /// long, does not end the run.
    pub(crate) fn conclusion(&mut self) -> Ending {
        match self.failure.take() {
            Some(error) => Ending::failed(&error),
            None if self.ahead.is_some() => Ending::Limited,
            None if self.is_partial => Ending::Partial,
            None => Ending::Complete,
        }
    }

    pub(crate) fn next_fetch(&self) -> NextFetch {
        let pass = &self.pass;
        let now = Instant::now();
        let mut earliest: Option<Instant> = None;
        let mut is_busy = !self.in_flight.is_empty();
        let mut suspect = None;
        let first = pass.partitions.front().map(|one| one.number);
        for leaf in pass.leaves() {
            let is_elsewhere = self.ahead.is_some_and(|number| number != leaf.0)
                || (first != Some(leaf.0) && pass.is_in_turn(leaf.0));
            if is_elsewhere || self.in_flight.contains_key(&leaf) {
                continue;
            }
            match self.waits.get(&leaf) {
                Some(Pause::NextRun) => {}
                Some(Pause::Commit { .. }) => is_busy = true,
                Some(Pause::Until(at)) if *at > now => {
                    earliest = Some(earliest.map_or(*at, |other| other.min(*at)));
                }
                _ if pass.failures(leaf) > 0 => suspect = suspect.or_else(|| pass.leaf(leaf)),
                _ => {
                    if let Some(leaf) = pass.leaf(leaf) {
                        return NextFetch::Fetch(leaf);
                    }
                }
            }
        }
        match (suspect, earliest, is_busy) {
            (Some(leaf), ..) => NextFetch::Suspect(leaf),
            (None, Some(at), _) => NextFetch::Wait(at),
            (None, None, true) => NextFetch::Busy,
            (None, None, false) => NextFetch::Done,
        }
    }
}
