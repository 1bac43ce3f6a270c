//! The writing side of a run: pages into the sink, then the state after them. Works in batches, apart from the
//! fetching, and is the only part that changes the state.

use std::{
    borrow::Cow, collections::BTreeSet, mem, ops::Range, path::PathBuf, slice, time::Duration,
};

use bytes::Bytes;
use headwater_core::{Error, Page, Position, Result, StreamSpec};
use tokio::time::Instant;

use crate::{
    Deletes, RedactionReport, Redactor, Sink, State, UnseenRows,
    counts::Counts,
    drift::{DeadLetters, DriftEvent, DriftPolicy, DriftWatch, Verdict},
    groups,
    pass::{Pass, Step},
    state::Quarantined,
    stream_run::{MANY, records},
};

/// A job for the writer, in order of arrival. `index` is that of the stream run.
pub(crate) enum Job {
    /// A stream begins with this pass.
    Begin { index: usize, pass: Pass },
    /// Write a page, up to the limit.
    Page {
        index: usize,
        page: Box<Page<Position, Position>>,
        /// The maximum number of records for each output.
        limits: Vec<usize>,
        /// How its partition continues; `None` beyond a limit, where the state does not move.
        step: Option<Step>,
    },
    /// Record a failed position.
    Failed {
        index: usize,
        position: (usize, u64),
        message: String,
    },
    /// End a stream for this run.
    Close {
        index: usize,
        /// Whether its pass is over, too.
        is_finished: bool,
        /// Whether the pass was of one partition.
        is_only: bool,
        /// The records of each output, where this run read all of the pass.
        counts: Vec<u64>,
    },
    /// Make everything so far durable, and report that for this position.
    Keep {
        index: usize,
        position: (usize, u64),
    },
    /// Make everything so far durable.
    Commit,
}

impl Job {
    const fn index(&self) -> Option<usize> {
        match self {
            Self::Begin { index, .. }
            | Self::Page { index, .. }
            | Self::Failed { index, .. }
            | Self::Close { index, .. }
            | Self::Keep { index, .. } => Some(*index),
            Self::Commit => None,
        }
    }
}

/// A report of finished work by the writer.
pub(crate) enum WriterProgress {
    Page {
        index: usize,
        counts: Vec<Counts>,
    },
    /// A stream's records cannot go to the sink: it is over for this run.
    Refused {
        index: usize,
        error: Error,
    },
    Kept {
        index: usize,
        position: (usize, u64),
    },
    Closed {
        index: usize,
        reports: Vec<Report>,
    },
    Committed,
}

/// What the receipt reports about an output at its end.
#[derive(Default)]
pub(crate) struct Report {
    pub drift: Vec<DriftEvent>,
    pub redaction: Option<RedactionReport>,
    pub notes: Vec<(&'static str, (u64, String))>,
    /// Rows that a complete pass did not see, where the sink can count them.
    pub unseen: Option<UnseenRows>,
}

/// A stream run as the writer knows it.
pub(crate) struct WriterStream {
    pub name: &'static str,
    pub outputs: Vec<WriterOutput>,
    /// Whether a complete pass reads every record that the service has.
    pub sees_all: bool,
}

/// A wanted stream.
pub(crate) struct WriterOutput {
    pub spec: StreamSpec,
    pub redactor: Option<Redactor>,
    /// Compares records with their schema.
    pub watch: Option<DriftWatch>,
}

/// Records that wait for the end of the run, since the state stays before them.
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
    pub streams: Vec<WriterStream>,
    /// The file for rejected records.
    pub dead_letters: Option<DeadLetters>,
    /// Failed runs in a row after which a position is quarantined.
    pub max_failures: u32,
    last_commit: Instant,
    is_dirty: bool,
    refused: BTreeSet<usize>,
    /// Stream runs whose pass the sink knows.
    begun: BTreeSet<usize>,
    deferred: Vec<DeferredRecords>,
}

