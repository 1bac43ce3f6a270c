//! The writing side of a run: pages into the sink, then the state after them. Works in batches, away from the
//! fetching, and is the only one that changes the state.

use std::{
    borrow::Cow, collections::BTreeSet, mem, ops::Range, path::PathBuf, slice, time::Duration,
};

use bytes::Bytes;
use headwater_core::{Error, LONGEST_RECORD, Page, Position, Result, StreamSpec};
use tokio::time::Instant;

use crate::{
    Deletes, RedactionReport, Redactor, Sink, State, UnseenRows,
    drift::{DeadLetters, DriftEvent, DriftWatch, Verdict},
    groups,
    pass::{Pass, Step},
    runner::MANY,
    state::Quarantined,
    stream_run::records,
};

/// Something for the writer to do, in the order in which things arrived.
pub(crate) enum Job {
    /// A stream begins with this pass.
    Begin { lane: usize, pass: Pass },
    /// A page, as far as the limit lets it through.
    Page {
        lane: usize,
        page: Box<Page<Position, Position>>,
        /// At most so many records for each outlet.
        most: Vec<usize>,
        /// Where its partition goes on; none beyond a limit, where the state stays.
        step: Option<Step>,
    },
    /// A place could not be read in this run.
    Failed {
        lane: usize,
        place: (usize, u64),
        message: String,
    },
    /// A stream is over for this run.
    Close {
        lane: usize,
        /// Its pass is over, too.
        is_finished: bool,
        /// The pass was of one partition.
        is_only: bool,
        /// The records of each outlet, where one run read all of the pass.
        counts: Vec<u64>,
    },
    /// Make everything so far durable, and say that this place is.
    Keep { lane: usize, place: (usize, u64) },
    /// Make everything so far durable.
    Commit,
}

impl Job {
    const fn lane(&self) -> Option<usize> {
        match self {
            Self::Begin { lane, .. }
            | Self::Page { lane, .. }
            | Self::Failed { lane, .. }
            | Self::Close { lane, .. }
            | Self::Keep { lane, .. } => Some(*lane),
            Self::Commit => None,
        }
    }
}

/// What the writer has done.
pub(crate) enum WriterProgress {
    Page {
        lane: usize,
        counts: Vec<Counts>,
    },
    /// A stream's records are not fit for the sink: it is over for this run.
    Refused {
        lane: usize,
        error: Error,
    },
    Kept {
        lane: usize,
        place: (usize, u64),
    },
    Closed {
        lane: usize,
        reports: Vec<Report>,
    },
    Committed,
}

/// What became of the records of one outlet.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub records: u64,
    pub bytes: u64,
    pub deduplicated: u64,
    pub overflowed: u64,
    pub rejected: u64,
    pub oversized: u64,
    /// The length of the longest record that was left out for its length.
    pub longest: u64,
    pub collisions: u64,
    pub merged: u64,
}

