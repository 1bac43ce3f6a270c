//! The runner: fetches side by side, writes in order of arrival, commits, stops and goes on.
//!
//! Two sides work at the same time. This one decides what is fetched next: at most so many pages at once, over all
//! streams and partitions, the earlier streams first. The [`Writer`] takes what has arrived, in the order of arrival,
//! into the sink and changes the state. A page that asks to be kept before its partition goes on is committed first. While
//! pages wait for a slow sink, nothing more is asked for than fits into the memory that the options allow.

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
        NextFetch, Pause, Stage, StreamOutput, StreamRun, of_one_group, outlets, records, select,
    },
    wait_streak::WaitStreak,
    writer::{Job, Report, Writer, WriterOutput, WriterProgress, WriterResult, WriterStream},
};

/// Runs in a row that may end at the same place before it is set aside.
const MAX_FAILED_RUNS: u32 = 3;
/// Places of one stream that may fail in one run before the stream is left alone.
const MAX_FAILURES: usize = 3;
/// A stream that brought at least so many records in its last pass is not expected to be empty.
pub(crate) const MANY: u64 = 10;

/// Reads streams into a sink. Many runs may share a process, each as a task.
///
/// `wanted` names the streams; none means all. Companions that nobody wants are left out of the sink. A sink that keeps
/// the state has the last word on it; `state` is what it is otherwise.
///
/// A stream's own trouble (no permission, a malformed answer, a partition that is over for this run) ends that stream or
/// place; trouble with the service, the sink or the state ends the run. Errors of a stream are in the receipt; an
/// error of this function comes before the first record, or from the state or the sink while the last ones are
/// written.
///
/// A limit may cut a page. What is left of it is written after everything else and the state stays before that page:
/// a later run without the limit reads it whole.
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
    let mut lanes = Vec::new();
    let mut receipts = Vec::new();
    let mut inlets = Vec::new();
    let rounds = Rounds::new(&state, &streams, wanted, &options, sink.delivery());
    for stream in streams {
        state.verify(&*stream)?;
        let mut lane = StreamRun::new(Arc::clone(&stream), &state, wanted, options.only.as_ref())?;
        let mut inlet = WriterStream {
            name: lane.name,
            outlets: Vec::new(),
            sees_all: stream.sees_all(),
        };
        let set_aside = state.places_set_aside(lane.name);
        lane.is_partial = set_aside > 0;
        for spec in outlets(&*stream, wanted) {
            let guarantee = Guarantee::of(spec, sink.delivery(), keeps_position);
            if let Some(level) = options.guarantee {
                guarantee.meets(level, spec.name)?;
            }
            lane.outlets.push(StreamOutput {
                name: spec.name,
                receipt: receipts.len(),
                last_records: state.last_records(spec.name).filter(|_| !spec.incremental),
                read_before: 0,
            });
            let mut receipt = StreamReceipt::new(spec.name, guarantee);
            receipt.guessed = options
                .limit
                .or_else(|| state.last_records(spec.name).filter(|_| !spec.incremental));
            if lane.outlets.len() == 1 {
                for (code, text) in mem::take(&mut lane.told) {
                    receipt.notes.insert(code, (1, text));
                }
            }
            receipt.places_set_aside(set_aside, lane.name);
            receipts.push(receipt);
            inlet.outlets.push(WriterOutput {
                spec: spec.clone(),
                // A schema that cannot be followed is found now and not after the streams before it.
                redactor: options
                    .redaction
                    .as_ref()
                    .map(|redaction| Redactor::new(spec, redaction))
                    .transpose()?,
                watch: drift.as_ref().map(|drift| {
                    let policy = DriftRule::policy_of(&drift.rules, spec.name);
                    DriftWatch::new(spec, policy, state.drift(spec.name))
                }),
            });
        }
        rounds.place(&mut lane, &mut receipts)?;
        lanes.push(lane);
        inlets.push(inlet);
    }
    tokio::select! {
        biased;
        // What is left does not matter to a run that asks for nothing any more, and the service may take long to say it.
        true = is_stopped(&mut options.stop) => {}
        afforded = check_quota(source, &lanes, on_event) => afforded?,
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
        inlets,
        dead_letters,
        MAX_FAILED_RUNS,
    );
    let mut writer = blocking(move || {
        writer.prepare()?;
        Ok(Box::new(writer))
    })
    .await?;
    if keeps_position {
        let asked = identity::check(source, &mut writer.state, options.same_account);
        tokio::select! {
            biased;
            // A stopped run reads nothing.
            true = is_stopped(&mut options.stop) => {}
            asked = asked => asked?,
        }
    }
    if options.limit.is_some() {
        options.concurrency = 1;
    }
    let mut running = Running {
        lanes,
        receipts,
        options,
        fetching: JoinSet::new(),
        queue: Vec::new(),
        queued_bytes: 0,
        writing_bytes: 0,
        writer: Some(writer),
        writing: None,
        stays: WaitStreak::default(),
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

/// What was added to a count of time.
fn seconds(now: Duration, before: Duration) -> f64 {
    now.saturating_sub(before).as_secs_f64()
}

/// Gets hold of the sink; the state is the one that it keeps, where it keeps one.
async fn load(
    source: &dyn Source,
    mut sink: Box<dyn Sink>,
    state: State,
    options: &RunOptions,
) -> Result<(Box<dyn Sink>, State, bool)> {
    let connector = state.connector().to_owned();
    let (sink, kept) = blocking(move || {
        let kept = sink.load(&connector)?;
        Ok((sink, kept))
    })
    .await?;
    let Some(kept) = kept else {
        return Ok((sink, state, options.state_path.is_some()));
    };
    let streams = source.streams();
    let names: Vec<&str> = streams.iter().flat_map(|stream| stream.names()).collect();
    kept.belongs_to(&names, "the state in the destination")?;
    Ok((sink, kept, true))
}

/// Runs what blocks away from what must not be blocked.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(broken(error)))
}

