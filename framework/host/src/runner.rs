//! The runner: fetches concurrently, writes in order of arrival, commits, stops and resumes.
//!
//! Two sides work at the same time. This one decides what to fetch next: at most `concurrency` pages at once, over all
//! streams and partitions, the earlier streams first. The [`Writer`] takes the pages into the sink, in order of
//! arrival, and changes the state. A page whose partition has to wait is committed before its partition continues.
//! While pages wait for a slow sink, the runner fetches no more than fits into the memory that the options allow.

mod conclude;
mod second_round;

use std::{mem, sync::Arc, time::Duration};

use headwater_core::{CountedFuture, Error, Kind, Page, Position, Result, Source, Timestamp, Wait};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use crate::{
    Redactor, RunOptions, Sink, State,
    check_quota::check_quota,
    drift::{DriftRule, DriftWatch},
    groups,
    guarantee::Guarantee,
    identity, log,
    pass::{Leaf, Step},
    receipt::{Ending, Event, Receipt, StreamReceipt},
    rounds::Rounds,
    stream_run::{
        MANY, NextFetch, Pause, Stage, StreamOutput, StreamRun, is_stream_scoped, of_one_group,
        outputs, records, select,
    },
    wait_streak::WaitStreak,
    writer::{Job, Report, Writer, WriterOutput, WriterProgress, WriterResult, WriterStream},
};

/// Failed runs in a row after which a position is quarantined.
const MAX_FAILED_RUNS: u32 = 3;
/// Failed positions of one stream after which a run ends that stream.
const MAX_FAILURES: usize = 3;