/// What is to be told of an outlet at its end.
#[derive(Default)]
pub(crate) struct Report {
    pub drift: Vec<DriftEvent>,
    pub redaction: Option<RedactionReport>,
    pub notes: Vec<(&'static str, (u64, String))>,
    /// Rows that the pass did not see, where it read everything and the sink can tell.
    pub unseen: Option<UnseenRows>,
}

/// A stream as the writer knows it.
pub(crate) struct WriterStream {
    pub name: &'static str,
    pub outlets: Vec<WriterOutput>,
    /// Whether a complete pass reads every record that the service has.
    pub sees_all: bool,
}

/// A stream whose records are wanted.
pub(crate) struct WriterOutput {
    pub spec: StreamSpec,
    pub redactor: Option<Redactor>,
    /// Whether records still are what their schema says.
    pub watch: Option<DriftWatch>,
}

/// Records that wait for the end of the run because the state will not go past them.
struct DeferredRecords {
    stream: &'static str,
    body: Bytes,
    records: Vec<Range<usize>>,
}

pub(crate) struct Writer {
    pub sink: Box<dyn Sink>,
    pub state: State,
    pub state_path: Option<PathBuf>,
    pub commit_every: Duration,
    pub inlets: Vec<WriterStream>,
    /// Where records go that are rejected.
    pub dead_letters: Option<DeadLetters>,
    /// Runs in a row after which a place is set aside.
    pub max_failures: u32,
    last_commit: Instant,
    is_dirty: bool,
    refused: BTreeSet<usize>,
    /// Streams of which the sink knows the pass.
    begun: BTreeSet<usize>,
    held_back: Vec<DeferredRecords>,
}

/// A writer with what it did, and the error that ended it for good, with the stream that it met.
pub(crate) struct WriterResult {
    pub writer: Box<Writer>,
    pub done: Vec<WriterProgress>,
    pub error: Option<(Option<usize>, Error)>,
}

impl Writer {
    pub fn new(
        sink: Box<dyn Sink>,
        state: State,
        state_path: Option<PathBuf>,
        commit_every: Duration,
        inlets: Vec<WriterStream>,
        dead_letters: Option<DeadLetters>,
        max_failures: u32,
    ) -> Self {
        Self {
            sink,
            state,
            state_path,
            commit_every,
            inlets,
            dead_letters,
            max_failures,
            last_commit: Instant::now(),
            is_dirty: false,
            refused: BTreeSet::new(),
            begun: BTreeSet::new(),
            held_back: Vec::new(),
        }
    }

    /// When what was written has to become durable, if anything waits for that.
    pub fn due(&self) -> Option<Instant> {
        self.is_dirty.then(|| self.last_commit + self.commit_every)
    }

    /// Prepares the sink, and makes sure that the state can be kept before anything is read.
    pub fn prepare(&mut self) -> Result<()> {
        let specs: Vec<StreamSpec> = self
            .inlets
            .iter()
            .flat_map(|inlet| &inlet.outlets)
            .map(|outlet| outlet.spec.clone())
            .collect();
        self.sink.restore(&specs, &self.state)?;
        if let Some(letters) = &mut self.dead_letters
            && let Some(vouched) = self.state.output(letters.path())
        {
            letters.restore(vouched)?;
        }
        if self.state_path.is_some() {
            // From here on the state knows where the sink begins. Records that a crash leaves before the first commit
            // could not be told from somebody else's otherwise.
            self.sink.commit(&mut self.state)?;
        }
        self.save()
    }

    /// Does one thing after the other, until one fails for good.
    pub fn work(mut self: Box<Self>, jobs: Vec<Job>) -> WriterResult {
        let mut done = Vec::new();
        for job in jobs {
            let lane = job.lane();
            if let Err(error) = self.job(job, &mut done) {
                return WriterResult {
                    writer: self,
                    done,
                    error: Some((lane, error)),
                };
            }
        }
        let is_due = self.due().is_some_and(|due| due <= Instant::now());
        let committed = if is_due {
            self.commit(&mut done)
        } else {
            Ok(())
        };
        WriterResult {
            writer: self,
            done,
            error: committed.err().map(|error| (None, error)),
        }
    }