fn broken(error: tokio::task::JoinError) -> Error {
    Error::new(Kind::Unexpected, "a task of the run broke down").caused_by(error)
}

/// Whether an error says something about one stream only.
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

/// What came of one fetch.
struct FetchResult {
    lane: usize,
    place: (usize, u64),
    answer: Result<Page<Position, Position>>,
    /// The error of the place, where only its partition's beginning was asked for, to see whether the service answers.
    failed_before: Option<Error>,
}

pub(crate) struct Running {
    pub(crate) lanes: Vec<StreamRun>,
    pub(crate) receipts: Vec<StreamReceipt>,
    pub(crate) options: RunOptions,
    fetching: JoinSet<FetchResult>,
    /// For the writer, once it is free.
    queue: Vec<Job>,
    queued_bytes: usize,
    writing_bytes: usize,
    /// The writer while it has nothing to do.
    pub(crate) writer: Option<Box<Writer>>,
    writing: Option<JoinHandle<WriterResult>>,
    /// Where we stay: until when the service wants to be left alone, and how often it has asked for that.
    stays: WaitStreak,
    /// Whether the service has answered anything in this run.
    has_answered: bool,
    pub(crate) is_over: bool,
    is_sink_broken: bool,
}

impl Running {
    /// Reads the lanes that are ready, until nothing is left to do.
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
                    // A fetch of a stream that has ended.
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