/// A writer with the work it has done, and the error that ended it for good, with the index of the stream run.
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
        streams: Vec<WriterStream>,
        dead_letters: Option<DeadLetters>,
        max_failures: u32,
    ) -> Self {
        Self {
            sink,
            state,
            state_path,
            commit_every,
            streams,
            dead_letters,
            max_failures,
            last_commit: Instant::now(),
            is_dirty: false,
            refused: BTreeSet::new(),
            begun: BTreeSet::new(),
            deferred: Vec::new(),
        }
    }

    /// When the next commit is due, if there is anything to commit.
    pub fn due(&self) -> Option<Instant> {
        self.is_dirty.then(|| self.last_commit + self.commit_every)
    }

    /// Prepares the sink, and checks that the state can be saved before anything is read.
    pub fn prepare(&mut self) -> Result<()> {
        let specs: Vec<StreamSpec> = self
            .streams
            .iter()
            .flat_map(|stream| &stream.outputs)
            .map(|output| output.spec.clone())
            .collect();
        self.sink.restore(&specs, &self.state)?;
        if let Some(letters) = &mut self.dead_letters
            && let Some(vouched) = self.state.output(letters.path())
        {
            letters.restore(vouched)?;
        }
        if self.state_path.is_some() {
            // From here on the state knows where the sink begins. Without that, records that a crash leaves before the
            // first commit look like those of another writer.
            self.sink.commit(&mut self.state)?;
        }
        self.save()
    }

    /// Does one job after the other, until one fails for good.
    pub fn work(mut self: Box<Self>, jobs: Vec<Job>) -> WriterResult {
        let mut done = Vec::new();
        for job in jobs {
            let index = job.index();
            if let Err(error) = self.job(job, &mut done) {
                return WriterResult {
                    writer: self,
                    done,
                    error: Some((index, error)),
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
            Job::Begin { index, pass } => {
                // No commit yet: until the first page, the next run can make the same plan again.
                let stream = &self.streams[index];
                // A pass that replaces one under way keeps its mark, and with it the rows that it has seen.
                let is_new = self.state.pass(stream.name).is_none();
                self.state.stream(stream.name).pass = Some(pass);
                if is_new {
                    self.state.begin_mark(stream.name, stream.names());
                }
                self.begun.remove(&index);
                self.begin_pass(index)
            }
            Job::Page {
                index,
                page,
                limits,
                step,
            } => {
                if self.refused.contains(&index) {
                    return Ok(());
                }
                self.begin_pass(index)?;
                match self.page(index, &page, &limits, step.is_none()) {
                    Ok(counts) => done.push(WriterProgress::Page { index, counts }),
                    Err(WriteFailure::Records(error)) => {
                        self.refused.insert(index);
                        done.push(WriterProgress::Refused { index, error });
                        return Ok(());
                    }
                    Err(WriteFailure::Sink(error)) => return Err(error),
                }
                if let Some(step) = step {
                    self.is_dirty = true;
                    if let Some(pass) = &mut self.state.stream(self.streams[index].name).pass {
                        pass.advance(step);
                    }
                    if self.commit_every.is_zero() {
                        return self.commit(done);
                    }
                }
                Ok(())
            }
            Job::Failed {
                index,
                position,
                message,
            } => {
                self.failed(index, position, message);
                Ok(())
            }
            Job::Close {
                index,
                is_finished,
                is_only,
                counts,
            } => {
                let mut unseen = Vec::new();
                if is_finished && !self.refused.contains(&index) {
                    unseen = self.end_pass(index, is_only, &counts)?;
                    self.finish(index, is_only, &counts);
                }
                let outputs = &self.streams[index].outputs;
                let mut reports: Vec<Report> = outputs.iter().map(WriterOutput::report).collect();
                for (report, unseen) in reports.iter_mut().zip(unseen) {
                    report.unseen = unseen;
                }
                for output in outputs {
                    // The report makes this drift known to later runs.
                    if let Some(watch) = &output.watch {
                        self.state.stream(output.spec.name).drift = Some(watch.baseline());
                    }
                }
                self.commit(done)?;
                done.push(WriterProgress::Closed { index, reports });
                Ok(())
            }
            Job::Keep { index, position } => {
                self.commit(done)?;
                done.push(WriterProgress::Kept { index, position });
                Ok(())
            }
            Job::Commit => self.commit(done),
        }
    }

    /// Writes the wanted records of a page, or defers them to the end when a limit cuts it or has cut an earlier one.
    fn page(
        &mut self,
        index: usize,
        page: &Page<Position, Position>,
        limits: &[usize],
        is_ahead: bool,
    ) -> Result<Vec<Counts>, WriteFailure> {
        let WriterStream { name, outputs, .. } = &mut self.streams[index];
        let mut all = Vec::with_capacity(outputs.len());
        for (output, limit) in outputs.iter_mut().zip(limits) {
            let stream = output.spec.name;
            let records = records(page, stream, name);
            let records = &records[..records.len().min(*limit)];
            let mut counts = Counts::default();
            if records.is_empty() && page.gaps.is_empty() {
                all.push(counts);
                continue;
            }
            let letters = self.dead_letters.as_mut().filter(|_| !is_ahead);
            let prepared = output.prepare(&page.body, records, letters, &mut counts);
            let is_missing = counts.rejected + counts.oversized > 0 || !page.gaps.is_empty();
            if is_missing && !is_ahead {
                // Missing records would look deleted.
                if let Some(mark) = &mut self.state.stream(name).mark {
                    mark.whole.remove(stream);
                }
            }
            let (body, records) = prepared?;
            counts.bytes = records.iter().map(|span| span.len() as u64).sum();
            if is_ahead {
                counts.records = records.len() as u64;
                self.deferred.push(DeferredRecords {
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

    /// Records a failed run at a position, and quarantines the position after the last one allowed.
    fn failed(&mut self, index: usize, position: (usize, u64), message: String) {
        let state = self.state.stream(self.streams[index].name);
        self.is_dirty = true;
        let Some(pass) = &mut state.pass else { return };
        if !pass.fail(position, self.max_failures) {
            return;
        }
        if let Some((partition, token)) = pass.quarantine(position) {
            state.aside.push(Quarantined {
                partition,
                token,
                message,
            });
        }
    }

    /// Announces the pass of the coming records to the sink, once.
    fn begin_pass(&mut self, index: usize) -> Result<()> {
        if !self.begun.insert(index) {
            return Ok(());
        }
        let stream = &self.streams[index];
        let names = stream.names();
        if self.state.stream(stream.name).mark.is_none() {
            // An earlier version began this pass; the rows that it wrote have no mark.
            self.state.begin_mark(stream.name, BTreeSet::new());
        }
        let Some(mark) = &mut self.state.stream(stream.name).mark else {
            return Ok(());
        };
        mark.whole.retain(|name| names.contains(name));
        let number = mark.number;
        for output in &stream.outputs {
            self.sink.begin_pass(output.spec.name, number)?;
        }
        Ok(())
    }

    /// Ends a complete pass. Where it read everything, the sink deals with the rows that it did not see.
    fn end_pass(
        &mut self,
        index: usize,
        is_only: bool,
        counts: &[u64],
    ) -> Result<Vec<Option<UnseenRows>>> {
        let stream = &self.streams[index];
        let state = self.state.stream(stream.name);
        let is_all = stream.sees_all && !is_only && state.aside.is_empty();
        let whole = match &mut state.mark {
            Some(mark) if self.begun.contains(&index) => mem::take(&mut mark.whole),
            _ => BTreeSet::new(),
        };
        let mut unseen = Vec::with_capacity(stream.outputs.len());
        for (position, output) in stream.outputs.iter().enumerate() {
            let name = output.spec.name;
            // No records where there were many may be a mistake of the service.
            let is_suddenly_empty = counts.get(position) == Some(&0)
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

    /// Removes a finished pass from the state: the next one starts from its bookmark.
    fn finish(&mut self, index: usize, is_only: bool, counts: &[u64]) {
        let WriterStream { name, outputs, .. } = &self.streams[index];
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
        for (output, count) in outputs.iter().zip(counts) {
            self.state.stream(output.spec.name).last_records = Some(*count);
        }
        for output in outputs {
            self.state.finish(output.spec.name);
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

    /// Ends a run that was not stopped: the next one reads every stream.
    pub fn end_run(&mut self) -> Result<()> {
        self.state.end_run();
        self.commit(&mut Vec::new())
    }

    /// Restarts a partition after its server-side work was cancelled.
    pub fn restart(&mut self, stream: &str, number: usize) -> Result<()> {
        if let Some(pass) = &mut self.state.stream(stream).pass {
            pass.restart(number);
        }
        self.commit(&mut Vec::new())
    }

    /// Writes the deferred records. The state does not vouch for them.
    pub fn write_deferred(&mut self) -> Result<()> {
        for deferred in mem::take(&mut self.deferred) {
            let mut records = deferred
                .records
                .iter()
                .map(|span| &deferred.body[span.clone()]);
            self.sink.write(deferred.stream, &mut records)?;
            self.sink.commit(&mut self.state.clone())?;
        }
        Ok(())
    }
}

/// Why a page was not written: its records, or the sink.
enum WriteFailure {
    Records(Error),
    Sink(Error),
}

/// A buffer and the ranges of records in it.
type Spans<'a> = (Cow<'a, Bytes>, Cow<'a, [Range<usize>]>);

impl WriterStream {
    fn names(&self) -> BTreeSet<String> {
        let names = self
            .outputs
            .iter()
            .map(|output| output.spec.name.to_owned());
        names.collect()
    }
}

impl WriterOutput {
    /// Returns the records for the sink, in their final form.
    fn prepare<'a>(
        &mut self,
        body: &'a Bytes,
        records: &'a [Range<usize>],
        letters: Option<&mut DeadLetters>,
        counts: &mut Counts,
    ) -> Result<Spans<'a>, WriteFailure> {
        let has_both = self.redactor.is_some() && self.watch.is_some();
        // A record that is rejected and kept nowhere is not to be counted as redacted.
        let policy = self.watch.as_ref().map(DriftWatch::policy);
        if has_both && (letters.is_some() || policy != Some(DriftPolicy::Reject)) {
            let (body, records) = self.sort_redacted(body, records, letters, counts)?;
            return Ok((Cow::Owned(body), Cow::Owned(records)));
        }
        match self.sort(body, records, letters, counts)? {
            None => self.redact(body, Cow::Borrowed(records)),
            Some(kept) => self.redact(body, Cow::Owned(kept)),
        }
    }

    /// [`WriterOutput::sort`] and [`WriterOutput::redact`] in one pass over each record. Errors come in the order of the two.
    fn sort_redacted(
        &mut self,
        body: &Bytes,
        records: &[Range<usize>],
        mut letters: Option<&mut DeadLetters>,
        counts: &mut Counts,
    ) -> Result<(Bytes, Vec<Range<usize>>), WriteFailure> {
        let mut redacted = Vec::with_capacity(records.iter().map(Range::len).sum());
        let mut kept = Vec::with_capacity(records.len());
        let (Some(watch), Some(redactor)) = (&mut self.watch, &mut self.redactor) else {
            return Ok((redacted.into(), kept));
        };
        // Only a run that stops leaves a page half way.
        let before = (watch.policy() == DriftPolicy::Stop).then(|| redactor.counts());
        let mut failed = None;
        for span in records {
            if counts.is_oversized(span) {
                continue;
            }
            let (start, record) = (redacted.len(), &body[span.clone()]);
            let (verdict, made) = match failed {
                None => redactor.record_compared(watch, record, &mut redacted),
                Some(_) => (watch.observe(record), Ok(())),
            };
            let verdict = match verdict {
                Ok(verdict) => verdict,
                Err(error) => {
                    if let Some(before) = before {
                        redactor.set_counts(before);
                    }
                    return Err(WriteFailure::Records(error));
                }
            };
            match (verdict, made) {
                (Verdict::Keep, Ok(())) => kept.push(start..redacted.len()),
                (Verdict::Keep, Err(error)) => failed = Some(error),
                (Verdict::Reject(reason), made) => {
                    counts.rejected += 1;
                    made.map_err(WriteFailure::Records)?;
                    if failed.is_some() {
                        let made = redactor.record(record, &mut redacted);
                        made.map_err(WriteFailure::Records)?;
                    }
                    if let Some(letters) = &mut letters {
                        let written = letters.write(self.spec.name, &reason, &redacted[start..]);
                        written.map_err(WriteFailure::Sink)?;
                    }
                    redacted.truncate(start);
                }
            }
        }
        match failed {
            Some(error) => Err(WriteFailure::Records(error)),
            None => Ok((redacted.into(), kept)),
        }
    }

    /// Returns the ranges of the records that go to the sink; `None` means all. Counts the others, and writes those
    /// that break their schema to the dead letters.
    fn sort(
        &mut self,
        body: &Bytes,
        records: &[Range<usize>],
        mut letters: Option<&mut DeadLetters>,
        counts: &mut Counts,
    ) -> Result<Option<Vec<Range<usize>>>, WriteFailure> {
        let mut accepted: Option<Vec<Range<usize>>> = None;
        for (index, span) in records.iter().enumerate() {
            if self.accepts(body, span, &mut letters, counts)? {
                if let Some(accepted) = &mut accepted {
                    accepted.push(span.clone());
                }
            } else if accepted.is_none() {
                let mut before = Vec::with_capacity(records.len() - 1);
                before.extend_from_slice(&records[..index]);
                accepted = Some(before);
            }
        }
        Ok(accepted)
    }

    /// Whether a record goes to the sink.
    fn accepts(
        &mut self,
        body: &Bytes,
        span: &Range<usize>,
        letters: &mut Option<&mut DeadLetters>,
        counts: &mut Counts,
    ) -> Result<bool, WriteFailure> {
        if counts.is_oversized(span) {
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
            let (body, spans) = self.redact(body, Cow::Borrowed(slice::from_ref(span)))?;
            let record = spans.first().map_or(&[][..], |span| &body[span.clone()]);
            let written = letters.write(stream, &reason, record);
            written.map_err(WriteFailure::Sink)?;
        }
        Ok(false)
    }

    /// Returns the records, without personal data if redaction is on.
    fn redact<'a>(
        &mut self,
        body: &'a Bytes,
        records: Cow<'a, [Range<usize>]>,
    ) -> Result<Spans<'a>, WriteFailure> {
        let Some(redactor) = &mut self.redactor else {
            return Ok((Cow::Borrowed(body), records));
        };
        let (body, records) = redactor
            .records(body, &records)
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