    fn job(&mut self, job: Job, done: &mut Vec<WriterProgress>) -> Result<()> {
        match job {
            Job::Begin { lane, pass } => {
                // Nothing to make durable yet: until the first page, a plan can as well be made anew.
                let inlet = &self.inlets[lane];
                // What takes the place of a pass under way goes on with what that one has read.
                let is_new = self.state.pass(inlet.name).is_none();
                self.state.stream(inlet.name).pass = Some(pass);
                if is_new {
                    self.state.begin_mark(inlet.name, inlet.names());
                }
                self.begun.remove(&lane);
                self.begin_pass(lane)
            }
            Job::Page {
                lane,
                page,
                most,
                step,
            } => {
                if self.refused.contains(&lane) {
                    return Ok(());
                }
                self.begin_pass(lane)?;
                match self.page(lane, &page, &most, step.is_none()) {
                    Ok(counts) => done.push(WriterProgress::Page { lane, counts }),
                    Err(WriteFailure::Records(error)) => {
                        self.refused.insert(lane);
                        done.push(WriterProgress::Refused { lane, error });
                        return Ok(());
                    }
                    Err(WriteFailure::Sink(error)) => return Err(error),
                }
                if let Some(step) = step {
                    self.is_dirty = true;
                    if let Some(pass) = &mut self.state.stream(self.inlets[lane].name).pass {
                        pass.advance(step);
                    }
                    if self.commit_every.is_zero() {
                        return self.commit(done);
                    }
                }
                Ok(())
            }
            Job::Failed {
                lane,
                place,
                message,
            } => {
                self.failed(lane, place, message);
                Ok(())
            }
            Job::Close {
                lane,
                is_finished,
                is_only,
                counts,
            } => {
                let mut unseen = Vec::new();
                if is_finished && !self.refused.contains(&lane) {
                    unseen = self.end_pass(lane, is_only, &counts)?;
                    self.finish(lane, is_only, &counts);
                }
                let outlets = &self.inlets[lane].outlets;
                let mut reports: Vec<Report> = outlets.iter().map(WriterOutput::report).collect();
                for (report, unseen) in reports.iter_mut().zip(unseen) {
                    report.unseen = unseen;
                }
                for outlet in outlets {
                    // What the report tells is known from here on.
                    if let Some(watch) = &outlet.watch {
                        self.state.stream(outlet.spec.name).drift = Some(watch.baseline());
                    }
                }
                self.commit(done)?;
                done.push(WriterProgress::Closed { lane, reports });
                Ok(())
            }
            Job::Keep { lane, place } => {
                self.commit(done)?;
                done.push(WriterProgress::Kept { lane, place });
                Ok(())
            }
            Job::Commit => self.commit(done),
        }
    }

    /// Writes what is wanted of a page, or keeps it for the end when a limit cuts it or has cut an earlier one.
    fn page(
        &mut self,
        lane: usize,
        page: &Page<Position, Position>,
        most: &[usize],
        is_ahead: bool,
    ) -> Result<Vec<Counts>, WriteFailure> {
        let WriterStream { name, outlets, .. } = &mut self.inlets[lane];
        let mut all = Vec::with_capacity(outlets.len());
        for (outlet, most) in outlets.iter_mut().zip(most) {
            let stream = outlet.spec.name;
            let records = records(page, stream, name);
            let records = &records[..records.len().min(*most)];
            let mut counts = Counts::default();
            if records.is_empty() && page.gaps.is_empty() {
                all.push(counts);
                continue;
            }
            let letters = self.dead_letters.as_mut().filter(|_| !is_ahead);
            let kept = outlet.sort(&page.body, records, letters, &mut counts)?;
            let records = kept.as_deref().unwrap_or(records);
            if !is_ahead && (kept.is_some() || !page.gaps.is_empty()) {
                // What is missing would look as if it had been deleted.
                if let Some(mark) = &mut self.state.stream(name).mark {
                    mark.whole.remove(stream);
                }
            }
            let (body, records) = outlet.redact(&page.body, records)?;
            counts.bytes = records.iter().map(|span| span.len() as u64).sum();
            if is_ahead {
                counts.records = records.len() as u64;
                self.held_back.push(DeferredRecords {
                    stream,
                    body: Bytes::clone(&body),
                    records: records.to_vec(),
                });
            } else {
                let mut records = records.iter().map(|span| &body[span.clone()]);
                let written = self
                    .sink
                    .write(stream, &mut records)
                    .map_err(WriteFailure::Sink)?;
                counts.records = written.records;
                counts.deduplicated = written.deduplicated;
                counts.overflowed = written.overflowed;
                counts.collisions = written.collisions;
                counts.merged = written.merged;
                self.state.add_rows(stream, written.records);
            }
            all.push(counts);
        }
        Ok(all)
    }

    /// Counts a run that ended at a place, and gives the place up when that was one too many.
    fn failed(&mut self, lane: usize, place: (usize, u64), message: String) {
        let state = self.state.stream(self.inlets[lane].name);
        self.is_dirty = true;
        let Some(pass) = &mut state.pass else { return };
        if !pass.fail(place, self.max_failures) {
            return;
        }
        if let Some((partition, token)) = pass.set_aside(place) {
            state.aside.push(Quarantined {
                partition,
                token,
                message,
            });
        }
    }