/// Reads streams into a sink. Many runs may share a process, each as a task.
///
/// `wanted` names the streams; an empty list means all. Unwanted secondary streams do not get to the sink. A sink that
/// keeps the state overrides `state`.
///
/// A stream's own trouble (no permission, a malformed answer, a partition that is over for this run) ends that stream
/// or position; trouble with the service, the sink or the state ends the run. Errors of a stream are in the receipt;
/// this function returns an error before the first record, or when the state or the sink fails on the last ones.
///
/// A limit may cut a page. The run writes its part of that page after everything else and the state stays before the
/// page: a later run without the limit reads it whole.
///
/// # Errors
///
/// Fails before the first record if the wanted streams or the state do not fit the source, or if the sink refuses the
/// run; later only if the state or the sink fails on the last records.
pub async fn run(
    source: &dyn Source,
    wanted: &[String],
    state: State,
    sink: Box<dyn Sink>,
    mut options: RunOptions,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<Receipt> {
    let mut logged = |event: Event<'_>| {
        log::event(&event);
        on_event(event);
    };
    let on_event: &mut (dyn FnMut(Event<'_>) + Send) = &mut logged;
    let streams = select(source, wanted)?;
    if let Some(only) = &options.only {
        of_one_group(&streams, only)?;
    }
    let drift = options.drift.take();
    let dead_letters = match &drift {
        Some(drift) => drift.check(source)?,
        None => None,
    };
    let (sink, state, keeps_position) = load(source, sink, state, &options).await?;
    if options.only.is_none() {
        groups::check(&streams, &state)?;
    }
    let mut runs = Vec::new();
    let mut receipts = Vec::new();
    let mut writer_streams = Vec::new();
    let rounds = Rounds::new(&state, &streams, wanted, &options, sink.delivery());
    for stream in streams {
        state.verify(&*stream)?;
        let mut run = StreamRun::new(Arc::clone(&stream), &state, wanted, options.only.as_ref())?;
        let mut writer_stream = WriterStream {
            name: run.name,
            outputs: Vec::new(),
            sees_all: stream.sees_all(),
        };
        let quarantined = state.places_set_aside(run.name);
        run.is_partial = quarantined > 0;
        for spec in outputs(&*stream, wanted) {
            let guarantee = Guarantee::of(spec, sink.delivery(), keeps_position);
            if let Some(level) = options.guarantee {
                guarantee.meets(level, spec.name)?;
            }
            run.outputs.push(StreamOutput {
                name: spec.name,
                receipt: receipts.len(),
                last_records: state.last_records(spec.name).filter(|_| !spec.incremental),
                read_before: 0,
            });
            let mut receipt = StreamReceipt::new(spec.name, guarantee);
            receipt.estimate = options
                .limit
                .or_else(|| state.last_records(spec.name).filter(|_| !spec.incremental));
            if run.outputs.len() == 1 {
                for (code, text) in mem::take(&mut run.notes) {
                    receipt.notes.insert(code.into(), (1, text));
                }
            }
            receipt.flag_earlier_quarantine(quarantined, run.name);
            receipts.push(receipt);
            // Finds a schema that cannot be followed now, and not after the streams before it.
            let redactor = options
                .redaction
                .as_ref()
                .map(|redaction| Redactor::new(spec, redaction))
                .transpose()?;
            let watch = drift.as_ref().map(|drift| {
                let policy = DriftRule::policy_of(&drift.rules, spec.name);
                let earlier = state.drift(spec.name);
                match &redactor {
                    Some(redactor) => {
                        DriftWatch::with_schema(redactor.schema(), spec, policy, earlier)
                    }
                    None => DriftWatch::new(spec, policy, earlier),
                }
            });
            writer_stream.outputs.push(WriterOutput {
                spec: spec.clone(),
                redactor,
                watch,
            });
        }
        rounds.assign(&mut run, &mut receipts)?;
        runs.push(run);
        writer_streams.push(writer_stream);
    }
    tokio::select! {
        biased;
        // A stopped run needs no quota, and the service may take long to answer.
        true = is_stopped(&mut options.stop) => {}
        checked = check_quota(source, &runs, on_event) => checked?,
    }
    let (started, started_at) = (Instant::now(), Timestamp::now());
    let meter = Arc::clone(&options.meter);
    let (before_limit, before_backoff) = (meter.limit_pause(), meter.backoff_pause());
    let (before_requests, before_retries) = (meter.requests(), meter.retries());
    let commit_every = options.commit_every.unwrap_or(sink.commit_every());
    let mut writer = Writer::new(
        sink,
        state,
        options.state_path.clone(),
        commit_every,
        writer_streams,
        dead_letters,
        MAX_FAILED_RUNS,
    );
    let mut writer = blocking(move || {
        writer.prepare()?;
        Ok(Box::new(writer))
    })
    .await?;
    if keeps_position {
        let checked = identity::check(source, &mut writer.state, options.same_account);
        tokio::select! {
            biased;
            // A stopped run reads nothing.
            true = is_stopped(&mut options.stop) => {}
            checked = checked => checked?,
        }
    }
    if options.limit.is_some() {
        options.concurrency = 1;
    }
    let mut running = Running {
        runs,
        receipts,
        options,
        fetching: JoinSet::new(),
        queue: Vec::new(),
        queued_bytes: 0,
        writing_bytes: 0,
        writer: Some(writer),
        writing: None,
        wait_streak: WaitStreak::default(),
        has_answered: false,
        is_over: false,
        is_sink_broken: false,
    };
    running.all(on_event).await?;
    running.second_round(source, on_event).await?;
    let (receipts, cancelled_jobs) = running.conclude().await?;
    Ok(Receipt {
        outcome: Receipt::outcome(&receipts),
        streams: receipts,
        requests: meter.requests() - before_requests,
        retries: meter.retries() - before_retries,
        started_at,
        seconds: started.elapsed().as_secs_f64(),
        limit_wait_seconds: seconds(meter.limit_pause(), before_limit),
        backoff_wait_seconds: seconds(meter.backoff_pause(), before_backoff),
        cancelled_jobs,
    })
}

/// The seconds between two values of a duration counter.
fn seconds(now: Duration, before: Duration) -> f64 {
    now.saturating_sub(before).as_secs_f64()
}

/// Locks the sink and loads the state that it keeps; a sink that keeps none leaves `state` in charge.
async fn load(
    source: &dyn Source,
    mut sink: Box<dyn Sink>,
    state: State,
    options: &RunOptions,
) -> Result<(Box<dyn Sink>, State, bool)> {
    let connector = state.connector().to_owned();
    let (sink, stored) = blocking(move || {
        let stored = State::held_by(&mut *sink, &connector)?;
        Ok((sink, stored))
    })
    .await?;
    let Some(stored) = stored else {
        return Ok((sink, state, options.state_path.is_some()));
    };
    let streams = source.streams();
    let names: Vec<&str> = streams.iter().flat_map(|stream| stream.names()).collect();
    stored.belongs_to(&names, "the state in the destination")?;
    Ok((sink, stored, true))
}

/// Runs blocking work on the blocking pool.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(broken(error)))
}

fn broken(error: tokio::task::JoinError) -> Error {
    Error::new(Kind::Unexpected, "a task of the run panicked").caused_by(error)
}

/// The result of one fetch.
struct FetchResult {
    index: usize,
    position: (usize, u64),
    answer: Result<Page<Position, Position>>,
    /// The error of the position, where this fetch only tries its partition's beginning to see whether the service
    /// answers.
    failed_before: Option<Error>,
}

struct Running {
    runs: Vec<StreamRun>,
    receipts: Vec<StreamReceipt>,
    options: RunOptions,
    fetching: JoinSet<FetchResult>,
    /// Jobs for the writer, once it is free.
    queue: Vec<Job>,
    queued_bytes: usize,
    writing_bytes: usize,
    /// The writer while it is idle.
    writer: Option<Box<Writer>>,
    writing: Option<JoinHandle<WriterResult>>,
    /// With `stay`: the wait that the service asks for, and how often it has asked.
    wait_streak: WaitStreak,
    /// Whether the service has answered a fetch in this run.
    has_answered: bool,
    is_over: bool,
    is_sink_broken: bool,
}

impl Running {
    /// Reads the stream runs that are ready, until all of them have ended.
    pub(crate) async fn all(&mut self, on_event: &mut (dyn FnMut(Event<'_>) + Send)) -> Result<()> {
        // A run that was stopped before it began orders nothing.
        self.is_over = *self.options.stop.borrow();
        loop {
            let wake = self.start_fetching(on_event);
            self.start_writing();
            let wake = wake.into_iter().chain(self.due()).min();
            if self.fetching.is_empty() && self.writing.is_none() && wake.is_none() {
                return Ok(());
            }
            tokio::select! {
                biased;
                true = is_stopped(&mut self.options.stop), if !self.is_over => self.stop(),
                Some(fetched) = self.fetching.join_next() => match fetched {
                    Ok(fetched) => self.arrived(fetched, on_event),
                    // The fetch of a stream that has ended.
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => return Err(broken(error)),
                },
                Some(worked) = done(&mut self.writing) => {
                    self.writing = None;
                    self.worked(worked.map_err(broken)?, on_event);
                }
                () = sleep_until(wake), if wake.is_some() => {
                    if self.due().is_some_and(|due| due <= Instant::now()) {
                        self.queue.push(Job::Commit);
                    }
                }
            }
        }
    }

    /// Fills the free slots with fetches, the earlier streams first. Returns when to look again, if that is known.
    fn start_fetching(&mut self, on_event: &mut dyn FnMut(Event<'_>)) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        if let Some(until) = self.wait_streak.until() {
            return Some(until);
        }
        let mut wake: Option<Instant> = None;
        let mut suspect = None;
        for index in 0..self.runs.len() {
            while self.runs[index].is_open() {
                if !self.has_room() {
                    return wake;
                }
                if self.runs[index].stage == Stage::Ready {
                    self.begin(index, on_event);
                    continue;
                }
                match self.runs[index].next_fetch() {
                    NextFetch::Fetch(leaf) => self.fetch(index, leaf, None),
                    NextFetch::Suspect(leaf) => {
                        suspect.get_or_insert((index, leaf));
                        break;
                    }
                    NextFetch::Wait(at) => {
                        wake = wake.into_iter().chain([at]).min();
                        break;
                    }
                    NextFetch::Busy => break,
                    NextFetch::Done => {
                        let ending = self.runs[index].conclusion();
                        self.close(index, ending);
                    }
                }
            }
        }
        // Last and alone: the answers to the other fetches show whether another failure there is the position's own.
        if let Some((index, leaf)) = suspect.filter(|_| self.fetching.is_empty()) {
            self.fetch(index, leaf, None);
        }
        wake
    }

    /// When the next commit is due. A broken sink commits nothing any more.
    fn due(&self) -> Option<Instant> {
        let writer = self.writer.as_ref().filter(|_| !self.is_sink_broken);
        writer.and_then(|writer| writer.due())
    }

    /// Whether one more fetch may start.
    fn has_room(&self) -> bool {
        let is_free = self.fetching.len() < self.options.concurrency.max(1);
        let waiting = self.queued_bytes + self.writing_bytes;
        is_free && (waiting == 0 || waiting < self.options.memory)
    }

    fn begin(&mut self, index: usize, on_event: &mut dyn FnMut(Event<'_>)) {
        let run = &mut self.runs[index];
        run.stage = Stage::Reading;
        on_event(Event::Started {
            stream: run.outputs[0].name,
            resumed: run.is_resumed,
        });
        if run.is_new {
            let pass = run.pass.clone();
            self.queue.push(Job::Begin { index, pass });
        }
    }

    fn fetch(&mut self, index: usize, leaf: Leaf, failed_before: Option<Error>) {
        let run = &mut self.runs[index];
        let (number, id) = (leaf.number, leaf.id);
        let stream = Arc::clone(&run.stream);
        let fetch = async move {
            let answer = stream.fetch(leaf.partition, leaf.token).await;
            FetchResult {
                index,
                position: (number, id),
                answer,
                failed_before,
            }
        };
        let metered = CountedFuture::new(fetch, Arc::clone(&run.meter));
        let handle = self.fetching.spawn(metered);
        run.in_flight.insert((number, id), handle);
    }

    fn start_writing(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        if let Some(writer) = self.writer.take() {
            let jobs = mem::take(&mut self.queue);
            self.writing_bytes = mem::take(&mut self.queued_bytes);
            self.writing = Some(tokio::task::spawn_blocking(move || writer.work(jobs)));
        }
    }

    fn arrived(&mut self, fetched: FetchResult, on_event: &mut dyn FnMut(Event<'_>)) {
        let run = &mut self.runs[fetched.index];
        run.in_flight.remove(&fetched.position);
        if !run.is_open() {
            return;
        }
        let name = run.outputs[0].name;
        if fetched.answer.is_ok() {
            self.has_answered = true;
            self.wait_streak.answered();
        }
        match (fetched.answer, fetched.failed_before) {
            (_, Some(error)) => self.failed(fetched.index, fetched.position, error, on_event),
            (Ok(page), None) => self.take(fetched.index, fetched.position, page),
            (Err(error), None) => {
                let error = error.during(format!("read {name}"));
                match self.beginning(fetched.index, fetched.position, &error) {
                    Some(leaf) => self.fetch(fetched.index, leaf, Some(error)),
                    None => self.failed(fetched.index, fetched.position, error, on_event),
                }
            }
        }
    }

    /// A trial fetch of the partition's beginning, for a position that failed in an earlier run and now again: where no
    /// other fetch has succeeded, only a trial tells a broken position from an outage. It never orders a job.
    fn beginning(&self, index: usize, position: (usize, u64), error: &Error) -> Option<Leaf> {
        let run = &self.runs[index];
        if error.kind() != Kind::Unavailable
            || self.has_answered
            || run.pass.failures(position) == 0
        {
            return None;
        }
        let leaf = run.pass.leaf(position)?;
        let jobs = run.stream.jobs(&leaf.partition, None).ok()?;
        (leaf.token.is_some() && jobs == 0).then_some(Leaf {
            token: None,
            ..leaf
        })
    }

    /// Passes a page to the writer and advances the position.
    fn take(&mut self, index: usize, position: (usize, u64), mut page: Page<Position, Position>) {
        let run = &mut self.runs[index];
        let notes = mem::take(&mut page.notes);
        let receipt = &mut self.receipts[run.outputs[0].receipt];
        receipt.note(notes);
        for gap in &page.gaps {
            receipt.gap(gap.clone());
        }
        if let Some(total) = page.total.filter(|_| self.options.limit.is_none()) {
            *receipt.total.get_or_insert(receipt.read) += total;
            run.without_total.remove(&position.0);
        }
        let limit = self.options.limit.unwrap_or(u64::MAX);
        let mut limits = Vec::with_capacity(run.outputs.len());
        let mut is_enough = true;
        for output in &run.outputs {
            let receipt = &mut self.receipts[output.receipt];
            let records = records(&page, output.name, run.name).len() as u64;
            let records = if run.gives(position.0, output.name) {
                records
            } else {
                0
            };
            let taken = records.min(limit - receipt.read);
            if taken < records {
                run.ahead = Some(position.0);
            }
            receipt.read += taken;
            receipt.pages += u64::from(taken > 0);
            is_enough &= receipt.read == limit;
            limits.push(usize::try_from(taken).unwrap_or(usize::MAX));
        }
        let wait = page.wait.take();
        let step = Step {
            position,
            next: page.next.take(),
            concurrent: mem::take(&mut page.beside),
            bookmark: page.bookmark.take(),
        };
        run.pass.advance(step.clone());
        if !run.pass.has(position.0) {
            run.without_total.remove(&position.0);
        }
        self.receipts[run.outputs[0].receipt].is_total_complete = run.without_total.is_empty();
        run.waits.remove(&position);
        self.queued_bytes += page.body.len();
        self.queue.push(Job::Page {
            index,
            page: Box::new(page),
            limits,
            step: run.ahead.is_none().then_some(step),
        });
        if run.ahead.is_some() && wait.is_some() {
            return self.close(index, Ending::Limited);
        }
        match wait {
            Some(Wait::For { wait, reason }) => {
                // The server-side work exists for a later run only once the state knows of it.
                run.waits.insert(position, Pause::Commit { wait, reason });
                self.queue.push(Job::Keep { index, position });
            }
            Some(Wait::NextRun(error)) => {
                run.waits.insert(position, Pause::NextRun);
                let error = error.during(format!("read {}", run.outputs[0].name));
                run.failure.get_or_insert(error);
            }
            None => {}
        }
        if is_enough && (run.ahead.is_some() || !run.pass.partitions.is_empty()) {
            self.close(index, Ending::Limited);
        }
    }

    /// A fetch that failed ends its position, its stream or the run.
    fn failed(
        &mut self,
        index: usize,
        position: (usize, u64),
        error: Error,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        let run = &mut self.runs[index];
        let asks_to_wait = matches!(error.kind(), Kind::RateLimited | Kind::QuotaExhausted);
        if asks_to_wait && self.options.stay && self.wait_streak.waits_for(&error) {
            self.queue.push(Job::Commit);
            on_event(Event::Waiting {
                stream: run.outputs[0].name,
                reason: &error.to_string(),
            });
            return;
        }
        // A page that is malformed, or that breaks a service which answers otherwise, is not fetched in run after run.
        // In the last of these runs, it may be the only page that is left to fetch.
        let is_last_time = run.pass.failures(position) + 1 >= MAX_FAILED_RUNS;
        let is_of_this_position = error.kind() == Kind::DataInvalid
            || (error.kind() == Kind::Unavailable && (self.has_answered || is_last_time));
        if is_of_this_position && run.ahead.is_none() {
            let message = error.to_string();
            self.queue.push(Job::Failed {
                index,
                position,
                message: message.clone(),
            });
            if run.pass.fail(position, MAX_FAILED_RUNS) {
                run.pass.quarantine(position);
                run.is_partial = true;
                for output in &run.outputs {
                    let receipt = &mut self.receipts[output.receipt];
                    receipt.flag_quarantine(run.name, MAX_FAILED_RUNS, &message);
                }
                return;
            }
        }
        if error.kind() == Kind::DataInvalid {
            run.waits.insert(position, Pause::NextRun);
            run.failures += 1;
            let error = run.failure.take().unwrap_or(error);
            if run.failures >= MAX_FAILURES {
                return self.close(index, Ending::failed(&error));
            }
            run.failure = Some(error);
            return;
        }
        let ending = Ending::failed(&error);
        self.close(index, ending);
        if !is_stream_scoped(error.kind()) {
            self.stop();
        }
    }

    /// Ends fetching of a stream in this run; the stream ends once the writer has committed its pages.
    fn close(&mut self, index: usize, ending: Ending) {
        let run = &mut self.runs[index];
        run.stage = Stage::Closing;
        for handle in mem::take(&mut run.in_flight).into_values() {
            handle.abort();
        }
        let is_finished = matches!(ending, Ending::Complete | Ending::Partial);
        let is_whole = is_finished && !run.is_resumed;
        let read = |output: &StreamOutput| output.read(&self.receipts);
        let counts = run.outputs.iter().map(read).collect();
        run.ending = Some(ending);
        self.queue.push(Job::Close {
            index,
            is_finished,
            is_only: self.options.only.is_some(),
            counts: if is_whole { counts } else { Vec::new() },
        });
    }

    /// Ends all fetching.
    pub(crate) fn stop(&mut self) {
        self.is_over = true;
        for index in 0..self.runs.len() {
            if self.runs[index].stage == Stage::Reading {
                self.close(index, Ending::Stopped);
            }
        }
    }

    fn worked(&mut self, worked: WriterResult, on_event: &mut dyn FnMut(Event<'_>)) {
        self.writer = Some(worked.writer);
        self.writing_bytes = 0;
        for done in worked.done {
            self.done(done, on_event);
        }
        // A sink that failed half way through a page is not used again: the next run begins where it last committed.
        let Some((broken, error)) = worked.error else {
            return;
        };
        self.is_over = true;
        self.is_sink_broken = true;
        self.fetching.abort_all();
        self.queue.clear();
        self.queued_bytes = 0;
        let begun = |run: &StreamRun| matches!(run.stage, Stage::Reading | Stage::Closing);
        let broken = broken.or_else(|| self.runs.iter().position(begun));
        for index in 0..self.runs.len() {
            if begun(&self.runs[index]) {
                self.runs[index].ending = Some(if Some(index) == broken {
                    Ending::failed(&error)
                } else {
                    Ending::Stopped
                });
                self.end(index, Vec::new(), on_event);
            }
        }
    }

    fn done(&mut self, done: WriterProgress, on_event: &mut dyn FnMut(Event<'_>)) {
        match done {
            WriterProgress::Page { index, counts } => {
                let mut filled = None;
                let asking = &self.runs[index];
                self.receipts[asking.outputs[0].receipt].measure(&asking.meter);
                for (output, counts) in self.runs[index].outputs.iter().zip(counts) {
                    self.receipts[output.receipt].count(counts);
                    if counts.records > 0 {
                        filled.get_or_insert(output.receipt);
                    }
                }
                if let Some(receipt) = filled {
                    on_event(Event::Progress(&self.receipts[receipt]));
                }
            }
            WriterProgress::Refused { index, error } => {
                let name = self.runs[index].outputs[0].name;
                let ending = Ending::failed(&error.during(format!("read {name}")));
                if self.runs[index].is_open() {
                    self.close(index, ending);
                } else {
                    // The stream was already closing.
                    self.runs[index].ending = Some(ending);
                }
            }
            WriterProgress::Kept { index, position } => {
                let run = &mut self.runs[index];
                if let Some(Pause::Commit { wait, reason }) = run.waits.remove(&position) {
                    on_event(Event::Waiting {
                        stream: run.outputs[0].name,
                        reason: &reason,
                    });
                    let until = Pause::Until(Instant::now() + wait);
                    run.waits.insert(position, until);
                }
            }
            WriterProgress::Closed { index, reports } => self.end(index, reports, on_event),
            WriterProgress::Committed => on_event(Event::Committed),
        }
    }

    pub(crate) fn end(
        &mut self,
        index: usize,
        reports: Vec<Report>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        let run = &mut self.runs[index];
        let ending = run.ending.take().unwrap_or(Ending::Stopped);
        self.receipts[run.outputs[0].receipt].measure(&run.meter);
        if run.is_read_on && matches!(ending, Ending::Complete | Ending::Partial) {
            run.stage = Stage::Later;
            return;
        }
        run.stage = Stage::Ended;
        let mut reports = reports.into_iter();
        for output in &run.outputs {
            let receipt = &mut self.receipts[output.receipt];
            receipt.ending = ending.clone();
            receipt.covered = run.covered;
            receipt.flag_gaps();
            if let Some(report) = reports.next() {
                for event in &report.drift {
                    on_event(Event::Drift {
                        stream: output.name,
                        event,
                    });
                }
                receipt.drift = report.drift;
                receipt.redaction = report.redaction;
                receipt.unseen = report.unseen;
                let notes = report.notes.into_iter();
                receipt
                    .notes
                    .extend(notes.map(|(code, note)| (code.into(), note)));
            }
            let before = output.last_records.filter(|before| *before >= MANY);
            let read = receipt.read - output.read_before;
            if let (Some(before), Ending::Complete, 0) = (before, &ending, read) {
                let text = format!("no records, where the last run had {before}");
                receipt.flag("empty", text);
            }
            on_event(Event::Ended(receipt));
        }
    }
}

/// Waits until the user stops the run; returns false once the sender is gone.
async fn is_stopped(stop: &mut watch::Receiver<bool>) -> bool {
    stop.wait_for(|stop| *stop).await.is_ok()
}

/// Waits for the writer; `None` where it is idle.
async fn done(
    writing: &mut Option<JoinHandle<WriterResult>>,
) -> Option<Result<WriterResult, tokio::task::JoinError>> {
    match writing {
        Some(writing) => Some(writing.await),
        None => None,
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}