    /// Fills the free places with fetches, the earlier streams first. Says when to look again, where that is known.
    fn start_fetching(&mut self, on_event: &mut dyn FnMut(Event<'_>)) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        if let Some(until) = self.stays.until() {
            return Some(until);
        }
        let mut wake: Option<Instant> = None;
        let mut suspect = None;
        for index in 0..self.lanes.len() {
            while self.lanes[index].is_open() {
                if !self.has_room() {
                    return wake;
                }
                if self.lanes[index].stage == Stage::Ready {
                    self.begin(index, on_event);
                    continue;
                }
                match self.lanes[index].turn() {
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
                        let ending = self.lanes[index].conclusion();
                        self.close(index, ending);
                    }
                }
            }
        }
        // Last and alone: whether the service answers otherwise tells what to think of another failure there.
        if let Some((index, leaf)) = suspect.filter(|_| self.fetching.is_empty()) {
            self.fetch(index, leaf, None);
        }
        wake
    }

    /// When what was written has to become durable. A sink that broke keeps nothing any more.
    fn due(&self) -> Option<Instant> {
        let writer = self.writer.as_ref().filter(|_| !self.is_sink_broken);
        writer.and_then(|writer| writer.due())
    }

    /// Whether one more page may be asked for.
    fn has_room(&self) -> bool {
        let is_free = self.fetching.len() < self.options.concurrency.max(1);
        let waiting = self.queued_bytes + self.writing_bytes;
        is_free && (waiting == 0 || waiting < self.options.memory)
    }

    fn begin(&mut self, index: usize, on_event: &mut dyn FnMut(Event<'_>)) {
        let lane = &mut self.lanes[index];
        lane.stage = Stage::Reading;
        on_event(Event::Started {
            stream: lane.outlets[0].name,
            resumed: lane.is_resumed,
        });
        if lane.is_new {
            let pass = lane.pass.clone();
            self.queue.push(Job::Begin { lane: index, pass });
        }
    }

    fn fetch(&mut self, index: usize, leaf: Leaf, failed_before: Option<Error>) {
        let lane = &mut self.lanes[index];
        let (number, id) = (leaf.number, leaf.id);
        let stream = Arc::clone(&lane.stream);
        let fetch = async move {
            let answer = stream.fetch(leaf.partition, leaf.token).await;
            FetchResult {
                lane: index,
                place: (number, id),
                answer,
                failed_before,
            }
        };
        let metered = CountedFuture::new(fetch, Arc::clone(&lane.meter));
        let handle = self.fetching.spawn(metered);
        lane.in_flight.insert((number, id), handle);
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
        let lane = &mut self.lanes[fetched.lane];
        lane.in_flight.remove(&fetched.place);
        if !lane.is_open() {
            return;
        }
        let name = lane.outlets[0].name;
        if fetched.answer.is_ok() {
            self.has_answered = true;
            self.stays.answered();
        }
        match (fetched.answer, fetched.failed_before) {
            (_, Some(error)) => self.failed(fetched.lane, fetched.place, error, on_event),
            (Ok(page), None) => self.take(fetched.lane, fetched.place, page),
            (Err(error), None) => {
                let error = error.during(format!("read {name}"));
                match self.beginning(fetched.lane, fetched.place, &error) {
                    Some(leaf) => self.fetch(fetched.lane, leaf, Some(error)),
                    None => self.failed(fetched.lane, fetched.place, error, on_event),
                }
            }
        }
    }

    /// What to ask for before a place that failed in an earlier run counts as failed once more, or as met by an outage:
    /// where nothing else is left to read, only that tells which of them it is. Never what orders something.
    fn beginning(&self, index: usize, place: (usize, u64), error: &Error) -> Option<Leaf> {
        let lane = &self.lanes[index];
        if error.kind() != Kind::Unavailable || self.has_answered || lane.pass.failures(place) == 0
        {
            return None;
        }
        let leaf = lane.pass.leaf(place)?;
        let jobs = lane.stream.jobs(&leaf.partition, None).ok()?;
        (leaf.token.is_some() && jobs == 0).then_some(Leaf {
            token: None,
            ..leaf
        })
    }

    /// Takes a page in: to the writer with it, and on from where it ends.
    fn take(&mut self, index: usize, place: (usize, u64), mut page: Page<Position, Position>) {
        let lane = &mut self.lanes[index];
        let notes = mem::take(&mut page.notes);
        let receipt = &mut self.receipts[lane.outlets[0].receipt];
        receipt.note(notes);
        for gap in &page.gaps {
            receipt.gap(gap.clone());
        }
        if let Some(total) = page.total.filter(|_| self.options.limit.is_none()) {
            *receipt.told.get_or_insert(receipt.read) += total;
            lane.untold.remove(&place.0);
        }
        let limit = self.options.limit.unwrap_or(u64::MAX);
        let mut most = Vec::with_capacity(lane.outlets.len());
        let mut is_enough = true;
        for outlet in &lane.outlets {
            let receipt = &mut self.receipts[outlet.receipt];
            let records = records(&page, outlet.name, lane.name).len() as u64;
            let records = if lane.gives(place.0, outlet.name) {
                records
            } else {
                0
            };
            let taken = records.min(limit - receipt.read);
            if taken < records {
                lane.ahead = Some(place.0);
            }
            receipt.read += taken;
            receipt.pages += u64::from(taken > 0);
            is_enough &= receipt.read == limit;
            most.push(usize::try_from(taken).unwrap_or(usize::MAX));
        }
        let hold = page.wait.take();
        let step = Step {
            place,
            next: page.next.take(),
            beside: mem::take(&mut page.beside),
            bookmark: page.bookmark.take(),
        };
        lane.pass.advance(step.clone());
        if !lane.pass.has(place.0) {
            lane.untold.remove(&place.0);
        }
        self.receipts[lane.outlets[0].receipt].is_expected = lane.untold.is_empty();
        lane.waits.remove(&place);
        self.queued_bytes += page.body.len();
        self.queue.push(Job::Page {
            lane: index,
            page: Box::new(page),
            most,
            step: lane.ahead.is_none().then_some(step),
        });
        if lane.ahead.is_some() && hold.is_some() {
            return self.close(index, Ending::Limited);
        }
        match hold {
            Some(Wait::For { wait, reason }) => {
                // Whatever is waited for exists only once the state knows of it.
                lane.waits.insert(place, Pause::Commit { wait, reason });
                self.queue.push(Job::Keep { lane: index, place });
            }
            Some(Wait::NextRun(error)) => {
                lane.waits.insert(place, Pause::NextRun);
                let error = error.during(format!("read {}", lane.outlets[0].name));
                lane.failure.get_or_insert(error);
            }
            None => {}
        }
        if is_enough && (lane.ahead.is_some() || !lane.pass.partitions.is_empty()) {
            self.close(index, Ending::Limited);
        }
    }

    /// A fetch that failed ends its place, its stream or the run.
    fn failed(
        &mut self,
        index: usize,
        place: (usize, u64),
        error: Error,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        let lane = &mut self.lanes[index];
        let asks_to_wait = matches!(error.kind(), Kind::RateLimited | Kind::QuotaExhausted);
        if asks_to_wait && self.options.stay && self.stays.waits_for(&error) {
            self.queue.push(Job::Commit);
            on_event(Event::Waiting {
                stream: lane.outlets[0].name,
                reason: &error.to_string(),
            });
            return;
        }
        // A page that is malformed, or that breaks a service which answers otherwise, is not asked for in run after run.
        // The last time, it may be the only one that is left to ask for.
        let is_last_time = lane.pass.failures(place) + 1 >= MAX_FAILED_RUNS;
        let is_of_this_place = error.kind() == Kind::DataInvalid
            || (error.kind() == Kind::Unavailable && (self.has_answered || is_last_time));
        if is_of_this_place && lane.ahead.is_none() {
            let message = error.to_string();
            self.queue.push(Job::Failed {
                lane: index,
                place,
                message: message.clone(),
            });
            if lane.pass.fail(place, MAX_FAILED_RUNS) {
                lane.pass.set_aside(place);
                lane.is_partial = true;
                for outlet in &lane.outlets {
                    let receipt = &mut self.receipts[outlet.receipt];
                    receipt.sets_aside(lane.name, MAX_FAILED_RUNS, &message);
                }
                return;
            }
        }
        if error.kind() == Kind::DataInvalid {
            lane.waits.insert(place, Pause::NextRun);
            lane.failures += 1;
            let error = lane.failure.take().unwrap_or(error);
            if lane.failures >= MAX_FAILURES {
                return self.close(index, Ending::failed(&error));
            }
            lane.failure = Some(error);
            return;
        }
        let ending = Ending::failed(&error);
        self.close(index, ending);
        if !is_stream_scoped(error.kind()) {
            self.stop();
        }
    }

    /// Nothing more is fetched of a stream in this run; it ends once the writer has kept what there is.
    fn close(&mut self, index: usize, ending: Ending) {
        let lane = &mut self.lanes[index];
        lane.stage = Stage::Closing;
        for handle in mem::take(&mut lane.in_flight).into_values() {
            handle.abort();
        }
        let is_finished = matches!(ending, Ending::Complete | Ending::Partial);
        let is_whole = is_finished && !lane.is_resumed;
        let read = |outlet: &StreamOutput| outlet.read(&self.receipts);
        let counts = lane.outlets.iter().map(read).collect();
        lane.ending = Some(ending);
        self.queue.push(Job::Close {
            lane: index,
            is_finished,
            is_only: self.options.only.is_some(),
            counts: if is_whole { counts } else { Vec::new() },
        });
    }

    /// Nothing more is fetched at all.
    pub(crate) fn stop(&mut self) {
        self.is_over = true;
        for index in 0..self.lanes.len() {
            if self.lanes[index].stage == Stage::Reading {
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
        // A sink that failed half way through a page has nothing more to say, and the next run begins where it last
        // committed.
        let Some((broken, error)) = worked.error else {
            return;
        };
        self.is_over = true;
        self.is_sink_broken = true;
        self.fetching.abort_all();
        self.queue.clear();
        self.queued_bytes = 0;
        let begun = |lane: &StreamRun| matches!(lane.stage, Stage::Reading | Stage::Closing);
        let broken = broken.or_else(|| self.lanes.iter().position(begun));
        for index in 0..self.lanes.len() {
            if begun(&self.lanes[index]) {
                self.lanes[index].ending = Some(if Some(index) == broken {
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
            WriterProgress::Page { lane, counts } => {
                let mut filled = None;
                let asking = &self.lanes[lane];
                self.receipts[asking.outlets[0].receipt].measure(&asking.meter);
                for (outlet, counts) in self.lanes[lane].outlets.iter().zip(counts) {
                    self.receipts[outlet.receipt].count(counts);
                    if counts.records > 0 {
                        filled.get_or_insert(outlet.receipt);
                    }
                }
                if let Some(receipt) = filled {
                    on_event(Event::Progress(&self.receipts[receipt]));
                }
            }
            WriterProgress::Refused { lane, error } => {
                let name = self.lanes[lane].outlets[0].name;
                let ending = Ending::failed(&error.during(format!("read {name}")));
                if self.lanes[lane].is_open() {
                    self.close(lane, ending);
                } else {
                    // Everything had been fetched by then.
                    self.lanes[lane].ending = Some(ending);
                }
            }
            WriterProgress::Kept { lane, place } => {
                let lane = &mut self.lanes[lane];
                if let Some(Pause::Commit { wait, reason }) = lane.waits.remove(&place) {
                    on_event(Event::Waiting {
                        stream: lane.outlets[0].name,
                        reason: &reason,
                    });
                    let until = Pause::Until(Instant::now() + wait);
                    lane.waits.insert(place, until);
                }
            }
            WriterProgress::Closed { lane, reports } => self.end(lane, reports, on_event),
            WriterProgress::Committed => on_event(Event::Committed),
        }
    }

    pub(crate) fn end(
        &mut self,
        index: usize,
        reports: Vec<Report>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        let lane = &mut self.lanes[index];
        let ending = lane.ending.take().unwrap_or(Ending::Stopped);
        self.receipts[lane.outlets[0].receipt].measure(&lane.meter);
        if lane.is_read_on && matches!(ending, Ending::Complete | Ending::Partial) {
            lane.stage = Stage::Later;
            return;
        }
        lane.stage = Stage::Ended;
        let mut reports = reports.into_iter();
        for outlet in &lane.outlets {
            let receipt = &mut self.receipts[outlet.receipt];
            receipt.ending = ending.clone();
            receipt.covered = lane.covered;
            receipt.flag_gaps();
            if let Some(report) = reports.next() {
                for event in &report.drift {
                    on_event(Event::Drift {
                        stream: outlet.name,
                        event,
                    });
                }
                receipt.drift = report.drift;
                receipt.redaction = report.redaction;
                receipt.unseen = report.unseen;
                receipt.notes.extend(report.notes);
            }
            let before = outlet.last_records.filter(|before| *before >= MANY);
            let read = receipt.read - outlet.read_before;
            if let (Some(before), Ending::Complete, 0) = (before, &ending, read) {
                let text = format!("no records, where the last run had {before}");
                receipt.flag("empty", text);
            }
            on_event(Event::Ended(receipt));
        }
    }

    /// Flags first passes that found nothing since their start, where the service has records before it.
    async fn look_before_the_start(&mut self) {
        for lane in &self.lanes {
            let mut receipts = lane.outlets.iter().map(|outlet| outlet.receipt);
            let receipt = lane.outlets[0].receipt;
            let has_read = receipts.any(|one| self.receipts[one].read > 0);
            let is_complete = matches!(self.receipts[receipt].ending, Ending::Complete);
            let Some(since) = lane.first_since.filter(|_| is_complete && !has_read) else {
                continue;
            };
            // A service that does not answer this has answered what was asked for.
            if let Ok(Some(true)) = lane.stream.has_earlier().await {
                let text = format!(
                    "there is nothing since the start, {since}, and the service has records before it; an earlier start \
                     date reads them with the next run"
                );
                self.receipts[receipt].flag("nothing_since_start", text);
            }
        }
    }

    /// What is left to do once nothing is fetched any more.
    async fn conclude(mut self) -> Result<(Vec<StreamReceipt>, u64)> {
        let Some(mut writer) = self.writer.take() else {
            return Err(Error::new(Kind::Unexpected, "the run lost its writer"));
        };
        let mut cancelled = 0;
        // What a broken sink has not kept must not get into the state, and a job that is let go of has to.
        if !self.is_sink_broken && self.options.release && *self.options.stop.borrow() {
            (writer, cancelled) = release(&self.lanes, writer).await?;
        }
        if !self.is_over {
            self.look_before_the_start().await;
        }
        let is_sink_broken = self.is_sink_broken;
        let is_over = self.is_over;
        blocking(move || {
            // A stream that failed for a reason of its own does not hold the others back for ever.
            if !is_over {
                writer.end_run()?;
            }
            if !is_sink_broken {
                writer.write_held_back()?;
            }
            // Here, since a sink may block while it closes.
            drop(writer);
            Ok(())
        })
        .await?;
        Ok((self.receipts, cancelled))
    }
}

/// Cancels what a stopped run leaves running at the service.
async fn release(lanes: &[StreamRun], mut writer: Box<Writer>) -> Result<(Box<Writer>, u64)> {
    let mut released = 0;
    for lane in lanes {
        let places: Vec<(usize, Position, Position)> = writer
            .state
            .pass(lane.name)
            .into_iter()
            .flat_map(|pass| &pass.partitions)
            .filter_map(|one| Some((one.number, one.partition.clone(), one.token.clone()?)))
            .collect();
        for (number, partition, token) in places {
            if !lane.stream.release(partition, token).await? {
                continue;
            }
            released += 1;
            let name = lane.name;
            writer = blocking(move || {
                writer.begin_anew(name, number)?;
                Ok(writer)
            })
            .await?;
        }
    }
    Ok((writer, released))
}

/// Waits until the user wants to stop; false once nobody can want that any more.
pub(crate) async fn is_stopped(stop: &mut watch::Receiver<bool>) -> bool {
    stop.wait_for(|stop| *stop).await.is_ok()
}

/// Waits for the writer; none where it has nothing to do.
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