    /// Tells the sink which pass it is whose records come, once.
    fn begin_pass(&mut self, lane: usize) -> Result<()> {
        if !self.begun.insert(lane) {
            return Ok(());
        }
        let inlet = &self.inlets[lane];
        let names = inlet.names();
        if self.state.stream(inlet.name).mark.is_none() {
            // A pass that an earlier version began. What that one wrote has no mark.
            self.state.begin_mark(inlet.name, BTreeSet::new());
        }
        let Some(mark) = &mut self.state.stream(inlet.name).mark else {
            return Ok(());
        };
        mark.whole.retain(|name| names.contains(name));
        let number = mark.number;
        for outlet in &inlet.outlets {
            self.sink.begin_pass(outlet.spec.name, number)?;
        }
        Ok(())
    }

    /// The pass was read to its end. Where it read everything, the sink deals with the rows that it did not see.
    fn end_pass(
        &mut self,
        lane: usize,
        is_only: bool,
        counts: &[u64],
    ) -> Result<Vec<Option<UnseenRows>>> {
        let inlet = &self.inlets[lane];
        let state = self.state.stream(inlet.name);
        let is_all = inlet.sees_all && !is_only && state.aside.is_empty();
        let whole = match &mut state.mark {
            Some(mark) if self.begun.contains(&lane) => mem::take(&mut mark.whole),
            _ => BTreeSet::new(),
        };
        let mut unseen = Vec::with_capacity(inlet.outlets.len());
        for (place, outlet) in inlet.outlets.iter().enumerate() {
            let name = outlet.spec.name;
            // Where there were many, that there are none may be a mistake of the service.
            let is_suddenly_empty = counts.get(place) == Some(&0)
                && self
                    .state
                    .last_records(name)
                    .is_some_and(|before| before >= MANY);
            let mut found = None;
            if is_all && !is_suddenly_empty && whole.contains(name) {
                found = self.sink.end_pass(name)?;
            }
            if let Some(UnseenRows {
                rows,
                deletes: Deletes::Remove,
            }) = found
            {
                self.state.take_rows(name, rows);
            }
            unseen.push(found);
        }
        Ok(unseen)
    }

    /// The pass is over: the next one starts where this one leads to.
    fn finish(&mut self, lane: usize, is_only: bool, counts: &[u64]) {
        let WriterStream { name, outlets, .. } = &self.inlets[lane];
        let state = self.state.stream(name);
        let pass = state.pass.take();
        self.is_dirty = true;
        if is_only {
            return;
        }
        if let Some(pass) = pass {
            state.read_at = pass.began;
            groups::leave(state, pass);
        }
        for (outlet, count) in outlets.iter().zip(counts) {
            self.state.stream(outlet.spec.name).last_records = Some(*count);
        }
        for outlet in outlets {
            self.state.finish(outlet.spec.name);
        }
    }

    /// First the records, then the state.
    fn commit(&mut self, done: &mut Vec<WriterProgress>) -> Result<()> {
        if let Some(letters) = &mut self.dead_letters {
            letters.commit()?;
            if let Some(position) = letters.position() {
                self.state.set_output(letters.path(), position);
            }
        }
        self.sink.commit(&mut self.state)?;
        self.save()?;
        self.last_commit = Instant::now();
        self.is_dirty = false;
        done.push(WriterProgress::Committed);
        Ok(())
    }

    fn save(&self) -> Result<()> {
        let path = self.state_path.as_deref();
        path.map_or(Ok(()), |path| self.state.save(path))
    }

    /// The run came to its end and the next one reads every stream.
    pub fn end_run(&mut self) -> Result<()> {
        self.state.end_run();
        self.commit(&mut Vec::new())
    }

    /// A place was let go of at the service: its partition begins anew.
    pub fn begin_anew(&mut self, stream: &str, number: usize) -> Result<()> {
        if let Some(pass) = &mut self.state.stream(stream).pass {
            pass.begin_anew(number);
        }
        self.commit(&mut Vec::new())
    }

    /// Writes what a limit kept back. The state does not vouch for it.
    pub fn write_held_back(&mut self) -> Result<()> {
        for held in mem::take(&mut self.held_back) {
            let mut records = held.records.iter().map(|span| &held.body[span.clone()]);
            self.sink.write(held.stream, &mut records)?;
            self.sink.commit(&mut self.state.clone())?;
        }
        Ok(())
    }
}

/// Whose fault it is that a page was not written.
enum WriteFailure {
    Records(Error),
    Sink(Error),
}

/// A buffer and the places of records in it.
type Spans<'a> = (Cow<'a, Bytes>, Cow<'a, [Range<usize>]>);

impl WriterStream {
    fn names(&self) -> BTreeSet<String> {
        let names = self
            .outlets
            .iter()
            .map(|outlet| outlet.spec.name.to_owned());
        names.collect()
    }
}

impl WriterOutput {
    /// Returns the places of the records that go to the sink, none where those are all. Counts the others, and writes those
    /// that are not what their schema says to the dead letters.
    fn sort(
        &mut self,
        body: &Bytes,
        records: &[Range<usize>],
        mut letters: Option<&mut DeadLetters>,
        counts: &mut Counts,
    ) -> Result<Option<Vec<Range<usize>>>, WriteFailure> {
        let mut kept: Option<Vec<Range<usize>>> = None;
        for (index, span) in records.iter().enumerate() {
            if self.lets_pass(body, span, &mut letters, counts)? {
                if let Some(kept) = &mut kept {
                    kept.push(span.clone());
                }
            } else if kept.is_none() {
                let mut before = Vec::with_capacity(records.len() - 1);
                before.extend_from_slice(&records[..index]);
                kept = Some(before);
            }
        }
        Ok(kept)
    }

    /// Whether a record goes to the sink.
    fn lets_pass(
        &mut self,
        body: &Bytes,
        span: &Range<usize>,
        letters: &mut Option<&mut DeadLetters>,
        counts: &mut Counts,
    ) -> Result<bool, WriteFailure> {
        if span.len() > LONGEST_RECORD {
            counts.oversized += 1;
            counts.longest = counts.longest.max(span.len() as u64);
            return Ok(false);
        }
        let Some(watch) = &mut self.watch else {
            return Ok(true);
        };
        let verdict = watch.observe(&body[span.clone()]);
        let Verdict::Reject(reason) = verdict.map_err(WriteFailure::Records)? else {
            return Ok(true);
        };
        counts.rejected += 1;
        if let Some(letters) = letters {
            let stream = self.spec.name;
            let (body, spans) = self.redact(body, slice::from_ref(span))?;
            let record = spans.first().map_or(&[][..], |span| &body[span.clone()]);
            let written = letters.write(stream, &reason, record);
            written.map_err(WriteFailure::Sink)?;
        }
        Ok(false)
    }

    /// The records without personal data, where that is asked for.
    fn redact<'a>(
        &mut self,
        body: &'a Bytes,
        records: &'a [Range<usize>],
    ) -> Result<Spans<'a>, WriteFailure> {
        let Some(redactor) = &mut self.redactor else {
            return Ok((Cow::Borrowed(body), Cow::Borrowed(records)));
        };
        let (body, records) = redactor
            .records(body, records)
            .map_err(WriteFailure::Records)?;
        Ok((Cow::Owned(body), Cow::Owned(records)))
    }

    fn report(&self) -> Report {
        let note = self.redactor.as_ref().and_then(Redactor::unclassed_email);
        Report {
            drift: self
                .watch
                .as_ref()
                .map_or_else(Vec::new, DriftWatch::report),
            redaction: self.redactor.as_ref().map(Redactor::report),
            notes: note
                .map(|note| ("unclassed_email", note))
                .into_iter()
                .collect(),
            unseen: None,
        }
    }
}
